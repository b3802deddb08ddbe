//! Tests of `primitive`.

#![expect(clippy::unwrap_used, reason = "tests")]
use super::*;
use serde_json::json;

#[track_caller]
fn check(kind: Primitive, good: &[Value], bad: &[Value]) {
    for value in good {
        assert!(kind.accepts(value), "{kind:?} should accept {value}");
    }
    for value in bad {
        assert!(!kind.accepts(value), "{kind:?} should refuse {value}");
    }
    for value in [json!(null), json!([]), json!({}), json!("")] {
        assert!(!kind.accepts(&value), "{kind:?} should refuse {value}");
    }
}

fn numbers(texts: &[&str]) -> Vec<Value> {
    texts.iter().map(|t| Value::Number(t.parse().unwrap())).collect()
}

#[test]
fn dates_are_of_the_calendar() {
    let bad = [
        json!("2023-02-30"),
        json!("2023-02-29"),
        json!("1900-02-29"),
        json!("2023-13"),
        json!("2023-00"),
        json!("2023-04-31"),
        json!("0000"),
        json!("23"),
        json!("2023-1-01"),
        json!("2023-01-1"),
        json!("+023-01-01"),
        json!("2023-01-01 "),
        json!(2023),
        json!("٢٠٢٣"),
        json!("2023-W01"),
        json!("20230101"),
    ];
    let good =
        [json!("2023"), json!("2024-02-29"), json!("2000-02-29"), json!("0001-01-01"), json!("2023-12")];
    check(Primitive::Date, &good, &bad);
    check(Primitive::DateTime, &good, &bad);
    check(Primitive::Date, &[], &[json!("2023-01-01T00:00:00Z")]);
    check(Primitive::Instant, &[], &good);
}

#[test]
fn a_time_of_day_needs_seconds_and_a_zone() {
    let good = [
        json!("2023-01-01T00:00:00Z"),
        json!("2015-02-07T13:28:17.239+02:00"),
        json!("2016-12-31T23:59:60Z"),
        json!("2023-01-01T23:59:59.123456789-14:00"),
        json!("2023-01-01T00:00:00+00:00"),
    ];
    let bad = [
        json!("2023-01-01T00:00:00"),
        json!("2023-01-01T00:00Z"),
        json!("2023-01-01T24:00:00Z"),
        json!("2023-02-30T00:00:00Z"),
        json!("2023-01-01T00:60:00Z"),
        json!("2023-01-01T00:00:61Z"),
        json!("2023-01-01T00:00:00+14:01"),
        json!("2023-01-01T00:00:00+15:00"),
        json!("2023-01-01T00:00:00+1:00"),
        json!("2023-01-01T00:00:00.Z"),
        json!("2023-01-01 00:00:00Z"),
        json!("2023-01T00:00:00Z"),
        json!("2023-01-01T00:00:00+-1:00"),
        json!("2023-01-01T00:00:00z"),
        json!("2023-01-01T00:00:00++01:00"),
        json!("2023-01-01T"),
        json!("T00:00:00Z"),
    ];
    check(Primitive::DateTime, &good, &bad);
    check(Primitive::Instant, &good, &bad);
    check(
        Primitive::Time,
        &[json!("00:00:00"), json!("23:59:59.9"), json!("23:59:60")],
        &[
            json!("24:00:00"),
            json!("12:00"),
            json!("12:00:00Z"),
            json!("1:00:00"),
            json!("12:00:00."),
            json!("-1:00:00"),
        ],
    );
}

#[test]
fn numbers_keep_their_range() {
    check(
        Primitive::Integer,
        &numbers(&["0", "-2147483648", "2147483647", "-0"]),
        &[numbers(&["2147483648", "-2147483649", "1.0", "1e3", "1E0"]), vec![json!("1"), json!(true)]]
            .concat(),
    );
    check(Primitive::UnsignedInt, &numbers(&["0", "2147483647"]), &numbers(&["-1", "2147483648", "0.0"]));
    check(Primitive::PositiveInt, &numbers(&["1", "2147483647"]), &numbers(&["0", "-1", "2147483648"]));
    let long = format!("0.{}", "1".repeat(DECIMAL_CHARS_MAX - 2));
    check(
        Primitive::Decimal,
        &numbers(&["0", "-1.50", "1e400", "1E-400", "0.000000000000000001", &long]),
        &[numbers(&["1e401", "1e-99999999999", &format!("{long}1")]), vec![json!("1.0")]].concat(),
    );
    check(Primitive::Boolean, &[json!(true), json!(false)], &[json!("true"), json!(0)]);
}

#[test]
fn texts_keep_their_rules() {
    let long = "x".repeat(STRING_BYTES_MAX);
    for kind in [Primitive::String, Primitive::Markdown] {
        check(
            kind,
            &[json!("a"), json!(" a\tb\r\nc "), json!("ä😀"), json!(long)],
            &[json!("a\u{0}"), json!("\u{1b}"), json!(1), json!(format!("{long}x"))],
        );
    }
    check(
        Primitive::Code,
        &[json!("a"), json!("a b"), json!("<="), json!("a\u{a0}"), json!("nullFlavor")],
        &[json!(" a"), json!("a "), json!("a  b"), json!("a\u{7}b"), json!(" ")],
    );
    check(Primitive::Id, &[json!("a-B.9"), json!("x".repeat(64))], &[json!("a_b"), json!("x".repeat(65))]);
    for kind in [Primitive::Uri, Primitive::Url, Primitive::Canonical] {
        check(kind, &[json!("http://a.b/c?d#e"), json!("urn:x"), json!("ä")], &[json!("a b"), json!("a\n")]);
    }
    check(
        Primitive::Oid,
        &[json!("urn:oid:1.2.0.34"), json!("urn:oid:2.16.840")],
        &[
            json!("1.2.3"),
            json!("urn:oid:3.1"),
            json!("urn:oid:1"),
            json!("urn:oid:1..2"),
            json!("urn:oid:1.02"),
            json!("urn:oid:1.2."),
        ],
    );
    check(
        Primitive::Uuid,
        &[json!("urn:uuid:c757873d-ec9a-4326-a141-556f43239520")],
        &[
            json!("c757873d-ec9a-4326-a141-556f43239520"),
            json!("urn:uuid:c757873d-ec9a-4326-a141-556f4323952"),
            json!("urn:uuid:C757873D-ec9a-4326-a141-556f43239520"),
            json!("urn:uuid:c757873dxec9a-4326-a141-556f43239520"),
        ],
    );
    check(
        Primitive::Base64Binary,
        &[json!("AAAA"), json!("AA=="), json!("AAA="), json!("AA AA\nAAAA"), json!("+/09")],
        &[json!("A"), json!("AAA"), json!("A==="), json!("AA=A"), json!("===="), json!("AA-_"), json!(" ")],
    );
}
