//! Versions of one record, of a type or of a whole tenant, newest first.
//!
//! Only narrowed here: each version is opened and permitted on its own before it counts.

use chrono::{DateTime, Utc};
use diesel::sql_types::{Array, BigInt, Integer, SmallInt, Timestamptz, Uuid as SqlUuid};
use uuid::Uuid;

use super::{
    Store, StoreError,
    row::{Row, standing},
    search::View,
    statement::Statement,
};
use crate::fhir::kinds::ResourceType;

/// Where a version stands in the order of a history: instant, type, key, version.
pub type Moment = (DateTime<Utc>, ResourceType, Uuid, i32);

/// Which versions of a history are wanted.
#[derive(Clone, Copy)]
pub struct Span {
    /// Written at or after this instant.
    pub from: DateTime<Utc>,
    /// Written before this instant.
    pub until: DateTime<Utc>,
    /// Not replaced at or before this instant.
    pub alive_after: DateTime<Utc>,
}

/// Living records and tombstones apart, as their indexes hold them: each walks no further than a page.
pub const OF_TYPES: &str = "
WITH hit AS MATERIALIZED (
  SELECT v.* FROM unnest(?) AS t(type), LATERAL (
    (SELECT r.* FROM record r
     WHERE r.tenant = ? AND r.type = t.type AND NOT r.deleted
       AND r.updated >= ? AND r.updated < ? AND r.updated <= ? AND (r.updated, r.type, r.key, r.version) < (?, ?, ?, ?)
     ORDER BY r.updated DESC, r.key DESC LIMIT ?)
    UNION ALL
    (SELECT r.* FROM record r
     WHERE r.tenant = ? AND r.type = t.type AND r.deleted
       AND r.updated >= ? AND r.updated < ? AND r.updated <= ? AND (r.updated, r.type, r.key, r.version) < (?, ?, ?, ?)
     ORDER BY r.updated DESC, r.key DESC LIMIT ?)
    UNION ALL
    (SELECT o.* FROM record_version o
     WHERE o.tenant = ? AND o.type = t.type AND o.updated >= ? AND o.updated < ? AND o.updated <= ?
       AND (o.updated, o.type, o.key, o.version) < (?, ?, ?, ?)
       AND NOT EXISTS (SELECT 1 FROM record_version n WHERE n.tenant = o.tenant AND n.type = o.type
                       AND n.key = o.key AND n.version = o.version + 1 AND n.updated <= ?)
       AND NOT EXISTS (SELECT 1 FROM record n WHERE n.tenant = o.tenant AND n.type = o.type
                       AND n.key = o.key AND n.version = o.version + 1 AND n.updated <= ?)
     ORDER BY o.updated DESC, o.key DESC, o.version DESC LIMIT ?)
  ) v
  ORDER BY v.updated DESC, v.type DESC, v.key DESC, v.version DESC LIMIT ?
)";

const OF_ONE: &str = "
WITH hit AS MATERIALIZED (
  SELECT r.* FROM (
    SELECT c.* FROM record c
    WHERE c.tenant = ? AND c.type = ? AND c.key = ? AND c.version <= ? AND c.updated >= ? AND c.updated < ?
    UNION ALL
    SELECT o.* FROM record_version o
    WHERE o.tenant = ? AND o.type = ? AND o.key = ? AND o.version <= ? AND o.updated >= ? AND o.updated < ?
      AND NOT EXISTS (SELECT 1 FROM record_version n WHERE n.tenant = o.tenant AND n.type = o.type
                      AND n.key = o.key AND n.version = o.version + 1 AND n.updated <= ?)
      AND NOT EXISTS (SELECT 1 FROM record n WHERE n.tenant = o.tenant AND n.type = o.type
                      AND n.key = o.key AND n.version = o.version + 1 AND n.updated <= ?)
  ) r
  ORDER BY r.version DESC LIMIT ?
)";

impl Store {
    /// Versions of records of these types after a place in the order, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`] when the database is away or answers in another form.
    pub async fn history(
        &self,
        view: &View,
        kinds: &[ResourceType],
        span: Span,
        after: Option<Moment>,
        limit: i64,
    ) -> Result<Vec<Row>, StoreError> {
        let (updated, code, key, version) = after
            .map_or((span.until, i16::MAX, Uuid::max(), i32::MAX), |moment| {
                (moment.0, moment.1.code(), moment.2, moment.3)
            });
        let place = |statement: Statement| {
            statement
                .bind::<Integer, _>(view.tenant.0)
                .bind::<Timestamptz, _>(span.from)
                .bind::<Timestamptz, _>(span.until)
                .bind::<Timestamptz, _>(updated)
                .bind::<Timestamptz, _>(updated)
                .bind::<SmallInt, _>(code)
                .bind::<SqlUuid, _>(key)
                .bind::<Integer, _>(version)
        };
        let codes: Vec<i16> = kinds.iter().map(|kind| kind.code()).collect();
        let living =
            place(Statement::new(OF_TYPES).bind::<Array<SmallInt>, _>(codes)).bind::<BigInt, _>(limit);
        let deleted = place(living).bind::<BigInt, _>(limit);
        let older = place(deleted)
            .bind::<Timestamptz, _>(span.alive_after)
            .bind::<Timestamptz, _>(span.alive_after)
            .bind::<BigInt, _>(limit)
            .bind::<BigInt, _>(limit);
        let order = "ORDER BY r.updated DESC, r.type DESC, r.key DESC, r.version DESC";
        self.rows(standing(older, view, order)).await
    }

    /// Versions of one record up to one, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`] when the database is away or answers in another form.
    pub async fn history_of(
        &self,
        view: &View,
        (kind, key): (ResourceType, Uuid),
        span: Span,
        up_to: i32,
        limit: i64,
    ) -> Result<Vec<Row>, StoreError> {
        let place = |statement: Statement| {
            statement
                .bind::<Integer, _>(view.tenant.0)
                .bind::<SmallInt, _>(kind.code())
                .bind::<SqlUuid, _>(key)
                .bind::<Integer, _>(up_to)
                .bind::<Timestamptz, _>(span.from)
                .bind::<Timestamptz, _>(span.until)
        };
        let found = place(place(Statement::new(OF_ONE)))
            .bind::<Timestamptz, _>(span.alive_after)
            .bind::<Timestamptz, _>(span.alive_after)
            .bind::<BigInt, _>(limit);
        self.rows(standing(found, view, "ORDER BY r.version DESC")).await
    }
}
