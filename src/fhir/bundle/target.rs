//! What the URL of an entry points at, and the conditions beside it.
//!
//! May import only std and what stands beside it in `fhir`.

use std::fmt;

use super::super::kinds::{LogicalId, ResourceType};
use super::super::reference::{BaseUrl, parse_version};

/// What a relative URL of the FHIR API points at (FHIR R4 http.html#summary).
///
/// A query may hold a name or a date of birth: `Debug` prints only which form it is.
#[derive(Clone, PartialEq, Eq)]
pub enum Target {
    /// `Type`
    Type(ResourceType),
    /// `Type/id`
    Instance(ResourceType, LogicalId),
    /// `Type/id/_history/version`
    Version(ResourceType, LogicalId, u32),
    /// `Type?query`; the query as it was written.
    Search(ResourceType, String),
    /// `Type/id/_history`, and its query.
    InstanceHistory(ResourceType, LogicalId, String),
    /// `Type/_history`, and its query.
    TypeHistory(ResourceType, String),
    /// `_history`, and its query.
    SystemHistory(String),
    /// `?query` without a type.
    SystemSearch(String),
    /// `metadata`
    Metadata,
    /// `$name`, on the system, a type or an instance; the URL as it was written.
    Operation(String),
}

impl Target {
    /// The target of a URL relative to the base, or absolute under it; `None` if there is no such.
    ///
    /// One slash in front is taken for the base's own.
    #[must_use]
    pub fn parse(url: &str, base: &BaseUrl) -> Option<Self> {
        if url.chars().any(|c| c.is_whitespace() || c.is_control()) || url.contains('#') {
            return None;
        }
        let relative = base.strip(url).or_else(|| url.strip_prefix('/')).unwrap_or(url);
        let (path, query) = relative.split_once('?').unwrap_or((relative, ""));
        let parts: Vec<&str> = path.split('/').collect();
        let kind = |name: &str| ResourceType::from_name(name);
        let all = || query.to_owned();
        let found = match *parts.as_slice() {
            [""] if !query.is_empty() => Self::SystemSearch(all()),
            ["metadata"] => return Some(Self::Metadata),
            ["_history"] => Self::SystemHistory(all()),
            [name] if is_operation(name) => Self::Operation(relative.to_owned()),
            [of, name] if is_operation(name) => kind(of).map(|_| Self::Operation(relative.to_owned()))?,
            [of, id, name] if is_operation(name) => {
                kind(of).and(LogicalId::parse(id)).map(|_| Self::Operation(relative.to_owned()))?
            }
            [of] if relative.contains('?') => Self::Search(kind(of)?, all()),
            [of] => Self::Type(kind(of)?),
            [of, "_history"] => Self::TypeHistory(kind(of)?, all()),
            [of, "_search"] => Self::Search(kind(of)?, all()),
            [of, id, "_history"] => Self::InstanceHistory(kind(of)?, LogicalId::parse(id)?, all()),
            [of, id] if query.is_empty() => Self::Instance(kind(of)?, LogicalId::parse(id)?),
            [of, id, "_history", version] if query.is_empty() => {
                Self::Version(kind(of)?, LogicalId::parse(id)?, parse_version(version)?)
            }
            _ => return None,
        };
        Some(found)
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Type(_) => "Type",
            Self::Instance(..) => "Instance",
            Self::Version(..) => "Version",
            Self::Search(..) => "Search",
            Self::InstanceHistory(..) => "InstanceHistory",
            Self::TypeHistory(..) => "TypeHistory",
            Self::SystemHistory(_) => "SystemHistory",
            Self::SystemSearch(_) => "SystemSearch",
            Self::Metadata => "Metadata",
            Self::Operation(_) => "Operation",
        })
    }
}

fn is_operation(name: &str) -> bool {
    name.strip_prefix('$').is_some_and(|rest| {
        !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    })
}

/// What must not be there (RFC 9110 §13.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoneMatch {
    /// `*`: any version.
    Any,
    /// This one.
    Version(u32),
}

impl NoneMatch {
    /// From `*` or an entity tag.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text == "*" { Some(Self::Any) } else { parse_etag(text).map(Self::Version) }
    }
}

