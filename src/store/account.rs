//! Accounts, under the opaque keys of the names they are looked up by.

use chrono::{DateTime, Utc};
use diesel::{
    OptionalExtension as _, QueryableByName,
    sql_types::{Array, Integer, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::{AsyncConnection as _, RunQueryDsl as _};
use uuid::Uuid;

use super::{
    Store, StoreError,
    statement::{SealedSql, Statement},
};
use crate::{seal::Sealed, tenant::TenantId};

/// An account as it is stored.
#[derive(QueryableByName)]
pub struct AccountRow {
    #[diesel(sql_type = Integer)]
    tenant: i32,
    /// Its id.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// How often it was changed; the envelope is bound to it.
    #[diesel(sql_type = Integer)]
    pub version: i32,
    /// The sealed account.
    #[diesel(sql_type = SealedSql)]
    pub body: Sealed,
}

impl AccountRow {
    /// The tenant it belongs to.
    #[must_use]
    pub const fn tenant(&self) -> TenantId {
        TenantId(self.tenant)
    }
}

impl Store {
    /// The account behind a name's opaque key.
    ///
    /// # Errors
    /// [`StoreError`] when the database is away.
    pub async fn account(&self, key: Uuid) -> Result<Option<AccountRow>, StoreError> {
        let statement = Statement::new(
            "SELECT a.tenant, a.id, a.version, a.body FROM account_name n
             JOIN account a ON a.tenant = n.tenant AND a.id = n.id WHERE n.key = ?",
        )
        .bind::<SqlUuid, _>(key);
        Ok(statement.get_result(&mut self.connection().await?).await.optional()?)
    }

    /// Adds an account under its names, all or nothing; says whether it did. A taken name refuses it.
    ///
    /// # Errors
    /// [`StoreError`] when the database is away.
    pub async fn add_account(
        &self,
        tenant: TenantId,
        id: Uuid,
        names: Vec<Uuid>,
        body: Sealed,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let mut connection = self.connection().await?;
        let added = connection
            .transaction::<_, diesel::result::Error, _>(async |connection| {
                Statement::new(
                    "INSERT INTO account (tenant, id, version, updated, body) VALUES (?, ?, 1, ?, ?)",
                )
                .bind::<Integer, _>(tenant.0)
                .bind::<SqlUuid, _>(id)
                .bind::<Timestamptz, _>(now)
                .bind::<SealedSql, _>(body)
                .execute(connection)
                .await?;
                Statement::new(
                    "INSERT INTO account_name (key, tenant, id) SELECT k, ?, ? FROM unnest(?) AS k",
                )
                .bind::<Integer, _>(tenant.0)
                .bind::<SqlUuid, _>(id)
                .bind::<Array<SqlUuid>, _>(names)
                .execute(connection)
                .await
            })
            .await;
        match added {
            Ok(_) => Ok(true),
            Err(diesel::result::Error::DatabaseError(
                diesel::result::DatabaseErrorKind::UniqueViolation,
                _,
            )) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Replaces an account if it still has version `from`; says whether it did.
    ///
    /// # Errors
    /// [`StoreError`] when the database is away.
    pub async fn replace_account(
        &self,
        tenant: TenantId,
        id: Uuid,
        from: i32,
        body: Sealed,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let changed = Statement::new(
            "UPDATE account SET version = version + 1, updated = ?, body = ?
             WHERE tenant = ? AND id = ? AND version = ?",
        )
        .bind::<Timestamptz, _>(now)
        .bind::<SealedSql, _>(body)
        .bind::<Integer, _>(tenant.0)
        .bind::<SqlUuid, _>(id)
        .bind::<Integer, _>(from)
        .execute(&mut self.connection().await?)
        .await?;
        Ok(changed == 1)
    }

    /// Notes that an assertion was used; `false` when it was used before. Forgets expired ones.
    ///
    /// # Errors
    /// [`StoreError`] when the database is away.
    pub async fn use_assertion(
        &self,
        key: Uuid,
        expires: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let mut connection = self.connection().await?;
        Statement::new("DELETE FROM assertion_seen WHERE expires < ?")
            .bind::<Timestamptz, _>(now)
            .execute(&mut connection)
            .await?;
        let fresh =
            Statement::new("INSERT INTO assertion_seen (key, expires) VALUES (?, ?) ON CONFLICT DO NOTHING")
                .bind::<SqlUuid, _>(key)
                .bind::<Timestamptz, _>(expires)
                .execute(&mut connection)
                .await?;
        Ok(fresh == 1)
    }
}
