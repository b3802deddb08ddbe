//! What the log signs: checkpoints (c2sp.org/tlog-checkpoint), and who can check them.
//!
//! `checkpoint/key.rs` signs and names keys, `checkpoint/note.rs` is the signed note around a text,
//! `checkpoint/policy.rs` whom to believe, `checkpoint/proof_file.rs` the `.tlog-proof` of one entry.
//! Imports `bytes` and `tree`.

mod key;
mod note;
mod policy;
mod proof_file;

use thiserror::Error;

pub use key::{Cosigner, KeyFault, KeyKind, Signer, Vkey};
pub use note::{NOTE_BYTES_MAX, Note, NoteFault, NoteSignature, SIGNATURES_MAX, Verified};
pub use policy::{
    Cosigned, POLICY_BYTES_MAX, POLICY_NAMES_MAX, Policy, PolicyFault, PolicyLog, PolicyProblem,
    PolicyWitness,
};
pub use proof_file::{PROOF_FILE_BYTES_MAX, ProofFault, ProofFile};

use crate::bytes::decimal;
use crate::tree::Hash;

/// The head of a log at one size: three lines, no extension lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name.
    pub origin: String,
    /// How many entries it has.
    pub size: u64,
    /// The root of its tree.
    pub root: Hash,
}

/// Why bytes are not a checkpoint to rely on.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CheckpointFault {
    /// The note is malformed or its signatures do not hold.
    #[error(transparent)]
    Note(#[from] NoteFault),
    /// The text is not origin, size and root, each on its line.
    #[error("the text is not a checkpoint of three lines")]
    Text,
    /// It is the checkpoint of another log.
    #[error("the checkpoint is of another log")]
    Origin,
    /// Only witnesses signed it, not the log.
    #[error("no trusted log key signed the checkpoint")]
    Unsigned,
    /// The trusted witnesses that cosigned it are not those that the verifier asks for.
    #[error("the {found} known witnesses that cosigned the checkpoint are not the quorum")]
    Quorum {
        /// How many known ones cosigned.
        found: usize,
    },
}

impl Checkpoint {
    /// The text that is signed: origin, size and root, each ended by a line feed.
    #[must_use]
    pub fn to_text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, self.root)
    }

    /// Reads the text. Extension lines are refused: no auditor could check them.
    pub fn parse(text: &str) -> Result<Self, CheckpointFault> {
        let mut lines = text.strip_suffix('\n').ok_or(CheckpointFault::Text)?.split('\n');
        let (Some(origin), Some(size), Some(root), None) =
            (lines.next(), lines.next(), lines.next(), lines.next())
        else {
            return Err(CheckpointFault::Text);
        };
        if origin.is_empty() {
            return Err(CheckpointFault::Text);
        }
        let size = decimal(size).ok_or(CheckpointFault::Text)?;
        let root = Hash::from_base64(root).ok_or(CheckpointFault::Text)?;
        Ok(Self { origin: origin.to_owned(), size, root })
    }

    /// Reads a signed checkpoint, trusting it only if one of the log's `keys` signed it.
    ///
    /// Keys of the cosignature kind are witnesses; `quorum` of them must have signed as well. One witness
    /// counts once, however often it signed and under however many names.
    pub fn open(note: &[u8], origin: &str, keys: &[Vkey], quorum: usize) -> Result<Self, CheckpointFault> {
        Policy::of_keys(keys, quorum).open(note, origin).map(|(checkpoint, _)| checkpoint)
    }
}
