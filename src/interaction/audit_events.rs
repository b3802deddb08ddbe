//! AuditEvents of the log: read and search-type of views of entries, to whoever may audit (decision 0010).
//!
//! Newest first over all logs, page by page from where the last ended in each; a page looks at a bounded number of entries and is
//! shorter, with a next link, when it reached that bound. The look is itself an entry and names every event shown.

use custodia_audit::sha256;
use serde_json::Value;

use super::{Ask, Failure, forbidden};
use crate::{
    answer::Answer,
    app::App,
    events::{LogId, LogQuery, Place, RESERVED_PREFIX, View, audit_event, disclosure_event},
    fhir::{
        bundle::{self, Found, Mode},
        json,
        kinds::{LogicalId, ResourceType},
        search::form,
    },
    ledger::{Audited, LedgerReader, Merge, Position, SCAN_ENTRIES_MAX, Shown, Span, StoredEntry},
    refusal::{Refusal, Why},
};

/// The most entries one page opens.
pub const PAGE_ENTRIES_MAX: usize = 5_000;
/// The bytes of events after which a page ends: one more event may go over it.
pub const PAGE_BYTES_MAX: usize = 4 * 1_024 * 1_024;

/// Whether an id is one of the log's, which no record may have.
#[must_use]
pub fn is_reserved(kind: ResourceType, id: &LogicalId) -> bool {
    is_audit_event(kind) && id.as_str().starts_with(RESERVED_PREFIX)
}

/// Whether a search of this type by this caller is one of the log.
#[must_use]
pub fn searches_log(app: &App, ask: &Ask, kind: ResourceType) -> bool {
    is_audit_event(kind) && app.gate.permit_audit(&ask.caller).is_ok()
}

fn is_audit_event(kind: ResourceType) -> bool {
    kind.name() == "AuditEvent"
}

/// `GET /fhir/AuditEvent/log-<shard>-<index>`.
///
/// # Errors
/// [`Failure`] as every interaction.
pub async fn read(app: &App, ask: &Ask, id: &LogicalId) -> Result<Audited<Answer>, Failure> {
    let permit = app.gate.permit_audit(&ask.caller).map_err(forbidden)?;
    let absent = || Failure::from(Refusal::NotFound(Why::Absent));
    let id = LogId::parse(id.as_str()).ok_or_else(absent)?;
    let log = app.ledger.readers().find(|log| log.shard() == id.shard).ok_or_else(absent)?;
    if id.index >= log.size().await? {
        return Err(absent());
    }
    let entry = log.entries(id.index, id.index.saturating_add(1)).await?.pop().ok_or_else(absent)?;
    // Another tenant's entry is nowhere.
    if entry.tenant != ask.caller.tenant() {
        return Err(absent());
    }
    let views = views(log, &entry)?;
    let (_, event) = views.into_iter().find(|(view, _)| *view == id).ok_or_else(absent)?;
    let answer = Answer { version: Some(1), ..Answer::fhir(200, json::to_bytes(&event)) };
    Ok(app.ledger.reveal(&ask.access, &permit, vec![shown(id, &entry)], answer).await?)
}

/// `GET /fhir/AuditEvent?...` and `POST /fhir/AuditEvent/_search`.
///
/// # Errors
/// [`Failure`] as every interaction.
pub async fn search(
    app: &App,
    ask: &Ask,
    query: Option<&str>,
    body: Option<&[u8]>,
) -> Result<Audited<Answer>, Failure> {
    let permit = app.gate.permit_audit(&ask.caller).map_err(forbidden)?;
    let pairs = form::decode_both(query, body).map_err(|problem| Refusal::Malformed(vec![problem]))?;
    let query = LogQuery::parse(&pairs, &app.base).map_err(Refusal::Malformed)?;
    let page = Page::default().fill(app, ask, &query).await?;
    let answer = page.render(app, &query);
    Ok(app.ledger.reveal(&ask.access, &permit, page.shown, answer).await?)
}

/// The views of an entry of a log, each under its id; none when its key was destroyed.
fn views(log: &LedgerReader, entry: &StoredEntry) -> Result<Vec<(LogId, Value)>, Failure> {
    let Some(told) = entry.entry()? else { return Ok(Vec::new()) };
    let shard = log.shard();
    let place = Place { origin: log.origin(), shard, index: entry.index };
    let access = LogId::access(shard, entry.index);
    let mut views = vec![(access, audit_event(&place, &told))];
    let disclosed = disclosure_event(&place, &told);
    views.extend(disclosed.map(|event| (LogId { view: View::Disclosure, ..access }, event)));
    Ok(views)
}

