//! From decoded parameters to a query.
//!
//! May import only std, chrono and what stands beside it in `fhir`. Texts of problems name parameters that
//! R4 defines, and never one that the client made up, nor any value.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::super::kinds::{LogicalId, ResourceType};
use super::super::outcome::{IssueCode, Problem};
use super::super::reference::BaseUrl;
use super::codes::Sets;
use super::filter::{Grammar, modifier_unsupported, refuse};
use super::include::{INCLUDES_MAX, Include};
use super::sort::{SORT_KEYS_MAX, SortKey, is_sortable};
use super::term::Reading;
use super::{
    COUNT_DEFAULT, COUNT_MAX, CURSOR_BYTES_MAX, Handling, Level, Query, Searches, TYPES_MAX, Total,
    expression, parameters,
};

/// What a search is asked in.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The type that is searched.
    pub kind: ResourceType,
    /// Where it is asked.
    pub level: Level,
    /// The parameters R4 defines.
    pub searches: &'a Searches,
    /// What sets of codes are read with.
    pub sets: &'a Sets<'a>,
    /// The server's own base URL.
    pub base: &'a BaseUrl,
    /// What to do with parameters R4 does not define.
    pub handling: Handling,
    /// The time, which `ap` depends on.
    pub now: DateTime<Utc>,
}

impl Query {
    /// The query these parameters ask, decoded by [`super::form`].
    ///
    /// # Errors
    /// Everything that is wrong with them; each is a 400.
    pub fn parse(request: Request<'_>, pairs: &[(String, String)]) -> Result<Self, Vec<Problem>> {
        let Request { kind, level, searches, sets, base, handling, now } = request;
        let mut query = Self { level, count: COUNT_DEFAULT, ..Self::of(kind, Vec::new(), base) };
        let grammar = Grammar { searches, reading: Reading { sets, base, now } };
        let mut problems = Vec::new();
        let mut seen: Vec<&'static str> = Vec::new();
        let mut count_only = false;
        for (index, (name, value)) in pairs.iter().enumerate() {
            let end = name.find(':').unwrap_or(name.len());
            let (code, modifier) = name.split_at_checked(end).unwrap_or((name, ""));
            let result = if name == "_filter" {
                expression::parse(grammar, kind, value).map(|filters| query.filters.extend(filters))
            } else if let Some(filter) = grammar.filter(kind, name, value, 0) {
                filter.map(|filter| query.filters.push(filter))
            } else if let Some(code) = parameters::control(code) {
                let repeats = matches!(code, "_include" | "_revinclude");
                if !repeats && seen.contains(&code) {
                    Err(refuse(IssueCode::Invalid, code, "it is given twice"))
                } else {
                    seen.push(code);
                    query.control(searches, code, modifier, value, &mut count_only)
                }
            } else {
                match query.unknown(index + 1, handling) {
                    Ok(()) => continue,
                    Err(problem) => Err(problem),
                }
            };
            match result {
                Ok(()) => query.keep(name, value),
                Err(problem) => problems.push(problem),
            }
        }
        if count_only {
            query.count = 0;
        }
        if problems.is_empty() { Ok(query) } else { Err(problems) }
    }

    /// The patients whom these parameters name by their ids, as far as each can be read by itself: also those of a search
    /// that is refused.
    #[must_use]
    pub fn named(request: Request<'_>, pairs: &[(String, String)]) -> Vec<LogicalId> {
        let Request { kind, searches, base, now, .. } = request;
        let sets = Sets::blank();
        let grammar = Grammar { searches, reading: Reading { sets: &sets, base, now } };
        let mut named = Vec::new();
        for (name, value) in pairs {
            let filters = if name == "_filter" {
                expression::parse(grammar, kind, value).unwrap_or_default()
            } else {
                grammar.filter(kind, name, value, 0).and_then(Result::ok).into_iter().collect()
            };
            filters.iter().for_each(|filter| filter.name(kind, &mut named));
        }
        named
    }

    /// Keeps a parameter for the links: as it was understood, which is as it was written but for a count that
    /// is cut down and a plus sign that arrived as a space.
    fn keep(&mut self, name: &str, value: &str) {
        let value = match name {
            "_cursor" => return,
            "_count" => self.count.to_string(),
            "_format" => value.replace(' ', "+"),
            _ => value.to_owned(),
        };
        self.pairs.push((name.to_owned(), value));
    }

    fn unknown(&mut self, place: usize, handling: Handling) -> Result<(), Problem> {
        let what = format!("Parameter {place} of the query is not defined for this type");
        match handling {
            Handling::Strict => {
                Err(Problem::error(IssueCode::NotSupported, format!("{what}."))
                    .by("search.unknown-parameter"))
            }
            Handling::Lenient => {
                let text = format!("{what}, and was ignored.");
                self.ignored
                    .push(Problem::warning(IssueCode::NotSupported, text).by("search.unknown-parameter"));
                Ok(())
            }
        }
    }

