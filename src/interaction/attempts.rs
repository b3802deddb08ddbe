//! Looking again: a write that no longer stands when it reaches the ledger is prepared anew, and dated anew.
//!
//! A write is dated before it is prepared, and refused when somebody asked what is new in between (decision 0044). One that takes
//! long to prepare, beside somebody who asks often, would be refused for ever: once refused so, it is dated ahead of the clock, by
//! twice what the last attempt took and twice as far as before.

use chrono::{DateTime, TimeDelta, Utc};

use super::{ATTEMPTS_MAX, Failure, reindex};
use crate::{
    app::App,
    fhir::meta,
    ledger::{Rejected, Stale},
    tenant::TenantId,
};

/// How far ahead of the clock a write is dated at the most, in seconds: as long as it may wait for its commit.
const LEAD_MAX_S: i64 = 30;

/// The attempts of one write.
#[derive(Default)]
pub(super) struct Attempts {
    failed: usize,
    begun: DateTime<Utc>,
    lead: TimeDelta,
}

impl Attempts {
    /// How many failed.
    pub(super) const fn failed(&self) -> usize {
        self.failed
    }

    /// Begins one; `meta.lastUpdated` of what it writes, which is no earlier than what those who asked what is new have seen all of.
    pub(super) fn begin(&mut self, app: &App, tenant: TenantId) -> DateTime<Utc> {
        self.begun = app.clock.now();
        meta::to_shown(self.begun.max(app.ledger.settled(tenant)) + self.lead)
    }

    /// Notes that one failed, and takes up what changed meanwhile.
    ///
    /// # Errors
    /// [`Failure`] after [`ATTEMPTS_MAX`], or when the database is away.
    pub(super) async fn again(&mut self, app: &App, tenant: TenantId, why: Stale) -> Result<(), Failure> {
        self.failed += 1;
        if self.failed >= ATTEMPTS_MAX {
            return Err(Rejected::from(why).into());
        }
        if why == Stale::Late {
            let took = app.clock.now() - self.begun;
            self.lead = (self.lead.max(took) * 2).min(TimeDelta::seconds(LEAD_MAX_S));
        }
        reindex::take_up(app, tenant).await?;
        Ok(())
    }
}
