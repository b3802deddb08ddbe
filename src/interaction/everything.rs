//! `$everything` of a Patient and of an Encounter (FHIR R4 patient-operation-everything.html, encounter-).
//!
//! Of a patient: every record about her, herself among them. Of an encounter: itself, its patients, and every record
//! about them that refers to it. Records that are about nobody, such as practitioners, are not brought along. Each is
//! permitted on its own; to whom the patient or encounter itself is hidden, the answer is that there is none.

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::{
    Ask, Failure, bookmark, forbidden, malformed,
    open::{current, open_permitted},
    pages::{Asked, Links},
};
use crate::{
    answer::Answer,
    app::App,
    fhir::{
        bundle::{self, Found, Mode},
        kinds::{LogicalId, ResourceType},
        outcome::IssueCode,
        reference::{BaseUrl, Reference, walk},
        search::{date::DateRange, form},
    },
    gate::Act,
    ledger::{Audited, Released},
    refusal::Refusal,
    seal::{Opened, Plain},
    store::history::Moment,
};

/// Records on a page unless `_count` says otherwise.
pub const COUNT_DEFAULT: u32 = 100;
/// The most records on a page.
pub const COUNT_MAX: u32 = 1_000;
/// The most records that are opened for one page.
pub const OPENED_MAX: usize = 10_000;
/// Records asked for at a time, at the most.
const CHUNK_MAX: i64 = 500;

/// What was asked for.
struct Query {
    asked: Asked,
    since: DateTime<Utc>,
    kinds: Option<Vec<ResourceType>>,
}

/// What it is all about.
struct Centre<'a> {
    kind: ResourceType,
    id: &'a LogicalId,
    patients: Vec<Uuid>,
    base: &'a BaseUrl,
}

/// One page of everything.
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
    app.gate.approach(&ask.caller, Act::Read, kind).map_err(forbidden)?;
    let query = Query::parse(query)?;
    let view = ask.view(app);
    let keys = app.keyring.tenant(view.tenant)?;
    let (record, permit) = current(app, ask, Act::Read, kind, id).await?;
    let centre = Centre { kind, id, patients: record.patients.clone(), base: &app.base };
    let path = format!("{}/{}/$everything", kind.name(), id.as_str());
    let question = query.asked.question(&path);
    let after = match &query.asked.cursor {
        None => None,
        Some(text) => Some(bookmark::read(&keys, &ask.caller, &question, text, view.now)?),
    };
    let mut as_of = None;
    if after.is_none() && query.asked.given.iter().any(|(name, _)| *name == "_since") {
        as_of = Some(app.ledger.settle(view.tenant, view.now).await?);
    }
    let mut page = Page { released: Vec::new(), found: Vec::new(), next: None };
    if kind == ResourceType::PATIENT || !centre.patients.is_empty() {
        page.gather(app, ask, &centre, &query, after).await?;
    } else if after.is_none() {
        // An encounter of nobody has nothing about it but itself.
        page.released.push(Released { permit, version: record.version() });
        page.found.push(record.opened.map_with(&kind, |plain, kind| (plain, *kind)));
    }
    let next = page.next.map(|place| bookmark::write(&keys, &ask.caller, &question, place, view.now));
    let links = Links::of(app, ask, &path, &query.asked, (next.transpose()?.as_deref(), as_of));
    let answer = Opened::gather(page.found).map_with(&links, render);
    // Who asks about her is in her log, also where there was nothing to show.
    let named = centre.patients.iter().filter(|_| kind == ResourceType::PATIENT && page.released.is_empty());
    ask.access.named.add(named.map(|key| (*key, id.as_str().to_owned()))).map_err(|_| too_costly())?;
    Ok(app.ledger.disclose(&ask.access, page.released, answer).await?)
}

/// What a page holds.
struct Page {
    released: Vec<Released>,
    found: Vec<Opened<(Plain, ResourceType)>>,
    next: Option<Moment>,
}

