//! A real PostgreSQL for tests: one cluster per test process, one database per test.
//!
//! ```text
//! let database = TestCluster::quick().await.database().await;
//! let client = database.connect(Role::Server).await;
//! ```
//! The cluster is started by the first test that asks and stopped when the process ends, however it ends: a
//! watchdog outside the process sees its pipe close, stops the server and removes the folder.

#![expect(clippy::expect_used, reason = "a test that has no database has failed")]

use std::{
    fs::DirBuilder,
    io::Write,
    os::unix::{fs::DirBuilderExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use custodia::store::cluster::{Cluster, ClusterConfig, Durability, Fetch, Role};
use tokio::sync::OnceCell;
use tokio_postgres::{Client, Config, NoTls};
use uuid::Uuid;
use zeroize::Zeroizing;

/// Ends the server at once and removes the folder when standard input closes; `$1` is the folder.
///
/// Told so by a line, it only removes the folder. Otherwise the process was killed, perhaps while its server was
/// still being made: it looks several times.
const WATCHDOG: &str = r#"
trap '' INT TERM HUP
if read -r _; then
    rm -rf "$1"
    exit
fi
round=0
while [ "$round" -lt 20 ]; do
    for file in "$1"/*/data/postmaster.pid "$1"/*/*/data/postmaster.pid; do
        if [ -e "$file" ] && read -r pid < "$file"; then kill -QUIT "$pid"; fi
    done
    rm -rf "$1"
    sleep 0.1
    round=$((round + 1))
    if [ ! -e "$1" ] && [ "$round" -ge 10 ]; then break; fi
done
"#;

/// A folder for a cluster that does not outlive this process.
///
/// Declare it before the cluster in it, so that it is dropped after: dropping it removes the folder.
#[derive(Debug)]
pub struct TestHome {
    folder: PathBuf,
    watchdog: Child,
}

impl TestHome {
    /// Makes a folder with a short path and sets the watchdog on it.
    #[must_use]
    pub fn new() -> Self {
        let name = Uuid::new_v4().simple().to_string();
        // Not TMPDIR: a long one would put the socket elsewhere.
        let folder = Path::new("/tmp").join(format!("custodia-test-{name}"));
        // Others may pass: the account that runs PostgreSQL for root is one of them.
        DirBuilder::new().mode(0o755).create(&folder).expect("a folder for a test is made");
        let mut command = Command::new("/bin/sh");
        command.args(["-c", WATCHDOG, "watchdog"]).arg(&folder).stdin(Stdio::piped());
        // Ctrl-C ends the tests, not what cleans up after them.
        command.stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        Self { watchdog: command.spawn().expect("/bin/sh runs"), folder }
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A small cluster in it, from what this machine has installed.
    #[must_use]
    pub fn config(&self, durability: Durability) -> ClusterConfig {
        ClusterConfig {
            fallback: self.folder.join("fallback"),
            fetch: Fetch::Never,
            durability,
            shared_buffers_mib: 64,
            connections_max: 200,
            ..ClusterConfig::new(self.folder.join("home"))
        }
    }
}

impl Default for TestHome {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for TestHome {
    fn drop(&mut self) {
        // The cluster was dropped before its home: nothing is left but the folder.
        if let Some(mut pipe) = self.watchdog.stdin.take() {
            pipe.write_all(b"done\n").expect("the watchdog listens");
        }
        self.watchdog.wait().expect("the watchdog ends");
    }
}

/// The cluster that all tests of a process share.
pub struct TestCluster {
    cluster: Cluster,
    serial: AtomicU32,
    _home: TestHome,
}

static DURABLE: OnceCell<TestCluster> = OnceCell::const_new();
static QUICK: OnceCell<TestCluster> = OnceCell::const_new();

impl TestCluster {
    /// The cluster whose commits are on disk when they return, as in production.
    pub async fn durable() -> &'static Self {
        DURABLE.get_or_init(|| Self::start(Durability::Full)).await
    }

    /// The cluster that does not wait for the disk: for every test that is not about durability.
    pub async fn quick() -> &'static Self {
        QUICK.get_or_init(|| Self::start(Durability::Scratch)).await
    }

    async fn start(durability: Durability) -> Self {
        let home = TestHome::new();
        let cluster =
            Cluster::start(&home.config(durability), &|_| ()).await.expect("a cluster for tests starts");
        Self { cluster, serial: AtomicU32::new(0), _home: home }
    }

    /// The cluster itself.
    #[must_use]
    pub const fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// A fresh, empty database that no other test has.
    pub async fn database(&'static self) -> TestDatabase {
        let name = format!("test_{}", self.serial.fetch_add(1, Ordering::Relaxed));
        self.cluster.ensure_database(&name).await.expect("a database for a test is made");
        TestDatabase { cluster: &self.cluster, name }
    }
}

/// One test's own database.
pub struct TestDatabase {
    cluster: &'static Cluster,
    name: String,
}

impl TestDatabase {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How to reach it, for tokio-postgres.
    #[must_use]
    pub fn config(&self, role: Role) -> Config {
        self.cluster.config(&self.name, role)
    }

    /// How to reach it, for what takes a URL.
    #[must_use]
    pub fn url(&self, role: Role) -> Zeroizing<String> {
        self.cluster.url(&self.name, role)
    }

    /// A connection to it.
    pub async fn connect(&self, role: Role) -> Client {
        let (client, connection) =
            self.config(role).connect(NoTls).await.expect("the test's database answers");
        tokio::spawn(async move {
            // A broken connection shows in the client's own call.
            drop(connection.await);
        });
        client
    }
}
