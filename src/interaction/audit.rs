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
    let (note, _) = app.ledger.reader().checkpoint().await?;
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
    let bytes = if let Some(rest) = path.strip_prefix("tile/entries/") {
        // The place of a bundle is that of its tile of level 0.
        let id = TileId::parse(&format!("tile/0/{rest}")).ok_or_else(absent)?;
        app.ledger.reader().entry_bundle(id).await?
    } else {
        let id = TileId::parse(path).ok_or_else(absent)?;
        app.ledger.reader().tile(id).await?.to_bytes()
    };
    state(app, ask, BYTES, bytes).await
}

async fn state(app: &App, ask: &Ask, media: &'static str, body: Vec<u8>) -> Result<Audited<Answer>, Failure> {
    let answer = Answer { content_type: Some(media), body, ..Answer::empty(200) };
    Ok(app.ledger.state(&ask.access, Kind::Audit, answer).await?)
}
