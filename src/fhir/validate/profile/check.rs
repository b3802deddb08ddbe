//! A resource against a profile.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::super::super::definitions::{Definitions, Invariant};
use super::super::super::fhirpath::{Scene, Spot, Verdict, same};
use super::super::super::kinds::ResourceType;
use super::super::super::outcome::{IssueCode, Problem};
use super::super::super::terminology::{Membership, Question, Vocabulary};
use super::super::Wanted;
use super::super::report::{Place, Report};
use super::{Binding, Expected, Node, Profile, Profiles, Rules};

/// How deep elements may be nested in each other; what is deeper is no R4 and was refused before.
const DEPTH_MAX: usize = 96;

/// The most codes that are noted as not known.
const OPEN_CODES_MAX: usize = 1_000;

/// What is judged by.
#[derive(Clone, Copy)]
pub struct Bench<'p> {
    /// The definitions of R4.
    pub definitions: &'p Definitions,
    /// Profiles of packages.
    pub profiles: &'p Profiles,
    /// What is known of codes.
    pub vocabulary: &'p Vocabulary<'p>,
    /// Which problems are wanted.
    pub wanted: Wanted,
    /// Where codes are put of which it is not known whether they are in the set they must be in.
    pub open: &'p RefCell<Vec<OpenCode>>,
}

/// A code that is not known here, and the set it must be in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenCode {
    set: Box<str>,
    system: Box<str>,
    code: Box<str>,
}

impl OpenCode {
    /// Whether it is in the set.
    #[must_use]
    pub fn in_set(&self) -> Question {
        Question::Member(self.set.clone(), self.system.clone(), self.code.clone())
    }
}

/// The problems a resource has with a profile of its type: none of what R4 itself says.
#[must_use]
pub fn judge(bench: Bench<'_>, profile: &Profile, resource: &Map<String, Value>) -> Vec<Problem> {
    let named = resource.get("resourceType").and_then(Value::as_str).unwrap_or_default();
    if named != &*profile.kind {
        let named = ResourceType::from_name(named).map_or("Resource", ResourceType::name);
        let text = format!("{} is a profile of {}", profile.name, profile.kind);
        return vec![Problem::error(IssueCode::Structure, text).by("profile.type").at(named)];
    }
    let Some(kind) = bench.definitions.named(named) else { return Vec::new() };
    let spot = Spot::complex(resource, kind);
    let steps = Cell::new(0);
    let scene = Scene { definitions: bench.definitions, resource: spot, root: spot, steps: &steps };
    let mut judge = Judge { bench, scene, of: profile, report: Report::default(), depth: 0 };
    judge.value(&profile.root, spot, &Place::Root(kind.name.as_ref()));
    judge.report.into_problems()
}

pub(super) struct Judge<'p, 'v> {
    pub(super) bench: Bench<'p>,
    pub(super) scene: Scene<'v>,
    /// The profile that is named in problems.
    pub(super) of: &'p Profile,
    pub(super) report: Report,
    depth: usize,
}

