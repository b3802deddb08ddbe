//! The embedded PostgreSQL: it starts, is found again, lets nobody in who should not be, and leaves nothing behind.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod doors;
mod life;
mod machine;
mod refusals;

use std::{
    fs,
    path::Path,
    sync::Mutex,
    time::{Duration, Instant},
};

use custodia::store::cluster::{Cluster, ClusterConfig, ClusterError, Progress, Role};
use tokio_postgres::{Client, NoTls};

/// The processes at work in a data directory.
fn processes_of(data: &Path) -> Vec<u32> {
    let all =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    all.filter(|pid| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|folder| folder == data)).collect()
}

/// Fails unless every process of `data` is gone soon.
fn assert_nobody_serves(data: &Path) {
    let begun = Instant::now();
    while !processes_of(data).is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(10), "left behind: {:?}", processes_of(data));
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Starts a cluster and gives what it told on the way.
async fn start(config: &ClusterConfig) -> Result<(Cluster, Vec<Progress>), ClusterError> {
    let told = Mutex::new(Vec::new());
    let cluster = Cluster::start(config, &|step| told.lock().unwrap().push(step)).await?;
    Ok((cluster, told.into_inner().unwrap()))
}

/// The refusal of a start that must not succeed.
async fn refusal(config: &ClusterConfig) -> ClusterError {
    match Cluster::start(config, &|_| ()).await {
        Ok(_) => panic!("it started"),
        Err(error) => error,
    }
}

async fn connect(cluster: &Cluster, database: &str, role: Role) -> Client {
    let (client, connection) = cluster.config(database, role).connect(NoTls).await.unwrap();
    // It ends with an error when its server stops.
    tokio::spawn(async move { drop(connection.await) });
    client
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").unwrap().uid() == 0
}
