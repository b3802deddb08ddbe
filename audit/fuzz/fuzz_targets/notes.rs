//! Notes, checkpoints, proof files, keys and policies from a stranger.
#![no_main]

use custodia_audit::{Checkpoint, Note, Policy, ProofFile, TileId, Vkey};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(note) = Note::parse(bytes) {
        assert_eq!(Note::parse(note.to_text().as_bytes()), Ok(note), "a note goes round");
    }
    if let Ok(proof) = ProofFile::parse(bytes) {
        assert_eq!(ProofFile::parse(proof.to_text().as_bytes()), Ok(proof), "a proof goes round");
    }
    drop(Policy::parse(bytes));
    if let Ok(text) = std::str::from_utf8(bytes) {
        if let Ok(checkpoint) = Checkpoint::parse(text) {
            assert_eq!(checkpoint.to_text(), text, "a checkpoint has one spelling");
        }
        if let Ok(key) = Vkey::parse(text) {
            assert_eq!(key.to_string(), text, "a key has one spelling");
        }
        if let Some(tile) = TileId::parse(text) {
            assert!(
                [tile.path(), tile.entries_path()].iter().any(|path| path == text),
                "a path has one spelling"
            );
        }
    }
});
