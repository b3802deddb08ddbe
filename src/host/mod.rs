//! The house put together: from a configuration to a server that answers, and back.
//!
//! May import every room; no other room imports it. Order of a start, which is the design:
//! 1. the database is reached (or started) and migrated; 2. the keystore is opened; 3. tenants are admitted;
//! 4. the log's head is checked and the start recorded; 5. policies and definitions are loaded; 6. doors open.
//!
//! If we crash at any point nothing has been answered: until 6 there is nobody to answer.

mod database;
mod doors;
mod error;
mod events;
mod export;
mod packages;
mod parts;
mod recover;
mod register;
pub mod reindex;
mod report;
mod retention;
mod rotate;
mod tasks;

use std::{net::SocketAddr, sync::Arc};

use arc_swap::ArcSwap;
use quick_cache::sync::Cache;
use tokio::{
    sync::{Notify, Semaphore, oneshot},
    task::JoinHandle,
};

pub use crate::export::{ExportError, Filter, Range};
pub use database::{DATABASE, Presence};
pub use error::{StartError, explained};
pub use export::{export, export_folder};
pub use packages::{PackagesError, take_up_packages};
pub use parts::{Parts, create_keystore, migrate, vkeys};
pub use recover::{
    Closed, Continued, NewLogKey, Recovered, RecoveryError, close_log, recover_anew, recover_forward,
};
pub use register::{RegisterError, Registry, TENANT_NAME_BYTES_MAX};
pub use report::{ReportError, disclosures};
pub use rotate::{Rotated, Rotation, RotationError, rotate_log};

use crate::{
    app::App,
    clock::Clock,
    config::Config,
    export::{Exports, Source},
    feed::Feed,
    fhir::{
        definitions::Definitions,
        package::Conformance,
        reference::BaseUrl,
        search::{InForce, Listed, Searches},
        terminology::Shipped,
    },
    gate::Gate,
    http::{
        dispatch::Dispatcher,
        edge::{Edge, EdgeCounts, EdgeEvents, EdgeParts, Probe, Reloader},
        measure::{self, Measures},
        mount,
    },
    identity::{Doorman, TokenIssuer, TokenSigner},
    interaction::{mark, reindex::renew},
    seal::OwnList,
    store::cluster::{Cluster, Progress},
    terminology::TerminologyServer,
    watch::{Metrics, Readiness},
};

/// Of so many searches it is remembered whether few records bear their marks.
const SEARCHES_REMEMBERED: usize = 10_000;
/// Searches that go over records at once, for each processor: one computes while another waits for the database.
const SEATS_OF_A_PROCESSOR: usize = 2;

fn seats() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).saturating_mul(SEATS_OF_A_PROCESSOR)
}

/// How the portal door speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Portal {
    /// TLS, with the configured certificate.
    #[default]
    Tls,
    /// Plain HTTP, for a demonstration; refused on any address but loopback.
    PlainLoopback,
}

/// What a start may be told beside its configuration.
pub struct Options {
    /// How the portal door speaks.
    pub portal: Portal,
    /// Told how the embedded database comes up.
    pub progress: Box<dyn Fn(Progress) + Send + Sync>,
}

impl Default for Options {
    fn default() -> Self {
        Self { portal: Portal::Tls, progress: Box::new(|_| ()) }
    }
}

/// A server that answers.
#[must_use = "dropping it leaves connections unanswered; stop it"]
pub struct Running {
    app: Arc<App>,
    portal: SocketAddr,
    partners: Option<SocketAddr>,
    reloader: Reloader,
    shutdown: oneshot::Sender<()>,
    edge: JoinHandle<()>,
    events: JoinHandle<()>,
    tasks: tasks::Tasks,
    cluster: Option<Cluster>,
}

/// Starts a server with TLS at its doors.
///
/// # Errors
/// [`StartError`]: what failed, where, and what to do.
pub async fn start(config: Config, clock: Clock) -> Result<Running, StartError> {
    start_with(config, clock, Options::default()).await
}

