//! From decoded parameters to a query.
//!
//! May import only std, chrono and what stands beside it in `fhir`. Texts of problems name parameters that
//! R4 defines, and never one that the client made up, nor any value.

use chrono::{DateTime, Utc};

use super::super::kinds::{LogicalId, ResourceType};
use super::super::outcome::{IssueCode, Problem};
use super::super::reference::{BaseUrl, Reference};
use super::date::DateRange;
use super::path::Path;
use super::{
    ALTERNATIVES_MAX, COUNT_DEFAULT, COUNT_MAX, CURSOR_BYTES_MAX, DateTerm, Handling, PatientTerm, Prefix,
    Query, Total, parameters,
};

/// What a search is asked in.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The type that is searched.
    pub kind: ResourceType,
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
        let mut query = Self {
            kind: request.kind,
            ids: None,
            patients: Vec::new(),
            last_updated: Vec::new(),
            count: COUNT_DEFAULT,
            cursor: None,
            total: None,
            pretty: false,
            format: None,
            ignored: Vec::new(),
            id_terms: Vec::new(),
            base: request.base.clone(),
        };
        let mut problems = Vec::new();
        let mut seen: Vec<&'static str> = Vec::new();
        let mut count_only = false;
        for (index, (name, value)) in pairs.iter().enumerate() {
            let result = match Name::of(request.kind, name) {
                Name::Unknown => query.unknown(index + 1, request.handling),
                Name::Filter(parameter, modifier) => query.filter(request, parameter, modifier, value),
                Name::Control(code, _) if seen.contains(&code) => {
                    Err(refuse(IssueCode::Invalid, code, "it is given twice"))
                }
                Name::Control(code, modifier) => {
                    seen.push(code);
                    query.control(code, modifier, value, &mut count_only)
                }
            };
            problems.extend(result.err());
        }
        if count_only {
            query.count = 0;
        }
        if problems.is_empty() { Ok(query) } else { Err(problems) }
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

    fn filter(
        &mut self,
        request: Request<'_>,
        parameter: &'static parameters::Parameter,
        modifier: &str,
        value: &str,
    ) -> Result<(), Problem> {
        let code = parameter.code;
        if let Some((which, parameter)) = parameters::patient_parameter(request.kind, code) {
            if !matches!(modifier, "" | ":Patient") {
                return Err(modifier_unsupported(code));
            }
            let path = Path::parse(request.kind, parameter.expression).ok_or_else(|| unsupported(code))?;
            let any = alternatives(code, value, |text| patient(code, text, request.base))?;
            self.patients.push(PatientTerm { parameter: which, any, path });
            return Ok(());
        }
        match (code, modifier) {
            ("_id", "") => {
                let wrong = || refuse(IssueCode::Value, code, "expected a logical id");
                let given = alternatives(code, value, |text| LogicalId::parse(text).ok_or_else(wrong))?;
                match &mut self.ids {
                    Some(ids) => ids.retain(|id| given.contains(id)),
                    none => *none = Some(given.clone()),
                }
                self.id_terms.push(given);
                Ok(())
            }
            ("_lastUpdated", "") => {
                self.last_updated.push(alternatives(code, value, |text| date(code, text, request.now))?);
                Ok(())
            }
            ("_id" | "_lastUpdated", _) => Err(modifier_unsupported(code)),
            _ => Err(unsupported(code)),
        }
    }

    fn control(
        &mut self,
        code: &'static str,
        modifier: &str,
        value: &str,
        count_only: &mut bool,
    ) -> Result<(), Problem> {
        let wrong = |expected: &str| Err(refuse(IssueCode::Value, code, expected));
        match (code, value) {
            ("_count" | "_cursor" | "_total" | "_format" | "_pretty" | "_summary", _)
                if !modifier.is_empty() =>
            {
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
            ("_total", "none") => self.total = Some(Total::None),
            ("_total", "estimate") => self.total = Some(Total::Estimate),
            ("_total", "accurate") => self.total = Some(Total::Accurate),
            ("_total", _) => return wrong("expected none, estimate or accurate"),
            ("_summary", "false") => {}
            ("_summary", "count") => *count_only = true,
            ("_pretty", "true") => self.pretty = true,
            ("_pretty", "false") => self.pretty = false,
            ("_pretty", _) => return wrong("expected true or false"),
            // A plus sign that was not escaped arrives as a space.
            (
                "_format",
                "json" | "text/json" | "application/json" | "application/fhir+json" | "application/fhir json",
            ) => self.format = Some(value.replace(' ', "+")),
            ("_format", _) => {
                return Err(refuse(IssueCode::NotSupported, code, "this server speaks JSON only"));
            }
            _ => return Err(unsupported(code)),
        }
        Ok(())
    }
}

