//! Everything about some patients, type by type, each in the order of its updates.
//!
//! Only narrowed here: each record is opened and permitted on its own before it counts.

use chrono::{DateTime, Utc};
use diesel::sql_types::{Array, BigInt, Integer, Nullable, SmallInt, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl as _;
use uuid::Uuid;

use super::{
    Store, StoreError,
    history::Moment,
    row::{RawRow, Row},
    search::View,
    statement::Statement,
};
use crate::fhir::kinds::ResourceType;

const ABOUT: &str = "
WITH hit AS (
  (SELECT r.type, r.key, r.updated FROM record r
   WHERE r.tenant = ? AND r.owner = ANY(?) AND r.type = ANY(?) AND NOT r.deleted AND r.updated >= ?
     AND (r.type, r.updated, r.key) > (?, ?, ?)
   ORDER BY r.type, r.updated, r.key LIMIT ?)
  UNION
  (SELECT r.type, r.key, r.updated FROM record_link l
   JOIN record r ON r.tenant = l.tenant AND r.type = l.type AND r.key = l.key
   WHERE l.tenant = ? AND l.target = ANY(?) AND r.type = ANY(?) AND NOT r.deleted AND r.updated >= ?
     AND (r.type, r.updated, r.key) > (?, ?, ?)
   ORDER BY r.type, r.updated, r.key LIMIT ?)
)
SELECT 0 AS position, r.tenant, r.type AS kind, r.key, r.version, r.updated, r.deleted, r.owner, r.owner_version,
       r.body, r.entry, d.wrapped,
       ARRAY(SELECT DISTINCT ON (x.kind) int2send(x.kind) || int2send(x.source_type) || uuid_send(x.source_key)
                    || timestamptz_send(x.since) || timestamptz_send(x.until) || x.proof
             FROM relation x
             WHERE x.tenant = r.tenant AND x.patient = r.owner AND x.actor = ?
               AND x.since <= ? AND x.until > ? ORDER BY x.kind LIMIT 8) AS relations
FROM hit JOIN record r ON r.tenant = ? AND r.type = hit.type AND r.key = hit.key
LEFT JOIN data_key d ON d.tenant = r.tenant AND d.id = r.owner AND d.version = r.owner_version
     AND d.under = '00000000-0000-0000-0000-000000000000'
ORDER BY r.type, r.updated, r.key LIMIT ?";

impl Store {
    /// Current records of these types about any of these patients (opaque keys) that were updated since, after a
    /// place in the order, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`] when the database is away or answers in another form.
    pub async fn everything(
        &self,
        view: &View,
        patients: &[Uuid],
        kinds: &[ResourceType],
        (since, after): (DateTime<Utc>, Option<Moment>),
        limit: i64,
    ) -> Result<Vec<Row>, StoreError> {
        let (updated, code, key) = after
            .map_or((DateTime::UNIX_EPOCH, 0, Uuid::nil()), |moment| (moment.0, moment.1.code(), moment.2));
        let codes: Vec<i16> = kinds.iter().map(|kind| kind.code()).collect();
        let half = |statement: Statement| {
            statement
                .bind::<Integer, _>(view.tenant.0)
                .bind::<Array<SqlUuid>, _>(patients.to_vec())
                .bind::<Array<SmallInt>, _>(codes.clone())
                .bind::<Timestamptz, _>(since)
                .bind::<SmallInt, _>(code)
                .bind::<Timestamptz, _>(updated)
                .bind::<SqlUuid, _>(key)
                .bind::<BigInt, _>(limit)
        };
        let raw: Vec<RawRow> = half(half(Statement::new(ABOUT)))
            .bind::<Nullable<SqlUuid>, _>(view.actor)
            .bind::<Timestamptz, _>(view.now)
            .bind::<Timestamptz, _>(view.now)
            .bind::<Integer, _>(view.tenant.0)
            .bind::<BigInt, _>(limit)
            .load(&mut self.connection().await?)
            .await?;
        raw.into_iter().map(RawRow::into_row).collect()
    }
}
