#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
use super::super::definitions::loaded;
use super::super::outcome::IssueCode;
use super::super::terminology::{Shipped, Vocabulary};
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

fn searches() -> &'static Searches {
    static COMPILED: std::sync::OnceLock<Searches> = std::sync::OnceLock::new();
    COMPILED.get_or_init(|| Searches::compile(loaded()))
}

fn terms() -> Sets<'static> {
    static READ: std::sync::OnceLock<Shipped> = std::sync::OnceLock::new();
    static KNOWN: std::sync::OnceLock<Vocabulary<'static>> = std::sync::OnceLock::new();
    let read = READ.get_or_init(Shipped::default);
    Sets::new(Some(KNOWN.get_or_init(|| Vocabulary::new([read.terms()]))))
}

fn parse(kind: ResourceType, handling: Handling, text: &str) -> Result<Query, Vec<Problem>> {
    let base = base();
    let level = Level::Type;
    let request =
        Request { kind, level, searches: searches(), sets: &terms(), base: &base, handling, now: at(NOW) };
    Query::parse(request, &form::decode(text.as_bytes()).unwrap())
}

fn good(kind: &str, text: &str) -> Query {
    parse(ResourceType::from_name(kind).unwrap(), Handling::Strict, text)
        .map_err(|problems| format!("{text}: {problems:?}"))
        .unwrap()
}

fn id(text: &str) -> LogicalId {
    LogicalId::parse(text).unwrap()
}

/// A resource, the queries that find it, and those that do not.
fn check(resource: &Value, found: &[&str], not: &[&str]) {
    let kind = resource["resourceType"].as_str().unwrap();
    for (queries, expected) in [(found, true), (not, false)] {
        for query in queries {
            assert_eq!(good(kind, query).holds(resource), expected, "{kind}?{query}");
        }
    }
}

#[test]
fn strings_begin_contain_or_are_exactly() {
    let patient = json!({"resourceType": "Patient", "name": [
        {"family": "Müller-Łukasz", "given": ["Ann Marie", "Zoë"], "prefix": ["Dr."]}, {"text": "Nick, the  Elder"}
    ], "address": [{"line": ["1 High St"], "city": "Köln", "postalCode": "50667", "country": "DE"}]});
    check(
        &patient,
        &[
            "name=mull",
            "name=MÜLLER-lukasz",
            "family=mu",
            "given=zoe",
            "given=ann%20m",
            "name=dr",
            "name=nick",
            "name=x,zo",
            "name:contains=LUK",
            "name:contains=marie",
            "family:exact=Müller-Łukasz",
            "name=nick%5C,%20the%20eld",
            "given:contains=nn",
            "address=50667",
            "address-city=koln",
            "address=1%20h",
            "name:missing=false",
            "birthdate:missing=true",
            "name=mu&given=zo",
            "given=%20Ann%20%20Marie%20",
        ],
        &[
            "name=marie",
            "name=lukasz",
            "family=ann",
            "family:exact=müller-łukasz",
            "family:exact=Müller",
            "name:contains=x",
            "address=high",
            "name:missing=true",
            "name=mu&given=x",
            "birthdate:missing=false",
            "given=annm",
        ],
    );
    // `nick, the` is two values: the second is ` the`.
    check(&patient, &["name=nick,the"], &["name=the"]);
}

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

