//! Deterministic CBOR (RFC 8949 §4.2.1): the small subset the log's formats use.
//!
//! Unsigned and negative integers, byte and text strings, arrays, and maps whose keys are ascending
//! unsigned integers below 24. Lengths are definite, heads are the shortest possible. Written by hand
//! because commitments are over these exact bytes and a writer is on the path of every request.
//! Imports nothing else of this crate.

use thiserror::Error;

/// Why bytes are not the deterministic CBOR that was expected; never carries a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CborFault {
    /// The bytes end inside an item.
    #[error("ends too early")]
    Truncated,
    /// A length or number is not in its shortest form, or has an indefinite length.
    #[error("a head is not in its shortest form")]
    NotShortest,
    /// An item has another type than the format says.
    #[error("an item has the wrong type")]
    WrongType,
    /// A number, length or word is outside what the format allows.
    #[error("a value is outside its range")]
    OutOfRange,
    /// A text string is not UTF-8.
    #[error("a text is not UTF-8")]
    NotUtf8,
    /// Map keys are not strictly ascending.
    #[error("map keys are not strictly ascending")]
    KeyOrder,
    /// A map key the format does not know.
    #[error("a map key is unknown")]
    UnknownKey,
    /// A field that must be there is not.
    #[error("a field is missing")]
    MissingField,
    /// Bytes follow the item.
    #[error("bytes follow the item")]
    Trailing,
    /// The bytes differ from the one canonical encoding of what they say.
    #[error("not the canonical encoding")]
    NotCanonical,
    /// The bytes are longer than the format allows.
    #[error("too long")]
    TooLong,
}

const UINT: u8 = 0;
const NINT: u8 = 1;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;

/// Writes one map whose keys are ascending small integers, its count patched in at the end.
pub(crate) struct MapWriter {
    out: Vec<u8>,
    count: u8,
}

impl MapWriter {
    /// An empty map with room for `capacity` bytes.
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        let mut out = Vec::with_capacity(capacity);
        out.push(MAP << 5);
        Self { out, count: 0 }
    }

    /// Starts the field `key`; keys must be given in ascending order and be below 24.
    pub(crate) fn key(&mut self, key: u8) -> &mut Vec<u8> {
        debug_assert!(key < 24 && self.count < 23, "a head of one byte");
        self.count += 1;
        self.out.push(key);
        &mut self.out
    }

    /// Writes a text field.
    pub(crate) fn text(&mut self, key: u8, value: &str) {
        write_text(self.key(key), value);
    }

    /// Writes a text field, or nothing.
    pub(crate) fn text_option(&mut self, key: u8, value: Option<&str>) {
        if let Some(value) = value {
            self.text(key, value);
        }
    }

    /// Writes a byte string field.
    pub(crate) fn bytes(&mut self, key: u8, value: &[u8]) {
        write_bytes(self.key(key), value);
    }

    /// Writes an unsigned integer field.
    pub(crate) fn uint(&mut self, key: u8, value: u64) {
        head(self.key(key), UINT, value);
    }

    /// Writes a signed integer field.
    pub(crate) fn int(&mut self, key: u8, value: i64) {
        let out = self.key(key);
        match u64::try_from(value) {
            Ok(value) => head(out, UINT, value),
            // RFC 8949 §3.1: the argument of a negative integer n is -1 - n, which is !n.
            Err(_) => head(out, NINT, (!value).unsigned_abs()),
        }
    }

    /// Writes an array of texts.
    pub(crate) fn texts(&mut self, key: u8, values: &[String]) {
        let out = self.key(key);
        write_array(out, values.len());
        for value in values {
            write_text(out, value);
        }
    }

    /// The finished map.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        if let Some(first) = self.out.first_mut() {
            *first = MAP << 5 | self.count;
        }
        self.out
    }
}

fn head(out: &mut Vec<u8>, major: u8, value: u64) {
    let major = major << 5;
    if let Ok(value) = u8::try_from(value) {
        if value < 24 {
            out.push(major | value);
        } else {
            out.extend_from_slice(&[major | 24, value]);
        }
    } else if let Ok(value) = u16::try_from(value) {
        out.push(major | 25);
        out.extend_from_slice(&value.to_be_bytes());
    } else if let Ok(value) = u32::try_from(value) {
        out.push(major | 26);
        out.extend_from_slice(&value.to_be_bytes());
    } else {
        out.push(major | 27);
        out.extend_from_slice(&value.to_be_bytes());
    }
}

