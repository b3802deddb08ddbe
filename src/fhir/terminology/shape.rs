//! What codes of the systems everybody shares look like: what somebody wrote where a code should stand is none.
//!
//! May import only std. Shapes are those that the systems publish; a code of a system that is not here has none but a word's.

/// The longest code, in bytes.
const CODE_BYTES_MAX: usize = 64;
/// The longest version, in bytes.
const VERSION_BYTES_MAX: usize = 80;

/// Whether a code has the shape of those of its system.
pub(super) fn is_code(system: &str, code: &str) -> bool {
    let bytes = code.as_bytes();
    let digits = |text: &[u8], least: usize, most: usize| {
        (least..=most).contains(&text.len()) && text.iter().all(u8::is_ascii_digit)
    };
    match system {
        // A concept's identifier: its last digit checks the others, and the two before say what it is of.
        "http://snomed.info/sct" => digits(bytes, 6, 18) && is_concept(bytes) && is_checked(bytes),
        "http://www.nlm.nih.gov/research/umls/rxnorm" => digits(bytes, 1, 7),
        "http://hl7.org/fhir/sid/cvx" => digits(bytes, 1, 3),
        "http://loinc.org" => {
            let part = ["LA", "LP", "LL", "LG"].iter().find_map(|kind| code.strip_prefix(kind));
            part.unwrap_or(code).split_once('-').is_some_and(|(number, check)| {
                digits(number.as_bytes(), 1, 7)
                    && digits(check.as_bytes(), 1, 1)
                    && (part.is_some() || is_luhn(bytes))
            })
        }
        "http://hl7.org/fhir/sid/ndc" => {
            // Labeler, product and package, which are not always told. Ten digits in one could be parted in three ways.
            const PARTS: [&[usize]; 8] =
                [&[11], &[4, 4], &[5, 3], &[5, 4], &[4, 4, 2], &[5, 3, 2], &[5, 4, 1], &[5, 4, 2]];
            let lengths = || code.split('-').map(str::len);
            bytes.iter().all(|byte| byte.is_ascii_digit() || *byte == b'-')
                && PARTS.iter().any(|parts| lengths().eq(parts.iter().copied()))
        }
        "http://hl7.org/fhir/sid/icd-10" => icd_10(bytes).is_some_and(|(third, rest)| {
            third.is_ascii_digit() && rest.len() <= 2 && rest.iter().all(u8::is_ascii_digit)
        }),
        "http://hl7.org/fhir/sid/icd-10-cm" => icd_10(bytes).is_some_and(|(third, rest)| {
            // X holds a place; the seventh is a letter or a digit, and of those between one is a letter at the most.
            let (middle, last) = rest.split_at_checked(3).unwrap_or((rest, &[]));
            (third.is_ascii_digit() || [b'A', b'B'].contains(&third))
                && middle.iter().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase())
                && middle.iter().filter(|byte| !byte.is_ascii_digit() && **byte != b'X').count() <= 1
                && (last.is_empty()
                    || matches!(last, [one] if one.is_ascii_digit() || one.is_ascii_uppercase()))
        }),
        "http://hl7.org/fhir/sid/icd-9-cm" => {
            let (front, behind) = code.split_once('.').map_or((code, None), |(a, b)| (a, Some(b)));
            let number = front.strip_prefix(['V', 'E']).unwrap_or(front).as_bytes();
            digits(number, 2, if behind.is_some() { 3 } else { 5 })
                && behind.is_none_or(|text| digits(text.as_bytes(), 1, 2))
        }
        // Five digits, or four and the letter of a category that is not the first.
        "http://www.ama-assn.org/go/cpt" => bytes
            .split_last()
            .is_some_and(|(last, front)| digits(front, 4, 4) && b"0123456789AFMTU".contains(last)),
        "http://www.whocc.no/atc" => {
            let kinds = [b'A', b'9', b'9', b'A', b'A', b'9', b'9'];
            let fits = |(byte, kind): (&u8, &u8)| {
                if *kind == b'9' { byte.is_ascii_digit() } else { byte.is_ascii_uppercase() }
            };
            [3, 4, 5, 7].contains(&bytes.len()) && bytes.iter().zip(&kinds).all(fits)
        }
        _ => (1..=CODE_BYTES_MAX).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic),
    }
}

