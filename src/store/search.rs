//! Candidates for a search, and the versions of one record.
//!
//! Candidates are only narrowed here; whether one matches is decided on its plaintext, and whether it is
//! released is decided by the gate.

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Binary, Integer, Nullable, SmallInt, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl as _;
use uuid::Uuid;

use super::{
    Store, StoreError,
    row::{RawRow, Row},
    statement::{SealedSql, Statement},
};
use crate::{fhir::kinds::ResourceType, seal::Sealed, tenant::TenantId};

/// Who asks, where and when; the same for every query of a request.
#[derive(Clone, Copy)]
pub struct View {
    /// Tenant.
    pub tenant: TenantId,
    /// The caller's practitioner key.
    pub actor: Option<Uuid>,
    /// When.
    pub now: DateTime<Utc>,
}

/// What narrows a search in SQL. Results come newest first.
pub struct Narrowing {
    /// Resource type.
    pub kind: ResourceType,
    /// Records of these patients only (opaque keys).
    pub patients: Option<Vec<Uuid>>,
    /// These records only (opaque keys).
    pub keys: Option<Vec<Uuid>>,
    /// Not earlier than this.
    pub from: DateTime<Utc>,
    /// Earlier than this.
    pub until: DateTime<Utc>,
    /// Only what comes after this place in the order: (updated, key).
    pub after: Option<(DateTime<Utc>, Uuid)>,
    /// How many at most.
    pub limit: i64,
}

const BY_PATIENT: &str = "
WITH hit AS (
  (SELECT r.key, r.updated FROM record r
   WHERE r.tenant = ? AND r.owner = ANY(?) AND r.type = ? AND NOT r.deleted
     AND r.updated >= ? AND r.updated < ? AND (r.updated, r.key) < (?, ?)
   ORDER BY r.updated DESC, r.key DESC LIMIT ?)
  UNION
  (SELECT r.key, r.updated FROM record_link l
   JOIN record r ON r.tenant = l.tenant AND r.type = l.type AND r.key = l.key
   WHERE l.tenant = ? AND l.target = ANY(?) AND l.type = ? AND NOT r.deleted
     AND r.updated >= ? AND r.updated < ? AND (r.updated, r.key) < (?, ?)
   ORDER BY r.updated DESC, r.key DESC LIMIT ?)
)
SELECT 0 AS position, r.tenant, r.type AS kind, r.key, r.version, r.updated, r.deleted, r.owner, r.owner_version,
       r.body, r.entry, d.wrapped,
       ARRAY(SELECT DISTINCT ON (x.kind) int2send(x.kind) || int2send(x.source_type) || uuid_send(x.source_key)
                    || timestamptz_send(x.since) || timestamptz_send(x.until) || x.proof
             FROM relation x
             WHERE x.tenant = r.tenant AND x.patient = r.owner AND x.actor = ?
               AND x.since <= ? AND x.until > ? ORDER BY x.kind LIMIT 8) AS relations
FROM hit JOIN record r ON r.tenant = ? AND r.type = ? AND r.key = hit.key
LEFT JOIN data_key d ON d.tenant = r.tenant AND d.id = r.owner AND d.version = r.owner_version
     AND d.under = '00000000-0000-0000-0000-000000000000'
ORDER BY r.updated DESC, r.key DESC LIMIT ?";

const BY_KEY: &str = "
SELECT 0 AS position, r.tenant, r.type AS kind, r.key, r.version, r.updated, r.deleted, r.owner, r.owner_version,
       r.body, r.entry, d.wrapped,
       ARRAY(SELECT DISTINCT ON (x.kind) int2send(x.kind) || int2send(x.source_type) || uuid_send(x.source_key)
                    || timestamptz_send(x.since) || timestamptz_send(x.until) || x.proof
             FROM relation x
             WHERE x.tenant = r.tenant AND x.patient = r.owner AND x.actor = ?
               AND x.since <= ? AND x.until > ? ORDER BY x.kind LIMIT 8) AS relations
FROM record r
LEFT JOIN data_key d ON d.tenant = r.tenant AND d.id = r.owner AND d.version = r.owner_version
     AND d.under = '00000000-0000-0000-0000-000000000000'
