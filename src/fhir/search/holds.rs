//! Whether a value of a record is the one looked for (FHIR R4 search.html#ptypes).
//!
//! May import only std, chrono, `serde_json` and what stands beside it in `fhir`.

use serde_json::Value;

use super::super::kinds::ResourceType;
use super::super::reference::{BaseUrl, Reference};
use super::Prefix;
use super::codes::Codes;
use super::decimal::Decimal;
use super::fold::fold;
use super::path::{Datatype, Path};
use super::span::{Span, span};
use super::term::{Bounds, System, Target, Term, Token, Unit};
use super::ucum::measured;

impl Term {
    /// Whether a value at the end of a path meets the term. A composite is met by [`super::filter`].
    pub(super) fn holds(&self, path: &Path, value: &Value, base: &BaseUrl) -> bool {
        match self {
            Self::Begins(text) => any_text(path.datatype, value, &mut |t| fold(t).starts_with(text)),
            Self::Contains(text) => any_text(path.datatype, value, &mut |t| fold(t).contains(text)),
            Self::Ends(text) => any_text(path.datatype, value, &mut |t| fold(t).ends_with(text)),
            Self::Same(text) => any_text(path.datatype, value, &mut |t| fold(t) == *text),
            Self::Exactly(text) => any_text(path.datatype, value, &mut |t| t == text),
            Self::Token(token) => token.holds(path, value),
            Self::In(codes) => is_in(codes, path, value),
            Self::TokenText(text) => any_token_text(path.datatype, value, &mut |t| fold(t).starts_with(text)),
            Self::OfType { system, code, value: number } => is_of_type(value, system, code, number),
            Self::Reference(target) => target.holds(path.datatype, value, base),
            Self::Identifier(token) => value
                .get("identifier")
                .is_some_and(|one| token.matches(str_of(one, "system"), str_of(one, "value"))),
            Self::Date(prefix, range) => {
                span(path.datatype, value).is_some_and(|span| span.meets(*prefix, range))
            }
            Self::Number(prefix, bounds) => {
                interval(path.datatype, value).is_some_and(|interval| interval.meets(*prefix, bounds))
            }
            Self::Quantity(prefix, bounds, unit) => {
                has_unit(path.datatype, value, unit)
                    && interval(path.datatype, value).is_some_and(|interval| interval.meets(*prefix, bounds))
            }
            Self::Measure(prefix, bounds, wanted) => measured(path.datatype, value)
                .is_some_and(|(of, interval)| of == *wanted && interval.meets(*prefix, bounds)),
            Self::Uri(url) => value.as_str().is_some_and(|text| is_url(path.datatype, text, url)),
            Self::Below(url) => value.as_str().is_some_and(|text| is_below(text, url)),
            Self::Above(url) => value.as_str().is_some_and(|text| is_below(url, text)),
            Self::Composite(_) => false,
            Self::Unlike(term) => !term.holds(path, value, base),
        }
    }
}

fn str_of<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name)?.as_str()
}

fn items<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value.get(name).and_then(Value::as_array).into_iter().flatten()
}

/// The texts of a value that a string parameter looks at.
pub(super) fn texts<'a>(datatype: Datatype, value: &'a Value, visit: &mut dyn FnMut(&'a str)) {
    let (single, many): (&[&str], &[&str]) = match datatype {
        Datatype::HumanName => (&["text", "family"], &["given", "prefix", "suffix"]),
        Datatype::Address => (&["text", "city", "district", "state", "postalCode", "country"], &["line"]),
        _ => {
            if let Some(text) = value.as_str() {
                visit(text);
            }
            return;
        }
    };
    single.iter().filter_map(|name| str_of(value, name)).for_each(&mut *visit);
    many.iter().flat_map(|name| items(value, name)).filter_map(Value::as_str).for_each(visit);
}

fn any_text(datatype: Datatype, value: &Value, test: &mut dyn FnMut(&str) -> bool) -> bool {
    let mut found = false;
    texts(datatype, value, &mut |text| found = found || test(text));
    found
}

/// The texts that go with a code: `CodeableConcept.text`, `Coding.display`, `Identifier.type.text`.
fn any_token_text(datatype: Datatype, value: &Value, test: &mut dyn FnMut(&str) -> bool) -> bool {
    match datatype {
        Datatype::CodeableConcept => {
            str_of(value, "text").is_some_and(&mut *test)
                || items(value, "coding").filter_map(|one| str_of(one, "display")).any(test)
        }
        Datatype::Coding => str_of(value, "display").is_some_and(test),
        Datatype::Identifier => value.get("type").and_then(|t| str_of(t, "text")).is_some_and(test),
        _ => false,
    }
}

