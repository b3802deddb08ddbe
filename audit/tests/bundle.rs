//! Exports: what verifies, and that every way to tamper is refused at the right place.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

#[expect(dead_code, reason = "each test file uses its own part")]
mod support;

use custodia_audit::bundle::*;
use custodia_audit::*;
use proptest::prelude::*;
use support::*;

fn refused(bundle: &[u8], trust: &Trust) -> (Place, String) {
    let fault = verify(bundle, trust, |_| {}).unwrap_err();
    (fault.place, fault.reason.to_string())
}

fn collect(bundle: &[u8]) -> (Report, Vec<VerifiedEntry>) {
    let mut entries = Vec::new();
    let report = verify(bundle, &trust(), |entry| entries.push(entry)).unwrap();
    (report, entries)
}

#[test]
fn a_whole_log_is_shown_entry_by_entry() {
    let log = Log::of(12);
    let (report, entries) = collect(&log.export(0, 12, |_| View::Opened));
    assert_eq!((report.size, report.is_whole, report.findings_total), (12, true, 0));
    assert_eq!(report.counts, Counts { opened: 10, withheld: 0, control: 2 });
    assert_eq!(report.header, log.header(0, 12));
    assert_eq!(entries.iter().map(|entry| entry.index).collect::<Vec<_>>(), (0..12).collect::<Vec<_>>());
    let VerifiedBody::Opened(opened) = &entries[5].body else { unreachable!() };
    let expected = entry(ORIGIN, "node-b", 1, 1_700_000_005_000_015, 5);
    assert_eq!(opened.event.as_ref(), Some(&expected.event));
    assert_eq!(opened.actor.as_ref(), Some(&expected.actor));
    assert_eq!(opened.subject.as_ref(), Some(&expected.subject));
    assert_eq!(opened.object.as_ref(), Some(&expected.object));
    assert_eq!(opened.detail.as_ref(), Some(&expected.detail));
}

#[test]
fn any_range_of_any_size_verifies() {
    for size in [0, 1, 2, 255, 256, 257, 511, 512, 513, 700] {
        let log = Log::of(size);
        for (first, end) in [(0, size), (size / 3, size / 2), (size / 2, size), (size, size), (0, 0)] {
            let bundle =
                log.export(first, end, |index| if index % 3 == 0 { View::Withheld } else { View::Opened });
            let report = log.verify(&bundle).unwrap();
            assert_eq!(report.is_whole, first == 0 && end == size);
            let Counts { opened, withheld, control } = report.counts;
            assert_eq!(opened + withheld + control, end - first, "{first}..{end} of {size}");
        }
    }
}

#[test]
fn a_second_level_of_tiles_is_descended() {
    let log = Log::of(65_536 + 600);
    for (first, end) in [(0, 300), (65_400, 65_900), (65_536, 66_136)] {
        let bundle = log.export(first, end, |_| View::Withheld);
        assert_eq!(log.verify(&bundle).unwrap().counts.withheld + 2 * u64::from(first == 0), end - first);
        let mut frames = Frames::of(&bundle);
        for at in (0..frames.0.len()).filter(|at| frames.0[*at].0 == 5).collect::<Vec<_>>() {
            frames.0[at].1[200] ^= 1;
            assert_eq!(refused(&frames.bytes(), &trust()).1, Reason::Tile.to_string());
            frames.0[at].1[200] ^= 1;
        }
    }
}

#[test]
fn one_can_show_when_without_who_and_who_without_when() {
    let log = Log::of(8);
    let view = |index| if index % 2 == 0 { View::WithoutWho } else { View::WithoutWhen };
    let (report, entries) = collect(&log.export(0, 8, view));
    assert_eq!(report.counts.opened, 6);
    let VerifiedBody::Opened(opened) = &entries[4].body else { unreachable!() };
    assert!(opened.actor.is_none() && opened.event.is_some() && opened.subject.is_some());
    let VerifiedBody::Opened(opened) = &entries[5].body else { unreachable!() };
    assert!(opened.event.is_none() && opened.actor.is_some());
}

