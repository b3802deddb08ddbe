//! Entries: canonical bytes, strict reading, commitments.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use ciborium::Value;
use custodia_audit::*;
use proptest::prelude::*;

fn text() -> impl Strategy<Value = String> {
    "\\PC{0,40}"
}

fn some_text() -> impl Strategy<Value = Option<String>> {
    proptest::option::of(text())
}

fn event() -> impl Strategy<Value = Event> {
    let kind = proptest::sample::select(Kind::ALL.to_vec());
    (text(), kind, any::<i64>(), text(), any::<u64>(), any::<[u8; 16]>(), any::<u16>(), text()).prop_map(
        |(origin, kind, time_micros, node, sequence, request, status, code)| Event {
            origin,
            kind,
            time_micros,
            node,
            sequence,
            request,
            outcome: Outcome { status, code },
        },
    )
}

fn actor() -> impl Strategy<Value = Actor> {
    let roles = proptest::collection::vec(text(), 0..30);
    let thumbprint = proptest::option::of(any::<[u8; 32]>());
    (some_text(), roles, some_text(), some_text(), some_text(), thumbprint, some_text()).prop_map(
        |(user, roles, organisation, client, token_id, thumbprint, address)| Actor {
            user,
            roles,
            organisation,
            client,
            token_id,
            thumbprint,
            address,
        },
    )
}

fn object() -> impl Strategy<Value = Object> {
    let action = proptest::sample::select(Action::ALL.to_vec());
    let item = (text(), text(), any::<u32>(), any::<[u8; 32]>(), action)
        .prop_map(|(kind, id, version, digest, action)| Item { kind, id, version, digest, action });
    let items = proptest::collection::vec(item, 0..40);
    let set = proptest::option::of(any::<[u8; 32]>());
    let decision = proptest::sample::select(Decision::ALL.to_vec());
    (text(), items, set, proptest::collection::vec(text(), 0..4), decision).prop_map(
        |(interaction, items, policy_set, policies, decision)| Object {
            interaction,
            items,
            policy_set,
            policies,
            decision,
        },
    )
}

fn entry() -> impl Strategy<Value = Entry> {
    let subject = (some_text(), some_text()).prop_map(|(tenant, patient)| Subject { tenant, patient });
    let detail = (some_text(), some_text(), some_text()).prop_map(|(purpose, query, reason)| Detail {
        purpose,
        query,
        reason,
    });
    (event(), actor(), subject, object(), detail).prop_map(|(event, actor, subject, object, detail)| Entry {
        event,
        actor,
        subject,
        object,
        detail,
    })
}

fn control() -> impl Strategy<Value = Control> {
    let hash = any::<[u8; 32]>;
    let (n, t) = (any::<u64>, any::<i64>);
    prop_oneof![
        (text(), t(), text()).prop_map(|(node, time_micros, version)| Control::Start {
            node,
            time_micros,
            version
        }),
        (text(), t(), n()).prop_map(|(node, time_micros, sequence)| Control::Heartbeat {
            node,
            time_micros,
            sequence
        }),
        (t(), text(), text()).prop_map(|(time_micros, old_vkey, new_vkey)| Control::KeyRotation {
            time_micros,
            old_vkey,
            new_vkey
        }),
        (t(), text()).prop_map(|(time_micros, vkey)| Control::KeyRetirement { time_micros, vkey }),
        (text(), t(), hash()).prop_map(|(node, time_micros, policy_set)| Control::PolicyChange {
            node,
            time_micros,
            policy_set
        }),
        (text(), t(), n(), n(), hash()).prop_map(
            |(node, time_micros, restored_size, anchored_size, anchored_root)| {
                Control::Restore { node, time_micros, restored_size, anchored_size, anchored_root }
            }
        ),
        (text(), t(), n(), n(), n()).prop_map(|(node, time_micros, first, end, size)| Control::Export {
            node,
            time_micros,
            first,
            end,
            size
        }),
        (text(), t(), n(), n()).prop_map(|(node, time_micros, shard, count)| Control::Shards {
            node,
            time_micros,
            shard,
            count
        }),
        (t(), text(), n(), hash()).prop_map(|(time_micros, origin, size, root)| Control::ShardLink {
            time_micros,
            origin,
            size,
            root
        }),
    ]
}

/// Reads with an independent decoder, writes with an independent encoder.
fn again(bytes: &[u8]) -> Vec<u8> {
    let value: Value = ciborium::from_reader(bytes).unwrap();
    let mut out = Vec::new();
    ciborium::into_writer(&value, &mut out).unwrap();
    out
}