impl Token {
    fn holds(&self, path: &Path, value: &Value) -> bool {
        match path.datatype {
            Datatype::Coding => self.matches(str_of(value, "system"), str_of(value, "code")),
            Datatype::CodeableConcept => {
                items(value, "coding").any(|one| self.matches(str_of(one, "system"), str_of(one, "code")))
            }
            Datatype::Identifier | Datatype::ContactPoint => {
                self.matches(str_of(value, "system"), str_of(value, "value"))
            }
            Datatype::Boolean => {
                let text = value.as_bool().map(|yes| if yes { "true" } else { "false" });
                !matches!(self.system, System::Is(_)) && self.code.as_deref() == text
            }
            Datatype::Code => self.is_code(path, value.as_str()),
            // Ids, URLs and texts have no system and are what they are, letter by letter.
            _ => !matches!(self.system, System::Is(_)) && self.code.as_deref() == value.as_str(),
        }
    }

    /// A system is compared letter by letter, a code without regard to case: to find too much does less harm
    /// than to overlook (search.html#token).
    pub(super) fn matches(&self, system: Option<&str>, code: Option<&str>) -> bool {
        let system_fits = match &self.system {
            System::Any => true,
            System::Absent => system.is_none(),
            System::Is(wanted) => system == Some(wanted),
        };
        let code_fits = match (&self.lower, code) {
            (None, _) => true,
            (Some(wanted), Some(code)) => same_lower(wanted, code),
            (Some(_), None) => false,
        };
        system_fits && code_fits
    }

    /// A `code` has no system of its own: it is of those of the `ValueSet` it is bound to.
    fn is_code(&self, path: &Path, code: Option<&str>) -> bool {
        let Some(code) = code else { return false };
        let system_fits = match &self.system {
            System::Any | System::Absent => true,
            System::Is(system) => path.codes.as_ref().is_some_and(|set| set.allows_coding(system, code)),
        };
        system_fits && self.lower.as_ref().is_none_or(|wanted| same_lower(wanted, code))
    }
}

/// Whether a code is among these: a coding by its system and code, a `code` by the systems of the set it is bound to.
fn is_in(codes: &Codes, path: &Path, value: &Value) -> bool {
    let coding = |one: &Value| match (str_of(one, "system"), str_of(one, "code")) {
        (Some(system), Some(code)) => codes.holds(system, code),
        _ => false,
    };
    match path.datatype {
        Datatype::CodeableConcept => items(value, "coding").any(coding),
        Datatype::Coding => coding(value),
        Datatype::Code => path.codes.as_ref().zip(value.as_str()).is_some_and(|(bound, code)| {
            codes.systems_of(code).any(|system| bound.allows_coding(system, code))
        }),
        _ => false,
    }
}

fn same_lower(lower: &str, text: &str) -> bool {
    if text.is_ascii() { lower.eq_ignore_ascii_case(text) } else { lower == text.to_lowercase() }
}

fn is_of_type(value: &Value, system: &str, code: &str, number: &str) -> bool {
    let typed = value.get("type").is_some_and(|kind| {
        items(kind, "coding").any(|one| {
            str_of(one, "system") == Some(system)
                && str_of(one, "code").is_some_and(|text| same_lower(&code.to_lowercase(), text))
        })
    });
    typed && str_of(value, "value").is_some_and(|text| same_lower(&number.to_lowercase(), text))
}

impl Target {
    fn holds(&self, datatype: Datatype, value: &Value, base: &BaseUrl) -> bool {
        let text = match datatype {
            Datatype::Reference => str_of(value, "reference"),
            _ => value.as_str(),
        };
        let Some(text) = text else { return false };
        match self {
            Self::Local(kind, id) => local(text, base)
                .is_some_and(|(of, one)| one == id.as_str() && kind.is_none_or(|kind| kind == of)),
            Self::Url(url, version) => {
                let (found, of) = text.split_once('|').map_or((text, None), |(url, v)| (url, Some(v)));
                found == url && version.as_deref().is_none_or(|version| of == Some(version))
            }
        }
    }
}

/// Type and id of a reference to a resource of this server, whatever its version.
///
/// The common form `Type/id` is recognised without parsing more.
pub(super) fn local<'a>(text: &'a str, base: &BaseUrl) -> Option<(ResourceType, std::borrow::Cow<'a, str>)> {
    if let Some((kind, id)) = text.split_once('/')
        && let Some(kind) = ResourceType::from_name(kind)
        && super::super::kinds::is_logical_id(id)
    {
        return Some((kind, id.into()));
    }
    let (kind, id) = Reference::parse(text, base)?.local()?;
    Some((kind, id.as_str().to_owned().into()))
}

