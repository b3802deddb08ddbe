//! The list of parameters that find records without a patient being named, and what is marked for each.
//!
//! May import only std and what stands beside it in `fhir`.
//!
//! A mark narrows and decides nothing: a search that has one opens every record that bears it. Of each value there
//! is a mark, or for texts and dates a few, so that what is asked for always has one that every match bears:
//!
//! | value | marks |
//! |---|---|
//! | text | its first 2, 3, 4, 6, 8 and 12 letters, folded, and the whole |
//! | text whose parameter is listed with `:contains` | its pieces as well ([`super::grams`]) |
//! | code, identifier, flag | the code in lower case, without its system |
//! | reference | the record it points at, by opaque key; or the URL |
//! | URL | the URL without a version |
//! | date, period | for its first day and its last: the day and the spans of 8, 64, 512 and 4,096 days it is in |
//!
//! | number, quantity | for its lower end and its upper: the rung it stands on ([`super::rungs`]) and the spans of 8, 64, 512 and 4,096 |
//! | quantity of a unit of UCUM | the same of what it measures ([`super::ucum`]) |
//! | composite | what its components have, in every combination within one part, and what the first has |

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use chrono::{DateTime, Datelike as _, Duration, Utc};
use serde_json::Value;

use super::super::compartment::can_be_about_a_patient;
use super::super::kinds::ResourceType;
use super::super::reference::BaseUrl;
use super::Prefix;
use super::date::DateRange;
use super::filter::{Filter, Values};
use super::fold::fold;
use super::grams;
use super::holds::{interval, local, texts};
use super::index::{Compiled, Searches, Source};
use super::joint::{of_first_terms, of_parts, of_terms};
use super::lists::{DEFAULT, Named, OWN, can_be_listed};
use super::parameters::Kind;
use super::path::{Datatype, Path};
use super::rungs::{self, Ladder};
use super::span::span;
use super::term::{Modifier, Target, Term};
use super::ucum::measured;

/// The lengths of the text beginnings that are marked, in characters.
const BEGINNINGS: [usize; 6] = [2, 3, 4, 6, 8, 12];
/// How many sizes of spans there are.
const SPANS: u8 = 5;
/// Days of the years 1800 to 2199, counted from the year 1; dates outside count as the nearest.
const DAYS: (i32, i32) = (657_072, 803_168);
/// The most marks of one value that is asked for; a search that would need more is not narrowed by it.
const ASKED_MAX: usize = 256;

