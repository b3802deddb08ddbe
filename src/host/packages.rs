//! FHIR packages: added and taken away by a command, picked up by servers within half a minute.
//!
//! May import `app`, `fhir`, `ledger`, `seal`, `store`.

use std::sync::Arc;

use custodia_audit::Kind;

use super::register::{RegisterError, Registry};
use crate::{
    app::App,
    fhir::{
        definitions::Definitions,
        package::{Conformance, Package},
        terminology::Shipped,
    },
    seal::{KeyError, Keyring},
    store::{
        Store, StoreError,
        package::{PackageName, PackageRow},
    },
    tenant::TenantId,
};

/// Why the packages cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum PackagesError {
    /// The database is away.
    #[error("the database is away")]
    Store(#[from] StoreError),
    /// The house's key cannot be had.
    #[error("the house's key cannot be had")]
    Key(#[from] KeyError),
    /// A row that the house did not write, or that was changed since.
    #[error("the package {0} in the database was not added by this house: remove it and add it again")]
    Foreign(String),
}

/// What the packages in the database hold together, and which they are.
///
/// # Errors
/// [`PackagesError`]; a package that the house did not add counts for nothing, and with it none.
pub(super) async fn load(
    store: &Store,
    keyring: &Keyring,
    definitions: &Definitions,
    shipped: &Shipped,
) -> Result<(Conformance, Vec<PackageName>), PackagesError> {
    let names = store.package_names().await?;
    if names.is_empty() {
        return Ok((Conformance::default().sharing(shipped), names));
    }
    let house = keyring.tenant(TenantId::HOUSE)?;
    let rows = store.packages().await?;
    for row in &rows {
        if !house.proves(&parts(&row.name, &row.version, &row.kept), &row.proof) {
            return Err(PackagesError::Foreign(row.name.clone()));
        }
    }
    let whole = Conformance::of(definitions, rows.iter().map(|row| row.kept.as_slice()));
    tracing::info!(event = "packages_read", packages = rows.len(), profiles = whole.profiles.len());
    Ok((whole.sharing(shipped), names))
}

/// Takes up the packages that are in the database now: what is validated from here on is held to them.
///
/// # Errors
/// [`PackagesError`]; then those of before count.
pub async fn take_up_packages(app: &App) -> Result<Vec<PackageName>, PackagesError> {
    let shipped = app.conformance.load().shipped().clone();
    let (conformance, names) = load(&app.store, &app.keyring, &app.definitions, &shipped).await?;
    app.conformance.store(Arc::new(conformance));
    Ok(names)
}

/// What the proof of a package is made of.
fn parts<'p>(name: &'p str, version: &'p str, kept: &'p [u8]) -> [&'p [u8]; 4] {
    [b"package", name.as_bytes(), version.as_bytes(), kept]
}

impl Registry<'_> {
    /// Adds a package, in place of an earlier version of it.
    ///
    /// # Errors
    /// [`RegisterError`].
    pub async fn add_package(&self, package: Package) -> Result<(), RegisterError> {
        let what = format!("{} {}", package.name, package.version);
        self.note(Kind::Config, "package-add", &what, 102, "begun").await?;
        let outcome = self.put_package(package).await;
        self.ended(Kind::Config, "package-add", &what, &outcome).await?;
        outcome
    }

    async fn put_package(&self, package: Package) -> Result<(), RegisterError> {
        let Package { name, version, kept } = package;
        let proof = self.keyring().tenant(TenantId::HOUSE)?.proof_of(&parts(&name, &version, &kept)).to_vec();
        Ok(self.store().put_package(PackageRow { name, version, kept, proof }, self.clock().now()).await?)
    }

    /// Takes a package away.
    ///
    /// # Errors
    /// [`RegisterError::NoPackage`] if it is not there.
    pub async fn remove_package(&self, name: &str) -> Result<(), RegisterError> {
        self.note(Kind::Config, "package-remove", name, 102, "begun").await?;
        let outcome = match self.store().remove_package(name).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(RegisterError::NoPackage),
            Err(error) => Err(error.into()),
        };
        self.ended(Kind::Config, "package-remove", name, &outcome).await?;
        outcome
    }

    /// The packages there are.
    ///
    /// # Errors
    /// [`RegisterError::Store`].
    pub async fn packages(&self) -> Result<Vec<PackageName>, RegisterError> {
        Ok(self.store().package_names().await?)
    }
}
