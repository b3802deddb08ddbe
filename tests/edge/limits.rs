//! What a peer may take, and what happens past it.

use std::time::{Duration, Instant};

use custodia::http::edge::Limits;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{Served, answer, ask, closed, connect, get};

const SHORT: Duration = Duration::from_millis(300);

#[tokio::test]
async fn a_body_over_its_bound_is_refused() {
    let served = Served::start(Limits { body_bytes_max: 1000, ..Limits::DEFAULT }).await;
    let cases = [(1000, 200, "posted 1000"), (1001, 413, "TooLarge"), (1900, 413, "TooLarge")];
    for (bytes, status, body) in cases {
        let head = format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {bytes}\r\n\r\n");
        let answer = ask(&mut served.portal().await, &[head.as_bytes(), &vec![b'x'; bytes]].concat()).await;
        assert_eq!((answer.status, answer.body.as_str()), (status, body), "announced, {bytes}");

        let head =
            format!("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{bytes:x}\r\n");
        let request = [head.as_bytes(), &vec![b'x'; bytes], b"\r\n0\r\n\r\n"].concat();
        let answer = ask(&mut served.portal().await, &request).await;
        assert_eq!((answer.status, answer.body.as_str()), (status, body), "chunked, {bytes}");
    }
    let head = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 999999\r\nExpect: 100-continue\r\n\r\n";
    let answer = ask(&mut served.portal().await, head).await;
    assert_eq!(answer.status, 413, "refused before it is sent");
    served.finish().await;
}

#[tokio::test]
async fn all_bodies_together_have_a_bound() {
    let served = Served::start(Limits { body_bytes_total_max: 1000, ..Limits::DEFAULT }).await;
    for (bytes, status) in [(1000, 200), (1001, 429), (1000, 200)] {
        let head = format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {bytes}\r\n\r\n");
        let request = [head.as_bytes(), &vec![b'x'; bytes]].concat();
        assert_eq!(ask(&mut served.portal().await, &request).await.status, status, "{bytes}");
    }
    served.finish().await;
}

