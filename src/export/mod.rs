//! The log on its way to an auditor: a bundle, AuditEvents, a table, and one signed manifest.
//!
//! May import everything above it. An export is recorded before it is written. Each index of its range is accounted
//! for: opened, withheld, or a control entry. It is written as a stream: memory does not grow with the log.

mod jobs;
mod manifest;
mod outputs;

use std::{
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use custodia_audit::{
    Checkpoint, Edge, Entry, Hash, Leaf, Signer,
    bundle::{Group, Header, Record, WriteFault, Writer},
};

use crate::{
    anchor::{Anchors, NoQuorum},
    clock::Clock,
    events::Place,
    ledger::{Down, Ledger, LedgerReader, Opening, READ_ENTRIES_MAX, ReadError, StoredEntry},
    seal::Keyring,
    tenant::TenantId,
};

pub use jobs::{Busy, Exports, Finished, FinishedFile, JOBS_MAX, JOBS_OF_ONE_MAX, Owner, Standing};
pub(crate) use manifest::hex;
pub use manifest::{File, MANIFEST_NAME, ManifestFault, check_folder, manifest};
pub use outputs::{Digest, EVENTS_NAME, Outputs, TABLE_NAME, Tally, bundle_name};

/// Entries after which other tasks get their turn.
const YIELD_EVERY: u64 = 64;

/// Why there is no export.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The log cannot be read.
    #[error("the log cannot be read")]
    Read(#[from] ReadError),
    /// The policy's witnesses did not cosign.
    #[error("the checkpoint of an export must be cosigned")]
    Quorum(#[from] NoQuorum),
    /// The export could not be recorded, so it was not made.
    #[error("the export could not be recorded, so it was not made")]
    Down(#[from] Down),
    /// What is asked for is about one log, and several are written side by side.
    #[error(
        "several logs are written side by side: first, end and a single file are about one of them, name it (log)"
    )]
    Several,
    /// No log of this name is read here.
    #[error("the log is none of those that this server reads: its own, and what it continues")]
    NoLog,
    /// The range is not within the log.
    #[error("the range is not within the log, which has {size} entries")]
    Range {
        /// Its size.
        size: u64,
    },
    /// The earlier checkpoint is not one of this log.
    #[error("the earlier checkpoint is not one of this log")]
    Earlier,
    /// The manifest cannot be signed.
    #[error("the manifest cannot be signed")]
    Note(#[from] custodia_audit::NoteFault),
    /// The file cannot be written, or the log in the database does not hold.
    #[error("the export cannot be written")]
    Write(#[from] WriteFault),
    /// A file beside the bundle cannot be written.
    #[error("a file of the export cannot be written")]
    File(#[from] std::io::Error),
}

/// What is exported.
#[derive(Clone, Debug, Default)]
pub struct Range {
    /// Name of a log, of those that are written or of those they continue; all that are written when left out.
    pub log: Option<String>,
    /// The first index.
    pub first: u64,
    /// One past the last index; the log's size when left out.
    pub end: Option<u64>,
    /// Whose entries are opened, and the name; the others are withheld. Everybody's when left out.
    pub tenant: Option<(TenantId, String)>,
    /// Which of them are opened.
    pub filter: Filter,
    /// The auditor's last checkpoints: the export proves that the log of each continues it.
    pub earlier: Vec<String>,
    /// Why.
    pub reason: String,
}

/// Which entries are opened; the others of the range are withheld.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Committed at or after this, in microseconds since 1970. Entries long before it are not in the range either.
    pub from_micros: Option<i64>,
    /// Committed before this.
    pub until_micros: Option<i64>,
    /// About this patient, such as `Patient/ann`.
    pub patient: Option<String>,
    /// By this account.
    pub user: Option<String>,
}

impl Filter {
    /// Whether an entry is to be opened.
    #[must_use]
    pub fn shows(&self, entry: &Entry) -> bool {
        let at = entry.event.time_micros;
        let is = |wanted: &Option<String>, found: &Option<String>| wanted.is_none() || wanted == found;
        self.from_micros.is_none_or(|from| from <= at)
            && self.until_micros.is_none_or(|until| at < until)
            && is(&self.patient, &entry.subject.patient)
            && is(&self.user, &entry.actor.user)
    }
}

/// Where exports come from.
#[derive(Clone)]
pub struct Source {
    /// The log.
    pub ledger: Arc<Ledger>,
    /// Its keys.
    pub keyring: Arc<Keyring>,
    /// Who cosigns its checkpoint.
    pub anchors: Arc<Anchors>,
    /// Time.
    pub clock: Clock,
}

impl Source {
    /// Who signs the manifest of an export: the keys of its first log.
    ///
    /// # Errors
    /// [`ExportError`] when they are not here.
    pub async fn signer(&self, summaries: &[Summary]) -> Result<Signer, ExportError> {
        let first = summaries.first().ok_or(ExportError::NoLog)?;
        let log = self.ledger.readers().find(|log| log.origin() == first.origin).ok_or(ExportError::NoLog)?;
        Ok(log.signer().await?)
    }

    /// The log that is exported.
    fn log(&self, range: &Range) -> Result<&LedgerReader, ExportError> {
        match &range.log {
            Some(name) => self.ledger.readers().find(|log| log.origin() == name).ok_or(ExportError::NoLog),
            None if self.ledger.shards().len() > 1 => Err(ExportError::Several),
            None => Ok(self.ledger.reader()),
        }
    }
}

/// An export that has been checked and can be written.
pub struct Plan {
    range: Range,
    end: u64,
    note: String,
    edge: Edge,
    earlier: Option<(u64, Vec<Hash>)>,
}

/// Plans of what is asked for: one for each log that is written, unless one is named.
///
/// # Errors
/// As [`Plan::make`], and [`ExportError::Several`] when indexes are given of several logs.
pub async fn plans(source: &Source, range: Range) -> Result<Vec<Plan>, ExportError> {
    let logs = source.ledger.shards();
    if range.log.is_some() || logs.len() < 2 {
        return Ok(vec![Plan::make(source, range).await?]);
    }
    if range.first > 0 || range.end.is_some() {
        return Err(ExportError::Several);
    }
    let mut earlier = range.earlier.clone();
    let mut plans = Vec::new();
    for log in logs {
        let (its, others) = earlier.into_iter().partition(|note| note.lines().next() == Some(log.origin()));
        earlier = others;
        let range = Range { log: Some(log.origin().to_owned()), earlier: its, ..range.clone() };
        plans.push(Plan::make(source, range).await?);
    }
    if earlier.is_empty() { Ok(plans) } else { Err(ExportError::Earlier) }
}

/// How far an export has come.
#[derive(Debug, Default)]
pub struct Progress {
    done: AtomicU64,
    total: AtomicU64,
}

impl Progress {
    /// Says how many entries there will be.
    pub fn expect(&self, plans: &[Plan]) {
        let entries = |plan: &Plan| plan.end.saturating_sub(plan.range.first);
        self.total.store(plans.iter().map(entries).sum(), Ordering::Relaxed);
    }

    /// Entries written, and entries there will be.
    #[must_use]
    pub fn told(&self) -> (u64, u64) {
        (self.done.load(Ordering::Relaxed), self.total.load(Ordering::Relaxed))
    }
}

/// How many entries of each sort were written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Opened.
    pub opened: u64,
    /// Withheld: another tenant's, not asked for, or without a key.
    pub withheld: u64,
    /// Control entries.
    pub control: u64,
    /// AuditEvents.
    pub events: u64,
}

impl Plan {
    /// Checks what is asked for against the log as it is.
    ///
    /// # Errors
    /// [`ExportError::Range`], [`ExportError::Earlier`], or that the log cannot be read.
    pub async fn make(source: &Source, range: Range) -> Result<Self, ExportError> {
        let reader = source.log(&range)?;
        let (note, edge) = source.anchors.for_export(reader).await?;
        let size = edge.size();
        // Of an earlier log, what was continued. The server's own keeps growing meanwhile.
        let most = if range.log.is_some() { reader.size().await?.min(size) } else { size };
        let mut range = range;
        let mut end = range.end.unwrap_or(most);
        if range.first > end || end > most {
            return Err(ExportError::Range { size });
        }
        if let Some(from) = range.filter.from_micros {
            range.first = range.first.max(reader.not_before(from).await?).min(end);
        }
        if let Some(until) = range.filter.until_micros {
            end = end.min(reader.not_after(until).await?).max(range.first);
        }
        let earlier = match range.earlier.as_slice() {
            [] => None,
            [text] => Some(continued(source, reader, text, size).await?),
            _ => return Err(ExportError::Earlier),
        };
        Ok(Self { range, end, note, edge, earlier })
    }

    /// Name of the log that is asked for; the only one when left out.
    #[must_use]
    pub fn log(&self) -> Option<&str> {
        self.range.log.as_deref()
    }

    /// The first index, one past the last, and the size of the tree.
    #[must_use]
    pub fn bounds(&self) -> (u64, u64, u64) {
        (self.range.first, self.end, self.edge.size())
    }

    /// Writes the export, which must have been recorded; the outputs come back complete and still open.
    ///
    /// # Errors
    /// [`ExportError`].
    pub async fn write<W: Write>(
        self,
        source: &Source,
        outputs: Outputs<W>,
        progress: &Progress,
    ) -> Result<(Outputs<W>, Summary), ExportError> {
        let log = source.log(&self.range)?;
        let (first, end, size) = self.bounds();
        let header = Header {
            origin: log.origin().to_owned(),
            tenant: self.range.tenant.as_ref().map(|(_, name)| name.clone()),
            first,
            end,
            exported_micros: source.clock.now().timestamp_micros(),
            reason: self.range.reason.clone(),
        };
        let earlier = self.earlier.as_ref().map(|(size, proof)| (*size, proof.as_slice()));
        let Outputs { bundle, mut events, mut table } = outputs;
        if let Some(table) = table.as_mut().filter(|table| table.is_empty()) {
            table.write_all(crate::events::csv::header().as_bytes())?;
        }
        let writer = Writer::begin(bundle, header, &self.note, self.edge, earlier)?;
        let mut pass = Pass { log, range: &self.range, writer, events, table, counts: Counts::default() };
        pass.run(end, progress).await?;
        let counts = pass.counts;
        (events, table) = (pass.events, pass.table);
        // The keys that sign now: one that was retired while this was written signs no more.
        let bundle = pass.writer.finish(&log.signer().await?)?;
        let (origin, tenant) = (log.origin().to_owned(), self.range.tenant.map(|(_, name)| name));
        Ok((Outputs { bundle, events, table }, Summary { first, end, size, origin, tenant, counts }))
    }
}

/// What an export turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The first index.
    pub first: u64,
    /// One past the last index.
    pub end: u64,
    /// The size of the tree.
    pub size: u64,
    /// Name of the log.
    pub origin: String,
    /// Whose entries are opened; everybody's when left out.
    pub tenant: Option<String>,
    /// How many of each sort.
    pub counts: Counts,
}

/// The auditor's checkpoint and the proof that a log of `size` continues it.
async fn continued(
    source: &Source,
    log: &LedgerReader,
    text: &str,
    size: u64,
) -> Result<(u64, Vec<Hash>), ExportError> {
    let known = source.keyring.keystore().log_keys(log.origin()).known();
    let earlier =
        Checkpoint::open(text.as_bytes(), log.origin(), &known, 0).map_err(|_| ExportError::Earlier)?;
    if earlier.size > size {
        return Err(ExportError::Earlier);
    }
    // Nothing is proven of an empty log, nor of one that has not grown.
    let proof = match earlier.size {
        0 => Vec::new(),
        same if same == size => Vec::new(),
        first => log.consistency(first, size).await?,
    };
    Ok((earlier.size, proof))
}

/// One pass over the range.
struct Pass<'a, W: Write> {
    log: &'a LedgerReader,
    range: &'a Range,
    writer: Writer<Tally<W>>,
    events: Option<Tally<W>>,
    table: Option<Tally<W>>,
    counts: Counts,
}

