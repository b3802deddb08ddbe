//! What is marked of a value, and which marks are asked for.
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
//! | date, period | for its first day and its last: the day and the spans of 8, 64, 512 and 4,096 days it is in; of a single day, once |
//! | number, quantity | for its lower end and its upper: the rung it stands on ([`super::rungs`]) and the spans of 8, 64, 512 and 4,096 |
//! | quantity of a unit of UCUM | the same of what it measures ([`super::ucum`]) |
//! | composite | what its components have, in every combination within one part, and what the first has |

use std::borrow::Cow;

use chrono::{DateTime, Datelike as _, Duration, Utc};
use serde_json::Value;

use super::super::kinds::ResourceType;
use super::super::reference::BaseUrl;
use super::Prefix;
use super::date::DateRange;
use super::fold::fold;
use super::holds::{interval, local, texts};
use super::parameters::Kind;
use super::path::{Datatype, Path};
use super::rungs::{self, Ladder};
use super::span::span;
use super::term::{Modifier, Target, Term};
use super::ucum::measured;

/// The lengths of the text beginnings that are marked, in characters.
const BEGINNINGS: [usize; 6] = [2, 3, 4, 6, 8, 12];
/// Days of the years 1800 to 2199, counted from the year 1; dates outside count as the nearest.
pub(super) const DAYS: (i32, i32) = (657_072, 803_168);
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
    /// The only day is in a span.
    Day(u8, i32),
    /// What a number measures, or its lower end, is in a span: what it is a number of, the span's size and number.
    Least(u8, u8, i32),
    /// The upper end is in a span.
    Most(u8, u8, i32),
    /// One part of a composite bears all of these, component by component.
    Joint(Vec<Mark<'a>>),
}

impl Mark<'_> {
    /// A span of days is this power of two times as long as the one in it.
    pub const SPAN_BITS: u32 = 3;
    /// How many sizes of spans there are.
    pub const SIZES: u8 = 5;

    /// The span of a size that this one is in; whatever bears this bears that as well. What is no shorter span stays as it is.
    #[must_use]
    pub fn within(&self, size: u8) -> Self {
        let up = |of: u8, number: i32| {
            let wider = u32::from(size.saturating_sub(of)) * Self::SPAN_BITS;
            (of.max(size), number >> wider)
        };
        let span = |mark: fn(u8, i32) -> Self, of, number| {
            let (of, number) = up(of, number);
            mark(of, number)
        };
        match self {
            Self::First(of, number) => span(Self::First, *of, *number),
            Self::Last(of, number) => span(Self::Last, *of, *number),
            Self::Day(of, number) => span(Self::Day, *of, *number),
            Self::Least(what, of, number) => {
                let (of, number) = up(*of, *number);
                Self::Least(*what, of, number)
            }
            Self::Most(what, of, number) => {
                let (of, number) = up(*of, *number);
                Self::Most(*what, of, number)
            }
            Self::Joint(marks) => Self::Joint(marks.iter().map(|mark| mark.within(size)).collect()),
            other => other.clone(),
        }
    }
}

/// The kind of a parameter's values, and the places they come from.
pub(super) type Sort<'p> = (Kind, &'p [Path]);

/// Whether values may be from one number to another.
pub(super) fn has_ranges(paths: &[Path]) -> bool {
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
                let (first, last) = (first_day(span.from), last_day(span.until));
                if first == last {
                    spans_of(Mark::Day, first, visit);
                } else {
                    spans_of(Mark::First, first, visit);
                    spans_of(Mark::Last, last, visit);
                }
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
    let first = |from, until| [cover(Mark::Day, from, until), cover(Mark::First, from, until)].concat();
    let last = |from, until| [cover(Mark::Day, from, until), cover(Mark::Last, from, until)].concat();
    Some(match prefix {
        Prefix::Eq => first(from, until),
        Prefix::Gt | Prefix::Ge => last(from, DAYS.1),
        Prefix::Lt | Prefix::Le | Prefix::Ap => first(DAYS.0, until),
        // A span that starts when the range ends starts on its last day at the earliest.
        Prefix::Sa => first(until, DAYS.1),
        Prefix::Eb => last(DAYS.0, from),
        Prefix::Ne => return None,
    })
}

/// The fewest spans that make up all days, or rungs, from one to another, both included.
pub(super) fn cover(mark: impl Fn(u8, i32) -> Mark<'static>, from: i32, until: i32) -> Vec<Mark<'static>> {
    let (mut marks, mut low, mut high, mut size) = (Vec::new(), from, until, 0_u8);
    let in_one = (1 << Mark::SPAN_BITS) - 1;
    while low <= high {
        if size + 1 == Mark::SIZES {
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
        (low, high) = (low >> Mark::SPAN_BITS, high >> Mark::SPAN_BITS);
        size += 1;
    }
    marks
}

/// The spans a day, or a rung, is in.
pub(super) fn spans_of<'a>(mark: impl Fn(u8, i32) -> Mark<'a>, day: i32, visit: &mut dyn FnMut(Mark<'a>)) {
    for size in 0..Mark::SIZES {
        visit(mark(size, day >> (u32::from(size) * Mark::SPAN_BITS)));
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
