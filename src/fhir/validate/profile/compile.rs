//! From the snapshot of a `StructureDefinition` to a tree of what it adds to R4.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::Value;

use super::super::super::definitions::{Definitions, Element, Invariant, Max, Shape, Type};
use super::super::super::fhirpath::Expression;
use super::{Binding, Expected, NoProfile, Node, Profile, Rules, Slice, Slicing, slice};

/// The most elements a snapshot may have.
const ELEMENTS_MAX: usize = 10_000;
/// How deep elements may be nested.
const DEPTH_MAX: usize = 32;
/// Invariants that the validator keeps natively, for every resource.
const NATIVE: [&str; 10] =
    ["ele-1", "ext-1", "dom-2", "dom-3", "dom-4", "dom-5", "dom-6", "ref-1", "txt-1", "txt-2"];

/// The elements of a snapshot as they are nested.
#[derive(Default)]
pub(super) struct Raw<'j> {
    pub(super) element: Option<&'j Value>,
    pub(super) children: Vec<(&'j str, Raw<'j>)>,
    pub(super) slices: Vec<(&'j str, Raw<'j>)>,
}

pub(super) fn compile(definitions: &Definitions, resource: &Value) -> Result<Profile, NoProfile> {
    let text = |name: &str| resource.get(name).and_then(Value::as_str);
    let (Some(url), Some(kind)) = (text("url"), text("type")) else { return Err(NoProfile::Form) };
    let base = definitions.named(kind).ok_or(NoProfile::Form)?;
    let elements = resource.pointer("/snapshot/element").and_then(Value::as_array);
    let elements = elements.filter(|all| all.len() <= ELEMENTS_MAX).ok_or(NoProfile::NoSnapshot)?;
    let mut raw = Raw::default();
    for element in elements {
        let id =
            element.get("id").or_else(|| element.get("path")).and_then(Value::as_str).unwrap_or_default();
        raw.insert(&mut id.split('.').skip(1).take(DEPTH_MAX), element);
    }
    let mut compiler = Compiler { definitions, known: known(definitions), unread: Vec::new() };
    let root = compiler.node("", &raw, Base { element: None, of: Some(base) }, DEPTH_MAX);
    Ok(Profile {
        url: url.into(),
        version: text("version").map(Into::into),
        kind: kind.into(),
        unread: compiler.unread,
        name: text("name").or_else(|| text("id")).unwrap_or(url).into(),
        root,
    })
}

/// The keys and expressions of the invariants that R4 has itself.
fn known(definitions: &Definitions) -> HashSet<(&str, &str)> {
    let own = definitions.types().iter().flat_map(|kind| {
        kind.invariants.iter().chain(kind.elements.iter().flat_map(|element| element.invariants.iter()))
    });
    own.map(|one| (one.rule.trim_start_matches("invariant."), one.expression.as_str())).collect()
}

impl<'j> Raw<'j> {
    fn insert(&mut self, path: &mut dyn Iterator<Item = &'j str>, element: &'j Value) {
        let Some(segment) = path.next() else {
            self.element = Some(element);
            return;
        };
        let (name, slice) = match segment.split_once(':') {
            Some((name, slice)) => (name, Some(slice)),
            None => (segment, None),
        };
        let Some(child) = entry(&mut self.children, name.strip_suffix("[x]").unwrap_or(name)) else { return };
        let into = match slice {
            Some(slice) => entry(&mut child.slices, slice),
            None => Some(child),
        };
        if let Some(into) = into {
            into.insert(path, element);
        }
    }

    pub(super) fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|(own, _)| *own == name).map(|(_, raw)| raw)
    }

    pub(super) fn get(&self, member: &str) -> Option<&'j Value> {
        self.element?.get(member)
    }

    fn text(&self, member: &str) -> &'j str {
        self.get(member).and_then(Value::as_str).unwrap_or_default()
    }

    /// The members of each of its types.
    pub(super) fn types(&self) -> impl Iterator<Item = &'j Value> {
        self.get("type").and_then(Value::as_array).into_iter().flatten()
    }

    /// `fixed[x]` or `pattern[x]`.
    pub(super) fn expected(&self) -> Option<Expected> {
        self.element?.as_object()?.iter().find_map(|(name, value)| {
            let named = |prefix: &str| {
                name.strip_prefix(prefix)
                    .is_some_and(|kind| kind.starts_with(|c: char| c.is_ascii_uppercase()))
            };
            if named("fixed") {
                Some(Expected::Fixed(value.clone()))
            } else {
                named("pattern").then(|| Expected::Pattern(value.clone()))
            }
        })
    }

    /// The binding, if codes are held to it.
    pub(super) fn binding(&self) -> Option<Binding> {
        let binding = self.get("binding")?;
        let required = match binding.get("strength")?.as_str()? {
            "required" => true,
            "extensible" => false,
            _ => return None,
        };
        Some(Binding { set: binding.get("valueSet")?.as_str()?.into(), required })
    }
}

