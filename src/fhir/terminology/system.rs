//! A `CodeSystem`: its concepts, and which lies under which (FHIR R4 codesystem.html).

use serde_json::Value;

/// A `CodeSystem`.
#[derive(Debug)]
pub struct CodeSystem {
    /// Its canonical url.
    pub url: Box<str>,
    /// Its version.
    pub version: Option<Box<str>>,
    /// Its name.
    pub name: Option<Box<str>>,
    /// Whether all of its codes are here.
    pub complete: bool,
    /// Whether its codes differ by case.
    pub case_sensitive: bool,
    concepts: Vec<Concept>,
    /// Places in `concepts`, by code.
    sorted: Vec<u32>,
}

/// A concept of a [`CodeSystem`].
#[derive(Debug)]
pub struct Concept {
    /// The code.
    pub code: Box<str>,
    /// What a person reads.
    pub display: Option<Box<str>>,
    /// What it means.
    pub definition: Option<Box<str>>,
    /// Whether it only groups others (`notSelectable`).
    pub groups: bool,
    /// Whether it is out of use.
    pub inactive: bool,
    pub(super) parent: Option<u32>,
}

impl CodeSystem {
    pub(super) fn read(url: &str, resource: &Value) -> Self {
        let text = |name: &str| resource.get(name).and_then(Value::as_str).map(Into::into);
        let mut concepts = Vec::new();
        gather(resource, None, &mut concepts);
        let mut sorted: Vec<u32> = (0..).take(concepts.len()).collect();
        sorted.sort_by(|a, b| code_at(&concepts, *a).cmp(code_at(&concepts, *b)));
        Self {
            url: url.into(),
            version: text("version"),
            name: text("name"),
            complete: resource.get("content").and_then(Value::as_str) == Some("complete"),
            case_sensitive: resource.get("caseSensitive") != Some(&Value::Bool(false)),
            concepts,
            sorted,
        }
    }

    /// One of which single concepts are learnt.
    pub(super) fn fragment(url: &str) -> Self {
        Self {
            url: url.into(),
            version: None,
            name: None,
            complete: false,
            case_sensitive: true,
            concepts: Vec::new(),
            sorted: Vec::new(),
        }
    }

    /// Takes in a concept, unless it is here.
    pub(super) fn learn(&mut self, concept: Concept) {
        let place = self.sorted.binary_search_by(|at| code_at(&self.concepts, *at).cmp(&concept.code));
        if let (Err(place), Ok(at)) = (place, u32::try_from(self.concepts.len())) {
            self.sorted.insert(place, at);
            self.concepts.push(concept);
        }
    }

    /// The concept of this code.
    #[must_use]
    pub fn concept(&self, code: &str) -> Option<&Concept> {
        let exact = self.sorted.binary_search_by(|at| code_at(&self.concepts, *at).cmp(code)).ok();
        match exact.and_then(|place| self.sorted.get(place)) {
            Some(at) => self.at(*at),
            None if self.case_sensitive => None,
            None => self.concepts.iter().find(|concept| concept.code.eq_ignore_ascii_case(code)),
        }
    }

    /// All concepts, as they are listed.
    #[must_use]
    pub fn concepts(&self) -> &[Concept] {
        &self.concepts
    }

    /// The concept that this one lies under.
    #[must_use]
    pub fn parent(&self, concept: &Concept) -> Option<&Concept> {
        concept.parent.and_then(|at| self.at(at))
    }

    /// Whether the concept is `ancestor`, or lies under it.
    #[must_use]
    pub fn is_a(&self, concept: &Concept, ancestor: &str) -> bool {
        let mut next = Some(concept);
        while let Some(one) = next {
            if *one.code == *ancestor {
                return true;
            }
            next = self.parent(one);
        }
        false
    }

    fn at(&self, at: u32) -> Option<&Concept> {
        self.concepts.get(usize::try_from(at).ok()?)
    }
}

fn code_at(concepts: &[Concept], at: u32) -> &str {
    usize::try_from(at).ok().and_then(|at| concepts.get(at)).map_or("", |concept| &concept.code)
}

/// Concepts and those under them, each after its parent: a chain of parents ends.
fn gather(within: &Value, parent: Option<u32>, into: &mut Vec<Concept>) {
    for one in within.get("concept").and_then(Value::as_array).into_iter().flatten() {
        let text = |name: &str| one.get(name).and_then(Value::as_str).map(Into::into);
        let Some(code) = text("code") else { continue };
        let has = |code: &str, member: &str, value: Value| {
            let properties = one.get("property").and_then(Value::as_array).into_iter().flatten();
            properties.into_iter().any(|property| {
                property.get("code").and_then(Value::as_str) == Some(code)
                    && property.get(member) == Some(&value)
            })
        };
        let inactive = has("inactive", "valueBoolean", Value::Bool(true))
            || ["retired", "deprecated", "inactive"]
                .iter()
                .any(|s| has("status", "valueCode", Value::from(*s)));
        let at = u32::try_from(into.len()).ok();
        into.push(Concept {
            code,
            display: text("display"),
            definition: text("definition"),
            groups: has("notSelectable", "valueBoolean", Value::Bool(true)),
            inactive,
            parent,
        });
        gather(one, at, into);
    }
}
