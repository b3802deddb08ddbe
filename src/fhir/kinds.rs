//! The concrete resource types of FHIR R4, and the logical id of a resource.
//!
//! May import only std.

mod names;

use std::fmt;

use names::{COUNT, NAMES};

/// One concrete FHIR R4 resource type (resourcelist.html), such as `Patient`.
///
/// The abstract types `Resource` and `DomainResource` are not among them: no instance has one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceType(u8);

impl ResourceType {
    /// `Account`.
    pub const ACCOUNT: Self = Self(0);
    /// `AllergyIntolerance`.
    pub const ALLERGY_INTOLERANCE: Self = Self(3);
    /// `Appointment`.
    pub const APPOINTMENT: Self = Self(4);
    /// `AuditEvent`.
    pub const AUDIT_EVENT: Self = Self(6);
    /// `Basic`.
    pub const BASIC: Self = Self(7);
    /// `Binary`.
    pub const BINARY: Self = Self(8);
    /// `Bundle`.
    pub const BUNDLE: Self = Self(11);
    /// `CapabilityStatement`.
    pub const CAPABILITY_STATEMENT: Self = Self(12);
    /// `CarePlan`.
    pub const CARE_PLAN: Self = Self(13);
    /// `CareTeam`.
    pub const CARE_TEAM: Self = Self(14);
    /// `Claim`.
    pub const CLAIM: Self = Self(18);
    /// `CodeSystem`.
    pub const CODE_SYSTEM: Self = Self(21);
    /// `ConceptMap`.
    pub const CONCEPT_MAP: Self = Self(26);
    /// `ValueSet`.
    pub const VALUE_SET: Self = Self(143);
    /// `Composition`.
    pub const COMPOSITION: Self = Self(25);
    /// `Condition`.
    pub const CONDITION: Self = Self(27);
    /// `Consent`.
    pub const CONSENT: Self = Self(28);
    /// `Coverage`.
    pub const COVERAGE: Self = Self(30);
    /// `Device`.
    pub const DEVICE: Self = Self(34);
    /// `DiagnosticReport`.
    pub const DIAGNOSTIC_REPORT: Self = Self(39);
    /// `DocumentReference`.
    pub const DOCUMENT_REFERENCE: Self = Self(41);
    /// `Encounter`.
    pub const ENCOUNTER: Self = Self(43);
    /// `EpisodeOfCare`.
    pub const EPISODE_OF_CARE: Self = Self(47);
    /// `ExplanationOfBenefit`.
    pub const EXPLANATION_OF_BENEFIT: Self = Self(52);
    /// `Flag`.
    pub const FLAG: Self = Self(54);
    /// `Goal`.
    pub const GOAL: Self = Self(55);
    /// `Group`.
    pub const GROUP: Self = Self(57);
    /// `ImagingStudy`.
    pub const IMAGING_STUDY: Self = Self(60);
    /// `Immunization`.
    pub const IMMUNIZATION: Self = Self(61);
    /// `List`.
    pub const LIST: Self = Self(69);
    /// `Location`.
    pub const LOCATION: Self = Self(70);
    /// `Medication`.
    pub const MEDICATION: Self = Self(74);
    /// `MedicationAdministration`.
    pub const MEDICATION_ADMINISTRATION: Self = Self(75);
    /// `MedicationDispense`.
    pub const MEDICATION_DISPENSE: Self = Self(76);
    /// `MedicationRequest`.
    pub const MEDICATION_REQUEST: Self = Self(78);
    /// `MedicationStatement`.
    pub const MEDICATION_STATEMENT: Self = Self(79);
    /// `Observation`.
    pub const OBSERVATION: Self = Self(95);
    /// `OperationOutcome`.
    pub const OPERATION_OUTCOME: Self = Self(98);
    /// `Organization`.
    pub const ORGANIZATION: Self = Self(99);
    /// `Parameters`.
    pub const PARAMETERS: Self = Self(101);
    /// `Patient`.
    pub const PATIENT: Self = Self(102);
    /// `Person`.
    pub const PERSON: Self = Self(105);
    /// `Practitioner`.
    pub const PRACTITIONER: Self = Self(107);
    /// `PractitionerRole`.
    pub const PRACTITIONER_ROLE: Self = Self(108);
    /// `Procedure`.
    pub const PROCEDURE: Self = Self(109);
    /// `Provenance`.
    pub const PROVENANCE: Self = Self(110);
    /// `RelatedPerson`.
    pub const RELATED_PERSON: Self = Self(113);
    /// `ResearchStudy`.
    pub const RESEARCH_STUDY: Self = Self(117);
    /// `ResearchSubject`.
    pub const RESEARCH_SUBJECT: Self = Self(118);
    /// `Schedule`.
    pub const SCHEDULE: Self = Self(121);
    /// `SearchParameter`.
    pub const SEARCH_PARAMETER: Self = Self(122);
    /// `ServiceRequest`.
    pub const SERVICE_REQUEST: Self = Self(123);
    /// `Slot`.
    pub const SLOT: Self = Self(124);
    /// `Specimen`.
    pub const SPECIMEN: Self = Self(125);
    /// `Subscription`.
    pub const SUBSCRIPTION: Self = Self(129);
    /// `Task`.
    pub const TASK: Self = Self(139);

    /// The type of this name, as `resourceType` spells it; `None` if R4 has no such concrete type.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let index = NAMES.binary_search(&name).ok()?;
        u8::try_from(index).ok().map(Self)
    }

    /// The name, as `resourceType` spells it.
    #[must_use]
    pub fn name(self) -> &'static str {
        // INVARIANT: every value was made from a place in NAMES (test every_code_is_stable).
        NAMES.get(usize::from(self.0)).copied().unwrap_or("")
    }

    /// The number stored in database columns: the place in the alphabetical list of R4, from 1.
    ///
    /// The list of R4 (4.0.1) is closed, so a number never changes its meaning. A type that a later
    /// release adds would get a number after the last one, never one in between.
    #[must_use]
    pub fn code(self) -> i16 {
        i16::from(self.0) + 1
    }

    /// The type with this stored number; `None` for a number that was never given out.
    #[must_use]
    pub fn from_code(code: i16) -> Option<Self> {
        let index = u8::try_from(code.checked_sub(1)?).ok()?;
        (usize::from(index) < NAMES.len()).then_some(Self(index))
    }

    /// All types, in alphabetical order.
    pub fn all() -> impl ExactSizeIterator<Item = Self> + Clone {
        (0..COUNT).map(Self)
    }
}

impl fmt::Display for ResourceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for ResourceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The longest logical id (FHIR R4 datatypes.html#id).
pub const LOGICAL_ID_CHARS_MAX: usize = 64;

/// The logical id of a resource: 1 to 64 of `[A-Za-z0-9.-]` (FHIR R4 datatypes.html#id).
///
/// Some senders use a medical record number as the id, so it is not printed by `Debug`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogicalId(Box<str>);

impl LogicalId {
    /// The id this text spells; `None` if it breaks the rule.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        is_logical_id(text).then(|| Self(text.into()))
    }

    /// The id a UUID makes, in its canonical form.
    #[must_use]
    pub fn of_uuid(id: uuid::Uuid) -> Self {
        Self(id.hyphenated().to_string().into())
    }

    /// The text of the id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for LogicalId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for LogicalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LogicalId(..)")
    }
}

/// Whether the text keeps the rule of the FHIR `id` datatype.
#[must_use]
pub fn is_logical_id(text: &str) -> bool {
    (1..=LOGICAL_ID_CHARS_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
}

#[cfg(test)]
mod tests;
