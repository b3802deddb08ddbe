//! What is refused, and what is left out.

use super::*;

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
