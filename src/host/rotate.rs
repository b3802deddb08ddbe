//! Changing the key that signs the log, while servers serve.
//!
//! May import what `host` may. Order of each step, which is the design:
//!
//! ```text
//! begin    1. the keystore has a second key, which waits   2. an entry, whose checkpoint both keys sign
//!          3. the keystore says that both sign             4. the policy file names both
//! finish   1. an entry, whose checkpoint the newer key signs alone
//!          2. the policy file names the newer              3. the keystore destroys the older one's secret
//! ```
//! If we crash between any two, the same command does what is missing: each asks the keystore and the log what is done.
//! One process rotates at a time, by a lock beside the keystore.

use std::{
    fs,
    path::{Path, PathBuf},
};

use custodia_audit::{POLICY_BYTES_MAX, Policy, Vkey};

use super::{
    Parts, StartError,
    database::Presence,
    parts::{blocking, open_keystore},
    recover::beside,
};
use crate::{
    clock::Clock,
    config::Config,
    durable::Durable,
    ledger::{Down, ReadError, Shard},
    seal::{KeystoreError, LogSecrets},
    store::cluster::Progress,
};

/// How far a rotation is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// The keystore gets the key that is to take over; it signs nothing yet.
    Prepare,
    /// Both keys sign.
    Begin,
    /// The newer key signs alone.
    Finish,
}

/// Why a key was not rotated.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    /// The server's parts do not open.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The log cannot be read.
    #[error("the log cannot be read")]
    Read(#[from] ReadError),
    /// The entry could not be committed.
    #[error("the rotation could not be recorded, so nothing has changed")]
    Down(#[from] Down),
    /// There is nothing to finish.
    #[error("no rotation is under way: `custodia keys rotate-log` begins one")]
    NotBegun,
    /// The configured policy is not one.
    #[error("ledger.policy is no trust policy")]
    Policy,
    /// The policy file cannot be written.
    #[error("{}", .0.display())]
    File(PathBuf, #[source] std::io::Error),
    /// Another process rotates.
    #[error("another process is rotating the key")]
    Busy,
}

/// How a rotation stands.
#[derive(Debug, PartialEq, Eq)]
pub struct Rotated {
    /// The keys that sign each checkpoint now, log after log, the newer last.
    pub signing: Vec<Vkey>,
    /// The key that is to take over, while it waits: once for each log, whose name it bears.
    pub waiting: Vec<Vkey>,
}

/// Takes a rotation one step on, from wherever it was left; the trust policy for auditors and witnesses goes to `policy`. Of
/// logs that are written side by side each takes it, and has a policy of its own beside that of the first.
///
/// # Errors
/// [`RotationError`].
pub async fn rotate_log(
    config: &Config,
    clock: &Clock,
    step: Rotation,
    policy: &Path,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Rotated, RotationError> {
    let _turn = turn(config)?;
    if step != Rotation::Finish {
        change(config, LogSecrets::prepare).await?;
    }
    let parts = Parts::open(config, clock, Presence::Visitor, progress).await?;
    let mut all = Rotated { signing: Vec::new(), waiting: Vec::new() };
    let mut done = Ok(());
    for shard in parts.ledger.shards() {
        match advance(config, &parts, (step, shard), &beside(policy, shard.number())).await {
            Ok((signing, waiting)) => {
                all.signing.extend(signing);
                all.waiting.extend(waiting);
            }
            Err(error) => done = Err(error),
        }
    }
    // What is kept outside the database is brought up at once, so that mirror and witnesses have a checkpoint of the overlap.
    parts.anchors.round(&parts.ledger).await;
    if done.is_ok() && step == Rotation::Finish {
        done = change(config, LogSecrets::finish).await.map_err(RotationError::from);
    }
    parts.close().await?;
    done.map(|()| all)
}

/// One log takes the step; the keys that sign it now, and the one that waits.
async fn advance(
    config: &Config,
    parts: &Parts,
    (step, log): (Rotation, &Shard),
    policy: &Path,
) -> Result<(Vec<Vkey>, Option<Vkey>), RotationError> {
    let reader = log.reader();
    let next = parts.keyring.keystore().log_secrets().next(log.origin()).map_err(StartError::from)?;
    let signing = reader.signer().await?.vkeys();
    let is_new = |key: &Vkey| next.as_ref().is_some_and(|next| next.vkey() == *key);
    let newer_signs = signing.iter().any(is_new);
    match step {
        Rotation::Prepare => {}
        Rotation::Begin => {
            if !newer_signs {
                log.begin_rotation().await?;
            }
            change(config, LogSecrets::begin).await?;
            write_policy(config, &reader.signer().await?.vkeys(), policy)?;
        }
        Rotation::Finish => {
            if next.is_none() || !newer_signs {
                return Err(RotationError::NotBegun);
            }
            // A crash may have come between the entry and the keystore, of this step or of the one before.
            change(config, LogSecrets::begin).await?;
            if signing.len() > 1 {
                log.end_rotation().await?;
            }
            write_policy(config, &reader.signer().await?.vkeys(), policy)?;
        }
    }
    let waiting = next.map(|next| next.vkey()).filter(|_| step == Rotation::Prepare && !newer_signs);
    Ok((reader.signer().await?.vkeys(), waiting))
}

/// The lock that one process at a time has, for as long as the file is open.
fn turn(config: &Config) -> Result<fs::File, RotationError> {
    let path = config.keystore_path().with_extension("rotation");
    let file = fs::File::create(&path).map_err(|error| RotationError::File(path, error))?;
    file.try_lock().map_err(|_| RotationError::Busy)?;
    Ok(file)
}

/// Changes the keys in the keystore's file.
async fn change(
    config: &Config,
    change: fn(&mut LogSecrets) -> Result<(), KeystoreError>,
) -> Result<(), StartError> {
    let keystore = open_keystore(config).await?;
    Ok(blocking(move || keystore.change_log_keys(change)).await?)
}

/// The configured policy with these keys in the place of the log's.
fn write_policy(config: &Config, keys: &[Vkey], path: &Path) -> Result<(), RotationError> {
    let mut text: String = keys.iter().map(|key| format!("log {key}\n")).collect();
    match &config.ledger.policy {
        None => text.push_str("quorum none\n"),
        Some(from) => {
            let bytes = fs::read(from).map_err(|error| RotationError::File(from.clone(), error))?;
            let bytes = bytes.get(..=POLICY_BYTES_MAX).unwrap_or(&bytes);
            let rest = std::str::from_utf8(bytes).map_err(|_| RotationError::Policy)?;
            let is_log = |line: &&str| line.split_ascii_whitespace().next() != Some("log");
            text.extend(rest.lines().filter(is_log).map(|line| format!("{line}\n")));
        }
    }
    Policy::parse(text.as_bytes()).map_err(|_| RotationError::Policy)?;
    Durable::shared().put(path, text.as_bytes()).map_err(|error| RotationError::File(path.to_owned(), error))
}
