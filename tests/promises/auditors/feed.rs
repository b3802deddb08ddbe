//! The syslog feed: every entry reaches the collector at least once, whatever happens to either side.

use std::{
    collections::BTreeSet,
    fs,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use custodia::{
    clock::Clock,
    config::{Config, Taken},
    host,
};
use custodia_support::{authority::Authority, cluster::TestCluster, people::Person, server::TestServer};
use rustls::{RootCertStore, ServerConfig, server::WebPkiClientVerifier};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

/// What a collector does with a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// Reads to the end and ends in order.
    Takes,
    /// Reads a little and is gone.
    Crashes,
    /// Reads to the end and ends TCP alone.
    Mute,
}

/// A collector of syslog over TLS that wants to see the server's certificate.
struct Collector {
    address: SocketAddr,
    manner: Arc<Mutex<Manner>>,
    heard: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Collector {
    async fn open(authority: &Authority, address: &str, manner: Manner) -> Self {
        let own = authority.issue();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .unwrap();
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(own.certificate.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap(),
            )
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (manner, heard) = (Arc::new(Mutex::new(manner)), Arc::new(Mutex::new(Vec::new())));
        let (how, into) = (Arc::clone(&manner), Arc::clone(&heard));
        let task = tokio::spawn(async move {
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                let manner = *how.lock().unwrap();
                let frames = take(&acceptor, tcp, manner).await;
                into.lock().unwrap().extend(frames);
            }
        });
        Self { address, manner, heard, task }
    }

    /// Indexes of the entries it was told of, in the order they came.
    fn indexes(&self) -> Vec<u64> {
        let heard = self.heard.lock().unwrap();
        let receipt = "ParticipantObjectID=\"records.test/log/";
        let index = |message: &String| {
            let rest = &message[message.find(receipt)? + receipt.len()..];
            rest[..rest.find('"')?].parse().ok()
        };
        heard.iter().filter_map(index).collect()
    }

