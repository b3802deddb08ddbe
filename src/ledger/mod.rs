//! The one door out: entries and changes in one transaction, and only then [`Audited`].
//!
//! May import `clock`, `config`, `fhir`, `answer`, `refusal`, `seal`, `identity`, `gate`, `store`. It imports
//! `store` because the data half of its transaction are store's statements; the transaction is its own.

mod about;
mod access;
mod audited;
mod committer;
mod counts;
mod draft;
mod earlier;
mod fault;
mod flood;
mod groups;
mod head;
mod keys;
mod merge;
#[cfg(custodia_null_ledger)]
mod null;
mod reader;
mod recover;
mod rows;
mod scan;
mod settled;
mod shard;
mod signing;
mod stale;
mod stub;
mod tiles;
mod together;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use custodia_audit::{Kind, Vkey};
use futures_util::future::join_all;

pub use about::{Concern, Grounds};
pub use access::{About, Access, NAMED_MAX, Names, QUERY_BYTES_MAX, QUERY_REPEATED_MAX, TooMany};
pub use audited::{Audited, Receipt};
pub use counts::Counts;
pub use draft::{Released, Shown, Version, Written};
pub use earlier::EARLIER_MAX;
pub use fault::SetupError;
pub use keys::{RETENTION_MONTHS_MIN, month_of};
pub use merge::{Merge, Position, Span};
pub use reader::{LedgerReader, Opening, READ_ENTRIES_MAX, RawEntry, ReadError, StoredEntry};
pub use recover::{Page, RecoverError, Rolling, roll_forward};
pub use scan::{SCAN_ENTRIES_MAX, Scan};
pub use shard::Shard;
pub use stale::Stale;
pub use stub::{Beside, Stub};
pub use together::{Purpose, side_by_side};

use crate::{
    answer::Answer,
    clock::Clock,
    gate::Permit,
    refusal::Refusal,
    seal::{Keyring, Opened, SealError},
    store::{Database, Store},
    tenant::TenantId,
};
use draft::{Changes, Draft, Undrafted};
use flood::Flood;
use shard::Side;

/// Submissions that may wait for the committer; past it callers get the empty 503.
pub const WAITING_MAX: usize = 4_096;
/// How long a submission may wait for its commit.
pub const COMMIT_TIMEOUT: Duration = Duration::from_secs(30);

/// The ledger did not commit: the one failure that is answered without an entry.
#[derive(Debug, thiserror::Error)]
#[error("the ledger did not commit")]
pub struct Down;

/// Why a change was not committed.
#[derive(Debug, thiserror::Error)]
pub enum Rejected {
    /// It does not stand any more; nothing was written. Look again.
    #[error(transparent)]
    Stale(#[from] Stale),
    /// A permit was for something else: a fault of ours, and nothing leaves.
    #[error("a permit does not cover what it came with")]
    Unpermitted,
    /// The ledger is down.
    #[error("the ledger did not commit")]
    Down,
}

/// What the ledger is made of.
pub struct Setup<'a> {
    /// Name of the log, as its checkpoints spell it; of several, the first.
    pub origin: &'a str,
    /// Which head of the database it writes to; of several, the first.
    pub shard: i16,
    /// How many logs are written side by side.
    pub shards: i16,
    /// The database, as the server's role.
    pub database: &'a Database,
    /// For keys and reading.
    pub store: Arc<Store>,
    /// For audit keys and the signing key.
    pub keyring: Arc<Keyring>,
    /// Time and ids.
    pub clock: Clock,
}

/// The log that a new one continues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its name.
    pub origin: String,
    /// Its size.
    pub size: u64,
    /// Its root.
    pub root: [u8; 32],
}

/// The door.
///
/// There is one log, or several side by side (decision 0035). What changes a tenant's records is recorded in that tenant's log,
/// so that all writers of a record take turns at one head; what only reads, in whichever is free.
pub struct Ledger {
    first: Arc<Shard>,
    shards: Vec<Arc<Shard>>,
    /// Where the next search for a free log begins.
    turn: AtomicUsize,
    flood: Flood,
    counts: Arc<Counts>,
    /// For whether the patients whom a question names are there.
    store: Arc<Store>,
}

