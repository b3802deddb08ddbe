//! Every search parameter of R4, compiled once at start to where its values stand.
//!
//! May import only std, `serde_json` and what stands beside it in `fhir`.
//!
//! Five are not compiled and are refused by name: `Bundle.composition` and `Bundle.message` (they point at a
//! resource that stands inside the Bundle), `Location.near` (geography), and `_content` and `_text` (full
//! text). `_query` names no query that this server has.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::{Value, json};

use super::super::compartment;
use super::super::definitions::Definitions;
use super::super::kinds::{LogicalId, ResourceType};
use super::super::reference::BaseUrl;
use super::compiler::{Compiler, Context, Start};
use super::composite;
use super::parameters::{self, Kind, Parameter};
use super::path::{Datatype, Path};

/// A parameter of one type that can be searched for.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The type it belongs to.
    pub of: ResourceType,
    /// Its name in a query, without modifiers.
    pub code: Cow<'static, str>,
    /// The kind of its values.
    pub kind: Kind,
    /// Whether a record is filed under every Patient that its References point at (`compartment::patients`).
    pub files_under_patients: bool,
    /// What defines it, if R4 does not: a tenant ([`super::added`]).
    pub(super) added: Option<Box<str>>,
    /// Where its values come from.
    pub(super) source: Source,
}

/// Where the values of a parameter come from.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// From these places.
    Paths(Vec<Path>),
    /// Whether any of these places holds something other than `false`: `Patient.deceased`.
    NotFalse(Vec<Path>),
    /// From parts of the resource, each with a place for every component.
    Composite(Vec<Part>),
}

/// One sort of part of a composite parameter.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) context: Context,
    pub(super) components: Vec<Component>,
}

/// One component of a composite parameter.
#[derive(Clone, Debug)]
pub(super) struct Component {
    pub(super) kind: Kind,
    pub(super) paths: Vec<Path>,
    /// Whether the paths start at the resource (`%resource`) and not at the part.
    pub(super) from_resource: bool,
}

impl Compiled {
    /// Whether a tenant defined it and not R4.
    #[must_use]
    pub const fn is_added(&self) -> bool {
        self.added.is_some()
    }

    /// What defines it, if R4 does not.
    #[must_use]
    pub fn definition(&self) -> Option<&str> {
        self.added.as_deref()
    }

    /// The places of its values; none of a composite.
    #[must_use]
    pub fn paths(&self) -> &[Path] {
        match &self.source {
            Source::Paths(paths) | Source::NotFalse(paths) => paths,
            Source::Composite(_) => &[],
        }
    }

    /// The kinds of its components, if it is a composite.
    pub(super) fn component_kinds(&self) -> Vec<Kind> {
        match &self.source {
            Source::Composite(parts) => {
                parts.first().map(|part| part.components.iter().map(|c| c.kind).collect()).unwrap_or_default()
            }
            _ => Vec::new(),
        }
    }

    /// Calls `visit` with every value and the path that leads to it; not for composites.
    pub fn visit<'a>(&self, resource: &'a Value, visit: &mut dyn FnMut(&Path, &'a Value)) {
        for path in self.paths() {
            path.visit(resource, &mut |value| visit(path, value));
        }
    }

    /// Whether it holds anything in the resource.
    #[must_use]
    pub fn is_present(&self, resource: &Value) -> bool {
        let mut found = false;
        match &self.source {
            Source::NotFalse(_) => return true,
            Source::Paths(_) => self.visit(resource, &mut |_, _| found = true),
            Source::Composite(parts) => {
                for part in parts {
                    Start::visit(&part.context, resource, &mut |element| {
                        found |= part.components.iter().all(|component| {
                            let mut any = false;
                            let root = if component.from_resource { resource } else { element };
                            component.paths.iter().for_each(|path| path.visit(root, &mut |_| any = true));
                            any
                        });
                    });
                }
            }
        }
        found
    }

    /// The types its References may point at.
    #[must_use]
    pub fn targets(&self) -> Vec<ResourceType> {
        ResourceType::all().filter(|kind| self.may_point_at(*kind)).collect()
    }

    /// Whether some of its values are canonical URLs, which any type may have.
    pub(super) fn holds_urls(&self) -> bool {
        self.paths().iter().any(|path| path.datatype != Datatype::Reference)
    }

    /// Whether one of its References may point at the type.
    #[must_use]
    pub fn may_point_at(&self, kind: ResourceType) -> bool {
        self.kind == Kind::Reference && self.paths().iter().any(|path| path.may_point_at(kind))
    }
}

/// All of them.
#[derive(Clone, Debug)]
pub struct Searches {
    /// In the order of [`ResourceType::all`], whose codes count from 1; sorted by code.
    types: Vec<Vec<Arc<Compiled>>>,
}

impl Searches {
    /// Compiles every parameter of R4. Takes some milliseconds: once, at start.
    #[must_use]
    pub fn compile(definitions: &Definitions) -> Self {
        let compiler = Compiler { definitions };
        let types = ResourceType::all().map(|kind| {
            let mut found: Vec<Arc<Compiled>> =
                parameters::of(kind).filter_map(|one| compile(compiler, kind, one).map(Arc::new)).collect();
            found.sort_unstable_by(|a, b| a.code.cmp(&b.code));
            found
        });
        Self { types: types.collect() }
    }

