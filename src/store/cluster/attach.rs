//! Reaching a cluster that another custodia runs, without starting or stopping anything.
//!
//! May import its siblings.

use std::path::{Path, PathBuf};

use tokio_postgres::Config;

use super::{
    Role,
    error::ClusterError,
    login::{self, Credentials},
    place,
    postmaster::{self, PidFile},
};

/// A running cluster that somebody else keeps: for commands beside a server.
pub struct Attached {
    credentials: Credentials,
    socket_folder: PathBuf,
}

impl Attached {
    /// The running cluster of `home`; none when there is no cluster or it does not run.
    ///
    /// # Errors
    /// If the home's files cannot be read.
    pub fn find(home: &Path) -> Result<Option<Self>, ClusterError> {
        let Some((data, credentials)) = place::remembered(home)? else { return Ok(None) };
        let Some(file) = PidFile::read(&data)? else { return Ok(None) };
        let Some(socket_folder) = file.socket_folder.filter(|_| postmaster::serves(file.pid, &data)) else {
            return Ok(None);
        };
        Ok(Some(Self { credentials: Credentials::load(&credentials)?, socket_folder }))
    }

    /// How to reach `database` as `role`. It holds a password: never print it.
    #[must_use]
    pub fn config(&self, database: &str, role: Role) -> Config {
        login::config(&self.socket_folder, &self.credentials, database, role)
    }
}
