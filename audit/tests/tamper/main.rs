//! Every way to tamper with an export, and what both verifiers say of it: custodia-verify and verify.py.
//!
//! verify.py was written from FORMAT.md. Where Python or its package `cryptography` is missing, that half is not run and
//! this says so; with SECOND_VERIFIER=required in the environment, as in CI, it fails instead.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod calls;
mod cases;
mod chance;
mod rotation;
mod second;
mod spelt;
#[expect(dead_code, reason = "each test file uses its own part")]
#[path = "../support/mod.rs"]
mod support;
mod together;

use std::path::{Path, PathBuf};
use std::process::Command;

use cases::{Case, Said};
use second::Second;
use serde_json::Value;

/// A folder of this test, removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// What a verifier answered: its exit code, and its report without the words for people.
type Answer = (i32, Value);

fn answer(code: i32, out: &str) -> Answer {
    let mut report: Value = serde_json::from_str(out).unwrap_or(Value::Null);
    if let Some(report) = report.as_object_mut() {
        report.remove("reason");
    }
    (code, report)
}

fn first_verifier(arguments: &[String]) -> Answer {
    let output = Command::new(env!("CARGO_BIN_EXE_custodia-verify")).args(arguments).output().unwrap();
    answer(output.status.code().unwrap(), &String::from_utf8(output.stdout).unwrap())
}

/// The call for a case; entries go to `entries`.
fn call(folder: &Folder, case: &Case, entries: &str) -> Vec<String> {
    let mut arguments: Vec<String> = vec!["--json".into()];
    match &case.policy {
        Some(policy) => arguments.extend(["--policy".into(), folder.file("policy", policy.as_bytes())]),
        None => {
            arguments.extend(case.keys.iter().flat_map(|key| ["--vkey".to_owned(), key.to_string()]));
            arguments.extend(["--quorum".into(), case.quorum.to_string()]);
        }
    }
    if let Some(earlier) = &case.earlier {
        arguments.extend(["--earlier".into(), folder.file("earlier", earlier.as_bytes())]);
    }
    arguments.extend(["--entries".into(), folder.0.join(entries).to_str().unwrap().to_owned()]);
    arguments.push(folder.file("export", &case.export));
    arguments
}

fn check(case: &Case, folder: &Folder, second: &mut Option<Second>) {
    let first = first_verifier(&call(folder, case, "first"));
    match &case.said {
        Said::Verified(findings) => {
            assert_eq!(first.0, 0, "{}: {}", case.name, first.1);
            let found = first.1.pointer("/report/findings").unwrap().as_array().unwrap();
            let found: Vec<_> =
                found.iter().map(|finding| finding.get("finding").unwrap().as_str().unwrap()).collect();
            assert_eq!(&found, findings, "{}", case.name);
        }
        Said::Refused(place, code) => {
            let at = |key| first.1.get(key).and_then(Value::as_str);
            assert_eq!((first.0, at("place"), at("code")), (1, Some(*place), Some(*code)), "{}", case.name);
        }
        Said::Anything => assert!(first.0 < 2, "{}: {}", case.name, first.1),
    }
    let Some(second) = second else { return };
    let other = second.ask(&call(folder, case, "second"));
    assert_eq!(first, other, "{}: the verifiers disagree", case.name);
    if first.0 == 0 {
        let entries = |name| std::fs::read_to_string(folder.0.join(name)).unwrap();
        assert_eq!(entries("first"), entries("second"), "{}: they read other entries", case.name);
    }
}

#[test]
fn both_verifiers_agree_on_every_case() {
    let folder = Folder::new("tamper");
    let mut second = Second::start();
    for case in cases::all() {
        check(&case, &folder, &mut second);
    }
}

#[test]
fn both_verifiers_agree_on_any_history_of_nodes() {
    let folder = Folder::new("histories");
    let mut second = Second::start();
    let mut refused = 0;
    let cases = chance::histories(400);
    for case in &cases {
        check(case, &folder, &mut second);
        refused += first_verifier(&call(&folder, case, "first")).0;
    }
    assert!((40..360).contains(&refused), "{refused} of 400 refused: such cases tell little");
}

#[test]
fn both_verifiers_read_the_golden_log() {
    let golden = |name: &str| format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = |name: &str| std::fs::read_to_string(golden(name)).unwrap();
    let key = text("vkey").trim_end().to_owned();
    let leaf = text("leaves.hex").lines().nth(261).unwrap().to_owned();
    let mut second = Second::start();
    for arguments in [
        vec!["--earlier".to_owned(), golden("checkpoint-100"), golden("clinic.export")],
        vec!["proof".to_owned(), golden("entry-261.tlog-proof"), leaf],
    ] {
        let arguments = [vec!["--json".to_owned(), "--vkey".to_owned(), key.clone()], arguments].concat();
        let first = first_verifier(&arguments);
        assert_eq!(first.0, 0, "{}", first.1);
        if let Some(second) = &mut second {
            assert_eq!(first, second.ask(&arguments));
        }
    }
}

#[test]
fn both_verifiers_agree_on_any_damage() {
    let folder = Folder::new("damage");
    let mut second = Second::start();
    for case in chance::damaged(300) {
        check(&case, &folder, &mut second);
    }
}

/// An auditor is to read it in a sitting.
#[test]
fn the_second_verifier_stays_short() {
    let (mut lines, mut code) = (0, 0);
    for (name, lines_max) in [("verify.py", 400), ("tlog.py", 250)] {
        let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap();
        assert!(text.lines().count() < lines_max, "{name}: {} lines", text.lines().count());
        assert!(text.lines().all(|line| line.chars().count() <= 120), "{name}: a line is too long");
        lines += text.lines().count();
        let mut is_words = false;
        for line in text.lines().map(str::trim) {
            // What stands between two marks is for people, as are comments and empty lines.
            let marks = line.matches("\"\"\"").count();
            code += usize::from(!(is_words || marks > 0 || line.is_empty() || line.starts_with('#')));
            is_words ^= marks == 1;
        }
    }
    // Both together (compliance/decisions/0033 and 0035).
    assert!(lines < 620 && code < 525, "{lines} lines, {code} of them code");
}

#[test]
fn both_verifiers_agree_on_proofs_and_policies() {
    let folder = Folder::new("proofs");
    let mut second = Second::start();
    for (name, arguments, code) in calls::calls(&|name, bytes| folder.file(name, bytes)) {
        let first = first_verifier(&arguments);
        assert_eq!(first.0, code, "{name}: {}", first.1);
        if let Some(second) = &mut second {
            assert_eq!(first, second.ask(&arguments), "{name}: the verifiers disagree");
        }
    }
}
