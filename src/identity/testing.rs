//! Callers and accounts for the unit tests of this room and of others. Not in any build but a test's.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{
    account::{Account, Credentials, Profile},
    caller::{Caller, CallerKind, Contract, Purpose},
    scope::Scopes,
};
use crate::tenant::TenantId;

/// What a test wants a caller to be; the rest as [`Default`] says.
pub(crate) struct Sketch<'a> {
    pub(crate) kind: CallerKind,
    pub(crate) tenant: i32,
    pub(crate) roles: &'a [&'a str],
    pub(crate) scopes: &'a str,
    pub(crate) purpose: Purpose,
    pub(crate) actor: Option<Uuid>,
    pub(crate) contract: Option<Contract>,
}

impl Default for Sketch<'_> {
    fn default() -> Self {
        Self {
            kind: CallerKind::User,
            tenant: 7,
            roles: &["physician"],
            scopes: "user/*.cruds system/*.cruds",
            purpose: Purpose::Treat,
            actor: None,
            contract: None,
        }
    }
}

/// A caller, without any credential.
pub(crate) fn caller(sketch: Sketch<'_>) -> Caller {
    Caller {
        tenant: TenantId(sketch.tenant),
        tenant_name: format!("tenant-{}", sketch.tenant).into(),
        kind: sketch.kind,
        account: Uuid::from_u128(0xACC0_0001),
        name: "tester".into(),
        roles: sketch.roles.iter().map(|role| (*role).to_owned()).collect::<Vec<_>>().into(),
        actor: sketch.actor,
        organisation: None,
        scopes: Scopes::parse(sketch.scopes),
        purpose: sketch.purpose,
        contract: sketch.contract.map(Arc::new),
        client: Some("portal".into()),
        token_id: Some(Uuid::from_u128(0x70CE_0001)),
        thumbprint: None,
    }
}

/// The moment at which the tests of this room play.
pub(crate) fn noon() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap_or_default()
}

/// A profile that is valid.
pub(crate) fn profile(name: &str) -> Profile {
    Profile {
        tenant: TenantId(7),
        tenant_name: "north".to_owned(),
        name: name.to_owned(),
        roles: vec!["physician".to_owned()],
        organisation: Some("North Clinic".to_owned()),
        practitioner: Some("Practitioner/p-1".to_owned()),
        scopes: "user/Observation.rs user/Patient.r system/Patient.rs".to_owned(),
        purposes: vec![Purpose::Treat, Purpose::Operations],
        default_purpose: Purpose::Treat,
        disabled: false,
    }
}

/// An account with these credentials.
pub(crate) fn account(name: &str, credentials: Credentials) -> Account {
    match Account::register(Uuid::from_u128(42), noon(), profile(name), credentials) {
        Ok(account) => account,
        Err(error) => unreachable!("the profile of the tests is valid: {error}"),
    }
}
