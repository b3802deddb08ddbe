//! The definitions of FHIR R4: every type, its elements, and the codes they are bound to.
//!
//! May import only std, flate2, `fhir::{kinds, primitive}` and `fhirpath::Expression`.
//!
//! They are shipped as `r4/definitions.txt.gz` (its README names origin and format) and are read once, at
//! start, by [`Definitions::load`].

mod read;

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::io::Read;
use std::sync::Arc;

use super::fhirpath::Expression;
use super::kinds::ResourceType;
use super::primitive::Primitive;

/// The shipped definitions, unpacked by [`Definitions::load`].
const SHIPPED: &[u8] = include_bytes!("r4/definitions.txt.gz");
/// The most bytes the shipped file may unpack to.
const UNPACKED_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Why the shipped definitions could not be read. All mean that the program was built wrong.
#[derive(Debug, thiserror::Error)]
pub enum DefinitionsError {
    /// The file is not the gzip of UTF-8 text.
    #[error("the shipped FHIR definitions cannot be unpacked")]
    Unpack(#[source] std::io::Error),
    /// The first line is not the one of this format.
    #[error("the shipped FHIR definitions are of another format")]
    Format,
    /// A line breaks the format, or names a type that is not there.
    #[error("the shipped FHIR definitions are broken in line {0}")]
    Line(usize),
    /// A type the validator cannot do without is not there.
    #[error("the shipped FHIR definitions lack a type")]
    Missing,
}

/// The place of a type in [`Definitions`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TypeId(u16);

/// The place of a required `ValueSet` in [`Definitions`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ValueSetId(u16);

/// What sort of type it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TypeKind {
    /// A resource type, such as `Patient`.
    Resource,
    /// A complex datatype, such as `HumanName`.
    Datatype,
    /// A type inside another one, such as `Patient.contact`.
    Backbone,
}

/// How often an element may stand in its parent. In JSON, `Many` is an array and `One` never is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Max {
    /// At most once.
    One,
    /// Any number of times.
    Many,
}

/// What a property holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A primitive value, which may have an `_name` companion.
    Primitive(Primitive),
    /// An object of this type.
    Complex(TypeId),
    /// Any resource.
    Resource,
}

/// Which resource types a reference may point at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Targets([u64; 3]);

impl Targets {
    /// Any type.
    pub const ANY: Self = Self([u64::MAX; 3]);

    /// Whether the type is one of them.
    #[must_use]
    pub fn allow(self, kind: ResourceType) -> bool {
        let (word, bit) = Self::place(kind);
        self.0.get(word).is_some_and(|w| w & bit != 0)
    }

    fn insert(&mut self, kind: ResourceType) {
        let (word, bit) = Self::place(kind);
        if let Some(w) = self.0.get_mut(word) {
            *w |= bit;
        }
    }

    /// Those that are also among these.
    #[must_use]
    pub fn within(self, kinds: &[ResourceType]) -> Self {
        let mut named = Self([0; 3]);
        kinds.iter().for_each(|kind| named.insert(*kind));
        let Self([a, b, c]) = self;
        let Self([x, y, z]) = named;
        Self([a & x, b & y, c & z])
    }

    fn place(kind: ResourceType) -> (usize, u64) {
        let code = usize::from(kind.code().unsigned_abs());
        (code / 64, 1 << (code % 64))
    }
}

/// An element of a type, such as `value[x]`.
#[derive(Clone, Debug)]
pub struct Element {
    /// The name in paths: `value` for `value[x]`.
    pub name: Box<str>,
    /// Whether at least one must be there.
    pub required: bool,
    /// Whether it is an array.
    pub max: Max,
    /// Whether it can change the meaning of its parent.
    pub modifier: bool,
    /// Whether `_summary=true` keeps it.
    pub summary: bool,
    /// Whether it is written with the type in the name, as `valueQuantity`.
    pub choice: bool,
    /// The `ValueSet` its codes must be from.
    pub binding: Option<ValueSetId>,
    /// What must be true of it, besides what its type says.
    pub invariants: Vec<Arc<Invariant>>,
}

/// What must be true of every instance of a type, or of an element (FHIR R4 conformance-rules.html#constraints).
#[derive(Debug)]
pub struct Invariant {
    /// The id of the rule: `invariant.` and its key in the specification, such as `invariant.pat-1`.
    pub rule: Box<str>,
    /// Whether a breach does not refuse the resource.
    pub warns: bool,
    /// What must be true.
    pub expression: Expression,
    /// The same for a person.
    pub text: Box<str>,
}

/// A JSON member a type may have: an element, in one of its types.
#[derive(Clone, Copy, Debug)]
pub struct Property {
    /// The place in [`Type::elements`].
    pub element: u8,
    /// What the member holds.
    pub shape: Shape,
    /// If it holds a `Reference`: where to.
    pub targets: Targets,
}

