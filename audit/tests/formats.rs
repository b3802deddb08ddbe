//! Cosignatures, trust policies, entry bundles, and what log and witness say to each other.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::collections::BTreeSet;

use custodia_audit::witness::{
    AddCheckpoint, REQUEST_HASHES_MAX, Refused, Reply, add_cosignatures, judge, origin_hash,
};
use custodia_audit::*;
use proptest::prelude::*;

const ORIGIN: &str = "log.example/clinic";

fn signer() -> Signer {
    Signer::from_seed(ORIGIN, &[7; 32]).unwrap()
}

fn witness(number: u8) -> Cosigner {
    Cosigner::from_seed(&format!("w.example/{number}"), &[number; 32]).unwrap()
}

fn leaf(history: u8, index: u64) -> Hash {
    leaf_hash(&[&[history], index.to_be_bytes().as_slice()].concat())
}

/// The tree of `size` entries of one history, with all it takes to prove.
fn tree(history: u8, size: u64) -> (Edge, Tiles) {
    let (mut edge, mut tiles) = (Edge::empty(), Tiles::new());
    for index in 0..size {
        edge.append(leaf(history, index)).into_iter().for_each(|tile| tiles.insert(tile));
    }
    edge.partial_tiles().into_iter().for_each(|tile| tiles.insert(tile));
    (edge, tiles)
}

fn head(history: u8, size: u64) -> Checkpoint {
    Checkpoint { origin: ORIGIN.into(), size, root: tree(history, size).0.root() }
}

fn signed(history: u8, size: u64) -> String {
    signer().sign_checkpoint(&head(history, size)).unwrap()
}

fn request(history: u8, old: u64, size: u64) -> AddCheckpoint {
    let (_, tiles) = tree(history, size);
    let proof =
        if old == 0 || old >= size { Vec::new() } else { consistency_proof(old, size, &tiles).unwrap() };
    AddCheckpoint { old, proof, checkpoint: signed(history, size) }
}

fn known() -> Policy {
    Policy::of_keys(&[signer().vkey()], 0)
}

#[test]
fn a_cosignature_counts_for_its_witness_time_and_checkpoint_alone() {
    let (one, two) = (witness(1), witness(2));
    let note = signed(0, 3);
    let line = one.cosign(&head(0, 3), 1_679_315_147).unwrap();
    let policy = Policy::of_keys(&[signer().vkey(), one.vkey(), two.vkey()], 1);
    let (checkpoint, cosigned) = policy.open(format!("{note}{line}").as_bytes(), ORIGIN).unwrap();
    assert_eq!(checkpoint, head(0, 3));
    assert_eq!(cosigned, [Cosigned { witness: "w.example/1".into(), time: 1_679_315_147 }]);

    let open = |note: String| policy.open(note.as_bytes(), ORIGIN);
    assert_eq!(open(note.clone()), Err(CheckpointFault::Quorum { found: 0 }));
    let other = one.cosign(&head(0, 4), 1_679_315_147).unwrap();
    assert_eq!(open(format!("{note}{other}")), Err(NoteFault::BadSignature.into()));
    let parsed = NoteSignature::parse_lines(line.as_bytes()).unwrap();
    let mut later = parsed[0].clone();
    later.signature[7] += 1;
    assert_eq!(open(format!("{note}{}", later.to_line())), Err(NoteFault::BadSignature.into()));
    assert_eq!(parsed[0].to_line(), line);
    assert_eq!(one.cosign(&head(0, 3), u64::MAX), Err(NoteFault::Text));
    // A log's key with the name and bytes of a witness's is still another key.
    let log = Signer::from_seed("w.example/1", &[1; 32]).unwrap();
    assert_ne!(log.vkey().key_id(), one.vkey().key_id());
}

#[test]
fn a_log_signs_for_itself_alone() {
    let other = Signer::from_seed("log.example/other", &[8; 32]).unwrap();
    let policy = Policy::of_keys(&[signer().vkey(), other.vkey()], 0);
    let forged = Checkpoint { origin: ORIGIN.into(), ..head(1, 3) };
    let note = other.sign_checkpoint(&forged).unwrap();
    assert_eq!(policy.open(note.as_bytes(), ORIGIN), Err(NoteFault::Unsigned.into()));
    assert!(policy.open(signed(0, 3).as_bytes(), ORIGIN).is_ok());
}

