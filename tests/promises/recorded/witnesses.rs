//! Witnesses: whom a server asks, over TLS, what it makes of the answers, and how long it waits for none.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use custodia::{
    anchor::Unanchored,
    clock::Clock,
    config::Config,
    durable::Durable,
    host::{self, Parts, Range},
    witness::{self, Running, TlsFiles, Witness},
};
use custodia_audit::{
    Checkpoint, Control, Cosigner, Edge, Leaf, Policy, Vkey,
    bundle::{Trust, verify},
    leaf_hash,
    witness::{AddCheckpoint, REQUEST_BYTES_MAX, origin_hash},
};
use custodia_support::{authority::Authority, server::ORIGIN};

use super::anchors::{Place, key};

/// A witness of this log in this process, its folder, and where it listens.
async fn witness(config: &Config, number: u8, key: &Vkey) -> (Running, Vkey, String) {
    let (running, vkey) = witness_by(config, number, key, None).await;
    let url = format!("http://{}", running.address());
    (running, vkey, url)
}

/// The same, with a certificate or without.
async fn witness_by(config: &Config, number: u8, key: &Vkey, tls: Option<&TlsFiles>) -> (Running, Vkey) {
    let cosigner = Cosigner::from_seed(&format!("w.test/{number}"), &[number; 32]).unwrap();
    let vkey = cosigner.vkey();
    let folder = config.home.join(format!("witness-{number}"));
    let witness =
        Witness::new(&folder, cosigner, std::slice::from_ref(key), Durable::private(), Clock::machine());
    let running = witness::serve(Arc::new(witness), "127.0.0.1:0".parse().unwrap(), tls).await.unwrap();
    (running, vkey)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exports_wait_for_the_quorum_of_the_policy() {
    let mut place = Place::new().await;
    let key = key(&place.config).await;
    let (one, one_key, one_url) = witness(&place.config, 1, &key).await;
    let (two, two_key, two_url) = witness(&place.config, 2, &key).await;
    let text = format!(
        "witness a {one_key} {one_url}\nwitness b {two_key} {two_url}/\ngroup both all a b\nquorum both\n"
    );
    let file = place.config.home.join("policy");
    std::fs::write(&file, &text).unwrap();
    place.config.ledger.policy = Some(file);
    let policy = Policy::parse(text.as_bytes()).unwrap().with_log(key.clone());

    let parts = place.parts().await.unwrap();
    parts.anchors.round(&parts.ledger).await;
    let (note, seen) = parts.anchors.cosigned().unwrap();
    let (_, cosigned) = policy.open(note.as_bytes(), ORIGIN).unwrap();
    assert_eq!(cosigned.iter().map(|one| one.witness.as_str()).collect::<Vec<_>>(), ["w.test/1", "w.test/2"]);
    let (file, _) = host::export(&parts, &Range::default(), Vec::new()).await.unwrap();
    let trust = Trust { origin: ORIGIN.into(), policy: policy.clone(), earlier: Some(seen.clone()) };
    let report = verify(file.as_slice(), &trust, |_| ()).unwrap();
    assert_eq!(report.cosigned.len(), 2);

    // With one witness gone nothing is published as cosigned and nothing is exported; the server goes on.
    drop(two);
    parts.ledger.heartbeat().await.unwrap();
    parts.anchors.round(&parts.ledger).await;
    assert_eq!(parts.anchors.cosigned().unwrap().1, seen);
    assert!(parts.anchors.counts().witness_failures() > 0);
    let refused = host::export(&parts, &Range::default(), Vec::new()).await;
    assert!(refused.is_err_and(|error| error.to_string() == "the checkpoint of an export must be cosigned"));
    parts.close().await.unwrap();
    // What was cosigned is found again by the next process.
    let parts = place.parts().await.unwrap();
    assert_eq!(parts.anchors.cosigned().unwrap().1, seen);
    parts.close().await.unwrap();
    drop(one);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_witness_speaks_the_protocol() {
    let place = Place::new().await;
    let key = key(&place.config).await;
    let (running, vkey, url) = witness(&place.config, 3, &key).await;
    let parts = place.parts().await.unwrap();
    let (note, head) = parts.ledger.reader().checkpoint().await.unwrap();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let ask = async |body: String| {
        let answer = http.post(format!("{url}/add-checkpoint")).body(body).send().await.unwrap();
        let media = answer.headers().get("content-type").unwrap().to_str().unwrap().to_owned();
        (answer.status().as_u16(), media, answer.text().await.unwrap())
    };
    let get = async |path: String| {
        let answer = http.get(format!("{url}/{path}")).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let request = |old| AddCheckpoint { old, proof: Vec::new(), checkpoint: note.clone() }.to_text();
    let stored = format!("{}/checkpoint", origin_hash(ORIGIN));
    assert_eq!(get(stored.clone()).await.0, 404);
    assert_eq!(ask(request(1)).await, (409, "text/x.tlog.size".into(), "0\n".into()));
    let (status, _, line) = ask(request(0)).await;
    assert_eq!(status, 200);
    assert!(line.starts_with("\u{2014} w.test/3 "), "{line}");
    assert_eq!(ask(request(0)).await.2, format!("{}\n", head.size));
    let (status, kept) = get(stored).await;
    assert_eq!(status, 200);
    let both = Policy::of_keys(&[key.clone(), vkey], 1);
    assert_eq!(both.open(kept.as_bytes(), ORIGIN).unwrap().0, head);
    let other = note.replace(ORIGIN, "records.test/other");
    assert_eq!(ask(request(0).replace(&note, &other)).await.0, 404);
    assert_eq!(ask(request(0).replace(&format!("\n{}\n", head.size), "\n999\n")).await.0, 403);
    assert_eq!(ask("nonsense".into()).await.0, 400);
    assert_eq!(ask("x".repeat(REQUEST_BYTES_MAX)).await.0, 400);
    assert_eq!(ask("x".repeat(REQUEST_BYTES_MAX + 1)).await.0, 413);
    for path in ["", "checkpoint", "key", "../key/checkpoint"] {
        assert_eq!(get(path.into()).await.0, 404, "{path}");
    }
    parts.close().await.unwrap();
    drop(running);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fork_that_a_witness_saw_is_an_entry_a_count_and_a_refusal_to_start() {
    let mut place = Place::new().await;
    let key = key(&place.config).await;
    let (running, witness_key, url) = witness(&place.config, 4, &key).await;
    let file = place.config.home.join("policy");
    std::fs::write(&file, format!("witness w {witness_key} {url}\nquorum none\n")).unwrap();
    let policy = Some(file);

    // Somebody with the log's key showed the witness another history.
    let parts = place.parts().await.unwrap();
    let signer = super::rotation::thief(&parts);
    let mut edge = Edge::empty();
    for index in 0..2_u8 {
        edge.append(leaf_hash(&[9, index]));
    }
    let forked = Checkpoint { origin: ORIGIN.into(), size: 2, root: edge.root() };
    let checkpoint = signer.sign_checkpoint(&forked).unwrap();
    parts.close().await.unwrap();
    let body = AddCheckpoint { old: 0, proof: Vec::new(), checkpoint }.to_text();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = http.post(format!("{url}/add-checkpoint")).body(body).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);

    place.config.ledger.policy = policy.clone();
    let why = place.why().await;
    assert!(matches!(&why, Unanchored::Forked { place, .. } if place == "the witness w.test/4"), "{why}");
    // A server that was running when it happened says so, once, and goes on.
    drop(running);
    let parts = place.parts().await.unwrap();
    let (_running, _, again) = witness(&place.config, 4, &key).await;
    let address = url.strip_prefix("http://").unwrap();
    let forward = forward(address, again.strip_prefix("http://").unwrap()).await;
    parts.anchors.round(&parts.ledger).await;
    parts.ledger.heartbeat().await.unwrap();
    parts.anchors.round(&parts.ledger).await;
    assert_eq!(parts.anchors.counts().fork_alarms(), 1);
    let (_, head) = parts.ledger.reader().checkpoint().await.unwrap();
    let mut alarms = Vec::new();
    for index in 0..head.size {
        let leaf = parts.ledger.reader().leaf(index).await.unwrap();
        if let Ok(Leaf::Control(Control::ForkAlarm { witness, .. })) = Leaf::from_bytes(&leaf) {
            alarms.push(witness);
        }
    }
    assert_eq!(alarms, ["w.test/4"]);
    parts.close().await.unwrap();
    forward.abort();
}

/// Listens at the address a witness had and passes everything on to where it listens now.
async fn forward(from: &str, to: &str) -> tokio::task::JoinHandle<()> {
    let listener = tokio::net::TcpListener::bind(from).await.unwrap();
    let to = to.to_owned();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let mut far = tokio::net::TcpStream::connect(&to).await.unwrap();
            tokio::spawn(async move { drop(tokio::io::copy_bidirectional(&mut near, &mut far).await) });
        }
    })
}

