//! `$validate`, `$meta`, `$meta-add` and `$meta-delete` (FHIR R4 resource-operations.html).

use custodia_audit::Kind;
use serde_json::{Value, json};

use super::{
    Ask, Failure, Head, Return, attempts::Attempts, create, desk::Desk, forbidden, hold, malformed,
    open::current, parse_body, patch, written,
};
use crate::{
    answer::Answer,
    app::App,
    fhir::{
        json::to_bytes,
        kinds::{LogicalId, ResourceType},
        outcome::{IssueCode, OperationOutcome, Problem},
        patch::{MetaChange, Patch},
        search::form,
        validate::Wanted,
    },
    gate::Act,
    ledger::{Audited, Rejected, Released},
    refusal::Refusal,
    seal::Plain,
};

/// What a resource is validated for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Create,
    Update,
    Delete,
}

/// What is to be validated.
#[derive(Default)]
struct Asked {
    resource: Option<Value>,
    mode: Option<String>,
    profile: Option<String>,
}

/// `POST [base]/Type/$validate` and `POST [base]/Type/id/$validate`: by the base definition of the type, by the profiles the
/// resource claims, and by the one that is asked for.
///
/// The answer is 200 whatever is found; nothing is stored. Mode delete says whether the caller could delete.
///
/// # Errors
/// [`Failure`] as every interaction; 400 for a profile that is not known here.
pub async fn validate(
    app: &App,
    ask: &Ask,
    kind: ResourceType,
    id: Option<&LogicalId>,
    query: &str,
    body: &[u8],
) -> Result<Audited<Answer>, Failure> {
    let asked = Asked::parse(kind, query, body)?;
    let mode = match asked.mode.as_deref() {
        None => None,
        Some("create") => Some(Mode::Create),
        Some("update") => Some(Mode::Update),
        Some("delete") => Some(Mode::Delete),
        Some(_) => return Err(malformed(IssueCode::Value, "mode: expected create, update or delete.")),
    };
    let act = match mode {
        Some(Mode::Create) => Act::Create,
        Some(Mode::Update) => Act::Update,
        Some(Mode::Delete) => Act::Delete,
        None if id.is_some() => Act::Update,
        None => Act::Create,
    };
    app.gate.approach(&ask.caller, act, kind).map_err(forbidden)?;
    let profile = check_profile(app, kind, asked.profile.as_deref())?;
    let mut problems = Vec::new();
    if mode == Some(Mode::Delete) {
        let id = id.ok_or_else(|| malformed(IssueCode::Required, "mode delete needs the id of a record."))?;
        deletable(app, ask, kind, id).await?;
        problems.push(Problem::information("The record can be deleted."));
    } else {
        let resource =
            asked.resource.ok_or_else(|| malformed(IssueCode::Required, "A resource is required."))?;
        problems.extend(hold::all(app, &resource, kind, profile, Wanted::All).await);
        let given = resource.get("id").and_then(Value::as_str);
        let wrong = match (id, mode) {
            (Some(id), mode) if mode != Some(Mode::Create) => given != Some(id.as_str()),
            (None, Some(Mode::Update)) => given.is_none(),
            _ => false,
        };
        if wrong {
            let text = "An update needs the id of the record in the resource too.";
            problems.push(Problem::error(IssueCode::Invalid, text).at(format!("{}.id", kind.name())));
        }
    }
    // What refuses comes first, whoever found it.
    problems.sort_by_key(|problem| std::cmp::Reverse(problem.severity));
    let answer = Answer::fhir(200, OperationOutcome(problems).to_bytes());
    Ok(app.ledger.state(&ask.access, Kind::Access, answer).await?)
}

impl Asked {
    /// A resource alone with parameters in the query, or a Parameters resource.
    fn parse(kind: ResourceType, query: &str, body: &[u8]) -> Result<Self, Failure> {
        let mut asked = Self::default();
        let pairs = form::decode(query.as_bytes()).map_err(|problem| Refusal::Malformed(vec![problem]))?;
        for (name, value) in pairs {
            match name.as_str() {
                "mode" => asked.mode = Some(value),
                "profile" => asked.profile = Some(value),
                "_format" | "_pretty" => {}
                _ => {
                    let text = "$validate knows resource, mode and profile.".to_owned();
                    return Err(Refusal::NotSupported(text).into());
                }
            }
        }
        let sent = parse_body(body)?;
        let named = |value: &Value, name: &str| value.get("name").and_then(Value::as_str) == Some(name);
        let parameters = sent.get("parameter").and_then(Value::as_array);
        let is_wrapper = sent.get("resourceType").and_then(Value::as_str) == Some("Parameters")
            && (kind != ResourceType::PARAMETERS
                || parameters.is_some_and(|all| all.iter().any(|one| named(one, "resource"))));
        if !is_wrapper {
            asked.resource = Some(sent);
            return Ok(asked);
        }
        for parameter in parameters.into_iter().flatten() {
            let text = |member: &str| parameter.get(member).and_then(Value::as_str).map(str::to_owned);
            if named(parameter, "resource") {
                asked.resource = parameter.get("resource").cloned();
            } else if named(parameter, "mode") {
                asked.mode = text("valueCode").or_else(|| text("valueString"));
            } else if named(parameter, "profile") {
                asked.profile = text("valueUri").or_else(|| text("valueCanonical"));
            } else {
                let text = "$validate knows resource, mode and profile.".to_owned();
                return Err(Refusal::NotSupported(text).into());
            }
        }
        Ok(asked)
    }
}

