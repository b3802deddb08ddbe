//! Who may do what, written once more by hand and in another form: sets of what each role can do, from the
//! requirements and not from the policies. Both must agree on every combination.

use custodia::{
    fhir::kinds::ResourceType,
    gate::{Act, Facts, Gate, Relations, Subject},
    identity::{CallerKind, Purpose, TenantId},
};
use uuid::Uuid;

const CONFIDENTIALITY: &str = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality|";
const ACT_CODE: &str = "http://terminology.hl7.org/CodeSystem/v3-ActCode|";

/// One of each sort of type a rule speaks of, and some next to them.
const KINDS: [&str; 26] = [
    "Patient",
    "RelatedPerson",
    "Person",
    "Coverage",
    "Appointment",
    "AppointmentResponse",
    "Schedule",
    "Slot",
    "Practitioner",
    "PractitionerRole",
    "Organization",
    "Location",
    "HealthcareService",
    "Observation",
    "Condition",
    "Encounter",
    "CareTeam",
    "MedicationAdministration",
    "Immunization",
    "MedicationRequest",
    "Medication",
    "Device",
    "Questionnaire",
    "Claim",
    "InsurancePlan",
    "AuditEvent",
];

const ROLES: [&[&str]; 9] = [
    &[],
    &["physician"],
    &["nurse"],
    &["front-desk"],
    &["auditor"],
    &["physician", "nurse"],
    &["nurse", "front-desk"],
    &["auditor", "physician"],
    &["stranger"],
];

/// What the oracle is asked; the same question the gate is.
#[derive(Debug)]
struct Asked<'a> {
    caller: CallerKind,
    roles: &'a [&'a str],
    reads: &'a [&'a str],
    writes: &'a [&'a str],
    purpose: &'a str,
    same_tenant: bool,
    in_scope: bool,
    act: Act,
    kind: &'a str,
    about_patient: bool,
    relations: Relations,
    labels: &'a [&'a str],
}

impl Asked<'_> {
    fn is(&self, role: &str) -> bool {
        self.caller == CallerKind::User && self.roles.contains(&role)
    }

    fn looks(&self) -> bool {
        matches!(self.act, Act::Read | Act::Search | Act::History)
    }

    fn lasting(&self) -> bool {
        self.relations.0 & 0b0_0011 != 0
    }

    fn treats(&self) -> bool {
        self.relations.0 & 0b0_1111 != 0
    }

    fn registering(&self) -> bool {
        self.relations.0 & 0b1_0000 != 0
    }

    /// What every refusal is tried on before any role counts.
    fn barred(&self) -> bool {
        let labelled = |system: &str, code: &str| {
            self.labels.iter().any(|l| l.strip_prefix(system).is_some_and(|c| c == code))
        };
        let sensitive = ["HIV", "BH", "PSY", "SUD", "ETH", "ETHUD", "OPIOIDUD", "SDV", "SEX", "STD"];
        let guarded =
            labelled(CONFIDENTIALITY, "R") || sensitive.into_iter().any(|code| labelled(ACT_CODE, code));
        !self.same_tenant
            || !self.in_scope
            || self.roles.contains(&"auditor")
            || labelled(CONFIDENTIALITY, "V")
            || labelled(ACT_CODE, "PSYTHPN")
            || (guarded && !self.lasting())
    }

    /// Money and machinery: of no use at the bedside.
    fn of_the_back_office(&self) -> bool {
        matches!(self.kind, "Claim" | "InsurancePlan" | "AuditEvent")
    }

    /// Types that say nothing about a patient unless they name one.
    fn of_the_directory(&self) -> bool {
        !self.of_the_back_office()
            && !matches!(
                self.kind,
                "Observation"
                    | "Condition"
                    | "Encounter"
                    | "CareTeam"
                    | "MedicationAdministration"
                    | "Immunization"
                    | "MedicationRequest"
                    | "Patient"
                    | "RelatedPerson"
                    | "Person"
                    | "Coverage"
                    | "Appointment"
                    | "AppointmentResponse"
            )
    }

    fn clinician_looks(&self) -> bool {
        if self.of_the_back_office() {
            return false;
        }
        if self.about_patient { self.treats() } else { self.of_the_directory() }
    }

    fn physician(&self) -> bool {
        if !self.is("physician") || self.purpose != "TREAT" {
            return false;
        }
        if self.looks() {
            return self.clinician_looks();
        }
        let creates = self.act == Act::Create;
        if creates && self.kind == "Patient" {
            return true;
        }
        if !self.about_patient || self.of_the_back_office() {
            return false;
        }
        let makes_ties = self.kind == "Patient" || self.kind == "CareTeam";
        (creates && self.registering()) || if makes_ties { self.lasting() } else { self.treats() }
    }

    fn nurse(&self) -> bool {
        if !self.is("nurse") || self.purpose != "TREAT" {
            return false;
        }
        match self.act {
            Act::Read | Act::Search | Act::History => self.clinician_looks(),
            Act::Create | Act::Update => {
                let records = ["Observation", "MedicationAdministration", "Immunization"];
                records.contains(&self.kind) && self.about_patient && self.treats()
            }
            Act::Delete | Act::Audit | Act::Disclosures | Act::Names => false,
        }
    }

    fn front_desk(&self) -> bool {
        if !self.is("front-desk") || !self.of_business() {
            return false;
        }
        let keeps = ["Patient", "RelatedPerson", "Coverage", "Appointment"];
        let knows = [
            "Schedule",
            "Slot",
            "Practitioner",
            "PractitionerRole",
            "Organization",
            "Location",
            "HealthcareService",
        ];
        match self.act {
            Act::Read | Act::Search | Act::History => {
                keeps.contains(&self.kind) || knows.contains(&self.kind)
            }
            Act::Create | Act::Update => keeps.contains(&self.kind),
            Act::Delete => self.kind == "Appointment",
            Act::Audit | Act::Disclosures | Act::Names => false,
        }
    }

    fn contractor(&self) -> bool {
        let contract = if self.looks() { self.reads } else { self.writes };
        self.caller != CallerKind::User && self.of_business() && contract.contains(&self.kind)
    }

    fn of_business(&self) -> bool {
        matches!(self.purpose, "TREAT" | "HPAYMT" | "HOPERAT")
    }

    fn allowed(&self) -> bool {
        !self.act.is_of_log()
            && !self.barred()
            && (self.physician() || self.nurse() || self.front_desk() || self.contractor())
    }
}

