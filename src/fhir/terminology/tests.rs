//! Tests of what the shipped terminology and small ones say.

#![expect(clippy::unwrap_used, reason = "tests")]

use serde_json::json;

use super::*;

const GENDER: &str = "http://hl7.org/fhir/administrative-gender";

fn shipped() -> &'static Terms {
    static SHIPPED: OnceLock<Shipped> = OnceLock::new();
    SHIPPED.get_or_init(Shipped::default).terms()
}

fn codes<'t>(vocabulary: &Vocabulary<'t>, url: &str) -> Result<Vec<&'t str>, NotExpanded> {
    let listed = vocabulary.expand(vocabulary.set(url).unwrap())?;
    Ok(listed.into_iter().map(|one| one.code).collect())
}

#[test]
fn the_terminology_of_r4_is_there() {
    assert_eq!(shipped().counts(), (1_061, 1_316, 80));
    let vocabulary = Vocabulary::new([shipped()]);
    let set = "http://hl7.org/fhir/ValueSet/administrative-gender";
    assert_eq!(codes(&vocabulary, set).unwrap(), ["male", "female", "other", "unknown"]);
    for (system, code, expected) in [
        (Some(GENDER), "male", Membership::In),
        (None, "male", Membership::In),
        (Some(GENDER), "Male", Membership::Out),
        (Some("http://other"), "male", Membership::Out),
    ] {
        assert_eq!(vocabulary.contains(set, system, code), expected, "{system:?} {code}");
    }
    assert_eq!(vocabulary.contains("http://nothing", None, "x"), Membership::Unknown);
    let versioned = |version: &str| vocabulary.set(&format!("{set}|{version}")).is_some();
    assert!(versioned("4.0.1") && versioned("4.0") && !versioned("4.0.11") && !versioned("5"));
    // Codes that are not shipped are not guessed at.
    let loinc = "http://hl7.org/fhir/ValueSet/observation-codes";
    assert_eq!(vocabulary.contains(loinc, Some("http://loinc.org"), "1-8"), Membership::Unknown);
    assert_eq!(codes(&vocabulary, loinc), Err(NotExpanded::Unknown("http://loinc.org".into())));
    for (code, expected) in [("text/plain", true), ("image/png; q=1", true), ("text", false), ("/", false)] {
        let found = vocabulary.contains("http://hl7.org/fhir/ValueSet/mimetypes", None, code);
        assert_eq!(found == Membership::In, expected, "{code}");
    }
}

#[test]
fn every_shipped_set_is_expanded_or_says_why_not() {
    let vocabulary = Vocabulary::new([shipped()]);
    let (mut whole, mut codes) = (0, 0);
    for set in shipped().sets.values() {
        if let Ok(found) = vocabulary.expand(set) {
            whole += 1;
            codes += found.len();
            for one in found.iter().take(20) {
                assert_eq!(
                    vocabulary.contains(&set.url, Some(one.system), one.code),
                    Membership::In,
                    "{} {}",
                    set.url,
                    one.code
                );
            }
        }
    }
    assert!(whole > 1_200 && codes > 30_000, "{whole} {codes}");
}

fn own() -> Terms {
    let mut own = Terms::default();
    let concept =
        |code: &str, under: Value| json!({"code": code, "display": code.to_uppercase(), "concept": under});
    let leaf = |code: &str| json!({"code": code});
    assert!(own.add(&json!({"resourceType": "CodeSystem", "url": "s", "content": "complete", "concept": [
        concept("a", json!([leaf("b"), concept("c", json!([leaf("d")]))])), leaf("e"),
    ]})));
    let mut set = |url: &str, compose: Value| {
        assert!(own.add(&json!({"resourceType": "ValueSet", "url": url, "compose": compose})));
    };
    let filter = |op: &str, value: &str| json!({"system": "s", "filter": [{"property": "concept", "op": op, "value": value}]});
    set("all", json!({"include": [{"system": "s"}]}));
    set("is-a", json!({"include": [filter("is-a", "c")]}));
    set("below", json!({"include": [filter("descendent-of", "a")]}));
    set("not", json!({"include": [filter("is-not-a", "c")]}));
    set("regex", json!({"include": [filter("regex", "[ab]")]}));
    set(
        "minus",
        json!({"include": [{"system": "s"}], "exclude": [{"system": "s", "concept": [{"code": "e"}]}]}),
    );
    set("both", json!({"include": [{"valueSet": ["below", "not"]}]}));
    set("circle", json!({"include": [{"valueSet": ["circle"]}]}));
    set(
        "odd",
        json!({"include": [{"system": "s", "filter": [{"property": "colour", "op": "=", "value": "red"}]}]}),
    );
    assert!(!own.add(&json!({"resourceType": "Patient", "url": "x"})));
    own
}

