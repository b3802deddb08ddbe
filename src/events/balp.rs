//! Every sample against the rules of the profiles it names, written down here once more from BALP's own text
//! (IHE ITI BALP 1.1, `input/fsh`), and against our validator of base R4.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod rules;

use serde_json::{Value, json};

use super::{audit_event, control_event, disclosure_event, samples};
use crate::fhir::{definitions::Definitions, kinds::ResourceType, validate::validate};
use rules::{BALP, Coding, ROLE, Rules, Slice, rules};

/// The codings of a Coding or of a `CodeableConcept`.
fn codings(value: &Value) -> Vec<(String, String)> {
    let one = |coding: &Value| {
        let text = |name: &str| coding[name].as_str().unwrap_or_default().to_owned();
        (text("system"), text("code"))
    };
    value["coding"].as_array().map_or_else(|| vec![one(value)], |all| all.iter().map(one).collect())
}

fn is_any(value: &Value, wanted: &[Coding]) -> bool {
    codings(value).iter().any(|(system, code)| wanted.contains(&(system.as_str(), code.as_str())))
}

/// What of a list breaks its slices.
fn sliced(
    what: &str,
    list: &[Value],
    by: &str,
    slices: &[Slice],
    bounds: (usize, usize),
    closed: bool,
) -> Vec<String> {
    let mut found = Vec::new();
    if list.len() < bounds.0 || list.len() > bounds.1 {
        found.push(format!("{} {what}", list.len()));
    }
    for slice in slices {
        let members: Vec<_> = list.iter().filter(|one| is_any(&one[by], slice.types)).collect();
        if members.len() < slice.min || members.len() > slice.max {
            found.push(format!("{} {what}[{}]", members.len(), slice.name));
        }
        for one in members {
            let missing = slice.needs.iter().filter(|at| one.pointer(at).is_none());
            found.extend(missing.map(|at| format!("{what}[{}] has no {at}", slice.name)));
            let surplus = slice.never.iter().filter(|at| one.pointer(at).is_some());
            found.extend(surplus.map(|at| format!("{what}[{}] has {at}", slice.name)));
            if slice.requestor && one["requestor"] != true {
                found.push(format!("{what}[{}] does not request", slice.name));
            }
            let role = one["role"]["code"].as_str();
            if !slice.roles.is_empty()
                && role.is_some_and(|role| !slice.roles.contains(&role) || one["role"]["system"] != ROLE)
            {
                found.push(format!("{what}[{}] has another role", slice.name));
            }
            if slice.name == "patient" && !one["what"]["reference"].as_str().unwrap().starts_with("Patient/")
            {
                found.push("a patient is no Patient".to_owned());
            }
        }
    }
    let strange = |one: &&Value| !slices.iter().any(|slice| is_any(&one[by], slice.types));
    if closed && list.iter().any(|one| strange(&one)) {
        found.push(format!("{what} is closed"));
    }
    found
}

fn broken(event: &Value, rules: &Rules) -> Vec<String> {
    let list = |name: &str| event[name].as_array().cloned().unwrap_or_default();
    let mut found = Vec::new();
    if rules.kind.is_some_and(|kind| !is_any(&event["type"], &[kind])) {
        found.push("type".to_owned());
    }
    let subtypes = list("subtype");
    let matching = subtypes.iter().filter(|one| is_any(one, rules.subtypes)).count();
    if !rules.subtypes.is_empty() && (matching != 1 || subtypes.len() > rules.subtypes_max) {
        found.push("subtype".to_owned());
    }
    if rules.action.is_some_and(|action| event["action"] != action) {
        found.push("action".to_owned());
    }
    if rules.outcome.is_some_and(|outcome| event["outcome"] != outcome) || event["outcome"].is_null() {
        found.push("outcome".to_owned());
    }
    if event["recorded"].is_null() || event.get("modifierExtension").is_some() {
        found.push("recorded".to_owned());
    }
    let agents = list("agent");
    found.extend(sliced("agent", &agents, "type", &rules.agent, rules.agents, rules.closed));
    let entities = list("entity");
    // ITI-71 closes both lists.
    let closed = rules.closed;
    found.extend(sliced("entity", &entities, rules.entity_by, &rules.entity, rules.entities, closed));
    if let Some(name) = rules.observer {
        let types = rules.agent.iter().find(|slice| slice.name == name).unwrap().types;
        let observer = agents.iter().find(|agent| is_any(&agent["type"], types)).unwrap();
        if observer["who"] != event["source"]["observer"] {
            found.push("the observer is another".to_owned());
        }
    }
    found
}

