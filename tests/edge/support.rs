//! A small Rocket behind the edge, a certificate authority, and clients.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use custodia::{
    clock::Clock,
    http::{
        dispatch::{Dispatcher, EdgeFacts, rocket_config},
        edge::{
            ClientFiles, DoorConfig, Edge, EdgeConfig, EdgeCounts, EdgeEvent, EdgeEvents, EdgeParts, Limits,
            Probe, Reloader, ServerFiles, StaleCrls, TlsVersion, Transport,
        },
    },
};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer, KeyIdMethod,
    KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};
use rocket::{Request, State, catch, catchers, get, http::Status, post, put, routes};
use rustls::{ClientConfig, RootCertStore, pki_types::PrivateKeyDer};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{Notify, mpsc, oneshot},
    task::JoinHandle,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// No test waits longer for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A certificate authority.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
}

/// A certificate and its key, PEM.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    pub(crate) fn issue(&self, serial: u8, years: (i32, i32)) -> Identity {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.serial_number = Some(SerialNumber::from_slice(&[serial]));
        params.not_before = date_time_ymd(years.0, 1, 1);
        params.not_after = date_time_ymd(years.1, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Identity { certificate, key: key.serialize_pem() }
    }

    pub(crate) fn revoke(&self, serials: &[u8], next_update: i32) -> String {
        let revoked = |serial: &u8| RevokedCertParams {
            serial_number: SerialNumber::from_slice(&[*serial]),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(next_update, 1, 1),
            crl_number: SerialNumber::from_slice(&[1]),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        }
        .signed_by(&self.issuer)
        .unwrap()
        .pem()
        .unwrap()
    }
}

/// A folder that is removed at the end.
pub(crate) struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("custodia-edge-{}", uuid::Uuid::new_v4()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

/// Lets a test hold a request inside its handler.
#[derive(Default)]
pub(crate) struct Gate {
    pub(crate) entered: Notify,
    pub(crate) open: Notify,
}

/// A running edge.
pub(crate) struct Served {
    pub(crate) portal: SocketAddr,
    pub(crate) partner: SocketAddr,
    pub(crate) plain: SocketAddr,
    pub(crate) authority: Authority,
    pub(crate) folder: Folder,
    pub(crate) clock: Clock,
    pub(crate) counts: Arc<EdgeCounts>,
    pub(crate) events: mpsc::Receiver<EdgeEvent>,
    pub(crate) reloader: Reloader,
    pub(crate) gate: Arc<Gate>,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<()>,
}

/// The years a test certificate is good for.
pub(crate) const GOOD: (i32, i32) = (2024, 2040);

impl Served {
    pub(crate) async fn start(limits: Limits) -> Self {
        Self::with(limits, TlsVersion::Tls13, Duration::from_secs(3600)).await
    }

    pub(crate) async fn with(limits: Limits, oldest: TlsVersion, watch_interval: Duration) -> Self {
        let (authority, folder) = (Authority::new("house"), Folder::new());
        let own = authority.issue(1, GOOD);
        let server = ServerFiles {
            certificates: folder.write("server.pem", &own.certificate),
            key: folder.write("server.key", &own.key),
            oldest,
        };
        let clients = ClientFiles {
            roots: folder.write("roots.pem", &authority.pem),
            crls: vec![folder.write("revoked.pem", &authority.revoke(&[66], 2040))],
            stale_crls: StaleCrls::Refuse,
        };
        let address = "127.0.0.1:0".parse().unwrap();
        let transports = [
            Transport::Portal(server.clone()),
            Transport::Partner(server, clients),
            Transport::PlainLoopback,
        ];
        let doors = transports.into_iter().map(|transport| DoorConfig { address, transport }).collect();
        let gate = Arc::new(Gate::default());
        let clock = Clock::fixed("2025-06-01T00:00:00Z".parse().unwrap());
        let counts = Arc::new(EdgeCounts::default());
        let (sender, events) = EdgeEvents::channel();
        let parts = EdgeParts {
            dispatcher: Dispatcher::new(app(Arc::clone(&gate))).await.unwrap(),
            probe: Probe::new(|| true, || "custodia_up 1\n".to_owned()),
            clock: clock.clone(),
            events: sender,
            counts: Arc::clone(&counts),
        };
        let config = EdgeConfig { limits, watch_interval, ..EdgeConfig::new(doors) };
        let edge = Edge::bind(config, parts).unwrap();
        let addresses = edge.addresses();
        let reloader = edge.reloader();
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(edge.run(async move {
            stopped.await.ok();
        }));
        Self {
            portal: addresses[0],
            partner: addresses[1],
            plain: addresses[2],
            authority,
            folder,
            clock,
            counts,
            events,
            reloader,
            gate,
            stop: Some(stop),
            running,
        }
    }

    pub(crate) fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    /// Stops and waits until the edge has come to its end.
    pub(crate) async fn finish(mut self) {
        if self.stop.is_some() {
            self.stop();
        }
        timeout(PATIENCE, self.running).await.unwrap().unwrap();
    }

    pub(crate) async fn event(&mut self) -> &'static str {
        timeout(PATIENCE, self.events.recv()).await.unwrap().unwrap().kind.code()
    }

    /// A TLS connection to the portal that speaks HTTP/1.1.
    pub(crate) async fn portal(&self) -> TlsStream<TcpStream> {
        connect(self.portal, &self.authority, None, b"http/1.1").await.unwrap()
    }

    /// A TLS connection to the partner door that speaks HTTP/1.1.
    pub(crate) async fn partner(&self, identity: &Identity) -> std::io::Result<TlsStream<TcpStream>> {
        connect(self.partner, &self.authority, Some(identity), b"http/1.1").await
    }
}

