//! Entry bundles: up to 256 log entries in a row, each behind its length (c2sp.org/tlog-tiles).
//!
//! ```text
//! (length u16 big-endian || entry)*      the entries beside a tile of level 0, as many as that has hashes
//! ```
//! Imports the parent module only.

use super::{TILE_WIDTH, TileId};

/// The longest entry a bundle can hold, in bytes.
pub const BUNDLED_ENTRY_BYTES_MAX: usize = 65_535;

/// Appends an entry to a bundle; `None` if it is too long for one.
pub fn push_entry(bundle: &mut Vec<u8>, entry: &[u8]) -> Option<()> {
    let length = u16::try_from(entry.len()).ok()?;
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(entry);
    Some(())
}

/// The entries of a bundle, in order; `None` unless it is exactly as many as `id` is wide.
#[must_use]
pub fn read_entries<'a>(id: &TileId, bundle: &'a [u8]) -> Option<Vec<&'a [u8]>> {
    let mut rest = bundle;
    let mut entries = Vec::with_capacity(256);
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        if u64::try_from(entries.len()).is_ok_and(|count| count >= TILE_WIDTH) {
            return None;
        }
        let (entry, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        entries.push(entry);
        rest = after;
    }
    (rest.is_empty() && entries.len() == usize::from(id.width)).then_some(entries)
}
