//! A patient's report: who saw or changed her records, when, what, and why (45 CFR 164.528; EHDS Article 9).
//!
//! A line tells of one entry about her and of nobody else: the query is left out, since it may name other patients, and
//! so is the reason. Employees are told by role and organisation; by name only where a policy permits it (CJEU
//! C-579/21). What a line says of when, whose and what is proven: its evidence opens those groups of the entry under
//! their salts, and leads from them to a signed checkpoint.

mod html;
mod json;
mod table;

use std::collections::BTreeMap;

use custodia_audit::{Action, Entry, ProofFile};

use super::{Place, instant, is_disclosure, is_partner};

/// The form of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// JSON, with evidence.
    Json,
    /// A table for spreadsheets.
    Csv,
    /// A page to print.
    Html,
}

/// Whether employees' names are in a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// They are.
    Shown,
    /// They are not.
    Withheld,
}

/// What a report is of.
#[derive(Clone, Debug)]
pub struct Head {
    /// Name of the log.
    pub origin: String,
    /// Whose records, such as `Patient/ann`.
    pub patient: String,
    /// Who keeps them.
    pub tenant: String,
    /// From when, in microseconds since 1970.
    pub from_micros: i64,
    /// Until when.
    pub until_micros: i64,
    /// When it was made.
    pub made_micros: i64,
    /// Whether it names employees.
    pub names: Names,
}

/// One entry, as the patient is told of it.
#[derive(Clone, Debug)]
pub struct Line {
    /// Name of its log: the server's own, or one that this continues.
    pub origin: String,
    /// Its index.
    pub index: u64,
    /// When, in microseconds since 1970.
    pub micros: i64,
    /// Roles of whoever it was, or `organisation` for another organisation's machine.
    pub roles: Vec<String>,
    /// The organisation they acted for.
    pub organisation: Option<String>,
    /// An employee's name, where names are shown; the name another organisation is registered under, always.
    pub name: Option<String>,
    /// How: the FHIR interaction.
    pub interaction: String,
    /// What was seen: references with versions.
    pub seen: Vec<String>,
    /// What was written.
    pub written: Vec<String>,
    /// What was deleted.
    pub deleted: Vec<String>,
    /// How many of each type, over all of these.
    pub types: BTreeMap<String, usize>,
    /// Why: a code of HL7 v3 PurposeOfUse.
    pub purpose: Option<String>,
    /// Whether records went to another organisation.
    pub disclosed: bool,
    /// Whether 45 CFR 164.528 wants it accounted for: a disclosure that was not for treatment, payment, operations or
    /// the patient herself.
    pub accounted: bool,
    /// What proves it.
    pub evidence: Option<Evidence>,
}

/// What proves a line: the entry with the groups that are shown, and its inclusion proof.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// Each group opened (salt, canonical bytes) or withheld (digest).
    pub groups: [Group; 5],
    /// The log entry: its tag and the commitment to the groups.
    pub leaf: Vec<u8>,
    /// The way from the entry to a signed checkpoint.
    pub proof: ProofFile,
}

/// One group of an entry.
#[derive(Clone, Debug)]
pub enum Group {
    /// Shown.
    Opened {
        /// Its salt.
        salt: [u8; 32],
        /// Its canonical bytes.
        bytes: Vec<u8>,
    },
    /// Not shown.
    Withheld([u8; 32]),
}

