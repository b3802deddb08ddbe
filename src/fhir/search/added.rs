//! Search parameters that a tenant defines: `SearchParameter` resources (FHIR R4 searchparameter.html).
//!
//! May import only std, `serde_json` and what stands beside it in `fhir`.
//!
//! Only a definition whose status is `active` says anything. It adds a parameter: one that R4 has for the type stays R4's,
//! since policies and compartments stand on what those mean. What it may say is what [`super::compiler`] compiles;
//! `modifier`, `comparator`, `multipleOr`, `multipleAnd` and `chain` are not looked at: what a kind of parameter can be
//! asked for is the same for all of its kind.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::super::definitions::Definitions;
use super::super::kinds::ResourceType;
use super::super::outcome::{IssueCode, Problem};
use super::compiler::{Compiler, alternatives};
use super::index::{Compiled, Source, files_under_patients, takes};
use super::parameters::{self, Kind};
use super::path::Step;

/// The most definitions of one tenant that are active.
pub const ADDED_MAX: usize = 100;
/// The longest name of one in a query.
pub const CODE_BYTES_MAX: usize = 64;
/// The longest expression, in bytes.
pub const EXPRESSION_BYTES_MAX: usize = 2_048;
/// The members that say what a definition comes to.
const SAYING: [&str; 7] = ["resourceType", "status", "code", "base", "type", "expression", "target"];

/// What an active definition says: which parameter there is to be, of which types, and where it looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition(Value);

impl Definition {
    /// The definition a resource is; `None` if it is none, or not active.
    #[must_use]
    pub fn of(resource: &Value) -> Option<Self> {
        let is = |name: &str, text: &str| resource.get(name).and_then(Value::as_str) == Some(text);
        let members =
            SAYING.into_iter().filter_map(|name| Some((name.to_owned(), resource.get(name)?.clone())));
        (is("resourceType", "SearchParameter") && is("status", "active"))
            .then(|| Self(Value::Object(members.collect::<Map<_, _>>())))
    }

    /// Several, as [`Definition::read_all`] reads them.
    #[must_use]
    pub fn write_all(all: &[Self]) -> Vec<u8> {
        Value::Array(all.iter().map(|one| one.0.clone()).collect()).to_string().into_bytes()
    }

    /// What [`Definition::write_all`] wrote; nothing of what it did not write.
    #[must_use]
    pub fn read_all(bytes: &[u8]) -> Vec<Self> {
        let all: Vec<Value> = serde_json::from_slice(bytes).unwrap_or_default();
        all.iter().filter_map(Self::of).collect()
    }
}

/// What a definition comes to: a parameter for each type it names.
///
/// # Errors
/// What is wrong with it, where.
pub fn compile(
    definitions: &Definitions,
    Definition(resource): &Definition,
) -> Result<Vec<Arc<Compiled>>, Vec<Problem>> {
    let text = |name: &str| resource.get(name).and_then(Value::as_str);
    let code = text("code").unwrap_or_default();
    let mut problems = Vec::new();
    if !is_code(code) {
        let what = format!(
            "expected a letter or digit, then letters, digits, - and _, at most {CODE_BYTES_MAX} in all"
        );
        problems.push(wrong("code", IssueCode::Value, what));
    }
    let kind = text("type").and_then(Kind::parse).filter(|kind| *kind != Kind::Special);
    let Some(kind) = kind.filter(|kind| *kind != Kind::Composite) else {
        let what = "this server makes no composite and no special parameters of others' definitions";
        problems.push(wrong("type", IssueCode::NotSupported, what));
        return Err(problems);
    };
    let expression = text("expression").unwrap_or_default();
    if expression.is_empty() || expression.len() > EXPRESSION_BYTES_MAX {
        let what = format!("expected an expression of at most {EXPRESSION_BYTES_MAX} bytes");
        problems.push(wrong("expression", IssueCode::Required, what));
        return Err(problems);
    }
    let targets = targets(resource);
    let mut found: Vec<Arc<Compiled>> = Vec::new();
    for (at, base) in items(resource, "base").enumerate() {
        let Some(of) = base.as_str().and_then(ResourceType::from_name) else {
            let what = "name the types: Resource and DomainResource are not taken";
            problems.push(wrong(&format!("base[{at}]"), IssueCode::NotSupported, what));
            continue;
        };
        if parameters::find(of, code).is_some() {
            let what = "R4 defines a parameter of this name for the type: choose another";
            problems.push(wrong("code", IssueCode::Duplicate, what));
            continue;
        }
        if found.iter().any(|one| one.of == of) {
            continue;
        }
        match of_base(definitions, (of, kind, &targets), expression) {
            Ok(source) => {
                let files_under_patients = match &source {
                    Source::Paths(paths) => kind == Kind::Reference && files_under_patients(of, paths),
                    _ => false,
                };
                let added = Some(resource.to_string().into());
                let code = Cow::Owned(code.to_owned());
                found.push(Arc::new(Compiled { of, code, kind, files_under_patients, added, source }));
            }
            Err(what) => {
                let what = format!("for {}, {what}", of.name());
                problems.push(wrong("expression", IssueCode::NotSupported, what));
            }
        }
    }
    if problems.is_empty() && found.is_empty() {
        problems.push(wrong("base", IssueCode::Required, "expected the types it is for"));
    }
    if problems.is_empty() { Ok(found) } else { Err(problems) }
}

