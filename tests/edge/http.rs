//! Requests in, answers out.

use http_body_util::{BodyExt, Full};
use hyper::{Request, Version, body::Bytes, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::HandshakeKind;
use rustls_pki_types::ServerName;
use std::sync::Arc;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use crate::support::{Served, answer, ask, client_config_of, closed, connect, get};
use custodia::http::edge::Limits;

#[tokio::test]
async fn http1_answers_and_keeps_the_connection() {
    let served = Served::start(Limits::DEFAULT).await;
    let mut stream = served.portal().await;
    for _ in 0..3 {
        let answer = ask(&mut stream, &get("/hello")).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "hello"));
        assert!(answer.head.contains("strict-transport-security: max-age=63072000"));
        assert!(answer.head.contains("x-content-type-options: nosniff"));
        assert!(answer.head.contains("cache-control: no-store"));
        assert!(!answer.head.contains("\r\nserver:") && !answer.head.contains("permissions-policy"));
    }
    assert_eq!(served.counts.portal.success.get(), 3);
    drop(stream);
    served.finish().await;
}

#[tokio::test]
async fn http2_answers_many_streams() {
    let served = Served::start(Limits::DEFAULT).await;
    let stream = connect(served.portal, &served.authority, None, b"h2").await.unwrap();
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let ask = |method: &'static str, path: &'static str, body: &'static str| {
        let mut sender = sender.clone();
        async move {
            let request = Request::builder()
                .method(method)
                .uri(format!("https://localhost{path}"))
                .version(Version::HTTP_2)
                .body(Full::new(Bytes::from(body)))
                .unwrap();
            let (parts, body) = sender.send_request(request).await.unwrap().into_parts();
            (parts.status.as_u16(), body.collect().await.unwrap().to_bytes())
        }
    };
    let (one, two, three, four) = tokio::join!(
        ask("GET", "/hello", ""),
        ask("POST", "/echo", "12345"),
        ask("GET", "/large/1000000", ""),
        ask("HEAD", "/hello", ""),
    );
    assert_eq!(one, (200, Bytes::from("hello")));
    assert_eq!(two, (200, Bytes::from("posted 5")));
    assert_eq!((three.0, three.1.len()), (200, 1_000_000));
    assert_eq!(four, (200, Bytes::new()));
    assert_eq!(ask("BREW", "/hello", "").await, (405, Bytes::from("BadMethod")));
    served.finish().await;
}

#[tokio::test]
async fn head_tells_the_length_and_sends_no_body() {
    let served = Served::start(Limits::DEFAULT).await;
    let mut stream = served.portal().await;
    stream.write_all(b"HEAD /hello HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    assert!(String::from_utf8(head).unwrap().to_lowercase().contains("content-length: 5\r\n"));
    assert_eq!(ask(&mut stream, &get("/hello")).await.body, "hello", "nothing followed the headers");
    drop(stream);
    served.finish().await;
}

#[tokio::test]
async fn large_answers_arrive_whole() {
    let served = Served::start(Limits::DEFAULT).await;
    let mut stream = served.portal().await;
    for bytes in [0, 1, 256 * 1024, 256 * 1024 + 1, 5_000_000] {
        let answer = ask(&mut stream, &get(&format!("/large/{bytes}"))).await;
        assert_eq!((answer.status, answer.body.len()), (200, bytes));
    }
    drop(stream);
    served.finish().await;
}

#[tokio::test]
async fn what_a_client_claims_about_its_address_is_ignored() {
    let served = Served::start(Limits::DEFAULT).await;
    let mut stream = served.portal().await;
    let claims = b"GET /seen HTTP/1.1\r\nHost: localhost\r\nX-Real-IP: 192.0.2.1\r\nX-Forwarded-For: 192.0.2.2\r\n\
        Forwarded: for=192.0.2.3\r\nX-HTTP-Method-Override: DELETE\r\nConnection: keep-alive\r\nCookie: a=1; b=2\r\n\
        Accept: */*\r\n\r\n";
    let answer = ask(&mut stream, claims).await;
    assert_eq!(answer.body, "portal 127.0.0.1 0 1 host,cookie,accept");
    drop(stream);
    served.finish().await;
}

#[tokio::test]
async fn a_form_cannot_change_the_method() {
    let served = Served::start(Limits::DEFAULT).await;
    let mut stream = served.portal().await;
    let post = |kind: &str, body: &str| {
        let length = body.len();
        format!("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}")
            .into_bytes()
    };
    let form = "application/x-www-form-urlencoded";
    for kind in [form, "multipart/form-data; boundary=x"] {
        for body in ["_method=put", "_method=delete&a=b", "&_method=PUT", "_method=put&\u{e9}"] {
            let answer = ask(&mut stream, &post(kind, body)).await;
            assert_eq!((answer.status, answer.body.as_str()), (400, "MethodOverride"), "{kind} {body}");
        }
    }
    let answer = ask(&mut stream, &post(form, "code_challenge_method=S256&_method=put")).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "posted 38"));
    drop(stream);
    served.finish().await;
}

