//! Which patients a resource is about (FHIR R4 compartmentdefinition-patient.html).
//!
//! May import only std, `serde_json` and what stands beside it in `fhir`. The paths stand in a table that
//! `r4/derive-tables.py` makes from HL7's definitions; see `r4/SOURCE-tables.md`.

use std::collections::HashSet;

use serde_json::Value;

use super::kinds::{LogicalId, ResourceType};
use super::reference::{BaseUrl, Reference};

#[path = "r4/patient_compartment.rs"]
mod table;

/// The element names from the resource down to a Reference.
type Path = &'static [&'static str];

/// The paths of one type.
struct Row {
    /// The type's name.
    kind: &'static str,
    /// The paths of the Patient CompartmentDefinition.
    compartment: &'static [Path],
    /// Paths that only the type's `patient` or `subject` parameter names.
    beside: &'static [Path],
}

/// The patients a resource is about, each once, in the order they are named.
///
/// That is the Patient compartment, a Patient being in its own and in those of `Patient.link.other`, and
/// beyond it whoever `Task.for`, `Device.patient`, `Contract.subject` and `GuidanceResponse.subject` name:
/// R4 leaves these four types out of the compartment, yet what they say is about the patient. So every
/// patient that a search parameter `patient` or `subject` can find is among them.
///
/// Only references to patients of this server count: by `Patient/id` or under `base`, with or without a
/// version. Contained resources, urns, other servers' URLs and bare identifiers do not.
#[must_use]
pub fn patients(resource: &Value, kind: ResourceType, id: &LogicalId, base: &BaseUrl) -> Vec<LogicalId> {
    collect(resource, kind, id, base, |row| [row.compartment, row.beside])
}

/// The patients in whose compartment a resource is, exactly by the R4 CompartmentDefinition.
#[must_use]
pub fn compartment(resource: &Value, kind: ResourceType, id: &LogicalId, base: &BaseUrl) -> Vec<LogicalId> {
    collect(resource, kind, id, base, |row| [row.compartment, &[]])
}

/// Whether resources of this type can be about a patient at all.
#[must_use]
pub fn can_be_about_a_patient(kind: ResourceType) -> bool {
    kind == ResourceType::PATIENT || row(kind).is_some()
}

/// Whether resources of this type can be in a patient's compartment, exactly by the R4 CompartmentDefinition.
#[must_use]
pub fn can_be_in_compartment(kind: ResourceType) -> bool {
    kind == ResourceType::PATIENT || row(kind).is_some_and(|row| !row.compartment.is_empty())
}

/// Calls `visit` with every value at a path of element names; arrays are walked through.
pub(super) fn at_path<'a>(value: &'a Value, path: &[&str], visit: &mut dyn FnMut(&'a Value)) {
    match (value, path.split_first()) {
        (Value::Array(items), _) => {
            for item in items {
                at_path(item, path, visit);
            }
        }
        (value, None) => visit(value),
        (Value::Object(object), Some((name, rest))) => {
            if let Some(inner) = object.get(*name) {
                at_path(inner, rest, visit);
            }
        }
        _ => {}
    }
}

fn collect(
    resource: &Value,
    kind: ResourceType,
    id: &LogicalId,
    base: &BaseUrl,
    choose: fn(&'static Row) -> [&'static [Path]; 2],
) -> Vec<LogicalId> {
    let mut found = Vec::new();
    // A record may name as many as its body holds: each look must be a short one.
    let mut seen = HashSet::new();
    if kind == ResourceType::PATIENT {
        seen.insert(id.clone());
        found.push(id.clone());
    }
    for path in row(kind).map(choose).into_iter().flatten().flatten() {
        at_path(resource, path, &mut |value| {
            if let Some((ResourceType::PATIENT, id)) = Reference::of(value, base).and_then(Reference::local)
                && seen.insert(id.clone())
            {
                found.push(id);
            }
        });
    }
    found
}

