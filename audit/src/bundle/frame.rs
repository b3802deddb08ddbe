//! Frames: kind u8, length u32 big-endian, payload; and the running SHA-256 over them.
//!
//! Also the payload of an opened entry. Imports `bytes` and the parent module.

use std::io::{self, ErrorKind, Read, Write};

use ring::digest::{Context, SHA256};

use super::Group;
use crate::bytes::finish;
use crate::entry::{GROUP_BYTES_MAX, GROUPS};

/// The longest payload of any frame, in bytes.
pub const FRAME_BYTES_MAX: usize = 8 + GROUPS * (1 + 32 + 4 + GROUP_BYTES_MAX);

/// The kinds of frames.
pub(super) mod kind {
    pub(in crate::bundle) const HEADER: u8 = 1;
    pub(in crate::bundle) const CHECKPOINT: u8 = 2;
    pub(in crate::bundle) const CONSISTENCY: u8 = 3;
    pub(in crate::bundle) const EDGE: u8 = 4;
    pub(in crate::bundle) const TILE: u8 = 5;
    pub(in crate::bundle) const OPENED: u8 = 6;
    pub(in crate::bundle) const WITHHELD: u8 = 7;
    pub(in crate::bundle) const CONTROL: u8 = 8;
    pub(in crate::bundle) const MANIFEST: u8 = 9;
}

/// Writes frames and hashes what it writes.
pub(super) struct FrameWriter<W> {
    out: W,
    context: Context,
}

impl<W: Write> FrameWriter<W> {
    pub(super) fn begin(out: W) -> io::Result<Self> {
        let mut writer = Self { out, context: Context::new(&SHA256) };
        writer.put(super::MAGIC.as_bytes())?;
        Ok(writer)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.context.update(bytes);
        self.out.write_all(bytes)
    }

    pub(super) fn frame(&mut self, kind: u8, payload: &[u8]) -> io::Result<()> {
        self.put(&head(kind, payload)?)?;
        self.put(payload)
    }

    /// SHA-256 of all that was written so far.
    pub(super) fn sha256(&self) -> [u8; 32] {
        finish(self.context.clone())
    }

    /// Writes the last frame and flushes.
    pub(super) fn end(mut self, kind: u8, payload: &[u8]) -> io::Result<W> {
        self.frame(kind, payload)?;
        self.out.flush()?;
        Ok(self.out)
    }
}

fn head(kind: u8, payload: &[u8]) -> io::Result<[u8; 5]> {
    let length = u32::try_from(payload.len()).ok().filter(|_| payload.len() <= FRAME_BYTES_MAX);
    let [a, b, c, d] = length.ok_or_else(|| io::Error::from(ErrorKind::FileTooLarge))?.to_be_bytes();
    Ok([kind, a, b, c, d])
}

/// Reads frames into one buffer and hashes all before the manifest.
pub(super) struct FrameReader<R> {
    input: R,
    context: Context,
    payload: Vec<u8>,
}

/// What can be wrong with a frame itself.
pub(super) enum FrameFault {
    Magic,
    TooLong,
    Truncated,
    Io(io::Error),
}

impl From<io::Error> for FrameFault {
    fn from(error: io::Error) -> Self {
        if error.kind() == ErrorKind::UnexpectedEof { Self::Truncated } else { Self::Io(error) }
    }
}

impl<R: Read> FrameReader<R> {
    pub(super) fn begin(mut input: R) -> Result<Self, FrameFault> {
        let mut magic = [0_u8; super::MAGIC.len()];
        input.read_exact(&mut magic)?;
        if magic != super::MAGIC.as_bytes() {
            return Err(FrameFault::Magic);
        }
        let mut context = Context::new(&SHA256);
        context.update(&magic);
        Ok(Self { input, context, payload: Vec::new() })
    }

    /// Reads the next frame and gives its kind; [`FrameReader::payload`] is then what it holds.
    pub(super) fn next(&mut self) -> Result<u8, FrameFault> {
        let mut head = [0_u8; 5];
        self.input.read_exact(&mut head)?;
        let [kind, a, b, c, d] = head;
        let length = u32::from_be_bytes([a, b, c, d]);
        let length = usize::try_from(length).ok().filter(|length| *length <= FRAME_BYTES_MAX);
        self.payload.resize(length.ok_or(FrameFault::TooLong)?, 0);
        self.input.read_exact(&mut self.payload)?;
        if kind != kind::MANIFEST {
            self.context.update(&head);
            self.context.update(&self.payload);
        }
        Ok(kind)
    }

    pub(super) fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// SHA-256 of all that was read before the manifest.
    pub(super) fn sha256(&self) -> [u8; 32] {
        finish(self.context.clone())
    }

    /// Whether nothing follows.
    pub(super) fn is_at_end(&mut self) -> io::Result<bool> {
        let mut byte = [0_u8; 1];
        loop {
            match self.input.read(&mut byte) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => return read.map(|count| count == 0),
            }
        }
    }
}

/// Appends a group: `01 || salt[32] || length u32 || bytes`, or `00 || digest[32]`.
pub(super) fn write_group(out: &mut Vec<u8>, group: &Group<'_>) -> io::Result<()> {
    match group {
        Group::Opened { salt, bytes } => {
            let length = u32::try_from(bytes.len()).ok().filter(|_| bytes.len() <= GROUP_BYTES_MAX);
            let length = length.ok_or_else(|| io::Error::from(ErrorKind::FileTooLarge))?;
            out.push(1);
            out.extend_from_slice(*salt);
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(bytes);
        }
        Group::Withheld(digest) => {
            out.push(0);
            out.extend_from_slice(*digest);
        }
    }
    Ok(())
}

/// Reads five groups and nothing more.
pub(super) fn read_groups(bytes: &[u8]) -> Option<[Group<'_>; GROUPS]> {
    let (g0, rest) = read_group(bytes)?;
    let (g1, rest) = read_group(rest)?;
    let (g2, rest) = read_group(rest)?;
    let (g3, rest) = read_group(rest)?;
    let (g4, rest) = read_group(rest)?;
    rest.is_empty().then_some([g0, g1, g2, g3, g4])
}

fn read_group(bytes: &[u8]) -> Option<(Group<'_>, &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first_chunk::<32>()?;
    match tag {
        0 => Some((Group::Withheld(first), rest)),
        1 => {
            let (length, rest) = rest.split_first_chunk::<4>()?;
            let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
            let (bytes, rest) = rest.split_at_checked(length)?;
            Some((Group::Opened { salt: first, bytes }, rest))
        }
        _ => None,
    }
}
