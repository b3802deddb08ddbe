//! batch and transaction (FHIR R4 http.html#transaction).
//!
//! A transaction is one submission to the ledger: every write and every entry in one commit, or none. A batch is
//! its requests one by one, each with entries of its own.

mod reply;
mod transaction;

use custodia_audit::Kind;
use futures_util::{StreamExt as _, stream};
use serde_json::Value;

use super::{
    Ask, Conditions, Failure, condition, create, delete, finish, forbidden, history, hold, malformed,
    parse_body, patch, read, search, update,
};
use crate::{
    answer::Answer,
    app::App,
    fhir::{
        bundle::{self, Bundle, Entry, Method, Target},
        kinds::{LogicalId, ResourceType},
        outcome::{IssueCode, Problem},
        subset::Subset,
    },
    gate::Act,
    ledger::{Access, Audited, QUERY_BYTES_MAX},
    refusal::Refusal,
};
use reply::Reply;

/// Requests of one batch that run at the same time.
const BATCH_WIDTH: usize = 8;

/// `POST [base]` with a batch or transaction.
///
/// # Errors
/// [`Failure`] as every interaction.
pub async fn run(app: &App, ask: &Ask, body: &[u8]) -> Result<Audited<Answer>, Failure> {
    let value = parse_body(body)?;
    let is_transaction = value.get("type").and_then(Value::as_str) == Some("transaction");
    if is_transaction {
        hold::hold_bundle(app, &value).await?;
    }
    match Bundle::parse(value, &app.base).map_err(Refusal::Malformed)? {
        Bundle::Batch(entries) => batch(app, ask, entries).await,
        Bundle::Transaction(entries) => transaction::run(app, ask, entries).await,
    }
}