fn shown(id: LogId, entry: &StoredEntry) -> Shown {
    Shown { id: id.to_string(), digest: sha256(&[&entry.leaf]) }
}

#[derive(Default)]
struct Page {
    events: Vec<(LogId, Vec<u8>)>,
    shown: Vec<Shown>,
    bytes: usize,
    opened: usize,
    /// Where the next page starts, in each log.
    next: Vec<LogId>,
}

impl Page {
    /// From all logs, newest first, from where the cursor is in each.
    async fn fill(mut self, app: &App, ask: &Ask, query: &LogQuery) -> Result<Self, Failure> {
        // The entry that a cursor names is looked at again: its other view may be due.
        let position = |after: &LogId| Position { shard: after.shard, end: after.index.saturating_add(1) };
        let positions: Vec<Position> = query.after.iter().map(position).collect();
        let mut merge = Merge::new(&app.ledger, span(app, ask, query)?, &positions);
        while let Some((log, entry)) = merge.next().await? {
            // Everything that was taken out of the walk was looked at.
            let ends = |at: &Position| LogId { view: View::Disclosure, ..LogId::access(at.shard, at.end) };
            if let Some(last) = self.take(log, query, &entry)? {
                self.next = merge.positions().iter().map(ends).collect();
                self.next.retain(|id| id.shard != last.shard);
                self.next.push(last);
                return Ok(self);
            }
            if self.opened >= PAGE_ENTRIES_MAX {
                self.next = merge.positions().iter().map(ends).collect();
                return Ok(self);
            }
        }
        Ok(self)
    }

    /// Looks at one entry. When there is no room for one of its views, what comes last before that in its log.
    fn take(
        &mut self,
        log: &LedgerReader,
        query: &LogQuery,
        entry: &StoredEntry,
    ) -> Result<Option<LogId>, Failure> {
        self.opened += 1;
        let Some(told) = entry.entry()? else { return Ok(None) };
        let above = LogId::access(log.shard(), entry.index.saturating_add(1));
        let mut last = LogId { view: View::Disclosure, ..above };
        for (id, event) in views(log, entry)? {
            if !query.is_due(id) || !query.matches(id, &told, &event) {
                last = id;
                continue;
            }
            if self.events.len() >= query.count || self.bytes >= PAGE_BYTES_MAX {
                return Ok(Some(last));
            }
            let bytes = json::to_bytes(&event);
            self.bytes += bytes.len();
            self.shown.push(shown(id, entry));
            self.events.push((id, bytes));
            last = id;
        }
        Ok(None)
    }

    fn render(&self, app: &App, query: &LogQuery) -> Answer {
        let this = query.link(&app.base, &query.after);
        let next = (!self.next.is_empty()).then(|| query.link(&app.base, &self.next));
        let urls: Vec<String> =
            self.events.iter().map(|(id, _)| format!("{}/AuditEvent/{id}", app.base.as_str())).collect();
        let page = bundle::Page { self_link: &this, next_link: next.as_deref(), total: None, as_of: None };
        let found = self.events.iter().zip(&urls).map(|((_, event), url)| Found {
            full_url: Some(url),
            resource: event,
            mode: Mode::Match,
        });
        Answer::fhir(200, bundle::searchset(page, found))
    }
}

/// Which entries a search must look at.
fn span(app: &App, ask: &Ask, query: &LogQuery) -> Result<Span, Failure> {
    let keys = app.keyring.tenant(ask.caller.tenant())?;
    let opaque = |id: &LogicalId| keys.opaque(ResourceType::PATIENT, id.as_str());
    Ok(Span {
        tenant: ask.caller.tenant(),
        patients: query.patients.as_ref().map(|ids| ids.iter().map(opaque).collect()),
        from_micros: query.from.map(|from| from.timestamp_micros()),
        until_micros: query.until.map(|until| until.timestamp_micros()),
        limit: u32::try_from(query.count).unwrap_or(SCAN_ENTRIES_MAX).saturating_add(1),
    })
}
