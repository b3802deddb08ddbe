//! Terminology: R4's own, a package's, and the caller's own CodeSystems, ValueSets and ConceptMaps.

use custodia::{
    fhir::package::Package,
    host::{Registry, take_up_packages},
};
use custodia_support::people::Person;
use serde_json::{Value, json};

use crate::clinic::{Clinic, ids, observation};

const GENDER: &str = "http://hl7.org/fhir/administrative-gender";
const GENDERS: &str = "http://hl7.org/fhir/ValueSet/administrative-gender";

/// A parameter of the answer.
fn part<'a>(reply: &'a Value, name: &str) -> &'a Value {
    let all = reply["parameter"].as_array().unwrap();
    let found = all.iter().find(|one| one["name"] == name).unwrap_or(&Value::Null);
    found
        .as_object()
        .and_then(|one| one.iter().find(|(n, _)| n.starts_with("value")))
        .map_or(found, |(_, v)| v)
}

fn codes(reply: &Value) -> Vec<String> {
    let all = reply["expansion"]["contains"].as_array().cloned().unwrap_or_default();
    all.iter().map(|one| one["code"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_terminology_of_r4_answers() {
    let clinic = Clinic::open().await;
    let physician = clinic.person(Person::Physician).await;
    let get = async |path: String| physician.get(&path).await.expect(200).json();
    let looked = get(format!("/fhir/CodeSystem/$lookup?system={GENDER}&code=male")).await;
    assert_eq!(
        (part(&looked, "name"), part(&looked, "display")),
        (&json!("AdministrativeGender"), &json!("Male"))
    );
    for (query, result) in [
        (format!("url={GENDERS}&code=male"), true),
        (format!("url={GENDERS}&system={GENDER}&code=male&display=male"), true),
        (format!("url={GENDERS}&system={GENDER}&code=male&display=Man"), false),
        (format!("url={GENDERS}%7C4.0.1&code=Male"), false),
        (format!("url={GENDERS}&system=http://x&code=male"), false),
    ] {
        let said = get(format!("/fhir/ValueSet/$validate-code?{query}")).await;
        assert_eq!(part(&said, "result"), &json!(result), "{query} {said}");
    }
    let said = get(format!("/fhir/CodeSystem/$validate-code?url={GENDER}&code=other")).await;
    assert_eq!(part(&said, "result"), &json!(true));
    let expanded = get(format!("/fhir/ValueSet/$expand?url={GENDERS}")).await;
    assert_eq!(codes(&expanded), ["male", "female", "other", "unknown"]);
    assert_eq!(
        expanded["expansion"]["contains"][0],
        json!({"system": GENDER, "code": "male", "display": "Male"})
    );
    let page = get(format!("/fhir/ValueSet/$expand?url={GENDERS}&offset=1&count=2")).await;
    assert_eq!(
        (codes(&page), &page["expansion"]["total"]),
        (vec!["female".to_owned(), "other".to_owned()], &json!(4))
    );
    let filtered = get(format!("/fhir/ValueSet/$expand?url={GENDERS}&filter=MALE")).await;
    assert_eq!(codes(&filtered), ["male", "female"]);
    let none = get(format!("/fhir/ValueSet/$expand?url={GENDERS}&count=0")).await;
    assert_eq!((none["expansion"].get("contains"), &none["expansion"]["total"]), (None, &json!(4)));
    let map = "http://hl7.org/fhir/ConceptMap/cm-administrative-gender-v3";
    let translated = get(format!("/fhir/ConceptMap/$translate?url={map}&system={GENDER}&code=male")).await;
    assert_eq!(part(&translated, "result"), &json!(true));
    assert_eq!(part(&translated, "match")["part"][1]["valueCoding"]["code"], "M");
    let coding = json!({"system": GENDER, "code": "female"});
    let concept = json!({"coding": [{"system": "http://x", "code": "y"}, coding]});
    let sent = json!({"resourceType": "Parameters", "parameter": [
        {"name": "url", "valueUri": GENDERS}, {"name": "codeableConcept", "valueCodeableConcept": concept},
    ]});
    let said = physician.post("/fhir/ValueSet/$validate-code", &sent).await.expect(200).json();
    assert_eq!((part(&said, "result"), part(&said, "display")), (&json!(true), &json!("Female")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_known_is_refused_and_never_answered_with_no() {
    let clinic = Clinic::open().await;
    let physician = clinic.person(Person::Physician).await;
    for (path, code) in [
        ("CodeSystem/$lookup?system=http://loinc.org&code=1-8".to_owned(), "not-found"),
        (format!("CodeSystem/$lookup?system={GENDER}&code=x"), "not-found"),
        (format!("CodeSystem/$lookup?system={GENDER}"), "required"),
        ("CodeSystem/$lookup?code=male".to_owned(), "required"),
        ("ValueSet/$expand".to_owned(), "required"),
        ("ValueSet/$expand?url=http://x".to_owned(), "not-found"),
        (format!("ValueSet/$expand?url={GENDERS}%7C9"), "not-found"),
        ("ValueSet/$expand?url=http://hl7.org/fhir/ValueSet/observation-codes".to_owned(), "not-supported"),
        (format!("ValueSet/$expand?url={GENDERS}&count=x"), "value"),
        (format!("ValueSet/$expand?url={GENDERS}&colour=red"), "not-supported"),
        (
            "ValueSet/$validate-code?url=http://hl7.org/fhir/ValueSet/observation-codes&system=http://loinc.org&code=1-8"
                .to_owned(),
            "not-supported",
        ),
        ("ConceptMap/$translate?system=s&code=c".to_owned(), "required"),
        ("ConceptMap/$translate?url=http://x&system=s&code=c".to_owned(), "not-found"),
    ] {
        let reply = physician.get(&format!("/fhir/{path}")).await;
        assert_eq!((reply.status, reply.issue().as_str()), (400, code), "{path}: {}", reply.text());
    }
    for path in ["Patient/$expand", "CodeSystem/$expand", "CodeSystem/x/$lookup", "ValueSet/$translate"] {
        let _no_such_operation = physician.get(&format!("/fhir/{path}")).await.expect(404);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ones_own_terminology_answers_those_who_may_read_it() {
    let clinic = Clinic::open().await;
    let system = json!({
        "resourceType": "CodeSystem", "id": "wards", "url": "urn:clinic:wards", "status": "active", "content": "complete",
        "name": "Wards", "concept": [{"code": "w", "display": "West", "concept": [{"code": "w1", "display": "West one"}]}, {"code": "e"}],
    });
    let filter = json!([{"property": "concept", "op": "is-a", "value": "w"}]);
    let set = json!({
        "resourceType": "ValueSet", "id": "west", "url": "urn:clinic:west", "status": "active",
        "compose": {"include": [{"system": "urn:clinic:wards", "filter": filter}]},
    });
    clinic.put(&system).await;
    clinic.put(&set).await;
    let physician = clinic.person(Person::Physician).await;
    for path in ["/fhir/ValueSet/west/$expand", "/fhir/ValueSet/$expand?url=urn:clinic:west"] {
        let reply = physician.get(path).await.expect(200);
        assert_eq!(codes(&reply.json()), ["w", "w1"], "{path}");
        // What was read for the answer is named in the entry.
        let entry = clinic.server.entry(reply.receipt().unwrap()).await;
        let mut read: Vec<_> = entry.object.items.iter().map(|item| item.id.clone()).collect();
        read.sort();
        assert_eq!(read, ["wards", "west"], "{path}");
    }
    let said = physician
        .get("/fhir/ValueSet/west/$validate-code?system=urn:clinic:wards&code=e")
        .await
        .expect(200)
        .json();
    assert_eq!(part(&said, "result"), &json!(false));
    let looked =
        physician.get("/fhir/CodeSystem/$lookup?system=urn:clinic:wards&code=w1").await.expect(200).json();
    assert_eq!(part(&looked, "display"), "West one");
    // A refusal that stands on what was read names it too.
    let refused = physician.get("/fhir/CodeSystem/$lookup?system=urn:clinic:wards&code=x").await.expect(400);
    let entry = clinic.server.entry(refused.receipt().unwrap()).await;
    assert_eq!(entry.object.items.len(), 1);
    // Another tenant has none of it.
    let foreigner = clinic.person(Person::Foreigner).await;
    let _absent = foreigner.get("/fhir/ValueSet/west/$expand").await.expect(404);
    let absent = foreigner.get("/fhir/ValueSet/$expand?url=urn:clinic:west").await.expect(400);
    assert_eq!(absent.issue(), "not-found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_request_reads_so_many_records_of_terminology() {
    let clinic = Clinic::open().await;
    // A set that takes its codes from one system too many.
    let last = custodia::interaction::terminology::RECORDS_MAX;
    for n in 0..=last {
        let kind = if n == 0 { "ValueSet" } else { "CodeSystem" };
        let mut one = json!({"resourceType": kind, "id": format!("t{n}"), "url": format!("urn:t:{n}"), "status": "active"});
        if n == 0 {
            let all: Vec<Value> = (1..=last).map(|n| json!({"system": format!("urn:t:{n}")})).collect();
            one["compose"] = json!({"include": all});
        } else {
            one["content"] = json!("complete");
            one["concept"] = json!([{"code": format!("c{n}")}]);
        }
        clinic.put(&one).await;
    }
    let physician = clinic.person(Person::Physician).await;
    let reply = physician.get("/fhir/ValueSet/$expand?url=urn:t:0").await.expect(400);
    assert_eq!(reply.issue(), "not-supported");
    let entry = clinic.server.entry(reply.receipt().unwrap()).await;
    assert_eq!(entry.object.items.len(), last);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_terminology_of_a_package_answers() {
    let clinic = Clinic::open().await;
    let package = Package::read(include_bytes!("../../data/us-core-6.1.0.tgz")).unwrap();
    let path = "/fhir/ValueSet/$expand?url=http://hl7.org/fhir/us/core/ValueSet/us-core-narrative-status";
    let physician = clinic.person(Person::Physician).await;
    let _not_yet = physician.get(path).await.expect(400);
    Registry::from(&**clinic.server.app()).add_package(package).await.unwrap();
    take_up_packages(clinic.server.app()).await.unwrap();
    assert_eq!(codes(&physician.get(path).await.expect(200).json()), ["additional", "generated"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_knows_the_sets_its_caller_may_read() {
    let clinic = Clinic::listing(&["all"]).await;
    let package = Package::read(include_bytes!("../../data/us-core-6.1.0.tgz")).unwrap();
    Registry::from(&**clinic.server.app()).add_package(package).await.unwrap();
    take_up_packages(clinic.server.app()).await.unwrap();
    let coded = |id: &str, system: &str, code: &str| {
        let mut one = observation(id, "ann", "x");
        one["code"] = json!({"coding": [{"system": system, "code": code}]});
        one
    };
    let category = "http://hl7.org/fhir/us/core/CodeSystem/us-core-documentreference-category";
    for (id, system, code) in [
        ("in-1", "urn:clinic:beds", "b1"),
        ("out-1", "urn:clinic:beds", "b9"),
        ("us-1", category, "clinical-note"),
    ] {
        clinic.put(&coded(id, system, code)).await;
    }
    let listed = json!([{"code": "b1"}, {"code": "b2"}]);
    clinic
        .put(&json!({
            "resourceType": "ValueSet", "id": "beds", "url": "urn:clinic:beds", "status": "active",
            "compose": {"include": [{"system": "urn:clinic:beds", "concept": listed}]},
        }))
        .await;
    clinic
        .put(&json!({
            "resourceType": "Appointment", "id": "visit", "status": "booked", "start": "2026-01-01T10:00:00Z",
            "end": "2026-01-01T11:00:00Z", "serviceType": [{"coding": [{"system": "urn:clinic:beds", "code": "b1"}]}],
            "participant": [{"actor": {"reference": "Patient/ann"}, "status": "accepted"}],
        }))
        .await;
    let physician = clinic.person(Person::Physician).await;
    let us = "http://hl7.org/fhir/us/core/ValueSet/us-core-documentreference-category";
    for (query, expected) in [
        ("code:in=urn:clinic:beds".to_owned(), vec!["in-1"]),
        ("code:not-in=urn:clinic:beds".to_owned(), vec!["out-1", "pulse", "us-1"]),
        (format!("code:in={us}"), vec!["us-1"]),
        ("_filter=code%20in%20%22urn:clinic:beds%22".to_owned(), vec!["in-1"]),
    ] {
        let before = clinic.server.size().await;
        let reply = physician.get(&format!("/fhir/Observation?patient=ann&{query}")).await.expect(200);
        let mut found = ids(&reply.json());
        found.sort_unstable();
        assert_eq!(found, expected, "{query}");
        // The set that was read is named in an entry of the request, as it would be had it been read alone.
        let named = clinic.server.entries(before).await;
        let named = named.iter().any(|one| one.entry.object.items.iter().any(|item| item.id == "beds"));
        assert_eq!(named, query.contains("beds"), "{query}");
    }
    let both = physician.get("/fhir?_type=Observation,Condition&patient=ann&code:in=urn:clinic:beds").await;
    assert_eq!(ids(&both.expect(200).json()), ["in-1"]);
    let chained =
        physician.get("/fhir/Patient?_id=ann&_has:Observation:patient:code:in=urn:clinic:beds").await;
    assert_eq!(ids(&chained.expect(200).json()), ["ann"]);
    // What is out of sight is as absent, and so is what another tenant has.
    let asked = |set: &str| format!("/fhir/Appointment?patient=ann&service-type:in=urn:clinic:{set}");
    assert_eq!(ids(&physician.get(&asked("beds")).await.expect(200).json()), ["visit"]);
    let desk = clinic.person(Person::FrontDesk).await;
    let _may_not_read_sets = desk.get("/fhir/ValueSet/beds").await.expect(403);
    let (hidden, absent) = (desk.get(&asked("beds")).await, desk.get(&asked("nothing")).await);
    assert_eq!((hidden.status, hidden.issue().as_str(), &hidden.body), (400, "not-supported", &absent.body));
    let foreigner = clinic.person(Person::Foreigner).await;
    let foreign = foreigner.get(&asked("beds")).await;
    assert_eq!((foreign.status, &foreign.body), (400, &absent.body));
    // A condition has no entry that could name a set: it knows those of R4 and of packages alone.
    let mut more = coded("new", category, "clinical-note");
    more.as_object_mut().unwrap().remove("id");
    let when = |query: &str| [("if-none-exist", query.to_owned())];
    for (query, status) in
        [(format!("code:in={us}&patient=ann"), 200), ("code:in=urn:clinic:beds&patient=ann".to_owned(), 400)]
    {
        let headers = when(&query);
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let sent =
            clinic.importer.send(reqwest::Method::POST, "/fhir/Observation", &headers, more.to_string());
        let _created = sent.await.expect(status);
    }
}
