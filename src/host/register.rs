//! Adding tenants and accounts: recorded before and after, so that no crash leaves one without an entry.
//!
//! May import `app`, `identity`, `ledger`, `seal`, `store`.

use std::net::{IpAddr, Ipv4Addr};

use custodia_audit::Kind;
use uuid::Uuid;

use super::Parts;
use crate::{
    app::App,
    clock::Clock,
    identity::{Account, CallerKind, account::AccountError},
    ledger::{Access, Down, Ledger, Names},
    seal::{KeyError, Keyring},
    store::{Store, StoreError, tenant::TenantRow},
    tenant::TenantId,
};

/// How often a tenant's number is tried when others register at the same time.
const ATTEMPTS_MAX: usize = 16;
/// The longest name of a tenant.
pub const TENANT_NAME_BYTES_MAX: usize = 63;

/// Why nothing was registered.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// The tenant's name breaks its rule.
    #[error("a tenant's name is 1 to 63 lower-case letters, digits and hyphens, and begins with no hyphen")]
    Name,
    /// The name is taken.
    #[error("the name is taken")]
    Taken,
    /// A legal hold is in force already.
    #[error("a legal hold on this tenant is in force already")]
    Held,
    /// No legal hold is in force.
    #[error("no legal hold on this tenant is in force")]
    NotHeld,
    /// There is no such package.
    #[error("there is no such package: `custodia packages list` names them")]
    NoPackage,
    /// There is no such tenant.
    #[error("there is no such tenant: add it with `custodia tenant add`")]
    NoTenant,
    /// The account is not valid.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// A key cannot be had.
    #[error("a key cannot be had")]
    Key(#[from] KeyError),
    /// The database is away.
    #[error("the database is away")]
    Store(#[from] StoreError),
    /// It could not be recorded.
    #[error("it could not be recorded")]
    Down(#[from] Down),
}

/// Where tenants and accounts are added; borrowed from a server or from a command's parts.
pub struct Registry<'a> {
    clock: &'a Clock,
    store: &'a Store,
    keyring: &'a Keyring,
    ledger: &'a Ledger,
}

impl<'a> From<&'a App> for Registry<'a> {
    fn from(app: &'a App) -> Self {
        Self { clock: &app.clock, store: &app.store, keyring: &app.keyring, ledger: &app.ledger }
    }
}

impl<'a> From<&'a Parts> for Registry<'a> {
    fn from(parts: &'a Parts) -> Self {
        Self { clock: &parts.clock, store: &parts.store, keyring: &parts.keyring, ledger: &parts.ledger }
    }
}

