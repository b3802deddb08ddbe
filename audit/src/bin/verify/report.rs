//! Verdicts, for people and as JSON.

use custodia_audit::bundle::{Fault, Finding, Observation, Place, Report};
use custodia_audit::{Checkpoint, Cosigned, Leaf};
use serde_json::json;

use super::options::Form;

/// How many findings are printed for people; JSON has them all.
const FINDINGS_SHOWN: usize = 20;

/// An export that verified.
pub(crate) fn verified(report: &Report, form: Form) -> String {
    if form == Form::Json {
        return json!({ "verified": true, "report": report }).to_string();
    }
    let header = &report.header;
    let total = header.end.saturating_sub(header.first);
    let whole = if report.is_whole { "the whole log" } else { "a part of the log" };
    let mut lines = vec![
        "VERIFIED".to_owned(),
        format!("  log        {}", header.origin.escape_debug()),
        format!("  checkpoint {} entries, root {}", report.size, report.root),
        format!("  cosigned   {}", cosigned(&report.cosigned)),
        format!(
            "  range      {} up to, not including, {}: {total} entries, {whole}",
            header.first, header.end
        ),
        format!("  opened     {}", report.counts.opened),
        format!("  withheld   {}", report.counts.withheld),
        format!("  control    {}", report.counts.control),
        format!("  exported   {}", utc(header.exported_micros)),
        format!("  reason     {}", header.reason.escape_debug()),
    ];
    if let Some(tenant) = &header.tenant {
        lines.push(format!("  tenant     {}", tenant.escape_debug()));
    }
    if let Some((shard, count)) = report.shards {
        lines.push(format!(
            "  shards     it is number {shard} of {count} logs written side by side: verify their exports together"
        ));
    }
    lines.push(match report.continues {
        Some(size) => format!("  continues  your earlier checkpoint of {size} entries"),
        None => "  continues  not asked: give --earlier a checkpoint you kept".to_owned(),
    });
    lines.push(format!("  findings   {}", report.findings_total));
    lines.extend(
        report.findings.iter().take(FINDINGS_SHOWN).map(|finding| format!("    {}", sentence(finding))),
    );
    if report.findings_total > u64::try_from(FINDINGS_SHOWN).unwrap_or(u64::MAX) {
        lines.push("    and more: --json has the first thousand".to_owned());
    }
    lines.join("\n")
}

fn sentence(finding: &Finding) -> String {
    let what = match &finding.what {
        Observation::ClockBackwards { node, by_micros } => {
            format!("the clock of node {node:?} ran back by {by_micros} microseconds")
        }
        Observation::LateStart { node, sequence } => {
            format!("the first entry of node {node:?} has sequence number {sequence}, not 0")
        }
        Observation::Heartbeat { node, expected, found } => {
            format!("node {node:?} announces sequence number {found}, its entries lead to {expected}")
        }
        Observation::OtherOrigin => "the entry names another log as its own".to_owned(),
        Observation::OtherTenant => "the entry is of another tenant than the export".to_owned(),
        Observation::Restored => "the log was restored from a backup".to_owned(),
        Observation::ForkAlarm => {
            "an alarm: a witness, or who read the log anew, found that it is not what it was".to_owned()
        }
        Observation::KeyRotated => "a second key began to sign the log".to_owned(),
        Observation::KeyRetired => "a key of the log ceased to sign".to_owned(),
    };
    format!("index {}: {what}", finding.index)
}

/// An export that is refused.
pub(crate) fn refused(fault: &Fault, form: Form) -> String {
    let index = match fault.place {
        Place::Index(index) => Some(index),
        _ => None,
    };
    match form {
        Form::Text => format!("REFUSED\n  where  {}\n  why    {}", fault.place, fault.reason),
        Form::Json => {
            let (place, reason) = (fault.place.to_string(), fault.reason.to_string());
            let code = fault.reason.code();
            json!({ "verified": false, "place": place, "index": index, "code": code, "reason": reason })
                .to_string()
        }
    }
}

/// Who cosigned, and when.
fn cosigned(witnesses: &[Cosigned]) -> String {
    if witnesses.is_empty() {
        return "by no witness that you named".to_owned();
    }
    let words = witnesses.iter().map(|one| {
        let seconds = i64::try_from(one.time).unwrap_or(i64::MAX);
        format!("{} at {}", one.witness.escape_debug(), utc(seconds.saturating_mul(1_000_000)))
    });
    words.collect::<Vec<_>>().join(", ")
}

/// A proof that verified.
pub(crate) fn verified_proof(
    index: u64,
    checkpoint: &Checkpoint,
    cosigners: &[Cosigned],
    leaf: &Leaf,
    form: Form,
) -> String {
    let (origin, size) = (&checkpoint.origin, checkpoint.size);
    match form {
        Form::Text => {
            let kind = match leaf {
                Leaf::Access(_) => "an access",
                Leaf::Control(_) => "a control entry",
            };
            let (origin, cosigned) = (origin.escape_debug(), cosigned(cosigners));
            format!(
                "VERIFIED\n  log        {origin}\n  checkpoint {size} entries\n  cosigned   {cosigned}\n  index      {index}: {kind}"
            )
        }
        Form::Json => {
            let proof = json!({
                "verified": true, "origin": origin, "size": size, "cosigned": cosigners, "index": index,
                "entry": leaf,
            });
            proof.to_string()
        }
    }
}

/// A proof that is refused.
pub(crate) fn refused_proof(code: &str, reason: &str, form: Form) -> String {
    match form {
        Form::Text => format!("REFUSED\n  why    {reason}"),
        Form::Json => json!({ "verified": false, "code": code, "reason": reason }).to_string(),
    }
}

/// Microseconds since 1970 as a UTC date and time, by the civil calendar.
fn utc(micros: i64) -> String {
    let seconds = micros.div_euclid(1_000_000);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Days since 0000-03-01, in eras of 400 years, so that a leap day ends its year.
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year + carry;
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::utc;

    #[test]
    fn times_are_shown_by_the_civil_calendar() {
        let table = [
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00Z"),
            (1_700_000_000_999_999, "2023-11-14T22:13:20Z"),
            (4_107_542_399_000_000, "2100-02-28T23:59:59Z"),
            (4_107_542_400_000_000, "2100-03-01T00:00:00Z"),
        ];
        for (micros, shown) in table {
            assert_eq!(utc(micros), shown);
        }
    }
}
