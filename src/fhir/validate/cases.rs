//! Tables of resources and the problems they must have.

use serde_json::{Value, json};

use super::super::definitions::loaded;
use super::super::kinds::ResourceType;
use super::super::outcome::{IssueCode, Severity};
use super::*;

/// Problems as `rule expression`.
pub(super) fn found(resource: &Value) -> Vec<String> {
    validate(loaded(), resource, None)
        .iter()
        .map(|p| {
            format!(
                "{} {}",
                p.rule.as_deref().unwrap_or_default(),
                p.expression.as_deref().unwrap_or_default()
            )
        })
        .collect()
}

#[track_caller]
pub(super) fn check(resource: Value, problems: &[&str]) {
    assert_eq!(found(&resource), problems, "{resource}");
}

/// A Patient with these members.
pub(super) fn patient(members: Value) -> Value {
    with(json!({"resourceType": "Patient"}), members)
}

/// An Observation that is complete, with these members.
pub(super) fn observation(members: Value) -> Value {
    with(json!({"resourceType": "Observation", "status": "final", "code": {"text": "x"}}), members)
}

fn with(mut resource: Value, mut members: Value) -> Value {
    if let (Some(resource), Some(members)) = (resource.as_object_mut(), members.as_object_mut()) {
        resource.append(members);
    }
    resource
}

#[test]
fn a_resource_names_its_type() {
    check(json!(null), &["structure.object-expected Resource"]);
    check(json!([]), &["structure.object-expected Resource"]);
    check(json!("Patient"), &["structure.object-expected Resource"]);
    check(json!({}), &["structure.resource-type-missing Resource"]);
    check(json!({"id": "1"}), &["structure.resource-type-missing Resource"]);
    for name in
        [json!("Human"), json!("patient"), json!("Resource"), json!("HumanName"), json!(1), json!(null)]
    {
        check(json!({"resourceType": name}), &["structure.resource-type-unknown Resource"]);
    }
    check(json!({"resourceType": "Patient"}), &[]);
    let problems = validate(loaded(), &json!({"resourceType": "Patient"}), Some(ResourceType::OBSERVATION));
    assert_eq!(problems.first().and_then(|p| p.rule.as_deref()), Some("structure.resource-type-wrong"));
    assert!(validate(loaded(), &json!({"resourceType": "Patient"}), Some(ResourceType::PATIENT)).is_empty());
}

#[test]
fn elements_are_those_of_r4() {
    check(patient(json!({"nick": "x"})), &["structure.unknown-element Patient.nick"]);
    check(patient(json!({"name": [{"givn": ["x"]}]})), &["structure.unknown-element Patient.name[0].givn"]);
    check(
        patient(json!({"contact": [{"name": {"a b": 1}}]})),
        &["structure.unknown-element Patient.contact[0].name"],
    );
    check(patient(json!({"Anna Meier": 1})), &["structure.unknown-element Patient"]);
    check(patient(json!({"": 1})), &["structure.unknown-element Patient"]);
    check(patient(json!({"__birthDate": {}})), &["structure.unknown-element Patient.__birthDate"]);
    check(
        patient(json!({"name": [{"resourceType": "Patient"}]})),
        &["structure.unknown-element Patient.name[0].resourceType"],
    );
    check(patient(json!({"fhir_comments": ["x"]})), &["structure.unknown-element Patient.fhir_comments"]);
}

#[test]
fn a_choice_is_made_once() {
    check(observation(json!({"valueQuantity": {"value": 1.0}})), &[]);
    check(observation(json!({"valueString": "x", "_valueString": {"id": "a"}})), &[]);
    check(
        observation(json!({"valueString": "x", "valueInteger": 1})),
        &["structure.choice Observation.value"],
    );
    check(
        observation(json!({"valueString": "x", "_valueInteger": {"id": "a"}})),
        &["structure.choice Observation.value"],
    );
    check(observation(json!({"value": "x"})), &["structure.unknown-element Observation.value"]);
    check(
        observation(json!({"valueAddress": {"city": "x"}})),
        &["structure.unknown-element Observation.valueAddress"],
    );
    check(observation(json!({"valueQuantity": 1})), &["structure.object-expected Observation.value"]);
}

