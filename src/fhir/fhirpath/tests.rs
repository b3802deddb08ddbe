//! Tests of expressions: over one Patient, and the invariants of R4 all read.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::cell::Cell;

use serde_json::{Value, json};

use super::super::definitions::loaded;
use super::*;

fn patient() -> Value {
    json!({
        "resourceType": "Patient", "id": "p", "active": true, "birthDate": "1974-12-25",
        "_birthDate": {"extension": [{"url": "http://x/time", "valueDateTime": "1974-12-25T14:35:45-05:00"}]},
        "name": [
            {"use": "official", "family": "Chalmers", "given": ["Peter", "James"]},
            {"use": "usual", "given": ["Jim"]}
        ],
        "contained": [{"resourceType": "Organization", "id": "o", "name": "x"}],
        "managingOrganization": {"reference": "#o"},
        "generalPractitioner": [{"reference": "Practitioner/1"}, {"reference": "https://a.b/Organization/2/_history/1"}],
        "multipleBirthInteger": 2,
        "contact": [{"period": {"start": "2020", "end": "2020-05"}}]
    })
}

fn verdict(text: &str) -> Verdict {
    let expression = Expression::parse(text).unwrap();
    let patient = patient();
    let place = Spot::complex(patient.as_object().unwrap(), loaded().named("Patient").unwrap());
    let steps = Cell::new(0);
    expression.holds(&Scene { definitions: loaded(), resource: place, root: place, steps: &steps }, place)
}

#[test]
fn expressions_hold() {
    for text in [
        "true",
        "active",
        "name.exists()",
        "Patient.name.count() = 2",
        "Resource.id = 'p'",
        "name.given = ('Peter' | 'James' | 'Jim')",
        "name[0].given[1] = 'James'",
        "name.where(use = 'usual').given.single() = 'Jim'",
        "name.first().family.length() = 8",
        "name.given.select($this & '!').first() = 'Peter!'",
        "name.all(given.exists())",
        "name.given.isDistinct()",
        "name.given.tail().count() = 2",
        "name.given.skip(1).take(1) = 'James'",
        "multipleBirth = 2",
        "multipleBirth is integer",
        "multipleBirth.ofType(integer) = 2",
        "(multipleBirth as dateTime).empty()",
        "birthDate is date",
        "birthDate < today.birthDate or true",
        "birthDate > '1970'",
        "birthDate = @1974-12-25",
        "birthDate.extension('http://x/time').value.exists()",
        "birthDate.hasValue()",
        "contact.period.start <= '2021'",
        "1 + 2 * 3 = 7",
        "(1 + 2) * 3 = 9",
        "7 div 2 = 3 and 7 mod 2 = 1",
        "-1 < 0",
        "1.0 = 1",
        "'a' in ('a' | 'b')",
        "('a' | 'b') contains 'a'",
        "('a' | 'a').count() = 1",
        "'a'.combine('a').count() = 2",
        "{}.empty()",
        "(name.text = 'x').empty()",
        "{} or true",
        "(false and {}) = false",
        "{} implies true",
        "false implies {}",
        "true xor false",
        "iif(active, 'y', 'n') = 'y'",
        "iif(false, 1).empty()",
        "'ABC'.lower() = 'abc'",
        "'abc'.substring(1) = 'bc'",
        "'abc'.substring(1, 1) = 'b'",
        "'abc'.substring(5).empty()",
        "'abc'.indexOf('c') = 2",
        "'a-b'.replace('-', '+') = 'a+b'",
        "'a1'.replaceMatches('[0-9]', '') = 'a'",
        "'x'.matches('^[a-z]$')",
        "'12'.toInteger() = 12",
        "'x'.toInteger().empty()",
        "multipleBirth.toString() = '2'",
        "children().count() > 5",
        "descendants().where($this is HumanName).count() = 2",
        "managingOrganization.resolve().name = 'x'",
        "generalPractitioner[0].resolve() is Practitioner",
        "generalPractitioner.all(resolve() is Practitioner or resolve() is Organization)",
        "%resource.id = %context.id",
        "%`resource`.id = 'p'",
        "name.repeat(given).count() = 3",
        "name.given contains 'Jim'",
        "`name`.exists()",
        "name.given.intersect('Jim').count() = 1",
        "name.given.exclude('Jim').count() = 2",
        "active.not() = false",
        "name.given.subsetOf(name.given | 'x')",
        "name.exists(family.exists())",
        "'a b'.split(' ').join('-') = 'a-b'",
        "name.select(iif(family.exists(), family, given)) = ('Chalmers' | 'Jim')",
        "'A' ~ 'a'",
        "'A' !~ 'b'",
        "1 != 2 // why not",
        "name.given.where($index = 1) = 'James'",
        "name or id",
        "%ucum = 'http://unitsofmeasure.org'",
        "5 'mg' > 4 'mg'",
        "id.trace('x') = 'p'",
        "name.family.startsWith('Ch') and name.family.endsWith('rs')",
        "contained.is(Organization)",
        "generalPractitioner[1].resolve().is(FHIR.Organization)",
        "'\\u0041' = 'A'",
    ] {
        assert_eq!(verdict(text), Verdict::Kept, "{text}");
    }
    for text in [
        "false",
        "{}",
        "photo",
        "photo or link",
        "name.empty()",
        "name.family = 'x'",
        "name.given = 'Jim'",
        "active and photo.exists()",
        "multipleBirth > 2",
        "birthDate < @1970-01-01",
        "photo.all(false).not()",
        "text.`div`.exists()",
        "true implies false",
    ] {
        assert_eq!(verdict(text), Verdict::Broken, "{text}");
    }
    for text in [
        "contact.period.start <= contact.period.end",
        "5 'mg' > 4 'g'",
        "photo.size > 1",
        "name.single()",
        "name.given.length() > 1",
        "name.use = 'a' & name.given",
        "'a'.matches('(')",
        "1 / 0 = 1",
        "%unknown",
        "'a' + 1",
        "photo.url.contains('x').not()",
        "photo.url.matches('x')",
    ] {
        assert_eq!(verdict(text), Verdict::Open, "{text}");
    }
}