fn policy(lines: &[String]) -> Result<Policy, PolicyFault> {
    Policy::parse(format!("{}\n", lines.join("\n")).as_bytes())
}

fn is_met(policy: &Policy, numbers: &[u8]) -> bool {
    let publics: BTreeSet<[u8; 32]> =
        numbers.iter().map(|number| *witness(*number).vkey().public()).collect();
    policy.is_met_by(&publics)
}

/// The example of the specification, with keys in it.
fn two_levels() -> Vec<String> {
    let mut lines = vec![format!("log {}", signer().vkey()), String::new()];
    for number in 1..=6 {
        let name = if number <= 3 { format!("X{number}") } else { format!("Y{}", number - 3) };
        lines.push(format!("witness {name} {} https://w{number}.example/", witness(number).vkey()));
    }
    for line in [
        "group X-witnesses 2 X1 X2 X3",
        "  group\tY-witnesses  any Y1 Y2 Y3 ",
        "# both",
        "group X-and-Y all X-witnesses Y-witnesses",
        "quorum X-and-Y",
    ] {
        lines.push(line.into());
    }
    lines
}

#[test]
fn a_policy_of_two_levels_is_met_as_the_specification_says() {
    let policy = policy(&two_levels()).unwrap();
    assert_eq!((policy.logs().len(), policy.witnesses().len()), (1, 6));
    assert_eq!(policy.witnesses()[2].url.as_deref(), Some("https://w3.example/"));
    for met in [&[1, 2, 4][..], &[1, 3, 6], &[2, 3, 5], &[1, 2, 3, 4, 5, 6]] {
        assert!(is_met(&policy, met), "{met:?}");
    }
    for unmet in [&[][..], &[1, 2], &[4, 5, 6], &[1, 4, 5, 6], &[1, 2, 9]] {
        assert!(!is_met(&policy, unmet), "{unmet:?}");
    }
}

#[test]
fn a_policy_may_ask_for_one_witness_or_none() {
    let w1 = format!("witness w1 {}", witness(1).vkey());
    assert!(is_met(&policy(&["quorum none".into()]).unwrap(), &[]));
    let one = policy(&[w1.clone(), "quorum w1".into()]).unwrap();
    assert!(is_met(&one, &[1]) && !is_met(&one, &[]) && !is_met(&one, &[2]));
    // The line feed of the last line may be missing.
    assert!(Policy::parse(format!("{w1}\nquorum w1").as_bytes()).is_ok());
}

#[test]
fn a_policy_that_is_not_one_is_refused_at_its_line() {
    use PolicyProblem::*;
    let table = [
        ("", 0, Quorum),
        ("W1", 0, Quorum),
        ("quorum none;quorum none", 2, Quorum),
        ("quorum w1", 1, Unknown),
        ("quorum w1;W1", 1, Unknown),
        ("quorum", 1, Form),
        ("frobnicate x", 1, Form),
        ("log", 1, Form),
        ("log nonsense", 1, Key(KeyFault::Form)),
        ("W1;witness other KEY1", 2, DuplicateKey),
        ("LOG;LOG", 2, DuplicateKey),
        ("W1;group w1 any w1", 2, DuplicateName),
        ("W1;group none any w1", 2, DuplicateName),
        ("W1;W2;group g any w1;group h any w1 w2", 4, TwiceMember),
        ("W1;group g any w1 w1", 2, TwiceMember),
        ("W1;group g any none", 2, Unknown),
        ("group g any h;group h any g", 1, Unknown),
        ("W1;group g any", 2, Form),
        ("W1;group g 0 w1", 2, Threshold),
        ("W1;group g 2 w1", 2, Threshold),
        ("W1;group g 01 w1", 2, Threshold),
        ("W1;group g -1 w1", 2, Threshold),
        ("quorum none\r", 1, Character),
        ("# \u{7f};quorum none", 1, Character),
    ];
    for (text, line, what) in table {
        let text = text
            .replace("W1", "witness w1 KEY1")
            .replace("W2", "witness w2 KEY2")
            .replace("KEY1", &witness(1).vkey().to_string())
            .replace("KEY2", &witness(2).vkey().to_string())
            .replace("LOG", &format!("log {}", signer().vkey()));
        let lines: Vec<String> = text.split(';').map(str::to_owned).collect();
        assert_eq!(policy(&lines), Err(PolicyFault { line, what }), "{lines:?}");
    }
    let swapped = format!("witness w {}", signer().vkey());
    assert_eq!(policy(&[swapped]), Err(PolicyFault { line: 1, what: Kind }));
    let swapped = format!("log {}", witness(1).vkey());
    assert_eq!(policy(&[swapped]), Err(PolicyFault { line: 1, what: Kind }));
}

