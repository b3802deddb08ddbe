//! The operations of FHIRPath Patch on a resource (FHIR R4 fhirpatch.html).
//!
//! May import only std, `serde_json` and what stands above it.
//!
//! A primitive is a member and its companion `_member`; both are changed together, and in lists both have the
//! same length or the companion is not there.

use serde_json::{Map, Value};

use super::super::definitions::{Definitions, Max, Property, Shape, Type};
use super::super::json::DEPTH_MAX;
use super::super::outcome::{IssueCode, Problem};
use super::path::{Astray, Node, Path, Spot, Step, Token, element, look_mut, present, spots};
use super::refuse;

/// One operation.
pub(super) struct Operation {
    pub(super) path: Path,
    pub(super) act: Act,
}

/// What it does.
pub(super) enum Act {
    Add(String, Content),
    Insert(usize, Content),
    Delete,
    Replace(Content),
    Move(usize, usize),
}

/// What is put in.
pub(super) enum Content {
    /// `value[x]`: the letters after `value`, and the value with its companion.
    Value { suffix: String, value: Option<Value>, companion: Option<Value> },
    /// An element without a datatype's name, member by member.
    Parts(Vec<(String, Content)>),
    /// A resource.
    Resource(Value),
}

/// A value as it goes into a resource.
#[derive(Clone)]
struct Piece {
    value: Option<Value>,
    companion: Option<Value>,
}

