//! The rules that keys are held to, beyond their shape; a rule's text says what is expected.
//!
//! May import its siblings.

use std::{
    borrow::Cow,
    fs::File,
    path::{Path, PathBuf},
};

use validator::ValidationError;

use super::{Config, DatabaseConfig, FeedConfig, PartnersConfig, TerminologyConfig};

/// Where a URL's scheme ends.
const SCHEME_END: &str = "://";
/// What is wrong with one of the two files alone.
const BOTH_OR_NEITHER: &str = "certificate and key go together; give both or neither";

fn rule(holds: bool, expected: &'static str) -> Result<(), ValidationError> {
    if holds { Ok(()) } else { Err(broken(expected)) }
}

fn broken(expected: &'static str) -> ValidationError {
    ValidationError::new("rule").with_message(Cow::Borrowed(expected))
}

pub(super) fn is_path(path: &Path) -> Result<(), ValidationError> {
    rule(!path.as_os_str().is_empty(), "expected a path")
}

pub(super) fn is_file(path: &Path) -> Result<(), ValidationError> {
    let readable = File::open(path).and_then(|file| file.metadata()).is_ok_and(|found| found.is_file());
    rule(readable, "expected a file that can be read; there is none at that path")
}

pub(super) fn are_files(paths: &[PathBuf]) -> Result<(), ValidationError> {
    paths.iter().try_for_each(|path| is_file(path))
}

/// The scheme alone: `store` reads the rest, and refuses what would cross a network in clear.
pub(super) fn is_database_url(url: &str) -> Result<(), ValidationError> {
    let known = url.starts_with("postgres://") || url.starts_with("postgresql://");
    rule(known, "expected postgres://user:password@host/database")
}

pub(super) fn owner_has_a_server(database: &DatabaseConfig) -> Result<(), ValidationError> {
    if database.owner_url.is_some() && database.url.is_none() {
        return Err(broken("owner_url is given without url; give both or neither"));
    }
    let wants_roots = database.url.as_deref().is_some_and(|url| url.contains("sslmode=require"));
    rule(
        !wants_roots || database.root_certificates.is_some(),
        "the URL asks for TLS; set root_certificates to the PEM file of the database's root",
    )
}

pub(super) fn partners_are_whole(partners: &PartnersConfig) -> Result<(), ValidationError> {
    if partners.address.is_some() && partners.client_roots.is_none() {
        return Err(broken(
            "address is given without client_roots; there is no partner door without client certificates",
        ));
    }
    rule(
        partners.certificate.is_some() == partners.key.is_some(),
        "certificate and key go together; give both or neither",
    )
}

pub(super) fn is_host_and_port(address: &str) -> Result<(), ValidationError> {
    let parts =
        address.rsplit_once(':').filter(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    rule(parts.is_some(), "expected host:port, such as collector.example:6514")
}

pub(super) fn is_bucket_name(name: &str) -> Result<(), ValidationError> {
    let plain =
        name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-'));
    rule(plain, "expected lower-case letters, digits, dots and hyphens")
}

pub(super) fn is_endpoint(url: &str) -> Result<(), ValidationError> {
    let expected = "expected https://host, or http:// on loopback, without a path";
    let Some((scheme, rest)) = url.split_once(SCHEME_END) else { return Err(broken(expected)) };
    let clean =
        rest.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'[' | b']'));
    let is_known = scheme == "https" || (scheme == "http" && is_loopback(rest));
    rule(clean && !rest.is_empty() && is_known, expected)
}

/// The base of a service: a URL without query, fragment or credentials.
pub(super) fn is_service(url: &str) -> Result<(), ValidationError> {
    let expected = "expected https://host/path, or http:// on loopback, without a query";
    let Some((scheme, rest)) = url.split_once(SCHEME_END) else { return Err(broken(expected)) };
    let clean = rest
        .bytes()
        .all(|b| b.is_ascii_graphic() && !matches!(b, b'?' | b'#' | b'"' | b'\\' | b'<' | b'>' | b'@'));
    let authority = rest.split('/').next().unwrap_or_default();
    let is_known = scheme == "https" || (scheme == "http" && is_loopback(authority));
    rule(clean && !authority.is_empty() && is_known, expected)
}