#[test]
fn names_are_bytes_and_policies_are_bounded() {
    // K and the Kelvin sign are two names; so are bytes that are no UTF-8.
    let text = [
        b"witness K ".as_slice(),
        witness(1).vkey().to_string().as_bytes(),
        b"\nwitness \xe2\x84\xaa ",
        witness(2).vkey().to_string().as_bytes(),
        b"\nwitness \xff ",
        witness(3).vkey().to_string().as_bytes(),
        b"\ngroup g all \xe2\x84\xaa \xff\nquorum g",
    ]
    .concat();
    let policy = Policy::parse(&text).unwrap();
    assert!(is_met(&policy, &[2, 3]) && !is_met(&policy, &[1, 2]));

    let many = |count: usize| {
        let witnesses = (0..count).map(|number| {
            let mut seed = [0; 32];
            seed[..8].copy_from_slice(&number.to_be_bytes());
            format!("witness w{number} {}\n", Cosigner::from_seed("w", &seed).unwrap().vkey())
        });
        Policy::parse(format!("{}quorum none\n", witnesses.collect::<String>()).as_bytes())
    };
    assert_eq!(many(POLICY_NAMES_MAX).unwrap().witnesses().len(), POLICY_NAMES_MAX);
    assert_eq!(many(POLICY_NAMES_MAX + 1).unwrap_err().what, PolicyProblem::TooMany);
    let mut long = b"quorum none\n#".to_vec();
    long.resize(POLICY_BYTES_MAX, b'#');
    assert!(Policy::parse(&long).is_ok());
    long.push(b'#');
    assert_eq!(Policy::parse(&long), Err(PolicyFault { line: 0, what: PolicyProblem::TooLong }));
}

#[test]
fn entry_bundles_are_exactly_as_wide_as_they_say() {
    let id = |width| TileId { level: 0, index: 0, width };
    let mut bundle = Vec::new();
    for entry in [b"one".as_slice(), b"", &[9; BUNDLED_ENTRY_BYTES_MAX]] {
        push_entry(&mut bundle, entry).unwrap();
    }
    let entries = read_entries(&id(3), &bundle).unwrap();
    assert_eq!((entries[0], entries[1], entries[2].len()), (b"one".as_slice(), b"".as_slice(), 65_535));
    assert!(push_entry(&mut bundle.clone(), &[9; BUNDLED_ENTRY_BYTES_MAX + 1]).is_none());
    assert!(read_entries(&id(2), &bundle).is_none() && read_entries(&id(4), &bundle).is_none());
    for length in 0..bundle.len() {
        assert!(read_entries(&id(3), &bundle[..length]).is_none(), "{length}");
    }
    let full = [0_u8, 0].repeat(256);
    assert_eq!(read_entries(&id(256), &full).unwrap().len(), 256);
    assert!(read_entries(&id(256), &[0, 0].repeat(257)).is_none());

    let tile = Tile { level: 0, index: 3, hashes: vec![leaf(0, 0), leaf(0, 1)] };
    let id = tile.id().unwrap();
    assert_eq!(Tile::from_bytes(&id, &tile.to_bytes()), Some(tile.clone()));
    assert_eq!(Tile::from_bytes(&TileId { width: 3, ..id }, &tile.to_bytes()), None);
    assert_eq!(Tile::from_bytes(&id, &tile.to_bytes()[1..]), None);
}

