//! References that lead nowhere: accepted, told, or refused as the tenant wants; and what a hidden record gives away of
//! itself by them, which is nothing.

use custodia::{clock::Clock, config::References};
use custodia_audit::Action;
use custodia_support::{
    client::Client,
    cluster::TestCluster,
    people::{Partner, Person},
    server::TestServer,
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::clinic::{Clinic, bundle, observation, outcome, patient, without_id};

/// A clinic whose practitioners are records: everything refers to something.
async fn clinic(references: References) -> Clinic {
    let change = move |config: &mut custodia::config::Config| config.fhir.references = references;
    let server = TestServer::with(TestCluster::quick().await, Clock::machine(), change).await;
    let importer = server.partner(Partner::Importer);
    for id in ["grey", "cold", "ray"] {
        let practitioner = json!({"resourceType": "Practitioner", "id": id});
        let _stored = importer.put(&format!("/fhir/Practitioner/{id}"), &practitioner).await.expect(201);
    }
    Clinic::on(server).await
}

/// An observation of Ann's in an encounter.
fn during(id: &str, encounter: &str) -> Value {
    let mut one = observation(id, "ann", "x");
    one["encounter"] = json!({"reference": format!("Encounter/{encounter}")});
    one
}

fn encounter(id: &str, patient: &str) -> Value {
    json!({"resourceType": "Encounter", "id": id, "status": "finished",
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
        "subject": {"reference": format!("Patient/{patient}")}})
}

fn nowhere(severity: &str, place: &str) -> Value {
    json!({"severity": severity, "code": "not-found", "expression": [place], "diagnostics": "integrity.reference",
        "details": {"text": "The record this refers to is not there, or is not yours to read."}})
}

async fn delete(client: &Client, path: &str) -> u16 {
    client.delete(path).await.status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reference_that_leads_nowhere_is_accepted_told_or_refused() {
    for (mode, status, issues) in
        [(References::Off, 201, 1), (References::Warn, 201, 2), (References::Enforce, 422, 1)]
    {
        let clinic = clinic(mode).await;
        let grey = clinic.person(Person::Physician).await;
        let lost = without_id(during("x", "nowhere")).to_string();
        let prefer = [("prefer", "return=OperationOutcome")];
        let reply = grey.send(Method::POST, "/fhir/Observation", &prefer, lost.clone()).await.expect(status);
        let said = reply.json();
        assert_eq!(said["issue"].as_array().unwrap().len(), issues, "{mode:?}: {said}");
        let severity = if mode == References::Warn { "warning" } else { "error" };
        if mode != References::Off {
            let last = said["issue"].as_array().unwrap().last().unwrap();
            assert_eq!(*last, nowhere(severity, "Observation.encounter.reference"), "{mode:?}");
        }
        let plain = grey.send(Method::POST, "/fhir/Observation", &[], lost).await.expect(status);
        assert_eq!(plain.json()["resourceType"] == "Observation", mode != References::Enforce);
        // What leads somewhere, elsewhere, or to itself is nobody's business.
        clinic.put(&encounter("visit", "ann")).await;
        let mut good = without_id(during("x", "visit"));
        good["performer"] = json!([{"reference": "https://elsewhere.example/fhir/Practitioner/1"},
            {"identifier": {"value": "x"}}, {"reference": "#inside"}]);
        good["contained"] = json!([{"resourceType": "Practitioner", "id": "inside"}]);
        let made = grey.send(Method::POST, "/fhir/Observation", &prefer, good.to_string()).await.expect(201);
        assert_eq!(made.json()["issue"].as_array().unwrap().len(), 1, "{mode:?}: {}", made.text());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_refer_to_what_they_write_and_not_to_what_they_delete() {
    let clinic = clinic(References::Enforce).await;
    clinic.put(&encounter("old", "ann")).await;
    let both = [
        ("PUT", "Observation/o1", Some(during("o1", "new"))),
        ("PUT", "Encounter/new", Some(encounter("new", "ann"))),
    ];
    let _stored = clinic.importer.post("/fhir", &bundle("transaction", &both)).await.expect(200);
    let against = [("DELETE", "Encounter/old", None), ("PUT", "Observation/o2", Some(during("o2", "old")))];
    let refused = clinic.importer.post("/fhir", &bundle("transaction", &against)).await.expect(422).json();
    assert_eq!(refused["issue"], json!([nowhere("error", "Bundle.entry[1].resource.encounter.reference")]));
    // What refers to it goes with it, or is made to refer to something else.
    let with_it = [("DELETE", "Encounter/new", None), ("PUT", "Observation/o1", Some(during("o1", "old")))];
    let _gone = clinic.importer.post("/fhir", &bundle("transaction", &with_it)).await.expect(200);
    let all = [("DELETE", "Encounter/old", None), ("DELETE", "Observation/o1", None)];
    let _gone = clinic.importer.post("/fhir", &bundle("transaction", &all)).await.expect(200);
    let patched = json!([{"op": "add", "path": "/encounter", "value": {"reference": "Encounter/old"}}]);
    let media = [("content-type", "application/json-patch+json")];
    let reply =
        clinic.importer.send(Method::PATCH, "/fhir/Observation/pulse", &media, patched.to_string()).await;
    let entry = clinic.server.entry(reply.expect(422).receipt().unwrap()).await;
    assert_eq!(entry.object.items.len(), 1, "the version that was read is named");

    let warned = self::clinic(References::Warn).await;
    let lost = [("POST", "Observation", Some(without_id(during("x", "nowhere"))))];
    let reply = warned.importer.post("/fhir", &bundle("transaction", &lost)).await.expect(200).json();
    let place = "Observation.encounter.reference";
    assert_eq!(reply["entry"][0]["response"]["outcome"]["issue"], json!([nowhere("warning", place)]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_referred_to_in_the_callers_view_is_not_deleted() {
    let clinic = clinic(References::Enforce).await;
    clinic.put(&encounter("visit", "ann")).await;
    clinic.put(&during("seen", "visit")).await;
    let grey = clinic.person(Person::Physician).await;
    let refused = grey.delete("/fhir/Encounter/visit").await.expect(409);
    assert_eq!(
        refused.json(),
        outcome("conflict", "Other records refer to this one. Delete or change them first.")
    );
    let entry = clinic.server.entry(refused.receipt().unwrap()).await;
    let named: Vec<_> = entry.object.items.iter().map(|item| (item.id.as_str(), item.action)).collect();
    assert_eq!(named, [("seen", Action::Released)], "what stood in the way is named");
    assert_eq!(delete(&grey, "/fhir/Encounter?patient=ann&_id=visit").await, 409);
    let inside = bundle("transaction", &[("DELETE", "Encounter/visit", None)]);
    let _refused = grey.post("/fhir", &inside).await.expect(409);
    let batch = bundle("batch", &[("DELETE", "Encounter/visit", None)]);
    let reply = grey.post("/fhir", &batch).await.expect(200).json();
    assert_eq!(reply["entry"][0]["response"]["status"], "409 Conflict");
    // An update that refers to it no longer, and it may go.
    clinic.put(&observation("seen", "ann", "x")).await;
    assert_eq!(delete(&grey, "/fhir/Encounter/visit").await, 204);

    let off = self::clinic(References::Warn).await;
    off.put(&encounter("visit", "ann")).await;
    off.put(&during("seen", "visit")).await;
    assert_eq!(delete(&off.importer, "/fhir/Encounter/visit").await, 204, "a warning keeps nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hidden_record_is_not_felt() {
    let clinic = clinic(References::Enforce).await;
    clinic.put(&patient("bob", &["Practitioner/cold"])).await;
    clinic.put(&encounter("hidden", "bob")).await;
    let grey = clinic.person(Person::Physician).await;
    // To point at what is hidden and at what never was is one thing.
    let mut said = Vec::new();
    for target in ["hidden", "never"] {
        let reply = grey.post("/fhir/Observation", &without_id(during("x", target))).await.expect(422);
        said.push(reply.body);
    }
    assert_eq!(said[0], said[1]);
    // Nor does what refers to a record keep it, when whoever deletes it may not see that.
    clinic.put(&encounter("visit", "ann")).await;
    let mut referrer = observation("of-bob", "bob", "x");
    referrer["encounter"] = json!({"reference": "Encounter/visit"});
    clinic.put(&referrer).await;
    assert_eq!(delete(&clinic.importer, "/fhir/Encounter/visit").await, 409, "the importer sees both");
    assert_eq!(delete(&grey, "/fhir/Encounter/visit").await, 204);
    // Another tenant has its own mode, and its own records.
    let far = clinic.server.partner(Partner::FarImporter);
    assert_eq!(far.post("/fhir/Observation", &without_id(during("x", "visit"))).await.status, 422);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_has_its_own_mode_and_older_records_are_found_once_it_changes() {
    let clinic = clinic(References::Off).await;
    clinic.put(&encounter("visit", "ann")).await;
    clinic.put(&during("seen", "visit")).await;
    assert_eq!(clinic.server.app().integrity.of("clinic"), References::Off);
    let (mut config, database, folder) = clinic.server.stop().await;
    config.fhir.references_of = vec!["clinic=enforce".to_owned()];
    let running = custodia::host::start(config, Clock::machine()).await.expect("the server starts again");
    let rows = running.app().store.tenants().await.unwrap();
    let tenant = rows.iter().find(|row| row.name == "clinic").unwrap().id();
    let keys = running.app().keyring.tenant(tenant).ok().unwrap();
    let kind = custodia::fhir::kinds::ResourceType::from_name("Encounter").unwrap();
    let mark = keys.referrer_mark(kind, keys.opaque(kind, "visit"));
    let found = running.app().store.bearing(tenant, mark, 10).await.unwrap();
    assert_eq!(found.len(), 1, "marks were made anew at the start");
    assert_eq!(running.app().integrity.of("clinic"), References::Enforce);
    assert_eq!(running.app().integrity.of("other"), References::Off);
    running.stop().await.unwrap();
    drop((database, folder));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_refers_to_a_thousand_others_at_the_most() {
    let clinic = clinic(References::Enforce).await;
    let list = |count: usize| {
        let entries: Vec<Value> =
            (0..count).map(|n| json!({"item": {"reference": format!("Observation/n{n}")}})).collect();
        json!({"resourceType": "List", "status": "current", "mode": "working", "entry": entries})
    };
    let most = clinic.importer.post("/fhir/List", &list(1_000)).await.expect(422).json();
    assert_eq!(most["issue"].as_array().unwrap().len(), 100, "so many places are named");
    let more = clinic.importer.post("/fhir/List", &list(1_001)).await.expect(422).json();
    assert_eq!(more["issue"][0]["code"], "too-costly");
}
