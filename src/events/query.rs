//! What an auditor asks the log: search parameters of AuditEvent (FHIR R4 auditevent.html#search) over entries.
//!
//! May import `fhir`. No filter is ever ignored: a parameter that is not understood is refused, whatever the request's
//! handling, since an auditor who is shown more than was asked for sees less.

use chrono::{DateTime, Utc};
use custodia_audit::Entry;
use serde_json::Value;

use super::{LogId, View};
use crate::fhir::{
    kinds::{LogicalId, ResourceType},
    outcome::{IssueCode, Problem},
    reference::{BaseUrl, Reference},
    search::{date::DateRange, form::append},
};

/// Events on a page when nothing is said.
pub const COUNT_DEFAULT: usize = 50;
/// The most events on a page.
pub const COUNT_MAX: usize = 200;
/// The most parameters of a search.
pub const PARAMETERS_MAX: usize = 32;
/// The most values of one parameter.
pub const VALUES_MAX: usize = 64;

/// One search of the log.
#[derive(Clone, Debug, Default)]
pub struct LogQuery {
    /// Patients of whom an event must be about one; `None` is anybody.
    pub patients: Option<Vec<LogicalId>>,
    /// Events at or after this instant.
    pub from: Option<DateTime<Utc>>,
    /// Events before this instant.
    pub until: Option<DateTime<Utc>>,
    /// Events on a page.
    pub count: usize,
    /// Where the page before ended, in each log.
    pub after: Vec<LogId>,
    terms: Vec<Term>,
    /// What was asked, for the links.
    said: Vec<(String, String)>,
}

/// One filter: any of its values.
#[derive(Clone, Debug)]
enum Term {
    Id(Vec<LogId>),
    Date(Vec<(Compare, DateRange)>),
    Patient(Vec<LogicalId>),
    /// Account, client or certificate: `[system|]value`.
    Agent(Vec<Token>),
    AgentName(Vec<String>),
    Address(Vec<String>),
    Entity(Vec<(ResourceType, LogicalId, Option<u32>)>),
    /// At a pointer, a code or the members of a list of codings.
    Token(&'static str, Vec<Token>),
}

/// `[system|]code`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Token {
    system: Option<String>,
    code: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compare {
    Eq,
    Ne,
    Gt,
    Ge,
    Lt,
    Le,
}

impl LogQuery {
    /// The search these parameters ask.
    ///
    /// # Errors
    /// Everything that is wrong with them; each is a 400.
    pub fn parse(pairs: &[(String, String)], base: &BaseUrl) -> Result<Self, Vec<Problem>> {
        if pairs.len() > PARAMETERS_MAX {
            let text = format!("More than {PARAMETERS_MAX} parameters.");
            return Err(vec![Problem::error(IssueCode::TooCostly, text).by("search.parameters-max")]);
        }
        let mut query = Self { count: COUNT_DEFAULT, ..Self::default() };
        let mut problems = Vec::new();
        for (at, (name, value)) in pairs.iter().enumerate() {
            problems.extend(query.parameter(at + 1, name, value, base).err());
        }
        if problems.is_empty() { Ok(query) } else { Err(problems) }
    }

    fn parameter(&mut self, at: usize, name: &str, value: &str, base: &BaseUrl) -> Result<(), Problem> {
        match name {
            "_count" => {
                let count = value.parse::<u32>().map_err(|_| refuse(name_of(name), "expected a number"))?;
                self.count = usize::try_from(count).unwrap_or(COUNT_MAX).clamp(1, COUNT_MAX);
                return Ok(());
            }
            "_cursor" => {
                let after = LogId::parse_all(value);
                self.after = after
                    .ok_or_else(|| refuse("_cursor", "expected what a next link of this server holds"))?;
                return Ok(());
            }
            // The order there is, the format there is, and no total: each may be said.
            "_sort" if value == "-date" || value == "-_lastUpdated" => return Ok(()),
            "_format" if value.contains("json") => return Ok(()),
            "_total" if value == "none" => return Ok(()),
            "_summary" if value == "false" => return Ok(()),
            _ => {}
        }
        let term = Term::parse(at, name, value, base)?;
        match &term {
            Term::Date(terms) => self.narrow(terms),
            Term::Patient(patients) => match &mut self.patients {
                Some(known) => known.retain(|id| patients.contains(id)),
                none => *none = Some(patients.clone()),
            },
            _ => {}
        }
        self.terms.push(term);
        self.said.push((name.to_owned(), value.to_owned()));
        Ok(())
    }