#[test]
fn a_request_has_one_spelling() {
    let sent = request(0, 3, 5);
    assert_eq!(AddCheckpoint::parse(sent.to_text().as_bytes()), Some(sent.clone()));
    let first = request(0, 0, 5);
    assert_eq!(first.to_text(), format!("old 0\n\n{}", signed(0, 5)));
    assert_eq!(AddCheckpoint::parse(first.to_text().as_bytes()), Some(first));
    for bad in ["old 03", "old +3", "old", "old  3", "new 3", "", "old 3 ", "old 9223372036854775808"] {
        let text = sent.to_text().replacen("old 3", bad, 1);
        assert_eq!(AddCheckpoint::parse(text.as_bytes()), None, "{bad}");
    }
    let long = |count| AddCheckpoint { proof: vec![leaf(0, 0); count], ..sent.clone() }.to_text();
    assert!(AddCheckpoint::parse(long(REQUEST_HASHES_MAX).as_bytes()).is_some());
    assert!(AddCheckpoint::parse(long(REQUEST_HASHES_MAX + 1).as_bytes()).is_none());
}

#[test]
fn a_witness_judges_in_the_order_of_the_protocol() {
    let judged = |request: &AddCheckpoint, latest: Option<&Checkpoint>| judge(request, &known(), latest);
    assert_eq!(judged(&request(0, 0, 5), None), Ok(head(0, 5)));
    assert_eq!(judged(&request(0, 5, 9), Some(&head(0, 5))), Ok(head(0, 9)));
    assert_eq!(judged(&request(0, 5, 5), Some(&head(0, 5))), Ok(head(0, 5)), "the same again, a later time");
    assert_eq!(judged(&request(0, 0, 0), None), Ok(head(0, 0)));

    let unknown = Policy::of_keys(&[Signer::from_seed("other", &[7; 32]).unwrap().vkey()], 0);
    assert_eq!(judge(&request(0, 0, 5), &unknown, None), Err(Refused::UnknownLog));
    let stranger = Signer::from_seed(ORIGIN, &[8; 32]).unwrap();
    let strange =
        AddCheckpoint { checkpoint: stranger.sign_checkpoint(&head(0, 5)).unwrap(), ..request(0, 0, 5) };
    assert_eq!(judged(&strange, None), Err(Refused::Unsigned));
    let edited = AddCheckpoint { checkpoint: signed(0, 5).replace("\n5\n", "\n6\n"), ..request(0, 0, 5) };
    assert_eq!(judged(&edited, None), Err(Refused::Unsigned));
    assert_eq!(
        judged(&AddCheckpoint { old: 6, ..request(0, 5, 5) }, Some(&head(0, 5))),
        Err(Refused::Malformed)
    );
    let five = Some(head(0, 5));
    for old in [0, 4, 6] {
        assert_eq!(judged(&request(0, old, 9), five.as_ref()), Err(Refused::Conflict { size: 5 }), "{old}");
    }
    assert_eq!(judged(&request(0, 3, 9), None), Err(Refused::Conflict { size: 0 }));
    // A rollback is a conflict first, and never more than that.
    assert_eq!(judged(&request(0, 3, 4), five.as_ref()), Err(Refused::Conflict { size: 5 }));
    for fork in [request(1, 5, 9), request(1, 5, 5)] {
        assert_eq!(judged(&fork, five.as_ref()), Err(Refused::Inconsistent));
    }
    assert_eq!(
        judged(&AddCheckpoint { proof: vec![leaf(0, 0)], ..request(0, 0, 5) }, None),
        Err(Refused::Inconsistent)
    );
    assert_eq!(
        judged(&AddCheckpoint { proof: Vec::new(), ..request(0, 5, 9) }, five.as_ref()),
        Err(Refused::Inconsistent)
    );
    let empty = Checkpoint { root: leaf(0, 0), ..head(0, 0) };
    let empty =
        AddCheckpoint { old: 0, proof: Vec::new(), checkpoint: signer().sign_checkpoint(&empty).unwrap() };
    assert_eq!(judged(&empty, None), Err(Refused::Inconsistent));
    let statuses = [
        Refused::Malformed,
        Refused::Unsigned,
        Refused::UnknownLog,
        Refused::Conflict { size: 1 },
        Refused::Inconsistent,
    ];
    assert_eq!(statuses.map(|refused| refused.status()), [400, 403, 404, 409, 422]);
    assert_eq!(origin_hash("example.com/behind-the-sofa").len(), 64);
}