fn length(length: usize) -> u64 {
    // No supported platform has a usize wider than 64 bits.
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// Appends a text string.
pub(crate) fn write_text(out: &mut Vec<u8>, value: &str) {
    head(out, TEXT, length(value.len()));
    out.extend_from_slice(value.as_bytes());
}

/// Appends a byte string.
pub(crate) fn write_bytes(out: &mut Vec<u8>, value: &[u8]) {
    head(out, BYTES, length(value.len()));
    out.extend_from_slice(value);
}

/// Appends an unsigned integer.
pub(crate) fn write_uint(out: &mut Vec<u8>, value: u64) {
    head(out, UINT, value);
}

/// Appends the head of an array of `count` items.
pub(crate) fn write_array(out: &mut Vec<u8>, count: usize) {
    head(out, ARRAY, length(count));
}

/// Reads deterministic CBOR and refuses every other spelling.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: u64) -> Result<&'a [u8], CborFault> {
        let count = usize::try_from(count).map_err(|_| CborFault::Truncated)?;
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(CborFault::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn argument(&mut self, low: u8) -> Result<u64, CborFault> {
        let (count, least) = match low {
            0..=23 => return Ok(u64::from(low)),
            24 => (1, 24),
            25 => (2, 1 << 8),
            26 => (4, 1 << 16),
            27 => (8, 1 << 32),
            _ => return Err(CborFault::NotShortest),
        };
        let value = self.take(count)?.iter().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
        if value < least { Err(CborFault::NotShortest) } else { Ok(value) }
    }

    fn head(&mut self) -> Result<(u8, u64), CborFault> {
        let (&first, rest) = self.rest.split_first().ok_or(CborFault::Truncated)?;
        self.rest = rest;
        Ok((first >> 5, self.argument(first & 0x1f)?))
    }

    fn expect(&mut self, major: u8) -> Result<u64, CborFault> {
        match self.head()? {
            (found, value) if found == major => Ok(value),
            _ => Err(CborFault::WrongType),
        }
    }

    /// An unsigned integer.
    pub(crate) fn uint(&mut self) -> Result<u64, CborFault> {
        self.expect(UINT)
    }

    /// A signed integer.
    pub(crate) fn int(&mut self) -> Result<i64, CborFault> {
        let (major, value) = self.head()?;
        let value = i64::try_from(value).map_err(|_| CborFault::OutOfRange)?;
        match major {
            UINT => Ok(value),
            NINT => Ok(!value),
            _ => Err(CborFault::WrongType),
        }
    }

    /// A text string.
    pub(crate) fn text(&mut self) -> Result<&'a str, CborFault> {
        let count = self.expect(TEXT)?;
        std::str::from_utf8(self.take(count)?).map_err(|_| CborFault::NotUtf8)
    }

    /// A text string, owned.
    pub(crate) fn string(&mut self) -> Result<String, CborFault> {
        self.text().map(str::to_owned)
    }

    /// A byte string of exactly `N` bytes.
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], CborFault> {
        let count = self.expect(BYTES)?;
        self.take(count)?.try_into().map_err(|_| CborFault::OutOfRange)
    }

    /// The head of an array; each of its items takes at least one byte, so the count is bounded.
    pub(crate) fn count(&mut self) -> Result<u64, CborFault> {
        let count = self.expect(ARRAY)?;
        if count > length(self.rest.len()) { Err(CborFault::Truncated) } else { Ok(count) }
    }

    /// An array of texts.
    pub(crate) fn strings(&mut self) -> Result<Vec<String>, CborFault> {
        (0..self.count()?).map(|_| self.string()).collect()
    }
}

/// Reads `bytes` as one map with ascending integer keys, handing each field to `field`.
pub(crate) fn read_map<'a>(
    bytes: &'a [u8],
    mut field: impl FnMut(u64, &mut Reader<'a>) -> Result<(), CborFault>,
) -> Result<(), CborFault> {
    let mut reader = Reader { rest: bytes };
    let mut previous = None;
    for _ in 0..reader.expect(MAP)? {
        let key = reader.uint()?;
        if previous.is_some_and(|previous| previous >= key) {
            return Err(CborFault::KeyOrder);
        }
        previous = Some(key);
        field(key, &mut reader)?;
    }
    if reader.rest.is_empty() { Ok(()) } else { Err(CborFault::Trailing) }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn integers_are_written_as_rfc_8949_appendix_a_says() {
        let table: &[(i64, &[u8])] = &[
            (0, &[0x00]),
            (23, &[0x17]),
            (24, &[0x18, 0x18]),
            (100, &[0x18, 0x64]),
            (1000, &[0x19, 0x03, 0xe8]),
            (1_000_000, &[0x1a, 0x00, 0x0f, 0x42, 0x40]),
            (1_000_000_000_000, &[0x1b, 0x00, 0x00, 0x00, 0xe8, 0xd4, 0xa5, 0x10, 0x00]),
            (-1, &[0x20]),
            (-10, &[0x29]),
            (-100, &[0x38, 0x63]),
            (-1000, &[0x39, 0x03, 0xe7]),
            (i64::MIN, &[0x3b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        ];
        for (value, bytes) in table {
            let mut map = MapWriter::with_capacity(0);
            map.int(0, *value);
            let written = map.finish();
            assert_eq!(written.split_at(2), ([0xa1, 0x00].as_slice(), *bytes), "{value}");
            let mut read = None;
            read_map(&written, |_, reader| reader.int().map(|value| read = Some(value))).unwrap();
            assert_eq!(read, Some(*value));
        }
    }

    #[test]
    fn other_spellings_are_refused() {
        let table: &[(&[u8], CborFault)] = &[
            (&[0xa1, 0x00, 0x18, 0x17], CborFault::NotShortest),
            (&[0xa1, 0x00, 0x19, 0x00, 0xff], CborFault::NotShortest),
            (&[0xbf, 0x00, 0x00, 0xff], CborFault::NotShortest),
            (&[0xa2, 0x01, 0x00, 0x00, 0x00], CborFault::KeyOrder),
            (&[0xa2, 0x00, 0x00, 0x00, 0x00], CborFault::KeyOrder),
            (&[0xa1, 0x00, 0x00, 0x00], CborFault::Trailing),
            (&[0xa1, 0x00], CborFault::Truncated),
            (&[0x80], CborFault::WrongType),
            (&[], CborFault::Truncated),
        ];
        for (bytes, fault) in table {
            assert_eq!(read_map(bytes, |_, reader| reader.uint().map(drop)), Err(*fault), "{bytes:02x?}");
        }
    }
}
