#![expect(clippy::unwrap_used, reason = "tests")]
use super::super::super::definitions::loaded;
use super::super::super::kinds::LogicalId;
use super::super::mark::{DAYS, cover, spans_of};
use super::super::{Filter, Handling, Level, Query, Request, Sets, form};
use super::*;
use proptest::prelude::*;
use serde_json::json;

fn searches() -> &'static Searches {
    static COMPILED: std::sync::OnceLock<Searches> = std::sync::OnceLock::new();
    COMPILED.get_or_init(|| Searches::compile(loaded()))
}

fn base() -> BaseUrl {
    BaseUrl::parse("https://records.example/fhir").unwrap()
}

fn names_of(listed: &Listed) -> impl Iterator<Item = String> {
    listed.all().map(|one| format!("{}.{}", one.of.name(), one.code))
}

fn marks(listed: &Listed, resource: &Value) -> Vec<(Cow<'static, str>, Mark<'static>)> {
    let kind = ResourceType::from_name(resource.get("resourceType").unwrap().as_str().unwrap()).unwrap();
    let resource: &'static Value = Box::leak(Box::new(resource.clone()));
    let mut found = Vec::new();
    listed.marks(kind, resource, &base(), &mut |parameter, mark| found.push((parameter.code.clone(), mark)));
    found
}

fn query(kind: &str, text: &str) -> Query {
    let kind = ResourceType::from_name(kind).unwrap();
    let now = "2024-06-01T00:00:00Z".parse().unwrap();
    let (base, sets) = (base(), Sets::default());
    let request = Request {
        kind,
        level: Level::Type,
        searches: searches(),
        sets: &sets,
        base: &base,
        handling: Handling::Strict,
        now,
    };
    Query::parse(request, &form::decode(text.as_bytes()).unwrap()).unwrap()
}

/// The marks asked for by the first filter of a query.
fn asked(listed: &Listed, query: &Query) -> Option<Vec<Mark<'static>>> {
    match query.filters.first().unwrap() {
        Filter::Values(values) => listed.asked(values),
        _ => None,
    }
}

/// Whether a match bears a mark of its composite's first component; of what is no composite there is none.
fn bears_first(listed: &Listed, query: &Query, resource: &Value) -> bool {
    let filter = query.filters.first().unwrap();
    listed.first_of(filter).is_none_or(|first| {
        marks(listed, resource).iter().any(|(_, mark)| first.iter().any(|(_, wanted)| wanted == mark))
    })
}

#[test]
fn a_composite_is_walked_by_its_first_component() {
    let query = query("Observation", "code-value-quantity=c$gt5,d$lt3");
    let first = everything().first_of(query.filters.first().unwrap()).unwrap();
    let code = |code: &'static str| Mark::Joint(vec![Mark::Code(code.into())]);
    let found: Vec<Mark<'_>> = first.into_iter().map(|(_, mark)| mark).collect();
    for wanted in [code("c"), code("d"), Mark::Joint(Vec::new())] {
        assert!(found.contains(&wanted), "{found:?}");
    }
    // Two parts of it, each with the mark of one that has too many, and two codes.
    assert!(found.len() <= 4, "{found:?}");
}

#[test]
fn the_default_list_names_parameters_there_are() {
    let listed = Listed::of(searches(), &[]).unwrap();
    let names: Vec<String> = names_of(&listed).collect();
    for (kind, code) in DEFAULT {
        assert!(
            names.iter().any(|name| name
                .split_once('.')
                .is_some_and(|(k, c)| c == code && (kind == "*" || kind == k))),
            "{kind}.{code}"
        );
    }
    for never in
        ["Patient.gender", "Patient._security", "Patient.deceased", "Observation.code", "Condition.code"]
    {
        assert!(!names.iter().any(|name| name == never), "{never}");
    }
    assert!(
        names.iter().any(|name| name == "Practitioner.gender"),
        "a record about nobody is marked by everything"
    );
    let all = Listed::of(searches(), &["all".to_owned()]).unwrap();
    assert!(names_of(&all).count() > names.len());
    assert!(!names_of(&all).any(|name| name == "Patient.gender"));
    let one = Listed::of(searches(), &["Observation.code".to_owned()]).unwrap();
    assert_eq!(names_of(&one).count(), names.len() + 1);
    for wrong in ["Patient.gender", "Observation.nothing", "code", "Location.near", "Nothing.code"] {
        assert_eq!(Listed::of(searches(), &[wrong.to_owned()]).err().as_deref(), Some(wrong));
    }
}

