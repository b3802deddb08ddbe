//! The file an auditor receives: recorded first, then written.
//!
//! May import `ledger`, `seal`.

use std::io::Write;

use custodia_audit::{
    Checkpoint, Leaf, Signer, Vkey,
    bundle::{Group, Header, Record, WriteFault, Writer},
};

use super::Parts;
use crate::{
    ledger::{Down, LedgerReader, Opening, READ_ENTRIES_MAX, ReadError, StoredEntry},
    tenant::TenantId,
};

/// Why there is no export.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The log cannot be read.
    #[error("the log cannot be read")]
    Read(#[from] ReadError),
    /// The export could not be recorded, so it was not made.
    #[error("the export could not be recorded, so it was not made")]
    Down(#[from] Down),
    /// The range is not within the log.
    #[error("the range is not within the log, which has {size} entries")]
    Range {
        /// Its size.
        size: u64,
    },
    /// The earlier checkpoint is not one of this log.
    #[error("the earlier checkpoint is not one of this log")]
    Earlier,
    /// The signing key in the keystore cannot be used.
    #[error("the log's signing key cannot be used")]
    Key(#[from] custodia_audit::KeyFault),
    /// The file cannot be written, or the log in the database does not hold.
    #[error("the export cannot be written")]
    Write(#[from] WriteFault),
}

/// What is exported.
#[derive(Clone, Debug, Default)]
pub struct Range {
    /// The first index.
    pub first: u64,
    /// One past the last index; the log's size when left out.
    pub end: Option<u64>,
    /// Whose entries are opened, and the name; the others are withheld. Everybody's when left out.
    pub tenant: Option<(TenantId, String)>,
    /// The auditor's last checkpoint: the export proves that the log continues it.
    pub earlier: Option<String>,
    /// Why.
    pub reason: String,
}

/// Records the export, then writes it to `out`; the number of entries.
///
/// If we crash after the entry, the log tells of an export that nobody has: never the other way round.
///
/// # Errors
/// [`ExportError`].
pub async fn export<W: Write>(parts: &Parts, range: &Range, out: W) -> Result<(W, u64), ExportError> {
    let (ledger, reader) = (&parts.ledger, parts.ledger.reader());
    let signer = Signer::from_pkcs8(ledger.origin(), parts.keyring.keystore().log_key())?;
    let (note, edge) = reader.edge().await?;
    let size = edge.size();
    let end = range.end.unwrap_or(size);
    if range.first > end || end > size {
        return Err(ExportError::Range { size });
    }
    let earlier = match &range.earlier {
        None => None,
        Some(text) => Some(continued(reader, ledger.origin(), ledger.vkey(), text, size).await?),
    };
    ledger.exported(range.first, end, size).await?;
    let header = Header {
        origin: ledger.origin().to_owned(),
        tenant: range.tenant.as_ref().map(|(_, name)| name.clone()),
        first: range.first,
        end,
        exported_micros: parts.clock.now().timestamp_micros(),
        reason: range.reason.clone(),
    };
    let earlier = earlier.as_ref().map(|(size, proof)| (*size, proof.as_slice()));
    let writer = Writer::begin(out, header, &note, edge, earlier)?;
    let writer = entries(reader, writer, range, end).await?;
    Ok((writer.finish(&signer)?, end - range.first))
}

/// The auditor's checkpoint and the proof that a log of `size` continues it.
async fn continued(
    reader: &LedgerReader,
    origin: &str,
    vkey: &Vkey,
    text: &str,
    size: u64,
) -> Result<(u64, Vec<custodia_audit::Hash>), ExportError> {
    let earlier = Checkpoint::open(text.as_bytes(), origin, std::slice::from_ref(vkey), 0)
        .map_err(|_| ExportError::Earlier)?;
    if earlier.size > size {
        return Err(ExportError::Earlier);
    }
    // Nothing is proven of an empty log, nor of one that has not grown.
    let proof = match earlier.size {
        0 => Vec::new(),
        same if same == size => Vec::new(),
        first => reader.consistency(first, size).await?,
    };
    Ok((earlier.size, proof))
}

async fn entries<W: Write>(
    reader: &LedgerReader,
    mut writer: Writer<W>,
    range: &Range,
    end: u64,
) -> Result<Writer<W>, ExportError> {
    while writer.next_index() < end {
        let first = writer.next_index();
        let page = reader.entries(first, end.min(first.saturating_add(READ_ENTRIES_MAX))).await?;
        if page.is_empty() {
            return Err(ReadError::Broken.into());
        }
        for entry in &page {
            while let Some(id) = writer.needs() {
                writer.tile(reader.tile(id).await?)?;
            }
            if entry.index != writer.next_index() {
                return Err(ReadError::Broken.into());
            }
            let shown = range.tenant.as_ref().is_none_or(|(tenant, _)| *tenant == entry.tenant);
            write(&mut writer, entry, shown)?;
        }
    }
    Ok(writer)
}

/// An entry of another tenant, or one whose key was destroyed, shows its commitment alone.
fn write<W: Write>(writer: &mut Writer<W>, entry: &StoredEntry, shown: bool) -> Result<(), ExportError> {
    let leaf = Leaf::from_bytes(&entry.leaf).map_err(|_| ReadError::Broken)?;
    match (leaf, &entry.opening) {
        (Leaf::Control(control), _) => writer.entry(&Record::Control(control))?,
        (Leaf::Access(_), Some(opening)) if shown => writer.entry(&opened(opening))?,
        (Leaf::Access(commitment), _) => writer.entry(&Record::Withheld(commitment))?,
    }
    Ok(())
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
