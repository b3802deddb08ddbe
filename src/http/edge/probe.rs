//! `/healthz`, `/readyz` and `/metrics`: about nobody, so answered here and not recorded.
//!
//! May import nothing of the house but `http::edge`.

use std::{
    net::{IpAddr, SocketAddr},
    sync::atomic::{AtomicBool, Ordering},
};

use hyper::{
    Method, Response, StatusCode,
    body::Bytes,
    header::{self, HeaderValue},
    http::request::Parts,
};

use super::body::EdgeBody;

/// How the edge learns whether the house is ready, and what it measured.
pub struct Probe {
    ready: Box<dyn Fn() -> bool + Send + Sync>,
    metrics: Box<dyn Fn() -> String + Send + Sync>,
    draining: AtomicBool,
}

impl Probe {
    /// Both must answer at once, without asking a database.
    pub fn new(
        ready: impl Fn() -> bool + Send + Sync + 'static,
        metrics: impl Fn() -> String + Send + Sync + 'static,
    ) -> Self {
        Self { ready: Box::new(ready), metrics: Box::new(metrics), draining: AtomicBool::new(false) }
    }

    /// From now on nobody should send more.
    pub(super) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// The answer, when the request is a probe.
    pub(super) fn answer(
        &self,
        parts: &Parts,
        peer: SocketAddr,
        readers: &[IpAddr],
    ) -> Option<Response<EdgeBody>> {
        let head = parts.method == Method::HEAD;
        if !head && parts.method != Method::GET {
            return None;
        }
        let (status, text) = match parts.uri.path() {
            "/healthz" => (StatusCode::OK, "ok\n".to_owned()),
            "/readyz" => self.readiness(),
            "/metrics" if may_read_metrics(peer, readers) => (StatusCode::OK, (self.metrics)()),
            _ => return None,
        };
        let length = text.len();
        let body = if head { EdgeBody::empty() } else { EdgeBody::whole(Bytes::from(text)) };
        let mut answer = Response::new(body);
        *answer.status_mut() = status;
        let headers = answer.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"),
        );
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        Some(answer)
    }

    fn readiness(&self) -> (StatusCode, String) {
        if !self.draining.load(Ordering::Relaxed) && (self.ready)() {
            (StatusCode::OK, "ready\n".to_owned())
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, "not ready\n".to_owned())
        }
    }
}

fn may_read_metrics(peer: SocketAddr, readers: &[IpAddr]) -> bool {
    let peer = peer.ip().to_canonical();
    peer.is_loopback() || readers.contains(&peer)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_for_loopback_and_those_named() {
        let named: IpAddr = "192.0.2.7".parse().unwrap();
        for (peer, may) in [
            ("127.0.0.1:1", true),
            ("[::1]:1", true),
            ("[::ffff:127.0.0.1]:1", true),
            ("192.0.2.7:1", true),
            ("192.0.2.8:1", false),
        ] {
            assert_eq!(may_read_metrics(peer.parse().unwrap(), &[named]), may, "{peer}");
        }
    }
}
