//! Profiles: packages added and taken away, and what resources that claim them are held to.

use custodia::{
    fhir::package::Package,
    host::{Registry, take_up_packages},
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::clinic::{Clinic, observation, without_id};

const US_CORE: &[u8] = include_bytes!("../../data/us-core-6.1.0.tgz");
const US: &str = "http://hl7.org/fhir/us/core/StructureDefinition";

async fn with_us_core() -> Clinic {
    let clinic = Clinic::open().await;
    let package = Package::read(US_CORE).unwrap();
    let before = clinic.server.size().await;
    Registry::from(&**clinic.server.app()).add_package(package).await.unwrap();
    assert_eq!(clinic.server.size().await, before + 2, "adding is in the log, before and after");
    take_up_packages(clinic.server.app()).await.unwrap();
    clinic
}

/// A blood pressure of ann's that claims to be one of US Core.
fn pressure() -> Value {
    let part = |code: &str, value: u32| {
        let unit =
            json!({"value": value, "unit": "mmHg", "system": "http://unitsofmeasure.org", "code": "mm[Hg]"});
        json!({"code": {"coding": [{"system": "http://loinc.org", "code": code}]}, "valueQuantity": unit})
    };
    json!({
        "resourceType": "Observation", "status": "final", "meta": {"profile": [format!("{US}/us-core-blood-pressure")]},
        "category": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "vital-signs"}]}],
        "code": {"coding": [{"system": "http://loinc.org", "code": "85354-9"}]},
        "subject": {"reference": "Patient/ann"}, "effectiveDateTime": "2026-01-01T10:00:00Z",
        "component": [part("8480-6", 120), part("8462-4", 80)],
    })
}

/// The same without its diastolic part.
fn half() -> Value {
    let mut half = pressure();
    half["component"].as_array_mut().unwrap().truncate(1);
    half
}

fn rules(reply: &Value) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let issues = reply["issue"].as_array().unwrap().iter();
    issues.map(|i| (text(&i["severity"]), text(&i["diagnostics"]), text(&i["expression"][0]))).collect()
}

fn owned(rules: &[(&str, &str, &str)]) -> Vec<(String, String, String)> {
    rules.iter().map(|(a, b, c)| ((*a).to_owned(), (*b).to_owned(), (*c).to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_claims_a_profile_is_held_to_it_on_every_way_in() {
    let clinic = with_us_core().await;
    let importer = &clinic.importer;
    let min = ("error", "profile.min", "Observation.component");
    let _whole = importer.post("/fhir/Observation", &pressure()).await.expect(201);
    let refused = importer.post("/fhir/Observation", &half()).await.expect(422).json();
    assert_eq!(rules(&refused), owned(&[min, min]));
    assert!(refused["issue"][1]["details"]["text"].as_str().unwrap().contains("diastolic"), "{refused}");
    let mut named = half();
    named["id"] = json!("half");
    let _put = importer.put("/fhir/Observation/half", &named).await.expect(422);
    let _conditional = importer.put("/fhir/Observation?identifier=urn:x|1", &half()).await.expect(422);
    // A patch that makes it so.
    let mut there = pressure();
    there["id"] = json!("whole");
    let _there = importer.put("/fhir/Observation/whole", &there).await.expect(201);
    let as_patch = ("content-type", "application/json-patch+json");
    let take = json!([{"op": "remove", "path": "/component/1"}]);
    let patched = importer
        .send(Method::PATCH, "/fhir/Observation/whole", &[as_patch], take.to_string())
        .await
        .expect(422)
        .json();
    assert_eq!(rules(&patched), owned(&[min, min]));
    for (kind, status) in [("transaction", 422), ("batch", 200)] {
        let entry = json!({"resource": half(), "request": {"method": "POST", "url": "Observation"}});
        let bundle = json!({"resourceType": "Bundle", "type": kind, "entry": [entry]});
        let reply = importer.post("/fhir", &bundle).await.expect(status).json();
        let outcome = if kind == "batch" { &reply["entry"][0]["response"]["outcome"] } else { &reply };
        let at = rules(outcome)[0].2.clone();
        let inside = if kind == "batch" { "Observation" } else { "Bundle.entry[0].resource" };
        assert_eq!(at, format!("{inside}.component"), "{reply}");
    }
    // What claims nothing, or a profile nobody has told of, is as free as before.
    let mut other = half();
    other["meta"] = json!({"profile": ["http://example.org/own"]});
    let _unknown = importer.post("/fhir/Observation", &other).await.expect(201);
    let _none =
        importer.post("/fhir/Observation", &without_id(observation("x", "ann", "x"))).await.expect(201);
    other["meta"] = json!({"profile": vec![format!("{US}/us-core-blood-pressure"); 33]});
    let many = importer.post("/fhir/Observation", &other).await.expect(422).json();
    assert_eq!(rules(&many), owned(&[("error", "profile.claimed", "Observation.meta.profile")]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn validate_judges_by_the_profile_that_is_asked_for() {
    let clinic = with_us_core().await;
    let mut bare = half();
    bare.as_object_mut().unwrap().remove("meta");
    let validate = async |query: &str, resource: &Value| {
        let path = format!("/fhir/Observation/$validate{query}");
        rules(&clinic.importer.post(&path, resource).await.expect(200).json())
    };
    let narrative = ("warning", "invariant.dom-6", "Observation");
    assert_eq!(validate("", &bare).await, owned(&[narrative]));
    let min = ("error", "profile.min", "Observation.component");
    let asked = format!("?profile={US}/us-core-blood-pressure");
    assert_eq!(validate(&asked, &bare).await, owned(&[min, min, narrative]));
    assert_eq!(validate(&format!("{asked}%7C6.1.0"), &bare).await.len(), 3);
    assert_eq!(validate("", &half()).await, owned(&[min, min, narrative]));
    bare["meta"] = json!({"profile": ["http://example.org/own"]});
    let unknown = ("warning", "profile.unknown", "Observation.meta.profile[0]");
    assert_eq!(validate("", &bare).await, owned(&[narrative, unknown]));
    for wrong in [format!("{asked}%7C7.0.0"), "?profile=http://example.org/own".to_owned()] {
        let reply = clinic.importer.post(&format!("/fhir/Observation/$validate{wrong}"), &bare).await;
        assert_eq!((reply.status, reply.issue().as_str()), (400, "not-supported"), "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_package_counts_until_it_is_removed_and_never_when_slipped_in() {
    let clinic = with_us_core().await;
    let registry = Registry::from(&**clinic.server.app());
    let names = registry.packages().await.unwrap();
    assert_eq!((names[0].name.as_str(), names[0].version.as_str()), ("hl7.fhir.us.core", "6.1.0"));
    // A row that was changed beside the server is not read, and what was read before goes on to count.
    clinic.sql("UPDATE definition_package SET version = '6.1.1'").await.unwrap();
    assert!(take_up_packages(clinic.server.app()).await.is_err());
    let _held = clinic.importer.post("/fhir/Observation", &half()).await.expect(422);
    registry.remove_package("hl7.fhir.us.core").await.unwrap();
    assert!(registry.remove_package("hl7.fhir.us.core").await.is_err());
    assert_eq!(take_up_packages(clinic.server.app()).await.unwrap(), []);
    let _free = clinic.importer.post("/fhir/Observation", &half()).await.expect(201);
}
