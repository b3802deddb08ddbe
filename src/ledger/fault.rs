//! Why a batch failed; nothing of it counts then.

use super::{head::EdgeError, keys::AuditKeyError, signing::Unsignable};
use crate::seal::KeyError;

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
