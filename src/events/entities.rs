//! What was used: the patient, the records, the question, the request and the entry itself.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use custodia_audit::{Action, Entry, Item};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Place,
    agents::{hex, put},
    codes::*,
    manner::Shape,
};

/// All of them, in the order patient, records, question, request, entry.
pub(super) fn all(place: &Place<'_>, entry: &Entry, shape: Shape) -> Vec<Value> {
    if shape == Shape::Token {
        // ITI-71 closes its entities: the request alone.
        return question(entry, true).into_iter().collect();
    }
    let mut entities: Vec<Value> = patient(entry).into_iter().collect();
    entities.extend(entry.object.items.iter().map(|item| match shape {
        Shape::One(verb) if is_what_was_done(verb, item) => record(item, SYSTEM_OBJECT.coding()),
        // A search has one System Object, the question; records go by their own type.
        _ => typed(item),
    }));
    match shape {
        Shape::Query => entities.extend(question(entry, true)),
        Shape::One(_) => {}
        Shape::Log => entities.push(log(place)),
        Shape::Token | Shape::Other => entities.extend(question(entry, false)),
    }
    entities.push(request(&entry.event.request));
    entities.push(receipt(place));
    entities
}

fn is_what_was_done(verb: &str, item: &Item) -> bool {
    let wanted = match verb {
        "Read" => Action::Released,
        "Delete" => Action::Deleted,
        _ => Action::Written,
    };
    item.action == wanted
}

/// Whose record it is.
pub(super) fn patient(entry: &Entry) -> Option<Value> {
    let patient = entry.subject.patient.as_ref()?;
    Some(json!({"what": {"reference": patient}, "type": PERSON.coding(), "role": PATIENT_ROLE.coding()}))
}

/// A version under its own resource type.
pub(super) fn typed(item: &Item) -> Value {
    record(item, json!({"system": RESOURCE_TYPES, "code": item.kind, "display": item.kind}))
}

fn record(item: &Item, kind: Value) -> Value {
    // A version that is not there yet has no number.
    let version = if item.version == 0 { String::new() } else { format!("/_history/{}", item.version) };
    json!({
        "what": {"reference": format!("{}/{}{version}", item.kind, item.id)},
        "type": kind,
        "role": DOMAIN_RESOURCE.coding(),
        "detail": [
            {"type": "ciphertext-sha256", "valueString": hex(&item.digest)},
            {"type": "action", "valueString": item.action.as_str()},
        ],
    })
}

/// What was asked, exactly as it was asked.
fn question(entry: &Entry, is_profiled: bool) -> Option<Value> {
    let query = entry.detail.query.as_ref().filter(|query| !query.is_empty())?;
    let mut entity = json!({"type": SYSTEM_OBJECT.coding(), "role": QUERY_ROLE.coding()});
    if is_profiled && is_plain(query) {
        put(&mut entity, "description", json!(query));
    }
    put(&mut entity, "query", json!(STANDARD.encode(query)));
    Some(entity)
}

/// Whether FHIR's `string` can hold a text as it is.
fn is_plain(text: &str) -> bool {
    !text.trim().is_empty() && text.chars().all(|letter| !letter.is_control())
}

fn log(place: &Place<'_>) -> Value {
    json!({
        "what": {"identifier": {"system": "urn:custodia:log-origin", "value": place.origin}},
        "type": SYSTEM_OBJECT.coding(),
        "role": SECURITY_RESOURCE.coding(),
    })
}

/// The server's id of the request: other entries of the same request have it too.
pub(super) fn request(id: &[u8; 16]) -> Value {
    let id = Uuid::from_bytes(*id).to_string();
    json!({"what": {"identifier": {"value": id}}, "type": REQUEST_ID.coding()})
}

/// Where the entry stands: what its proof is asked for with.
pub(super) fn receipt(place: &Place<'_>) -> Value {
    json!({
        "what": {"identifier": {"system": "urn:custodia:receipt", "value": place.receipt()}},
        "type": LOG_ENTRY.coding(),
    })
}
