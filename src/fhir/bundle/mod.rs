//! Bundles: batches and transactions that come in, and every kind of Bundle that goes out.
//!
//! FHIR R4 bundle.html, http.html#transaction. May import only std, chrono, `serde_json` and what stands
//! beside it in `fhir`.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::kinds::is_logical_id;
use super::outcome::{IssueCode, Problem};
use super::reference::BaseUrl;
use super::search::date::DateRange;

mod settled;
mod target;
mod transaction;
mod write;

pub use settled::{CONDITIONS_MAX, Condition, Settled, conditions};
pub use target::{NoneMatch, Target, parse_etag};
pub use transaction::{Step, plan};
pub use write::{
    Found, Mode, Outgoing, Page, Version, batch_response, history, searchset, transaction_response,
};

/// The most entries of one batch or transaction.
pub const ENTRIES_MAX: usize = 5_000;
/// The longest `fullUrl` and `request.url`, in bytes.
pub const URL_BYTES_MAX: usize = 8_192;

/// What came in.
pub enum Bundle {
    /// Each entry stands for itself: what is wrong with one is its own answer.
    Batch(Vec<Result<Entry, Vec<Problem>>>),
    /// All or nothing; to be put in order by [`plan`].
    Transaction(Vec<Entry>),
}

/// One request of a batch or transaction.
#[derive(Clone)]
pub struct Entry {
    /// Its place in the Bundle, from 0; the answer stands at the same place.
    pub index: usize,
    /// The identity of its resource, an absolute URL or urn.
    pub full_url: Option<String>,
    /// What is to be done.
    pub method: Method,
    /// To what.
    pub target: Target,
    /// Only if this is the current version.
    pub if_match: Option<u32>,
    /// Only if it is not there, or not this version.
    pub if_none_match: Option<NoneMatch>,
    /// Only if it has changed since.
    pub if_modified_since: Option<DateTime<Utc>>,
    /// Only if this search finds nothing.
    pub if_none_exist: Option<String>,
    /// The body.
    pub resource: Option<Value>,
}

/// An HTTP method of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is the HTTP method of the same name")]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
}

impl Method {
    /// The method of this name (FHIR R4 valueset-http-verb).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Get, Self::Head, Self::Post, Self::Put, Self::Patch, Self::Delete]
            .into_iter()
            .find(|method| method.as_str() == text)
    }

    /// The name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

impl Bundle {
    /// Takes a Bundle resource of type batch or transaction apart.
    ///
    /// # Errors
    /// What is wrong with the Bundle, or with any entry of a transaction.
    pub fn parse(bundle: Value, base: &BaseUrl) -> Result<Self, Vec<Problem>> {
        let one =
            |code, text: &'static str, at: &str| vec![Problem::error(code, text).at(at).by("bundle.shape")];
        let Value::Object(mut bundle) = bundle else {
            return Err(one(IssueCode::Structure, "Expected a Bundle.", "Bundle"));
        };
        if bundle.get("resourceType").and_then(Value::as_str) != Some("Bundle") {
            return Err(one(IssueCode::Structure, "Expected a Bundle.", "Bundle"));
        }
        let transaction = match bundle.get("type").and_then(Value::as_str) {
            Some("transaction") => true,
            Some("batch") => false,
            _ => return Err(one(IssueCode::Value, "Expected the type batch or transaction.", "Bundle.type")),
        };
        let entries = match bundle.remove("entry") {
            None => Vec::new(),
            Some(Value::Array(entries)) => entries,
            Some(_) => return Err(one(IssueCode::Structure, "Expected a list.", "Bundle.entry")),
        };
        if entries.len() > ENTRIES_MAX {
            let text = format!("More than {ENTRIES_MAX} entries.");
            let problem = Problem::error(IssueCode::TooCostly, text).at("Bundle.entry");
            return Err(vec![problem.by("bundle.entries-max")]);
        }
        let parsed = entries.into_iter().enumerate().map(|(index, entry)| Entry::parse(index, entry, base));
        if !transaction {
            return Ok(Self::Batch(parsed.collect()));
        }
        let (mut good, mut problems) = (Vec::new(), Vec::new());
        for entry in parsed {
            match entry {
                Ok(entry) => good.push(entry),
                Err(more) => problems.extend(more),
            }
        }
        if problems.is_empty() { Ok(Self::Transaction(good)) } else { Err(problems) }
    }
}

impl Entry {
    /// Where the entry stands, for problems.
    #[must_use]
    pub fn place(&self) -> String {
        place(self.index)
    }

