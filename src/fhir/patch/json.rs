//! JSON Patch (RFC 6902) with JSON Pointer (RFC 6901).
//!
//! May import only std and `serde_json`, and what stands above it. It is our own because members must keep their
//! order: the crates that do this remove a member by putting the last one in its place.

use serde_json::{Map, Value};

use super::super::json::DEPTH_MAX;
use super::super::outcome::{IssueCode, Problem};
use super::{COPIED_BYTES_MAX, OPERATIONS_MAX, refuse, too_many};

/// The tokens of a JSON Pointer, unescaped.
type Pointer = Vec<String>;

/// One operation (RFC 6902 §4).
pub(super) struct Operation {
    path: Pointer,
    act: Act,
}

enum Act {
    Add(Value),
    Remove,
    Replace(Value),
    Move(Pointer),
    Copy(Pointer),
    Test(Value),
}

/// Reads a patch document: a list of operations.
pub(super) fn parse(document: &Value) -> Result<Vec<Operation>, Vec<Problem>> {
    let Value::Array(items) = document else {
        let text = "A JSON Patch is a list of operations.";
        return Err(vec![Problem::error(IssueCode::Structure, text).by("patch.form")]);
    };
    if items.len() > OPERATIONS_MAX {
        return Err(vec![too_many()]);
    }
    let (mut operations, mut problems) = (Vec::with_capacity(items.len()), Vec::new());
    for (index, item) in items.iter().enumerate() {
        match operation(item) {
            Ok(operation) => operations.push(operation),
            Err((code, what)) => problems.push(refuse(index + 1, code, what)),
        }
    }
    if problems.is_empty() { Ok(operations) } else { Err(problems) }
}

type Fault = (IssueCode, &'static str);

fn operation(item: &Value) -> Result<Operation, Fault> {
    let text = |name: &str| item.get(name).and_then(Value::as_str);
    let pointer_of = |name: &str, missing| match text(name) {
        None => Err((IssueCode::Required, missing)),
        Some(text) => {
            pointer(text).ok_or((IssueCode::Value, "it holds what is no JSON Pointer of at most 64 steps"))
        }
    };
    let value = || item.get("value").cloned().ok_or((IssueCode::Required, "it needs a value"));
    let from = || pointer_of("from", "it needs a from, which is a JSON Pointer");
    let path = pointer_of("path", "it needs a path, which is a JSON Pointer")?;
    let act = match text("op") {
        Some("add") => Act::Add(value()?),
        Some("remove") => Act::Remove,
        Some("replace") => Act::Replace(value()?),
        Some("move") => Act::Move(from()?),
        Some("copy") => Act::Copy(from()?),
        Some("test") => Act::Test(value()?),
        _ => return Err((IssueCode::Value, "its op is none of add, remove, replace, move, copy and test")),
    };
    Ok(Operation { path, act })
}

/// `/a/b~1c`: every `~` is followed by 0 or 1 (RFC 6901 §3).
fn pointer(text: &str) -> Option<Pointer> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    let tokens: Option<Pointer> = text.strip_prefix('/')?.split('/').map(unescape).collect();
    tokens.filter(|tokens| tokens.len() <= DEPTH_MAX)
}

fn unescape(token: &str) -> Option<String> {
    let mut pieces = token.split('~');
    let mut out = pieces.next()?.to_owned();
    for piece in pieces {
        let rest = match piece.split_at_checked(1)? {
            ("0", rest) => ('~', rest),
            ("1", rest) => ('/', rest),
            _ => return None,
        };
        out.push(rest.0);
        out.push_str(rest.1);
    }
    Some(out)
}

/// Applies the operations in their order. The resource is the caller's again only when all of them were done.
pub(super) fn apply(operations: &[Operation], mut resource: Value) -> Result<Value, Problem> {
    let mut copied = 0;
    for (index, operation) in operations.iter().enumerate() {
        run(operation, &mut resource, &mut copied).map_err(|(code, what)| refuse(index + 1, code, what))?;
    }
    Ok(resource)
}

const NOWHERE: Fault = (IssueCode::NotFound, "its path leads nowhere in the resource");
const FROM_NOWHERE: Fault = (IssueCode::NotFound, "its from leads nowhere in the resource");