#[test]
fn every_flipped_bit_is_refused() {
    let log = Log::of(9);
    let view = |index| match index {
        3 => View::Withheld,
        4 => View::WithoutWho,
        _ => View::Opened,
    };
    let bundle = log.export_from(3, 6, Some(5), view);
    log.verify(&bundle).unwrap();
    for at in 0..bundle.len() {
        for bit in 0..8 {
            let mut bad = bundle.clone();
            bad[at] ^= 1 << bit;
            assert!(log.verify(&bad).is_err(), "byte {at}, bit {bit}");
        }
    }
}

#[test]
fn every_flipped_byte_is_refused_where_tiles_are_needed() {
    let log = Log::of(300);
    let bundle = log.export(250, 262, |_| View::Opened);
    log.verify(&bundle).unwrap();
    for at in 0..bundle.len() {
        let mut bad = bundle.clone();
        bad[at] ^= 0xff;
        assert!(log.verify(&bad).is_err(), "byte {at}");
    }
}

#[test]
fn every_truncation_and_every_addition_is_refused() {
    let log = Log::of(4);
    let bundle = log.export(0, 4, |_| View::Opened);
    for length in 0..bundle.len() {
        let fault = log.verify(&bundle[..length]).unwrap_err();
        assert!(matches!(fault.reason, Reason::Truncated), "{length}: {fault}");
    }
    let mut more = bundle.clone();
    more.push(0);
    assert_eq!(refused(&more, &trust()), (Place::Manifest, Reason::Trailing.to_string()));
    let twice = [bundle.as_slice(), &bundle].concat();
    assert_eq!(refused(&twice, &trust()), (Place::Manifest, Reason::Trailing.to_string()));
}

#[test]
fn tampering_is_refused_at_its_place_even_with_the_log_s_own_key() {
    type Tamper = fn(&mut Frames);
    let log = Log::of(12);
    let bundle = log.export(0, 12, |_| View::Opened);
    let order = |found| Reason::Order { found }.to_string();
    let not_in_log = || Reason::NotInLog.to_string();
    let table: [(&str, Tamper, Place, String); 9] = [
        ("edit", |f| f.0.swap_payload(6, |p| p[200] ^= 1), Place::Index(6), not_in_log()),
        ("delete", |f| drop(f.0.remove(f.at(6))), Place::Index(6), order(7)),
        ("delete the last", |f| drop(f.0.remove(f.at(11))), Place::Index(11), Reason::Missing.to_string()),
        (
            "swap",
            |f| {
                let (a, b) = (f.at(6), f.at(7));
                f.0.swap(a, b)
            },
            Place::Index(6),
            order(7),
        ),
        (
            "duplicate",
            |f| {
                let at = f.at(6);
                let frame = f.0[at].clone();
                f.0.insert(at, frame)
            },
            Place::Index(7),
            order(6),
        ),
        ("renumber", |f| f.0.swap_payload(6, |p| p[7] = 9), Place::Index(6), order(9)),
        (
            "move the content",
            |f| {
                let body = f.0[f.at(8)].1[8..].to_vec();
                f.0.swap_payload(6, |p| {
                    p.truncate(8);
                    p.extend(&body)
                })
            },
            Place::Index(6),
            not_in_log(),
        ),
        (
            "withhold another",
            |f| {
                let at = f.at(6);
                f.0[at].0 = 7;
                f.0[at].1.truncate(40)
            },
            Place::Index(6),
            not_in_log(),
        ),
        (
            "beyond the range",
            |f| {
                let at = f.at(11);
                let mut frame = f.0[at].clone();
                frame.1[7] = 12;
                f.0.insert(at + 1, frame)
            },
            Place::Manifest,
            order(12),
        ),
    ];
    for (name, tamper, place, reason) in table {
        let mut frames = Frames::of(&bundle);
        tamper(&mut frames);
        assert_eq!(refused(&frames.resealed(), &trust()), (place, reason), "{name}");
    }
    log.verify(&Frames::of(&bundle).resealed()).unwrap();
}

trait SwapPayload {
    fn swap_payload(&mut self, index: u64, change: impl FnOnce(&mut Vec<u8>));
}

