//! What the server is told at start: defaults, then a file, then the environment.
//!
//! May import nothing of the house. Every key is checked before anything is opened, and an unknown one is refused. No
//! key switches authentication, the log, TLS or sealing off: there is none to misspell.
//!
//! ```text
//! custodia.toml            environment                      
//! [portal]
//! address = "[::]:8443"    CUSTODIA_PORTAL_ADDRESS          the section, an underscore, the key
//! [database]
//! url = "..."              CUSTODIA_DATABASE_URL            or plain DATABASE_URL, which yields to it
//!                          CUSTODIA_KEYSTORE_PASSPHRASE     never in a file
//!                          CUSTODIA_BUCKET_SECRET           never in a file
//! ```

mod bucket;
mod checks;
mod feed;
mod keys;
mod limits;
mod read;
mod references;
mod shards;
mod terminology;

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use serde::Deserialize;
use validator::Validate;
use zeroize::Zeroizing;

pub use bucket::BucketConfig;
pub use feed::{FeedConfig, Taken};
pub use keys::{KEYS, Key, Shape};
pub use limits::LimitsConfig;
pub use read::{ConfigError, FILE_BYTES_MAX, Problem};
pub use references::{Integrity, References};
pub use shards::{SHARDS_MAX, origin_of};
pub use terminology::TerminologyConfig;

/// The longest an access token may live, in seconds.
pub const TOKEN_LIFETIME_MAX_S: u32 = 900;

/// Everything the server is told. It may hold passwords, so it has no Debug.
#[derive(Clone, Deserialize, Validate)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Folder of what the server keeps by itself: the embedded database, the keystore, the operational log.
    #[validate(custom(function = "checks::is_path"))]
    pub home: PathBuf,
    /// The database.
    #[validate(nested)]
    pub database: DatabaseConfig,
    /// The keystore.
    #[validate(nested)]
    pub keystore: KeystoreConfig,
    /// The door for people and their applications.
    #[validate(nested)]
    pub portal: PortalConfig,
    /// The door for registered machines.
    #[validate(nested)]
    pub partners: PartnersConfig,
    /// The FHIR API.
    #[validate(nested)]
    pub fhir: FhirConfig,
    /// Searches.
    #[validate(nested)]
    pub search: SearchConfig,
    /// Access tokens.
    #[validate(nested)]
    pub tokens: TokensConfig,
    /// The log of accesses.
    #[validate(nested)]
    pub ledger: LedgerConfig,
    /// The bucket that the log is copied to.
    #[validate(nested)]
    pub bucket: BucketConfig,
    /// The syslog collector that is fed from the log.
    #[validate(nested)]
    pub feed: FeedConfig,
    /// The server that is asked about codes.
    #[validate(nested)]
    pub terminology: TerminologyConfig,
    /// The policies.
    pub policies: PoliciesConfig,
    /// The operational log and metrics.
    #[validate(nested)]
    pub watch: WatchConfig,
    /// Bounds on what one peer may take.
    #[validate(nested)]
    pub limits: LimitsConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            home: PathBuf::from(".custodia"),
            database: DatabaseConfig::default(),
            keystore: KeystoreConfig::default(),
            portal: PortalConfig::default(),
            partners: PartnersConfig::default(),
            fhir: FhirConfig::default(),
            search: SearchConfig::default(),
            tokens: TokensConfig::default(),
            ledger: LedgerConfig::default(),
            bucket: BucketConfig::default(),
            feed: FeedConfig::default(),
            terminology: TerminologyConfig::default(),
            policies: PoliciesConfig::default(),
            watch: WatchConfig::default(),
            limits: LimitsConfig::default(),
        }
    }
}

/// Where the records are. Without a URL the server runs a PostgreSQL of its own in `home`.
#[derive(Clone, Default, Deserialize, Validate)]
#[serde(deny_unknown_fields, default)]
#[validate(schema(function = "checks::owner_has_a_server"))]
pub struct DatabaseConfig {
    /// PostgreSQL as the role the server works as; TLS unless it is on this machine.
    #[validate(custom(function = "checks::is_database_url"))]
    pub url: Option<String>,
    /// PostgreSQL as the owner of the schema, for migrations; `url` when it is left out, and the server then steps
    /// down to `custodia_server` on every connection.
    #[validate(custom(function = "checks::is_database_url"))]
    pub owner_url: Option<String>,
    /// PEM file of the roots that the database's certificate must lead to.
    #[validate(custom(function = "checks::is_file"))]
    pub root_certificates: Option<PathBuf>,
}

