//! Accounts: what is known of those who may call, as it is sealed in the database.
//!
//! The JSON of an [`Account`] is versioned (`"version": 1`) and denies unknown members: a server never drops
//! what a newer one wrote. May import what identity may.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use subtle::ConstantTimeEq;
use uuid::Uuid;
use validator::{Validate, ValidationError};
use zeroize::Zeroizing;

use super::{
    caller::{CallerKind, Contract, Purpose},
    keys::KeySet,
    lockout::Failures,
    password::PasswordHash,
    scope::{SCOPES_MAX, Scope, Scopes},
};
use crate::{
    fhir::kinds::{ResourceType, is_logical_id},
    tenant::TenantId,
};

/// The version written today.
pub const ACCOUNT_VERSION: u16 = 1;
/// The most client certificates one partner registers.
pub const THUMBPRINTS_MAX: usize = 16;
/// The longest account JSON that is read, in bytes.
pub const ACCOUNT_BYTES_MAX: usize = 256 * 1024;

/// Why an account is not taken, neither from an administrator nor from the database.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// A field breaks its rule; the text names fields and rules, never values.
    #[error("the account is not valid: {0}")]
    Invalid(String),
    /// The credentials break their rule.
    #[error("the credentials are not valid: {0}")]
    Credentials(&'static str),
    /// Not the JSON of an account, or longer than [`ACCOUNT_BYTES_MAX`].
    #[error("not the JSON of an account")]
    Malformed,
    /// Written by a newer server.
    #[error("the account was written in a version this server does not know")]
    Version,
}

/// All of an account but its credentials.
#[derive(Clone, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
#[validate(schema(function = "default_purpose_is_allowed"))]
pub struct Profile {
    /// Number of the tenant; never 0, which is the house.
    #[validate(custom(function = "is_tenant"))]
    pub tenant: TenantId,
    /// Name of the tenant, as it stands in entries.
    #[validate(length(min = 1, max = 64), custom(function = "is_name"))]
    pub tenant_name: String,
    /// Login name, `client_id` or partner name: lower-case letters, digits and `. _ @ -`.
    #[validate(length(min = 1, max = 128), custom(function = "is_name"))]
    pub name: String,
    /// Roles, as the policies spell them.
    #[validate(length(max = 16), custom(function = "are_roles"))]
    pub roles: Vec<String>,
    /// Organisation the account belongs to, for entries.
    #[validate(length(min = 1, max = 256), non_control_character)]
    pub organisation: Option<String>,
    /// `Practitioner/<id>`: the record this person is.
    #[validate(custom(function = "is_practitioner"))]
    pub practitioner: Option<String>,
    /// SMART v2 scopes granted, separated by spaces.
    #[validate(length(max = 8192), custom(function = "are_scopes"))]
    pub scopes: String,
    /// Purposes of use the account may state.
    #[validate(length(min = 1, max = 6))]
    pub purposes: Vec<Purpose>,
    /// The purpose when a request states none.
    pub default_purpose: Purpose,
    /// A disabled account signs in nowhere.
    pub disabled: bool,
}

/// What an account proves itself with.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Credentials {
    /// A person's password.
    User {
        /// Argon2id, as a PHC string.
        password: PasswordHash,
    },
    /// A program's public keys.
    Service {
        /// Keys its client assertions are verified by.
        keys: KeySet,
    },
    /// A partner's certificates.
    Partner {
        /// SHA-256 of each certificate's DER.
        thumbprints: Vec<Thumbprint>,
        /// What it may do.
        contract: Contract,
    },
}

/// An account, whole. It holds credentials, so it has no Debug.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    version: u16,
    /// Identifier; `sub` of its tokens.
    pub id: Uuid,
    /// When it was registered.
    pub created: DateTime<Utc>,
    /// Everything but the credentials.
    pub profile: Profile,
    /// The credentials.
    pub credentials: Credentials,
    /// Failed sign-ins, kept with the account.
    #[serde(default)]
    pub failures: Failures,
}

impl Account {
    /// Registers an account.
    ///
    /// # Errors
    /// [`AccountError::Invalid`] and [`AccountError::Credentials`].
    pub fn register(
        id: Uuid,
        created: DateTime<Utc>,
        profile: Profile,
        credentials: Credentials,
    ) -> Result<Self, AccountError> {
        let failures = Failures::default();
        let account = Self { version: ACCOUNT_VERSION, id, created, profile, credentials, failures };
        account.check()?;
        Ok(account)
    }

    /// Reads the JSON that was sealed, and checks it as on registration.
    ///
    /// # Errors
    /// [`AccountError`].
    pub fn from_json(json: &[u8]) -> Result<Self, AccountError> {
        if json.len() > ACCOUNT_BYTES_MAX {
            return Err(AccountError::Malformed);
        }
        let account: Self = serde_json::from_slice(json).map_err(|_| AccountError::Malformed)?;
        if account.version != ACCOUNT_VERSION {
            return Err(AccountError::Version);
        }
        account.check()?;
        Ok(account)
    }

    /// The JSON to be sealed; checked, so that what is written can be read again.
    ///
    /// # Errors
    /// [`AccountError`].
    pub fn to_json(&self) -> Result<Zeroizing<Vec<u8>>, AccountError> {
        self.check()?;
        serde_json::to_vec(self).map(Zeroizing::new).map_err(|_| AccountError::Malformed)
    }

    /// Person, service or partner.
    #[must_use]
    pub const fn kind(&self) -> CallerKind {
        match self.credentials {
            Credentials::User { .. } => CallerKind::User,
            Credentials::Service { .. } => CallerKind::Service,
            Credentials::Partner { .. } => CallerKind::Partner,
        }
    }