/// Whether a version is numbers, dates or parts of them, or an edition of SNOMED CT: nothing that a name could stand in.
pub(super) fn is_version(version: &str) -> bool {
    let numbers =
        |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b".-".contains(&b));
    let edition = version.strip_prefix("http://snomed.info/sct/");
    let is_edition =
        edition.is_some_and(|rest| rest.split('/').all(|part| part == "version" || numbers(part)));
    version.len() <= VERSION_BYTES_MAX && (numbers(version) || is_edition)
}

/// Of a code of ICD-10, what stands behind its letter and digit: the third place, and the rest without the point.
fn icd_10(code: &[u8]) -> Option<(u8, &[u8])> {
    let [b'A'..=b'Z', b'0'..=b'9', third, rest @ ..] = code else { return None };
    match rest {
        [] => Some((*third, rest)),
        [b'.', rest @ ..] => (!rest.is_empty()).then_some((*third, rest)),
        rest => Some((*third, rest)),
    }
}

/// Whether the last digit is that which makes the sum of all a multiple of ten, every second one doubled (LOINC users' guide,
/// appendix on the check digit).
fn is_luhn(code: &[u8]) -> bool {
    let digits = code.iter().rev().filter(|byte| byte.is_ascii_digit()).map(|byte| u32::from(byte - b'0'));
    let doubled =
        |(at, digit): (usize, u32)| if at % 2 == 1 { digit * 2 / 10 + digit * 2 % 10 } else { digit };
    digits.enumerate().map(doubled).sum::<u32>() % 10 == 0
}

/// Whether an identifier of SNOMED CT is a concept's (its partition is 00 or 10).
fn is_concept(digits: &[u8]) -> bool {
    let partition = digits.len().checked_sub(3).and_then(|at| digits.get(at..at + 2));
    partition.is_some_and(|partition| partition == b"00" || partition == b"10")
}

/// Whether the last digit is that which Verhoeff's scheme gives to the others (SNOMED CT release file specification §6.3).
fn is_checked(digits: &[u8]) -> bool {
    const TURNED: [u8; 10] = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4];
    let mut check = 0_u8;
    for (place, byte) in digits.iter().rev().enumerate() {
        let mut digit = byte.wrapping_sub(b'0');
        for _ in 0..place % 8 {
            digit = TURNED.get(usize::from(digit)).copied().unwrap_or_default();
        }
        check = product(check, digit);
    }
    check == 0
}

