//! Blind marks: written with their records, and asked for by searches that name no patient.

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Binary, Integer, Nullable, SmallInt, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _, SimpleAsyncConnection as _};
use uuid::Uuid;

use super::{
    NIL, Row, Store, StoreError,
    row::RawRow,
    statement::Statement,
    write::{Base, Place, lock_current},
};
use crate::{fhir::kinds::ResourceType, seal::BlindMark, tenant::TenantId};

/// The marks of a batch, for one statement each way.
#[derive(Default)]
pub(super) struct Marks {
    rows: Vec<(Place, i32, i32)>,
    updated: Vec<DateTime<Utc>>,
    flat: Vec<i32>,
    /// Records that had marks perhaps, and have none now.
    bare: Vec<Place>,
}

impl Marks {
    pub(super) fn push(&mut self, (place, updated): (Place, DateTime<Utc>), marks: &[BlindMark], base: Base) {
        if marks.is_empty() {
            if matches!(base, Base::Version(_)) {
                self.bare.push(place);
            }
            return;
        }
        let at = |length: usize| i32::try_from(length).unwrap_or(i32::MAX);
        let first = at(self.flat.len()).saturating_add(1);
        self.flat.extend(marks.iter().map(|mark| mark.bits()));
        self.rows.push((place, first, at(self.flat.len())));
        self.updated.push(updated);
    }

    /// Part of the ledger's transaction. An update that leaves the marks as they are touches no index.
    pub(super) async fn write(self, connection: &AsyncPgConnection) -> diesel::QueryResult<()> {
        let Self { rows, updated, flat, bare } = self;
        if !rows.is_empty() {
            Statement::new(
                "INSERT INTO search_mark AS m (tenant, type, key, marks, updated)
                 SELECT k.tenant, k.type, k.key, (f.flat)[k.first:k.last], k.updated
                 FROM (SELECT ? AS flat) AS f,
                      unnest(?, ?, ?, ?, ?, ?) AS k(tenant, type, key, first, last, updated)
                 ON CONFLICT (tenant, type, key) DO UPDATE SET marks = excluded.marks, updated = excluded.updated",
            )
            .bind::<Array<Integer>, _>(flat)
            .bind::<Array<Integer>, _>(rows.iter().map(|row| row.0.0).collect::<Vec<_>>())
            .bind::<Array<SmallInt>, _>(rows.iter().map(|row| row.0.1).collect::<Vec<_>>())
            .bind::<Array<SqlUuid>, _>(rows.iter().map(|row| row.0.2).collect::<Vec<_>>())
            .bind::<Array<Integer>, _>(rows.iter().map(|row| row.1).collect::<Vec<_>>())
            .bind::<Array<Integer>, _>(rows.iter().map(|row| row.2).collect::<Vec<_>>())
            .bind::<Array<Timestamptz>, _>(updated)
            .execute(&mut &*connection)
            .await?;
        }
        if !bare.is_empty() {
            Statement::new(
                "DELETE FROM search_mark m USING unnest(?, ?, ?) AS k(tenant, type, key)
                 WHERE m.tenant = k.tenant AND m.type = k.type AND m.key = k.key",
            )
            .bind::<Array<Integer>, _>(bare.iter().map(|place| place.0).collect::<Vec<_>>())
            .bind::<Array<SmallInt>, _>(bare.iter().map(|place| place.1).collect::<Vec<_>>())
            .bind::<Array<SqlUuid>, _>(bare.iter().map(|place| place.2).collect::<Vec<_>>())
            .execute(&mut &*connection)
            .await?;
        }
        Ok(())
    }
}

/// What stands for a list in the database.
#[derive(Clone, Copy)]
pub struct SearchList {
    /// Marks are being made by it: to every other start, and to the same one once more, as good as none.
    pub begun: [u8; 32],
    /// All marks are made by it.
    pub made: [u8; 32],
}

/// What became of marks that were to be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remarked {
    /// They are set.
    Done,
    /// The tenant's search parameters have changed.
    OtherParameters,
    /// Somebody makes marks by another list.
    OtherList,
}

/// Records, in two columns of one row: thousands of rows would cost more than what is in them.
#[derive(QueryableByName)]
struct Bore {
    #[diesel(sql_type = Nullable<Array<Timestamptz>>)]
    updated: Option<Vec<DateTime<Utc>>>,
    #[diesel(sql_type = Nullable<Array<SqlUuid>>)]
    keys: Option<Vec<Uuid>>,
}

#[derive(QueryableByName)]
struct Bearer {
    #[diesel(sql_type = SmallInt)]
    kind: i16,
    #[diesel(sql_type = SqlUuid)]
    key: Uuid,
}

#[derive(QueryableByName)]
struct Generation {
    #[diesel(sql_type = BigInt)]
    generation: i64,
}

#[derive(QueryableByName)]
struct Digest {
    #[diesel(sql_type = Binary)]
    digest: Vec<u8>,
}

