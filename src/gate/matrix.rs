//! Who may do what, in a form to be read and reviewed: `policies/matrix.out`.
//!
//! May import `fhir` and `identity`; never Cedar. The text is a function of the policy set alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Write as _},
};

use uuid::Uuid;

use super::{Act, Decision, Facts, Gate, Relations, Subject, cases::spoken};
use crate::{
    fhir::kinds::ResourceType,
    identity::{CallerKind, Purpose, TenantId},
};

/// The acts on records.
const ACTS: [Act; 6] = [Act::Read, Act::Search, Act::History, Act::Create, Act::Update, Act::Delete];
/// The labels the shipped policies know, and one they do not.
const LABELS: [&str; 7] = [
    "http://terminology.hl7.org/CodeSystem/v3-Confidentiality|N",
    "http://terminology.hl7.org/CodeSystem/v3-Confidentiality|R",
    "http://terminology.hl7.org/CodeSystem/v3-Confidentiality|V",
    "http://terminology.hl7.org/CodeSystem/v3-ActCode|HIV",
    "http://terminology.hl7.org/CodeSystem/v3-ActCode|PSY",
    "http://terminology.hl7.org/CodeSystem/v3-ActCode|ETH",
    "http://terminology.hl7.org/CodeSystem/v3-ActCode|PSYTHPN",
];
/// How many types a family may lack and still be written as "family except ...".
const EXCEPT_MAX: usize = 4;
/// How many relationships there are, with none and with nobody to have one to.
const ROWS: usize = Relations::NAMED.len() + 2;
/// Width of the first column.
const WIDTH: usize = 46;

/// Somebody of the matrix.
struct Profile {
    name: &'static str,
    kind: CallerKind,
    roles: &'static [&'static str],
    reads: &'static [&'static str],
    writes: &'static [&'static str],
    purpose: Purpose,
}

