//! Who may do what: a table of callers and requests, and what absent and hidden look like.

use custodia_support::people::{Partner, Person};
use reqwest::Method;
use serde_json::{Value, json};

use crate::clinic::{Clinic, observation, patient, without_id};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_reaches_what_their_role_and_relationship_allow_and_no_more() {
    let clinic = Clinic::open().await;
    clinic.put(&json!({"resourceType": "Practitioner", "id": "grey"})).await;
    clinic
        .put(&json!({
            "resourceType": "Immunization", "id": "shot", "status": "completed",
            "vaccineCode": {"text": "x"}, "patient": {"reference": "Patient/ann"}, "occurrenceString": "2020",
        }))
        .await;
    let paths = [
        "Patient/ann",
        "Patient/ann/_history",
        "Observation/pulse",
        "Observation/pulse/_history/1",
        "Immunization/shot",
        "Practitioner/grey",
        "Observation?patient=ann",
    ];
    let expected = [
        (Person::Physician, [200, 200, 200, 200, 200, 200, 200]),
        (Person::Nurse, [200, 200, 200, 200, 200, 200, 200]),
        (Person::Stranger, [404, 404, 404, 404, 404, 200, 200]),
        (Person::FrontDesk, [200, 200, 403, 403, 403, 200, 403]),
        (Person::Auditor, [403; 7]),
        (Person::Foreigner, [404, 404, 404, 404, 404, 404, 200]),
    ];
    for (person, statuses) in expected {
        let client = clinic.person(person).await;
        for (path, status) in paths.iter().zip(statuses) {
            let reply = client.get(&format!("/fhir/{path}")).await;
            assert_eq!(reply.status, status, "{person:?} {path}: {}", reply.text());
        }
    }
    let partners = [
        (Partner::Importer, [200, 200, 200, 200, 200, 200, 200]),
        (Partner::Registry, [200, 200, 403, 403, 200, 403, 403]),
        (Partner::FarImporter, [404, 404, 404, 404, 404, 404, 200]),
    ];
    for (partner, statuses) in partners {
        let client = clinic.server.partner(partner);
        for (path, status) in paths.iter().zip(statuses) {
            assert_eq!(client.get(&format!("/fhir/{path}")).await.status, status, "{partner:?} {path}");
        }
    }
    for path in paths {
        let anonymous = clinic.server.anybody().get(&format!("/fhir/{path}")).await.expect(401);
        assert_eq!(anonymous.header("www-authenticate"), Some("Bearer realm=\"custodia\""));
        let _unknown = clinic.server.unregistered().get(&format!("/fhir/{path}")).await.expect(401);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hidden_looks_like_absent_to_whoever_may_not_know() {
    let clinic = Clinic::open().await;
    let stranger = clinic.person(Person::Stranger).await;
    let pairs = [
        ("Patient/ann", "Patient/nobody"),
        ("Observation/pulse", "Observation/nothing"),
        ("Observation/pulse/_history/1", "Observation/nothing/_history/1"),
        ("Observation/pulse/_history", "Observation/nothing/_history"),
    ];
    for (hidden, absent) in pairs {
        let hidden = stranger.get(&format!("/fhir/{hidden}")).await.expect(404);
        let absent = stranger.get(&format!("/fhir/{absent}")).await.expect(404);
        assert_eq!(hidden.body, absent.body);
        let names = |reply: &custodia_support::client::Reply| {
            reply.headers.keys().map(|name| name.as_str().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names(&hidden), names(&absent));
        let codes = [&hidden, &absent].map(|reply| reply.receipt().unwrap());
        let said = [clinic.server.entry(codes[0]).await, clinic.server.entry(codes[1]).await];
        assert_eq!(said.map(|entry| entry.event.outcome.code), ["hidden", "absent"], "the log knows better");
    }
    let tagged = [("if-match", "W/\"1\"")];
    let hidden = stranger.send(Method::DELETE, "/fhir/Observation/pulse", &tagged, "").await.expect(404);
    let absent = stranger.send(Method::DELETE, "/fhir/Observation/nothing", &tagged, "").await.expect(404);
    assert_eq!(hidden.body, absent.body);
    // A deleted record is 410 to those who could have read it, and absent to the others.
    let _deleted = clinic.importer.delete("/fhir/Observation/pulse").await.expect(204);
    let physician = clinic.person(Person::Physician).await;
    let _gone = physician.get("/fhir/Observation/pulse").await.expect(410);
    assert_eq!(stranger.get("/fhir/Observation/pulse").await.expect(404).body, absent.body);
    let search = stranger.get("/fhir/Patient?_id=ann").await.expect(200).json();
    let nothing = stranger.get("/fhir/Patient?_id=nobody").await.expect(200).json();
    assert_eq!(
        (search["total"].clone(), search.get("entry")),
        (nothing["total"].clone(), nothing.get("entry"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_are_held_to_role_and_relationship() {
    let clinic = Clinic::open().await;
    clinic.put(&patient("bob", &[])).await;
    let of = |patient: &str| without_id(observation("x", patient, "new"));
    let appointment = json!({
        "resourceType": "Appointment", "status": "proposed",
        "participant": [{"actor": {"reference": "Patient/ann"}, "status": "accepted"}],
    });
    let (ann, bob, new) = (of("ann"), of("bob"), without_id(patient("x", &[])));
    let cases: [(Person, &str, &Value, u16); 14] = [
        (Person::Physician, "Observation", &ann, 201),
        (Person::Physician, "Observation", &bob, 403),
        (Person::Physician, "Patient", &new, 201),
        (Person::Stranger, "Observation", &ann, 403),
        (Person::Nurse, "Observation", &ann, 201),
        (Person::Nurse, "Observation", &bob, 403),
        (Person::Nurse, "Patient", &new, 403),
        (Person::Nurse, "Appointment", &appointment, 403),
        (Person::FrontDesk, "Appointment", &appointment, 201),
        (Person::FrontDesk, "Patient", &new, 201),
        (Person::FrontDesk, "Observation", &ann, 403),
        (Person::Auditor, "Patient", &new, 403),
        // Another tenant's patient is nobody here: an observation of an unknown patient.
        (Person::Foreigner, "Observation", &ann, 403),
        (Person::Foreigner, "Patient", &new, 201),
    ];
    for (person, kind, resource, status) in cases {
        let client = clinic.person(person).await;
        let reply = client.post(&format!("/fhir/{kind}"), resource).await;
        assert_eq!(reply.status, status, "{person:?} {kind}: {}", reply.text());
    }
    let registry = clinic.server.partner(Partner::Registry);
    let _no_contract = registry.post("/fhir/Patient", &new).await.expect(403);
    let desk = clinic.person(Person::FrontDesk).await;
    let _no_delete = desk.delete("/fhir/Patient/ann").await.expect(403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_is_for_auditors_and_nothing_else_is() {
    let clinic = Clinic::open().await;
    let log = ["/audit/checkpoint", "/audit/entries/0", "/audit/entries/0/proof", "/audit/tile/0/000.p/1"];
    let auditor = clinic.person(Person::Auditor).await;
    for path in log {
        let _shown = auditor.get(path).await.expect(200);
        for person in [Person::Physician, Person::Nurse, Person::FrontDesk, Person::Stranger] {
            let refused = clinic.person(person).await.get(path).await.expect(403);
            assert_eq!(refused.issue(), "forbidden", "{person:?} {path}");
        }
        let _partner = clinic.importer.get(path).await.expect(403);
        let _anonymous = clinic.server.anybody().get(path).await.expect(401);
    }
    let _beyond = auditor.get("/audit/entries/999999999/proof").await.expect(404);
    let empty = json!({"resourceType": "Bundle", "type": "transaction", "entry": [
        {"request": {"method": "GET", "url": "Patient/ann"}}]});
    let _no_way_round = auditor.post("/fhir", &empty).await.expect(403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_of_fewer_scopes_reaches_less_than_the_role() {
    let clinic = Clinic::open().await;
    let form = format!(
        "grant_type=password&username=grey&password={}&scope=user%2FPatient.r",
        custodia_support::people::PASSWORD.replace(' ', "+")
    );
    let token = clinic.server.anybody().form("/auth/token", &form).await.expect(200).json();
    assert_eq!(token["scope"], "user/Patient.r");
    let narrow = clinic.server.anybody().bearing(token["access_token"].as_str().unwrap());
    let _read = narrow.get("/fhir/Patient/ann").await.expect(200);
    let _search = narrow.get("/fhir/Patient?_id=ann").await.expect(403);
    let _other_type = narrow.get("/fhir/Observation/pulse").await.expect(403);
    let _write = narrow.put("/fhir/Patient/ann", &patient("ann", &["Practitioner/grey"])).await.expect(403);
}