WHERE r.tenant = ? AND r.type = ? AND r.key = ANY(?) AND NOT r.deleted
  AND r.updated >= ? AND r.updated < ? AND (r.updated, r.key) < (?, ?)
ORDER BY r.updated DESC, r.key DESC LIMIT ?";

const BY_TYPE: &str = "
SELECT 0 AS position, r.tenant, r.type AS kind, r.key, r.version, r.updated, r.deleted, r.owner, r.owner_version,
       r.body, r.entry, d.wrapped,
       ARRAY(SELECT DISTINCT ON (x.kind) int2send(x.kind) || int2send(x.source_type) || uuid_send(x.source_key)
                    || timestamptz_send(x.since) || timestamptz_send(x.until) || x.proof
             FROM relation x
             WHERE x.tenant = r.tenant AND x.patient = r.owner AND x.actor = ?
               AND x.since <= ? AND x.until > ? ORDER BY x.kind LIMIT 8) AS relations
FROM record r
LEFT JOIN data_key d ON d.tenant = r.tenant AND d.id = r.owner AND d.version = r.owner_version
     AND d.under = '00000000-0000-0000-0000-000000000000'
WHERE r.tenant = ? AND r.type = ? AND NOT r.deleted
  AND r.updated >= ? AND r.updated < ? AND (r.updated, r.key) < (?, ?)
ORDER BY r.updated DESC, r.key DESC LIMIT ?";

const VERSIONS: &str = "
SELECT 0 AS position, r.tenant, r.type AS kind, r.key, r.version, r.updated, r.deleted, r.owner, r.owner_version,
       r.body, r.entry, d.wrapped,
       ARRAY(SELECT DISTINCT ON (x.kind) int2send(x.kind) || int2send(x.source_type) || uuid_send(x.source_key)
                    || timestamptz_send(x.since) || timestamptz_send(x.until) || x.proof
             FROM relation x
             WHERE x.tenant = r.tenant AND x.patient = r.owner AND x.actor = ?
               AND x.since <= ? AND x.until > ? ORDER BY x.kind LIMIT 8) AS relations
FROM (
  SELECT c.* FROM record c
  WHERE c.tenant = ? AND c.type = ? AND c.key = ? AND c.version BETWEEN ? AND ?
  UNION ALL
  SELECT o.* FROM record_version o
  WHERE o.tenant = ? AND o.type = ? AND o.key = ? AND o.version BETWEEN ? AND ?
) r
LEFT JOIN data_key d ON d.tenant = r.tenant AND d.id = r.owner AND d.version = r.owner_version
     AND d.under = '00000000-0000-0000-0000-000000000000'
ORDER BY r.version DESC LIMIT ?";

const SHARED: &str = "
SELECT d.under AS patient, d.wrapped AS shared, p.version, p.wrapped,
       ARRAY(SELECT DISTINCT ON (x.kind) int2send(x.kind) || int2send(x.source_type) || uuid_send(x.source_key)
                    || timestamptz_send(x.since) || timestamptz_send(x.until) || x.proof
             FROM relation x
             WHERE x.tenant = d.tenant AND x.patient = d.under AND x.actor = ?
               AND x.since <= ? AND x.until > ? ORDER BY x.kind LIMIT 8) AS relations
FROM data_key d
JOIN data_key p ON p.tenant = d.tenant AND p.id = d.under AND p.under = '00000000-0000-0000-0000-000000000000'
WHERE d.tenant = ? AND d.id = ? AND d.version = ?
ORDER BY d.under, p.version DESC";

/// One patient a shared key is wrapped under.
#[derive(QueryableByName)]
pub struct SharedKey {
    /// The patient's opaque key.
    #[diesel(sql_type = SqlUuid)]
    pub patient: Uuid,
    /// The shared key, wrapped under the patient's.
    #[diesel(sql_type = SealedSql)]
    pub shared: Sealed,
    /// Version of the patient's key.
    #[diesel(sql_type = SmallInt)]
    pub version: i16,
    /// The patient's key, wrapped under the tenant's.
    #[diesel(sql_type = SealedSql)]
    pub wrapped: Sealed,
    /// The caller's relationships to the patient, as stored.
    #[diesel(sql_type = Array<Binary>)]
    pub relations: Vec<Vec<u8>>,
}

