//! Minting access tokens for accounts whose credential has been checked.
//!
//! May import what identity may.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use chrono::Duration;
use uuid::Uuid;

use super::{
    account::Account,
    caller::{CallerKind, Purpose},
    jws::TOKEN_BYTES_MAX,
    keys::PublicKey,
    scope::Scopes,
    signing::{SigningError, TokenSigner},
    token::{CallerClaim, Claims, Confirmation, LIFETIME_MAX, TYPE, TokenVerifier},
};
use crate::{
    clock::Clock,
    refusal::{OAuthError, Refusal},
};

/// Why no token was minted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MintError {
    /// The account is disabled.
    #[error("the account is disabled")]
    Disabled,
    /// Partners come by certificate: their contract is not put into a token.
    #[error("a partner is given no token")]
    Partner,
    /// The account may not state this purpose of use.
    #[error("the purpose of use is not among the account's")]
    Purpose,
    /// None of the scopes asked for was granted.
    #[error("none of the scopes is granted")]
    Scope,
    /// Not within 1 second and [`LIFETIME_MAX`].
    #[error("the lifetime is not between 1 second and 15 minutes")]
    Lifetime,
    /// The account holds so much that its token would not be accepted.
    #[error("the token would be longer than {TOKEN_BYTES_MAX} bytes")]
    TooLarge,
    /// No signature.
    #[error(transparent)]
    Signing(#[from] SigningError),
}

impl From<MintError> for Refusal {
    fn from(error: MintError) -> Self {
        let (error, description) = match error {
            MintError::Disabled => ("invalid_grant", "The credentials are not valid."),
            MintError::Partner => ("unauthorized_client", "Partners call with their certificate alone."),
            MintError::Purpose => (
                "invalid_request",
                "The account may not state that purpose_of_use. Leave it out or ask for another.",
            ),
            MintError::Scope => ("invalid_scope", "None of the scopes asked for is granted to this account."),
            MintError::Lifetime | MintError::TooLarge | MintError::Signing(_) => return Self::Internal,
        };
        Self::OAuth(OAuthError { error, description })
    }
}

/// What a token is minted for, beside the account.
pub struct Terms<'a> {
    /// `client_id`: the client itself, or the program a person signed in with.
    pub client: &'a str,
    /// Scopes asked for; `None` asks for all that are granted.
    pub scopes: Option<&'a Scopes>,
    /// Purpose stated; `None` takes the account's default.
    pub purpose: Option<Purpose>,
    /// Opaque key of the account's Practitioner record.
    pub actor: Option<Uuid>,
    /// SHA-256 of the client certificate the token is bound to.
    pub binding: Option<[u8; 32]>,
    /// How long it lives, in whole seconds.
    pub lifetime: Duration,
}

/// A token, and what it grants.
pub struct Minted {
    /// The JWT.
    pub token: String,
    /// `jti`.
    pub jti: Uuid,
    /// Seconds it lives.
    pub lifetime_s: i64,
    /// Scopes granted, which may be fewer than were asked for.
    pub scopes: Scopes,
    /// Purpose of use it is good for.
    pub purpose: Purpose,
}

/// Mints access tokens in the name of one issuer for one audience.
pub struct TokenIssuer {
    signer: TokenSigner,
    issuer: String,
    audience: String,
}

impl TokenIssuer {
    /// `issuer` is this server's own URL, `audience` its FHIR base.
    #[must_use]
    pub fn new(signer: TokenSigner, issuer: impl Into<String>, audience: impl Into<String>) -> Self {
        Self { signer, issuer: issuer.into(), audience: audience.into() }
    }

    /// The public half of the signing key.
    #[must_use]
    pub const fn public(&self) -> &PublicKey {
        self.signer.public()
    }

    /// A verifier of these tokens, and of those signed by `earlier` keys that are being retired.
    #[must_use]
    pub fn verifier(&self, earlier: impl IntoIterator<Item = PublicKey>) -> TokenVerifier {
        let keys = std::iter::once(self.public().clone()).chain(earlier).collect();
        TokenVerifier::new(keys, &self.issuer, &self.audience)
    }

    /// Mints a token for an account whose credential has been checked.
    ///
    /// # Errors
    /// [`MintError`].
    pub fn mint(&self, account: &Account, terms: &Terms<'_>, clock: &Clock) -> Result<Minted, MintError> {
        if account.profile.disabled {
            return Err(MintError::Disabled);
        }
        if account.kind() == CallerKind::Partner {
            return Err(MintError::Partner);
        }
        if terms.lifetime < Duration::seconds(1) || terms.lifetime > LIFETIME_MAX {
            return Err(MintError::Lifetime);
        }
        let granted = account.scopes();
        let scopes = terms.scopes.map_or_else(|| granted.clone(), |asked| asked.narrowed_to(&granted));
        if scopes.is_empty() {
            return Err(MintError::Scope);
        }
        let purpose = account.purpose(terms.purpose).ok_or(MintError::Purpose)?;
        let (now, jti) = (clock.now().timestamp(), clock.ordered_id());
        let lifetime_s = terms.lifetime.num_seconds();
        let claims = Claims {
            iss: self.issuer.clone(),
            sub: account.id,
            aud: self.audience.clone(),
            exp: now + lifetime_s,
            nbf: now,
            iat: now,
            jti,
            client_id: terms.client.to_owned(),
            scope: scopes.to_string(),
            cnf: terms.binding.map(|sha256| Confirmation { x5t: BASE64URL.encode(sha256) }),
            caller: CallerClaim::of(account, terms.actor, purpose),
        };
        let token = self.signer.sign(TYPE, &claims)?;
        if token.len() > TOKEN_BYTES_MAX {
            return Err(MintError::TooLarge);
        }
        Ok(Minted { token, jti, lifetime_s, scopes, purpose })
    }
}

impl CallerClaim {
    fn of(account: &Account, actor: Option<Uuid>, purpose: Purpose) -> Self {
        let profile = &account.profile;
        Self {
            tenant: profile.tenant,
            tenant_name: profile.tenant_name.clone(),
            kind: account.kind(),
            name: profile.name.clone(),
            roles: profile.roles.clone(),
            actor,
            organisation: profile.organisation.clone(),
            purpose,
        }
    }
}
