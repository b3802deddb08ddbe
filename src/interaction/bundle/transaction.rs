//! transaction: every entry prepared, one submission, one commit.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::super::{
    ATTEMPTS_MAX, Ask, Failure, create, delete,
    desk::{Desk, Draft},
    forbidden, malformed, patch, read, search, update,
};
use super::{
    conditions, not_supported,
    reply::{Reply, status_line},
};
use crate::{
    answer::Answer,
    app::App,
    fhir::{
        bundle::{self, Entry, Method, Step, Target},
        kinds::{LogicalId, ResourceType},
        outcome::IssueCode,
    },
    gate::Act,
    ledger::{Audited, Rejected, Released, Written},
    refusal::Refusal,
    seal::Opened,
    store::write::Base,
};

/// After so many entries other requests get their turn.
const YIELD_EVERY: usize = 16;

/// All of it, or nothing.
pub(super) async fn run(app: &App, ask: &Ask, entries: Vec<Entry>) -> Result<Audited<Answer>, Failure> {
    let count = entries.len();
    for entry in &entries {
        approach(app, ask, entry)?;
    }
    let mut steps = bundle::plan(entries, &app.base, || LogicalId::of_uuid(app.clock.random_id()))
        .map_err(Refusal::Malformed)?;
    for _ in 0..ATTEMPTS_MAX {
        let work = prepare(app, ask, &mut steps, count).await?;
        let Work { written, released, replies, opened } = work;
        let answer = Opened::gather(opened).map_with(&replies, respond);
        match app.ledger.commit(&ask.access, written, released, answer).await {
            // Something a step stands on has changed: the whole transaction looks again.
            Err(Rejected::Stale) => {}
            other => return Ok(other?),
        }
    }
    Err(Rejected::Stale.into())
}

/// Refuses what the caller could never do, before anything is looked at.
fn approach(app: &App, ask: &Ask, entry: &Entry) -> Result<(), Failure> {
    let (act, kind) = match (entry.method, &entry.target) {
        (Method::Get | Method::Head, Target::Instance(kind, _) | Target::Version(kind, _, _)) => {
            (Act::Read, kind)
        }
        (Method::Get | Method::Head, Target::Type(kind) | Target::Search(kind, _)) => (Act::Search, kind),
        (Method::Post, Target::Type(kind)) => (Act::Create, kind),
        (Method::Put, Target::Instance(kind, _)) => (Act::Update, kind),
        (Method::Delete, Target::Instance(kind, _)) => (Act::Delete, kind),
        (Method::Patch, Target::Instance(kind, _)) => return patch::approach(app, ask, *kind),
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

async fn prepare(app: &App, ask: &Ask, steps: &mut [Step], count: usize) -> Result<Work, Failure> {
    let mut desk = Desk::open(app, &ask.caller)?;
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
    let mut work = Work { replies: (0..count).map(|_| Reply::default()).collect(), ..Work::default() };
    let mut fresh = Fresh::new();
    for (number, step) in steps.iter_mut().enumerate() {
        if number % YIELD_EVERY == 0 {
            tokio::task::yield_now().await;
        }
        let index = step.entry.index;
        let place = step.entry.place();
        let reply = run_step(app, ask, &mut desk, step, &mut work, &mut fresh).await;
        let reply = reply.map_err(|failure| at_entry(failure, &place))?;
        if let Some(slot) = work.replies.get_mut(index) {
            *slot = reply;
        }
    }
    Ok(work)
}

/// Says in which entry a refusal arose.
fn at_entry(failure: Failure, place: &str) -> Failure {
    match failure {
        Failure::Refused(Refusal::Malformed(problems), denied) => {
            let problems = problems
                .into_iter()
                .map(|problem| match problem.expression.is_none() {
                    true => problem.at(place),
                    false => problem,
                })
                .collect();
            Failure::Refused(Refusal::Malformed(problems), denied)
        }
        other => other,
    }
}

async fn run_step(
    app: &App,
    ask: &Ask,
    desk: &mut Desk<'_>,
    step: &mut Step,
    work: &mut Work,
    fresh: &mut Fresh,
) -> Result<Reply, Failure> {
    let mut ask = ask.clone();
    ask.conditions = conditions(&step.entry);
    let written = step.written.clone();
    match (step.entry.method, written) {
        (Method::Delete, Some((kind, id))) => {
            if let Some(tombstone) = delete::prepare(app, &ask, desk, kind, &id).await? {
                work.written.push(tombstone);
            }
            Ok(Reply { status: "204 No Content", ..Reply::default() })
        }
        (Method::Post | Method::Put | Method::Patch, Some((kind, id))) => {
            let resource = step
                .entry
                .resource
                .as_mut()
                .ok_or_else(|| malformed(IssueCode::Required, "This entry needs a resource."))?;
            let (ready, status) = match step.entry.method {
                Method::Post => {
                    let draft = Draft { kind, id: &id, resource, act: Act::Create, base: Base::Fresh };
                    (desk.prepare(draft).await?, 201)
                }
                Method::Patch => {
                    let patch = patch::of_entry(app, resource)?;
                    let (ready, released) = patch::prepare(app, &ask, desk, kind, &id, &patch).await?;
                    work.released.push(released);
                    (ready, 200)
                }
                _ => {
                    update::check_id(resource, &id)?;
                    update::prepare(app, &ask, desk, kind, &id, resource).await?
                }
            };
            let head = create::head(app, kind, &id, ready.version, ready.updated);
            work.written.push(ready.written);
            let reply = Reply {
                full_url: Some(format!("{}/{}/{}", app.base.as_str(), kind.name(), id.as_str())),
                resource: None,
                status: status_line(status),
                location: head.location,
                version: u32::try_from(ready.version).ok(),
                last_modified: Some(ready.updated),
                outcome: None,
            };
            fresh.insert((kind, id.as_str().to_owned()), (ready.json, ready.version, ready.updated));
            Ok(reply)
        }
        _ => look(app, &ask, &step.entry, work, fresh).await,
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
        Target::Type(kind) => search::look(app, ask, *kind, None, None).await?,
        Target::Search(kind, query) => search::look(app, ask, *kind, Some(query), None).await?,
        _ => return Err(not_supported()),
    };
    work.released.extend(released);
    work.opened.push(answer.map_with(&entry.index, |answer, index| (*index, answer)));
    Ok(Reply { status: "200 OK", ..Reply::default() })
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
