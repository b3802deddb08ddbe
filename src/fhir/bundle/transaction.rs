//! A transaction before it runs: its order, the ids of what it creates, its references resolved.
//!
//! FHIR R4 http.html#trules. May import only std and what stands beside it in `fhir`.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::super::kinds::{LogicalId, ResourceType};
use super::super::outcome::{IssueCode, Problem};
use super::super::reference::{BaseUrl, Reference, rewrite, walk};
use super::{Entry, Method, Settled, Target};

/// One entry of a transaction, ready to run.
pub struct Step {
    /// The entry, with every reference in its resource resolved.
    pub entry: Entry,
    /// What is written: the target of a PUT, PATCH or DELETE; for a POST, its type and a new id. Of a conditional
    /// request what matched, or what is created as nothing did.
    pub written: Option<(ResourceType, LogicalId)>,
    /// The record that keeps a conditional create from creating.
    pub existing: Option<(ResourceType, LogicalId)>,
}

/// Puts a transaction in the order it runs in: DELETE, POST, PUT and PATCH, then GET and HEAD.
///
/// Each POST gets an id from `new_id`. A reference to the fullUrl of an entry becomes `Type/id`, wherever
/// the other entry stands, in circles too. A relative reference in an entry whose fullUrl is a RESTful URL
/// is first looked for under that URL's own base (bundle.html#references).
///
/// `settled` says what the conditions of the entries found (see [`super::conditions`]).
///
/// # Errors
/// Two entries that write the same resource, have the same fullUrl or create under the same condition, a urn that no
/// entry has, and a conditional reference that found nothing.
pub fn plan(
    entries: Vec<Entry>,
    settled: &Settled,
    base: &BaseUrl,
    mut new_id: impl FnMut() -> LogicalId,
) -> Result<Vec<Step>, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut steps: Vec<Step> = Vec::with_capacity(entries.len());
    for entry in entries {
        check_operation(&entry, &mut problems);
        steps.push(step(entry, settled, &mut new_id, &mut problems));
    }
    check_unique(&steps, &mut problems);
    let addresses = addresses(&steps);
    for step in &mut steps {
        resolve(&mut step.entry, &addresses, settled, base, &mut problems);
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    steps.sort_by_key(|step| match step.entry.method {
        Method::Delete => 0,
        Method::Post => 1,
        Method::Put | Method::Patch => 2,
        Method::Get | Method::Head => 3,
    });
    Ok(steps)
}

fn refuse(entry: &Entry, at: &str, code: IssueCode, text: impl Into<String>) -> Problem {
    Problem::error(code, text.into()).at(format!("{}{at}", entry.place())).by("bundle.transaction")
}

/// What an entry writes, its condition being settled.
fn step(
    mut entry: Entry,
    settled: &Settled,
    new_id: &mut impl FnMut() -> LogicalId,
    problems: &mut Vec<Problem>,
) -> Step {
    let found = settled.entries.get(&entry.index).cloned().flatten();
    let (written, existing) = match (&entry.target, entry.method) {
        (_, Method::Get | Method::Head) => (None, None),
        (Target::Type(_), Method::Post) if found.is_some() => (None, found),
        (Target::Type(kind), Method::Post) => (Some((*kind, new_id())), None),
        (Target::Instance(kind, id), _) => (Some((*kind, id.clone())), None),
        (Target::Search(kind, _), Method::Put) => {
            let kind = *kind;
            let given = entry.resource.as_ref().and_then(|r| r.get("id")).and_then(Value::as_str);
            let given = given.and_then(LogicalId::parse);
            let id = match (found, given) {
                (Some((_, id)), given) => {
                    if given.is_some_and(|given| given != id) {
                        let text = "The resource's id is another than that of the record that matches.";
                        problems.push(refuse(&entry, ".resource.id", IssueCode::Invalid, text));
                    }
                    id
                }
                (None, Some(given)) => given,
                (None, None) => new_id(),
            };
            if let Some(Value::Object(object)) = &mut entry.resource {
                object.insert("id".to_owned(), Value::from(id.as_str()));
            }
            (Some((kind, id)), None)
        }
        (Target::Search(..), _) => (found, None),
        _ => (None, None),
    };
    Step { entry, written, existing }
}

