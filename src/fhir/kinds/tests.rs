//! Tests of `kinds`.

#![expect(clippy::unwrap_used, reason = "tests")]
use super::*;

#[test]
fn every_code_is_stable() {
    assert_eq!(ResourceType::all().len(), 146);
    for kind in ResourceType::all() {
        assert_eq!(ResourceType::from_name(kind.name()), Some(kind));
        assert_eq!(ResourceType::from_code(kind.code()), Some(kind));
    }
    // Numbers found in databases. A change here orphans stored records.
    for (name, code) in
        [("Account", 1), ("List", 70), ("Observation", 96), ("Patient", 103), ("VisionPrescription", 146)]
    {
        assert_eq!(ResourceType::from_name(name).unwrap().code(), code);
    }
    assert!(NAMES.is_sorted());
}

#[test]
fn every_constant_is_its_name() {
    for (kind, name) in [
        (ResourceType::ACCOUNT, "Account"),
        (ResourceType::ALLERGY_INTOLERANCE, "AllergyIntolerance"),
        (ResourceType::APPOINTMENT, "Appointment"),
        (ResourceType::AUDIT_EVENT, "AuditEvent"),
        (ResourceType::BASIC, "Basic"),
        (ResourceType::BINARY, "Binary"),
        (ResourceType::BUNDLE, "Bundle"),
        (ResourceType::CAPABILITY_STATEMENT, "CapabilityStatement"),
        (ResourceType::CARE_PLAN, "CarePlan"),
        (ResourceType::CARE_TEAM, "CareTeam"),
        (ResourceType::CLAIM, "Claim"),
        (ResourceType::COMPOSITION, "Composition"),
        (ResourceType::CONDITION, "Condition"),
        (ResourceType::CONSENT, "Consent"),
        (ResourceType::COVERAGE, "Coverage"),
        (ResourceType::DEVICE, "Device"),
        (ResourceType::DIAGNOSTIC_REPORT, "DiagnosticReport"),
        (ResourceType::DOCUMENT_REFERENCE, "DocumentReference"),
        (ResourceType::ENCOUNTER, "Encounter"),
        (ResourceType::EPISODE_OF_CARE, "EpisodeOfCare"),
        (ResourceType::EXPLANATION_OF_BENEFIT, "ExplanationOfBenefit"),
        (ResourceType::FLAG, "Flag"),
        (ResourceType::GOAL, "Goal"),
        (ResourceType::GROUP, "Group"),
        (ResourceType::IMAGING_STUDY, "ImagingStudy"),
        (ResourceType::IMMUNIZATION, "Immunization"),
        (ResourceType::LIST, "List"),
        (ResourceType::LOCATION, "Location"),
        (ResourceType::MEDICATION, "Medication"),
        (ResourceType::MEDICATION_ADMINISTRATION, "MedicationAdministration"),
        (ResourceType::MEDICATION_DISPENSE, "MedicationDispense"),
        (ResourceType::MEDICATION_REQUEST, "MedicationRequest"),
        (ResourceType::MEDICATION_STATEMENT, "MedicationStatement"),
        (ResourceType::OBSERVATION, "Observation"),
        (ResourceType::OPERATION_OUTCOME, "OperationOutcome"),
        (ResourceType::ORGANIZATION, "Organization"),
        (ResourceType::PARAMETERS, "Parameters"),
        (ResourceType::PATIENT, "Patient"),
        (ResourceType::CODE_SYSTEM, "CodeSystem"),
        (ResourceType::CONCEPT_MAP, "ConceptMap"),
        (ResourceType::VALUE_SET, "ValueSet"),
        (ResourceType::PERSON, "Person"),
        (ResourceType::PRACTITIONER, "Practitioner"),
        (ResourceType::PRACTITIONER_ROLE, "PractitionerRole"),
        (ResourceType::PROCEDURE, "Procedure"),
        (ResourceType::PROVENANCE, "Provenance"),
        (ResourceType::RELATED_PERSON, "RelatedPerson"),
        (ResourceType::RESEARCH_STUDY, "ResearchStudy"),
        (ResourceType::RESEARCH_SUBJECT, "ResearchSubject"),
        (ResourceType::SCHEDULE, "Schedule"),
        (ResourceType::SEARCH_PARAMETER, "SearchParameter"),
        (ResourceType::SERVICE_REQUEST, "ServiceRequest"),
        (ResourceType::SLOT, "Slot"),
        (ResourceType::SPECIMEN, "Specimen"),
        (ResourceType::SUBSCRIPTION, "Subscription"),
        (ResourceType::TASK, "Task"),
    ] {
        assert_eq!(kind.name(), name);
    }
}

#[test]
fn what_is_not_a_concrete_type_has_no_number() {
    for name in ["", "patient", "Resource", "DomainResource", "HumanName", "Patient ", "Citation"] {
        assert_eq!(ResourceType::from_name(name), None);
    }
    for code in [i16::MIN, -1, 0, 147, 256, 257, i16::MAX] {
        assert_eq!(ResourceType::from_code(code), None);
    }
}

#[test]
fn logical_ids_keep_the_rule_and_are_not_printed() {
    for good in ["1", "a-b.C", &"x".repeat(64)] {
        assert_eq!(LogicalId::parse(good).unwrap().as_str(), good);
    }
    for bad in ["", "a_b", "a b", "a/b", "ä", "a\n", &"x".repeat(65)] {
        assert!(LogicalId::parse(bad).is_none());
    }
    assert_eq!(format!("{:?}", LogicalId::parse("MRN-1").unwrap()), "LogicalId(..)");
}
