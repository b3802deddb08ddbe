#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
use super::super::super::definitions::loaded;
use super::super::super::reference::BaseUrl;
use super::super::{Handling, InForce, Level, Listed, Query, Request, Searches, Sets, Stage, form};
use super::*;
use serde_json::json;

fn parameter(code: &str, base: &[&str], kind: &str, expression: &str) -> Value {
    json!({"resourceType": "SearchParameter", "status": "active", "url": "http://x.test/one", "name": "One",
        "description": "d", "code": code, "base": base, "type": kind, "expression": expression})
}

fn of(resource: &Value) -> Definition {
    Definition::of(resource).unwrap()
}

const EYES: &str = "Patient.extension('http://x.test/eyes').value.as(Coding)";

#[test]
fn what_cannot_be_compiled_is_said_where() {
    let long = "a".repeat(CODE_BYTES_MAX + 1);
    let longer = format!("Patient.extension('{}').value", "x".repeat(EXPRESSION_BYTES_MAX));
    for (resource, place, code) in [
        (parameter("_eyes", &["Patient"], "token", EYES), "code", IssueCode::Value),
        (parameter(&long, &["Patient"], "token", EYES), "code", IssueCode::Value),
        (parameter("a.b", &["Patient"], "token", EYES), "code", IssueCode::Value),
        (parameter("gender", &["Patient"], "token", EYES), "code", IssueCode::Duplicate),
        (parameter("eyes", &["Patient"], "composite", EYES), "type", IssueCode::NotSupported),
        (parameter("eyes", &["Patient"], "special", EYES), "type", IssueCode::NotSupported),
        (parameter("eyes", &["Patient", "Resource"], "token", EYES), "base[1]", IssueCode::NotSupported),
        (parameter("eyes", &["Patient"], "token", ""), "expression", IssueCode::Required),
        (parameter("eyes", &["Patient"], "token", &longer), "expression", IssueCode::Required),
        (parameter("eyes", &["Patient"], "token", "Patient.nothing"), "expression", IssueCode::NotSupported),
        (parameter("eyes", &["Patient"], "date", EYES), "expression", IssueCode::NotSupported),
        (parameter("eyes", &["Person"], "token", EYES), "expression", IssueCode::NotSupported),
        (
            parameter("eyes", &["Patient"], "token", "Patient.name.exists()"),
            "expression",
            IssueCode::NotSupported,
        ),
    ] {
        let problems = compile(loaded(), &of(&resource)).unwrap_err();
        let told: Vec<_> = problems.iter().map(|one| (one.expression.clone().unwrap(), one.code)).collect();
        assert_eq!(told, [(format!("SearchParameter.{place}"), code)], "{resource}");
    }
    let most = "a".repeat(CODE_BYTES_MAX);
    assert_eq!(compile(loaded(), &of(&parameter(&most, &["Patient"], "token", EYES))).unwrap().len(), 1);
    let mut draft = parameter("_", &["Patient"], "special", "?");
    draft["status"] = json!("draft");
    assert_eq!(Definition::of(&draft), None, "it says nothing yet");
}

#[test]
fn two_of_one_name_for_one_type_are_not_taken_together() {
    let eyes = of(&parameter("eyes", &["Patient", "Person"], "token", "Patient.gender | Person.gender"));
    let others = of(&parameter("eyes", &["Group"], "token", "Group.type"));
    assert_eq!(compile_all(loaded(), &[eyes.clone(), others]).unwrap().len(), 3);
    let again = of(&parameter("eyes", &["Person"], "token", "Person.gender"));
    let problems = compile_all(loaded(), &[eyes, again]).unwrap_err();
    assert_eq!(problems.iter().map(|one| one.0).collect::<Vec<_>>(), [1]);
}

#[test]
fn what_is_sealed_is_read_back() {
    let all = [of(&parameter("eyes", &["Patient"], "token", EYES))];
    assert_eq!(Definition::read_all(&Definition::write_all(&all)), all);
    assert!(!String::from_utf8(Definition::write_all(&all)).unwrap().contains("http://x.test/one"));
}

fn r4(population: &[String]) -> InForce {
    let searches = Searches::compile(loaded());
    let listed = Listed::of(&searches, population).unwrap();
    InForce::of_r4(searches, listed)
}

