//! Several servers on one database write one log: no gap, no fork, no lost entry.

use std::collections::BTreeSet;

use custodia::{
    clock::Clock,
    host::{self, Parts, Presence, Range},
    store::cluster::Role,
};
use custodia_audit::bundle::{Trust, VerifiedBody, VerifiedEntry, verify};
use custodia_support::{
    client::{Client, Reply},
    people::Partner,
};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::clinic::{Clinic, observation, without_id};

/// Servers beside the first.
const OTHERS: usize = 3;
/// Clients of each server.
const CLIENTS: usize = 64;
/// Rounds of each client: a create, a read, an update of a record that others update too.
const ROUNDS: usize = 2;
/// Records that everybody updates.
const SHARED: usize = 32;

/// How often a client asks again when it is told that too many others are at it (409) or that the house is full
/// (503, which has no entry).
const TRIES: usize = 20;

/// What a client asks for.
enum Ask<'a> {
    Post(&'a str, &'a Value),
    Get(&'a str),
    Put(&'a str, &'a Value),
}

/// Asks until the answer is neither 409 nor 503; every receipt goes to `receipts`.
async fn served(client: &Client, receipts: &mut Vec<u64>, ask: Ask<'_>) -> Reply {
    for _ in 0..TRIES {
        let reply = match &ask {
            Ask::Post(path, body) => client.post(path, body).await,
            Ask::Get(path) => client.get(path).await,
            Ask::Put(path, body) => client.put(path, body).await,
        };
        receipts.extend(reply.receipt());
        assert!(reply.receipt().is_some() || reply.status == 503, "an entry, or the empty 503");
        if !matches!(reply.status, 409 | 503) {
            return reply;
        }
    }
    panic!("not served in {TRIES} tries");
}

/// What one client was told: the receipts, and the versions it wrote of the shared records.
async fn work(client: Client, number: usize) -> (Vec<u64>, Vec<(usize, String)>) {
    let (mut receipts, mut versions) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let new = without_id(observation("x", "ann", &format!("{number}-{round}")));
        let created = served(&client, &mut receipts, Ask::Post("/fhir/Observation", &new)).await.expect(201);
        let path = format!("/fhir/Observation/{}", created.id());
        let read = served(&client, &mut receipts, Ask::Get(&path)).await.expect(200);
        assert_eq!(read.json()["code"]["text"], format!("{number}-{round}"));
        let shared = (number * 7 + round) % SHARED;
        let id = format!("shared-{shared}");
        let changed = observation(&id, "ann", &format!("{number}-{round}"));
        let path = format!("/fhir/Observation/{id}");
        let updated = served(&client, &mut receipts, Ask::Put(&path, &changed)).await.expect(200);
        versions.push((shared, updated.json()["meta"]["versionId"].as_str().unwrap().to_owned()));
    }
    (receipts, versions)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_servers_under_load_write_one_log_without_a_gap() {
    let clinic = Clinic::open().await;
    for shared in 0..SHARED {
        clinic.put(&observation(&format!("shared-{shared}"), "ann", "0")).await;
    }
    let mut others = Vec::new();
    for _ in 0..OTHERS {
        others.push(clinic.server.another().await);
    }
    let first = clinic.server.partner(Partner::Importer);
    let rest = others.iter().map(|other| clinic.server.partner_of(other, Partner::Importer));
    let doors: Vec<Client> = std::iter::once(first).chain(rest).collect();
    let mut clients = JoinSet::new();
    for number in 0..doors.len() * CLIENTS {
        clients.spawn(work(doors[number % doors.len()].clone(), number));
    }
    let (mut receipts, mut versions) = (BTreeSet::new(), BTreeSet::new());
    for (told, written) in clients.join_all().await {
        for receipt in told {
            assert!(receipts.insert(receipt), "no two answers share entry {receipt}");
        }
        for version in written {
            assert!(versions.insert(version.clone()), "no two updates made {version:?}");
        }
    }
    assert_eq!(versions.len(), doors.len() * CLIENTS * ROUNDS);
    for other in others {
        other.stop().await.unwrap();
    }
    let key = clinic.server.app().ledger.vkey().clone();
    let (config, _database, _folder) = clinic.server.stop().await;
    let parts = Parts::open(&config, &Clock::machine(), Presence::Visitor, &|_| {}).await.unwrap();
    let (file, count) = host::export(&parts, &Range::default(), Vec::new()).await.unwrap();
    let mut entries: Vec<VerifiedEntry> = Vec::new();
    let report = verify(file.as_slice(), &Trust::of_log(&key, None), |entry| entries.push(entry)).unwrap();
    assert!(report.is_whole);
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    assert_eq!(entries.len() as u64, count);
    let opened: BTreeSet<u64> = entries
        .iter()
        .filter(|entry| matches!(entry.body, VerifiedBody::Opened(_)))
        .map(|entry| entry.index)
        .collect();
    assert!(receipts.is_subset(&opened), "every receipt names an access that the export opens");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_second_of_two_first_versions_is_not_written_over_the_first() {
    let clinic = Clinic::open().await;
    // Two logs in one database: no head row makes these servers take turns.
    let mut config = clinic.server.config().clone();
    config.ledger.shard = 1;
    config.ledger.origin = Some("records.test/other".to_owned());
    let other = host::start(config, Clock::machine()).await.unwrap();
    let doors = [clinic.importer.clone(), clinic.server.partner_of(&other, Partner::Importer)];
    let owner = clinic.server.database().connect(Role::Owner).await;
    // Both have found nothing under the id before either can write.
    owner.batch_execute("BEGIN; LOCK TABLE record IN SHARE MODE").await.unwrap();
    let mut writers = JoinSet::new();
    for (number, door) in doors.into_iter().enumerate() {
        writers.spawn(async move {
            let sent = observation("same", "ann", &format!("{number}"));
            (number, door.put("/fhir/Observation/same", &sent).await.status)
        });
    }
    let waiting = "SELECT count(*) FROM pg_locks WHERE relation = 'record'::regclass AND NOT granted";
    while owner.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0) < 2 {
        tokio::task::yield_now().await;
    }
    owner.batch_execute("COMMIT").await.unwrap();
    let mut told = writers.join_all().await;
    told.sort_by_key(|(_, status)| *status);
    let [(first, 201), (_, 503)] = told[..] else { unreachable!("told {told:?}") };
    let kept = clinic.importer.get("/fhir/Observation/same").await.expect(200).json();
    assert_eq!(
        (kept["meta"]["versionId"].as_str(), kept["code"]["text"].as_str()),
        (Some("1"), Some(first.to_string().as_str()))
    );
    other.stop().await.unwrap();
}
