//! The cases of what stands in the entries: what nodes say of their numbers, and spellings that are none.

use custodia_audit::bundle::Header;
use custodia_audit::*;

use super::cases::{Case, Said, case, mixed, opened, refused, verified};
use super::support::*;

pub(crate) fn all() -> Vec<Case> {
    let mut cases = nodes();
    cases.extend(misspelt());
    cases
}

/// What the entries say about the nodes that wrote them.
fn nodes() -> Vec<Case> {
    let start =
        |node: &str, time_micros| Control::Start { node: node.into(), time_micros, version: "1".into() };
    let whole = |log: &Log, view: fn(u64) -> View| log.export(0, log.edge.size(), view);
    let mut cases = Vec::new();

    let mut gap = Log::of(12);
    gap.access("node-a", 9, 1_800_000_000_000_000);
    cases.push(refused("an entry the server left out", whole(&gap, opened), "index 12", "sequence"));
    let mut again = Log::of(12);
    again.access("node-a", 4, 1_800_000_000_000_000);
    cases.push(refused("a number twice", whole(&again, opened), "index 12", "sequence"));

    let mut odd = Log::of(12);
    odd.access("node-a", 5, 1_600_000_000_000_000);
    odd.control(Control::Heartbeat {
        node: "node-a".into(),
        time_micros: 1_500_000_000_000_000,
        sequence: 9,
    });
    odd.access("node-z", 4, i64::MIN);
    odd.control(start("node-z", i64::MAX));
    odd.access("node-z", 0, i64::MIN);
    odd.control(Control::Restore {
        node: "node-a".into(),
        time_micros: 0,
        restored_size: 3,
        anchored_size: 12,
        anchored_root: [1; 32],
    });
    odd.control(Control::KeyRotation { time_micros: 1, old_vkey: "a".into(), new_vkey: "b".into() });
    odd.control(Control::KeyRetirement { time_micros: 2, vkey: "a".into() });
    odd.control(Control::ForkAlarm {
        node: "node-b".into(),
        time_micros: i64::MAX,
        witness: "w".into(),
        size: 3,
    });
    odd.control(Control::ShardLink { time_micros: -1, origin: "o".into(), size: 1, root: [2; 32] });
    odd.control(Control::PolicyChange { node: "node-a".into(), time_micros: 5, policy_set: [3; 32] });
    odd.control(Control::Export { node: "node-a".into(), time_micros: 4, first: 0, end: u64::MAX, size: 3 });
    let findings = vec![
        "clock-backwards",
        "clock-backwards",
        "heartbeat",
        "late-start",
        "clock-backwards",
        "clock-backwards",
        "restored",
        "key-rotated",
        "key-retired",
        "fork-alarm",
        "clock-backwards",
    ];
    cases.push(case("a clock that runs back, and more", whole(&odd, opened), Said::Verified(findings)));
    cases.push(case("the same, in part withheld", whole(&odd, mixed), Said::Anything));

    let mut strays = Log::new(ORIGIN);
    let mut stray = entry("audit.example/other", "n", 0, 0, 0);
    strays.entry(&stray);
    stray.event.origin = ORIGIN.into();
    stray.event.sequence = 1;
    stray.subject.tenant = Some("other".into());
    strays.entry(&stray);
    let note = signer().sign_checkpoint(&strays.checkpoint()).unwrap();
    let header = Header { tenant: Some("clinic".into()), ..strays.header(0, 2) };
    let export = strays.export_as(header, &note, None, opened);
    cases.push(case(
        "of another log and tenant",
        export,
        Said::Verified(vec!["other-origin", "other-tenant"]),
    ));

    let mut far = Log::new(ORIGIN);
    far.access("n", u64::MAX, 0);
    far.control(Control::Heartbeat { node: "n".into(), time_micros: 0, sequence: u64::MAX });
    far.access("n", u64::MAX, 0);
    cases.push(case("numbers at their end", whole(&far, opened), Said::Verified(vec!["late-start"])));
    let mut many = Log::new(ORIGIN);
    (0..1_100).for_each(|number| many.access("n", number, -i64::try_from(number).unwrap()));
    cases.push(case("more findings than are kept", whole(&many, opened), Said::Anything));
    cases
}