impl SwapPayload for Vec<(u8, Vec<u8>)> {
    fn swap_payload(&mut self, index: u64, change: impl FnOnce(&mut Vec<u8>)) {
        let is_entry = |(kind, payload): &&mut (u8, Vec<u8>)| {
            (6..=8).contains(kind) && payload[..8] == index.to_be_bytes()
        };
        change(&mut self.iter_mut().find(is_entry).unwrap().1);
    }
}

#[test]
fn frames_out_of_place_are_refused() {
    let log = Log::of(300);
    let bundle = log.export_from(250, 260, Some(100), |_| View::Opened);
    let kinds: Vec<u8> = Frames::of(&bundle).0.iter().map(|frame| frame.0).collect();
    assert_eq!(kinds[..6], [1, 2, 3, 4, 5, 6]);
    for at in 0..kinds.len() - 1 {
        let mut frames = Frames::of(&bundle);
        frames.0.swap(at, at + 1);
        assert!(log.verify(&frames.bytes()).is_err(), "swapped {at}");
        let mut frames = Frames::of(&bundle);
        let frame = frames.0[at].clone();
        frames.0.insert(at, frame);
        assert!(log.verify(&frames.resealed()).is_err(), "twice {at}");
        let mut frames = Frames::of(&bundle);
        frames.0.remove(at);
        // The consistency proof alone may go: this auditor has no earlier checkpoint.
        assert_eq!(log.verify(&frames.resealed()).is_ok(), at == 2, "without {at}");
    }
    let mut long = MAGIC.to_vec();
    long.extend_from_slice(&[1, 0xff, 0xff, 0xff, 0xff]);
    assert_eq!(refused(&long, &trust()), (Place::Header, Reason::TooLong.to_string()));
}

#[test]
fn only_the_log_that_is_asked_about_is_believed() {
    let log = Log::of(6);
    let bundle = log.export(0, 6, |_| View::Opened);
    let stranger = Signer::from_seed(ORIGIN, &[8; 32]).unwrap();
    let keys = vec![stranger.vkey()];
    let unsigned = CheckpointFault::from(NoteFault::Unsigned).to_string();
    assert_eq!(
        refused(&bundle, &Trust { policy: Policy::of_keys(&keys, 0), ..trust() }),
        (Place::Checkpoint, unsigned.clone())
    );
    let other = Trust { origin: "audit.example/other".into(), ..trust() };
    assert_eq!(refused(&bundle, &other), (Place::Header, Reason::Origin.to_string()));
    assert_eq!(
        refused(&bundle, &Trust { policy: Policy::default(), ..trust() }),
        (Place::Checkpoint, unsigned)
    );

    // The manifest of one, the rest of the other.
    let mut frames = Frames::of(&bundle);
    let (kind, note) = frames.0.pop().unwrap();
    let text = Note::parse(&note).unwrap().text().to_owned();
    frames.0.push((kind, stranger.sign_note(&text).unwrap().into_bytes()));
    assert_eq!(refused(&frames.bytes(), &trust()), (Place::Manifest, NoteFault::Unsigned.to_string()));

    // The entries of another log under this one's checkpoint.
    let mut fork = Log::new(ORIGIN);
    (0..6).for_each(|sequence| fork.access("node-a", sequence, 0));
    let mut frames = Frames::of(&bundle);
    frames.0[2] = Frames::of(&fork.export(0, 6, |_| View::Opened)).0[2].clone();
    assert_eq!(refused(&frames.resealed(), &trust()).0, Place::Edge);

    let witness = Cosigner::from_seed("w.example", &[9; 32]).unwrap();
    let policy = Policy::of_keys(&[signer().vkey(), witness.vkey()], 1);
    let quorum = CheckpointFault::Quorum { found: 0 }.to_string();
    assert_eq!(refused(&bundle, &Trust { policy, ..trust() }), (Place::Checkpoint, quorum));
}

