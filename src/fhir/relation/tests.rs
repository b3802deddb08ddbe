#![expect(clippy::unwrap_used, reason = "tests")]
use super::*;
use proptest::prelude::*;
use serde_json::json;

fn to(text: &str) -> Value {
    json!({"reference": text})
}

/// Each relation as `patient actorType/actor kind from..until`.
fn stated(resource: &Value) -> Vec<String> {
    let kind = ResourceType::from_name(resource["resourceType"].as_str().unwrap()).unwrap();
    let base = BaseUrl::parse("https://records.example/fhir").unwrap();
    let at = |t: Option<DateTime<Utc>>| t.map_or(String::new(), |t| t.format("%Y-%m-%dT%H:%MZ").to_string());
    relations(resource, kind, &LogicalId::parse("self").unwrap(), &base)
        .iter()
        .map(|r| {
            let (patient, actor, kind) = (r.patient.as_str(), r.actor.as_str(), r.kind.as_str());
            format!("{patient} {}/{actor} {kind} {}..{}", r.actor_kind, at(r.from), at(r.until))
        })
        .collect()
}

fn check(resource: &Value, expected: &[&str]) {
    assert_eq!(stated(resource), expected, "{resource}");
}

#[test]
fn a_patient_names_their_general_practitioners() {
    check(
        &json!({"resourceType": "Patient", "generalPractitioner": [to("Practitioner/a"), to("Organization/o"),
            to("PractitionerRole/r"), to("https://records.example/fhir/Practitioner/a"), to("#c")]}),
        &["self Practitioner/a general-practitioner ..", "self PractitionerRole/r general-practitioner .."],
    );
    check(&json!({"resourceType": "Patient"}), &[]);
}

#[test]
fn an_active_care_team_names_its_members_for_both_periods() {
    let team = |status: &str, team: Value, member: Value| {
        json!({"resourceType": "CareTeam", "status": status, "subject": to("Patient/p"), "period": team,
            "participant": [{"member": to("Practitioner/a"), "period": member}]})
    };
    for (of_team, of_member, expected) in [
        (json!({}), json!({}), Some("..")),
        (
            json!({"start": "2024-03"}),
            json!({"end": "2024-04"}),
            Some("2024-03-01T00:00Z..2024-05-01T00:00Z"),
        ),
        (
            json!({"start": "2023", "end": "2024"}),
            json!({"start": "2024-02-03", "end": "2024-02-03"}),
            Some("2024-02-03T00:00Z..2024-02-04T00:00Z"),
        ),
        (
            json!({"start": "2024-02-03T10:00:00+02:00"}),
            json!({"start": "2020"}),
            Some("2024-02-03T08:00Z.."),
        ),
        (json!({"end": "2022"}), json!({"start": "2024"}), None),
        (json!({}), json!({"start": "2024-02", "end": "2024-01"}), None),
        (json!({}), json!({"start": "soon"}), None),
        (json!({}), json!({"end": 2024}), None),
        (json!({"end": "2024-02-30"}), json!({}), None),
        (json!("2024"), json!({}), None),
        (json!({}), json!(null), None),
    ] {
        let expected = expected.map(|span| format!("p Practitioner/a care-team {span}"));
        assert_eq!(stated(&team("active", of_team, of_member)), Vec::from_iter(expected));
    }
    for status in ["proposed", "suspended", "inactive", "entered-in-error", ""] {
        check(&team(status, json!({}), json!({})), &[]);
    }
}

#[test]
fn a_care_team_member_is_a_person_who_cares() {
    check(
        &json!({"resourceType": "CareTeam", "status": "active", "subject": to("Patient/p"), "participant": [
            {"member": to("Organization/o")}, {"member": to("Patient/q")}, {"member": to("CareTeam/t")},
            {"member": to("RelatedPerson/r")}, {"member": to("Practitioner/a")}, {"member": to("Practitioner/a")},
            {"onBehalfOf": to("Practitioner/z")}]}),
        &["p RelatedPerson/r care-team ..", "p Practitioner/a care-team .."],
    );
    check(
        &json!({"resourceType": "CareTeam", "status": "active", "subject": to("Group/g"),
            "participant": [{"member": to("Practitioner/a")}]}),
        &[],
    );
}

#[test]
fn an_encounter_names_its_participants_unless_it_was_none() {
    let encounter = |status: &str| {
        json!({"resourceType": "Encounter", "status": status, "subject": to("Patient/p"),
            "period": {"start": "2024-01-01T08:00:00Z", "end": "2024-01-01T09:30:00Z"},
            "participant": [{"individual": to("Practitioner/a"), "period": {"start": "2024-01-01T08:15:00Z"}},
                {"individual": to("RelatedPerson/r")}]})
    };
    for status in ["planned", "arrived", "triaged", "in-progress", "onleave", "finished", "unknown"] {
        check(
            &encounter(status),
            &[
                "p Practitioner/a encounter-participant 2024-01-01T08:15Z..2024-01-01T09:30Z",
                "p RelatedPerson/r encounter-participant 2024-01-01T08:00Z..2024-01-01T09:30Z",
            ],
        );
    }
    for status in ["cancelled", "entered-in-error", "invented"] {
        check(&encounter(status), &[]);
    }
}

#[test]
fn an_appointment_relates_each_patient_to_each_actor_who_did_not_decline() {
    let appointment = |status: &str| {
        json!({"resourceType": "Appointment", "status": status, "start": "2024-01-01T08:00:00Z",
            "end": "2024-01-01T08:20:00Z", "participant": [
                {"actor": to("Patient/p"), "status": "accepted"}, {"actor": to("Patient/q"), "status": "declined"},
                {"actor": to("Practitioner/a"), "status": "accepted"}, {"actor": to("Location/l"), "status": "accepted"},
                {"actor": to("Practitioner/b"), "status": "declined"}, {"status": "needs-action"}]})
    };
    for status in ["pending", "booked", "arrived", "fulfilled", "checked-in", "waitlist"] {
        check(&appointment(status), &["p Practitioner/a appointment 2024-01-01T08:00Z..2024-01-01T08:20Z"]);
    }
    for status in ["proposed", "cancelled", "noshow", "entered-in-error", "invented"] {
        check(&appointment(status), &[]);
    }
}

#[test]
fn other_types_state_nothing() {
    check(
        &json!({"resourceType": "Observation", "subject": to("Patient/p"), "performer": [to("Practitioner/a")]}),
        &[],
    );
}

proptest! {
    #[test]
    fn no_period_panics_or_ends_before_it_starts(start in "[0-9TZ:-]{0,20}", end in "[0-9]{4}-[01][0-9]") {
        let kind = ResourceType::CARE_TEAM;
        let resource = json!({"status": "active", "subject": to("Patient/p"), "participant": [
            {"member": to("Practitioner/a"), "period": {"start": start, "end": end}}]});
        let base = BaseUrl::parse("https://records.example/fhir").unwrap();
        for relation in relations(&resource, kind, &LogicalId::parse("x").unwrap(), &base) {
            prop_assert!(relation.from.unwrap() < relation.until.unwrap());
        }
    }
}