/// Entries and headers that are in the tree, and spelt in a way the format does not know.
fn misspelt() -> Vec<Case> {
    let log = Log::of(2);
    let spelt = |header: &[u8]| {
        let mut frames = Frames::of(&log.export(0, 2, opened));
        frames.0[0].1 = header.to_vec();
        frames.resealed()
    };
    let sound = Frames::of(&log.export(0, 2, opened)).0[0].1.clone();
    let mut cases = vec![verified("spelt rightly", spelt(&sound))];
    type Change = fn(&mut Vec<u8>);
    let table: [(&str, Change); 8] = [
        ("nothing", Vec::clear),
        ("another version", |h| h[2] = 2),
        ("a long head", |h| {
            h.splice(2..3, [0x18, 1]);
        }),
        ("one byte more", |h| h.push(0)),
        ("one byte less", |h| {
            h.pop();
        }),
        ("an unknown key", |h| {
            h[0] += 1;
            h.extend([0x09, 0]);
        }),
        ("keys out of order", |h| {
            h[0] += 1;
            h.extend([0x02, 0x60]);
        }),
        ("an indefinite map", |h| {
            h[0] = 0xbf;
            h.push(0xff);
        }),
    ];
    for (name, change) in table {
        let mut header = sound.clone();
        change(&mut header);
        cases.push(refused(name, spelt(&header), "header", "form"));
    }
    let mut deep = vec![0xa1, 0x06];
    deep.extend([0x81; 100_000]);
    cases.push(refused("very deep", spelt(&deep), "header", "form"));
    let range = |first, end| {
        let mut frames = Frames::of(&log.export(0, 2, opened));
        let at = frames.0[0].1.len() - b"\x05\x1b\x00\x06\x65\x17\xa4\xcc\x80\x00\x06\x6cyearly audit".len();
        frames.0[0].1[at - 3] = first;
        frames.0[0].1[at - 1] = end;
        frames.resealed()
    };
    cases.push(verified("the range as it was", range(0, 2)));
    cases.push(refused("a range beyond the tree", range(0, 3), "header", "range"));
    cases.push(refused("a range that ends before it begins", range(2, 1), "header", "range"));

    // Groups that the tree commits to and that are not canonical.
    for (name, group, bytes) in [
        ("a null", 4_usize, vec![0xa1, 0x00, 0xf6]),
        ("an unknown purpose of bytes", 4, vec![0xa1, 0x00, 0x41, 0x00]),
        (
            "an unknown kind",
            0,
            entry(ORIGIN, "n", 0, 0, 0).groups()[0]
                .clone()
                .into_iter()
                .map(|b| if b == b'a' { b'b' } else { b })
                .collect(),
        ),
        ("not UTF-8", 2, vec![0xa1, 0x00, 0x61, 0xff]),
        ("a missing field", 1, vec![0xa0]),
        ("too long", 2, [vec![0xa1, 0x00, 0x7a, 0x00, 0x10, 0x00, 0x00], vec![b'x'; 1 << 20]].concat()),
        (
            "an integer too negative",
            0,
            vec![0xa1, 0x02, 0x3b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        ),
    ] {
        let mut strange = Log::new(ORIGIN);
        let mut groups = entry(ORIGIN, "n", 0, 0, 0).groups();
        groups[group] = bytes;
        strange.raw(groups);
        let note = signer().sign_checkpoint(&strange.checkpoint()).unwrap();
        let mut case = refused(
            name,
            strange.export_as(strange.header(0, 1), &note, None, |_| View::Withheld),
            "index 0",
            "form",
        );
        let mut frames = Frames::of(&case.export);
        frames.turn(0, 6, &strange.opened_body(0));
        case.export = frames.resealed();
        cases.push(case);
    }
    cases
}
