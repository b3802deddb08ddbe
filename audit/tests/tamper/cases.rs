//! The cases: an export, whom its auditor believes, and what is to be said of it.

use custodia_audit::bundle::Header;
use custodia_audit::*;

use super::support::*;

/// What is to be said.
pub(crate) enum Said {
    /// Verified, with these findings.
    Verified(Vec<&'static str>),
    /// Refused at this place with this code.
    Refused(&'static str, &'static str),
    /// Either, but the same by both.
    Anything,
}

pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) export: Vec<u8>,
    pub(crate) keys: Vec<Vkey>,
    pub(crate) quorum: usize,
    pub(crate) policy: Option<String>,
    pub(crate) earlier: Option<String>,
    pub(crate) said: Said,
}

pub(crate) fn case(name: &str, export: Vec<u8>, said: Said) -> Case {
    let keys = vec![signer().vkey()];
    Case { name: name.into(), export, keys, quorum: 0, policy: None, earlier: None, said }
}

pub(crate) fn verified(name: &str, export: Vec<u8>) -> Case {
    case(name, export, Said::Verified(Vec::new()))
}

pub(crate) fn refused(name: &str, export: Vec<u8>, place: &'static str, code: &'static str) -> Case {
    case(name, export, Said::Refused(place, code))
}

pub(crate) fn opened(_: u64) -> View {
    View::Opened
}

pub(crate) fn mixed(index: u64) -> View {
    match index % 4 {
        0 => View::Opened,
        1 => View::Withheld,
        2 => View::WithoutWho,
        _ => View::WithoutWhen,
    }
}

pub(crate) fn all() -> Vec<Case> {
    let mut cases = sound();
    cases.extend(tampered());
    cases.extend(frames());
    cases.extend(other_logs());
    cases.extend(continued());
    cases.extend(witnessed());
    cases.extend(super::spelt::all());
    cases.extend(super::rotation::all());
    cases
}

fn sound() -> Vec<Case> {
    let mut cases = Vec::new();
    for size in [0, 1, 2, 255, 256, 257, 600] {
        let log = Log::of(size);
        for (first, end) in [(0, size), (size / 3, size / 2), (size, size)] {
            cases.push(verified(&format!("{first}..{end} of {size}"), log.export(first, end, mixed)));
        }
    }
    let log = Log::of(65_536 + 300);
    cases.push(verified("two levels of full tiles", log.export(65_500, 65_600, mixed)));
    let header = Header { tenant: Some("clinic".into()), ..log.header(65_500, 65_502) };
    let note = signer().sign_checkpoint(&log.checkpoint()).unwrap();
    cases.push(verified("of one tenant", log.export_as(header, &note, None, opened)));
    cases
}

type Tamper = fn(&mut Frames);

/// Tampering by the worst forger: who also signs the manifest anew with the log's own key.
fn tampered() -> Vec<Case> {
    let bundle = Log::of(12).export(0, 12, opened);
    let table: [(&str, Tamper, &str, &str); 13] = [
        ("edit", |f| f.change(6, |p| p[200] ^= 1), "index 6", "not-in-log"),
        ("edit a salt", |f| f.change(6, |p| p[10] ^= 1), "index 6", "not-in-log"),
        ("delete", |f| drop(f.0.remove(f.at(6))), "index 6", "order"),
        ("delete the first", |f| drop(f.0.remove(f.at(0))), "index 0", "order"),
        ("delete the last", |f| drop(f.0.remove(f.at(11))), "index 11", "missing"),
        ("reorder", |f| f.swap(6, 7), "index 6", "order"),
        ("swap what they say", swap_bodies, "index 6", "not-in-log"),
        ("duplicate", |f| f.repeat(6), "index 7", "order"),
        ("renumber", |f| f.change(6, |p| p[7] = 9), "index 6", "order"),
        ("withhold another", |f| f.turn(6, 7, &[9; 32]), "index 6", "not-in-log"),
        ("a withheld one claimed as opened", claim_opened, "index 6", "not-in-log"),
        ("an access claimed as control", claim_control, "index 6", "not-in-log"),
        (
            "beyond the range",
            |f| {
                let p = f.0[f.at(11)].1[8..].to_vec();
                f.add(12, &p)
            },
            "manifest",
            "order",
        ),
    ];
    let mut cases: Vec<Case> = table
        .into_iter()
        .map(|(name, tamper, place, code)| {
            let mut frames = Frames::of(&bundle);
            tamper(&mut frames);
            refused(name, frames.resealed(), place, code)
        })
        .collect();
    let mut plain = Frames::of(&bundle);
    plain.change(6, |p| p[200] ^= 1);
    cases.push(refused("edit, and leave the manifest", plain.bytes(), "index 6", "not-in-log"));
    for (length, place) in [(5, "beginning of the file"), (30, "header"), (bundle.len() - 1, "manifest")] {
        cases.push(refused("truncate", bundle[..length].to_vec(), place, "truncated"));
    }
    cases.push(refused("append", [&bundle[..], b"\0"].concat(), "manifest", "trailing"));
    cases
}

