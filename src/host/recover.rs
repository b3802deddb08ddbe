//! The two ways out when the database was put back to an earlier day.
//!
//! May import what `host` may. Both are for a server that does not run: each appends to the log once, and leaves everything
//! else to the next start, whose guard then finds nothing amiss.

use std::{
    fs,
    path::{Path, PathBuf},
};

use futures_util::FutureExt as _;

use custodia_audit::{Checkpoint, NOTE_BYTES_MAX, Note, POLICY_BYTES_MAX, Policy, Signer, Vkey};

use super::{
    Parts, StartError,
    database::{self, Presence},
    parts::{blocking, open_keystore},
};
use crate::{
    anchor::{Anchors, Mirror, MirrorError},
    clock::Clock,
    config::Config,
    durable::{self, Durable},
    ledger::{Link, RecoverError, Rolling, roll_forward},
    seal::{Keystore, LogKeys, LogSecrets},
    store::cluster::Progress,
};

/// Why nothing was recovered.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// The server's parts do not open.
    #[error(transparent)]
    Start(#[from] StartError),
    /// There is no mirror to roll forward from.
    #[error(
        "neither ledger.mirror nor the bucket has a checkpoint in it: there is nothing to roll forward from"
    )]
    NoMirror,
    /// The mirror cannot be relied on.
    #[error("the mirror")]
    Mirror(#[from] MirrorError),
    /// The log was not rolled forward.
    #[error("the log was not rolled forward")]
    Recover(#[from] RecoverError),
    /// The file is no checkpoint that a key of this keystore signed.
    #[error("{}: expected the last checkpoint of the old log, signed by a key of this keystore", .0.display())]
    NotACheckpoint(PathBuf),
    /// A thief may have signed it.
    #[error(
        "{}: after a theft of the key, only what the quorum of ledger.policy cosigned is to be continued",
        .0.display()
    )]
    NotCosigned(PathBuf),
    /// The last checkpoint is not in its file; the log is closed.
    #[error(
        "{}: the log is closed, and its last checkpoint could not be written there; ledger_head has it, and the mirror",
        .0.display()
    )]
    NotKept(PathBuf),
    /// The policy cannot be read.
    #[error("ledger.policy")]
    Policy,
    /// The mirror's checkpoint was signed with keys that are gone.
    #[error("the mirror's checkpoint was signed with keys whose secrets this keystore does not hold")]
    Keys,
    /// The new log has the name of the old one.
    #[error(
        "ledger.origin is still that of the old log: a new log wants a name and a ledger.shard of its own"
    )]
    SameOrigin,
}

/// What was recovered.
pub struct Recovered {
    /// Entries that the database held.
    pub before: u64,
    /// Entries that the mirror knew.
    pub anchored: u64,
}

/// Appends to the database's log what the mirror has and the database lost, and an entry that says so.
///
/// # Errors
/// [`RecoveryError`]; then nothing has changed.
pub async fn recover_forward(
    config: &Config,
    clock: &Clock,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Recovered, RecoveryError> {
    let keystore = open_keystore(config).await?;
    let keys = keystore.log_keys(config.origin());
    let anchors = Anchors::open(config, keys.clone(), Durable::shared()).map_err(StartError::from)?;
    let (mirror, note, anchored) = longest(&anchors).await?.ok_or(RecoveryError::NoMirror)?;
    let signer = signers(&keystore, &keys, &note)?.ok_or(RecoveryError::Keys)?;
    let reached = database::reach(config, Presence::Server, progress).await?;
    reached.migrate().await?;
    let node = clock.ordered_id().to_string();
    let rolling = Rolling {
        shard: config.ledger.shard,
        signer: &signer,
        known: &keys.known(),
        anchored: &anchored,
        node,
        now: clock.now(),
    };
    let size = anchored.size;
    let entries = |first, end| mirror.entries(first, end, size).boxed();
    let before = roll_forward(&reached.server, &rolling, entries).await;
    if let Some(cluster) = reached.cluster {
        cluster.stop().await.map_err(StartError::from)?;
    }
    Ok(Recovered { before: before?, anchored: anchored.size })
}

/// The mirror that knows most of the log, with its checkpoint.
async fn longest(anchors: &Anchors) -> Result<Option<(&Mirror, String, Checkpoint)>, RecoveryError> {
    let mut longest: Option<(&Mirror, String, Checkpoint)> = None;
    for mirror in anchors.mirrors() {
        let Some((note, checkpoint)) = mirror.checkpoint().await? else { continue };
        if longest.as_ref().is_none_or(|(_, _, known)| known.size < checkpoint.size) {
            longest = Some((mirror, note, checkpoint));
        }
    }
    Ok(longest)
}

/// The keys that signed the log's checkpoint `note`, as far as their secrets are left.
fn signers(keystore: &Keystore, keys: &LogKeys, note: &str) -> Result<Option<Signer>, RecoveryError> {
    let note = Note::parse(note.as_bytes()).map_err(|_| RecoveryError::Keys)?;
    let known = keys.known();
    let made = |key: &&Vkey| {
        note.signatures().iter().any(|line| (line.name.as_str(), line.key_id) == (key.name(), key.key_id()))
    };
    let publics: Vec<[u8; 32]> = known.iter().filter(made).map(|key| *key.public()).collect();
    let secrets = keystore.log_secrets();
    Ok(secrets.with_publics(keys.origin(), &publics).map_err(StartError::from)?)
}

/// Which key signs a log that is begun anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewLogKey {
    /// The one the old log was signed with.
    Same,
    /// A fresh one: somebody has stolen the old one, whose secret is destroyed here.
    Fresh,
}