impl<'p, 'v> Judge<'p, 'v>
where
    'p: 'v,
{
    pub(super) fn say(&mut self, place: &Place<'_>, code: IssueCode, rule: &'static str, text: &str) {
        let text = format!("{text} ({})", self.of.name);
        self.report.add(place, |at| Problem::error(code, text).by(rule).at(at));
    }

    fn warn(&mut self, place: &Place<'_>, rule: &'static str, text: &str) {
        if self.bench.wanted == Wanted::All {
            let text = format!("{text} ({})", self.of.name);
            self.report.warn(place, |at| Problem::warning(IssueCode::CodeInvalid, text).by(rule).at(at));
        }
    }

    /// What stands at a place, against what is asked of it and of what is inside.
    pub(super) fn value(&mut self, node: &'p Node, spot: Spot<'v>, place: &Place<'_>) {
        if self.depth > DEPTH_MAX || self.report.is_full() {
            return;
        }
        self.depth += 1;
        self.rules(&node.rules, spot, place);
        for child in &node.children {
            self.element(child, spot, place);
        }
        self.depth -= 1;
    }

    /// An element of a place: how many there are, each of them, and its slices.
    fn element(&mut self, node: &'p Node, parent: Spot<'v>, place: &Place<'_>) {
        let mut spots = Vec::new();
        parent.walk(self.bench.definitions, &node.name, &mut |spot| spots.push(spot));
        let listed =
            |name: &str| parent.object().and_then(|object| object.get(name)).is_some_and(Value::is_array);
        let listed = listed(&node.name) || listed(&format!("_{}", node.name));
        let at = place.element(&node.name);
        self.count(&at, spots.len(), &node.rules, None);
        for (index, spot) in spots.iter().enumerate() {
            let item = at.item(index);
            self.value(node, *spot, if listed { &item } else { &at });
        }
        if let Some(slicing) = &node.slicing {
            self.slices(slicing, &spots, &at, listed);
        }
    }

    pub(super) fn count(&mut self, at: &Place<'_>, count: usize, rules: &Rules, slice: Option<&str>) {
        let what = slice.map_or_else(String::new, |name| format!(" of slice {name}"));
        if count < rules.min {
            let text = format!("at least {}{what} must be there", rules.min);
            self.say(at, IssueCode::Required, "profile.min", &text);
        }
        if let Some(max) = rules.max.filter(|max| count > *max) {
            let text = format!("at most {max}{what} may be there");
            self.say(at, IssueCode::Structure, "profile.max", &text);
        }
    }

    fn rules(&mut self, rules: &'p Rules, spot: Spot<'v>, place: &Place<'_>) {
        if let Some(types) = &rules.types
            && !types.iter().any(|code| spot.is(code))
        {
            self.say(
                place,
                IssueCode::Structure,
                "profile.type",
                "the type of this value is not one of those allowed",
            );
        }
        match &rules.value {
            Some(expected @ Expected::Fixed(_)) if !fits(expected, spot) => {
                self.say(place, IssueCode::Value, "profile.fixed", "the value must be exactly the fixed one");
            }
            Some(expected @ Expected::Pattern(_)) if !fits(expected, spot) => {
                self.say(
                    place,
                    IssueCode::Value,
                    "profile.pattern",
                    "the value must have what the pattern has",
                );
            }
            _ => {}
        }
        if let Some(binding) = &rules.binding {
            self.binding(binding, spot, place);
        }
        if !rules.targets.is_empty() {
            self.target(&rules.targets, spot, place);
        }
        self.invariants(&rules.invariants, spot, place);
        self.type_profiles(&rules.profiles, spot, place);
    }

    /// Whether a code is in a set; notes it if that is not known.
    pub(super) fn membership(&self, set: &str, system: Option<&str>, code: &str) -> Membership {
        let found = self.bench.vocabulary.contains(set, system, code);
        if let (Membership::Unknown, Some(system)) = (found, system) {
            let open = OpenCode { set: set.into(), system: system.into(), code: code.into() };
            let mut all = self.bench.open.borrow_mut();
            if all.len() < OPEN_CODES_MAX {
                all.push(open);
            }
        }
        found
    }

    fn binding(&mut self, binding: &Binding, spot: Spot<'v>, place: &Place<'_>) {
        let codes = codes_of(spot);
        let mut unknown = false;
        for (system, code) in &codes {
            match self.membership(&binding.set, *system, code) {
                Membership::In => return,
                Membership::Unknown => unknown = true,
                Membership::Out => {}
            }
        }
        let set = &binding.set;
        if unknown {
            self.warn(
                place,
                "profile.binding-unknown",
                &format!("the codes of {set} are not known here: not checked"),
            );
        } else if binding.required {
            // A primitive with extensions alone says why there is no code.
            if !codes.is_empty() || spot.object().is_some() {
                self.say(
                    place,
                    IssueCode::CodeInvalid,
                    "profile.binding",
                    &format!("a code of {set} is required"),
                );
            }
        } else if !codes.is_empty() {
            self.warn(place, "profile.binding", &format!("a code of {set} should be there if one fits"));
        }
    }

    /// Where a reference points, as far as it says.
    fn target(&mut self, targets: &[Box<str>], spot: Spot<'v>, place: &Place<'_>) {
        let Some(object) = spot.object() else { return };
        let text = |name: &str| object.get(name).and_then(Value::as_str);
        let path = text("reference").map(|address| address.split("/_history/").next().unwrap_or(address));
        let typed = path.and_then(|path| path.rsplit('/').nth(1)).and_then(ResourceType::from_name);
        let Some(kind) = typed.or_else(|| text("type").and_then(ResourceType::from_name)) else { return };
        let allowed = targets.iter().any(|url| match self.bench.profiles.kind_of(url) {
            Some("Resource") | None => true,
            Some(name) => name == kind.name(),
        });
        if !allowed {
            self.say(
                place,
                IssueCode::Value,
                "profile.target",
                "a reference here may not point at a resource of this type",
            );
        }
    }

    fn invariants(&mut self, invariants: &[Arc<Invariant>], spot: Spot<'v>, place: &Place<'_>) {
        for invariant in invariants {
            if invariant.warns && self.bench.wanted == Wanted::Refusals {
                continue;
            }
            match invariant.expression.holds(&self.scene, spot) {
                Verdict::Broken => {}
                Verdict::TooCostly => {
                    return self.say(place, IssueCode::TooCostly, "structure.too-costly", "too many steps");
                }
                Verdict::Kept | Verdict::Open => continue,
            }
            let (rule, text) = (invariant.rule.to_string(), format!("{} ({})", invariant.text, self.of.name));
            if invariant.warns {
                self.report.warn(place, |at| Problem::warning(IssueCode::Invariant, text).by(rule).at(at));
            } else {
                self.report.add(place, |at| Problem::error(IssueCode::Invariant, text).by(rule).at(at));
            }
        }
    }

    /// The profiles of a value's type: one of them must hold, if all are known.
    fn type_profiles(&mut self, urls: &[Box<str>], spot: Spot<'v>, place: &Place<'_>) {
        let profiles: &'p Profiles = self.bench.profiles;
        let known: Vec<&'p Profile> = urls.iter().filter_map(|url| profiles.get(url)).collect();
        if known.is_empty() || known.len() < urls.len() || spot.object().is_none() {
            return;
        }
        let before = self.of;
        let mut first = None;
        for profile in known.into_iter().filter(|profile| *profile.kind == *spot.type_name()) {
            let held = std::mem::take(&mut self.report);
            self.of = profile;
            self.value(&profile.root, spot, place);
            self.of = before;
            let found = std::mem::replace(&mut self.report, held);
            if found.refuses() {
                first.get_or_insert(found);
            } else {
                return self.report.append(found);
            }
        }
        if let Some(found) = first {
            self.report.append(found);
        }
    }
}

