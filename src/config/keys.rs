//! Every key there is, and how the environment spells it.
//!
//! May import nothing of the house.

/// What a key's value looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Any text.
    Text,
    /// A whole number.
    Number,
    /// Texts; in the environment separated by commas.
    List,
}

/// One key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// As a file spells it: `section.key`.
    pub name: &'static str,
    /// What its value looks like.
    pub shape: Shape,
}

impl Key {
    /// The environment's name of it: `CUSTODIA_SECTION_KEY`.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("CUSTODIA_{}", self.name.replace('.', "_").to_ascii_uppercase())
    }
}

const fn text(name: &'static str) -> Key {
    Key { name, shape: Shape::Text }
}

const fn number(name: &'static str) -> Key {
    Key { name, shape: Shape::Number }
}

const fn list(name: &'static str) -> Key {
    Key { name, shape: Shape::List }
}

/// Every key that a file or the environment may set.
pub const KEYS: [Key; 68] = [
    text("home"),
    text("database.url"),
    text("database.owner_url"),
    text("database.root_certificates"),
    text("keystore.path"),
    text("keystore.key_file"),
    text("portal.address"),
    text("portal.certificate"),
    text("portal.key"),
    text("portal.oldest_tls"),
    text("partners.address"),
    text("partners.certificate"),
    text("partners.key"),
    text("partners.client_roots"),
    list("partners.client_crls"),
    text("partners.stale_crls"),
    text("fhir.base"),
    text("fhir.references"),
    list("fhir.references_of"),
    list("search.population"),
    number("tokens.lifetime_s"),
    text("ledger.origin"),
    number("ledger.shard"),
    number("ledger.shards"),
    number("ledger.heartbeat_s"),
    number("ledger.retention_years"),
    text("ledger.mirror"),
    text("ledger.policy"),
    text("ledger.witness_roots"),
    number("ledger.anchor_s"),
    text("bucket.name"),
    text("bucket.endpoint"),
    text("bucket.region"),
    text("bucket.prefix"),
    text("bucket.key_id"),
    text("bucket.roots"),
    text("feed.address"),
    text("feed.server_name"),
    text("feed.roots"),
    text("feed.certificate"),
    text("feed.key"),
    text("feed.taken"),
    text("terminology.server"),
    text("terminology.roots"),
    text("terminology.certificate"),
    text("terminology.key"),
    text("terminology.bearer_file"),
    list("terminology.systems"),
    number("terminology.timeout_ms"),
    number("terminology.kept_s"),
    number("terminology.at_once"),
    text("policies.folder"),
    text("watch.folder"),
    text("watch.level"),
    number("watch.kept_days"),
    list("watch.metrics_from"),
    number("limits.handshake_ms"),
    number("limits.header_ms"),
    number("limits.body_ms"),
    number("limits.idle_ms"),
    number("limits.write_stall_ms"),
    number("limits.shutdown_ms"),
    number("limits.header_bytes_max"),
    number("limits.body_bytes_max"),
    number("limits.body_bytes_total_max"),
    number("limits.streams_max"),
    number("limits.connections_per_source_max"),
    number("limits.connections_max"),
];
