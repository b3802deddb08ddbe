//! A witness: cosigns each checkpoint that continues the last one it saw, and no other (c2sp.org/tlog-witness).
//!
//! May import `clock` and `durable`. It needs no database and no key of the house: somebody else should run it. What it
//! judges by is `custodia_audit::witness`. Order of an answer, which is the design: 1. read what was cosigned last; 2. judge;
//! 3. cosign; 4. put the cosigned checkpoint on disk; 5. answer. If we crash before 4 nothing was promised; between 4 and
//! 5 the log is told the new size by the next 409 and goes on from there. One request at a time: two that are judged
//! against the same last checkpoint could each be consistent with it and not with each other.
//!
//! ```text
//! <folder>/key                       name LF base64(seed[32]) LF, for its owner's eyes
//! <folder>/<hex SHA-256(origin)>     the last checkpoint with the log's signatures and ours
//! ```

mod server;

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use custodia_audit::{
    Checkpoint, Cosigner, NOTE_BYTES_MAX, Note, Policy, Vkey,
    witness::{AddCheckpoint, Refused, judge, origin_hash, origin_of},
};

pub use server::{Running, ServeError, TlsFiles, serve};

use crate::{
    clock::Clock,
    durable::{self, Durable},
};

/// The longest key file.
const KEY_BYTES_MAX: usize = 1_024;