/// The profile that is asked for beyond the definition of the type itself.
fn check_profile<'a>(
    app: &App,
    kind: ResourceType,
    profile: Option<&'a str>,
) -> Result<Option<&'a str>, Failure> {
    let base = format!("http://hl7.org/fhir/StructureDefinition/{}", kind.name());
    let is_base = |profile: &str| {
        profile.strip_prefix(&base).is_some_and(|rest| matches!(rest, "" | "|4.0" | "|4.0.1"))
    };
    let Some(profile) = profile.filter(|profile| !is_base(profile)) else { return Ok(None) };
    if app.conformance.load().profiles.get(profile).is_some() {
        return Ok(Some(profile));
    }
    let text = "This server does not know that profile: its package is added with `custodia packages add`.";
    Err(Refusal::NotSupported(text.to_owned()).into())
}

/// Refuses as a delete would be refused.
async fn deletable(app: &App, ask: &Ask, kind: ResourceType, id: &LogicalId) -> Result<(), Failure> {
    current(app, ask, Act::Delete, kind, id).await.map(|_| ())
}

/// `GET [base]/Type/id/$meta`: profiles, tags and security labels of the current version.
///
/// # Errors
/// [`Failure`] as every interaction.
pub async fn meta(
    app: &App,
    ask: &Ask,
    kind: ResourceType,
    id: &LogicalId,
) -> Result<Audited<Answer>, Failure> {
    app.gate.approach(&ask.caller, Act::Read, kind).map_err(forbidden)?;
    let (record, permit) = current(app, ask, Act::Read, kind, id).await?;
    let head = Head { version: record.at.version, updated: record.at.updated, location: None };
    let released = vec![Released { permit, version: record.version() }];
    let answer = record.opened.map_with(&head, |Plain { json, .. }, head| {
        let mut answer = Answer::fhir(200, returned(&json));
        head.put(&mut answer);
        answer
    });
    Ok(app.ledger.disclose(&ask.access, released, answer).await?)
}

/// The meta of a resource, as the operations return it.
fn returned(json: &[u8]) -> Vec<u8> {
    let resource: Value = serde_json::from_slice(json).unwrap_or_default();
    let meta = resource.get("meta").cloned().unwrap_or_else(|| json!({}));
    let parameter = json!({ "name": "return", "valueMeta": meta });
    to_bytes(&json!({ "resourceType": "Parameters", "parameter": [parameter] }))
}

/// `POST [base]/Type/id/$meta-add` and `$meta-delete`: a new version with other profiles, tags or labels.
///
/// Decided as any update: what the policies make of the labels before, and of those after.
///
/// # Errors
/// [`Failure`] as every interaction.
pub async fn change_meta(
    app: &App,
    ask: &Ask,
    kind: ResourceType,
    id: &LogicalId,
    change: MetaChange,
    body: &[u8],
) -> Result<Audited<Answer>, Failure> {
    patch::approach(app, ask, kind, None)?;
    let parameters = parse_body(body)?;
    patch::parameters(app, &parameters)?;
    let patch = Patch::of_meta(&parameters, change).map_err(|problem| Refusal::Malformed(vec![problem]))?;
    let mut attempts = Attempts::default();
    loop {
        let mut desk = Desk::open(app, &ask.caller, &mut attempts)?;
        let (ready, released) = patch::prepare(app, ask, &mut desk, kind, id, &patch).await?;
        let head = create::head(app, kind, id, ready.version, ready.updated);
        let answer = written(200, Return::Representation, &head, returned(&ready.json), Vec::new());
        match app.ledger.commit(&ask.access, vec![ready.written], vec![released], answer).await {
            Err(Rejected::Stale(why)) => attempts.again(app, ask.caller.tenant(), why).await?,
            other => return Ok(other?),
        }
    }
}
