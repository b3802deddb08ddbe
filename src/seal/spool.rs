//! Files that only this process can read: what waits to be fetched, sealed under a key that is nowhere else.
//!
//! ```text
//! chunk*   65,536 bytes of plaintext in AES-256-GCM and its 16-byte tag; nonce: 4 zero bytes || number u64 big-endian;
//!          associated data: 00
//! chunk    the last: fewer bytes, maybe none; associated data: 01
//! ```
//! Each file has a random key of its own, so no nonce is used twice under it. If we crash, the key is gone and the file
//! is noise. A file that was cut, changed or reordered does not open.

use std::io::{self, Read, Write};

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

use super::{SealError, random_bytes};

const CHUNK_BYTES: usize = 65_536;
const TAG_BYTES: usize = 16;

/// The key of one file.
pub struct SpoolKey(Zeroizing<[u8; 32]>);

impl SpoolKey {
    /// A new one.
    ///
    /// # Errors
    /// [`SealError`] when the machine gives no random bytes.
    pub fn fresh() -> Result<Self, SealError> {
        Ok(Self(Zeroizing::new(random_bytes()?)))
    }

    fn aead(&self) -> io::Result<LessSafeKey> {
        let key = UnboundKey::new(&AES_256_GCM, &*self.0).map_err(|_| broken())?;
        Ok(LessSafeKey::new(key))
    }
}

fn nonce(number: u64) -> Nonce {
    let [a, b, c, d, e, f, g, h] = number.to_be_bytes();
    Nonce::assume_unique_for_key([0, 0, 0, 0, a, b, c, d, e, f, g, h])
}

fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the seal of a spooled file is broken")
}

/// Seals what is written to it. [`SpoolWriter::finish`] writes the last chunk; without it the file does not open.
pub struct SpoolWriter<W: Write> {
    out: W,
    key: LessSafeKey,
    buffer: Zeroizing<Vec<u8>>,
    number: u64,
}

impl<W: Write> SpoolWriter<W> {
    /// Begins a file.
    ///
    /// # Errors
    /// When the key cannot be used.
    pub fn new(out: W, key: &SpoolKey) -> io::Result<Self> {
        let buffer = Zeroizing::new(Vec::with_capacity(CHUNK_BYTES + TAG_BYTES));
        Ok(Self { out, key: key.aead()?, buffer, number: 0 })
    }

    fn seal(&mut self, last: u8) -> io::Result<()> {
        let aad = Aad::from([last]);
        self.key
            .seal_in_place_append_tag(nonce(self.number), aad, &mut *self.buffer)
            .map_err(|_| broken())?;
        self.number += 1;
        self.out.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }

    /// Ends the file and gives it back.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(mut self) -> io::Result<W> {
        self.seal(1)?;
        self.out.flush()?;
        Ok(self.out)
    }
}

impl<W: Write> Write for SpoolWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = CHUNK_BYTES - self.buffer.len();
        let (now, _) = bytes.split_at(room.min(bytes.len()));
        self.buffer.extend_from_slice(now);
        if self.buffer.len() == CHUNK_BYTES {
            self.seal(0)?;
        }
        Ok(now.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        // A chunk goes out when it is full: there is nothing to hurry.
        Ok(())
    }
}

/// Opens what a [`SpoolWriter`] sealed.
pub struct SpoolReader<R: Read> {
    input: R,
    key: LessSafeKey,
    chunk: Zeroizing<Vec<u8>>,
    at: usize,
    number: u64,
    ended: bool,
}

impl<R: Read> SpoolReader<R> {
    /// Begins to read a file.
    ///
    /// # Errors
    /// When the key cannot be used.
    pub fn new(input: R, key: &SpoolKey) -> io::Result<Self> {
        Ok(Self {
            input,
            key: key.aead()?,
            chunk: Zeroizing::new(Vec::new()),
            at: 0,
            number: 0,
            ended: false,
        })
    }

    fn next_chunk(&mut self) -> io::Result<()> {
        let mut sealed = Zeroizing::new(Vec::with_capacity(CHUNK_BYTES + TAG_BYTES));
        let most = u64::try_from(CHUNK_BYTES + TAG_BYTES).map_err(|_| broken())?;
        self.input.by_ref().take(most).read_to_end(&mut sealed)?;
        let last = u8::from(sealed.len() < CHUNK_BYTES + TAG_BYTES);
        let opened = self
            .key
            .open_in_place(nonce(self.number), Aad::from([last]), &mut sealed)
            .map_err(|_| broken())?
            .len();
        sealed.truncate(opened);
        self.number += 1;
        self.ended = last == 1;
        (self.chunk, self.at) = (sealed, 0);
        Ok(())
    }
}

impl<R: Read> Read for SpoolReader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.at == self.chunk.len() {
            if self.ended {
                return Ok(0);
            }
            self.next_chunk()?;
        }
        let rest = self.chunk.get(self.at..).unwrap_or_default();
        let count = rest.len().min(out.len());
        let (from, to) = (rest.get(..count), out.get_mut(..count));
        if let (Some(from), Some(to)) = (from, to) {
            to.copy_from_slice(from);
        }
        self.at += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;

    fn sealed(plain: &[u8], key: &SpoolKey) -> Vec<u8> {
        let mut writer = SpoolWriter::new(Vec::new(), key).unwrap();
        for piece in plain.chunks(1_000) {
            writer.write_all(piece).unwrap();
        }
        writer.finish().unwrap()
    }

    fn opened(sealed: &[u8], key: &SpoolKey) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        SpoolReader::new(sealed, key)?.read_to_end(&mut out)?;
        Ok(out)
    }

    #[test]
    fn what_was_spooled_comes_back_and_shows_nothing_on_the_way() {
        let key = SpoolKey::fresh().unwrap();
        for length in [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES + 7] {
            let plain: Vec<u8> = b"Patient/ann ".iter().copied().cycle().take(length).collect();
            let file = sealed(&plain, &key);
            assert!(!file.windows(11).any(|window| window == b"Patient/ann"));
            assert_eq!(opened(&file, &key).unwrap(), plain, "{length}");
        }
    }

    #[test]
    fn a_file_that_was_changed_cut_or_reordered_does_not_open() {
        let key = SpoolKey::fresh().unwrap();
        let file = sealed(&vec![7; 2 * CHUNK_BYTES + 5], &key);
        let whole = CHUNK_BYTES + TAG_BYTES;
        for at in [0, whole, file.len() - 1] {
            let mut changed = file.clone();
            changed[at] ^= 1;
            assert!(opened(&changed, &key).is_err(), "byte {at}");
        }
        for length in [0, 1, whole, whole + 1, 2 * whole, file.len() - 1] {
            assert!(opened(&file[..length], &key).is_err(), "{length} bytes");
        }
        let reordered = [&file[whole..2 * whole], &file[..whole], &file[2 * whole..]].concat();
        assert!(opened(&reordered, &key).is_err());
        assert!(opened(&file, &SpoolKey::fresh().unwrap()).is_err());
    }
}