impl Ledger {
    /// Opens the logs (or makes them), checks their heads, has `guard` look at each, does what they are opened for, starts the
    /// committers and records the start. Logs that were closed take nothing more, and are read.
    ///
    /// The guard comes before the first signature: it may know of a later head than the database has.
    ///
    /// # Errors
    /// [`SetupError`] when a head does not hold or the start cannot be recorded, and whatever the guard says.
    pub async fn open<E: From<SetupError>>(
        setup: Setup<'_>,
        purpose: &Purpose,
        guard: impl AsyncFn(&LedgerReader) -> Result<(), E>,
    ) -> Result<Self, E> {
        #[cfg(custodia_null_ledger)]
        null::only_for_measuring(setup.origin)?;
        let mut opened = Vec::new();
        for number in 0..setup.shards {
            let side = Side { number, count: setup.shards };
            opened.push(shard::Opened::open(&setup, (side, purpose), &guard).await?);
        }
        together::settle(&setup, &opened, purpose).await?;
        let counts = Arc::<Counts>::default();
        let mut shards = Vec::new();
        for one in opened {
            shards.push(Arc::new(one.start(&setup, purpose, &counts).await?));
        }
        let first = shards.first().map(Arc::clone).ok_or(SetupError::Shards(0))?;
        let (turn, flood, store) = (AtomicUsize::new(0), Flood::default(), Arc::clone(&setup.store));
        Ok(Self { first, shards, turn, flood, counts, store })
    }

    /// The logs that are written, the first being the one whose name the others bear.
    #[must_use]
    pub fn shards(&self) -> &[Arc<Shard>] {
        &self.shards
    }

    /// The log that is written at a head of the database.
    #[must_use]
    pub fn at(&self, head: i16) -> Option<&Arc<Shard>> {
        self.shards.iter().find(|shard| shard.reader().shard() == head)
    }

    /// The log of a name, if it is one that is written.
    #[must_use]
    pub fn named(&self, origin: &str) -> Option<&Arc<Shard>> {
        self.shards.iter().find(|shard| shard.origin() == origin)
    }

    /// Name of the log; of several, the first.
    #[must_use]
    pub fn origin(&self) -> &str {
        self.first.origin()
    }

    /// The key its checkpoints were signed with when it was opened; of two the newer.
    #[must_use]
    pub fn vkey(&self) -> &Vkey {
        self.first.vkey()
    }