#[test]
fn what_a_query_asks_for_is_what_a_match_bears() {
    let listed = Listed::of(searches(), &["all".to_owned()]).unwrap();
    let patient = json!({"resourceType": "Patient", "name": [{"family": "Müller-Lüdenscheidt", "given": ["Al"]}],
        "birthDate": "1980-02-29", "identifier": [{"system": "urn:a", "value": "X 1"}],
        "generalPractitioner": [{"reference": "Practitioner/p"}], "active": true,
        "telecom": [{"value": "A@B.C"}], "meta": {"profile": ["http://p/1|2"]}});
    let encounter = json!({"resourceType": "Encounter", "period": {"start": "2020-01-31T10:00:00Z"}, "status": "finished"});
    let quantity =
        |value: f64| json!({"value": value, "system": "http://unitsofmeasure.org", "code": "mm[Hg]"});
    let part = |code: &str, value: f64| json!({"code": {"coding": [{"system": "http://loinc.org", "code": code}]}, "valueQuantity": quantity(value)});
    let pressure =
        json!({"resourceType": "Observation", "component": [part("8480-6", 135.2), part("8462-4", 88.0)]});
    for (resource, text, narrowed) in [
        (&patient, "name=mu", true),
        (&patient, "name=MÜLLER-LUEDEN", true),
        (&patient, "name=muller-ludenscheidt", true),
        (&patient, "family:exact=Müller-Lüdenscheidt", true),
        (&patient, "name=m", false),
        (&patient, "name:contains=lud", true),
        (&patient, "name:contains=ler-lueden", true),
        (&patient, "name:contains=lu", false),
        (&patient, "name=mu,x", false),
        (&patient, "identifier=urn:a%7Cx%201", true),
        (&patient, "identifier=urn:a%7C", false),
        (&patient, "identifier:not=x", false),
        (&patient, "active=TRUE,true", true),
        (&patient, "email=a@b.c", true),
        (&patient, "general-practitioner=p", true),
        (&patient, "general-practitioner=Practitioner/p", true),
        (&patient, "general-practitioner=https://records.example/fhir/Practitioner/p", true),
        (&patient, "_profile=http://p/1", true),
        (&patient, "_profile:below=http://p", false),
        (&patient, "birthdate=1980", true),
        (&patient, "birthdate=ne1980", false),
        (&patient, "birthdate=gt1979", true),
        (&encounter, "date=ge2030", true),
        (&encounter, "date=sa2020-01-31", true),
        (&encounter, "date=lt2020-02", true),
        (&encounter, "status=finished", true),
        (&pressure, "value-quantity=gt130", true),
        (&pressure, "component-value-quantity=gt130", true),
        (&pressure, "component-value-quantity=le90|http://unitsofmeasure.org|mm[Hg]", true),
        (&pressure, "component-value-quantity=ne90", false),
        (&pressure, "combo-value-quantity=ap130", true),
        (&pressure, "component-code-value-quantity=8480-6$gt130", true),
        (&pressure, "component-code-value-quantity=http://loinc.org|8462-4$lt90,8480-6$lt100", true),
        (&pressure, "component-code-value-quantity=8480-6$ne130", false),
        (&pressure, "combo-code-value-quantity=8480-6$135.2", true),
        (&pressure, "code-value-concept=8480-6$x", true),
    ] {
        let kind = resource.get("resourceType").unwrap().as_str().unwrap();
        let query = query(kind, text);
        let wanted = asked(&listed, &query);
        assert_eq!(wanted.is_some(), narrowed, "{text}");
        if query.holds(resource)
            && let Some(wanted) = wanted
        {
            assert!(marks(&listed, resource).iter().any(|(_, mark)| wanted.contains(mark)), "{text}");
        }
    }
    let many = (0..200).map(|n| format!("{n}")).collect::<Vec<_>>().join(",");
    assert!(asked(&listed, &query("Patient", &format!("identifier={many}"))).is_some());
    let _id = LogicalId::parse("x");
}

