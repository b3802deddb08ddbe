//! `application/x-www-form-urlencoded`: query strings and bodies of `_search`, both ways.
//!
//! WHATWG URL §5. May import only std and `fhir::outcome`.

use super::super::outcome::{IssueCode, Problem};
use super::{PARAMETERS_MAX, VALUE_BYTES_MAX};

/// Decodes parameters in their order: `%XX` and `+`, UTF-8, repeated names kept. Empty pieces are skipped.
///
/// # Errors
/// More than [`PARAMETERS_MAX`] parameters, a name or value over [`VALUE_BYTES_MAX`], a broken escape, no
/// UTF-8, or a control character.
pub fn decode(text: &[u8]) -> Result<Vec<(String, String)>, Problem> {
    let mut pairs = Vec::new();
    for (index, piece) in text.split(|b| *b == b'&').filter(|piece| !piece.is_empty()).enumerate() {
        if index >= PARAMETERS_MAX {
            let text = format!("More than {PARAMETERS_MAX} parameters.");
            return Err(Problem::error(IssueCode::TooCostly, text).by("search.parameters-max"));
        }
        let mut sides = piece.splitn(2, |b| *b == b'=');
        let mut side = || decode_one(sides.next().unwrap_or_default(), index + 1);
        let name = side()?;
        pairs.push((name, side()?));
    }
    Ok(pairs)
}

/// The parameters of a search: of the query string, then of a POST body (FHIR R4 http.html#search).
///
/// # Errors
/// As [`decode`]; the maximum counts both.
pub fn decode_both(query: Option<&str>, body: Option<&[u8]>) -> Result<Vec<(String, String)>, Problem> {
    let mut whole = query.unwrap_or_default().as_bytes().to_vec();
    whole.push(b'&');
    whole.extend_from_slice(body.unwrap_or_default());
    decode(&whole)
}

/// Appends `name=value`, with `?` or `&` before it as the URL needs.
pub fn append(url: &mut String, name: &str, value: &str) {
    url.push(if url.contains('?') { '&' } else { '?' });
    encode(url, name);
    url.push('=');
    encode(url, value);
}

/// Appends text to a URL, with every byte escaped that is not plain in a query or path segment.
pub fn encode(url: &mut String, text: &str) {
    const HEX: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b',' | b'/' | b':') {
            url.push(char::from(byte));
        } else {
            url.push('%');
            url.extend(HEX.get(usize::from(byte >> 4)));
            url.extend(HEX.get(usize::from(byte & 15)));
        }
    }
}

fn decode_one(text: &[u8], place: usize) -> Result<String, Problem> {
    let refuse = |code, what: &str| Problem::error(code, format!("Parameter {place} of the query: {what}."));
    let mut out = Vec::with_capacity(text.len().min(VALUE_BYTES_MAX));
    let mut bytes = text.iter();
    while let Some(&byte) = bytes.next() {
        let decoded = match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(*bytes.next()?).to_digit(16).and_then(|d| u8::try_from(d).ok());
                let (Some(high), Some(low)) = (digit(), digit()) else {
                    return Err(refuse(IssueCode::Invalid, "a percent escape is broken").by("search.escape"));
                };
                high << 4 | low
            }
            other => other,
        };
        if decoded < 0x20 || decoded == 0x7f {
            return Err(refuse(IssueCode::Invalid, "it holds a control character").by("search.control"));
        }
        if out.len() >= VALUE_BYTES_MAX {
            let what = format!("it is longer than {VALUE_BYTES_MAX} bytes");
            return Err(refuse(IssueCode::TooLong, &what).by("search.value-bytes-max"));
        }
        out.push(decoded);
    }
    String::from_utf8(out).map_err(|_| refuse(IssueCode::Invalid, "it is not UTF-8").by("search.utf-8"))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parameters_are_decoded_in_order() {
        for (text, expected) in [
            ("", &[][..]),
            ("&&", &[]),
            ("a=b", &[("a", "b")]),
            ("a=b&a=c", &[("a", "b"), ("a", "c")]),
            ("a", &[("a", "")]),
            ("a=b=c", &[("a", "b=c")]),
            ("=b", &[("", "b")]),
            ("a=x+y%20z%2b%C3%A9", &[("a", "x y z+é")]),
            ("subject%3APatient=1", &[("subject:Patient", "1")]),
        ] {
            let pairs = decode(text.as_bytes()).unwrap();
            assert!(
                pairs.iter().map(|(a, b)| (a.as_str(), b.as_str())).eq(expected.iter().copied()),
                "{text}"
            );
        }
    }

    #[test]
    fn broken_parameters_are_refused_without_their_text() {
        for (text, code, message) in [
            ("a=%", IssueCode::Invalid, "Parameter 1 of the query: a percent escape is broken."),
            ("a=1&b=%4", IssueCode::Invalid, "Parameter 2 of the query: a percent escape is broken."),
            ("a=%zz", IssueCode::Invalid, "Parameter 1 of the query: a percent escape is broken."),
            ("a=%+1", IssueCode::Invalid, "Parameter 1 of the query: a percent escape is broken."),
            ("a=%ff", IssueCode::Invalid, "Parameter 1 of the query: it is not UTF-8."),
            ("a=%00", IssueCode::Invalid, "Parameter 1 of the query: it holds a control character."),
            ("a=%0d%0a", IssueCode::Invalid, "Parameter 1 of the query: it holds a control character."),
        ] {
            let problem = decode(text.as_bytes()).unwrap_err();
            assert_eq!((problem.code, problem.text.as_ref()), (code, message), "{text}");
        }
    }

    #[test]
    fn the_bounds_are_kept_and_one_more_is_refused() {
        let many = |count: usize| vec!["a=b"; count].join("&");
        assert_eq!(decode(many(PARAMETERS_MAX).as_bytes()).unwrap().len(), PARAMETERS_MAX);
        let problem = decode(many(PARAMETERS_MAX + 1).as_bytes()).unwrap_err();
        assert_eq!(
            (problem.code, problem.text.as_ref()),
            (IssueCode::TooCostly, "More than 100 parameters.")
        );
        let split = decode_both(Some(&many(60)), Some(many(41).as_bytes())).unwrap_err();
        assert_eq!(split.code, IssueCode::TooCostly);
        assert_eq!(decode_both(Some(&many(60)), Some(many(40).as_bytes())).unwrap().len(), 100);
        assert!(decode_both(None, None).unwrap().is_empty());

        let long = |count: usize| format!("a={}", "%41".repeat(count));
        assert_eq!(decode(long(VALUE_BYTES_MAX).as_bytes()).unwrap()[0].1.len(), VALUE_BYTES_MAX);
        assert_eq!(decode(long(VALUE_BYTES_MAX + 1).as_bytes()).unwrap_err().code, IssueCode::TooLong);
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded_again(name in "[^\\x00-\\x1f\\x7f]{1,20}", value in "[^\\x00-\\x1f\\x7f]{0,40}") {
            let mut url = String::from("https://x/y");
            append(&mut url, &name, &value);
            append(&mut url, "z", "1");
            prop_assert!(url.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'<'));
            let pairs = decode(url.split_once('?').unwrap().1.as_bytes()).unwrap();
            prop_assert_eq!(pairs, vec![(name, value), ("z".to_owned(), "1".to_owned())]);
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _unused = decode(&bytes);
        }
    }
}