/// Why a witness does not start.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// A file cannot be read or written.
    #[error("{}", .0.display())]
    File(PathBuf, #[source] io::Error),
    /// There is no key.
    #[error("{}: there is no key; make one with `custodia witness keys`", .0.display())]
    NoKey(PathBuf),
    /// There is a key already.
    #[error("{}: there is a key already, and a witness keeps its key", .0.display())]
    KeyExists(PathBuf),
    /// The key file does not hold a key.
    #[error("{}: expected a name and the base64 of 32 bytes", .0.display())]
    NotAKey(PathBuf),
    /// The name or the key cannot be used.
    #[error("the witness's name or key")]
    Key(#[from] custodia_audit::KeyFault),
}

/// Makes a key in `folder` from a fresh seed, never over one that is there.
///
/// # Errors
/// [`WitnessError`].
pub fn create_key(folder: &Path, name: &str, seed: &[u8; 32]) -> Result<Vkey, WitnessError> {
    let path = folder.join("key");
    if path.exists() {
        return Err(WitnessError::KeyExists(path));
    }
    let vkey = Cosigner::from_seed(name, seed)?.vkey();
    let text = format!("{name}\n{}\n", STANDARD.encode(seed));
    Durable::private().put(&path, text.as_bytes()).map_err(|error| WitnessError::File(path, error))?;
    Ok(vkey)
}

/// The key in `folder`.
///
/// # Errors
/// [`WitnessError`].
pub fn open_key(folder: &Path) -> Result<Cosigner, WitnessError> {
    let path = folder.join("key");
    let bytes =
        durable::read(&path, KEY_BYTES_MAX).map_err(|error| WitnessError::File(path.clone(), error))?;
    let text = bytes.ok_or_else(|| WitnessError::NoKey(path.clone()))?;
    let parse = || {
        let (name, seed) = std::str::from_utf8(&text).ok()?.strip_suffix('\n')?.split_once('\n')?;
        Some((name.to_owned(), <[u8; 32]>::try_from(STANDARD.decode(seed).ok()?).ok()?))
    };
    let (name, seed) = parse().ok_or(WitnessError::NotAKey(path))?;
    Ok(Cosigner::from_seed(&name, &seed)?)
}

/// Why a request is not answered with a cosignature.
#[derive(Debug, thiserror::Error)]
pub enum Unsigned {
    /// The protocol says no.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// What was cosigned last cannot be read, or the new checkpoint is not known to be on disk.
    #[error("the witness's state")]
    State(#[from] io::Error),
}

/// A witness and what it has seen.
pub struct Witness {
    cosigner: Cosigner,
    known: Policy,
    folder: PathBuf,
    durable: Durable,
    clock: Clock,
    /// The last checkpoint of each log, as far as it is known to be what the disk has.
    seen: Mutex<HashMap<String, Option<Checkpoint>>>,
}

impl Witness {
    /// A witness of the logs whose keys are `logs`, which keeps its state in `folder`.
    #[must_use]
    pub fn new(folder: &Path, cosigner: Cosigner, logs: &[Vkey], durable: Durable, clock: Clock) -> Self {
        let known = Policy::of_keys(logs, 0);
        Self { cosigner, known, folder: folder.to_owned(), durable, clock, seen: Mutex::default() }
    }

    /// The key that verifies its cosignatures.
    #[must_use]
    pub fn vkey(&self) -> Vkey {
        self.cosigner.vkey()
    }

    /// Judges the body of an `add-checkpoint`; the signature line to answer with. Waits for the disk.
    ///
    /// # Errors
    /// [`Unsigned`].
    pub fn add_checkpoint(&self, body: &[u8]) -> Result<String, Unsigned> {
        let request = AddCheckpoint::parse(body).ok_or(Refused::Malformed)?;
        let origin = origin_of(&request).ok_or(Refused::Malformed)?.to_owned();
        if !self.known.logs().iter().any(|log| log.vkey.name() == origin) {
            return Err(Refused::UnknownLog.into());
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // Taken out, and put back only when we know what the disk has: after an error it is read again.
        let latest = match seen.remove(&origin) {
            Some(latest) => latest,
            None => self.read(&origin)?,
        };
        let judged = judge(&request, &self.known, latest.as_ref());
        let checkpoint = match judged {
            Ok(checkpoint) => checkpoint,
            Err(refused) => {
                seen.insert(origin, latest);
                return Err(refused.into());
            }
        };
        let seconds = u64::try_from(self.clock.now().timestamp()).unwrap_or_default();
        let line = self.cosigner.cosign(&checkpoint, seconds).map_err(|_| Refused::Malformed)?;
        let note = format!("{}{line}", self.signed_by_log(&request, &origin)?);
        // INVARIANT: no answer before this (`a_witness_answers_nothing_that_its_disk_may_not_have`).
        self.durable.put(&self.path(&origin), note.as_bytes())?;
        seen.insert(origin, Some(checkpoint));
        Ok(line)
    }

    /// The last checkpoint of the log whose origin has this hash, cosigned; `None` if there is none.
    ///
    /// # Errors
    /// What the system says.
    pub fn checkpoint(&self, hash: &str) -> io::Result<Option<Vec<u8>>> {
        let known = self.known.logs().iter().map(|log| log.vkey.name());
        match known.into_iter().find(|origin| origin_hash(origin) == hash) {
            Some(origin) => durable::read(&self.path(origin), NOTE_BYTES_MAX),
            None => Ok(None),
        }
    }

    fn path(&self, origin: &str) -> PathBuf {
        self.folder.join(origin_hash(origin))
    }

    /// The request's checkpoint with those signatures that are the log's: others would be stored unseen.
    fn signed_by_log(&self, request: &AddCheckpoint, origin: &str) -> Result<String, Refused> {
        let note = Note::parse(request.checkpoint.as_bytes()).map_err(|_| Refused::Malformed)?;
        let keys = self.known.keys(origin);
        let is_log =
            |name: &str, id: [u8; 4]| keys.iter().any(|key| key.name() == name && key.key_id() == id);
        let lines = note.signatures().iter().filter(|line| is_log(&line.name, line.key_id));
        let lines: String = lines.map(custodia_audit::NoteSignature::to_line).collect();
        Ok(format!("{}\n{lines}", note.text()))
    }

    /// What the disk says was cosigned last. A file that we did not sign stops this log's witnessing.
    fn read(&self, origin: &str) -> io::Result<Option<Checkpoint>> {
        let Some(note) = durable::read(&self.path(origin), NOTE_BYTES_MAX)? else { return Ok(None) };
        // Our own signature vouches for it: the log may have changed its key since, and we been told of the new one alone.
        let opened = Note::parse(&note).ok().and_then(|note| {
            note.verify(&[self.cosigner.vkey()]).ok()?;
            Checkpoint::parse(note.text()).ok().filter(|checkpoint| checkpoint.origin == origin)
        });
        let broken =
            || io::Error::new(io::ErrorKind::InvalidData, "the state is not what this witness wrote");
        opened.map(Some).ok_or_else(broken)
    }
}

#[cfg(test)]
mod tests;
