//! The TLS edge: accepts TCP itself, bounds everything, and hands each request to Rocket.
//!
//! May import `clock` and `http::dispatch`. Rocket's own listener has no timeouts, no revocation lists, no reload and
//! resumes sessions of revoked certificates (compliance/decisions/0002-edge-in-front-of-rocket.md).
//!
//! ```text
//! accept -> seat -> handshake -> ALPN -> HTTP/1.1 or HTTP/2 -> certificate -> probe -> body -> Rocket -> answer
//!           |       |                   |                     |                       |
//!           event   event               event, cut            fault ----------------> catcher: answered, recorded
//! ```

pub(super) mod body;
mod certificate;
mod config;
mod connection;
mod counts;
mod events;
pub(super) mod headers;
mod probe;
mod seats;
mod tls;
mod vital;

use std::{
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout_at},
};

use self::{body::Pool, connection::DoorState, seats::Seats, tls::DoorTls};
pub use self::{
    certificate::ClientCertificate,
    config::{
        ClientFiles, Door, DoorConfig, EdgeConfig, Limits, ServerFiles, StaleCrls, TlsVersion, Transport,
    },
    counts::{ByClass, Count, EdgeCounts},
    events::{EVENTS_MAX, EdgeEvent, EdgeEventKind, EdgeEvents},
    probe::Probe,
    tls::TlsError,
};
use super::dispatch::Dispatcher;
use crate::clock::Clock;

/// Connections the kernel may hold before they are accepted.
const BACKLOG: u32 = 1024;

/// How long accepting rests after an error that will not go away at once (no file descriptor is left).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Why the edge does not start.
#[derive(Debug, thiserror::Error)]
pub enum EdgeError {
    /// No door is configured.
    #[error("no door to listen at is configured")]
    NoDoor,
    /// Plain HTTP was asked for on an address others can reach.
    #[error("{0}: plain HTTP is served on loopback alone")]
    PlainNotLoopback(SocketAddr),
    /// A socket cannot be had.
    #[error("{address}: cannot listen")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// A door's certificates cannot be used.
    #[error("{address}: its certificates cannot be used")]
    Tls {
        /// Whose.
        address: SocketAddr,
        /// Why.
        #[source]
        source: TlsError,
    },
}

/// What the edge is given by the house.
pub struct EdgeParts {
    /// The way into Rocket.
    pub dispatcher: Dispatcher,
    /// Who answers `/readyz` and `/metrics`.
    pub probe: Probe,
    /// The clock that certificates are checked against.
    pub clock: Clock,
    /// Where refusals go that never became a request.
    pub events: EdgeEvents,
    /// Where the edge counts.
    pub counts: Arc<EdgeCounts>,
}

/// Doors that are open and not yet served.
pub struct Edge {
    house: Arc<House>,
    doors: Vec<OpenDoor>,
    watch_interval: Duration,
}

struct OpenDoor {
    listener: TcpListener,
    address: SocketAddr,
    state: Arc<DoorState>,
}

/// What every connection shares.
struct House {
    limits: Limits,
    dispatcher: Dispatcher,
    probe: Probe,
    events: EdgeEvents,
    counts: Arc<EdgeCounts>,
    metrics_readers: Vec<IpAddr>,
    seats: Arc<Seats>,
    pool: Arc<Pool>,
}

impl House {
    const fn limits(&self) -> &Limits {
        &self.limits
    }
}

/// Replaces certificates while the edge serves.
#[derive(Clone)]
pub struct Reloader(Vec<(SocketAddr, Arc<DoorTls>)>);

impl Edge {
    /// Opens every door; must be called within a Tokio runtime.
    ///
    /// # Errors
    /// A door that cannot be opened, or whose certificates cannot be used.
    pub fn bind(config: EdgeConfig, parts: EdgeParts) -> Result<Self, EdgeError> {
        if config.doors.is_empty() {
            return Err(EdgeError::NoDoor);
        }
        let doors: Result<Vec<_>, _> =
            config.doors.into_iter().map(|door| OpenDoor::new(door, &parts.clock)).collect();
        let house = House {
            seats: Seats::new(&config.limits),
            pool: Pool::new(config.limits.body_bytes_total_max),
            limits: config.limits,
            dispatcher: parts.dispatcher,
            probe: parts.probe,
            events: parts.events,
            counts: parts.counts,
            metrics_readers: config.metrics_readers,
        };
        Ok(Self { house: Arc::new(house), doors: doors?, watch_interval: config.watch_interval })
    }

    /// Where each door listens, in the order they were configured.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.doors.iter().map(|door| door.address).collect()
    }

    /// A handle that replaces certificates while [`Edge::run`] serves.
    #[must_use]
    pub fn reloader(&self) -> Reloader {
        let tls = |door: &OpenDoor| Some((door.address, Arc::clone(door.state.tls.as_ref()?)));
        Reloader(self.doors.iter().filter_map(tls).collect())
    }

    /// Serves until `shutdown` resolves; then lets open requests finish, for [`Limits::shutdown`] at most.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let reloader = self.reloader();
        let (stop, stopped) = watch::channel(false);
        let mut background = JoinSet::new();
        background.spawn(watch_files(reloader, Arc::clone(&self.house.counts), self.watch_interval));
        let mut doors = JoinSet::new();
        for door in self.doors {
            doors.spawn(door.accept(Arc::clone(&self.house), stopped.clone()));
        }
        drop(stopped);
        shutdown.await;
        self.house.probe.drain();
        let deadline = Instant::now() + self.house.limits.shutdown;
        stop.send_replace(true);
        let drained = timeout_at(deadline, async {
            while let Some(door) = doors.join_next().await {
                if let Ok(mut connections) = door {
                    while connections.join_next().await.is_some() {}
                }
            }
            // A peer that hung up leaves its request behind; what it commits is waited for as well.
            self.house.dispatcher.settle().await;
        });
        if drained.await.is_err() {
            tracing::warn!("requests were still open at the end of the shutdown's time");
        }
    }
}

