//! create (FHIR R4 http.html#create): the server draws the id. With If-None-Exist, only if there is no match.

use serde_json::Value;

use super::{
    Ask, Failure, Head, Return,
    attempts::Attempts,
    condition,
    desk::{Desk, Draft},
    hold, malformed, parse_body, search, written,
};
use crate::{
    answer::Answer,
    app::App,
    fhir::{
        kinds::{LogicalId, ResourceType},
        outcome::IssueCode,
    },
    gate::Act,
    ledger::{Audited, Rejected},
    store::write::Base,
};

/// Creates a resource from a body.
///
/// # Errors
/// [`Failure`] as every interaction.
pub async fn run(app: &App, ask: &Ask, kind: ResourceType, body: &[u8]) -> Result<Audited<Answer>, Failure> {
    approach(app, ask, kind)?;
    store(app, ask, kind, parse_body(body)?).await
}

/// Whether there is any record of the type that the caller could create.
pub(super) fn approach(app: &App, ask: &Ask, kind: ResourceType) -> Result<(), Failure> {
    search::approach(app, ask, &[Act::Create], (kind, ask.conditions.if_none_exist.as_deref()))
}

/// Creates a resource that has been parsed; whether anybody may is decided already.
pub(super) async fn store(
    app: &App,
    ask: &Ask,
    kind: ResourceType,
    mut resource: Value,
) -> Result<Audited<Answer>, Failure> {
    check(app, kind, &resource).await?;
    let id = LogicalId::of_uuid(app.clock.random_id());
    let mut attempts = Attempts::default();
    loop {
        let mut criterion = None;
        if let Some(query) = &ask.conditions.if_none_exist {
            let settled = condition::settle(app, ask, kind, query).await?;
            if let Some(found) = settled.found {
                return condition::existing(app, ask, found).await;
            }
            criterion = Some(settled.criterion);
        }
        let mut desk = Desk::open(app, &ask.caller, &mut attempts)?;
        if kind == ResourceType::PATIENT {
            desk.registers(&id);
        }
        let draft = Draft { kind, id: &id, resource: &mut resource, act: Act::Create, base: Base::Fresh };
        let mut ready = desk.prepare(draft).await?;
        ready.written.change.criteria.extend(criterion);
        let head = head(app, kind, &id, ready.version, ready.updated);
        let answer = written(201, ask.returning, &head, ready.json, ready.warnings);
        match app.ledger.commit(&ask.access, vec![ready.written], Vec::new(), answer).await {
            // Somebody else has just made the patient's key, or created under the same condition: look again.
            Err(Rejected::Stale(why)) => attempts.again(app, ask.caller.tenant(), why).await?,
            other => return Ok(other?),
        }
    }
}

/// Validates a resource that is about to be stored as `kind`.
pub(super) async fn check(app: &App, kind: ResourceType, resource: &Value) -> Result<(), Failure> {
    let named = resource.get("resourceType").and_then(Value::as_str);
    if named.is_some_and(|named| named != kind.name()) {
        return Err(malformed(IssueCode::Invalid, "The resource is of another type than the URL names."));
    }
    Ok(hold::hold(app, resource, kind).await?)
}

pub(super) fn head(
    app: &App,
    kind: ResourceType,
    id: &LogicalId,
    version: i32,
    updated: chrono::DateTime<chrono::Utc>,
) -> Head {
    let location = format!("{}/{}/{}/_history/{version}", app.base.as_str(), kind.name(), id.as_str());
    Head { version, updated, location: Some(location) }
}

impl Return {
    /// Reads a `Prefer` header (FHIR R4 http.html#ops); anything unknown is the default.
    #[must_use]
    pub fn of_prefer(header: Option<&str>) -> Self {
        let wanted = header.unwrap_or_default().split([',', ';']).find_map(|part| {
            let (name, value) = part.split_once('=')?;
            name.trim().eq_ignore_ascii_case("return").then(|| value.trim().trim_matches('"'))
        });
        match wanted {
            Some("minimal") => Self::Minimal,
            Some("OperationOutcome") => Self::OperationOutcome,
            _ => Self::Representation,
        }
    }
}
