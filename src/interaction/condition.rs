//! Conditional create, update, patch and delete (FHIR R4 http.html#ccreate, #cond-update, #cpatch, #3.1.0.7.1).
//!
//! A conditional request is a search and a write, and needs the permits of both. It matches what the caller may see
//! and nothing else: a match that is hidden from the caller is no match, the write goes ahead as if it were not there,
//! and the answer is the one that absence gives. So a condition tells no more than a search by the same caller would,
//! at the price that two callers who may not see each other's records can both create what either would have found.
//! Whatever a condition found is named in the entries of its request, also when the request is refused for it.
//!
//! That nothing came between the search and the commit is tested in the commit: each condition belongs to one of
//! 65,536 counters of its tenant, by an HMAC of type and criteria. The counter is read before the search, and locked,
//! compared and moved on by the transaction that writes (`store::criterion`, `ledger::stale`); if it has moved, the
//! whole request looks again. This holds between servers, and between conditional requests that ask the same; a plain
//! create or update that begins to match in between is not waited for.

use serde_json::Value;

use super::{
    Ask, Failure, Head, Return,
    attempts::Attempts,
    create, delete,
    desk::{Desk, Ready},
    open::Record,
    parse_body, patch, search, update, written,
};
use crate::{
    answer::Answer,
    app::App,
    fhir::{
        bundle::NoneMatch,
        kinds::{LogicalId, ResourceType},
        outcome::{IssueCode, Problem},
        patch::Patch,
        search::form,
    },
    gate::{Act, Permit},
    ledger::{Audited, Rejected, Released, Stale},
    refusal::{Refusal, Why},
    seal::{Opened, Plain},
    store::criterion::Criterion,
};

/// What a condition came to.
pub(super) struct Settled {
    /// The record it found.
    pub(super) found: Option<(Record, Permit)>,
    /// What the write that comes of it stands on.
    pub(super) criterion: Criterion,
}

/// Searches for what a condition asks. More than one match is refused.
pub(super) async fn settle(
    app: &App,
    ask: &Ask,
    kind: ResourceType,
    query: &str,
) -> Result<Settled, Failure> {
    let view = ask.view(app);
    let bucket = bucket(app, ask, kind, query)?;
    // The counter first: what is committed after this is either found by the search or moves the counter.
    let seen = app.store.criterion(view.tenant, bucket).await?;
    let mut found = search::matching(app, ask, kind, query, 2).await?;
    if found.len() > 1 {
        let text = "The condition matches more than one record. Make it narrower.";
        let problem = Problem::error(IssueCode::MultipleMatches, text).by("condition.multiple");
        return Err(Failure::Told(Refusal::Unmet(vec![problem]), found.into_iter().map(release).collect()));
    }
    Ok(Settled { found: found.pop(), criterion: Criterion { bucket, seen } })
}

/// Which counter a condition belongs to: the same for parameters in any order and spelling of their escapes.
fn bucket(app: &App, ask: &Ask, kind: ResourceType, query: &str) -> Result<u16, Failure> {
    let mut pairs = form::decode(query.as_bytes()).map_err(|problem| Refusal::Malformed(vec![problem]))?;
    pairs.sort_unstable();
    pairs.dedup();
    let code = kind.code().to_be_bytes();
    let mut parts: Vec<&[u8]> = vec![b"condition", &code];
    parts.extend(pairs.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]));
    let proof = app.keyring.tenant(ask.caller.tenant())?.proof_of(&parts);
    Ok(proof.first_chunk::<2>().map_or(0, |bytes| u16::from_be_bytes(*bytes)))
}

/// How the entry of a request names what its condition found.
pub(super) fn release((record, permit): (Record, Permit)) -> Released {
    Released { permit, version: record.version() }
}

/// The logical id of what was found.
pub(super) fn id_of(record: &Record) -> Result<LogicalId, Failure> {
    LogicalId::parse(record.opened.id()).ok_or_else(|| Refusal::Integrity.into())
}

/// The answer to a conditional create whose record is there already: 200, with its version (http.html#ccreate).
pub(super) async fn existing(
    app: &App,
    ask: &Ask,
    (record, permit): (Record, Permit),
) -> Result<Audited<Answer>, Failure> {
    let id = id_of(&record)?;
    let head = create::head(app, record.at.kind, &id, record.at.version, record.at.updated);
    let released = Released { permit, version: record.version() };
    let answer = record.opened.map_with(&(head, ask.returning), render);
    Ok(app.ledger.disclose(&ask.access, vec![released], answer).await?)
}

fn render(plain: Plain, (head, returning): &(Head, Return)) -> Answer {
    let mut answer = match returning {
        Return::Representation => Answer::fhir(200, plain.json),
        Return::Minimal | Return::OperationOutcome => Answer::empty(200),
    };
    head.put(&mut answer);
    answer
}

