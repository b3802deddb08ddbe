//! One parameter of a search that a record must meet, and how it is read from its name and value.
//!
//! May import only std, `serde_json` and what stands beside it in `fhir`.

use std::sync::Arc;

use serde_json::Value;

use super::super::kinds::{LogicalId, ResourceType};
use super::super::outcome::{IssueCode, Problem};
use super::super::reference::BaseUrl;
use super::compiler::Start;
use super::date::DateRange;
use super::index::{Compiled, Part, Searches, Source};
use super::parameters::{self, Kind};
use super::term::{Modifier, Reading, Target, Term, split};
use super::{ALTERNATIVES_MAX, LINKS_MAX, Prefix};

/// What a parameter asks of a record.
#[derive(Clone, Debug)]
pub enum Filter {
    /// One of these values, or with `:not` none of them.
    Values(Values),
    /// `:missing`: whether there is any value.
    Missing(Arc<Compiled>, bool),
    /// A chain: what the record points at meets another filter.
    Chain(Chain),
    /// `_has`: something that points at the record meets another filter.
    Has(Has),
    /// All of these (`and` of a `_filter`).
    All(Vec<Filter>),
    /// One of these (`or` of a `_filter`).
    Any(Vec<Filter>),
    /// Not this (`not` of a `_filter`).
    Not(Box<Filter>),
}

/// Values of one parameter.
#[derive(Clone, Debug)]
pub struct Values {
    /// The parameter.
    pub parameter: Arc<Compiled>,
    pub(super) modifier: Modifier,
    pub(super) any: Vec<Term>,
}

/// `subject:Patient.name=...`
#[derive(Clone, Debug)]
pub struct Chain {
    /// The reference that is followed.
    pub parameter: Arc<Compiled>,
    /// What must hold of the target, for each type it may have. Shared, so that copies are known to be the same.
    pub links: Vec<(ResourceType, Arc<Filter>)>,
}

/// `_has:Observation:patient:code=...`
#[derive(Clone, Debug)]
pub struct Has {
    /// The type that points at the record.
    pub source: ResourceType,
    /// By which of its parameters.
    pub parameter: Arc<Compiled>,
    /// What must hold of it.
    pub filter: Box<Filter>,
}

impl Filter {
    /// Whether a record meets it by what it holds itself; `None` if others must be looked at.
    #[must_use]
    pub fn holds(&self, resource: &Value, base: &BaseUrl) -> Option<bool> {
        match self {
            Self::Values(values) => Some(values.holds(resource, base)),
            Self::Missing(parameter, missing) => Some(parameter.is_present(resource) != *missing),
            Self::Chain(_) | Self::Has(_) => None,
            Self::All(all) => decided(all, false, resource, base),
            Self::Any(any) => decided(any, true, resource, base),
            Self::Not(one) => one.holds(resource, base).map(|held| !held),
        }
    }

    /// Whether other records must be looked at.
    #[must_use]
    pub fn joins(&self) -> bool {
        match self {
            Self::Values(_) | Self::Missing(..) => false,
            Self::Chain(_) | Self::Has(_) => true,
            Self::All(several) | Self::Any(several) => several.iter().any(Self::joins),
            Self::Not(one) => one.joins(),
        }
    }

    /// Whether it asks, wherever in it, when records were written.
    #[must_use]
    pub fn asks_when(&self) -> bool {
        match self {
            Self::Values(values) => values.parameter.code == "_lastUpdated",
            Self::Missing(..) => false,
            Self::Chain(chain) => chain.links.iter().any(|(_, filter)| filter.asks_when()),
            Self::Has(has) => has.filter.asks_when(),
            Self::All(several) | Self::Any(several) => several.iter().any(Self::asks_when),
            Self::Not(one) => one.asks_when(),
        }
    }

    /// The names of the parameters it asks about, on the record itself.
    #[must_use]
    pub fn codes(&self) -> Vec<&str> {
        match self {
            Self::Values(values) => vec![values.parameter.code.as_ref()],
            Self::Missing(parameter, _) => vec![parameter.code.as_ref()],
            Self::Chain(chain) => vec![chain.parameter.code.as_ref()],
            Self::Has(_) => Vec::new(),
            Self::All(several) | Self::Any(several) => several.iter().flat_map(Self::codes).collect(),
            Self::Not(one) => one.codes(),
        }
    }

