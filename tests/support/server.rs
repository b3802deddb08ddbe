//! A whole server for a test: own database and keys, both doors open on loopback, its accounts registered.
//!
//! ```text
//! let server = TestServer::start().await;
//! let physician = server.person(Person::Physician).await;
//! physician.get("/fhir/Patient/1").await.expect(404);
//! ```
//! It is the server that `custodia serve` runs, in this process: TLS, edge, Rocket, Cedar, ledger, PostgreSQL.

#![expect(clippy::expect_used, reason = "a test that has no server has failed")]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use custodia::{
    app::App,
    clock::Clock,
    config::Config,
    host::{self, Registry, Running},
    store::cluster::Role,
};
use custodia_audit::{Entry, Leaf};
use uuid::Uuid;

use crate::{
    authority::{Authority, Identity},
    client::{Client, ROOT},
    cluster::{TestCluster, TestDatabase},
    people::{PASSWORD, Partner, Person, Program, Tenants},
};

/// Name of the first tenant.
pub const CLINIC: &str = "clinic";
/// Name of the second tenant.
pub const OTHER: &str = "other";
/// Name of the log.
pub const ORIGIN: &str = "records.test/log";

/// A folder that is removed at the end.
pub struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = Path::new("/tmp").join(format!("custodia-server-{}", Uuid::new_v4().simple()));
        fs::create_dir(&path).expect("a folder is made");
        Self(path)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).expect("a file is written");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

/// A server that answers.
pub struct TestServer {
    running: Running,
    config: Config,
    database: TestDatabase,
    authority: Authority,
    partners: Vec<(Partner, Identity)>,
    unregistered: Identity,
    program: Program,
    folder: Folder,
}

/// An entry of the log, opened.
pub struct Opened {
    /// Its index.
    pub index: u64,
    /// What it says.
    pub entry: Entry,
}

impl TestServer {
    /// A server on the cluster that does not wait for the disk.
    pub async fn start() -> Self {
        Self::with(TestCluster::quick().await, Clock::machine(), |_| {}).await
    }

    /// A server whose configuration a test changes.
    pub async fn with(cluster: &'static TestCluster, clock: Clock, change: impl FnOnce(&mut Config)) -> Self {
        let (folder, authority) = (Folder::new(), Authority::new("clinic"));
        let database = cluster.database().await;
        let mut config = config(&folder, &authority, &database);
        change(&mut config);
        host::create_keystore(&config).await.expect("a keystore is made");
        let running = host::start(config.clone(), clock).await.expect("the server starts");
        let program = Program::new();
        let partners: Vec<_> = Partner::ALL.iter().map(|partner| (*partner, authority.issue())).collect();
        register(running.app(), &partners, &program).await;
        let unregistered = authority.issue();
        Self { running, config, database, authority, partners, unregistered, program, folder }
    }

    /// The services behind the doors.
    #[must_use]
    pub const fn app(&self) -> &Arc<App> {
        self.running.app()
    }

    /// Its configuration.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Its database.
    #[must_use]
    pub const fn database(&self) -> &TestDatabase {
        &self.database
    }

    /// The folder of its keystore and certificates.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Who issued its certificates.
    #[must_use]
    pub const fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Where the portal listens.
    #[must_use]
    pub const fn portal(&self) -> std::net::SocketAddr {
        self.running.portal()
    }

    /// The program that mirrors the log.
    #[must_use]
    pub const fn program(&self) -> &Program {
        &self.program
    }

    /// Somebody at the portal without any credential.
    #[must_use]
    pub fn anybody(&self) -> Client {
        Client::new(self.running.portal(), &self.authority, None)
    }

    /// Somebody who signed in at the portal.
    pub async fn person(&self, person: Person) -> Client {
        Self::signed_in(self.anybody(), person).await
    }

    /// The same at the portal of another server of the same people, such as [`TestServer::another`].
    pub async fn person_of(&self, other: &Running, person: Person) -> Client {
        Self::signed_in(Client::new(other.portal(), &self.authority, None), person).await
    }

    async fn signed_in(anybody: Client, person: Person) -> Client {
        let form = format!(
            "grant_type=password&username={}&password={}",
            person.login(),
            PASSWORD.replace(' ', "+")
        );
        let reply = anybody.form("/auth/token", &form).await.expect(200);
        let token = reply.json();
        anybody.bearing(token.get("access_token").and_then(|t| t.as_str()).expect("a token is issued"))
    }