/// Two elements of the dihedral group of ten, the rotations 0 to 4 and the reflections 5 to 9, one after the other.
const fn product(one: u8, other: u8) -> u8 {
    match (one < 5, other < 5) {
        (true, true) => (one + other) % 5,
        (true, false) => 5 + (one + other) % 5,
        (false, true) => 5 + (one + 5 - other) % 5,
        (false, false) => (one + 5 - other) % 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_the_shapes_that_their_systems_publish() {
        const SCT: &str = "http://snomed.info/sct";
        const ICD: &str = "http://hl7.org/fhir/sid/icd-10-cm";
        const WHO: &str = "http://hl7.org/fhir/sid/icd-10";
        for (system, code, expected) in [
            (SCT, "73211009", true),
            (SCT, "185345009", true),
            (SCT, "22298006", true),
            (SCT, "900000000000207008", true),
            (SCT, "10019801000001100", false),
            (SCT, "73211008", false),
            (SCT, "5551234567", false),
            (SCT, "7321100", false),
            ("http://loinc.org", "8480-6", true),
            ("http://loinc.org", "LA28397-0", true),
            ("http://loinc.org", "1980-02-03", false),
            ("http://loinc.org", "Quux-1", false),
            ("http://loinc.org", "2339-0", true),
            ("http://loinc.org", "85354-9", true),
            ("http://loinc.org", "8480-7", false),
            ("http://loinc.org", "8840-6", false),
            ("http://www.nlm.nih.gov/research/umls/rxnorm", "313782", true),
            ("http://www.nlm.nih.gov/research/umls/rxnorm", "19800203", false),
            ("http://www.nlm.nih.gov/research/umls/rxnorm", "555123456", false),
            ("http://hl7.org/fhir/sid/cvx", "140", true),
            ("http://hl7.org/fhir/sid/cvx", "1400", false),
            ("http://hl7.org/fhir/sid/ndc", "0777-3105-02", true),
            ("http://hl7.org/fhir/sid/ndc", "00777-3105-02", true),
            ("http://hl7.org/fhir/sid/ndc", "50580-449-05", true),
            ("http://hl7.org/fhir/sid/ndc", "11523-7020-1", true),
            ("http://hl7.org/fhir/sid/ndc", "0777-3105", true),
            ("http://hl7.org/fhir/sid/ndc", "00777310502", true),
            ("http://hl7.org/fhir/sid/ndc", "1980-02-03", false),
            ("http://hl7.org/fhir/sid/ndc", "19800203", false),
            ("http://hl7.org/fhir/sid/ndc", "123-45-6789", false),
            ("http://hl7.org/fhir/sid/ndc", "123456789", false),
            ("http://hl7.org/fhir/sid/ndc", "555-123-4567", false),
            ("http://hl7.org/fhir/sid/ndc", "555-1234", false),
            ("http://hl7.org/fhir/sid/ndc", "5551234567", false),
            ("http://hl7.org/fhir/sid/ndc", "0777-3105-0x", false),
            ("http://hl7.org/fhir/sid/ndc", "smith-1", false),
            (ICD, "E11.9", true),
            (ICD, "S72.001A", true),
            (ICD, "E119", true),
            (ICD, "Smith.John.1980-02-03", false),
            (ICD, "C7A.00", true),
            (ICD, "T36.0X1A", true),
            (ICD, "T36.AX1A", true),
            (ICD, "M80.0AXA", true),
            (ICD, "T8332XA", true),
            (ICD, "J0hnDoe", false),
            (ICD, "J0HNDOE", false),
            (ICD, "J12.", false),
            (ICD, "S72.001AB", false),
            (WHO, "E11.9", true),
            (WHO, "A00", true),
            (WHO, "J0hnDoe", false),
            (WHO, "C7A.00", false),
            (ICD, "e11", false),
            (ICD, "E11.98765", false),
            ("http://hl7.org/fhir/sid/icd-9-cm", "250.00", true),
            ("http://hl7.org/fhir/sid/icd-9-cm", "V70.0", true),
            ("http://hl7.org/fhir/sid/icd-9-cm", "1980.02", false),
            ("http://hl7.org/fhir/sid/icd-9-cm", "Smith9", false),
            ("http://www.ama-assn.org/go/cpt", "99213", true),
            ("http://www.ama-assn.org/go/cpt", "0042T", true),
            ("http://www.ama-assn.org/go/cpt", "1Smit", false),
            ("http://www.ama-assn.org/go/cpt", "1234s", false),
            ("http://www.ama-assn.org/go/cpt", "Smit1", false),
            ("http://www.whocc.no/atc", "A10BA02", true),
            ("http://www.whocc.no/atc", "A10", true),
            ("http://www.whocc.no/atc", "SMITH01", false),
        ] {
            assert_eq!(is_code(system, code), expected, "{system} {code}");
        }
    }

    #[test]
    fn a_version_is_made_of_numbers() {
        for (version, expected) in [
            ("2.77", true),
            ("2024-03", true),
            ("http://snomed.info/sct/731000124108/version/20240301", true),
            ("http://snomed.info/sct/Smith", false),
            ("SMITH-MRN123", false),
            ("", false),
            (&"1".repeat(VERSION_BYTES_MAX), true),
            (&"1".repeat(VERSION_BYTES_MAX + 1), false),
        ] {
            assert_eq!(is_version(version), expected, "{version}");
        }
    }
}
