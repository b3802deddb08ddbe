//! update (FHIR R4 http.html#update): If-Match, and create under the client's id when there is none.

use serde_json::Value;

use super::{
    Ask, Conditions, Failure,
    attempts::Attempts,
    create,
    desk::{Desk, Draft, Ready},
    forbidden, malformed,
    open::open_permitted,
    parse_body, written,
};
use crate::{
    answer::Answer,
    app::App,
    fhir::{
        bundle::NoneMatch,
        kinds::{LogicalId, ResourceType},
        outcome::IssueCode,
    },
    gate::Act,
    ledger::{Audited, Rejected},
    refusal::{Refusal, Why},
    store::write::Base,
};

/// Replaces a resource, or creates it under its id.
///
/// # Errors
/// [`Failure`] as every interaction.
pub async fn run(
    app: &App,
    ask: &Ask,
    kind: ResourceType,
    id: &LogicalId,
    body: &[u8],
) -> Result<Audited<Answer>, Failure> {
    app.gate.approach(&ask.caller, Act::Update, kind).map_err(forbidden)?;
    store(app, ask, kind, id, parse_body(body)?).await
}

/// Replaces with a resource that has been parsed; whether anybody may is decided already.
pub(super) async fn store(
    app: &App,
    ask: &Ask,
    kind: ResourceType,
    id: &LogicalId,
    mut resource: Value,
) -> Result<Audited<Answer>, Failure> {
    check_id(&resource, id)?;
    create::check(app, kind, &resource).await?;
    let mut attempts = Attempts::default();
    loop {
        let mut desk = Desk::open(app, &ask.caller, &mut attempts)?;
        let (ready, status) = prepare(app, ask, &mut desk, kind, id, &mut resource).await?;
        let head = create::head(app, kind, id, ready.version, ready.updated);
        let answer = written(status, ask.returning, &head, ready.json, ready.warnings);
        match app.ledger.commit(&ask.access, vec![ready.written], Vec::new(), answer).await {
            // Another write was faster. With If-Match the next look refuses; without it this one goes on top.
            Err(Rejected::Stale(why)) => attempts.again(app, ask.caller.tenant(), why).await?,
            other => return Ok(other?),
        }
    }
}

/// The body's id must be there and the URL's.
pub(super) fn check_id(resource: &Value, id: &LogicalId) -> Result<(), Failure> {
    match resource.get("id").and_then(Value::as_str) {
        Some(found) if found == id.as_str() => Ok(()),
        Some(_) => Err(malformed(IssueCode::Invalid, "The resource's id is another than the URL names.")),
        None => Err(malformed(
            IssueCode::Required,
            "The resource has no id; an update must name it in the body too.",
        )),
    }
}

/// Looks at what is there, decides about it and about what is to be, and seals; with the status of success.
pub(super) async fn prepare(
    app: &App,
    ask: &Ask,
    desk: &mut Desk<'_>,
    kind: ResourceType,
    id: &LogicalId,
    resource: &mut Value,
) -> Result<(Ready, u16), Failure> {
    let view = *desk.view();
    let Some(row) = desk.current(kind, id).await? else {
        if ask.conditions.if_match.is_some() {
            return Err(Refusal::PreconditionFailed.into());
        }
        if kind == ResourceType::PATIENT {
            desk.registers(id);
        }
        let draft = Draft { kind, id, resource, act: Act::Create, base: Base::Absent };
        return Ok((desk.prepare(draft).await?, 201));
    };
    let at = row.at;
    // Refusals of writes are 403 whether or not the record is there: the id is the caller's own choice. If-Match speaks
    // of one that is there, so to it a record out of sight is none.
    let seen = open_permitted(app, &ask.caller, &view, Act::Update, row).await;
    let (old, _permit) = seen.map_err(|failure| match failure {
        Failure::Refused(Refusal::NotFound(_), grounds) if ask.conditions.if_match.is_some() => {
            Failure::Refused(Refusal::PreconditionFailed, grounds)
        }
        Failure::Refused(Refusal::NotFound(Why::Hidden), grounds) => {
            Failure::Refused(Refusal::Forbidden, grounds)
        }
        other => other,
    })?;
    let check = if at.deleted { check_match } else { check_version };
    check(&ask.conditions, at.version).map_err(|failure| failure.about(&old.version()))?;
    let draft = Draft { kind, id, resource, act: Act::Update, base: Base::Version(at.version) };
    let status = if at.deleted { 201 } else { 200 };
    let mut ready = desk.prepare(draft).await.map_err(|failure| failure.about(&old.version()))?;
    ready.written.version.leaves(old.version());
    Ok((ready, status))
}

/// Refuses a write over a version that If-Match or If-None-Match does not let through.
pub(super) fn check_version(conditions: &Conditions, version: i32) -> Result<(), Failure> {
    if is_excluded(conditions, version) {
        return Err(Refusal::PreconditionFailed.into());
    }
    check_match(conditions, version)
}

fn check_match(conditions: &Conditions, version: i32) -> Result<(), Failure> {
    match conditions.if_match {
        Some(wanted) if i32::try_from(wanted) != Ok(version) => Err(Refusal::PreconditionFailed.into()),
        _ => Ok(()),
    }
}

/// Whether If-None-Match forbids to write over this version: `*` writes over none (RFC 9110 §13.1.2).
fn is_excluded(conditions: &Conditions, version: i32) -> bool {
    match &conditions.if_none_match {
        None => false,
        Some(NoneMatch::Any) => true,
        Some(NoneMatch::Version(excluded)) => i32::try_from(*excluded) == Ok(version),
    }
}