/// The list in force.
#[derive(Default)]
pub struct Listed {
    /// In the order of [`ResourceType::all`].
    types: Vec<Vec<Arc<Compiled>>>,
    /// Of the texts among them, those that are marked piece by piece.
    pieces: HashSet<(ResourceType, Cow<'static, str>)>,
}

/// What is marked of a value.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mark<'a> {
    /// A text begins with this.
    Begins(Cow<'a, str>),
    /// A text is this.
    Whole(Cow<'a, str>),
    /// A text has this piece.
    Piece(Cow<'a, str>),
    /// A code.
    Code(Cow<'a, str>),
    /// A URL.
    Url(Cow<'a, str>),
    /// A record of this server.
    Record(ResourceType, Cow<'a, str>),
    /// The first day, or the lower end of numbers, is in a span: its size and number.
    First(u8, i32),
    /// The last day, or the upper end of numbers, is in a span.
    Last(u8, i32),
    /// What a number measures, or its lower end, is in a span: what it is a number of, the span's size and number.
    Least(u8, u8, i32),
    /// The upper end is in a span.
    Most(u8, u8, i32),
    /// One part of a composite bears all of these, component by component.
    Joint(Vec<Mark<'a>>),
}

impl Listed {
    /// A span of days is this power of two times as long as the one in it.
    pub const SPAN_BITS: u32 = 3;

    /// The default list with what else is named: `Type.parameter`, `added:Type.parameter` for one that tenants add, of a text
    /// also `Type.parameter:contains`, or `all` for everything that can be.
    ///
    /// # Errors
    /// The first name that no parameter has, or that is never listed.
    pub fn of(searches: &Searches, more: &[String]) -> Result<Self, String> {
        let wrong = |name: &&String| !Named::parse(name).is_some_and(|named| named.can_be(searches));
        match more.iter().filter(|name| *name != "all").find(wrong) {
            Some(name) => Err(name.clone()),
            None => Ok(Self::known(searches, more)),
        }
    }

    /// The same of names that have been checked.
    #[must_use]
    pub fn known(searches: &Searches, more: &[String]) -> Self {
        let all = more.iter().any(|name| name == "all");
        let names: Vec<Named<'_>> = more.iter().filter_map(|name| Named::parse(name)).collect();
        let types = ResourceType::all().map(|kind| {
            let by_default = |one: &Compiled| {
                let is = |(of, name): &(&str, &str)| (*of == "*" || *of == kind.name()) && *name == one.code;
                !one.is_added() && DEFAULT.iter().any(is)
            };
            let wanted = |one: &&Arc<Compiled>| {
                let named = names.iter().any(|name| name.is(one));
                can_be_listed(searches, one)
                    && (all || !can_be_about_a_patient(kind) || by_default(one) || named)
            };
            searches.of(kind).iter().filter(wanted).cloned().collect()
        });
        let types: Vec<Vec<Arc<Compiled>>> = types.collect();
        let in_pieces = |one: &&Arc<Compiled>| {
            one.kind == Kind::String && (all || names.iter().any(|name| name.in_pieces && name.is(one)))
        };
        let pieces = types.iter().flatten().filter(in_pieces).map(|one| (one.of, one.code.clone())).collect();
        Self { types, pieces }
    }

    /// Of the list, what tenants add.
    #[must_use]
    pub fn added(&self) -> Self {
        let added = |all: &Vec<Arc<Compiled>>| all.iter().filter(|one| one.is_added()).cloned().collect();
        Self { types: self.types.iter().map(added).collect(), pieces: self.pieces.clone() }
    }

    /// The list of what is marked under each patient's own key.
    #[must_use]
    pub fn own(searches: &Searches) -> Self {
        let types = ResourceType::all().map(|kind| {
            let wanted = |one: &&Arc<Compiled>| {
                can_be_about_a_patient(kind)
                    && can_be_listed(searches, one)
                    && OWN.contains(&one.code.as_ref())
                    && !one.is_added()
            };
            searches.of(kind).iter().filter(wanted).cloned().collect()
        });
        Self { types: types.collect(), pieces: HashSet::new() }
    }

    /// The parameters of a type that are on the list, in alphabetical order.
    #[must_use]
    pub fn parameters(&self, kind: ResourceType) -> &[Arc<Compiled>] {
        self.types.get(usize::from(kind.code().unsigned_abs()).saturating_sub(1)).map_or(&[], Vec::as_slice)
    }

    /// Everything on the list.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Compiled>> {
        self.types.iter().flatten()
    }

    /// The names of everything on the list: marks made by the same names and definitions are the same.
    pub fn names(&self) -> impl Iterator<Item = String> {
        self.all().map(|one| self.name(one))
    }

    /// How a parameter is named if it is on the list.
    #[must_use]
    pub fn name(&self, one: &Compiled) -> String {
        let pieces = if self.in_pieces(one) { ":contains" } else { "" };
        format!("{}.{}{pieces}", one.of.name(), one.code)
    }

    /// Calls `visit` with every mark of a resource.
    pub fn marks<'a>(
        &self,
        kind: ResourceType,
        resource: &'a Value,
        base: &BaseUrl,
        visit: &mut dyn FnMut(&Compiled, Mark<'a>),
    ) {
        for parameter in self.parameters(kind) {
            if let Source::Composite(parts) = &parameter.source {
                of_parts(parts, resource, base, &mut |mark| visit(parameter, mark));
            }
            let sort = (parameter.kind, parameter.paths());
            let in_pieces = self.in_pieces(parameter);
            parameter.visit(resource, &mut |path, value| {
                if in_pieces {
                    let mut piece = |piece: String| visit(parameter, Mark::Piece(piece.into()));
                    texts(path.datatype, value, &mut |text| grams::of_text(&fold(text), &mut piece));
                }
                of_value(sort, path, value, base, &mut |mark| visit(parameter, mark));
            });
        }
    }

    /// The marks of which every match of these values bears one; `None` if there are none, or too many.
    #[must_use]
    pub fn asked(&self, values: &Values) -> Option<Vec<Mark<'static>>> {
        let parameter = &values.parameter;
        if !self.has(parameter) || values.is_negated() {
            return None;
        }
        let mut marks = Vec::new();
        for term in &values.any {
            marks.extend(match (&parameter.source, term) {
                (_, Term::Contains(text) | Term::Ends(text)) if self.in_pieces(parameter) => {
                    grams::asked(text)?.map(|piece| Mark::Piece(piece.into())).into()
                }
                (Source::Composite(parts), Term::Composite(terms)) => of_terms(parts, terms, ASKED_MAX)?,
                _ => {
                    of_term((parameter.kind, parameter.paths()), &parameter.targets(), values.modifier, term)?
                }
            });
        }
        (marks.len() <= ASKED_MAX).then_some(marks)
    }

    /// The marks of which every match of a filter bears one, each with its parameter; `None` if there are none.
    #[must_use]
    pub fn marks_of<'f>(&self, filter: &'f Filter) -> Option<Vec<(&'f Compiled, Mark<'static>)>> {
        let found = match filter {
            Filter::Values(values) => {
                let asked = self.asked(values)?;
                asked.into_iter().map(|mark| (values.parameter.as_ref(), mark)).collect()
            }
            // Each of them is borne: the fewest do.
            Filter::All(all) => all.iter().filter_map(|one| self.marks_of(one)).min_by_key(Vec::len)?,
            Filter::Any(any) => {
                any.iter().map(|one| self.marks_of(one)).collect::<Option<Vec<_>>>()?.concat()
            }
            Filter::Missing(..) | Filter::Chain(_) | Filter::Has(_) | Filter::Not(_) => return None,
        };
        (found.len() <= ASKED_MAX).then_some(found)
    }

    /// Of a composite, the marks of its first component alone, of which every match bears one too: fewer, and more bear them.
    #[must_use]
    pub fn first_of<'f>(&self, filter: &'f Filter) -> Option<Vec<(&'f Compiled, Mark<'static>)>> {
        let Filter::Values(values) = filter else { return None };
        let Source::Composite(parts) = &values.parameter.source else { return None };
        self.asked(values)?;
        let mut found = Vec::new();
        for term in &values.any {
            let Term::Composite(terms) = term else { return None };
            found.extend(of_first_terms(parts, terms)?);
        }
        Some(found.into_iter().map(|mark| (values.parameter.as_ref(), mark)).collect())
    }

    /// Whether the texts of a parameter are marked piece by piece.
    fn in_pieces(&self, parameter: &Compiled) -> bool {
        self.pieces.contains(&(parameter.of, parameter.code.clone()))
    }

    /// Whether a parameter is on the list.
    #[must_use]
    pub fn has(&self, parameter: &Compiled) -> bool {
        self.parameters(parameter.of).binary_search_by(|one| one.code.cmp(&parameter.code)).is_ok()
    }
}

/// The kind of a parameter's values, and the places they come from.
pub(super) type Sort<'p> = (Kind, &'p [Path]);

/// Whether values may be from one number to another.
fn has_ranges(paths: &[Path]) -> bool {
    paths.iter().any(|path| path.datatype == Datatype::Range)
}

/// The marks of a value.
pub(super) fn of_value<'a>(
    (kind, paths): Sort<'_>,
    path: &Path,
    value: &'a Value,
    base: &BaseUrl,
    visit: &mut dyn FnMut(Mark<'a>),
) {
    let member = |value: &'a Value, name: &str| value.get(name).and_then(Value::as_str);
    let code = |text: &'a str| Mark::Code(text.to_lowercase().into());
    match (kind, path.datatype) {
        (Kind::Number | Kind::Quantity, datatype) => {
            if let Some(interval) = interval(datatype, value) {
                rungs::of_interval(Ladder::Written, &interval, has_ranges(paths), visit);
            }
            if let Some((of, interval)) = measured(datatype, value) {
                rungs::of_interval(Ladder::Measured(of), &interval, has_ranges(paths), visit);
            }
        }
        (Kind::String, datatype) => texts(datatype, value, &mut |text| {
            let folded = fold(text);
            for length in BEGINNINGS {
                let Some(beginning) = beginning(&folded, length) else { break };
                visit(Mark::Begins(beginning.to_owned().into()));
            }
            visit(Mark::Whole(folded.into()));
        }),
        (Kind::Date, datatype) => {
            if let Some(span) = span(datatype, value) {
                spans_of(Mark::First, first_day(span.from), visit);
                spans_of(Mark::Last, last_day(span.until), visit);
            }
        }
        (Kind::Reference, datatype) => {
            let text =
                if datatype == Datatype::Reference { member(value, "reference") } else { value.as_str() };
            let Some(text) = text else { return };
            match local(text, base) {
                Some((kind, id)) => visit(Mark::Record(kind, id)),
                None => visit(Mark::Url(without_version(text).into())),
            }
        }
        (Kind::Uri, _) => {
            value.as_str().map(|text| Mark::Url(without_version(text).into())).into_iter().for_each(visit)
        }
        (_, Datatype::CodeableConcept) => {
            let codings = value.get("coding").and_then(Value::as_array).into_iter().flatten();
            codings.filter_map(|one| member(one, "code")).map(code).for_each(visit);
        }
        (_, Datatype::Coding) => member(value, "code").map(code).into_iter().for_each(visit),
        (_, Datatype::Identifier | Datatype::ContactPoint) => {
            member(value, "value").map(code).into_iter().for_each(visit);
        }
        (_, Datatype::Boolean) => {
            let text = value.as_bool().map(|yes| if yes { "true" } else { "false" });
            text.map(code).into_iter().for_each(visit);
        }
        _ => value.as_str().map(code).into_iter().for_each(visit),
    }
}

/// The marks of which a value bears one if it meets the term.
pub(super) fn of_term(
    (_, paths): Sort<'_>,
    targets: &[ResourceType],
    modifier: Modifier,
    term: &Term,
) -> Option<Vec<Mark<'static>>> {
    let owned = |text: &str| Cow::Owned(text.to_owned());
    Some(match term {
        Term::Begins(text) => {
            let length = BEGINNINGS.into_iter().rev().find(|length| beginning(text, *length).is_some())?;
            vec![Mark::Begins(owned(beginning(text, length)?))]
        }
        Term::Exactly(text) => vec![Mark::Whole(fold(text).into())],
        Term::Same(text) => vec![Mark::Whole(owned(text))],
        Term::Token(token) => vec![Mark::Code(owned(token.lower.as_ref()?))],
        Term::In(codes) => codes.codes().map(|code| Mark::Code(code.to_lowercase().into())).collect(),
        Term::OfType { value, .. } => vec![Mark::Code(value.to_lowercase().into())],
        Term::Reference(Target::Local(Some(kind), id)) => vec![Mark::Record(*kind, owned(id.as_str()))],
        Term::Reference(Target::Local(None, id)) => {
            // Where nothing says what may be pointed at, it may be anything.
            let marks = targets.iter().map(|kind| Mark::Record(*kind, owned(id.as_str())));
            (!targets.is_empty()).then(|| marks.collect())?
        }
        Term::Reference(Target::Url(url, _)) => vec![Mark::Url(owned(url))],
        Term::Uri(url) if modifier == Modifier::None => vec![Mark::Url(owned(without_version(url)))],
        Term::Date(prefix, range) => of_range(*prefix, range)?,
        Term::Number(prefix, bounds) | Term::Quantity(prefix, bounds, _) => {
            rungs::of_bounds(Ladder::Written, *prefix, bounds, has_ranges(paths))?
        }
        Term::Measure(prefix, bounds, of) => {
            rungs::of_bounds(Ladder::Measured(*of), *prefix, bounds, has_ranges(paths))?
        }
        _ => return None,
    })
}

/// Which first or last days a span must have to meet a prefix (`Span::meets`): each case is necessary.
fn of_range(prefix: Prefix, range: &DateRange) -> Option<Vec<Mark<'static>>> {
    let (from, until) = (first_day(Some(range.from)), last_day(Some(range.until)));
    Some(match prefix {
        Prefix::Eq => cover(Mark::First, from, until),
        Prefix::Gt | Prefix::Ge => cover(Mark::Last, from, DAYS.1),
        Prefix::Lt | Prefix::Le | Prefix::Ap => cover(Mark::First, DAYS.0, until),
        // A span that starts when the range ends starts on its last day at the earliest.
        Prefix::Sa => cover(Mark::First, until, DAYS.1),
        Prefix::Eb => cover(Mark::Last, DAYS.0, from),
        Prefix::Ne => return None,
    })
}