fn known(population: &[&str], added: &[Value], stage: Stage, other: &[Value]) -> InForce {
    let population: Vec<String> = population.iter().map(|name| (*name).to_owned()).collect();
    let compiled = |all: &[Value]| compile_all(loaded(), &all.iter().map(of).collect::<Vec<_>>()).unwrap();
    r4(&population).with(
        (1, chrono::DateTime::UNIX_EPOCH),
        &population,
        &compiled(added),
        (stage, &compiled(other)),
    )
}

fn read(known: &InForce, query: &str) -> Result<Query, Vec<Problem>> {
    let (base, sets) = (BaseUrl::parse("https://x.test/fhir").unwrap(), Sets::new(None));
    let pairs = form::decode(query.as_bytes()).unwrap();
    let request = Request {
        kind: ResourceType::PATIENT,
        level: Level::Type,
        searches: &known.searches,
        sets: &sets,
        base: &base,
        handling: Handling::Strict,
        now: chrono::DateTime::UNIX_EPOCH,
    };
    Query::parse(request, &pairs)
}

#[test]
fn an_added_parameter_is_searched_like_any() {
    let mentor = "Patient.extension.where(url = 'http://x.test/mentor').value.as(Reference)";
    let mut reference = parameter("mentor", &["Patient"], "reference", mentor);
    reference["target"] = json!(["Practitioner"]);
    let known =
        known(&[], &[parameter("eyes", &["Patient"], "token", EYES), reference], Stage::Standing, &[]);
    let ann = json!({"resourceType": "Patient", "id": "ann", "extension": [
        {"url": "http://x.test/eyes", "valueCoding": {"system": "s", "code": "green"}},
        {"url": "http://x.test/eyes", "valueString": "blue"},
        {"url": "http://x.test/mentor", "valueReference": {"reference": "Practitioner/1"}}]});
    for (query, holds) in [
        ("eyes=green", true),
        ("eyes=s%7CGREEN", true),
        ("eyes=blue", false),
        ("eyes:not=green", false),
        ("eyes:missing=false", true),
        ("mentor=Practitioner/1", true),
        ("mentor:Practitioner=1", true),
        ("mentor=Practitioner/2", false),
        ("_filter=eyes+eq+green+and+not+(mentor+eq+Practitioner/2)", true),
    ] {
        assert_eq!(read(&known, query).unwrap().holds(&ann), holds, "{query}");
    }
    assert!(read(&known, "mentor.name=x").is_ok() && read(&known, "_sort=eyes").is_ok());
    assert!(read(&known, "_include=Patient:mentor").is_ok());
    for wrong in ["mentor=Patient/1", "mentor:Patient=1", "hair=x", "mentor.eyes=x"] {
        assert!(read(&known, wrong).is_err(), "{wrong}");
    }
    assert!(read(&r4(&[]), "eyes=green").is_err(), "R4 has none of that name");
}

