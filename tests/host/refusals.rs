//! A server that does not start says what, where, and what to do; in one line.

use std::fs;

use custodia::host;
use custodia_support::cluster::TestHome;

use super::{House, furnished, refusal, start, stop};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_named() {
    let home = TestHome::new();
    let (config, _) = furnished(home.folder());
    assert!(refusal(&config).await.contains("custodia keys init"));

    host::create_keystore(&config).await.unwrap();
    let again = host::create_keystore(&config).await.unwrap_err().explained();
    assert!(again.contains("never overwritten"), "{again}");

    let mut bare = config.clone();
    (bare.portal.certificate, bare.portal.key) = (None, None);
    assert!(refusal(&bare).await.contains("portal.certificate"));

    let mut broken = config.clone();
    broken.portal.key.clone_from(&broken.portal.certificate);
    broken.database.url = Some("postgres://custodia_server@localhost:1/x".to_owned());
    let said = refusal(&broken).await;
    assert!(said.contains("database") && !said.contains('\n'), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_across_a_network_in_clear_is_refused() {
    let home = TestHome::new();
    let (mut config, _) = furnished(home.folder());
    host::create_keystore(&config).await.unwrap();
    for url in ["postgres://u:hunter2@db.example/x", "postgres://u:hunter2@localhost,db.example/x"] {
        config.database.url = Some(url.to_owned());
        let said = refusal(&config).await;
        assert!(said.contains("sslmode=require") && !said.contains("hunter2"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_keystore_does_not_open_the_database() {
    let house = House::new().await;
    stop(start(&house.config).await).await;
    let mut other = house.config.clone();
    fs::remove_file(other.keystore_path()).unwrap();
    host::create_keystore(&other).await.unwrap();
    let said = refusal(&other).await;
    assert!(said.contains("is it the keystore that was made with it?"), "{said}");
    other.ledger.origin = Some("elsewhere.example/log".to_owned());
    assert!(refusal(&other).await.contains("keystore"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_keeps_its_name() {
    let house = House::new().await;
    stop(start(&house.config).await).await;
    let mut other = house.config.clone();
    other.ledger.origin = Some("elsewhere.example/log".to_owned());
    let said = refusal(&other).await;
    assert!(said.contains("origin"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_that_are_not_there_stop_the_start() {
    let mut house = House::new().await;
    house.config.policies.folder = Some("/nowhere".into());
    let said = refusal(&house.config).await;
    assert!(said.contains("policies") && said.contains("/nowhere"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passphrase_opens_the_keystore_it_made() {
    let mut house = House::new().await;
    house.config.keystore.path = Some(house.config.home.join("second.json"));
    house.config.keystore.passphrase = Some("a long passphrase".to_owned().into());
    host::create_keystore(&house.config).await.unwrap();
    stop(start(&house.config).await).await;
    house.config.keystore.passphrase = Some("another passphrase".to_owned().into());
    assert!(refusal(&house.config).await.contains("does not open"));
    house.config.keystore.passphrase = None;
    assert!(refusal(&house.config).await.contains("passphrase"));
}