/// The fewest spans that make up all days, or rungs, from one to another, both included.
pub(super) fn cover(mark: impl Fn(u8, i32) -> Mark<'static>, from: i32, until: i32) -> Vec<Mark<'static>> {
    let (mut marks, mut low, mut high, mut size) = (Vec::new(), from, until, 0_u8);
    let in_one = (1 << Listed::SPAN_BITS) - 1;
    while low <= high {
        if size + 1 == SPANS {
            marks.extend((low..=high).map(|number| mark(size, number)));
            break;
        }
        while low <= high && low & in_one != 0 {
            marks.push(mark(size, low));
            low += 1;
        }
        while low <= high && high & in_one != in_one {
            marks.push(mark(size, high));
            high -= 1;
        }
        if low > high {
            // Nothing is left; one span up the two would meet again.
            break;
        }
        (low, high) = (low >> Listed::SPAN_BITS, high >> Listed::SPAN_BITS);
        size += 1;
    }
    marks
}

/// The spans a day, or a rung, is in.
pub(super) fn spans_of<'a>(mark: impl Fn(u8, i32) -> Mark<'a>, day: i32, visit: &mut dyn FnMut(Mark<'a>)) {
    for size in 0..SPANS {
        visit(mark(size, day >> (u32::from(size) * Listed::SPAN_BITS)));
    }
}

/// The day of an instant; without one, the first there is.
fn first_day(from: Option<DateTime<Utc>>) -> i32 {
    from.map_or(DAYS.0, day_of)
}

/// The day of the last instant before this one; without one, the last there is.
fn last_day(until: Option<DateTime<Utc>>) -> i32 {
    until.map_or(DAYS.1, |until| day_of(until - Duration::nanoseconds(1)))
}

fn day_of(at: DateTime<Utc>) -> i32 {
    at.num_days_from_ce().clamp(DAYS.0, DAYS.1)
}

/// The first letters of a text; `None` if it has fewer.
fn beginning(text: &str, length: usize) -> Option<&str> {
    let end = text.char_indices().map(|(at, _)| at).chain([text.len()]).nth(length)?;
    text.get(..end)
}

fn without_version(url: &str) -> &str {
    url.split_once('|').map_or(url, |(url, _)| url)
}

#[cfg(test)]
#[path = "listed_tests.rs"]
mod tests;