#[test]
fn an_earlier_checkpoint_must_be_continued() {
    let (early, late) = (Log::of(5), Log::of(9));
    let with = |log: &Log| Trust { earlier: Some(log.checkpoint()), ..trust() };
    let bundle = late.export_from(0, 9, Some(5), |_| View::Opened);
    let report = verify(bundle.as_slice(), &with(&early), |_| {}).unwrap();
    assert_eq!(report.continues, Some(5));
    verify(bundle.as_slice(), &with(&late), |_| {}).unwrap();
    verify(bundle.as_slice(), &with(&Log::of(0)), |_| {}).unwrap();

    let mut fork = Log::new(ORIGIN);
    (0..5).for_each(|sequence| fork.access("node-a", sequence, 0));
    let mismatch = TreeFault::RootMismatch.to_string();
    assert_eq!(refused(&bundle, &with(&fork)), (Place::Consistency, mismatch));
    let shrunk = TreeFault::Shrunk { first: 10, second: 9 }.to_string();
    assert_eq!(refused(&bundle, &with(&Log::of(10))), (Place::Consistency, shrunk));
    let none = |size| (Place::Consistency, Reason::NoConsistency { size }.to_string());
    assert_eq!(refused(&bundle, &with(&Log::of(4))), none(4));
    assert_eq!(refused(&late.export(0, 9, |_| View::Opened), &with(&early)), none(5));
    let mut fork = Log::new(ORIGIN);
    (0..9).for_each(|sequence| fork.access("node-a", sequence, 0));
    assert_eq!(refused(&bundle, &with(&fork)).0, Place::Consistency);
}

#[test]
fn the_writer_refuses_what_is_not_in_the_log() {
    let log = Log::of(300);
    let note = signer().sign_checkpoint(&log.checkpoint()).unwrap();
    let begin = |header, edge| Writer::begin(Vec::new(), header, &note, edge, None);
    let mismatch = |header, edge| matches!(begin(header, edge), Err(WriteFault::Mismatch));
    assert!(mismatch(log.header(0, 300), Log::of(299).edge));
    assert!(mismatch(log.header(0, 301), log.edge.clone()));
    assert!(mismatch(log.header(3, 2), log.edge.clone()));
    assert!(mismatch(Log::new("other").header(0, 1), log.edge.clone()));

    let mut writer = begin(log.header(0, 2), log.edge.clone()).unwrap();
    let entry = log.record(0, View::Opened);
    assert!(matches!(writer.entry(&entry), Err(WriteFault::Entry { index: 0 })), "before its tile");
    let id = writer.needs().unwrap();
    assert_eq!(id.path(), "tile/0/000");
    let mut tile = log.full[0].clone();
    tile.hashes[9] = Hash::empty_root();
    assert!(matches!(writer.tile(tile), Err(WriteFault::Tile { index: 0 })));
    writer.tile(log.full[0].clone()).unwrap();
    assert_eq!(writer.needs(), None);
    assert!(matches!(writer.tile(log.full[0].clone()), Err(WriteFault::Tile { index: 0 })));
    writer.entry(&entry).unwrap();
    assert!(matches!(writer.entry(&entry), Err(WriteFault::Entry { index: 1 })));
    assert_eq!(writer.next_index(), 1);
    assert!(matches!(writer.finish(&signer()), Err(WriteFault::Range { index: 1 })));
}

proptest! {
    #[test]
    fn a_verifier_takes_any_bytes_calmly(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let log = Log::new(ORIGIN);
        prop_assert!(log.verify(&bytes).is_err());
        prop_assert!(log.verify(&[MAGIC, &bytes].concat()).is_err());
    }

    #[test]
    fn a_verifier_takes_any_frames_calmly(
        at in 3_usize..9,
        kind in 0_u8..12,
        payload in proptest::collection::vec(any::<u8>(), 0..300),
        keep in 0_usize..60,
    ) {
        let log = Log::of(6);
        let mut frames = Frames::of(&log.export_from(0, 6, Some(3), |_| View::Opened));
        let before = frames.0[at].clone();
        let frame = &mut frames.0[at];
        frame.1.truncate(keep);
        frame.1.extend_from_slice(&payload);
        frame.0 = kind;
        let is_same = *frame == before;
        prop_assert_eq!(log.verify(&frames.resealed()).is_ok(), is_same);
    }
}
