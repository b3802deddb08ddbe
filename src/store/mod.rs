//! PostgreSQL, through Diesel: what is fetched, and the statements the ledger's transaction runs.
//!
//! May import `clock`, `config`, `fhir`, `answer`, `refusal`, `seal`, `identity`, `gate`. Nothing here opens a
//! seal or decides; nothing here writes a record outside the ledger's transaction.

pub mod account;
pub mod cluster;
pub mod connect;
pub mod criterion;
pub mod everything;
pub mod fetch;
pub mod history;
pub mod lane;
pub mod mark;
pub mod migrate;
pub mod package;
pub mod reindex;
pub mod retention;
pub mod row;
pub mod search;
pub mod statement;
pub mod tenant;
pub mod write;

use std::time::Duration;

use diesel_async::{AsyncPgConnection, pooled_connection::deadpool};

pub use connect::Database;
pub use fetch::Fetcher;
pub use row::{NIL, Row, Standing};

/// How long a query may wait for a connection.
const CONNECTION_WAIT: Duration = Duration::from_secs(2);
/// Connections for everything but single fetches and the ledger.
const POOL_CONNECTIONS: usize = 8;

/// Why the database did not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No connection within two seconds, or it was lost.
    #[error("no connection to the database")]
    Away(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A statement failed. Its text is a constant of ours; parameters are never shown.
    #[error("a statement failed")]
    Statement(#[source] diesel::result::Error),
    /// A row holds what no server of this version writes.
    #[error("a row is not in the expected form: {0}")]
    Form(&'static str),
    /// The migrations failed.
    #[error("the migrations failed: {0}")]
    Migration(String),
}

impl From<diesel::result::Error> for StoreError {
    fn from(error: diesel::result::Error) -> Self {
        Self::Statement(error)
    }
}

/// The database as the interactions see it.
pub struct Store {
    pool: deadpool::Pool<AsyncPgConnection>,
    fetcher: Fetcher,
}

impl Store {
    /// Connects lazily: the first statement opens the first connection.
    ///
    /// # Errors
    /// [`StoreError::Away`] when the pool or the lane cannot be made.
    pub fn new(database: &Database) -> Result<Self, StoreError> {
        let pool = database.pool(POOL_CONNECTIONS, CONNECTION_WAIT)?;
        Ok(Self { pool, fetcher: Fetcher::start(database)? })
    }

    /// Single records and standings, fetched many at a time.
    #[must_use]
    pub const fn fetcher(&self) -> &Fetcher {
        &self.fetcher
    }

    /// A connection out of the pool.
    pub(crate) async fn connection(&self) -> Result<deadpool::Object<AsyncPgConnection>, StoreError> {
        self.pool.get().await.map_err(|error| StoreError::Away(Box::new(error)))
    }

    /// Whether the database answers within two seconds.
    pub async fn answers(&self) -> bool {
        use diesel_async::RunQueryDsl as _;
        let ask = async {
            let mut connection = self.connection().await.ok()?;
            statement::Statement::new("SELECT 1").execute(&mut connection).await.ok()
        };
        matches!(tokio::time::timeout(CONNECTION_WAIT, ask).await, Ok(Some(_)))
    }
}
