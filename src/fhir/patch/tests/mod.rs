//! Patches of both forms, and changes of meta.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod fhirpath_patch;
mod json_patch;

use proptest::prelude::*;
use serde_json::json;

use super::super::definitions::loaded;
use super::super::json::parse;
use super::*;

fn value(text: &str) -> Value {
    parse(text.as_bytes()).unwrap()
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
