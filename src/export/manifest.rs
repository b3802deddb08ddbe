//! The manifest: a C2SP signed note that names each file of an export and its SHA-256.
//!
//! ```text
//! custodia/export/v1
//! <origin>                            these six for each log
//! range <first> <end>
//! size <entries of the log>
//! opened <n>
//! withheld <n>
//! control <n>
//! tenant <name>                       left out when everybody's entries are opened
//! rendered custodia/<version>
//! <SHA-256 in hexadecimal>  <name>    for each file, as sha256sum writes it
//! ```
//! So `sha256sum --check MANIFEST` checks the files, and any reader of signed notes the signature.

use std::{
    fmt::Write as _,
    fs,
    io::{self, Read as _},
    path::Path,
};

use custodia_audit::{NOTE_BYTES_MAX, Note, NoteFault, Sha256, Signer, Vkey};

use super::{Counts, Digest, Summary};

/// The name of the manifest itself.
pub const MANIFEST_NAME: &str = "MANIFEST";
const MAGIC: &str = "custodia/export/v1";
/// The most files one manifest names.
const FILES_MAX: usize = 32;

/// A file of an export.
#[derive(Clone, Copy, Debug)]
pub struct File {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub digest: Digest,
}

/// The signed manifest; the signer is that of the first log.
///
/// # Errors
/// When the note cannot be signed.
pub fn manifest(summaries: &[Summary], files: &[File], signer: &Signer) -> Result<String, NoteFault> {
    let mut text = format!("{MAGIC}\n");
    for Summary { origin, first, end, size, counts, .. } in summaries {
        let Counts { opened, withheld, control, .. } = counts;
        write!(
            text,
            "{origin}\nrange {first} {end}\nsize {size}\nopened {opened}\nwithheld {withheld}\ncontrol {control}\n"
        )
        .ok();
    }
    if let Some(tenant) = summaries.first().and_then(|summary| summary.tenant.as_ref()) {
        writeln!(text, "tenant {tenant}").ok();
    }
    writeln!(text, "rendered custodia/{}", env!("CARGO_PKG_VERSION")).ok();
    for file in files {
        writeln!(text, "{}  {}", hex(&file.digest.sha256), file.name).ok();
    }
    signer.sign_note(&text)
}

/// What is wrong with a folder that should be an export.
#[derive(Debug, thiserror::Error)]
pub enum ManifestFault {
    /// A file cannot be read.
    #[error("{name} cannot be read")]
    Read {
        /// Which.
        name: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The manifest is not a note, or not signed by the key.
    #[error("the manifest is not signed by that key")]
    Signature,
    /// The manifest is signed and says something else.
    #[error("the signed note is not the manifest of an export")]
    Form,
    /// A file is not what the manifest says.
    #[error("{name} is not what the manifest says")]
    File {
        /// Which.
        name: String,
    },
}

/// Checks the manifest of a folder with a key, and each file it names; their names.
///
/// # Errors
/// [`ManifestFault`], at the first thing that does not hold.
pub fn check_folder(folder: &Path, key: &Vkey) -> Result<Vec<String>, ManifestFault> {
    let failed = |name: &str, source| ManifestFault::Read { name: name.to_owned(), source };
    let most = u64::try_from(NOTE_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    fs::File::open(folder.join(MANIFEST_NAME))
        .and_then(|file| file.take(most).read_to_end(&mut bytes))
        .map_err(|source| failed(MANIFEST_NAME, source))?;
    let note = Note::parse(&bytes).map_err(|_| ManifestFault::Signature)?;
    let verified = note.verify(std::slice::from_ref(key)).map_err(|_| ManifestFault::Signature)?;
    if verified.is_empty() {
        return Err(ManifestFault::Signature);
    }
    let mut lines = note.text().lines();
    if lines.next() != Some(MAGIC) || lines.next() != Some(key.name()) {
        return Err(ManifestFault::Form);
    }
    let named: Vec<(&str, &str)> = lines.filter_map(|line| line.split_once("  ")).collect();
    if named.is_empty() || named.len() > FILES_MAX {
        return Err(ManifestFault::Form);
    }
    for (sha256, name) in &named {
        // A name is one of this folder: the manifest must not lead elsewhere.
        if name.contains('/') || name.starts_with('.') {
            return Err(ManifestFault::Form);
        }
        let found = digest(&folder.join(name)).map_err(|source| failed(name, source))?;
        if hex(&found) != *sha256 {
            return Err(ManifestFault::File { name: (*name).to_owned() });
        }
    }
    Ok(named.iter().map(|(_, name)| (*name).to_owned()).collect())
}

fn digest(path: &Path) -> io::Result<[u8; 32]> {
    let (mut file, mut hash) = (fs::File::open(path)?, Sha256::new());
    let mut buffer = vec![0_u8; 65_536];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hash.finish()),
            count => hash.update(buffer.get(..count).unwrap_or_default()),
        }
    }
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
