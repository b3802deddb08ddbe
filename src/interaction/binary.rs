//! Binary: content as it is, and whom it is bound to (FHIR R4 binary.html).
//!
//! A Binary is about nobody by itself. Its `securityContext` names the record it is to be treated like: the Binary is
//! sealed for that record's patients, bears its security labels for the gate, and whoever asks for the Binary also
//! needs the permit for that record as it is then. A Binary without one is a record about nobody.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Ask, Failure, Head,
    open::{Current, open_row},
};
use crate::{
    answer::Answer,
    app::App,
    fhir::{
        kinds::{LogicalId, ResourceType},
        outcome::{IssueCode, Problem},
        reference::{BaseUrl, Reference},
    },
    gate::Act,
    identity::Caller,
    refusal::{Refusal, Why},
    seal::{Plain, TenantKeys},
    store::search::View,
};

/// What raw content is given out as when its own type is none that can stand in a header.
const BYTES: &str = "application/octet-stream";
/// The longest media type that is looked at, in bytes.
const MEDIA_BYTES_MAX: usize = 255;

/// The Binary that raw content is: with its media type, and the record that X-Security-Context names.
#[must_use]
pub fn wrap(media: &str, context: Option<&str>, id: Option<&LogicalId>, content: &[u8]) -> Vec<u8> {
    let mut binary = json!({ "resourceType": "Binary", "contentType": media });
    if let Some(object) = binary.as_object_mut() {
        if let Some(id) = id {
            object.insert("id".to_owned(), Value::from(id.as_str()));
        }
        if let Some(context) = context {
            object.insert("securityContext".to_owned(), json!({ "reference": context }));
        }
        if !content.is_empty() {
            object.insert("data".to_owned(), Value::from(STANDARD.encode(content)));
        }
    }
    binary.to_string().into_bytes()
}

/// The content of a Binary as it was sent.
///
/// Whatever it is, it was made by others: it is given out sandboxed, so that no browser runs it as ours.
pub(super) fn unwrap(plain: &Plain, head: &Head) -> Answer {
    let resource: Value = serde_json::from_slice(&plain.json).unwrap_or_default();
    let text = |name: &str| resource.get(name).and_then(Value::as_str);
    let data = text("data").map(|data| data.split_ascii_whitespace().collect::<String>());
    let body = data.and_then(|data| STANDARD.decode(data).ok()).unwrap_or_default();
    let media = text("contentType").filter(|media| is_media(media)).unwrap_or(BYTES).to_owned();
    let mut answer = Answer { content_type: Some(media.into()), body, ..Answer::empty(200) }
        .with_header("content-security-policy", "default-src 'none'; sandbox")
        .with_header("content-disposition", "attachment");
    let context = resource.pointer("/securityContext/reference").and_then(Value::as_str);
    if let Some(context) = context.filter(|text| text.bytes().all(|b| b.is_ascii_graphic())) {
        answer = answer.with_header("x-security-context", context);
    }
    head.put(&mut answer);
    answer
}

/// `type/subtype` with parameters, in letters a header can hold.
fn is_media(text: &str) -> bool {
    text.len() <= MEDIA_BYTES_MAX
        && text.split_once('/').is_some_and(|(kind, rest)| !kind.is_empty() && !rest.is_empty())
        && text.bytes().all(|b| b.is_ascii_graphic() || b == b' ')
}

/// Whom a Binary is about, and what labels it bears beside its own.
#[derive(Default)]
pub(super) struct Context {
    pub(super) patients: Vec<LogicalId>,
    pub(super) labels: Vec<String>,
}

/// The context of a Binary that is about to be written. The caller must be able to read the record it names.
pub(super) async fn context(
    app: &App,
    caller: &std::sync::Arc<Caller>,
    view: &View,
    resource: &Value,
) -> Result<Context, Failure> {
    let Some(object) = resource.get("securityContext") else { return Ok(Context::default()) };
    let local = Reference::of(object, &app.base).and_then(Reference::local);
    let Some((kind, id)) = local.filter(|(kind, _)| *kind != ResourceType::BINARY) else {
        return Err(unbound("Expected a reference to a record of this server that is no Binary."));
    };
    if kind == ResourceType::PATIENT {
        return Ok(Context { patients: vec![id], labels: Vec::new() });
    }
    let key = app.keyring.tenant(view.tenant)?.opaque(kind, id.as_str());
    let absent = || unbound("There is no such record, or none that you may read.").about_one(None);
    let row = app.store.fetcher().record(view.tenant, kind, key, view.actor, view.now).await?;
    let row = row.filter(|row| !row.at.deleted).ok_or_else(absent)?;
    let opened = open_row(app, caller, view, Act::Read, row, &Current::Same).await;
    let (record, _permit) = opened.map_err(|failure| match (failure, absent()) {
        (Failure::Refused(Refusal::NotFound(_), grounds), Failure::Refused(refusal, _)) => {
            Failure::Refused(refusal, grounds)
        }
        (other, _) => other,
    })?;
    let patients = record.opened.patients().iter().filter_map(|id| LogicalId::parse(id)).collect();
    Ok(Context { patients, labels: record.opened.labels().to_vec() })
}

fn unbound(text: &'static str) -> Failure {
    let problem = Problem::error(IssueCode::BusinessRule, text).at("Binary.securityContext");
    Refusal::Invalid(vec![problem.by("binary.security-context")]).into()
}

/// Where the record stands that a stored Binary is to be treated like; a Patient's key is the owner's already.
pub(super) fn context_of(
    plain: &Plain,
    (keys, base): &(&TenantKeys, &BaseUrl),
) -> Option<(ResourceType, Uuid)> {
    let resource: Value = serde_json::from_slice(&plain.json).ok()?;
    let local = Reference::of(resource.get("securityContext")?, base).and_then(Reference::local);
    let (kind, id) =
        local.filter(|(kind, _)| ![ResourceType::PATIENT, ResourceType::BINARY].contains(kind))?;
    Some((kind, keys.opaque(kind, id.as_str())))
}

/// Refuses a Binary to whoever is refused the record it is to be treated like, as that record stands now.
pub(super) async fn check_context(
    app: &App,
    caller: &std::sync::Arc<Caller>,
    view: &View,
    act: Act,
    (kind, key): (ResourceType, Uuid),
) -> Result<(), Failure> {
    let act = if act == Act::Search { Act::Search } else { Act::Read };
    let row = app.store.fetcher().record(view.tenant, kind, key, view.actor, view.now).await?;
    let row = row.ok_or(Refusal::NotFound(Why::Hidden))?;
    open_row(app, caller, view, act, row, &Current::Same).await.map(drop)
}

impl Ask {
    /// Whether the answer to this read is content as it is, and not JSON around it.
    pub(super) fn wants_content(&self, kind: ResourceType) -> bool {
        self.raw && kind == ResourceType::BINARY
    }
}