/// The same request for the version that was found, unless it names one itself.
pub(super) fn still(ask: &Ask, record: &Record) -> Ask {
    let mut ask = ask.clone();
    ask.conditions.if_match = ask.conditions.if_match.or(u32::try_from(record.at.version).ok());
    ask
}

/// Whether a refusal says only that another write came between the search and the look at what it found.
pub(super) fn has_moved(ask: &Ask, failure: &Failure) -> bool {
    ask.conditions.if_match.is_none()
        && ask.conditions.if_none_match.is_none()
        && matches!(failure, Failure::Refused(Refusal::PreconditionFailed, _))
}

/// `PUT [base]/Type?query`: updates the one match, or creates if there is none.
///
/// # Errors
/// [`Failure`] as every interaction.
pub async fn update(
    app: &App,
    ask: &Ask,
    kind: ResourceType,
    query: &str,
    body: &[u8],
) -> Result<Audited<Answer>, Failure> {
    search::approach(app, ask, &[Act::Update], (kind, Some(query)))?;
    store(app, ask, kind, query, parse_body(body)?).await
}

/// Conditional update with a resource that has been parsed.
pub(super) async fn store(
    app: &App,
    ask: &Ask,
    kind: ResourceType,
    query: &str,
    resource: Value,
) -> Result<Audited<Answer>, Failure> {
    create::check(app, kind, &resource).await?;
    let given = resource.get("id").and_then(Value::as_str).and_then(LogicalId::parse);
    let own = Own { drawn: LogicalId::of_uuid(app.clock.random_id()), given };
    let mut attempts = Attempts::default();
    loop {
        let Settled { found, criterion } = settle(app, ask, kind, query).await?;
        let mut desk = Desk::open(app, &ask.caller, &mut attempts)?;
        let mut next = resource.clone();
        let tried = match found {
            Some(found) => over(app, ask, &mut desk, &own, found, &mut next).await?,
            None => Some(fresh(app, ask, &mut desk, &own, kind, &mut next).await?),
        };
        let Some(Tried { id, mut ready, status, released }) = tried else {
            attempts.again(app, ask.caller.tenant(), Stale::Changed).await?;
            continue;
        };
        ready.written.change.criteria.push(criterion);
        let head = create::head(app, kind, &id, ready.version, ready.updated);
        let answer = written(status, ask.returning, &head, ready.json, ready.warnings);
        match app.ledger.commit(&ask.access, vec![ready.written], released, answer).await {
            Err(Rejected::Stale(why)) => attempts.again(app, ask.caller.tenant(), why).await?,
            other => return Ok(other?),
        }
    }
}

/// Ids a conditional update may create under.
struct Own {
    /// The body's.
    given: Option<LogicalId>,
    /// Ours, if the body has none.
    drawn: LogicalId,
}

/// A conditional update that is ready to be committed.
struct Tried {
    id: LogicalId,
    ready: Ready,
    status: u16,
    released: Vec<Released>,
}

/// Updates what was found; `None` when it has changed since.
async fn over(
    app: &App,
    ask: &Ask,
    desk: &mut Desk<'_>,
    own: &Own,
    (record, permit): (Record, Permit),
    resource: &mut Value,
) -> Result<Option<Tried>, Failure> {
    let id = id_of(&record)?;
    let kind = record.at.kind;
    let still = still(ask, &record);
    let found = release((record, permit));
    if own.given.as_ref().is_some_and(|given| *given != id) {
        return Err(Failure::Told(mismatch(), vec![found]));
    }
    match update::prepare(app, &still, desk, kind, &id, resource).await {
        Ok((ready, status)) => Ok(Some(Tried { id, ready, status, released: vec![found] })),
        Err(failure) if has_moved(ask, &failure) => Ok(None),
        Err(failure) => Err(failure.about(&found.version)),
    }
}

/// Creates, as nothing was found: under the body's id if it has one that is free (http.html#cond-update).
async fn fresh(
    app: &App,
    ask: &Ask,
    desk: &mut Desk<'_>,
    own: &Own,
    kind: ResourceType,
    resource: &mut Value,
) -> Result<Tried, Failure> {
    let Own { given, drawn } = own;
    let id = given.clone().unwrap_or_else(|| drawn.clone());
    let (ready, status) = create_absent(app, ask, desk, kind, &id, resource).await?;
    Ok(Tried { id, ready, status, released: Vec::new() })
}

