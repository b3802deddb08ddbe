//! A log, an export and a proof whose bytes never change.
//!
//! If this fails, the format changed: then it needs a new version, not new files.
#![expect(clippy::unwrap_used, reason = "tests")]

#[expect(dead_code, reason = "each test file uses its own part")]
mod support;

use custodia_audit::bundle::*;
use custodia_audit::*;
use support::*;

const EXPORT: &[u8] = include_bytes!("golden/clinic.export");
const PROOF: &[u8] = include_bytes!("golden/entry-261.tlog-proof");
const CHECKPOINT: &[u8] = include_bytes!("golden/checkpoint");
const EARLIER: &[u8] = include_bytes!("golden/checkpoint-100");
const VKEY: &str = include_str!("golden/vkey");
const LEAVES: &str = include_str!("golden/leaves.hex");

const SIZE: u64 = 270;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn view(index: u64) -> View {
    match index {
        260 => View::WithoutWho,
        262 => View::WithoutWhen,
        2..6 | 256.. => View::Opened,
        _ => View::Withheld,
    }
}

#[test]
fn the_golden_files_are_reproduced_byte_for_byte() {
    let log = Log::of(SIZE);
    assert_eq!(format!("{}\n", signer().vkey()), VKEY);
    let leaves: String = log.kept.iter().map(|kept| hex(&kept.leaf().to_bytes()) + "\n").collect();
    assert_eq!(leaves, LEAVES);
    let sign = |log: &Log| signer().sign_checkpoint(&log.checkpoint()).unwrap().into_bytes();
    assert_eq!(sign(&log), CHECKPOINT);
    assert_eq!(sign(&Log::of(100)), EARLIER);
    assert!(log.export_from(0, SIZE, Some(100), view) == EXPORT, "the export's bytes changed");
    let hashes = inclusion_proof(261, SIZE, &log.tiles()).unwrap();
    let checkpoint = String::from_utf8(CHECKPOINT.to_vec()).unwrap();
    let proof = ProofFile { extra: None, index: 261, hashes, checkpoint };
    assert_eq!(proof.to_text().as_bytes(), PROOF);
}

#[test]
fn the_golden_files_verify() {
    let key = Vkey::parse(VKEY.trim_end()).unwrap();
    let keys = [key.clone()];
    let earlier = Checkpoint::open(EARLIER, ORIGIN, &keys, 0).unwrap();
    let trust = Trust::of_log(&key, Some(earlier));
    let mut seen = 0;
    let report = verify(EXPORT, &trust, |entry| {
        assert_eq!(entry.index, seen);
        seen += 1;
    })
    .unwrap();
    assert_eq!((seen, report.size, report.is_whole, report.continues), (SIZE, SIZE, true, Some(100)));
    assert_eq!(report.counts, Counts { opened: 18, withheld: 250, control: 2 });
    assert_eq!(report.findings, []);

    let line = LEAVES.lines().nth(261).unwrap();
    let (pairs, _) = line.as_bytes().as_chunks::<2>();
    let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    let entry: Vec<u8> = pairs.iter().map(byte).collect();
    let proof = ProofFile::parse(PROOF).unwrap();
    assert_eq!(proof.verify(&entry, ORIGIN, &keys, 0).unwrap().size, SIZE);
}
