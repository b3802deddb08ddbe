//! The one error that becomes a status and an OperationOutcome.
//!
//! May import `fhir` and `answer`. Absent, hidden and erased look the same to the caller and differ in the log.

use crate::{
    answer::Answer,
    fhir::outcome::{IssueCode, OperationOutcome, Problem},
};

/// Why a caller goes away without what it asked for.
///
/// No variant carries a value from a record.
#[derive(Debug)]
pub enum Refusal {
    /// The request cannot be read: 400.
    Malformed(Vec<Problem>),
    /// The resource breaks FHIR's rules: 422.
    Invalid(Vec<Problem>),
    /// No credential, or one that does not hold: 401. The text is for the caller.
    Unauthenticated(&'static str),
    /// OAuth's own error form (RFC 6749 §5.2).
    OAuth(OAuthError),
    /// Refused whatever the record: 403.
    Forbidden,
    /// 404, whichever the reason.
    NotFound(Why),
    /// No such route or resource type: 404.
    NoRoute,
    /// The record was deleted: 410; only to those who could have read it.
    Gone,
    /// The route knows other methods: 405.
    MethodNotAllowed,
    /// No format we serve is accepted: 406.
    NotAcceptable,
    /// Not `application/fhir+json`: 415.
    UnsupportedMedia,
    /// If-Match names a version that is not the current one, or If-None-Match one that is: 412.
    PreconditionFailed,
    /// A condition or conditional reference matches another number of records than it must: 412.
    Unmet(Vec<Problem>),
    /// Others kept changing the record, or the request contradicts the state: 409.
    Conflict(&'static str),
    /// Body or header over its bound: 413.
    TooLarge,
    /// The body did not arrive in time: 408.
    TimedOut,
    /// The search would have to open too much: 400 with `too-costly`.
    TooCostly(String),
    /// Understood, and not served: 400 with `not-supported`.
    NotSupported(String),
    /// Too many at once from here: 429.
    Throttled,
    /// The stored record does not open: 500, and an alarm.
    Integrity,
    /// Something of ours failed: 500. What, stands in the operational log under the request id.
    Internal,
    /// The database or the key service is away: 503.
    Unavailable,
}

/// Why a record was not found; for the log only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// There is none.
    Absent,
    /// There is one, and the gate refused.
    Hidden,
    /// There was one, and its keys are gone.
    Erased,
}

/// An error of the token endpoint (RFC 6749 §5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OAuthError {
    /// `invalid_request`, `invalid_client`, `invalid_grant`, `invalid_scope`, `unsupported_grant_type`, ...
    pub error: &'static str,
    /// What to do about it.
    pub description: &'static str,
}

impl Refusal {
    /// A 400 with one problem.
    #[must_use]
    pub fn malformed(code: IssueCode, text: impl Into<String>) -> Self {
        Self::Malformed(vec![Problem::error(code, text.into())])
    }