#[tokio::test]
async fn a_slow_body_is_answered_408() {
    let served = Served::start(Limits { body: SHORT, ..Limits::DEFAULT }).await;
    let mut stream = served.portal().await;
    let answer = ask(&mut stream, b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nx").await;
    assert_eq!((answer.status, answer.body.as_str()), (408, "TimedOut"));
    closed(&mut stream).await;
    served.finish().await;
}

#[tokio::test]
async fn slow_headers_are_cut() {
    let mut served = Served::start(Limits { header: SHORT, ..Limits::DEFAULT }).await;
    let mut silent = served.portal().await;
    let mut first = served.portal().await;
    first.write_all(b"GET /hello HT").await.unwrap();
    let mut silent_h2 = connect(served.portal, &served.authority, None, b"h2").await.unwrap();
    let mut second = served.portal().await;
    assert_eq!(ask(&mut second, &get("/hello")).await.status, 200);
    second.write_all(b"GET /hello HTTP/1.1\r\nHost:").await.unwrap();
    for stream in [&mut silent, &mut first, &mut silent_h2, &mut second] {
        closed(stream).await;
    }
    assert_eq!(served.counts.slow_headers.get(), 4);
    assert_eq!(served.event().await, "slow-header");
    served.finish().await;
}

#[tokio::test]
async fn hundreds_of_slow_connections_are_cut_and_good_ones_served() {
    let served = Served::start(Limits { header: SHORT, ..Limits::DEFAULT }).await;
    let mut slow = Vec::new();
    for _ in 0..200 {
        let mut stream = TcpStream::connect(served.plain).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nA").await.unwrap();
        slow.push(stream);
    }
    assert_eq!(ask(&mut TcpStream::connect(served.plain).await.unwrap(), &get("/hello")).await.status, 200);
    let begin = Instant::now();
    for stream in &mut slow {
        closed(stream).await;
    }
    assert!(begin.elapsed() < Duration::from_secs(5));
    served.finish().await;
}

#[tokio::test]
async fn a_handshake_that_does_not_come_is_cut() {
    let mut served = Served::start(Limits { handshake: SHORT, ..Limits::DEFAULT }).await;
    let mut stream = TcpStream::connect(served.portal).await.unwrap();
    closed(&mut stream).await;
    assert_eq!(served.event().await, "handshake-timed-out");
    served.finish().await;
}

#[tokio::test]
async fn an_idle_connection_is_retired() {
    let served = Served::start(Limits { idle: SHORT, ..Limits::DEFAULT }).await;
    for alpn in [b"http/1.1".as_slice(), b"h2"] {
        let mut stream = connect(served.portal, &served.authority, None, alpn).await.unwrap();
        if alpn == b"http/1.1" {
            assert_eq!(ask(&mut stream, &get("/hello")).await.status, 200);
        } else {
            // The connection preface and empty SETTINGS (RFC 9113 §3.4).
            stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
        }
        closed(&mut stream).await;
    }
    assert_eq!(served.counts.idle_closed.get(), 2);
    served.finish().await;
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_cut() {
    let served = Served::start(Limits { write_stall: SHORT, ..Limits::DEFAULT }).await;
    let mut stream = TcpStream::connect(served.plain).await.unwrap();
    stream.write_all(&get("/large/50000000")).await.unwrap();
    let begin = Instant::now();
    while served.counts.stalled_writes.get() == 0 {
        assert!(begin.elapsed() < Duration::from_secs(10), "the edge waits for ever");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(stream);
    served.finish().await;
}

#[tokio::test]
async fn a_handler_may_take_its_time() {
    let limits = Limits { write_stall: SHORT, idle: SHORT, header: SHORT, ..Limits::DEFAULT };
    let served = Served::start(limits).await;
    let mut stream = served.portal().await;
    stream.write_all(&get("/held")).await.unwrap();
    tokio::time::sleep(SHORT * 3).await;
    served.gate.open.notify_one();
    assert_eq!(answer(&mut stream).await.body, "released");
    drop(stream);
    served.finish().await;
}

#[tokio::test]
async fn headers_over_their_bounds_are_refused() {
    let mut served = Served::start(Limits { header_bytes_max: 16 * 1024, ..Limits::DEFAULT }).await;
    let many = |count: usize| {
        let headers: String = (0..count).map(|n| format!("X-{n}: 1\r\n")).collect();
        format!("GET /hello HTTP/1.1\r\nHost: a\r\n{headers}\r\n").into_bytes()
    };
    assert_eq!(ask(&mut served.portal().await, &many(99)).await.status, 200);
    assert_eq!(ask(&mut served.portal().await, &many(100)).await.status, 431);
    assert_eq!(served.event().await, "headers-too-large");
    let long = format!("GET /hello HTTP/1.1\r\nHost: a\r\nX-A: {}\r\n\r\n", "a".repeat(17 * 1024));
    assert_eq!(ask(&mut served.portal().await, long.as_bytes()).await.status, 431);
    assert_eq!(served.event().await, "headers-too-large");
    served.finish().await;
}

#[tokio::test]
async fn one_source_holds_so_many_connections() {
    let mut served = Served::start(Limits { connections_per_source_max: 2, ..Limits::DEFAULT }).await;
    let mut one = TcpStream::connect(served.plain).await.unwrap();
    let mut two = TcpStream::connect(served.plain).await.unwrap();
    assert_eq!(ask(&mut one, &get("/hello")).await.status, 200);
    assert_eq!(ask(&mut two, &get("/hello")).await.status, 200);
    let mut three = TcpStream::connect(served.plain).await.unwrap();
    assert!(matches!(three.read(&mut [0]).await, Ok(0) | Err(_)), "closed at once");
    assert_eq!(served.event().await, "too-many-connections");
    drop(two);
    let begin = Instant::now();
    while served.counts.connections_open.get() > 1 {
        assert!(begin.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(ask(&mut TcpStream::connect(served.plain).await.unwrap(), &get("/hello")).await.status, 200);
    drop(one);
    served.finish().await;
}
