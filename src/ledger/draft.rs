//! Entries before they have an index: everything but the groups that only the commit can know.

use std::sync::Arc;

use custodia_audit::{Action, Actor, Control, Decision, Detail, Item, Kind, Object, Subject};
use uuid::Uuid;

use super::{Access, access::About, groups::Groups, signing::Turn};
use crate::{
    fhir::kinds::ResourceType,
    gate::{Act, Denied, Permit},
    seal::SealError,
    store::write::NewVersion,
    tenant::TenantId,
};

/// A version that is about to be released, with the permit for it.
pub struct Released {
    /// The gate's word, for this record.
    pub permit: Permit,
    /// Which version.
    pub version: Version,
}

/// A version that is about to be written, with the permit for it.
pub struct Written {
    /// The gate's word, for this record.
    pub permit: Permit,
    /// Which version.
    pub version: Version,
    /// The change itself.
    pub change: NewVersion,
}

/// How entries name a version.
pub struct Version {
    /// Resource type.
    pub kind: ResourceType,
    /// Opaque key; the permit must be for it.
    pub key: Uuid,
    /// Logical id.
    pub id: String,
    /// versionId.
    pub number: i32,
    /// SHA-256 of the envelope.
    pub digest: [u8; 32],
    /// The patients it is about, and those only the version it replaces was about: opaque key and logical id.
    pub patients: Vec<(Uuid, String)>,
    /// Whether it is a tombstone.
    pub deleted: bool,
}

impl Version {
    /// Names the patients of the version it replaces as well: whoever is no longer named finds in her log that it went.
    pub fn leaves(&mut self, replaced: Self) {
        for patient in replaced.patients {
            if !self.patients.contains(&patient) {
                self.patients.push(patient);
            }
        }
    }
}

/// Changes, each with the position of the draft that records it.
pub(super) type Changes = Vec<(NewVersion, usize)>;

/// Why there is no draft.
#[derive(Debug)]
pub(super) enum Undrafted {
    /// A permit does not cover what it came with.
    Unpermitted,
    /// The machine gives no randomness.
    Randomness,
}

impl From<SealError> for Undrafted {
    fn from(_: SealError) -> Self {
        Self::Randomness
    }
}

/// The most versions one entry names; what is more goes into further entries about the same patient. Keeps the
/// object group far below the format's bound of 1 MiB.
const ITEMS_MAX: usize = 4_000;

/// An entry that waits for its place.
pub(super) enum Draft {
    /// About a request.
    Access(Box<AccessDraft>),
    /// About the log itself.
    Control(ControlDraft),
}

/// A control entry; node, time and sequence come with the commit.
pub(super) enum ControlDraft {
    Start,
    /// How many logs are written side by side.
    Shards,
    Heartbeat,
    Export {
        first: u64,
        end: u64,
        size: u64,
    },
    /// A step of a key rotation.
    Turn(Turn),
    /// Something rare, made of the node and the time.
    Other(MakeControl),
}

/// A control entry of a node at a time in microseconds.
pub(super) type MakeControl = Box<dyn FnOnce(String, i64) -> Control + Send + Sync>;

pub(super) struct AccessDraft {
    /// Whose audit key its body is sealed under.
    pub(super) tenant: TenantId,
    /// Opaque key of the patient it is about.
    pub(super) patient: Option<Uuid>,
    pub(super) kind: Kind,
    pub(super) request: Uuid,
    pub(super) status: u16,
    pub(super) code: String,
    pub(super) groups: Groups,
}

impl Draft {
    pub(super) const fn start() -> Self {
        Self::Control(ControlDraft::Start)
    }
    pub(super) const fn shards() -> Self {
        Self::Control(ControlDraft::Shards)
    }

    pub(super) const fn heartbeat() -> Self {
        Self::Control(ControlDraft::Heartbeat)
    }
    pub(super) fn other(make: impl FnOnce(String, i64) -> Control + Send + Sync + 'static) -> Self {
        Self::Control(ControlDraft::Other(Box::new(make)))
    }
    pub(super) const fn turn(turn: Turn) -> Self {
        Self::Control(ControlDraft::Turn(turn))
    }
    pub(super) const fn export(first: u64, end: u64, size: u64) -> Self {
        Self::Control(ControlDraft::Export { first, end, size })
    }
}

