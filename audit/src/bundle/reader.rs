//! Verifies a bundle as a stream.
//!
//! What to trust comes from the caller, never from the bundle. Imports the parent module, `checkpoint`,
//! `entry` and `tree`.

use std::io::{BufReader, Read};

use serde::Serialize;

use super::descent::{Descent, DescentFault};
use super::fault::{Fault, Place, Reason};
use super::frame::{FrameFault, FrameReader, kind, read_groups};
use super::nodes::{Finding, Nodes, Observation};
use super::{Counts, Group, Header, Record, manifest};
use crate::bytes::as_hex;
use crate::checkpoint::{Checkpoint, Cosigned, KeyKind, Note, Policy, Vkey};
use crate::entry::{Actor, Control, Detail, Event, GROUPS, Leaf, Object, Subject};
use crate::tree::{Edge, Hash, Tile, leaf_hash, verify_consistency};

/// What the auditor brings: nothing in the bundle can add to it.
#[derive(Debug, Clone)]
pub struct Trust {
    /// The log that is asked about.
    pub origin: String,
    /// The logs and witnesses to believe, and which witnesses must have cosigned.
    pub policy: Policy,
    /// A checkpoint of this log from before, which this one must continue.
    pub earlier: Option<Checkpoint>,
}

impl Trust {
    /// Trust in one log by its key, whose name is its origin, and in no witness.
    #[must_use]
    pub fn of_log(key: &Vkey, earlier: Option<Checkpoint>) -> Self {
        let policy = Policy::of_keys(std::slice::from_ref(key), 0);
        Self { origin: key.name().to_owned(), policy, earlier }
    }
}

/// An entry of the bundle, known to be in the log at its index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerifiedEntry {
    /// Its place in the log.
    pub index: u64,
    /// What it is.
    #[serde(flatten)]
    pub body: VerifiedBody,
}

/// What the bundle shows of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum VerifiedBody {
    /// An access, as far as it is opened.
    Opened(Box<Opened>),
    /// An access that is withheld altogether: the hexadecimal commitment.
    Withheld(#[serde(serialize_with = "as_hex")] [u8; 32]),
    /// A control entry.
    Control(Control),
}

/// The groups of an access; `None` is withheld.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Opened {
    /// G0.
    pub event: Option<Event>,
    /// G1.
    pub actor: Option<Actor>,
    /// G2.
    pub subject: Option<Subject>,
    /// G3.
    pub object: Option<Object>,
    /// G4.
    pub detail: Option<Detail>,
}

/// What was verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// What the bundle says it is; its origin, range and tenant were checked.
    pub header: Header,
    /// The size of the tree under the checkpoint.
    pub size: u64,
    /// The root of that tree, in base64.
    pub root: String,
    /// The witnesses of the policy that cosigned the checkpoint, in the order of their lines.
    pub cosigned: Vec<Cosigned>,
    /// Whether the range is the whole log up to the checkpoint.
    pub is_whole: bool,
    /// The size of the earlier checkpoint this log was shown to continue.
    pub continues: Option<u64>,
    /// How many entries of each sort there are.
    pub counts: Counts,
    /// SHA-256 of all before the manifest, hexadecimal.
    #[serde(serialize_with = "as_hex")]
    pub sha256: [u8; 32],
    /// Which of how many logs this is that are written side by side; `None` if no entry says so.
    pub shards: Option<(u64, u64)>,
    /// What an auditor should ask about, the first thousand.
    pub findings: Vec<Finding>,
    /// How many findings there are.
    pub findings_total: u64,
}

/// Verifies a bundle; `sink` receives each entry once it is known to be in the log.
///
/// Only `Ok` says that the range is complete and the manifest signed.
pub fn verify<R: Read>(input: R, trust: &Trust, sink: impl FnMut(VerifiedEntry)) -> Result<Report, Fault> {
    let frames = FrameReader::begin(BufReader::with_capacity(1 << 16, input));
    let mut frames = frames.map_err(|fault| frame_fault(Place::Beginning, fault))?;
    let header = read_header(&mut frames, trust)?;
    let (checkpoint, cosigned) = read_checkpoint(&mut frames, trust, &header)?;
    let edge = read_consistency_and_edge(&mut frames, trust, &checkpoint)?;
    let next = header.first;
    let (descent, nodes) = (Descent::new(edge), Nodes::new(&header));
    let mut walk = Walk { header: &header, descent, nodes, counts: Counts::default(), next, sink };
    while walk.step(&mut frames)? == Step::More {}
    let (nodes, counts) = (walk.nodes, walk.counts);
    let sha256 = frames.sha256();
    let at = |reason| Fault { place: Place::Manifest, reason };
    check_manifest(&frames, trust, &manifest(&header, &checkpoint, counts, &sha256)).map_err(at)?;
    if !frames.is_at_end().map_err(|error| at(Reason::Io(error)))? {
        return Err(at(Reason::Trailing));
    }
    Ok(Report {
        size: checkpoint.size,
        root: checkpoint.root.to_base64(),
        cosigned,
        is_whole: header.first == 0 && header.end == checkpoint.size,
        continues: trust.earlier.as_ref().map(|earlier| earlier.size),
        header,
        counts,
        sha256,
        shards: nodes.shards,
        findings: nodes.findings,
        findings_total: nodes.findings_total,
    })
}

