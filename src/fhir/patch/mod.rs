//! Patches: a resource's next version, told by what changes (FHIR R4 http.html#patch, fhirpatch.html).
//!
//! May import only std, `serde_json` and what stands beside it in `fhir`.
//!
//! Three forms: JSON Patch (RFC 6902), FHIRPath Patch, and the tags, profiles and security labels of the `$meta`
//! operations. Members keep their order and numbers their digits. Texts of problems name an operation by its place
//! and never quote it, nor the resource.

mod element;
mod json;
mod meta;
mod parameters;
mod path;

use serde_json::Value;

use super::definitions::Definitions;
use super::outcome::{IssueCode, Problem};

pub use meta::MetaChange;

/// The most operations of one patch.
pub const OPERATIONS_MAX: usize = 1_000;
/// The most bytes that the operations of one patch may copy inside the resource.
pub const COPIED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What is to change.
pub struct Patch(Form);

enum Form {
    Json(Vec<json::Operation>),
    Path(Vec<element::Operation>),
    Meta(meta::Meta),
}

impl Patch {
    /// A JSON Patch document.
    ///
    /// # Errors
    /// Everything that is wrong with its form; each is a 400.
    pub fn of_json(document: &Value) -> Result<Self, Vec<Problem>> {
        json::parse(document).map(|operations| Self(Form::Json(operations)))
    }

    /// A FHIRPath Patch: a Parameters resource.
    ///
    /// # Errors
    /// Everything that is wrong with its form; each is a 422, as fhirpatch.html asks of paths that are not served.
    pub fn of_parameters(resource: &Value) -> Result<Self, Vec<Problem>> {
        parameters::parse(resource).map(|operations| Self(Form::Path(operations)))
    }

    /// `$meta-add` or `$meta-delete`: the `meta` parameter of a Parameters resource that has been validated as one.
    ///
    /// # Errors
    /// A 400: it is not there, is there twice, or holds something else than profiles, labels and tags.
    pub fn of_meta(resource: &Value, change: MetaChange) -> Result<Self, Problem> {
        meta::Meta::parse(resource, change).map(|meta| Self(Form::Meta(meta)))
    }

    /// The resource after all operations, in their order; it is to be validated as any update.
    ///
    /// # Errors
    /// The first operation that cannot be done, or that the patch changes what only the server sets.
    pub fn apply(&self, definitions: &Definitions, resource: Value) -> Result<Value, Problem> {
        let before = Identity::of(&resource);
        let after = match &self.0 {
            Form::Json(operations) => json::apply(operations, resource)?,
            Form::Path(operations) => element::apply(operations, definitions, resource)?,
            Form::Meta(meta) => meta.apply(resource),
        };
        if Identity::of(&after) == before { Ok(after) } else { Err(tampering()) }
    }
}

/// What a patch leaves alone: the server alone says which resource this is, and which version.
#[derive(PartialEq, Eq)]
struct Identity([Option<Value>; 4]);

impl Identity {
    fn of(resource: &Value) -> Self {
        let places = ["/resourceType", "/id", "/meta/versionId", "/meta/lastUpdated"];
        Self(places.map(|place| resource.pointer(place).cloned()))
    }
}

fn tampering() -> Problem {
    let text = "A patch changes neither resourceType, id, meta.versionId nor meta.lastUpdated.";
    Problem::error(IssueCode::BusinessRule, text).by("patch.identity")
}

/// A problem with one operation, counted from 1.
fn refuse(place: usize, code: IssueCode, what: &str) -> Problem {
    Problem::error(code, format!("Operation {place}: {what}.")).by("patch.operation")
}

fn too_many() -> Problem {
    Problem::error(IssueCode::TooCostly, format!("More than {OPERATIONS_MAX} operations."))
        .by("patch.operations-max")
}

#[cfg(test)]
mod tests;