    /// What the committers count.
    #[must_use]
    pub const fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }

    /// Reading the log; of several, the first.
    #[must_use]
    pub fn reader(&self) -> &LedgerReader {
        self.first.reader()
    }

    /// Every log that is read: those that are written, and those that each continues.
    pub fn readers(&self) -> impl Iterator<Item = &LedgerReader> {
        self.shards.iter().flat_map(|shard| shard.readers())
    }

    /// Records what was released to the caller, then lets it go: one entry for each patient concerned.
    ///
    /// # Errors
    /// [`Rejected::Stale`] never; [`Rejected::Down`] when the entry was not committed, and nothing leaves.
    pub async fn disclose(
        &self,
        access: &Access,
        released: Vec<Released>,
        answer: Opened<Answer>,
    ) -> Result<Audited<Answer>, Rejected> {
        self.commit(access, Vec::new(), released, answer).await
    }

    /// Writes changes, records them and what is released with them, then lets the answer go.
    ///
    /// # Errors
    /// [`Rejected::Stale`] when a change stood on something that is no longer so (nothing was written);
    /// [`Rejected::Down`] when the transaction did not commit.
    pub async fn commit(
        &self,
        access: &Access,
        written: Vec<Written>,
        released: Vec<Released>,
        answer: Opened<Answer>,
    ) -> Result<Audited<Answer>, Rejected> {
        // The only release in the house: `answer` leaves below, after the commit.
        #[expect(clippy::disallowed_methods, reason = "this is the door")]
        let answer = answer.release();
        #[cfg(custodia_null_ledger)]
        if written.is_empty() {
            return Ok(Audited::new(answer, null::unrecorded(self)));
        }
        let versions =
            || written.iter().map(|one| &one.version).chain(released.iter().map(|one| &one.version));
        let concerned = || versions().flat_map(|one| &one.patients).map(|(key, _)| *key).collect();
        let named = self.about(access, access.named.but(concerned)).await.map_err(|_| Rejected::Down)?;
        let (drafts, changes) = draft::of_records(access, written, released, named, answer.status)?;
        Ok(Audited::new(answer, self.submit(changes, drafts).await?))
    }

    /// Records an answer that holds no record: a token, the capabilities, a page of the log.
    ///
    /// # Errors
    /// [`Down`] when the entry was not committed.
    pub async fn state(&self, access: &Access, kind: Kind, answer: Answer) -> Result<Audited<Answer>, Down> {
        let drafts = self.statements(access, kind, (answer.status, "ok"), Grounds::default()).await?;
        Ok(Audited::new(answer, self.submit(Vec::new(), drafts).await.map_err(|_| Down)?))
    }

    /// Records what of the log was shown, then lets it go. `shown` names each event and its log entry.
    ///
    /// # Errors
    /// [`Rejected::Unpermitted`] when the permit is not this caller's or not for the log; [`Rejected::Down`] when the
    /// entry was not committed.
    pub async fn reveal(
        &self,
        access: &Access,
        permit: &Permit,
        shown: Vec<Shown>,
        answer: Answer,
    ) -> Result<Audited<Answer>, Rejected> {
        let draft = draft::of_log(access, permit, shown, answer.status)?;
        Ok(Audited::new(answer, self.submit(Vec::new(), vec![draft]).await?))
    }

    /// Records a refusal with what denied it and whom it was about, then refuses.
    ///
    /// # Errors
    /// [`Down`] when the entry was not committed.
    pub async fn refuse(
        &self,
        access: &Access,
        refusal: Refusal,
        grounds: Grounds,
    ) -> Result<Audited<Answer>, Down> {
        let kind = access.refusal_kind();
        let (status, code) = (refusal.status(), refusal.code());
        let receipt = if access.caller.is_none() {
            let denied = grounds.denied.as_ref();
            let draft = draft::of_statement(access, kind, status, code, denied, None)?;
            self.flood.submit(self, access, draft).await?
        } else {
            let drafts = self.statements(access, kind, (status, code), grounds).await?;
            self.submit(Vec::new(), drafts).await.map_err(|_| Down)?
        };
        Ok(Audited::new(refusal.into_answer(), receipt))
    }

    /// Records something that happened to no request: a failed client certificate, an export by command.
    ///
    /// # Errors
    /// [`Down`] when the entry was not committed.
    pub async fn note(&self, access: &Access, kind: Kind, status: u16, code: &str) -> Result<Receipt, Down> {
        let draft = draft::of_statement(access, kind, status, code, None, None)?;
        self.submit(Vec::new(), vec![draft]).await.map_err(|_| Down)
    }

    /// Says in each log that this server is alive, with the sequence number its next entry there will have.
    ///
    /// # Errors
    /// [`Down`] when an entry was not committed.
    pub async fn heartbeat(&self) -> Result<(), Down> {
        let said = join_all(self.shards.iter().map(|shard| shard.heartbeat())).await;
        said.into_iter().collect()
    }

    /// Hands a submission to the log it belongs in and waits; where its last entry is.
    async fn submit(&self, changes: Changes, drafts: Vec<Draft>) -> Result<Receipt, Rejected> {
        let shard = match changes.first() {
            Some((version, _)) => self.home(version.at.tenant),
            None => self.free(),
        };
        shard.submit(changes, drafts).await
    }

    /// The log in which everything is recorded that changes a tenant's records.
    ///
    /// INVARIANT: rows of one tenant are changed under one head, and every key of every table begins with the tenant: two
    /// committers never want the same row, so none can wait for the other in a circle
    /// (`four_servers_and_two_logs_under_load_lose_nothing`).
    fn home(&self, tenant: TenantId) -> &Shard {
        let count = i32::try_from(self.shards.len()).unwrap_or(1);
        let number = usize::try_from(tenant.0.rem_euclid(count)).unwrap_or(0);
        self.shards.get(number).unwrap_or(&self.first)
    }

    /// The log that has least to do, of those that commit: one that fails has nothing waiting.
    fn free(&self) -> &Shard {
        if self.shards.len() < 2 {
            return &self.first;
        }
        let begin = self.turn.fetch_add(1, Ordering::Relaxed) % self.shards.len();
        let in_turn = self.shards.iter().cycle().skip(begin).take(self.shards.len());
        let least = in_turn.min_by_key(|shard| (!self.counts.commits(shard.number()), shard.busy()));
        least.unwrap_or(&self.first)
    }
}

impl From<SealError> for Down {
    fn from(_: SealError) -> Self {
        Self
    }
}

impl From<Undrafted> for Rejected {
    fn from(why: Undrafted) -> Self {
        match why {
            Undrafted::Unpermitted => Self::Unpermitted,
            Undrafted::Randomness => Self::Down,
        }
    }
}

impl From<Down> for Rejected {
    fn from(_: Down) -> Self {
        Self::Down
    }
}
