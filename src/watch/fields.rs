//! The fields that may be written, and what each may hold.
//!
//! May import nothing of the house. A field that is not named here is dropped, whoever wrote it.

use std::net::{IpAddr, SocketAddr};

use serde_json::{Number, Value};

/// The longest text that is written.
pub(super) const TEXT_BYTES_MAX: usize = 512;
/// The longest word.
const WORD_BYTES_MAX: usize = 64;
/// Fields of one event.
pub(super) const FIELDS_MAX: usize = 16;

/// What a field may hold.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// A whole number, or a fraction.
    Number,
    /// Letters, digits and `. _ : / -`, 64 bytes: a code of ours.
    Word,
    /// An IP address, with or without a port.
    Address,
    /// A text of ours, such as an error: rooms never put a value of a record into one (`style.md`, errors).
    Text,
}

/// Every field that is written, in alphabetical order.
const FIELDS: [(&str, Form); 25] = [
    ("address", Form::Address),
    ("batches", Form::Number),
    ("code", Form::Word),
    ("door", Form::Word),
    ("dropped", Form::Number),
    ("entries", Form::Number),
    ("entry", Form::Number),
    ("error", Form::Text),
    ("event", Form::Word),
    ("file", Form::Word),
    ("folder", Form::Text),
    ("interaction", Form::Word),
    ("line", Form::Number),
    ("message", Form::Text),
    ("method", Form::Word),
    ("millis", Form::Number),
    ("more", Form::Number),
    ("origin", Form::Word),
    ("room", Form::Word),
    ("size", Form::Number),
    ("status", Form::Number),
    ("submissions", Form::Number),
    ("tenants", Form::Number),
    ("version", Form::Word),
    ("witness", Form::Word),
];

/// What was given for a field.
pub(super) enum Given<'a> {
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Text(&'a str),
}

/// What is written for it; `None` when the field is unknown or holds what it may not.
pub(super) fn admitted(name: &str, given: &Given<'_>) -> Option<Value> {
    let at = FIELDS.binary_search_by_key(&name, |(known, _)| *known).ok()?;
    let (_, form) = FIELDS.get(at)?;
    match (form, given) {
        (Form::Number, Given::Signed(number)) => Some(Value::from(*number)),
        (Form::Number, Given::Unsigned(number)) => Some(Value::from(*number)),
        (Form::Number, Given::Float(number)) => Number::from_f64(*number).map(Value::Number),
        (Form::Number, Given::Text(text)) => text.parse::<u64>().ok().map(Value::from),
        (Form::Word, Given::Text(text)) => is_word(text).then(|| Value::from(*text)),
        (Form::Address, Given::Text(text)) => {
            let known = text.parse::<IpAddr>().is_ok() || text.parse::<SocketAddr>().is_ok();
            known.then(|| Value::from(*text))
        }
        (Form::Text, Given::Text(text)) => Some(Value::from(bounded(text))),
        (Form::Word | Form::Address | Form::Text, _) => None,
    }
}

fn is_word(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'/' | b'-');
    (1..=WORD_BYTES_MAX).contains(&text.len()) && text.bytes().all(plain)
}

/// One line of bounded length.
fn bounded(text: &str) -> String {
    let mut kept = String::with_capacity(text.len().min(TEXT_BYTES_MAX));
    for c in text.chars() {
        if kept.len() + c.len_utf8() > TEXT_BYTES_MAX {
            kept.push('…');
            break;
        }
        kept.push(if c.is_control() { ' ' } else { c });
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_stand_in_order() {
        assert!(FIELDS.is_sorted_by_key(|(name, _)| *name));
    }

    #[test]
    fn a_field_holds_what_it_may_and_nothing_else() {
        let word = "x".repeat(WORD_BYTES_MAX);
        let longer = "x".repeat(WORD_BYTES_MAX + 1);
        for (name, given, kept) in [
            ("status", Given::Unsigned(200), true),
            ("status", Given::Text("200"), true),
            ("status", Given::Text("OK"), false),
            ("event", Given::Text(&word), true),
            ("event", Given::Text(&longer), false),
            ("event", Given::Text("Müller"), false),
            ("event", Given::Text("two words"), false),
            ("event", Given::Text(""), false),
            ("address", Given::Text("192.0.2.1:443"), true),
            ("address", Given::Text("2001:db8::1"), true),
            ("address", Given::Text("Main Street 1"), false),
            ("error", Given::Unsigned(1), false),
            ("patient", Given::Text("x"), false),
            ("path", Given::Text("/fhir/Patient"), false),
        ] {
            assert_eq!(admitted(name, &given).is_some(), kept, "{name}");
        }
    }

    #[test]
    fn a_text_is_one_line_and_bounded() {
        let most = "x".repeat(TEXT_BYTES_MAX);
        assert_eq!(bounded(&most), most);
        assert_eq!(bounded(&format!("{most}y")), format!("{most}…"));
        assert_eq!(bounded("a\nb\u{1b}[31m"), "a b [31m");
    }
}
