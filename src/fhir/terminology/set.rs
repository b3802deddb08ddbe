//! A `ValueSet`: the rules that say which codes are in it (FHIR R4 valueset.html#compositions).

use std::cell::Cell;

use regex::Regex;
use serde_json::Value;

use super::system::{CodeSystem, Concept};
use super::{Vocabulary, canonical};

/// How deep ValueSets may refer to ValueSets.
pub(super) const DEPTH_MAX: usize = 8;
/// How many ValueSets one question may look into.
const LOOKS_MAX: u32 = 256;
/// The most bytes a compiled regular expression of a filter may take.
const PATTERN_BYTES_MAX: usize = 256 * 1024;

/// A `ValueSet`.
#[derive(Debug)]
pub struct ValueSet {
    /// Its canonical url.
    pub url: Box<str>,
    /// Its version.
    pub version: Option<Box<str>>,
    /// Its name.
    pub name: Option<Box<str>>,
    pub(super) includes: Vec<Part>,
    pub(super) excludes: Vec<Part>,
}

/// Whether a code is in a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Membership {
    /// It is.
    In,
    /// It is not.
    Out,
    /// The set, or a CodeSystem it takes codes from, is not known here.
    Unknown,
}

/// One `include` or `exclude`: what each of its rules says, all together.
#[derive(Debug, Default)]
pub(super) struct Part {
    pub(super) system: Option<Box<str>>,
    pub(super) concepts: Option<Vec<Listed>>,
    pub(super) filters: Vec<Filter>,
    pub(super) sets: Vec<Box<str>>,
}

/// A code that is listed in a set.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) code: Box<str>,
    pub(super) display: Option<Box<str>>,
}

#[derive(Debug)]
pub(super) enum Filter {
    IsA(Box<str>),
    DescendentOf(Box<str>),
    IsNotA(Box<str>),
    Generalizes(Box<str>),
    /// Its parent is this one.
    ChildOf(Box<str>),
    OneOf(Vec<Box<str>>),
    NoneOf(Vec<Box<str>>),
    Regex(Regex),
    /// Rules over properties that are not kept here.
    Unknown,
}

impl ValueSet {
    pub(super) fn read(url: &str, resource: &Value) -> Self {
        let text = |name: &str| resource.get(name).and_then(Value::as_str).map(Into::into);
        let parts = |name: &str| {
            let all = resource.get("compose").and_then(|compose| compose.get(name)).and_then(Value::as_array);
            all.into_iter().flatten().map(Part::read).collect::<Vec<_>>()
        };
        let mut includes = parts("include");
        if resource.get("compose").is_none() {
            includes = expanded(resource);
        }
        let excludes = parts("exclude");
        Self { url: url.into(), version: text("version"), name: text("name"), includes, excludes }
    }

    /// The set of these codes: system, code, display.
    pub(super) fn of_list<'l>(
        url: &str,
        version: Option<Box<str>>,
        codes: impl Iterator<Item = (&'l str, &'l str, Option<&'l str>)>,
    ) -> Self {
        let mut includes = Vec::new();
        codes.for_each(|(system, code, display)| list(&mut includes, system, code, display));
        Self { url: url.into(), version, name: None, includes, excludes: Vec::new() }
    }
}

/// Takes a code into the part of its system.
fn list(parts: &mut Vec<Part>, system: &str, code: &str, display: Option<&str>) {
    let listed = Listed { code: code.into(), display: display.map(Into::into) };
    match parts.iter_mut().find(|part| part.system.as_deref() == Some(system)) {
        Some(part) => part.concepts.get_or_insert_default().push(listed),
        None => {
            parts.push(Part { system: Some(system.into()), concepts: Some(vec![listed]), ..Part::default() })
        }
    }
}

/// Of a set that is given by its expansion alone: what that lists, by system.
fn expanded(resource: &Value) -> Vec<Part> {
    fn gather(within: Option<&Value>, parts: &mut Vec<Part>) {
        for one in within.and_then(Value::as_array).into_iter().flatten() {
            let text = |name: &str| one.get(name).and_then(Value::as_str);
            if let (Some(system), Some(code)) = (text("system"), text("code")) {
                list(parts, system, code, text("display"));
            }
            gather(one.get("contains"), parts);
        }
    }
    let mut parts = Vec::new();
    gather(resource.pointer("/expansion/contains"), &mut parts);
    parts
}

impl Part {
    fn read(part: &Value) -> Self {
        let list = |name: &str| part.get(name).and_then(Value::as_array);
        let concepts = list("concept").map(|all| {
            let listed = all.iter().filter_map(|one| {
                let text = |name: &str| one.get(name).and_then(Value::as_str).map(Into::into);
                Some(Listed { code: text("code")?, display: text("display") })
            });
            listed.collect()
        });
        let sets = list("valueSet").into_iter().flatten().filter_map(Value::as_str).map(Into::into);
        Self {
            system: part.get("system").and_then(Value::as_str).map(Into::into),
            concepts,
            filters: list("filter").into_iter().flatten().map(Filter::read).collect(),
            sets: sets.collect(),
        }
    }
}

