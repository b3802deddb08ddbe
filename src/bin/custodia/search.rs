//! `custodia search`: what a search would cost and give away, and added search parameters taken into effect.

use std::{
    io::{self, Write as _},
    sync::Arc,
};

use custodia::{
    clock::Clock,
    config::Config,
    fhir::{
        definitions::Definitions,
        kinds::ResourceType,
        reference::BaseUrl,
        search::{Handling, InForce, Level, Listed, Query, Request, Searches, Sets, explain::explain, form},
        terminology::{Shipped, Vocabulary},
    },
    host::{StartError, reindex},
};

use crate::{Failure, tell};

/// `custodia search`
#[derive(clap::Subcommand)]
pub(crate) enum Search {
    /// Say what narrows a search, what it opens and what the database learns of it
    Explain {
        /// As behind /fhir/: Type?parameter=value
        search: String,
        /// With the search parameters that this tenant defines; without it no database is asked
        #[arg(long, value_name = "NAME")]
        tenant: Option<String>,
    },
    /// Take a tenant's active SearchParameters into effect, while servers serve; if it is interrupted, a server goes on
    Reindex {
        /// The tenant
        #[arg(long, value_name = "NAME")]
        tenant: String,
    },
}

/// Runs the command; what it says goes to standard output.
pub(crate) async fn run(search: &Search, config: &Config) -> Result<(), Failure> {
    match search {
        Search::Explain { search, tenant } => {
            let known = match tenant {
                Some(tenant) => reindex::known(config, &Clock::machine(), tenant, &tell).await?,
                None => Arc::new(of_r4(config)?),
            };
            say(search, config, &known)
        }
        Search::Reindex { tenant } => {
            let told = |done: i64, total: i64| {
                // Standard error that is closed cannot be told about.
                write!(io::stderr().lock(), "\r{done} of {total} records").ok();
            };
            let known = reindex::run(config, &Clock::machine(), tenant, &tell, &told).await?;
            writeln!(io::stderr().lock())?;
            for one in known.added() {
                let marked = if known.listed.has(one) { "" } else { ", within a patient" };
                writeln!(
                    io::stdout().lock(),
                    "{}.{} {}{marked}",
                    one.of.name(),
                    one.code,
                    one.kind.as_str()
                )?;
            }
            Ok(())
        }
    }
}

fn of_r4(config: &Config) -> Result<InForce, StartError> {
    let searches = Searches::compile(&Definitions::load()?);
    let listed = Listed::of(&searches, &config.search.population).map_err(StartError::Population)?;
    Ok(InForce::of_r4(searches, listed))
}

fn say(search: &str, config: &Config, known: &InForce) -> Result<(), Failure> {
    let (name, parameters) = search.split_once('?').unwrap_or((search, ""));
    let kind = ResourceType::from_name(name).ok_or("expected Type?parameter=value")?;
    let shipped = Shipped::default();
    let vocabulary = Vocabulary::new([shipped.terms()]);
    let sets = Sets::new(Some(&vocabulary));
    let base = BaseUrl::parse(&config.fhir_base(config.portal.address.port())).ok_or(StartError::Base)?;
    let (level, handling, now) = (Level::Type, Handling::Strict, Clock::machine().now());
    let searches = &known.searches;
    let request = Request { kind, level, searches, sets: &sets, base: &base, handling, now };
    let pairs = form::decode(parameters.as_bytes()).map_err(|problem| problem.text.into_owned())?;
    let query = Query::parse(request, &pairs).map_err(|problems| {
        problems.iter().map(|problem| problem.text.as_ref()).collect::<Vec<_>>().join("\n")
    })?;
    let mut out = io::stdout().lock();
    for line in explain(&query, &known.listed, &Listed::own(&known.searches)) {
        writeln!(out, "{line}")?;
    }
    Ok(())
}
