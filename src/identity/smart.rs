//! What the authorisation server says of itself: `.well-known/smart-configuration`, JWKS, token response.
//!
//! May import what identity may.

use serde_json::{Value, json};

use super::{jws::JwsAlgorithm, keys::KeySet, mint::Minted};
use crate::answer::Answer;

/// Where the authorisation server's endpoints are, as absolute URLs.
pub struct Endpoints<'a> {
    /// `issuer`.
    pub issuer: &'a str,
    /// The token endpoint; also the `aud` of client assertions.
    pub token: &'a str,
    /// Where the server's own JWKS is.
    pub jwks: &'a str,
}

/// `/.well-known/smart-configuration` (SMART App Launch 2.2, conformance).
///
/// It claims only what is served: there is no authorisation endpoint, hence neither launch capabilities nor
/// PKCE methods.
#[must_use]
pub fn configuration(endpoints: &Endpoints<'_>) -> Value {
    json!({
        "issuer": endpoints.issuer,
        "jwks_uri": endpoints.jwks,
        "token_endpoint": endpoints.token,
        "grant_types_supported": ["client_credentials", "password"],
        "token_endpoint_auth_methods_supported": ["private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": JwsAlgorithm::ALL.map(JwsAlgorithm::name),
        "scopes_supported": ["system/*.cruds", "user/*.cruds"],
        "capabilities": ["client-confidential-asymmetric", "permission-user", "permission-v2"],
    })
}

/// The JWKS of the server's own public keys, current and retiring (RFC 7517 §5).
#[must_use]
pub fn jwks(keys: &KeySet) -> Value {
    keys.to_json()
}

/// The token endpoint's answer (RFC 6749 §5.1); never cached.
#[must_use]
pub fn token_answer(minted: &Minted) -> Answer {
    let body = json!({
        "access_token": minted.token,
        "token_type": "Bearer",
        "expires_in": minted.lifetime_s,
        "scope": minted.scopes.to_string(),
    });
    Answer::json(200, body.to_string().into_bytes())
        .with_header("cache-control", "no-store")
        .with_header("pragma", "no-cache")
}
