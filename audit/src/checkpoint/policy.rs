//! Trust policies (c2sp.org/tlog-policy): which logs, which witnesses, and how many of them it takes.
//!
//! ```text
//! log <vkey> [<url>]
//! witness <name> <vkey> [<url>]
//! group <name> all|any|<k> <name>...         names defined on lines above
//! quorum <name>|none                         exactly once
//! ```
//! Words stand between spaces and tabs; empty lines and those whose first word begins with `#` are skipped.
//! Names are opaque bytes. Imports `bytes` and the checkpoint.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use super::{Checkpoint, CheckpointFault, KeyFault, KeyKind, Note, Vkey};
use crate::bytes::decimal;

/// The longest policy that is read, in bytes.
pub const POLICY_BYTES_MAX: usize = 256 * 1024;

/// The most logs, witnesses and groups of a policy, each.
pub const POLICY_NAMES_MAX: usize = 256;

/// Why a policy was refused, and on which line (from 1; 0 is the file as a whole).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("policy, line {line}: {what}")]
pub struct PolicyFault {
    /// The line.
    pub line: usize,
    /// What is wrong with it.
    pub what: PolicyProblem,
}

/// What can be wrong with a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PolicyProblem {
    /// Longer than [`POLICY_BYTES_MAX`].
    #[error("the policy is too long")]
    TooLong,
    /// A control character other than tab and line feed.
    #[error("a control character")]
    Character,
    /// The line is none of the four.
    #[error(
        "expected log <vkey>, witness <name> <vkey>, group <name> all|any|<k> <name>... or quorum <name>"
    )]
    Form,
    /// The key is malformed.
    #[error("the key: {0}")]
    Key(#[from] KeyFault),
    /// A log's key must be of type 01, a witness's of type 04.
    #[error("a log wants a key of type 01, a witness one of type 04")]
    Kind,
    /// The same public key a second time.
    #[error("this public key is already there")]
    DuplicateKey,
    /// The same name a second time, or `none`.
    #[error("this name is already taken")]
    DuplicateName,
    /// A name that no line above defines.
    #[error("no line above defines this name")]
    Unknown,
    /// A name that is already a member of a group.
    #[error("a name can be a member once")]
    TwiceMember,
    /// A threshold below 1 or above the number of members.
    #[error("expected a number from 1 to as many as there are members")]
    Threshold,
    /// More than [`POLICY_NAMES_MAX`].
    #[error("too many logs, witnesses or groups")]
    TooMany,
    /// Not exactly one quorum line.
    #[error("exactly one quorum line is wanted")]
    Quorum,
}

/// A log that is believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyLog {
    /// Its key, whose name is its origin.
    pub vkey: Vkey,
    /// Where it is, as the policy spells it.
    pub url: Option<String>,
}

/// A witness that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyWitness {
    /// Its key.
    pub vkey: Vkey,
    /// Where it is, as the policy spells it: the submission prefix of c2sp.org/tlog-witness.
    pub url: Option<String>,
}

/// Something a quorum can be made of. Members are earlier nodes, so that there is no circle.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    Witness([u8; 32]),
    Group { threshold: usize, members: Vec<usize> },
}

/// Whom to believe. It comes from the auditor, never from what is verified.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    logs: Vec<PolicyLog>,
    witnesses: Vec<PolicyWitness>,
    nodes: Vec<Node>,
    quorum: Option<usize>,
}

/// A cosignature that was verified: by whom, and when in seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Cosigned {
    /// The name of the witness's key.
    pub witness: String,
    /// When.
    pub time: u64,
}

impl Policy {
    /// A policy of keys alone: those of type 01 are logs, those of type 04 witnesses, any `quorum` of which
    /// must have signed. A key that comes under several names counts once.
    #[must_use]
    pub fn of_keys(keys: &[Vkey], quorum: usize) -> Self {
        let mut policy = Self::default();
        let mut publics = BTreeSet::new();
        for key in keys {
            let (vkey, url) = (key.clone(), None);
            match key.kind() {
                KeyKind::Ed25519 => policy.logs.push(PolicyLog { vkey, url }),
                KeyKind::Cosignature => {
                    policy.witnesses.push(PolicyWitness { vkey, url });
                    publics.insert(*key.public());
                }
            }
        }
        policy.nodes = publics.into_iter().map(Node::Witness).collect();
        if quorum > 0 {
            let members = (0..policy.nodes.len()).collect();
            policy.quorum = Some(policy.nodes.len());
            policy.nodes.push(Node::Group { threshold: quorum, members });
        }
        policy
    }

