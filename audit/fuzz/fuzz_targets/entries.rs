//! Entries, groups, tiles and entry bundles from a stranger.
#![no_main]

use custodia_audit::{
    Action, Actor, Decision, Detail, Entry, Event, Item, Kind, Leaf, Object, Outcome, Subject, Tile, TileId,
    push_entry, read_entries,
};

/// An entry whose groups are all sound: with one of them a stranger's, nothing else hides what becomes of that one.
fn sound() -> Entry {
    let text = |text: &str| Some(text.to_owned());
    Entry {
        event: Event {
            origin: "log.example".into(),
            kind: Kind::Access,
            time_micros: 1,
            node: "node".into(),
            sequence: 1,
            request: [1; 16],
            outcome: Outcome { status: 200, code: "ok".into() },
        },
        actor: Actor { user: text("grey"), roles: vec!["physician".into()], ..Actor::default() },
        subject: Subject { tenant: text("clinic"), patient: text("Patient/1") },
        object: Object {
            interaction: "read".into(),
            items: vec![Item {
                kind: "Patient".into(),
                id: "1".into(),
                version: 1,
                digest: [2; 32],
                action: Action::Released,
            }],
            policy_set: Some([3; 32]),
            policies: vec!["physician/read".into()],
            decision: Decision::Permit,
        },
        detail: Detail { purpose: text("TREAT"), query: text("name=x"), reason: None },
    }
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(leaf) = Leaf::from_bytes(bytes) {
        assert_eq!(leaf.to_bytes(), bytes, "a leaf has one spelling");
    }
    let groups = sound().groups();
    for at in 0..groups.len() {
        let mut groups = groups.clone();
        groups[at] = bytes.to_vec();
        if let Ok(entry) = Entry::from_groups(&groups) {
            assert_eq!(entry.groups(), groups, "an entry has one spelling");
        }
    }
    if let Some((width, bytes)) = bytes.split_first() {
        let id = TileId { level: 0, index: 0, width: u16::from(*width) + 1 };
        if let Some(entries) = read_entries(&id, bytes) {
            let mut spelt = Vec::new();
            assert!(entries.iter().all(|entry| push_entry(&mut spelt, entry).is_some()));
            assert_eq!(spelt, bytes, "a bundle of entries has one spelling");
        }
        if let Some(tile) = Tile::from_bytes(&id, bytes) {
            assert_eq!(tile.to_bytes(), bytes, "a tile has one spelling");
        }
    }
});
