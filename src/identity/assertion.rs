//! Client authentication by a signed assertion: `private_key_jwt` (RFC 7523 §3, SMART Backend Services 2.2).
//!
//! May import what identity may.

use chrono::{DateTime, Duration, Utc};
use serde::Deserialize;

use super::{
    account::{Account, Credentials},
    jws::{Audience, JwsError, Parts},
    token::SKEW_S,
};
use crate::refusal::{OAuthError, Refusal};

/// How far ahead `exp` may lie: five minutes (SMART App Launch 2.2, client-confidential-asymmetric).
pub const AHEAD_MAX: Duration = Duration::minutes(5);
/// The longest `jti`, in bytes.
pub const JTI_BYTES_MAX: usize = 128;

/// Why an assertion is not accepted; for the log. The client is told `invalid_client` and no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssertionError {
    /// Over 8 kB.
    #[error("client assertion too large")]
    TooLarge,
    /// Not a JWS, or its claims are not those of an assertion.
    #[error("malformed client assertion")]
    Malformed,
    /// `iss` and `sub` are not both the client's id.
    #[error("client assertion of another client")]
    Client,
    /// The account is no service, or is disabled.
    #[error("account is disabled or no service")]
    Account,
    /// `kid` names no registered key.
    #[error("unknown key")]
    UnknownKey,
    /// `alg` is not the key's own.
    #[error("wrong algorithm")]
    Algorithm,
    /// The signature is not the key's.
    #[error("bad signature")]
    Signature,
    /// `aud` is not the token endpoint.
    #[error("wrong audience")]
    Audience,
    /// `exp` has come.
    #[error("client assertion expired")]
    Expired,
    /// `exp` lies more than [`AHEAD_MAX`] ahead.
    #[error("client assertion expires too far ahead")]
    TooFarAhead,
    /// `nbf` or `iat` is still to come.
    #[error("client assertion not yet valid")]
    NotYet,
    /// `jti` is empty or over [`JTI_BYTES_MAX`].
    #[error("client assertion without a usable jti")]
    Jti,
}

impl From<AssertionError> for Refusal {
    fn from(_: AssertionError) -> Self {
        Self::OAuth(OAuthError {
            error: "invalid_client",
            description: "The client assertion was not accepted. Check key, iss, sub, aud, exp (5 minutes at most) and jti.",
        })
    }
}

impl From<JwsError> for AssertionError {
    fn from(error: JwsError) -> Self {
        match error {
            JwsError::TooLarge => Self::TooLarge,
            JwsError::Malformed => Self::Malformed,
        }
    }
}

/// An assertion that was accepted, if its `jti` is new: whoever asks remembers (client, jti) until
/// `expires` and refuses it the second time.
#[derive(Debug, PartialEq, Eq)]
pub struct Assertion {
    /// `jti`.
    pub jti: String,
    /// Until when the `jti` must be remembered.
    pub expires: DateTime<Utc>,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
    exp: i64,
    jti: String,
    nbf: Option<i64>,
    iat: Option<i64>,
}

/// The `client_id` an assertion claims, to look the account up by. Nothing is verified yet.
///
/// # Errors
/// [`AssertionError::TooLarge`], [`AssertionError::Malformed`], and [`AssertionError::Client`] when `iss` and
/// `sub` differ.
pub fn claimed_client(assertion: &str) -> Result<String, AssertionError> {
    let claims: Claims = Parts::of(assertion)?.claims()?;
    if claims.iss != claims.sub {
        return Err(AssertionError::Client);
    }
    Ok(claims.sub)
}

/// Verifies an assertion against the keys of the account it claims; `endpoint` is the token endpoint's URL.
///
/// # Errors
/// [`AssertionError`].
pub fn verify(
    assertion: &str,
    account: &Account,
    endpoint: &str,
    now: DateTime<Utc>,
) -> Result<Assertion, AssertionError> {
    let parts = Parts::of(assertion)?;
    // RFC 8725 §3.11: what was minted for another use is no assertion. Clients send `JWT` or nothing.
    if parts.header.typ.is_some() && !parts.is_type("JWT") && !parts.is_type("client-authentication+jwt") {
        return Err(AssertionError::Malformed);
    }
    let Credentials::Service { keys } = &account.credentials else {
        return Err(AssertionError::Account);
    };
    if account.profile.disabled {
        return Err(AssertionError::Account);
    }
    let kid = parts.header.kid.as_deref().ok_or(AssertionError::UnknownKey)?;
    let key = keys.find(kid).ok_or(AssertionError::UnknownKey)?;
    if parts.header.alg != key.algorithm().to_header() {
        return Err(AssertionError::Algorithm);
    }
    if !key.verify(parts.input, &parts.signature) {
        return Err(AssertionError::Signature);
    }
    let claims: Claims = parts.claims()?;
    if claims.iss != account.profile.name || claims.sub != account.profile.name {
        return Err(AssertionError::Client);
    }
    if !claims.aud.contains(endpoint) {
        return Err(AssertionError::Audience);
    }
    check_times(&claims, now.timestamp())?;
    if !(1..=JTI_BYTES_MAX).contains(&claims.jti.len()) {
        return Err(AssertionError::Jti);
    }
    let expires = DateTime::from_timestamp(claims.exp, 0).ok_or(AssertionError::Malformed)?;
    Ok(Assertion { jti: claims.jti, expires })
}

fn check_times(claims: &Claims, now: i64) -> Result<(), AssertionError> {
    if now >= claims.exp {
        return Err(AssertionError::Expired);
    }
    if claims.exp > now + AHEAD_MAX.num_seconds() + SKEW_S {
        return Err(AssertionError::TooFarAhead);
    }
    if [claims.nbf, claims.iat].into_iter().flatten().any(|time| time > now + SKEW_S) {
        return Err(AssertionError::NotYet);
    }
    Ok(())
}
