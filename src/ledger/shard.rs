//! One of the logs that are written side by side: its committer's door, and its readers.
//!
//! May import everything of the ledger but its whole.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use chrono::{DateTime, Utc};
use custodia_audit::{Control, Vkey};
use tokio::sync::{mpsc, oneshot};

use super::{
    COMMIT_TIMEOUT, Down, Purpose, Receipt, Rejected, Setup, SetupError, WAITING_MAX,
    committer::{Committer, Outcome, State, Submission},
    counts::Counts,
    draft::{Changes, Draft},
    head, keys,
    reader::{LedgerReader, ReadError},
    settled::Settled,
    signing::{Signing, Turn},
};
use crate::{config::origin_of, store::lane::Beat};

/// Which of how many logs that are written side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Side {
    pub(super) number: i16,
    pub(super) count: i16,
}

impl Side {
    /// What the log says of it.
    pub(super) fn said(self, node: String, time_micros: i64) -> Control {
        let wide = |number: i16| u64::from(number.unsigned_abs());
        Control::Shards { node, time_micros, shard: wide(self.number), count: wide(self.count) }
    }
}

/// A log of this server.
pub struct Shard {
    submissions: mpsc::Sender<Submission>,
    /// Submissions that wait or are being committed.
    busy: AtomicUsize,
    side: Side,
    origin: Arc<str>,
    vkey: Vkey,
    reader: LedgerReader,
    /// The logs before this one, the newest first.
    earlier: Vec<LedgerReader>,
    settled: Arc<Settled>,
}

/// A log that is whole and that no anchor knows more of; nothing has been signed for it yet.
pub(super) struct Opened {
    pub(super) side: Side,
    origin: Arc<str>,
    vkey: Vkey,
    pub(super) signing: Arc<Signing>,
    pub(super) reader: LedgerReader,
    earlier: Vec<LedgerReader>,
}

impl Opened {
    /// Makes or checks a head, has `guard` look at it, and follows the logs before it.
    pub(super) async fn open<E: From<SetupError>>(
        setup: &Setup<'_>,
        (side, purpose): (Side, &Purpose),
        guard: impl AsyncFn(&LedgerReader) -> Result<(), E>,
    ) -> Result<Self, E> {
        let origin: Arc<str> = origin_of(setup.origin, side.number).into();
        let signing = Arc::new(Signing::new(Arc::clone(setup.keyring.keystore()), &origin));
        let number = setup.shard.saturating_add(side.number);
        let (signer, next) = head::prepare(setup.database, number, &signing, setup.clock.now()).await?;
        if let Some(next) = next.filter(|next| purpose.next(side.number).as_ref() != Some(next)) {
            return Err(SetupError::Closed(next).into());
        }
        let reader = LedgerReader::new(
            Arc::clone(&setup.store),
            Arc::clone(&setup.keyring),
            setup.clock.clone(),
            number,
            Arc::clone(&signing),
        );
        guard(&reader).await?;
        let earlier = reader.earlier(purpose.link(side.number)).await.map_err(|error| match error {
            ReadError::Store(error) => SetupError::Store(error),
            _ => SetupError::Head("a log that it continues is not the one that its first entry commits to"),
        })?;
        Ok(Self { side, origin, vkey: signer.vkey(), signing, reader, earlier })
    }

    /// Starts the committer and records the start; what was opened to be closed says no more.
    pub(super) async fn start(
        self,
        setup: &Setup<'_>,
        purpose: &Purpose,
        counts: &Arc<Counts>,
    ) -> Result<Shard, SetupError> {
        let Self { side, origin, vkey, signing, reader, earlier } = self;
        let (submissions, receiver) = mpsc::channel(WAITING_MAX);
        let keys =
            keys::AuditKeys::new(Arc::clone(&setup.store), Arc::clone(&setup.keyring), setup.clock.clone());
        let settled = Arc::<Settled>::default();
        let committer = Committer {
            database: setup.database.clone(),
            shard: reader.shard(),
            place: side,
            origin: Arc::clone(&origin),
            node: setup.clock.ordered_id().to_string(),
            signing,
            keys,
            clock: setup.clock.clone(),
            counts: Arc::clone(counts),
            beat: Beat::new(Arc::clone(setup.store.fetcher().pace())),
            settled: Arc::clone(&settled),
            state: State::default(),
        };
        crate::store::lane::spawn("ledger", committer.run(receiver))?;
        let busy = AtomicUsize::new(0);
        let shard = Shard { submissions, busy, side, origin, vkey, reader, earlier, settled };
        if matches!(purpose, Purpose::Close(_)) {
            return Ok(shard);
        }
        let mut drafts = vec![Draft::start()];
        if side.count > 1 {
            drafts.push(Draft::shards());
        }
        shard.submit(Vec::new(), drafts).await.map_err(|_| SetupError::Down(Down))?;
        Ok(shard)
    }
}

