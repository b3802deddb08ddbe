//! What expressions are about: places in a resource, and values that were computed.

use std::borrow::Cow;
use std::cmp::Ordering;

use serde_json::{Map, Value};

use super::super::definitions::{Definitions, Max, Property, Shape, Type, TypeKind};
use super::super::kinds::ResourceType;
use super::super::primitive::Primitive;
use super::moment;
use super::number::Number;

/// An element of a resource, or a resource: what stands there, and its type.
#[derive(Clone, Copy)]
pub struct Spot<'v> {
    pub(super) held: Held<'v>,
    /// The member with the underscore, of a primitive.
    pub(super) companion: Option<&'v Map<String, Value>>,
    pub(super) kind: Kind<'v>,
}

/// What stands at a [`Spot`].
#[derive(Clone, Copy)]
pub(super) enum Held<'v> {
    /// A primitive that has extensions alone.
    Nothing,
    Object(&'v Map<String, Value>),
    Leaf(&'v Value),
}

/// The type of a [`Spot`].
#[derive(Clone, Copy)]
pub(super) enum Kind<'v> {
    Complex(&'v Type),
    Primitive(Primitive),
}

impl<'v> Spot<'v> {
    /// An object of this type.
    #[must_use]
    pub const fn complex(object: &'v Map<String, Value>, kind: &'v Type) -> Self {
        Self { held: Held::Object(object), companion: None, kind: Kind::Complex(kind) }
    }

    /// A primitive: its value, its companion, or both.
    #[must_use]
    pub fn primitive(primitive: Primitive, value: Option<&'v Value>, companion: Option<&'v Value>) -> Self {
        Self {
            held: value.map_or(Held::Nothing, Held::Leaf),
            companion: companion.and_then(Value::as_object),
            kind: Kind::Primitive(primitive),
        }
    }

    /// The name of its type, such as `Patient`, `Patient.contact` or `date`.
    pub(crate) fn type_name(&self) -> &'v str {
        match self.kind {
            Kind::Complex(kind) => &kind.name,
            Kind::Primitive(primitive) => primitive.rule().trim_start_matches("primitive."),
        }
    }

    /// Calls `visit` with each element of this name.
    pub(crate) fn walk(&self, definitions: &'v Definitions, name: &str, visit: &mut dyn FnMut(Self)) {
        match (self.kind, self.held) {
            (Kind::Complex(kind), Held::Object(object)) => {
                if let Some(property) = kind.property(name)
                    && kind.element(property).is_some_and(|element| !element.choice)
                {
                    return emit(definitions, kind, object, name, property, visit);
                }
                let mut seen = None;
                for member in object.keys() {
                    let plain = member.strip_prefix('_').unwrap_or(member);
                    let Some(property) = plain.starts_with(name).then(|| kind.property(plain)).flatten()
                    else {
                        continue;
                    };
                    let is_choice =
                        kind.element(property).is_some_and(|e| e.choice && e.name.as_ref() == name);
                    if is_choice && seen != Some(plain) {
                        seen = Some(plain);
                        emit(definitions, kind, object, plain, property, visit);
                    }
                }
            }
            (Kind::Primitive(_), _) => {
                let element = definitions.get(definitions.companion);
                if let (Some(element), Some(object)) = (element, self.companion) {
                    Spot::complex(object, element).walk(definitions, name, visit);
                }
            }
            (Kind::Complex(_), _) => {}
        }
    }

    /// Calls `visit` with each element inside.
    pub(super) fn children(&self, definitions: &'v Definitions, visit: &mut dyn FnMut(Self)) {
        match (self.kind, self.held) {
            (Kind::Complex(kind), Held::Object(object)) => {
                for member in object.keys() {
                    let plain = member.strip_prefix('_').unwrap_or(member);
                    if plain.len() < member.len() && object.contains_key(plain) {
                        continue;
                    }
                    if let Some(property) = kind.property(plain) {
                        emit(definitions, kind, object, plain, property, visit);
                    }
                }
            }
            (Kind::Primitive(_), _) => {
                let element = definitions.get(definitions.companion);
                if let (Some(element), Some(object)) = (element, self.companion) {
                    Spot::complex(object, element).children(definitions, visit);
                }
            }
            (Kind::Complex(_), _) => {}
        }
    }

    /// The JSON of a primitive that has a value.
    pub(crate) fn leaf(&self) -> Option<&'v Value> {
        match self.held {
            Held::Leaf(value) => Some(value),
            Held::Object(_) | Held::Nothing => None,
        }
    }

    /// Whether its type is this one, or one of those that this one is made from.
    pub(crate) fn is(&self, name: &str) -> bool {
        let own = self.type_name();
        match self.kind {
            Kind::Primitive(_) => primitive_is(own, name),
            Kind::Complex(kind) => {
                own == name
                    || (name == "Quantity" && matches!(own, "Age" | "Count" | "Distance" | "Duration"))
                    || name == "Element" && kind.kind != TypeKind::Resource
                    || name == "BackboneElement" && kind.kind == TypeKind::Backbone
                    || kind.kind == TypeKind::Resource
                        && (name == "Resource"
                            || name == "DomainResource" && !matches!(own, "Bundle" | "Binary" | "Parameters"))
            }
        }
    }

    /// The value of a primitive, as expressions reckon with it.
    pub(super) fn value(&self) -> Option<Item<'v>> {
        let (Kind::Primitive(primitive), Held::Leaf(value)) = (self.kind, self.held) else { return None };
        Some(match value {
            Value::Bool(value) => Item::Boolean(*value),
            Value::Number(number) => Item::Number(Number::parse(number.as_str())?),
            Value::String(text) => match primitive {
                Primitive::Date | Primitive::DateTime | Primitive::Instant | Primitive::Time => {
                    Item::Moment(Cow::Borrowed(text))
                }
                _ => Item::Text(Cow::Borrowed(text)),
            },
            _ => return None,
        })
    }

    /// The object, of what is no primitive.
    pub(crate) fn object(&self) -> Option<&'v Map<String, Value>> {
        match self.held {
            Held::Object(object) => Some(object),
            Held::Leaf(_) | Held::Nothing => None,
        }
    }
}

