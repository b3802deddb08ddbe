//! Starts that cannot succeed say what to do, in one line.

use std::{fs, os::unix::fs::PermissionsExt};

use custodia::store::cluster::{ClusterConfig, ClusterError, Durability};
use custodia_support::cluster::TestHome;

use crate::{assert_nobody_serves, refusal, start};

#[tokio::test]
async fn a_machine_without_postgresql_is_told_what_to_install() {
    let home = TestHome::new();
    let config = ClusterConfig { path: Vec::new(), places: Vec::new(), ..home.config(Durability::Scratch) };
    let line = refusal(&config).await.to_string();
    assert_eq!(
        line,
        "no PostgreSQL 14 or newer on this machine (fetching is switched off): install it with `apt install \
         postgresql` (Debian, Ubuntu), `dnf install postgresql-server` (Fedora) or `brew install postgresql@17` \
         (macOS), or set DATABASE_URL to a server of your own"
    );
}

#[tokio::test]
async fn programs_that_are_too_old_or_incomplete_do_not_count() {
    let home = TestHome::new();
    let (old, partial) = (home.folder().join("old"), home.folder().join("partial"));
    for (folder, programs) in [(&old, &["postgres", "initdb", "pg_ctl"][..]), (&partial, &["postgres"][..])] {
        fs::create_dir_all(folder).unwrap();
        for program in programs {
            let version = if folder == &old { "13.9" } else { "17.1" };
            let path = folder.join(program);
            fs::write(&path, format!("#!/bin/sh\necho 'postgres (PostgreSQL) {version}'\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }
    let config = ClusterConfig { path: vec![old], places: vec![partial], ..home.config(Durability::Scratch) };
    assert!(matches!(refusal(&config).await, ClusterError::NoServer { .. }));
}

#[tokio::test]
async fn data_of_another_major_version_is_refused() {
    let home = TestHome::new();
    let config = home.config(Durability::Scratch);
    let (cluster, _) = start(&config).await.unwrap();
    let data = cluster.data();
    cluster.stop().await.unwrap();
    fs::write(data.join("PG_VERSION"), "99\n").unwrap();
    let line = refusal(&config).await.to_string();
    let begins =
        format!("the data in {} was written by PostgreSQL 99, but this machine has ", data.display());
    assert!(line.starts_with(&begins), "{line}");
}

#[tokio::test]
async fn data_that_is_gone_is_not_replaced_by_an_empty_cluster() {
    let home = TestHome::new();
    let config = home.config(Durability::Scratch);
    let (cluster, _) = start(&config).await.unwrap();
    let data = cluster.data();
    cluster.stop().await.unwrap();
    fs::rename(&data, data.with_file_name("elsewhere")).unwrap();
    assert!(matches!(refusal(&config).await, ClusterError::DataMissing { .. }));
    assert!(!data.exists());
    fs::rename(data.with_file_name("elsewhere"), &data).unwrap();
    start(&config).await.unwrap().0.stop().await.unwrap();
}

#[tokio::test]
async fn data_without_its_passwords_is_refused() {
    let home = TestHome::new();
    let config = home.config(Durability::Scratch);
    let (cluster, _) = start(&config).await.unwrap();
    let data = cluster.data();
    cluster.stop().await.unwrap();
    let credentials = home.folder().join("home/postgresql.credentials");
    let text = fs::read_to_string(&credentials).unwrap();
    fs::remove_file(&credentials).unwrap();
    assert!(matches!(refusal(&config).await, ClusterError::Credentials { .. }));
    fs::write(&credentials, text.replace("custodia_server", "someone")).unwrap();
    assert!(matches!(refusal(&config).await, ClusterError::Credentials { .. }));
    assert_nobody_serves(&data);
}

#[tokio::test]
async fn a_server_that_cannot_start_says_why_and_is_not_left_behind() {
    let home = TestHome::new();
    let config = home.config(Durability::Scratch);
    let (cluster, _) = start(&config).await.unwrap();
    let data = cluster.data();
    cluster.stop().await.unwrap();
    // A setting made with ALTER SYSTEM that no server can start with.
    fs::write(data.join("postgresql.auto.conf"), "shared_buffers = nonsense\n").unwrap();
    let error = refusal(&config).await;
    assert!(matches!(error, ClusterError::DidNotStart { .. }), "{error}");
    assert!(error.to_string().contains("FATAL"), "{error}");
    assert_nobody_serves(&data);
}
