//! Codes, by themselves and in sets of them; references.

use super::*;

#[test]
fn tokens_are_codes_with_or_without_their_system() {
    let observation = json!({"resourceType": "Observation", "status": "final",
        "identifier": [{"system": "urn:a", "value": "X-1", "type": {"text": "Lab no", "coding": [
            {"system": "urn:t", "code": "FILL"}]}}, {"value": "N|2"}],
        "code": {"text": "Heart rate", "coding": [{"system": "http://loinc.org", "code": "8867-4", "display": "Pulse"},
            {"code": "local"}]},
        "meta": {"tag": [{"system": "urn:tags", "code": "T"}], "security": [{"code": "R"}],
            "profile": ["http://p/a|2"], "source": "http://src/x#1"}});
    check(
        &observation,
        &[
            "code=8867-4",
            "code=http://loinc.org%7C8867-4",
            "code=http://loinc.org%7C",
            "code=%7Clocal",
            "code=LOCAL",
            "code=x,local",
            "code:not=x",
            "code:not=x,y",
            "code:text=heart",
            "code:text=pul",
            "status=final",
            "status=http://hl7.org/fhir/observation-status%7Cfinal",
            "status=%7Cfinal",
            "identifier=x-1",
            "identifier=urn:a%7CX-1",
            "identifier=%7CN%5C%7C2",
            "identifier:of-type=urn:t%7CFILL%7CX-1",
            "identifier:text=lab",
            "_tag=T",
            "_tag=urn:tags%7C",
            "_security=r",
            "_profile=http://p/a",
            "_profile=http://p/a%7C2",
            "_source=http://src/x%231",
            "category:missing=true",
            "category:not=x",
        ],
        &[
            "code=8867",
            "code=http://loinc.org%7Clocal",
            "code=%7C8867-4",
            "code=urn:x%7C",
            "code:not=local",
            "code:not=x,local",
            "code:text=rate",
            "status=preliminary",
            "status=urn:x%7Cfinal",
            "identifier=urn:b%7CX-1",
            "identifier=%7CX-1",
            "identifier:of-type=urn:t%7CFILL%7CX-2",
            "identifier:of-type=urn:t%7CX%7CX-1",
            "_tag=urn:x%7CT",
            "_profile=http://p/a%7C3",
            "_profile=http://p",
            "category=x",
            "_source=http://src/x",
        ],
    );
    let patient = json!({"resourceType": "Patient", "active": true, "gender": "female", "telecom": [
        {"system": "phone", "value": "+49 1"}, {"system": "email", "value": "A@b.example"}]});
    check(
        &patient,
        &[
            "active=true",
            "gender=female",
            "phone=%2B49%201",
            "email=a@B.example",
            "telecom=email%7Ca@b.example",
            "deceased=false",
            "active:not=false",
            "deceased:missing=false",
        ],
        &[
            "active=false",
            "active=TRUE",
            "phone=a@b.example",
            "gender=male",
            "deceased=true",
            "gender:not=female",
        ],
    );
    for (died, deceased) in [
        (json!({"resourceType": "Patient", "deceasedBoolean": false}), false),
        (json!({"resourceType": "Patient", "deceasedBoolean": true}), true),
        (json!({"resourceType": "Patient", "deceasedDateTime": "2020"}), true),
    ] {
        assert_eq!(good("Patient", "deceased=true").holds(&died), deceased);
        assert_eq!(good("Patient", "deceased=false").holds(&died), !deceased);
    }
}

#[test]
fn codes_are_looked_for_in_sets_of_them() {
    let role = "http://terminology.hl7.org/CodeSystem/v3-RoleCode";
    let observation = json!({"resourceType": "Observation", "status": "final",
        "code": {"coding": [{"system": "http://hl7.org/fhir/observation-status", "code": "amended"}]},
        "category": [{"coding": [{"system": "https://elsewhere.example", "code": "final"}]}],
        "method": {"coding": [{"system": role, "code": "DAU"}]}});
    let set = "http://hl7.org/fhir/ValueSet/observation-status";
    check(
        &observation,
        &[
            &format!("status:in={set}"),
            &format!("status:in={set}%7C4.0.1"),
            &format!("code:in={set}"),
            &format!("category:not-in={set}"),
            "status:not-in=http://hl7.org/fhir/ValueSet/administrative-gender",
            &format!("_filter=status%20in%20{set}"),
            &format!("_filter=category%20ni%20{set}"),
            &format!("method:below={role}%7CCHILD"),
            &format!("method:below={role}%7CDAU"),
            &format!("method:above={role}%7CDAU"),
            &format!("_filter=method%20ss%20{role}%7CFAMMEMB"),
        ],
        &[
            &format!("status:not-in={set}"),
            &format!("category:in={set}"),
            "status:in=http://hl7.org/fhir/ValueSet/encounter-status",
            &format!("_filter=status%20ni%20{set}"),
            &format!("method:below={role}%7CPRN"),
            &format!("method:above={role}%7CCHILD"),
            &format!("_filter=method%20sb%20{role}%7CFAMMEMB"),
        ],
    );
    for (text, code, what) in [
        (
            "status:in=https://elsewhere.example/x",
            IssueCode::NotSupported,
            "this server does not know the ValueSet, or not every code that it takes in",
        ),
        (
            "status:in=http://hl7.org/fhir/ValueSet/observation-codes",
            IssueCode::NotSupported,
            "this server does not know the ValueSet, or not every code that it takes in",
        ),
        ("status:below=final", IssueCode::Value, "expected system|code"),
        (
            "status:below=http://loinc.org%7C1",
            IssueCode::NotSupported,
            "this server does not know which codes of the system lie under which",
        ),
        (&format!("status:above={role}%7Cnone"), IssueCode::Value, "the system has no such code"),
    ] {
        check_refused("Observation", text, code, &format!("Search parameter status: {what}."));
    }
}

#[test]
fn references_are_found_by_every_spelling() {
    let observation =
        |reference: &str| json!({"resourceType": "Observation", "subject": {"reference": reference}});
    let queries = [
        "patient=1",
        "subject=1",
        "patient=Patient/1",
        "subject:Patient=1",
        "patient=2,1",
        "patient=https://records.example/fhir/Patient/1",
    ];
    for reference in ["Patient/1", "Patient/1/_history/4", "https://records.example/fhir/Patient/1"] {
        check(
            &observation(reference),
            &queries,
            &["patient=2", "subject=Group/1", "subject=12", "patient=1&patient=2"],
        );
    }
    for reference in ["Patient/3", "#1", "urn:uuid:1", "https://other.example/fhir/Patient/1", "Patient/12"] {
        check(&observation(reference), &[], &queries);
    }
    check(&observation("Group/1"), &["subject=Group/1", "subject:Group=1"], &queries);
    check(
        &observation("https://other.example/fhir/Patient/1"),
        &["subject=https://other.example/fhir/Patient/1"],
        &["subject=https://other.example/fhir/Patient/2"],
    );
    let by_identifier = json!({"resourceType": "Observation",
        "subject": {"identifier": {"system": "urn:mrn", "value": "7"}, "type": "Patient"}});
    check(
        &by_identifier,
        &["subject:identifier=urn:mrn%7C7", "patient:identifier=7", "subject:missing=false"],
        &["subject:identifier=8", "subject=7"],
    );
    let response = json!({"resourceType": "QuestionnaireResponse", "questionnaire": "http://q/1|2.0"});
    check(
        &response,
        &["questionnaire=http://q/1", "questionnaire=http://q/1%7C2.0"],
        &["questionnaire=http://q/1%7C1.0", "questionnaire=http://q"],
    );
}
