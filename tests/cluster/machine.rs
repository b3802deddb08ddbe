//! What the machine brings along: root, closed folders, long paths.

use std::{
    fs::{self, DirBuilder},
    os::unix::fs::{DirBuilderExt, MetadataExt},
};

use custodia::store::cluster::{ClusterConfig, ClusterError, Durability, Role};
use custodia_support::cluster::TestHome;

use crate::{connect, is_root, processes_of, refusal, start};

#[tokio::test]
async fn the_server_never_runs_as_root() {
    let home = TestHome::new();
    let (cluster, _) = start(&home.config(Durability::Scratch)).await.unwrap();
    let data_owner = fs::metadata(cluster.data()).unwrap().uid();
    let processes = processes_of(&cluster.data());
    assert!(!processes.is_empty());
    for pid in processes {
        let owner = fs::metadata(format!("/proc/{pid}")).unwrap().uid();
        assert_eq!(owner, data_owner);
        assert_ne!(owner, 0);
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let groups = status.lines().find_map(|line| line.strip_prefix("Groups:")).unwrap();
        assert!(!groups.split_whitespace().any(|group| group == "0"), "root's groups: {groups}");
    }
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_home_that_only_root_can_enter_keeps_its_data_in_the_fallback() {
    let home = TestHome::new();
    let closed = home.folder().join("closed");
    DirBuilder::new().mode(0o700).create(&closed).unwrap();
    let config = ClusterConfig { home: closed.join("home"), ..home.config(Durability::Scratch) };
    let (cluster, _) = start(&config).await.unwrap();
    let data = cluster.data();
    cluster.ensure_database("kept").await.unwrap();
    cluster.stop().await.unwrap();
    let expected = if is_root() { config.fallback.clone() } else { config.home.clone() };
    assert!(data.starts_with(&expected), "{}", data.display());

    // The folder was moved: what it remembers leads to the same data.
    let moved = closed.join("moved");
    fs::rename(&config.home, &moved).unwrap();
    let (cluster, _) = start(&ClusterConfig { home: moved.clone(), ..config.clone() }).await.unwrap();
    if is_root() {
        assert_eq!(cluster.data(), data);
    }
    connect(&cluster, "kept", Role::Server).await;
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_fallback_that_is_closed_too_is_refused_by_name() {
    if !is_root() {
        return;
    }
    let home = TestHome::new();
    let closed = home.folder().join("closed");
    DirBuilder::new().mode(0o700).create(&closed).unwrap();
    let config = ClusterConfig {
        home: closed.join("home"),
        fallback: closed.join("fallback"),
        ..home.config(Durability::Scratch)
    };
    let error = refusal(&config).await;
    let ClusterError::Unreachable { barrier, .. } = &error else { panic!("{error}") };
    assert_eq!(barrier, &closed);
    assert!(error.to_string().contains("`chmod o+x` that folder"), "{error}");
}

#[tokio::test]
async fn a_path_too_long_for_a_socket_gets_a_short_one_while_it_runs() {
    let home = TestHome::new();
    let long = home.folder().join("a-folder-with-a-name".repeat(6)).join("it's $HOME, \"quoted\" `here`");
    let config = ClusterConfig { home: long, ..home.config(Durability::Scratch) };
    let (cluster, _) = start(&config).await.unwrap();
    let socket = cluster.socket_folder().to_path_buf();
    assert!(socket.to_str().unwrap().starts_with("/tmp/custodia-"), "{}", socket.display());
    assert_eq!(fs::metadata(&socket).unwrap().mode() & 0o777, 0o700);
    connect(&cluster, "postgres", Role::Owner).await;
    cluster.stop().await.unwrap();
    assert!(!socket.exists());
}

#[tokio::test]
async fn a_path_that_needs_quoting_is_quoted() {
    let home = TestHome::new();
    let odd = home.folder().join("it's \\ $HOME, \"q\" `h`");
    let config = ClusterConfig { home: odd.clone(), ..home.config(Durability::Scratch) };
    for _ in 0..2 {
        let (cluster, _) = start(&config).await.unwrap();
        assert_eq!(cluster.socket_folder(), odd.join("run"));
        let url = cluster.url("postgres", Role::Owner);
        let read: tokio_postgres::Config = url.parse().unwrap();
        assert!(read.connect(tokio_postgres::NoTls).await.is_ok());
        cluster.stop().await.unwrap();
    }
}
