//! A patient's report: everything about her, nothing about anybody else, proven line by line.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use custodia::{
    clock::Clock,
    host::{self, Parts, Presence, Registry},
    interaction::disclosures::{LINES_MAX, Wanted},
};
use custodia_audit::{Kind, Leaf, ProofFile, Subject, Vkey, entry_commitment, group_digest};
use custodia_support::{
    client::{Client, ROOT},
    people::{PASSWORD, Person},
};
use serde_json::Value;

use crate::clinic::{Clinic, bundle, observation, patient};

/// Somebody who signed in for a purpose other than the usual one.
async fn for_purpose(clinic: &Clinic, person: Person, purpose: &str) -> Client {
    let anybody = clinic.server.anybody();
    let form = format!(
        "grant_type=password&username={}&password={}&purpose_of_use={purpose}",
        person.login(),
        PASSWORD.replace(' ', "+")
    );
    let token = anybody.form("/auth/token", &form).await.expect(200).json();
    anybody.bearing(token["access_token"].as_str().unwrap())
}

/// What the evidence of a line opens, after everything was checked against the log's key: groups that are shown.
pub(crate) fn proven(line: &Value, key: &Vkey) -> Vec<Option<Vec<u8>>> {
    let evidence = &line["evidence"];
    let bytes = |value: &Value| STANDARD.decode(value.as_str().unwrap()).unwrap();
    let (mut digests, mut shown) = ([[0_u8; 32]; 5], Vec::new());
    for (at, group) in evidence["groups"].as_array().unwrap().iter().enumerate() {
        if let Some(digest) = group.get("digest") {
            digests[at] = bytes(digest).try_into().unwrap();
            shown.push(None);
            continue;
        }
        let (salt, content): ([u8; 32], _) =
            (bytes(&group["salt"]).try_into().unwrap(), bytes(&group["bytes"]));
        digests[at] = group_digest(u8::try_from(at).unwrap(), &salt, &content);
        shown.push(Some(content));
    }
    let leaf = Leaf::Access(entry_commitment(&digests)).to_bytes();
    assert_eq!(leaf, bytes(&evidence["entry"]), "the shown groups are those of the entry");
    let proof = ProofFile::parse(evidence["proof"].as_str().unwrap().as_bytes()).unwrap();
    assert_eq!(Some(proof.index), line["index"].as_u64());
    proof.verify(&leaf, key.name(), std::slice::from_ref(key), 0).unwrap();
    shown
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_tells_every_access_about_the_patient_with_its_proof_and_nobody_elses() {
    let clinic = Clinic::open().await;
    clinic.put(&patient("bob", &["Practitioner/grey"])).await;
    clinic.put(&observation("other", "bob", "x")).await;
    let physician = clinic.person(Person::Physician).await;
    let read = physician.get("/fhir/Observation/pulse").await.expect(200).receipt().unwrap();
    let _both = clinic.importer.get("/fhir/Observation?patient=ann,bob").await.expect(200);
    let _hidden = clinic.person(Person::Stranger).await.get("/fhir/Patient/ann").await.expect(404);
    let officer = clinic.person(Person::PrivacyOfficer).await;
    let reply = officer.get("/audit/disclosures/ann").await.expect(200);
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let text = reply.text();
    for absent in ["bob", "grey", "other", "\"watch\"", "GET /"] {
        assert!(!text.contains(absent), "{absent}");
    }
    let report = reply.json();
    let key = clinic.server.app().ledger.vkey().clone();
    let told: Vec<u64> =
        report["lines"].as_array().unwrap().iter().map(|line| line["index"].as_u64().unwrap()).collect();
    let entries = clinic.server.entries(0).await;
    let about = entries.iter().filter(|one| one.entry.subject.patient.as_deref() == Some("Patient/ann"));
    let (came, refused): (Vec<_>, Vec<_>) = about.partition(|one| one.entry.event.outcome.status < 400);
    let expected: Vec<u64> = came.iter().rev().map(|one| one.index).collect();
    assert_eq!(told, expected, "every entry about what came to pass, newest first");
    assert_eq!(refused.len(), 1, "the stranger's attempt is in the log, and nothing of her was seen");
    assert_eq!(report["count"].as_u64(), Some(told.len() as u64));
    for line in report["lines"].as_array().unwrap() {
        let shown = proven(line, &key);
        assert!(shown[1].is_none() && shown[4].is_none(), "neither who nor the question");
        let subject = Subject::from_group(shown[2].as_ref().unwrap()).unwrap();
        assert_eq!(subject.patient.as_deref(), Some("Patient/ann"));
    }
    let line = report["lines"].as_array().unwrap().iter().find(|line| line["index"] == read).unwrap();
    assert_eq!(line["roles"], serde_json::json!(["physician"]));
    assert_eq!(line["seen"], serde_json::json!(["Observation/pulse/_history/1"]));
    assert_eq!((&line["purpose"], &line["disclosed"]), (&"TREAT".into(), &false.into()));
    let searched = &report["lines"][0];
    assert_eq!((&searched["name"], &searched["disclosed"]), (&"importer".into(), &true.into()));

    // Making it is an entry that names what it showed.
    let entry = clinic.server.entry(reply.receipt().unwrap()).await;
    assert_eq!((entry.event.kind, entry.object.interaction.as_str()), (Kind::Audit, "audit-disclosures"));
    assert_eq!(entry.object.items.len(), told.len());
    assert_eq!(entry.object.policies, ["privacy-officer-reports-disclosures"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn employees_are_named_only_to_whom_a_policy_names_them() {
    let clinic = Clinic::open().await;
    let _read = clinic.person(Person::Physician).await.get("/fhir/Patient/ann").await.expect(200);
    let named = "/audit/disclosures/ann?names=show";
    let _refused = clinic.person(Person::PrivacyOfficer).await.get(named).await.expect(403);
    let weighing = for_purpose(&clinic, Person::PrivacyOfficer, "HOPERAT").await;
    let auditor = clinic.person(Person::Auditor).await;
    for client in [&weighing, &auditor] {
        let report = client.get(named).await.expect(200);
        assert!(report.text().contains("\"name\":\"grey\""));
        let key = clinic.server.app().ledger.vkey().clone();
        assert!(proven(&report.json()["lines"][0], &key)[1].is_some(), "a name that is shown is proven");
        let unnamed = client.get("/audit/disclosures/ann").await.expect(200);
        assert!(!unnamed.text().contains("grey"));
    }
    for person in [Person::Physician, Person::Nurse, Person::FrontDesk, Person::Stranger] {
        let refused = clinic.person(person).await.get("/audit/disclosures/ann").await.expect(403);
        assert_eq!(refused.issue(), "forbidden", "{person:?}");
    }
    let _partner = clinic.importer.get("/audit/disclosures/ann").await.expect(403);
    let _anonymous = clinic.server.anybody().get("/audit/disclosures/ann").await.expect(401);
    // A privacy officer makes reports and sees nothing else of the log, nor any record.
    for path in
        ["/audit/checkpoint", "/fhir/AuditEvent/log-0-1", "/fhir/Patient/ann", "/audit/entries/0/proof"]
    {
        let reply = weighing.get(path).await;
        assert!(matches!(reply.status, 403 | 404), "{path}: {}", reply.status);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_comes_in_three_forms_and_within_its_dates() {
    let clinic = Clinic::open().await;
    let officer = clinic.person(Person::PrivacyOfficer).await;
    let csv = officer.get("/audit/disclosures/ann?_format=csv").await.expect(200);
    assert_eq!(csv.header("content-type"), Some("text/csv; charset=utf-8"));
    let lines = csv.text().lines().count() - 1;
    let html = officer.get("/audit/disclosures/ann?_format=html").await.expect(200);
    assert_eq!(html.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(html.text().matches("<tr>").count() - 1, lines);
    assert!(html.header("content-security-policy").unwrap().starts_with("default-src 'none'"));
    let count = async |query: &str| {
        let reply = officer.get(&format!("/audit/disclosures/ann?{query}")).await.expect(200);
        reply.json()["lines"].as_array().unwrap().len()
    };
    assert_eq!(count("").await, lines);
    assert_eq!(count("since=2000-01-01&until=2100-01-01").await, lines);
    assert_eq!(count("until=2000-01-01").await, 0);
    assert_eq!(count("since=2100-01-01").await, 0);
    let nobody = officer.get("/audit/disclosures/nobody").await.expect(200).json();
    assert_eq!(nobody["lines"], serde_json::json!([]));
    for wrong in ["since=x", "_format=pdf", "names=perhaps", "_cursor=x", "patient=bob"] {
        let refused = officer.get(&format!("/audit/disclosures/ann?{wrong}")).await.expect(400);
        assert_eq!(refused.json()["resourceType"], "OperationOutcome", "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_holds_its_bound_and_the_next_the_rest() {
    let clinic = Clinic::open().await;
    let officer = clinic.person(Person::PrivacyOfficer).await;
    let before = officer.get("/audit/disclosures/ann").await.expect(200).json()["count"].as_u64().unwrap();
    let reads = vec![("GET", "Patient/ann", None); LINES_MAX + 1 - usize::try_from(before).unwrap()];
    let _batch = clinic.importer.post("/fhir", &bundle("batch", &reads)).await.expect(200);
    let first = officer.get("/audit/disclosures/ann?since=2000-01-01").await.expect(200).json();
    assert_eq!(first["count"].as_u64(), Some(LINES_MAX as u64));
    let next = first["next"].as_str().unwrap().strip_prefix(ROOT).unwrap();
    assert!(next.contains("since=2000-01-01"));
    let second = officer.get(next).await.expect(200).json();
    assert_eq!((second["count"].as_u64(), &second["next"]), (Some(1), &Value::Null));
    let last = |page: &Value| page["lines"].as_array().unwrap().last().unwrap()["index"].as_u64().unwrap();
    assert!(last(&second) < last(&first));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_writes_every_form_and_proofs_that_verify() {
    let clinic = Clinic::open().await;
    let _read = clinic.person(Person::Physician).await.get("/fhir/Patient/ann").await.expect(200);
    let key = clinic.server.app().ledger.vkey().clone();
    let (config, _database, folder) = clinic.server.stop().await;
    let parts = Parts::open(&config, &Clock::machine(), Presence::Visitor, &|_| {}).await.unwrap();
    let tenant = Registry::from(&parts).tenant("clinic").await.unwrap();
    let out = folder.path().join("report");
    let wanted = || Wanted::of(&parts.clock, custodia::fhir::kinds::LogicalId::parse("ann").unwrap());
    let size = parts.ledger.reader().checkpoint().await.unwrap().1.size;
    let count = host::disclosures(&parts, (tenant, "clinic"), wanted(), &out).await.unwrap();
    assert_eq!(parts.ledger.reader().checkpoint().await.unwrap().1.size, size + 1, "it is recorded");
    let text = std::fs::read_to_string(out.join("disclosures.json")).unwrap();
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(report["lines"].as_array().unwrap().len(), count);
    assert!(count >= 4 && !text.contains("grey"));
    for line in report["lines"].as_array().unwrap() {
        let _shown = proven(line, &key);
        let index = line["index"].as_u64().unwrap();
        let entry = std::fs::read(out.join(format!("proofs/{index}.entry"))).unwrap();
        let proof = std::fs::read(out.join(format!("proofs/{index}.tlog-proof"))).unwrap();
        ProofFile::parse(&proof).unwrap().verify(&entry, key.name(), std::slice::from_ref(&key), 0).unwrap();
    }
    for name in ["disclosures.csv", "disclosures.html"] {
        assert!(std::fs::read_to_string(out.join(name)).unwrap().contains("physician"), "{name}");
    }
    assert!(
        host::disclosures(&parts, (tenant, "clinic"), wanted(), &out).await.is_err(),
        "it is there already"
    );
}
