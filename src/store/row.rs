//! A stored version, and how the caller stands to its patients.

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Binary, Bool, Integer, Nullable, SmallInt, Timestamptz, Uuid as SqlUuid},
};
use uuid::Uuid;

use super::{
    StoreError,
    search::View,
    statement::{SealedSql, Statement},
};
use crate::{
    fhir::kinds::ResourceType,
    gate::Relations,
    seal::{RecordBinding, Sealed, TenantKeys},
    tenant::TenantId,
};

/// The owner of records about nobody.
pub const NIL: Uuid = Uuid::nil();

/// One stored version with its wrapped key and the caller's relationships to its owner.
pub struct Row {
    /// Where it stands.
    pub at: RecordBinding,
    /// Version of the data key.
    pub owner_version: u16,
    /// The envelope.
    pub body: Sealed,
    /// Ledger index that recorded it.
    pub entry: i64,
    /// The owner's key, wrapped under the tenant's; `None` when the owner is nil, shared, or erased.
    pub wrapped: Option<Sealed>,
    /// Relationship rows of the caller to the owner, as stored.
    pub relations: Vec<Vec<u8>>,
}

/// A version as the queries of this room select it; relationships come as one value each: kind (2 bytes),
/// source type (2), source key (16), since (8), until (8), proof (16), as PostgreSQL sends them (big-endian,
/// microseconds since 2000-01-01).
#[derive(QueryableByName)]
pub(super) struct RawRow {
    #[diesel(sql_type = Integer)]
    pub(super) position: i32,
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
    #[diesel(sql_type = Bool)]
    deleted: bool,
    #[diesel(sql_type = SqlUuid)]
    owner: Uuid,
    #[diesel(sql_type = SmallInt)]
    owner_version: i16,
    #[diesel(sql_type = SealedSql)]
    body: Sealed,
    #[diesel(sql_type = BigInt)]
    entry: i64,
    #[diesel(sql_type = Nullable<SealedSql>)]
    wrapped: Option<Sealed>,
    #[diesel(sql_type = Array<Binary>)]
    relations: Vec<Vec<u8>>,
}

/// The end of every statement that finds several versions: before it stands a WITH clause that calls them `hit` (rows of
/// `record` or `record_version`), after it their order.
///
/// How the caller stands to an owner is asked once for each owner, not for each version. Whatever is looked up by key is
/// looked up in a LATERAL that cannot be turned round (OFFSET 0): a plan made without statistics, or for all
/// parameters, is then the right one as well.
pub(super) const STANDING: &str = ", standing AS MATERIALIZED (
  SELECT o.tenant, o.owner, o.owner_version, d.wrapped,
         ARRAY(SELECT DISTINCT ON (x.kind) int2send(x.kind) || int2send(x.source_type) || uuid_send(x.source_key)
                      || timestamptz_send(x.since) || timestamptz_send(x.until) || x.proof
               FROM relation x
               WHERE x.tenant = o.tenant AND x.patient = o.owner AND x.actor = ?
                 AND x.since <= ? AND x.until > ? ORDER BY x.kind LIMIT 8) AS relations
  FROM (SELECT DISTINCT h.tenant, h.owner, h.owner_version FROM hit h) o
  LEFT JOIN LATERAL (
    SELECT k.wrapped FROM data_key k
    WHERE k.tenant = o.tenant AND k.id = o.owner AND k.version = o.owner_version
      AND k.under = '00000000-0000-0000-0000-000000000000' OFFSET 0) d ON true
)
SELECT 0 AS position, r.tenant, r.type AS kind, r.key, r.version, r.updated, r.deleted, r.owner, r.owner_version,
       r.body, r.entry, s.wrapped, s.relations
FROM hit r
JOIN standing s ON s.tenant = r.tenant AND s.owner = r.owner AND s.owner_version = r.owner_version
";

/// Adds [`STANDING`] for a caller, and the order.
pub(super) fn standing(found: Statement, view: &View, order: &'static str) -> Statement {
    found
        .then(STANDING)
        .then(order)
        .bind::<Nullable<SqlUuid>, _>(view.actor)
        .bind::<Timestamptz, _>(view.now)
        .bind::<Timestamptz, _>(view.now)
}

