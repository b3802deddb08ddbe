//! The mirror: the log as files, which an auditor can be shown and a restored database be rolled forward from.
//!
//! May import `ledger`, `durable`, `seal`, `tenant`, and where the files lie (`anchor/place.rs`).
//!
//! ```text
//! checkpoint                          signed, with the cosignatures there were; always last
//! tile/<L>/<N>[.p/<W>]                hashes                                     (c2sp.org/tlog-tiles)
//! tile/entries/<N>[.p/<W>]            log entries, each behind its length (u16)
//! bodies/<N>[.p/<W>]                  for each entry: length u32 || tenant i32 || month i32 ||
//!                                     00 or 01 patient[16] || sealed body, or nothing
//! ```
//! Numbers are big-endian; a length counts what follows it. Order of an advance, which is the design: 1. tiles, entries
//! and bodies, full ones and those that are partial at the new size; 2. the checkpoint. If we crash before 2, the old
//! checkpoint stands with all its tiles, and the next advance writes the same files anew: they are made of what the
//! database says, never of what lies there.

use std::path::PathBuf;

use custodia_audit::{
    Checkpoint, Edge, NOTE_BYTES_MAX, TILE_WIDTH, Tile, TileId, leaf_hash, push_entry, read_entries,
};
use uuid::Uuid;

use super::place::{Bucket, Place, PlaceError, Put, Replaced};
use crate::{
    durable::Durable,
    ledger::{LedgerReader, RawEntry, ReadError},
    seal::{LogKeys, Sealed},
    tenant::TenantId,
};

/// Files that are put together.
const FILES_MAX: usize = 192;
/// The longest file of bodies that is read back: 256 of the largest entries.
const BODIES_BYTES_MAX: usize = 256 * 6 * 1_048_576;
/// The longest file of entries.
const ENTRIES_BYTES_MAX: usize = 256 * 65_537;

