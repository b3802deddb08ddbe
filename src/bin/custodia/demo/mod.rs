//! `custodia demo`: a clinic on this machine, filled, shown around in, and kept open.
//!
//! Nothing here is done behind the server's back, except what the tour means to show: records come in through the
//! API, questions are asked over TLS.

mod certificates;
mod client;
mod home;
mod people;
mod recipes;
mod records;
mod tour;

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
    net::{SocketAddr, TcpListener},
    path::Path,
    process::ExitCode,
};

use custodia::{
    app::App,
    clock::Clock,
    config::Config,
    host::{self, DATABASE, Options, RegisterError, Registry, Running, StartError},
    http::panic_hook,
    identity::LookupName,
    store::cluster::{Cluster, Role},
    watch::{self, Screen},
};
use tokio::signal::unix::{Signal, SignalKind, signal};

use self::{
    client::Client,
    home::{Demo, Home, User},
    people::{IMPORTER, PARTNERS, PEOPLE, TENANT},
    records::Loaded,
    tour::{Place, Verdict},
};
use super::{Failure, tell};

/// Arguments of `custodia demo`.
#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// Where people are served; on this machine alone. Port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8443")]
    portal: SocketAddr,
    /// Where partners are served, by certificate
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9443")]
    partners: SocketAddr,
    /// End after the tour; the exit code is 0 if each step did what it should
    #[arg(long, conflicts_with = "no_tour")]
    exit: bool,
    /// Only serve
    #[arg(long)]
    no_tour: bool,
    /// Load no records; there is no tour then
    #[arg(long, conflicts_with = "exit")]
    no_data: bool,
    /// What finds records without a patient being named, as search.population: Type.parameter or all, with commas
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    population: Vec<String>,
}

/// Why the demo does not begin.
#[derive(Debug, thiserror::Error)]
enum DemoError {
    /// A door that others can reach.
    #[error("{0}: the demo serves this machine alone: choose a loopback address")]
    NotLoopback(SocketAddr),
    /// A door that somebody else has.
    #[error("{address}: {source}: choose another with {option}")]
    Taken {
        /// Which.
        address: SocketAddr,
        /// How.
        option: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The server runs no PostgreSQL of its own.
    #[error("the demo has no database of its own")]
    NoCluster,
}

/// Runs the demo in `folder` until a signal says stop, or with `--exit` until the tour ends.
pub(crate) fn run(args: &DemoArgs, folder: &Path) -> Result<ExitCode, Failure> {
    let clock = Clock::machine();
    let (portal, partners) = doors(args)?;
    let home = Home::open(folder, &clock)?;
    let mut config = config(&home, portal, partners);
    config.search.population.clone_from(&args.population);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    // Dropped last: what stopping says is written as well.
    let _guard = watch::start(&config, clock.clone(), Screen::Dark)?;
    panic_hook::install();
    runtime.block_on(live(args, &home, config, clock))
}

/// What only this program is told; nothing of it comes from the environment or a file.
fn config(home: &Home, portal: SocketAddr, partners: SocketAddr) -> Config {
    let server = home.files("server");
    let mut config = Config { home: home.folder().to_owned(), ..Config::default() };
    config.portal.address = portal;
    config.portal.certificate = Some(server.certificate);
    config.portal.key = Some(server.key);
    config.partners.address = Some(partners);
    config.partners.client_roots = Some(home.ca());
    config.fhir.base = Some(format!("https://{portal}/fhir"));
    config
}

/// Both doors, found free before anything is started. Whoever takes one meanwhile stops the start later.
fn doors(args: &DemoArgs) -> Result<(SocketAddr, SocketAddr), DemoError> {
    let free = |address: SocketAddr, option| {
        if !address.ip().is_loopback() {
            return Err(DemoError::NotLoopback(address));
        }
        let taken = |source| DemoError::Taken { address, option, source };
        let listener = TcpListener::bind(address).map_err(taken)?;
        let address = listener.local_addr().map_err(taken)?;
        Ok((address, listener))
    };
    // Each is held until both are known, so that two ports of 0 differ.
    let (portal, _held) = free(args.portal, "--portal")?;
    let (partners, _held_too) = free(args.partners, "--partners")?;
    Ok((portal, partners))
}

/// SIGINT and SIGTERM.
struct Stop([Signal; 2]);

impl Stop {
    fn listen() -> io::Result<Self> {
        Ok(Self([signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?]))
    }

