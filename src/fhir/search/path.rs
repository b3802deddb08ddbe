//! Where the values of a search parameter stand in a resource, and what is there.
//!
//! May import only std, `serde_json` and `fhir::{definitions, kinds, primitive}`. Paths are made by [`super::compiler`].

use std::sync::Arc;

use serde_json::{Value, json};

use super::super::definitions::{Targets, ValueSet};
use super::super::kinds::ResourceType;
use super::super::primitive::Primitive;

/// What stands at the end of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each variant is the R4 datatype of the same name, or a family of them")]
pub enum Datatype {
    /// string, markdown
    Text,
    Code,
    Id,
    Boolean,
    /// uri, url, oid, uuid
    Uri,
    Canonical,
    /// date, dateTime, instant
    Date,
    /// decimal, integer, positiveInt, unsignedInt
    Number,
    Coding,
    CodeableConcept,
    Identifier,
    ContactPoint,
    HumanName,
    Address,
    /// Quantity, Age, Count, Distance, Duration
    Quantity,
    Money,
    Range,
    SampledData,
    Period,
    Timing,
    Reference,
}

impl Datatype {
    pub(super) fn of_primitive(primitive: Primitive) -> Option<Self> {
        Some(match primitive {
            Primitive::String | Primitive::Markdown => Self::Text,
            Primitive::Code => Self::Code,
            Primitive::Id => Self::Id,
            Primitive::Boolean => Self::Boolean,
            Primitive::Uri | Primitive::Url | Primitive::Oid | Primitive::Uuid => Self::Uri,
            Primitive::Canonical => Self::Canonical,
            Primitive::Date | Primitive::DateTime | Primitive::Instant => Self::Date,
            Primitive::Decimal | Primitive::Integer | Primitive::PositiveInt | Primitive::UnsignedInt => {
                Self::Number
            }
            Primitive::Base64Binary | Primitive::Time | Primitive::Xhtml => return None,
        })
    }

    pub(super) fn of_type(name: &str) -> Option<Self> {
        Some(match name {
            "Coding" => Self::Coding,
            "CodeableConcept" => Self::CodeableConcept,
            "Identifier" => Self::Identifier,
            "ContactPoint" => Self::ContactPoint,
            "HumanName" => Self::HumanName,
            "Address" => Self::Address,
            "Quantity" | "Age" | "Count" | "Distance" | "Duration" => Self::Quantity,
            "Money" => Self::Money,
            "Range" => Self::Range,
            "SampledData" => Self::SampledData,
            "Period" => Self::Period,
            "Timing" => Self::Timing,
            "Reference" => Self::Reference,
            _ => return None,
        })
    }
}

/// One way from a resource, or a part of it, to values of one datatype.
#[derive(Clone, Debug)]
pub struct Path {
    pub(super) steps: Vec<Step>,
    /// What stands there.
    pub datatype: Datatype,
    /// Of a code: the required `ValueSet`, which says its system.
    pub codes: Option<Arc<ValueSet>>,
    /// Of a Reference: where it may point.
    pub(super) targets: Targets,
    pub(super) only: Option<ResourceType>,
}

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Member(Box<str>),
    /// Of an array, the first item.
    First,
    /// Only objects in which this member is this text.
    Equals(Box<str>, Box<str>),
    /// Only References to this type, as far as their text says.
    Names(ResourceType),
}

impl Path {
    /// Calls `visit` with every value at the path, arrays walked through.
    pub fn visit<'a>(&self, value: &'a Value, visit: &mut dyn FnMut(&'a Value)) {
        walk(&self.steps, value, visit);
    }

    /// The smallest resource with a value at the path.
    pub(super) fn sample(&self, value: Value) -> Value {
        self.steps.iter().rfold(value, |inner, step| match step {
            Step::Member(name) => json!({ name.as_ref(): inner }),
            Step::First => json!([inner]),
            Step::Equals(name, text) => {
                let mut inner = inner;
                if let Value::Object(members) = &mut inner {
                    members.insert(name.to_string(), json!(text));
                }
                inner
            }
            Step::Names(_) => inner,
        })
    }

    /// Whether a Reference at the path may point at the type.
    #[must_use]
    pub fn may_point_at(&self, kind: ResourceType) -> bool {
        self.datatype == Datatype::Reference
            && self.only.is_none_or(|only| only == kind)
            && self.targets.allow(kind)
    }
}

/// Calls `visit` with every value that these steps lead to, arrays walked through.
pub(super) fn walk<'a>(steps: &[Step], value: &'a Value, visit: &mut dyn FnMut(&'a Value)) {
    if let (Some((Step::First, rest)), Value::Array(items)) = (steps.split_first(), value) {
        if let Some(first) = items.first() {
            walk(rest, first, visit);
        }
        return;
    }
    if let Value::Array(items) = value {
        for item in items {
            walk(steps, item, visit);
        }
        return;
    }
    let Some((step, rest)) = steps.split_first() else {
        if !value.is_null() {
            visit(value);
        }
        return;
    };
    match step {
        Step::Member(name) => {
            if let Some(inner) = value.get(name.as_ref()) {
                walk(rest, inner, visit);
            }
        }
        Step::First => walk(rest, value, visit),
        Step::Equals(name, text) => {
            if value.get(name.as_ref()).and_then(Value::as_str) == Some(text.as_ref()) {
                walk(rest, value, visit);
            }
        }
        Step::Names(kind) => {
            if names_type(value, *kind) {
                walk(rest, value, visit);
            }
        }
    }
}

/// Whether a Reference names this type: by its address or, having none, by `Reference.type`.
fn names_type(value: &Value, kind: ResourceType) -> bool {
    match value.get("reference").and_then(Value::as_str) {
        Some(text) => {
            let path = text.split("/_history/").next().unwrap_or(text);
            path.rsplit('/').nth(1) == Some(kind.name())
        }
        None => value.get("type").and_then(Value::as_str) == Some(kind.name()),
    }
}

#[cfg(test)]
#[path = "path_tests.rs"]
mod tests;