/// The version an entity tag of ours names: `W/"3"`, and also `"3"` and `3`, which some clients make of the versionId
/// (FHIR R4 http.html#versioning).
#[must_use]
pub fn parse_etag(text: &str) -> Option<u32> {
    let quoted =
        || parse_version(text.strip_prefix("W/").unwrap_or(text).strip_prefix('"')?.strip_suffix('"')?);
    parse_version(text).or_else(quoted)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    fn parse(url: &str) -> Option<Target> {
        Target::parse(url, &BaseUrl::parse("https://records.example/fhir").unwrap())
    }

    #[test]
    fn every_form_of_url_is_told_apart() {
        let (kind, id) = (ResourceType::PATIENT, LogicalId::parse("1").unwrap());
        for (url, target) in [
            ("Patient", Target::Type(kind)),
            ("/Patient", Target::Type(kind)),
            ("Patient/1", Target::Instance(kind, id.clone())),
            ("https://records.example/fhir/Patient/1", Target::Instance(kind, id.clone())),
            ("Patient/1/_history/2", Target::Version(kind, id.clone(), 2)),
            ("Patient?a=b%20c&d", Target::Search(kind, "a=b%20c&d".into())),
            ("Patient?", Target::Search(kind, String::new())),
            ("Patient/_search?a=b", Target::Search(kind, "a=b".into())),
            ("Patient/_history", Target::TypeHistory(kind, String::new())),
            ("Patient/1/_history?_count=1", Target::InstanceHistory(kind, id, "_count=1".into())),
            ("_history?_count=1", Target::SystemHistory("_count=1".into())),
            ("?_type=Patient", Target::SystemSearch("_type=Patient".into())),
            ("metadata", Target::Metadata),
            ("metadata?mode=full", Target::Metadata),
            ("$convert", Target::Operation("$convert".into())),
            ("Patient/$match?x=1", Target::Operation("Patient/$match?x=1".into())),
            ("Patient/1/$everything", Target::Operation("Patient/1/$everything".into())),
        ] {
            assert_eq!(parse(url), Some(target), "{url}");
        }
    }

    #[test]
    fn what_is_no_url_of_the_api_is_none() {
        for url in [
            "",
            "/",
            "//Patient",
            "patient",
            "Nothing/1",
            "Patient/",
            "Patient/a_b",
            "Patient/1/",
            "Patient/1/x",
            "Patient/1?a=b",
            "Patient/1/_history/0",
            "Patient/1/_history/2/3",
            "Patient/../Observation",
            "Patient#1",
            "Patient 1",
            "Nothing/$x",
            "Patient/a_b/$x",
            "Patient/$",
            "Patient/$a/b",
            "https://other.example/fhir/Patient/1",
            "urn:uuid:1",
            "Patient/1/_history/1?x=y",
        ] {
            assert_eq!(parse(url), None, "{url}");
        }
    }

    #[test]
    fn a_query_is_not_printed() {
        assert_eq!(format!("{:?}", parse("Patient?name=Jane").unwrap()), "Search");
    }

    #[test]
    fn entity_tags_are_read() {
        for (text, version) in [
            ("W/\"3\"", Some(3)),
            ("\"3\"", Some(3)),
            ("3", Some(3)),
            ("W/3", None),
            ("03", None),
            ("W/\"\"", None),
            ("W/\"03\"", None),
            ("w/\"3\"", None),
            ("W/\"x\"", None),
            ("W/\"3\", W/\"4\"", None),
            ("\"", None),
            ("*", None),
        ] {
            assert_eq!(parse_etag(text), version, "{text}");
        }
        assert_eq!(NoneMatch::parse("*"), Some(NoneMatch::Any));
        assert_eq!(NoneMatch::parse("W/\"2\""), Some(NoneMatch::Version(2)));
        assert_eq!(NoneMatch::parse("2"), Some(NoneMatch::Version(2)));
        assert_eq!(NoneMatch::parse("two"), None);
    }

    proptest! {
        #[test]
        fn no_url_panics(url in "[A-Za-z0-9/?$#_ é.]{0,40}") {
            let _unused = parse(&url);
            let _unused = parse_etag(&url);
        }
    }
}
