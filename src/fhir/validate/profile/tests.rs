//! Tests of profiles: US Core's own examples, whole and damaged.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Read;
use std::sync::OnceLock;

use serde_json::json;

use super::super::super::definitions::loaded;
use super::super::super::outcome::Problem;
use super::super::super::package::{Conformance, Package};
use super::super::{Wanted, validate};
use super::*;

const FILE: &[u8] = include_bytes!("../../../../tests/data/us-core-6.1.0.tgz");

fn us_core() -> &'static Conformance {
    static LOADED: OnceLock<Conformance> = OnceLock::new();
    LOADED.get_or_init(|| Conformance::of(loaded(), [Package::read(FILE).unwrap().kept.as_slice()]))
}

fn examples() -> &'static BTreeMap<String, Value> {
    static READ: OnceLock<BTreeMap<String, Value>> = OnceLock::new();
    READ.get_or_init(|| {
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(FILE));
        let mut found = BTreeMap::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().to_string_lossy().into_owned();
            let Some(name) = path.strip_prefix("package/example/") else { continue };
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            found.insert(name.trim_end_matches(".json").to_owned(), serde_json::from_str(&text).unwrap());
        }
        found
    })
}

fn judged(resource: &Value, url: &str, wanted: Wanted) -> Vec<Problem> {
    let vocabulary = us_core().vocabulary(None);
    let (profiles, open) = (&us_core().profiles, RefCell::default());
    let bench = Bench { definitions: loaded(), profiles, vocabulary: &vocabulary, wanted, open: &open };
    judge(bench, us_core().profiles.get(url).unwrap(), resource.as_object().unwrap())
}

const US: &str = "http://hl7.org/fhir/us/core/StructureDefinition/";

#[track_caller]
fn check(resource: &Value, profile: &str, expected: &[&str]) {
    assert_eq!(validate(loaded(), resource, None), []);
    let found = judged(resource, &format!("{US}{profile}"), Wanted::Refusals);
    let found: Vec<String> = found
        .iter()
        .map(|p| format!("{} {}", p.rule.as_deref().unwrap(), p.expression.as_deref().unwrap()))
        .collect();
    assert_eq!(found, expected, "{resource}");
}

/// US Core's own examples that are not valid, and why.
const BROKEN: [(&str, &str); 0] = [];

#[test]
fn the_examples_of_us_core_are_valid_but_for_these() {
    let (mut count, mut broken) = (0, Vec::new());
    for (name, example) in examples() {
        for problem in validate(loaded(), example, None) {
            broken.push((name.clone(), format!("{:?}", problem.rule)));
        }
        for url in example.pointer("/meta/profile").and_then(Value::as_array).into_iter().flatten() {
            let url = url.as_str().unwrap();
            if us_core().profiles.get(url).is_none() {
                continue;
            }
            count += 1;
            for problem in judged(example, url, Wanted::Refusals) {
                broken.push((
                    name.clone(),
                    format!("{} {} {}", problem.rule.unwrap(), problem.expression.unwrap(), problem.text),
                ));
            }
        }
    }
    let expected: Vec<_> =
        BROKEN.iter().map(|(name, what)| ((*name).to_owned(), (*what).to_owned())).collect();
    assert_eq!(broken, expected);
    assert_eq!(count, 174);
}

fn example(name: &str) -> Value {
    examples().get(name).unwrap().clone()
}

/// The same with another value at a pointer; `None` takes it away.
fn with(mut resource: Value, pointer: &str, value: Option<Value>) -> Value {
    let (parent, member) = pointer.rsplit_once('/').unwrap();
    let parent = resource.pointer_mut(parent).unwrap();
    match (parent, value) {
        (Value::Object(object), Some(value)) => {
            object.insert(member.to_owned(), value);
        }
        (Value::Object(object), None) => {
            object.shift_remove(member).unwrap();
        }
        (Value::Array(items), value) => {
            let at = member.parse::<usize>().unwrap();
            items.splice(at..=at.min(items.len().max(1) - 1).max(at), value).for_each(drop);
        }
        _ => unreachable!(),
    }
    resource
}

