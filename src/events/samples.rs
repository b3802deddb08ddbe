//! One entry of every sort, for the tests of this room.

use custodia_audit::{
    Action, Actor, Control, Decision, Detail, Entry, Event, Item, Kind, Object, Outcome, Subject,
};

use super::Place;

pub(super) fn place(index: u64) -> Place<'static> {
    Place { origin: "records.test/log", shard: 0, index }
}

pub(super) fn item(kind: &str, id: &str, action: Action) -> Item {
    Item { kind: kind.to_owned(), id: id.to_owned(), version: 2, digest: [7; 32], action }
}

/// A physician with a token.
fn person() -> Actor {
    Actor {
        user: Some("grey".to_owned()),
        roles: vec!["physician".to_owned()],
        organisation: Some("North Clinic".to_owned()),
        client: Some("portal".to_owned()),
        token_id: Some("01890a5d-ac96-774b-bcce-b302099a8057".to_owned()),
        thumbprint: None,
        address: Some("2001:db8::7334".to_owned()),
    }
}

/// A laboratory with a certificate.
fn partner() -> Actor {
    Actor {
        user: Some("importer".to_owned()),
        thumbprint: Some([9; 32]),
        address: Some("192.0.2.7".to_owned()),
        ..Actor::default()
    }
}

fn nobody() -> Actor {
    Actor { address: Some("203.0.113.9".to_owned()), ..Actor::default() }
}

fn entry(kind: Kind, interaction: &str, actor: Actor, patient: Option<&str>, items: Vec<Item>) -> Entry {
    let is_known = actor.user.is_some();
    Entry {
        event: Event {
            origin: "records.test/log".to_owned(),
            kind,
            time_micros: 1_780_000_000_123_456,
            node: "01890a5d-ac96-774b-bcce-b302099a8058".to_owned(),
            sequence: 4,
            request: [3; 16],
            outcome: Outcome { status: 200, code: "ok".to_owned() },
        },
        actor,
        subject: Subject {
            tenant: is_known.then(|| "clinic".to_owned()),
            patient: patient.map(|id| format!("Patient/{id}")),
        },
        object: Object {
            interaction: interaction.to_owned(),
            items,
            policy_set: Some([1; 32]),
            policies: vec!["physician-views-patients".to_owned()],
            decision: Decision::Permit,
        },
        detail: Detail {
            purpose: is_known.then(|| "TREAT".to_owned()),
            query: Some(format!("GET /fhir/{interaction}")),
            reason: None,
        },
    }
}

fn refused(mut entry: Entry, status: u16, code: &str) -> Entry {
    entry.event.kind = Kind::Refusal;
    entry.event.outcome = Outcome { status, code: code.to_owned() };
    entry.object.items = Vec::new();
    entry.object.decision = Decision::Refuse;
    entry.object.policies = Vec::new();
    entry
}