fn profiles(event: &Value) -> Vec<String> {
    let named = event["meta"]["profile"].as_array().cloned().unwrap_or_default();
    named.iter().map(|one| one.as_str().unwrap().strip_prefix(BALP).unwrap().to_owned()).collect()
}

/// Every AuditEvent of every sample.
fn events() -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for (at, (name, entry)) in (0..).zip(samples::all()) {
        let place = samples::place(at);
        found.push((name.clone(), audit_event(&place, &entry)));
        let disclosed = disclosure_event(&place, &entry);
        found.extend(disclosed.map(|event| (format!("{name}, disclosed"), event)));
    }
    for (at, control) in (1_000..).zip(samples::controls()) {
        found.push((format!("{control:?}"), control_event(&samples::place(at), &control)));
    }
    found
}

#[test]
fn every_rendered_event_keeps_the_profiles_it_names() {
    let rules = rules();
    let mut kept = std::collections::BTreeSet::new();
    for (name, event) in events() {
        for profile in profiles(&event) {
            let rules = rules.iter().find(|rules| rules.id == profile).unwrap_or_else(|| panic!("{profile}"));
            assert_eq!(broken(&event, rules), Vec::<String>::new(), "{name}: {profile}: {event:#}");
            kept.insert(profile);
        }
    }
    let all: std::collections::BTreeSet<_> = rules.iter().map(|rules| rules.id.to_owned()).collect();
    assert_eq!(kept, all, "every profile is rendered by some sample");
}

#[test]
fn every_rendered_event_is_valid_r4() {
    let definitions = Definitions::load().unwrap();
    for (name, event) in events() {
        let problems = validate(&definitions, &event, ResourceType::from_name("AuditEvent"));
        assert!(problems.is_empty(), "{name}: {problems:?}: {event:#}");
    }
}

#[test]
fn each_sort_of_entry_names_the_profile_of_its_sort() {
    let oauth =
        ["IHE.BasicAudit.OAUTHaccessTokenUse.Minimal", "IHE.BasicAudit.OAUTHaccessTokenUse.Comprehensive"];
    let mut seen = 0;
    for (name, event) in events() {
        let named = profiles(&event);
        let mut words = name.split(' ');
        let verb = match words.next().unwrap() {
            "create" => "Create",
            "update" | "patch" => "Update",
            "delete" => "Delete",
            "read" | "vread" => "Read",
            _ => continue,
        };
        if name.ends_with("disclosed") {
            continue;
        }
        let patient = if name.contains("of a patient") { "Patient" } else { "" };
        let mut expected = vec![format!("IHE.BasicAudit.{patient}{verb}")];
        if name.contains("person") {
            expected.extend(oauth.map(str::to_owned));
        }
        assert_eq!(named, expected, "{name}");
        seen += 1;
    }
    assert_eq!(seen, 24);
    let of = |wanted: &str| -> Vec<Value> {
        events().into_iter().filter(|(name, _)| name == wanted).map(|(_, event)| event).collect()
    };
    let searches = of("search");
    let queries: Vec<_> = searches.iter().map(|event| profiles(event)[0].clone()).collect();
    assert_eq!(queries.iter().filter(|one| *one == "IHE.BasicAudit.PatientQuery").count(), 2);
    assert_eq!(queries.iter().filter(|one| *one == "IHE.BasicAudit.Query").count(), 4);
    for signed_in in ["login", "token"] {
        assert_eq!(profiles(&of(signed_in)[0]), ["IHE.IUA.71"]);
    }
    for refused in ["hidden", "broken", "anonymous", "a refused token", "edge"] {
        let event = &of(refused)[0];
        assert_ne!(event["outcome"], "0", "{refused}");
        assert!(
            !profiles(event).iter().any(|one| !oauth.contains(&one.as_str())),
            "{refused} names no success"
        );
    }
}

