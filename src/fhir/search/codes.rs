//! Sets of codes that a token parameter is asked for by name: `:in`, `:not-in`, `:below`, `:above`.
//!
//! May import only std and what stands beside it in `fhir`. A set is made when the search is read, out of the terminology
//! that is known; one that cannot be listed whole is refused, since what it leaves out would be missed or released.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::super::outcome::IssueCode;
use super::super::terminology::{EXPANSION_CODES_MAX, NotExpanded, Shipped, Vocabulary};
use super::term::{Modifier, Wrong, split, unescape};

/// Codes with their systems. Two are equal if they were asked for in the same words.
#[derive(Clone, Debug)]
pub(super) struct Codes {
    asked: String,
    systems: Arc<HashMap<Box<str>, HashSet<Box<str>>>>,
}

impl PartialEq for Codes {
    fn eq(&self, other: &Self) -> bool {
        self.asked == other.asked
    }
}

impl Codes {
    /// The codes that a value of a modifier names.
    pub(super) fn read(terms: &Shipped, modifier: Modifier, raw: &str) -> Result<Self, Wrong> {
        let vocabulary = Vocabulary::new([terms.terms()]);
        let found = match modifier {
            Modifier::Above | Modifier::Below => relatives(&vocabulary, modifier, raw)?,
            _ => of_set(&vocabulary, raw)?,
        };
        let mut systems: HashMap<Box<str>, HashSet<Box<str>>> = HashMap::new();
        for (system, code) in found {
            systems.entry(system.into()).or_default().insert(code.into());
        }
        Ok(Self { asked: format!("{modifier:?} {raw}"), systems: Arc::new(systems) })
    }

    /// Whether a code of a system is among them.
    pub(super) fn holds(&self, system: &str, code: &str) -> bool {
        self.systems.get(system).is_some_and(|codes| codes.contains(code))
    }

    /// The systems that have a code among them.
    pub(super) fn systems_of<'a>(&'a self, code: &'a str) -> impl Iterator<Item = &'a str> {
        self.systems.iter().filter(move |(_, codes)| codes.contains(code)).map(|(system, _)| system.as_ref())
    }

    /// All of them, whatever their system.
    pub(super) fn codes(&self) -> impl Iterator<Item = &str> {
        self.systems.values().flatten().map(AsRef::as_ref)
    }
}

type Pairs<'t> = Vec<(&'t str, &'t str)>;

/// A ValueSet, by its URL with or without a version.
fn of_set<'t>(vocabulary: &Vocabulary<'t>, raw: &str) -> Result<Pairs<'t>, Wrong> {
    let url = unescape(raw);
    let unknown = "this server does not know the ValueSet, or not every code that it takes in";
    let set = vocabulary.set(&url).ok_or((IssueCode::NotSupported, unknown))?;
    let all = vocabulary.expand(set).map_err(|error| match error {
        NotExpanded::Unknown(_) | NotExpanded::TooDeep => (IssueCode::NotSupported, unknown),
        NotExpanded::TooCostly => {
            const { assert!(EXPANSION_CODES_MAX == 10_000, "the text says so") };
            (IssueCode::TooCostly, "the ValueSet has more than 10000 codes")
        }
    })?;
    Ok(all.into_iter().map(|one| (one.system, one.code)).collect())
}

/// `system|code`: the code with all that lie under it, or that it lies under.
fn relatives<'t>(vocabulary: &Vocabulary<'t>, modifier: Modifier, raw: &str) -> Result<Pairs<'t>, Wrong> {
    let pieces: Vec<String> = split(raw, '|').into_iter().map(unescape).collect();
    let [url, code] = pieces.as_slice() else { return Err((IssueCode::Value, "expected system|code")) };
    let known = vocabulary.system(url).filter(|system| system.complete);
    let system = known.ok_or((
        IssueCode::NotSupported,
        "this server does not know which codes of the system lie under which",
    ))?;
    let concept = system.concept(code).ok_or((IssueCode::Value, "the system has no such code"))?;
    let related = system.concepts().iter().filter(|one| match modifier {
        Modifier::Above => system.is_a(concept, &one.code),
        _ => system.is_a(one, &concept.code),
    });
    Ok(related.map(|one| (system.url.as_ref(), one.code.as_ref())).collect())
}
