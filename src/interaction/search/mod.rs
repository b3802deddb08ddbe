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
mod named;
mod seats;
mod spent;
mod system;

pub(super) use named::{approach, note_all};
pub use spent::Spent;
pub use system::of_system;

use chrono::{DateTime, Utc};

use super::{
    ATTEMPTS_MAX, Ask, Failure, malformed,
    open::{Record, open_permitted},
    reindex::settled,
    terminology::{Known, RECORDS_MAX, unpack},
};
use crate::{
    answer::Answer,
    app::App,
    fhir::{
        compartment::can_be_in_compartment,
        kinds::{LogicalId, ResourceType},
        outcome::{IssueCode, Problem},
        search::{Filter, Handling, Level, Query, Request, Searches, Sets, WantedSet},
        terminology::Vocabulary,
    },
    gate::Permit,
    ledger::{Audited, Rejected, Released, Stale},
    refusal::Refusal,
    seal::Opened,
};
use cursor::Position;
use follow::Scout;
use hunt::Hunt;
use seats::seated;

/// The most records the searches of one request open, those they follow links to among them.
pub const OPENED_MAX: usize = 10_000;
/// The most bytes of envelopes that they open: what is kept of a page is never more.
pub const OPENED_BYTES_MAX: usize = 512 * 1024 * 1024;
/// The longest that they take, in seconds.
pub const SEARCHED_S_MAX: i64 = 120;
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
    look(app, ask, kind, query, body).await?.disclose(app, ask).await
}

/// What a search found, undisclosed.
pub(super) struct Looked {
    pub(super) released: Vec<Released>,
    pub(super) answer: Opened<Answer>,
}

impl Looked {
    async fn disclose(self, app: &App, ask: &Ask) -> Result<Audited<Answer>, Failure> {
        Ok(app.ledger.disclose(&ask.access, self.released, self.answer).await?)
    }
}

/// A search that has not been disclosed yet.
pub(super) async fn look(
    app: &App,
    ask: &Ask,
    kind: ResourceType,
    query: Option<&str>,
    body: Option<&[u8]>,
) -> Result<Looked, Failure> {
    let pairs = named::hear(app, ask, kind, (query, body), None)?;
    to_its_end(app, ask, (kind, &pairs), None).await
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
    let pairs = named::hear(app, ask, kind, (query, None), Some(&patient))?;
    if !can_be_in_compartment(kind) {
        let text = "Records of this type are in no patient's compartment.".to_owned();
        return Err(Refusal::NotSupported(text).into());
    }
    to_its_end(app, ask, (kind, &pairs), Some(&patient)).await?.disclose(app, ask).await
}

/// Finds what is asked; again, if the search parameters in force have changed meanwhile.
async fn to_its_end(
    app: &App,
    ask: &Ask,
    (kind, pairs): (ResourceType, &[(String, String)]),
    compartment: Option<&LogicalId>,
) -> Result<Looked, Failure> {
    for _ in 0..ATTEMPTS_MAX {
        let scout = Scout::new(app, ask)?;
        // `read` are records that were read so that the query could be understood.
        let (mut query, read) = parse(&scout, kind, pairs).await?;
        query.compartment = compartment.cloned();
        let after = position(&scout, &query)?;
        let as_of = settle(&scout, &query).await?;
        let (matches, included) = seated(&app.seats, async {
            let matches = Hunt::new(&scout, &query, Vec::new()).await?.page(after.as_ref()).await?;
            let included = include::gather(&scout, &query, &matches.page).await?;
            Ok::<_, Failure>((matches, included))
        })
        .await?;
        scout.go_on()?;
        if settled(app, scout.view.tenant, &scout.in_force).await? {
            let (mut released, answer) = answer::make(&scout, (&query, as_of), matches, included)?;
            released.extend(read);
            return Ok(Looked { released, answer });
        }
    }
    Err(Rejected::from(Stale::Changed).into())
}

