//! search-type, search-system (FHIR R4 http.html#search): candidates, opened, permitted, matched, then counted.
//!
//! ```text
//! parse -> plan (which links to follow from which side) -> candidates -> open -> permit -> match -> follow links
//!       -> order -> page -> inclusions, each permitted on its own -> one entry for each patient -> Bundle
//! ```
//! Search is no oracle: chains, `_has`, orders and inclusions look only at records the caller is permitted to see,
//! and what it is not permitted to see counts nowhere.

mod answer;
mod cursor;
mod follow;
mod hunt;
mod include;
mod marks;
mod system;

pub use system::of_system;

use super::{
    Ask, Failure, Spent, forbidden, malformed,
    open::{Record, open_permitted},
};
use crate::{
    answer::Answer,
    app::App,
    fhir::{
        compartment::can_be_in_compartment,
        kinds::{LogicalId, ResourceType},
        outcome::IssueCode,
        search::{Handling, Level, Query, Request, form},
    },
    gate::{Act, Permit},
    ledger::{Audited, Released},
    refusal::Refusal,
    seal::Opened,
};
use cursor::Position;
use follow::Scout;
use hunt::Hunt;

/// The most records the searches of one request open, those they follow links to among them.
pub const OPENED_MAX: usize = 10_000;
/// The most bytes of envelopes that they open: what is kept of a page is never more.
pub const OPENED_BYTES_MAX: usize = 512 * 1024 * 1024;
/// The most records that come with the matches of one page.
pub const INCLUDED_MAX: usize = 1_000;

/// Search by GET, or by POST with the parameters in the body.
///
/// # Errors
/// [`Failure`] as every interaction.
pub async fn run(
    app: &App,
    ask: &Ask,
    kind: ResourceType,
    query: Option<&str>,
    body: Option<&[u8]>,
) -> Result<Audited<Answer>, Failure> {
    let (released, answer) = look(app, ask, kind, query, body).await?;
    Ok(app.ledger.disclose(&ask.access, released, answer).await?)
}

/// A search that has not been disclosed yet.
pub(super) async fn look(
    app: &App,
    ask: &Ask,
    kind: ResourceType,
    query: Option<&str>,
    body: Option<&[u8]>,
) -> Result<(Vec<Released>, Opened<Answer>), Failure> {
    app.gate.approach(&ask.caller, Act::Search, kind).map_err(forbidden)?;
    let query = parse(app, ask, kind, query, body, ask.handling)?;
    hunt(app, ask, query).await
}

/// Search in the compartment of a patient (FHIR R4 search.html#searchcontexts): `GET [base]/Patient/id/Type?query`.
///
/// Whether there is such a patient is not told: of one whom nobody knows there are no records.
///
/// # Errors
/// [`Failure`] as every interaction.
pub async fn in_compartment(
    app: &App,
    ask: &Ask,
    patient: LogicalId,
    kind: ResourceType,
    query: Option<&str>,
) -> Result<Audited<Answer>, Failure> {
    app.gate.approach(&ask.caller, Act::Search, kind).map_err(forbidden)?;
    if !can_be_in_compartment(kind) {
        let text = "Records of this type are in no patient's compartment.".to_owned();
        return Err(Refusal::NotSupported(text).into());
    }
    let mut query = parse(app, ask, kind, query, None, ask.handling)?;
    query.compartment = Some(patient);
    let (released, answer) = hunt(app, ask, query).await?;
    Ok(app.ledger.disclose(&ask.access, released, answer).await?)
}

async fn hunt(app: &App, ask: &Ask, query: Query) -> Result<(Vec<Released>, Opened<Answer>), Failure> {
    let scout = Scout::new(app, ask)?;
    let after = position(&scout, &query)?;
    let matches = Hunt::new(&scout, &query, Vec::new()).await?.page(after.as_ref()).await?;
    let included = include::gather(&scout, &query, &matches.page).await?;
    answer::make(&scout, &query, matches, included)
}

/// Where the page starts, if the query says.
fn position(scout: &Scout<'_>, query: &Query) -> Result<Option<Position>, Failure> {
    let Some(text) = &query.cursor else { return Ok(None) };
    let place = cursor::read(&scout.keys, &scout.ask.caller, query, text, scout.view.now);
    let text = "_cursor: expected what a next link of this search held; it is good for an hour.";
    place.ok_or_else(|| malformed(IssueCode::Expired, text)).map(Some)
}

/// The current records of a type that a query finds and the caller may see, newest first, at most `most`: what
/// conditional interactions stand on (FHIR R4 http.html#ccreate).
///
/// Nothing of it is disclosed, and every permit is for [`Act::Search`]. The query must hold a filter, and nothing
/// in it is left out: a condition that is not understood must not come to mean any record.
///
/// # Errors
/// [`Failure`] as every interaction.
pub(super) async fn matching(
    app: &App,
    ask: &Ask,
    kind: ResourceType,
    query: &str,
    most: u32,
) -> Result<Vec<(Record, Permit)>, Failure> {
    app.gate.approach(&ask.caller, Act::Search, kind).map_err(forbidden)?;
    let scout = Scout::new(app, ask)?;
    let query = parse(app, ask, kind, Some(query), None, Handling::Strict)?;
    if query.filters.is_empty() {
        return Err(malformed(IssueCode::Required, "The condition needs a search parameter."));
    }
    let found = Hunt::new(&scout, &query, Vec::new())
        .await?
        .first(usize::try_from(most).unwrap_or(usize::MAX))
        .await?;
    Ok(found.into_iter().map(|found| (found.record, found.permit)).collect())
}

fn parse(
    app: &App,
    ask: &Ask,
    kind: ResourceType,
    query: Option<&str>,
    body: Option<&[u8]>,
    handling: Handling,
) -> Result<Query, Failure> {
    let pairs = form::decode_both(query, body).map_err(|problem| Refusal::Malformed(vec![problem]))?;
    let now = ask.view(app).now;
    let level = Level::Type;
    let request =
        Request { kind, level, searches: &app.searches, terms: &app.terms, base: &app.base, handling, now };
    Query::parse(request, &pairs).map_err(|problems| Refusal::Malformed(problems).into())
}

/// A record the caller may see, with its place in the order asked for.
pub(super) struct Found {
    pub(super) record: Record,
    pub(super) permit: Permit,
    place: Opened<Vec<u8>>,
}

impl Found {
    /// As the log names it when it is counted and not shown.
    fn counted(self) -> Released {
        Released { version: self.record.version(), permit: self.permit }
    }
}

fn too_costly() -> Failure {
    let text = format!(
        "The request would have to open more than {OPENED_MAX} records, or very large ones. Narrow it: name a \
         patient, ids, or a span of _lastUpdated."
    );
    Refusal::TooCostly(text).into()
}
