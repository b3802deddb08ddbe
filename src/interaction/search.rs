//! search-type (FHIR R4 http.html#search): candidates, opened, matched exactly, permitted, then counted.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::{
    Ask, Failure, cursor, forbidden, malformed,
    open::{Record, open_permitted},
};
use crate::{
    answer::Answer,
    app::App,
    fhir::{
        bundle::{self, Found, Mode},
        kinds::{LogicalId, ResourceType},
        outcome::{IssueCode, OperationOutcome, Problem},
        search::{Handling, Query, Request, Total, form},
    },
    gate::{Act, Permit},
    ledger::{Audited, Released},
    refusal::Refusal,
    seal::{Opened, Plain, TenantKeys},
    store::{
        row::Row,
        search::{Narrowing, View, far_future},
    },
};

/// The most candidates one search opens.
pub const OPENED_MAX: usize = 10_000;
/// Candidates asked for at a time, at the most.
const CHUNK_MAX: i64 = 1_000;

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
    let view = ask.view(app);
    let pairs = form::decode_both(query, body).map_err(|problem| Refusal::Malformed(vec![problem]))?;
    let request = Request { kind, base: &app.base, handling: ask.handling, now: view.now };
    let query = Query::parse(request, &pairs).map_err(Refusal::Malformed)?;
    let keys = app.keyring.tenant(view.tenant)?;
    let after = match &query.cursor {
        None => None,
        Some(text) => Some(cursor::read(&keys, &ask.caller, kind, text, view.now).ok_or_else(|| {
            malformed(
                IssueCode::Expired,
                "_cursor: expected what a next link of yours holds; it is good for an hour.",
            )
        })?),
    };
    let found = Hunt { app, ask, view: &view, keys: &keys, query: &query }.run(after).await?;
    Ok(found.into_answer(app, &keys, ask, &query))
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
    let view = ask.view(app);
    let pairs = form::decode(query.as_bytes()).map_err(|problem| Refusal::Malformed(vec![problem]))?;
    let request = Request { kind, base: &app.base, handling: Handling::Strict, now: view.now };
    let mut query = Query::parse(request, &pairs).map_err(Refusal::Malformed)?;
    if query.ids.is_none() && query.patients.is_empty() && query.last_updated.is_empty() {
        return Err(malformed(IssueCode::Required, "The condition needs a search parameter."));
    }
    (query.count, query.total, query.cursor) = (most, None, None);
    let keys = app.keyring.tenant(view.tenant)?;
    Ok(Hunt { app, ask, view: &view, keys: &keys, query: &query }.run(None).await?.page)
}

struct Hunt<'a> {
    app: &'a App,
    ask: &'a Ask,
    view: &'a View,
    keys: &'a Arc<TenantKeys>,
    query: &'a Query,
}

struct Matches {
    page: Vec<(Record, Permit)>,
    /// Whether there is at least one match after the page.
    more: bool,
    /// Matches in all, when everything was looked at from the first page on.
    total: Option<u64>,
}

