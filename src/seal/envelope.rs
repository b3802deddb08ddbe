//! The envelope: the one layout of every sealed column and file.
//!
//! ```text
//! byte  0..2    C5 D1
//!       2       format, 01
//!       3       what is inside: 1 record, 2 account, 3 audit body, 4 key, 5 keystore, 6 cursor
//!       4       compression: 0 none, 1 zstd with dictionary 1
//!       5       reserved, 00
//!       6..22   id of the key it is sealed under
//!      22..24   version of that key, big-endian
//!      24..56   salt
//!      56..88   commitment to the derived key
//!      88..     AES-256-GCM ciphertext and 16-byte tag
//! ```
//! HKDF-SHA-256 (RFC 5869) over (key, salt, `custodia/v1/<what>`) gives 32 bytes of AES key, 12 of nonce and 32 of
//! commitment. Each envelope has a key of its own, so no nonce is ever used twice under one key; the
//! commitment closes what GCM leaves open (a ciphertext that opens under two keys). The header's first 24
//! bytes and the caller's [`Binding`] are the associated data.

use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    hkdf,
    rand::{SecureRandom, SystemRandom},
};
use uuid::Uuid;
use zeroize::Zeroizing;

/// Bytes before the ciphertext.
pub const HEADER_BYTES: usize = 88;
/// Bytes an envelope adds to its plaintext.
pub const OVERHEAD_BYTES: usize = HEADER_BYTES + 16;
const MAGIC: [u8; 3] = [0xC5, 0xD1, 0x01];

/// Ciphertext with its header: the only type that can be bound to a `sealed` column.
#[derive(Clone)]
pub struct Sealed(Vec<u8>);

/// What an envelope holds; keeps one kind from being opened as another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// A version of a FHIR resource.
    Record,
    /// A user, service or partner.
    Account,
    /// The body of a ledger entry.
    AuditBody,
    /// A wrapped key.
    Key,
    /// The local keystore.
    Keystore,
    /// Where a page of a search begins.
    Cursor,
}

impl Content {
    const fn byte(self) -> u8 {
        match self {
            Self::Record => 1,
            Self::Account => 2,
            Self::AuditBody => 3,
            Self::Key => 4,
            Self::Keystore => 5,
            Self::Cursor => 6,
        }
    }

    const fn label(self) -> &'static [u8] {
        match self {
            Self::Record => b"custodia/v1/record",
            Self::Account => b"custodia/v1/account",
            Self::AuditBody => b"custodia/v1/audit-body",
            Self::Key => b"custodia/v1/key",
            Self::Keystore => b"custodia/v1/keystore",
            Self::Cursor => b"custodia/v1/cursor",
        }
    }
}

/// How the plaintext was pressed before it was sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// zstd with the first dictionary.
    Zstd1,
}

/// Why an envelope does not open. Says nothing of what is inside.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum OpenError {
    /// Not an envelope of ours, or one of another content.
    #[error("not an envelope of the expected form")]
    Form,
    /// Sealed under another key than the one offered.
    #[error("sealed under another key")]
    OtherKey,
    /// The ciphertext, its header or what it is bound to was changed.
    #[error("the seal is broken")]
    Broken,
    /// The opened bytes do not decompress or decode.
    #[error("the opened bytes are not in the expected form")]
    Plaintext,
}

/// The machine would not give random bytes, or a primitive failed.
#[derive(Debug, thiserror::Error)]
#[error("the cryptographic library failed")]
pub struct SealError;

/// What a ciphertext belongs to: associated data, each part behind its length.
pub struct Binding(Vec<u8>);

impl Binding {
    /// Starts a binding; `parts` are length-prefixed in order.
    #[must_use]
    pub fn new(parts: &[&[u8]]) -> Self {
        let mut bytes = Vec::with_capacity(24 + parts.iter().map(|p| p.len() + 4).sum::<usize>());
        for part in parts {
            bytes.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
            bytes.extend_from_slice(part);
        }
        Self(bytes)
    }
}

