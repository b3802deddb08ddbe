//! What a resource is held to before it is stored: R4, and the profiles it claims.
//!
//! Codes of required and extensible bindings that are not known here another server is asked, where one is configured. What
//! it does not answer is a warning: nobody who is away keeps a record from being written.

use std::cell::RefCell;

use serde_json::{Map, Value};

use super::{Failure, terminology::unpack};
use crate::{
    app::App,
    fhir::{
        kinds::ResourceType,
        outcome::{IssueCode, Problem},
        package::Conformance,
        relation::RELATIONS_MAX,
        search::added,
        terminology::{Question, Terms, Told, once},
        validate::{
            PROBLEMS_MAX, Wanted, problems,
            profile::{Bench, CLAIMED_MAX, OpenCode, judge},
        },
    },
    refusal::Refusal,
};

/// The most patients one record may be about: each has a key it is sealed for, and an entry at each access.
const PATIENTS_MAX: usize = 100;

/// Refuses a record about too many, before anything is looked up for them.
pub(super) fn size(patients: usize, relations: usize) -> Result<(), Failure> {
    let text = if patients > PATIENTS_MAX {
        format!(
            "One record may be about {PATIENTS_MAX} patients at the most. Write one for each patient, or for fewer."
        )
    } else if relations > RELATIONS_MAX {
        format!(
            "One record may state {RELATIONS_MAX} relationships between patients and those who care for them at the \
             most. Divide its participants among several records."
        )
    } else {
        return Ok(());
    };
    Err(Refusal::Invalid(vec![Problem::error(IssueCode::TooCostly, text)]).into())
}

/// The problems of a resource with R4 and, if that refuses nothing, with what it defines and with the profiles it claims and
/// are known, and with one that is named beside them.
pub(super) async fn all(
    app: &App,
    resource: &Value,
    kind: ResourceType,
    named: Option<&str>,
    wanted: Wanted,
) -> Vec<Problem> {
    let mut found = problems(&app.definitions, resource, Some(kind), wanted);
    let claims = !found.iter().any(Problem::refuses);
    if claims {
        found.extend(defined(app, resource));
    }
    if claims || named.is_some() {
        let by = By { claims, named };
        let judged = by_profiles(app, &[(resource, by)], wanted).await;
        found.extend(judged.into_iter().flatten());
    }
    found
}

/// Refuses a resource that has problems.
pub(super) async fn hold(app: &App, resource: &Value, kind: ResourceType) -> Result<(), Refusal> {
    let found = all(app, resource, kind, None, Wanted::Refusals).await;
    if found.iter().any(Problem::refuses) { Err(Refusal::Invalid(found)) } else { Ok(()) }
}

