//! Invariants of R4 that need no `FHIRPath`: each is named by its key in the specification.

use chrono::{DateTime, FixedOffset};
use serde_json::{Map, Value};

use super::report::{Place, Rule};
use super::{Walk, rules};

/// Whether an object keeps one invariant.
type Keeps = fn(&Map<String, Value>) -> bool;

impl Walk<'_> {
    /// The invariants of the type of this name.
    pub(super) fn invariants(&mut self, place: &Place<'_>, object: &Map<String, Value>, name: &str) {
        let (rule, keeps): (Rule, Keeps) = match name {
            "Attachment" => (rules::ATTACHMENT_TYPE, |o| has(o, "contentType") || !has(o, "data")),
            "ContactPoint" => (rules::CONTACT_SYSTEM, |o| has(o, "system") || !has(o, "value")),
            "Observation" => (rules::OBSERVATION_ABSENT, |o| {
                !has(o, "dataAbsentReason") || !o.keys().any(|name| is_choice(name, "value"))
            }),
            "Patient.contact" => (rules::PATIENT_CONTACT, |o| {
                ["name", "telecom", "address", "organization"].iter().any(|name| has(o, name))
            }),
            "Period" => (rules::PERIOD_ORDER, |o| !ends_before_start(o)),
            "Age" | "Count" | "Distance" | "Duration" | "Quantity" => {
                (rules::QUANTITY_SYSTEM, |o| has(o, "system") || !has(o, "code"))
            }
            _ => return,
        };
        if !keeps(object) {
            self.report.breach(rule, place);
        }
    }
}

/// Whether the element is there, with a value or only with extensions.
fn has(object: &Map<String, Value>, name: &str) -> bool {
    object.contains_key(name) || object.iter().any(|(n, _)| n.strip_prefix('_') == Some(name))
}

fn is_choice(member: &str, element: &str) -> bool {
    member
        .trim_start_matches('_')
        .strip_prefix(element)
        .is_some_and(|kind| kind.starts_with(|first: char| first.is_ascii_uppercase()))
}

/// Whether a period surely ends before it starts: times that only might are let through.
fn ends_before_start(period: &Map<String, Value>) -> bool {
    let text = |name: &str| period.get(name).and_then(Value::as_str);
    let (Some(start), Some(end)) = (text("start"), text("end")) else { return false };
    match (instant(start), instant(end)) {
        (Some(start), Some(end)) => end < start,
        // With a day alone the zone is not known, and a day with a zone may be the day before.
        (Some(_), None) | (None, Some(_)) => false,
        (None, None) => {
            let shared = start.len().min(end.len());
            matches!((start.get(..shared), end.get(..shared)), (Some(start), Some(end)) if end < start)
        }
    }
}

fn instant(text: &str) -> Option<DateTime<FixedOffset>> {
    DateTime::parse_from_rfc3339(text).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_period_does_not_end_before_it_starts() {
        for (start, end, wrong) in [
            ("2020", "2020", false),
            ("2020", "2019", true),
            ("2020-05", "2020", false),
            ("2020-05", "2019", true),
            ("2020-05-02", "2020-05-01", true),
            ("2020-05-02", "2020-05", false),
            ("2020-05-02T10:00:00Z", "2020-05-02T09:59:59Z", true),
            ("2020-05-02T10:00:00+02:00", "2020-05-02T09:00:00Z", false),
            ("2020-05-02T10:00:00-02:00", "2020-05-02T11:00:00Z", true),
            ("2020-05-02T10:00:00Z", "2020-05-01", false),
            ("x", "", false),
            ("é", "e", false),
        ] {
            let period = json!({"start": start, "end": end});
            assert_eq!(period.as_object().map(ends_before_start), Some(wrong), "{start} {end}");
        }
    }
}