pub(super) fn fits(expected: &Expected, spot: Spot<'_>) -> bool {
    match (expected, spot.object(), spot.leaf()) {
        (Expected::Fixed(Value::Object(wanted)), Some(object), _) => {
            wanted.len() == object.len()
                && wanted.iter().all(|(name, value)| object.get(name).is_some_and(|own| same(own, value)))
        }
        (Expected::Pattern(Value::Object(wanted)), Some(object), _) => holds_members(wanted, object),
        (Expected::Fixed(wanted) | Expected::Pattern(wanted), None, Some(leaf)) => same(wanted, leaf),
        _ => false,
    }
}

fn holds_members(wanted: &Map<String, Value>, object: &Map<String, Value>) -> bool {
    wanted.iter().all(|(name, value)| object.get(name).is_some_and(|own| holds(value, own)))
}

/// Whether a value has all that the pattern has; of lists, each item somewhere.
fn holds(wanted: &Value, value: &Value) -> bool {
    match (wanted, value) {
        (Value::Object(wanted), Value::Object(object)) => holds_members(wanted, object),
        (Value::Array(wanted), Value::Array(items)) => {
            wanted.iter().all(|one| items.iter().any(|item| holds(one, item)))
        }
        _ => same(wanted, value),
    }
}

/// The codes at a place, with their systems.
pub(super) fn codes_of(spot: Spot<'_>) -> Vec<(Option<&str>, &str)> {
    fn coding(object: &Map<String, Value>) -> Option<(Option<&str>, &str)> {
        let text = |name: &str| object.get(name).and_then(Value::as_str);
        // Without a system a Coding is of none, and not of any.
        Some((Some(text("system").unwrap_or_default()), text("code")?))
    }
    let Some(object) = spot.object() else {
        return spot.leaf().and_then(Value::as_str).map(|code| (None, code)).into_iter().collect();
    };
    if spot.is("CodeableConcept") {
        let codings = object.get("coding").and_then(Value::as_array).into_iter().flatten();
        return codings.filter_map(Value::as_object).filter_map(coding).collect();
    }
    coding(object).into_iter().collect()
}
