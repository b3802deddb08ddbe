//! Codes: what known `CodeSystem`s, `ValueSet`s and `ConceptMap`s say (FHIR R4 terminology-module.html).
//!
//! May import only std, flate2, regex, `serde_json` and `fhir::outcome`.
//!
//! ```text
//! Terms        resources of one origin, by canonical url: those of R4, of packages, of a tenant
//! Vocabulary   several of them, asked in order: contains, expand, concept, translate
//! told         what another server is asked, and what it said, as Terms
//! ```
//! What is not known is said to be unknown, never guessed: LOINC, SNOMED CT and their like are not shipped.

pub mod answer;
mod expand;
mod map;
mod questions;
mod set;
mod shape;
mod system;
mod told;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, OnceLock};

use serde_json::Value;

pub use expand::{EXPANSION_CODES_MAX, Expanded, NotExpanded};
pub use map::{ConceptMap, Translation};
pub use set::{Membership, ValueSet};
pub use system::{CodeSystem, Concept};
pub use told::{Question, Relation, Told, ToldCode, ToldTranslation, once};

/// The terminology of R4, unpacked when it is first asked for.
const SHIPPED: &[u8] = include_bytes!("../r4/terminology.ndjson.gz");
/// The most bytes the shipped file may unpack to.
const UNPACKED_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The terminology resources of one origin.
#[derive(Debug, Default)]
pub struct Terms {
    systems: HashMap<Box<str>, CodeSystem>,
    sets: HashMap<Box<str>, ValueSet>,
    maps: Vec<ConceptMap>,
    told: told::Record,
}

/// The terminology of R4 itself. It is read once, by whoever asks first, in some 50 ms.
/// Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Shipped(Arc<OnceLock<Terms>>);

impl Shipped {
    /// Whether it has been read.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.0.get().is_some()
    }

    /// The terms; none if the program was built with a broken file, which a test would tell.
    pub fn terms(&self) -> &Terms {
        self.0.get_or_init(|| {
            let mut terms = Terms::default();
            let text = flate2::read::GzDecoder::new(SHIPPED).take(UNPACKED_BYTES_MAX);
            for line in BufReader::new(text).lines() {
                let resource = line.ok().and_then(|line| serde_json::from_str::<Value>(&line).ok());
                if let Some(resource) = resource {
                    terms.add(&resource);
                }
            }
            terms
        })
    }
}

impl Terms {
    /// Takes in a CodeSystem, ValueSet or ConceptMap with a url; whether it was one. A later one of the same url replaces
    /// an earlier one.
    pub fn add(&mut self, resource: &Value) -> bool {
        let text = |name: &str| resource.get(name).and_then(Value::as_str);
        let Some(url) = text("url") else { return false };
        match text("resourceType") {
            // A supplement has no codes of its own.
            Some("CodeSystem") if text("content") != Some("supplement") => {
                self.systems.insert(url.into(), CodeSystem::read(url, resource));
            }
            Some("ValueSet") => {
                self.sets.insert(url.into(), ValueSet::read(url, resource));
            }
            Some("ConceptMap") => {
                self.maps.retain(|map| *map.url != *url);
                self.maps.push(ConceptMap::read(url, resource));
            }
            _ => return false,
        }
        true
    }

    /// How many CodeSystems, ValueSets and ConceptMaps there are.
    #[must_use]
    pub fn counts(&self) -> (usize, usize, usize) {
        (self.systems.len(), self.sets.len(), self.maps.len())
    }
}

/// Terms of several origins, asked in order: the first that knows a url counts.
#[derive(Clone, Debug)]
pub struct Vocabulary<'t>(Vec<&'t Terms>);

impl<'t> Vocabulary<'t> {
    /// A vocabulary of these.
    #[must_use]
    pub fn new(terms: impl IntoIterator<Item = &'t Terms>) -> Self {
        Self(terms.into_iter().collect())
    }

    /// The CodeSystem of this url, with or without `|version`.
    #[must_use]
    pub fn system(&self, url: &str) -> Option<&'t CodeSystem> {
        let (url, version) = canonical(url);
        let found = self.0.iter().find_map(|terms| terms.systems.get(url))?;
        fits(version, found.version.as_deref()).then_some(found)
    }

    /// A concept and its CodeSystem, of this url with or without `|version`. Where a system is not here whole, every
    /// origin's part of it counts.
    #[must_use]
    pub fn concept(&self, url: &str, code: &str) -> Option<(&'t CodeSystem, &'t Concept)> {
        let (url, version) = canonical(url);
        for system in self.0.iter().filter_map(|terms| terms.systems.get(url)) {
            match system.concept(code) {
                Some(concept) => {
                    return fits(version, system.version.as_deref()).then_some((system, concept));
                }
                None if system.complete => return None,
                None => {}
            }
        }
        None
    }

    /// The ValueSet of this url, with or without `|version`.
    #[must_use]
    pub fn set(&self, url: &str) -> Option<&'t ValueSet> {
        let (url, version) = canonical(url);
        let found = self.0.iter().find_map(|terms| terms.sets.get(url))?;
        fits(version, found.version.as_deref()).then_some(found)
    }

    /// All ConceptMaps.
    pub fn maps(&self) -> impl Iterator<Item = &'t ConceptMap> {
        self.0.iter().flat_map(|terms| terms.maps.iter())
    }
}

/// A canonical url and the version it asks for.
#[must_use]
pub fn canonical(text: &str) -> (&str, Option<&str>) {
    match text.split_once('|') {
        Some((url, version)) => (url, Some(version)),
        None => (text, None),
    }
}

/// Whether a version that is asked for is the one that is there, or the beginning of it: `4.0` of `4.0.1`.
fn fits(wanted: Option<&str>, there: Option<&str>) -> bool {
    let Some(wanted) = wanted else { return true };
    there.is_some_and(|there| {
        there.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
}

#[cfg(test)]
mod tests;