#[test]
fn dates_are_compared_as_the_ranges_they_stand_for() {
    let at = |date: &str| json!({"resourceType": "Observation", "effectiveDateTime": date});
    for (value, held) in [
        ("2024-02", ["lt", "le", "ne", "eb", "", ""]),
        ("2024-03-15", ["eq", "ge", "le", "", "", ""]),
        ("2024-03", ["eq", "ge", "le", "", "", ""]),
        ("2024", ["gt", "ge", "lt", "le", "ne", ""]),
        ("2024-04-01T00:00:00Z", ["gt", "ge", "ne", "sa", "", ""]),
    ] {
        for prefix in ["eq", "ne", "gt", "ge", "lt", "le", "sa", "eb"] {
            let query = good("Observation", &format!("date={prefix}2024-03"));
            assert_eq!(query.holds(&at(value)), held.contains(&prefix), "{value} {prefix}");
        }
    }
    let period = |period: Value| json!({"resourceType": "Observation", "effectivePeriod": period});
    check(
        &period(json!({"start": "2013-01-21"})),
        &["date=ge2013-03-14", "date=le2013-03-14", "date=gt2020", "date=sa2013-01-20", "date=ap2013-03-14"],
        &["date=2013", "date=sa2013-03-14", "date=eb2013-03-14", "date=lt2013"],
    );
    check(
        &period(json!({"end": "2013-01-21"})),
        &["date=lt2000", "date=le2013-01-21", "date=eb2013-01-22", "date=ne2013-01-21"],
        &["date=2013-01-21", "date=sa2000", "date=gt2013-01-21", "date=eb2013-01-21"],
    );
    let timing = json!({"resourceType": "ServiceRequest", "occurrenceTiming":
        {"event": ["2020-01-05", "2020-03-01"], "repeat": {"boundsPeriod": {"start": "2020-01-01", "end": "2020-02-01"}}}});
    check(
        &timing,
        &["occurrence=2020", "occurrence=ap2020-02-15", "occurrence=ge2020-02-28"],
        &["occurrence=2020-01"],
    );
    // 100 days before now: ten days on each side.
    check(&at("2024-02-12"), &["date=ap2024-02-22"], &[]);
    check(&at("2024-02-11"), &[], &["date=ap2024-02-22"]);
    check(&json!({"resourceType": "Observation"}), &["date:missing=true"], &["date=ne2020", "date=lt2020"]);
}

#[test]
fn numbers_and_quantities_count_the_digits_they_are_written_with() {
    let weight: Value = serde_json::from_str(
        r#"{"resourceType": "Observation", "code": {"coding": [{"code": "w"}]}, "valueQuantity":
            {"value": 5.40, "unit": "milligram", "system": "http://unitsofmeasure.org", "code": "mg"}}"#,
    )
    .unwrap();
    check(
        &weight,
        &[
            "value-quantity=5.4",
            "value-quantity=5.40",
            "value-quantity=5",
            "value-quantity=5.4||mg",
            "value-quantity=5.4||milligram",
            "value-quantity=0.0054|http://unitsofmeasure.org|g",
            "value-quantity=5.40e-6|http://unitsofmeasure.org|kg",
            "value-quantity=gt5399|http://unitsofmeasure.org|ug",
            "value-quantity=5400|http://unitsofmeasure.org|ug",
            "code-value-quantity=w$le0.0054|http://unitsofmeasure.org|g",
            "value-quantity=5.4|http://unitsofmeasure.org|mg",
            "value-quantity=gt5.39",
            "value-quantity=ge5.4",
            "value-quantity=le5.4",
            "value-quantity=lt5.41",
            "value-quantity=ne5.3",
            "value-quantity=sa5",
            "value-quantity=eb6",
            "value-quantity=ap5",
            "value-quantity=0.54e1",
            "code-value-quantity=w$gt5",
            "combo-code-value-quantity=w$5.4||mg",
        ],
        &[
            "value-quantity=5.3",
            "value-quantity=5.41",
            "value-quantity=6",
            "value-quantity=5.4||g",
            "value-quantity=5.4|http://unitsofmeasure.org|g",
            "value-quantity=5.4|http://unitsofmeasure.org|mL",
            "value-quantity=5401|http://unitsofmeasure.org|ug",
            "value-quantity=gt0.0054|http://unitsofmeasure.org|g",
            "value-quantity=0.0054||g",
            "value-quantity=5.4|http://other|mg",
            "value-quantity=gt5.4",
            "value-quantity=lt5.4",
            "value-quantity=ne5.4",
            "value-quantity=sa5.4",
            "value-quantity=ap4",
            "code-value-quantity=x$gt5",
            "code-value-quantity=w$gt6",
            "component-code-value-quantity=w$gt5",
        ],
    );
    let risk: Value =
        serde_json::from_str(r#"{"resourceType": "RiskAssessment", "prediction": [{"probabilityDecimal": 0.1000000000000000000001}]}"#)
            .unwrap();
    check(&risk, &["probability=0.1", "probability=gt0.1"], &["probability=le0.1", "probability=0.2"]);
    let claim: Value = serde_json::from_str(
        r#"{"resourceType": "Invoice", "totalGross": {"value": 100.00, "currency": "EUR"}}"#,
    )
    .unwrap();
    check(
        &claim,
        &["totalgross=100||EUR", "totalgross=100|urn:iso:std:iso:4217|EUR"],
        &["totalgross=100||USD", "totalgross=101"],
    );
}

