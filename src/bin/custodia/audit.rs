//! `custodia audit`.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use clap::Subcommand;
use custodia::{
    clock::Clock,
    config::Config,
    events::report::Names,
    export::check_folder,
    fhir::{kinds::LogicalId, search::date::DateRange},
    host::{self, Continued, Filter, NewLogKey, Parts, Range, Registry},
    interaction::disclosures::Wanted,
};
use custodia_audit::Vkey;

use super::{Failure, tell, with_parts};

/// The longest checkpoint an auditor brings.
const CHECKPOINT_BYTES_MAX: u64 = 65_536;

#[derive(Subcommand)]
pub(crate) enum Audit {
    /// Write the file an auditor verifies with custodia-verify; the export is itself an entry
    Export {
        /// The file to write; one that exists is not overwritten
        #[arg(long, value_name = "FILE", required_unless_present = "folder", conflicts_with = "folder")]
        out: Option<PathBuf>,
        /// A folder to make instead, with the file, AuditEvents (NDJSON), a table (CSV) and a signed MANIFEST
        #[arg(long, value_name = "FOLDER")]
        folder: Option<PathBuf>,
        /// Open what was committed on or after this date or dateTime alone, such as 2026-03-01
        #[arg(long, value_name = "DATE", value_parser = micros)]
        since: Option<i64>,
        /// Open what was committed before this date or dateTime alone
        #[arg(long, value_name = "DATE", value_parser = micros)]
        until: Option<i64>,
        /// Open what is about this patient alone, such as Patient/123
        #[arg(long, value_name = "PATIENT")]
        patient: Option<String>,
        /// Open what this account did alone
        #[arg(long, value_name = "NAME")]
        agent: Option<String>,
        /// Name of the log, where several are written side by side or it is one that this one continues
        #[arg(long, value_name = "NAME")]
        log: Option<String>,
        /// The first index
        #[arg(long, value_name = "INDEX", default_value_t = 0)]
        first: u64,
        /// One past the last index; all there is if left out
        #[arg(long, value_name = "INDEX")]
        end: Option<u64>,
        /// Open the entries of this tenant alone; the others are shown as commitments
        #[arg(long, value_name = "NAME")]
        tenant: Option<String>,
        /// The checkpoint of the auditor's last export: the file then proves that its log continues it; repeatable
        #[arg(long, value_name = "FILE")]
        earlier: Vec<PathBuf>,
        /// Why, as it stands in the file
        #[arg(long, default_value = "audit")]
        reason: String,
    },
    /// Write a patient's report of who saw her records, as JSON, CSV, a page to print, and proofs
    Disclosures {
        /// Name of the tenant
        #[arg(long, value_name = "NAME")]
        tenant: String,
        /// The patient's id, such as 123 or Patient/123
        #[arg(long, value_name = "PATIENT")]
        patient: String,
        /// The folder to make
        #[arg(long, value_name = "FOLDER")]
        folder: PathBuf,
        /// From this date on; six years ago if left out
        #[arg(long, value_name = "DATE", value_parser = micros)]
        since: Option<i64>,
        /// Before this date; today if left out
        #[arg(long, value_name = "DATE", value_parser = micros)]
        until: Option<i64>,
        /// Name employees; without it they are told by role and organisation
        #[arg(long)]
        names: bool,
    },
    /// Check the MANIFEST of an exported folder and its files with the log's key; needs no server
    Check {
        /// The folder
        folder: PathBuf,
        /// The log's key, as `custodia audit vkey` printed it
        #[arg(long)]
        vkey: String,
    },
    /// The ways out when the database was put back to an earlier day or the signing key was stolen, for a server that does not
    /// run
    #[command(subcommand)]
    Recover(Recover),
    /// Close the log for good, as at a year's end: its last entry names the log that continues it. Servers that run answer 503
    /// from then on. Give them that name, an unused ledger.shard, and another mirror or bucket.prefix; run `custodia audit
    /// recover new-log --continues FILE`; start them. Of logs written side by side all are closed. Broken off, it may be given again
    Close {
        /// Name of the log that continues it
        #[arg(long, value_name = "NAME")]
        into: String,
        /// Where its last checkpoint is written; of logs side by side, the others' beside it (FILE.1, FILE.2)
        #[arg(long, value_name = "FILE")]
        checkpoint: PathBuf,
    },
    /// Print the key that the log's checkpoints are signed with, or the two of a rotation, of each log; auditors need it once
    Vkey,
    /// Print the current checkpoint, or that of each log with an empty line between
    Checkpoint,
    /// Destroy the audit keys whose time is over now; servers do it by themselves
    Retain,
    /// Legal holds: while one is in force no audit key of its tenant is destroyed
    Hold {
        #[command(subcommand)]
        hold: Hold,
    },
}

