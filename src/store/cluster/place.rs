//! Where a cluster lives on disk, and the lock that keeps it to one custodia.
//!
//! May import `clock` and its siblings.
//!
//! ```text
//! <home>/postgresql.credentials   0600, the two passwords
//! <home>/postgresql.place         where the data lives, written once it is whole
//! <place>/postgresql.lock         held by the running custodia, names its process
//! <place>/data/                   0700, the account's: PostgreSQL's data directory
//! <place>/run/                    0700, the account's: the unix socket
//! <place>/log/postgresql.log      ours
//! <place>/postgresql/<version>/   server programs, if they had to be fetched
//! ```
//! `<place>` is `<home>`, unless we are root and the account that runs PostgreSQL cannot enter it.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError},
    io::{ErrorKind, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use super::{
    ClusterConfig, PORT,
    account::Account,
    error::{At, ClusterError},
    settings::fnv1a,
};
use crate::clock::Clock;

/// The longest path a unix socket may have: `sun_path` without its closing zero byte.
const SOCKET_BYTES_MAX: usize = if cfg!(target_os = "linux") { 107 } else { 103 };
/// Where sockets go that would be too long at home.
const SHORT_FOLDER: &str = "/tmp";

/// The folders of one cluster, locked for as long as this lives.
#[derive(Debug)]
pub(super) struct Place {
    home: PathBuf,
    folder: PathBuf,
    /// Who runs PostgreSQL here.
    pub(super) account: Account,
    _lock: File,
}

impl Place {
    /// Finds or makes the folders, and locks them.
    pub(super) fn open(config: &ClusterConfig) -> Result<Self, ClusterError> {
        let home = config.home.as_path();
        let is_new = !home.is_dir();
        if let Some(parent) = home.parent().filter(|_| is_new) {
            fs::create_dir_all(parent).at("create", parent)?;
        }
        DirBuilder::new().recursive(true).mode(0o700).create(home).at("create", home)?;
        let home = fs::canonicalize(home).at("resolve", home)?;
        let account = Account::choose(&home)?;
        if is_new && account.is_someone_else() {
            // Others may pass through to the data folder, but not list what else is here.
            fs::set_permissions(&home, Permissions::from_mode(0o711)).at("open", &home)?;
        }
        let folder = choose_folder(&home, &config.fallback, &account)?;
        let lock = lock(&folder, &home)?;
        let log = folder.join("log");
        DirBuilder::new().recursive(true).mode(0o700).create(&log).at("create", &log)?;
        let place = Self { home, folder, account, _lock: lock };
        if place.record().exists() && !place.data().exists() {
            return Err(ClusterError::DataMissing { record: place.record(), data: place.data() });
        }
        Ok(place)
    }

    /// PostgreSQL's data directory.
    pub(super) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Where a new data directory grows until it is whole.
    pub(super) fn unfinished_data(&self) -> PathBuf {
        self.folder.join("data.unfinished")
    }

    /// The postmaster's log.
    pub(super) fn log(&self) -> PathBuf {
        self.folder.join("log").join("postgresql.log")
    }

    /// Where fetched server programs are kept.
    pub(super) fn fetched(&self) -> PathBuf {
        self.folder.join("postgresql")
    }

    /// The passwords.
    pub(super) fn credentials(&self) -> PathBuf {
        self.home.join("postgresql.credentials")
    }

    fn record(&self) -> PathBuf {
        record(&self.home)
    }

    /// Remembers where the data lives, so that losing it is noticed and moving the home does not.
    pub(super) fn remember(&self) -> Result<(), ClusterError> {
        let record = self.record();
        if record.exists() {
            return Ok(());
        }
        let text =
            self.folder.to_str().ok_or_else(|| ClusterError::PathNotText { path: self.folder.clone() })?;
        // A home that holds its own data may be moved as a whole: it is remembered as itself.
        let text = if self.folder == self.home { "." } else { text };
        write_whole(&record, &format!("{text}\n"), None)
    }

    /// A folder for the socket: `run` at home, or a short one where that is too long.
    pub(super) fn socket_folder(&self) -> Result<PathBuf, ClusterError> {
        let run = self.folder.join("run");
        let bytes = run.join(format!(".s.PGSQL.{PORT}")).as_os_str().len();
        if bytes <= SOCKET_BYTES_MAX {
            self.account.own_folder(&run)?;
            return Ok(run);
        }
        // Others may write to this folder: the name is random, so that nobody can be there first.
        let random = Clock::machine().random_id().simple().to_string();
        let short = Path::new(SHORT_FOLDER).join(format!("{}{random}", self.short_prefix()));
        DirBuilder::new().mode(0o700).create(&short).at("create", &short)?;
        self.account.give(&short)?;
        Ok(short)
    }

    /// Removes a socket folder of ours outside home, when its server is gone; leaves any other alone.
    pub(super) fn remove_short_folder(&self, folder: &Path) -> Result<(), ClusterError> {
        let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let is_ours =
            folder.parent() == Some(Path::new(SHORT_FOLDER)) && name.starts_with(&self.short_prefix());
        if !is_ours || !folder.exists() {
            return Ok(());
        }
        self.account.check_owner(folder)?;
        fs::remove_dir_all(folder).at("remove", folder)
    }

    fn short_prefix(&self) -> String {
        format!("custodia-{}-", path_hash(&self.folder))
    }
}

/// The folder a home's data lives in, as it was remembered, and the home's credentials.
pub(super) fn remembered(home: &Path) -> Result<Option<(PathBuf, PathBuf)>, ClusterError> {
    let record = record(home);
    if !record.exists() {
        return Ok(None);
    }
    let text = fs::read_to_string(&record).at("read", &record)?;
    let folder = home.join(text.trim_end());
    let folder = fs::canonicalize(&folder).at("resolve", &folder)?;
    Ok(Some((folder.join("data"), home.join("postgresql.credentials"))))
}

fn record(home: &Path) -> PathBuf {
    home.join("postgresql.place")
}

fn path_hash(path: &Path) -> String {
    format!("{:016x}", fnv1a(path.as_os_str().as_encoded_bytes()))
}

fn choose_folder(home: &Path, fallback: &Path, account: &Account) -> Result<PathBuf, ClusterError> {
    let record = record(home);
    if record.exists() {
        let text = fs::read_to_string(&record).at("read", &record)?;
        let folder = home.join(text.trim_end());
        let gone = || ClusterError::DataMissing { record: record.clone(), data: folder.join("data") };
        let folder = fs::canonicalize(&folder).map_err(|_| gone())?;
        return unbarred(folder, account);
    }
    if account.barrier(home)?.is_none() {
        return Ok(home.to_path_buf());
    }
    let folder = fallback.join(path_hash(home));
    DirBuilder::new().recursive(true).mode(0o711).create(&folder).at("create", &folder)?;
    unbarred(fs::canonicalize(&folder).at("resolve", &folder)?, account)
}

fn unbarred(folder: PathBuf, account: &Account) -> Result<PathBuf, ClusterError> {
    match account.barrier(&folder)? {
        None => Ok(folder),
        Some(barrier) => Err(ClusterError::Unreachable { account: account.name.clone(), barrier }),
    }
}

/// Takes the lock or says who has it. The system releases it however the holder ends.
fn lock(folder: &Path, home: &Path) -> Result<File, ClusterError> {
    let path = folder.join("postgresql.lock");
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let mut file = options.open(&path).at("open", &path)?;
    match file.try_lock() {
        Ok(()) => {
            file.set_len(0).at("write", &path)?;
            file.write_all(std::process::id().to_string().as_bytes()).at("write", &path)?;
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            file.read_to_string(&mut holder).at("read", &path)?;
            let holder = if holder.is_empty() { "unknown".to_owned() } else { holder };
            Err(ClusterError::AlreadyRunning { home: home.to_path_buf(), holder })
        }
        Err(TryLockError::Error(source)) => Err(ClusterError::Io { what: "lock", path, source }),
    }
}

/// Puts `text` into `path` as a whole or not at all, readable by its owner alone.
///
/// If we crash before the rename, `path` is what it was; the unfinished file is overwritten next time.
pub(super) fn write_whole(path: &Path, text: &str, owner: Option<&Account>) -> Result<(), ClusterError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".unfinished");
    let unfinished = PathBuf::from(name);
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error).at("remove", &unfinished),
        _ => {}
    }
    // `create_new` follows no link that someone else may have put there.
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&unfinished)
        .at("create", &unfinished)?;
    file.write_all(text.as_bytes()).at("write", &unfinished)?;
    file.sync_all().at("write", &unfinished)?;
    if let Some(account) = owner {
        account.give(&unfinished)?;
    }
    fs::rename(&unfinished, path).at("replace", path)?;
    sync_parent(path)
}

/// Makes a creation or a rename in the parent of `path` durable.
pub(super) fn sync_parent(path: &Path) -> Result<(), ClusterError> {
    let Some(parent) = path.parent() else { return Ok(()) };
    File::open(parent).and_then(|folder| folder.sync_all()).at("write", parent)
}