/// A client that trusts this authority.
pub(crate) fn client_config_of(
    authority: &Authority,
    identity: Option<&Identity>,
    alpn: &[u8],
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let chain = CertificateDer::from_pem_slice(identity.certificate.as_bytes()).unwrap();
            let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
            builder.with_client_auth_cert(vec![chain], key).unwrap()
        }
    };
    config.alpn_protocols = vec![alpn.to_vec()];
    config
}

pub(crate) async fn connect(
    address: SocketAddr,
    authority: &Authority,
    identity: Option<&Identity>,
    alpn: &[u8],
) -> std::io::Result<TlsStream<TcpStream>> {
    let connector =
        TlsConnector::from(Arc::new(client_config_of(authority, identity, alpn, rustls::ALL_VERSIONS)));
    let socket = TcpStream::connect(address).await?;
    connector.connect(ServerName::try_from("localhost").unwrap(), socket).await
}

/// One answer, read off the wire.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// Sends these bytes as they are and reads one answer.
pub(crate) async fn ask(stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin), request: &[u8]) -> Answer {
    stream.write_all(request).await.unwrap();
    answer(stream).await
}

/// Reads one answer with a Content-Length.
pub(crate) async fn answer(stream: &mut (impl AsyncReadExt + Unpin)) -> Answer {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.push(timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap());
    }
    let head = String::from_utf8(bytes).unwrap().to_lowercase();
    let status = head.get(9..12).unwrap().parse().unwrap();
    let length =
        head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
    let mut body = vec![0; length];
    timeout(PATIENCE, stream.read_exact(&mut body)).await.unwrap().unwrap();
    Answer { status, head, body: String::from_utf8(body).unwrap() }
}

/// A request without a body.
pub(crate) fn get(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes()
}

/// Waits until the peer has closed the connection.
pub(crate) async fn closed(stream: &mut (impl AsyncReadExt + Unpin)) {
    let mut rest = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("the connection stays open").ok();
}

fn app(gate: Arc<Gate>) -> rocket::Rocket<rocket::Build> {
    rocket::custom(rocket_config())
        .manage(gate)
        .mount("/", routes![hello, seen, echo, put_only, breaks, held, large])
        .register("/", catchers![refused])
}

#[get("/hello")]
fn hello() -> &'static str {
    "hello"
}

/// What the handler sees of the peer.
#[get("/seen")]
fn seen(request: Seen<'_>) -> String {
    let facts = EdgeFacts::of(request.0).unwrap();
    let headers: Vec<_> =
        request.0.headers().iter().map(|one| one.name().to_string().to_lowercase()).collect();
    format!(
        "{} {} {} {} {}",
        facts.door.name(),
        request.0.client_ip().unwrap(),
        facts.certificate.as_ref().map_or(0, |one| one.der.len()),
        request.0.cookies().get("a").map_or("-", rocket::http::Cookie::value),
        headers.join(",")
    )
}

struct Seen<'r>(&'r Request<'r>);

#[rocket::async_trait]
impl<'r> rocket::request::FromRequest<'r> for Seen<'r> {
    type Error = ();

    async fn from_request(request: &'r Request<'_>) -> rocket::request::Outcome<Self, ()> {
        rocket::request::Outcome::Success(Seen(request))
    }
}

#[post("/echo", data = "<body>")]
fn echo(body: Vec<u8>) -> String {
    format!("posted {}", body.len())
}

#[put("/echo", data = "<body>")]
fn put_only(body: Vec<u8>) -> String {
    format!("put {}", body.len())
}

#[expect(clippy::panic, reason = "the test wants it")]
#[get("/breaks")]
fn breaks() -> &'static str {
    panic!("the payload of a panic")
}

#[get("/held")]
async fn held(gate: &State<Arc<Gate>>) -> &'static str {
    gate.entered.notify_one();
    gate.open.notified().await;
    "released"
}

#[get("/large/<bytes>")]
fn large(bytes: usize) -> Vec<u8> {
    vec![b'x'; bytes]
}

#[catch(default)]
fn refused(status: Status, request: &Request<'_>) -> (Status, String) {
    match EdgeFacts::of(request).and_then(|facts| facts.fault) {
        Some(fault) => (Status::new(fault.refusal().status()), format!("{fault:?}")),
        None => (status, format!("caught {}", status.code)),
    }
}

pub(crate) fn replace(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
}
