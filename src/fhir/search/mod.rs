//! Search: what a client asked for, and whether a record is it (FHIR R4 search.html).
//!
//! May import only std, chrono, `serde_json`, unicode-normalization and what stands beside it in `fhir`.
//!
//! ```text
//! expression --(at start, by the definitions)--> Searches: each parameter's paths and datatypes
//! name=value --(Query::parse)--> Filter: terms of a parameter, a chain, or _has
//! record     --(Query::holds)--> whether its own values meet every filter
//! ```
//! The store narrows by [`Query::candidates`]; every candidate is then opened and tested on its plaintext.
//! Candidates may be too many, never too few. Filters that look at other records ([`Filter::joins`]) are
//! followed by the interaction, which asks the gate for each record on the way.
//!
//! What R4 defines and this server does not support is refused, never ignored: a filter that is silently
//! left out releases more than was asked for. What R4 does not define is refused under
//! `Prefer: handling=strict`, and otherwise left out of the self link and said in an outcome entry.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::compartment::compartment;
use super::kinds::{LogicalId, ResourceType};
use super::outcome::Problem;
use super::reference::BaseUrl;

pub mod added;
mod bearers;
mod codes;
mod compiler;
mod composite;
pub mod date;
pub mod decimal;
pub mod explain;
pub mod expression;
pub mod filter;
pub mod fold;
pub mod form;
mod grams;
mod holds;
pub mod in_force;
pub mod include;
pub mod index;
mod joint;
mod link;
pub mod listed;
mod lists;
mod mark;
mod narrow;
pub mod parameters;
mod parse;
pub mod path;
mod rungs;
pub mod sort;
mod span;
mod term;
mod ucum;

pub use codes::{Sets, WantedSet};
pub use filter::Filter;
pub use in_force::{InForce, Stage};
pub use include::Include;
pub use index::{Compiled, Searches};
pub use listed::Listed;
pub use mark::Mark;
pub use narrow::Narrowness;
pub use parse::{Request, types};
pub use sort::SortKey;

use date::DateRange;

/// The most parameters of one search.
pub const PARAMETERS_MAX: usize = 100;
/// The longest value of one parameter, in bytes after decoding.
pub const VALUE_BYTES_MAX: usize = 4_096;
/// The most values of one parameter that are separated by commas.
pub const ALTERNATIVES_MAX: usize = 200;
/// The most links one chain or `_has` follows.
pub const LINKS_MAX: usize = 4;
/// The most types one search of the whole system names.
pub const TYPES_MAX: usize = 20;
/// The longest cursor, in bytes.
pub const CURSOR_BYTES_MAX: usize = 1_024;
/// The matches on a page if `_count` is not given.
pub const COUNT_DEFAULT: u32 = 20;
/// The most matches on a page; a larger `_count` is cut down to it, as search.html#count allows.
pub const COUNT_MAX: u32 = 1_000;

/// What to do with a parameter R4 does not define (FHIR R4 search.html#errors).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handling {
    /// Refuse the search.
    Strict,
    /// Leave it out, and say so.
    Lenient,
}

impl Handling {
    /// What a `Prefer` header asks for (RFC 7240); lenient if it does not say.
    #[must_use]
    pub fn of_prefer(header: Option<&str>) -> Self {
        let strict = header.unwrap_or_default().split([',', ';']).any(|preference| {
            preference.split_once('=').is_some_and(|(name, value)| {
                name.trim().eq_ignore_ascii_case("handling")
                    && value.trim().trim_matches('"').eq_ignore_ascii_case("strict")
            })
        });
        if strict { Self::Strict } else { Self::Lenient }
    }
}

/// How an instant is compared (FHIR R4 search.html#prefix).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is the R4 prefix of the same name")]
pub enum Prefix {
    Eq,
    Ne,
    Gt,
    Ge,
    Lt,
    Le,
    Sa,
    Eb,
    Ap,
}

/// How much the client wants to know of the number of matches (FHIR R4 search.html#total).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Total {
    /// Nothing.
    None,
    /// Roughly.
    Estimate,
    /// Exactly.
    Accurate,
}

/// Where a search was asked (FHIR R4 search.html#searchcontexts).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// `[base]/Type?...`, a patient's compartment among them.
    Type,
    /// `[base]?_type=...`, of several types at once.
    System,
}

/// One search over one type.
#[derive(Clone, Debug)]
pub struct Query {
    /// The type.
    pub kind: ResourceType,
    /// Whether it is one of several types that are searched at once.
    pub level: Level,
    /// Only what this List names.
    pub list: Option<LogicalId>,
    /// The patient in whose compartment a record must be (FHIR R4 compartmentdefinition.html).
    pub compartment: Option<LogicalId>,
    /// What a record must meet, all of it.
    pub filters: Vec<Filter>,
    /// Matches on a page, at most [`COUNT_MAX`]; 0 asks for the number of matches alone.
    pub count: u32,
    /// Where the page starts, as the page before said in its next link; opaque here.
    pub cursor: Option<String>,
    /// Whether the number of matches is wanted; `None` leaves it to the server.
    pub total: Option<Total>,
    /// The order of the matches; none is newest first.
    pub sort: Vec<SortKey>,
    /// What comes with the matches, because they point at it.
    pub includes: Vec<Include>,
    /// What comes with the matches, because it points at them.
    pub revincludes: Vec<Include>,
    /// Whether the answer is to be indented.
    pub pretty: bool,
    /// What was left out under lenient handling: warnings for the outcome entry.
    pub ignored: Vec<Problem>,
    /// The parameters that were understood, for the links.
    pairs: Vec<(String, String)>,
    base: BaseUrl,
}

