//! Why the embedded PostgreSQL did not start, each in one line that says what to do.

use std::{io, path::PathBuf};

use thiserror::Error;

/// What kept the embedded PostgreSQL from starting, answering or stopping.
///
/// Every message is one line for the person at the terminal; none holds a password.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// Neither this machine nor the download had a usable PostgreSQL.
    #[error(
        "no PostgreSQL {OLDEST_MAJOR} or newer on this machine ({why_not_fetched}): install it with \
         `apt install postgresql` (Debian, Ubuntu), `dnf install postgresql-server` (Fedora) or \
         `brew install postgresql@17` (macOS), or set DATABASE_URL to a server of your own",
        OLDEST_MAJOR = super::OLDEST_MAJOR
    )]
    NoServer {
        /// Why the one-time download did not help.
        why_not_fetched: String,
    },
    /// The data directory was written by a major version that is not installed.
    #[error(
        "the data in {} was written by PostgreSQL {data}, but this machine has {found}: install PostgreSQL \
         {data}, or move the data with pg_dump and pg_restore", path.display()
    )]
    OtherMajor {
        /// The data directory.
        path: PathBuf,
        /// The major version that wrote it.
        data: u32,
        /// The major versions this machine offers, in words.
        found: String,
    },
    /// Another process holds the lock of this home.
    #[error("another custodia (process {holder}) already runs on {}: stop it, or choose another home", home.display())]
    AlreadyRunning {
        /// The home both asked for.
        home: PathBuf,
        /// The process id the holder wrote down, or `unknown`.
        holder: String,
    },
    /// Running as root without an unprivileged account to run PostgreSQL as.
    #[error(
        "PostgreSQL refuses to run as root and /etc/passwd has neither `postgres` nor `nobody`: run custodia as \
         an ordinary user, or add an account named `postgres`"
    )]
    NoAccount,
    /// The account that runs PostgreSQL cannot reach the folder.
    #[error(
        "the account `{account}`, which runs PostgreSQL because custodia runs as root, cannot enter {}: \
         `chmod o+x` that folder, or choose a home elsewhere", barrier.display()
    )]
    Unreachable {
        /// The account's name.
        account: String,
        /// The first folder it may not enter.
        barrier: PathBuf,
    },
    /// The folder belongs to someone else.
    #[error(
        "{} belongs to user id {owner} but PostgreSQL would run as user id {expected}: start custodia as the user \
         who first started it, or give the folder away with chown -R", path.display()
    )]
    WrongOwner {
        /// The folder.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// The user PostgreSQL would run as.
        expected: u32,
    },
    /// The home remembers a cluster that is gone.
    #[error(
        "{} says that the data lives in {}, which is gone: bring it back, or remove {} to begin with an empty \
         database", record.display(), data.display(), record.display()
    )]
    DataMissing {
        /// The file that remembers where the data lives.
        record: PathBuf,
        /// Where it should be.
        data: PathBuf,
    },
    /// The passwords file is gone, or not what was written.
    #[error("{} is missing or damaged, so nobody can log in to the data beside it: bring it back", path.display())]
    Credentials {
        /// The passwords file.
        path: PathBuf,
    },
    /// A path that PostgreSQL's configuration cannot hold.
    #[error("{} is not valid UTF-8 or holds a control character: choose a plainer home", path.display())]
    PathNotText {
        /// The path.
        path: PathBuf,
    },
    /// A command of PostgreSQL's failed.
    #[error("{command} failed ({status}): {said}")]
    Command {
        /// The command's name.
        command: &'static str,
        /// How it ended.
        status: String,
        /// The last line it printed.
        said: String,
    },
    /// A wait came to its end.
    #[error("{what} took longer than {limit_s} s")]
    Timeout {
        /// What was waited for.
        what: &'static str,
        /// The bound.
        limit_s: u64,
    },
    /// The postmaster ended instead of becoming ready.
    #[error("PostgreSQL did not start ({said}): see {}", log.display())]
    DidNotStart {
        /// The last line of its log that names a reason.
        said: String,
        /// Its log.
        log: PathBuf,
    },
    /// The postmaster is still there after every way to stop it.
    #[error("PostgreSQL (process {pid}) does not stop: end it by hand")]
    DoesNotStop {
        /// The postmaster.
        pid: u32,
    },
    /// A statement or a connection to the cluster failed.
    #[error("PostgreSQL refused while {what}")]
    Postgres {
        /// What was being done.
        what: &'static str,
        /// What PostgreSQL said.
        #[source]
        source: tokio_postgres::Error,
    },
    /// A database name that is not a plain identifier.
    #[error("a database name must be 1 to 63 of a-z, 0-9 and _, and begin with a letter")]
    DatabaseName,
    /// The file system refused.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What was being done.
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Names the deed and the path when a file operation fails.
pub(super) trait At<T> {
    /// Turns an [`io::Error`] into [`ClusterError::Io`].
    fn at(self, what: &'static str, path: &std::path::Path) -> Result<T, ClusterError>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, what: &'static str, path: &std::path::Path) -> Result<T, ClusterError> {
        self.map_err(|source| ClusterError::Io { what, path: path.to_path_buf(), source })
    }
}
