//! What is true of the plaintext: where each parameter's values stand, and whether a value is the one asked for. Written
//! from the specification (FHIR R4 search.html) and by hand, so that it cannot share a mistake with the server's tables.

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike as _, Months, NaiveDate};
use serde_json::{Value, json};

/// What a parameter's values are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Sort {
    Text,
    HumanName,
    Address,
    Concept,
    Coding,
    /// A code, with its implicit system.
    Code(&'static str),
    Identifier,
    Contact,
    Reference(&'static str),
    Date,
    Quantity,
    /// A URL, or an id: found as it is.
    Canonical,
}

/// Type, parameter, what its values are, and where they stand.
pub(crate) type Row = (&'static str, &'static str, Sort, &'static [&'static str]);

const PATIENT: Sort = Sort::Reference("Patient");
const ENCOUNTER: Sort = Sort::Reference("Encounter");
const GENDER: Sort = Sort::Code("http://hl7.org/fhir/administrative-gender");

pub(crate) const TABLE: [Row; 75] = [
    ("Patient", "name", Sort::HumanName, &["name"]),
    ("Patient", "family", Sort::Text, &["name.family"]),
    ("Patient", "given", Sort::Text, &["name.given"]),
    ("Patient", "gender", GENDER, &["gender"]),
    ("Patient", "birthdate", Sort::Date, &["birthDate"]),
    ("Patient", "death-date", Sort::Date, &["deceasedDateTime"]),
    ("Patient", "identifier", Sort::Identifier, &["identifier"]),
    ("Patient", "address", Sort::Address, &["address"]),
    ("Patient", "address-city", Sort::Text, &["address.city"]),
    ("Patient", "address-postalcode", Sort::Text, &["address.postalCode"]),
    ("Patient", "telecom", Sort::Contact, &["telecom"]),
    ("Patient", "language", Sort::Concept, &["communication.language"]),
    ("Patient", "general-practitioner", Sort::Reference("Practitioner"), &["generalPractitioner"]),
    ("Observation", "code", Sort::Concept, &["code"]),
    ("Observation", "category", Sort::Concept, &["category"]),
    ("Observation", "status", Sort::Code("http://hl7.org/fhir/observation-status"), &["status"]),
    ("Observation", "date", Sort::Date, &["effectiveDateTime", "effectivePeriod"]),
    ("Observation", "value-quantity", Sort::Quantity, &["valueQuantity"]),
    ("Observation", "value-concept", Sort::Concept, &["valueCodeableConcept"]),
    ("Observation", "component-code", Sort::Concept, &["component.code"]),
    ("Observation", "component-value-quantity", Sort::Quantity, &["component.valueQuantity"]),
    ("Observation", "combo-code", Sort::Concept, &["code", "component.code"]),
    ("Observation", "combo-value-quantity", Sort::Quantity, &["valueQuantity", "component.valueQuantity"]),
    ("Observation", "patient", PATIENT, &["subject"]),
    ("Observation", "subject", PATIENT, &["subject"]),
    ("Observation", "encounter", ENCOUNTER, &["encounter"]),
    ("Encounter", "status", Sort::Code("http://hl7.org/fhir/encounter-status"), &["status"]),
    ("Encounter", "class", Sort::Coding, &["class"]),
    ("Encounter", "type", Sort::Concept, &["type"]),
    ("Encounter", "reason-code", Sort::Concept, &["reasonCode"]),
    ("Encounter", "date", Sort::Date, &["period"]),
    ("Encounter", "patient", PATIENT, &["subject"]),
    ("Encounter", "participant", Sort::Reference("Practitioner"), &["participant.individual"]),
    ("Encounter", "service-provider", Sort::Reference("Organization"), &["serviceProvider"]),
    ("Condition", "code", Sort::Concept, &["code"]),
    ("Condition", "clinical-status", Sort::Concept, &["clinicalStatus"]),
    ("Condition", "onset-date", Sort::Date, &["onsetDateTime", "onsetPeriod"]),
    ("Condition", "abatement-date", Sort::Date, &["abatementDateTime", "abatementPeriod"]),
    ("Condition", "recorded-date", Sort::Date, &["recordedDate"]),
    ("Condition", "patient", PATIENT, &["subject"]),
    ("Condition", "encounter", ENCOUNTER, &["encounter"]),
    ("Procedure", "code", Sort::Concept, &["code"]),
    ("Procedure", "date", Sort::Date, &["performedPeriod", "performedDateTime"]),
    ("Procedure", "patient", PATIENT, &["subject"]),
    ("Procedure", "encounter", ENCOUNTER, &["encounter"]),
    ("Immunization", "vaccine-code", Sort::Concept, &["vaccineCode"]),
    ("Immunization", "date", Sort::Date, &["occurrenceDateTime"]),
    ("Immunization", "patient", PATIENT, &["patient"]),
    ("DiagnosticReport", "code", Sort::Concept, &["code"]),
    ("DiagnosticReport", "category", Sort::Concept, &["category"]),
    ("DiagnosticReport", "date", Sort::Date, &["effectiveDateTime", "effectivePeriod"]),
    ("DiagnosticReport", "issued", Sort::Date, &["issued"]),
    ("DiagnosticReport", "result", Sort::Reference("Observation"), &["result"]),
    ("DiagnosticReport", "patient", PATIENT, &["subject"]),
    ("DiagnosticReport", "encounter", ENCOUNTER, &["encounter"]),
    ("MedicationRequest", "code", Sort::Concept, &["medicationCodeableConcept"]),
    ("MedicationRequest", "authoredon", Sort::Date, &["authoredOn"]),
    ("MedicationRequest", "requester", Sort::Reference("Practitioner"), &["requester"]),
    ("MedicationRequest", "patient", PATIENT, &["subject"]),
    ("MedicationRequest", "encounter", ENCOUNTER, &["encounter"]),
    ("CarePlan", "date", Sort::Date, &["period"]),
    ("CarePlan", "category", Sort::Concept, &["category"]),
    ("CarePlan", "patient", PATIENT, &["subject"]),
    ("CarePlan", "encounter", ENCOUNTER, &["encounter"]),
    ("Organization", "name", Sort::Text, &["name", "alias"]),
    ("Organization", "identifier", Sort::Identifier, &["identifier"]),
    ("Organization", "type", Sort::Concept, &["type"]),
    ("Organization", "address-city", Sort::Text, &["address.city"]),
    ("Practitioner", "name", Sort::HumanName, &["name"]),
    ("Practitioner", "family", Sort::Text, &["name.family"]),
    ("Practitioner", "identifier", Sort::Identifier, &["identifier"]),
    ("Practitioner", "gender", GENDER, &["gender"]),
    ("Practitioner", "address", Sort::Address, &["address"]),
    ("Practitioner", "address-state", Sort::Text, &["address.state"]),
    ("Practitioner", "telecom", Sort::Contact, &["telecom"]),
];

