//! Which search parameters a tenant has added that are in force, and how far a reindex has come.
//!
//! ```text
//! turn      every head locked -> the row, if it is still of the generation -> commit
//! advance   the row, if it is still at the place and of the list -> marks of the records passed -> commit
//! ```
//! INVARIANT: a batch of the ledger that commits after a turn has tested its generation after it: both lock a head first.
//! If we crash in either, nothing has happened; whoever goes on finds the place in the row.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Binary, Bool, Double, Integer, SmallInt, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _, SimpleAsyncConnection as _};
use uuid::Uuid;

use super::{
    NIL, Row, Store, StoreError,
    mark::set,
    row::RawRow,
    statement::{SealedSql, Statement},
    write::Place,
};
use crate::{
    fhir::kinds::ResourceType,
    seal::{BlindMark, Sealed},
    tenant::TenantId,
};

/// How long nobody has gone on, in seconds of the database's clock, before a server with another list begins anew.
pub const YIELD_S: u8 = 30;

/// A tenant's row.
#[derive(QueryableByName)]
pub struct IndexRow {
    /// Rises with every turn.
    #[diesel(sql_type = BigInt)]
    pub generation: i64,
    /// When the last turn was.
    #[diesel(sql_type = Timestamptz)]
    pub changed: DateTime<Utc>,
    /// What is in force.
    #[diesel(sql_type = SealedSql)]
    pub added: Sealed,
    /// 0 standing, 1 taking in, 2 taking out.
    #[diesel(sql_type = SmallInt)]
    pub stage: i16,
    /// What is taken in or out.
    #[diesel(sql_type = SealedSql)]
    pub other: Sealed,
    /// By which list the records before the place were gone over.
    #[diesel(sql_type = Binary)]
    pub list: Vec<u8>,
    /// The type of the last record that was gone over.
    #[diesel(sql_type = SmallInt)]
    pub after_type: i16,
    /// Its key.
    #[diesel(sql_type = SqlUuid)]
    pub after_key: Uuid,
    /// Records gone over at this stage.
    #[diesel(sql_type = BigInt)]
    pub passed: i64,
    /// Records there were when it began.
    #[diesel(sql_type = BigInt)]
    pub total: i64,
}

/// What a turn makes of the row.
pub struct Turn {
    /// When.
    pub now: DateTime<Utc>,
    /// What is in force from here on.
    pub added: Sealed,
    /// 0 standing, 1 taking in, 2 taking out.
    pub stage: i16,
    /// What is taken in or out.
    pub other: Sealed,
    /// By which list records are gone over.
    pub list: [u8; 32],
    /// Records there are to go over.
    pub total: i64,
    /// By which list the tenant's marks are made, if it is another from here on.
    pub digest: Option<[u8; 32]>,
    /// By which list, and up to where, the records were gone over that this turn says are; none at the first.
    pub gone_over: Option<(Vec<u8>, (i16, Uuid))>,
}

/// Records that were gone over.
pub struct Passed {
    /// The place before them: type and key.
    pub from: (i16, Uuid),
    /// The last of them.
    pub to: (i16, Uuid),
    /// The marks each is to bear.
    pub marked: Vec<(Place, i32, Vec<BlindMark>)>,
    /// How many they are, those that bear none among them.
    pub count: i64,
    /// By which list.
    pub list: [u8; 32],
}

#[derive(QueryableByName)]
struct Generation {
    #[diesel(sql_type = Integer)]
    tenant: i32,
    #[diesel(sql_type = BigInt)]
    generation: i64,
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

const OF_TYPE: &str = "
SELECT 0 AS position, r.tenant, r.type AS kind, r.key, r.version, r.updated, r.deleted, r.owner, r.owner_version,
       r.body, r.entry, d.wrapped, ARRAY[]::bytea[] AS relations
FROM (
  SELECT n.key, n.tenant, n.type, sum(n.size) OVER (ORDER BY n.key) - n.size AS before FROM (
    SELECT c.key, c.tenant, c.type, octet_length(c.body)::bigint AS size FROM record c
    WHERE c.tenant = ? AND c.type = ? AND c.key > ? AND NOT c.deleted
    ORDER BY c.key LIMIT ?) n) k
JOIN record r ON r.tenant = k.tenant AND r.type = k.type AND r.key = k.key
LEFT JOIN data_key d ON d.tenant = r.tenant AND d.id = r.owner AND d.version = r.owner_version
     AND d.under = '00000000-0000-0000-0000-000000000000'
WHERE k.before < 33554432
ORDER BY r.key";

/// The generations of these tenants; one that never changed is left out. Part of the ledger's transaction.
///
/// # Errors
/// Diesel's.
pub async fn generations(
    connection: &AsyncPgConnection,
    tenants: Vec<i32>,
) -> diesel::QueryResult<HashMap<i32, i64>> {
    if tenants.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<Generation> =
        Statement::new("SELECT i.tenant, i.generation FROM search_index i WHERE i.tenant = ANY(?)")
            .bind::<Array<Integer>, _>(tenants)
            .load(&mut &*connection)
            .await?;
    Ok(rows.into_iter().map(|row| (row.tenant, row.generation)).collect())
}

impl Store {
    /// The generation of each tenant whose search parameters ever changed.
    ///
    /// # Errors
    /// [`StoreError`] when the database is away.
    pub async fn search_generations(&self) -> Result<Vec<(TenantId, i64)>, StoreError> {
        let rows: Vec<Generation> = Statement::new("SELECT i.tenant, i.generation FROM search_index i")
            .load(&mut self.connection().await?)
            .await?;
        Ok(rows.into_iter().map(|row| (TenantId(row.tenant), row.generation)).collect())
    }

