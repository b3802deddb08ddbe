//! A transaction before it runs: its order, the ids of what it creates, its references resolved.
//!
//! FHIR R4 http.html#trules. May import only std and what stands beside it in `fhir`.

use std::collections::{HashMap, HashSet};

use super::super::kinds::{LogicalId, ResourceType};
use super::super::outcome::{IssueCode, Problem};
use super::super::reference::{BaseUrl, Reference, rewrite, walk};
use super::{Entry, Method, Target};

/// One entry of a transaction, ready to run.
pub struct Step {
    /// The entry, with every reference in its resource resolved.
    pub entry: Entry,
    /// What is written: the target of a PUT, PATCH or DELETE; for a POST, its type and a new id.
    pub written: Option<(ResourceType, LogicalId)>,
}

/// Puts a transaction in the order it runs in: DELETE, POST, PUT and PATCH, then GET and HEAD.
///
/// Each POST gets an id from `new_id`. A reference to the fullUrl of an entry becomes `Type/id`, wherever
/// the other entry stands, in circles too. A relative reference in an entry whose fullUrl is a RESTful URL
/// is first looked for under that URL's own base (bundle.html#references).
///
/// # Errors
/// Two entries that write the same resource or have the same fullUrl, a urn that no entry has, and what
/// needs a search inside a transaction: conditional requests and conditional references.
pub fn plan(
    entries: Vec<Entry>,
    base: &BaseUrl,
    mut new_id: impl FnMut() -> LogicalId,
) -> Result<Vec<Step>, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut steps: Vec<Step> = Vec::with_capacity(entries.len());
    for entry in entries {
        check_unconditional(&entry, &mut problems);
        let written = match (&entry.target, entry.method) {
            (_, Method::Get | Method::Head) => None,
            (Target::Type(kind), Method::Post) => Some((*kind, new_id())),
            (Target::Instance(kind, id), _) => Some((*kind, id.clone())),
            _ => None,
        };
        steps.push(Step { entry, written });
    }
    check_unique(&steps, &mut problems);
    let addresses = addresses(&steps);
    for step in &mut steps {
        resolve(&mut step.entry, &addresses, base, &mut problems);
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

fn check_unconditional(entry: &Entry, problems: &mut Vec<Problem>) {
    const TEXT: &str = "Conditional requests inside a transaction are not supported.";
    let reads = matches!(entry.method, Method::Get | Method::Head);
    if matches!(entry.target, Target::Search(..)) && !reads {
        problems.push(refuse(entry, ".request.url", IssueCode::NotSupported, TEXT));
    }
    if entry.if_none_exist.is_some() {
        problems.push(refuse(entry, ".request.ifNoneExist", IssueCode::NotSupported, TEXT));
    }
    if matches!(entry.target, Target::Operation(_)) && !reads {
        let text = "Operations by POST inside a transaction are not supported.";
        problems.push(refuse(entry, ".request.url", IssueCode::NotSupported, text));
    }
}

fn check_unique(steps: &[Step], problems: &mut Vec<Problem>) {
    let (mut urls, mut targets) = (HashSet::new(), HashSet::new());
    for step in steps {
        let entry = &step.entry;
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
            let (kind, id) = match (&step.written, &step.entry.target) {
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
    base: &BaseUrl,
    problems: &mut Vec<Problem>,
) {
    let Some(mut resource) = entry.resource.take() else { return };
    let own_base = entry.full_url.as_deref().and_then(restful_base);
    rewrite(&mut resource, |link| {
        if let Some(address) = addresses.get(link) {
            return Some(address.clone());
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
        let text = "Conditional references are not supported.";
        problems.push(refuse(entry, ".resource", IssueCode::NotSupported, text));
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
