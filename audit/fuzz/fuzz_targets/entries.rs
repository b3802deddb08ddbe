//! Entries, groups, tiles and entry bundles from a stranger.
#![no_main]

use custodia_audit::{Entry, Leaf, Tile, TileId, read_entries};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(leaf) = Leaf::from_bytes(bytes) {
        assert_eq!(leaf.to_bytes(), bytes, "a leaf has one spelling");
    }
    drop(Entry::from_groups(&[bytes; 5]));
    if let Some((width, bytes)) = bytes.split_first() {
        let id = TileId { level: 0, index: 0, width: u16::from(*width) };
        drop(read_entries(&id, bytes));
        drop(Tile::from_bytes(&id, bytes));
    }
});
