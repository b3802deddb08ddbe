//! Looks for every acknowledged write: the record, its version and its content.

use serde_json::Value;
use tokio::task::JoinSet;

use super::{CHECKERS, account::Written};
use crate::{
    caller::Caller,
    client::{Call, Keep, Reply},
    deck::{BASE, uri},
    fault::Fault,
    records,
};

/// What was found.
#[derive(Default)]
pub(super) struct Found {
    /// The records, given back.
    pub(super) written: Vec<Written>,
    /// What is lost or changed.
    pub(super) violations: Vec<String>,
}

/// Reads every record.
pub(super) async fn check(caller: &Caller, mut written: Vec<Written>) -> Result<Found, Fault> {
    let share = written.len().div_ceil(CHECKERS).max(1);
    let mut tasks = JoinSet::new();
    while !written.is_empty() {
        let rest = written.split_off(written.len().saturating_sub(share));
        tasks.spawn(check_some(caller.clone(), rest));
    }
    let mut found = Found::default();
    while let Some(ended) = tasks.join_next().await {
        let some = ended.map_err(|_| Fault::refused("a checker failed"))??;
        found.written.extend(some.written);
        found.violations.extend(some.violations);
    }
    Ok(found)
}

async fn check_some(mut caller: Caller, written: Vec<Written>) -> Result<Found, Fault> {
    let mut violations = Vec::new();
    for record in &written {
        if let Some(wrong) = check_one(&mut caller, record).await? {
            violations.push(format!("Observation/{}: {wrong}", record.id));
        }
    }
    Ok(Found { written, violations })
}

async fn check_one(caller: &mut Caller, record: &Written) -> Result<Option<String>, Fault> {
    let path = format!("{BASE}/Observation/{}", record.id);
    let current = read(caller, &path).await?;
    if current.status != 200 {
        return Ok(Some(format!("acknowledged version {} is lost: {}", record.version, current.status)));
    }
    let Some(version) = current.version() else { return Ok(Some("its ETag is no version".to_owned())) };
    if version < record.version {
        return Ok(Some(format!("acknowledged version {} is lost: it is at {version}", record.version)));
    }
    if version == record.version {
        return Ok((!holds(&current.body, record, record.number)).then(|| "its content changed".to_owned()));
    }
    // An update without an answer was stored after all: it must be one of those that were sent.
    if !record.doubts.iter().any(|number| holds(&current.body, record, *number)) {
        return Ok(Some(format!("version {version} holds what nobody sent")));
    }
    let before = read(caller, &format!("{path}/_history/{}", record.version)).await?;
    let is_kept = before.status == 200 && holds(&before.body, record, record.number);
    Ok((!is_kept).then(|| format!("acknowledged version {} is not in its history", record.version)))
}

/// Whether a body is the content made from `number`, but for what the server adds.
fn holds(body: &[u8], record: &Written, number: u64) -> bool {
    let sent = records::observation(&record.patient, Some(&record.id), number);
    let (Ok(Value::Object(mut found)), Ok(Value::Object(sent))) =
        (serde_json::from_slice(body), serde_json::from_str(&sent))
    else {
        return false;
    };
    found.remove("meta");
    found == sent
}

/// Reads, and tries again once: the connection may be from before the last kill.
async fn read(caller: &mut Caller, path: &str) -> Result<Reply, Fault> {
    match caller.send(Call::get(uri(path)?), Keep::Body).await {
        Ok(reply) => Ok(reply),
        Err(_) => {
            let answer = caller.send(Call::get(uri(path)?), Keep::Body).await;
            answer.map_err(|none| Fault::refused(format!("the check got no answer: {}", none.why)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_compared_without_what_the_server_adds() {
        let (id, patient) = ("a".to_owned(), "p".to_owned());
        let record = Written { id, patient, version: 1, number: 7, doubts: Vec::new() };
        let sent = records::observation("p", Some("a"), 7);
        let stored = sent.replacen('{', r#"{"meta":{"versionId":"1"},"#, 1);
        assert!(holds(stored.as_bytes(), &record, 7));
        assert!(!holds(stored.as_bytes(), &record, 8));
        assert!(!holds(stored.replace("final", "amended").as_bytes(), &record, 7));
        assert!(!holds(b"{", &record, 7));
    }
}
