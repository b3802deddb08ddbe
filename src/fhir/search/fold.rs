//! Text made alike: case, accents and white space taken away (FHIR R4 search.html#string).
//!
//! May import only std and unicode-normalization.

use unicode_normalization::{UnicodeNormalization as _, char::is_combining_mark};

/// Text as string parameters compare it: compatibility decomposition (UAX #15 NFKD) without combining marks,
/// lower case, letters with a stroke and ligatures spelled out, runs of white space as one space, none at the
/// ends.
#[must_use]
pub fn fold(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut space = false;
    let mut put = |letter: char| {
        if letter.is_whitespace() {
            space = true;
            return;
        }
        if letter.is_control() {
            return;
        }
        if space && !out.is_empty() {
            out.push(' ');
        }
        space = false;
        match spelled_out(letter) {
            Some(letters) => out.push_str(letters),
            None => out.push(letter),
        }
    };
    if text.is_ascii() {
        text.chars().map(|letter| letter.to_ascii_lowercase()).for_each(&mut put);
    } else {
        // Lower case first and last: some letters only decompose in one of the cases.
        text.nfkd()
            .filter(|letter| !is_combining_mark(*letter))
            .flat_map(char::to_lowercase)
            .nfkd()
            .filter(|letter| !is_combining_mark(*letter))
            .for_each(&mut put);
    }
    out
}

/// Letters that Unicode does not decompose and people write without their stroke.
const fn spelled_out(letter: char) -> Option<&'static str> {
    Some(match letter {
        'ß' => "ss",
        'æ' => "ae",
        'œ' => "oe",
        'ø' => "o",
        'đ' | 'ð' => "d",
        'ł' => "l",
        'ħ' => "h",
        'ı' => "i",
        'þ' => "th",
        'ŧ' => "t",
        'ς' => "σ",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_meet_however_they_are_written() {
        for (one, other) in [
            ("Müller", "muller"),
            ("MÜLLER", "mu\u{308}ller"),
            ("Straße", "STRASSE"),
            ("Łukasz", "lukasz"),
            ("Ødegård", "odegard"),
            ("Þór", "thor"),
            ("Nuñez  Ortega ", " nunez\tortega"),
            ("İstanbul", "istanbul"),
            ("ﬁn", "fin"),
            ("ΣΊΣΥΦΟΣ", "σίσυφος"),
            ("ＡＢＣ", "abc"),
            ("Nguyễn", "nguyen"),
        ] {
            assert_eq!(fold(one), fold(other), "{one}");
        }
        assert_ne!(fold("Ann"), fold("An n"));
        assert_eq!(fold("\u{301}"), "");
    }

    proptest! {
        #[test]
        fn folding_twice_changes_nothing(text in "\\PC{0,40}") {
            let once = fold(&text);
            prop_assert_eq!(fold(&once), once.clone());
            prop_assert!(!once.contains(char::is_control));
        }
    }
}
