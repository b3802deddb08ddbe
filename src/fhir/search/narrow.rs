//! How few records a search comes down to before any is opened.
//!
//! May import only std and what stands beside it in `fhir`.

use super::super::compartment::can_be_about_a_patient;
use super::{Filter, Listed, Query};

/// How few candidates a search comes down to without opening any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Narrowness {
    /// All records of a type about patients: too many.
    None,
    /// All records of a type about nobody, or whatever is newest.
    Type,
    /// Those that bear a mark.
    Marks,
    /// Those of some patients, or single ones.
    Few,
}

impl Narrowness {
    /// How far a query's own filters narrow it, links to other records left aside.
    #[must_use]
    pub fn of(query: &Query, listed: &Listed) -> Self {
        let candidates = query.candidates();
        // Spans of _lastUpdated are what the store is ordered by.
        let is_browsing = query.filters.iter().all(
            |filter| matches!(filter, Filter::Values(values) if values.parameter.code == "_lastUpdated"),
        );
        if query.list.is_some() || candidates.ids.is_some() || !candidates.patients.is_empty() {
            Self::Few
        } else if query.filters.iter().any(|filter| listed.marks_of(filter).is_some()) {
            Self::Marks
        } else if is_browsing || !can_be_about_a_patient(query.kind) {
            Self::Type
        } else {
            Self::None
        }
    }
}
