//! The way down from the tree's edge to one leaf after another, a tile at each level.
//!
//! Writer and verifier both walk it, so that neither can disagree about which tile comes when.
//! Imports `tree`.

use crate::tree::{Edge, Hash, Tile, TileId};

/// The tiles on the way to the current leaf. INVARIANT: each was checked against the one above it, the
/// topmost against the edge (`tests/bundle.rs`: `every_flipped_bit_is_refused`).
pub(super) struct Descent {
    edge: Edge,
    tiles: Vec<Option<Tile>>,
}

/// A tile that does not belong where it was put.
#[derive(Debug)]
pub(super) enum DescentFault {
    NotNeeded,
    Mismatch,
}

impl Descent {
    /// Begins at an edge whose root the caller has checked.
    pub(super) fn new(edge: Edge) -> Self {
        let tiles = edge.levels().iter().map(|_| None).collect();
        Self { edge, tiles }
    }

    /// The next tile that must be supplied before the leaf at `index` can be checked.
    pub(super) fn needs(&self, index: u64) -> Option<TileId> {
        let missing = (0_u8..).zip(&self.tiles).filter_map(|(level, held)| {
            let number = index.checked_shr(8 * (u32::from(level) + 1)).unwrap_or(0);
            let tile = TileId::in_tree(level, number, self.edge.size()).filter(TileId::is_full)?;
            let is_held = held.as_ref().is_some_and(|held| held.index == number);
            (!is_held).then_some(tile)
        });
        // The topmost: a lower one is checked against it.
        missing.last()
    }

    /// Takes the tile that is needed for `index`.
    pub(super) fn supply(&mut self, index: u64, tile: Tile) -> Result<(), DescentFault> {
        let needed = self.needs(index).ok_or(DescentFault::NotNeeded)?;
        if (needed.level, needed.index) != (tile.level, tile.index) {
            return Err(DescentFault::NotNeeded);
        }
        let expected = tile.level.checked_add(1).and_then(|above| self.hash(above, tile.index));
        if expected.is_none() || tile.root() != expected {
            return Err(DescentFault::Mismatch);
        }
        let level = usize::from(tile.level);
        *self.tiles.get_mut(level).ok_or(DescentFault::NotNeeded)? = Some(tile);
        Ok(())
    }

    /// The hash the tree holds for the leaf at `index`; `None` until what it needs was supplied.
    pub(super) fn leaf(&self, index: u64) -> Option<Hash> {
        self.hash(0, index)
    }

    fn hash(&self, level: u8, number: u64) -> Option<Hash> {
        let tile = TileId::in_tree(level, number / 256, self.edge.size())?;
        let list = if tile.is_full() {
            let held = self.tiles.get(usize::from(level))?.as_ref()?;
            if held.index != tile.index {
                return None;
            }
            &held.hashes
        } else {
            self.edge.levels().get(usize::from(level))?
        };
        list.get(usize::try_from(number % 256).ok()?).copied()
    }
}
