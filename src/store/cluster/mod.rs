//! The PostgreSQL that custodia runs itself when it was given no DATABASE_URL.
//!
//! A cluster lives in a home folder, listens on a unix socket only, and knows two roles: the owner, who migrates,
//! and the server, who is no superuser. It stops with custodia; if custodia is killed it goes on, and the next
//! start takes it over. `compliance/decisions/0004-embedded-postgresql.md` tells why.
//!
//! May import `clock`; nothing else of the house. Knows nothing of tables or records.

mod account;
mod attach;
mod binaries;
mod error;
mod fetch;
mod initialise;
mod login;
mod place;
mod postmaster;
mod run;
mod settings;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

pub use attach::Attached;
pub use error::ClusterError;
use tokio_postgres::{Client, Config};
use zeroize::Zeroizing;

use self::{
    binaries::Binaries,
    initialise::Leftover,
    login::Credentials,
    place::{Place, write_whole},
    postmaster::{PidFile, Postmaster},
};

/// The oldest PostgreSQL that custodia's migrations run on.
pub const OLDEST_MAJOR: u32 = 14;
/// The role that owns the schema and migrates it; superuser of this cluster.
pub const OWNER: &str = "custodia_owner";
/// The role that the server works as.
pub const SERVER: &str = "custodia_server";

/// Names the socket file; there is no TCP port.
const PORT: u16 = 5432;
/// The database that every cluster has.
const MAINTENANCE: &str = "postgres";

/// The processes of a killed postmaster notice within moments that it is gone, and hold its memory until then.
const ATTEMPTS_AFTER_KILL: u32 = 20;
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(250);

/// Who logs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// [`OWNER`]: for migrations and backups.
    Owner,
    /// [`SERVER`]: for everything that answers a request.
    Server,
}

impl Role {
    /// The role's name in PostgreSQL.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Owner => OWNER,
            Self::Server => SERVER,
        }
    }
}

/// What a commit promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// What was acknowledged survives a power failure.
    Full,
    /// A power failure may lose the cluster. For tests alone.
    Scratch,
}

/// Whether server programs may be fetched when the machine has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetch {
    /// Once, into the home folder.
    Allowed,
    /// Never: a machine without them is refused.
    Never,
}

/// Everything that can be chosen about an embedded cluster.
#[derive(Clone, Debug)]
pub struct ClusterConfig {
    /// The folder that holds the cluster, such as `.custodia`.
    pub home: PathBuf,
    /// Where the data goes when we are root and PostgreSQL's account cannot enter `home`.
    pub fallback: PathBuf,
    /// Folders searched for server programs first, in this order.
    pub path: Vec<PathBuf>,
    /// Folders searched next, newest version first.
    pub places: Vec<PathBuf>,
    /// What to do when neither has any.
    pub fetch: Fetch,
    /// What a commit promises.
    pub durability: Durability,
    /// Shared memory for pages.
    pub shared_buffers_mib: u32,
    /// How many may be connected at once.
    pub connections_max: u32,
    /// The bound for a start, crash recovery included.
    pub ready_within: Duration,
}

impl ClusterConfig {
    /// What a server of its own machine's size wants.
    #[must_use]
    pub fn new(home: impl Into<PathBuf>) -> Self {
        let path = std::env::var_os("PATH").unwrap_or_default();
        Self {
            home: home.into(),
            fallback: PathBuf::from("/var/lib/custodia"),
            path: std::env::split_paths(&path).filter(|folder| folder.is_absolute()).collect(),
            places: binaries::expand(&binaries::USUAL_PLACES),
            fetch: Fetch::Allowed,
            durability: Durability::Full,
            shared_buffers_mib: settings::share_of_memory(),
            connections_max: 200,
            ready_within: Duration::from_secs(300),
        }
    }
}

