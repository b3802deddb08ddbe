//! The two roles, their passwords, and what is done over a connection.
//!
//! May import `clock` and its siblings. Statements here name roles and databases only: nothing of a record.

use std::{fs, path::Path, time::Duration};

use tokio_postgres::{Client, Config, NoTls, types::ToSql};
use zeroize::Zeroizing;

use super::{
    OWNER, PORT, Role, SERVER,
    error::{At, ClusterError},
    place::{Place, write_whole},
    settings::FINGERPRINT,
};
use crate::clock::Clock;

/// A server on this machine answers at once or not at all.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// Role and database statements.
const STATEMENTS_WITHIN: Duration = Duration::from_secs(60);
/// A password is two UUIDs of version 4: 244 random bits, 64 hexadecimal digits.
const PASSWORD_DIGITS: usize = 64;

/// The passwords of the two roles.
pub(super) struct Credentials {
    owner: Zeroizing<String>,
    server: Zeroizing<String>,
}

impl Credentials {
    /// Reads the passwords of an existing cluster, or makes those of a new one.
    pub(super) fn load_or_create(place: &Place) -> Result<Self, ClusterError> {
        let path = place.credentials();
        if path.exists() {
            return Self::load(&path);
        }
        if place.data().exists() {
            return Err(ClusterError::Credentials { path });
        }
        // If we crash after this, the next start finds the file and makes the cluster with it.
        let made = Self { owner: new_password(), server: new_password() };
        let text = Zeroizing::new(format!("{OWNER} {}\n{SERVER} {}\n", *made.owner, *made.server));
        write_whole(&path, &text, None)?;
        Ok(made)
    }

    /// Reads the passwords of an existing cluster.
    pub(super) fn load(path: &Path) -> Result<Self, ClusterError> {
        let text = Zeroizing::new(fs::read_to_string(path).at("read", path)?);
        Self::parse(&text).ok_or_else(|| ClusterError::Credentials { path: path.to_owned() })
    }

    fn parse(text: &str) -> Option<Self> {
        let of = |role: &str| {
            let mut lines = text.lines();
            let password = lines.find_map(|line| line.strip_prefix(role)?.strip_prefix(' '))?;
            let is_whole =
                password.len() == PASSWORD_DIGITS && password.bytes().all(|b| b.is_ascii_hexdigit());
            is_whole.then(|| Zeroizing::new(password.to_owned()))
        };
        Some(Self { owner: of(OWNER)?, server: of(SERVER)? })
    }

    /// The password of one role.
    pub(super) fn password(&self, role: Role) -> &str {
        match role {
            Role::Owner => &self.owner,
            Role::Server => &self.server,
        }
    }
}

fn new_password() -> Zeroizing<String> {
    let random = || Clock::machine().random_id();
    Zeroizing::new(format!("{}{}", random().simple(), random().simple()))
}

/// How to reach `database` as `role`.
pub(super) fn config(socket_folder: &Path, credentials: &Credentials, database: &str, role: Role) -> Config {
    let mut config = Config::new();
    config.host_path(socket_folder).port(PORT).dbname(database).user(role.name());
    config.password(credentials.password(role)).connect_timeout(CONNECT_WITHIN);
    config
}

/// The same as a URL, for what only takes one.
pub(super) fn url(
    socket_folder: &Path,
    credentials: &Credentials,
    database: &str,
    role: Role,
) -> Zeroizing<String> {
    let host = percent_encode(socket_folder.as_os_str().as_encoded_bytes());
    let password = credentials.password(role);
    let database = percent_encode(database.as_bytes());
    Zeroizing::new(format!("postgresql://{}:{password}@{host}:{PORT}/{database}", role.name()))
}

fn percent_encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 3);
    for byte in bytes {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                text.push(char::from(*byte))
            }
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

/// Connects; the connection ends when the client is dropped.
pub(super) async fn connect(config: &Config) -> Result<Client, ClusterError> {
    let connecting = tokio::time::timeout(CONNECT_WITHIN, config.connect(NoTls)).await;
    let Ok(connected) = connecting else {
        return Err(ClusterError::Timeout {
            what: "logging in to PostgreSQL",
            limit_s: CONNECT_WITHIN.as_secs(),
        });
    };
    let (client, connection) =
        connected.map_err(|source| ClusterError::Postgres { what: "logging in", source })?;
    tokio::spawn(async move {
        // The client's own call reports the failure of a connection; there is nobody to tell here.
        drop(connection.await);
    });
    Ok(client)
}

/// The fingerprint of the settings a running server was started with.
pub(super) async fn fingerprint(client: &Client) -> Result<Option<String>, ClusterError> {
    let asked = client.query_one("SELECT pg_catalog.current_setting($1, true)", &[&FINGERPRINT]);
    let row = bounded("asking for its settings", asked).await?;
    row.try_get(0).map_err(|source| ClusterError::Postgres { what: "asking for its settings", source })
}

