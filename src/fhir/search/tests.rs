#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
use super::super::outcome::IssueCode;
use super::*;
use proptest::prelude::*;
use serde_json::json;

const NOW: &str = "2024-06-01T00:00:00Z";

fn base() -> BaseUrl {
    BaseUrl::parse("https://records.example/fhir").unwrap()
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn parse(kind: ResourceType, handling: Handling, text: &str) -> Result<Query, Vec<Problem>> {
    let base = base();
    let request = Request { kind, base: &base, handling, now: at(NOW) };
    Query::parse(request, &form::decode(text.as_bytes()).unwrap())
}

fn good(text: &str) -> Query {
    parse(ResourceType::OBSERVATION, Handling::Strict, text).unwrap()
}

fn id(text: &str) -> LogicalId {
    LogicalId::parse(text).unwrap()
}

fn observation(patient: &str) -> Value {
    json!({"resourceType": "Observation", "subject": {"reference": patient}})
}

#[test]
fn no_parameters_ask_for_the_first_page_of_the_type() {
    let query = good("");
    assert_eq!((query.kind, query.count, query.pretty), (ResourceType::OBSERVATION, 20, false));
    assert!(query.ids.is_none() && query.cursor.is_none() && query.total.is_none());
    assert_eq!(query.self_link(), "https://records.example/fhir/Observation");
    assert!(query.matches(&json!({}), ResourceType::OBSERVATION, &id("1"), at(NOW)));
    assert!(!query.matches(&json!({}), ResourceType::CONDITION, &id("1"), at(NOW)));
}

#[test]
fn the_self_link_is_one_spelling_of_what_was_understood() {
    for (text, link) in [
        ("patient=123", "patient=Patient/123"),
        ("subject=Patient/123", "subject=Patient/123"),
        ("subject%3APatient=123", "subject=Patient/123"),
        ("patient=https://records.example/fhir/Patient/1,Patient/1,2", "patient=Patient/1,Patient/2"),
        ("_id=b,a&patient=1", "patient=Patient/1&_id=b,a"),
        ("_id=a&_id=b", "_id=a&_id=b"),
        ("_lastUpdated=2024", "_lastUpdated=eq2024"),
        (
            "_lastUpdated=ge2024-01-01T00:00:00%2B01:00,lt2020&_lastUpdated=ne2022-03",
            "_lastUpdated=ge2024-01-01T00:00:00%2B01:00,lt2020&_lastUpdated=ne2022-03",
        ),
        ("_count=20", ""),
        ("_count=5&_total=accurate&_pretty=true", "_count=5&_total=accurate&_pretty=true"),
        ("_count=1001", "_count=1000"),
        ("_count=999999999", "_count=1000"),
        ("_summary=count", "_count=0"),
        ("_summary=false", ""),
        ("_cursor=aB-_.~9", "_cursor=aB-_.~9"),
        ("_format=json", "_format=json"),
        ("_format=application/fhir+json", "_format=application/fhir%2Bjson"),
    ] {
        let query = good(text);
        let expected = format!(
            "https://records.example/fhir/Observation{}{link}",
            if link.is_empty() { "" } else { "?" }
        );
        assert_eq!(query.self_link(), expected, "{text}");
        let again = good(query.self_link().split_once('?').map_or("", |(_, query)| query));
        assert_eq!(again.self_link(), expected);
        assert_eq!(again.candidates(), query.candidates());
    }
    assert_eq!(
        good("_count=3&_cursor=a").next_link("b"),
        "https://records.example/fhir/Observation?_count=3&_cursor=b"
    );
}

#[test]
fn handling_is_what_the_client_prefers() {
    for strict in ["handling=strict", "return=minimal, handling=strict", "Handling = \"strict\"; x"] {
        assert_eq!(Handling::of_prefer(Some(strict)), Handling::Strict, "{strict}");
    }
    for lenient in [
        None,
        Some(""),
        Some("handling=lenient"),
        Some("strict"),
        Some("return=strict"),
        Some("handling=strictly"),
    ] {
        assert_eq!(Handling::of_prefer(lenient), Handling::Lenient, "{lenient:?}");
    }
}

#[test]
fn count_is_bounded() {
    for (text, count) in [("_count=0", 0), ("_count=1", 1), ("_count=1000", 1_000), ("_count=1001", 1_000)] {
        let query = good(text);
        assert_eq!((query.count, query.is_count_only()), (count, count == 0));
    }
    assert_eq!(good("_summary=count&_count=7").count, 0);
}

/// One problem: its code, rule and text.
fn check_refused(kind: ResourceType, text: &str, code: IssueCode, message: &str) {
    for handling in [Handling::Strict, Handling::Lenient] {
        let problems = parse(kind, handling, text).unwrap_err();
        assert_eq!(problems.len(), 1, "{text}");
        assert_eq!((problems[0].code, problems[0].text.as_ref()), (code, message), "{text}");
    }
}

#[test]
fn wrong_values_are_refused_and_not_repeated() {
    let patient = "expected an id, Patient/id, or the URL of a Patient of this server";
    let only = "only references to a Patient can be searched for";
    let date = "expected a prefix and a date or dateTime; a plus sign of its time zone is written %2B";
    for (text, parameter, code, what) in [
        ("patient=", "patient", IssueCode::Value, "a value is empty"),
        ("patient=1,,2", "patient", IssueCode::Value, "a value is empty"),
        ("patient=a_b", "patient", IssueCode::Value, patient),
        ("patient=Patient/1/_history/2", "patient", IssueCode::Value, patient),
        ("patient=https://other.example/fhir/Patient/1", "patient", IssueCode::Value, patient),
        ("patient=urn:uuid:1", "patient", IssueCode::Value, patient),
        ("subject=Group/1", "subject", IssueCode::NotSupported, only),
        ("subject=Patient/1,Group/1", "subject", IssueCode::NotSupported, only),
        ("_id=a_b", "_id", IssueCode::Value, "expected a logical id"),
        ("_id=", "_id", IssueCode::Value, "a value is empty"),
        ("_lastUpdated=2024-02-30", "_lastUpdated", IssueCode::Value, date),
        ("_lastUpdated=xx2024", "_lastUpdated", IssueCode::Value, date),
        ("_lastUpdated=2024-01-01T00:00:00+01:00", "_lastUpdated", IssueCode::Value, date),
        ("_count=-1", "_count", IssueCode::Value, "expected a number of at most 9 digits"),
        ("_count=", "_count", IssueCode::Value, "expected a number of at most 9 digits"),
        ("_count=1000000000", "_count", IssueCode::Value, "expected a number of at most 9 digits"),
        ("_count=1&_count=1", "_count", IssueCode::Invalid, "it is given twice"),
        ("_cursor=", "_cursor", IssueCode::Value, "it is not one that this server gave out"),
        ("_cursor=a/b", "_cursor", IssueCode::Value, "it is not one that this server gave out"),
        ("_total=many", "_total", IssueCode::Value, "expected none, estimate or accurate"),
        ("_pretty=1", "_pretty", IssueCode::Value, "expected true or false"),
        ("_format=xml", "_format", IssueCode::NotSupported, "this server speaks JSON only"),
    ] {
        check_refused(
            ResourceType::OBSERVATION,
            text,
            code,
            &format!("Search parameter {parameter}: {what}."),
        );
    }
}

#[test]
fn what_r4_defines_and_we_do_not_support_is_refused_under_either_handling() {
    let yet = "this server does not support it yet, and ignores no filter";
    let modifier = "this server does not support this modifier or chain";
    for (kind, text, parameter, what) in [
        (ResourceType::OBSERVATION, "code=1234", "code", yet),
        (ResourceType::OBSERVATION, "code:in=x", "code", yet),
        (ResourceType::PATIENT, "birthdate=1980", "birthdate", yet),
        (ResourceType::PATIENT, "_security=R", "_security", yet),
        (ResourceType::PATIENT, "_text=x", "_text", yet),
        (ResourceType::PATIENT, "_content=x", "_content", yet),
        (ResourceType::PATIENT, "_has:Observation:patient:code=1", "_has", yet),
        (ResourceType::PATIENT, "_filter=x", "_filter", yet),
        (ResourceType::PATIENT, "_include=Patient:link", "_include", yet),
        (ResourceType::PATIENT, "_revinclude:iterate=x", "_revinclude", yet),
        (ResourceType::PATIENT, "_sort=name", "_sort", yet),
        (ResourceType::PATIENT, "_elements=id", "_elements", yet),
        (ResourceType::PATIENT, "_summary=true", "_summary", yet),
        (ResourceType::PATIENT, "_summary:x=count", "_summary", modifier),
        (ResourceType::OBSERVATION, "patient.name=x", "patient", modifier),
        (ResourceType::OBSERVATION, "subject:Group=1", "subject", modifier),
        (ResourceType::OBSERVATION, "patient:missing=true", "patient", modifier),
        (ResourceType::OBSERVATION, "_id:not=1", "_id", modifier),
        (ResourceType::OBSERVATION, "_lastUpdated:missing=true", "_lastUpdated", modifier),
        (ResourceType::from_name("MedicinalProductPackaged").unwrap(), "subject=1", "subject", yet),
    ] {
        let message = format!("Search parameter {parameter}: {what}.");
        check_refused(kind, text, IssueCode::NotSupported, &message);
    }
}

#[test]
fn an_unknown_parameter_is_refused_or_left_out_as_the_client_wants() {
    for text in
        ["secret-name=1", "patient=1&secret-name:exact=x", "secret-name.x=1", "=1", "Patient=1", ":Patient=1"]
    {
        let place = 1 + text.matches('&').count();
        let strict = parse(ResourceType::OBSERVATION, Handling::Strict, text).unwrap_err();
        assert_eq!(strict[0].text, format!("Parameter {place} of the query is not defined for this type."));
        assert_eq!((strict.len(), strict[0].code), (1, IssueCode::NotSupported));

        let query = parse(ResourceType::OBSERVATION, Handling::Lenient, text).unwrap();
        assert_eq!(
            query.ignored[0].text,
            format!("Parameter {place} of the query is not defined for this type, and was ignored.")
        );
        assert!(!query.ignored[0].refuses());
        assert!(!query.self_link().contains("secret"));
    }
    // Patient has neither `patient` nor `subject`.
    for text in ["patient=1", "subject=1"] {
        assert!(parse(ResourceType::PATIENT, Handling::Strict, text).is_err());
        assert_eq!(parse(ResourceType::PATIENT, Handling::Lenient, text).unwrap().ignored.len(), 1);
    }
}

#[test]
fn every_problem_is_told_at_once() {
    let problems =
        parse(ResourceType::OBSERVATION, Handling::Strict, "code=1&_count=x&nothing=1").unwrap_err();
    assert_eq!(problems.len(), 3);
}

#[test]
fn alternatives_and_cursors_are_bounded() {
    let many = |count: usize| (0..count).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    assert_eq!(good(&format!("_id={}", many(ALTERNATIVES_MAX))).ids.unwrap().len(), ALTERNATIVES_MAX);
    check_refused(
        ResourceType::OBSERVATION,
        &format!("_id={}", many(ALTERNATIVES_MAX + 1)),
        IssueCode::TooCostly,
        "Search parameter _id: it has more than 200 values.",
    );
    let long = "x".repeat(CURSOR_BYTES_MAX);
    assert!(good(&format!("_cursor={long}")).cursor.is_some());
    check_refused(
        ResourceType::OBSERVATION,
        &format!("_cursor={long}x"),
        IssueCode::Value,
        "Search parameter _cursor: it is not one that this server gave out.",
    );
}

#[test]
fn a_patient_is_found_by_every_spelling_of_the_reference() {
    let holds = |text: &str, resource: &Value| {
        good(text).matches(resource, ResourceType::OBSERVATION, &id("o"), at(NOW))
    };
    for text in [
        "patient=1",
        "subject=1",
        "patient=Patient/1",
        "subject:Patient=1",
        "patient=2,1",
        "patient=https://records.example/fhir/Patient/1",
    ] {
        for reference in ["Patient/1", "Patient/1/_history/4", "https://records.example/fhir/Patient/1"] {
            assert!(holds(text, &observation(reference)), "{text} {reference}");
        }
        for reference in
            ["Patient/3", "Group/1", "#1", "urn:uuid:1", "https://other.example/fhir/Patient/1", "Patient/12"]
        {
            assert!(!holds(text, &observation(reference)), "{text} {reference}");
        }
    }
    assert!(!holds("patient=1&patient=2", &observation("Patient/1")));
    assert!(holds("patient=1&subject=2,1", &observation("Patient/1")));
    let performer = json!({"resourceType": "Observation", "performer": [{"reference": "Patient/1"}]});
    assert!(!holds("patient=1", &performer));

    let appointment = json!({"participant": [{"actor": {"reference": "Practitioner/1"}}, {"actor": {"reference": "Patient/2"}}]});
    let query = |text| parse(ResourceType::APPOINTMENT, Handling::Strict, text).unwrap();
    assert!(query("patient=2").matches(&appointment, ResourceType::APPOINTMENT, &id("a"), at(NOW)));
    assert!(!query("patient=1").matches(&appointment, ResourceType::APPOINTMENT, &id("a"), at(NOW)));
}

#[test]
fn ids_are_alternatives_and_repeated_ones_must_all_hold() {
    for (text, expected) in [
        ("_id=a", Some(vec!["a"])),
        ("_id=a,b,a", Some(vec!["a", "b"])),
        ("_id=a,b&_id=b,c", Some(vec!["b"])),
        ("_id=a&_id=b", Some(vec![])),
        ("", None),
    ] {
        let query = good(text);
        let expected: Option<Vec<_>> = expected.map(|ids| ids.into_iter().map(id).collect());
        assert_eq!(query.candidates().ids, expected.as_deref());
        for name in ["a", "b", "c"] {
            let matched = query.matches(&json!({}), ResourceType::OBSERVATION, &id(name), at(NOW));
            assert_eq!(matched, expected.as_ref().is_none_or(|ids| ids.contains(&id(name))));
        }
    }
}

#[test]
fn instants_are_compared_with_the_whole_range_a_date_stands_for() {
    let (before, first, last, after) = (
        "2024-02-29T23:59:59.999Z",
        "2024-03-01T00:00:00Z",
        "2024-03-31T23:59:59.999Z",
        "2024-04-01T00:00:00Z",
    );
    for (prefix, expected) in [
        ("", [false, true, true, false]),
        ("eq", [false, true, true, false]),
        ("ne", [true, false, false, true]),
        ("gt", [false, false, false, true]),
        ("ge", [false, true, true, true]),
        ("lt", [true, false, false, false]),
        ("le", [true, true, true, false]),
        ("sa", [false, false, false, true]),
        ("eb", [true, false, false, false]),
    ] {
        let query = good(&format!("_lastUpdated={prefix}2024-03"));
        let held = [before, first, last, after]
            .map(|time| query.matches(&json!({}), ResourceType::OBSERVATION, &id("1"), at(time)));
        assert_eq!(held, expected, "{prefix}");
    }
}

#[test]
fn approximately_is_a_tenth_of_the_way_to_now() {
    // 100 days before NOW: ten days on each side.
    let query = good("_lastUpdated=ap2024-02-22");
    for (time, expected) in [
        ("2024-02-11T23:59:59Z", false),
        ("2024-02-12T00:00:00Z", true),
        ("2024-03-03T23:59:59Z", true),
        ("2024-03-04T00:00:00Z", false),
    ] {
        assert_eq!(
            query.matches(&json!({}), ResourceType::OBSERVATION, &id("1"), at(time)),
            expected,
            "{time}"
        );
    }
}

#[test]
fn candidates_are_bounded_by_what_every_parameter_needs() {
    for (text, from, until) in [
        ("", None, None),
        ("_lastUpdated=2024", Some("2024-01-01T00:00:00Z"), Some("2025-01-01T00:00:00Z")),
        ("_lastUpdated=ne2024", None, None),
        ("_lastUpdated=gt2024", Some("2025-01-01T00:00:00Z"), None),
        ("_lastUpdated=lt2024", None, Some("2024-01-01T00:00:00Z")),
        (
            "_lastUpdated=ge2022&_lastUpdated=le2024",
            Some("2022-01-01T00:00:00Z"),
            Some("2025-01-01T00:00:00Z"),
        ),
        ("_lastUpdated=ge2022&_lastUpdated=ge2023", Some("2023-01-01T00:00:00Z"), None),
        ("_lastUpdated=2022,2024", Some("2022-01-01T00:00:00Z"), Some("2025-01-01T00:00:00Z")),
        ("_lastUpdated=2022,gt2024", Some("2022-01-01T00:00:00Z"), None),
        ("_lastUpdated=2022,ne2024", None, None),
    ] {
        let query = good(text);
        let found = query.candidates();
        assert_eq!((found.updated_from, found.updated_until), (from.map(at), until.map(at)), "{text}");
    }
    let query = good("patient=1,2&subject=2&_id=x");
    let found = query.candidates();
    assert_eq!(found.patients, [&[id("1"), id("2")][..], &[id("2")]]);
    assert_eq!(found.ids, Some(&[id("x")][..]));
}

proptest! {
    #[test]
    fn no_query_panics_and_what_is_understood_is_said_again(text in "(_id|patient|subject|_lastUpdated|_count|_cursor|x|code|_has)([:.=&,%+]|[a-z0-9]|2024|-){0,40}") {
        let Ok(pairs) = form::decode(text.as_bytes()) else { return Ok(()) };
        let base = base();
        let request = Request { kind: ResourceType::OBSERVATION, base: &base, handling: Handling::Lenient, now: at(NOW) };
        if let Ok(query) = Query::parse(request, &pairs) {
            let link = query.self_link();
            let again = parse(ResourceType::OBSERVATION, Handling::Strict, link.split_once('?').map_or("", |(_, q)| q)).unwrap();
            prop_assert_eq!(again.self_link(), link);
        }
    }

    #[test]
    fn what_matches_is_a_candidate(
        prefix in "eq|ne|gt|ge|lt|le|sa|eb|ap", month in 1u32..13, other in "eq|ne|gt|lt", seconds in 0i64..100_000_000,
    ) {
        let query = good(&format!("_lastUpdated={prefix}2024-{month:02},{other}2023-06"));
        let time = at("2022-01-01T00:00:00Z") + chrono::Duration::seconds(seconds);
        if query.matches(&json!({}), ResourceType::OBSERVATION, &id("1"), time) {
            let found = query.candidates();
            prop_assert!(found.updated_from.is_none_or(|from| from <= time));
            prop_assert!(found.updated_until.is_none_or(|until| time < until));
        }
    }
}