#[test]
fn a_patient_of_us_core() {
    let patient = example("Patient-example");
    check(&patient, "us-core-patient", &[]);
    check(
        &with(patient.clone(), "/identifier", None),
        "us-core-patient",
        &["profile.min Patient.identifier"],
    );
    check(&with(patient.clone(), "/gender", None), "us-core-patient", &["profile.min Patient.gender"]);
    let no_name = with(patient.clone(), "/name", Some(json!([{"text": "x"}])));
    check(&no_name, "us-core-patient", &["invariant.us-core-6 Patient.name[0]"]);
    check(&patient, "us-core-condition-problems-health-concerns", &["profile.type Patient"]);
    // Extensions are told apart by their urls, and are profiles of their own.
    let race = |parts: Value| {
        let race = json!({"url": format!("{US}us-core-race"), "extension": parts});
        with(patient.clone(), "/extension", Some(json!([race])))
    };
    let text = json!({"url": "text", "valueString": "x"});
    check(&race(json!([text])), "us-core-patient", &[]);
    check(
        &race(
            json!([{"url": "detailed", "valueCoding": {"system": "urn:oid:2.16.840.1.113883.6.238", "code": "1010-8"}}]),
        ),
        "us-core-patient",
        &["profile.min Patient.extension[0].extension"],
    );
    check(&race(json!([text, text])), "us-core-patient", &["profile.max Patient.extension[0].extension"]);
}

#[test]
fn a_required_binding_of_a_package_refuses() {
    let plan = example("CarePlan-colonoscopy");
    check(&plan, "us-core-careplan", &[]);
    let empty = with(plan, "/text/status", Some(json!("empty")));
    check(&empty, "us-core-careplan", &["profile.binding CarePlan.text.status"]);
    // Sets of others, whose codes are not in the package, are told as not checked.
    let sex = json!({"url": format!("{US}us-core-birthsex"), "valueCode": "X"});
    let patient = with(example("Patient-example"), "/extension", Some(json!([sex])));
    check(&patient, "us-core-patient", &[]);
    let found = judged(&patient, &format!("{US}us-core-patient"), Wanted::All);
    assert!(found.iter().any(|problem| problem.rule.as_deref() == Some("profile.binding-unknown")));
}

#[test]
fn a_blood_pressure_of_us_core() {
    let pressure = example("Observation-blood-pressure");
    let of = "us-core-blood-pressure";
    check(&pressure, of, &[]);
    let code = |code: &str| json!({"coding": [{"system": "http://loinc.org", "code": code}]});
    check(&with(pressure.clone(), "/code", Some(code("1-8"))), of, &["profile.pattern Observation.code"]);
    check(
        &with(pressure.clone(), "/component/0/code", Some(code("1-8"))),
        of,
        &["profile.min Observation.component"],
    );
    check(
        &with(pressure.clone(), "/component/0/valueQuantity/code", Some(json!("kPa"))),
        of,
        &["profile.fixed Observation.component[0].value.code"],
    );
    check(
        &with(pressure.clone(), "/category", Some(json!([{"text": "x"}]))),
        of,
        &["profile.min Observation.category"],
    );
    check(
        &with(pressure.clone(), "/subject", Some(json!({"reference": "Group/1"}))),
        of,
        &["profile.target Observation.subject"],
    );
    check(
        &with(pressure.clone(), "/effectiveDateTime", Some(json!("2020"))),
        of,
        &["invariant.vs-1 Observation.effective"],
    );
    let timed = with(pressure, "/effectiveDateTime", None);
    check(&timed, of, &["profile.min Observation.effective"]);
    check(
        &with(timed, "/effectiveInstant", Some(json!("2020-01-01T00:00:00Z"))),
        of,
        &["profile.type Observation.effective"],
    );
}

#[test]
fn bindings_warn_or_refuse() {
    let patient = example("Patient-example");
    let spoken = with(
        patient,
        "/communication",
        Some(json!([{"language": {"coding": [{"system": "s", "code": "x"}]}}])),
    );
    let found = judged(&spoken, &format!("{US}us-core-patient"), Wanted::All);
    assert!(found.iter().all(|problem| !problem.refuses()), "{found:?}");
    let bound = found.iter().find(|p| p.expression.as_deref() == Some("Patient.communication[0].language"));
    assert_eq!(bound.unwrap().rule.as_deref(), Some("profile.binding"));
    assert!(judged(&spoken, &format!("{US}us-core-patient"), Wanted::Refusals).is_empty());
}

