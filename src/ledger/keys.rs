//! Audit keys, one a tenant and month, kept opened for at most five minutes.

use std::{collections::HashMap, sync::Arc};

use chrono::{DateTime, Datelike as _, Duration, Utc};

use crate::{
    clock::Clock,
    seal::{AuditKey, KeyError, Keyring},
    store::{Store, StoreError},
    tenant::TenantId,
};

/// How long an opened audit key is used before it is read anew.
const KEPT_MINUTES: i64 = 5;

/// Months for which an audit key is kept whatever is configured; the database refuses to destroy it sooner.
pub const RETENTION_MONTHS_MIN: i32 = 72;

/// Why an audit key cannot be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum AuditKeyError {
    #[error("the database is away")]
    Store(#[from] StoreError),
    #[error("the audit key does not open")]
    Key(#[from] KeyError),
    #[error("the audit key was destroyed when its time was over")]
    Destroyed,
    #[error("the audit key is gone before its time")]
    Gone,
}

pub(super) struct AuditKeys {
    store: Arc<Store>,
    keyring: Arc<Keyring>,
    clock: Clock,
    kept: HashMap<(TenantId, i32), (Arc<AuditKey>, DateTime<Utc>)>,
}

/// The month an entry's body is sealed in: `year * 12 + month - 1`.
#[must_use]
pub fn month_of(at: DateTime<Utc>) -> i32 {
    at.year() * 12 + at.month0().cast_signed()
}

impl AuditKeys {
    pub(super) fn new(store: Arc<Store>, keyring: Arc<Keyring>, clock: Clock) -> Self {
        Self { store, keyring, clock, kept: HashMap::new() }
    }

    /// The key to seal with; made when the month is new.
    pub(super) async fn sealing(
        &mut self,
        tenant: TenantId,
        month: i32,
    ) -> Result<Arc<AuditKey>, AuditKeyError> {
        if let Some(key) = self.held(tenant, month) {
            return Ok(key);
        }
        if self.store.audit_key(tenant, month).await?.is_none() {
            let (_, wrapped) = self.keyring.tenant(tenant)?.new_audit_key(month)?;
            self.store.add_audit_key(tenant, month, wrapped, self.clock.now()).await?;
        }
        // Read back: another server may have been faster, and its key is the one that counts.
        self.opening(tenant, month).await
    }

    /// The key to open with.
    pub(super) async fn opening(
        &mut self,
        tenant: TenantId,
        month: i32,
    ) -> Result<Arc<AuditKey>, AuditKeyError> {
        if let Some(key) = self.held(tenant, month) {
            return Ok(key);
        }
        let Some(wrapped) = self.store.audit_key(tenant, month).await? else {
            // Only time destroys keys by right. One that is missing sooner was taken away.
            let is_spent = month < month_of(self.clock.now()) - RETENTION_MONTHS_MIN;
            return Err(if is_spent { AuditKeyError::Destroyed } else { AuditKeyError::Gone });
        };
        let key = Arc::new(self.keyring.tenant(tenant)?.audit_key(month, &wrapped)?);
        let now = self.clock.now();
        self.kept.retain(|_, (_, since)| now - *since < Duration::minutes(KEPT_MINUTES));
        self.kept.insert((tenant, month), (Arc::clone(&key), now));
        Ok(key)
    }

    fn held(&self, tenant: TenantId, month: i32) -> Option<Arc<AuditKey>> {
        let (key, since) = self.kept.get(&(tenant, month))?;
        (self.clock.now() - *since < Duration::minutes(KEPT_MINUTES)).then(|| Arc::clone(key))
    }
}