#[test]
fn the_rules_of_sets_are_kept() {
    let own = own();
    let vocabulary = Vocabulary::new([&own, shipped()]);
    for (set, expected) in [
        ("all", "abcde"),
        ("is-a", "cd"),
        ("below", "bcd"),
        ("not", "abe"),
        ("regex", "ab"),
        ("minus", "abcd"),
        ("both", "b"),
    ] {
        assert_eq!(codes(&vocabulary, set).unwrap().concat(), expected, "{set}");
        for code in ["a", "b", "c", "d", "e", "f"] {
            let is_in = if expected.contains(code) { Membership::In } else { Membership::Out };
            assert_eq!(vocabulary.contains(set, Some("s"), code), is_in, "{set} {code}");
        }
    }
    assert_eq!(vocabulary.contains("circle", Some("s"), "a"), Membership::Unknown);
    assert_eq!(codes(&vocabulary, "circle"), Err(NotExpanded::TooDeep));
    assert_eq!(vocabulary.contains("odd", Some("s"), "a"), Membership::Unknown);
    assert_eq!(codes(&vocabulary, "odd"), Err(NotExpanded::Unknown("s".into())));
}

#[test]
fn an_expansion_of_too_many_codes_is_refused() {
    let many = |count: usize| {
        let listed: Vec<Value> = (0..count).map(|n| json!({"code": n.to_string()})).collect();
        let mut terms = Terms::default();
        terms.add(&json!({"resourceType": "ValueSet", "url": "v", "compose": {"include": [{"system": "s", "concept": listed}]}}));
        let vocabulary = Vocabulary::new([&terms]);
        vocabulary.expand(vocabulary.set("v").unwrap()).map(|found| found.len())
    };
    assert_eq!(many(EXPANSION_CODES_MAX), Ok(EXPANSION_CODES_MAX));
    assert_eq!(many(EXPANSION_CODES_MAX + 1), Err(NotExpanded::TooCostly));
}

#[test]
fn a_page_and_the_codings_of_a_question_are_bounded() {
    use answer::{Asked, CODINGS_MAX, Operation, PAGE_CODES_MAX, answer};
    let listed: Vec<Value> = (0..=PAGE_CODES_MAX).map(|n| json!({"code": n.to_string()})).collect();
    let mut terms = Terms::default();
    terms.add(&json!({"resourceType": "ValueSet", "url": "v", "compose": {"include": [{"system": "s", "concept": listed}]}}));
    let vocabulary = Vocabulary::new([&terms]);
    let ask = |operation: Operation, parameters: Value| {
        let mut asked = Asked::default();
        asked.parameters(operation, &json!({ "parameter": parameters })).unwrap();
        answer(&vocabulary, operation, "ValueSet", &asked, ("id", "now"))
    };
    let page = |count: usize| {
        let sent = json!([{"name": "url", "valueUri": "v"}, {"name": "count", "valueInteger": count}]);
        let answer = ask(Operation::Expand, sent).unwrap();
        answer.pointer("/expansion/contains").and_then(Value::as_array).unwrap().len()
    };
    assert_eq!((page(PAGE_CODES_MAX), page(PAGE_CODES_MAX + 1)), (PAGE_CODES_MAX, PAGE_CODES_MAX));
    let is_in = |others: usize| {
        let mut codings = vec![json!({"system": "x", "code": "1"}); others];
        codings.push(json!({"system": "s", "code": "1"}));
        let concept = json!({"name": "codeableConcept", "valueCodeableConcept": {"coding": codings}});
        let said = ask(Operation::ValidateCode, json!([{"name": "url", "valueUri": "v"}, concept])).unwrap();
        said.pointer("/parameter/0/valueBoolean") == Some(&json!(true))
    };
    assert!(is_in(CODINGS_MAX - 1) && !is_in(CODINGS_MAX));
}