/// Whether a primitive of the type `own` is a `name`, of FHIR or of `FHIRPath`'s own.
fn primitive_is(own: &str, name: &str) -> bool {
    own == name
        || match name {
            "Boolean" => own == "boolean",
            "String" => !matches!(
                own,
                "boolean"
                    | "integer"
                    | "decimal"
                    | "positiveInt"
                    | "unsignedInt"
                    | "date"
                    | "dateTime"
                    | "instant"
                    | "time"
            ),
            "string" => matches!(own, "code" | "id" | "markdown"),
            "uri" => matches!(own, "url" | "canonical" | "oid" | "uuid"),
            "integer" | "Integer" => matches!(own, "integer" | "positiveInt" | "unsignedInt"),
            "Decimal" => own == "decimal",
            "Date" => own == "date",
            "DateTime" => matches!(own, "dateTime" | "instant"),
            "Time" => own == "time",
            "Element" => true,
            _ => false,
        }
}

fn emit<'v>(
    definitions: &'v Definitions,
    kind: &'v Type,
    object: &'v Map<String, Value>,
    member: &str,
    property: &Property,
    visit: &mut dyn FnMut(Spot<'v>),
) {
    let many = kind.element(property).is_some_and(|element| element.max == Max::Many);
    let value = object.get(member);
    if let Shape::Primitive(primitive) = property.shape {
        let companion = object.get(&format!("_{member}"));
        if !many {
            if value.is_some() || companion.is_some() {
                visit(Spot::primitive(primitive, value, companion));
            }
            return;
        }
        let item =
            |list: Option<&'v Value>, at: usize| list?.as_array()?.get(at).filter(|one| !one.is_null());
        let length = |list: Option<&'v Value>| list.and_then(Value::as_array).map_or(0, Vec::len);
        for at in 0..length(value).max(length(companion)) {
            visit(Spot::primitive(primitive, item(value, at), item(companion, at)));
        }
        return;
    }
    let mut one = |value: &'v Value| {
        let Some(object) = value.as_object() else { return };
        let kind = match property.shape {
            Shape::Complex(id) => definitions.get(id),
            _ => resource_type(object).and_then(|kind| definitions.resource(kind)),
        };
        if let Some(kind) = kind {
            visit(Spot::complex(object, kind));
        }
    };
    match value {
        Some(Value::Array(items)) => items.iter().for_each(one),
        Some(value) => one(value),
        None => {}
    }
}

pub(super) fn resource_type(object: &Map<String, Value>) -> Option<ResourceType> {
    ResourceType::from_name(object.get("resourceType")?.as_str()?)
}

