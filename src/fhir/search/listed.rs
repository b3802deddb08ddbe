//! The list of parameters that find records without a patient being named.
//!
//! May import only std and what stands beside it in `fhir`.
//!
//! What is marked of each value is said in [`super::mark`]. A parameter whose values are all those of others on the list
//! (`combo-code`: those of `code` and of `component-code`) bears no marks of its own: theirs find it.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_json::Value;

use super::super::compartment::can_be_about_a_patient;
use super::super::kinds::ResourceType;
use super::super::reference::BaseUrl;
use super::bearers::bearers;
use super::filter::{Filter, Values};
use super::fold::fold;
use super::grams;
use super::holds::texts;
use super::index::{Compiled, Searches, Source};
use super::joint::{of_first_terms, of_parts, of_terms};
use super::lists::{DEFAULT, Named, OWN, can_be_listed};
use super::mark::{Mark, of_term, of_value};
use super::parameters::Kind;
use super::term::Term;

/// The most marks of one value that is asked for; a search that would need more is not narrowed by it.
const ASKED_MAX: usize = 512;

/// The list in force.
#[derive(Default)]
pub struct Listed {
    /// In the order of [`ResourceType::all`].
    types: Vec<Vec<Arc<Compiled>>>,
    /// Of the texts among them, those that are marked piece by piece.
    pieces: HashSet<Key>,
    /// What bears no marks of its own, with those whose marks find it.
    by_others: HashMap<Key, Vec<Arc<Compiled>>>,
}

