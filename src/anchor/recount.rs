//! Reading a log anew, whole: a start looks at the right edge of the tree and takes the rest on trust.
//!
//! May import `ledger`, and its siblings. Entry after entry, as many at a time as stand beside a tile and with a rest between them, the
//! tiles are made again from the entries. Each is compared with the one that the database keeps and, of logs that are
//! written, with the file in the folder of the mirror; at the end the root with the signed one. What was edited, taken away or flipped by a
//! disk is found so, and told: an entry of alarm, a number among the metrics, a line in the operational log. Nothing is mended and
//! nothing stopped: care goes on, and a person looks.
//!
//! No hash covers what stands beside an entry: whose it is, of which month, its body. That an access has a body is seen in the database;
//! whose it is is compared with the mirror, and where the two differ the database is named. What bodies hold is not compared: the
//! seal binds what opens to its entry.
//!
//! What cannot be read counts as what is not what it was: PostgreSQL refuses a page that a disk changed, and so does the folder of the
//! mirror. Neither ends the reading of the other. Entries that cannot be read are taken from their tile, so that what stands
//! behind them is read too. Only a database that is away ends it, and then it says so (`whole`).

use std::{collections::HashMap, time::Duration};

use custodia_audit::{Checkpoint, Edge, Hash, TILE_WIDTH, Tile, TileId, leaf_hash, read_entries};

use super::Mirror;
use crate::{
    ledger::{LedgerReader, RawEntry, ReadError, Stub},
    refusal::causes,
};

/// How long it rests after as many entries as stand beside a tile: 2,560 entries a second at the most.
pub const REST: Duration = Duration::from_millis(100);

/// How often what the database does not say is asked for, and after what pause again.
const TRIES: usize = 3;
const PAUSE: Duration = Duration::from_millis(200);

/// What was found: where something is not what it was, the first entry that it concerns. A root that differs though every tile
/// fits may concern any: it counts as the first of those beside the partial tile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recounted {
    /// Entries that were read.
    pub entries: u64,
    /// In the database.
    pub database: Option<u64>,
    /// In the folder of the mirror.
    pub mirror: Option<u64>,
    /// Whether it was read to its end; if not, there may be more than was found.
    pub whole: bool,
}

impl Recounted {
    /// Where something was found, and where nothing was.
    pub(super) const fn places(&self) -> [(&'static str, Option<u64>); 2] {
        [("database", self.database), ("mirror", self.mirror)]
    }
}

/// Where something was found, and for which first entry an alarm was recorded, so that each is one entry for as long as it lasts.
pub(super) type Known = HashMap<String, Option<u64>>;

/// Reads a log to the end that it has now.
pub(super) async fn recount(reader: &LedgerReader, mirror: Option<&Mirror>, rest: Duration) -> Recounted {
    // INVARIANT: what the mirror has is read before the head, which only grows: it has no tile that is not made below.
    let stands = match mirror {
        Some(mirror) => mirror.checkpoint().await.map(|stands| stands.map_or(0, |(_, stands)| stands.size)),
        None => Ok(0),
    };
    let mut recount = Recount { reader, mirror, mirrored: 0, found: Recounted::default() };
    match stands {
        Ok(size) => recount.mirrored = size,
        Err(_) => recount.found.mirror = Some(0),
    }
    match recount.read(rest).await {
        Ok(whole) => recount.found.whole = whole,
        Err(error) => tracing::error!(event = "log_not_recounted", error = causes(&error)),
    }
    recount.found
}

/// A reading that is under way.
struct Recount<'a> {
    reader: &'a LedgerReader,
    mirror: Option<&'a Mirror>,
    /// How much of the log the mirror says it has.
    mirrored: u64,
    found: Recounted,
}

