//! Tests of `json`.

#![expect(clippy::unwrap_used, reason = "tests")]
use super::*;
use proptest::prelude::*;

#[track_caller]
fn refused(text: impl AsRef<[u8]>, rule: &str) -> Problem {
    let problem = parse(text.as_ref()).unwrap_err();
    assert_eq!(problem.rule.as_deref(), Some(rule), "{problem}");
    problem
}

#[test]
fn what_was_read_is_what_is_written() {
    for text in [
        r#"{"b":1,"a":[1.50,-0,0.0,1e-07,123456789012345678901234567890.10],"c":{"d":null,"e":true,"f":"ä\n😀"}}"#,
        "[]",
        "{}",
        "\"\"",
        "null",
        "3.1400",
    ] {
        let value = parse(text.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(to_bytes(&value)).unwrap(), text);
        assert_eq!(value, serde_json::from_str::<Value>(text).unwrap());
    }
    assert_eq!(to_bytes(&parse(b"[1.00E5,1e5]").unwrap()), b"[1.00e+5,1e+5]");
    assert_eq!(to_bytes(&parse(b" { \"a\" : \"\\u0041\\t\\/\" } \n").unwrap()), br#"{"a":"A\t/"}"#);
}

#[test]
fn what_is_not_json_is_refused() {
    for text in ["{", "[1", "\"a", "", "  ", "{\"a\":", "tru", "1."] {
        refused(text, "json.incomplete");
    }
    for text in [
        "{}x",
        "{} {}",
        "{'a':1}",
        "{\"a\":1,}",
        "[1,]",
        "01",
        "+1",
        ".5",
        "NaN",
        "Infinity",
        "{a:1}",
        "\"\t\"",
        "\"\\x\"",
        "// c\n1",
        "\u{feff}{}",
        "{1:2}",
        "nul1",
    ] {
        refused(text, "json.syntax");
    }
    for text in [r#""\ud800""#, r#""\udc00""#, r#"{"a":"\ud800x"}"#, r#"{"\ud800":1}"#] {
        refused(text, "json.syntax");
    }
    let problem = refused(b"{\n \"a\": \"\xff\"}", "json.utf-8");
    assert_eq!(problem.text, "Line 2, column 8: not UTF-8.");
    assert!(problem.refuses());
}

#[test]
fn depth_is_bounded() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let nested = |n: usize| format!("{}1{}", open.repeat(n), close.repeat(n));
        assert!(parse(nested(DEPTH_MAX).as_bytes()).is_ok());
        refused(nested(DEPTH_MAX + 1), "json.depth");
        refused(nested(10_000), "json.depth");
        refused(open.repeat(1_000_000), "json.depth");
    }
    let empty = |n: usize| format!("{}{{}}{}", "[".repeat(n), "]".repeat(n));
    assert!(parse(empty(DEPTH_MAX - 1).as_bytes()).is_ok());
    refused(empty(DEPTH_MAX), "json.depth");
}

#[test]
fn a_member_stands_once() {
    let problem = refused(r#"{"name":[{},{"given":[],"x":{},"given":[]}]}"#, "json.duplicate-member");
    assert_eq!(problem.expression.as_deref(), Some("name[1].given"));
    let hidden = refused(r#"{"name":{"Anna Meier":1,"Anna Meier":2}}"#, "json.duplicate-member");
    assert_eq!(hidden.expression.as_deref(), Some("name"));
    refused(r#"{"a":1,"\u0061":2}"#, "json.duplicate-member");
}

#[test]
fn control_characters_are_refused() {
    for escape in ["\\u0000", "\\u0001", "\\u001f", "\\b", "\\f", "\\u000b"] {
        let problem = refused(format!(r#"{{"a":["x","y{escape}"]}}"#), "json.control-character");
        assert_eq!(problem.expression.as_deref(), Some("a[1]"));
        refused(format!(r#"{{"a{escape}":1}}"#), "json.reserved-name");
    }
    assert!(parse(br#"["\t\r\n\u0020\u007f"]"#).is_ok());
}

#[test]
fn a_number_cannot_be_forged() {
    for text in [
        r#"{"$serde_json::private::Number":"1"}"#,
        r#"{"$serde_json::private::Number":"\u0031"}"#,
        r#"{"a":1,"$serde_json::private::Number":"1"}"#,
    ] {
        refused(text, "json.reserved-name");
    }
    for text in [r#"{"$serde_json::private::Number":1}"#, r#"{"$serde_json::private::Number":{}}"#] {
        assert!(parse(text.as_bytes()).is_err());
    }
}

#[test]
fn no_problem_quotes_the_input() {
    for text in [
        "{\"a\": Meier}",
        "{\"Meier x\": \"Meier\\u0000\"}",
        "{\"b\":1}Meier",
        "\"Meier",
        "{\"a\":{\"0Meier\":1,\"0Meier\":1}}",
    ] {
        let problem = parse(text.as_bytes()).unwrap_err();
        assert!(!format!("{problem:?}").contains("Meier"), "{problem:?}");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
        let ours = parse(&bytes).is_ok();
        // Whatever we take, serde_json takes too.
        prop_assert!(!ours || serde_json::from_slice::<Value>(&bytes).is_ok());
    }

    #[test]
    fn arbitrary_jsonish_text_reads_as_serde_json_reads_it(text in r#"[\[\]{}:,"\\ua0-9eE.+\- tfn]{0,40}"#) {
        if let Ok(value) = parse(text.as_bytes()) {
            prop_assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
        }
    }
}

#[test]
fn pretty_changes_white_space_alone() {
    for (plain, lines) in [
        (r#"{}"#, "{}"),
        (r#"{"a":[]}"#, "{\n  \"a\": []\n}"),
        (
            r#"{"a":[1.50,{"b":"c"}],"d":{}}"#,
            "{\n  \"a\": [\n    1.50,\n    {\n      \"b\": \"c\"\n    }\n  ],\n  \"d\": {}\n}",
        ),
        (r#"{"a":"{,:\\\" }"}"#, "{\n  \"a\": \"{,:\\\\\\\" }\"\n}"),
    ] {
        let pretty = pretty(plain.as_bytes());
        assert_eq!(std::str::from_utf8(&pretty).unwrap(), lines);
        assert_eq!(super::pretty(&pretty), pretty, "twice is once");
    }
}
