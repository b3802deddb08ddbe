//! What a question without an answer does to the others.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::atomic::AtomicUsize;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::*;

const LOINC: &str = "http://loinc.org";
const ONE: &str = "8480-6";
const OTHER: &str = "8462-4";

/// A server that answers requests as it is told, or never; its address, and how many have come to it.
async fn elsewhere(
    answers: impl Fn(&str) -> Option<u16> + Clone + Send + Sync + 'static,
) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, asked) = (listener.local_addr().unwrap().to_string(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(answer(socket, answers.clone()));
        }
    });
    (address, asked)
}

async fn answer(mut socket: TcpStream, answers: impl Fn(&str) -> Option<u16>) -> io::Result<()> {
    let mut text = String::new();
    let is_whole = |text: &str| {
        let (head, body) = text.split_once("\r\n\r\n")?;
        let length = head.to_lowercase().split("content-length: ").nth(1)?.lines().next()?.parse::<usize>();
        Some(body.len() >= length.ok()?)
    };
    while is_whole(&text) != Some(true) {
        let mut piece = [0; 4_096];
        let read = socket.read(&mut piece).await?;
        if read == 0 {
            return Ok(());
        }
        text.push_str(&String::from_utf8_lossy(piece.get(..read).unwrap_or_default()));
    }
    let Some(status) = answers(&text) else { return std::future::pending().await };
    let body = r#"{"resourceType":"Parameters","parameter":[{"name":"result","valueBoolean":true}]}"#;
    let head = format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    socket.write_all(format!("{head}{body}").as_bytes()).await
}

fn server(base: String) -> TerminologyServer {
    let config = TerminologyConfig {
        server: Some(base),
        timeout_ms: 2_000,
        at_once: 1,
        ..TerminologyConfig::default()
    };
    TerminologyServer::open(&config, "https://records.test").unwrap().unwrap()
}

/// Whether it says that it has a code.
async fn has(server: &TerminologyServer, code: &str) -> Result<bool, Away> {
    let question = Question::Code(LOINC.into(), code.into());
    let (_, told) = server.ask_all(vec![question], DateTime::UNIX_EPOCH).await.pop().unwrap();
    told.map(|told| matches!(*told, Told::Yes(_)))
}

#[tokio::test]
async fn what_is_refused_to_one_question_is_not_to_others_unless_the_server_refuses_or_is_busy() {
    for (status, others) in
        [(403, Ok(true)), (500, Ok(true)), (401, Err(Away)), (429, Err(Away)), (503, Err(Away))]
    {
        let answers = move |text: &str| Some(if text.contains(ONE) { status } else { 200 });
        let (address, asked) = elsewhere(answers).await;
        let server = server(format!("http://{address}"));
        assert_eq!(has(&server, ONE).await, Err(Away), "{status}");
        assert_eq!(has(&server, ONE).await, Err(Away), "{status} again");
        assert_eq!(asked.load(Ordering::SeqCst), 1, "{status}: not asked again at once");
        assert_eq!(has(&server, OTHER).await, others, "{status} and another");
    }
}

#[tokio::test]
async fn a_question_that_came_to_its_turn_late_has_not_failed() {
    // The first that comes is never answered.
    let first = Arc::new(AtomicUsize::new(0));
    let answers = move |_: &str| (first.fetch_add(1, Ordering::SeqCst) > 0).then_some(200);
    let (address, asked) = elsewhere(answers).await;
    let server = Arc::new(server(format!("http://{address}")));
    let seat = server.seats.acquire().await.unwrap();
    let asking = Arc::clone(&server);
    let late = tokio::spawn(async move { has(&asking, ONE).await });
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    drop(seat);
    assert_eq!(late.await.unwrap(), Err(Away));
    assert_eq!(asked.load(Ordering::SeqCst), 1, "it was asked, and got no answer in what was left");
    assert_eq!(has(&server, ONE).await, Ok(true), "and is asked again");
}

#[tokio::test]
async fn a_question_that_had_its_time_is_not_asked_again_at_once() {
    let (address, asked) = elsewhere(|text| (!text.contains(ONE)).then_some(200)).await;
    let server = server(format!("http://{address}"));
    assert_eq!(has(&server, ONE).await, Err(Away));
    assert_eq!(has(&server, ONE).await, Err(Away));
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    assert_eq!(has(&server, OTHER).await, Ok(true), "others are");
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_not_waited_for_by_each_question() {
    // A connection comes about, and nothing that TLS could begin with.
    let (address, asked) = elsewhere(|_| None).await;
    let server = server(format!("https://{address}"));
    assert_eq!(has(&server, ONE).await, Err(Away));
    assert_eq!(has(&server, OTHER).await, Err(Away));
    assert_eq!(asked.load(Ordering::SeqCst), 1, "it rests");
}
