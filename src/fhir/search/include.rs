//! `_include` and `_revinclude` (FHIR R4 search.html#include).
//!
//! May import only std, `serde_json` and what stands beside it in `fhir`.

use std::{collections::HashSet, sync::Arc};

use serde_json::Value;

use super::super::kinds::{LogicalId, ResourceType};
use super::super::outcome::{IssueCode, Problem};
use super::super::reference::{BaseUrl, Reference};
use super::filter::refuse;
use super::index::{Compiled, Searches};
use super::parameters::Kind;

/// The most `_include` and `_revinclude` parameters of one search.
pub const INCLUDES_MAX: usize = 20;

/// One of either.
#[derive(Clone, Debug)]
pub struct Include {
    /// The type whose references are followed.
    pub source: ResourceType,
    /// By which parameters: one, or with `*` all of the type.
    pub parameters: Vec<Arc<Compiled>>,
    /// Only targets of this type.
    pub target: Option<ResourceType>,
    /// Whether it also starts from what was included.
    pub iterate: bool,
}

impl Include {
    /// Reads `Type:parameter[:Target]` or `Type:*`.
    pub(super) fn parse(
        searches: &Searches,
        name: &'static str,
        modifier: &str,
        value: &str,
    ) -> Result<Self, Problem> {
        let iterate = match modifier {
            "" => false,
            // `:recurse` is its name before R4.
            ":iterate" | ":recurse" => true,
            _ => return Err(super::filter::modifier_unsupported(name)),
        };
        let wrong = |what: &str| refuse(IssueCode::NotSupported, name, what);
        let mut parts = value.split(':');
        let (source, code, target, none) = (parts.next(), parts.next(), parts.next(), parts.next());
        let source = source.and_then(ResourceType::from_name);
        let (Some(source), Some(code), None) = (source, code, none) else {
            return Err(wrong("expected Type:parameter, Type:parameter:Target or Type:*"));
        };
        let target = match target {
            None => None,
            Some(name) => {
                Some(ResourceType::from_name(name).ok_or_else(|| wrong("the target is no resource type"))?)
            }
        };
        let all = searches.of(source).iter();
        let parameters: Vec<_> = all
            .filter(|one| one.kind == Kind::Reference && (code == "*" || one.code == code))
            .filter(|one| target.is_none_or(|target| one.may_point_at(target)))
            .cloned()
            .collect();
        if parameters.is_empty() {
            return Err(wrong("the type has no such parameter that points at anything of that type"));
        }
        Ok(Self { source, parameters, target, iterate })
    }

    /// What a resource of the source type points at, each once.
    pub fn targets(&self, resource: &Value, base: &BaseUrl, found: &mut Vec<(ResourceType, LogicalId)>) {
        let mut seen: HashSet<_> = found.iter().cloned().collect();
        for parameter in &self.parameters {
            for target in targets(parameter, resource, base) {
                if self.target.is_none_or(|kind| kind == target.0) && seen.insert(target.clone()) {
                    found.push(target);
                }
            }
        }
    }
}

/// The records of this server that a parameter's references point at, each once.
#[must_use]
pub fn targets(parameter: &Compiled, resource: &Value, base: &BaseUrl) -> Vec<(ResourceType, LogicalId)> {
    let (mut found, mut seen) = (Vec::new(), HashSet::new());
    parameter.visit(resource, &mut |path, value| {
        if let Some(target) = Reference::of(value, base).and_then(Reference::local)
            && path.may_point_at(target.0)
            && seen.insert(target.clone())
        {
            found.push(target);
        }
    });
    found
}
