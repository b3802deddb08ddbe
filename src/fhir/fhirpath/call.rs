//! The functions of collections (FHIRPath N1 §5.1-5.4, §5.8; FHIR R4 fhirpath.html#functions).

use std::borrow::Cow;
use std::collections::HashSet;

use super::super::kinds::ResourceType;
use super::function::Function;
use super::item::{self, Item, resource_type};
use super::number::Number;
use super::parse::Expr;
use super::run::{Fault, Focus, Items, Outcome, Run, of_bool, truth};
use super::{Spot, strings};

/// How many rounds `repeat` goes on: elements are not nested deeper.
const ROUNDS_MAX: usize = 64;

impl<'v> Run<'_, 'v> {
    pub(super) fn call(
        &self,
        function: Function,
        over: Items<'v>,
        arguments: &[Expr],
        focus: Focus<'_, 'v>,
    ) -> Outcome<'v> {
        use Function as F;
        let bool = |value: bool| Ok(of_bool(Some(value)));
        let first = arguments.first().unwrap_or(&Expr::Nothing);
        match function {
            F::Empty => bool(over.is_empty()),
            F::Exists if arguments.is_empty() => bool(!over.is_empty()),
            F::Exists => bool(!self.filter(over, first)?.is_empty()),
            F::Not => Ok(of_bool(truth(&over).map(|value| !value))),
            F::HasValue => bool(matches!(over.as_slice(), [one] if one.value().is_some())),
            F::Where => self.filter(over, first),
            F::Select => self.project(&over, first),
            F::All => bool(self.filter(over.clone(), first)?.len() == over.len()),
            F::AllTrue => bool(over.iter().all(|item| is(item, true))),
            F::AnyTrue => bool(over.iter().any(|item| is(item, true))),
            F::AllFalse => bool(over.iter().all(|item| is(item, false))),
            F::AnyFalse => bool(over.iter().any(|item| is(item, false))),
            F::Count => Ok(vec![Item::Number(Number::count(over.len()))]),
            F::First | F::Last | F::Tail | F::Skip | F::Take | F::Single => {
                self.part(function, over, first, focus)
            }
            F::Distinct => self.distinct(over),
            F::IsDistinct => {
                let count = over.len();
                bool(self.distinct(over)?.len() == count)
            }
            F::SubsetOf | F::SupersetOf | F::Intersect | F::Exclude | F::Union | F::Combine => {
                let other = self.eval(first, focus)?;
                self.sets(function, over, other)
            }
            F::Children => self.children(&over),
            F::Descendants => self.repeat(over, None),
            F::Repeat => self.repeat(over, Some(first)),
            F::Iif => self.choose(over, arguments, focus),
            F::Trace => Ok(over),
            F::Extension => self.extension(&over, &self.eval(first, focus)?),
            F::Resolve => Ok(over.iter().filter_map(|item| self.resolve(item)).collect()),
            // What a narrative may hold is checked natively: txt-1 and txt-2.
            F::HtmlChecks => bool(true),
            _ => {
                // R4 asks this of what may not be there, such as `fullUrl.contains('/_history/').not()`.
                if over.is_empty()
                    && matches!(function, F::Contains | F::StartsWith | F::EndsWith | F::Matches)
                {
                    self.leave_open();
                }
                let values =
                    arguments.iter().map(|one| self.eval(one, focus)).collect::<Result<Vec<_>, _>>()?;
                strings::call(function, &over, &values)
            }
        }
    }

    /// Some of a collection, by place.
    fn part(&self, function: Function, over: Items<'v>, count: &Expr, focus: Focus<'_, 'v>) -> Outcome<'v> {
        use Function as F;
        let mut over = over.into_iter();
        Ok(match function {
            F::First => over.take(1).collect(),
            F::Last => over.next_back().into_iter().collect(),
            F::Tail => over.skip(1).collect(),
            F::Skip => over.skip(self.index(count, focus)?).collect(),
            F::Take => over.take(self.index(count, focus)?).collect(),
            _ if over.len() > 1 => return Err(Fault::Operand),
            _ => over.collect(),
        })
    }

    /// Two collections as sets; `combine` keeps what is there twice.
    fn sets(&self, function: Function, over: Items<'v>, other: Items<'v>) -> Outcome<'v> {
        use Function as F;
        match function {
            F::SubsetOf => Ok(of_bool(Some(self.common(&over, &other)?.len() == over.len()))),
            F::SupersetOf => Ok(of_bool(Some(self.common(&other, &over)?.len() == other.len()))),
            F::Intersect => {
                let common = self.common(&over, &other)?;
                self.distinct(common)
            }
            F::Exclude => self.without(over, &other),
            _ => {
                let mut all = over;
                all.extend(other);
                if function == F::Union { self.distinct(all) } else { Ok(all) }
            }
        }
    }

    fn filter(&self, over: Items<'v>, condition: &Expr) -> Outcome<'v> {
        let mut found = Vec::new();
        for (index, item) in over.into_iter().enumerate() {
            let this = [item];
            let kept = truth(&self.eval(condition, Focus { this: &this, index })?) == Some(true);
            if kept {
                found.extend(this);
            }
        }
        Ok(found)
    }

    fn project(&self, over: &[Item<'v>], expression: &Expr) -> Outcome<'v> {
        let mut found = Vec::new();
        for (index, item) in over.iter().enumerate() {
            found.extend(self.eval(expression, Focus { this: std::slice::from_ref(item), index })?);
        }
        Ok(found)
    }

    fn index(&self, expression: &Expr, focus: Focus<'_, 'v>) -> Result<usize, Fault> {
        match self.eval(expression, focus)?.as_slice() {
            [one] => match one.value() {
                Some(Item::Number(number)) => Ok(number.as_index().unwrap_or(0)),
                _ => Err(Fault::Operand),
            },
            _ => Err(Fault::Operand),
        }
    }

    /// Each item once. Texts and numbers of one kind are hashed, all else is compared.
    pub(super) fn distinct(&self, over: Items<'v>) -> Outcome<'v> {
        self.step(over.len())?;
        let texts = over.iter().map(|item| match item.value() {
            Some(Item::Text(text)) => Some(text),
            _ => None,
        });
        if let Some(texts) = texts.collect::<Option<Vec<Cow<'v, str>>>>() {
            let mut seen = HashSet::with_capacity(texts.len());
            let pairs = over.into_iter().zip(texts).filter(|(_, text)| seen.insert(text.clone()));
            return Ok(pairs.map(|(item, _)| item).collect());
        }
        let mut found: Items<'v> = Vec::new();
        for item in over {
            self.step(found.len())?;
            if !found.iter().any(|other| item::equal(other, &item) == Some(true)) {
                found.push(item);
            }
        }
        Ok(found)
    }

    fn common(&self, over: &[Item<'v>], other: &[Item<'v>]) -> Outcome<'v> {
        self.step(over.len().saturating_mul(other.len()))?;
        let there = |item: &&Item<'v>| other.iter().any(|other| item::equal(item, other) == Some(true));
        Ok(over.iter().filter(there).cloned().collect())
    }

    fn without(&self, over: Items<'v>, other: &[Item<'v>]) -> Outcome<'v> {
        self.step(over.len().saturating_mul(other.len()))?;
        let gone = |item: &Item<'v>| other.iter().any(|other| item::equal(item, other) == Some(true));
        Ok(over.into_iter().filter(|item| !gone(item)).collect())
    }

    fn children(&self, over: &[Item<'v>]) -> Outcome<'v> {
        let mut found = Vec::new();
        for item in over {
            if let Item::Spot(spot) = item {
                spot.children(self.scene.definitions, &mut |child| found.push(Item::Spot(child)));
            }
        }
        self.step(found.len())?;
        Ok(found)
    }

    /// What the expression leads to, and what it leads to from there, and so on; without one, the children.
    fn repeat(&self, over: Items<'v>, expression: Option<&Expr>) -> Outcome<'v> {
        let mut found = Vec::new();
        let mut last = over;
        for _ in 0..ROUNDS_MAX {
            last = match expression {
                Some(expression) => self.project(&last, expression)?,
                None => self.children(&last)?,
            };
            if last.is_empty() {
                return Ok(found);
            }
            self.step(last.len())?;
            found.extend(last.iter().cloned());
        }
        Err(Fault::TooCostly)
    }

    /// `iif`: what is not chosen is not evaluated. Its arguments speak of what it is called on.
    fn choose(&self, over: Items<'v>, arguments: &[Expr], focus: Focus<'_, 'v>) -> Outcome<'v> {
        let focus = Focus { this: &over, ..focus };
        let condition = self.eval(arguments.first().unwrap_or(&Expr::Nothing), focus)?;
        let chosen = if truth(&condition) == Some(true) { arguments.get(1) } else { arguments.get(2) };
        chosen.map_or(Ok(Vec::new()), |chosen| self.eval(chosen, focus))
    }

    fn extension(&self, over: &[Item<'v>], url: &[Item<'v>]) -> Outcome<'v> {
        let Some(url) = strings::single(url)? else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for item in over {
            let Item::Spot(spot) = item else { continue };
            spot.walk(self.scene.definitions, "extension", &mut |extension| {
                let named =
                    extension.object().and_then(|object| object.get("url")).and_then(|url| url.as_str());
                if named == Some(url.as_ref()) {
                    found.push(Item::Spot(extension));
                }
            });
        }
        Ok(found)
    }

    /// The contained resource a reference names; of any other the type, if it names that.
    fn resolve(&self, item: &Item<'v>) -> Option<Item<'v>> {
        let address = match item {
            Item::Spot(spot) => match spot.object() {
                Some(object) => object.get("reference")?.as_str()?,
                None => return item.text().and_then(|text| elsewhere(&text)),
            },
            _ => return item.text().and_then(|text| elsewhere(&text)),
        };
        let Some(id) = address.strip_prefix('#') else {
            let said = match item {
                Item::Spot(spot) => {
                    spot.object().and_then(|object| object.get("type")).and_then(|t| t.as_str())
                }
                _ => None,
            };
            return elsewhere(address)
                .or_else(|| said.and_then(ResourceType::from_name).map(Item::Elsewhere));
        };
        let root = self.scene.root.object()?;
        if id.is_empty() {
            return Some(Item::Spot(self.scene.root));
        }
        let contained = root.get("contained")?.as_array()?.iter().filter_map(|one| one.as_object());
        let found =
            contained.into_iter().find(|one| one.get("id").and_then(|given| given.as_str()) == Some(id))?;
        let kind = self.scene.definitions.resource(resource_type(found)?)?;
        Some(Item::Spot(Spot::complex(found, kind)))
    }
}

/// The type in the last two parts of an address.
fn elsewhere<'v>(address: &str) -> Option<Item<'v>> {
    let path = address.split("/_history/").next()?;
    ResourceType::from_name(path.rsplit('/').nth(1)?).map(Item::Elsewhere)
}

fn is(item: &Item<'_>, wanted: bool) -> bool {
    matches!(item.value(), Some(Item::Boolean(value)) if value == wanted)
}
