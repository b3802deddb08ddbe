//! The right edge of the tree: all a log needs to append and to state its root.
//!
//! Level L lists the hashes of the partial tile at that level, fewer than 256 of them:
//! `floor(size / 256^L) mod 256`. Imports the parent module only.

use super::{Hash, TILE_WIDTH, Tile, TreeFault, fold};

/// The right edge of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    size: u64,
    levels: Vec<Vec<Hash>>,
}

impl Edge {
    /// The edge of the empty tree.
    #[must_use]
    pub const fn empty() -> Self {
        Self { size: 0, levels: Vec::new() }
    }

    /// Restores an edge from its partial tiles, level 0 first; trailing empty levels may be left out.
    ///
    /// Checks the shape only: compare [`Edge::root`] with a root you trust.
    pub fn restore(size: u64, mut levels: Vec<Vec<Hash>>) -> Result<Self, TreeFault> {
        while levels.last().is_some_and(Vec::is_empty) {
            levels.pop();
        }
        let shape = Self::shape(size);
        for level in 0..levels.len().max(shape.len()) {
            let expected = shape.get(level).copied().unwrap_or(0);
            let found = levels.get(level).map_or(0, Vec::len);
            if u64::try_from(found) != Ok(expected) {
                return Err(TreeFault::EdgeShape { level, expected, found });
            }
        }
        Ok(Self { size, levels })
    }

    /// Restores an edge from its hashes in one list, level 0 first, as [`Edge::to_list`] gives them.
    pub fn from_list(size: u64, hashes: &[Hash]) -> Result<Self, TreeFault> {
        let mut rest = hashes;
        let mut levels = Vec::new();
        for (level, expected) in Self::shape(size).into_iter().enumerate() {
            let shape = TreeFault::EdgeShape { level, expected, found: rest.len() };
            let (list, more) =
                usize::try_from(expected).ok().and_then(|count| rest.split_at_checked(count)).ok_or(shape)?;
            levels.push(list.to_vec());
            rest = more;
        }
        if rest.is_empty() {
            Ok(Self { size, levels })
        } else {
            Err(TreeFault::EdgeShape { level: levels.len(), expected: 0, found: rest.len() })
        }
    }

    /// All its hashes in one list, level 0 first.
    #[must_use]
    pub fn to_list(&self) -> Vec<Hash> {
        self.levels.concat()
    }

    /// How many hashes each level holds in a tree of `size` leaves, without trailing empty levels.
    fn shape(size: u64) -> Vec<u64> {
        std::iter::successors((size > 0).then_some(size), |rest| {
            Some(rest / TILE_WIDTH).filter(|rest| *rest > 0)
        })
        .map(|rest| rest % TILE_WIDTH)
        .collect()
    }

    /// Appends a leaf and returns the tiles it completed, lowest level first.
    pub fn append(&mut self, leaf: Hash) -> Vec<Tile> {
        self.size += 1;
        let mut full = Vec::new();
        let mut carried = Some(leaf);
        let mut level = 0_u8;
        while let Some(hash) = carried.take() {
            if self.levels.len() <= usize::from(level) {
                self.levels.push(Vec::new());
            }
            let Some(list) = self.levels.get_mut(usize::from(level)) else { break };
            list.push(hash);
            if list.len() == 256 {
                let hashes = std::mem::take(list);
                carried = fold(&hashes);
                let tiles = self.size.checked_shr(8 * (u32::from(level) + 1)).unwrap_or(0);
                full.push(Tile { level, index: tiles.saturating_sub(1), hashes });
            }
            level += 1;
        }
        full
    }

    /// How many leaves the tree has.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The hashes of each level's partial tile, level 0 first.
    #[must_use]
    pub fn levels(&self) -> &[Vec<Hash>] {
        &self.levels
    }

    /// The partial tiles of the tree at this size, lowest level first; empty ones left out.
    #[must_use]
    pub fn partial_tiles(&self) -> Vec<Tile> {
        (0_u8..)
            .zip(&self.levels)
            .filter(|(_, hashes)| !hashes.is_empty())
            .map(|(level, hashes)| {
                let tiles = self.size.checked_shr(8 * (u32::from(level) + 1)).unwrap_or(0);
                Tile { level, index: tiles, hashes: hashes.clone() }
            })
            .collect()
    }

    /// The root of the tree. Costs up to 255 hashes for each level: take it once a batch.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut ragged: Option<Hash> = None;
        for level in &self.levels {
            // What the lower levels hold is shorter than one of this level's subtrees, so it is the
            // ragged last one (RFC 6962 §2.1).
            ragged = match ragged {
                None => fold(level),
                Some(last) => {
                    let mut list = level.clone();
                    list.push(last);
                    fold(&list)
                }
            };
        }
        ragged.unwrap_or_else(Hash::empty_root)
    }
}
