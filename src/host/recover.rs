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
    anchor::{Anchors, LogAnchors, Mirror, MirrorError},
    clock::Clock,
    config::{Config, SHARDS_MAX, origin_of},
    durable::{self, Durable},
    ledger::{Link, Purpose, RecoverError, Rolling, roll_forward, side_by_side},
    seal::{Keystore, LogKeys},
    store::{Database, cluster::Progress},
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
    /// Fewer new logs than old ones.
    #[error(
        "there were {0} logs side by side, and each is continued: ledger.shards is to be that number at least"
    )]
    FewerLogs(i16),
    /// Nobody says how many old logs there were.
    #[error(
        "this database does not have the log {0}: say with --logs how many logs were written side by side (1 if it was alone)"
    )]
    Uncounted(String),
    /// The database knows of more.
    #[error(
        "{0} logs were written side by side, as this database says, and no fewer: each of them is continued"
    )]
    Miscounted(i16),
    /// A checkpoint is missing.
    #[error("{} is not there: of {} logs that were written side by side each is continued", .0.display(), .1)]
    Missing(PathBuf, i16),
    /// There is a checkpoint too many.
    #[error("{} is there, and there were {} logs side by side: were there more? Then say so with --logs", .0.display(), .1)]
    Surplus(PathBuf, i16),
    /// A checkpoint stands in the place of another.
    #[error("{}: expected the last checkpoint of the log {}", .0.display(), .1)]
    Misplaced(PathBuf, String),
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
/// [`RecoveryError`]; then the log that it arose in has not changed, and of several side by side those before it may be done.
pub async fn recover_forward(
    config: &Config,
    clock: &Clock,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Recovered, RecoveryError> {
    let keystore = open_keystore(config).await?;
    let anchors = Anchors::open(config, &keystore, &Durable::shared()).map_err(StartError::from)?;
    let mut known = Vec::new();
    for log in anchors.logs() {
        known.push((log.origin(), longest(log).await?));
    }
    if known.iter().all(|(_, longest)| longest.is_none()) {
        return Err(RecoveryError::NoMirror);
    }
    let reached = database::reach(config, Presence::Server, progress).await?;
    reached.migrate().await?;
    let done = forward(config, clock, (&keystore, &reached.server), known).await;
    if let Some(cluster) = reached.cluster {
        cluster.stop().await.map_err(StartError::from)?;
    }
    done
}

/// A mirror with its checkpoint.
type Longest<'a> = Option<(&'a Mirror, String, Checkpoint)>;

/// Log by log, each in a transaction of its own: one that lacks nothing, or was never mirrored, is left as it is. If we crash
/// between two, the same command does what is missing.
async fn forward(
    config: &Config,
    clock: &Clock,
    (keystore, database): (&Keystore, &Database),
    known: Vec<(&str, Longest<'_>)>,
) -> Result<Recovered, RecoveryError> {
    let (mut all, mut nothing) = (Recovered { before: 0, anchored: 0 }, None);
    let mut is_done = false;
    for ((origin, longest), shard) in known.into_iter().zip(config.ledger.shard..) {
        let Some((mirror, note, anchored)) = longest else { continue };
        let keys = keystore.log_keys(origin);
        let signer = signers(keystore, &keys, &note)?.ok_or(RecoveryError::Keys)?;
        let (node, now) = (clock.ordered_id().to_string(), clock.now());
        let known = keys.known();
        let heads = config.ledger.shard..config.ledger.shard.saturating_add(config.ledger.shards);
        let rolling =
            Rolling { shard, heads, signer: &signer, known: &known, anchored: &anchored, node, now };
        let size = anchored.size;
        let entries = |first, end| mirror.entries(first, end, size).boxed();
        match roll_forward(database, &rolling, entries).await {
            Ok(before) => {
                is_done = true;
                all.before += before;
                all.anchored += size;
            }
            Err(why @ RecoverError::Nothing { .. }) => nothing = Some(why),
            Err(why) => return Err(why.into()),
        }
    }
    match nothing {
        Some(why) if !is_done => Err(why.into()),
        _ => Ok(all),
    }
}

/// The mirror that knows most of the log, with its checkpoint.
async fn longest(anchors: &LogAnchors) -> Result<Longest<'_>, RecoveryError> {
    let mut longest: Longest<'_> = None;
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

/// What was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed {
    /// How many logs.
    pub logs: i16,
    /// Entries of all of them.
    pub entries: u64,
}

