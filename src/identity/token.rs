//! Access tokens: what is in them, and their verification (RFC 9068 `at+jwt`, RFC 8705 certificate binding).
//!
//! A token carries all a [`Caller`] is, so that verifying one asks no database. The claims of ours stand
//! under one name, `urn:custodia:caller`. May import what identity may.

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use chrono::{DateTime, Duration, Utc};
use quick_cache::sync::Cache;
use ring::digest;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use uuid::Uuid;

use super::{
    caller::{Caller, CallerKind, Purpose},
    jws::{JwsError, Parts, TOKEN_BYTES_MAX},
    keys::{KeySet, PublicKey},
    scope::Scopes,
};
use crate::{refusal::Refusal, tenant::TenantId};

/// The longest life of an access token.
pub const LIFETIME_MAX: Duration = Duration::minutes(15);
/// How far the clocks of two servers may differ before a fresh token counts as not yet valid, in seconds.
pub const SKEW_S: i64 = 5;
/// How many verified tokens are remembered.
const CACHED_TOKENS_MAX: usize = 16_384;
/// `typ` of an access token (RFC 9068 §2.1).
pub(super) const TYPE: &str = "at+jwt";

/// Why a token is not accepted; for the log. The caller is told [`TokenError::told`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Over 8 kB.
    #[error("token too large")]
    TooLarge,
    /// Not a JWS, not of type `at+jwt`, or its claims are not those we mint.
    #[error("malformed token")]
    Malformed,
    /// `kid` names no key of ours.
    #[error("unknown key")]
    UnknownKey,
    /// `alg` is not the key's own.
    #[error("wrong algorithm")]
    Algorithm,
    /// The signature is not the key's.
    #[error("bad signature")]
    Signature,
    /// `iss` is not this server.
    #[error("wrong issuer")]
    Issuer,
    /// `aud` is not this server's FHIR base.
    #[error("wrong audience")]
    Audience,
    /// `exp` has come.
    #[error("token expired")]
    Expired,
    /// `nbf` is still to come.
    #[error("token not yet valid")]
    NotYet,
    /// It lives longer than any token we mint.
    #[error("token lifetime over 15 minutes")]
    Lifetime,
    /// It is bound to a client certificate (RFC 8705) and came without that one.
    #[error("token bound to another certificate")]
    Unbound,
    /// The account's tokens were revoked after it was minted.
    #[error("token revoked")]
    Revoked,
}

impl TokenError {
    /// What the caller is told.
    #[must_use]
    pub const fn told(self) -> &'static str {
        match self {
            Self::Expired => "The access token has expired. Ask the token endpoint for a new one.",
            Self::Unbound => "The access token is bound to another client certificate.",
            _ => "The access token is not valid here. Ask the token endpoint for one.",
        }
    }
}

impl From<TokenError> for Refusal {
    fn from(error: TokenError) -> Self {
        Self::Unauthenticated(error.told())
    }
}