impl RawRow {
    pub(super) fn into_row(self) -> Result<Row, StoreError> {
        Ok(Row {
            at: RecordBinding {
                tenant: TenantId(self.tenant),
                kind: ResourceType::from_code(self.kind).ok_or(StoreError::Form("record.type"))?,
                key: self.key,
                version: self.version,
                updated: self.updated,
                deleted: self.deleted,
                owner: self.owner,
            },
            owner_version: u16::try_from(self.owner_version)
                .map_err(|_| StoreError::Form("record.owner_version"))?,
            body: self.body,
            entry: self.entry,
            wrapped: self.wrapped,
            relations: self.relations,
        })
    }
}

/// How the caller stands to one patient: the patient's wrapped key, if there is one, and relationships.
pub struct Standing {
    /// The patient's opaque key.
    pub patient: Uuid,
    /// Version and wrapped form of the patient's data key; `None` when the patient is new here.
    pub key: Option<(u16, Sealed)>,
    /// Relationship rows of the caller, as stored.
    pub relations: Vec<Vec<u8>>,
}

#[derive(QueryableByName)]
pub(super) struct RawStanding {
    #[diesel(sql_type = Integer)]
    pub(super) position: i32,
    #[diesel(sql_type = SqlUuid)]
    patient: Uuid,
    #[diesel(sql_type = Nullable<SmallInt>)]
    version: Option<i16>,
    #[diesel(sql_type = Nullable<SealedSql>)]
    wrapped: Option<Sealed>,
    #[diesel(sql_type = Array<Binary>)]
    relations: Vec<Vec<u8>>,
}

impl RawStanding {
    pub(super) fn into_standing(self) -> Result<Standing, StoreError> {
        let key = match (self.version, self.wrapped) {
            (Some(version), Some(wrapped)) => {
                Some((u16::try_from(version).map_err(|_| StoreError::Form("data_key.version"))?, wrapped))
            }
            _ => None,
        };
        Ok(Standing { patient: self.patient, key, relations: self.relations })
    }
}

/// A relationship as it is stored, and as its proof covers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelationRow {
    /// The patient's opaque key.
    pub patient: Uuid,
    /// The practitioner's opaque key.
    pub actor: Uuid,
    /// One bit of [`Relations`].
    pub kind: i16,
    /// The record that states it.
    pub source: (ResourceType, Uuid),
    /// From when.
    pub since: DateTime<Utc>,
    /// Until when.
    pub until: DateTime<Utc>,
}

/// Microseconds between the Unix epoch and PostgreSQL's (2000-01-01).
const EPOCH_SHIFT_MICROS: i64 = 946_684_800_000_000;

impl RelationRow {
    /// The proof that the server wrote this row.
    #[must_use]
    pub fn proof(&self, keys: &TenantKeys) -> [u8; 16] {
        let (columns, patient, actor) = (self.columns(), self.patient, self.actor);
        keys.proof_of(&[patient.as_bytes(), actor.as_bytes(), &columns])
    }

    fn columns(&self) -> Vec<u8> {
        let micros = |at: DateTime<Utc>| at.timestamp_micros().saturating_sub(EPOCH_SHIFT_MICROS);
        let mut bytes = Vec::with_capacity(36);
        bytes.extend_from_slice(&self.kind.to_be_bytes());
        bytes.extend_from_slice(&self.source.0.code().to_be_bytes());
        bytes.extend_from_slice(self.source.1.as_bytes());
        bytes.extend_from_slice(&micros(self.since).to_be_bytes());
        bytes.extend_from_slice(&micros(self.until).to_be_bytes());
        bytes
    }
}

/// The relationships that hold: each stored row whose proof is right. A row somebody slipped into the table
/// counts for nothing.
#[must_use]
pub fn proven(keys: &TenantKeys, patient: Uuid, actor: Option<Uuid>, rows: &[Vec<u8>]) -> Relations {
    let Some(actor) = actor else { return Relations::NONE };
    let mut held = Relations::NONE;
    for row in rows {
        let Some((columns, proof)) = row.split_at_checked(36) else { continue };
        let Some(kind) = columns.first_chunk::<2>().map(|b| i16::from_be_bytes(*b)) else { continue };
        if keys.proves(&[patient.as_bytes(), actor.as_bytes(), columns], proof)
            && let Ok(bit) = u8::try_from(kind)
        {
            held = held.union(Relations(bit));
        }
    }
    held
}
