//! Migrations, embedded in the binary and run behind an advisory lock.

use diesel_async::{AsyncMigrationHarness, SimpleAsyncConnection as _};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness as _, embed_migrations};

use super::{Database, StoreError};

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations");

/// Brings the database to this version; several servers may start at once.
///
/// Each step is a transaction of its own. If we crash in one, it is rolled back and the next start runs it
/// again; the lock falls with the connection.
///
/// # Errors
/// [`StoreError`] when the database is away or a step fails.
pub async fn migrate(owner: &Database) -> Result<Vec<String>, StoreError> {
    let mut connection = owner.connect().await.map_err(|error| StoreError::Away(Box::new(error)))?;
    // The number is "custodia" cut to 63 bits. Waiting for another server's migration is not a lock time-out.
    connection.batch_execute("SET lock_timeout = 0; SET statement_timeout = 0").await?;
    connection.batch_execute("SELECT pg_advisory_lock(7166777180104485217)").await?;
    let applied = tokio::task::spawn_blocking(move || {
        let mut harness = AsyncMigrationHarness::new(connection);
        let applied = harness.run_pending_migrations(MIGRATIONS);
        applied
            .map(|steps| steps.iter().map(ToString::to_string).collect())
            .map_err(|error| error.to_string())
    })
    .await;
    match applied {
        Ok(Ok(steps)) => Ok(steps),
        Ok(Err(text)) => Err(StoreError::Migration(text)),
        Err(error) => Err(StoreError::Migration(error.to_string())),
    }
}
