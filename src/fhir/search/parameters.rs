//! The search parameters R4 defines, and which of them this server supports.
//!
//! May import only std and `fhir::kinds`. The table is made from HL7's definitions; see
//! `r4/SOURCE-tables.md`.

use super::super::kinds::ResourceType;

#[path = "../r4/search_parameters.rs"]
mod table;

/// The kind of values a parameter has (FHIR R4 valueset-search-param-type).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is the R4 code of the same name")]
pub enum Kind {
    Number,
    Date,
    String,
    Token,
    Reference,
    Composite,
    Quantity,
    Uri,
    Special,
}

impl Kind {
    const ALL: [Self; 9] = [
        Self::Number,
        Self::Date,
        Self::String,
        Self::Token,
        Self::Reference,
        Self::Composite,
        Self::Quantity,
        Self::Uri,
        Self::Special,
    ];

    /// The kind of this code.
    #[must_use]
    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == code)
    }

    /// The code as FHIR writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Date => "date",
            Self::String => "string",
            Self::Token => "token",
            Self::Reference => "reference",
            Self::Composite => "composite",
            Self::Quantity => "quantity",
            Self::Uri => "uri",
            Self::Special => "special",
        }
    }
}

/// One search parameter of one type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name in a query.
    pub code: &'static str,
    /// The kind of its values.
    pub kind: Kind,
    /// Where it looks: `FHIRPath`, cut down to the alternatives of this type.
    pub expression: &'static str,
}

/// The parameter of this name for this type; those of `Resource` and `DomainResource` are every type's.
#[must_use]
pub fn find(kind: ResourceType, code: &str) -> Option<&'static Parameter> {
    [kind.name(), "Resource", "DomainResource"].into_iter().find_map(|base| {
        let parameters = of_base(base);
        let at = parameters.binary_search_by(|parameter| parameter.code.cmp(code)).ok()?;
        parameters.get(at)
    })
}

/// The parameters of a type, those of every type among them.
pub(super) fn of(kind: ResourceType) -> impl Iterator<Item = &'static Parameter> {
    [kind.name(), "Resource", "DomainResource"].into_iter().flat_map(of_base)
}

/// The search result parameters, and others that R4 defines beside the table (search.html#summary).
const CONTROLS: [&str; 17] = [
    "_contained",
    "_containedType",
    "_count",
    "_cursor",
    "_elements",
    "_filter",
    "_format",
    "_has",
    "_include",
    "_list",
    "_pretty",
    "_revinclude",
    "_score",
    "_sort",
    "_summary",
    "_total",
    "_type",
];

/// The parameter of this name that no type defines, such as `_count`.
#[must_use]
pub fn control(code: &str) -> Option<&'static str> {
    CONTROLS.into_iter().find(|control| *control == code)
}

/// The parameters that only this type has.
#[must_use]
pub fn of_type(kind: ResourceType) -> &'static [Parameter] {
    of_base(kind.name())
}

fn of_base(base: &str) -> &'static [Parameter] {
    let at = table::TYPES.binary_search_by(|(name, _)| (*name).cmp(base)).ok();
    at.and_then(|at| table::TYPES.get(at)).map_or(&[], |(_, parameters)| parameters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_whole() {
        assert!(table::TYPES.is_sorted_by(|a, b| a.0 < b.0));
        let mut count = 0;
        for (name, parameters) in table::TYPES {
            assert!(ResourceType::from_name(name).is_some() || name.ends_with("Resource"), "{name}");
            assert!(parameters.is_sorted_by(|a, b| a.code < b.code), "{name}");
            count += parameters.len();
        }
        assert_eq!(count, 1_706);
    }

    #[test]
    fn parameters_belong_to_types() {
        for (kind, code, expression) in [
            (ResourceType::OBSERVATION, "patient", Some("Observation.subject.where(resolve() is Patient)")),
            (ResourceType::OBSERVATION, "subject", Some("Observation.subject")),
            (ResourceType::OBSERVATION, "_id", Some("Resource.id")),
            (ResourceType::OBSERVATION, "birthdate", None),
            (ResourceType::PATIENT, "birthdate", Some("Patient.birthDate")),
            (ResourceType::PATIENT, "patient", None),
            (ResourceType::PATIENT, "subject", None),
            (ResourceType::ORGANIZATION, "patient", None),
        ] {
            assert_eq!(find(kind, code).map(|p| p.expression), expression);
        }
    }
}