#[tokio::test]
async fn what_cannot_be_read_still_reaches_rocket() {
    let served = Served::start(Limits::DEFAULT).await;
    let host = "Host: localhost\r\n";
    let cases: [(&[u8], &str, u16, &str); 12] = [
        (b"BREW /hello", host, 405, "BadMethod"),
        (b"TRACE /hello", host, 405, "BadMethod"),
        (b"CONNECT localhost:1", host, 405, "BadMethod"),
        (b"GET http://localhost/hello", host, 400, "BadUri"),
        (b"OPTIONS *", host, 400, "BadUri"),
        (b"GET /a|b", host, 400, "BadUri"),
        (b"GET /a\"b", host, 400, "BadUri"),
        (b"GET /hello", "", 400, "BadHeader"),
        (b"GET /hello", "Host: a\r\nHost: b\r\n", 400, "BadHeader"),
        (b"GET /hello", "Host: a\r\nAuthorization: a\r\nAuthorization: b\r\n", 400, "BadHeader"),
        (b"GET /.fault", host, 404, "caught 404"),
        (b"GET /nowhere", host, 404, "caught 404"),
    ];
    for (line, headers, status, body) in cases {
        let mut stream = served.portal().await;
        let request = [line, b" HTTP/1.1\r\n", headers.as_bytes(), b"\r\n"].concat();
        let answer = ask(&mut stream, &request).await;
        let line = String::from_utf8_lossy(line);
        assert_eq!((answer.status, answer.body.as_str()), (status, body), "{line} {headers}");
    }
    let mut stream = served.portal().await;
    let answer = ask(&mut stream, b"GET /hello HTTP/1.1\r\nHost: a\r\nX-A: \xff\r\n\r\n").await;
    assert_eq!((answer.status, answer.body.as_str()), (400, "BadHeader"));
    drop(stream);
    served.finish().await;
}

#[tokio::test]
async fn bytes_that_are_not_http_leave_an_event() {
    let mut served = Served::start(Limits::DEFAULT).await;
    let mut stream = served.portal().await;
    assert_eq!(ask(&mut stream, b"nonsense\r\n\r\n").await.status, 400);
    assert_eq!(served.event().await, "malformed");
    closed(&mut stream).await;
    served.finish().await;
}

#[tokio::test]
async fn a_panic_is_a_500_and_the_server_lives() {
    let served = Served::start(Limits::DEFAULT).await;
    let mut stream = served.portal().await;
    let broken = ask(&mut stream, &get("/breaks")).await;
    assert_eq!((broken.status, broken.body.as_str()), (500, "caught 500"));
    assert_eq!(ask(&mut stream, &get("/hello")).await.status, 200);
    drop(stream);
    served.finish().await;
}

#[tokio::test]
async fn probes_are_answered_without_rocket() {
    let served = Served::start(Limits::DEFAULT).await;
    let mut stream = served.portal().await;
    for (path, body) in [("/healthz", "ok\n"), ("/readyz", "ready\n"), ("/metrics", "custodia_up 1\n")] {
        let answer = ask(&mut stream, &get(path)).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, body));
        let answer = ask(&mut stream, format!("POST {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await;
        assert_eq!((answer.status, answer.body.as_str()), (404, "caught 404"));
    }
    drop(stream);
    served.finish().await;
}

#[tokio::test]
async fn no_session_can_be_resumed() {
    let served = Served::with(
        Limits::DEFAULT,
        custodia::http::edge::TlsVersion::Tls12,
        std::time::Duration::from_secs(60),
    )
    .await;
    for versions in [&[&rustls::version::TLS13], &[&rustls::version::TLS12]] {
        let config = client_config_of(&served.authority, None, b"http/1.1", versions);
        let connector = TlsConnector::from(Arc::new(config));
        for _ in 0..2 {
            let socket = TcpStream::connect(served.portal).await.unwrap();
            let name = ServerName::try_from("localhost").unwrap();
            let mut stream = connector.connect(name, socket).await.unwrap();
            assert_eq!(ask(&mut stream, &get("/hello")).await.status, 200);
            let session = stream.get_ref().1;
            assert_eq!(session.handshake_kind(), Some(HandshakeKind::Full));
            assert_eq!(session.tls13_tickets_received(), 0);
        }
    }
    served.finish().await;
}

#[tokio::test]
async fn plain_http_is_served_on_loopback() {
    let served = Served::start(Limits::DEFAULT).await;
    let mut stream = TcpStream::connect(served.plain).await.unwrap();
    let answer = ask(&mut stream, &get("/hello")).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "hello"));
    assert!(!answer.head.contains("strict-transport-security"));
    drop(stream);
    served.finish().await;
}

#[tokio::test]
async fn shutdown_finishes_what_is_open() {
    let mut served = Served::start(Limits::DEFAULT).await;
    let mut idle = served.portal().await;
    assert_eq!(ask(&mut idle, &get("/hello")).await.status, 200);
    let mut stream = served.portal().await;
    stream.write_all(&get("/held")).await.unwrap();
    served.gate.entered.notified().await;
    served.stop();
    closed(&mut idle).await;
    assert!(TcpStream::connect(served.portal).await.is_err(), "the door is shut");
    served.gate.open.notify_one();
    let released = answer(&mut stream).await;
    assert_eq!((released.status, released.body.as_str()), (200, "released"));
    served.finish().await;
}
