//! batch and transaction (FHIR R4 http.html#transaction).
//!
//! A transaction is one submission to the ledger: every write and every entry in one commit, or none. A batch is
//! its requests one by one, each with entries of its own.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use custodia_audit::Kind;
use futures_util::{StreamExt as _, stream};
use serde_json::Value;

use super::{
    ATTEMPTS_MAX, Ask, Conditions, Failure, create, delete,
    desk::{Desk, Draft},
    finish, forbidden, history, malformed, parse_body, read, search, update,
};
use crate::{
    answer::Answer,
    app::App,
    fhir::{
        bundle::{self, Bundle, Entry, Method, Outgoing, Step, Target},
        kinds::{LogicalId, ResourceType},
        outcome::{IssueCode, Problem},
        validate::validate,
    },
    gate::Act,
    ledger::{Audited, Rejected, Released, Written},
    refusal::Refusal,
    seal::Opened,
    store::write::Base,
};

/// Requests of one batch that run at the same time.
const BATCH_WIDTH: usize = 8;
/// After so many entries other requests get their turn.
const YIELD_EVERY: usize = 16;

/// `POST [base]` with a batch or transaction.
///
/// # Errors
/// [`Failure`] as every interaction.
pub async fn run(app: &App, ask: &Ask, body: &[u8]) -> Result<Audited<Answer>, Failure> {
    let value = parse_body(body)?;
    let is_transaction = value.get("type").and_then(Value::as_str) == Some("transaction");
    if is_transaction {
        let problems = validate(&app.definitions, &value, Some(ResourceType::BUNDLE));
        if problems.iter().any(Problem::refuses) {
            return Err(Refusal::Invalid(problems).into());
        }
    }
    match Bundle::parse(value, &app.base).map_err(Refusal::Malformed)? {
        Bundle::Batch(entries) => batch(app, ask, entries).await,
        Bundle::Transaction(entries) => transaction(app, ask, entries).await,
    }
}

/// The answer to one entry, before it is written into the response.
#[derive(Default)]
struct Reply {
    full_url: Option<String>,
    resource: Option<Vec<u8>>,
    status: &'static str,
    location: Option<String>,
    version: Option<u32>,
    last_modified: Option<DateTime<Utc>>,
    outcome: Option<Vec<u8>>,
}

impl Reply {
    fn outgoing(&self) -> Outgoing<'_> {
        Outgoing {
            full_url: self.full_url.as_deref(),
            resource: self.resource.as_deref(),
            status: self.status,
            location: self.location.as_deref(),
            version: self.version,
            last_modified: self.last_modified,
            outcome: self.outcome.as_deref(),
        }
    }

    /// From an answer that was made for a request of its own.
    fn of_answer(answer: Answer) -> Self {
        let is_error = answer.status >= 400;
        let body = (!answer.body.is_empty()).then_some(answer.body);
        let (resource, outcome) = if is_error { (None, body) } else { (body, None) };
        Self {
            full_url: None,
            resource,
            status: status_line(answer.status),
            location: answer.location,
            version: answer.version.and_then(|version| u32::try_from(version).ok()),
            last_modified: answer.last_modified,
            outcome,
        }
    }
}

const fn status_line(status: u16) -> &'static str {
    match status {
        200 => "200 OK",
        201 => "201 Created",
        204 => "204 No Content",
        304 => "304 Not Modified",
        400 => "400 Bad Request",
        401 => "401 Unauthorized",
        403 => "403 Forbidden",
        404 => "404 Not Found",
        405 => "405 Method Not Allowed",
        409 => "409 Conflict",
        410 => "410 Gone",
        412 => "412 Precondition Failed",
        422 => "422 Unprocessable Entity",
        503 => "503 Service Unavailable",
        _ => "500 Internal Server Error",
    }
}

async fn batch(
    app: &App,
    ask: &Ask,
    entries: Vec<Result<Entry, Vec<Problem>>>,
) -> Result<Audited<Answer>, Failure> {
    let answers: Vec<_> = stream::iter(entries)
        .map(|entry| async move {
            let done = match entry {
                Err(problems) => Err(Refusal::Malformed(problems).into()),
                Ok(entry) => single(app, ask, entry).await,
            };
            finish(app, &ask.access, done).await
        })
        .buffered(BATCH_WIDTH)
        .collect()
        .await;
    let answers: Vec<Audited<Answer>> = answers.into_iter().collect::<Result<_, _>>()?;
    if answers.is_empty() {
        let empty = Answer::fhir(200, bundle::batch_response([]));
        return Ok(app.ledger.state(&ask.access, Kind::Access, empty).await?);
    }
    Audited::gather(answers, |answers| {
        let replies: Vec<Reply> = answers.into_iter().map(Reply::of_answer).collect();
        Answer::fhir(200, bundle::batch_response(replies.iter().map(Reply::outgoing)))
    })
    .ok_or_else(|| Refusal::Internal.into())
}

