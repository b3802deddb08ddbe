//! A `ConceptMap`: which code of one system is which of another (FHIR R4 conceptmap.html).

use serde_json::Value;

use super::{Vocabulary, canonical};

/// A `ConceptMap`.
#[derive(Debug)]
pub struct ConceptMap {
    /// Its canonical url.
    pub url: Box<str>,
    /// The ValueSet whose codes it translates.
    pub source: Option<Box<str>>,
    /// The ValueSet it translates into.
    pub target: Option<Box<str>>,
    groups: Vec<Group>,
}

#[derive(Debug)]
struct Group {
    source: Box<str>,
    target: Box<str>,
    elements: Vec<(Box<str>, Vec<Target>)>,
    /// The code for what is not listed, and its display.
    fixed: Option<(Box<str>, Option<Box<str>>)>,
    /// What is not listed is itself.
    provided: bool,
}

#[derive(Debug)]
struct Target {
    equivalence: Box<str>,
    code: Option<Box<str>>,
    display: Option<Box<str>>,
}

/// What a code is in another system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Translation<'t> {
    /// The map that says so.
    pub map: &'t str,
    /// How the two relate, in the words of R4: `equivalent`, `wider` and so on.
    pub equivalence: &'t str,
    /// The other system.
    pub system: &'t str,
    /// The code there; none of what is unmatched.
    pub code: Option<Box<str>>,
    /// What a person reads.
    pub display: Option<&'t str>,
}

impl ConceptMap {
    pub(super) fn read(url: &str, resource: &Value) -> Self {
        let text = |one: &str, other: &str| {
            let found = resource.get(one).or_else(|| resource.get(other)).and_then(Value::as_str);
            found.map(|url| canonical(url).0.into())
        };
        let groups = resource.get("group").and_then(Value::as_array).into_iter().flatten();
        Self {
            url: url.into(),
            source: text("sourceCanonical", "sourceUri"),
            target: text("targetCanonical", "targetUri"),
            groups: groups.map(Group::read).collect(),
        }
    }

    fn translate<'t>(&'t self, system: &str, code: &str, into: &mut Vec<Translation<'t>>) {
        for group in self.groups.iter().filter(|group| *group.source == *canonical(system).0) {
            let of = |equivalence, code, display| Translation {
                map: &self.url,
                equivalence,
                system: &group.target,
                code,
                display,
            };
            let listed = group.elements.iter().find(|(source, _)| **source == *code);
            match (listed, &group.fixed) {
                (Some((_, targets)), _) => into.extend(
                    targets.iter().map(|one| of(&one.equivalence, one.code.clone(), one.display.as_deref())),
                ),
                (None, Some((code, display))) => {
                    into.push(of("inexact", Some(code.clone()), display.as_deref()));
                }
                (None, None) if group.provided => into.push(of("equal", Some(code.into()), None)),
                (None, None) => {}
            }
        }
    }
}

impl Group {
    fn read(group: &Value) -> Self {
        let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(Box::<str>::from);
        let list = |value: &Value, name: &str| {
            value.get(name).and_then(Value::as_array).cloned().unwrap_or_default()
        };
        let elements = list(group, "element").into_iter().filter_map(|element| {
            let targets = list(&element, "target").into_iter().map(|target| Target {
                equivalence: text(&target, "equivalence").unwrap_or_else(|| "relatedto".into()),
                code: text(&target, "code"),
                display: text(&target, "display"),
            });
            Some((text(&element, "code")?, targets.collect()))
        });
        let unmapped = group.get("unmapped");
        let mode = unmapped.and_then(|unmapped| text(unmapped, "mode"));
        let fixed = unmapped.filter(|_| mode.as_deref() == Some("fixed"));
        Self {
            source: text(group, "source").unwrap_or_default(),
            target: text(group, "target").unwrap_or_default(),
            elements: elements.collect(),
            fixed: fixed.and_then(|unmapped| Some((text(unmapped, "code")?, text(unmapped, "display")))),
            provided: mode.as_deref() == Some("provided"),
        }
    }
}

impl<'t> Vocabulary<'t> {
    /// What the code is by the maps that are wanted.
    pub fn translate(
        &self,
        system: &str,
        code: &str,
        wanted: impl Fn(&ConceptMap) -> bool,
    ) -> Vec<Translation<'t>> {
        let mut found = Vec::new();
        for map in self.maps().filter(|map| wanted(map)) {
            map.translate(system, code, &mut found);
        }
        found
    }
}