/// A profile of Observation with these elements below it.
fn small(elements: &[Value]) -> Vec<String> {
    let profile = |elements: &[Value]| {
        json!({
            "resourceType": "StructureDefinition", "url": "http://x/p", "name": "P", "type": "Observation",
            "snapshot": {"element": elements},
        })
    };
    let mut profiles = Profiles::default();
    profiles.add(loaded(), &profile(elements)).unwrap();
    for (url, kind, elements) in [
        (
            "http://x/note",
            "Annotation",
            json!([{"id": "Annotation", "path": "Annotation"},
            {"id": "Annotation.text", "path": "Annotation.text", "min": 1, "max": "1", "fixedMarkdown": "a"}]),
        ),
        (
            "http://x/known",
            "Patient",
            json!([{"id": "Patient", "path": "Patient"},
            {"id": "Patient.birthDate", "path": "Patient.birthDate", "min": 1, "max": "1"}]),
        ),
    ] {
        let other = json!({"resourceType": "StructureDefinition", "url": url, "type": kind, "derivation": "constraint",
            "snapshot": {"element": elements}});
        profiles.add(loaded(), &other).unwrap();
    }
    let observation = json!({
        "resourceType": "Observation", "status": "final", "code": {"text": "x"}, "valueString": "long",
        "note": [{"text": "a"}, {"text": "b"}],
        "contained": [
            {"resourceType": "Patient", "id": "born", "birthDate": "1970-01-01"}, {"resourceType": "Patient", "id": "unborn"},
        ],
        "focus": [
            {"reference": "#born"}, {"reference": "#unborn"}, {"reference": "Patient/elsewhere"}, {"reference": "Device/d"},
        ],
        "effectiveDateTime": "2020-05-06", "referenceRange": [{"low": {"value": 3.50, "code": "mg"}, "text": "x"}],
    });
    let vocabulary = us_core().vocabulary(None);
    let open = RefCell::default();
    let bench = Bench {
        definitions: loaded(),
        profiles: &profiles,
        vocabulary: &vocabulary,
        wanted: Wanted::Refusals,
        open: &open,
    };
    let found = judge(bench, profiles.get("http://x/p").unwrap(), observation.as_object().unwrap());
    found
        .iter()
        .map(|p| format!("{} {}", p.rule.as_deref().unwrap(), p.expression.as_deref().unwrap()))
        .collect()
}

#[test]
fn slices_are_told_apart_in_each_way() {
    let root = json!({"id": "Observation", "path": "Observation"});
    let sliced = |by: Value, rules: &str, slices: &[Value]| {
        let slicing = json!({"id": "Observation.note", "path": "Observation.note", "min": 0, "max": "*",
            "slicing": {"discriminator": [by], "rules": rules}});
        let all: Vec<Value> = [root.clone(), slicing].into_iter().chain(slices.iter().cloned()).collect();
        small(&all)
    };
    let slice = |name: &str, min: u8, max: &str| json!({"id": format!("Observation.note:{name}"), "path": "Observation.note", "min": min, "max": max});
    let text = |name: &str, text: &str| json!({"id": format!("Observation.note:{name}.text"), "path": "Observation.note.text", "min": 1, "max": "1", "fixedMarkdown": text});
    let by = |kind: &str, path: &str| json!({"type": kind, "path": path});
    let a = [slice("a", 1, "1"), text("a", "a")];
    assert_eq!(sliced(by("value", "text"), "open", &a), [""; 0]);
    assert_eq!(sliced(by("value", "text"), "closed", &a), ["profile.closed Observation.note[1]"]);
    assert_eq!(sliced(by("value", "$this"), "closed", &a), ["profile.closed Observation.note[1]"]);
    let c = [slice("c", 1, "1"), text("c", "c")];
    assert_eq!(sliced(by("value", "text"), "open", &c), ["profile.min Observation.note"]);
    let timed = |max: &str| {
        [
            slice("t", 1, "1"),
            json!({"id": "Observation.note:t.time", "path": "Observation.note.time", "min": 0, "max": max}),
        ]
    };
    assert_eq!(sliced(by("exists", "time"), "open", &timed("1")), ["profile.min Observation.note"]);
    assert_eq!(sliced(by("exists", "time"), "open", &timed("0")), ["profile.max Observation.note"]);
    // What cannot be told apart is not judged.
    assert_eq!(sliced(by("profile", "$this"), "closed", &a), [""; 0]);
    let noted = |max: &str| {
        [json!({"id": "Observation.note:n", "path": "Observation.note", "min": 1, "max": max,
                "type": [{"code": "Annotation", "profile": ["http://x/note"]}]})]
    };
    assert_eq!(sliced(by("profile", "$this"), "closed", &noted("1")), ["profile.closed Observation.note[1]"]);
    assert_eq!(sliced(by("profile", "$this"), "open", &noted("0")), ["profile.max Observation.note"]);
    let value = |rules: &str, code: &str| {
        let all = json!({"id": "Observation.value[x]", "path": "Observation.value[x]", "min": 0, "max": "1",
            "slicing": {"discriminator": [by("type", "$this")], "rules": rules}});
        let one = json!({"id": "Observation.value[x]:v", "path": "Observation.value[x]", "min": 1, "max": "1", "type": [{"code": code}]});
        small(&[root.clone(), all, one])
    };
    assert_eq!(value("open", "string"), [""; 0]);
    assert_eq!(value("open", "Quantity"), ["profile.min Observation.value"]);
    assert_eq!(
        value("closed", "Quantity"),
        ["profile.closed Observation.value", "profile.min Observation.value"]
    );
}

