//! The file an auditor receives verifies, and accounts for every version that is stored.

use std::collections::BTreeMap;

use custodia::{
    clock::Clock,
    host::{self, Parts, Presence, Range},
    store::cluster::Role,
};
use custodia_audit::{
    Action, Checkpoint, Vkey,
    bundle::{Trust, VerifiedBody, VerifiedEntry, verify},
    sha256,
};
use custodia_support::{
    people::{Partner, Person},
    server::ORIGIN,
};

use crate::clinic::{Clinic, observation, patient};

fn trust(key: &Vkey, earlier: Option<Checkpoint>) -> Trust {
    Trust::of_log(key, earlier)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_verifies_and_holds_an_entry_for_every_version() {
    let clinic = Clinic::open().await;
    let auditor = clinic.person(Person::Auditor).await;
    let note = auditor.get("/audit/checkpoint").await.expect(200).text();
    clinic.put(&observation("pulse", "ann", "changed")).await;
    let _gone = clinic.importer.delete("/fhir/Observation/pulse").await.expect(204);
    let far = clinic.server.partner(Partner::FarImporter);
    let _theirs = far.put("/fhir/Patient/ann", &patient("ann", &[])).await.expect(201);
    let key = clinic.server.app().ledger.vkey().clone();
    let owner = clinic.server.database().connect(Role::Owner).await;
    let (config, _database, _folder) = clinic.server.stop().await;

    assert_eq!(host::vkeys(&config).await.unwrap(), std::slice::from_ref(&key));
    let parts = Parts::open(&config, &Clock::machine(), Presence::Visitor, &|_| {}).await.unwrap();
    let range = Range { earlier: vec![note.clone()], reason: "yearly review".to_owned(), ..Range::default() };
    let (file, count) = host::export(&parts, &range, Vec::new()).await.unwrap();
    let earlier = Checkpoint::open(note.as_bytes(), ORIGIN, std::slice::from_ref(&key), 0).unwrap();
    let mut entries: Vec<VerifiedEntry> = Vec::new();
    let report =
        verify(file.as_slice(), &trust(&key, Some(earlier.clone())), |entry| entries.push(entry)).unwrap();
    assert!(report.is_whole && report.continues == Some(earlier.size));
    assert_eq!((entries.len() as u64, report.header.reason.as_str()), (count, "yearly review"));
    assert!(report.findings.is_empty(), "{:?}", report.findings);

    let mut written: BTreeMap<u64, Vec<[u8; 32]>> = BTreeMap::new();
    for entry in &entries {
        let VerifiedBody::Opened(opened) = &entry.body else { continue };
        let items = &opened.object.as_ref().unwrap().items;
        let written_here = items.iter().filter(|item| item.action != Action::Released);
        written.entry(entry.index).or_default().extend(written_here.map(|item| item.digest));
    }
    written.retain(|_, digests| !digests.is_empty());
    let sql = "SELECT entry, body::bytea FROM record UNION ALL SELECT entry, body::bytea FROM record_version";
    let mut stored: BTreeMap<u64, Vec<[u8; 32]>> = BTreeMap::new();
    for row in owner.query(sql, &[]).await.unwrap() {
        let index = u64::try_from(row.get::<_, i64>(0)).unwrap();
        stored.entry(index).or_default().push(sha256(&[row.get(1)]));
    }
    assert_eq!(stored.values().map(Vec::len).sum::<usize>(), 6);
    assert_eq!(stored, written, "every stored version has its entry, and every entry its version");

    // What was changed on the way is not taken.
    for at in [file.len() / 3, file.len() / 2, file.len() - 40] {
        let mut changed = file.clone();
        changed[at] ^= 1;
        assert!(verify(changed.as_slice(), &trust(&key, None), |_| {}).is_err(), "byte {at}");
    }
    let cut = &file[..file.len() - 1];
    assert!(verify(cut, &trust(&key, None), |_| {}).is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenants_export_opens_its_own_entries_alone() {
    let clinic = Clinic::open().await;
    let far = clinic.server.partner(Partner::FarImporter);
    let _theirs = far.put("/fhir/Patient/unseen", &patient("unseen", &[])).await.expect(201);
    let key = clinic.server.app().ledger.vkey().clone();
    let tenant = custodia::host::Registry::from(&**clinic.server.app()).tenant("clinic").await.unwrap();
    let (config, _database, _folder) = clinic.server.stop().await;
    let parts = Parts::open(&config, &Clock::machine(), Presence::Visitor, &|_| {}).await.unwrap();
    let range =
        Range { tenant: Some((tenant, "clinic".to_owned())), reason: "r".to_owned(), ..Range::default() };
    let (file, _) = host::export(&parts, &range, Vec::new()).await.unwrap();
    let (mut opened, mut withheld) = (0, 0);
    verify(file.as_slice(), &trust(&key, None), |entry| match entry.body {
        VerifiedBody::Opened(one) => {
            opened += 1;
            assert_eq!(one.subject.unwrap().tenant.as_deref(), Some("clinic"));
        }
        VerifiedBody::Withheld(_) => withheld += 1,
        VerifiedBody::Control(_) => {}
    })
    .unwrap();
    assert!(opened > 0 && withheld > 0, "{opened} {withheld}");
    assert!(!file.windows(6).any(|bytes| bytes == b"unseen"));
}