#[test]
fn composites_hold_in_one_element() {
    let pressure = json!({"resourceType": "Observation", "component": [
        {"code": {"coding": [{"code": "sys"}]}, "valueQuantity": {"value": 120}},
        {"code": {"coding": [{"code": "dia"}]}, "valueQuantity": {"value": 80}}]});
    check(
        &pressure,
        &[
            "component-code-value-quantity=sys$gt100",
            "combo-code-value-quantity=dia$80",
            "component-code-value-quantity=x$1,dia$lt100",
            "component-code=sys&component-value-quantity=lt100",
        ],
        &["component-code-value-quantity=dia$gt100", "code-value-quantity=sys$gt100"],
    );
}

#[test]
fn urls_are_equal_or_above_or_below() {
    let set = json!({"resourceType": "ValueSet", "url": "http://acme.org/fhir/ValueSet/123"});
    check(
        &set,
        &[
            "url=http://acme.org/fhir/ValueSet/123",
            "url:below=http://acme.org/fhir/",
            "url:below=http://acme.org/fhir",
            "url:above=http://acme.org/fhir/ValueSet/123/_history/5",
        ],
        &[
            "url=http://acme.org/fhir/ValueSet",
            "url=HTTP://acme.org/fhir/ValueSet/123",
            "url:below=http://acme.org/fh",
            "url:above=http://acme.org/fhir/ValueSet/1234",
        ],
    );
}

/// One problem: its code, rule and text.
fn check_refused(kind: &str, text: &str, code: IssueCode, message: &str) {
    for handling in [Handling::Strict, Handling::Lenient] {
        let problems = parse(ResourceType::from_name(kind).unwrap(), handling, text).unwrap_err();
        assert_eq!(problems.len(), 1, "{text}");
        assert_eq!((problems[0].code, problems[0].text.as_ref()), (code, message), "{text}");
    }
}

#[test]
fn wrong_values_are_refused_and_not_repeated() {
    let url = "expected an id, Type/id, or a URL; a version cannot be asked for";
    let date = "expected a prefix and a date or dateTime; a plus sign of its time zone is written %2B";
    let never = "the value names a type that the parameter never points at";
    let quantity = "expected number, number|system|code or number||unit";
    for (text, parameter, code, what) in [
        ("patient=", "patient", IssueCode::Value, "a value is empty"),
        ("patient=1,,2", "patient", IssueCode::Value, "a value is empty"),
        ("patient=a_b", "patient", IssueCode::Value, url),
        ("patient=Patient/1/_history/2", "patient", IssueCode::Value, url),
        ("patient=Group/1", "patient", IssueCode::Value, never),
        ("subject:Patient=Group/1", "subject", IssueCode::Value, never),
        ("_id=a_b", "_id", IssueCode::Value, "expected a logical id"),
        ("_lastUpdated=2024-02-30", "_lastUpdated", IssueCode::Value, date),
        ("date=xx2024", "date", IssueCode::Value, date),
        ("date=2024-01-01T00:00:00+01:00", "date", IssueCode::Value, date),
        ("value-quantity=x", "value-quantity", IssueCode::Value, "expected a prefix and a number"),
        ("value-quantity=1|2", "value-quantity", IssueCode::Value, quantity),
        ("code=|", "code", IssueCode::Value, "expected code, system|code, |code or system|"),
        ("code=a|b|c", "code", IssueCode::Value, "expected code, system|code, |code or system|"),
        ("identifier:of-type=a|b", "identifier", IssueCode::Value, "expected system|code|value"),
        ("value-string=%CC%81", "value-string", IssueCode::Value, "a value holds nothing to search for"),
        ("code:missing=1", "code", IssueCode::Value, "expected true or false"),
        (
            "code-value-quantity=a",
            "code-value-quantity",
            IssueCode::Value,
            "expected a value for each component, with $ between them",
        ),
        ("_count=-1", "_count", IssueCode::Value, "expected a number of at most 9 digits"),
        ("_count=1&_count=1", "_count", IssueCode::Invalid, "it is given twice"),
        ("_cursor=a/b", "_cursor", IssueCode::Value, "it is not one that this server gave out"),
        ("_total=many", "_total", IssueCode::Value, "expected none, estimate or accurate"),
        ("_format=xml", "_format", IssueCode::NotSupported, "this server speaks JSON only"),
    ] {
        check_refused("Observation", text, code, &format!("Search parameter {parameter}: {what}."));
    }
}

