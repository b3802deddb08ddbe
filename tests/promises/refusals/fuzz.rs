//! Anything at all, sent to every route, with and without a credential: never a 5xx, always an entry.

use custodia::http::mount::ROUTES;
use custodia_audit::Kind;
use custodia_support::{people::Person, server::TestServer};
use proptest::{
    prelude::*,
    strategy::ValueTree as _,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

use super::wire::Wire;
use crate::clinic::Clinic;

/// Requests in a usual run; `CUSTODIA_FUZZ_CASES` asks for more.
const CASES: usize = 300;

/// One request.
#[derive(Clone, Debug)]
struct Sent {
    method: String,
    target: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    authorised: bool,
}

impl Sent {
    fn bytes(&self, token: &str) -> Vec<u8> {
        let mut bytes =
            format!("{} {} HTTP/1.1\r\nHost: records.test\r\n", self.method, self.target).into_bytes();
        if self.authorised {
            bytes.extend_from_slice(format!("Authorization: Bearer {token}\r\n").as_bytes());
        }
        for (name, value) in &self.headers {
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(format!("Content-Length: {}\r\n\r\n", self.body.len()).as_bytes());
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// A route's path with its holes filled: by what is there, by what might be, and by anything that HTTP can carry.
fn target() -> impl Strategy<Value = String> {
    let segment = prop_oneof![
        3 => Just("Patient".to_owned()),
        3 => Just("ann".to_owned()),
        1 => Just("pulse".to_owned()),
        1 => Just("Observation".to_owned()),
        1 => Just("0".to_owned()),
        1 => Just("000.p/1".to_owned()),
        3 => "[!$-.0-;=@-Z_a-z~]{1,20}",
        1 => "[!-\"$->@-~]{1,6}",
        1 => "(%[0-9a-fA-F]{2}){1,8}",
    ];
    let query = prop_oneof![
        2 => Just(String::new()),
        2 => "\\?(_id|_count|_cursor|patient|_lastUpdated|_format|name|_sort)=[!$-;=?-Z_a-z~]{0,30}",
        1 => "\\?[!$-;=?-Z_a-z~]{0,60}",
    ];
    let route = proptest::sample::select(ROUTES.map(|(_, path)| path).to_vec());
    (route, proptest::collection::vec(segment, 4), query).prop_map(|(route, fill, query)| {
        let mut fill = fill.into_iter();
        let filled: Vec<String> = route
            .split('/')
            .map(|part| if part.starts_with('<') { fill.next().unwrap_or_default() } else { part.to_owned() })
            .collect();
        format!("{}{query}", filled.join("/"))
    })
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        2 => Just(Vec::new()),
        2 => proptest::collection::vec(any::<u8>(), 0..200),
        1 => "[ -~]{0,100}".prop_map(String::into_bytes),
        2 => "\\{\"resourceType\":\"(Patient|Observation|Bundle)\",\"(id|type|entry|name|x)\":(\"ann\"|\"batch\"|\"transaction\"|\\[\\]|\\[\\{\\}\\]|null|1e999|\\{\\})\\}".prop_map(String::into_bytes),
        1 => "(grant_type|username|password|_id|patient)=[ -~]{0,40}(&[a-z_]{1,10}=[ -~]{0,40}){0,3}".prop_map(String::into_bytes),
    ]
}

fn sent() -> impl Strategy<Value = Sent> {
    let method = prop_oneof![
        6 => proptest::sample::select(ROUTES.map(|(method, _)| method.as_str().to_owned()).to_vec()),
        1 => "(PATCH|OPTIONS|TRACE|BREW|get)",
    ];
    let name = proptest::sample::select(vec![
        "Accept",
        "Content-Type",
        "If-Match",
        "If-None-Match",
        "If-Modified-Since",
        "If-None-Exist",
        "Prefer",
        "Cookie",
        "X-HTTP-Method-Override",
        "X-Forwarded-For",
        "Range",
        "Expect-Not",
    ]);
    let value = prop_oneof![
        2 => Just(b"application/fhir+json".to_vec()),
        1 => Just(b"application/x-www-form-urlencoded".to_vec()),
        1 => Just(b"W/\"1\"".to_vec()),
        1 => "[ -~]{0,40}".prop_map(String::into_bytes),
        1 => proptest::collection::vec(128_u8.., 1..10),
    ];
    let headers = proptest::collection::vec((name.prop_map(str::to_owned), value), 0..4);
    (method, target(), headers, body(), any::<bool>()).prop_map(
        |(method, target, headers, body, authorised)| Sent { method, target, headers, body, authorised },
    )
}

/// How a request was answered.
enum Verdict {
    Recorded,
    /// HTTP itself could not be read: hyper answers an empty 400, and the log is told within a second.
    Unreadable,
    Wrong(String),
}

async fn judge(server: &TestServer, sent: &Sent, token: &str) -> Verdict {
    let before = server.size().await;
    let mut wire = Wire::connect(server).await;
    wire.send(&sent.bytes(token)).await;
    let Some(heard) = wire.hear(sent.method == "HEAD").await else {
        return Verdict::Wrong("no answer".to_owned());
    };
    if heard.status >= 500 {
        return Verdict::Wrong(format!("status {}", heard.status));
    }
    let receipt = heard.header("custodia-receipt").and_then(|receipt| receipt.rsplit_once('/'));
    let Some((_, index)) = receipt else {
        let silent = heard.status == 400 && heard.body.is_empty();
        let wrong = Verdict::Wrong(format!("status {} without a receipt", heard.status));
        return if silent { Verdict::Unreadable } else { wrong };
    };
    let index: u64 = index.trim().parse().unwrap();
    if (before..server.size().await).contains(&index) {
        Verdict::Recorded
    } else {
        Verdict::Wrong(format!("status {} with the receipt of another request", heard.status))
    }
}

/// Requests that entries of the edge stand for.
async fn told_by_the_edge(server: &TestServer) -> usize {
    let entries = server.entries(0).await;
    let edge = entries.iter().filter(|one| one.entry.event.kind == Kind::Edge);
    edge.map(|one| {
        let code = &one.entry.event.outcome.code;
        let more = code.split_once(" (").and_then(|(_, rest)| rest.strip_suffix(" more)"));
        1 + more.map_or(0, |more| more.parse::<usize>().unwrap())
    })
    .sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_sent_is_answered_and_recorded_and_breaks_nothing() {
    let clinic = Clinic::open().await;
    let token = {
        let form = format!(
            "grant_type=password&username={}&password={}",
            Person::Physician.login(),
            custodia_support::people::PASSWORD.replace(' ', "+")
        );
        let reply = clinic.server.anybody().form("/auth/token", &form).await.expect(200);
        reply.json()["access_token"].as_str().unwrap().to_owned()
    };
    let more = std::env::var("CUSTODIA_FUZZ_CASES").ok().map(|text| text.parse().unwrap());
    let seed = if more.is_some() { rand_seed() } else { [7; 32] };
    let mut runner =
        TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &seed));
    let mut unreadable = 0;
    for _ in 0..more.unwrap_or(CASES) {
        let mut tree = sent().new_tree(&mut runner).unwrap();
        let mut what = match judge(&clinic.server, &tree.current(), &token).await {
            Verdict::Recorded => continue,
            Verdict::Unreadable => {
                unreadable += 1;
                continue;
            }
            Verdict::Wrong(what) => what,
        };
        let mut smallest = tree.current();
        // Shrunk here, because a request is asynchronous and proptest's own loop is not.
        let mut simpler = tree.simplify();
        for _ in 0..200 {
            if !simpler {
                break;
            }
            simpler = if let Verdict::Wrong(now) = judge(&clinic.server, &tree.current(), &token).await {
                (what, smallest) = (now, tree.current());
                tree.simplify()
            } else {
                tree.complicate()
            };
        }
        panic!("{what}: {smallest:?} (seed {seed:?})");
    }
    assert!(unreadable > 0 && unreadable < more.unwrap_or(CASES) / 2, "{unreadable} were no HTTP");
    let mut looks = 0;
    while told_by_the_edge(&clinic.server).await < unreadable {
        looks += 1;
        assert!(looks < 50, "{unreadable} requests were no HTTP, and the log knows of fewer");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_eq!(told_by_the_edge(&clinic.server).await, unreadable);
    let _still_serving = clinic.importer.get("/fhir/Patient/ann").await.expect(200);
}

fn rand_seed() -> [u8; 32] {
    let (a, b) = (uuid::Uuid::new_v4(), uuid::Uuid::new_v4());
    let mut seed = [0; 32];
    seed[..16].copy_from_slice(a.as_bytes());
    seed[16..].copy_from_slice(b.as_bytes());
    seed
}
