//! What stands outside the database, so that a database put back to an earlier day is noticed.
//!
//! May import `clock`, `config`, `durable`, `ledger`, `seal`, `tenant`. Three kinds of anchor: the last checkpoint, kept in the home; the mirror
//! (`anchor/mirror.rs`), a folder or a bucket with the whole log, or one of each; witnesses (`anchor/ask.rs`), who cosign. Before the first
//! signature of a start each is asked whether it knows more than the database (`anchor/guard.rs`); while the server
//! serves each is brought up every few seconds, off the way of requests, and the whole log is read anew now and then
//! (`anchor/recount.rs`).
//!
//! ```text
//! <home>/anchor/<hex SHA-256(origin)>/checkpoint     the last head, with what cosignatures it got
//! <home>/anchor/<hex SHA-256(origin)>/cosigned       the last head that the policy's quorum cosigned
//! ```
//! Of logs that are written side by side each has its own (`anchor/log.rs`).

mod ask;
mod counts;
mod guard;
mod log;
mod mirror;
mod place;
mod recount;

use std::{
    io,
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use custodia_audit::{Checkpoint, Edge, PolicyFault, TileId};
use futures_util::future::join_all;

pub use counts::AnchorCounts;
pub use guard::Unanchored;
pub use log::LogAnchors;
pub use mirror::{Mirror, MirrorError};
pub use place::{Bucket, PlaceError};
pub use recount::{REST, Recounted};

use crate::{
    clock::Clock,
    config::Config,
    durable::Durable,
    ledger::{Ledger, LedgerReader, ReadError},
    seal::Keystore,
};

/// Why the anchors cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum AnchorError {
    /// A file cannot be read.
    #[error("{}", .0.display())]
    File(PathBuf, #[source] io::Error),
    /// The policy is not one.
    #[error("ledger.policy")]
    Policy(#[from] PolicyFault),
    /// A witness has no address that may be asked.
    #[error("ledger.policy: witness {0} needs an https:// URL (http:// on loopback)")]
    Url(String),
    /// The roots for witnesses' certificates are none.
    #[error("ledger.witness_roots: expected PEM certificates")]
    Roots,
    /// The bucket cannot be used.
    #[error(transparent)]
    Bucket(#[from] PlaceError),
    /// The client cannot be made.
    #[error("the client for witnesses")]
    Http(#[from] reqwest::Error),
}

/// The policy asks for witnesses that did not cosign.
#[derive(Debug, thiserror::Error)]
pub enum NoQuorum {
    /// The log cannot be read.
    #[error("the log cannot be read")]
    Read(#[from] ReadError),
    /// Too few cosigned.
    #[error("the witnesses of ledger.policy did not cosign the checkpoint: are they reachable?")]
    Missing,
}

/// The anchors of every log that is written.
pub struct Anchors {
    logs: Vec<LogAnchors>,
    counts: Arc<AnchorCounts>,
}

impl Anchors {
    /// The anchors that the configuration names.
    ///
    /// # Errors
    /// [`AnchorError`].
    pub fn open(config: &Config, keystore: &Keystore, durable: &Durable) -> Result<Self, AnchorError> {
        let counts = Arc::<AnchorCounts>::default();
        let of = |shard| {
            let config = config.of_shard(shard);
            let keys = keystore.log_keys(config.origin());
            LogAnchors::open(&config, keys, durable.clone(), Arc::clone(&counts))
        };
        let logs = (0..config.ledger.shards).map(of).collect::<Result<_, _>>()?;
        Ok(Self { logs, counts })
    }

    /// What they count.
    #[must_use]
    pub const fn counts(&self) -> &Arc<AnchorCounts> {
        &self.counts
    }

    /// Those of each log, in the order of the logs.
    #[must_use]
    pub fn logs(&self) -> &[LogAnchors] {
        &self.logs
    }

    /// Those of a log.
    #[must_use]
    pub fn of(&self, origin: &str) -> Option<&LogAnchors> {
        self.logs.iter().find(|log| log.origin() == origin)
    }

    /// Brings every anchor up to the head of its log, unless all are there.
    pub async fn round(&self, ledger: &Ledger) {
        let rounds = self.logs.iter().filter_map(|log| Some(log.round(ledger.named(log.origin())?)));
        join_all(rounds).await;
        let (mut cosigned, mut mirrored) = (0, 0);
        for (one, other) in self.logs.iter().map(LogAnchors::sizes) {
            (cosigned, mirrored) = (cosigned + one, mirrored + other);
        }
        self.counts.cosigned_size.store(cosigned, Ordering::Relaxed);
        self.counts.mirrored_size.store(mirrored, Ordering::Relaxed);
    }

    /// Reads every log anew, those before included, resting so long after each 256 entries; raises an alarm where one is not what
    /// it was. What was found, log after log.
    pub async fn recount(&self, ledger: &Ledger, clock: &Clock, rest: Duration) -> Vec<(String, Recounted)> {
        let mut all = Vec::new();
        for (log, shard) in self.logs.iter().filter_map(|log| Some((log, ledger.named(log.origin())?))) {
            for reader in shard.readers() {
                let found = log.recount((reader, shard), rest).await;
                all.push((reader.origin().to_owned(), found));
            }
        }
        let damaged = self.logs.iter().map(LogAnchors::damaged).sum();
        self.counts.damaged_logs.store(damaged, Ordering::Relaxed);
        if all.iter().all(|(_, found)| found.whole) {
            let now = u64::try_from(clock.now().timestamp()).unwrap_or(0);
            self.counts.recounted_at.store(now, Ordering::Relaxed);
        }
        all
    }

    /// The last checkpoint of the first log that the policy's quorum cosigned; without a quorum there is none.
    #[must_use]
    pub fn cosigned(&self) -> Option<(String, Checkpoint)> {
        self.logs.first().and_then(LogAnchors::cosigned)
    }

    /// A tile or entry bundle of a log in the folder's mirror: nobody waits for a bucket.
    ///
    /// # Errors
    /// [`MirrorError`].
    pub async fn tile(&self, origin: &str, id: &TileId, path: &str) -> Result<Option<Vec<u8>>, MirrorError> {
        match self.of(origin) {
            Some(log) => log.tile(id, path).await,
            None => Ok(None),
        }
    }

    /// The current checkpoint for an export, with its edge: cosigned by the policy's quorum, if the policy asks for one. A log
    /// that another continues is asked about like the first of those that are written.
    ///
    /// # Errors
    /// [`NoQuorum`].
    pub async fn for_export(&self, reader: &LedgerReader) -> Result<(String, Edge), NoQuorum> {
        let log = self.of(reader.origin()).or_else(|| self.logs.first()).ok_or(NoQuorum::Missing)?;
        log.for_export(reader).await
    }

    /// Compares the head of a log with every anchor of it that can be had.
    ///
    /// # Errors
    /// [`Unanchored`].
    pub async fn check(&self, reader: &LedgerReader) -> Result<(), Unanchored> {
        match self.of(reader.origin()) {
            Some(log) => log.check(reader).await,
            None => Ok(()),
        }
    }
}
