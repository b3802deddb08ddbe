//! Accesses as a table for spreadsheets: one line for each record of an entry, one for every other entry.
//!
//! RFC 4180 with CRLF, every cell quoted, UTF-8 with a byte order mark (spreadsheets guess otherwise). A cell that a
//! spreadsheet would take for a formula begins with an apostrophe (CWE-1236), and no cell is longer than a spreadsheet
//! holds.

use custodia_audit::{Control, Entry, Item};
use serde_json::Value;

use super::{Place, agents::hex, control_event, instant};

/// The longest cell, in characters, below the 32,767 that spreadsheets hold.
pub const CELL_LETTERS_MAX: usize = 32_000;

/// What stands in each column.
const COLUMNS: [&str; 26] = [
    "index",
    "entry",
    "time",
    "kind",
    "interaction",
    "status",
    "outcome",
    "tenant",
    "user",
    "roles",
    "organisation",
    "client",
    "token",
    "certificate",
    "address",
    "patient",
    "record",
    "version",
    "action",
    "purpose",
    "query",
    "reason",
    "decision",
    "policies",
    "request",
    "receipt",
];

/// The first line, with the byte order mark.
#[must_use]
pub fn header() -> String {
    let mut out = String::from("\u{feff}");
    line(&mut out, COLUMNS.iter().map(|name| (*name).to_owned()));
    out
}

/// The lines of an access.
#[must_use]
pub fn access(place: &Place<'_>, entry: &Entry) -> String {
    let mut out = String::new();
    if entry.object.items.is_empty() {
        line(&mut out, cells(place, entry, None));
    }
    for item in &entry.object.items {
        line(&mut out, cells(place, entry, Some(item)));
    }
    out
}

/// The line of an entry that is not shown: another tenant's, outside what was asked for, or without its key.
#[must_use]
pub fn withheld(place: &Place<'_>) -> String {
    let mut out = String::new();
    line(&mut out, sparse(place, "withheld", "", "", ""));
    out
}

/// The line of a control entry.
#[must_use]
pub fn control(place: &Place<'_>, control: &Control) -> String {
    let event = control_event(place, control);
    let text = |at: &str| event.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned();
    let details = event.pointer("/entity/0/detail").and_then(Value::as_array);
    let details: Vec<String> = details
        .into_iter()
        .flatten()
        .filter_map(|one| {
            Some(format!("{}={}", one.get("type")?.as_str()?, one.get("valueString")?.as_str()?))
        })
        .collect();
    let mut out = String::new();
    line(
        &mut out,
        sparse(place, "control", &text("/recorded"), &text("/subtype/0/display"), &details.join(" ")),
    );
    out
}

fn sparse(place: &Place<'_>, sort: &str, time: &str, kind: &str, reason: &str) -> Vec<String> {
    let known = |column: &&str| match *column {
        "index" => place.index.to_string(),
        "entry" => sort.to_owned(),
        "time" => time.to_owned(),
        "kind" => kind.to_owned(),
        "reason" => reason.to_owned(),
        "receipt" => place.receipt(),
        _ => String::new(),
    };
    COLUMNS.iter().map(known).collect()
}

fn cells(place: &Place<'_>, entry: &Entry, item: Option<&Item>) -> Vec<String> {
    let or_empty = |text: &Option<String>| text.clone().unwrap_or_default();
    let (event, actor, subject) = (&entry.event, &entry.actor, &entry.subject);
    let (object, detail) = (&entry.object, &entry.detail);
    vec![
        place.index.to_string(),
        "opened".to_owned(),
        instant(event.time_micros),
        event.kind.as_str().to_owned(),
        object.interaction.clone(),
        event.outcome.status.to_string(),
        event.outcome.code.clone(),
        or_empty(&subject.tenant),
        or_empty(&actor.user),
        actor.roles.join(" "),
        or_empty(&actor.organisation),
        or_empty(&actor.client),
        or_empty(&actor.token_id),
        actor.thumbprint.map(|thumbprint| hex(&thumbprint)).unwrap_or_default(),
        or_empty(&actor.address),
        or_empty(&subject.patient),
        item.map(|item| format!("{}/{}", item.kind, item.id)).unwrap_or_default(),
        item.map(|item| item.version.to_string()).unwrap_or_default(),
        item.map(|item| item.action.as_str().to_owned()).unwrap_or_default(),
        or_empty(&detail.purpose),
        or_empty(&detail.query),
        or_empty(&detail.reason),
        object.decision.as_str().to_owned(),
        object.policies.join(" "),
        uuid::Uuid::from_bytes(event.request).to_string(),
        place.receipt(),
    ]
}

/// One line of cells.
pub(super) fn line(out: &mut String, cells: impl IntoIterator<Item = String>) {
    for (at, cell) in cells.into_iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        quoted(out, &cell);
    }
    out.push_str("\r\n");
}

