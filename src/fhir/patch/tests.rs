#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use proptest::prelude::*;
use serde_json::json;

use super::super::definitions::loaded;
use super::super::json::parse;
use super::*;

fn value(text: &str) -> Value {
    parse(text.as_bytes()).unwrap()
}

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

/// An operation of a FHIRPath Patch.
fn operation(parts: &[Value]) -> Value {
    json!({"name": "operation", "part": parts})
}

fn code(kind: &str) -> Value {
    json!({"name": "type", "valueCode": kind})
}

fn text(name: &str, text: &str) -> Value {
    json!({"name": name, "valueString": text})
}

fn number(name: &str, number: u64) -> Value {
    json!({"name": name, "valueInteger": number})
}

fn path_patched(resource: &Value, operations: &[Value]) -> Result<Value, String> {
    let parameters = json!({"resourceType": "Parameters", "parameter": operations});
    let patch = Patch::of_parameters(&parameters).map_err(|problems| problems[0].text.to_string())?;
    patch.apply(loaded(), resource.clone()).map_err(|problem| problem.text.into_owned())
}

fn jane() -> Value {
    json!({
        "resourceType": "Patient", "id": "x",
        "name": [{"use": "official", "family": "Doe", "given": ["Jane", "Q"], "_given": [null, {"id": "q"}]},
                 {"use": "nickname", "given": ["J"]}],
        "birthDate": "1970-01-01", "_birthDate": {"id": "b"}, "maritalStatus": {"text": "m"},
        "deceasedBoolean": false, "active": true
    })
}