/// A resource type, a complex datatype or a backbone.
#[derive(Clone, Debug)]
pub struct Type {
    /// The name; of a backbone its path, such as `Patient.contact`.
    pub name: Box<str>,
    /// What sort of type it is.
    pub kind: TypeKind,
    /// The elements in the order of the specification.
    pub elements: Vec<Element>,
    /// What must be true of each instance.
    pub invariants: Vec<Arc<Invariant>>,
    /// A bit for each element that must be there.
    pub(super) required: u128,
    properties: HashMap<Box<str>, Property, Fnv>,
}

impl Type {
    /// The member of this name, such as `valueQuantity`.
    #[must_use]
    pub fn property(&self, name: &str) -> Option<&Property> {
        self.properties.get(name)
    }

    /// All members, in no order.
    pub fn properties(&self) -> impl Iterator<Item = (&str, &Property)> {
        self.properties.iter().map(|(name, property)| (name.as_ref(), property))
    }

    /// The element a member of this type belongs to.
    #[must_use]
    pub fn element(&self, property: &Property) -> Option<&Element> {
        self.elements.get(usize::from(property.element))
    }
}

/// A `ValueSet` some element is bound to with strength required.
#[derive(Clone, Debug)]
pub struct ValueSet {
    /// Its canonical url, without version.
    pub url: Box<str>,
    /// Code systems and the codes of each, sorted. Empty: not enumerated.
    systems: Vec<(Box<str>, Vec<Box<str>>)>,
}

impl ValueSet {
    /// Whether the code is in the set, whatever its system; always true of a set that is not enumerated.
    #[must_use]
    pub fn allows_code(&self, code: &str) -> bool {
        self.systems.is_empty() || self.systems.iter().any(|(_, codes)| holds(codes, code))
    }

    /// Whether the code of this system is in the set; always true of a set that is not enumerated.
    #[must_use]
    pub fn allows_coding(&self, system: &str, code: &str) -> bool {
        self.systems.is_empty() || self.systems.iter().any(|(s, codes)| **s == *system && holds(codes, code))
    }
}

fn holds(codes: &[Box<str>], code: &str) -> bool {
    codes.binary_search_by(|c| c.as_ref().cmp(code)).is_ok()
}

/// All of R4 that the validator knows.
#[derive(Clone, Debug)]
pub struct Definitions {
    types: Vec<Type>,
    names: HashMap<Box<str>, TypeId, Fnv>,
    /// By [`ResourceType::code`].
    resources: Vec<Option<TypeId>>,
    value_sets: Vec<ValueSet>,
    pub(super) extension: TypeId,
    pub(super) reference: TypeId,
    pub(super) codeable_concept: TypeId,
    pub(super) companion: TypeId,
}

impl Definitions {
    /// Unpacks and reads the shipped definitions. Takes some milliseconds: once, at start.
    ///
    /// # Errors
    /// Only if the program was built with a broken file.
    pub fn load() -> Result<Self, DefinitionsError> {
        let mut text = String::new();
        flate2::read::GzDecoder::new(SHIPPED)
            .take(UNPACKED_BYTES_MAX)
            .read_to_string(&mut text)
            .map_err(DefinitionsError::Unpack)?;
        read::Reader::read(&text)
    }

    /// The definition of a resource type.
    #[must_use]
    pub fn resource(&self, kind: ResourceType) -> Option<&Type> {
        let place = usize::from(kind.code().unsigned_abs());
        self.resources.get(place).copied().flatten().and_then(|id| self.get(id))
    }

    /// The type at this place.
    #[must_use]
    pub fn get(&self, id: TypeId) -> Option<&Type> {
        self.types.get(usize::from(id.0))
    }

    /// The type of this name, such as `HumanName` or `Patient.contact`.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Type> {
        self.names.get(name).and_then(|id| self.get(*id))
    }

    /// The required `ValueSet` at this place.
    #[must_use]
    pub fn value_set(&self, id: ValueSetId) -> Option<&ValueSet> {
        self.value_sets.get(usize::from(id.0))
    }

    /// All types.
    #[must_use]
    pub fn types(&self) -> &[Type] {
        &self.types
    }
}

/// Hashes the names of the definitions (FNV-1a, 64 bit). Only names of ours are ever stored under it, so a
/// client cannot make it slow.
#[derive(Clone, Copy)]
pub(super) struct FnvHasher(u64);

type Fnv = BuildHasherDefault<FnvHasher>;

impl Default for FnvHasher {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for FnvHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The definitions, read once for all tests.
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
pub(crate) fn loaded() -> &'static Definitions {
    static LOADED: std::sync::OnceLock<Definitions> = std::sync::OnceLock::new();
    LOADED.get_or_init(|| Definitions::load().unwrap())
}

#[cfg(test)]
mod tests;
