//! Lanes: threads of their own for the two connections everybody waits for.
//!
//! On the runtime of the requests an answer of PostgreSQL would wait in line behind the requests that wait for it.
//! A thread of its own is woken by the operating system as soon as the answer is there.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use diesel_async::{AsyncPgConnection, SimpleAsyncConnection as _};
use tokio::sync::Notify;

use super::StoreError;

/// How long fetches wait for a commit at the most.
const COMMIT_WAIT: Duration = Duration::from_millis(1);

/// Runs `lane` to its end on a thread and runtime of its own.
///
/// # Errors
/// [`StoreError::Away`] when the operating system gives no thread.
pub fn spawn(name: &str, lane: impl Future<Output = ()> + Send + 'static) -> Result<(), StoreError> {
    let away = |error: std::io::Error| StoreError::Away(Box::new(error));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(away)?;
    std::thread::Builder::new().name(name.to_owned()).spawn(move || runtime.block_on(lane)).map_err(away)?;
    Ok(())
}

/// Sets a lane's connection up: every statement of a lane is a look-up by key, for which no plan but nested index
/// scans is ever right, whatever the parameters are.
///
/// # Errors
/// Diesel's.
pub async fn settle(connection: &mut AsyncPgConnection) -> diesel::QueryResult<()> {
    let nested = "SET plan_cache_mode = force_generic_plan; SET enable_hashjoin = off; \
                  SET enable_mergejoin = off; SET enable_seqscan = off; SET jit = off";
    connection.batch_execute(nested).await
}

/// The beat of the house: fetches wait for the commit that is under way.
///
/// What is fetched has to be committed next, and a committer takes one batch at a time: a record that is fetched
/// while it commits gains nothing but a batch of its own, which costs PostgreSQL as much as a batch of thirty. So
/// under load requests go through the house in two crowds, one in the database while the other is in between; and a
/// request that is alone finds nobody committing. Where several logs are written side by side, a fetch waits only while
/// all their committers commit.
#[derive(Default)]
pub struct Pace {
    committers: AtomicUsize,
    committing: AtomicUsize,
    idle: Notify,
}

/// A committer's part in the beat; it ends with it.
pub struct Beat {
    pace: Arc<Pace>,
    committing: AtomicBool,
}

impl Beat {
    /// That of a committer that does not commit yet.
    #[must_use]
    pub fn new(pace: Arc<Pace>) -> Self {
        pace.committers.fetch_add(1, Ordering::AcqRel);
        Self { pace, committing: AtomicBool::new(false) }
    }

    /// The committer has begun a batch.
    pub fn begin(&self) {
        if !self.committing.swap(true, Ordering::AcqRel) {
            self.pace.committing.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// The committer has ended a batch.
    pub fn end(&self) {
        if self.committing.swap(false, Ordering::AcqRel) {
            self.pace.committing.fetch_sub(1, Ordering::AcqRel);
        }
        self.pace.idle.notify_one();
    }
}

impl Drop for Beat {
    fn drop(&mut self) {
        self.pace.committers.fetch_sub(1, Ordering::AcqRel);
        self.end();
    }
}

impl Pace {
    /// Waits for the batches that are under way, if no committer is free, but not for long.
    pub(super) async fn wait(&self) {
        let idle = async {
            // A notice may be left over from a batch nobody waited for: what counts are the numbers.
            while self.is_busy() {
                self.idle.notified().await;
            }
        };
        // A large batch may take longer; then there is nothing to wait for.
        tokio::time::timeout(COMMIT_WAIT, idle).await.ok();
    }

    fn is_busy(&self) -> bool {
        let committing = self.committing.load(Ordering::Acquire);
        committing > 0 && committing >= self.committers.load(Ordering::Acquire)
    }
}
