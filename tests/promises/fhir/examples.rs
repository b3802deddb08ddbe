//! HL7's official examples: each one that the server ships is stored and read back as it was.

use std::io::Read as _;

use custodia::{clock::Clock, config::Config};
use custodia_support::{cluster::TestCluster, server::TestServer};
use flate2::read::GzDecoder;
use serde_json::Value;

use crate::clinic::{Clinic, as_sent};

/// The examples that break R4 themselves: `Type/id`, the rule each breaks, and how.
const REFUSED: &str = include_str!("../../data/r4-examples.refused.txt");

/// The rule that an example breaks.
fn broken(name: &str) -> Option<&'static str> {
    let mut lines = REFUSED.lines().filter_map(|line| line.split_once(' '));
    lines.find(|(one, _)| *one == name).and_then(|(_, rest)| rest.split(' ').next())
}

/// Examples of the R4 specification, one resource a line.
fn examples() -> Vec<Value> {
    let packed = include_bytes!("../../data/r4-examples.ndjson.gz");
    let mut text = String::new();
    GzDecoder::new(packed.as_slice()).read_to_string(&mut text).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Stores an example, and reads it back; what was otherwise than expected.
async fn round_trip(clinic: &Clinic, example: &Value) -> Option<String> {
    let (kind, id) = (example["resourceType"].as_str().unwrap(), example["id"].as_str().unwrap());
    let (name, path) = (format!("{kind}/{id}"), format!("/fhir/{kind}/{id}"));
    let put = clinic.importer.put(&path, example).await;
    if let Some(rule) = broken(&name) {
        // One has an id of 70 characters, which is no id: nothing can be at its URL.
        let issues = put.json()["issue"].as_array().unwrap().clone();
        let refused = match put.status {
            404 => id.len() > 64,
            413 => rule == "body-too-large",
            422 => issues.iter().any(|issue| issue["diagnostics"] == rule),
            _ => false,
        };
        return (!refused).then(|| format!("{name}: expected {rule}, got {} {}", put.status, put.text()));
    }
    if !matches!(put.status, 200 | 201) {
        return Some(format!("{name}: PUT {} {}", put.status, put.text()));
    }
    let read = clinic.importer.get(&path).await.expect(200).json();
    (as_sent(read) != as_sent(example.clone())).then(|| format!("{name}: read back otherwise"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_official_example_comes_back_as_it_was_sent() {
    let clinic = Clinic::open().await;
    let examples = examples();
    assert_eq!(examples.len(), 734);
    let mut different = Vec::new();
    // A Binary wants the record that decides who may see it to be there before.
    let (last, first): (Vec<&Value>, _) =
        examples.iter().partition(|example| example["resourceType"] == "Binary");
    for example in first.into_iter().chain(last) {
        different.extend(round_trip(&clinic, example).await);
    }
    assert_eq!(different, Vec::<String>::new());
}

/// `R4_EXAMPLES=hl7.fhir.r4.examples-4.0.1.tgz cargo test --release --test promises -- --ignored official_package`
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "wants the package hl7.fhir.r4.examples 4.0.1, which is 19 MB"]
async fn the_whole_official_package_comes_back_as_it_was_sent() {
    let change = |config: &mut Config| config.limits.body_ms = 300_000;
    let server = TestServer::with(TestCluster::quick().await, Clock::machine(), change).await;
    let clinic = Clinic::on(server).await;
    let package = std::fs::read(std::env::var("R4_EXAMPLES").unwrap()).unwrap();
    let mut archive = tar::Archive::new(GzDecoder::new(package.as_slice()));
    let (mut different, mut sent, mut binaries) = (Vec::new(), 0, Vec::new());
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        if entry.path().unwrap().extension().is_none_or(|ending| ending != "json") {
            continue;
        }
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        let example: Value = serde_json::from_str(text.trim_start_matches('\u{feff}')).unwrap();
        if example.get("resourceType").is_none() {
            continue;
        }
        sent += 1;
        if example["resourceType"] == "Binary" {
            binaries.push(example);
        } else {
            different.extend(round_trip(&clinic, &example).await);
        }
    }
    for example in &binaries {
        different.extend(round_trip(&clinic, example).await);
    }
    assert_eq!((sent, different), (5_306, Vec::new()));
}