    /// Keeps the instants that can meet a date.
    fn narrow(&mut self, terms: &[(Compare, DateRange)]) {
        let from = |(compare, range): &(Compare, DateRange)| match compare {
            Compare::Eq | Compare::Ge => Some(range.from),
            Compare::Gt => Some(range.until),
            Compare::Ne | Compare::Lt | Compare::Le => None,
        };
        let until = |(compare, range): &(Compare, DateRange)| match compare {
            Compare::Eq | Compare::Le => Some(range.until),
            Compare::Lt => Some(range.from),
            Compare::Ne | Compare::Gt | Compare::Ge => None,
        };
        // One value open to a side opens them all to that side.
        let first: Option<Vec<_>> = terms.iter().map(from).collect();
        let last: Option<Vec<_>> = terms.iter().map(until).collect();
        self.from = self.from.max(first.and_then(|all| all.into_iter().min()));
        self.until = match (self.until, last.and_then(|all| all.into_iter().max())) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (one, None) | (None, one) => one,
        };
    }

    /// Whether a view of an entry is what was asked for; `event` is its rendering.
    #[must_use]
    pub fn matches(&self, id: LogId, entry: &Entry, event: &Value) -> bool {
        self.terms.iter().all(|term| term.holds(id, entry, event))
    }

    /// The views of an entry that may still come, given where the page starts.
    #[must_use]
    pub fn is_due(&self, id: LogId) -> bool {
        // Of a log that no cursor is of: one that another continues, which comes after it whole.
        self.after.iter().find(|after| after.shard == id.shard).is_none_or(|after| {
            id.index < after.index
                || (id.index == after.index && after.view == View::Access && id.view == View::Disclosure)
        })
    }

    /// The link to this search, at a cursor.
    #[must_use]
    pub fn link(&self, base: &BaseUrl, cursor: &[LogId]) -> String {
        let mut url = format!("{}/AuditEvent", base.as_str());
        for (name, value) in &self.said {
            append(&mut url, name, value);
        }
        if self.count != COUNT_DEFAULT {
            append(&mut url, "_count", &self.count.to_string());
        }
        if !cursor.is_empty() {
            append(&mut url, "_cursor", &LogId::join(cursor));
        }
        url
    }
}

impl Term {
    fn parse(at: usize, name: &str, value: &str, base: &BaseUrl) -> Result<Self, Problem> {
        let values: Vec<&str> = value.split(',').collect();
        if values.len() > VALUES_MAX {
            let text = format!("A parameter has more than {VALUES_MAX} values.");
            return Err(Problem::error(IssueCode::TooCostly, text).by("search.values-max"));
        }
        if values.iter().any(|value| value.is_empty()) {
            return Err(refuse(name_of(name), "a value is empty"));
        }
        let texts = || values.iter().map(|text| text.to_lowercase()).collect();
        let tokens = || values.iter().map(|text| Token::parse(text)).collect();
        Ok(match name {
            "_id" => Self::Id(values.iter().filter_map(|text| LogId::parse(text)).collect()),
            "date" | "_lastUpdated" => Self::Date(each(&values, |text| {
                date(text).ok_or_else(|| refuse("date", "expected a prefix and a date or dateTime"))
            })?),
            "patient" | "patient:Patient" => Self::Patient(each(&values, |text| {
                patient(text, base).ok_or_else(|| refuse("patient", "expected an id or Patient/id"))
            })?),
            "agent" | "agent:identifier" | "altid" => Self::Agent(tokens()),
            "agent-name" => Self::AgentName(texts()),
            "address" => Self::Address(texts()),
            "entity" => Self::Entity(each(&values, |text| {
                entity(text, base)
                    .ok_or_else(|| refuse("entity", "expected Type/id or Type/id/_history/version"))
            })?),
            "action" => Self::Token("/action", tokens()),
            "outcome" => Self::Token("/outcome", tokens()),
            "type" => Self::Token("/type", tokens()),
            "subtype" => Self::Token("/subtype", tokens()),
            _ => {
                let text = format!(
                    "Parameter {at} of the query is not one the log can be searched by. It takes _id, date, \
                     patient, agent, agent-name, altid, address, entity, action, outcome, type, subtype, _count."
                );
                return Err(Problem::error(IssueCode::NotSupported, text).by("search.unknown-parameter"));
            }
        })
    }

