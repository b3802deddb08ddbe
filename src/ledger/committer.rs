//! The committer: whatever waits, one transaction, one fsync.
//!
//! Order of a batch, which is the design:
//!
//! 1. take what waits;
//! 2. lock the head;
//! 3. lock what is changed, and test what it stands on;
//! 4. number the entries, commit to them, seal their bodies;
//! 5. write versions and entries;
//! 6. recompute the tree from what the database says it holds;
//! 7. sign, with the keys that signed the head that is locked;
//! 8. move the head from exactly the old size and root;
//! 9. commit;
//! 10. wake the waiters.
//!
//! If we crash before 9 nothing has happened and nobody was answered; after it everything has, and whoever was
//! not answered will find it done. A signature from 7 whose transaction fails is dropped with the batch: it
//! never left this process.

use std::{collections::HashMap, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use custodia_audit::{Checkpoint, Control, Edge, Event, Hash, Leaf, Outcome as Ended, Signer, Tile};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use futures_util::try_join;
use tokio::sync::{mpsc, oneshot};

use super::{
    counts::Counts,
    draft::{AccessDraft, Changes, ControlDraft, Draft},
    fault::BatchError,
    head::{self, signed},
    keys::{AuditKeys, month_of},
    rows::{Rows, grow, insert_tiles},
    settled::Settled,
    shard::Side,
    signing::{Signing, Unsignable},
    stale::{Stale, stale},
};
use crate::{
    clock::Clock,
    refusal::causes,
    seal::{AuditKey, Sealed},
    store::{
        Database,
        lane::{self, Beat},
        statement::Statement,
        write,
    },
    tenant::TenantId,
};

/// Submissions in one transaction.
pub(super) const BATCH_SUBMISSIONS_MAX: usize = 512;
/// Changes and entries in one transaction, unless a single submission has more.
pub(super) const BATCH_CHANGES_MAX: usize = 1_024;
/// How long one batch may take before its connection is given up.
const BATCH_TIMEOUT: Duration = Duration::from_secs(20);

/// Changes with the position of the draft that records each, the drafts, and who waits.
pub(super) struct Submission {
    pub(super) changes: Changes,
    pub(super) drafts: Vec<Draft>,
    /// Up to when it settles what is written.
    pub(super) settles: Option<DateTime<Utc>>,
    pub(super) reply: oneshot::Sender<Outcome>,
}

impl Submission {
    fn weight(&self) -> usize {
        self.changes.len() + self.drafts.len()
    }
}

/// What became of a submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Durable; the index of its last entry.
    Committed(u64),
    /// It does not stand any more; nothing of it was written.
    Stale(Stale),
    /// Not committed, or not known to be.
    Down,
}

/// The committer of one shard.
pub(super) struct Committer {
    pub(super) database: Database,
    pub(super) shard: i16,
    /// Which of how many logs that are written side by side.
    pub(super) place: Side,
    pub(super) origin: Arc<str>,
    /// Name of this process in the log.
    pub(super) node: String,
    pub(super) signing: Arc<Signing>,
    pub(super) keys: AuditKeys,
    pub(super) clock: Clock,
    pub(super) counts: Arc<Counts>,
    pub(super) beat: Beat,
    pub(super) settled: Arc<Settled>,
    pub(super) state: State,
}

/// What the committer knows from its last batch.
#[derive(Default)]
pub(super) struct State {
    connection: Option<AsyncPgConnection>,
    /// The tree at the size this process last saw, and its root.
    edge: Option<(Edge, Hash)>,
    /// The head of this process's last commit, which no failure forgets: the log never has less.
    seen: Option<(i64, Hash)>,
    /// Its checkpoint, and the keys that signed it.
    signed: Option<Signed>,
    /// Sequence number of this node's next access entry.
    sequence: u64,
    /// Time of this node's last entry: time never runs back in the log.
    last: DateTime<Utc>,
}

