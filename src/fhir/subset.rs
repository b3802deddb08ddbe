//! `_summary` and `_elements`: less than the whole of a resource (FHIR R4 search.html#summary, #elements).
//!
//! May import only std, `serde_json` and what stands beside it in `fhir`.
//!
//! What is cut is tagged SUBSETTED, so that nobody takes it for the whole and writes it back.

use serde_json::{Map, Value, json};

use super::definitions::{Definitions, Element, Shape, Type, TypeKind};
use super::json::to_bytes;
use super::kinds::ResourceType;
use super::outcome::{IssueCode, Problem};

/// The most elements one `_elements` names.
pub const ELEMENTS_MAX: usize = 100;

/// How much of each resource is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Subset {
    /// All of it.
    #[default]
    Whole,
    /// `_summary=true`: what R4 marks as summary, what must be there and what changes the meaning of the rest.
    Summary,
    /// `_summary=text`: the narrative, id, meta, and what must be there.
    Text,
    /// `_summary=data`: all but the narrative.
    Data,
    /// `_elements`: these, id, meta, what must be there and what changes the meaning of the rest.
    Elements(Vec<String>),
}

impl Subset {
    /// What decoded parameters ask for. `_summary=count` is no subset and left to the search.
    ///
    /// # Errors
    /// A value that is none, a parameter twice, or both at once.
    pub fn parse(pairs: &[(String, String)]) -> Result<Self, Problem> {
        let wrong = |text: &'static str| Problem::error(IssueCode::Value, text).by("subset");
        let mut found = None;
        for (name, value) in pairs {
            let subset = match (name.as_str(), value.as_str()) {
                ("_summary", "true") => Self::Summary,
                ("_summary", "text") => Self::Text,
                ("_summary", "data") => Self::Data,
                ("_summary", "false" | "count") => Self::Whole,
                ("_summary", _) => return Err(wrong("_summary: expected true, text, data, count or false.")),
                ("_elements", list) => Self::Elements(
                    elements(list)
                        .ok_or_else(|| wrong("_elements: expected at most 100 names of elements."))?,
                ),
                _ => continue,
            };
            if found.replace(subset).is_some() {
                return Err(wrong("One _summary or one _elements, and not both."));
            }
        }
        Ok(found.unwrap_or_default())
    }

    /// The value of its parameter, for links: name and value.
    #[must_use]
    pub fn parameter(&self) -> Option<(&'static str, String)> {
        Some(match self {
            Self::Whole => return None,
            Self::Summary => ("_summary", "true".to_owned()),
            Self::Text => ("_summary", "text".to_owned()),
            Self::Data => ("_summary", "data".to_owned()),
            Self::Elements(names) => ("_elements", names.join(",")),
        })
    }

    /// The subset of a resource in JSON; what is no resource comes back as it is.
    #[must_use]
    pub fn of(&self, definitions: &Definitions, json: Vec<u8>) -> Vec<u8> {
        if *self == Self::Whole {
            return json;
        }
        let Ok(Value::Object(object)) = serde_json::from_slice(&json) else { return json };
        let named = object.get("resourceType").and_then(Value::as_str).and_then(ResourceType::from_name);
        let Some((kind, definition)) = named.and_then(|kind| Some((kind, definitions.resource(kind)?)))
        else {
            return json;
        };
        let mut cut = Map::new();
        for (name, value) in object {
            let element = definition
                .property(name.strip_prefix('_').unwrap_or(&name))
                .and_then(|property| Some((property, definition.element(property)?)));
            match element {
                _ if matches!(name.as_str(), "resourceType" | "id" | "meta") => {
                    cut.insert(name, value);
                }
                Some((property, element)) if self.keeps(kind, element) => {
                    let inner = match (self, property.shape) {
                        (Self::Summary, Shape::Complex(id)) => definitions.get(id),
                        _ => None,
                    };
                    let value =
                        inner.map_or_else(|| value.clone(), |inner| summary(definitions, inner, &value));
                    cut.insert(name, value);
                }
                _ => {}
            }
        }
        tag(&mut cut);
        to_bytes(&Value::Object(cut))
    }

    fn keeps(&self, kind: ResourceType, element: &Element) -> bool {
        match self {
            Self::Whole => true,
            Self::Summary => element.summary || element.required || element.modifier,
            Self::Text => &*element.name == "text" || element.required,
            Self::Data => &*element.name != "text",
            Self::Elements(names) => {
                let asked = names.iter().any(|name| {
                    let name = match name.split_once('.') {
                        Some((of, rest)) if of == kind.name() => rest,
                        Some(_) => return false,
                        None => name,
                    };
                    *name == *element.name
                });
                asked || element.required || element.modifier
            }
        }
    }
}

/// The names of an `_elements`: base elements, with or without their type before them.
fn elements(list: &str) -> Option<Vec<String>> {
    let is_name = |name: &str| {
        let plain = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric());
        name.split('.').count() <= 2 && name.split('.').all(plain)
    };
    let names: Vec<String> = list.split(',').map(|name| name.trim().to_owned()).collect();
    (names.len() <= ELEMENTS_MAX && names.iter().all(|name| is_name(name))).then_some(names)
}

/// The summary of an element: of a backbone its summary members, of a datatype all of it.
fn summary(definitions: &Definitions, kind: &Type, value: &Value) -> Value {
    if kind.kind != TypeKind::Backbone {
        return value.clone();
    }
    match value {
        Value::Array(items) => items.iter().map(|item| summary(definitions, kind, item)).collect(),
        Value::Object(object) => {
            let mut cut = Map::new();
            for (name, inner) in object {
                let Some(property) = kind.property(name.strip_prefix('_').unwrap_or(name)) else { continue };
                if !kind.element(property).is_some_and(|element| element.summary || element.required) {
                    continue;
                }
                let deeper = match property.shape {
                    Shape::Complex(id) => definitions.get(id),
                    _ => None,
                };
                let inner =
                    deeper.map_or_else(|| inner.clone(), |deeper| summary(definitions, deeper, inner));
                cut.insert(name.clone(), inner);
            }
            Value::Object(cut)
        }
        other => other.clone(),
    }
}