    fn holds(&self, id: LogId, entry: &Entry, event: &Value) -> bool {
        let actor = &entry.actor;
        match self {
            Self::Id(ids) => ids.contains(&id),
            Self::Date(terms) => {
                let at = super::recorded(entry.event.time_micros);
                terms.iter().any(|(compare, range)| compare.holds(*range, at))
            }
            Self::Patient(ids) => entry
                .subject
                .patient
                .as_ref()
                .and_then(|text| text.strip_prefix("Patient/"))
                .is_some_and(|found| ids.iter().any(|id| id.as_str() == found)),
            Self::Agent(tokens) => {
                let names = [actor.user.as_ref(), actor.client.as_ref()];
                let known = |token: &Token| names.iter().flatten().any(|name| **name == token.code);
                tokens.iter().any(known)
            }
            Self::AgentName(starts) => {
                let name = actor.user.as_ref().map(|name| name.to_lowercase());
                name.is_some_and(|name| starts.iter().any(|start| name.starts_with(start)))
            }
            Self::Address(starts) => {
                let address = actor.address.as_ref().map(|address| address.to_lowercase());
                address.is_some_and(|address| starts.iter().any(|start| address.starts_with(start)))
            }
            Self::Entity(wanted) => wanted.iter().any(|one| names(entry, one)),
            Self::Token(at, tokens) => event.pointer(at).is_some_and(|found| {
                let list = found.as_array().map_or(std::slice::from_ref(found), Vec::as_slice);
                list.iter().any(|one| tokens.iter().any(|token| token.is(one)))
            }),
        }
    }
}

/// Whether an entry is about a record, or about a patient of that name.
fn names(entry: &Entry, (kind, id, version): &(ResourceType, LogicalId, Option<u32>)) -> bool {
    let released = entry.object.items.iter().any(|item| {
        item.kind == kind.name()
            && item.id == id.as_str()
            && version.is_none_or(|version| version == item.version)
    });
    let subject = entry.subject.patient.as_ref().and_then(|text| text.strip_prefix("Patient/"));
    released || (*kind == ResourceType::PATIENT && version.is_none() && subject == Some(id.as_str()))
}

impl Token {
    fn parse(text: &str) -> Self {
        match text.split_once('|') {
            Some((system, code)) => Self { system: Some(system.to_owned()), code: code.to_owned() },
            None => Self { system: None, code: text.to_owned() },
        }
    }

    /// Whether a code or a Coding is this one; an empty code is any of the system.
    fn is(&self, found: &Value) -> bool {
        let (system, code) = match found {
            Value::String(code) => (None, code.as_str()),
            coding => (
                coding.get("system").and_then(Value::as_str),
                coding.get("code").and_then(Value::as_str).unwrap_or_default(),
            ),
        };
        let same_system =
            self.system.as_ref().is_none_or(|wanted| system.is_none_or(|found| found == wanted));
        same_system && (self.code.is_empty() || self.code == code)
    }
}

impl Compare {
    fn holds(self, range: DateRange, at: DateTime<Utc>) -> bool {
        match self {
            Self::Eq => range.from <= at && at < range.until,
            Self::Ne => at < range.from || range.until <= at,
            Self::Gt => range.until <= at,
            Self::Ge => range.from <= at,
            Self::Lt => at < range.from,
            Self::Le => at < range.until,
        }
    }
}

fn each<T>(values: &[&str], parse: impl Fn(&str) -> Result<T, Problem>) -> Result<Vec<T>, Problem> {
    values.iter().map(|text| parse(text)).collect()
}

fn date(text: &str) -> Option<(Compare, DateRange)> {
    let prefixes = [
        ("eq", Compare::Eq),
        ("ne", Compare::Ne),
        ("gt", Compare::Gt),
        ("ge", Compare::Ge),
        ("lt", Compare::Lt),
        ("le", Compare::Le),
        ("sa", Compare::Gt),
        ("eb", Compare::Lt),
    ];
    let found = prefixes.iter().find_map(|(prefix, compare)| Some((*compare, text.strip_prefix(prefix)?)));
    let (compare, rest) = found.unwrap_or((Compare::Eq, text));
    Some((compare, DateRange::parse(rest)?))
}

fn patient(text: &str, base: &BaseUrl) -> Option<LogicalId> {
    match entity(text, base) {
        Some((ResourceType::PATIENT, id, None)) => Some(id),
        Some(_) => None,
        None => LogicalId::parse(text),
    }
}

fn entity(text: &str, base: &BaseUrl) -> Option<(ResourceType, LogicalId, Option<u32>)> {
    match Reference::parse(text, base) {
        Some(Reference::Local { kind, id, version }) => Some((kind, id, version)),
        _ => None,
    }
}

/// The name of a parameter as it may stand in a text: one of ours, never one a client made up.
fn name_of(name: &str) -> &'static str {
    const NAMES: [&str; 14] = [
        "_id",
        "_lastUpdated",
        "date",
        "patient",
        "agent",
        "agent-name",
        "altid",
        "address",
        "entity",
        "action",
        "outcome",
        "type",
        "subtype",
        "_count",
    ];
    NAMES.into_iter().find(|known| *known == name).unwrap_or("of the search")
}

fn refuse(name: &'static str, what: &str) -> Problem {
    Problem::error(IssueCode::Value, format!("Search parameter {name}: {what}.")).by(format!("search.{name}"))
}

#[cfg(test)]
mod tests;
