//! Where a search parameter looks: the part of `FHIRPath` that R4's expressions use, compiled to JSON members.
//!
//! May import only std, `serde_json` and `fhir::{definitions, kinds, primitive}`.
//!
//! ```text
//! union    alternative ( '|' alternative )*
//! path     Type ( '.' step )*     or  '(' path ' as ' T ')' ( '.' step )*
//! step     name | name[0] | as(T) | ofType(T) | where(name='value') | where(resolve() is Type)
//! ```
//! Steps are followed through the definitions, so that `value` becomes `valueQuantity`, `valueString` and so
//! on, and what stands at the end of each is known and not guessed.

use std::sync::Arc;

use serde_json::{Value, json};

use super::super::definitions::{Definitions, Property, Shape, Targets, Type, ValueSet};
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
    fn of_primitive(primitive: Primitive) -> Option<Self> {
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

    fn of_type(name: &str) -> Option<Self> {
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
    steps: Vec<Step>,
    /// What stands there.
    pub datatype: Datatype,
    /// Of a code: the required `ValueSet`, which says its system.
    pub codes: Option<Arc<ValueSet>>,
    /// Of a Reference: where it may point.
    targets: Targets,
    only: Option<ResourceType>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
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

fn walk<'a>(steps: &[Step], value: &'a Value, visit: &mut dyn FnMut(&'a Value)) {
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

/// The compiler of expressions.
#[derive(Clone, Copy)]
pub(super) struct Compiler<'d> {
    pub(super) definitions: &'d Definitions,
}

/// A part of a resource that further paths start from.
#[derive(Clone)]
pub(super) struct Start<'d> {
    steps: Vec<Step>,
    of: &'d Type,
}

impl Start<'_> {
    /// Calls `visit` with every such part of a resource.
    pub(super) fn visit<'a>(steps: &Context, value: &'a Value, visit: &mut dyn FnMut(&'a Value)) {
        walk(&steps.0, value, visit);
    }
}

/// The way to the parts of a resource that a composite parameter looks at.
#[derive(Clone, Debug)]
pub(super) struct Context(Vec<Step>);

impl Start<'_> {
    pub(super) fn context(&self) -> Context {
        Context(self.steps.clone())
    }
}

/// Where a walk through the definitions has come to.
#[derive(Clone)]
struct State<'d> {
    steps: Vec<Step>,
    at: At<'d>,
    /// The element it came through, and its member's name.
    element: Option<(Box<str>, Box<str>)>,
    codes: Option<Arc<ValueSet>>,
    targets: Targets,
    only: Option<ResourceType>,
}

#[derive(Clone, Copy)]
enum At<'d> {
    Type(&'d Type),
    Primitive(Primitive),
    Resource,
}

impl<'d> Compiler<'d> {
    /// The paths of an expression over resources of a type; `None` if it uses more than this module knows.
    ///
    /// Ways that lead to a datatype no search looks at (a time, an Annotation) are left out.
    pub(super) fn paths(self, kind: ResourceType, expression: &str) -> Option<Vec<Path>> {
        let start = self.resource(kind)?;
        let mut found = Vec::new();
        for alternative in expression.split('|') {
            found.extend(self.alternative(&start, Some(kind), alternative.trim())?);
        }
        finish(found)
    }

