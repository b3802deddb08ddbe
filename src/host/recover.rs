//! The two ways out when the database was put back to an earlier day.
//!
//! May import what `host` may. Both are for a server that does not run: each appends to the log once, and leaves everything
//! else to the next start, whose guard then finds nothing amiss.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use custodia_audit::{Checkpoint, KeyKind, NOTE_BYTES_MAX, Signer, Vkey};

use super::{
    Parts, StartError,
    database::{self, Presence},
    parts::open_keystore,
};
use crate::{
    anchor::{Anchors, MirrorError},
    clock::Clock,
    config::Config,
    durable::{self, Durable},
    ledger::{Link, RecoverError, Rolling, roll_forward},
    store::cluster::Progress,
};

/// Why nothing was recovered.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// The server's parts do not open.
    #[error(transparent)]
    Start(#[from] StartError),
    /// There is no mirror to roll forward from.
    #[error("ledger.mirror names no folder with a checkpoint in it: there is nothing to roll forward from")]
    NoMirror,
    /// The mirror cannot be relied on.
    #[error("the mirror")]
    Mirror(#[from] MirrorError),
    /// The log was not rolled forward.
    #[error("the log was not rolled forward")]
    Recover(#[from] RecoverError),
    /// The file is no checkpoint that this keystore's key signed.
    #[error("{}: expected the last checkpoint of the old log, signed by this keystore's key", .0.display())]
    NotACheckpoint(PathBuf),
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
    let signer = Signer::from_pkcs8(config.origin(), keystore.log_key()).map_err(StartError::from)?;
    let anchors = Anchors::open(config, signer.vkey(), Durable::shared()).map_err(StartError::from)?;
    let mirror = anchors.mirror().ok_or(RecoveryError::NoMirror)?;
    let (_, anchored) = mirror.checkpoint()?.ok_or(RecoveryError::NoMirror)?;
    let reached = database::reach(config, Presence::Server, progress).await?;
    reached.migrate().await?;
    let node = clock.ordered_id().to_string();
    let rolling =
        Rolling { shard: config.ledger.shard, signer: &signer, anchored: &anchored, node, now: clock.now() };
    let entries = |first, end| mirror.entries(first, end, anchored.size);
    let before = roll_forward(&reached.server, &rolling, entries).await;
    if let Some(cluster) = reached.cluster {
        cluster.stop().await.map_err(StartError::from)?;
    }
    Ok(Recovered { before: before?, anchored: anchored.size })
}

/// Begins the log that the configuration names, whose first entry commits to the last checkpoint of the old one, in `file`.
///
/// # Errors
/// [`RecoveryError`]; then no entry was written.
pub async fn recover_anew(
    config: &Config,
    clock: &Clock,
    file: &Path,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Recovered, RecoveryError> {
    let unreadable = || RecoveryError::NotACheckpoint(file.to_owned());
    let keystore = Arc::new(open_keystore(config).await?);
    let signer = Signer::from_pkcs8(config.origin(), keystore.log_key()).map_err(StartError::from)?;
    let note = durable::read(file, NOTE_BYTES_MAX).ok().flatten().ok_or_else(unreadable)?;
    let origin = note.split(|byte| *byte == b'\n').next().and_then(|line| std::str::from_utf8(line).ok());
    let origin = origin.ok_or_else(unreadable)?;
    if origin == config.origin() {
        return Err(RecoveryError::SameOrigin);
    }
    let key = Vkey::new(origin, KeyKind::Ed25519, *signer.vkey().public()).map_err(|_| unreadable())?;
    let old = Checkpoint::open(&note, origin, &[key], 0).map_err(|_| unreadable())?;
    let link = Link { origin: old.origin, size: old.size, root: old.root.0 };
    let parts = Parts::open_as(config, clock, Presence::Server, progress, Some(link)).await?;
    parts.close().await?;
    Ok(Recovered { before: 0, anchored: old.size })
}
