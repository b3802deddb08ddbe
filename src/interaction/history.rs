//! history of an instance, a type and the whole tenant (FHIR R4 http.html#history), newest first.
//!
//! Each version is opened and permitted on its own, by its labels and those the record bears now, before it counts for
//! the page; what the caller may not see is left out like what never was, and the next link starts after the last
//! version that was released.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use uuid::Uuid;

use super::{
    Ask, Failure, bookmark, forbidden, malformed,
    open::{Current, open_permitted, open_version},
    pages::{Asked, Links},
};
use crate::{
    answer::Answer,
    app::App,
    fhir::{
        bundle::{self, Method},
        kinds::{LogicalId, ResourceType},
        outcome::IssueCode,
        search::{date::DateRange, form},
    },
    gate::Act,
    ledger::{Audited, Grounds, Released},
    refusal::{Refusal, Why},
    seal::{Opened, Plain, RecordBinding},
    store::{
        Row,
        history::{Moment, Span},
        search::{View, far_future},
    },
};

/// Versions on a page unless `_count` says otherwise.
pub const COUNT_DEFAULT: u32 = 20;
/// The most versions on a page.
pub const COUNT_MAX: u32 = 1_000;
/// The most versions that are opened for one page.
pub const OPENED_MAX: usize = 10_000;
/// Versions asked for at a time, at the most.
const CHUNK_MAX: i64 = 500;
/// Current versions that are fetched at once.
const CURRENTS_AT_ONCE: usize = 256;

/// Whose history.
enum Of<'a> {
    Instance(ResourceType, &'a LogicalId),
    Type(ResourceType),
    System,
}

/// What was asked for.
struct Query {
    asked: Asked,
    span: Span,
}

/// One page of a record's history.
///
/// # Errors
/// [`Failure`] as every interaction.
pub async fn run(
    app: &App,
    ask: &Ask,
    kind: ResourceType,
    id: &LogicalId,
    query: &str,
) -> Result<Audited<Answer>, Failure> {
    app.gate.approach(&ask.caller, Act::History, kind).map_err(forbidden)?;
    let query = Query::parse(query)?;
    page(app, ask, &Of::Instance(kind, id), &query, &[kind]).await
}

/// One page of the history of a type.
///
/// # Errors
/// [`Failure`] as every interaction.
pub async fn of_type(
    app: &App,
    ask: &Ask,
    kind: ResourceType,
    query: &str,
) -> Result<Audited<Answer>, Failure> {
    app.gate.approach(&ask.caller, Act::History, kind).map_err(forbidden)?;
    let query = Query::parse(query)?;
    page(app, ask, &Of::Type(kind), &query, &[kind]).await
}

/// One page of the history of every type the caller may see anything of.
///
/// # Errors
/// [`Failure`] as every interaction; 403 when there is no such type.
pub async fn of_system(app: &App, ask: &Ask, query: &str) -> Result<Audited<Answer>, Failure> {
    let mut refused = None;
    let mut kinds = Vec::new();
    for kind in ResourceType::all() {
        match app.gate.approach(&ask.caller, Act::History, kind) {
            Ok(()) => kinds.push(kind),
            Err(denied) => refused = Some(denied),
        }
    }
    if let (true, Some(denied)) = (kinds.is_empty(), refused) {
        return Err(forbidden(denied));
    }
    let query = Query::parse(query)?;
    page(app, ask, &Of::System, &query, &kinds).await
}

async fn page(
    app: &App,
    ask: &Ask,
    of: &Of<'_>,
    query: &Query,
    kinds: &[ResourceType],
) -> Result<Audited<Answer>, Failure> {
    let view = ask.view(app);
    let keys = app.keyring.tenant(view.tenant)?;
    let path = of.path();
    let question = query.asked.question(&path);
    let after = match &query.asked.cursor {
        None => None,
        Some(text) => Some(bookmark::read(&keys, &ask.caller, &question, text, view.now)?),
    };
    let as_of = match &query.asked.cursor {
        None => Some(app.ledger.settle(view.tenant, view.now).await?),
        Some(_) => None,
    };
    let scan = scan(app, ask, of, query, kinds, after).await?;
    if scan.released.is_empty()
        && let Of::Instance(kind, id) = of
    {
        let unseen = scan.unseen.unwrap_or_else(|| (Why::Absent, Box::default()));
        return none(app, ask, (query, as_of), *kind, id, unseen).await;
    }
    let next = scan.next.map(|place| bookmark::write(&keys, &ask.caller, &question, place, view.now));
    let next = next.transpose()?;
    let links = Links::of(app, ask, &path, &query.asked, (next.as_deref(), as_of));
    let answer = Opened::gather(scan.versions).map_with(&links, render);
    Ok(app.ledger.disclose(&ask.access, scan.released, answer).await?)
}

