//! Reading entries by whose they are and when they were: what searches, reports and exports are made of.
//!
//! Only tenant, month and the patient's opaque key stand beside a body in the clear; the time is inside. So an
//! instant is found by opening entries on the way of a binary search.

use custodia_audit::{Entry, Leaf};
use diesel::sql_types::{Array, BigInt, Integer, SmallInt, Uuid as SqlUuid};
use diesel_async::RunQueryDsl as _;
use uuid::Uuid;

use super::{
    head::signed,
    reader::{EntryRow, LedgerReader, ReadError, StoredEntry},
};
use crate::{store::statement::Statement, tenant::TenantId};

/// How far the clocks of two servers of one log may differ, in microseconds.
const SKEW_MICROS: i64 = 5 * 60 * 1_000_000;
/// The most entries one scan asks for.
pub const SCAN_ENTRIES_MAX: u32 = 1_024;

/// Which entries are asked for, newest first.
#[derive(Clone, Debug)]
pub struct Scan {
    /// Whose.
    pub tenant: TenantId,
    /// About one of these patients (opaque keys); anybody and nobody when left out.
    pub patients: Option<Vec<Uuid>>,
    /// From this index on.
    pub first: u64,
    /// Below this index.
    pub end: u64,
    /// So many, at most [`SCAN_ENTRIES_MAX`].
    pub limit: u32,
}

const OF_TENANT: &str = "
SELECT index, tenant, month, patient, leaf, body FROM ledger_entry
WHERE tenant = ? AND shard = ? AND index >= ? AND index < ? ORDER BY index DESC LIMIT ?";

/// Patient by patient, each a walk along `ledger_entry_by_patient` no longer than the page.
const OF_PATIENTS: &str = "
SELECT e.* FROM (SELECT DISTINCT u.patient FROM unnest(?) AS u(patient)) p CROSS JOIN LATERAL (
  SELECT index, tenant, month, patient, leaf, body FROM ledger_entry
  WHERE tenant = ? AND patient = p.patient AND shard = ? AND index >= ? AND index < ?
  ORDER BY index DESC LIMIT ?) e
ORDER BY e.index DESC LIMIT ?";

impl LedgerReader {
    /// The newest entries of a tenant that a scan asks for, opened where their keys still exist. Fewer than its
    /// limit are all there are.
    ///
    /// # Errors
    /// [`ReadError`] when the database is away or a body does not open though its key does.
    pub async fn scan(&self, scan: &Scan) -> Result<Vec<StoredEntry>, ReadError> {
        let limit = i64::from(scan.limit.min(SCAN_ENTRIES_MAX));
        let bounds = |statement: Statement| {
            statement
                .bind::<Integer, _>(scan.tenant.0)
                .bind::<SmallInt, _>(self.shard)
                .bind::<BigInt, _>(signed(scan.first))
                .bind::<BigInt, _>(signed(scan.end))
                .bind::<BigInt, _>(limit)
        };
        let statement = match &scan.patients {
            None => bounds(Statement::new(OF_TENANT)),
            Some(patients) => {
                let patients = Statement::new(OF_PATIENTS).bind::<Array<SqlUuid>, _>(patients.clone());
                bounds(patients).bind::<BigInt, _>(limit)
            }
        };
        let mut connection = self.store.connection().await?;
        let rows: Vec<EntryRow> = statement.load(&mut connection).await?;
        drop(connection);
        self.opened(rows).await
    }

    /// An index such that every entry before it was committed before `micros`, whatever the clocks.
    ///
    /// # Errors
    /// [`ReadError`] as [`LedgerReader::entries`].
    pub async fn not_before(&self, micros: i64) -> Result<u64, ReadError> {
        self.search(micros.saturating_sub(2 * SKEW_MICROS)).await
    }

    /// An index such that every entry from it on was committed at or after `micros`, whatever the clocks.
    ///
    /// # Errors
    /// [`ReadError`] as [`LedgerReader::entries`].
    pub async fn not_after(&self, micros: i64) -> Result<u64, ReadError> {
        self.search(micros.saturating_add(2 * SKEW_MICROS)).await
    }

    /// The first index a binary search for `micros` finds. Times are nearly in order: an entry that is tested lies
    /// within [`SKEW_MICROS`] of where it would be, so no entry on the wrong side is further off than twice that.
    async fn search(&self, micros: i64) -> Result<u64, ReadError> {
        let (mut low, mut high) = (0, self.size().await?);
        while low < high {
            let middle = low + (high - low) / 2;
            let entry = self.entries(middle, middle + 1).await?.pop().ok_or(ReadError::Broken)?;
            if entry.micros()? < micros {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }
}

impl StoredEntry {
    /// When it was committed; the beginning of its month when its key was destroyed.
    ///
    /// # Errors
    /// [`ReadError::Broken`] when the entry is not one of this log's format.
    pub fn micros(&self) -> Result<i64, ReadError> {
        if let Leaf::Control(control) = self.leaf()? {
            return Ok(control.time_micros());
        }
        match self.entry()? {
            Some(entry) => Ok(entry.event.time_micros),
            None => Ok(month_micros(self.month)),
        }
    }

    /// The log entry.
    ///
    /// # Errors
    /// [`ReadError::Broken`] when it is none.
    pub fn leaf(&self) -> Result<Leaf, ReadError> {
        Leaf::from_bytes(&self.leaf).map_err(|_| ReadError::Broken)
    }

    /// What it says; `None` for a control entry, or when its key was destroyed.
    ///
    /// # Errors
    /// [`ReadError::Broken`] when its groups are not canonical.
    pub fn entry(&self) -> Result<Option<Entry>, ReadError> {
        let Some(opening) = &self.opening else { return Ok(None) };
        Entry::from_groups(&opening.groups).map(Some).map_err(|_| ReadError::Broken)
    }
}

/// The first instant of a month that is counted as `year * 12 + month - 1`.
fn month_micros(month: i32) -> i64 {
    let (year, month) = (month.div_euclid(12), month.rem_euclid(12).unsigned_abs() + 1);
    let first = chrono::NaiveDate::from_ymd_opt(year, month, 1).and_then(|day| day.and_hms_opt(0, 0, 0));
    first.map_or(0, |at| at.and_utc().timestamp_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_begins_where_its_number_says() {
        assert_eq!(month_micros(1970 * 12), 0);
        assert_eq!(month_micros(1970 * 12 + 1), 31 * 86_400 * 1_000_000);
        assert_eq!(month_micros(2026 * 12 + 11), 1_796_083_200_000_000);
    }
}
