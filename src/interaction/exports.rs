//! Exports of the log over HTTPS (FHIR R4 async.html): asked for, watched, fetched, cancelled, by auditors.
//!
//! The question is an entry that says who asked for what, and so is each file that leaves. Only the tenant's own
//! entries are opened; the others are withheld, so that the export still accounts for every index.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use custodia_audit::Kind;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Ask, Failure, forbidden, malformed};
use crate::{
    anchor::NoQuorum,
    answer::{Answer, Stream},
    app::App,
    config::SHARDS_MAX,
    events::instant,
    export::{EVENTS_NAME, ExportError, Filter, Finished, Owner, Range, Standing, Summary, plans},
    fhir::{
        kinds::LogicalId,
        outcome::{IssueCode, Problem},
        search::{date::DateRange, form},
    },
    ledger::Audited,
    refusal::{Refusal, Why, causes},
};

/// The longest reason, in bytes.
pub const REASON_BYTES_MAX: usize = 512;
/// The longest checkpoint an auditor brings, in bytes of base64.
pub const CHECKPOINT_BYTES_MAX: usize = 8_192;

impl From<ExportError> for Failure {
    fn from(error: ExportError) -> Self {
        match error {
            ExportError::Read(error) => error.into(),
            ExportError::Down(_) => Self::Down,
            ExportError::Quorum(NoQuorum::Read(error)) => error.into(),
            ExportError::Quorum(NoQuorum::Missing) => {
                tracing::error!(event = "export_without_quorum");
                Refusal::Unavailable.into()
            }
            ExportError::Range { size } => {
                let text = format!("The range is not within the log, which has {size} entries.");
                Refusal::Malformed(vec![Problem::error(IssueCode::Value, text).by("export.range")]).into()
            }
            ExportError::Earlier => malformed(
                IssueCode::Value,
                "earlier: expected a checkpoint of this log, with its signature, as GET /audit/checkpoint gave it.",
            ),
            ExportError::Several => malformed(
                IssueCode::Value,
                "Several logs are written side by side; first and end are of one of them: name it (log).",
            ),
            ExportError::NoLog => malformed(
                IssueCode::Value,
                "log: expected the name of a log that is read here, as receipts and AuditEvents give it.",
            ),
            ExportError::Note(_) | ExportError::Write(_) | ExportError::File(_) => {
                tracing::error!(event = "export_failed", error = causes(&error));
                Refusal::Internal.into()
            }
        }
    }
}

/// `POST /audit/exports` with a form: `log`, `first`, `end`, `since`, `until`, `patient`, `agent`, `reason`, and
/// `earlier`, the base64 of a checkpoint.
///
/// # Errors
/// [`Failure`] as every interaction.
pub async fn kick_off(app: &App, ask: &Ask, body: &[u8]) -> Result<Audited<Answer>, Failure> {
    let permit = app.gate.permit_audit(&ask.caller).map_err(forbidden)?;
    app.exports.room(owner(ask)).map_err(|_| Refusal::Throttled)?;
    let pairs = form::decode(body).map_err(|problem| Refusal::Malformed(vec![problem]))?;
    let mut range = wanted(&pairs)?;
    range.tenant = Some((ask.caller.tenant(), ask.caller.tenant_name().to_owned()));
    let plans = plans(app.exports.source(), range).await?;
    let id = app.clock.random_id();
    let answer = Answer::empty(202).with_header("content-location", url(app, id));
    // Recorded first: if we crash here, the log tells of an export that was never written.
    let audited = app.ledger.reveal(&ask.access, &permit, Vec::new(), answer).await?;
    let request = ask.access.query.clone().unwrap_or_default();
    match app.exports.start(id, owner(ask), plans, request) {
        Ok(()) => Ok(audited),
        // Unlikely: looked at before, and somebody was faster. The question stands in the log twice, rightly.
        Err(_) => Err(Refusal::Throttled.into()),
    }
}

/// `GET /audit/exports/{id}`: 202 while it is written, then what there is to fetch.
///
/// # Errors
/// [`Failure`] as every interaction.
pub async fn status(app: &App, ask: &Ask, id: Uuid) -> Result<Audited<Answer>, Failure> {
    let permit = app.gate.permit_audit(&ask.caller).map_err(forbidden)?;
    let answer = match app.exports.look(id, owner(ask)).ok_or_else(absent)? {
        Standing::Running(done, total) => Answer::empty(202)
            .with_header("x-progress", format!("{done} of {total} entries"))
            .with_header("retry-after", "2"),
        Standing::Failed => return Err(Refusal::Internal.into()),
        Standing::Done(finished) => complete(app, id, &finished),
    };
    Ok(app.ledger.reveal(&ask.access, &permit, Vec::new(), answer).await?)
}

/// `GET /audit/exports/{id}/{name}`.
///
/// # Errors
/// [`Failure`] as every interaction.
pub async fn file(app: &App, ask: &Ask, id: Uuid, name: &str) -> Result<Audited<Answer>, Failure> {
    let permit = app.gate.permit_audit(&ask.caller).map_err(forbidden)?;
    let Standing::Done(finished) = app.exports.look(id, owner(ask)).ok_or_else(absent)? else {
        return Err(absent());
    };
    let file = finished.files.iter().find(|file| file.name == name).ok_or_else(absent)?;
    let reader = file.open().map_err(|_| absent())?;
    let stream = Stream { reader: Box::new(reader), bytes: file.digest.bytes };
    let answer = Answer { content_type: Some(file.media.into()), stream: Some(stream), ..Answer::empty(200) }
        .with_header("content-disposition", format!("attachment; filename=\"{}\"", file.name))
        .with_header("cache-control", "no-store");
    Ok(app.ledger.reveal(&ask.access, &permit, Vec::new(), answer).await?)
}

