//! The data half of the ledger's transaction: set-wise statements over everything a batch changes.
//!
//! Only the committer calls these, with the shard's head row locked.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Binary, Bool, Integer, Nullable, SmallInt, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use futures_util::try_join;
use uuid::Uuid;

use super::{
    criterion::{self, Counter, Criterion},
    mark::Marks,
    row::RelationRow,
    statement::{SealedSql, Statement},
};
use crate::{
    fhir::kinds::ResourceType,
    seal::{BlindMark, OwnMarks, RecordBinding, Sealed},
    tenant::TenantId,
};

/// A version to be written, with everything that must be written with it.
pub struct NewVersion {
    /// Where it will stand; `version` is one more than `base`.
    pub at: RecordBinding,
    /// Version of the owner's key.
    pub owner_version: u16,
    /// The envelope.
    pub body: Sealed,
    /// What it replaces.
    pub base: Base,
    /// The patients, when there are several.
    pub links: Vec<Uuid>,
    /// Every relationship it states, with its proof.
    pub relations: Vec<(RelationRow, [u8; 16])>,
    /// Data keys made for it.
    pub keys: Vec<NewKey>,
    /// Its blind marks, each once; a tombstone has none.
    pub marks: Vec<BlindMark>,
    /// Its own marks, if it is about one patient.
    pub own_marks: Option<OwnMarks>,
    /// Counters of the conditions under which it is written.
    pub criteria: Vec<Criterion>,
    /// The generation of the tenant's search parameters that its marks were made by; of a tombstone none.
    pub marked_by: Option<i64>,
}

/// What a new version stands on. Anything else at commit time makes it stale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// Nothing, under an id this server has just drawn at random.
    Fresh,
    /// Nothing, under an id a client chose.
    Absent,
    /// This version.
    Version(i32),
}

/// A data key to be stored, wrapped.
pub struct NewKey {
    /// Its id.
    pub id: Uuid,
    /// Its version.
    pub version: u16,
    /// The key it is wrapped under: nil for the tenant's.
    pub under: Uuid,
    /// The wrapped form.
    pub wrapped: Sealed,
}

/// A record's place: tenant, type, key.
pub type Place = (i32, i16, Uuid);

impl NewVersion {
    /// Where its record stands.
    #[must_use]
    pub fn place(&self) -> Place {
        (self.at.tenant.0, self.at.kind.code(), self.at.key)
    }

    /// The counters it stands on, and how far each was.
    pub fn counters(&self) -> impl Iterator<Item = (Counter, i64)> {
        self.criteria.iter().map(|one| ((self.at.tenant.0, i32::from(one.bucket)), one.seen))
    }
}

#[derive(QueryableByName)]
struct Current {
    #[diesel(sql_type = Integer)]
    tenant: i32,
    #[diesel(sql_type = SmallInt)]
    kind: i16,
    #[diesel(sql_type = SqlUuid)]
    key: Uuid,
    #[diesel(sql_type = Integer)]
    version: i32,
    #[diesel(sql_type = Timestamptz)]
    updated: DateTime<Utc>,
}

#[derive(QueryableByName)]
struct HeldKey {
    #[diesel(sql_type = Integer)]
    tenant: i32,
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
}

/// The current versions of `places` and when they were written, locked in key order until the transaction ends.
///
/// # Errors
/// Diesel's.
pub async fn lock_current(
    connection: &AsyncPgConnection,
    places: &[Place],
) -> diesel::QueryResult<HashMap<Place, (i32, DateTime<Utc>)>> {
    if places.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<Current> = at_places(
        "SELECT r.tenant, r.type AS kind, r.key, r.version, r.updated FROM unnest(?, ?, ?) AS k(tenant, type, key)
         JOIN record r ON r.tenant = k.tenant AND r.type = k.type AND r.key = k.key
         ORDER BY r.tenant, r.type, r.key FOR UPDATE OF r",
        places,
    )
    .load(&mut &*connection)
    .await?;
    Ok(rows.into_iter().map(|row| ((row.tenant, row.kind, row.key), (row.version, row.updated))).collect())
}

