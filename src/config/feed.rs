//! The syslog collector.
//!
//! May import its siblings.

use std::path::PathBuf;

use serde::Deserialize;
use validator::Validate;

use super::checks;

/// The syslog collector (IHE ATNA) that is fed every entry of the log, when `address` is given.
#[derive(Clone, Default, Deserialize, Validate)]
#[serde(deny_unknown_fields, default)]
#[validate(schema(function = "checks::feed_is_whole"))]
pub struct FeedConfig {
    /// `host:port` of a collector that speaks syslog over TLS (RFC 5425).
    #[validate(custom(function = "checks::is_host_and_port"))]
    pub address: Option<String>,
    /// The name its certificate must be for; the address's host when left out.
    pub server_name: Option<String>,
    /// PEM: the roots its certificate must lead to.
    #[validate(custom(function = "checks::is_file"))]
    pub roots: Option<PathBuf>,
    /// PEM: the certificate this server shows.
    #[validate(custom(function = "checks::is_file"))]
    pub certificate: Option<PathBuf>,
    /// PEM: its private key.
    #[validate(custom(function = "checks::is_file"))]
    pub key: Option<PathBuf>,
    /// What tells that the collector has taken everything.
    pub taken: Taken,
}

/// What tells that a collector has read a stream to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Taken {
    /// Its `close_notify` in answer to ours, which RFC 5425 §4.4 asks of it.
    #[default]
    CloseNotify,
    /// The end of its TCP stream: for collectors that send no `close_notify`. One that crashes while it reads may then
    /// lose what it had read and not kept.
    EndOfStream,
}
