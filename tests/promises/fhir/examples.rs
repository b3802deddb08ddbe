//! HL7's official examples: each one that the server ships is stored and read back as it was.

use std::io::Read as _;

use flate2::read::GzDecoder;
use serde_json::Value;

use crate::clinic::{Clinic, as_sent};

/// The examples that break R4 themselves, and the rule each breaks.
const BROKEN: [(&str, &str); 19] = [
    ("ActivityDefinition/blood-tubes-supply", "invariant.txt-2"),
    ("ActivityDefinition/heart-valve-replacement", "invariant.txt-2"),
    ("EventDefinition/example", "invariant.txt-2"),
    ("Questionnaire/zika-virus-exposure-assessment", "invariant.txt-2"),
    ("DeviceMetric/example", "reference.target-type"),
    ("DeviceUseStatement/example", "reference.target-type"),
    ("MedicationRequest/medrx0301", "reference.target-type"),
    ("Observation/clinical-gender", "reference.target-type"),
    ("Questionnaire/qs1", "structure.required"),
    ("SearchParameter/codesystem-extensions-CodeSystem-author", "structure.required"),
    ("SearchParameter/codesystem-extensions-CodeSystem-effective", "structure.required"),
    ("SearchParameter/codesystem-extensions-CodeSystem-end", "structure.required"),
    ("SearchParameter/codesystem-extensions-CodeSystem-keyword", "structure.required"),
    ("SearchParameter/codesystem-extensions-CodeSystem-workflow", "structure.required"),
    ("SearchParameter/valueset-extensions-ValueSet-author", "structure.required"),
    ("SearchParameter/valueset-extensions-ValueSet-effective", "structure.required"),
    ("SearchParameter/valueset-extensions-ValueSet-end", "structure.required"),
    ("SearchParameter/valueset-extensions-ValueSet-keyword", "structure.required"),
    ("SearchParameter/valueset-extensions-ValueSet-workflow", "structure.required"),
];

/// Examples of the R4 specification, one resource a line.
fn examples() -> Vec<Value> {
    let packed = include_bytes!("../../data/r4-examples.ndjson.gz");
    let mut text = String::new();
    GzDecoder::new(packed.as_slice()).read_to_string(&mut text).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_official_example_comes_back_as_it_was_sent() {
    let clinic = Clinic::open().await;
    let examples = examples();
    assert_eq!(examples.len(), 329);
    let mut different = Vec::new();
    for example in &examples {
        let (kind, id) = (example["resourceType"].as_str().unwrap(), example["id"].as_str().unwrap());
        let path = format!("/fhir/{kind}/{id}");
        let put = clinic.importer.put(&path, example).await;
        // One has an id of 70 characters, which is no id: nothing can be at its URL.
        if id.len() > 64 {
            let _no_such_place = put.expect(404);
            continue;
        }
        if let Some((_, rule)) = BROKEN.iter().find(|(name, _)| *name == format!("{kind}/{id}")) {
            let issues = put.json()["issue"].as_array().unwrap().clone();
            if put.status != 422 || !issues.iter().any(|issue| issue["diagnostics"] == *rule) {
                different.push(format!("{kind}/{id}: expected {rule}, got {} {}", put.status, put.text()));
            }
            continue;
        }
        if !matches!(put.status, 200 | 201) {
            different.push(format!("{kind}/{id}: PUT {} {}", put.status, put.text()));
            continue;
        }
        let read = clinic.importer.get(&path).await.expect(200).json();
        if as_sent(read) != as_sent(example.clone()) {
            different.push(format!("{kind}/{id}: read back otherwise"));
        }
    }
    assert_eq!(different, Vec::<String>::new());
}
