//! What goes on beside the requests: heartbeats, readiness, new tenants.
//!
//! May import `app`, `watch`.

use std::{sync::Arc, time::Duration};

use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, interval_at},
};

use super::{packages::take_up_packages, parts::admit, register::Registry};
use crate::{
    anchor::REST, app::App, config::LedgerConfig, feed::Feed, interaction::reindex,
    store::package::PackageName, watch::Readiness,
};

/// How long after a start the log is read anew, and how often.
const RECOUNT_AFTER: Duration = Duration::from_secs(60);
const RECOUNT: Duration = Duration::from_secs(24 * 3_600);

/// How often the database is asked whether it answers.
const LOOK: Duration = Duration::from_secs(1);
/// How often, while the ledger fails, it is asked to commit something.
const TRY: Duration = Duration::from_secs(5);
/// How often tenants that another server added are read.
const TENANTS: Duration = Duration::from_secs(30);

/// How often packages that were added or taken away are looked for.
const PACKAGES: Duration = Duration::from_secs(30);

/// How often search parameters that changed are looked for, and reindexes that are to go on.
const SEARCHES: Duration = Duration::from_secs(2);

/// How often exports that nobody fetched are looked for.
const EXPORTS: Duration = Duration::from_secs(60);

/// How often audit keys whose time is over are looked for.
const RETENTION: Duration = Duration::from_secs(6 * 3_600);

/// The tasks; they end with it.
pub(super) struct Tasks(JoinSet<()>);

impl Tasks {
    pub(super) fn start(
        app: &Arc<App>,
        readiness: &Arc<Readiness>,
        config: &LedgerConfig,
        feeds: Vec<Feed>,
        packages: Vec<PackageName>,
    ) -> Self {
        let mut tasks = JoinSet::new();
        let seconds = |number: u32| Duration::from_secs(u64::from(number));
        tasks.spawn(heartbeats(Arc::clone(app), seconds(config.heartbeat_s)));
        tasks.spawn(anchors(Arc::clone(app), seconds(config.anchor_s)));
        tasks.spawn(recounts(Arc::clone(app)));
        tasks.spawn(look(Arc::clone(app), Arc::clone(readiness)));
        tasks.spawn(tenants(Arc::clone(app), Arc::clone(readiness)));
        tasks.spawn(renew_packages(Arc::clone(app), packages));
        tasks.spawn(exports(Arc::clone(app)));
        tasks.spawn(searches(Arc::clone(app)));
        for feed in feeds {
            tasks.spawn(feed.run());
        }
        tasks.spawn(retention(Arc::clone(app), config.retention_years));
        Self(tasks)
    }

    /// Ends them and waits until they are gone.
    pub(super) async fn stop(mut self) {
        self.0.shutdown().await;
    }
}

fn every(period: Duration) -> tokio::time::Interval {
    let mut tick = interval(period);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick
}

async fn heartbeats(app: Arc<App>, period: Duration) {
    let mut tick = every(period);
    // The first tick is at once, and the start has just been recorded.
    tick.tick().await;
    loop {
        tick.tick().await;
        if app.ledger.heartbeat().await.is_err() {
            tracing::error!(event = "heartbeat_lost");
        }
    }
}

/// Beside the requests: a witness that is slow makes nobody wait.
async fn anchors(app: Arc<App>, period: Duration) {
    let mut tick = every(period);
    loop {
        tick.tick().await;
        app.anchors.round(&app.ledger).await;
    }
}

/// Slowly, and beside everything else.
async fn recounts(app: Arc<App>) {
    let mut tick = interval_at(Instant::now() + RECOUNT_AFTER, RECOUNT);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let logs = app.anchors.recount(&app.ledger, &app.clock, REST).await;
        if logs.iter().all(|(_, found)| found.whole) {
            let entries: u64 = logs.iter().map(|(_, found)| found.entries).sum();
            tracing::info!(event = "log_recounted", entries);
        }
    }
}

async fn look(app: Arc<App>, readiness: Arc<Readiness>) {
    let mut tick = every(LOOK);
    let mut tried = Instant::now();
    loop {
        tick.tick().await;
        let answers = app.store.answers().await;
        // While nobody asks for anything, only an entry of our own tells that the ledger commits again.
        if answers && !app.ledger.counts().is_committing() && tried.elapsed() >= TRY {
            tried = Instant::now();
            if app.ledger.heartbeat().await.is_err() {
                tracing::error!(event = "heartbeat_lost");
            }
        }
        let ready = answers && app.ledger.counts().is_committing();
        if ready != readiness.is_ready() {
            let event = if ready { "ready" } else { "not_ready" };
            tracing::warn!(event);
        }
        readiness.found(ready);
    }
}

async fn exports(app: Arc<App>) {
    let mut tick = every(EXPORTS);
    loop {
        tick.tick().await;
        app.exports.sweep();
    }
}

/// Beside the requests: what another server, or one that was killed, has begun goes on here.
async fn searches(app: Arc<App>) {
    let mut tick = every(SEARCHES);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = app.reindex.notified() => {}
        }
        if reindex::run_all(&app).await.is_err() {
            tracing::error!(event = "reindex_stopped");
        }
    }
}

async fn retention(app: Arc<App>, years: u16) {
    let mut tick = every(RETENTION);
    loop {
        tick.tick().await;
        match Registry::from(&*app).retain(years).await {
            Ok(0) => {}
            Ok(count) => tracing::info!(event = "audit_keys_destroyed", count),
            Err(error) => tracing::error!(event = "retention_failed", error = error.to_string()),
        }
    }
}

/// Packages that were added or taken away since `known` was read. While they cannot be read, those of before count.
async fn renew_packages(app: Arc<App>, mut known: Vec<PackageName>) {
    let mut tick = every(PACKAGES);
    tick.tick().await;
    loop {
        tick.tick().await;
        match app.store.package_names().await {
            Ok(names) if names == known => continue,
            Ok(_) => {}
            Err(error) => {
                tracing::error!(event = "packages_not_read", error = error.to_string());
                continue;
            }
        }
        match take_up_packages(&app).await {
            Ok(names) => known = names,
            Err(error) => tracing::error!(event = "packages_not_read", error = error.to_string()),
        }
    }
}

async fn tenants(app: Arc<App>, readiness: Arc<Readiness>) {
    let mut tick = every(TENANTS);
    tick.tick().await;
    loop {
        tick.tick().await;
        match admit(&app.store, &app.keyring).await {
            Ok(count) => readiness.tenants(count),
            Err(error) => tracing::error!(event = "tenants_not_read", error = error.explained()),
        }
    }
}
