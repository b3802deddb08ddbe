//! What a log that continues another shows of the older one.

use custodia::{
    clock::Clock,
    export::{ExportError, Outputs, Plan, Progress, Range, Tally},
    host::{self, Continued, NewLogKey, Running, StartError},
    store::cluster::Role,
};
use custodia_audit::{
    Checkpoint, Control, KeyKind, Leaf, Vkey,
    bundle::{Trust, verify},
};
use custodia_support::{
    people::{Partner, Person},
    server::ORIGIN,
};
use serde_json::Value;

use super::disclosures::proven;
use crate::clinic::{Clinic, events};

const SECOND: &str = "records.test/second";

/// A log after the clinic's own, which continues it at a size; its server.
async fn second(clinic: &Clinic, kept: &str) -> Running {
    let mut config = clinic.server.config().clone();
    config.ledger.origin = Some(SECOND.to_owned());
    config.ledger.shard = 1;
    let file = config.home.join("kept");
    std::fs::write(&file, kept).unwrap();
    host::recover_anew(
        &config,
        &Clock::machine(),
        Continued { file: &file, logs: None, key: NewLogKey::Same },
        &|_| (),
    )
    .await
    .unwrap();
    host::start(config, Clock::machine()).await.unwrap()
}

fn key(clinic: &Clinic, origin: &str) -> Vkey {
    let key = clinic.server.app().ledger.vkey();
    Vkey::new(origin, KeyKind::Ed25519, *key.public()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_and_reports_reach_into_the_log_before_as_far_as_it_was_continued() {
    let clinic = Clinic::open().await;
    let path = "/fhir/Patient/ann";
    let mut old = Vec::new();
    for _ in 0..3 {
        old.push(clinic.importer.get(path).await.expect(200).receipt().unwrap());
    }
    let (kept, head) = clinic.server.app().ledger.reader().checkpoint().await.unwrap();
    // What a thief of the key adds to the old log, or another history of it.
    let beyond = clinic.importer.get(path).await.expect(200).receipt().unwrap();
    assert!(beyond >= head.size);
    let other = second(&clinic, &kept).await;
    let importer = clinic.server.partner_of(&other, Partner::Importer);
    let new = importer.get(path).await.expect(200).receipt().unwrap();

    let auditor = clinic.server.person_of(&other, Person::Auditor).await;
    let whole = events(&auditor, "patient=Patient/ann&_count=1000").await;
    let access = |id: &&String| !id.ends_with("-disclosure");
    let told: Vec<&String> = whole.iter().filter(access).collect();
    assert_eq!(*told[0], format!("log-1-{new}"), "the newest log comes first");
    let mut expected: Vec<String> = old.iter().map(|index| format!("log-0-{index}")).collect();
    expected.reverse();
    assert_eq!(told.iter().skip(1).take(3).map(|id| (*id).clone()).collect::<Vec<_>>(), expected);
    assert!(!whole.contains(&format!("log-0-{beyond}")));
    // Pages of two, over the seam, show the same once each, but for what looking adds about nobody.
    assert_eq!(events(&auditor, "patient=Patient/ann&_count=2").await, whole);
    let event = auditor.get(&format!("/fhir/AuditEvent/log-0-{}", old[0])).await.expect(200).text();
    assert!(event.contains(ORIGIN) && !event.contains(SECOND), "{event}");
    let _beyond = auditor.get(&format!("/fhir/AuditEvent/log-0-{beyond}")).await.expect(404);
    let _nothing = auditor.get("/fhir/AuditEvent/log-2-0").await.expect(404);

    let officer = clinic.server.person_of(&other, Person::PrivacyOfficer).await;
    let report = officer.get("/audit/disclosures/ann").await.expect(200).json();
    let lines = report["lines"].as_array().unwrap();
    let receipts: Vec<&str> = lines.iter().map(|line| line["receipt"].as_str().unwrap()).collect();
    assert!(receipts.contains(&format!("{SECOND}/{new}").as_str()));
    assert!(old.iter().all(|index| receipts.contains(&format!("{ORIGIN}/{index}").as_str())));
    assert!(!receipts.contains(&format!("{ORIGIN}/{beyond}").as_str()));
    for line in lines {
        let origin = line["receipt"].as_str().unwrap().rsplit_once('/').unwrap().0;
        proven(line, &key(&clinic, origin));
    }
    // The next page of a report begins where a cursor says, in whichever log.
    let from = format!("/audit/disclosures/ann?_cursor=log-0-{}", old[1]);
    let rest = officer.get(&from).await.expect(200).json();
    assert_eq!(rest["lines"][0]["receipt"], Value::from(format!("{ORIGIN}/{}", old[0])));
    other.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_log_takes_no_entry_names_its_successor_and_is_exported_with_it() {
    let clinic = Clinic::open().await;
    let ledger = &clinic.server.app().ledger;
    let config = clinic.server.config().clone();
    let file = config.home.join("last");
    let close = async |into: &str| host::close_log(&config, &Clock::machine(), (into, &file), &|_| ()).await;
    for wrong in [ORIGIN, "a name", ""] {
        assert!(close(wrong).await.is_err(), "{wrong}");
    }
    ledger.heartbeat().await.unwrap();
    let size = close(SECOND).await.unwrap().entries;
    let kept = std::fs::read_to_string(&file).unwrap();
    let head = Checkpoint::open(kept.as_bytes(), ORIGIN, &[key(&clinic, ORIGIN)], 0).unwrap();
    assert_eq!(head.size, size);
    let last = Leaf::from_bytes(&ledger.reader().leaf(size - 1).await.unwrap()).unwrap();
    assert!(matches!(last, Leaf::Control(Control::ShardLink { origin, size: 0, .. }) if origin == SECOND));

    // The server that was running writes nothing more, says nothing more, and does not start again.
    for _ in 0..2 {
        assert!(ledger.heartbeat().await.is_err());
        let answer = clinic.server.anybody().get("/fhir/metadata").await;
        assert_eq!((answer.status, answer.body.len()), (503, 0));
    }
    assert_eq!(clinic.server.size().await, size);
    match host::start(config.clone(), Clock::machine()).await {
        Err(error) => assert!(
            error.explained().contains(&format!("closed: {SECOND} continues it")),
            "{}",
            error.explained()
        ),
        Ok(_) => unreachable!("it serves"),
    }
    assert!(close("records.test/third").await.is_err());

    // The one it names goes on, and nobody else does.
    let mut third = config.clone();
    third.ledger.origin = Some("records.test/third".to_owned());
    third.ledger.shard = 3;
    let anew = host::recover_anew(
        &third,
        &Clock::machine(),
        Continued { file: &file, logs: None, key: NewLogKey::Same },
        &|_| (),
    )
    .await;
    assert!(anew.is_err());
    let owner = clinic.server.database().connect(Role::Owner).await;
    let sql = "SELECT count(*) FROM ledger_entry WHERE shard = 3";
    assert_eq!(owner.query_one(sql, &[]).await.unwrap().get::<_, i64>(0), 0, "nothing was written");
    let other = second(&clinic, &kept).await;
    let parts = other.app();
    let source = parts.exports.source();
    for (name, end) in [(ORIGIN, size), (SECOND, 0)] {
        let range = Range { log: Some(name.to_owned()), ..Range::default() };
        let plan = Plan::make(source, range).await.unwrap();
        let outputs = Outputs { bundle: Tally::new(Vec::new()), events: None, table: None };
        let (outputs, summary) = plan.write(source, outputs, &Progress::default()).await.unwrap();
        let (bundle, _) = outputs.bundle.finish();
        let report = verify(bundle.as_slice(), &Trust::of_log(&key(&clinic, name), None), |_| ()).unwrap();
        assert!(report.is_whole && summary.origin == name && (end == 0 || summary.end == end));
    }
    let unknown = Range { log: Some("records.test/third".to_owned()), ..Range::default() };
    assert!(matches!(Plan::make(source, unknown).await, Err(ExportError::NoLog)));
    other.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_whose_forerunner_is_not_what_it_committed_to_is_not_served() {
    let clinic = Clinic::open().await;
    let ledger = &clinic.server.app().ledger;
    // The proof from a tree of 2^n entries speaks of none of them.
    if clinic.server.size().await.is_power_of_two() {
        ledger.heartbeat().await.unwrap();
    }
    let (kept, head) = ledger.reader().checkpoint().await.unwrap();
    let other = second(&clinic, &kept).await;
    other.stop().await.unwrap();
    let mut config = clinic.server.config().clone();
    config.ledger.origin = Some(SECOND.to_owned());
    config.ledger.shard = 1;
    host::start(config.clone(), Clock::machine()).await.unwrap().stop().await.unwrap();
    // An owner edits an entry of the old log, its triggers put aside.
    let owner = clinic.server.database().connect(Role::Owner).await;
    let index = i64::try_from(head.size - 1).unwrap();
    owner
        .batch_execute(&format!(
            "ALTER TABLE ledger_entry DISABLE TRIGGER USER;
             UPDATE ledger_entry SET leaf = '\\x01'::bytea || sha256('other') WHERE shard = 0 AND index = {index};
             ALTER TABLE ledger_entry ENABLE TRIGGER USER;"
        ))
        .await
        .unwrap();
    let _more = clinic.server.app().ledger.heartbeat().await;
    match host::start(config, Clock::machine()).await {
        Err(StartError::Ledger(why)) => {
            assert!(why.to_string().contains("a log that it continues"), "{why}");
        }
        Err(error) => unreachable!("{}", error.explained()),
        Ok(_) => unreachable!("it serves"),
    }
}
