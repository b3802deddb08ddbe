//! Starting, stopping, being killed, being taken over.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    panic::AssertUnwindSafe,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use custodia::store::cluster::{Cluster, ClusterConfig, Durability, Fetch, Origin, Progress, Role};
use custodia_support::cluster::{TestCluster, TestHome};

use crate::{assert_nobody_serves, connect, processes_of, refusal, start};

/// Set for the process that `helper` runs in; holds the home it shall start a cluster in, or `shared`.
const HELPER: &str = "CUSTODIA_TEST_HELPER";

#[tokio::test]
async fn a_stopped_cluster_starts_warm_within_five_seconds_and_keeps_its_data() {
    let home = TestHome::new();
    let config = home.config(Durability::Full);
    let (cluster, told) = start(&config).await.unwrap();
    assert!(told.contains(&Progress::Initialising), "{told:?}");
    let data = cluster.data();
    cluster.ensure_database("kept").await.unwrap();
    cluster.stop().await.unwrap();
    assert!(processes_of(&data).is_empty());
    assert!(!data.join("postmaster.pid").exists());

    let begun = Instant::now();
    let (cluster, told) = start(&config).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(cluster.origin(), Origin::Started);
    assert!(!told.contains(&Progress::Initialising), "{told:?}");
    let client = connect(&cluster, "kept", Role::Server).await;
    assert_eq!(client.query_one("SELECT 1", &[]).await.unwrap().get::<_, i32>(0), 1);
    cluster.stop().await.unwrap();
    assert!(processes_of(&data).is_empty());
}

#[tokio::test]
async fn stopping_does_not_wait_for_open_transactions() {
    let home = TestHome::new();
    let (cluster, _) = start(&home.config(Durability::Scratch)).await.unwrap();
    let data = cluster.data();
    let client = connect(&cluster, "postgres", Role::Owner).await;
    client.batch_execute("BEGIN; CREATE TABLE never (id int)").await.unwrap();
    let begun = Instant::now();
    cluster.stop().await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert!(processes_of(&data).is_empty());
    assert!(client.batch_execute("COMMIT").await.is_err());
}

#[tokio::test]
async fn dropping_a_cluster_stops_it_even_in_a_panic() {
    let home = TestHome::new();
    let (cluster, _) = start(&home.config(Durability::Scratch)).await.unwrap();
    let data = cluster.data();
    assert!(!processes_of(&data).is_empty());
    let panicked = std::panic::catch_unwind(AssertUnwindSafe(move || {
        let _held = cluster;
        std::panic::resume_unwind(Box::new("as a failing test would"));
    }));
    assert!(panicked.is_err());
    assert!(processes_of(&data).is_empty());
}