/// Contracts: what is read, what is written.
const CONTRACTS: [(&[&str], &[&str]); 2] =
    [(&[], &[]), (&["Patient", "Observation", "AuditEvent", "Claim"], &["Observation", "Claim"])];
/// Same tenant, in scope; what hides nothing else stands there more often.
const CIRCUMSTANCES: [(bool, bool); 6] =
    [(true, true), (true, true), (true, true), (true, false), (false, true), (false, false)];
const PURPOSES: [&str; 8] = ["TREAT", "HPAYMT", "TREAT", "HOPERAT", "ETREAT", "TREAT", "PATRQT", "HSYSADMIN"];
const CALLERS: [CallerKind; 4] =
    [CallerKind::User, CallerKind::Service, CallerKind::User, CallerKind::Partner];
/// About a patient, and the relationships to her.
const RELATIONS: [(bool, u8); 10] = [
    (false, 0),
    (true, 0),
    (true, 1),
    (true, 2),
    (true, 4),
    (true, 8),
    (true, 16),
    (true, 12),
    (true, 31),
    (false, 31),
];
const LABELS: [&[&str]; 8] = [
    &[],
    &["http://terminology.hl7.org/CodeSystem/v3-Confidentiality|R"],
    &[],
    &["http://terminology.hl7.org/CodeSystem/v3-Confidentiality|V"],
    &["http://terminology.hl7.org/CodeSystem/v3-ActCode|HIV"],
    &["http://terminology.hl7.org/CodeSystem/v3-ActCode|PSYTHPN"],
    &["urn:x|R", "http://example.org|V"],
    &["http://terminology.hl7.org/CodeSystem/v3-ActCode|ETH", "x|y"],
];

/// Every `STRIDE`th combination is asked. A prime that divides no length above: each value of each list meets
/// each value of each other one.
const STRIDE: usize = 307;

/// The place in a list that `rest` means, and what is left of it for the other lists.
fn pick<T: Copy>(list: &[T], rest: &mut usize) -> T {
    let place = *rest % list.len();
    *rest /= list.len();
    *list.get(place).unwrap()
}

#[test]
fn gate_and_oracle_agree() {
    let gate = Gate::shipped().unwrap();
    let lengths =
        [Act::ALL.len(), KINDS.len(), RELATIONS.len(), ROLES.len(), LABELS.len(), CIRCUMSTANCES.len()];
    let total: usize = lengths.iter().product::<usize>() * PURPOSES.len() * CALLERS.len() * CONTRACTS.len();
    let (mut asked, mut allowed, mut mismatches) = (0, 0, Vec::new());
    for index in (0..total).step_by(STRIDE) {
        let rest = &mut index.clone();
        let act = pick(&Act::ALL, rest);
        let kind = pick(&KINDS, rest);
        let (about_patient, relations) = pick(&RELATIONS, rest);
        let roles = pick(&ROLES, rest);
        let labels = pick(&LABELS, rest);
        let (same_tenant, in_scope) = pick(&CIRCUMSTANCES, rest);
        let purpose = pick(&PURPOSES, rest);
        let caller = pick(&CALLERS, rest);
        let (reads, writes) = pick(&CONTRACTS, rest);
        let relations = Relations(relations);
        let question = Asked {
            caller,
            roles,
            reads,
            writes,
            purpose,
            same_tenant,
            in_scope,
            act,
            kind,
            about_patient,
            relations,
            labels,
        };
        asked += 1;
        allowed += usize::from(question.allowed());
        if question.decided(&gate) != question.allowed() {
            mismatches.push(question);
        }
    }
    assert!(asked >= 10_000, "{asked}");
    assert!(allowed >= 1_000 && asked - allowed >= 1_000, "{allowed} of {asked}");
    let first: Vec<_> = mismatches.iter().take(5).collect();
    assert!(mismatches.is_empty(), "{} of {asked}, such as {first:#?}", mismatches.len());
}

impl Asked<'_> {
    /// What the gate says.
    fn decided(&self, gate: &Gate) -> bool {
        let [roles, reads, writes, labels] = [self.roles, self.reads, self.writes, self.labels]
            .map(|list| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>());
        let subject = Subject {
            kind: self.caller,
            tenant: TenantId(1),
            roles: &roles,
            reads: &reads,
            writes: &writes,
            purpose: Purpose::from_code(self.purpose).unwrap(),
            in_scope: self.in_scope,
        };
        let facts = Facts {
            tenant: TenantId(if self.same_tenant { 1 } else { 2 }),
            kind: ResourceType::from_name(self.kind).unwrap(),
            key: Uuid::nil(),
            about_patient: self.about_patient,
            relations: self.relations,
            labels,
        };
        gate.decide(&subject, self.act, &facts).allow
    }
}
