//! The links of a page: what the server understood, in one spelling (FHIR R4 search.html#conformance).
//!
//! May import only std.

use super::form::append;
use super::{COUNT_DEFAULT, Query, Total};

impl Query {
    /// The self link: every parameter the server used, normalised and encoded anew.
    #[must_use]
    pub fn self_link(&self) -> String {
        self.link(self.cursor.as_deref())
    }

    /// The link to the page that starts at a cursor.
    #[must_use]
    pub fn next_link(&self, cursor: &str) -> String {
        self.link(Some(cursor))
    }

    fn link(&self, cursor: Option<&str>) -> String {
        let mut url = format!("{}/{}", self.base.as_str(), self.kind.name());
        for term in &self.patients {
            let values: Vec<String> = term.any.iter().map(|id| format!("Patient/{}", id.as_str())).collect();
            append(&mut url, term.parameter.code(), &values.join(","));
        }
        for ids in &self.id_terms {
            let values: Vec<&str> = ids.iter().map(AsRef::as_ref).collect();
            append(&mut url, "_id", &values.join(","));
        }
        for terms in &self.last_updated {
            let values: Vec<String> =
                terms.iter().map(|term| format!("{}{}", term.prefix.as_str(), term.text)).collect();
            append(&mut url, "_lastUpdated", &values.join(","));
        }
        if self.count != COUNT_DEFAULT {
            append(&mut url, "_count", &self.count.to_string());
        }
        if let Some(total) = self.total {
            let text = match total {
                Total::None => "none",
                Total::Estimate => "estimate",
                Total::Accurate => "accurate",
            };
            append(&mut url, "_total", text);
        }
        if let Some(format) = &self.format {
            append(&mut url, "_format", format);
        }
        if self.pretty {
            append(&mut url, "_pretty", "true");
        }
        if let Some(cursor) = cursor {
            append(&mut url, "_cursor", cursor);
        }
        url
    }
}
