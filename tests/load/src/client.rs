//! One HTTP/1.1 connection over TLS to a door of the server. Imports `demo` and `fault`.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use http_body_util::{BodyExt as _, Full};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode, Uri,
    body::{Bytes, Incoming},
    client::conn::http1::{self, SendRequest},
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, ETAG, HOST, HeaderValue, LOCATION},
};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _};
use tokio::{net::TcpStream, task::JoinHandle, time::timeout};
use tokio_rustls::TlsConnector;

use crate::{
    demo::{Identity, loopback},
    fault::Fault,
};

/// How long a connection may take to stand.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// How long one answer may take: longer counts as an error.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// How to reach one door of the server.
pub(crate) struct Door {
    address: SocketAddr,
    name: ServerName<'static>,
    tls: TlsConnector,
    host: HeaderValue,
}

impl Door {
    /// The door at `base`, vouched for by `ca`; with an identity, we show a client certificate.
    pub(crate) fn new(base: &str, ca: &Path, identity: Option<&Identity>) -> Result<Self, Fault> {
        let address = loopback(base)?;
        let mut roots = RootCertStore::empty();
        for certificate in certificates(ca)? {
            roots.add(certificate)?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let key = PrivateKeyDer::from_pem_file(&identity.key).map_err(|_| pem(&identity.key))?;
                builder.with_client_auth_cert(certificates(&identity.certificate)?, key)?
            }
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let host = HeaderValue::from_str(&address.to_string())
            .map_err(|_| Fault::refused("the address is no header value"))?;
        let tls = TlsConnector::from(Arc::new(config));
        Ok(Self { address, name: ServerName::IpAddress(address.ip().into()), tls, host })
    }

    /// Connects, shakes hands, and leaves the connection's own work to a task.
    pub(crate) async fn connect(&self) -> Result<Connection, Fault> {
        let refused = |_| Fault::refused("no connection within its time");
        timeout(CONNECT_WITHIN, self.connect_unbounded()).await.map_err(refused)?
    }

    async fn connect_unbounded(&self) -> Result<Connection, Fault> {
        let io = |source| Fault::Io { what: format!("connect to {}", self.address), source };
        let stream = TcpStream::connect(self.address).await.map_err(io)?;
        stream.set_nodelay(true).map_err(io)?;
        let stream = self.tls.connect(self.name.clone(), stream).await.map_err(io)?;
        let shaken = http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = shaken.map_err(|source| Fault::Http { what: "connect", source })?;
        let driver = tokio::spawn(async move {
            // What breaks a connection shows in the request that was on it.
            drop(connection.await);
        });
        Ok(Connection { sender, driver, host: self.host.clone() })
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    read.map_err(|_| pem(path))
}

fn pem(path: &Path) -> Fault {
    Fault::refused(format!("{}: not a readable PEM file", path.display()))
}

/// What one request is.
pub(crate) struct Call {
    /// GET, POST or PUT.
    pub(crate) method: Method,
    /// Path and query.
    pub(crate) uri: Uri,
    /// What is sent; empty for none.
    pub(crate) body: Bytes,
    /// Of which type that is.
    pub(crate) content: Content,
}

/// The type of a request's body.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// `application/fhir+json`
    Fhir,
    /// `application/x-www-form-urlencoded`
    Form,
}

impl Call {
    /// A GET.
    pub(crate) fn get(uri: Uri) -> Self {
        Self { method: Method::GET, uri, body: Bytes::new(), content: Content::Fhir }
    }

    /// One that carries a resource.
    pub(crate) fn send(method: Method, uri: Uri, resource: String) -> Self {
        Self { method, uri, body: Bytes::from(resource), content: Content::Fhir }
    }

    fn request(self, host: &HeaderValue, bearer: Option<&HeaderValue>) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method;
        *request.uri_mut() = self.uri;
        let headers = request.headers_mut();
        headers.insert(HOST, host.clone());
        headers.insert(ACCEPT, HeaderValue::from_static("application/fhir+json"));
        if let Some(bearer) = bearer {
            headers.insert(AUTHORIZATION, bearer.clone());
        }
        match self.content {
            Content::Form => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
                headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
            }
            Content::Fhir if !self.body.is_empty() => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/fhir+json"));
            }
            Content::Fhir => {}
        }
        request
    }
}

/// Whether an answer's body is wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Its bytes.
    Body,
    /// Only how many there are.
    Length,
}

