//! `custodia-load chaos`: kill -9 under load, then everything that was acknowledged is looked for.
//!
//! First the server is killed at random moments and started again on its home, then PostgreSQL with the server.
//! What clients were told meanwhile is their account; at the end the records, the log and its export must agree
//! with it.

mod account;
mod client;
mod log;
mod records;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use custodia_audit::{Checkpoint, Vkey};
use tokio::{task::JoinSet, time::sleep};

use crate::{
    caller::Caller,
    cli::ChaosOptions,
    deck::{Deck, Seed},
    fault::Fault,
    random::Random,
    say,
    server::Server,
};
use account::Account;

/// What the clients start from: small, so that the run is about kills.
const PATIENTS: u64 = 50;
const OBSERVATIONS: u64 = 500;
/// A server that was killed is started again after at most this long.
const DOWN_MS_MAX: u64 = 300;
/// How many connections look for what was acknowledged.
const CHECKERS: usize = 8;
/// The most violations that are told one by one.
const TOLD_MAX: usize = 50;

/// What is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Server,
    Postgres,
}

/// What the clients share.
struct Shared {
    deck: Arc<Deck>,
    is_over: AtomicBool,
    /// The highest index any receipt had, plus one; 0 before the first.
    receipts_end: AtomicU64,
}

/// Runs it; gives the violations.
pub(crate) async fn chaos(options: &ChaosOptions) -> Result<Vec<String>, Fault> {
    let began = Instant::now();
    let mut server = Server::start(&options.server, options.home.as_deref()).await?;
    let demo = server.demo()?.clone();
    let vkey =
        Vkey::parse(&demo.vkey).map_err(|fault| Fault::refused(format!("demo.json's vkey: {fault}")))?;
    let auditor = log::Auditor::new(Caller::person(&demo, "auditor").await?, vkey);
    let physician = Caller::person(&demo, "physician").await?;
    let practitioner = demo.user("physician")?.practitioner.clone();
    let practitioner = practitioner.ok_or_else(|| Fault::refused("the physician has no Practitioner"))?;
    let seed = Seed {
        patients: PATIENTS,
        observations: OBSERVATIONS,
        practitioner: &practitioner,
        seed: options.seed,
    };
    let deck = Deck::deal(&physician, &seed).await?;
    let shared = Arc::new(Shared { deck, is_over: AtomicBool::new(false), receipts_end: AtomicU64::new(0) });
    let mut clients = JoinSet::new();
    for number in 0..options.clients {
        let random = Random::new(options.seed, u64::from(number) + 1);
        clients.spawn(client::run(physician.clone(), Arc::clone(&shared), random));
    }
    let struck = strike_all(options, &mut server, &auditor, &shared).await;
    shared.is_over.store(true, Ordering::Relaxed);
    let mut account = Account::default();
    while let Some(ended) = clients.join_next().await {
        account.merge(ended.map_err(|_| Fault::refused("a client failed"))??);
    }
    let checkpoints = match struck? {
        Struck::All(checkpoints) => checkpoints,
        Struck::Fell(violation) => return Ok(vec![violation]),
    };
    let summary = check_all(options, &mut server, &physician, &auditor, &mut account, &checkpoints).await?;
    conclude(options, began.elapsed(), &account, &summary)
}

enum Struck {
    All(Vec<Checkpoint>),
    /// The server did not come back.
    Fell(String),
}

/// Kills in both phases; keeps a signed checkpoint from after each start.
async fn strike_all(
    options: &ChaosOptions,
    server: &mut Server,
    auditor: &log::Auditor,
    shared: &Shared,
) -> Result<Struck, Fault> {
    let mut random = Random::new(options.seed, u64::MAX);
    let mut checkpoints = Vec::new();
    for victim in [Victim::Server, Victim::Postgres] {
        for kill in 1..=options.kills {
            sleep(Duration::from_millis(50 + random.below(options.interval_ms))).await;
            if victim == Victim::Postgres {
                server.kill_postgres()?;
                // The server may live on without its database for a while: it must not answer then.
                sleep(Duration::from_millis(random.below(DOWN_MS_MAX))).await;
            }
            server.kill().await?;
            sleep(Duration::from_millis(random.below(DOWN_MS_MAX))).await;
            if let Err(fault) = server.again().await {
                return Ok(Struck::Fell(format!(
                    "after kill {kill} of {victim:?} it did not come back: {fault}"
                )));
            }
            let end = shared.receipts_end.load(Ordering::Relaxed);
            if let Some(index) = end.checked_sub(1) {
                match auditor.clone().checkpoint_over(index).await {
                    Ok(checkpoint) => checkpoints.push(checkpoint),
                    Err(why) => {
                        return Ok(Struck::Fell(format!(
                            "after kill {kill} of {victim:?}, entry {index}: {why}"
                        )));
                    }
                }
            }
        }
    }
    // The last start, too, must serve for a while.
    sleep(Duration::from_millis(options.interval_ms)).await;
    Ok(Struck::All(checkpoints))
}

/// What the check at the end found.
struct Summary {
    leaves: usize,
    proofs: usize,
    checkpoints: usize,
    shown: usize,
}

async fn check_all(
    options: &ChaosOptions,
    server: &mut Server,
    physician: &Caller,
    auditor: &log::Auditor,
    account: &mut Account,
    checkpoints: &[Checkpoint],
) -> Result<Summary, Fault> {
    let found = records::check(physician, std::mem::take(&mut account.written)).await?;
    account.written = found.written;
    account.violations.extend(found.violations);
    let demo = server.demo()?;
    let url = demo.database.as_ref().ok_or_else(|| Fault::refused("demo.json names no database"))?;
    let leaves = log::leaves(url, auditor.origin()).await?;
    account.violations.extend(log::check_checkpoints(&leaves, checkpoints));
    let proofs = log::check_proofs(auditor, account.indexes(), &Arc::new(leaves)).await?;
    account.violations.extend(proofs.violations);
    let export = log::export(server, options.verifier.as_deref(), auditor.vkey())?;
    account.violations.extend(export.violations);
    let mut shown = 0;
    if let Some(file) = export.file {
        let found = log::check_export(&file, auditor.vkey(), &account.receipts)?;
        shown = found.shown;
        account.violations.extend(found.violations);
    }
    Ok(Summary { leaves: proofs.leaves, proofs: proofs.proofs, checkpoints: checkpoints.len(), shown })
}

fn conclude(
    options: &ChaosOptions,
    elapsed: Duration,
    account: &Account,
    summary: &Summary,
) -> Result<Vec<String>, Fault> {
    let mut violations = account.violations();
    if account.writes == 0 || account.receipts.is_empty() {
        violations.push("nothing was acknowledged: the run shows nothing".to_owned());
    }
    say(&format!(
        "chaos: {} kills of the server and {} of PostgreSQL in {:.0} s under {} clients: {} writes acknowledged on {} records, {} requests unanswered, {} refused; {} receipts, {} proofs under {} leaves, {} seen in the export; {} checkpoints kept; {} violations\n",
        options.kills,
        options.kills,
        elapsed.as_secs_f64(),
        options.clients,
        account.writes,
        account.written.len(),
        account.unanswered,
        account.refused,
        account.receipts.len(),
        summary.proofs,
        summary.leaves,
        summary.shown,
        summary.checkpoints,
        violations.len(),
    ))?;
    if violations.len() > TOLD_MAX {
        let more = violations.len() - TOLD_MAX;
        violations.truncate(TOLD_MAX);
        violations.push(format!("and {more} more"));
    }
    Ok(violations)
}