/// Makes the server's role if it is not there yet; both statements or neither.
pub(super) async fn ensure_server_role(
    client: &Client,
    credentials: &Credentials,
) -> Result<(), ClusterError> {
    let what = "making the server's role";
    let asked = client.query_opt("SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = $1", &[&SERVER]);
    if bounded(what, asked).await?.is_some() {
        return Ok(());
    }
    let statements = Zeroizing::new(format!(
        "BEGIN;
         CREATE ROLE {SERVER} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS NOINHERIT
             PASSWORD '{}';
         REVOKE ALL ON DATABASE postgres FROM PUBLIC;
         REVOKE ALL ON DATABASE template1 FROM PUBLIC;
         COMMIT",
        credentials.password(Role::Server)
    ));
    bounded(what, client.batch_execute(&statements)).await
}

/// Makes `database` if it is not there yet: the owner's, open to the server's role, closed to anybody else.
pub(super) async fn ensure_database(client: &Client, database: &str) -> Result<(), ClusterError> {
    check_database_name(database)?;
    let what = "making a database";
    let named: [&(dyn ToSql + Sync); 1] = [&database];
    let asked = client.query_opt("SELECT 1 FROM pg_catalog.pg_database WHERE datname = $1", &named);
    if bounded(what, asked).await?.is_none() {
        let create = format!("CREATE DATABASE {database} OWNER {OWNER} TEMPLATE template0");
        bounded(what, client.batch_execute(&create)).await?;
    }
    // If we crashed between the two, the next start closes the database: hence not only after CREATE.
    let close = format!(
        "REVOKE ALL ON DATABASE {database} FROM PUBLIC; GRANT CONNECT ON DATABASE {database} TO {SERVER}"
    );
    bounded(what, client.batch_execute(&close)).await
}

/// A plain identifier needs no quoting, so none can be forgotten.
fn check_database_name(name: &str) -> Result<(), ClusterError> {
    let is_plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    let begins_well = name.starts_with(|first: char| first.is_ascii_lowercase());
    if is_plain && begins_well && name.len() <= 63 { Ok(()) } else { Err(ClusterError::DatabaseName) }
}

/// Closes the schema that PostgreSQL 14 lets everybody write to; `client` is connected to the database.
pub(super) async fn close_public_schema(client: &Client) -> Result<(), ClusterError> {
    let close = client.batch_execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC");
    bounded("closing the schema public", close).await
}

async fn bounded<T>(
    what: &'static str,
    statement: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, ClusterError> {
    match tokio::time::timeout(STATEMENTS_WITHIN, statement).await {
        Ok(ended) => ended.map_err(|source| ClusterError::Postgres { what, source }),
        Err(_) => Err(ClusterError::Timeout { what, limit_s: STATEMENTS_WITHIN.as_secs() }),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn credentials_are_read_back_and_damage_is_noticed() {
        let (owner, server) = (new_password(), new_password());
        assert_ne!(*owner, *server);
        let text = format!("{OWNER} {}\n{SERVER} {}\n", *owner, *server);
        let read = Credentials::parse(&text).unwrap();
        assert_eq!(
            (read.password(Role::Owner), read.password(Role::Server)),
            (owner.as_str(), server.as_str())
        );
        for damaged in
            [text.replace('\n', ""), text.replace(SERVER, "x"), text.replace(owner.as_str(), "short")]
        {
            assert!(Credentials::parse(&damaged).is_none());
        }
    }

    #[test]
    fn a_url_says_the_same_as_the_configuration() {
        let credentials = Credentials { owner: new_password(), server: new_password() };
        let folder = Path::new("/tmp/it's a%2F:@place");
        let expected = config(folder, &credentials, "custodia", Role::Server);
        let read: Config = url(folder, &credentials, "custodia", Role::Server).parse().unwrap();
        assert_eq!(read.get_hosts(), expected.get_hosts());
        assert_eq!((read.get_user(), read.get_password()), (expected.get_user(), expected.get_password()));
        assert_eq!((read.get_dbname(), read.get_ports()), (expected.get_dbname(), expected.get_ports()));
    }

    #[test]
    fn database_names_that_would_need_quoting_are_refused() {
        let long = "a".repeat(64);
        for name in ["", "1a", "A", "a-b", "a;drop", "a\"", "_a", long.as_str()] {
            assert!(matches!(check_database_name(name), Err(ClusterError::DatabaseName)), "{name}");
        }
        for name in ["a", "custodia_2", &"a".repeat(63)] {
            assert!(check_database_name(name).is_ok(), "{name}");
        }
    }
}
