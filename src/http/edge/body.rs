//! Bodies: collected on their way in, whole or streamed on their way out.
//!
//! May import nothing of the house but `http::dispatch`.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use tokio::{sync::mpsc, time::timeout};

use super::{config::Limits, vital::OpenRequest};
use crate::http::dispatch::EdgeFault;

/// A request's body, and the share of the house's memory it holds.
#[derive(Default)]
pub(crate) struct Collected {
    pub(crate) bytes: Vec<u8>,
    _share: Option<Share>,
}

/// The memory all open bodies take together.
pub(super) struct Pool {
    taken: AtomicUsize,
    max: usize,
}

struct Share {
    pool: Arc<Pool>,
    bytes: usize,
}

impl Pool {
    pub(super) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { taken: AtomicUsize::new(0), max })
    }
}

impl Share {
    fn grow(&mut self, by: usize) -> Result<(), EdgeFault> {
        let before = self.pool.taken.fetch_add(by, Ordering::Relaxed);
        self.bytes += by;
        if before.saturating_add(by) > self.pool.max { Err(EdgeFault::Overloaded) } else { Ok(()) }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.pool.taken.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Collects a body within its bounds of time and size.
pub(super) async fn collect(
    body: Incoming,
    expects_continue: bool,
    limits: &Limits,
    pool: &Arc<Pool>,
) -> Result<Collected, EdgeFault> {
    if body.is_end_stream() {
        return Ok(Collected::default());
    }
    match timeout(limits.body, gather(body, expects_continue, limits, pool)).await {
        Ok(gathered) => gathered,
        Err(_) => Err(EdgeFault::TimedOut),
    }
}

async fn gather(
    mut body: Incoming,
    expects_continue: bool,
    limits: &Limits,
    pool: &Arc<Pool>,
) -> Result<Collected, EdgeFault> {
    let max = limits.body_bytes_max;
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > max {
        if !expects_continue {
            drain(body, announced, max).await;
        }
        return Err(EdgeFault::TooLarge);
    }
    let mut share = Share { pool: Arc::clone(pool), bytes: 0 };
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| EdgeFault::BadBody)?;
        let Ok(piece) = frame.into_data() else { continue };
        let size = bytes.len().saturating_add(piece.len());
        if size > max {
            drain(body, size, max).await;
            return Err(EdgeFault::TooLarge);
        }
        share.grow(piece.len())?;
        if bytes.capacity() == 0 {
            bytes.reserve_exact(announced.max(piece.len()));
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(Collected { bytes, _share: Some(share) })
}

/// Reads on past the bound, without keeping anything: a peer that is still writing when its connection closes would
/// see a reset instead of the answer. Whoever sends more than twice the bound gets the reset.
async fn drain(mut body: Incoming, mut seen: usize, max: usize) {
    let bound = max.saturating_mul(2);
    if seen > bound {
        return;
    }
    while let Some(Ok(frame)) = body.frame().await {
        seen = seen.saturating_add(frame.data_ref().map_or(0, Bytes::len));
        if seen > bound {
            return;
        }
    }
}

/// An answer's body on its way to the peer.
pub(crate) struct EdgeBody {
    content: Content,
    request: Option<OpenRequest>,
}

enum Content {
    Whole(Option<Bytes>),
    Stream(mpsc::Receiver<io::Result<Bytes>>),
}

impl EdgeBody {
    pub(crate) const fn whole(bytes: Bytes) -> Self {
        Self { content: Content::Whole(Some(bytes)), request: None }
    }

    pub(crate) const fn empty() -> Self {
        Self { content: Content::Whole(None), request: None }
    }

    pub(crate) const fn stream(pieces: mpsc::Receiver<io::Result<Bytes>>) -> Self {
        Self { content: Content::Stream(pieces), request: None }
    }

    /// The same body, which ends this request when its last byte is gone.
    pub(super) fn ending(mut self, mut request: OpenRequest) -> Self {
        if !self.is_end_stream() {
            request.offered();
        }
        self.request = Some(request);
        self
    }
}

impl Body for EdgeBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = &mut *self;
        let next = match &mut this.content {
            Content::Whole(bytes) => Poll::Ready(bytes.take().filter(|bytes| !bytes.is_empty()).map(Ok)),
            Content::Stream(pieces) => pieces.poll_recv(cx),
        };
        if let Some(request) = &mut this.request {
            match next {
                Poll::Pending => request.preparing(),
                Poll::Ready(_) => request.offered(),
            }
        }
        next.map(|piece| piece.map(|bytes| bytes.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Whole(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Content::Stream(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => SizeHint::with_exact(
                bytes.as_ref().map_or(0, |bytes| u64::try_from(bytes.len()).unwrap_or(0)),
            ),
            Content::Stream(_) => SizeHint::default(),
        }
    }
}