/// The marks find the records, and tenant and type are looked at afterwards: a plan by the primary key would read all
/// of a type. (`+ 0` keeps that key out of the plan; a mark is a tenant's and a type's already.)
pub const MARKED: &str = "
SELECT array_agg(h.updated) AS updated, array_agg(h.key) AS keys FROM (
  SELECT m.updated, m.key FROM search_mark m
  WHERE m.marks && ? AND m.marks && ? AND m.tenant + 0 = ? AND m.type + 0 = ? LIMIT ?) h";

/// The same of one list: to look for it twice would cost twice as much.
pub const MARKED_ONCE: &str = "
SELECT array_agg(h.updated) AS updated, array_agg(h.key) AS keys FROM (
  SELECT m.updated, m.key FROM search_mark m
  WHERE m.marks && ? AND m.tenant + 0 = ? AND m.type + 0 = ? LIMIT ?) h";

const ALL: &str = "
SELECT 0 AS position, r.tenant, r.type AS kind, r.key, r.version, r.updated, r.deleted, r.owner, r.owner_version,
       r.body, r.entry, d.wrapped, ARRAY[]::bytea[] AS relations
FROM (
  SELECT n.tenant, n.type, n.key, sum(n.size) OVER (ORDER BY n.type, n.key) - n.size AS before FROM (
    SELECT c.tenant, c.type, c.key, octet_length(c.body)::bigint AS size FROM record c
    WHERE c.tenant = ? AND (c.type, c.key) > (?, ?) AND NOT c.deleted
    ORDER BY c.type, c.key LIMIT ?) n) k
JOIN record r ON r.tenant = k.tenant AND r.type = k.type AND r.key = k.key
LEFT JOIN data_key d ON d.tenant = r.tenant AND d.id = r.owner AND d.version = r.owner_version
     AND d.under = '00000000-0000-0000-0000-000000000000'
WHERE k.before < 33554432
ORDER BY r.type, r.key";

impl Store {
    /// Time and key of the records that bear a mark of each list, at most `limit`, in no order.
    ///
    /// # Errors
    /// [`StoreError`] when the database is away.
    pub async fn marked(
        &self,
        tenant: TenantId,
        kind: ResourceType,
        (one, other): (&[BlindMark], Option<&[BlindMark]>),
        limit: i64,
    ) -> Result<Vec<(DateTime<Utc>, Uuid)>, StoreError> {
        let bits = |marks: &[BlindMark]| marks.iter().map(|mark| mark.bits()).collect::<Vec<_>>();
        let first = Statement::new(if other.is_some() { MARKED } else { MARKED_ONCE });
        let first = first.bind::<Array<Integer>, _>(bits(one));
        let both = match other {
            Some(other) => first.bind::<Array<Integer>, _>(bits(other)),
            None => first,
        };
        let rows: Vec<Bore> = both
            .bind::<Integer, _>(tenant.0)
            .bind::<SmallInt, _>(kind.code())
            .bind::<BigInt, _>(limit)
            .load(&mut self.connection().await?)
            .await?;
        let pairs = |row: Bore| row.updated.unwrap_or_default().into_iter().zip(row.keys.unwrap_or_default());
        Ok(rows.into_iter().flat_map(pairs).collect())
    }

    /// The records of any type that bear a mark, at most `limit`, in no order.
    ///
    /// # Errors
    /// [`StoreError`] when the database is away or answers in another form.
    pub async fn bearing(
        &self,
        tenant: TenantId,
        mark: BlindMark,
        limit: i64,
    ) -> Result<Vec<(ResourceType, Uuid)>, StoreError> {
        let rows: Vec<Bearer> = Statement::new(
            "SELECT m.type AS kind, m.key FROM search_mark m WHERE m.marks && ? AND m.tenant = ? LIMIT ?",
        )
        .bind::<Array<Integer>, _>(vec![mark.bits()])
        .bind::<Integer, _>(tenant.0)
        .bind::<BigInt, _>(limit)
        .load(&mut self.connection().await?)
        .await?;
        let kind = |code| ResourceType::from_code(code).ok_or(StoreError::Form("search_mark.type"));
        rows.into_iter().map(|row| Ok((kind(row.kind)?, row.key))).collect()
    }

    /// By which list a tenant's marks were made; `None` if that was never said.
    ///
    /// # Errors
    /// [`StoreError`] when the database is away.
    pub async fn search_list(&self, tenant: TenantId) -> Result<Option<Vec<u8>>, StoreError> {
        let rows: Vec<Digest> = Statement::new("SELECT l.digest FROM search_list l WHERE l.tenant = ?")
            .bind::<Integer, _>(tenant.0)
            .load(&mut self.connection().await?)
            .await?;
        Ok(rows.into_iter().next().map(|row| row.digest))
    }

