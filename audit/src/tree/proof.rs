//! Inclusion and consistency proofs (RFC 6962 §2.1.1, §2.1.2).
//!
//! A proof is a list of subtree hashes. Each subtree is cut into perfect ones, and these are read from
//! tiles: first ask which tiles, fetch them in any way, then compute. Verification follows RFC 9162
//! §2.1.3.2 and §2.1.4.2. Imports the parent module only.

use std::collections::BTreeSet;

use super::{Hash, TILE_WIDTH, TileId, Tiles, TreeFault, node_hash, split_point};

/// The most hashes a proof can have: two for each of the 63 heights.
pub const PROOF_HASHES_MAX: usize = 126;

/// A range of leaves whose subtree hash a proof holds.
#[derive(Clone, Copy)]
struct Span {
    start: u64,
    end: u64,
}

impl Span {
    /// The perfect subtrees it consists of, tallest first, as (height, number among its height).
    fn perfect(self) -> impl Iterator<Item = (u32, u64)> {
        let mut start = self.start;
        std::iter::from_fn(move || {
            let height = self.end.checked_sub(start).filter(|count| *count > 0)?.ilog2();
            let number = start >> height;
            start += 1 << height;
            Some((height, number))
        })
    }
}

/// `PATH(index, D[size])`, leaf's sibling first.
fn inclusion_spans(index: u64, size: u64) -> Result<Vec<Span>, TreeFault> {
    if index >= size {
        return Err(TreeFault::OutOfTree { index, size });
    }
    let (mut start, mut end) = (0, size);
    let mut spans = Vec::new();
    while end - start > 1 {
        let middle = start + split_point(end - start);
        if index < middle {
            spans.push(Span { start: middle, end });
            end = middle;
        } else {
            spans.push(Span { start, end: middle });
            start = middle;
        }
    }
    spans.reverse();
    Ok(spans)
}

/// `PROOF(first, D[second])`.
fn consistency_spans(first: u64, second: u64) -> Result<Vec<Span>, TreeFault> {
    if first > second {
        return Err(TreeFault::Shrunk { first, second });
    }
    if first == 0 || first == second {
        return Ok(Vec::new());
    }
    let (mut start, mut end) = (0, second);
    let mut spans = Vec::new();
    while end != first {
        let middle = start + split_point(end - start);
        if first <= middle {
            spans.push(Span { start: middle, end });
            end = middle;
        } else {
            spans.push(Span { start, end: middle });
            start = middle;
        }
    }
    // The whole earlier tree is known to the verifier; any other base is not.
    if start > 0 {
        spans.push(Span { start, end });
    }
    spans.reverse();
    Ok(spans)
}

fn tile_of(height: u32, number: u64, size: u64) -> Option<TileId> {
    let level = u8::try_from(height / 8).ok()?;
    TileId::in_tree(level, (number << (height % 8)) / TILE_WIDTH, size)
}

fn tiles_for(spans: &[Span], size: u64) -> Vec<TileId> {
    let tiles: BTreeSet<TileId> = spans
        .iter()
        .flat_map(|span| span.perfect())
        .filter_map(|(height, number)| tile_of(height, number, size))
        .collect();
    tiles.into_iter().collect()
}

fn hashes_of(spans: &[Span], size: u64, tiles: &Tiles) -> Result<Vec<Hash>, TreeFault> {
    spans.iter().map(|span| hash_of(*span, size, tiles)).collect()
}

fn hash_of(span: Span, size: u64, tiles: &Tiles) -> Result<Hash, TreeFault> {
    let mut perfect = Vec::new();
    for (height, number) in span.perfect() {
        let missing = TileId { level: 0, index: number, width: 0 };
        let missing = TreeFault::MissingTile(tile_of(height, number, size).unwrap_or(missing));
        perfect.push(tiles.subtree(height, number).ok_or(missing)?);
    }
    // A ragged subtree joins its perfect ones from the right (RFC 6962 §2.1).
    perfect.into_iter().rev().reduce(|right, left| node_hash(&left, &right)).ok_or(TreeFault::ProofLength)
}

/// Which tiles an inclusion proof is computed from, at their widths in a tree of `size`.
pub fn tiles_for_inclusion(index: u64, size: u64) -> Result<Vec<TileId>, TreeFault> {
    Ok(tiles_for(&inclusion_spans(index, size)?, size))
}

/// Which tiles a consistency proof is computed from, at their widths in a tree of `second`.
pub fn tiles_for_consistency(first: u64, second: u64) -> Result<Vec<TileId>, TreeFault> {
    Ok(tiles_for(&consistency_spans(first, second)?, second))
}

/// The proof that the leaf at `index` is in the tree of `size`, the leaf's sibling first.
pub fn inclusion_proof(index: u64, size: u64, tiles: &Tiles) -> Result<Vec<Hash>, TreeFault> {
    hashes_of(&inclusion_spans(index, size)?, size, tiles)
}

/// The proof that the tree of `first` is a prefix of the tree of `second`.
pub fn consistency_proof(first: u64, second: u64, tiles: &Tiles) -> Result<Vec<Hash>, TreeFault> {
    hashes_of(&consistency_spans(first, second)?, second, tiles)
}

/// Checks an inclusion proof (RFC 9162 §2.1.3.2).
pub fn verify_inclusion(
    leaf: Hash,
    index: u64,
    size: u64,
    proof: &[Hash],
    root: Hash,
) -> Result<(), TreeFault> {
    if index >= size {
        return Err(TreeFault::OutOfTree { index, size });
    }
    let (mut node, mut last) = (index, size - 1);
    let mut hash = leaf;
    for sibling in proof {
        if last == 0 {
            return Err(TreeFault::ProofLength);
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    match (last, hash == root) {
        (0, true) => Ok(()),
        (0, false) => Err(TreeFault::RootMismatch),
        _ => Err(TreeFault::ProofLength),
    }
}

/// Checks a consistency proof (RFC 9162 §2.1.4.2). The empty tree is a prefix of every tree.
pub fn verify_consistency(
    first: u64,
    first_root: Hash,
    second: u64,
    second_root: Hash,
    proof: &[Hash],
) -> Result<(), TreeFault> {
    if first > second {
        return Err(TreeFault::Shrunk { first, second });
    }
    if first == 0 || first == second {
        let expected = if first == 0 { Hash::empty_root() } else { second_root };
        return match (proof.is_empty(), first_root == expected) {
            (true, true) => Ok(()),
            (true, false) => Err(TreeFault::RootMismatch),
            (false, _) => Err(TreeFault::ProofLength),
        };
    }
    // A tree whose size is a power of two is itself the first hash of the path.
    let (base, path) = if first.is_power_of_two() {
        (first_root, proof)
    } else {
        proof.split_first().map(|(base, path)| (*base, path)).ok_or(TreeFault::ProofLength)?
    };
    let (mut node, mut last) = (first - 1, second - 1);
    while node & 1 == 1 {
        node >>= 1;
        last >>= 1;
    }
    let (mut old, mut new) = (base, base);
    for sibling in path {
        if last == 0 {
            return Err(TreeFault::ProofLength);
        }
        if node & 1 == 1 || node == last {
            old = node_hash(sibling, &old);
            new = node_hash(sibling, &new);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            new = node_hash(&new, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    match (last, old == first_root && new == second_root) {
        (0, true) => Ok(()),
        (0, false) => Err(TreeFault::RootMismatch),
        _ => Err(TreeFault::ProofLength),
    }
}
