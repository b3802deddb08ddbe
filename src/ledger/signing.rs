//! Who signs the next checkpoint: exactly the keys that signed the last one, as the locked head says.
//!
//! May import `seal`, `head`. Servers of one database read their keystores at different times, and from copies of
//! different age. So none of them asks its own copy which keys sign: the head does. A rotation begins and ends with an entry,
//! whose own checkpoint is the first that is signed as it says; whoever locks the head after it signs likewise, or not at all.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use custodia_audit::{Checkpoint, Control, Note, Signer, Vkey};
use tokio::sync::Mutex;

use super::head::Head;
use crate::seal::{Keystore, LogKeys};

/// How often the keystore's file is read anew at the most: a passphrase costs a tenth of a second.
const RELOAD_EVERY: Duration = Duration::from_secs(1);

/// Why nothing is signed over a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unsignable {
    #[error(
        "its checkpoint is not signed by keys of this keystore alone: after `custodia keys rotate-log` every server needs a \
         copy of the keystore"
    )]
    Keys,
    #[error("its head and its signed checkpoint differ")]
    Differs,
    #[error("the log's signing keys cannot be used")]
    Unusable,
    #[error("the key cannot begin or cease to sign now")]
    Turn,
}

/// The two steps of a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// The key that waits signs as well.
    Begin,
    /// The older of two signs no more.
    End,
}

/// The keys of one log, and where they come from.
pub(super) struct Signing {
    keystore: Arc<Keystore>,
    keys: LogKeys,
    reloaded: Mutex<Option<Instant>>,
}

impl Signing {
    pub(super) fn new(keystore: Arc<Keystore>, origin: &str) -> Self {
        let keys = keystore.log_keys(origin);
        Self { keystore, keys, reloaded: Mutex::default() }
    }

    pub(super) fn origin(&self) -> &str {
        self.keys.origin()
    }

    /// What signs the empty tree of a new log.
    pub(super) fn for_new_log(&self) -> Result<Signer, Unsignable> {
        self.keystore.log_secrets().for_new_log(self.keys.origin()).map_err(|_| Unsignable::Unusable)
    }

    /// What signs after this head. The keystore is read anew if it lacks a key.
    pub(super) async fn after(&self, head: &Head) -> Result<Arc<Signer>, Unsignable> {
        let signers = self.signers(&head.checkpoint).await?;
        let signed = Checkpoint::open(head.checkpoint.as_bytes(), self.keys.origin(), &signers.vkeys(), 0)
            .map_err(|_| Unsignable::Keys)?;
        if i64::try_from(signed.size) != Ok(head.size) || head.root != signed.root.0 {
            return Err(Unsignable::Differs);
        }
        Ok(Arc::new(signers))
    }

    /// Reads a checkpoint that one of this log's keys signed; the keystore is read anew if none of those known did.
    pub(super) async fn open(&self, note: &str) -> Result<Checkpoint, Unsignable> {
        let open = || Checkpoint::open(note.as_bytes(), self.keys.origin(), &self.keys.known(), 0);
        match open() {
            Ok(checkpoint) => Ok(checkpoint),
            Err(_) => {
                self.reload().await;
                open().map_err(|_| Unsignable::Keys)
            }
        }
    }

    /// The keys that made the signatures of a note of this log, to sign again.
    pub(super) async fn signers(&self, note: &str) -> Result<Signer, Unsignable> {
        if let Some(signer) = self.found(note)? {
            return Ok(signer);
        }
        self.reload().await;
        self.found(note)?.ok_or(Unsignable::Keys)
    }

    fn found(&self, note: &str) -> Result<Option<Signer>, Unsignable> {
        let (note, known) =
            (Note::parse(note.as_bytes()).map_err(|_| Unsignable::Differs)?, self.keys.known());
        let mut publics = Vec::new();
        for line in note.signatures().iter().filter(|line| line.name == self.keys.origin()) {
            let Some(key) = known.iter().find(|key| key.key_id() == line.key_id) else { return Ok(None) };
            publics.push(*key.public());
        }
        let secrets = self.keystore.log_secrets();
        secrets.with_publics(self.keys.origin(), &publics).map_err(|_| Unsignable::Unusable)
    }

    /// Takes a step of a rotation: who signs from here on, and the entry that says so.
    pub(super) fn turn(
        &self,
        signer: &Signer,
        turn: Turn,
        time_micros: i64,
    ) -> Result<(Signer, Control), Unsignable> {
        let (secrets, origin) = (self.keystore.log_secrets(), self.keys.origin());
        let first = secrets.first(origin).map_err(|_| Unsignable::Unusable)?;
        let next = secrets.next(origin).map_err(|_| Unsignable::Unusable)?.ok_or(Unsignable::Turn)?;
        let (old, new) = (first.vkey(), next.vkey());
        let signs: Vec<Vkey> = signer.vkeys();
        match turn {
            Turn::Begin if signs == [old.clone()] => {
                let (old_vkey, new_vkey) = (old.to_string(), new.to_string());
                Ok((first.with_newer(next), Control::KeyRotation { time_micros, old_vkey, new_vkey }))
            }
            Turn::End if signs == [old.clone(), new] => {
                Ok((next, Control::KeyRetirement { time_micros, vkey: old.to_string() }))
            }
            Turn::Begin | Turn::End => Err(Unsignable::Turn),
        }
    }

    /// Reads the keystore's file anew, away from the threads that serve. What cannot be read stays as it is.
    async fn reload(&self) {
        // Who comes while another reads waits for what that one reads.
        let mut reloaded = self.reloaded.lock().await;
        if reloaded.is_some_and(|at| at.elapsed() < RELOAD_EVERY) {
            return;
        }
        let keystore = Arc::clone(&self.keystore);
        let read = tokio::task::spawn_blocking(move || keystore.reload_log_keys()).await;
        match read {
            Ok(Ok(())) => tracing::info!(event = "log_keys_read"),
            Ok(Err(error)) => tracing::error!(event = "log_keys_not_read", error = error.to_string()),
            Err(_) => {}
        }
        *reloaded = Some(Instant::now());
    }
}
