//! A report as JSON: every line with its evidence.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{Evidence, Group, Head, Line, Names, instant, receipt};

pub(super) fn head(head: &Head) -> String {
    let said = json!({
        "patient": head.patient,
        "custodian": head.tenant,
        "log": head.origin,
        "from": instant(head.from_micros),
        "until": instant(head.until_micros),
        "made": instant(head.made_micros),
        "employees": if head.names == Names::Shown { "named" } else { "by role and organisation" },
    });
    let mut text = said.to_string();
    // The object stays open for the lines.
    text.pop();
    text.push_str(",\"lines\":[");
    text
}

pub(super) fn line(line: &Line, at: usize) -> String {
    let said = json!({
        "index": line.index,
        "receipt": receipt(line),
        "time": instant(line.micros),
        "roles": line.roles,
        "organisation": line.organisation,
        "name": line.name,
        "interaction": line.interaction,
        "seen": line.seen,
        "written": line.written,
        "deleted": line.deleted,
        "purpose": line.purpose,
        "disclosed": line.disclosed,
        "accountedUnder164528": line.accounted,
        "evidence": line.evidence.as_ref().map(evidence),
    });
    format!("{}\n{said}", if at == 0 { "" } else { "," })
}

fn evidence(evidence: &Evidence) -> Value {
    let group = |group: &Group| match group {
        Group::Opened { salt, bytes } => {
            json!({"salt": STANDARD.encode(salt), "bytes": STANDARD.encode(bytes)})
        }
        Group::Withheld(digest) => json!({"digest": STANDARD.encode(digest)}),
    };
    json!({
        "groups": evidence.groups.iter().map(group).collect::<Vec<_>>(),
        "entry": STANDARD.encode(&evidence.leaf),
        "proof": evidence.proof.to_text(),
    })
}

pub(super) fn foot(count: usize, next: Option<&str>) -> String {
    let rest = json!({"count": count, "next": next}).to_string();
    format!("\n],{}", rest.trim_start_matches('{'))
}
