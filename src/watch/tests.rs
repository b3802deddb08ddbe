#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    fmt, fs,
    io::{self, Write},
    path::Path,
    sync::{Arc, Mutex},
};

use serde_json::Value;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;

use super::log::OperationalLog;
use crate::clock::Clock;

/// What must never be written: it stands for everything a record may hold.
const CANARY: &str = "Zaphod Beeblebrox 1942-01-11";

#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is written, as JSON and in words, when `act` logs.
fn written(least: LevelFilter, act: impl FnOnce()) -> (Vec<Value>, String) {
    let (json, words) = (Paper::default(), Paper::default());
    let clock = Clock::fixed(chrono::DateTime::UNIX_EPOCH);
    let log = OperationalLog { json: json.clone(), words: Some(words.clone()), least, clock };
    tracing::subscriber::with_default(tracing_subscriber::registry().with(log), act);
    let text = |paper: Paper| String::from_utf8(paper.0.lock().unwrap().clone()).unwrap();
    (text(json).lines().map(|line| serde_json::from_str(line).unwrap()).collect(), text(words))
}

struct Request {
    path: &'static str,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GET {}", self.path)
    }
}

#[test]
fn a_line_holds_its_known_fields() {
    let (lines, words) = written(LevelFilter::INFO, || {
        tracing::info!(event = "request", method = "GET", status = 200, interaction = "read", millis = 1.5);
    });
    let expected = serde_json::json!({
        "time": "1970-01-01T00:00:00.000000Z", "level": "info", "target": "custodia::watch::tests",
        "event": "request", "method": "GET", "status": 200, "interaction": "read", "millis": 1.5,
    });
    assert_eq!(lines, [expected]);
    assert_eq!(words, "00:00:00 info  request method=GET status=200 interaction=read millis=1.5\n");
}

#[test]
fn nothing_of_a_record_is_written() {
    let (lines, words) = written(LevelFilter::DEBUG, || {
        let request = Request { path: CANARY };
        tracing::error!(patient = CANARY, event = "request", "constant");
        tracing::error!(?request, method = ?request, interaction = CANARY, address = CANARY);
        tracing::error!(event = CANARY, status = CANARY, path = %request.path);
        tracing::error!(target: "rocket::server", uri = CANARY, event = "request", "Unmatched {CANARY}");
        tracing::warn!(target: "tokio_postgres", error = CANARY, "{CANARY}");
        tracing::info!(target: "hyper::proto", event = "request", "{CANARY}");
        tracing::error!(target: "custodian", error = CANARY);
        let span = tracing::error_span!("request", patient = CANARY);
        let _inside = span.enter();
        tracing::error!(event = "inside");
    });
    assert!(!words.contains("Zaphod") && !lines.iter().any(|line| line.to_string().contains("Zaphod")));
    assert_eq!(lines.len(), 7, "info of others is dropped: {words}");
    assert_eq!(lines.iter().filter(|line| line.get("source_line").is_some()).count(), 3, "{words}");
}

#[test]
fn less_severe_events_are_dropped() {
    let (lines, _) = written(LevelFilter::WARN, || {
        tracing::info!(event = "request");
        tracing::warn!(event = "slow");
    });
    assert_eq!(lines.len(), 1);
}

#[test]
fn the_message_of_every_event_in_the_house_is_a_constant() {
    let mut calls = 0;
    look(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut calls);
    assert!(calls > 5, "the search finds none: {calls}");
}

fn look(folder: &Path, calls: &mut usize) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            look(&path, calls);
        } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("watch/tests.rs") {
            let text = fs::read_to_string(&path).unwrap();
            for level in ["error", "warn", "info", "debug", "trace"] {
                for call in text.split(&format!("tracing::{level}!(")).skip(1) {
                    *calls += 1;
                    let call = arguments(call);
                    assert!(!call.contains('{') && !call.contains('?'), "{}: {call}", path.display());
                }
            }
        }
    }
}

/// What stands before the parenthesis that closes the call.
fn arguments(rest: &str) -> &str {
    let mut open = 1;
    let end = rest.find(|c| {
        open += i32::from(c == '(') - i32::from(c == ')');
        open == 0
    });
    rest.split_at(end.unwrap()).0
}
