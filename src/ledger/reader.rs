//! Reading the log: checkpoint, tiles, entry bundles, proofs, and the entries themselves.
//!
//! Everything but the bodies is public to auditors and witnesses. Bodies open only with the tenant's audit key.

use std::sync::Arc;

use custodia_audit::{
    Checkpoint, Edge, Hash, Leaf, ProofFile, Salts, Signer, TILE_WIDTH, Tile, TileId, Tiles,
    consistency_proof, group_digest, inclusion_proof, tiles_for_consistency, tiles_for_inclusion,
};
use diesel::{
    QueryableByName,
    sql_types::{BigInt, Binary, Integer, Nullable, SmallInt, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl as _;
use tokio::sync::Mutex;
use uuid::Uuid;

use super::{
    Link,
    head::{self, signed},
    keys::{AuditKeyError, AuditKeys},
    signing::Signing,
    tiles::Shelf,
};
use crate::{
    clock::Clock,
    seal::{Keyring, Sealed},
    store::{
        Store, StoreError,
        statement::{SealedSql, Statement},
    },
    tenant::TenantId,
};

/// The most entries one read asks the database for.
pub const READ_ENTRIES_MAX: u64 = 1_024;

/// Why something of the log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is nothing at that place in the tree of the current checkpoint.
    #[error("beyond the end of the log")]
    Beyond,
    /// The database is away.
    #[error("the database is away")]
    Store(#[from] StoreError),
    /// The log in the database does not hold.
    #[error("the log in the database does not hold")]
    Broken,
}

impl From<diesel::result::Error> for ReadError {
    fn from(error: diesel::result::Error) -> Self {
        Self::Store(error.into())
    }
}

/// An entry as it is stored, and its opening if its audit key still exists.
pub struct StoredEntry {
    /// Its index.
    pub index: u64,
    /// Whose audit key its body is sealed under.
    pub tenant: TenantId,
    /// The month it was committed in: `year * 12 + month - 1`.
    pub month: i32,
    /// Opaque key of the patient it is about.
    pub patient: Option<Uuid>,
    /// The log entry: commitment or control.
    pub leaf: Vec<u8>,
    /// The five groups with their salts; `None` for a control entry, or when the key was destroyed.
    pub opening: Option<Opening>,
}

/// An entry as it is stored, unopened.
pub struct RawEntry {
    /// Its index.
    pub index: u64,
    /// Whose audit key its body is sealed under.
    pub tenant: TenantId,
    /// The month of that key: `year * 12 + month - 1`.
    pub month: i32,
    /// Opaque key of the patient it is about.
    pub patient: Option<Uuid>,
    /// The log entry: commitment or control.
    pub leaf: Vec<u8>,
    /// The sealed body; `None` for a control entry.
    pub body: Option<Sealed>,
}

/// An opened body.
pub struct Opening {
    /// G0 to G4 in their canonical bytes.
    pub groups: [Vec<u8>; 5],
    /// The salt of each.
    pub salts: Salts,
}

impl Opening {
    /// `d_i` of each group, for what is withheld from an export.
    #[must_use]
    pub fn digests(&self) -> [[u8; 32]; 5] {
        let [g0, g1, g2, g3, g4] = &self.groups;
        let [s0, s1, s2, s3, s4] = &self.salts.0;
        [
            group_digest(0, s0, g0),
            group_digest(1, s1, g1),
            group_digest(2, s2, g2),
            group_digest(3, s3, g3),
            group_digest(4, s4, g4),
        ]
    }
}

#[derive(QueryableByName)]
pub(super) struct EntryRow {
    #[diesel(sql_type = BigInt)]
    index: i64,
    #[diesel(sql_type = Integer)]
    tenant: i32,
    #[diesel(sql_type = Integer)]
    month: i32,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    patient: Option<Uuid>,
    #[diesel(sql_type = Binary)]
    leaf: Vec<u8>,
    #[diesel(sql_type = Nullable<SealedSql>)]
    body: Option<Sealed>,
}

/// The reading side of one shard.
pub struct LedgerReader {
    pub(super) store: Arc<Store>,
    keys: Mutex<AuditKeys>,
    pub(super) shard: i16,
    signing: Arc<Signing>,
    shelf: Shelf,
    keyring: Arc<Keyring>,
    clock: Clock,
    /// Of an earlier log: how much of it its successor committed to.
    committed: Option<u64>,
}

impl LedgerReader {
    pub(super) fn new(
        store: Arc<Store>,
        keyring: Arc<Keyring>,
        clock: Clock,
        shard: i16,
        signing: Arc<Signing>,
    ) -> Self {
        let keys = AuditKeys::new(Arc::clone(&store), Arc::clone(&keyring), clock.clone());
        let (keys, shelf) = (Mutex::new(keys), Shelf::new(Arc::clone(&store), shard));
        Self { store, keys, shard, signing, shelf, keyring, clock, committed: None }
    }

    /// A reader of a log before this one, as far as `link` commits to it.
    pub(super) fn of(&self, shard: i16, link: &Link) -> Self {
        let (store, keyring, clock) =
            (Arc::clone(&self.store), Arc::clone(&self.keyring), self.clock.clone());
        let signing = Arc::new(Signing::new(Arc::clone(self.keyring.keystore()), &link.origin));
        Self { committed: Some(link.size), ..Self::new(store, keyring, clock, shard, signing) }
    }

    /// Name of the log.
    #[must_use]
    pub fn origin(&self) -> &str {
        self.signing.origin()
    }

    /// How many entries are to be read: all there are, and of an earlier log no more than its successor committed to.
    ///
    /// # Errors
    /// [`ReadError`] as [`LedgerReader::checkpoint`].
    pub async fn size(&self) -> Result<u64, ReadError> {
        let (_, checkpoint) = self.checkpoint().await?;
        Ok(self.committed.map_or(checkpoint.size, |committed| committed.min(checkpoint.size)))
    }

    /// Of an earlier log, how much of it its successor committed to.
    #[must_use]
    pub const fn committed(&self) -> Option<u64> {
        self.committed
    }

    /// Whether the database answers at all.
    pub async fn answers(&self) -> bool {
        self.store.answers().await
    }

    /// Which head of the database it reads.
    #[must_use]
    pub const fn shard(&self) -> i16 {
        self.shard
    }

    /// The current checkpoint, signed and parsed.
    ///
    /// # Errors
    /// [`ReadError`] when the database is away or its head is not signed by the log's key.
    pub async fn checkpoint(&self) -> Result<(String, Checkpoint), ReadError> {
        let connection = self.store.connection().await?;
        let head = head::read(&connection, self.shard).await?;
        drop(connection);
        let parsed = self.signing.open(&head.checkpoint).await.map_err(|_| ReadError::Broken)?;
        Ok((head.checkpoint, parsed))
    }

    /// The keys that sign the current checkpoint, to sign what goes out with it.
    ///
    /// # Errors
    /// [`ReadError`] when the database is away, or this server's keystore lacks one of them.
    pub async fn signer(&self) -> Result<Signer, ReadError> {
        let connection = self.store.connection().await?;
        let head = head::read(&connection, self.shard).await?;
        drop(connection);
        self.signing.signers(&head.checkpoint).await.map_err(|_| ReadError::Broken)
    }

    /// The current checkpoint with the right edge of its tree: where an export begins.
    ///
    /// # Errors
    /// [`ReadError`] as [`LedgerReader::checkpoint`], and when entries and tiles do not make the head's root.
    pub async fn edge(&self) -> Result<(String, Edge), ReadError> {
        let connection = self.store.connection().await?;
        let head = head::read(&connection, self.shard).await?;
        self.signing.open(&head.checkpoint).await.map_err(|_| ReadError::Broken)?;
        // Entries and tiles below a head never change, so that it does not matter how far the log has grown.
        let edge = head::load_edge(&connection, self.shard, &head).await.map_err(|error| match error {
            head::EdgeError::Database(error) => error.into(),
            head::EdgeError::Broken(_) | head::EdgeError::Closed(_) => ReadError::Broken,
        })?;
        Ok((head.checkpoint, edge))
    }

    /// The proof that the tree of `second` entries continues that of `first` (RFC 6962 §2.1.2).
    ///
    /// # Errors
    /// [`ReadError::Beyond`] unless `first <= second <=` the log's size.
    pub async fn consistency(&self, first: u64, second: u64) -> Result<Vec<Hash>, ReadError> {
        let (_, checkpoint) = self.checkpoint().await?;
        if first > second || second > checkpoint.size {
            return Err(ReadError::Beyond);
        }
        let wanted = tiles_for_consistency(first, second).map_err(|_| ReadError::Beyond)?;
        let mut tiles = Tiles::new();
        for id in wanted {
            tiles.insert(Tile::clone(&*self.shelf.tile(id, second).await?));
        }
        consistency_proof(first, second, &tiles).map_err(|_| ReadError::Broken)
    }

    /// A tile of the current tree, full or partial.
    ///
    /// # Errors
    /// [`ReadError::Beyond`] when the tree does not reach that far.
    pub async fn tile(&self, id: TileId) -> Result<Tile, ReadError> {
        let (_, checkpoint) = self.checkpoint().await?;
        Ok(Tile::clone(&*self.shelf.tile(id, checkpoint.size).await?))
    }

    /// The hashes of a full tile as the database has them now: none that was kept in memory.
    ///
    /// # Errors
    /// [`ReadError`] when the database is away.
    pub async fn kept_tile(&self, level: u8, index: u64) -> Result<Option<Vec<Hash>>, ReadError> {
        let connection = self.store.connection().await?;
        let bytes = head::full_tile(&connection, self.shard, level, index).await?;
        Ok(bytes.and_then(|bytes| Hash::list(&bytes)))
    }

    /// A bundle of log entries beside a tile of level 0: each behind its length (u16, big-endian).
    ///
    /// # Errors
    /// [`ReadError::Beyond`] when the log does not reach that far.
    pub async fn entry_bundle(&self, id: TileId) -> Result<Vec<u8>, ReadError> {
        let first = id.index.checked_mul(TILE_WIDTH).ok_or(ReadError::Beyond)?;
        let leaves = self.shelf.leaves(first, first + u64::from(id.width)).await?;
        if leaves.len() != usize::from(id.width) {
            return Err(ReadError::Beyond);
        }
        let mut bundle = Vec::with_capacity(leaves.len() * 35);
        for leaf in leaves {
            bundle
                .extend_from_slice(&u16::try_from(leaf.len()).map_err(|_| ReadError::Broken)?.to_be_bytes());
            bundle.extend_from_slice(&leaf);
        }
        Ok(bundle)
    }

    /// The proof that entry `index` is in the log, under a checkpoint that is at most a second old.
    ///
    /// # Errors
    /// [`ReadError::Beyond`] when there is no such entry yet.
    pub async fn proof(&self, index: u64) -> Result<ProofFile, ReadError> {
        self.proofs(&[index]).await?.pop().ok_or(ReadError::Broken)
    }

    /// The proofs that these entries are in the log, all under one checkpoint; tiles they share are read once.
    ///
    /// # Errors
    /// [`ReadError::Beyond`] when there is no such entry yet.
    pub async fn proofs(&self, indexes: &[u64]) -> Result<Vec<ProofFile>, ReadError> {
        let last = indexes.iter().copied().max().unwrap_or(0);
        let snapshot = self.shelf.snapshot(last, self.checkpoint()).await?;
        let size = snapshot.checkpoint.size;
        let mut wanted = Vec::new();
        for index in indexes {
            wanted.extend(tiles_for_inclusion(*index, size).map_err(|_| ReadError::Beyond)?);
        }
        wanted.sort_unstable();
        wanted.dedup();
        let mut tiles = Tiles::new();
        for id in wanted {
            tiles.insert(Tile::clone(&*self.shelf.of_snapshot(id, &snapshot).await?));
        }
        let proof = |index: &u64| {
            let hashes = inclusion_proof(*index, size, &tiles).map_err(|_| ReadError::Broken)?;
            Ok(ProofFile { extra: None, index: *index, hashes, checkpoint: snapshot.note.clone() })
        };
        indexes.iter().map(proof).collect()
    }

    /// The log entry at `index`: what its proof covers.
    ///
    /// # Errors
    /// [`ReadError::Beyond`] when there is no such entry yet.
    pub async fn leaf(&self, index: u64) -> Result<Vec<u8>, ReadError> {
        self.shelf.leaves(index, index.saturating_add(1)).await?.pop().ok_or(ReadError::Beyond)
    }

    /// Entries `first..end` (at most [`READ_ENTRIES_MAX`]), opened where their keys still exist.
    ///
    /// # Errors
    /// [`ReadError`] when the database is away or a body does not open though its key does.
    pub async fn entries(&self, first: u64, end: u64) -> Result<Vec<StoredEntry>, ReadError> {
        let rows = self.rows(first, end.min(first.saturating_add(READ_ENTRIES_MAX))).await?;
        self.opened(rows).await
    }

    pub(super) async fn opened(&self, rows: Vec<EntryRow>) -> Result<Vec<StoredEntry>, ReadError> {
        let mut entries = Vec::with_capacity(rows.len());
        for row in rows {
            let tenant = TenantId(row.tenant);
            let opening = match row.body {
                None => None,
                Some(body) => self.open(tenant, row.month, &row.leaf, &body).await?,
            };
            entries.push(StoredEntry {
                index: u64::try_from(row.index).map_err(|_| ReadError::Broken)?,
                tenant,
                month: row.month,
                patient: row.patient,
                leaf: row.leaf,
                opening,
            });
        }
        Ok(entries)
    }

    /// Entries `first..end` (at most [`READ_ENTRIES_MAX`]) as they are stored.
    ///
    /// # Errors
    /// [`ReadError`] when the database is away.
    pub async fn raw(&self, first: u64, end: u64) -> Result<Vec<RawEntry>, ReadError> {
        let rows = self.rows(first, end.min(first.saturating_add(READ_ENTRIES_MAX))).await?;
        let raw = |row: EntryRow| {
            let index = u64::try_from(row.index).map_err(|_| ReadError::Broken)?;
            let EntryRow { tenant, month, patient, leaf, body, .. } = row;
            Ok(RawEntry { index, tenant: TenantId(tenant), month, patient, leaf, body })
        };
        rows.into_iter().map(raw).collect()
    }

    async fn open(
        &self,
        tenant: TenantId,
        month: i32,
        leaf: &[u8],
        body: &Sealed,
    ) -> Result<Option<Opening>, ReadError> {
        let key = match self.keys.lock().await.opening(tenant, month).await {
            Ok(key) => key,
            // The leaf still stands in the tree.
            Err(AuditKeyError::Destroyed) => return Ok(None),
            Err(AuditKeyError::Store(error)) => return Err(error.into()),
            Err(AuditKeyError::Gone | AuditKeyError::Key(_)) => return Err(ReadError::Broken),
        };
        let Ok(Leaf::Access(commitment)) = Leaf::from_bytes(leaf) else { return Err(ReadError::Broken) };
        let plain = key.open_body(tenant, &commitment, body).map_err(|_| ReadError::Broken)?;
        let (seed, mut rest) = plain.split_first_chunk::<32>().ok_or(ReadError::Broken)?;
        let mut groups: [Vec<u8>; 5] = Default::default();
        for group in &mut groups {
            let (length, after) = rest.split_first_chunk::<4>().ok_or(ReadError::Broken)?;
            let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| ReadError::Broken)?;
            let (bytes, after) = after.split_at_checked(length).ok_or(ReadError::Broken)?;
            *group = bytes.to_vec();
            rest = after;
        }
        Ok(Some(Opening { groups, salts: Salts::from_seed(seed) }))
    }

    async fn rows(&self, first: u64, end: u64) -> Result<Vec<EntryRow>, ReadError> {
        let mut connection = self.store.connection().await?;
        let rows = Statement::new(
            "SELECT index, tenant, month, patient, leaf, body FROM ledger_entry
             WHERE shard = ? AND index >= ? AND index < ? ORDER BY index",
        )
        .bind::<SmallInt, _>(self.shard)
        .bind::<BigInt, _>(signed(first))
        .bind::<BigInt, _>(signed(end))
        .load(&mut connection)
        .await?;
        Ok(rows)
    }
}
