//! `custodia keys`.

use std::io::{self, Write};

use clap::Subcommand;
use custodia::{config::Config, host};

use super::Failure;

#[derive(Subcommand)]
pub(crate) enum Keys {
    /// Make the keystore: root key, house key and signing keys; never overwrites one
    Init,
}

pub(crate) async fn run(keys: &Keys, config: &Config) -> Result<(), Failure> {
    let Keys::Init = keys;
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
