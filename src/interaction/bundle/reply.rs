//! The answers to the entries of a Bundle.

use chrono::{DateTime, Utc};

use crate::{answer::Answer, fhir::bundle::Outgoing};

/// The answer to one entry, before it is written into the response.
#[derive(Default)]
pub(super) struct Reply {
    pub(super) full_url: Option<String>,
    pub(super) resource: Option<Vec<u8>>,
    pub(super) status: &'static str,
    pub(super) location: Option<String>,
    pub(super) version: Option<u32>,
    pub(super) last_modified: Option<DateTime<Utc>>,
    pub(super) outcome: Option<Vec<u8>>,
}

impl Reply {
    pub(super) fn outgoing(&self) -> Outgoing<'_> {
        Outgoing {
            full_url: self.full_url.as_deref(),
            resource: self.resource.as_deref(),
            status: self.status,
            location: self.location.as_deref(),
            version: self.version,
            last_modified: self.last_modified,
            outcome: self.outcome.as_deref(),
        }
    }

    /// From an answer that was made for a request of its own.
    pub(super) fn of_answer(answer: Answer) -> Self {
        let is_error = answer.status >= 400;
        let body = (!answer.body.is_empty()).then_some(answer.body);
        let (resource, outcome) = if is_error { (None, body) } else { (body, None) };
        Self {
            full_url: None,
            resource,
            status: status_line(answer.status),
            location: answer.location,
            version: answer.version.and_then(|version| u32::try_from(version).ok()),
            last_modified: answer.last_modified,
            outcome,
        }
    }
}

pub(super) const fn status_line(status: u16) -> &'static str {
    match status {
        200 => "200 OK",
        201 => "201 Created",
        204 => "204 No Content",
        304 => "304 Not Modified",
        400 => "400 Bad Request",
        401 => "401 Unauthorized",
        403 => "403 Forbidden",
        404 => "404 Not Found",
        405 => "405 Method Not Allowed",
        409 => "409 Conflict",
        410 => "410 Gone",
        412 => "412 Precondition Failed",
        422 => "422 Unprocessable Entity",
        503 => "503 Service Unavailable",
        _ => "500 Internal Server Error",
    }
}