/// Whether a URL is the one asked for; a canonical one may carry a version that was not.
fn is_url(datatype: Datatype, text: &str, url: &str) -> bool {
    text == url
        || datatype == Datatype::Canonical && text.split_once('|').is_some_and(|(address, _)| address == url)
}

/// Whether one URL is another or stands below it, at a slash.
fn is_below(text: &str, above: &str) -> bool {
    text.strip_prefix(above)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || above.ends_with('/'))
}

/// Numbers from one to another, both included; `None` is without end.
pub(super) struct Interval {
    pub(super) low: Option<Decimal>,
    pub(super) high: Option<Decimal>,
}

/// The numbers a value stands for. A stored number stands for itself alone, whatever its precision; a
/// `Quantity.comparator` is not looked at.
pub(super) fn interval(datatype: Datatype, value: &Value) -> Option<Interval> {
    let decimal = |value: &Value| Decimal::parse(&value.as_number()?.to_string());
    match datatype {
        Datatype::Number => decimal(value).map(Interval::point),
        Datatype::Quantity | Datatype::Money => decimal(value.get("value")?).map(Interval::point),
        Datatype::Range => {
            let end = |name: &str| decimal(value.get(name)?.get("value")?);
            let (low, high) = (end("low"), end("high"));
            (low.is_some() || high.is_some()).then_some(Interval { low, high })
        }
        _ => None,
    }
}

impl Interval {
    fn point(at: Decimal) -> Self {
        Self { low: Some(at.clone()), high: Some(at) }
    }

    /// `gt` and its like compare with the number itself, `eq` and `ne` with what its digits stand for
    /// (search.html#number).
    fn meets(&self, prefix: Prefix, bounds: &Bounds) -> bool {
        let Bounds { exact, low: from, high: until } = bounds;
        let low_at_least = |limit: &Decimal| self.low.as_ref().is_some_and(|low| low >= limit);
        let high_below = |limit: &Decimal| self.high.as_ref().is_some_and(|high| high < limit);
        match prefix {
            Prefix::Eq => low_at_least(from) && high_below(until),
            Prefix::Ne => !(low_at_least(from) && high_below(until)),
            Prefix::Gt => self.high.as_ref().is_none_or(|high| high > exact),
            Prefix::Ge => self.high.as_ref().is_none_or(|high| high >= exact),
            Prefix::Lt => self.low.as_ref().is_none_or(|low| low < exact),
            Prefix::Le => self.low.as_ref().is_none_or(|low| low <= exact),
            Prefix::Sa => self.low.as_ref().is_some_and(|low| low > exact),
            Prefix::Eb => self.high.as_ref().is_some_and(|high| high < exact),
            Prefix::Ap => {
                self.low.as_ref().is_none_or(|low| low <= until)
                    && self.high.as_ref().is_none_or(|high| high >= from)
            }
        }
    }
}

/// Whether a quantity has the unit; of a Range both ends that are there must.
fn has_unit(datatype: Datatype, value: &Value, unit: &Unit) -> bool {
    let one = |value: &Value| match unit {
        Unit::Any => true,
        Unit::Either(text) => str_of(value, "code") == Some(text) || str_of(value, "unit") == Some(text),
        Unit::Coded(system, code) => {
            str_of(value, "system") == Some(system) && str_of(value, "code") == Some(code)
        }
    };
    match datatype {
        Datatype::Range => ["low", "high"].iter().filter_map(|name| value.get(*name)).all(one),
        Datatype::Money => match unit {
            Unit::Any => true,
            Unit::Either(code) => str_of(value, "currency") == Some(code),
            Unit::Coded(system, code) => {
                system == "urn:iso:std:iso:4217" && str_of(value, "currency") == Some(code)
            }
        },
        _ => one(value),
    }
}

impl Span {
    /// FHIR R4 search.html#prefix: the range of the value against the range that was asked for.
    pub(super) fn meets(&self, prefix: Prefix, range: &super::date::DateRange) -> bool {
        let super::date::DateRange { from, until } = *range;
        let inside = self.from.is_some_and(|f| f >= from) && self.until.is_some_and(|u| u <= until);
        let reaches_above = self.until.is_none_or(|u| u > until);
        let reaches_below = self.from.is_none_or(|f| f < from);
        match prefix {
            Prefix::Eq => inside,
            Prefix::Ne => !inside,
            Prefix::Gt => reaches_above,
            Prefix::Ge => reaches_above || inside,
            Prefix::Lt => reaches_below,
            Prefix::Le => reaches_below || inside,
            Prefix::Sa => self.from.is_some_and(|f| f >= until),
            Prefix::Eb => self.until.is_some_and(|u| u <= from),
            Prefix::Ap => self.from.is_none_or(|f| f < until) && self.until.is_none_or(|u| u > from),
        }
    }
}
