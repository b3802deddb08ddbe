//! `$lookup`, `$validate-code`, `$expand` and `$translate` (FHIR R4 terminology-service.html).
//!
//! Known are the terminology of R4, of the packages, and what CodeSystems, ValueSets and ConceptMaps the caller may read: those
//! are named in the entry like any record that is read. What R4 or a package defines is not looked for among records. What none
//! of these know another server is asked, where one is configured; when it is away the answer is 503.

mod known;

use custodia_audit::Kind;
use serde_json::Value;

use super::{Ask, Failure, forbidden, malformed, parse_body};
use crate::{
    answer::Answer,
    app::App,
    fhir::{
        json::to_bytes,
        kinds::{LogicalId, ResourceType},
        meta::instant,
        outcome::IssueCode,
        search::form,
        terminology::answer::{Asked, Operation, answer},
    },
    gate::Act,
    ledger::Audited,
    refusal::Refusal,
    seal::Opened,
};
pub use known::RECORDS_MAX;
pub(super) use known::{Known, unpack};

/// `GET [base]/Type/$operation?...`, `GET [base]/Type/id/$operation?...` and `POST [base]/Type/$operation` with Parameters.
///
/// # Errors
/// [`Failure`] as every interaction; 400 for what is not known here.
pub async fn run(
    app: &App,
    ask: &Ask,
    operation: Operation,
    (kind, id): (ResourceType, Option<&LogicalId>),
    query: &str,
    body: Option<&[u8]>,
) -> Result<Audited<Answer>, Failure> {
    app.gate.approach(&ask.caller, Act::Read, kind).map_err(forbidden)?;
    let mut asked = parse(operation, query, body)?;
    let mut known = Known::open(app).await;
    if let Some(id) = id {
        let url = known.read_by_id(app, ask, kind, id).await?;
        asked.of_instance(&url, kind.name(), operation);
    }
    known.read_by_url(app, ask, asked.urls(operation, kind.name())).await?;
    let questions = asked.questions(&known.vocabulary(), operation, kind.name());
    known.ask(app, questions).await;
    let (id, now) = (app.clock.random_id().hyphenated().to_string(), instant(app.clock.now()));
    match answer(&known.vocabulary(), operation, kind.name(), &asked, (&id, &now)) {
        // No translation is known here; whether there is one elsewhere is not.
        Ok(_) if known.away && operation == Operation::Translate => Err(known.failure(Refusal::Unavailable)),
        Ok(resource) => {
            let answer = Answer::fhir(200, to_bytes(&resource));
            if known.released.is_empty() {
                return Ok(app.ledger.state(&ask.access, Kind::Access, answer).await?);
            }
            Ok(app.ledger.disclose(&ask.access, known.released, Opened::from_caller(answer)).await?)
        }
        Err(_) if known.away => Err(known.failure(Refusal::Unavailable)),
        Err(problem) => Err(known.failure(Refusal::Malformed(vec![problem]))),
    }
}

fn parse(operation: Operation, query: &str, body: Option<&[u8]>) -> Result<Asked, Failure> {
    let mut asked = Asked::default();
    let pairs = form::decode(query.as_bytes()).map_err(|problem| Refusal::Malformed(vec![problem]))?;
    for (name, value) in pairs.iter().filter(|(name, _)| !matches!(name.as_str(), "_format" | "_pretty")) {
        asked.text(operation, name, value).map_err(|problem| Refusal::Malformed(vec![problem]))?;
    }
    if let Some(body) = body {
        let sent = parse_body(body)?;
        if sent.get("resourceType").and_then(Value::as_str) != Some("Parameters") {
            return Err(malformed(IssueCode::Invalid, "A Parameters resource is expected."));
        }
        asked.parameters(operation, &sent).map_err(|problem| Refusal::Malformed(vec![problem]))?;
    }
    Ok(asked)
}
