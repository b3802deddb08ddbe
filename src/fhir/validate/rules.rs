//! The rules of structure, by their stable ids. Clients and tests name them: an id never changes.

use super::super::outcome::IssueCode;
use super::report::Rule;

const fn rule(id: &'static str, code: IssueCode, text: &'static str) -> Rule {
    Rule { id, code, text }
}

use IssueCode::{CodeInvalid, Extension, Invalid, Invariant, Required, Structure, TooCostly, TooLong, Value};

pub(super) const NOT_AN_OBJECT: Rule = rule("structure.object-expected", Structure, "expected a JSON object");
pub(super) const TYPE_MISSING: Rule =
    rule("structure.resource-type-missing", Required, "resourceType is missing");
pub(super) const TYPE_UNKNOWN: Rule =
    rule("structure.resource-type-unknown", Invalid, "resourceType is not a resource type of FHIR R4");
pub(super) const TYPE_WRONG: Rule =
    rule("structure.resource-type-wrong", Invalid, "resourceType is not the type expected here");
pub(super) const UNKNOWN_ELEMENT: Rule =
    rule("structure.unknown-element", Structure, "FHIR R4 has no such element here");
pub(super) const CHOICE: Rule =
    rule("structure.choice", Structure, "an element with a choice of types is given in more than one type");
pub(super) const REQUIRED: Rule = rule("structure.required", Required, "a required element is missing");
pub(super) const ARRAY_EXPECTED: Rule =
    rule("structure.array-expected", Structure, "expected an array: the element may repeat");
pub(super) const ARRAY_UNEXPECTED: Rule =
    rule("structure.array-unexpected", Structure, "expected no array: the element may not repeat");
pub(super) const EMPTY_ARRAY: Rule = rule("structure.empty-array", Structure, "an array may not be empty");
pub(super) const EMPTY_OBJECT: Rule = rule("structure.empty-object", Structure, "an object may not be empty");
pub(super) const NULL: Rule =
    rule("structure.null", Structure, "null may only keep the place of a value that has extensions");
pub(super) const NO_COMPANION: Rule =
    rule("structure.underscore", Structure, "only a primitive element has a companion with an underscore");
pub(super) const MISALIGNED: Rule = rule(
    "structure.misaligned-arrays",
    Structure,
    "the arrays of values and of their extensions must be equally long",
);
pub(super) const TOO_DEEP: Rule = rule("structure.depth", TooLong, "nested too deep");
pub(super) const TOO_COSTLY: Rule =
    rule("structure.too-costly", TooCostly, "checking the invariants of this resource takes too many steps");
pub(super) const NO_CONTENT: Rule =
    rule("invariant.ele-1", Invariant, "an element must have a value or children besides its id");
pub(super) const EXTENSION_CONTENT: Rule =
    rule("invariant.ext-1", Extension, "an extension must have either a value or extensions, not both");
pub(super) const CONTAINED_NESTED: Rule =
    rule("invariant.dom-2", Invariant, "a contained resource may not contain resources");
pub(super) const CONTAINED_VERSIONED: Rule =
    rule("invariant.dom-4", Invariant, "a contained resource may have neither versionId nor lastUpdated");
pub(super) const CONTAINED_SECURITY: Rule =
    rule("invariant.dom-5", Invariant, "a contained resource may not have a security label");
pub(super) const CONTAINED_UNUSED: Rule = rule(
    "invariant.dom-3",
    Invariant,
    "a contained resource must be pointed at from the resource, or point at it",
);
pub(super) const NO_NARRATIVE: Rule =
    rule("invariant.dom-6", Invariant, "a resource should have a narrative, so that people can read it");
pub(super) const CONTAINED_ID: Rule =
    rule("contained.id-missing", Required, "a contained resource needs an id");
pub(super) const CONTAINED_TWICE: Rule =
    rule("contained.id-duplicate", Invalid, "two contained resources have the same id");
pub(super) const REFERENCE_FORM: Rule = rule(
    "reference.form",
    Value,
    "expected Type/id, an absolute URL, urn:uuid:, urn:oid: or the #id of a contained resource",
);
pub(super) const REFERENCE_CONTAINED: Rule =
    rule("reference.contained-missing", Value, "no contained resource has this id");
pub(super) const REFERENCE_TARGET: Rule =
    rule("reference.target-type", Value, "a reference here may not point at a resource of this type");
pub(super) const REFERENCE_TYPE: Rule =
    rule("reference.type-mismatch", Value, "Reference.type is not the type that the reference names");
pub(super) const CODE_INVALID: Rule =
    rule("binding.required", CodeInvalid, "the code is not in the ValueSet this element is bound to");
pub(super) const NARRATIVE: Rule = rule(
    "invariant.txt-1",
    Invariant,
    "a narrative may hold only XHTML for formatting: no script, no event handler, no active link",
);
pub(super) const NARRATIVE_EMPTY: Rule =
    rule("invariant.txt-2", Invariant, "a narrative must have some text or an image");