impl Page {
    async fn gather(
        &mut self,
        app: &App,
        ask: &Ask,
        centre: &Centre<'_>,
        query: &Query,
        mut position: Option<Moment>,
    ) -> Result<(), Failure> {
        let view = ask.view(app);
        let count = usize::try_from(query.asked.count).unwrap_or(usize::MAX);
        let limit = i64::from(query.asked.count).saturating_add(1).clamp(64, CHUNK_MAX);
        let may = |kind: &ResourceType| app.gate.approach(&ask.caller, Act::Search, *kind).is_ok();
        let kinds: Vec<_> = match &query.kinds {
            Some(kinds) => kinds.iter().copied().filter(may).collect(),
            None => ResourceType::all().filter(may).collect(),
        };
        let (mut opened, mut last) = (0_usize, None);
        loop {
            let span = (query.since, position);
            let rows = app.store.everything(&view, &centre.patients, &kinds, span, limit).await?;
            let ends = i64::try_from(rows.len()).unwrap_or(i64::MAX) < limit;
            for row in rows {
                opened += 1;
                if opened > OPENED_MAX {
                    return Err(too_costly());
                }
                let (kind, key) = (row.at.kind, row.at.key);
                let place = (row.at.updated, kind, key, row.at.version);
                position = Some(place);
                match open_permitted(app, &ask.caller, &view, Act::Search, row).await {
                    Ok((record, permit)) => {
                        if !record.opened.examine(&(centre, kind, key), belongs) {
                            continue;
                        }
                        if self.released.len() >= count {
                            self.next = last;
                            return Ok(());
                        }
                        self.released.push(Released { permit, version: record.version() });
                        self.found.push(record.opened.map_with(&kind, |plain, kind| (plain, *kind)));
                        last = Some(place);
                    }
                    Err(Failure::Refused(Refusal::NotFound(_), _)) => {}
                    Err(other) => return Err(other),
                }
            }
            if ends {
                return Ok(());
            }
        }
    }
}

/// Whether a record about the patients belongs to what is asked for.
fn belongs(plain: &Plain, (centre, kind, key): &(&Centre<'_>, ResourceType, Uuid)) -> bool {
    if centre.kind == ResourceType::PATIENT {
        return true;
    }
    if (*kind, plain.id.as_str()) == (centre.kind, centre.id.as_str())
        || (*kind == ResourceType::PATIENT && centre.patients.contains(key))
    {
        return true;
    }
    let Ok(resource) = serde_json::from_slice::<Value>(&plain.json) else { return false };
    let mut refers = false;
    walk(&resource, |_, text| {
        let local = Reference::parse(text, centre.base).and_then(Reference::local);
        refers |= local.is_some_and(|(kind, id)| kind == centre.kind && id == *centre.id);
    });
    refers
}

fn too_costly() -> Failure {
    let text = format!("It would take opening more than {OPENED_MAX} records. Narrow it by _type or _since.");
    Refusal::TooCostly(text).into()
}

impl Query {
    fn parse(query: &str) -> Result<Self, Failure> {
        let pairs = form::decode(query.as_bytes()).map_err(|problem| Refusal::Malformed(vec![problem]))?;
        let mut found = Self { asked: Asked::first(COUNT_DEFAULT), since: DateTime::UNIX_EPOCH, kinds: None };
        for (name, value) in &pairs {
            match name.as_str() {
                "_count" => found.asked.count(value, COUNT_MAX)?,
                "_cursor" => found.asked.cursor = Some(value.clone()),
                "_since" => {
                    let wrong = || malformed(IssueCode::Value, "_since: expected an instant.");
                    found.since = found.since.max(DateRange::parse(value).ok_or_else(wrong)?.from);
                    found.asked.given.push(("_since", value.clone()));
                }
                "_type" => {
                    let wrong = || malformed(IssueCode::Value, "_type: expected names of resource types.");
                    let kinds: Option<Vec<_>> = value.split(',').map(ResourceType::from_name).collect();
                    found.kinds.get_or_insert_default().extend(kinds.ok_or_else(wrong)?);
                    found.asked.given.push(("_type", value.clone()));
                }
                "_format" | "_pretty" | "_summary" | "_elements" => {}
                _ => {
                    let text = "$everything knows _count, _since, _type, _summary and _elements; other \
                                parameters are not supported.";
                    return Err(Refusal::NotSupported(text.to_owned()).into());
                }
            }
        }
        Ok(found)
    }
}

fn render(found: Vec<(Plain, ResourceType)>, links: &Links<'_>) -> Answer {
    let total = links.whole.then(|| u64::try_from(found.len()).unwrap_or(u64::MAX));
    let shown: Vec<(String, Vec<u8>)> = found
        .into_iter()
        .map(|(plain, kind)| {
            let url = format!("{}/{}/{}", links.base, kind.name(), plain.id);
            (url, links.subset.of(links.definitions, plain.json))
        })
        .collect();
    let entries =
        shown.iter().map(|(url, json)| Found { full_url: Some(url), resource: json, mode: Mode::Match });
    Answer::fhir(200, bundle::searchset(links.page(total), entries))
}
