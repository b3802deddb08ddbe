//! Profiles: what an implementation guide asks of resources beyond R4 (FHIR R4 profiling.html).
//!
//! May import only std, `serde_json` and `fhir::{definitions, fhirpath, kinds, outcome, primitive, terminology, validate}`.
//!
//! ```text
//! compile    the snapshot of a StructureDefinition -> a tree of what it adds to R4; what R4 says already is left out
//! slice      by what the slices of an element are told apart
//! sliced     of which slice an item is
//! check      a resource against the tree
//! ```
//! Not looked at: `mustSupport`, `maxValueSet`, and whether a referenced resource conforms to a profile (only its type). Where a
//! slice is told apart by the profile of a resource that is elsewhere, an item that might be of it is held to nothing of it, counts
//! towards its least number and not towards its most. What else cannot be read is named when a package is added
//! ([`Profile::unread`]).

mod check;
mod compile;
mod slice;
mod sliced;

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use super::super::definitions::{Definitions, Invariant};
use super::super::fhirpath::Expression;
use super::super::terminology::canonical;

pub use check::{Bench, OpenCode, judge};

/// Where R4's own definitions are.
const BASE: &str = "http://hl7.org/fhir/StructureDefinition/";
/// The most profiles a resource may claim in `meta.profile` and be judged by.
pub const CLAIMED_MAX: usize = 32;

/// The profile of a type, compiled.
#[derive(Debug)]
pub struct Profile {
    /// Its canonical url.
    pub url: Box<str>,
    /// Its version.
    pub version: Option<Box<str>>,
    /// The type it constrains.
    pub kind: Box<str>,
    /// What of it is not looked at: the id of the element and what stands there.
    pub unread: Vec<String>,
    name: Box<str>,
    root: Node,
}

/// Profiles by canonical url.
#[derive(Debug, Default)]
pub struct Profiles(HashMap<Box<str>, Arc<Profile>>);

/// Why a `StructureDefinition` is no profile that can be judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoProfile {
    /// It has no url or type, or its type is none of R4's.
    #[error("it has no url, or no type of FHIR R4")]
    Form,
    /// It has no snapshot.
    #[error("it has no snapshot")]
    NoSnapshot,
}

/// What is asked of one element.
#[derive(Debug, Default)]
struct Node {
    /// The element's name: `value` for `value[x]`.
    name: Box<str>,
    rules: Rules,
    slicing: Option<Slicing>,
    children: Vec<Node>,
}

#[derive(Debug, Default)]
struct Rules {
    min: usize,
    max: Option<usize>,
    /// The types it may have, of those R4 allows.
    types: Option<Vec<Box<str>>>,
    /// Profiles of its type, one of which it must conform to.
    profiles: Vec<Box<str>>,
    /// What a Reference may point at: urls of types and profiles.
    targets: Vec<Box<str>>,
    value: Option<Expected>,
    binding: Option<Binding>,
    invariants: Vec<Arc<Invariant>>,
}

/// What must stand somewhere.
#[derive(Clone, Debug)]
enum Expected {
    /// Exactly this.
    Fixed(Value),
    /// At least this.
    Pattern(Value),
}

#[derive(Debug)]
struct Binding {
    set: Box<str>,
    required: bool,
}

#[derive(Debug)]
struct Slicing {
    closed: bool,
    slices: Vec<Slice>,
}

#[derive(Debug)]
struct Slice {
    name: Box<str>,
    /// What is true of an item of the slice; `None` when that cannot be told.
    tests: Option<Vec<Test>>,
    node: Node,
}

/// One thing that is true of the items of a slice.
#[derive(Debug)]
enum Test {
    /// Somewhere at this path stands this.
    Value(Expression, Expected),
    /// A code at this path is in this set.
    InSet(Expression, Box<str>),
    /// There is something at this path, or nothing.
    Exists(Expression, bool),
    /// Its type is one of these.
    Type(Vec<Box<str>>),
    /// What stands at this path is of the type of one of these profiles or types, or conforms to one.
    Conforms(Expression, Vec<Box<str>>, Depth),
}

/// How far what a slice leads to is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Depth {
    /// Its type.
    Type,
    /// All that its profile asks.
    Profile,
}

impl Profiles {
    /// Takes in a `StructureDefinition` that constrains a type of R4.
    ///
    /// # Errors
    /// [`NoProfile`].
    pub fn add(&mut self, definitions: &Definitions, resource: &Value) -> Result<Arc<Profile>, NoProfile> {
        let profile = Arc::new(compile::compile(definitions, resource)?);
        self.0.insert(profile.url.clone(), Arc::clone(&profile));
        Ok(profile)
    }

    /// The profile of this url, with or without `|version`.
    #[must_use]
    pub fn get(&self, url: &str) -> Option<&Profile> {
        let (url, version) = canonical(url);
        let found = self.0.get(url)?;
        let fits = version.is_none_or(|wanted| found.version.as_deref() == Some(wanted));
        fits.then_some(&**found)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The type that a url of a type or of a profile speaks of; `None` if it is not known.
    fn kind_of<'u>(&'u self, url: &'u str) -> Option<&'u str> {
        let url = canonical(url).0;
        match self.0.get(url) {
            Some(profile) => Some(&profile.kind),
            None => url.strip_prefix(BASE),
        }
    }
}

#[cfg(test)]
mod tests;
