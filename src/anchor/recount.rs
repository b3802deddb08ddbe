//! Reading a log anew, whole: a start looks at the right edge of the tree and takes the rest on trust.
//!
//! May import `ledger`, and its siblings. Entry after entry, as many at a time as stand beside a tile and with a rest between them, the
//! tiles are made again from the entries. Each is compared with the one that the database keeps and, of logs that are written,
//! with the file in the folder of the mirror; at the end the root with the signed one. What was edited, taken away or flipped by a
//! disk is found so, and told: an entry of alarm, a number among the metrics, a line in the operational log. Nothing is mended and
//! nothing stopped: care goes on, and a person looks. Bodies are not compared: the seal binds what opens to its entry.

use std::{collections::HashSet, time::Duration};

use custodia_audit::{Edge, Hash, TILE_WIDTH, Tile, leaf_hash, read_entries};

use super::{Mirror, MirrorError};
use crate::ledger::{LedgerReader, ReadError};

/// How long it rests after as many entries as stand beside a tile: 2,560 entries a second at the most.
pub const REST: Duration = Duration::from_millis(100);

/// Why a log was not read to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unread {
    /// The database.
    #[error("the log cannot be read")]
    Read(#[from] ReadError),
    /// The mirror.
    #[error("the mirror")]
    Mirror(#[from] MirrorError),
}

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
}

impl Recounted {
    /// Where something was found, and where nothing was.
    pub(super) const fn places(&self) -> [(&'static str, Option<u64>); 2] {
        [("database", self.database), ("mirror", self.mirror)]
    }
}

/// What alarms were raised for, so that each is one entry for as long as it lasts.
pub(super) type Known = HashSet<String>;

/// Reads a log to the end that it has now.
pub(super) async fn recount(
    reader: &LedgerReader,
    mirror: Option<&Mirror>,
    rest: Duration,
) -> Result<Recounted, Unread> {
    // INVARIANT: what the mirror has is read before the head, which only grows: it has no tile that is not made below.
    let mirrored = match mirror {
        Some(mirror) => mirror.checkpoint().await?.map_or(0, |(_, checkpoint)| checkpoint.size),
        None => 0,
    };
    let (_, head) = reader.checkpoint().await?;
    let (mut edge, mut found) = (Edge::empty(), Recounted::default());
    while edge.size() < head.size {
        let first = edge.size();
        let end = head.size.min(first.saturating_add(TILE_WIDTH));
        let leaves = reader.leaves(first, end).await?;
        if u64::try_from(leaves.len()) != Ok(end - first) {
            // Entries are gone: what comes after them cannot be made again.
            found.database.get_or_insert(first);
            return Ok(found);
        }
        for leaf in &leaves {
            for tile in edge.append(leaf_hash(leaf)) {
                let from = first_entry(&tile);
                let kept = reader.kept_tile(tile.level, tile.index).await?;
                if kept.as_ref() != Some(&tile.hashes) {
                    found.database.get_or_insert(from);
                }
                if let Some(mirror) = mirror.filter(|_| end <= mirrored)
                    && !is_mirrored(mirror, &tile, kept.as_deref()).await?
                {
                    found.mirror.get_or_insert(from);
                }
            }
        }
        found.entries = end;
        tokio::time::sleep(rest).await;
    }
    if edge.root() != head.root {
        found.database.get_or_insert(head.size - head.size % TILE_WIDTH);
    }
    Ok(found)
}

/// The first entry below a tile.
fn first_entry(tile: &Tile) -> u64 {
    let below = TILE_WIDTH.saturating_pow(u32::from(tile.level).saturating_add(1));
    tile.index.saturating_mul(below)
}

/// Whether the mirror's tile, and the entries beside it, are those that were made again or, where these differ, those that the
/// database kept: then it is not the mirror that was changed.
async fn is_mirrored(mirror: &Mirror, tile: &Tile, kept: Option<&[Hash]>) -> Result<bool, MirrorError> {
    let Some(id) = tile.id() else { return Ok(false) };
    let is_it = |hashes: &[Hash]| hashes == tile.hashes || kept == Some(hashes);
    let bytes = mirror.file(&id, &id.path()).await?.unwrap_or_default();
    if !Tile::from_bytes(&id, &bytes).is_some_and(|tile| is_it(&tile.hashes)) {
        return Ok(false);
    }
    if tile.level > 0 {
        return Ok(true);
    }
    let bytes = mirror.file(&id, &id.entries_path()).await?.unwrap_or_default();
    let entries = read_entries(&id, &bytes).unwrap_or_default();
    let hashes: Vec<Hash> = entries.iter().map(|entry| leaf_hash(entry)).collect();
    Ok(is_it(&hashes))
}
