//! The server's own signing key: Ed25519 or P-256, held in ring.
//!
//! May import what identity may.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use jsonwebtoken::Header;
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair},
};
use serde::Serialize;
use zeroize::Zeroizing;

use super::{jws::JwsAlgorithm, keys::PublicKey};

/// Why there is no signing key, or no signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SigningError {
    /// The bytes are no PKCS#8 document of an Ed25519 (version 2) or P-256 key.
    #[error("the signing key is not PKCS#8 of an Ed25519 or P-256 key")]
    Key,
    /// ring or the source of randomness failed.
    #[error("a key or signature could not be made")]
    Failed,
    /// The claims did not become JSON.
    #[error("the claims could not be written as JSON")]
    Claims,
}

/// A private key that signs access tokens, and its public half.
pub struct TokenSigner {
    pair: Pair,
    public: PublicKey,
}

enum Pair {
    Ed25519(Ed25519KeyPair),
    /// ECDSA needs a nonce for each signature: it comes from the system, not from the injected clock's
    /// source, because a repeated one gives the key away.
    P256(EcdsaKeyPair, SystemRandom),
}

impl TokenSigner {
    /// Reads a PKCS#8 document; which of the two algorithms follows from the key.
    ///
    /// # Errors
    /// [`SigningError::Key`].
    pub fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, SigningError> {
        if let Ok(pair) = Ed25519KeyPair::from_pkcs8(pkcs8) {
            let public = PublicKey::of_point(JwsAlgorithm::EdDsa, pair.public_key().as_ref());
            return Ok(Self { pair: Pair::Ed25519(pair), public });
        }
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8, &random)
            .map_err(|_| SigningError::Key)?;
        let public = PublicKey::of_point(JwsAlgorithm::Es256, pair.public_key().as_ref());
        Ok(Self { pair: Pair::P256(pair, random), public })
    }

    /// Makes a fresh Ed25519 key, as PKCS#8.
    ///
    /// # Errors
    /// [`SigningError::Failed`] when the system gives no randomness.
    pub fn generate() -> Result<Zeroizing<Vec<u8>>, SigningError> {
        let document =
            Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| SigningError::Failed)?;
        Ok(Zeroizing::new(document.as_ref().to_vec()))
    }

    /// The public half; its `kid` is its JWK thumbprint (RFC 7638).
    #[must_use]
    pub const fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs claims into a JWT whose header carries `typ`, `alg` and `kid`.
    pub(super) fn sign(&self, typ: &str, claims: &impl Serialize) -> Result<String, SigningError> {
        let mut header = Header::new(self.public.algorithm().to_header());
        header.typ = Some(typ.to_owned());
        header.kid = Some(self.public.kid().to_owned());
        let part = |json: Result<Vec<u8>, serde_json::Error>| {
            json.map(|json| BASE64URL.encode(json)).map_err(|_| SigningError::Claims)
        };
        let mut token = part(serde_json::to_vec(&header))?;
        token.push('.');
        token.push_str(&part(serde_json::to_vec(claims))?);
        let signature = self.signature(token.as_bytes())?;
        token.push('.');
        BASE64URL.encode_string(signature, &mut token);
        Ok(token)
    }

    fn signature(&self, input: &[u8]) -> Result<Vec<u8>, SigningError> {
        match &self.pair {
            Pair::Ed25519(pair) => Ok(pair.sign(input).as_ref().to_vec()),
            Pair::P256(pair, random) => pair
                .sign(random, input)
                .map(|signature| signature.as_ref().to_vec())
                .map_err(|_| SigningError::Failed),
        }
    }
}