impl Registry<'_> {
    pub(super) const fn clock(&self) -> &Clock {
        self.clock
    }

    pub(super) const fn keyring(&self) -> &Keyring {
        self.keyring
    }

    pub(super) const fn store(&self) -> &Store {
        self.store
    }

    /// The tenant of this name.
    ///
    /// # Errors
    /// [`RegisterError::NoTenant`], [`RegisterError::Store`].
    pub async fn tenant(&self, name: &str) -> Result<TenantId, RegisterError> {
        let tenants = self.store.tenants().await?;
        let found = tenants.iter().find(|tenant| tenant.name == name && tenant.id() != TenantId::HOUSE);
        found.map(TenantRow::id).ok_or(RegisterError::NoTenant)
    }

    /// Adds a tenant under a fresh key; this server serves it at once, others within half a minute.
    ///
    /// # Errors
    /// [`RegisterError`].
    pub async fn add_tenant(&self, name: &str) -> Result<TenantId, RegisterError> {
        if !is_tenant_name(name) {
            return Err(RegisterError::Name);
        }
        self.note(Kind::Config, "tenant-add", name, 102, "begun").await?;
        let outcome = self.insert_tenant(name).await;
        self.ended(Kind::Config, "tenant-add", name, &outcome).await?;
        outcome
    }

    async fn insert_tenant(&self, name: &str) -> Result<TenantId, RegisterError> {
        for _ in 0..ATTEMPTS_MAX {
            let tenants = self.store.tenants().await?;
            if tenants.iter().any(|tenant| tenant.name == name) {
                return Err(RegisterError::Taken);
            }
            let last = tenants.iter().map(|tenant| tenant.id().0).max().unwrap_or(TenantId::HOUSE.0);
            let id = TenantId(last.saturating_add(1));
            let (epoch, wrapped) = self.keyring.create_tenant(id)?;
            // If we crash after this, the tenant is there and has no account: it can do nothing yet.
            if self.store.add_tenant(id, name, epoch, wrapped.clone(), self.clock.now()).await? {
                self.keyring.admit(id, epoch, wrapped)?;
                return Ok(id);
            }
        }
        Err(RegisterError::Taken)
    }

    /// Adds an account of a person, a program or a partner under the names it is looked up by.
    ///
    /// # Errors
    /// [`RegisterError`].
    pub async fn add_account(&self, account: &Account) -> Result<Uuid, RegisterError> {
        if self.tenant(&account.profile.tenant_name).await? != account.profile.tenant {
            return Err(RegisterError::NoTenant);
        }
        let what = format!("{}/{}", account.profile.tenant_name, account.profile.name);
        let interaction = match account.kind() {
            CallerKind::User => "user-add",
            CallerKind::Service => "service-add",
            CallerKind::Partner => "partner-add",
        };
        let json = account.to_json()?;
        self.note(Kind::Role, interaction, &what, 102, "begun").await?;
        let outcome = self.insert_account(account, &json).await;
        self.ended(Kind::Role, interaction, &what, &outcome).await?;
        outcome
    }

    async fn insert_account(&self, account: &Account, json: &[u8]) -> Result<Uuid, RegisterError> {
        let tenant = account.profile.tenant;
        let sealed = self.keyring.tenant(tenant)?.seal_account(account.id, 1, json)?;
        let names = account.lookup_names().iter().map(|name| self.keyring.lookup(name.as_bytes())).collect();
        if self.store.add_account(tenant, account.id, names, sealed, self.clock.now()).await? {
            Ok(account.id)
        } else {
            Err(RegisterError::Taken)
        }
    }

    pub(super) async fn ended<T>(
        &self,
        kind: Kind,
        interaction: &'static str,
        what: &str,
        outcome: &Result<T, RegisterError>,
    ) -> Result<(), Down> {
        let (status, code) = match outcome {
            Ok(_) => (201, "ok"),
            Err(RegisterError::Taken) => (409, "taken"),
            Err(RegisterError::Held | RegisterError::NotHeld) => (409, "unchanged"),
            Err(RegisterError::NoPackage) => (404, "not-found"),
            Err(_) => (500, "failed"),
        };
        self.note(kind, interaction, what, status, code).await
    }

    /// By whom is not known here: whoever may run commands on this machine.
    pub(super) async fn note(
        &self,
        kind: Kind,
        interaction: &'static str,
        what: &str,
        status: u16,
        code: &str,
    ) -> Result<(), Down> {
        let access = Access {
            request: self.clock.ordered_id(),
            caller: None,
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            thumbprint: None,
            interaction,
            query: Some(Access::cut(what)),
            named: Names::default(),
        };
        self.ledger.note(&access, kind, status, code).await.map(|_| ())
    }
}

/// What the database's CHECK on `tenant.name` says, and what an account's `tenant_name` may be.
fn is_tenant_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=TENANT_NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(plain) && !name.starts_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenants_name_is_plain() {
        let most = "a".repeat(TENANT_NAME_BYTES_MAX);
        for name in ["north", "9-lives", most.as_str()] {
            assert!(is_tenant_name(name), "{name}");
        }
        let over = "a".repeat(TENANT_NAME_BYTES_MAX + 1);
        for name in ["", "-a", "A", "a b", "ä", "a/b", over.as_str()] {
            assert!(!is_tenant_name(name), "{name}");
        }
    }
}
