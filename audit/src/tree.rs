//! The Merkle tree: RFC 6962 hashing, tiles of height 8, the right edge, and proofs.
//!
//! `tree/edge.rs` appends, `tree/tile.rs` names and holds tiles, `tree/entries.rs` the entries beside them,
//! `tree/proof.rs` makes and checks proofs. Imports `bytes` of this crate only: the tree does not know what its
//! leaves mean.

mod edge;
mod entries;
mod proof;
mod tile;

use std::fmt;

use thiserror::Error;

pub use edge::Edge;
pub use entries::{BUNDLED_ENTRY_BYTES_MAX, push_entry, read_entries};
pub use proof::{
    PROOF_HASHES_MAX, consistency_proof, inclusion_proof, tiles_for_consistency, tiles_for_inclusion,
    verify_consistency, verify_inclusion,
};
pub use tile::{TILE_WIDTH, Tile, TileId, Tiles};

use crate::bytes::{base64, sha256, unbase64_32};

/// A SHA-256 hash in the tree.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// The root of the empty tree: SHA-256 of nothing (RFC 6962 §2.1).
    #[must_use]
    pub fn empty_root() -> Self {
        Self(sha256(&[]))
    }

    /// The hash in base64, as checkpoints and proofs spell it.
    #[must_use]
    pub fn to_base64(self) -> String {
        base64(&self.0)
    }

    /// Reads a hash from base64.
    #[must_use]
    pub fn from_base64(text: &str) -> Option<Self> {
        unbase64_32(text).map(Self)
    }

    /// Reads hashes that stand one after another, 32 bytes each.
    #[must_use]
    pub fn list(bytes: &[u8]) -> Option<Vec<Self>> {
        let (hashes, rest) = bytes.as_chunks::<32>();
        rest.is_empty().then(|| hashes.iter().copied().map(Self).collect())
    }

    /// Writes hashes one after another, 32 bytes each.
    #[must_use]
    pub fn concat(hashes: &[Self]) -> Vec<u8> {
        hashes.iter().flat_map(|hash| hash.0).collect()
    }
}

impl AsRef<[u8]> for Hash {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({})", self.to_base64())
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_base64())
    }
}

/// Why the tree refused something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TreeFault {
    /// The lists given to restore an edge do not fit its size.
    #[error("level {level} of the edge holds {found} hashes, a tree of this size has {expected}")]
    EdgeShape {
        /// The tile level.
        level: usize,
        /// How many hashes it should hold.
        expected: u64,
        /// How many it holds.
        found: usize,
    },
    /// The index is not in a tree of this size.
    #[error("index {index} is not in a tree of size {size}")]
    OutOfTree {
        /// The index.
        index: u64,
        /// The tree's size.
        size: u64,
    },
    /// A tree cannot become smaller.
    #[error("a tree of size {first} cannot be a prefix of one of size {second}")]
    Shrunk {
        /// The earlier size.
        first: u64,
        /// The later size.
        second: u64,
    },
    /// A tile a proof needs was not given, or is too narrow.
    #[error("tile {0} is missing or too narrow")]
    MissingTile(TileId),
    /// The proof has another number of hashes than its place in the tree asks for.
    #[error("the proof has the wrong length")]
    ProofLength,
    /// The proof leads to another root.
    #[error("the proof leads to another root")]
    RootMismatch,
}

/// The hash of a leaf: SHA-256(00 || entry) (RFC 6962 §2.1).
#[must_use]
pub fn leaf_hash(entry: &[u8]) -> Hash {
    Hash(sha256(&[&[0], entry]))
}

/// The hash of an inner node: SHA-256(01 || left || right) (RFC 6962 §2.1).
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Hash(sha256(&[&[1], &left.0, &right.0]))
}

/// The largest power of two smaller than `count`, for a count above 1 (RFC 6962 §2.1).
fn split_point(count: u64) -> u64 {
    1 << count.saturating_sub(1).max(1).ilog2()
}

/// The root over a list of equally tall subtrees, whose last may be ragged. `None` if it is empty.
fn fold(hashes: &[Hash]) -> Option<Hash> {
    match hashes {
        [] => None,
        [one] => Some(*one),
        [left, right] => Some(node_hash(left, right)),
        more => {
            let middle = 1 << (more.len() - 1).ilog2();
            let (left, right) = more.split_at_checked(middle)?;
            Some(node_hash(&fold(left)?, &fold(right)?))
        }
    }
}
