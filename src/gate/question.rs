//! What one decision depends on, and nothing else.
//!
//! May import `fhir` and `identity`; never Cedar.

use std::hash::{Hash, Hasher};

use quick_cache::Equivalent;

use super::{Act, Facts, Relations};
use crate::{
    fhir::kinds::ResourceType,
    identity::{Caller, CallerKind, Contract, Purpose, TenantId},
};

/// What Cedar sees of a caller who is about to do one act on one type.
///
/// It names neither the account nor the token: two callers who are equal here are treated alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Subject<'a> {
    /// Person, service or partner.
    pub kind: CallerKind,
    /// Tenant of the credential.
    pub tenant: TenantId,
    /// Roles, as the policies spell them.
    pub roles: &'a [String],
    /// Types the contract lets it read and search.
    pub reads: &'a [String],
    /// Types the contract lets it create, update and delete.
    pub writes: &'a [String],
    /// Why it asks.
    pub purpose: Purpose,
    /// Whether the scopes cover the act on the type.
    pub in_scope: bool,
}

impl<'a> Subject<'a> {
    /// What Cedar sees of `caller` who is about to do `act` on a record of `kind`.
    #[must_use]
    pub fn of(caller: &'a Caller, act: Act, kind: ResourceType) -> Self {
        Self { in_scope: act.in_scope(caller.scopes(), kind), ..Self::before_log(caller) }
    }

    /// What Cedar sees of `caller` who is about to read the audit log: it needs no scope.
    pub(super) fn before_log(caller: &'a Caller) -> Self {
        let contract = caller.contract();
        Self {
            kind: caller.kind(),
            tenant: caller.tenant(),
            roles: caller.roles(),
            reads: contract.map_or(&[], |Contract { reads, .. }| reads),
            writes: contract.map_or(&[], |Contract { writes, .. }| writes),
            purpose: caller.purpose(),
            in_scope: true,
        }
    }
}

/// What Cedar sees of a record: the facts without the key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Seen<'a> {
    pub(super) tenant: TenantId,
    pub(super) kind: ResourceType,
    pub(super) about_patient: bool,
    pub(super) relations: Relations,
    pub(super) labels: &'a [String],
}

impl<'a> Seen<'a> {
    pub(super) fn of(facts: &'a Facts) -> Self {
        Self {
            tenant: facts.tenant,
            kind: facts.kind,
            about_patient: facts.about_patient,
            relations: facts.relations,
            labels: &facts.labels,
        }
    }
}

/// On what.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Object<'a> {
    /// A FHIR record.
    Record(Seen<'a>),
    /// The audit log of a tenant.
    Log(TenantId),
}

/// The whole input of a decision.
///
/// INVARIANT: a decision is a function of the policy set and of this (test
/// `a_cached_decision_is_the_decision`). Whatever Cedar is to see goes through here, or the cache answers one
/// caller with what was decided for another.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Question<'a> {
    pub(super) subject: Subject<'a>,
    pub(super) act: Act,
    pub(super) object: Object<'a>,
}

/// The most labels of a record whose decision is kept.
const KEPT_LABELS_MAX: usize = 16;
/// The longest texts of a question, in bytes together, that is kept.
const KEPT_BYTES_MAX: usize = 8192;

impl Question<'_> {
    /// The question as a key of the cache; `None` if it is too large to be kept.
    pub(super) fn to_key(self) -> Option<Key> {
        let Subject { kind, tenant, roles, reads, writes, purpose, in_scope } = self.subject;
        let (object, labels): (_, &[String]) = match self.object {
            Object::Log(tenant) => (KeyObject::Log(tenant), &[]),
            Object::Record(Seen { tenant, kind, about_patient, relations, labels }) => {
                (KeyObject::Record { tenant, kind, about_patient, relations }, labels)
            }
        };
        let bytes: usize = [roles, reads, writes, labels].into_iter().flatten().map(String::len).sum();
        if labels.len() > KEPT_LABELS_MAX || bytes > KEPT_BYTES_MAX {
            return None;
        }
        let [roles, reads, writes, labels] = [roles, reads, writes, labels].map(Box::from);
        Some(Key { kind, tenant, roles, reads, writes, purpose, in_scope, act: self.act, object, labels })
    }
}

/// A question that owns what it holds.
#[derive(PartialEq, Eq)]
pub(super) struct Key {
    kind: CallerKind,
    tenant: TenantId,
    roles: Box<[String]>,
    reads: Box<[String]>,
    writes: Box<[String]>,
    purpose: Purpose,
    in_scope: bool,
    act: Act,
    object: KeyObject,
    labels: Box<[String]>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum KeyObject {
    Record { tenant: TenantId, kind: ResourceType, about_patient: bool, relations: Relations },
    Log(TenantId),
}

impl Key {
    /// The question again.
    fn question(&self) -> Question<'_> {
        let Self { kind, tenant, roles, reads, writes, purpose, in_scope, act, object, labels } = self;
        let subject = Subject {
            kind: *kind,
            tenant: *tenant,
            roles,
            reads,
            writes,
            purpose: *purpose,
            in_scope: *in_scope,
        };
        let object = match *object {
            KeyObject::Log(tenant) => Object::Log(tenant),
            KeyObject::Record { tenant, kind, about_patient, relations } => {
                Object::Record(Seen { tenant, kind, about_patient, relations, labels })
            }
        };
        Question { subject, act: *act, object }
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // The cache looks a borrowed question up: both must hash alike.
        self.question().hash(state);
    }
}

impl Equivalent<Key> for Question<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        *self == key.question()
    }
}