/// Says in `meta.tag` that this is not the whole (FHIR R4 search.html#subsetted).
fn tag(resource: &mut Map<String, Value>) {
    const SYSTEM: &str = "http://terminology.hl7.org/CodeSystem/v3-ObservationValue";
    let meta = resource.entry("meta").or_insert_with(|| json!({}));
    let Some(meta) = meta.as_object_mut() else { return };
    let tags = meta.entry("tag").or_insert_with(|| json!([]));
    let Some(tags) = tags.as_array_mut() else { return };
    if !tags.iter().any(|tag| tag.get("code").and_then(Value::as_str) == Some("SUBSETTED")) {
        tags.push(json!({ "system": SYSTEM, "code": "SUBSETTED", "display": "subsetted" }));
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::super::definitions::loaded;
    use super::*;

    fn cut(subset: &Subset, resource: &Value) -> Value {
        serde_json::from_slice(&subset.of(loaded(), resource.to_string().into_bytes())).unwrap()
    }

    fn members(subset: &Subset, resource: &Value) -> Vec<String> {
        cut(subset, resource).as_object().unwrap().keys().cloned().collect()
    }

    #[test]
    fn each_subset_keeps_what_it_should_and_says_so() {
        let observation = json!({
            "resourceType": "Observation", "id": "x", "meta": {"versionId": "1"},
            "implicitRules": "urn:x", "text": {"status": "generated"}, "contained": [{"resourceType": "Basic"}],
            "modifierExtension": [{"url": "u"}], "status": "final", "_status": {"id": "s"}, "code": {"text": "c"},
            "valueQuantity": {"value": 1.50}, "note": [{"text": "n"}], "component": [{"code": {}}],
            "referenceRange": [{"text": "r"}]
        });
        let elements = |names: &[&str]| Subset::Elements(names.iter().map(|&name| name.to_owned()).collect());
        for (subset, expected) in [
            (
                Subset::Summary,
                &[
                    "resourceType",
                    "id",
                    "meta",
                    "implicitRules",
                    "modifierExtension",
                    "status",
                    "_status",
                    "code",
                    "valueQuantity",
                    "component",
                ][..],
            ),
            (Subset::Text, &["resourceType", "id", "meta", "text", "status", "_status", "code"]),
            (
                elements(&["note", "Observation.value", "Patient.referenceRange", "nonsense"]),
                &[
                    "resourceType",
                    "id",
                    "meta",
                    "implicitRules",
                    "modifierExtension",
                    "status",
                    "_status",
                    "code",
                    "valueQuantity",
                    "note",
                ],
            ),
        ] {
            assert_eq!(members(&subset, &observation), expected, "{subset:?}");
            let tag = cut(&subset, &observation)["meta"]["tag"][0]["code"].clone();
            assert_eq!(tag, "SUBSETTED");
        }
        let data = cut(&Subset::Data, &observation);
        assert_eq!((data.get("text"), data["note"][0]["text"].as_str()), (None, Some("n")));
        let digits = Subset::Data
            .of(loaded(), br#"{"resourceType":"Observation","valueQuantity":{"value":1.50}}"#.to_vec());
        assert!(String::from_utf8(digits).unwrap().contains("1.50"), "digits stay");
        let whole = Subset::Whole.of(loaded(), b" {\"resourceType\" : \"Basic\"}".to_vec());
        assert_eq!(whole, b" {\"resourceType\" : \"Basic\"}");
    }

    #[test]
    fn a_summary_reaches_into_backbones() {
        let patient = json!({
            "resourceType": "Patient", "id": "x", "meta": {"versionId": "1", "tag": [{"code": "SUBSETTED"}]},
            "link": [{"id": "l", "other": {"reference": "Patient/y", "display": "d"}, "type": "refer"}],
            "contact": [{"gender": "male"}]
        });
        let summary = cut(&Subset::Summary, &patient);
        assert_eq!(
            summary["link"],
            json!([{"other": {"reference": "Patient/y", "display": "d"}, "type": "refer"}])
        );
        assert_eq!(summary.get("contact"), None);
        assert_eq!(summary["meta"]["tag"].as_array().unwrap().len(), 1, "tagged once");
    }

    #[test]
    fn parameters_are_read_and_written() {
        let parse = |query: &[(&str, &str)]| {
            let pairs: Vec<_> = query.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
            Subset::parse(&pairs)
        };
        assert_eq!(parse(&[("x", "y"), ("_summary", "text")]), Ok(Subset::Text));
        assert_eq!(parse(&[("_summary", "count")]), Ok(Subset::Whole));
        let two = parse(&[("_elements", "a, B.c")]).unwrap();
        assert_eq!(two.parameter(), Some(("_elements", "a,B.c".to_owned())));
        for wrong in [
            &[("_summary", "yes")][..],
            &[("_elements", "")],
            &[("_elements", "a b")],
            &[("_elements", "a.b.c")],
            &[("_summary", "true"), ("_summary", "true")],
            &[("_summary", "true"), ("_elements", "a")],
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
        let many = |count: usize| parse(&[("_elements", &vec!["a"; count].join(","))]).is_ok();
        assert!(many(ELEMENTS_MAX) && !many(ELEMENTS_MAX + 1));
    }
}
