//! Compression and padding before the seal.
//!
//! Layout of what is sealed: length of the pressed bytes and of the plain ones (u32 each, big-endian), the
//! pressed bytes, zeros up to a Padmé length (Nikitin et al., "Reducing Metadata Leakage from Encrypted Files", PoPETs 2019 §4): the size on
//! disk then tells at most O(log log n) bits, and costs at most 12 %.
//!
//! Each record is pressed in a context of its own with a dictionary trained on synthetic data, so no record's
//! bytes influence another's size (CRIME, BREACH).

use std::sync::{LazyLock, Mutex};

use zeroize::Zeroizing;
use zstd::{
    bulk::{Compressor, Decompressor},
    dict::{DecoderDictionary, EncoderDictionary},
};

use super::envelope::{Compression, OpenError, SealError};

/// The largest plaintext that is sealed or opened.
pub(super) const PLAIN_BYTES_MAX: usize = 17 << 20;
/// zstd level: the point on this data where more time stopped buying space.
const LEVEL: i32 = 3;
/// Contexts kept for reuse; a frame never refers to an earlier one.
const CONTEXTS_KEPT_MAX: usize = 8;

static DICTIONARY: &[u8] = include_bytes!("dictionary/r4-1.zdict");
static ENCODER: LazyLock<EncoderDictionary<'static>> =
    LazyLock::new(|| EncoderDictionary::copy(DICTIONARY, LEVEL));
static DECODER: LazyLock<DecoderDictionary<'static>> = LazyLock::new(|| DecoderDictionary::copy(DICTIONARY));
static COMPRESSORS: Mutex<Vec<Compressor<'static>>> = Mutex::new(Vec::new());
static DECOMPRESSORS: Mutex<Vec<Decompressor<'static>>> = Mutex::new(Vec::new());

/// Takes a context from the shelf, or makes one.
fn borrow<C>(shelf: &Mutex<Vec<C>>, make: fn() -> std::io::Result<C>) -> std::io::Result<C> {
    let shelved = shelf.lock().ok().and_then(|mut shelf| shelf.pop());
    shelved.map_or_else(make, Ok)
}

fn give_back<C>(shelf: &Mutex<Vec<C>>, context: C) {
    if let Ok(mut shelf) = shelf.lock()
        && shelf.len() < CONTEXTS_KEPT_MAX
    {
        shelf.push(context);
    }
}

/// Presses and pads.
pub(super) fn press(plain: &[u8], compression: Compression) -> Result<Zeroizing<Vec<u8>>, SealError> {
    if plain.len() > PLAIN_BYTES_MAX {
        return Err(SealError);
    }
    let pressed = match compression {
        Compression::None => plain.to_vec(),
        Compression::Zstd1 => {
            let mut context = borrow(&COMPRESSORS, || Compressor::with_prepared_dictionary(&ENCODER))
                .map_err(|_| SealError)?;
            let pressed = context.compress(plain).map_err(|_| SealError)?;
            give_back(&COMPRESSORS, context);
            pressed
        }
    };
    let pressed = Zeroizing::new(pressed);
    let length = u32::try_from(pressed.len()).map_err(|_| SealError)?;
    let plain_length = u32::try_from(plain.len()).map_err(|_| SealError)?;
    let padded = padme(pressed.len() + 8);
    let mut out = Zeroizing::new(Vec::with_capacity(padded));
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&plain_length.to_be_bytes());
    out.extend_from_slice(&pressed);
    out.resize(padded, 0);
    Ok(out)
}

/// Undoes [`press`].
pub(super) fn unpress(padded: &[u8], compression: Compression) -> Result<Vec<u8>, OpenError> {
    let (length, rest) = take_length(padded)?;
    let (plain_length, rest) = take_length(rest)?;
    let pressed = rest.get(..length).ok_or(OpenError::Plaintext)?;
    match compression {
        Compression::None => Ok(pressed.to_vec()),
        Compression::Zstd1 => {
            let mut context = borrow(&DECOMPRESSORS, || Decompressor::with_prepared_dictionary(&DECODER))
                .map_err(|_| OpenError::Plaintext)?;
            let plain = context.decompress(pressed, plain_length).map_err(|_| OpenError::Plaintext)?;
            give_back(&DECOMPRESSORS, context);
            Ok(plain)
        }
    }
}

fn take_length(bytes: &[u8]) -> Result<(usize, &[u8]), OpenError> {
    let (length, rest) = bytes.split_first_chunk::<4>().ok_or(OpenError::Plaintext)?;
    let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| OpenError::Plaintext)?;
    if length > PLAIN_BYTES_MAX { Err(OpenError::Plaintext) } else { Ok((length, rest)) }
}

/// The Padmé length of `length`.
const fn padme(length: usize) -> usize {
    if length < 2 {
        return length;
    }
    let exponent = length.ilog2();
    let significant = exponent.ilog2() + 1;
    let mask = (1_usize << (exponent.saturating_sub(significant))) - 1;
    (length + mask) & !mask
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn what_was_pressed_comes_back() {
        for size in [0_usize, 1, 2, 3, 100, 1_000, 70_000] {
            let plain: Vec<u8> = (0..size).map(|i| u8::try_from(i * 7 % 251).unwrap()).collect();
            for compression in [Compression::None, Compression::Zstd1] {
                let pressed = press(&plain, compression).unwrap();
                assert_eq!(pressed.len(), padme(pressed.len()), "padded");
                assert_eq!(unpress(&pressed, compression).unwrap(), plain);
            }
        }
    }

    #[test]
    fn padding_costs_at_most_an_eighth_and_never_shrinks() {
        for length in 2..100_000 {
            let padded = padme(length);
            assert!(padded >= length && padded - length <= length / 8 + 1, "{length} {padded}");
        }
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        assert_eq!(unpress(&[0, 0], Compression::None), Err(OpenError::Plaintext));
        assert_eq!(unpress(&[0, 0, 0, 9, 0, 0, 0, 1, 1], Compression::None), Err(OpenError::Plaintext));
        assert_eq!(unpress(&[0, 0, 0, 1, 0, 0, 0, 1, 1], Compression::Zstd1), Err(OpenError::Plaintext));
    }
}