#[test]
fn slices_behind_references_are_told_apart_as_far_as_can_be_seen() {
    let sliced = |kind: &str, target: &str, min: u8, max: &str, rules: &str| {
        let by = json!({"type": kind, "path": "$this.resolve()"});
        let slicing = json!({"id": "Observation.focus", "path": "Observation.focus", "min": 0, "max": "*",
            "slicing": {"discriminator": [by], "rules": rules}});
        let slice = json!({"id": "Observation.focus:p", "path": "Observation.focus", "min": min, "max": max,
            "type": [{"code": "Reference", "targetProfile": [target]}]});
        small(&[json!({"id": "Observation", "path": "Observation"}), slicing, slice])
    };
    let patient = "http://hl7.org/fhir/StructureDefinition/Patient";
    let (none, min, max) = ([""; 0], ["profile.min Observation.focus"], ["profile.max Observation.focus"]);
    assert_eq!(sliced("type", patient, 3, "3", "open"), none);
    assert_eq!(sliced("type", patient, 4, "4", "open"), min);
    assert_eq!(sliced("type", patient, 0, "2", "open"), max);
    assert_eq!(sliced("type", patient, 0, "*", "closed"), ["profile.closed Observation.focus[3]"]);
    // One conforms, one does not, one is elsewhere: it may be counted, and need not.
    let known = "http://x/known";
    assert_eq!(sliced("profile", known, 1, "1", "open"), none);
    assert_eq!(sliced("profile", known, 2, "2", "open"), none);
    assert_eq!(sliced("profile", known, 3, "3", "open"), min);
    assert_eq!(sliced("profile", known, 0, "0", "open"), max);
    let closed = ["profile.closed Observation.focus[1]", "profile.closed Observation.focus[3]"];
    assert_eq!(sliced("profile", known, 0, "*", "closed"), closed);
    // Of a profile that is not known nothing can be told.
    assert_eq!(sliced("profile", "http://x/nobody", 3, "3", "closed"), none);
}

#[test]
fn bounds_of_values_hold() {
    let bounded = |path: &str, bound: Value| {
        let mut element = json!({"id": path, "path": path, "min": 0, "max": "*"});
        element.as_object_mut().unwrap().extend(bound.as_object().unwrap().clone());
        small(&[json!({"id": "Observation", "path": "Observation"}), element])
    };
    let (time, low) = ("Observation.effective[x]", "Observation.referenceRange.low");
    let quantity = |value: &str, code: &str| {
        let value: Value = serde_json::from_str(value).unwrap();
        json!({"value": value, "code": code})
    };
    let (less, more) = ("profile.min-value", "profile.max-value");
    for (path, bound, expected) in [
        (time, json!({"minValueDateTime": "2020-05-06"}), ""),
        (time, json!({"minValueDateTime": "2020-05-07"}), less),
        (time, json!({"maxValueDateTime": "2020-05-05"}), more),
        (time, json!({"maxValueDateTime": "2020-05-06"}), ""),
        // Which comes first is open.
        (time, json!({"maxValueDateTime": "2020-05"}), ""),
        (low, json!({"minValueQuantity": quantity("3.5", "mg")}), ""),
        (low, json!({"minValueQuantity": quantity("3.51", "mg")}), less),
        (low, json!({"maxValueQuantity": quantity("3.49", "mg")}), more),
        (low, json!({"maxValueQuantity": quantity("1", "g")}), ""),
        (
            &format!("{low}.value"),
            json!({"maxValueDecimal": serde_json::from_str::<Value>("3.4").unwrap()}),
            more,
        ),
        (
            &format!("{low}.value"),
            json!({"minValueDecimal": serde_json::from_str::<Value>("3.4").unwrap()}),
            "",
        ),
    ] {
        let found = bounded(path, bound.clone());
        let rules: Vec<&str> = found.iter().map(|one| one.split(' ').next().unwrap()).collect();
        assert_eq!(rules.join(" "), expected, "{path} {bound}");
    }
}

#[test]
fn what_is_no_profile_of_r4_is_refused() {
    let mut profiles = Profiles::default();
    let of = |kind: &str| json!({"resourceType": "StructureDefinition", "url": "u", "type": kind});
    assert_eq!(profiles.add(loaded(), &of("Human")).unwrap_err(), NoProfile::Form);
    assert_eq!(profiles.add(loaded(), &of("Patient")).unwrap_err(), NoProfile::NoSnapshot);
    assert!(profiles.is_empty());
}
