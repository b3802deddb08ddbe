//! FHIRPath Patch.

use super::*;

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

proptest! {
    #[test]
    fn no_path_panics(path in "(Patient|Observation)?[a-z.\\[\\]()='0-9 ]{0,40}") {
        let _patched = path_patched(&jane(), &[operation(&[code("delete"), text("path", &path)])]);
    }
}