async fn batch(
    app: &App,
    ask: &Ask,
    entries: Vec<Result<Entry, Vec<Problem>>>,
) -> Result<Audited<Answer>, Failure> {
    let answers: Vec<_> = stream::iter(entries)
        .map(|entry| async move {
            let mut ask = ask.clone();
            ask.access.named = ask.access.named.of_another();
            let done = match entry {
                Err(problems) => Err(Refusal::Malformed(problems).into()),
                Ok(entry) => {
                    let address = addressed(&entry);
                    let done = single(app, &ask, entry).await;
                    done.map_err(|failure| failure.addressed(app, &ask.access, address))
                }
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
    // What was asked of the Bundle is not asked of its entries.
    ask.subset = Subset::Whole;
    ask.raw = false;
    ask.conditions = conditions(&entry);
    let asked = describe(&entry);
    if !Access::keeps(&asked) {
        return Err(too_long());
    }
    ask.access.query = Some(asked);
    let resource = entry.resource;
    let need = || malformed(IssueCode::Required, "This entry needs a resource.");
    match (entry.method, entry.target) {
        (Method::Get | Method::Head, target) => get(app, &mut ask, target).await,
        (Method::Post, Target::Type(kind)) => {
            ask.access.interaction = "create";
            create::approach(app, &ask, kind)?;
            create::store(app, &ask, kind, resource.ok_or_else(need)?).await
        }
        (Method::Put, Target::Instance(kind, id)) => {
            ask.access.interaction = "update";
            app.gate.approach(&ask.caller, Act::Update, kind).map_err(forbidden)?;
            update::store(app, &ask, kind, &id, resource.ok_or_else(need)?).await
        }
        (Method::Patch, Target::Instance(kind, id)) => {
            ask.access.interaction = "patch";
            patch::approach(app, &ask, kind, None)?;
            let patch = patch::of_entry(app, &resource.ok_or_else(need)?)?;
            patch::store(app, &ask, kind, &id, &patch).await
        }
        (Method::Delete, Target::Instance(kind, id)) => {
            ask.access.interaction = "delete";
            delete::run(app, &ask, kind, &id).await
        }
        (method @ (Method::Put | Method::Patch | Method::Delete), Target::Search(kind, query)) => {
            conditional(app, &mut ask, method, kind, &query, resource).await
        }
        _ => Err(not_supported()),
    }
}

/// The record that an entry names.
fn addressed(entry: &Entry) -> Option<(ResourceType, LogicalId)> {
    match &entry.target {
        Target::Instance(kind, id) | Target::Version(kind, id, _) | Target::InstanceHistory(kind, id, _) => {
            Some((*kind, id.clone()))
        }
        _ => None,
    }
}

/// What a batch reads.
async fn get(app: &App, ask: &mut Ask, target: Target) -> Result<Audited<Answer>, Failure> {
    match target {
        Target::Instance(kind, id) => {
            ask.access.interaction = "read";
            read::run(app, ask, kind, &id).await
        }
        Target::Version(kind, id, version) => {
            ask.access.interaction = "vread";
            read::version(app, ask, kind, &id, version).await
        }
        Target::InstanceHistory(kind, id, query) => {
            ask.access.interaction = "history-instance";
            ask.subset = super::subset(Some(&query), None)?;
            history::run(app, ask, kind, &id, &query).await
        }
        Target::TypeHistory(kind, query) => {
            ask.access.interaction = "history-type";
            ask.subset = super::subset(Some(&query), None)?;
            history::of_type(app, ask, kind, &query).await
        }
        Target::SystemHistory(query) => {
            ask.access.interaction = "history-system";
            ask.subset = super::subset(Some(&query), None)?;
            history::of_system(app, ask, &query).await
        }
        Target::Type(kind) => {
            ask.access.interaction = "search-type";
            search::run(app, ask, kind, None, None).await
        }
        Target::Search(kind, query) => {
            ask.access.interaction = "search-type";
            ask.subset = super::subset(Some(&query), None)?;
            search::run(app, ask, kind, Some(&query), None).await
        }
        Target::SystemSearch(query) => {
            ask.access.interaction = "search-system";
            ask.subset = super::subset(Some(&query), None)?;
            search::of_system(app, ask, Some(&query), None).await
        }
        _ => Err(not_supported()),
    }
}

/// A conditional update, patch or delete of a batch.
async fn conditional(
    app: &App,
    ask: &mut Ask,
    method: Method,
    kind: ResourceType,
    query: &str,
    resource: Option<Value>,
) -> Result<Audited<Answer>, Failure> {
    let need = || malformed(IssueCode::Required, "This entry needs a resource.");
    match method {
        Method::Put => {
            ask.access.interaction = "update";
            search::approach(app, ask, &[Act::Update], (kind, Some(query)))?;
            condition::store(app, ask, kind, query, resource.ok_or_else(need)?).await
        }
        Method::Patch => {
            ask.access.interaction = "patch";
            patch::approach(app, ask, kind, Some(query))?;
            let patch = patch::of_entry(app, &resource.ok_or_else(need)?)?;
            condition::apply(app, ask, kind, query, &patch).await
        }
        _ => {
            ask.access.interaction = "delete";
            condition::delete(app, ask, kind, query).await
        }
    }
}

fn conditions(entry: &Entry) -> Conditions {
    Conditions {
        if_match: entry.if_match,
        if_none_match: entry.if_none_match,
        if_modified_since: entry.if_modified_since,
        if_none_exist: entry.if_none_exist.clone(),
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
        Target::SystemHistory(_) => "_history".to_owned(),
        Target::SystemSearch(query) => format!("?{query}"),
        _ => String::new(),
    };
    let condition = entry.if_none_exist.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
    format!("{} {place}{condition}", entry.method.as_str())
}

/// What the log cannot keep is not answered.
fn too_long() -> Failure {
    let text = format!("The searches are longer than the {QUERY_BYTES_MAX} bytes an entry of the log keeps.");
    Refusal::Malformed(vec![Problem::error(IssueCode::TooLong, text)]).into()
}

fn not_supported() -> Failure {
    let text =
        "This request is not supported in a Bundle. GET /fhir/metadata lists what is served.".to_owned();
    Refusal::NotSupported(text).into()
}
