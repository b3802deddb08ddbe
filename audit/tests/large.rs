//! A log as large as a clinic's: custodia-verify reads its export once, in constant memory and in time.
//!
//! `CUSTODIA_LARGE_ENTRIES` says how many entries (20,000 if not); a million and a release build are `just verify-long`.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use custodia_audit::bundle::{Group, Record, Writer};
use custodia_audit::{Edge, Salts, entry_commitment, group_digest, leaf_hash};

#[expect(dead_code, reason = "each test file uses its own part")]
mod support;
use support::*;

/// What a million entries may take, and what memory any number may.
const MILLION_WITHIN: Duration = Duration::from_secs(60);
const MEMORY_KIB_MAX: u64 = 64 * 1_024;

/// An entry by its index, always the same.
fn access(index: u64) -> Access {
    let mut seed = [0x5a; 32];
    seed.iter_mut().zip(index.to_be_bytes()).for_each(|(to, from)| *to = from);
    let time_micros = 1_700_000_000_000_000 + i64::try_from(index).unwrap() * 1_000;
    let entry = entry(ORIGIN, "node-a", index, time_micros, index);
    Access { groups: entry.groups(), salts: Salts::from_seed(&seed) }
}

fn leaf(access: &Access) -> Vec<u8> {
    let each = access.groups.iter().zip(&access.salts.0).zip(0..);
    let digests: Vec<[u8; 32]> =
        each.map(|((group, salt), number)| group_digest(number, salt, group)).collect();
    let digests: &[[u8; 32]; 5] = digests.as_slice().try_into().unwrap();
    [&[1][..], &entry_commitment(digests)].concat()
}

/// Writes an export of so many opened entries.
fn write(path: &Path, entries: u64) {
    let (mut edge, mut full) = (Edge::empty(), Vec::new());
    for index in 0..entries {
        full.extend(edge.append(leaf_hash(&leaf(&access(index)))));
    }
    let log = Log::new(ORIGIN);
    let mut checkpoint = log.checkpoint();
    (checkpoint.size, checkpoint.root) = (edge.size(), edge.root());
    let note = signer().sign_checkpoint(&checkpoint).unwrap();
    let out = BufWriter::new(File::create(path).unwrap());
    let mut writer = Writer::begin(out, log.header(0, entries), &note, edge, None).unwrap();
    full.sort_by_key(|tile| (tile.level, tile.index));
    for index in 0..entries {
        while let Some(id) = writer.needs() {
            let at = full.binary_search_by_key(&(id.level, id.index), |tile| (tile.level, tile.index));
            writer.tile(full.get(at.unwrap()).unwrap().clone()).unwrap();
        }
        let access = access(index);
        let [s0, s1, s2, s3, s4] = &access.salts.0;
        let [g0, g1, g2, g3, g4] = &access.groups;
        let groups = [(s0, g0), (s1, g1), (s2, g2), (s3, g3), (s4, g4)];
        let opened = groups.map(|(salt, bytes)| Group::Opened { salt, bytes });
        writer.entry(&Record::Opened(opened)).unwrap();
    }
    writer.finish(&signer()).unwrap().flush().unwrap();
}

/// The most memory a process was seen with, in KiB; what proc(5) does not tell is not judged.
fn peak_kib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0 kB");
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
}

#[test]
fn a_large_export_is_verified_in_time_and_in_constant_memory() {
    let entries: u64 = std::env::var("CUSTODIA_LARGE_ENTRIES").map_or(20_000, |count| count.parse().unwrap());
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("large-{}", std::process::id()));
    write(&path, entries);
    let bytes = std::fs::metadata(&path).unwrap().len();
    let began = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_custodia-verify"))
        .args(["--vkey", &signer().vkey().to_string()])
        .arg(&path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        peak = peak.max(peak_kib(child.id()));
        std::thread::sleep(Duration::from_millis(5));
    }
    let took = began.elapsed();
    let output = child.wait_with_output().unwrap();
    std::fs::remove_file(&path).unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && said.contains(&format!("  opened     {entries}\n")), "{said}");
    writeln!(std::io::stdout(), "{entries} entries, {bytes} bytes: {took:.1?}, at most {peak} KiB").unwrap();
    assert!(peak < MEMORY_KIB_MAX, "{peak} KiB");
    if !cfg!(debug_assertions) {
        let part = entries as f64 / 1e6;
        assert!(took < MILLION_WITHIN.mul_f64(part.max(0.1)), "{entries} entries took {took:?}");
    }
}