    /// Waits until it was told of an entry.
    async fn hears_of(&self, index: u64) {
        for _ in 0..1_500 {
            if self.indexes().contains(&index) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("entry {index} does not arrive: {:?}", self.indexes());
    }
}

/// The frames of one connection, as far as it gets.
async fn take(acceptor: &TlsAcceptor, tcp: TcpStream, manner: Manner) -> Vec<String> {
    let Ok(mut tls) = acceptor.accept(tcp).await else { return Vec::new() };
    let mut bytes = Vec::new();
    if manner == Manner::Crashes {
        let mut some = [0_u8; 300];
        tls.read_exact(&mut some).await.ok();
        // The rest is left unread, as a process leaves it that is killed.
        return Vec::new();
    }
    if tls.read_to_end(&mut bytes).await.is_err() {
        return Vec::new();
    }
    if manner == Manner::Takes {
        tls.shutdown().await.ok();
    }
    let (mut frames, mut rest) = (Vec::new(), bytes.as_slice());
    while let Some(at) = rest.iter().position(|byte| *byte == b' ') {
        let length: usize = std::str::from_utf8(&rest[..at]).unwrap().parse().unwrap();
        frames.push(String::from_utf8(rest[at + 1..=at + length].to_vec()).unwrap());
        rest = &rest[at + 1 + length..];
    }
    assert!(rest.is_empty());
    frames
}

/// Where a server finds the collector, and by what each knows the other.
fn point(config: &mut Config, authority: &Authority, roots: &Authority, address: SocketAddr) {
    let own = authority.issue();
    let write = |name: &str, text: &str| {
        let path = config.home.join(name);
        fs::write(&path, text).unwrap();
        Some(path)
    };
    config.feed.roots = write("collector.pem", roots.pem());
    config.feed.certificate = write("feed.pem", &own.certificate);
    config.feed.key = write("feed.key", &own.key);
    config.feed.server_name = Some("localhost".to_owned());
    config.feed.address = Some(address.to_string());
}

fn position(config: &Config) -> u64 {
    let line = fs::read_to_string(config.feed_folder().join("position")).unwrap_or_default();
    line.trim_end().rsplit(' ').next().and_then(|index| index.parse().ok()).unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_entry_reaches_the_collector_once_it_is_there_and_none_is_left_out_by_a_restart() {
    let authority = Authority::new("collector");
    // An address where nobody listens yet: the server serves all the same.
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let server = TestServer::with(TestCluster::quick().await, Clock::machine(), |config| {
        point(config, &authority, &authority, free);
    })
    .await;
    let physician = server.person(Person::Physician).await;
    let first = physician.get("/fhir/Patient/nobody").await.expect(404).receipt().unwrap();
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(position(server.config()), 0, "nothing was taken");

    let collector = Collector::open(&authority, &free.to_string(), Manner::Takes).await;
    collector.hears_of(first).await;
    let later = physician.get("/fhir/Patient/nobody").await.expect(404).receipt().unwrap();
    collector.hears_of(later).await;
    let heard: BTreeSet<u64> = collector.indexes().into_iter().collect();
    // Tokens have the request for their only entity (ITI-71): their receipt is not told, but their message came.
    let signed_in = collector.heard.lock().unwrap().iter().filter(|one| one.contains("ITI-71")).count();
    assert_eq!(signed_in, 1);
    assert_eq!(heard.len() as u64 + 1, later + 1, "every entry from the first: {heard:?}");
    assert!(collector.heard.lock().unwrap().iter().any(|one| one.contains("UserID=\"grey\"")));
    // The position is kept after the collector has taken them.
    for _ in 0..250 {
        if position(server.config()) > later {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(position(server.config()), later + 1);

    // Another process goes on where this one ended.
    let before = collector.indexes().len();
    let (config, _database, _folder) = server.stop().await;
    let running = host::start(config.clone(), Clock::machine()).await.unwrap();
    collector.hears_of(later + 1).await;
    let since: Vec<u64> = collector.indexes().split_off(before);
    assert!(since.iter().all(|index| *index > later), "{since:?}");
    running.stop().await.unwrap();
    collector.task.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_collector_lost_when_it_crashed_is_sent_again() {
    let authority = Authority::new("collector");
    let collector = Collector::open(&authority, "127.0.0.1:0", Manner::Crashes).await;
    let server = TestServer::with(TestCluster::quick().await, Clock::machine(), |config| {
        point(config, &authority, &authority, collector.address);
    })
    .await;
    let physician = server.person(Person::Physician).await;
    let mut last = 0;
    for _ in 0..20 {
        last = physician.get("/fhir/Patient/nobody").await.expect(404).receipt().unwrap();
    }
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(position(server.config()), 0, "a crash acknowledges nothing");
    *collector.manner.lock().unwrap() = Manner::Takes;
    collector.hears_of(last).await;
    let heard: BTreeSet<u64> = collector.indexes().into_iter().collect();
    assert_eq!(heard.len() as u64, last, "all but the sign-in, whose message names no receipt: {heard:?}");
    collector.task.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_without_close_notify_acknowledges_only_where_that_is_configured() {
    let authority = Authority::new("collector");
    for (taken, moves) in [(Taken::CloseNotify, false), (Taken::EndOfStream, true)] {
        let collector = Collector::open(&authority, "127.0.0.1:0", Manner::Mute).await;
        let server = TestServer::with(TestCluster::quick().await, Clock::machine(), |config| {
            point(config, &authority, &authority, collector.address);
            config.feed.taken = taken;
        })
        .await;
        collector.hears_of(0).await;
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        assert_eq!(position(server.config()) > 0, moves, "{taken:?}");
        collector.task.abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_impostor_is_told_nothing() {
    let (authority, impostor) = (Authority::new("collector"), Authority::new("impostor"));
    let collector = Collector::open(&impostor, "127.0.0.1:0", Manner::Takes).await;
    let server = TestServer::with(TestCluster::quick().await, Clock::machine(), |config| {
        point(config, &impostor, &authority, collector.address);
    })
    .await;
    let _read = server.person(Person::Physician).await.get("/fhir/Patient/nobody").await.expect(404);
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!((collector.indexes().len(), position(server.config())), (0, 0));
    collector.task.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_that_is_not_whole_is_refused_at_the_start() {
    let mut config = Config::default();
    config.feed.address = Some("collector.example".to_owned());
    assert!(config.check().is_err(), "no port");
    config.feed.address = Some("collector.example:6514".to_owned());
    assert!(config.check().is_err(), "no roots");
    let pem = std::env::temp_dir().join(format!("custodia-feed-{}.pem", std::process::id()));
    fs::write(&pem, Authority::new("a").pem()).unwrap();
    config.feed.roots = Some(pem.clone());
    assert!(config.check().is_ok());
    config.feed.key = Some(pem.clone());
    assert!(config.check().is_err(), "a key without its certificate");
    fs::remove_file(&pem).unwrap();
}
