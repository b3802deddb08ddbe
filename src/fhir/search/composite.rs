//! What the composite parameters of R4 are made of.
//!
//! May import only std and what stands beside it. From the `component` of HL7's `SearchParameters` (CC0).
//! `DocumentReference.relationship` has the definitions of its two components exchanged there; here each has
//! the kind of what its expression leads to.

use super::super::kinds::ResourceType;
use super::parameters::Kind;

type Components = &'static [(Kind, &'static str)];

const CONTEXT_QUANTITY: Components =
    &[(Kind::Token, "code"), (Kind::Quantity, "value.as(Quantity) | value.as(Range)")];
const CONTEXT_VALUE: Components = &[(Kind::Token, "code"), (Kind::Token, "value.as(CodeableConcept)")];
const CODE_CONCEPT: Components = CONTEXT_VALUE;
const CODE_QUANTITY: Components = &[(Kind::Token, "code"), (Kind::Quantity, "value.as(Quantity)")];

/// The others: type, code, components.
const TABLE: [(&str, &str, Components); 14] = [
    ("DocumentReference", "relationship", &[(Kind::Token, "code"), (Kind::Reference, "target")]),
    ("Group", "characteristic-value", &[(Kind::Token, "code"), (Kind::Token, "value")]),
    (
        "MolecularSequence",
        "chromosome-variant-coordinate",
        &[(Kind::Token, "%resource.referenceSeq.chromosome"), (Kind::Number, "start"), (Kind::Number, "end")],
    ),
    (
        "MolecularSequence",
        "chromosome-window-coordinate",
        &[(Kind::Token, "chromosome"), (Kind::Number, "windowStart"), (Kind::Number, "windowEnd")],
    ),
    (
        "MolecularSequence",
        "referenceseqid-variant-coordinate",
        &[
            (Kind::Token, "%resource.referenceSeq.referenceSeqId"),
            (Kind::Number, "start"),
            (Kind::Number, "end"),
        ],
    ),
    (
        "MolecularSequence",
        "referenceseqid-window-coordinate",
        &[(Kind::Token, "referenceSeqId"), (Kind::Number, "windowStart"), (Kind::Number, "windowEnd")],
    ),
    ("Observation", "code-value-concept", CODE_CONCEPT),
    (
        "Observation",
        "code-value-date",
        &[(Kind::Token, "code"), (Kind::Date, "value.as(DateTime) | value.as(Period)")],
    ),
    ("Observation", "code-value-quantity", CODE_QUANTITY),
    ("Observation", "code-value-string", &[(Kind::Token, "code"), (Kind::String, "value.as(string)")]),
    ("Observation", "combo-code-value-concept", CODE_CONCEPT),
    ("Observation", "combo-code-value-quantity", CODE_QUANTITY),
    ("Observation", "component-code-value-concept", CODE_CONCEPT),
    ("Observation", "component-code-value-quantity", CODE_QUANTITY),
];

/// The components of a composite parameter: the kind of each, and where it looks from the parameter's part.
pub(super) fn find(kind: ResourceType, code: &str) -> Option<Components> {
    match code {
        "context-type-quantity" => Some(CONTEXT_QUANTITY),
        "context-type-value" => Some(CONTEXT_VALUE),
        _ => TABLE.iter().find(|row| row.0 == kind.name() && row.1 == code).map(|row| row.2),
    }
}