/// Closes the configured log for good, as at a year's end: its last entry names the log that will continue it. Its last
/// checkpoint goes to `file`; with it, [`recover_anew`] begins the next. Of logs that are written side by side all are closed,
/// in one transaction, the checkpoints of the others beside it, with a dot and their number behind the name.
///
/// If we crash before the commit nothing has happened. After it home, mirror and witnesses may lack the last checkpoints, and
/// files may be missing: the same command, given again, brings both up and appends nothing.
///
/// # Errors
/// [`RecoveryError`].
pub async fn close_log(
    config: &Config,
    clock: &Clock,
    (next, file): (&str, &Path),
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Closed, RecoveryError> {
    let keystore = open_keystore(config).await?;
    // What can name a key can name a log.
    keystore.log_secrets().for_new_log(next).map_err(StartError::from)?;
    let theirs: Vec<String> = (0..config.ledger.shards).map(|shard| origin_of(next, shard)).collect();
    if config.origins().any(|origin| theirs.contains(&origin)) {
        return Err(RecoveryError::SameOrigin);
    }
    let purpose = Purpose::Close(next.to_owned());
    let parts = Parts::open_as(config, clock, Presence::Visitor, progress, &purpose).await?;
    let kept = keep(&parts, file).await;
    parts.close().await?;
    Ok(Closed { logs: config.ledger.shards, entries: kept? })
}

/// Keeps the last checkpoints of logs that are closed; how many entries they have.
async fn keep(parts: &Parts, file: &Path) -> Result<u64, RecoveryError> {
    // Mirrors and witnesses have their last checkpoints before anybody needs them.
    parts.anchors.round(&parts.ledger).await;
    let mut entries = 0;
    for shard in parts.ledger.shards() {
        let read = shard.reader().checkpoint().await;
        let (note, head) = read.map_err(|error| StartError::Unanchored(error.into()))?;
        let cosigned = parts.anchors.of(shard.origin()).and_then(LogAnchors::cosigned);
        let note = cosigned.filter(|(_, cosigned)| *cosigned == head).map_or(note, |(note, _)| note);
        let file = beside(file, shard.number());
        Durable::shared().put(&file, note.as_bytes()).map_err(|_| RecoveryError::NotKept(file))?;
        entries += head.size;
    }
    Ok(entries)
}

/// The file of one of the logs that are written side by side.
pub(super) fn beside(file: &Path, shard: i16) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    if shard > 0 {
        name.push(format!(".{shard}"));
    }
    name.into()
}

/// What new logs continue.
#[derive(Clone, Copy, Debug)]
pub struct Continued<'a> {
    /// The last checkpoint of the old log; of several side by side the first, the others beside it as [`close_log`] leaves them.
    pub file: &'a Path,
    /// How many old logs there were, where the database does not have them, or is of a day when there were fewer.
    pub logs: Option<i16>,
    /// Which key signs the new ones.
    pub key: NewLogKey,
}

