//! Exports of several logs, judged together.

use custodia_audit::*;

use super::support::*;
use super::{Folder, Second, cases::opened, first_verifier};

const SECOND: &str = "audit.example/clinic/1";

fn key(origin: &str) -> Signer {
    Signer::from_seed(origin, &[7; 32]).unwrap()
}

/// The whole of a log that says it is one of several.
fn export(origin: &str, shard: u64, count: u64) -> Vec<u8> {
    let mut log = Log::new(origin);
    log.control(Control::Start { node: "n".into(), time_micros: 0, version: "1".into() });
    for count in [1, count, 0] {
        log.control(Control::Shards { node: "n".into(), time_micros: 0, shard, count });
    }
    log.access("n", 0, 0);
    let note = key(origin).sign_checkpoint(&log.checkpoint()).unwrap();
    log.export_by(&key(origin), log.header(0, 5), &note, None, opened)
}

#[test]
fn both_verifiers_miss_a_log_that_others_speak_of() {
    let folder = Folder::new("together");
    let mut second = Second::start();
    let first = folder.file("first", &export(ORIGIN, 0, 2));
    let other = folder.file("other", &export(SECOND, 1, 2));
    let third = folder.file("third", &export(ORIGIN, 0, 3));
    let mut bytes = export(SECOND, 1, 2);
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    let bad = folder.file("bad", &bytes);
    let unrelated = folder.file("unrelated", &export("other.example/log/1", 0, 1));
    let keys = [ORIGIN, SECOND, "other.example/log/1"].map(|origin| key(origin).vkey().to_string());
    let note =
        key(SECOND).sign_checkpoint(&Checkpoint { origin: SECOND.into(), size: 0, root: Hash::empty_root() });
    let earlier = folder.file("earlier", note.unwrap().as_bytes());
    let nothing: &[&str] = &[];
    // The files, the exit code, and the logs that are missed.
    for (files, code, missing) in [
        (vec![&first, &other], 0, nothing),
        (vec![&other, &first], 0, nothing),
        (vec![&other, &unrelated, &first], 0, nothing),
        (vec![&first, &unrelated], 1, &[SECOND]),
        (vec![&other, &unrelated], 1, &[ORIGIN]),
        (vec![&third, &other], 1, &["audit.example/clinic/2"]),
        (vec![&first, &bad], 1, &[SECOND]),
        (vec![&first, &first], 1, &[SECOND]),
        (vec![&first, &other, &unrelated, &first], 2, nothing),
    ] {
        let mut arguments = vec!["--json".to_owned(), "--earlier".to_owned(), earlier.clone()];
        arguments.extend(keys.iter().flat_map(|key| ["--vkey".to_owned(), key.clone()]));
        arguments.extend(files.iter().map(|file| (*file).clone()));
        let said = first_verifier(&arguments);
        assert_eq!(said.0, code, "{files:?}: {}", said.1);
        if code < 2 {
            assert_eq!(said.1["missing"], serde_json::json!(missing), "{files:?}");
            assert_eq!(said.1["exports"].as_array().unwrap().len(), files.len());
        }
        if let Some(second) = &mut second {
            let mut other = second.ask(&arguments);
            let mut said = said;
            // The words for people are each verifier's own.
            for report in [&mut said.1, &mut other.1] {
                let exports = report.get_mut("exports").and_then(serde_json::Value::as_array_mut);
                exports
                    .into_iter()
                    .flatten()
                    .for_each(|one| drop(one.as_object_mut().unwrap().remove("reason")));
            }
            assert_eq!(said, other, "{files:?}: the verifiers disagree");
        }
    }
    let one = vec!["--json".to_owned(), "--vkey".to_owned(), keys[0].clone(), first];
    let said = first_verifier(&one);
    assert_eq!((said.0, &said.1["report"]["shards"]), (0, &serde_json::json!([0, 2])));
}
