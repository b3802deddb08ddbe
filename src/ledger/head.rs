//! The head of the log in the database, and the right edge of the tree in memory.

use std::{ops::Range, sync::Arc};

use chrono::{DateTime, Utc};
use custodia_audit::{Checkpoint, Control, Edge, Hash, Leaf, Signer, Tile, leaf_hash};
use diesel::{
    OptionalExtension as _, QueryableByName,
    sql_types::{BigInt, Binary, SmallInt, Text, Timestamptz},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use futures_util::try_join;

use super::{Link, SetupError, signing::Signing};
use crate::store::{Database, StoreError, statement::Statement};

/// Hashes of a full tile.
const WIDTH: u64 = 256;

/// The head row.
#[derive(QueryableByName)]
pub(super) struct Head {
    #[diesel(sql_type = Text)]
    pub(super) origin: String,
    #[diesel(sql_type = BigInt)]
    pub(super) size: i64,
    #[diesel(sql_type = Binary)]
    pub(super) root: Vec<u8>,
    #[diesel(sql_type = Text)]
    pub(super) checkpoint: String,
    /// How many logs are written side by side.
    #[diesel(sql_type = SmallInt)]
    pub(super) shards: i16,
    /// Nothing that is committed from here on is dated before this.
    #[diesel(sql_type = Timestamptz)]
    pub(super) settled: DateTime<Utc>,
    /// What PostgreSQL's clock says.
    #[diesel(sql_type = Timestamptz)]
    pub(super) clock: DateTime<Utc>,
}

#[derive(QueryableByName)]
struct ShardsRow {
    #[diesel(sql_type = SmallInt)]
    shards: i16,
}

#[derive(QueryableByName)]
struct LeafRow {
    #[diesel(sql_type = Binary)]
    leaf: Vec<u8>,
}

#[derive(QueryableByName)]
struct TileRow {
    #[diesel(sql_type = Binary)]
    hashes: Vec<u8>,
}

/// Reads the head without locking it.
pub(super) async fn read(connection: &AsyncPgConnection, shard: i16) -> diesel::QueryResult<Head> {
    Statement::new("SELECT origin, size, root, checkpoint, shards, settled, clock_timestamp() AS clock FROM ledger_head WHERE shard = ?")
        .bind::<SmallInt, _>(shard)
        .get_result(&mut &*connection)
        .await
}

/// Reads the head and locks it until the transaction ends: this is what serialises all writers of a shard.
pub(super) async fn lock(connection: &AsyncPgConnection, shard: i16) -> diesel::QueryResult<Head> {
    Statement::new(
        "SELECT origin, size, root, checkpoint, shards, settled, clock_timestamp() AS clock FROM ledger_head WHERE shard = ? FOR UPDATE",
    )
    .bind::<SmallInt, _>(shard)
    .get_result(&mut &*connection)
    .await
}

/// Makes the head of a log that has none; whether the signer signs.
pub(super) async fn make(
    connection: &AsyncPgConnection,
    (shard, signer): (i16, &Signer),
    now: DateTime<Utc>,
) -> diesel::QueryResult<bool> {
    let (origin, root) = (signer.name().to_owned(), Hash::empty_root());
    let empty = Checkpoint { origin: origin.clone(), size: 0, root };
    let Ok(note) = signer.sign_checkpoint(&empty) else { return Ok(false) };
    Statement::new(
        "INSERT INTO ledger_head (shard, origin, size, root, checkpoint, updated)
         VALUES (?, ?, 0, ?, ?, ?) ON CONFLICT DO NOTHING",
    )
    .bind::<SmallInt, _>(shard)
    .bind::<Text, _>(origin)
    .bind::<Binary, _>(root.0.to_vec())
    .bind::<Text, _>(note)
    .bind::<Timestamptz, _>(now)
    .execute(&mut &*connection)
    .await?;
    Ok(true)
}

/// Says in a locked head up to when what was written is settled.
pub(super) async fn settle(
    connection: &AsyncPgConnection,
    shard: i16,
    up_to: DateTime<Utc>,
) -> diesel::QueryResult<()> {
    let set = Statement::new("UPDATE ledger_head SET settled = ? WHERE shard = ?");
    set.bind::<Timestamptz, _>(up_to).bind::<SmallInt, _>(shard).execute(&mut &*connection).await?;
    Ok(())
}

/// What a batch makes of the head.
pub(super) struct Next {
    pub(super) size: i64,
    pub(super) root: Vec<u8>,
    pub(super) checkpoint: String,
    pub(super) updated: DateTime<Utc>,
    pub(super) settled: DateTime<Utc>,
}

/// The statement that moves the head from exactly where it was.
///
/// INVARIANT: COMMIT is on its way before this statement's answer is seen, so one that moves nothing must fail by
/// itself: it divides by the number of heads it moved, and what follows in its transaction is rolled back.
/// `when_the_log_takes_no_entry_nothing_leaves_and_nothing_is_stored`.
pub(super) fn moved(shard: i16, head: &Head, next: Next) -> Statement {
    Statement::new(
        "WITH moved AS (
             UPDATE ledger_head SET size = ?, root = ?, checkpoint = ?, updated = ?, settled = ?
             WHERE shard = ? AND size = ? AND root = ? RETURNING 1)
         SELECT 1 / count(*) FROM moved",
    )
    .bind::<BigInt, _>(next.size)
    .bind::<Binary, _>(next.root)
    .bind::<Text, _>(next.checkpoint)
    .bind::<Timestamptz, _>(next.updated)
    .bind::<Timestamptz, _>(next.settled)
    .bind::<SmallInt, _>(shard)
    .bind::<BigInt, _>(head.size)
    .bind::<Binary, _>(head.root.clone())
}

