//! What log and witness say to each other (c2sp.org/tlog-witness, add-checkpoint), and the witness's judgement.
//!
//! ```text
//! POST <prefix>/add-checkpoint        old <decimal> LF (base64 hash LF)* LF <signed checkpoint>
//! 200                                 one or more signature lines
//! 409 text/x.tlog.size                <decimal> LF: the size the witness has
//! 400 403 404 422                     malformed, not signed by the log, unknown log, inconsistent
//! ```
//! Pure: keeping the state and answering is the server's part. Imports `bytes`, `checkpoint` and `tree`.

use thiserror::Error;

use crate::bytes::{decimal, hex, sha256};
use crate::checkpoint::{Checkpoint, CheckpointFault, NOTE_BYTES_MAX, Note, NoteSignature, Policy};
use crate::tree::{Hash, verify_consistency};

/// The most consistency proof lines of a request.
pub const REQUEST_HASHES_MAX: usize = 63;

/// The longest request that is read, in bytes.
pub const REQUEST_BYTES_MAX: usize = NOTE_BYTES_MAX + 4096;

/// The media type of the size in a 409.
pub const SIZE_TYPE: &str = "text/x.tlog.size";

/// A log asks a witness to cosign a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// The size the witness is thought to have.
    pub old: u64,
    /// The proof from there to the checkpoint; empty if `old` is 0 or the checkpoint's size.
    pub proof: Vec<Hash>,
    /// The signed checkpoint, verbatim.
    pub checkpoint: String,
}

impl AddCheckpoint {
    /// The request's body.
    #[must_use]
    pub fn to_text(&self) -> String {
        let proof: String = self.proof.iter().map(|hash| format!("{hash}\n")).collect();
        format!("old {}\n{proof}\n{}", self.old, self.checkpoint)
    }

    /// Reads a request's body; nothing in it is believed yet.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > REQUEST_BYTES_MAX {
            return None;
        }
        let (head, checkpoint) = std::str::from_utf8(bytes).ok()?.split_once("\n\n")?;
        let mut lines = head.split('\n');
        let old = decimal(lines.next()?.strip_prefix("old ")?)?;
        let proof: Vec<Hash> =
            lines.take(REQUEST_HASHES_MAX + 1).map(Hash::from_base64).collect::<Option<_>>()?;
        let is_short = proof.len() <= REQUEST_HASHES_MAX;
        is_short.then(|| Self { old, proof, checkpoint: checkpoint.to_owned() })
    }
}

/// Why a witness does not cosign.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refused {
    /// The request is malformed, or its old size is above the checkpoint's.
    #[error("the request is malformed")]
    Malformed,
    /// The witness was not told of this log.
    #[error("the log is unknown")]
    UnknownLog,
    /// No key of the log signed it, or a signature of one does not hold.
    #[error("the checkpoint is not signed by the log")]
    Unsigned,
    /// The old size is not the one that was cosigned last.
    #[error("another size was cosigned last")]
    Conflict {
        /// The size that was.
        size: u64,
    },
    /// The checkpoint does not continue the one that was cosigned last: evidence of a fork.
    #[error("the checkpoint does not continue the one cosigned last")]
    Inconsistent,
}

impl Refused {
    /// The HTTP status.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::Malformed => 400,
            Self::Unsigned => 403,
            Self::UnknownLog => 404,
            Self::Conflict { .. } => 409,
            Self::Inconsistent => 422,
        }
    }
}

/// The origin a request is about, to find what was cosigned last for it. Not believed yet.
#[must_use]
pub fn origin_of(request: &AddCheckpoint) -> Option<&str> {
    request.checkpoint.split('\n').next().filter(|origin| !origin.is_empty())
}

/// Whether a witness that knows the logs of `known` and last cosigned `latest` of this one may cosign.
///
/// INVARIANT: what is given back continues `latest`; between reading `latest` and keeping what is given back, no
/// other request of the log is judged (`no_order_of_requests_makes_a_witness_sign_two_histories`).
///
/// # Errors
/// [`Refused`], with the status the protocol asks for. The order of the checks is the protocol's.
pub fn judge(
    request: &AddCheckpoint,
    known: &Policy,
    latest: Option<&Checkpoint>,
) -> Result<Checkpoint, Refused> {
    let origin = origin_of(request).ok_or(Refused::Malformed)?;
    if !known.logs().iter().any(|log| log.vkey.name() == origin) {
        return Err(Refused::UnknownLog);
    }
    let opened = known.without_quorum().open(request.checkpoint.as_bytes(), origin);
    let (checkpoint, _) = opened.map_err(|fault| match fault {
        CheckpointFault::Note(crate::NoteFault::Unsigned | crate::NoteFault::BadSignature)
        | CheckpointFault::Unsigned => Refused::Unsigned,
        _ => Refused::Malformed,
    })?;
    if request.old > checkpoint.size {
        return Err(Refused::Malformed);
    }
    let known_size = latest.map_or(0, |latest| latest.size);
    if request.old != known_size {
        return Err(Refused::Conflict { size: known_size });
    }
    if checkpoint.size == 0 && checkpoint.root != Hash::empty_root() {
        return Err(Refused::Inconsistent);
    }
    let root = latest.map_or_else(Hash::empty_root, |latest| latest.root);
    verify_consistency(known_size, root, checkpoint.size, checkpoint.root, &request.proof)
        .map_err(|_| Refused::Inconsistent)?;
    Ok(checkpoint)
}

/// The folder of a log under a witness's monitoring prefix: SHA-256 of the origin, hexadecimal.
#[must_use]
pub fn origin_hash(origin: &str) -> String {
    hex(&sha256(&[origin.as_bytes()]))
}

/// What a witness answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// 200: signature lines, not believed yet.
    Cosigned(Vec<NoteSignature>),
    /// 409: the witness has another size.
    Conflict {
        /// That size.
        size: u64,
    },
    /// 422: it says that the checkpoint does not continue what it has seen.
    Inconsistent,
    /// Anything else: nothing can be said.
    Unusable,
}

impl Reply {
    /// Reads an answer.
    #[must_use]
    pub fn parse(status: u16, body: &[u8]) -> Self {
        match status {
            200 => NoteSignature::parse_lines(body).map_or(Self::Unusable, Self::Cosigned),
            409 => {
                let text = std::str::from_utf8(body).ok().and_then(|text| text.strip_suffix('\n'));
                text.and_then(decimal).map_or(Self::Unusable, |size| Self::Conflict { size })
            }
            422 => Self::Inconsistent,
            _ => Self::Unusable,
        }
    }
}

/// Adds the cosignatures of the policy's witnesses to a checkpoint, and leaves everything else out: a line that
/// does not verify would have others refuse the whole note.
///
/// # Errors
/// [`CheckpointFault`] when the note itself does not hold.
pub fn add_cosignatures(
    note: &str,
    lines: &[NoteSignature],
    policy: &Policy,
) -> Result<String, CheckpointFault> {
    let mut whole = Note::parse(note.as_bytes())?;
    let witnesses: Vec<_> = policy.witnesses().iter().map(|witness| witness.vkey.clone()).collect();
    for line in lines {
        let alone = Note::with(whole.text(), line.clone());
        let has_one = |whole: &Note| {
            whole.signatures().iter().any(|had| (&had.name, had.key_id) == (&line.name, line.key_id))
        };
        if alone.verify(&witnesses).is_ok() && !has_one(&whole) {
            whole.add(line.clone());
        }
    }
    Ok(whole.to_text())
}
