//! One connection, from its handshake to its end, and each request on it.
//!
//! May import `http::dispatch`.

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use hyper::{
    HeaderMap, Request, Response, StatusCode,
    body::Incoming,
    header,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::graceful::GracefulConnection,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::watch,
    time::{MissedTickBehavior, interval, timeout},
};

use super::{
    House,
    body::{self, EdgeBody},
    certificate::Presented,
    config::Door,
    events::{EdgeEvent, EdgeEventKind},
    headers,
    tls::DoorTls,
    vital::{Protocol, Verdict, Vital, Watched},
};
use crate::http::dispatch::{EdgeFacts, EdgeFault, Entering};

/// How long a retired connection may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(5);

/// HTTP/2 flow control: what one stream, and one connection, may send ahead of being read.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// A door, with its certificates when it speaks TLS.
pub(super) struct DoorState {
    pub(super) door: Door,
    pub(super) tls: Option<Arc<DoorTls>>,
}

/// What every request of one connection shares.
struct Connection {
    house: Arc<House>,
    state: Arc<DoorState>,
    peer: SocketAddr,
    presented: Option<Presented>,
    vital: Arc<Vital>,
}

/// Serves one accepted socket to its end.
pub(super) async fn serve(
    house: Arc<House>,
    state: Arc<DoorState>,
    socket: TcpStream,
    peer: SocketAddr,
    stop: watch::Receiver<bool>,
) {
    let Some(tls) = &state.tls else {
        let vital = Vital::new(Protocol::Http1);
        let connection = Connection { house, state, peer, presented: None, vital };
        return connection.run(socket, Protocol::Http1, stop).await;
    };
    let loaded = tls.current();
    let tell = |kind| {
        house.counts.handshakes_failed.up();
        house.events.tell(EdgeEvent { peer, door: state.door, kind }, &house.counts);
    };
    let stream = match timeout(house.limits().handshake, loaded.acceptor.accept(socket)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tell(EdgeEventKind::of_handshake(&error)),
        Err(_) => return tell(EdgeEventKind::HandshakeTimedOut),
    };
    let session = stream.get_ref().1;
    let presented = Presented::of(session, tls, loaded.generation);
    // INVARIANT: the partner door serves nobody without a certificate, whatever the verifier let pass.
    if state.door == Door::Partner && presented.is_none() {
        return tell(EdgeEventKind::NoCertificate);
    }
    let protocol = match session.alpn_protocol() {
        Some(b"h2") => Protocol::Http2,
        _ => Protocol::Http1,
    };
    let vital = Vital::new(protocol);
    Connection { house, state, peer, presented, vital }.run(stream, protocol, stop).await;
}

impl Connection {
    async fn run<S>(self, socket: S, protocol: Protocol, stop: watch::Receiver<bool>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let limits = *self.house.limits();
        let io = TokioIo::new(Watched::new(socket, Arc::clone(&self.vital)));
        let this = Arc::new(self);
        let shared = Arc::clone(&this);
        let service = service_fn(move |request| {
            let connection = Arc::clone(&shared);
            async move { Ok::<_, Infallible>(connection.request(request).await) }
        });
        match protocol {
            Protocol::Http1 => {
                let mut builder = http1::Builder::new();
                // The header's time is kept by `Vital`: hyper's timer would also run while the connection is idle.
                builder
                    .timer(TokioTimer::new())
                    .header_read_timeout(None)
                    .max_headers(limits.headers_max)
                    .max_header_size(usize::try_from(limits.header_bytes_max).unwrap_or(usize::MAX));
                this.watch(builder.serve_connection(io, service), stop).await;
            }
            Protocol::Http2 => {
                let mut builder = http2::Builder::new(TokioExecutor::new());
                builder
                    .timer(TokioTimer::new())
                    .max_concurrent_streams(limits.streams_max)
                    .max_header_list_size(limits.header_bytes_max)
                    .initial_stream_window_size(STREAM_WINDOW_BYTES)
                    .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
                this.watch(builder.serve_connection(io, service), stop).await;
            }
        }
    }

