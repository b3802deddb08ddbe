//! A server over its own database: it starts from an empty folder, is visited, and is found again.

use custodia::{
    clock::Clock,
    host::{self, Parts, Presence, Range, Registry},
};
use custodia_support::cluster::TestHome;

use super::{Client, exported, files_of, furnished, refusal, start, stop};

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_folder_becomes_a_server_that_is_found_again() {
    let home = TestHome::new();
    let (config, root) = furnished(home.folder());
    host::create_keystore(&config).await.unwrap();

    let running = start(&config).await;
    assert_eq!(Client::of(&running, &root).get("/fhir/metadata").await.0, 200);
    assert!(refusal(&config).await.contains("another custodia"));

    // A command beside the server reaches the same database and writes the same log.
    let beside = Parts::open(&config, &Clock::machine(), Presence::Visitor, &|_| ()).await.unwrap();
    assert!(beside.cluster.is_none());
    Registry::from(&beside).add_tenant("north").await.unwrap();
    beside.close().await.unwrap();
    assert_eq!(Client::of(&running, &root).get("/readyz").await.0, 200, "the visitor stopped nothing");
    stop(running).await;

    // The command alone starts the database and stops it again.
    let alone = Parts::open(&config, &Clock::machine(), Presence::Visitor, &|_| ()).await.unwrap();
    assert!(alone.cluster.is_some());
    let (report, _) = exported(&alone, Range::default()).await;
    assert_eq!(
        (report.counts.control, report.counts.opened),
        (3, 3),
        "three starts; metadata and the tenant's two"
    );
    assert!(report.is_whole);
    alone.close().await.unwrap();

    let running = start(&config).await;
    assert_eq!(running.app().keyring.tenants().len(), 2);
    stop(running).await;
    assert!(!files_of(&config.home).iter().any(|path| path.ends_with("postmaster.pid")));
}