/// Creates under an id that must not be there: a condition that found nothing updates nothing.
pub(super) async fn create_absent(
    app: &App,
    ask: &Ask,
    desk: &mut Desk<'_>,
    kind: ResourceType,
    id: &LogicalId,
    resource: &mut Value,
) -> Result<(Ready, u16), Failure> {
    if ask.conditions.if_match.is_some() {
        return Err(Refusal::PreconditionFailed.into());
    }
    let mut ask = ask.clone();
    ask.conditions.if_none_match = Some(NoneMatch::Any);
    update::prepare(app, &ask, desk, kind, id, resource).await.map_err(|failure| match failure {
        Failure::Refused(Refusal::PreconditionFailed, grounds) => {
            let text = "A record of the resource's id is there, and it does not match the condition.";
            Failure::Refused(Refusal::Conflict(text), grounds)
        }
        other => other,
    })
}

pub(super) fn mismatch() -> Refusal {
    Refusal::malformed(
        IssueCode::Invalid,
        "The resource's id is another than that of the record that matches.",
    )
}

/// `PATCH [base]/Type?query`: patches the one match.
///
/// # Errors
/// [`Failure`] as every interaction; 404 when there is no match.
pub async fn patch(
    app: &App,
    ask: &Ask,
    kind: ResourceType,
    query: &str,
    form: patch::Form,
    body: &[u8],
) -> Result<Audited<Answer>, Failure> {
    patch::approach(app, ask, kind, Some(query))?;
    let patch = patch::parse(app, form, &parse_body(body)?)?;
    apply(app, ask, kind, query, &patch).await
}

/// Conditional patch with a patch that has been parsed.
pub(super) async fn apply(
    app: &App,
    ask: &Ask,
    kind: ResourceType,
    query: &str,
    patch: &Patch,
) -> Result<Audited<Answer>, Failure> {
    let mut attempts = Attempts::default();
    loop {
        let Settled { found, criterion } = settle(app, ask, kind, query).await?;
        let (record, _) = found.ok_or(Refusal::NotFound(Why::Absent))?;
        let id = id_of(&record)?;
        let mut desk = Desk::open(app, &ask.caller, &mut attempts)?;
        let prepared = patch::prepare(app, &still(ask, &record), &mut desk, kind, &id, patch).await;
        let (mut ready, released) = match prepared {
            Ok(prepared) => prepared,
            Err(failure) if has_moved(ask, &failure) => {
                attempts.again(app, ask.caller.tenant(), Stale::Changed).await?;
                continue;
            }
            Err(failure) => return Err(failure.about(&record.version())),
        };
        ready.written.change.criteria.push(criterion);
        let head = create::head(app, kind, &id, ready.version, ready.updated);
        let answer = written(200, ask.returning, &head, ready.json, ready.warnings);
        match app.ledger.commit(&ask.access, vec![ready.written], vec![released], answer).await {
            Err(Rejected::Stale(why)) => attempts.again(app, ask.caller.tenant(), why).await?,
            other => return Ok(other?),
        }
    }
}

/// `DELETE [base]/Type?query`: deletes the one match; that there is none is no error.
///
/// # Errors
/// [`Failure`] as every interaction.
pub async fn delete(
    app: &App,
    ask: &Ask,
    kind: ResourceType,
    query: &str,
) -> Result<Audited<Answer>, Failure> {
    search::approach(app, ask, &[Act::Delete], (kind, Some(query)))?;
    let mut attempts = Attempts::default();
    loop {
        let Settled { found, criterion } = settle(app, ask, kind, query).await?;
        let Some((record, permit)) = found else { return nothing(app, ask).await };
        let id = id_of(&record)?;
        let still = still(ask, &record);
        let found = release((record, permit));
        let mut desk = Desk::open(app, &ask.caller, &mut attempts)?;
        let mut tombstone = match delete::prepare(app, &still, &mut desk, kind, &id).await {
            Ok(Some(tombstone)) => tombstone,
            Err(failure) if !has_moved(ask, &failure) => return Err(failure.about(&found.version)),
            Ok(None) | Err(_) => {
                attempts.again(app, ask.caller.tenant(), Stale::Changed).await?;
                continue;
            }
        };
        tombstone.change.criteria.push(criterion);
        let mut answer = Answer::empty(204);
        answer.version = Some(tombstone.version.number);
        match app.ledger.commit(&ask.access, vec![tombstone], vec![found], Opened::from_caller(answer)).await
        {
            Err(Rejected::Stale(why)) => attempts.again(app, ask.caller.tenant(), why).await?,
            other => return Ok(other?),
        }
    }
}

async fn nothing(app: &App, ask: &Ask) -> Result<Audited<Answer>, Failure> {
    Ok(app.ledger.state(&ask.access, custodia_audit::Kind::Write, Answer::empty(204)).await?)
}
