//! The paths of FHIRPath Patch that are served, and the places they lead to.
//!
//! May import only std, `serde_json` and what stands above it.
//!
//! ```text
//! path    = Type step*
//! step    = "." element | "[" number "]" | ".first()" | ".last()" | ".where(" test ")"
//! test    = element ("." element)* "=" ( 'text' | number | true | false )
//! ```
//! `Type` is the resource's own type. An element that has a type in its name is written without it, as FHIRPath
//! does: `Observation.value`. Paths that go on below a primitive, such as to its extensions, are not served.

use serde_json::{Map, Value};

use super::super::definitions::{Definitions, Element, Property, Shape, Type};
use super::super::json::DEPTH_MAX;
use super::super::kinds::ResourceType;

/// The longest path, in bytes.
pub(super) const PATH_BYTES_MAX: usize = 1_024;

/// A path, taken apart.
pub(super) struct Path {
    pub(super) kind: ResourceType,
    pub(super) steps: Vec<Step>,
}

/// One step of a path.
pub(super) enum Step {
    /// All of an element's values.
    Element(String),
    /// One of what was found so far, from 0.
    Index(usize),
    /// The last of what was found so far.
    Last,
    /// Those in which an element, by names, equals a literal.
    Where(Vec<String>, Value),
}

impl Path {
    /// The path of this text; `None` if it is of none of the forms above.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.len() > PATH_BYTES_MAX {
            return None;
        }
        let (name, mut rest) = identifier(text.trim())?;
        let kind = ResourceType::from_name(name)?;
        let mut steps = Vec::new();
        while !rest.is_empty() {
            if steps.len() >= DEPTH_MAX {
                return None;
            }
            let (step, after) = step(rest)?;
            steps.push(step);
            rest = after;
        }
        Some(Self { kind, steps })
    }
}

fn identifier(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(text.len());
    let (name, rest) = text.split_at_checked(end)?;
    name.starts_with(|c: char| c.is_ascii_alphabetic()).then_some((name, rest))
}

fn step(text: &str) -> Option<(Step, &str)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (digits, rest) = rest.split_once(']')?;
        let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        return Some((Step::Index(plain.then(|| digits.parse().ok())??), rest));
    }
    let rest = text.strip_prefix('.')?;
    if let Some(rest) = rest.strip_prefix("first()") {
        return Some((Step::Index(0), rest));
    }
    if let Some(rest) = rest.strip_prefix("last()") {
        return Some((Step::Last, rest));
    }
    if let Some(rest) = rest.strip_prefix("where(") {
        return condition(rest);
    }
    let (name, rest) = identifier(rest)?;
    // A function that is not one of the above.
    if rest.starts_with('(') { None } else { Some((Step::Element(name.to_owned()), rest)) }
}

fn condition(text: &str) -> Option<(Step, &str)> {
    let (name, mut rest) = identifier(text.trim_start())?;
    let mut names = vec![name.to_owned()];
    while let Some(more) = rest.strip_prefix('.') {
        let (name, after) = identifier(more)?;
        names.push(name.to_owned());
        rest = after;
    }
    let rest = rest.trim_start().strip_prefix('=')?.trim_start();
    let (literal, rest) = if let Some(rest) = rest.strip_prefix('\'') {
        // A text without escapes: those that need one are not served.
        let (literal, rest) = rest.split_once('\'')?;
        if literal.contains('\\') {
            return None;
        }
        (Value::from(literal), rest)
    } else {
        let end = rest.find([')', ' '])?;
        let (literal, rest) = rest.split_at_checked(end)?;
        let value: Value = serde_json::from_str(literal).ok()?;
        if !(value.is_number() || value.is_boolean()) {
            return None;
        }
        (value, rest)
    };
    Some((Step::Where(names, literal), rest.trim_start().strip_prefix(')')?))
}

/// A place in a resource: members and indexes from its root, and what type stands there.
#[derive(Clone)]
pub(super) struct Spot<'d> {
    pub(super) at: Vec<Token>,
    pub(super) node: Node<'d>,
}

/// One step down into JSON.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Token {
    Member(String),
    Index(usize),
}

/// What stands at a place.
#[derive(Clone, Copy)]
pub(super) enum Node<'d> {
    Complex(&'d Type),
    Primitive,
}

/// Why a path leads to no place that can be patched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Astray {
    /// R4 has no such element there.
    Undefined,
    /// It goes on below a primitive.
    BelowPrimitive,
}

