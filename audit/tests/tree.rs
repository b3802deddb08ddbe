//! The tree against the recursive definitions of RFC 6962 §2.1, written here once more and naively.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use custodia_audit::*;
use proptest::prelude::*;

fn leaf(index: u64) -> Hash {
    leaf_hash(&index.to_be_bytes())
}

fn split(count: usize) -> usize {
    let mut k = 1;
    while k * 2 < count {
        k *= 2;
    }
    k
}

fn mth(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Hash::empty_root(),
        [one] => *one,
        _ => {
            let k = split(leaves.len());
            node_hash(&mth(&leaves[..k]), &mth(&leaves[k..]))
        }
    }
}

fn path(m: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let k = split(leaves.len());
    let (mut proof, sibling) = if m < k {
        (path(m, &leaves[..k]), mth(&leaves[k..]))
    } else {
        (path(m - k, &leaves[k..]), mth(&leaves[..k]))
    };
    proof.push(sibling);
    proof
}

fn subproof(m: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
    if m == leaves.len() {
        return if whole { Vec::new() } else { vec![mth(leaves)] };
    }
    let k = split(leaves.len());
    let (mut proof, sibling) = if m <= k {
        (subproof(m, &leaves[..k], whole), mth(&leaves[k..]))
    } else {
        (subproof(m - k, &leaves[k..], false), mth(&leaves[..k]))
    };
    proof.push(sibling);
    proof
}

/// A log of `size` leaves: its leaves, edge, and every tile of the tree.
struct Log {
    leaves: Vec<Hash>,
    edge: Edge,
    tiles: Vec<Tile>,
}

fn log(size: u64) -> Log {
    let leaves: Vec<Hash> = (0..size).map(leaf).collect();
    let mut edge = Edge::empty();
    let mut tiles: Vec<Tile> = leaves.iter().flat_map(|hash| edge.append(*hash)).collect();
    tiles.extend(edge.partial_tiles());
    Log { leaves, edge, tiles }
}

impl Log {
    /// Exactly the tiles asked for: a proof must not need more.
    fn fetch(&self, ids: Vec<TileId>) -> Tiles {
        let mut tiles = Tiles::new();
        for id in ids {
            tiles.insert(self.tiles.iter().find(|tile| tile.id() == Some(id)).unwrap().clone());
        }
        tiles
    }

    fn inclusion(&self, index: u64) -> Vec<Hash> {
        let size = self.edge.size();
        inclusion_proof(index, size, &self.fetch(tiles_for_inclusion(index, size).unwrap())).unwrap()
    }

    fn consistency(&self, first: u64) -> Vec<Hash> {
        let size = self.edge.size();
        consistency_proof(first, size, &self.fetch(tiles_for_consistency(first, size).unwrap())).unwrap()
    }
}

#[test]
fn known_roots_of_rfc_6962() {
    // The certificate-transparency reference tree of eight leaves.
    let entries: [&[u8]; 8] = [
        b"",
        b"\x00",
        b"\x10",
        b"\x20\x21",
        b"\x30\x31",
        b"\x40\x41\x42\x43",
        b"\x50\x51\x52\x53\x54\x55\x56\x57",
        b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
    ];
    let roots = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    let mut edge = Edge::empty();
    for (entry, root) in entries.iter().zip(roots) {
        edge.append(leaf_hash(entry));
        let hex: String = edge.root().0.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, root, "size {}", edge.size());
    }
}

#[test]
fn the_edge_states_the_root_at_every_size() {
    let mut edge = Edge::empty();
    assert_eq!(edge.root(), Hash::empty_root());
    let leaves: Vec<Hash> = (0..1400).map(leaf).collect();
    for size in 1..=leaves.len() {
        edge.append(leaves[size - 1]);
        if size < 300 || size % 37 == 0 || size % 256 < 2 {
            assert_eq!(edge.root(), mth(&leaves[..size]), "size {size}");
            assert_eq!(Edge::restore(edge.size(), edge.levels().to_vec()).unwrap().root(), edge.root());
            assert_eq!(Edge::from_list(edge.size(), &edge.to_list()).unwrap().root(), edge.root());
        }
    }
}

