//! Records that went to another organisation, or came from one, as BALP's privacy disclosures.

use custodia_audit::{Entry, Kind};
use serde_json::{Map, Value, json};

use super::{
    LogId, Place, View, agents,
    audit_event::{PROFILES, head, source},
    codes::*,
    entities, instant, is_partner, is_success,
};

/// Whether an entry is a disclosure about a patient: records of hers that a partner received or delivered, or that
/// left in bulk.
#[must_use]
pub fn is_disclosure(entry: &Entry) -> bool {
    let crosses = match entry.event.kind {
        Kind::Access | Kind::Write => is_partner(entry),
        Kind::Export => true,
        _ => false,
    };
    crosses && is_success(entry) && entry.subject.patient.is_some() && !entry.object.items.is_empty()
}

/// The second view of an entry that is a disclosure: `PrivacyDisclosure.Source` where records left,
/// `PrivacyDisclosure.Recipient` where they came in.
#[must_use]
pub fn disclosure_event(place: &Place<'_>, entry: &Entry) -> Option<Value> {
    if !is_disclosure(entry) {
        return None;
    }
    let came_in = entry.event.kind == Kind::Write;
    let (kind, action, profile) = if came_in {
        (IMPORT, "C", "IHE.BasicAudit.PrivacyDisclosure.Recipient")
    } else {
        (EXPORT, "R", "IHE.BasicAudit.PrivacyDisclosure.Source")
    };
    let (client, server) = if came_in { (SOURCE, DESTINATION) } else { (DESTINATION, SOURCE) };
    let id = LogId { shard: place.shard, index: place.index, view: View::Disclosure }.to_string();
    let mut event = Map::new();
    head(&mut event, &id, &[format!("{PROFILES}{profile}")], entry.event.time_micros);
    event.insert("type".to_owned(), kind.coding());
    event.insert("subtype".to_owned(), json!([DISCLOSE.coding()]));
    event.insert("action".to_owned(), json!(action));
    event.insert("recorded".to_owned(), json!(instant(entry.event.time_micros)));
    event.insert("outcome".to_owned(), json!("0"));
    if let Some(purpose) = &entry.detail.purpose {
        event.insert("purposeOfEvent".to_owned(), json!([agents::purpose(purpose)]));
    }
    let mut who = vec![agents::client(&entry.actor, client), agents::server(place, server)];
    if !is_partner(entry) {
        // In bulk: the person who asked for it takes part too.
        let purpose = entry.detail.purpose.as_deref();
        who.extend(agents::user(&entry.actor, purpose, RECIPIENT, agents::AltId::Told));
    }
    if let Some(tenant) = &entry.subject.tenant {
        let custodian = json!({"identifier": {"system": "urn:custodia:tenant", "value": tenant}});
        who.push(json!({"type": RECORD_KEEPER.concept(), "who": custodian, "requestor": false}));
    }
    who.extend(agents::organisation(&entry.actor));
    event.insert("agent".to_owned(), who.into());
    event.insert("source".to_owned(), source(place, entry.subject.tenant.as_deref()));
    let mut what: Vec<Value> = entities::patient(entry).into_iter().collect();
    what.extend(entry.object.items.iter().map(entities::typed));
    what.push(entities::request(&entry.event.request));
    what.push(entities::receipt(place));
    event.insert("entity".to_owned(), what.into());
    Some(Value::Object(event))
}
