//! Searches that follow links and put in order: chains, `_has`, `_sort`, `_include`, `_revinclude`, and that none of
//! them tells of what the caller may not see.

use std::collections::BTreeSet;

use custodia_support::people::Person;
use serde_json::{Value, json};

use crate::clinic::{Clinic, found, ids, next, patient};

fn to(reference: &str) -> Value {
    json!({"reference": reference})
}

fn coded(id: &str, patient: &str, code: &str, encounter: Option<&str>) -> Value {
    let mut it = json!({
        "resourceType": "Observation", "id": id, "status": "final", "code": {"coding": [{"code": code}]},
        "subject": to(&format!("Patient/{patient}")),
    });
    if let Some(encounter) = encounter {
        it["encounter"] = to(&format!("Encounter/{encounter}"));
    }
    it
}

/// Two more patients: bob, of Dr Grey's and managed by a hospital, and eve, whom nobody knows.
async fn ward() -> Clinic {
    let clinic = Clinic::listing(&["Observation.code"]).await;
    clinic
        .put(&json!({"resourceType": "Organization", "id": "city", "name": "City Hospital", "partOf": to("Organization/trust")}))
        .await;
    clinic.put(&json!({"resourceType": "Organization", "id": "trust", "name": "Trust"})).await;
    let mut bob = patient("bob", &["Practitioner/grey"]);
    bob["name"] = json!([{"family": "Ångström", "given": ["Bob"]}]);
    bob["managingOrganization"] = to("Organization/city");
    clinic.put(&bob).await;
    let mut eve = patient("eve", &[]);
    eve["name"] = json!([{"family": "Anders"}]);
    eve["managingOrganization"] = to("Organization/city");
    clinic.put(&eve).await;
    for (id, patient) in [("visit", "bob"), ("stay", "eve")] {
        clinic
            .put(&json!({
                "resourceType": "Encounter", "id": id, "status": "finished", "class": {"code": "AMB"},
                "subject": to(&format!("Patient/{patient}")),
            }))
            .await;
    }
    clinic.put(&coded("sugar", "bob", "glucose", Some("visit"))).await;
    clinic.put(&coded("salt", "bob", "sodium", None)).await;
    clinic.put(&coded("secret", "eve", "hiv", Some("stay"))).await;
    clinic
}

/// The ids of matches and of what came with them.
fn both(bundle: &Value) -> (BTreeSet<String>, BTreeSet<String>) {
    let matches: BTreeSet<String> = ids(bundle).into_iter().collect();
    let all = found(bundle).into_iter().map(|one| one["id"].as_str().unwrap().to_owned());
    let others = all.filter(|id| !matches.contains(id)).collect();
    (matches, others)
}

