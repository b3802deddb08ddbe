//! The one door out: entries and changes in one transaction, and only then [`Audited`].
//!
//! May import `clock`, `config`, `fhir`, `answer`, `refusal`, `seal`, `identity`, `gate`, `store`. It imports
//! `store` because the data half of its transaction are store's statements; the transaction is its own.

mod access;
mod audited;
mod committer;
mod counts;
mod draft;
mod earlier;
mod flood;
mod groups;
mod head;
mod keys;
mod reader;
mod recover;
mod rows;
mod scan;
mod signing;
mod stale;
mod tiles;

use std::{sync::Arc, time::Duration};

use custodia_audit::{Control, Kind, Vkey};
use tokio::sync::{mpsc, oneshot};

pub use access::{Access, QUERY_BYTES_MAX};
pub use audited::{Audited, Receipt};
pub use counts::Counts;
pub use draft::{Released, Shown, Version, Written};
pub use earlier::EARLIER_MAX;
pub use keys::{RETENTION_MONTHS_MIN, month_of};
pub use reader::{LedgerReader, Opening, READ_ENTRIES_MAX, RawEntry, ReadError, StoredEntry};
pub use recover::{Page, RecoverError, Rolling, roll_forward};
pub use scan::{SCAN_ENTRIES_MAX, Scan};

use crate::{
    answer::Answer,
    clock::Clock,
    gate::{Denied, Permit},
    refusal::Refusal,
    seal::{Keyring, Opened, SealError},
    store::{Database, Store},
};
use committer::{Committer, Outcome, State, Submission};
use draft::{Changes, Draft, Undrafted};
use flood::Flood;
use signing::{Signing, Turn, Unsignable};

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
    /// Something it stood on changed in between; nothing was written. Look again.
    #[error("what the change stood on has changed")]
    Stale,
    /// A permit was for something else: a fault of ours, and nothing leaves.
    #[error("a permit does not cover what it came with")]
    Unpermitted,
    /// The ledger is down.
    #[error("the ledger did not commit")]
    Down,
}

/// What the ledger is made of.
pub struct Setup<'a> {
    /// Name of the log, as its checkpoints spell it.
    pub origin: &'a str,
    /// Which head of the database it writes to.
    pub shard: i16,
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

