//! Tests of identity, and what they share: keys, and tokens forged with them.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod accounts;
mod assertions;
mod grants;
mod tokens;
mod vectors;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use ring::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
        KeyPair,
    },
};
use serde_json::{Value, json};

use super::{jws::JwsAlgorithm, keys::PublicKey};

/// A private key that signs whatever a test wants signed.
enum Forger {
    Ed(Ed25519KeyPair),
    Ec(EcdsaKeyPair, JwsAlgorithm),
}

impl Forger {
    fn new(algorithm: JwsAlgorithm) -> (Self, Vec<u8>) {
        let random = SystemRandom::new();
        let by = match algorithm {
            JwsAlgorithm::Es256 => &ECDSA_P256_SHA256_FIXED_SIGNING,
            JwsAlgorithm::Es384 => &ECDSA_P384_SHA384_FIXED_SIGNING,
            _ => {
                let pkcs8 = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
                let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
                return (Self::Ed(pair), pkcs8.as_ref().to_vec());
            }
        };
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(by, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(by, pkcs8.as_ref(), &random).unwrap();
        (Self::Ec(pair, algorithm), pkcs8.as_ref().to_vec())
    }

    fn public(&self) -> PublicKey {
        match self {
            Self::Ed(pair) => PublicKey::of_point(JwsAlgorithm::EdDsa, pair.public_key().as_ref()),
            Self::Ec(pair, algorithm) => PublicKey::of_point(*algorithm, pair.public_key().as_ref()),
        }
    }

    fn header(&self, typ: &str) -> Value {
        let key = self.public();
        json!({ "typ": typ, "alg": key.algorithm().name(), "kid": key.kid() })
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let input = unsigned(header, claims);
        let signature = match self {
            Self::Ed(pair) => pair.sign(input.as_bytes()).as_ref().to_vec(),
            Self::Ec(pair, _) => pair.sign(&SystemRandom::new(), input.as_bytes()).unwrap().as_ref().to_vec(),
        };
        format!("{input}.{}", BASE64URL.encode(signature))
    }
}

fn unsigned(header: &Value, claims: &Value) -> String {
    format!("{}.{}", BASE64URL.encode(header.to_string()), BASE64URL.encode(claims.to_string()))
}

/// Part `index` of a token, as JSON.
fn part(token: &str, index: usize) -> Value {
    let parts: Vec<&str> = token.split('.').collect();
    serde_json::from_slice(&BASE64URL.decode(parts[index]).unwrap()).unwrap()
}
