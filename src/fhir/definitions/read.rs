//! Reads the text of `r4/definitions.txt.gz`; `r4/README.md` says what its lines mean.

use std::borrow::Cow;
use std::collections::HashMap;
use std::str::SplitTerminator;
use std::sync::Arc;

use super::super::fhirpath::Expression;
use super::super::kinds::ResourceType;
use super::super::primitive::Primitive;
use super::{
    Definitions, DefinitionsError, Element, Fnv, Invariant, Max, Property, Shape, Targets, Type, TypeId,
    TypeKind, ValueSet, ValueSetId,
};

/// The first line of the format this module reads.
pub(super) const MAGIC: &str = "custodia-r4-definitions 2";
/// The most elements one type may have: they are counted in the bits of a `u128`.
const ELEMENTS_MAX: usize = 128;

/// Reads the format in two passes: names first, so that elements can point at types further down.
pub(super) struct Reader<'t> {
    names: HashMap<Box<str>, TypeId, Fnv>,
    value_set_ids: HashMap<&'t str, ValueSetId>,
    value_sets: Vec<ValueSet>,
    types: Vec<Type>,
}

impl<'t> Reader<'t> {
    pub(super) fn read(text: &'t str) -> Result<Definitions, DefinitionsError> {
        let mut lines = (1..).zip(text.lines());
        if lines.next().is_none_or(|(_, first)| first != MAGIC) {
            return Err(DefinitionsError::Format);
        }
        let mut reader = Reader {
            names: HashMap::default(),
            value_set_ids: HashMap::new(),
            value_sets: Vec::new(),
            types: Vec::new(),
        };
        for (number, line) in lines.clone() {
            reader.announce(line).ok_or(DefinitionsError::Line(number))?;
        }
        let mut current = 0;
        for (number, line) in lines {
            match line.split_once('\t') {
                Some(("T", _)) => current += 1,
                Some(("E", rest)) => {
                    reader.element(current, rest).ok_or(DefinitionsError::Line(number))?;
                }
                Some(("I", rest)) => {
                    reader.invariant(current, rest).ok_or(DefinitionsError::Line(number))?;
                }
                _ => {}
            }
        }
        reader.finish().ok_or(DefinitionsError::Missing)
    }

    /// First pass: types by name, and the `ValueSet`s whole.
    fn announce(&mut self, line: &'t str) -> Option<()> {
        let (letter, rest) = line.split_once('\t')?;
        let mut fields = rest.split_terminator('\t');
        match letter {
            "V" => {
                let id = ValueSetId(u16::try_from(self.value_sets.len()).ok()?);
                self.value_set_ids.insert(rest, id);
                self.value_sets.push(ValueSet { url: rest.into(), systems: Vec::new() });
            }
            "S" => {
                let system = fields.next()?.into();
                let codes: Vec<Box<str>> = fields.map(Into::into).collect();
                if !codes.is_sorted() {
                    return None;
                }
                self.value_sets.last_mut()?.systems.push((system, codes));
            }
            "T" => {
                let kind = match fields.next()? {
                    "R" => TypeKind::Resource,
                    "C" => TypeKind::Datatype,
                    "B" => TypeKind::Backbone,
                    _ => return None,
                };
                let name: Box<str> = fields.next()?.into();
                self.names.insert(name.clone(), TypeId(u16::try_from(self.types.len()).ok()?));
                self.types.push(Type {
                    name,
                    kind,
                    elements: Vec::new(),
                    invariants: Vec::new(),
                    required: 0,
                    properties: HashMap::default(),
                });
            }
            "E" | "I" => {}
            _ => return None,
        }
        Some(())
    }

    /// Second pass: one element of the `current`th type, counted from 1.
    fn element(&mut self, current: usize, rest: &str) -> Option<()> {
        let mut fields = rest.split_terminator('\t');
        let written = fields.next()?;
        let name = written.strip_suffix("[x]").unwrap_or(written);
        let required = fields.next()? != "0";
        let max = match fields.next()? {
            "1" => Max::One,
            "*" => Max::Many,
            _ => return None,
        };
        let flags = fields.next()?;
        let binding = match fields.next()? {
            "-" => None,
            url => Some(*self.value_set_ids.get(url)?),
        };
        let choice = name.len() < written.len();
        let properties = self.properties(name, choice, fields)?;
        let into = self.types.get_mut(current.checked_sub(1)?)?;
        let place = into.elements.len();
        if place >= ELEMENTS_MAX {
            return None;
        }
        into.required |= u128::from(required) << place;
        let element = u8::try_from(place).ok()?;
        for (member, shape, targets) in properties {
            into.properties.insert(member.into(), Property { element, shape, targets });
        }
        into.elements.push(Element {
            name: name.into(),
            required,
            max,
            modifier: flags.contains('m'),
            summary: flags.contains('s'),
            choice,
            binding,
            invariants: Vec::new(),
        });
        Some(())
    }

    /// An invariant of the `current`th type, or of the last of its elements so far.
    fn invariant(&mut self, current: usize, rest: &str) -> Option<()> {
        let mut fields = rest.split('\t');
        let warns = match fields.next()? {
            "error" => false,
            "warning" => true,
            _ => return None,
        };
        let rule = format!("invariant.{}", fields.next()?).into();
        let expression = Expression::parse(fields.next()?).ok()?;
        let invariant = Arc::new(Invariant { rule, warns, expression, text: fields.next()?.into() });
        let into = self.types.get_mut(current.checked_sub(1)?)?;
        match into.elements.last_mut() {
            Some(element) => element.invariants.push(invariant),
            None => into.invariants.push(invariant),
        }
        Some(())
    }

    /// The members an element is written as: one for each type of a choice.
    fn properties<'n>(
        &self,
        name: &'n str,
        choice: bool,
        words: SplitTerminator<'_, char>,
    ) -> Option<Vec<(Cow<'n, str>, Shape, Targets)>> {
        let mut members = Vec::new();
        for word in words {
            let (kind, targets) = word.split_once(':').unwrap_or((word, ""));
            let shape = match kind {
                "*" => Shape::Resource,
                _ => match Primitive::from_name(kind) {
                    Some(primitive) => Shape::Primitive(primitive),
                    None => Shape::Complex(*self.names.get(kind.trim_start_matches('@'))?),
                },
            };
            let member =
                if choice { Cow::Owned(format!("{name}{}", capitalised(kind)?)) } else { name.into() };
            members.push((member, shape, targets_of(targets)?));
        }
        (!members.is_empty()).then_some(members)
    }

    fn finish(self) -> Option<Definitions> {
        let resources = std::iter::once(None)
            .chain(ResourceType::all().map(|kind| self.names.get(kind.name()).copied()))
            .collect::<Vec<_>>();
        if resources.iter().skip(1).any(Option::is_none) {
            return None;
        }
        Some(Definitions {
            extension: *self.names.get("Extension")?,
            reference: *self.names.get("Reference")?,
            codeable_concept: *self.names.get("CodeableConcept")?,
            companion: *self.names.get("Element")?,
            types: self.types,
            names: self.names,
            resources,
            value_sets: self.value_sets,
        })
    }
}

fn targets_of(words: &str) -> Option<Targets> {
    if words.is_empty() {
        return Some(Targets::ANY);
    }
    let mut targets = Targets([0; 3]);
    for word in words.split(',') {
        targets.insert(ResourceType::from_name(word)?);
    }
    Some(targets)
}

fn capitalised(name: &str) -> Option<String> {
    let mut letters = name.chars();
    let first = letters.next()?.to_ascii_uppercase();
    Some(std::iter::once(first).chain(letters).collect())
}
