//! Searches take turns.
//!
//! Of many searches at once each takes as long as all of them together; one after the other they take half of that on average,
//! and the last no longer. A long one goes on without its seat, so that short ones do not wait for it.

use std::{pin::pin, time::Duration};

use tokio::{sync::Semaphore, time::timeout};

/// How long a search may hold a seat.
const SEATED_MAX: Duration = Duration::from_millis(50);

/// Does the work when there is a seat, first come first served.
pub(super) async fn seated<T>(seats: &Semaphore, work: impl Future<Output = T>) -> T {
    // Nobody closes the seats; if somebody did, there would be no turns.
    let seat = seats.acquire().await;
    let mut work = pin!(work);
    match timeout(SEATED_MAX, &mut work).await {
        Ok(done) => done,
        Err(_) => {
            drop(seat);
            work.await
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::pending,
        sync::atomic::{AtomicUsize, Ordering},
        task::Poll,
    };

    use futures_util::{future::join_all, poll};

    use super::*;

    #[tokio::test]
    async fn no_more_work_at_once_than_there_are_seats() {
        let (seats, now, most) = (Semaphore::new(2), AtomicUsize::new(0), AtomicUsize::new(0));
        let work = async || {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(SEATED_MAX / 10).await;
            now.fetch_sub(1, Ordering::SeqCst);
        };
        join_all((0..20).map(|_| seated(&seats, work()))).await;
        assert_eq!(most.into_inner(), 2);
    }

    #[tokio::test]
    async fn what_never_ends_holds_up_nothing_for_long() {
        let seats = Semaphore::new(1);
        let began = std::time::Instant::now();
        let mut endless = pin!(seated(&seats, pending::<()>()));
        assert_eq!(poll!(&mut endless), Poll::Pending);
        tokio::select! {
            () = endless => {}
            () = seated(&seats, async {}) => {}
        }
        assert!(began.elapsed() >= SEATED_MAX, "it had waited for its turn");
    }
}