/// `DELETE /audit/exports/{id}`: ends it, and what it wrote is gone.
///
/// # Errors
/// [`Failure`] as every interaction.
pub async fn cancel(app: &App, ask: &Ask, id: Uuid) -> Result<Audited<Answer>, Failure> {
    let _permit = app.gate.permit_audit(&ask.caller).map_err(forbidden)?;
    if !app.exports.cancel(id, owner(ask)) {
        return Err(absent());
    }
    Ok(app.ledger.state(&ask.access, Kind::Audit, Answer::empty(202)).await?)
}

fn owner(ask: &Ask) -> Owner {
    Owner { tenant: ask.caller.tenant(), account: ask.caller.account() }
}

/// Another's export, one that has expired and one that never was look the same.
fn absent() -> Failure {
    Refusal::NotFound(Why::Absent).into()
}

/// The URL of an export: beside the FHIR API, on the same host.
fn url(app: &App, id: Uuid) -> String {
    let base = app.base.as_str();
    format!("{}/audit/exports/{id}", base.strip_suffix("/fhir").unwrap_or(base))
}

/// The manifest of FHIR's Bulk Data Access 2.0, with the digests ours adds.
fn complete(app: &App, id: Uuid, finished: &Finished) -> Answer {
    let base = url(app, id);
    let events: u64 = finished.summaries.iter().map(|summary| summary.counts.events).sum();
    let file = |file: &crate::export::FinishedFile| {
        let mut output = json!({
            "url": format!("{base}/{}", file.name),
            "type": if file.name == EVENTS_NAME { "AuditEvent" } else { "Binary" },
            "extension": {"name": file.name, "bytes": file.digest.bytes, "sha256": crate::export::hex(&file.digest.sha256)},
        });
        if let (true, Some(output)) = (file.name == EVENTS_NAME, output.as_object_mut()) {
            output.insert("count".to_owned(), json!(events));
        }
        output
    };
    let body = json!({
        "transactionTime": instant(finished.at.timestamp_micros()),
        "request": finished.request,
        "requiresAccessToken": true,
        "output": finished.files.iter().map(file).collect::<Vec<_>>(),
        "error": [],
        "extension": match finished.summaries.as_slice() {
            [one] => told(one),
            several => json!({"logs": several.iter().map(told).collect::<Vec<_>>()}),
        },
    });
    let expires = finished.expires.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    Answer::json(200, body.to_string().into_bytes()).with_header("expires", expires)
}

/// What an export holds of a log.
fn told(summary: &Summary) -> Value {
    json!({
        "log": summary.origin,
        "first": summary.first,
        "end": summary.end,
        "size": summary.size,
        "opened": summary.counts.opened,
        "withheld": summary.counts.withheld,
        "control": summary.counts.control,
    })
}

/// What a form asks for. Each field but `earlier` comes once, and an unknown one is refused: no filter is ignored.
fn wanted(pairs: &[(String, String)]) -> Result<Range, Failure> {
    let mut range = Range { reason: "audit".to_owned(), ..Range::default() };
    let mut seen: Vec<&str> = Vec::new();
    for (name, value) in pairs {
        // A checkpoint of each log that is written side by side.
        let is_list = name == "earlier" && range.earlier.len() < usize::from(SHARDS_MAX.unsigned_abs());
        if seen.contains(&name.as_str()) && !is_list {
            return Err(malformed(IssueCode::Invalid, "A field of the form comes twice."));
        }
        seen.push(name);
        field(&mut range, name, value)?;
    }
    Ok(range)
}

/// A checkpoint in base64: its line breaks do not fit into a form.
fn checkpoint(value: &str) -> Result<String, Failure> {
    let what = "earlier: expected the base64 of a checkpoint, as GET /audit/checkpoint gave it.";
    let bytes = STANDARD.decode(value).map_err(|_| malformed(IssueCode::Value, what))?;
    String::from_utf8(bytes).map_err(|_| malformed(IssueCode::Value, what))
}

fn field(range: &mut Range, name: &str, value: &str) -> Result<(), Failure> {
    let Range { log, first, end, filter, earlier, reason, .. } = range;
    let index =
        || value.parse::<u64>().map_err(|_| malformed(IssueCode::Value, "first and end are indexes."));
    let date = || {
        let what = "since and until: expected a date or dateTime.";
        DateRange::parse(value).ok_or_else(|| malformed(IssueCode::Value, what))
    };
    let Filter { from_micros, until_micros, patient, user } = filter;
    match name {
        "log" => *log = Some(value.to_owned()),
        "first" => *first = index()?,
        "end" => *end = Some(index()?),
        "since" => *from_micros = Some(date()?.from.timestamp_micros()),
        "until" => *until_micros = Some(date()?.from.timestamp_micros()),
        "patient" => {
            let id = value.strip_prefix("Patient/").unwrap_or(value);
            let what = "patient: expected an id or Patient/id.";
            let id = LogicalId::parse(id).ok_or_else(|| malformed(IssueCode::Value, what))?;
            *patient = Some(format!("Patient/{}", id.as_str()));
        }
        "agent" => *user = Some(value.to_owned()),
        "reason" if value.len() <= REASON_BYTES_MAX => value.clone_into(reason),
        "earlier" if value.len() <= CHECKPOINT_BYTES_MAX => earlier.push(checkpoint(value)?),
        "reason" | "earlier" => {
            return Err(malformed(IssueCode::TooLong, "A field of the form is too long."));
        }
        _ => {
            let what = "The form takes log, first, end, since, until, patient, agent, reason and earlier.";
            return Err(malformed(IssueCode::NotSupported, what));
        }
    }
    Ok(())
}
