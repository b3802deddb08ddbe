//! A witness whose disk fails at every step, in both ways.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use chrono::DateTime;
use custodia_audit::{Edge, Hash, Signer, Tiles, consistency_proof, leaf_hash, witness::REQUEST_BYTES_MAX};

use super::*;
use crate::durable::{Fault, Step};

const ORIGIN: &str = "log.test/one";

struct Log {
    signer: Signer,
    history: u8,
}

impl Log {
    fn new(history: u8) -> Self {
        Self { signer: Signer::from_seed(ORIGIN, &[7; 32]).unwrap(), history }
    }

    fn tree(&self, size: u64) -> (Edge, Tiles) {
        let (mut edge, mut tiles) = (Edge::empty(), Tiles::new());
        for index in 0..size {
            edge.append(leaf_hash(&[&[self.history], index.to_be_bytes().as_slice()].concat()));
        }
        edge.partial_tiles().into_iter().for_each(|tile| tiles.insert(tile));
        (edge, tiles)
    }

    fn root(&self, size: u64) -> Hash {
        self.tree(size).0.root()
    }

    fn ask(&self, old: u64, size: u64) -> Vec<u8> {
        let (edge, tiles) = self.tree(size);
        let proof =
            if old == 0 || old >= size { Vec::new() } else { consistency_proof(old, size, &tiles).unwrap() };
        let head = Checkpoint { origin: ORIGIN.into(), size, root: edge.root() };
        let checkpoint = self.signer.sign_checkpoint(&head).unwrap();
        AddCheckpoint { old, proof, checkpoint }.to_text().into_bytes()
    }
}

struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        let name = format!("custodia-witness-{}", Clock::machine().random_id().simple());
        Self(std::env::temp_dir().join(name))
    }

    fn witness(&self, durable: Durable) -> Witness {
        let cosigner = Cosigner::from_seed("w.test/1", &[3; 32]).unwrap();
        let clock = Clock::fixed(DateTime::from_timestamp(1_700_000_000, 0).unwrap());
        Witness::new(&self.0, cosigner, &[Log::new(0).signer.vkey()], durable, clock)
    }

    fn stored(&self, witness: &Witness) -> Option<Checkpoint> {
        let note = witness.checkpoint(&origin_hash(ORIGIN)).unwrap()?;
        let keys = [Log::new(0).signer.vkey(), witness.vkey()];
        Some(Checkpoint::open(&note, ORIGIN, &keys, 1).unwrap())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

fn refused(witness: &Witness, body: &[u8]) -> Refused {
    match witness.add_checkpoint(body) {
        Err(Unsigned::Refused(refused)) => refused,
        other => unreachable!("{other:?}"),
    }
}

#[test]
fn a_witness_goes_on_where_it_was_and_never_back_or_aside() {
    let (place, log, fork) = (Place::new(), Log::new(0), Log::new(1));
    let witness = place.witness(Durable::private());
    assert_eq!(place.stored(&witness), None);
    let line = witness.add_checkpoint(&log.ask(0, 5)).unwrap();
    assert!(line.starts_with("\u{2014} w.test/1 ") && line.ends_with('\n'));
    witness.add_checkpoint(&log.ask(5, 9)).unwrap();
    for witness in [witness, place.witness(Durable::private())] {
        assert_eq!(place.stored(&witness).unwrap().size, 9);
        assert_eq!(refused(&witness, &log.ask(0, 5)), Refused::Conflict { size: 9 });
        assert_eq!(refused(&witness, &log.ask(5, 12)), Refused::Conflict { size: 9 });
        assert_eq!(refused(&witness, &fork.ask(9, 12)), Refused::Inconsistent);
        assert_eq!(refused(&witness, &fork.ask(9, 9)), Refused::Inconsistent);
        assert_eq!(refused(&witness, b"old 9\n"), Refused::Malformed);
        assert_eq!(refused(&witness, &vec![b'x'; REQUEST_BYTES_MAX + 1]), Refused::Malformed);
        witness.add_checkpoint(&log.ask(9, 9)).unwrap();
    }
}

#[test]
fn a_witness_answers_nothing_that_its_disk_may_not_have() {
    let (log, fork) = (Log::new(0), Log::new(1));
    for step in [Step::Write, Step::Sync, Step::Rename, Step::SyncFolder] {
        for fault in [Fault::NotDone, Fault::DoneButFailed] {
            let place = Place::new();
            let broken = Arc::new(AtomicBool::new(false));
            let fails = Arc::clone(&broken);
            let witness = place.witness(Durable::private().failing(move |at, _| {
                if at == step && fails.load(Ordering::SeqCst) { fault } else { Fault::None }
            }));
            witness.add_checkpoint(&log.ask(0, 5)).unwrap();
            broken.store(true, Ordering::SeqCst);
            let failed = witness.add_checkpoint(&log.ask(5, 9));
            assert!(matches!(failed, Err(Unsigned::State(_))), "{step:?} {fault:?}");
            broken.store(false, Ordering::SeqCst);
            // It says what its disk has, whichever that is, and goes on from there alone; so does the next process.
            let size = place.stored(&witness).unwrap().size;
            assert!(size == 5 || size == 9, "{step:?} {fault:?}");
            for witness in [witness, place.witness(Durable::private())] {
                let size = place.stored(&witness).unwrap().size;
                assert_eq!(refused(&witness, &log.ask(1, 12)), Refused::Conflict { size });
                assert_eq!(refused(&witness, &fork.ask(size, 12)), Refused::Inconsistent);
                witness.add_checkpoint(&log.ask(size, 12)).unwrap();
                let stored = place.stored(&witness).unwrap();
                assert_eq!((stored.size, stored.root), (12, log.root(12)));
            }
        }
    }
}

#[test]
fn a_state_that_the_witness_did_not_write_stops_it() {
    let (place, log) = (Place::new(), Log::new(0));
    place.witness(Durable::private()).add_checkpoint(&log.ask(0, 5)).unwrap();
    let path = place.0.join(origin_hash(ORIGIN));
    let note = std::fs::read_to_string(&path).unwrap();
    for edited in [note.replace("\n5\n", "\n4\n"), String::new(), "nothing\n".into()] {
        std::fs::write(&path, &edited).unwrap();
        let failed = place.witness(Durable::private()).add_checkpoint(&log.ask(5, 9));
        assert!(matches!(failed, Err(Unsigned::State(_))), "{edited:?}");
    }
    std::fs::write(&path, &note).unwrap();
    place.witness(Durable::private()).add_checkpoint(&log.ask(5, 9)).unwrap();
}

#[test]
fn a_witness_that_knows_the_new_key_alone_goes_on_from_what_the_old_one_signed() {
    let (place, old) = (Place::new(), Log::new(0));
    let newer = || Signer::from_seed(ORIGIN, &[8; 32]).unwrap();
    let knowing = |key| {
        let cosigner = Cosigner::from_seed("w.test/1", &[3; 32]).unwrap();
        Witness::new(&place.0, cosigner, &[key], Durable::private(), Clock::machine())
    };
    let both = Log { signer: Signer::from_seed(ORIGIN, &[7; 32]).unwrap().with_newer(newer()), history: 0 };
    let new = Log { signer: newer(), history: 0 };
    let (first, second) = (knowing(old.signer.vkey()), knowing(newer().vkey()));
    assert_eq!(refused(&second, &old.ask(0, 5)), Refused::Unsigned, "the new key has not signed yet");
    first.add_checkpoint(&old.ask(0, 5)).unwrap();
    drop(second);
    // Told of the new key alone, it finds what it cosigned under the old one.
    let second = knowing(newer().vkey());
    second.add_checkpoint(&both.ask(5, 7)).unwrap();
    let stored = second.checkpoint(&origin_hash(ORIGIN)).unwrap().unwrap();
    assert!(Checkpoint::open(&stored, ORIGIN, &[newer().vkey()], 0).is_ok());
    let first = knowing(old.signer.vkey());
    first.add_checkpoint(&both.ask(7, 8)).unwrap();
    assert_eq!(refused(&first, &new.ask(8, 9)), Refused::Unsigned, "the old key signs no more");
    knowing(newer().vkey()).add_checkpoint(&new.ask(8, 9)).unwrap();
}

#[test]
fn a_key_is_made_once_and_found_again() {
    let place = Place::new();
    assert!(matches!(open_key(&place.0), Err(WitnessError::NoKey(_))));
    let vkey = create_key(&place.0, "w.test/1", &[3; 32]).unwrap();
    assert_eq!(open_key(&place.0).unwrap().vkey(), vkey);
    assert!(matches!(create_key(&place.0, "w.test/1", &[4; 32]), Err(WitnessError::KeyExists(_))));
    assert!(matches!(create_key(&place.0.join("other"), "a name", &[4; 32]), Err(WitnessError::Key(_))));
    Durable::private().put(&place.0.join("key"), b"w.test/1\nAAAA\n").unwrap();
    assert!(matches!(open_key(&place.0), Err(WitnessError::NotAKey(_))));
}