#[test]
fn whoever_reads_is_the_destination_and_whoever_asks_or_writes_the_source() {
    for (name, event) in events() {
        let role_of =
            |at: usize| event["agent"][at]["type"]["coding"][0]["code"].as_str().unwrap().to_owned();
        let expected = match event["subtype"][0]["code"].as_str().unwrap() {
            "read" | "vread" | "history-instance" => ("110152", "110153"),
            "create" | "update" | "patch" | "search-type" => ("110153", "110152"),
            "delete" => ("110150", "custodian"),
            _ => continue,
        };
        assert_eq!((role_of(0).as_str(), role_of(1).as_str()), expected, "{name}");
    }
}

#[test]
fn one_agent_at_most_is_the_initiator_and_carries_the_token() {
    for (name, event) in events() {
        let agents = event["agent"].as_array().unwrap();
        let initiators: Vec<_> = agents.iter().filter(|agent| agent["requestor"] == true).collect();
        assert!(initiators.len() <= 1, "{name}");
        if name.starts_with("read") && name.contains("person") {
            assert_eq!(
                initiators[0]["policy"],
                json!(["urn:ietf:params:oauth:jti:01890a5d-ac96-774b-bcce-b302099a8057"])
            );
        }
    }
}

#[test]
fn a_broken_rule_is_noticed() {
    let rules = rules();
    let find = |id: &str| rules.iter().find(|rules| rules.id == id).unwrap();
    let (_, read) = events().into_iter().find(|(name, _)| name == "read of a patient by a person").unwrap();
    let spoil = |spoil: &dyn Fn(&mut Value)| {
        let mut event = read.clone();
        spoil(&mut event);
        broken(&event, find("IHE.BasicAudit.PatientRead"))
    };
    assert_eq!(spoil(&|_| {}), Vec::<String>::new());
    assert_eq!(spoil(&|event| event["action"] = json!("E")), ["action"]);
    assert_eq!(spoil(&|event| event["agent"][0]["type"]["coding"][0]["code"] = json!("110153")).len(), 2);
    assert_eq!(spoil(&|event| event["agent"][0]["network"] = Value::Null).len(), 0, "null is not absence");
    assert_eq!(
        spoil(&|event| drop(event["agent"][0].as_object_mut().unwrap().remove("network"))),
        ["agent[client] has no /network"]
    );
    assert_eq!(
        spoil(&|event| drop(event["entity"].as_array_mut().unwrap().remove(0))),
        ["0 entity[patient]"]
    );
    let doubled = |event: &mut Value| {
        let again = event["entity"][1].clone();
        event["entity"].as_array_mut().unwrap().push(again);
    };
    assert_eq!(spoil(&doubled), ["2 entity[data]"]);
    assert_eq!(
        spoil(&|event| event["agent"][2]["requestor"] = json!(false)),
        ["agent[user] does not request"]
    );
    assert_eq!(spoil(&|event| event["outcome"] = json!("4")), ["outcome"]);
    let (_, token) = events().into_iter().find(|(name, _)| name == "login").unwrap();
    let mut open = token.clone();
    open["entity"].as_array_mut().unwrap().push(json!({"role": {"system": ROLE, "code": "4"}}));
    assert_eq!(broken(&open, find("IHE.IUA.71")), ["2 entity", "entity is closed"]);
    let (_, sent) =
        events().into_iter().find(|(name, _)| name == "read of a patient by a partner, disclosed").unwrap();
    let mut other = sent.clone();
    other["source"]["observer"] = json!({"display": "somebody else"});
    assert_eq!(broken(&other, find("IHE.BasicAudit.PrivacyDisclosure.Source")), ["the observer is another"]);
}

#[test]
fn the_same_entry_is_the_same_bytes() {
    let bytes = |event: &Value| crate::fhir::json::to_bytes(event);
    let (first, second) = (events(), events());
    for ((name, one), (_, other)) in first.iter().zip(&second) {
        assert_eq!(bytes(one), bytes(other), "{name}");
    }
    let ids: std::collections::BTreeSet<_> =
        first.iter().map(|(_, event)| event["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids.len(), first.len(), "no two events have one id");
}
