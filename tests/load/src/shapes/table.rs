//! The shapes: single parameters of every sort over everybody, and what US Core 6.1 asks for within one patient.
//!
//! Imports `random` and `world`.

use super::{Shape, World};
use crate::{cli::Scope, random::Random, world};

/// All of them.
pub(super) const SHAPES: [Shape; 39] = [
    population(
        "Patient?name=",
        |w, random| {
            let n = random.below(w.size.patients);
            Some(format!("Patient?name={}", start(&world::family(n), 5)))
        },
        |_, _| Some("Patient?name=qqxz".to_owned()),
    ),
    population(
        "Patient?name:contains=",
        |w, random| {
            let n = random.below(w.size.patients);
            Some(format!("Patient?name:contains={}", middle(&world::family(n), 2, 5)))
        },
        |_, _| Some("Patient?name:contains=qqxzq".to_owned()),
    ),
    population(
        "Patient?address=",
        |w, random| {
            let n = random.below(w.size.patients);
            Some(format!("Patient?address={}", middle(&world::street(n), 0, 8)))
        },
        |_, _| Some("Patient?address=qqxz".to_owned()),
    ),
    population(
        "Patient?address:contains=",
        |w, random| {
            let n = random.below(w.size.patients);
            Some(format!("Patient?address:contains={}", middle(&world::street(n), 3, 7)))
        },
        |_, _| Some("Patient?address:contains=qqxzq".to_owned()),
    ),
    population(
        "Organization?name=",
        |w, random| {
            let n = random.below(w.size.organizations);
            Some(format!("Organization?name={}", start(&world::house(n), 5)))
        },
        |_, _| Some("Organization?name=qqxz".to_owned()),
    ),
    population(
        "Organization?name:contains=",
        |w, random| {
            let n = random.below(w.size.organizations);
            Some(format!("Organization?name:contains={}", middle(&world::house(n), 3, 6)))
        },
        |_, _| Some("Organization?name:contains=qqxzq".to_owned()),
    ),
    population(
        "Patient?birthdate=",
        |w, random| {
            let n = random.below(w.size.patients);
            Some(format!("Patient?birthdate={}", world::birth_date(n)))
        },
        |_, _| Some("Patient?birthdate=1850-02".to_owned()),
    ),
    population(
        "Observation?date=",
        |w, random| {
            let n = w.observed(random);
            Some(format!("Observation?date={}", start(&world::day(n), 7)))
        },
        |_, _| Some("Observation?date=ge2090".to_owned()),
    ),
    population(
        "Encounter?date=lt",
        |w, random| {
            let n = random.below(w.size.encounters);
            Some(format!("Encounter?date=le{}", world::day(n)))
        },
        |_, _| Some("Encounter?date=lt1990".to_owned()),
    ),
    population(
        "Observation?subject=",
        |w, random| Some(format!("Observation?subject=Patient/{}", random.pick(&w.patients)?)),
        |_, random| nobody("Observation?subject=Patient/", random),
    ),
    population(
        "Observation?patient=",
        |w, random| Some(format!("Observation?patient={}", random.pick(&w.patients)?)),
        |_, random| nobody("Observation?patient=", random),
    ),
    population(
        "Observation?encounter=",
        |w, random| {
            let n = w.size.patient_of(w.observed(random));
            Some(format!("Observation?encounter=Encounter/{}", w.encounters.get(usize::try_from(n).ok()?)?))
        },
        |_, random| nobody("Observation?encounter=Encounter/", random),
    ),
    population(
        "Observation?performer=",
        |w, random| Some(format!("Observation?performer=Practitioner/{}", random.pick(&w.practitioners)?)),
        |_, random| nobody("Observation?performer=Practitioner/", random),
    ),
    population(
        "Encounter?patient=",
        |w, random| Some(format!("Encounter?patient={}", random.pick(&w.patients)?)),
        |_, random| nobody("Encounter?patient=", random),
    ),
    population(
        "Encounter?practitioner=",
        |w, random| Some(format!("Encounter?practitioner={}", random.pick(&w.practitioners)?)),
        |_, random| nobody("Encounter?practitioner=", random),
    ),
    population(
        "Encounter?service-provider=",
        |w, random| {
            Some(format!("Encounter?service-provider=Organization/{}", random.pick(&w.organizations)?))
        },
        |_, random| nobody("Encounter?service-provider=Organization/", random),
    ),
    population(
        "Patient?general-practitioner=",
        |w, random| {
            Some(format!("Patient?general-practitioner=Practitioner/{}", random.pick(&w.practitioners)?))
        },
        |_, random| nobody("Patient?general-practitioner=Practitioner/", random),
    ),
    population(
        "Observation?category=",
        |w, random| Some(format!("Observation?category={}", world::code(w.observed(random)).2)),
        |_, _| Some("Observation?category=exam".to_owned()),
    ),
    population(
        "Observation?code=",
        |w, random| Some(format!("Observation?code=http://loinc.org|{}", world::code(w.observed(random)).0)),
        |_, _| Some("Observation?code=http://loinc.org|0000-0".to_owned()),
    ),
    population(
        "Encounter?status=",
        |_, random| {
            Some(format!(
                "Encounter?status={}",
                if random.below(2) == 0 { "finished" } else { "in-progress" }
            ))
        },
        |_, _| Some("Encounter?status=cancelled".to_owned()),
    ),
    population(
        "Encounter?class=",
        |_, random| Some(format!("Encounter?class={}", random.pick(&["AMB", "EMER", "IMP"])?)),
        |_, _| Some("Encounter?class=HH".to_owned()),
    ),
    population(
        "Observation?value-quantity=gt",
        |_, random| Some(format!("Observation?value-quantity=gt{}", 60 + random.below(150))),
        |_, _| Some("Observation?value-quantity=gt5000".to_owned()),
    ),
    population(
        "Observation?value-quantity=..|http://unitsofmeasure.org|/min",
        |_, random| {
            Some(format!(
                "Observation?value-quantity={}|http://unitsofmeasure.org|/min",
                50 + random.below(85)
            ))
        },
        |_, _| Some("Observation?value-quantity=7000|http://unitsofmeasure.org|/min".to_owned()),
    ),
    population(
        "Observation?component-value-quantity=lt",
        |_, random| Some(format!("Observation?component-value-quantity=lt{}", 80 + random.below(60))),
        |_, _| Some("Observation?component-value-quantity=lt3".to_owned()),
    ),
    population(
        "Observation?code-value-quantity=..$gt",
        |_, random| {
            Some(format!(
                "Observation?code-value-quantity=http://loinc.org|8867-4$gt{}",
                60 + random.below(60)
            ))
        },
        |_, _| Some("Observation?code-value-quantity=http://loinc.org|8867-4$gt900".to_owned()),
    ),
    population(
        "Observation?component-code-value-quantity=..$lt",
        |_, random| {
            Some(format!(
                "Observation?component-code-value-quantity=http://loinc.org|8480-6$lt{}",
                110 + random.below(60)
            ))
        },
        |_, _| Some("Observation?component-code-value-quantity=http://loinc.org|8480-6$lt9".to_owned()),
    ),
    population(
        "Observation?combo-code-value-quantity=..$",
        |_, random| {
            Some(format!(
                "Observation?combo-code-value-quantity=http://loinc.org|8302-2${}",
                150 + random.below(85)
            ))
        },
        |_, _| Some("Observation?combo-code-value-quantity=http://loinc.org|8302-2$2000".to_owned()),
    ),
    patient(
        "Observation?patient=&category=",
        |w, random| {
            let (p, n) = w.chronic(random)?;
            Some(format!("Observation?patient={p}&category={}", world::code(n).2))
        },
        |w, random| {
            let (p, _) = w.chronic(random)?;
            Some(format!("Observation?patient={p}&category=exam"))
        },
    ),
    patient(
        "Observation?patient=&code=",
        |w, random| {
            let (p, n) = w.chronic(random)?;
            Some(format!("Observation?patient={p}&code=http://loinc.org|{}", world::code(n).0))
        },
        |w, random| {
            let (p, _) = w.chronic(random)?;
            Some(format!("Observation?patient={p}&code=http://loinc.org|0000-0"))
        },
    ),
    patient(
        "Observation?patient=&category=&date=ge",
        |w, random| {
            let (p, n) = w.chronic(random)?;
            Some(format!("Observation?patient={p}&category={}&date=ge{}", world::code(n).2, world::day(n)))
        },
        |w, random| {
            let (p, n) = w.chronic(random)?;
            Some(format!("Observation?patient={p}&category={}&date=ge2090", world::code(n).2))
        },
    ),
    patient(
        "Observation?patient=&code=&date=",
        |w, random| {
            let (p, n) = w.chronic(random)?;
            Some(format!(
                "Observation?patient={p}&code=http://loinc.org|{}&date={}",
                world::code(n).0,
                world::day(n)
            ))
        },
        |w, random| {
            let (p, n) = w.chronic(random)?;
            Some(format!("Observation?patient={p}&code=http://loinc.org|{}&date=1999", world::code(n).0))
        },
    ),
    patient(
        "Observation?patient=&category=&status=",
        |w, random| {
            let (p, n) = w.chronic(random)?;
            Some(format!("Observation?patient={p}&category={}&status=final", world::code(n).2))
        },
        |w, random| {
            let (p, n) = w.chronic(random)?;
            Some(format!("Observation?patient={p}&category={}&status=amended", world::code(n).2))
        },
    ),
    patient(
        "Observation?patient=&code=&_sort=-date",
        |w, random| {
            let (p, n) = w.chronic(random)?;
            Some(format!("Observation?patient={p}&code=http://loinc.org|{}&_sort=-date", world::code(n).0))
        },
        |w, random| {
            let (p, _) = w.chronic(random)?;
            Some(format!("Observation?patient={p}&code=http://loinc.org|0000-0&_sort=-date"))
        },
    ),
    patient(
        "Observation?patient=",
        |w, random| {
            let (p, _) = w.chronic(random)?;
            Some(format!("Observation?patient={p}"))
        },
        |_, random| nobody("Observation?patient=", random),
    ),
    patient(
        "Encounter?patient=&date=ge",
        |w, random| Some(format!("Encounter?patient={}&date=ge2010", random.pick(&w.patients)?)),
        |w, random| Some(format!("Encounter?patient={}&date=ge2090", random.pick(&w.patients)?)),
    ),
    patient(
        "Encounter?patient=&status=",
        |w, random| {
            Some(format!("Encounter?patient={}&status=finished,in-progress", random.pick(&w.patients)?))
        },
        |w, random| Some(format!("Encounter?patient={}&status=cancelled", random.pick(&w.patients)?)),
    ),
    patient(
        "Patient?identifier=",
        |w, random| {
            Some(format!(
                "Patient?identifier=http://hospital.smarthealthit.org|world-{}",
                random.below(w.size.patients)
            ))
        },
        |_, _| Some("Patient?identifier=http://hospital.smarthealthit.org|nobody".to_owned()),
    ),
    patient(
        "Patient?birthdate=&name=",
        |w, random| {
            let n = random.below(w.size.patients);
            Some(format!("Patient?birthdate={}&name={}", world::birth_date(n), world::family(n)))
        },
        |w, random| {
            let n = random.below(w.size.patients);
            Some(format!("Patient?birthdate={}&name=qqxz", world::birth_date(n)))
        },
    ),
    patient(
        "Patient?gender=&name=",
        |w, random| {
            let n = random.below(w.size.patients);
            Some(format!(
                "Patient?gender={}&name={}",
                if n.is_multiple_of(2) { "female" } else { "male" },
                world::family(n)
            ))
        },
        |_, _| Some("Patient?gender=other&name=bruen".to_owned()),
    ),
];

/// Makes the query of a search.
type Make = fn(&World, &mut Random) -> Option<String>;

const fn population(name: &'static str, hit: Make, miss: Make) -> Shape {
    Shape { name, scope: Scope::Population, hit, miss }
}

const fn patient(name: &'static str, hit: Make, miss: Make) -> Shape {
    Shape { name, scope: Scope::Patient, hit, miss }
}

/// The first letters of a text.
fn start(text: &str, length: usize) -> String {
    middle(text, 0, length)
}

/// Letters of a text, as a URL spells them.
fn middle(text: &str, from: usize, length: usize) -> String {
    text.chars().skip(from).take(length).collect::<String>().replace(' ', "%20")
}

/// A reference to somebody nobody has heard of.
fn nobody(search: &str, random: &mut Random) -> Option<String> {
    Some(format!("{search}{}", random.uuid()))
}
