//! What searches of one tenant know: R4's parameters and those it adds, and which of them are marked or will be.
//!
//! May import only std, chrono, `serde_json` and what stands beside it in `fhir`.
//!
//! ```text
//! Standing   searches and marks by what is in force
//! TakingIn   searches by what is in force; marks by that and by what will be
//! TakingOut  searches and marks by what is in force; what was before has left marks, which are being taken away
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::super::kinds::ResourceType;
use super::super::reference::BaseUrl;
use super::index::{Compiled, Searches};
use super::listed::Listed;
use super::mark::Mark;

/// What goes on with the parameters a tenant adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Nothing.
    Standing,
    /// Marks are made by others, which will be in force.
    TakingIn,
    /// Marks of those that were in force are taken away.
    TakingOut,
}

/// What searches of one tenant know.
pub struct InForce {
    /// Rises whenever it changes; 0 before the first change.
    pub generation: i64,
    /// Since when, if it ever changed.
    pub since: Option<DateTime<Utc>>,
    /// What can be searched by.
    pub searches: Searches,
    /// What of it is marked.
    pub listed: Listed,
    /// What goes on.
    pub stage: Stage,
    /// What will be in force, or was, by the stage: of what tenants add, and only what is marked.
    other: Listed,
    has_added: bool,
}

impl InForce {
    /// R4's parameters alone.
    #[must_use]
    pub fn of_r4(searches: Searches, listed: Listed) -> Self {
        let (stage, other) = (Stage::Standing, Listed::default());
        Self { generation: 0, since: None, searches, listed, stage, other, has_added: false }
    }

    /// R4's with those a tenant adds; `population` is the configured list, checked.
    #[must_use]
    pub fn with(
        &self,
        (generation, since): (i64, DateTime<Utc>),
        population: &[String],
        added: &[Arc<Compiled>],
        (stage, other): (Stage, &[Arc<Compiled>]),
    ) -> Self {
        let searches = self.searches.with(added);
        let listed = Listed::known(&searches, population);
        let other = Listed::known(&self.searches.with(other), population).added();
        Self { generation, since: Some(since), searches, listed, stage, other, has_added: !added.is_empty() }
    }

    /// Whether the tenant has added parameters that are in force.
    #[must_use]
    pub const fn has_added(&self) -> bool {
        self.has_added
    }

    /// What the tenant added, in force, in alphabetical order of type and name.
    pub fn added(&self) -> impl Iterator<Item = &Arc<Compiled>> {
        ResourceType::all().flat_map(|kind| self.searches.of(kind)).filter(|one| one.is_added())
    }

    /// Calls `visit` with every mark that a resource is to bear.
    pub fn marks<'a>(
        &self,
        kind: ResourceType,
        resource: &'a Value,
        base: &BaseUrl,
        visit: &mut dyn FnMut(&Compiled, Mark<'a>),
    ) {
        self.listed.marks(kind, resource, base, visit);
        if self.stage == Stage::TakingIn {
            self.other.marks(kind, resource, base, visit);
        }
    }

    /// What tenants add that will be in force, or was, by the stage, and is marked.
    #[must_use]
    pub const fn others(&self) -> &Listed {
        &self.other
    }

    /// The types whose records are gone over at this stage, in order: those of which something is marked that is only in
    /// force, or only will be or was.
    #[must_use]
    pub fn types_to_go_over(&self) -> Vec<ResourceType> {
        let added = self.listed.added();
        let (here, there) = (defined(&added), defined(&self.other));
        let wanted = match self.stage {
            Stage::Standing => BTreeSet::new(),
            // What is in force has its marks: those that are to come have none yet, or others.
            Stage::TakingIn | Stage::TakingOut => there.difference(&here).map(|(code, _)| *code).collect(),
        };
        ResourceType::all().filter(|kind| wanted.contains(&kind.code())).collect()
    }

    /// Whether marks are left of what is in force when the others take its place.
    #[must_use]
    pub fn leaves_marks(&self) -> bool {
        let added = self.listed.added();
        !defined(&added).is_subset(&defined(&self.other))
    }
}

/// Types and definitions of what is on a list.
fn defined(listed: &Listed) -> BTreeSet<(i16, String)> {
    let one = |one: &Arc<Compiled>| {
        (one.of.code(), format!("{} {}", one.code, one.added.as_deref().unwrap_or_default()))
    };
    listed.all().map(one).collect()
}
