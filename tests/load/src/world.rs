//! A population as large as a clinic network's: what the searches of `shapes` are asked over.
//!
//! Imports `random`. Every value is a function of the record's number, so that a search can be made to hit or to miss.

use serde::{Deserialize, Serialize};

use crate::random::Random;

/// How many there are of each; a twentieth of the whole can be asked for as well.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Size {
    pub(crate) organizations: u64,
    pub(crate) practitioners: u64,
    pub(crate) patients: u64,
    pub(crate) encounters: u64,
    /// Patients with a chronic disease...
    pub(crate) chronic: u64,
    /// ...who have this many Observations each.
    pub(crate) of_chronic: u64,
    /// The Observations of everybody else together.
    pub(crate) of_others: u64,
}

impl Size {
    /// About `resources` in all.
    pub(crate) const fn of(resources: u64) -> Self {
        Self {
            organizations: resources / 1_000,
            practitioners: resources / 1_000,
            patients: resources / 30,
            encounters: resources / 10,
            chronic: resources / 1_500,
            of_chronic: 600,
            of_others: resources * 47 / 100,
        }
    }

    /// The patient an Observation is of.
    pub(crate) const fn patient_of(&self, observation: u64) -> u64 {
        let chronic = self.chronic * self.of_chronic;
        if observation < chronic {
            observation % self.chronic
        } else {
            self.chronic + (observation - chronic) % (self.patients - self.chronic)
        }
    }

    /// The Observations in all.
    pub(crate) const fn observations(&self) -> u64 {
        self.chronic * self.of_chronic + self.of_others
    }

    /// All records.
    pub(crate) const fn records(&self) -> u64 {
        self.organizations + self.practitioners + self.patients + self.encounters + self.observations()
    }
}

const FIRST: [&str; 16] = [
    "Bru", "Wei", "Oka", "Ngu", "Lin", "Had", "Mor", "Tan", "Sch", "Fer", "Kow", "Abe", "Dub", "Han", "Ros",
    "Vil",
];
const SECOND: [&str; 12] =
    ["en", "mann", "for", "yen", "dqvist", "dad", "eau", "aka", "mitt", "nandez", "alski", "ois"];
const GIVEN: [&str; 12] = [
    "Christian",
    "Amina",
    "Ludwig",
    "Mei",
    "Zoë",
    "Rahel",
    "José",
    "Ingrid",
    "Tariq",
    "Olga",
    "Noah",
    "Priya",
];
const STREETS: [&str; 8] =
    ["Vandervort", "Hickle", "Kessler", "Ondricka", "Bogisich", "Quitzon", "Lehner", "Stokes"];
const CITIES: [&str; 10] = [
    "Boston",
    "Quincy",
    "Lowell",
    "Salem",
    "Cambridge",
    "Worcester",
    "Springfield",
    "Medford",
    "Waltham",
    "Newton",
];
const HOUSES: [&str; 6] =
    ["General Hospital", "Family Practice", "Medical Center", "Clinic", "Laboratory", "Hospice"];
/// Code, what it is, its category, the unit and the lowest value; a blood pressure has two components instead.
pub(crate) const CODES: [(&str, &str, &str, &str, u64); 10] = [
    ("85354-9", "Blood pressure panel", "vital-signs", "mm[Hg]", 60),
    ("8867-4", "Heart rate", "vital-signs", "/min", 50),
    ("8302-2", "Body height", "vital-signs", "cm", 150),
    ("29463-7", "Body weight", "vital-signs", "kg", 45),
    ("39156-5", "Body mass index", "vital-signs", "kg/m2", 18),
    ("2339-0", "Glucose in blood", "laboratory", "mg/dL", 70),
    ("4548-4", "Hemoglobin A1c", "laboratory", "%", 4),
    ("2093-3", "Cholesterol", "laboratory", "mg/dL", 150),
    ("38483-4", "Creatinine in blood", "laboratory", "mg/dL", 1),
    ("72514-3", "Pain severity", "survey", "{score}", 0),
];

