//! Every answer has a receipt, and every receipt a proof that an auditor verifies with the log's key alone.

use custodia_audit::{KeyKind, ProofFile, Vkey};
use custodia_support::{client::Reply, people::Person, server::ORIGIN};
use reqwest::Method;

use crate::clinic::{Clinic, patient};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_has_a_receipt_whose_proof_verifies() {
    let clinic = Clinic::open().await;
    let (physician, anybody) = (clinic.person(Person::Physician).await, clinic.server.anybody());
    let xml = [("accept", "application/fhir+xml")];
    let stale = [("if-match", "W/\"7\"")];
    let held = [("if-none-match", "W/\"1\"")];
    let ann = patient("ann", &["Practitioner/grey"]);
    let replies: Vec<(u16, Reply)> = vec![
        (200, physician.get("/fhir/Patient/ann").await),
        (200, physician.get("/fhir/Observation?patient=ann").await),
        (200, anybody.get("/fhir/metadata").await),
        (200, anybody.get("/auth/jwks").await),
        (304, physician.get_with("/fhir/Patient/ann", &held).await),
        (400, physician.get("/fhir/Patient?_count=x").await),
        (400, anybody.form("/auth/token", "grant_type=password&username=grey&password=wrong").await),
        (401, anybody.get("/fhir/Patient/ann").await),
        (401, anybody.get("/nowhere").await),
        (403, physician.get("/fhir/Claim/1").await),
        (404, physician.get("/fhir/Patient/nobody").await),
        (404, physician.get("/nowhere").await),
        (405, physician.send(Method::OPTIONS, "/fhir/Patient/ann", &[], "").await),
        (406, physician.get_with("/fhir/Patient/ann", &xml).await),
        (412, physician.put_with("/fhir/Patient/ann", &stale, &ann).await),
        (415, physician.send(Method::POST, "/fhir/Patient", &[("content-type", "text/plain")], "x").await),
        (422, physician.post("/fhir/Patient", &serde_json::json!({"resourceType": "Patient", "x": 1})).await),
    ];
    let key = clinic.server.app().ledger.vkey().clone();
    let auditor = clinic.person(Person::Auditor).await;
    let mut last = 0;
    for (status, reply) in replies {
        assert_eq!(reply.status, status, "{}", reply.text());
        let index = reply.receipt().expect("an answer has a receipt");
        assert_eq!(reply.header("custodia-receipt"), Some(format!("{ORIGIN}/{index}").as_str()));
        assert!(index > last, "each request has an entry of its own");
        last = index;
        let leaf = auditor.get(&format!("/audit/entries/{index}")).await.expect(200).body;
        let proof = auditor.get(&format!("/audit/entries/{index}/proof")).await.expect(200).body;
        let proof = ProofFile::parse(&proof).unwrap();
        let checkpoint = proof.verify(&leaf, ORIGIN, std::slice::from_ref(&key), 0).unwrap();
        assert!(checkpoint.size > index);
        // The proof is for this entry, in this log, under this key.
        let mut other_leaf = leaf.clone();
        other_leaf[20] ^= 1;
        assert!(proof.verify(&other_leaf, ORIGIN, std::slice::from_ref(&key), 0).is_err());
        assert!(proof.verify(&leaf, "elsewhere.test/log", std::slice::from_ref(&key), 0).is_err());
        let other_key = Vkey::new(ORIGIN, KeyKind::Ed25519, [7; 32]).unwrap();
        assert!(proof.verify(&leaf, ORIGIN, &[other_key], 0).is_err());
        let moved = ProofFile { index: index - 1, ..proof };
        assert!(moved.verify(&leaf, ORIGIN, std::slice::from_ref(&key), 0).is_err());
    }
}
