//! What goes back to a caller, before any protocol has been chosen to carry it.
//!
//! May import nothing of the house but `fhir`.

use std::borrow::Cow;
use std::io::Read;

use chrono::{DateTime, Utc};

/// `application/fhir+json`, the only format records are served in.
pub const FHIR_JSON: &str = "application/fhir+json; charset=utf-8";
/// `application/json`, for OAuth and audit routes.
pub const JSON: &str = "application/json";

/// A complete answer: status, the headers that carry meaning, and the body.
///
/// An `Answer` alone cannot leave the house: a route returns
/// [`Audited<Answer>`](crate::ledger::Audited), and only the ledger makes one.
pub struct Answer {
    /// HTTP status code.
    pub status: u16,
    /// Media type of the body; `None` when there is none.
    pub content_type: Option<Cow<'static, str>>,
    /// versionId, sent as a weak ETag (`W/"3"`, FHIR R4 http.html#versioning).
    pub version: Option<i32>,
    /// meta.lastUpdated, sent as Last-Modified.
    pub last_modified: Option<DateTime<Utc>>,
    /// Location of what was created or updated.
    pub location: Option<String>,
    /// Further headers, each at most once.
    pub headers: Vec<(&'static str, String)>,
    /// The bytes of the body.
    pub body: Vec<u8>,
    /// A body that is too large to be held, in place of `body`.
    pub stream: Option<Stream>,
}

/// A body that is read while it is sent.
pub struct Stream {
    /// Where it comes from.
    pub reader: Box<dyn Read + Send>,
    /// Its length: one that ends earlier breaks the connection.
    pub bytes: u64,
}

impl Answer {
    /// An answer with no body.
    #[must_use]
    pub const fn empty(status: u16) -> Self {
        Self {
            status,
            content_type: None,
            version: None,
            last_modified: None,
            location: None,
            headers: Vec::new(),
            body: Vec::new(),
            stream: None,
        }
    }

    /// An answer whose body is a FHIR resource.
    #[must_use]
    pub fn fhir(status: u16, body: Vec<u8>) -> Self {
        Self { content_type: Some(Cow::Borrowed(FHIR_JSON)), body, ..Self::empty(status) }
    }

    /// An answer whose body is plain JSON.
    #[must_use]
    pub fn json(status: u16, body: Vec<u8>) -> Self {
        Self { content_type: Some(Cow::Borrowed(JSON)), body, ..Self::empty(status) }
    }

    /// The same answer with one header more.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}
