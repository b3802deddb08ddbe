//! The log over HTTPS, to auditors: checkpoint, tiles, entry bundles and proofs (C2SP tlog-tiles, tlog-proof).
//!
//! What is served holds commitments only; entries with names in them leave by export.

use custodia_audit::{Kind, TileId};

use super::{Ask, Failure, forbidden};
use crate::{
    answer::Answer,
    app::App,
    ledger::{Audited, ReadError},
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

/// `GET /audit/checkpoint`.
///
/// # Errors
/// [`Failure`] as every interaction.
pub async fn checkpoint(app: &App, ask: &Ask) -> Result<Audited<Answer>, Failure> {
    let _permit = app.gate.permit_audit(&ask.caller).map_err(forbidden)?;
    let (note, head) = app.ledger.reader().checkpoint().await?;
    // The witnesses are some seconds behind; a head they have seen is shown with what they say of it.
    let note = match app.anchors.cosigned() {
        Some((cosigned, seen)) if seen == head => cosigned,
        _ => note,
    };
    state(app, ask, TEXT, note.into_bytes()).await
}

/// `GET /audit/entries/{index}/proof`.
///
/// # Errors
/// [`Failure`] as every interaction.
pub async fn proof(app: &App, ask: &Ask, index: u64) -> Result<Audited<Answer>, Failure> {
    let _permit = app.gate.permit_audit(&ask.caller).map_err(forbidden)?;
    let proof = app.ledger.reader().proof(index).await?;
    state(app, ask, TEXT, proof.to_text().into_bytes()).await
}

/// `GET /audit/entries/{index}`: the log entry itself, 33 bytes or a control entry, as the proof covers it.
///
/// # Errors
/// [`Failure`] as every interaction.
pub async fn entry(app: &App, ask: &Ask, index: u64) -> Result<Audited<Answer>, Failure> {
    let _permit = app.gate.permit_audit(&ask.caller).map_err(forbidden)?;
    let leaf = app.ledger.reader().leaf(index).await?;
    state(app, ask, BYTES, leaf).await
}

/// `GET /audit/tile/...`: a tile of hashes or, under `entries`, a bundle of log entries.
///
/// # Errors
/// [`Failure`] as every interaction.
pub async fn tile(app: &App, ask: &Ask, path: &str) -> Result<Audited<Answer>, Failure> {
    let _permit = app.gate.permit_audit(&ask.caller).map_err(forbidden)?;
    let absent = || Failure::from(Refusal::NotFound(Why::Absent));
    let id = TileId::parse(path).ok_or_else(absent)?;
    let bytes = tile_bytes(app, id, path).await?;
    state(app, ask, BYTES, bytes).await
}

async fn tile_bytes(app: &App, id: TileId, path: &str) -> Result<Vec<u8>, ReadError> {
    let reader = app.ledger.reader();
    match path.starts_with("tile/entries/") {
        true => reader.entry_bundle(id).await,
        false => Ok(reader.tile(id).await?.to_bytes()),
    }
}

/// `GET /audit/log/...`: the log as c2sp.org/tlog-tiles lays it out, with the checkpoint that the witnesses cosigned.
///
/// Files come from the mirror if there is one; what it does not have comes from the database.
///
/// # Errors
/// [`Failure`] as every interaction.
pub async fn log(app: &App, ask: &Ask, path: &str) -> Result<Audited<Answer>, Failure> {
    let _permit = app.gate.permit_audit(&ask.caller).map_err(forbidden)?;
    let absent = || Failure::from(Refusal::NotFound(Why::Absent));
    if path == "checkpoint" {
        let note = match app.anchors.cosigned() {
            Some((note, _)) => note,
            None => app.ledger.reader().checkpoint().await?.0,
        };
        return state(app, ask, TEXT, note.into_bytes()).await;
    }
    let id = TileId::parse(path).ok_or_else(absent)?;
    let bytes = match app.anchors.tile(&id, path).await {
        Ok(Some(bytes)) => bytes,
        // A mirror that cannot be read is told of when it is next advanced.
        _ => tile_bytes(app, id, path).await?,
    };
    state(app, ask, BYTES, bytes).await
}

async fn state(app: &App, ask: &Ask, media: &'static str, body: Vec<u8>) -> Result<Audited<Answer>, Failure> {
    let answer = Answer { content_type: Some(media.into()), body, ..Answer::empty(200) };
    Ok(app.ledger.state(&ask.access, Kind::Audit, answer).await?)
}
