//! Exports that are asked for over HTTPS and fetched when they are done (FHIR R4 async.html).
//!
//! One is written at a time. What is done waits, sealed under keys that only this process has, for [`KEPT`] at most; a
//! restart forgets it. Only the account that asked sees it.

use std::{
    collections::HashMap,
    fs,
    io::{self, BufWriter},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use chrono::{DateTime, Duration, Utc};
use tokio::{sync::Semaphore, task::AbortHandle};
use uuid::Uuid;

use super::{
    Digest, EVENTS_NAME, ExportError, File, MANIFEST_NAME, Outputs, Plan, Progress, Source, Summary,
    TABLE_NAME, Tally, bundle_name, manifest,
};
use crate::{
    seal::spool::{SpoolKey, SpoolReader, SpoolWriter},
    tenant::TenantId,
};

/// The most exports that are kept or under way at once.
pub const JOBS_MAX: usize = 16;
/// The most of one account.
pub const JOBS_OF_ONE_MAX: usize = 4;
/// How long an export waits to be fetched.
const KEPT: Duration = Duration::hours(24);

/// Who asked for an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Tenant.
    pub tenant: TenantId,
    /// Account.
    pub account: Uuid,
}

/// There are too many exports already.
#[derive(Debug)]
pub struct Busy;

/// How an export stands.
pub enum Standing {
    /// It is being written: entries done, and in all.
    Running(u64, u64),
    /// It can be fetched.
    Done(Arc<Finished>),
    /// It came to nothing; the operational log says why.
    Failed,
}

/// An export that is done.
pub struct Finished {
    /// When it was done.
    pub at: DateTime<Utc>,
    /// Until when it is kept.
    pub expires: DateTime<Utc>,
    /// What was asked, as a path and query.
    pub request: String,
    /// What it turned out to be, log by log.
    pub summaries: Vec<Summary>,
    /// Its files.
    pub files: Vec<FinishedFile>,
}

/// A file that waits.
pub struct FinishedFile {
    /// Its name.
    pub name: &'static str,
    /// Its media type.
    pub media: &'static str,
    /// What it holds, opened.
    pub digest: Digest,
    key: SpoolKey,
    path: PathBuf,
}

impl FinishedFile {
    /// Opens it for reading.
    ///
    /// # Errors
    /// When it is gone.
    pub fn open(&self) -> io::Result<SpoolReader<fs::File>> {
        SpoolReader::new(fs::File::open(&self.path)?, &self.key)
    }
}

/// All exports of this server.
pub struct Exports {
    source: Source,
    folder: PathBuf,
    jobs: Mutex<HashMap<Uuid, Job>>,
    /// One is written at a time.
    turn: Arc<Semaphore>,
}

/// Nothing until it is done, or came to nothing.
type Outcome = Option<Result<Arc<Finished>, ()>>;

