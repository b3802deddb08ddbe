//! Several logs side by side: none has a gap, no entry and no update is lost, and they are read as one.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::{Command, Stdio},
};

use custodia::{
    clock::Clock,
    config::Config,
    host::{self, Parts, Presence, Range, StartError},
    ledger::SetupError,
    store::cluster::Role,
};
use custodia_audit::{
    Action, KeyKind, ProofFile, Vkey,
    bundle::{Report, Trust, VerifiedBody, verify},
    sha256,
};
use custodia_support::{
    client::{Client, Reply},
    cluster::{TestCluster, TestDatabase},
    people::{Partner, Person},
    server::{ORIGIN, TestServer},
};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::clinic::{Clinic, events, observation, patient, without_id};

/// Logs side by side.
const SHARDS: i16 = 2;
/// Servers beside the first.
const OTHERS: usize = 3;
/// Clients of each server.
const CLIENTS: usize = 64;
/// Records of each tenant that everybody there updates.
const SHARED: usize = 16;
/// How often a client asks again when others are at the same record (409) or the house is full (503).
const TRIES: usize = 20;

/// Rounds of each client: a create, a read, an update of a shared record.
fn rounds() -> usize {
    std::env::var("CUSTODIA_SHARD_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(1)
}

fn second() -> String {
    format!("{ORIGIN}/1")
}

async fn clinic() -> Clinic {
    let change = |config: &mut Config| {
        config.ledger.shards = SHARDS;
        config.ledger.mirror = Some(config.home.join("mirror"));
    };
    Clinic::on(TestServer::with(TestCluster::quick().await, Clock::machine(), change).await).await
}

/// Log and index of the entry that a receipt names.
fn receipt(reply: &Reply) -> Option<(String, u64)> {
    let (origin, index) = reply.header("custodia-receipt")?.rsplit_once('/')?;
    Some((origin.to_owned(), index.parse().ok()?))
}

enum Ask<'a> {
    Post(&'a str, &'a Value),
    Get(&'a str),
    Put(&'a str, &'a Value),
}

type Receipts = Vec<(String, u64)>;

async fn served(client: &Client, receipts: &mut Receipts, ask: Ask<'_>) -> Reply {
    for _ in 0..TRIES {
        let reply = match &ask {
            Ask::Post(path, body) => client.post(path, body).await,
            Ask::Get(path) => client.get(path).await,
            Ask::Put(path, body) => client.put(path, body).await,
        };
        receipts.extend(receipt(&reply));
        assert!(receipt(&reply).is_some() || reply.status == 503, "an entry, or the empty 503");
        if !matches!(reply.status, 409 | 503) {
            return reply;
        }
    }
    panic!("not served in {TRIES} tries");
}

/// What one client was told: the receipts, and the versions it wrote of its tenant's shared records.
async fn work(client: Client, tenant: usize, number: usize) -> (Receipts, Vec<(usize, usize, String)>) {
    let (mut receipts, mut versions) = (Vec::new(), Vec::new());
    for round in 0..rounds() {
        let text = format!("{number}-{round}");
        let new = without_id(observation("x", "ann", &text));
        let created = served(&client, &mut receipts, Ask::Post("/fhir/Observation", &new)).await.expect(201);
        let path = format!("/fhir/Observation/{}", created.id());
        let read = served(&client, &mut receipts, Ask::Get(&path)).await.expect(200);
        assert_eq!(read.json()["code"]["text"], text);
        let shared = (number * 7 + round) % SHARED;
        let id = format!("shared-{shared}");
        let changed = observation(&id, "ann", &text);
        let path = format!("/fhir/Observation/{id}");
        let updated = served(&client, &mut receipts, Ask::Put(&path, &changed)).await.expect(200);
        versions.push((tenant, shared, updated.json()["meta"]["versionId"].as_str().unwrap().to_owned()));
    }
    (receipts, versions)
}

async fn parts(config: &Config) -> Result<Parts, StartError> {
    Parts::open(config, &Clock::machine(), Presence::Visitor, &|_| {}).await
}

/// What the logs say was written, by log and index: digests of the envelopes. And the accesses that are opened.
#[derive(Default)]
struct Told {
    written: BTreeMap<(usize, u64), BTreeSet<[u8; 32]>>,
    opened: BTreeSet<(String, u64)>,
    reports: Vec<Report>,
}

/// Exports every log into a folder, and has both verifiers judge it.
async fn exported(config: &Config, folder: &Path) -> Told {
    let parts = parts(config).await.unwrap();
    let summaries = host::export_folder(&parts, &Range::default(), folder).await.unwrap();
    let keys: Vec<Vkey> = parts.ledger.shards().iter().map(|log| log.vkey().clone()).collect();
    parts.close().await.unwrap();
    let names = custodia::export::check_folder(folder, &keys[0]).unwrap();
    assert_eq!(names, ["log.bundle", "log-1.bundle", "events.ndjson", "accesses.csv"]);
    let mut told = Told::default();
    for (number, (key, name)) in keys.iter().zip(["log.bundle", "log-1.bundle"]).enumerate() {
        let file = std::fs::File::open(folder.join(name)).unwrap();
        let report = verify(file, &Trust::of_log(key, None), |entry| {
            let VerifiedBody::Opened(opened) = entry.body else { return };
            told.opened.insert((key.name().to_owned(), entry.index));
            let items = opened.object.map(|object| object.items).unwrap_or_default();
            let written = items.into_iter().filter(|item| item.action != Action::Released);
            told.written.entry((number, entry.index)).or_default().extend(written.map(|item| item.digest));
        });
        told.reports.push(report.unwrap());
    }
    assert_eq!(summaries.len(), told.reports.len());
    second_verifier(folder, &keys);
    told
}

/// verify.py over both bundles together, where Python and its package are.
fn second_verifier(folder: &Path, keys: &[Vkey]) {
    let python =
        |arguments: &[String]| Command::new("python3").args(arguments).stderr(Stdio::null()).output().ok();
    let check = ["-c", "import sys, cryptography; sys.exit(sys.version_info < (3, 10))"].map(str::to_owned);
    if !python(&check).is_some_and(|output| output.status.success()) {
        assert!(std::env::var("SECOND_VERIFIER").is_err(), "verify.py needs python3 and cryptography");
        return;
    }
    let call = |files: &[&str]| {
        let mut arguments = vec![format!("{}/audit/verify.py", env!("CARGO_MANIFEST_DIR")), "--json".into()];
        arguments.extend(keys.iter().flat_map(|key| ["--vkey".to_owned(), key.to_string()]));
        arguments.extend(files.iter().map(|name| folder.join(name).display().to_string()));
        let output = python(&arguments).unwrap();
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code(), said)
    };
    let (code, said) = call(&["log-1.bundle", "log.bundle"]);
    assert_eq!(
        (code, &said["verified"], &said["missing"]),
        (Some(0), &true.into(), &serde_json::json!([])),
        "{said}"
    );
    let (code, said) = call(&["log.bundle"]);
    assert_eq!((code, &said["report"]["shards"]), (Some(0), &serde_json::json!([0, 2])), "{said}");
}