/// Why the ledger cannot start.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The database holds a log that this key did not sign, or that is not whole.
    #[error("the log in the database does not hold: {0}")]
    Head(&'static str),
    /// The log was closed for good.
    #[error("it was closed: {0} continues it, give the server that ledger.origin and its ledger.shard")]
    Closed(String),
    /// The database is away.
    #[error("the database is away")]
    Store(#[from] crate::store::StoreError),
    /// The first entry could not be committed.
    #[error("the start of the server could not be recorded")]
    Down(#[from] Down),
}

impl From<Unsignable> for SetupError {
    fn from(why: Unsignable) -> Self {
        Self::Head(match why {
            Unsignable::Keys => {
                "its checkpoint is not signed by keys of this keystore alone: after `custodia keys rotate-log` every \
                 server needs a copy of the keystore"
            }
            Unsignable::Differs => "its head and its signed checkpoint differ",
            Unsignable::Unusable | Unsignable::Turn => "the log's signing key or origin cannot be used",
        })
    }
}

/// The door.
pub struct Ledger {
    submissions: mpsc::Sender<Submission>,
    flood: Flood,
    origin: Arc<str>,
    vkey: Vkey,
    reader: LedgerReader,
    /// The logs before this one, the newest first.
    earlier: Vec<LedgerReader>,
    counts: Arc<Counts>,
}

impl Ledger {
    /// Opens the log (or makes it), checks its head, has `guard` look at it, starts the committer and records the start.
    ///
    /// The guard comes before the first signature: it may know of a later head than the database has. With `link`, the
    /// first entry says which other log this one continues.
    ///
    /// # Errors
    /// [`SetupError`] when the head does not hold or the start cannot be recorded, and whatever the guard says.
    pub async fn open<E: From<SetupError>>(
        setup: Setup<'_>,
        link: Option<Link>,
        guard: impl AsyncFnOnce(&LedgerReader) -> Result<(), E>,
    ) -> Result<Self, E> {
        let origin: Arc<str> = setup.origin.into();
        let signing = Arc::new(Signing::new(Arc::clone(setup.keyring.keystore()), &origin));
        let (database, shard) = (setup.database, setup.shard);
        let signer = head::prepare(database, shard, &origin, &signing, setup.clock.now()).await?;
        let vkey = signer.vkey();
        let reader = LedgerReader::new(
            Arc::clone(&setup.store),
            Arc::clone(&setup.keyring),
            setup.clock.clone(),
            setup.shard,
            Arc::clone(&signing),
        );
        guard(&reader).await?;
        let earlier = reader.earlier(link.as_ref()).await.map_err(|error| match error {
            ReadError::Store(error) => SetupError::Store(error),
            _ => SetupError::Head("a log that it continues is not the one that its first entry commits to"),
        })?;
        let (submissions, counts) = Self::commit_to(setup, signing, &origin)?;
        let flood = Flood::default();
        let ledger = Self { submissions, flood, origin, vkey, reader, earlier, counts };
        let mut drafts = vec![Draft::start()];
        if let Some(Link { origin, size, root }) = link {
            drafts.insert(
                0,
                Draft::other(move |_, time_micros| Control::ShardLink { time_micros, origin, size, root }),
            );
        }
        ledger.submit(Vec::new(), drafts).await.map_err(|_| SetupError::Down(Down))?;
        Ok(ledger)
    }

    /// Starts the committer; where to submit, and what it counts.
    fn commit_to(
        setup: Setup<'_>,
        signing: Arc<Signing>,
        origin: &Arc<str>,
    ) -> Result<(mpsc::Sender<Submission>, Arc<Counts>), SetupError> {
        let (submissions, receiver) = mpsc::channel(WAITING_MAX);
        let node = setup.clock.ordered_id().to_string();
        let keys =
            keys::AuditKeys::new(Arc::clone(&setup.store), Arc::clone(&setup.keyring), setup.clock.clone());
        let counts = Arc::<Counts>::default();
        let committer = Committer {
            database: setup.database.clone(),
            shard: setup.shard,
            origin: Arc::clone(origin),
            node,
            signing,
            keys,
            clock: setup.clock.clone(),
            counts: Arc::clone(&counts),
            pace: Arc::clone(setup.store.fetcher().pace()),
            state: State::default(),
        };
        crate::store::lane::spawn("ledger", committer.run(receiver))?;
        Ok((submissions, counts))
    }

    /// Name of the log.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The key its checkpoints were signed with when it was opened; of two the newer.
    #[must_use]
    pub const fn vkey(&self) -> &Vkey {
        &self.vkey
    }

    /// What the committer counts.
    #[must_use]
    pub const fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }

    /// Reading the log: checkpoint, tiles, proofs, entries.
    #[must_use]
    pub const fn reader(&self) -> &LedgerReader {
        &self.reader
    }

    /// This log and those before it, the newest first: each of them is older than the one before, whole.
    pub fn readers(&self) -> impl Iterator<Item = &LedgerReader> {
        std::iter::once(&self.reader).chain(&self.earlier)
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
        let (drafts, changes) = draft::of_records(access, written, released, answer.status)?;
        let index = self.submit(changes, drafts).await?;
        Ok(self.audited(answer, index))
    }

    /// Records an answer that holds no record: a token, the capabilities, a page of the log.
    ///
    /// # Errors
    /// [`Down`] when the entry was not committed.
    pub async fn state(&self, access: &Access, kind: Kind, answer: Answer) -> Result<Audited<Answer>, Down> {
        let draft = draft::of_statement(access, kind, answer.status, "ok", None)?;
        let index = self.submit(Vec::new(), vec![draft]).await.map_err(|_| Down)?;
        Ok(self.audited(answer, index))
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
        let index = self.submit(Vec::new(), vec![draft]).await?;
        Ok(self.audited(answer, index))
    }

    /// Records a refusal with what denied it, then refuses.
    ///
    /// # Errors
    /// [`Down`] when the entry was not committed.
    pub async fn refuse(
        &self,
        access: &Access,
        refusal: Refusal,
        denied: Option<&Denied>,
    ) -> Result<Audited<Answer>, Down> {
        let kind = access.refusal_kind();
        let draft = draft::of_statement(access, kind, refusal.status(), refusal.code(), denied)?;
        let index = if access.caller.is_none() {
            self.flood.submit(self, access, draft).await?
        } else {
            self.submit(Vec::new(), vec![draft]).await.map_err(|_| Down)?
        };
        Ok(self.audited(refusal.into_answer(), index))
    }

    /// Records something that happened to no request: a failed client certificate, an export by command.
    ///
    /// # Errors
    /// [`Down`] when the entry was not committed.
    pub async fn note(&self, access: &Access, kind: Kind, status: u16, code: &str) -> Result<Receipt, Down> {
        let draft = draft::of_statement(access, kind, status, code, None)?;
        let index = self.submit(Vec::new(), vec![draft]).await.map_err(|_| Down)?;
        Ok(Receipt::new(Arc::clone(&self.origin), index))
    }

    /// Says that this server is alive, with the sequence number its next entry will have.
    ///
    /// # Errors
    /// [`Down`] when the entry was not committed.
    pub async fn heartbeat(&self) -> Result<(), Down> {
        self.submit(Vec::new(), vec![Draft::heartbeat()]).await.map(|_| ()).map_err(|_| Down)
    }

    /// Records that a range of the log was exported.
    ///
    /// # Errors
    /// [`Down`] when the entry was not committed.
    pub async fn exported(&self, first: u64, end: u64, size: u64) -> Result<(), Down> {
        self.submit(Vec::new(), vec![Draft::export(first, end, size)]).await.map(|_| ()).map_err(|_| Down)
    }

    /// Has the key that waits in the keystore sign each checkpoint from here on, beside the older one.
    ///
    /// # Errors
    /// [`Down`] when the entry that says so was not committed, as when they do already.
    pub async fn begin_rotation(&self) -> Result<(), Down> {
        self.submit(Vec::new(), vec![Draft::turn(Turn::Begin)]).await.map(|_| ()).map_err(|_| Down)
    }

    /// Has the older of two keys sign no more.
    ///
    /// # Errors
    /// [`Down`] when the entry that says so was not committed, as when only one signs.
    pub async fn end_rotation(&self) -> Result<(), Down> {
        self.submit(Vec::new(), vec![Draft::turn(Turn::End)]).await.map(|_| ()).map_err(|_| Down)
    }

    /// Closes the log for good: its last entry names the log that continues it. Nobody writes to it after that, this server
    /// included.
    ///
    /// # Errors
    /// [`Down`] when the entry was not committed.
    pub async fn close(&self, next: String) -> Result<(), Down> {
        self.submit(Vec::new(), vec![Draft::close(next)]).await.map(|_| ()).map_err(|_| Down)
    }

    /// Records that a witness speaks of a fork.
    ///
    /// # Errors
    /// [`Down`] when the entry was not committed.
    pub async fn alarm(&self, witness: String, size: u64) -> Result<(), Down> {
        let draft =
            Draft::other(move |node, time_micros| Control::ForkAlarm { node, time_micros, witness, size });
        self.submit(Vec::new(), vec![draft]).await.map(|_| ()).map_err(|_| Down)
    }

    fn audited(&self, answer: Answer, index: u64) -> Audited<Answer> {
        Audited::new(answer, Receipt::new(Arc::clone(&self.origin), index))
    }

    /// Hands a submission to the committer and waits; the index of its last entry.
    async fn submit(&self, changes: Changes, drafts: Vec<Draft>) -> Result<u64, Rejected> {
        let (reply, outcome) = oneshot::channel();
        let submission = Submission { changes, drafts, reply };
        self.submissions.try_send(submission).map_err(|_| Rejected::Down)?;
        match tokio::time::timeout(COMMIT_TIMEOUT, outcome).await {
            Ok(Ok(Outcome::Committed(index))) => Ok(index),
            Ok(Ok(Outcome::Stale)) => Err(Rejected::Stale),
            Ok(Ok(Outcome::Down) | Err(_)) | Err(_) => Err(Rejected::Down),
        }
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
