//! The local keystore: root epochs, the house key and the signing keys in one sealed file.
//!
//! It is the key management service of the house: whoever needs a key asks here, for records and for the log alike.
//! The log's keys change while the house stands (`seal/log_keys.rs`); the others are read once.
//!
//! The file is JSON: `format`, `protection` (how its own key is had) and `sealed` (base64 of an envelope over
//! the JSON of the keys). It is written whole: temporary file, fsync, rename, fsync of the folder. If we crash
//! before the rename the old file stands; after it, the new one.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::{
    rand::{SecureRandom, SystemRandom},
    signature::Ed25519KeyPair,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::{Zeroize, Zeroizing};

use super::{
    envelope::{Binding, Compression, Content, NamedKey, SealError, Sealed},
    keyring::KeyError,
    log_keys::{LogKeys, LogSecrets, NextKey},
};
use crate::tenant::TenantId;

const FORMAT: &str = "custodia-keystore/1";

/// Why a keystore cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum KeystoreError {
    /// Reading or writing a file failed.
    #[error("cannot use {path}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// There is one already.
    #[error("{0} exists already; a keystore is never overwritten")]
    Exists(PathBuf),
    /// Not a keystore file.
    #[error("{0} is not a keystore of format custodia-keystore/1")]
    Form(PathBuf),
    /// Wrong passphrase or key file, or the file was changed.
    #[error("{0} does not open: wrong passphrase or key file, or it was changed")]
    Locked(PathBuf),
    /// It needs a passphrase or a key file that was not given.
    #[error("the keystore is protected by a {0}, which was not given")]
    Missing(&'static str),
    /// The log's keys cannot be changed so.
    #[error("{0}")]
    Rotation(&'static str),
    /// A primitive failed.
    #[error("the cryptographic library failed")]
    Crypto,
}

impl From<SealError> for KeystoreError {
    fn from(_: SealError) -> Self {
        Self::Crypto
    }
}

/// What opens the keystore file.
#[derive(Clone)]
pub enum Protection {
    /// 32 random bytes (base64) in a file of their own, mode 0600, kept apart from the keystore.
    KeyFile(PathBuf),
    /// A passphrase, through argon2id (m = 64 MiB, t = 3, p = 1).
    Passphrase(Zeroizing<String>),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: String,
    protection: FileProtection,
    sealed: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileProtection {
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    salt: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    epochs: Vec<Epoch>,
    house: [u8; 32],
    /// The log's key. Until there is a second one the file is as it always was.
    log: Vec<u8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    log_next: Option<NextKey>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    log_retired: Vec<[u8; 32]>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    log_anew: Option<String>,
    tokens: Vec<u8>,
}

impl Contents {
    fn log_secrets(&self) -> LogSecrets {
        LogSecrets {
            first: self.log.clone(),
            next: self.log_next.clone(),
            retired: self.log_retired.clone(),
            anew: self.log_anew.clone(),
        }
    }

    fn keep(&mut self, log: &LogSecrets) {
        self.log.zeroize();
        self.log.clone_from(&log.first);
        self.log_next.clone_from(&log.next);
        self.log_retired.clone_from(&log.retired);
        self.log_anew.clone_from(&log.anew);
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Epoch {
    number: i32,
    key: [u8; 32],
}

impl Drop for Contents {
    fn drop(&mut self) {
        for epoch in &mut self.epochs {
            epoch.key.zeroize();
        }
        self.house.zeroize();
        self.log.zeroize();
        self.tokens.zeroize();
    }
}

/// The opened keystore: the key management service of this house.
pub struct Keystore {
    contents: Contents,
    /// The log's keys as they were last read.
    log: ArcSwap<LogSecrets>,
    known: Arc<ArcSwap<Vec<[u8; 32]>>>,
    path: PathBuf,
    protection: Protection,
}

impl Keystore {
    /// Makes a keystore with its first root epoch and fresh signing keys.
    ///
    /// # Errors
    /// [`KeystoreError`] when the file exists or cannot be written.
    pub fn create(path: &Path, protection: &Protection) -> Result<Self, KeystoreError> {
        if path.exists() {
            return Err(KeystoreError::Exists(path.to_owned()));
        }
        let random = SystemRandom::new();
        let pkcs8 = || Ed25519KeyPair::generate_pkcs8(&random).map_err(|_| KeystoreError::Crypto);
        let contents = Contents {
            epochs: vec![Epoch { number: 1, key: bytes(&random)? }],
            house: bytes(&random)?,
            log: pkcs8()?.as_ref().to_vec(),
            log_next: None,
            log_retired: Vec::new(),
            log_anew: None,
            tokens: pkcs8()?.as_ref().to_vec(),
        };
        let (kind, salt) = match protection {
            Protection::KeyFile(key) => {
                if !key.exists() {
                    write_whole(key, STANDARD.encode(bytes(&random)?).as_bytes())?;
                }
                ("key-file", None)
            }
            Protection::Passphrase(_) => ("passphrase", Some(STANDARD.encode(bytes(&random)?))),
        };
        write(path, protection, FileProtection { kind: kind.to_owned(), salt }, &contents)?;
        Ok(Self::of(contents, path, protection))
    }

    fn of(contents: Contents, path: &Path, protection: &Protection) -> Self {
        let log = contents.log_secrets();
        let known = Arc::new(ArcSwap::from_pointee(log.known()));
        Self {
            contents,
            log: ArcSwap::from_pointee(log),
            known,
            path: path.to_owned(),
            protection: protection.clone(),
        }
    }

    /// Opens a keystore file.
    ///
    /// # Errors
    /// [`KeystoreError`] when it cannot be read or does not open.
    pub fn open(path: &Path, protection: &Protection) -> Result<Self, KeystoreError> {
        let (contents, _) = read(path, protection)?;
        Ok(Self::of(contents, path, protection))
    }

    /// Reads the log's keys anew: another process may have changed them. Waits for the disk, and as long as a passphrase takes.
    ///
    /// # Errors
    /// [`KeystoreError`] when the file cannot be read or does not open; then nothing has changed.
    pub fn reload_log_keys(&self) -> Result<(), KeystoreError> {
        let (contents, _) = read(&self.path, &self.protection)?;
        self.adopt(contents.log_secrets());
        Ok(())
    }

    /// Changes the log's keys in the file, whole or not at all, and then here. Other processes wait their turn.
    ///
    /// # Errors
    /// What `change` says, or [`KeystoreError`]; then nothing has changed.
    pub fn change_log_keys<T>(
        &self,
        change: impl FnOnce(&mut LogSecrets) -> Result<T, KeystoreError>,
    ) -> Result<T, KeystoreError> {
        let lock = self.path.with_extension("lock");
        let io = |source| KeystoreError::Io { path: lock.clone(), source };
        let held = fs::File::create(&lock).map_err(io)?;
        held.lock().map_err(io)?;
        let (mut contents, protected) = read(&self.path, &self.protection)?;
        let mut log = contents.log_secrets();
        let done = change(&mut log)?;
        contents.keep(&log);
        write(&self.path, &self.protection, protected, &contents)?;
        self.adopt(log);
        Ok(done)
    }

    fn adopt(&self, log: LogSecrets) {
        self.known.store(Arc::new(log.known()));
        self.log.store(Arc::new(log));
    }

    /// The log's secret keys as they were last read.
    #[must_use]
    pub fn log_secrets(&self) -> Arc<LogSecrets> {
        self.log.load_full()
    }

    /// The public keys of the log `origin`: those that sign or will, and those that did. They are always as they were last
    /// read.
    #[must_use]
    pub fn log_keys(&self, origin: &str) -> LogKeys {
        LogKeys::new(origin, Arc::clone(&self.known))
    }

    /// Wraps a tenant key under the newest root epoch.
    pub(super) fn wrap(&self, tenant: TenantId, key: &[u8; 32]) -> Result<(i32, Sealed), KeyError> {
        let epoch = self.contents.epochs.iter().max_by_key(|e| e.number).ok_or(KeyError::UnknownEpoch(0))?;
        let sealed =
            root(epoch).seal(Content::Key, Compression::None, &tenant_binding(tenant, epoch.number), key)?;
        Ok((epoch.number, sealed))
    }

    /// Unwraps a tenant key.
    pub(super) fn unwrap(
        &self,
        tenant: TenantId,
        epoch: i32,
        wrapped: &Sealed,
    ) -> Result<Zeroizing<[u8; 32]>, KeyError> {
        let found =
            self.contents.epochs.iter().find(|e| e.number == epoch).ok_or(KeyError::UnknownEpoch(epoch))?;
        let plain = root(found)
            .open(Content::Key, &tenant_binding(tenant, epoch), wrapped)
            .map_err(KeyError::Wrapped)?;
        let key = plain.as_slice().try_into().map_err(|_| KeyError::Wrapped(super::OpenError::Plaintext))?;
        Ok(Zeroizing::new(key))
    }

    pub(super) const fn house_key(&self) -> &[u8; 32] {
        &self.contents.house
    }

    /// The token endpoint's Ed25519 signing key (PKCS#8).
    #[must_use]
    pub fn token_key(&self) -> &[u8] {
        &self.contents.tokens
    }
}

fn read(path: &Path, protection: &Protection) -> Result<(Contents, FileProtection), KeystoreError> {
    let form = || KeystoreError::Form(path.to_owned());
    let text = fs::read(path).map_err(|source| KeystoreError::Io { path: path.to_owned(), source })?;
    let file: File = serde_json::from_slice(&text).map_err(|_| form())?;
    if file.format != FORMAT {
        return Err(form());
    }
    let key = protecting_key(&file.protection, protection)?;
    let sealed = STANDARD.decode(&file.sealed).map_err(|_| form())?;
    let sealed = Sealed::from_stored(sealed).map_err(|_| form())?;
    let plain = key
        .open(Content::Keystore, &binding(), &sealed)
        .map_err(|_| KeystoreError::Locked(path.to_owned()))?;
    Ok((serde_json::from_slice(&plain).map_err(|_| form())?, file.protection))
}

fn write(
    path: &Path,
    protection: &Protection,
    protected: FileProtection,
    contents: &Contents,
) -> Result<(), KeystoreError> {
    let key = protecting_key(&protected, protection)?;
    let plain = Zeroizing::new(serde_json::to_vec(contents).map_err(|_| KeystoreError::Crypto)?);
    let sealed = key.seal(Content::Keystore, Compression::None, &binding(), &plain)?;
    let sealed = STANDARD.encode(sealed.as_bytes());
    let file = File { format: FORMAT.to_owned(), protection: protected, sealed };
    write_whole(path, &serde_json::to_vec_pretty(&file).map_err(|_| KeystoreError::Crypto)?)
}

fn bytes(random: &SystemRandom) -> Result<[u8; 32], KeystoreError> {
    let mut out = [0; 32];
    random.fill(&mut out).map_err(|_| KeystoreError::Crypto)?;
    Ok(out)
}

fn root(epoch: &Epoch) -> NamedKey {
    NamedKey {
        id: Uuid::from_u128(u128::from(epoch.number.unsigned_abs())),
        version: 1,
        key: Zeroizing::new(epoch.key),
    }
}

fn binding() -> Binding {
    Binding::new(&[FORMAT.as_bytes()])
}

fn tenant_binding(tenant: TenantId, epoch: i32) -> Binding {
    Binding::new(&[b"tenant-key", &tenant.0.to_be_bytes(), &epoch.to_be_bytes()])
}

/// The key that seals the file itself.
fn protecting_key(file: &FileProtection, given: &Protection) -> Result<NamedKey, KeystoreError> {
    let mut key = Zeroizing::new([0_u8; 32]);
    match (file.kind.as_str(), given) {
        ("key-file", Protection::KeyFile(path)) => {
            let text = Zeroizing::new(
                fs::read(path).map_err(|source| KeystoreError::Io { path: path.clone(), source })?,
            );
            let raw = Zeroizing::new(
                STANDARD.decode(text.trim_ascii()).map_err(|_| KeystoreError::Locked(path.clone()))?,
            );
            let raw: [u8; 32] = raw.as_slice().try_into().map_err(|_| KeystoreError::Locked(path.clone()))?;
            key.copy_from_slice(&raw);
        }
        ("passphrase", Protection::Passphrase(phrase)) => {
            let salt =
                file.salt.as_deref().and_then(|s| STANDARD.decode(s).ok()).ok_or(KeystoreError::Crypto)?;
            let params = argon2::Params::new(64 << 10, 3, 1, Some(32)).map_err(|_| KeystoreError::Crypto)?;
            argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params)
                .hash_password_into(phrase.as_bytes(), &salt, key.as_mut_slice())
                .map_err(|_| KeystoreError::Crypto)?;
        }
        ("key-file", _) => return Err(KeystoreError::Missing("key file")),
        _ => return Err(KeystoreError::Missing("passphrase")),
    }
    Ok(NamedKey { id: Uuid::nil(), version: 1, key })
}

/// Writes a file so that a crash leaves the old or the new one, readable by its owner only.
fn write_whole(path: &Path, content: &[u8]) -> Result<(), KeystoreError> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let io = |source| KeystoreError::Io { path: path.to_owned(), source };
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(io)?;
    let temporary = path.with_extension("new");
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .map_err(io)?;
    file.write_all(content).map_err(io)?;
    file.sync_all().map_err(io)?;
    fs::rename(&temporary, path).map_err(io)?;
    fs::File::open(folder).and_then(|f| f.sync_all()).map_err(io)
}
