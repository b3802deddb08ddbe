//! The command: a server, and what an administrator does beside it.
//!
//! Exit codes: 0 done, 1 it failed (the reason is on standard error, one line for each problem), 2 the command line or
//! the configuration is not taken.

mod account;
mod audit;
mod demo;
mod keys;
mod migrate;
mod packages;
mod policies;
mod search;
mod serve;
mod tenant;
mod witness;

use std::{
    error::Error,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use custodia::{
    clock::Clock,
    config::{Config, ConfigError},
    host::{Parts, Presence, StartError, explained},
    store::cluster::Progress,
};

/// The system's allocator makes the two worker threads wait for each other on every request (decision 0005).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A healthcare records server: sealed, permitted, recorded.
#[derive(Parser)]
#[command(name = "custodia", version, propagate_version = true)]
struct Arguments {
    /// Configuration file; the environment (CUSTODIA_SECTION_KEY) goes before it
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder of what the server keeps by itself; goes before the configuration
    #[arg(long, global = true, value_name = "FOLDER")]
    home: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve until a signal says stop
    Serve,
    /// Show what a server does, with synthetic patients, on this machine alone
    Demo(demo::DemoArgs),
    /// Bring the database to this version
    Migrate,
    /// The keystore
    #[command(subcommand)]
    Keys(keys::Keys),
    /// Tenants
    #[command(subcommand)]
    Tenant(tenant::Tenant),
    /// FHIR packages: the profiles and the terminology resources are held to
    #[command(subcommand)]
    Packages(packages::Packages),
    /// Accounts of people, programs and partners
    #[command(subcommand)]
    Account(account::Account),
    /// The log of accesses, for auditors
    #[command(subcommand)]
    Audit(audit::Audit),
    /// A witness of others' logs: cosigns what continues, refuses what forks
    #[command(subcommand)]
    Witness(witness::Witness),
    /// The policies
    Policies(policies::PoliciesArgs),
    /// Searches
    #[command(subcommand)]
    Search(search::Search),
    /// Print the version
    Version,
}

/// What a command fails with: anything that says what, where and what to do.
type Failure = Box<dyn Error + Send + Sync>;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments) {
        Ok(code) => code,
        Err(failure) => {
            let code = if is_configuration(&*failure) { ExitCode::from(2) } else { ExitCode::FAILURE };
            let text = explained(&*failure);
            // Standard error that is closed cannot be told about.
            writeln!(io::stderr().lock(), "custodia: {text}").ok();
            code
        }
    }
}

fn is_configuration(failure: &(dyn Error + Send + Sync + 'static)) -> bool {
    failure.is::<ConfigError>()
        || matches!(
            failure.downcast_ref(),
            Some(StartError::Config(_) | StartError::NoCertificate | StartError::Base)
        )
}

fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let Arguments { config, home, command } = arguments;
    let read = || -> Result<Config, ConfigError> {
        let mut read = Config::read(config.as_deref(), std::env::vars())?;
        if let Some(home) = &home {
            read.home.clone_from(home);
            read.check()?;
        }
        Ok(read)
    };
    match command {
        Command::Version => {
            writeln!(io::stdout().lock(), "custodia {}", env!("CARGO_PKG_VERSION"))?;
        }
        Command::Policies(arguments) => return Ok(policies::run(&arguments)?),
        // A configuration or an environment that is meant for a server of one's own is not for the demo.
        Command::Demo(arguments) => {
            let home = home.clone().unwrap_or_else(|| Config::default().home);
            return demo::run(&arguments, &home);
        }
        Command::Witness(witness) => wait(witness::run(&witness))?,
        Command::Search(search) => wait(search::run(&search, &read()?))?,
        Command::Serve => serve::run(read()?)?,
        Command::Migrate => wait(migrate::run(&read()?))?,
        Command::Keys(keys) => wait(keys::run(&keys, &read()?))?,
        Command::Tenant(tenant) => wait(tenant::run(&tenant, &read()?))?,
        Command::Packages(packages) => wait(packages::run(&packages, &read()?))?,
        Command::Account(account) => wait(account::run(&account, &read()?))?,
        Command::Audit(audit) => wait(audit::run(&audit, &read()?))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs a short command to its end.
fn wait(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(work)
}

/// Database, keys, tenants and log, for a command; a server may run beside it.
async fn visit(config: &Config) -> Result<Parts, StartError> {
    Parts::open(config, &Clock::machine(), Presence::Visitor, &tell).await
}

/// Does `work` with what [`visit`] opens, and closes it whatever comes of it.
async fn with_parts<T>(
    config: &Config,
    work: impl AsyncFnOnce(&Parts) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let parts = visit(config).await?;
    let outcome = work(&parts).await;
    parts.close().await?;
    outcome
}

/// Tells the person at the terminal what takes long.
fn tell(progress: Progress) {
    let text = match progress {
        Progress::Downloading { major, elapsed_s } => format!("fetching PostgreSQL {major} ({elapsed_s} s)"),
        Progress::Initialising => "making a new database".to_owned(),
        _ => return,
    };
    writeln!(io::stderr().lock(), "custodia: {text}").ok();
}
