//! The caller: what identity has established, and nothing a request merely claims.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::scope::Scopes;
use crate::tenant::TenantId;

/// How the caller came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CallerKind {
    /// A person who signed in.
    User,
    /// A program with its own credentials (SMART Backend Services).
    Service,
    /// An organisation whose client certificate is registered.
    Partner,
}

/// Purpose of use, a code of HL7 v3 PurposeOfUse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "&'static str", try_from = "String")]
pub enum Purpose {
    /// Treatment.
    Treat,
    /// Health-care payment.
    Payment,
    /// Health-care operations.
    Operations,
    /// Emergency treatment.
    Emergency,
    /// Patient's own request.
    PatientRequest,
    /// Audit of accesses.
    Audit,
}

impl Purpose {
    /// The code as HL7 spells it.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Treat => "TREAT",
            Self::Payment => "HPAYMT",
            Self::Operations => "HOPERAT",
            Self::Emergency => "ETREAT",
            Self::PatientRequest => "PATRQT",
            Self::Audit => "HSYSADMIN",
        }
    }

    /// The purpose a code names.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        [Self::Treat, Self::Payment, Self::Operations, Self::Emergency, Self::PatientRequest, Self::Audit]
            .into_iter()
            .find(|purpose| purpose.code() == code)
    }
}

impl From<Purpose> for &'static str {
    fn from(purpose: Purpose) -> Self {
        purpose.code()
    }
}

impl TryFrom<String> for Purpose {
    type Error = &'static str;

    fn try_from(code: String) -> Result<Self, Self::Error> {
        Self::from_code(&code).ok_or("not a purpose of use that is known here")
    }
}

/// What a partner may do under its contract, by resource type name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contract {
    /// Types it may read and search.
    pub reads: Vec<String>,
    /// Types it may create, update and delete.
    pub writes: Vec<String>,
}

/// Somebody identity vouches for.
///
/// Only `identity` builds one, so holding a `Caller` is proof that a credential was checked.
#[derive(Clone)]
pub struct Caller {
    pub(super) tenant: TenantId,
    pub(super) tenant_name: Arc<str>,
    pub(super) kind: CallerKind,
    pub(super) account: Uuid,
    pub(super) name: Arc<str>,
    pub(super) roles: Arc<[String]>,
    pub(super) actor: Option<Uuid>,
    pub(super) organisation: Option<Arc<str>>,
    pub(super) scopes: Scopes,
    pub(super) purpose: Purpose,
    pub(super) contract: Option<Arc<Contract>>,
    pub(super) client: Option<Arc<str>>,
    pub(super) token_id: Option<Uuid>,
    pub(super) thumbprint: Option<[u8; 32]>,
}

impl Caller {
    /// The tenant the credential belongs to; never taken from a header or a URL.
    #[must_use]
    pub const fn tenant(&self) -> TenantId {
        self.tenant
    }
    /// The tenant's name, as it stands in entries.
    #[must_use]
    pub fn tenant_name(&self) -> &str {
        &self.tenant_name
    }
    /// Person, service or partner.
    #[must_use]
    pub const fn kind(&self) -> CallerKind {
        self.kind
    }
    /// Identifier of the account.
    #[must_use]
    pub const fn account(&self) -> Uuid {
        self.account
    }
    /// Login or registered name of the account.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
    /// Roles, as the policies spell them.
    #[must_use]
    pub fn roles(&self) -> &[String] {
        &self.roles
    }
    /// Opaque key of the Practitioner record this person is, if any.
    #[must_use]
    pub const fn actor(&self) -> Option<Uuid> {
        self.actor
    }
    /// Organisation the account belongs to.
    #[must_use]
    pub fn organisation(&self) -> Option<&str> {
        self.organisation.as_deref()
    }
    /// SMART scopes of the credential.
    #[must_use]
    pub const fn scopes(&self) -> &Scopes {
        &self.scopes
    }
    /// Why the caller says it asks.
    #[must_use]
    pub const fn purpose(&self) -> Purpose {
        self.purpose
    }
    /// The partner's contract.
    #[must_use]
    pub fn contract(&self) -> Option<&Contract> {
        self.contract.as_deref()
    }
    /// OAuth client the token was issued to.
    #[must_use]
    pub fn client(&self) -> Option<&str> {
        self.client.as_deref()
    }
    /// `jti` of the access token.
    #[must_use]
    pub const fn token_id(&self) -> Option<Uuid> {
        self.token_id
    }
    /// SHA-256 of the client certificate.
    #[must_use]
    pub const fn thumbprint(&self) -> Option<[u8; 32]> {
        self.thumbprint
    }
}
