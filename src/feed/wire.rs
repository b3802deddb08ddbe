//! One TLS connection to the collector: frames out, and the orderly end as acknowledgement (RFC 5425 §4.4).

use std::{io, sync::Arc, time::Duration};

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::config::{FeedConfig, Taken};

/// How long a connection and its handshake may take.
const CONNECT: Duration = Duration::from_secs(10);
/// How long the collector may take nothing.
const STALL: Duration = Duration::from_secs(30);
/// The most a collector may say before it ends the stream; it has nothing to say.
const SAID_BYTES_MAX: usize = 65_536;

/// Why the collector did not take everything.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The address is no `host:port`.
    #[error("feed.address is no host:port")]
    Address,
    /// A certificate or key cannot be read.
    #[error("the feed's certificates cannot be read")]
    Pem(#[source] rustls_pki_types::pem::Error),
    /// A certificate or key cannot be used.
    #[error("the feed's certificates cannot be used")]
    Tls(#[from] rustls::Error),
    /// The connection failed.
    #[error("the connection failed")]
    Io(#[from] io::Error),
    /// It took too long.
    #[error("the collector did not answer in time")]
    Stalled,
}

/// The way to the collector.
pub(super) struct Wire {
    address: String,
    name: ServerName<'static>,
    connector: TlsConnector,
    taken: Taken,
}

impl Wire {
    /// Reads what the connection is made with.
    ///
    /// # Errors
    /// [`WireError`] when a file or the address is not what it should be.
    pub(super) fn new(address: &str, config: &FeedConfig) -> Result<Self, WireError> {
        let (host, _) = address.rsplit_once(':').ok_or(WireError::Address)?;
        let host = config.server_name.as_deref().unwrap_or_else(|| host.trim_matches(['[', ']']));
        let name = ServerName::try_from(host.to_owned()).map_err(|_| WireError::Address)?;
        let mut roots = RootCertStore::empty();
        if let Some(path) = &config.roots {
            for certificate in CertificateDer::pem_file_iter(path).map_err(WireError::Pem)? {
                roots.add(certificate.map_err(WireError::Pem)?)?;
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let tls = match (&config.certificate, &config.key) {
            (Some(certificate), Some(key)) => {
                let chain = CertificateDer::pem_file_iter(certificate).map_err(WireError::Pem)?;
                let chain = chain.collect::<Result<Vec<_>, _>>().map_err(WireError::Pem)?;
                let key = PrivateKeyDer::from_pem_file(key).map_err(WireError::Pem)?;
                builder.with_client_auth_cert(chain, key)?
            }
            _ => builder.with_no_client_auth(),
        };
        let connector = TlsConnector::from(Arc::new(tls));
        Ok(Self { address: address.to_owned(), name, connector, taken: config.taken })
    }

    /// A new connection.
    ///
    /// # Errors
    /// [`WireError`] when nobody answers there, or somebody else does.
    pub(super) async fn connect(&self) -> Result<Connection, WireError> {
        let connected = timeout(CONNECT, async {
            let tcp = TcpStream::connect(&self.address).await?;
            self.connector.connect(self.name.clone(), tcp).await
        });
        let stream = connected.await.map_err(|_| WireError::Stalled)??;
        Ok(Connection { stream, taken: self.taken })
    }
}

/// A connection that is open.
pub(super) struct Connection {
    stream: TlsStream<TcpStream>,
    taken: Taken,
}

impl Connection {
    /// Sends bytes.
    ///
    /// # Errors
    /// [`WireError`] when the collector is gone or takes nothing.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> Result<(), WireError> {
        let sent = timeout(STALL, async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        });
        Ok(sent.await.map_err(|_| WireError::Stalled)??)
    }

    /// Says that this was all, and waits until the collector has read it and says so too.
    ///
    /// A process that is killed ends its TCP stream too: only its `close_notify` tells that it meant to.
    ///
    /// # Errors
    /// [`WireError`] when the end does not come, or not in order.
    pub(super) async fn close(mut self) -> Result<(), WireError> {
        let ended = timeout(STALL, async {
            self.stream.shutdown().await?;
            let mut said = 0;
            let mut buffer = [0_u8; 1_024];
            loop {
                match self.stream.read(&mut buffer).await {
                    Ok(0) => return Ok(()),
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                        return if self.taken == Taken::EndOfStream { Ok(()) } else { Err(error) };
                    }
                    Err(error) => return Err(error),
                    Ok(count) => said += count,
                }
                if said > SAID_BYTES_MAX {
                    return Err(io::ErrorKind::InvalidData.into());
                }
            }
        });
        Ok(ended.await.map_err(|_| WireError::Stalled)??)
    }
}
