//! Refusals of callers nobody could identify, coalesced so that a flood of them cannot fill the log.
//!
//! The first [`SINGLE_PER_SECOND`] refusals of a source (an address) in a second are entries of their own. What
//! comes after them in that second is answered at its end, under one entry that says how many there were: still
//! no answer without an entry, and a flood is slowed to the pace of the log.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::Mutex,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::{Access, Down, Ledger, Receipt, draft::Draft};

/// Refusals of one source in one second that are entries of their own.
pub(super) const SINGLE_PER_SECOND: usize = 64;
/// Refusals that may wait for one shared entry; past it the door is shut (the empty 503).
pub(super) const SHARED_MAX: usize = 10_000;
/// Sources that are told apart; past it they share one window.
const SOURCES_MAX: usize = 65_536;
const SECOND: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(super) struct Flood(Mutex<HashMap<IpAddr, Window>>);

struct Window {
    began: Instant,
    single: usize,
    shared: Vec<oneshot::Sender<Option<Receipt>>>,
}

enum Place {
    Single,
    /// The first of the shared ones: it writes the entry for all of this window at the end of the second.
    Leader(IpAddr, Duration),
    Follower(oneshot::Receiver<Option<Receipt>>),
    Full,
}

impl Flood {
    /// Commits a refusal, by itself or with others of its source; where its entry is.
    pub(super) async fn submit(
        &self,
        ledger: &Ledger,
        access: &Access,
        draft: Draft,
    ) -> Result<Receipt, Down> {
        match self.place(access.address) {
            Place::Single => ledger.submit(Vec::new(), vec![draft]).await.map_err(|_| Down),
            Place::Full => Err(Down),
            Place::Follower(receipt) => receipt.await.ok().flatten().ok_or(Down),
            Place::Leader(window, wait) => {
                tokio::time::sleep(wait).await;
                let others = self.take(window);
                let draft = match draft {
                    Draft::Access(mut inner) => {
                        inner.code = format!("{} ({} more)", inner.code, others.len());
                        Draft::Access(inner)
                    }
                    Draft::Control(_) => draft,
                };
                let receipt = ledger.submit(Vec::new(), vec![draft]).await.ok();
                for other in others {
                    other.send(receipt.clone()).ok();
                }
                receipt.ok_or(Down)
            }
        }
    }

    fn place(&self, address: IpAddr) -> Place {
        let Ok(mut windows) = self.0.lock() else { return Place::Full };
        let now = Instant::now();
        if windows.len() >= SOURCES_MAX {
            windows.retain(|_, window| now - window.began < SECOND || window.waits());
        }
        let address = if windows.len() >= SOURCES_MAX { IpAddr::from([0, 0, 0, 0]) } else { address };
        let window =
            windows.entry(address).or_insert_with(|| Window { began: now, single: 0, shared: Vec::new() });
        if now - window.began >= SECOND && !window.waits() {
            *window = Window { began: now, single: 0, shared: Vec::new() };
        }
        if window.single < SINGLE_PER_SECOND {
            window.single += 1;
            return Place::Single;
        }
        if window.single == SINGLE_PER_SECOND {
            window.single += 1;
            return Place::Leader(address, SECOND.saturating_sub(now - window.began));
        }
        if window.shared.len() >= SHARED_MAX {
            return Place::Full;
        }
        let (sender, receiver) = oneshot::channel();
        window.shared.push(sender);
        Place::Follower(receiver)
    }

    /// Ends a source's window: who waited in it, and the next refusal begins a new one.
    fn take(&self, address: IpAddr) -> Vec<oneshot::Sender<Option<Receipt>>> {
        self.0
            .lock()
            .ok()
            .and_then(|mut windows| windows.remove(&address))
            .map(|w| w.shared)
            .unwrap_or_default()
    }
}

impl Window {
    /// Whether a leader sleeps for this window; only it may end it.
    const fn waits(&self) -> bool {
        self.single > SINGLE_PER_SECOND
    }
}