impl Filter {
    fn read(filter: &Value) -> Self {
        let text = |name: &str| filter.get(name).and_then(Value::as_str).unwrap_or_default();
        let value = text("value");
        let codes = || value.split(',').map(|code| code.trim().into()).collect();
        match (text("property"), text("op")) {
            ("concept" | "code", "is-a") => Self::IsA(value.into()),
            ("concept" | "code", "descendent-of") => Self::DescendentOf(value.into()),
            ("concept" | "code", "is-not-a") => Self::IsNotA(value.into()),
            ("concept" | "code", "generalizes") => Self::Generalizes(value.into()),
            ("concept" | "code", "in") => Self::OneOf(codes()),
            ("concept" | "code", "not-in") => Self::NoneOf(codes()),
            ("concept" | "code", "=") => Self::OneOf(vec![value.into()]),
            ("concept" | "code", "regex") => {
                let whole = format!("^(?:{value})$");
                let built = regex::RegexBuilder::new(&whole).size_limit(PATTERN_BYTES_MAX).build();
                built.map_or(Self::Unknown, Self::Regex)
            }
            ("parent", "=") => Self::ChildOf(value.into()),
            _ => Self::Unknown,
        }
    }

    /// Whether the concept passes; `None` if that cannot be told: what lies where is known of a whole system alone.
    pub(super) fn passes(&self, system: &CodeSystem, concept: &Concept) -> Option<bool> {
        let whole = |is: bool| (is || system.complete).then_some(is);
        Some(match self {
            Self::IsA(code) => whole(system.is_a(concept, code))?,
            Self::DescendentOf(code) => *concept.code != **code && whole(system.is_a(concept, code))?,
            Self::IsNotA(code) => !whole(system.is_a(concept, code))?,
            Self::Generalizes(code) => whole(system.is_a(system.concept(code)?, &concept.code))?,
            Self::ChildOf(code) => whole(system.parent(concept).is_some_and(|parent| parent.code == *code))?,
            Self::OneOf(codes) => codes.contains(&concept.code),
            Self::NoneOf(codes) => !codes.contains(&concept.code),
            Self::Regex(regex) => regex.is_match(&concept.code),
            Self::Unknown => return None,
        })
    }
}

impl Vocabulary<'_> {
    /// Whether the code is in the ValueSet of this url, with or without `|version`. Without a system, a code of any.
    #[must_use]
    pub fn contains(&self, set: &str, system: Option<&str>, code: &str) -> Membership {
        self.look(set, system, code, DEPTH_MAX, &Cell::new(LOOKS_MAX))
    }

    fn look(
        &self,
        set: &str,
        system: Option<&str>,
        code: &str,
        depth: usize,
        looks: &Cell<u32>,
    ) -> Membership {
        // Of what is not known here, another server may have been asked.
        let told = || match self.told_member(set, system, code) {
            Some(true) => Membership::In,
            Some(false) => Membership::Out,
            None => Membership::Unknown,
        };
        let (Some(set), Some(left), Some(depth)) =
            (self.set(set), looks.get().checked_sub(1), depth.checked_sub(1))
        else {
            return told();
        };
        looks.set(left);
        let any = |parts: &[Part]| {
            let mut found = Membership::Out;
            for part in parts {
                match self.part(part, system, code, depth, looks) {
                    Membership::In => return Membership::In,
                    Membership::Unknown => found = Membership::Unknown,
                    Membership::Out => {}
                }
            }
            found
        };
        match (any(&set.includes), any(&set.excludes)) {
            (Membership::Out, _) | (_, Membership::In) => Membership::Out,
            (Membership::In, Membership::Out) => Membership::In,
            (Membership::Unknown, _) | (_, Membership::Unknown) => told(),
        }
    }

    fn part(
        &self,
        part: &Part,
        system: Option<&str>,
        code: &str,
        depth: usize,
        looks: &Cell<u32>,
    ) -> Membership {
        let mut found = Membership::In;
        if let Some(own) = part.system.as_deref() {
            if system.is_some_and(|system| canonical(system).0 != own) {
                return Membership::Out;
            }
            found = self.of_system(part, own, code);
        }
        for set in &part.sets {
            match self.look(set, system, code, depth, looks) {
                Membership::Out => return Membership::Out,
                Membership::Unknown if found == Membership::In => found = Membership::Unknown,
                _ => {}
            }
        }
        found
    }

    /// What a part says of a code of its own system.
    fn of_system(&self, part: &Part, own: &str, code: &str) -> Membership {
        let when = |is: bool| if is { Membership::In } else { Membership::Out };
        if let Some(listed) = &part.concepts {
            return when(listed.iter().any(|one| *one.code == *code));
        }
        if part.filters.is_empty()
            && let Some(fits) = by_grammar(own, code)
        {
            return when(fits);
        }
        let Some((known, concept)) = self.concept(own, code) else {
            let is_absent = self.system(own).is_some_and(|known| known.complete)
                || self.told_code(own, code) == Some(false);
            return if is_absent { Membership::Out } else { Membership::Unknown };
        };
        let mut found = Membership::In;
        for filter in &part.filters {
            match filter.passes(known, concept) {
                Some(true) => {}
                Some(false) => return Membership::Out,
                None => found = Membership::Unknown,
            }
        }
        found
    }
}

/// Of code systems that are a grammar: whether the code has its form.
pub(super) fn by_grammar(system: &str, code: &str) -> Option<bool> {
    let word = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && b != b'/');
    match system {
        // MIME types (RFC 2045 §5.1); parameters may follow.
        "urn:ietf:bcp:13" => {
            let kind = code.split(';').next().unwrap_or_default().trim();
            Some(kind.split_once('/').is_some_and(|(kind, sub)| word(kind) && word(sub)))
        }
        // Language tags (RFC 5646 §2.1), by their form alone.
        "urn:ietf:bcp:47" => Some(
            code.split('-')
                .all(|part| (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric())),
        ),
        _ => None,
    }
}
