//! FHIR packages: published definitions, each with a proof that the house added it.

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName,
    sql_types::{Binary, Text, Timestamptz},
};
use diesel_async::RunQueryDsl as _;

use super::{Store, StoreError, statement::Statement};

/// A package as it is stored.
#[derive(QueryableByName)]
pub struct PackageRow {
    /// Its name.
    #[diesel(sql_type = Text)]
    pub name: String,
    /// Its version.
    #[diesel(sql_type = Text)]
    pub version: String,
    /// What is kept of it: NDJSON, gzip.
    #[diesel(sql_type = Binary)]
    pub kept: Vec<u8>,
    /// That the house added it.
    #[diesel(sql_type = Binary)]
    pub proof: Vec<u8>,
}

/// A package without its content.
#[derive(Clone, Debug, PartialEq, Eq, QueryableByName)]
pub struct PackageName {
    /// Its name.
    #[diesel(sql_type = Text)]
    pub name: String,
    /// Its version.
    #[diesel(sql_type = Text)]
    pub version: String,
    /// When it was added.
    #[diesel(sql_type = Timestamptz)]
    pub added: DateTime<Utc>,
}

impl Store {
    /// The packages there are, by name.
    ///
    /// # Errors
    /// [`StoreError`] when the database is away.
    pub async fn package_names(&self) -> Result<Vec<PackageName>, StoreError> {
        let statement = Statement::new("SELECT name, version, added FROM definition_package ORDER BY name");
        Ok(statement.load(&mut self.connection().await?).await?)
    }

    /// The packages with what is kept of them, in the order they were added.
    ///
    /// # Errors
    /// [`StoreError`] when the database is away.
    pub async fn packages(&self) -> Result<Vec<PackageRow>, StoreError> {
        let text = "SELECT name, version, kept, proof FROM definition_package ORDER BY added, name";
        Ok(Statement::new(text).load(&mut self.connection().await?).await?)
    }

    /// Adds a package, in place of an earlier version.
    ///
    /// # Errors
    /// [`StoreError`] when the database is away.
    pub async fn put_package(&self, row: PackageRow, now: DateTime<Utc>) -> Result<(), StoreError> {
        Statement::new(
            "INSERT INTO definition_package (name, version, added, kept, proof) VALUES (?, ?, ?, ?, ?) \
             ON CONFLICT (name) DO UPDATE SET version = excluded.version, added = excluded.added, \
             kept = excluded.kept, proof = excluded.proof",
        )
        .bind::<Text, _>(row.name)
        .bind::<Text, _>(row.version)
        .bind::<Timestamptz, _>(now)
        .bind::<Binary, _>(row.kept)
        .bind::<Binary, _>(row.proof)
        .execute(&mut self.connection().await?)
        .await?;
        Ok(())
    }

    /// Takes a package away; whether it was there.
    ///
    /// # Errors
    /// [`StoreError`] when the database is away.
    pub async fn remove_package(&self, name: &str) -> Result<bool, StoreError> {
        let removed = Statement::new("DELETE FROM definition_package WHERE name = ?")
            .bind::<Text, _>(name.to_owned())
            .execute(&mut self.connection().await?)
            .await?;
        Ok(removed == 1)
    }
}
