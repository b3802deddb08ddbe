//! Candidates for a search, and the versions of one record.
//!
//! Candidates are only narrowed here; whether one matches is decided on its plaintext, and whether it is
//! released is decided by the gate.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Binary, Bool, Integer, Nullable, SmallInt, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl as _;
use uuid::Uuid;

use super::{
    Store, StoreError,
    row::{RawRow, Row, standing},
    statement::{SealedSql, Statement},
};
use crate::{
    fhir::kinds::ResourceType,
    seal::{BlindMark, OwnAsked, Sealed},
    tenant::TenantId,
};

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

#[derive(QueryableByName)]
struct Present {
    #[diesel(sql_type = SqlUuid)]
    key: Uuid,
}

/// What narrows a search in SQL. Results come newest first.
pub struct Narrowing {
    /// Resource type.
    pub kind: ResourceType,
    /// Records of these patients only (opaque keys).
    pub patients: Option<Vec<Uuid>>,
    /// These records only (opaque keys).
    pub keys: Option<Vec<Uuid>>,
    /// Of the rows of the one patient, those that bear such own marks.
    pub own: Option<OwnAsked>,
    /// Not earlier than this.
    pub from: DateTime<Utc>,
    /// Earlier than this.
    pub until: DateTime<Utc>,
    /// Only what comes after this place in the order: (updated, key).
    pub after: Option<(DateTime<Utc>, Uuid)>,
    /// How many at most.
    pub limit: i64,
}

const NEWEST_FIRST: &str = "ORDER BY r.updated DESC, r.key DESC";

/// Patient by patient, so that each is a walk along `record_by_owner` no longer than the page, and what is shared with
/// others a look-up in the primary keys (`+ 0` keeps the index of the links' sources out of the plan). Own marks count where
/// they are of this list, this key and this version: any other row may be a match.
pub const BY_PATIENT: &str = "
WITH hit AS MATERIALIZED (
  SELECT r.* FROM (
    SELECT c.* FROM unnest(?) AS p(patient) CROSS JOIN LATERAL (
      SELECT r.* FROM record r
      WHERE r.tenant = ? AND r.owner = p.patient AND r.type = ? AND NOT r.deleted
        AND r.updated >= ? AND r.updated < ? AND (r.updated, r.key) < (?, ?)
        AND (? OR r.owner_version <> ?
             OR (r.own_marks[1] = ? AND r.own_marks[2] = r.version % 32768) IS NOT TRUE
             OR r.own_marks && ? AND r.own_marks && ?)
      ORDER BY r.updated DESC, r.key DESC LIMIT ?) c
    UNION ALL
    SELECT c.* FROM (
      SELECT DISTINCT k.key FROM unnest(?) AS p(patient) CROSS JOIN LATERAL (
        SELECT l.key FROM record_link l
        WHERE l.tenant = ? AND l.target = p.patient AND l.type + 0 = ? OFFSET 0) k
    ) l CROSS JOIN LATERAL (
      SELECT r.* FROM record r WHERE r.tenant = ? AND r.type = ? AND r.key = l.key OFFSET 0) c
    WHERE NOT c.deleted AND c.updated >= ? AND c.updated < ? AND (c.updated, c.key) < (?, ?)
  ) r
  ORDER BY r.updated DESC, r.key DESC LIMIT ?
)";

/// Key by key, each a look-up in the primary key.
pub const BY_KEY: &str = "
WITH hit AS MATERIALIZED (
  SELECT c.* FROM (SELECT DISTINCT u.key FROM unnest(?) AS u(key)) k CROSS JOIN LATERAL (
    SELECT r.* FROM record r WHERE r.tenant = ? AND r.type = ? AND r.key = k.key OFFSET 0) c
  WHERE NOT c.deleted AND c.updated >= ? AND c.updated < ? AND (c.updated, c.key) < (?, ?)
  ORDER BY c.updated DESC, c.key DESC LIMIT ?
)";