/// Every version names the entry that recorded it, and every entry that says something was written has its version.
async fn check_versions(database: &TestDatabase, told: &Told) {
    let owner = database.connect(Role::Owner).await;
    let sql = "SELECT shard, entry, body::bytea FROM record UNION ALL SELECT shard, entry, body::bytea FROM record_version";
    let mut versions: BTreeMap<(usize, u64), BTreeSet<[u8; 32]>> = BTreeMap::new();
    for row in owner.query(sql, &[]).await.unwrap() {
        let (shard, entry, body): (i16, i64, Vec<u8>) = (row.get(0), row.get(1), row.get(2));
        let at = (usize::try_from(shard).unwrap(), u64::try_from(entry).unwrap());
        assert!(versions.entry(at).or_default().insert(sha256(&[&body])));
    }
    let written: BTreeMap<_, _> = told
        .written
        .iter()
        .filter(|(_, digests)| !digests.is_empty())
        .map(|(at, all)| (*at, all.clone()))
        .collect();
    assert_eq!(versions, written);
    let homes = "SELECT tenant, count(DISTINCT shard) FROM
                 (SELECT tenant, shard FROM record UNION ALL SELECT tenant, shard FROM record_version) written GROUP BY tenant";
    for row in owner.query(homes, &[]).await.unwrap() {
        assert_eq!(row.get::<_, i64>(1), 1, "tenant {} is written under one head", row.get::<_, i32>(0));
    }
    for number in 0..usize::try_from(SHARDS).unwrap() {
        assert!(versions.keys().any(|(shard, _)| *shard == number), "log {number} recorded no version");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_servers_and_two_logs_under_load_lose_nothing() {
    let clinic = clinic().await;
    let far = clinic.server.partner(Partner::FarImporter);
    let _created = far.put("/fhir/Patient/ann", &patient("ann", &[])).await.expect(201);
    for shared in 0..SHARED {
        let shared = observation(&format!("shared-{shared}"), "ann", "0");
        clinic.put(&shared).await;
        let path = format!("/fhir/Observation/{}", shared["id"].as_str().unwrap());
        let _created = far.put(&path, &shared).await.expect(201);
    }
    let mut others = Vec::new();
    for _ in 0..OTHERS {
        others.push(clinic.server.another().await);
    }
    let tenants = [Partner::Importer, Partner::FarImporter];
    let mut doors: Vec<[Client; 2]> = vec![tenants.map(|partner| clinic.server.partner(partner))];
    doors.extend(others.iter().map(|other| tenants.map(|partner| clinic.server.partner_of(other, partner))));
    let mut clients = JoinSet::new();
    for number in 0..doors.len() * CLIENTS {
        let (door, tenant) = (&doors[number % doors.len()], number / doors.len() % 2);
        clients.spawn(work(door[tenant].clone(), tenant, number));
    }
    let (mut receipts, mut versions) = (BTreeSet::new(), BTreeSet::new());
    for (told, written) in clients.join_all().await {
        for receipt in told {
            assert!(receipts.insert(receipt.clone()), "no two answers share entry {receipt:?}");
        }
        for version in written {
            assert!(versions.insert(version.clone()), "no two updates made {version:?}");
        }
    }
    assert_eq!(versions.len(), doors.len() * CLIENTS * rounds());
    for other in others {
        other.stop().await.unwrap();
    }
    let (config, database, folder) = clinic.server.stop().await;
    let told = exported(&config, &folder.path().join("export")).await;
    for (number, report) in (0..).zip(&told.reports) {
        assert!(report.is_whole);
        assert_eq!(report.shards, Some((number, 2)));
        assert!(report.findings.is_empty(), "{:?}", report.findings);
    }
    assert!(receipts.is_subset(&told.opened), "every receipt names an access that the export opens");
    for origin in [ORIGIN, &second()] {
        let count = receipts.iter().filter(|(log, _)| log == origin).count();
        assert!(count > receipts.len() / 5, "{origin} has {count} of {}", receipts.len());
    }
    check_versions(&database, &told).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_knows_of_fewer_logs_writes_nothing() {
    let clinic = Clinic::open().await;
    let mut config = clinic.server.config().clone();
    config.ledger.shards = 2;
    let parts = parts(&config).await.unwrap();
    let (size, _) = (parts.ledger.reader().size().await.unwrap(), parts.close().await.unwrap());
    for _ in 0..2 {
        let reply = clinic.importer.get("/fhir/Patient/ann").await;
        assert_eq!((reply.status, reply.body.len()), (503, 0));
    }
    assert!(!clinic.server.app().ledger.counts().is_committing());
    assert_eq!(clinic.server.size().await, size);
    // Nor does one start that would know of fewer; and there are never fewer again.
    let refused = host::start(clinic.server.config().clone(), Clock::machine()).await;
    assert!(matches!(refused, Err(StartError::Ledger(SetupError::Shards(2)))));
    let shrink = clinic.sql("UPDATE ledger_head SET shards = 1").await;
    assert!(shrink.is_err());
    let running = host::start(config, Clock::machine()).await.unwrap();
    let door = clinic.server.partner_of(&running, Partner::Importer);
    let _read = door.get("/fhir/Patient/ann").await.expect(200);
    running.stop().await.unwrap();
}

/// Reads of a patient until both logs have some; the receipts, the last first.
async fn reads(clinic: &Clinic, least: usize) -> Receipts {
    let mut told: Receipts = Vec::new();
    for _ in 0..200 {
        let of = |origin: &str| told.iter().filter(|(log, _)| log == origin).count();
        if of(ORIGIN) >= least && of(&second()) >= least {
            told.reverse();
            return told;
        }
        told.extend(receipt(&clinic.importer.get("/fhir/Patient/ann").await.expect(200)));
    }
    panic!("one log takes no reads");
}

fn log_id((origin, index): &(String, u64)) -> String {
    format!("log-{}-{index}", u8::from(origin != ORIGIN))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_reports_and_proofs_are_read_from_both_logs_newest_first() {
    let clinic = clinic().await;
    let told = reads(&clinic, 4).await;
    let auditor = clinic.person(Person::Auditor).await;
    let query = "patient=Patient/ann&subtype=read";
    let whole = events(&auditor, &format!("{query}&_count=1000")).await;
    let accesses: Vec<String> = whole.iter().filter(|id| !id.ends_with("-disclosure")).cloned().collect();
    let expected: Vec<String> = told.iter().map(log_id).collect();
    // Reads in a row from one client: each was committed after the one before, whatever its log.
    assert_eq!(accesses, expected);
    for count in [1, 2, 3] {
        assert_eq!(events(&auditor, &format!("{query}&_count={count}")).await, whole, "in pages of {count}");
    }
    for id in [&whole[0], whole.last().unwrap()] {
        let event = auditor.get(&format!("/fhir/AuditEvent/{id}")).await.expect(200).json();
        assert_eq!(event["id"], **id);
    }

    let officer = clinic.person(Person::PrivacyOfficer).await;
    let report = officer.get("/audit/disclosures/ann").await.expect(200).json();
    let lines: Vec<&str> =
        report["lines"].as_array().unwrap().iter().map(|line| line["receipt"].as_str().unwrap()).collect();
    let receipts: Vec<String> = told.iter().map(|(origin, index)| format!("{origin}/{index}")).collect();
    let of_reads: Vec<&str> =
        lines.iter().copied().filter(|one| receipts.iter().any(|two| one == two)).collect();
    assert_eq!(of_reads, receipts);
    for line in report["lines"].as_array().unwrap() {
        let origin = line["receipt"].as_str().unwrap().rsplit_once('/').unwrap().0;
        crate::auditors::disclosures::proven(line, &key(&clinic, origin));
    }

    // Each log has its checkpoint, tiles and proofs.
    let (_, index) = told.iter().find(|(origin, _)| *origin == second()).unwrap();
    let text = |path: String| {
        let auditor = auditor.clone();
        async move { auditor.get(&path).await.expect(200) }
    };
    let proof = text(format!("/audit/shards/1/entries/{index}/proof")).await;
    let leaf = text(format!("/audit/shards/1/entries/{index}")).await;
    let proof = ProofFile::parse(&proof.body).unwrap();
    let _sound = proof.verify(&leaf.body, &second(), &[key(&clinic, &second())], 0).unwrap();
    assert!(text("/audit/shards/1/checkpoint".into()).await.text().starts_with(&format!("{}\n", second())));
    assert!(text("/audit/shards/0/log/checkpoint".into()).await.text().starts_with(&format!("{ORIGIN}\n")));
    assert_eq!(text("/audit/shards/1/log/tile/0/000.p/1".into()).await.body.len(), 32);
    for path in ["/audit/shards/2/checkpoint", "/audit/shards/1/nonsense", "/audit/shards/-1/checkpoint"] {
        let _nowhere = auditor.get(path).await.expect(404);
    }
    // An export over HTTPS has a bundle of each.
    let refused = auditor.form("/audit/exports", "first=3").await.expect(400);
    assert!(refused.text().contains("side by side"), "{}", refused.text());
}

fn key(clinic: &Clinic, origin: &str) -> Vkey {
    let key = clinic.server.app().ledger.vkey();
    Vkey::new(origin, KeyKind::Ed25519, *key.public()).unwrap()
}
