//! `custodia-verify` as an auditor runs it: its words and its exit codes.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::{Path, PathBuf};
use std::process::Command;

const ENTRY_261: usize = 261;

fn golden(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name).to_str().unwrap().to_owned()
}

fn vkey() -> String {
    std::fs::read_to_string(golden("vkey")).unwrap().trim_end().to_owned()
}

fn entry(index: usize) -> String {
    std::fs::read_to_string(golden("leaves.hex")).unwrap().lines().nth(index).unwrap().to_owned()
}

/// A file of this test run, removed when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, bytes: &[u8]) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{name}", std::process::id()));
        std::fs::write(&path, bytes).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}

fn run(arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_custodia-verify")).args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_sound_export_is_verified() {
    let (key, export, earlier) = (vkey(), golden("clinic.export"), golden("checkpoint-100"));
    let (code, out, err) = run(&["--vkey", &key, "--earlier", &earlier, &export]);
    assert_eq!((code, err.as_str()), (0, ""));
    let expected = "VERIFIED\n  log        audit.example/clinic\n  checkpoint 270 entries, root ";
    assert!(out.starts_with(expected), "{out}");
    for line in [
        "  range      0 up to, not including, 270: 270 entries, the whole log\n",
        "  opened     18\n  withheld   250\n  control    2\n  exported   2027-01-15T08:00:00Z\n",
        "  continues  your earlier checkpoint of 100 entries\n  findings   0\n",
    ] {
        assert!(out.contains(line), "{out}");
    }
}

#[test]
fn entries_are_written_as_json_lines() {
    let lines = Scratch::new("entries", b"");
    let (code, out, _) =
        run(&["--vkey", &vkey(), "--json", "--entries", lines.path(), &golden("clinic.export")]);
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, report.pointer("/verified").unwrap()), (0, &true.into()));
    assert_eq!(report.pointer("/report/counts/opened").unwrap(), 18);
    let text = std::fs::read_to_string(lines.path()).unwrap();
    let entries: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(entries.len(), 270);
    let at = |index: usize, pointer: &str| entries.get(index).unwrap().pointer(pointer).cloned().unwrap();
    assert_eq!(at(0, "/control/control"), "start");
    assert_eq!(at(5, "/opened/subject/patient"), "Patient/5");
    assert_eq!(at(7, "/withheld"), entry(7).strip_prefix("01").unwrap());
    assert_eq!(at(260, "/opened/actor"), serde_json::Value::Null);
    assert_eq!(at(261, "/opened/object/items/0/action"), "released");
}

#[test]
fn a_tampered_export_is_refused_and_says_where() {
    let mut bytes = std::fs::read(golden("clinic.export")).unwrap();
    let at = bytes.windows(9).position(|window| window == b"token-261").unwrap();
    *bytes.get_mut(at).unwrap() ^= 1;
    let bad = Scratch::new("tampered", &bytes);
    let (code, out, _) = run(&["--vkey", &vkey(), bad.path()]);
    assert_eq!(
        (code, out.as_str()),
        (1, "REFUSED\n  where  index 261\n  why    the entry does not match the log\n")
    );
    let (code, out, _) = run(&["--vkey", &vkey(), "--json", bad.path()]);
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    let expected = serde_json::json!({
        "verified": false, "place": "index 261", "index": 261, "code": "not-in-log",
        "reason": "the entry does not match the log"
    });
    assert_eq!((code, report), (1, expected));
}

#[test]
fn another_key_or_origin_is_refused() {
    let other = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";
    let export = golden("clinic.export");
    let (code, out, _) = run(&["--vkey", other, &export]);
    assert_eq!(
        (code, out.as_str()),
        (1, "REFUSED\n  where  header\n  why    the export is of another log\n")
    );
    let (code, out, _) = run(&["--vkey", other, "--origin", "audit.example/clinic", &export]);
    let expected = "REFUSED\n  where  checkpoint\n  why    no trusted key signed the note\n";
    assert_eq!((code, out.as_str()), (1, expected));
}

#[test]
fn a_proof_is_verified_for_its_entry_alone() {
    let (key, proof) = (vkey(), golden("entry-261.tlog-proof"));
    let (code, out, _) = run(&["proof", "--vkey", &key, &proof, &entry(ENTRY_261)]);
    let expected = "VERIFIED\n  log        audit.example/clinic\n  checkpoint 270 entries\n  cosigned   by no witness that you named\n  index      261: an access\n";
    assert_eq!((code, out.as_str()), (0, expected));
    let (code, out, _) = run(&["proof", "--vkey", &key, &proof, &entry(260)]);
    let expected = "REFUSED\n  why    inclusion: the proof leads to another root\n";
    assert_eq!((code, out.as_str()), (1, expected));
    let (code, out, _) = run(&["proof", "--json", "--vkey", &key, &golden("checkpoint"), &entry(ENTRY_261)]);
    assert_eq!(code, 1);
    assert!(out.contains(r#""verified":false"#), "{out}");
}

#[test]
fn wrong_usage_and_unreadable_files_are_neither_verified_nor_refused() {
    let (key, export, proof) = (vkey(), golden("clinic.export"), golden("entry-261.tlog-proof"));
    let witness = "w.example+00000000+BM4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";
    let table: &[&[&str]] = &[
        &[],
        &[&export],
        &["--vkey"],
        &["--vkey", "nonsense", &export],
        &["--vkey", witness, &export],
        &["--vkey", &key],
        &["--vkey", &key, &export, &export],
        &["--vkey", &key, "--frobnicate", &export],
        &["--vkey", &key, "--quorum", "1", &export],
        &["--vkey", &key, "--origin", "a", "--origin", "b", &export],
        &["--vkey", &key, "/nonexistent/export"],
        &["--vkey", &key, "--earlier", &export, &export],
        &["--vkey", &key, "--entries", "/nonexistent/entries", &export],
        &["proof", "--vkey", &key, &proof],
        &["proof", "--vkey", &key, "--earlier", &export, &proof, "01"],
        &["proof", "--vkey", &key, &proof, "/nonexistent/entry"],
    ];
    for arguments in table {
        let (code, out, err) = run(arguments);
        assert_eq!((code, out.as_str()), (2, ""), "{arguments:?}");
        assert!(!err.is_empty(), "{arguments:?}");
    }
    let (code, out, _) = run(&["--help"]);
    assert!(code == 0 && out.contains("Exit code: 0 verified, 1 refused"), "{out}");
}