/// Makes the head of a new log, and checks the head of an old one: its origin, its signatures, and that the
/// entries and tiles in the database make its root. What signs after it comes back, and what continues it if it is closed.
pub(super) async fn prepare(
    database: &Database,
    shard: i16,
    signing: &Signing,
    now: DateTime<Utc>,
) -> Result<(Arc<Signer>, Option<String>), SetupError> {
    let connection = database.connect().await.map_err(|error| StoreError::Away(Box::new(error)))?;
    if !make(&connection, (shard, &signing.for_new_log()?), now).await? {
        return Err(SetupError::Head("the key does not sign"));
    }
    let head = read(&connection, shard).await?;
    if head.origin != signing.origin() {
        return Err(SetupError::Head("its origin is another than the configured one"));
    }
    let signer = signing.after(&head).await?;
    let (_, next) = try_join!(load_edge(&connection, shard, &head), async {
        Ok(closed(&connection, shard, &head).await?)
    })?;
    Ok((signer, next))
}

/// Has these heads say that as many logs are written side by side, and up to when the writes of any were settled; how many they said
/// there are, if that is more. None ever
/// says fewer than it did: a server that knew of fewer would not show what is in the others. Lasts with its transaction.
///
/// INVARIANT: the heads are locked in their order, so that two servers that start do not wait for each other.
pub(super) async fn agree(connection: &AsyncPgConnection, heads: &Range<i16>) -> diesel::QueryResult<i16> {
    let count = heads.end.saturating_sub(heads.start);
    let within = |text| Statement::new(text).bind::<SmallInt, _>(heads.start).bind::<SmallInt, _>(heads.end);
    let locked: Vec<ShardsRow> =
        within("SELECT shards FROM ledger_head WHERE shard >= ? AND shard < ? ORDER BY shard FOR UPDATE")
            .load(&mut &*connection)
            .await?;
    let most = locked.iter().map(|row| row.shards).max().unwrap_or(1);
    if most <= count {
        // A tenant may have moved to another log: what was settled in any is settled in all.
        let set = "UPDATE ledger_head h SET shards = ?, settled = latest.settled
                   FROM (SELECT max(settled) AS settled FROM ledger_head) latest
                   WHERE h.shard >= ? AND h.shard < ? AND (h.shards < ? OR h.settled < latest.settled)";
        Statement::new(set)
            .bind::<SmallInt, _>(count)
            .bind::<SmallInt, _>(heads.start)
            .bind::<SmallInt, _>(heads.end)
            .bind::<SmallInt, _>(count)
            .execute(&mut &*connection)
            .await?;
    }
    Ok(most)
}

/// What an entry says of another log.
pub(super) fn link(leaf: &[u8]) -> Option<Link> {
    match Leaf::from_bytes(leaf) {
        Ok(Leaf::Control(Control::ShardLink { origin, size, root, .. })) => Some(Link { origin, size, root }),
        _ => None,
    }
}

/// What closes a log: the last entry of a log that is not its first and names the log that continues it.
pub(super) fn closes(leaf: &[u8]) -> Option<String> {
    link(leaf).filter(|link| link.size == 0).map(|link| link.origin)
}

/// An entry as it stands in the log.
pub(super) async fn leaf(
    connection: &AsyncPgConnection,
    shard: i16,
    index: i64,
) -> diesel::QueryResult<Option<Vec<u8>>> {
    let row: Option<LeafRow> = Statement::new("SELECT leaf FROM ledger_entry WHERE shard = ? AND index = ?")
        .bind::<SmallInt, _>(shard)
        .bind::<BigInt, _>(index)
        .get_result(&mut &*connection)
        .await
        .optional()?;
    Ok(row.map(|row| row.leaf))
}

