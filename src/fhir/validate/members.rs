//! The members of an object, against the definition of its type.

use serde_json::{Map, Value};

use super::super::definitions::{Element, Max, Property, Shape, Type, TypeId, TypeKind};
use super::super::fhirpath::Spot;
use super::primitives::Written;
use super::report::Place;
use super::{DEPTH_MAX, Role, Scope, Walk, rules};

impl<'d> Walk<'d> {
    /// An object of this type: every member known, every choice made once, everything required there.
    pub(super) fn object(
        &mut self,
        place: &Place<'_>,
        object: &Map<String, Value>,
        definition: &'d Type,
        scope: &Scope<'_>,
    ) {
        if scope.depth > DEPTH_MAX {
            return self.report.breach(rules::TOO_DEEP, place);
        }
        let scope = &scope.deeper();
        let companions = object.keys().any(|name| name.starts_with('_'));
        let mut seen = 0_u128;
        for (name, value) in object {
            if self.report.is_full() {
                return;
            }
            if name == "resourceType" && definition.kind == TypeKind::Resource {
                continue;
            }
            let plain = name.strip_prefix('_').unwrap_or(name);
            let found = definition.property(plain).and_then(|p| definition.element(p).map(|e| (p, e)));
            let Some((property, element)) = found else {
                self.report.breach_at_member(rules::UNKNOWN_ELEMENT, place, name);
                continue;
            };
            if plain.len() < name.len() && object.contains_key(plain) {
                // Looked at together with its value.
                continue;
            }
            let at = place.element(&element.name);
            let bit = 1 << property.element;
            if seen & bit != 0 {
                self.report.breach(rules::CHOICE, &at);
                continue;
            }
            seen |= bit;
            let written = if plain.len() < name.len() {
                Written { value: None, companion: Some(value) }
            } else {
                let companion = if companions { object.get(&format!("_{name}")) } else { None };
                Written { value: Some(value), companion }
            };
            self.member(&at, property, element, written, scope);
        }
        self.missing(place, definition, seen);
        self.invariants(place, &definition.invariants, Spot::complex(object, definition), scope);
    }

    fn missing(&mut self, place: &Place<'_>, definition: &Type, seen: u128) {
        let mut missing = definition.required & !seen;
        while missing != 0 {
            let first = missing.trailing_zeros();
            missing &= missing - 1;
            let element = usize::try_from(first).ok().and_then(|at| definition.elements.get(at));
            if let Some(element) = element {
                self.report.breach(rules::REQUIRED, &place.element(&element.name));
            }
        }
    }

    fn member(
        &mut self,
        at: &Place<'_>,
        property: &Property,
        element: &Element,
        written: Written<'_>,
        scope: &Scope<'_>,
    ) {
        if let Shape::Primitive(primitive) = property.shape {
            return self.primitive(at, primitive, element, written, scope);
        }
        let Written { value: Some(value), companion: None } = written else {
            return self.report.breach(rules::NO_COMPANION, at);
        };
        match (element.max, value) {
            (_, Value::Null) => self.report.breach(rules::NULL, at),
            (Max::One, Value::Array(_)) => self.report.breach(rules::ARRAY_UNEXPECTED, at),
            (Max::One, value) => self.value(at, property, element, value, scope),
            (Max::Many, Value::Array(items)) => {
                if items.is_empty() {
                    self.report.breach(rules::EMPTY_ARRAY, at);
                }
                for (index, item) in items.iter().enumerate() {
                    if self.report.is_full() {
                        return;
                    }
                    let at = at.item(index);
                    if item.is_null() {
                        self.report.breach(rules::NULL, &at);
                    } else {
                        self.value(&at, property, element, item, scope);
                    }
                }
            }
            (Max::Many, _) => self.report.breach(rules::ARRAY_EXPECTED, at),
        }
    }

    /// One object: a resource, or an element of a complex type.
    fn value(
        &mut self,
        at: &Place<'_>,
        property: &Property,
        element: &Element,
        value: &Value,
        scope: &Scope<'_>,
    ) {
        match property.shape {
            Shape::Primitive(_) => {}
            Shape::Resource => {
                let role = if *element.name == *"contained" {
                    Role::Contained(scope)
                } else {
                    Role::Entry { depth: scope.depth }
                };
                self.resource(at, value, role);
            }
            Shape::Complex(id) => {
                let Value::Object(object) = value else {
                    return self.report.breach(rules::NOT_AN_OBJECT, at);
                };
                self.complex(at, object, id, scope);
                if !element.invariants.is_empty()
                    && let Some(definition) = self.definitions.get(id)
                {
                    self.invariants(at, &element.invariants, Spot::complex(object, definition), scope);
                }
                if id == self.definitions.extension {
                    self.extension(at, object);
                } else if id == self.definitions.reference {
                    self.reference(at, object, property.targets, scope);
                } else if id == self.definitions.codeable_concept {
                    self.concept(at, object, element);
                }
            }
        }
    }

    pub(super) fn complex(
        &mut self,
        at: &Place<'_>,
        object: &Map<String, Value>,
        id: TypeId,
        scope: &Scope<'_>,
    ) {
        if object.is_empty() {
            return self.report.breach(rules::EMPTY_OBJECT, at);
        }
        if object.len() == 1 && object.contains_key("id") && id != self.definitions.companion {
            self.report.breach(rules::NO_CONTENT, at);
        }
        if let Some(definition) = self.definitions.get(id) {
            self.object(at, object, definition, scope);
        }
    }

    /// ext-1 of Extension.
    fn extension(&mut self, at: &Place<'_>, object: &Map<String, Value>) {
        let nested = object.contains_key("extension");
        let valued = object.keys().any(|name| name.strip_prefix('_').unwrap_or(name).starts_with("value"));
        if nested == valued {
            self.report.breach(rules::EXTENSION_CONTENT, at);
        }
    }
}