/// What several active definitions come to together.
///
/// # Errors
/// Which of them, by its place, is wrong by itself or has the name of another for the same type.
pub fn compile_all(
    definitions: &Definitions,
    all: &[Definition],
) -> Result<Vec<Arc<Compiled>>, Vec<(usize, Problem)>> {
    let (mut found, mut problems, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
    for (at, definition) in all.iter().enumerate() {
        match compile(definitions, definition) {
            Ok(its) => {
                for one in its {
                    if seen.insert((one.of, one.code.clone())) {
                        found.push(one);
                    } else {
                        let what = "another active definition has this name for the same type";
                        problems.push((at, wrong("code", IssueCode::Duplicate, what)));
                    }
                }
            }
            Err(its) => problems.extend(its.into_iter().map(|problem| (at, problem))),
        }
    }
    if problems.is_empty() { Ok(found) } else { Err(problems) }
}

/// What definitions come to that compiled together before, and how many of them no longer do.
#[must_use]
pub fn compile_known(definitions: &Definitions, all: &[Definition]) -> (Vec<Arc<Compiled>>, usize) {
    let (mut found, mut left) = (Vec::new(), 0);
    for definition in all {
        match compile(definitions, definition) {
            Ok(its) => found.extend(its),
            Err(_) => left += 1,
        }
    }
    (found, left)
}

fn of_base(
    definitions: &Definitions,
    (of, kind, targets): (ResourceType, Kind, &[ResourceType]),
    expression: &str,
) -> Result<Source, &'static str> {
    let is_about = |one: &&str| {
        let path = one.trim_start_matches('(');
        [of.name(), "Resource", "DomainResource"].into_iter().any(|name| {
            path.strip_prefix(name).is_some_and(|rest| rest.starts_with(['.', ' ', ')']) || rest.is_empty())
        })
    };
    let its: Vec<&str> = alternatives(expression).filter(is_about).collect();
    if its.is_empty() {
        return Err("no alternative of the expression begins with the type");
    }
    let paths = Compiler { definitions }.paths(of, &its.join(" | "));
    let mut paths = paths.ok_or(
        "the expression leads to no element of R4, or is of another form than Type.element.element, with [0], \
         as(T), ofType(T), extension('url'), where(element='value') and where(resolve() is Type)",
    )?;
    paths.retain(|path| takes(kind, path.datatype));
    if !targets.is_empty() {
        paths.iter_mut().for_each(|path| path.targets = path.targets.within(targets));
    }
    if paths.is_empty() {
        return Err("what the expression leads to has no datatype that the type of parameter compares");
    }
    Ok(Source::Paths(paths))
}

fn targets(resource: &Value) -> Vec<ResourceType> {
    items(resource, "target").filter_map(|one| one.as_str().and_then(ResourceType::from_name)).collect()
}

fn items<'a>(resource: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    resource.get(name).and_then(Value::as_array).into_iter().flatten()
}

fn is_code(code: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    (1..=CODE_BYTES_MAX).contains(&code.len())
        && code.bytes().all(plain)
        && code.starts_with(|c: char| c.is_ascii_alphanumeric())
}

fn wrong(member: &str, code: IssueCode, what: impl Into<Cow<'static, str>>) -> Problem {
    Problem::error(code, what).by("search-parameter.compiles").at(format!("SearchParameter.{member}"))
}

/// Whether a parameter that a tenant adds looks where another looks, or inside it, be it only to choose.
pub(super) fn looks_into(added: &Compiled, other: &Compiled) -> bool {
    let known: Vec<Vec<&str>> = other.paths().iter().flat_map(|path| places(&path.steps)).collect();
    let mut looked = added.paths().iter().flat_map(|path| places(&path.steps));
    looked.any(|place| known.iter().any(|known| place.starts_with(known)))
}

/// The places a path goes to, by the names on the way: of what it chooses by, and of what it finds.
fn places(steps: &[Step]) -> Vec<Vec<&str>> {
    let (mut way, mut found) = (Vec::new(), Vec::new());
    for step in steps {
        match step {
            Step::Member(name) => way.push(name.as_ref()),
            Step::Equals(name, _) => found.push([way.as_slice(), &[name.as_ref()]].concat()),
            Step::First | Step::Names(_) => {}
        }
    }
    found.push(way);
    found
}

/// Whether it looks into one of these extensions, by the ends of their URLs, or into any: what is not told by its URL at once
/// may be one of these.
pub(super) fn looks_into_extension(added: &Compiled, ends: &[&str]) -> bool {
    let is_harmless = |step: Option<&Step>| match step {
        Some(Step::Equals(name, url)) => name.as_ref() == "url" && !ends.iter().any(|end| url.ends_with(end)),
        _ => false,
    };
    let looks = |steps: &[Step]| {
        steps.iter().enumerate().any(|(at, step)| match step {
            Step::Member(name) if matches!(name.as_ref(), "extension" | "modifierExtension") => {
                !is_harmless(steps.get(at + 1))
            }
            _ => false,
        })
    };
    added.paths().iter().any(|path| looks(&path.steps))
}

#[cfg(test)]
#[path = "added_tests.rs"]
mod tests;