#[test]
fn cardinality_holds() {
    check(
        json!({"resourceType": "Observation"}),
        &["structure.required Observation.status", "structure.required Observation.code"],
    );
    check(
        json!({"resourceType": "Observation", "_status": {"extension": [{"url": "u", "valueCode": "x"}]}, "code": {"text": "x"}}),
        &[],
    );
    check(patient(json!({"name": {"family": "x"}})), &["structure.array-expected Patient.name"]);
    check(patient(json!({"name": [{"given": "x"}]})), &["structure.array-expected Patient.name[0].given"]);
    check(patient(json!({"gender": ["male"]})), &["structure.array-unexpected Patient.gender"]);
    check(
        patient(json!({"maritalStatus": [{"text": "x"}]})),
        &["structure.array-unexpected Patient.maritalStatus"],
    );
    check(patient(json!({"name": []})), &["structure.empty-array Patient.name"]);
    check(patient(json!({"name": [{"given": []}]})), &["structure.empty-array Patient.name[0].given"]);
    check(patient(json!({"link": [{"type": "refer"}]})), &["structure.required Patient.link[0].other"]);
}

#[test]
fn nothing_is_empty() {
    check(patient(json!({"name": [{}]})), &["structure.empty-object Patient.name[0]"]);
    check(patient(json!({"maritalStatus": {}})), &["structure.empty-object Patient.maritalStatus"]);
    check(patient(json!({"maritalStatus": {"id": "a"}})), &["invariant.ele-1 Patient.maritalStatus"]);
    check(patient(json!({"maritalStatus": null})), &["structure.null Patient.maritalStatus"]);
    check(patient(json!({"birthDate": null})), &["structure.null Patient.birthDate"]);
    check(patient(json!({"name": [null]})), &["structure.null Patient.name[0]"]);
    check(patient(json!({"name": [{"family": ""}]})), &["primitive.string Patient.name[0].family"]);
    check(patient(json!({"_birthDate": {}})), &["structure.empty-object Patient.birthDate"]);
    check(patient(json!({"_birthDate": {"id": "a"}})), &["invariant.ele-1 Patient.birthDate"]);
}

#[test]
fn primitives_have_companions() {
    let extension = json!({"extension": [{"url": "http://x", "valueString": "y"}]});
    check(patient(json!({"birthDate": "2020", "_birthDate": extension})), &[]);
    check(patient(json!({"_birthDate": extension})), &[]);
    check(patient(json!({"birthDate": "2020", "_birthDate": {"id": "a"}})), &[]);
    check(patient(json!({"_birthDate": [extension]})), &["structure.array-unexpected Patient.birthDate"]);
    check(patient(json!({"_birthDate": "x"})), &["structure.object-expected Patient.birthDate"]);
    check(patient(json!({"_birthDate": null})), &["structure.null Patient.birthDate"]);
    check(
        patient(json!({"_birthDate": {"value": 1}})),
        &["structure.unknown-element Patient.birthDate.value"],
    );
    check(patient(json!({"_name": [{"id": "a"}]})), &["structure.underscore Patient.name"]);
    check(
        patient(json!({"name": [{"family": "x"}], "_name": [extension]})),
        &["structure.underscore Patient.name"],
    );
    let names =
        |given: Value, companions: Value| patient(json!({"name": [{"given": given, "_given": companions}]}));
    check(names(json!(["a", "b"]), json!([null, extension])), &[]);
    check(names(json!([null, "b"]), json!([extension, null])), &[]);
    check(names(json!([null]), json!([extension])), &[]);
    check(patient(json!({"name": [{"_given": [extension]}]})), &[]);
    check(names(json!([null, "b"]), json!([null, extension])), &["structure.null Patient.name[0].given[0]"]);
    check(
        names(json!(["a", "b"]), json!([extension])),
        &["structure.misaligned-arrays Patient.name[0].given"],
    );
    check(names(json!(["a"]), json!(extension)), &["structure.array-expected Patient.name[0].given"]);
    check(patient(json!({"name": [{"given": ["a", null]}]})), &["structure.null Patient.name[0].given[1]"]);
    check(patient(json!({"name": [{"given": ["a", 1]}]})), &["primitive.string Patient.name[0].given[1]"]);
}

