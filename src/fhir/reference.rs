//! References between resources: what one points at, finding them, rewriting them.
//!
//! FHIR R4 references.html. May import only std, `serde_json` and what stands beside it in `fhir`.

mod links;

use std::fmt;

use serde_json::{Map, Value};

use super::kinds::{LogicalId, ResourceType};

pub use links::rewrite;

/// The longest reference that is looked at, in bytes.
pub const REFERENCE_BYTES_MAX: usize = 2_048;

/// The server's own base URL, such as `https://records.example/fhir`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl(Box<str>);

impl BaseUrl {
    /// The base this text spells: http or https, an authority, no query and no fragment.
    ///
    /// Slashes at the end are dropped. `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim_end_matches('/');
        let (scheme, rest) = text.split_once("://")?;
        let authority = rest.split('/').next().unwrap_or("");
        let clean = rest
            .bytes()
            .all(|b| b.is_ascii_graphic() && !matches!(b, b'?' | b'#' | b'"' | b'\\' | b'<' | b'>'));
        (matches!(scheme, "http" | "https") && !authority.is_empty() && clean).then(|| Self(text.into()))
    }

    /// The base without a slash at its end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part of an absolute URL after this base and its slash; `None` if it is not under it.
    ///
    /// Scheme and authority are compared without case (RFC 3986 §6.2.2.1), the path exactly.
    #[must_use]
    pub fn strip<'a>(&self, url: &'a str) -> Option<&'a str> {
        let (head, rest) = url.split_at_checked(self.0.len())?;
        let authority_end = self.0.find("://").map_or(0, |at| at + 3);
        let path_at =
            self.0.get(authority_end..)?.find('/').map_or(self.0.len(), |slash| authority_end + slash);
        let (ours, theirs) = (self.0.split_at_checked(path_at)?, head.split_at_checked(path_at)?);
        (ours.0.eq_ignore_ascii_case(theirs.0) && ours.1 == theirs.1).then_some(())?;
        rest.strip_prefix('/')
    }
}

/// What one Reference points at. It is from a record: `Debug` prints only which form it is.
#[derive(Clone, PartialEq, Eq)]
pub enum Reference {
    /// A resource of this server: `Patient/1`, `Patient/1/_history/2`, or the same under its base URL.
    Local {
        /// The type.
        kind: ResourceType,
        /// The logical id.
        id: LogicalId,
        /// The version, if the reference names one.
        version: Option<u32>,
    },
    /// Whatever a search finds: `Patient?identifier=..` (FHIR R4 http.html#trules). Type and query.
    Conditional(ResourceType, String),
    /// A URL that is no record of this server.
    Absolute(String),
    /// A `urn:`, mostly `urn:uuid:` or `urn:oid:`.
    Urn(String),
    /// `#id`, a resource inside this one; the empty id of `#` is the container itself.
    Contained(String),
    /// No address: an identifier only.
    LogicalOnly,
}

impl Reference {
    /// What the text of `Reference.reference` points at; `None` if it is no reference.
    #[must_use]
    pub fn parse(text: &str, base: &BaseUrl) -> Option<Self> {
        if text.is_empty() || text.len() > REFERENCE_BYTES_MAX || text.chars().any(char::is_whitespace) {
            return None;
        }
        if let Some(id) = text.strip_prefix('#') {
            return Some(Self::Contained(id.to_owned()));
        }
        if text.get(..4).is_some_and(|head| head.eq_ignore_ascii_case("urn:")) {
            return Some(Self::Urn(text.to_owned()));
        }
        if let Some(rest) = base.strip(text) {
            return Self::relative(rest).or_else(|| Some(Self::Absolute(text.to_owned())));
        }
        if let Some((scheme, rest)) = text.split_once(':')
            && !scheme.is_empty()
            && !scheme.contains(['/', '?'])
        {
            let named = scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
            return (named && !rest.is_empty()).then(|| Self::Absolute(text.to_owned()));
        }
        Self::relative(text)
    }