/// What of a query can narrow candidates without opening records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Candidates {
    /// One of these ids; `None` is any.
    pub ids: Option<Vec<LogicalId>>,
    /// For each list: about one of these patients, in the sense of `compartment::patients`.
    pub patients: Vec<Vec<LogicalId>>,
    /// Updated at or after this instant.
    pub updated_from: Option<DateTime<Utc>>,
    /// Updated before this instant.
    pub updated_until: Option<DateTime<Utc>>,
}

impl Query {
    /// A search for all records of a type that meet these filters: what following a link asks.
    #[must_use]
    pub fn of(kind: ResourceType, filters: Vec<Filter>, base: &BaseUrl) -> Self {
        Self {
            kind,
            level: Level::Type,
            list: None,
            compartment: None,
            filters,
            count: COUNT_MAX,
            cursor: None,
            total: None,
            sort: Vec::new(),
            includes: Vec::new(),
            revincludes: Vec::new(),
            pretty: false,
            ignored: Vec::new(),
            pairs: Vec::new(),
            base: base.clone(),
        }
    }

    /// What of the query can be used to find candidates. Each part is necessary, together they may not
    /// suffice: [`Query::holds`] decides.
    #[must_use]
    pub fn candidates(&self) -> Candidates {
        let mut found = Candidates::default();
        found.patients.extend(self.compartment.iter().map(|patient| vec![patient.clone()]));
        for filter in &self.filters {
            if let Some(ids) = filter.ids() {
                match &mut found.ids {
                    Some(known) => known.retain(|id| ids.contains(id)),
                    none => *none = Some(ids),
                }
            }
            if let Filter::Values(values) = filter
                && let Some(terms) = values.updates()
            {
                found.limit(&terms);
            }
            found.patients.extend(filter.patients());
        }
        found
    }

    /// Whether a record's own values meet every filter that looks at nothing else.
    #[must_use]
    pub fn holds(&self, resource: &Value) -> bool {
        self.is_inside(resource)
            && self.filters.iter().all(|filter| filter.holds(resource, &self.base) != Some(false))
    }

    fn is_inside(&self, resource: &Value) -> bool {
        let Some(patient) = &self.compartment else { return true };
        let id = resource.get("id").and_then(Value::as_str).and_then(LogicalId::parse);
        id.is_some_and(|id| compartment(resource, self.kind, &id, &self.base).contains(patient))
    }

    /// The filters that look at other records.
    pub fn joins(&self) -> impl Iterator<Item = &Filter> {
        self.filters.iter().filter(|filter| filter.joins())
    }

    /// Whether only the number of matches is asked for (`_count=0`, `_summary=count`).
    #[must_use]
    pub fn is_count_only(&self) -> bool {
        self.count == 0
    }
}

impl Candidates {
    /// Narrows to the instants that can meet one of these terms.
    fn limit(&mut self, terms: &[(Prefix, DateRange)]) {
        // One term open to a side opens the whole list to that side.
        let from: Option<Vec<_>> = terms.iter().map(|(prefix, range)| bounds(*prefix, range).0).collect();
        let until: Option<Vec<_>> = terms.iter().map(|(prefix, range)| bounds(*prefix, range).1).collect();
        let from = from.and_then(|all| all.into_iter().min());
        let until = until.and_then(|all| all.into_iter().max());
        self.updated_from = self.updated_from.max(from);
        self.updated_until = match (self.updated_until, until) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (one, None) | (None, one) => one,
        };
    }
}

/// The first instant that can meet a term, and the first after the last. An instant is shown to the
/// millisecond, and stands for all of it.
fn bounds(prefix: Prefix, range: &DateRange) -> (Option<DateTime<Utc>>, Option<DateTime<Utc>>) {
    let DateRange { from, until } = *range;
    match prefix {
        Prefix::Eq | Prefix::Ap => (Some(from), Some(until)),
        Prefix::Ne => (None, None),
        Prefix::Gt | Prefix::Sa => (Some(until), None),
        Prefix::Ge => (Some(from), None),
        Prefix::Lt | Prefix::Eb => (None, Some(from)),
        Prefix::Le => (None, Some(until)),
    }
}

impl Prefix {
    const ALL: [(&'static str, Self); 9] = [
        ("eq", Self::Eq),
        ("ne", Self::Ne),
        ("gt", Self::Gt),
        ("ge", Self::Ge),
        ("lt", Self::Lt),
        ("le", Self::Le),
        ("sa", Self::Sa),
        ("eb", Self::Eb),
        ("ap", Self::Ap),
    ];

    /// The prefix as FHIR writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, prefix)| *prefix == self).map_or("", |(text, _)| text)
    }

    /// Splits a value into its prefix, which is `eq` if there is none, and the rest.
    fn split(text: &str) -> (Self, &str) {
        let found = Self::ALL.iter().find_map(|(head, prefix)| Some((*prefix, text.strip_prefix(head)?)));
        found.unwrap_or((Self::Eq, text))
    }
}

#[cfg(test)]
mod tests;
