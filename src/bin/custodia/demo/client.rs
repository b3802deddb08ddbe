//! The demo's HTTPS client: it trusts the demo's authority alone and speaks to this machine alone.

use std::time::Duration;

use reqwest::{Method, header};
use serde_json::Value;

use super::home::{Files, Home, HomeError};

/// The largest chart is a few hundred records.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why a question got no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// No connection, or one that broke.
    #[error("no answer from the server")]
    Http(#[from] reqwest::Error),
    /// A file of the demo's.
    #[error("a file of the demo")]
    Home(#[from] HomeError),
    /// Nobody could sign in.
    #[error("{who} could not sign in: {status}")]
    SignIn {
        /// Who.
        who: String,
        /// What the server answered.
        status: u16,
    },
    /// A certificate in the demo's folder.
    #[error("ca.pem in the demo's folder is not a certificate")]
    Ca,
}

/// Somebody who asks: at the portal with a token, or at the partners' door with a certificate.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
}

/// What the server answered.
pub(crate) struct Reply {
    /// The HTTP status.
    pub(crate) status: u16,
    /// Where the entry of this access stands in the log.
    pub(crate) receipt: Option<u64>,
    /// The body.
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// The body as JSON; null when it is none.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

impl Client {
    /// Somebody without credentials.
    pub(crate) fn nobody(home: &Home, base: &str) -> Result<Self, ClientError> {
        Self::new(home, base, None)
    }

    /// A partner, by its certificate.
    pub(crate) fn partner(home: &Home, base: &str, files: &Files) -> Result<Self, ClientError> {
        let pem = [Home::read(&files.certificate)?, Home::read(&files.key)?].concat();
        Self::new(home, base, Some(reqwest::Identity::from_pem(&pem)?))
    }

    fn new(home: &Home, base: &str, identity: Option<reqwest::Identity>) -> Result<Self, ClientError> {
        let ca = reqwest::Certificate::from_pem(&Home::read(&home.ca())?).map_err(|_| ClientError::Ca)?;
        let builder = reqwest::Client::builder()
            .tls_certs_only([ca])
            .https_only(true)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(PATIENCE);
        let builder = match identity {
            Some(identity) => builder.identity(identity),
            None => builder,
        };
        Ok(Self { http: builder.build()?, base: base.to_owned(), token: None })
    }

    /// The same client, signed in. Names and passwords of the demo need no escaping in a form.
    pub(crate) async fn sign_in(&self, name: &str, password: &str) -> Result<Self, ClientError> {
        let form = format!("grant_type=password&username={name}&password={password}");
        let reply = self
            .http
            .post(format!("{}/auth/token", self.base))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form)
            .send()
            .await?;
        let reply = read(reply).await?;
        match reply.json().get("access_token").and_then(Value::as_str) {
            Some(token) => Ok(Self { token: Some(token.to_owned()), ..self.clone() }),
            None => Err(ClientError::SignIn { who: name.to_owned(), status: reply.status }),
        }
    }

    /// `GET`.
    pub(crate) async fn get(&self, path: &str) -> Result<Reply, ClientError> {
        self.send(Method::GET, path, None).await
    }

    /// `POST` of a resource.
    pub(crate) async fn post(&self, path: &str, body: Vec<u8>) -> Result<Reply, ClientError> {
        self.send(Method::POST, path, Some(body)).await
    }

    /// `DELETE`.
    pub(crate) async fn delete(&self, path: &str) -> Result<Reply, ClientError> {
        self.send(Method::DELETE, path, None).await
    }

    async fn send(&self, method: Method, path: &str, body: Option<Vec<u8>>) -> Result<Reply, ClientError> {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.header(header::CONTENT_TYPE, "application/fhir+json").body(body);
        }
        read(request.send().await?).await
    }
}

async fn read(response: reqwest::Response) -> Result<Reply, ClientError> {
    let status = response.status().as_u16();
    let receipt = response.headers().get("custodia-receipt").and_then(|value| value.to_str().ok());
    // <origin>/<index>
    let receipt = receipt.and_then(|text| text.rsplit('/').next()?.parse().ok());
    let body = response.bytes().await?.to_vec();
    Ok(Reply { status, receipt, body })
}
