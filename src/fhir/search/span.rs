//! The time a value of a record stands for (FHIR R4 search.html#date).
//!
//! May import only std, chrono, `serde_json` and what stands beside it in `fhir`.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::date::DateRange;
use super::path::Datatype;

/// Instants from the first up to and without the last; `None` is without end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from: Option<DateTime<Utc>>,
    pub(super) until: Option<DateTime<Utc>>,
}

/// The span of a date, dateTime, instant, Period or Timing; `None` if it says nothing of when.
///
/// Of a Timing only the outer limits count: those of its events and of `repeat.boundsPeriod`.
pub(super) fn span(datatype: Datatype, value: &Value) -> Option<Span> {
    match datatype {
        Datatype::Date => of_text(value),
        Datatype::Period => of_period(value),
        Datatype::Timing => {
            let events = value.get("event").and_then(Value::as_array).into_iter().flatten();
            let bounds = value.get("repeat").and_then(|repeat| repeat.get("boundsPeriod"));
            events.filter_map(of_text).chain(bounds.and_then(of_period)).reduce(|a, b| Span {
                // Without end is the least and the most there is.
                from: a.from.zip(b.from).map(|(a, b)| a.min(b)),
                until: a.until.zip(b.until).map(|(a, b)| a.max(b)),
            })
        }
        _ => None,
    }
}

fn of_text(value: &Value) -> Option<Span> {
    let range = DateRange::parse(value.as_str()?)?;
    Some(Span { from: Some(range.from), until: Some(range.until) })
}

fn of_period(value: &Value) -> Option<Span> {
    let end = |name: &str| DateRange::parse(value.get(name)?.as_str()?);
    let (start, end) = (end("start"), end("end"));
    (start.is_some() || end.is_some())
        .then(|| Span { from: start.map(|range| range.from), until: end.map(|range| range.until) })
}
