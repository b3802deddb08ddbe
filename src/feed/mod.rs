//! Every entry of the log to a syslog collector: IHE ATNA over TLS (RFC 5425), at least once.
//!
//! May import everything above it; names tokio-rustls. The log is the spool: it is sealed, it is whole, and it is there
//! when the collector comes back, so nothing is written twice and nothing can overflow. What is kept is the position.
//!
//! ```text
//! position -> connect -> frames -> close_notify -> the collector's end of the stream -> position moves
//! ```
//! A collector that answers close_notify with its own has read everything (RFC 5425 §4.4). If it does not, or we crash
//! before the position is on the disk, the same entries go again: a message's receipt tells which it was.

mod position;
mod wire;

use std::{path::PathBuf, sync::Arc, time::Duration};

use custodia_audit::Leaf;

use crate::{
    config::FeedConfig,
    events::{Place, audit_event, control_event, disclosure_event, syslog},
    ledger::{ReadError, Shard, StoredEntry},
    refusal::causes,
};
use position::Position;
use wire::Wire;

pub use wire::WireError;

/// How often the log is looked at for something new.
const LOOK: Duration = Duration::from_millis(500);
/// The most entries of one connection.
const BATCH_ENTRIES_MAX: u64 = 4_096;
/// The entries that are read at once.
const PAGE_ENTRIES: u64 = 256;
/// How long the first try after a failure waits; each further one twice as long, up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(500);
/// The longest pause between tries.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Why entries did not reach the collector.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The log cannot be read.
    #[error("the log cannot be read")]
    Read(#[from] ReadError),
    /// The collector cannot be reached, or did not take everything.
    #[error("the collector did not take the entries")]
    Wire(#[from] WireError),
    /// The position cannot be read or kept.
    #[error("the position of the feed cannot be read or kept")]
    Position(#[source] std::io::Error),
}

/// A feed, ready to run.
pub struct Feed {
    log: Arc<Shard>,
    wire: Wire,
    position: Position,
}

impl Feed {
    /// Reads certificates and the position; `None` when no collector is configured.
    ///
    /// # Errors
    /// [`FeedError`]: what is wrong with the certificates, or with the position on the disk.
    pub fn open(config: &FeedConfig, folder: PathBuf, log: Arc<Shard>) -> Result<Option<Self>, FeedError> {
        let Some(address) = &config.address else { return Ok(None) };
        let wire = Wire::new(address, config)?;
        let position = Position::open(folder, log.origin()).map_err(FeedError::Position)?;
        Ok(Some(Self { log, wire, position }))
    }

    /// Feeds until it is dropped.
    pub async fn run(mut self) {
        let mut pause = PAUSE_MIN;
        loop {
            match self.turn().await {
                Ok(true) => pause = PAUSE_MIN,
                Ok(false) => {
                    pause = PAUSE_MIN;
                    tokio::time::sleep(LOOK).await;
                }
                Err(error) => {
                    let (event, entry) = ("feed_stalled", self.position.next());
                    tracing::warn!(event, error = causes(&error), entry);
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }

    /// Sends what is new, up to the bound of one connection; whether there was anything.
    async fn turn(&mut self) -> Result<bool, FeedError> {
        let first = self.position.next();
        let (_, checkpoint) = self.log.reader().checkpoint().await?;
        let end = checkpoint.size.min(first.saturating_add(BATCH_ENTRIES_MAX));
        if end <= first {
            return Ok(false);
        }
        let mut connection = self.wire.connect().await?;
        let mut next = first;
        while next < end {
            let page = self.log.reader().entries(next, end.min(next.saturating_add(PAGE_ENTRIES))).await?;
            let mut frames = Vec::new();
            for entry in &page {
                if entry.index != next {
                    return Err(ReadError::Broken.into());
                }
                self.render(entry, &mut frames)?;
                next += 1;
            }
            if page.is_empty() {
                return Err(ReadError::Broken.into());
            }
            connection.send(&frames).await?;
        }
        connection.close().await?;
        // If we crash here, the same entries go again.
        self.position.advance(next).map_err(FeedError::Position)?;
        Ok(true)
    }

    /// The messages of an entry; none of one whose key was destroyed.
    fn render(&self, entry: &StoredEntry, out: &mut Vec<u8>) -> Result<(), FeedError> {
        let (origin, shard) = (self.log.origin(), self.log.reader().shard());
        let place = Place { origin, shard, index: entry.index };
        if let Leaf::Control(control) = entry.leaf()? {
            out.extend(syslog::frame(&place, &control_event(&place, &control)));
        } else if let Some(told) = entry.entry()? {
            out.extend(syslog::frame(&place, &audit_event(&place, &told)));
            out.extend(disclosure_event(&place, &told).iter().flat_map(|event| syslog::frame(&place, event)));
        }
        Ok(())
    }
}