/// How a start goes on, for the person at the terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// Server programs were found.
    Found {
        /// Such as `17.6`.
        version: String,
        /// Their folder.
        bin: PathBuf,
    },
    /// Server programs are being fetched; told about once a second.
    Downloading {
        /// The major version.
        major: u32,
        /// For how long already.
        elapsed_s: u64,
    },
    /// They have arrived.
    Unpacking {
        /// Such as `17.6.0`.
        version: String,
        /// The archive's size.
        bytes: usize,
    },
    /// A new, empty data directory is being made.
    Initialising,
    /// The server is starting.
    Starting,
    /// A server that outlived its custodia was taken over.
    TookOver {
        /// Its process.
        pid: u32,
    },
    /// A server that outlived its custodia is being stopped: its settings differ or it does not answer.
    Replacing {
        /// Its process.
        pid: u32,
    },
    /// It takes connections.
    Ready {
        /// Since the start was asked for.
        elapsed_ms: u128,
    },
}

/// Where the running server came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// We started it.
    Started,
    /// It outlived another custodia.
    TakenOver,
}

/// A running embedded PostgreSQL; dropping it stops the server.
pub struct Cluster {
    place: Place,
    binaries: Binaries,
    credentials: Credentials,
    origin: Origin,
    /// None once stopped.
    postmaster: Option<Postmaster>,
    socket_folder: PathBuf,
    pid: u32,
}

impl Cluster {
    /// Starts the cluster of `config.home`, making it first if there is none.
    ///
    /// # Errors
    /// One line for the person at the terminal; no server of ours is left behind.
    pub async fn start(
        config: &ClusterConfig,
        progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<Self, ClusterError> {
        let begun = Instant::now();
        let place = Place::open(config)?;
        let credentials = Credentials::load_or_create(&place)?;
        let binaries = initialise::choose_binaries(config, &place, progress).await?;
        progress(Progress::Found { version: binaries.version.clone(), bin: binaries.bin.clone() });
        if !place.data().exists() {
            progress(Progress::Initialising);
            initialise::initialise(config, &place, &binaries, &credentials).await?;
        }
        place.remember()?;
        place.account.check_owner(&place.data())?;

        let cluster = match surviving(config, &place, &binaries, &credentials, progress).await? {
            Some(survivor) => Self::over(place, binaries, credentials, survivor, Origin::TakenOver),
            None => {
                progress(Progress::Starting);
                Self::begin(config, place, binaries, credentials).await?
            }
        };
        let owner = cluster.connect(MAINTENANCE, Role::Owner).await?;
        login::ensure_server_role(&owner, &cluster.credentials).await?;
        progress(Progress::Ready { elapsed_ms: begun.elapsed().as_millis() });
        Ok(cluster)
    }

    /// Makes `database` if it is not there yet: the owner's, open to [`SERVER`] and nobody else.
    ///
    /// # Errors
    /// If the name is no plain identifier, or PostgreSQL refuses.
    pub async fn ensure_database(&self, database: &str) -> Result<(), ClusterError> {
        let owner = self.connect(MAINTENANCE, Role::Owner).await?;
        login::ensure_database(&owner, database).await?;
        login::close_public_schema(&self.connect(database, Role::Owner).await?).await
    }

    /// How to reach `database` as `role`. It holds a password: never print it.
    #[must_use]
    pub fn config(&self, database: &str, role: Role) -> Config {
        login::config(&self.socket_folder, &self.credentials, database, role)
    }

    /// The same as a URL. It holds a password: never print it.
    #[must_use]
    pub fn url(&self, database: &str, role: Role) -> Zeroizing<String> {
        login::url(&self.socket_folder, &self.credentials, database, role)
    }

    /// Where the running server came from.
    #[must_use]
    pub const fn origin(&self) -> Origin {
        self.origin
    }

    /// The postmaster's process.
    #[must_use]
    pub const fn process_id(&self) -> u32 {
        self.pid
    }

    /// The data directory.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.place.data()
    }

    /// The folder of the unix socket.
    #[must_use]
    pub fn socket_folder(&self) -> &Path {
        &self.socket_folder
    }

    /// The folder of the server programs, for `pg_dump` and its like.
    #[must_use]
    pub fn bin(&self) -> &Path {
        &self.binaries.bin
    }

    /// Stops the server: open transactions are rolled back, what was committed is on disk. Waits until it is gone.
    ///
    /// # Errors
    /// If it does not stop within about 75 s.
    pub async fn stop(mut self) -> Result<(), ClusterError> {
        if let Some(postmaster) = &mut self.postmaster {
            postmaster.stop(&self.place, &self.binaries).await?;
        }
        // Only now: a stop that was abandoned half way is finished by `Drop`.
        self.postmaster = None;
        Ok(())
    }

