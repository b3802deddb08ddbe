//! The format of Custodia's audit log, and its offline verification.
//!
//! [`Entry`] is what one access is and how it is committed to; [`Edge`] and its neighbours are the
//! Merkle tree; [`Checkpoint`], [`Signer`] and [`Vkey`] are the signed statements about it; [`bundle`]
//! is the file an auditor receives; [`witness`] what log and witness say to each other. `FORMAT.md` writes
//! every byte down. This crate knows nothing of the server, of databases or of networks, so that an auditor
//! builds and reads only this.

pub mod bundle;
mod bytes;
mod cbor;
mod checkpoint;
mod entry;
mod tree;
pub mod witness;

pub use bytes::{Sha256, sha256};
pub use cbor::CborFault;
pub use checkpoint::{
    Checkpoint, CheckpointFault, Cosigned, Cosigner, KeyFault, KeyKind, NOTE_BYTES_MAX, Note, NoteFault,
    NoteSignature, POLICY_BYTES_MAX, POLICY_NAMES_MAX, PROOF_FILE_BYTES_MAX, Policy, PolicyFault, PolicyLog,
    PolicyProblem, PolicyWitness, ProofFault, ProofFile, SIGNATURES_MAX, Signer, Verified, Vkey,
};
pub use entry::{
    Action, Actor, CONTROL_BYTES_MAX, Control, Decision, Detail, Entry, Event, GROUP_BYTES_MAX, GROUPS,
    GroupFault, Item, Kind, Leaf, LeafFault, Object, Outcome, Salts, Subject, commit, entry_commitment,
    group_digest,
};
pub use tree::{
    BUNDLED_ENTRY_BYTES_MAX, Edge, Hash, PROOF_HASHES_MAX, TILE_WIDTH, Tile, TileId, Tiles, TreeFault,
    consistency_proof, inclusion_proof, leaf_hash, node_hash, push_entry, read_entries,
    tiles_for_consistency, tiles_for_inclusion, verify_consistency, verify_inclusion,
};