fn frame_fault(place: Place, fault: FrameFault) -> Fault {
    let reason = match fault {
        FrameFault::Magic => Reason::Magic,
        FrameFault::TooLong => Reason::TooLong,
        FrameFault::Truncated => Reason::Truncated,
        FrameFault::Io(error) => Reason::Io(error),
    };
    Fault { place, reason }
}

/// Reads a frame that must be of one kind.
fn expect<R: Read>(frames: &mut FrameReader<R>, place: Place, kind: u8) -> Result<(), Fault> {
    match frames.next().map_err(|fault| frame_fault(place, fault))? {
        found if found == kind => Ok(()),
        found => Err(Fault { place, reason: Reason::Unexpected { found } }),
    }
}

fn read_header<R: Read>(frames: &mut FrameReader<R>, trust: &Trust) -> Result<Header, Fault> {
    expect(frames, Place::Header, kind::HEADER)?;
    let at = |reason| Fault { place: Place::Header, reason };
    let header = Header::from_cbor(frames.payload()).map_err(|fault| at(fault.into()))?;
    if header.origin == trust.origin { Ok(header) } else { Err(at(Reason::Origin)) }
}

fn read_checkpoint<R: Read>(
    frames: &mut FrameReader<R>,
    trust: &Trust,
    header: &Header,
) -> Result<(Checkpoint, Vec<Cosigned>), Fault> {
    expect(frames, Place::Checkpoint, kind::CHECKPOINT)?;
    let at = |reason| Fault { place: Place::Checkpoint, reason };
    let opened = trust.policy.open(frames.payload(), &trust.origin);
    let (checkpoint, cosigned) = opened.map_err(|fault| at(fault.into()))?;
    if header.first > header.end || header.end > checkpoint.size {
        return Err(Fault { place: Place::Header, reason: Reason::Range });
    }
    Ok((checkpoint, cosigned))
}

fn read_consistency_and_edge<R: Read>(
    frames: &mut FrameReader<R>,
    trust: &Trust,
    checkpoint: &Checkpoint,
) -> Result<Edge, Fault> {
    let mut found = frames.next().map_err(|fault| frame_fault(Place::Edge, fault))?;
    let at = |reason| Fault { place: Place::Consistency, reason };
    let mut proof = None;
    if found == kind::CONSISTENCY {
        let (size, hashes) = frames.payload().split_first_chunk::<8>().ok_or_else(|| at(Reason::Form))?;
        let hashes = Hash::list(hashes).ok_or_else(|| at(Reason::Form))?;
        proof = Some((u64::from_be_bytes(*size), hashes));
        found = frames.next().map_err(|fault| frame_fault(Place::Edge, fault))?;
    }
    if let Some(earlier) = &trust.earlier {
        check_consistency(earlier, checkpoint, proof).map_err(at)?;
    }
    let at = |reason| Fault { place: Place::Edge, reason };
    if found != kind::EDGE {
        return Err(at(Reason::Unexpected { found }));
    }
    let hashes = Hash::list(frames.payload()).ok_or_else(|| at(Reason::Form))?;
    let edge = Edge::from_list(checkpoint.size, &hashes).map_err(|fault| at(fault.into()))?;
    if edge.root() == checkpoint.root {
        Ok(edge)
    } else {
        Err(at(crate::tree::TreeFault::RootMismatch.into()))
    }
}

fn check_consistency(
    earlier: &Checkpoint,
    checkpoint: &Checkpoint,
    proof: Option<(u64, Vec<Hash>)>,
) -> Result<(), Reason> {
    if earlier.origin != checkpoint.origin {
        return Err(Reason::Origin);
    }
    // Between equal sizes, and from the empty tree, there is nothing to prove but the roots.
    let needs_none = earlier.size == 0 || earlier.size >= checkpoint.size;
    let hashes = match proof {
        _ if needs_none => Vec::new(),
        Some((size, hashes)) if size == earlier.size => hashes,
        _ => return Err(Reason::NoConsistency { size: earlier.size }),
    };
    Ok(verify_consistency(earlier.size, earlier.root, checkpoint.size, checkpoint.root, &hashes)?)
}

fn check_manifest<R: Read>(frames: &FrameReader<R>, trust: &Trust, expected: &str) -> Result<(), Reason> {
    let note = Note::parse(frames.payload())?;
    let verified = note.verify(&trust.policy.keys(&trust.origin))?;
    if !verified.iter().any(|signature| signature.kind == KeyKind::Ed25519) {
        return Err(Reason::Unsigned);
    }
    if note.text() == expected { Ok(()) } else { Err(Reason::Manifest) }
}

