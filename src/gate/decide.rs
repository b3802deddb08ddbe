//! The gate itself: questions in, decisions out, permits for those that are yes.
//!
//! May import `fhir` and `identity`.

use std::{collections::HashMap, path::Path, sync::Arc};

use cedar_policy::{AuthorizationError, Authorizer, Decision as Verdict, PolicySet};
use quick_cache::sync::Cache;

use super::{
    Act, Facts, GateError, Permit, Relations,
    load::{self, Loaded, Slices},
    question::{Key, Object, Question, Seen, Subject},
    sources::Sources,
    terms::Terms,
};
use crate::{
    fhir::kinds::ResourceType,
    identity::{Caller, TenantId},
};

/// How many decisions are kept.
const DECISIONS_MAX: usize = 16_384;
/// How many answers of [`Gate::approach`] are kept.
const APPROACHES_MAX: usize = 4_096;

/// What Cedar answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether it was yes.
    pub allow: bool,
    /// `@id` of each policy that decided, in alphabetical order: the permits of a yes, the forbids of a no.
    /// A no without any is the default: no policy permits.
    pub policies: Arc<[String]>,
}

impl Decision {
    /// No, as no policy permits.
    fn none() -> Self {
        Self { allow: false, policies: Arc::new([]) }
    }
}

/// Cedar said no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    act: Act,
    policies: Arc<[String]>,
    policy_set: [u8; 32],
}

impl Denied {
    /// What was denied.
    #[must_use]
    pub const fn act(&self) -> Act {
        self.act
    }
    /// `@id` of each policy that forbade; none if no policy permits.
    #[must_use]
    pub const fn policies(&self) -> &Arc<[String]> {
        &self.policies
    }
    /// SHA-256 of the policy set that decided.
    #[must_use]
    pub const fn policy_set(&self) -> [u8; 32] {
        self.policy_set
    }
}

/// A policy set in force.
pub struct Gate {
    authorizer: Authorizer,
    slices: Slices,
    ids: Vec<String>,
    terms: Terms,
    families: HashMap<ResourceType, String>,
    sha256: [u8; 32],
    decisions: Cache<Key, Decision>,
    approaches: Cache<Key, Decision>,
}

impl Gate {
    /// The policies the binary ships.
    ///
    /// # Errors
    /// Whatever is wrong with them; a test keeps that from being released.
    pub fn shipped() -> Result<Self, GateError> {
        Self::of_sources(&Sources::shipped())
    }

    /// The policies of a folder, in place of those the binary ships.
    ///
    /// # Errors
    /// The first thing found that is wrong with them.
    pub fn load(folder: &Path) -> Result<Self, GateError> {
        Self::of_sources(&Sources::of_folder(folder)?)
    }

    pub(super) fn of_sources(sources: &Sources) -> Result<Self, GateError> {
        let Loaded { slices, ids, terms, families, sha256 } = load::load(sources)?;
        Ok(Self {
            authorizer: Authorizer::new(),
            slices,
            ids,
            terms,
            families,
            sha256,
            decisions: Cache::new(DECISIONS_MAX),
            approaches: Cache::new(APPROACHES_MAX),
        })
    }

    #[cfg(test)]
    pub(super) const fn terms(&self) -> &Terms {
        &self.terms
    }

    /// SHA-256 of the policy set: schema, families and policies.
    #[must_use]
    pub const fn policy_set(&self) -> [u8; 32] {
        self.sha256
    }

    /// `@id` of every policy, in alphabetical order.
    #[must_use]
    pub fn policy_ids(&self) -> &[String] {
        &self.ids
    }

    /// The family a type is of, as `families.toml` says.
    #[must_use]
    pub fn family(&self, kind: ResourceType) -> &str {
        // INVARIANT: a set is loaded only if it gives every type a family (`load::families`).
        self.families.get(&kind).map_or("", String::as_str)
    }

    /// Whether `caller` may do `act` on the record `facts` speak of.
    ///
    /// An update needs two permits: one with the facts of the current version, one with those of the new one.
    /// With only the latter, a caller could take a record over by writing her own patient or no label into it.
    ///
    /// # Errors
    /// [`Denied`] with what forbade, for the log; the caller is told nothing of it.
    pub fn permit(&self, caller: &Arc<Caller>, act: Act, facts: &Facts) -> Result<Permit, Denied> {
        let decision = self.decide(&Subject::of(caller, act, facts.kind), act, facts);
        self.permit_if(decision, caller, act, Some((facts.kind, facts.key)))
    }

    /// Whether `caller` may read the audit log of its tenant.
    ///
    /// # Errors
    /// [`Denied`] with what forbade.
    pub fn permit_audit(&self, caller: &Arc<Caller>) -> Result<Permit, Denied> {
        self.permit_log(caller, Act::Audit)
    }

    /// Whether `caller` may do an act on the audit log of its tenant.
    ///
    /// # Errors
    /// [`Denied`] with what forbade.
    pub fn permit_log(&self, caller: &Arc<Caller>, act: Act) -> Result<Permit, Denied> {
        let decision = self.decide_log(&Subject::before_log(caller), act, caller.tenant());
        self.permit_if(decision, caller, act, None)
    }

