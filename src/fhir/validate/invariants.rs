//! The invariants of R4: most by their `FHIRPath`, those of every resource natively.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::super::definitions::{Invariant, Type};
use super::super::fhirpath::{Scene, Spot, Verdict};
use super::super::outcome::{IssueCode, Problem};
use super::report::Place;
use super::{Scope, Walk, Wanted, rules};

impl Walk<'_> {
    /// What these invariants say of a place. What they leave open is not held against it.
    pub(super) fn invariants(
        &mut self,
        place: &Place<'_>,
        invariants: &[Arc<Invariant>],
        spot: Spot<'_>,
        scope: &Scope<'_>,
    ) {
        for invariant in invariants {
            if invariant.warns && self.wanted == Wanted::Refusals {
                continue;
            }
            let Scope { resource, root, steps, .. } = *scope;
            let scene = Scene { definitions: self.definitions, resource, root, steps };
            match invariant.expression.holds(&scene, spot) {
                Verdict::Kept | Verdict::Open => continue,
                Verdict::TooCostly => return self.report.breach(rules::TOO_COSTLY, place),
                Verdict::Broken => {}
            }
            let problem = |at: String| {
                let text = invariant.text.to_string();
                let problem = if invariant.warns {
                    Problem::warning(IssueCode::Invariant, text)
                } else {
                    Problem::error(IssueCode::Invariant, text)
                };
                problem.by(invariant.rule.to_string()).at(at)
            };
            if invariant.warns { self.report.warn(place, problem) } else { self.report.add(place, problem) }
        }
    }

    /// dom-3 and dom-6 of DomainResource: what is contained is pointed at, and there is a narrative.
    pub(super) fn domain_rules(&mut self, place: &Place<'_>, object: &Map<String, Value>, definition: &Type) {
        if definition.property("contained").is_none() {
            return;
        }
        if let Some(Value::Array(items)) = object.get("contained") {
            let mut pointed = HashSet::new();
            object.values().for_each(|value| fragments(value, &mut pointed));
            let list = place.element("contained");
            for (index, item) in items.iter().enumerate() {
                let id = item.get("id").and_then(Value::as_str).unwrap_or_default();
                if !id.is_empty() && !pointed.contains(id) && !points_at_container(item) {
                    self.report.breach(rules::CONTAINED_UNUSED, &list.item(index));
                }
            }
        }
        if self.wanted == Wanted::All && !has_narrative(object) {
            self.report.warn(place, |at| {
                let rule = rules::NO_NARRATIVE;
                Problem::warning(rule.code, rule.text).by(rule.id).at(at)
            });
        }
    }
}

fn has_narrative(object: &Map<String, Value>) -> bool {
    object.get("text").is_some_and(|text| text.get("div").is_some() || text.get("_div").is_some())
}

/// What the texts in the value that begin with `#` say after it: references, canonicals, uris and urls. A text that is none
/// of these is `#` and an id by chance at most.
fn fragments<'v>(value: &'v Value, found: &mut HashSet<&'v str>) {
    match value {
        Value::String(text) => found.extend(text.strip_prefix('#')),
        Value::Array(items) => items.iter().for_each(|item| fragments(item, found)),
        Value::Object(object) => object.values().for_each(|value| fragments(value, found)),
        _ => {}
    }
}

fn points_at_container(value: &Value) -> bool {
    match value {
        Value::String(text) => text == "#",
        Value::Array(items) => items.iter().any(points_at_container),
        Value::Object(object) => object.values().any(points_at_container),
        _ => false,
    }
}