#[test]
fn fhirpath_patch_adds_inserts_deletes_replaces_and_moves() {
    let value = |value: Value| {
        let mut part = json!({"name": "value"});
        part.as_object_mut().unwrap().extend(value.as_object().unwrap().clone());
        part
    };
    type Change = fn(&mut Value);
    let cases: Vec<(&str, Vec<Value>, Change)> = vec![
        (
            "add to a list",
            vec![
                code("add"),
                text("path", "Patient.name[0]"),
                text("name", "given"),
                value(json!({"valueString": "R"})),
            ],
            |p| {
                p["name"][0]["given"] = json!(["Jane", "Q", "R"]);
                p["name"][0]["_given"] = json!([null, {"id": "q"}, null]);
            },
        ),
        (
            "add what is not there",
            vec![
                code("add"),
                text("path", "Patient"),
                text("name", "gender"),
                value(json!({"valueCode": "female"})),
            ],
            |p| p["gender"] = json!("female"),
        ),
        (
            "add a choice",
            vec![
                code("add"),
                text("path", "Patient"),
                text("name", "multipleBirth"),
                value(json!({"valueInteger": 2})),
            ],
            |p| p["multipleBirthInteger"] = json!(2),
        ),
        (
            "add a backbone in parts",
            vec![
                code("add"),
                text("path", "Patient"),
                text("name", "contact"),
                json!({"name": "value", "part": [
                    {"name": "name", "valueHumanName": {"text": "a"}},
                    {"name": "telecom", "valueContactPoint": {"value": "1"}},
                    {"name": "telecom", "valueContactPoint": {"value": "2"}},
                ]}),
            ],
            |p| p["contact"] = json!([{"name": {"text": "a"}, "telecom": [{"value": "1"}, {"value": "2"}]}]),
        ),
        (
            "insert",
            vec![
                code("insert"),
                text("path", "Patient.name[0].given"),
                number("index", 1),
                value(json!({"valueString": "P"})),
            ],
            |p| {
                p["name"][0]["given"] = json!(["Jane", "P", "Q"]);
                p["name"][0]["_given"] = json!([null, null, {"id": "q"}]);
            },
        ),
        (
            "insert into a list that is not there",
            vec![
                code("insert"),
                text("path", "Patient.identifier"),
                number("index", 0),
                value(json!({"valueIdentifier": {"value": "1"}})),
            ],
            |p| p["identifier"] = json!([{"value": "1"}]),
        ),
        (
            "delete a primitive with its companion",
            vec![code("delete"), text("path", "Patient.birthDate")],
            |p| {
                p.as_object_mut().unwrap().shift_remove("birthDate");
                p.as_object_mut().unwrap().shift_remove("_birthDate");
            },
        ),
        ("delete what is not there", vec![code("delete"), text("path", "Patient.photo[0]")], |_| {}),
        (
            "delete by a condition",
            vec![code("delete"), text("path", "Patient.name.where(use = 'nickname')")],
            |p| {
                p["name"].as_array_mut().unwrap().remove(1);
            },
        ),
        (
            "delete the last member of an object, and so the object",
            vec![code("delete"), text("path", "Patient.maritalStatus.text")],
            |p| {
                p.as_object_mut().unwrap().shift_remove("maritalStatus");
            },
        ),
        ("delete from a list", vec![code("delete"), text("path", "Patient.name.last().given[0]")], |p| {
            p["name"][1].as_object_mut().unwrap().shift_remove("given");
        }),
        (
            "replace",
            vec![
                code("replace"),
                text("path", "Patient.birthDate"),
                value(json!({"valueDate": "1971-01-01"})),
            ],
            |p| {
                p["birthDate"] = json!("1971-01-01");
                p.as_object_mut().unwrap().shift_remove("_birthDate");
            },
        ),
        (
            "replace in a list",
            vec![
                code("replace"),
                text("path", "Patient.name.first().given[1]"),
                value(json!({"valueString": "R"})),
            ],
            |p| {
                p["name"][0]["given"] = json!(["Jane", "R"]);
                p["name"][0].as_object_mut().unwrap().shift_remove("_given");
            },
        ),
        (
            "replace a choice by another",
            vec![code("replace"), text("path", "Patient.deceased"), value(json!({"valueDateTime": "2020"}))],
            |p| {
                p.as_object_mut().unwrap().shift_remove("deceasedBoolean");
                p["deceasedDateTime"] = json!("2020");
            },
        ),
        (
            "move",
            vec![
                code("move"),
                text("path", "Patient.name[0].given"),
                number("source", 1),
                number("destination", 0),
            ],
            |p| {
                p["name"][0]["given"] = json!(["Q", "Jane"]);
                p["name"][0]["_given"] = json!([{"id": "q"}, null]);
            },
        ),
    ];
    for (what, parts, change) in cases {
        let mut expected = jane();
        change(&mut expected);
        assert_eq!(path_patched(&jane(), &[operation(&parts)]), Ok(expected), "{what}");
    }
    // What replaces stands where the other stood.
    let parts = [code("replace"), text("path", "Patient.deceased"), value(json!({"valueDateTime": "2020"}))];
    let text = path_patched(&jane(), &[operation(&parts)]).unwrap().to_string();
    assert!(text.contains(r#""deceasedDateTime":"2020","active":true"#), "{text}");
}

#[test]
fn a_fhirpath_patch_that_cannot_be_done_says_why() {
    let string = json!({"name": "value", "valueString": "v"});
    let path = |path: &str| text("path", path);
    let unserved = "Operation 1: its path is of no form that is served: Type.element, [n], .first(), .last() and .where(element = literal).";
    let cases: Vec<(Vec<Value>, &str)> = vec![
        (vec![code("delete"), path("Patient.name")], "Operation 1: its path leads to more than one element."),
        (vec![code("delete"), path("Patient.colour")], "Operation 1: R4 defines no such element there."),
        (vec![code("delete"), path("Patient")], "Operation 1: it deletes the resource; use DELETE."),
        (
            vec![code("delete"), path("Person.name")],
            "Operation 1: its path starts at another type than the resource's.",
        ),
        (vec![code("delete"), path("Patient.name.exists()")], unserved),
        (vec![code("delete"), path("Patient.name.where(use='a' or true)")], unserved),
        (vec![code("delete"), path("Patient.descendants()")], unserved),
        (vec![code("delete"), path("name")], unserved),
        (vec![code("delete"), path("Patient.name[-1]")], unserved),
        (
            vec![code("delete"), path("Patient.birthDate.extension[0]")],
            "Operation 1: its path goes on below a primitive, which is not served.",
        ),
        (
            vec![code("replace"), path("Patient.gender"), json!({"name": "value", "valueCode": "male"})],
            "Operation 1: its path leads to no element.",
        ),
        (
            vec![code("replace"), path("Patient"), string.clone()],
            "Operation 1: it replaces the resource; use PUT.",
        ),
        (
            vec![code("replace"), path("Patient.deceased"), string.clone()],
            "Operation 1: its value is not of a type the element can have.",
        ),
        (
            vec![
                code("add"),
                path("Patient"),
                text("name", "active"),
                json!({"name": "value", "valueBoolean": false}),
            ],
            "Operation 1: the element is there and does not repeat; use replace.",
        ),
        (
            vec![code("add"), path("Patient"), text("name", "maritalStatus"), string.clone()],
            "Operation 1: its value is not of a type the element can have.",
        ),
        (
            vec![code("insert"), path("Patient.birthDate"), number("index", 0), string.clone()],
            "Operation 1: its path leads to an element that does not repeat.",
        ),
        (
            vec![code("insert"), path("Patient.name[0].given"), number("index", 3), string.clone()],
            "Operation 1: its index is beyond the end of the list.",
        ),
        (
            vec![code("move"), path("Patient.name"), number("source", 0), number("destination", 2)],
            "Operation 1: its index is beyond the end of the list.",
        ),
        (vec![code("add"), path("Patient")], "Operation 1: it needs a name, which is a valueString."),
        (
            vec![code("erase"), path("Patient")],
            "Operation 1: its type is none of add, insert, delete, replace and move.",
        ),
        (vec![code("delete"), path("Patient"), path("Patient")], "Operation 1: it has a part twice."),
        (vec![code("delete"), text("where", "x")], "Operation 1: it has a part that no FHIRPath Patch has."),
        (vec![code("delete")], "Operation 1: it needs a path, which is a valueString."),
    ];
    for (parts, said) in cases {
        assert_eq!(path_patched(&jane(), &[operation(&parts)]), Err(said.to_owned()), "{parts:?}");
    }
    let tampering = [code("replace"), path("Patient.id"), json!({"name": "value", "valueId": "y"})];
    assert!(
        path_patched(&jane(), &[operation(&tampering)]).unwrap_err().starts_with("A patch changes neither")
    );
}

#[test]
fn meta_lists_are_added_to_and_taken_from_by_system_and_code() {
    let before = json!({"resourceType": "Basic", "id": "x", "meta": {"versionId": "1", "tag": [{"system": "s", "code": "a"}]}});
    let change = |meta: Value, change| {
        let parameters = json!({"parameter": [{"name": "meta", "valueMeta": meta}]});
        let patch = Patch::of_meta(&parameters, change).map_err(|problem| problem.text)?;
        Ok::<_, std::borrow::Cow<'static, str>>(
            patch.apply(loaded(), before.clone()).unwrap()["meta"].clone(),
        )
    };
    let given =
        json!({"tag": [{"system": "s", "code": "a", "display": "A"}, {"code": "b"}], "profile": ["p"]});
    assert_eq!(
        change(given, MetaChange::Add),
        Ok(json!({"versionId": "1", "tag": [{"system": "s", "code": "a"}, {"code": "b"}], "profile": ["p"]}))
    );
    let gone = json!({"tag": [{"system": "s", "code": "a"}], "security": [{"code": "never"}]});
    assert_eq!(change(gone, MetaChange::Delete), Ok(json!({"versionId": "1"})));
    assert!(change(json!({"versionId": "2"}), MetaChange::Add).is_err());
    assert!(Patch::of_meta(&json!({}), MetaChange::Add).is_err());
}

proptest! {
    #[test]
    fn no_path_panics(path in "(Patient|Observation)?[a-z.\\[\\]()='0-9 ]{0,40}") {
        let _patched = path_patched(&jane(), &[operation(&[code("delete"), text("path", &path)])]);
    }

    #[test]
    fn no_pointer_panics(path in "[/~a0-9-]{0,20}", op in "(add|remove|replace|move|copy|test)") {
        let patch = json!([{"op": op, "path": path, "from": "/name/0", "value": 1}]);
        if let Ok(patch) = Patch::of_json(&patch) {
            let _patched = patch.apply(loaded(), jane());
        }
    }
}
