//! Lockout: how many sign-ins failed of late, and until when an account stays shut.
//!
//! Pure state with the time passed in; it is kept inside the sealed account. May import what identity may.

use chrono::{DateTime, Duration, Utc};
use serde::{Deserialize, Serialize};

/// Failures within [`WINDOW`] that lock the account.
pub const FAILURES_MAX: usize = 10;
/// How far back failures count.
pub const WINDOW: Duration = Duration::minutes(15);
/// How long a locked account stays locked.
pub const LOCKED_FOR: Duration = Duration::minutes(15);

/// Failed sign-ins of one account; at most [`FAILURES_MAX`] times are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failures {
    times: Vec<DateTime<Utc>>,
    locked_until: Option<DateTime<Utc>>,
}

impl Failures {
    /// Whether the account is locked at `now`.
    #[must_use]
    pub fn is_locked(&self, now: DateTime<Utc>) -> bool {
        self.locked_until.is_some_and(|until| now < until)
    }

    /// Counts a failure at `now`; returns whether the account is locked by it or was before. A failure while
    /// locked does not lengthen the lock, or anyone could keep anyone out for good.
    pub fn record(&mut self, now: DateTime<Utc>) -> bool {
        if self.is_locked(now) {
            return true;
        }
        self.locked_until = None;
        self.times.retain(|time| now - *time < WINDOW);
        self.times.push(now);
        if self.times.len() < FAILURES_MAX {
            return false;
        }
        self.times.clear();
        self.locked_until = Some(now + LOCKED_FOR);
        true
    }

    /// Forgets every failure, after a sign-in that succeeded; returns whether there was anything to forget.
    pub fn clear(&mut self) -> bool {
        let had = *self != Self::default();
        *self = Self::default();
        had
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap_or_default()
    }

    #[test]
    fn the_tenth_failure_within_fifteen_minutes_locks_for_fifteen_minutes() {
        let mut failures = Failures::default();
        for n in 0..9 {
            assert!(!failures.record(at(n)), "failure {n}");
        }
        assert!(!failures.is_locked(at(9)));
        assert!(failures.record(at(9)));
        assert!(failures.record(at(500)), "a failure while locked is answered as locked");
        assert!(failures.is_locked(at(9 + 899)));
        assert!(!failures.is_locked(at(9 + 900)), "and does not lengthen the lock");
        assert!(!failures.record(at(9 + 901)), "counting starts anew");
    }

    #[test]
    fn failures_older_than_the_window_do_not_count() {
        let mut failures = Failures::default();
        for n in 0..30 {
            assert!(!failures.record(at(n * 100)), "nine fall into any 15 minutes");
        }
        assert!(failures.times.len() < FAILURES_MAX, "the list stays bounded");
        assert!(failures.clear());
        assert!(!failures.clear());
    }
}