impl Line {
    /// The line of an entry; `None` when the entry is not one about the patient that came to pass.
    #[must_use]
    pub fn of(place: &Place<'_>, entry: &Entry, patient: &str, names: Names) -> Option<Self> {
        if entry.subject.patient.as_deref() != Some(patient) || !super::is_success(entry) {
            return None;
        }
        let partner = is_partner(entry);
        let named = partner || names == Names::Shown;
        let of = |action: Action| {
            let items = entry.object.items.iter().filter(|item| item.action == action);
            items.map(|item| format!("{}/{}/_history/{}", item.kind, item.id, item.version)).collect()
        };
        let mut types = BTreeMap::new();
        for item in &entry.object.items {
            *types.entry(item.kind.clone()).or_default() += 1;
        }
        let purpose = entry.detail.purpose.clone();
        let seen: Vec<String> = of(Action::Released);
        let disclosed = is_disclosure(entry) && !seen.is_empty();
        let ordinary = ["TREAT", "ETREAT", "HPAYMT", "HOPERAT", "PATRQT"];
        let accounted = disclosed && purpose.as_deref().is_none_or(|purpose| !ordinary.contains(&purpose));
        Some(Self {
            origin: place.origin.to_owned(),
            index: place.index,
            micros: entry.event.time_micros,
            roles: if partner { vec!["organisation".to_owned()] } else { entry.actor.roles.clone() },
            organisation: entry.actor.organisation.clone(),
            name: entry.actor.user.clone().filter(|_| named),
            interaction: entry.object.interaction.clone(),
            seen,
            written: of(Action::Written),
            deleted: of(Action::Deleted),
            types,
            purpose,
            disclosed,
            accounted,
            evidence: None,
        })
    }

    /// Who it was, in words.
    fn who(&self) -> String {
        let mut parts: Vec<&str> = self.name.iter().map(String::as_str).collect();
        parts.extend(self.roles.iter().map(String::as_str));
        parts.extend(self.organisation.iter().map(String::as_str));
        parts.join(", ")
    }

    /// What it was, in words: `2 Observation, 1 Patient`.
    fn what(&self) -> String {
        let counted = self.types.iter().map(|(kind, count)| format!("{count} {kind}"));
        counted.collect::<Vec<_>>().join(", ")
    }

    /// What was done, in words.
    fn done(&self) -> String {
        let acts = [("seen", &self.seen), ("written", &self.written), ("deleted", &self.deleted)];
        let done = acts.iter().filter(|(_, items)| !items.is_empty()).map(|(word, _)| *word);
        let words: Vec<&str> = done.collect();
        if words.is_empty() { "asked for".to_owned() } else { words.join(", ") }
    }
}

/// A purpose of use in plain words.
fn purpose(code: &str) -> &str {
    match code {
        "TREAT" => "treatment",
        "ETREAT" => "emergency treatment",
        "HPAYMT" => "payment",
        "HOPERAT" => "operations",
        "PATRQT" => "the patient's own request",
        "HSYSADMIN" => "administration",
        other => other,
    }
}

impl Form {
    /// The form of a name, `json`, `csv` or `html`, or of a media type.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        match name {
            "json" | "application/json" => Some(Self::Json),
            "csv" | "text/csv" => Some(Self::Csv),
            "html" | "text/html" => Some(Self::Html),
            _ => None,
        }
    }

    /// The media type.
    #[must_use]
    pub const fn media(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Csv => "text/csv; charset=utf-8",
            Self::Html => "text/html; charset=utf-8",
        }
    }

    /// What stands before the lines.
    #[must_use]
    pub fn head(self, head: &Head) -> String {
        match self {
            Self::Json => json::head(head),
            Self::Csv => table::head(),
            Self::Html => html::head(head),
        }
    }

    /// A line; `at` counts those before it.
    #[must_use]
    pub fn line(self, line: &Line, at: usize) -> String {
        match self {
            Self::Json => json::line(line, at),
            Self::Csv => table::line(line),
            Self::Html => html::line(line),
        }
    }

    /// What stands after `count` lines; `next` leads to more of them.
    #[must_use]
    pub fn foot(self, count: usize, next: Option<&str>) -> String {
        match self {
            Self::Json => json::foot(count, next),
            Self::Csv => String::new(),
            Self::Html => html::foot(count, next),
        }
    }
}

/// The receipt of a line.
fn receipt(line: &Line) -> String {
    format!("{}/{}", line.origin, line.index)
}

#[cfg(test)]
mod tests;
