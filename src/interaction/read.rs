//! read and vread (FHIR R4 http.html#read, #vread), conditional by If-None-Match and If-Modified-Since.

use super::{
    Ask, Conditions, Failure, Head, binary, forbidden,
    open::{Current, gone, open_version},
};
use crate::{
    answer::Answer,
    app::App,
    fhir::{
        bundle::NoneMatch,
        definitions::Definitions,
        kinds::{LogicalId, ResourceType},
        subset::Subset,
    },
    gate::Act,
    ledger::{Audited, Released},
    refusal::{Refusal, Why},
    seal::{Opened, Plain},
    store::Row,
};

/// The current version of a record.
///
/// # Errors
/// [`Failure`] as every interaction.
pub async fn run(
    app: &App,
    ask: &Ask,
    kind: ResourceType,
    id: &LogicalId,
) -> Result<Audited<Answer>, Failure> {
    let look = look(app, ask, kind, id, None).await?;
    Ok(app.ledger.disclose(&ask.access, vec![look.released], look.answer).await?)
}

/// One version of a record.
///
/// # Errors
/// [`Failure`] as every interaction.
pub async fn version(
    app: &App,
    ask: &Ask,
    kind: ResourceType,
    id: &LogicalId,
    version: u32,
) -> Result<Audited<Answer>, Failure> {
    let look = look(app, ask, kind, id, Some(version)).await?;
    Ok(app.ledger.disclose(&ask.access, vec![look.released], look.answer).await?)
}

/// A read that has not been disclosed yet.
pub(super) struct Look {
    pub(super) released: Released,
    pub(super) answer: Opened<Answer>,
}

/// Fetches, opens, permits and renders.
pub(super) async fn look(
    app: &App,
    ask: &Ask,
    kind: ResourceType,
    id: &LogicalId,
    version: Option<u32>,
) -> Result<Look, Failure> {
    app.gate.approach(&ask.caller, Act::Read, kind).map_err(forbidden)?;
    let view = ask.view(app);
    let row = fetch(app, ask, kind, id, version).await?.ok_or(Refusal::NotFound(Why::Absent))?;
    let current = match version {
        None => Current::Same,
        Some(_) => {
            Current::of(app, &view, row.at.version, fetch(app, ask, kind, id, None).await?.as_ref()).await?
        }
    };
    let (record, permit) = open_version(app, &ask.caller, &view, Act::Read, row, &current).await?;
    if record.at.deleted {
        return Err(gone(&record));
    }
    let head = Head { version: record.at.version, updated: record.at.updated, location: None };
    let unchanged = is_unchanged(&ask.conditions, &head);
    let released = Released { permit, version: record.version() };
    let answer = if unchanged {
        record.opened.map_with(&head, |_, head| {
            let mut answer = Answer::empty(304);
            head.put(&mut answer);
            answer
        })
    } else if ask.wants_content(kind) {
        record.opened.map_with(&head, |plain, head| binary::unwrap(&plain, head))
    } else {
        record.opened.map_with(&(head, &app.definitions, &ask.subset), render)
    };
    Ok(Look { released, answer })
}

async fn fetch(
    app: &App,
    ask: &Ask,
    kind: ResourceType,
    id: &LogicalId,
    version: Option<u32>,
) -> Result<Option<Row>, Failure> {
    let view = ask.view(app);
    let key = app.keyring.tenant(view.tenant)?.opaque(kind, id.as_str());
    let Some(version) = version else {
        return Ok(app.store.fetcher().record(view.tenant, kind, key, view.actor, view.now).await?);
    };
    let Ok(version) = i32::try_from(version) else { return Ok(None) };
    Ok(app.store.versions(&view, kind, key, version..=version, 1).await?.pop())
}

fn render(plain: Plain, (head, definitions, subset): &(Head, &Definitions, &Subset)) -> Answer {
    let mut answer = Answer::fhir(200, subset.of(definitions, plain.json));
    head.put(&mut answer);
    answer
}

/// Whether the caller holds this version already. If-None-Match decides alone when it is there (RFC 9110
/// §13.2.2); dates have no more than seconds.
fn is_unchanged(conditions: &Conditions, head: &Head) -> bool {
    match &conditions.if_none_match {
        Some(NoneMatch::Any) => true,
        Some(NoneMatch::Version(version)) => i32::try_from(*version) == Ok(head.version),
        None => {
            conditions.if_modified_since.is_some_and(|since| head.updated.timestamp() <= since.timestamp())
        }
    }
}
