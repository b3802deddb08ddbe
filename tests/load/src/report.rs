//! What is printed: a table, JSON, and whether the ratios hold.
//!
//! Imports `floor`, `measure` and `workload`.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    floor::{Floor, Rate},
    ledger,
    measure::Measured,
    workload::Workload,
};

/// One run of one workload at one number of clients.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    /// Which workload.
    pub(crate) workload: Workload,
    /// How many clients.
    pub(crate) clients: u32,
    /// Answers without error a second.
    pub(crate) requests_per_s: f64,
    /// Resources a second: the same, but for transactions.
    pub(crate) resources_per_s: f64,
    /// Half took no longer.
    pub(crate) p50_ms: f64,
    /// 95 %.
    pub(crate) p95_ms: f64,
    /// 99 %.
    pub(crate) p99_ms: f64,
    /// The slowest.
    pub(crate) max_ms: f64,
    /// Errors by status or kind, warm-up and all.
    pub(crate) errors: BTreeMap<String, u64>,
    /// The server's memory in KiB: before, after, most.
    pub(crate) server_rss_kib: [u64; 3],
    /// The server's processor time for each request, in microseconds.
    pub(crate) server_cpu_us: f64,
    /// PostgreSQL's.
    pub(crate) postgres_cpu_us: f64,
    /// The load generator's.
    pub(crate) load_cpu_us: f64,
    /// How much the database grew, in bytes, warm-up and all.
    pub(crate) database_growth_bytes: Option<i64>,
    /// The same for each thousand resources stored; for workloads that only store.
    pub(crate) database_bytes_per_1000: Option<f64>,
    /// Resources a second over what the floor does a second.
    pub(crate) ratio: Option<f64>,
    /// What the ledger committed meanwhile.
    pub(crate) ledger: Option<ledger::Rate>,
}

/// A whole run.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    /// The runs.
    pub(crate) rows: Vec<Row>,
    /// The floors, one for each number of clients.
    pub(crate) floors: Vec<Floor>,
    /// Bytes of a thousand rows of the floor's table.
    pub(crate) floor_bytes_per_1000: Option<f64>,
    /// How often a second the disk under the server's home can sync a page.
    pub(crate) syncs_per_s: Option<f64>,
}

impl Row {
    /// From what was measured; `grown` is by how many bytes the database grew.
    pub(crate) fn new(workload: Workload, clients: u32, measured: Measured, grown: Option<i64>) -> Self {
        let Measured { tally, elapsed_s, readings: [before, after], rss_max_kib, ledger } = measured;
        let requests = tally.latencies.total();
        let per_request = |seconds: f64| seconds * 1e6 / requests.max(1) as f64;
        let only_stores = matches!(workload, Workload::Create | Workload::Transaction) && tally.stored > 0;
        Self {
            workload,
            clients,
            requests_per_s: requests as f64 / elapsed_s,
            resources_per_s: tally.resources as f64 / elapsed_s,
            p50_ms: tally.latencies.per_mille_ms(500),
            p95_ms: tally.latencies.per_mille_ms(950),
            p99_ms: tally.latencies.per_mille_ms(990),
            max_ms: tally.latencies.max_ms(),
            errors: tally.errors,
            server_rss_kib: [before.server_rss_kib, after.server_rss_kib, rss_max_kib],
            server_cpu_us: per_request(after.server_cpu_s - before.server_cpu_s),
            postgres_cpu_us: per_request(after.postgres_cpu_s - before.postgres_cpu_s),
            load_cpu_us: per_request(after.load_cpu_s - before.load_cpu_s),
            database_growth_bytes: grown,
            database_bytes_per_1000: grown
                .filter(|_| only_stores)
                .map(|bytes| bytes as f64 * 1_000.0 / tally.stored as f64),
            ratio: None,
            ledger,
        }
    }
}

/// What the floor does a second for the requests of a workload.
///
/// A mix is as slow as its parts one after the other: 85 reads and 15 writes of a hundred.
fn floor_per_s(workload: Workload, floor: &Floor) -> f64 {
    let (select, insert) = (floor.select.per_s, floor.insert.per_s);
    match workload {
        Workload::Read | Workload::ReadBeside | Workload::SearchPatient | Workload::Proof => select,
        Workload::Create | Workload::Update | Workload::Transaction => insert,
        Workload::Mixed => 1.0 / (0.85 / select + 0.15 / insert),
    }
}

impl Report {
    /// Adds a run, and its ratio to the floor at the same number of clients.
    pub(crate) fn push(&mut self, mut row: Row) {
        let floor = self.floors.iter().find(|floor| floor.clients == row.clients);
        let per_s = floor.map(|floor| floor_per_s(row.workload, floor)).filter(|per_s| *per_s > 0.0);
        row.ratio = per_s.map(|per_s| row.resources_per_s / per_s);
        self.rows.push(row);
    }

