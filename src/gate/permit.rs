//! The permit: proof that Cedar said yes, to this caller, for this act, on this record.

use std::sync::Arc;

use uuid::Uuid;

use super::Act;
use crate::{fhir::kinds::ResourceType, identity::Caller};

/// Cedar said yes. There is no public constructor.
///
/// A permit names the record it was given for; the ledger refuses to disclose or change another one with it.
///
/// ```compile_fail,E0451
/// use custodia::gate::{Act, Permit};
/// fn forge(caller: std::sync::Arc<custodia::identity::Caller>) -> Permit {
///     Permit { caller, act: Act::Read, record: None, policies: [].into(), policy_set: [0; 32] }
/// }
/// ```
#[must_use]
pub struct Permit {
    pub(super) caller: Arc<Caller>,
    pub(super) act: Act,
    pub(super) record: Option<(ResourceType, Uuid)>,
    pub(super) policies: Arc<[String]>,
    pub(super) policy_set: [u8; 32],
}

impl Permit {
    /// Who was permitted.
    #[must_use]
    pub const fn caller(&self) -> &Arc<Caller> {
        &self.caller
    }
    /// What was permitted.
    #[must_use]
    pub const fn act(&self) -> Act {
        self.act
    }
    /// On which record; `None` for acts on no record.
    #[must_use]
    pub const fn record(&self) -> Option<(ResourceType, Uuid)> {
        self.record
    }
    /// `@id` of each policy that decided.
    #[must_use]
    pub fn policies(&self) -> &Arc<[String]> {
        &self.policies
    }
    /// SHA-256 of the policy set that decided.
    #[must_use]
    pub const fn policy_set(&self) -> [u8; 32] {
        self.policy_set
    }
}
