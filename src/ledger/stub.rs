//! Entries without their bodies, as they are read anew.
//!
//! May import `reader`.

use custodia_audit::Leaf;
use diesel::{
    QueryableByName,
    sql_types::{BigInt, Binary, Bool, Integer, Nullable, SmallInt, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl as _;
use uuid::Uuid;

use super::{
    head::signed,
    reader::{LedgerReader, READ_ENTRIES_MAX, RawEntry, ReadError},
};
use crate::{store::statement::Statement, tenant::TenantId};

/// An entry, and what stands beside it.
pub struct Stub {
    /// The log entry: commitment or control.
    pub leaf: Vec<u8>,
    /// What no hash covers.
    pub beside: Beside,
}

/// What stands beside an entry in the clear: by it entries are found, and no hash of the log covers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beside {
    tenant: TenantId,
    month: i32,
    patient: Option<Uuid>,
    has_body: bool,
}

impl Stub {
    /// Whether it has a body if it is about an access, and none otherwise.
    #[must_use]
    pub fn is_bodied(&self) -> bool {
        matches!(Leaf::from_bytes(&self.leaf), Ok(Leaf::Access(_))) == self.beside.has_body
    }
}

impl RawEntry {
    /// What stands beside it.
    #[must_use]
    pub const fn beside(&self) -> Beside {
        let Self { tenant, month, patient, .. } = *self;
        Beside { tenant, month, patient, has_body: self.body.is_some() }
    }
}

#[derive(QueryableByName)]
struct StubRow {
    #[diesel(sql_type = Integer)]
    tenant: i32,
    #[diesel(sql_type = Integer)]
    month: i32,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    patient: Option<Uuid>,
    #[diesel(sql_type = Binary)]
    leaf: Vec<u8>,
    #[diesel(sql_type = Bool)]
    has_body: bool,
}

impl LedgerReader {
    /// The entries `first..end` (at most [`READ_ENTRIES_MAX`]), as far as there are any, without their bodies.
    ///
    /// # Errors
    /// [`ReadError`] when the database is away.
    pub async fn stubs(&self, first: u64, end: u64) -> Result<Vec<Stub>, ReadError> {
        let end = end.min(first.saturating_add(READ_ENTRIES_MAX));
        let rows: Vec<StubRow> = Statement::new(
            "SELECT tenant, month, patient, leaf, body IS NOT NULL AS has_body FROM ledger_entry
             WHERE shard = ? AND index >= ? AND index < ? ORDER BY index",
        )
        .bind::<SmallInt, _>(self.shard)
        .bind::<BigInt, _>(signed(first))
        .bind::<BigInt, _>(signed(end))
        .load(&mut self.store.connection().await?)
        .await?;
        let stub = |StubRow { tenant, month, patient, leaf, has_body }| Stub {
            leaf,
            beside: Beside { tenant: TenantId(tenant), month, patient, has_body },
        };
        Ok(rows.into_iter().map(stub).collect())
    }
}