/// Closes the configured log for good, as at a year's end: its last entry names the log that will continue it. Its last
/// checkpoint goes to `file`; with it, [`recover_anew`] begins the next.
///
/// If we crash after the entry, the log is closed; home, mirror and witnesses have its checkpoint, or the database alone.
///
/// # Errors
/// [`RecoveryError`].
pub async fn close_log(
    config: &Config,
    clock: &Clock,
    (next, file): (&str, &Path),
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<u64, RecoveryError> {
    let keystore = open_keystore(config).await?;
    // What can name a key can name a log.
    keystore.log_secrets().for_new_log(next).map_err(StartError::from)?;
    if next == config.origin() {
        return Err(RecoveryError::SameOrigin);
    }
    let parts = Parts::open(config, clock, Presence::Visitor, progress).await?;
    let closed = close(&parts, next, file).await;
    parts.close().await?;
    closed
}

async fn close(parts: &Parts, next: &str, file: &Path) -> Result<u64, RecoveryError> {
    parts.ledger.close(next.to_owned()).await.map_err(|down| StartError::Ledger(down.into()))?;
    // Mirror and witnesses have its last checkpoint before anybody needs it.
    parts.anchors.round(&parts.ledger).await;
    let read = parts.ledger.reader().checkpoint().await;
    let (note, head) = read.map_err(|error| StartError::Unanchored(error.into()))?;
    let cosigned = parts.anchors.cosigned().filter(|(_, cosigned)| *cosigned == head);
    let note = cosigned.map_or(note, |(note, _)| note);
    Durable::shared().put(file, note.as_bytes()).map_err(|_| RecoveryError::NotKept(file.to_owned()))?;
    Ok(head.size)
}

/// Begins the log that the configuration names, whose first entry commits to the last checkpoint of the old one, in `file`.
///
/// With a fresh key the order is: 1. the checkpoint is verified, cosignatures and all; 2. the keystore has the fresh key and
/// no other; 3. the new log begins. If we crash before 2 nothing has happened; before 3, the old log can be continued by
/// nobody, which is what is wanted, and the command may be given again.
///
/// # Errors
/// [`RecoveryError`]; then no entry was written.
pub async fn recover_anew(
    config: &Config,
    clock: &Clock,
    (file, key): (&Path, NewLogKey),
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Recovered, RecoveryError> {
    let unreadable = || RecoveryError::NotACheckpoint(file.to_owned());
    let keystore = open_keystore(config).await?;
    let note = durable::read(file, NOTE_BYTES_MAX).ok().flatten().ok_or_else(unreadable)?;
    let origin = note.split(|byte| *byte == b'\n').next().and_then(|line| std::str::from_utf8(line).ok());
    let origin = origin.ok_or_else(unreadable)?;
    if origin == config.origin() {
        return Err(RecoveryError::SameOrigin);
    }
    let known = keystore.log_keys(origin).known();
    let old = Checkpoint::open(&note, origin, &known, 0).map_err(|_| unreadable())?;
    if key == NewLogKey::Fresh {
        let policy = known.into_iter().fold(policy(config)?, Policy::with_log);
        policy.open(&note, origin).map_err(|_| RecoveryError::NotCosigned(file.to_owned()))?;
        blocking(move || keystore.change_log_keys(LogSecrets::start_anew)).await.map_err(StartError::from)?;
    }
    let link = Link { origin: old.origin, size: old.size, root: old.root.0 };
    let parts = Parts::open_as(config, clock, Presence::Server, progress, Some(link)).await?;
    parts.close().await?;
    Ok(Recovered { before: 0, anchored: old.size })
}

/// The witnesses and the quorum of the configuration; none when it names none.
fn policy(config: &Config) -> Result<Policy, RecoveryError> {
    let Some(path) = &config.ledger.policy else { return Ok(Policy::default()) };
    let bytes = fs::read(path).map_err(|_| RecoveryError::Policy)?;
    Policy::parse(bytes.get(..=POLICY_BYTES_MAX).unwrap_or(&bytes)).map_err(|_| RecoveryError::Policy)
}
