//! Codes, against the `ValueSet` an element is bound to with strength required (FHIR R4 terminologies.html).

use serde_json::{Map, Value};

use super::super::definitions::Element;
use super::report::Place;
use super::{Walk, rules};

impl Walk<'_> {
    /// A `code`: its system is implied.
    pub(super) fn code(&mut self, at: &Place<'_>, code: &str, element: &Element) {
        let set = element.binding.and_then(|id| self.definitions.value_set(id));
        if set.is_some_and(|set| !set.allows_code(code)) {
            self.report.breach(rules::CODE_INVALID, at);
        }
    }

    /// A `CodeableConcept`: one of its codings must be from the set, text alone does not do.
    pub(super) fn concept(&mut self, at: &Place<'_>, concept: &Map<String, Value>, element: &Element) {
        let Some(set) = element.binding.and_then(|id| self.definitions.value_set(id)) else { return };
        let codings = concept.get("coding").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        if !codings.iter().any(|coding| set.allows_coding(text(coding, "system"), text(coding, "code"))) {
            self.report.breach(rules::CODE_INVALID, at);
        }
    }
}

fn text<'v>(coding: &'v Value, name: &str) -> &'v str {
    coding.get(name).and_then(Value::as_str).unwrap_or_default()
}
