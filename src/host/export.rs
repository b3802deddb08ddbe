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
    BUNDLE_NAME, EVENTS_NAME, ExportError, File, MANIFEST_NAME, Outputs, Plan, Progress, Range, Source,
    Summary, TABLE_NAME, Tally, manifest,
};
use crate::ledger::Access;

/// Records the export, then writes its bundle to `out`; the number of entries.
///
/// If we crash after the entry, the log tells of an export that nobody has: never the other way round.
///
/// # Errors
/// [`ExportError`].
pub async fn export<W: Write>(parts: &Parts, range: &Range, out: W) -> Result<(W, u64), ExportError> {
    let outputs = Outputs { bundle: Tally::new(out), events: None, table: None };
    let (outputs, summary) = recorded(parts, range, outputs).await?;
    Ok((outputs.bundle.finish().0, summary.end - summary.first))
}

/// Records the export, then writes bundle, AuditEvents, table and manifest into a folder that is not there yet.
///
/// If we crash on the way, the folder has no manifest.
///
/// # Errors
/// [`ExportError`].
pub async fn export_folder(parts: &Parts, range: &Range, folder: &Path) -> Result<Summary, ExportError> {
    // Entries say who saw what: for their owner's eyes.
    fs::DirBuilder::new().mode(0o700).create(folder)?;
    let create = |name: &str| -> io::Result<Tally<BufWriter<fs::File>>> {
        let file = fs::File::options().write(true).create_new(true).mode(0o600).open(folder.join(name))?;
        Ok(Tally::new(BufWriter::new(file)))
    };
    let outputs = Outputs {
        bundle: create(BUNDLE_NAME)?,
        events: Some(create(EVENTS_NAME)?),
        table: Some(create(TABLE_NAME)?),
    };
    let (outputs, summary) = recorded(parts, range, outputs).await?;
    let written =
        [(BUNDLE_NAME, Some(outputs.bundle)), (EVENTS_NAME, outputs.events), (TABLE_NAME, outputs.table)];
    let mut files = Vec::new();
    for (name, output) in written {
        let Some(output) = output else { continue };
        let (out, digest) = output.finish();
        out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        files.push(File { name, digest });
    }
    let log = parts.ledger.readers().find(|log| log.origin() == summary.origin).ok_or(ExportError::NoLog)?;
    let note = manifest(&summary, &files, &log.signer().await?)?;
    let mut out = create(MANIFEST_NAME)?;
    out.write_all(note.as_bytes())?;
    out.finish().0.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    fs::File::open(folder)?.sync_all()?;
    Ok(summary)
}

async fn recorded<W: Write>(
    parts: &Parts,
    range: &Range,
    outputs: Outputs<W>,
) -> Result<(Outputs<W>, Summary), ExportError> {
    let source = source(parts);
    let plan = Plan::make(&source, range.clone()).await?;
    let (first, end, size) = plan.bounds();
    match &range.log {
        None => parts.ledger.exported(first, end, size).await?,
        // The control entry of an export is about its own log: of another one, an entry of a command says which.
        Some(log) => {
            let access = Access {
                request: parts.clock.ordered_id(),
                caller: None,
                address: IpAddr::V4(Ipv4Addr::LOCALHOST),
                thumbprint: None,
                interaction: "audit-export",
                query: Some(format!("custodia audit export --log {log} --first {first} --end {end}")),
            };
            parts.ledger.note(&access, Kind::Export, 200, "ok").await?;
        }
    }
    plan.write(&source, outputs, &Progress::default()).await
}

fn source(parts: &Parts) -> Source {
    Source {
        ledger: Arc::clone(&parts.ledger),
        keyring: Arc::clone(&parts.keyring),
        anchors: Arc::clone(&parts.anchors),
        clock: parts.clock.clone(),
    }
}
