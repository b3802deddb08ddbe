//! A `ValueSet` as the list of its codes (FHIR R4 valueset-operation-expand.html).

use std::collections::HashSet;

use super::set::{DEPTH_MAX, Membership, Part};
use super::{ValueSet, Vocabulary};

/// The most codes an expansion may have, before it is cut into pages.
pub const EXPANSION_CODES_MAX: usize = 10_000;

/// A code of an expansion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expanded<'t> {
    /// The CodeSystem it is of.
    pub system: &'t str,
    /// The code.
    pub code: &'t str,
    /// What a person reads.
    pub display: Option<&'t str>,
    /// Whether it only groups others.
    pub groups: bool,
    /// Whether it is out of use.
    pub inactive: bool,
}

/// Why a set cannot be listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotExpanded {
    /// This CodeSystem or ValueSet is not known here, or not all of it, or a rule about it.
    Unknown(String),
    /// More than [`EXPANSION_CODES_MAX`] codes.
    TooCostly,
    /// ValueSets refer to ValueSets too deep, or in a circle.
    TooDeep,
}

impl<'t> Vocabulary<'t> {
    /// The codes of the set in the order of its rules, each once.
    ///
    /// # Errors
    /// [`NotExpanded`].
    pub fn expand(&self, set: &'t ValueSet) -> Result<Vec<Expanded<'t>>, NotExpanded> {
        let mut found = self.listed(set, DEPTH_MAX)?;
        let mut seen = HashSet::new();
        found.retain(|one| seen.insert((one.system, one.code)));
        Ok(found)
    }

    fn listed(&self, set: &'t ValueSet, depth: usize) -> Result<Vec<Expanded<'t>>, NotExpanded> {
        let depth = depth.checked_sub(1).ok_or(NotExpanded::TooDeep)?;
        let mut found = Vec::new();
        for part in &set.includes {
            found.extend(self.part_listed(part, depth)?);
            if found.len() > EXPANSION_CODES_MAX {
                return Err(NotExpanded::TooCostly);
            }
        }
        let mut gone = HashSet::new();
        for part in &set.excludes {
            gone.extend(self.part_listed(part, depth)?.into_iter().map(|one| (one.system, one.code)));
        }
        found.retain(|one| !gone.contains(&(one.system, one.code)));
        Ok(found)
    }

    fn part_listed(&self, part: &'t Part, depth: usize) -> Result<Vec<Expanded<'t>>, NotExpanded> {
        let Some(system) = part.system.as_deref() else {
            // Sets alone: the codes of the first that are in every other.
            let mut sets = part.sets.iter();
            let Some(first) = sets.next() else { return Ok(Vec::new()) };
            let mut found = self.listed(self.known_set(first)?, depth)?;
            for other in sets {
                let other = self.listed(self.known_set(other)?, depth)?;
                let there: HashSet<_> = other.into_iter().map(|one| (one.system, one.code)).collect();
                found.retain(|one| there.contains(&(one.system, one.code)));
            }
            return Ok(found);
        };
        let mut found = self.of_its_system(part, system)?;
        for set in &part.sets {
            let mut open = false;
            found.retain(|one| match self.contains(set, Some(one.system), one.code) {
                Membership::In => true,
                Membership::Out => false,
                Membership::Unknown => {
                    open = true;
                    false
                }
            });
            if open {
                return Err(NotExpanded::Unknown(set.to_string()));
            }
        }
        Ok(found)
    }

    fn known_set(&self, url: &str) -> Result<&'t ValueSet, NotExpanded> {
        self.set(url).ok_or_else(|| NotExpanded::Unknown(url.to_owned()))
    }

    fn of_its_system(&self, part: &'t Part, system: &'t str) -> Result<Vec<Expanded<'t>>, NotExpanded> {
        let known = self.system(system);
        if let Some(listed) = &part.concepts {
            let all = listed.iter().map(|one| {
                let concept = known.and_then(|known| known.concept(&one.code));
                let display = one.display.as_deref().or_else(|| concept.and_then(|c| c.display.as_deref()));
                let inactive = concept.is_some_and(|concept| concept.inactive);
                Expanded { system, code: &one.code, display, groups: false, inactive }
            });
            return Ok(all.collect());
        }
        let unknown = || NotExpanded::Unknown(system.to_owned());
        let known = known.filter(|known| known.complete).ok_or_else(unknown)?;
        let mut found = Vec::new();
        for concept in known.concepts() {
            let mut passes = true;
            for filter in &part.filters {
                passes &= filter.passes(known, concept).ok_or_else(unknown)?;
            }
            if passes {
                found.push(Expanded {
                    system,
                    code: &concept.code,
                    display: concept.display.as_deref(),
                    groups: concept.groups,
                    inactive: concept.inactive,
                });
            }
        }
        Ok(found)
    }
}
