//! Loads a Custodia server on this machine and holds it against the floor of its own PostgreSQL.
//!
//! `run` measures; `chaos` kills under load and checks what was acknowledged. Imports nothing of the server but
//! the audit crate: what it knows, it was told over the wire.

mod caller;
mod chaos;
mod cli;
mod client;
mod deck;
mod demo;
mod fault;
mod floor;
mod gauge;
mod histogram;
mod ledger;
mod measure;
mod random;
mod records;
mod report;
mod run;
mod server;
mod shapes;
mod workload;
mod world;

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::Parser as _;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    cli::{Cli, Command},
    fault::Fault,
};

/// Exit codes: all holds, something was violated, it could not be run.
const VIOLATED: u8 = 1;
const FAILED: u8 = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let threads = match &cli.command {
        Command::Run(options) => usize::from(options.threads),
        Command::Chaos(_) => 2,
        Command::Shapes(_) => 1,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(until_interrupted(&cli.command)),
        Err(source) => Err(Fault::Io { what: "start threads".to_owned(), source }),
    };
    let (lines, code) = match ended {
        Ok(violations) if violations.is_empty() => return ExitCode::SUCCESS,
        Ok(violations) => (violations, VIOLATED),
        Err(fault) => (vec![fault.to_string()], FAILED),
    };
    for line in lines {
        // Nobody is left to be told that standard error is closed.
        drop(writeln!(io::stderr(), "custodia-load: {line}"));
    }
    ExitCode::from(code)
}

/// Runs the command. On Ctrl-C or SIGTERM it is dropped, and a server it started is stopped by that.
async fn until_interrupted(command: &Command) -> Result<Vec<String>, Fault> {
    let source = |source| Fault::Io { what: "listen for signals".to_owned(), source };
    let mut interrupt = signal(SignalKind::interrupt()).map_err(source)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(source)?;
    let work = async {
        match command {
            Command::Run(options) => run::run(options).await,
            Command::Chaos(options) => chaos::chaos(options).await,
            Command::Shapes(options) => shapes::shapes(options).await,
        }
    };
    let broken_off = tokio::select! {
        ended = work => return ended,
        _ = interrupt.recv() => Fault::Interrupted,
        _ = terminate.recv() => Fault::Interrupted,
    };
    if let Command::Run(options) = command
        && let Some(home) = &options.home
        && let Ok(demo) = demo::Demo::read(home)
        && let Some(url) = options.floor_database.as_ref().or(demo.database_owner.as_ref())
    {
        // A demo of somebody else goes on without our scratch table.
        floor::clear(url).await?;
    }
    Err(broken_off)
}

/// Prints to standard output.
fn say(text: &str) -> Result<(), Fault> {
    let source = |source| Fault::Io { what: "print".to_owned(), source };
    io::stdout().lock().write_all(text.as_bytes()).map_err(source)
}
