//! Tiles as the database has them. Full ones never change, so they are kept; so are the partial ones of the
//! checkpoint that proofs are made under, for as long as that is used.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use custodia_audit::{Checkpoint, Hash, TILE_WIDTH, Tile, TileId, leaf_hash};
use diesel::{
    QueryableByName,
    sql_types::{BigInt, Binary, SmallInt},
};
use diesel_async::RunQueryDsl as _;
use quick_cache::sync::Cache;
use tokio::sync::Mutex;

use super::{
    head::{self, signed},
    reader::ReadError,
};
use crate::store::{Store, statement::Statement};

/// Full tiles that are kept, of 8 KiB each.
const FULL_MAX: usize = 1_024;
/// Partial tiles that are kept with one checkpoint: more than a tree has levels.
const PARTIAL_MAX: usize = 16;
/// How old a checkpoint may be that a proof is made under, unless the entry is younger than it.
const SNAPSHOT_AGE_MAX: Duration = Duration::from_secs(1);

/// The tiles of one shard.
pub(super) struct Shelf {
    store: Arc<Store>,
    shard: i16,
    full: Cache<(u8, u64), Arc<Tile>>,
    snapshot: Mutex<Option<Arc<Snapshot>>>,
}

/// A checkpoint with the partial tiles of its tree that were asked for.
pub(super) struct Snapshot {
    pub(super) note: String,
    pub(super) checkpoint: Checkpoint,
    taken: Instant,
    partial: Cache<(u8, u64), Arc<Tile>>,
}

#[derive(QueryableByName)]
struct LeafRow {
    #[diesel(sql_type = Binary)]
    leaf: Vec<u8>,
}

impl Shelf {
    pub(super) fn new(store: Arc<Store>, shard: i16) -> Self {
        Self { store, shard, full: Cache::new(FULL_MAX), snapshot: Mutex::new(None) }
    }

    /// A checkpoint over entry `index`, at most a second old; `read` reads the current one.
    ///
    /// Whoever comes while another reads waits for what that one reads.
    pub(super) async fn snapshot(
        &self,
        index: u64,
        read: impl Future<Output = Result<(String, Checkpoint), ReadError>>,
    ) -> Result<Arc<Snapshot>, ReadError> {
        let mut held = self.snapshot.lock().await;
        if let Some(snapshot) = &*held
            && snapshot.checkpoint.size > index
            && snapshot.taken.elapsed() < SNAPSHOT_AGE_MAX
        {
            return Ok(Arc::clone(snapshot));
        }
        let taken = Instant::now();
        let (note, checkpoint) = read.await?;
        let snapshot = Arc::new(Snapshot { note, checkpoint, taken, partial: Cache::new(PARTIAL_MAX) });
        *held = Some(Arc::clone(&snapshot));
        Ok(snapshot)
    }

    /// A tile of a snapshot's tree, as wide as it is there.
    pub(super) async fn of_snapshot(&self, id: TileId, snapshot: &Snapshot) -> Result<Arc<Tile>, ReadError> {
        let whole = TileId::in_tree(id.level, id.index, snapshot.checkpoint.size).ok_or(ReadError::Beyond)?;
        if let Some(tile) = snapshot.partial.get(&(id.level, id.index)) {
            return Ok(tile);
        }
        let tile = self.tile(whole, snapshot.checkpoint.size).await?;
        if u64::from(whole.width) < TILE_WIDTH {
            snapshot.partial.insert((id.level, id.index), Arc::clone(&tile));
        }
        Ok(tile)
    }

    /// A tile of the tree of `size`: a full one as it is stored, a partial one from what lies below it.
    pub(super) async fn tile(&self, id: TileId, size: u64) -> Result<Arc<Tile>, ReadError> {
        let whole = TileId::in_tree(id.level, id.index, size).ok_or(ReadError::Beyond)?;
        if id.width == 0 || id.width > whole.width {
            return Err(ReadError::Beyond);
        }
        let full = match self.full.get(&(id.level, id.index)) {
            Some(tile) => Some(tile),
            None => self.stored(id).await?,
        };
        if let Some(tile) = full {
            if u64::from(id.width) == TILE_WIDTH {
                return Ok(tile);
            }
            let hashes = tile.hashes.get(..usize::from(id.width)).ok_or(ReadError::Broken)?.to_vec();
            return Ok(Arc::new(Tile { level: id.level, index: id.index, hashes }));
        }
        let hashes = self.below(id).await?;
        if hashes.len() != usize::from(id.width) {
            return Err(ReadError::Broken);
        }
        Ok(Arc::new(Tile { level: id.level, index: id.index, hashes }))
    }

    /// A full tile out of the database, which is then kept.
    async fn stored(&self, id: TileId) -> Result<Option<Arc<Tile>>, ReadError> {
        let connection = self.store.connection().await?;
        let Some(bytes) = head::full_tile(&connection, self.shard, id.level, id.index).await? else {
            return Ok(None);
        };
        let hashes = Hash::list(&bytes).ok_or(ReadError::Broken)?;
        if u64::try_from(hashes.len()) != Ok(TILE_WIDTH) {
            return Err(ReadError::Broken);
        }
        let tile = Arc::new(Tile { level: id.level, index: id.index, hashes });
        self.full.insert((id.level, id.index), Arc::clone(&tile));
        Ok(Some(tile))
    }

    async fn below(&self, id: TileId) -> Result<Vec<Hash>, ReadError> {
        let first = id.index.checked_mul(TILE_WIDTH).ok_or(ReadError::Beyond)?;
        let end = first + u64::from(id.width);
        if id.level == 0 {
            return Ok(self.leaves(first, end).await?.iter().map(|leaf| leaf_hash(leaf)).collect());
        }
        let connection = self.store.connection().await?;
        let level = i16::from(id.level) - 1;
        head::tile_roots(&connection, self.shard, level, first, end).await.map_err(|_| ReadError::Broken)
    }

    /// The log entries `first..end`, without their bodies.
    pub(super) async fn leaves(&self, first: u64, end: u64) -> Result<Vec<Vec<u8>>, ReadError> {
        let rows: Vec<LeafRow> = Statement::new(
            "SELECT leaf FROM ledger_entry WHERE shard = ? AND index >= ? AND index < ? ORDER BY index",
        )
        .bind::<SmallInt, _>(self.shard)
        .bind::<BigInt, _>(signed(first))
        .bind::<BigInt, _>(signed(end))
        .load(&mut self.store.connection().await?)
        .await?;
        Ok(rows.into_iter().map(|row| row.leaf).collect())
    }
}