    /// What misses its bound: errors, a ratio too low, or a bound that nothing was measured for.
    pub(crate) fn misses(&self, bounds: &BTreeMap<Workload, f64>) -> Vec<String> {
        let mut misses = Vec::new();
        for row in &self.rows {
            let (name, clients) = (row.workload.name(), row.clients);
            if !row.errors.is_empty() {
                misses.push(format!("{name} at {clients} clients: errors {:?}", row.errors));
            }
            if row.requests_per_s <= 0.0 {
                misses.push(format!("{name} at {clients} clients: nothing was answered"));
            }
            let Some(bound) = bounds.get(&row.workload) else { continue };
            match row.ratio {
                Some(ratio) if ratio >= *bound => {}
                Some(ratio) => {
                    misses.push(format!("{name} at {clients} clients: {ratio:.3} of the floor, not {bound}"))
                }
                None => misses.push(format!("{name} at {clients} clients: no floor was measured")),
            }
        }
        for workload in bounds.keys().filter(|bound| !self.rows.iter().any(|row| row.workload == **bound)) {
            misses.push(format!("{}: a bound was given, but it was not run", workload.name()));
        }
        misses
    }

    /// Where the largest Bundles lift the p99 of reads by more than `bound` times.
    pub(crate) fn lifted(&self, bound: f64) -> Vec<String> {
        let of = |workload| self.rows.iter().filter(move |row| row.workload == workload);
        let pairs = of(Workload::ReadBeside).map(|beside| {
            let alone = of(Workload::Read).find(|alone| alone.clients == beside.clients);
            (beside, alone.map(|alone| beside.p99_ms / alone.p99_ms))
        });
        let misses: Vec<String> = pairs
            .filter(|(_, lift)| lift.is_none_or(|lift| lift > bound))
            .map(|(beside, lift)| {
                let lift = lift.map_or_else(|| "not measured alone".to_owned(), |lift| format!("{lift:.2}"));
                format!(
                    "read-beside at {} clients: p99 over that of read is {lift}, not {bound}",
                    beside.clients
                )
            })
            .collect();
        if of(Workload::ReadBeside).next().is_none() {
            return vec!["read-beside: a bound was given, but it was not run".to_owned()];
        }
        misses
    }

    /// The table for people.
    pub(crate) fn to_text(&self) -> String {
        let mut text = String::from(
            "workload       clients     req/s     res/s  p50 ms  p95 ms  p99 ms  max ms  of floor   cpu us: server  postgres  load   rss MiB: before after most   MB/1000\n",
        );
        for row in &self.rows {
            push_row(&mut text, row);
        }
        for floor in &self.floors {
            push_floor(&mut text, "SELECT", floor.clients, floor.select);
            push_floor(&mut text, "INSERT", floor.clients, floor.insert);
        }
        for row in &self.rows {
            push_ledger(&mut text, row, self.syncs_per_s);
        }
        if let Some(bytes) = self.floor_bytes_per_1000 {
            text.push_str(&format!("floor: {:.2} MB per 1,000 rows\n", bytes / 1e6));
        }
        text
    }
}

fn push_row(text: &mut String, row: &Row) {
    let mib = row.server_rss_kib.map(|kib| kib as f64 / 1_024.0);
    let [before, after, most] = mib;
    let ratio = row.ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.3}"));
    let disk =
        row.database_bytes_per_1000.map_or_else(|| "-".to_owned(), |bytes| format!("{:.2}", bytes / 1e6));
    text.push_str(&format!("{:<14} {:>7} {:>9.1} {:>9.1} {:>7.2} {:>7.2} {:>7.2} {:>7.1} {ratio:>9} {:>16.0} {:>9.0} {:>5.0} {before:>17.0} {after:>5.0} {most:>4.0} {disk:>9}\n",
        row.workload.name(),
        row.clients,
        row.requests_per_s,
        row.resources_per_s,
        row.p50_ms,
        row.p95_ms,
        row.p99_ms,
        row.max_ms,
        row.server_cpu_us,
        row.postgres_cpu_us,
        row.load_cpu_us,
    ));
    for (error, count) in &row.errors {
        text.push_str(&format!("    errors: {count} x {error}\n"));
    }
}

/// How far commits are shared: entries for each batch, and for each sync that the disk could do.
fn push_ledger(text: &mut String, row: &Row, syncs_per_s: Option<f64>) {
    let Some(ledger::Rate { entries_per_s, batches_per_s }) = row.ledger else { return };
    let of_syncs = syncs_per_s.map_or_else(String::new, |syncs| {
        format!(", {:.2} for each of {syncs:.0} syncs/s of the disk", entries_per_s / syncs)
    });
    text.push_str(&format!(
        "ledger {:<14} {:>4}: {entries_per_s:.0} entries/s in {batches_per_s:.0} batches/s, {:.1} to a batch{of_syncs}\n",
        row.workload.name(),
        row.clients,
        entries_per_s / batches_per_s.max(1.0),
    ));
}