#[test]
fn formats_are_checked_in_place() {
    check(patient(json!({"birthDate": "2023-02-30"})), &["primitive.date Patient.birthDate"]);
    check(patient(json!({"active": "true"})), &["primitive.boolean Patient.active"]);
    check(patient(json!({"id": "a_b"})), &["primitive.id Patient.id"]);
    check(patient(json!({"multipleBirthInteger": 1.5})), &["primitive.integer Patient.multipleBirth"]);
    check(
        patient(json!({"meta": {"lastUpdated": "2020-01-01"}})),
        &["primitive.instant Patient.meta.lastUpdated"],
    );
    check(patient(json!({"birthDate": {"x": 1}})), &["primitive.date Patient.birthDate"]);
    let codes = |value: Value| validate(loaded(), &patient(json!({ "birthDate": value })), None);
    assert_eq!(codes(json!("x")).first().map(|p| p.code), Some(IssueCode::Value));
    assert_eq!(codes(json!(2020)).first().map(|p| p.code), Some(IssueCode::Structure));
}

#[test]
fn codes_are_of_their_value_set() {
    check(patient(json!({"gender": "female"})), &[]);
    check(patient(json!({"gender": "F"})), &["binding.required Patient.gender"]);
    check(patient(json!({"name": [{"use": "secret"}]})), &["binding.required Patient.name[0].use"]);
    check(observation(json!({"status": "done"})), &["binding.required Observation.status"]);
    // A language is bound with less strength.
    check(patient(json!({"language": "tlh"})), &[]);
    let allergy = |status: Value| json!({"resourceType": "AllergyIntolerance", "clinicalStatus": status, "patient": {"reference": "Patient/1"}});
    let system = "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical";
    check(
        allergy(
            json!({"coding": [{"system": "http://x", "code": "y"}, {"system": system, "code": "active"}]}),
        ),
        &[],
    );
    for wrong in [
        json!({"text": "active"}),
        json!({"coding": [{"code": "active"}]}),
        json!({"coding": [{"system": system, "code": "x"}]}),
    ] {
        check(allergy(wrong), &["binding.required AllergyIntolerance.clinicalStatus"]);
    }
}

#[test]
fn extensions_have_a_url_and_either_value_or_extensions() {
    let extended = |extension: Value| patient(json!({"extension": [extension]}));
    check(extended(json!({"url": "http://x", "valueCode": "a"})), &[]);
    check(extended(json!({"url": "http://x", "extension": [{"url": "y", "valueBoolean": true}]})), &[]);
    check(
        extended(json!({"url": "http://x", "_valueCode": {"extension": [{"url": "y", "valueCode": "z"}]}})),
        &[],
    );
    check(extended(json!({"valueCode": "a"})), &["structure.required Patient.extension[0].url"]);
    check(extended(json!({"url": "http://x"})), &["invariant.ext-1 Patient.extension[0]"]);
    check(
        extended(json!({"url": "http://x", "valueCode": "a", "extension": [{"url": "y", "valueCode": "z"}]})),
        &["invariant.ext-1 Patient.extension[0]"],
    );
    check(
        extended(json!({"url": "http://x", "valueCode": "a", "valueString": "b"})),
        &["structure.choice Patient.extension[0].value"],
    );
    check(extended(json!({"url": "a b", "valueCode": "a"})), &["primitive.uri Patient.extension[0].url"]);
    check(
        patient(json!({"modifierExtension": [{"url": "u"}]})),
        &["invariant.ext-1 Patient.modifierExtension[0]"],
    );
}

