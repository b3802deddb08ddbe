//! The verdict over exports of several logs: each by itself, and none is missing.

use custodia_audit::bundle::{Fault, Report};
use serde_json::{Value, json};

use super::{options::Form, report};

/// Whether all is well, and what to print.
pub(crate) fn report(verdicts: &[Result<Report, Fault>], form: Form) -> (bool, String) {
    let reports: Vec<&Report> = verdicts.iter().flatten().collect();
    let missing = missing(&reports);
    let is_verified = reports.len() == verdicts.len() && missing.is_empty();
    let each = verdicts.iter().map(|verdict| match verdict {
        Ok(verified) => report::verified(verified, form),
        Err(fault) => report::refused(fault, form),
    });
    let text = match form {
        Form::Json => {
            let each: Vec<Value> = each.filter_map(|one| serde_json::from_str(&one).ok()).collect();
            json!({ "verified": is_verified, "exports": each, "missing": missing }).to_string()
        }
        Form::Text => {
            let mut parts: Vec<String> = each.collect();
            let count = verdicts.len();
            parts.push(match (is_verified, missing.as_slice()) {
                (true, _) if reports.iter().any(|report| report.shards.is_none()) => {
                    format!(
                        "VERIFIED, all {count}: how many logs are written side by side, not all of them say"
                    )
                }
                (true, _) => {
                    format!("VERIFIED, all {count}: no log is missing of those written side by side")
                }
                (false, []) => format!("REFUSED: {} of {count}", count - reports.len()),
                (false, missing) => {
                    let names: Vec<String> =
                        missing.iter().map(|name| name.escape_debug().to_string()).collect();
                    format!("REFUSED\n  why    there is no verified export of {}", names.join(", "))
                }
            });
            parts.join("\n\n")
        }
    };
    (is_verified, text)
}

/// The logs that entries speak of and that no report is about.
fn missing(reports: &[&Report]) -> Vec<String> {
    let mut missing: Vec<String> = Vec::new();
    for report in reports {
        let Some((shard, count)) = report.shards else { continue };
        let origin = report.header.origin.as_str();
        let first = if shard == 0 { None } else { origin.strip_suffix(&format!("/{shard}")) };
        let first = first.unwrap_or(origin);
        // A log that names more than there can be is short of one all the same.
        for number in 0..count.min(SHARDS_NAMED_MAX) {
            let name = if number == 0 { first.to_owned() } else { format!("{first}/{number}") };
            if !missing.contains(&name) && reports.iter().all(|other| other.header.origin != name) {
                missing.push(name);
            }
        }
    }
    missing
}

/// The most logs that are looked for on the word of one.
const SHARDS_NAMED_MAX: u64 = 256;