/// Drafts of one request's entries: one for each patient concerned, one for each who is only `named`, and one for everything
/// about nobody, with the changes and the draft each belongs to.
///
/// # Errors
/// [`Undrafted::Unpermitted`] when a permit is for another record, another act or another caller than it comes with: a
/// fault of ours that must not become a leak.
pub(super) fn of_records(
    access: &Access,
    written: Vec<Written>,
    released: Vec<Released>,
    named: Vec<About>,
    status: u16,
) -> Result<(Vec<Draft>, Changes), Undrafted> {
    let kind = if written.is_empty() { Kind::Access } else { Kind::Write };
    let mut groups = Grouped::default();
    let mut changes = Vec::with_capacity(written.len());
    for Written { permit, version, change } in written {
        let acts = [Act::Create, Act::Update, Act::Delete];
        if (change.at.kind, change.at.key) != (version.kind, version.key)
            || !covers(&permit, access, &acts, &version)
        {
            return Err(Undrafted::Unpermitted);
        }
        let action = if version.deleted { Action::Deleted } else { Action::Written };
        let place = groups.add(&permit, version, action);
        changes.push((change, place));
    }
    for Released { permit, version } in released {
        if !covers(&permit, access, &[Act::Read, Act::Search, Act::History], &version) {
            return Err(Undrafted::Unpermitted);
        }
        groups.add(&permit, version, Action::Released);
    }
    groups.0.extend(named.into_iter().map(Group::of));
    if groups.0.is_empty() {
        // Nothing matched: the question itself is the access.
        return Ok((vec![of_statement(access, kind, status, "ok", None, None)?], changes));
    }
    let actor = actor(access).to_group();
    let (whole, again) = (detail(access).to_group(), detail(&access.repeated()).to_group());
    let drafts: Result<Vec<Draft>, SealError> = std::iter::once(&whole)
        .chain(std::iter::repeat(&again))
        .zip(groups.0)
        .map(|(detail, group)| {
            let subject = Subject {
                tenant: tenant_name(access),
                patient: group.patient.as_ref().map(|(_, id)| format!("Patient/{id}")),
            };
            let object = Object {
                interaction: access.interaction.to_owned(),
                decision: if group.items.is_empty() { Decision::NotEvaluated } else { Decision::Permit },
                items: group.items,
                policy_set: group.policy_set,
                policies: group.policies,
            };
            Ok(Draft::Access(Box::new(AccessDraft {
                tenant: tenant(access),
                patient: group.patient.map(|(key, _)| key),
                kind,
                request: access.request,
                status,
                code: "ok".to_owned(),
                groups: Groups::new([&actor, &subject.to_group(), &object.to_group(), detail])?,
            })))
        })
        .collect();
    Ok((drafts?, changes))
}

/// An event of the log that is about to be shown.
pub struct Shown {
    /// Its id, as the AuditEvent has it.
    pub id: String,
    /// SHA-256 of its log entry.
    pub digest: [u8; 32],
}

/// A draft of the entry that part of the log was read.
///
/// # Errors
/// [`Undrafted::Unpermitted`] when the permit is another caller's or not for the log.
pub(super) fn of_log(
    access: &Access,
    permit: &Permit,
    shown: Vec<Shown>,
    status: u16,
) -> Result<Draft, Undrafted> {
    let same_caller =
        access.caller.as_ref().is_some_and(|caller| caller.account() == permit.caller().account());
    if !same_caller || permit.record().is_some() || !permit.act().is_of_log() {
        return Err(Undrafted::Unpermitted);
    }
    let item = |Shown { id, digest }| Item {
        kind: "AuditEvent".to_owned(),
        id,
        version: 1,
        digest,
        action: Action::Released,
    };
    let object = Object {
        interaction: access.interaction.to_owned(),
        items: shown.into_iter().take(ITEMS_MAX).map(item).collect(),
        policy_set: Some(permit.policy_set()),
        policies: permit.policies().to_vec(),
        decision: Decision::Permit,
    };
    let subject = Subject { tenant: tenant_name(access), patient: None };
    Ok(Draft::Access(Box::new(AccessDraft {
        tenant: tenant(access),
        patient: None,
        kind: Kind::Audit,
        request: access.request,
        status,
        code: "ok".to_owned(),
        groups: Groups::new([
            &actor(access).to_group(),
            &subject.to_group(),
            &object.to_group(),
            &detail(access).to_group(),
        ])?,
    })))
}

/// Whether a permit is this caller's, for this record, for one of these acts.
fn covers(permit: &Permit, access: &Access, acts: &[Act], version: &Version) -> bool {
    let same_caller =
        access.caller.as_ref().is_some_and(|caller| caller.account() == permit.caller().account());
    same_caller && acts.contains(&permit.act()) && permit.record() == Some((version.kind, version.key))
}

