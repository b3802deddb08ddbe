//! A store that speaks as much S3 as the follower asks for, checks each request's signature, and fails as it is told.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use ring::{digest, hmac};
use tokio::{net::TcpListener, task::JoinHandle};

pub(super) const BUCKET: &str = "audit-copies";
pub(super) const REGION: &str = "eu-test-1";
pub(super) const KEY_ID: &str = "follower";
pub(super) const SECRET: &str = "not/a+secret";

/// What befalls a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is answered.
    Answered,
    /// It is not done, and says so.
    NotDone,
    /// It is done, and says that it failed.
    DoneButFailed,
    /// It is answered as if it had no conditions, as by a store that does not know them.
    Unconditional,
    /// Before it is looked at, somebody else puts this under its key.
    Overtaken(Vec<u8>),
}

type Fates = Box<dyn FnMut(&str, &str) -> Fate + Send>;

/// What a store holds, and what was asked of it: `PUT key`, in order.
#[derive(Default)]
struct Held {
    objects: BTreeMap<String, (Vec<u8>, u64)>,
    puts: u64,
    asked: Vec<String>,
    unsigned: usize,
    fates: Option<Fates>,
}

/// A store on loopback.
pub(super) struct Store {
    held: Arc<Mutex<Held>>,
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Store {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Store {
    pub(super) async fn start() -> Self {
        let held = Arc::<Mutex<Held>>::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = Arc::clone(&held);
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let held = Arc::clone(&serving);
                let service = service_fn(move |request| {
                    let held = Arc::clone(&held);
                    async move { Ok::<_, Infallible>(answer(&held, request).await) }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service));
            }
        });
        Self { held, address, task }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on, requests (method, key) fare as this says.
    pub(super) fn fates(&self, fates: impl FnMut(&str, &str) -> Fate + Send + 'static) {
        self.held.lock().unwrap().fates = Some(Box::new(fates));
    }

    /// From now on all is well.
    pub(super) fn mend(&self) {
        self.held.lock().unwrap().fates = None;
    }

    pub(super) fn keys(&self) -> Vec<String> {
        self.held.lock().unwrap().objects.keys().cloned().collect()
    }

    pub(super) fn object(&self, key: &str) -> Option<Vec<u8>> {
        self.held.lock().unwrap().objects.get(key).map(|(bytes, _)| bytes.clone())
    }

    /// Puts an object under another key as well.
    pub(super) fn copy(&self, from: &str, to: &str) {
        let bytes = self.object(from).unwrap();
        put(&mut self.held.lock().unwrap(), to.to_owned(), bytes);
    }

    /// What was asked since the last time, and how many requests were not signed with the key.
    pub(super) fn asked(&self) -> (Vec<String>, usize) {
        let mut held = self.held.lock().unwrap();
        (std::mem::take(&mut held.asked), std::mem::take(&mut held.unsigned))
    }
}

fn reply(status: u16, tag: Option<u64>, body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut builder =
        Response::builder().status(status).header("last-modified", "Sat, 21 Nov 2026 10:00:00 GMT");
    if let Some(tag) = tag {
        builder = builder.header("etag", format!("\"{tag}\""));
    }
    builder.body(Full::new(body.into())).unwrap()
}

async fn answer(held: &Mutex<Held>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let mut held = held.lock().unwrap();
    if !is_signed(&head, &body) {
        held.unsigned += 1;
        return reply(403, None, Vec::new());
    }
    let path = head.uri.path().strip_prefix(&format!("/{BUCKET}")).unwrap();
    let (method, key) = (head.method.as_str(), path.trim_start_matches('/').to_owned());
    held.asked.push(format!("{method} {key}"));
    let fate = held.fates.as_mut().map_or(Fate::Answered, |fates| fates(method, &key));
    match &fate {
        Fate::NotDone => return reply(403, None, Vec::new()),
        Fate::Overtaken(bytes) => put(&mut held, key.clone(), bytes.clone()),
        Fate::Answered | Fate::DoneButFailed | Fate::Unconditional => {}
    }
    let header = |name: &str| head.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let there = held.objects.get(&key).map(|(bytes, tag)| (bytes.clone(), *tag));
    let done = match method {
        "GET" if key.is_empty() => reply(200, None, list(&held, head.uri.query().unwrap_or_default())),
        "GET" => match there {
            Some((bytes, tag)) => reply(200, Some(tag), bytes),
            None => reply(404, None, Vec::new()),
        },
        "PUT" => {
            let wanted = header("if-match");
            let tag = there.map(|(_, tag)| format!("\"{tag}\""));
            let is_new = header("if-none-match").is_none() || tag.is_none();
            let fits = is_new && (wanted.is_none() || wanted == tag);
            if !fits && fate != Fate::Unconditional {
                return reply(412, None, Vec::new());
            }
            put(&mut held, key, body.to_vec());
            reply(200, Some(held.puts), Vec::new())
        }
        "DELETE" => {
            held.objects.remove(&key);
            reply(204, None, Vec::new())
        }
        _ => reply(400, None, Vec::new()),
    };
    if fate == Fate::DoneButFailed { reply(403, None, Vec::new()) } else { done }
}

fn put(held: &mut Held, key: String, bytes: Vec<u8>) {
    held.puts += 1;
    let tag = held.puts;
    held.objects.insert(key, (bytes, tag));
}

fn list(held: &Held, query: &str) -> Vec<u8> {
    let prefix = query.split('&').find_map(|pair| pair.strip_prefix("prefix=")).unwrap_or_default();
    let prefix = prefix.replace("%2F", "/");
    let found = held.objects.iter().filter(|(key, _)| key.starts_with(&prefix));
    let found = found.map(|(key, (bytes, tag))| {
        let size = bytes.len();
        format!(
            "<Contents><Key>{key}</Key><LastModified>2026-11-21T10:00:00.000Z</LastModified>\
             <ETag>&quot;{tag}&quot;</ETag><Size>{size}</Size></Contents>"
        )
    });
    let found: String = found.collect();
    format!("<ListBucketResult><IsTruncated>false</IsTruncated>{found}</ListBucketResult>").into_bytes()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sha256(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

/// Whether a request is signed with the key, its body included (AWS Signature Version 4).
fn is_signed(head: &hyper::http::request::Parts, body: &[u8]) -> bool {
    let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    let (Some(given), Some(time), Some(content)) =
        (header("authorization"), header("x-amz-date"), header("x-amz-content-sha256"))
    else {
        return false;
    };
    let part = |name: &str| given.split([' ', ',']).find_map(|part| part.trim().strip_prefix(name));
    let (Some(signed), Some(signature)) = (part("SignedHeaders="), part("Signature=")) else { return false };
    let scope = format!("{}/{REGION}/s3/aws4_request", time.get(..8).unwrap_or_default());
    if part("Credential=") != Some(&format!("{KEY_ID}/{scope}")) || content != sha256(body) {
        return false;
    }
    let headers: String = signed
        .split(';')
        .map(|name| format!("{name}:{}\n", header(name).unwrap_or_default().trim()))
        .collect();
    let mut query: Vec<&str> = head.uri.query().unwrap_or_default().split('&').collect();
    query.sort_unstable();
    let canonical = [head.method.as_str(), head.uri.path(), &query.join("&"), &headers, signed, content];
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", sha256(canonical.join("\n").as_bytes()));
    let key = scope.split('/').fold(format!("AWS4{SECRET}").into_bytes(), |key, part| mac(&key, part));
    hex(&mac(&key, &text)) == signature
}
