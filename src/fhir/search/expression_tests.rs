#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
use super::super::super::{definitions::loaded, kinds::LogicalId, reference::BaseUrl};
use super::super::{Candidates, Handling, Level, Listed, Query, Request, Searches, Sets};
use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};

fn searches() -> &'static Searches {
    static COMPILED: std::sync::OnceLock<Searches> = std::sync::OnceLock::new();
    COMPILED.get_or_init(|| Searches::compile(loaded()))
}

fn read(kind: &str, text: &str) -> Result<Query, Vec<Problem>> {
    let base = BaseUrl::parse("https://records.example/fhir").unwrap();
    let kind = ResourceType::from_name(kind).unwrap();
    let now = "2024-06-01T00:00:00Z".parse().unwrap();
    let (level, handling, sets) = (Level::Type, Handling::Strict, Sets::default());
    let request = Request { kind, level, searches: searches(), sets: &sets, base: &base, handling, now };
    Query::parse(request, &[("_filter".to_owned(), text.to_owned())])
}

fn good(kind: &str, text: &str) -> Query {
    read(kind, text).map_err(|problems| format!("{text}: {problems:?}")).unwrap()
}

fn check(resource: &Value, found: &[&str], not: &[&str]) {
    let kind = resource["resourceType"].as_str().unwrap();
    for (texts, expected) in [(found, true), (not, false)] {
        for text in texts {
            assert_eq!(good(kind, text).holds(resource), expected, "{kind}: {text}");
        }
    }
}

#[test]
fn operators_mean_what_r4_says() {
    let patient = json!({"resourceType": "Patient", "id": "ann", "active": true, "gender": "female",
        "name": [{"family": "Peters-Müller", "given": ["Ann Marie", "Zoë"]}], "birthDate": "1980-02-29",
        "identifier": [{"system": "https://ids.example", "value": "A-1"}],
        "generalPractitioner": [{"reference": "Practitioner/grey"}]});
    check(
        &patient,
        &[
            "name eq \"ann marie\"",
            "name co pete",
            "family ew MULLER",
            "family sw peters",
            "given ne zoe",
            "gender eq female",
            "gender ne male",
            "identifier eq https://ids.example|a-1",
            "birthdate eq 1980-02",
            "birthdate ge 1980-02-29",
            "birthdate lt 1981",
            "birthdate po 1980",
            "birthdate ne 1981",
            "general-practitioner re Practitioner/grey",
            "general-practitioner ne Practitioner/cold",
            "general-practitioner pr true",
            "organization pr false",
            "death-date pr false",
            "deceased eq false",
            "deceased ne true",
            "_id eq ann",
            "_id ne bob",
        ],
        &[
            "name eq ann",
            "name co pit",
            "family ew peters",
            "family ne PETERS-MULLER",
            "gender eq male",
            "gender ne female",
            "organization ne Organization/x",
            "birthdate gt 1980-02-29",
            "birthdate po 1981",
            "general-practitioner re Practitioner/cold",
            "general-practitioner pr false",
            "deceased eq true",
            "_id ne ann",
        ],
    );
}

#[test]
fn and_or_and_not_stand_from_left_to_right() {
    let patient = json!({"resourceType": "Patient", "gender": "female", "birthDate": "1980"});
    let (yes, no) = ("gender eq female", "gender eq male");
    let texts = |pattern: &str| pattern.replace('Y', yes).replace('N', no);
    for (pattern, expected) in [
        ("Y and Y", true),
        ("Y and N", false),
        ("N or Y", true),
        ("N or N", false),
        ("Y or Y and N", false),
        ("Y or (Y and N)", true),
        ("N and Y or Y", true),
        ("N and (Y or Y)", false),
        ("not(N)", true),
        ("not (Y)", false),
        ("not(Y) or not(N)", true),
        ("not(N and Y) and not(not(Y))", true),
        (" ( ( Y ) ) ", true),
    ] {
        assert_eq!(good("Patient", &texts(pattern)).holds(&patient), expected, "{pattern}");
    }
}

#[test]
fn paths_lead_to_other_records() {
    for text in [
        "subject.name co \"pet\"",
        "subject:Patient.birthdate ge 1980",
        "subject[gender eq female].name sw a",
        "encounter.participant.family eq grey",
        "code eq x and not(subject.name co pet)",
    ] {
        assert!(good("Observation", text).filters.iter().any(Filter::joins), "{text}");
    }
    let query = good("Observation", "subject[gender eq female].name sw a");
    let [Filter::Chain(chain)] = query.filters.as_slice() else { unreachable!("a chain") };
    let (kind, filter) = chain.links.iter().find(|(kind, _)| *kind == ResourceType::PATIENT).unwrap();
    assert_eq!(*kind, ResourceType::PATIENT);
    let ann = json!({"resourceType": "Patient", "gender": "female", "name": [{"family": "Ash"}]});
    let base = BaseUrl::parse("https://records.example/fhir").unwrap();
    assert_eq!(filter.holds(&ann, &base), Some(true));
    let bob = json!({"resourceType": "Patient", "gender": "male", "name": [{"family": "Ash"}]});
    assert_eq!(filter.holds(&bob, &base), Some(false));
    // A location has no gender: nothing of it meets the test, and `not` of that holds.
    let place = json!({"resourceType": "Location", "name": "Ash"});
    for (text, expected) in [
        ("subject[gender eq female].name sw a", false),
        ("subject[gender eq female or name co sh].name sw a", true),
        ("subject[not(gender eq female)].name sw a", true),
    ] {
        let query = good("Observation", text);
        let [Filter::Chain(chain)] = query.filters.as_slice() else { unreachable!("a chain") };
        let link = chain.links.iter().find(|(kind, _)| *kind == ResourceType::LOCATION).unwrap();
        assert_eq!(link.1.holds(&place, &base), Some(expected), "{text}");
    }
    for text in ["subject[colour eq red].name sw a", "subject.colour eq red"] {
        assert_eq!(read("Observation", text).unwrap_err()[0].code, IssueCode::NotSupported, "{text}");
    }
}

