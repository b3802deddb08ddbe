//! Before the first signature of a start: does anybody know of more than the database holds?
//!
//! May import `ledger`. A database that was put back to an earlier day would go on from there, and sign a second history. So whoever
//! holds a later or another head than the database stops the start, and the server says how to go on.

use std::path::PathBuf;

use custodia_audit::{Checkpoint, NOTE_BYTES_MAX, verify_consistency};
use futures_util::future::join_all;

use super::{LogAnchors, MirrorError, PlaceError, ask::Asked};
use crate::{
    durable,
    ledger::{LedgerReader, ReadError},
};

/// Why a server does not serve.
#[derive(Debug, thiserror::Error)]
pub enum Unanchored {
    /// An anchor has more than the database: it was put back to an earlier day.
    #[error(
        "the database was put back to an earlier day: {place} knows {anchored} entries of the log, the database holds \
         {head}. Nothing is served. See `custodia audit recover --help` for the two ways out"
    )]
    Ahead {
        /// Which anchor.
        place: String,
        /// What it knows.
        anchored: u64,
        /// What the database holds.
        head: u64,
    },
    /// An anchor has another log than the database.
    #[error(
        "the log in the database is not the one that {place} knows: their histories part before entry {size}. Nothing is \
         served. See `custodia audit recover --help` for the way out"
    )]
    Forked {
        /// Which anchor.
        place: String,
        /// By which size.
        size: u64,
    },
    /// An anchor's file cannot be relied on.
    #[error("{place}: the checkpoint there cannot be relied on; it is of another log, or damaged")]
    Unreadable {
        /// Which.
        place: String,
    },
    /// The mirror does not hold.
    #[error("the mirror (ledger.mirror, or the bucket)")]
    Mirror(#[from] MirrorError),
    /// The log in the database cannot be read.
    #[error("the log cannot be read")]
    Read(#[from] ReadError),
}

impl LogAnchors {
    /// Compares the database's head with every anchor that can be had. A witness that cannot be reached is told of in
    /// the operational log and does not stop the start.
    ///
    /// # Errors
    /// [`Unanchored`].
    pub(super) async fn check(&self, reader: &LedgerReader) -> Result<(), Unanchored> {
        // INVARIANT: anchors are read before the head, which only grows: what they know, it must have
        // (`a_database_put_back_to_an_earlier_day_is_not_served`).
        let mut known: Vec<(String, Checkpoint)> = Vec::new();
        for name in ["checkpoint", "cosigned"] {
            known.extend(self.kept_in_home(self.folder.join(name))?);
        }
        for mirror in self.mirrors() {
            let checkpoint = match mirror.checkpoint().await {
                // Like a witness: else whoever runs the store could keep a clinic from working.
                Err(MirrorError::Place(PlaceError::Bucket(_, error))) => {
                    tracing::warn!(event = "bucket_away", error = error.to_string());
                    continue;
                }
                read => read?,
            };
            // What cannot be tried now is not held against it: the next start tries again.
            if let Ok(false) = mirror.keeps_conditions().await {
                return Err(MirrorError::Broken("the store ignores If-Match on PUT").into());
            }
            known.extend(checkpoint.map(|(_, checkpoint)| (mirror.checkpoint_place(), checkpoint)));
        }
        let (note, head) = reader.checkpoint().await?;
        for (place, anchored) in known {
            compare(reader, place, &anchored, &head).await?;
        }
        let asked = join_all(self.witnesses.iter().map(|witness| witness.ask(reader, &note, &head))).await;
        for (witness, asked) in self.witnesses.iter().zip(asked) {
            let place = || format!("the witness {}", witness.vkey.name());
            match asked? {
                Asked::Cosigned(_) => {}
                Asked::Later(anchored) => {
                    // Another server of this log may have gone on since the head was read.
                    let (_, head) = reader.checkpoint().await?;
                    if anchored > head.size {
                        return Err(Unanchored::Ahead { place: place(), anchored, head: head.size });
                    }
                }
                Asked::Forked => return Err(Unanchored::Forked { place: place(), size: head.size }),
                Asked::Away(why) => {
                    tracing::warn!(event = "witness_away", witness = witness.vkey.name(), error = why);
                }
            }
        }
        Ok(())
    }

    fn kept_in_home(&self, path: PathBuf) -> Result<Option<(String, Checkpoint)>, Unanchored> {
        let place = path.display().to_string();
        let unreadable = || Unanchored::Unreadable { place: place.clone() };
        let Some(note) = durable::read(&path, NOTE_BYTES_MAX).map_err(|_| unreadable())? else {
            return Ok(None);
        };
        let checkpoint = Checkpoint::open(&note, self.keys.origin(), &self.keys.known(), 0);
        let checkpoint = checkpoint.map_err(|_| unreadable())?;
        Ok(Some((place, checkpoint)))
    }
}

async fn compare(
    reader: &LedgerReader,
    place: String,
    anchored: &Checkpoint,
    head: &Checkpoint,
) -> Result<(), Unanchored> {
    if anchored.size > head.size {
        return Err(Unanchored::Ahead { place, anchored: anchored.size, head: head.size });
    }
    let proof = match anchored.size {
        0 => Vec::new(),
        same if same == head.size => Vec::new(),
        size => reader.consistency(size, head.size).await?,
    };
    verify_consistency(anchored.size, anchored.root, head.size, head.root, &proof)
        .map_err(|_| Unanchored::Forked { place, size: anchored.size })
}
