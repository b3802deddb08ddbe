//! JSON Web Signatures in compact form, verified by ring (RFC 7515, RFC 7518 §3, RFC 8037).
//!
//! The one place where a token is taken apart. The `jsonwebtoken` crate gives the shapes of headers and keys;
//! its decoder is not used: it wants a crypto provider that is global to the process and panics when there is
//! none, and it reads the machine's clock where ours is injected.
//!
//! May import what identity may.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use jsonwebtoken::{Algorithm, Header};
use serde::{Deserialize, de::DeserializeOwned};

/// The longest token or assertion that is looked at, in bytes.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// A signature algorithm that is accepted somewhere in the house. There is no `none` and no HMAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JwsAlgorithm {
    /// Ed25519 (RFC 8037).
    EdDsa,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// RSASSA-PKCS1-v1_5 with SHA-384; only to verify.
    Rs384,
}

impl JwsAlgorithm {
    /// All of them, in the order in which they are advertised.
    pub const ALL: [Self; 4] = [Self::Rs384, Self::Es384, Self::Es256, Self::EdDsa];

    /// The name in `alg`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Rs384 => "RS384",
        }
    }

    pub(super) const fn to_header(self) -> Algorithm {
        match self {
            Self::EdDsa => Algorithm::EdDSA,
            Self::Es256 => Algorithm::ES256,
            Self::Es384 => Algorithm::ES384,
            Self::Rs384 => Algorithm::RS384,
        }
    }
}

/// Why a token could not be taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum JwsError {
    #[error("the token is longer than {TOKEN_BYTES_MAX} bytes")]
    TooLarge,
    #[error("the token is not a JWS in compact form")]
    Malformed,
}

/// A token taken apart, and not yet believed.
pub(super) struct Parts<'a> {
    pub(super) header: Header,
    /// `BASE64URL(header) . BASE64URL(payload)`: what is signed.
    pub(super) input: &'a [u8],
    pub(super) signature: Vec<u8>,
    payload: Vec<u8>,
}

impl<'a> Parts<'a> {
    /// Takes `header.payload.signature` apart. Base64 is strict (no padding, no stray bits), so that one
    /// token has one spelling; a header with `crit` is refused, for no extension is understood here
    /// (RFC 7515 §4.1.11).
    pub(super) fn of(token: &'a str) -> Result<Self, JwsError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(JwsError::TooLarge);
        }
        let (input, signature) = token.rsplit_once('.').ok_or(JwsError::Malformed)?;
        let (_, payload) = input.split_once('.').ok_or(JwsError::Malformed)?;
        if payload.contains('.') {
            return Err(JwsError::Malformed);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| JwsError::Malformed)?;
        if header.crit.is_some() {
            return Err(JwsError::Malformed);
        }
        let signature = BASE64URL.decode(signature).map_err(|_| JwsError::Malformed)?;
        let payload = BASE64URL.decode(payload).map_err(|_| JwsError::Malformed)?;
        Ok(Self { header, input: input.as_bytes(), signature, payload })
    }

    /// The payload as claims.
    pub(super) fn claims<T: DeserializeOwned>(&self) -> Result<T, JwsError> {
        serde_json::from_slice(&self.payload).map_err(|_| JwsError::Malformed)
    }

    /// Whether `typ` is `word`, in either of the two spellings RFC 7515 §4.1.9 allows.
    pub(super) fn is_type(&self, word: &str) -> bool {
        self.header.typ.as_deref().is_some_and(|typ| {
            let short = typ.strip_prefix("application/").unwrap_or(typ);
            short.eq_ignore_ascii_case(word)
        })
    }
}

/// `aud`: one audience or several (RFC 7519 §4.1.3).
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Audience {
    pub(super) fn contains(&self, audience: &str) -> bool {
        match self {
            Self::One(one) => one == audience,
            Self::Several(several) => several.iter().any(|one| one == audience),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `{"alg":"EdDSA"}` and `{"alg":"EdDSA","crit":["b64"],"b64":false}`.
    const PLAIN: &str = "eyJhbGciOiJFZERTQSJ9";
    const CRITICAL: &str = "eyJhbGciOiJFZERTQSIsImNyaXQiOlsiYjY0Il0sImI2NCI6ZmFsc2V9";

    #[test]
    fn a_token_that_is_not_three_clean_parts_is_malformed() {
        for token in [
            String::new(),
            ".".to_owned(),
            "..".to_owned(),
            PLAIN.to_owned(),
            format!("{PLAIN}.e30"),
            format!("{PLAIN}.e30.AA.AA"),
            format!("{PLAIN}.e30=.AA"),
            format!("{PLAIN}.e30.AB"),
            format!("{PLAIN}.e30.A A"),
            format!("{CRITICAL}.e30.AA"),
            // {"alg":"none"} and {"alg":"EdDSA","alg":"EdDSA"}
            "eyJhbGciOiJub25lIn0.e30.".to_owned(),
            "eyJhbGciOiJFZERTQSIsImFsZyI6IkVkRFNBIn0.e30.AA".to_owned(),
        ] {
            assert_eq!(Parts::of(&token).err(), Some(JwsError::Malformed), "{token}");
        }
        assert!(Parts::of(&format!("{PLAIN}.e30.AA")).is_ok());
    }

    #[test]
    fn a_token_one_byte_over_the_bound_is_not_looked_at() {
        let padding = "A".repeat(TOKEN_BYTES_MAX - PLAIN.len() - 6);
        let at_bound = format!("{PLAIN}.e30.A{padding}");
        assert_eq!(at_bound.len(), TOKEN_BYTES_MAX);
        assert_ne!(Parts::of(&at_bound).err(), Some(JwsError::TooLarge));
        assert_eq!(Parts::of(&format!("{at_bound}A")).err(), Some(JwsError::TooLarge));
    }
}
