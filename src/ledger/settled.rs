//! Up to which instant a log's writes are settled: nothing that is committed later is dated before it.
//!
//! May import `shard`.
//!
//! ```text
//! who asks what is new:  instant --> the committer, in its turn --> head.settled, committed --> reads
//! whoever writes:        dated, sealed --> the head locked --> before head.settled? stale: dated anew, no earlier than that
//! ```
//! What was in a batch before the instant's is committed when the reading begins; what comes later tests it (decision 0044).
//! If we crash in between, the instant stands in the head or nobody has read by it.

use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};

use super::{Down, Ledger, head::Head};
use crate::tenant::TenantId;

/// How far ahead of PostgreSQL's clock an instant is settled at the most, in seconds: a server whose clock is wrong would date
/// everybody's writes until the others have come that far.
const AHEAD_MAX_S: i64 = 5;

/// The instant, as this server last saw it.
#[derive(Debug, Default)]
pub(super) struct Settled(AtomicI64);

impl Settled {
    pub(super) fn raise(&self, to: DateTime<Utc>) {
        self.0.fetch_max(to.timestamp_micros(), Ordering::Relaxed);
    }

    pub(super) fn at(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.0.load(Ordering::Relaxed)).unwrap_or_default()
    }
}

impl Head {
    /// Up to when everything is settled once somebody has asked at an instant.
    pub(super) fn settled_by(&self, asked: Option<DateTime<Utc>>) -> DateTime<Utc> {
        let Some(asked) = asked else { return self.settled };
        let most = (self.clock + TimeDelta::seconds(AHEAD_MAX_S)).trunc_subsecs(3);
        if asked > most {
            tracing::warn!(event = "clock_ahead");
        }
        self.settled.max(asked.min(most))
    }
}

impl Ledger {
    /// Settles a tenant's writes up to an instant: what is read from here on holds all that was dated before the one that comes back.
    /// It is the same or a later one, unless this server's clock runs ahead of the database's.
    ///
    /// # Errors
    /// [`Down`] when the log does not commit.
    pub async fn settle(&self, tenant: TenantId, at: DateTime<Utc>) -> Result<DateTime<Utc>, Down> {
        // Writes are dated by the millisecond: the first one that begins at the instant or after it.
        let shown = at.trunc_subsecs(3);
        let up_to = if shown < at { shown + TimeDelta::milliseconds(1) } else { shown };
        self.home(tenant).settle(up_to).await.map_err(|_| Down)?;
        // What others settled since was committed as well before anything is read by this.
        Ok(self.settled(tenant))
    }

    /// The instant before which no write of a tenant can be dated any more.
    #[must_use]
    pub fn settled(&self, tenant: TenantId) -> DateTime<Utc> {
        self.home(tenant).settled()
    }
}
