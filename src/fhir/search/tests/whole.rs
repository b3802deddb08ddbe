//! What becomes of a query as a whole: its link, its order, its candidates, its explanation.

use super::*;

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
        let shown = crate::fhir::meta::instant(time);
        if query.holds(&json!({"resourceType": "Observation", "meta": {"lastUpdated": shown}})) {
            let found = query.candidates();
            prop_assert!(found.updated_from.is_none_or(|from| from <= time));
            prop_assert!(found.updated_until.is_none_or(|until| time < until));
        }
    }
}
