//! Asking again from the time of the last answer finds everything that was not on it, however late it was committed.

use std::time::Duration;

use chrono::TimeDelta;
use custodia::{clock::Clock, store::cluster::Role};
use custodia_support::{client::Client, cluster::TestCluster, people::Partner, server::TestServer};
use serde_json::Value;

use crate::clinic::{Clinic, observation, patient};

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
    let page = client.get(path).await.expect(200).json();
    let id = |entry: &Value| entry["resource"]["id"].as_str().map(str::to_owned);
    page["entry"].as_array().map(|all| all.iter().filter_map(id).collect()).unwrap_or_default()
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
        let asked = clock.now().format("%Y-%m-%dT%H:%M:%SZ").to_string();
        let importer = clinic.importer.clone();
        let answered = tokio::spawn(async move { ids(&importer, first).await });
        // Long enough to read what is there by now.
        tokio::time::sleep(Duration::from_millis(300)).await;
        held.rollback().await.unwrap();
        let (first, written) = (answered.await.unwrap(), written.await.unwrap());
        let second = ids(&clinic.importer, &format!("{again}{asked}")).await;
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
