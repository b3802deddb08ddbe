//! Asking a witness for its cosignature (c2sp.org/tlog-witness, add-checkpoint).
//!
//! May import `ledger`.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use custodia_audit::{
    Checkpoint, NOTE_BYTES_MAX, NoteSignature, Policy, Vkey,
    witness::{AddCheckpoint, Reply, add_cosignatures},
};

use crate::ledger::{LedgerReader, ReadError};

/// How long a witness may take to answer once.
const WITHIN: Duration = Duration::from_secs(5);
/// Questions in a row: the first may teach us its size.
const QUESTIONS_MAX: usize = 3;

/// What became of asking.
#[derive(Debug)]
pub(super) enum Asked {
    /// It cosigned: its lines, of which at least one is by its key and holds.
    Cosigned(Vec<NoteSignature>),
    /// It has cosigned a later checkpoint, of this size.
    Later(u64),
    /// It says that this checkpoint does not continue the one it cosigned.
    Forked,
    /// It cannot be reached, or says nothing of use.
    Away(&'static str),
}

/// A witness and what we know of it.
pub(super) struct Asking {
    pub(super) vkey: Vkey,
    url: String,
    http: reqwest::Client,
    /// The size it cosigned last, as far as we know.
    size: AtomicU64,
    /// Whether it spoke of a fork the last time, so that an alarm is one entry and not one every ten seconds.
    alarmed: AtomicBool,
}

impl Asking {
    pub(super) fn new(vkey: Vkey, prefix: &str, http: reqwest::Client) -> Self {
        let url = format!("{}/add-checkpoint", prefix.trim_end_matches('/'));
        Self { vkey, url, http, size: AtomicU64::new(0), alarmed: AtomicBool::new(false) }
    }

    /// Whether this is the first alarm since the last time all was well.
    pub(super) fn is_news(&self, alarm: bool) -> bool {
        !self.alarmed.swap(alarm, Ordering::SeqCst) && alarm
    }

    /// Asks for a cosignature of `note`, whose checkpoint is `head`.
    pub(super) async fn ask(
        &self,
        reader: &LedgerReader,
        note: &str,
        head: &Checkpoint,
    ) -> Result<Asked, ReadError> {
        for _ in 0..QUESTIONS_MAX {
            let old = self.size.load(Ordering::SeqCst).min(head.size);
            let proof = match old {
                0 => Vec::new(),
                old if old == head.size => Vec::new(),
                old => reader.consistency(old, head.size).await?,
            };
            let request = AddCheckpoint { old, proof, checkpoint: note.to_owned() };
            match self.post(request.to_text()).await {
                None => return Ok(Asked::Away("no answer")),
                Some(Reply::Cosigned(lines)) => {
                    let alone = Policy::of_keys(std::slice::from_ref(&self.vkey), 0);
                    let added = add_cosignatures(note, &lines, &alone);
                    if added.is_ok_and(|added| added == note) {
                        return Ok(Asked::Away("an answer without a cosignature by its key"));
                    }
                    self.size.store(head.size, Ordering::SeqCst);
                    return Ok(Asked::Cosigned(lines));
                }
                Some(Reply::Conflict { size }) if size > head.size => return Ok(Asked::Later(size)),
                Some(Reply::Conflict { size }) => self.size.store(size, Ordering::SeqCst),
                Some(Reply::Inconsistent) => return Ok(Asked::Forked),
                Some(Reply::Unusable) => return Ok(Asked::Away("an answer of no use")),
            }
        }
        Ok(Asked::Away("another size with every answer"))
    }

    async fn post(&self, body: String) -> Option<Reply> {
        let send = async {
            let mut answer = self.http.post(&self.url).body(body).send().await.ok()?;
            let status = answer.status().as_u16();
            let mut bytes = Vec::new();
            while let Some(chunk) = answer.chunk().await.ok()? {
                if bytes.len() + chunk.len() > NOTE_BYTES_MAX {
                    return None;
                }
                bytes.extend_from_slice(&chunk);
            }
            Some(Reply::parse(status, &bytes))
        };
        tokio::time::timeout(WITHIN, send).await.ok().flatten()
    }
}
