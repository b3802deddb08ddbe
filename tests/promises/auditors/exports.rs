//! Exports: asked for, fetched, complete, signed, and of the tenant alone.

use std::{fs, path::Path, process::Command, time::Duration as Wait};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use chrono::Duration;
use custodia::{
    clock::Clock,
    events::{Place, audit_event},
    export::{JOBS_OF_ONE_MAX, check_folder},
    host::{self, Filter, Parts, Presence, Range},
};
use custodia_audit::{
    Checkpoint, Vkey,
    bundle::{Trust, VerifiedBody, verify},
    sha256,
};
use custodia_support::{
    client::{Client, FORM, ROOT, Reply},
    cluster::TestCluster,
    people::{Partner, Person},
    server::{ORIGIN, TestServer},
};
use reqwest::Method;
use serde_json::Value;

use crate::clinic::{Clinic, observation, patient};

const NAMES: [&str; 4] = ["log.bundle", "events.ndjson", "accesses.csv", "MANIFEST"];

async fn ask(auditor: &Client, form: &str) -> Reply {
    auditor.send(Method::POST, "/audit/exports", &[("content-type", FORM)], form).await
}

/// Where an export that was accepted is asked after.
fn location(reply: &Reply) -> String {
    reply.header("content-location").unwrap().strip_prefix(ROOT).unwrap().to_owned()
}

/// Asks until it is done.
async fn done(auditor: &Client, at: &str) -> Value {
    for _ in 0..600 {
        let reply = auditor.get(at).await;
        if reply.status == 200 {
            return reply.json();
        }
        assert_eq!(reply.status, 202, "{}", reply.text());
        assert!(reply.header("x-progress").unwrap().ends_with("entries"));
        tokio::time::sleep(Wait::from_millis(20)).await;
    }
    panic!("the export does not end");
}

/// Every file of an export, into a folder; each is what the manifest says.
async fn fetch(auditor: &Client, manifest: &Value, folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    for output in manifest["output"].as_array().unwrap() {
        let url = output["url"].as_str().unwrap().strip_prefix(ROOT).unwrap();
        let file = auditor.get(url).await.expect(200);
        assert!(file.receipt().is_some());
        assert_eq!(file.body.len() as u64, output["extension"]["bytes"].as_u64().unwrap());
        let hex: String = sha256(&[&file.body]).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(output["extension"]["sha256"], hex);
        fs::write(folder.join(output["extension"]["name"].as_str().unwrap()), &file.body).unwrap();
    }
}

