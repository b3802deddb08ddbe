//! A patient's report by command: recorded first, then written, page by page.
//!
//! May import `interaction`, `ledger`, `seal`.

use std::{
    fs,
    io::{self, Write as _},
    net::{IpAddr, Ipv4Addr},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
};

use custodia_audit::{Kind, witness::origin_hash};

use super::Parts;
use crate::{
    events::report::{Form, Line},
    interaction::disclosures::{self, Page, Wanted},
    ledger::{Access, Down, Names, ReadError},
    tenant::TenantId,
};

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The log cannot be read.
    #[error("the log cannot be read")]
    Read(#[from] ReadError),
    /// The report could not be recorded, so it was not made.
    #[error("the report could not be recorded, so it was not made")]
    Down(#[from] Down),
    /// The tenant's keys are not in the keystore.
    #[error("the tenant's keys cannot be used")]
    Key(#[from] crate::seal::KeyError),
    /// A file cannot be written.
    #[error("a file of the report cannot be written")]
    File(#[from] io::Error),
}

/// Records the report, then writes it in every form, and each line's proof, into a folder that is not there yet; the
/// number of lines.
///
/// # Errors
/// [`ReportError`].
pub async fn disclosures(
    parts: &Parts,
    tenant: (TenantId, &str),
    mut wanted: Wanted,
    folder: &Path,
) -> Result<usize, ReportError> {
    let keys = parts.keyring.tenant(tenant.0)?;
    // It says who saw a patient's records: for its reader's eyes.
    fs::DirBuilder::new().mode(0o700).create(folder)?;
    let proofs = folder.join("proofs");
    fs::DirBuilder::new().mode(0o700).create(&proofs)?;
    let access = Access {
        request: parts.clock.ordered_id(),
        caller: None,
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        thumbprint: None,
        interaction: "audit-disclosures",
        query: Some(format!("custodia audit disclosures {} Patient/{}", tenant.1, wanted.patient.as_str())),
        named: Names::default(),
    };
    parts.ledger.note(&access, Kind::Audit, 200, "ok").await?;
    let head = disclosures::head(&parts.ledger, &parts.clock, tenant.1, &wanted);
    let forms = [Form::Json, Form::Csv, Form::Html];
    let mut files = Vec::new();
    for (form, name) in forms.into_iter().zip(["disclosures.json", "disclosures.csv", "disclosures.html"]) {
        let mut file = create(&folder.join(name))?;
        file.write_all(form.head(&head).as_bytes())?;
        files.push((form, file));
    }
    let mut count = 0;
    loop {
        let page = Page::of(&parts.ledger, &keys, tenant.0, &wanted).await?;
        for line in &page.lines {
            for (form, file) in &mut files {
                file.write_all(form.line(line, count).as_bytes())?;
            }
            prove(&proofs, parts.ledger.origin(), line)?;
            count += 1;
        }
        if page.next.is_empty() {
            break;
        }
        wanted.before = page.next;
    }
    for (form, mut file) in files {
        file.write_all(form.foot(count, None).as_bytes())?;
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    }
    Ok(count)
}

/// The two files that custodia-verify checks: the entry, and the way from it to a signed checkpoint. What is of an earlier log
/// stands in a folder that bears the hash of its name.
fn prove(folder: &Path, origin: &str, line: &Line) -> io::Result<()> {
    let Some(evidence) = &line.evidence else { return Ok(()) };
    let folder =
        if line.origin == origin { folder.to_owned() } else { folder.join(origin_hash(&line.origin)) };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
    let write = |ending: &str, bytes: &[u8]| -> io::Result<()> {
        let mut file = create(&folder.join(format!("{}.{ending}", line.index)))?;
        file.write_all(bytes)?;
        file.flush()
    };
    write("entry", &evidence.leaf)?;
    write("tlog-proof", evidence.proof.to_text().as_bytes())
}

fn create(path: &Path) -> io::Result<io::BufWriter<fs::File>> {
    let file = fs::File::options().write(true).create_new(true).mode(0o600).open(path)?;
    Ok(io::BufWriter::new(file))
}