/// One of a table by number.
fn of<T: Copy, const N: usize>(table: [T; N], number: u64) -> Option<T> {
    let place = number.checked_rem(u64::try_from(N).unwrap_or(1)).unwrap_or_default();
    table.get(usize::try_from(place).unwrap_or_default()).copied()
}

fn word<const N: usize>(table: [&'static str; N], number: u64) -> &'static str {
    of(table, number).unwrap_or_default()
}

/// A patient's or practitioner's family name.
pub(crate) fn family(number: u64) -> String {
    format!("{}{}{}", word(FIRST, number), word(SECOND, number / 16), number % 977)
}

/// The street a patient lives in.
pub(crate) fn street(number: u64) -> String {
    format!("{} {} Tunnel", number % 1_009, word(STREETS, number))
}

/// The name of an organization.
pub(crate) fn house(number: u64) -> String {
    format!("{} {} {}", word(CITIES, number), word(HOUSES, number / 10), number)
}

/// A patient's birth date.
pub(crate) fn birth_date(number: u64) -> String {
    format!("{}-{:02}-{:02}", 1930 + number % 90, 1 + number % 12, 1 + number % 28)
}

/// The day of an Encounter or Observation.
pub(crate) fn day(number: u64) -> String {
    let mixed = Random::new(number, 3).next();
    format!("{}-{:02}-{:02}", 2010 + mixed % 15, 1 + mixed / 15 % 12, 1 + mixed / 180 % 28)
}

/// What an Observation measures: one of [`CODES`].
pub(crate) fn code(number: u64) -> (&'static str, &'static str, &'static str, &'static str, u64) {
    of(CODES, Random::new(number, 4).next()).unwrap_or(("", "", "", "", 0))
}

/// By how much a value is above the lowest.
pub(crate) fn above(number: u64) -> u64 {
    Random::new(number, 5).below(90)
}

/// An Organization.
pub(crate) fn organization(number: u64) -> String {
    let (name, city) = (house(number), word(CITIES, number));
    format!(
        r#"{{"resourceType":"Organization","identifier":[{{"system":"http://hl7.org/fhir/sid/us-npi","value":"{:010}"}}],"active":true,"name":"{name}","address":[{{"line":["{}"],"city":"{city}","state":"MA"}}]}}"#,
        1_000_000_000 + number,
        street(number)
    )
}

/// A Practitioner.
pub(crate) fn practitioner(number: u64) -> String {
    format!(
        r#"{{"resourceType":"Practitioner","identifier":[{{"system":"http://hl7.org/fhir/sid/us-npi","value":"{:010}"}}],"active":true,"name":[{{"family":"{}","given":["{}"],"prefix":["Dr."]}}]}}"#,
        2_000_000_000 + number,
        family(number * 31),
        word(GIVEN, number)
    )
}

/// A Patient of two general practitioners: the one who asks, and one of the population.
pub(crate) fn patient(number: u64, asks: &str, practitioner: &str, organization: &str) -> String {
    let gender = if number.is_multiple_of(2) { "female" } else { "male" };
    format!(
        r#"{{"resourceType":"Patient","identifier":[{{"system":"http://hospital.smarthealthit.org","value":"world-{number}"}}],"active":true,"name":[{{"use":"official","family":"{}","given":["{}","{}"]}}],"telecom":[{{"system":"phone","value":"555-{number:07}","use":"home"}}],"gender":"{gender}","birthDate":"{}","address":[{{"line":["{}"],"city":"{}","state":"MA","postalCode":"0{}","country":"US"}}],"generalPractitioner":[{{"reference":"{asks}"}},{{"reference":"Practitioner/{practitioner}"}}],"managingOrganization":{{"reference":"Organization/{organization}"}}}}"#,
        family(number),
        word(GIVEN, number / 7),
        word(GIVEN, number / 11),
        birth_date(number),
        street(number),
        word(CITIES, number / 3),
        2_000 + number % 500,
    )
}

/// An Encounter.
pub(crate) fn encounter(number: u64, patient: &str, practitioner: &str, organization: &str) -> String {
    let status = if number.is_multiple_of(50) { "in-progress" } else { "finished" };
    let class = word(["AMB", "AMB", "AMB", "EMER", "IMP"], number / 3);
    let day = day(number);
    format!(
        r#"{{"resourceType":"Encounter","status":"{status}","class":{{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"{class}"}},"type":[{{"coding":[{{"system":"http://snomed.info/sct","code":"185345009","display":"Encounter for symptom"}}],"text":"Encounter for symptom"}}],"subject":{{"reference":"Patient/{patient}"}},"participant":[{{"individual":{{"reference":"Practitioner/{practitioner}"}}}}],"period":{{"start":"{day}T09:00:00+02:00","end":"{day}T09:30:00+02:00"}},"serviceProvider":{{"reference":"Organization/{organization}"}}}}"#
    )
}

/// An Observation.
pub(crate) fn observation(number: u64, patient: &str, encounter: &str, practitioner: &str) -> String {
    let (code, name, category, unit, lowest) = code(number);
    let (day, value) = (day(number), lowest + above(number));
    let quantity = |value: u64| {
        format!(
            r#""valueQuantity":{{"value":{value}.{},"unit":"{unit}","system":"http://unitsofmeasure.org","code":"{unit}"}}"#,
            number % 10
        )
    };
    let values = if code == "85354-9" {
        let component = |code: &str, name: &str, value: u64| {
            format!(
                r#"{{"code":{{"coding":[{{"system":"http://loinc.org","code":"{code}","display":"{name}"}}],"text":"{name}"}},{}}}"#,
                quantity(value)
            )
        };
        let diastolic = component("8462-4", "Diastolic blood pressure", value / 2 + 30);
        format!(r#""component":[{diastolic},{}]"#, component("8480-6", "Systolic blood pressure", value + 40))
    } else {
        quantity(value)
    };
    format!(
        r#"{{"resourceType":"Observation","identifier":[{{"system":"https://github.com/synthetichealth/synthea","value":"177a89a6-bbab-b2bf-3643-{number:012}"}}],"status":"final","category":[{{"coding":[{{"system":"http://terminology.hl7.org/CodeSystem/observation-category","code":"{category}","display":"{category}"}}]}}],"code":{{"coding":[{{"system":"http://loinc.org","code":"{code}","display":"{name}"}}],"text":"{name}"}},"subject":{{"reference":"Patient/{patient}"}},"encounter":{{"reference":"Encounter/{encounter}"}},"effectiveDateTime":"{day}T09:10:00+02:00","issued":"{day}T09:15:00.286+02:00","performer":[{{"reference":"Practitioner/{practitioner}"}}],"note":[{{"text":"Sitting, after five minutes of rest. Reading {number:012} of the load generator, written down as the device showed it."}}],{values}}}"#
    )
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_population_is_of_the_size_it_says_and_everybody_has_observations() {
        let size = Size::of(300_000);
        assert!((299_000..=302_000).contains(&size.records()), "{}", size.records());
        let mut of = vec![0_u64; usize::try_from(size.patients).unwrap()];
        (0..size.observations()).for_each(|n| of[usize::try_from(size.patient_of(n)).unwrap()] += 1);
        let chronic = usize::try_from(size.chronic).unwrap();
        assert!(of[..chronic].iter().all(|count| *count == size.of_chronic));
        assert!(
            of[chronic..].iter().all(|count| (1..100).contains(count)),
            "{:?}",
            of[chronic..].iter().max()
        );
    }

    #[test]
    fn records_are_json_and_differ_by_their_number() {
        for number in 0..50 {
            for text in [
                organization(number),
                practitioner(number),
                patient(number, "Practitioner/me", "p", "o"),
                encounter(number, "a", "p", "o"),
                observation(number, "a", "e", "p"),
            ] {
                let value: Value = serde_json::from_str(&text).unwrap();
                assert!(value["resourceType"].is_string());
            }
        }
        assert_ne!(observation(1, "a", "e", "p"), observation(2, "a", "e", "p"));
    }
}
