//! Earlier versions: hidden by what the record bears now, and told from absent ones by nothing.

use custodia_support::people::Person;
use serde_json::{Value, json};

use crate::clinic::{Clinic, found, observation, patient};

fn restricted(mut resource: Value) -> Value {
    resource["meta"] = json!({"security": [
        {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}]});
    resource
}

/// Observations of a history, as `versionId`.
fn versions(bundle: &Value) -> Vec<String> {
    let of = |one: &Value| one["meta"]["versionId"].as_str().unwrap().to_owned();
    found(bundle).iter().filter(|one| one["resourceType"] == "Observation").map(of).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_label_put_on_later_hides_earlier_versions_too() {
    let clinic = Clinic::open().await;
    let physician = clinic.person(Person::Physician).await;
    let path = "/fhir/Observation/pulse";
    let histories = [
        "/fhir/Observation/pulse/_history?_since=2020",
        "/fhir/Observation/_history",
        "/fhir/_history",
        "/fhir/Observation/_history?_count=1",
    ];
    // The importer reads by contract, without a relationship.
    let _open = clinic.importer.get(&format!("{path}/_history/1")).await.expect(200);
    let _labelled = physician.put(path, &restricted(observation("pulse", "ann", "72/min"))).await.expect(200);
    for _ in ["labelled", "deleted"] {
        let hidden = clinic.importer.get(&format!("{path}/_history/1")).await.expect(404);
        assert_eq!(hidden.body, clinic.importer.get("/fhir/Observation/nothing/_history/1").await.body);
        let _instance = clinic.importer.get(&format!("{path}/_history")).await.expect(404);
        for history in &histories[1..] {
            let page = clinic.importer.get(history).await.expect(200).json();
            assert_eq!(versions(&page), Vec::<String>::new(), "{history}");
        }
        let _theirs = physician.get(&format!("{path}/_history/1")).await.expect(200);
        for history in histories.iter().take(3) {
            let mut seen = versions(&physician.get(history).await.expect(200).json());
            seen.sort_unstable();
            assert_eq!(seen, ["1", "2"], "{history}");
        }
        // A tombstone bears the labels of what it buries.
        assert!(matches!(physician.delete(path).await.status, 204));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_with_if_match_tells_hidden_from_absent_by_nothing() {
    let clinic = Clinic::open().await;
    clinic.put(&patient("bob", &["Practitioner/cold"])).await;
    let stranger = clinic.person(Person::Stranger).await;
    for version in ["1", "2"] {
        let etag = format!("W/\"{version}\"");
        let put = async |id: &str| {
            let path = format!("/fhir/Observation/{id}");
            stranger.put_with(&path, &[("if-match", etag.as_str())], &observation(id, "bob", "x")).await
        };
        let (hidden, absent) = (put("pulse").await.expect(412), put("nothing").await.expect(412));
        assert_eq!(hidden.body, absent.body);
        let entry = clinic.server.entry(hidden.receipt().unwrap()).await;
        assert_eq!(entry.object.decision, custodia_audit::Decision::Refuse, "the log knows the gate refused");
    }
}