impl Store {
    /// Candidates of a search, newest first.
    ///
    /// # Errors
    /// [`StoreError`] when the database is away or answers in another form.
    pub async fn candidates(&self, view: &View, narrowing: Narrowing) -> Result<Vec<Row>, StoreError> {
        let Narrowing { kind, patients, keys, from, until, after, limit } = narrowing;
        let (updated, key) = after.unwrap_or((DateTime::<Utc>::MAX_UTC.min(far_future()), Uuid::max()));
        let range = |statement: Statement| {
            statement
                .bind::<Timestamptz, _>(from)
                .bind::<Timestamptz, _>(until)
                .bind::<Timestamptz, _>(updated)
                .bind::<SqlUuid, _>(key)
                .bind::<BigInt, _>(limit)
        };
        let place = |statement: Statement| {
            statement.bind::<Integer, _>(view.tenant.0).bind::<SmallInt, _>(kind.code())
        };
        let statement = match (keys, patients) {
            (Some(keys), _) => {
                range(place(standing(Statement::new(BY_KEY), view)).bind::<Array<SqlUuid>, _>(keys))
            }
            (None, Some(patients)) => {
                let half = |statement: Statement, patients: Vec<Uuid>| {
                    let statement = statement
                        .bind::<Integer, _>(view.tenant.0)
                        .bind::<Array<SqlUuid>, _>(patients)
                        .bind::<SmallInt, _>(kind.code());
                    range(statement)
                };
                let statement = half(half(Statement::new(BY_PATIENT), patients.clone()), patients);
                place(standing(statement, view)).bind::<BigInt, _>(limit)
            }
            (None, None) => range(place(standing(Statement::new(BY_TYPE), view))),
        };
        self.rows(statement).await
    }

    /// Versions `first..=last` of one record, newest first, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`] when the database is away or answers in another form.
    pub async fn versions(
        &self,
        view: &View,
        kind: ResourceType,
        key: Uuid,
        versions: std::ops::RangeInclusive<i32>,
        limit: i64,
    ) -> Result<Vec<Row>, StoreError> {
        let half = |statement: Statement| {
            statement
                .bind::<Integer, _>(view.tenant.0)
                .bind::<SmallInt, _>(kind.code())
                .bind::<SqlUuid, _>(key)
                .bind::<Integer, _>(*versions.start())
                .bind::<Integer, _>(*versions.end())
        };
        let statement = half(half(standing(Statement::new(VERSIONS), view))).bind::<BigInt, _>(limit);
        self.rows(statement).await
    }

    /// The patients a shared key is wrapped under.
    ///
    /// # Errors
    /// [`StoreError`] when the database is away.
    pub async fn shared_key(
        &self,
        view: &View,
        id: Uuid,
        version: i16,
    ) -> Result<Vec<SharedKey>, StoreError> {
        let statement = standing(Statement::new(SHARED), view)
            .bind::<Integer, _>(view.tenant.0)
            .bind::<SqlUuid, _>(id)
            .bind::<SmallInt, _>(version);
        Ok(statement.load(&mut self.connection().await?).await?)
    }

    async fn rows(&self, statement: Statement) -> Result<Vec<Row>, StoreError> {
        let raw: Vec<RawRow> = statement.load(&mut self.connection().await?).await?;
        raw.into_iter().map(RawRow::into_row).collect()
    }
}

fn standing(statement: Statement, view: &View) -> Statement {
    statement
        .bind::<Nullable<SqlUuid>, _>(view.actor)
        .bind::<Timestamptz, _>(view.now)
        .bind::<Timestamptz, _>(view.now)
}

/// A moment after every stored one that PostgreSQL can still hold (year 9999).
#[must_use]
pub fn far_future() -> DateTime<Utc> {
    DateTime::from_timestamp(253_402_300_799, 0).unwrap_or_default()
}
