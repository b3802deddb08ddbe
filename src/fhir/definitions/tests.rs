//! Tests of `definitions`.

#![expect(clippy::unwrap_used, reason = "tests")]
use super::read::{MAGIC, Reader};
use super::*;

#[test]
fn every_resource_type_is_defined() {
    for kind in ResourceType::all() {
        let definition = loaded().resource(kind).unwrap();
        assert_eq!(*definition.name, *kind.name());
        assert_eq!(definition.kind, TypeKind::Resource);
        assert!(definition.property("meta").is_some(), "{kind}");
    }
}

#[test]
fn a_choice_has_a_member_for_each_type() {
    let observation = loaded().named("Observation").unwrap();
    let members: Vec<_> = observation.properties().filter(|(name, _)| name.starts_with("value")).collect();
    assert_eq!(members.len(), 11);
    let quantity = observation.property("valueQuantity").unwrap();
    assert_eq!(*observation.element(quantity).unwrap().name, *"value");
    assert!(observation.property("value").is_none());
    assert!(observation.property("valueAddress").is_none());
}

#[test]
fn references_know_their_targets() {
    let encounter = loaded().named("Encounter").unwrap();
    let targets = encounter.property("subject").unwrap().targets;
    for kind in ResourceType::all() {
        assert_eq!(targets.allow(kind), matches!(kind.name(), "Patient" | "Group"), "{kind}");
    }
    assert_eq!(loaded().named("Basic").unwrap().property("subject").unwrap().targets, Targets::ANY);
}

#[test]
fn value_sets_hold_their_codes() {
    let patient = loaded().named("Patient").unwrap();
    let gender = patient.element(patient.property("gender").unwrap()).unwrap();
    let codes = loaded().value_set(gender.binding.unwrap()).unwrap();
    assert!(codes.allows_code("female"));
    assert!(!codes.allows_code("Female"));
    assert!(codes.allows_coding("http://hl7.org/fhir/administrative-gender", "female"));
    assert!(!codes.allows_coding("http://example.org", "female"));
}

#[test]
fn broken_definitions_are_refused() {
    let types = "T\tC\tA\nE\tb\t0\t1\t-\t-\tstring\n";
    for (text, line) in [
        (format!("{MAGIC}\nX\ty\n"), 2),
        (format!("{MAGIC}\nT\tZ\tA\n"), 2),
        (format!("{MAGIC}\nE\tb\t0\t1\t-\t-\tstring\n"), 2),
        (format!("{MAGIC}\n{types}E\tc\t0\t2\t-\t-\tstring\n"), 4),
        (format!("{MAGIC}\n{types}E\tc\t0\t1\t-\t-\tNone\n"), 4),
        (format!("{MAGIC}\n{types}E\tc\t0\t1\t-\thttp://unknown\tcode\n"), 4),
        (format!("{MAGIC}\nV\tu\nS\ts\tb\ta\n"), 3),
    ] {
        assert!(matches!(Reader::read(&text), Err(DefinitionsError::Line(l)) if l == line), "{text}");
    }
    assert!(matches!(Reader::read("other 1\n"), Err(DefinitionsError::Format)));
    assert!(matches!(Reader::read(&format!("{MAGIC}\n{types}")), Err(DefinitionsError::Missing)));
}