    async fn asked(&mut self) {
        let [interrupted, terminated] = &mut self.0;
        tokio::select! {
            _ = interrupted.recv() => {}
            _ = terminated.recv() => {}
        }
    }
}

async fn live(args: &DemoArgs, home: &Home, config: Config, clock: Clock) -> Result<ExitCode, Failure> {
    let mut stop = Stop::listen()?;
    // A start that is dropped half way stops its PostgreSQL.
    let running = tokio::select! {
        started = start(home, config, clock) => started?,
        () = stop.asked() => return Ok(ExitCode::FAILURE),
    };
    let shown = tokio::select! {
        shown = show(args, home, &running) => shown,
        () = stop.asked() => Ok(ExitCode::FAILURE),
    };
    let code = match shown {
        Ok(code) if !args.exit => {
            stop.asked().await;
            say("\nstopping\n").map(|()| code).map_err(Failure::from)
        }
        other => other,
    };
    // Whatever came of it, nothing is left running.
    running.stop().await?;
    code
}

async fn start(home: &Home, config: Config, clock: Clock) -> Result<Running, Failure> {
    home.withdraw()?;
    if !config.keystore_path().exists() {
        host::create_keystore(&config).await?;
    }
    let options = Options { progress: Box::new(tell), ..Options::default() };
    let running = host::start_with(config, clock, options).await?;
    match register(home, running.app()).await {
        Ok(()) => Ok(running),
        Err(error) => {
            running.stop().await?;
            Err(error)
        }
    }
}

/// The clinic, its people and partners; those who are registered already stay as they are.
async fn register(home: &Home, app: &App) -> Result<(), Failure> {
    let registry = Registry::from(app);
    let tenant = match registry.tenant(TENANT).await {
        Err(RegisterError::NoTenant) => registry.add_tenant(TENANT).await?,
        found => found?,
    };
    let clock = &app.clock;
    for person in &PEOPLE {
        if !is_registered(app, &LookupName::user(person.name)).await? {
            let (password, clock) = (home.password(person.name)?.to_owned(), clock.clone());
            let made = tokio::task::spawn_blocking(move || person.account(tenant, &password, &clock));
            registry.add_account(&made.await??).await?;
        }
    }
    for partner in &PARTNERS {
        let thumbprint = home.thumbprint(partner.name)?;
        if !is_registered(app, &LookupName::partner(thumbprint)).await? {
            registry.add_account(&partner.account(tenant, thumbprint, clock)?).await?;
        }
    }
    Ok(())
}

async fn is_registered(app: &App, name: &LookupName) -> Result<bool, Failure> {
    Ok(app.store.account(app.keyring.lookup(name.as_bytes())).await?.is_some())
}

/// Loads, announces, shows around, and says how to go on.
async fn show(args: &DemoArgs, home: &Home, running: &Running) -> Result<ExitCode, Failure> {
    let cluster = running.cluster().ok_or(DemoError::NoCluster)?;
    let demo = describe(home, running, cluster)?;
    recipes::front(&demo, home)?;
    let demo = if args.no_data { demo } else { load(home, demo).await? };
    let path = home.announce(&demo)?;
    say(&format!("all of this is in {}\n", path.display()))?;
    if args.no_tour || args.no_data {
        recipes::curl(&demo, home)?;
        return Ok(ExitCode::SUCCESS);
    }
    let ledger = &running.app().ledger;
    let place = Place {
        home,
        portal: &demo.portal,
        partners: &demo.partners,
        origin: ledger.origin(),
        vkey: ledger.vkey(),
        owner: cluster.config(DATABASE, Role::Owner),
    };
    let verdict = tour::run(&place).await?;
    if !args.exit {
        recipes::curl(&demo, home)?;
    }
    Ok(if verdict == Verdict::AsItShould { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn load(home: &Home, demo: Demo) -> Result<Demo, Failure> {
    let charts = records::charts()?;
    let importer = Client::partner(home, &demo.partners, &home.files(IMPORTER.name))?;
    let Loaded { patients, resources, took } = records::load(&importer, &charts).await?;
    let ids: Vec<String> = charts.into_iter().filter_map(|chart| chart.patient).collect();
    let text = match resources {
        0 => format!("{} patients are here from before\n", ids.len()),
        _ => format!(
            "{patients} patients, {resources} resources: loaded through the API as transactions in {:.1} s\n",
            took.as_secs_f64()
        ),
    };
    say(&text)?;
    Ok(Demo { patients: ids, ..demo })
}

fn describe(home: &Home, running: &Running, cluster: &Cluster) -> Result<Demo, Failure> {
    let partners = running.partners().ok_or(StartError::NoDoor)?;
    let portal = format!("https://{}", running.portal());
    let ledger = &running.app().ledger;
    let mut users = BTreeMap::new();
    for person in &PEOPLE {
        let password = home.password(person.name)?.to_owned();
        users
            .insert(person.name, User { username: person.name, password, practitioner: person.practitioner });
    }
    Ok(Demo {
        token: format!("{portal}/auth/token"),
        portal,
        partners: format!("https://{partners}"),
        ca: home.ca(),
        vkey: ledger.vkey().to_string(),
        origin: ledger.origin().to_owned(),
        users,
        partner_files: PARTNERS.iter().map(|one| (one.name, home.files(one.name))).collect(),
        database: cluster.url(DATABASE, Role::Server).to_string(),
        database_owner: cluster.url(DATABASE, Role::Owner).to_string(),
        pid: std::process::id(),
        postgres_pid: cluster.process_id(),
        patients: Vec::new(),
    })
}

fn say(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
