//! Public keys: one key, and a JWKS of them (RFC 7517), with nothing private in it.
//!
//! May import what identity may.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk};
use ring::{digest, signature};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};

use super::jws::JwsAlgorithm;

/// The largest JWKS that is read, in bytes.
pub const JWKS_BYTES_MAX: usize = 64 * 1024;
/// The most keys one client registers.
pub const KEYS_MAX: usize = 16;
/// The longest `kid`, in bytes.
pub const KID_BYTES_MAX: usize = 128;
/// RSA moduli, in bytes: 2048 to 4096 bits.
const MODULUS_BYTES: std::ops::RangeInclusive<usize> = 256..=512;
/// Members of a JWK that only a private or a symmetric key has (RFC 7518 §6.2.2, §6.3.2, §6.4).
const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// Why a key or a set of keys is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Over [`JWKS_BYTES_MAX`].
    #[error("the JWKS is longer than {JWKS_BYTES_MAX} bytes")]
    TooLarge,
    /// No key, or more than [`KEYS_MAX`].
    #[error("a JWKS holds 1 to {KEYS_MAX} keys")]
    Count,
    /// Not JSON of a JWKS.
    #[error("not a JWKS: expected {{\"keys\": [...]}}")]
    Malformed,
    /// A private or symmetric key was sent; it must be considered lost.
    #[error("the JWKS holds a private or symmetric key: register public keys only, and replace this one")]
    Private,
    /// `kid` absent, too long, or used twice.
    #[error("every key needs its own kid of 1 to {KID_BYTES_MAX} bytes")]
    KeyId,
    /// A kind of key, curve or algorithm that is not accepted.
    #[error("keys are EC P-256 (ES256), EC P-384 (ES384), Ed25519 (EdDSA) or RSA (RS384)")]
    Unsupported,
    /// The numbers of the key do not have the size they must have.
    #[error("the key's numbers are not of the right size; RSA takes 2048 to 4096 bits")]
    Size,
    /// `use` is not `sig`.
    #[error("the key is not for signatures: use must be sig")]
    Use,
}

/// A public key and the one algorithm it verifies.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    kid: String,
    algorithm: JwsAlgorithm,
    material: Material,
}

#[derive(Clone, PartialEq, Eq)]
enum Material {
    /// Ed25519: 32 bytes; EC: 0x04, x, y.
    Point(Vec<u8>),
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
}

impl PublicKey {
    /// Reads one JWK. The algorithm follows from the key; an `alg` that says otherwise is refused.
    ///
    /// # Errors
    /// [`KeyError`], each saying what is wrong.
    pub fn from_jwk(jwk: Value) -> Result<Self, KeyError> {
        if PRIVATE_MEMBERS.iter().any(|member| jwk.get(member).is_some()) {
            return Err(KeyError::Private);
        }
        let text = |name: &str| jwk.get(name).and_then(Value::as_str).map(str::to_owned);
        let (kid, stated, usage) = (text("kid"), text("alg"), text("use"));
        if usage.is_some_and(|usage| usage != "sig") {
            return Err(KeyError::Use);
        }
        let kid = kid.filter(|kid| (1..=KID_BYTES_MAX).contains(&kid.len())).ok_or(KeyError::KeyId)?;
        let jwk: Jwk = serde_json::from_value(jwk).map_err(|_| KeyError::Unsupported)?;
        let (algorithm, material) = match &jwk.algorithm {
            AlgorithmParameters::EllipticCurve(key) => {
                let (algorithm, bytes) = match key.curve {
                    EllipticCurve::P256 => (JwsAlgorithm::Es256, 32),
                    EllipticCurve::P384 => (JwsAlgorithm::Es384, 48),
                    _ => return Err(KeyError::Unsupported),
                };
                let point = [vec![4], number(&key.x, bytes)?, number(&key.y, bytes)?].concat();
                (algorithm, Material::Point(point))
            }
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
                (JwsAlgorithm::EdDsa, Material::Point(number(&key.x, 32)?))
            }
            AlgorithmParameters::RSA(key) => (JwsAlgorithm::Rs384, rsa(&key.n, &key.e)?),
            _ => return Err(KeyError::Unsupported),
        };
        if stated.is_some_and(|stated| stated != algorithm.name()) {
            return Err(KeyError::Unsupported);
        }
        Ok(Self { kid, algorithm, material })
    }

    /// A key of ours from the bytes ring gives; its `kid` is its thumbprint.
    pub(super) fn of_point(algorithm: JwsAlgorithm, point: &[u8]) -> Self {
        let mut key = Self { kid: String::new(), algorithm, material: Material::Point(point.to_vec()) };
        key.kid = key.thumbprint();
        key
    }

    /// The name by which a token's header calls for this key.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The algorithm it verifies.
    #[must_use]
    pub const fn algorithm(&self) -> JwsAlgorithm {
        self.algorithm
    }

    /// The JWK, with `kid`, `alg` and `use`.
    #[must_use]
    pub fn to_jwk(&self) -> Value {
        let mut jwk = self.required_members();
        if let Value::Object(members) = &mut jwk {
            members.insert("kid".to_owned(), json!(self.kid));
            members.insert("alg".to_owned(), json!(self.algorithm.name()));
            members.insert("use".to_owned(), json!("sig"));
        }
        jwk
    }

    /// The SHA-256 JWK thumbprint in base64url (RFC 7638 §3).
    #[must_use]
    pub fn thumbprint(&self) -> String {
        BASE64URL.encode(digest::digest(&digest::SHA256, self.required_members().to_string().as_bytes()))
    }

    /// Whether `signature` over `input` was made by this key's private half.
    pub(super) fn verify(&self, input: &[u8], signature: &[u8]) -> bool {
        let checked = match (&self.material, self.algorithm) {
            (Material::Rsa { n, e }, _) => signature::RsaPublicKeyComponents { n, e }.verify(
                &signature::RSA_PKCS1_2048_8192_SHA384,
                input,
                signature,
            ),
            (Material::Point(point), algorithm) => {
                let by: &'static dyn signature::VerificationAlgorithm = match algorithm {
                    JwsAlgorithm::EdDsa => &signature::ED25519,
                    JwsAlgorithm::Es256 => &signature::ECDSA_P256_SHA256_FIXED,
                    JwsAlgorithm::Es384 => &signature::ECDSA_P384_SHA384_FIXED,
                    JwsAlgorithm::Rs384 => return false,
                };
                signature::UnparsedPublicKey::new(by, point).verify(input, signature)
            }
        };
        checked.is_ok()
    }

    /// The members a thumbprint covers, in the order of their names (RFC 7638 §3.2, RFC 8037 §2).
    fn required_members(&self) -> Value {
        let encode = |bytes: &[u8]| BASE64URL.encode(bytes);
        match &self.material {
            Material::Rsa { n, e } => json!({ "e": encode(e), "kty": "RSA", "n": encode(n) }),
            Material::Point(point) if self.algorithm == JwsAlgorithm::EdDsa => {
                json!({ "crv": "Ed25519", "kty": "OKP", "x": encode(point) })
            }
            Material::Point(point) => {
                let curve = if self.algorithm == JwsAlgorithm::Es256 { "P-256" } else { "P-384" };
                let coordinates = point.get(1..).unwrap_or_default();
                let (x, y) = coordinates.split_at(coordinates.len() / 2);
                json!({ "crv": curve, "kty": "EC", "x": encode(x), "y": encode(y) })
            }
        }
    }
}

