//! What happened at the edge and never became a request, for the log.
//!
//! May import nothing of the house. The receiver coalesces: a flood of refused handshakes is one entry a second.

use std::{io, net::SocketAddr};

use rustls::CertificateError;
use tokio::sync::mpsc;

use super::{config::Door, counts::EdgeCounts};

/// How many events may wait for the log; further ones are counted and dropped.
pub const EVENTS_MAX: usize = 1024;

/// Something refused before there was a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EdgeEvent {
    /// Who was refused.
    pub peer: SocketAddr,
    /// At which door.
    pub door: Door,
    /// Why.
    pub kind: EdgeEventKind,
}

/// Why something was refused before there was a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EdgeEventKind {
    /// The handshake took longer than it may.
    HandshakeTimedOut,
    /// The handshake failed for another reason than a certificate.
    HandshakeFailed,
    /// A client certificate is mandatory and none came.
    NoCertificate,
    /// The client certificate's time is over.
    CertificateExpired,
    /// The client certificate's time has not come.
    CertificateNotYetValid,
    /// The client certificate is on a revocation list.
    CertificateRevoked,
    /// The client certificate leads to no root of ours.
    CertificateUnknownIssuer,
    /// No revocation list in force covers the client certificate.
    RevocationUnknown,
    /// The client certificate fails in another way.
    CertificateInvalid,
    /// The source, or the edge, has its fill of connections.
    TooManyConnections,
    /// The bytes are not HTTP.
    Malformed,
    /// The request line and headers pass their bound.
    HeadersTooLarge,
    /// The headers came too slowly.
    SlowHeader,
}

impl EdgeEventKind {
    /// The word the log keeps.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::HandshakeTimedOut => "handshake-timed-out",
            Self::HandshakeFailed => "handshake-failed",
            Self::NoCertificate => "no-certificate",
            Self::CertificateExpired => "certificate-expired",
            Self::CertificateNotYetValid => "certificate-not-yet-valid",
            Self::CertificateRevoked => "certificate-revoked",
            Self::CertificateUnknownIssuer => "certificate-unknown-issuer",
            Self::RevocationUnknown => "revocation-unknown",
            Self::CertificateInvalid => "certificate-invalid",
            Self::TooManyConnections => "too-many-connections",
            Self::Malformed => "malformed",
            Self::HeadersTooLarge => "headers-too-large",
            Self::SlowHeader => "slow-header",
        }
    }

    /// What a failed handshake was about.
    pub(super) fn of_handshake(error: &io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(error) => Self::of_tls(error),
            None => Self::HandshakeFailed,
        }
    }

    /// What a refused client certificate was refused for.
    pub(super) fn of_tls(error: &rustls::Error) -> Self {
        match error {
            rustls::Error::NoCertificatesPresented => Self::NoCertificate,
            rustls::Error::InvalidCertificate(error) => Self::of_certificate(error),
            _ => Self::HandshakeFailed,
        }
    }

    fn of_certificate(error: &CertificateError) -> Self {
        use CertificateError as E;
        match error {
            E::Expired | E::ExpiredContext { .. } => Self::CertificateExpired,
            E::NotValidYet | E::NotValidYetContext { .. } => Self::CertificateNotYetValid,
            E::Revoked => Self::CertificateRevoked,
            E::UnknownIssuer => Self::CertificateUnknownIssuer,
            E::UnknownRevocationStatus
            | E::ExpiredRevocationList
            | E::ExpiredRevocationListContext { .. } => Self::RevocationUnknown,
            _ => Self::CertificateInvalid,
        }
    }

    /// What made hyper give a connection up, when it was the peer's doing and worth an entry.
    pub(super) fn of_http(error: &hyper::Error) -> Option<Self> {
        if error.is_parse_too_large() {
            return Some(Self::HeadersTooLarge);
        }
        error.is_parse().then_some(Self::Malformed)
    }
}

/// Where events go: a bounded queue that never makes the edge wait.
#[derive(Clone, Debug)]
pub struct EdgeEvents(mpsc::Sender<EdgeEvent>);

impl EdgeEvents {
    /// A queue of [`EVENTS_MAX`] events and its receiver.
    #[must_use]
    pub fn channel() -> (Self, mpsc::Receiver<EdgeEvent>) {
        let (sender, receiver) = mpsc::channel(EVENTS_MAX);
        (Self(sender), receiver)
    }

    pub(super) fn tell(&self, event: EdgeEvent, counts: &EdgeCounts) {
        if self.0.try_send(event).is_err() {
            counts.events_dropped.up();
        }
    }
}