    /// The ids one of which must be the record's, if it says so.
    #[must_use]
    pub fn ids(&self) -> Option<Vec<LogicalId>> {
        match self {
            Self::Values(values) => values.ids(),
            Self::All(all) => all.iter().find_map(Self::ids),
            Self::Any(any) => Some(any.iter().map(Self::ids).collect::<Option<Vec<_>>>()?.concat()),
            Self::Missing(..) | Self::Chain(_) | Self::Has(_) | Self::Not(_) => None,
        }
    }

    /// Adds the patients whom it names by their ids, wherever in it: `of` is the type that is asked.
    pub fn name(&self, of: ResourceType, named: &mut Vec<LogicalId>) {
        match self {
            Self::Values(values) => values.any.iter().for_each(|term| match term {
                Term::Token(token) if of == ResourceType::PATIENT && values.parameter.code == "_id" => {
                    named.extend(token.code.as_deref().and_then(LogicalId::parse));
                }
                term => term.name(named),
            }),
            Self::Missing(..) => {}
            Self::Chain(chain) => chain.links.iter().for_each(|(kind, filter)| filter.name(*kind, named)),
            Self::Has(has) => has.filter.name(has.source, named),
            Self::All(several) | Self::Any(several) => several.iter().for_each(|one| one.name(of, named)),
            Self::Not(one) => one.name(of, named),
        }
    }

    /// Whether it asks for what bears an identifier that it spells out.
    #[must_use]
    pub fn identifies(&self) -> bool {
        let whole = |term: &Term| match term {
            Term::Token(token) => token.code.is_some(),
            Term::OfType { .. } => true,
            _ => false,
        };
        match self {
            Self::Values(values) => {
                values.parameter.code == "identifier" && !values.is_negated() && values.any.iter().all(whole)
            }
            Self::All(all) => all.iter().any(Self::identifies),
            Self::Any(any) => any.iter().all(Self::identifies),
            Self::Missing(..) | Self::Chain(_) | Self::Has(_) | Self::Not(_) => false,
        }
    }

    /// The patients one of whom the record must be about (in the sense of `compartment::patients`), if it says so.
    #[must_use]
    pub fn patients(&self) -> Option<Vec<LogicalId>> {
        match self {
            Self::Values(values) => {
                let targets = values.targets().filter(|_| values.parameter.files_under_patients)?;
                let all = targets.iter().all(|(kind, _)| *kind == ResourceType::PATIENT);
                all.then(|| targets.into_iter().map(|(_, id)| id).collect())
            }
            Self::All(all) => all.iter().find_map(Self::patients),
            Self::Any(any) => Some(any.iter().map(Self::patients).collect::<Option<Vec<_>>>()?.concat()),
            Self::Missing(..) | Self::Chain(_) | Self::Has(_) | Self::Not(_) => None,
        }
    }
}

/// Whether one of several comes out as `wanted`, which decides; `None` while another record must be looked at.
fn decided(several: &[Filter], wanted: bool, resource: &Value, base: &BaseUrl) -> Option<bool> {
    let mut outcome = Some(!wanted);
    for one in several {
        match one.holds(resource, base) {
            Some(held) if held == wanted => return Some(wanted),
            Some(_) => {}
            None => outcome = None,
        }
    }
    outcome
}

impl Values {
    /// References of a parameter to any of these records: what the search itself asks when it follows links.
    #[must_use]
    pub fn pointing_at(parameter: &Arc<Compiled>, targets: &[(ResourceType, LogicalId)]) -> Self {
        let one = |(kind, id): &(ResourceType, LogicalId)| Target::Local(Some(*kind), id.clone());
        let any = targets.iter().map(one).map(Term::Reference).collect();
        Self { parameter: Arc::clone(parameter), modifier: Modifier::None, any }
    }

    /// Whether the terms are excluded.
    #[must_use]
    pub fn is_negated(&self) -> bool {
        matches!(self.modifier, Modifier::Not | Modifier::NotIn)
    }

    fn holds(&self, resource: &Value, base: &BaseUrl) -> bool {
        let found = match &self.parameter.source {
            Source::Paths(paths) => {
                let mut found = false;
                for path in paths {
                    path.visit(resource, &mut |value| {
                        found = found || self.any.iter().any(|term| term.holds(path, value, base));
                    });
                }
                found
            }
            Source::NotFalse(_) => {
                let mut yes = false;
                self.parameter.visit(resource, &mut |_, value| yes |= *value != Value::Bool(false));
                self.any.iter().any(|term| is_boolean(term, yes))
            }
            Source::Composite(parts) => parts.iter().any(|part| self.part_holds(part, resource, base)),
        };
        found != self.is_negated()
    }