impl Shard {
    /// Name of the log.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Its number among those written side by side.
    #[must_use]
    pub const fn number(&self) -> i16 {
        self.side.number
    }

    /// The key its checkpoints were signed with when it was opened; of two the newer.
    #[must_use]
    pub const fn vkey(&self) -> &Vkey {
        &self.vkey
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

    /// Says that this server is alive, with the sequence number its next entry will have.
    ///
    /// # Errors
    /// [`Down`] when the entry was not committed.
    pub async fn heartbeat(&self) -> Result<(), Down> {
        self.say(Draft::heartbeat()).await
    }

    /// Records that a range of the log was exported.
    ///
    /// # Errors
    /// [`Down`] when the entry was not committed.
    pub async fn exported(&self, first: u64, end: u64, size: u64) -> Result<(), Down> {
        self.say(Draft::export(first, end, size)).await
    }

    /// Has the key that waits in the keystore sign each checkpoint from here on, beside the older one.
    ///
    /// # Errors
    /// [`Down`] when the entry that says so was not committed, as when they do already.
    pub async fn begin_rotation(&self) -> Result<(), Down> {
        self.say(Draft::turn(Turn::Begin)).await
    }

    /// Has the older of two keys sign no more.
    ///
    /// # Errors
    /// [`Down`] when the entry that says so was not committed, as when only one signs.
    pub async fn end_rotation(&self) -> Result<(), Down> {
        self.say(Draft::turn(Turn::End)).await
    }

    /// Records that a witness speaks of a fork.
    ///
    /// # Errors
    /// [`Down`] when the entry was not committed.
    pub async fn alarm(&self, witness: String, size: u64) -> Result<(), Down> {
        self.say(Draft::other(move |node, time_micros| Control::ForkAlarm {
            node,
            time_micros,
            witness,
            size,
        }))
        .await
    }

    async fn say(&self, draft: Draft) -> Result<(), Down> {
        self.submit(Vec::new(), vec![draft]).await.map(|_| ()).map_err(|_| Down)
    }

    /// Submissions that wait or are being committed.
    pub(super) fn busy(&self) -> usize {
        self.busy.load(Ordering::Relaxed)
    }

    /// Hands a submission to the committer and waits; where its last entry is.
    pub(super) async fn submit(&self, changes: Changes, drafts: Vec<Draft>) -> Result<Receipt, Rejected> {
        self.hand(changes, drafts, None).await
    }

    /// Settles what was written up to an instant.
    pub(super) async fn settle(&self, up_to: DateTime<Utc>) -> Result<(), Rejected> {
        self.hand(Vec::new(), Vec::new(), Some(up_to)).await.map(|_| ())
    }

    /// The instant before which nothing can be dated any more.
    pub(super) fn settled(&self) -> DateTime<Utc> {
        self.settled.at()
    }

    async fn hand(
        &self,
        changes: Changes,
        drafts: Vec<Draft>,
        settles: Option<DateTime<Utc>>,
    ) -> Result<Receipt, Rejected> {
        let _busy = Busy::one_of(&self.busy);
        let (reply, outcome) = oneshot::channel();
        let submission = Submission { changes, drafts, settles, reply };
        self.submissions.try_send(submission).map_err(|_| Rejected::Down)?;
        match tokio::time::timeout(COMMIT_TIMEOUT, outcome).await {
            Ok(Ok(Outcome::Committed(index))) => Ok(Receipt::new(Arc::clone(&self.origin), index)),
            Ok(Ok(Outcome::Stale(why))) => Err(why.into()),
            Ok(Ok(Outcome::Down) | Err(_)) | Err(_) => Err(Rejected::Down),
        }
    }
}

/// One of those that wait, for as long as it does.
struct Busy<'a>(&'a AtomicUsize);

impl<'a> Busy<'a> {
    fn one_of(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
