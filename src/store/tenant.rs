//! Tenants and their audit keys.

use chrono::{DateTime, Utc};
use diesel::{
    OptionalExtension as _, QueryableByName,
    sql_types::{Integer, Text, Timestamptz},
};
use diesel_async::RunQueryDsl as _;

use super::{
    Store, StoreError,
    statement::{SealedSql, Statement},
};
use crate::{seal::Sealed, tenant::TenantId};

/// A tenant with its wrapped key.
#[derive(QueryableByName)]
pub struct TenantRow {
    #[diesel(sql_type = Integer)]
    id: i32,
    /// Its name, as it stands in entries.
    #[diesel(sql_type = Text)]
    pub name: String,
    /// Root epoch its key is wrapped under.
    #[diesel(sql_type = Integer)]
    pub epoch: i32,
    /// The wrapped key.
    #[diesel(sql_type = SealedSql)]
    pub wrapped: Sealed,
}

impl TenantRow {
    /// Its number.
    #[must_use]
    pub const fn id(&self) -> TenantId {
        TenantId(self.id)
    }
}

#[derive(QueryableByName)]
struct WrappedKey {
    #[diesel(sql_type = SealedSql)]
    wrapped: Sealed,
}

impl Store {
    /// Every tenant.
    ///
    /// # Errors
    /// [`StoreError`] when the database is away.
    pub async fn tenants(&self) -> Result<Vec<TenantRow>, StoreError> {
        let statement = Statement::new("SELECT id, name, epoch, wrapped FROM tenant ORDER BY id");
        Ok(statement.load(&mut self.connection().await?).await?)
    }

    /// Adds a tenant unless its number or name is taken; says whether it did.
    ///
    /// # Errors
    /// [`StoreError`] when the database is away.
    pub async fn add_tenant(
        &self,
        id: TenantId,
        name: &str,
        epoch: i32,
        wrapped: Sealed,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let added = Statement::new(
            "INSERT INTO tenant (id, name, epoch, wrapped, created) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        )
        .bind::<Integer, _>(id.0)
        .bind::<Text, _>(name.to_owned())
        .bind::<Integer, _>(epoch)
        .bind::<SealedSql, _>(wrapped)
        .bind::<Timestamptz, _>(now)
        .execute(&mut self.connection().await?)
        .await?;
        Ok(added == 1)
    }

    /// The audit key of a tenant's month, if there is one.
    ///
    /// # Errors
    /// [`StoreError`] when the database is away.
    pub async fn audit_key(&self, tenant: TenantId, month: i32) -> Result<Option<Sealed>, StoreError> {
        let row: Option<WrappedKey> =
            Statement::new("SELECT wrapped FROM audit_key WHERE tenant = ? AND month = ?")
                .bind::<Integer, _>(tenant.0)
                .bind::<Integer, _>(month)
                .get_result(&mut self.connection().await?)
                .await
                .optional()?;
        Ok(row.map(|row| row.wrapped))
    }

    /// Stores the audit key of a tenant's month unless another server was faster.
    ///
    /// # Errors
    /// [`StoreError`] when the database is away.
    pub async fn add_audit_key(
        &self,
        tenant: TenantId,
        month: i32,
        wrapped: Sealed,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        Statement::new(
            "INSERT INTO audit_key (tenant, month, wrapped, created) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        )
        .bind::<Integer, _>(tenant.0)
        .bind::<Integer, _>(month)
        .bind::<SealedSql, _>(wrapped)
        .bind::<Timestamptz, _>(now)
        .execute(&mut self.connection().await?)
        .await?;
        Ok(())
    }
}