/// A symmetric key with the name it has in envelope headers.
pub(super) struct NamedKey {
    pub(super) id: Uuid,
    pub(super) version: u16,
    pub(super) key: Zeroizing<[u8; 32]>,
}

/// Diesel asks for it; shows the length only.
impl std::fmt::Debug for Sealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sealed({} bytes)", self.0.len())
    }
}

impl Sealed {
    /// Takes bytes that came out of a sealed column or file, if their header is one.
    ///
    /// # Errors
    /// [`OpenError::Form`] when they are too short or begin otherwise.
    pub fn from_stored(bytes: Vec<u8>) -> Result<Self, OpenError> {
        if bytes.len() >= OVERHEAD_BYTES && bytes.starts_with(&MAGIC) {
            Ok(Self(bytes))
        } else {
            Err(OpenError::Form)
        }
    }

    /// The bytes as they are stored.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// SHA-256 of the envelope: how entries name exactly what was released.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let mut out = [0; 32];
        out.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, &self.0).as_ref());
        out
    }

    /// Id and version of the key it is sealed under.
    #[must_use]
    pub fn key(&self) -> (Uuid, u16) {
        let id = self.0.get(6..22).and_then(|b| Uuid::from_slice(b).ok()).unwrap_or_default();
        let version = self.0.get(22..24).and_then(|b| b.try_into().ok()).map_or(0, u16::from_be_bytes);
        (id, version)
    }

    fn header(&self) -> Result<&[u8; HEADER_BYTES], OpenError> {
        self.0.first_chunk::<HEADER_BYTES>().ok_or(OpenError::Form)
    }

    pub(super) fn compression(&self) -> Result<Compression, OpenError> {
        match self.0.get(4) {
            Some(0) => Ok(Compression::None),
            Some(1) => Ok(Compression::Zstd1),
            _ => Err(OpenError::Form),
        }
    }
}

/// Key, nonce and commitment of one envelope.
fn derive(
    key: &[u8; 32],
    salt: &[u8],
    content: Content,
) -> Result<(LessSafeKey, [u8; 12], [u8; 32]), SealError> {
    struct Bytes(usize);
    impl hkdf::KeyType for Bytes {
        fn len(&self) -> usize {
            self.0
        }
    }
    let mut okm = Zeroizing::new([0_u8; 76]);
    let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(key);
    prk.expand(&[content.label()], Bytes(76))
        .and_then(|o| o.fill(okm.as_mut_slice()))
        .map_err(|_| SealError)?;
    let (aes, rest) = okm.split_first_chunk::<32>().ok_or(SealError)?;
    let (nonce, rest) = rest.split_first_chunk::<12>().ok_or(SealError)?;
    let commitment = rest.first_chunk::<32>().ok_or(SealError)?;
    let aes = UnboundKey::new(&AES_256_GCM, aes).map_err(|_| SealError)?;
    Ok((LessSafeKey::new(aes), *nonce, *commitment))
}

fn associated(header: &[u8], binding: &Binding) -> Vec<u8> {
    let mut aad = Vec::with_capacity(24 + binding.0.len());
    aad.extend_from_slice(header.get(..24).unwrap_or_default());
    aad.extend_from_slice(&binding.0);
    aad
}

