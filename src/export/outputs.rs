//! The files of an export, each counted and hashed on its way out.

use std::io::{self, Write};

use custodia_audit::{Control, Entry, Sha256};

use crate::{
    config::SHARDS_MAX,
    events::{Place, audit_event, control_event, csv, disclosure_event},
    fhir::json,
};

/// The bundles that custodia-verify checks: of the log, or of each that is written side by side.
const BUNDLE_NAMES: [&str; SHARDS_MAX.unsigned_abs() as usize] = [
    "log.bundle",
    "log-1.bundle",
    "log-2.bundle",
    "log-3.bundle",
    "log-4.bundle",
    "log-5.bundle",
    "log-6.bundle",
    "log-7.bundle",
    "log-8.bundle",
    "log-9.bundle",
    "log-10.bundle",
    "log-11.bundle",
    "log-12.bundle",
    "log-13.bundle",
    "log-14.bundle",
    "log-15.bundle",
];
/// The accesses as FHIR AuditEvents, one a line.
pub const EVENTS_NAME: &str = "events.ndjson";
/// The accesses as a table.
pub const TABLE_NAME: &str = "accesses.csv";

/// The name of a bundle: the first of an export, the second, and so on.
#[must_use]
pub fn bundle_name(number: usize) -> &'static str {
    let [first, ..] = BUNDLE_NAMES;
    BUNDLE_NAMES.get(number).copied().unwrap_or(first)
}

/// Where an export goes.
pub struct Outputs<W: Write> {
    /// The bundle.
    pub bundle: Tally<W>,
    /// AuditEvents as NDJSON, if they are wanted.
    pub events: Option<Tally<W>>,
    /// CSV, if it is wanted.
    pub table: Option<Tally<W>>,
}

/// Counts and hashes what passes.
pub struct Tally<W: Write> {
    out: W,
    hash: Sha256,
    bytes: u64,
}

/// What a file turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest {
    /// SHA-256.
    pub sha256: [u8; 32],
    /// Its length.
    pub bytes: u64,
}

impl<W: Write> Tally<W> {
    /// Nothing has passed yet.
    pub fn new(out: W) -> Self {
        Self { out, hash: Sha256::new(), bytes: 0 }
    }

    /// Whether nothing has passed yet.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// The output, and what passed.
    pub fn finish(self) -> (W, Digest) {
        (self.out, Digest { sha256: self.hash.finish(), bytes: self.bytes })
    }
}

impl<W: Write> Write for Tally<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.hash.update(bytes.get(..count).unwrap_or_default());
        self.bytes += u64::try_from(count).unwrap_or(0);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Writes an access beside the bundle; the number of AuditEvents.
pub(super) fn access<W: Write>(
    events: &mut Option<W>,
    table: &mut Option<W>,
    place: &Place<'_>,
    entry: &Entry,
) -> io::Result<u64> {
    let mut count = 0;
    if let Some(events) = events {
        let views = [Some(audit_event(place, entry)), disclosure_event(place, entry)];
        for event in views.iter().flatten() {
            line(events, event)?;
            count += 1;
        }
    }
    if let Some(table) = table {
        table.write_all(csv::access(place, entry).as_bytes())?;
    }
    Ok(count)
}

/// Writes a control entry beside the bundle.
pub(super) fn control<W: Write>(
    events: &mut Option<W>,
    table: &mut Option<W>,
    place: &Place<'_>,
    control: &Control,
) -> io::Result<()> {
    if let Some(events) = events {
        line(events, &control_event(place, control))?;
    }
    if let Some(table) = table {
        table.write_all(csv::control(place, control).as_bytes())?;
    }
    Ok(())
}

/// Accounts for an entry that is not shown.
pub(super) fn withheld<W: Write>(table: &mut Option<W>, place: &Place<'_>) -> io::Result<()> {
    match table {
        Some(table) => table.write_all(csv::withheld(place).as_bytes()),
        None => Ok(()),
    }
}

fn line<W: Write>(out: &mut W, event: &serde_json::Value) -> io::Result<()> {
    let mut bytes = json::to_bytes(event);
    bytes.push(b'\n');
    out.write_all(&bytes)
}