impl Hunt<'_> {
    async fn run(&self, after: Option<cursor::Position>) -> Result<Matches, Failure> {
        let count = usize::try_from(self.query.count).unwrap_or(usize::MAX);
        let counting = self.query.is_count_only() || self.query.total == Some(Total::Accurate);
        let first_page = after.is_none();
        // The total is that of the search, wherever the page starts: counting begins at the beginning.
        let mut position = if counting { None } else { after };
        let mut matches = Matches { page: Vec::new(), more: false, total: None };
        let (mut opened, mut total) = (0_usize, 0_u64);
        loop {
            let limit = i64::from(self.query.count).saturating_add(1).clamp(64, CHUNK_MAX);
            let rows = self.app.store.candidates(self.view, self.narrowing(position, limit)).await?;
            let last = i64::try_from(rows.len()).unwrap_or(i64::MAX) < limit;
            for row in rows {
                opened += 1;
                if opened > OPENED_MAX {
                    return Err(too_costly());
                }
                let place = (row.at.updated, row.at.key);
                position = Some(place);
                let Some(found) = self.try_match(row).await? else { continue };
                total += 1;
                if after.is_some_and(|after| place >= after) {
                    continue;
                }
                if matches.page.len() < count {
                    matches.page.push(found);
                } else {
                    matches.more = true;
                    if !counting {
                        return Ok(matches);
                    }
                }
            }
            if last {
                matches.total = (counting || first_page).then_some(total);
                return Ok(matches);
            }
        }
    }

    /// Opens a candidate; `None` when it does not match or the caller may not see it.
    async fn try_match(&self, row: Row) -> Result<Option<(Record, Permit)>, Failure> {
        let updated = row.at.updated;
        match open_permitted(self.app, &self.ask.caller, self.view, Act::Search, row).await {
            Ok((record, permit)) => {
                let matches = record
                    .opened
                    .test(&(self.query, updated), |plain, (query, updated)| is_match(plain, query, *updated));
                Ok(matches.then_some((record, permit)))
            }
            Err(Failure::Refused(Refusal::NotFound(_), _)) => Ok(None),
            Err(other) => Err(other),
        }
    }

    fn narrowing(&self, after: Option<cursor::Position>, limit: i64) -> Narrowing {
        let candidates = self.query.candidates();
        let opaque = |kind: ResourceType, ids: &[LogicalId]| {
            ids.iter().map(|id| self.keys.opaque(kind, id.as_str())).collect::<Vec<_>>()
        };
        Narrowing {
            kind: candidates.kind,
            patients: candidates.patients.first().map(|ids| opaque(ResourceType::PATIENT, ids)),
            keys: candidates.ids.map(|ids| opaque(candidates.kind, ids)),
            from: candidates.updated_from.unwrap_or(DateTime::UNIX_EPOCH),
            until: candidates.updated_until.unwrap_or_else(far_future),
            after,
            limit,
        }
    }
}

fn too_costly() -> Failure {
    let text = format!(
        "The search would have to open more than {OPENED_MAX} records. Narrow it: name a patient, ids, or a \
         span of _lastUpdated."
    );
    Refusal::TooCostly(text).into()
}

fn is_match(plain: &Plain, query: &Query, updated: DateTime<Utc>) -> bool {
    let Some(id) = LogicalId::parse(&plain.id) else { return false };
    // A resource of ours parses; if it does not, it matches nothing.
    let Ok(resource) = serde_json::from_slice(&plain.json) else { return false };
    query.matches(&resource, query.kind, &id, updated)
}

struct Rendering {
    this: String,
    next: Option<String>,
    total: Option<u64>,
    kind: String,
    outcome: Option<Vec<u8>>,
}

impl Matches {
    fn into_answer(
        self,
        app: &App,
        keys: &TenantKeys,
        ask: &Ask,
        query: &Query,
    ) -> (Vec<Released>, Opened<Answer>) {
        let next = self.page.last().filter(|_| self.more).map(|(record, _)| {
            let place = (record.at.updated, record.at.key);
            query.next_link(&cursor::write(keys, &ask.caller, query.kind, place, app.clock.now()))
        });
        let rendering = Rendering {
            this: query.self_link(),
            next,
            total: self.total,
            kind: format!("{}/{}", app.base.as_str(), query.kind.name()),
            outcome: outcome(&query.ignored),
        };
        let mut released = Vec::with_capacity(self.page.len());
        let mut opened = Vec::with_capacity(self.page.len());
        for (record, permit) in self.page {
            released.push(Released { permit, version: record.version() });
            opened.push(record.opened);
        }
        (released, Opened::gather(opened).map_with(&rendering, render))
    }
}

/// What the server left out of the search, as an entry of its own.
fn outcome(ignored: &[Problem]) -> Option<Vec<u8>> {
    (!ignored.is_empty()).then(|| OperationOutcome(ignored.to_vec()).to_bytes())
}

fn render(matches: Vec<Plain>, rendering: &Rendering) -> Answer {
    let urls: Vec<String> = matches.iter().map(|plain| format!("{}/{}", rendering.kind, plain.id)).collect();
    let page = bundle::Page {
        self_link: &rendering.this,
        next_link: rendering.next.as_deref(),
        total: rendering.total,
    };
    let entries = matches.iter().zip(&urls).map(|(plain, url)| Found {
        full_url: Some(url),
        resource: &plain.json,
        mode: Mode::Match,
    });
    let said = rendering.outcome.iter().map(|outcome| Found {
        full_url: None,
        resource: outcome,
        mode: Mode::Outcome,
    });
    Answer::fhir(200, bundle::searchset(page, entries.chain(said)))
}
