//! The pieces of texts that are marked so that `:contains` finds them without a patient being named.
//!
//! May import only std. A text bears every piece of three and of five letters that it has; a search asks for one that
//! what it looks for has. Folded texts go in.

/// The lengths of the pieces, in characters.
const LENGTHS: [usize; 2] = [3, 5];
/// The longest text that is taken apart, in characters. A longer one bears [`LONG`] alone.
const TEXT_MAX: usize = 200;
/// What every search asks for beside its piece: no text is without one of the two.
const LONG: &str = "";

/// Calls `visit` with every piece of a text.
pub(super) fn of_text(folded: &str, visit: &mut dyn FnMut(String)) {
    let letters: Vec<char> = folded.chars().take(TEXT_MAX + 1).collect();
    if letters.len() > TEXT_MAX {
        return visit(LONG.to_owned());
    }
    for length in LENGTHS {
        letters.windows(length).for_each(|piece| visit(piece.iter().collect()));
    }
}

/// Pieces one of which every text has that contains this one; `None` if it is too short for that.
pub(super) fn asked(folded: &str) -> Option<[String; 2]> {
    let letters: Vec<char> = folded.chars().collect();
    let length = LENGTHS.into_iter().rev().find(|length| letters.len() >= *length)?;
    // From the middle: beginnings and ends are what words have in common.
    let start = (letters.len() - length) / 2;
    let piece = letters.get(start..start + length)?;
    Some([piece.iter().collect(), LONG.to_owned()])
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn pieces(text: &str) -> HashSet<String> {
        let mut pieces = HashSet::new();
        of_text(text, &mut |piece| pieces.extend([piece]));
        pieces
    }

    #[test]
    fn a_text_bears_its_pieces_of_three_and_five() {
        let expected = ["bru", "rue", "uen", "brue", "bruen"].into_iter().filter(|piece| piece.len() != 4);
        assert_eq!(pieces("bruen"), expected.map(str::to_owned).collect());
        assert_eq!(pieces("ab"), HashSet::new());
        assert_eq!(asked("ab"), None);
        assert_eq!(asked("brue").unwrap()[0], "bru");
        assert_eq!(asked("xbruenx").unwrap()[0], "bruen");
    }

    #[test]
    fn a_text_of_more_than_the_longest_is_found_by_every_search() {
        let (longest, longer) = ("a".repeat(TEXT_MAX), "a".repeat(TEXT_MAX + 1));
        assert_eq!(pieces(&longest).len(), LENGTHS.len());
        assert_eq!(pieces(&longer), HashSet::from([LONG.to_owned()]));
    }

    proptest! {
        #[test]
        fn whatever_a_text_contains_asks_for_a_piece_it_has(
            before in "[a-cé ]{0,12}", part in "[a-cé ]{1,12}", after in "[a-cé ]{0,195}",
        ) {
            let text = format!("{before}{part}{after}");
            if let Some(asked) = asked(&part) {
                let pieces = pieces(&text);
                prop_assert!(asked.iter().any(|piece| pieces.contains(piece)), "{part} in {text}");
            }
        }
    }
}
