//! What changes stand on, tested under lock.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use diesel_async::AsyncPgConnection;
use uuid::Uuid;

use super::draft::{Changes, Draft};
use crate::store::{
    criterion::{self, Counter},
    reindex,
    write::{self, Base, NewVersion, Place},
};

/// Why a change does not stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stale {
    /// Something it stood on changed in between.
    #[error("what the change stood on has changed")]
    Changed,
    /// It is dated before what somebody was told is all (decision 0044).
    #[error("the change is dated before what was told")]
    Late,
}

impl Stale {
    /// Why a submission is not written, if it is not: `changed`, or dated before what the locked head says is settled.
    ///
    /// INVARIANT: nothing is dated before what a reader was told is all
    /// (`what_is_committed_late_is_dated_after_whoever_asked_before`).
    pub(super) fn of(changed: bool, changes: &Changes, settled: DateTime<Utc>) -> Option<Self> {
        let is_late = || changes.iter().any(|(change, _)| change.at.updated < settled);
        if changed { Some(Self::Changed) } else { is_late().then_some(Self::Late) }
    }
}

/// Which submissions stand on something that is no longer so. Of two that want the same record or make the
/// same key, the first in the queue has it.
pub(super) async fn stale(
    connection: &AsyncPgConnection,
    work: &[(Changes, Vec<Draft>)],
) -> diesel::QueryResult<Vec<bool>> {
    let changes = || work.iter().flat_map(|(changes, _)| changes.iter().map(|(change, _)| change));
    let mut places: Vec<Place> = changes().filter(|c| c.base != Base::Fresh).map(NewVersion::place).collect();
    places.sort_unstable();
    places.dedup();
    let mut keys: Vec<(i32, Uuid)> =
        changes().flat_map(|c| c.keys.iter().map(|k| (c.at.tenant.0, k.id))).collect();
    keys.sort_unstable();
    keys.dedup();
    let mut counters: Vec<Counter> =
        changes().flat_map(|c| c.counters().map(|(counter, _)| counter)).collect();
    counters.sort_unstable();
    counters.dedup();
    let mut tenants: Vec<i32> = changes().filter(|c| c.marked_by.is_some()).map(|c| c.at.tenant.0).collect();
    tenants.sort_unstable();
    tenants.dedup();
    let (current, held, moves, generations) = futures_util::try_join!(
        write::lock_current(connection, &places),
        write::held_keys(connection, &keys),
        criterion::lock(connection, &counters),
        reindex::generations(connection, tenants)
    )?;
    let mut moved: HashSet<Counter> = HashSet::new();
    let mut taken: HashSet<Place> = HashSet::new();
    let mut made: HashSet<(i32, Uuid)> = held;
    let mut out = Vec::with_capacity(work.len());
    for (changes, _) in work {
        let stands = changes.iter().all(|(change, _)| {
            let found = current.get(&change.place()).map(|(version, _)| *version);
            let base = match change.base {
                Base::Fresh => true,
                Base::Absent => found.is_none(),
                Base::Version(version) => found == Some(version),
            };
            let keys_free = change.keys.iter().all(|key| !made.contains(&(change.at.tenant.0, key.id)));
            let unmoved = change
                .counters()
                .all(|(counter, seen)| moves.get(&counter) == Some(&seen) && !moved.contains(&counter));
            // INVARIANT: what is committed after a reindex was announced bears the marks that it makes
            // (`what_is_written_while_a_reindex_runs_is_found`).
            let is_marked = change.marked_by.is_none_or(|generation| {
                generation == generations.get(&change.at.tenant.0).copied().unwrap_or(0)
            });
            is_marked && base && keys_free && unmoved && !taken.contains(&change.place())
        });
        if stands {
            for (change, _) in changes {
                taken.insert(change.place());
                moved.extend(change.counters().map(|(counter, _)| counter));
                made.extend(change.keys.iter().map(|key| (change.at.tenant.0, key.id)));
            }
        }
        out.push(!stands);
    }
    Ok(out)
}