pub(super) fn terminology_is_whole(terminology: &TerminologyConfig) -> Result<(), ValidationError> {
    let wants_server = terminology.certificate.is_some() || terminology.bearer_file.is_some();
    if wants_server && terminology.server.is_none() {
        return Err(broken("credentials are given without server; give it as well"));
    }
    go_together(terminology.certificate.as_ref(), terminology.key.as_ref())
}

/// A path whose segments are plain words: nothing that a store or a proxy might take for a way up.
pub(super) fn is_prefix(prefix: &str) -> Result<(), ValidationError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let word = |word: &str| !matches!(word, "" | "." | "..") && word.bytes().all(plain);
    rule(prefix.is_empty() || prefix.split('/').all(word), "expected words with slashes between them")
}

/// Whether a URL's authority is this machine.
fn is_loopback(authority: &str) -> bool {
    ["localhost", "127.0.0.1", "[::1]"].iter().any(|host| {
        authority == *host || authority.strip_prefix(host).is_some_and(|port| port.starts_with(':'))
    })
}

fn go_together(certificate: Option<&PathBuf>, key: Option<&PathBuf>) -> Result<(), ValidationError> {
    rule(certificate.is_some() == key.is_some(), BOTH_OR_NEITHER)
}

pub(super) fn feed_is_whole(feed: &FeedConfig) -> Result<(), ValidationError> {
    if feed.address.is_some() && feed.roots.is_none() {
        return Err(broken(
            "address is given without roots; nobody is fed who cannot be told from an impostor",
        ));
    }
    go_together(feed.certificate.as_ref(), feed.key.as_ref())
}

pub(super) fn is_base(base: &str) -> Result<(), ValidationError> {
    let expected = "expected an https URL that ends in /fhir, such as https://records.example/fhir";
    let Some((scheme, rest)) = base.split_once(SCHEME_END) else { return Err(broken(expected)) };
    let clean = rest
        .bytes()
        .all(|b| b.is_ascii_graphic() && !matches!(b, b'?' | b'#' | b'"' | b'\\' | b'<' | b'>' | b'@'));
    let authority = rest.split('/').next().unwrap_or_default();
    if !clean || authority.is_empty() || !rest.ends_with("/fhir") {
        return Err(broken(expected));
    }
    rule(scheme == "https" || (scheme == "http" && is_loopback(authority)), expected)
}

/// The name of a signed note's key and a checkpoint's origin: no space, no plus (c2sp.org/signed-note).
pub(super) fn is_origin(origin: &str) -> Result<(), ValidationError> {
    let plain = origin.bytes().all(|b| b.is_ascii_graphic() && b != b'+');
    rule(
        plain,
        "expected a name such as records.example/log, of printable ASCII without spaces and plus signs",
    )
}

/// What only the whole can tell: key and rule.
pub(super) fn of_the_whole(config: &Config) -> Vec<(&'static str, &'static str)> {
    let mut found = Vec::new();
    if config.portal.certificate.is_some() != config.portal.key.is_some() {
        found.push(("portal", BOTH_OR_NEITHER));
    }
    let public = !config.portal.address.ip().is_loopback()
        || config.partners.address.is_some_and(|address| !address.ip().is_loopback());
    if public && config.fhir.base.is_none() {
        found.push(("fhir.base", "a server that others reach must be told its own URL"));
    }
    if config.portal.address.port() == 0 && config.fhir.base.is_none() {
        found.push(("fhir.base", "a portal at port 0 does not know its own URL; give it"));
    }
    if public && config.ledger.origin.is_none() {
        found.push((
            "ledger.origin",
            "a server that others reach must be told its log's name; it can never change",
        ));
    }
    if config.keystore.passphrase.is_some() && config.keystore.key_file.is_some() {
        found.push(("keystore.key_file", "a passphrase is given as well; use one of them"));
    }
    if config.ledger.shard.saturating_add(config.ledger.shards) > 256 {
        found.push(("ledger.shards", "they are counted from ledger.shard on, and 255 is the last"));
    }
    let wants_key = config.bucket.name.is_some();
    if wants_key && (config.bucket.key_id.is_none() || config.bucket.secret.is_none()) {
        found.push((
            "bucket.key_id",
            "a bucket wants an access key: its id here, the key itself in CUSTODIA_BUCKET_SECRET",
        ));
    }
    found
}