const BY_TYPE: &str = "
WITH hit AS MATERIALIZED (
  SELECT r.* FROM record r
  WHERE r.tenant = ? AND r.type = ? AND NOT r.deleted
    AND r.updated >= ? AND r.updated < ? AND (r.updated, r.key) < (?, ?)
  ORDER BY r.updated DESC, r.key DESC LIMIT ?
)";

/// A stretch of the walk from the newest record of a type on: those that bear a mark of each list, and the last one passed.
pub const STRETCH: &str = "
SELECT s.updated, s.key, s.bears, s.n FROM (
  SELECT m.updated, m.key, m.marks && ? AND m.marks && ? AS bears, row_number() OVER () AS n FROM search_mark m
  WHERE m.tenant = ? AND m.type = ? AND m.updated >= ? AND m.updated < ? AND (m.updated, m.key) < (?, ?)
  ORDER BY m.updated DESC, m.key DESC LIMIT ?) s
WHERE s.bears OR s.n = ? LIMIT ?";

const VERSIONS: &str = "
WITH hit AS MATERIALIZED (
  SELECT r.* FROM (
    SELECT c.* FROM record c
    WHERE c.tenant = ? AND c.type = ? AND c.key = ? AND c.version BETWEEN ? AND ?
    UNION ALL
    SELECT o.* FROM record_version o
    WHERE o.tenant = ? AND o.type = ? AND o.key = ? AND o.version BETWEEN ? AND ?
  ) r
  ORDER BY r.version DESC LIMIT ?
)";

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

/// Of a stretch of a walk.
pub struct Stretch {
    /// Time and key of those that bear the marks, newest first.
    pub bear: Vec<(DateTime<Utc>, Uuid)>,
    /// Where it ended, if as many records were passed as were to be.
    pub end: Option<(DateTime<Utc>, Uuid)>,
}

#[derive(QueryableByName)]
struct Passed {
    #[diesel(sql_type = Timestamptz)]
    updated: DateTime<Utc>,
    #[diesel(sql_type = SqlUuid)]
    key: Uuid,
    #[diesel(sql_type = Bool)]
    bears: bool,
    #[diesel(sql_type = BigInt)]
    n: i64,
}

/// The bounds of a page in the order of updates.
#[derive(Clone, Copy)]
struct Within {
    from: DateTime<Utc>,
    until: DateTime<Utc>,
    after: (DateTime<Utc>, Uuid),
}

impl Within {
    fn bind(self, statement: Statement) -> Statement {
        statement
            .bind::<Timestamptz, _>(self.from)
            .bind::<Timestamptz, _>(self.until)
            .bind::<Timestamptz, _>(self.after.0)
            .bind::<SqlUuid, _>(self.after.1)
    }
}

impl Narrowing {
    fn within(&self) -> Within {
        let start = (DateTime::<Utc>::MAX_UTC.min(far_future()), Uuid::max());
        Within { from: self.from, until: self.until, after: self.after.unwrap_or(start) }
    }
}

impl Store {
    /// Candidates of a search, newest first.
    ///
    /// # Errors
    /// [`StoreError`] when the database is away or answers in another form.
    pub async fn candidates(&self, view: &View, narrowing: Narrowing) -> Result<Vec<Row>, StoreError> {
        let (tenant, kind, limit) = (view.tenant.0, narrowing.kind, narrowing.limit);
        let within = narrowing.within();
        let range = |statement: Statement| within.bind(statement);
        let place =
            |statement: Statement| statement.bind::<Integer, _>(tenant).bind::<SmallInt, _>(kind.code());
        let Narrowing { patients, keys, own, .. } = narrowing;
        let found = match (keys, patients) {
            (Some(keys), _) => range(place(Statement::new(BY_KEY).bind::<Array<SqlUuid>, _>(keys))),
            (None, Some(patients)) => {
                let owned = Statement::new(BY_PATIENT)
                    .bind::<Array<SqlUuid>, _>(patients.clone())
                    .bind::<Integer, _>(tenant)
                    .bind::<SmallInt, _>(kind.code());
                let linked =
                    owning(range(owned), own).bind::<BigInt, _>(limit).bind::<Array<SqlUuid>, _>(patients);
                range(place(place(linked)))
            }
            (None, None) => range(place(Statement::new(BY_TYPE))),
        };
        self.rows(standing(found.bind::<BigInt, _>(limit), view, NEWEST_FIRST)).await
    }