    /// Whether one element of a composite meets all components of a term.
    fn part_holds(&self, part: &Part, resource: &Value, base: &BaseUrl) -> bool {
        let mut found = false;
        Start::visit(&part.context, resource, &mut |element| {
            found = found
                || self.any.iter().any(|term| {
                    let Term::Composite(terms) = term else { return false };
                    part.components.iter().zip(terms).all(|(component, term)| {
                        let root = if component.from_resource { resource } else { element };
                        let mut held = false;
                        for path in &component.paths {
                            path.visit(root, &mut |value| held = held || term.holds(path, value, base));
                        }
                        held
                    })
                });
        });
        found
    }

    /// The records of this server the terms name, if that is all they name.
    #[must_use]
    pub fn targets(&self) -> Option<Vec<(ResourceType, LogicalId)>> {
        if self.is_negated() {
            return None;
        }
        let one = |term: &Term| match term {
            Term::Reference(Target::Local(Some(kind), id)) => Some((*kind, id.clone())),
            _ => None,
        };
        self.any.iter().map(one).collect()
    }

    /// The logical ids the terms name, if the parameter is `_id` and one of them must be the record's.
    #[must_use]
    pub fn ids(&self) -> Option<Vec<LogicalId>> {
        if self.parameter.code != "_id" || self.is_negated() {
            return None;
        }
        let mut ids = Vec::new();
        for term in &self.any {
            // A term that is no id, or that asks for a system, matches nothing; it names no id either.
            let Term::Token(token) = term else { return None };
            ids.extend(token.code.as_deref().and_then(LogicalId::parse));
        }
        Some(ids)
    }

    /// The dates of `_lastUpdated`.
    pub(super) fn updates(&self) -> Option<Vec<(Prefix, DateRange)>> {
        if self.parameter.code != "_lastUpdated" {
            return None;
        }
        let one = |term: &Term| match term {
            Term::Date(prefix, range) => Some((*prefix, *range)),
            _ => None,
        };
        self.any.iter().map(one).collect()
    }
}

fn is_boolean(term: &Term, yes: bool) -> bool {
    match term {
        Term::Token(token) => token.code.as_deref() == Some(if yes { "true" } else { "false" }),
        Term::Unlike(term) => !is_boolean(term, yes),
        _ => false,
    }
}

/// What names of parameters are read with.
#[derive(Clone, Copy)]
pub(super) struct Grammar<'a> {
    pub(super) searches: &'a Searches,
    pub(super) reading: Reading<'a>,
}