/// Where the keys are.
#[derive(Clone, Default, Deserialize, Validate)]
#[serde(deny_unknown_fields, default)]
pub struct KeystoreConfig {
    /// The sealed file; `keystore.json` in `home` when left out.
    pub path: Option<PathBuf>,
    /// The file with the key that opens it; `keystore.key` in `home` when left out and no passphrase is given.
    pub key_file: Option<PathBuf>,
    /// `CUSTODIA_KEYSTORE_PASSPHRASE`: opens the keystore instead of a key file.
    #[serde(skip)]
    pub passphrase: Option<Zeroizing<String>>,
}

/// The door for people and their applications: TLS without client certificates.
#[derive(Clone, Deserialize, Validate)]
#[serde(deny_unknown_fields, default)]
pub struct PortalConfig {
    /// Where to listen; port 0 takes a free one.
    pub address: SocketAddr,
    /// PEM: the server's certificate, then its intermediates.
    #[validate(custom(function = "checks::is_file"))]
    pub certificate: Option<PathBuf>,
    /// PEM: its private key.
    #[validate(custom(function = "checks::is_file"))]
    pub key: Option<PathBuf>,
    /// The oldest TLS that is spoken at both doors.
    pub oldest_tls: OldestTls,
}

impl Default for PortalConfig {
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 8443)),
            certificate: None,
            key: None,
            oldest_tls: OldestTls::Tls13,
        }
    }
}

/// The oldest version of TLS that is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum OldestTls {
    /// TLS 1.2 and 1.3.
    #[serde(rename = "1.2")]
    Tls12,
    /// TLS 1.3 alone.
    #[serde(rename = "1.3")]
    Tls13,
}

/// The door for registered machines: mutual TLS, always. It is open when `address` is given.
#[derive(Clone, Default, Deserialize, Validate)]
#[serde(deny_unknown_fields, default)]
#[validate(schema(function = "checks::partners_are_whole"))]
pub struct PartnersConfig {
    /// Where to listen; port 0 takes a free one.
    pub address: Option<SocketAddr>,
    /// PEM: the server's certificate at this door; the portal's when left out.
    #[validate(custom(function = "checks::is_file"))]
    pub certificate: Option<PathBuf>,
    /// PEM: its private key; the portal's when left out.
    #[validate(custom(function = "checks::is_file"))]
    pub key: Option<PathBuf>,
    /// PEM: the roots that client certificates must lead to.
    #[validate(custom(function = "checks::is_file"))]
    pub client_roots: Option<PathBuf>,
    /// PEM: revocation lists; with one or more, every certificate of a chain must be covered by one.
    #[validate(length(max = 64), custom(function = "checks::are_files"))]
    pub client_crls: Vec<PathBuf>,
    /// What a list past its nextUpdate is worth.
    pub stale_crls: StaleLists,
}

/// What a revocation list past its nextUpdate is worth (RFC 5280 §5.1.2.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StaleLists {
    /// Nothing: the certificates it covers are refused until a fresh list arrives.
    #[default]
    Refuse,
    /// As much as a fresh one.
    Accept,
}

/// The FHIR API.
#[derive(Clone, Default, Deserialize, Validate)]
#[serde(deny_unknown_fields, default)]
pub struct FhirConfig {
    /// The server's own base URL as clients see it; left out only while the portal listens on loopback.
    #[validate(custom(function = "checks::is_base"))]
    pub base: Option<String>,
    /// What a write is told of references that lead nowhere: `off`, `warn`, or `enforce`.
    pub references: References,
    /// The same for single tenants: `tenant=mode`.
    #[validate(length(max = 1_024), custom(function = "references::are_modes"))]
    pub references_of: Vec<String>,
}

/// Searches.
#[derive(Clone, Default, Deserialize, Validate)]
#[serde(deny_unknown_fields, default)]
pub struct SearchConfig {
    /// Parameters that find records about patients without a patient being named, beside the default list: each as
    /// `Type.parameter`, or `all` for every one that can be. What each gives away stands in the threat model.
    #[validate(length(max = 2_048))]
    pub population: Vec<String>,
}

/// Access tokens.
#[derive(Clone, Deserialize, Validate)]
#[serde(deny_unknown_fields, default)]
pub struct TokensConfig {
    /// How long one lives.
    #[validate(range(min = 30, max = TOKEN_LIFETIME_MAX_S))]
    pub lifetime_s: u32,
}

impl Default for TokensConfig {
    fn default() -> Self {
        Self { lifetime_s: TOKEN_LIFETIME_MAX_S }
    }
}

