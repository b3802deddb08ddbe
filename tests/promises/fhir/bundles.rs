//! batch and transaction: one commit for all, or nothing; each for itself.

use custodia_support::people::{Partner, Person};
use serde_json::{Value, json};

use crate::clinic::{Clinic, bundle, ids, observation, patient, without_id};

const ANN: &str = "urn:uuid:0a6b9f3e-6a3e-4d6b-9d3c-2f1f3c1f6a01";
const BEA: &str = "urn:uuid:0a6b9f3e-6a3e-4d6b-9d3c-2f1f3c1f6a02";

/// An entry with everything.
fn entry(full_url: &str, method: &str, url: &str, resource: Value) -> Value {
    json!({"fullUrl": full_url, "resource": resource, "request": {"method": method, "url": url}})
}

fn transaction(entries: &[Value]) -> Value {
    json!({"resourceType": "Bundle", "type": "transaction", "entry": entries})
}

/// Ids that the answer to a transaction names, in its order.
fn created(answer: &Value) -> Vec<String> {
    let location = |entry: &Value| entry["response"]["location"].as_str().unwrap().to_owned();
    answer["entry"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| location(e).split('/').nth(5).unwrap().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn references_between_entries_become_ids_in_circles_too() {
    let clinic = Clinic::open().await;
    let see = |other: &str| json!({"resourceType": "Patient", "link": [{"other": {"reference": other}, "type": "seealso"}]});
    let mut of_ann = without_id(observation("x", "?", "a"));
    of_ann["subject"] = json!({"reference": ANN});
    of_ann["note"] = json!([{"text": format!("not a reference: {ANN}")}]);
    let sent = transaction(&[
        entry("urn:uuid:0a6b9f3e-6a3e-4d6b-9d3c-2f1f3c1f6a03", "POST", "Observation", of_ann),
        entry(ANN, "POST", "Patient", see(BEA)),
        entry(BEA, "POST", "Patient", see(ANN)),
    ]);
    let answer = clinic.importer.post("/fhir", &sent).await.expect(200).json();
    assert_eq!(answer["type"], "transaction-response");
    let ids = created(&answer);
    let statuses: Vec<_> =
        answer["entry"].as_array().unwrap().iter().map(|e| e["response"]["status"].clone()).collect();
    assert_eq!(statuses, ["201 Created", "201 Created", "201 Created"]);
    let read = async |kind: &str, id: &str| {
        clinic.importer.get(&format!("/fhir/{kind}/{id}")).await.expect(200).json()
    };
    let stored = read("Observation", &ids[0]).await;
    assert_eq!(stored["subject"]["reference"], format!("Patient/{}", ids[1]));
    assert_eq!(stored["note"][0]["text"], format!("not a reference: {ANN}"));
    assert_eq!(
        read("Patient", &ids[1]).await["link"][0]["other"]["reference"],
        format!("Patient/{}", ids[2])
    );
    assert_eq!(
        read("Patient", &ids[2]).await["link"][0]["other"]["reference"],
        format!("Patient/{}", ids[1])
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_runs_in_fhirs_order_and_answers_in_the_senders() {
    let clinic = Clinic::open().await;
    let mut changed = observation("pulse", "ann", "80/min");
    changed["status"] = json!("amended");
    let sent = bundle(
        "transaction",
        &[
            ("GET", "Observation/pulse", None),
            ("GET", "Patient/ann", None),
            ("PUT", "Observation/pulse", Some(changed)),
            ("DELETE", "CareTeam/team", None),
            ("POST", "Patient", Some(json!({"resourceType": "Patient"}))),
        ],
    );
    let answer = clinic.importer.post("/fhir", &sent).await.expect(200).json();
    let entries = answer["entry"].as_array().unwrap();
    let statuses: Vec<_> = entries.iter().map(|e| e["response"]["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["200 OK", "200 OK", "200 OK", "204 No Content", "201 Created"]);
    assert_eq!(entries[0]["resource"]["status"], "amended", "a read sees what the transaction writes");
    assert_eq!(entries[1]["resource"]["id"], "ann");
    assert_eq!(entries[2]["response"]["etag"], "W/\"2\"");
    let _gone = clinic.importer.get("/fhir/CareTeam/team").await.expect(410);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_bad_entry_and_nothing_is_stored_but_the_refusal() {
    let clinic = Clinic::open().await;
    let good = || ("POST", "Patient", Some(json!({"resourceType": "Patient", "active": true})));
    let stale = json!({"resource": patient("ann", &[]), "request": {"method": "PUT", "url": "Patient/ann", "ifMatch": "W/\"9\""}});
    let mut with_stale = bundle("transaction", &[good()]);
    with_stale["entry"].as_array_mut().unwrap().push(stale);
    let twice = [
        entry(ANN, "POST", "Patient", json!({"resourceType": "Patient"})),
        entry(ANN, "POST", "Patient", json!({"resourceType": "Patient"})),
    ];
    let mut dangling = without_id(observation("x", "?", "a"));
    dangling["subject"] = json!({"reference": BEA});
    let none_exist = json!({"resource": {"resourceType": "Patient"}, "request": {"method": "POST", "url": "Patient", "ifNoneExist": "colour=1"}});
    let of_two = |other: (&str, &str, Option<Value>)| bundle("transaction", &[good(), other]);
    let cases: [(&str, Value, u16); 13] = [
        (
            "an invalid resource",
            of_two(("POST", "Patient", Some(json!({"resourceType": "Patient", "birthDate": "x"})))),
            422,
        ),
        (
            "a resource of another type",
            of_two(("POST", "Patient", Some(json!({"resourceType": "Observation"})))),
            422,
        ),
        ("no resource", of_two(("POST", "Patient", None)), 400),
        ("a stale If-Match", with_stale, 412),
        (
            "the same record twice",
            bundle(
                "transaction",
                &[good(), ("PUT", "Patient/z", Some(patient("z", &[]))), ("DELETE", "Patient/z", None)],
            ),
            400,
        ),
        ("a fullUrl twice", transaction(&twice), 422),
        ("an unresolved urn", of_two(("POST", "Observation", Some(dangling))), 400),
        ("an absent record to delete", of_two(("DELETE", "Patient/nobody", None)), 404),
        ("an absent record to read", of_two(("GET", "Patient/nobody", None)), 404),
        ("a condition of nothing R4 knows", transaction(&[none_exist]), 400),
        (
            "an operation",
            of_two(("POST", "Patient/$match", Some(json!({"resourceType": "Parameters"})))),
            400,
        ),
        ("an unknown method", of_two(("FETCH", "Patient/ann", None)), 422),
        ("another server's URL", of_two(("GET", "https://elsewhere.test/fhir/Patient/ann", None)), 400),
    ];
    for (what, sent, status) in cases {
        let records = count(&clinic).await;
        let before = clinic.server.size().await;
        let reply = clinic.importer.post("/fhir", &sent).await;
        assert_eq!(reply.status, status, "{what}: {}", reply.text());
        assert_eq!(reply.json()["resourceType"], "OperationOutcome", "{what}");
        assert_eq!(count(&clinic).await, records, "{what}: something was stored");
        assert_eq!(clinic.server.size().await, before + 1, "{what}: the log has the refusal alone");
        let refusal = clinic.server.entry(reply.receipt().unwrap()).await;
        assert_eq!((refusal.event.outcome.status, refusal.object.items.len()), (status, 0), "{what}");
    }
}

/// Rows of records, current and earlier, and of keys.
async fn count(clinic: &Clinic) -> i64 {
    let owner = clinic.server.database().connect(custodia::store::cluster::Role::Owner).await;
    let sql = "SELECT (SELECT count(*) FROM record) + (SELECT count(*) FROM record_version)
               + (SELECT count(*) FROM data_key) + (SELECT count(*) FROM relation)";
    owner.query_one(sql, &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_forbidden_entry_and_nothing_is_stored() {
    let clinic = Clinic::open().await;
    let records = count(&clinic).await;
    let desk = clinic.person(Person::FrontDesk).await;
    let sent = bundle(
        "transaction",
        &[
            ("POST", "Patient", Some(json!({"resourceType": "Patient"}))),
            ("POST", "Observation", Some(without_id(observation("x", "ann", "a")))),
        ],
    );
    let reply = desk.post("/fhir", &sent).await.expect(403);
    assert_eq!(reply.issue(), "forbidden");
    // The stranger may write observations, though not of Ann.
    let stranger = clinic.person(Person::Stranger).await;
    let _refused = stranger.post("/fhir", &sent).await.expect(403);
    let mut read = sent.clone();
    read["entry"][1] = json!({"request": {"method": "GET", "url": "Observation/pulse"}});
    let _hidden = stranger.post("/fhir", &read).await.expect(404);
    assert_eq!(count(&clinic).await, records);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_physician_registers_a_patient_with_her_first_records_at_once() {
    let clinic = Clinic::open().await;
    let stranger = clinic.person(Person::Stranger).await;
    let mut first = without_id(observation("x", "?", "first"));
    first["subject"] = json!({"reference": ANN});
    let new = json!({"resourceType": "Patient", "generalPractitioner": [{"reference": "Practitioner/cold"}]});
    let sent = transaction(&[
        entry("urn:uuid:0a6b9f3e-6a3e-4d6b-9d3c-2f1f3c1f6a09", "POST", "Observation", first.clone()),
        entry(ANN, "POST", "Patient", new),
    ]);
    let answer = stranger.post("/fhir", &sent).await.expect(200).json();
    let _mine = stranger.get(&format!("/fhir/Observation/{}", created(&answer)[0])).await.expect(200);
    // Nobody registers a patient whom others have written about already.
    clinic.put(&observation("early", "later", "before she was registered")).await;
    let mut about = without_id(observation("x", "later", "claimed"));
    about["subject"] = json!({"reference": "Patient/later"});
    let claim = bundle(
        "transaction",
        &[("PUT", "Patient/later", Some(patient("later", &[]))), ("POST", "Observation", Some(about))],
    );
    let _refused = stranger.post("/fhir", &claim).await.expect(403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_entries_are_one_transaction_and_one_more_is_refused() {
    let clinic = Clinic::open().await;
    let many = |count: usize| {
        let one = json!({"resource": {"resourceType": "Basic", "code": {"text": "x"}, "subject": {"reference": "Patient/ann"}},
                         "request": {"method": "POST", "url": "Basic"}});
        transaction(&vec![one; count])
    };
    let before = clinic.server.size().await;
    let answer = clinic.importer.post("/fhir", &many(5_000)).await.expect(200);
    assert_eq!(answer.json()["entry"].as_array().unwrap().len(), 5_000);
    let written: usize =
        clinic.server.entries(before).await.iter().map(|one| one.entry.object.items.len()).sum();
    assert_eq!(written, 5_000);
    let size = clinic.server.size().await;
    let refused = clinic.importer.post("/fhir", &many(5_001)).await.expect(400);
    assert_eq!(refused.issue(), "too-costly");
    assert_eq!(clinic.server.size().await, size + 1);
    let counted = clinic.importer.get("/fhir/Basic?patient=ann&_summary=count").await.json();
    assert_eq!(counted["total"], 5_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_request_of_a_batch_stands_for_itself() {
    let clinic = Clinic::open().await;
    let registry = clinic.server.partner(Partner::Registry);
    let sent = bundle(
        "batch",
        &[
            ("GET", "Patient/ann", None),
            ("GET", "Observation/pulse", None),
            ("GET", "Patient?_id=ann", None),
            ("POST", "Patient", Some(json!({"resourceType": "Patient"}))),
            ("GET", "Patient/nobody", None),
            ("PATCH", "Patient/ann", None),
        ],
    );
    let before = clinic.server.size().await;
    let answer = registry.post("/fhir", &sent).await.expect(200).json();
    assert_eq!(answer["type"], "batch-response");
    let entries = answer["entry"].as_array().unwrap();
    let statuses: Vec<&str> =
        entries.iter().map(|e| &e["response"]["status"].as_str().unwrap()[..3]).collect();
    assert_eq!(statuses, ["200", "403", "200", "403", "404", "400"]);
    assert_eq!(entries[1]["response"]["outcome"]["issue"][0]["code"], "forbidden");
    assert_eq!(ids(&entries[2]["resource"]), ["ann"]);
    assert_eq!(clinic.server.size().await, before + 6, "each leaves its own entry");
    let _empty = registry.post("/fhir", &bundle("batch", &[])).await.expect(200);
    let document = json!({"resourceType": "Bundle", "type": "collection"});
    assert_eq!(registry.post("/fhir", &document).await.expect(400).issue(), "value");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_searches_of_a_bundle_share_one_bound() {
    const RECORDS: usize = 100;
    const SEARCHES: usize = 102;
    let clinic = Clinic::open().await;
    let new: Vec<_> = (0..RECORDS)
        .map(|n| ("POST", "Observation", Some(without_id(observation("x", "ann", &n.to_string())))))
        .collect();
    let _made = clinic.importer.post("/fhir", &bundle("transaction", &new)).await.expect(200);
    let search = ("GET", "Observation?patient=ann&_count=1000&_elements=id", None);
    let sent = bundle("batch", &vec![search; SEARCHES]);
    let reply = clinic.importer.post("/fhir", &sent).await.expect(200).json();
    let statuses: Vec<&str> = reply["entry"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["response"]["status"].as_str().unwrap())
        .collect();
    assert!(statuses[0].starts_with("200"), "{statuses:?}");
    // With the clinic's own observation each search opens 101: the bound of 10,000 is met within the batch.
    assert!(statuses.iter().any(|status| status.starts_with("400")), "{statuses:?}");
    assert!(reply.to_string().contains("too-costly"));
}