type Fault = (IssueCode, &'static str);

const NOT_ONE: Fault = (IssueCode::MultipleMatches, "its path leads to more than one element");
const NOWHERE: Fault = (IssueCode::NotFound, "its path leads to no element");
const UNDEFINED: Fault = (IssueCode::NotFound, "R4 defines no such element there");
const MISMATCH: Fault = (IssueCode::Value, "its value is not of a type the element can have");
const RANGE: Fault = (IssueCode::Value, "its index is beyond the end of the list");
const NO_LIST: Fault = (IssueCode::Invalid, "its path leads to an element that does not repeat");

/// Applies the operations in their order.
pub(super) fn apply(
    operations: &[Operation],
    definitions: &Definitions,
    mut resource: Value,
) -> Result<Value, Problem> {
    for (index, operation) in operations.iter().enumerate() {
        run(operation, definitions, &mut resource).map_err(|(code, what)| refuse(index + 1, code, what))?;
    }
    Ok(resource)
}

fn run(operation: &Operation, definitions: &Definitions, resource: &mut Value) -> Result<(), Fault> {
    let Operation { path, act } = operation;
    let named = resource.get("resourceType").and_then(Value::as_str);
    if named != Some(path.kind.name()) {
        return Err((IssueCode::Invalid, "its path starts at another type than the resource's"));
    }
    let all = |steps: &[Step], resource: &Value| {
        spots(definitions, resource, path.kind, steps).map_err(|astray| match astray {
            Astray::Undefined => UNDEFINED,
            Astray::BelowPrimitive => {
                (IssueCode::NotSupported, "its path goes on below a primitive, which is not served")
            }
        })
    };
    match act {
        Act::Add(name, content) => {
            let spot = one(all(&path.steps, resource)?)?.ok_or(NOWHERE)?;
            add(definitions, resource, &spot, name, content)
        }
        Act::Delete => match one(all(&path.steps, resource)?)? {
            Some(spot) if spot.at.is_empty() => {
                Err((IssueCode::Invalid, "it deletes the resource; use DELETE"))
            }
            Some(spot) => delete(resource, &spot.at),
            None => Ok(()),
        },
        Act::Replace(content) => {
            let spot = one(all(&path.steps, resource)?)?.ok_or(NOWHERE)?;
            replace(definitions, resource, path, &spot, content)
        }
        Act::Insert(..) | Act::Move(..) => {
            let Some((Step::Element(name), parents)) = path.steps.split_last() else { return Err(NO_LIST) };
            let spot = one(all(parents, resource)?)?.ok_or(NOWHERE)?;
            let Node::Complex(kind) = spot.node else { return Err(UNDEFINED) };
            if element(kind, name).ok_or(UNDEFINED)?.max != Max::Many {
                return Err(NO_LIST);
            }
            let property = kind.property(name).ok_or(UNDEFINED)?;
            let mut list = List::open(resource, &spot.at, name)?;
            match act {
                Act::Insert(index, content) => {
                    if *index > list.values.len() {
                        return Err(RANGE);
                    }
                    list.insert(*index, build(definitions, property, name, content)?);
                }
                Act::Move(source, destination) => list.shift(*source, *destination)?,
                _ => {}
            }
            list.close(resource, &spot.at, name)
        }
    }
}

fn one(found: Vec<Spot<'_>>) -> Result<Option<Spot<'_>>, Fault> {
    if found.len() > 1 { Err(NOT_ONE) } else { Ok(found.into_iter().next()) }
}

fn add(
    definitions: &Definitions,
    resource: &mut Value,
    spot: &Spot<'_>,
    name: &str,
    content: &Content,
) -> Result<(), Fault> {
    let Node::Complex(kind) = spot.node else { return Err(UNDEFINED) };
    let element = element(kind, name).ok_or(UNDEFINED)?;
    let (member, property) = member_of(kind, name, content)?;
    let piece = build(definitions, property, &member, content)?;
    if spot.at.len() >= DEPTH_MAX {
        return Err((IssueCode::TooLong, "the resource would be nested more than 64 deep"));
    }
    if element.max == Max::Many {
        let mut list = List::open(resource, &spot.at, &member)?;
        let end = list.values.len();
        list.insert(end, piece);
        return list.close(resource, &spot.at, &member);
    }
    let object = look_mut(resource, &spot.at).and_then(Value::as_object_mut).ok_or(NOWHERE)?;
    if present(kind, object, name).is_some() {
        return Err((IssueCode::Duplicate, "the element is there and does not repeat; use replace"));
    }
    object.extend(piece.value.map(|value| (member.clone(), value)));
    object.extend(piece.companion.map(|companion| (format!("_{member}"), companion)));
    Ok(())
}

/// The member an element is written as with this content: a choice has the type in its name.
fn member_of<'d>(kind: &'d Type, name: &str, content: &Content) -> Result<(String, &'d Property), Fault> {
    let element = element(kind, name).ok_or(UNDEFINED)?;
    let member = match (element.choice, content) {
        (false, _) => name.to_owned(),
        (true, Content::Value { suffix, .. }) => format!("{name}{suffix}"),
        (true, _) => return Err(MISMATCH),
    };
    let property = kind.property(&member).ok_or(MISMATCH)?;
    Ok((member, property))
}

/// The value a content is, at a property.
fn build(
    definitions: &Definitions,
    property: &Property,
    member: &str,
    content: &Content,
) -> Result<Piece, Fault> {
    match (content, property.shape) {
        (Content::Value { value, companion, .. }, Shape::Primitive(_)) => {
            Ok(Piece { value: value.clone(), companion: companion.clone() })
        }
        (
            Content::Value { value: Some(value @ Value::Object(_)), companion: None, .. },
            Shape::Complex(_),
        )
        | (Content::Resource(value), Shape::Resource) => {
            Ok(Piece { value: Some(value.clone()), companion: None })
        }
        (Content::Parts(parts), Shape::Complex(id)) => {
            let kind = definitions.get(id).ok_or(MISMATCH)?;
            let mut object = Map::new();
            for (name, content) in parts {
                let (member, property) = member_of(kind, name, content)?;
                let piece = build(definitions, property, &member, content)?;
                let many = element(kind, name).is_some_and(|element| element.max == Max::Many);
                put(&mut object, &member, piece, many)?;
            }
            Ok(Piece { value: Some(Value::Object(object)), companion: None })
        }
        // A backbone has no name that `value[x]` could hold.
        _ if member.is_empty() => Err(UNDEFINED),
        _ => Err(MISMATCH),
    }
}

fn put(object: &mut Map<String, Value>, member: &str, piece: Piece, many: bool) -> Result<(), Fault> {
    if many {
        let mut holder = Value::Object(std::mem::take(object));
        let mut list = List::open(&mut holder, &[], member)?;
        let end = list.values.len();
        list.insert(end, piece);
        list.close(&mut holder, &[], member)?;
        if let Value::Object(filled) = holder {
            *object = filled;
        }
        return Ok(());
    }
    let companion = format!("_{member}");
    if object.contains_key(member) || object.contains_key(&companion) {
        return Err((IssueCode::Duplicate, "a part of its value stands twice and does not repeat"));
    }
    object.extend(piece.value.map(|value| (member.to_owned(), value)));
    object.extend(piece.companion.map(|value| (companion, value)));
    Ok(())
}

fn replace(
    definitions: &Definitions,
    resource: &mut Value,
    path: &Path,
    spot: &Spot<'_>,
    content: &Content,
) -> Result<(), Fault> {
    let Some(name) = path.steps.iter().rev().find_map(|step| match step {
        Step::Element(name) => Some(name),
        _ => None,
    }) else {
        return Err((IssueCode::Invalid, "it replaces the resource; use PUT"));
    };
    let (parents, index) = match spot.at.split_last() {
        Some((Token::Index(index), rest)) => {
            (rest.split_last().map(|(_, rest)| rest).unwrap_or_default(), Some(*index))
        }
        Some((Token::Member(_), rest)) => (rest, None),
        None => return Err(NOWHERE),
    };
    let parent = parent_kind(definitions, resource, path, parents)?;
    let (member, property) = member_of(parent, name, content)?;
    let piece = build(definitions, property, &member, content)?;
    if let Some(index) = index {
        let mut list = List::open(resource, parents, &member)?;
        list.set(index, piece)?;
        return list.close(resource, parents, &member);
    }
    let object = look_mut(resource, parents).and_then(Value::as_object_mut).ok_or(NOWHERE)?;
    let (old, _) = present(parent, object, name).ok_or(NOWHERE)?;
    let old_companion = format!("_{old}");
    let mut piece = Some(piece);
    // The new one stands where the old one stood, though a choice may change its name.
    for (name, value) in std::mem::take(object) {
        if name != old && name != old_companion {
            object.insert(name, value);
        } else if let Some(Piece { value, companion }) = piece.take() {
            object.extend(value.map(|value| (member.clone(), value)));
            object.extend(companion.map(|companion| (format!("_{member}"), companion)));
        }
    }
    Ok(())
}

/// The type of the object at a place: that of the spot whose place it is.
fn parent_kind<'d>(
    definitions: &'d Definitions,
    resource: &Value,
    path: &Path,
    at: &[Token],
) -> Result<&'d Type, Fault> {
    let mut found = None;
    for end in 0..path.steps.len() {
        let steps = path.steps.get(..end).unwrap_or_default();
        let spots = spots(definitions, resource, path.kind, steps).map_err(|_| UNDEFINED)?;
        let here = spots.into_iter().find(|spot| spot.at == at);
        if let Some(Spot { node: Node::Complex(kind), .. }) = here {
            found = Some(kind);
        }
    }
    found.ok_or(UNDEFINED)
}