/// Makes a record less tidy than Synthea's: accents, periods without an end, numbers with trailing zeros, partial dates.
pub(crate) fn disturb(resource: &mut Value, n: usize) {
    match resource["resourceType"].as_str().unwrap() {
        "Patient" if n.is_multiple_of(2) => {
            resource["name"][0]["family"] = json!(format!("Ångström-Núñez {n}"))
        }
        "Observation" if n.is_multiple_of(5) => {
            let start = resource["effectiveDateTime"].clone();
            resource.as_object_mut().unwrap().remove("effectiveDateTime");
            resource["effectivePeriod"] = json!({"start": start});
        }
        "Observation" if n % 5 == 1 && resource.get("valueQuantity").is_some() => {
            resource["valueQuantity"]["value"] = serde_json::from_str("12.50").unwrap();
        }
        "Condition" if n.is_multiple_of(2) => {
            let year = resource["onsetDateTime"].as_str().map(|text| text[..4].to_owned());
            if let Some(year) = year {
                resource["onsetDateTime"] = json!(year);
            }
        }
        "Encounter" if n.is_multiple_of(3) => _ = resource["period"].as_object_mut().unwrap().remove("end"),
        _ => {}
    }
}

/// Every record, by type.
#[derive(Default)]
pub(crate) struct World(BTreeMap<String, Vec<Value>>);

