//! `$validate`, `$meta` and its changes, `$everything`, and searches in a patient's compartment.

use custodia_audit::Action;
use custodia_support::{client::Client, people::Person};
use serde_json::{Value, json};

use crate::clinic::{Clinic, found, ids, next, observation, patient};

fn parameters(parts: &[Value]) -> Value {
    json!({"resourceType": "Parameters", "parameter": parts})
}

fn meta(meta: &Value) -> Value {
    parameters(&[json!({"name": "meta", "valueMeta": meta})])
}

/// What a page of records holds, as `Type/id`.
fn names(bundle: &Value) -> Vec<String> {
    let name =
        |one: &Value| format!("{}/{}", one["resourceType"].as_str().unwrap(), one["id"].as_str().unwrap());
    found(bundle).iter().map(name).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn validate_says_what_a_write_would_and_stores_nothing() {
    let clinic = Clinic::open().await;
    let good = observation("pulse", "ann", "x");
    let bad = json!({"resourceType": "Observation", "id": "pulse", "status": "done", "code": {}});
    let wrap = |resource: &Value, mode: &str| {
        parameters(&[
            json!({"name": "resource", "resource": resource}),
            json!({"name": "mode", "valueCode": mode}),
        ])
    };
    let base = "http://hl7.org/fhir/StructureDefinition/Observation";
    let on_type = "/fhir/Observation/$validate";
    let on_pulse = "/fhir/Observation/pulse/$validate";
    // That it has no narrative is worth a warning; what refuses comes first.
    let cases = [
        (on_type.to_owned(), good.clone(), "warning"),
        (on_type.to_owned(), bad.clone(), "error"),
        (on_type.to_owned(), wrap(&good, "create"), "warning"),
        (on_type.to_owned(), wrap(&bad, "create"), "error"),
        (format!("{on_type}?mode=update"), crate::clinic::without_id(good.clone()), "error"),
        (format!("{on_type}?profile={base}"), good.clone(), "warning"),
        (format!("{on_type}?profile={base}%7C4.0.1"), good.clone(), "warning"),
        (on_type.to_owned(), patient("ann", &[]), "error"),
        (on_pulse.to_owned(), good.clone(), "warning"),
        (on_pulse.to_owned(), observation("other", "ann", "x"), "error"),
        (on_pulse.to_owned(), wrap(&good, "update"), "warning"),
        (on_pulse.to_owned(), parameters(&[json!({"name": "mode", "valueCode": "delete"})]), "information"),
    ];
    for (path, body, severity) in cases {
        let before = clinic.server.size().await;
        let reply = clinic.importer.post(&path, &body).await.expect(200).json();
        assert_eq!(reply["resourceType"], "OperationOutcome");
        assert_eq!(reply["issue"][0]["severity"], severity, "{path} {body}: {reply}");
        assert_eq!(clinic.server.size().await, before + 1, "{path}");
    }
    let refused = [
        (format!("{on_type}?profile=http://example.org/own"), &good, 400, "not-supported"),
        (format!("{on_type}?profile={base}s"), &good, 400, "not-supported"),
        (format!("{on_type}?mode=profile"), &good, 400, "value"),
        (format!("{on_type}?mode=delete"), &good, 400, "required"),
        (format!("{on_type}?colour=red"), &good, 400, "not-supported"),
        ("/fhir/Observation/nothing/$validate?mode=delete".to_owned(), &good, 404, "not-found"),
    ];
    for (path, body, status, code) in refused {
        let reply = clinic.importer.post(&path, body).await;
        assert_eq!((reply.status, reply.issue().as_str()), (status, code), "{path}");
    }
    assert_eq!(clinic.importer.get("/fhir/Observation/pulse").await.header("etag"), Some("W/\"1\""));
    // Whether it could be deleted is told to whom it is not hidden.
    let stranger = clinic.person(Person::Stranger).await;
    let delete = parameters(&[json!({"name": "mode", "valueCode": "delete"})]);
    let hidden = stranger.post(on_pulse, &delete).await.expect(404);
    let absent = stranger.post("/fhir/Observation/nothing/$validate", &delete).await.expect(404);
    assert_eq!(hidden.body, absent.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn meta_is_told_added_to_and_taken_from() {
    let clinic = Clinic::open().await;
    let path = "/fhir/Observation/pulse";
    let told = clinic.importer.get(&format!("{path}/$meta")).await.expect(200);
    assert_eq!(told.header("etag"), Some("W/\"1\""));
    assert_eq!(told.json()["parameter"][0]["valueMeta"]["versionId"], "1");
    let tags = json!({"tag": [{"system": "urn:t", "code": "a"}, {"system": "urn:t", "code": "b"}]});
    let added = clinic.importer.post(&format!("{path}/$meta-add"), &meta(&tags)).await.expect(200);
    assert_eq!(added.json()["parameter"][0]["valueMeta"]["tag"], tags["tag"]);
    assert_eq!(added.header("etag"), Some("W/\"2\""));
    let one = json!({"tag": [{"system": "urn:t", "code": "a"}]});
    let left = clinic.importer.post(&format!("{path}/$meta-delete"), &meta(&one)).await.expect(200).json();
    assert_eq!(left["parameter"][0]["valueMeta"]["tag"], json!([{"system": "urn:t", "code": "b"}]));
    let stored = clinic.importer.get(path).await.json();
    assert_eq!((&stored["meta"]["tag"][0]["code"], &stored["code"]["text"]), (&json!("b"), &json!("72/min")));
    for body in [parameters(&[]), meta(&json!({"versionId": "7"})), json!({"resourceType": "Patient"})] {
        let reply = clinic.importer.post(&format!("{path}/$meta-add"), &body).await;
        assert!(matches!(reply.status, 400 | 422), "{body}: {}", reply.text());
    }

    // A label decides who may see the record: whoever may not see the labelled one may not label it away.
    let restricted = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality";
    let label = meta(&json!({"security": [{"system": restricted, "code": "V"}]}));
    let physician = clinic.person(Person::Physician).await;
    let _too_far = physician.post(&format!("{path}/$meta-add"), &label).await.expect(403);
    let nurse = clinic.person(Person::Nurse).await;
    let _read = nurse.get(&format!("{path}/$meta")).await.expect(200);
    let stranger = clinic.person(Person::Stranger).await;
    let _hidden = stranger.get(&format!("{path}/$meta")).await.expect(404);
    let _hidden = stranger.post(&format!("{path}/$meta-delete"), &meta(&one)).await.expect(404);
}

/// Every page of a search, put together.
async fn all(client: &Client, path: &str) -> Vec<String> {
    let (mut found, mut page) = (Vec::new(), Some(path.to_owned()));
    while let Some(url) = page {
        let bundle = client.get(&url).await.expect(200).json();
        assert_eq!(bundle["type"], "searchset");
        found.extend(names(&bundle));
        page = next(&bundle);
    }
    found
}

async fn ward() -> Clinic {
    let clinic = Clinic::open().await;
    clinic.put(&patient("bea", &[])).await;
    let stay = json!({"resourceType": "Encounter", "id": "stay", "status": "finished", "class": {"code": "IMP"},
        "subject": {"reference": "Patient/ann"}});
    clinic.put(&stay).await;
    let mut of_stay = observation("of-stay", "ann", "x");
    of_stay["encounter"] = json!({"reference": "Encounter/stay"});
    clinic.put(&of_stay).await;
    clinic.put(&observation("beas", "bea", "y")).await;
    let mut shared = observation("shared", "ann", "z");
    shared["performer"] = json!([{"reference": "Patient/bea"}]);
    clinic.put(&shared).await;
    clinic.put(&json!({"resourceType": "Practitioner", "id": "grey"})).await;
    clinic
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_of_a_patient_is_every_record_about_her_that_may_be_seen() {
    let clinic = ward().await;
    let path = "/fhir/Patient/ann/$everything";
    let whole = all(&clinic.importer, path).await;
    let expected = [
        "CareTeam/team",
        "Encounter/stay",
        "Observation/pulse",
        "Observation/of-stay",
        "Observation/shared",
        "Patient/ann",
    ];
    assert_eq!(whole, expected);
    assert_eq!(clinic.importer.get(path).await.json()["total"], 6);
    for count in 1..=6 {
        assert_eq!(all(&clinic.importer, &format!("{path}?_count={count}")).await, expected, "{count}");
    }
    let some = all(&clinic.importer, &format!("{path}?_type=Patient,Encounter")).await;
    assert_eq!(some, ["Encounter/stay", "Patient/ann"]);
    assert_eq!(all(&clinic.importer, &format!("{path}?_since=2999-01-01")).await, Vec::<String>::new());
    assert_eq!(all(&clinic.importer, &format!("{path}?_since=2020-01-01")).await.len(), 6);
    let summary = clinic.importer.get(&format!("{path}?_summary=true")).await.json();
    assert_eq!(found(&summary)[0]["meta"]["tag"][0]["code"], "SUBSETTED");
    for query in ["_type=Pet", "_count=x", "_since=x", "start=2020", "_cursor=x"] {
        assert_eq!(clinic.importer.get(&format!("{path}?{query}")).await.status, 400, "{query}");
    }
    // A record of two patients is for whom both are treated by; a label hides one from the nurse alone.
    let physician = clinic.person(Person::Physician).await;
    let seen = all(&physician, path).await;
    assert_eq!(
        seen,
        ["CareTeam/team", "Encounter/stay", "Observation/pulse", "Observation/of-stay", "Patient/ann"]
    );
    let before = clinic.server.size().await;
    let reply = physician.get(path).await.expect(200);
    assert_eq!(clinic.server.size().await, before + 1);
    let items = clinic.server.entry(reply.receipt().unwrap()).await.object.items;
    assert_eq!(items.len(), seen.len(), "every record is named");
    assert!(items.iter().all(|item| item.action == Action::Released));
    // The front desk sees who she is and nothing else; a link is its caller's own.
    let desk = clinic.person(Person::FrontDesk).await;
    assert_eq!(all(&desk, path).await, ["Patient/ann"]);
    let link = next(&physician.get(&format!("{path}?_count=2")).await.json()).unwrap();
    let _not_theirs = desk.get(&link).await.expect(400);
    let stranger = clinic.person(Person::Stranger).await;
    let hidden = stranger.get(path).await.expect(404);
    let absent = stranger.get("/fhir/Patient/nobody/$everything").await.expect(404);
    assert_eq!(hidden.body, absent.body);
    let _deleted = clinic.importer.delete("/fhir/Patient/bea").await.expect(204);
    let _gone = clinic.importer.get("/fhir/Patient/bea/$everything").await.expect(410);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_of_an_encounter_is_what_refers_to_it() {
    let clinic = ward().await;
    let path = "/fhir/Encounter/stay/$everything";
    let expected = ["Encounter/stay", "Observation/of-stay", "Patient/ann"];
    assert_eq!(all(&clinic.importer, path).await, expected);
    assert_eq!(all(&clinic.importer, &format!("{path}?_count=1")).await, expected);
    let physician = clinic.person(Person::Physician).await;
    assert_eq!(all(&physician, path).await, expected);
    let stranger = clinic.person(Person::Stranger).await;
    let _hidden = stranger.get(path).await.expect(404);
    let _forbidden = clinic.person(Person::FrontDesk).await.get(path).await.expect(403);
    let lone =
        json!({"resourceType": "Encounter", "id": "lone", "status": "planned", "class": {"code": "AMB"}});
    clinic.put(&lone).await;
    assert_eq!(all(&clinic.importer, "/fhir/Encounter/lone/$everything").await, ["Encounter/lone"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_in_a_compartment_finds_what_is_in_it_and_permitted() {
    let clinic = ward().await;
    let mut found = ids(&clinic.importer.get("/fhir/Patient/ann/Observation").await.expect(200).json());
    found.sort_unstable();
    assert_eq!(found, ["of-stay", "pulse", "shared"]);
    // Bea performed one of Ann's: by the definition that puts it into her compartment too.
    let mut found = ids(&clinic.importer.get("/fhir/Patient/bea/Observation").await.json());
    found.sort_unstable();
    assert_eq!(found, ["beas", "shared"]);
    let one = clinic.importer.get("/fhir/Patient/ann/Observation?encounter=Encounter/stay").await.json();
    assert_eq!(ids(&one), ["of-stay"]);
    assert_eq!(
        one["link"][0]["url"],
        "https://records.test/fhir/Patient/ann/Observation?encounter=Encounter/stay"
    );
    let (mut all, mut page) = (Vec::new(), Some("/fhir/Patient/ann/Observation?_count=1".to_owned()));
    while let Some(url) = page {
        let bundle = clinic.importer.get(&url).await.expect(200).json();
        all.extend(ids(&bundle));
        page = next(&bundle);
    }
    assert_eq!(all.len(), 3);
    let physician = clinic.person(Person::Physician).await;
    let mut seen = ids(&physician.get("/fhir/Patient/ann/Observation").await.json());
    seen.sort_unstable();
    assert_eq!(seen, ["of-stay", "pulse"]);
    // A patient who is hidden and one who never was have the same compartment.
    let stranger = clinic.person(Person::Stranger).await;
    let empty = |reply: Value| (reply["total"].clone(), ids(&reply).len());
    let hidden = empty(stranger.get("/fhir/Patient/ann/Observation").await.expect(200).json());
    let absent = empty(stranger.get("/fhir/Patient/nobody/Observation").await.expect(200).json());
    assert_eq!(hidden, absent);
    let outside = clinic.importer.get("/fhir/Patient/ann/Practitioner").await.expect(400);
    assert_eq!(outside.issue(), "not-supported");
    let _no_compartment = clinic.importer.get("/fhir/Encounter/stay/Observation").await.expect(404);
}
