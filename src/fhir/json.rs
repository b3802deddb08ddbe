//! JSON as FHIR writes it (FHIR R4 json.html): strict on the way in, lossless on the way out.
//!
//! May import only std, serde, `serde_json` and `fhir::{outcome, primitive}`.
//!
//! INVARIANT: a problem names a line, a column and a path, never the input (test `no_problem_quotes_the_input`).
//! The messages of `serde_json` quote input, so none is passed on.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;
use serde_json::{Map, Number, Value};

use super::outcome::{IssueCode, Problem};
use super::primitive::is_banned;

/// How deep objects and arrays may be nested in each other.
pub const DEPTH_MAX: usize = 64;

/// The member name under which `serde_json` hands over a number as written. No client may use it.
const NUMBER_TOKEN: &str = "$serde_json::private::Number";

/// Reads one JSON value. Keeps the order of members and the digits of numbers.
///
/// Only an exponent may come out in other letters of the same meaning: `1E5` as `1e+5`.
///
/// # Errors
/// One problem of severity fatal: not UTF-8, not JSON, nested deeper than [`DEPTH_MAX`], a member twice in
/// one object, or a control character in a string.
pub fn parse(bytes: &[u8]) -> Result<Value, Problem> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let line = 1 + before.iter().filter(|b| **b == b'\n').count();
            let column = 1 + before.iter().rev().take_while(|b| **b != b'\n').count();
            return Err(Breach::Utf8.problem(line, column, String::new()));
        }
    };
    let watch = Watch::default();
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let parsed = Node { watch: &watch, place: &Place::Root, depth: 0 }
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value));
    parsed.map_err(|error| {
        let path = watch.path.take();
        let breach = watch.breach.get().unwrap_or(match error.classify() {
            Category::Eof => Breach::Incomplete,
            _ => Breach::Syntax,
        });
        breach.problem(error.line(), error.column(), path)
    })
}

/// Writes the value as JSON, without white space.
#[must_use]
pub fn to_bytes(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

/// Indents JSON by two spaces a level. Nothing but white space is touched: strings and digits stay as they are.
#[must_use]
pub fn pretty(json: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len() + json.len() / 2);
    let (mut depth, mut in_string, mut escaped, mut opened) = (0_usize, false, false, false);
    let line = |out: &mut Vec<u8>, depth: usize| {
        out.push(b'\n');
        out.resize(out.len() + 2 * depth, b' ');
    };
    for &byte in json {
        if in_string {
            out.push(byte);
            (in_string, escaped) = (escaped || byte != b'"', !escaped && byte == b'\\');
            continue;
        }
        if byte.is_ascii_whitespace() {
            continue;
        }
        let closes = matches!(byte, b'}' | b']');
        if closes {
            depth = depth.saturating_sub(1);
        }
        // What was opened and is closed at once stays on its line.
        if opened != closes {
            line(&mut out, depth);
        }
        opened = matches!(byte, b'{' | b'[');
        if opened {
            depth += 1;
        }
        in_string = byte == b'"';
        out.push(byte);
        match byte {
            b',' => line(&mut out, depth),
            b':' => out.push(b' '),
            _ => {}
        }
    }
    out
}

