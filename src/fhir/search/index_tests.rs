#![expect(clippy::unwrap_used, reason = "tests")]
use super::super::super::definitions::loaded;
use super::*;

/// The parameters of R4 that are refused. A longer list means that something was lost.
const NOT_COMPILED: [&str; 6] =
    ["Bundle.composition", "Bundle.message", "Location.near", "_content", "_query", "_text"];

#[test]
fn every_parameter_of_r4_is_compiled_but_for_a_list() {
    let searches = Searches::compile(loaded());
    let (mut compiled, mut left) = (0, std::collections::BTreeSet::new());
    for kind in ResourceType::all() {
        for parameter in parameters::of(kind) {
            match searches.find(kind, parameter.code) {
                Some(_) => compiled += 1,
                None if parameter.code.starts_with('_') => _ = left.insert(parameter.code.to_owned()),
                None => _ = left.insert(format!("{}.{}", kind.name(), parameter.code)),
            }
        }
    }
    let left: Vec<_> = left.iter().map(String::as_str).collect();
    assert_eq!(left, NOT_COMPILED);
    // 1,706 rows of the table, of which Resource and DomainResource have 9; six are every type's.
    assert_eq!(compiled, 1_706 - 9 - 3 + 146 * 6);
}

#[test]
fn each_alternative_of_an_expression_leads_somewhere() {
    let searches = Searches::compile(loaded());
    for kind in ResourceType::all() {
        for parameter in searches.of(kind).iter().filter(|one| one.kind == Kind::Composite) {
            let Source::Composite(parts) = &parameter.source else { unreachable!() };
            for component in parts.iter().flat_map(|part| &part.components) {
                assert!(!component.paths.is_empty(), "{kind} {}", parameter.code);
            }
        }
    }
}

#[test]
fn patients_are_found_by_what_a_record_is_filed_under() {
    let searches = Searches::compile(loaded());
    let files = |kind: &str, code| {
        searches.find(ResourceType::from_name(kind).unwrap(), code).unwrap().files_under_patients
    };
    for (kind, code, expected) in [
        ("Observation", "patient", true),
        ("Observation", "subject", true),
        ("Observation", "performer", true),
        ("Observation", "focus", false),
        ("Observation", "encounter", false),
        ("Appointment", "actor", true),
        ("Patient", "link", true),
        ("Patient", "general-practitioner", false),
        ("Task", "patient", true),
        ("Task", "focus", false),
    ] {
        assert_eq!(files(kind, code), expected, "{kind} {code}");
    }
    // Without these, a search by patient would open everything.
    for kind in ResourceType::all() {
        for code in ["patient", "subject"] {
            let Some(parameter) = searches.find(kind, code) else { continue };
            if parameter.may_point_at(ResourceType::PATIENT) && compartment::can_be_about_a_patient(kind) {
                assert!(parameter.files_under_patients, "{kind} {code}");
            }
        }
    }
}
