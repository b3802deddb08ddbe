//! What a running demo says of itself in `<home>/demo.json`. Imports `fault`.
//!
//! Only loopback addresses and unix sockets are accepted: this program is a flood, and must not reach others.

use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

use hyper::Uri;
use serde::Deserialize;

use crate::fault::Fault;

/// A running demo.
#[derive(Clone, Deserialize)]
pub(crate) struct Demo {
    /// Where people are served: `https://127.0.0.1:8443`.
    pub(crate) portal: String,
    /// Where partners are served, by client certificate.
    pub(crate) partners: String,
    /// The certificate that vouches for both.
    pub(crate) ca: PathBuf,
    /// Where tokens are issued.
    pub(crate) token: String,
    /// The log's verification key.
    pub(crate) vkey: String,
    /// The demo's users, by role.
    pub(crate) users: BTreeMap<String, User>,
    /// The partners' certificates, by name.
    #[serde(default)]
    pub(crate) partner_files: BTreeMap<String, Identity>,
    /// How the server reaches its database.
    #[serde(default)]
    pub(crate) database: Option<String>,
    /// How the owner of its tables does.
    #[serde(default)]
    pub(crate) database_owner: Option<String>,
    /// The server's process.
    pub(crate) pid: u32,
    /// The postmaster's process.
    #[serde(default)]
    pub(crate) postgres_pid: Option<u32>,
}

/// One user of the demo.
#[derive(Clone, Deserialize)]
pub(crate) struct User {
    /// The name to log in with.
    pub(crate) username: String,
    /// The demo's own password.
    pub(crate) password: String,
    /// The user's Practitioner, a reference.
    #[serde(default)]
    pub(crate) practitioner: Option<String>,
}

/// A client certificate and its key, PEM files.
#[derive(Clone, Deserialize)]
pub(crate) struct Identity {
    /// The certificate.
    pub(crate) certificate: PathBuf,
    /// Its key.
    pub(crate) key: PathBuf,
}

impl Demo {
    /// Where a demo in `home` writes it.
    pub(crate) fn file(home: &Path) -> PathBuf {
        home.join("demo.json")
    }

    /// Reads it and refuses what is not on this machine.
    pub(crate) fn read(home: &Path) -> Result<Self, Fault> {
        let file = Self::file(home);
        let text = fs::read(&file).map_err(Fault::io("read", &file))?;
        let demo: Self = serde_json::from_slice(&text).map_err(|_| Fault::Json("demo.json"))?;
        for base in [&demo.portal, &demo.partners, &demo.token] {
            loopback(base)?;
        }
        for url in demo.database.iter().chain(&demo.database_owner) {
            local_database(url)?;
        }
        Ok(demo)
    }

    /// One of its users.
    pub(crate) fn user(&self, role: &str) -> Result<&User, Fault> {
        self.users.get(role).ok_or_else(|| Fault::refused(format!("the demo has no user {role}")))
    }
}

/// The address of a base URL on this machine.
pub(crate) fn loopback(base: &str) -> Result<SocketAddr, Fault> {
    let refused = |why: &str| Fault::refused(format!("{base}: {why}"));
    let uri: Uri = base.parse().map_err(|_| refused("not a URL"))?;
    if uri.scheme_str() != Some("https") {
        return Err(refused("only https is spoken"));
    }
    let host = uri.host().ok_or_else(|| refused("no host"))?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let host = if host == "localhost" { "127.0.0.1" } else { host };
    let address: IpAddr = host.parse().map_err(|_| refused("only addresses of this machine are accepted"))?;
    if !address.is_loopback() {
        return Err(refused("only addresses of this machine are accepted"));
    }
    Ok(SocketAddr::new(address, uri.port_u16().unwrap_or(443)))
}

/// How to reach a database on this machine.
pub(crate) fn local_database(url: &str) -> Result<tokio_postgres::Config, Fault> {
    use tokio_postgres::config::Host;
    let config: tokio_postgres::Config = url.parse()?;
    // Where both are given, `hostaddr` is what is connected to.
    let is_local = |host: &Host| match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => name == "localhost" || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback()),
    };
    let is_local_address = |address: &IpAddr| address.is_loopback();
    if config.get_hosts().iter().all(is_local) && config.get_hostaddrs().iter().all(is_local_address) {
        Ok(config)
    } else {
        Err(Fault::refused("the database is not on this machine"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_a_target() {
        for (base, is_accepted) in [
            ("https://127.0.0.1:8443", true),
            ("https://127.8.9.1:8443/auth/token", true),
            ("https://[::1]:8443", true),
            ("https://localhost:8443", true),
            ("https://10.0.0.1:8443", false),
            ("https://[2001:db8::1]:8443", false),
            ("https://0.0.0.0:8443", false),
            ("https://localhost.example.org:8443", false),
            ("http://127.0.0.1:8443", false),
            ("127.0.0.1:8443", false),
        ] {
            assert_eq!(loopback(base).is_ok(), is_accepted, "{base}");
        }
    }

    #[test]
    fn only_databases_of_this_machine_are_reached() {
        for (url, is_accepted) in [
            ("postgres://u:p@/custodia?host=/run/x", true),
            ("postgresql://u:p@%2Frun%2Fx:5432/custodia", true),
            ("postgres://u:p@127.0.0.1/custodia", true),
            ("postgres://u:p@localhost/custodia", true),
            ("postgres://u:p@db.example.org/custodia", false),
            ("postgres://u:p@10.1.2.3/custodia", false),
            ("postgres://u:p@localhost/custodia?hostaddr=10.1.2.3", false),
        ] {
            assert_eq!(local_database(url).is_ok(), is_accepted, "{url}");
        }
    }
}
