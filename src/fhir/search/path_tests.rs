#![expect(clippy::unwrap_used, reason = "tests")]
use super::super::super::definitions::loaded;
use super::super::compiler::Compiler;
use super::*;

fn found(kind: &str, expression: &str, resource: &Value) -> Option<Vec<(Datatype, Value)>> {
    let compiler = Compiler { definitions: loaded() };
    let paths = compiler.paths(ResourceType::from_name(kind).unwrap(), expression)?;
    let mut found = Vec::new();
    for path in &paths {
        path.visit(resource, &mut |value| found.push((path.datatype, value.clone())));
    }
    Some(found)
}

#[test]
fn every_form_of_expression_finds_its_elements() {
    let to = |text: &str| json!({"reference": text});
    let observation = json!({
        "resourceType": "Observation", "subject": to("Patient/1"), "valueQuantity": {"value": 1},
        "effectivePeriod": {"start": "2020"}, "performer": [to("Patient/2"), to("Practitioner/3")],
        "component": [{"valueQuantity": {"value": 2}}, {"valueString": "x"}, {}],
        "meta": {"tag": [{"code": "t"}]}
    });
    let patient = json!({"telecom": [
        {"system": "phone", "value": "1"}, {"system": "email", "value": "2"}, {"value": "3"}
    ]});
    let eyes = |url: &str, code: &str| json!({"url": url, "valueCoding": {"code": code}});
    let person = json!({"extension": [
        eyes("http://x.test/a|b", "green"), eyes("http://x.test/other", "blue"),
        {"url": "http://x.test/a|b", "valueString": "brown", "extension": [eyes("left", "grey")]},
    ]});
    let bundle = json!({"entry": [{"resource": {"id": "a"}}, {"resource": {"id": "b"}}]});
    for (kind, resource, expression, expected) in [
        ("Observation", &observation, "Observation.subject", vec![(Datatype::Reference, to("Patient/1"))]),
        (
            "Observation",
            &observation,
            "(Observation.value as Quantity) | (Observation.component.value as Quantity)",
            vec![(Datatype::Quantity, json!({"value": 1})), (Datatype::Quantity, json!({"value": 2}))],
        ),
        ("Observation", &observation, "Observation.value.ofType(string)", vec![]),
        (
            "Observation",
            &observation,
            "Observation.effective",
            vec![(Datatype::Period, json!({"start": "2020"}))],
        ),
        (
            "Observation",
            &observation,
            "Observation.performer.where(resolve() is Practitioner)",
            vec![(Datatype::Reference, to("Practitioner/3"))],
        ),
        ("Observation", &observation, "Resource.meta.tag", vec![(Datatype::Coding, json!({"code": "t"}))]),
        (
            "Patient",
            &patient,
            "Patient.telecom.where(system='phone')",
            vec![(Datatype::ContactPoint, json!({"system": "phone", "value": "1"}))],
        ),
        (
            "Patient",
            &person,
            "Patient.extension('http://x.test/a|b').value.as(Coding) | Patient.extension.where(url = 'nobody').value",
            vec![(Datatype::Coding, json!({"code": "green"}))],
        ),
        (
            "Patient",
            &person,
            "Patient.extension.where(url='http://x.test/a|b').extension('left').value.code",
            vec![(Datatype::Code, json!("grey"))],
        ),
        ("Bundle", &bundle, "Bundle.entry[0].resource.id", vec![]),
    ] {
        let got = found(kind, expression, resource);
        assert_eq!(got.unwrap_or_default(), expected, "{expression}");
    }
}

#[test]
fn what_is_not_of_these_forms_is_not_compiled() {
    for expression in [
        "",
        "Patient.name",
        "Observation",
        "Observation..subject",
        "Observation.nothing",
        "Observation.subject.exists() and Observation.code",
        "(Observation.value)",
        "(Observation.value as )",
        "Observation.value.as(Nothing)",
        "Observation.value.as(Quantity",
        "Observation.performer.where(resolve() is Nothing)",
        "Observation.subject |",
        "Observation.value.as(Quantity).value.as(string)",
        "Bundle.entry[0].resource",
        "Observation.identifier.where(system='a' and use='b')",
        "Observation.identifier.where(type.text='a')",
        "Observation.identifier.where(nothing='a')",
        "Observation.extension('a\\'b').value",
    ] {
        assert_eq!(found("Observation", expression, &json!({})), None, "{expression}");
    }
}

#[test]
fn a_sample_holds_its_value_at_the_path() {
    let compiler = Compiler { definitions: loaded() };
    for (kind, expression) in [
        (ResourceType::OBSERVATION, "Observation.performer.where(resolve() is Patient)"),
        (ResourceType::APPOINTMENT, "Appointment.participant.actor"),
        (ResourceType::CARE_PLAN, "CarePlan.activity.detail.performer"),
    ] {
        for path in compiler.paths(kind, expression).unwrap() {
            let value = json!({"reference": "Patient/1"});
            let sample = path.sample(value.clone());
            let mut found = Vec::new();
            path.visit(&sample, &mut |value| found.push(value.clone()));
            assert_eq!(found, [value], "{expression}");
        }
    }
}