#[test]
fn codes_are_translated() {
    let mut terms = Terms::default();
    terms.add(&json!({"resourceType": "ConceptMap", "url": "m", "sourceUri": "from", "targetUri": "to", "group": [{
        "source": "s", "target": "t",
        "element": [{"code": "a", "target": [{"code": "x", "equivalence": "wider"}]}, {"code": "b", "target": [{"equivalence": "unmatched"}]}],
        "unmapped": {"mode": "fixed", "code": "z"},
    }]}));
    let vocabulary = Vocabulary::new([&terms]);
    let translated = |code: &str| -> Vec<(String, Option<Box<str>>)> {
        let found = vocabulary.translate("s", code, |map| map.target.as_deref() == Some("to"));
        found.into_iter().map(|one| (one.equivalence.to_owned(), one.code)).collect()
    };
    assert_eq!(translated("a"), [("wider".into(), Some("x".into()))]);
    assert_eq!(translated("b"), [("unmatched".into(), None)]);
    assert_eq!(translated("c"), [("inexact".into(), Some("z".into()))]);
    assert!(vocabulary.translate("s", "a", |_| false).is_empty());
}

#[test]
fn a_question_leaves_only_with_a_code_of_a_listed_system() {
    let systems = ["http://loinc.org".to_owned(), "http://snomed.info/sct".to_owned(), "urn:own".to_owned()];
    let base = "https://records.test/fhir";
    let code = |system: &str, code: &str| Question::Code(system.into(), code.into());
    let set = |url: &str| Question::Codes(url.into());
    for (question, expected) in [
        (code("http://loinc.org", "8480-6"), true),
        (code("http://loinc.org|2.77", "LA28397-0"), true),
        (code("http://loinc.org", "Quuxley"), false),
        (code("http://loinc.org", "8480-6 of Quuxley"), false),
        (code("http://loinc.org", ""), false),
        (code("http://snomed.info/sct", "73211009"), true),
        (code("http://snomed.info/sct", "73211009x"), false),
        (code("http://loinc.org|SMITH-MRN123", "8480-6"), false),
        (code("urn:own", &"7".repeat(64)), true),
        (code("urn:own", &"7".repeat(65)), false),
        (code("urn:own", "any-word"), true),
        (code("urn:own", "two words"), false),
        (code("urn:other", "1"), false),
        (set("http://x/ValueSet/y|2"), true),
        (set("http://x/ValueSet/y|of Quuxley"), false),
        (set("ValueSet/y"), false),
        (set("https://records.test/fhir/Patient/1"), false),
        (set("http://somebody@x/y"), false),
        (set(&format!("http://x/{}", "y".repeat(503))), true),
        (set(&format!("http://x/{}", "y".repeat(504))), false),
        (Question::Member("http://x/y".into(), "http://loinc.org".into(), "8480-6".into()), true),
        (Question::Member("y".into(), "http://loinc.org".into(), "8480-6".into()), false),
    ] {
        assert_eq!(question.may_leave(&systems, base), expected, "{question:?}");
    }
}

#[test]
fn what_was_told_counts_where_nothing_is_known_and_nowhere_else() {
    let (loinc, set) = ("http://loinc.org", "http://hl7.org/fhir/ValueSet/observation-codes");
    let mut told = Terms::default();
    let member = |code: &str| Question::Member(set.into(), loinc.into(), code.into());
    told.tell(&member("8480-6"), &Told::Yes(Some("Systolic".into())));
    told.tell(&member("0-0"), &Told::No);
    told.tell(&Question::Code(loinc.into(), "0-1".into()), &Told::No);
    told.tell(&Question::Code(GENDER.into(), "male".into()), &Told::No);
    let vocabulary = Vocabulary::new([&told, shipped()]);
    for (code, expected) in [
        ("8480-6", Membership::In),
        ("0-0", Membership::Out),
        ("0-1", Membership::Out),
        ("1-8", Membership::Unknown),
    ] {
        assert_eq!(vocabulary.contains(set, Some(loinc), code), expected, "{code}");
    }
    assert_eq!(vocabulary.concept(loinc, "8480-6").unwrap().1.display.as_deref(), Some("Systolic"));
    assert_eq!(vocabulary.has(GENDER, "male"), Some(true), "what is known here is not asked of others");
    // Of a part of a system it is not known what lies where.
    let below = json!({"resourceType": "ValueSet", "url": "v", "compose": {"include": [
        {"system": loinc, "filter": [{"property": "concept", "op": "is-a", "value": "LP1"}]},
    ]}});
    told.add(&below);
    let vocabulary = Vocabulary::new([&told, shipped()]);
    assert_eq!(vocabulary.contains("v", Some(loinc), "8480-6"), Membership::Unknown);
}
