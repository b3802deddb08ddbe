//! Tables of references, contained resources and resources in a Bundle.

use serde_json::{Value, json};

use super::cases::{check, observation};

#[test]
fn references_point_where_they_may() {
    let subject = |reference: Value| observation(json!({ "subject": reference }));
    for good in [
        "Patient/1",
        "Group/a/_history/2",
        "https://x/fhir/Patient/1",
        "urn:uuid:c757873d-ec9a-4326-a141-556f43239520",
        "http://x/y",
    ] {
        check(subject(json!({"reference": good})), &[]);
    }
    check(subject(json!({"display": "someone"})), &[]);
    check(subject(json!({"reference": "Patient/1", "type": "Patient"})), &[]);
    for bad in ["1", "Patient/", "Human/1", "Patient?identifier=1", "Patient/a b"] {
        check(subject(json!({"reference": bad})), &["reference.form Observation.subject.reference"]);
    }
    check(subject(json!({"reference": "Encounter/1"})), &["reference.target-type Observation.subject"]);
    check(
        subject(json!({"reference": "http://x/Encounter/1"})),
        &["reference.target-type Observation.subject"],
    );
    check(
        subject(json!({"type": "Encounter", "display": "x"})),
        &["reference.target-type Observation.subject"],
    );
    check(
        subject(json!({"reference": "Patient/1", "type": "Group"})),
        &["reference.type-mismatch Observation.subject.type"],
    );
    check(subject(json!({"reference": 1})), &["primitive.string Observation.subject.reference"]);
    check(
        observation(json!({"extension": [{"url": "u", "valueReference": {"reference": "Encounter/1"}}]})),
        &[],
    );
}

#[test]
fn contained_resources_are_part_of_their_container() {
    let holding = |contained: Value, reference: &str| {
        observation(json!({"contained": contained, "subject": {"reference": reference}}))
    };
    check(holding(json!([{"resourceType": "Patient", "id": "p"}]), "#p"), &[]);
    check(
        holding(json!([{"resourceType": "Patient", "id": "p"}]), "#q"),
        &[
            "reference.contained-missing Observation.subject.reference",
            "invariant.dom-3 Observation.contained[0]",
        ],
    );
    check(
        observation(json!({"subject": {"reference": "#p"}})),
        &["reference.contained-missing Observation.subject.reference"],
    );
    check(
        holding(
            json!([{"resourceType": "Encounter", "id": "p", "status": "planned", "class": {"code": "x"}}]),
            "#p",
        ),
        &["reference.target-type Observation.subject"],
    );
    check(
        holding(
            json!([{"resourceType": "Patient", "id": "p", "managingOrganization": {"reference": "#o"}}, {"resourceType": "Organization", "id": "o", "name": "x"}]),
            "#p",
        ),
        &[],
    );
    check(
        holding(json!([{"resourceType": "Patient", "id": "p", "gender": "F"}]), "#p"),
        &["binding.required Observation.contained[0].gender"],
    );
    check(
        holding(json!([{"resourceType": "Patient"}]), "Patient/1"),
        &["contained.id-missing Observation.contained[0]"],
    );
    check(
        holding(
            json!([{"resourceType": "Patient", "id": "p"}, {"resourceType": "Patient", "id": "p"}]),
            "#p",
        ),
        &["contained.id-duplicate Observation.contained[1].id"],
    );
    check(
        holding(
            json!([{"resourceType": "Patient", "id": "p", "contained": [{"resourceType": "Patient", "id": "q"}]}]),
            "#p",
        ),
        &["invariant.dom-2 Observation.contained[0]"],
    );
    check(
        holding(
            json!([{"resourceType": "Patient", "id": "p", "meta": {"versionId": "1", "security": [{"code": "R"}]}}]),
            "#p",
        ),
        &["invariant.dom-4 Observation.contained[0]", "invariant.dom-5 Observation.contained[0]"],
    );
    check(
        holding(json!([{"resourceType": "Human", "id": "p"}]), "Patient/1"),
        &[
            "structure.resource-type-unknown Observation.contained[0]",
            "invariant.dom-3 Observation.contained[0]",
        ],
    );
    check(holding(json!([1]), "Patient/1"), &["structure.object-expected Observation.contained[0]"]);
    check(holding(json!([]), "Patient/1"), &["structure.empty-array Observation.contained"]);
}

#[test]
fn resources_in_a_bundle_are_looked_at() {
    let bundle = |resource: Value| {
        json!({"resourceType": "Bundle", "type": "transaction", "entry": [
        {"resource": resource, "request": {"method": "POST", "url": "Observation"}}]})
    };
    check(bundle(observation(json!({"subject": {"reference": "Patient?identifier=1"}}))), &[]);
    check(
        bundle(observation(json!({"subject": {"reference": "Encounter?identifier=1"}}))),
        &["reference.target-type Bundle.entry[0].resource.subject"],
    );
    check(
        bundle(json!({"resourceType": "Observation", "status": "final"})),
        &["structure.required Bundle.entry[0].resource.code"],
    );
    check(bundle(json!({})), &["structure.resource-type-missing Bundle.entry[0].resource"]);
    check(
        bundle(observation(
            json!({"contained": [{"resourceType": "Patient", "id": "p"}], "subject": {"reference": "#p"}}),
        )),
        &[],
    );
    check(json!({"resourceType": "Bundle", "type": "batches"}), &["binding.required Bundle.type"]);
    check(
        json!({"resourceType": "Parameters", "parameter": [{"name": "x", "part": [{"name": "y", "resource": {"resourceType": "Patient", "gender": "F"}}]}]}),
        &["binding.required Parameters.parameter[0].part[0].resource.gender"],
    );
}