    /// Passes the next `stretch` records of the type that have marks, newest first, and stops early at `narrowing.limit`
    /// of those that bear a mark of each of two lists. Patients and keys do not count.
    ///
    /// # Errors
    /// [`StoreError`] when the database is away.
    pub async fn stretch(
        &self,
        view: &View,
        narrowing: &Narrowing,
        [one, other]: [&[BlindMark]; 2],
        stretch: i64,
    ) -> Result<Stretch, StoreError> {
        let bits = |marks: &[BlindMark]| marks.iter().map(|mark| mark.bits()).collect::<Vec<_>>();
        let place = Statement::new(STRETCH)
            .bind::<Array<Integer>, _>(bits(one))
            .bind::<Array<Integer>, _>(bits(other))
            .bind::<Integer, _>(view.tenant.0)
            .bind::<SmallInt, _>(narrowing.kind.code());
        let passed: Vec<Passed> = (narrowing.within().bind(place))
            .bind::<BigInt, _>(stretch)
            .bind::<BigInt, _>(stretch)
            .bind::<BigInt, _>(narrowing.limit)
            .load(&mut self.connection().await?)
            .await?;
        let place = |passed: &Passed| (passed.updated, passed.key);
        let end = passed.last().filter(|last| last.n == stretch).map(place);
        Ok(Stretch { bear: passed.iter().filter(|one| one.bears).map(place).collect(), end })
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
        let found = half(half(Statement::new(VERSIONS))).bind::<BigInt, _>(limit);
        self.rows(standing(found, view, "ORDER BY r.version DESC")).await
    }

    /// Which of these keys are records of a type, deleted ones among them.
    ///
    /// # Errors
    /// [`StoreError`] when the database is away.
    pub async fn present(
        &self,
        tenant: TenantId,
        kind: ResourceType,
        keys: Vec<Uuid>,
    ) -> Result<HashSet<Uuid>, StoreError> {
        let found: Vec<Present> =
            Statement::new("SELECT r.key FROM record r WHERE r.tenant = ? AND r.type = ? AND r.key = ANY(?)")
                .bind::<Integer, _>(tenant.0)
                .bind::<SmallInt, _>(kind.code())
                .bind::<Array<SqlUuid>, _>(keys)
                .load(&mut self.connection().await?)
                .await?;
        Ok(found.into_iter().map(|one| one.key).collect())
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
        let statement = Statement::new(SHARED)
            .bind::<Nullable<SqlUuid>, _>(view.actor)
            .bind::<Timestamptz, _>(view.now)
            .bind::<Timestamptz, _>(view.now)
            .bind::<Integer, _>(view.tenant.0)
            .bind::<SqlUuid, _>(id)
            .bind::<SmallInt, _>(version);
        Ok(statement.load(&mut self.connection().await?).await?)
    }

    pub(super) async fn rows(&self, statement: Statement) -> Result<Vec<Row>, StoreError> {
        let raw: Vec<RawRow> = statement.load(&mut self.connection().await?).await?;
        raw.into_iter().map(RawRow::into_row).collect()
    }
}

/// Binds what is asked of own marks; nothing may be.
fn owning(statement: Statement, asked: Option<OwnAsked>) -> Statement {
    let all = asked.is_none();
    let (key_version, list, [one, other]) = asked
        .map_or((0, 0, <[Vec<i16>; 2]>::default()), |asked| (asked.key_version, asked.list, asked.groups));
    statement
        .bind::<Bool, _>(all)
        .bind::<SmallInt, _>(key_version)
        .bind::<SmallInt, _>(list)
        .bind::<Array<SmallInt>, _>(one)
        .bind::<Array<SmallInt>, _>(other)
}

/// A moment after every stored one that PostgreSQL can still hold (year 9999).
#[must_use]
pub fn far_future() -> DateTime<Utc> {
    DateTime::from_timestamp(253_402_300_799, 0).unwrap_or_default()
}