/// What a page holds.
struct Scan {
    released: Vec<Released>,
    versions: Vec<Opened<(Plain, RecordBinding)>>,
    /// Where the next page starts, if there is anything the caller may see on it.
    next: Option<Moment>,
    /// Why the newest version that is not shown is not.
    unseen: Option<(Why, Box<Grounds>)>,
}

async fn scan(
    app: &App,
    ask: &Ask,
    of: &Of<'_>,
    query: &Query,
    kinds: &[ResourceType],
    mut position: Option<Moment>,
) -> Result<Scan, Failure> {
    let view = ask.view(app);
    let count = usize::try_from(query.asked.count).unwrap_or(usize::MAX);
    let limit = i64::from(query.asked.count).saturating_add(1).clamp(32, CHUNK_MAX);
    let mut scan = Scan { released: Vec::new(), versions: Vec::new(), next: None, unseen: None };
    let (mut opened, mut last) = (0_usize, None);
    loop {
        let rows = fetch(app, ask, of, query, kinds, position, limit).await?;
        let ends = i64::try_from(rows.len()).unwrap_or(i64::MAX) < limit;
        let currents = currents(app, &view, &rows).await?;
        for row in rows {
            opened += 1;
            if opened > OPENED_MAX {
                return Err(too_costly());
            }
            let at = row.at;
            let place = (at.updated, at.kind, at.key, at.version);
            position = Some(place);
            let current = currents.get(&(at.kind, at.key)).and_then(Option::as_ref);
            let current = Current::of(app, &view, at.version, current).await?;
            match open_version(app, &ask.caller, &view, Act::History, row, &current).await {
                Ok(_) if scan.released.len() >= count => {
                    scan.next = last;
                    return Ok(scan);
                }
                Ok((record, permit)) => {
                    scan.released.push(Released { permit, version: record.version() });
                    scan.versions.push(record.opened.map_with(&at, |plain, at| (plain, *at)));
                    last = Some(place);
                }
                // A version the caller may not see (it was about another patient then) is left out like an absent one.
                Err(Failure::Refused(Refusal::NotFound(why), grounds)) => {
                    scan.unseen.get_or_insert((why, grounds));
                }
                Err(other) => return Err(other),
            }
        }
        if ends {
            return Ok(scan);
        }
    }
}

/// The current versions of the records that these are versions of.
async fn currents(
    app: &App,
    view: &View,
    rows: &[Row],
) -> Result<HashMap<(ResourceType, Uuid), Option<Row>>, Failure> {
    let places: HashSet<(ResourceType, Uuid)> = rows.iter().map(|row| (row.at.kind, row.at.key)).collect();
    let fetcher = app.store.fetcher();
    let fetched = stream::iter(places).map(|(kind, key)| async move {
        fetcher.record(view.tenant, kind, key, view.actor, view.now).await.map(|row| ((kind, key), row))
    });
    Ok(fetched.buffer_unordered(CURRENTS_AT_ONCE).try_collect().await?)
}

async fn fetch(
    app: &App,
    ask: &Ask,
    of: &Of<'_>,
    query: &Query,
    kinds: &[ResourceType],
    position: Option<Moment>,
    limit: i64,
) -> Result<Vec<Row>, Failure> {
    let view = ask.view(app);
    let Of::Instance(kind, id) = of else {
        return Ok(app.store.history(&view, kinds, query.span, position, limit).await?);
    };
    let key = app.keyring.tenant(view.tenant)?.opaque(*kind, id.as_str());
    let up_to = position.map_or(i32::MAX, |(_, _, _, version)| version.saturating_sub(1));
    Ok(app.store.history_of(&view, (*kind, key), query.span, up_to, limit).await?)
}

