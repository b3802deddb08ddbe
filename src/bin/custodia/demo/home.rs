//! The demo's folder: certificates and passwords, made once, and demo.json, which says what runs.
//!
//! ```text
//! ca.pem  server.pem .key  importer.pem .key  registry.pem .key    certificates
//! demo-passwords.json                                              written last: with it, all of them are there
//! demo.json                                                        while a demo is ready
//! ```
//! All of it is readable by its owner alone.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use custodia::clock::Clock;
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use serde::Serialize;

use super::{
    certificates::{Authority, Holder},
    people::{PARTNERS, PEOPLE},
};

const PASSWORDS: &str = "demo-passwords.json";

/// Why the folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HomeError {
    /// A file or folder.
    #[error("{}", .0.display())]
    File(PathBuf, #[source] io::Error),
    /// A certificate cannot be made.
    #[error("a certificate")]
    Certificate(#[from] rcgen::Error),
    /// A file is not what was written there.
    #[error("{}: is not what the demo wrote there; remove the folder to begin again", .0.display())]
    Broken(PathBuf),
}

/// The folder.
pub(crate) struct Home {
    folder: PathBuf,
    passwords: BTreeMap<String, String>,
}

/// A certificate and its key, as paths.
#[derive(Serialize)]
pub(crate) struct Files {
    /// PEM.
    pub(crate) certificate: PathBuf,
    /// PEM, PKCS #8.
    pub(crate) key: PathBuf,
}

impl Home {
    /// Opens the folder, making what is missing.
    ///
    /// If we crash before the passwords are written, nobody has been registered with any of it: the next start
    /// makes everything again.
    pub(crate) fn open(folder: &Path, clock: &Clock) -> Result<Self, HomeError> {
        // PostgreSQL's account, when we are root, passes through to its data; it cannot list what else is here.
        DirBuilder::new()
            .recursive(true)
            .mode(0o711)
            .create(folder)
            .map_err(|error| HomeError::File(folder.to_owned(), error))?;
        let folder = fs::canonicalize(folder).map_err(|error| HomeError::File(folder.to_owned(), error))?;
        let path = folder.join(PASSWORDS);
        let passwords = match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|_| HomeError::Broken(path))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => make(&folder, clock)?,
            Err(error) => return Err(HomeError::File(path, error)),
        };
        Ok(Self { folder, passwords })
    }

    /// The folder itself, absolute.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The authority's certificate.
    pub(crate) fn ca(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// Certificate and key of `server` or of a partner.
    pub(crate) fn files(&self, name: &str) -> Files {
        Files {
            certificate: self.folder.join(format!("{name}.pem")),
            key: self.folder.join(format!("{name}.key")),
        }
    }

    /// A person's password.
    pub(crate) fn password(&self, name: &str) -> Result<&str, HomeError> {
        let password = self.passwords.get(name).map(String::as_str);
        password.ok_or_else(|| HomeError::Broken(self.folder.join(PASSWORDS)))
    }

    /// SHA-256 of a partner's certificate.
    pub(crate) fn thumbprint(&self, name: &str) -> Result<[u8; 32], HomeError> {
        let path = self.files(name).certificate;
        let der = CertificateDer::from_pem_file(&path).map_err(|_| HomeError::Broken(path))?;
        Ok(custodia_audit::sha256(&[&der]))
    }

    /// Bytes of a file.
    pub(crate) fn read(path: &Path) -> Result<Vec<u8>, HomeError> {
        fs::read(path).map_err(|error| HomeError::File(path.to_owned(), error))
    }

    /// Says what runs here, at once and whole.
    pub(crate) fn announce(&self, demo: &Demo) -> Result<PathBuf, HomeError> {
        let path = self.announced();
        let text = serde_json::to_vec_pretty(demo).map_err(|_| HomeError::Broken(path.clone()))?;
        write(&path, &text)?;
        Ok(path)
    }

    /// Takes back what an earlier demo announced.
    pub(crate) fn withdraw(&self) -> Result<(), HomeError> {
        let path = self.announced();
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(HomeError::File(path, error)),
            _ => Ok(()),
        }
    }

    fn announced(&self) -> PathBuf {
        self.folder.join("demo.json")
    }
}

/// demo.json: what runs, where, and how to get in.
#[derive(Serialize)]
pub(crate) struct Demo {
    pub(crate) portal: String,
    pub(crate) partners: String,
    pub(crate) ca: PathBuf,
    pub(crate) token: String,
    pub(crate) vkey: String,
    pub(crate) origin: String,
    pub(crate) users: BTreeMap<&'static str, User>,
    pub(crate) partner_files: BTreeMap<&'static str, Files>,
    pub(crate) database: String,
    pub(crate) database_owner: String,
    pub(crate) pid: u32,
    pub(crate) postgres_pid: u32,
    pub(crate) patients: Vec<String>,
}

/// Somebody who signs in.
#[derive(Serialize)]
pub(crate) struct User {
    pub(crate) username: &'static str,
    pub(crate) password: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) practitioner: Option<&'static str>,
}

/// Certificates first, passwords last.
fn make(folder: &Path, clock: &Clock) -> Result<BTreeMap<String, String>, HomeError> {
    let authority = Authority::new(clock)?;
    write(&folder.join("ca.pem"), authority.pem().as_bytes())?;
    let partners = PARTNERS.iter().map(|partner| (partner.name, Holder::Partner(partner.name)));
    for (name, holder) in partners.chain([("server", Holder::Server)]) {
        let identity = authority.issue(holder)?;
        write(&folder.join(format!("{name}.pem")), identity.certificate.as_bytes())?;
        write(&folder.join(format!("{name}.key")), identity.key.as_bytes())?;
    }
    // 122 random bits each, in characters that need no quoting in a shell or a form.
    let passwords: BTreeMap<String, String> = PEOPLE
        .iter()
        .map(|person| (person.name.to_owned(), clock.random_id().simple().to_string()))
        .collect();
    let path = folder.join(PASSWORDS);
    let text = serde_json::to_vec(&passwords).map_err(|_| HomeError::Broken(path.clone()))?;
    write(&path, &text)?;
    Ok(passwords)
}

/// Writes beside the file and renames, for the owner's eyes alone.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), HomeError> {
    let unfinished = path.with_extension("unfinished");
    let work = || {
        let mut file =
            File::options().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&unfinished, path)
    };
    work().map_err(|error| HomeError::File(path.to_owned(), error))
}