impl Reloader {
    /// Reads every door's files again. New connections see them at once, open ones at their next request.
    ///
    /// # Errors
    /// The first door whose files cannot be used; it keeps what it had, and the doors after it are still reloaded.
    pub fn reload(&self) -> Result<(), EdgeError> {
        let mut outcome = Ok(());
        for (address, tls) in &self.0 {
            if let Err(source) = tls.reload() {
                outcome = outcome.and(Err(EdgeError::Tls { address: *address, source }));
            }
        }
        outcome
    }
}

impl OpenDoor {
    fn new(config: DoorConfig, clock: &Clock) -> Result<Self, EdgeError> {
        let address = config.address;
        let door = config.transport.door();
        let load = |server, clients| {
            DoorTls::load(server, clients, clock.clone())
                .map(Arc::new)
                .map_err(|source| EdgeError::Tls { address, source })
        };
        let tls = match config.transport {
            Transport::PlainLoopback if !address.ip().is_loopback() => {
                return Err(EdgeError::PlainNotLoopback(address));
            }
            Transport::PlainLoopback => None,
            Transport::Portal(server) => Some(load(server, None)?),
            Transport::Partner(server, clients) => Some(load(server, Some(clients))?),
        };
        let (listener, address) = listen(address).map_err(|source| EdgeError::Listen { address, source })?;
        Ok(Self { listener, address, state: Arc::new(DoorState { door, tls }) })
    }

    /// Accepts until told to stop; hands back the connections that are still open.
    async fn accept(self, house: Arc<House>, mut stop: watch::Receiver<bool>) -> JoinSet<()> {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                _ = stop.changed() => return connections,
                Some(_) = connections.join_next() => {}
                accepted = self.listener.accept() => match accepted {
                    Ok((socket, peer)) => self.admit(&house, &mut connections, socket, peer, &stop),
                    Err(error) if is_about_one_peer(&error) => {}
                    Err(_) => sleep(ACCEPT_PAUSE).await,
                },
            }
        }
    }

    fn admit(
        &self,
        house: &Arc<House>,
        connections: &mut JoinSet<()>,
        socket: TcpStream,
        peer: SocketAddr,
        stop: &watch::Receiver<bool>,
    ) {
        let counts = &house.counts;
        counts.connections.up();
        let Some(seat) = house.seats.take(peer.ip()) else {
            counts.connections_refused.up();
            let kind = EdgeEventKind::TooManyConnections;
            house.events.tell(EdgeEvent { peer, door: self.state.door, kind }, counts);
            return;
        };
        // Answers are written whole; waiting for more only delays them. A socket that refuses is merely slower.
        drop(socket.set_nodelay(true));
        let open = OpenConnection::new(Arc::clone(counts));
        let serving =
            connection::serve(Arc::clone(house), Arc::clone(&self.state), socket, peer, stop.clone());
        connections.spawn(async move {
            serving.await;
            drop((seat, open));
        });
    }
}

/// Raises the gauge of open connections while it lives.
struct OpenConnection(Arc<EdgeCounts>);

impl OpenConnection {
    fn new(counts: Arc<EdgeCounts>) -> Self {
        counts.connections_open.up();
        Self(counts)
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.connections_open.down();
    }
}

fn listen(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    let listener = socket.listen(BACKLOG)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// The peer went away between its SYN and our accept; the next accept may succeed at once.
fn is_about_one_peer(error: &io::Error) -> bool {
    use io::ErrorKind as K;
    matches!(error.kind(), K::ConnectionAborted | K::ConnectionReset | K::ConnectionRefused | K::Interrupted)
}

/// Looks at the certificate files and reads them again when one of them changed.
async fn watch_files(reloader: Reloader, counts: Arc<EdgeCounts>, every: Duration) {
    let mut seen: Vec<_> = reloader.0.iter().map(|(_, tls)| tls.stamps()).collect();
    let mut tick = interval(every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        for ((address, tls), seen) in reloader.0.iter().zip(&mut seen) {
            let door = Arc::clone(tls);
            let before = seen.clone();
            // Files are read away from the threads that serve.
            let read = tokio::task::spawn_blocking(move || {
                let now = door.stamps();
                (now != before).then(|| (door.reload(), now))
            });
            let Ok(Some((outcome, now))) = read.await else { continue };
            *seen = now;
            match outcome {
                Ok(()) => {
                    counts.reloads.up();
                    tracing::info!(%address, "certificates were read again");
                }
                Err(error) => {
                    counts.reloads_failed.up();
                    tracing::warn!(%address, %error, "certificates were not replaced");
                }
            }
        }
    }
}