/// A draft of one entry that names no record.
///
/// # Errors
/// [`SealError`] when the machine gives no randomness.
pub(super) fn of_statement(
    access: &Access,
    kind: Kind,
    status: u16,
    code: &str,
    denied: Option<&Denied>,
    about: About,
) -> Result<Draft, SealError> {
    let object = Object {
        interaction: access.interaction.to_owned(),
        items: Vec::new(),
        policy_set: denied.map(Denied::policy_set),
        policies: denied.map(|d| d.policies().to_vec()).unwrap_or_default(),
        decision: if denied.is_some() { Decision::Refuse } else { Decision::NotEvaluated },
    };
    let patient = about.as_ref().map(|(_, id)| format!("Patient/{id}"));
    let subject = Subject { tenant: tenant_name(access), patient };
    let (actor, detail) = (actor(access).to_group(), detail(access).to_group());
    Ok(Draft::Access(Box::new(AccessDraft {
        tenant: tenant(access),
        patient: about.map(|(key, _)| key),
        kind,
        request: access.request,
        status,
        code: code.to_owned(),
        groups: Groups::new([&actor, &subject.to_group(), &object.to_group(), &detail])?,
    })))
}

#[derive(Default)]
struct Grouped(Vec<Group>);

struct Group {
    patient: Option<(Uuid, String)>,
    items: Vec<Item>,
    policies: Vec<String>,
    last: Option<Arc<[String]>>,
    policy_set: Option<[u8; 32]>,
}

impl Grouped {
    /// Adds a version to the entry of each of its patients; the position of the first.
    fn add(&mut self, permit: &Permit, version: Version, action: Action) -> usize {
        let item = Item {
            kind: version.kind.name().to_owned(),
            id: version.id,
            version: u32::try_from(version.number).unwrap_or(0),
            digest: version.digest,
            action,
        };
        let mut places = Vec::new();
        if version.patients.is_empty() {
            places.push(self.place(None));
        }
        for patient in version.patients {
            places.push(self.place(Some(patient)));
        }
        for place in &places {
            if let Some(group) = self.0.get_mut(*place) {
                group.items.push(item.clone());
                group.note(permit);
            }
        }
        places.first().copied().unwrap_or(0)
    }

    fn place(&mut self, patient: Option<(Uuid, String)>) -> usize {
        let key = patient.as_ref().map(|(key, _)| *key);
        // Records of one patient usually come together: the last group is looked at first.
        let fits = |g: &Group| g.patient.as_ref().map(|(key, _)| *key) == key && g.items.len() < ITEMS_MAX;
        if let Some(found) = self.0.iter().rposition(fits) {
            return found;
        }
        self.0.push(Group::of(patient));
        self.0.len() - 1
    }
}

impl Group {
    const fn of(patient: Option<(Uuid, String)>) -> Self {
        Self { patient, items: Vec::new(), policies: Vec::new(), last: None, policy_set: None }
    }

    fn note(&mut self, permit: &Permit) {
        self.policy_set = Some(permit.policy_set());
        if self.last.as_ref().is_some_and(|last| Arc::ptr_eq(last, permit.policies())) {
            return;
        }
        for policy in permit.policies().iter() {
            if !self.policies.contains(policy) {
                self.policies.push(policy.clone());
            }
        }
        self.last = Some(Arc::clone(permit.policies()));
    }
}

fn tenant(access: &Access) -> TenantId {
    access.caller.as_ref().map_or(TenantId::HOUSE, |caller| caller.tenant())
}

fn tenant_name(access: &Access) -> Option<String> {
    access.caller.as_ref().map(|caller| caller.tenant_name().to_owned())
}

fn actor(access: &Access) -> Actor {
    let address = Some(access.address.to_string());
    let Some(caller) = &access.caller else {
        return Actor { thumbprint: access.thumbprint, address, ..Actor::default() };
    };
    Actor {
        user: Some(caller.name().to_owned()),
        roles: caller.roles().to_vec(),
        organisation: caller.organisation().map(str::to_owned),
        client: caller.client().map(str::to_owned),
        token_id: caller.token_id().map(|id| id.to_string()),
        thumbprint: caller.thumbprint(),
        address,
    }
}

fn detail(access: &Access) -> Detail {
    Detail {
        purpose: access.caller.as_ref().map(|caller| caller.purpose().code().to_owned()),
        query: access.query.clone(),
        reason: None,
    }
}
