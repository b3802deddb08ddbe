//! Counters that conditional requests stand on: one moves on whenever a write that stood on it is committed.
//!
//! A row tells only that somebody asked some condition of 65,536: the criteria are not stored, not even as an HMAC of
//! their own.

use std::collections::HashMap;

use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Integer},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};

use super::{Store, StoreError, statement::Statement};
use crate::tenant::TenantId;

/// A counter as a request found it before it searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Criterion {
    /// Which of the tenant's counters.
    pub bucket: u16,
    /// How far it was.
    pub seen: i64,
}

/// A counter's place: tenant, bucket.
pub type Counter = (i32, i32);

#[derive(QueryableByName)]
struct Counted {
    #[diesel(sql_type = Integer)]
    tenant: i32,
    #[diesel(sql_type = Integer)]
    bucket: i32,
    #[diesel(sql_type = BigInt)]
    moves: i64,
}

impl Store {
    /// How far a counter is; one that was never used stands at 0.
    ///
    /// # Errors
    /// [`StoreError`] when the database is away.
    pub async fn criterion(&self, tenant: TenantId, bucket: u16) -> Result<i64, StoreError> {
        let rows: Vec<Counted> = Statement::new(
            "SELECT c.tenant, c.bucket, c.moves FROM criterion c WHERE c.tenant = ? AND c.bucket = ?",
        )
        .bind::<Integer, _>(tenant.0)
        .bind::<Integer, _>(i32::from(bucket))
        .load(&mut self.connection().await?)
        .await?;
        Ok(rows.into_iter().next().map_or(0, |row| row.moves))
    }
}

/// Locks counters in their order until the transaction ends, and says how far each is. Only the committer calls it.
///
/// # Errors
/// Diesel's.
pub async fn lock(
    connection: &AsyncPgConnection,
    counters: &[Counter],
) -> diesel::QueryResult<HashMap<Counter, i64>> {
    if counters.is_empty() {
        return Ok(HashMap::new());
    }
    // An update that changes nothing locks the row, and returns it as it is after whoever held it has committed.
    let statement = Statement::new(
        "INSERT INTO criterion AS c (tenant, bucket, moves)
         SELECT k.tenant, k.bucket, 0 FROM unnest(?, ?) AS k(tenant, bucket) ORDER BY k.tenant, k.bucket
         ON CONFLICT (tenant, bucket) DO UPDATE SET moves = c.moves
         RETURNING c.tenant, c.bucket, c.moves",
    );
    let rows: Vec<Counted> = at(statement, counters).load(&mut &*connection).await?;
    Ok(rows.into_iter().map(|row| ((row.tenant, row.bucket), row.moves)).collect())
}

/// Moves locked counters on.
///
/// # Errors
/// Diesel's.
pub async fn advance(connection: &AsyncPgConnection, counters: &[Counter]) -> diesel::QueryResult<()> {
    let statement = Statement::new(
        "UPDATE criterion c SET moves = c.moves + 1 FROM unnest(?, ?) AS k(tenant, bucket)
         WHERE c.tenant = k.tenant AND c.bucket = k.bucket",
    );
    at(statement, counters).execute(&mut &*connection).await?;
    Ok(())
}

fn at(statement: Statement, counters: &[Counter]) -> Statement {
    statement
        .bind::<Array<Integer>, _>(counters.iter().map(|counter| counter.0).collect::<Vec<_>>())
        .bind::<Array<Integer>, _>(counters.iter().map(|counter| counter.1).collect::<Vec<_>>())
}