    fn parse(index: usize, entry: Value, base: &BaseUrl) -> Result<Self, Vec<Problem>> {
        let mut reader = Reader { place: place(index), problems: Vec::new() };
        let Value::Object(mut entry) = entry else {
            return Err(vec![reader.problem(IssueCode::Structure, "", "Expected an object.")]);
        };
        let Some(Value::Object(request)) = entry.remove("request") else {
            return Err(vec![reader.problem(IssueCode::Required, ".request", "A request is required.")]);
        };
        let full_url = reader.text(&entry, "fullUrl", "").filter(|url| reader.check_full_url(url));
        let method = reader.text(&request, "method", ".request");
        let method = reader.parsed(".request.method", "A method is required.", method, Method::parse);
        let url = reader.text(&request, "url", ".request");
        let target = reader.parsed(".request.url", "Expected a URL of this server's API.", url, |url| {
            (url.len() <= URL_BYTES_MAX).then(|| Target::parse(url, base))?
        });
        let if_match = reader.optional(&request, "ifMatch", parse_etag);
        let if_none_match = reader.optional(&request, "ifNoneMatch", NoneMatch::parse);
        let if_modified_since = reader
            .optional(&request, "ifModifiedSince", |text| {
                text.contains('T').then(|| DateRange::parse(text))?
            })
            .map(|range| range.from);
        let if_none_exist = reader.optional(&request, "ifNoneExist", |text| Some(text.to_owned()));
        let resource = entry.remove("resource");
        let (Some(method), Some(target)) = (method, target) else { return Err(reader.problems) };
        reader.check_body(method, &target, resource.as_ref());
        if if_none_exist.is_some() && method != Method::Post {
            reader.refuse(IssueCode::Invalid, ".request.ifNoneExist", "Only a create has this condition.");
        }
        if !reader.problems.is_empty() {
            return Err(reader.problems);
        }
        Ok(Self {
            index,
            full_url,
            method,
            target,
            if_match,
            if_none_match,
            if_modified_since,
            if_none_exist,
            resource,
        })
    }
}

fn place(index: usize) -> String {
    format!("Bundle.entry[{index}]")
}

/// Reads the members of one entry and keeps what is wrong with them.
struct Reader {
    place: String,
    problems: Vec<Problem>,
}

impl Reader {
    fn problem(&self, code: IssueCode, at: &str, text: &'static str) -> Problem {
        Problem::error(code, text).at(format!("{}{at}", self.place)).by("bundle.entry")
    }

    fn refuse(&mut self, code: IssueCode, at: &str, text: &'static str) {
        let problem = self.problem(code, at, text);
        self.problems.push(problem);
    }

    /// A member that is a string, if it is there.
    fn text(&mut self, object: &Map<String, Value>, name: &str, at: &str) -> Option<String> {
        match object.get(name) {
            None => None,
            Some(Value::String(text)) => Some(text.clone()),
            Some(_) => {
                self.refuse(IssueCode::Structure, &format!("{at}.{name}"), "Expected a string.");
                None
            }
        }
    }

    /// What a required text says.
    fn parsed<T>(
        &mut self,
        at: &str,
        wrong: &'static str,
        text: Option<String>,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let parsed = text.as_deref().and_then(parse);
        if parsed.is_none() {
            self.refuse(if text.is_some() { IssueCode::Value } else { IssueCode::Required }, at, wrong);
        }
        parsed
    }

    /// What a text of the request says, if it is there.
    fn optional<T>(
        &mut self,
        request: &Map<String, Value>,
        name: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let text = self.text(request, name, ".request")?;
        self.parsed(&format!(".request.{name}"), "The condition cannot be read.", Some(text), parse)
    }

    /// A fullUrl is absolute and names no version (bdl-8).
    fn check_full_url(&mut self, url: &str) -> bool {
        let absolute = url.split_once(':').is_some_and(|(scheme, rest)| {
            !scheme.is_empty() && !rest.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric())
        });
        let good = absolute
            && url.len() <= URL_BYTES_MAX
            && !url.contains("/_history/")
            && !url.chars().any(|c| c.is_whitespace() || c.is_control());
        if !good {
            self.refuse(IssueCode::Value, ".fullUrl", "Expected an absolute URL or urn without a version.");
        }
        good
    }

    /// Whether body and URL fit the method (FHIR R4 http.html).
    fn check_body(&mut self, method: Method, target: &Target, resource: Option<&Value>) {
        let fits = match method {
            Method::Get | Method::Head => true,
            Method::Post => matches!(target, Target::Type(_) | Target::Operation(_)),
            Method::Put | Method::Patch | Method::Delete => {
                matches!(target, Target::Instance(..) | Target::Search(..))
            }
        };
        if !fits {
            self.refuse(IssueCode::Invalid, ".request.url", "The method cannot be used with this URL.");
            return;
        }
        let kind = resource.and_then(|r| r.get("resourceType")).and_then(Value::as_str);
        match (method, target, kind) {
            (Method::Get | Method::Head | Method::Delete, ..) if resource.is_some() => {
                self.refuse(IssueCode::Invalid, ".resource", "The method takes no resource.");
            }
            (Method::Get | Method::Head | Method::Delete, ..)
            | (Method::Post, Target::Operation(_), None) => {}
            (_, _, None) => self.refuse(IssueCode::Required, ".resource", "A resource is required."),
            (Method::Post, Target::Type(of), Some(kind))
            | (Method::Put, Target::Instance(of, _) | Target::Search(of, _), Some(kind))
                if of.name() != kind =>
            {
                self.refuse(
                    IssueCode::Invalid,
                    ".resource",
                    "The resource is not of the type the URL names.",
                );
            }
            (Method::Put, Target::Instance(_, id), _) => {
                let given = resource.and_then(|r| r.get("id")).and_then(Value::as_str);
                if given.is_none_or(|given| !is_logical_id(given) || given != id.as_str()) {
                    self.refuse(
                        IssueCode::Invalid,
                        ".resource.id",
                        "The resource needs the id the URL names.",
                    );
                }
            }
            (Method::Patch, _, Some(kind)) if !matches!(kind, "Binary" | "Parameters") => {
                self.refuse(IssueCode::Invalid, ".resource", "A patch is a Binary or Parameters.");
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
