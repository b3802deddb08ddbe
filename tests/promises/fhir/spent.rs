//! What the searches of one request may spend, and that nothing hidden is felt by it.

use chrono::TimeDelta;
use custodia::{clock::Clock, store::cluster::Role};
use custodia_support::{
    cluster::TestCluster,
    people::{Partner, Person},
    server::TestServer,
};
use serde_json::{Value, json};

use super::late::{WAITS, until};
use crate::clinic::{Clinic, bundle, patient};

/// An observation of ann's that only those see who care for her all the time.
fn hidden(number: usize) -> (String, Value) {
    let id = format!("hidden-{number}");
    let restricted =
        json!({"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"});
    let one = json!({
        "resourceType": "Observation", "id": id, "status": "final", "code": {"coding": [{"code": "there"}]},
        "subject": {"reference": "Patient/ann"}, "meta": {"security": [restricted]},
    });
    (format!("Observation/{id}"), one)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hidden_record_is_not_felt_however_often_it_is_asked_for() {
    let clinic = Clinic::listing(&["Observation.code", "DiagnosticReport.status"]).await;
    clinic
        .put(&json!({
            "resourceType": "Encounter", "id": "visit", "status": "in-progress", "class": {"code": "AMB"},
            "subject": {"reference": "Patient/ann"},
            "participant": [{"individual": {"reference": "Practitioner/cold"}}],
        }))
        .await;
    let all: Vec<(String, Value)> = (0..300).map(hidden).collect();
    let puts: Vec<_> = all.iter().map(|(url, one)| ("PUT", url.as_str(), Some(one.clone()))).collect();
    let physician = clinic.person(Person::Physician).await;
    let _stored = physician.post("/fhir", &bundle("transaction", &puts)).await.expect(200);
    let visitor = clinic.person(Person::Stranger).await;
    let chart = visitor.get("/fhir/Observation?patient=ann&_summary=count").await.expect(200).json();
    assert_eq!(chart["total"], 1, "the visit opens her chart, and not what is restricted");
    // Opened as often as they are asked for, they would be more than forty thousand.
    let searches = |code: &str| {
        let of_hers = format!("Observation?patient=ann&code={code}&_summary=count");
        let led = vec![format!("result.code={code}"); 90].join("&");
        [vec![of_hers; 60], vec![format!("DiagnosticReport?status=final&{led}"); 2]].concat()
    };
    let answers = async |code: &str| {
        let searches = searches(code);
        let gets: Vec<_> = searches.iter().map(|url| ("GET", url.as_str(), None)).collect();
        let answer = visitor.post("/fhir", &bundle("batch", &gets)).await.expect(200).json();
        serde_json::from_str::<Value>(&answer.to_string().replace(code, "CODE")).unwrap()
    };
    let (there, absent) = (answers("there").await, answers("absent").await);
    assert_eq!(there["entry"].as_array().unwrap().len(), 62);
    for (there, absent) in there["entry"].as_array().unwrap().iter().zip(absent["entry"].as_array().unwrap())
    {
        assert_eq!(there["response"]["status"], absent["response"]["status"]);
        assert_eq!(there["resource"]["total"], 0);
        assert_eq!(there["resource"]["link"], absent["resource"]["link"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn searches_end_after_their_time_whatever_they_find() {
    let clock = Clock::fixed("2020-06-01T12:00:00Z".parse().unwrap());
    let server = TestServer::with(TestCluster::quick().await, clock.clone(), |_| {}).await;
    let importer = server.partner(Partner::Importer);
    let clinic = Clinic { server, importer };
    clinic.put(&patient("ann", &[])).await;
    let mut holder = clinic.server.database().connect(Role::Owner).await;
    for (seconds, status) in [(120, 200), (121, 400)] {
        for path in ["Patient?_id=ann", "Patient?_id=nobody", "?_type=Device,Patient&_id=nobody"] {
            let held = holder.transaction().await.unwrap();
            held.batch_execute("LOCK TABLE record IN ACCESS EXCLUSIVE MODE").await.unwrap();
            let (importer, path) = (clinic.importer.clone(), format!("/fhir/{path}"));
            let asked = tokio::spawn(async move { importer.get(&path).await });
            until(&clinic, WAITS).await;
            clock.advance(TimeDelta::seconds(seconds));
            held.rollback().await.unwrap();
            let answer = asked.await.unwrap().expect(status);
            assert!(status == 200 || answer.issue() == "too-costly", "{}", answer.text());
        }
    }
}