/// What a policy says of one witness, which alone is the quorum.
fn alone(config: &mut Config, vkey: &Vkey, url: &str) {
    let file = config.home.join("policy");
    std::fs::write(&file, format!("witness w {vkey} {url}\nquorum w\n")).unwrap();
    config.ledger.policy = Some(file);
}

/// Files of an authority's making: the roots that lead to it, and a certificate for `localhost` with its key.
fn files(config: &Config, name: &str) -> (PathBuf, TlsFiles) {
    let authority = Authority::new(name);
    let identity = authority.issue();
    let write = |ending: &str, text: &str| {
        let path = config.home.join(format!("{name}.{ending}"));
        std::fs::write(&path, text).unwrap();
        path
    };
    let roots = write("roots", authority.pem());
    (roots, TlsFiles { certificate: write("pem", &identity.certificate), key: write("key", &identity.key) })
}

/// What one round makes of the witness: whether it cosigned, and how often witnesses failed.
async fn round(parts: &Parts) -> (bool, u64) {
    parts.ledger.heartbeat().await.unwrap();
    parts.anchors.round(&parts.ledger).await;
    let (_, head) = parts.ledger.reader().checkpoint().await.unwrap();
    let cosigned = parts.anchors.cosigned().is_some_and(|(_, seen)| seen == head);
    (cosigned, parts.anchors.counts().witness_failures())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_witness_is_believed_only_behind_a_certificate_that_the_roots_lead_to() {
    let mut place = Place::new().await;
    let key = key(&place.config).await;
    let (roots, tls) = files(&place.config, "ours");
    let (others, _) = files(&place.config, "others");
    let (running, vkey) = witness_by(&place.config, 5, &key, Some(&tls)).await;
    let (named, numbered) =
        (format!("https://localhost:{}", running.address().port()), format!("https://{}", running.address()));
    let (plain, plain_key) = witness_by(&place.config, 6, &key, None).await;
    let clear = format!("https://localhost:{}", plain.address().port());
    // Whose roots, which witness, where; whether it cosigns.
    for (roots, vkey, url, cosigns) in [
        (&others, &vkey, &named, false),
        (&roots, &vkey, &numbered, false),
        (&roots, &plain_key, &clear, false),
        (&roots, &plain_key, &named, false),
        (&roots, &vkey, &named, true),
    ] {
        place.config.ledger.witness_roots = Some(roots.clone());
        alone(&mut place.config, vkey, url);
        let parts = place.parts().await.unwrap();
        let (cosigned, failures) = round(&parts).await;
        assert_eq!((cosigned, failures > 0), (cosigns, !cosigns), "{url} by {}", roots.display());
        let exported = host::export(&parts, &Range::default(), Vec::new()).await;
        assert_eq!(exported.is_ok(), cosigns, "{url}");
        parts.close().await.unwrap();
    }
    // In clear it is not even asked, unless it is on this machine.
    alone(&mut place.config, &vkey, "http://witness.test:80");
    assert!(place.parts().await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_witness_that_says_nothing_holds_up_no_other_and_no_request() {
    let mut place = Place::new().await;
    let key = key(&place.config).await;
    let (_running, vkey, url) = witness(&place.config, 7, &key).await;
    // It takes connections and what is sent, and never answers.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stalled = format!("http://{}", silent.local_addr().unwrap());
    let held = tokio::spawn(async move {
        let mut connections = Vec::new();
        while let Ok((connection, _)) = silent.accept().await {
            connections.push(connection);
        }
    });
    let other = Cosigner::from_seed("w.test/8", &[8; 32]).unwrap().vkey();
    let text =
        format!("witness a {other} {stalled}\nwitness b {vkey} {url}\ngroup one any a b\nquorum one\n");
    let file = place.config.home.join("policy");
    std::fs::write(&file, text).unwrap();
    place.config.ledger.policy = Some(file);
    let began = Instant::now();
    let parts = place.parts().await.unwrap();
    parts.ledger.heartbeat().await.unwrap();
    let beats = async {
        let begun = Instant::now();
        for _ in 0..20 {
            parts.ledger.heartbeat().await.unwrap();
        }
        begun.elapsed()
    };
    let ((cosigned, failures), beating) = tokio::join!(
        async {
            parts.anchors.round(&parts.ledger).await;
            (parts.anchors.cosigned().is_some(), parts.anchors.counts().witness_failures())
        },
        beats
    );
    assert!(cosigned && failures > 0);
    // Five seconds at the start and five for the round, and the log was written meanwhile.
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    assert!(beating < Duration::from_secs(4), "{beating:?}");
    parts.close().await.unwrap();
    held.abort();
}
