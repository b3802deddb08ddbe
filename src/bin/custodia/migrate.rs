//! `custodia migrate`.

use std::io::{self, Write};

use custodia::{config::Config, host};

use super::{Failure, tell};

/// Brings the database to this version and names the steps.
pub(crate) async fn run(config: &Config) -> Result<(), Failure> {
    let steps = host::migrate(config, &tell).await?;
    let mut out = io::stdout().lock();
    for step in &steps {
        writeln!(out, "{step}")?;
    }
    writeln!(out, "{} steps taken", steps.len())?;
    Ok(())
}