#[test]
fn what_is_no_expression_is_refused() {
    use Unreadable::{Expected, Function, Rest, Sign, Text, TooLong};
    for (text, why) in [
        ("", Expected),
        ("a b", Rest),
        ("a..b", Expected),
        ("(a", Expected),
        ("a)", Rest),
        ("'a", Text),
        ("a ; b", Rest),
        ("a # b", Sign),
        ("now()", Function),
        ("a.memberOf('x')", Function),
        ("exists(a, b)", Function),
        ("$total", Function),
        ("'\\uzzzz'", Text),
        ("a.1", Expected),
        ("%", Sign),
    ] {
        assert_eq!(Expression::parse(text).map(|_| ()), Err(why), "{text}");
    }
    let chained = |links: usize| format!("a{}", ".a".repeat(links));
    assert!(Expression::parse(&chained(NESTING_MAX - 3)).is_ok());
    assert_eq!(Expression::parse(&chained(NESTING_MAX - 2)).map(|_| ()), Err(TooLong));
    for deep in ["(", "-", "1 + ", "a[", "not(", "iif("] {
        assert_eq!(Expression::parse(&deep.repeat(1_000)).map(|_| ()), Err(TooLong), "{deep}");
    }
    let long = |bytes: usize| format!("'{}'", "a".repeat(bytes - 2));
    assert!(Expression::parse(&long(EXPRESSION_BYTES_MAX)).is_ok());
    assert_eq!(Expression::parse(&long(EXPRESSION_BYTES_MAX + 1)).map(|_| ()), Err(TooLong));
}

#[test]
fn what_takes_too_many_steps_is_given_up() {
    let many: Vec<Value> = (0..10_000).map(|n| json!({ "family": n.to_string() })).collect();
    let patient = json!({ "resourceType": "Patient", "name": many });
    let place = Spot::complex(patient.as_object().unwrap(), loaded().named("Patient").unwrap());
    let steps = Cell::new(0);
    let scene = Scene { definitions: loaded(), resource: place, root: place, steps: &steps };
    let holds = |text: &str| Expression::parse(text).unwrap().holds(&scene, place);
    assert_eq!(holds("name.family.isDistinct()"), Verdict::Kept);
    assert!(steps.get() < 100_000);
    assert_eq!(holds("name.isDistinct()"), Verdict::TooCostly);
    assert_eq!(holds("true"), Verdict::TooCostly);
}
