//! `custodia tenant`.

use std::io::{self, Write};

use clap::Subcommand;
use custodia::{config::Config, host::Registry};

use super::{Failure, with_parts};

#[derive(Subcommand)]
pub(crate) enum Tenant {
    /// Add a tenant under a fresh key; servers admit it within half a minute
    Add {
        /// Lower-case letters, digits and hyphens
        name: String,
    },
}

pub(crate) async fn run(tenant: &Tenant, config: &Config) -> Result<(), Failure> {
    let Tenant::Add { name } = tenant;
    let id = with_parts(config, async |parts| Ok(Registry::from(parts).add_tenant(name).await?)).await?;
    writeln!(io::stdout().lock(), "tenant {} {name}", id.0)?;
    Ok(())
}