fn swap_bodies(frames: &mut Frames) {
    let (a, b) = (frames.at(6), frames.at(8));
    let (six, eight) = (frames.0[a].1[8..].to_vec(), frames.0[b].1[8..].to_vec());
    frames.0[a].1.splice(8.., eight);
    frames.0[b].1.splice(8.., six);
}

/// Groups made up for an entry that the log holds, but never showed.
fn claim_opened(frames: &mut Frames) {
    let groups = entry(ORIGIN, "node-a", 2, 1_700_000_006_000_018, 4).groups();
    let mut body = Vec::new();
    for group in &groups {
        body.push(1);
        body.extend_from_slice(&[7; 32]);
        body.extend_from_slice(&u32::try_from(group.len()).unwrap().to_be_bytes());
        body.extend_from_slice(group);
    }
    frames.turn(6, 6, &body);
}

fn claim_control(frames: &mut Frames) {
    let control =
        Control::Heartbeat { node: "node-a".into(), time_micros: 1_700_000_006_000_018, sequence: 2 };
    frames.turn(6, 8, &Leaf::Control(control).to_bytes());
}

/// Parts of the file that are missing, repeated, moved or not what they claim.
fn frames() -> Vec<Case> {
    let bundle = Log::of(300).export_from(250, 260, Some(100), opened);
    let table: [(&str, Tamper, &str, &str); 15] = [
        ("no header", |f| drop(f.0.remove(0)), "header", "unexpected"),
        ("no checkpoint", |f| drop(f.0.remove(1)), "checkpoint", "unexpected"),
        ("no edge", |f| drop(f.0.remove(3)), "edge of the tree", "unexpected"),
        (
            "two edges",
            |f| {
                let edge = f.0[3].clone();
                f.0.insert(3, edge)
            },
            "index 250",
            "unexpected",
        ),
        ("no tile", |f| drop(f.0.remove(4)), "index 250", "not-in-log"),
        (
            "a tile twice",
            |f| {
                let tile = f.0[4].clone();
                f.0.insert(4, tile)
            },
            "index 250",
            "unexpected",
        ),
        ("a tile too late", |f| f.0.swap(4, 5), "index 250", "not-in-log"),
        ("another tile", |f| f.0[4].1[8] = 1, "index 250", "unexpected"),
        ("an edited tile", |f| f.0[4].1[100] ^= 1, "index 250", "tile"),
        ("a narrow tile", |f| f.0[4].1.truncate(9 + 255 * 32), "index 250", "tile"),
        ("half a hash", |f| f.0[4].1.truncate(1000), "index 250", "form"),
        ("an edited edge", |f| f.0[3].1[0] ^= 1, "edge of the tree", "root"),
        ("a short edge", |f| f.0[3].1.truncate(32), "edge of the tree", "form"),
        ("half a proof", |f| f.0[2].1.truncate(20), "consistency proof", "form"),
        ("a strange part", |f| f.0[5].0 = 77, "index 250", "unexpected"),
    ];
    let mut cases: Vec<Case> = table
        .into_iter()
        .map(|(name, tamper, place, code)| {
            let mut frames = Frames::of(&bundle);
            tamper(&mut frames);
            refused(name, frames.resealed(), place, code)
        })
        .collect();
    let long = [MAGIC, &[1, 0xff, 0xff, 0xff, 0xff]].concat();
    cases.push(refused("too long a part", long, "header", "too-long"));
    cases.push(refused(
        "not an export",
        b"PK\x03\x04 and so on, for a while".to_vec(),
        "beginning of the file",
        "magic",
    ));
    let mut frames = Frames::of(&bundle);
    let last = frames.0.len() - 1;
    frames.0[last].1 = signer().sign_note("something else\n").unwrap().into_bytes();
    cases.push(refused("another manifest", frames.bytes(), "manifest", "manifest"));
    frames.0[last].1 = b"not a note".to_vec();
    cases.push(refused("no manifest", frames.bytes(), "manifest", "form"));
    cases
}

