//! What is wrong with a request or a resource: `OperationOutcome` (FHIR R4 operationoutcome.html).
//!
//! May import only std and `serde_json`.
//!
//! INVARIANT: no text, rule or expression carries a value out of a resource. Texts are fixed sentences
//! of ours with numbers and names from the R4 definitions in them; see [`Problem`].

use std::borrow::Cow;
use std::fmt;

use serde_json::{Value, json};

/// The most problems one rendered `OperationOutcome` names; the rest are counted in one more issue.
pub const RENDERED_PROBLEMS_MAX: usize = 100;

/// How bad a problem is (FHIR R4 valueset-issue-severity).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Nothing is wrong: the issue only says something.
    Information,
    /// Accepted, and probably not what was meant.
    Warning,
    /// Refused.
    Error,
    /// Refused, and nothing further was looked at.
    Fatal,
}

impl Severity {
    /// The code as FHIR writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Information => "information",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Fatal => "fatal",
        }
    }
}

/// What kind of problem it is (FHIR R4 valueset-issue-type).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(
    missing_docs,
    reason = "each variant is the R4 code of the same name, defined in valueset-issue-type"
)]
pub enum IssueCode {
    Invalid,
    Structure,
    Required,
    Value,
    Invariant,
    Security,
    Login,
    Unknown,
    Expired,
    Forbidden,
    Suppressed,
    Processing,
    NotSupported,
    Duplicate,
    MultipleMatches,
    NotFound,
    Deleted,
    TooLong,
    CodeInvalid,
    Extension,
    TooCostly,
    BusinessRule,
    Conflict,
    Transient,
    LockError,
    NoStore,
    Exception,
    Timeout,
    Incomplete,
    Throttled,
    Informational,
}

impl IssueCode {
    /// The code as FHIR writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Structure => "structure",
            Self::Required => "required",
            Self::Value => "value",
            Self::Invariant => "invariant",
            Self::Security => "security",
            Self::Login => "login",
            Self::Unknown => "unknown",
            Self::Expired => "expired",
            Self::Forbidden => "forbidden",
            Self::Suppressed => "suppressed",
            Self::Processing => "processing",
            Self::NotSupported => "not-supported",
            Self::Duplicate => "duplicate",
            Self::MultipleMatches => "multiple-matches",
            Self::NotFound => "not-found",
            Self::Deleted => "deleted",
            Self::TooLong => "too-long",
            Self::CodeInvalid => "code-invalid",
            Self::Extension => "extension",
            Self::TooCostly => "too-costly",
            Self::BusinessRule => "business-rule",
            Self::Conflict => "conflict",
            Self::Transient => "transient",
            Self::LockError => "lock-error",
            Self::NoStore => "no-store",
            Self::Exception => "exception",
            Self::Timeout => "timeout",
            Self::Incomplete => "incomplete",
            Self::Throttled => "throttled",
            Self::Informational => "informational",
        }
    }
}

/// One thing that is wrong: one `OperationOutcome.issue`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// The kind, in FHIR's words.
    pub code: IssueCode,
    /// Where: a simple `FHIRPath` such as `Patient.name[0].given[1]`.
    pub expression: Option<String>,
    /// Which rule of ours or of FHIR: a stable id such as `structure.unknown-element`.
    pub rule: Option<Cow<'static, str>>,
    /// What, for a person. Never holds a value or a member name the client sent.
    pub text: Cow<'static, str>,
}

impl Problem {
    /// A problem of severity error.
    #[must_use]
    pub fn error(code: IssueCode, text: impl Into<Cow<'static, str>>) -> Self {
        Self { severity: Severity::Error, code, expression: None, rule: None, text: text.into() }
    }

    /// A problem that made the server stop looking.
    #[must_use]
    pub fn fatal(code: IssueCode, text: impl Into<Cow<'static, str>>) -> Self {
        Self { severity: Severity::Fatal, ..Self::error(code, text) }
    }

    /// A problem that does not refuse the request.
    #[must_use]
    pub fn warning(code: IssueCode, text: impl Into<Cow<'static, str>>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, text) }
    }