/// Begins the log that the configuration names, whose first entry commits to the last checkpoint of the old one. Where the old
/// one was several side by side, each is continued by the new one of its number, all of them in one transaction; there are at
/// least as many new ones.
///
/// With a fresh key the order is: 1. the checkpoints are verified, cosignatures and all; 2. the keystore has the fresh key and
/// no other; 3. the new logs begin. If we crash before 2 nothing has happened; before 3, the old log can be continued by
/// nobody, which is what is wanted. The command may be given again at any time: the key is made once, each log begun once.
///
/// # Errors
/// [`RecoveryError`]; then no log was begun, or all of them were and only the entry of a start is missing, which the next one writes.
pub async fn recover_anew(
    config: &Config,
    clock: &Clock,
    continued: Continued<'_>,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Recovered, RecoveryError> {
    let keystore = open_keystore(config).await?;
    let first = link(config, &keystore, (continued.file, continued.key))?;
    let reached = database::reach(config, Presence::Server, progress).await?;
    reached.migrate().await?;
    let known = side_by_side(&reached.server, &first.origin).await.map_err(StartError::from)?;
    let links = links(config, &keystore, continued, (first, known))?;
    let anchored = links.iter().map(|link| link.size).sum();
    let keystore = match continued.key {
        NewLogKey::Same => keystore,
        NewLogKey::Fresh => {
            let origin = config.origin().to_owned();
            let changed = move || {
                keystore.change_log_keys(|keys| keys.start_anew(&origin))?;
                Ok(keystore)
            };
            blocking(changed).await.map_err(StartError::from)?
        }
    };
    let parts = Parts::on(config, clock, (keystore, reached), &Purpose::Begin(links)).await?;
    parts.close().await?;
    Ok(Recovered { before: 0, anchored })
}

/// What each of the new logs continues, by number; `known`: how many there were, as the database says.
fn links(
    config: &Config,
    keystore: &Keystore,
    Continued { file, logs, key }: Continued<'_>,
    (first, known): (Link, Option<i16>),
) -> Result<Vec<Link>, RecoveryError> {
    let count = logs.or(known).ok_or_else(|| RecoveryError::Uncounted(first.origin.clone()))?;
    if let Some(known) = known.filter(|known| *known > count) {
        return Err(RecoveryError::Miscounted(known));
    }
    let mut links = vec![first];
    for number in 1..count {
        let file = beside(file, number);
        if !file.exists() {
            return Err(RecoveryError::Missing(file, count));
        }
        let link = link(config, keystore, (&file, key))?;
        let expected = links.first().map(|first| origin_of(&first.origin, number)).unwrap_or_default();
        if link.origin != expected {
            return Err(RecoveryError::Misplaced(file, expected));
        }
        links.push(link);
    }
    if let Some(more) = (count..=SHARDS_MAX).map(|number| beside(file, number)).find(|file| file.exists()) {
        return Err(RecoveryError::Surplus(more, count));
    }
    if count > config.ledger.shards {
        return Err(RecoveryError::FewerLogs(count));
    }
    Ok(links)
}

/// What a checkpoint in a file says of the old log; after a theft of the key, only if the quorum cosigned it.
fn link(
    config: &Config,
    keystore: &Keystore,
    (file, key): (&Path, NewLogKey),
) -> Result<Link, RecoveryError> {
    let unreadable = || RecoveryError::NotACheckpoint(file.to_owned());
    let note = durable::read(file, NOTE_BYTES_MAX).ok().flatten().ok_or_else(unreadable)?;
    let origin = note.split(|byte| *byte == b'\n').next().and_then(|line| std::str::from_utf8(line).ok());
    let origin = origin.ok_or_else(unreadable)?;
    if config.origins().any(|new| new == origin) {
        return Err(RecoveryError::SameOrigin);
    }
    let known = keystore.log_keys(origin).known();
    let old = Checkpoint::open(&note, origin, &known, 0).map_err(|_| unreadable())?;
    if key == NewLogKey::Fresh {
        let policy = known.into_iter().fold(policy(config)?, Policy::with_log);
        policy.open(&note, origin).map_err(|_| RecoveryError::NotCosigned(file.to_owned()))?;
    }
    Ok(Link { origin: old.origin, size: old.size, root: old.root.0 })
}

/// The witnesses and the quorum of the configuration; none when it names none.
fn policy(config: &Config) -> Result<Policy, RecoveryError> {
    let Some(path) = &config.ledger.policy else { return Ok(Policy::default()) };
    let bytes = fs::read(path).map_err(|_| RecoveryError::Policy)?;
    Policy::parse(bytes.get(..=POLICY_BYTES_MAX).unwrap_or(&bytes)).map_err(|_| RecoveryError::Policy)
}