#[test]
fn what_r4_defines_and_we_do_not_support_is_refused_under_either_handling() {
    let not = "this server does not support it, and ignores no filter";
    let modifier = "this server does not support this modifier or chain";
    for (kind, text, parameter, what) in [
        ("Observation", "code:exact=x", "code", modifier),
        ("Observation", "subject:below=x", "subject", modifier),
        ("Observation", "subject:Account=x", "subject", modifier),
        ("Observation", "date:not=2020", "date", modifier),
        ("Observation", "code.name=x", "code", modifier),
        ("Observation", "patient:Group.name=x", "patient", modifier),
        ("Observation", "patient.nothing=x", "patient", "what it points at has no such parameter"),
        ("Location", "near=1|2", "near", not),
        ("Bundle", "composition=1", "composition", not),
        ("Patient", "_text=x", "_text", not),
        ("Patient", "_content=x", "_content", not),
        ("Patient", "_type=Patient", "_type", not),
        (
            "Patient",
            "_list=$current-problems",
            "_list",
            "functional lists are not kept here; name a List by its id",
        ),
        ("Patient", "_summary=some", "_summary", not),
        ("Patient", "_sort=nothing", "_sort", "expected parameters of the type to sort by"),
        ("Observation", "_sort=code-value-quantity", "_sort", "expected parameters of the type to sort by"),
        ("Patient", "_has:Observation=x", "_has", "expected _has:Type:reference:parameter"),
        (
            "Patient",
            "_has:Observation:encounter:code=x",
            "_has",
            "the type has no such parameter that points at the type searched",
        ),
        ("Patient", "_has:Observation:patient:nothing=x", "_has", "the type has no such parameter"),
        (
            "Patient",
            "_include=Patient:name",
            "_include",
            "the type has no such parameter that points at anything of that type",
        ),
        (
            "Patient",
            "_include=Patient",
            "_include",
            "expected Type:parameter, Type:parameter:Target or Type:*",
        ),
        ("Patient", "_include:x=Patient:link", "_include", modifier),
    ] {
        check_refused(kind, text, IssueCode::NotSupported, &format!("Search parameter {parameter}: {what}."));
    }
}

#[test]
fn an_unknown_parameter_is_refused_or_left_out_as_the_client_wants() {
    for text in
        ["secret-name=1", "patient=1&secret-name:exact=x", "secret-name.x=1", "=1", "Patient=1", ":Patient=1"]
    {
        let place = 1 + text.matches('&').count();
        let kind = ResourceType::OBSERVATION;
        let strict = parse(kind, Handling::Strict, text).unwrap_err();
        assert_eq!(strict[0].text, format!("Parameter {place} of the query is not defined for this type."));
        let query = parse(kind, Handling::Lenient, text).unwrap();
        assert_eq!(
            query.ignored[0].text,
            format!("Parameter {place} of the query is not defined for this type, and was ignored.")
        );
        assert!(!query.self_link().contains("secret"));
    }
    // Patient has neither `patient` nor `subject`.
    for text in ["patient=1", "subject=1"] {
        assert!(parse(ResourceType::PATIENT, Handling::Strict, text).is_err());
    }
}

#[test]
fn every_bound_is_kept_and_one_more_is_refused() {
    let many = |count: usize| (0..count).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    let ids = good("Observation", &format!("_id={}", many(ALTERNATIVES_MAX))).candidates().ids;
    assert_eq!(ids.unwrap().len(), ALTERNATIVES_MAX);
    let too_many = "Search parameter _id: it has more than 200 values.";
    check_refused(
        "Observation",
        &format!("_id={}", many(ALTERNATIVES_MAX + 1)),
        IssueCode::TooCostly,
        too_many,
    );

    let long = "x".repeat(CURSOR_BYTES_MAX);
    assert!(good("Observation", &format!("_cursor={long}")).cursor.is_some());
    assert!(parse(ResourceType::OBSERVATION, Handling::Lenient, &format!("_cursor={long}x")).is_err());

    let deep = |links: usize| format!("{}name=x", "partof.".repeat(links));
    assert!(good("Organization", &deep(LINKS_MAX)).filters[0].joins());
    let too_deep = "Search parameter partof: it follows more than 4 links.";
    check_refused("Organization", &deep(LINKS_MAX + 1), IssueCode::TooCostly, too_deep);

    let keys = |count: usize| format!("_sort={}", vec!["name"; count].join(","));
    assert_eq!(good("Patient", &keys(sort::SORT_KEYS_MAX)).sort.len(), sort::SORT_KEYS_MAX);
    let too_many = "Search parameter _sort: it has more than 6 keys.";
    check_refused("Patient", &keys(sort::SORT_KEYS_MAX + 1), IssueCode::TooCostly, too_many);

    let includes = |count: usize| vec!["_include=Patient:link"; count].join("&");
    assert_eq!(good("Patient", &includes(include::INCLUDES_MAX)).includes.len(), include::INCLUDES_MAX);
    let too_many = "Search parameter _include: it is given more than 20 times.";
    check_refused("Patient", &includes(include::INCLUDES_MAX + 1), IssueCode::TooCostly, too_many);
}

