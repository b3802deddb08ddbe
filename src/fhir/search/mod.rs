//! Search: what a client asked for, and whether a record is it (FHIR R4 search.html).
//!
//! May import only std, chrono, `serde_json` and what stands beside it in `fhir`.
//!
//! A query is parsed once ([`Query::parse`]); the store narrows by [`Query::candidates`]; every candidate is
//! then opened and tested on its plaintext by [`Query::matches`]. Candidates may be too many, never too few.
//!
//! What R4 defines and this server does not support yet is refused, never ignored: a filter that is silently
//! left out releases more than was asked for. What R4 does not define is refused under
//! `Prefer: handling=strict`, and otherwise left out of the self link and said in an outcome entry.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::kinds::{LogicalId, ResourceType};
use super::outcome::Problem;
use super::reference::{BaseUrl, Reference};

pub mod date;
pub mod form;
mod link;
pub mod parameters;
mod parse;
mod path;

pub use parse::Request;

use date::DateRange;
use path::Path;

/// The most parameters of one search.
pub const PARAMETERS_MAX: usize = 100;
/// The longest value of one parameter, in bytes after decoding.
pub const VALUE_BYTES_MAX: usize = 4_096;
/// The most values of one parameter that are separated by commas.
pub const ALTERNATIVES_MAX: usize = 200;
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

/// One value of `_lastUpdated`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DateTerm {
    /// How to compare.
    pub prefix: Prefix,
    /// What the date stands for; for `ap` already widened.
    pub range: DateRange,
    /// The date as the client wrote it.
    text: String,
}

/// By which parameter a patient is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatientParameter {
    /// `patient`
    Patient,
    /// `subject`
    Subject,
}

/// One `patient` or `subject` parameter: any of these patients.
#[derive(Clone, Debug)]
pub struct PatientTerm {
    /// Which parameter.
    pub parameter: PatientParameter,
    /// The patients, each once.
    pub any: Vec<LogicalId>,
    /// Where the parameter looks.
    path: Path,
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

/// One search over one type.
#[derive(Clone, Debug)]
pub struct Query {
    /// The type.
    pub kind: ResourceType,
    /// Ids of which one must be the record's; `None` is any, an empty list matches nothing.
    pub ids: Option<Vec<LogicalId>>,
    /// Patients: each term must be met.
    pub patients: Vec<PatientTerm>,
    /// `_lastUpdated`: of each list one term must be met.
    pub last_updated: Vec<Vec<DateTerm>>,
    /// Matches on a page, at most [`COUNT_MAX`]; 0 asks for the number of matches alone.
    pub count: u32,
    /// Where the page starts, as the page before said in its next link; opaque here.
    pub cursor: Option<String>,
    /// Whether the number of matches is wanted; `None` leaves it to the server.
    pub total: Option<Total>,
    /// Whether the answer is to be indented.
    pub pretty: bool,
    /// `_format` as given; always a kind of JSON.
    format: Option<String>,
    /// What was left out under lenient handling: warnings for the outcome entry.
    pub ignored: Vec<Problem>,
    /// The `_id` parameters as given, for the links.
    id_terms: Vec<Vec<LogicalId>>,
    base: BaseUrl,
}

/// What of a query can narrow candidates without opening records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidates<'a> {
    /// The type.
    pub kind: ResourceType,
    /// One of these ids; `None` is any.
    pub ids: Option<&'a [LogicalId]>,
    /// For each list: about one of these patients, in the sense of `compartment::patients`.
    pub patients: Vec<&'a [LogicalId]>,
    /// Updated at or after this instant.
    pub updated_from: Option<DateTime<Utc>>,
    /// Updated before this instant.
    pub updated_until: Option<DateTime<Utc>>,
}

impl Query {
    /// What of the query can be used to find candidates. Each part is necessary, together they may not
    /// suffice: [`Query::matches`] decides.
    #[must_use]
    pub fn candidates(&self) -> Candidates<'_> {
        let mut found = Candidates {
            kind: self.kind,
            ids: self.ids.as_deref(),
            patients: self.patients.iter().map(|term| term.any.as_slice()).collect(),
            updated_from: None,
            updated_until: None,
        };
        for terms in &self.last_updated {
            // One term open to a side opens the whole list to that side.
            let from: Option<Vec<_>> = terms.iter().map(|term| term.bounds().0).collect();
            let until: Option<Vec<_>> = terms.iter().map(|term| term.bounds().1).collect();
            let from = from.and_then(|all| all.into_iter().min());
            let until = until.and_then(|all| all.into_iter().max());
            found.updated_from = found.updated_from.max(from);
            found.updated_until = match (found.updated_until, until) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (one, None) | (None, one) => one,
            };
        }
        found
    }

    /// Whether a record is what was asked for, by its plaintext.
    ///
    /// `last_updated` is the instant `meta.lastUpdated` shows.
    #[must_use]
    pub fn matches(
        &self,
        resource: &Value,
        kind: ResourceType,
        id: &LogicalId,
        last_updated: DateTime<Utc>,
    ) -> bool {
        kind == self.kind
            && self.ids.as_ref().is_none_or(|ids| ids.contains(id))
            && self.last_updated.iter().all(|terms| terms.iter().any(|term| term.holds(last_updated)))
            && self.patients.iter().all(|term| term.holds(resource, &self.base))
    }

    /// Whether only the number of matches is asked for (`_count=0`, `_summary=count`).
    #[must_use]
    pub fn is_count_only(&self) -> bool {
        self.count == 0
    }
}

impl DateTerm {
    /// Whether an instant meets the term. An instant has no length, so `gt` and `sa` are one, as are `lt`
    /// and `eb`.
    fn holds(&self, at: DateTime<Utc>) -> bool {
        let DateRange { from, until } = self.range;
        match self.prefix {
            Prefix::Eq | Prefix::Ap => from <= at && at < until,
            Prefix::Ne => at < from || until <= at,
            Prefix::Gt | Prefix::Sa => until <= at,
            Prefix::Ge => from <= at,
            Prefix::Lt | Prefix::Eb => at < from,
            Prefix::Le => at < until,
        }
    }

    /// The first instant that can meet the term, and the first after the last.
    fn bounds(&self) -> (Option<DateTime<Utc>>, Option<DateTime<Utc>>) {
        let DateRange { from, until } = self.range;
        match self.prefix {
            Prefix::Eq | Prefix::Ap => (Some(from), Some(until)),
            Prefix::Ne => (None, None),
            Prefix::Gt | Prefix::Sa => (Some(until), None),
            Prefix::Ge => (Some(from), None),
            Prefix::Lt | Prefix::Eb => (None, Some(from)),
            Prefix::Le => (None, Some(until)),
        }
    }
}

impl PatientTerm {
    fn holds(&self, resource: &Value, base: &BaseUrl) -> bool {
        let mut found = false;
        self.path.visit(resource, &mut |value| {
            if let Some((ResourceType::PATIENT, id)) = Reference::of(value, base).and_then(Reference::local) {
                found |= self.any.contains(&id);
            }
        });
        found
    }
}

impl PatientParameter {
    /// The parameter's code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Patient => "patient",
            Self::Subject => "subject",
        }
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