#[test]
fn what_bears_no_marks_of_its_own_is_found_by_those_of_others() {
    let pressure = |code: &str, value: u32| {
        json!({
            "code": {"coding": [{"system": "http://loinc.org", "code": code}]},
            "valueQuantity": {"value": value, "system": "http://unitsofmeasure.org", "code": "mm[Hg]"},
        })
    };
    let coded = json!({"coding": [{"system": "http://loinc.org", "code": "85354-9"}]});
    let parts = [pressure("8480-6", 120), pressure("8462-4", 80)];
    let both = json!({"resourceType": "Observation", "code": coded, "component": parts});
    let mut one = pressure("8480-6", 120);
    one.as_object_mut().unwrap().insert("resourceType".to_owned(), json!("Observation"));
    for (resource, text, holds) in [
        (&both, "combo-code=8480-6", true),
        (&both, "combo-code=http://loinc.org|85354-9", true),
        (&one, "combo-code=8480-6", true),
        (&one, "combo-code=8462-4", false),
        (&both, "combo-value-quantity=gt100", true),
        (&one, "combo-value-quantity=120|http://unitsofmeasure.org|mm[Hg]", true),
        (&both, "combo-code-value-quantity=8462-4$lt90", true),
        (&one, "combo-code-value-quantity=8480-6$120", true),
        (&one, "combo-code-value-quantity=8462-4$120", false),
    ] {
        let query = query("Observation", text);
        let filter = query.filters.first().unwrap();
        assert_eq!(query.holds(resource), holds, "{text}");
        let borne = marks(everything(), resource);
        assert!(!borne.iter().any(|(code, _)| code.starts_with("combo-")), "{borne:?}");
        let bears = |wanted: Vec<(&Compiled, Mark<'static>)>| {
            wanted.iter().any(|(by, mark)| borne.iter().any(|one| one == &(by.code.clone(), mark.clone())))
        };
        assert!(!holds || bears(everything().marks_of(filter).unwrap()), "{text}");
        assert!(!holds || everything().first_of(filter).is_none_or(bears), "{text}");
    }
    // Where the others are not on the list it bears its own.
    let alone = Listed::of(searches(), &["Observation.combo-code".to_owned()]).unwrap();
    assert!(marks(&alone, &one).iter().any(|(code, _)| code == "combo-code"));
}

#[test]
fn few_spans_make_up_any_time() {
    for (from, until) in [(DAYS.0, DAYS.1), (700_000, 700_000), (700_001, 765_432), (DAYS.0, 730_000)] {
        let marks = cover(Mark::First, from, until);
        assert!(marks.len() <= 104, "{}", marks.len());
        for day in [from, from + 1, until - 1, until, from - 1, until + 1] {
            let mut spans = Vec::new();
            spans_of(Mark::First, day, &mut |mark| spans.push(mark));
            let is_in = (from..=until).contains(&day);
            assert_eq!(spans.iter().any(|span| marks.contains(span)), is_in, "{day}");
            for size in 1..Mark::SIZES {
                let wider: Vec<_> = marks.iter().map(|mark| mark.within(size)).collect();
                assert!(!is_in || spans.iter().any(|span| wider.contains(span)), "{day}, {size}");
            }
        }
    }
}

