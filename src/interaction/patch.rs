//! patch (FHIR R4 http.html#patch): a read and an update of one version, in one commit.
//!
//! Whoever patches learns something of what is there, if only that a `test` failed: so a patch needs a permit to read
//! the current version and one to update it, and its entries name the version that was read beside the one written.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::{
    Ask, Failure,
    attempts::Attempts,
    create,
    desk::{Desk, Draft, Ready},
    forbidden, hold, malformed,
    open::{gone, open_permitted},
    parse_body, search, update, written,
};
use crate::{
    answer::Answer,
    app::App,
    fhir::{
        kinds::{LogicalId, ResourceType},
        outcome::{IssueCode, Problem},
        patch::Patch,
        validate::validate,
    },
    gate::Act,
    ledger::{Audited, Rejected, Released},
    refusal::{Refusal, Why},
    store::write::Base,
};

/// The media type of a JSON Patch.
pub const JSON_PATCH: &str = "application/json-patch+json";

/// In what form a patch is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// JSON Patch (RFC 6902).
    Json,
    /// FHIRPath Patch: a Parameters resource.
    Parameters,
}

/// Changes the current version of a record.
///
/// # Errors
/// [`Failure`] as every interaction.
pub async fn run(
    app: &App,
    ask: &Ask,
    kind: ResourceType,
    id: &LogicalId,
    form: Form,
    body: &[u8],
) -> Result<Audited<Answer>, Failure> {
    approach(app, ask, kind, None)?;
    let patch = parse(app, form, &parse_body(body)?)?;
    store(app, ask, kind, id, &patch).await
}

/// Whether there is any record of the type that the caller could patch; of a conditional patch, with its condition.
pub(super) fn approach(app: &App, ask: &Ask, kind: ResourceType, query: Option<&str>) -> Result<(), Failure> {
    search::approach(app, ask, &[Act::Update, Act::Read], (kind, query))
}

/// Patches with a patch that has been parsed; whether anybody may is decided already.
pub(super) async fn store(
    app: &App,
    ask: &Ask,
    kind: ResourceType,
    id: &LogicalId,
    patch: &Patch,
) -> Result<Audited<Answer>, Failure> {
    let mut attempts = Attempts::default();
    loop {
        let mut desk = Desk::open(app, &ask.caller, &mut attempts)?;
        let (ready, released) = prepare(app, ask, &mut desk, kind, id, patch).await?;
        let head = create::head(app, kind, id, ready.version, ready.updated);
        let answer = written(200, ask.returning, &head, ready.json, ready.warnings);
        match app.ledger.commit(&ask.access, vec![ready.written], vec![released], answer).await {
            // Another write was faster: the patch is applied to what that one left.
            Err(Rejected::Stale(why)) => attempts.again(app, ask.caller.tenant(), why).await?,
            other => return Ok(other?),
        }
    }
}

/// A patch in one of its forms.
pub(super) fn parse(app: &App, form: Form, document: &Value) -> Result<Patch, Failure> {
    let parsed = match form {
        Form::Json => Patch::of_json(document).map_err(Refusal::Malformed),
        Form::Parameters => {
            parameters(app, document).and_then(|()| Patch::of_parameters(document).map_err(Refusal::Invalid))
        }
    };
    Ok(parsed?)
}

/// A Parameters resource that keeps FHIR's rules, or what is wrong with it.
pub(super) fn parameters(app: &App, document: &Value) -> Result<(), Refusal> {
    let problems = validate(&app.definitions, document, Some(ResourceType::PARAMETERS));
    if problems.iter().any(Problem::refuses) { Err(Refusal::Invalid(problems)) } else { Ok(()) }
}

/// The patch of an entry of a Bundle: Parameters, or a Binary that holds a JSON Patch (http.html#patch).
pub(super) fn of_entry(app: &App, resource: &Value) -> Result<Patch, Failure> {
    if resource.get("resourceType").and_then(Value::as_str) != Some("Binary") {
        return parse(app, Form::Parameters, resource);
    }
    let text = |name: &str| resource.get(name).and_then(Value::as_str);
    if text("contentType") != Some(JSON_PATCH) {
        return Err(malformed(
            IssueCode::Value,
            "A Binary that is a patch has contentType application/json-patch+json.",
        ));
    }
    let data = text("data").and_then(|data| STANDARD.decode(data).ok());
    let data =
        data.ok_or_else(|| malformed(IssueCode::Value, "A Binary that is a patch needs data in base64."))?;
    parse(app, Form::Json, &parse_body(&data)?)
}

/// Looks at what is there, decides, applies, and seals what comes of it.
pub(super) async fn prepare(
    app: &App,
    ask: &Ask,
    desk: &mut Desk<'_>,
    kind: ResourceType,
    id: &LogicalId,
    patch: &Patch,
) -> Result<(Ready, Released), Failure> {
    let view = *desk.view();
    let row = desk.current(kind, id).await?.ok_or(Refusal::NotFound(Why::Absent))?;
    let (record, read) = open_permitted(app, &ask.caller, &view, Act::Read, row).await?;
    // Whoever may read it may know that it is there, and is told that it is not theirs to change.
    let also = record.also(app, &ask.caller, Act::Update);
    let _update = also.map_err(|denied| forbidden(denied).about(&record.version()))?;
    if record.at.deleted {
        return Err(gone(&record));
    }
    let checked = update::check_version(&ask.conditions, record.at.version);
    checked.map_err(|failure| failure.about(&record.version()))?;
    let base = Base::Version(record.at.version);
    let (old, released) = record.revise(read)?;
    let revised = patch.apply(&app.definitions, old).map_err(|problem| Refusal::Invalid(vec![problem]));
    let held = match revised {
        Ok(new) => hold::hold(app, &new, kind).await.map(|()| new),
        Err(refusal) => Err(refusal),
    };
    let mut resource = match held {
        Ok(resource) => resource,
        Err(refusal) => return Err(Failure::Told(refusal, vec![released])),
    };
    let draft = Draft { kind, id, resource: &mut resource, act: Act::Update, base };
    match desk.prepare(draft).await {
        Ok(ready) => Ok((ready, released)),
        // What is wrong with the revised version tells of the one that was read.
        Err(Failure::Refused(refusal @ Refusal::Invalid(_), _)) => {
            Err(Failure::Told(refusal, vec![released]))
        }
        Err(other) => Err(other.about(&released.version)),
    }
}