impl Recount<'_> {
    /// Whether it came to the end.
    async fn read(&mut self, rest: Duration) -> Result<bool, ReadError> {
        let reader = self.reader;
        let Some((_, head)) = self.said(|| reader.checkpoint()).await? else {
            self.found.database = Some(0);
            return Ok(false);
        };
        let mut edge = Edge::empty();
        while edge.size() < head.size {
            let first = edge.size();
            let end = head.size.min(first.saturating_add(TILE_WIDTH));
            let Some(hashes) = self.hashes(first, end).await? else { return Ok(false) };
            for hash in hashes {
                for tile in edge.append(hash) {
                    self.compare(&tile, end).await?;
                }
            }
            self.found.entries = end;
            tokio::time::sleep(rest).await;
        }
        self.close(&edge, &head);
        Ok(true)
    }

    /// The hashes of the entries `first..end` or, if these are not there, those of their tile; `None` if that is not there either.
    async fn hashes(&mut self, first: u64, end: u64) -> Result<Option<Vec<Hash>>, ReadError> {
        let reader = self.reader;
        let stubs = self.said(|| reader.stubs(first, end)).await?;
        if let Some(stubs) = stubs.filter(|stubs| u64::try_from(stubs.len()) == Ok(end - first)) {
            self.beside((first, end), &stubs).await;
            return Ok(Some(stubs.iter().map(|stub| leaf_hash(&stub.leaf)).collect()));
        }
        self.found.database.get_or_insert(first);
        let index = first / TILE_WIDTH;
        if let Some(hashes) = self.kept(0, index).await? {
            return Ok(Some(hashes).filter(|hashes| u64::try_from(hashes.len()) == Ok(end - first)));
        }
        let mirror = self.mirror.filter(|_| end <= self.mirrored);
        let (Some(mirror), Some(id)) = (mirror, TileId::in_tree(0, index, end)) else { return Ok(None) };
        let bytes = mirrored(mirror, &id, &id.path()).await;
        Ok(Tile::from_bytes(&id, &bytes).map(|tile| tile.hashes))
    }

    /// Compares what stands beside entries with what must, and with the mirror's.
    async fn beside(&mut self, (first, end): (u64, u64), stubs: &[Stub]) {
        if let Some((_, index)) = stubs.iter().zip(first..).find(|(stub, _)| !stub.is_bodied()) {
            self.found.database.get_or_insert(index);
        }
        // What is not full yet is put anew while it is read.
        let is_full = end - first == TILE_WIDTH && end <= self.mirrored;
        let Some(mirror) = self.mirror.filter(|_| is_full) else { return };
        let Some(theirs) = mirror.entries(first, end, self.mirrored).await else {
            self.found.mirror.get_or_insert(first);
            return;
        };
        let differs = |(stub, theirs): (&Stub, &RawEntry)| stub.beside != theirs.beside();
        if let Some(at) = stubs.iter().zip(&theirs).position(differs) {
            self.found.database.get_or_insert(first.saturating_add(u64::try_from(at).unwrap_or(0)));
        }
    }

    /// Compares a tile that was made again with those that are kept.
    async fn compare(&mut self, tile: &Tile, end: u64) -> Result<(), ReadError> {
        let from = first_entry(tile);
        let kept = self.kept(tile.level, tile.index).await?;
        if kept.as_ref() != Some(&tile.hashes) {
            self.found.database.get_or_insert(from);
        }
        if let Some(mirror) = self.mirror.filter(|_| end <= self.mirrored)
            && !is_mirrored(mirror, tile, kept.as_deref()).await
        {
            self.found.mirror.get_or_insert(from);
        }
        Ok(())
    }

    /// Compares what was read with what was signed and, of a log that another continues, with what that one committed to.
    fn close(&mut self, edge: &Edge, head: &Checkpoint) {
        if edge.root() != head.root {
            self.found.database.get_or_insert(head.size - head.size % TILE_WIDTH);
        }
        if self.reader.committed().is_some_and(|committed| committed > head.size) {
            self.found.database.get_or_insert(head.size);
        }
    }

    async fn kept(&self, level: u8, index: u64) -> Result<Option<Vec<Hash>>, ReadError> {
        let reader = self.reader;
        Ok(self.said(|| reader.kept_tile(level, index)).await?.flatten())
    }

    /// What the database says; `None` if it does not say this though it answers, as of a page whose checksum is wrong.
    async fn said<T, F>(&self, ask: impl Fn() -> F) -> Result<Option<T>, ReadError>
    where
        F: Future<Output = Result<T, ReadError>>,
    {
        for _ in 0..TRIES {
            match ask().await {
                Ok(said) => return Ok(Some(said)),
                Err(error) if !self.reader.answers().await => return Err(error),
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
        Ok(None)
    }
}

/// The first entry below a tile.
fn first_entry(tile: &Tile) -> u64 {
    let below = TILE_WIDTH.saturating_pow(u32::from(tile.level).saturating_add(1));
    tile.index.saturating_mul(below)
}

/// Whether the mirror's tile, and the entries beside it, are those that were made again or, where these differ, those that the
/// database kept: then it is not the mirror that was changed.
async fn is_mirrored(mirror: &Mirror, tile: &Tile, kept: Option<&[Hash]>) -> bool {
    let Some(id) = tile.id() else { return false };
    let is_it = |hashes: &[Hash]| hashes == tile.hashes || kept == Some(hashes);
    let bytes = mirrored(mirror, &id, &id.path()).await;
    if !Tile::from_bytes(&id, &bytes).is_some_and(|tile| is_it(&tile.hashes)) {
        return false;
    }
    if tile.level > 0 {
        return true;
    }
    let bytes = mirrored(mirror, &id, &id.entries_path()).await;
    let entries = read_entries(&id, &bytes).unwrap_or_default();
    let hashes: Vec<Hash> = entries.iter().map(|entry| leaf_hash(entry)).collect();
    is_it(&hashes)
}

/// A file of the mirror; one that cannot be read is as good as none.
async fn mirrored(mirror: &Mirror, id: &TileId, path: &str) -> Vec<u8> {
    mirror.file(id, path).await.ok().flatten().unwrap_or_default()
}