fn check_operation(entry: &Entry, problems: &mut Vec<Problem>) {
    if matches!(entry.target, Target::Operation(_)) && !matches!(entry.method, Method::Get | Method::Head) {
        let text = "Operations by POST inside a transaction are not supported.";
        problems.push(refuse(entry, ".request.url", IssueCode::NotSupported, text));
    }
}

fn check_unique(steps: &[Step], problems: &mut Vec<Problem>) {
    let (mut urls, mut targets, mut conditions) = (HashSet::new(), HashSet::new(), HashSet::new());
    for step in steps {
        let entry = &step.entry;
        let creates =
            entry.if_none_exist.as_ref().zip(step.written.as_ref()).map(|(query, (kind, _))| (kind, query));
        if creates.is_some_and(|condition| !conditions.insert(condition)) {
            let text = "An entry before this one creates under the same condition.";
            problems.push(refuse(entry, ".request.ifNoneExist", IssueCode::Duplicate, text));
        }
        if entry.full_url.as_ref().is_some_and(|url| !urls.insert(url)) {
            let text = "An entry before this one has the same fullUrl.";
            problems.push(refuse(entry, ".fullUrl", IssueCode::Duplicate, text));
        }
        if step.written.as_ref().is_some_and(|target| !targets.insert(target)) {
            let text = "An entry before this one writes the same resource.";
            problems.push(refuse(entry, ".request.url", IssueCode::Duplicate, text));
        }
    }
}

/// From the fullUrl of each entry that leaves a resource to `Type/id`.
fn addresses(steps: &[Step]) -> HashMap<String, String> {
    let left = |step: &&Step| step.entry.method != Method::Delete;
    steps
        .iter()
        .filter(left)
        .filter_map(|step| {
            let (kind, id) = match (step.written.as_ref().or(step.existing.as_ref()), &step.entry.target) {
                (Some((kind, id)), _) | (None, Target::Instance(kind, id)) => (kind, id),
                _ => return None,
            };
            Some((step.entry.full_url.clone()?, format!("{}/{}", kind.name(), id.as_str())))
        })
        .collect()
}

fn resolve(
    entry: &mut Entry,
    addresses: &HashMap<String, String>,
    settled: &Settled,
    base: &BaseUrl,
    problems: &mut Vec<Problem>,
) {
    let Some(mut resource) = entry.resource.take() else { return };
    let own_base = entry.full_url.as_deref().and_then(restful_base);
    rewrite(&mut resource, |link| {
        if let Some(address) = addresses.get(link) {
            return Some(address.clone());
        }
        if !settled.references.is_empty()
            && let Some(Reference::Conditional(kind, query)) = Reference::parse(link, base)
        {
            let id = settled.references.get(&(kind, query))?;
            return Some(format!("{}/{}", kind.name(), id.as_str()));
        }
        let relative =
            own_base.filter(|_| matches!(Reference::parse(link, base), Some(Reference::Local { .. })))?;
        addresses.get(&format!("{relative}/{link}")).cloned()
    });
    // A path inside the resource could hold a member name of the client's: only the entry is named.
    let (mut urn, mut conditional) = (false, false);
    walk(&resource, |_, text| match Reference::parse(text, base) {
        Some(Reference::Urn(_)) => urn = true,
        Some(Reference::Conditional(..)) => conditional = true,
        _ => {}
    });
    if urn {
        let text = "A reference is to a urn that is the fullUrl of no entry.";
        problems.push(refuse(entry, ".resource", IssueCode::NotFound, text));
    }
    if conditional {
        let text = "A conditional reference matches no record, or none that you may see.";
        problems.push(refuse(entry, ".resource", IssueCode::NotFound, text));
    }
    entry.resource = Some(resource);
}

/// The base of a RESTful URL, which ends in `Type/id`; `None` for a urn and other URLs.
fn restful_base(full_url: &str) -> Option<&str> {
    let (rest, id) = full_url.rsplit_once('/')?;
    let (base, kind) = rest.rsplit_once('/')?;
    LogicalId::parse(id)?;
    ResourceType::from_name(kind)?;
    base.contains("://").then_some(base)
}
