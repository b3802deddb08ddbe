//! One HTTP/1.1 exchange, written and read byte by byte: what no client library would send.

use std::{sync::Arc, time::Duration};

use custodia_support::server::TestServer;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// No exchange takes longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// An answer as it was read.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Heard {
    /// A header, by its name in lower case.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// A connection to the portal.
pub(super) struct Wire(TlsStream<TcpStream>);

impl Wire {
    pub(super) async fn connect(server: &TestServer) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(server.authority().pem().as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let socket = TcpStream::connect(server.portal()).await.unwrap();
        let name = ServerName::try_from("records.test").unwrap();
        Self(TlsConnector::from(Arc::new(config)).connect(name, socket).await.unwrap())
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) {
        // The server may have hung up before it read everything; what it said is still there.
        self.0.write_all(bytes).await.ok();
        self.0.flush().await.ok();
    }

    /// The answer; `None` when the connection was closed without one. `bodiless` after a HEAD.
    pub(super) async fn hear(&mut self, bodiless: bool) -> Option<Heard> {
        timeout(PATIENCE, self.read(bodiless)).await.expect("an answer comes in time")
    }

    async fn read(&mut self, bodiless: bool) -> Option<Heard> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.0.read_u8().await.ok()?);
        }
        let head = String::from_utf8_lossy(&head).to_lowercase();
        let status: u16 = head.get(9..12)?.parse().ok()?;
        let mut heard = Heard { status, head, body: Vec::new() };
        let length = heard.header("content-length").map_or(0, |text| text.trim().parse().unwrap());
        if !bodiless && !matches!(status, 204 | 304) {
            heard.body = vec![0; length];
            self.0.read_exact(&mut heard.body).await.ok()?;
        }
        Some(heard)
    }
}
