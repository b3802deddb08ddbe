//! Random searches against a server that holds sealed records, each answer compared with a brute-force evaluator over
//! the plaintext that shares no code with the server: nothing missing, nothing extra.
//!
//! `CUSTODIA_SEARCHES` says how many, `CUSTODIA_SEARCH_SEED` which (decimal); both are printed. `just search-long` runs
//! 200,000.

#![expect(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on has failed"
)]

mod ask;
mod draw;
mod expression;
mod truth;
mod us_core;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use custodia::clock::Clock;
use custodia_support::{
    client::{Client, Reply},
    cluster::TestCluster,
    people::Partner,
    server::TestServer,
};
use serde_json::{Value, json};

use ask::Search;
use draw::Draw;
use truth::World;

/// The records of the demo (src/bin/custodia/demo/data/README.md): the directory, then a patient a line.
const PRESSED: &[u8] = include_bytes!("../../src/bin/custodia/demo/data/synthea.ndjson.zst");
/// Lines of it that are loaded: enough for every sort of record, few enough for a debug build.
const LINES: usize = 9;
/// Searches unless the environment says otherwise.
const SEARCHES: usize = 3_000;
/// Lists that are asked for what they name.
const LISTS: usize = 6;
/// Searches under way at once.
const AT_ONCE: usize = 32;

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

async fn load(importer: &Client) -> World {
    let text = zstd::decode_all(PRESSED).unwrap();
    let mut world = World::default();
    for line in text.split(|byte| *byte == b'\n').take(LINES) {
        let mut bundle: Value = serde_json::from_slice(line).unwrap();
        for (n, entry) in bundle["entry"].as_array_mut().unwrap().iter_mut().enumerate() {
            truth::disturb(&mut entry["resource"], n);
            world.add(entry["resource"].clone());
        }
        let _stored = importer.post("/fhir", &bundle).await.expect(200);
    }
    // Lists of all sorts of records, some of them taken off.
    let mut draw = Draw::new(7);
    let lists: Vec<Value> = (0..LISTS).map(|n| list(n, &world, &mut draw)).collect();
    for list in lists {
        let path = format!("/fhir/List/{}", list["id"].as_str().unwrap());
        let _stored = importer.put(&path, &list).await.expect(201);
        world.add(list);
    }
    world
}

fn list(n: usize, world: &World, draw: &mut Draw) -> Value {
    let kinds =
        ["Patient", "Observation", "Encounter", "Condition", "Procedure", "Organization", "Practitioner"];
    let entries: Vec<Value> = (0..20 + n * 15)
        .map(|_| {
            let kind = *draw.of(&kinds);
            let one = truth::name(draw.of(world.list(kind)));
            if draw.percent(20) {
                json!({"deleted": true, "item": {"reference": one}})
            } else {
                json!({"item": {"reference": one}})
            }
        })
        .collect();
    json!({"resourceType": "List", "id": format!("list-{n}"), "status": "current", "mode": "changes", "entry": entries})
}

/// Follows next links; ids in order, and of what was included.
async fn walk(client: &Client, path: &str) -> Result<(Vec<String>, BTreeSet<String>), String> {
    collect(client, client.get(path).await).await
}

/// The same from the first page on.
async fn collect(client: &Client, first: Reply) -> Result<(Vec<String>, BTreeSet<String>), String> {
    let (mut found, mut others, mut reply) = (Vec::new(), BTreeSet::new(), first);
    loop {
        let bundle = reply.json();
        if reply.status != 200 {
            let text = bundle["issue"][0]["details"]["text"].as_str().unwrap_or_default().to_owned();
            return Err(format!("{} {text}", reply.status));
        }
        for entry in bundle["entry"].as_array().into_iter().flatten() {
            let resource = &entry["resource"];
            let name = format!(
                "{}/{}",
                resource["resourceType"].as_str().unwrap(),
                resource["id"].as_str().unwrap()
            );
            match entry["search"]["mode"].as_str() {
                Some("match") => found.push(name),
                Some("include") => _ = others.insert(name),
                other => panic!("an entry of mode {other:?}"),
            }
        }
        let links = bundle["link"].as_array().unwrap();
        let next = links.iter().find(|link| link["relation"] == "next");
        let Some(next) = next else { return Ok((found, others)) };
        reply = client.get(next["url"].as_str().unwrap()).await;
    }
}

