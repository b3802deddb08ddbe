//! Exports of a log whose key changes: before, while two keys sign, and after.

use custodia_audit::*;

use super::cases::{Case, Said, opened};
use super::support::*;

/// Entries before the second key, while both sign, and in all.
const BEFORE: u64 = 4;
const OVERLAP: u64 = 8;
const AFTER: u64 = 12;

fn newer() -> Signer {
    Signer::from_seed(ORIGIN, &[8; 32]).unwrap()
}

fn both() -> Signer {
    signer().with_newer(newer())
}

/// The log at a size: entry 4 begins the rotation, entry 8 ends it.
fn log(size: u64) -> Log {
    let mut log = Log::new(ORIGIN);
    let (old_vkey, new_vkey) = (signer().vkey().to_string(), newer().vkey().to_string());
    let mut sequence = 0;
    for index in 0..size {
        match index {
            BEFORE => log.control(Control::KeyRotation {
                time_micros: 0,
                old_vkey: old_vkey.clone(),
                new_vkey: new_vkey.clone(),
            }),
            OVERLAP => log.control(Control::KeyRetirement { time_micros: 0, vkey: old_vkey.clone() }),
            _ => {
                log.access("node-a", sequence, 0);
                sequence += 1;
            }
        }
    }
    log
}

fn case(name: &str, export: Vec<u8>, keys: &[Vkey], said: Said) -> Case {
    let name = format!("rotation: {name}");
    Case { name, export, keys: keys.to_vec(), quorum: 0, policy: None, earlier: None, said }
}

/// The whole log at a size, its checkpoint and manifest signed by these.
fn export(size: u64, note: &Signer, manifest: &Signer, earlier: Option<u64>) -> Vec<u8> {
    let log = log(size);
    let note = note.sign_checkpoint(&log.checkpoint()).unwrap();
    log.export_by(manifest, log.header(0, size), &note, earlier, opened)
}

pub(crate) fn all() -> Vec<Case> {
    let (old, new) = (signer().vkey(), newer().vkey());
    let (only_old, only_new, either) = ([old.clone()], [new.clone()], [old, new]);
    let found = |findings: &[&'static str]| Said::Verified(findings.to_vec());
    let unsigned = |place| Said::Refused(place, "unsigned");
    let begun = ["key-rotated"];
    let ended = ["key-rotated", "key-retired"];
    let mut cases = Vec::new();
    let before = export(BEFORE, &signer(), &signer(), None);
    cases.push(case("before, old key", before.clone(), &only_old, found(&[])));
    cases.push(case("before, new key", before.clone(), &only_new, unsigned("checkpoint")));
    cases.push(case("before, either", before, &either, found(&[])));
    // The first checkpoint that both sign is the one over the entry that says so.
    for size in [BEFORE + 1, OVERLAP] {
        let bundle = export(size, &both(), &both(), None);
        for (name, keys) in [("old key", &only_old[..]), ("new key", &only_new), ("either", &either)] {
            cases.push(case(&format!("{size} entries, {name}"), bundle.clone(), keys, found(&begun)));
        }
    }
    for size in [OVERLAP + 1, AFTER] {
        let bundle = export(size, &newer(), &newer(), Some(OVERLAP));
        cases.push(case(&format!("{size}, old key"), bundle.clone(), &only_old, unsigned("checkpoint")));
        // The checkpoint of the overlap is kept by whoever has the new key alone, and continued.
        let mut continued = case(&format!("{size}, new key"), bundle, &only_new, found(&ended));
        continued.earlier = Some(both().sign_checkpoint(&log(OVERLAP).checkpoint()).unwrap());
        cases.push(continued);
    }
    let half = export(OVERLAP, &both(), &signer(), None);
    cases.push(case("a manifest by the old key", half.clone(), &only_old, found(&begun)));
    cases.push(case("the same, new key", half, &only_new, unsigned("manifest")));
    // One signature of two is false: whoever knows its key refuses, whoever does not takes the other.
    let log = log(OVERLAP);
    let sound = both().sign_checkpoint(&log.checkpoint()).unwrap();
    let stray = newer().sign_checkpoint(&Log::of(3).checkpoint()).unwrap();
    let (text, lines) = sound.rsplit_once("\n\n").unwrap();
    let (first, _) = lines.split_once('\n').unwrap();
    let (_, line) = stray.rsplit_once("\n\n").unwrap();
    let forged = format!("{text}\n\n{first}\n{line}");
    let forged = log.export_by(&both(), log.header(0, OVERLAP), &forged, None, opened);
    cases.push(case(
        "a false second signature",
        forged.clone(),
        &either,
        Said::Refused("checkpoint", "signature"),
    ));
    cases.push(case("the same, old key", forged, &only_old, found(&begun)));
    cases
}
