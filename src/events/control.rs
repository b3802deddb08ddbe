//! Control entries as AuditEvents: what befell the log and the server, about nobody.

use custodia_audit::Control;
use serde_json::{Map, Value, json};

use super::{
    LogId, Place, agents,
    agents::hex,
    audit_event::{head, source},
    codes::*,
    entities, instant,
};

/// The AuditEvent of a control entry.
#[must_use]
pub fn control_event(place: &Place<'_>, control: &Control) -> Value {
    let (kind, subtype, action) = manner(control);
    let micros = control.time_micros();
    let mut event = Map::new();
    head(&mut event, &LogId::access(place.shard, place.index).to_string(), &[], micros);
    event.insert("type".to_owned(), kind.coding());
    event.insert("subtype".to_owned(), json!([subtype.coding()]));
    event.insert("action".to_owned(), json!(action));
    event.insert("recorded".to_owned(), json!(instant(micros)));
    event.insert("outcome".to_owned(), json!("0"));
    event.insert("agent".to_owned(), json!([agents::server(place, APPLICATION)]));
    event.insert("source".to_owned(), source(place, None));
    let details: Vec<Value> =
        details(control).into_iter().map(|(name, text)| json!({"type": name, "valueString": text})).collect();
    let mut receipt = entities::receipt(place);
    agents::put(&mut receipt, "detail", details.into());
    event.insert("entity".to_owned(), json!([receipt]));
    Value::Object(event)
}

const fn ours(word: &'static str, display: &'static str) -> Code {
    Code(OURS, word, display)
}

fn manner(control: &Control) -> (Code, Code, &'static str) {
    match control {
        Control::Start { .. } => (APPLICATION_ACTIVITY, START, "E"),
        Control::Heartbeat { .. } => {
            (APPLICATION_ACTIVITY, ours("heartbeat", "The server says it is alive"), "E")
        }
        Control::KeyRotation { .. } | Control::KeyRetirement { .. } => {
            (SECURITY_ALERT, SECURITY_CONFIGURATION, "U")
        }
        Control::PolicyChange { .. } => (SECURITY_ALERT, ours("policy-change", "Policies changed"), "U"),
        Control::Restore { .. } => (SECURITY_ALERT, ours("restore", "The log was rolled forward"), "U"),
        Control::Export { .. } => (AUDIT_LOG_USED, ours("export", "The log was exported"), "R"),
        Control::ForkAlarm { .. } => {
            (SECURITY_ALERT, ours("fork-alarm", "The log is not what a witness, or the server, knew"), "E")
        }
        Control::Shards { .. } => {
            (APPLICATION_ACTIVITY, ours("shards", "How many logs are written side by side"), "E")
        }
        Control::ShardLink { .. } => (APPLICATION_ACTIVITY, ours("shard-link", "Head of another log"), "E"),
    }
}

/// Everything else it says, in its own words.
fn details(control: &Control) -> Vec<(&'static str, String)> {
    let number = |number: &u64| number.to_string();
    match control {
        Control::Start { node, version, .. } => vec![("node", node.clone()), ("version", version.clone())],
        Control::Heartbeat { node, sequence, .. } => {
            vec![("node", node.clone()), ("sequence", number(sequence))]
        }
        Control::KeyRotation { old_vkey, new_vkey, .. } => {
            vec![("old-vkey", old_vkey.clone()), ("new-vkey", new_vkey.clone())]
        }
        Control::KeyRetirement { vkey, .. } => vec![("retired-vkey", vkey.clone())],
        Control::PolicyChange { node, policy_set, .. } => {
            vec![("node", node.clone()), ("policy-set", hex(policy_set))]
        }
        Control::Restore { node, restored_size, anchored_size, anchored_root, .. } => vec![
            ("node", node.clone()),
            ("restored-size", number(restored_size)),
            ("anchored-size", number(anchored_size)),
            ("anchored-root", hex(anchored_root)),
        ],
        Control::Export { node, first, end, size, .. } => vec![
            ("node", node.clone()),
            ("first", number(first)),
            ("end", number(end)),
            ("size", number(size)),
        ],
        Control::ForkAlarm { node, witness, size, .. } => {
            vec![("node", node.clone()), ("witness", witness.clone()), ("size", number(size))]
        }
        Control::Shards { node, shard, count, .. } => {
            vec![("node", node.clone()), ("shard", number(shard)), ("count", number(count))]
        }
        Control::ShardLink { origin, size, root, .. } => {
            vec![("origin", origin.clone()), ("size", number(size)), ("root", hex(root))]
        }
    }
}