    /// A partner at its door.
    #[must_use]
    pub fn partner(&self, partner: Partner) -> Client {
        let identity = self.partners.iter().find(|(one, _)| *one == partner).map(|(_, identity)| identity);
        Client::new(self.door(), &self.authority, identity)
    }

    /// Somebody at the partners' door whose certificate is good and of nobody here.
    #[must_use]
    pub fn unregistered(&self) -> Client {
        Client::new(self.door(), &self.authority, Some(&self.unregistered))
    }

    fn door(&self) -> std::net::SocketAddr {
        self.running.partners().expect("the partners' door is open")
    }

    /// Entries in the log.
    pub async fn size(&self) -> u64 {
        let (_, checkpoint) = self.app().ledger.reader().checkpoint().await.expect("the log is read");
        checkpoint.size
    }

    /// Every entry about an access from `first` on, opened.
    pub async fn entries(&self, first: u64) -> Vec<Opened> {
        let (mut found, mut next) = (Vec::new(), first);
        let reader = self.app().ledger.reader();
        loop {
            let page = reader.entries(next, u64::MAX >> 1).await.expect("the log is read");
            let Some(last) = page.last() else { return found };
            next = last.index + 1;
            for stored in page {
                let Ok(Leaf::Access(_)) = Leaf::from_bytes(&stored.leaf) else { continue };
                let opening = stored.opening.expect("the audit key exists");
                let entry = Entry::from_groups(&opening.groups).expect("the groups are canonical");
                found.push(Opened { index: stored.index, entry });
            }
        }
    }

    /// The entry that a receipt names.
    pub async fn entry(&self, index: u64) -> Entry {
        let found = self.entries(index).await.into_iter().next().expect("the entry is there");
        assert_eq!(found.index, index, "the receipt names an access");
        found.entry
    }

    /// Another server over the same database, with the same keys.
    pub async fn another(&self) -> Running {
        host::start(self.config.clone(), Clock::machine()).await.expect("another server starts")
    }

    /// A partner at the door of [`TestServer::another`].
    #[must_use]
    pub fn partner_of(&self, other: &Running, partner: Partner) -> Client {
        let identity = self.partners.iter().find(|(one, _)| *one == partner).map(|(_, identity)| identity);
        Client::new(other.partners().expect("the partners' door is open"), &self.authority, identity)
    }

    /// Stops it, and hands back what it leaves behind.
    pub async fn stop(self) -> (Config, TestDatabase, Folder) {
        self.running.stop().await.expect("the server stops");
        (self.config, self.database, self.folder)
    }
}

fn config(folder: &Folder, authority: &Authority, database: &TestDatabase) -> Config {
    let own = authority.issue();
    let loopback = || "127.0.0.1:0".parse().expect("an address is an address");
    let mut config = Config { home: folder.path().to_owned(), ..Config::default() };
    config.database.url = Some(database.url(Role::Server).to_string());
    config.database.owner_url = Some(database.url(Role::Owner).to_string());
    config.portal.address = loopback();
    config.portal.certificate = Some(folder.write("server.pem", &own.certificate));
    config.portal.key = Some(folder.write("server.key", &own.key));
    config.partners.address = Some(loopback());
    config.partners.client_roots = Some(folder.write("roots.pem", authority.pem()));
    config.fhir.base = Some(format!("{ROOT}/fhir"));
    config.ledger.origin = Some(ORIGIN.to_owned());
    // Entries are counted: nothing is to be said that a test did not cause.
    config.ledger.heartbeat_s = 3_600;
    config
}

async fn register(app: &App, partners: &[(Partner, Identity)], program: &Program) {
    let registry = Registry::from(app);
    let clinic = registry.add_tenant(CLINIC).await.expect("a tenant is added");
    let other = registry.add_tenant(OTHER).await.expect("a tenant is added");
    let tenants = Tenants { clinic: (clinic, CLINIC), other: (other, OTHER) };
    let mut accounts: Vec<_> = Person::ALL.iter().map(|person| person.account(&tenants)).collect();
    accounts.extend(partners.iter().map(|(partner, identity)| partner.account(&tenants, identity)));
    accounts.push(program.account(&tenants));
    for account in &accounts {
        registry.add_account(account).await.expect("an account is added");
    }
}
