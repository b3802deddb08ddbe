//! Rolling the log forward after a restore: entries that a mirror still has, back into the database.
//!
//! One transaction: lock the head; append what is missing; recompute the tree; only if it has the anchored root, append an
//! entry that says so, sign and move the head; commit. If we crash before the commit nothing has happened. The records that those
//! entries speak of do not come back with them: the log then says truly what was done and is lost.

use std::ops::Range;

use chrono::{DateTime, Utc};
use custodia_audit::{Checkpoint, Control, Edge, Leaf, Signer, Vkey, leaf_hash};
use diesel_async::{AsyncConnection as _, AsyncPgConnection};
use futures_util::future::BoxFuture;

use super::{
    RawEntry,
    head::{self, EdgeError},
    keys::month_of,
    rows::{Rows, insert_tiles},
    together::{Unmoved, advance},
};
use crate::{
    store::{Database, StoreError},
    tenant::TenantId,
};

/// Entries in one statement.
const PAGE: u64 = 1_024;

/// Why the log was not rolled forward; the database is as it was.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The database is away, or refused a statement.
    #[error("the database")]
    Store(#[from] StoreError),
    /// The log in the database does not hold by itself.
    #[error("the log in the database does not hold: {0}")]
    Head(&'static str),
    /// The database has all that is anchored.
    #[error(
        "the database holds {size} entries, the anchored checkpoint {anchored}: there is nothing to roll forward"
    )]
    Nothing {
        /// What the database holds.
        size: u64,
        /// What is anchored.
        anchored: u64,
    },
    /// There are more logs than were told of.
    #[error("{0} logs are written side by side in this database: give ledger.shards that number")]
    Shards(i16),
    /// The mirror lacks an entry.
    #[error("the mirror does not have the entries from {0} on")]
    Missing(u64),
    /// The entries do not lead from the database's log to the anchored one: it is a fork, or the mirror is damaged.
    #[error(
        "database and mirror together do not make the anchored checkpoint: the log has forked, or the mirror is damaged"
    )]
    Mismatch,
}

impl From<diesel::result::Error> for RecoverError {
    fn from(error: diesel::result::Error) -> Self {
        Self::Store(error.into())
    }
}

impl From<EdgeError> for RecoverError {
    fn from(error: EdgeError) -> Self {
        match error {
            EdgeError::Database(error) => error.into(),
            EdgeError::Closed(_) => Self::Head("it was closed"),
            EdgeError::Broken(why) => Self::Head(why),
        }
    }
}

/// What is rolled forward, and by whom.
pub struct Rolling<'a> {
    /// The log's head in the database; one that a backup from before `ledger.shards` was raised lacks is made.
    pub shard: i16,
    /// The heads of all logs that are written side by side.
    pub heads: Range<i16>,
    /// The keys that signed the anchored checkpoint.
    pub signer: &'a Signer,
    /// All keys of the log, retired ones included: the database may be of a day when they signed.
    pub known: &'a [Vkey],
    /// The checkpoint to reach; the caller has verified that this key signed it.
    pub anchored: &'a Checkpoint,
    /// The process, as entries name it.
    pub node: String,
    /// Now.
    pub now: DateTime<Utc>,
}

/// Entries out of a mirror, when they are read; none if they are not whole.
pub type Page<'a> = BoxFuture<'a, Option<Vec<RawEntry>>>;

/// Appends entries until the log is the anchored one, and the entry that says so; the size it had before.
///
/// `entries` gives the mirrored entries from the first index up to, at most, the second.
///
/// # Errors
/// [`RecoverError`]; then nothing has changed.
pub async fn roll_forward<'a>(
    database: &Database,
    rolling: &Rolling<'_>,
    mut entries: impl FnMut(u64, u64) -> Page<'a> + Send,
) -> Result<u64, RecoverError> {
    let mut connection = database.connect().await.map_err(|error| StoreError::Away(Box::new(error)))?;
    let run = async |connection: &mut AsyncPgConnection| append(connection, rolling, &mut entries).await;
    connection.transaction(run).await
}

async fn append<'a>(
    connection: &mut AsyncPgConnection,
    rolling: &Rolling<'_>,
    entries: &mut (impl FnMut(u64, u64) -> Page<'a> + Send),
) -> Result<u64, RecoverError> {
    let Rolling { shard, anchored, signer, .. } = *rolling;
    if !head::make(connection, (shard, signer), rolling.now).await? {
        return Err(RecoverError::Head("the key does not sign"));
    }
    // They agree from here on: no server that knows of fewer logs serves what was rolled forward.
    let most = head::agree(connection, &rolling.heads).await?;
    if most > rolling.heads.end.saturating_sub(rolling.heads.start) {
        return Err(RecoverError::Shards(most));
    }
    let head = head::lock(connection, shard).await?;
    Checkpoint::open(head.checkpoint.as_bytes(), rolling.signer.name(), rolling.known, 0)
        .map_err(|_| RecoverError::Head("its checkpoint is not signed by a key of this keystore"))?;
    let mut edge = head::load_edge(connection, shard, &head).await?;
    let before = edge.size();
    if before >= anchored.size {
        return Err(RecoverError::Nothing { size: before, anchored: anchored.size });
    }
    let mut next = None;
    while edge.size() < anchored.size {
        let first = edge.size();
        let page = entries(first, anchored.size.min(first.saturating_add(PAGE))).await;
        let page = page.filter(|page| !page.is_empty()).ok_or(RecoverError::Missing(first))?;
        let (mut rows, mut tiles) = (Rows::default(), Vec::new());
        for entry in page {
            if entry.index != edge.size() || Leaf::from_bytes(&entry.leaf).is_err() {
                return Err(RecoverError::Mismatch);
            }
            tiles.extend(edge.append(leaf_hash(&entry.leaf)));
            next = head::closes(&entry.leaf).filter(|_| entry.index > 0);
            rows.push(entry.index, entry.tenant, entry.month, entry.patient, entry.leaf, entry.body);
        }
        rows.insert(connection, shard).await?;
        insert_tiles(connection, shard, tiles).await?;
    }
    if edge.size() != anchored.size || edge.root() != anchored.root {
        return Err(RecoverError::Mismatch);
    }
    // Nothing comes after the last entry of a log that was closed: the log that continues it will say it.
    if next.is_none() {
        say(connection, rolling, (before, &mut edge)).await?;
    }
    advance(connection, (shard, &edge), signer, rolling.now).await.map_err(|why| match why {
        Unmoved::Broken(why) => RecoverError::Head(why),
        Unmoved::Database(error) => error.into(),
    })?;
    Ok(before)
}

/// Appends the entry that says what was done.
async fn say(
    connection: &mut AsyncPgConnection,
    rolling: &Rolling<'_>,
    (before, edge): (u64, &mut Edge),
) -> Result<(), RecoverError> {
    let Rolling { shard, anchored, .. } = *rolling;
    let said = Control::Restore {
        node: rolling.node.clone(),
        time_micros: rolling.now.timestamp_micros(),
        restored_size: before,
        anchored_size: anchored.size,
        anchored_root: anchored.root.0,
    };
    let (leaf, mut rows) = (Leaf::Control(said).to_bytes(), Rows::default());
    let tiles = edge.append(leaf_hash(&leaf));
    rows.push(anchored.size, TenantId::HOUSE, month_of(rolling.now), None, leaf, None);
    rows.insert(connection, shard).await?;
    insert_tiles(connection, shard, tiles).await?;
    Ok(())
}