/// Why the mirror does not go on.
#[derive(Debug, thiserror::Error)]
pub enum MirrorError {
    /// A file cannot be read or written.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// The database cannot be read.
    #[error("the log cannot be read")]
    Read(#[from] ReadError),
    /// What lies there, or what the database holds, is not the log it should be.
    #[error("{0}")]
    Broken(&'static str),
}

/// The file that speaks of all others.
const CHECKPOINT: &str = "checkpoint";

/// A folder, or a bucket, with a log in it.
#[derive(Clone)]
pub struct Mirror {
    place: Place,
    keys: LogKeys,
}

impl Mirror {
    /// The mirror in `folder` of the log that `keys` sign.
    #[must_use]
    pub const fn new(folder: PathBuf, durable: Durable, keys: LogKeys) -> Self {
        Self { place: Place::Folder(folder, durable), keys }
    }

    /// The mirror in a bucket.
    #[must_use]
    pub const fn in_bucket(bucket: Bucket, keys: LogKeys) -> Self {
        Self { place: Place::Bucket(bucket), keys }
    }

    /// Where its checkpoint is, for people.
    #[must_use]
    pub fn checkpoint_place(&self) -> String {
        self.place.describe(CHECKPOINT)
    }

    /// Whether a checkpoint that is put there replaces only the one that was read before.
    ///
    /// # Errors
    /// [`MirrorError::Place`] when that cannot be tried.
    pub async fn keeps_conditions(&self) -> Result<bool, MirrorError> {
        Ok(self.place.keeps_conditions().await?)
    }

    /// Its checkpoint, verbatim and read; `None` if it has none.
    ///
    /// # Errors
    /// [`MirrorError`] when it cannot be read, or the log's key did not sign it.
    pub async fn checkpoint(&self) -> Result<Option<(String, Checkpoint)>, MirrorError> {
        Ok(self.stands().await?.map(|(note, checkpoint, _)| (note, checkpoint)))
    }

    /// The same, and what a later one replaces.
    async fn stands(&self) -> Result<Option<(String, Checkpoint, Replaced)>, MirrorError> {
        let Some((note, replaced)) = self.place.read(CHECKPOINT, NOTE_BYTES_MAX).await? else {
            return Ok(None);
        };
        let opened = Checkpoint::open(&note, self.keys.origin(), &self.keys.known(), 0);
        let opened =
            opened.map_err(|_| MirrorError::Broken("its checkpoint is not signed by the log's key"))?;
        let note = String::from_utf8(note).map_err(|_| MirrorError::Broken("its checkpoint is not UTF-8"))?;
        Ok(Some((note, opened, replaced)))
    }

    /// A tile or entry bundle as it is served; `None` if it is not here.
    ///
    /// # Errors
    /// [`MirrorError::Place`].
    pub async fn file(&self, id: &TileId, path: &str) -> Result<Option<Vec<u8>>, MirrorError> {
        // The path is one that `id` spells, so that nothing outside can be named.
        let known = [id.path(), id.entries_path()].into_iter().find(|spelt| spelt == path);
        let Some(path) = known else { return Ok(None) };
        Ok(self.place.read(&path, ENTRIES_BYTES_MAX).await?.map(|(bytes, _)| bytes))
    }

    /// Brings it to `note`, whose checkpoint is `head`, from what the database holds; its size.
    ///
    /// # Errors
    /// [`MirrorError`]: then its checkpoint is the old one or, if only the last step failed, perhaps the new one.
    pub async fn advance(
        &self,
        reader: &LedgerReader,
        note: &str,
        head: &Checkpoint,
    ) -> Result<u64, MirrorError> {
        let (had, have, replaced) = match self.stands().await? {
            Some((had, have, replaced)) => (had, Some(have), replaced),
            None => (String::new(), None, Replaced::None),
        };
        let size = have.as_ref().map_or(0, |have| have.size);
        if size > head.size {
            // Of two servers that bring a bucket up, one is sometimes behind. The head has grown by then, or it is a fork.
            let (_, now) = reader.checkpoint().await?;
            let behind = MirrorError::Broken("it has seen more of the log than there is");
            return if size <= now.size { Ok(size) } else { Err(behind) };
        }
        let mut edge = self.edge(have.as_ref()).await?;
        let mut files = Vec::new();
        while edge.size() < head.size {
            let first = edge.size() - edge.size() % TILE_WIDTH;
            let end = head.size.min(first + TILE_WIDTH);
            let page = reader.raw(first, end).await?;
            bundle(&mut edge, (first, end), page, &mut files)?;
            if files.len() >= FILES_MAX {
                self.place.put_all(std::mem::take(&mut files)).await?;
            }
        }
        if edge.root() != head.root {
            return Err(MirrorError::Broken("the database's entries do not make its root"));
        }
        if size < head.size {
            files.extend(edge.partial_tiles().iter().filter_map(tile));
        }
        self.place.put_all(files).await?;
        if had != note && self.place.put_last(CHECKPOINT, note.into(), replaced).await? == Put::Overtaken {
            // Another server's stands, or our own did and we were told otherwise. Its files are there: nothing is swept.
            let stands = self.checkpoint().await?.map_or(0, |(_, stands)| stands.size);
            return Ok(stands);
        }
        self.sweep(size, head.size).await;
        Ok(head.size)
    }

    /// The right edge of the tree at a checkpoint, from the tiles that lie here.
    async fn edge(&self, have: Option<&Checkpoint>) -> Result<Edge, MirrorError> {
        let Some(have) = have else { return Ok(Edge::empty()) };
        let mut levels = Vec::new();
        let (mut count, mut level) = (have.size, 0_u8);
        while count > 0 {
            let id = TileId::in_tree(level, count / TILE_WIDTH, have.size).filter(|id| !id.is_full());
            let hashes = match id {
                None => Vec::new(),
                Some(id) => {
                    let bytes = self.file(&id, &id.path()).await?;
                    let tile = bytes.and_then(|bytes| Tile::from_bytes(&id, &bytes));
                    tile.ok_or(MirrorError::Broken("a tile of its checkpoint is missing"))?.hashes
                }
            };
            levels.push(hashes);
            count /= TILE_WIDTH;
            level += 1;
        }
        let edge = Edge::restore(have.size, levels)
            .map_err(|_| MirrorError::Broken("a tile of its checkpoint is missing"))?;
        if edge.root() == have.root {
            Ok(edge)
        } else {
            Err(MirrorError::Broken("its tiles do not make its root"))
        }
    }

    /// Removes partial files of bundles that are full now, and older bodies of the one that is not.
    async fn sweep(&self, before: u64, now: u64) {
        for (level, number) in
            (0_u8..8).map(|level| (level, before.checked_shr(8 * (u32::from(level) + 1)).unwrap_or(0)))
        {
            let full = TileId { level, index: number, width: 256 };
            if TileId::in_tree(level, number, now) == Some(full) {
                self.place.remove_all(&format!("{}.p", full.path())).await;
                if level == 0 {
                    self.place.remove_all(&format!("{}.p", full.entries_path())).await;
                    self.place.remove_all(&format!("{}.p", bodies(&full))).await;
                }
            }
        }
        let old =
            TileId::in_tree(0, before / TILE_WIDTH, before).filter(|old| !old.is_full() && now > before);
        if let Some(old) = old {
            self.place.remove(&bodies(&old)).await;
        }
    }

    /// Mirrored entries `first..end`, up to the end of their bundle, for a log of `size`; `None` if they are not whole.
    pub async fn entries(&self, first: u64, end: u64, size: u64) -> Option<Vec<RawEntry>> {
        let id = TileId::in_tree(0, first / TILE_WIDTH, size)?;
        let start = id.index * TILE_WIDTH;
        let (bundle, _) = self.place.read(&id.entries_path(), ENTRIES_BYTES_MAX).await.ok()??;
        let (bodies, _) = self.place.read(&bodies(&id), BODIES_BYTES_MAX).await.ok()??;
        let mut rest = bodies.as_slice();
        let mut found = Vec::new();
        for (leaf, index) in read_entries(&id, &bundle)?.into_iter().zip(start..) {
            let (entry, after) = read_body(index, leaf, rest)?;
            rest = after;
            if (first..end).contains(&index) {
                found.push(entry);
            }
        }
        rest.is_empty().then_some(found)
    }
}

/// The files of the entries `first..end`, which stand beside one tile, and the tiles they complete.
fn bundle(
    edge: &mut Edge,
    (first, end): (u64, u64),
    page: Vec<RawEntry>,
    files: &mut Vec<(String, Vec<u8>)>,
) -> Result<(), MirrorError> {
    let missing = || MirrorError::Broken("entries are missing in the database");
    let id = TileId::in_tree(0, first / TILE_WIDTH, end).ok_or_else(missing)?;
    let (mut entries, mut sealed) = (Vec::new(), Vec::new());
    let mut next = first;
    for entry in page {
        if entry.index != next {
            break;
        }
        if entry.index == edge.size() {
            files.extend(edge.append(leaf_hash(&entry.leaf)).iter().filter_map(tile));
        }
        push_entry(&mut entries, &entry.leaf).ok_or(MirrorError::Broken("an entry is too long"))?;
        push_body(&mut sealed, &entry).ok_or(MirrorError::Broken("a body is too long"))?;
        next += 1;
    }
    if next != end {
        return Err(missing());
    }
    files.push((id.entries_path(), entries));
    files.push((bodies(&id), sealed));
    Ok(())
}

fn tile(tile: &Tile) -> Option<(String, Vec<u8>)> {
    Some((tile.id()?.path(), tile.to_bytes()))
}

fn bodies(id: &TileId) -> String {
    id.entries_path().replacen("tile/entries", "bodies", 1)
}

fn push_body(out: &mut Vec<u8>, entry: &RawEntry) -> Option<()> {
    let mut body = Vec::new();
    body.extend_from_slice(&entry.tenant.0.to_be_bytes());
    body.extend_from_slice(&entry.month.to_be_bytes());
    match entry.patient {
        None => body.push(0),
        Some(patient) => {
            body.push(1);
            body.extend_from_slice(patient.as_bytes());
        }
    }
    body.extend_from_slice(entry.body.as_ref().map_or(&[], Sealed::as_bytes));
    out.extend_from_slice(&u32::try_from(body.len()).ok()?.to_be_bytes());
    out.extend_from_slice(&body);
    Some(())
}

fn read_body<'a>(index: u64, leaf: &[u8], bytes: &'a [u8]) -> Option<(RawEntry, &'a [u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (body, after) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    let (tenant, body) = body.split_first_chunk::<4>()?;
    let (month, body) = body.split_first_chunk::<4>()?;
    let (patient, body) = match body.split_first()? {
        (0, body) => (None, body),
        (1, body) => {
            let (patient, body) = body.split_first_chunk::<16>()?;
            (Some(Uuid::from_bytes(*patient)), body)
        }
        _ => return None,
    };
    let body = if body.is_empty() { None } else { Some(Sealed::from_stored(body.to_vec()).ok()?) };
    let (tenant, month) = (TenantId(i32::from_be_bytes(*tenant)), i32::from_be_bytes(*month));
    Some((RawEntry { index, tenant, month, patient, leaf: leaf.to_vec(), body }, after))
}
