//! The part of `FHIRPath` that search parameters use to point at elements.
//!
//! Unions of `Type.a.b`, with `(Type.a as T)` or `.as(T)` for an element of several types, and
//! `.where(resolve() is T)` for a Reference. May import only std, `serde_json` and `fhir::kinds`.

use serde_json::Value;

use super::super::compartment::at_path;
use super::super::kinds::ResourceType;

/// Where a search parameter looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path(Vec<Alternative>);

/// One way of a union.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Alternative {
    /// Element names as JSON spells them, choices resolved: `valueQuantity`.
    names: Vec<String>,
    /// Only References to this type, as far as their text says.
    resolves_to: Option<ResourceType>,
}

impl Path {
    /// The path of an expression; `None` if it uses more of `FHIRPath` than stands above.
    pub(super) fn parse(kind: ResourceType, expression: &str) -> Option<Self> {
        expression
            .split('|')
            .map(|part| Alternative::parse(kind, part.trim()))
            .collect::<Option<_>>()
            .map(Self)
    }

    /// Calls `visit` with every value at the path, arrays walked through.
    pub(super) fn visit<'a>(&self, resource: &'a Value, visit: &mut dyn FnMut(&'a Value)) {
        for alternative in &self.0 {
            let names: Vec<&str> = alternative.names.iter().map(String::as_str).collect();
            at_path(resource, &names, &mut |value| {
                if alternative.resolves_to.is_none_or(|kind| names_type(value, kind)) {
                    visit(value);
                }
            });
        }
    }
}

impl Alternative {
    fn parse(kind: ResourceType, text: &str) -> Option<Self> {
        if let Some(inner) = text.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
            let (path, choice) = inner.split_once(" as ")?;
            return Self::parse(kind, path.trim())?.choosing(choice.trim());
        }
        let Some(open) = text.find('(') else { return Self::plain(kind, text) };
        let (head, call) = text.split_at_checked(open)?;
        let (path, function) = head.rsplit_once('.')?;
        let argument = call.strip_prefix('(')?.strip_suffix(')')?;
        let plain = Self::plain(kind, path)?;
        match function {
            "as" => plain.choosing(argument),
            "where" => {
                let target = argument.strip_prefix("resolve() is ")?;
                Some(Self { resolves_to: Some(ResourceType::from_name(target)?), ..plain })
            }
            _ => None,
        }
    }

    fn plain(kind: ResourceType, text: &str) -> Option<Self> {
        let names: Vec<String> =
            text.strip_prefix(kind.name())?.strip_prefix('.')?.split('.').map(str::to_owned).collect();
        let is_name = |name: &String| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric());
        names.iter().all(is_name).then_some(Self { names, resolves_to: None })
    }

    /// The same, of an element of several types the one of this type.
    fn choosing(mut self, choice: &str) -> Option<Self> {
        let mut letters = choice.chars();
        let first = letters.next().filter(char::is_ascii_alphabetic)?.to_ascii_uppercase();
        if !letters.clone().all(|c| c.is_ascii_alphanumeric()) {
            return None;
        }
        let last = self.names.last_mut()?;
        last.push(first);
        last.push_str(letters.as_str());
        Some(self)
    }
}

/// Whether a Reference names this type: by its address or, having none, by `Reference.type`.
fn names_type(value: &Value, kind: ResourceType) -> bool {
    match value.get("reference").and_then(Value::as_str) {
        Some(text) => {
            let path = text.split("/_history/").next().unwrap_or(text);
            path.rsplit('/').nth(1) == Some(kind.name())
        }
        None => value.get("type").and_then(Value::as_str) == Some(kind.name()),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::super::parameters;
    use super::*;
    use serde_json::json;

    fn at(kind: ResourceType, expression: &str, resource: &Value) -> Vec<Value> {
        let mut found = Vec::new();
        Path::parse(kind, expression).unwrap().visit(resource, &mut |value| found.push(value.clone()));
        found
    }

    #[test]
    fn every_form_finds_its_elements() {
        let to = |text: &str| json!({"reference": text});
        let resource = json!({
            "subject": to("Patient/1"), "valueQuantity": {"value": 1}, "onsetAge": 3,
            "participant": [{"actor": to("Patient/2")}, {"actor": to("https://x/Patient/4/_history/1")},
                {"actor": to("Group/3")}, {}, {"actor": {"type": "Patient"}}]
        });
        let kind = ResourceType::OBSERVATION;
        for (expression, expected) in [
            ("Observation.subject", vec![to("Patient/1")]),
            (
                "Observation.subject | Observation.participant.actor.where(resolve() is Group)",
                vec![to("Patient/1"), to("Group/3")],
            ),
            (
                "Observation.participant.actor.where(resolve() is Patient)",
                vec![to("Patient/2"), to("https://x/Patient/4/_history/1"), json!({"type": "Patient"})],
            ),
            ("(Observation.value as Quantity)", vec![json!({"value": 1})]),
            ("Observation.onset.as(Age)", vec![json!(3)]),
            ("Observation.nothing.here", vec![]),
        ] {
            assert_eq!(at(kind, expression, &resource), expected, "{expression}");
        }
    }

    #[test]
    fn other_expressions_are_none() {
        for expression in [
            "",
            "Patient.name",
            "Observation",
            "Observation.",
            "Observation..a",
            "Observation.a.where(b='c')",
            "Observation.a.exists() and Observation.b",
            "(Observation.a)",
            "(Observation.a as )",
            "Observation.a.as()",
            "Observation.a.where(resolve() is Nothing)",
            "Observation.a[0].b",
            "Observation.a |",
            "Observation.(a",
        ] {
            assert_eq!(Path::parse(ResourceType::OBSERVATION, expression), None, "{expression}");
        }
    }

    #[test]
    fn most_reference_parameters_of_r4_are_of_these_forms() {
        let (mut parsed, mut other) = (0, 0);
        for kind in ResourceType::all() {
            for parameter in
                parameters::of_type(kind).iter().filter(|p| p.kind == parameters::Kind::Reference)
            {
                match Path::parse(kind, parameter.expression) {
                    Some(_) => parsed += 1,
                    None => other += 1,
                }
            }
        }
        // The others ask for `relatedArtifact.where(type=..)` and `Bundle.entry[0]`.
        assert_eq!((parsed, other), (470, 47));
    }
}
