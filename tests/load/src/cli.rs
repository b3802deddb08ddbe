//! The command line. Imports `deck`, `fault`, `records` and `workload`.

use std::{collections::BTreeMap, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{deck::SEED_MAX, records::BUNDLE_ENTRIES_MAX, workload::Workload};

/// Loads a Custodia server on this machine, or kills it under load.
#[derive(Parser)]
#[command(name = "custodia-load", version)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Measures a server against the floor of its own PostgreSQL.
    Run(Box<RunOptions>),
    /// Kills the server and its PostgreSQL under load, and checks what was acknowledged.
    Chaos(ChaosOptions),
    /// Loads a large population and measures searches over it, shape by shape.
    Shapes(ShapesOptions),
}

/// Who sends the requests.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Who {
    /// A person with a bearer token.
    Physician,
    /// A partner with a client certificate; may create and read.
    Importer,
}

/// Options of `run`.
#[derive(Args)]
pub(crate) struct RunOptions {
    /// What to ask for; all workloads without it.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(crate) workload: Vec<Workload>,
    /// Numbers of clients, each with its own connection.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 64], value_parser = clap::value_parser!(u32).range(1..=1_024))]
    pub(crate) clients: Vec<u32>,
    /// How long each run counts, in seconds.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub(crate) seconds: u64,
    /// How long each run warms up before, in seconds.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(0..=600))]
    pub(crate) warmup: u64,
    /// The most requests of each run.
    #[arg(long, default_value_t = 100_000_000)]
    pub(crate) requests_max: u64,
    /// Patients to create before.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=SEED_MAX))]
    pub(crate) seed_patients: u64,
    /// Observations to create before.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=SEED_MAX))]
    pub(crate) seed_observations: u64,
    /// Entries of a transaction Bundle.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=i64::from(BUNDLE_ENTRIES_MAX)))]
    pub(crate) bundle_entries: u32,
    /// Who sends the requests.
    #[arg(long, value_enum, default_value_t = Who::Physician)]
    pub(crate) caller: Who,
    /// The home of a demo that runs already.
    #[arg(long, required_unless_present = "server", conflicts_with = "server")]
    pub(crate) home: Option<PathBuf>,
    /// The custodia program: started in a fresh home, stopped and removed at the end.
    #[arg(long)]
    pub(crate) server: Option<PathBuf>,
    /// How to reach the database as the owner, for the floor's scratch table; demo.json's without it.
    #[arg(long)]
    pub(crate) floor_database: Option<String>,
    /// Measure no floor: no ratios then.
    #[arg(long)]
    pub(crate) no_floor: bool,
    /// Where to write the figures as JSON.
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
    /// Fail when there are errors, or a ratio is below its bound.
    #[arg(long)]
    pub(crate) check: bool,
    /// The bounds.
    #[command(flatten)]
    pub(crate) bounds: Bounds,
    /// Of the random numbers.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Threads of the load generator.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) threads: u16,
}

/// The least resources a second over the floor's rate, by workload. Each asks for `--check`.
#[derive(Args)]
pub(crate) struct Bounds {
    /// read / SELECT
    #[arg(long, requires = "check")]
    pub(crate) min_read_ratio: Option<f64>,
    /// search-patient / SELECT
    #[arg(long, requires = "check")]
    pub(crate) min_search_ratio: Option<f64>,
    /// create / INSERT
    #[arg(long, requires = "check")]
    pub(crate) min_create_ratio: Option<f64>,
    /// update / INSERT
    #[arg(long, requires = "check")]
    pub(crate) min_update_ratio: Option<f64>,
    /// resources of transactions / INSERT
    #[arg(long, requires = "check")]
    pub(crate) min_transaction_ratio: Option<f64>,
    /// mixed / the same mix of SELECT and INSERT
    #[arg(long, requires = "check")]
    pub(crate) min_mixed_ratio: Option<f64>,
    /// p99 of read-beside / p99 of read
    #[arg(long, requires = "check")]
    pub(crate) max_beside_p99: Option<f64>,
}