    /// The parts of a resource an expression leads to: the resource itself, or elements with a type inside.
    pub(super) fn starts(self, kind: ResourceType, expression: &str) -> Option<Vec<Start<'d>>> {
        let start = self.resource(kind)?;
        let mut found = Vec::new();
        for alternative in expression.split('|') {
            for state in self.alternative(&start, Some(kind), alternative.trim())? {
                let At::Type(of) = state.at else { return None };
                found.push(Start { steps: state.steps, of });
            }
        }
        Some(found)
    }

    /// The paths of an expression that starts inside a part of a resource.
    pub(super) fn inside(self, start: &Start<'d>, expression: &str) -> Option<Vec<Path>> {
        let start = Start { steps: Vec::new(), of: start.of };
        let mut found = Vec::new();
        for alternative in expression.split('|') {
            found.extend(self.alternative(&start, None, alternative.trim())?);
        }
        finish(found)
    }

    fn resource(self, kind: ResourceType) -> Option<Start<'d>> {
        Some(Start { steps: Vec::new(), of: self.definitions.resource(kind)? })
    }

    fn alternative(
        self,
        start: &Start<'d>,
        kind: Option<ResourceType>,
        text: &str,
    ) -> Option<Vec<State<'d>>> {
        // `(path as T).rest`
        if let Some(inner) = text.strip_prefix('(') {
            let (inner, rest) = inner.split_once(')')?;
            let (path, choice) = inner.split_once(" as ")?;
            let states = self.alternative(start, kind, path.trim())?;
            let states = choose(&states, choice.trim())?;
            return self.follow(states, rest.strip_prefix('.').unwrap_or(rest));
        }
        let text = match kind {
            None => text,
            Some(kind) => {
                let after = [kind.name(), "Resource", "DomainResource"]
                    .into_iter()
                    .find_map(|name| text.strip_prefix(name).filter(|r| r.is_empty() || r.starts_with('.')));
                after.map(|rest| rest.strip_prefix('.').unwrap_or(rest))?
            }
        };
        let (steps, at) = (start.steps.clone(), At::Type(start.of));
        let first = State { steps, at, element: None, codes: None, targets: Targets::ANY, only: None };
        self.follow(vec![first], text)
    }

    /// Takes the steps of `a.b.where(c='d').e`.
    fn follow(self, mut states: Vec<State<'d>>, text: &str) -> Option<Vec<State<'d>>> {
        for step in steps_of(text)? {
            states = if let Some(choice) = call(step, "as").or_else(|| call(step, "ofType")) {
                choose(&states, choice)?
            } else if let Some(condition) = call(step, "where") {
                restrict(states, condition)?
            } else if let Some(name) = step.strip_suffix("[0]") {
                let mut states = self.member(&states, name)?;
                states.iter_mut().for_each(|state| state.steps.push(Step::First));
                states
            } else {
                self.member(&states, step)?
            };
        }
        Some(states)
    }

    /// The members an element is written as, from each state.
    fn member(self, states: &[State<'d>], name: &str) -> Option<Vec<State<'d>>> {
        let mut found = Vec::new();
        for state in states {
            let At::Type(of) = state.at else { return None };
            let mut members: Vec<(&str, &Property)> = of
                .properties()
                .filter(|(_, property)| of.element(property).is_some_and(|e| e.name.as_ref() == name))
                .collect();
            members.sort_unstable_by_key(|(member, _)| *member);
            for (member, property) in members {
                let at = match property.shape {
                    Shape::Primitive(primitive) => At::Primitive(primitive),
                    Shape::Complex(id) => At::Type(self.definitions.get(id)?),
                    Shape::Resource => At::Resource,
                };
                let binding = of.element(property).and_then(|element| element.binding);
                let mut steps = state.steps.clone();
                steps.push(Step::Member(member.into()));
                found.push(State {
                    steps,
                    at,
                    element: Some((name.into(), member.into())),
                    codes: binding.and_then(|id| self.definitions.value_set(id)).map(|v| Arc::new(v.clone())),
                    targets: property.targets,
                    only: None,
                });
            }
        }
        (!found.is_empty()).then_some(found)
    }
}

/// The paths among the states, those with a datatype that is searched.
fn finish(states: Vec<State<'_>>) -> Option<Vec<Path>> {
    let paths: Vec<Path> = states
        .into_iter()
        .filter_map(|state| {
            let datatype = match state.at {
                At::Type(of) => Datatype::of_type(&of.name)?,
                At::Primitive(primitive) => Datatype::of_primitive(primitive)?,
                At::Resource => return None,
            };
            let State { steps, codes, targets, only, .. } = state;
            Some(Path { steps, datatype, codes, targets, only })
        })
        .collect();
    (!paths.is_empty()).then_some(paths)
}

/// The states that came through an element as this type: `valueQuantity` for `value` and `Quantity`. Of an
/// element of one type, those of that type.
fn choose<'d>(states: &[State<'d>], choice: &str) -> Option<Vec<State<'d>>> {
    let mut letters = choice.chars();
    let capital: String = letters.next()?.to_uppercase().chain(letters).collect();
    let is_chosen = |state: &&State<'d>| {
        let Some((element, member)) = &state.element else { return false };
        member.strip_prefix(element.as_ref()) == Some(&capital)
            || matches!(state.at, At::Type(of) if element == member && of.name.as_ref() == choice)
    };
    let chosen: Vec<State<'d>> = states.iter().filter(is_chosen).cloned().collect();
    (!chosen.is_empty()).then_some(chosen)
}

/// `where(name='value')` or `where(resolve() is Type)`.
fn restrict<'d>(mut states: Vec<State<'d>>, condition: &str) -> Option<Vec<State<'d>>> {
    if let Some(name) = condition.strip_prefix("resolve() is ") {
        let kind = ResourceType::from_name(name.trim())?;
        for state in &mut states {
            state.steps.push(Step::Names(kind));
            state.only = Some(kind);
        }
        return Some(states);
    }
    let (name, value) = condition.split_once('=')?;
    let value = value.trim().strip_prefix('\'')?.strip_suffix('\'')?;
    for state in &mut states {
        state.steps.push(Step::Equals(name.trim().into(), value.into()));
    }
    Some(states)
}

/// The argument of `function(argument)`.
fn call<'a>(step: &'a str, function: &str) -> Option<&'a str> {
    step.strip_prefix(function)?.strip_prefix('(')?.strip_suffix(')')
}

/// Splits at dots that stand in no parentheses; `None` if those do not match.
fn steps_of(text: &str) -> Option<Vec<&str>> {
    let (mut steps, mut depth, mut from) = (Vec::new(), 0_usize, 0);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'(' => depth += 1,
            b')' => depth = depth.checked_sub(1)?,
            b'.' if depth == 0 => {
                steps.push(text.get(from..at)?);
                from = at + 1;
            }
            _ => {}
        }
    }
    if from < text.len() {
        steps.push(text.get(from..)?);
    }
    (depth == 0).then_some(steps)
}

#[cfg(test)]
#[path = "path_tests.rs"]
mod tests;
