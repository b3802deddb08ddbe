//! Why a batch failed (nothing of it counts then), and why the ledger does not start.

use super::{Down, head::EdgeError, keys::AuditKeyError, signing::Unsignable};
use crate::{seal::KeyError, store::StoreError};

/// Why a batch failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum BatchError {
    #[error("a statement failed")]
    Database(#[from] diesel::result::Error),
    #[error("the head does not hold")]
    Edge(#[from] EdgeError),
    #[error("a key cannot be had")]
    AuditKey(#[from] AuditKeyError),
    #[error("sealing failed")]
    Seal(#[from] KeyError),
    #[error("nothing can be signed over the head")]
    Unsignable(#[from] Unsignable),
    #[error("the head moved while it was locked, or the database holds other leaves than it was given")]
    Fatal,
    #[error(
        "the database was put back to an earlier day while this server ran: its log lacks what was committed"
    )]
    PutBack,
    #[error("there are {0} logs side by side by now: give this server that ledger.shards and start it again")]
    Shards(i16),
    #[error("the batch took too long, or there is no connection")]
    Away,
}

/// Why the ledger cannot start.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The database holds a log that this key did not sign, or that is not whole.
    #[error("the log in the database does not hold: {0}")]
    Head(&'static str),
    /// The log was closed for good.
    #[error("it was closed: {0} continues it, give the server that ledger.origin and its ledger.shard")]
    Closed(String),
    /// A log that was to be begun has entries, and does not continue what it was to.
    #[error(
        "it has {0} entries; a new log wants a name (ledger.origin) and a head (ledger.shard) of its own"
    )]
    NotNew(u64),
    /// There are more logs side by side than this server knows of.
    #[error(
        "{0} logs are written side by side in this database: give every server that ledger.shards; it never shrinks"
    )]
    Shards(i16),
    /// The database is away.
    #[error("the database is away")]
    Store(#[from] StoreError),
    /// The first entry could not be committed.
    #[error("the start of the server could not be recorded")]
    Down(#[from] Down),
}

impl From<diesel::result::Error> for SetupError {
    fn from(error: diesel::result::Error) -> Self {
        Self::Store(error.into())
    }
}

impl From<EdgeError> for SetupError {
    fn from(error: EdgeError) -> Self {
        match error {
            EdgeError::Closed(next) => Self::Closed(next),
            EdgeError::Database(error) => error.into(),
            EdgeError::Broken(why) => Self::Head(why),
        }
    }
}

impl From<Unsignable> for SetupError {
    fn from(why: Unsignable) -> Self {
        Self::Head(match why {
            Unsignable::Keys => {
                "its checkpoint is not signed by keys of this keystore alone: after `custodia keys rotate-log` every \
                 server needs a copy of the keystore"
            }
            Unsignable::Differs => "its head and its signed checkpoint differ",
            Unsignable::Unusable | Unsignable::Turn => "the log's signing key or origin cannot be used",
        })
    }
}
