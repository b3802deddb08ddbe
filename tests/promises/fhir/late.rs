//! Asking again from the time of the last answer finds everything that was not on it, however late it was committed.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use custodia::{clock::Clock, host, store::cluster::Role};
use custodia_support::{client::Client, cluster::TestCluster, people::Partner, server::TestServer};
use serde_json::Value;

use crate::clinic::{Clinic, bundle, observation, patient};

/// A clinic whose clock the test moves.
async fn clocked() -> (Clinic, Clock) {
    let clock = Clock::fixed("2020-06-01T12:00:00Z".parse().unwrap());
    let server = TestServer::with(TestCluster::quick().await, clock.clone(), |_| {}).await;
    let importer = server.partner(Partner::Importer);
    let clinic = Clinic { server, importer };
    clinic.put(&patient("ann", &[])).await;
    (clinic, clock)
}

/// The ids that an answer shows.
async fn ids(client: &Client, path: &str) -> Vec<String> {
    asked(client, path).await.0
}

/// The same, and from when to ask again.
async fn asked(client: &Client, path: &str) -> (Vec<String>, String) {
    let page = client.get(path).await.expect(200).json();
    let id = |entry: &Value| entry["resource"]["id"].as_str().map(str::to_owned);
    let ids = page["entry"].as_array().map(|all| all.iter().filter_map(id).collect()).unwrap_or_default();
    (ids, page["meta"]["lastUpdated"].as_str().unwrap().to_owned())
}

/// The instant that a resource was written at.
fn written_at(resource: &Value) -> DateTime<Utc> {
    resource["meta"]["lastUpdated"].as_str().unwrap().parse().unwrap()
}