impl World {
    pub(crate) fn add(&mut self, resource: Value) {
        let kind = resource["resourceType"].as_str().unwrap().to_owned();
        self.0.entry(kind).or_default().push(resource);
    }

    pub(crate) fn all(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.0.get(kind).into_iter().flatten()
    }

    pub(crate) fn list(&self, kind: &str) -> &[Value] {
        self.0.get(kind).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn get(&self, reference: &str) -> Option<&Value> {
        let (kind, id) = reference.split_once('/')?;
        self.all(kind).find(|one| one["id"] == id)
    }
}

/// `Type/id`
pub(crate) fn name(resource: &Value) -> String {
    format!("{}/{}", resource["resourceType"].as_str().unwrap(), resource["id"].as_str().unwrap())
}

pub(crate) fn row(kind: &str, code: &str) -> &'static Row {
    TABLE.iter().find(|row| row.0 == kind && row.1 == code).unwrap()
}

/// The values of a parameter.
pub(crate) fn values<'a>(row: &Row, resource: &'a Value) -> Vec<&'a Value> {
    let mut found = Vec::new();
    for path in row.3 {
        let mut here = vec![resource];
        for name in path.split('.') {
            here = here.into_iter().filter_map(|value| value.get(name)).flat_map(flat).collect();
        }
        found.extend(here);
    }
    found
}

fn flat(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        other => vec![other],
    }
}

/// The texts of a value.
pub(crate) fn texts(sort: Sort, value: &Value) -> Vec<String> {
    let names: &[&str] = match sort {
        Sort::HumanName => &["text", "family", "given", "prefix", "suffix"],
        Sort::Address => &["text", "line", "city", "district", "state", "postalCode", "country"],
        _ => return value.as_str().map(str::to_owned).into_iter().collect(),
    };
    let parts = names.iter().filter_map(|name| value.get(name)).flat_map(flat);
    parts.filter_map(|part| part.as_str().map(str::to_owned)).collect()
}

/// Systems and codes of a value.
pub(crate) fn codes(sort: Sort, value: &Value) -> Vec<(Option<String>, String)> {
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    match sort {
        Sort::Concept => {
            let codings = value.get("coding").into_iter().flat_map(flat);
            codings.filter_map(|one| Some((text(one, "system"), text(one, "code")?))).collect()
        }
        Sort::Coding => text(value, "code").map(|code| (text(value, "system"), code)).into_iter().collect(),
        Sort::Identifier | Sort::Contact => {
            text(value, "value").map(|code| (text(value, "system"), code)).into_iter().collect()
        }
        Sort::Code(system) => {
            value.as_str().map(|code| (Some(system.to_owned()), code.to_owned())).into_iter().collect()
        }
        _ => Vec::new(),
    }
}

/// Lower case without accents, for the letters that are in the test's records.
pub(crate) fn plain(text: &str) -> String {
    let mut out = String::new();
    for letter in text.chars().flat_map(char::to_lowercase) {
        out.push(match letter {
            'á' | 'à' | 'â' | 'ä' | 'å' | 'ã' => 'a',
            'é' | 'è' | 'ê' | 'ë' => 'e',
            'í' | 'ì' | 'î' | 'ï' => 'i',
            'ó' | 'ò' | 'ô' | 'ö' | 'õ' => 'o',
            'ú' | 'ù' | 'û' | 'ü' => 'u',
            'ñ' => 'n',
            'ç' => 'c',
            other => other,
        });
    }
    out
}

/// Nanoseconds since 1970.
pub(crate) type Nanos = i128;