    fn permit_if(
        &self,
        decision: Decision,
        caller: &Arc<Caller>,
        act: Act,
        record: Option<(ResourceType, uuid::Uuid)>,
    ) -> Result<Permit, Denied> {
        let Decision { allow, policies } = decision;
        if !allow {
            return Err(Denied { act, policies, policy_set: self.sha256 });
        }
        let caller = Arc::clone(caller);
        Ok(Permit { caller, act, record, policies, policy_set: self.sha256 })
    }

    /// Whether there could be any record of `kind` on which `caller` may do `act`.
    ///
    /// If not, a refusal tells nothing about any record, and the caller is told 403 before one is fetched;
    /// whatever is refused later looks like a record that is not there.
    ///
    /// # Errors
    /// [`Denied`] with what forbids even the most favourable record.
    pub fn approach(&self, caller: &Caller, act: Act, kind: ResourceType) -> Result<(), Denied> {
        let Decision { allow, policies } = self.decide_approach(&Subject::of(caller, act, kind), act, kind);
        if allow { Ok(()) } else { Err(Denied { act, policies, policy_set: self.sha256 }) }
    }

    /// The decision behind [`Self::approach`]: yes if any record of `kind` without labels in the subject's
    /// tenant would be, whatever its relationships and whether or not it is about a patient.
    #[must_use]
    pub fn decide_approach(&self, subject: &Subject<'_>, act: Act, kind: ResourceType) -> Decision {
        let question = |about_patient, relations| {
            let object = Seen { tenant: subject.tenant, kind, about_patient, relations, labels: &[] };
            Question { subject: *subject, act, object: Object::Record(object) }
        };
        let best = question(true, Relations::ALL);
        if let Some(kept) = self.approaches.get(&best) {
            return kept;
        }
        // The best record comes first and nearly always settles it. The others are there because a policy may
        // also forbid on a relationship: 403 must not be said where one record would be shown.
        let first = self.evaluate(&best);
        let others =
            (0..=Relations::ALL.0).rev().flat_map(|bits| [true, false].map(|a| (a, Relations(bits))));
        let found = if first.allow {
            None
        } else {
            others.map(|(about, held)| self.evaluate(&question(about, held))).find(|d| d.allow)
        };
        let decision = found.unwrap_or(first);
        if let Some(key) = best.to_key() {
            self.approaches.insert(key, decision.clone());
        }
        decision
    }

    /// The decision about a record, as plain data.
    #[must_use]
    pub fn decide(&self, subject: &Subject<'_>, act: Act, facts: &Facts) -> Decision {
        self.answer(&Question { subject: *subject, act, object: Object::Record(Seen::of(facts)) })
    }

    /// The decision about the audit log of a tenant, as plain data.
    #[must_use]
    pub fn decide_audit(&self, subject: &Subject<'_>, tenant: TenantId) -> Decision {
        self.decide_log(subject, Act::Audit, tenant)
    }

    /// The decision about an act on the audit log of a tenant, as plain data.
    #[must_use]
    pub fn decide_log(&self, subject: &Subject<'_>, act: Act, tenant: TenantId) -> Decision {
        self.answer(&Question { subject: *subject, act, object: Object::Log(tenant) })
    }

    /// The decision, kept or new.
    pub(super) fn answer(&self, asked: &Question<'_>) -> Decision {
        if let Some(kept) = self.decisions.get(asked) {
            return kept;
        }
        let decision = self.evaluate(asked);
        if let Some(key) = asked.to_key() {
            self.decisions.insert(key, decision.clone());
        }
        decision
    }

    /// The decision, from Cedar.
    pub(super) fn evaluate(&self, asked: &Question<'_>) -> Decision {
        let Some(slice) = self.slices.get(&(asked.subject.kind, asked.act)) else { return Decision::none() };
        self.evaluate_by(slice, asked)
    }

    /// The decision of these policies.
    pub(super) fn evaluate_by(&self, policies: &PolicySet, asked: &Question<'_>) -> Decision {
        // The log is audited and a record is not; Cedar would have to be told the schema to know.
        if asked.act.is_of_log() != matches!(asked.object, Object::Log(_)) {
            return Decision::none();
        }
        let Ok(posed) = self.terms.pose(asked, None) else { return Decision::none() };
        let response = self.authorizer.is_authorized(&posed.request, policies, &posed.entities);
        let diagnostics = response.diagnostics();
        // Cedar leaves a policy out that cannot be evaluated, and that could be a forbid. There should be none:
        // the set validated strictly. If there is one all the same, the answer is no, and it is why.
        let failed = diagnostics.errors().map(|AuthorizationError::PolicyEvaluationError(e)| e.policy_id());
        let mut policies: Vec<String> = failed.map(ToString::to_string).collect();
        let allow = response.decision() == Verdict::Allow && policies.is_empty();
        if policies.is_empty() {
            policies.extend(diagnostics.reason().map(ToString::to_string));
        }
        policies.sort_unstable();
        Decision { allow, policies: policies.into() }
    }
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate").field("policies", &self.policy_ids()).finish_non_exhaustive()
    }
}
