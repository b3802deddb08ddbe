//! `$meta`, `$meta-add` and `$meta-delete` on a resource's JSON (FHIR R4 resource-operation-meta.html).
//!
//! May import only std, `serde_json` and what stands above it.

use serde_json::{Map, Value};

use super::super::outcome::{IssueCode, Problem};

/// The profiles, tags and security labels that are added or taken away.
pub(super) struct Meta {
    change: MetaChange,
    given: Map<String, Value>,
}

/// What is done with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetaChange {
    /// Each is there afterwards, once.
    Add,
    /// None is there afterwards.
    Delete,
}

const LISTS: [&str; 3] = ["profile", "security", "tag"];

impl Meta {
    pub(super) fn parse(resource: &Value, change: MetaChange) -> Result<Self, Problem> {
        let wrong = |text: &'static str| Problem::error(IssueCode::Required, text).by("meta.parameter");
        let parameters = resource.get("parameter").and_then(Value::as_array);
        let named = |p: &&Value| p.get("name").and_then(Value::as_str) == Some("meta");
        let mut found = parameters.into_iter().flatten().filter(named);
        let (first, second) = (found.next(), found.next());
        let given = first.and_then(|parameter| parameter.get("valueMeta")).and_then(Value::as_object);
        let (Some(given), None) = (given, second) else {
            return Err(wrong("Expected one parameter of the name meta, which is a valueMeta."));
        };
        if !given.keys().all(|name| LISTS.contains(&name.as_str())) {
            return Err(wrong("Only profile, security and tag of a meta can be added or deleted."));
        }
        Ok(Self { change, given: given.clone() })
    }

    /// The resource with the change made. What is there already is not added again, what is not there is no error.
    pub(super) fn apply(&self, mut resource: Value) -> Value {
        let Some(meta) = resource.get_mut("meta").and_then(Value::as_object_mut) else { return resource };
        for name in LISTS {
            let Some(Value::Array(given)) = self.given.get(name) else { continue };
            let mut items = match meta.get(name) {
                Some(Value::Array(items)) => items.clone(),
                _ => Vec::new(),
            };
            match self.change {
                MetaChange::Add => {
                    for item in given {
                        if !items.iter().any(|held| is_same(held, item)) {
                            items.push(item.clone());
                        }
                    }
                }
                MetaChange::Delete => items.retain(|held| !given.iter().any(|item| is_same(held, item))),
            }
            if items.is_empty() {
                meta.shift_remove(name);
            } else {
                meta.insert(name.to_owned(), Value::Array(items));
            }
        }
        resource
    }
}

/// Codings are the same by system and code, profiles by their text.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Object(a), Value::Object(b)) => {
            a.get("system") == b.get("system") && a.get("code") == b.get("code")
        }
        _ => one == other,
    }
}
