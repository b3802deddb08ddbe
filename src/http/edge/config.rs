//! What the edge is told: doors, files and limits.
//!
//! May import nothing of the house.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

/// Which door a request came through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Door {
    /// For people and their applications: no client certificate is asked for.
    Portal,
    /// For registered machines: mutual TLS, always.
    Partner,
}

impl Door {
    /// The word used in metrics and in the log.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Portal => "portal",
            Self::Partner => "partner",
        }
    }
}

/// Everything the edge is told at start.
#[derive(Clone, Debug)]
pub struct EdgeConfig {
    /// The sockets to listen on.
    pub doors: Vec<DoorConfig>,
    /// Bounds in time, bytes and number.
    pub limits: Limits,
    /// Addresses other than loopback that may read `/metrics`.
    pub metrics_readers: Vec<IpAddr>,
    /// How often the certificate files are looked at.
    pub watch_interval: Duration,
}

impl EdgeConfig {
    /// The defaults, with these doors.
    #[must_use]
    pub const fn new(doors: Vec<DoorConfig>) -> Self {
        Self {
            doors,
            limits: Limits::DEFAULT,
            metrics_readers: Vec::new(),
            watch_interval: Duration::from_secs(5),
        }
    }
}

/// One listening socket.
#[derive(Clone, Debug)]
pub struct DoorConfig {
    /// Where to listen; port 0 takes a free one.
    pub address: SocketAddr,
    /// What is spoken there.
    pub transport: Transport,
}

/// What a door speaks; it also decides which [`Door`] it is.
#[derive(Clone, Debug)]
pub enum Transport {
    /// TLS without client certificates: [`Door::Portal`].
    Portal(ServerFiles),
    /// TLS with mandatory client certificates: [`Door::Partner`].
    Partner(ServerFiles, ClientFiles),
    /// No TLS, for a demonstration: [`Door::Portal`]; refused on any address but loopback.
    PlainLoopback,
}

impl Transport {
    /// The door this transport makes.
    #[must_use]
    pub const fn door(&self) -> Door {
        match self {
            Self::Portal(_) | Self::PlainLoopback => Door::Portal,
            Self::Partner(..) => Door::Partner,
        }
    }
}

/// The server's own certificate.
#[derive(Clone, Debug)]
pub struct ServerFiles {
    /// PEM: the server's certificate, then its intermediates.
    pub certificates: PathBuf,
    /// PEM: the private key, unencrypted.
    pub key: PathBuf,
    /// The oldest TLS that is spoken.
    pub oldest: TlsVersion,
}

/// Whose clients are let in.
#[derive(Clone, Debug)]
pub struct ClientFiles {
    /// PEM: the roots that client certificates must lead to.
    pub roots: PathBuf,
    /// PEM: certificate revocation lists. With one or more, every certificate of a chain must be covered by one;
    /// with none, nothing is checked for revocation.
    pub crls: Vec<PathBuf>,
    /// What a list past its nextUpdate is worth.
    pub stale_crls: StaleCrls,
}

/// The oldest version of TLS that is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2 and 1.3.
    Tls12,
    /// TLS 1.3 alone.
    Tls13,
}

/// What a revocation list past its nextUpdate is worth (RFC 5280 §5.1.2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StaleCrls {
    /// Nothing: the certificates it covers are refused until a fresh list arrives.
    Refuse,
    /// As much as a fresh one.
    Accept,
}

/// Bounds on what one peer may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From the first byte of a connection to the end of its TLS handshake.
    pub handshake: Duration,
    /// From a request's first byte to the end of its headers; also from the handshake to the first request.
    pub header: Duration,
    /// From the end of the headers to the end of the body.
    pub body: Duration,
    /// Between two requests of one connection.
    pub idle: Duration,
    /// How long a peer may accept nothing of an answer that is ready.
    pub write_stall: Duration,
    /// How long open requests may run on after the shutdown signal.
    pub shutdown: Duration,
    /// How long a check of a client certificate holds while its revocation lists stay the same.
    pub certificate_recheck: Duration,
    /// Request line and headers.
    pub header_bytes_max: u32,
    /// Headers of one request.
    pub headers_max: usize,
    /// The body of one request.
    pub body_bytes_max: usize,
    /// The bodies of all requests that are open.
    pub body_bytes_total_max: usize,
    /// Concurrent HTTP/2 streams of one connection.
    pub streams_max: u32,
    /// Connections from one source (an IPv4 address, or an IPv6 /64).
    pub connections_per_source_max: usize,
    /// Connections over all.
    pub connections_max: usize,
}

impl Limits {
    /// The limits of a deployment that sets none.
    pub const DEFAULT: Self = Self {
        handshake: Duration::from_secs(5),
        header: Duration::from_secs(10),
        body: Duration::from_secs(30),
        idle: Duration::from_secs(60),
        write_stall: Duration::from_secs(30),
        shutdown: Duration::from_secs(10),
        certificate_recheck: Duration::from_secs(30),
        header_bytes_max: 64 * 1024,
        headers_max: 100,
        body_bytes_max: 16 * 1024 * 1024,
        body_bytes_total_max: 512 * 1024 * 1024,
        streams_max: 100,
        connections_per_source_max: 256,
        connections_max: 4096,
    };

    /// How often a connection's clocks are read: at least four times within the shortest bound.
    pub(super) fn tick(&self) -> Duration {
        let shortest = self.header.min(self.idle).min(self.write_stall) / 4;
        shortest.clamp(Duration::from_millis(10), Duration::from_secs(1))
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
