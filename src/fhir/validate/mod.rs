//! Whether a resource keeps the structure of FHIR R4 (validation.html: structure, cardinality, value domains,
//! required bindings, invariants).
//!
//! May import only std, `serde_json` and `fhir::{definitions, fhirpath, json, kinds, outcome, primitive}`.
//!
//! Profiles, with their slices, are the business of [`profile`].

mod bound;
mod invariants;
mod members;
mod primitives;
pub mod profile;
mod reference;
mod report;
mod rules;
mod xhtml;

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;

use serde_json::{Map, Value};

use super::definitions::Definitions;
use super::fhirpath::Spot;
use super::kinds::ResourceType;
use super::outcome::Problem;
use report::{Place, Report};

/// The most problems one validation finds; it stops there.
pub const PROBLEMS_MAX: usize = 100;
/// How deep elements may be nested in each other. [`super::json::DEPTH_MAX`] is reached before.
const DEPTH_MAX: usize = 64;

/// Which problems are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Those that refuse the resource; rules that only warn are not looked at.
    Refusals,
    /// Warnings too.
    All,
}

/// What refuses the resource, in the order of its members; at most [`PROBLEMS_MAX`].
///
/// Looks into contained resources, the entries of a `Bundle` and the resources in `Parameters`. No problem quotes the
/// resource.
#[must_use]
pub fn validate(definitions: &Definitions, resource: &Value, expected: Option<ResourceType>) -> Vec<Problem> {
    problems(definitions, resource, expected, Wanted::Refusals)
}

/// The problems of the resource that are wanted: at most [`PROBLEMS_MAX`] that refuse it, then as many warnings.
#[must_use]
pub fn problems(
    definitions: &Definitions,
    resource: &Value,
    expected: Option<ResourceType>,
    wanted: Wanted,
) -> Vec<Problem> {
    let mut walk = Walk { definitions, wanted, steps: Rc::default(), report: Report::default() };
    let top = Place::Root(expected.map_or("Resource", ResourceType::name));
    walk.resource(&top, resource, Role::Top { expected });
    walk.report.into_problems()
}

/// One walk over a resource.
struct Walk<'d> {
    definitions: &'d Definitions,
    wanted: Wanted,
    steps: Rc<Cell<u32>>,
    report: Report,
}

/// How a resource stands in another one.
#[derive(Clone, Copy)]
enum Role<'c> {
    /// It does not.
    Top { expected: Option<ResourceType> },
    /// It stands on its own in a `Bundle` or in `Parameters`.
    Entry { depth: usize },
    /// It is contained, and is part of its container.
    Contained(&'c Scope<'c>),
}

/// What the elements of a resource need to know of it.
#[derive(Clone, Copy)]
struct Scope<'c> {
    /// The resources contained in it, or with it.
    contained: &'c HashMap<&'c str, ResourceType>,
    /// Whether `Type?query` may stand for a reference, as it may in a transaction (http.html#trules).
    standing: Standing,
    /// How many objects are around this one.
    depth: usize,
    /// The resource itself: `%resource` of invariants.
    resource: Spot<'c>,
    /// The one that contains it, or itself: `%rootResource`.
    root: Spot<'c>,
    /// What the invariants have cost so far.
    steps: &'c Cell<u32>,
}

/// Where the resource stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Alone,
    InBundle,
}

impl Scope<'_> {
    fn deeper(&self) -> Self {
        Self { depth: self.depth + 1, ..*self }
    }
}

impl<'d> Walk<'d> {
    fn resource(&mut self, place: &Place<'_>, value: &Value, role: Role<'_>) {
        let Value::Object(object) = value else {
            return self.report.breach(rules::NOT_AN_OBJECT, place);
        };
        let kind = match object.get("resourceType") {
            None => return self.report.breach(rules::TYPE_MISSING, place),
            Some(Value::String(name)) => ResourceType::from_name(name),
            Some(_) => None,
        };
        let Some(kind) = kind else {
            return self.report.breach(rules::TYPE_UNKNOWN, place);
        };
        let root = Place::Root(kind.name());
        match role {
            Role::Top { expected } => {
                if expected.is_some_and(|expected| expected != kind) {
                    return self.report.breach(rules::TYPE_WRONG, place);
                }
                self.standing_resource(&root, object, kind, Standing::Alone, 0);
            }
            Role::Entry { depth } => self.standing_resource(place, object, kind, Standing::InBundle, depth),
            Role::Contained(scope) => {
                self.contained_rules(place, object);
                if let Some(definition) = self.definitions.resource(kind) {
                    let scope = Scope { resource: Spot::complex(object, definition), ..*scope };
                    self.object(place, object, definition, &scope);
                }
            }
        }
    }

    /// A resource that is not contained, and may contain others.
    fn standing_resource(
        &mut self,
        place: &Place<'_>,
        object: &Map<String, Value>,
        kind: ResourceType,
        standing: Standing,
        depth: usize,
    ) {
        let mut contained = HashMap::new();
        if let Some(Value::Array(items)) = object.get("contained") {
            let list = place.element("contained");
            for (index, item) in items.iter().enumerate() {
                let (Some(Value::String(name)), Some(id)) = (item.get("resourceType"), item.get("id")) else {
                    continue;
                };
                let (Some(kind), Some(id)) = (ResourceType::from_name(name), id.as_str()) else { continue };
                if contained.insert(id, kind).is_some() {
                    self.report.breach(rules::CONTAINED_TWICE, &list.item(index).element("id"));
                }
            }
        }
        let Some(definition) = self.definitions.resource(kind) else { return };
        let resource = Spot::complex(object, definition);
        let steps = &*Rc::clone(&self.steps);
        let scope = Scope { contained: &contained, standing, depth, resource, root: resource, steps };
        self.object(place, object, definition, &scope);
        self.domain_rules(place, object, definition);
    }

    /// dom-2, dom-4 and dom-5 of DomainResource, and that a contained resource can be pointed at.
    fn contained_rules(&mut self, place: &Place<'_>, object: &Map<String, Value>) {
        if object.contains_key("contained") {
            self.report.breach(rules::CONTAINED_NESTED, place);
        }
        if !object.contains_key("id") {
            self.report.breach(rules::CONTAINED_ID, place);
        }
        let Some(Value::Object(meta)) = object.get("meta") else { return };
        if meta.contains_key("versionId") || meta.contains_key("lastUpdated") {
            self.report.breach(rules::CONTAINED_VERSIONED, place);
        }
        if meta.contains_key("security") {
            self.report.breach(rules::CONTAINED_SECURITY, place);
        }
    }
}

#[cfg(test)]
mod cases;
#[cfg(test)]
mod cases_links;
#[cfg(test)]
mod examples;