#[test]
fn the_self_link_says_again_what_was_understood() {
    for (text, link) in [
        ("", ""),
        ("patient=123", "?patient=123"),
        ("subject%3APatient=123", "?subject:Patient=123"),
        ("code=a%7Cb&_count=1001", "?code=a%7Cb&_count=1000"),
        ("_summary=count", "?_summary=count"),
        ("_format=application/fhir+json", "?_format=application/fhir%2Bjson"),
        ("_sort=-date,code&_total=accurate", "?_sort=-date,code&_total=accurate"),
        ("name=x%5C,y", ""),
    ] {
        let query = parse(ResourceType::OBSERVATION, Handling::Lenient, text).unwrap();
        let expected = format!("https://records.example/fhir/Observation{link}");
        assert_eq!(query.self_link(), expected, "{text}");
    }
    let query = good("Observation", "_count=3&_cursor=a");
    assert_eq!(query.next_link("b"), "https://records.example/fhir/Observation?_count=3&_cursor=b");
    assert_eq!(query.plain_link(), "https://records.example/fhir/Observation?_count=3");
    assert_eq!(good("Observation", "_summary=count&_count=7").count, 0);
    assert!(good("Observation", "_sort=-_lastUpdated").sort.is_empty());
}

#[test]
fn records_are_put_in_order_by_every_key() {
    let patient = |family: Option<&str>, birth: Option<&str>| {
        let mut value = json!({"resourceType": "Patient"});
        if let Some(family) = family {
            value["name"] = json!([{"family": family}]);
        }
        if let Some(birth) = birth {
            value["birthDate"] = json!(birth);
        }
        value
    };
    let records = [
        patient(Some("Adams"), Some("1980")),
        patient(Some("adams"), Some("1970-01-01")),
        patient(Some("Ädams-b"), None),
        patient(Some("Zed"), Some("2000")),
        patient(None, Some("1990")),
    ];
    for (keys, expected) in [
        ("family,birthdate", [1, 0, 2, 3, 4]),
        ("-family,birthdate", [3, 2, 1, 0, 4]),
        ("birthdate", [1, 0, 4, 3, 2]),
        ("-birthdate", [3, 4, 0, 1, 2]),
    ] {
        let query = good("Patient", &format!("_sort={keys}"));
        let mut order: Vec<usize> = (0..records.len()).collect();
        order.sort_by_key(|at| sort::place(&query.sort, &records[*at]));
        assert_eq!(order, expected, "{keys}");
    }
    let numbers = ["-3", "0", "0.5", "10", "9"].map(|number| {
        let text = format!(r#"{{"resourceType": "Observation", "valueQuantity": {{"value": {number}}}}}"#);
        serde_json::from_str::<Value>(&text).unwrap()
    });
    let query = good("Observation", "_sort=-value-quantity");
    let mut order: Vec<usize> = (0..5).collect();
    order.sort_by_key(|at| sort::place(&query.sort, &numbers[*at]));
    assert_eq!(order, [3, 4, 2, 1, 0]);
}

#[test]
fn candidates_are_bounded_by_what_every_parameter_needs() {
    for (text, from, until) in [
        ("", None, None),
        ("_lastUpdated=2024", Some("2024-01-01T00:00:00Z"), Some("2025-01-01T00:00:00Z")),
        ("_lastUpdated=ne2024", None, None),
        ("_lastUpdated=gt2024", Some("2025-01-01T00:00:00Z"), None),
        ("_lastUpdated=lt2024", None, Some("2024-01-01T00:00:00Z")),
        ("_lastUpdated=ge2022&_lastUpdated=ge2023", Some("2023-01-01T00:00:00Z"), None),
        ("_lastUpdated=2022,gt2024", Some("2022-01-01T00:00:00Z"), None),
        ("_lastUpdated=2022,ne2024", None, None),
    ] {
        let found = good("Observation", text).candidates();
        assert_eq!((found.updated_from, found.updated_until), (from.map(at), until.map(at)), "{text}");
    }
    let found =
        good("Observation", "patient=1,2&subject=2&_id=x,y&_id=y&performer=Practitioner/1").candidates();
    assert_eq!(found.patients, [vec![id("1"), id("2")], vec![id("2")]]);
    assert_eq!(found.ids, Some(vec![id("y")]));
    assert_eq!(good("Observation", "_id:not=x&subject=Group/1").candidates(), Candidates::default());
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
fn a_search_is_explained_by_what_narrows_it() {
    let (listed, own) = (Listed::of(searches(), &[]).unwrap(), Listed::own(searches()));
    for (kind, text, lines) in [
        (
            "Patient",
            "name=ang&gender=female",
            vec![
                "name: finds records by 1 blind mark; the database sees which records share a beginning of a text",
                "gender: matched on each record that is opened; no mark finds it as it is asked",
                "opened: the Patient records that bear such marks",
            ],
        ),
        (
            "Observation",
            "patient=1&code=x",
            vec![
                "patient: narrows to the patients' rows; the database sees their opaque keys",
                "code: narrows her rows by marks under her own key; the database sees, of hers alone, which records share a code",
                "opened: the Observation records that those keys or patients have",
            ],
        ),
        (
            "Observation",
            "patient=1,2&code=x&performer=Practitioner/1",
            vec![
                "patient: narrows to the patients' rows; the database sees their opaque keys",
                "code: matched on each record that is opened",
                "performer: matched on each record that is opened",
                "opened: the Observation records that those keys or patients have",
            ],
        ),
        (
            "Observation",
            "status=final&_sort=date",
            vec![
                "status: matched on each record that is opened; no mark finds it as it is asked",
                "refused: nothing narrows this search of Observation (400 too-costly)",
                "_sort: every match is opened before the first page",
            ],
        ),
    ] {
        assert_eq!(explain::explain(&good(kind, text), &listed, &own), lines, "{text}");
    }
}

proptest! {
    #[test]
    fn no_query_panics_and_what_is_understood_is_said_again(
        text in "(_id|patient|subject|_lastUpdated|_count|_sort|x|code|value-quantity|_has|_include|date)([:.=&,%+|$]|Patient|Observation|code|not|missing|ge|[a-z0-9]|2024|-){0,40}"
    ) {
        let Ok(pairs) = form::decode(text.as_bytes()) else { return Ok(()) };
        let base = base();
        let request = Request {
            kind: ResourceType::OBSERVATION, level: Level::Type, searches: searches(), sets: &terms(), base: &base, handling: Handling::Lenient, now: at(NOW),
        };
        if let Ok(query) = Query::parse(request, &pairs) {
            let link = query.self_link();
            let again = parse(ResourceType::OBSERVATION, Handling::Strict, link.split_once('?').map_or("", |(_, q)| q)).unwrap();
            prop_assert_eq!(again.self_link(), link);
            let _held = query.holds(&json!({"resourceType": "Observation", "subject": {"reference": "Patient/1"}, "valueQuantity": {"value": 1}}));
        }
    }

    #[test]
    fn what_matches_is_a_candidate(
        prefix in "eq|ne|gt|ge|lt|le|sa|eb|ap", month in 1u32..13, other in "eq|ne|gt|lt", seconds in 0i64..100_000_000,
    ) {
        let query = good("Observation", &format!("_lastUpdated={prefix}2024-{month:02},{other}2023-06"));
        let time = at("2022-01-01T00:00:00Z") + chrono::Duration::seconds(seconds);
        let shown = super::super::meta::instant(time);
        if query.holds(&json!({"resourceType": "Observation", "meta": {"lastUpdated": shown}})) {
            let found = query.candidates();
            prop_assert!(found.updated_from.is_none_or(|from| from <= time));
            prop_assert!(found.updated_until.is_none_or(|until| time < until));
        }
    }
}