#[tokio::test]
async fn a_second_start_on_the_same_home_is_refused_and_disturbs_nothing() {
    let home = TestHome::new();
    let config = home.config(Durability::Scratch);
    let (cluster, _) = start(&config).await.unwrap();
    let line = refusal(&config).await.to_string();
    let begins = format!("another custodia (process {}) already runs on", std::process::id());
    assert!(line.starts_with(&begins), "{line}");
    let client = connect(&cluster, "postgres", Role::Owner).await;
    assert_eq!(client.query_one("SELECT 1", &[]).await.unwrap().get::<_, i32>(0), 1);
    cluster.stop().await.unwrap();
    let (cluster, _) = start(&config).await.unwrap();
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_cluster_whose_custodia_was_killed_is_taken_over() {
    let home = TestHome::new();
    let config = home.config(Durability::Scratch);
    let postmaster = kill_a_custodia_on(&home);
    let (cluster, told) = start(&config).await.unwrap();
    assert_eq!((cluster.origin(), cluster.process_id()), (Origin::TakenOver, postmaster));
    assert!(told.contains(&Progress::TookOver { pid: postmaster }), "{told:?}");
    let client = connect(&cluster, "postgres", Role::Owner).await;
    assert_eq!(client.query_one("SELECT 1", &[]).await.unwrap().get::<_, i32>(0), 1);
    let data = cluster.data();
    cluster.stop().await.unwrap();
    assert_nobody_serves(&data);
}

#[tokio::test]
async fn a_survivor_with_other_settings_is_replaced() {
    let home = TestHome::new();
    let postmaster = kill_a_custodia_on(&home);
    let config = ClusterConfig { connections_max: 60, ..home.config(Durability::Scratch) };
    let (cluster, told) = start(&config).await.unwrap();
    assert!(told.contains(&Progress::Replacing { pid: postmaster }), "{told:?}");
    assert_eq!(cluster.origin(), Origin::Started);
    let client = connect(&cluster, "postgres", Role::Owner).await;
    assert_eq!(client.query_one("SHOW max_connections", &[]).await.unwrap().get::<_, String>(0), "60");
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_cluster_whose_postmaster_was_killed_too_recovers() {
    let home = TestHome::new();
    let config = home.config(Durability::Scratch);
    let postmaster = kill_a_custodia_on(&home);
    // Its children live on for a moment and hold its shared memory: the start must outlast them.
    assert!(
        Command::new("/bin/sh").args(["-c", &format!("kill -KILL {postmaster}")]).status().unwrap().success()
    );
    let (cluster, _) = start(&config).await.unwrap();
    assert_eq!(cluster.origin(), Origin::Started);
    assert_ne!(cluster.process_id(), postmaster);
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_stale_pid_file_is_not_believed() {
    let home = TestHome::new();
    let config = home.config(Durability::Scratch);
    let (cluster, _) = start(&config).await.unwrap();
    let data = cluster.data();
    cluster.stop().await.unwrap();
    // Another process's number, a process that is no more, and a file cut short by a crash.
    let other = std::process::id();
    for stale in [
        format!("{other}\n{}\n1\n5432\n/nowhere\n\n\nready\n", data.display()),
        "4194304\n".into(),
        "".into(),
    ] {
        fs::write(data.join("postmaster.pid"), &stale).unwrap();
        let (cluster, _) = start(&config).await.unwrap();
        assert_eq!(cluster.origin(), Origin::Started, "{stale}");
        cluster.stop().await.unwrap();
    }
}

#[tokio::test]
async fn a_start_that_crashed_half_way_begins_anew() {
    let home = TestHome::new();
    let config = home.config(Durability::Scratch);
    let (cluster, _) = start(&config).await.unwrap();
    let data = cluster.data();
    cluster.stop().await.unwrap();
    // As if it had crashed before the rename: the data is not there under its name, nor remembered.
    fs::rename(&data, data.with_file_name("data.unfinished")).unwrap();
    fs::remove_file(home.folder().join("home/postgresql.place")).unwrap();
    let (cluster, told) = start(&config).await.unwrap();
    assert!(told.contains(&Progress::Initialising), "{told:?}");
    assert!(!data.with_file_name("data.unfinished").exists());
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn the_shared_test_cluster_ends_with_a_killed_test_process() {
    let (mut helper, said) = run_helper("shared");
    let data = PathBuf::from(said);
    assert!(!processes_of(&data).is_empty());
    helper.kill().unwrap();
    helper.wait().unwrap();
    assert_nobody_serves(&data);
    let begun = Instant::now();
    while data.exists() {
        assert!(begun.elapsed() < Duration::from_secs(10), "the folder stays");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn each_test_has_a_database_of_its_own() {
    let cluster = TestCluster::quick().await;
    let (one, other) = (cluster.database().await, cluster.database().await);
    assert_ne!(one.name(), other.name());
    one.connect(Role::Owner).await.batch_execute("CREATE TABLE here (id int)").await.unwrap();
    let there = other.connect(Role::Server).await.query_one("SELECT to_regclass('here') IS NULL", &[]).await;
    assert!(there.unwrap().get::<_, bool>(0));
    let read: tokio_postgres::Config = one.url(Role::Server).parse().unwrap();
    assert_eq!(read.get_user(), Some("custodia_server"));
    assert!(read.connect(tokio_postgres::NoTls).await.is_ok());
    let durable = TestCluster::durable().await.database().await.connect(Role::Server).await;
    assert_eq!(durable.query_one("SHOW fsync", &[]).await.unwrap().get::<_, String>(0), "on");
}

/// Lets another process start a cluster in `home` and kills that process; gives the postmaster left behind.
fn kill_a_custodia_on(home: &TestHome) -> u32 {
    let folder = home.folder().join("home");
    let (mut helper, said) = run_helper(folder.to_str().unwrap());
    helper.kill().unwrap();
    helper.wait().unwrap();
    said.parse().unwrap()
}

/// Runs this very program as a process that starts a cluster, says one line about it, and waits.
fn run_helper(wish: &str) -> (Child, String) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "life::helper", "--nocapture"]).env(HELPER, wish);
    let mut helper = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(helper.stdout.take().unwrap()).lines();
    let said = lines.map_while(Result::ok).find_map(|line| Some(line.split_once("helper: ")?.1.to_owned()));
    (helper, said.unwrap())
}

/// Not a test: what `run_helper` runs. It does nothing unless it was asked to.
#[tokio::test]
async fn helper() {
    let Ok(wish) = std::env::var(HELPER) else { return };
    let mut own = None;
    let said = if wish == "shared" {
        TestCluster::quick().await.cluster().data().to_str().unwrap().to_owned()
    } else {
        let home = PathBuf::from(wish);
        let config = ClusterConfig {
            fetch: Fetch::Never,
            durability: Durability::Scratch,
            shared_buffers_mib: 64,
            connections_max: 200,
            ..ClusterConfig::new(home)
        };
        own.insert(Cluster::start(&config, &|_| ()).await.unwrap()).process_id().to_string()
    };
    std::io::stdout().write_all(format!("\nhelper: {said}\n").as_bytes()).unwrap();
    std::io::stdout().flush().unwrap();
    // Until killed; the pipe closes if the asking test fails, and then the cluster is dropped.
    std::io::stdin().lines().for_each(drop);
}
