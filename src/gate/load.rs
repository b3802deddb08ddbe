//! From the files of a policy set to policies that can be enforced, or the reason why not.
//!
//! May import `fhir` and `identity`.

use std::collections::{BTreeMap, HashMap};

use cedar_policy::{Effect, Policy, PolicyId, PolicySet, Schema, ValidationMode, Validator};

use super::{
    Act, GateError,
    sources::{FAMILIES, SCHEMA, Sources},
    terms::{NAMELESS, Terms},
};
use crate::{fhir::kinds::ResourceType, identity::CallerKind};

/// The policies that can match at all, by type of caller and act.
pub(super) type Slices = HashMap<(CallerKind, Act), PolicySet>;

/// A policy set that validated.
pub(super) struct Loaded {
    pub(super) slices: Slices,
    pub(super) ids: Vec<String>,
    pub(super) terms: Terms,
    pub(super) families: HashMap<ResourceType, String>,
    pub(super) sha256: [u8; 32],
}

pub(super) fn load(sources: &Sources) -> Result<Loaded, GateError> {
    let (schema, warnings) = Schema::from_cedarschema_str(sources.required(SCHEMA)?)
        .map_err(|e| GateError::Schema(Box::new(e)))?;
    let warnings: Vec<String> = warnings.map(|w| w.to_string()).collect();
    if !warnings.is_empty() {
        return Err(GateError::Invalid(warnings.join("\n")));
    }
    let families = families(sources.required(FAMILIES)?)?;
    let terms = Terms::new(&families)?;
    terms.fits(&schema)?;
    let policies = policies(sources)?;
    let validator = Validator::new(schema);
    validate(&validator, &policies)?;
    let slices = slices(validator.schema(), &terms, &policies)?;
    let mut ids: Vec<String> = policies.policies().map(|policy| policy.id().to_string()).collect();
    ids.sort_unstable();
    Ok(Loaded { slices, ids, terms, families, sha256: sources.sha256() })
}

/// Which family each type is of.
fn families(text: &str) -> Result<HashMap<ResourceType, String>, GateError> {
    let listed: BTreeMap<String, Vec<String>> =
        toml::from_str(text).map_err(|e| GateError::FamiliesSyntax(Box::new(e)))?;
    let mut families = HashMap::new();
    for (family, names) in listed {
        for name in names {
            let Some(kind) = ResourceType::from_name(&name) else { return Err(GateError::Families(name)) };
            if families.insert(kind, family.clone()).is_some() {
                return Err(GateError::Families(name));
            }
        }
    }
    match ResourceType::all().find(|kind| !families.contains_key(kind)) {
        Some(left_out) => Err(GateError::Families(left_out.name().to_owned())),
        None => Ok(families),
    }
}

/// All policies, each under its `@id`.
fn policies(sources: &Sources) -> Result<PolicySet, GateError> {
    let mut all = PolicySet::new();
    for (file, text) in sources.policies() {
        let parsed: PolicySet = text
            .parse()
            .map_err(|source| GateError::Syntax { file: file.to_owned(), source: Box::new(source) })?;
        if parsed.num_of_templates() > 0 {
            return Err(GateError::Template(file.to_owned()));
        }
        for policy in parsed.policies() {
            let policy = named(file, policy)?;
            let id = policy.id().to_string();
            all.add(policy).map_err(|_| GateError::Duplicate { file: file.to_owned(), id })?;
        }
    }
    if all.is_empty() { Err(GateError::Empty) } else { Ok(all) }
}

/// The policy under its `@id`, if it stands where it should and names nobody.
fn named(file: &str, policy: &Policy) -> Result<Policy, GateError> {
    let id = policy.annotation("id").filter(|id| !id.is_empty());
    let id = id.ok_or_else(|| GateError::NoId(file.to_owned()))?;
    let folder = match policy.effect() {
        Effect::Permit => "roles/",
        Effect::Forbid => "forbids/",
    };
    if !file.starts_with(folder) {
        return Err(GateError::Misplaced { file: file.to_owned(), id: id.to_owned() });
    }
    for literal in policy.entity_literals() {
        let (of, name) = (literal.type_name().to_string(), literal.id().unescaped().to_owned());
        // A group of actions would never match either: a decision knows the acts and no hierarchy of them.
        let group = of == "Action" && Act::from_name(&name).is_none();
        if group || NAMELESS.contains(&of.as_str()) {
            return Err(GateError::Literal { id: id.to_owned(), literal: literal.to_string() });
        }
    }
    Ok(policy.new_id(PolicyId::new(id)))
}

/// Strictly, and a warning counts as an error: a policy that can never match is a mistake, too.
fn validate(validator: &Validator, policies: &PolicySet) -> Result<(), GateError> {
    let result = validator.validate(policies, ValidationMode::Strict);
    let errors = result.validation_errors().map(ToString::to_string);
    let found: Vec<String> = errors.chain(result.validation_warnings().map(ToString::to_string)).collect();
    if found.is_empty() { Ok(()) } else { Err(GateError::Invalid(found.join("\n"))) }
}

/// For each type of caller and act, the policies Cedar's type checker does not find false in advance.
///
/// INVARIANT: leaving the others out changes no decision (test `a_slice_decides_as_the_whole_set`).
fn slices(schema: &Schema, terms: &Terms, policies: &PolicySet) -> Result<Slices, GateError> {
    let mut slices = Slices::new();
    for caller in [CallerKind::User, CallerKind::Service, CallerKind::Partner] {
        for act in Act::ALL {
            slices.insert((caller, act), PolicySet::new());
        }
    }
    for policy in policies.policies() {
        let environments: Vec<_> = policy.get_valid_request_envs(schema).collect();
        for ((caller, act), slice) in &mut slices {
            let here = environments
                .iter()
                .any(|env| terms.is(*caller, env.principal()) && terms.act(*act) == Some(env.action()));
            if here {
                // An id is taken only once in the whole set, so it is free in each part of it.
                slice.add(policy.clone()).map_err(|e| GateError::Invalid(e.to_string()))?;
            }
        }
    }
    Ok(slices)
}
