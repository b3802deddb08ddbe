//! Parameters whose values are all those of others: `combo-code` finds what `code` or `component-code` finds.
//!
//! May import only std and what stands beside it in `fhir`.

use std::sync::Arc;

use super::compiler::Context;
use super::index::{Compiled, Part, Source};
use super::mark::has_ranges;
use super::parameters::Kind;
use super::path::{Datatype, Path, Step};

/// One place that values come from: what decides which marks a value bears.
#[derive(PartialEq)]
enum Place<'a> {
    Value(&'a [Step], Datatype, bool),
    Part(&'a Context, Vec<(Kind, Vec<Place<'a>>, bool)>),
}

/// Of the parameters of a type on a list, those whose every place is one of others on it, with these. They need no marks.
pub(super) fn bearers(all: &[Arc<Compiled>]) -> Vec<(Arc<Compiled>, Vec<Arc<Compiled>>)> {
    let places: Vec<(&Arc<Compiled>, Vec<Place<'_>>)> = all
        .iter()
        .filter(|one| can_be(one))
        .map(|one| (one, of(one)))
        .filter(|(_, its)| !its.is_empty())
        .collect();
    let found = places.iter().filter_map(|(one, wanted)| {
        let is_part = |(other, its): &&(&Arc<Compiled>, Vec<Place<'_>>)| {
            other.kind == one.kind
                && its.len() < wanted.len()
                && its.iter().all(|place| wanted.contains(place))
        };
        let parts: Vec<_> = places.iter().filter(is_part).collect();
        let is_whole = wanted.iter().all(|place| parts.iter().any(|(_, its)| its.contains(place)));
        is_whole.then(|| ((*one).clone(), parts.into_iter().map(|(other, _)| Arc::clone(other)).collect()))
    });
    let found: Vec<(Arc<Compiled>, Vec<Arc<Compiled>>)> = found.collect();
    // One that is itself found by others bears nothing: what it stands for is among the others.
    let bears = |one: &Arc<Compiled>| !found.iter().any(|(borne, _)| Arc::ptr_eq(borne, one));
    found
        .iter()
        .map(|(one, by)| (Arc::clone(one), by.iter().filter(|one| bears(one)).cloned().collect()))
        .collect()
}

/// Codes and numbers, and composites of them. A link is followed by the marks of its own parameter, a text may be marked piece
/// by piece, and what a tenant adds comes and goes.
fn can_be(one: &Compiled) -> bool {
    !one.is_added() && matches!(one.kind, Kind::Token | Kind::Quantity | Kind::Number | Kind::Composite)
}

fn of(one: &Compiled) -> Vec<Place<'_>> {
    match &one.source {
        Source::Paths(paths) => of_paths(paths),
        // Whether there is something else than `false` is no place.
        Source::NotFalse(_) => Vec::new(),
        Source::Composite(parts) => parts.iter().map(of_part).collect(),
    }
}

fn of_part(part: &Part) -> Place<'_> {
    let components = part.components.iter();
    let components = components.map(|one| (one.kind, of_paths(&one.paths), one.from_resource));
    Place::Part(&part.context, components.collect())
}

fn of_paths(paths: &[Path]) -> Vec<Place<'_>> {
    let ranges = has_ranges(paths);
    paths.iter().map(|path| Place::Value(&path.steps, path.datatype, ranges)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::super::definitions::loaded;
    use super::super::super::kinds::ResourceType;
    use super::super::{Listed, Searches};
    use super::*;

    #[test]
    fn what_others_find_is_known() {
        let searches = Searches::compile(loaded());
        let listed = Listed::known(&searches, &["all".to_owned()]);
        let mut found = Vec::new();
        for kind in ResourceType::all() {
            for (one, by) in bearers(listed.parameters(kind)) {
                let by: Vec<&str> = by.iter().map(|one| one.code.as_ref()).collect();
                found.push((kind.name(), one.code.to_string(), by.join(" ")));
            }
        }
        let what =
            ["code", "code-value-concept", "code-value-quantity", "data-absent-reason", "value-concept"];
        let wanted = what.into_iter().chain(["value-quantity"]).map(|one| {
            let mut by = [one.to_owned(), format!("component-{one}")];
            by.sort_unstable();
            ("Observation", format!("combo-{one}"), by.join(" "))
        });
        assert_eq!(found, wanted.collect::<Vec<_>>());
    }
}