/// Which of these tenant-wrapped keys are stored already.
///
/// # Errors
/// Diesel's.
pub async fn held_keys(
    connection: &AsyncPgConnection,
    keys: &[(i32, Uuid)],
) -> diesel::QueryResult<HashSet<(i32, Uuid)>> {
    if keys.is_empty() {
        return Ok(HashSet::new());
    }
    let rows: Vec<HeldKey> = Statement::new(
        "SELECT DISTINCT d.tenant, d.id FROM unnest(?, ?) AS k(tenant, id)
         JOIN data_key d ON d.tenant = k.tenant AND d.id = k.id",
    )
    .bind::<Array<Integer>, _>(keys.iter().map(|k| k.0).collect::<Vec<_>>())
    .bind::<Array<SqlUuid>, _>(keys.iter().map(|k| k.1).collect::<Vec<_>>())
    .load(&mut &*connection)
    .await?;
    Ok(rows.into_iter().map(|row| (row.tenant, row.id)).collect())
}

fn at_places(text: &'static str, places: &[Place]) -> Statement {
    Statement::new(text)
        .bind::<Array<Integer>, _>(places.iter().map(|p| p.0).collect::<Vec<_>>())
        .bind::<Array<SmallInt>, _>(places.iter().map(|p| p.1).collect::<Vec<_>>())
        .bind::<Array<SqlUuid>, _>(places.iter().map(|p| p.2).collect::<Vec<_>>())
}

/// Writes versions whose bases have been checked, each with the index of its entry in the log that `shard` is the number of.
///
/// If we crash anywhere in here nothing has happened: the transaction is the ledger's.
///
/// # Errors
/// Diesel's; `RollbackTransaction` when a version would not follow the one that is there.
pub async fn write(
    connection: &AsyncPgConnection,
    versions: Vec<(NewVersion, i64)>,
    (shard, now): (i16, DateTime<Utc>),
) -> diesel::QueryResult<()> {
    if versions.is_empty() {
        return Ok(());
    }
    let replaced: Vec<Place> =
        versions.iter().filter(|(v, _)| matches!(v.base, Base::Version(_))).map(|(v, _)| v.place()).collect();
    if !replaced.is_empty() {
        retire(connection, &replaced).await?;
    }
    let mut counters: Vec<Counter> =
        versions.iter().flat_map(|(version, _)| version.counters().map(|(counter, _)| counter)).collect();
    counters.sort_unstable();
    counters.dedup();
    if !counters.is_empty() {
        criterion::advance(connection, &counters).await?;
    }
    let mut keys = Columns::default();
    let mut links: Vec<(Place, Uuid)> = Vec::new();
    let mut relations: Vec<(TenantId, RelationRow, [u8; 16])> = Vec::new();
    let mut records = Records::default();
    let mut marks = Marks::default();
    for (version, entry) in versions {
        let place = version.place();
        marks.push((place, version.at.updated), &version.marks, version.base);
        for key in version.keys {
            keys.push(place.0, key);
        }
        links.extend(version.links.into_iter().map(|target| (place, target)));
        relations.extend(version.relations.into_iter().map(|(row, proof)| (version.at.tenant, row, proof)));
        records.push(&version.at, version.owner_version, version.body, entry);
        records.own_marks.push(version.own_marks.as_ref());
    }
    // No table refers to another, so these need not wait for each other.
    try_join!(
        keys.insert(connection, now),
        records.upsert(connection, shard),
        insert_links(connection, &links),
        marks.write(connection),
        insert_relations(connection, relations)
    )?;
    Ok(())
}

/// Moves current versions to the older ones, and forgets what they stated.
async fn retire(connection: &AsyncPgConnection, places: &[Place]) -> diesel::QueryResult<()> {
    at_places(
        "INSERT INTO record_version SELECT r.* FROM unnest(?, ?, ?) AS k(tenant, type, key)
         JOIN record r ON r.tenant = k.tenant AND r.type = k.type AND r.key = k.key",
        places,
    )
    .execute(&mut &*connection)
    .await?;
    at_places(
        "DELETE FROM record_link l USING unnest(?, ?, ?) AS k(tenant, type, key)
         WHERE l.tenant = k.tenant AND l.type = k.type AND l.key = k.key",
        places,
    )
    .execute(&mut &*connection)
    .await?;
    at_places(
        "DELETE FROM relation x USING unnest(?, ?, ?) AS k(tenant, type, key)
         WHERE x.tenant = k.tenant AND x.source_type = k.type AND x.source_key = k.key",
        places,
    )
    .execute(&mut &*connection)
    .await?;
    Ok(())
}