proptest! {
    #[test]
    fn what_covers_a_range_is_that_range_and_each_day_once(from in 700_000_i32..740_000, long in prop_oneof![0_i32..9, 0..70, 0..20_000]) {
        let until = from + long;
        let mut days: Vec<i32> = Vec::new();
        for mark in cover(Mark::First, from, until) {
            let Mark::First(size, number) = mark else { unreachable!() };
            let bits = u32::from(size) * Mark::SPAN_BITS;
            days.extend((number << bits)..((number + 1) << bits));
        }
        days.sort_unstable();
        prop_assert_eq!(days, (from..=until).collect::<Vec<_>>());
    }

    /// The invariant of the blind index: what matches is found.
    #[test]
    fn no_match_is_without_a_mark_that_was_asked_for(
        start in proptest::option::of((1990_u32..2030, 1_u32..13, 1_u32..29)),
        days_long in proptest::option::of(0_i64..4_000),
        prefix in "|eq|gt|ge|lt|le|sa|eb|ap",
        asked_year in 1985_u32..2035, month in 1_u32..13, precise in any::<bool>(),
    ) {
        let listed = Listed::of(searches(), &[]).unwrap();
        let mut period = serde_json::Map::new();
        let first = start.map(|(y, m, d)| chrono::NaiveDate::from_ymd_opt(y.cast_signed(), m, d).unwrap());
        if let Some(first) = first {
            period.insert("start".to_owned(), json!(first.to_string()));
        }
        if let Some(long) = days_long {
            let last = first.unwrap_or(chrono::NaiveDate::from_ymd_opt(2010, 1, 1).unwrap()) + chrono::Duration::days(long);
            period.insert("end".to_owned(), json!(last.to_string()));
        }
        let resource = json!({"resourceType": "Encounter", "period": period});
        let date = if precise { format!("{asked_year}-{month:02}-15") } else { format!("{asked_year}-{month:02}") };
        let query = query("Encounter", &format!("date={prefix}{date}"));
        if query.holds(&resource) {
            let wanted = asked(&listed, &query).unwrap();
            prop_assert!(marks(&listed, &resource).iter().any(|(_, mark)| wanted.contains(mark)), "{prefix}{date} {resource}");
        }
    }

    #[test]
    fn no_number_is_without_a_mark_that_was_asked_for(
        low in proptest::option::of(-1_000_000_i64..1_000_000), wide in proptest::option::of(0_i64..100_000), scale in 0_u32..9,
        asked_for in "-?[0-9]{1,4}(\\.[0-9]{1,3})?(e-?[0-9])?", prefix in "|eq|gt|ge|lt|le|sa|eb|ap", point in any::<bool>(),
    ) {
        let listed = everything();
        let decimal = |units: i64| -> Value { serde_json::from_str(&format!("{units}e-{scale}")).unwrap() };
        let low_or_none = low.map(|low| json!({"value": decimal(low), "code": "mg"}));
        let (kind, resource) = if point {
            let code = json!({"coding": [{"code": "c"}]});
            ("Observation", json!({"resourceType": "Observation", "code": code, "valueQuantity": low_or_none}))
        } else {
            let high = wide.map(|wide| json!({"value": decimal(low.unwrap_or(0) + wide), "code": "mg"}));
            let mut range = serde_json::Map::new();
            range.extend(low_or_none.map(|low| ("low".to_owned(), low)));
            range.extend(high.map(|high| ("high".to_owned(), high)));
            let context = json!([{"code": {"code": "c"}, "valueRange": range}]);
            ("ActivityDefinition", json!({"resourceType": "ActivityDefinition", "useContext": context}))
        };
        let codes = if point { ["value-quantity=", "code-value-quantity=c$"] } else { ["context-quantity=", "context-type-quantity=c$"] };
        for code in codes {
            let query = query(kind, &format!("{code}{prefix}{asked_for}"));
            if query.holds(&resource) {
                let wanted = asked(listed, &query).unwrap();
                prop_assert!(marks(listed, &resource).iter().any(|(_, mark)| wanted.contains(mark)), "{code}{prefix}{asked_for} {resource}");
                prop_assert!(bears_first(listed, &query, &resource), "{code}{prefix}{asked_for} {resource}");
            }
        }
    }

    #[test]
    fn every_beginning_of_a_name_finds_it(name in "[A-Za-zäöüßéŁø' -]{2,20}", length in 1_usize..20) {
        let listed = Listed::of(searches(), &[]).unwrap();
        let resource = json!({"resourceType": "Patient", "name": [{"family": name}]});
        let asked_for: String = name.chars().take(length).collect();
        prop_assume!(!fold(&asked_for).is_empty());
        let mut url = "x".to_owned();
        form::append(&mut url, "family", &asked_for);
        let query = query("Patient", url.trim_start_matches("x?"));
        prop_assert!(query.holds(&resource));
        if let Some(wanted) = asked(&listed, &query) {
            prop_assert!(marks(&listed, &resource).iter().any(|(_, mark)| wanted.contains(mark)));
        }
    }
}

fn everything() -> &'static Listed {
    static ALL: std::sync::OnceLock<Listed> = std::sync::OnceLock::new();
    ALL.get_or_init(|| Listed::of(searches(), &["all".to_owned()]).unwrap())
}

