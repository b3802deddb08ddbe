//! The walls of the house, read off its text: floors, sizes, words, and what compliance claims.
//!
//! Each rule is a function from text to findings, with a test that it holds for the tree and a test that it
//! catches a small bad example. May import nothing of the house: it only reads files.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "what cannot be read fails the test"
)]

#[path = "tidy/claims.rs"]
mod claims;
#[path = "tidy/floors.rs"]
mod floors;
#[path = "tidy/papers.rs"]
mod papers;
#[path = "tidy/shape.rs"]
mod shape;
#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/words.rs"]
mod words;

/// Fails with one line for each finding.
fn check(rule: &str, findings: &[String]) {
    assert!(findings.is_empty(), "{rule}:\n  {}\n", findings.join("\n  "));
}

/// Fails unless some finding says `expected`: a rule that catches nothing guards nothing.
fn catches(findings: &[String], expected: &str) {
    assert!(
        findings.iter().any(|finding| finding.contains(expected)),
        "not caught: {expected}: {findings:?}"
    );
}