/// Waits until a query of the owner's says so.
pub(super) async fn until(clinic: &Clinic, sql: &str) {
    let owner = clinic.server.database().connect(Role::Owner).await;
    for _ in 0..500 {
        if owner.query_one(sql, &[]).await.unwrap().get(0) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it never came to be: {sql}");
}

pub(super) const WAITS: &str = "SELECT EXISTS (SELECT 1 FROM pg_locks l JOIN pg_stat_activity a USING (pid)
                     WHERE a.datname = current_database() AND NOT l.granted)";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_committed_while_somebody_asks_what_is_new_is_on_one_of_two_answers() {
    let (clinic, clock) = clocked().await;
    let mut holder = clinic.server.database().connect(Role::Owner).await;
    for (at, (first, again)) in [
        ("/fhir/Observation/_history", "/fhir/Observation/_history?_since="),
        ("/fhir/_history", "/fhir/_history?_since="),
        ("/fhir/Observation?_lastUpdated=ge2019", "/fhir/Observation?_lastUpdated=ge"),
        (
            "/fhir?_type=Observation,Device&_lastUpdated=ge2019",
            "/fhir?_type=Observation,Device&_lastUpdated=ge",
        ),
        ("/fhir/Patient/ann/$everything?_since=2019-01-01", "/fhir/Patient/ann/$everything?_since="),
        (
            "/fhir/Observation?patient=ann&_filter=status%20eq%20unknown%20or%20_lastUpdated%20ge%202019-01-01",
            "/fhir/Observation?patient=ann&_filter=status%20eq%20unknown%20or%20_lastUpdated%20ge%20",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("late{at}");
        // It is dated, and then waits for the head.
        let held = holder.transaction().await.unwrap();
        held.query("SELECT 1 FROM ledger_head FOR UPDATE", &[]).await.unwrap();
        let (importer, path) = (clinic.importer.clone(), format!("/fhir/Observation/{id}"));
        let body = observation(&id, "ann", "x");
        let written = tokio::spawn(async move { importer.put(&path, &body).await.expect(201) });
        until(&clinic, WAITS).await;
        clock.advance(TimeDelta::minutes(1));
        let now = clock.now();
        let importer = clinic.importer.clone();
        let answered = tokio::spawn(async move { asked(&importer, first).await });
        // Long enough to read what is there by now.
        tokio::time::sleep(Duration::from_millis(300)).await;
        // What is dated by now may be on neither answer to whoever asks again from here on.
        clock.advance(TimeDelta::minutes(1));
        held.rollback().await.unwrap();
        let ((first, as_of), written) = (answered.await.unwrap(), written.await.unwrap());
        let told: DateTime<Utc> = as_of.parse().unwrap();
        assert!(told >= now && told <= clock.now(), "{again}: {as_of}");
        let second = ids(&clinic.importer, &format!("{again}{as_of}")).await;
        assert!(first.contains(&id) || second.contains(&id), "{again}: {first:?}, {second:?}");
        assert_eq!(written.json()["meta"]["versionId"], "1");
        clock.advance(TimeDelta::minutes(1));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_committed_late_is_dated_after_whoever_asked_before() {
    let (clinic, _) = clocked().await;
    let other = clinic.server.another().await;
    let reader = clinic.server.partner_of(&other, Partner::Importer);
    let mut holder = clinic.server.database().connect(Role::Owner).await;
    // It is dated, and then waits for her key.
    let held = holder.transaction().await.unwrap();
    held.batch_execute("LOCK TABLE data_key IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let importer = clinic.importer.clone();
    let written = tokio::spawn(async move {
        importer.put("/fhir/Observation/late", &observation("late", "ann", "x")).await.expect(201)
    });
    until(&clinic, WAITS).await;
    // Another server, whose clock is years ahead, is asked what is new and settles it before the write goes on.
    let answered = tokio::spawn(async move {
        let first = ids(&reader, "/fhir/Observation/_history").await;
        (first, reader)
    });
    until(&clinic, "SELECT settled > '2021-01-01T00:00:00Z' FROM ledger_head").await;
    held.rollback().await.unwrap();
    let (_, reader) = answered.await.unwrap();
    let written = written.await.unwrap().json();
    let owner = clinic.server.database().connect(Role::Owner).await;
    let sql =
        "SELECT to_char(settled AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"') FROM ledger_head";
    let settled: String = owner.query_one(sql, &[]).await.unwrap().get(0);
    assert_eq!(written["meta"]["lastUpdated"], settled.as_str());
    for path in ["Observation/_history?_since=", "Observation?_lastUpdated=ge"] {
        assert_eq!(ids(&reader, &format!("/fhir/{path}{settled}")).await, ["late"], "{path}");
    }
    drop(other);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_write_is_committed_beside_whoever_keeps_asking_what_is_new() {
    let clinic = Clinic::open().await;
    let reader = clinic.importer.clone();
    let asking = tokio::spawn(async move {
        loop {
            reader.get("/fhir/Observation/nothing/_history?_since=2020").await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let requests: Vec<_> = (0..150)
        .map(|number| {
            let id = format!("many{number}");
            ("PUT", format!("Observation/{id}"), Some(observation(&id, "ann", "x")))
        })
        .collect();
    let requests: Vec<_> =
        requests.iter().map(|(method, url, resource)| (*method, url.as_str(), resource.clone())).collect();
    let answer = clinic.importer.post("/fhir", &bundle("transaction", &requests)).await;
    let now = Clock::machine().now();
    asking.abort();
    let answer = answer.expect(200).json();
    let last = &answer["entry"][149]["response"]["lastModified"];
    let dated: DateTime<Utc> = last.as_str().unwrap().parse().unwrap();
    // Ahead of the clock, and not by more than it may wait for its commit.
    assert!(dated < now + TimeDelta::seconds(35), "{dated}, {now}");
    // What is written over it is dated after it all the same.
    let reply = clinic.importer.put("/fhir/Observation/many149", &observation("many149", "ann", "y")).await;
    assert!(written_at(&reply.expect(200).json()) >= dated);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_is_dated_no_earlier_than_the_one_it_replaces() {
    let (clinic, _) = clocked().await;
    let other = clinic.server.another().await;
    let writer = clinic.server.partner_of(&other, Partner::Importer);
    // Years ahead of the clinic's clock.
    let path = "/fhir/Observation/pulse";
    let first = writer.put(path, &observation("pulse", "ann", "x")).await.expect(201).json();
    let second = clinic.importer.put(path, &observation("pulse", "ann", "y")).await.expect(200).json();
    assert!(written_at(&second) >= written_at(&first));
    let url = format!("{path}/_history?_since={}", first["meta"]["lastUpdated"].as_str().unwrap());
    assert_eq!(ids(&writer, &url).await.len(), 2, "both are new since the first");
    let entry = ("PUT", "Observation/pulse", Some(observation("pulse", "ann", "z")));
    let _done = clinic.importer.post("/fhir", &bundle("transaction", &[entry])).await.expect(200);
    let third = clinic.importer.get(path).await.expect(200).json();
    assert!(written_at(&third) >= written_at(&second));
    drop(other);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_runs_ahead_dates_nobody_elses_writes() {
    let clock = Clock::fixed(Clock::machine().now() + TimeDelta::hours(12));
    let server = TestServer::with(TestCluster::quick().await, clock, |_| {}).await;
    let importer = server.partner(Partner::Importer);
    let right = server.another().await;
    let writer = server.partner_of(&right, Partner::Importer);
    let _done = writer.put("/fhir/Patient/ann", &patient("ann", &[])).await.expect(201);
    let (_, as_of) = asked(&importer, "/fhir/Patient/_history").await;
    let within = |at: DateTime<Utc>| at < Clock::machine().now() + TimeDelta::seconds(6);
    assert!(within(as_of.parse().unwrap()), "it does not say more than is so: {as_of}");
    let written = writer.put("/fhir/Observation/next", &observation("next", "ann", "x")).await.expect(201);
    assert!(within(written_at(&written.json())));
    assert_eq!(ids(&importer, &format!("/fhir/_history?_since={as_of}")).await, ["next"]);
    drop(right);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_settled_moves_with_a_tenant_to_another_log() {
    let clinic = Clinic::open().await;
    clinic.put(&patient("ann", &[])).await;
    let (_, as_of) = asked(&clinic.importer, "/fhir/Patient/_history").await;
    let (mut config, database, _folder) = clinic.server.stop().await;
    let owner = database.connect(Role::Owner).await;
    config.ledger.shards = 2;
    let running = host::start(config, Clock::machine()).await.unwrap();
    let sql = "SELECT count(*), min(settled) >= $1::text::timestamptz FROM ledger_head";
    let row = owner.query_one(sql, &[&as_of]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, bool>(1)), (2, true));
    running.stop().await.unwrap();
}
