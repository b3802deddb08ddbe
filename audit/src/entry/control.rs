//! Control entries, which are plain, and the two kinds of leaf.
//!
//! A leaf is `01 || commitment[32]`, or `00 || CBOR` of a control entry: a map whose key 0 is the word
//! below and whose other keys are its fields in order. A control entry never holds personal data.
//! Imports `cbor`.

use serde::Serialize;
use thiserror::Error;

use crate::bytes::as_hex;
use crate::cbor::{CborFault, MapWriter, read_map};

/// The longest a control entry may be, in bytes, its tag included.
pub const CONTROL_BYTES_MAX: usize = 4096;

/// A mark the log makes about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "control", rename_all = "kebab-case")]
pub enum Control {
    /// A server process began to write.
    Start {
        /// The process.
        node: String,
        /// When, in microseconds since 1970.
        time_micros: i64,
        /// Its software version.
        version: String,
    },
    /// A server process was alive though it had nothing to record.
    Heartbeat {
        /// The process.
        node: String,
        /// When, in microseconds since 1970.
        time_micros: i64,
        /// The sequence number its next entry will have.
        sequence: u64,
    },
    /// From here on two keys sign each checkpoint, that over this entry included.
    KeyRotation {
        /// When, in microseconds since 1970.
        time_micros: i64,
        /// The verifier key until now.
        old_vkey: String,
        /// The verifier key that comes beside it.
        new_vkey: String,
    },
    /// From here on a key signs no more, the checkpoint over this entry included.
    KeyRetirement {
        /// When, in microseconds since 1970.
        time_micros: i64,
        /// Its verifier key.
        vkey: String,
    },
    /// Another policy set came into force.
    PolicyChange {
        /// The process that loaded it.
        node: String,
        /// When, in microseconds since 1970.
        time_micros: i64,
        /// SHA-256 of the policy set.
        #[serde(serialize_with = "as_hex")]
        policy_set: [u8; 32],
    },
    /// The database was restored and the log rolled forward.
    Restore {
        /// The process that did it.
        node: String,
        /// When, in microseconds since 1970.
        time_micros: i64,
        /// The size the restored database held.
        restored_size: u64,
        /// The size that was anchored outside and rolled forward to.
        anchored_size: u64,
        /// The root at that size.
        #[serde(serialize_with = "as_hex")]
        anchored_root: [u8; 32],
    },
    /// A range of the log was exported.
    Export {
        /// The process that did it.
        node: String,
        /// When, in microseconds since 1970.
        time_micros: i64,
        /// The first index.
        first: u64,
        /// One past the last index.
        end: u64,
        /// The tree size of the checkpoint in the export.
        size: u64,
    },
    /// A witness, or the server that read the log anew, says that it is not what it was.
    ForkAlarm {
        /// The process that was told.
        node: String,
        /// When, in microseconds since 1970.
        time_micros: i64,
        /// The name of the witness's key.
        witness: String,
        /// The size it was asked about.
        size: u64,
    },
    /// This log is one of several that are written side by side; a server says so at its start.
    Shards {
        /// The process.
        node: String,
        /// When, in microseconds since 1970.
        time_micros: i64,
        /// Which of them this one is: 0 is the one whose name the others bear, a slash and their number following.
        shard: u64,
        /// How many there are.
        count: u64,
    },
    /// The head of the log this one continues, or the name of the log that continues this one.
    ShardLink {
        /// When, in microseconds since 1970.
        time_micros: i64,
        /// The other log's origin.
        origin: String,
        /// Its size.
        size: u64,
        /// Its root.
        #[serde(serialize_with = "as_hex")]
        root: [u8; 32],
    },
}