fn push_floor(text: &mut String, name: &str, clients: u32, rate: Rate) {
    let Rate { per_s, p50_ms, p99_ms } = rate;
    text.push_str(&format!(
        "floor {name:<8} {clients:>7} {per_s:>9.1} {per_s:>9.1} {p50_ms:>7.2} {:>7} {p99_ms:>7.2}\n",
        "-"
    ));
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use std::time::Duration;

    use super::*;
    use crate::{gauge::Reading, measure::Tally};

    fn rate(per_s: f64) -> Rate {
        Rate { per_s, p50_ms: 0.0, p99_ms: 0.0 }
    }

    fn report(rows: impl IntoIterator<Item = Row>) -> Report {
        let floors = vec![Floor { clients: 16, select: rate(1_000.0), insert: rate(100.0) }];
        let mut report = Report { floors, ..Report::default() };
        rows.into_iter().for_each(|row| report.push(row));
        report
    }

    fn row(workload: Workload, clients: u32, requests: u64, resources: u64) -> Row {
        let mut tally = Tally { resources, stored: resources, ..Tally::default() };
        (0..requests).for_each(|_| tally.latencies.record(Duration::from_millis(2)));
        let after = Reading { server_cpu_s: 1.0, postgres_cpu_s: 0.5, load_cpu_s: 0.25, server_rss_kib: 3 };
        let readings = [Reading::default(), after];
        Row::new(
            workload,
            clients,
            Measured { tally, elapsed_s: 2.0, readings, rss_max_kib: 9, ledger: None },
            Some(4_000_000),
        )
    }

    fn near(found: f64, wanted: f64) {
        assert!((found - wanted).abs() < 1e-6 * wanted.abs(), "{found} is not {wanted}");
    }

    #[test]
    fn rates_and_costs_are_per_second_and_per_request() {
        let row = row(Workload::Transaction, 16, 100, 10_000);
        near(row.requests_per_s, 50.0);
        near(row.resources_per_s, 5_000.0);
        near(row.server_cpu_us, 10_000.0);
        near(row.postgres_cpu_us, 5_000.0);
        near(row.database_bytes_per_1000.unwrap(), 400_000.0);
        assert_eq!(row.server_rss_kib, [0, 3, 9]);
    }

    #[test]
    fn each_workload_is_held_against_its_own_floor() {
        let rows = Workload::ALL.map(|workload| row(workload, 16, 100, 100));
        let report = report(rows);
        for (row, wanted) in
            report.rows.iter().zip([0.05, 0.05, 0.5, 0.5, 0.5, 50.0 * (0.85 / 1e3 + 0.15 / 1e2)])
        {
            near(row.ratio.unwrap(), wanted);
        }
        assert_eq!(report.rows.iter().filter(|row| row.database_bytes_per_1000.is_some()).count(), 2);
    }

    #[test]
    fn a_ratio_at_its_bound_holds_and_below_it_misses() {
        let report = report([row(Workload::Read, 16, 100, 100)]);
        let misses = |bound| report.misses(&BTreeMap::from([(Workload::Read, bound)]));
        assert_eq!(misses(0.049), Vec::<String>::new());
        assert_eq!(misses(0.051), ["read at 16 clients: 0.050 of the floor, not 0.051"]);
    }

    #[test]
    fn a_lifted_p99_is_a_miss() {
        let slow = |millis| {
            let mut slow = row(Workload::ReadBeside, 16, 100, 100);
            slow.p99_ms = millis;
            report([row(Workload::Read, 16, 100, 100), slow]).lifted(3.0)
        };
        assert_eq!(slow(5.9), Vec::<String>::new());
        assert_eq!(slow(8.0), ["read-beside at 16 clients: p99 over that of read is 4.00, not 3"]);
        let alone = report([row(Workload::ReadBeside, 16, 100, 100)]).lifted(3.0);
        assert_eq!(alone, ["read-beside at 16 clients: p99 over that of read is not measured alone, not 3"]);
        assert_eq!(report([]).lifted(3.0).len(), 1);
    }

    #[test]
    fn what_was_not_measured_or_failed_is_a_miss() {
        let mut failed = row(Workload::Create, 16, 1, 1);
        failed.errors.insert("503".to_owned(), 2);
        let bounds = BTreeMap::from([(Workload::Update, 0.1), (Workload::Read, 0.1)]);
        let report = report([failed, row(Workload::Read, 64, 10, 10), row(Workload::Mixed, 16, 0, 0)]);
        assert_eq!(
            report.misses(&bounds),
            [
                "create at 16 clients: errors {\"503\": 2}",
                "read at 64 clients: no floor was measured",
                "mixed at 16 clients: nothing was answered",
                "update: a bound was given, but it was not run",
            ]
        );
    }

    #[test]
    fn the_table_has_a_line_for_each_run_and_shows_errors() {
        let mut failed = row(Workload::Create, 16, 1, 1);
        failed.errors.insert("503".to_owned(), 2);
        let text = report([failed]).to_text();
        assert!(text.contains("\ncreate              16"), "{text}");
        assert!(text.contains("\n    errors: 2 x 503\n"), "{text}");
        assert_eq!(text.lines().count(), 5, "{text}");
    }
}