/// What a bundle holds: opened with their entries' users, and the numbers of all, withheld and control.
fn bundle(bytes: &[u8], key: &Vkey) -> (Vec<(u64, Option<String>)>, u64, u64, u64) {
    let (mut opened, mut withheld, mut control) = (Vec::new(), 0, 0);
    let report = verify(bytes, &Trust::of_log(key, None), |entry| match entry.body {
        VerifiedBody::Opened(one) => opened.push((entry.index, one.actor.unwrap().user)),
        VerifiedBody::Withheld(_) => withheld += 1,
        VerifiedBody::Control(_) => control += 1,
    })
    .unwrap();
    (opened, withheld, control, report.header.end - report.header.first)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_over_https_accounts_for_every_index_and_is_signed_whole() {
    let clinic = Clinic::open().await;
    let far = clinic.server.partner(Partner::FarImporter);
    let _theirs = far.put("/fhir/Patient/unseen", &patient("unseen", &[])).await.expect(201);
    let auditor = clinic.person(Person::Auditor).await;
    let earlier = auditor.get("/audit/checkpoint").await.expect(200).text();
    let _read = clinic.person(Person::Physician).await.get("/fhir/Patient/ann").await.expect(200);
    let mut form = String::from("reason=yearly+review&earlier=");
    custodia::fhir::search::form::encode(&mut form, &STANDARD.encode(&earlier));
    let asked = ask(&auditor, &form).await.expect(202);
    let entry = clinic.server.entry(asked.receipt().unwrap()).await;
    assert_eq!(entry.object.interaction, "audit-export");
    assert!(entry.detail.query.unwrap().contains("reason=yearly+review"));
    let at = location(&asked);
    let manifest = done(&auditor, &at).await;
    let folder = clinic.server.folder().join("fetched");
    fetch(&auditor, &manifest, &folder).await;
    let names: Vec<_> = manifest["output"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["extension"]["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, NAMES);

    let key = clinic.server.app().ledger.vkey().clone();
    assert_eq!(check_folder(&folder, &key).unwrap(), &NAMES[..3]);
    let file = fs::read(folder.join("log.bundle")).unwrap();
    let (opened, withheld, control, all) = bundle(&file, &key);
    assert!(withheld > 0 && control > 0);
    assert_eq!(opened.len() as u64 + withheld + control, all);
    let counts = &manifest["extension"];
    assert_eq!((counts["first"].as_u64(), counts["end"].as_u64()), (Some(0), Some(all)));
    assert_eq!(counts["opened"].as_u64(), Some(opened.len() as u64));
    let continued = Checkpoint::open(earlier.as_bytes(), ORIGIN, std::slice::from_ref(&key), 0).unwrap();
    let trust = Trust::of_log(&key, Some(continued.clone()));
    assert_eq!(verify(file.as_slice(), &trust, |_| {}).unwrap().continues, Some(continued.size));

    // Line for line what an auditor is shown at /fhir/AuditEvent, and nothing of the other tenant.
    let events = fs::read_to_string(folder.join("events.ndjson")).unwrap();
    let accesses: Vec<Value> = events
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|event| {
            event["source"]["site"] == "clinic" && !event["id"].as_str().unwrap().ends_with("disclosure")
        })
        .collect();
    assert_eq!(accesses.len(), opened.len());
    for event in &accesses {
        let index: u64 = event["id"].as_str().unwrap().strip_prefix("log-0-").unwrap().parse().unwrap();
        let entry = clinic.server.entry(index).await;
        assert_eq!(*event, audit_event(&Place { origin: ORIGIN, shard: 0, index }, &entry));
    }
    assert_eq!(manifest["output"][1]["count"].as_u64(), Some(events.lines().count() as u64));
    let table = fs::read_to_string(folder.join("accesses.csv")).unwrap();
    let first_cells: std::collections::BTreeSet<u64> =
        table.lines().skip(1).map(|line| line.split('"').nth(1).unwrap().parse().unwrap()).collect();
    assert_eq!(first_cells, (0..all).collect(), "every index has its line");
    for name in NAMES {
        let bytes = fs::read(folder.join(name)).unwrap();
        assert!(!bytes.windows(6).any(|window| window == b"unseen"), "{name}");
    }
    // What sha256sum understands is enough to check the files without us.
    let checked =
        Command::new("sha256sum").args(["--check", "--status", "MANIFEST"]).current_dir(&folder).status();
    assert!(checked.unwrap().success());
    for name in &NAMES[..3] {
        let path = folder.join(name);
        let whole = fs::read(&path).unwrap();
        let mut changed = whole.clone();
        changed[whole.len() / 2] ^= 1;
        fs::write(&path, changed).unwrap();
        assert!(check_folder(&folder, &key).is_err(), "{name}");
        fs::write(&path, whole).unwrap();
    }
    let note = fs::read_to_string(folder.join("MANIFEST")).unwrap();
    fs::write(folder.join("MANIFEST"), note.replacen("withheld", "Withheld", 1)).unwrap();
    assert!(check_folder(&folder, &key).is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_asked_for_is_withheld_and_still_accounted_for() {
    let clinic = Clinic::open().await;
    clinic.put(&patient("bob", &["Practitioner/grey"])).await;
    let physician = clinic.person(Person::Physician).await;
    let ann = physician.get("/fhir/Observation/pulse").await.expect(200).receipt().unwrap();
    let bob = physician.get("/fhir/Patient/bob").await.expect(200).receipt().unwrap();
    let auditor = clinic.person(Person::Auditor).await;
    let key = clinic.server.app().ledger.vkey().clone();
    let last = clinic.server.size().await;
    let cases: [(&str, Vec<u64>); 6] = [
        ("patient=bob&agent=grey", vec![bob]),
        ("agent=grey&patient=Patient/ann", vec![ann]),
        (&format!("first={ann}&end={}", ann + 1), vec![ann]),
        ("until=2000-01-01", vec![]),
        ("since=2100-01-01", vec![]),
        (&format!("since=2000-01-01&until=2100-01-01&first={bob}&end={last}&agent=grey"), vec![bob]),
    ];
    for (form, expected) in cases {
        let reply = ask(&auditor, form).await.expect(202);
        let at = location(&reply);
        let manifest = done(&auditor, &at).await;
        let url = manifest["output"][0]["url"].as_str().unwrap().strip_prefix(ROOT).unwrap().to_owned();
        let file = auditor.get(&url).await.expect(200).body;
        let (opened, withheld, control, all) = bundle(&file, &key);
        assert_eq!(opened.iter().map(|(index, _)| *index).collect::<Vec<_>>(), expected, "{form}");
        assert_eq!(opened.len() as u64 + withheld + control, all, "{form}");
        let _gone = auditor.delete(&at).await.expect(202);
    }
    for wrong in [
        "first=x",
        "end=999999",
        "first=3&end=2",
        "since=yesterday",
        "patient=a/b",
        "nonsense=1",
        "agent=a&agent=b",
        "earlier=nonsense",
        &format!("reason={}", "x".repeat(513)),
    ] {
        let before = clinic.server.size().await;
        let reply = ask(&auditor, wrong).await.expect(400);
        assert_eq!(reply.json()["resourceType"], "OperationOutcome", "{wrong}");
        assert_eq!(clinic.server.size().await, before + 1);
    }
    let _longest = ask(&auditor, &format!("reason={}", "x".repeat(512))).await.expect(202);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_is_its_owners_can_be_cancelled_and_expires() {
    let clock = Clock::fixed("2026-06-01T12:00:00Z".parse().unwrap());
    let server = TestServer::with(TestCluster::quick().await, clock.clone(), |_| {}).await;
    let auditor = server.person(Person::Auditor).await;
    let physician = server.person(Person::Physician).await;
    let asked = ask(&auditor, "").await.expect(202);
    let at = location(&asked);
    let manifest = done(&auditor, &at).await;
    let file = manifest["output"][1]["url"].as_str().unwrap().strip_prefix(ROOT).unwrap().to_owned();

    // The log's other reader is not its owner, and a physician no auditor.
    let now = clock.now();
    let assertion = server.program().assertion(&server.app().doorman.token_url, now, "one");
    let form = format!(
        "grant_type=client_credentials&client_assertion={assertion}&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer"
    );
    let token = server.anybody().form("/auth/token", &form).await.expect(200).json();
    let other = server.anybody().bearing(token["access_token"].as_str().unwrap());
    for path in [&at, &file] {
        let _hidden = other.get(path).await.expect(404);
        let _forbidden = physician.get(path).await.expect(403);
        let _anonymous = server.anybody().get(path).await.expect(401);
    }
    let _hidden = other.delete(&at).await.expect(404);
    let _forbidden = physician.delete(&at).await.expect(403);
    let _still = auditor.get(&file).await.expect(200);
    let _none_of_its_files = auditor.get(&format!("{at}/..%2Fsecret")).await.expect(404);
    let _none_of_its_files = auditor.get(&format!("{at}/keystore.json")).await.expect(404);

    // Nothing of what waits can be read on the disk.
    let waiting: Vec<_> = walk(&server.config().exports_folder());
    assert_eq!(waiting.len(), NAMES.len());
    for path in &waiting {
        let bytes = fs::read(path).unwrap();
        for word in [b"watch".as_slice(), b"AuditEvent", b"custodia/", b"records.test"] {
            assert!(!bytes.windows(word.len()).any(|window| window == word), "{}", path.display());
        }
    }
    let _gone = auditor.delete(&at).await.expect(202);
    let _gone = auditor.get(&at).await.expect(404);
    assert_eq!(walk(&server.config().exports_folder()).len(), 0);

    // So many at once and no more.
    let mut kept = Vec::new();
    for _ in 0..JOBS_OF_ONE_MAX {
        kept.push(location(&ask(&auditor, "").await.expect(202)));
    }
    let refused = ask(&auditor, "").await.expect(429);
    assert_eq!(refused.issue(), "throttled");
    for at in &kept {
        let _done = done(&auditor, at).await;
    }
    clock.advance(Duration::hours(24));
    let auditor = server.person(Person::Auditor).await;
    for at in &kept {
        let _expired = auditor.get(at).await.expect(404);
    }
    assert_eq!(walk(&server.config().exports_folder()).len(), 0);
}

/// Every file under a folder.
fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_writes_a_folder_whose_manifest_holds() {
    let clinic = Clinic::open().await;
    clinic.put(&observation("pulse", "ann", "=1+1")).await;
    let key = clinic.server.app().ledger.vkey().clone();
    let (config, _database, folder) = clinic.server.stop().await;
    let parts = Parts::open(&config, &Clock::machine(), Presence::Visitor, &|_| {}).await.unwrap();
    let out = folder.path().join("export");
    let filter = Filter { patient: Some("Patient/ann".to_owned()), ..Filter::default() };
    let range = Range { filter, reason: "r".to_owned(), ..Range::default() };
    let [summary] = &host::export_folder(&parts, &range, &out).await.unwrap()[..] else { unreachable!() };
    assert_eq!(check_folder(&out, &key).unwrap(), &NAMES[..3]);
    let (opened, withheld, control, all) = bundle(&fs::read(out.join("log.bundle")).unwrap(), &key);
    let counts = summary.counts;
    assert_eq!((opened.len() as u64, withheld, control), (counts.opened, counts.withheld, counts.control));
    assert!(opened.len() >= 3 && withheld > 0);
    assert_eq!(summary.end - summary.first, all);
    // It is there already: nothing is written over it, and nothing is recorded.
    let before = parts.ledger.reader().checkpoint().await.unwrap().1.size;
    assert!(host::export_folder(&parts, &range, &out).await.is_err());
    assert_eq!(parts.ledger.reader().checkpoint().await.unwrap().1.size, before);
    let other = Vkey::parse("other.test/log+00000000+AQ==");
    assert!(other.is_err());
}