/// One of a collection.
#[derive(Clone)]
pub(super) enum Item<'v> {
    Spot(Spot<'v>),
    Boolean(bool),
    Number(Number),
    Text(Cow<'v, str>),
    Moment(Cow<'v, str>),
    Quantity(Number, Cow<'v, str>),
    /// A resource that is elsewhere: its type is all that is known.
    Elsewhere(ResourceType),
}

/// Whether two items are the same, or whether that is open.
pub(super) fn equal(left: &Item<'_>, right: &Item<'_>) -> Option<bool> {
    if let (Item::Spot(left), Item::Spot(right)) = (left, right)
        && let (Some(left), Some(right)) = (left.object(), right.object())
    {
        return Some(same_objects(left, right));
    }
    match (left.value(), right.value()) {
        (Some(Item::Boolean(a)), Some(Item::Boolean(b))) => Some(a == b),
        (Some(Item::Text(a)), Some(Item::Text(b))) => Some(a == b),
        (Some(Item::Number(a)), Some(Item::Number(b))) => a.order(b).map(Ordering::is_eq),
        (Some(Item::Moment(a)), Some(Item::Moment(b))) => moment::order(&a, &b).map(Ordering::is_eq),
        // A literal of text against a date, such as `period.start = '2020'`.
        (Some(Item::Text(a) | Item::Moment(a)), Some(Item::Text(b) | Item::Moment(b))) => Some(a == b),
        (Some(Item::Quantity(a, x)), Some(Item::Quantity(b, y))) => {
            if x == y {
                a.order(b).map(Ordering::is_eq)
            } else {
                None
            }
        }
        (None, None) => match (left, right) {
            // Two primitives with extensions alone.
            (Item::Spot(a), Item::Spot(b)) => Some(match (a.companion, b.companion) {
                (Some(a), Some(b)) => same_objects(a, b),
                (a, b) => a.is_none() && b.is_none(),
            }),
            _ => Some(false),
        },
        _ => Some(false),
    }
}

/// Members by name; numbers as numbers.
fn same_objects(left: &Map<String, Value>, right: &Map<String, Value>) -> bool {
    left.len() == right.len() && left.iter().all(|(name, a)| right.get(name).is_some_and(|b| same(a, b)))
}

/// Whether two JSON values say the same: the order of members and the digits of numbers do not count.
pub(crate) fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Object(a), Value::Object(b)) => same_objects(a, b),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Number(a), Value::Number(b)) => {
            let ordered =
                Number::parse(a.as_str()).zip(Number::parse(b.as_str())).and_then(|(a, b)| a.order(b));
            ordered.map_or_else(|| a == b, Ordering::is_eq)
        }
        _ => left == right,
    }
}

/// Which of two items comes first; `None` when that is open or they cannot be compared.
pub(super) fn order(left: &Item<'_>, right: &Item<'_>) -> Option<Ordering> {
    match (left.value()?, right.value()?) {
        (Item::Number(a), Item::Number(b)) => a.order(b),
        (Item::Moment(a) | Item::Text(a), Item::Moment(b)) | (Item::Moment(a), Item::Text(b)) => {
            moment::order(&a, &b)
        }
        (Item::Text(a), Item::Text(b)) => Some(a.cmp(&b)),
        (Item::Quantity(a, x), Item::Quantity(b, y)) if x == y => a.order(b),
        _ => None,
    }
}

impl<'v> Item<'v> {
    /// The value: of a place, what stands there; of a Quantity with a value, number and unit.
    pub(super) fn value(&self) -> Option<Self> {
        match self {
            Self::Spot(spot) => spot.value().or_else(|| quantity(spot)),
            Self::Elsewhere(_) => None,
            other => Some(other.clone()),
        }
    }

    /// As text, of what has one.
    pub(super) fn text(&self) -> Option<Cow<'v, str>> {
        if let Self::Spot(Spot { held: Held::Leaf(Value::Number(digits)), .. }) = self {
            return Some(Cow::Borrowed(digits.as_str()));
        }
        match self.value()? {
            Self::Text(text) | Self::Moment(text) => Some(text),
            Self::Boolean(value) => Some(Cow::Borrowed(if value { "true" } else { "false" })),
            Self::Number(number) => Some(Cow::Owned(number.text())),
            _ => None,
        }
    }

    /// Whether it is of this type.
    pub(super) fn is(&self, name: &str) -> bool {
        match self {
            Self::Spot(spot) => spot.is(name),
            Self::Boolean(_) => matches!(name, "Boolean" | "boolean"),
            Self::Number(number) if number.whole => matches!(name, "Integer" | "integer"),
            Self::Number(_) => matches!(name, "Decimal" | "decimal"),
            Self::Text(_) => matches!(name, "String" | "string"),
            Self::Moment(_) => matches!(name, "DateTime" | "dateTime" | "Date" | "date" | "Time" | "time"),
            Self::Quantity(..) => name == "Quantity",
            Self::Elsewhere(kind) => kind.name() == name || name == "Resource",
        }
    }
}

/// A Quantity's number and unit: the code with its system, or the text.
fn quantity<'v>(spot: &Spot<'v>) -> Option<Item<'v>> {
    if !spot.is("Quantity") {
        return None;
    }
    let object = spot.object()?;
    let Some(Value::Number(digits)) = object.get("value") else { return None };
    let text = |name: &str| object.get(name).and_then(Value::as_str);
    let unit = match (text("code"), text("system")) {
        (Some(code), Some("http://unitsofmeasure.org")) => Cow::Borrowed(code),
        (Some(code), system) => Cow::Owned(format!("{}|{code}", system.unwrap_or_default())),
        (None, _) => Cow::Borrowed(text("unit").unwrap_or_default()),
    };
    Some(Item::Quantity(Number::parse(digits.as_str())?, unit))
}