#[test]
fn narratives_hold_formatting_alone() {
    let narrative = |div: &str| patient(json!({"text": {"status": "generated", "div": div}}));
    check(narrative("<div xmlns=\"http://www.w3.org/1999/xhtml\">x</div>"), &[]);
    check(narrative("<div><script>x</script></div>"), &["invariant.txt-1 Patient.text.div"]);
    check(narrative("<div> </div>"), &["invariant.txt-2 Patient.text.div"]);
    check(narrative(""), &["primitive.xhtml Patient.text.div"]);
    check(patient(json!({"text": {"div": "<div>x</div>"}})), &["structure.required Patient.text.status"]);
}

#[test]
fn backbones_may_hold_themselves() {
    let questionnaire = |item: Value| json!({"resourceType": "Questionnaire", "status": "draft", "item": [{"linkId": "1", "type": "group", "item": [item]}]});
    check(questionnaire(json!({"linkId": "2", "type": "string"})), &[]);
    check(
        questionnaire(json!({"linkId": "2", "type": "poem"})),
        &["binding.required Questionnaire.item[0].item[0].type"],
    );
    check(
        questionnaire(json!({"type": "string"})),
        &["structure.required Questionnaire.item[0].item[0].linkId"],
    );
}

#[test]
fn invariants_hold() {
    let telecom = |point: Value| patient(json!({"telecom": [point]}));
    check(telecom(json!({"system": "phone", "value": "1"})), &[]);
    check(telecom(json!({"value": "1"})), &["invariant.cpt-2 Patient.telecom[0]"]);
    check(patient(json!({"photo": [{"data": "AAAA"}]})), &["invariant.att-1 Patient.photo[0]"]);
    check(patient(json!({"contact": [{"gender": "male"}]})), &["invariant.pat-1 Patient.contact[0]"]);
    check(patient(json!({"contact": [{"name": {"text": "x"}}]})), &[]);
    check(observation(json!({"valueQuantity": {"code": "mg"}})), &["invariant.qty-3 Observation.value"]);
    let absent = json!({"text": "x"});
    check(observation(json!({"dataAbsentReason": absent})), &[]);
    check(
        observation(json!({"dataAbsentReason": absent, "valueString": "x"})),
        &["invariant.obs-6 Observation"],
    );
    let effective =
        |start: &str, end: &str| observation(json!({"effectivePeriod": {"start": start, "end": end}}));
    check(effective("2020-01-02", "2020-01-01"), &["invariant.per-1 Observation.effective"]);
    check(
        effective("2020-01-01T10:00:00Z", "2020-01-01T09:59:59Z"),
        &["invariant.per-1 Observation.effective"],
    );
    // What precision or zones leave open is not held against anybody.
    check(effective("2020-05", "2020"), &[]);
    check(effective("2020-05-02T10:00:00Z", "2020-05-01"), &[]);
    let organization =
        |telecom: Value| json!({"resourceType": "Organization", "name": "x", "telecom": [telecom]});
    check(
        organization(json!({"system": "phone", "value": "1", "use": "home"})),
        &["invariant.org-3 Organization.telecom[0]"],
    );
    check(json!({"resourceType": "Organization"}), &["invariant.org-1 Organization"]);
    let range = |low: &str, high: &str| {
        let number = |text: &str| json!({"value": text.parse::<serde_json::Number>().ok(), "unit": "mg"});
        observation(json!({"valueRange": {"low": number(low), "high": number(high)}}))
    };
    check(range("1.5", "1.50"), &[]);
    check(range("2", "1.5"), &["invariant.rng-2 Observation.value"]);
    let low = json!([{"low": {"value": 1, "comparator": "<"}}]);
    check(
        observation(json!({"referenceRange": low})),
        &["invariant.sqty-1 Observation.referenceRange[0].low"],
    );
    let component = json!([{"code": {"coding": [{"system": "s", "code": "c"}]}}]);
    let mut twice = observation(json!({"valueString": "x", "component": component}));
    check(twice.clone(), &[]);
    if let Some(code) = twice.get_mut("code") {
        *code = json!({"coding": [{"code": "c", "system": "s"}]});
    }
    check(twice, &["invariant.obs-7 Observation"]);
    let bundle = |fields: Value| with(json!({"resourceType": "Bundle", "type": "collection"}), fields);
    check(bundle(json!({"total": 1})), &["invariant.bdl-1 Bundle"]);
    let entry =
        |url: &str| json!({"fullUrl": url, "resource": {"resourceType": "Basic", "code": {"text": "x"}}});
    check(bundle(json!({"entry": [entry("urn:a:1"), entry("urn:a:1")]})), &["invariant.bdl-7 Bundle"]);
}

