//! A report as CSV, guarded as every table of ours.

use super::{super::csv, Line, instant, receipt};

const COLUMNS: [&str; 9] =
    ["time", "who", "done", "what", "records", "purpose", "disclosed", "accounted under 164.528", "receipt"];

pub(super) fn head() -> String {
    let mut out = String::from("\u{feff}");
    csv::line(&mut out, COLUMNS.map(str::to_owned));
    out
}

pub(super) fn line(line: &Line) -> String {
    let records: Vec<&str> =
        line.seen.iter().chain(&line.written).chain(&line.deleted).map(String::as_str).collect();
    let yes = |is: bool| if is { "yes" } else { "no" }.to_owned();
    let mut out = String::new();
    csv::line(
        &mut out,
        [
            instant(line.micros),
            line.who(),
            line.done(),
            line.what(),
            records.join(" "),
            line.purpose.as_deref().map(super::purpose).unwrap_or_default().to_owned(),
            yes(line.disclosed),
            yes(line.accounted),
            receipt(line),
        ],
    );
    out
}