fn quoted(out: &mut String, text: &str) {
    out.push('"');
    if is_formula(text) {
        out.push('\'');
    }
    for (at, letter) in text.chars().enumerate() {
        if at >= CELL_LETTERS_MAX {
            out.push('…');
            break;
        }
        match letter {
            '"' => out.push_str("\"\""),
            // A line break inside a cell is one some programs split at; what else is a control says nothing.
            letter if letter.is_control() => out.push(' '),
            letter => out.push(letter),
        }
    }
    out.push('"');
}

/// Whether a spreadsheet might compute a cell, also after it has trimmed it or folded its width.
fn is_formula(text: &str) -> bool {
    let blank = |letter: char| letter.is_whitespace() || letter.is_control() || letter == '\u{feff}';
    let first = text.trim_start_matches(blank).chars().next();
    matches!(first, Some('=' | '+' | '-' | '@' | '|' | '%' | '＝' | '＋' | '－' | '＠' | '−'))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::string_slice, reason = "tests")]
    use super::*;
    use crate::events::samples;

    /// Reads RFC 4180 back.
    fn read(text: &str) -> Vec<Vec<String>> {
        let (mut lines, mut cells, mut cell) = (Vec::new(), Vec::new(), String::new());
        let mut letters = text.chars().peekable();
        let mut inside = false;
        while let Some(letter) = letters.next() {
            match (inside, letter) {
                (true, '"') if letters.peek() == Some(&'"') => cell.push(letters.next().unwrap()),
                (_, '"') => inside = !inside,
                (false, ',') => cells.push(std::mem::take(&mut cell)),
                (false, '\r') => {
                    assert_eq!(letters.next(), Some('\n'));
                    cells.push(std::mem::take(&mut cell));
                    lines.push(std::mem::take(&mut cells));
                }
                (_, other) => cell.push(other),
            }
        }
        assert!(!inside && cell.is_empty() && cells.is_empty());
        lines
    }

    #[test]
    fn no_cell_is_a_formula() {
        let dangerous = [
            "=cmd|' /C calc'!A0",
            "+1+1",
            "-2+3",
            "@SUM(A1)",
            "\t=1",
            "\r=1",
            " =1",
            "\n+1",
            "\u{feff}=1",
            "＝1",
            "%0A=1",
            "|calc",
            "−1",
            "\u{a0}=1",
        ];
        for text in dangerous {
            let mut out = String::new();
            line(&mut out, [text.to_owned()]);
            let cell = read(&out)[0][0].clone();
            assert!(cell.starts_with('\''), "{text:?} becomes {cell:?}");
        }
        for text in ["grey", "Patient/ann", "2026-01-01T00:00:00Z", "", "a=b", "'quoted"] {
            let mut out = String::new();
            line(&mut out, [text.to_owned()]);
            assert_eq!(read(&out)[0][0], text);
        }
    }

    #[test]
    fn every_sample_is_read_back_cell_by_cell() {
        for (name, entry) in samples::all() {
            let place = samples::place(17);
            let text = access(&place, &entry);
            let lines = read(&text);
            assert_eq!(lines.len(), entry.object.items.len().max(1), "{name}");
            for cells in lines {
                assert_eq!(cells.len(), COLUMNS.len(), "{name}");
                assert_eq!(cells[25], "records.test/log/17");
                let user = cells[8].strip_prefix('\'').unwrap_or(&cells[8]);
                assert_eq!(user, entry.actor.user.clone().unwrap_or_default(), "{name}");
            }
        }
        let columns = read(&header()[3..]);
        assert_eq!(columns[0].len(), COLUMNS.len());
        assert!(header().starts_with('\u{feff}'));
        assert_eq!(read(&withheld(&samples::place(3)))[0][..2], ["3", "withheld"]);
        for control in samples::controls() {
            let lines = read(&super::control(&samples::place(4), &control));
            assert_eq!((lines.len(), lines[0].len(), lines[0][1].as_str()), (1, COLUMNS.len(), "control"));
        }
    }

    #[test]
    fn a_cell_ends_where_a_spreadsheet_ends_it() {
        for (letters, cut) in [(CELL_LETTERS_MAX, false), (CELL_LETTERS_MAX + 1, true)] {
            let mut out = String::new();
            line(&mut out, ["é".repeat(letters)]);
            let cell = read(&out)[0][0].clone();
            assert_eq!(cell.ends_with('…'), cut);
            assert!(cell.chars().count() <= CELL_LETTERS_MAX + 1);
        }
    }

    #[test]
    fn quotes_commas_and_line_breaks_stay_in_their_cell() {
        let mut out = String::new();
        line(&mut out, ["a\"b,c\r\nd".to_owned(), "e".to_owned()]);
        assert_eq!(read(&out), [["a\"b,c  d", "e"]]);
    }
}