#[derive(Default)]
struct Columns {
    tenants: Vec<i32>,
    ids: Vec<Uuid>,
    versions: Vec<i16>,
    unders: Vec<Uuid>,
    wrapped: Vec<Sealed>,
}

impl Columns {
    fn push(&mut self, tenant: i32, key: NewKey) {
        self.tenants.push(tenant);
        self.ids.push(key.id);
        self.versions.push(i16::try_from(key.version).unwrap_or(i16::MAX));
        self.unders.push(key.under);
        self.wrapped.push(key.wrapped);
    }

    async fn insert(self, connection: &AsyncPgConnection, now: DateTime<Utc>) -> diesel::QueryResult<()> {
        if self.ids.is_empty() {
            return Ok(());
        }
        Statement::new(
            "INSERT INTO data_key (tenant, id, version, under, wrapped, created)
             SELECT k.tenant, k.id, k.version, k.under, k.wrapped, ? FROM unnest(?, ?, ?, ?, ?)
                 AS k(tenant, id, version, under, wrapped)",
        )
        .bind::<Timestamptz, _>(now)
        .bind::<Array<Integer>, _>(self.tenants)
        .bind::<Array<SqlUuid>, _>(self.ids)
        .bind::<Array<SmallInt>, _>(self.versions)
        .bind::<Array<SqlUuid>, _>(self.unders)
        .bind::<Array<SealedSql>, _>(self.wrapped)
        .execute(&mut &*connection)
        .await?;
        Ok(())
    }
}

#[derive(Default)]
struct Records {
    tenants: Vec<i32>,
    kinds: Vec<i16>,
    keys: Vec<Uuid>,
    versions: Vec<i32>,
    updated: Vec<DateTime<Utc>>,
    deleted: Vec<bool>,
    owners: Vec<Uuid>,
    owner_versions: Vec<i16>,
    bodies: Vec<Sealed>,
    entries: Vec<i64>,
    own_marks: Slices,
}

/// Arrays of different lengths, one after the other: PostgreSQL takes them apart again.
#[derive(Default)]
struct Slices {
    flat: Vec<i16>,
    first: Vec<Option<i32>>,
    last: Vec<Option<i32>>,
}

impl Slices {
    fn push(&mut self, marks: Option<&OwnMarks>) {
        let at = |length: usize| i32::try_from(length).unwrap_or(i32::MAX);
        let first = at(self.flat.len()).saturating_add(1);
        self.flat.extend_from_slice(marks.map_or(&[], OwnMarks::bits));
        self.first.push(marks.map(|_| first));
        self.last.push(marks.map(|_| at(self.flat.len())));
    }
}

impl Records {
    fn push(&mut self, at: &RecordBinding, owner_version: u16, body: Sealed, entry: i64) {
        self.tenants.push(at.tenant.0);
        self.kinds.push(at.kind.code());
        self.keys.push(at.key);
        self.versions.push(at.version);
        self.updated.push(at.updated);
        self.deleted.push(at.deleted);
        self.owners.push(at.owner);
        self.owner_versions.push(i16::try_from(owner_version).unwrap_or(i16::MAX));
        self.bodies.push(body);
        self.entries.push(entry);
    }

