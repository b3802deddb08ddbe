//! The synthetic records that are shipped (data/README.md), and how they get in: through the API, as transactions.

use std::{
    io::{self, IsTerminal as _},
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;

use super::{
    client::{Client, ClientError},
    people::PHYSICIAN,
};

/// Transaction Bundles, one a line: the directory, then a patient a line.
const PRESSED: &[u8] = include_bytes!("data/synthea.ndjson.zst");
/// The most that comes out of it.
const TEXT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bundles under way at once: the log commits them together.
const AT_ONCE: usize = 4;

/// Why the records did not get in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordsError {
    /// The shipped file.
    #[error("the records shipped in this program do not open")]
    Shipped,
    /// The server did not answer.
    #[error("loading the records")]
    Client(#[from] ClientError),
    /// The server refused.
    #[error("the server refused {what}: {status}: {why}")]
    Refused {
        /// Which part.
        what: String,
        /// What it answered.
        status: u16,
        /// The first problem of its OperationOutcome.
        why: String,
    },
}

/// One transaction Bundle.
pub(crate) struct Chart {
    /// Its patient; none in the directory.
    pub(crate) patient: Option<String>,
    /// How many resources it writes.
    entries: usize,
    json: Vec<u8>,
}

/// What loading came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Loaded {
    /// Patients that were brought in, of all.
    pub(crate) patients: usize,
    /// Resources that were brought in.
    pub(crate) resources: usize,
    /// How long it took.
    pub(crate) took: Duration,
}

/// Every Bundle, the directory first.
pub(crate) fn charts() -> Result<Vec<Chart>, RecordsError> {
    let text = zstd::bulk::decompress(PRESSED, TEXT_BYTES_MAX).map_err(|_| RecordsError::Shipped)?;
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| chart(line).ok_or(RecordsError::Shipped)).collect()
}

fn chart(line: &[u8]) -> Option<Chart> {
    let bundle: Value = serde_json::from_slice(line).ok()?;
    let entries = bundle.get("entry")?.as_array()?;
    let patient = entries.iter().find_map(|entry| {
        let resource = entry.get("resource")?;
        let is_patient = resource.get("resourceType")?.as_str()? == "Patient";
        is_patient.then(|| resource.get("id")?.as_str().map(str::to_owned)).flatten()
    });
    Some(Chart { patient, entries: entries.len(), json: line.to_vec() })
}

/// Brings in what is not there. A transaction is whole or absent, so a patient who is there has her chart.
pub(crate) async fn load(importer: &Client, charts: &[Chart]) -> Result<Loaded, RecordsError> {
    let begun = Instant::now();
    let present = present(importer, charts).await?;
    let is_missing = |chart: &&Chart| chart.patient.as_ref().is_none_or(|id| !present.contains(id));
    let has_directory = importer.get(&format!("/fhir/{PHYSICIAN}")).await?.status == 200;
    let (directory, patients): (Vec<&Chart>, Vec<&Chart>) =
        charts.iter().filter(is_missing).partition(|chart| chart.patient.is_none());
    let directory = if has_directory { Vec::new() } else { directory };

    let resources = directory.iter().chain(&patients).map(|chart| chart.entries).sum();
    let bar = bar(resources);
    for chart in directory {
        send(importer, chart, &bar).await?;
    }
    let patients_count = patients.len();
    stream::iter(patients)
        .map(|chart| send(importer, chart, &bar))
        .buffer_unordered(AT_ONCE)
        .try_collect::<Vec<()>>()
        .await?;
    bar.finish_and_clear();
    Ok(Loaded { patients: patients_count, resources, took: begun.elapsed() })
}

/// Which of the patients are there, in one question.
async fn present(importer: &Client, charts: &[Chart]) -> Result<Vec<String>, RecordsError> {
    let ids: Vec<&str> = charts.iter().filter_map(|chart| chart.patient.as_deref()).collect();
    let path = format!("/fhir/Patient?_count=1000&_id={}", ids.join(","));
    let reply = importer.get(&path).await?;
    if reply.status != 200 {
        return Err(refused("the question which patients are there".to_owned(), &reply));
    }
    let bundle = reply.json();
    let entries = bundle.get("entry").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let id = |entry: &Value| entry.pointer("/resource/id")?.as_str().map(str::to_owned);
    Ok(entries.iter().filter_map(id).collect())
}

async fn send(importer: &Client, chart: &Chart, bar: &ProgressBar) -> Result<(), RecordsError> {
    let reply = importer.post("/fhir", chart.json.clone()).await?;
    if reply.status != 200 {
        let what = chart.patient.as_ref().map_or("the directory".to_owned(), |id| format!("Patient/{id}"));
        return Err(refused(what, &reply));
    }
    bar.inc(u64::try_from(chart.entries).unwrap_or(0));
    Ok(())
}

/// The server's own words; its outcomes hold nothing of a record.
fn refused(what: String, reply: &super::client::Reply) -> RecordsError {
    let outcome = reply.json();
    let issue = outcome.pointer("/issue/0");
    let text = issue.and_then(|issue| issue.pointer("/details/text").or_else(|| issue.get("diagnostics")));
    let why = text.and_then(Value::as_str).unwrap_or("no reason given").to_owned();
    RecordsError::Refused { what, status: reply.status, why }
}

/// Shown on a terminal alone.
fn bar(resources: usize) -> ProgressBar {
    if !io::stderr().is_terminal() || resources == 0 {
        return ProgressBar::hidden();
    }
    let length = u64::try_from(resources).unwrap_or(0);
    let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
    let template = "{msg} {bar:40} {pos}/{len} resources, {per_sec}";
    bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.with_message("loading")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::{
        super::people::{CHART, PEOPLE},
        *,
    };

    #[test]
    fn what_is_shipped_is_whole_and_has_whom_the_tour_speaks_of() {
        let charts = charts().unwrap();
        let patients: Vec<&str> = charts.iter().filter_map(|chart| chart.patient.as_deref()).collect();
        assert!(patients.len() >= 20, "{}", patients.len());
        assert_eq!(charts.len(), patients.len() + 1);
        assert!(charts[0].patient.is_none());
        let directory = String::from_utf8(charts[0].json.clone()).unwrap();
        for person in PEOPLE.iter().filter_map(|person| person.practitioner) {
            assert!(directory.contains(&format!("\"url\":\"{person}\"")), "{person}");
        }
        let treated = |id: &str| {
            let chart = charts.iter().find(|chart| chart.patient.as_deref() == Some(id)).unwrap();
            String::from_utf8(chart.json.clone())
                .unwrap()
                .contains(&format!("\"generalPractitioner\":[{{\"reference\":\"{PHYSICIAN}\"}}]"))
        };
        assert!(treated(CHART));
        let untreated = patients.iter().filter(|id| !treated(id)).count();
        assert!((1..patients.len() / 2).contains(&untreated), "{untreated}");
    }
}