impl Committer {
    /// Commits until the last sender is gone.
    pub(super) async fn run(mut self, mut receiver: mpsc::Receiver<Submission>) {
        let mut waiting: Vec<Submission> = Vec::with_capacity(BATCH_SUBMISSIONS_MAX);
        loop {
            if waiting.is_empty() && receiver.recv_many(&mut waiting, BATCH_SUBMISSIONS_MAX).await == 0 {
                return;
            }
            let batch = next_batch(&mut waiting);
            let settles = batch.iter().filter_map(|submission| submission.settles).max();
            let (replies, work): (Vec<_>, Vec<_>) =
                batch.into_iter().map(|s| (s.reply, (s.changes, s.drafts))).unzip();
            self.beat.begin();
            let outcomes = self.commit(work, settles).await;
            for (reply, outcome) in replies.into_iter().zip(outcomes) {
                // A caller that gave up waiting has no use for the answer; what is committed stays committed.
                reply.send(outcome).ok();
            }
            self.beat.end();
        }
    }

    async fn commit(&mut self, work: Vec<Work>, settles: Option<DateTime<Utc>>) -> Vec<Outcome> {
        let count = work.len();
        let drafts: Vec<usize> = work.iter().map(|(_, drafts)| drafts.len()).collect();
        let result = match tokio::time::timeout(BATCH_TIMEOUT, self.attempt(work, settles)).await {
            Ok(result) => result,
            Err(_) => Err(BatchError::Away),
        };
        match result {
            Ok(outcomes) => {
                let written =
                    outcomes.iter().zip(drafts).filter(|(done, _)| !matches!(done, Outcome::Stale(_)));
                let entries = written.map(|(_, drafts)| drafts).sum();
                self.counts.committed(
                    self.place.number,
                    (count, entries),
                    self.state.edge.as_ref().map_or(0, |(edge, _)| edge.size()),
                );
                outcomes
            }
            Err(error) => {
                self.counts.lost(self.place.number);
                tracing::error!(event = "ledger_batch_failed", error = causes(&error), submissions = count);
                // Nothing of the batch counts. The connection may be in any state and the edge may have
                // grown: both are made anew from what the database says.
                self.state.connection = None;
                self.state.edge = None;
                vec![Outcome::Down; count]
            }
        }
    }

    async fn attempt(
        &mut self,
        work: Vec<Work>,
        settles: Option<DateTime<Utc>>,
    ) -> Result<Vec<Outcome>, BatchError> {
        let now = self.clock.now().max(self.state.last);
        let month = month_of(now);
        let mut keys = HashMap::new();
        for draft in work.iter().flat_map(|(_, drafts)| drafts) {
            if let Draft::Access(access) = draft
                && !keys.contains_key(&access.tenant)
            {
                keys.insert(access.tenant, self.keys.sealing(access.tenant, month).await?);
            }
        }
        if self.state.connection.is_none() {
            let mut connection = self.database.connect().await.map_err(|_| BatchError::Away)?;
            lane::settle(&mut connection).await?;
            self.state.connection = Some(connection);
        }
        // Taken out: a batch that fails takes its connection with it, and PostgreSQL rolls it back.
        let connection = self.state.connection.take().ok_or(BatchError::Away)?;
        let edge = self.state.edge.take();
        let batch = Batch {
            shard: self.shard,
            place: self.place,
            origin: &self.origin,
            node: &self.node,
            signing: &self.signing,
            signed: self.state.signed.as_ref(),
            keys: &keys,
            now,
            month,
            seen: self.state.seen,
            sequence: self.state.sequence,
            beat: &self.beat,
            settles,
        };
        let done = batch.run(&connection, edge, work).await?;
        self.settled.raise(done.settled);
        self.state.connection = Some(connection);
        self.state.seen = Some((signed(done.edge.0.size()), done.edge.1));
        self.state.signed = Some(done.signed);
        self.state.edge = Some(done.edge);
        self.state.sequence = done.sequence;
        self.state.last = now;
        Ok(done.outcomes)
    }
}

/// Cuts the next batch off what waits: at least one submission, then as many as fit.
fn next_batch(waiting: &mut Vec<Submission>) -> Vec<Submission> {
    let mut weight = 0;
    let fits = waiting
        .iter()
        .take_while(|submission| {
            weight += submission.weight();
            weight <= BATCH_CHANGES_MAX
        })
        .count();
    let rest = waiting.split_off(fits.max(1).min(waiting.len()));
    std::mem::replace(waiting, rest)
}