    /// A tenant's generation; 0 before the first turn.
    ///
    /// # Errors
    /// [`StoreError`] when the database is away.
    pub async fn search_generation(&self, tenant: TenantId) -> Result<i64, StoreError> {
        let connection = self.connection().await?;
        let found = generations(&connection, vec![tenant.0]).await?;
        Ok(found.get(&tenant.0).copied().unwrap_or(0))
    }

    /// A tenant's row; `None` before the first turn.
    ///
    /// # Errors
    /// [`StoreError`] when the database is away.
    pub async fn search_index(&self, tenant: TenantId) -> Result<Option<IndexRow>, StoreError> {
        let rows: Vec<IndexRow> = Statement::new(
            "SELECT i.generation, i.changed, i.added, i.stage, i.other, i.list, i.after_type, i.after_key, i.passed,
                    i.total
             FROM search_index i WHERE i.tenant = ?",
        )
        .bind::<Integer, _>(tenant.0)
        .load(&mut self.connection().await?)
        .await?;
        Ok(rows.into_iter().next())
    }

    /// Gives a tenant its next generation; whether it was still of the one before, and its records gone over as the turn says.
    ///
    /// # Errors
    /// [`StoreError`] when the database is away; then nothing has happened, or all of it.
    pub async fn turn_search_index(
        &self,
        tenant: TenantId,
        generation: i64,
        turn: Turn,
    ) -> Result<bool, StoreError> {
        let mut connection = self.connection().await?;
        connection.batch_execute("BEGIN").await?;
        let done = turned(&connection, tenant, generation, turn).await;
        let keep = matches!(done, Ok(true));
        connection.batch_execute(if keep { "COMMIT" } else { "ROLLBACK" }).await?;
        Ok(done?)
    }

    /// Goes on past records, and sets the marks of those that are still what they were; whether nobody else had.
    ///
    /// # Errors
    /// [`StoreError`] when the database is away; then nothing has happened, or all of it.
    pub async fn advance_search_index(
        &self,
        tenant: TenantId,
        generation: i64,
        passed: Passed,
    ) -> Result<bool, StoreError> {
        let mut connection = self.connection().await?;
        connection.batch_execute("BEGIN").await?;
        let done = advanced(&connection, tenant, generation, passed).await;
        let keep = matches!(done, Ok(true));
        connection.batch_execute(if keep { "COMMIT" } else { "ROLLBACK" }).await?;
        Ok(done?)
    }

    /// Starts going over the records again by another list, if nobody has moved for [`YIELD_S`]; whether it did.
    ///
    /// # Errors
    /// [`StoreError`] when the database is away.
    pub async fn restart_search_index(
        &self,
        tenant: TenantId,
        row: &IndexRow,
        list: [u8; 32],
    ) -> Result<bool, StoreError> {
        let restarted = Statement::new(
            "UPDATE search_index SET list = ?, after_type = 0, after_key = ?, passed = 0, moved = clock_timestamp()
             WHERE tenant = ? AND generation = ? AND list = ?
               AND moved < clock_timestamp() - make_interval(secs => ?)",
        )
        .bind::<Binary, _>(list.to_vec())
        .bind::<SqlUuid, _>(NIL)
        .bind::<Integer, _>(tenant.0)
        .bind::<BigInt, _>(row.generation)
        .bind::<Binary, _>(row.list.clone())
        .bind::<Double, _>(f64::from(YIELD_S))
        .execute(&mut self.connection().await?)
        .await?;
        Ok(restarted == 1)
    }

