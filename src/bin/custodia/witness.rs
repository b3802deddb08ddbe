//! `custodia witness`: a witness of others' logs, which needs nothing of a records server.

use std::{
    io::{self, Write as _},
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
};

use clap::Subcommand;
use custodia::{
    clock::Clock,
    durable::Durable,
    seal::random_bytes,
    witness::{self, TlsFiles},
};
use custodia_audit::Vkey;
use tokio::signal::unix::{SignalKind, signal};

use super::Failure;

#[derive(Subcommand)]
pub(crate) enum Witness {
    /// Make the witness's key, once, and print what others verify its cosignatures with
    Keys {
        /// The folder of its key and state
        #[arg(long, value_name = "FOLDER")]
        folder: PathBuf,
        /// Its name, for ever: a host of yours and a word, such as witness.example/w1
        #[arg(long)]
        name: String,
    },
    /// Cosign the checkpoints of the logs given, until a signal says stop
    Serve {
        /// The folder of its key and state
        #[arg(long, value_name = "FOLDER")]
        folder: PathBuf,
        /// The key of a log to witness, as `custodia audit vkey` prints it; repeatable
        #[arg(long = "log", value_name = "VKEY", required = true)]
        logs: Vec<String>,
        /// Where to listen; plain HTTP on loopback alone
        #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7380")]
        listen: SocketAddr,
        /// PEM: the server's certificate, then its intermediates
        #[arg(long, value_name = "FILE", requires = "key")]
        certificate: Option<PathBuf>,
        /// PEM: its private key
        #[arg(long, value_name = "FILE", requires = "certificate")]
        key: Option<PathBuf>,
    },
}

pub(crate) async fn run(command: &Witness) -> Result<(), Failure> {
    match command {
        Witness::Keys { folder, name } => {
            let seed = random_bytes().map_err(|_| "no randomness")?;
            let vkey = witness::create_key(folder, name, &seed)?;
            writeln!(io::stdout().lock(), "{vkey}")?;
        }
        Witness::Serve { folder, logs, listen, certificate, key } => {
            let parse = |log: &String| Vkey::parse(log).map_err(|fault| format!("--log {log}: {fault}"));
            let logs: Vec<Vkey> = logs.iter().map(parse).collect::<Result<_, _>>()?;
            let (durable, clock) = (Durable::private(), Clock::machine());
            let witness = witness::Witness::new(folder, witness::open_key(folder)?, &logs, durable, clock);
            let vkey = witness.vkey();
            let files = certificate.clone().zip(key.clone());
            let tls = files.map(|(certificate, key)| TlsFiles { certificate, key });
            let running = witness::serve(Arc::new(witness), *listen, tls.as_ref()).await?;
            let mut out = io::stdout().lock();
            writeln!(out, "witness    {vkey}\nlistening  {}", running.address())?;
            out.flush()?;
            drop(out);
            let (mut interrupted, mut terminated) =
                (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
            tokio::select! { _ = interrupted.recv() => (), _ = terminated.recv() => () }
        }
    }
    Ok(())
}
