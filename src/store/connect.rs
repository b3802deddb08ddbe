//! Connections: a Unix socket, or TLS by rustls; never a clear TCP connection off this machine.

use std::{sync::Arc, time::Duration};

use diesel::ConnectionError;
use diesel_async::{
    AsyncPgConnection, SimpleAsyncConnection as _,
    pooled_connection::{AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod, deadpool},
};
use futures_util::FutureExt as _;
use tokio_postgres::{NoTls, config::Host};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::StoreError;

/// Settings of every connection: no statement runs longer than 30 seconds, none waits longer than 10 for a
/// lock, and no parameter ever reaches PostgreSQL's own log.
const SETTINGS: &str = "SET statement_timeout = '30s'; SET lock_timeout = '10s'; \
                        SET idle_in_transaction_session_timeout = '30s'";

/// Where the database is, and as whom to connect.
#[derive(Clone)]
pub struct Database {
    config: Arc<tokio_postgres::Config>,
    role: Option<&'static str>,
    tls: Option<MakeRustlsConnect>,
}

/// Why a database address cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// Not a PostgreSQL URL.
    #[error("the database URL cannot be read; expected postgres://user:password@host/database or a socket")]
    Url,
    /// A host off this machine without TLS.
    #[error("the database is not on this machine and its URL does not ask for TLS: add sslmode=require")]
    Clear,
    /// No certificate roots to check the server against.
    #[error("sslrootcert cannot be read")]
    Roots(#[source] rustls_pki_types::pem::Error),
}

/// How statements of the pool are planned.
pub const PLANS: &str = "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET jit = off";

impl Database {
    /// From a `postgres://` URL or key-value string. `sslmode=require` always verifies the server's
    /// certificate and name, against `roots` (a PEM file).
    ///
    /// # Errors
    /// [`DatabaseError`] when it cannot be read, or would cross a network in clear.
    pub fn from_url(url: &str, roots: Option<&std::path::Path>) -> Result<Self, DatabaseError> {
        let config: tokio_postgres::Config = url.parse().map_err(|_| DatabaseError::Url)?;
        Self::from_config(config, roots)
    }

    /// From a parsed configuration.
    ///
    /// # Errors
    /// [`DatabaseError`] as [`Database::from_url`].
    pub fn from_config(
        mut config: tokio_postgres::Config,
        roots: Option<&std::path::Path>,
    ) -> Result<Self, DatabaseError> {
        config.application_name("custodia").connect_timeout(Duration::from_secs(2));
        let local = config.get_hosts().iter().all(|host| match host {
            #[cfg(unix)]
            Host::Unix(_) => true,
            Host::Tcp(name) => matches!(name.as_str(), "localhost" | "127.0.0.1" | "::1"),
        });
        let required = config.get_ssl_mode() == tokio_postgres::config::SslMode::Require;
        if !local && !required {
            return Err(DatabaseError::Clear);
        }
        let tls = if required { Some(tls(roots)?) } else { None };
        Ok(Self { config: Arc::new(config), role: None, tls })
    }

    /// As whom it logs in, if its address says so.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.config.get_user()
    }

    /// The same database, with every connection stepping down to `role` at once.
    #[must_use]
    pub fn stepping_down_to(mut self, role: &'static str) -> Self {
        self.role = Some(role);
        self
    }

    /// A new connection.
    ///
    /// # Errors
    /// Diesel's, when the server cannot be reached or refuses.
    pub async fn connect(&self) -> diesel::ConnectionResult<AsyncPgConnection> {
        let bad = |error: tokio_postgres::Error| ConnectionError::BadConnection(error.to_string());
        let mut connection = if let Some(tls) = &self.tls {
            let (client, driver) = self.config.connect(tls.clone()).await.map_err(bad)?;
            AsyncPgConnection::try_from_client_and_connection(client, driver).await?
        } else {
            let (client, driver) = self.config.connect(NoTls).await.map_err(bad)?;
            AsyncPgConnection::try_from_client_and_connection(client, driver).await?
        };
        let set = |error| ConnectionError::CouldntSetupConfiguration(error);
        connection.batch_execute(SETTINGS).await.map_err(set)?;
        if let Some(role) = self.role {
            connection.batch_execute(&format!("SET ROLE {role}")).await.map_err(set)?;
        }
        Ok(connection)
    }

    /// A pool of such connections.
    pub(super) fn pool(
        &self,
        size: usize,
        wait: Duration,
    ) -> Result<deadpool::Pool<AsyncPgConnection>, StoreError> {
        let database = self.clone();
        let mut manager = ManagerConfig::default();
        manager.recycling_method = RecyclingMethod::Fast;
        manager.custom_setup = Box::new(move |_| {
            let database = database.clone();
            async move {
                let mut connection = database.connect().await?;
                // The statements are written so that the plan for all parameters is the right one for any; making one
                // for these parameters takes longer than most of them run. It is kept, so it must not be one for the
                // small tables of a young database, which are best read whole.
                let set = |error| ConnectionError::CouldntSetupConfiguration(error);
                connection.batch_execute(PLANS).await.map_err(set)?;
                Ok(connection)
            }
            .boxed()
        });
        let manager = AsyncDieselConnectionManager::<AsyncPgConnection>::new_with_config("", manager);
        deadpool::Pool::builder(manager)
            .max_size(size)
            .wait_timeout(Some(wait))
            .create_timeout(Some(wait))
            .recycle_timeout(Some(wait))
            .runtime(deadpool_runtime())
            .build()
            .map_err(|error| StoreError::Away(Box::new(error)))
    }
}

const fn deadpool_runtime() -> ::deadpool::Runtime {
    ::deadpool::Runtime::Tokio1
}

fn tls(roots: Option<&std::path::Path>) -> Result<MakeRustlsConnect, DatabaseError> {
    use rustls_pki_types::{CertificateDer, pem::PemObject as _};
    let mut store = rustls::RootCertStore::empty();
    if let Some(path) = roots {
        let certificates = CertificateDer::pem_file_iter(path).map_err(DatabaseError::Roots)?;
        for certificate in certificates {
            store.add_parsable_certificates([certificate.map_err(DatabaseError::Roots)?]);
        }
    }
    let config =
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|_| DatabaseError::Url)?
            .with_root_certificates(store)
            .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}
