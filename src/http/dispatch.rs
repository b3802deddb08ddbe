//! The way from the edge into Rocket.
//!
//! May import `refusal` and `http::edge`. Rocket's own listener is not used: a request enters through
//! `rocket::local`, which runs the same fairings, router and catchers. Every request goes in, also one that cannot be
//! read: it arrives at [`FAULT_URI`] with an [`EdgeFault`], so that what answers it also records it.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use hyper::{
    HeaderMap, Response, StatusCode, Version,
    body::Bytes,
    header::{self, HeaderName, HeaderValue},
    http::request::Parts,
};
use rocket::{
    Request,
    config::{Ident, LogLevel, Shutdown},
    data::{Limits, ToByteUnit},
    form::Form,
    http::{
        Cookie, Header, Method,
        uri::{Host, Origin},
    },
    local::asynchronous::{Client, LocalRequest, LocalResponse},
};
use tokio::{
    io::AsyncReadExt,
    sync::{Semaphore, mpsc, oneshot},
};

use super::edge::{
    ClientCertificate, Door,
    body::{Collected, EdgeBody},
    headers,
};
use crate::{fhir::outcome::IssueCode, refusal::Refusal};

/// Where a request that cannot be read arrives. Nothing may be mounted there: the catchers answer it.
pub const FAULT_URI: &str = "/.fault";

/// Requests inside Rocket at once; further ones wait at the edge.
pub const DISPATCHES_MAX: u32 = 4096;

/// The largest answer that is handed over in one piece; a larger one, or one of unknown size, is streamed.
const WHOLE_BYTES_MAX: usize = 256 * 1024;

/// The pieces a streamed answer is cut into.
const PIECE_BYTES: usize = 64 * 1024;

/// Pieces of one answer that may wait for the peer.
const PIECES_WAITING_MAX: usize = 2;

/// How long a streamed answer waits for its peer to take a piece.
const PIECE_WAIT: Duration = Duration::from_secs(30);

/// What the edge knows of a request that its headers do not say.
#[derive(Clone, Debug)]
pub struct EdgeFacts {
    /// The door it came through.
    pub door: Door,
    /// The other end of the TCP connection.
    pub peer: SocketAddr,
    /// The client certificate, at the partner door.
    pub certificate: Option<Arc<ClientCertificate>>,
    /// Why the request must be refused. It then came to [`FAULT_URI`] as a GET, with its headers and without its
    /// body.
    pub fault: Option<EdgeFault>,
}

impl EdgeFacts {
    /// The facts of this request; `None` when it did not come through the edge.
    #[must_use]
    pub fn of<'r>(request: &'r Request<'_>) -> Option<&'r Self> {
        request.local_cache(|| None::<Self>).as_ref()
    }
}

/// Why the edge itself wants a request refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EdgeFault {
    /// The body is over its bound.
    TooLarge,
    /// The body did not arrive in time.
    TimedOut,
    /// The body broke off or is framed wrongly.
    BadBody,
    /// All bodies together are over their bound.
    Overloaded,
    /// Not a path in origin form, or with characters a path may not have.
    BadUri,
    /// A method nobody serves.
    BadMethod,
    /// A header value that is not UTF-8, no or two Hosts, or a header twice that may come once.
    BadHeader,
    /// More headers than allowed.
    TooManyHeaders,
    /// A form whose first field is `_method`, which Rocket would take for another method.
    MethodOverride,
    /// The client certificate's time is over, or has not come.
    CertificateExpired,
    /// The client certificate was revoked, or its revocation can no longer be told.
    CertificateRevoked,
    /// The client certificate no longer leads to a root of ours.
    CertificateUntrusted,
    /// The first try to answer failed inside.
    Failed,
}

impl EdgeFault {
    /// What the caller is to be told.
    #[must_use]
    pub fn refusal(self) -> Refusal {
        match self {
            Self::TooLarge | Self::TooManyHeaders => Refusal::TooLarge,
            Self::TimedOut => Refusal::TimedOut,
            Self::Overloaded => Refusal::Throttled,
            Self::BadMethod => Refusal::MethodNotAllowed,
            Self::BadBody => {
                Refusal::malformed(IssueCode::Structure, "The body broke off or is framed wrongly.")
            }
            Self::BadUri => Refusal::malformed(
                IssueCode::Structure,
                "The request target is not a path and query in origin form (RFC 9112 §3.2.1).",
            ),
            Self::BadHeader => Refusal::malformed(
                IssueCode::Structure,
                "A header is not UTF-8, or Host, Authorization or Content-Type does not come exactly once.",
            ),
            Self::MethodOverride => Refusal::malformed(
                IssueCode::NotSupported,
                "A form field named _method is not accepted. Send the method itself.",
            ),
            Self::CertificateExpired => {
                Refusal::Unauthenticated("The client certificate is not valid today.")
            }
            Self::CertificateRevoked => Refusal::Unauthenticated("The client certificate was revoked."),
            Self::CertificateUntrusted => {
                Refusal::Unauthenticated("The client certificate does not lead to a trusted root.")
            }
            Self::Failed => Refusal::Internal,
        }
    }
}