impl<W: Write> Pass<'_, W> {
    async fn run(&mut self, end: u64, progress: &Progress) -> Result<(), ExportError> {
        let reader = self.log;
        while self.writer.next_index() < end {
            let first = self.writer.next_index();
            let page = reader.entries(first, end.min(first.saturating_add(READ_ENTRIES_MAX))).await?;
            if page.is_empty() {
                return Err(ReadError::Broken.into());
            }
            for entry in &page {
                while let Some(id) = self.writer.needs() {
                    self.writer.tile(reader.tile(id).await?)?;
                }
                if entry.index != self.writer.next_index() {
                    return Err(ReadError::Broken.into());
                }
                self.one(entry)?;
                progress.done.fetch_add(1, Ordering::Relaxed);
                if entry.index % YIELD_EVERY == 0 {
                    tokio::task::yield_now().await;
                }
            }
        }
        Ok(())
    }

    /// An entry of another tenant, one that was not asked for, or one whose key was destroyed, shows its commitment.
    fn one(&mut self, stored: &StoredEntry) -> Result<(), ExportError> {
        let (origin, shard) = (self.log.origin(), self.log.shard());
        let place = Place { origin, shard, index: stored.index };
        let commitment = match stored.leaf()? {
            Leaf::Control(control) => {
                self.counts.control += 1;
                self.counts.events += 1;
                outputs::control(&mut self.events, &mut self.table, &place, &control)?;
                return Ok(self.writer.entry(&Record::Control(control))?);
            }
            Leaf::Access(commitment) => commitment,
        };
        let is_theirs = self.range.tenant.as_ref().is_none_or(|(tenant, _)| *tenant == stored.tenant);
        let told = if is_theirs { stored.entry()? } else { None };
        if let (Some(told), Some(opening)) =
            (told.filter(|told| self.range.filter.shows(told)), &stored.opening)
        {
            self.counts.opened += 1;
            self.counts.events += outputs::access(&mut self.events, &mut self.table, &place, &told)?;
            return Ok(self.writer.entry(&opened(opening))?);
        }
        self.counts.withheld += 1;
        outputs::withheld(&mut self.table, &place)?;
        Ok(self.writer.entry(&Record::Withheld(commitment))?)
    }
}

fn opened(opening: &Opening) -> Record<'_> {
    let [g0, g1, g2, g3, g4] = &opening.groups;
    let [s0, s1, s2, s3, s4] = &opening.salts.0;
    Record::Opened([
        Group::Opened { salt: s0, bytes: g0 },
        Group::Opened { salt: s1, bytes: g1 },
        Group::Opened { salt: s2, bytes: g2 },
        Group::Opened { salt: s3, bytes: g3 },
        Group::Opened { salt: s4, bytes: g4 },
    ])
}
