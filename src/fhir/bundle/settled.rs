//! The conditions of a transaction: what must be searched for before it can be planned, and what was found.
//!
//! FHIR R4 http.html#trules. May import only std and what stands beside it in `fhir`.

use std::collections::{HashMap, HashSet};

use super::super::kinds::{LogicalId, ResourceType};
use super::super::outcome::{IssueCode, Problem};
use super::super::reference::{BaseUrl, Reference, walk};
use super::{Entry, Method, Target};

/// The most searches the conditions of one transaction may need.
pub const CONDITIONS_MAX: usize = 500;

/// A search that a transaction depends on.
#[derive(Clone, PartialEq, Eq)]
pub struct Condition {
    /// The place in the Bundle of the entry that asks.
    pub index: usize,
    /// The type that is searched.
    pub kind: ResourceType,
    /// The criteria.
    pub query: String,
    /// Whether the entry itself hangs on it; otherwise a reference in its resource, which must find one record.
    pub of_entry: bool,
}

/// What the conditions of a transaction found.
#[derive(Default)]
pub struct Settled {
    /// By the place of an entry that hangs on a condition: the record that matched.
    pub entries: HashMap<usize, Option<(ResourceType, LogicalId)>>,
    /// By type and criteria of a conditional reference: the record it stands for.
    pub references: HashMap<(ResourceType, String), LogicalId>,
}

/// The conditions of a transaction, those of references each once.
///
/// # Errors
/// There are more than [`CONDITIONS_MAX`].
pub fn conditions(entries: &[Entry], base: &BaseUrl) -> Result<Vec<Condition>, Vec<Problem>> {
    let mut found = Vec::new();
    let mut references = HashSet::new();
    for entry in entries {
        let index = entry.index;
        found.extend(of_entry(entry).map(|(kind, query)| Condition { index, kind, query, of_entry: true }));
        let Some(resource) = &entry.resource else { continue };
        walk(resource, |_, text| {
            if let Some(Reference::Conditional(kind, query)) = Reference::parse(text, base)
                && references.insert((kind, query.clone()))
            {
                found.push(Condition { index, kind, query, of_entry: false });
            }
        });
    }
    if found.len() > CONDITIONS_MAX {
        let text = format!("More than {CONDITIONS_MAX} conditions and conditional references.");
        let problem = Problem::error(IssueCode::TooCostly, text).at("Bundle.entry");
        return Err(vec![problem.by("bundle.conditions-max")]);
    }
    Ok(found)
}

/// The condition an entry hangs on: `ifNoneExist`, or the query of a conditional update, patch or delete.
fn of_entry(entry: &Entry) -> Option<(ResourceType, String)> {
    match (entry.method, &entry.target) {
        (Method::Post, Target::Type(kind)) => Some((*kind, entry.if_none_exist.clone()?)),
        (Method::Put | Method::Patch | Method::Delete, Target::Search(kind, query)) => {
            Some((*kind, query.clone()))
        }
        _ => None,
    }
}