    /// Says that a tenant's marks are being made by a list.
    ///
    /// # Errors
    /// [`StoreError`] when the database is away.
    pub async fn begin_search_list(&self, tenant: TenantId, list: SearchList) -> Result<(), StoreError> {
        Statement::new(
            "INSERT INTO search_list (tenant, digest) VALUES (?, ?)
             ON CONFLICT (tenant) DO UPDATE SET digest = excluded.digest",
        )
        .bind::<Integer, _>(tenant.0)
        .bind::<Binary, _>(list.begun.to_vec())
        .execute(&mut self.connection().await?)
        .await?;
        Ok(())
    }

    /// Says that a tenant's marks are made by a list; whether nobody has begun with another one meanwhile.
    ///
    /// # Errors
    /// [`StoreError`] when the database is away.
    pub async fn end_search_list(&self, tenant: TenantId, list: SearchList) -> Result<bool, StoreError> {
        let ended = Statement::new("UPDATE search_list SET digest = ? WHERE tenant = ? AND digest IN (?, ?)")
            .bind::<Binary, _>(list.made.to_vec())
            .bind::<Integer, _>(tenant.0)
            .bind::<Binary, _>(list.begun.to_vec())
            .bind::<Binary, _>(list.made.to_vec())
            .execute(&mut self.connection().await?)
            .await?;
        Ok(ended == 1)
    }

    /// Current records of a tenant after a place, in the order of type and key: at most `limit`, and no further one when they
    /// have come to 32 MiB. None are left when there are none.
    ///
    /// # Errors
    /// [`StoreError`] when the database is away or answers in another form.
    pub async fn current_after(
        &self,
        tenant: TenantId,
        after: Option<(ResourceType, Uuid)>,
        limit: i64,
    ) -> Result<Vec<Row>, StoreError> {
        let (kind, key) = after.map_or((0, NIL), |(kind, key)| (kind.code(), key));
        let rows: Vec<RawRow> = Statement::new(ALL)
            .bind::<Integer, _>(tenant.0)
            .bind::<SmallInt, _>(kind)
            .bind::<SqlUuid, _>(key)
            .bind::<BigInt, _>(limit)
            .load(&mut self.connection().await?)
            .await?;
        rows.into_iter().map(RawRow::into_row).collect()
    }

    /// Sets the marks of versions that are still current, outside the ledger's transaction: they say nothing that the
    /// records do not. What was written in between has marks of its own. Nothing is set unless the list and the tenant's search
    /// parameters are those that the marks were made by.
    ///
    /// # Errors
    /// [`StoreError`] when the database is away; then none is set.
    pub async fn remark(
        &self,
        (tenant, generation): (TenantId, i64),
        list: SearchList,
        marked: Vec<(Place, i32, Vec<BlindMark>)>,
    ) -> Result<Remarked, StoreError> {
        let mut connection = self.connection().await?;
        connection.batch_execute("BEGIN").await?;
        let done = remarked(&connection, (tenant, generation), list, &marked).await;
        let keep = matches!(done, Ok(Remarked::Done));
        connection.batch_execute(if keep { "COMMIT" } else { "ROLLBACK" }).await?;
        Ok(done?)
    }
}

async fn remarked(
    connection: &AsyncPgConnection,
    (tenant, generation): (TenantId, i64),
    list: SearchList,
    marked: &[(Place, i32, Vec<BlindMark>)],
) -> diesel::QueryResult<Remarked> {
    let digest: Vec<Digest> =
        Statement::new("SELECT l.digest FROM search_list l WHERE l.tenant = ? FOR SHARE")
            .bind::<Integer, _>(tenant.0)
            .load(&mut &*connection)
            .await?;
    let is_its = |row: Digest| [list.begun, list.made].iter().any(|one| row.digest == one);
    if !digest.into_iter().next().is_some_and(is_its) {
        return Ok(Remarked::OtherList);
    }
    set(connection, marked).await?;
    // Asked last, with the records locked. A turn that this does not see goes over these records after us; one that it
    // sees may have gone over them before.
    let found: Vec<Generation> = Statement::new("SELECT i.generation FROM search_index i WHERE i.tenant = ?")
        .bind::<Integer, _>(tenant.0)
        .load(&mut &*connection)
        .await?;
    let is_same = found.into_iter().next().map_or(0, |row| row.generation) == generation;
    Ok(if is_same { Remarked::Done } else { Remarked::OtherParameters })
}

pub(super) async fn set(
    connection: &AsyncPgConnection,
    marked: &[(Place, i32, Vec<BlindMark>)],
) -> diesel::QueryResult<()> {
    let places: Vec<Place> = marked.iter().map(|(place, ..)| *place).collect();
    let current = lock_current(connection, &places).await?;
    let mut marks = Marks::default();
    for (place, version, its) in marked {
        if let Some((now, updated)) = current.get(place)
            && now == version
        {
            marks.push((*place, *updated), its, Base::Version(*version));
        }
    }
    marks.write(connection).await
}
