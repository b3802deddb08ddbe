//! Queries and what they find.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod ranges;
mod refused;
mod texts;
mod tokens;
mod whole;

use super::super::definitions::loaded;
use super::super::outcome::IssueCode;
use super::super::terminology::{Shipped, Vocabulary};
use super::*;
use proptest::prelude::*;
use serde_json::json;

const NOW: &str = "2024-06-01T00:00:00Z";
fn base() -> BaseUrl {
    BaseUrl::parse("https://records.example/fhir").unwrap()
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn searches() -> &'static Searches {
    static COMPILED: std::sync::OnceLock<Searches> = std::sync::OnceLock::new();
    COMPILED.get_or_init(|| Searches::compile(loaded()))
}

fn terms() -> Sets<'static> {
    static READ: std::sync::OnceLock<Shipped> = std::sync::OnceLock::new();
    static KNOWN: std::sync::OnceLock<Vocabulary<'static>> = std::sync::OnceLock::new();
    let read = READ.get_or_init(Shipped::default);
    Sets::new(Some(KNOWN.get_or_init(|| Vocabulary::new([read.terms()]))))
}

fn parse(kind: ResourceType, handling: Handling, text: &str) -> Result<Query, Vec<Problem>> {
    let base = base();
    let level = Level::Type;
    let request =
        Request { kind, level, searches: searches(), sets: &terms(), base: &base, handling, now: at(NOW) };
    Query::parse(request, &form::decode(text.as_bytes()).unwrap())
}

fn good(kind: &str, text: &str) -> Query {
    parse(ResourceType::from_name(kind).unwrap(), Handling::Strict, text)
        .map_err(|problems| format!("{text}: {problems:?}"))
        .unwrap()
}

fn id(text: &str) -> LogicalId {
    LogicalId::parse(text).unwrap()
}

/// A resource, the queries that find it, and those that do not.
fn check(resource: &Value, found: &[&str], not: &[&str]) {
    let kind = resource["resourceType"].as_str().unwrap();
    for (queries, expected) in [(found, true), (not, false)] {
        for query in queries {
            assert_eq!(good(kind, query).holds(resource), expected, "{kind}?{query}");
        }
    }
}

/// One problem: its code, rule and text.
fn check_refused(kind: &str, text: &str, code: IssueCode, message: &str) {
    for handling in [Handling::Strict, Handling::Lenient] {
        let problems = parse(ResourceType::from_name(kind).unwrap(), handling, text).unwrap_err();
        assert_eq!(problems.len(), 1, "{text}");
        assert_eq!((problems[0].code, problems[0].text.as_ref()), (code, message), "{text}");
    }
}