    /// Something to say that is no problem, such as that all is well.
    #[must_use]
    pub fn information(text: impl Into<Cow<'static, str>>) -> Self {
        Self { severity: Severity::Information, ..Self::error(IssueCode::Informational, text) }
    }

    /// The same, at this place.
    #[must_use]
    pub fn at(self, expression: impl Into<String>) -> Self {
        Self { expression: Some(expression.into()), ..self }
    }

    /// The same, by this rule.
    #[must_use]
    pub fn by(self, rule: impl Into<Cow<'static, str>>) -> Self {
        Self { rule: Some(rule.into()), ..self }
    }

    /// Whether it refuses what it is about.
    #[must_use]
    pub fn refuses(&self) -> bool {
        self.severity >= Severity::Error
    }

    /// The `OperationOutcome.issue` this problem is.
    fn to_issue(&self) -> Value {
        let mut issue = json!({
            "severity": self.severity.as_str(),
            "code": self.code.as_str(),
            "details": { "text": self.text },
        });
        if let Some(object) = issue.as_object_mut() {
            if let Some(rule) = &self.rule {
                object.insert("diagnostics".to_owned(), Value::from(rule.as_ref()));
            }
            if let Some(expression) = &self.expression {
                object.insert("expression".to_owned(), json!([expression]));
            }
        }
        issue
    }
}

/// A list of problems, as the resource FHIR answers with.
///
/// The rule id stands in `issue.diagnostics`, the sentence in `issue.details.text`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationOutcome(pub Vec<Problem>);

impl OperationOutcome {
    /// The resource. R4 wants at least one issue, so an empty list becomes one that says all is well.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let mut issues: Vec<Value> =
            self.0.iter().take(RENDERED_PROBLEMS_MAX).map(Problem::to_issue).collect();
        let more = self.0.len().saturating_sub(RENDERED_PROBLEMS_MAX);
        if more > 0 {
            issues.push(Problem::information(format!("{more} more problems are not listed.")).to_issue());
        }
        if issues.is_empty() {
            issues.push(Problem::information("No problem was found.").to_issue());
        }
        json!({ "resourceType": "OperationOutcome", "issue": issues })
    }

    /// The resource as JSON.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.to_value().to_string().into_bytes()
    }
}

impl From<Problem> for OperationOutcome {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.expression {
            Some(expression) => write!(f, "{expression}: {}", self.text),
            None => f.write_str(&self.text),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_problem_is_rendered_whole() {
        let outcome = OperationOutcome(vec![
            Problem::error(IssueCode::Value, "expected a date").at("Patient.birthDate").by("primitive.date"),
            Problem::warning(IssueCode::NotSupported, "ignored"),
        ]);
        assert_eq!(
            String::from_utf8(outcome.to_bytes()).unwrap(),
            r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"value","details":{"text":"expected a date"},"diagnostics":"primitive.date","expression":["Patient.birthDate"]},{"severity":"warning","code":"not-supported","details":{"text":"ignored"}}]}"#
        );
    }

    #[test]
    fn no_problem_is_one_informational_issue() {
        assert_eq!(
            OperationOutcome(Vec::new()).to_value(),
            json!({"resourceType": "OperationOutcome", "issue": [{
                "severity": "information", "code": "informational",
                "details": {"text": "No problem was found."}}]})
        );
    }

    #[test]
    fn the_hundred_and_first_problem_is_only_counted() {
        let one = Problem::error(IssueCode::Structure, "wrong");
        for (count, issues, last) in [
            (100, 100, "wrong"),
            (101, 101, "1 more problems are not listed."),
            (250, 101, "150 more problems are not listed."),
        ] {
            let value = OperationOutcome(vec![one.clone(); count]).to_value();
            let rendered = value.pointer("/issue").unwrap().as_array().unwrap();
            assert_eq!(rendered.len(), issues);
            assert_eq!(rendered.last().unwrap().pointer("/details/text").unwrap(), last);
        }
    }
}