/// One request of a batch, as if it had come by itself.
async fn single(app: &App, ask: &Ask, entry: Entry) -> Result<Audited<Answer>, Failure> {
    let mut ask = ask.clone();
    ask.conditions = conditions(&entry);
    ask.access.query = Some(crate::ledger::Access::cut(&describe(&entry)));
    if entry.if_none_exist.is_some() {
        return Err(not_supported());
    }
    let resource = entry.resource;
    let need = || malformed(IssueCode::Required, "This entry needs a resource.");
    match (entry.method, entry.target) {
        (Method::Get | Method::Head, Target::Instance(kind, id)) => {
            ask.access.interaction = "read";
            read::run(app, &ask, kind, &id).await
        }
        (Method::Get | Method::Head, Target::Version(kind, id, version)) => {
            ask.access.interaction = "vread";
            read::version(app, &ask, kind, &id, version).await
        }
        (Method::Get | Method::Head, Target::InstanceHistory(kind, id, query)) => {
            ask.access.interaction = "history-instance";
            history::run(app, &ask, kind, &id, &query).await
        }
        (Method::Get | Method::Head, Target::Type(kind)) => {
            ask.access.interaction = "search-type";
            search::run(app, &ask, kind, None, None).await
        }
        (Method::Get | Method::Head, Target::Search(kind, query)) => {
            ask.access.interaction = "search-type";
            search::run(app, &ask, kind, Some(&query), None).await
        }
        (Method::Post, Target::Type(kind)) => {
            ask.access.interaction = "create";
            app.gate.approach(&ask.caller, Act::Create, kind).map_err(forbidden)?;
            create::store(app, &ask, kind, resource.ok_or_else(need)?).await
        }
        (Method::Put, Target::Instance(kind, id)) => {
            ask.access.interaction = "update";
            app.gate.approach(&ask.caller, Act::Update, kind).map_err(forbidden)?;
            update::store(app, &ask, kind, &id, resource.ok_or_else(need)?).await
        }
        (Method::Delete, Target::Instance(kind, id)) => {
            ask.access.interaction = "delete";
            delete::run(app, &ask, kind, &id).await
        }
        _ => Err(not_supported()),
    }
}

fn conditions(entry: &Entry) -> Conditions {
    Conditions {
        if_match: entry.if_match,
        if_none_match: entry.if_none_match,
        if_modified_since: entry.if_modified_since,
    }
}

/// What an entry asked for, in the words of the log.
fn describe(entry: &Entry) -> String {
    let place = match &entry.target {
        Target::Type(kind) | Target::TypeHistory(kind, _) => kind.name().to_owned(),
        Target::Instance(kind, id) | Target::Version(kind, id, _) | Target::InstanceHistory(kind, id, _) => {
            format!("{}/{}", kind.name(), id.as_str())
        }
        Target::Search(kind, query) => format!("{}?{query}", kind.name()),
        _ => String::new(),
    };
    format!("{} {place}", entry.method.as_str())
}

fn not_supported() -> Failure {
    let text =
        "This request is not supported in a Bundle. GET /fhir/metadata lists what is served.".to_owned();
    Refusal::NotSupported(text).into()
}

async fn transaction(app: &App, ask: &Ask, entries: Vec<Entry>) -> Result<Audited<Answer>, Failure> {
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
        .filter(|step| matches!(step.entry.method, Method::Put | Method::Delete))
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
        (Method::Post | Method::Put, Some((kind, id))) => {
            let creates = step.entry.method == Method::Post;
            let resource = step
                .entry
                .resource
                .as_mut()
                .ok_or_else(|| malformed(IssueCode::Required, "This entry needs a resource."))?;
            let (ready, status) = if creates {
                let draft = Draft { kind, id: &id, resource, act: Act::Create, base: Base::Fresh };
                (desk.prepare(draft).await?, 201)
            } else {
                update::check_id(resource, &id)?;
                update::prepare(app, &ask, desk, kind, &id, resource).await?
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
