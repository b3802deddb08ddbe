//! `custodia search`: what a search would cost and give away, without a server.

use std::io::{self, Write as _};

use custodia::{
    clock::Clock,
    config::Config,
    fhir::{
        definitions::Definitions,
        kinds::ResourceType,
        reference::BaseUrl,
        search::{Handling, Level, Listed, Query, Request, Searches, Sets, explain::explain, form},
        terminology::{Shipped, Vocabulary},
    },
    host::StartError,
};

use crate::Failure;

/// `custodia search`
#[derive(clap::Subcommand)]
pub(crate) enum Search {
    /// Say what narrows a search, what it opens and what the database learns of it
    Explain {
        /// As behind /fhir/: Type?parameter=value
        search: String,
    },
}

/// Runs the command; what it says goes to standard output.
pub(crate) fn run(search: &Search, config: &Config) -> Result<(), Failure> {
    let Search::Explain { search } = search;
    let (name, parameters) = search.split_once('?').unwrap_or((search, ""));
    let kind = ResourceType::from_name(name).ok_or("expected Type?parameter=value")?;
    let searches = Searches::compile(&Definitions::load().map_err(StartError::from)?);
    let listed = Listed::of(&searches, &config.search.population).map_err(StartError::Population)?;
    let shipped = Shipped::default();
    let known = Vocabulary::new([shipped.terms()]);
    let sets = Sets::new(Some(&known));
    let base = BaseUrl::parse(&config.fhir_base(config.portal.address.port())).ok_or(StartError::Base)?;
    let (level, handling, now) = (Level::Type, Handling::Strict, Clock::machine().now());
    let request = Request { kind, level, searches: &searches, sets: &sets, base: &base, handling, now };
    let pairs = form::decode(parameters.as_bytes()).map_err(|problem| problem.text.into_owned())?;
    let query = Query::parse(request, &pairs).map_err(|problems| {
        problems.iter().map(|problem| problem.text.as_ref()).collect::<Vec<_>>().join("\n")
    })?;
    let mut out = io::stdout().lock();
    for line in explain(&query, &listed, &Listed::own(&searches)) {
        writeln!(out, "{line}")?;
    }
    Ok(())
}