/// All the places that `steps` lead to from the resource.
pub(super) fn spots<'d>(
    definitions: &'d Definitions,
    resource: &Value,
    kind: ResourceType,
    steps: &[Step],
) -> Result<Vec<Spot<'d>>, Astray> {
    let root = definitions.resource(kind).ok_or(Astray::Undefined)?;
    let mut found = vec![Spot { at: Vec::new(), node: Node::Complex(root) }];
    for step in steps {
        found = match step {
            Step::Element(name) => {
                let mut next = Vec::new();
                for spot in &found {
                    children(definitions, resource, spot, name, &mut next)?;
                }
                // Nothing there is no error, but an element that R4 does not know is.
                next
            }
            Step::Index(index) => found.into_iter().skip(*index).take(1).collect(),
            Step::Last => found.pop().into_iter().collect(),
            Step::Where(names, literal) => {
                found.retain(|spot| {
                    look(resource, &spot.at).is_some_and(|value| holds(value, names, literal))
                });
                found
            }
        };
    }
    Ok(found)
}

fn children<'d>(
    definitions: &'d Definitions,
    resource: &Value,
    spot: &Spot<'d>,
    name: &str,
    into: &mut Vec<Spot<'d>>,
) -> Result<(), Astray> {
    let Node::Complex(kind) = spot.node else { return Err(Astray::BelowPrimitive) };
    if !kind.elements.iter().any(|element| *element.name == *name) {
        return Err(Astray::Undefined);
    }
    let Some(Value::Object(object)) = look(resource, &spot.at) else { return Ok(()) };
    let Some((member, property)) = present(kind, object, name) else { return Ok(()) };
    let node = |value: &Value| match property.shape {
        Shape::Primitive(_) => Some(Node::Primitive),
        Shape::Complex(id) => definitions.get(id).map(Node::Complex),
        Shape::Resource => {
            let named = value.get("resourceType").and_then(Value::as_str).and_then(ResourceType::from_name);
            named.and_then(|kind| definitions.resource(kind)).map(Node::Complex)
        }
    };
    let mut at = spot.at.clone();
    at.push(Token::Member(member.clone()));
    match object.get(&member) {
        Some(Value::Array(items)) => {
            for (index, item) in items.iter().enumerate() {
                let mut at = at.clone();
                at.push(Token::Index(index));
                into.extend(node(item).map(|node| Spot { at, node }));
            }
        }
        Some(value) => into.extend(node(value).map(|node| Spot { at, node })),
        // A primitive without a value, which has a companion only.
        None => into.push(Spot { at, node: Node::Primitive }),
    }
    Ok(())
}

/// The member that holds the element in this object: of a choice, whichever is there.
pub(super) fn present<'d>(
    kind: &'d Type,
    object: &Map<String, Value>,
    name: &str,
) -> Option<(String, &'d Property)> {
    object.keys().find_map(|written| {
        let member = written.strip_prefix('_').unwrap_or(written);
        let property = kind.property(member)?;
        let element = kind.element(property)?;
        (*element.name == *name).then(|| (member.to_owned(), property))
    })
}

/// The element of this name.
pub(super) fn element<'d>(kind: &'d Type, name: &str) -> Option<&'d Element> {
    kind.elements.iter().find(|element| *element.name == *name)
}

/// What stands at a place.
pub(super) fn look<'v>(resource: &'v Value, at: &[Token]) -> Option<&'v Value> {
    at.iter().try_fold(resource, |value, token| match token {
        Token::Member(name) => value.get(name),
        Token::Index(index) => value.get(index),
    })
}

/// The same, to be changed.
pub(super) fn look_mut<'v>(resource: &'v mut Value, at: &[Token]) -> Option<&'v mut Value> {
    at.iter().try_fold(resource, |value, token| match token {
        Token::Member(name) => value.get_mut(name),
        Token::Index(index) => value.get_mut(index),
    })
}

/// Whether some value at the names below equals the literal; lists are walked through.
fn holds(value: &Value, names: &[String], literal: &Value) -> bool {
    match (value, names.split_first()) {
        (Value::Array(items), _) => items.iter().any(|item| holds(item, names, literal)),
        (value, None) => value == literal,
        (Value::Object(object), Some((name, rest))) => {
            object.get(name).is_some_and(|inner| holds(inner, rest, literal))
        }
        _ => false,
    }
}