/// The answer when no version of a record is shown: an empty page, if the record is there for the caller and
/// nothing of it falls into the span asked for.
async fn none(
    app: &App,
    ask: &Ask,
    (query, as_of): (&Query, Option<DateTime<Utc>>),
    kind: ResourceType,
    id: &LogicalId,
    (why, grounds): (Why, Box<Grounds>),
) -> Result<Audited<Answer>, Failure> {
    let absent = Failure::Refused(Refusal::NotFound(why), grounds);
    if query.asked.given.is_empty() && query.asked.cursor.is_none() {
        return Err(absent);
    }
    let view = ask.view(app);
    let key = app.keyring.tenant(view.tenant)?.opaque(kind, id.as_str());
    let row = app.store.fetcher().record(view.tenant, kind, key, view.actor, view.now).await?;
    let Some(row) = row else { return Err(absent) };
    let (record, permit) = open_permitted(app, &ask.caller, &view, Act::History, row).await?;
    let released = vec![Released { permit, version: record.version() }];
    let links = Links::of(app, ask, &Of::Instance(kind, id).path(), &query.asked, (None, as_of));
    let answer = Opened::gather(Vec::new()).map_with(&links, render);
    Ok(app.ledger.disclose(&ask.access, released, answer).await?)
}

fn too_costly() -> Failure {
    let text = format!(
        "The history would have to open more than {OPENED_MAX} versions for one page. Narrow it by type, or by \
         _since or _at."
    );
    Refusal::TooCostly(text).into()
}

impl Query {
    fn parse(query: &str) -> Result<Self, Failure> {
        let pairs = form::decode(query.as_bytes()).map_err(|problem| Refusal::Malformed(vec![problem]))?;
        let everything =
            Span { from: DateTime::UNIX_EPOCH, until: far_future(), alive_after: DateTime::UNIX_EPOCH };
        let mut found = Self { asked: Asked::first(COUNT_DEFAULT), span: everything };
        for (name, value) in &pairs {
            match name.as_str() {
                "_count" => found.asked.count(value, COUNT_MAX)?,
                "_cursor" => found.asked.cursor = Some(value.clone()),
                "_since" => {
                    let since = span(value, "_since: expected an instant, a dateTime or a date.")?;
                    found.span.from = found.span.from.max(since.from);
                    found.asked.given.push(("_since", value.clone()));
                }
                "_at" => {
                    let at = span(value, "_at: expected an instant, a dateTime or a date.")?;
                    found.span.until = found.span.until.min(at.until);
                    found.span.alive_after = found.span.alive_after.max(at.from);
                    found.asked.given.push(("_at", value.clone()));
                }
                "_format" | "_pretty" | "_summary" | "_elements" => {}
                _ => {
                    let text = "History knows _count, _since, _at, _summary and _elements; other parameters are \
                                not supported.";
                    return Err(Refusal::NotSupported(text.to_owned()).into());
                }
            }
        }
        Ok(found)
    }
}

fn span(value: &str, wrong: &'static str) -> Result<DateRange, Failure> {
    DateRange::parse(value).ok_or_else(|| malformed(IssueCode::Value, wrong))
}

impl Of<'_> {
    fn path(&self) -> String {
        match self {
            Self::Instance(kind, id) => format!("{}/{}/_history", kind.name(), id.as_str()),
            Self::Type(kind) => format!("{}/_history", kind.name()),
            Self::System => "_history".to_owned(),
        }
    }
}

/// A version as its entry shows it.
struct Shown {
    full_url: String,
    url: String,
    at: RecordBinding,
    updated: DateTime<Utc>,
    json: Vec<u8>,
}

fn render(versions: Vec<(Plain, RecordBinding)>, links: &Links<'_>) -> Answer {
    let shown: Vec<Shown> = versions
        .into_iter()
        .map(|(plain, at)| {
            let url = format!("{}/{}", at.kind.name(), plain.id);
            let full_url = format!("{}/{url}", links.base);
            let json = if at.deleted { Vec::new() } else { links.subset.of(links.definitions, plain.json) };
            Shown { full_url, url, at, updated: at.updated, json }
        })
        .collect();
    let entries = shown.iter().map(|Shown { full_url, url, at, updated, json }| {
        // How a version came about is not kept beside it: the first is shown as created under its id.
        let (method, status) = match (at.deleted, at.version) {
            (true, _) => (Method::Delete, "204"),
            (false, 1) => (Method::Put, "201"),
            (false, _) => (Method::Put, "200"),
        };
        bundle::Version {
            full_url,
            method,
            url,
            status,
            version: u32::try_from(at.version).unwrap_or(0),
            last_updated: *updated,
            resource: (!at.deleted).then_some(json.as_slice()),
        }
    });
    Answer::fhir(200, bundle::history(links.page(None), entries))
}