/// Exports of other logs, and of forks of this one.
fn other_logs() -> Vec<Case> {
    let log = Log::of(12);
    let bundle = log.export(0, 12, opened);
    let other = Log::new("audit.example/other");
    let note =
        Signer::from_seed("audit.example/other", &[7; 32]).unwrap().sign_checkpoint(&other.checkpoint());
    let mut cases = vec![refused(
        "of another log",
        other.export_as(other.header(0, 0), &note.unwrap(), None, opened),
        "header",
        "origin",
    )];
    let stranger = Signer::from_seed(ORIGIN, &[8; 32]).unwrap();
    let note = stranger.sign_checkpoint(&log.checkpoint()).unwrap();
    let strange = log.export_as(log.header(0, 12), &note, None, opened);
    cases.push(refused("signed by another key", strange, "checkpoint", "unsigned"));

    let mut fork = Log::new(ORIGIN);
    (0..12).for_each(|sequence| fork.access("node-a", sequence, 0));
    let forked = Frames::of(&fork.export(0, 12, opened));
    let mut frames = Frames::of(&bundle);
    frames.0[2] = forked.0[2].clone();
    cases.push(refused("a fork's edge", frames.resealed(), "edge of the tree", "root"));
    let mut frames = Frames::of(&bundle);
    let at = frames.at(6);
    frames.0[at] = forked.0[forked.at(6)].clone();
    cases.push(refused("a fork's entry", frames.resealed(), "index 6", "not-in-log"));
    let mut frames = Frames::of(&bundle);
    frames.0[1].1 =
        String::from_utf8(frames.0[1].1.clone()).unwrap().replace("\n12\n", "\n13\n").into_bytes();
    cases.push(refused("an edited checkpoint", frames.resealed(), "checkpoint", "signature"));
    let mut both = refused("two log keys, one bad signature", bundle.clone(), "checkpoint", "signature");
    let mut frames = Frames::of(&both.export);
    let line = stranger.sign_checkpoint(&fork.checkpoint()).unwrap();
    frames.0[1].1.extend_from_slice(line.rsplit_once("\n\n").unwrap().1.as_bytes());
    both.export = frames.resealed();
    both.keys.push(stranger.vkey());
    cases.push(both);
    let mut frames = Frames::of(&bundle);
    let last = frames.0.len() - 1;
    let text = Note::parse(&frames.0[last].1).unwrap().text().to_owned();
    frames.0[last].1 = stranger.sign_note(&text).unwrap().into_bytes();
    cases.push(refused("a stranger's manifest", frames.bytes(), "manifest", "unsigned"));
    cases
}

/// Exports under an earlier checkpoint that the auditor kept.
fn continued() -> Vec<Case> {
    let log = Log::of(300);
    let sign = |log: &Log| signer().sign_checkpoint(&log.checkpoint()).unwrap();
    let kept = |mut case: Case, earlier: &Log| {
        case.earlier = Some(sign(earlier));
        case
    };
    let export = |earlier| log.export_from(290, 300, earlier, opened);
    let mut fork = Log::new(ORIGIN);
    (0..100).for_each(|sequence| fork.access("node-a", sequence, 0));
    let mut cases = vec![
        kept(verified("the same checkpoint", export(None)), &log),
        kept(verified("from the empty log", export(None)), &Log::of(0)),
        kept(refused("a fork since", export(Some(100)), "consistency proof", "root"), &fork),
        kept(refused("rolled back since", export(Some(100)), "consistency proof", "shrunk"), &Log::of(301)),
        kept(refused("no proof", export(None), "consistency proof", "no-proof"), &Log::of(100)),
        kept(refused("another proof", export(Some(101)), "consistency proof", "no-proof"), &Log::of(100)),
    ];
    for size in [1, 2, 3, 64, 99, 100, 128, 255, 256, 257, 299] {
        cases.push(kept(verified(&format!("continues {size}"), export(Some(size))), &Log::of(size)));
    }
    let (mut long, mut short) = (Frames::of(&export(Some(100))), Frames::of(&export(Some(100))));
    long.0[2].1.extend_from_slice(&[7; 32]);
    let length = short.0[2].1.len();
    short.0[2].1.truncate(length - 32);
    let proof_length =
        |name, frames: Frames| refused(name, frames.resealed(), "consistency proof", "proof-length");
    cases.push(kept(proof_length("a long proof", long), &Log::of(100)));
    cases.push(kept(proof_length("a short proof", short), &Log::of(100)));
    cases
}

