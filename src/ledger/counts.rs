//! What the committer counts, for `watch` to render.
//!
//! May import nothing of the house.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Batches and entries of this process, and whether the last batch was committed.
#[derive(Debug, Default)]
pub struct Counts {
    batches: AtomicU64,
    failed: AtomicU64,
    submissions: AtomicU64,
    entries: AtomicU64,
    size: AtomicU64,
    failing: AtomicBool,
}

impl Counts {
    /// Batches committed.
    #[must_use]
    pub fn batches(&self) -> u64 {
        self.batches.load(Ordering::Relaxed)
    }

    /// Batches that were not committed, or are not known to be.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Submissions in the batches committed.
    #[must_use]
    pub fn submissions(&self) -> u64 {
        self.submissions.load(Ordering::Relaxed)
    }

    /// Entries in the batches committed.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.entries.load(Ordering::Relaxed)
    }

    /// Size of the log after the last batch of this process.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size.load(Ordering::Relaxed)
    }

    /// Whether the last batch was committed, or none was tried yet.
    #[must_use]
    pub fn is_committing(&self) -> bool {
        !self.failing.load(Ordering::Relaxed)
    }

    pub(super) fn committed(&self, submissions: usize, entries: usize, size: u64) {
        let wide = |count| u64::try_from(count).unwrap_or(u64::MAX);
        self.batches.fetch_add(1, Ordering::Relaxed);
        self.submissions.fetch_add(wide(submissions), Ordering::Relaxed);
        self.entries.fetch_add(wide(entries), Ordering::Relaxed);
        self.size.fetch_max(size, Ordering::Relaxed);
        self.failing.store(false, Ordering::Relaxed);
    }

    pub(super) fn lost(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        self.failing.store(true, Ordering::Relaxed);
    }
}
