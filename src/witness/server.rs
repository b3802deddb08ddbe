//! The witness over HTTP/1.1: `POST /add-checkpoint` and `GET /<origin hash>/checkpoint`.
//!
//! May import the parent module. Plain HTTP on loopback alone: signatures would bear it elsewhere, a name would not.

use std::{convert::Infallible, io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{CACHE_CONTROL, CONTENT_TYPE},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::{ServerConfig, crypto::ring};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::{JoinHandle, JoinSet},
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

use super::{Unsigned, Witness};
use custodia_audit::witness::{REQUEST_BYTES_MAX, Refused, SIZE_TYPE};

/// Connections that are served at once; more wait to be accepted.
const CONNECTIONS_MAX: usize = 256;
/// For the handshake, for each request's headers (waiting for it included), and for its body.
const WITHIN: Duration = Duration::from_secs(20);
/// How long accepting rests after an error that will not go away at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
const TEXT: &str = "text/plain; charset=utf-8";

/// PEM files of a witness that listens beyond loopback.
pub struct TlsFiles {
    /// Its certificate, then its intermediates.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Why a witness does not listen.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be had.
    #[error("{0}")]
    Listen(SocketAddr, #[source] io::Error),
    /// Others can reach the address, and there is no certificate.
    #[error("{0}: plain HTTP is served on loopback alone; give --certificate and --key")]
    Plain(SocketAddr),
    /// A PEM file cannot be read.
    #[error("{}: expected PEM", .0.display())]
    Pem(PathBuf),
    /// Certificate and key do not fit.
    #[error("the certificate and its key")]
    Tls(#[from] rustls::Error),
}

/// A witness that listens; it ends when this is dropped.
pub struct Running {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Running {
    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Listens at `address` (port 0 takes a free one) and answers until [`Running`] is dropped.
///
/// # Errors
/// [`ServeError`].
pub async fn serve(
    witness: Arc<Witness>,
    address: SocketAddr,
    tls: Option<&TlsFiles>,
) -> Result<Running, ServeError> {
    if tls.is_none() && !address.ip().is_loopback() {
        return Err(ServeError::Plain(address));
    }
    let acceptor = tls.map(acceptor).transpose()?;
    let listener = TcpListener::bind(address).await.map_err(|error| ServeError::Listen(address, error))?;
    let address = listener.local_addr().map_err(|error| ServeError::Listen(address, error))?;
    Ok(Running { address, task: tokio::spawn(accept(witness, listener, acceptor)) })
}

fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor, ServeError> {
    let pem = |path: &PathBuf| ServeError::Pem(path.clone());
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect)
        .map_err(|_| pem(&files.certificate))?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|_| pem(&files.key))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn accept(witness: Arc<Witness>, listener: TcpListener, acceptor: Option<TlsAcceptor>) {
    let seats = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    // The semaphore is never closed.
    while let Ok(seat) = Arc::clone(&seats).acquire_owned().await {
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((socket, _)) => {
                connections.spawn(connection(Arc::clone(&witness), socket, acceptor.clone(), seat));
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn connection(
    witness: Arc<Witness>,
    socket: TcpStream,
    acceptor: Option<TlsAcceptor>,
    _seat: OwnedSemaphorePermit,
) {
    match acceptor {
        None => requests(witness, socket).await,
        Some(acceptor) => {
            if let Ok(Ok(stream)) = timeout(WITHIN, acceptor.accept(socket)).await {
                requests(witness, stream).await;
            }
        }
    }
}

async fn requests<S: AsyncRead + AsyncWrite + Unpin>(witness: Arc<Witness>, stream: S) {
    let service = service_fn(move |request| {
        let witness = Arc::clone(&witness);
        async move { Ok::<_, Infallible>(answer(witness, request).await) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(WITHIN).max_headers(64).max_buf_size(16 * 1024);
    // A connection that breaks is the peer's to mend.
    builder.serve_connection(TokioIo::new(stream), service).await.ok();
}

async fn answer(witness: Arc<Witness>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    match (request.method(), path.as_str()) {
        (&Method::POST, "/add-checkpoint") => {
            let body =
                match timeout(WITHIN, Limited::new(request.into_body(), REQUEST_BYTES_MAX).collect()).await {
                    Ok(Ok(body)) => body.to_bytes(),
                    Ok(Err(error)) if error.is::<LengthLimitError>() => return plain(413, "too long\n"),
                    Ok(Err(_)) | Err(_) => return plain(408, "the body did not arrive\n"),
                };
            // Judging waits for the disk: away from the threads that serve.
            let judged = tokio::task::spawn_blocking(move || witness.add_checkpoint(&body)).await;
            judged.map_or_else(|_| plain(500, "it broke\n"), cosigned)
        }
        (&Method::GET, path) => {
            let hash = path.strip_prefix('/').and_then(|path| path.strip_suffix("/checkpoint"));
            match hash.map(|hash| witness.checkpoint(hash)) {
                Some(Ok(Some(note))) => response(200, TEXT, note),
                Some(Err(_)) => plain(500, "the state cannot be read\n"),
                None | Some(Ok(None)) => plain(404, "nothing is here\n"),
            }
        }
        _ => plain(404, "nothing is here\n"),
    }
}

fn cosigned(judged: Result<String, Unsigned>) -> Response<Full<Bytes>> {
    match judged {
        Ok(line) => response(200, TEXT, line.into_bytes()),
        Err(Unsigned::Refused(Refused::Conflict { size })) => {
            response(409, SIZE_TYPE, format!("{size}\n").into_bytes())
        }
        Err(Unsigned::Refused(refused)) => plain(refused.status(), &format!("{refused}\n")),
        Err(Unsigned::State(_)) => plain(500, "the state cannot be kept\n"),
    }
}

fn plain(status: u16, text: &str) -> Response<Full<Bytes>> {
    response(status, TEXT, text.as_bytes().to_vec())
}

fn response(status: u16, media: &'static str, body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(media));
    headers.insert(CACHE_CONTROL, hyper::header::HeaderValue::from_static("no-store"));
    response
}