fn set(ids: &[&str]) -> BTreeSet<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_are_followed_both_ways() {
    let clinic = ward().await;
    let cases: [(&str, &[&str]); 18] = [
        ("Patient?name=ang", &["bob"]),
        ("Patient?_id=bob,eve&name:contains=nd", &["eve"]),
        ("Observation?subject.name=angstrom", &["sugar", "salt"]),
        ("Observation?subject:Patient.name=an", &["sugar", "salt", "secret"]),
        ("Observation?patient.organization.name=city", &["sugar", "salt", "secret"]),
        ("Observation?patient.organization.partof.name=trust&code=sodium", &["salt"]),
        ("Observation?patient=bob&encounter.status=finished", &["sugar"]),
        ("Observation?patient=bob&encounter.status=planned", &[]),
        ("Observation?patient=bob&encounter.subject.name=anders", &[]),
        ("Observation?_id=sugar,secret&patient.name=anders", &["secret"]),
        ("Patient?_has:Observation:patient:code=hiv", &["eve"]),
        ("Patient?_has:Observation:patient:code=hiv,glucose", &["bob", "eve"]),
        ("Patient?_id=bob&_has:Observation:patient:code=hiv", &[]),
        ("Patient?_id=bob,eve&_has:Observation:patient:code=sodium", &["bob"]),
        ("Patient?_has:Observation:patient:code=glucose&_has:Observation:patient:code=sodium", &["bob"]),
        ("Organization?_has:Patient:organization:name=anders", &["city"]),
        ("Organization?_has:Organization:partof:_has:Patient:organization:_id=eve", &["trust"]),
        ("Encounter?_has:Observation:encounter:subject.name=anders", &["stay"]),
    ];
    for (query, expected) in cases {
        let bundle = clinic.importer.get(&format!("/fhir/{query}")).await.expect(200).json();
        assert_eq!(
            (both(&bundle).0, bundle["total"].as_u64()),
            (set(expected), Some(expected.len() as u64)),
            "{query}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inclusions_come_with_their_matches_and_are_recorded() {
    let clinic = ward().await;
    let cases: [(&str, &[&str], &[&str]); 9] = [
        ("Observation?_id=sugar&_include=Observation:subject", &["sugar"], &["bob"]),
        ("Observation?_id=sugar&_include=Observation:subject:Group", &["sugar"], &[]),
        ("Observation?_id=sugar&_include=Observation:*", &["sugar"], &["bob", "visit"]),
        (
            "Observation?_id=sugar&_include=Observation:subject&_include=Patient:organization",
            &["sugar"],
            &["bob"],
        ),
        (
            "Observation?_id=sugar&_include=Observation:subject&_include:iterate=Patient:organization\
             &_include:iterate=Organization:partof",
            &["sugar"],
            &["bob", "city", "trust"],
        ),
        ("Patient?_id=bob&_revinclude=Observation:patient", &["bob"], &["sugar", "salt"]),
        (
            "Patient?_id=bob&_revinclude=Encounter:patient&_revinclude:iterate=Observation:encounter",
            &["bob"],
            &["visit", "sugar"],
        ),
        ("Encounter?_id=visit,stay&_include=Encounter:patient", &["visit", "stay"], &["bob", "eve"]),
        ("Observation?_id=sugar,salt&_include=Observation:subject", &["sugar", "salt"], &["bob"]),
    ];
    for (query, matches, others) in cases {
        let reply = clinic.importer.get(&format!("/fhir/{query}")).await.expect(200);
        let bundle = reply.json();
        assert_eq!(both(&bundle), (set(matches), set(others)), "{query}");
        assert_eq!(bundle["total"], matches.len(), "{query}: inclusions are not counted");
    }
    // Each record that left stands in the log, inclusions too.
    let before = clinic.server.size().await;
    let _bundle = clinic.importer.get("/fhir/Observation?_id=sugar&_include=Observation:*").await.expect(200);
    let entries = clinic.server.entries(before).await;
    let named: BTreeSet<String> =
        entries.iter().flat_map(|one| &one.entry.object.items).map(|item| item.id.clone()).collect();
    assert_eq!(named, set(&["sugar", "bob", "visit"]));
}

/// Eve is a stranger to Dr Grey: whatever is asked, the answers are those of a clinic without her.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_search_tells_of_a_record_its_caller_may_not_see() {
    let clinic = ward().await;
    let grey = clinic.person(Person::Physician).await;
    let cases: [(&str, &[&str], &[&str]); 12] = [
        ("Patient?name=an", &["bob"], &[]),
        ("Patient?name=anders&_summary=count", &[], &[]),
        ("Patient?_has:Observation:patient:code=hiv", &[], &[]),
        ("Organization?_has:Patient:organization:name=anders", &[], &[]),
        ("Organization?_has:Patient:organization:name=angstrom", &["city"], &[]),
        ("Observation?subject.name=anders", &[], &[]),
        ("Observation?code=hiv", &[], &[]),
        ("Observation?_id=secret&subject.name=anders", &[], &[]),
        ("Organization?_id=city&_revinclude=Patient:organization", &["city"], &["bob"]),
        ("Encounter?_id=stay,visit&_include=Encounter:patient", &["visit"], &["bob"]),
        ("Encounter?_id=visit&_has:Observation:encounter:code=glucose", &["visit"], &[]),
        ("Patient?_sort=family&_id=bob,eve", &["bob"], &[]),
    ];
    for (query, matches, others) in cases {
        let bundle = grey.get(&format!("/fhir/{query}")).await.expect(200).json();
        assert_eq!(both(&bundle), (set(matches), set(others)), "{query}");
        assert_eq!((bundle["total"].as_u64(), next(&bundle)), (Some(matches.len() as u64), None), "{query}");
    }
    // Of a type she may never see she is told so, and a link that leads through it leads nowhere.
    let registry = clinic.server.partner(custodia_support::people::Partner::Registry);
    let bundle = registry.get("/fhir/Patient?_has:Observation:patient:code=hiv").await.expect(200).json();
    assert_eq!(bundle["total"], 0);
    let bundle =
        registry.get("/fhir/Patient?_id=eve&_revinclude=Observation:patient").await.expect(200).json();
    assert_eq!(both(&bundle), (set(&["eve"]), set(&[])));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sorted_pages_hold_every_match_once_in_order() {
    let clinic = Clinic::open().await;
    let names = ["zoellner", "Ada", "ähm", "Bea", "bea", "Ada", "Łis", "kim", "Cid", "dot", "Eli"];
    for (n, name) in names.iter().enumerate() {
        let mut one = patient(&format!("p{n:02}"), &[]);
        one["name"] = json!([{"family": name}]);
        one["birthDate"] = json!(format!("19{:02}-01-01", 50 + n % 3));
        clinic.put(&one).await;
    }
    for (sort, expected) in [
        ("family,_id", "Ada Ada ähm bea Bea Cid dot Eli kim Łis zoellner"),
        ("-family,_id", "zoellner Łis kim Eli dot Cid bea Bea ähm Ada Ada"),
    ] {
        for count in [1, 3, 11, 50] {
            let mut page = format!(
                "/fhir/Patient?family:missing=false&_sort={sort}&_count={count}&birthdate=ge1950&_total=accurate"
            );
            let (mut seen, mut order) = (BTreeSet::new(), Vec::new());
            loop {
                let bundle = clinic.importer.get(&page).await.expect(200).json();
                assert_eq!(bundle["total"], 11);
                for one in found(&bundle) {
                    assert!(seen.insert(one["id"].as_str().unwrap().to_owned()), "{sort}: nothing twice");
                    order.push(one["name"][0]["family"].as_str().unwrap().to_lowercase());
                }
                let Some(next) = next(&bundle) else { break };
                // What it was sorted by is sealed in the link.
                assert!(!next.to_lowercase().contains("zoell"));
                page = next;
            }
            assert_eq!(order.join(" "), expected.to_lowercase(), "{sort} {count}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_mark_finds_is_refused_without_a_patient_and_says_how_to_declare_it() {
    let clinic = ward().await;
    for (query, names) in [
        ("Observation?status=final", "Observation.status"),
        ("Patient?gender=female", "Patient.gender"),
        ("Patient?name=a", "Patient.name"),
        ("Patient?name:contains=ang", "Patient.name"),
        ("Patient?name:missing=false", "Patient.name"),
        ("Patient?identifier:not=x", "Patient.identifier"),
        ("Observation?value-quantity=gt5", "Observation.value-quantity"),
        ("Patient?_has:Observation:patient:status=final", "Observation.status"),
        ("Observation?_id=sugar&_revinclude=Observation:derived-from", "Observation.derived-from"),
    ] {
        let reply = clinic.importer.get(&format!("/fhir/{query}")).await.expect(400);
        assert_eq!(reply.issue(), "too-costly", "{query}");
        let text = reply.json()["issue"][0]["details"]["text"].as_str().unwrap().to_owned();
        assert!(text.contains(names) && text.contains("search.population"), "{query}: {text}");
    }
    // The same is answered where a patient or an id narrows it, and of records about nobody.
    for query in [
        "Observation?patient=bob&status=final",
        "Patient?_id=bob&gender:missing=true",
        "Patient?_id=bob&_has:Observation:patient:status=final",
        "Organization?name:contains=city",
        "Organization?name:missing=false",
    ] {
        let bundle = clinic.importer.get(&format!("/fhir/{query}")).await.expect(200).json();
        assert_ne!(bundle["total"], 0, "{query}");
    }
}

/// An update or deletion takes the old marks away, and a new list makes them anew at the next start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn marks_follow_their_records_and_their_list() {
    let clinic = Clinic::open().await;
    let named = |family: &str| {
        let mut one = patient("bob", &[]);
        one["name"] = json!([{"family": family}]);
        one
    };
    let finds = async |query: &str| {
        ids(&clinic.importer.get(&format!("/fhir/{query}")).await.expect(200).json()).len()
    };
    clinic.put(&named("Quist")).await;
    assert_eq!((finds("Patient?name=quist").await, finds("Patient?name=rask").await), (1, 0));
    clinic.put(&named("Rask")).await;
    assert_eq!((finds("Patient?name=quist").await, finds("Patient?name=rask").await), (0, 1));
    let marked = "SELECT 1 FROM search_mark WHERE type = 103 AND marks <> '{}'";
    assert_eq!(clinic.sql(marked).await.unwrap(), 2);
    let _gone = clinic.importer.delete("/fhir/Patient/bob").await.expect(204);
    assert_eq!(finds("Patient?name=rask").await, 0);
    assert_eq!(clinic.sql(marked).await.unwrap(), 1);

    let observations = "SELECT 1 FROM search_mark WHERE type = 96";
    assert_eq!(clinic.sql(observations).await.unwrap(), 0, "an Observation without identifier bears no mark");
    let (mut config, database, _folder) = clinic.server.stop().await;
    config.search.population = vec!["Observation.status".to_owned()];
    let running = custodia::host::start(config, custodia::clock::Clock::machine()).await.unwrap();
    let owner = database.connect(custodia::store::cluster::Role::Owner).await;
    assert_eq!(owner.execute(observations, &[]).await.unwrap(), 1);
    running.stop().await.unwrap();
}