impl Bounds {
    /// Those that were given.
    pub(crate) fn given(&self) -> BTreeMap<Workload, f64> {
        let all = [
            (Workload::Read, self.min_read_ratio),
            (Workload::SearchPatient, self.min_search_ratio),
            (Workload::Create, self.min_create_ratio),
            (Workload::Update, self.min_update_ratio),
            (Workload::Transaction, self.min_transaction_ratio),
            (Workload::Mixed, self.min_mixed_ratio),
        ];
        all.into_iter().filter_map(|(workload, bound)| Some((workload, bound?))).collect()
    }
}

/// Which searches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scope {
    /// Of one parameter, over everybody: the server has to be started with `search.population = ["all"]`.
    Population,
    /// Within one patient with a chronic disease, as US Core asks for.
    Patient,
}

/// Options of `shapes`.
#[derive(Args)]
pub(crate) struct ShapesOptions {
    /// The home of a demo that runs already.
    #[arg(long)]
    pub(crate) home: PathBuf,
    /// Which searches; all without it.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(crate) scope: Vec<Scope>,
    /// Only those with one of these in their names.
    #[arg(long)]
    pub(crate) only: Vec<String>,
    /// Where the ids of what was loaded are written; if the file is there, nothing is loaded and they are read.
    #[arg(long)]
    pub(crate) world: Option<PathBuf>,
    /// About how many resources to load before.
    #[arg(long, default_value_t = 300_000, value_parser = clap::value_parser!(u64).range(3_000..=SEED_MAX))]
    pub(crate) resources: u64,
    /// How many clients, each with its own connection.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1_024))]
    pub(crate) clients: u32,
    /// How long each shape counts, in seconds.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub(crate) seconds: u64,
    /// Fail when a p99 is above this, in milliseconds, or there are errors.
    #[arg(long)]
    pub(crate) max_p99_ms: Option<f64>,
    /// Of the random numbers.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}

/// Options of `chaos`.
#[derive(Args)]
pub(crate) struct ChaosOptions {
    /// The custodia program.
    #[arg(long)]
    pub(crate) server: PathBuf,
    /// The custodia-verify program; without it, the one beside the server's.
    #[arg(long)]
    pub(crate) verifier: Option<PathBuf>,
    /// A home to use and leave behind; a fresh one that is removed without it.
    #[arg(long)]
    pub(crate) home: Option<PathBuf>,
    /// How many clients.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) clients: u32,
    /// How often the server is killed, and then how often PostgreSQL.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(0..=1_000))]
    pub(crate) kills: u32,
    /// The longest time between two kills, in milliseconds.
    #[arg(long, default_value_t = 2_500, value_parser = clap::value_parser!(u64).range(50..=60_000))]
    pub(crate) interval_ms: u64,
    /// Of the random numbers: which requests, and when to kill.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parses(arguments: &str) -> bool {
        Cli::try_parse_from(std::iter::once("custodia-load").chain(arguments.split_whitespace())).is_ok()
    }

    #[test]
    fn options_are_bounded_and_belong_together() {
        for (arguments, is_accepted) in [
            ("run --home x", true),
            ("run --server x --workload read,mixed --clients 1,16,64 --bundle-entries 5000", true),
            ("run --server x --check --min-read-ratio 0.4", true),
            ("run", false),
            ("run --home x --server y", false),
            ("run --home x --min-read-ratio 0.4", false),
            ("run --home x --clients 0", false),
            ("run --home x --clients 1025", false),
            ("run --home x --seconds 3601", false),
            ("run --home x --seed-patients 1000001", false),
            ("run --home x --bundle-entries 5001", false),
            ("chaos --server x --kills 20 --seed 7", true),
            ("chaos --server x --kills 1001", false),
            ("chaos", false),
            ("shapes --home x --scope population --max-p99-ms 50", true),
            ("shapes --home x --resources 2999", false),
            ("shapes --home x --resources 1000001", false),
            ("shapes", false),
        ] {
            assert_eq!(parses(arguments), is_accepted, "{arguments}");
        }
    }
}
