//! From an audited answer to Rocket's response, and the stamp without which nothing leaves.

use std::{
    io::{self, Cursor, Read as _},
    pin::Pin,
    sync::atomic::{AtomicBool, Ordering},
    task::{Context, Poll},
};

use rocket::{
    Request, Response,
    http::{Header, Status},
};
use tokio::io::{AsyncRead, AsyncSeek, AsyncWriteExt as _, DuplexStream, ReadBuf, SeekFrom, duplex};

use crate::{
    answer::{Answer, Stream},
    fhir::json::pretty,
    ledger::Audited,
};

/// How much of a streamed body waits between its reader and the peer.
const PIPE_BYTES: usize = 65_536;

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

/// How the body of an answer is written.
#[derive(Clone, Copy)]
pub struct BodyForm {
    /// Whether there is to be one.
    pub wanted: bool,
    /// Whether JSON is to be indented (`_pretty=true`).
    pub pretty: bool,
}

impl BodyForm {
    /// The body as it is.
    pub const PLAIN: Self = Self { wanted: true, pretty: false };
}

/// Writes an audited answer. A HEAD has the headers of its GET and no body.
///
/// It takes nothing else:
///
/// ```compile_fail,E0308
/// use custodia::{answer::Answer, http::respond::{BodyForm, respond}};
/// fn leak<'r>(request: &rocket::Request<'_>, answer: Answer) -> rocket::Response<'r> {
///     respond(request, answer, BodyForm::PLAIN)
/// }
/// ```
pub fn respond<'r>(request: &Request<'_>, audited: Audited<Answer>, form: BodyForm) -> Response<'r> {
    let (mut answer, receipt) = audited.into_parts();
    if form.pretty && answer.content_type.as_deref().is_some_and(|media| media.contains("json")) {
        answer.body = pretty(&answer.body);
    }
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
    if let Some(stream) = answer.stream
        && form.wanted
    {
        let bytes = usize::try_from(stream.bytes).unwrap_or(usize::MAX);
        response.set_sized_body(bytes, Piped::of(stream));
    } else if form.wanted && !answer.body.is_empty() {
        response.set_sized_body(answer.body.len(), Cursor::new(answer.body));
    }
    Stamp::put(request);
    response
}

/// A body that a thread reads, piece by piece as the peer takes it.
struct Piped(DuplexStream);

impl Piped {
    fn of(stream: Stream) -> Self {
        let (mut writer, reader) = duplex(PIPE_BYTES);
        let handle = tokio::runtime::Handle::current();
        tokio::task::spawn_blocking(move || {
            let mut source = stream.reader;
            let mut piece = vec![0_u8; PIPE_BYTES];
            loop {
                match source.read(&mut piece) {
                    Ok(0) => return,
                    Ok(count) => {
                        let piece = piece.get(..count).unwrap_or_default();
                        // The peer is gone.
                        if handle.block_on(writer.write_all(piece)).is_err() {
                            return;
                        }
                    }
                    // The body ends before its length: the connection breaks, and nobody takes it for whole.
                    Err(_) => {
                        tracing::error!(event = "stream_broken");
                        return;
                    }
                }
            }
        });
        Self(reader)
    }
}

impl AsyncRead for Piped {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, out)
    }
}

/// Rocket wants it of a body whose size it is told, and does not seek then.
impl AsyncSeek for Piped {
    fn start_seek(self: Pin<&mut Self>, _position: SeekFrom) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn poll_complete(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<u64>> {
        Poll::Ready(Err(io::ErrorKind::Unsupported.into()))
    }
}