/// Whether a name the client chose may stand in a path we print: it looks like a name, not like content.
pub(super) fn is_identifier(name: &str) -> bool {
    let mut bytes = name.bytes();
    name.len() <= 64
        && bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// A rule of ours that the text broke.
#[derive(Clone, Copy)]
enum Breach {
    Utf8,
    Syntax,
    Incomplete,
    Depth,
    Duplicate,
    ControlCharacter,
    ReservedName,
}

impl Breach {
    fn problem(self, line: usize, column: usize, path: String) -> Problem {
        let (rule, code, text) = match self {
            Self::Utf8 => ("json.utf-8", IssueCode::Structure, "not UTF-8"),
            Self::Syntax => ("json.syntax", IssueCode::Structure, "not JSON"),
            Self::Incomplete => ("json.incomplete", IssueCode::Structure, "the JSON text ends too early"),
            Self::Depth => ("json.depth", IssueCode::TooLong, "nested more than 64 deep"),
            Self::Duplicate => {
                ("json.duplicate-member", IssueCode::Structure, "a member stands twice in one object")
            }
            Self::ControlCharacter => (
                "json.control-character",
                IssueCode::Value,
                "a string holds a control character FHIR does not allow",
            ),
            Self::ReservedName => {
                ("json.reserved-name", IssueCode::Structure, "a member has a reserved name")
            }
        };
        let problem = Problem::fatal(code, format!("Line {line}, column {column}: {text}.")).by(rule);
        if path.is_empty() { problem } else { problem.at(path) }
    }
}

/// What the visitors found wrong; their errors cannot carry it.
#[derive(Default)]
struct Watch {
    breach: Cell<Option<Breach>>,
    path: Cell<String>,
}

impl Watch {
    fn refuse<E: serde::de::Error>(&self, breach: Breach, place: &Place<'_>) -> E {
        self.breach.set(Some(breach));
        let mut path = String::new();
        place.write(&mut path);
        self.path.set(path);
        E::custom("")
    }
}

/// Where the reader stands, as a list on the stack: written out only when something is wrong.
enum Place<'p> {
    Root,
    Member(&'p Place<'p>, &'p str),
    Item(&'p Place<'p>, usize),
}

impl Place<'_> {
    /// Writes the path; stops above the first name that does not look like one. Says whether it got through.
    fn write(&self, path: &mut String) -> bool {
        match self {
            Self::Root => true,
            Self::Member(parent, name) => {
                if !parent.write(path) || !is_identifier(name) {
                    return false;
                }
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(name);
                true
            }
            Self::Item(parent, index) => {
                let whole = parent.write(path);
                if whole && !path.is_empty() {
                    path.push_str(&format!("[{index}]"));
                }
                whole
            }
        }
    }
}

/// Reads one value at one place.
struct Node<'w> {
    watch: &'w Watch,
    place: &'w Place<'w>,
    depth: usize,
}

impl<'w> Node<'w> {
    fn deeper<E: serde::de::Error>(&self) -> Result<usize, E> {
        if self.depth >= DEPTH_MAX {
            return Err(self.watch.refuse(Breach::Depth, self.place));
        }
        Ok(self.depth + 1)
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Value, E> {
        if text.bytes().any(is_banned) {
            return Err(self.watch.refuse(Breach::ControlCharacter, self.place));
        }
        Ok(Value::String(text.to_owned()))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Value, E> {
        // A string without escapes cannot hold a control character: JSON itself bans them raw.
        Ok(Value::String(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let depth = self.deeper()?;
        let mut list = Vec::new();
        loop {
            let place = Place::Item(self.place, list.len());
            let Some(item) = items.next_element_seed(Node { watch: self.watch, place: &place, depth })?
            else {
                return Ok(Value::Array(list));
            };
            list.push(item);
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        let Some(mut name) = members.next_key::<String>()? else {
            self.deeper::<A::Error>()?;
            return Ok(Value::Object(object));
        };
        if name == NUMBER_TOKEN {
            return members.next_value_seed(NumberAsWritten(&self));
        }
        let depth = self.deeper()?;
        loop {
            if name == NUMBER_TOKEN || name.bytes().any(is_banned) {
                return Err(self.watch.refuse(Breach::ReservedName, self.place));
            }
            let place = Place::Member(self.place, &name);
            if object.contains_key(&name) {
                return Err(self.watch.refuse(Breach::Duplicate, &place));
            }
            let value = members.next_value_seed(Node { watch: self.watch, place: &place, depth })?;
            object.insert(name, value);
            let Some(next) = members.next_key::<String>()? else {
                return Ok(Value::Object(object));
            };
            name = next;
        }
    }
}

/// Reads what `serde_json` hands over for a number that is not a small whole one: its text, as written.
///
/// It comes as an owned string; a string of the client's under the same name comes borrowed, and is refused.
struct NumberAsWritten<'n, 'w>(&'n Node<'w>);

impl<'de> DeserializeSeed<'de> for NumberAsWritten<'_, '_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for NumberAsWritten<'_, '_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number")
    }

    fn visit_string<E: serde::de::Error>(self, digits: String) -> Result<Value, E> {
        digits.parse::<Number>().map(Value::Number).map_err(|_| E::custom(""))
    }

    fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<Value, E> {
        Err(self.0.watch.refuse(Breach::ReservedName, self.0.place))
    }
}

#[cfg(test)]
mod tests;
