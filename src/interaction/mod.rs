//! One file per FHIR interaction and operation; each shows its order of operations.
//!
//! May import everything above it; knows nothing of HTTP libraries. Every interaction ends in the ledger: with an
//! [`Audited`](crate::ledger::Audited) answer, or with a [`Failure`] that [`finish`] records.

mod attempts;
pub mod audit;
pub mod audit_events;
pub mod binary;
mod bookmark;
pub mod bundle;
pub mod condition;
pub mod create;
pub mod delete;
mod desk;
pub mod disclosures;
pub mod everything;
pub mod exports;
mod failure;
pub mod history;
mod hold;
mod integrity;
pub mod mark;
pub mod metadata;
mod open;
pub mod operations;
mod pages;
pub mod patch;
pub mod read;
pub mod recognise;
pub mod reindex;
pub mod search;
pub mod terminology;
pub mod token;
pub mod update;

use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::{
    answer::Answer,
    app::App,
    fhir::{
        bundle::NoneMatch,
        outcome::{IssueCode, OperationOutcome, Problem},
        search::Handling,
        subset::Subset,
    },
    identity::Caller,
    ledger::Access,
    refusal::Refusal,
    seal::Opened,
    store::search::View,
};
pub use failure::{Failure, finish};
use failure::{forbidden, hidden};

/// How often a write is tried again when what it stood on changed under it.
pub const ATTEMPTS_MAX: usize = 32;

/// A request whose caller is known.
#[derive(Clone)]
pub struct Ask {
    /// As the log will know it.
    pub access: Access,
    /// Who asks.
    pub caller: Arc<Caller>,
    /// Under which conditions.
    pub conditions: Conditions,
    /// What is to come back after a write.
    pub returning: Return,
    /// What to do with search parameters R4 does not know.
    pub handling: Handling,
    /// Whether a Binary is to come back as the content it holds.
    pub raw: bool,
    /// How much of each resource is to come back from a read, search or history.
    pub subset: Subset,
    /// What its searches have spent so far; shared by everything the request asks for.
    pub spent: Arc<search::Spent>,
}

/// Conditional headers (FHIR R4 http.html#cread, #concurrency).
#[derive(Clone, Default)]
pub struct Conditions {
    /// If-Match, as the versionId it names.
    pub if_match: Option<u32>,
    /// If-None-Match.
    pub if_none_match: Option<NoneMatch>,
    /// If-Modified-Since.
    pub if_modified_since: Option<DateTime<Utc>>,
    /// If-None-Exist, as a query.
    pub if_none_exist: Option<String>,
}

/// `Prefer: return=` (FHIR R4 http.html#ops).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Return {
    /// The resource.
    #[default]
    Representation,
    /// No body.
    Minimal,
    /// What there is to say about the write.
    OperationOutcome,
}

impl Ask {
    fn view(&self, app: &App) -> View {
        View { tenant: self.caller.tenant(), actor: self.caller.actor(), now: app.clock.now() }
    }
}

/// The answer to a write, in the form the caller prefers.
fn written(
    status: u16,
    returning: Return,
    head: &Head,
    json: Vec<u8>,
    warnings: Vec<Problem>,
) -> Opened<Answer> {
    let mut answer = match returning {
        Return::Representation => Answer::fhir(status, json),
        Return::Minimal => Answer::empty(status),
        Return::OperationOutcome => {
            let said =
                Problem::information("The resource was stored as it was sent, with its id and meta set.");
            let said = std::iter::once(said).chain(warnings).collect();
            Answer::fhir(status, OperationOutcome(said).to_bytes())
        }
    };
    head.put(&mut answer);
    Opened::from_caller(answer)
}

/// The headers that name a version.
#[derive(Clone)]
struct Head {
    version: i32,
    updated: DateTime<Utc>,
    location: Option<String>,
}

impl Head {
    fn put(&self, answer: &mut Answer) {
        answer.version = Some(self.version);
        answer.last_modified = Some(self.updated);
        answer.location.clone_from(&self.location);
    }
}

/// How much is wanted, by the parameters of a query and of a search form.
///
/// # Errors
/// A 400 when it cannot be read.
pub fn subset(query: Option<&str>, form: Option<&[u8]>) -> Result<Subset, Refusal> {
    let mentions = |text: &[u8]| text.windows(8).any(|piece| piece == b"_summary" || piece == b"_element");
    // Most requests have neither, and what else is wrong with them is said elsewhere.
    if ![query.unwrap_or_default().as_bytes(), form.unwrap_or_default()].into_iter().any(mentions) {
        return Ok(Subset::Whole);
    }
    let pairs = crate::fhir::search::form::decode_both(query, form);
    pairs.and_then(|pairs| Subset::parse(&pairs)).map_err(|problem| Refusal::Malformed(vec![problem]))
}

/// A body that is one resource, or what is wrong with it.
fn parse_body(body: &[u8]) -> Result<serde_json::Value, Failure> {
    crate::fhir::json::parse(body).map_err(|problem| Refusal::Malformed(vec![problem]).into())
}

/// A problem of the request itself.
fn malformed(code: IssueCode, text: &'static str) -> Failure {
    Refusal::malformed(code, text).into()
}
