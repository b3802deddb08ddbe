//! A client of the server: HTTPS as anybody speaks it, and nothing of the server's own code.

#![expect(clippy::expect_used, reason = "a test that cannot speak to its server has failed")]

use std::net::SocketAddr;

use reqwest::{Certificate, Method, header::HeaderMap};
use serde_json::Value;

use crate::authority::{Authority, Identity};

/// Root of the server's URLs, as its links spell it.
pub const ROOT: &str = "https://records.test";
/// FHIR's media type.
pub const FHIR: &str = "application/fhir+json";
/// The media type of a form.
pub const FORM: &str = "application/x-www-form-urlencoded";

/// Somebody at a door.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    bearer: Option<String>,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Status.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Vec<u8>,
}

impl Client {
    /// A client of the door at `address`, which trusts `authority` and shows `identity`.
    #[must_use]
    pub fn new(address: SocketAddr, authority: &Authority, identity: Option<&Identity>) -> Self {
        let root = Certificate::from_pem(authority.pem().as_bytes()).expect("the authority's PEM is read");
        let mut builder =
            reqwest::Client::builder().no_proxy().tls_certs_only([root]).resolve("records.test", address);
        if let Some(identity) = identity {
            let pem = format!("{}{}", identity.certificate, identity.key);
            let identity = reqwest::Identity::from_pem(pem.as_bytes()).expect("the identity's PEM is read");
            builder = builder.identity(identity);
        }
        Self { http: builder.build().expect("a client is made"), bearer: None }
    }

    /// The same client with an access token.
    #[must_use]
    pub fn bearing(&self, token: &str) -> Self {
        Self { http: self.http.clone(), bearer: Some(token.to_owned()) }
    }

    /// Any request. `path` begins with `/`, or is a link of the server's.
    ///
    /// FHIR's media type is sent with a body and asked for unless `headers` say otherwise.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> Reply {
        let url = if path.starts_with('/') { format!("{ROOT}{path}") } else { path.to_owned() };
        let body: Vec<u8> = body.into();
        let named = |name: &str| headers.iter().any(|(given, _)| given.eq_ignore_ascii_case(name));
        let mut request = self.http.request(method, url);
        if !named("accept") {
            request = request.header("accept", FHIR);
        }
        if !body.is_empty() && !named("content-type") {
            request = request.header("content-type", FHIR);
        }
        if let Some(bearer) = &self.bearer
            && !named("authorization")
        {
            request = request.header("authorization", format!("Bearer {bearer}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.body(body).send().await.expect("the server answers");
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = answer.bytes().await.expect("the answer is whole").to_vec();
        Reply { status, headers, body }
    }

    /// GET.
    pub async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, &[], "").await
    }

    /// GET with headers.
    pub async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        self.send(Method::GET, path, headers, "").await
    }

    /// POST of a resource.
    pub async fn post(&self, path: &str, resource: &Value) -> Reply {
        self.send(Method::POST, path, &[], resource.to_string()).await
    }

    /// PUT of a resource.
    pub async fn put(&self, path: &str, resource: &Value) -> Reply {
        self.send(Method::PUT, path, &[], resource.to_string()).await
    }

    /// PUT of a resource with headers.
    pub async fn put_with(&self, path: &str, headers: &[(&str, &str)], resource: &Value) -> Reply {
        self.send(Method::PUT, path, headers, resource.to_string()).await
    }

    /// DELETE.
    pub async fn delete(&self, path: &str) -> Reply {
        self.send(Method::DELETE, path, &[], "").await
    }

    /// POST of a form.
    pub async fn form(&self, path: &str, form: &str) -> Reply {
        self.send(Method::POST, path, &[("content-type", FORM)], form).await
    }
}

impl Reply {
    /// A header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("headers are ASCII"))
    }

    /// The body as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the body is JSON")
    }

    /// The body as text, lossily.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Index of the entry that the receipt names.
    #[must_use]
    pub fn receipt(&self) -> Option<u64> {
        let (_, index) = self.header("custodia-receipt")?.rsplit_once('/')?;
        index.parse().ok()
    }

    /// The same reply, if it has this status.
    ///
    /// # Panics
    /// If it has another, with what it says.
    #[must_use]
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }

    /// The logical id of the resource in the body.
    #[must_use]
    pub fn id(&self) -> String {
        self.json().get("id").and_then(Value::as_str).expect("the resource has an id").to_owned()
    }

    /// Code of the first issue of an OperationOutcome.
    #[must_use]
    pub fn issue(&self) -> String {
        let code = self.json().pointer("/issue/0/code").and_then(Value::as_str).map(str::to_owned);
        code.expect("the body is an OperationOutcome")
    }
}