    /// Drives a connection and ends it when it must.
    async fn watch<C>(&self, connection: C, mut stop: watch::Receiver<bool>)
    where
        C: GracefulConnection<Error = hyper::Error>,
    {
        let mut connection = pin!(connection);
        let mut tick = interval(self.house.limits().tick());
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut retired: Option<Instant> = None;
        let mut stopping = false;
        loop {
            tokio::select! {
                result = connection.as_mut() => {
                    if let Some(kind) = result.err().and_then(|error| EdgeEventKind::of_http(&error)) {
                        self.house.counts.malformed.up();
                        self.tell(kind);
                    }
                    return;
                }
                _ = stop.changed(), if !stopping => {
                    stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = self.vital.retire.notified(), if retired.is_none() => {
                    retired = Some(Instant::now());
                    connection.as_mut().graceful_shutdown();
                }
                _ = tick.tick() => {
                    let over = retired.is_some_and(|since| since.elapsed() > GOODBYE);
                    match self.vital.verdict(self.house.limits()) {
                        Verdict::Lives => {}
                        Verdict::Idle if over => return,
                        Verdict::Idle if retired.is_some() => {}
                        Verdict::Idle => {
                            self.house.counts.idle_closed.up();
                            self.vital.retire.notify_one();
                        }
                        Verdict::SlowHeader => {
                            self.house.counts.slow_headers.up();
                            return self.tell(EdgeEventKind::SlowHeader);
                        }
                        Verdict::Stalled => return self.house.counts.stalled_writes.up(),
                    }
                }
            }
        }
    }

    fn tell(&self, kind: EdgeEventKind) {
        let event = EdgeEvent { peer: self.peer, door: self.state.door, kind };
        self.house.events.tell(event, &self.house.counts);
    }

    /// One request and its answer.
    async fn request(&self, request: Request<Incoming>) -> Response<EdgeBody> {
        let open = self.vital.begin();
        let (parts, body) = request.into_parts();
        let mut fault = self.certificate_fault();
        let probe = &self.house.probe;
        let probed = match fault {
            None => probe.answer(&parts, self.peer, &self.house.metrics_readers),
            Some(_) => None,
        };
        let mut answer = match probed {
            Some(answer) => answer,
            None => {
                if fault.is_none() && parts.headers.len() > self.house.limits().headers_max {
                    fault = Some(EdgeFault::TooManyHeaders);
                }
                self.answer(parts, body, fault).await
            }
        };
        headers::secure(answer.headers_mut(), self.state.tls.is_some());
        self.house.counts.answered(self.state.door, answer.status().as_u16());
        answer.map(|body| body.ending(open))
    }

    /// What Rocket answers, after the body has come.
    async fn answer(
        &self,
        parts: hyper::http::request::Parts,
        body: Incoming,
        mut fault: Option<EdgeFault>,
    ) -> Response<EdgeBody> {
        let mut collected = body::Collected::default();
        if fault.is_none() {
            let waits = expects_continue(&parts.headers);
            match body::collect(body, waits, self.house.limits(), &self.house.pool).await {
                Ok(whole) => collected = whole,
                Err(found) => fault = Some(found),
            }
        }
        let facts = EdgeFacts {
            door: self.state.door,
            peer: self.peer,
            certificate: self.presented.as_ref().map(|presented| Arc::clone(&presented.certificate)),
            fault,
        };
        let again = EdgeFacts { fault: Some(EdgeFault::Failed), ..facts.clone() };
        let parts = Arc::new(parts);
        let entering = Entering { parts: Arc::clone(&parts), body: collected, facts };
        if let Some(answer) = self.house.dispatcher.dispatch(entering).await {
            return answer;
        }
        let entering = Entering { parts, body: body::Collected::default(), facts: again };
        if let Some(answer) = self.house.dispatcher.dispatch(entering).await {
            return answer;
        }
        // Nobody could answer or record: the one answer with no entry says nothing at all.
        self.house.counts.unanswered.up();
        let mut answer = Response::new(EdgeBody::empty());
        *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        answer
    }

    /// Whether the client certificate no longer holds. The connection then ends with this answer.
    fn certificate_fault(&self) -> Option<EdgeFault> {
        let (presented, tls) = (self.presented.as_ref()?, self.state.tls.as_ref()?);
        let kind = presented.still_holds(tls, self.house.limits()).err()?;
        self.house.counts.certificates_refused.up();
        self.vital.retire.notify_one();
        Some(match kind {
            EdgeEventKind::CertificateExpired | EdgeEventKind::CertificateNotYetValid => {
                EdgeFault::CertificateExpired
            }
            EdgeEventKind::CertificateRevoked | EdgeEventKind::RevocationUnknown => {
                EdgeFault::CertificateRevoked
            }
            _ => EdgeFault::CertificateUntrusted,
        })
    }
}

fn expects_continue(headers: &HeaderMap) -> bool {
    headers.get(header::EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}
