//! Which parameters are marked unless the configuration says otherwise, and which are not whatever it says.
//!
//! May import only std and what stands beside it in `fhir`.

use super::super::compartment::can_be_about_a_patient;
use super::super::kinds::ResourceType;
use super::added::{looks_into, looks_into_extension};
use super::index::{Compiled, Searches, Source};
use super::parameters::Kind;

/// What is on the list by itself: for types about patients, by type or for all (`*`).
pub(super) const DEFAULT: [(&str, &str); 47] = [
    ("*", "identifier"),
    ("*", "encounter"),
    ("*", "context"),
    ("Patient", "name"),
    ("Patient", "family"),
    ("Patient", "given"),
    ("Patient", "birthdate"),
    ("Patient", "telecom"),
    ("Patient", "phone"),
    ("Patient", "email"),
    ("Patient", "general-practitioner"),
    ("Patient", "organization"),
    ("Patient", "link"),
    ("Person", "name"),
    ("Person", "birthdate"),
    ("RelatedPerson", "name"),
    ("Appointment", "actor"),
    ("Appointment", "practitioner"),
    ("Appointment", "location"),
    ("Appointment", "status"),
    ("Appointment", "date"),
    ("AppointmentResponse", "appointment"),
    ("Encounter", "participant"),
    ("Encounter", "practitioner"),
    ("Encounter", "location"),
    ("Encounter", "service-provider"),
    ("Encounter", "status"),
    ("Encounter", "date"),
    ("ServiceRequest", "requester"),
    ("ServiceRequest", "performer"),
    ("ServiceRequest", "status"),
    ("ServiceRequest", "authored"),
    ("ServiceRequest", "occurrence"),
    ("Task", "owner"),
    ("Task", "requester"),
    ("Task", "focus"),
    ("Task", "status"),
    ("Task", "authored-on"),
    ("Task", "period"),
    ("DiagnosticReport", "performer"),
    ("DiagnosticReport", "results-interpreter"),
    ("DiagnosticReport", "based-on"),
    ("DiagnosticReport", "status"),
    ("DiagnosticReport", "date"),
    ("DiagnosticReport", "issued"),
    ("CareTeam", "participant"),
    ("Provenance", "target"),
];
/// What narrows a search within one patient's records: parameters of any type that can be about her.
pub(super) const OWN: [&str; 20] = [
    "abatement-date",
    "authored",
    "authored-on",
    "authoredon",
    "category",
    "class",
    "clinical-status",
    "code",
    "date",
    "encounter",
    "intent",
    "issued",
    "lifecycle-status",
    "onset-date",
    "period",
    "recorded-date",
    "start-date",
    "status",
    "target-date",
    "type",
];
/// What is never marked of a record about a patient, whatever the configuration says: few values, and each of them
/// tells much.
pub(super) const NEVER: [&str; 4] = ["gender", "_security", "_tag", "deceased"];
/// Extensions that are never marked either: race, ethnicity, sex and gender, religion.
const NEVER_EXTENSIONS: [&str; 9] = [
    "us-core-race",
    "us-core-ethnicity",
    "us-core-birthsex",
    "us-core-sex",
    "us-core-genderIdentity",
    "patient-birthSex",
    "patient-genderIdentity",
    "individual-genderIdentity",
    "patient-religion",
];

/// A name on the configured list: `Type.parameter`, with `added:` before it if a tenant adds it, and `:contains` behind it
/// if a text is marked piece by piece.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Named<'a> {
    is_added: bool,
    kind: ResourceType,
    code: &'a str,
    pub(super) in_pieces: bool,
}

impl<'a> Named<'a> {
    pub(super) fn parse(name: &'a str) -> Option<Self> {
        let (name, in_pieces) = name.strip_suffix(":contains").map_or((name, false), |name| (name, true));
        let (name, is_added) = name.strip_prefix("added:").map_or((name, false), |name| (name, true));
        let (kind, code) = name.split_once('.')?;
        Some(Self { is_added, kind: ResourceType::from_name(kind)?, code, in_pieces })
    }

    /// Whether R4 has such a parameter that can be listed; or has none of the name, if tenants may add one.
    pub(super) fn can_be(self, searches: &Searches) -> bool {
        let found = searches.find(self.kind, self.code).filter(|one| !one.is_added());
        match found {
            Some(one) => {
                !self.is_added
                    && can_be_listed(searches, one)
                    && (!self.in_pieces || one.kind == Kind::String)
            }
            // Whether a tenant adds one is the tenant's to say, now or later.
            None => self.is_added,
        }
    }

    pub(super) fn is(self, one: &Compiled) -> bool {
        (self.is_added, self.kind, self.code) == (one.is_added(), one.of, one.code.as_ref())
    }
}

/// Whether the configuration may put it on the list.
pub(super) fn can_be_listed(searches: &Searches, parameter: &Compiled) -> bool {
    let sort = parameter.kind != Kind::Special;
    let known = matches!(parameter.code.as_ref(), "_id" | "_lastUpdated");
    let never = can_be_about_a_patient(parameter.of) && tells_much(searches, parameter);
    sort && !known && !never && !matches!(parameter.source, Source::NotFalse(_))
}

/// Whether it is one of those that are never marked, by whatever name.
fn tells_much(searches: &Searches, parameter: &Compiled) -> bool {
    if !parameter.is_added() {
        return NEVER.contains(&parameter.code.as_ref());
    }
    let mut never = NEVER.iter().filter_map(|code| searches.find(parameter.of, code));
    never.any(|one| looks_into(parameter, one)) || looks_into_extension(parameter, &NEVER_EXTENSIONS)
}
