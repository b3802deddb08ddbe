//! What a server needs to tell who calls: its issuer, its verifier, its password gate, the partners it has
//! just seen.

use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use quick_cache::sync::Cache;

use super::{Caller, PasswordGate, TokenIssuer, TokenVerifier, token::LIFETIME_MAX};

/// How long an admitted partner is remembered: a disabled or re-contracted one is known everywhere after it.
pub const PARTNER_SECONDS: i64 = 10;
/// Partners remembered at once.
const PARTNERS_MAX: usize = 1_024;
/// Passwords hashed at once, and waiting: a hash takes 19 MiB.
const HASHES: (u16, u16) = (2, 64);

/// Credentials, and what checks them.
pub struct Doorman {
    /// Mints access tokens.
    pub issuer: TokenIssuer,
    /// Verifies them.
    pub verifier: TokenVerifier,
    /// Bounds password hashing.
    pub passwords: PasswordGate,
    /// The token endpoint's URL, which client assertions must name.
    pub token_url: String,
    /// Where the server's own JWKS is.
    pub jwks_url: String,
    /// How long an access token is good.
    pub lifetime: Duration,
    partners: Cache<[u8; 32], (Arc<Caller>, DateTime<Utc>)>,
}

impl Doorman {
    /// A doorman for an issuer; tokens of its own key alone are good.
    #[must_use]
    pub fn new(issuer: TokenIssuer, token_url: String, jwks_url: String) -> Self {
        Self {
            verifier: issuer.verifier([]),
            issuer,
            passwords: PasswordGate::new(HASHES.0, HASHES.1),
            token_url,
            jwks_url,
            lifetime: LIFETIME_MAX,
            partners: Cache::new(PARTNERS_MAX),
        }
    }

    /// The same doorman, whose tokens live for `lifetime`; never longer than [`LIFETIME_MAX`].
    #[must_use]
    pub fn with_lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime.min(LIFETIME_MAX);
        self
    }

    /// A partner admitted within the last [`PARTNER_SECONDS`].
    #[must_use]
    pub fn seen_partner(&self, thumbprint: &[u8; 32], now: DateTime<Utc>) -> Option<Arc<Caller>> {
        let (caller, since) = self.partners.get(thumbprint)?;
        (now - since < Duration::seconds(PARTNER_SECONDS)).then_some(caller)
    }

    /// Remembers an admitted partner.
    pub fn remember_partner(&self, thumbprint: [u8; 32], caller: Arc<Caller>, now: DateTime<Utc>) {
        self.partners.insert(thumbprint, (caller, now));
    }
}
