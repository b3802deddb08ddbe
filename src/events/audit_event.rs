//! An access as a FHIR R4 AuditEvent that keeps the BALP profile of its kind.
//!
//! One entry is one event: an entry is about one patient at most, so a search over several patients is one event for
//! each, as BALP wants it. What succeeded names its profiles in `meta.profile`; a refusal has none, as BALP has none.

use custodia_audit::{Decision, Entry};
use serde_json::{Map, Value, json};

use super::{
    LogId, Place, agents,
    codes::*,
    entities, instant, is_success,
    manner::{Manner, Shape},
};

/// Where BALP's profiles are.
pub(super) const PROFILES: &str = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/";

/// The AuditEvent of an entry: the same bytes whenever it is rendered.
#[must_use]
pub fn audit_event(place: &Place<'_>, entry: &Entry) -> Value {
    let manner = Manner::of(entry);
    let mut event = Map::new();
    let id = LogId::access(place.shard, place.index).to_string();
    head(&mut event, &id, &profiles(entry, &manner), entry.event.time_micros);
    event.insert("type".to_owned(), manner.kind.coding());
    event.insert("subtype".to_owned(), subtypes(&manner));
    event.insert("action".to_owned(), json!(manner.action));
    event.insert("recorded".to_owned(), json!(instant(entry.event.time_micros)));
    outcome(&mut event, entry);
    if let Some(purpose) = &entry.detail.purpose {
        event.insert("purposeOfEvent".to_owned(), json!([agents::purpose(purpose)]));
    }
    let purpose = entry.detail.purpose.as_deref();
    event.insert("agent".to_owned(), agents::all(place, &entry.actor, purpose, &manner).into());
    event.insert("source".to_owned(), source(place, entry.subject.tenant.as_deref()));
    let entities = entities::all(place, entry, manner.shape);
    if !entities.is_empty() {
        event.insert("entity".to_owned(), entities.into());
    }
    Value::Object(event)
}

pub(super) fn head(event: &mut Map<String, Value>, id: &str, profiles: &[String], micros: i64) {
    event.insert("resourceType".to_owned(), json!("AuditEvent"));
    event.insert("id".to_owned(), json!(id));
    let mut meta = json!({"versionId": "1", "lastUpdated": instant(micros)});
    if !profiles.is_empty() {
        agents::put(&mut meta, "profile", json!(profiles));
    }
    event.insert("meta".to_owned(), meta);
}

fn profiles(entry: &Entry, manner: &Manner) -> Vec<String> {
    let patient = if entry.subject.patient.is_some() { "Patient" } else { "" };
    let mut names = match manner.shape {
        Shape::One(verb) => vec![format!("IHE.BasicAudit.{patient}{verb}")],
        Shape::Query => vec![format!("IHE.BasicAudit.{patient}Query")],
        Shape::Token => vec!["IHE.IUA.71".to_owned()],
        Shape::Log | Shape::Other => Vec::new(),
    };
    // A token's own request is no use of it.
    if manner.server != OAUTH_SERVER && entry.actor.token_id.is_some() && entry.actor.user.is_some() {
        names.push("IHE.BasicAudit.OAUTHaccessTokenUse.Minimal".to_owned());
        if entry.actor.client.is_some() {
            names.push("IHE.BasicAudit.OAUTHaccessTokenUse.Comprehensive".to_owned());
        }
    }
    names.into_iter().map(|name| format!("{PROFILES}{name}")).collect()
}

/// R4's code, and our own word beside it where R4's is only `operation`.
fn subtypes(manner: &Manner) -> Value {
    let mut subtypes: Vec<Value> = manner.subtypes.iter().map(|code| code.coding()).collect();
    if let Some(word) = &manner.word {
        subtypes.push(json!({"system": OURS, "code": word}));
    }
    subtypes.into()
}

/// `0` is success; a refusal is a minor failure, our own failure a serious one.
fn outcome(event: &mut Map<String, Value>, entry: &Entry) {
    let said = &entry.event.outcome;
    let code = match said.status {
        _ if is_success(entry) => "0",
        500.. => "8",
        _ => "4",
    };
    event.insert("outcome".to_owned(), json!(code));
    if code != "0" {
        let mut text = said.code.clone();
        if entry.object.decision == Decision::Refuse {
            text.push_str("; refused by ");
            text.push_str(&match entry.object.policies.as_slice() {
                [] => "the absence of a policy that permits".to_owned(),
                policies => policies.join(", "),
            });
        }
        event.insert("outcomeDesc".to_owned(), json!(text));
    }
}

/// This server saw it.
pub(super) fn source(place: &Place<'_>, tenant: Option<&str>) -> Value {
    let mut source = json!({});
    if let Some(tenant) = tenant {
        agents::put(&mut source, "site", json!(tenant));
    }
    agents::put(&mut source, "observer", agents::server_who(place));
    agents::put(&mut source, "type", json!([APPLICATION_SERVER.coding()]));
    source
}
