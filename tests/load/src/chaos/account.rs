//! What the server has told its clients: acknowledged writes and receipts.
//!
//! Imports nothing of this crate.

use std::collections::{BTreeMap, HashMap};

/// A record one client created, and is the only one to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Written {
    /// Its logical id.
    pub(super) id: String,
    /// Its patient's.
    pub(super) patient: String,
    /// The last version that was acknowledged.
    pub(super) version: u32,
    /// The number its content was made from.
    pub(super) number: u64,
    /// Numbers of later updates whose fate is unknown.
    pub(super) doubts: Vec<u64>,
}

impl Written {
    /// An update was acknowledged as `version`; gives what is wrong with that.
    pub(super) fn acknowledge(&mut self, version: u32, number: u64) -> Option<String> {
        // Each update in doubt may have become a version of its own.
        let doubted = u32::try_from(self.doubts.len()).unwrap_or(u32::MAX);
        let highest = self.version.saturating_add(doubted).saturating_add(1);
        let wrong = (version <= self.version || version > highest).then(|| {
            format!("Observation/{}: version {version} was acknowledged after {}", self.id, self.version)
        });
        (self.version, self.number) = (version, number);
        self.doubts.clear();
        wrong
    }
}

/// A version that an answer released or wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Touched {
    /// The Observation's id.
    pub(super) id: String,
    /// The version.
    pub(super) version: u32,
}

/// A receipt, and what its entry must name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Receipt {
    /// The index of the entry.
    pub(super) index: u64,
    /// The answer's status; 0 if only its head came.
    pub(super) status: u16,
    /// What the answer released or wrote.
    pub(super) touched: Vec<Touched>,
}

/// All a client was told.
#[derive(Default)]
pub(super) struct Account {
    /// The records it created.
    pub(super) written: Vec<Written>,
    /// The receipts it got.
    pub(super) receipts: Vec<Receipt>,
    /// How many writes were acknowledged.
    pub(super) writes: u64,
    /// How many requests got no answer.
    pub(super) unanswered: u64,
    /// How many were answered with a status of 500 or above.
    pub(super) refused: u64,
    /// What must not be, seen so far.
    pub(super) violations: Vec<String>,
}

impl Account {
    /// Adds another client's.
    pub(super) fn merge(&mut self, other: Self) {
        self.written.extend(other.written);
        self.receipts.extend(other.receipts);
        self.writes += other.writes;
        self.unanswered += other.unanswered;
        self.refused += other.refused;
        self.violations.extend(other.violations);
    }

    /// The indexes of all receipts, each once, in their order.
    pub(super) fn indexes(&self) -> Vec<u64> {
        let mut indexes: Vec<_> = self.receipts.iter().map(|receipt| receipt.index).collect();
        indexes.sort_unstable();
        indexes.dedup();
        indexes
    }

    /// What must not be: what was seen, and two successes under one entry. The same words come once, counted.
    pub(super) fn violations(&self) -> Vec<String> {
        let mut counts = BTreeMap::<String, usize>::new();
        for violation in &self.violations {
            *counts.entry(violation.clone()).or_default() += 1;
        }
        let mut seen = HashMap::<u64, usize>::new();
        for receipt in self.receipts.iter().filter(|receipt| (200..300).contains(&receipt.status)) {
            *seen.entry(receipt.index).or_default() += 1;
        }
        let shared = seen.into_iter().filter(|(_, count)| *count > 1);
        counts.extend(
            shared.map(|(index, count)| (format!("entry {index} is the receipt of {count} successes"), 1)),
        );
        let tell = |(text, count)| if count == 1 { text } else { format!("{text} ({count} times)") };
        counts.into_iter().map(tell).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(version: u32, doubts: &[u64]) -> Written {
        let (id, patient) = ("a".to_owned(), "p".to_owned());
        Written { id, patient, version, number: 1, doubts: doubts.to_vec() }
    }

    #[test]
    fn versions_grow_by_one_and_by_what_was_in_doubt() {
        for (before, doubts, acknowledged, is_right) in [
            (1, &[][..], 2, true),
            (1, &[], 1, false),
            (1, &[], 3, false),
            (3, &[7, 8], 4, true),
            (3, &[7, 8], 6, true),
            (3, &[7, 8], 7, false),
            (3, &[7, 8], 2, false),
        ] {
            let mut record = written(before, doubts);
            let wrong = record.acknowledge(acknowledged, 9);
            assert_eq!(wrong.is_none(), is_right, "{before} {doubts:?} {acknowledged}");
            assert_eq!((record.version, record.number, record.doubts.len()), (acknowledged, 9, 0));
        }
    }

    #[test]
    fn two_successes_may_not_share_an_entry_but_refusals_may() {
        let receipt = |index, status| Receipt { index, status, touched: Vec::new() };
        let receipts = vec![receipt(1, 200), receipt(1, 403), receipt(2, 403), receipt(2, 403)];
        let mut account = Account { receipts, ..Account::default() };
        assert_eq!(account.violations(), Vec::<String>::new());
        account.merge(Account { receipts: vec![receipt(1, 201)], ..Account::default() });
        assert_eq!(account.violations(), ["entry 1 is the receipt of 2 successes"]);
        assert_eq!(account.indexes(), [1, 2]);
    }

    #[test]
    fn the_same_violation_is_told_once_with_its_count() {
        let violations = vec!["b".to_owned(), "a".to_owned(), "b".to_owned()];
        let account = Account { violations, ..Account::default() };
        assert_eq!(account.violations(), ["a", "b (2 times)"]);
    }
}