#[derive(PartialEq, Eq)]
enum Step {
    More,
    Manifest,
}

/// The walk through the range, leaf by leaf.
struct Walk<'a, S> {
    header: &'a Header,
    descent: Descent,
    nodes: Nodes,
    counts: Counts,
    next: u64,
    sink: S,
}

impl<S: FnMut(VerifiedEntry)> Walk<'_, S> {
    fn step<R: Read>(&mut self, frames: &mut FrameReader<R>) -> Result<Step, Fault> {
        let place = if self.next < self.header.end { Place::Index(self.next) } else { Place::Manifest };
        let at = |reason| Fault { place, reason };
        let found = frames.next().map_err(|fault| frame_fault(place, fault))?;
        match found {
            kind::MANIFEST if self.next == self.header.end => return Ok(Step::Manifest),
            kind::MANIFEST => return Err(at(Reason::Missing)),
            kind::TILE if self.next < self.header.end => self.tile(frames.payload()).map_err(at)?,
            kind::OPENED | kind::WITHHELD | kind::CONTROL => {
                self.entry(found, frames.payload()).map_err(at)?
            }
            found => return Err(at(Reason::Unexpected { found })),
        }
        Ok(Step::More)
    }

    fn tile(&mut self, payload: &[u8]) -> Result<(), Reason> {
        let (level, rest) = payload.split_first().ok_or(Reason::Form)?;
        let (index, hashes) = rest.split_first_chunk::<8>().ok_or(Reason::Form)?;
        let hashes = Hash::list(hashes).ok_or(Reason::Form)?;
        let tile = Tile { level: *level, index: u64::from_be_bytes(*index), hashes };
        self.descent.supply(self.next, tile).map_err(|fault| match fault {
            DescentFault::NotNeeded => Reason::Unexpected { found: kind::TILE },
            DescentFault::Mismatch => Reason::Tile,
        })
    }

    fn entry(&mut self, kind: u8, payload: &[u8]) -> Result<(), Reason> {
        let (index, body) = payload.split_first_chunk::<8>().ok_or(Reason::Form)?;
        let index = u64::from_be_bytes(*index);
        if index != self.next || index >= self.header.end {
            return Err(Reason::Order { found: index });
        }
        let record = match kind {
            kind::OPENED => Record::Opened(read_groups(body).ok_or(Reason::Form)?),
            kind::WITHHELD => Record::Withheld(body.try_into().map_err(|_| Reason::Form)?),
            _ => match Leaf::from_bytes(body)? {
                Leaf::Control(control) => Record::Control(control),
                Leaf::Access(_) => return Err(Reason::Form),
            },
        };
        if self.descent.leaf(index) != Some(leaf_hash(&record.leaf().to_bytes())) {
            return Err(Reason::NotInLog);
        }
        self.counts.count(&record);
        let body = self.body(index, record)?;
        (self.sink)(VerifiedEntry { index, body });
        self.next += 1;
        Ok(())
    }

    fn body(&mut self, index: u64, record: Record<'_>) -> Result<VerifiedBody, Reason> {
        Ok(match record {
            Record::Opened(groups) => {
                let opened = open(&groups)?;
                match &opened.event {
                    Some(event) => {
                        if event.origin != self.header.origin {
                            self.nodes.find(index, Observation::OtherOrigin);
                        }
                        self.nodes.event(index, event)?;
                    }
                    None => self.nodes.hidden(),
                }
                let is_other = |subject: &Subject| match (&self.header.tenant, &subject.tenant) {
                    (Some(wanted), Some(found)) => wanted != found,
                    _ => false,
                };
                if opened.subject.as_ref().is_some_and(is_other) {
                    self.nodes.find(index, Observation::OtherTenant);
                }
                VerifiedBody::Opened(Box::new(opened))
            }
            Record::Withheld(commitment) => {
                self.nodes.hidden();
                VerifiedBody::Withheld(commitment)
            }
            Record::Control(control) => {
                self.nodes.control(index, &control)?;
                VerifiedBody::Control(control)
            }
        })
    }
}

/// Reads the groups that are shown, each strictly.
fn open(groups: &[Group<'_>; GROUPS]) -> Result<Opened, Reason> {
    let shown = groups.map(|group| match group {
        Group::Opened { bytes, .. } => Some(bytes),
        Group::Withheld(_) => None,
    });
    let [event, actor, subject, object, detail] = shown;
    Ok(Opened {
        event: event.map(Event::from_group).transpose()?,
        actor: actor.map(Actor::from_group).transpose()?,
        subject: subject.map(Subject::from_group).transpose()?,
        object: object.map(Object::from_group).transpose()?,
        detail: detail.map(Detail::from_group).transpose()?,
    })
}
