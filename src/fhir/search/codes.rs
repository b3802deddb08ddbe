//! Sets of codes that a token parameter is asked for by name: `:in`, `:not-in`, `:below`, `:above`.
//!
//! May import only std and what stands beside it in `fhir`. A set is made when the search is read, out of the terminology
//! that is known; one that cannot be listed whole is refused, since what it leaves out would be missed or released. What
//! was not known is kept ([`Sets::wanted`]), so that whoever asks can find it and read the search again.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::super::outcome::IssueCode;
use super::super::terminology::{EXPANSION_CODES_MAX, NotExpanded, Relation, Vocabulary};
use super::term::{Modifier, Wrong, split, unescape};

/// A set of codes that a search names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WantedSet {
    /// The ValueSet of this url.
    Of(String),
    /// The codes of a system that relate to one of it.
    Related(String, String, Relation),
}

/// What sets of codes are read with.
#[derive(Debug, Default)]
pub struct Sets<'t> {
    vocabulary: Option<&'t Vocabulary<'t>>,
    wanted: RefCell<Vec<WantedSet>>,
    /// Whether every set is taken for an empty one.
    blank: bool,
}

impl<'t> Sets<'t> {
    /// With what is known; nothing, if no search that needs it was read yet.
    #[must_use]
    pub fn new(vocabulary: Option<&'t Vocabulary<'t>>) -> Self {
        Self { vocabulary, wanted: RefCell::default(), blank: false }
    }

    /// For reading what else a search asks: every set is taken for an empty one.
    #[must_use]
    pub fn blank() -> Self {
        Self { blank: true, ..Self::default() }
    }

    /// The sets that were named and are not known, or not whole.
    #[must_use]
    pub fn wanted(self) -> Vec<WantedSet> {
        self.wanted.into_inner()
    }

    fn want(&self, set: WantedSet) {
        let mut wanted = self.wanted.borrow_mut();
        if !wanted.contains(&set) {
            wanted.push(set);
        }
    }
}

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
    pub(super) fn read(sets: &Sets<'_>, modifier: Modifier, raw: &str) -> Result<Self, Wrong> {
        let found = match modifier {
            _ if sets.blank => Vec::new(),
            Modifier::Above => relatives(sets, Relation::Above, raw)?,
            Modifier::Below => relatives(sets, Relation::Below, raw)?,
            _ => of_set(sets, raw)?,
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
fn of_set<'t>(sets: &Sets<'t>, raw: &str) -> Result<Pairs<'t>, Wrong> {
    let url = unescape(raw);
    let unknown = || {
        sets.want(WantedSet::Of(url.clone()));
        (
            IssueCode::NotSupported,
            "this server does not know the ValueSet, or not every code that it takes in",
        )
    };
    let vocabulary = sets.vocabulary.ok_or_else(unknown)?;
    let set = vocabulary.set(&url).ok_or_else(unknown)?;
    let all = vocabulary.expand(set).map_err(|error| match error {
        NotExpanded::Unknown(_) | NotExpanded::TooDeep => unknown(),
        NotExpanded::TooCostly => {
            const { assert!(EXPANSION_CODES_MAX == 10_000, "the text says so") };
            (IssueCode::TooCostly, "the ValueSet has more than 10000 codes")
        }
    })?;
    Ok(all.into_iter().map(|one| (one.system, one.code)).collect())
}

/// `system|code`: the code with all that lie under it, or that it lies under.
fn relatives<'t>(sets: &Sets<'t>, relation: Relation, raw: &str) -> Result<Pairs<'t>, Wrong> {
    let pieces: Vec<String> = split(raw, '|').into_iter().map(unescape).collect();
    let [url, code] = pieces.as_slice() else { return Err((IssueCode::Value, "expected system|code")) };
    let unknown = || {
        sets.want(WantedSet::Related(url.clone(), code.clone(), relation));
        (IssueCode::NotSupported, "this server does not know which codes of the system lie under which")
    };
    let vocabulary = sets.vocabulary.ok_or_else(unknown)?;
    if let Some(told) = vocabulary.told_related(url, code, relation) {
        return Ok(told.iter().map(|one| (&*one.system, &*one.code)).collect());
    }
    let system = vocabulary.system(url).filter(|system| system.complete).ok_or_else(unknown)?;
    let concept = system.concept(code).ok_or((IssueCode::Value, "the system has no such code"))?;
    let related = system.concepts().iter().filter(|one| match relation {
        Relation::Above => system.is_a(concept, &one.code),
        Relation::Below => system.is_a(one, &concept.code),
    });
    Ok(related.map(|one| (system.url.as_ref(), one.code.as_ref())).collect())
}