/// Rocket's configuration behind the edge: silent, without a listener's manners, and with bounds that the edge has
/// already enforced.
#[must_use]
pub fn rocket_config() -> rocket::Config {
    let bound = 16.mebibytes();
    let limits = ["bytes", "data-form", "file", "form", "json", "msgpack", "string"]
        .into_iter()
        .fold(Limits::new(), |limits, name| limits.limit(name, bound));
    rocket::Config {
        // Rocket's log prints request URIs, at every level but off.
        log_level: LogLevel::Off,
        cli_colors: false,
        // X-Real-IP would let anyone choose the address that the log keeps.
        ip_header: None,
        ident: Ident::none(),
        limits,
        shutdown: Shutdown { ctrlc: false, signals: std::collections::HashSet::new(), ..Shutdown::default() },
        ..rocket::Config::release_default()
    }
}

/// Puts requests into one Rocket.
#[derive(Clone)]
pub struct Dispatcher {
    client: Arc<Client>,
    places: Arc<Semaphore>,
}

/// One request, ready to be put into Rocket.
pub(super) struct Entering {
    pub(super) parts: Arc<Parts>,
    pub(super) body: Collected,
    pub(super) facts: EdgeFacts,
}

impl Dispatcher {
    /// Ignites Rocket, without its listener.
    ///
    /// # Errors
    /// What Rocket has against its configuration, routes or fairings.
    pub async fn new(rocket: rocket::Rocket<rocket::Build>) -> Result<Self, Box<rocket::Error>> {
        let client = Client::untracked(rocket).await.map_err(Box::new)?;
        let places = Arc::new(Semaphore::new(usize::try_from(DISPATCHES_MAX).unwrap_or(usize::MAX)));
        Ok(Self { client: Arc::new(client), places })
    }

    /// The answer to one request; `None` when it panicked outside of any handler.
    ///
    /// The request runs in its own task: a peer that hangs up cancels nothing.
    pub(super) async fn dispatch(&self, entering: Entering) -> Option<Response<EdgeBody>> {
        let place = Arc::clone(&self.places).acquire_owned().await.ok()?;
        let client = Arc::clone(&self.client);
        let (head, answer) = oneshot::channel();
        tokio::spawn(async move {
            enter(&client, entering, head).await;
            drop(place);
        });
        answer.await.ok()
    }

    /// Waits until no request is inside Rocket; afterwards none enters.
    pub(super) async fn settle(&self) {
        if let Ok(places) = self.places.acquire_many(DISPATCHES_MAX).await {
            places.forget();
        }
        self.places.close();
    }
}

/// Runs one request and sends its answer back, head first.
async fn enter(client: &Client, entering: Entering, head: oneshot::Sender<Response<EdgeBody>>) {
    let Entering { parts, body, mut facts } = entering;
    let method = method(&parts);
    let mut request = match readable(&parts, method, &body.bytes, facts.fault) {
        Ok((method, uri)) => client.req(method, uri),
        Err(fault) => {
            facts.fault = Some(fault);
            client.req(Method::Get, FAULT_URI)
        }
    };
    furnish(&mut request, &parts, facts.peer);
    for value in parts.headers.get_all(header::COOKIE) {
        request = request.cookies(cookies(value));
    }
    if facts.fault.is_none() && !body.bytes.is_empty() {
        request.set_body(&body.bytes);
    }
    request.local_cache(|| Some(facts));
    // The share of the pool stays with `body` until the answer is out; Rocket's copy lives as long.
    let response = request.dispatch().await;
    answer(response, head).await;
    drop(body);
}

/// The method and target as Rocket will read them, or why it could not.
fn readable<'p>(
    parts: &'p Parts,
    method: Option<Method>,
    body: &[u8],
    fault: Option<EdgeFault>,
) -> Result<(Method, Origin<'p>), EdgeFault> {
    if let Some(fault) = fault {
        return Err(fault);
    }
    let method = method.ok_or(EdgeFault::BadMethod)?;
    let http1 = parts.version < Version::HTTP_2;
    if http1 && (parts.uri.scheme().is_some() || parts.uri.authority().is_some()) {
        return Err(EdgeFault::BadUri);
    }
    let target = parts.uri.path_and_query().ok_or(EdgeFault::BadUri)?.as_str();
    let uri = Origin::parse(target).map_err(|_| EdgeFault::BadUri)?;
    headers::check(&parts.headers, parts.version)?;
    if overrides_method(body) {
        return Err(EdgeFault::MethodOverride);
    }
    Ok((method, uri))
}

/// The methods Rocket routes. TRACE echoes and CONNECT tunnels; neither has a place here.
fn method(parts: &Parts) -> Option<Method> {
    match parts.method.as_str() {
        "GET" => Some(Method::Get),
        "HEAD" => Some(Method::Head),
        "POST" => Some(Method::Post),
        "PUT" => Some(Method::Put),
        "PATCH" => Some(Method::Patch),
        "DELETE" => Some(Method::Delete),
        "OPTIONS" => Some(Method::Options),
        _ => None,
    }
}