type Work = (Changes, Vec<Draft>);

/// What one transaction works with.
struct Batch<'a> {
    shard: i16,
    place: Side,
    origin: &'a str,
    node: &'a str,
    signing: &'a Signing,
    signed: Option<&'a Signed>,
    keys: &'a HashMap<TenantId, Arc<AuditKey>>,
    seen: Option<(i64, Hash)>,
    now: DateTime<Utc>,
    month: i32,
    sequence: u64,
    beat: &'a Beat,
    settles: Option<DateTime<Utc>>,
}

/// A checkpoint, and the keys that signed it.
type Signed = (String, Arc<Signer>);

struct Done {
    edge: (Edge, Hash),
    signed: Signed,
    sequence: u64,
    outcomes: Vec<Outcome>,
    settled: DateTime<Utc>,
}

impl Batch<'_> {
    /// Statements that do not need each other's answers are sent together (in their order, which one connection
    /// keeps): a batch waits for PostgreSQL three times.
    async fn run(
        &self,
        connection: &AsyncPgConnection,
        edge: Option<(Edge, Hash)>,
        work: Vec<Work>,
    ) -> Result<Done, BatchError> {
        let (_, head, stale) = try_join!(
            execute(connection, "BEGIN"),
            head::lock(connection, self.shard),
            stale(connection, &work)
        )?;
        self.stands(&head)?;
        let mut signer = match self.signed {
            Some((note, signer)) if *note == head.checkpoint => Arc::clone(signer),
            // One size has one checkpoint: somebody has taken a signature away, and with it a key.
            Some(_) if self.seen.is_some_and(|(size, _)| head.size == size) => Err(Unsignable::Differs)?,
            _ => self.signing.after(&head).await?,
        };
        let mut edge = match edge {
            Some((edge, root)) if signed(edge.size()) == head.size && root.0.as_slice() == head.root => edge,
            // Another server moved the head, or this one has just started or failed.
            _ => head::load_open_edge(connection, self.shard, &head).await?,
        };
        let mut rows = Rows::default();
        let mut versions = Vec::new();
        let mut outcomes = Vec::with_capacity(work.len());
        let mut index = edge.size();
        let mut sequence = self.sequence;
        let settled = head.settled_by(self.settles);
        for ((changes, drafts), stale) in work.into_iter().zip(stale) {
            if let Some(why) = Stale::of(stale, &changes, head.settled) {
                outcomes.push(Outcome::Stale(why));
                continue;
            }
            versions.extend(
                changes.into_iter().map(|(version, draft)| (version, signed(index) + signed_usize(draft))),
            );
            for draft in drafts {
                self.number(&mut rows, index, (&mut sequence, &mut signer), draft)?;
                index += 1;
            }
            outcomes.push(Outcome::Committed(index.saturating_sub(1)));
        }
        if rows.indexes.is_empty() {
            if settled > head.settled {
                head::settle(connection, self.shard, settled).await?;
                execute(connection, "COMMIT").await?;
            } else {
                execute(connection, "ROLLBACK").await?;
            }
            let root = edge.root();
            let signed = (head.checkpoint, signer);
            return Ok(Done { edge: (edge, root), signed, sequence, outcomes, settled });
        }
        let ((), inserted) = try_join!(
            write::write(connection, versions, (self.shard, self.now)),
            rows.insert(connection, self.shard)
        )?;
        let tiles = grow(&mut edge, inserted, index).ok_or(BatchError::Fatal)?;
        let (root, note) = self.advance(connection, (&head, settled), &edge, tiles, &signer).await?;
        Ok(Done { edge: (edge, root), signed: (note, signer), sequence, outcomes, settled })
    }

    /// Whether anything may be written and signed over a head.
    fn stands(&self, head: &head::Head) -> Result<(), BatchError> {
        // INVARIANT: all servers agree how many logs there are, so that a tenant's changes are in one of them alone
        // (`a_server_that_knows_of_fewer_logs_writes_nothing`).
        if head.shards != self.place.count {
            return Err(BatchError::Shards(head.shards));
        }
        // INVARIANT: nothing is signed over a head that lost what was committed
        // (`a_database_put_back_under_a_running_server_is_not_signed_over`).
        let is_back = |(size, root): (i64, Hash)| {
            head.size < size || (head.size == size && head.root.as_slice() != root.0.as_slice())
        };
        if self.seen.is_some_and(is_back) {
            return Err(BatchError::PutBack);
        }
        Ok(())
    }

    /// Gives a draft its index: encodes, commits and seals.
    fn number(
        &self,
        rows: &mut Rows,
        index: u64,
        (sequence, signer): (&mut u64, &mut Arc<Signer>),
        draft: Draft,
    ) -> Result<(), BatchError> {
        match draft {
            Draft::Access(draft) => {
                let (tenant, patient) = (draft.tenant, draft.patient);
                let key = self.keys.get(&tenant).ok_or(BatchError::Fatal)?;
                let (leaf, body) = self.seal(*draft, *sequence, key)?;
                *sequence += 1;
                rows.push(index, tenant, self.month, patient, leaf, Some(body));
            }
            Draft::Control(draft) => {
                let (node, time_micros) = (self.node.to_owned(), self.now.timestamp_micros());
                let control = match draft {
                    ControlDraft::Start => {
                        Control::Start { node, time_micros, version: env!("CARGO_PKG_VERSION").to_owned() }
                    }
                    ControlDraft::Heartbeat => Control::Heartbeat { node, time_micros, sequence: *sequence },
                    ControlDraft::Export { first, end, size } => {
                        Control::Export { node, time_micros, first, end, size }
                    }
                    ControlDraft::Turn(turn) => {
                        let (turned, control) = self.signing.turn(signer, turn, time_micros)?;
                        *signer = Arc::new(turned);
                        control
                    }
                    ControlDraft::Shards => self.place.said(node, time_micros),
                    ControlDraft::Other(make) => make(node, time_micros),
                };
                rows.push(index, TenantId::HOUSE, self.month, None, Leaf::Control(control).to_bytes(), None);
            }
        }
        Ok(())
    }

    fn seal(
        &self,
        draft: AccessDraft,
        sequence: u64,
        key: &AuditKey,
    ) -> Result<(Vec<u8>, Sealed), BatchError> {
        let event = Event {
            origin: self.origin.to_owned(),
            kind: draft.kind,
            time_micros: self.now.timestamp_micros(),
            node: self.node.to_owned(),
            sequence,
            request: draft.request.into_bytes(),
            outcome: Ended { status: draft.status, code: draft.code },
        };
        let (commitment, body) = draft.groups.commit(&event.to_group());
        let sealed = key.seal_body(draft.tenant, &commitment, &body)?;
        Ok((Leaf::Access(commitment).to_bytes(), sealed))
    }

    /// Signs the new tree, moves the head from exactly where it was, and commits.
    async fn advance(
        &self,
        connection: &AsyncPgConnection,
        (head, settled): (&head::Head, DateTime<Utc>),
        edge: &Edge,
        tiles: Vec<Tile>,
        signer: &Signer,
    ) -> Result<(Hash, String), BatchError> {
        let root = edge.root();
        let checkpoint = Checkpoint { origin: self.origin.to_owned(), size: edge.size(), root };
        let note = signer.sign_checkpoint(&checkpoint).map_err(|_| BatchError::Fatal)?;
        let next = head::Next {
            size: signed(edge.size()),
            root: root.0.to_vec(),
            checkpoint: note.clone(),
            updated: self.now,
            settled,
        };
        let moved = head::moved(self.shard, head, next);
        // What is left is PostgreSQL's and the disk's: fetches for the next batch can go on beside it.
        self.beat.end();
        let (_, moved, _) = try_join!(
            insert_tiles(connection, self.shard, tiles),
            async { moved.execute(&mut &*connection).await },
            execute(connection, "COMMIT")
        )?;
        if moved == 1 { Ok((root, note)) } else { Err(BatchError::Fatal) }
    }
}

/// A statement without parameters. Prepared like the others, so that it keeps its place among them.
async fn execute(connection: &AsyncPgConnection, text: &'static str) -> diesel::QueryResult<usize> {
    Statement::new(text).execute(&mut &*connection).await
}

fn signed_usize(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