#[test]
fn a_reply_is_read_and_only_good_cosignatures_are_kept() {
    let (one, two) = (witness(1), witness(2));
    let policy = Policy::of_keys(&[signer().vkey(), one.vkey()], 1);
    let good = one.cosign(&head(0, 5), 10).unwrap();
    let bad = one.cosign(&head(0, 4), 10).unwrap();
    let stranger = two.cosign(&head(0, 5), 10).unwrap();
    let lines = |text: String| match Reply::parse(200, text.as_bytes()) {
        Reply::Cosigned(lines) => lines,
        _ => Vec::new(),
    };
    let note = signed(0, 5);
    let add = |text: String| add_cosignatures(&note, &lines(text), &policy).unwrap();
    assert_eq!(add(format!("{bad}{stranger}{good}{good}")), format!("{note}{good}"));
    assert_eq!(add(format!("{bad}{stranger}")), note);
    assert!(policy.open(add(good.clone()).as_bytes(), ORIGIN).is_ok());

    assert_eq!(Reply::parse(409, b"17\n"), Reply::Conflict { size: 17 });
    assert_eq!(Reply::parse(422, b"whatever"), Reply::Inconsistent);
    for (status, body) in [
        (200, ""),
        (200, "17\n"),
        (200, good.trim_end()),
        (409, "17"),
        (409, "017\n"),
        (500, "17\n"),
        (404, ""),
    ] {
        assert_eq!(Reply::parse(status, body.as_bytes()), Reply::Unusable, "{status} {body:?}");
    }
}

proptest! {
    #[test]
    fn no_order_of_requests_makes_a_witness_sign_two_histories(
        asked in proptest::collection::vec((0_u8..2, 0_u64..12, 0_u64..12), 1..40),
    ) {
        let mut latest: Option<Checkpoint> = None;
        for (history, old, size) in asked {
            if let Ok(cosigned) = judge(&request(history, old, size), &known(), latest.as_ref()) {
                if let Some(before) = &latest {
                    prop_assert!(before.size <= cosigned.size);
                    let same = tree(history, before.size).0.root() == before.root;
                    prop_assert!(same, "{history} at {}", before.size);
                }
                latest = Some(cosigned);
            }
        }
    }

    #[test]
    fn parsers_take_any_bytes_calmly(bytes in proptest::collection::vec(any::<u8>(), 0..400), text in "\\PC*", width in 0_u16..300) {
        for bytes in [bytes.as_slice(), text.as_bytes()] {
            drop(Policy::parse(bytes));
            drop(NoteSignature::parse_lines(bytes));
            if let Some(request) = AddCheckpoint::parse(bytes) {
                drop(judge(&request, &known(), None));
            }
            for status in [200, 409, 422, 500] {
                drop(Reply::parse(status, bytes));
            }
            let id = TileId { level: 0, index: 0, width };
            drop(read_entries(&id, bytes));
            drop(Tile::from_bytes(&id, bytes));
            drop(Leaf::from_bytes(bytes));
            drop(Entry::from_groups(&[bytes; 5]));
        }
    }

    #[test]
    fn damaged_requests_are_taken_calmly_and_never_cosigned(at in 0_usize..800, byte in any::<u8>(), cut in 0_usize..800) {
        let text = request(0, 5, 9).to_text().into_bytes();
        let judged = |bytes: &[u8]| AddCheckpoint::parse(bytes).is_some_and(|request| judge(&request, &known(), Some(&head(0, 5))).is_ok());
        prop_assert!(judged(&text));
        let mut bad = text.clone();
        let at = at % bad.len();
        bad[at] = byte;
        prop_assert_eq!(judged(&bad), bad == text);
        bad.truncate(cut % bad.len());
        prop_assert!(!judged(&bad));
    }

    #[test]
    fn damaged_policies_never_ask_for_less_by_a_panic(at in 0_usize..2000, byte in any::<u8>()) {
        let mut text = two_levels().join("\n").into_bytes();
        let at = at % text.len();
        text[at] = byte;
        drop(Policy::parse(&text));
    }
}
