//! From an audited answer to Rocket's response, and the stamp without which nothing leaves.

use std::{
    io::Cursor,
    sync::atomic::{AtomicBool, Ordering},
};

use rocket::{
    Request, Response,
    http::{Header, Status},
};

use crate::{answer::Answer, ledger::Audited};

/// The mark of a response whose entry has been committed, or of the empty 503.
#[derive(Default)]
pub(super) struct Stamp(AtomicBool);

impl Stamp {
    /// Marks the response to `request`.
    pub(super) fn put(request: &Request<'_>) {
        request.local_cache(Self::default).0.store(true, Ordering::Release);
    }
}

/// Whether the response to `request` may leave as it is.
pub(super) fn is_stamped(request: &Request<'_>) -> bool {
    request.local_cache(Stamp::default).0.load(Ordering::Acquire)
}

/// The one response without an entry: constant, empty.
pub(super) fn down<'r>() -> Response<'r> {
    Response::build().status(Status::ServiceUnavailable).header(Header::new("retry-after", "1")).finalize()
}

/// Writes an audited answer. A HEAD has the headers of its GET and no body.
///
/// It takes nothing else:
///
/// ```compile_fail,E0308
/// use custodia::{answer::Answer, http::respond::respond};
/// fn leak<'r>(request: &rocket::Request<'_>, answer: Answer) -> rocket::Response<'r> {
///     respond(request, answer, true)
/// }
/// ```
pub fn respond<'r>(request: &Request<'_>, audited: Audited<Answer>, wants_body: bool) -> Response<'r> {
    let (answer, receipt) = audited.into_parts();
    let mut response = Response::new();
    response.set_status(Status::new(answer.status));
    response.set_header(Header::new("custodia-receipt", receipt.to_string()));
    if let Some(media) = answer.content_type {
        response.set_header(Header::new("content-type", media));
    }
    if let Some(version) = answer.version {
        response.set_header(Header::new("etag", format!("W/\"{version}\"")));
    }
    if let Some(at) = answer.last_modified {
        let date = at.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
        response.set_header(Header::new("last-modified", date));
    }
    if let Some(location) = answer.location {
        response.set_header(Header::new("location", location));
    }
    for (name, value) in answer.headers {
        response.set_header(Header::new(name, value));
    }
    if wants_body && !answer.body.is_empty() {
        response.set_sized_body(answer.body.len(), Cursor::new(answer.body));
    }
    Stamp::put(request);
    response
}
