//! `id` and `meta`: stamped by the server on every version, and the security labels a version carries.
//!
//! FHIR R4 resource.html#Meta. May import only std, chrono, serde, `serde_json` and `fhir::kinds`.

use std::borrow::Cow;

use chrono::{DateTime, SecondsFormat, SubsecRound, Utc};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::kinds::LogicalId;

/// The instant as `meta.lastUpdated` shows it: cut to milliseconds.
///
/// Keep this one beside the record, so that what a search compares is what the client sees.
#[must_use]
pub fn to_shown(at: DateTime<Utc>) -> DateTime<Utc> {
    at.trunc_subsecs(3)
}

/// An instant as FHIR writes it, in UTC with milliseconds.
#[must_use]
pub fn instant(at: DateTime<Utc>) -> String {
    to_shown(at).to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Sets `id`, `meta.versionId` and `meta.lastUpdated`; everything else stays.
///
/// `resourceType`, `id` and `meta` come first, and in `meta` the two. Extensions of the two elements
/// (`_versionId`, `_lastUpdated`) spoke of a value that is gone, and go with it.
pub fn stamp(resource: &mut Value, id: &LogicalId, version: u32, last_updated: DateTime<Utc>) {
    let Value::Object(object) = resource else { return };
    let mut old = std::mem::take(object);
    let kind = old.shift_remove("resourceType");
    old.shift_remove("id");
    let mut meta = Map::new();
    meta.insert("versionId".to_owned(), Value::from(version.to_string()));
    meta.insert("lastUpdated".to_owned(), Value::from(instant(last_updated)));
    if let Some(Value::Object(rest)) = old.shift_remove("meta") {
        let stamped = ["versionId", "lastUpdated", "_versionId", "_lastUpdated"];
        meta.extend(rest.into_iter().filter(|(name, _)| !stamped.contains(&name.as_str())));
    }
    if let Some(kind) = kind {
        object.insert("resourceType".to_owned(), kind);
    }
    object.insert("id".to_owned(), Value::from(id.as_str()));
    object.insert("meta".to_owned(), Value::Object(meta));
    object.extend(old);
}

/// The security labels of a resource, as `system|code`, in order.
///
/// A label without a system is `|code`. One without a code is `system|`, so that a policy sees that there
/// is a label it does not know.
#[must_use]
pub fn labels(resource: &Value) -> Vec<String> {
    let codings = resource.pointer("/meta/security").and_then(Value::as_array).into_iter().flatten();
    let text = |coding: &Value, name: &str| coding.get(name).and_then(Value::as_str).map(str::to_owned);
    codings
        .map(|coding| {
            let (system, code) = (text(coding, "system"), text(coding, "code"));
            label(system.as_deref(), code.as_deref())
        })
        .collect()
}

/// The same from JSON, reading `meta.security` and skipping all else without keeping it.
///
/// `None` if it is no JSON object or `meta.security` has another shape: then the caller must not release it.
#[must_use]
pub fn labels_in(json: &[u8]) -> Option<Vec<String>> {
    let envelope: Envelope<'_> = serde_json::from_slice(json).ok()?;
    let codings = envelope.meta.unwrap_or_default().security;
    Some(codings.iter().map(|c| label(c.system.as_deref(), c.code.as_deref())).collect())
}

fn label(system: Option<&str>, code: Option<&str>) -> String {
    format!("{}|{}", system.unwrap_or(""), code.unwrap_or(""))
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default)]
    meta: Option<Meta<'a>>,
}

#[derive(Default, Deserialize)]
struct Meta<'a> {
    #[serde(borrow, default)]
    security: Vec<Coding<'a>>,
}

#[derive(Deserialize)]
struct Coding<'a> {
    #[serde(borrow, default)]
    system: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    code: Option<Cow<'a, str>>,
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    fn stamped(json: &str) -> String {
        let mut resource: Value = serde_json::from_str(json).unwrap();
        let at = "2024-05-06T07:08:09.123999Z".parse().unwrap();
        stamp(&mut resource, &LogicalId::parse("x-1").unwrap(), 3, at);
        resource.to_string()
    }

    #[test]
    fn a_stamp_replaces_id_and_version_and_keeps_the_rest() {
        const META: &str = r#""versionId":"3","lastUpdated":"2024-05-06T07:08:09.123Z""#;
        for (before, after) in [
            (
                r#"{"resourceType":"Patient"}"#,
                format!(r#"{{"resourceType":"Patient","id":"x-1","meta":{{{META}}}}}"#),
            ),
            (
                r#"{"active":true,"meta":{"tag":[{"code":"t"}],"lastUpdated":"1999","profile":["p"],"versionId":"9","_lastUpdated":{"id":"q"},"security":[{"code":"R"}]},"id":"old","resourceType":"Patient","x":1.50}"#,
                format!(
                    r#"{{"resourceType":"Patient","id":"x-1","meta":{{{META},"tag":[{{"code":"t"}}],"profile":["p"],"security":[{{"code":"R"}}]}},"active":true,"x":1.50}}"#
                ),
            ),
            (
                r#"{"resourceType":"Basic","meta":7,"contained":[{"id":"c","meta":{"versionId":"1"}}]}"#,
                format!(
                    r#"{{"resourceType":"Basic","id":"x-1","meta":{{{META}}},"contained":[{{"id":"c","meta":{{"versionId":"1"}}}}]}}"#
                ),
            ),
            ("[1]", "[1]".to_owned()),
        ] {
            assert_eq!(stamped(before), after);
        }
    }

    #[test]
    fn stamping_twice_is_stamping_once() {
        let once = stamped(r#"{"a":1,"resourceType":"Basic","b":2}"#);
        assert_eq!(stamped(&once), once);
    }

    #[test]
    fn labels_are_system_and_code() {
        for (json, expected) in [
            (r#"{}"#, Some(&[][..])),
            (r#"{"meta":{}}"#, Some(&[])),
            (r#"{"meta":null}"#, Some(&[])),
            (
                r#"{"x":[{"security":[{"code":"no"}]}],"meta":{"security":[{"system":"s","code":"R"},{"code":"V"},{"system":"s"},{"display":"d"}]}}"#,
                Some(&["s|R", "|V", "s|", "|"]),
            ),
            (r#"{"meta":{"security":[{"code":"a\"b"}]}}"#, Some(&["|a\"b"])),
            (r#"{"meta":{"security":[{"code":1}]}}"#, None),
            (r#"{"meta":{"security":{"code":"R"}}}"#, None),
            (r#"{"meta":7}"#, None),
            (r#"{"meta":{"security":[]},"meta":{"security":[{"code":"R"}]}}"#, None),
            (r#"{"meta":{"#, None),
            ("", None),
        ] {
            let expected = expected.map(|labels| labels.iter().map(|&l| l.to_owned()).collect::<Vec<_>>());
            assert_eq!(labels_in(json.as_bytes()), expected, "{json}");
            if let Some(expected) = expected {
                assert_eq!(labels(&serde_json::from_str(json).unwrap()), expected, "{json}");
            }
        }
    }

    proptest! {
        #[test]
        fn the_fast_path_agrees_with_the_slow_one(codes in proptest::collection::vec(".{0,8}", 0..4)) {
            let codings: Vec<Value> = codes.iter().map(|code| serde_json::json!({"system": "s", "code": code})).collect();
            let resource = serde_json::json!({"id": "1", "meta": {"security": codings}, "n": 1.0});
            prop_assert_eq!(labels_in(resource.to_string().as_bytes()), Some(labels(&resource)));
        }
    }
}
