//! What the entries say about the nodes that wrote them: sequence numbers and clocks.
//!
//! A missing sequence number that no withheld entry can account for is a fault. All else that looks odd
//! but that an honest server can leave behind is a finding. Imports `entry`.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Header, Reason};
use crate::entry::{Control, Event};

/// How many nodes are kept track of.
pub const NODES_MAX: usize = 65_536;

/// How many findings are kept; the rest are counted.
pub const FINDINGS_MAX: usize = 1000;

/// Something an auditor should ask about; the export is sound all the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// At which index.
    pub index: u64,
    /// What.
    #[serde(flatten)]
    pub what: Observation,
}

/// What was observed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "finding", rename_all = "kebab-case")]
pub enum Observation {
    /// A node's clock ran back.
    ClockBackwards {
        /// The node.
        node: String,
        /// By how much, in microseconds.
        by_micros: u64,
    },
    /// A node's first entry in a log seen from its beginning does not have sequence number 0.
    LateStart {
        /// The node.
        node: String,
        /// The sequence number.
        sequence: u64,
    },
    /// A heartbeat announces another sequence number than the entries lead to.
    Heartbeat {
        /// The node.
        node: String,
        /// What the entries lead to.
        expected: u64,
        /// What it announces.
        found: u64,
    },
    /// An entry names another log as its own.
    OtherOrigin,
    /// An entry of another tenant than the export is for is opened.
    OtherTenant,
    /// The log was restored from a backup here.
    Restored,
    /// A second key began to sign the log here.
    KeyRotated,
    /// A key of the log ceased to sign here.
    KeyRetired,
    /// A witness, or who read the log anew, said here that it is not what it was.
    ForkAlarm,
}

struct Node {
    /// The sequence number its next entry should have, if an entry was seen.
    next: Option<u64>,
    /// How many entries of unknown nodes had passed when `next` was learnt.
    hidden_at_next: u64,
    /// The same, when it last started.
    hidden_at_start: Option<u64>,
    time_micros: i64,
}

/// Follows every node through a range.
pub(super) struct Nodes {
    nodes: BTreeMap<String, Node>,
    hidden: u64,
    is_from_beginning: bool,
    /// Which of how many logs this is that are written side by side, if an entry says so.
    pub(super) shards: Option<(u64, u64)>,
    pub(super) findings: Vec<Finding>,
    pub(super) findings_total: u64,
}

impl Nodes {
    pub(super) fn new(header: &Header) -> Self {
        Self {
            nodes: BTreeMap::new(),
            hidden: 0,
            is_from_beginning: header.first == 0,
            shards: None,
            findings: Vec::new(),
            findings_total: 0,
        }
    }

    /// Notes a finding.
    pub(super) fn find(&mut self, index: u64, what: Observation) {
        self.findings_total += 1;
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(Finding { index, what });
        }
    }

    /// An access whose event is withheld: any node may have written it.
    pub(super) fn hidden(&mut self) {
        self.hidden += 1;
    }

    /// An access whose event is shown.
    pub(super) fn event(&mut self, index: u64, event: &Event) -> Result<(), Reason> {
        let hidden = self.hidden;
        let sequence = event.sequence;
        self.clock(index, &event.node, event.time_micros)?;
        let Some(node) = self.nodes.get_mut(&event.node) else { return Ok(()) };
        // Restarted numbering begins at 0; whatever is above may have been withheld since the start.
        let is_restart = node.hidden_at_start.is_some_and(|at| sequence <= hidden - at);
        let mut late = false;
        match node.next {
            Some(next) => {
                let gap = sequence.checked_sub(next);
                let is_next = gap.is_some_and(|gap| gap <= hidden - node.hidden_at_next);
                if !is_next && !is_restart {
                    let last = next.saturating_sub(1);
                    return Err(Reason::Sequence { node: event.node.clone(), last, found: sequence });
                }
            }
            None => late = self.is_from_beginning && sequence > hidden,
        }
        node.next = Some(sequence.saturating_add(1));
        node.hidden_at_next = hidden;
        node.hidden_at_start = None;
        if late {
            self.find(index, Observation::LateStart { node: event.node.clone(), sequence });
        }
        Ok(())
    }

    /// A control entry.
    pub(super) fn control(&mut self, index: u64, control: &Control) -> Result<(), Reason> {
        let hidden = self.hidden;
        match control {
            Control::Start { node, time_micros, .. } => {
                self.clock(index, node, *time_micros)?;
                if let Some(node) = self.nodes.get_mut(node) {
                    node.hidden_at_start = Some(hidden);
                }
            }
            Control::Heartbeat { node, time_micros, sequence } => {
                self.clock(index, node, *time_micros)?;
                self.heartbeat(index, node, *sequence);
            }
            Control::Restore { node, time_micros, .. } => {
                self.clock(index, node, *time_micros)?;
                self.find(index, Observation::Restored);
            }
            Control::ForkAlarm { node, time_micros, .. } => {
                self.clock(index, node, *time_micros)?;
                self.find(index, Observation::ForkAlarm);
            }
            Control::PolicyChange { node, time_micros, .. } | Control::Export { node, time_micros, .. } => {
                self.clock(index, node, *time_micros)?;
            }
            Control::Shards { node, time_micros, shard, count } => {
                self.clock(index, node, *time_micros)?;
                if self.shards.is_none_or(|(_, known)| known < *count) {
                    self.shards = Some((*shard, *count));
                }
            }
            Control::KeyRotation { .. } => self.find(index, Observation::KeyRotated),
            Control::KeyRetirement { .. } => self.find(index, Observation::KeyRetired),
            Control::ShardLink { .. } => {}
        }
        Ok(())
    }

    fn heartbeat(&mut self, index: u64, name: &str, found: u64) {
        let Some(node) = self.nodes.get(name) else { return };
        let Some(expected) = node.next else { return };
        let is_next = found.checked_sub(expected).is_some_and(|gap| gap <= self.hidden - node.hidden_at_next);
        let is_restart = node.hidden_at_start.is_some_and(|at| found <= self.hidden - at);
        if !is_next && !is_restart {
            self.find(index, Observation::Heartbeat { node: name.to_owned(), expected, found });
        }
    }

    /// Compares a node's time with its last, and begins to follow a node that is new.
    fn clock(&mut self, index: u64, name: &str, time_micros: i64) -> Result<(), Reason> {
        if let Some(node) = self.nodes.get_mut(name) {
            let by_micros = i128::from(node.time_micros) - i128::from(time_micros);
            node.time_micros = time_micros;
            if let Some(by_micros) = u64::try_from(by_micros).ok().filter(|by| *by > 0) {
                self.find(index, Observation::ClockBackwards { node: name.to_owned(), by_micros });
            }
            return Ok(());
        }
        if self.nodes.len() >= NODES_MAX {
            return Err(Reason::TooManyNodes);
        }
        let node = Node { next: None, hidden_at_next: self.hidden, hidden_at_start: None, time_micros };
        self.nodes.insert(name.to_owned(), node);
        Ok(())
    }
}