impl NamedKey {
    /// Seals `plaintext` under a fresh salt.
    pub(super) fn seal(
        &self,
        content: Content,
        compression: Compression,
        binding: &Binding,
        plaintext: &[u8],
    ) -> Result<Sealed, SealError> {
        let mut bytes = Vec::with_capacity(OVERHEAD_BYTES + plaintext.len());
        bytes.extend_from_slice(&MAGIC);
        bytes.push(content.byte());
        bytes.push(if compression == Compression::Zstd1 { 1 } else { 0 });
        bytes.push(0);
        bytes.extend_from_slice(self.id.as_bytes());
        bytes.extend_from_slice(&self.version.to_be_bytes());
        let mut salt = [0_u8; 32];
        SystemRandom::new().fill(&mut salt).map_err(|_| SealError)?;
        let (key, nonce, commitment) = derive(&self.key, &salt, content)?;
        bytes.extend_from_slice(&salt);
        bytes.extend_from_slice(&commitment);
        let aad = associated(&bytes, binding);
        bytes.extend_from_slice(plaintext);
        let body = bytes.get_mut(HEADER_BYTES..).ok_or(SealError)?;
        let tag = key
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), body)
            .map_err(|_| SealError)?;
        bytes.extend_from_slice(tag.as_ref());
        Ok(Sealed(bytes))
    }

    /// Opens an envelope sealed by [`NamedKey::seal`] under the same key, content and binding.
    pub(super) fn open(
        &self,
        content: Content,
        binding: &Binding,
        sealed: &Sealed,
    ) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let header = sealed.header()?;
        if header.get(3) != Some(&content.byte()) || header.get(5) != Some(&0) {
            return Err(OpenError::Form);
        }
        if sealed.key() != (self.id, self.version) {
            return Err(OpenError::OtherKey);
        }
        let (salt, commitment) =
            header.get(24..).and_then(|rest| rest.split_at_checked(32)).ok_or(OpenError::Form)?;
        let (key, nonce, expected) = derive(&self.key, salt, content).map_err(|_| OpenError::Broken)?;
        if !same(commitment, &expected) {
            return Err(OpenError::Broken);
        }
        let aad = associated(header, binding);
        let mut body = Zeroizing::new(sealed.0.get(HEADER_BYTES..).ok_or(OpenError::Form)?.to_vec());
        let opened = key
            .open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut body)
            .map_err(|_| OpenError::Broken)?
            .len();
        body.truncate(opened);
        Ok(body)
    }
}

/// Compares in constant time.
pub(super) fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0_u8, |acc, (x, y)| acc | (x ^ y)) == 0
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn key(byte: u8) -> NamedKey {
        NamedKey { id: Uuid::from_bytes([7; 16]), version: 1, key: Zeroizing::new([byte; 32]) }
    }

    fn seal(key: &NamedKey, binding: &Binding) -> Sealed {
        key.seal(Content::Record, Compression::None, binding, b"the quick brown fox").unwrap()
    }

    #[test]
    fn what_was_sealed_opens_under_the_same_key_and_binding() {
        let binding = Binding::new(&[b"tenant", b"Patient"]);
        let sealed = seal(&key(1), &binding);
        assert_eq!(
            key(1).open(Content::Record, &binding, &sealed).unwrap().as_slice(),
            b"the quick brown fox"
        );
        assert_eq!(sealed.as_bytes().len(), OVERHEAD_BYTES + 19);
    }

    #[test]
    fn another_key_content_or_binding_does_not_open() {
        let binding = Binding::new(&[b"tenant", b"Patient"]);
        let sealed = seal(&key(1), &binding);
        assert_eq!(key(2).open(Content::Record, &binding, &sealed).unwrap_err(), OpenError::Broken);
        assert_eq!(key(1).open(Content::Account, &binding, &sealed).unwrap_err(), OpenError::Form);
        // Length prefixes: the same bytes cut elsewhere are another binding.
        let shifted = Binding::new(&[b"tenantP", b"atient"]);
        assert_eq!(key(1).open(Content::Record, &shifted, &sealed).unwrap_err(), OpenError::Broken);
        let other = NamedKey { version: 2, ..key(1) };
        assert_eq!(other.open(Content::Record, &binding, &sealed).unwrap_err(), OpenError::OtherKey);
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let binding = Binding::new(&[b"t"]);
        let sealed = seal(&key(1), &binding);
        for bit in 0..sealed.as_bytes().len() * 8 {
            let mut bytes = sealed.as_bytes().to_vec();
            *bytes.get_mut(bit / 8).unwrap() ^= 1 << (bit % 8);
            let opened = Sealed::from_stored(bytes).and_then(|s| {
                // The compression byte is bound by the associated data like the rest of the header.
                key(1).open(Content::Record, &binding, &s)
            });
            assert!(opened.is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_key_seals_the_same_bytes_differently_each_time() {
        let binding = Binding::new(&[]);
        assert_ne!(seal(&key(1), &binding).as_bytes(), seal(&key(1), &binding).as_bytes());
    }
}