    async fn connect(&self, database: &str, role: Role) -> Result<Client, ClusterError> {
        login::connect(&self.config(database, role)).await
    }

    fn over(
        place: Place,
        binaries: Binaries,
        credentials: Credentials,
        postmaster: Postmaster,
        origin: Origin,
    ) -> Self {
        let (socket_folder, pid) = (postmaster.socket_folder.clone(), postmaster.pid);
        Self { place, binaries, credentials, origin, postmaster: Some(postmaster), socket_folder, pid }
    }

    /// Starts a server on data that no server serves.
    async fn begin(
        config: &ClusterConfig,
        place: Place,
        binaries: Binaries,
        credentials: Credentials,
    ) -> Result<Self, ClusterError> {
        let mut attempts = match initialise::clear_stale(&place)? {
            Leftover::Nothing => 1,
            Leftover::KilledServer => ATTEMPTS_AFTER_KILL,
        };
        let socket_folder = place.socket_folder()?;
        let data = place.data();
        let (conf, _) = settings::conf(config, &socket_folder)?;
        write_whole(&data.join("postgresql.conf"), &conf, Some(&place.account))?;
        write_whole(&data.join("pg_hba.conf"), &settings::hba(), Some(&place.account))?;
        let postmaster = Postmaster::spawn(&place, &binaries, socket_folder)?;
        // From here on `Drop` stops it, whatever fails below.
        let mut cluster = Self::over(place, binaries, credentials, postmaster, Origin::Started);
        loop {
            let Some(postmaster) = &mut cluster.postmaster else { return Ok(cluster) };
            attempts -= 1;
            match postmaster.wait_ready(&cluster.place, config.ready_within).await {
                Ok(()) => return Ok(cluster),
                Err(ClusterError::DidNotStart { .. }) if attempts > 0 => {
                    tokio::time::sleep(BETWEEN_ATTEMPTS).await;
                    let socket_folder = cluster.socket_folder.clone();
                    let again = Postmaster::spawn(&cluster.place, &cluster.binaries, socket_folder)?;
                    cluster.pid = again.pid;
                    cluster.postmaster = Some(again);
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let Some(postmaster) = &mut self.postmaster else { return };
        if let Err(error) = postmaster.stop_now(&self.place, &self.binaries) {
            tracing::error!(%error, "the embedded PostgreSQL was not stopped");
        }
    }
}

/// The server that outlived its custodia, if it is healthy and runs with our settings; any other is stopped.
async fn surviving(
    config: &ClusterConfig,
    place: &Place,
    binaries: &Binaries,
    credentials: &Credentials,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Option<Postmaster>, ClusterError> {
    let Some(file) = PidFile::read(&place.data())? else { return Ok(None) };
    if !postmaster::serves(file.pid, &place.data()) {
        return Ok(None);
    }
    let socket_folder = file.socket_folder.unwrap_or_default();
    let mut survivor = Postmaster::take_over(file.pid, socket_folder);
    if is_healthy(config, &mut survivor, place, credentials).await {
        progress(Progress::TookOver { pid: survivor.pid });
        return Ok(Some(survivor));
    }
    progress(Progress::Replacing { pid: survivor.pid });
    survivor.stop(place, binaries).await?;
    Ok(None)
}

/// Whether it becomes ready, lets the owner in, and was started with the settings we would write.
async fn is_healthy(
    config: &ClusterConfig,
    survivor: &mut Postmaster,
    place: &Place,
    credentials: &Credentials,
) -> bool {
    if survivor.wait_ready(place, config.ready_within).await.is_err() {
        return false;
    }
    let Ok((_, expected)) = settings::conf(config, &survivor.socket_folder) else { return false };
    let owner = login::config(&survivor.socket_folder, credentials, MAINTENANCE, Role::Owner);
    let Ok(client) = login::connect(&owner).await else { return false };
    login::fingerprint(&client).await.is_ok_and(|found| found.as_deref() == Some(expected.as_str()))
}