/// Name of the log that continues this one, if it is closed.
pub(super) async fn closed(
    connection: &AsyncPgConnection,
    shard: i16,
    head: &Head,
) -> diesel::QueryResult<Option<String>> {
    let last = head.size.saturating_sub(1);
    if last < 1 {
        return Ok(None);
    }
    Ok(leaf(connection, shard, last).await?.and_then(|leaf| closes(&leaf)))
}

/// The edge of a log to which something is to be appended: one that was closed is closed for good.
pub(super) async fn load_open_edge(
    connection: &AsyncPgConnection,
    shard: i16,
    head: &Head,
) -> Result<Edge, EdgeError> {
    let (edge, next) =
        try_join!(load_edge(connection, shard, head), async { Ok(closed(connection, shard, head).await?) })?;
    next.map_or(Ok(edge), |next| Err(EdgeError::Closed(next)))
}

/// Why the edge cannot be rebuilt.
#[derive(Debug, thiserror::Error)]
pub(super) enum EdgeError {
    #[error("the log was closed; {0} continues it")]
    Closed(String),
    #[error("a statement failed")]
    Database(#[from] diesel::result::Error),
    #[error("{0}")]
    Broken(&'static str),
}

/// Rebuilds the right edge of the tree from the entries and tiles below the head, and compares its root.
pub(super) async fn load_edge(
    connection: &AsyncPgConnection,
    shard: i16,
    head: &Head,
) -> Result<Edge, EdgeError> {
    let size = u64::try_from(head.size).map_err(|_| EdgeError::Broken("its size is negative"))?;
    let mut levels = vec![last_leaves(connection, shard, size).await?];
    let mut count = size / WIDTH;
    let mut level: i16 = 0;
    while count > 0 {
        let first = count - count % WIDTH;
        levels.push(tile_roots(connection, shard, level, first, count).await?);
        count /= WIDTH;
        level += 1;
    }
    let edge = Edge::restore(size, levels).map_err(|_| EdgeError::Broken("entries or tiles are missing"))?;
    if edge.root().0.as_slice() != head.root {
        return Err(EdgeError::Broken("its entries do not make its root"));
    }
    Ok(edge)
}

async fn last_leaves(connection: &AsyncPgConnection, shard: i16, size: u64) -> Result<Vec<Hash>, EdgeError> {
    let rows: Vec<LeafRow> = Statement::new(
        "SELECT leaf FROM ledger_entry WHERE shard = ? AND index >= ? AND index < ? ORDER BY index",
    )
    .bind::<SmallInt, _>(shard)
    .bind::<BigInt, _>(signed(size - size % WIDTH))
    .bind::<BigInt, _>(signed(size))
    .load(&mut &*connection)
    .await?;
    rows.iter()
        .map(|row| {
            Leaf::from_bytes(&row.leaf).map_err(|_| EdgeError::Broken("a leaf is not one"))?;
            Ok(leaf_hash(&row.leaf))
        })
        .collect()
}

pub(super) async fn tile_roots(
    connection: &AsyncPgConnection,
    shard: i16,
    level: i16,
    first: u64,
    end: u64,
) -> Result<Vec<Hash>, EdgeError> {
    let rows: Vec<TileRow> = Statement::new(
        "SELECT hashes FROM ledger_tile WHERE shard = ? AND level = ? AND index >= ? AND index < ? ORDER BY index",
    )
    .bind::<SmallInt, _>(shard)
    .bind::<SmallInt, _>(level)
    .bind::<BigInt, _>(signed(first))
    .bind::<BigInt, _>(signed(end))
    .load(&mut &*connection)
    .await?;
    let level = u8::try_from(level).map_err(|_| EdgeError::Broken("the tree is too high"))?;
    rows.iter()
        .zip(first..)
        .map(|(row, index)| {
            let hashes = Hash::list(&row.hashes).ok_or(EdgeError::Broken("a tile is not one"))?;
            Tile { level, index, hashes }.root().ok_or(EdgeError::Broken("a tile is not full"))
        })
        .collect()
}

/// A full tile as it is stored, or `None`.
pub(super) async fn full_tile(
    connection: &AsyncPgConnection,
    shard: i16,
    level: u8,
    index: u64,
) -> diesel::QueryResult<Option<Vec<u8>>> {
    let row: Option<TileRow> =
        Statement::new("SELECT hashes FROM ledger_tile WHERE shard = ? AND level = ? AND index = ?")
            .bind::<SmallInt, _>(shard)
            .bind::<SmallInt, _>(i16::from(level))
            .bind::<BigInt, _>(signed(index))
            .get_result(&mut &*connection)
            .await
            .optional()?;
    Ok(row.map(|row| row.hashes))
}

/// Sizes and indexes are far below 2^63: the log would have to take a million entries a second for 290,000
/// years.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