/// What one search came to.
enum Verdict {
    Right {
        matches: usize,
        how: &'static str,
    },
    /// It would have opened more than the bound, and said so.
    OverTheBound,
    Wrong(String),
}

async fn check(client: &Client, world: &World, search: &Search) -> Verdict {
    let expected: BTreeSet<String> = search
        .kinds
        .iter()
        .flat_map(|kind| world.all(kind))
        .filter(|one| search.holds(world, one))
        .map(truth::name)
        .collect();
    let included = search.included(world, &expected);
    let (mut url, mut how) = (search.url(expected.len()), "as drawn");
    let mut answer = walk(client, &url).await;
    // What nothing narrows is refused; it is asked again of every patient there is, which leaves nothing out.
    if answer.as_ref().is_err_and(|refusal| refusal.contains("Nothing narrows this search")) {
        (url, how) = (format!("{url}&{}", search.everybody(world)), "of every patient");
        answer = walk(client, &url).await;
    }
    let (found, others) = match answer {
        Ok(both) => both,
        Err(refusal) if refusal.contains("would have to open more than") => return Verdict::OverTheBound,
        Err(other) => return Verdict::Wrong(format!("{url}: {other}")),
    };
    let set: BTreeSet<String> = found.iter().cloned().collect();
    if set.len() != found.len() {
        return Verdict::Wrong(format!("{url}: something twice"));
    }
    if set != expected {
        let missing: Vec<_> = expected.difference(&set).collect();
        let extra: Vec<_> = set.difference(&expected).collect();
        return Verdict::Wrong(format!("{url}: missing {missing:?}, extra {extra:?}"));
    }
    if others != included {
        return Verdict::Wrong(format!("{url}: included {others:?} instead of {included:?}"));
    }
    if !search.in_order(world, &found) {
        return Verdict::Wrong(format!("{url}: not in order"));
    }
    Verdict::Right { matches: found.len(), how }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_is_that_of_brute_force_over_plaintext() {
    let (searches, seed) =
        (number("CUSTODIA_SEARCHES", SEARCHES as u64), number("CUSTODIA_SEARCH_SEED", 20_240_601));
    println!("CUSTODIA_SEARCHES={searches} CUSTODIA_SEARCH_SEED={seed}");
    let change = |config: &mut custodia::config::Config| config.search.population = vec!["all".to_owned()];
    let server = TestServer::with(TestCluster::quick().await, Clock::machine(), change).await;
    let world = Arc::new(load(&server.partner(Partner::Importer)).await);
    let next = Arc::new(AtomicUsize::new(0));
    let workers: Vec<_> = (0..AT_ONCE)
        .map(|_| {
            let (client, world, next) =
                (server.partner(Partner::Importer), Arc::clone(&world), Arc::clone(&next));
            tokio::spawn(async move {
                let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
                let mut wrong = Vec::new();
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed) as u64;
                    if n >= searches || wrong.len() >= 5 {
                        return (counts, wrong);
                    }
                    let search =
                        Search::draw(&world, &mut Draw::new(seed ^ n.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
                    match check(&client, &world, &search).await {
                        Verdict::Right { matches, how } => {
                            let what = if matches == 0 { "found nothing" } else { "found something" };
                            *counts.entry(what).or_default() += 1;
                            *counts.entry(how).or_default() += 1;
                        }
                        Verdict::OverTheBound => *counts.entry("over the bound").or_default() += 1,
                        Verdict::Wrong(what) => wrong.push(what),
                    }
                }
            })
        })
        .collect();
    let (mut counts, mut wrong): (BTreeMap<&str, usize>, Vec<String>) = Default::default();
    for worker in workers {
        let (its, bad) = worker.await.unwrap();
        its.into_iter().for_each(|(what, count)| *counts.entry(what).or_default() += count);
        wrong.extend(bad);
    }
    println!("{counts:?}");
    assert!(wrong.is_empty(), "seed {seed}: {} wrong\n{}", wrong.len(), wrong.join("\n"));
    let something = counts.get("found something").copied().unwrap_or(0) as u64;
    let drawn = counts.get("as drawn").copied().unwrap_or(0) as u64;
    let over = counts.get("over the bound").copied().unwrap_or(0) as u64;
    assert!(over * 100 < searches, "too many searches are refused to prove anything");
    assert!(something * 3 > searches, "too many searches find nothing to prove anything");
    assert!(
        drawn * 4 > searches * 3,
        "too many searches are narrowed for the test to prove how marks narrow"
    );
}
