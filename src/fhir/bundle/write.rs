//! Bundles that go out, written around stored bodies without parsing them.
//!
//! A body goes out byte for byte as it is given. May import only std, chrono and what stands beside it in
//! `fhir`.

use chrono::{DateTime, Utc};

use super::super::meta::instant;
use super::Method;

/// The head of a page.
#[derive(Clone, Copy)]
pub struct Page<'a> {
    /// The link to this page, as the server understood the request.
    pub self_link: &'a str,
    /// The link to the next page, if there is one.
    pub next_link: Option<&'a str>,
    /// How many there are in all, if that is known.
    pub total: Option<u64>,
    /// Up to when everything is on it and the pages after it, if that is known: its `meta.lastUpdated`.
    pub as_of: Option<DateTime<Utc>>,
}

/// Why an entry is in a searchset (FHIR R4 valueset-search-entry-mode).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It was searched for.
    Match,
    /// A match refers to it, or it to a match.
    Include,
    /// It says something about the search.
    Outcome,
}

/// One entry of a searchset.
#[derive(Clone, Copy)]
pub struct Found<'a> {
    /// The resource's own URL; an outcome has none.
    pub full_url: Option<&'a str>,
    /// The resource as JSON.
    pub resource: &'a [u8],
    /// Why it is there.
    pub mode: Mode,
}

/// One entry of a history.
#[derive(Clone, Copy)]
pub struct Version<'a> {
    /// The resource's own URL, without a version.
    pub full_url: &'a str,
    /// By what it came about: POST, PUT, PATCH or DELETE.
    pub method: Method,
    /// The URL of that request, relative to the base.
    pub url: &'a str,
    /// How it was answered, such as `201`.
    pub status: &'a str,
    /// The versionId.
    pub version: u32,
    /// When.
    pub last_updated: DateTime<Utc>,
    /// The resource as JSON; a deletion has none.
    pub resource: Option<&'a [u8]>,
}

/// The answer to one entry of a batch or transaction.
#[derive(Clone, Copy, Default)]
pub struct Outgoing<'a> {
    /// The resource's own URL, if the answer holds a resource that has one.
    pub full_url: Option<&'a str>,
    /// The resource as JSON.
    pub resource: Option<&'a [u8]>,
    /// The status, such as `201 Created`.
    pub status: &'a str,
    /// Where the written version is.
    pub location: Option<&'a str>,
    /// Its versionId.
    pub version: Option<u32>,
    /// When it was written.
    pub last_modified: Option<DateTime<Utc>>,
    /// An OperationOutcome as JSON.
    pub outcome: Option<&'a [u8]>,
}

/// The page of a search (FHIR R4 http.html#search).
#[must_use]
pub fn searchset<'a>(page: Page<'_>, entries: impl IntoIterator<Item = Found<'a>>) -> Vec<u8> {
    let mut out = Out::of_page("searchset", page);
    for entry in entries {
        out.open(entry.full_url, Some(entry.resource));
        let mode = match entry.mode {
            Mode::Match => "match",
            Mode::Include => "include",
            Mode::Outcome => "outcome",
        };
        out.member("search");
        out.raw(b"{");
        out.text("mode", mode);
        out.raw(b"}}");
    }
    out.close()
}

/// The page of a history (FHIR R4 http.html#history).
#[must_use]
pub fn history<'a>(page: Page<'_>, entries: impl IntoIterator<Item = Version<'a>>) -> Vec<u8> {
    let mut out = Out::of_page("history", page);
    for entry in entries {
        out.open(Some(entry.full_url), entry.resource);
        out.member("request");
        out.raw(b"{");
        out.text("method", entry.method.as_str());
        out.text("url", entry.url);
        out.raw(b"}");
        out.member("response");
        out.raw(b"{");
        out.text("status", entry.status);
        out.text("etag", &etag(entry.version));
        out.text("lastModified", &instant(entry.last_updated));
        out.raw(b"}}");
    }
    out.close()
}

/// The answer to a transaction, in the order of its entries.
#[must_use]
pub fn transaction_response<'a>(entries: impl IntoIterator<Item = Outgoing<'a>>) -> Vec<u8> {
    responses("transaction-response", entries)
}

/// The answer to a batch, in the order of its entries.
#[must_use]
pub fn batch_response<'a>(entries: impl IntoIterator<Item = Outgoing<'a>>) -> Vec<u8> {
    responses("batch-response", entries)
}

