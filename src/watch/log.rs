//! The operational log: JSON lines in a file a day, and words on the terminal of who started the server.
//!
//! May import `clock`, `config` and its siblings.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use tracing::{Event, Metadata, Subscriber, level_filters::LevelFilter, subscriber::Interest};
use tracing_appender::{
    non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard},
    rolling::{InitError, RollingFileAppender, Rotation},
};
use tracing_subscriber::{Layer, layer::Context, layer::SubscriberExt as _};

use super::line::{Line, is_ours};
use crate::{
    clock::Clock,
    config::{Config, Level},
};

/// Lines that may wait for the disk; further ones are dropped, because a log must not hold the server up.
const WAITING_LINES_MAX: usize = 16_384;

/// Why the operational log cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// Its folder cannot be made.
    #[error("cannot make the folder of the operational log {}: {source}", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Its file cannot be opened.
    #[error("cannot write the operational log in {}: {source}", path.display())]
    File {
        /// Where.
        path: PathBuf,
        /// Why.
        source: InitError,
    },
    /// Somebody else in this process has one.
    #[error("this process keeps an operational log already")]
    Twice,
}

/// Whether events are also shown on the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Screen {
    /// On standard error, in words.
    Words,
    /// Not at all.
    Dark,
}

/// Keep it until the process ends: dropping it writes what waits.
#[must_use]
pub struct Guard {
    _workers: Vec<WorkerGuard>,
}

/// Starts the operational log of this process.
///
/// # Errors
/// [`WatchError`].
pub fn start(config: &Config, clock: Clock, screen: Screen) -> Result<Guard, WatchError> {
    let folder = config.watch_folder();
    let (file, worker) = file(&folder, config.watch.kept_days)?;
    let mut workers = vec![worker];
    let words = match screen {
        Screen::Dark => None,
        Screen::Words => {
            let (terminal, worker) = non_blocking(std::io::stderr());
            workers.push(worker);
            Some(terminal)
        }
    };
    let log = OperationalLog { json: file, words, least: filter(config.watch.level), clock };
    let subscriber = tracing_subscriber::registry().with(log);
    tracing::subscriber::set_global_default(subscriber).map_err(|_| WatchError::Twice)?;
    Ok(Guard { _workers: workers })
}

fn file(folder: &Path, kept_days: u16) -> Result<(NonBlocking, WorkerGuard), WatchError> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|source| WatchError::Folder { path: folder.to_owned(), source })?;
    let appender = RollingFileAppender::builder()
        .rotation(Rotation::DAILY)
        .filename_prefix("custodia")
        .filename_suffix("jsonl")
        .max_log_files(usize::from(kept_days))
        .build(folder)
        .map_err(|source| WatchError::File { path: folder.to_owned(), source })?;
    Ok(non_blocking(appender))
}

fn non_blocking(writer: impl Write + Send + 'static) -> (NonBlocking, WorkerGuard) {
    NonBlockingBuilder::default().buffered_lines_limit(WAITING_LINES_MAX).lossy(true).finish(writer)
}

fn filter(level: Level) -> LevelFilter {
    match level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
    }
}

/// Writes what passes the allow-list, and nothing else.
pub(super) struct OperationalLog<W> {
    pub(super) json: W,
    pub(super) words: Option<W>,
    pub(super) least: LevelFilter,
    pub(super) clock: Clock,
}

impl<W> OperationalLog<W> {
    /// Our own events from the configured level on; foreign ones only when they warn.
    fn wants(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event()
            && *metadata.level() <= self.least
            && (is_ours(metadata) || *metadata.level() <= tracing::Level::WARN)
    }
}

impl<S: Subscriber, W: Write + Clone + 'static> Layer<S> for OperationalLog<W>
where
    Self: Send + Sync,
{
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.wants(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.wants(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.least)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        // A terminal or disk that refuses a line cannot be told about.
        if let Some(words) = &self.words {
            words.clone().write_all(Line::of(event, self.clock.now()).words().as_bytes()).ok();
        }
        self.json.clone().write_all(Line::of(event, self.clock.now()).json().as_bytes()).ok();
    }
}