fn number(text: &str, bytes: usize) -> Result<Vec<u8>, KeyError> {
    BASE64URL.decode(text).ok().filter(|number| number.len() == bytes).ok_or(KeyError::Size)
}

fn rsa(n: &str, e: &str) -> Result<Material, KeyError> {
    let decode = |text: &str| BASE64URL.decode(text).map_err(|_| KeyError::Size);
    let (n, e) = (decode(n)?, decode(e)?);
    let whole = MODULUS_BYTES.contains(&n.len()) && n.first().is_some_and(|first| first & 0x80 != 0);
    let odd = e.last().is_some_and(|last| last & 1 == 1) && e.as_slice() != [1];
    let short = (1..=4).contains(&e.len()) && e.first() != Some(&0);
    if whole && odd && short { Ok(Material::Rsa { n, e }) } else { Err(KeyError::Size) }
}

/// A client's registered public keys; each has its own `kid`.
#[derive(Clone, PartialEq, Eq)]
pub struct KeySet(Vec<PublicKey>);

impl KeySet {
    /// Reads a JWKS.
    ///
    /// # Errors
    /// [`KeyError`]; one key that is not accepted refuses the set.
    pub fn parse(jwks: &[u8]) -> Result<Self, KeyError> {
        if jwks.len() > JWKS_BYTES_MAX {
            return Err(KeyError::TooLarge);
        }
        Self::from_value(serde_json::from_slice(jwks).map_err(|_| KeyError::Malformed)?)
    }

    fn from_value(mut jwks: Value) -> Result<Self, KeyError> {
        let Some(Value::Array(keys)) = jwks.get_mut("keys").map(Value::take) else {
            return Err(KeyError::Malformed);
        };
        if !(1..=KEYS_MAX).contains(&keys.len()) {
            return Err(KeyError::Count);
        }
        let mut set = Self(Vec::with_capacity(keys.len()));
        for key in keys {
            let key = PublicKey::from_jwk(key)?;
            if set.find(&key.kid).is_some() {
                return Err(KeyError::KeyId);
            }
            set.0.push(key);
        }
        Ok(set)
    }

    /// A set of keys that are already read.
    #[must_use]
    pub fn of(keys: Vec<PublicKey>) -> Self {
        Self(keys)
    }

    /// The key of that name.
    #[must_use]
    pub fn find(&self, kid: &str) -> Option<&PublicKey> {
        self.0.iter().find(|key| key.kid == kid)
    }

    /// The JWKS.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({ "keys": self.0.iter().map(PublicKey::to_jwk).collect::<Vec<_>>() })
    }
}

impl Serialize for KeySet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_json().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for KeySet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_value(Value::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}
