//! A reindex by command, and what searches of a tenant go by: the services without the doors.
//!
//! May import what `host` may.

use std::{sync::Arc, time::Duration};

use custodia_audit::Kind;

use super::{Parts, Presence, RegisterError, Registry, StartError, assemble, packages};
use crate::{
    app::App,
    clock::Clock,
    config::Config,
    fhir::{definitions::Definitions, search::InForce, terminology::Shipped},
    interaction::{
        Failure,
        reindex::{self, Begun, Step},
    },
    refusal::Refusal,
    store::cluster::{Cluster, Progress},
    tenant::TenantId,
};

/// How long a command waits before it looks again at what a server does.
const LOOK: Duration = Duration::from_millis(250);

/// Why a reindex by command did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum ReindexError {
    /// The services could not be had.
    #[error(transparent)]
    Start(#[from] StartError),
    /// There is no such tenant, or it could not be recorded.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// Definitions do not compile, or not together.
    #[error("{0}")]
    Definitions(String),
    /// The database is away, or a record does not open.
    #[error(
        "the database is away or a record does not open; what is done is kept, and a server or this command goes on"
    )]
    Broken,
}

impl From<Failure> for ReindexError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(Refusal::Invalid(problems), _) => {
                let line = |one: &crate::fhir::outcome::Problem| {
                    format!("{}: {}", one.expression.as_deref().unwrap_or("SearchParameter"), one.text)
                };
                Self::Definitions(problems.iter().map(line).collect::<Vec<_>>().join("\n"))
            }
            _ => Self::Broken,
        }
    }
}

/// The services, for a command that runs beside servers.
struct Backstage {
    app: Arc<App>,
    cluster: Option<Cluster>,
}

impl Backstage {
    async fn enter(
        config: &Config,
        clock: &Clock,
        progress: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<Self, StartError> {
        let parts = Parts::open(config, clock, Presence::Visitor, progress).await?;
        let (definitions, terms) = (Definitions::load()?, Shipped::default());
        let (conformance, _) = packages::load(&parts.store, &parts.keyring, &definitions, &terms).await?;
        let (app, cluster) = assemble(config, clock.clone(), parts, (definitions, conformance))?;
        Ok(Self { app, cluster })
    }

    async fn leave(self) -> Result<(), StartError> {
        drop(self.app);
        match self.cluster {
            Some(cluster) => Ok(cluster.stop().await?),
            None => Ok(()),
        }
    }
}

/// What searches of a tenant go by.
///
/// # Errors
/// [`ReindexError`].
pub async fn known(
    config: &Config,
    clock: &Clock,
    tenant: &str,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Arc<InForce>, ReindexError> {
    let stage = Backstage::enter(config, clock, progress).await?;
    let found = look_up(&stage.app, tenant).await;
    stage.leave().await?;
    found
}

async fn look_up(app: &App, tenant: &str) -> Result<Arc<InForce>, ReindexError> {
    let tenant = Registry::from(app).tenant(tenant).await?;
    Ok(reindex::take_up(app, tenant).await?)
}

/// Has the active SearchParameters of a tenant taken into effect, or goes on with what was begun, to its end. `told` hears
/// how many records of how many were gone over.
///
/// # Errors
/// [`ReindexError`].
pub async fn run(
    config: &Config,
    clock: &Clock,
    tenant: &str,
    progress: &(dyn Fn(Progress) + Send + Sync),
    told: &(dyn Fn(i64, i64) + Send + Sync),
) -> Result<Arc<InForce>, ReindexError> {
    let stage = Backstage::enter(config, clock, progress).await?;
    let outcome = recorded(&stage.app, tenant, told).await;
    stage.leave().await?;
    outcome
}

async fn recorded(
    app: &App,
    name: &str,
    told: &(dyn Fn(i64, i64) + Send + Sync),
) -> Result<Arc<InForce>, ReindexError> {
    let registry = Registry::from(app);
    let tenant = registry.tenant(name).await?;
    registry.note(Kind::Config, "reindex", name, 102, "begun").await.map_err(RegisterError::from)?;
    let outcome = to_its_end(app, tenant, name, told).await;
    let (status, code) = if outcome.is_ok() { (200, "ok") } else { (500, "failed") };
    registry.note(Kind::Config, "reindex", name, status, code).await.map_err(RegisterError::from)?;
    outcome
}

async fn to_its_end(
    app: &App,
    tenant: TenantId,
    name: &str,
    told: &(dyn Fn(i64, i64) + Send + Sync),
) -> Result<Arc<InForce>, ReindexError> {
    let whose = (tenant, app.integrity.of(name));
    let definitions = reindex::gather(app, tenant).await?;
    // One that runs already is brought to its end first: what it took in may be older than what stands there now.
    while reindex::announce(app, whose, definitions.clone()).await? == Begun::Already {
        go_on(app, whose, told).await?;
    }
    go_on(app, whose, told).await?;
    Ok(reindex::take_up(app, tenant).await?)
}

async fn go_on(
    app: &App,
    whose: (TenantId, crate::config::References),
    told: &(dyn Fn(i64, i64) + Send + Sync),
) -> Result<(), ReindexError> {
    loop {
        match reindex::step(app, whose).await? {
            Step::Idle => return Ok(()),
            Step::Going(done, total) => told(done, total),
            Step::Elsewhere => tokio::time::sleep(LOOK).await,
        }
    }
}