/// One of these, told apart from another by a step on the ladder or less: where a range one rung short shows.
fn near() -> impl Strategy<Value = (i64, i64)> {
    (10_i64..100, -1_i64..=1, 0_i64..10, 0_i64..10)
        .prop_map(|(first_two, step, tail, other)| (first_two * 10 + tail, (first_two + step) * 10 + other))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn a_range_is_not_one_rung_short(
        (held, asked_for) in near(), place in 0_u32..4, negative in any::<bool>(), prefix in "|eq|gt|ge|lt|le|sa|eb|ap",
        (unit, other) in prop_oneof![Just(("", "")), Just(("mg", "mg")), Just(("mg", "g")), Just(("Cel", "[degF]")), Just(("[in_i]", "cm"))],
    ) {
        let listed = everything();
        let written = |units: i64| {
            let digits = format!("{:0>5}", units);
            let (whole, rest) = digits.split_at(5 - usize::try_from(place).unwrap());
            let point = if rest.is_empty() { "" } else { "." };
            format!("{}{}{point}{rest}", if negative { "-" } else { "" }, whole.trim_start_matches('0').to_owned().max("0".to_owned()))
        };
        let value: Value = serde_json::from_str(&written(held)).unwrap();
        let quantity = json!({"value": value, "system": "http://unitsofmeasure.org", "code": unit});
        let code = json!({"coding": [{"code": "c"}]});
        let resource = json!({"resourceType": "Observation", "code": code, "valueQuantity": quantity});
        // Of another unit the number that is the same, as far as it is decimal; else the number itself.
        let number = match (unit, other) {
            ("mg", "g") => format!("{}e-3", written(asked_for)),
            _ => written(asked_for),
        };
        let with_unit = if other.is_empty() { String::new() } else { format!("|http://unitsofmeasure.org|{other}") };
        for code in ["value-quantity=", "code-value-quantity=c$"] {
            let text = form_of(&format!("{code}{prefix}{number}{with_unit}"));
            let query = query("Observation", &text);
            if query.holds(&resource) {
                let wanted = asked(listed, &query).unwrap();
                prop_assert!(marks(listed, &resource).iter().any(|(_, mark)| wanted.contains(mark)), "{text} {resource}");
                prop_assert!(bears_first(listed, &query, &resource), "{text} {resource}");
            }
        }
    }
}

/// The same with the escapes of a URL.
fn form_of(text: &str) -> String {
    text.replace('|', "%7C").replace('[', "%5B").replace(']', "%5D")
}

#[test]
fn contains_finds_pieces_where_it_is_listed() {
    let john = json!({"resourceType": "Patient", "name": [{"family": "Bruén", "given": ["Ann"]}]});
    let pieces = |listed: &Listed, code: &str| {
        let of = |(its, mark): (Cow<'static, str>, Mark<'static>)| match mark {
            Mark::Piece(piece) if its == code => Some(piece.into_owned()),
            _ => None,
        };
        marks(listed, &john).into_iter().filter_map(of).collect::<Vec<_>>()
    };
    let default = Listed::of(searches(), &[]).unwrap();
    assert_eq!(pieces(&default, "family"), [""; 0]);
    assert_eq!(asked(&default, &query("Patient", "family:contains=rue")), None);
    for more in ["Patient.family:contains", "all"] {
        let listed = Listed::of(searches(), &[more.to_owned()]).unwrap();
        assert_eq!(pieces(&listed, "family"), ["bru", "rue", "uen", "bruen"], "{more}");
        let found = asked(&listed, &query("Patient", "family:contains=RUÉ,xruenx")).unwrap();
        let expected = ["rue", "", "xruen", ""].map(|piece| Mark::Piece(piece.to_owned().into()));
        assert_eq!(found, expected, "{more}");
        assert_eq!(asked(&listed, &query("Patient", "family:contains=ru")), None, "{more}: too short");
    }
    assert_ne!(
        default.names().collect::<Vec<_>>(),
        Listed::of(searches(), &["Patient.family:contains".to_owned()]).unwrap().names().collect::<Vec<_>>(),
        "marks are made anew"
    );
    for wrong in ["Patient.birthdate:contains", "Patient.family:exact", "Patient.nothing:contains"] {
        assert_eq!(Listed::of(searches(), &[wrong.to_owned()]).err().as_deref(), Some(wrong));
    }
}