    /// These and others beside them.
    #[must_use]
    pub fn with(&self, added: &[Arc<Compiled>]) -> Self {
        let mut all = self.clone();
        for one in added {
            let place = usize::from(one.of.code().unsigned_abs()).saturating_sub(1);
            if let Some(of_type) = all.types.get_mut(place)
                && let Err(at) = of_type.binary_search_by(|other| other.code.cmp(&one.code))
            {
                of_type.insert(at, Arc::clone(one));
            }
        }
        all
    }

    /// The parameter of this name for this type; `None` if there is none, or it was not compiled.
    #[must_use]
    pub fn find(&self, kind: ResourceType, code: &str) -> Option<&Arc<Compiled>> {
        let all = self.of(kind);
        all.get(all.binary_search_by(|one| one.code.as_ref().cmp(code)).ok()?)
    }

    /// The parameters of a type, those of every type among them, in alphabetical order.
    #[must_use]
    pub fn of(&self, kind: ResourceType) -> &[Arc<Compiled>] {
        let place = usize::from(kind.code().unsigned_abs()).saturating_sub(1);
        self.types.get(place).map_or(&[], Vec::as_slice)
    }
}

fn compile(compiler: Compiler<'_>, of: ResourceType, parameter: &Parameter) -> Option<Compiled> {
    const NOT_FALSE: &str = "Patient.deceased.exists() and Patient.deceased != false";
    let source = match parameter.kind {
        Kind::Special => return None,
        Kind::Composite => Source::Composite(composite_of(compiler, of, parameter)?),
        _ if parameter.expression == NOT_FALSE => Source::NotFalse(compiler.paths(of, "Patient.deceased")?),
        kind => {
            let mut paths = compiler.paths(of, parameter.expression)?;
            paths.retain(|path| takes(kind, path.datatype));
            if paths.is_empty() {
                return None;
            }
            Source::Paths(paths)
        }
    };
    let files_under_patients = match &source {
        Source::Paths(paths) => parameter.kind == Kind::Reference && files_under_patients(of, paths),
        _ => false,
    };
    let (code, kind) = (Cow::Borrowed(parameter.code), parameter.kind);
    Some(Compiled { of, code, kind, files_under_patients, added: None, source })
}

/// Tries it: a record with one reference at the path must be filed under whom it names.
pub(super) fn files_under_patients(of: ResourceType, paths: &[Path]) -> bool {
    let (Some(base), Some(id)) = (BaseUrl::parse("https://example.org"), LogicalId::parse("0")) else {
        return false;
    };
    let reference = json!({"reference": "Patient/1"});
    let mut to_patients = paths.iter().filter(|path| path.may_point_at(ResourceType::PATIENT)).peekable();
    to_patients.peek().is_some()
        && to_patients.all(|path| {
            let about = compartment::patients(&path.sample(reference.clone()), of, &id, &base);
            about.iter().any(|patient| patient.as_str() == "1")
        })
}

fn composite_of(compiler: Compiler<'_>, of: ResourceType, parameter: &Parameter) -> Option<Vec<Part>> {
    let definition = composite::find(of, parameter.code)?;
    let mut parts = Vec::new();
    for start in compiler.starts(of, parameter.expression)? {
        let mut components = Vec::new();
        for (kind, expression) in definition {
            let from_resource = expression.starts_with("%resource.");
            let mut paths = match expression.strip_prefix("%resource.") {
                Some(rest) => compiler.paths(of, &format!("{}.{rest}", of.name()))?,
                None => compiler.inside(&start, expression)?,
            };
            paths.retain(|path| takes(*kind, path.datatype));
            components.push(Component { kind: *kind, paths, from_resource });
        }
        parts.push(Part { context: start.context(), components });
    }
    Some(parts)
}

/// Whether values of a datatype can be compared as a kind of parameter (FHIR R4 search.html#ptypes).
///
/// `SampledData`, which R4 names for three quantity parameters, is many numbers and no quantity: it is left out.
pub(super) fn takes(kind: Kind, datatype: Datatype) -> bool {
    use Datatype as D;
    match kind {
        Kind::String => matches!(datatype, D::Text | D::HumanName | D::Address | D::Code | D::Uri),
        Kind::Token => matches!(
            datatype,
            D::Coding
                | D::CodeableConcept
                | D::Identifier
                | D::ContactPoint
                | D::Code
                | D::Boolean
                | D::Uri
                | D::Canonical
                | D::Id
                | D::Text
        ),
        Kind::Reference => matches!(datatype, D::Reference | D::Canonical | D::Uri),
        Kind::Date => matches!(datatype, D::Date | D::Period | D::Timing),
        Kind::Number => matches!(datatype, D::Number | D::Range),
        Kind::Quantity => matches!(datatype, D::Quantity | D::Money | D::Range),
        Kind::Uri => matches!(datatype, D::Uri | D::Canonical),
        Kind::Composite | Kind::Special => false,
    }
}

#[cfg(test)]
#[path = "index_tests.rs"]
mod tests;
