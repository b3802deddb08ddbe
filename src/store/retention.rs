//! Audit keys whose time is over, and the holds that keep them.

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName,
    sql_types::{BigInt, Integer, Text, Timestamptz},
};
use diesel_async::RunQueryDsl as _;

use super::{Store, StoreError, statement::Statement};
use crate::tenant::TenantId;

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// A legal hold in force.
#[derive(QueryableByName)]
pub struct Hold {
    /// Name of the tenant.
    #[diesel(sql_type = Text)]
    pub tenant: String,
    /// Since when.
    #[diesel(sql_type = Timestamptz)]
    pub placed: DateTime<Utc>,
}

impl Store {
    /// Audit keys of months before `before` (`year * 12 + month - 1`) that nothing holds.
    ///
    /// # Errors
    /// [`StoreError`] when the database is away.
    pub async fn spent_audit_keys(&self, before: i32) -> Result<i64, StoreError> {
        self.count("SELECT count(*) AS count FROM spent_audit_keys(?)", before).await
    }

    /// Destroys those keys; how many there were. The database itself keeps those of the last six years.
    ///
    /// # Errors
    /// [`StoreError`] when the database is away.
    pub async fn destroy_audit_keys(&self, before: i32) -> Result<i64, StoreError> {
        self.count("SELECT destroy_audit_keys(?) AS count", before).await
    }

    async fn count(&self, text: &'static str, before: i32) -> Result<i64, StoreError> {
        let row: Count =
            Statement::new(text).bind::<Integer, _>(before).get_result(&mut self.connection().await?).await?;
        Ok(row.count)
    }

    /// Places a hold on a tenant's audit keys; `false` when one is in force.
    ///
    /// # Errors
    /// [`StoreError`] when the database is away.
    pub async fn place_hold(&self, tenant: TenantId, now: DateTime<Utc>) -> Result<bool, StoreError> {
        let placed =
            Statement::new("INSERT INTO legal_hold (tenant, placed) VALUES (?, ?) ON CONFLICT DO NOTHING")
                .bind::<Integer, _>(tenant.0)
                .bind::<Timestamptz, _>(now)
                .execute(&mut self.connection().await?)
                .await?;
        Ok(placed == 1)
    }

    /// Lifts the hold on a tenant's audit keys; `false` when none is in force.
    ///
    /// # Errors
    /// [`StoreError`] when the database is away.
    pub async fn lift_hold(&self, tenant: TenantId, now: DateTime<Utc>) -> Result<bool, StoreError> {
        let lifted = Statement::new("UPDATE legal_hold SET lifted = ? WHERE tenant = ? AND lifted IS NULL")
            .bind::<Timestamptz, _>(now)
            .bind::<Integer, _>(tenant.0)
            .execute(&mut self.connection().await?)
            .await?;
        Ok(lifted == 1)
    }

    /// The holds in force.
    ///
    /// # Errors
    /// [`StoreError`] when the database is away.
    pub async fn holds(&self) -> Result<Vec<Hold>, StoreError> {
        let statement = Statement::new(
            "SELECT t.name AS tenant, h.placed FROM legal_hold h JOIN tenant t ON t.id = h.tenant
             WHERE h.lifted IS NULL ORDER BY t.name",
        );
        Ok(statement.load(&mut self.connection().await?).await?)
    }
}
