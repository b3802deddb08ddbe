//! Who there is in the demo: a clinic, five people and two partners. Identifiers are those of data/prepare.py.

use custodia::{
    clock::Clock,
    fhir::kinds::ResourceType,
    identity::{
        Account, Contract, Credentials, PasswordHash, Profile, Purpose, TenantId, Thumbprint,
        account::AccountError, password::PasswordError,
    },
};

/// The clinic.
pub(crate) const TENANT: &str = "demo-clinic";
/// The patient whose chart the tour reads; the physician is her general practitioner, the nurse on her care team.
pub(crate) const CHART: &str = "22d7a9b8-7756-4eb7-a95f-6e86e0c93761";
/// The physician's own record.
pub(crate) const PHYSICIAN: &str = "Practitioner/3f5d0e9a-6f0c-4c4e-9c3b-0d8f6a1b2c01";
const STRANGER: &str = "Practitioner/3f5d0e9a-6f0c-4c4e-9c3b-0d8f6a1b2c02";
const NURSE: &str = "Practitioner/3f5d0e9a-6f0c-4c4e-9c3b-0d8f6a1b2c03";

/// One person who signs in.
pub(crate) struct Person {
    /// The name to sign in with, and under which demo.json keeps her.
    pub(crate) name: &'static str,
    /// What she is appointed to.
    pub(crate) role: &'static str,
    /// The record she is.
    pub(crate) practitioner: Option<&'static str>,
    /// Why she looks at records.
    purpose: Purpose,
}

/// The people of the clinic. The stranger is a physician of the same clinic who treats nobody here.
pub(crate) const PEOPLE: [Person; 5] = [
    person("physician", "physician", Some(PHYSICIAN), Purpose::Treat),
    person("stranger", "physician", Some(STRANGER), Purpose::Treat),
    person("nurse", "nurse", Some(NURSE), Purpose::Treat),
    person("front-desk", "front-desk", None, Purpose::Operations),
    person("auditor", "auditor", None, Purpose::Audit),
];

const fn person(
    name: &'static str,
    role: &'static str,
    practitioner: Option<&'static str>,
    purpose: Purpose,
) -> Person {
    Person { name, role, practitioner, purpose }
}

/// One organisation with a certificate.
pub(crate) struct Partner {
    /// Its name, that of its account and of its files.
    pub(crate) name: &'static str,
    reads: Types,
    writes: Types,
}

/// Types of a contract.
#[derive(Clone, Copy)]
enum Types {
    All,
    Only(&'static [&'static str]),
}

/// Brings the records in.
pub(crate) const IMPORTER: Partner = Partner { name: "importer", reads: Types::All, writes: Types::All };
/// A registry of vaccinations.
pub(crate) const REGISTRY: Partner =
    Partner { name: "registry", reads: Types::Only(&["Patient", "Immunization"]), writes: Types::Only(&[]) };
/// The partners of the clinic.
pub(crate) const PARTNERS: [Partner; 2] = [IMPORTER, REGISTRY];

impl Types {
    fn names(self) -> Vec<String> {
        match self {
            Self::All => ResourceType::all().map(|kind| kind.name().to_owned()).collect(),
            Self::Only(names) => names.iter().map(|name| (*name).to_owned()).collect(),
        }
    }
}

/// Why there is no account.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PeopleError {
    /// Its profile breaks a rule.
    #[error("an account of the demo")]
    Account(#[from] AccountError),
    /// Its password cannot be hashed.
    #[error("a password of the demo")]
    Password(#[from] PasswordError),
}

impl Person {
    /// Her account in `tenant`. Blocks: the password is hashed.
    pub(crate) fn account(
        &self,
        tenant: TenantId,
        password: &str,
        clock: &Clock,
    ) -> Result<Account, PeopleError> {
        let profile = Profile {
            roles: vec![self.role.to_owned()],
            practitioner: self.practitioner.map(str::to_owned),
            ..profile(tenant, self.name, "user/*.cruds", self.purpose)
        };
        let credentials = Credentials::User { password: PasswordHash::make(password)? };
        Ok(Account::register(clock.random_id(), clock.now(), profile, credentials)?)
    }
}

impl Partner {
    /// Its account in `tenant`, bound to the certificate with this SHA-256.
    pub(crate) fn account(
        &self,
        tenant: TenantId,
        thumbprint: [u8; 32],
        clock: &Clock,
    ) -> Result<Account, PeopleError> {
        let profile = Profile {
            organisation: Some(format!("Demo {}", self.name)),
            ..profile(tenant, self.name, "system/*.cruds", Purpose::Treat)
        };
        let contract = Contract { reads: self.reads.names(), writes: self.writes.names() };
        let credentials = Credentials::Partner { thumbprints: vec![Thumbprint(thumbprint)], contract };
        Ok(Account::register(clock.random_id(), clock.now(), profile, credentials)?)
    }
}

fn profile(tenant: TenantId, name: &str, scopes: &str, purpose: Purpose) -> Profile {
    Profile {
        tenant,
        tenant_name: TENANT.to_owned(),
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
