//! The log over HTTPS, to auditors: checkpoint, tiles, entry bundles and proofs (C2SP tlog-tiles, tlog-proof).
//!
//! What is served holds commitments only; entries with names in them leave by export.

use custodia_audit::{Kind, TileId};

use super::{Ask, Failure, forbidden};
use crate::{
    anchor::LogAnchors,
    answer::Answer,
    app::App,
    ledger::{Audited, LedgerReader, ReadError, Shard},
    refusal::{Refusal, Why},
};

const TEXT: &str = "text/plain; charset=utf-8";
const BYTES: &str = "application/octet-stream";

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Beyond => Refusal::NotFound(Why::Absent).into(),
            ReadError::Store(error) => error.into(),
            ReadError::Broken => {
                tracing::error!(event = "ledger_broken");
                Refusal::Integrity.into()
            }
        }
    }
}

/// What is asked of a log, below `/audit` and below `/audit/shards/<head>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// `checkpoint`: the signed head.
    Checkpoint,
    /// `entries/<index>`: the log entry itself, 33 bytes or a control entry, as the proof covers it.
    Entry(u64),
    /// `entries/<index>/proof`.
    Proof(u64),
    /// `tile/...`: a tile of hashes or, under `entries`, a bundle of log entries.
    Tile(String),
    /// `log/...`: the log as c2sp.org/tlog-tiles lays it out, with the checkpoint that the witnesses cosigned. What stands after
    /// `log/`.
    File(String),
}

impl Part {
    /// Reads the segments of a path.
    #[must_use]
    pub fn parse(segments: &[&str]) -> Option<Self> {
        match segments {
            ["checkpoint"] => Some(Self::Checkpoint),
            ["entries", index] => index.parse().ok().map(Self::Entry),
            ["entries", index, "proof"] => index.parse().ok().map(Self::Proof),
            ["tile", ..] => Some(Self::Tile(segments.join("/"))),
            ["log", rest @ ..] => Some(Self::File(rest.join("/"))),
            _ => None,
        }
    }

    /// What the log and the metrics call it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Checkpoint => "audit-checkpoint",
            Self::Entry(_) => "audit-entry",
            Self::Proof(_) => "audit-proof",
            Self::Tile(_) => "audit-tile",
            Self::File(_) => "audit-log",
        }
    }
}

/// `GET /audit/...` of the log, the first of several; `GET /audit/shards/<head>/...` of the one that is written at a head.
///
/// # Errors
/// [`Failure`] as every interaction.
pub async fn run(app: &App, ask: &Ask, head: Option<i16>, part: &Part) -> Result<Audited<Answer>, Failure> {
    let _permit = app.gate.permit_audit(&ask.caller).map_err(forbidden)?;
    let log = match head {
        None => app.ledger.shards().first(),
        Some(head) => app.ledger.at(head),
    };
    let log = log.ok_or(Refusal::NotFound(Why::Absent))?;
    let reader = log.reader();
    let (media, body) = match part {
        Part::Checkpoint => (TEXT, checkpoint(app, log).await?),
        Part::Entry(index) => (BYTES, reader.leaf(*index).await?),
        Part::Proof(index) => (TEXT, reader.proof(*index).await?.to_text().into_bytes()),
        Part::Tile(path) => (BYTES, tile(reader, id(path)?, path).await?),
        Part::File(path) if path == "checkpoint" => (TEXT, cosigned(app, log).await?),
        Part::File(path) => (BYTES, file(app, log, path).await?),
    };
    state(app, ask, media, body).await
}

/// The witnesses are some seconds behind; a head they have seen is shown with what they say of it.
async fn checkpoint(app: &App, log: &Shard) -> Result<Vec<u8>, Failure> {
    let (note, head) = log.reader().checkpoint().await?;
    let cosigned = app.anchors.of(log.origin()).and_then(LogAnchors::cosigned);
    Ok(cosigned.filter(|(_, seen)| *seen == head).map_or(note, |(cosigned, _)| cosigned).into_bytes())
}

async fn cosigned(app: &App, log: &Shard) -> Result<Vec<u8>, Failure> {
    let note = match app.anchors.of(log.origin()).and_then(LogAnchors::cosigned) {
        Some((note, _)) => note,
        None => log.reader().checkpoint().await?.0,
    };
    Ok(note.into_bytes())
}

/// Files come from the mirror if there is one; what it does not have comes from the database.
async fn file(app: &App, log: &Shard, path: &str) -> Result<Vec<u8>, Failure> {
    let id = id(path)?;
    match app.anchors.tile(log.origin(), &id, path).await {
        Ok(Some(bytes)) => Ok(bytes),
        // A mirror that cannot be read is told of when it is next advanced.
        _ => Ok(tile(log.reader(), id, path).await?),
    }
}

fn id(path: &str) -> Result<TileId, Refusal> {
    TileId::parse(path).ok_or(Refusal::NotFound(Why::Absent))
}

async fn tile(reader: &LedgerReader, id: TileId, path: &str) -> Result<Vec<u8>, ReadError> {
    match path.starts_with("tile/entries/") {
        true => reader.entry_bundle(id).await,
        false => Ok(reader.tile(id).await?.to_bytes()),
    }
}

async fn state(app: &App, ask: &Ask, media: &'static str, body: Vec<u8>) -> Result<Audited<Answer>, Failure> {
    let answer = Answer { content_type: Some(media.into()), body, ..Answer::empty(200) };
    Ok(app.ledger.state(&ask.access, Kind::Audit, answer).await?)
}
