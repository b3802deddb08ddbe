//! Numbers that look random and repeat for the same seed. Protects nothing.
//!
//! Imports nothing of this crate.

use uuid::{Builder, Uuid};

/// SplitMix64.
#[derive(Clone)]
pub(crate) struct Random(u64);

impl Random {
    /// The sequence of `seed`, apart from those of other `stream`s.
    pub(crate) const fn new(seed: u64, stream: u64) -> Self {
        Self(seed ^ stream.wrapping_mul(0xd134_2543_de82_ef95).rotate_left(17))
    }

    /// The next number.
    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 if `end` is 0.
    pub(crate) const fn below(&mut self, end: u64) -> u64 {
        // The bias of a remainder is below one in 2^40 for the ranges drawn here.
        match self.next().checked_rem(end) {
            Some(number) => number,
            None => 0,
        }
    }

    /// An index into `items`, which may not be empty.
    pub(crate) fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        items.get(self.place(items.len())?)
    }

    /// A place in a list of `length`.
    pub(crate) fn place(&mut self, length: usize) -> Option<usize> {
        if length == 0 { None } else { usize::try_from(self.below(u64::try_from(length).ok()?)).ok() }
    }

    /// A version 4 UUID of this sequence.
    pub(crate) fn uuid(&mut self) -> Uuid {
        let number = (u128::from(self.next()) << 64) | u128::from(self.next());
        Builder::from_random_bytes(number.to_be_bytes()).into_uuid()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_and_streams_differ() {
        let list = |seed, stream| {
            let mut random = Random::new(seed, stream);
            (0..8).map(|_| random.next()).collect::<Vec<_>>()
        };
        assert_eq!(list(1, 2), list(1, 2));
        assert_ne!(list(1, 2), list(1, 3));
        assert_ne!(list(1, 2), list(2, 2));
    }

    #[test]
    fn numbers_stay_below_their_end_and_reach_all_of_it() {
        let mut random = Random::new(7, 0);
        let drawn: Vec<_> = (0..10_000).map(|_| random.below(10)).collect();
        for number in 0..10 {
            let count = drawn.iter().filter(|drawn| **drawn == number).count();
            assert!((800..1_200).contains(&count), "{number} came {count} times");
        }
        assert!(drawn.iter().all(|drawn| *drawn < 10));
        assert_eq!(random.below(0), 0);
        assert_eq!(random.place(0), None);
    }
}
