//! One closed-loop run: each client sends its next request when the last is answered.
//!
//! Imports `caller`, `client`, `fault`, `gauge`, `histogram`, `random`, `records` and `workload`.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{task::JoinSet, time::sleep};

use crate::{
    caller::Caller,
    client::{Call, Keep},
    fault::Fault,
    gauge::{Gauge, Reading},
    histogram::Histogram,
    ledger::{self, Committed},
    random::Random,
    records::BUNDLE_ENTRIES_MAX,
    workload::Step,
};

/// How often the server's memory is looked at.
const SAMPLE_EVERY: Duration = Duration::from_millis(100);
/// What lies between two of the largest Bundles.
const BETWEEN_BUNDLES: Duration = Duration::from_secs(2);
/// What a client waits after an error, so that a dead server is not hammered.
const AFTER_ERROR: Duration = Duration::from_millis(20);

/// Draws the next request; `None` if there is nothing to ask for.
pub(crate) type Draw = Arc<dyn Fn(&mut Random) -> Option<(Step, Call)> + Send + Sync>;

/// What is run.
#[derive(Clone)]
pub(crate) struct Plan {
    /// Which requests.
    pub(crate) draw: Draw,
    /// The largest Bundles, if one client more is to send them.
    pub(crate) bulk: Option<Draw>,
    /// How many clients.
    pub(crate) clients: u32,
    /// How long before anything counts.
    pub(crate) warmup: Duration,
    /// How long it counts.
    pub(crate) measured: Duration,
    /// Entries of a transaction.
    pub(crate) bundle_entries: u32,
    /// The most requests, over all clients and warm-up.
    pub(crate) requests_max: u64,
    /// Of the random numbers.
    pub(crate) seed: u64,
}

/// What one client, or all together, counted.
#[derive(Default)]
pub(crate) struct Tally {
    /// Latencies of the answers without error that ended in the measured time.
    pub(crate) latencies: Histogram,
    /// The resources they stand for.
    pub(crate) resources: u64,
    /// Resources stored, warm-up and all: what the database grew by.
    pub(crate) stored: u64,
    /// Errors by their status or `connection`, `timeout`, `hollow`; warm-up and all.
    pub(crate) errors: BTreeMap<String, u64>,
}

impl Tally {
    fn merge(&mut self, other: Self) {
        self.latencies.merge(&other.latencies);
        self.resources += other.resources;
        self.stored += other.stored;
        for (error, count) in other.errors {
            *self.errors.entry(error).or_default() += count;
        }
    }
}

/// What a run came to.
pub(crate) struct Measured {
    /// What was counted.
    pub(crate) tally: Tally,
    /// How long it was counted, in seconds.
    pub(crate) elapsed_s: f64,
    /// The processes at the beginning and at the end of that time.
    pub(crate) readings: [Reading; 2],
    /// The most memory the server was seen with, in KiB.
    pub(crate) rss_max_kib: u64,
    /// What the ledger committed in that time, if the server tells.
    pub(crate) ledger: Option<ledger::Rate>,
}

/// Runs `plan`. Every client has its own connection.
pub(crate) async fn measure(caller: &Caller, plan: Plan, gauge: Gauge) -> Result<Measured, Fault> {
    let start = Instant::now() + plan.warmup;
    let end = start + plan.measured;
    let mut clients = JoinSet::new();
    for number in 0..plan.clients {
        let client = Client { caller: caller.clone(), plan: plan.clone(), number, start, end };
        clients.spawn(client.run());
    }
    let bulk = plan.bulk.clone().map(|draw| {
        let client = Client { caller: caller.clone(), plan: plan.clone(), number: plan.clients, start, end };
        tokio::spawn(client.bundles(draw))
    });
    sleep(start.saturating_duration_since(Instant::now())).await;
    let committed = Committed::read(caller).await;
    let (before, began) = (gauge.read(), Instant::now());
    let mut rss_max_kib = before.server_rss_kib;
    while Instant::now() < end && !clients.is_empty() {
        sleep(SAMPLE_EVERY.min(end.saturating_duration_since(Instant::now()))).await;
        rss_max_kib = rss_max_kib.max(gauge.server_rss_kib());
    }
    let (after, elapsed) = (gauge.read(), began.elapsed());
    let now = Committed::read(caller).await.zip(committed);
    let ledger = now.map(|(now, then)| now.since(then, began.elapsed().as_secs_f64()));
    let mut tally = Tally::default();
    while let Some(ended) = clients.join_next().await {
        tally.merge(ended.map_err(|_| Fault::refused("a client failed"))??);
    }
    if let Some(bulk) = bulk {
        let Tally { stored, errors, .. } = bulk.await.map_err(|_| Fault::refused("a client failed"))??;
        tally.merge(Tally { stored, errors, ..Tally::default() });
    }
    let rss_max_kib = rss_max_kib.max(after.server_rss_kib);
    Ok(Measured { tally, elapsed_s: elapsed.as_secs_f64(), readings: [before, after], rss_max_kib, ledger })
}

struct Client {
    caller: Caller,
    plan: Plan,
    number: u32,
    start: Instant,
    end: Instant,
}

impl Client {
    async fn run(mut self) -> Result<Tally, Fault> {
        let Plan { clients, requests_max, seed, .. } = self.plan;
        let mut random = Random::new(seed, u64::from(self.number) + 1);
        let mut tally = Tally::default();
        for _ in 0..requests_max.div_ceil(u64::from(clients.max(1))) {
            if Instant::now() >= self.end {
                break;
            }
            let drawn = (self.plan.draw)(&mut random);
            let (step, call) = drawn.ok_or_else(|| Fault::refused("nothing was seeded"))?;
            let sent = Instant::now();
            let answer = self.caller.send(call, Keep::Length).await;
            let answered = Instant::now();
            let error = match answer {
                Err(none) => none.why.to_owned(),
                Ok(reply) if reply.status != step.expected() => reply.status.as_str().to_owned(),
                Ok(reply) if reply.length < step.bytes_min() => "hollow".to_owned(),
                Ok(_) => {
                    self.count(&mut tally, step, sent, answered);
                    continue;
                }
            };
            *tally.errors.entry(error).or_default() += 1;
            sleep(AFTER_ERROR).await;
        }
        Ok(tally)
    }

    /// The largest Bundles, one after the other, from the beginning of the measured time.
    async fn bundles(mut self, draw: Draw) -> Result<Tally, Fault> {
        let mut random = Random::new(self.plan.seed, u64::from(self.number) + 1);
        let mut tally = Tally::default();
        sleep(self.start.saturating_duration_since(Instant::now())).await;
        while Instant::now() < self.end {
            let (_, call) = draw(&mut random).ok_or_else(|| Fault::refused("nothing was seeded"))?;
            let error = match self.caller.send(call, Keep::Length).await {
                Err(none) => Some(none.why.to_owned()),
                Ok(reply) if reply.status != Step::Transaction.expected() => {
                    Some(reply.status.as_str().to_owned())
                }
                Ok(_) => None,
            };
            match error {
                Some(error) => *tally.errors.entry(error).or_default() += 1,
                None => tally.stored += u64::from(BUNDLE_ENTRIES_MAX),
            }
            sleep(BETWEEN_BUNDLES).await;
        }
        Ok(tally)
    }

    fn count(&self, tally: &mut Tally, step: Step, sent: Instant, answered: Instant) {
        let resources = step.resources(self.plan.bundle_entries);
        if step.is_creation() {
            tally.stored += resources;
        }
        if answered >= self.start && answered < self.end {
            tally.latencies.record(answered - sent);
            tally.resources += resources;
        }
    }
}
