//! Client certificates at the partner door, and certificates that change while the edge serves.

use std::time::{Duration, Instant};

use custodia::http::edge::{Limits, TlsVersion};
use tokio::io::AsyncReadExt;

use crate::support::{Authority, GOOD, Identity, PATIENCE, Served, ask, closed, connect, get, replace};

/// In TLS 1.3 a client learns of its refusal at its first read, after its own handshake has ended.
async fn is_refused(served: &Served, identity: Option<&Identity>) {
    if let Ok(mut stream) = connect(served.partner, &served.authority, identity, b"http/1.1").await {
        let read = tokio::time::timeout(PATIENCE, stream.read(&mut [0; 1])).await.unwrap();
        assert!(read.is_err(), "the server did not send an alert");
    }
}

#[tokio::test]
async fn a_registered_certificate_is_served_and_seen() {
    let served = Served::start(Limits::DEFAULT).await;
    let identity = served.authority.issue(2, GOOD);
    let answer = ask(&mut served.partner(&identity).await.unwrap(), &get("/seen")).await;
    let seen: Vec<_> = answer.body.split(' ').collect();
    assert_eq!((answer.status, seen[0]), (200, "partner"));
    assert!(seen[2].parse::<usize>().unwrap() > 100, "the handler has the certificate: {}", seen[2]);
    assert_eq!(served.counts.partner.success.get(), 1);
    served.finish().await;
}

#[tokio::test]
async fn certificates_that_do_not_hold_are_refused_and_reported() {
    let mut served = Served::start(Limits::DEFAULT).await;
    let cases = [
        (None, "no-certificate"),
        (Some(Authority::new("stranger").issue(2, GOOD)), "certificate-unknown-issuer"),
        (Some(served.authority.issue(2, (2023, 2024))), "certificate-expired"),
        (Some(served.authority.issue(2, (2030, 2040))), "certificate-not-yet-valid"),
        (Some(served.authority.issue(66, GOOD)), "certificate-revoked"),
    ];
    let count = u64::try_from(cases.len()).unwrap();
    for (identity, expected) in cases {
        is_refused(&served, identity.as_ref()).await;
        assert_eq!(served.event().await, expected);
    }
    assert_eq!(served.counts.handshakes_failed.get(), count);
    assert_eq!(served.counts.partner.success.get(), 0);
    served.finish().await;
}

#[tokio::test]
async fn a_certificate_revoked_while_its_connection_is_open_is_refused() {
    let served = Served::start(Limits::DEFAULT).await;
    let identity = served.authority.issue(7, GOOD);
    let mut stream = served.partner(&identity).await.unwrap();
    assert_eq!(ask(&mut stream, &get("/hello")).await.status, 200);
    served.folder.write("revoked.pem", &served.authority.revoke(&[7], 2040));
    served.reloader.reload().unwrap();
    let answer = ask(&mut stream, &get("/hello")).await;
    assert_eq!((answer.status, answer.body.as_str()), (401, "CertificateRevoked"));
    closed(&mut stream).await;
    is_refused(&served, Some(&identity)).await;
    served.finish().await;
}

#[tokio::test]
async fn a_certificate_that_expires_while_its_connection_is_open_is_refused() {
    let served = Served::start(Limits::DEFAULT).await;
    let mut stream = served.partner(&served.authority.issue(7, (2024, 2026))).await.unwrap();
    assert_eq!(ask(&mut stream, &get("/hello")).await.status, 200);
    served.clock.advance(chrono::Duration::days(365));
    let answer = ask(&mut stream, &get("/hello")).await;
    assert_eq!((answer.status, answer.body.as_str()), (401, "CertificateExpired"));
    closed(&mut stream).await;
    served.finish().await;
}

#[tokio::test]
async fn a_stale_revocation_list_vouches_for_nobody() {
    let mut served = Served::start(Limits::DEFAULT).await;
    let identity = served.authority.issue(7, GOOD);
    let mut stream = served.partner(&identity).await.unwrap();
    assert_eq!(ask(&mut stream, &get("/hello")).await.status, 200);
    served.folder.write("revoked.pem", &served.authority.revoke(&[], 2026));
    served.reloader.reload().unwrap();
    assert_eq!(ask(&mut stream, &get("/hello")).await.status, 200);
    served.clock.advance(chrono::Duration::days(365));
    assert_eq!(ask(&mut stream, &get("/hello")).await.body, "CertificateRevoked");
    is_refused(&served, Some(&identity)).await;
    assert_eq!(served.event().await, "revocation-unknown");
    served.finish().await;
}

#[tokio::test]
async fn a_removed_root_ends_open_connections() {
    let served = Served::start(Limits::DEFAULT).await;
    let mut stream = served.partner(&served.authority.issue(7, GOOD)).await.unwrap();
    let other = Authority::new("other");
    served.folder.write("roots.pem", &other.pem);
    served.folder.write("revoked.pem", &other.revoke(&[], 2040));
    served.reloader.reload().unwrap();
    let answer = ask(&mut stream, &get("/hello")).await;
    assert_eq!((answer.status, answer.body.as_str()), (401, "CertificateUntrusted"));
    closed(&mut stream).await;
    served.finish().await;
}

#[tokio::test]
async fn a_new_server_certificate_is_served_without_a_restart() {
    let served = Served::with(Limits::DEFAULT, TlsVersion::Tls13, Duration::from_millis(20)).await;
    let mut before = served.portal().await;
    let shown = |stream: &tokio_rustls::client::TlsStream<tokio::net::TcpStream>| {
        stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    };
    let old = shown(&before);
    let fresh = served.authority.issue(9, GOOD);
    served.folder.write("server.key", &fresh.key);
    served.folder.write("server.pem", &fresh.certificate);
    let begin = Instant::now();
    while shown(&served.portal().await) == old {
        assert!(begin.elapsed() < PATIENCE, "the new certificate never came");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(ask(&mut before, &get("/hello")).await.status, 200, "open connections go on");
    drop(before);
    served.finish().await;
}

#[tokio::test]
async fn a_broken_file_keeps_what_works() {
    let served = Served::start(Limits::DEFAULT).await;
    let good = served.folder.write("copy.pem", "");
    for name in ["server.pem", "server.key", "roots.pem", "revoked.pem"] {
        let path = good.with_file_name(name);
        let kept = std::fs::read_to_string(&path).unwrap();
        replace(&path, "-----BEGIN NONSENSE-----\n");
        assert!(served.reloader.reload().is_err(), "{name}");
        assert_eq!(ask(&mut served.portal().await, &get("/hello")).await.status, 200, "{name}");
        replace(&path, &kept);
    }
    let stranger = Authority::new("x").issue(3, GOOD);
    served.folder.write("server.key", &stranger.key);
    assert!(served.reloader.reload().is_err(), "a key that does not fit its certificate");
    let mut stream = served.partner(&served.authority.issue(2, GOOD)).await.unwrap();
    assert_eq!(ask(&mut stream, &get("/hello")).await.status, 200);
    drop(stream);
    served.finish().await;
}