fn responses<'a>(kind: &str, entries: impl IntoIterator<Item = Outgoing<'a>>) -> Vec<u8> {
    let mut out = Out::of(kind);
    for entry in entries {
        out.open(entry.full_url, entry.resource);
        out.member("response");
        out.raw(b"{");
        out.text("status", entry.status);
        if let Some(location) = entry.location {
            out.text("location", location);
        }
        if let Some(version) = entry.version {
            out.text("etag", &etag(version));
        }
        if let Some(at) = entry.last_modified {
            out.text("lastModified", &instant(at));
        }
        if let Some(outcome) = entry.outcome {
            out.member("outcome");
            out.raw(outcome);
        }
        out.raw(b"}}");
    }
    out.close()
}

fn etag(version: u32) -> String {
    format!("W/\"{version}\"")
}

/// A Bundle being written.
struct Out {
    bytes: Vec<u8>,
    /// Whether an entry was written: an empty list is no FHIR JSON (json.html#null).
    listed: bool,
}

impl Out {
    fn of(kind: &str) -> Self {
        let mut out = Self { bytes: br#"{"resourceType":"Bundle""#.to_vec(), listed: false };
        out.text("type", kind);
        out
    }

    fn of_page(kind: &str, page: Page<'_>) -> Self {
        let mut out = Self { bytes: br#"{"resourceType":"Bundle""#.to_vec(), listed: false };
        if let Some(as_of) = page.as_of {
            out.member("meta");
            out.raw(b"{");
            out.text("lastUpdated", &instant(as_of));
            out.raw(b"}");
        }
        out.text("type", kind);
        if let Some(total) = page.total {
            out.member("total");
            out.raw(total.to_string().as_bytes());
        }
        out.member("link");
        out.raw(b"[");
        for (relation, url) in [("self", Some(page.self_link)), ("next", page.next_link)] {
            let Some(url) = url else { continue };
            out.comma();
            out.raw(b"{");
            out.text("relation", relation);
            out.text("url", url);
            out.raw(b"}");
        }
        out.raw(b"]");
        out
    }

    /// Opens an entry, which the caller closes.
    fn open(&mut self, full_url: Option<&str>, resource: Option<&[u8]>) {
        if self.listed {
            self.raw(b",");
        } else {
            self.member("entry");
            self.raw(b"[");
            self.listed = true;
        }
        self.raw(b"{");
        if let Some(url) = full_url {
            self.text("fullUrl", url);
        }
        if let Some(resource) = resource {
            self.member("resource");
            self.raw(resource);
        }
    }

    fn close(mut self) -> Vec<u8> {
        self.raw(if self.listed { b"]}" } else { b"}" });
        self.bytes
    }

    fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// A comma, unless the object or list has only just been opened.
    fn comma(&mut self) {
        if !matches!(self.bytes.last(), Some(b'{' | b'[')) {
            self.raw(b",");
        }
    }

    fn member(&mut self, name: &str) {
        self.comma();
        self.string(name);
        self.raw(b":");
    }

    fn text(&mut self, name: &str, value: &str) {
        self.member(name);
        self.string(value);
    }

    /// A JSON string (RFC 8259 §7).
    fn string(&mut self, text: &str) {
        self.raw(b"\"");
        for byte in text.bytes() {
            match byte {
                b'"' => self.raw(b"\\\""),
                b'\\' => self.raw(b"\\\\"),
                0..0x20 => self.raw(format!("\\u{byte:04x}").as_bytes()),
                other => self.bytes.push(other),
            }
        }
        self.raw(b"\"");
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    const BODY: &[u8] = br#"{"resourceType":"Observation", "value" : 1.50}"#;

    fn page() -> Page<'static> {
        Page { self_link: "https://x/Patient?a=\"b\"", next_link: None, total: None, as_of: None }
    }

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_searchset_carries_bodies_byte_for_byte() {
        let entries = [
            Found { full_url: Some("https://x/Observation/1"), resource: BODY, mode: Mode::Match },
            Found { full_url: Some("https://x/Patient/1"), resource: b"{}", mode: Mode::Include },
            Found { full_url: None, resource: b"[]", mode: Mode::Outcome },
        ];
        let page = Page { next_link: Some("https://x/n"), total: Some(7), ..page() };
        assert_eq!(
            text(searchset(page, entries)),
            concat!(
                r#"{"resourceType":"Bundle","type":"searchset","total":7,"link":[{"relation":"self","url":"https://x/Patient?a=\"b\""},{"relation":"next","url":"https://x/n"}],"#,
                r#""entry":[{"fullUrl":"https://x/Observation/1","resource":{"resourceType":"Observation", "value" : 1.50},"search":{"mode":"match"}},"#,
                r#"{"fullUrl":"https://x/Patient/1","resource":{},"search":{"mode":"include"}},{"resource":[],"search":{"mode":"outcome"}}]}"#
            )
        );
    }

    #[test]
    fn an_empty_bundle_has_no_entry_member() {
        assert_eq!(
            text(searchset(page(), [])),
            r#"{"resourceType":"Bundle","type":"searchset","link":[{"relation":"self","url":"https://x/Patient?a=\"b\""}]}"#
        );
        assert_eq!(text(batch_response([])), r#"{"resourceType":"Bundle","type":"batch-response"}"#);
    }

    #[test]
    fn a_history_names_requests_and_a_deletion_has_no_resource() {
        let at = "2024-01-02T03:04:05.678Z".parse().unwrap();
        let deleted = Version {
            full_url: "https://x/Patient/1",
            method: Method::Delete,
            url: "Patient/1",
            status: "204",
            version: 2,
            last_updated: at,
            resource: None,
        };
        let created =
            Version { method: Method::Put, status: "201", version: 1, resource: Some(BODY), ..deleted };
        assert_eq!(
            text(history(
                Page { total: Some(2), self_link: "https://x/Patient/1/_history", ..page() },
                [deleted, created]
            )),
            concat!(
                r#"{"resourceType":"Bundle","type":"history","total":2,"link":[{"relation":"self","url":"https://x/Patient/1/_history"}],"entry":["#,
                r#"{"fullUrl":"https://x/Patient/1","request":{"method":"DELETE","url":"Patient/1"},"response":{"status":"204","etag":"W/\"2\"","lastModified":"2024-01-02T03:04:05.678Z"}},"#,
                r#"{"fullUrl":"https://x/Patient/1","resource":{"resourceType":"Observation", "value" : 1.50},"request":{"method":"PUT","url":"Patient/1"},"response":{"status":"201","etag":"W/\"1\"","lastModified":"2024-01-02T03:04:05.678Z"}}]}"#
            )
        );
    }

    #[test]
    fn answers_hold_what_there_is() {
        let created = Outgoing {
            status: "201 Created",
            location: Some("Patient/1/_history/1"),
            version: Some(1),
            last_modified: Some("2024-01-02T03:04:05Z".parse().unwrap()),
            ..Outgoing::default()
        };
        let refused =
            Outgoing { status: "404 Not Found", outcome: Some(b"{\"issue\":[]}"), ..Outgoing::default() };
        let read =
            Outgoing { full_url: Some("u"), resource: Some(BODY), status: "200", ..Outgoing::default() };
        assert_eq!(
            text(transaction_response([created, refused, read])),
            concat!(
                r#"{"resourceType":"Bundle","type":"transaction-response","entry":["#,
                r#"{"response":{"status":"201 Created","location":"Patient/1/_history/1","etag":"W/\"1\"","lastModified":"2024-01-02T03:04:05.000Z"}},"#,
                r#"{"response":{"status":"404 Not Found","outcome":{"issue":[]}}},"#,
                r#"{"fullUrl":"u","resource":{"resourceType":"Observation", "value" : 1.50},"response":{"status":"200"}}]}"#
            )
        );
    }

    proptest! {
        #[test]
        fn whatever_a_url_holds_the_bundle_is_json(url in any::<String>(), count in 0usize..4) {
            let page = Page { self_link: &url, next_link: Some(&url), total: Some(1), as_of: None };
            let bytes = searchset(page, (0..count).map(|_| Found { full_url: Some(&url), resource: BODY, mode: Mode::Match }));
            let value: Value = serde_json::from_slice(&bytes).unwrap();
            prop_assert_eq!(value.pointer("/link/1/url").and_then(Value::as_str), Some(url.as_str()));
            prop_assert_eq!(value.get("entry").and_then(Value::as_array).map_or(0, Vec::len), count);
        }
    }
}
