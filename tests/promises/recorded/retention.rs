//! Retention: what is older than its time cannot be opened, a legal hold keeps it, and every proof still verifies.

use chrono::{DateTime, Utc};
use custodia::{
    clock::Clock,
    host::{self, Parts, Presence, Range, RegisterError, Registry},
    ledger::ReadError,
    store::cluster::Role,
};
use custodia_audit::bundle::{Report, Trust, VerifiedBody, VerifiedEntry, verify};
use custodia_support::{cluster::TestCluster, people::Partner, server::TestServer};

use crate::clinic::{observation, patient};

/// Long enough ago that every audit key of it is spent.
fn long_ago() -> DateTime<Utc> {
    "2018-03-05T12:00:00Z".parse().unwrap()
}

async fn exported(parts: &Parts) -> (Report, Vec<VerifiedEntry>) {
    let (file, _) = host::export(parts, &Range::default(), Vec::new()).await.unwrap();
    let mut entries = Vec::new();
    let trust = Trust::of_log(parts.ledger.vkey(), None);
    let report = verify(file.as_slice(), &trust, |entry| entries.push(entry)).unwrap();
    (report, entries)
}

fn withheld(entries: &[VerifiedEntry]) -> usize {
    entries.iter().filter(|entry| matches!(entry.body, VerifiedBody::Withheld(_))).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_destroyed_after_their_time_unless_held_and_the_log_still_verifies() {
    let server = TestServer::with(TestCluster::quick().await, Clock::fixed(long_ago()), |_| {}).await;
    let importer = server.partner(Partner::Importer);
    let _ann = importer.put("/fhir/Patient/ann", &patient("ann", &[])).await.expect(201);
    let _pulse =
        importer.put("/fhir/Observation/pulse", &observation("pulse", "ann", "72")).await.expect(201);
    let (config, database, _folder) = server.stop().await;
    let owner = database.connect(Role::Owner).await;
    let kept = async || -> i64 {
        owner.query_one("SELECT count(*) FROM audit_key WHERE month < 2020 * 12", &[]).await.unwrap().get(0)
    };
    assert_eq!(kept().await, 2, "the house's and the clinic's");

    let parts = Parts::open(&config, &Clock::machine(), Presence::Visitor, &|_| {}).await.unwrap();
    let registry = Registry::from(&parts);
    let (_, entries) = exported(&parts).await;
    assert_eq!(withheld(&entries), 0, "before the pass everything opens");
    let tenant: String = owner
        .query_one("SELECT name FROM tenant WHERE id > 0 ORDER BY id LIMIT 1", &[])
        .await
        .unwrap()
        .get(0);
    registry.place_hold(&tenant).await.unwrap();
    assert!(matches!(registry.place_hold(&tenant).await, Err(RegisterError::Held)));
    assert_eq!(registry.holds().await.unwrap().len(), 1);
    assert_eq!(registry.retain(6).await.unwrap(), 1, "the house's alone: the clinic's is held");
    registry.lift_hold(&tenant).await.unwrap();
    assert!(matches!(registry.lift_hold(&tenant).await, Err(RegisterError::NotHeld)));
    assert_eq!(kept().await, 1);
    assert_eq!(registry.retain(100).await.unwrap(), 0, "nothing is that old");
    assert_eq!(registry.retain(6).await.unwrap(), 1);
    assert_eq!(kept().await, 0);

    // Opened keys are forgotten within minutes; another process has none.
    let parts = Parts::open(&config, &Clock::machine(), Presence::Visitor, &|_| {}).await.unwrap();
    let (report, entries) = exported(&parts).await;
    assert!(report.is_whole);
    assert!(withheld(&entries) >= 2, "what was seen in 2018 is a commitment now");
    let said: Vec<&str> = entries
        .iter()
        .filter_map(|entry| match &entry.body {
            VerifiedBody::Opened(opened) => opened.object.as_ref().map(|object| object.interaction.as_str()),
            _ => None,
        })
        .collect();
    for (word, times) in [("audit-key-destroy", 4), ("legal-hold-place", 4), ("legal-hold-lift", 4)] {
        assert_eq!(said.iter().filter(|one| **one == word).count(), times, "{word}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_key_goes_before_its_time() {
    let lately = Clock::fixed(Clock::machine().now() - chrono::Duration::days(70));
    let server = TestServer::with(TestCluster::quick().await, lately, |_| {}).await;
    let _seen = server.anybody().get("/fhir/metadata").await.expect(200);
    let database = server.database();
    let role = database.connect(Role::Server).await;
    let refused = role.execute("DELETE FROM audit_key", &[]).await;
    assert!(refused.is_err(), "the server's role cannot delete keys");
    let gone: i64 = role.query_one("SELECT destroy_audit_keys(2000000000)", &[]).await.unwrap().get(0);
    assert_eq!(gone, 0, "nor has others destroyed that are not six years old");

    let owner = database.connect(Role::Owner).await;
    owner.execute("DELETE FROM audit_key", &[]).await.unwrap();
    let (config, _database, _folder) = server.stop().await;
    let parts = Parts::open(&config, &Clock::machine(), Presence::Visitor, &|_| {}).await.unwrap();
    let read = parts.ledger.reader().entries(0, 8).await;
    assert!(
        matches!(read.err(), Some(ReadError::Broken)),
        "a key that is gone too soon is not taken for spent"
    );
}
