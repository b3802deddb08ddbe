//! JSON Patch (RFC 6902).

use super::*;

/// The resource after a JSON Patch, as text, or the sentence it is refused with.
fn json_patched(resource: &str, patch: &str) -> String {
    let applied = Patch::of_json(&value(patch))
        .map_err(|problems| problems.into_iter().next().unwrap())
        .and_then(|patch| patch.apply(loaded(), value(resource)));
    applied.map_or_else(|problem| problem.text.into_owned(), |after| after.to_string())
}

#[test]
fn json_patch_does_what_rfc_6902_says_and_keeps_order_and_digits() {
    const BEFORE: &str = r#"{"resourceType":"Basic","id":"x","a":[1,2.50],"b":{"c":1.0,"d":2},"e~/f":0.10}"#;
    for (patch, after) in [
        (r#"[]"#, BEFORE),
        (
            r#"[{"op":"add","path":"/a/-","value":3.00}]"#,
            r#"{"resourceType":"Basic","id":"x","a":[1,2.50,3.00],"b":{"c":1.0,"d":2},"e~/f":0.10}"#,
        ),
        (
            r#"[{"op":"add","path":"/a/0","value":[]},{"op":"add","path":"/a/3","value":4}]"#,
            r#"{"resourceType":"Basic","id":"x","a":[[],1,2.50,4],"b":{"c":1.0,"d":2},"e~/f":0.10}"#,
        ),
        (
            r#"[{"op":"remove","path":"/a"}]"#,
            r#"{"resourceType":"Basic","id":"x","b":{"c":1.0,"d":2},"e~/f":0.10}"#,
        ),
        (
            r#"[{"op":"replace","path":"/b/c","value":null,"extra":1}]"#,
            r#"{"resourceType":"Basic","id":"x","a":[1,2.50],"b":{"c":null,"d":2},"e~/f":0.10}"#,
        ),
        (
            r#"[{"op":"move","from":"/a/1","path":"/b/c"},{"op":"copy","from":"/e~0~1f","path":"/g"}]"#,
            r#"{"resourceType":"Basic","id":"x","a":[1],"b":{"c":2.50,"d":2},"e~/f":0.10,"g":0.10}"#,
        ),
        (
            r#"[{"op":"test","path":"/b","value":{"d":2.0,"c":1e0}},{"op":"test","path":"/a/1","value":25E-1}]"#,
            BEFORE,
        ),
    ] {
        assert_eq!(json_patched(BEFORE, patch), after, "{patch}");
    }
}

#[test]
fn a_json_patch_that_cannot_be_done_says_which_operation_and_quotes_nothing() {
    const BEFORE: &str = r#"{"resourceType":"Basic","id":"x","meta":{"versionId":"1"},"a":["secret"]}"#;
    for (patch, said) in [
        (r#"{}"#, "A JSON Patch is a list of operations."),
        (
            r#"[{"op":"add","path":"/secret/b","value":1}]"#,
            "Operation 1: its path leads nowhere in the resource.",
        ),
        (r#"[{"op":"add","path":"/a/2","value":1}]"#, "Operation 1: its path leads nowhere in the resource."),
        (
            r#"[{"op":"add","path":"/a/00","value":1}]"#,
            "Operation 1: its path leads nowhere in the resource.",
        ),
        (
            r#"[{"op":"add","path":"/a/0/b","value":1}]"#,
            "Operation 1: its path leads nowhere in the resource.",
        ),
        (r#"[{"op":"remove","path":"/a/-"}]"#, "Operation 1: its path leads nowhere in the resource."),
        (
            r#"[{"op":"replace","path":"/b","value":1}]"#,
            "Operation 1: its path leads nowhere in the resource.",
        ),
        (
            r#"[{"op":"copy","path":"/b","from":"/c"}]"#,
            "Operation 1: its from leads nowhere in the resource.",
        ),
        (r#"[{"op":"move","path":"/a/0","from":"/a"}]"#, "Operation 1: it moves an element into itself."),
        (
            r#"[{"op":"test","path":"/a/0","value":"secret"},{"op":"test","path":"/a/0","value":"x"}]"#,
            "Operation 2: the test failed.",
        ),
        (
            r#"[{"op":"secret","path":""}]"#,
            "Operation 1: its op is none of add, remove, replace, move, copy and test.",
        ),
        (r#"[{"op":"add","path":""}]"#, "Operation 1: it needs a value."),
        (
            r#"[{"op":"remove","path":"a"}]"#,
            "Operation 1: it holds what is no JSON Pointer of at most 64 steps.",
        ),
        (
            r#"[{"op":"remove","path":"/~2"}]"#,
            "Operation 1: it holds what is no JSON Pointer of at most 64 steps.",
        ),
        (r#"[{"op":"remove"}]"#, "Operation 1: it needs a path, which is a JSON Pointer."),
        (r#"[{"op":"move","path":"/b"}]"#, "Operation 1: it needs a from, which is a JSON Pointer."),
    ] {
        assert_eq!(json_patched(BEFORE, patch), said, "{patch}");
    }
}

#[test]
fn a_patch_leaves_alone_what_only_the_server_sets() {
    const BEFORE: &str =
        r#"{"resourceType":"Basic","id":"x","meta":{"versionId":"1","lastUpdated":"2024-01-01T00:00:00Z"}}"#;
    for patch in [
        r#"[{"op":"replace","path":"/id","value":"y"}]"#,
        r#"[{"op":"remove","path":"/id"}]"#,
        r#"[{"op":"replace","path":"/resourceType","value":"Patient"}]"#,
        r#"[{"op":"replace","path":"/meta/versionId","value":"2"}]"#,
        r#"[{"op":"remove","path":"/meta"}]"#,
        r#"[{"op":"remove","path":"/meta/lastUpdated"}]"#,
        r#"[{"op":"replace","path":"","value":{"resourceType":"Basic"}}]"#,
        r#"[{"op":"replace","path":"","value":null}]"#,
    ] {
        let said = "A patch changes neither resourceType, id, meta.versionId nor meta.lastUpdated.";
        assert_eq!(json_patched(BEFORE, patch), said, "{patch}");
    }
    let tagged = json_patched(BEFORE, r#"[{"op":"add","path":"/meta/tag","value":[{"code":"t"}]}]"#);
    assert!(tagged.contains(r#""tag":[{"code":"t"}]"#), "{tagged}");
}

#[test]
fn patches_are_bounded() {
    let remove = json!({"op": "test", "path": "/id", "value": "x"});
    let many = |count: usize| Patch::of_json(&Value::Array(vec![remove.clone(); count]));
    assert!(many(OPERATIONS_MAX).is_ok());
    assert_eq!(many(OPERATIONS_MAX + 1).err().unwrap()[0].code, IssueCode::TooCostly);

    // A thousand doublings would be more bytes than there are.
    let doubling = vec![json!({"op": "copy", "from": "/a", "path": "/a/-"}); OPERATIONS_MAX];
    let patch = Patch::of_json(&Value::Array(doubling)).ok().unwrap();
    let resource = json!({"resourceType": "Basic", "id": "x", "a": ["0123456789"]});
    let problem = patch.apply(loaded(), resource.clone()).unwrap_err();
    assert!(matches!(problem.code, IssueCode::TooCostly | IssueCode::TooLong), "{problem}");
    let wide = json!([{"op": "add", "path": "/b", "value": "a".repeat(1024 * 1024)}]);
    let mut wide = wide.as_array().unwrap().clone();
    wide.extend((0..16).map(|n| json!({"op": "copy", "from": "/b", "path": format!("/c{n}")})));
    let problem = Patch::of_json(&Value::Array(wide)).ok().unwrap().apply(loaded(), resource.clone());
    assert_eq!(problem.unwrap_err().text, "Operation 17: the patch copies more than 16 MiB.");

    let nested = |depth: usize| {
        let value = (0..depth).fold(json!(1), |inner, _| json!([inner]));
        let patch = json!([{"op": "add", "path": "/b", "value": value}]);
        Patch::of_json(&patch).ok().unwrap().apply(loaded(), resource.clone())
    };
    assert!(nested(63).is_ok());
    assert_eq!(nested(64).unwrap_err().code, IssueCode::TooLong);
}

proptest! {
    #[test]
    fn no_pointer_panics(path in "[/~a0-9-]{0,20}", op in "(add|remove|replace|move|copy|test)") {
        let patch = json!([{"op": op, "path": path, "from": "/name/0", "value": 1}]);
        if let Ok(patch) = Patch::of_json(&patch) {
            let _patched = patch.apply(loaded(), jane());
        }
    }
}
