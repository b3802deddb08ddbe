//! Who calls in tests: one account for each kind of caller, in two tenants.

#![expect(clippy::expect_used, reason = "a test without its accounts has failed")]

use std::{sync::LazyLock, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use custodia::{
    fhir::kinds::ResourceType,
    identity::{
        Account, Contract, Credentials, KeySet, PasswordHash, Profile, PublicKey, Purpose, TenantId,
        Thumbprint,
    },
};
use ring::{
    rand::SystemRandom,
    signature::{Ed25519KeyPair, KeyPair as _},
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::authority::Identity;

/// The password of every person.
pub const PASSWORD: &str = "correct horse battery staple";

/// Hashed once: a hash takes 19 MiB and a while.
static HASH: LazyLock<PasswordHash> =
    LazyLock::new(|| PasswordHash::make(PASSWORD).expect("the password is hashed"));

/// A person who signs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Person {
    /// Physician, who is Practitioner/grey.
    Physician,
    /// Physician without any relationship, who is Practitioner/cold.
    Stranger,
    /// Nurse, who is Practitioner/ray.
    Nurse,
    /// Front desk.
    FrontDesk,
    /// Auditor.
    Auditor,
    /// Privacy officer.
    PrivacyOfficer,
    /// Administrator of what can be searched by.
    Administrator,
    /// Physician of the other tenant, whose Practitioner record is spelled as the physician's.
    Foreigner,
}

impl Person {
    /// Everybody.
    pub const ALL: [Self; 8] = [
        Self::Physician,
        Self::Stranger,
        Self::Nurse,
        Self::FrontDesk,
        Self::Auditor,
        Self::PrivacyOfficer,
        Self::Administrator,
        Self::Foreigner,
    ];

    /// Login name.
    #[must_use]
    pub const fn login(self) -> &'static str {
        match self {
            Self::Physician => "grey",
            Self::Stranger => "cold",
            Self::Nurse => "ray",
            Self::FrontDesk => "desk",
            Self::Auditor => "watch",
            Self::PrivacyOfficer => "discreet",
            Self::Administrator => "index",
            Self::Foreigner => "far",
        }
    }

    const fn role(self) -> &'static str {
        match self {
            Self::Physician | Self::Stranger | Self::Foreigner => "physician",
            Self::Nurse => "nurse",
            Self::FrontDesk => "front-desk",
            Self::Auditor => "auditor",
            Self::PrivacyOfficer => "privacy-officer",
            Self::Administrator => "administrator",
        }
    }

    /// The Practitioner record.
    #[must_use]
    pub const fn practitioner(self) -> Option<&'static str> {
        match self {
            Self::Physician | Self::Foreigner => Some("Practitioner/grey"),
            Self::Stranger => Some("Practitioner/cold"),
            Self::Nurse => Some("Practitioner/ray"),
            Self::FrontDesk | Self::Auditor | Self::PrivacyOfficer | Self::Administrator => None,
        }
    }

    pub(crate) fn account(self, tenants: &Tenants) -> Account {
        let tenant = if self == Self::Foreigner { &tenants.other } else { &tenants.clinic };
        let purpose = match self {
            Self::Auditor | Self::Administrator => Purpose::Audit,
            Self::PrivacyOfficer => Purpose::PatientRequest,
            _ => Purpose::Treat,
        };
        let mut profile = profile(tenant, self.login(), purpose, "user/*.cruds");
        if self == Self::PrivacyOfficer {
            profile.purposes.push(Purpose::Operations);
        }
        profile.roles = vec![self.role().to_owned()];
        profile.practitioner = self.practitioner().map(str::to_owned);
        register(profile, Credentials::User { password: HASH.clone() })
    }
}

/// The tenants of a test server: number and name.
pub(crate) struct Tenants {
    pub(crate) clinic: (TenantId, &'static str),
    pub(crate) other: (TenantId, &'static str),
}

/// A partner with a contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Partner {
    /// Reads and writes every type.
    Importer,
    /// Reads Patient and Immunization.
    Registry,
    /// Reads and writes every type of the other tenant.
    FarImporter,
}

impl Partner {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Importer, Self::Registry, Self::FarImporter];

    pub(crate) fn account(self, tenants: &Tenants, identity: &Identity) -> Account {
        let everything = || ResourceType::all().map(|kind| kind.name().to_owned()).collect::<Vec<_>>();
        let (tenant, name, contract) = match self {
            Self::Importer => {
                (&tenants.clinic, "importer", Contract { reads: everything(), writes: everything() })
            }
            Self::FarImporter => {
                (&tenants.other, "far-importer", Contract { reads: everything(), writes: everything() })
            }
            Self::Registry => {
                let reads = vec!["Patient".to_owned(), "Immunization".to_owned()];
                (&tenants.clinic, "registry", Contract { reads, writes: Vec::new() })
            }
        };
        let thumbprints = vec![Thumbprint(identity.thumbprint)];
        let profile = profile(tenant, name, Purpose::Treat, "system/*.cruds");
        register(profile, Credentials::Partner { thumbprints, contract })
    }
}

/// A program of the clinic that reads the log, known by its key.
pub struct Program {
    key: Ed25519KeyPair,
    kid: String,
    public: PublicKey,
}

impl Program {
    /// `client_id`.
    pub const NAME: &str = "log-mirror";

    pub(crate) fn new() -> Self {
        let der = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a key is made");
        let key = Ed25519KeyPair::from_pkcs8(der.as_ref()).expect("a key is read");
        let kid = "mirror-1".to_owned();
        let x = URL_SAFE_NO_PAD.encode(key.public_key().as_ref());
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": kid, "x": x});
        Self { key, kid, public: PublicKey::from_jwk(jwk).expect("the key is a JWK") }
    }

    pub(crate) fn account(&self, tenants: &Tenants) -> Account {
        let mut profile = profile(&tenants.clinic, Self::NAME, Purpose::Audit, "system/*.rs");
        profile.roles = vec!["auditor".to_owned()];
        register(profile, Credentials::Service { keys: KeySet::of(vec![self.public.clone()]) })
    }

    /// A client assertion for the token endpoint (RFC 7523 §2.2).
    #[must_use]
    pub fn assertion(&self, token_url: &str, now: chrono::DateTime<chrono::Utc>, jti: &str) -> String {
        let exp = now + Duration::from_secs(240);
        let claims = json!({
            "iss": Self::NAME, "sub": Self::NAME, "aud": token_url, "jti": jti,
            "iat": now.timestamp(), "exp": exp.timestamp(),
        });
        self.sign(&json!({"alg": "EdDSA", "typ": "JWT", "kid": self.kid}), &claims)
    }

    /// A JWS of anything.
    #[must_use]
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let input = format!("{}.{}", part(header), part(claims));
        let signature = URL_SAFE_NO_PAD.encode(self.key.sign(input.as_bytes()).as_ref());
        format!("{input}.{signature}")
    }
}

fn profile(tenant: &(TenantId, &str), name: &str, purpose: Purpose, scopes: &str) -> Profile {
    Profile {
        tenant: tenant.0,
        tenant_name: tenant.1.to_owned(),
        name: name.to_owned(),
        roles: Vec::new(),
        organisation: None,
        practitioner: None,
        scopes: scopes.to_owned(),
        purposes: vec![purpose],
        default_purpose: purpose,
        disabled: false,
    }
}

/// An account with a random id, as the command would make it.
fn register(profile: Profile, credentials: Credentials) -> Account {
    let created = chrono::DateTime::UNIX_EPOCH;
    Account::register(Uuid::new_v4(), created, profile, credentials).expect("the account is valid")
}
