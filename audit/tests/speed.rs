//! How fast: the steps of one entry, and an export of a million written and verified as a stream.
//!
//! Run with `cargo test -p custodia-audit --release --test speed -- --ignored --nocapture`.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

#[expect(dead_code, reason = "each test file uses its own part")]
mod support;

use std::collections::HashMap;
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::time::{Duration, Instant};

use custodia_audit::bundle::*;
use custodia_audit::*;
use support::*;

const ENTRIES: u64 = 1_000_000;

/// The same entry each time it is asked for: the log is written from it twice, and never held whole.
fn access(index: u64) -> ([Vec<u8>; 5], Salts) {
    let mut seed = [0; 32];
    seed.split_first_chunk_mut::<8>().unwrap().0.copy_from_slice(&index.to_be_bytes());
    let time_micros = i64::try_from(index).unwrap();
    (entry(ORIGIN, "node-a", index, time_micros, index).groups(), Salts::from_seed(&seed))
}

/// Runs `step` a hundred thousand times and prints how long one takes.
fn time(what: &str, mut step: impl FnMut() -> u8) {
    let start = Instant::now();
    let sum = (0..100_000).fold(0_u8, |sum, _| sum.wrapping_add(step()));
    println!("{what}: {:?} (sum {sum})", start.elapsed() / 100_000);
}

#[test]
#[ignore = "measures; wants --release"]
fn steps_of_one_entry() {
    let entry = entry(ORIGIN, "node-a", 1, 2, 3);
    let (groups, salts) = (entry.groups(), Salts::from_seed(&[1; 32]));
    let mut edge = Edge::empty();
    time("groups", || entry.groups().each_ref().map(|group| *group.last().unwrap())[0]);
    time("salts", || Salts::from_seed(&[1; 32]).0[0][0]);
    time("commit", || commit(&groups, &salts)[0]);
    time("append", || u8::try_from(edge.append(leaf_hash(&[1; 33])).len()).unwrap());
    time("root", || edge.root().0[0]);
    time("read back", || u8::from(Entry::from_groups(&groups).is_ok()));
}

#[test]
#[ignore = "takes a gigabyte of disk and wants --release"]
fn a_million_entries_verify_within_a_minute() {
    let start = Instant::now();
    let (mut edge, mut tiles) = (Edge::empty(), HashMap::new());
    for index in 0..ENTRIES {
        let (groups, salts) = access(index);
        for tile in edge.append(leaf_hash(&Leaf::Access(commit(&groups, &salts)).to_bytes())) {
            tiles.insert((tile.level, tile.index), tile);
        }
    }
    println!("encode, commit, append: {:?} an entry", start.elapsed() / u32::try_from(ENTRIES).unwrap());

    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("speed-{}", std::process::id()));
    let start = Instant::now();
    let checkpoint = Checkpoint { origin: ORIGIN.into(), size: ENTRIES, root: edge.root() };
    let note = signer().sign_checkpoint(&checkpoint).unwrap();
    let header = Log::new(ORIGIN).header(0, ENTRIES);
    let out = BufWriter::new(File::create(&path).unwrap());
    let mut writer = Writer::begin(out, header, &note, edge, None).unwrap();
    for index in 0..ENTRIES {
        while let Some(id) = writer.needs() {
            writer.tile(tiles.get(&(id.level, id.index)).unwrap().clone()).unwrap();
        }
        let (groups, salts) = access(index);
        let ([g0, g1, g2, g3, g4], [s0, s1, s2, s3, s4]) = (&groups, &salts.0);
        let opened = [(s0, g0), (s1, g1), (s2, g2), (s3, g3), (s4, g4)];
        writer.entry(&Record::Opened(opened.map(|(salt, bytes)| Group::Opened { salt, bytes }))).unwrap();
    }
    writer.finish(&signer()).unwrap();
    println!("write: {:?}", start.elapsed());

    let start = Instant::now();
    let report = verify(File::open(&path).unwrap(), &trust(), |_| {});
    let took = start.elapsed();
    println!("verify: {took:?} for {} bytes", std::fs::metadata(&path).unwrap().len());
    std::fs::remove_file(&path).unwrap();
    assert_eq!(report.unwrap().counts.opened, ENTRIES);
    assert!(took < Duration::from_secs(60), "{took:?}");
}