    /// The scopes granted.
    #[must_use]
    pub fn scopes(&self) -> Scopes {
        Scopes::parse(&self.profile.scopes)
    }

    /// `purpose` when the account may state it, its default when none is stated.
    #[must_use]
    pub fn purpose(&self, stated: Option<Purpose>) -> Option<Purpose> {
        let purpose = stated.unwrap_or(self.profile.default_purpose);
        self.profile.purposes.contains(&purpose).then_some(purpose)
    }

    /// The names under which the account is found: one for users and services, one per certificate for
    /// partners.
    #[must_use]
    pub fn lookup_names(&self) -> Vec<LookupName> {
        match &self.credentials {
            Credentials::User { .. } => vec![LookupName::user(&self.profile.name)],
            Credentials::Service { .. } => vec![LookupName::service(&self.profile.name)],
            Credentials::Partner { thumbprints, .. } => {
                thumbprints.iter().map(|thumbprint| LookupName::partner(thumbprint.0)).collect()
            }
        }
    }

    fn check(&self) -> Result<(), AccountError> {
        self.profile.validate().map_err(|errors| AccountError::Invalid(rules_broken(&errors)))?;
        let Credentials::Partner { thumbprints, contract } = &self.credentials else { return Ok(()) };
        if !(1..=THUMBPRINTS_MAX).contains(&thumbprints.len()) {
            return Err(AccountError::Credentials("a partner registers 1 to 16 certificates"));
        }
        let distinct: std::collections::HashSet<_> = thumbprints.iter().map(|one| one.0).collect();
        if distinct.len() != thumbprints.len() {
            return Err(AccountError::Credentials("a certificate is registered twice"));
        }
        let mut types = contract.reads.iter().chain(&contract.writes);
        if types.any(|name| ResourceType::from_name(name).is_none()) {
            return Err(AccountError::Credentials("the contract names a type that is no FHIR R4 resource"));
        }
        Ok(())
    }
}

/// SHA-256 of a client certificate's DER; 64 hex digits in JSON. Compared in constant time.
#[derive(Clone, Copy)]
pub struct Thumbprint(pub [u8; 32]);

impl Thumbprint {
    /// Reads 64 hex digits; colons between bytes are allowed.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut nibbles = text.chars().filter(|c| *c != ':').map(|c| c.to_digit(16));
        let mut bytes = [0_u8; 32];
        for byte in &mut bytes {
            let (high, low) = (nibbles.next()??, nibbles.next()??);
            *byte = u8::try_from(high * 16 + low).ok()?;
        }
        nibbles.next().is_none().then_some(Self(bytes))
    }
}

impl PartialEq for Thumbprint {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Thumbprint {}

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Serialize for Thumbprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Thumbprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("expected 64 hex digits"))
    }
}

/// The name an account is looked up by; the store keeps only its HMAC.
///
/// Unique over all tenants: the tenant follows from the account, not the account from a tenant.
#[derive(Clone, PartialEq, Eq)]
pub struct LookupName(String);

impl LookupName {
    /// A login name; upper and lower case are one.
    #[must_use]
    pub fn user(login: &str) -> Self {
        Self(format!("user:{}", login.to_ascii_lowercase()))
    }

    /// A `client_id`, exactly as registered.
    #[must_use]
    pub fn service(client_id: &str) -> Self {
        Self(format!("service:{client_id}"))
    }

    /// A client certificate.
    #[must_use]
    pub fn partner(thumbprint: [u8; 32]) -> Self {
        Self(format!("partner:{}", Thumbprint(thumbprint)))
    }

    /// What is put under the HMAC: `<kind>:<text>` in UTF-8. Kinds hold no colon, so no two names collide.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// `field: rule` for each rule broken; the values stay out.
fn rules_broken(errors: &validator::ValidationErrors) -> String {
    let mut rules: Vec<String> = errors
        .field_errors()
        .iter()
        .flat_map(|(field, errors)| errors.iter().map(move |error| format!("{field}: {}", error.code)))
        .collect();
    rules.sort();
    rules.join(", ")
}

fn rule(holds: bool, code: &'static str) -> Result<(), ValidationError> {
    if holds { Ok(()) } else { Err(ValidationError::new(code)) }
}

fn is_tenant(tenant: &TenantId) -> Result<(), ValidationError> {
    rule(tenant.0 > TenantId::HOUSE.0, "expected a tenant number above 0")
}

fn is_name(name: &str) -> Result<(), ValidationError> {
    let holds = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._@-".contains(c);
    rule(name.chars().all(holds), "expected lower-case letters, digits and . _ @ -")
}

fn are_roles(roles: &[String]) -> Result<(), ValidationError> {
    let word = |role: &String| {
        (1..=64).contains(&role.len())
            && role.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c))
    };
    rule(roles.iter().all(word), "expected lower-case words of at most 64 characters")
}

fn is_practitioner(reference: &str) -> Result<(), ValidationError> {
    rule(
        reference.strip_prefix("Practitioner/").is_some_and(is_logical_id),
        "expected Practitioner/ and a logical id",
    )
}

fn are_scopes(scopes: &str) -> Result<(), ValidationError> {
    let mut words = scopes.split_ascii_whitespace();
    let known = words.by_ref().take(SCOPES_MAX).all(|word| Scope::parse(word).is_some());
    rule(known && words.next().is_none(), "expected at most 256 SMART v2 resource scopes")
}

fn default_purpose_is_allowed(profile: &Profile) -> Result<(), ValidationError> {
    rule(profile.purposes.contains(&profile.default_purpose), "the default purpose is not among the purposes")
}
