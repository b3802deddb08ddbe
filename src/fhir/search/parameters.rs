//! The search parameters R4 defines, and which of them this server supports.
//!
//! May import only std and `fhir::kinds`. The table is made from HL7's definitions; see
//! `r4/SOURCE-tables.md`.

use super::super::kinds::ResourceType;
use super::PatientParameter;

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

/// The parameters of a type that this server supports, in alphabetical order.
pub fn supported(kind: ResourceType) -> impl Iterator<Item = &'static Parameter> {
    ["_id", "_lastUpdated", "patient", "subject"].into_iter().filter_map(move |code| find(kind, code)).filter(
        move |parameter| {
            !is_patient_parameter(parameter.code) || patient_parameter(kind, parameter.code).is_some()
        },
    )
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

/// `patient` or `subject` of a type, if it exists there and can find a Patient.
pub(super) fn patient_parameter(
    kind: ResourceType,
    code: &str,
) -> Option<(PatientParameter, &'static Parameter)> {
    let which = match code {
        "patient" => PatientParameter::Patient,
        "subject" => PatientParameter::Subject,
        _ => return None,
    };
    // `subject` of the MedicinalProduct types is a product.
    let about_people = super::super::compartment::can_be_about_a_patient(kind);
    find(kind, code).filter(|_| about_people).map(|parameter| (which, parameter))
}

fn is_patient_parameter(code: &str) -> bool {
    matches!(code, "patient" | "subject")
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
    #![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::super::super::compartment;
    use super::super::super::kinds::LogicalId;
    use super::super::super::reference::{BaseUrl, Reference};
    use super::super::path::Path;
    use super::*;
    use serde_json::{Value, json};

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

    #[test]
    fn what_is_supported_depends_on_the_type() {
        let names = |name| {
            let kind = ResourceType::from_name(name).unwrap();
            supported(kind).map(|p| (p.code, p.kind.as_str())).collect::<Vec<_>>()
        };
        let always = [("_id", "token"), ("_lastUpdated", "date")];
        assert_eq!(names("Patient"), always);
        assert_eq!(names("MedicinalProductPackaged"), always);
        assert_eq!(names("Immunization")[2..], [("patient", "reference")]);
        assert_eq!(names("Observation")[2..], [("patient", "reference"), ("subject", "reference")]);
    }

    /// Without this, a search by patient would miss records that the store does not file under the patient.
    #[test]
    fn every_patient_a_parameter_finds_is_one_the_record_is_about() {
        let base = BaseUrl::parse("https://x/fhir").unwrap();
        let mut checked = 0;
        for kind in ResourceType::all() {
            for code in ["patient", "subject"] {
                let Some((_, parameter)) = patient_parameter(kind, code) else { continue };
                let names = parameter
                    .expression
                    .split(" | ")
                    .map(|part| part.split(".where").next().unwrap().split('.').skip(1).collect::<Vec<_>>());
                for names in names {
                    let resource = names
                        .iter()
                        .rfold(json!([{"reference": "Patient/p"}]), |inner, name| json!({*name: inner}));
                    let about =
                        compartment::patients(&resource, kind, &LogicalId::parse("x").unwrap(), &base);
                    assert_eq!(about, [LogicalId::parse("p").unwrap()], "{kind} {code}");
                    let mut found: Vec<Value> = Vec::new();
                    Path::parse(kind, parameter.expression)
                        .unwrap()
                        .visit(&resource, &mut |v| found.push(v.clone()));
                    let local = |value| Reference::of(value, &base).and_then(Reference::local);
                    assert!(local(&found[0]).is_some(), "{kind} {code}");
                    checked += 1;
                }
            }
        }
        assert_eq!(checked, 106);
    }
}
