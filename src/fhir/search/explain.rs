//! What a search costs and gives away, said before it is asked: for operators and people who write clients.
//!
//! May import only std and what stands beside it in `fhir`.

use super::super::compartment::can_be_about_a_patient;
use super::listed::{Listed, Mark};
use super::{Filter, Query};

/// What of a query narrows it, what is opened, and what the database learns; a line each.
#[must_use]
pub fn explain(query: &Query, listed: &Listed) -> Vec<String> {
    let kind = query.kind.name();
    let candidates = query.candidates();
    let few = candidates.ids.is_some() || !candidates.patients.is_empty();
    let (mut lines, mut marked) = (Vec::new(), false);
    for filter in &query.filters {
        lines.push(match filter {
            Filter::Values(values) => {
                let code = values.parameter.code;
                let names_patients = values.parameter.files_under_patients
                    && values.targets().is_some_and(|all| !all.is_empty());
                if values.ids().is_some() {
                    format!("{code}: looks records up by key")
                } else if code == "_lastUpdated" {
                    format!("{code}: narrows by the time of the row")
                } else if names_patients {
                    format!("{code}: narrows to the patients' rows; the database sees their opaque keys")
                } else if few {
                    format!("{code}: matched on each record that is opened")
                } else if let Some(marks) = listed.asked(values) {
                    marked = true;
                    format!(
                        "{code}: {} blind marks are asked for; the database sees {}",
                        marks.len(),
                        leak(&marks)
                    )
                } else {
                    format!("{code}: matched on each record that is opened; no mark finds it as it is asked")
                }
            }
            Filter::Missing(parameter, _) => {
                format!("{}: matched on each record that is opened", parameter.code)
            }
            Filter::Chain(chain) => {
                format!("{}: followed to other records, each opened", chain.parameter.code)
            }
            Filter::Has(has) => {
                format!(
                    "_has: followed back from {} by {}, each opened",
                    has.source.name(),
                    has.parameter.code
                )
            }
        });
    }
    let browses = candidates.updated_from.is_some() || query.filters.is_empty();
    lines.push(match (few, marked, can_be_about_a_patient(query.kind)) {
        (true, ..) => format!("opened: the {kind} records that those keys or patients have"),
        (_, true, _) => format!("opened: the {kind} records that bear such marks"),
        (_, _, false) => format!("opened: every {kind} record"),
        _ if browses => format!("opened: {kind} records from the newest on, until the page is full"),
        _ if query.joins().next().is_some() => format!("opened: the {kind} records that the links lead to"),
        _ => format!("refused: nothing narrows this search of {kind} (400 too-costly)"),
    });
    if !query.sort.is_empty() {
        lines.push("_sort: every match is opened before the first page".to_owned());
    }
    lines
}

/// What who watches the statements learns of marks like these.
fn leak(marks: &[Mark<'_>]) -> &'static str {
    match marks.first() {
        Some(Mark::Begins(_) | Mark::Whole(_)) => "which records share a beginning of a text",
        Some(Mark::First(..) | Mark::Last(..)) => "which records fall into spans of days",
        Some(Mark::Record(..)) => "which records point at the same one",
        Some(Mark::Code(_) | Mark::Url(_)) => "which records share a code",
        None => "nothing",
    }
}