impl Control {
    /// When it was committed, in microseconds since 1970.
    #[must_use]
    pub const fn time_micros(&self) -> i64 {
        match self {
            Self::Start { time_micros, .. }
            | Self::Heartbeat { time_micros, .. }
            | Self::KeyRotation { time_micros, .. }
            | Self::KeyRetirement { time_micros, .. }
            | Self::PolicyChange { time_micros, .. }
            | Self::Restore { time_micros, .. }
            | Self::Export { time_micros, .. }
            | Self::ForkAlarm { time_micros, .. }
            | Self::Shards { time_micros, .. }
            | Self::ShardLink { time_micros, .. } => *time_micros,
        }
    }

    /// The deterministic CBOR of the entry, without the leaf's tag.
    #[must_use]
    pub fn to_cbor(&self) -> Vec<u8> {
        let mut map = MapWriter::with_capacity(192);
        match self {
            Self::Start { node, time_micros, version } => {
                stamp(&mut map, "start", node, *time_micros);
                map.text(3, version);
            }
            Self::Heartbeat { node, time_micros, sequence } => {
                stamp(&mut map, "heartbeat", node, *time_micros);
                map.uint(3, *sequence);
            }
            Self::KeyRotation { time_micros, old_vkey, new_vkey } => {
                map.text(0, "key-rotation");
                map.int(2, *time_micros);
                map.text(3, old_vkey);
                map.text(4, new_vkey);
            }
            Self::KeyRetirement { time_micros, vkey } => {
                map.text(0, "key-retirement");
                map.int(2, *time_micros);
                map.text(3, vkey);
            }
            Self::PolicyChange { node, time_micros, policy_set } => {
                stamp(&mut map, "policy-change", node, *time_micros);
                map.bytes(3, policy_set);
            }
            Self::Restore { node, time_micros, restored_size, anchored_size, anchored_root } => {
                stamp(&mut map, "restore", node, *time_micros);
                map.uint(3, *restored_size);
                map.uint(4, *anchored_size);
                map.bytes(5, anchored_root);
            }
            Self::Export { node, time_micros, first, end, size } => {
                stamp(&mut map, "export", node, *time_micros);
                map.uint(3, *first);
                map.uint(4, *end);
                map.uint(5, *size);
            }
            Self::ForkAlarm { node, time_micros, witness, size } => {
                stamp(&mut map, "fork-alarm", node, *time_micros);
                map.text(3, witness);
                map.uint(4, *size);
            }
            Self::Shards { node, time_micros, shard, count } => {
                stamp(&mut map, "shards", node, *time_micros);
                map.uint(3, *shard);
                map.uint(4, *count);
            }
            Self::ShardLink { time_micros, origin, size, root } => {
                map.text(0, "shard-link");
                map.int(2, *time_micros);
                map.text(3, origin);
                map.uint(4, *size);
                map.bytes(5, root);
            }
        }
        map.finish()
    }

    /// Reads a control entry, refusing bytes that are not exactly what [`Control::to_cbor`] writes.
    pub fn from_cbor(bytes: &[u8]) -> Result<Self, CborFault> {
        if bytes.len() >= CONTROL_BYTES_MAX {
            return Err(CborFault::TooLong);
        }
        let control = Fields::read(bytes)?.control()?;
        // A key of another kind of control entry, or any other surplus, shows here.
        if control.to_cbor() == bytes { Ok(control) } else { Err(CborFault::NotCanonical) }
    }
}

/// Keys 0 to 2: the word, the node, the time.
fn stamp(map: &mut MapWriter, word: &str, node: &str, time_micros: i64) {
    map.text(0, word);
    map.text(1, node);
    map.int(2, time_micros);
}

#[derive(Default)]
struct Fields<'a> {
    word: &'a str,
    node: Option<String>,
    time_micros: Option<i64>,
    texts: [Option<String>; 2],
    numbers: [Option<u64>; 3],
    hash: Option<[u8; 32]>,
}