/// Refuses a transaction whose entries have problems with R4 or with the profiles they claim.
pub(super) async fn hold_bundle(app: &App, bundle: &Value) -> Result<(), Failure> {
    let mut found = problems(&app.definitions, bundle, Some(ResourceType::BUNDLE), Wanted::Refusals);
    if found.is_empty() {
        let entries = bundle.get("entry").and_then(Value::as_array).into_iter().flatten();
        let resources = entries.enumerate().filter_map(|(at, entry)| Some((at, entry.get("resource")?)));
        let (places, resources): (Vec<usize>, Vec<_>) =
            resources.map(|(at, resource)| (at, (resource, By { claims: true, named: None }))).unzip();
        let judged = by_profiles(app, &resources, Wanted::Refusals).await;
        let own = resources.iter().map(|(resource, _)| defined(app, resource));
        for (index, (own, problems)) in places.into_iter().zip(own.zip(judged)) {
            for problem in own.into_iter().chain(problems) {
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

/// What is wrong with the search parameter that a resource defines, if it defines one.
fn defined(app: &App, resource: &Value) -> Vec<Problem> {
    let definition = added::Definition::of(resource);
    definition.and_then(|one| added::compile(&app.definitions, &one).err()).unwrap_or_default()
}

/// By which profiles a resource is judged.
#[derive(Clone, Copy)]
struct By<'a> {
    /// Those in `meta.profile`.
    claims: bool,
    /// One by its url.
    named: Option<&'a str>,
}

/// By profiles: first with what is known here, and if that leaves codes open, with what another server says of them.
async fn by_profiles(app: &App, resources: &[(&Value, By<'_>)], wanted: Wanted) -> Vec<Vec<Problem>> {
    let conformance = app.conformance.load_full();
    let is_judged = |(resource, by): &(&Value, By<'_>)| {
        by.named.is_some() || (by.claims && claims(&conformance, resource).next().is_some())
    };
    if resources.iter().any(is_judged) {
        unpack(&conformance).await;
    }
    let judge_all = |told: Option<&Terms>| {
        let open = RefCell::default();
        let bench = Judging { app, conformance: &conformance, told, open: &open, wanted };
        let found: Vec<_> = resources.iter().map(|(resource, by)| bench.judge(resource, *by)).collect();
        (found, open.into_inner())
    };
    let (found, open) = judge_all(None);
    let Some(server) = app.terminology.as_ref().filter(|_| !open.is_empty()) else { return found };
    let now = app.clock.now();
    let mut told = Terms::default();
    let mut members: Vec<Question> = open.iter().map(OpenCode::in_set).collect();
    once(&mut members);
    let mut systems = Vec::new();
    for (question, answer) in server.ask_all(members, now).await {
        match answer {
            // It does not know the set; it may know the system, and with it the rest follows from the set as it is here.
            Ok(answer) if *answer == Told::Unknown => systems.extend(question.of_system()),
            Ok(answer) => told.tell(&question, &answer),
            Err(_) => {}
        }
    }
    once(&mut systems);
    for (question, answer) in server.ask_all(systems, now).await {
        if let Ok(answer) = answer {
            told.tell(&question, &answer);
        }
    }
    judge_all(Some(&told)).0
}

/// The profiles a resource claims that are known, each with its place.
fn claims<'a>(conformance: &'a Conformance, resource: &'a Value) -> impl Iterator<Item = &'a str> {
    let urls = resource.pointer("/meta/profile").and_then(Value::as_array).into_iter().flatten();
    urls.filter_map(Value::as_str).filter(|url| conformance.profiles.get(url).is_some())
}

/// What several resources are judged by.
struct Judging<'a> {
    app: &'a App,
    conformance: &'a Conformance,
    told: Option<&'a Terms>,
    open: &'a RefCell<Vec<OpenCode>>,
    wanted: Wanted,
}

impl Judging<'_> {
    fn judge(&self, resource: &Value, by: By<'_>) -> Vec<Problem> {
        let mut found = if by.claims { self.claimed(resource) } else { Vec::new() };
        if let (Some(url), Some(object)) = (by.named, resource.as_object()) {
            found.extend(self.by(object, url).unwrap_or_default());
        }
        found
    }

    /// By one profile that is named. Its problems, or that it is not known.
    fn by(&self, resource: &Map<String, Value>, url: &str) -> Option<Vec<Problem>> {
        let profile = self.conformance.profiles.get(url)?;
        let vocabulary = self.conformance.vocabulary(self.told);
        let bench = Bench {
            definitions: &self.app.definitions,
            profiles: &self.conformance.profiles,
            vocabulary: &vocabulary,
            wanted: self.wanted,
            open: self.open,
        };
        Some(judge(bench, profile, resource))
    }

    /// By the profiles in `meta.profile`. One that is not known is no reason to refuse, and is told when warnings are wanted.
    fn claimed(&self, resource: &Value) -> Vec<Problem> {
        let Some(Value::Array(urls)) = resource.pointer("/meta/profile") else { return Vec::new() };
        let Some(object) = resource.as_object() else { return Vec::new() };
        if self.conformance.profiles.is_empty() && self.wanted == Wanted::Refusals {
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
        for (index, url) in urls.iter().enumerate() {
            let Some(url) = url.as_str() else { continue };
            if url.strip_prefix("http://hl7.org/fhir/StructureDefinition/") == Some(root) {
                continue;
            }
            match self.by(object, url) {
                Some(problems) => found.extend(problems),
                None if self.wanted == Wanted::All => {
                    let text = "this profile is not known here: the resource was not checked against it";
                    let problem = Problem::warning(IssueCode::NotSupported, text).by("profile.unknown");
                    found.push(problem.at(format!("{root}.meta.profile[{index}]")));
                }
                None => {}
            }
        }
        found
    }
}
