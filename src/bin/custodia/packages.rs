//! `custodia packages`.

use std::{
    fs,
    io::{self, Write},
    path::PathBuf,
};

use clap::Subcommand;
use custodia::{
    config::Config,
    fhir::{
        definitions::Definitions,
        package::{Conformance, FILE_BYTES_MAX, Package, PackageError},
    },
    host::Registry,
};

use super::{Failure, with_parts};

#[derive(Subcommand)]
pub(crate) enum Packages {
    /// Add a package, in place of an earlier version; servers take it up within half a minute
    Add {
        /// The package as it is published: a .tgz with package/package.json
        file: PathBuf,
    },
    /// List the packages
    List,
    /// Take a package away
    Remove {
        /// Its name, such as hl7.fhir.us.core
        name: String,
    },
}

pub(crate) async fn run(packages: &Packages, config: &Config) -> Result<(), Failure> {
    match packages {
        Packages::Add { file } => {
            if usize::try_from(fs::metadata(file)?.len()).is_ok_and(|bytes| bytes > FILE_BYTES_MAX) {
                return Err(PackageError::TooLarge("the file").into());
            }
            let package = Package::read(&fs::read(file)?)?;
            let (name, version) = (package.name.clone(), package.version.clone());
            let whole = Conformance::of(&Definitions::load()?, [package.kept.as_slice()]);
            with_parts(config, async |parts| Ok(Registry::from(parts).add_package(package).await?)).await?;
            let mut out = io::stdout().lock();
            writeln!(out, "{name} {version}: {} profiles", whole.profiles.len())?;
            for what in &whole.unread {
                writeln!(out, "not checked: {what}")?;
            }
        }
        Packages::List => {
            let all = with_parts(config, async |parts| Ok(Registry::from(parts).packages().await?)).await?;
            for one in all {
                writeln!(io::stdout().lock(), "{} {} {}", one.name, one.version, one.added.to_rfc3339())?;
            }
        }
        Packages::Remove { name } => {
            with_parts(config, async |parts| Ok(Registry::from(parts).remove_package(name).await?)).await?;
        }
    }
    Ok(())
}
