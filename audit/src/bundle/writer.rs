//! Writes a bundle as a stream.
//!
//! Checks each entry against the tree while writing, so that a damaged store is noticed here and not at
//! the auditor's. Imports the parent module, `checkpoint` and `tree`.

use std::io::{self, Write};

use thiserror::Error;

use super::descent::Descent;
use super::frame::{FrameWriter, kind, write_group};
use super::{Counts, Header, Record, manifest};
use crate::checkpoint::{Checkpoint, CheckpointFault, Note, NoteFault, Signer};
use crate::tree::{Edge, Hash, PROOF_HASHES_MAX, Tile, TileId, leaf_hash};

/// Why a bundle cannot be written.
#[derive(Debug, Error)]
pub enum WriteFault {
    /// The output failed, or a part is longer than the format allows.
    #[error("writing the export failed")]
    Io(#[from] io::Error),
    /// The checkpoint is not a signed note.
    #[error("checkpoint: {0}")]
    Note(#[from] NoteFault),
    /// The note is not a checkpoint.
    #[error("checkpoint: {0}")]
    Checkpoint(#[from] CheckpointFault),
    /// Header, checkpoint and edge are not about the same tree, or the range is not within it.
    #[error("header, checkpoint and edge do not fit together")]
    Mismatch,
    /// A tile is not the one that is needed next, or its hashes are not the log's.
    #[error("the tile for index {index} does not match the log")]
    Tile {
        /// The index it was for.
        index: u64,
    },
    /// The entry is not the one the log has at this index.
    #[error("the entry at index {index} does not match the log")]
    Entry {
        /// The index.
        index: u64,
    },
    /// An index beyond the range, or the end before the range is complete.
    #[error("the range is not complete, or exceeded, at index {index}")]
    Range {
        /// The index.
        index: u64,
    },
}

/// Writes a bundle: begin, then for each index the tiles it needs and the entry, then finish.
pub struct Writer<W: Write> {
    frames: FrameWriter<W>,
    header: Header,
    checkpoint: Checkpoint,
    descent: Descent,
    counts: Counts,
    next: u64,
    buffer: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// Writes all that comes before the entries.
    ///
    /// `note` is the signed checkpoint, with whatever cosignatures it has; `edge` the right edge of the
    /// tree at its size; `earlier` the size of the auditor's earlier checkpoint and the proof that
    /// this one continues it.
    pub fn begin(
        out: W,
        header: Header,
        note: &str,
        edge: Edge,
        earlier: Option<(u64, &[Hash])>,
    ) -> Result<Self, WriteFault> {
        let checkpoint = Checkpoint::parse(Note::parse(note.as_bytes())?.text())?;
        let is_same_tree = checkpoint.origin == header.origin
            && checkpoint.size == edge.size()
            && checkpoint.root == edge.root();
        let is_short = earlier.is_none_or(|(_, proof)| proof.len() <= PROOF_HASHES_MAX);
        if !is_same_tree || !is_short || header.first > header.end || header.end > checkpoint.size {
            return Err(WriteFault::Mismatch);
        }
        let mut frames = FrameWriter::begin(out)?;
        frames.frame(kind::HEADER, &header.to_cbor())?;
        frames.frame(kind::CHECKPOINT, note.as_bytes())?;
        if let Some((size, proof)) = earlier {
            let mut payload = size.to_be_bytes().to_vec();
            payload.extend(Hash::concat(proof));
            frames.frame(kind::CONSISTENCY, &payload)?;
        }
        frames.frame(kind::EDGE, &Hash::concat(&edge.to_list()))?;
        let next = header.first;
        let (descent, counts) = (Descent::new(edge), Counts::default());
        Ok(Self { frames, header, checkpoint, descent, counts, next, buffer: Vec::new() })
    }

    /// The index the next entry is for; equals the range's end when all are written.
    #[must_use]
    pub const fn next_index(&self) -> u64 {
        self.next
    }

    /// The tile to write before the next entry; ask again after writing it, until there is none.
    #[must_use]
    pub fn needs(&self) -> Option<TileId> {
        if self.next < self.header.end { self.descent.needs(self.next) } else { None }
    }

    /// Writes the tile that [`Writer::needs`] names.
    pub fn tile(&mut self, tile: Tile) -> Result<(), WriteFault> {
        self.buffer.clear();
        self.buffer.push(tile.level);
        self.buffer.extend_from_slice(&tile.index.to_be_bytes());
        self.buffer.extend(tile.hashes.iter().flat_map(|hash| hash.0));
        let index = self.next;
        self.descent.supply(index, tile).map_err(|_| WriteFault::Tile { index })?;
        self.frames.frame(kind::TILE, &self.buffer)?;
        Ok(())
    }

    /// Writes the entry at [`Writer::next_index`].
    pub fn entry(&mut self, record: &Record<'_>) -> Result<(), WriteFault> {
        let index = self.next;
        if index >= self.header.end {
            return Err(WriteFault::Range { index });
        }
        let leaf = record.leaf().to_bytes();
        if self.descent.leaf(index) != Some(leaf_hash(&leaf)) {
            return Err(WriteFault::Entry { index });
        }
        self.buffer.clear();
        self.buffer.extend_from_slice(&index.to_be_bytes());
        let kind = match record {
            Record::Opened(groups) => {
                for group in groups {
                    write_group(&mut self.buffer, group)?;
                }
                kind::OPENED
            }
            Record::Withheld(commitment) => {
                self.buffer.extend_from_slice(commitment);
                kind::WITHHELD
            }
            Record::Control(_) => {
                self.buffer.extend_from_slice(&leaf);
                kind::CONTROL
            }
        };
        self.frames.frame(kind, &self.buffer)?;
        self.counts.count(record);
        self.next += 1;
        Ok(())
    }

    /// Signs the manifest, writes it and gives the output back.
    pub fn finish(self, signer: &Signer) -> Result<W, WriteFault> {
        if self.next != self.header.end {
            return Err(WriteFault::Range { index: self.next });
        }
        let text = manifest(&self.header, &self.checkpoint, self.counts, &self.frames.sha256());
        let note = signer.sign_note(&text)?;
        Ok(self.frames.end(kind::MANIFEST, note.as_bytes())?)
    }
}
