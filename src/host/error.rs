//! Why a server does not start: one line, with what to do.
//!
//! May import what `host` may.

use std::{error::Error, fmt::Write as _, path::PathBuf};

use crate::{
    anchor::{AnchorError, Unanchored},
    config::ConfigError,
    feed::FeedError,
    fhir::definitions::DefinitionsError,
    gate::GateError,
    http::edge::EdgeError,
    identity::signing::SigningError,
    ledger::SetupError,
    seal::{KeyError, KeystoreError},
    store::{StoreError, cluster::ClusterError, connect::DatabaseError},
    terminology::TerminologyError,
};

/// Why a server, or a command beside one, does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is not taken.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The embedded database.
    #[error("the embedded database")]
    Cluster(#[from] ClusterError),
    /// The address of the database.
    #[error("database.url")]
    Database(#[from] DatabaseError),
    /// The database is away or not as it should be.
    #[error("the database: check database.url, and run `custodia migrate` if it is new")]
    Store(#[from] StoreError),
    /// There is no keystore.
    #[error("there is no keystore at {}: make one with `custodia keys init`, or bring it back", .0.display())]
    NoKeystore(PathBuf),
    /// The keystore does not open.
    #[error("the keystore")]
    Keystore(#[from] KeystoreError),
    /// A tenant's key does not open under this keystore.
    #[error("the keys of a tenant in this database do not open: is it the keystore that was made with it?")]
    Key(#[from] KeyError),
    /// The log does not hold.
    #[error("the log (shard and origin are those of [ledger])")]
    Ledger(#[from] SetupError),
    /// What stands outside the database cannot be set up.
    #[error("the anchors of the log")]
    Anchors(#[from] AnchorError),
    /// What stands outside the database knows of another log.
    #[error(transparent)]
    Unanchored(#[from] Unanchored),
    /// The server that is asked about codes cannot be set up.
    #[error("the terminology server")]
    Terminology(#[from] TerminologyError),
    /// The packages are not taken.
    #[error("the FHIR packages")]
    Packages(#[from] super::PackagesError),
    /// The policies are not taken.
    #[error("the policies: see `custodia policies check`")]
    Policies(#[source] Box<GateError>),
    /// The definitions this program was built with.
    #[error("the R4 definitions in this program")]
    Definitions(#[from] DefinitionsError),
    /// The log's signing key in the keystore, or its name.
    #[error("the log's signing key in the keystore, or ledger.origin")]
    Log(#[from] custodia_audit::KeyFault),
    /// The token signing key in the keystore.
    #[error("the token key in the keystore")]
    Tokens(#[from] SigningError),
    /// A name in the list of search parameters.
    #[error(
        "search.population: {0} is no parameter that can be listed; expected Type.parameter, added:Type.parameter or all"
    )]
    Population(String),
    /// The blind marks of a tenant could not be made anew.
    #[error("the search marks of a tenant could not be made: the operational log says why")]
    Marks,
    /// The base URL.
    #[error("fhir.base: expected a URL that ends in /fhir")]
    Base,
    /// The portal has no certificate.
    #[error("portal.certificate and portal.key are not set: name the PEM files, or try `custodia demo`")]
    NoCertificate,
    /// Rocket does not take its own routes.
    #[error("the routes: {0}")]
    Rocket(String),
    /// No door was configured.
    #[error("there is no door to listen at")]
    NoDoor,
    /// The feed's certificates or position.
    #[error("the feed to the syslog collector")]
    Feed(#[from] FeedError),
    /// The doors do not open.
    #[error("the doors")]
    Edge(#[from] EdgeError),
}

impl StartError {
    /// Everything there is to say, on one line for each problem.
    #[must_use]
    pub fn explained(&self) -> String {
        explained(self)
    }
}

/// An error and what caused it: `what: why: why`.
#[must_use]
pub fn explained(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let why = error.to_string();
        // Transparent wrappers say the same twice.
        if !text.ends_with(&why) {
            // Writing to a String does not fail.
            write!(text, ": {why}").ok();
        }
        cause = error.source();
    }
    text
}
