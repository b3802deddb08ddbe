//! Who gets in, and how far.

use std::fs;

use custodia::store::cluster::{ClusterConfig, Durability, Role};
use custodia_support::cluster::TestHome;
use tokio_postgres::{NoTls, error::SqlState};

use crate::{connect, start};

#[tokio::test]
async fn a_new_cluster_is_durable_quiet_and_off_the_network() {
    let home = TestHome::new();
    let config =
        ClusterConfig { shared_buffers_mib: 256, connections_max: 50, ..home.config(Durability::Full) };
    let (cluster, _) = start(&config).await.unwrap();
    let client = connect(&cluster, "postgres", Role::Owner).await;
    for (setting, expected) in [
        ("fsync", "on"),
        ("synchronous_commit", "on"),
        ("full_page_writes", "on"),
        ("data_checksums", "on"),
        ("listen_addresses", ""),
        ("server_encoding", "UTF8"),
        ("lc_collate", "C"),
        ("wal_level", "replica"),
        ("shared_buffers", "256MB"),
        ("max_connections", "50"),
        ("log_statement", "none"),
        ("log_parameter_max_length", "0"),
        ("log_parameter_max_length_on_error", "0"),
        ("log_min_error_statement", "panic"),
        ("log_error_verbosity", "terse"),
        ("jit", "off"),
        ("max_wal_size", "2GB"),
        ("checkpoint_timeout", "15min"),
        ("autovacuum", "on"),
        ("cluster_name", "custodia"),
        ("unix_socket_permissions", "0700"),
    ] {
        // `lc_collate` is no setting any more from PostgreSQL 16 on.
        let asked = match setting {
            "lc_collate" => {
                "SELECT datcollate::text FROM pg_database WHERE datname = current_database()".to_owned()
            }
            _ => format!("SHOW {setting}"),
        };
        let found: String = client.query_one(&asked, &[]).await.unwrap().get(0);
        assert_eq!(found, expected, "{setting}");
    }
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn the_server_role_may_nothing_that_a_superuser_may() {
    let home = TestHome::new();
    let (cluster, _) = start(&home.config(Durability::Scratch)).await.unwrap();
    cluster.ensure_database("records").await.unwrap();
    let server = connect(&cluster, "records", Role::Server).await;
    for statement in [
        "CREATE ROLE another SUPERUSER",
        "ALTER ROLE custodia_server SUPERUSER",
        "ALTER SYSTEM SET fsync = off",
        "SET SESSION AUTHORIZATION custodia_owner",
        "SET ROLE custodia_owner",
        "CREATE DATABASE another",
        "COPY (SELECT 1) TO PROGRAM 'true'",
        "COPY (SELECT 1) TO '/tmp/custodia-written-by-server'",
        "SELECT pg_read_file('postgresql.conf')",
        "SELECT rolpassword FROM pg_authid",
        "CREATE TABLE public.mine (id int)",
        "CREATE TEMPORARY TABLE mine (id int)",
        "CREATE SCHEMA mine",
        "SET log_statement = 'all'",
    ] {
        let error = server.batch_execute(statement).await.unwrap_err();
        assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{statement}");
    }
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn nobody_enters_without_the_password_of_the_role() {
    let home = TestHome::new();
    let (cluster, _) = start(&home.config(Durability::Scratch)).await.unwrap();
    let as_server = cluster.config("postgres", Role::Server);
    // The maintenance databases are closed to the server.
    assert_eq!(code(&as_server).await, Some(SqlState::INSUFFICIENT_PRIVILEGE));
    assert_eq!(
        code(&cluster.config("template1", Role::Server)).await,
        Some(SqlState::INSUFFICIENT_PRIVILEGE)
    );
    // The server's password does not open the owner's role, nor does none or another.
    let mut pretending = as_server.clone();
    assert_eq!(code(pretending.user("custodia_owner")).await, Some(SqlState::INVALID_PASSWORD));
    assert_eq!(code(pretending.password("wrong")).await, Some(SqlState::INVALID_PASSWORD));
    // No other role is listed at all, not even one that exists.
    assert_eq!(code(pretending.user("postgres")).await, Some(SqlState::INVALID_AUTHORIZATION_SPECIFICATION));
    cluster.stop().await.unwrap();
}

async fn code(config: &tokio_postgres::Config) -> Option<SqlState> {
    let error = config.connect(NoTls).await.err()?;
    error.code().cloned()
}

#[tokio::test]
async fn passwords_and_data_are_closed_to_other_users() {
    use std::os::unix::fs::PermissionsExt;
    let home = TestHome::new();
    let (cluster, _) = start(&home.config(Durability::Scratch)).await.unwrap();
    let folder = home.folder().join("home");
    for (path, expected) in [
        (folder.join("postgresql.credentials"), 0o600),
        (folder.join("postgresql.place"), 0o600),
        (folder.join("postgresql.lock"), 0o600),
        (folder.join("log"), 0o700),
        (folder.join("log/postgresql.log"), 0o600),
        (cluster.data(), 0o700),
        (cluster.data().join("postgresql.conf"), 0o600),
        (cluster.data().join("pg_hba.conf"), 0o600),
        (cluster.socket_folder().to_path_buf(), 0o700),
    ] {
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, expected, "{} is {mode:o}", path.display());
    }
    assert!(!folder.join("data.password").exists());
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn the_log_holds_nothing_of_a_statement_that_fails() {
    let home = TestHome::new();
    let (cluster, _) = start(&home.config(Durability::Scratch)).await.unwrap();
    let client = connect(&cluster, "postgres", Role::Owner).await;
    client.batch_execute("CREATE TABLE t (id text PRIMARY KEY CHECK (length(id) < 20))").await.unwrap();
    client.execute("INSERT INTO t VALUES ($1)", &[&"canary-1"]).await.unwrap();
    // A key and a row that DETAIL quotes, a value that the message quotes, a statement, a notice.
    assert!(client.execute("INSERT INTO t VALUES ($1)", &[&"canary-1"]).await.is_err());
    assert!(client.execute("INSERT INTO t VALUES ($1)", &[&"canary-longer-than-allowed"]).await.is_err());
    assert!(client.execute("SELECT $1::text::int", &[&"canary-3"]).await.is_err());
    assert!(client.batch_execute("SELECT 'canary-4' FROM nowhere").await.is_err());
    client.batch_execute("DO $$ BEGIN RAISE WARNING 'canary-5'; END $$").await.unwrap();
    cluster.stop().await.unwrap();
    let log = fs::read_to_string(home.folder().join("home/log/postgresql.log")).unwrap();
    assert!(log.contains("database system is shut down"), "{log}");
    assert!(!log.contains("canary"), "{log}");
}
