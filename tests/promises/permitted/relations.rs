//! Relationships: stated by records, held in time, forged by nobody, and needed to every patient of a record.

use custodia_support::people::Person;
use serde_json::{Value, json};

use crate::clinic::{Clinic, found, ids, observation, patient};

const RESTRICTED: (&str, &str) = ("http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "R");
const VERY_RESTRICTED: (&str, &str) = ("http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "V");
const HIV: (&str, &str) = ("http://terminology.hl7.org/CodeSystem/v3-ActCode", "HIV");

fn labelled(mut resource: Value, (system, code): (&str, &str)) -> Value {
    resource["meta"] = json!({"security": [{"system": system, "code": code}]});
    resource
}

fn encounter(id: &str, patient: &str, practitioner: &str) -> Value {
    json!({
        "resourceType": "Encounter", "id": id, "status": "in-progress",
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
        "subject": {"reference": format!("Patient/{patient}")},
        "participant": [{"individual": {"reference": practitioner}}],
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relationship_ends_with_the_record_that_states_it() {
    let clinic = Clinic::open().await;
    let nurse = clinic.person(Person::Nurse).await;
    let path = "/fhir/Observation/pulse";
    let _on_the_team = nurse.get(path).await.expect(200);
    let team = |status: &str, period: Value| {
        json!({
            "resourceType": "CareTeam", "id": "team", "status": status, "subject": {"reference": "Patient/ann"},
            "participant": [{"member": {"reference": "Practitioner/ray"}, "period": period}],
        })
    };
    clinic.put(&team("active", json!({"start": "2020-01-01", "end": "2020-12-31"}))).await;
    let _was_on_the_team = nurse.get(path).await.expect(404);
    clinic.put(&team("active", json!({"start": "2999-01-01"}))).await;
    let _will_be = nurse.get(path).await.expect(404);
    clinic.put(&team("active", json!({"start": "2020-01-01"}))).await;
    let _is_again = nurse.get(path).await.expect(200);
    clinic.put(&team("inactive", json!({"start": "2020-01-01"}))).await;
    let _team_is_inactive = nurse.get(path).await.expect(404);
    clinic.put(&team("active", json!({"start": "2020-01-01"}))).await;
    let _deleted = clinic.importer.delete("/fhir/CareTeam/team").await.expect(204);
    let _no_team = nurse.get(path).await.expect(404);

    let physician = clinic.person(Person::Physician).await;
    let _her_practitioner = physician.get(path).await.expect(200);
    clinic.put(&patient("ann", &["Practitioner/cold"])).await;
    let _no_more = physician.get(path).await.expect(404);
    let _the_other_now = clinic.person(Person::Stranger).await.get(path).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relationship_slipped_into_the_table_counts_for_nothing() {
    let clinic = Clinic::open().await;
    let stranger = clinic.person(Person::Stranger).await;
    // The stranger's opaque key stands where she is somebody's practitioner.
    clinic.put(&patient("bob", &["Practitioner/cold"])).await;
    let _hers = stranger.get("/fhir/Patient/bob").await.expect(200);
    let forged = clinic
        .sql(
            "INSERT INTO relation SELECT a.tenant, a.patient, b.actor, a.kind, a.source_type, a.source_key, a.since,
             a.until, p.proof FROM relation a, relation b, relation p
             WHERE a.patient <> b.patient AND a.kind = b.kind AND p.patient = a.patient AND p.kind = a.kind
             ON CONFLICT DO NOTHING",
        )
        .await
        .unwrap();
    assert_eq!(forged, 2, "each practitioner was made that of the other's patient");
    let _still_hidden = stranger.get("/fhir/Patient/ann").await.expect(404);
    let moved = clinic
        .sql("UPDATE relation r SET patient = o.patient FROM relation o WHERE r.patient <> o.patient AND r.kind = o.kind AND r.actor <> o.actor AND r.patient = r.source_key")
        .await;
    assert!(moved.is_err() || moved.unwrap() > 0, "rows were moved, or could not be");
    let _still_hidden = stranger.get("/fhir/Patient/ann").await.expect(404);
    let _her_own = stranger.get("/fhir/Observation/pulse").await.expect(404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restricted_record_is_for_those_who_care_all_the_time_and_a_very_restricted_one_for_nobody() {
    let clinic = Clinic::open().await;
    clinic.put(&encounter("visit", "ann", "Practitioner/cold")).await;
    let (physician, visitor) =
        (clinic.person(Person::Physician).await, clinic.person(Person::Stranger).await);
    for (id, label) in [("secret", RESTRICTED), ("hiv", HIV)] {
        let sent = labelled(observation(id, "ann", "restricted"), label);
        let path = format!("/fhir/Observation/{id}");
        // Nobody without the relationship writes one either: not even an interface with a contract.
        let _importer = clinic.importer.put(&path, &sent).await.expect(403);
        let _visitor = visitor.put(&path, &sent).await.expect(403);
        let _stored = physician.put(&path, &sent).await.expect(201);
        let _general_practitioner = physician.get(&path).await.expect(200);
        let _care_team = clinic.person(Person::Nurse).await.get(&path).await.expect(200);
        let hidden = visitor.get(&path).await.expect(404);
        assert_eq!(hidden.body, visitor.get("/fhir/Observation/nothing").await.body);
        let _interface = clinic.importer.get(&path).await.expect(404);
        // Taking the label off would open it: that is a write of the labelled record.
        let _unlabelled = visitor.put(&path, &observation(id, "ann", "open")).await.expect(403);
        let _unlabelled = clinic.importer.put(&path, &observation(id, "ann", "open")).await.expect(403);
    }
    let seen = visitor.get("/fhir/Observation?patient=ann").await.expect(200).json();
    assert_eq!((ids(&seen), seen["total"].clone()), (vec!["pulse".to_owned()], json!(1)));
    let all = physician.get("/fhir/Observation?patient=ann").await.expect(200).json();
    assert_eq!(all["total"], 3);
    let sent = labelled(observation("sealed", "ann", "v"), VERY_RESTRICTED);
    for client in [&physician, &visitor, &clinic.importer] {
        let _nobody = client.put("/fhir/Observation/sealed", &sent).await.expect(403);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_moves_no_record_to_a_patient_out_of_reach_nor_ties_the_caller_to_one() {
    let clinic = Clinic::open().await;
    clinic.put(&patient("bob", &[])).await;
    clinic.put(&observation("bobs", "bob", "x")).await;
    let physician = clinic.person(Person::Physician).await;
    let away = physician.put("/fhir/Observation/pulse", &observation("pulse", "bob", "moved")).await;
    assert_eq!((away.status, away.issue().as_str()), (403, "forbidden"));
    let _to_herself =
        physician.put("/fhir/Observation/bobs", &observation("bobs", "ann", "moved")).await.expect(403);
    // A visit opens the chart; it does not let the visitor name herself the patient's practitioner.
    clinic.put(&encounter("visit", "ann", "Practitioner/cold")).await;
    let visitor = clinic.person(Person::Stranger).await;
    let _chart = visitor.get("/fhir/Patient/ann").await.expect(200);
    let _named = visitor.put("/fhir/Patient/ann", &patient("ann", &["Practitioner/cold"])).await.expect(403);
    let team = json!({
        "resourceType": "CareTeam", "status": "active", "subject": {"reference": "Patient/ann"},
        "participant": [{"member": {"reference": "Practitioner/cold"}}],
    });
    let _joined = visitor.post("/fhir/CareTeam", &team).await.expect(403);
    // Nor does anybody visit a patient on her own word.
    let claim = encounter("claim", "bob", "Practitioner/cold");
    let _claimed = visitor.put("/fhir/Encounter/claim", &claim).await.expect(403);
    for (path, version) in [("Observation/pulse", "1"), ("Observation/bobs", "1"), ("Patient/ann", "1")] {
        let read = clinic.importer.get(&format!("/fhir/{path}")).await.expect(200).json();
        assert_eq!(read["meta"]["versionId"], version, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_about_another_patient_stay_hidden_in_history() {
    let clinic = Clinic::open().await;
    clinic.put(&patient("bob", &[])).await;
    clinic.put(&observation("mixed", "bob", "bob's")).await;
    clinic.put(&observation("mixed", "ann", "ann's")).await;
    let physician = clinic.person(Person::Physician).await;
    let history = physician.get("/fhir/Observation/mixed/_history").await.expect(200);
    assert!(!history.text().contains("bob"));
    let versions: Vec<_> =
        found(&history.json()).iter().map(|one| one["meta"]["versionId"].clone()).collect();
    assert_eq!(versions, ["2"]);
    let _hidden = physician.get("/fhir/Observation/mixed/_history/1").await.expect(404);
    let entry = clinic.server.entry(history.receipt().unwrap()).await;
    let items: Vec<u32> = entry.object.items.iter().map(|item| item.version).collect();
    assert_eq!((entry.subject.patient.as_deref(), items), (Some("Patient/ann"), vec![2]));
    // And back: what she may no longer see is gone with all but the version that was Ann's.
    clinic.put(&observation("mixed", "bob", "bob's again")).await;
    let _current = physician.get("/fhir/Observation/mixed").await.expect(404);
    let history = physician.get("/fhir/Observation/mixed/_history").await.expect(200).json();
    assert_eq!(found(&history).len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_of_two_patients_asks_for_a_relationship_to_both() {
    let clinic = Clinic::open().await;
    clinic.put(&patient("bob", &[])).await;
    let mut both = observation("both", "ann", "x");
    both["performer"] = json!([{"reference": "Patient/bob"}]);
    clinic.put(&both).await;
    let physician = clinic.person(Person::Physician).await;
    let _one_is_not_enough = physician.get("/fhir/Observation/both").await.expect(404);
    let seen = physician.get("/fhir/Observation?patient=ann").await.json();
    assert_eq!(ids(&seen), ["pulse"]);
    clinic.put(&patient("bob", &["Practitioner/grey"])).await;
    let _both = physician.get("/fhir/Observation/both").await.expect(200);
    let found = physician.get("/fhir/Observation?patient=ann").await.json();
    assert_eq!(found["total"], 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_returns_and_counts_what_is_permitted_alone() {
    let clinic = Clinic::open().await;
    clinic.put(&patient("bob", &["Practitioner/cold"])).await;
    for n in 0..9 {
        clinic.put(&observation(&format!("b-{n}"), "bob", "x")).await;
    }
    let (physician, stranger) =
        (clinic.person(Person::Physician).await, clinic.person(Person::Stranger).await);
    let queries = [
        "Observation?patient=ann,bob",
        "Observation",
        "Observation?_count=0",
        "Observation?_count=1&_total=accurate",
    ];
    for query in queries {
        let hers = physician.get(&format!("/fhir/{query}")).await.expect(200).json();
        let theirs = stranger.get(&format!("/fhir/{query}")).await.expect(200).json();
        assert_eq!((hers["total"].clone(), theirs["total"].clone()), (json!(1), json!(9)), "{query}");
    }
    let page = physician.get("/fhir/Observation?_count=1").await.expect(200);
    assert_eq!(ids(&page.json()), ["pulse"]);
    assert_eq!(crate::clinic::next(&page.json()), None, "no link tells of what is hidden");
    let people = physician.get("/fhir/Patient?_id=ann,bob").await.json();
    assert_eq!((ids(&people), people["total"].clone()), (vec!["ann".to_owned()], json!(1)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_who_comes_back_to_a_team_is_on_it_again() {
    let clinic = Clinic::open().await;
    let member = |period: Value| json!({"member": {"reference": "Practitioner/cold"}, "period": period});
    let was = member(json!({"start": "2019-01-01", "end": "2020-12-31"}));
    let is = member(json!({"start": "2024-01-01"}));
    let also = member(json!({"start": "2024-01-01", "end": "2024-12-31"}));
    let stranger = clinic.person(Person::Stranger).await;
    for (participants, status) in
        [(json!([was]), 404), (json!([was, is]), 200), (json!([also, is]), 200), (json!([also, was]), 404)]
    {
        clinic
            .put(&json!({"resourceType": "CareTeam", "id": "others", "status": "active",
                "subject": {"reference": "Patient/ann"}, "participant": participants}))
            .await;
        let _read = stranger.get("/fhir/Observation/pulse").await.expect(status);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_visits_do_not_crowd_out_a_place_on_the_team() {
    let clinic = Clinic::open().await;
    for n in 0..12 {
        clinic.put(&encounter(&format!("visit-{n}"), "ann", "Practitioner/cold")).await;
    }
    clinic
        .put(&json!({"resourceType": "CareTeam", "id": "z", "status": "active",
            "subject": {"reference": "Patient/ann"},
            "participant": [{"member": {"reference": "Practitioner/cold"}}]}))
        .await;
    let sent = labelled(observation("secret", "ann", "restricted"), RESTRICTED);
    let stranger = clinic.person(Person::Stranger).await;
    let _written = stranger.put("/fhir/Observation/secret", &sent).await.expect(201);
    for path in [
        "/fhir/Observation/secret",
        "/fhir/Observation/secret/_history",
        "/fhir/Observation/secret/_history/1",
    ] {
        let _read = stranger.get(path).await.expect(200);
    }
    for path in
        ["/fhir/Observation?patient=ann", "/fhir/Observation?_id=secret", "/fhir/Observation/_history"]
    {
        let page = stranger.get(path).await.expect(200).json();
        assert!(found(&page).iter().any(|one| one["id"] == "secret"), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_about_too_many_is_refused_before_it_costs_anything() {
    let clinic = Clinic::open().await;
    let appointment = |patients: usize, practitioners: usize| {
        let people = |kind: &'static str, count: usize| (0..count).map(move |n| format!("{kind}/{n}"));
        let participants: Vec<Value> = people("Patient", patients)
            .chain(people("Practitioner", practitioners))
            .map(|one| json!({"actor": {"reference": one}, "status": "accepted"}))
            .collect();
        json!({"resourceType": "Appointment", "id": "all", "status": "booked", "participant": participants,
            "start": "2026-01-01T10:00:00Z", "end": "2026-01-01T11:00:00Z"})
    };
    let path = "/fhir/Appointment/all";
    for (patients, practitioners) in [(101, 0), (100, 11), (1, 1_001), (1_000, 1_000)] {
        let before = clinic.sql("SELECT FROM data_key").await.unwrap();
        let sent = appointment(patients, practitioners);
        let refused = clinic.importer.put(path, &sent).await;
        assert_eq!(
            (refused.status, refused.issue().as_str()),
            (422, "too-costly"),
            "{patients} {practitioners}"
        );
        assert_eq!(clinic.sql("SELECT FROM data_key").await.unwrap(), before, "nobody was given a key");
    }
    for (patients, practitioners) in [(1, 1_000), (100, 10)] {
        let taken = clinic.importer.put(path, &appointment(patients, practitioners)).await;
        assert!(matches!(taken.status, 200 | 201), "{patients} {practitioners}: {}", taken.text());
        assert_eq!(clinic.sql("SELECT FROM relation WHERE kind = 8").await.unwrap(), 1_000);
    }
}
