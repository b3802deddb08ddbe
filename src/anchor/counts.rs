//! What the anchors count, for `watch` to render.
//!
//! May import nothing of the house.

use std::sync::atomic::{AtomicU64, Ordering};

/// How far the log is known outside the database, and what went wrong.
#[derive(Debug, Default)]
pub struct AnchorCounts {
    pub(super) cosigned_size: AtomicU64,
    pub(super) mirrored_size: AtomicU64,
    pub(super) witness_failures: AtomicU64,
    pub(super) mirror_failures: AtomicU64,
    pub(super) fork_alarms: AtomicU64,
    pub(super) damaged_logs: AtomicU64,
    pub(super) recounted_entries: AtomicU64,
    pub(super) recount_failures: AtomicU64,
    pub(super) recounted_at: AtomicU64,
}

impl AnchorCounts {
    /// Size of the last checkpoint that the quorum cosigned.
    #[must_use]
    pub fn cosigned_size(&self) -> u64 {
        self.cosigned_size.load(Ordering::Relaxed)
    }

    /// Size of the mirror's checkpoint.
    #[must_use]
    pub fn mirrored_size(&self) -> u64 {
        self.mirrored_size.load(Ordering::Relaxed)
    }

    /// Times that a witness was asked and did not cosign.
    #[must_use]
    pub fn witness_failures(&self) -> u64 {
        self.witness_failures.load(Ordering::Relaxed)
    }

    /// Times that the mirror, or the checkpoint kept in the home, could not be advanced.
    #[must_use]
    pub fn mirror_failures(&self) -> u64 {
        self.mirror_failures.load(Ordering::Relaxed)
    }

    /// Alarms raised by witnesses: a fork, or a log that is shorter than it was.
    #[must_use]
    pub fn fork_alarms(&self) -> u64 {
        self.fork_alarms.load(Ordering::Relaxed)
    }

    /// In how many places, of a log and its copies, something is not what it was, as the last reading found.
    #[must_use]
    pub fn damaged_logs(&self) -> u64 {
        self.damaged_logs.load(Ordering::Relaxed)
    }

    /// Entries that were read anew.
    #[must_use]
    pub fn recounted_entries(&self) -> u64 {
        self.recounted_entries.load(Ordering::Relaxed)
    }

    /// Times that a log was not read anew to its end.
    #[must_use]
    pub fn recount_failures(&self) -> u64 {
        self.recount_failures.load(Ordering::Relaxed)
    }

    /// When every log was last read anew to its end, in seconds since 1970; 0 before the first time.
    #[must_use]
    pub fn recounted_at(&self) -> u64 {
        self.recounted_at.load(Ordering::Relaxed)
    }

    pub(super) fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn up(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}