/// Whoever asks what was written since a time may ask again from the instant that comes back: what is dated before it is on its
/// pages (decision 0044).
async fn settle(scout: &Scout<'_>, query: &Query) -> Result<Option<DateTime<Utc>>, Failure> {
    if query.cursor.is_some() || !query.filters.iter().any(Filter::asks_when) {
        return Ok(None);
    }
    Ok(Some(scout.app.ledger.settle(scout.view.tenant, scout.view.now).await?))
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
/// Nothing of it is disclosed, and every permit is for [`crate::gate::Act::Search`]. The query must hold a filter, and nothing
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
    let pairs = named::hear(app, ask, kind, (Some(query), None), None)?;
    for _ in 0..ATTEMPTS_MAX {
        let scout = Scout::new(app, ask)?;
        let searches = &scout.in_force.searches;
        let asked = Asked { kind, level: Level::Type, searches, handling: Handling::Strict, pairs: &pairs };
        let query = match asked.read(app, ask, None) {
            Ok(query) => query,
            Err((problems, wanted)) if wanted.is_empty() => return Err(Refusal::Malformed(problems).into()),
            // A condition knows the sets of R4 and of packages, and no others.
            Err(_) => {
                let conformance = app.conformance.load_full();
                unpack(&conformance).await;
                let known = conformance.vocabulary(None);
                asked.read(app, ask, Some(&known)).map_err(|(problems, _)| Refusal::Malformed(problems))?
            }
        };
        if query.filters.is_empty() {
            return Err(malformed(IssueCode::Required, "The condition needs a search parameter."));
        }
        let found = Hunt::new(&scout, &query, Vec::new())
            .await?
            .first(usize::try_from(most).unwrap_or(usize::MAX))
            .await?;
        scout.go_on()?;
        if settled(app, scout.view.tenant, &scout.in_force).await? {
            return Ok(found.into_iter().map(|found| (found.record, found.permit)).collect());
        }
    }
    Err(Rejected::from(Stale::Changed).into())
}

/// A query of a type, and the records that were read so that it could be understood.
async fn parse(
    scout: &Scout<'_>,
    kind: ResourceType,
    pairs: &[(String, String)],
) -> Result<(Query, Vec<Released>), Failure> {
    let mut known = None;
    let (searches, handling) = (&scout.in_force.searches, scout.ask.handling);
    let asked = Asked { kind, level: Level::Type, searches, handling, pairs };
    let query = asked.understand(scout.app, scout.ask, &mut known).await?;
    Ok((query, known.map(|known| known.released).unwrap_or_default()))
}

/// Parameters to be read as a query.
struct Asked<'a> {
    kind: ResourceType,
    level: Level,
    searches: &'a Searches,
    handling: Handling,
    pairs: &'a [(String, String)],
}

impl Asked<'_> {
    /// Reads them with what is known of codes: nothing at first, which is enough for most. Sets of codes that they name
    /// are looked for, as the caller may read them, and then they are read again.
    async fn understand(&self, app: &App, ask: &Ask, known: &mut Option<Known>) -> Result<Query, Failure> {
        for _ in 0..=RECORDS_MAX {
            let vocabulary = known.as_ref().map(Known::vocabulary);
            let (problems, wanted) = match self.read(app, ask, vocabulary.as_ref()) {
                Ok(query) => return Ok(query),
                Err(both) => both,
            };
            drop(vocabulary);
            if wanted.is_empty() {
                return Err(refused(known.take(), problems));
            }
            let is_new = known.is_none();
            let mut more = match known.take() {
                Some(known) => known,
                None => Known::open(app).await,
            };
            // R4's and the packages' come first: what they know is not looked for elsewhere.
            let moved = is_new || more.find(app, ask, wanted).await?;
            *known = Some(more);
            if !moved {
                return Err(refused(known.take(), problems));
            }
        }
        Err(too_costly())
    }

    /// Reads them once. What is wrong, and which sets of codes were not known.
    fn read(
        &self,
        app: &App,
        ask: &Ask,
        vocabulary: Option<&Vocabulary<'_>>,
    ) -> Result<Query, (Vec<Problem>, Vec<WantedSet>)> {
        let Self { kind, level, searches, handling, pairs } = *self;
        let (sets, now) = (Sets::new(vocabulary), ask.view(app).now);
        let request = Request { kind, level, searches, sets: &sets, base: &app.base, handling, now };
        let query = Query::parse(request, pairs);
        query.map_err(|problems| (problems, sets.wanted()))
    }
}

/// What cannot be understood; or that another server was away that might know.
fn refused(known: Option<Known>, problems: Vec<Problem>) -> Failure {
    match known {
        None => Refusal::Malformed(problems).into(),
        Some(known) if known.away => known.failure(Refusal::Unavailable),
        Some(known) => known.failure(Refusal::Malformed(problems)),
    }
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
        "The request would have to open more than {OPENED_MAX} records, or very large ones, or search for more than \
         {SEARCHED_S_MAX} seconds. Narrow it: name a patient, ids, or a span of _lastUpdated."
    );
    Refusal::TooCostly(text).into()
}