    /// Current records of a type after a key, in the order of keys: at most `limit`, and no further one when they have come
    /// to 32 MiB. None are left when there are none.
    ///
    /// # Errors
    /// [`StoreError`] when the database is away or answers in another form.
    pub async fn current_of_type(
        &self,
        tenant: TenantId,
        kind: ResourceType,
        after: Uuid,
        limit: i64,
    ) -> Result<Vec<Row>, StoreError> {
        let rows: Vec<RawRow> = Statement::new(OF_TYPE)
            .bind::<Integer, _>(tenant.0)
            .bind::<SmallInt, _>(kind.code())
            .bind::<SqlUuid, _>(after)
            .bind::<BigInt, _>(limit)
            .load(&mut self.connection().await?)
            .await?;
        rows.into_iter().map(RawRow::into_row).collect()
    }

    /// How many current records of these types a tenant has.
    ///
    /// # Errors
    /// [`StoreError`] when the database is away.
    pub async fn count_of_types(&self, tenant: TenantId, kinds: &[ResourceType]) -> Result<i64, StoreError> {
        if kinds.is_empty() {
            return Ok(0);
        }
        let rows: Vec<Count> = Statement::new(
            "SELECT count(*) AS count FROM record r WHERE r.tenant = ? AND r.type = ANY(?) AND NOT r.deleted",
        )
        .bind::<Integer, _>(tenant.0)
        .bind::<Array<SmallInt>, _>(kinds.iter().map(|kind| kind.code()).collect::<Vec<_>>())
        .load(&mut self.connection().await?)
        .await?;
        Ok(rows.into_iter().next().map_or(0, |row| row.count))
    }
}

async fn turned(
    connection: &AsyncPgConnection,
    tenant: TenantId,
    generation: i64,
    turn: Turn,
) -> diesel::QueryResult<bool> {
    Statement::new("SELECT 1 FROM ledger_head ORDER BY shard FOR UPDATE").execute(&mut &*connection).await?;
    let Turn { now, added, stage, other, list, total, digest, gone_over } = turn;
    let first = gone_over.is_none();
    let (by, (last_type, last_key)) = gone_over.unwrap_or((Vec::new(), (0, NIL)));
    let turned = Statement::new(
        "INSERT INTO search_index AS i
             (tenant, generation, changed, added, stage, other, list, after_type, after_key, passed, total)
         SELECT ?, ?, ?, ?, ?, ?, ?, 0, ?, 0, ?
         ON CONFLICT (tenant) DO UPDATE SET
             generation = excluded.generation, changed = excluded.changed, added = excluded.added,
             stage = excluded.stage, other = excluded.other, list = excluded.list, after_type = 0,
             after_key = excluded.after_key, passed = 0, total = excluded.total, moved = clock_timestamp()
         WHERE i.generation = excluded.generation - 1
           AND (? OR i.list = ? AND i.after_type = ? AND i.after_key = ?)",
    )
    .bind::<Integer, _>(tenant.0)
    .bind::<BigInt, _>(generation.saturating_add(1))
    .bind::<Timestamptz, _>(now)
    .bind::<SealedSql, _>(added)
    .bind::<SmallInt, _>(stage)
    .bind::<SealedSql, _>(other)
    .bind::<Binary, _>(list.to_vec())
    .bind::<SqlUuid, _>(NIL)
    .bind::<BigInt, _>(total)
    .bind::<Bool, _>(first)
    .bind::<Binary, _>(by)
    .bind::<SmallInt, _>(last_type)
    .bind::<SqlUuid, _>(last_key)
    .execute(&mut &*connection)
    .await?;
    if turned == 1
        && let Some(digest) = digest
    {
        Statement::new(
            "INSERT INTO search_list (tenant, digest) VALUES (?, ?)
             ON CONFLICT (tenant) DO UPDATE SET digest = excluded.digest",
        )
        .bind::<Integer, _>(tenant.0)
        .bind::<Binary, _>(digest.to_vec())
        .execute(&mut &*connection)
        .await?;
    }
    Ok(turned == 1)
}

async fn advanced(
    connection: &AsyncPgConnection,
    tenant: TenantId,
    generation: i64,
    passed: Passed,
) -> diesel::QueryResult<bool> {
    let Passed { from, to, marked, count, list } = passed;
    let moved = Statement::new(
        "UPDATE search_index SET after_type = ?, after_key = ?, passed = passed + ?, moved = clock_timestamp()
         WHERE tenant = ? AND generation = ? AND after_type = ? AND after_key = ? AND list = ?",
    )
    .bind::<SmallInt, _>(to.0)
    .bind::<SqlUuid, _>(to.1)
    .bind::<BigInt, _>(count)
    .bind::<Integer, _>(tenant.0)
    .bind::<BigInt, _>(generation)
    .bind::<SmallInt, _>(from.0)
    .bind::<SqlUuid, _>(from.1)
    .bind::<Binary, _>(list.to_vec())
    .execute(&mut &*connection)
    .await?;
    if moved == 1 {
        set(connection, &marked).await?;
    }
    Ok(moved == 1)
}
