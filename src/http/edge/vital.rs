//! The signs of life of one connection, and when they are too weak.
//!
//! May import nothing of the house. Timers per read or write would cost more than the requests they guard, so the
//! connection only leaves stamps here, and one ticking task per connection reads them.

use std::{
    collections::BTreeMap,
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::Notify,
};

use super::config::Limits;

/// No stamp: the thing it would date is not happening.
const NEVER: u64 = 0;

/// The two protocols ALPN chooses from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It goes on.
    Lives,
    /// It is told to finish.
    Idle,
    /// It is cut: a header comes too slowly.
    SlowHeader,
    /// It is cut: the peer does not read.
    Stalled,
}

/// The stamps of one connection, in milliseconds since it began.
pub(super) struct Vital {
    protocol: Protocol,
    born: Instant,
    open_requests: AtomicU32,
    served: AtomicBool,
    idle_since: AtomicU64,
    head_since: AtomicU64,
    write_blocked_since: AtomicU64,
    next_answer: AtomicU64,
    answers: Mutex<BTreeMap<u64, u64>>,
    /// Rung when the connection is to finish after its open requests.
    pub(super) retire: Notify,
}

impl Vital {
    pub(super) fn new(protocol: Protocol) -> Arc<Self> {
        Arc::new(Self {
            protocol,
            born: Instant::now(),
            open_requests: AtomicU32::new(0),
            served: AtomicBool::new(false),
            idle_since: AtomicU64::new(1),
            head_since: AtomicU64::new(NEVER),
            write_blocked_since: AtomicU64::new(NEVER),
            next_answer: AtomicU64::new(0),
            answers: Mutex::default(),
            retire: Notify::new(),
        })
    }

    /// A request's headers are complete.
    pub(super) fn begin(self: &Arc<Self>) -> OpenRequest {
        self.open_requests.fetch_add(1, Ordering::SeqCst);
        self.served.store(true, Ordering::Relaxed);
        self.head_since.store(NEVER, Ordering::Relaxed);
        OpenRequest { vital: Arc::clone(self), answer: None }
    }

    /// Reads the stamps.
    pub(super) fn verdict(&self, limits: &Limits) -> Verdict {
        let now = self.now();
        let over = |since: u64, bound: Duration| since != NEVER && now.saturating_sub(since) > millis(bound);
        if over(self.write_blocked_since.load(Ordering::Relaxed), limits.write_stall) {
            return Verdict::Stalled;
        }
        let unread = |since: &u64| over(*since, limits.write_stall);
        if self.answers.lock().unwrap_or_else(PoisonError::into_inner).values().any(unread) {
            return Verdict::Stalled;
        }
        if self.open_requests.load(Ordering::SeqCst) > 0 {
            return Verdict::Lives;
        }
        let slow_first = !self.served.load(Ordering::Relaxed) && over(1, limits.header);
        let slow_next = over(self.head_since.load(Ordering::Relaxed), limits.header);
        if slow_first || (slow_next && self.protocol == Protocol::Http1) {
            return Verdict::SlowHeader;
        }
        if over(self.idle_since.load(Ordering::Relaxed), limits.idle) {
            return Verdict::Idle;
        }
        Verdict::Lives
    }

    fn now(&self) -> u64 {
        millis(self.born.elapsed()).saturating_add(1)
    }

    fn bytes_arrived(&self) {
        let waiting = self.head_since.load(Ordering::Relaxed) == NEVER;
        if waiting && self.open_requests.load(Ordering::SeqCst) == 0 {
            self.head_since.store(self.now(), Ordering::Relaxed);
        }
    }

    fn write_blocked(&self) {
        if self.write_blocked_since.load(Ordering::Relaxed) == NEVER {
            self.write_blocked_since.store(self.now(), Ordering::Relaxed);
        }
    }

    fn write_moved(&self) {
        if self.write_blocked_since.load(Ordering::Relaxed) != NEVER {
            self.write_blocked_since.store(NEVER, Ordering::Relaxed);
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A request between its headers and the last byte of its answer; ends when dropped.
pub(super) struct OpenRequest {
    vital: Arc<Vital>,
    answer: Option<u64>,
}

impl OpenRequest {
    /// The peer may take the next piece of the answer now.
    pub(super) fn offered(&mut self) {
        self.stamp(self.vital.now());
    }

    /// The next piece of the answer is not ready: what takes time is ours.
    pub(super) fn preparing(&mut self) {
        self.stamp(NEVER);
    }

    fn stamp(&mut self, at: u64) {
        let id = *self.answer.get_or_insert_with(|| self.vital.next_answer.fetch_add(1, Ordering::Relaxed));
        self.vital.answers.lock().unwrap_or_else(PoisonError::into_inner).insert(id, at);
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        if let Some(id) = self.answer {
            self.vital.answers.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        }
        self.vital.idle_since.store(self.vital.now(), Ordering::Relaxed);
        self.vital.open_requests.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A socket that leaves its stamps in a [`Vital`].
pub(super) struct Watched<S> {
    socket: S,
    vital: Arc<Vital>,
}

impl<S> Watched<S> {
    pub(super) const fn new(socket: S, vital: Arc<Vital>) -> Self {
        Self { socket, vital }
    }

    fn note<T>(&self, poll: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match &poll {
            Poll::Pending => self.vital.write_blocked(),
            Poll::Ready(_) => self.vital.write_moved(),
        }
        poll
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let poll = Pin::new(&mut self.socket).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.vital.bytes_arrived();
        }
        poll
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.socket).poll_write(cx, buf);
        self.note(poll)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.socket).poll_flush(cx);
        self.note(poll)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.socket).poll_shutdown(cx);
        self.note(poll)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.socket).poll_write_vectored(cx, bufs);
        self.note(poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
}