/// Starts a server.
///
/// # Errors
/// [`StartError`]: what failed, where, and what to do.
pub async fn start_with(config: Config, clock: Clock, options: Options) -> Result<Running, StartError> {
    config.check()?;
    // Somebody else in this process may have chosen a provider; it is ring's, there is no other in this build.
    drop(rustls::crypto::ring::default_provider().install_default());
    let edge_config = doors::edge_config(&config, options.portal)?;
    let parts = Parts::open(&config, &clock, Presence::Server, &*options.progress).await?;
    let definitions = Definitions::load()?;
    let (conformance, packages) =
        packages::load(&parts.store, &parts.keyring, &definitions, &Shipped::default()).await?;
    let known = (definitions, conformance);
    let (app, cluster) = assemble(&config, clock.clone(), parts, known)?;
    renew(&app).await.map_err(|_| StartError::Marks)?;
    for tenant in app.store.tenants().await.map_err(|_| StartError::Marks)? {
        let references = app.integrity.of(&tenant.name);
        let made = mark::make_anew(&app, tenant.id(), references).await;
        let looked_at = made.map_err(|_| StartError::Marks)?;
        tracing::info!(event = "marks_made", records = looked_at);
    }

    let (measures, counts, readiness) =
        (Arc::<Measures>::default(), Arc::<EdgeCounts>::default(), Arc::<Readiness>::default());
    readiness.found(true);
    readiness.tenants(app.keyring.tenants().len());
    let metrics = Metrics::new(
        Arc::clone(&measures),
        Arc::clone(&counts),
        Arc::clone(app.ledger.counts()),
        Arc::clone(app.anchors.counts()),
        Arc::clone(&readiness),
    );
    let rocket = measure::measured(mount::rocket(Arc::clone(&app)), measures);
    // Rocket's error quotes routes, which are constants of ours.
    let dispatcher = Dispatcher::new(rocket).await.map_err(|error| StartError::Rocket(error.to_string()))?;
    let ready = Arc::clone(&readiness);
    let probe = Probe::new(move || ready.is_ready(), move || metrics.text());
    let (events, told) = EdgeEvents::channel();
    let edge = Edge::bind(edge_config, EdgeParts { dispatcher, probe, clock, events, counts })?;

    let mut addresses = edge.addresses().into_iter();
    let portal = addresses.next().ok_or(StartError::NoDoor)?;
    let partners = addresses.next();
    let reloader = edge.reloader();
    let (shutdown, stopped) = oneshot::channel::<()>();
    let edge = tokio::spawn(edge.run(async move {
        // A sender that is gone means the same as one that spoke.
        drop(stopped.await);
    }));
    let events = tokio::spawn(events::record(Arc::clone(&app), told));
    let mut feeds = Vec::new();
    for log in app.ledger.shards() {
        feeds.extend(Feed::open(&config.feed, config.feed_folder_of(log.number()), Arc::clone(log))?);
    }
    let tasks = tasks::Tasks::start(&app, &readiness, &config.ledger, feeds, packages);
    tracing::info!(event = "started", version = env!("CARGO_PKG_VERSION"), origin = app.ledger.origin());
    Ok(Running { app, portal, partners, reloader, shutdown, edge, events, tasks, cluster })
}

/// The services, from what was opened.
fn assemble(
    config: &Config,
    clock: Clock,
    parts: Parts,
    (definitions, conformance): (Definitions, Conformance),
) -> Result<(Arc<App>, Option<Cluster>), StartError> {
    let base_text = config.fhir_base(config.portal.address.port());
    let base = BaseUrl::parse(&base_text).ok_or(StartError::Base)?;
    let root = base.as_str().strip_suffix("/fhir").ok_or(StartError::Base)?.to_owned();
    let gate = match &config.policies.folder {
        Some(folder) => Gate::load(folder),
        None => Gate::shipped(),
    }
    .map_err(|source| StartError::Policies(Box::new(source)))?;
    let signer = TokenSigner::from_pkcs8(parts.keyring.keystore().token_key())?;
    let issuer = TokenIssuer::new(signer, root.clone(), base.as_str());
    let doorman = Doorman::new(issuer, format!("{root}/auth/token"), format!("{root}/auth/jwks"))
        .with_lifetime(chrono::Duration::seconds(i64::from(config.tokens.lifetime_s)));
    let source = Source {
        ledger: Arc::clone(&parts.ledger),
        keyring: Arc::clone(&parts.keyring),
        anchors: Arc::clone(&parts.anchors),
        clock: clock.clone(),
    };
    let searches = Searches::compile(&definitions);
    let listed = Listed::of(&searches, &config.search.population).map_err(StartError::Population)?;
    let app = App {
        exports: Exports::new(source, config.exports_folder()),
        started: clock.now(),
        clock,
        integrity: config.fhir.integrity(),
        few: Cache::new(SEARCHES_REMEMBERED),
        seats: Semaphore::new(seats()),
        terminology: TerminologyServer::open(&config.terminology, base.as_str())?,
        own: OwnList::of(Listed::own(&searches)),
        r4: Arc::new(InForce::of_r4(searches, listed)),
        tenants: ArcSwap::default(),
        population: config.search.population.clone(),
        reindex: Notify::new(),
        definitions,
        conformance: ArcSwap::from_pointee(conformance),
        base,
        keyring: parts.keyring,
        doorman,
        gate,
        store: parts.store,
        ledger: parts.ledger,
        anchors: parts.anchors,
    };
    Ok((Arc::new(app), parts.cluster))
}

impl Running {
    /// The services.
    #[must_use]
    pub const fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// Where the portal door listens.
    #[must_use]
    pub const fn portal(&self) -> SocketAddr {
        self.portal
    }

    /// Where the partner door listens, if it is open.
    #[must_use]
    pub const fn partners(&self) -> Option<SocketAddr> {
        self.partners
    }

    /// The embedded database, if the server runs one.
    #[must_use]
    pub const fn cluster(&self) -> Option<&Cluster> {
        self.cluster.as_ref()
    }

    /// Replaces certificates while the server serves.
    #[must_use]
    pub const fn reloader(&self) -> &Reloader {
        &self.reloader
    }

    /// Stops: the doors first, then what was still to be recorded, then the embedded database.
    ///
    /// # Errors
    /// [`StartError::Cluster`] when the embedded database does not stop.
    pub async fn stop(self) -> Result<(), StartError> {
        // A receiver that is gone means that the edge has ended already.
        self.shutdown.send(()).ok();
        drop(self.edge.await);
        // The edge is gone and with it the sender: what it told is recorded, and the task ends.
        drop(tokio::time::timeout(events::LAST, self.events).await);
        self.tasks.stop().await;
        tracing::info!(event = "stopped");
        drop(self.app);
        match self.cluster {
            Some(cluster) => cluster.stop().await.map_err(StartError::from),
            None => Ok(()),
        }
    }
}
