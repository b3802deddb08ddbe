//! The mirror: the log as files, which an auditor can be shown and a restored database be rolled forward from.
//!
//! May import `ledger`, `durable`, `seal`, `tenant`.
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

use std::{
    io,
    path::{Path, PathBuf},
};

use custodia_audit::{
    Checkpoint, Edge, NOTE_BYTES_MAX, TILE_WIDTH, Tile, TileId, leaf_hash, push_entry, read_entries,
};
use uuid::Uuid;

use crate::{
    durable::{self, Durable},
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
    #[error("{}", .0.display())]
    File(PathBuf, #[source] io::Error),
    /// The database cannot be read.
    #[error("the log cannot be read")]
    Read(#[from] ReadError),
    /// What lies there, or what the database holds, is not the log it should be.
    #[error("{0}")]
    Broken(&'static str),
}

/// A folder with a log in it.
#[derive(Clone)]
pub struct Mirror {
    folder: PathBuf,
    durable: Durable,
    keys: LogKeys,
}

impl Mirror {
    /// The mirror in `folder` of the log that `keys` sign.
    #[must_use]
    pub const fn new(folder: PathBuf, durable: Durable, keys: LogKeys) -> Self {
        Self { folder, durable, keys }
    }

    /// Where its checkpoint is.
    #[must_use]
    pub fn checkpoint_path(&self) -> PathBuf {
        self.folder.join("checkpoint")
    }

    /// Its checkpoint, verbatim and read; `None` if it has none.
    ///
    /// # Errors
    /// [`MirrorError`] when it cannot be read, or the log's key did not sign it.
    pub fn checkpoint(&self) -> Result<Option<(String, Checkpoint)>, MirrorError> {
        let path = self.checkpoint_path();
        let note = durable::read(&path, NOTE_BYTES_MAX).map_err(|error| MirrorError::File(path, error))?;
        let Some(note) = note else { return Ok(None) };
        let opened = Checkpoint::open(&note, self.keys.origin(), &self.keys.known(), 0);
        let opened =
            opened.map_err(|_| MirrorError::Broken("its checkpoint is not signed by the log's key"))?;
        let note = String::from_utf8(note).map_err(|_| MirrorError::Broken("its checkpoint is not UTF-8"))?;
        Ok(Some((note, opened)))
    }

    /// A tile or entry bundle as it is served; `None` if it is not here.
    ///
    /// # Errors
    /// [`MirrorError::File`].
    pub fn file(&self, id: &TileId, path: &str) -> Result<Option<Vec<u8>>, MirrorError> {
        // The path is one that `id` spells, so that nothing outside the folder can be named.
        let known = [id.path(), id.entries_path()].into_iter().find(|spelt| spelt == path);
        let Some(path) = known.map(|path| self.folder.join(path)) else { return Ok(None) };
        durable::read(&path, ENTRIES_BYTES_MAX).map_err(|error| MirrorError::File(path, error))
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
        let have = self.checkpoint()?;
        let size = have.as_ref().map_or(0, |(_, have)| have.size);
        if size > head.size {
            return Err(MirrorError::Broken("it has seen more of the log than there is"));
        }
        let mut edge = self.edge(have.as_ref().map(|(_, have)| have))?;
        let mut files = Vec::new();
        while edge.size() < head.size {
            let first = edge.size() - edge.size() % TILE_WIDTH;
            let end = head.size.min(first + TILE_WIDTH);
            let page = reader.raw(first, end).await?;
            self.bundle(&mut edge, first, end, page, &mut files)?;
            if files.len() >= FILES_MAX {
                self.put(std::mem::take(&mut files)).await?;
            }
        }
        if edge.root() != head.root {
            return Err(MirrorError::Broken("the database's entries do not make its root"));
        }
        if size < head.size {
            files.extend(edge.partial_tiles().iter().filter_map(|tile| self.tile(tile)));
        }
        self.put(files).await?;
        if have.as_ref().is_none_or(|(have, _)| have != note) {
            self.put(vec![(self.checkpoint_path(), note.as_bytes().to_vec())]).await?;
        }
        self.sweep(size, head.size);
        Ok(head.size)
    }

    /// The files of the entries `first..end`, which stand beside one tile, and the tiles they complete.
    fn bundle(
        &self,
        edge: &mut Edge,
        first: u64,
        end: u64,
        page: Vec<RawEntry>,
        files: &mut Vec<(PathBuf, Vec<u8>)>,
    ) -> Result<(), MirrorError> {
        let missing = MirrorError::Broken("entries are missing in the database");
        let id = TileId::in_tree(0, first / TILE_WIDTH, end).ok_or(missing)?;
        let (mut entries, mut bodies) = (Vec::new(), Vec::new());
        let mut next = first;
        for entry in page {
            if entry.index != next {
                break;
            }
            if entry.index == edge.size() {
                files.extend(edge.append(leaf_hash(&entry.leaf)).iter().filter_map(|tile| self.tile(tile)));
            }
            push_entry(&mut entries, &entry.leaf).ok_or(MirrorError::Broken("an entry is too long"))?;
            push_body(&mut bodies, &entry).ok_or(MirrorError::Broken("a body is too long"))?;
            next += 1;
        }
        if next != end {
            return Err(MirrorError::Broken("entries are missing in the database"));
        }
        files.push((self.folder.join(id.entries_path()), entries));
        files.push((self.bodies(&id), bodies));
        Ok(())
    }

    fn tile(&self, tile: &Tile) -> Option<(PathBuf, Vec<u8>)> {
        Some((self.folder.join(tile.id()?.path()), tile.to_bytes()))
    }

    fn bodies(&self, id: &TileId) -> PathBuf {
        self.folder.join(id.entries_path().replacen("tile/entries", "bodies", 1))
    }

    /// The right edge of the tree at a checkpoint, from the tiles that lie here.
    fn edge(&self, have: Option<&Checkpoint>) -> Result<Edge, MirrorError> {
        let Some(have) = have else { return Ok(Edge::empty()) };
        let mut levels = Vec::new();
        let (mut count, mut level) = (have.size, 0_u8);
        while count > 0 {
            let id = TileId::in_tree(level, count / TILE_WIDTH, have.size).filter(|id| !id.is_full());
            let hashes = match id {
                None => Vec::new(),
                Some(id) => {
                    let bytes = self.file(&id, &id.path())?;
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

    /// Files are synced away from the threads that serve.
    async fn put(&self, files: Vec<(PathBuf, Vec<u8>)>) -> Result<(), MirrorError> {
        let (durable, folder) = (self.durable.clone(), self.folder.clone());
        let put = tokio::task::spawn_blocking(move || durable.put_all(&files)).await;
        let put = put.unwrap_or_else(|_| Err(io::Error::other("writing broke off")));
        put.map_err(|error| MirrorError::File(folder, error))
    }

    /// Removes partial files of bundles that are full now, and older bodies of the one that is not. What stays by
    /// a mistake only takes room.
    fn sweep(&self, before: u64, now: u64) {
        let partial = |path: &Path| {
            let mut name = path.as_os_str().to_owned();
            name.push(".p");
            PathBuf::from(name)
        };
        for (level, number) in
            (0_u8..8).map(|level| (level, before.checked_shr(8 * (u32::from(level) + 1)).unwrap_or(0)))
        {
            let full = TileId { level, index: number, width: 256 };
            if TileId::in_tree(level, number, now) == Some(full) {
                std::fs::remove_dir_all(partial(&self.folder.join(full.path()))).ok();
                if level == 0 {
                    std::fs::remove_dir_all(partial(&self.folder.join(full.entries_path()))).ok();
                    std::fs::remove_dir_all(partial(&self.bodies(&full))).ok();
                }
            }
        }
        let old =
            TileId::in_tree(0, before / TILE_WIDTH, before).filter(|old| !old.is_full() && now > before);
        if let Some(old) = old {
            std::fs::remove_file(self.bodies(&old)).ok();
        }
    }

    /// Mirrored entries `first..end`, up to the end of their bundle, for a log of `size`; `None` if they are not whole.
    #[must_use]
    pub fn entries(&self, first: u64, end: u64, size: u64) -> Option<Vec<RawEntry>> {
        let id = TileId::in_tree(0, first / TILE_WIDTH, size)?;
        let start = id.index * TILE_WIDTH;
        let bundle = durable::read(&self.folder.join(id.entries_path()), ENTRIES_BYTES_MAX).ok()??;
        let bodies = durable::read(&self.bodies(&id), BODIES_BYTES_MAX).ok()??;
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
