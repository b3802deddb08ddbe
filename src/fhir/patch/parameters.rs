//! FHIRPath Patch as a Parameters resource, taken apart (FHIR R4 fhirpatch.html).
//!
//! May import only std, `serde_json` and what stands above it.

use serde_json::Value;

use super::super::outcome::{IssueCode, Problem};
use super::element::{Act, Content, Operation};
use super::path::Path;
use super::{OPERATIONS_MAX, refuse, too_many};

/// How deep parts may stand in each other.
const PARTS_DEPTH_MAX: usize = 16;

/// Reads the operations of a Parameters resource that has been validated as one.
pub(super) fn parse(resource: &Value) -> Result<Vec<Operation>, Vec<Problem>> {
    let empty = Vec::new();
    let parameters = match resource.get("parameter") {
        None => &empty,
        Some(Value::Array(parameters)) => parameters,
        Some(_) => return Err(vec![Problem::error(IssueCode::Structure, "Expected a list of parameters.")]),
    };
    if parameters.len() > OPERATIONS_MAX {
        return Err(vec![too_many()]);
    }
    let (mut operations, mut problems) = (Vec::with_capacity(parameters.len()), Vec::new());
    for (index, parameter) in parameters.iter().enumerate() {
        match operation(parameter) {
            Ok(operation) => operations.push(operation),
            Err((code, what)) => problems.push(refuse(index + 1, code, what)),
        }
    }
    if problems.is_empty() { Ok(operations) } else { Err(problems) }
}

type Fault = (IssueCode, &'static str);

fn operation(parameter: &Value) -> Result<Operation, Fault> {
    if parameter.get("name").and_then(Value::as_str) != Some("operation") {
        return Err((IssueCode::Value, "a parameter of a FHIRPath Patch has the name operation"));
    }
    let parts = parameter.get("part").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let part = |name: &str| parts.iter().find(|part| part.get("name").and_then(Value::as_str) == Some(name));
    let text =
        |name: &str, member: &str| part(name).and_then(|part| part.get(member)).and_then(Value::as_str);
    let number = |name: &'static str, missing| {
        let found = part(name).and_then(|part| part.get("valueInteger")).and_then(Value::as_u64);
        found.and_then(|n| usize::try_from(n).ok()).ok_or((IssueCode::Required, missing))
    };
    let value = || {
        let part = part("value").ok_or((IssueCode::Required, "it needs a value"))?;
        content(part, 0).ok_or((IssueCode::Value, "its value is neither one value[x] nor parts"))
    };
    let known = ["type", "path", "name", "value", "index", "source", "destination"];
    let names = parts.iter().map(|part| part.get("name").and_then(Value::as_str).unwrap_or_default());
    if !names.clone().all(|name| known.contains(&name)) {
        return Err((IssueCode::Value, "it has a part that no FHIRPath Patch has"));
    }
    if known.iter().any(|name| names.clone().filter(|n| n == name).count() > 1) {
        return Err((IssueCode::Value, "it has a part twice"));
    }
    let path = text("path", "valueString")
        .ok_or((IssueCode::Required, "it needs a path, which is a valueString"))?;
    let path = Path::parse(path).ok_or((
        IssueCode::NotSupported,
        "its path is of no form that is served: Type.element, [n], .first(), .last() and .where(element = literal)",
    ))?;
    let act = match text("type", "valueCode") {
        Some("add") => {
            let name = text("name", "valueString");
            let name = name.ok_or((IssueCode::Required, "it needs a name, which is a valueString"))?;
            Act::Add(name.to_owned(), value()?)
        }
        Some("insert") => {
            Act::Insert(number("index", "it needs an index, which is a valueInteger from 0")?, value()?)
        }
        Some("delete") => Act::Delete,
        Some("replace") => Act::Replace(value()?),
        Some("move") => Act::Move(
            number("source", "it needs a source, which is a valueInteger from 0")?,
            number("destination", "it needs a destination, which is a valueInteger from 0")?,
        ),
        _ => return Err((IssueCode::Value, "its type is none of add, insert, delete, replace and move")),
    };
    Ok(Operation { path, act })
}

/// What a part holds: `value[x]` with its companion, parts, or a resource.
fn content(part: &Value, depth: usize) -> Option<Content> {
    if depth > PARTS_DEPTH_MAX {
        return None;
    }
    let object = part.as_object()?;
    if let Some(Value::Array(parts)) = object.get("part") {
        let named = parts.iter().map(|part| {
            let name = part.get("name")?.as_str()?.to_owned();
            Some((name, content(part, depth + 1)?))
        });
        return Some(Content::Parts(named.collect::<Option<_>>()?));
    }
    if let Some(resource) = object.get("resource") {
        return Some(Content::Resource(resource.clone()));
    }
    let mut found = Content::Value { suffix: String::new(), value: None, companion: None };
    let Content::Value { suffix, value, companion } = &mut found else { return None };
    for (name, inner) in object {
        let (place, kind) = match (name.strip_prefix("value"), name.strip_prefix("_value")) {
            (Some(kind), _) => (&mut *value, kind),
            (None, Some(kind)) => (&mut *companion, kind),
            (None, None) => continue,
        };
        if !suffix.is_empty() && suffix != kind {
            return None;
        }
        kind.clone_into(suffix);
        *place = Some(inner.clone());
    }
    (!suffix.is_empty()).then_some(found)
}