    /// HTTP status.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::Malformed(_) | Self::TooCostly(_) | Self::NotSupported(_) => 400,
            Self::Unauthenticated(_) => 401,
            Self::OAuth(error) => {
                if matches!(error.error.as_bytes(), b"invalid_client") {
                    401
                } else {
                    400
                }
            }
            Self::Forbidden => 403,
            Self::NotFound(_) | Self::NoRoute => 404,
            Self::MethodNotAllowed => 405,
            Self::NotAcceptable => 406,
            Self::TimedOut => 408,
            Self::Conflict(_) => 409,
            Self::Gone => 410,
            Self::PreconditionFailed | Self::Unmet(_) => 412,
            Self::TooLarge => 413,
            Self::UnsupportedMedia => 415,
            Self::Invalid(_) => 422,
            Self::Throttled => 429,
            Self::Integrity | Self::Internal => 500,
            Self::Unavailable => 503,
        }
    }

    /// The word the log keeps; finer than what the caller is told.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::Invalid(_) => "invalid",
            Self::Unauthenticated(_) => "unauthenticated",
            Self::OAuth(error) => error.error,
            Self::Forbidden => "forbidden",
            Self::NotFound(Why::Absent) => "absent",
            Self::NotFound(Why::Hidden) => "hidden",
            Self::NotFound(Why::Erased) => "erased",
            Self::NoRoute => "no-route",
            Self::Gone => "gone",
            Self::MethodNotAllowed => "method-not-allowed",
            Self::NotAcceptable => "not-acceptable",
            Self::UnsupportedMedia => "unsupported-media",
            Self::PreconditionFailed => "precondition-failed",
            Self::Unmet(_) => "unmet",
            Self::Conflict(_) => "conflict",
            Self::TooLarge => "too-large",
            Self::TimedOut => "timed-out",
            Self::TooCostly(_) => "too-costly",
            Self::NotSupported(_) => "not-supported",
            Self::Throttled => "throttled",
            Self::Integrity => "integrity",
            Self::Internal => "internal",
            Self::Unavailable => "unavailable",
        }
    }

    /// What the caller receives.
    #[must_use]
    pub fn into_answer(self) -> Answer {
        let status = self.status();
        if let Self::OAuth(error) = self {
            return oauth_answer(status, error);
        }
        let challenge = matches!(self, Self::Unauthenticated(_));
        let retry = matches!(self, Self::Throttled | Self::Unavailable);
        let answer = Answer::fhir(status, OperationOutcome(self.into_problems()).to_bytes());
        if challenge {
            return answer.with_header("www-authenticate", "Bearer realm=\"custodia\"");
        }
        if retry { answer.with_header("retry-after", "1") } else { answer }
    }

    /// The problems, as they stand in the OperationOutcome.
    #[must_use]
    pub fn into_problems(self) -> Vec<Problem> {
        use IssueCode as I;
        let (code, text) = match self {
            Self::Malformed(problems) | Self::Invalid(problems) | Self::Unmet(problems) => return problems,
            Self::TooCostly(text) => return vec![Problem::error(I::TooCostly, text)],
            Self::NotSupported(text) => return vec![Problem::error(I::NotSupported, text)],
            Self::Unauthenticated(text) => (I::Login, text),
            Self::OAuth(error) => (I::Login, error.description),
            Self::Forbidden => {
                (I::Forbidden, "Your role, purpose or scopes do not allow this on any record of this type.")
            }
            Self::NotFound(_) => (I::NotFound, "There is no such record, or none that you may see."),
            Self::NoRoute => {
                (I::NotFound, "There is no such route. GET /fhir/metadata lists what is served.")
            }
            Self::Gone => (I::Deleted, "The record was deleted. Its history still shows earlier versions."),
            Self::MethodNotAllowed => (
                I::NotSupported,
                "This route does not serve that method. GET /fhir/metadata lists what is served.",
            ),
            Self::NotAcceptable => {
                (I::NotSupported, "Only application/fhir+json is served. Send Accept: application/fhir+json.")
            }
            Self::UnsupportedMedia => (
                I::NotSupported,
                "Send the body as application/fhir+json; a patch as that or as application/json-patch+json.",
            ),
            Self::PreconditionFailed => (
                I::Conflict,
                "The record is not in the state that If-Match or If-None-Match asks for. Read it again and retry with its ETag.",
            ),
            Self::Conflict(text) => (I::Conflict, text),
            Self::TooLarge => (
                I::TooLong,
                "The request is larger than 16 MiB of body or 64 kB of headers. Send less at once.",
            ),
            Self::TimedOut => (I::Timeout, "The request did not arrive whole within 30 seconds."),
            Self::Throttled => (I::Throttled, "Too many requests from here at once. Retry in a second."),
            Self::Integrity => (
                I::Exception,
                "The stored record failed its integrity check and was not released. Tell your operator the receipt of this answer.",
            ),
            Self::Internal => {
                (I::Exception, "The server failed. Tell your operator the receipt of this answer.")
            }
            Self::Unavailable => (I::Transient, "A service behind this server is away. Retry in a second."),
        };
        vec![Problem::error(code, text.to_owned())]
    }
}

fn oauth_answer(status: u16, error: OAuthError) -> Answer {
    let body = serde_json::json!({ "error": error.error, "error_description": error.description });
    Answer::json(status, body.to_string().into_bytes()).with_header("cache-control", "no-store")
}

/// An error and its causes, outermost first, on one line for the operational log.
///
/// Ours hold no value of a record, and PostgreSQL's are cut to what they are about (`watch` drops fields that are not on
/// its list).
pub fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}
