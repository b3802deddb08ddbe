//! Primitive elements: a value, its companion with an underscore, or both (FHIR R4 json.html#primitive).

use serde_json::Value;

use super::super::definitions::{Element, Max};
use super::super::fhirpath::Spot;
use super::super::outcome::{IssueCode, Problem};
use super::super::primitive::Primitive;
use super::report::Place;
use super::xhtml::{self, Fault};
use super::{Scope, Walk, rules};

/// What stands in the object for one element.
#[derive(Clone, Copy)]
pub(super) struct Written<'v> {
    /// The member itself.
    pub(super) value: Option<&'v Value>,
    /// The member with the underscore: id and extensions.
    pub(super) companion: Option<&'v Value>,
}

impl Walk<'_> {
    pub(super) fn primitive(
        &mut self,
        at: &Place<'_>,
        primitive: Primitive,
        element: &Element,
        written: Written<'_>,
        scope: &Scope<'_>,
    ) {
        let parts = [written.value, written.companion];
        match element.max {
            Max::One => {
                if parts.iter().flatten().any(|part| part.is_array()) {
                    self.report.breach(rules::ARRAY_UNEXPECTED, at);
                } else if parts.iter().flatten().any(|part| part.is_null()) {
                    self.report.breach(rules::NULL, at);
                } else {
                    self.one(at, primitive, element, written, scope);
                }
            }
            Max::Many => self.many(at, primitive, element, written, scope),
        }
    }

    fn many(
        &mut self,
        at: &Place<'_>,
        primitive: Primitive,
        element: &Element,
        written: Written<'_>,
        scope: &Scope<'_>,
    ) {
        let mut length = None;
        for part in [written.value, written.companion].into_iter().flatten() {
            let Value::Array(items) = part else {
                return self.report.breach(rules::ARRAY_EXPECTED, at);
            };
            if items.is_empty() {
                return self.report.breach(rules::EMPTY_ARRAY, at);
            }
            if length.is_some_and(|length| length != items.len()) {
                return self.report.breach(rules::MISALIGNED, at);
            }
            length = Some(items.len());
        }
        for index in 0..length.unwrap_or(0) {
            if self.report.is_full() {
                return;
            }
            let at = at.item(index);
            // A null keeps the place where only the other array has something.
            match (item(written.value, index), item(written.companion, index)) {
                (None, None) => self.report.breach(rules::NULL, &at),
                (value, companion) => self.one(&at, primitive, element, Written { value, companion }, scope),
            }
        }
    }

    fn one(
        &mut self,
        at: &Place<'_>,
        primitive: Primitive,
        element: &Element,
        written: Written<'_>,
        scope: &Scope<'_>,
    ) {
        if let Some(companion) = written.companion {
            let Value::Object(object) = companion else {
                return self.report.breach(rules::NOT_AN_OBJECT, at);
            };
            if written.value.is_none() && object.len() == 1 && object.contains_key("id") {
                self.report.breach(rules::NO_CONTENT, at);
            }
            self.complex(at, object, self.definitions.companion, scope);
        }
        let Some(value) = written.value else { return };
        if !primitive.accepts(value) {
            let fits = matches!(
                (value, primitive),
                (Value::Bool(_), Primitive::Boolean)
                    | (
                        Value::Number(_),
                        Primitive::Decimal
                            | Primitive::Integer
                            | Primitive::PositiveInt
                            | Primitive::UnsignedInt
                    )
            ) || value.is_string();
            let code = if fits { IssueCode::Value } else { IssueCode::Structure };
            return self.report.add(at, |place| {
                Problem::error(code, primitive.expectation()).by(primitive.rule()).at(place)
            });
        }
        if !element.invariants.is_empty() {
            let spot = Spot::primitive(primitive, Some(value), written.companion);
            self.invariants(at, &element.invariants, spot, scope);
        }
        match (primitive, value) {
            (Primitive::Xhtml, Value::String(div)) => match xhtml::check(div) {
                Ok(()) => {}
                Err(Fault::Markup) => self.report.breach(rules::NARRATIVE, at),
                Err(Fault::Empty) => self.report.breach(rules::NARRATIVE_EMPTY, at),
            },
            (Primitive::Code, Value::String(code)) => self.code(at, code, element),
            _ => {}
        }
    }
}

fn item(part: Option<&Value>, index: usize) -> Option<&Value> {
    part?.as_array()?.get(index).filter(|item| !item.is_null())
}