    /// Reads a policy file.
    pub fn parse(bytes: &[u8]) -> Result<Self, PolicyFault> {
        if bytes.len() > POLICY_BYTES_MAX {
            return Err(PolicyFault { line: 0, what: PolicyProblem::TooLong });
        }
        let mut reading = Reading::default();
        for (line, number) in bytes.split(|byte| *byte == b'\n').zip(1..) {
            reading.line(line).map_err(|what| PolicyFault { line: number, what })?;
        }
        let Some(quorum) = reading.quorum else {
            return Err(PolicyFault { line: 0, what: PolicyProblem::Quorum });
        };
        Ok(Self { quorum, ..reading.policy })
    }

    /// The logs that are believed.
    #[must_use]
    pub fn logs(&self) -> &[PolicyLog] {
        &self.logs
    }

    /// The witnesses that are known.
    #[must_use]
    pub fn witnesses(&self) -> &[PolicyWitness] {
        &self.witnesses
    }

    /// Whether any cosignature is asked for.
    #[must_use]
    pub const fn asks_witnesses(&self) -> bool {
        self.quorum.is_some()
    }

    /// Adds a log that is believed as well.
    #[must_use]
    pub fn with_log(mut self, vkey: Vkey) -> Self {
        if !self.logs.iter().any(|log| log.vkey == vkey) {
            self.logs.push(PolicyLog { vkey, url: None });
        }
        self
    }

    /// The same logs and witnesses with no quorum: for a checkpoint the auditor has kept.
    #[must_use]
    pub fn without_quorum(&self) -> Self {
        Self { quorum: None, ..self.clone() }
    }

    /// Whether these witnesses, by public key, are enough.
    #[must_use]
    pub fn is_met_by(&self, cosigners: &BTreeSet<[u8; 32]>) -> bool {
        let mut met: Vec<bool> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            met.push(match node {
                Node::Witness(public) => cosigners.contains(public),
                Node::Group { threshold, members } => {
                    let count = members.iter().filter(|member| met.get(**member) == Some(&true)).count();
                    count >= *threshold
                }
            });
        }
        self.quorum.is_none_or(|node| met.get(node) == Some(&true))
    }

    /// Reads a signed checkpoint of the log `origin`, believing it only if a key of that log signed it and the
    /// quorum cosigned it. Gives the cosignatures of known witnesses in the order of the note.
    pub fn open(&self, note: &[u8], origin: &str) -> Result<(Checkpoint, Vec<Cosigned>), CheckpointFault> {
        let note = Note::parse(note)?;
        let checkpoint = Checkpoint::parse(note.text())?;
        if checkpoint.origin != origin {
            return Err(CheckpointFault::Origin);
        }
        let verified = note.verify(&self.keys(origin))?;
        if !verified.iter().any(|one| one.kind == KeyKind::Ed25519) {
            return Err(CheckpointFault::Unsigned);
        }
        let by_witness = verified.into_iter().filter(|one| one.kind == KeyKind::Cosignature);
        let (publics, cosigned): (BTreeSet<[u8; 32]>, Vec<Cosigned>) = by_witness
            .map(|one| (one.public, Cosigned { witness: one.name, time: one.time.unwrap_or_default() }))
            .unzip();
        if !self.is_met_by(&publics) {
            return Err(CheckpointFault::Quorum { found: publics.len() });
        }
        Ok((checkpoint, cosigned))
    }

    /// The keys that may sign for the log `origin`: its own, which bear its name, and the witnesses'.
    #[must_use]
    pub fn keys(&self, origin: &str) -> Vec<Vkey> {
        let logs = self.logs.iter().map(|log| &log.vkey).filter(|vkey| vkey.name() == origin);
        logs.chain(self.witnesses.iter().map(|witness| &witness.vkey)).cloned().collect()
    }
}