fn run(operation: &Operation, resource: &mut Value, copied: &mut usize) -> Result<(), Fault> {
    let path = &operation.path;
    match &operation.act {
        Act::Add(value) => add(resource, path, value.clone()),
        Act::Remove => remove(resource, path).map(drop).ok_or(NOWHERE),
        Act::Replace(value) => {
            fits(path, value)?;
            *find(resource, path).ok_or(NOWHERE)? = value.clone();
            Ok(())
        }
        Act::Move(from) => {
            if path.len() > from.len() && path.starts_with(from) {
                return Err((IssueCode::Invalid, "it moves an element into itself"));
            }
            let value = remove(resource, from).ok_or(FROM_NOWHERE)?;
            add(resource, path, value)
        }
        Act::Copy(from) => {
            let value = find(resource, from).ok_or(FROM_NOWHERE)?.clone();
            *copied = copied.saturating_add(size(&value));
            if *copied > COPIED_BYTES_MAX {
                return Err((IssueCode::TooCostly, "the patch copies more than 16 MiB"));
            }
            add(resource, path, value)
        }
        Act::Test(value) => {
            let found = find(resource, path).ok_or(NOWHERE)?;
            if is_equal(found, value) { Ok(()) } else { Err((IssueCode::Conflict, "the test failed")) }
        }
    }
}

fn find<'v>(value: &'v mut Value, path: &[String]) -> Option<&'v mut Value> {
    path.iter().try_fold(value, |value, token| match value {
        Value::Object(object) => object.get_mut(token),
        Value::Array(items) => items.get_mut(position(token)?),
        _ => None,
    })
}

/// An array index: digits without a leading zero (RFC 6901 §4).
fn position(token: &str) -> Option<usize> {
    let canonical = token == "0" || !token.starts_with('0');
    (canonical && token.bytes().all(|b| b.is_ascii_digit())).then(|| token.parse().ok())?
}

fn add(resource: &mut Value, path: &[String], value: Value) -> Result<(), Fault> {
    fits(path, &value)?;
    let Some((last, parents)) = path.split_last() else {
        *resource = value;
        return Ok(());
    };
    match find(resource, parents).ok_or(NOWHERE)? {
        Value::Object(object) => {
            object.insert(last.clone(), value);
            Ok(())
        }
        Value::Array(items) => {
            let at = if last == "-" { items.len() } else { position(last).ok_or(NOWHERE)? };
            if at > items.len() {
                return Err(NOWHERE);
            }
            items.insert(at, value);
            Ok(())
        }
        _ => Err(NOWHERE),
    }
}

fn remove(resource: &mut Value, path: &[String]) -> Option<Value> {
    let Some((last, parents)) = path.split_last() else {
        return Some(std::mem::replace(resource, Value::Object(Map::new())));
    };
    match find(resource, parents)? {
        // The others keep their order.
        Value::Object(object) => object.shift_remove(last),
        Value::Array(items) => {
            let at = position(last).filter(|at| *at < items.len())?;
            Some(items.remove(at))
        }
        _ => None,
    }
}

/// Whether the value may stand at the end of the path: nothing grows deeper than what could be sent.
fn fits(path: &[String], value: &Value) -> Result<(), Fault> {
    if path.len() + depth(value) > DEPTH_MAX {
        return Err((IssueCode::TooLong, "the resource would be nested more than 64 deep"));
    }
    Ok(())
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(object) => 1 + object.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// About how many bytes a value is as JSON.
fn size(value: &Value) -> usize {
    match value {
        Value::Array(items) => 2 + items.iter().map(|item| 1 + size(item)).sum::<usize>(),
        Value::Object(object) => {
            2 + object.iter().map(|(name, inner)| 4 + name.len() + size(inner)).sum::<usize>()
        }
        Value::String(text) => 2 + text.len(),
        Value::Number(number) => number.as_str().len(),
        Value::Bool(_) | Value::Null => 5,
    }
}

/// Equality as RFC 6902 §4.6 has it: members in any order, numbers by their value.
fn is_equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(a), Value::Number(b)) => decimal(a.as_str()) == decimal(b.as_str()),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_equal(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter().all(|(name, inner)| b.get(name).is_some_and(|other| is_equal(inner, other)))
        }
        _ => one == other,
    }
}

/// A number as sign, digits without zeros at either end, and the power of ten of the last digit.
fn decimal(text: &str) -> (bool, String, i64) {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (negative, mantissa) = mantissa.strip_prefix('-').map_or((false, mantissa), |rest| (true, rest));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let kept = digits.trim_start_matches('0').trim_end_matches('0');
    if kept.is_empty() {
        return (false, String::new(), 0);
    }
    let zeros = i64::try_from(digits.len() - digits.trim_end_matches('0').len()).unwrap_or(0);
    let places = i64::try_from(fraction.len()).unwrap_or(0);
    let exponent: i64 = exponent.parse().unwrap_or(i64::MAX / 4);
    (negative, kept.to_owned(), exponent.saturating_sub(places).saturating_add(zeros))
}