    /// What a Reference object points at; `None` if it is none, or its text is no reference.
    #[must_use]
    pub fn of(object: &Value, base: &BaseUrl) -> Option<Self> {
        match object.get("reference") {
            Some(text) => Self::parse(text.as_str()?, base),
            None => object.get("identifier").map(|_| Self::LogicalOnly),
        }
    }

    /// Type and id, if it points at a resource of this server.
    #[must_use]
    pub fn local(self) -> Option<(ResourceType, LogicalId)> {
        match self {
            Self::Local { kind, id, .. } => Some((kind, id)),
            _ => None,
        }
    }

    /// `Type/id`, `Type/id/_history/version` or `Type?query`.
    fn relative(text: &str) -> Option<Self> {
        if let Some((kind, query)) = text.split_once('?') {
            return Some(Self::Conditional(ResourceType::from_name(kind)?, query.to_owned()));
        }
        let mut parts = text.split('/');
        let kind = ResourceType::from_name(parts.next()?)?;
        let id = LogicalId::parse(parts.next()?)?;
        let version = match (parts.next(), parts.next(), parts.next()) {
            (None, ..) => None,
            (Some("_history"), Some(version), None) => Some(parse_version(version)?),
            _ => return None,
        };
        Some(Self::Local { kind, id, version })
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Local { .. } => "Local",
            Self::Conditional(..) => "Conditional",
            Self::Absolute(_) => "Absolute",
            Self::Urn(_) => "Urn",
            Self::Contained(_) => "Contained",
            Self::LogicalOnly => "LogicalOnly",
        })
    }
}

/// A versionId of ours: a number from 1, without sign or leading zero.
#[must_use]
pub fn parse_version(text: &str) -> Option<u32> {
    (text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0')).then(|| text.parse().ok())?
}

/// Calls `visit` with the place and text of every `Reference.reference` in a resource.
///
/// The place is a simple `FHIRPath` such as `CareTeam.participant[0].member.reference`. Contained resources
/// and extensions are walked too. Elements that are named `reference` and are no Reference
/// (`DetectedIssue.reference`, `Expression.reference`, `Immunization.education.reference`) are not.
pub fn walk(resource: &Value, mut visit: impl FnMut(&str, &str)) {
    let mut path = kind_of(resource).unwrap_or("Resource").to_owned();
    descend(resource, "", &mut path, &mut visit);
}

fn descend(value: &Value, name: &str, path: &mut String, visit: &mut dyn FnMut(&str, &str)) {
    let length = path.len();
    match value {
        Value::Object(object) => {
            let is_reference = is_reference(object, name);
            for (member, inner) in object {
                path.push('.');
                path.push_str(member);
                match inner {
                    Value::String(text) if is_reference && member == "reference" => visit(path, text),
                    _ => descend(inner, member, path, visit),
                }
                path.truncate(length);
            }
        }
        Value::Array(items) => {
            for (index, inner) in items.iter().enumerate() {
                path.push_str(&format!("[{index}]"));
                descend(inner, name, path, visit);
                path.truncate(length);
            }
        }
        _ => {}
    }
}

/// Whether an object with the member `reference` is a Reference: it has no member a Reference has not.
///
/// `name` is the element the object stands in. The one R4 element that would pass without being a
/// Reference is `Immunization.education`; no other element has that name and a `reference`.
fn is_reference(object: &Map<String, Value>, name: &str) -> bool {
    name != "education"
        && object.contains_key("reference")
        && object.keys().all(|member| {
            matches!(
                member.trim_start_matches('_'),
                "id" | "extension" | "reference" | "type" | "identifier" | "display"
            )
        })
}

fn kind_of(resource: &Value) -> Option<&str> {
    resource.get("resourceType")?.as_str()
}

#[cfg(test)]
mod tests;
