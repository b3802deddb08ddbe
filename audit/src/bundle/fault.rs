//! Why a bundle was refused: what is wrong, and where.
//!
//! Imports the fault types of the modules below it.

use std::fmt;
use std::io;

use thiserror::Error;

use crate::cbor::CborFault;
use crate::checkpoint::{CheckpointFault, NoteFault, ProofFault};
use crate::entry::{GroupFault, LeafFault};
use crate::tree::TreeFault;

/// Where in a bundle something is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Before any frame.
    Beginning,
    /// The header.
    Header,
    /// The checkpoint.
    Checkpoint,
    /// The consistency proof.
    Consistency,
    /// The right edge of the tree.
    Edge,
    /// The entry at this index, or what should be there.
    Index(u64),
    /// The manifest, or after it.
    Manifest,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Beginning => f.write_str("beginning of the file"),
            Self::Header => f.write_str("header"),
            Self::Checkpoint => f.write_str("checkpoint"),
            Self::Consistency => f.write_str("consistency proof"),
            Self::Edge => f.write_str("edge of the tree"),
            Self::Index(index) => write!(f, "index {index}"),
            Self::Manifest => f.write_str("manifest"),
        }
    }
}

/// A bundle is refused.
#[derive(Debug, Error)]
#[error("{place}: {reason}")]
pub struct Fault {
    /// Where.
    pub place: Place,
    /// Why.
    #[source]
    pub reason: Reason,
}

/// What is wrong with a bundle; never carries what an entry says.
#[derive(Debug, Error)]
pub enum Reason {
    /// The file could not be read: says nothing about what it holds.
    #[error("the file could not be read")]
    Io(#[source] io::Error),
    /// It does not begin as a bundle does.
    #[error("this is not an export of this format")]
    Magic,
    /// The file ends before its manifest.
    #[error("the file ends here, before it is complete")]
    Truncated,
    /// A frame is longer than any may be.
    #[error("a part of the file is longer than the format allows")]
    TooLong,
    /// Another kind of frame belongs here.
    #[error("a part of kind {found} stands where it does not belong")]
    Unexpected {
        /// The kind of frame that is there.
        found: u8,
    },
    /// A frame's payload does not have its form.
    #[error("malformed")]
    Form,
    /// A CBOR payload is not canonical.
    #[error("malformed: {0}")]
    Cbor(#[from] CborFault),
    /// The checkpoint does not hold.
    #[error("{0}")]
    Checkpoint(#[from] CheckpointFault),
    /// The manifest's signature does not hold.
    #[error("{0}")]
    Note(#[from] NoteFault),
    /// The file is about another log than the one asked about.
    #[error("the export is of another log")]
    Origin,
    /// The range is empty of sense: it ends before it begins, or after the checkpoint.
    #[error("the range does not lie within the checkpoint's tree")]
    Range,
    /// The hashes do not lead to the checkpoint's root.
    #[error("{0}")]
    Tree(#[from] TreeFault),
    /// The file does not prove that the log continues the earlier checkpoint.
    #[error("there is no proof that the log continues your earlier checkpoint of size {size}")]
    NoConsistency {
        /// The earlier size.
        size: u64,
    },
    /// A tile is not the one the log has there.
    #[error("tile hashes do not match the log")]
    Tile,
    /// An entry is not the one the log has there.
    #[error("the entry does not match the log")]
    NotInLog,
    /// Another index stands where this one belongs.
    #[error("index {found} stands here: entries are missing, repeated or out of order")]
    Order {
        /// The index that is there.
        found: u64,
    },
    /// The manifest comes before the range is complete.
    #[error("the entry is missing")]
    Missing,
    /// A control entry is malformed.
    #[error("{0}")]
    Leaf(#[from] LeafFault),
    /// An opened group is not canonical.
    #[error("{0}")]
    Group(#[from] GroupFault),
    /// A node's sequence numbers show that an entry is missing, or came twice.
    #[error("node {node:?} went from sequence number {last} to {found}: entries are missing or repeated")]
    Sequence {
        /// The node.
        node: String,
        /// Its last sequence number before.
        last: u64,
        /// The one here.
        found: u64,
    },
    /// More nodes wrote than a verifier keeps track of.
    #[error("more nodes than a verifier keeps track of")]
    TooManyNodes,
    /// The manifest says something else than the file holds.
    #[error("it does not describe what stands before it")]
    Manifest,
    /// Only a witness, not the log, signed the manifest.
    #[error("no trusted log key signed it")]
    Unsigned,
    /// Bytes follow the manifest.
    #[error("bytes follow the end")]
    Trailing,
}

impl Reason {
    /// The word for it, which every verifier of the format uses (`FORMAT.md`, section 9).
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Io(_) => "unreadable",
            Self::Magic => "magic",
            Self::Truncated => "truncated",
            Self::TooLong => "too-long",
            Self::Unexpected { .. } => "unexpected",
            Self::Form | Self::Cbor(_) | Self::Leaf(_) | Self::Group(_) => "form",
            Self::Checkpoint(fault) => checkpoint_code(fault),
            Self::Note(fault) => note_code(fault),
            Self::Origin => "origin",
            Self::Range => "range",
            Self::Tree(fault) => tree_code(fault),
            Self::NoConsistency { .. } => "no-proof",
            Self::Tile => "tile",
            Self::NotInLog => "not-in-log",
            Self::Order { .. } => "order",
            Self::Missing => "missing",
            Self::Sequence { .. } => "sequence",
            Self::TooManyNodes => "nodes",
            Self::Manifest => "manifest",
            Self::Unsigned => "unsigned",
            Self::Trailing => "trailing",
        }
    }
}

const fn note_code(fault: &NoteFault) -> &'static str {
    match fault {
        NoteFault::TooLong | NoteFault::Text | NoteFault::Lines => "form",
        NoteFault::Unsigned => "unsigned",
        NoteFault::BadSignature => "signature",
    }
}

/// The word for what is wrong with a checkpoint.
const fn checkpoint_code(fault: &CheckpointFault) -> &'static str {
    match fault {
        CheckpointFault::Note(fault) => note_code(fault),
        CheckpointFault::Text => "form",
        CheckpointFault::Origin => "origin",
        CheckpointFault::Unsigned => "unsigned",
        CheckpointFault::Quorum { .. } => "quorum",
    }
}

/// The word for what is wrong with a proof.
const fn tree_code(fault: &TreeFault) -> &'static str {
    match fault {
        TreeFault::EdgeShape { .. } => "form",
        TreeFault::OutOfTree { .. } => "range",
        TreeFault::Shrunk { .. } => "shrunk",
        TreeFault::MissingTile(_) | TreeFault::ProofLength => "proof-length",
        TreeFault::RootMismatch => "root",
    }
}

/// The word for why a `.tlog-proof` was refused.
#[must_use]
pub const fn proof_code(fault: &ProofFault) -> &'static str {
    match fault {
        ProofFault::Form(_) => "form",
        ProofFault::Checkpoint(fault) => checkpoint_code(fault),
        ProofFault::Tree(fault) => tree_code(fault),
    }
}
