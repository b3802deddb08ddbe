//! transaction: every entry prepared, one submission, one commit.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::super::{
    Ask, Failure,
    attempts::Attempts,
    condition, create, delete,
    desk::{Desk, Draft, Ready},
    forbidden,
    integrity::Plans,
    malformed, patch, read, search, subset, update,
};
use super::{
    addressed, conditions, describe, not_supported,
    reply::{Reply, status_line},
    too_long,
};
use crate::{
    answer::Answer,
    app::App,
    fhir::{
        bundle::{self, Condition, Entry, Method, Settled, Step, Target},
        kinds::{LogicalId, ResourceType},
        outcome::{IssueCode, OperationOutcome, Problem},
        subset::Subset,
    },
    gate::Act,
    ledger::{Access, Audited, Rejected, Released, Stale, Written},
    refusal::{Refusal, Why},
    seal::Opened,
    store::{criterion::Criterion, write::Base},
};

/// After so many entries other requests get their turn.
const YIELD_EVERY: usize = 16;

/// How often a transaction looks again when what a condition found has changed under it.
const MOVED_MAX: usize = 3;

/// All of it, or nothing.
pub(super) async fn run(app: &App, ask: &Ask, mut entries: Vec<Entry>) -> Result<Audited<Answer>, Failure> {
    let ask = &asking(ask, &entries)?;
    search::note_all(app, ask, questions(&entries))?;
    let count = entries.len();
    for entry in &entries {
        let approached = approach(app, ask, entry);
        approached.map_err(|failure| failure.addressed(app, &ask.access, addressed(entry)))?;
    }
    let conditions = bundle::conditions(&entries, &app.base).map_err(Refusal::Malformed)?;
    let mut planned = None;
    let mut attempts = Attempts::default();
    loop {
        let (mut steps, mut grounds) = match planned.take() {
            Some(planned) => planned,
            None => {
                let grounds = Grounds::settle(app, ask, &conditions).await?;
                // What a condition finds decides what is planned, so the entries are kept for another look.
                let source =
                    if conditions.is_empty() { std::mem::take(&mut entries) } else { entries.clone() };
                let new_id = || LogicalId::of_uuid(app.clock.random_id());
                let steps = bundle::plan(source, &grounds.settled, &app.base, new_id);
                (steps.map_err(Refusal::Malformed)?, grounds)
            }
        };
        let mut desk = Desk::open(app, &ask.caller, &mut attempts)?;
        let work = match prepare(app, ask, &mut desk, (&mut steps, &mut grounds), count).await {
            Ok(work) => work,
            Err(Failure::Refused(Refusal::PreconditionFailed, _))
                if !conditions.is_empty() && attempts.failed() < MOVED_MAX =>
            {
                attempts.again(app, ask.caller.tenant(), Stale::Changed).await?;
                continue;
            }
            Err(failure) => return Err(failure),
        };
        let Work { written, released, replies, opened } = work;
        let answer = Opened::gather(opened).map_with(&replies, respond);
        match app.ledger.commit(&ask.access, written, released, answer).await {
            // Something a step stands on has changed: the whole transaction looks again.
            Err(Rejected::Stale(why)) => {
                attempts.again(app, ask.caller.tenant(), why).await?;
                planned = conditions.is_empty().then_some((steps, grounds));
            }
            other => return Ok(other?),
        }
    }
}

/// The same request with its searches in the words of the log. What its conditions match stands in its entries.
fn asking(ask: &Ask, entries: &[Entry]) -> Result<Ask, Failure> {
    let mut ask = ask.clone();
    let mut asked = ask.access.query.take().unwrap_or_default();
    for entry in entries.iter().filter(|entry| matches!(entry.target, Target::Search(..))) {
        asked.push_str("; ");
        asked.push_str(&describe(entry));
    }
    if !Access::keeps(&asked) {
        return Err(too_long());
    }
    ask.access.query = Some(asked);
    Ok(ask)
}

/// What its searches and the conditions of its entries ask.
fn questions(entries: &[Entry]) -> impl Iterator<Item = (ResourceType, &str)> {
    entries.iter().flat_map(|entry| {
        let (kind, asked) = match &entry.target {
            Target::Search(kind, query) => (Some(*kind), Some(query.as_str())),
            Target::Type(kind) => (Some(*kind), entry.if_none_exist.as_deref()),
            _ => (None, None),
        };
        kind.zip(asked)
    })
}

