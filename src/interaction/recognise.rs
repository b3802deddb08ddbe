//! From a credential to a caller.

use std::sync::Arc;

use uuid::Uuid;

use super::Failure;
use crate::{
    app::App,
    fhir::{kinds::ResourceType, reference::Reference},
    identity::{Account, Caller, LookupName, partner},
    refusal::Refusal,
    seal::TenantKeys,
};

/// The caller behind a bearer token, presented with or without a client certificate.
///
/// # Errors
/// [`Refusal::Unauthenticated`] with what to do about it.
pub fn bearer(app: &App, token: &str, presented: Option<[u8; 32]>) -> Result<Arc<Caller>, Failure> {
    app.doorman
        .verifier
        .verify(token, app.clock.now(), presented)
        .map_err(|error| Refusal::from(error).into())
}

/// The partner behind a client certificate that the edge has verified.
///
/// # Errors
/// [`Refusal::Unauthenticated`] when the certificate is not registered.
pub async fn certificate(app: &App, thumbprint: [u8; 32]) -> Result<Arc<Caller>, Failure> {
    let now = app.clock.now();
    if let Some(caller) = app.doorman.seen_partner(&thumbprint, now) {
        return Ok(caller);
    }
    let found = account(app, &LookupName::partner(thumbprint)).await?;
    let found = found.ok_or(Refusal::Unauthenticated("The client certificate is not registered here."))?;
    let actor = found.actor(app)?;
    let caller = partner::admit(&found.account, thumbprint, None, actor).map_err(Refusal::from)?;
    app.doorman.remember_partner(thumbprint, Arc::clone(&caller), now);
    Ok(caller)
}

/// An account as it was found.
pub(super) struct Found {
    pub(super) account: Account,
    pub(super) version: i32,
    pub(super) keys: Arc<TenantKeys>,
}

impl Found {
    /// Opaque key of the Practitioner record the account is.
    pub(super) fn actor(&self, app: &App) -> Result<Option<Uuid>, Failure> {
        let Some(practitioner) = &self.account.profile.practitioner else { return Ok(None) };
        let local = Reference::parse(practitioner, &app.base).and_then(Reference::local);
        let Some((ResourceType::PRACTITIONER, id)) = local else { return Err(Refusal::Internal.into()) };
        Ok(Some(self.keys.opaque(ResourceType::PRACTITIONER, id.as_str())))
    }
}

/// Looks an account up and opens it.
pub(super) async fn account(app: &App, name: &LookupName) -> Result<Option<Found>, Failure> {
    let Some(row) = app.store.account(app.keyring.lookup(name.as_bytes())).await? else { return Ok(None) };
    let keys = app.keyring.tenant(row.tenant())?;
    let Ok(json) = keys.open_account(row.id, row.version, &row.body) else {
        tracing::error!(event = "integrity_failed", room = "account");
        return Err(Refusal::Integrity.into());
    };
    let account = Account::from_json(&json).map_err(|_| Refusal::Integrity)?;
    // The envelope binds the row; the account inside must be the row's own.
    if account.id != row.id || account.profile.tenant != row.tenant() {
        return Err(Refusal::Integrity.into());
    }
    Ok(Some(Found { account, version: row.version, keys }))
}