/// The log of accesses.
#[derive(Clone, Deserialize, Validate)]
#[serde(deny_unknown_fields, default)]
pub struct LedgerConfig {
    /// Name of the log, for ever: a host of yours and a word. Left out only while the portal listens on loopback.
    #[validate(length(min = 1, max = 255), custom(function = "checks::is_origin"))]
    pub origin: Option<String>,
    /// Which log of the database this server writes: every server of a database the same one. Another is for a log begun
    /// anew after a restore (`custodia audit recover`); what two servers write to different ones is not in one order.
    #[validate(range(min = 0, max = 255))]
    pub shard: i16,
    /// How many logs are written side by side, for a server whose one head is its bound; every server the same number.
    #[validate(range(min = 1, max = SHARDS_MAX))]
    pub shards: i16,
    /// How often the server says in the log that it is alive.
    #[validate(range(min = 1, max = 3_600))]
    pub heartbeat_s: u32,
    /// For how long entries can be opened; then the audit key of their month is destroyed. Six years at the least (45 CFR
    /// 164.316(b)(2)(i)).
    #[validate(range(min = 6, max = 100))]
    pub retention_years: u16,
    /// Folder of a copy of the log in files, outside the database; none when left out.
    pub mirror: Option<PathBuf>,
    /// A trust policy (c2sp.org/tlog-policy): the witnesses that are asked, with their URLs, and the quorum of exports.
    #[validate(custom(function = "checks::is_file"))]
    pub policy: Option<PathBuf>,
    /// PEM file of the roots that the witnesses' certificates must lead to; the machine's when left out.
    #[validate(custom(function = "checks::is_file"))]
    pub witness_roots: Option<PathBuf>,
    /// How often mirror and witnesses are brought up to the log's head.
    #[validate(range(min = 1, max = 10))]
    pub anchor_s: u32,
}

impl Default for LedgerConfig {
    fn default() -> Self {
        Self {
            origin: None,
            shard: 0,
            shards: 1,
            heartbeat_s: 60,
            retention_years: 6,
            mirror: None,
            policy: None,
            witness_roots: None,
            anchor_s: 10,
        }
    }
}

/// The policies.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PoliciesConfig {
    /// Folder of policies in place of those the program ships.
    pub folder: Option<PathBuf>,
}

/// The operational log and metrics.
#[derive(Clone, Deserialize, Validate)]
#[serde(deny_unknown_fields, default)]
pub struct WatchConfig {
    /// Folder of the operational log; `log` in `home` when left out.
    pub folder: Option<PathBuf>,
    /// The least severe events that are written.
    pub level: Level,
    /// Days of the operational log that are kept.
    #[validate(range(min = 1, max = 3_650))]
    pub kept_days: u16,
    /// Addresses other than loopback that may read `/metrics`.
    #[validate(length(max = 64))]
    pub metrics_from: Vec<IpAddr>,
}

impl Default for WatchConfig {
    fn default() -> Self {
        Self { folder: None, level: Level::Info, kept_days: 30, metrics_from: Vec::new() }
    }
}

/// How severe an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Something failed and needs somebody.
    Error,
    /// Something is not as it should be.
    Warn,
    /// What an operator wants to see: one line a request.
    Info,
    /// What a developer wants to see.
    Debug,
}

impl Config {
    /// The sealed keystore file.
    #[must_use]
    pub fn keystore_path(&self) -> PathBuf {
        self.keystore.path.clone().unwrap_or_else(|| self.home.join("keystore.json"))
    }

    /// The file with the key that opens the keystore, unless a passphrase does.
    #[must_use]
    pub fn keystore_key_file(&self) -> PathBuf {
        self.keystore.key_file.clone().unwrap_or_else(|| self.home.join("keystore.key"))
    }

    /// The folder of the operational log.
    #[must_use]
    pub fn watch_folder(&self) -> PathBuf {
        self.watch.folder.clone().unwrap_or_else(|| self.home.join("log"))
    }

    /// The folder where exports wait, sealed, until they are fetched.
    #[must_use]
    pub fn exports_folder(&self) -> PathBuf {
        self.home.join("exports")
    }

    /// The folder of the feed's position.
    #[must_use]
    pub fn feed_folder(&self) -> PathBuf {
        self.home.join("feed")
    }

    /// The FHIR base URL: as configured, or on loopback that of the portal at `port`.
    #[must_use]
    pub fn fhir_base(&self, port: u16) -> String {
        self.fhir.base.clone().unwrap_or_else(|| format!("https://localhost:{port}/fhir"))
    }

    /// The log's name: as configured, or on loopback one that says so.
    #[must_use]
    pub fn origin(&self) -> &str {
        self.ledger.origin.as_deref().unwrap_or("localhost/custodia")
    }
}