/// First instant, and first after the last, of a date or dateTime.
pub(crate) fn range(text: &str) -> (Nanos, Nanos) {
    const SECOND: Nanos = 1_000_000_000;
    let midnight = |day: NaiveDate| Nanos::from(day.num_days_from_ce() - 719_163) * 86_400 * SECOND;
    let day = |y: &str, m: &str, d: &str| {
        NaiveDate::from_ymd_opt(y.parse().unwrap(), m.parse().unwrap(), d.parse().unwrap()).unwrap()
    };
    match text.len() {
        4 => {
            let first = day(text, "1", "1");
            (midnight(first), midnight(first + Months::new(12)))
        }
        7 => {
            let first = day(&text[..4], &text[5..], "1");
            (midnight(first), midnight(first + Months::new(1)))
        }
        10 => {
            let first = day(&text[..4], &text[5..7], &text[8..]);
            (midnight(first), midnight(first) + 86_400 * SECOND)
        }
        _ => {
            let at = DateTime::parse_from_rfc3339(text).unwrap();
            let from = Nanos::from(at.timestamp()) * SECOND + Nanos::from(at.timestamp_subsec_nanos());
            let digits = text
                .split_once('.')
                .map_or(0, |(_, rest)| rest.bytes().take_while(u8::is_ascii_digit).count());
            (from, from + SECOND / 10_i128.pow(digits as u32))
        }
    }
}

/// First instant and first after the last of a stored date or Period; none is without end.
pub(crate) fn span(value: &Value) -> Option<(Option<Nanos>, Option<Nanos>)> {
    if let Some(text) = value.as_str() {
        let (from, until) = range(text);
        return Some((Some(from), Some(until)));
    }
    let end = |name: &str| value.get(name).and_then(Value::as_str).map(range);
    let (start, end) = (end("start"), end("end"));
    (start.is_some() || end.is_some()).then(|| (start.map(|s| s.0), end.map(|e| e.1)))
}

/// Units that measure the same: code, what, how many of the smallest one is, and what is added then. Whole numbers, from the
/// definitions of the units.
pub(crate) const UNITS: [(&str, &str, i128, i128); 20] = [
    ("mg", "mass", 1_000_000_000, 0),
    ("ug", "mass", 1_000_000, 0),
    ("pg", "mass", 1, 0),
    ("g", "mass", 1_000_000_000_000, 0),
    ("kg", "mass", 1_000_000_000_000_000, 0),
    ("[lb_av]", "mass", 453_592_370_000_000, 0),
    ("cm", "length", 100_000, 0),
    ("m", "length", 10_000_000, 0),
    ("[in_i]", "length", 254_000, 0),
    ("mg/dL", "mass of a volume", 1, 0),
    ("g/dL", "mass of a volume", 1_000, 0),
    ("g/L", "mass of a volume", 100, 0),
    ("mm[Hg]", "pressure", 133_322, 0),
    ("kPa", "pressure", 1_000_000, 0),
    ("10*3/uL", "count", 1, 0),
    ("10*9/L", "count", 1, 0),
    ("10*6/uL", "count", 1_000, 0),
    ("mmol/L", "substance", 1, 0),
    ("Cel", "temperature", 18, 320),
    ("[degF]", "temperature", 10, 0),
];

pub(crate) fn unit(code: &str) -> Option<&'static (&'static str, &'static str, i128, i128)> {
    UNITS.iter().find(|unit| unit.0 == code)
}

/// A decimal times 10^20: exact for the numbers in these records.
pub(crate) fn scaled(text: &str) -> i128 {
    let (text, exponent) =
        text.split_once(['e', 'E']).map_or((text, 0), |(a, b)| (a, b.parse::<i32>().unwrap()));
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits: i128 = format!("{whole}{fraction}").parse().unwrap();
    let power = 20 - fraction.len() as i32 + exponent;
    let size = digits * 10_i128.pow(u32::try_from(power).unwrap());
    if negative { -size } else { size }
}
