//! Who calls: a door and, for people, a token that is renewed in time.
//!
//! Imports `client`, `demo` and `fault`.

use std::{sync::Arc, time::Duration};

use hyper::{Method, Uri, body::Bytes, header::HeaderValue};
use serde::Deserialize;
use tokio::{sync::watch, time::sleep};

use crate::{
    client::{Call, Connection, Content, Door, Keep, NoAnswer, Reply},
    demo::{Demo, User},
    fault::Fault,
};

/// How long to wait before a renewal that failed is tried again.
const RENEW_AGAIN: Duration = Duration::from_millis(500);

/// Someone who may call; cheap to clone, each clone has its own connection.
pub(crate) struct Caller {
    door: Arc<Door>,
    bearer: Option<watch::Receiver<HeaderValue>>,
    connection: Option<Connection>,
}

impl Clone for Caller {
    fn clone(&self) -> Self {
        Self { door: Arc::clone(&self.door), bearer: self.bearer.clone(), connection: None }
    }
}

impl Caller {
    /// A user of the demo, by role: logs in, and renews the token for as long as any clone lives.
    pub(crate) async fn person(demo: &Demo, role: &str) -> Result<Self, Fault> {
        let user = demo.user(role)?.clone();
        let door = Arc::new(Door::new(&demo.portal, &demo.ca, None)?);
        let login = Login { door: Door::new(&demo.token, &demo.ca, None)?, uri: path_of(&demo.token)?, user };
        let (token, life) = login.token().await?;
        let (sender, receiver) = watch::channel(token);
        tokio::spawn(renew(login, sender, life));
        Ok(Self { door, bearer: Some(receiver), connection: None })
    }

    /// A partner of the demo, by name: shows its certificate.
    pub(crate) fn partner(demo: &Demo, name: &str) -> Result<Self, Fault> {
        let identity = demo.partner_files.get(name);
        let identity = identity.ok_or_else(|| Fault::refused(format!("the demo has no partner {name}")))?;
        let door = Arc::new(Door::new(&demo.partners, &demo.ca, Some(identity))?);
        Ok(Self { door, bearer: None, connection: None })
    }

    /// Sends over this caller's connection, which is made when there is none.
    pub(crate) async fn send(&mut self, call: Call, keep: Keep) -> Result<Reply, NoAnswer> {
        let bearer = self.bearer.as_ref().map(|bearer| bearer.borrow().clone());
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => match self.door.connect().await {
                Ok(connection) => none.insert(connection),
                Err(_) => return Err(NoAnswer { why: "connect", receipt: None }),
            },
        };
        let answer = connection.send(call, bearer.as_ref(), keep).await;
        if answer.is_err() {
            self.connection = None;
        }
        answer
    }
}

/// The path and query of a URL.
fn path_of(url: &str) -> Result<Uri, Fault> {
    let refused = || Fault::refused(format!("{url}: not a URL"));
    let uri: Uri = url.parse().map_err(|_| refused())?;
    let path = uri.path_and_query().ok_or_else(refused)?;
    Ok(Uri::from(path.clone()))
}

struct Login {
    door: Door,
    uri: Uri,
    user: User,
}

#[derive(Deserialize)]
struct Token {
    access_token: String,
    expires_in: u64,
}

impl Login {
    /// A token and how long it lasts.
    async fn token(&self) -> Result<(HeaderValue, Duration), Fault> {
        let (name, password) = (form(&self.user.username), form(&self.user.password));
        let body = Bytes::from(format!("grant_type=password&username={name}&password={password}"));
        let call = Call { method: Method::POST, uri: self.uri.clone(), body, content: Content::Form };
        let answer = self.door.connect().await?.send(call, None, Keep::Body).await;
        let reply = answer.map_err(|none| Fault::refused(format!("no token: {}", none.why)))?;
        if !reply.status.is_success() {
            return Err(Fault::refused(format!("no token: status {}", reply.status)));
        }
        let token: Token = serde_json::from_slice(&reply.body).map_err(|_| Fault::Json("the token"))?;
        let mut value = HeaderValue::from_str(&format!("Bearer {}", token.access_token))
            .map_err(|_| Fault::Json("the token"))?;
        value.set_sensitive(true);
        Ok((value, Duration::from_secs(token.expires_in)))
    }
}

/// Renews until nobody listens any more. A server that is away is asked again.
async fn renew(login: Login, sender: watch::Sender<HeaderValue>, life: Duration) {
    let mut wait = life / 2;
    loop {
        tokio::select! {
            () = sender.closed() => return,
            () = sleep(wait) => {}
        }
        wait = match login.token().await {
            Ok((token, life)) => {
                sender.send_replace(token);
                life / 2
            }
            Err(_) => RENEW_AGAIN,
        };
        wait = wait.max(RENEW_AGAIN);
    }
}

/// Percent-encodes for a form.
fn form(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
        out
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn forms_are_encoded() {
        assert_eq!(form("dr.ade o'k+&=é"), "dr.ade%20o%27k%2B%26%3D%C3%A9");
    }

    #[test]
    fn the_path_of_a_url_keeps_its_query() {
        assert_eq!(path_of("https://127.0.0.1:1/auth/token?x=1").unwrap().to_string(), "/auth/token?x=1");
    }
}
