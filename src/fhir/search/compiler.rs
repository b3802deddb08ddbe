//! From an expression to paths: the part of `FHIRPath` that R4's search parameters use, and `extension('url')`.
//!
//! May import only std and what stands beside it in `fhir`.
//!
//! ```text
//! union    alternative ( '|' alternative )*
//! path     Type ( '.' step )*     or  '(' path ' as ' T ')' ( '.' step )*
//! step     name | valueType | name[0] | as(T) | ofType(T) | extension('url') | where(name='value') | where(resolve() is Type)
//! ```
//! Steps are followed through the definitions, so that `value` becomes `valueQuantity`, `valueString` and so
//! on, and what stands at the end of each is known and not guessed. `valueQuantity` itself is no `FHIRPath`, and is
//! what guides write all the same.

use std::sync::Arc;

use serde_json::Value;

use super::super::definitions::{Definitions, Property, Shape, Targets, Type, ValueSet};
use super::super::kinds::ResourceType;
use super::super::primitive::Primitive;
use super::path::{Datatype, Path, Step, walk};

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
#[derive(Clone, Debug, PartialEq)]
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
        for alternative in alternatives(expression) {
            found.extend(self.alternative(&start, Some(kind), alternative)?);
        }
        finish(found)
    }

    /// The parts of a resource an expression leads to: the resource itself, or elements with a type inside.
    pub(super) fn starts(self, kind: ResourceType, expression: &str) -> Option<Vec<Start<'d>>> {
        let start = self.resource(kind)?;
        let mut found = Vec::new();
        for alternative in alternatives(expression) {
            for state in self.alternative(&start, Some(kind), alternative)? {
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
        for alternative in alternatives(expression) {
            found.extend(self.alternative(&start, None, alternative)?);
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
            } else if let Some(url) = call(step, "extension") {
                restrict(self.member(&states, "extension")?, &format!("url = {url}"))?
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
            let of = match state.at {
                At::Type(of) => of,
                // Of an element of several types, those that have such a member: a primitive has none.
                At::Primitive(_) => continue,
                At::Resource => return None,
            };
            let mut members: Vec<(&str, &Property)> = of
                .properties()
                .filter(|(member, property)| {
                    *member == name || of.element(property).is_some_and(|e| e.name.as_ref() == name)
                })
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
    let (name, value) = (name.trim(), value.trim().strip_prefix('\'')?.strip_suffix('\'')?);
    if value.contains(['\'', '\\']) {
        return None;
    }
    for state in &mut states {
        let At::Type(of) = state.at else { return None };
        let Shape::Primitive(_) = of.property(name)?.shape else { return None };
        state.steps.push(Step::Equals(name.into(), value.into()));
    }
    Some(states)
}

/// The argument of `function(argument)`.
fn call<'a>(step: &'a str, function: &str) -> Option<&'a str> {
    step.strip_prefix(function)?.strip_prefix('(')?.strip_suffix(')')
}

/// The alternatives of an expression: what stands between bars that are in no string.
pub(super) fn alternatives(expression: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let pieces = expression.split(move |letter| {
        quoted ^= letter == '\'';
        letter == '|' && !quoted
    });
    pieces.map(str::trim)
}

/// Splits at dots that stand in no parentheses and no string; `None` if those do not match.
fn steps_of(text: &str) -> Option<Vec<&str>> {
    let (mut steps, mut depth, mut from, mut quoted) = (Vec::new(), 0_usize, 0, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'\'' => quoted = !quoted,
            _ if quoted => {}
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
