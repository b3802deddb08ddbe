//! history of an instance (FHIR R4 http.html#history), newest first, paged by version.

use super::{Ask, Failure, forbidden, malformed, open::open_permitted};
use crate::{
    answer::Answer,
    app::App,
    fhir::{
        bundle::{self, Method},
        kinds::{LogicalId, ResourceType},
        outcome::IssueCode,
        search::form,
    },
    gate::Act,
    ledger::{Audited, Released},
    refusal::{Refusal, Why},
    seal::{Opened, Plain, RecordBinding},
};

/// Versions on a page unless `_count` says otherwise.
pub const COUNT_DEFAULT: u32 = 20;
/// The most versions on a page.
pub const COUNT_MAX: u32 = 1_000;

struct Page {
    count: u32,
    /// Newest version on the page.
    from: i32,
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
    let page = parse(query)?;
    let view = ask.view(app);
    let key = app.keyring.tenant(view.tenant)?.opaque(kind, id.as_str());
    let rows = app.store.versions(&view, kind, key, 1..=page.from, i64::from(page.count) + 1).await?;
    let next = rows.get(usize::try_from(page.count).unwrap_or(usize::MAX)).map(|row| row.at.version);
    let mut released = Vec::new();
    let mut versions = Vec::new();
    let mut unseen = (Why::Absent, None);
    for row in rows.into_iter().take(usize::try_from(page.count).unwrap_or(usize::MAX)) {
        let at = row.at;
        match open_permitted(app, &ask.caller, &view, Act::History, row).await {
            Ok((record, permit)) => {
                released.push(Released { permit, version: record.version() });
                versions.push(record.opened.map_with(&at, |plain, at| (plain, *at)));
            }
            // A version the caller may not see (it was about another patient then) is left out like an absent one.
            Err(Failure::Refused(Refusal::NotFound(why), denied)) => unseen = (why, denied),
            Err(other) => return Err(other),
        }
    }
    if released.is_empty() {
        let (why, denied) = unseen;
        return Err(Failure::Refused(Refusal::NotFound(why), denied));
    }
    let links = Links::of(app, kind, id, &page, next);
    let answer = Opened::gather(versions).map_with(&links, render);
    Ok(app.ledger.disclose(&ask.access, released, answer).await?)
}

fn parse(query: &str) -> Result<Page, Failure> {
    let pairs = form::decode(query.as_bytes()).map_err(|problem| Refusal::Malformed(vec![problem]))?;
    let mut page = Page { count: COUNT_DEFAULT, from: i32::MAX };
    for (name, value) in &pairs {
        match name.as_str() {
            "_count" => {
                let count: u32 = value
                    .parse()
                    .map_err(|_| malformed(IssueCode::Value, "_count: expected a whole number."))?;
                page.count = count.clamp(1, COUNT_MAX);
            }
            "_cursor" => {
                let from: i32 = value.parse().ok().filter(|from| *from > 0).ok_or_else(|| {
                    malformed(IssueCode::Value, "_cursor: expected what a next link holds.")
                })?;
                page.from = from;
            }
            "_format" | "_pretty" => {}
            _ => {
                let text = "History knows _count here; other parameters are not supported.".to_owned();
                return Err(Refusal::NotSupported(text).into());
            }
        }
    }
    Ok(page)
}

struct Links {
    resource: String,
    place: String,
    this: String,
    next: Option<String>,
}

impl Links {
    fn of(app: &App, kind: ResourceType, id: &LogicalId, page: &Page, next: Option<i32>) -> Self {
        let place = format!("{}/{}", kind.name(), id.as_str());
        let resource = format!("{}/{place}", app.base.as_str());
        let count = page.count;
        let this = if page.from == i32::MAX {
            format!("{resource}/_history?_count={count}")
        } else {
            format!("{resource}/_history?_count={count}&_cursor={}", page.from)
        };
        let next = next.map(|from| format!("{resource}/_history?_count={count}&_cursor={from}"));
        Self { resource, place, this, next }
    }
}

fn render(versions: Vec<(Plain, RecordBinding)>, links: &Links) -> Answer {
    let page = bundle::Page { self_link: &links.this, next_link: links.next.as_deref(), total: None };
    let entries = versions.iter().map(|(plain, at)| {
        // How a version came about is not kept beside it: the first is shown as created under its id.
        let (method, status) = match (at.deleted, at.version) {
            (true, _) => (Method::Delete, "204"),
            (false, 1) => (Method::Put, "201"),
            (false, _) => (Method::Put, "200"),
        };
        bundle::Version {
            full_url: &links.resource,
            method,
            url: &links.place,
            status,
            version: u32::try_from(at.version).unwrap_or(0),
            last_updated: at.updated,
            resource: (!at.deleted).then_some(plain.json.as_slice()),
        }
    });
    Answer::fhir(200, bundle::history(page, entries))
}