pub(crate) fn witness(number: u8) -> Cosigner {
    Cosigner::from_seed(&format!("w.example/{number}"), &[number; 32]).unwrap()
}

/// Exports whose checkpoint witnesses cosigned, and policies that ask for them.
fn witnessed() -> Vec<Case> {
    let log = Log::of(12);
    let note = signer().sign_checkpoint(&log.checkpoint()).unwrap();
    let cosigned = |numbers: &[u8]| {
        let lines =
            numbers.iter().map(|number| witness(*number).cosign(&log.checkpoint(), 1_700_000_000).unwrap());
        log.export_as(log.header(0, 12), &format!("{note}{}", lines.collect::<String>()), None, opened)
    };
    let policy = |quorum: &str| {
        let witnesses = (1..=3).map(|number| format!("witness w{number} {}\n", witness(number).vkey()));
        let (log, witnesses) = (signer().vkey(), witnesses.collect::<String>());
        format!(
            "# whom we believe\nlog {log} https://clinic.example/audit\n{witnesses}group two 2 w1 w2\ngroup all all two w3\n\nquorum {quorum}\n"
        )
    };
    let with = |mut case: Case, quorum| {
        case.policy = Some(policy(quorum));
        case
    };
    let by_keys = |mut case: Case, quorum| {
        case.keys.extend([witness(1).vkey(), witness(2).vkey(), witness(3).vkey()]);
        case.quorum = quorum;
        case
    };
    let forged = {
        let line = witness(1).cosign(&Log::of(11).checkpoint(), 1_700_000_000).unwrap();
        log.export_as(log.header(0, 12), &format!("{note}{line}"), None, opened)
    };
    let alone = {
        let line = witness(1).cosign(&log.checkpoint(), 1_700_000_000).unwrap();
        log.export_as(log.header(0, 12), &format!("{}\n{line}", log.checkpoint().to_text()), None, opened)
    };
    let far = witness(1).cosign(&log.checkpoint(), u64::try_from(i64::MAX).unwrap()).unwrap();
    vec![
        with(verified("no quorum", cosigned(&[])), "none"),
        with(verified("a group of two", cosigned(&[2, 1])), "two"),
        with(verified("groups of groups", cosigned(&[1, 2, 3])), "all"),
        with(verified("one by name", cosigned(&[1, 3, 9])), "w3"),
        with(refused("one of two", cosigned(&[1, 3]), "checkpoint", "quorum"), "two"),
        with(refused("twice the same", cosigned(&[1, 1]), "checkpoint", "quorum"), "two"),
        with(refused("strangers", cosigned(&[7, 8]), "checkpoint", "quorum"), "two"),
        with(refused("without the third", cosigned(&[1, 2]), "checkpoint", "quorum"), "all"),
        with(refused("a cosignature of another size", forged.clone(), "checkpoint", "signature"), "none"),
        with(refused("without the log's signature", alone, "checkpoint", "unsigned"), "w1"),
        verified("a bad cosignature of a witness nobody asked for", forged),
        by_keys(verified("two of three keys", cosigned(&[1, 3])), 2),
        by_keys(refused("one of three keys", cosigned(&[3]), "checkpoint", "quorum"), 2),
        by_keys(
            verified(
                "a time far away",
                log.export_as(log.header(0, 12), &format!("{note}{far}"), None, opened),
            ),
            1,
        ),
    ]
}