#[test]
fn a_second_level_of_tiles_is_filled() {
    let log = log(256 * 256 + 300);
    assert_eq!(log.edge.root(), mth(&log.leaves));
    let full = |level| log.tiles.iter().filter(|tile| tile.level == level && tile.root().is_some()).count();
    assert_eq!((full(0), full(1), full(2)), (257, 1, 0));
    for index in [0, 255, 256, 65_535, 65_536, 65_792, 65_835] {
        let proof = log.inclusion(index);
        assert_eq!(proof, path(usize::try_from(index).unwrap(), &log.leaves));
        verify_inclusion(leaf(index), index, log.edge.size(), &proof, log.edge.root()).unwrap();
    }
    for first in [1, 255, 256, 257, 65_535, 65_536, 65_537, 65_800] {
        let count = usize::try_from(first).unwrap();
        let proof = log.consistency(first);
        assert_eq!(proof, subproof(count, &log.leaves, true));
        verify_consistency(first, mth(&log.leaves[..count]), log.edge.size(), log.edge.root(), &proof)
            .unwrap();
    }
}

#[test]
fn every_small_proof_is_the_one_of_the_rfc() {
    for size in 1..=70_u64 {
        let log = log(size);
        let root = log.edge.root();
        for index in 0..size {
            let proof = log.inclusion(index);
            assert_eq!(proof, path(usize::try_from(index).unwrap(), &log.leaves));
            verify_inclusion(leaf(index), index, size, &proof, root).unwrap();
            assert!(verify_inclusion(leaf(index + 1), index, size, &proof, root).is_err());
            for other in (0..size).filter(|other| *other != index) {
                assert!(
                    verify_inclusion(leaf(index), other, size, &proof, root).is_err(),
                    "{index} as {other} of {size}"
                );
            }
        }
        for first in 1..=size {
            let count = usize::try_from(first).unwrap();
            let proof = log.consistency(first);
            assert_eq!(proof, subproof(count, &log.leaves, true));
            let old = mth(&log.leaves[..count]);
            verify_consistency(first, old, size, root, &proof).unwrap();
            assert!(verify_consistency(first, leaf(999), size, root, &proof).is_err());
            assert!(verify_consistency(first, old, size, leaf(999), &proof).is_err());
        }
        verify_consistency(0, Hash::empty_root(), size, root, &[]).unwrap();
        assert_eq!(
            verify_consistency(size + 1, root, size, root, &[]),
            Err(TreeFault::Shrunk { first: size + 1, second: size })
        );
    }
}

#[test]
fn an_edge_of_another_shape_is_refused() {
    let edge = log(600).edge;
    assert!(Edge::restore(601, edge.levels().to_vec()).is_err());
    assert!(Edge::restore(600, edge.levels()[..1].to_vec()).is_err());
    assert!(Edge::restore(0, edge.levels().to_vec()).is_err());
    assert!(Edge::from_list(601, &edge.to_list()).is_err());
    assert!(Edge::from_list(599, &edge.to_list()).is_err());
    assert_eq!(Edge::restore(0, vec![Vec::new()]).unwrap(), Edge::empty());
    assert_eq!(tiles_for_inclusion(5, 5), Err(TreeFault::OutOfTree { index: 5, size: 5 }));
    assert!(matches!(inclusion_proof(0, 5, &Tiles::new()), Err(TreeFault::MissingTile(_))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn proofs_hold_and_tampered_ones_do_not(size in 2_u64..3000, pick in any::<u64>(), flip in any::<(usize, u8, u8)>()) {
        let log = log(size);
        let root = log.edge.root();
        let index = pick % size;
        let proof = log.inclusion(index);
        prop_assert_eq!(&proof, &path(usize::try_from(index).unwrap(), &log.leaves));
        verify_inclusion(leaf(index), index, size, &proof, root).unwrap();
        let mut bad = proof.clone();
        let hash = flip.0 % bad.len();
        bad[hash].0[usize::from(flip.1) % 32] ^= flip.2.max(1);
        prop_assert!(verify_inclusion(leaf(index), index, size, &bad, root).is_err());
        prop_assert!(verify_inclusion(leaf(index), index, size, &proof[1..], root).is_err());

        let first = 1 + index;
        let count = usize::try_from(first).unwrap();
        let proof = log.consistency(first);
        prop_assert_eq!(&proof, &subproof(count, &log.leaves, true));
        let old = mth(&log.leaves[..count]);
        verify_consistency(first, old, size, root, &proof).unwrap();
        if let Some(last) = proof.len().checked_sub(1) {
            let mut bad = proof.clone();
            bad[flip.0 % proof.len()].0[usize::from(flip.1) % 32] ^= flip.2.max(1);
            prop_assert!(verify_consistency(first, old, size, root, &bad).is_err());
            prop_assert!(verify_consistency(first, old, size, root, &proof[..last]).is_err());
        }
    }
}
