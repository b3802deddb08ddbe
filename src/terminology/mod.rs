//! Another server that is asked about codes that are not held here: LOINC, SNOMED CT and their like.
//!
//! May import `config` and `fhir`. Without `terminology.server` there is none, and nothing is sent anywhere.
//!
//! What leaves the house is a [`Question`]: a code, the url of its system, urls of ValueSets and ConceptMaps; in the body of a
//! POST, so that no address holds it. Its code is of one of `terminology.systems`, or it does not leave. No display, no text, no
//! id, nothing of who asks or of whom. No redirection is followed, and no proxy of the environment is used.
//!
//! ```text
//! Question -> may it leave? -> kept answer? -> resting? -> a seat -> POST -> Told, kept for `kept_s`
//! ```
//! Bounds: [`KEPT_WEIGHT_MAX`], [`ANSWER_BYTES_MAX`], [`QUESTIONS_MAX`], `timeout_ms`, `at_once`. A server that cannot be reached,
//! refuses the credentials or says that it is busy is not asked for [`REST_MS`]; a question that it fails on is not asked again
//! for as long, and others are. A question that came to its turn late has not failed.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, Utc};
use futures_util::{StreamExt as _, stream};
use quick_cache::{Weighter, sync::Cache};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use tokio::{sync::Semaphore, time::Instant};

use crate::{
    config::TerminologyConfig,
    fhir::{
        json,
        terminology::{EXPANSION_CODES_MAX, Question, Told, ToldCode},
    },
};

/// What all answers that are kept weigh, in units of about 64 bytes; none weighs less than [`KEPT_WEIGHT_LEAST`].
pub const KEPT_WEIGHT_MAX: u64 = 400_000;
/// The least that an answer weighs: at most 20,000 are kept.
const KEPT_WEIGHT_LEAST: u64 = 20;
/// How many are kept as a rule: an estimate for the cache, no bound.
const KEPT_ESTIMATED: usize = 10_000;
/// The largest answer that is read, in bytes.
pub const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The most questions of one request.
pub const QUESTIONS_MAX: usize = 64;
/// How long nothing is asked after a question without an answer.
pub const REST_MS: i64 = 5_000;
/// The most pages of one expansion.
const PAGES_MAX: usize = 20;
/// The largest file with a token.
const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// FHIR's media type.
const FHIR_JSON: &str = "application/fhir+json";

