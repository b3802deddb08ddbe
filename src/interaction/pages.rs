//! Lists that are given out page by page: what a page is asked for by, and its links.

use chrono::{DateTime, Utc};

use super::{Ask, Failure, malformed};
use crate::{
    app::App,
    fhir::{bundle, definitions::Definitions, outcome::IssueCode, search::form, subset::Subset},
};

/// What a page is asked for by.
pub(super) struct Asked {
    /// Entries on it, at the most.
    pub(super) count: u32,
    /// Where it starts, if not at the beginning.
    pub(super) cursor: Option<String>,
    /// What narrows the list, as given, for the links and the bookmark.
    pub(super) given: Vec<(&'static str, String)>,
}

impl Asked {
    /// The first page, of so many entries, of all there is.
    pub(super) const fn first(count: u32) -> Self {
        Self { count, cursor: None, given: Vec::new() }
    }

    /// Takes `_count`, up to `most`.
    pub(super) fn count(&mut self, value: &str, most: u32) -> Result<(), Failure> {
        let wrong = |_| malformed(IssueCode::Value, "_count: expected a whole number.");
        self.count = value.parse::<u32>().map_err(wrong)?.clamp(1, most);
        Ok(())
    }

    /// What a bookmark is bound to.
    pub(super) fn question(&self, path: &str) -> String {
        let mut question = path.to_owned();
        for (name, value) in &self.given {
            form::append(&mut question, name, value);
        }
        question
    }
}

/// The links of a page, and how its entries are to be shown.
pub(super) struct Links<'a> {
    pub(super) base: &'a str,
    this: String,
    next: Option<String>,
    pub(super) definitions: &'a Definitions,
    pub(super) subset: &'a Subset,
    /// Whether this page is all there is.
    pub(super) whole: bool,
    /// From when to ask again for what is new.
    as_of: Option<DateTime<Utc>>,
}

impl<'a> Links<'a> {
    /// Of the list at a path; `next` is where the next page starts, `as_of` up to when this one tells all there is.
    pub(super) fn of(
        app: &'a App,
        ask: &'a Ask,
        path: &str,
        asked: &Asked,
        (next, as_of): (Option<&str>, Option<DateTime<Utc>>),
    ) -> Self {
        let base = app.base.as_str();
        let url = |cursor: Option<&str>| {
            let mut url = format!("{base}/{path}");
            form::append(&mut url, "_count", &asked.count.to_string());
            for (name, value) in &asked.given {
                form::append(&mut url, name, value);
            }
            if let Some((name, value)) = ask.subset.parameter() {
                form::append(&mut url, name, &value);
            }
            if let Some(cursor) = cursor {
                form::append(&mut url, "_cursor", cursor);
            }
            url
        };
        Self {
            base,
            this: url(asked.cursor.as_deref()),
            next: next.map(|next| url(Some(next))),
            definitions: &app.definitions,
            subset: &ask.subset,
            whole: asked.cursor.is_none() && next.is_none(),
            as_of,
        }
    }

    /// The page they are on.
    pub(super) fn page(&self, total: Option<u64>) -> bundle::Page<'_> {
        bundle::Page { self_link: &self.this, next_link: self.next.as_deref(), total, as_of: self.as_of }
    }
}