#[test]
fn what_is_joined_by_and_narrows() {
    let id = |text: &str| LogicalId::parse(text).unwrap();
    let candidates = |kind: &str, text: &str| good(kind, text).candidates();
    let of_patients = |patients| Candidates { patients, ..Candidates::default() };
    assert_eq!(candidates("Observation", "patient re 1 and code eq x"), of_patients(vec![vec![id("1")]]));
    assert_eq!(
        candidates("Observation", "patient re 1 or subject re Patient/2"),
        of_patients(vec![vec![id("1"), id("2")]])
    );
    assert_eq!(
        candidates("Observation", "(patient re 1 and code eq x) or patient re 2"),
        of_patients(vec![vec![id("1"), id("2")]])
    );
    assert_eq!(candidates("Patient", "_id eq 1 or _id eq 2").ids, Some(vec![id("1"), id("2")]));
    for none in ["patient re 1 or code eq x", "not(patient re 1)", "patient ne 1", "_id ne 1"] {
        assert_eq!(candidates("Observation", none), Candidates::default(), "{none}");
    }
    let listed = Listed::of(searches(), &[]).unwrap();
    let marks = |text: &str| listed.marks_of(good("Patient", text).filters.first().unwrap()).map(|m| m.len());
    assert_eq!(marks("name eq ann"), Some(1));
    assert_eq!(marks("name sw ann or identifier eq x"), Some(2));
    assert_eq!(marks("(name sw ann and birthdate ge 1980) or identifier eq x"), Some(2));
    for none in ["name sw ann or gender eq female", "name co ann", "name ne ann", "not(name eq ann)"] {
        assert_eq!(marks(none), None, "{none}");
    }
}

#[test]
fn what_is_wrong_is_said_without_repeating_it() {
    let not = |what: &str| format!("Search parameter _filter: {what}.");
    for (text, expected) in [
        ("", not("the type has no parameter of a name in it")),
        ("secret eq x", not("the type has no parameter of a name in it")),
        ("name", not("expected white space and a value behind an operator")),
        ("name xx y", not("expected an operator behind a path")),
        ("name eq", not("expected white space and a value behind an operator")),
        ("name eq \"open", not("a string in it is no JSON string")),
        ("name pr maybe", not("expected true or false after pr")),
        ("(name eq x", not("expected )")),
        ("name eq x) ", not("expected and, or, or its end after a test")),
        ("name eq x y", not("expected and, or, or its end after a test")),
        ("not name eq x", not("expected ( after not")),
        ("name.family eq x", not("a path leads on from references alone, and to types they may point at")),
        ("link[gender eq x] eq x", not("expected .")),
        ("organization:Patient.name eq x", not("a path leads on from references alone, and to types they may point at")),
        ("name gt x", "Search parameter name: it has no such operator in a _filter.".to_owned()),
        ("gender co x", "Search parameter gender: it has no such operator in a _filter.".to_owned()),
        ("birthdate eq soon", "Search parameter birthdate: expected a prefix and a date or dateTime; a plus sign of its time zone is written %2B.".to_owned()),
    ] {
        let problems = read("Patient", text).unwrap_err();
        assert_eq!(problems.iter().map(|one| one.text.as_ref()).collect::<Vec<_>>(), [expected], "{text}");
    }
}

#[test]
fn every_bound_of_an_expression_is_kept_and_one_more_is_refused() {
    let tests = |count: usize| vec!["active eq true"; count].join(" or ");
    assert!(read("Patient", &tests(TESTS_MAX)).is_ok());
    assert_eq!(read("Patient", &tests(TESTS_MAX + 1)).unwrap_err()[0].code, IssueCode::TooCostly);
    let nested = |count: usize| format!("{}active eq true{}", "(".repeat(count), ")".repeat(count));
    assert!(read("Patient", &nested(NESTED_MAX)).is_ok());
    assert_eq!(read("Patient", &nested(NESTED_MAX + 1)).unwrap_err()[0].code, IssueCode::TooCostly);
    let links = |count: usize| format!("{}name eq x", "partof.".repeat(count));
    assert!(read("Organization", &links(super::super::LINKS_MAX)).is_ok());
    let too_deep = read("Organization", &links(super::super::LINKS_MAX + 1)).unwrap_err();
    assert_eq!(too_deep[0].code, IssueCode::TooCostly);
    // Brackets behind a reference to anything are read for each type: that is bounded as well.
    let wide = format!("target[{}].target pr true", tests(10));
    assert!(read("Provenance", &wide).is_err());
}

proptest! {
    #[test]
    fn no_expression_panics(text in "([a-z]{1,4}|name|subject|eq|and|or|not|[\\[\\]().\" :]|_id| ){0,12}") {
        let _unused = read("Observation", &text);
        let _unused = read("Patient", &text);
    }
}
