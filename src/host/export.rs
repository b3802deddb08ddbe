//! Exports by command: recorded first, then written.
//!
//! May import `export`, `ledger`, `seal`.

use std::{
    fs,
    io::{self, BufWriter, Write},
    net::{IpAddr, Ipv4Addr},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
    sync::Arc,
};

use custodia_audit::Kind;

use super::Parts;
use crate::export::{
    EVENTS_NAME, ExportError, File, MANIFEST_NAME, Outputs, Plan, Progress, Range, Source, Summary,
    TABLE_NAME, Tally, bundle_name, manifest, plans,
};
use crate::ledger::{Access, Names};

/// Records the export, then writes its bundle to `out`; the number of entries. It is about one log.
///
/// If we crash after the entry, the log tells of an export that nobody has: never the other way round.
///
/// # Errors
/// [`ExportError`].
pub async fn export<W: Write>(parts: &Parts, range: &Range, out: W) -> Result<(W, u64), ExportError> {
    let source = source(parts);
    let plan = Plan::make(&source, range.clone()).await?;
    record(parts, &plan).await?;
    let outputs = Outputs { bundle: Tally::new(out), events: None, table: None };
    let (outputs, summary) = plan.write(&source, outputs, &Progress::default()).await?;
    Ok((outputs.bundle.finish().0, summary.end - summary.first))
}

/// Records the export, then writes a bundle for each log, AuditEvents, table and manifest into a folder that is not there yet.
///
/// If we crash on the way, the folder has no manifest.
///
/// # Errors
/// [`ExportError`].
pub async fn export_folder(parts: &Parts, range: &Range, folder: &Path) -> Result<Vec<Summary>, ExportError> {
    let source = source(parts);
    let plans = plans(&source, range.clone()).await?;
    // Entries say who saw what: for their owner's eyes.
    fs::DirBuilder::new().mode(0o700).create(folder)?;
    let create = |name: &str| -> io::Result<Tally<BufWriter<fs::File>>> {
        let file = fs::File::options().write(true).create_new(true).mode(0o600).open(folder.join(name))?;
        Ok(Tally::new(BufWriter::new(file)))
    };
    for plan in &plans {
        record(parts, plan).await?;
    }
    let (mut events, mut table) = (Some(create(EVENTS_NAME)?), Some(create(TABLE_NAME)?));
    let (mut files, mut summaries) = (Vec::new(), Vec::new());
    for (number, plan) in plans.into_iter().enumerate() {
        let name = bundle_name(number);
        let outputs = Outputs { bundle: create(name)?, events, table };
        let (outputs, summary) = plan.write(&source, outputs, &Progress::default()).await?;
        files.push(closed(name, outputs.bundle)?);
        summaries.push(summary);
        (events, table) = (outputs.events, outputs.table);
    }
    for (name, output) in [(EVENTS_NAME, events), (TABLE_NAME, table)] {
        files.extend(output.map(|output| closed(name, output)).transpose()?);
    }
    let note = manifest(&summaries, &files, &source.signer(&summaries).await?)?;
    let mut out = create(MANIFEST_NAME)?;
    out.write_all(note.as_bytes())?;
    closed(MANIFEST_NAME, out)?;
    fs::File::open(folder)?.sync_all()?;
    Ok(summaries)
}

fn closed(name: &'static str, output: Tally<BufWriter<fs::File>>) -> io::Result<File> {
    let (out, digest) = output.finish();
    out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    Ok(File { name, digest })
}

/// Says in the log that it is exported.
async fn record(parts: &Parts, plan: &Plan) -> Result<(), ExportError> {
    let (first, end, size) = plan.bounds();
    let log = plan.log().unwrap_or(parts.ledger.origin());
    if let Some(log) = parts.ledger.named(log) {
        return Ok(log.exported(first, end, size).await?);
    }
    // The control entry of an export is about its own log: of one that is closed, an entry of a command says which.
    let access = Access {
        request: parts.clock.ordered_id(),
        caller: None,
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        thumbprint: None,
        interaction: "audit-export",
        query: Some(format!("custodia audit export --log {log} --first {first} --end {end}")),
        named: Names::default(),
    };
    parts.ledger.note(&access, Kind::Export, 200, "ok").await?;
    Ok(())
}

fn source(parts: &Parts) -> Source {
    Source {
        ledger: Arc::clone(&parts.ledger),
        keyring: Arc::clone(&parts.keyring),
        anchors: Arc::clone(&parts.anchors),
        clock: parts.clock.clone(),
    }
}
