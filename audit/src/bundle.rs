//! The export file an auditor receives: written and verified as a stream, in constant memory.
//!
//! ```text
//! "custodia/bundle/v1" 0A
//! frame*                      kind u8 || length u32 big-endian || payload
//!   01 header                 once, first
//!   02 checkpoint             once: the signed note
//!   03 consistency            at most once: earlier size u64 || hashes
//!   04 edge                   once: the hashes of the tree's right edge, level 0 first
//!   05 tile                   level u8 || index u64 || 256 hashes, before the first leaf under it
//!   06 opened 07 withheld 08 control    one for each index of the range, in order
//!   09 manifest               once, last: a signed note over the SHA-256 of all before this frame
//! ```
//! The checkpoint vouches for the edge, the edge for the full tiles, upper tiles for lower ones and the
//! lowest for leaves. So each entry is known to be in the log the moment it is read. Imports `bytes`,
//! `cbor`, `entry`, `tree` and `checkpoint`. `FORMAT.md` has every byte.

mod descent;
mod fault;
mod frame;
mod nodes;
mod reader;
mod writer;

use serde::Serialize;

pub use fault::{Fault, Place, Reason, proof_code};
pub use frame::FRAME_BYTES_MAX;
pub use nodes::{FINDINGS_MAX, Finding, NODES_MAX, Observation};
pub use reader::{Opened, Report, Trust, VerifiedBody, VerifiedEntry, verify};
pub use writer::{WriteFault, Writer};

use crate::bytes::base64;
use crate::cbor::{CborFault, MapWriter, read_map};
use crate::checkpoint::Checkpoint;
use crate::entry::{Control, GROUPS, Leaf, entry_commitment, group_digest};

/// The version of the format that is written and read.
pub const BUNDLE_VERSION: u64 = 1;

/// What stands at the beginning of a bundle, and on the first line of its manifest.
const MAGIC: &str = "custodia/bundle/v1\n";

/// What a bundle says it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Header {
    /// The origin of the log.
    pub origin: String,
    /// The tenant whose entries are opened; absent if the export is not limited to one.
    pub tenant: Option<String>,
    /// The first index.
    pub first: u64,
    /// One past the last index.
    pub end: u64,
    /// When it was exported, in microseconds since 1970.
    pub exported_micros: i64,
    /// Why it was exported.
    pub reason: String,
}

impl Header {
    fn to_cbor(&self) -> Vec<u8> {
        let mut map = MapWriter::with_capacity(128);
        map.uint(0, BUNDLE_VERSION);
        map.text(1, &self.origin);
        map.text_option(2, self.tenant.as_deref());
        map.uint(3, self.first);
        map.uint(4, self.end);
        map.int(5, self.exported_micros);
        map.text(6, &self.reason);
        map.finish()
    }

    fn from_cbor(bytes: &[u8]) -> Result<Self, CborFault> {
        let (mut version, mut origin, mut tenant, mut first) = (None, None, None, None);
        let (mut end, mut exported, mut reason) = (None, None, None);
        read_map(bytes, |key, reader| {
            match key {
                0 => version = Some(reader.uint()?),
                1 => origin = Some(reader.string()?),
                2 => tenant = Some(reader.string()?),
                3 => first = Some(reader.uint()?),
                4 => end = Some(reader.uint()?),
                5 => exported = Some(reader.int()?),
                6 => reason = Some(reader.string()?),
                _ => return Err(CborFault::UnknownKey),
            }
            Ok(())
        })?;
        if version != Some(BUNDLE_VERSION) {
            return Err(CborFault::OutOfRange);
        }
        let missing = CborFault::MissingField;
        Ok(Self {
            origin: origin.ok_or(missing)?,
            tenant,
            first: first.ok_or(missing)?,
            end: end.ok_or(missing)?,
            exported_micros: exported.ok_or(missing)?,
            reason: reason.ok_or(missing)?,
        })
    }
}

/// One of the five groups of an entry in a bundle: shown, or withheld behind its digest.
#[derive(Clone, Copy)]
pub enum Group<'a> {
    /// Shown: its salt and canonical bytes.
    Opened {
        /// The salt.
        salt: &'a [u8; 32],
        /// The canonical bytes.
        bytes: &'a [u8],
    },
    /// Withheld: `d_i` only.
    Withheld(&'a [u8; 32]),
}

impl Group<'_> {
    fn digest(&self, group: u8) -> [u8; 32] {
        match self {
            Self::Opened { salt, bytes } => group_digest(group, salt, bytes),
            Self::Withheld(digest) => **digest,
        }
    }

    const fn is_opened(&self) -> bool {
        matches!(self, Self::Opened { .. })
    }
}

/// What a bundle holds for one index.
#[derive(Clone)]
pub enum Record<'a> {
    /// An access with some or all of its groups shown.
    Opened([Group<'a>; GROUPS]),
    /// An access of which only the commitment is shown.
    Withheld([u8; 32]),
    /// A control entry, which is always shown.
    Control(Control),
}

impl Record<'_> {
    /// The log entry it must be, for the tree to hold it.
    fn leaf(&self) -> Leaf {
        match self {
            Self::Opened([g0, g1, g2, g3, g4]) => Leaf::Access(entry_commitment(&[
                g0.digest(0),
                g1.digest(1),
                g2.digest(2),
                g3.digest(3),
                g4.digest(4),
            ])),
            Self::Withheld(commitment) => Leaf::Access(*commitment),
            Self::Control(control) => Leaf::Control(control.clone()),
        }
    }
}

/// How many entries of each sort a bundle holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Accesses with at least one group shown.
    pub opened: u64,
    /// Accesses with none.
    pub withheld: u64,
    /// Control entries.
    pub control: u64,
}

impl Counts {
    fn count(&mut self, record: &Record<'_>) {
        match record {
            Record::Opened(groups) if groups.iter().any(Group::is_opened) => self.opened += 1,
            Record::Opened(_) | Record::Withheld(_) => self.withheld += 1,
            Record::Control(_) => self.control += 1,
        }
    }
}

/// The text of the manifest, which the log signs as a note.
fn manifest(header: &Header, checkpoint: &Checkpoint, counts: Counts, sha256: &[u8; 32]) -> String {
    format!(
        "{MAGIC}{}\nrange {} {}\nsize {}\nopened {}\nwithheld {}\ncontrol {}\nsha256 {}\n",
        header.origin,
        header.first,
        header.end,
        checkpoint.size,
        counts.opened,
        counts.withheld,
        counts.control,
        base64(sha256),
    )
}
