//! Reaching the database: a given one, or our own.
//!
//! May import `config` and `store`.

use crate::{
    config::Config,
    store::{
        Database,
        cluster::{Attached, Cluster, ClusterConfig, ClusterError, Progress, Role, SERVER},
        migrate,
    },
};

use super::StartError;

/// The database of an embedded cluster.
pub const DATABASE: &str = "custodia";

/// Whether we are the server or a command that may run beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// The server: an embedded database is ours alone.
    Server,
    /// A command: an embedded database that runs already is visited, and migrated by nobody but its server.
    Visitor,
}

/// The database as the server's role, and what keeps it running.
pub(super) struct Reached {
    pub(super) server: Database,
    pub(super) cluster: Option<Cluster>,
    /// The role that migrates, if we have it.
    owner: Option<Database>,
}

impl Reached {
    /// Brings the schema to this version; the steps that were taken.
    pub(super) async fn migrate(&self) -> Result<Vec<String>, StartError> {
        match &self.owner {
            Some(owner) => Ok(migrate::migrate(owner).await?),
            None => Ok(Vec::new()),
        }
    }
}

/// Reaches the configured database, or starts our own.
pub(super) async fn reach(
    config: &Config,
    presence: Presence,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Reached, StartError> {
    let roots = config.database.root_certificates.as_deref();
    let Some(url) = &config.database.url else { return embedded(config, presence, progress).await };
    let given = Database::from_url(url, roots)?;
    if let Some(owner) = &config.database.owner_url {
        let owner = Some(Database::from_url(owner, roots)?);
        return Ok(Reached { server: given, cluster: None, owner });
    }
    if given.user() == Some(SERVER) {
        // The server's own role cannot migrate: somebody else does, with `custodia migrate`.
        return Ok(Reached { server: given, cluster: None, owner: None });
    }
    let server = given.clone().stepping_down_to(SERVER);
    Ok(Reached { server, cluster: None, owner: Some(given) })
}

async fn embedded(
    config: &Config,
    presence: Presence,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Reached, StartError> {
    match Cluster::start(&ClusterConfig::new(&config.home), &|step| progress(step)).await {
        Ok(cluster) => {
            cluster.ensure_database(DATABASE).await?;
            let owner = Database::from_config(cluster.config(DATABASE, Role::Owner), None)?;
            let server = Database::from_config(cluster.config(DATABASE, Role::Server), None)?;
            Ok(Reached { server, cluster: Some(cluster), owner: Some(owner) })
        }
        Err(busy @ ClusterError::AlreadyRunning { .. }) if presence == Presence::Visitor => {
            let Some(attached) = Attached::find(&config.home)? else { return Err(busy.into()) };
            let server = Database::from_config(attached.config(DATABASE, Role::Server), None)?;
            Ok(Reached { server, cluster: None, owner: None })
        }
        Err(error) => Err(error.into()),
    }
}