impl From<JwsError> for TokenError {
    fn from(error: JwsError) -> Self {
        match error {
            JwsError::TooLarge => Self::TooLarge,
            JwsError::Malformed => Self::Malformed,
        }
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct Claims {
    pub(super) iss: String,
    pub(super) sub: Uuid,
    pub(super) aud: String,
    pub(super) exp: i64,
    pub(super) nbf: i64,
    pub(super) iat: i64,
    pub(super) jti: Uuid,
    pub(super) client_id: String,
    pub(super) scope: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cnf: Option<Confirmation>,
    #[serde(rename = "urn:custodia:caller")]
    pub(super) caller: CallerClaim,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Confirmation {
    #[serde(rename = "x5t#S256")]
    pub(super) x5t: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CallerClaim {
    pub(super) tenant: TenantId,
    pub(super) tenant_name: String,
    pub(super) kind: CallerKind,
    pub(super) name: String,
    pub(super) roles: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) actor: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) organisation: Option<String>,
    pub(super) purpose: Purpose,
}

/// Verifies access tokens; remembers those it verified, by their SHA-256 and never past their `exp`.
pub struct TokenVerifier {
    keys: KeySet,
    issuer: String,
    audience: String,
    verified: Cache<[u8; 32], Verified>,
    /// Account -> second of the revocation; entries older than any token are dropped.
    revoked: ArcSwap<HashMap<Uuid, i64>>,
}

#[derive(Clone)]
struct Verified {
    caller: Arc<Caller>,
    nbf: i64,
    iat: i64,
    exp: i64,
}

impl TokenVerifier {
    pub(super) fn new(keys: Vec<PublicKey>, issuer: &str, audience: &str) -> Self {
        Self {
            keys: KeySet::of(keys),
            issuer: issuer.to_owned(),
            audience: audience.to_owned(),
            verified: Cache::new(CACHED_TOKENS_MAX),
            revoked: ArcSwap::default(),
        }
    }

    /// The caller behind a bearer token. `presented` is the SHA-256 of the client certificate of this very
    /// connection, if it has one.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn verify(
        &self,
        token: &str,
        now: DateTime<Utc>,
        presented: Option<[u8; 32]>,
    ) -> Result<Arc<Caller>, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::TooLarge);
        }
        let mut key = [0_u8; 32];
        key.copy_from_slice(digest::digest(&digest::SHA256, token.as_bytes()).as_ref());
        if let Some(known) = self.verified.get(&key) {
            return self.admit(known, now, presented).inspect_err(|error| {
                if *error == TokenError::Expired {
                    self.verified.remove(&key);
                }
            });
        }
        // Only what was accepted is remembered: a flood of bad tokens pushes no good one out.
        let read = self.read(token)?;
        let caller = self.admit(read.clone(), now, presented)?;
        self.verified.insert(key, read);
        Ok(caller)
    }

    /// Refuses from now on every token of `account` minted until `now`, that second included. Only this
    /// server knows: elsewhere, and after a restart, such tokens run out within [`LIFETIME_MAX`].
    pub fn revoke(&self, account: Uuid, now: DateTime<Utc>) {
        let now = now.timestamp();
        self.revoked.rcu(|revoked| {
            let mut revoked = HashMap::clone(revoked);
            revoked.retain(|_, at| now - *at <= LIFETIME_MAX.num_seconds() + SKEW_S);
            revoked.insert(account, now);
            revoked
        });
    }

    /// All that does not change while the token lives: form, key, signature, issuer, audience.
    fn read(&self, token: &str) -> Result<Verified, TokenError> {
        let parts = Parts::of(token)?;
        if !parts.is_type(TYPE) {
            return Err(TokenError::Malformed);
        }
        let kid = parts.header.kid.as_deref().ok_or(TokenError::UnknownKey)?;
        let key = self.keys.find(kid).ok_or(TokenError::UnknownKey)?;
        if parts.header.alg != key.algorithm().to_header() {
            return Err(TokenError::Algorithm);
        }
        if !key.verify(parts.input, &parts.signature) {
            return Err(TokenError::Signature);
        }
        let claims: Claims = parts.claims()?;
        if claims.iss != self.issuer {
            return Err(TokenError::Issuer);
        }
        if claims.aud != self.audience {
            return Err(TokenError::Audience);
        }
        if claims.exp.saturating_sub(claims.iat) > LIFETIME_MAX.num_seconds() {
            return Err(TokenError::Lifetime);
        }
        claims.into_verified()
    }

    /// All that depends on the moment and the connection.
    fn admit(
        &self,
        token: Verified,
        now: DateTime<Utc>,
        presented: Option<[u8; 32]>,
    ) -> Result<Arc<Caller>, TokenError> {
        let now = now.timestamp();
        if now >= token.exp {
            return Err(TokenError::Expired);
        }
        if now + SKEW_S < token.nbf {
            return Err(TokenError::NotYet);
        }
        if self.revoked.load().get(&token.caller.account).is_some_and(|at| token.iat <= *at) {
            return Err(TokenError::Revoked);
        }
        if let Some(bound) = token.caller.thumbprint {
            let same = presented.is_some_and(|presented| bool::from(presented.ct_eq(&bound)));
            if !same {
                return Err(TokenError::Unbound);
            }
        }
        Ok(token.caller)
    }
}

impl Claims {
    fn into_verified(self) -> Result<Verified, TokenError> {
        let thumbprint = match self.cnf {
            None => None,
            Some(cnf) => {
                let bytes = BASE64URL.decode(cnf.x5t).map_err(|_| TokenError::Malformed)?;
                Some(<[u8; 32]>::try_from(bytes).map_err(|_| TokenError::Malformed)?)
            }
        };
        let caller = Caller {
            tenant: self.caller.tenant,
            tenant_name: self.caller.tenant_name.into(),
            kind: self.caller.kind,
            account: self.sub,
            name: self.caller.name.into(),
            roles: self.caller.roles.into(),
            actor: self.caller.actor,
            organisation: self.caller.organisation.map(Into::into),
            scopes: Scopes::parse(&self.scope),
            purpose: self.caller.purpose,
            contract: None,
            client: Some(self.client_id.into()),
            token_id: Some(self.jti),
            thumbprint,
        };
        Ok(Verified { caller: Arc::new(caller), nbf: self.nbf, iat: self.iat, exp: self.exp })
    }
}
