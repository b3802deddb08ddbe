//! Everything about some patients, type by type, each in the order of its updates.
//!
//! Only narrowed here: each record is opened and permitted on its own before it counts.

use chrono::{DateTime, Utc};
use diesel::sql_types::{Array, BigInt, Integer, SmallInt, Timestamptz, Uuid as SqlUuid};
use uuid::Uuid;

use super::{
    Store, StoreError,
    history::Moment,
    row::{Row, standing},
    search::View,
    statement::Statement,
};
use crate::fhir::kinds::ResourceType;

/// Type by type and patient by patient, each a walk along `record_by_owner` no longer than the page.
pub const ABOUT: &str = "
WITH hit AS MATERIALIZED (
  SELECT r.* FROM (
    SELECT c.* FROM unnest(?) AS p(patient), unnest(?) AS t(type), LATERAL (
      SELECT r.* FROM record r
      WHERE r.tenant = ? AND r.owner = p.patient AND r.type = t.type AND NOT r.deleted AND r.updated >= ?
        AND (r.type, r.updated, r.key) > (?, ?, ?)
      ORDER BY r.updated, r.key LIMIT ?) c
    UNION ALL
    SELECT c.* FROM (
      SELECT DISTINCT k.type, k.key FROM unnest(?) AS p(patient), unnest(?) AS t(type), LATERAL (
        SELECT l.type, l.key FROM record_link l
        WHERE l.tenant = ? AND l.target = p.patient AND l.type + 0 = t.type OFFSET 0) k
    ) l CROSS JOIN LATERAL (
      SELECT r.* FROM record r WHERE r.tenant = ? AND r.type = l.type AND r.key = l.key OFFSET 0) c
    WHERE NOT c.deleted AND c.updated >= ? AND (c.type, c.updated, c.key) > (?, ?, ?)
  ) r
  ORDER BY r.type, r.updated, r.key LIMIT ?
)";

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
        let whose = |statement: Statement| {
            statement
                .bind::<Array<SqlUuid>, _>(patients.to_vec())
                .bind::<Array<SmallInt>, _>(codes.clone())
                .bind::<Integer, _>(view.tenant.0)
        };
        let range = |statement: Statement| {
            statement
                .bind::<Timestamptz, _>(since)
                .bind::<SmallInt, _>(code)
                .bind::<Timestamptz, _>(updated)
                .bind::<SqlUuid, _>(key)
        };
        let owned = range(whose(Statement::new(ABOUT))).bind::<BigInt, _>(limit);
        let linked = range(whose(owned).bind::<Integer, _>(view.tenant.0)).bind::<BigInt, _>(limit);
        self.rows(standing(linked, view, "ORDER BY r.type, r.updated, r.key")).await
    }
}
