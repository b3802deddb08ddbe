//! Tiles: 256 consecutive hashes of one height (c2sp.org/tlog-tiles).
//!
//! A tile at level L holds hashes of subtrees of height 8·L. Imports the parent module only.

use std::collections::BTreeMap;
use std::fmt;

use super::{Hash, fold};

/// How many hashes a full tile holds.
pub const TILE_WIDTH: u64 = 256;

/// Which tile: its level, its place in the level, and how many of its hashes there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TileId {
    /// The level: 0 holds leaf hashes, each further level covers 256 times as much.
    pub level: u8,
    /// The place within the level.
    pub index: u64,
    /// How many hashes: 256 in a full tile, 1 to 255 in a partial one.
    pub width: u16,
}

impl TileId {
    /// The tile at this place in a tree of `size` leaves, full or partial; `None` if it is empty.
    #[must_use]
    pub fn in_tree(level: u8, index: u64, size: u64) -> Option<Self> {
        let hashes = size.checked_shr(8 * u32::from(level)).unwrap_or(0);
        let width = hashes.checked_sub(index.checked_mul(TILE_WIDTH)?)?.min(TILE_WIDTH);
        let width = u16::try_from(width).ok().filter(|width| *width > 0)?;
        Some(Self { level, index, width })
    }

    /// Whether all 256 hashes are there.
    #[must_use]
    pub fn is_full(&self) -> bool {
        u64::from(self.width) == TILE_WIDTH
    }

    /// The path it is served at, such as `tile/0/x001/067.p/5`.
    #[must_use]
    pub fn path(&self) -> String {
        self.path_under(&self.level.to_string())
    }

    /// The path of the entry bundle beside a tile of level 0, such as `tile/entries/x001/067.p/5`.
    #[must_use]
    pub fn entries_path(&self) -> String {
        self.path_under("entries")
    }

    fn path_under(&self, folder: &str) -> String {
        let mut number = format!("{:03}", self.index % 1000);
        let mut rest = self.index / 1000;
        while rest > 0 {
            number = format!("x{:03}/{number}", rest % 1000);
            rest /= 1000;
        }
        let partial = if self.is_full() { String::new() } else { format!(".p/{}", self.width) };
        format!("tile/{folder}/{number}{partial}")
    }

    /// Reads a path that [`TileId::path`] or [`TileId::entries_path`] writes, and no other spelling.
    #[must_use]
    pub fn parse(path: &str) -> Option<Self> {
        let (folder, rest) = path.strip_prefix("tile/")?.split_once('/')?;
        let level = if folder == "entries" { 0 } else { folder.parse().ok().filter(|level| *level < 64)? };
        let (number, width) = match rest.split_once(".p/") {
            Some((number, width)) => (number, width.parse().ok()?),
            None => (rest, 256),
        };
        let index = number.split('/').try_fold(0_u64, |index, part| {
            let digits = part.strip_prefix('x').unwrap_or(part);
            index.checked_mul(1000)?.checked_add(digits.parse().ok()?)
        })?;
        let tile = Self { level, index, width };
        let spelt = if folder == "entries" { tile.entries_path() } else { tile.path() };
        (spelt == path && (1..=256).contains(&width)).then_some(tile)
    }
}

impl fmt::Display for TileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path())
    }
}

/// A tile and its hashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tile {
    /// The level.
    pub level: u8,
    /// The place within the level.
    pub index: u64,
    /// 1 to 256 hashes.
    pub hashes: Vec<Hash>,
}

impl Tile {
    /// Which tile it is; `None` if it holds no hashes or more than 256.
    #[must_use]
    pub fn id(&self) -> Option<TileId> {
        let width = u16::try_from(self.hashes.len()).ok().filter(|width| (1..=256).contains(width))?;
        Some(TileId { level: self.level, index: self.index, width })
    }

    /// Reads the bytes a tile is served as; `None` unless they are as many hashes as `id` is wide.
    #[must_use]
    pub fn from_bytes(id: &TileId, bytes: &[u8]) -> Option<Self> {
        let hashes = Hash::list(bytes).filter(|hashes| hashes.len() == usize::from(id.width))?;
        Some(Self { level: id.level, index: id.index, hashes })
    }

    /// The bytes it is served as: 32 for each hash.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        Hash::concat(&self.hashes)
    }

    /// The hash of the subtree a full tile spans; `None` unless it holds 256 hashes.
    #[must_use]
    pub fn root(&self) -> Option<Hash> {
        if self.hashes.len() == 256 { fold(&self.hashes) } else { None }
    }
}

/// The tiles a proof is computed from.
#[derive(Debug, Clone, Default)]
pub struct Tiles(BTreeMap<(u8, u64), Vec<Hash>>);

impl Tiles {
    /// No tiles.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a tile. One wider than a proof asks for serves as well.
    pub fn insert(&mut self, tile: Tile) {
        self.0.insert((tile.level, tile.index), tile.hashes);
    }

    /// The hash of the perfect subtree of height `height` that is the `number`th of its height.
    pub(super) fn subtree(&self, height: u32, number: u64) -> Option<Hash> {
        let (level, within) = (height / 8, height % 8);
        let start = number << within;
        let tile = self.0.get(&(u8::try_from(level).ok()?, start / TILE_WIDTH))?;
        let start = usize::try_from(start % TILE_WIDTH).ok()?;
        fold(tile.get(start..start.checked_add(1 << within)?)?)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn tiles_are_named_as_tlog_tiles_says() {
        let table = [
            (TileId { level: 0, index: 1_234_067, width: 256 }, "tile/0/x001/x234/067"),
            (TileId { level: 0, index: 1067, width: 5 }, "tile/0/x001/067.p/5"),
            (TileId { level: 2, index: 0, width: 1 }, "tile/2/000.p/1"),
            (TileId { level: 1, index: 999, width: 255 }, "tile/1/999.p/255"),
        ];
        for (tile, path) in table {
            assert_eq!(tile.path(), path);
            assert_eq!(TileId::parse(path), Some(tile));
        }
        let entries = TileId { level: 0, index: 1000, width: 7 };
        assert_eq!(entries.entries_path(), "tile/entries/x001/000.p/7");
        assert_eq!(TileId::parse("tile/entries/x001/000.p/7"), Some(entries));
        for bad in [
            "tile/00/000",
            "tile/0/0",
            "tile/0/x000/001",
            "tile/64/000",
            "tile/0/001.p/0",
            "tile/0/001.p/256",
            "tile/0/",
        ] {
            assert_eq!(TileId::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_tree_of_70000_has_the_tiles_of_the_specification() {
        let width = |level, index| TileId::in_tree(level, index, 70_000).map(|tile| tile.width);
        assert_eq!(width(0, 272), Some(256));
        assert_eq!(width(0, 273), Some(112));
        assert_eq!(width(0, 274), None);
        assert_eq!(width(1, 0), Some(256));
        assert_eq!(width(1, 1), Some(17));
        assert_eq!(width(2, 0), Some(1));
        assert_eq!(width(3, 0), None);
        assert_eq!(TileId::in_tree(1, 0, 256).unwrap().width, 1);
    }
}
