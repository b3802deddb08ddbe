//! Keys: the signer and the cosigner that hold one, and the verifier key that names one.
//!
//! A verifier key is `name+hex(key id)+base64(type || public key)`; the key id is the first four bytes of
//! SHA-256(name || 0A || type || public key) (c2sp.org/signed-note). Imports `bytes`.

use std::fmt;

use ring::rand::SecureRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use thiserror::Error;

use super::{Checkpoint, NoteFault};
use crate::bytes::{base64, hex, sha256, unbase64, unhex};

/// What a key signs, and its type byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyKind {
    /// `01`: Ed25519 over the note's text, as a log signs.
    Ed25519,
    /// `04`: a timestamped Ed25519 cosignature, as a witness signs (c2sp.org/tlog-cosignature).
    Cosignature,
}

impl KeyKind {
    /// The type byte.
    #[must_use]
    pub const fn byte(self) -> u8 {
        match self {
            Self::Ed25519 => 1,
            Self::Cosignature => 4,
        }
    }
}

/// Why a key was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum KeyFault {
    /// The name is empty or holds a space, a plus sign or a control character.
    #[error("a key name is not empty and holds no space, plus sign or control character")]
    Name,
    /// The text is not `name+keyid+base64`.
    #[error("a verifier key is written name+keyid+base64")]
    Form,
    /// The key is of a type this crate does not verify.
    #[error("the key is neither Ed25519 (01) nor an Ed25519 cosignature key (04)")]
    Kind,
    /// The key id is not the one of this name and key.
    #[error("the key id does not belong to this name and public key")]
    KeyId,
    /// The private key is malformed.
    #[error("the private key is malformed")]
    Private,
    /// The source of randomness failed.
    #[error("no randomness")]
    Random,
}

/// Whether `name` may name a key.
pub(super) fn is_key_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '+')
}

fn key_id(name: &str, kind: KeyKind, public: &[u8; 32]) -> [u8; 4] {
    let [a, b, c, d, ..] = sha256(&[name.as_bytes(), b"\n", &[kind.byte()], public]);
    [a, b, c, d]
}

/// A verifier key: a name, a kind and a public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vkey {
    name: String,
    kind: KeyKind,
    public: [u8; 32],
}

impl Vkey {
    /// A verifier key of these parts.
    pub fn new(name: &str, kind: KeyKind, public: [u8; 32]) -> Result<Self, KeyFault> {
        if !is_key_name(name) {
            return Err(KeyFault::Name);
        }
        Ok(Self { name: name.to_owned(), kind, public })
    }

    /// Reads `name+hex(key id)+base64(type || public key)`.
    pub fn parse(text: &str) -> Result<Self, KeyFault> {
        let (name, rest) = text.split_once('+').ok_or(KeyFault::Form)?;
        let (id, key) = rest.split_once('+').ok_or(KeyFault::Form)?;
        let id = unhex(id).ok_or(KeyFault::Form)?;
        let key = unbase64(key).ok_or(KeyFault::Form)?;
        let (kind, public) = match key.split_first() {
            Some((1, public)) => (KeyKind::Ed25519, public),
            Some((4, public)) => (KeyKind::Cosignature, public),
            _ => return Err(KeyFault::Kind),
        };
        let vkey = Self::new(name, kind, public.try_into().map_err(|_| KeyFault::Form)?)?;
        if vkey.key_id().as_slice() == id { Ok(vkey) } else { Err(KeyFault::KeyId) }
    }

    /// The key's name; a log's is its origin.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it signs.
    #[must_use]
    pub const fn kind(&self) -> KeyKind {
        self.kind
    }

    /// The Ed25519 public key.
    #[must_use]
    pub const fn public(&self) -> &[u8; 32] {
        &self.public
    }

    /// The four bytes that stand before each of its signatures.
    #[must_use]
    pub fn key_id(&self) -> [u8; 4] {
        key_id(&self.name, self.kind, &self.public)
    }

    /// Checks a signature over a note's text; gives the time of a cosignature, in seconds since 1970.
    pub(super) fn verify(&self, text: &str, signature: &[u8]) -> Result<Option<u64>, NoteFault> {
        let (message, signature, time) = match self.kind {
            KeyKind::Ed25519 => (text.as_bytes().to_vec(), signature, None),
            KeyKind::Cosignature => {
                let (time, signature) = signature.split_first_chunk::<8>().ok_or(NoteFault::BadSignature)?;
                let time = u64::from_be_bytes(*time);
                if i64::try_from(time).is_err() {
                    return Err(NoteFault::BadSignature);
                }
                (cosigned_message(time, text).into_bytes(), signature, Some(time))
            }
        };
        let key = UnparsedPublicKey::new(&ED25519, &self.public);
        key.verify(&message, signature).map_err(|_| NoteFault::BadSignature)?;
        Ok(time)
    }
}

impl fmt::Display for Vkey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = vec![self.kind.byte()];
        key.extend_from_slice(&self.public);
        write!(f, "{}+{}+{}", self.name, hex(&self.key_id()), base64(&key))
    }
}

/// A private Ed25519 key and the name it signs under.
struct Pair {
    name: String,
    pair: Ed25519KeyPair,
    public: [u8; 32],
}

impl Pair {
    fn new(name: &str, pair: Ed25519KeyPair) -> Result<Self, KeyFault> {
        if !is_key_name(name) {
            return Err(KeyFault::Name);
        }
        let public = pair.public_key().as_ref().try_into().map_err(|_| KeyFault::Private)?;
        Ok(Self { name: name.to_owned(), pair, public })
    }