impl Grammar<'_> {
    /// Reads a filter; `None` if R4 defines no such parameter for the type.
    pub(super) fn filter(
        self,
        kind: ResourceType,
        name: &str,
        value: &str,
        depth: usize,
    ) -> Option<Result<Filter, Problem>> {
        if let Some(rest) = name.strip_prefix("_has:") {
            return Some(self.has(kind, rest, value, depth));
        }
        let (head, chained) = match name.split_once('.') {
            Some((head, rest)) => (head, Some(rest)),
            None => (name, None),
        };
        let (code, modifier) = head.split_once(':').unwrap_or((head, ""));
        let Some(parameter) = self.searches.find(kind, code) else {
            let defined = parameters::find(kind, code)?;
            let what = "this server does not support it, and ignores no filter";
            return Some(Err(refuse(IssueCode::NotSupported, defined.code, what)));
        };
        let read = match (Modifier::parse(modifier), chained) {
            (Some(modifier), Some(rest)) => self.chain(parameter, modifier, rest, value, depth),
            (Some(modifier), None) if modifier.fits(parameter) => self.plain(parameter, modifier, value),
            _ => Err(modifier_unsupported(&parameter.code)),
        };
        Some(read)
    }

    fn plain(self, parameter: &Arc<Compiled>, modifier: Modifier, value: &str) -> Result<Filter, Problem> {
        let code = parameter.code.as_ref();
        if modifier == Modifier::Missing {
            return match value {
                "true" => Ok(Filter::Missing(Arc::clone(parameter), true)),
                "false" => Ok(Filter::Missing(Arc::clone(parameter), false)),
                _ => Err(refuse(IssueCode::Value, code, "expected true or false")),
            };
        }
        let pieces = split(value, ',');
        if pieces.len() > ALTERNATIVES_MAX {
            let what = format!("it has more than {ALTERNATIVES_MAX} values");
            return Err(refuse(IssueCode::TooCostly, code, &what));
        }
        let mut any = Vec::new();
        for piece in pieces {
            let term = self
                .reading
                .term(parameter, modifier, piece)
                .map_err(|(issue, what)| refuse(issue, code, what))?;
            if !any.contains(&term) {
                any.push(term);
            }
        }
        Ok(Filter::Values(Values { parameter: Arc::clone(parameter), modifier, any }))
    }

    fn chain(
        self,
        parameter: &Arc<Compiled>,
        modifier: Modifier,
        rest: &str,
        value: &str,
        depth: usize,
    ) -> Result<Filter, Problem> {
        let code = parameter.code.as_ref();
        let targets = match modifier {
            _ if parameter.kind != Kind::Reference => Vec::new(),
            Modifier::None => parameter.targets(),
            Modifier::Type(kind) if parameter.may_point_at(kind) => vec![kind],
            _ => Vec::new(),
        };
        if targets.is_empty() {
            return Err(modifier_unsupported(code));
        }
        check_depth(code, depth)?;
        chained(parameter, targets, |kind| self.filter(kind, rest, value, depth + 1))
    }

    /// `Type:reference:parameter`, behind `_has:`.
    fn has(self, kind: ResourceType, rest: &str, value: &str, depth: usize) -> Result<Filter, Problem> {
        let wrong = |what: &str| refuse(IssueCode::NotSupported, "_has", what);
        let mut parts = rest.splitn(3, ':');
        let (source, code, name) = (parts.next(), parts.next(), parts.next());
        let source = source.and_then(ResourceType::from_name);
        let (Some(source), Some(code), Some(name)) = (source, code, name) else {
            return Err(wrong("expected _has:Type:reference:parameter"));
        };
        let parameter = self.searches.find(source, code).filter(|one| one.may_point_at(kind));
        let Some(parameter) = parameter else {
            return Err(wrong("the type has no such parameter that points at the type searched"));
        };
        check_depth("_has", depth)?;
        let filter = self.filter(source, name, value, depth + 1);
        let filter = filter.unwrap_or_else(|| Err(wrong("the type has no such parameter")))?;
        Ok(Filter::Has(Has { source, parameter: Arc::clone(parameter), filter: Box::new(filter) }))
    }
}

/// A chain to each of the types for which `read` finds a filter.
pub(super) fn chained(
    parameter: &Arc<Compiled>,
    targets: Vec<ResourceType>,
    mut read: impl FnMut(ResourceType) -> Option<Result<Filter, Problem>>,
) -> Result<Filter, Problem> {
    let mut links = Vec::new();
    let mut wrong = None;
    for kind in targets {
        match read(kind) {
            Some(Ok(filter)) => links.push((kind, Arc::new(filter))),
            Some(Err(problem)) => wrong = Some(problem),
            None => {}
        }
    }
    match (links.is_empty(), wrong) {
        (false, None) => Ok(Filter::Chain(Chain { parameter: Arc::clone(parameter), links })),
        // What is wrong for one type is wrong: its records would be left out without a word.
        (_, Some(problem)) => Err(problem),
        (true, None) => {
            let what = "what it points at has no such parameter";
            Err(refuse(IssueCode::NotSupported, &parameter.code, what))
        }
    }
}

pub(super) fn check_depth(code: &str, depth: usize) -> Result<(), Problem> {
    if depth < LINKS_MAX {
        return Ok(());
    }
    let what = format!("it follows more than {LINKS_MAX} links");
    Err(refuse(IssueCode::TooCostly, code, &what))
}

/// A problem with a parameter that R4 defines: names it, never its value.
pub(super) fn refuse(issue: IssueCode, code: &str, what: &str) -> Problem {
    Problem::error(issue, format!("Search parameter {code}: {what}.")).by(format!("search.{code}"))
}

pub(super) fn modifier_unsupported(code: &str) -> Problem {
    refuse(IssueCode::NotSupported, code, "this server does not support this modifier or chain")
}
