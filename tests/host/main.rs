//! The house put together: it starts, answers, records, exports and stops, and says why when it does not start.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod embedded;
mod packages;
mod refusals;
mod together;

use std::{
    fs,
    path::{Path, PathBuf},
};

use custodia::{
    clock::Clock,
    config::Config,
    host::{self, Parts, Range, Running, StartError},
    store::cluster::Role,
};
use custodia_audit::bundle::{Report, Trust, verify};
use custodia_support::cluster::{TestCluster, TestDatabase, TestHome};

/// A folder with a keystore, certificates and a database of its own.
struct House {
    config: Config,
    root: String,
    _database: TestDatabase,
    _home: TestHome,
}

impl House {
    async fn new() -> Self {
        let home = TestHome::new();
        let database = TestCluster::quick().await.database().await;
        let (mut config, root) = furnished(home.folder());
        config.database.url = Some(database.url(Role::Server).to_string());
        config.database.owner_url = Some(database.url(Role::Owner).to_string());
        host::create_keystore(&config).await.unwrap();
        Self { config, root, _database: database, _home: home }
    }

    async fn start(&self) -> Running {
        start(&self.config).await
    }
}

/// A configuration on loopback, with certificates in `folder`; and the root of the portal's, in PEM.
fn furnished(folder: &Path) -> (Config, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (folder.join("portal.pem"), folder.join("portal.key"));
    fs::write(&certificate, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let mut config = Config { home: folder.join("home"), ..Config::default() };
    config.portal.address = "127.0.0.1:0".parse().unwrap();
    config.portal.certificate = Some(certificate);
    config.portal.key = Some(key);
    config.fhir.base = Some("https://localhost/fhir".to_owned());
    (config, made.cert.pem())
}

async fn start(config: &Config) -> Running {
    match host::start(config.clone(), Clock::machine()).await {
        Ok(running) => running,
        Err(error) => panic!("{}", error.explained()),
    }
}

async fn refusal(config: &Config) -> String {
    match host::start(config.clone(), Clock::machine()).await {
        Ok(_) => panic!("it started"),
        Err(error) => error.explained(),
    }
}

/// A client that trusts `root` and knows where `localhost` is.
struct Client {
    http: reqwest::Client,
    base: String,
}

impl Client {
    fn of(running: &Running, root: &str) -> Self {
        let http = reqwest::Client::builder()
            .tls_certs_only([reqwest::Certificate::from_pem(root.as_bytes()).unwrap()])
            .resolve("localhost", running.portal())
            .build()
            .unwrap();
        Self { http, base: format!("https://localhost:{}", running.portal().port()) }
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let answer = self.http.get(format!("{}{path}", self.base)).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    async fn token(&self, user: &str, password: &str) -> (u16, String) {
        let form = format!("grant_type=password&username={user}&password={password}&client_id=portal");
        let answer = self
            .http
            .post(format!("{}/auth/token", self.base))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form)
            .send()
            .await
            .unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }
}

/// Exports and verifies; the report and every entry in words.
async fn exported(parts: &Parts, range: Range) -> (Report, String) {
    let trust = Trust::of_log(parts.ledger.vkey(), None);
    let (file, _) = host::export(parts, &range, Vec::new()).await.unwrap();
    let mut entries = String::new();
    let report = verify(file.as_slice(), &trust, |entry| {
        entries.push_str(&serde_json::to_string(&entry).unwrap());
        entries.push('\n');
    });
    (report.unwrap(), entries)
}

fn files_of(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else { return found };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files_of(&path)) } else { found.push(path) }
    }
    found
}

async fn stop(running: Running) {
    let stopped: Result<(), StartError> = running.stop().await;
    stopped.unwrap();
}
