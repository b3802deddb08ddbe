//! `$lookup`, `$validate-code`, `$expand` and `$translate` (FHIR R4 terminology-service.html).
//!
//! Known are the terminology of R4, of the packages, and what CodeSystems, ValueSets and ConceptMaps the caller may read: those
//! are named in the entry like any record that is read. What R4 or a package defines is not looked for among records.

use std::collections::BTreeSet;

use custodia_audit::Kind;
use serde_json::Value;

use super::{
    Ask, Failure, forbidden, malformed,
    open::{Record, open_permitted},
    parse_body, search,
};
use crate::{
    answer::Answer,
    app::App,
    fhir::{
        json::to_bytes,
        kinds::{LogicalId, ResourceType},
        meta::instant,
        outcome::IssueCode,
        package::Conformance,
        search::form,
        terminology::{
            Terms,
            answer::{Asked, Operation, answer},
            canonical,
        },
    },
    gate::Act,
    ledger::{Audited, Released},
    refusal::{Refusal, Why},
    seal::Opened,
};

/// How many records of terminology one request may look at.
pub const RECORDS_MAX: usize = 16;

/// What of the caller's own terminology was read.
#[derive(Default)]
struct Own {
    terms: Terms,
    released: Vec<Released>,
    looked_for: BTreeSet<(String, String)>,
}

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
    let conformance = app.conformance.load_full();
    let mut own = Own::default();
    if let Some(id) = id {
        let url = by_id(app, ask, kind, id, &mut own).await?;
        asked.of_instance(&url, kind.name(), operation);
    }
    let asking = asked.urls(operation, kind.name());
    gather(app, ask, &conformance, asking, &mut own).await?;
    let (id, now) = (app.clock.random_id().hyphenated().to_string(), instant(app.clock.now()));
    let vocabulary = conformance.vocabulary(Some(&own.terms));
    match answer(&vocabulary, operation, kind.name(), &asked, (&id, &now)) {
        Ok(resource) => {
            let answer = Answer::fhir(200, to_bytes(&resource));
            if own.released.is_empty() {
                return Ok(app.ledger.state(&ask.access, Kind::Access, answer).await?);
            }
            Ok(app.ledger.disclose(&ask.access, own.released, Opened::from_caller(answer)).await?)
        }
        Err(problem) => {
            let refusal = Refusal::Malformed(vec![problem]);
            if own.released.is_empty() {
                Err(refusal.into())
            } else {
                Err(Failure::Told(refusal, own.released))
            }
        }
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

/// The record the address names, read as any read; the url it is known by from here on.
async fn by_id(
    app: &App,
    ask: &Ask,
    kind: ResourceType,
    id: &LogicalId,
    own: &mut Own,
) -> Result<String, Failure> {
    let view = ask.view(app);
    let key = app.keyring.tenant(view.tenant)?.opaque(kind, id.as_str());
    let row = app.store.fetcher().record(view.tenant, kind, key, view.actor, view.now).await?;
    let row = row.ok_or(Refusal::NotFound(Why::Absent))?;
    let (record, permit) = open_permitted(app, &ask.caller, &view, Act::Read, row).await?;
    if record.at.deleted {
        return Err(Refusal::Gone.into());
    }
    let (mut resource, released) = record.revise(permit)?;
    own.released.push(released);
    // Under a url of its own, so that a set of R4 of the same url does not answer in its place.
    let url = format!("{}/{}/{}", app.base.as_str(), kind.name(), id.as_str());
    if let Some(object) = resource.as_object_mut() {
        object.insert("url".to_owned(), Value::from(url.as_str()));
    }
    own.take(&resource);
    Ok(url)
}

/// Reads the caller's own resources of these urls, and those they refer to, where R4 and the packages have none.
async fn gather(
    app: &App,
    ask: &Ask,
    conformance: &Conformance,
    asking: Vec<(&'static str, String)>,
    own: &mut Own,
) -> Result<(), Failure> {
    let mut wanted: Vec<(String, String)> =
        asking.into_iter().map(|(kind, url)| (kind.to_owned(), url)).collect();
    wanted.extend(own.looked_for.iter().cloned());
    own.looked_for.clear();
    while let Some((kind, url)) = wanted.pop() {
        let url = canonical(&url).0.to_owned();
        let is_known = {
            let vocabulary = conformance.vocabulary(Some(&own.terms));
            match kind.as_str() {
                "CodeSystem" => vocabulary.system(&url).is_some(),
                "ValueSet" => vocabulary.set(&url).is_some(),
                _ => vocabulary.maps().any(|map| *map.url == *url),
            }
        };
        if is_known
            || !own.looked_for.insert((kind.clone(), url.clone()))
            || own.looked_for.len() > RECORDS_MAX
        {
            continue;
        }
        let Some(kind) = ResourceType::from_name(&kind) else { continue };
        if let Some((resource, released)) = by_url(app, ask, kind, &url).await? {
            own.released.push(released);
            wanted.extend(references(&resource));
            own.terms.add(&resource);
        }
    }
    Ok(())
}

/// The newest record of this url that the caller may search for and read.
async fn by_url(
    app: &App,
    ask: &Ask,
    kind: ResourceType,
    url: &str,
) -> Result<Option<(Value, Released)>, Failure> {
    if app.gate.approach(&ask.caller, Act::Search, kind).is_err() {
        return Ok(None);
    }
    let mut query = String::from("url=");
    for byte in url.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => query.push(char::from(byte)),
            // A comma and the like are part of the value here.
            b',' | b'$' | b'|' | b'\\' => query.push_str(&format!("%5C%{byte:02X}")),
            _ => query.push_str(&format!("%{byte:02X}")),
        }
    }
    let found = search::matching(app, ask, kind, &query, 1).await?;
    let Some((record, _)) = found.into_iter().next() else { return Ok(None) };
    let record: Record = record;
    let Ok(read) = record.also(app, &ask.caller, Act::Read) else { return Ok(None) };
    record.revise(read).map(Some)
}

impl Own {
    fn take(&mut self, resource: &Value) {
        self.looked_for.extend(references(resource));
        self.terms.add(resource);
    }
}

/// The CodeSystems and ValueSets that a ValueSet takes codes from.
fn references(resource: &Value) -> Vec<(String, String)> {
    let parts =
        ["include", "exclude"].into_iter().filter_map(|name| resource.get("compose")?.get(name)?.as_array());
    let mut found = Vec::new();
    for part in parts.flatten() {
        let sets =
            part.get("valueSet").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        found.extend(sets.map(|url| ("ValueSet".to_owned(), url.to_owned())));
        if part.get("concept").is_none() {
            let system = part.get("system").and_then(Value::as_str);
            found.extend(system.map(|url| ("CodeSystem".to_owned(), url.to_owned())));
        }
    }
    found
}