#[derive(Subcommand)]
pub(crate) enum Hold {
    /// Place a hold
    Place {
        /// Name of the tenant
        tenant: String,
    },
    /// Lift a hold; what it kept goes with the next pass
    Lift {
        /// Name of the tenant
        tenant: String,
    },
    /// List the holds in force
    List,
}

#[derive(Subcommand)]
pub(crate) enum Recover {
    /// Append what the mirror (ledger.mirror) has and the database lost. The log is whole again and says what happened;
    /// the records that were written since the backup do not come back
    Forward,
    /// Begin a new log that commits to the last checkpoint of the old one. First give the server another ledger.origin, an
    /// unused ledger.shard and no ledger.mirror of the old log; auditors need the new name
    NewLog {
        /// The last checkpoint that anybody kept of the old log; of logs side by side, the others' stand beside it (FILE.1)
        #[arg(long, value_name = "FILE")]
        continues: PathBuf,
        /// How many logs were written side by side, where this database does not have them or is of a day when there were fewer
        #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(i16).range(1..=16))]
        logs: Option<i16>,
        /// The signing key was stolen: destroy it here and sign the new log with a fresh one. The checkpoint must be cosigned
        /// by the quorum of ledger.policy, if there is one
        #[arg(long)]
        new_key: bool,
    },
}

pub(crate) async fn run(audit: &Audit, config: &Config) -> Result<(), Failure> {
    match audit {
        Audit::Recover(how) => recover(how, config).await?,
        Audit::Vkey => vkeys(config).await?,
        Audit::Checkpoint => {
            let read = async |parts: &Parts| {
                let mut notes = Vec::new();
                for log in parts.ledger.shards() {
                    notes.push(log.reader().checkpoint().await?.0);
                }
                Ok(notes.join("\n"))
            };
            write!(io::stdout().lock(), "{}", with_parts(config, read).await?)?;
        }
        Audit::Retain => {
            let years = config.ledger.retention_years;
            let count =
                with_parts(config, async |parts| Ok(Registry::from(parts).retain(years).await?)).await?;
            writeln!(io::stdout().lock(), "{count} audit keys destroyed")?;
        }
        Audit::Hold { hold } => {
            with_parts(config, async |parts| holds(&Registry::from(parts), hold).await).await?
        }
        Audit::Disclosures { tenant, patient, folder, since, until, names } => {
            let id = patient.strip_prefix("Patient/").unwrap_or(patient);
            let id = LogicalId::parse(id).ok_or("--patient: expected an id or Patient/id")?;
            let count = with_parts(config, async |parts| {
                let number = Registry::from(parts).tenant(tenant).await?;
                let mut wanted = Wanted::of(&parts.clock, id);
                wanted.from_micros = since.unwrap_or(wanted.from_micros);
                wanted.until_micros = until.unwrap_or(wanted.until_micros);
                wanted.names = if *names { Names::Shown } else { Names::Withheld };
                Ok(host::disclosures(parts, (number, tenant), wanted, folder).await?)
            })
            .await?;
            writeln!(io::stdout().lock(), "{count} lines in {}", folder.display())?;
        }
        Audit::Check { folder, vkey } => {
            let files = check_folder(folder, &Vkey::parse(vkey)?)?;
            writeln!(io::stdout().lock(), "signed and unchanged: {}", files.join(", "))?;
        }
        Audit::Close { into, checkpoint } => close(config, into, checkpoint).await?,
        Audit::Export { .. } => exported(audit, config).await?,
    }
    Ok(())
}

