//! The links of a page: what the server understood (FHIR R4 search.html#conformance).
//!
//! May import only std.

use super::form::append;
use super::{Level, Query};

impl Query {
    /// The self link: every parameter the server used, encoded anew.
    #[must_use]
    pub fn self_link(&self) -> String {
        self.link(self.cursor.as_deref())
    }

    /// The link to the page that starts at a cursor.
    #[must_use]
    pub fn next_link(&self, cursor: &str) -> String {
        self.link(Some(cursor))
    }

    /// The link without any cursor: what pages of one search have in common.
    #[must_use]
    pub fn plain_link(&self) -> String {
        self.link(None)
    }

    fn link(&self, cursor: Option<&str>) -> String {
        let mut url = self.base.as_str().to_owned();
        if let Some(patient) = &self.compartment {
            url.push_str(&format!("/Patient/{}", patient.as_str()));
        }
        if self.level == Level::Type {
            url.push_str(&format!("/{}", self.kind.name()));
        }
        for (name, value) in &self.pairs {
            append(&mut url, name, value);
        }
        if let Some(cursor) = cursor {
            append(&mut url, "_cursor", cursor);
        }
        url
    }
}