const fn person(name: &'static str, roles: &'static [&'static str], purpose: Purpose) -> Profile {
    Profile { name, kind: CallerKind::User, roles, reads: &[], writes: &[], purpose }
}

const fn contractor(name: &'static str, kind: CallerKind, purpose: Purpose) -> Profile {
    Profile { name, kind, roles: &[], reads: &["Patient", "Observation"], writes: &["Observation"], purpose }
}

const PROFILES: [Profile; 11] = [
    person("physician", &["physician"], Purpose::Treat),
    person("physician", &["physician"], Purpose::Emergency),
    person("nurse", &["nurse"], Purpose::Treat),
    person("front-desk", &["front-desk"], Purpose::Treat),
    person("auditor", &["auditor"], Purpose::Audit),
    person("auditor", &["auditor"], Purpose::Treat),
    person("administrator", &["administrator"], Purpose::Audit),
    person("auditor and physician", &["auditor", "physician"], Purpose::Treat),
    person("nobody's role", &[], Purpose::Treat),
    contractor(
        "partner who reads Patient and Observation, writes Observation",
        CallerKind::Partner,
        Purpose::Treat,
    ),
    contractor("service with the same contract", CallerKind::Service, Purpose::Treat),
];

/// The whole matrix.
///
/// # Errors
/// Never: writing to a string does not fail.
pub fn text(gate: &Gate) -> Result<String, fmt::Error> {
    let mut out = String::from(
        "Who may do what, as decided by the policies of this folder.\n\
         Written by `custodia policies test`; do not edit, review.\n\
         Relationships in one line are each alone; types in one heading are decided alike.\n\
         What is not said otherwise is inside the caller's tenant and scopes, and without security labels.\n",
    );
    for profile in &PROFILES {
        write!(out, "\n{}, {}\n", profile.name, profile.purpose.code())?;
        profile.asking(|subject| of_subject(gate, subject, &mut out))?;
    }
    restrictions(gate, &mut out)?;
    Ok(out)
}

impl Profile {
    /// Does something as this caller.
    fn asking<T>(&self, act: impl FnOnce(&Subject<'_>) -> T) -> T {
        let [roles, reads, writes] = [self.roles, self.reads, self.writes]
            .map(|l| l.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>());
        act(&Subject {
            kind: self.kind,
            tenant: TenantId(1),
            roles: &roles,
            reads: &reads,
            writes: &writes,
            purpose: self.purpose,
            in_scope: true,
        })
    }
}

/// All types and the audit log for one caller.
fn of_subject(gate: &Gate, subject: &Subject<'_>, out: &mut String) -> fmt::Result {
    line(out, 2, "audit log", &gate.decide_audit(subject, subject.tenant))?;
    let mut blocks: BTreeMap<String, Vec<ResourceType>> = BTreeMap::new();
    for kind in ResourceType::all() {
        blocks.entry(of_kind(gate, subject, kind)?).or_default().push(kind);
    }
    let mut blocks: Vec<_> =
        blocks.into_iter().map(|(block, kinds)| (headings(gate, &kinds), block)).collect();
    blocks.sort_unstable();
    for (heading, block) in blocks {
        for line in heading {
            writeln!(out, "  {line}")?;
        }
        out.push_str(&block);
    }
    Ok(())
}

/// All relationships and acts for one caller and one type.
fn of_kind(gate: &Gate, subject: &Subject<'_>, kind: ResourceType) -> Result<String, fmt::Error> {
    let mut rows = vec![("about nobody", false, Relations::NONE), ("no relationship", true, Relations::NONE)];
    rows.extend(Relations::NAMED.into_iter().map(|(one, name)| (name, true, one)));
    // Relationships that are decided alike stand together, in the order of the first of each.
    let mut groups: Vec<(Vec<&str>, Decided)> = Vec::new();
    for (name, about_patient, relations) in rows {
        let facts = Facts { about_patient, relations, ..plain(subject.tenant, kind) };
        let decided = by_decision(ACTS.map(|act| (act.name(), gate.decide(subject, act, &facts))));
        match groups.iter_mut().find(|(_, d)| *d == decided) {
            Some((names, _)) => names.push(name),
            None => groups.push((vec![name], decided)),
        }
    }
    let mut out = String::new();
    for (names, decided) in groups {
        let names =
            if names.len() == ROWS { "whatever the relationship".to_owned() } else { names.join(", ") };
        writeln!(out, "    {names}")?;
        for (acts, decision) in decided {
            line(&mut out, 6, &acts, &decision)?;
        }
    }
    Ok(out)
}

/// What labels, tenants and scopes take away from a physician who may read the record otherwise.
fn restrictions(gate: &Gate, out: &mut String) -> fmt::Result {
    let [physician, ..] = PROFILES;
    let kind = ResourceType::OBSERVATION;
    physician.asking(|subject| {
        let plain = plain(subject.tenant, kind);
        writeln!(out, "\nphysician reads an Observation with a security label")?;
        for label in LABELS {
            writeln!(out, "  {label}")?;
            let decided = Relations::NAMED.map(|(relations, name)| {
                let facts = Facts { relations, labels: vec![label.to_owned()], ..plain.clone() };
                (name, gate.decide(subject, Act::Read, &facts))
            });
            for (names, decision) in by_decision(decided) {
                writeln!(out, "    {names}\n      {}", spoken(&decision))?;
            }
        }
        writeln!(out, "\nphysician, general-practitioner, Observation")?;
        let near = Facts { relations: Relations::GENERAL_PRACTITIONER, ..plain };
        let far = Facts { tenant: TenantId(2), ..near.clone() };
        let unscoped = Subject { in_scope: false, ..*subject };
        for (what, subject, facts) in
            [("of another tenant", subject, &far), ("outside the scopes", &unscoped, &near)]
        {
            writeln!(out, "  {what}")?;
            for (acts, decision) in by_decision(ACTS.map(|a| (a.name(), gate.decide(subject, a, facts)))) {
                line(out, 4, &acts, &decision)?;
            }
        }
        Ok(())
    })
}

fn plain(tenant: TenantId, kind: ResourceType) -> Facts {
    let (relations, labels) = (Relations::NONE, Vec::new());
    Facts { tenant, kind, key: Uuid::nil(), about_patient: true, relations, labels }
}

/// Names, joined, and how they are decided.
type Decided = Vec<(String, Decision)>;

/// The names that are decided alike, joined, in the order of the first of each.
fn by_decision<const N: usize>(decided: [(&str, Decision); N]) -> Decided {
    let mut groups = Decided::new();
    for (name, decision) in decided {
        match groups.iter_mut().find(|(_, d)| *d == decision) {
            Some((names, _)) => {
                names.push(' ');
                names.push_str(name);
            }
            None => groups.push((name.to_owned(), decision)),
        }
    }
    groups
}

fn line(out: &mut String, indent: usize, what: &str, decision: &Decision) -> fmt::Result {
    let width = WIDTH - indent;
    writeln!(out, "{:indent$}{what:width$} {}", "", spoken(decision))
}

/// The types, as families where they are whole or nearly so.
fn headings(gate: &Gate, kinds: &[ResourceType]) -> Vec<String> {
    let families: BTreeSet<&str> = kinds.iter().map(|kind| gate.family(*kind)).collect();
    let named = |kinds: &mut dyn Iterator<Item = ResourceType>| {
        kinds.map(ResourceType::name).collect::<Vec<_>>().join(", ")
    };
    let heading = |family: &str| {
        let missing: Vec<_> =
            ResourceType::all().filter(|k| gate.family(*k) == family && !kinds.contains(k)).collect();
        let here: Vec<_> = kinds.iter().copied().filter(|k| gate.family(*k) == family).collect();
        if missing.is_empty() {
            format!("all {}", family)
        } else if missing.len() <= EXCEPT_MAX && here.len() > missing.len() {
            format!("all {family} except {}", named(&mut missing.into_iter()))
        } else {
            format!("{family}: {}", named(&mut here.into_iter()))
        }
    };
    families.into_iter().map(heading).collect()
}