fn row(kind: ResourceType) -> Option<&'static Row> {
    let at = table::ROWS.binary_search_by(|row| row.kind.cmp(kind.name())).ok()?;
    table::ROWS.get(at)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn base() -> BaseUrl {
        BaseUrl::parse("https://records.example/fhir").unwrap()
    }

    fn check(resource: &Value, all: &[&str], by_definition: &[&str]) {
        let kind = ResourceType::from_name(resource["resourceType"].as_str().unwrap()).unwrap();
        let id = LogicalId::parse("self").unwrap();
        let names = |ids: Vec<LogicalId>| ids.iter().map(|id| id.as_str().to_owned()).collect::<Vec<_>>();
        assert_eq!(names(patients(resource, kind, &id, &base())), all, "{resource}");
        assert_eq!(names(compartment(resource, kind, &id, &base())), by_definition, "{resource}");
    }

    #[test]
    fn the_table_is_sorted_and_names_r4_types() {
        assert!(table::ROWS.is_sorted_by(|a, b| a.kind < b.kind));
        for row in table::ROWS {
            assert!(ResourceType::from_name(row.kind).is_some(), "{}", row.kind);
            assert!(!row.compartment.is_empty() || !row.beside.is_empty());
        }
        let beside: Vec<_> = table::ROWS.iter().filter(|r| !r.beside.is_empty()).map(|r| r.kind).collect();
        assert_eq!(beside, ["Contract", "Device", "GuidanceResponse", "Task"]);
        assert_eq!(table::ROWS.len(), 70);
    }

    #[test]
    fn a_resource_is_about_the_patients_its_definition_names() {
        let to = |text: &str| json!({"reference": text});
        for (resource, expected) in [
            (json!({"resourceType": "Observation", "subject": to("Patient/a")}), &["a"][..]),
            (
                json!({"resourceType": "Observation", "subject": to("Patient/a"),
                    "performer": [to("Practitioner/x"), to("Patient/b"), to("Patient/a")]}),
                &["a", "b"],
            ),
            (json!({"resourceType": "Observation", "focus": [to("Patient/a")]}), &[]),
            (
                json!({"resourceType": "Observation", "subject": to("https://records.example/fhir/Patient/a")}),
                &["a"],
            ),
            (json!({"resourceType": "Observation", "subject": to("Patient/a/_history/3")}), &["a"]),
            (json!({"resourceType": "Patient"}), &["self"]),
            (
                json!({"resourceType": "Patient", "link": [{"other": to("Patient/b"), "type": "refer"},
                    {"other": to("RelatedPerson/r"), "type": "seealso"}, {"other": to("Patient/self")}]}),
                &["self", "b"],
            ),
            (
                json!({"resourceType": "Appointment", "participant": [{"actor": to("Practitioner/x")},
                    {"actor": to("Patient/a")}, {"status": "accepted"}]}),
                &["a"],
            ),
            (
                json!({"resourceType": "AuditEvent", "agent": [{"who": to("Patient/a")}],
                    "entity": [{"what": to("Patient/b")}, {"what": to("Observation/c")}]}),
                &["a", "b"],
            ),
            (json!({"resourceType": "Group", "member": [{"entity": to("Patient/b")}]}), &["b"]),
            (
                json!({"resourceType": "CarePlan", "activity": [{"detail": {"performer": [to("Patient/p")]}}]}),
                &["p"],
            ),
            (json!({"resourceType": "Provenance", "target": [to("Patient/b"), to("Observation/c")]}), &["b"]),
            (json!({"resourceType": "Practitioner", "subject": to("Patient/a")}), &[]),
        ] {
            check(&resource, expected, expected);
        }
    }

    #[test]
    fn four_types_are_about_a_patient_beside_the_compartment() {
        for (kind, element) in
            [("Task", "for"), ("Device", "patient"), ("Contract", "subject"), ("GuidanceResponse", "subject")]
        {
            check(&json!({"resourceType": kind, element: {"reference": "Patient/a"}}), &["a"], &[]);
            assert!(can_be_about_a_patient(ResourceType::from_name(kind).unwrap()));
        }
        assert!(!can_be_about_a_patient(ResourceType::ORGANIZATION));
    }

    #[test]
    fn a_reference_that_is_no_patient_of_ours_does_not_count() {
        for reference in [
            json!({"reference": "#p"}),
            json!({"reference": "urn:uuid:6f2c0c5e-9a0b-4d3e-8e2e-000000000001"}),
            json!({"reference": "https://other.example/fhir/Patient/a"}),
            json!({"reference": "Group/a"}),
            json!({"reference": "Patient?identifier=a"}),
            json!({"reference": "Patient/a b"}),
            json!({"reference": ["Patient/a"]}),
            json!({"identifier": {"value": "a"}, "type": "Patient"}),
            json!("Patient/a"),
            json!(null),
        ] {
            check(&json!({"resourceType": "Condition", "subject": reference}), &[], &[]);
        }
    }

    proptest! {
        #[test]
        fn no_shape_makes_it_panic(shape in 0usize..4, depth in 0usize..40, which in 0usize..70) {
            let mut value = json!({"reference": "Patient/a"});
            for level in 0..depth {
                value = match (shape + level) % 4 {
                    0 => json!([value]),
                    1 => json!({"subject": value}),
                    2 => json!({"participant": value}),
                    _ => json!({"actor": [value, null, 1]}),
                };
            }
            let kind = ResourceType::from_name(table::ROWS[which].kind).unwrap();
            prop_assert!(patients(&value, kind, &LogicalId::parse("x").unwrap(), &base()).len() < 3);
        }
    }
}