/// A policy while it is read.
#[derive(Default)]
struct Reading {
    policy: Policy,
    quorum: Option<Option<usize>>,
    names: BTreeMap<Vec<u8>, usize>,
    members: BTreeSet<usize>,
    publics: BTreeSet<(u8, [u8; 32])>,
    groups: usize,
}

fn text(word: &[u8]) -> Option<&str> {
    std::str::from_utf8(word).ok()
}

impl Reading {
    fn line(&mut self, line: &[u8]) -> Result<(), PolicyProblem> {
        if line.iter().any(|byte| (*byte < 0x20 && *byte != b'\t') || *byte == 0x7f) {
            return Err(PolicyProblem::Character);
        }
        let words: Vec<&[u8]> =
            line.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty()).collect();
        match words.as_slice() {
            [] => Ok(()),
            [first, ..] if first.starts_with(b"#") => Ok(()),
            [b"log", vkey, url @ ..] if url.len() <= 1 => self.log(vkey, url.first()),
            [b"witness", name, vkey, url @ ..] if url.len() <= 1 => self.witness(name, vkey, url.first()),
            [b"group", name, count, members @ ..] if !members.is_empty() => self.group(name, count, members),
            [b"quorum", name] => self.quorum(name),
            _ => Err(PolicyProblem::Form),
        }
    }

    fn key(&mut self, word: &[u8], kind: KeyKind) -> Result<Vkey, PolicyProblem> {
        let vkey = Vkey::parse(text(word).ok_or(KeyFault::Form)?)?;
        if vkey.kind() != kind {
            return Err(PolicyProblem::Kind);
        }
        let is_new = self.publics.insert((kind.byte(), *vkey.public()));
        if is_new { Ok(vkey) } else { Err(PolicyProblem::DuplicateKey) }
    }

    fn log(&mut self, vkey: &[u8], url: Option<&&[u8]>) -> Result<(), PolicyProblem> {
        let vkey = self.key(vkey, KeyKind::Ed25519)?;
        self.policy.logs.push(PolicyLog { vkey, url: url.map(lossy) });
        bounded(self.policy.logs.len())
    }

    fn witness(&mut self, name: &[u8], vkey: &[u8], url: Option<&&[u8]>) -> Result<(), PolicyProblem> {
        let vkey = self.key(vkey, KeyKind::Cosignature)?;
        self.define(name, Node::Witness(*vkey.public()))?;
        self.policy.witnesses.push(PolicyWitness { vkey, url: url.map(lossy) });
        bounded(self.policy.witnesses.len())
    }

    fn group(&mut self, name: &[u8], count: &[u8], names: &[&[u8]]) -> Result<(), PolicyProblem> {
        let threshold = match count {
            b"all" => names.len(),
            b"any" => 1,
            number => {
                let number = text(number).and_then(decimal).and_then(|number| usize::try_from(number).ok());
                number.filter(|number| (1..=names.len()).contains(number)).ok_or(PolicyProblem::Threshold)?
            }
        };
        let mut members = Vec::with_capacity(names.len());
        for name in names {
            let member = *self.names.get(*name).ok_or(PolicyProblem::Unknown)?;
            if !self.members.insert(member) {
                return Err(PolicyProblem::TwiceMember);
            }
            members.push(member);
        }
        self.define(name, Node::Group { threshold, members })?;
        self.groups += 1;
        bounded(self.groups)
    }

    fn quorum(&mut self, name: &[u8]) -> Result<(), PolicyProblem> {
        let node = match name {
            b"none" => None,
            name => Some(*self.names.get(name).ok_or(PolicyProblem::Unknown)?),
        };
        match self.quorum.replace(node) {
            None => Ok(()),
            Some(_) => Err(PolicyProblem::Quorum),
        }
    }

    fn define(&mut self, name: &[u8], node: Node) -> Result<(), PolicyProblem> {
        if name == b"none" || self.names.contains_key(name) {
            return Err(PolicyProblem::DuplicateName);
        }
        self.names.insert(name.to_vec(), self.policy.nodes.len());
        self.policy.nodes.push(node);
        Ok(())
    }
}

fn lossy(word: &&[u8]) -> String {
    String::from_utf8_lossy(word).into_owned()
}

fn bounded(count: usize) -> Result<(), PolicyProblem> {
    if count > POLICY_NAMES_MAX { Err(PolicyProblem::TooMany) } else { Ok(()) }
}
