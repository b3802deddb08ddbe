//! What is counted of each request, and its one line in the operational log.
//!
//! May import `http` and nothing that answers. No count and no line holds a path, an id or a query: only which
//! interaction it was, at which door, how it ended and how long it took.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rocket::{
    Build, Data, Request, Response, Rocket,
    fairing::{Fairing, Info, Kind},
};

use super::{dispatch::EdgeFacts, edge::Door, incoming::Place};

/// Upper bounds of the latency histogram, in milliseconds; one more bucket holds what took longer.
pub const BOUNDS_MS: [u64; 12] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 5_000, 30_000];
/// Classes of a status: 2xx and below, 3xx, 4xx, 5xx.
pub const CLASSES: [&str; 4] = ["2xx", "3xx", "4xx", "5xx"];
/// Every interaction, as [`Place::interaction`] names it; `none` is what came to no route.
pub const INTERACTIONS: [&str; 28] = [
    "capabilities",
    "smart-configuration",
    "transaction",
    "search-type",
    "create",
    "read",
    "update",
    "patch",
    "delete",
    "history-instance",
    "history-type",
    "history-system",
    "search-compartment",
    "search-system",
    "validate",
    "meta",
    "meta-add",
    "meta-delete",
    "everything",
    "vread",
    "openapi",
    "token",
    "jwks",
    "audit-checkpoint",
    "audit-entry",
    "audit-proof",
    "audit-tile",
    "none",
];

/// What was counted of one interaction.
#[derive(Debug, Default)]
pub struct Measured {
    /// By door (portal, partner), then by class of the status.
    answered: [[AtomicU64; CLASSES.len()]; 2],
    /// By [`BOUNDS_MS`]; the last holds what took longer.
    took: [AtomicU64; BOUNDS_MS.len() + 1],
    micros: AtomicU64,
}

impl Measured {
    /// Requests by door and class of status.
    pub fn answered(&self) -> impl Iterator<Item = (Door, &'static str, u64)> {
        [Door::Portal, Door::Partner].into_iter().zip(&self.answered).flat_map(|(door, classes)| {
            CLASSES
                .into_iter()
                .zip(classes)
                .map(move |(class, count)| (door, class, count.load(Ordering::Relaxed)))
        })
    }

    /// Upper bound in seconds and number of each bucket of the latency histogram.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        let bounds = BOUNDS_MS.into_iter().map(|ms| Duration::from_millis(ms).as_secs_f64());
        bounds.chain([f64::MAX]).zip(&self.took).map(|(bound, count)| (bound, count.load(Ordering::Relaxed)))
    }

    /// Seconds that all of them took.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        Duration::from_micros(self.micros.load(Ordering::Relaxed)).as_secs_f64()
    }

    fn count(&self, door: Door, status: u16, took: Duration) {
        let class = match status {
            0..300 => 0,
            300..400 => 1,
            400..500 => 2,
            _ => 3,
        };
        let door = usize::from(door == Door::Partner);
        if let Some(count) = self.answered.get(door).and_then(|classes| classes.get(class)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let bucket = BOUNDS_MS.partition_point(|bound| took > Duration::from_millis(*bound));
        if let Some(count) = self.took.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// What was counted of every interaction.
#[derive(Debug, Default)]
pub struct Measures([Measured; INTERACTIONS.len()]);

impl Measures {
    /// Each interaction with what was counted of it.
    pub fn each(&self) -> impl Iterator<Item = (&'static str, &Measured)> {
        INTERACTIONS.into_iter().zip(&self.0)
    }

    fn count(&self, interaction: &'static str, door: Door, status: u16, took: Duration) {
        let at =
            INTERACTIONS.iter().position(|known| *known == interaction).unwrap_or(INTERACTIONS.len() - 1);
        if let Some(measured) = self.0.get(at) {
            measured.count(door, status, took);
        }
    }
}

/// Has every request of this Rocket counted.
#[must_use]
pub fn measured(rocket: Rocket<Build>, measures: Arc<Measures>) -> Rocket<Build> {
    rocket.attach(Measuring(measures))
}

struct Measuring(Arc<Measures>);

#[rocket::async_trait]
impl Fairing for Measuring {
    fn info(&self) -> Info {
        Info { name: "every request is counted", kind: Kind::Request | Kind::Response }
    }

    async fn on_request(&self, request: &mut Request<'_>, _: &mut Data<'_>) {
        request.local_cache(Instant::now);
    }

    async fn on_response<'r>(&self, request: &'r Request<'_>, response: &mut Response<'r>) {
        let took = request.local_cache(Instant::now).elapsed();
        let facts = EdgeFacts::of(request);
        let door = facts.map_or(Door::Portal, |facts| facts.door);
        let interaction = match facts {
            Some(EdgeFacts { fault: Some(_), .. }) => "none",
            _ => Place::parse(request.method(), request.uri().path().as_str()).interaction(),
        };
        let status = response.status().code;
        self.0.count(interaction, door, status, took);
        let (method, millis) = (request.method().as_str(), took.as_secs_f64() * 1_000.0);
        let door = door.name();
        // The ledger keeps every request; here the failures are of interest, and the rest to who asks for it.
        if status >= 500 {
            tracing::warn!(event = "request", method, interaction, status, door, millis);
        } else {
            tracing::debug!(event = "request", method, interaction, status, door, millis);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_counted_once_by_door_class_and_time() {
        let measures = Measures::default();
        for (status, ms) in [(200, 1), (404, 2), (503, 30_001), (304, 30_000)] {
            measures.count("read", Door::Partner, status, Duration::from_millis(ms));
        }
        measures.count("a-new-one", Door::Portal, 200, Duration::ZERO);
        let of = |name| measures.each().find(|(known, _)| *known == name).map(|(_, measured)| measured);
        let read: Vec<_> = of("read").into_iter().flat_map(Measured::answered).collect();
        assert!(read.iter().all(|(door, _, count)| *count == u64::from(*door == Door::Partner)), "{read:?}");
        let buckets: Vec<u64> =
            of("read").into_iter().flat_map(Measured::buckets).map(|(_, count)| count).collect();
        assert_eq!(buckets, [1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!(
            of("none").into_iter().flat_map(Measured::buckets).map(|(_, count)| count).sum::<u64>(),
            1
        );
    }
}
