//! What the searches of one request have spent, so that a Bundle of searches may spend no more than one.
//!
//! ```text
//! seen       records and bytes, as often as they were opened      a bound the caller can work out
//! hidden     records, each once                                   a bound drawn anew for each request
//! time       since the request came                               what a watch shows as well
//! ```
//! Were hidden records counted as often as they are opened, a caller could open one so often that the bound tells of it; were
//! their bound known, it could be filled with others up to the last one. Whatever runs after a bound of these two is passed is
//! refused, also what meets nothing hidden: else the next search would tell whether it does.

use std::{
    collections::HashSet,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::{OPENED_BYTES_MAX, OPENED_MAX, SEARCHED_S_MAX};
use crate::{clock::Clock, fhir::kinds::ResourceType, seal::RecordBinding};

/// As many records that the caller may not see are never too many.
const HIDDEN_LEAST: u64 = 20_000;
/// Two draws from so many are added. Two, and not one: at either end of what comes of it one record more hardly shows.
const HIDDEN_DRAWN: u64 = 10_000;

/// What the searches of one request have spent.
#[derive(Debug)]
pub struct Spent {
    /// What the caller may see.
    seen: Tally,
    /// Everything: what is told of how large records are.
    opened: Tally,
    /// What the caller may not see: versions, each once.
    hidden: Mutex<HashSet<(ResourceType, Uuid, i32)>>,
    hidden_max: usize,
    until: DateTime<Utc>,
}

/// How much was opened.
#[derive(Debug, Default)]
struct Tally {
    records: AtomicUsize,
    /// Bytes of their envelopes.
    bytes: AtomicUsize,
}

impl Tally {
    /// Adds a record; how much there was before.
    fn add(&self, size: usize) -> (usize, usize) {
        (self.records.fetch_add(1, Ordering::Relaxed), self.bytes.fetch_add(size, Ordering::Relaxed))
    }

    fn so_far(&self) -> (usize, usize) {
        (self.records.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }
}

impl Spent {
    /// Nothing yet, of a request that comes now.
    #[must_use]
    pub fn nothing(clock: &Clock) -> Self {
        // All but the version and the variant of such an id is random.
        let (one, other) = clock.random_id().as_u64_pair();
        let drawn = (one >> 16) % HIDDEN_DRAWN + (other & (u64::MAX >> 2)) % HIDDEN_DRAWN;
        Self {
            seen: Tally::default(),
            opened: Tally::default(),
            hidden: Mutex::default(),
            hidden_max: usize::try_from(HIDDEN_LEAST + drawn).unwrap_or(usize::MAX),
            until: clock.now() + TimeDelta::seconds(SEARCHED_S_MAX),
        }
    }

    /// Whether the searches may go on.
    pub(super) fn leaves(&self, now: DateTime<Utc>) -> bool {
        now <= self.until && self.hidden.lock().is_ok_and(|hidden| hidden.len() <= self.hidden_max)
    }

    /// Adds a record that is about to be opened; how many there were before.
    pub(super) fn open(&self, size: usize) -> usize {
        self.opened.add(size).0
    }

    /// Adds one that the caller may see; whether that is within the bounds.
    pub(super) fn see(&self, size: usize) -> bool {
        let (records, bytes) = self.seen.add(size);
        records < OPENED_MAX && bytes < OPENED_BYTES_MAX
    }

    /// Adds one that it may not see. Nothing comes of that here: [`Spent::leaves`] is asked by all alike.
    pub(super) fn hide(&self, at: &RecordBinding) {
        if let Ok(mut hidden) = self.hidden.lock() {
            hidden.insert((at.kind, at.key, at.version));
        }
    }

    /// How many more the caller may see.
    pub(super) fn left(&self) -> usize {
        OPENED_MAX.saturating_sub(self.seen.so_far().0)
    }

    /// Records and bytes opened so far.
    pub(super) fn opened(&self) -> (usize, usize) {
        self.opened.so_far()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::tenant::TenantId;

    fn record(number: u128) -> RecordBinding {
        RecordBinding {
            tenant: TenantId(1),
            kind: ResourceType::OBSERVATION,
            key: Uuid::from_u128(number),
            version: 1,
            updated: DateTime::UNIX_EPOCH,
            deleted: false,
            owner: Uuid::nil(),
        }
    }

    #[test]
    fn a_hidden_record_counts_once_however_often_it_is_opened() {
        let clock = Clock::fixed(DateTime::UNIX_EPOCH);
        let spent = Spent::nothing(&clock);
        let most = u128::try_from(spent.hidden_max).unwrap();
        for number in 0..most {
            spent.hide(&record(number));
            spent.hide(&record(0));
        }
        assert!(spent.leaves(clock.now()), "as many as there may be");
        spent.hide(&record(most));
        assert!(!spent.leaves(clock.now()), "one more");
        assert_eq!(spent.left(), OPENED_MAX, "and nothing of what may be seen is taken");
    }

    #[test]
    fn how_many_hidden_records_are_too_many_is_drawn_anew() {
        let clock = Clock::machine();
        let drawn: HashSet<usize> = (0..100).map(|_| Spent::nothing(&clock).hidden_max).collect();
        assert!(drawn.iter().all(|most| (20_000..40_000).contains(most)), "{drawn:?}");
        // Of a hundred out of twenty thousand, hardly two are the same.
        assert!(drawn.len() > 50, "{drawn:?}");
    }

    #[test]
    fn what_is_seen_counts_as_often_as_it_is_opened() {
        let spent = Spent::nothing(&Clock::machine());
        assert!((0..OPENED_MAX).all(|_| spent.see(1)));
        assert_eq!(spent.left(), 0);
        assert!(!spent.see(1), "one more");
        let spent = Spent::nothing(&Clock::machine());
        assert!(spent.see(OPENED_BYTES_MAX));
        assert!(!spent.see(1), "one byte more");
    }

    #[test]
    fn searches_end_after_their_time() {
        let clock = Clock::fixed(DateTime::UNIX_EPOCH);
        let spent = Spent::nothing(&clock);
        clock.advance(TimeDelta::seconds(SEARCHED_S_MAX));
        assert!(spent.leaves(clock.now()));
        clock.advance(TimeDelta::microseconds(1));
        assert!(!spent.leaves(clock.now()));
    }
}
