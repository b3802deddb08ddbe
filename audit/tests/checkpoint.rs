//! Notes, checkpoints, cosignatures and proof files, against published vectors and tampering.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use custodia_audit::*;
use proptest::prelude::*;
use ring::signature::{Ed25519KeyPair, KeyPair};

// The example of golang.org/x/mod/sumdb/note.
const NEUMANN: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const NEUMANN_NOTE: &str = "If you think cryptography is the answer to your problem,\n\
    then you don't know what your problem is.\n\n\
    — PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
const NEUMANN_KEY: &str = "AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
// The key of the Go checksum database.
const SUMDB: &str = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";

const ORIGIN: &str = "log.example/clinic";

fn signer() -> Signer {
    Signer::from_seed(ORIGIN, &[7; 32]).unwrap()
}

fn checkpoint() -> Checkpoint {
    Checkpoint { origin: ORIGIN.into(), size: 3, root: leaf_hash(b"root") }
}

struct Witness(&'static str, Ed25519KeyPair);

impl Witness {
    fn new(name: &'static str, seed: u8) -> Self {
        Self(name, Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap())
    }

    fn vkey(&self) -> Vkey {
        Vkey::new(self.0, KeyKind::Cosignature, self.1.public_key().as_ref().try_into().unwrap()).unwrap()
    }

    fn cosign(&self, note: &str, time: u64) -> String {
        let text = Note::parse(note.as_bytes()).unwrap().text().to_owned();
        let message = format!("cosignature/v1\ntime {time}\n{text}");
        let mut bytes = self.vkey().key_id().to_vec();
        bytes.extend_from_slice(&time.to_be_bytes());
        bytes.extend_from_slice(self.1.sign(message.as_bytes()).as_ref());
        format!("{note}— {} {}\n", self.0, STANDARD.encode(bytes))
    }
}

#[test]
fn the_published_note_verifies_and_is_reproduced() {
    let key = Vkey::parse(NEUMANN).unwrap();
    assert_eq!(key.to_string(), NEUMANN);
    let note = Note::parse(NEUMANN_NOTE.as_bytes()).unwrap();
    assert_eq!(note.verify(&[key]).unwrap().len(), 1);
    let seed = STANDARD.decode(NEUMANN_KEY).unwrap();
    let signer = Signer::from_seed("PeterNeumann", &seed[1..].try_into().unwrap()).unwrap();
    assert_eq!(signer.vkey().to_string(), NEUMANN);
    assert_eq!(signer.sign_note(note.text()).unwrap(), NEUMANN_NOTE);
}

#[test]
fn verifier_keys_have_one_spelling() {
    assert_eq!(Vkey::parse(SUMDB).unwrap().to_string(), SUMDB);
    let table = [
        ("", KeyFault::Form),
        ("name+033de0ae", KeyFault::Form),
        ("+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8", KeyFault::Name),
        ("a b+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8", KeyFault::Name),
        ("sum.golang.org+033de0af+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8", KeyFault::KeyId),
        ("sum.golang.com+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8", KeyFault::KeyId),
        ("sum.golang.org+033DE0AE+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8", KeyFault::Form),
        ("sum.golang.org+033de0ae+As4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8", KeyFault::Kind),
        ("sum.golang.org+033de0ae+Ac4z", KeyFault::Form),
    ];
    for (text, fault) in table {
        assert_eq!(Vkey::parse(text), Err(fault), "{text}");
    }
}

#[test]
fn the_checkpoint_of_the_specification_is_read() {
    let note = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
        — example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n\
        — witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n";
    let note = Note::parse(note.as_bytes()).unwrap();
    assert_eq!(note.signatures().len(), 2);
    // The time in the cosignature is the one the specification states in words.
    assert_eq!(note.signatures()[1].signature[..8], 1_679_315_147_u64.to_be_bytes());
    let checkpoint = Checkpoint::parse(note.text()).unwrap();
    assert_eq!((checkpoint.origin.as_str(), checkpoint.size), ("example.com/behind-the-sofa", 20_852_163));
    assert_eq!(checkpoint.to_text(), note.text());
    assert_eq!(note.verify(&[signer().vkey()]), Err(NoteFault::Unsigned));
}

#[test]
fn other_spellings_of_a_checkpoint_are_refused() {
    let good = checkpoint().to_text();
    assert_eq!(Checkpoint::parse(&good).unwrap(), checkpoint());
    let root = checkpoint().root.to_base64();
    for bad in [
        format!("{ORIGIN}\n03\n{root}\n"),
        format!("{ORIGIN}\n+3\n{root}\n"),
        format!("{ORIGIN}\n3\n{root}"),
        format!("{ORIGIN}\n3\n{root}\nextension\n"),
        format!("{ORIGIN}\n3\n{root}\n\n"),
        format!("\n3\n{root}\n"),
        format!("{ORIGIN}\n3\nAAAA\n"),
        format!("{ORIGIN}\n9223372036854775808\n{root}\n"),
        String::new(),
    ] {
        assert_eq!(Checkpoint::parse(&bad), Err(CheckpointFault::Text), "{bad:?}");
    }
}

#[test]
fn only_the_log_s_own_key_makes_a_checkpoint() {
    let keys = [signer().vkey()];
    let note = signer().sign_checkpoint(&checkpoint()).unwrap();
    let open = |note: &str| Checkpoint::open(note.as_bytes(), ORIGIN, &keys, 0);
    assert_eq!(open(&note), Ok(checkpoint()));

    let stranger = Signer::from_seed(ORIGIN, &[8; 32]).unwrap();
    let strange = stranger.sign_checkpoint(&checkpoint()).unwrap();
    assert_eq!(open(&strange), Err(NoteFault::Unsigned.into()));
    // An unknown key beside ours is ignored, even under our name.
    let line = strange.rsplit_once("\n\n").unwrap().1;
    assert_eq!(open(&format!("{note}{line}")), Ok(checkpoint()));
    // A known key's bad signature refuses the note, even beside a good one.
    let mut other = checkpoint();
    other.size = 4;
    let moved = signer().sign_checkpoint(&other).unwrap();
    let line = moved.rsplit_once("\n\n").unwrap().1;
    assert_eq!(open(&format!("{note}{line}")), Err(NoteFault::BadSignature.into()));
    assert_eq!(open(&note.replace("\n3\n", "\n4\n")), Err(NoteFault::BadSignature.into()));

    assert_eq!(
        Checkpoint::open(note.as_bytes(), "log.example/other", &keys, 0),
        Err(CheckpointFault::Origin)
    );
    other.origin = "two\nlines".into();
    assert_eq!(signer().sign_checkpoint(&other), Err(NoteFault::Text));
}

#[test]
fn witnesses_count_towards_the_quorum_and_never_for_the_log() {
    let (w1, w2) = (Witness::new("w.example/1", 1), Witness::new("w.example/2", 2));
    let note = signer().sign_checkpoint(&checkpoint()).unwrap();
    let both = w2.cosign(&w1.cosign(&note, 1_679_315_147), 1_679_315_148);
    let keys = [signer().vkey(), w1.vkey(), w2.vkey()];
    let open = |note: &str, quorum| Checkpoint::open(note.as_bytes(), ORIGIN, &keys, quorum);
    assert_eq!(open(&both, 2), Ok(checkpoint()));
    assert_eq!(open(&w1.cosign(&note, 5), 2), Err(CheckpointFault::Quorum { found: 1 }));
    let twice = w1.cosign(&w1.cosign(&note, 5), 6);
    assert_eq!(open(&twice, 2), Err(CheckpointFault::Quorum { found: 1 }));
    let times: Vec<_> =
        Note::parse(both.as_bytes()).unwrap().verify(&keys).unwrap().iter().map(|v| v.time).collect();
    assert_eq!(times, [None, Some(1_679_315_147), Some(1_679_315_148)]);

    let alone = both.replacen(note.rsplit_once("\n\n").unwrap().1, "", 1);
    assert_eq!(open(&alone, 1), Err(CheckpointFault::Unsigned));
    assert_eq!(Vkey::parse(&w1.vkey().to_string()), Ok(w1.vkey()));
    assert_eq!(open(&w1.cosign(&note, u64::MAX), 1), Err(NoteFault::BadSignature.into()));
}

#[test]
fn a_new_key_signs_what_it_verifies() {
    let der = Signer::generate_pkcs8(&ring::rand::SystemRandom::new()).unwrap();
    let signer = Signer::from_pkcs8(ORIGIN, &der).unwrap();
    let note = signer.sign_checkpoint(&checkpoint()).unwrap();
    assert_eq!(Checkpoint::open(note.as_bytes(), ORIGIN, &[signer.vkey()], 0), Ok(checkpoint()));
    assert!(
        Signer::from_pkcs8("with space", &der).is_err() && Signer::from_pkcs8(ORIGIN, &der[1..]).is_err()
    );
}

fn proof_file() -> (ProofFile, Vec<u8>) {
    let mut edge = Edge::empty();
    let entry = Leaf::Access([2; 32]).to_bytes();
    for leaf in 0..5 {
        edge.append(leaf_hash(&Leaf::Access([leaf; 32]).to_bytes()));
    }
    let mut tiles = Tiles::new();
    edge.partial_tiles().into_iter().for_each(|tile| tiles.insert(tile));
    let head = Checkpoint { origin: ORIGIN.into(), size: 5, root: edge.root() };
    let checkpoint = signer().sign_checkpoint(&head).unwrap();
    (ProofFile { extra: None, index: 2, hashes: inclusion_proof(2, 5, &tiles).unwrap(), checkpoint }, entry)
}

#[test]
fn a_proof_file_goes_round_and_every_change_is_refused() {
    let keys = [signer().vkey()];
    let (proof, entry) = proof_file();
    let text = proof.to_text();
    assert_eq!(ProofFile::parse(text.as_bytes()).unwrap(), proof);
    assert_eq!(proof.verify(&entry, ORIGIN, &keys, 0).unwrap().size, 5);
    let mut extra = proof.clone();
    extra.extra = Some(b"beside".to_vec());
    assert_eq!(ProofFile::parse(extra.to_text().as_bytes()).unwrap(), extra);
    assert!(proof.verify(&Leaf::Access([8; 32]).to_bytes(), ORIGIN, &keys, 0).is_err());

    for at in 0..text.len() {
        for bit in 0..8 {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1 << bit;
            let parsed = ProofFile::parse(&bytes);
            let accepted = parsed.is_ok_and(|proof| proof.verify(&entry, ORIGIN, &keys, 0).is_ok());
            assert!(!accepted, "byte {at}, bit {bit}");
        }
    }
}

proptest! {
    #[test]
    fn parsers_take_any_bytes_calmly(bytes in proptest::collection::vec(any::<u8>(), 0..300), text in "\\PC*") {
        for bytes in [bytes.as_slice(), text.as_bytes()] {
            drop(Note::parse(bytes));
            drop(ProofFile::parse(bytes));
            drop(Checkpoint::open(bytes, ORIGIN, &[signer().vkey()], 0));
        }
        drop(Checkpoint::parse(&text));
        prop_assert!(Vkey::parse(&text).is_err());
        prop_assert!(TileId::parse(&text).is_none());
    }

    #[test]
    fn damaged_notes_are_taken_calmly(at in 0_usize..400, byte in any::<u8>(), cut in 0_usize..400) {
        let mut bytes = NEUMANN_NOTE.as_bytes().to_vec();
        let at = at % bytes.len();
        let same = bytes[at] == byte;
        bytes[at] = byte;
        let verified = |bytes: &[u8]| Note::parse(bytes).is_ok_and(|note| note.verify(&[Vkey::parse(NEUMANN).unwrap()]).is_ok());
        prop_assert_eq!(verified(&bytes), same);
        bytes.truncate(cut % bytes.len());
        prop_assert!(!verified(&bytes));
    }
}
