//! Versions of one record, of a type or of a whole tenant, newest first.
//!
//! Only narrowed here: each version is opened and permitted on its own before it counts.

use chrono::{DateTime, Utc};
use diesel::sql_types::{Array, BigInt, Integer, Nullable, SmallInt, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl as _;
use uuid::Uuid;

use super::{
    Store, StoreError,
    row::{RawRow, Row},
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
WITH hit AS (
  SELECT v.type, v.key, v.version, v.updated FROM unnest(?) AS t(type), LATERAL (
    (SELECT r.type, r.key, r.version, r.updated FROM record r
     WHERE r.tenant = ? AND r.type = t.type AND NOT r.deleted
       AND r.updated >= ? AND r.updated < ? AND r.updated <= ? AND (r.updated, r.type, r.key, r.version) < (?, ?, ?, ?)
     ORDER BY r.updated DESC, r.key DESC LIMIT ?)
    UNION ALL
    (SELECT r.type, r.key, r.version, r.updated FROM record r
     WHERE r.tenant = ? AND r.type = t.type AND r.deleted
       AND r.updated >= ? AND r.updated < ? AND r.updated <= ? AND (r.updated, r.type, r.key, r.version) < (?, ?, ?, ?)
     ORDER BY r.updated DESC, r.key DESC LIMIT ?)
    UNION ALL
    (SELECT o.type, o.key, o.version, o.updated FROM record_version o
     WHERE o.tenant = ? AND o.type = t.type AND o.updated >= ? AND o.updated < ? AND o.updated <= ?
       AND (o.updated, o.type, o.key, o.version) < (?, ?, ?, ?)
       AND NOT EXISTS (SELECT 1 FROM record_version n WHERE n.tenant = o.tenant AND n.type = o.type
                       AND n.key = o.key AND n.version = o.version + 1 AND n.updated <= ?)
       AND NOT EXISTS (SELECT 1 FROM record n WHERE n.tenant = o.tenant AND n.type = o.type
                       AND n.key = o.key AND n.version = o.version + 1 AND n.updated <= ?)
     ORDER BY o.updated DESC, o.key DESC, o.version DESC LIMIT ?)
  ) v
  ORDER BY v.updated DESC, v.type DESC, v.key DESC, v.version DESC LIMIT ?
)
SELECT 0 AS position, r.tenant, r.type AS kind, r.key, r.version, r.updated, r.deleted, r.owner, r.owner_version,
       r.body, r.entry, d.wrapped,
       ARRAY(SELECT DISTINCT ON (x.kind) int2send(x.kind) || int2send(x.source_type) || uuid_send(x.source_key)
                    || timestamptz_send(x.since) || timestamptz_send(x.until) || x.proof
             FROM relation x
             WHERE x.tenant = r.tenant AND x.patient = r.owner AND x.actor = ?
               AND x.since <= ? AND x.until > ? ORDER BY x.kind LIMIT 8) AS relations
FROM hit h JOIN LATERAL (
  SELECT c.* FROM record c
  WHERE c.tenant = ? AND c.type = h.type AND c.key = h.key AND c.version = h.version
  UNION ALL
  SELECT o.* FROM record_version o
  WHERE o.tenant = ? AND o.type = h.type AND o.key = h.key AND o.version = h.version
) r ON true
LEFT JOIN data_key d ON d.tenant = r.tenant AND d.id = r.owner AND d.version = r.owner_version
     AND d.under = '00000000-0000-0000-0000-000000000000'
ORDER BY r.updated DESC, r.type DESC, r.key DESC, r.version DESC";

const OF_ONE: &str = "
SELECT 0 AS position, r.tenant, r.type AS kind, r.key, r.version, r.updated, r.deleted, r.owner, r.owner_version,
       r.body, r.entry, d.wrapped,
       ARRAY(SELECT DISTINCT ON (x.kind) int2send(x.kind) || int2send(x.source_type) || uuid_send(x.source_key)
                    || timestamptz_send(x.since) || timestamptz_send(x.until) || x.proof
             FROM relation x
             WHERE x.tenant = r.tenant AND x.patient = r.owner AND x.actor = ?
               AND x.since <= ? AND x.until > ? ORDER BY x.kind LIMIT 8) AS relations
FROM (
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
LEFT JOIN data_key d ON d.tenant = r.tenant AND d.id = r.owner AND d.version = r.owner_version
     AND d.under = '00000000-0000-0000-0000-000000000000'
ORDER BY r.version DESC LIMIT ?";

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
        let statement =
            standing(older, view).bind::<Integer, _>(view.tenant.0).bind::<Integer, _>(view.tenant.0);
        self.versions_of(statement).await
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
        let statement = place(place(standing(Statement::new(OF_ONE), view)))
            .bind::<Timestamptz, _>(span.alive_after)
            .bind::<Timestamptz, _>(span.alive_after)
            .bind::<BigInt, _>(limit);
        self.versions_of(statement).await
    }

    async fn versions_of(&self, statement: Statement) -> Result<Vec<Row>, StoreError> {
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
