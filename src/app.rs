//! The services, built once, passed as `&App`.
//!
//! May import everything above it; holds no logic of its own.

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};
use quick_cache::sync::Cache;
use tokio::sync::{Notify, Semaphore};

use crate::{
    anchor::Anchors,
    clock::Clock,
    config::Integrity,
    export::Exports,
    fhir::{definitions::Definitions, package::Conformance, reference::BaseUrl, search::InForce},
    gate::Gate,
    identity::Doorman,
    ledger::Ledger,
    seal::{Keyring, OwnList},
    store::Store,
    tenant::TenantId,
    terminology::TerminologyServer,
};

/// What every interaction works with.
pub struct App {
    /// Time and ids.
    pub clock: Clock,
    /// When the server started.
    pub started: DateTime<Utc>,
    /// The R4 definitions.
    pub definitions: Definitions,
    /// The profiles and the terminology of packages; another set when one is added or taken away.
    pub conformance: ArcSwap<Conformance>,
    /// Another server that is asked about codes, if one is configured.
    pub terminology: Option<TerminologyServer>,
    /// The search parameters of R4, and which of them find records without a patient being named.
    pub r4: Arc<InForce>,
    /// The same of tenants that have, or had, parameters of their own.
    pub tenants: ArcSwap<HashMap<TenantId, Arc<InForce>>>,
    /// What is configured to find records without a patient being named, beside the default list.
    pub population: Vec<String>,
    /// Told when a reindex begins here.
    pub reindex: Notify,
    /// How many searches go over records at once; the others wait in line.
    pub seats: Semaphore,
    /// Whether few records bore the marks of a search when it was asked last: how to begin, never what to find.
    pub few: Cache<u64, bool>,
    /// The parameters that narrow a search within one patient's records.
    pub own: OwnList,
    /// What happens to references that lead nowhere.
    pub integrity: Integrity,
    /// The server's own FHIR base URL.
    pub base: BaseUrl,
    /// Keys.
    pub keyring: Arc<Keyring>,
    /// Credentials.
    pub doorman: Doorman,
    /// Decisions.
    pub gate: Gate,
    /// The database.
    pub store: Arc<Store>,
    /// The one door out.
    pub ledger: Arc<Ledger>,
    /// Exports that were asked for and wait to be fetched.
    pub exports: Exports,
    /// What stands outside the database.
    pub anchors: Arc<Anchors>,
}

impl App {
    /// What searches and writes of a tenant go by.
    #[must_use]
    pub fn in_force(&self, tenant: TenantId) -> Arc<InForce> {
        self.tenants.load().get(&tenant).map_or_else(|| Arc::clone(&self.r4), Arc::clone)
    }
}