struct Job {
    owner: Owner,
    expires: DateTime<Utc>,
    progress: Arc<Progress>,
    outcome: Arc<Mutex<Outcome>>,
    task: AbortHandle,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is guarded is replaced whole: a panic elsewhere leaves it as it was.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Exports {
    /// None yet. What an earlier process left in the folder is removed: its keys are gone.
    #[must_use]
    pub fn new(source: Source, folder: PathBuf) -> Self {
        fs::remove_dir_all(&folder).ok();
        Self { source, folder, jobs: Mutex::default(), turn: Arc::new(Semaphore::new(1)) }
    }

    /// Where exports come from.
    #[must_use]
    pub const fn source(&self) -> &Source {
        &self.source
    }

    /// Whether this owner may ask for another.
    ///
    /// # Errors
    /// [`Busy`] as [`Exports::start`].
    pub fn room(&self, owner: Owner) -> Result<(), Busy> {
        self.sweep();
        is_free(&locked(&self.jobs), owner)
    }

    /// Begins to write plans, which must have been recorded.
    ///
    /// # Errors
    /// [`Busy`] when there are [`JOBS_MAX`] already, or [`JOBS_OF_ONE_MAX`] of this owner.
    pub fn start(&self, id: Uuid, owner: Owner, plans: Vec<Plan>, request: String) -> Result<(), Busy> {
        self.sweep();
        let mut jobs = locked(&self.jobs);
        is_free(&jobs, owner)?;
        let (progress, outcome) = (Arc::<Progress>::default(), Arc::<Mutex<Outcome>>::default());
        let expires = self.source.clock.now() + KEPT;
        let work = Work {
            source: self.source.clone(),
            folder: self.folder.join(id.to_string()),
            plans,
            request,
            expires,
            progress: Arc::clone(&progress),
        };
        progress.expect(&work.plans);
        let (turn, done) = (Arc::clone(&self.turn), Arc::clone(&outcome));
        let task = tokio::spawn(async move {
            let Ok(_turn) = turn.acquire().await else { return };
            let folder = work.folder.clone();
            let result = work.run().await;
            if let Err(error) = &result {
                tracing::error!(event = "export_failed", error = told(error));
                fs::remove_dir_all(folder).ok();
            }
            *locked(&done) = Some(result.map(Arc::new).map_err(drop));
        });
        jobs.insert(id, Job { owner, expires, progress, outcome, task: task.abort_handle() });
        Ok(())
    }

    /// How an export of this owner stands; `None` when there is none.
    #[must_use]
    pub fn look(&self, id: Uuid, owner: Owner) -> Option<Standing> {
        self.sweep();
        let jobs = locked(&self.jobs);
        let job = jobs.get(&id).filter(|job| job.owner == owner)?;
        let outcome = locked(&job.outcome);
        Some(match &*outcome {
            None => {
                let (done, total) = job.progress.told();
                Standing::Running(done, total)
            }
            Some(Ok(finished)) => Standing::Done(Arc::clone(finished)),
            Some(Err(())) => Standing::Failed,
        })
    }

    /// Ends an export of this owner and removes what it wrote; whether there was one.
    #[must_use]
    pub fn cancel(&self, id: Uuid, owner: Owner) -> bool {
        let mut jobs = locked(&self.jobs);
        if jobs.get(&id).is_none_or(|job| job.owner != owner) {
            return false;
        }
        if let Some(job) = jobs.remove(&id) {
            self.end(id, &job);
        }
        true
    }

    /// Removes what has waited long enough.
    pub fn sweep(&self) {
        let now = self.source.clock.now();
        locked(&self.jobs).retain(|id, job| {
            let is_kept = now < job.expires;
            if !is_kept {
                self.end(*id, job);
            }
            is_kept
        });
    }

    fn end(&self, id: Uuid, job: &Job) {
        job.task.abort();
        // A task between two steps may still hold its files: they are nameless from here on.
        fs::remove_dir_all(self.folder.join(id.to_string())).ok();
    }
}

fn is_free(jobs: &HashMap<Uuid, Job>, owner: Owner) -> Result<(), Busy> {
    let own = jobs.values().filter(|job| job.owner == owner).count();
    if jobs.len() >= JOBS_MAX || own >= JOBS_OF_ONE_MAX { Err(Busy) } else { Ok(()) }
}

fn told(error: &ExportError) -> String {
    use std::error::Error as _;
    let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("{error}{cause}")
}

struct Work {
    source: Source,
    folder: PathBuf,
    plans: Vec<Plan>,
    request: String,
    expires: DateTime<Utc>,
    progress: Arc<Progress>,
}

type Spooled = SpoolWriter<BufWriter<fs::File>>;

impl Work {
    async fn run(self) -> Result<Finished, ExportError> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        let folder = self.folder;
        let file = |name: &str| spooled(&folder, name);
        let ((events, events_key), (table, table_key)) = (file(EVENTS_NAME)?, file(TABLE_NAME)?);
        let (mut events, mut table) = (Some(Tally::new(events)), Some(Tally::new(table)));
        let (mut files, mut summaries) = (Vec::new(), Vec::new());
        for (number, plan) in self.plans.into_iter().enumerate() {
            let name = bundle_name(number);
            let (bundle, key) = file(name)?;
            let outputs = Outputs { bundle: Tally::new(bundle), events, table };
            let (outputs, summary) = plan.write(&self.source, outputs, &self.progress).await?;
            files.push(closed(&folder, name, "application/octet-stream", outputs.bundle, key)?);
            summaries.push(summary);
            (events, table) = (outputs.events, outputs.table);
        }
        let beside = [
            (events, EVENTS_NAME, "application/fhir+ndjson", events_key),
            (table, TABLE_NAME, "text/csv; charset=utf-8", table_key),
        ];
        for (output, name, media, key) in beside {
            let Some(output) = output else { continue };
            files.push(closed(&folder, name, media, output, key)?);
        }
        let named: Vec<File> =
            files.iter().map(|file| File { name: file.name, digest: file.digest }).collect();
        let signer = self.source.signer(&summaries).await?;
        let note = manifest(&summaries, &named, &signer)?;
        let (out, key) = file(MANIFEST_NAME)?;
        let mut out = Tally::new(out);
        io::Write::write_all(&mut out, note.as_bytes())?;
        files.push(closed(&folder, MANIFEST_NAME, "text/plain; charset=utf-8", out, key)?);
        let at = self.source.clock.now();
        Ok(Finished { at, expires: self.expires, request: self.request, summaries, files })
    }
}

fn spooled(folder: &Path, name: &str) -> io::Result<(Spooled, SpoolKey)> {
    let key = SpoolKey::fresh().map_err(io::Error::other)?;
    let file = fs::File::options().write(true).create_new(true).mode(0o600).open(folder.join(name))?;
    Ok((SpoolWriter::new(BufWriter::new(file), &key)?, key))
}

fn closed(
    folder: &Path,
    name: &'static str,
    media: &'static str,
    output: Tally<Spooled>,
    key: SpoolKey,
) -> io::Result<FinishedFile> {
    let (out, digest) = output.finish();
    // Nothing is synced: the keys do not outlive the process, so neither need the files.
    out.finish()?;
    Ok(FinishedFile { name, media, digest, key, path: folder.join(name) })
}