    fn control(
        &mut self,
        searches: &Searches,
        code: &'static str,
        modifier: &str,
        value: &str,
        count_only: &mut bool,
    ) -> Result<(), Problem> {
        let wrong = |expected: &str| Err(refuse(IssueCode::Value, code, expected));
        match (code, value) {
            ("_include", _) => return self.include(searches, Direction::Forward, modifier, value),
            ("_revinclude", _) => return self.include(searches, Direction::Back, modifier, value),
            (
                "_count" | "_cursor" | "_total" | "_format" | "_pretty" | "_summary" | "_elements" | "_sort"
                | "_list" | "_type",
                _,
            ) if !modifier.is_empty() => {
                return Err(modifier_unsupported(code));
            }
            ("_count", digits) => {
                let number = digits.bytes().all(|b| b.is_ascii_digit()) && (1..=9).contains(&digits.len());
                let Some(count) = number.then(|| digits.parse::<u32>().ok()).flatten() else {
                    return wrong("expected a number of at most 9 digits");
                };
                self.count = count.min(COUNT_MAX);
            }
            ("_cursor", text) => {
                let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~');
                if text.is_empty() || text.len() > CURSOR_BYTES_MAX || !text.bytes().all(plain) {
                    return wrong("it is not one that this server gave out");
                }
                self.cursor = Some(text.to_owned());
            }
            ("_list", text) => self.list = Some(list(text)?),
            // Which types they are has been read by then (`types`).
            ("_type", _) if self.level == Level::System => {}
            ("_sort", keys) => self.sort = sort_keys(searches, self.kind, keys)?,
            ("_total", "none") => self.total = Some(Total::None),
            ("_total", "estimate") => self.total = Some(Total::Estimate),
            ("_total", "accurate") => self.total = Some(Total::Accurate),
            ("_total", _) => return wrong("expected none, estimate or accurate"),
            // Which part of each resource is given is not the search's to know (`fhir::subset`).
            ("_summary", "true" | "text" | "data" | "false") | ("_elements", _) => {}
            ("_summary", "count") => *count_only = true,
            ("_pretty", "true") => self.pretty = true,
            ("_pretty", "false") => self.pretty = false,
            ("_pretty", _) => return wrong("expected true or false"),
            // A plus sign that was not escaped arrives as a space.
            (
                "_format",
                "json" | "text/json" | "application/json" | "application/fhir+json" | "application/fhir json",
            ) => {}
            ("_format", _) => {
                return Err(refuse(IssueCode::NotSupported, code, "this server speaks JSON only"));
            }
            _ => return Err(unsupported(code)),
        }
        Ok(())
    }
}

/// The id of a List.
fn list(text: &str) -> Result<LogicalId, Problem> {
    if text.starts_with('$') {
        let what = "functional lists are not kept here; name a List by its id";
        return Err(refuse(IssueCode::NotSupported, "_list", what));
    }
    let id = LogicalId::parse(text.strip_prefix("List/").unwrap_or(text));
    id.ok_or_else(|| refuse(IssueCode::Value, "_list", "expected the id of a List"))
}

/// The types a search of the whole system names in `_type`, each once.
///
/// # Errors
/// There is none, one is no type, or they are more than [`TYPES_MAX`].
pub fn types(pairs: &[(String, String)]) -> Result<Vec<ResourceType>, Problem> {
    let mut named = pairs.iter().filter(|(name, _)| name == "_type");
    let (Some((_, text)), None) = (named.next(), named.next()) else {
        let what = "a search of the whole system names its types once: _type=Patient,Observation";
        return Err(refuse(IssueCode::Required, "_type", what));
    };
    let mut types = Vec::new();
    for (at, name) in text.split(',').enumerate() {
        if at >= TYPES_MAX {
            let what = format!("it names more than {TYPES_MAX} types");
            return Err(refuse(IssueCode::TooCostly, "_type", &what));
        }
        let kind = ResourceType::from_name(name);
        let kind = kind.ok_or_else(|| refuse(IssueCode::Value, "_type", "expected resource types"))?;
        if !types.contains(&kind) {
            types.push(kind);
        }
    }
    Ok(types)
}

/// Which way an inclusion goes.
#[derive(Clone, Copy)]
enum Direction {
    Forward,
    Back,
}

impl Query {
    fn include(
        &mut self,
        searches: &Searches,
        direction: Direction,
        modifier: &str,
        value: &str,
    ) -> Result<(), Problem> {
        let (name, list) = match direction {
            Direction::Forward => ("_include", &mut self.includes),
            Direction::Back => ("_revinclude", &mut self.revincludes),
        };
        if list.len() >= INCLUDES_MAX {
            let what = format!("it is given more than {INCLUDES_MAX} times");
            return Err(refuse(IssueCode::TooCostly, name, &what));
        }
        list.push(Include::parse(searches, name, modifier, value)?);
        Ok(())
    }
}

/// `-date,name`: none if it is the order records come in anyway.
fn sort_keys(searches: &Searches, kind: ResourceType, text: &str) -> Result<Vec<SortKey>, Problem> {
    let wrong = |issue, what: &str| refuse(issue, "_sort", what);
    let mut keys = Vec::new();
    for (at, piece) in text.split(',').enumerate() {
        if at >= SORT_KEYS_MAX {
            return Err(wrong(IssueCode::TooCostly, &format!("it has more than {SORT_KEYS_MAX} keys")));
        }
        let (code, descending) = match piece.strip_prefix('-') {
            Some(code) => (code, true),
            None => (piece, false),
        };
        let parameter = searches.find(kind, code).filter(|one| is_sortable(one));
        let parameter = parameter
            .ok_or_else(|| wrong(IssueCode::NotSupported, "expected parameters of the type to sort by"))?;
        keys.push(SortKey { parameter: Arc::clone(parameter), descending });
    }
    match keys.as_slice() {
        [only] if only.parameter.code == "_lastUpdated" && only.descending => Ok(Vec::new()),
        _ => Ok(keys),
    }
}

fn unsupported(code: &'static str) -> Problem {
    refuse(IssueCode::NotSupported, code, "this server does not support it, and ignores no filter")
}