    /// INVARIANT: a version stands on the one before it or on nothing, whatever was tested before: two servers that do not
    /// share a head row (another `ledger.shard`, against the rule) both find nothing under a new id, and the later one writes
    /// nothing here.
    /// `the_second_of_two_first_versions_is_not_written_over_the_first`.
    async fn upsert(self, connection: &AsyncPgConnection, shard: i16) -> diesel::QueryResult<()> {
        let wanted = self.keys.len();
        let written = Statement::new(
            "INSERT INTO record (tenant, type, key, version, updated, deleted, owner, owner_version, body, entry, shard, own_marks)
             SELECT k.tenant, k.type, k.key, k.version, k.updated, k.deleted, k.owner, k.owner_version, k.body, k.entry,
                    f.shard, (f.flat)[k.first:k.last]
             FROM (SELECT ? AS shard, ? AS flat) AS f, unnest(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                  AS k(tenant, type, key, version, updated, deleted, owner, owner_version, body, entry, first, last)
             ON CONFLICT (tenant, type, key) DO UPDATE SET
                 version = excluded.version, updated = excluded.updated, deleted = excluded.deleted,
                 owner = excluded.owner, owner_version = excluded.owner_version, body = excluded.body,
                 entry = excluded.entry, shard = excluded.shard, own_marks = excluded.own_marks
             WHERE record.version = excluded.version - 1",
        )
        .bind::<SmallInt, _>(shard)
        .bind::<Array<SmallInt>, _>(self.own_marks.flat)
        .bind::<Array<Integer>, _>(self.tenants)
        .bind::<Array<SmallInt>, _>(self.kinds)
        .bind::<Array<SqlUuid>, _>(self.keys)
        .bind::<Array<Integer>, _>(self.versions)
        .bind::<Array<Timestamptz>, _>(self.updated)
        .bind::<Array<Bool>, _>(self.deleted)
        .bind::<Array<SqlUuid>, _>(self.owners)
        .bind::<Array<SmallInt>, _>(self.owner_versions)
        .bind::<Array<SealedSql>, _>(self.bodies)
        .bind::<Array<BigInt>, _>(self.entries)
        .bind::<Array<Nullable<Integer>>, _>(self.own_marks.first)
        .bind::<Array<Nullable<Integer>>, _>(self.own_marks.last)
        .execute(&mut &*connection)
        .await?;
        // The batch goes with it, and whoever waits is told that nothing was done.
        if written == wanted { Ok(()) } else { Err(diesel::result::Error::RollbackTransaction) }
    }
}

async fn insert_links(connection: &AsyncPgConnection, links: &[(Place, Uuid)]) -> diesel::QueryResult<()> {
    if links.is_empty() {
        return Ok(());
    }
    let places: Vec<Place> = links.iter().map(|(place, _)| *place).collect();
    at_places(
        "INSERT INTO record_link (tenant, type, key, target)
         SELECT * FROM unnest(?, ?, ?, ?) ON CONFLICT DO NOTHING",
        &places,
    )
    .bind::<Array<SqlUuid>, _>(links.iter().map(|(_, target)| *target).collect::<Vec<_>>())
    .execute(&mut &*connection)
    .await?;
    Ok(())
}

async fn insert_relations(
    connection: &AsyncPgConnection,
    rows: Vec<(TenantId, RelationRow, [u8; 16])>,
) -> diesel::QueryResult<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let source = |row: &RelationRow| -> (ResourceType, Uuid) { row.source };
    Statement::new(
        "INSERT INTO relation (tenant, patient, actor, kind, source_type, source_key, since, until, proof)
         SELECT * FROM unnest(?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
    )
    .bind::<Array<Integer>, _>(rows.iter().map(|r| r.0.0).collect::<Vec<_>>())
    .bind::<Array<SqlUuid>, _>(rows.iter().map(|r| r.1.patient).collect::<Vec<_>>())
    .bind::<Array<SqlUuid>, _>(rows.iter().map(|r| r.1.actor).collect::<Vec<_>>())
    .bind::<Array<SmallInt>, _>(rows.iter().map(|r| r.1.kind).collect::<Vec<_>>())
    .bind::<Array<SmallInt>, _>(rows.iter().map(|r| source(&r.1).0.code()).collect::<Vec<_>>())
    .bind::<Array<SqlUuid>, _>(rows.iter().map(|r| source(&r.1).1).collect::<Vec<_>>())
    .bind::<Array<Timestamptz>, _>(rows.iter().map(|r| r.1.since).collect::<Vec<_>>())
    .bind::<Array<Timestamptz>, _>(rows.iter().map(|r| r.1.until).collect::<Vec<_>>())
    .bind::<Array<Binary>, _>(rows.iter().map(|r| r.2.to_vec()).collect::<Vec<_>>())
    .execute(&mut &*connection)
    .await?;
    Ok(())
}