/// What the conditions of a transaction found.
#[derive(Default)]
struct Grounds {
    settled: Settled,
    /// What each conditional write stands on, by the place of its entry.
    criteria: HashMap<usize, Criterion>,
    /// The version that matched, by the place of the entry.
    versions: HashMap<usize, (i32, DateTime<Utc>)>,
    /// Every record that matched.
    released: Vec<Released>,
}

impl Grounds {
    async fn settle(app: &App, ask: &Ask, conditions: &[Condition]) -> Result<Self, Failure> {
        let mut grounds = Self::default();
        for condition in conditions {
            let Condition { index, kind, query, of_entry } = condition;
            let place = format!("Bundle.entry[{index}]");
            let settled = condition::settle(app, ask, *kind, query).await;
            let condition::Settled { found, criterion } =
                settled.map_err(|failure| at_entry(failure, &place))?;
            let target = match &found {
                Some((record, _)) => Some((*kind, condition::id_of(record)?)),
                None => None,
            };
            if *of_entry {
                grounds.criteria.insert(*index, criterion);
                grounds.settled.entries.insert(*index, target);
                grounds.versions.extend(found.iter().map(|(r, _)| (*index, (r.at.version, r.at.updated))));
            } else if let Some((_, id)) = target {
                grounds.settled.references.insert((*kind, query.clone()), id);
            }
            grounds.released.extend(found.map(condition::release));
        }
        Ok(grounds)
    }
}

/// Refuses what the caller could never do, before anything is looked at.
fn approach(app: &App, ask: &Ask, entry: &Entry) -> Result<(), Failure> {
    let (act, kind) = match (entry.method, &entry.target) {
        (Method::Get | Method::Head, Target::Instance(kind, _) | Target::Version(kind, _, _)) => {
            (Act::Read, kind)
        }
        (Method::Get | Method::Head, Target::Type(kind) | Target::Search(kind, _)) => (Act::Search, kind),
        (Method::Post, Target::Type(kind)) => (Act::Create, kind),
        (Method::Put, Target::Instance(kind, _) | Target::Search(kind, _)) => (Act::Update, kind),
        (Method::Delete, Target::Instance(kind, _) | Target::Search(kind, _)) => (Act::Delete, kind),
        (Method::Patch, Target::Instance(kind, _) | Target::Search(kind, _)) => {
            return patch::approach(app, ask, *kind, None);
        }
        _ => return Err(not_supported()),
    };
    app.gate.approach(&ask.caller, act, *kind).map_err(forbidden)
}

/// What the transaction has written so far, for its own reads: JSON, versionId, lastUpdated.
type Fresh = HashMap<(ResourceType, String), (Vec<u8>, i32, DateTime<Utc>)>;

#[derive(Default)]
struct Work {
    written: Vec<Written>,
    released: Vec<Released>,
    /// In the order of the Bundle; those of reads wait for what is in `opened`.
    replies: Vec<Reply>,
    /// Answers of reads with their place in the Bundle.
    opened: Vec<Opened<(usize, Answer)>>,
}

async fn prepare(
    app: &App,
    ask: &Ask,
    desk: &mut Desk<'_>,
    (steps, grounds): (&mut [Step], &mut Grounds),
    count: usize,
) -> Result<Work, Failure> {
    for step in &*steps {
        if let Some((ResourceType::PATIENT, id)) = &step.written
            && matches!(step.entry.method, Method::Post | Method::Put)
        {
            desk.registers(id);
        }
    }
    let targets = steps
        .iter()
        .filter(|step| matches!(step.entry.method, Method::Put | Method::Patch | Method::Delete))
        .filter_map(|step| step.written.clone())
        .collect();
    desk.foresee(targets).await?;
    let mut plans = Plans::default();
    for step in &*steps {
        let Some((kind, id)) = &step.written else { continue };
        let key = (*kind, desk.key(*kind, id));
        if step.entry.method == Method::Delete {
            plans.buries.insert(key);
        } else {
            plans.writes.insert(key);
        }
    }
    desk.plans(plans);
    let mut work = Work { replies: (0..count).map(|_| Reply::default()).collect(), ..Work::default() };
    work.released = std::mem::take(&mut grounds.released);
    let mut fresh = Fresh::new();
    for (number, step) in steps.iter_mut().enumerate() {
        if number % YIELD_EVERY == 0 {
            tokio::task::yield_now().await;
        }
        let index = step.entry.index;
        let place = step.entry.place();
        let reply = run_step(app, ask, desk, step, grounds, &mut work, &mut fresh).await;
        let reply = reply.map_err(|failure| failure.addressed(app, &ask.access, addressed(&step.entry)));
        let reply = reply.map_err(|failure| at_entry(failure, &place))?;
        if let Some(slot) = work.replies.get_mut(index) {
            *slot = reply;
        }
    }
    Ok(work)
}