/// A parameter by its type and name.
type Key = (ResourceType, Cow<'static, str>);

impl Listed {
    /// The default list with what else is named: `Type.parameter`, `added:Type.parameter` for one that tenants add, of a text
    /// also `Type.parameter:contains`, or `all` for everything that can be.
    ///
    /// # Errors
    /// The first name that no parameter has, or that is never listed.
    pub fn of(searches: &Searches, more: &[String]) -> Result<Self, String> {
        let wrong = |name: &&String| !Named::parse(name).is_some_and(|named| named.can_be(searches));
        match more.iter().filter(|name| *name != "all").find(wrong) {
            Some(name) => Err(name.clone()),
            None => Ok(Self::known(searches, more)),
        }
    }

    /// The same of names that have been checked.
    #[must_use]
    pub fn known(searches: &Searches, more: &[String]) -> Self {
        let all = more.iter().any(|name| name == "all");
        let names: Vec<Named<'_>> = more.iter().filter_map(|name| Named::parse(name)).collect();
        let types = ResourceType::all().map(|kind| {
            let by_default = |one: &Compiled| {
                let is = |(of, name): &(&str, &str)| (*of == "*" || *of == kind.name()) && *name == one.code;
                !one.is_added() && DEFAULT.iter().any(is)
            };
            let wanted = |one: &&Arc<Compiled>| {
                let named = names.iter().any(|name| name.is(one));
                can_be_listed(searches, one)
                    && (all || !can_be_about_a_patient(kind) || by_default(one) || named)
            };
            searches.of(kind).iter().filter(wanted).cloned().collect()
        });
        let types: Vec<Vec<Arc<Compiled>>> = types.collect();
        let in_pieces = |one: &&Arc<Compiled>| {
            one.kind == Kind::String && (all || names.iter().any(|name| name.in_pieces && name.is(one)))
        };
        let pieces = types.iter().flatten().filter(in_pieces).map(|one| key(one)).collect();
        Self::of_types(types, pieces)
    }

    fn of_types(types: Vec<Vec<Arc<Compiled>>>, pieces: HashSet<Key>) -> Self {
        let by_others = types.iter().flat_map(|all| bearers(all)).map(|(one, others)| (key(&one), others));
        Self { by_others: by_others.collect(), types, pieces }
    }

    /// Of the list, what tenants add.
    #[must_use]
    pub fn added(&self) -> Self {
        let added = |all: &Vec<Arc<Compiled>>| all.iter().filter(|one| one.is_added()).cloned().collect();
        Self::of_types(self.types.iter().map(added).collect(), self.pieces.clone())
    }

    /// The list of what is marked under each patient's own key.
    #[must_use]
    pub fn own(searches: &Searches) -> Self {
        let types = ResourceType::all().map(|kind| {
            let wanted = |one: &&Arc<Compiled>| {
                can_be_about_a_patient(kind)
                    && can_be_listed(searches, one)
                    && OWN.contains(&one.code.as_ref())
                    && !one.is_added()
            };
            searches.of(kind).iter().filter(wanted).cloned().collect()
        });
        Self::of_types(types.collect(), HashSet::new())
    }

    /// The parameters of a type that are on the list, in alphabetical order.
    #[must_use]
    pub fn parameters(&self, kind: ResourceType) -> &[Arc<Compiled>] {
        self.types.get(usize::from(kind.code().unsigned_abs()).saturating_sub(1)).map_or(&[], Vec::as_slice)
    }

    /// Everything on the list.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Compiled>> {
        self.types.iter().flatten()
    }

    /// The names of everything on the list: marks made by the same names and definitions are the same.
    pub fn names(&self) -> impl Iterator<Item = String> {
        self.all().map(|one| self.name(one))
    }

    /// How a parameter is named if it is on the list.
    #[must_use]
    pub fn name(&self, one: &Compiled) -> String {
        let pieces = if self.in_pieces(one) { ":contains" } else { "" };
        format!("{}.{}{pieces}", one.of.name(), one.code)
    }

    /// Calls `visit` with every mark of a resource.
    pub fn marks<'a>(
        &self,
        kind: ResourceType,
        resource: &'a Value,
        base: &BaseUrl,
        visit: &mut dyn FnMut(&Compiled, Mark<'a>),
    ) {
        for parameter in self.parameters(kind) {
            if self.by_others.contains_key(&key(parameter)) {
                continue;
            }
            if let Source::Composite(parts) = &parameter.source {
                of_parts(parts, resource, base, &mut |mark| visit(parameter, mark));
            }
            let sort = (parameter.kind, parameter.paths());
            let in_pieces = self.in_pieces(parameter);
            parameter.visit(resource, &mut |path, value| {
                if in_pieces {
                    let mut piece = |piece: String| visit(parameter, Mark::Piece(piece.into()));
                    texts(path.datatype, value, &mut |text| grams::of_text(&fold(text), &mut piece));
                }
                of_value(sort, path, value, base, &mut |mark| visit(parameter, mark));
            });
        }
    }

    /// The marks of which every match of these values bears one; `None` if there are none, or too many.
    #[must_use]
    pub fn asked(&self, values: &Values) -> Option<Vec<Mark<'static>>> {
        let parameter = &values.parameter;
        if !self.has(parameter) || values.is_negated() {
            return None;
        }
        let mut marks = Vec::new();
        for term in &values.any {
            marks.extend(match (&parameter.source, term) {
                (_, Term::Contains(text) | Term::Ends(text)) if self.in_pieces(parameter) => {
                    grams::asked(text)?.map(|piece| Mark::Piece(piece.into())).into()
                }
                (Source::Composite(parts), Term::Composite(terms)) => of_terms(parts, terms, ASKED_MAX)?,
                _ => {
                    of_term((parameter.kind, parameter.paths()), &parameter.targets(), values.modifier, term)?
                }
            });
        }
        (marks.len() <= ASKED_MAX).then_some(marks)
    }

    /// The marks of which every match of a filter bears one, each with its parameter; `None` if there are none.
    #[must_use]
    pub fn marks_of<'f>(&'f self, filter: &'f Filter) -> Option<Vec<(&'f Compiled, Mark<'static>)>> {
        let found = match filter {
            Filter::Values(values) => {
                let asked = self.asked(values)?;
                self.borne_by(values, &asked)
            }
            // Each of them is borne: the fewest do.
            Filter::All(all) => all.iter().filter_map(|one| self.marks_of(one)).min_by_key(Vec::len)?,
            Filter::Any(any) => {
                any.iter().map(|one| self.marks_of(one)).collect::<Option<Vec<_>>>()?.concat()
            }
            Filter::Missing(..) | Filter::Chain(_) | Filter::Has(_) | Filter::Not(_) => return None,
        };
        (found.len() <= ASKED_MAX).then_some(found)
    }

    /// Of a composite, the marks of its first component alone, of which every match bears one too: fewer, and more bear them.
    #[must_use]
    pub fn first_of<'f>(&'f self, filter: &'f Filter) -> Option<Vec<(&'f Compiled, Mark<'static>)>> {
        let Filter::Values(values) = filter else { return None };
        let Source::Composite(parts) = &values.parameter.source else { return None };
        self.asked(values)?;
        let mut found = Vec::new();
        for term in &values.any {
            let Term::Composite(terms) = term else { return None };
            found.extend(of_first_terms(parts, terms)?);
        }
        Some(self.borne_by(values, &found))
    }

    /// Marks that are asked for, each with the parameter that bears it.
    fn borne_by<'f>(
        &'f self,
        values: &'f Values,
        marks: &[Mark<'static>],
    ) -> Vec<(&'f Compiled, Mark<'static>)> {
        let of = |parameter: &'f Compiled| marks.iter().map(move |mark| (parameter, mark.clone()));
        match self.by_others.get(&key(&values.parameter)) {
            Some(others) => others.iter().flat_map(|one| of(one)).collect(),
            None => of(&values.parameter).collect(),
        }
    }

    /// Whether the texts of a parameter are marked piece by piece.
    fn in_pieces(&self, parameter: &Compiled) -> bool {
        self.pieces.contains(&key(parameter))
    }

    /// Whether a parameter is on the list.
    #[must_use]
    pub fn has(&self, parameter: &Compiled) -> bool {
        self.parameters(parameter.of).binary_search_by(|one| one.code.cmp(&parameter.code)).is_ok()
    }
}

fn key(parameter: &Compiled) -> Key {
    (parameter.of, parameter.code.clone())
}

#[cfg(test)]
#[path = "listed_tests.rs"]
mod tests;
