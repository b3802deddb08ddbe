//! The resources that are sent, as JSON text. Imports `random`.
//!
//! An Observation is a blood pressure panel as Synthea writes it, about 1.25 kB without white space. All that
//! differs between two is a function of `number`, so that its content can be told again later.

/// The most entries a transaction Bundle is made of.
pub(crate) const BUNDLE_ENTRIES_MAX: u32 = 5_000;

const FAMILIES: [&str; 8] =
    ["Bruen238", "Weimann465", "Okafor112", "Nguyen77", "Lindqvist9", "Haddad301", "Moreau54", "Tanaka18"];
const GIVEN: [&str; 8] =
    ["Christian753", "Amina41", "Ludwig6", "Mei912", "Zoë20", "Rahel118", "José3", "Ingrid77"];

/// A Patient whose general practitioner is `practitioner`, a reference.
pub(crate) fn patient(practitioner: &str, number: u64) -> String {
    let pick = |names: [&'static str; 8], number: u64| {
        names.get(usize::try_from(number % 8).unwrap_or_default()).copied().unwrap_or_default()
    };
    let (family, given) = (pick(FAMILIES, number), pick(GIVEN, number / 8));
    let gender = if number.is_multiple_of(2) { "female" } else { "male" };
    let (year, month, day) = (1930 + number % 90, 1 + number % 12, 1 + number % 28);
    format!(
        r#"{{"resourceType":"Patient","identifier":[{{"system":"http://hospital.smarthealthit.org","value":"load-{number}"}}],"active":true,"name":[{{"use":"official","family":"{family}","given":["{given}"]}}],"telecom":[{{"system":"phone","value":"555-{number:07}","use":"home"}}],"gender":"{gender}","birthDate":"{year}-{month:02}-{day:02}","address":[{{"line":["{number} Vandervort Tunnel"],"city":"Boston","state":"MA","postalCode":"02108","country":"US"}}],"generalPractitioner":[{{"reference":"{practitioner}"}}]}}"#
    )
}

/// An Observation of `patient`, an id; with `id` it is what a PUT sends.
pub(crate) fn observation(patient: &str, id: Option<&str>, number: u64) -> String {
    let mut text = String::with_capacity(1_400);
    push_observation(&mut text, patient, id, number);
    text
}

fn push_observation(text: &mut String, patient: &str, id: Option<&str>, number: u64) {
    text.push_str(r#"{"resourceType":"Observation","#);
    if let Some(id) = id {
        text.push_str(r#""id":""#);
        text.push_str(id);
        text.push_str(r#"","#);
    }
    text.push_str(OPENING);
    text.push_str(patient);
    let (year, month, day) = (2011 + number % 14, 1 + number / 7 % 12, 1 + number / 3 % 28);
    let (hour, minute, second) = (number % 24, number / 24 % 60, number / 5 % 60);
    let when = format_args!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    let (low, high) = (60 + number % 30, 100 + number % 60);
    text.push_str(&format!(r#""}},"effectiveDateTime":"{when}+02:00","issued":"{when}.286+02:00","note":[{{"text":"Sitting, left arm, after five minutes of rest. Reading {number:020} of the load generator."}}],"component":[{{{DIASTOLIC}{low}{QUANTITY}}},{{{SYSTOLIC}{high}{QUANTITY}}}]}}"#
    ));
}

const OPENING: &str = r#""identifier":[{"system":"https://github.com/synthetichealth/synthea","value":"177a89a6-bbab-b2bf-3643-f67ba84f73fb"}],"status":"final","category":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/observation-category","code":"vital-signs","display":"Vital Signs"}]}],"code":{"coding":[{"system":"http://loinc.org","code":"85354-9","display":"Blood pressure panel with all children optional"}],"text":"Blood Pressure"},"subject":{"reference":"Patient/"#;
const DIASTOLIC: &str = r#""code":{"coding":[{"system":"http://loinc.org","code":"8462-4","display":"Diastolic blood pressure"}],"text":"Diastolic Blood Pressure"},"valueQuantity":{"value":"#;
const SYSTOLIC: &str = r#""code":{"coding":[{"system":"http://loinc.org","code":"8480-6","display":"Systolic blood pressure"}],"text":"Systolic Blood Pressure"},"valueQuantity":{"value":"#;
const QUANTITY: &str = r#","unit":"mm[Hg]","system":"http://unitsofmeasure.org","code":"mm[Hg]"}"#;

/// A transaction Bundle under construction.
pub(crate) struct Transaction(String);

impl Transaction {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self(String::from(r#"{"resourceType":"Bundle","type":"transaction","entry":["#))
    }

    /// Adds the creation of a resource, given as JSON text.
    pub(crate) fn create(&mut self, kind: &str, resource: &str, full_url: uuid::Uuid) {
        let comma = if self.0.ends_with('[') { "" } else { "," };
        self.0.push_str(&format!(r#"{comma}{{"fullUrl":"urn:uuid:{full_url}","resource":{resource},"request":{{"method":"POST","url":"{kind}"}}}}"#
        ));
    }

    /// The whole text.
    pub(crate) fn finish(mut self) -> String {
        self.0.push_str("]}");
        self.0
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;
    use serde_json::Value;

    #[test]
    fn an_observation_is_json_of_the_size_it_claims() {
        for number in [0, 1, 999, u64::MAX] {
            let text = observation("00000000-0000-0000-0000-000000000000", None, number);
            let value: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(value["subject"]["reference"], "Patient/00000000-0000-0000-0000-000000000000");
            assert!((1_200..1_450).contains(&text.len()), "{} bytes", text.len());
        }
    }

    #[test]
    fn two_numbers_are_two_contents_and_one_is_one() {
        assert_ne!(observation("p", None, 1), observation("p", None, 2));
        assert_eq!(observation("p", Some("i"), 7), observation("p", Some("i"), 7));
        let value: Value = serde_json::from_str(&observation("p", Some("i"), 7)).unwrap();
        assert_eq!(value["id"], "i");
    }

    #[test]
    fn a_patient_and_a_transaction_are_json() {
        let mut bundle = Transaction::new();
        for number in 0..300 {
            bundle.create("Patient", &patient("Practitioner/x", number), uuid::Uuid::nil());
        }
        let value: Value = serde_json::from_str(&bundle.finish()).unwrap();
        let entries = value["entry"].as_array().unwrap();
        assert_eq!(entries.len(), 300);
        assert_eq!(entries[7]["request"]["url"], "Patient");
        assert_eq!(entries[7]["resource"]["generalPractitioner"][0]["reference"], "Practitioner/x");
    }
}
