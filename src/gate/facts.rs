//! What the gate is told about a record, and what is to be done with it.

use uuid::Uuid;

use crate::{
    fhir::kinds::ResourceType,
    identity::{Letter, Scopes, TenantId},
};

/// What the caller wants to do; a Cedar action of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Act {
    /// read and vread.
    Read,
    /// Be told of as a match of a search.
    Search,
    /// See earlier versions.
    History,
    /// create, and update-as-create.
    Create,
    /// Replace the current version.
    Update,
    /// Delete.
    Delete,
    /// Read the audit log: checkpoint, proofs, tiles, events, exports.
    Audit,
    /// Make a patient's report of who saw her records.
    Disclosures,
    /// Put employees' names into it.
    Names,
}

impl Act {
    /// Every act, in the order of the matrix.
    pub const ALL: [Self; 9] = [
        Self::Read,
        Self::Search,
        Self::History,
        Self::Create,
        Self::Update,
        Self::Delete,
        Self::Audit,
        Self::Disclosures,
        Self::Names,
    ];

    /// The Cedar action's id.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Search => "search",
            Self::History => "history",
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Audit => "audit",
            Self::Disclosures => "disclosures",
            Self::Names => "names",
        }
    }

    /// The act of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|act| act.name() == name)
    }

    /// Whether it is done on the log, and not on a record.
    #[must_use]
    pub const fn is_of_log(self) -> bool {
        matches!(self, Self::Audit | Self::Disclosures | Self::Names)
    }

    /// The letter a SMART scope needs for it (SMART App Launch 2.2, scopes-and-launch-context).
    ///
    /// `None` for acts on the audit log: no FHIR scope opens it, and none is asked for.
    #[must_use]
    pub const fn letter(self) -> Option<Letter> {
        match self {
            Self::Read | Self::History => Some(Letter::Read),
            Self::Search => Some(Letter::Search),
            Self::Create => Some(Letter::Create),
            Self::Update => Some(Letter::Update),
            Self::Delete => Some(Letter::Delete),
            Self::Audit | Self::Disclosures | Self::Names => None,
        }
    }

    /// Whether `scopes` cover this act on records of `kind`.
    #[must_use]
    pub fn in_scope(self, scopes: &Scopes, kind: ResourceType) -> bool {
        self.letter().is_none_or(|letter| scopes.allow(letter, kind))
    }
}

/// The relationships the caller has with *every* patient a record is about (a bit set).
///
/// A record about two patients gives only the relationships that hold to both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Relations(pub u8);

impl Relations {
    /// No relationship.
    pub const NONE: Self = Self(0);
    /// Patient.generalPractitioner.
    pub const GENERAL_PRACTITIONER: Self = Self(1);
    /// CareTeam.participant, while the team and the membership run.
    pub const CARE_TEAM: Self = Self(2);
    /// Encounter.participant.
    pub const ENCOUNTER: Self = Self(4);
    /// Appointment.participant.
    pub const APPOINTMENT: Self = Self(8);
    /// The patient is created by the same transaction.
    pub const REGISTERING: Self = Self(16);
    /// Every relationship there is.
    pub const ALL: Self = Self(31);

    /// Each single relationship with the word the policies use for it.
    pub const NAMED: [(Self, &'static str); 5] = [
        (Self::GENERAL_PRACTITIONER, "general-practitioner"),
        (Self::CARE_TEAM, "care-team"),
        (Self::ENCOUNTER, "encounter-participant"),
        (Self::APPOINTMENT, "appointment-actor"),
        (Self::REGISTERING, "registering"),
    ];

    /// Whether all of `other` is in here.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
    /// Relationships of either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
    /// Relationships of both.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

/// What the gate knows of a record when it decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Tenant the record belongs to.
    pub tenant: TenantId,
    /// Its resource type.
    pub kind: ResourceType,
    /// Its opaque key; `Permit` is bound to it.
    pub key: Uuid,
    /// Whether it is about any patient at all.
    pub about_patient: bool,
    /// The caller's relationships to the patients it is about.
    pub relations: Relations,
    /// Security labels of `meta.security` as `system|code`.
    pub labels: Vec<String>,
}