#[test]
fn own_parameters_are_marked_when_listed_and_never_when_they_tell_much() {
    let eyes = parameter("eyes", &["Patient"], "token", EYES);
    let race = "Patient.extension('http://hl7.org/fhir/us/core/StructureDefinition/us-core-race').extension('ombCategory').value";
    let all = [
        eyes.clone(),
        parameter("sex", &["Patient"], "token", "Patient.gender"),
        parameter("men", &["Patient"], "string", "Patient.where(gender='male').name"),
        parameter("dead", &["Patient"], "token", "Patient.deceased.as(boolean)"),
        parameter("label", &["Patient"], "token", "Patient.meta.security"),
        parameter("race", &["Patient"], "token", race),
        parameter("birthsex", &["Patient"], "token", "Patient.extension.value.as(code)"),
        parameter("races", &["Patient"], "token", "Patient.extension.extension.value.as(Coding)"),
        parameter(
            "first",
            &["Patient"],
            "token",
            "Patient.extension[0].where(url='http://x.test/eyes').value.as(Coding)",
        ),
        parameter(
            "female",
            &["Patient"],
            "string",
            "Patient.extension.where(valueCode='F').where(url='x').value.as(string)",
        ),
        parameter("modifier", &["Patient"], "token", "Patient.modifierExtension.value.as(Coding)"),
        parameter("home", &["Patient"], "token", "Patient.address.extension.value.as(Coding)"),
        parameter(
            "deep",
            &["Patient"],
            "token",
            "Patient.extension('http://x.test/eyes').extension.value.as(Coding)",
        ),
        parameter("identifier-system", &["Patient"], "uri", "Patient.identifier.system"),
        // A name that is on the default list is R4's there.
        parameter("encounter", &["Patient"], "token", EYES),
        parameter("sex", &["Practitioner"], "token", "Practitioner.gender"),
        parameter("men", &["Practitioner"], "string", "Practitioner.where(gender='male').name"),
    ];
    let marked = |population: &[&str]| {
        let known = known(population, &all, Stage::Standing, &[]);
        let added = known.added().filter(|one| known.listed.has(one));
        added.map(|one| format!("{}.{}", one.of.name(), one.code)).collect::<Vec<_>>()
    };
    let of_nobody = ["Practitioner.men", "Practitioner.sex"];
    assert_eq!(marked(&[]), of_nobody, "of what is about nobody, everything");
    let eyes = [&["Patient.eyes"][..], &of_nobody].concat();
    assert_eq!(marked(&["added:Patient.eyes", "added:Patient.sex"]), eyes);
    let others = ["Patient.encounter", "Patient.eyes", "Patient.identifier-system"];
    assert_eq!(marked(&["all"]), [&others[..], &of_nobody].concat());
    let searches = Searches::compile(loaded());
    for wrong in ["added:Patient.birthdate", "added:Nothing.eyes", "added:eyes", "Patient.eyes"] {
        assert_eq!(Listed::of(&searches, &[wrong.to_owned()]).err().as_deref(), Some(wrong));
    }
}

#[test]
fn what_is_gone_over_is_what_has_other_marks() {
    let eyes = parameter("eyes", &["Patient"], "token", EYES);
    let hair = parameter("hair", &["Person", "Group"], "token", "Person.active | Group.type");
    let other_eyes = parameter("eyes", &["Patient"], "token", "Patient.language");
    let types = |known: &InForce| known.types_to_go_over().iter().map(|kind| kind.name()).collect::<Vec<_>>();
    let check = |added: &[Value], stage, other: &[Value], expected: &[&str], leaves: bool| {
        let known = known(&["all"], added, stage, other);
        assert_eq!((types(&known), known.leaves_marks()), (expected.to_vec(), leaves), "{added:?} {other:?}");
    };
    check(&[], Stage::TakingIn, std::slice::from_ref(&eyes), &["Patient"], false);
    check(
        std::slice::from_ref(&eyes),
        Stage::TakingIn,
        &[eyes.clone(), hair.clone()],
        &["Group", "Person"],
        false,
    );
    check(
        std::slice::from_ref(&eyes),
        Stage::TakingIn,
        std::slice::from_ref(&hair),
        &["Group", "Person"],
        true,
    );
    check(
        std::slice::from_ref(&eyes),
        Stage::TakingIn,
        std::slice::from_ref(&other_eyes),
        &["Patient"],
        true,
    );
    check(&[other_eyes], Stage::TakingOut, std::slice::from_ref(&eyes), &["Patient"], true);
    check(&[], Stage::TakingOut, &[eyes, hair], &["Group", "Patient", "Person"], false);
    let unlisted = known(&[], &[], Stage::TakingIn, &[parameter("eyes", &["Patient"], "token", EYES)]);
    assert_eq!(types(&unlisted), [] as [&str; 0], "what bears no marks needs none");
}

#[test]
fn while_it_is_taken_in_marks_of_both_are_borne() {
    let eyes = parameter("eyes", &["Patient"], "token", EYES);
    let base = BaseUrl::parse("https://x.test/fhir").unwrap();
    let ann = json!({"resourceType": "Patient", "id": "ann",
        "extension": [{"url": "http://x.test/eyes", "valueCoding": {"code": "green"}}]});
    for (stage, added, other, expected) in [
        (Stage::TakingIn, vec![], vec![eyes.clone()], 1),
        (Stage::Standing, vec![eyes.clone()], vec![], 1),
        (Stage::TakingOut, vec![], vec![eyes], 0),
    ] {
        let (known, mut marks) = (known(&["all"], &added, stage, &other), 0);
        known.marks(ResourceType::PATIENT, &ann, &base, &mut |one, _| marks += i32::from(one.is_added()));
        assert_eq!(marks, expected, "{stage:?}");
    }
}