/// Why the server cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TerminologyError {
    /// A file cannot be read.
    #[error("{}", .0.display())]
    File(PathBuf, #[source] io::Error),
    /// The roots are none.
    #[error("terminology.roots: expected PEM certificates")]
    Roots,
    /// The certificate is none.
    #[error("terminology.certificate and terminology.key: expected PEM")]
    Identity,
    /// The token is none.
    #[error("terminology.bearer_file: expected a token on one line")]
    Token,
    /// The client cannot be made.
    #[error("the client for the terminology server")]
    Http(#[from] reqwest::Error),
}

/// The server did not answer: nothing is known, neither yes nor no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the terminology server is away")]
pub struct Away;

/// An answer, or that there was none, and until when it counts.
#[derive(Clone)]
struct Kept {
    told: Result<Arc<Told>, Away>,
    until: DateTime<Utc>,
}

/// Why a question has no answer.
enum Trouble {
    /// Whatever is asked next would fare alike.
    Server(&'static str),
    /// This question fails.
    Question(&'static str),
    /// It was not answered in the time that it had.
    Late,
}

#[derive(Clone)]
struct BySize;

impl Weighter<Question, Kept> for BySize {
    fn weight(&self, _: &Question, kept: &Kept) -> u64 {
        let long = |text: &Option<Box<str>>| text.as_ref().map_or(0, |text| text.len());
        let bytes = match kept.told.as_deref() {
            Ok(Told::Codes { codes, .. }) => codes.iter().map(|one| 64 + long(&one.display)).sum(),
            Ok(Told::Meaning { name, version, display, definition }) => {
                [name, version, display, definition].into_iter().map(long).sum()
            }
            Ok(Told::Yes(display)) => long(display),
            Ok(Told::Translations(all)) => all.iter().map(|one| 128 + long(&one.to.display)).sum(),
            Ok(Told::No | Told::Unknown) | Err(Away) => 0,
        };
        KEPT_WEIGHT_LEAST.saturating_add(u64::try_from(bytes / 64).unwrap_or(u64::MAX >> 1))
    }
}

/// The server that is asked.
pub struct TerminologyServer {
    http: reqwest::Client,
    /// Its base, without a slash at the end.
    server: String,
    bearer: Option<HeaderValue>,
    systems: Vec<String>,
    /// This server's own base.
    own: String,
    within: Duration,
    kept: chrono::Duration,
    answers: Cache<Question, Kept, BySize>,
    seats: Semaphore,
    at_once: usize,
    /// Until when nothing is asked, in milliseconds since 1970.
    resting: AtomicI64,
}

impl TerminologyServer {
    /// The server that the configuration names, if it names one. `own` is this server's base, below which no url leaves.
    ///
    /// # Errors
    /// [`TerminologyError`].
    pub fn open(config: &TerminologyConfig, own: &str) -> Result<Option<Self>, TerminologyError> {
        let Some(server) = &config.server else { return Ok(None) };
        // Somebody else in this process may have chosen a provider; it is ring's, there is no other in this build.
        drop(rustls::crypto::ring::default_provider().install_default());
        let within = Duration::from_millis(u64::from(config.timeout_ms));
        let mut builder = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            // Of a server that is not there, so much is left that this shows before the question's time is over.
            .connect_timeout(within / 2)
            .timeout(within);
        if let Some(path) = &config.roots {
            let roots = reqwest::Certificate::from_pem_bundle(&read(path)?);
            builder = builder.tls_certs_only(roots.map_err(|_| TerminologyError::Roots)?);
        }
        if let (Some(certificate), Some(key)) = (&config.certificate, &config.key) {
            let pem = [read(certificate)?, read(key)?].concat();
            let identity = reqwest::Identity::from_pem(&pem).map_err(|_| TerminologyError::Identity)?;
            builder = builder.identity(identity);
        }
        let at_once = usize::from(config.at_once);
        Ok(Some(Self {
            http: builder.build()?,
            server: server.trim_end_matches('/').to_owned(),
            bearer: config.bearer_file.as_deref().map(bearer).transpose()?,
            systems: config.systems.clone(),
            own: own.to_owned(),
            within,
            kept: chrono::Duration::seconds(i64::from(config.kept_s)),
            answers: Cache::with_weighter(KEPT_ESTIMATED, KEPT_WEIGHT_MAX, BySize),
            seats: Semaphore::new(at_once),
            at_once,
            resting: AtomicI64::new(i64::MIN),
        }))
    }

    /// What the server says to each of the questions, of which [`QUESTIONS_MAX`] are asked; all of them take no longer
    /// together than one may.
    pub async fn ask_all(
        &self,
        questions: Vec<Question>,
        now: DateTime<Utc>,
    ) -> Vec<(Question, Result<Arc<Told>, Away>)> {
        let time = Time { now, began: Instant::now() };
        let asking = questions.into_iter().take(QUESTIONS_MAX).map(|question| async move {
            let told = self.ask(&question, time).await;
            (question, told)
        });
        stream::iter(asking).buffered(self.at_once).collect().await
    }

    /// What the server says to a question; [`Told::Unknown`] also to one that may not leave the house.
    async fn ask(&self, question: &Question, time: Time) -> Result<Arc<Told>, Away> {
        if !question.may_leave(&self.systems, &self.own) {
            return Ok(Arc::new(Told::Unknown));
        }
        if let Some(kept) = self.answers.get(question).filter(|kept| kept.until > time.now) {
            return kept.told;
        }
        if time.now.timestamp_millis() < self.resting.load(Ordering::Relaxed) {
            return Err(Away);
        }
        let until = time.began + self.within;
        // Whoever gets no seat in time has learnt nothing about the server.
        let seat = tokio::time::timeout_at(until, self.seats.acquire()).await;
        let _seat = seat.map_err(|_| Away)?.map_err(|_| Away)?;
        let left = until.saturating_duration_since(Instant::now());
        let told = tokio::time::timeout_at(until, self.whole(question)).await;
        let rest = chrono::Duration::milliseconds(REST_MS);
        let (told, long) = match told.unwrap_or(Err(Trouble::Late)) {
            Ok(told) => (Ok(Arc::new(told)), self.kept),
            // It spent its time waiting for its turn: that says nothing of it.
            Err(Trouble::Late) if left < self.within / 2 => return Err(Away),
            Err(Trouble::Late) => {
                tracing::warn!(event = "terminology_question_failed", error = "no answer in time");
                (Err(Away), rest)
            }
            Err(Trouble::Question(why)) => {
                tracing::warn!(event = "terminology_question_failed", error = why);
                (Err(Away), rest)
            }
            Err(Trouble::Server(why)) => {
                tracing::warn!(event = "terminology_away", error = why);
                let until = (time.at() + rest).timestamp_millis();
                self.resting.fetch_max(until, Ordering::Relaxed);
                return Err(Away);
            }
        };
        self.answers.insert(question.clone(), Kept { told: told.clone(), until: time.at() + long });
        told
    }

    /// The answer, of an expansion all pages.
    async fn whole(&self, question: &Question) -> Result<Told, Trouble> {
        let mut all: Vec<ToldCode> = Vec::new();
        for _ in 0..PAGES_MAX {
            match self.post(question, all.len()).await? {
                Told::Codes { version, codes, total } => {
                    let is_last =
                        codes.is_empty() || total.is_none_or(|total| all.len() + codes.len() >= total);
                    all.extend(codes);
                    if all.len() > EXPANSION_CODES_MAX {
                        return Ok(Told::Unknown);
                    }
                    if is_last {
                        // A list that ends before its total leaves something out.
                        let is_whole = total.is_none_or(|total| all.len() >= total);
                        let whole = Told::Codes { version, codes: all, total };
                        return Ok(if is_whole { whole } else { Told::Unknown });
                    }
                }
                other => return Ok(other),
            }
        }
        Ok(Told::Unknown)
    }

    async fn post(&self, question: &Question, offset: usize) -> Result<Told, Trouble> {
        let (path, parameters) = question.request(offset);
        let mut request = self
            .http
            .post(format!("{}/{path}", self.server))
            .header(CONTENT_TYPE, FHIR_JSON)
            .header(ACCEPT, FHIR_JSON)
            .body(json::to_bytes(&parameters));
        if let Some(bearer) = &self.bearer {
            request = request.header(AUTHORIZATION, bearer.clone());
        }
        let mut answer = request.send().await.map_err(|error| {
            // A connection that does not come about in time is both.
            if error.is_connect() {
                Trouble::Server("it cannot be reached")
            } else if error.is_timeout() {
                Trouble::Late
            } else {
                Trouble::Question("no answer")
            }
        })?;
        match answer.status().as_u16() {
            200 => {}
            // It understood, and does not know the system, the set or the operation.
            400 | 404 | 410 | 422 => return Ok(Told::Unknown),
            401 => return Err(Trouble::Server("it refuses the credentials")),
            429 | 503 => return Err(Trouble::Server("it is busy")),
            // 403 among them: of one system that the house has no licence for.
            _ => return Err(Trouble::Question("a status of no use")),
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|_| Trouble::Question("half an answer"))? {
            if bytes.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(Trouble::Question("an answer larger than what is read"));
            }
            bytes.extend_from_slice(&chunk);
        }
        let value = json::parse(&bytes).map_err(|_| Trouble::Question("an answer that is no resource"))?;
        question.read(&value).ok_or(Trouble::Question("an answer to something else"))
    }
}

/// When a request was begun, and what the time was then.
#[derive(Clone, Copy)]
struct Time {
    now: DateTime<Utc>,
    began: Instant,
}

impl Time {
    /// What it is by now.
    fn at(self) -> DateTime<Utc> {
        self.now + chrono::Duration::from_std(self.began.elapsed()).unwrap_or_default()
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TerminologyError> {
    fs::read(path).map_err(|error| TerminologyError::File(path.to_owned(), error))
}

/// The header that a token makes; it is not shown where headers are.
fn bearer(path: &Path) -> Result<HeaderValue, TerminologyError> {
    let text = String::from_utf8(read(path)?).map_err(|_| TerminologyError::Token)?;
    let token = text.trim();
    let plain = token.bytes().all(|b| b.is_ascii_graphic());
    if token.is_empty() || token.len() > TOKEN_BYTES_MAX || !plain {
        return Err(TerminologyError::Token);
    }
    let mut header =
        HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| TerminologyError::Token)?;
    header.set_sensitive(true);
    Ok(header)
}

#[cfg(test)]
mod tests;
