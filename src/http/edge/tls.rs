//! Certificates: read from files, replaced while serving, checked again while a connection lives.
//!
//! May import `clock`. A broken file never replaces what works.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use rustls::{
    RootCertStore, ServerConfig, SupportedProtocolVersion,
    crypto::{CryptoProvider, ring},
    server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
    time_provider::TimeProvider,
    version::{TLS12, TLS13},
};
use rustls_pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer, UnixTime, pem::PemObject,
};
use tokio_rustls::TlsAcceptor;

use super::config::{ClientFiles, ServerFiles, StaleCrls, TlsVersion};
use crate::clock::Clock;

/// The largest certificate, key or revocation list file that is read.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Why a door's certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{path}: cannot be read")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// A file is larger than 64 MiB.
    #[error("{0}: larger than 64 MiB")]
    TooLarge(PathBuf),
    /// A file is not the PEM it should be.
    #[error("{path}: expected PEM with {expected}")]
    NotPem {
        /// Which file.
        path: PathBuf,
        /// What should stand in it.
        expected: &'static str,
    },
    /// The certificate and its key do not fit, or a root is not a certificate.
    #[error("the certificates do not hold together")]
    Tls(#[from] rustls::Error),
    /// The roots or the revocation lists make no verifier.
    #[error("the roots or revocation lists cannot be used")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// The certificates of one door, as they are now.
pub(super) struct DoorTls {
    server: ServerFiles,
    clients: Option<ClientFiles>,
    clock: Clock,
    generations: AtomicU64,
    loaded: ArcSwap<Loaded>,
}

/// One consistent reading of a door's files.
pub(super) struct Loaded {
    /// Counts readings; a connection that was checked against another one is checked again.
    pub(super) generation: u64,
    pub(super) acceptor: TlsAcceptor,
    pub(super) verifier: Option<Arc<dyn ClientCertVerifier>>,
}

/// When and how large the files were, to see that they changed.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Stamps(Vec<Option<(SystemTime, u64)>>);

impl DoorTls {
    pub(super) fn load(
        server: ServerFiles,
        clients: Option<ClientFiles>,
        clock: Clock,
    ) -> Result<Self, TlsError> {
        let loaded = ArcSwap::from_pointee(read(&server, clients.as_ref(), &clock, 0)?);
        Ok(Self { server, clients, clock, generations: AtomicU64::new(1), loaded })
    }

    pub(super) fn current(&self) -> Arc<Loaded> {
        self.loaded.load_full()
    }

    /// The generation in force, without taking a share in it.
    pub(super) fn generation(&self) -> u64 {
        self.loaded.load().generation
    }

    /// Reads the files again. On an error, what was read before stays in force.
    pub(super) fn reload(&self) -> Result<(), TlsError> {
        let generation = self.generations.fetch_add(1, Ordering::SeqCst);
        let loaded = read(&self.server, self.clients.as_ref(), &self.clock, generation)?;
        self.loaded.store(Arc::new(loaded));
        Ok(())
    }

    pub(super) fn stamps(&self) -> Stamps {
        let mut paths = vec![&self.server.certificates, &self.server.key];
        if let Some(clients) = &self.clients {
            paths.push(&clients.roots);
            paths.extend(&clients.crls);
        }
        let stamp = |path: &PathBuf| {
            let metadata = fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        };
        Stamps(paths.into_iter().map(stamp).collect())
    }

    pub(super) fn now(&self) -> UnixTime {
        unix_time(&self.clock)
    }
}

fn read(
    server: &ServerFiles,
    clients: Option<&ClientFiles>,
    clock: &Clock,
    generation: u64,
) -> Result<Loaded, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let chain = certificates(&server.certificates, "certificates")?;
    let key = PrivateKeyDer::from_pem_slice(&bytes(&server.key)?)
        .map_err(|_| TlsError::NotPem { path: server.key.clone(), expected: "a private key" })?;
    let verifier = clients.map(|clients| verifier(clients, Arc::clone(&provider))).transpose()?;
    let versions: &[&SupportedProtocolVersion] = match server.oldest {
        TlsVersion::Tls12 => &[&TLS13, &TLS12],
        TlsVersion::Tls13 => &[&TLS13],
    };
    let builder = ServerConfig::builder_with_details(provider, Arc::new(HouseTime(clock.clone())))
        .with_protocol_versions(versions)?;
    let builder = match &verifier {
        Some(verifier) => builder.with_client_cert_verifier(Arc::clone(verifier)),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, key)?;
    // INVARIANT: a session is never resumed, because a resumed handshake shows no certificate, and a revoked one
    // would live on in its ticket (no_session_can_be_resumed).
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Loaded { generation, acceptor: TlsAcceptor::from(Arc::new(config)), verifier })
}

fn verifier(
    clients: &ClientFiles,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    for root in certificates(&clients.roots, "root certificates")? {
        roots.add(root)?;
    }
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    if !clients.crls.is_empty() {
        let mut lists = Vec::new();
        for path in &clients.crls {
            let pem = bytes(path)?;
            let read: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&pem).collect();
            let read = non_empty(path, "revocation lists", read.ok())?;
            lists.extend(read);
        }
        builder = builder.with_crls(lists);
        if clients.stale_crls == StaleCrls::Refuse {
            builder = builder.enforce_revocation_expiration();
        }
    }
    Ok(builder.build()?)
}

fn certificates(path: &Path, expected: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = bytes(path)?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    non_empty(path, expected, read.ok())
}

fn non_empty<T>(path: &Path, expected: &'static str, read: Option<Vec<T>>) -> Result<Vec<T>, TlsError> {
    read.filter(|items| !items.is_empty()).ok_or_else(|| TlsError::NotPem { path: path.to_owned(), expected })
}

fn bytes(path: &Path) -> Result<Vec<u8>, TlsError> {
    let unreadable = |source| TlsError::Unreadable { path: path.to_owned(), source };
    if fs::metadata(path).map_err(unreadable)?.len() > FILE_BYTES_MAX {
        return Err(TlsError::TooLarge(path.to_owned()));
    }
    fs::read(path).map_err(unreadable)
}

fn unix_time(clock: &Clock) -> UnixTime {
    let seconds = u64::try_from(clock.now().timestamp()).unwrap_or(0);
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}

/// The house's clock, in the form rustls asks for.
struct HouseTime(Clock);

impl TimeProvider for HouseTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(unix_time(&self.0))
    }
}

impl std::fmt::Debug for HouseTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HouseTime")
    }
}
