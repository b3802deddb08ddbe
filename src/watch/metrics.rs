//! Metrics in the text of Prometheus, and readiness. No label comes from a request.
//!
//! May import `http`, `ledger`, `anchor`, `store`, `app`.

use std::{
    fmt, fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _, text::encode},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::{Registry, Unit},
};

use crate::{
    anchor::AnchorCounts,
    http::{
        edge::{Door, EdgeCounts},
        measure::{Measured, Measures},
    },
    ledger::Counts,
};

/// Label of a histogram's or counter's interaction.
const INTERACTION: &str = "interaction";

/// Whether the house can serve: kept up to date by a task, read without asking anybody.
#[derive(Debug, Default)]
pub struct Readiness {
    ready: AtomicBool,
    tenants: AtomicU64,
}

impl Readiness {
    /// Whether the database answered and the ledger committed when they were last looked at.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    /// Says what was found.
    pub fn found(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
    }

    /// Says how many tenants are admitted.
    pub fn tenants(&self, count: usize) {
        self.tenants.store(u64::try_from(count).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// Everything that is measured, ready to be put into text.
pub struct Metrics {
    registry: Registry,
}

impl Metrics {
    /// Over what the rooms count.
    #[must_use]
    pub fn new(
        measures: Arc<Measures>,
        edge: Arc<EdgeCounts>,
        ledger: Arc<Counts>,
        anchors: Arc<AnchorCounts>,
        readiness: Arc<Readiness>,
    ) -> Self {
        let mut registry = Registry::with_prefix("custodia");
        registry.register_collector(Box::new(Requests(measures)));
        registry.register_collector(Box::new(Edge(edge)));
        registry.register_collector(Box::new(House { ledger, anchors, readiness }));
        Self { registry }
    }

    /// The text a scraper reads.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::with_capacity(32 * 1024);
        // Writing to a String does not fail; a half-written text would be seen by its missing end.
        match encode(&mut text, &self.registry) {
            Ok(()) => text,
            Err(fmt::Error) => String::new(),
        }
    }
}

#[derive(Debug)]
struct Requests(Arc<Measures>);

impl Collector for Requests {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Requests answered, by interaction, door and class of status";
        let mut family = encoder.encode_descriptor("requests", help, None, MetricType::Counter)?;
        for (interaction, measured) in self.0.each() {
            for (door, class, count) in measured.answered().filter(|(_, _, count)| *count > 0) {
                let labels = [(INTERACTION, interaction), ("door", door.name()), ("class", class)];
                ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
            }
        }
        let help = "Time from a request's arrival at Rocket to its answer";
        let mut family = encoder.encode_descriptor(
            "request_duration",
            help,
            Some(&Unit::Seconds),
            MetricType::Histogram,
        )?;
        for (interaction, measured) in self.0.each() {
            let buckets: Vec<(f64, u64)> = Measured::buckets(measured).collect();
            let count = buckets.iter().map(|(_, count)| count).sum();
            if count > 0 {
                let labels = [(INTERACTION, interaction)];
                family.encode_family(&labels)?.encode_histogram::<NoLabels>(
                    measured.seconds(),
                    count,
                    &buckets,
                    None,
                )?;
            }
        }
        Ok(())
    }
}

/// Exemplars would carry labels; there are none.
type NoLabels = [(&'static str, &'static str); 0];

#[derive(Debug)]
struct Edge(Arc<EdgeCounts>);

impl Collector for Edge {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let counts = &self.0;
        let help = "Requests at each door by class of status, probes and refused ones included";
        let mut family = encoder.encode_descriptor("edge_requests", help, None, MetricType::Counter)?;
        for door in [Door::Portal, Door::Partner] {
            for (class, count) in counts.requests(door).classes() {
                let labels = [("door", door.name()), ("class", class)];
                ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
            }
        }
        gauge(&mut encoder, "edge_connections_open", "Connections open now", counts.connections_open.get())?;
        for (name, help, count) in [
            ("edge_connections", "Connections accepted", &counts.connections),
            (
                "edge_connections_refused",
                "Connections closed for being too many",
                &counts.connections_refused,
            ),
            ("edge_handshakes_failed", "TLS handshakes that failed", &counts.handshakes_failed),
            ("edge_slow_headers", "Connections cut for slow headers", &counts.slow_headers),
            (
                "edge_stalled_writes",
                "Connections cut because their peer stopped reading",
                &counts.stalled_writes,
            ),
            ("edge_idle_closed", "Connections retired for being idle", &counts.idle_closed),
            (
                "edge_certificates_refused",
                "Requests whose certificate no longer held",
                &counts.certificates_refused,
            ),
            ("edge_malformed", "Requests that were not HTTP", &counts.malformed),
            ("edge_unanswered", "Requests that no answer came back for", &counts.unanswered),
            (
                "edge_events_dropped",
                "Refusals that found no room to wait for the log",
                &counts.events_dropped,
            ),
            ("edge_reloads", "Reloads of certificates", &counts.reloads),
            ("edge_reloads_failed", "Reloads of certificates that kept the old ones", &counts.reloads_failed),
        ] {
            counter(&mut encoder, name, help, count.get())?;
        }
        Ok(())
    }
}