/// Says in which entry a refusal arose.
fn at_entry(failure: Failure, place: &str) -> Failure {
    let at = |problems: Vec<Problem>| {
        let placed = problems.into_iter().map(|problem| match problem.expression.is_none() {
            true => problem.at(place),
            false => problem,
        });
        placed.collect()
    };
    match failure {
        Failure::Refused(Refusal::Malformed(problems), denied) => {
            Failure::Refused(Refusal::Malformed(at(problems)), denied)
        }
        Failure::Refused(Refusal::Invalid(problems), denied) => {
            Failure::Refused(Refusal::Invalid(inside(problems, place)), denied)
        }
        Failure::Told(Refusal::Invalid(problems), released) => {
            Failure::Told(Refusal::Invalid(inside(problems, place)), released)
        }
        Failure::Told(Refusal::Unmet(problems), released) => {
            Failure::Told(Refusal::Unmet(at(problems)), released)
        }
        other => other,
    }
}

/// The same problems of a resource, as places in the Bundle.
fn inside(problems: Vec<Problem>, place: &str) -> Vec<Problem> {
    let placed = problems.into_iter().map(|problem| match problem.expression.as_deref() {
        Some(inner) if inner.starts_with("Bundle.") => problem,
        Some(inner) => {
            let inner = inner.split_once('.').map_or(String::new(), |(_, rest)| format!(".{rest}"));
            problem.at(format!("{place}.resource{inner}"))
        }
        None => problem.at(place),
    });
    placed.collect()
}

async fn run_step(
    app: &App,
    ask: &Ask,
    desk: &mut Desk<'_>,
    step: &mut Step,
    grounds: &Grounds,
    work: &mut Work,
    fresh: &mut Fresh,
) -> Result<Reply, Failure> {
    let mut ask = ask.clone();
    ask.conditions = conditions(&step.entry);
    ask.subset = Subset::Whole;
    ask.raw = false;
    let criterion = grounds.criteria.get(&step.entry.index).copied();
    let matched = grounds.versions.get(&step.entry.index).copied();
    if let Some((version, _)) = matched {
        ask.conditions.if_match = ask.conditions.if_match.or(u32::try_from(version).ok());
    }
    if let (Some((kind, id)), Some((version, updated))) = (&step.existing, matched) {
        return Ok(reply(app, *kind, id, 200, version, updated));
    }
    match (step.entry.method, step.written.clone()) {
        (Method::Delete, target) => {
            if let Some((kind, id)) = target
                && let Some(mut tombstone) = delete::prepare(app, &ask, desk, kind, &id).await?
            {
                tombstone.change.criteria.extend(criterion);
                work.written.push(tombstone);
            }
            Ok(Reply { status: "204 No Content", ..Reply::default() })
        }
        (Method::Patch, None) => Err(Refusal::NotFound(Why::Absent).into()),
        (Method::Post | Method::Put | Method::Patch, Some((kind, id))) => {
            let (mut ready, status) = write(app, &ask, desk, step, &id, work).await?;
            ready.written.change.criteria.extend(criterion);
            work.written.push(ready.written);
            fresh.insert((kind, id.as_str().to_owned()), (ready.json, ready.version, ready.updated));
            let said = OperationOutcome(ready.warnings);
            let outcome = (!said.0.is_empty()).then(|| said.to_bytes());
            Ok(Reply { outcome, ..reply(app, kind, &id, status, ready.version, ready.updated) })
        }
        _ => look(app, &ask, &step.entry, work, fresh).await,
    }
}

