//! What the committer counts, for `watch` to render.
//!
//! May import `config`.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::config::SHARDS_MAX;

/// The same, as the length of a list.
const SHARDS: usize = SHARDS_MAX.unsigned_abs() as usize;

/// Batches and entries of this process, and whether the last batch of each log was committed.
#[derive(Debug, Default)]
pub struct Counts {
    batches: AtomicU64,
    failed: AtomicU64,
    submissions: AtomicU64,
    entries: AtomicU64,
    shards: [OfShard; SHARDS],
}

/// What is counted of each log by itself.
#[derive(Debug, Default)]
struct OfShard {
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

    /// Size of the log after the last batch of this process; of several, all together.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.shards.iter().map(|shard| shard.size.load(Ordering::Relaxed)).sum()
    }

    /// Whether the last batch of each log was committed, or none was tried yet.
    #[must_use]
    pub fn is_committing(&self) -> bool {
        (0..SHARDS_MAX).all(|shard| self.commits(shard))
    }

    /// The same of one of several logs.
    pub(super) fn commits(&self, shard: i16) -> bool {
        self.of(shard).is_none_or(|shard| !shard.failing.load(Ordering::Relaxed))
    }

    fn of(&self, shard: i16) -> Option<&OfShard> {
        self.shards.get(usize::try_from(shard).ok()?)
    }

    pub(super) fn committed(&self, shard: i16, (submissions, entries): (usize, usize), size: u64) {
        let wide = |count| u64::try_from(count).unwrap_or(u64::MAX);
        self.batches.fetch_add(1, Ordering::Relaxed);
        self.submissions.fetch_add(wide(submissions), Ordering::Relaxed);
        self.entries.fetch_add(wide(entries), Ordering::Relaxed);
        if let Some(shard) = self.of(shard) {
            shard.size.fetch_max(size, Ordering::Relaxed);
            shard.failing.store(false, Ordering::Relaxed);
        }
    }

    pub(super) fn lost(&self, shard: i16) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        if let Some(shard) = self.of(shard) {
            shard.failing.store(true, Ordering::Relaxed);
        }
    }
}
