//! What a server and a command beside it both need: database, keys, tenants, log.
//!
//! May import `config`, `seal`, `store`, `ledger`.

use std::sync::Arc;

use custodia_audit::Vkey;

use super::{
    StartError,
    database::{self, Presence, Reached},
};
use crate::{
    anchor::Anchors,
    clock::Clock,
    config::Config,
    durable::Durable,
    ledger::{Ledger, LedgerReader, Purpose, Setup},
    seal::{Keyring, Keystore, Protection},
    store::{
        Store,
        cluster::{Cluster, Progress},
    },
    tenant::TenantId,
};

/// Name of the tenant that owns entries about callers who could not be told apart.
const HOUSE_NAME: &str = "house";

/// Database, keys, tenants and log, opened.
pub struct Parts {
    /// Time and ids.
    pub clock: Clock,
    /// The database.
    pub store: Arc<Store>,
    /// Keys.
    pub keyring: Arc<Keyring>,
    /// The one door out.
    pub ledger: Arc<Ledger>,
    /// What stands outside the database.
    pub anchors: Arc<Anchors>,
    /// The embedded database, if it is ours to stop.
    pub cluster: Option<Cluster>,
}

impl Parts {
    /// Opens them. Makes nothing but the database's schema, the house's tenant and the log's head.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn open(
        config: &Config,
        clock: &Clock,
        presence: Presence,
        progress: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<Self, StartError> {
        Self::open_as(config, clock, presence, progress, &Purpose::Serve).await
    }

    /// The same, to do something else than to write.
    pub(super) async fn open_as(
        config: &Config,
        clock: &Clock,
        presence: Presence,
        progress: &(dyn Fn(Progress) + Send + Sync),
        purpose: &Purpose,
    ) -> Result<Self, StartError> {
        // The keystore goes first: without it nothing of the database can be read, and nothing need be started.
        let keystore = open_keystore(config).await?;
        let reached = database::reach(config, presence, progress).await?;
        Self::on(config, clock, (keystore, reached), purpose).await
    }

    /// The same, where keystore and database are at hand.
    pub(super) async fn on(
        config: &Config,
        clock: &Clock,
        (keystore, reached): (Keystore, Reached),
        purpose: &Purpose,
    ) -> Result<Self, StartError> {
        reached.migrate().await?;
        let store = Arc::new(Store::new(&reached.server)?);
        let keyring = Arc::new(Keyring::new(Arc::new(keystore), clock.clone()));
        admit(&store, &keyring).await?;
        ensure_house(&store, &keyring, clock).await?;
        let anchors = Arc::new(Anchors::open(config, keyring.keystore(), &Durable::shared())?);
        let setup = Setup {
            origin: config.origin(),
            shard: config.ledger.shard,
            shards: config.ledger.shards,
            database: &reached.server,
            store: Arc::clone(&store),
            keyring: Arc::clone(&keyring),
            clock: clock.clone(),
        };
        let guard = async |reader: &LedgerReader| Ok::<_, StartError>(anchors.check(reader).await?);
        let ledger = Arc::new(Ledger::open(setup, purpose, guard).await?);
        Ok(Self { clock: clock.clone(), store, keyring, ledger, anchors, cluster: reached.cluster })
    }

    /// Stops what is ours to stop.
    ///
    /// # Errors
    /// [`StartError::Cluster`] when the embedded database does not stop.
    pub async fn close(self) -> Result<(), StartError> {
        let Self { cluster, ledger, store, .. } = self;
        drop((ledger, store));
        match cluster {
            Some(cluster) => cluster.stop().await.map_err(StartError::from),
            None => Ok(()),
        }
    }
}

/// What opens the keystore: the passphrase if one is given, else the key file.
fn protection(config: &Config) -> Protection {
    match &config.keystore.passphrase {
        Some(passphrase) => Protection::Passphrase(passphrase.clone()),
        None => Protection::KeyFile(config.keystore_key_file()),
    }
}

/// Makes the keystore; one that exists is never overwritten.
///
/// # Errors
/// [`StartError::Keystore`].
pub async fn create_keystore(config: &Config) -> Result<(), StartError> {
    let (path, protection) = (config.keystore_path(), protection(config));
    blocking(move || Keystore::create(&path, &protection)).await?;
    Ok(())
}

/// Brings the database to this version without serving it; the steps that were taken.
///
/// # Errors
/// [`StartError`].
pub async fn migrate(
    config: &Config,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Vec<String>, StartError> {
    let reached = database::reach(config, Presence::Server, progress).await?;
    let steps = reached.migrate().await;
    if let Some(cluster) = reached.cluster {
        cluster.stop().await?;
    }
    steps
}

/// The keys that the logs' checkpoints are signed with, log after log, the newest last: what an auditor must be given once.
/// While no key takes over from another there is one for each log.
///
/// # Errors
/// [`StartError`].
pub async fn vkeys(config: &Config) -> Result<Vec<Vkey>, StartError> {
    let keystore = open_keystore(config).await?;
    let secrets = keystore.log_secrets();
    let mut keys = Vec::new();
    for origin in config.origins() {
        keys.extend(secrets.for_new_log(&origin)?.vkeys());
    }
    Ok(keys)
}

pub(super) async fn open_keystore(config: &Config) -> Result<Keystore, StartError> {
    let (path, protection) = (config.keystore_path(), protection(config));
    if !path.exists() {
        return Err(StartError::NoKeystore(path));
    }
    Ok(blocking(move || Keystore::open(&path, &protection)).await?)
}

/// A passphrase takes a tenth of a second and 64 MiB: away from the threads that serve.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, crate::seal::KeystoreError> + Send + 'static,
) -> Result<T, crate::seal::KeystoreError> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(crate::seal::KeystoreError::Crypto))
}

/// Admits every tenant that is not admitted yet; how many there are.
pub(super) async fn admit(store: &Store, keyring: &Keyring) -> Result<usize, StartError> {
    let known = keyring.tenants();
    let tenants = store.tenants().await?;
    let count = tenants.len();
    for tenant in tenants {
        if !known.contains(&tenant.id()) {
            keyring.admit(tenant.id(), tenant.epoch, tenant.wrapped)?;
        }
    }
    Ok(count)
}

/// Makes the house's tenant unless it is there.
///
/// If we crash after the insert, the next start finds it. If another server was faster, its key is the one that
/// counts: it is read back either way.
async fn ensure_house(store: &Store, keyring: &Keyring, clock: &Clock) -> Result<(), StartError> {
    if !keyring.tenants().contains(&TenantId::HOUSE) {
        let (epoch, wrapped) = keyring.create_tenant(TenantId::HOUSE)?;
        store.add_tenant(TenantId::HOUSE, HOUSE_NAME, epoch, wrapped, clock.now()).await?;
        admit(store, keyring).await?;
    }
    Ok(())
}