/// `custodia audit export`.
async fn exported(audit: &Audit, config: &Config) -> Result<(), Failure> {
    let Audit::Export { log, out, folder, first, end, since, until, patient, agent, tenant, earlier, reason } =
        audit
    else {
        return Ok(());
    };
    let earlier = earlier.iter().map(|path| checkpoint(path)).collect::<Result<Vec<_>, _>>()?;
    let filter =
        Filter { from_micros: *since, until_micros: *until, patient: patient.clone(), user: agent.clone() };
    let written = with_parts(config, async |parts| {
        let tenant = match tenant {
            Some(name) => Some((Registry::from(parts).tenant(name).await?, name.clone())),
            None => None,
        };
        let reason = reason.clone();
        let log = log.clone();
        let range = Range { log, first: *first, end: *end, tenant, filter, earlier, reason };
        match (out, folder) {
            (Some(out), _) => Ok((export(parts, &range, out).await?, out)),
            (None, Some(folder)) => {
                let summaries = host::export_folder(parts, &range, folder).await?;
                Ok((summaries.iter().map(|summary| summary.end - summary.first).sum(), folder))
            }
            (None, None) => Err("--out or --folder is needed".into()),
        }
    })
    .await?;
    writeln!(io::stdout().lock(), "{} entries in {}", written.0, written.1.display())?;
    Ok(())
}

async fn holds(registry: &Registry<'_>, hold: &Hold) -> Result<(), Failure> {
    match hold {
        Hold::Place { tenant } => registry.place_hold(tenant).await?,
        Hold::Lift { tenant } => registry.lift_hold(tenant).await?,
        Hold::List => {
            for hold in registry.holds().await? {
                writeln!(io::stdout().lock(), "{} since {}", hold.tenant, hold.placed.to_rfc3339())?;
            }
        }
    }
    Ok(())
}

/// A date as FHIR writes it: its first instant, in microseconds since 1970.
fn micros(text: &str) -> Result<i64, String> {
    let range = DateRange::parse(text).ok_or("expected a date or dateTime, such as 2026-03-01")?;
    Ok(range.from.timestamp_micros())
}

async fn close(config: &Config, into: &str, checkpoint: &Path) -> Result<(), Failure> {
    let closed = host::close_log(config, &Clock::machine(), (into, checkpoint), &tell).await?;
    let (entries, file) = (closed.entries, checkpoint.display());
    let said = match closed.logs {
        1 => format!("closed at {entries} entries: {file}"),
        logs => format!(
            "{logs} logs closed at {entries} entries: {file} to {file}.{}; `recover new-log` wants all of them",
            logs - 1
        ),
    };
    Ok(writeln!(io::stdout().lock(), "{said}")?)
}

async fn vkeys(config: &Config) -> Result<(), Failure> {
    for key in host::vkeys(config).await? {
        writeln!(io::stdout().lock(), "{key}")?;
    }
    Ok(())
}

async fn recover(how: &Recover, config: &Config) -> Result<(), Failure> {
    let clock = Clock::machine();
    let said = match how {
        Recover::Forward => {
            let done = host::recover_forward(config, &clock, &tell).await?;
            format!(
                "the log had {} entries and has {} again, and one that says so",
                done.before, done.anchored
            )
        }
        Recover::NewLog { continues, logs, new_key } => {
            let key = if *new_key { NewLogKey::Fresh } else { NewLogKey::Same };
            let continued = Continued { file: continues, logs: *logs, key };
            let done = host::recover_anew(config, &clock, continued, &tell).await?;
            let (origin, size) = (config.origin(), done.anchored);
            format!("{origin} begins; its first entry commits to the old log at {size} entries")
        }
    };
    Ok(writeln!(io::stdout().lock(), "{said}")?)
}

fn checkpoint(path: &Path) -> Result<String, Failure> {
    let failed = |error: io::Error| format!("{}: {error}", path.display());
    if fs::metadata(path).map_err(failed)?.len() > CHECKPOINT_BYTES_MAX {
        return Err(format!("{}: longer than a checkpoint may be", path.display()).into());
    }
    Ok(fs::read_to_string(path).map_err(failed)?)
}

/// Writes beside the file and renames: if we crash, no half of an export bears its name.
async fn export(parts: &Parts, range: &Range, path: &Path) -> Result<u64, Failure> {
    let failed = |error: io::Error| format!("{}: {error}", path.display());
    if path.exists() {
        return Err(format!("{}: exists already", path.display()).into());
    }
    let mut name = path.as_os_str().to_owned();
    name.push(".unfinished");
    let unfinished = PathBuf::from(name);
    // Entries say who saw what: for their owner's eyes.
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&unfinished)
        .map_err(failed)?;
    let (out, count) = host::export(parts, range, BufWriter::new(file)).await?;
    let file = out.into_inner().map_err(|error| failed(error.into_error()))?;
    file.sync_all().map_err(failed)?;
    fs::rename(&unfinished, path).map_err(failed)?;
    Ok(count)
}
