//! Where the validator stands, and what it found so far.

use super::super::json::is_identifier;
use super::super::outcome::{IssueCode, Problem};
use super::PROBLEMS_MAX;

/// A place in a resource, as a list on the stack: written out only when something is wrong there.
#[derive(Clone, Copy)]
pub(super) enum Place<'p> {
    /// The resource itself, by its type. Inside another resource it adds nothing to the path.
    Root(&'p str),
    /// An element of the parent. The name comes from the definitions.
    Element(&'p Place<'p>, &'p str),
    /// One of several.
    Item(&'p Place<'p>, usize),
}

impl<'p> Place<'p> {
    pub(super) fn element(&'p self, name: &'p str) -> Self {
        Self::Element(self, name)
    }

    pub(super) fn item(&'p self, index: usize) -> Self {
        Self::Item(self, index)
    }

    /// The place as a simple `FHIRPath`.
    pub(super) fn expression(&self) -> String {
        let mut path = String::new();
        self.write(&mut path);
        path
    }

    fn write(&self, path: &mut String) {
        match self {
            Self::Root(name) => path.push_str(name),
            Self::Element(parent, name) => {
                parent.write(path);
                path.push('.');
                path.push_str(name);
            }
            Self::Item(parent, index) => {
                parent.write(path);
                path.push('[');
                path.push_str(&index.to_string());
                path.push(']');
            }
        }
    }
}

/// A rule of the structure, as opposed to the format of one primitive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    /// The stable id, such as `structure.unknown-element`.
    pub(super) id: &'static str,
    /// The kind of issue.
    pub(super) code: IssueCode,
    /// What is wrong, for a person.
    pub(super) text: &'static str,
}

/// The problems found so far, up to [`PROBLEMS_MAX`] of those that refuse and as many warnings.
#[derive(Default)]
pub(super) struct Report {
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl Report {
    /// Whether no more problems are taken: the walk may stop.
    pub(super) fn is_full(&self) -> bool {
        self.problems.len() >= PROBLEMS_MAX
    }

    pub(super) fn breach(&mut self, rule: Rule, place: &Place<'_>) {
        self.add(place, |expression| Problem::error(rule.code, rule.text).by(rule.id).at(expression));
    }

    /// A breach at a member the client named; its name is shown only if it looks like one.
    pub(super) fn breach_at_member(&mut self, rule: Rule, parent: &Place<'_>, name: &str) {
        if is_identifier(name) {
            self.breach(rule, &parent.element(name));
        } else {
            self.breach(rule, parent);
        }
    }

    pub(super) fn add(&mut self, place: &Place<'_>, problem: impl FnOnce(String) -> Problem) {
        if !self.is_full() {
            self.problems.push(problem(place.expression()));
        }
    }

    /// A warning: it takes no room from what refuses.
    pub(super) fn warn(&mut self, place: &Place<'_>, problem: impl FnOnce(String) -> Problem) {
        if self.warnings.len() < PROBLEMS_MAX {
            self.warnings.push(problem(place.expression()));
        }
    }

    /// Whether anything found so far refuses.
    pub(super) fn refuses(&self) -> bool {
        !self.problems.is_empty()
    }

    /// Takes in what another report has, as far as there is room.
    pub(super) fn append(&mut self, other: Self) {
        self.problems.extend(other.problems);
        self.problems.truncate(PROBLEMS_MAX);
        self.warnings.extend(other.warnings);
        self.warnings.truncate(PROBLEMS_MAX);
    }

    /// What refuses, then what warns.
    pub(super) fn into_problems(mut self) -> Vec<Problem> {
        self.problems.append(&mut self.warnings);
        self.problems
    }
}