/// Takes an element away, and the objects and lists that are empty without it.
fn delete(resource: &mut Value, at: &[Token]) -> Result<(), Fault> {
    let Some((last, parents)) = at.split_last() else { return Ok(()) };
    match last {
        Token::Member(name) => {
            let object = look_mut(resource, parents).and_then(Value::as_object_mut).ok_or(NOWHERE)?;
            object.shift_remove(name);
            object.shift_remove(&format!("_{name}"));
            if object.is_empty() && !parents.is_empty() {
                return delete(resource, parents);
            }
            Ok(())
        }
        Token::Index(index) => {
            let Some((Token::Member(name), holders)) = parents.split_last() else { return Err(NOWHERE) };
            let mut list = List::open(resource, holders, name)?;
            list.remove(*index)?;
            let is_empty = list.values.is_empty();
            list.close(resource, holders, name)?;
            let left = look_mut(resource, holders).and_then(Value::as_object_mut).ok_or(NOWHERE)?;
            if is_empty && left.is_empty() && !holders.is_empty() {
                return delete(resource, holders);
            }
            Ok(())
        }
    }
}

/// The values of a repeating element, with the companions of primitives beside them.
struct List {
    values: Vec<Value>,
    companions: Vec<Value>,
}

impl List {
    fn open(resource: &mut Value, holder: &[Token], member: &str) -> Result<Self, Fault> {
        let object = look_mut(resource, holder).and_then(Value::as_object_mut).ok_or(NOWHERE)?;
        let mut take = |name: &str| match object.get_mut(name) {
            None => Ok(Vec::new()),
            Some(Value::Array(items)) => Ok(std::mem::take(items)),
            Some(_) => Err(NO_LIST),
        };
        let (mut values, mut companions) = (take(member)?, take(&format!("_{member}"))?);
        let length = values.len().max(companions.len());
        values.resize(length, Value::Null);
        companions.resize(length, Value::Null);
        Ok(Self { values, companions })
    }

    fn insert(&mut self, at: usize, piece: Piece) {
        self.values.insert(at.min(self.values.len()), piece.value.unwrap_or(Value::Null));
        self.companions.insert(at.min(self.companions.len()), piece.companion.unwrap_or(Value::Null));
    }

    fn remove(&mut self, at: usize) -> Result<Piece, Fault> {
        if at >= self.values.len() {
            return Err(RANGE);
        }
        Ok(Piece { value: Some(self.values.remove(at)), companion: Some(self.companions.remove(at)) })
    }

    fn set(&mut self, at: usize, piece: Piece) -> Result<(), Fault> {
        let _old = self.remove(at)?;
        self.insert(at, piece);
        Ok(())
    }

    fn shift(&mut self, source: usize, destination: usize) -> Result<(), Fault> {
        if destination >= self.values.len() {
            return Err(RANGE);
        }
        let piece = self.remove(source)?;
        self.insert(destination, piece);
        Ok(())
    }

    /// Writes the list back where it was. A list of nothing is not written: FHIR JSON has no empty lists.
    fn close(self, resource: &mut Value, holder: &[Token], member: &str) -> Result<(), Fault> {
        let object = look_mut(resource, holder).and_then(Value::as_object_mut).ok_or(NOWHERE)?;
        for (name, items) in [(member.to_owned(), self.values), (format!("_{member}"), self.companions)] {
            if items.iter().all(Value::is_null) {
                object.shift_remove(&name);
            } else {
                object.insert(name, Value::Array(items));
            }
        }
        Ok(())
    }
}
