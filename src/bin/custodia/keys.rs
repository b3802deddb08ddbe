//! `custodia keys`.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use clap::Subcommand;
use custodia::{
    clock::Clock,
    config::Config,
    host::{self, Rotation},
};

use super::{Failure, tell};

#[derive(Subcommand)]
pub(crate) enum Keys {
    /// Make the keystore: root key, house key and signing keys; never overwrites one
    Init,
    /// Change the key that signs the log, while servers serve: from now on two keys sign each checkpoint, and with --finish
    /// the newer one alone. If the key was stolen, see `custodia audit recover new-log --help` instead
    RotateLog {
        /// Only make the second key: where each server has a keystore of its own, copy it to them before you go on
        #[arg(long, conflicts_with = "finish")]
        prepare: bool,
        /// The older key signs no more and its secret is destroyed: when auditors and witnesses have the newer
        #[arg(long)]
        finish: bool,
        /// Where the trust policy for auditors and witnesses is written; `log.policy` in the home when left out
        #[arg(long, value_name = "FILE")]
        policy: Option<PathBuf>,
    },
}

pub(crate) async fn run(keys: &Keys, config: &Config) -> Result<(), Failure> {
    match keys {
        Keys::Init => init(config).await,
        Keys::RotateLog { prepare, finish, policy } => {
            let step = match (prepare, finish) {
                (true, _) => Rotation::Prepare,
                (_, true) => Rotation::Finish,
                _ => Rotation::Begin,
            };
            let file = policy.clone().unwrap_or_else(|| config.home.join("log.policy"));
            let done = host::rotate_log(config, &Clock::machine(), step, &file, &tell).await?;
            let mut out = io::stdout().lock();
            for key in &done.signing {
                writeln!(out, "signs     {key}")?;
            }
            for key in &done.waiting {
                writeln!(out, "waits     {key}")?;
            }
            if done.waiting.is_empty() {
                writeln!(out, "policy    {}", file.display())?;
            }
            Ok(())
        }
    }
}

async fn init(config: &Config) -> Result<(), Failure> {
    host::create_keystore(config).await?;
    let mut out = io::stdout().lock();
    writeln!(out, "keystore  {}", config.keystore_path().display())?;
    if config.keystore.passphrase.is_none() {
        writeln!(out, "key file  {}", config.keystore_key_file().display())?;
    }
    writeln!(
        out,
        "Keep a copy of both apart from the database's backups: without them no record can be read."
    )?;
    Ok(())
}
