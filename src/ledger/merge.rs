//! Entries of all logs that are read, newest first: what searches and reports are made of.
//!
//! May import `reader`, `scan`. Logs that are written side by side are in no order but that of their clocks. Each is walked from
//! its newest entry back, and on into the logs it continues; of the entries that come next in each, the youngest is taken. Where
//! a page ends, the place in every log is kept, so that the next begins exactly there, whatever was written meanwhile.

use std::collections::VecDeque;

use uuid::Uuid;

use super::{Ledger, LedgerReader, ReadError, SCAN_ENTRIES_MAX, Scan, StoredEntry};
use crate::tenant::TenantId;

/// Which entries are asked for.
#[derive(Clone, Debug)]
pub struct Span {
    /// Whose.
    pub tenant: TenantId,
    /// About one of these patients (opaque keys); anybody and nobody when left out.
    pub patients: Option<Vec<Uuid>>,
    /// Committed at or after this, in microseconds since 1970; some before it come as well.
    pub from_micros: Option<i64>,
    /// Committed before this; some after it come as well.
    pub until_micros: Option<i64>,
    /// How many are wanted at first, of each log.
    pub limit: u32,
}

/// How far one log has been read: entries below `end` are left of it, and the logs before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The log's head in the database.
    pub shard: i16,
    /// One past the next index.
    pub end: u64,
}

/// A walk through all logs.
pub struct Merge<'a> {
    span: Span,
    lanes: Vec<Lane<'a>>,
}

/// A log that is written, and the logs before it.
struct Lane<'a> {
    logs: Vec<&'a LedgerReader>,
    /// Which of them is read.
    at: usize,
    /// Where in it to begin, if not at its end.
    end: Option<u64>,
    scan: Option<Scan>,
    /// Whether the scan has nothing more.
    is_over: bool,
    /// What was read of it and not taken: time and entry, newest first.
    page: VecDeque<(i64, StoredEntry)>,
}

impl<'a> Merge<'a> {
    /// A walk from the newest entries, or from where an earlier one stood. A log that no position is of is read from its end.
    #[must_use]
    pub fn new(ledger: &'a Ledger, span: Span, positions: &[Position]) -> Self {
        let lane = |logs: Vec<&'a LedgerReader>| {
            let found = logs.iter().enumerate().find_map(|(at, log)| {
                let position = positions.iter().find(|position| position.shard == log.shard())?;
                Some((at, Some(position.end)))
            });
            let (at, end) = found.unwrap_or((0, None));
            Lane { logs, at, end, scan: None, is_over: false, page: VecDeque::new() }
        };
        let lanes = ledger.shards().iter().map(|shard| lane(shard.readers().collect())).collect();
        Self { span, lanes }
    }

    /// The next entry and its log; `None` when there are no more.
    ///
    /// # Errors
    /// [`ReadError`] when a log cannot be read.
    pub async fn next(&mut self) -> Result<Option<(&'a LedgerReader, StoredEntry)>, ReadError> {
        for lane in &mut self.lanes {
            lane.fill(&self.span).await?;
        }
        let time = |lane: &&mut Lane<'_>| lane.page.front().map(|(micros, _)| *micros);
        // Of two of one time the first log's is later in the order: which does not matter, as long as it is always the same.
        let youngest = self.lanes.iter_mut().filter(|lane| !lane.page.is_empty()).max_by_key(time);
        Ok(youngest.and_then(Lane::take))
    }

    /// Where the walk stands in each log.
    #[must_use]
    pub fn positions(&self) -> Vec<Position> {
        self.lanes.iter().filter_map(Lane::position).collect()
    }
}

impl<'a> Lane<'a> {
    /// Reads on until there is an entry, or no more.
    async fn fill(&mut self, span: &Span) -> Result<(), ReadError> {
        while self.page.is_empty() {
            let Some(log) = self.logs.get(self.at) else { return Ok(()) };
            let scan = match &mut self.scan {
                Some(scan) => scan,
                none => none.insert(begin(log, span, self.end.take()).await?),
            };
            if self.is_over || scan.first >= scan.end {
                (self.at, self.scan, self.is_over) = (self.at + 1, None, false);
                continue;
            }
            let found = log.scan(scan).await?;
            self.is_over = found.len() < usize::try_from(scan.limit).unwrap_or(usize::MAX);
            scan.end = found.last().map_or(scan.end, |last| last.index);
            scan.limit = SCAN_ENTRIES_MAX;
            for entry in found {
                self.page.push_back((entry.micros()?, entry));
            }
        }
        Ok(())
    }

    fn take(&mut self) -> Option<(&'a LedgerReader, StoredEntry)> {
        let log = *self.logs.get(self.at)?;
        self.page.pop_front().map(|(_, entry)| (log, entry))
    }

    fn position(&self) -> Option<Position> {
        let Some(log) = self.logs.get(self.at) else {
            // All was read: nothing is left of the oldest.
            return self.logs.last().map(|log| Position { shard: log.shard(), end: 0 });
        };
        let end = match (self.page.front(), &self.scan) {
            (Some((_, next)), _) => next.index.saturating_add(1),
            (None, Some(scan)) if self.is_over => scan.first.min(scan.end),
            (None, Some(scan)) => scan.end,
            (None, None) => self.end.unwrap_or(u64::MAX),
        };
        Some(Position { shard: log.shard(), end })
    }
}

/// Where the entries of a log stand that must be looked at.
async fn begin(log: &LedgerReader, span: &Span, end: Option<u64>) -> Result<Scan, ReadError> {
    let first = match span.from_micros {
        Some(from) => log.not_before(from).await?,
        None => 0,
    };
    let mut end = log.size().await?.min(end.unwrap_or(u64::MAX));
    if let Some(until) = span.until_micros {
        end = end.min(log.not_after(until).await?);
    }
    let (tenant, patients) = (span.tenant, span.patients.clone());
    Ok(Scan { tenant, patients, first, end, limit: span.limit.min(SCAN_ENTRIES_MAX) })
}