#[derive(Debug)]
struct House {
    ledger: Arc<Counts>,
    anchors: Arc<AnchorCounts>,
    readiness: Arc<Readiness>,
}

impl Collector for House {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (ledger, anchors) = (&self.ledger, &self.anchors);
        for (name, help, count) in [
            ("ledger_batches", "Transactions of the ledger that committed", ledger.batches()),
            ("ledger_batches_failed", "Transactions of the ledger that did not", ledger.failed()),
            ("ledger_submissions", "Requests whose entries were committed", ledger.submissions()),
            ("ledger_entries", "Entries this server committed", ledger.entries()),
            ("fork_alarms", "Alarms of witnesses: the log forked, or was put back", anchors.fork_alarms()),
            (
                "recounted_entries",
                "Entries of the log that were read anew and compared",
                anchors.recounted_entries(),
            ),
            ("recount_failures", "Times that a log was not read anew to its end", anchors.recount_failures()),
            (
                "witness_failures",
                "Times that a witness was asked and did not cosign",
                anchors.witness_failures(),
            ),
            (
                "anchor_failures",
                "Times that mirror or kept checkpoint did not advance",
                anchors.mirror_failures(),
            ),
        ] {
            counter(&mut encoder, name, help, count)?;
        }
        gauge(&mut encoder, "ledger_size", "Entries in the log after this server's last one", ledger.size())?;
        gauge(
            &mut encoder,
            "damaged_logs",
            "Logs and mirrors of which something is not what it was, as the last reading found",
            anchors.damaged_logs(),
        )?;
        let help = "When every log was last read anew to its end, since 1970; 0 before the first time";
        unit_gauge(&mut encoder, "recounted_at", help, &Unit::Seconds, anchors.recounted_at())?;
        gauge(
            &mut encoder,
            "cosigned_size",
            "Entries under the last cosigned checkpoint",
            anchors.cosigned_size(),
        )?;
        gauge(&mut encoder, "mirrored_size", "Entries in the mirror", anchors.mirrored_size())?;
        gauge(&mut encoder, "ready", "Whether the server is ready", u64::from(self.readiness.is_ready()))?;
        gauge(&mut encoder, "tenants", "Tenants admitted", self.readiness.tenants.load(Ordering::Relaxed))?;
        let help = "Memory of this process that is resident";
        match resident_bytes() {
            Some(bytes) => unit_gauge(&mut encoder, "process_resident_memory", help, &Unit::Bytes, bytes),
            None => Ok(()),
        }
    }
}

fn counter(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, count: u64) -> fmt::Result {
    let metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    ConstCounter::new(count).encode(metric)
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, count: u64) -> fmt::Result {
    let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    ConstGauge::new(count).encode(metric)
}

fn unit_gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: &Unit,
    count: u64,
) -> fmt::Result {
    let metric = encoder.encode_descriptor(name, help, Some(unit), MetricType::Gauge)?;
    ConstGauge::new(count).encode(metric)
}

/// `VmRSS` of proc(5), in bytes; a system without it is not measured.
fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_holds_every_family_and_its_end() {
        let readiness = Arc::new(Readiness::default());
        let metrics = Metrics::new(
            Arc::default(),
            Arc::default(),
            Arc::default(),
            Arc::default(),
            Arc::clone(&readiness),
        );
        assert!(metrics.text().contains("custodia_ready 0\n"), "{}", metrics.text());
        readiness.found(true);
        readiness.tenants(3);
        let text = metrics.text();
        for line in [
            "custodia_ready 1\n",
            "custodia_tenants 3\n",
            "custodia_ledger_size 0\n",
            "custodia_ledger_batches_total 0\n",
            "custodia_edge_requests_total{door=\"portal\",class=\"2xx\"} 0\n",
            "# TYPE custodia_request_duration_seconds histogram\n",
            "# TYPE custodia_requests counter\n",
            "custodia_process_resident_memory_bytes ",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }
}