    fn from_pkcs8(name: &str, der: &[u8]) -> Result<Self, KeyFault> {
        Self::new(name, Ed25519KeyPair::from_pkcs8(der).map_err(|_| KeyFault::Private)?)
    }

    fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Self, KeyFault> {
        Self::new(name, Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| KeyFault::Private)?)
    }

    fn vkey(&self, kind: KeyKind) -> Vkey {
        Vkey { name: self.name.clone(), kind, public: self.public }
    }

    /// A signature line, with its line feed: `before` stands between the key id and the signature.
    fn line(&self, kind: KeyKind, before: &[u8], message: &[u8]) -> String {
        let mut signature = key_id(&self.name, kind, &self.public).to_vec();
        signature.extend_from_slice(before);
        signature.extend_from_slice(self.pair.sign(message).as_ref());
        format!("\u{2014} {} {}\n", self.name, base64(&signature))
    }
}

/// A log's signing key and the name it signs under; two keys that both sign, while one takes over from the other.
pub struct Signer {
    pair: Pair,
    newer: Option<Pair>,
}

impl Signer {
    /// Makes a new key, as a PKCS#8 document to be kept sealed.
    pub fn generate_pkcs8(random: &dyn SecureRandom) -> Result<Vec<u8>, KeyFault> {
        let document = Ed25519KeyPair::generate_pkcs8(random).map_err(|_| KeyFault::Random)?;
        Ok(document.as_ref().to_vec())
    }

    /// Loads a key from PKCS#8 (version 2, with the public key, as [`Signer::generate_pkcs8`] writes).
    pub fn from_pkcs8(name: &str, der: &[u8]) -> Result<Self, KeyFault> {
        Ok(Self { pair: Pair::from_pkcs8(name, der)?, newer: None })
    }

    /// Loads a key from its 32-byte seed (RFC 8032 §5.1.5).
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Self, KeyFault> {
        Ok(Self { pair: Pair::from_seed(name, seed)?, newer: None })
    }

    /// Both keys, the newer last: each signature of the two is two lines. Of `newer` its own newer one is left out.
    #[must_use]
    pub fn with_newer(self, newer: Self) -> Self {
        Self { pair: self.pair, newer: Some(newer.pair) }
    }

    /// The name it signs under.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.pair.name
    }

    /// The key that verifies its signatures; of two the newer.
    #[must_use]
    pub fn vkey(&self) -> Vkey {
        self.newer.as_ref().unwrap_or(&self.pair).vkey(KeyKind::Ed25519)
    }

    /// The keys that verify its signatures, the newer last.
    #[must_use]
    pub fn vkeys(&self) -> Vec<Vkey> {
        self.pairs().map(|pair| pair.vkey(KeyKind::Ed25519)).collect()
    }

    fn pairs(&self) -> impl Iterator<Item = &Pair> {
        std::iter::once(&self.pair).chain(&self.newer)
    }

    /// Signs a text, which must end in a line feed and hold no other control characters.
    pub fn sign_note(&self, text: &str) -> Result<String, NoteFault> {
        if !super::note::is_note_text(text) {
            return Err(NoteFault::Text);
        }
        let lines: String =
            self.pairs().map(|pair| pair.line(KeyKind::Ed25519, &[], text.as_bytes())).collect();
        Ok(format!("{text}\n{lines}"))
    }

    /// Signs a checkpoint.
    ///
    /// INVARIANT (the caller's): never sign one that is inconsistent with one signed before.
    pub fn sign_checkpoint(&self, checkpoint: &Checkpoint) -> Result<String, NoteFault> {
        if checkpoint.origin.is_empty() || checkpoint.origin.contains('\n') {
            return Err(NoteFault::Text);
        }
        self.sign_note(&checkpoint.to_text())
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.vkey())
    }
}

/// A witness's key and the name it cosigns under. It signs nothing but cosignatures: a key that also signed
/// notes would let one be passed off as the other.
pub struct Cosigner(Pair);

impl Cosigner {
    /// Loads a key from PKCS#8, as [`Signer::generate_pkcs8`] writes.
    pub fn from_pkcs8(name: &str, der: &[u8]) -> Result<Self, KeyFault> {
        Pair::from_pkcs8(name, der).map(Self)
    }

    /// Loads a key from its 32-byte seed (RFC 8032 §5.1.5).
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Self, KeyFault> {
        Pair::from_seed(name, seed).map(Self)
    }

    /// The key that verifies its cosignatures.
    #[must_use]
    pub fn vkey(&self) -> Vkey {
        self.0.vkey(KeyKind::Cosignature)
    }

    /// The line that says: at `time_s`, seconds since 1970, this was the largest consistent tree I had seen
    /// (c2sp.org/tlog-cosignature, Ed25519 signed message).
    ///
    /// INVARIANT (the caller's): the checkpoint continues the last one cosigned, and is already on disk.
    pub fn cosign(&self, checkpoint: &Checkpoint, time_s: u64) -> Result<String, NoteFault> {
        let text = checkpoint.to_text();
        if !super::note::is_note_text(&text) || i64::try_from(time_s).is_err() {
            return Err(NoteFault::Text);
        }
        let message = cosigned_message(time_s, &text);
        Ok(self.0.line(KeyKind::Cosignature, &time_s.to_be_bytes(), message.as_bytes()))
    }
}

impl fmt::Debug for Cosigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cosigner({})", self.vkey())
    }
}

/// What a cosignature is over: two lines and the checkpoint's text.
fn cosigned_message(time_s: u64, text: &str) -> String {
    format!("cosignature/v1\ntime {time_s}\n{text}")
}
