//! Whoever owns the tables can take the triggers off and edit the log; nobody who verifies it is deceived.

use custodia::{
    clock::Clock,
    host::{self, Parts, Presence, Range},
};
use custodia_audit::{
    ProofFile,
    bundle::{Trust, verify},
};
use custodia_support::{people::Person, server::ORIGIN};

use crate::clinic::Clinic;

/// What an intruder runs between taking the trigger off and putting it back; `{}` is the index of an entry.
const EDITS: [(&str, &str); 4] = [
    (
        "a leaf is edited",
        "UPDATE ledger_entry SET leaf = set_byte(leaf, 9, get_byte(leaf, 9) # 1) WHERE index = {}",
    ),
    (
        "a body is edited",
        "UPDATE ledger_entry SET body = set_byte(body::bytea, 99, get_byte(body::bytea, 99) # 1)::sealed WHERE index = {}",
    ),
    ("an entry is removed", "DELETE FROM ledger_entry WHERE index = {}"),
    (
        "an entry takes another's place",
        "UPDATE ledger_entry SET (leaf, body, tenant, month) = (SELECT leaf, body, tenant, month FROM ledger_entry WHERE index = {} - 1) WHERE index = {}",
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edited_log_is_exported_to_nobody_who_verifies_it() {
    for (what, edit) in EDITS {
        let clinic = Clinic::open().await;
        let reply = clinic.person(Person::Physician).await.get("/fhir/Patient/ann").await.expect(200);
        let index = reply.receipt().unwrap();
        let auditor = clinic.person(Person::Auditor).await;
        let key = clinic.server.app().ledger.vkey().clone();
        let proof = auditor.get(&format!("/audit/entries/{index}/proof")).await.expect(200).body;
        clinic.sql("ALTER TABLE ledger_entry DISABLE TRIGGER append_only").await.unwrap();
        assert_eq!(clinic.sql(&edit.replace("{}", &index.to_string())).await.unwrap(), 1, "{what}");
        clinic.sql("ALTER TABLE ledger_entry ENABLE TRIGGER append_only").await.unwrap();

        // The proof that was given out before holds for the entry as it was, and for no other.
        let leaf = auditor.get(&format!("/audit/entries/{index}")).await;
        if leaf.status == 200 && !what.contains("body") {
            let proof = ProofFile::parse(&proof).unwrap();
            assert!(proof.verify(&leaf.body, ORIGIN, std::slice::from_ref(&key), 0).is_err(), "{what}");
        }
        let (config, _database, _folder) = clinic.server.stop().await;
        let trust = Trust::of_log(&key, None);
        // Refused already by whoever exports it, or by whoever verifies what was exported.
        let Ok(parts) = Parts::open(&config, &Clock::machine(), Presence::Visitor, &|_| {}).await else {
            continue;
        };
        let range = Range { reason: "r".to_owned(), ..Range::default() };
        let exported = host::export(&parts, &range, Vec::new()).await;
        let verified = exported.ok().map(|(file, _)| verify(file.as_slice(), &trust, |_| {}).is_ok());
        assert_ne!(verified, Some(true), "{what}: exported and verified");
    }
}
