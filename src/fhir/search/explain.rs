//! What a search costs and gives away, said before it is asked: for operators and people who write clients.
//!
//! May import only std and what stands beside it in `fhir`. It says what the server does because it asks what the server
//! asks: [`Query::candidates`], [`Listed::marks_of`] and [`Narrowness`].

use super::listed::Listed;
use super::mark::Mark;
use super::{Filter, Narrowness, Query};

/// What of a query narrows it, what is opened, and what the database learns; a line each. `own` are the parameters that are
/// marked under each patient's key.
#[must_use]
pub fn explain(query: &Query, listed: &Listed, own: &Listed) -> Vec<String> {
    let mut lines: Vec<String> =
        query.filters.iter().map(|filter| of_filter(query, filter, listed, own)).collect();
    if query.list.is_some() {
        lines.push("_list: the List is opened, and what it names is looked up by key".to_owned());
    }
    let kind = query.kind.name();
    let lead_on = query.joins().next().is_some();
    lines.push(match Narrowness::of(query, listed) {
        Narrowness::Few => format!("opened: the {kind} records that those keys or patients have"),
        Narrowness::Marks => format!("opened: the {kind} records that bear such marks"),
        Narrowness::Type if query.filters.is_empty() => {
            format!("opened: {kind} records from the newest on, until the page is full")
        }
        Narrowness::Type => format!("opened: every {kind} record, or those of a span of _lastUpdated"),
        Narrowness::None if lead_on => format!("opened: the {kind} records that the links lead to"),
        Narrowness::None => format!("refused: nothing narrows this search of {kind} (400 too-costly)"),
    });
    if !query.sort.is_empty() {
        lines.push("_sort: every match is opened before the first page".to_owned());
    }
    lines
}

fn of_filter(query: &Query, filter: &Filter, listed: &Listed, own: &Listed) -> String {
    let name = name_of(filter);
    if let Filter::Chain(chain) = filter {
        let targets: Vec<&str> = chain.links.iter().map(|(kind, _)| kind.name()).collect();
        return format!("{name}: followed to {}, each record opened", targets.join(", "));
    }
    if let Filter::Has(has) = filter {
        let (source, parameter) = (has.source.name(), has.parameter.code.as_ref());
        return format!("{name}: followed back from {source} by {parameter}, each record opened");
    }
    if filter.ids().is_some() {
        return format!("{name}: looks records up by key");
    }
    if name == "_lastUpdated" {
        return format!("{name}: narrows by the time of the row");
    }
    if filter.patients().is_some() {
        return format!("{name}: narrows to the patients' rows; the database sees their opaque keys");
    }
    let matched = format!("{name}: matched on each record that is opened");
    if Narrowness::of(query, listed) == Narrowness::Few {
        let candidates = query.candidates();
        let is_one_patients =
            candidates.ids.is_none() && candidates.patients.first().is_some_and(|one| one.len() == 1);
        let marks = own.marks_of(filter).filter(|_| is_one_patients && query.list.is_none());
        let Some((_, mark)) = marks.as_ref().and_then(|marks| marks.first()) else { return matched };
        let what = leak(mark);
        return format!(
            "{name}: narrows her rows by marks under her own key; the database sees, of hers alone, {what}"
        );
    }
    match listed.marks_of(filter) {
        Some(marks) => {
            let kinds = marks.first().map_or("nothing", |(_, mark)| leak(mark));
            let (count, s) = (marks.len(), if marks.len() == 1 { "" } else { "s" });
            format!("{name}: finds records by {count} blind mark{s}; the database sees {kinds}")
        }
        None => format!("{matched}; no mark finds it as it is asked"),
    }
}

/// The parameters a filter asks about, as one would say them.
fn name_of(filter: &Filter) -> String {
    let mut codes = filter.codes();
    codes.dedup();
    match filter {
        Filter::Has(_) => "_has".to_owned(),
        Filter::All(_) | Filter::Any(_) | Filter::Not(_) => format!("_filter ({})", codes.join(", ")),
        _ => codes.join(", "),
    }
}

/// What who watches the statements learns of a mark like this.
fn leak(mark: &Mark<'_>) -> &'static str {
    match mark {
        Mark::Begins(_) | Mark::Whole(_) => "which records share a beginning of a text",
        Mark::Piece(_) => "which records share a piece of a text",
        Mark::First(..) | Mark::Last(..) | Mark::Day(..) => {
            "which records fall into spans of days, or of numbers"
        }
        Mark::Least(..) | Mark::Most(..) => "which records fall into spans of what they measure",
        Mark::Joint(_) => "which records share a code with a value, or with a span of values",
        Mark::Record(..) => "which records point at the same one",
        Mark::Code(_) | Mark::Url(_) => "which records share a code",
    }
}
