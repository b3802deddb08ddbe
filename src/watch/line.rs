//! One event as one line: JSON for machines, or words for the person at the terminal.
//!
//! May import its siblings.

use std::fmt::{self, Write as _};

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value};
use tracing::{
    Event, Level, Metadata,
    field::{Field, Visit},
};

use super::fields::{FIELDS_MAX, Given, TEXT_BYTES_MAX, admitted};

/// Whether an event is this crate's own.
pub(super) fn is_ours(metadata: &Metadata<'_>) -> bool {
    metadata.target() == "custodia" || metadata.target().starts_with("custodia::")
}

/// What is left of an event: of a foreign one only where it came from.
pub(super) struct Line {
    at: DateTime<Utc>,
    level: Level,
    room: &'static str,
    place: Option<u32>,
    fields: Map<String, Value>,
}

impl Line {
    pub(super) fn of(event: &Event<'_>, at: DateTime<Utc>) -> Self {
        let metadata = event.metadata();
        let mut fields = Kept(Map::new());
        let ours = is_ours(metadata);
        if ours {
            // INVARIANT: our own messages are constants, so that they may be written as they are
            // (test `the_message_of_every_event_in_the_house_is_a_constant`).
            event.record(&mut fields);
        }
        // Foreign texts and fields may hold anything; the place in their source tells which one it was.
        let place = if ours { None } else { metadata.line() };
        Self { at, level: *metadata.level(), room: metadata.target(), place, fields: fields.0 }
    }

    /// `{"time":..,"level":..,"target":..,..}` and a line feed.
    pub(super) fn json(mut self) -> String {
        let mut line = Map::new();
        line.insert("time".to_owned(), self.at.to_rfc3339_opts(SecondsFormat::Micros, true).into());
        line.insert("level".to_owned(), self.level.as_str().to_ascii_lowercase().into());
        line.insert("target".to_owned(), self.room.into());
        if let Some(place) = self.place {
            line.insert("source_line".to_owned(), place.into());
        }
        line.append(&mut self.fields);
        let mut text = Value::Object(line).to_string();
        text.push('\n');
        text
    }

    /// `12:00:00 error ledger_batch_failed error=...` and a line feed.
    pub(super) fn words(&self) -> String {
        let mut text =
            format!("{} {:5}", self.at.format("%H:%M:%S"), self.level.as_str().to_ascii_lowercase());
        let mut say = |part: fmt::Arguments<'_>| {
            // Writing to a String does not fail.
            text.write_fmt(part).ok();
        };
        for named in ["event", "message"] {
            if let Some(Value::String(word)) = self.fields.get(named) {
                say(format_args!(" {word}"));
            }
        }
        if self.fields.is_empty() {
            say(format_args!(" {} line {}", self.room, self.place.unwrap_or_default()));
        }
        for (name, value) in &self.fields {
            match (name.as_str(), value) {
                ("event" | "message", _) => {}
                (name, Value::String(word)) if word.contains(' ') => say(format_args!(" {name}={word:?}")),
                (name, Value::String(word)) => say(format_args!(" {name}={word}")),
                (name, value) => say(format_args!(" {name}={value}")),
            }
        }
        text.push('\n');
        text
    }
}

/// Fields that passed the allow-list.
struct Kept(Map<String, Value>);

impl Kept {
    fn keep(&mut self, field: &Field, given: &Given<'_>) {
        if self.0.len() >= FIELDS_MAX {
            return;
        }
        if let Some(value) = admitted(field.name(), given) {
            self.0.insert(field.name().to_owned(), value);
        }
    }
}

impl Visit for Kept {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.keep(field, &Given::Float(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.keep(field, &Given::Signed(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.keep(field, &Given::Unsigned(value));
    }

    fn record_bool(&mut self, _: &Field, _: bool) {}

    fn record_str(&mut self, field: &Field, value: &str) {
        self.keep(field, &Given::Text(value));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.record_debug(field, &format_args!("{value}"));
    }

    /// What was given as `%display` or `?debug`, cut while it is written: a long one is never held whole.
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = Cut(String::new());
        // Stopping early is how it is cut.
        write!(text, "{value:?}").ok();
        self.keep(field, &Given::Text(&text.0));
    }
}

/// Takes a little more than may be written, so that the cut is marked.
struct Cut(String);

impl fmt::Write for Cut {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            if self.0.len() > TEXT_BYTES_MAX {
                return Err(fmt::Error);
            }
            self.0.push(c);
        }
        Ok(())
    }
}