fn entry<'r, 'j>(list: &'r mut Vec<(&'j str, Raw<'j>)>, name: &'j str) -> Option<&'r mut Raw<'j>> {
    let at = list.iter().position(|(own, _)| *own == name).unwrap_or(list.len());
    if at == list.len() {
        list.push((name, Raw::default()));
    }
    list.get_mut(at).map(|(_, raw)| raw)
}

struct Compiler<'d> {
    definitions: &'d Definitions,
    known: HashSet<(&'d str, &'d str)>,
    unread: Vec<String>,
}

/// What R4 says of an element, as far as that is known.
#[derive(Clone, Copy)]
struct Base<'d> {
    /// The element, with the type that has it.
    element: Option<(&'d Type, &'d Element)>,
    /// Its own type.
    of: Option<&'d Type>,
}

impl<'d> Compiler<'d> {
    /// What an element of this name adds to what R4 says of it.
    fn node(&mut self, name: &str, raw: &Raw<'_>, base: Base<'d>, depth: usize) -> Node {
        let mut node = Node { name: name.into(), rules: self.rules(raw, base.element), ..Node::default() };
        let Some(depth) = depth.checked_sub(1) else { return node };
        for (name, child) in &raw.children {
            let element = base.of.and_then(|of| Some((of, of.elements.iter().find(|e| *e.name == **name)?)));
            let of = element.and_then(|(of, element)| self.type_of(of, element, child));
            let child = self.node(name, child, Base { element, of }, depth);
            if !child.is_trivial() {
                node.children.push(child);
            }
        }
        node.slicing = self.slicing(name, raw, base, depth);
        node
    }

    fn slicing(&mut self, name: &str, raw: &Raw<'_>, base: Base<'d>, depth: usize) -> Option<Slicing> {
        let slicing = raw.get("slicing")?;
        let closed = slicing.get("rules").and_then(Value::as_str) == Some("closed");
        let mut slices = Vec::new();
        for (slice, raw) in &raw.slices {
            let of = base.element.and_then(|(of, element)| self.type_of(of, element, raw)).or(base.of);
            let mut node = self.node(name, raw, Base { of, ..base }, depth);
            // What is asked of the element is asked of all its items together; a slice counts its own.
            node.rules.min = number(raw.get("min")).unwrap_or(0);
            node.rules.max = maximum(raw);
            let tests = slice::tests(slicing, raw);
            if tests.is_none() {
                self.unread.push(format!("{}: the slice cannot be told apart", raw.text("id")));
            }
            slices.push(Slice { name: (*slice).into(), tests, node });
        }
        (closed || !slices.is_empty()).then_some(Slicing { closed, slices })
    }