proptest! {
    #[test]
    fn entries_go_round_and_another_cbor_library_agrees(entry in entry()) {
        let groups = entry.groups();
        prop_assert_eq!(Entry::from_groups(&groups), Ok(entry));
        for group in &groups {
            prop_assert_eq!(&again(group), group);
        }
    }

    #[test]
    fn control_entries_go_round_and_another_cbor_library_agrees(control in control()) {
        let bytes = Leaf::Control(control.clone()).to_bytes();
        prop_assert_eq!(again(&bytes[1..]), &bytes[1..]);
        prop_assert_eq!(Leaf::from_bytes(&bytes), Ok(Leaf::Control(control)));
    }

    #[test]
    fn what_is_read_is_written_the_same(entry in entry(), group in 0_usize..5, at in any::<usize>(), byte in any::<u8>()) {
        let mut groups = entry.groups();
        let at = at % groups[group].len();
        groups[group][at] = byte;
        if let Ok(read) = Entry::from_groups(&groups) {
            prop_assert_eq!(read.groups(), groups);
        }
    }

    #[test]
    fn readers_take_any_bytes_calmly(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(leaf) = Leaf::from_bytes(&bytes) {
            prop_assert_eq!(leaf.to_bytes(), bytes.clone());
        }
        let groups = [&bytes, &bytes, &bytes, &bytes, &bytes];
        prop_assert!(Entry::from_groups(&groups).is_err());
        let mut control = vec![0];
        control.extend_from_slice(&bytes);
        if let Ok(leaf) = Leaf::from_bytes(&control) {
            prop_assert_eq!(leaf.to_bytes(), control);
        }
    }
}

fn plain() -> Entry {
    Entry {
        event: Event {
            origin: "log.example".into(),
            kind: Kind::Access,
            time_micros: 1_700_000_000_000_000,
            node: "a".into(),
            sequence: 24,
            request: [5; 16],
            outcome: Outcome { status: 200, code: "ok".into() },
        },
        actor: Actor { user: Some("u".into()), roles: vec!["nurse".into()], ..Actor::default() },
        subject: Subject { tenant: Some("t".into()), patient: Some("Patient/1".into()) },
        object: Object {
            interaction: "read".into(),
            items: vec![Item {
                kind: "Patient".into(),
                id: "1".into(),
                version: 2,
                digest: [6; 32],
                action: Action::Released,
            }],
            policy_set: None,
            policies: vec!["p".into()],
            decision: Decision::Permit,
        },
        detail: Detail { purpose: Some("TREAT".into()), ..Detail::default() },
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_bytes_of_an_entry_never_change() {
    let groups = plain().groups();
    assert_eq!(
        groups.each_ref().map(|group| hex(group)),
        [
            "a8006b6c6f672e6578616d706c650166616363657373021b00060a24181e4000036161041818055005050505050505050505050505050505\
             0618c807626f6b",
            "a20061750181656e75727365",
            "a200617401695061746965\
             6e742f31",
            "a400647265616401818567506174696\
             56e74613102582006060606060606060606060606060606060606060606060606060606060606066872656c65617365640381617004667065726d6974",
            "a100655452454154",
        ]
    );
}

#[test]
fn commitments_are_as_the_format_says() {
    use ring::{digest, hmac};
    let seed = [3; 32];
    let groups = plain().groups();
    let salts = Salts::from_seed(&seed);
    let mut all = b"custodia/v1/entry".to_vec();
    for (number, group) in (0_u8..).zip(&groups) {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &seed);
        let salt = hmac::sign(&key, &[b"custodia/v1/salt".as_slice(), &[number]].concat());
        assert_eq!(salts.0[usize::from(number)], salt.as_ref());
        let bytes = [b"custodia/v1/group".as_slice(), &[number], salt.as_ref(), group].concat();
        all.extend_from_slice(digest::digest(&digest::SHA256, &bytes).as_ref());
    }
    assert_eq!(commit(&groups, &salts), digest::digest(&digest::SHA256, &all).as_ref());
    assert_ne!(commit(&groups, &Salts::from_seed(&[4; 32])), commit(&groups, &salts));
}

#[test]
fn each_fault_names_its_group() {
    let good = plain().groups();
    for group in 0..5_u8 {
        let mut bad = good.clone();
        bad[usize::from(group)].push(0);
        let fault = Entry::from_groups(&bad).unwrap_err();
        assert_eq!(fault, GroupFault { group, source: CborFault::Trailing });
    }
    let mut long = good;
    long[4] = vec![0; GROUP_BYTES_MAX + 1];
    assert_eq!(Entry::from_groups(&long).unwrap_err(), GroupFault { group: 4, source: CborFault::TooLong });
}

#[test]
fn an_entry_prints_no_person() {
    let shown = format!("{:?} {:?}", plain(), plain().object);
    assert!(!shown.contains("Patient") && !shown.contains("nurse"), "{shown}");
}

#[test]
fn leaves_have_one_spelling() {
    assert_eq!(Leaf::from_bytes(&[]), Err(LeafFault::Tag));
    assert_eq!(Leaf::from_bytes(&[2; 33]), Err(LeafFault::Tag));
    assert_eq!(Leaf::from_bytes(&[1; 32]), Err(LeafFault::Length));
    assert_eq!(Leaf::from_bytes(&[1; 34]), Err(LeafFault::Length));
    assert_eq!(Leaf::from_bytes(&[1; 33]), Ok(Leaf::Access([1; 32])));
    let long = Control::Start { node: "n".repeat(CONTROL_BYTES_MAX), time_micros: 0, version: String::new() };
    assert_eq!(
        Leaf::from_bytes(&Leaf::Control(long).to_bytes()),
        Err(LeafFault::Control(CborFault::TooLong))
    );
}
