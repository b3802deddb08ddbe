//! The statements of the ledger's half of the transaction: entries and full tiles.

use custodia_audit::{Edge, Tile, leaf_hash};
use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Binary, Integer, Nullable, SmallInt, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use uuid::Uuid;

use super::head::signed;
use crate::{
    seal::Sealed,
    store::statement::{SealedSql, Statement},
    tenant::TenantId,
};

/// An entry as the database says it now holds it.
#[derive(QueryableByName)]
pub(super) struct Inserted {
    #[diesel(sql_type = BigInt)]
    pub(super) index: i64,
    #[diesel(sql_type = Binary)]
    pub(super) leaf: Vec<u8>,
}

/// The batch's entries, column by column.
#[derive(Default)]
pub(super) struct Rows {
    pub(super) indexes: Vec<i64>,
    tenants: Vec<i32>,
    months: Vec<i32>,
    patients: Vec<Option<Uuid>>,
    leaves: Vec<Vec<u8>>,
    bodies: Vec<Option<Sealed>>,
}

impl Rows {
    pub(super) fn push(
        &mut self,
        index: u64,
        tenant: TenantId,
        month: i32,
        patient: Option<Uuid>,
        leaf: Vec<u8>,
        body: Option<Sealed>,
    ) {
        self.indexes.push(signed(index));
        self.tenants.push(tenant.0);
        self.months.push(month);
        self.patients.push(patient);
        self.leaves.push(leaf);
        self.bodies.push(body);
    }

    pub(super) async fn insert(
        self,
        connection: &AsyncPgConnection,
        shard: i16,
    ) -> diesel::QueryResult<Vec<Inserted>> {
        Statement::new(
            "INSERT INTO ledger_entry (shard, index, tenant, month, patient, leaf, body)
             SELECT ?, * FROM unnest(?, ?, ?, ?, ?, ?) RETURNING index, leaf",
        )
        .bind::<SmallInt, _>(shard)
        .bind::<Array<BigInt>, _>(self.indexes)
        .bind::<Array<Integer>, _>(self.tenants)
        .bind::<Array<Integer>, _>(self.months)
        .bind::<Array<Nullable<SqlUuid>>, _>(self.patients)
        .bind::<Array<Binary>, _>(self.leaves)
        .bind::<Array<Nullable<SealedSql>>, _>(self.bodies)
        .load(&mut &*connection)
        .await
    }
}

/// Grows the tree by what the database says it now holds, not by what it was sent: a leaf that changed on the
/// way is never signed. `None` unless it then has `end` entries.
pub(super) fn grow(edge: &mut Edge, mut inserted: Vec<Inserted>, end: u64) -> Option<Vec<Tile>> {
    inserted.sort_unstable_by_key(|row| row.index);
    let mut tiles = Vec::new();
    for row in inserted {
        if row.index != signed(edge.size()) {
            return None;
        }
        tiles.extend(edge.append(leaf_hash(&row.leaf)));
    }
    (edge.size() == end).then_some(tiles)
}

/// Keeps the tiles a batch has completed; they never change again.
pub(super) async fn insert_tiles(
    connection: &AsyncPgConnection,
    shard: i16,
    tiles: Vec<Tile>,
) -> Result<(), diesel::result::Error> {
    if tiles.is_empty() {
        return Ok(());
    }
    Statement::new("INSERT INTO ledger_tile (shard, level, index, hashes) SELECT ?, * FROM unnest(?, ?, ?)")
        .bind::<SmallInt, _>(shard)
        .bind::<Array<SmallInt>, _>(tiles.iter().map(|t| i16::from(t.level)).collect::<Vec<_>>())
        .bind::<Array<BigInt>, _>(tiles.iter().map(|t| signed(t.index)).collect::<Vec<_>>())
        .bind::<Array<Binary>, _>(tiles.iter().map(Tile::to_bytes).collect::<Vec<_>>())
        .execute(&mut &*connection)
        .await?;
    Ok(())
}