/// Prepares the version that a POST, PUT or PATCH writes, with the status of success.
async fn write(
    app: &App,
    ask: &Ask,
    desk: &mut Desk<'_>,
    step: &mut Step,
    id: &LogicalId,
    work: &mut Work,
) -> Result<(Ready, u16), Failure> {
    let Some((kind, _)) = step.written else { return Err(not_supported()) };
    let resource = step
        .entry
        .resource
        .as_mut()
        .ok_or_else(|| malformed(IssueCode::Required, "This entry needs a resource."))?;
    match step.entry.method {
        Method::Post => {
            let draft = Draft { kind, id, resource, act: Act::Create, base: Base::Fresh };
            Ok((desk.prepare(draft).await?, 201))
        }
        Method::Patch => {
            let patch = patch::of_entry(app, resource)?;
            let (ready, released) = patch::prepare(app, ask, desk, kind, id, &patch).await?;
            work.released.push(released);
            Ok((ready, 200))
        }
        // A conditional update that found something names its version.
        _ if matches!(step.entry.target, Target::Search(..)) && ask.conditions.if_match.is_none() => {
            condition::create_absent(app, ask, desk, kind, id, resource).await
        }
        _ => {
            update::check_id(resource, id)?;
            update::prepare(app, ask, desk, kind, id, resource).await
        }
    }
}

fn reply(
    app: &App,
    kind: ResourceType,
    id: &LogicalId,
    status: u16,
    version: i32,
    updated: DateTime<Utc>,
) -> Reply {
    Reply {
        full_url: Some(format!("{}/{}/{}", app.base.as_str(), kind.name(), id.as_str())),
        status: status_line(status),
        location: create::head(app, kind, id, version, updated).location,
        version: u32::try_from(version).ok(),
        last_modified: Some(updated),
        ..Reply::default()
    }
}

/// A read inside a transaction: it sees what the transaction writes, else what is stored.
async fn look(app: &App, ask: &Ask, entry: &Entry, work: &mut Work, fresh: &Fresh) -> Result<Reply, Failure> {
    let (released, answer) = match &entry.target {
        Target::Instance(kind, id) => {
            if let Some((json, version, updated)) = fresh.get(&(*kind, id.as_str().to_owned())) {
                return Ok(Reply {
                    full_url: Some(format!("{}/{}/{}", app.base.as_str(), kind.name(), id.as_str())),
                    resource: Some(json.clone()),
                    status: "200 OK",
                    version: u32::try_from(*version).ok(),
                    last_modified: Some(*updated),
                    ..Reply::default()
                });
            }
            let look = read::look(app, ask, *kind, id, None).await?;
            (vec![look.released], look.answer)
        }
        Target::Version(kind, id, version) => {
            let look = read::look(app, ask, *kind, id, Some(*version)).await?;
            (vec![look.released], look.answer)
        }
        Target::Type(kind) => found(search::look(app, ask, *kind, None, None).await?),
        Target::Search(kind, query) => {
            let ask = Ask { subset: subset(Some(query), None)?, ..ask.clone() };
            found(search::look(app, &ask, *kind, Some(query), None).await?)
        }
        _ => return Err(not_supported()),
    };
    work.released.extend(released);
    work.opened.push(answer.map_with(&entry.index, |answer, index| (*index, answer)));
    Ok(Reply { status: "200 OK", ..Reply::default() })
}

fn found(looked: search::Looked) -> (Vec<Released>, Opened<Answer>) {
    (looked.released, looked.answer)
}

#[expect(clippy::ptr_arg, reason = "the signature is that of Opened::map_with")]
fn respond(read: Vec<(usize, Answer)>, replies: &Vec<Reply>) -> Answer {
    let read: HashMap<usize, Reply> =
        read.into_iter().map(|(index, answer)| (index, Reply::of_answer(answer))).collect();
    let outgoing = replies
        .iter()
        .enumerate()
        .map(|(index, reply)| read.get(&index).map_or_else(|| reply.outgoing(), Reply::outgoing));
    Answer::fhir(200, bundle::transaction_response(outgoing))
}
