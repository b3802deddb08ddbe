//! The `.tlog-proof` of one entry (c2sp.org/tlog-proof@v1).
//!
//! ```text
//! c2sp.org/tlog-proof@v1
//! extra <base64>                 only if there is extra material, which nothing vouches for
//! index <decimal>
//! <base64 hash>                  the inclusion proof, leaf's sibling first
//! <LF>
//! <signed checkpoint>
//! ```
//! Imports `bytes`, `tree` and the checkpoint.

use thiserror::Error;

use super::{Checkpoint, CheckpointFault, Cosigned, NOTE_BYTES_MAX, Policy, Vkey};
use crate::bytes::{base64, decimal, unbase64};
use crate::tree::{Hash, PROOF_HASHES_MAX, TreeFault, leaf_hash, verify_inclusion};

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";

/// The longest proof file that is read, in bytes.
pub const PROOF_FILE_BYTES_MAX: usize = NOTE_BYTES_MAX + 64 * 1024;

/// Why a proof file was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProofFault {
    /// It is not in the form of the format.
    #[error("not a proof file: {0}")]
    Form(&'static str),
    /// Its checkpoint does not hold.
    #[error("checkpoint: {0}")]
    Checkpoint(#[from] CheckpointFault),
    /// The entry is not where it says.
    #[error("inclusion: {0}")]
    Tree(#[from] TreeFault),
}

/// The proof that one entry is in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProofFile {
    /// Material beside the proof that is not authenticated.
    pub extra: Option<Vec<u8>>,
    /// Where in the log the entry is.
    pub index: u64,
    /// The inclusion proof, the leaf's sibling first.
    pub hashes: Vec<Hash>,
    /// The signed checkpoint, verbatim.
    pub checkpoint: String,
}

impl ProofFile {
    /// The file's text.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = format!("{FIRST_LINE}\n");
        if let Some(extra) = &self.extra {
            text.push_str(&format!("extra {}\n", base64(extra)));
        }
        text.push_str(&format!("index {}\n", self.index));
        for hash in &self.hashes {
            text.push_str(&format!("{hash}\n"));
        }
        text.push('\n');
        text.push_str(&self.checkpoint);
        text
    }

    /// Reads a file; nothing in it is believed yet.
    pub fn parse(bytes: &[u8]) -> Result<Self, ProofFault> {
        if bytes.len() > PROOF_FILE_BYTES_MAX {
            return Err(ProofFault::Form("too long"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| ProofFault::Form("not UTF-8"))?;
        let (head, checkpoint) = text.split_once("\n\n").ok_or(ProofFault::Form("no blank line"))?;
        let mut lines = head.split('\n').peekable();
        if lines.next() != Some(FIRST_LINE) {
            return Err(ProofFault::Form("another first line"));
        }
        let extra = match lines.next_if(|line| line.starts_with("extra ")) {
            Some(line) => {
                Some(line.strip_prefix("extra ").and_then(unbase64).ok_or(ProofFault::Form("extra"))?)
            }
            None => None,
        };
        let index = lines.next().and_then(|line| decimal(line.strip_prefix("index ")?));
        let index = index.ok_or(ProofFault::Form("index"))?;
        let hashes: Vec<Hash> = lines
            .take(PROOF_HASHES_MAX + 1)
            .map(Hash::from_base64)
            .collect::<Option<_>>()
            .ok_or(ProofFault::Form("a hash is not base64 of 32 bytes"))?;
        if hashes.len() > PROOF_HASHES_MAX {
            return Err(ProofFault::Form("too many hashes"));
        }
        Ok(Self { extra, index, hashes, checkpoint: checkpoint.to_owned() })
    }

    /// Checks that `entry`, the bytes of a log entry, is in the log `origin` that `keys` sign for.
    pub fn verify(
        &self,
        entry: &[u8],
        origin: &str,
        keys: &[Vkey],
        quorum: usize,
    ) -> Result<Checkpoint, ProofFault> {
        self.verify_under(entry, origin, &Policy::of_keys(keys, quorum)).map(|(checkpoint, _)| checkpoint)
    }

    /// The same under a policy; gives the cosignatures of known witnesses as well.
    pub fn verify_under(
        &self,
        entry: &[u8],
        origin: &str,
        policy: &Policy,
    ) -> Result<(Checkpoint, Vec<Cosigned>), ProofFault> {
        let (checkpoint, cosigned) = policy.open(self.checkpoint.as_bytes(), origin)?;
        verify_inclusion(leaf_hash(entry), self.index, checkpoint.size, &self.hashes, checkpoint.root)?;
        Ok((checkpoint, cosigned))
    }
}