/// Every sort of entry the server writes, and those its log has words for.
pub(super) fn all() -> Vec<(String, Entry)> {
    let mut found = Vec::new();
    let mut add = |name: &str, entry: Entry| found.push((name.to_owned(), entry));
    let verbs = [
        ("create", Kind::Write, Action::Written),
        ("update", Kind::Write, Action::Written),
        ("patch", Kind::Write, Action::Written),
        ("delete", Kind::Write, Action::Deleted),
        ("read", Kind::Access, Action::Released),
        ("vread", Kind::Access, Action::Released),
    ];
    for (verb, kind, action) in verbs {
        for (who, actor) in [("person", person()), ("partner", partner())] {
            for patient in [None, Some("ann")] {
                let items = vec![item("Observation", "pulse", action)];
                let what = if patient.is_some() { "of a patient" } else { "of nobody" };
                add(&format!("{verb} {what} by a {who}"), entry(kind, verb, actor.clone(), patient, items));
            }
        }
    }
    for (patient, ids) in [(None, &[][..]), (Some("ann"), &["a", "b"][..]), (None, &["c"][..])] {
        let items: Vec<_> = ids.iter().map(|id| item("Observation", id, Action::Released)).collect();
        for actor in [person(), partner()] {
            add("search", entry(Kind::Access, "search-type", actor, patient, items.clone()));
        }
    }
    let history = vec![item("Patient", "ann", Action::Released), item("Patient", "ann", Action::Released)];
    add("history", entry(Kind::Access, "history-instance", person(), Some("ann"), history));
    let mixed = vec![item("Patient", "ann", Action::Written), item("Observation", "o", Action::Deleted)];
    add("transaction", entry(Kind::Write, "transaction", partner(), Some("ann"), mixed));
    add("an operation", entry(Kind::Access, "everything", person(), Some("ann"), Vec::new()));
    add("capabilities", entry(Kind::Access, "capabilities", nobody(), None, Vec::new()));
    add("login", entry(Kind::Login, "token", person(), None, Vec::new()));
    add("token", entry(Kind::Token, "token", person(), None, Vec::new()));
    add(
        "a refused token",
        refused(entry(Kind::Token, "token", nobody(), None, Vec::new()), 401, "invalid_client"),
    );
    add("hidden", refused(entry(Kind::Access, "read", person(), None, Vec::new()), 404, "hidden"));
    add("broken", refused(entry(Kind::Access, "read", person(), None, Vec::new()), 500, "integrity"));
    add(
        "anonymous",
        refused(entry(Kind::Access, "read", nobody(), None, Vec::new()), 401, "unauthenticated"),
    );
    add("audit", entry(Kind::Audit, "audit-proof", person(), None, Vec::new()));
    let bulk = vec![item("Patient", "ann", Action::Released)];
    add("export", entry(Kind::Export, "export", person(), Some("ann"), bulk));
    for kind in [
        Kind::Mfa,
        Kind::Logout,
        Kind::BreakGlass,
        Kind::Erasure,
        Kind::Policy,
        Kind::Role,
        Kind::Key,
        Kind::Config,
    ] {
        add(kind.as_str(), entry(kind, "none", person(), None, Vec::new()));
    }
    let mut edge = entry(Kind::Edge, "handshake", nobody(), None, Vec::new());
    edge.event.outcome = Outcome { status: 0, code: "handshake-failed".to_owned() };
    edge.detail = Detail::default();
    add("edge", edge);
    let mut strange = entry(Kind::Access, "search-type", person(), Some("ann"), Vec::new());
    strange.detail.query = Some("POST /fhir/Observation/_search?a=\u{0}\u{1b}\"<&>\n=cmd|x".to_owned());
    strange.actor.user = Some("=1+1\"<script>&'".to_owned());
    strange.detail.purpose = None;
    add("strange", strange);
    found
}

/// Every sort of control entry.
pub(super) fn controls() -> Vec<Control> {
    let (node, time_micros) = ("n".to_owned(), 1_780_000_000_000_001);
    vec![
        Control::Start { node: node.clone(), time_micros, version: "0.1.0".to_owned() },
        Control::Heartbeat { node: node.clone(), time_micros, sequence: 3 },
        Control::KeyRotation { time_micros, old_vkey: "a".to_owned(), new_vkey: "b".to_owned() },
        Control::KeyRetirement { time_micros, vkey: "a".to_owned() },
        Control::PolicyChange { node: node.clone(), time_micros, policy_set: [1; 32] },
        Control::Restore {
            node: node.clone(),
            time_micros,
            restored_size: 1,
            anchored_size: 2,
            anchored_root: [2; 32],
        },
        Control::Export { node: node.clone(), time_micros, first: 0, end: 4, size: 9 },
        Control::Shards { node, time_micros, shard: 1, count: 2 },
        Control::ShardLink { time_micros, origin: "records.test/other".to_owned(), size: 3, root: [3; 32] },
    ]
}
