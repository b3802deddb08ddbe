//! A report as a page to print: one table, no script, nothing fetched from anywhere.

use super::{super::markup::escape, Head, Line, Names, instant, receipt};

const STYLE: &str = "body{font:11pt/1.4 sans-serif;margin:2em;color:#000;background:#fff}\
table{border-collapse:collapse;width:100%}th,td{border:1px solid #666;padding:.3em .5em;text-align:left;\
vertical-align:top;overflow-wrap:anywhere}thead{display:table-header-group}tr{break-inside:avoid}\
.receipt{font-family:monospace;font-size:8pt}@page{margin:15mm}";

pub(super) fn head(head: &Head) -> String {
    let day = |micros: i64| super::super::recorded(micros).format("%Y-%m-%d").to_string();
    let employees = match head.names {
        Names::Shown => "Employees are named.",
        Names::Withheld => "Employees are told by role and organisation.",
    };
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Who saw the records of {patient}</title>\
         <style>{STYLE}</style></head>\n<body><h1>Who saw the records of {patient}</h1>\n<p>Kept by {tenant}. From {from} \
         until {until}; made on {made}. {employees} Disclosed means that records went to another organisation. Each line \
         can be proven with its receipt: the log {origin} is signed, and a line that was changed or left out later \
         shows.</p>\n<table><thead><tr><th>When (UTC)</th><th>Who</th><th>Done</th><th>What</th><th>Why</th>\
         <th>Disclosed</th><th>Receipt</th></tr></thead><tbody>\n",
        patient = escaped(&head.patient),
        tenant = escaped(&head.tenant),
        origin = escaped(&head.origin),
        from = day(head.from_micros),
        until = day(head.until_micros),
        made = day(head.made_micros),
    )
}

pub(super) fn line(line: &Line) -> String {
    let disclosed = match (line.disclosed, line.accounted) {
        (false, _) => "",
        (true, false) => "yes",
        (true, true) => "yes, to be accounted for",
    };
    let time = instant(line.micros);
    let seconds = time.get(..19).unwrap_or(&time).replace('T', " ");
    let cells = [
        seconds,
        line.who(),
        line.done(),
        line.what(),
        line.purpose.as_deref().map(super::purpose).unwrap_or_default().to_owned(),
        disclosed.to_owned(),
    ];
    let cells: String = cells.iter().map(|cell| format!("<td>{}</td>", escaped(cell))).collect();
    format!("<tr>{cells}<td class=\"receipt\">{}</td></tr>\n", escaped(&receipt(line)))
}

pub(super) fn foot(count: usize, next: Option<&str>) -> String {
    let more =
        next.map(|next| format!(" <a href=\"{}\">There is more.</a>", escaped(next))).unwrap_or_default();
    format!("</tbody></table>\n<p>{count} lines.{more}</p>\n</body></html>\n")
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    escape(&mut out, text, ' ');
    out
}
