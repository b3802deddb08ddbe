//! `custodia-load run`: seeds, measures the floors and the workloads, reports.
//!
//! Imports everything but `chaos`.

use std::{fs, path::Path, sync::Arc, time::Duration};

use crate::{
    caller::Caller,
    cli::{RunOptions, Who},
    deck::{Deck, Seed},
    demo::Demo,
    fault::Fault,
    floor::{self, Ground},
    gauge::Gauge,
    ledger,
    measure::{Draw, Plan, measure},
    records::BUNDLE_ENTRIES_MAX,
    report::{Report, Row},
    say,
    server::Server,
    workload::{Step, Workload},
};

/// Runs it; gives what misses its bound.
pub(crate) async fn run(options: &RunOptions) -> Result<Vec<String>, Fault> {
    let server = match &options.server {
        Some(binary) => Some(Server::start(binary, None).await?),
        None => None,
    };
    let demo = match (&server, &options.home) {
        (Some(server), _) => server.demo()?.clone(),
        (None, Some(home)) => Demo::read(home)?,
        (None, None) => return Err(Fault::refused("either --home or --server is wanted")),
    };
    let owner = options.floor_database.clone().or_else(|| demo.database_owner.clone());
    let home = server.as_ref().map(Server::home).or(options.home.as_deref());
    let measured = measure_all(options, &demo, (owner.as_deref(), home)).await;
    // Whatever came of it: a running demo keeps nothing of ours but the records.
    let cleared = match &owner {
        Some(url) if !options.no_floor => floor::clear(url).await,
        _ => Ok(()),
    };
    let report = measured?;
    cleared?;
    say(&report.to_text())?;
    if let Some(file) = &options.json {
        let text = serde_json::to_string_pretty(&report).map_err(|_| Fault::Json("the report"))?;
        fs::write(file, text + "\n").map_err(Fault::io("write", file))?;
    }
    if !options.check {
        return Ok(Vec::new());
    }
    let mut misses = report.misses(&options.bounds.given());
    misses.extend(options.bounds.max_beside_p99.map(|bound| report.lifted(bound)).unwrap_or_default());
    Ok(misses)
}

async fn measure_all(
    options: &RunOptions,
    demo: &Demo,
    (owner, home): (Option<&str>, Option<&Path>),
) -> Result<Report, Fault> {
    let physician = demo.user("physician")?;
    let practitioner = physician.practitioner.as_deref();
    let practitioner =
        practitioner.ok_or_else(|| Fault::refused("the demo's physician has no Practitioner"))?;
    let caller = match options.caller {
        Who::Physician => Caller::person(demo, "physician").await?,
        Who::Importer => Caller::partner(demo, "importer")?,
    };
    let auditor = Caller::person(demo, "auditor").await?;
    let (patients, observations) =
        (options.seed_patients, options.seed_observations.max(options.seed_patients));
    let seed = Seed { patients, observations, practitioner, seed: options.seed };
    let deck = Deck::deal(&caller, &seed).await?;
    let mut report = Report::default();
    if !options.no_floor {
        let syncs = home.map(|home| ledger::syncs_per_s(home, floor_time(options)));
        report.syncs_per_s = syncs.transpose()?;
        let why = "no floor without the owner's database: give --floor-database or --no-floor";
        let ground =
            Ground::lay(owner.ok_or_else(|| Fault::refused(why))?, observations, options.seed).await?;
        for clients in &options.clients {
            report.floors.push(ground.measure(*clients, floor_time(options), options.seed).await?);
        }
        report.floor_bytes_per_1000 = Some(ground.bytes_per_1000().await?);
    }
    let size_url = owner.or(demo.database.as_deref());
    let workloads =
        if options.workload.is_empty() { Workload::ALL.to_vec() } else { options.workload.clone() };
    let gauge = Gauge::new(Some(demo.pid), demo.postgres_pid);
    for workload in workloads {
        for clients in &options.clients {
            let before = size(size_url).await?;
            let caller = if workload == Workload::Proof { &auditor } else { &caller };
            let measured = measure(caller, plan(options, &deck, workload, *clients), gauge).await?;
            let grown = size(size_url).await?.zip(before).map(|(after, before)| after - before);
            report.push(Row::new(workload, *clients, measured, grown));
        }
    }
    Ok(report)
}

/// Half a run is enough for a floor: it has no caches to fill but PostgreSQL's.
const fn floor_time(options: &RunOptions) -> Duration {
    Duration::from_millis(options.seconds * 500)
}

fn plan(options: &RunOptions, deck: &Arc<Deck>, workload: Workload, clients: u32) -> Plan {
    let (seeded, entries) = (Arc::clone(deck), options.bundle_entries);
    let draw: Draw = Arc::new(move |random| {
        let step = Step::draw(workload, random);
        Some((step, step.call(&seeded, entries, random)?))
    });
    let seeded = Arc::clone(deck);
    let largest: Draw = Arc::new(move |random| {
        Some((Step::Transaction, Step::Transaction.call(&seeded, BUNDLE_ENTRIES_MAX, random)?))
    });
    Plan {
        draw,
        bulk: (workload == Workload::ReadBeside).then_some(largest),
        clients,
        warmup: Duration::from_secs(options.warmup),
        measured: Duration::from_secs(options.seconds),
        bundle_entries: options.bundle_entries,
        requests_max: options.requests_max,
        seed: options.seed,
    }
}

async fn size(url: Option<&str>) -> Result<Option<i64>, Fault> {
    match url {
        Some(url) => Ok(Some(floor::database_bytes(url).await?)),
        None => Ok(None),
    }
}
