//! What one access is: five groups of fields, each committed to under its own salt.
//!
//! The groups are separate so that an auditor can be shown when and why without who, or who without
//! what. Their bytes are deterministic CBOR (`entry/groups.rs`), the tree holds only the commitment
//! (`entry/commitment.rs`). Imports `bytes` and `cbor` of this crate, nothing of the server.

mod commitment;
mod control;
mod groups;
mod words;

use std::fmt;

use serde::Serialize;

pub use commitment::{GROUPS, Salts, commit, entry_commitment, group_digest};
pub use control::{CONTROL_BYTES_MAX, Control, Leaf, LeafFault};
pub use groups::{GROUP_BYTES_MAX, GroupFault};
pub use words::{Action, Decision, Kind};

/// One access to the records, as the log remembers it.
///
/// `Debug` shows only which entry it is: the rest names people.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// G0: what happened, when, where.
    pub event: Event,
    /// G1: who did it.
    pub actor: Actor,
    /// G2: whose record it concerns.
    pub subject: Subject,
    /// G3: what was released or written, and under which policy.
    pub object: Object,
    /// G4: why, and with which words.
    pub detail: Detail,
}

/// G0: what happened, when and where. Names nobody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Event {
    /// The origin of the log this entry is in, as its checkpoints spell it.
    pub origin: String,
    /// What kind of act it was.
    pub kind: Kind,
    /// When it was committed: microseconds since 1970-01-01T00:00:00Z. Never runs back within a node.
    pub time_micros: i64,
    /// The server process that wrote it.
    pub node: String,
    /// Counts the entries of this node in this log, in their order, from 0 and without a gap.
    ///
    /// After a [`Control::Start`] of the node it goes on, or begins at 0 again.
    pub sequence: u64,
    /// The request's id, a UUID.
    #[serde(serialize_with = "crate::bytes::as_hex")]
    pub request: [u8; 16],
    /// How it ended.
    pub outcome: Outcome,
}

/// How an act ended, as the caller saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// The HTTP status.
    pub status: u16,
    /// The server's own word for the outcome, such as `ok`, `forbidden`, `stale`.
    pub code: String,
}

/// G1: who acted. All absent when the caller could not be identified.
#[derive(Clone, Default, PartialEq, Eq, Serialize)]
pub struct Actor {
    /// The person, by the server's stable identifier.
    pub user: Option<String>,
    /// The roles the decision was made with.
    pub roles: Vec<String>,
    /// The organisation the person acted for.
    pub organisation: Option<String>,
    /// The application.
    pub client: Option<String>,
    /// The token's identifier (`jti`), never the token.
    pub token_id: Option<String>,
    /// SHA-256 of the client's certificate.
    #[serde(serialize_with = "crate::bytes::as_hex_option")]
    pub thumbprint: Option<[u8; 32]>,
    /// The network address the request came from.
    pub address: Option<String>,
}

/// G2: whose record was concerned.
#[derive(Clone, Default, PartialEq, Eq, Serialize)]
pub struct Subject {
    /// The tenant.
    pub tenant: Option<String>,
    /// The patient, as a reference such as `Patient/123`; absent when none or more than one.
    pub patient: Option<String>,
}

/// G3: what was released or written, and what the policy said.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Object {
    /// The FHIR interaction or operation, such as `read` or `search-type`.
    pub interaction: String,
    /// Every version released, written or deleted.
    pub items: Vec<Item>,
    /// SHA-256 of the policy set that decided.
    #[serde(serialize_with = "crate::bytes::as_hex_option")]
    pub policy_set: Option<[u8; 32]>,
    /// The policies that determined the decision.
    pub policies: Vec<String>,
    /// What they decided.
    pub decision: Decision,
}

/// One version of one resource.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Item {
    /// The resource type, such as `Observation`.
    pub kind: String,
    /// The logical id.
    pub id: String,
    /// The version.
    pub version: u32,
    /// SHA-256 of the ciphertext that was released or written.
    #[serde(serialize_with = "crate::bytes::as_hex")]
    pub digest: [u8; 32],
    /// What happened to it.
    pub action: Action,
}

/// G4: why, and with which words. May hold health data.
#[derive(Clone, Default, PartialEq, Eq, Serialize)]
pub struct Detail {
    /// The purpose of use that was stated, a code such as `TREAT`.
    pub purpose: Option<String>,
    /// The query of a search.
    pub query: Option<String>,
    /// The reason given for breaking the glass.
    pub reason: Option<String>,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("event", &self.event).finish_non_exhaustive()
    }
}

impl fmt::Debug for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Actor(..)")
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Subject(..)")
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Object(..)")
    }
}

impl fmt::Debug for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Item(..)")
    }
}

impl fmt::Debug for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Detail(..)")
    }
}
