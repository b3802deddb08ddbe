//! What a resource is held to before it is stored: R4, and the profiles it claims.

use serde_json::{Map, Value};

use super::Failure;
use crate::{
    app::App,
    fhir::{
        kinds::ResourceType,
        outcome::{IssueCode, Problem},
        package::Conformance,
        validate::{
            PROBLEMS_MAX, Wanted, problems,
            profile::{Bench, CLAIMED_MAX, judge},
        },
    },
    refusal::Refusal,
};

/// The problems of a resource with R4 and, if that refuses nothing, with the profiles it claims and are known.
pub(super) fn all(app: &App, resource: &Value, kind: ResourceType, wanted: Wanted) -> Vec<Problem> {
    let mut found = problems(&app.definitions, resource, Some(kind), wanted);
    if !found.iter().any(Problem::refuses) {
        found.extend(claimed(app, &app.conformance.load(), resource, wanted));
    }
    found
}

/// Refuses a resource that has problems.
pub(super) fn hold(app: &App, resource: &Value, kind: ResourceType) -> Result<(), Refusal> {
    let found = all(app, resource, kind, Wanted::Refusals);
    if found.iter().any(Problem::refuses) { Err(Refusal::Invalid(found)) } else { Ok(()) }
}

/// Refuses a transaction whose entries have problems with R4 or with the profiles they claim.
pub(super) fn hold_bundle(app: &App, bundle: &Value) -> Result<(), Failure> {
    let mut found = problems(&app.definitions, bundle, Some(ResourceType::BUNDLE), Wanted::Refusals);
    if found.is_empty() {
        let conformance = app.conformance.load();
        let entries = bundle.get("entry").and_then(Value::as_array).into_iter().flatten();
        for (index, entry) in entries.enumerate() {
            let Some(resource) = entry.get("resource") else { continue };
            for problem in claimed(app, &conformance, resource, Wanted::Refusals) {
                let inside =
                    problem.expression.as_deref().and_then(|at| at.split_once('.')).map(|(_, at)| at);
                let at = match inside {
                    Some(inside) => format!("Bundle.entry[{index}].resource.{inside}"),
                    None => format!("Bundle.entry[{index}].resource"),
                };
                found.push(problem.at(at));
            }
            if found.len() >= PROBLEMS_MAX {
                break;
            }
        }
    }
    if found.iter().any(Problem::refuses) { Err(Refusal::Invalid(found).into()) } else { Ok(()) }
}

/// By one profile that is named. Its problems, or that it is not known.
pub(super) fn by(
    app: &App,
    resource: &Map<String, Value>,
    url: &str,
    wanted: Wanted,
) -> Option<Vec<Problem>> {
    let conformance = app.conformance.load();
    let profile = conformance.profiles.get(url)?;
    let vocabulary = conformance.vocabulary(None);
    let (definitions, profiles) = (&app.definitions, &conformance.profiles);
    Some(judge(Bench { definitions, profiles, vocabulary: &vocabulary, wanted }, profile, resource))
}

/// By the profiles in `meta.profile`. One that is not known is no reason to refuse, and is told when warnings are wanted.
fn claimed(app: &App, conformance: &Conformance, resource: &Value, wanted: Wanted) -> Vec<Problem> {
    let Some(Value::Array(urls)) = resource.pointer("/meta/profile") else { return Vec::new() };
    let Some(object) = resource.as_object() else { return Vec::new() };
    if conformance.profiles.is_empty() && wanted == Wanted::Refusals {
        return Vec::new();
    }
    let kind = resource.get("resourceType").and_then(Value::as_str).and_then(ResourceType::from_name);
    let root = kind.map_or("Resource", ResourceType::name);
    if urls.len() > CLAIMED_MAX {
        let text = format!("a resource may claim {CLAIMED_MAX} profiles at the most");
        return vec![
            Problem::error(IssueCode::TooCostly, text)
                .by("profile.claimed")
                .at(format!("{root}.meta.profile")),
        ];
    }
    let mut found = Vec::new();
    let mut vocabulary = None;
    for (index, url) in urls.iter().enumerate() {
        let Some(url) = url.as_str() else { continue };
        if url.strip_prefix("http://hl7.org/fhir/StructureDefinition/") == Some(root) {
            continue;
        }
        let Some(profile) = conformance.profiles.get(url) else {
            if wanted == Wanted::All {
                let text = "this profile is not known here: the resource was not checked against it";
                let problem = Problem::warning(IssueCode::NotSupported, text).by("profile.unknown");
                found.push(problem.at(format!("{root}.meta.profile[{index}]")));
            }
            continue;
        };
        let vocabulary = &*vocabulary.get_or_insert_with(|| conformance.vocabulary(None));
        let (definitions, profiles) = (&app.definitions, &conformance.profiles);
        found.extend(judge(Bench { definitions, profiles, vocabulary, wanted }, profile, object));
    }
    found
}