#[test]
fn best_practice_only_warns() {
    let resource = json!({"resourceType": "ValueSet", "status": "draft", "name": "a b"});
    assert_eq!(found(&resource), [""; 0]);
    let all = problems(loaded(), &resource, None, Wanted::All);
    let rules: Vec<_> = all.iter().map(|p| (p.rule.as_deref().unwrap_or_default(), p.severity)).collect();
    assert_eq!(rules, [("invariant.vsd-0", Severity::Warning), ("invariant.dom-6", Severity::Warning)]);
    // However many warn, they take no room from what refuses.
    let entry = json!({"resource": {"resourceType": "Patient"}});
    let mut entries = vec![entry; PROBLEMS_MAX + 1];
    entries.push(json!({"resource": {"resourceType": "Patient", "gender": "F"}}));
    let crowd = json!({"resourceType": "Bundle", "type": "collection", "entry": entries});
    let all = problems(loaded(), &crowd, None, Wanted::All);
    assert_eq!(all.len(), PROBLEMS_MAX + 1);
    assert_eq!(all.iter().filter(|p| p.refuses()).count(), 1);
    assert!(all.first().is_some_and(Problem::refuses));
}

#[test]
fn problems_and_depth_are_bounded() {
    let many = |n: usize| patient(json!({"name": vec![json!({"use": "x"}); n]}));
    assert_eq!(found(&many(PROBLEMS_MAX - 1)).len(), PROBLEMS_MAX - 1);
    assert_eq!(found(&many(PROBLEMS_MAX + 1)).len(), PROBLEMS_MAX);
    let nested = |n: usize| {
        (0..n)
            .fold(json!({"url": "u", "valueCode": "c"}), |inner, _| json!({"url": "u", "extension": [inner]}))
    };
    check(patient(json!({"extension": [nested(DEPTH_MAX - 1)]})), &[]);
    let deep = found(&patient(json!({"extension": [nested(DEPTH_MAX + 10)]})));
    assert_eq!(deep.len(), 1);
    assert!(deep.iter().all(|problem| problem.starts_with("structure.depth ")));
}

#[test]
fn no_problem_holds_a_value() {
    let secret = "Meier-Secret";
    let resource = json!({"resourceType": "Observation", "status": secret, "issued": secret, "id": format!("{secret}!"),
        secret: 1, "code": {"coding": [{secret: 1, "code": 1, "system": format!("{secret} x")}]},
        "subject": {"reference": secret, "type": secret}, "valueString": "", "text": {"status": secret, "div": secret},
        "contained": [{"resourceType": secret}]});
    let problems = validate(loaded(), &resource, None);
    assert!(problems.len() > 8);
    assert!(!format!("{problems:?}").contains("Secret"), "{problems:?}");
}