/// Whether Rocket, given this body as a form, would change the request's method.
///
/// INVARIANT: Rocket looks at the first 14 bytes of a form; the same parser is asked here about more of them and
/// whatever the content type (a_form_cannot_change_the_method).
fn overrides_method(body: &[u8]) -> bool {
    let start = String::from_utf8_lossy(body.get(..64).unwrap_or(body));
    Form::values(&start).next().is_some_and(|field| field.name == "_method")
}

/// Headers, host and remote address.
fn furnish<'r>(request: &mut LocalRequest<'r>, parts: &'r Parts, peer: SocketAddr) {
    request.set_remote(peer);
    let authority = parts.uri.authority().map(|authority| authority.as_str());
    let host = authority.or_else(|| parts.headers.get(header::HOST)?.to_str().ok());
    let inner = request.inner_mut();
    if let Some(host) = host.and_then(|host| Host::parse(host).ok()) {
        inner.set_host(host);
    }
    if let Some(authority) = authority {
        inner.add_header(Header::new("host", authority));
    }
    for (name, value) in &parts.headers {
        if headers::is_stripped(name) || (name == header::HOST && authority.is_some()) {
            continue;
        }
        let Ok(value) = std::str::from_utf8(value.as_bytes()) else { continue };
        inner.add_header(Header::new(name.as_str(), value));
    }
}

/// Rocket's local requests do not read the Cookie header themselves.
fn cookies(value: &HeaderValue) -> impl Iterator<Item = Cookie<'_>> {
    let pairs = std::str::from_utf8(value.as_bytes()).unwrap_or_default().split(';');
    pairs.filter_map(|pair| Cookie::parse_encoded(pair.trim()).ok())
}

/// Sends one answer: whole when it is small, in pieces as the peer takes them otherwise.
async fn answer(mut response: LocalResponse<'_>, head: oneshot::Sender<Response<EdgeBody>>) {
    let size = response.body().preset_size();
    let empty = response.body().is_none();
    let mut answer = Response::new(EdgeBody::empty());
    *answer.status_mut() =
        StatusCode::from_u16(response.status().code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    copy_headers(&response, answer.headers_mut());
    if let Some(size) = size.filter(|_| length_is_told(answer.status())) {
        answer.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(size));
    }
    if empty || size.is_some_and(|size| size <= WHOLE_BYTES_MAX) {
        let mut bytes = Vec::with_capacity(size.unwrap_or(0));
        // A body that cannot be read is no answer; the sender is dropped and the edge asks again.
        if response.read_to_end(&mut bytes).await.is_ok() {
            *answer.body_mut() = EdgeBody::whole(Bytes::from(bytes));
            drop(head.send(answer));
        }
        return;
    }
    let (pieces, receiver) = mpsc::channel(PIECES_WAITING_MAX);
    *answer.body_mut() = EdgeBody::stream(receiver);
    if head.send(answer).is_ok() {
        stream(response, &pieces).await;
    }
}

async fn stream(mut response: LocalResponse<'_>, pieces: &mpsc::Sender<io::Result<Bytes>>) {
    loop {
        let mut piece = Vec::with_capacity(PIECE_BYTES);
        let read = response.read_buf(&mut piece).await;
        let last = !matches!(read, Ok(1..));
        let item = match read {
            Ok(0) => return,
            Ok(_) => Ok(Bytes::from(piece)),
            // The connection breaks, so that a cut answer is not taken for a whole one.
            Err(error) => Err(io::Error::from(error.kind())),
        };
        if pieces.send_timeout(item, PIECE_WAIT).await.is_err() || last {
            return;
        }
    }
}

/// 1xx, 204 and 304 carry no length of their own (RFC 9110 §8.6).
fn length_is_told(status: StatusCode) -> bool {
    !(status.is_informational() || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED)
}

fn copy_headers(response: &LocalResponse<'_>, headers: &mut HeaderMap) {
    for one in response.headers().iter() {
        let Ok(name) = HeaderName::from_bytes(one.name().as_str().as_bytes()) else { continue };
        if headers::is_withheld(&name) {
            continue;
        }
        if let Ok(value) = HeaderValue::from_str(one.value()) {
            headers.append(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::overrides_method;

    #[test]
    fn rockets_own_reading_of_a_form_decides_what_overrides_the_method() {
        for form in ["_method=delete", "_method=PUT&a=b", "&&_method=put", "[_method]=put", "_method"] {
            assert!(overrides_method(form.as_bytes()), "{form}");
        }
        for form in ["", "a=b", "code_challenge_method=S256", "grant_type=x&_method=put", "{\"_method\":1}"] {
            assert!(!overrides_method(form.as_bytes()), "{form}");
        }
    }
}