/// The name of a parameter, without what the client added to it.
enum Name<'a> {
    /// R4 defines it for the type; then the modifier or chain, with its colon or dot.
    Filter(&'static parameters::Parameter, &'a str),
    /// It is no filter of the type's; then the modifier.
    Control(&'static str, &'a str),
    /// R4 does not define it here.
    Unknown,
}

impl<'a> Name<'a> {
    fn of(kind: ResourceType, name: &'a str) -> Self {
        let end = name.find([':', '.']).unwrap_or(name.len());
        let Some((code, modifier)) = name.split_at_checked(end) else { return Self::Unknown };
        match (parameters::control(code), parameters::find(kind, code)) {
            (Some(control), _) => Self::Control(control, modifier),
            (None, Some(parameter)) => Self::Filter(parameter, modifier),
            (None, None) => Self::Unknown,
        }
    }
}

/// The values of a parameter, each once; a comma separates them unless a backslash stands before it.
fn alternatives<T: PartialEq>(
    code: &'static str,
    value: &str,
    parse: impl Fn(&str) -> Result<T, Problem>,
) -> Result<Vec<T>, Problem> {
    let mut found = Vec::new();
    for (index, text) in split_escaped(value).iter().enumerate() {
        if index >= ALTERNATIVES_MAX {
            let what = format!("it has more than {ALTERNATIVES_MAX} values");
            return Err(refuse(IssueCode::TooCostly, code, &what));
        }
        if text.is_empty() {
            return Err(refuse(IssueCode::Value, code, "a value is empty"));
        }
        let parsed = parse(text)?;
        if !found.contains(&parsed) {
            found.push(parsed);
        }
    }
    Ok(found)
}

/// Splits at commas and takes the escapes away (FHIR R4 search.html#escaping).
fn split_escaped(value: &str) -> Vec<String> {
    let mut parts = vec![];
    let mut part = String::new();
    let mut letters = value.chars();
    while let Some(letter) = letters.next() {
        match letter {
            ',' => parts.push(std::mem::take(&mut part)),
            '\\' => part.extend(letters.next()),
            other => part.push(other),
        }
    }
    parts.push(part);
    parts
}

/// `123`, `Patient/123` or the own absolute URL.
///
/// A bare id is a Patient's, also where `subject` might be of another type: what else it might have been
/// must be asked for with its type.
fn patient(code: &'static str, text: &str, base: &BaseUrl) -> Result<LogicalId, Problem> {
    if let Some(id) = LogicalId::parse(text) {
        return Ok(id);
    }
    match Reference::parse(text, base) {
        Some(Reference::Local { kind: ResourceType::PATIENT, id, version: None }) => Ok(id),
        Some(Reference::Local { version: None, .. }) => {
            Err(refuse(IssueCode::NotSupported, code, "only references to a Patient can be searched for"))
        }
        _ => Err(refuse(
            IssueCode::Value,
            code,
            "expected an id, Patient/id, or the URL of a Patient of this server",
        )),
    }
}

fn date(code: &'static str, text: &str, now: DateTime<Utc>) -> Result<DateTerm, Problem> {
    let (prefix, rest) = Prefix::split(text);
    let Some(range) = DateRange::parse(rest) else {
        let what = "expected a prefix and a date or dateTime; a plus sign of its time zone is written %2B";
        return Err(refuse(IssueCode::Value, code, what));
    };
    let range = match prefix {
        // search.html#prefix recommends 10 % of the time between the date and now.
        Prefix::Ap => range.widened((now - range.from).abs() / 10),
        _ => range,
    };
    Ok(DateTerm { prefix, range, text: rest.to_owned() })
}

fn refuse(issue: IssueCode, code: &'static str, what: &str) -> Problem {
    Problem::error(issue, format!("Search parameter {code}: {what}.")).by(format!("search.{code}"))
}

fn unsupported(code: &'static str) -> Problem {
    refuse(IssueCode::NotSupported, code, "this server does not support it yet, and ignores no filter")
}

fn modifier_unsupported(code: &'static str) -> Problem {
    refuse(IssueCode::NotSupported, code, "this server does not support this modifier or chain")
}
