//! What the shipped policies say: the cases, the matrix, and an oracle that has never read them.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod oracle;

use std::{collections::HashSet, fs, path::PathBuf};

use custodia::gate::{Gate, cases, matrix};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("policies")
}

#[test]
fn every_case_is_decided_as_written() {
    let gate = Gate::shipped().unwrap();
    let cases = cases::load(&folder().join("cases")).unwrap();
    assert!(cases.len() >= 80, "{} cases", cases.len());
    let faults: Vec<String> = cases.iter().filter_map(|case| case.fault(&gate).unwrap()).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_wrong_case_is_a_fault() {
    let gate = Gate::shipped().unwrap();
    for case in cases::load(&folder().join("cases")).unwrap() {
        let mut other = case.clone();
        other.expect = match case.expect {
            cases::Expect::Allow => cases::Expect::Deny,
            cases::Expect::Deny => cases::Expect::Allow,
        };
        assert!(other.fault(&gate).unwrap().is_some(), "{}", case.name);
        let mut other = case.clone();
        other.policies.push("another".to_owned());
        assert!(other.fault(&gate).unwrap().is_some(), "{}", case.name);
    }
}

#[test]
fn every_policy_decides_a_case_and_every_name_is_used_once() {
    let gate = Gate::shipped().unwrap();
    let cases = cases::load(&folder().join("cases")).unwrap();
    let decided: HashSet<&String> = cases.iter().flat_map(|case| &case.policies).collect();
    let idle: Vec<String> = gate.policy_ids().iter().filter(|id| !decided.contains(id)).cloned().collect();
    assert!(idle.is_empty(), "no case is decided by {idle:?}");
    let names: HashSet<&String> = cases.iter().map(|case| &case.name).collect();
    assert_eq!(names.len(), cases.len());
}

#[test]
fn the_matrix_is_up_to_date() {
    let found = matrix::text(&Gate::shipped().unwrap()).unwrap();
    let written = fs::read_to_string(folder().join("matrix.out")).unwrap_or_default();
    let differs = found.lines().zip(written.lines()).position(|(a, b)| a != b);
    if found != written {
        panic!(
            "policies/matrix.out differs at line {}. Run `cargo run -- policies test` and review the difference.",
            differs.unwrap_or_else(|| found.lines().count().min(written.lines().count())) + 1
        );
    }
}

#[test]
fn the_folder_says_what_the_binary_ships() {
    let (shipped, read) = (Gate::shipped().unwrap(), Gate::load(&folder()).unwrap());
    assert_eq!(shipped.policy_set(), read.policy_set());
    assert_eq!(shipped.policy_ids(), read.policy_ids());
}
