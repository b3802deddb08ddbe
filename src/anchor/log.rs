//! The anchors of one log: its last checkpoint in the home, its mirrors, its witnesses.
//!
//! May import `config`, `durable`, `ledger`, `seal`. Order of a round: witnesses, home, mirrors. If we crash between them the next
//! round does what is missing: none speaks of the others.

use std::{
    fs, io,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use custodia_audit::{
    Checkpoint, Edge, NOTE_BYTES_MAX, NoteSignature, POLICY_BYTES_MAX, Policy, TileId,
    witness::{add_cosignatures, origin_hash},
};
use futures_util::future::join_all;

use super::{
    AnchorCounts, AnchorError, Bucket, Mirror, MirrorError, NoQuorum,
    ask::{Asked, Asking},
    recount::{Known, Recounted, recount},
};
use crate::{
    config::Config,
    durable::{self, Durable},
    ledger::{LedgerReader, Shard},
    refusal::causes,
    seal::LogKeys,
};

/// How often a head is read anew because a witness has moved on meanwhile.
const HEADS_MAX: usize = 5;

/// The anchors of one log.
pub struct LogAnchors {
    pub(super) keys: LogKeys,
    policy: Policy,
    pub(super) witnesses: Vec<Asking>,
    pub(super) folder: PathBuf,
    /// In a folder, in a bucket.
    mirrors: [Option<Mirror>; 2],
    durable: Durable,
    counts: Arc<AnchorCounts>,
    /// The mirrors' size, as far as this process brought them.
    mirrored: AtomicU64,
    /// What the last round left behind, so that one without news costs nothing.
    kept: Mutex<Kept>,
    /// Where something was found that is not what it was.
    damages: Mutex<Known>,
}

#[derive(Default)]
struct Kept {
    size: Option<u64>,
    cosigned: Option<(String, Checkpoint)>,
}

/// What the witnesses said of a head.
struct Collected<'a> {
    /// The head with the cosignatures there are.
    note: String,
    /// Who answered, and whether it speaks of a fork.
    heard: Vec<(&'a Asking, bool)>,
    /// Whether one has seen a later head, which the database has as well.
    later: bool,
}

impl LogAnchors {
    /// The anchors that the configuration of one log names, of the log that `keys` sign.
    pub(super) fn open(
        config: &Config,
        keys: LogKeys,
        durable: Durable,
        counts: Arc<AnchorCounts>,
    ) -> Result<Self, AnchorError> {
        let policy = match &config.ledger.policy {
            None => Policy::default(),
            Some(path) => {
                let bytes = fs::read(path).map_err(|error| AnchorError::File(path.clone(), error))?;
                Policy::parse(bytes.get(..=POLICY_BYTES_MAX).unwrap_or(&bytes))?
            }
        };
        // Somebody else in this process may have chosen a provider; it is ring's, there is no other in this build.
        drop(rustls::crypto::ring::default_provider().install_default());
        let http = client(config)?;
        let asking = |witness: &custodia_audit::PolicyWitness| {
            let name = || witness.vkey.name().to_owned();
            let url = witness
                .url
                .as_deref()
                .filter(|url| may_be_asked(url))
                .ok_or_else(|| AnchorError::Url(name()))?;
            Ok::<_, AnchorError>(Asking::new(witness.vkey.clone(), url, http.clone()))
        };
        let witnesses = policy.witnesses().iter().map(asking).collect::<Result<_, _>>()?;
        let folder = config.home.join("anchor").join(origin_hash(keys.origin()));
        let mirrors = [
            config.ledger.mirror.clone().map(|folder| Mirror::new(folder, durable.clone(), keys.clone())),
            Bucket::open(&config.bucket)?.map(|bucket| Mirror::in_bucket(bucket, keys.clone())),
        ];
        let (kept, mirrored) = (Mutex::default(), AtomicU64::new(0));
        let damages = Mutex::default();
        let anchors =
            Self { keys, policy, witnesses, folder, mirrors, durable, counts, kept, mirrored, damages };
        anchors.kept.lock().unwrap_or_else(PoisonError::into_inner).cosigned = anchors.last_cosigned()?;
        Ok(anchors)
    }

    /// Name of the log.
    #[must_use]
    pub fn origin(&self) -> &str {
        self.keys.origin()
    }

    /// The size that the quorum cosigned last, and the mirrors' size.
    pub(super) fn sizes(&self) -> (u64, u64) {
        let cosigned = self.cosigned().map_or(0, |(_, checkpoint)| checkpoint.size);
        (cosigned, self.mirrored.load(Ordering::Relaxed))
    }

    /// The mirrors there are: the folder's, the bucket's.
    pub fn mirrors(&self) -> impl Iterator<Item = &Mirror> {
        self.mirrors.iter().flatten()
    }

    /// The last checkpoint that the policy's quorum cosigned; without a quorum there is none.
    #[must_use]
    pub fn cosigned(&self) -> Option<(String, Checkpoint)> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).cosigned.clone()
    }

    /// A tile or entry bundle of the folder's mirror: nobody waits for a bucket.
    ///
    /// # Errors
    /// [`MirrorError`].
    pub async fn tile(&self, id: &TileId, path: &str) -> Result<Option<Vec<u8>>, MirrorError> {
        let [Some(mirror), _] = &self.mirrors else { return Ok(None) };
        mirror.file(id, path).await
    }

    /// Brings every anchor up to the log's head, unless all are there.
    pub(super) async fn round(&self, log: &Shard) {
        let (note, head) = match log.reader().checkpoint().await {
            Ok(read) => read,
            Err(_) => return,
        };
        if self.kept.lock().unwrap_or_else(PoisonError::into_inner).size == Some(head.size) {
            return;
        }
        let Collected { note, heard, .. } = self.collect(log.reader(), &note, &head).await;
        self.raise(log, heard, head.size).await;
        let met = self.policy.asks_witnesses() && self.opened(note.as_bytes()).is_some();
        if self.policy.asks_witnesses() && !met {
            tracing::warn!(event = "quorum_missing", size = head.size);
        }
        let kept = self
            .keep(&note, met)
            .await
            .map_err(|error| tracing::error!(event = "anchor_not_kept", error = error.to_string()));
        let mirrored = self.advance(log.reader(), &note, &head).await;
        let mut last = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if met && kept.is_ok() {
            last.cosigned = Some((note, head.clone()));
        }
        let all = kept.is_ok() && mirrored && (met || !self.policy.asks_witnesses());
        last.size = all.then_some(head.size);
    }

    /// Asks every witness about the head.
    async fn collect(&self, reader: &LedgerReader, note: &str, head: &Checkpoint) -> Collected<'_> {
        let asked = join_all(self.witnesses.iter().map(|witness| witness.ask(reader, note, head))).await;
        let mut lines: Vec<NoteSignature> = Vec::new();
        let (mut heard, mut later) = (Vec::new(), false);
        for (witness, asked) in self.witnesses.iter().zip(asked) {
            match asked {
                Ok(Asked::Cosigned(more)) => {
                    lines.extend(more);
                    heard.push((witness, false));
                }
                // Another server of this log may have shown it a later head; a log shorter than that was put back.
                Ok(Asked::Later(size)) => {
                    if let Ok((_, now)) = reader.checkpoint().await {
                        heard.push((witness, size > now.size));
                        later |= size <= now.size;
                    }
                }
                Ok(Asked::Forked) => heard.push((witness, true)),
                Ok(Asked::Away(why)) => {
                    AnchorCounts::up(&self.counts.witness_failures);
                    tracing::warn!(event = "witness_away", witness = witness.vkey.name(), error = why);
                }
                Err(_) => {}
            }
        }
        let note = add_cosignatures(note, &lines, &self.policy).unwrap_or_else(|_| note.to_owned());
        Collected { note, heard, later }
    }

    /// Raises an alarm for each witness that speaks of a fork and did not before.
    async fn raise(&self, log: &Shard, heard: Vec<(&Asking, bool)>, size: u64) {
        for (witness, alarm) in heard {
            if !witness.is_news(alarm) {
                continue;
            }
            AnchorCounts::up(&self.counts.fork_alarms);
            let name = witness.vkey.name().to_owned();
            tracing::error!(event = "log_forked", witness = name.as_str(), size);
            if log.alarm(name, size).await.is_err() {
                tracing::error!(event = "fork_alarm_lost");
            }
        }
    }

    async fn keep(&self, note: &str, met: bool) -> io::Result<()> {
        let mut files = vec![(self.folder.join("checkpoint"), note.as_bytes().to_vec())];
        if met {
            files.push((self.folder.join("cosigned"), note.as_bytes().to_vec()));
        }
        let durable = self.durable.clone();
        let put = tokio::task::spawn_blocking(move || durable.put_all(&files)).await;
        let put = put.unwrap_or_else(|_| Err(io::Error::other("writing broke off")));
        put.inspect_err(|_| AnchorCounts::up(&self.counts.mirror_failures))
    }

    /// Brings the mirrors up; whether all of them are.
    async fn advance(&self, reader: &LedgerReader, note: &str, head: &Checkpoint) -> bool {
        let advanced = join_all(self.mirrors().map(|mirror| mirror.advance(reader, note, head))).await;
        let mut least: Option<u64> = None;
        for (mirror, advanced) in self.mirrors().zip(&advanced) {
            match advanced {
                Ok(size) => least = Some(least.map_or(*size, |least| least.min(*size))),
                Err(error) => {
                    AnchorCounts::up(&self.counts.mirror_failures);
                    let error = format!("{}: {}", mirror.checkpoint_place(), causes(error));
                    tracing::error!(event = "mirror_not_advanced", error);
                }
            }
        }
        let all = advanced.iter().all(Result::is_ok);
        if let Some(size) = least.filter(|_| all) {
            self.mirrored.store(size, Ordering::Relaxed);
        }
        // One that another server has brought to less than this head is brought up by the next round.
        all && least.is_none_or(|size| size >= head.size)
    }

    /// Reads this log, or one that it continues, anew and raises an alarm in `shard`, which is this log's, where it is not what it
    /// was and this is news.
    pub(super) async fn recount(
        &self,
        (reader, shard): (&LedgerReader, &Shard),
        rest: Duration,
    ) -> Recounted {
        let [folder, _] = &self.mirrors;
        let mirror = folder.as_ref().filter(|_| reader.origin() == self.origin());
        let found = recount(reader, mirror, rest).await;
        for (place, first) in found.places() {
            let name = format!("{place} of {}", reader.origin());
            match first {
                Some(first) => self.tell(shard, name, first).await,
                // What was not read to its end may have it still.
                None if found.whole => drop(self.damages().remove(&name)),
                None => {}
            }
        }
        AnchorCounts::add(&self.counts.recounted_entries, found.entries);
        if !found.whole {
            AnchorCounts::up(&self.counts.recount_failures);
        }
        found
    }

    /// Raises an alarm, unless the one for this very entry was recorded.
    async fn tell(&self, shard: &Shard, name: String, first: u64) {
        if self.damages().get(&name) == Some(&Some(first)) {
            return;
        }
        tracing::error!(event = "log_damaged", error = name.as_str(), entry = first);
        // INVARIANT: one that was not recorded is raised again by the next reading
        // (`an_alarm_that_could_not_be_recorded_is_raised_again`).
        let told = shard.alarm(name.clone(), first).await;
        if told.is_err() {
            tracing::error!(event = "damage_alarm_lost");
        }
        self.damages().insert(name, told.ok().map(|()| first));
    }

    /// In how many places something was found.
    pub(super) fn damaged(&self) -> u64 {
        u64::try_from(self.damages().len()).unwrap_or(u64::MAX)
    }

    fn damages(&self) -> MutexGuard<'_, Known> {
        self.damages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The current checkpoint for an export, with its edge: cosigned by the policy's quorum, if the policy asks for one.
    ///
    /// # Errors
    /// [`NoQuorum`].
    pub(super) async fn for_export(&self, reader: &LedgerReader) -> Result<(String, Edge), NoQuorum> {
        for _ in 0..HEADS_MAX {
            let (note, edge) = reader.edge().await?;
            if !self.policy.asks_witnesses() {
                return Ok((note, edge));
            }
            let origin = reader.origin().to_owned();
            let head = Checkpoint { origin, size: edge.size(), root: edge.root() };
            // The server beside us may have shown the witnesses a later head meanwhile: then we look again.
            let Collected { note, later, .. } = self.collect(reader, &note, &head).await;
            if self.opened_of(note.as_bytes(), reader.origin()).is_some() {
                return Ok((note, edge));
            }
            if !later {
                break;
            }
        }
        Err(NoQuorum::Missing)
    }

    /// A checkpoint of the log that its keys, as they are known now, signed and the policy's quorum cosigned.
    fn opened(&self, note: &[u8]) -> Option<Checkpoint> {
        self.opened_of(note, self.keys.origin())
    }

    /// The same of this log, or one that it continues.
    fn opened_of(&self, note: &[u8], origin: &str) -> Option<Checkpoint> {
        let policy = self.keys.of(origin).known().into_iter().fold(self.policy.clone(), Policy::with_log);
        policy.open(note, origin).ok().map(|(checkpoint, _)| checkpoint)
    }

    fn last_cosigned(&self) -> Result<Option<(String, Checkpoint)>, AnchorError> {
        let path = self.folder.join("cosigned");
        let note = durable::read(&path, NOTE_BYTES_MAX).map_err(|error| AnchorError::File(path, error))?;
        // One that another policy's quorum cosigned is none of ours.
        let opened = |note: Vec<u8>| {
            let checkpoint = self.opened(&note)?;
            Some((String::from_utf8(note).ok()?, checkpoint))
        };
        Ok(note.filter(|_| self.policy.asks_witnesses()).and_then(opened))
    }
}

fn client(config: &Config) -> Result<reqwest::Client, AnchorError> {
    let builder = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    let builder = match &config.ledger.witness_roots {
        None => builder,
        Some(path) => {
            let pem = fs::read(path).map_err(|error| AnchorError::File(path.clone(), error))?;
            let roots = reqwest::Certificate::from_pem_bundle(&pem).map_err(|_| AnchorError::Roots)?;
            builder.tls_certs_only(roots)
        }
    };
    Ok(builder.build()?)
}

/// What is asked is public and what is answered is signed; still, nobody between shall choose who answers.
fn may_be_asked(url: &str) -> bool {
    let local = ["http://127.0.0.1:", "http://localhost:", "http://[::1]:"];
    url.starts_with("https://") || local.iter().any(|prefix| url.starts_with(prefix))
}