/// An answer, read to its end.
pub(crate) struct Reply {
    /// The status.
    pub(crate) status: StatusCode,
    /// The headers.
    pub(crate) headers: HeaderMap,
    /// The body, if it was to be kept.
    pub(crate) body: Vec<u8>,
    /// How long the body was.
    pub(crate) length: usize,
}

impl Reply {
    /// The number in `ETag: W/"3"`.
    pub(crate) fn version(&self) -> Option<u32> {
        let tag = self.headers.get(ETAG)?.to_str().ok()?;
        tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"').parse().ok()
    }

    /// Type, id and version of `Location: <base>/Observation/<id>/_history/1`.
    pub(crate) fn location(&self) -> Option<Located> {
        Located::parse(self.headers.get(LOCATION)?.to_str().ok()?)
    }

    /// The index in `Custodia-Receipt: <origin>/<index>`.
    pub(crate) fn receipt(&self) -> Option<u64> {
        receipt(&self.headers)
    }
}

fn receipt(headers: &HeaderMap) -> Option<u64> {
    headers.get("custodia-receipt")?.to_str().ok()?.rsplit_once('/')?.1.parse().ok()
}

/// What a location names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Located {
    /// The resource type.
    pub(crate) kind: String,
    /// The logical id.
    pub(crate) id: String,
    /// The version, when the location names one.
    pub(crate) version: Option<u32>,
}

impl Located {
    /// Reads `[<base>/]<type>/<id>[/_history/<version>]`.
    pub(crate) fn parse(location: &str) -> Option<Self> {
        let (path, version) = match location.split_once("/_history/") {
            Some((path, version)) => (path, Some(version.parse().ok()?)),
            None => (location, None),
        };
        let mut parts = path.rsplit('/');
        let (id, kind) = (parts.next()?, parts.next()?);
        if id.is_empty() || kind.is_empty() {
            return None;
        }
        Some(Self { kind: kind.to_owned(), id: id.to_owned(), version })
    }
}

/// Why there is no whole answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoAnswer {
    /// `connection` or `timeout`.
    pub(crate) why: &'static str,
    /// The receipt, if the head of an answer came.
    pub(crate) receipt: Option<u64>,
}

/// One connection; one request at a time.
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
    host: HeaderValue,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Connection {
    /// Sends and reads the whole answer. After an error the connection is of no more use.
    pub(crate) async fn send(
        &mut self,
        call: Call,
        bearer: Option<&HeaderValue>,
        keep: Keep,
    ) -> Result<Reply, NoAnswer> {
        let request = call.request(&self.host, bearer);
        let mut receipt = None;
        match timeout(ANSWER_WITHIN, self.exchange(request, keep, &mut receipt)).await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(_)) => Err(NoAnswer { why: "connection", receipt }),
            Err(_) => Err(NoAnswer { why: "timeout", receipt }),
        }
    }

    async fn exchange(
        &mut self,
        request: Request<Full<Bytes>>,
        keep: Keep,
        receipt_seen: &mut Option<u64>,
    ) -> Result<Reply, hyper::Error> {
        self.sender.ready().await?;
        let response: Response<Incoming> = self.sender.send_request(request).await?;
        let (head, mut incoming) = response.into_parts();
        *receipt_seen = receipt(&head.headers);
        let mut reply = Reply { status: head.status, headers: head.headers, body: Vec::new(), length: 0 };
        while let Some(frame) = incoming.frame().await {
            if let Some(bytes) = frame?.data_ref() {
                reply.length += bytes.len();
                if keep == Keep::Body {
                    reply.body.extend_from_slice(bytes);
                }
            }
        }
        Ok(reply)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_read_with_and_without_base_and_version() {
        let located =
            |version| Some(Located { kind: "Observation".to_owned(), id: "a-1".to_owned(), version });
        for (text, wanted) in [
            ("Observation/a-1", located(None)),
            ("Observation/a-1/_history/3", located(Some(3))),
            ("https://127.0.0.1:8443/fhir/Observation/a-1/_history/12", located(Some(12))),
            ("Observation/a-1/_history/x", None),
            ("Observation", None),
            ("Observation/", None),
        ] {
            assert_eq!(Located::parse(text), wanted, "{text}");
        }
    }

    #[test]
    fn receipts_and_versions_are_read_from_headers() {
        let mut headers = HeaderMap::new();
        headers.insert("custodia-receipt", HeaderValue::from_static("clinic.example/log/1234"));
        headers.insert(ETAG, HeaderValue::from_static("W/\"7\""));
        let reply = Reply { status: StatusCode::OK, headers, body: Vec::new(), length: 0 };
        assert_eq!((reply.receipt(), reply.version()), (Some(1_234), Some(7)));
    }
}