    /// The type of an element, if it has but one.
    fn type_of(&self, of: &'d Type, element: &'d Element, raw: &Raw<'_>) -> Option<&'d Type> {
        let mut codes = raw.types().filter_map(|kind| kind.get("code")?.as_str());
        let code = codes.next().filter(|_| codes.next().is_none());
        let member = if element.choice {
            let mut letters = code?.chars();
            let first = letters.next()?.to_ascii_uppercase();
            format!("{}{first}{}", element.name, letters.as_str())
        } else {
            element.name.to_string()
        };
        match of.property(&member)?.shape {
            Shape::Complex(id) => self.definitions.get(id),
            Shape::Primitive(_) | Shape::Resource => None,
        }
    }

    fn rules(&mut self, raw: &Raw<'_>, element: Option<(&'d Type, &'d Element)>) -> Rules {
        let base_min = usize::from(element.is_some_and(|(_, element)| element.required));
        let codes: Vec<&str> = raw.types().filter_map(|kind| kind.get("code")?.as_str()).collect();
        let narrowed = element.is_some_and(|(of, element)| {
            let all = of.properties().filter(|(_, p)| of.element(p).is_some_and(|e| e.name == element.name));
            element.choice && !codes.is_empty() && codes.len() < all.count()
        });
        let urls = |member: &str| -> Vec<Box<str>> {
            let lists = raw.types().filter_map(|kind| kind.get(member)?.as_array());
            lists.flatten().filter_map(Value::as_str).map(Into::into).collect()
        };
        let own_set = element.and_then(|(_, element)| element.binding);
        let own_set = own_set.and_then(|id| self.definitions.value_set(id));
        let binding = raw.binding().filter(|binding| {
            let bare = binding.set.split('|').next();
            !(binding.required && own_set.is_some_and(|own| Some(&*own.url) == bare))
        });
        let own_max = element.map(|(_, element)| element.max);
        Rules {
            min: number(raw.get("min")).filter(|min| *min > base_min && element.is_some()).unwrap_or(0),
            max: maximum(raw).filter(|max| element.is_some() && (*max != 1 || own_max == Some(Max::Many))),
            types: narrowed.then(|| codes.iter().map(|code| (*code).into()).collect()),
            profiles: if codes.len() == 1 { urls("profile") } else { Vec::new() },
            targets: if codes.iter().all(|code| *code == "Reference") {
                urls("targetProfile")
            } else {
                Vec::new()
            },
            value: raw.expected(),
            binding,
            invariants: self.invariants(raw).into_iter().chain(self.bounds(raw)).collect(),
        }
    }

    /// `minValue[x]` and `maxValue[x]`, as invariants of the element.
    fn bounds(&mut self, raw: &Raw<'_>) -> Vec<Arc<Invariant>> {
        let mut found = Vec::new();
        for (member, operator, rule, text) in [
            (
                "minValue",
                ">=",
                "profile.min-value",
                "the value must not be less than the least that is allowed",
            ),
            (
                "maxValue",
                "<=",
                "profile.max-value",
                "the value must not be more than the most that is allowed",
            ),
        ] {
            let members = raw.element.and_then(Value::as_object).into_iter().flatten();
            for (name, value) in members.filter(|(name, _)| name.starts_with(member)) {
                let kind = name.strip_prefix(member).unwrap_or_default();
                match bound(kind, operator, value).and_then(|text| Expression::parse(&text).ok()) {
                    Some(expression) => {
                        found.push(Arc::new(Invariant {
                            rule: rule.into(),
                            warns: false,
                            expression,
                            text: text.into(),
                        }));
                    }
                    None => self.unread.push(format!("{}: {name}", raw.text("id"))),
                }
            }
        }
        found
    }

    fn invariants(&mut self, raw: &Raw<'_>) -> Vec<Arc<Invariant>> {
        let mut found = Vec::new();
        for constraint in raw.get("constraint").and_then(Value::as_array).into_iter().flatten() {
            let text = |name: &str| constraint.get(name).and_then(Value::as_str).unwrap_or_default();
            let (key, expression) = (text("key"), text("expression"));
            if NATIVE.contains(&key) || self.known.contains(&(key, expression)) || expression.is_empty() {
                continue;
            }
            match Expression::parse(expression) {
                Ok(expression) => found.push(Arc::new(Invariant {
                    rule: format!("invariant.{key}").into(),
                    warns: text("severity") != "error",
                    expression,
                    text: text("human").into(),
                })),
                Err(why) => self.unread.push(format!("{}: {key}: {why}", raw.text("id"))),
            }
        }
        found
    }
}

/// A bound as an expression; a quantity in another unit than the bound's is not compared.
fn bound(kind: &str, operator: &str, value: &Value) -> Option<String> {
    let plain = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.:".contains(&b));
    match (kind, value) {
        ("Quantity", Value::Object(quantity)) => {
            let Value::Number(digits) = quantity.get("value")? else { return None };
            let bounded = format!("value.empty() or value {operator} {digits}");
            let Some(unit) = quantity.get("code").and_then(Value::as_str) else { return Some(bounded) };
            let unit = unit.replace('\\', "\\\\").replace('\'', "\\'");
            Some(format!("(code.exists() and code = '{unit}').not() or {bounded}"))
        }
        ("Time", Value::String(text)) if plain(text) => Some(format!("$this {operator} @T{text}")),
        ("Date" | "DateTime" | "Instant", Value::String(text)) if plain(text) => {
            Some(format!("$this {operator} @{text}"))
        }
        (_, Value::Number(digits)) => Some(format!("$this {operator} {digits}")),
        _ => None,
    }
}

fn number(value: Option<&Value>) -> Option<usize> {
    value?.as_u64().and_then(|number| usize::try_from(number).ok())
}

fn maximum(raw: &Raw<'_>) -> Option<usize> {
    raw.get("max")?.as_str()?.parse().ok()
}

impl Node {
    /// Whether nothing is asked beyond R4.
    fn is_trivial(&self) -> bool {
        let Rules { min, max, types, profiles, targets, value, binding, invariants } = &self.rules;
        *min == 0
            && max.is_none()
            && types.is_none()
            && profiles.is_empty()
            && targets.is_empty()
            && value.is_none()
            && binding.is_none()
            && invariants.is_empty()
            && self.slicing.is_none()
            && self.children.is_empty()
    }
}