impl<'a> Fields<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, CborFault> {
        let mut fields = Self::default();
        read_map(bytes, |key, reader| {
            let [text3, text4] = &mut fields.texts;
            let [number3, number4, number5] = &mut fields.numbers;
            match (key, fields.word) {
                (0, _) => fields.word = reader.text()?,
                (1, _) => fields.node = Some(reader.string()?),
                (2, _) => fields.time_micros = Some(reader.int()?),
                (3, "policy-change") | (5, "restore" | "shard-link") => fields.hash = Some(reader.array()?),
                (3, "start" | "key-rotation" | "key-retirement" | "shard-link" | "fork-alarm") => {
                    *text3 = Some(reader.string()?)
                }
                (4, "key-rotation") => *text4 = Some(reader.string()?),
                (3, _) => *number3 = Some(reader.uint()?),
                (4, _) => *number4 = Some(reader.uint()?),
                (5, _) => *number5 = Some(reader.uint()?),
                _ => return Err(CborFault::UnknownKey),
            }
            Ok(())
        })?;
        Ok(fields)
    }

    fn control(self) -> Result<Control, CborFault> {
        let missing = || CborFault::MissingField;
        let node = self.node.ok_or_else(missing);
        let time_micros = self.time_micros.ok_or_else(missing)?;
        let [text3, text4] = self.texts.map(|text| text.ok_or_else(missing));
        let [number3, number4, number5] = self.numbers.map(|number| number.ok_or_else(missing));
        let hash = self.hash.ok_or_else(missing);
        Ok(match self.word {
            "start" => Control::Start { node: node?, time_micros, version: text3? },
            "heartbeat" => Control::Heartbeat { node: node?, time_micros, sequence: number3? },
            "key-rotation" => Control::KeyRotation { time_micros, old_vkey: text3?, new_vkey: text4? },
            "key-retirement" => Control::KeyRetirement { time_micros, vkey: text3? },
            "policy-change" => Control::PolicyChange { node: node?, time_micros, policy_set: hash? },
            "restore" => Control::Restore {
                node: node?,
                time_micros,
                restored_size: number3?,
                anchored_size: number4?,
                anchored_root: hash?,
            },
            "export" => {
                Control::Export { node: node?, time_micros, first: number3?, end: number4?, size: number5? }
            }
            "fork-alarm" => Control::ForkAlarm { node: node?, time_micros, witness: text3?, size: number4? },
            "shards" => Control::Shards { node: node?, time_micros, shard: number3?, count: number4? },
            "shard-link" => Control::ShardLink { time_micros, origin: text3?, size: number4?, root: hash? },
            _ => return Err(CborFault::OutOfRange),
        })
    }
}

/// What the tree holds at one index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Leaf {
    /// The commitment to an access.
    Access(#[serde(serialize_with = "as_hex")] [u8; 32]),
    /// A control entry.
    Control(Control),
}

/// Bytes that are no leaf of this log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum LeafFault {
    /// The first byte is neither 00 nor 01.
    #[error("unknown leaf tag")]
    Tag,
    /// An access leaf is not 33 bytes.
    #[error("an access leaf is 33 bytes")]
    Length,
    /// The control entry is not canonical.
    #[error("control entry: {0}")]
    Control(#[from] CborFault),
}

impl Leaf {
    /// The log entry: `01 || C`, or `00 || CBOR`.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let (tag, body): (u8, &[u8]) = match self {
            Self::Access(commitment) => (1, commitment),
            Self::Control(control) => (0, &control.to_cbor()),
        };
        let mut bytes = Vec::with_capacity(1 + body.len());
        bytes.push(tag);
        bytes.extend_from_slice(body);
        bytes
    }

    /// Reads a log entry.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, LeafFault> {
        match bytes.split_first() {
            Some((1, commitment)) => commitment.try_into().map(Self::Access).map_err(|_| LeafFault::Length),
            Some((0, control)) => Ok(Self::Control(Control::from_cbor(control)?)),
            _ => Err(LeafFault::Tag),
        }
    }
}
