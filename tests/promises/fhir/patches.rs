//! patch: JSON Patch and FHIRPath Patch, alone and in Bundles; a read and an update at once.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use custodia_audit::Action;
use custodia_support::{
    client::{Client, Reply},
    people::{Partner, Person},
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::clinic::{Clinic, bundle, found, observation, outcome};

const JSON_PATCH: (&str, &str) = ("content-type", "application/json-patch+json");
const PULSE: &str = "/fhir/Observation/pulse";

async fn json_patch(client: &Client, path: &str, patch: Value) -> Reply {
    client.send(Method::PATCH, path, &[JSON_PATCH], patch.to_string()).await
}

/// A FHIRPath Patch of one operation.
fn parameters(parts: &[Value]) -> Value {
    json!({"resourceType": "Parameters", "parameter": [{"name": "operation", "part": parts}]})
}

fn replace_status(status: &str) -> Value {
    parameters(&[
        json!({"name": "type", "valueCode": "replace"}),
        json!({"name": "path", "valueString": "Observation.status"}),
        json!({"name": "value", "valueCode": status}),
    ])
}

fn amend() -> Value {
    json!([{"op": "replace", "path": "/status", "value": "amended"}])
}

/// A patch as it stands in a Bundle.
fn binary(patch: &Value) -> Value {
    let data = STANDARD.encode(patch.to_string());
    json!({"resourceType": "Binary", "contentType": "application/json-patch+json", "data": data})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_json_patch_makes_the_next_version_and_keeps_order_and_digits() {
    let clinic = Clinic::open().await;
    let sent = concat!(
        r#"{"resourceType":"Observation","id":"exact","status":"final","code":{"text":"a"},"#,
        r#""subject":{"reference":"Patient/ann"},"valueQuantity":{"value":1.50,"unit":"g"},"note":[{"text":"n"}]}"#
    );
    let path = "/fhir/Observation/exact";
    let _put = clinic.importer.send(Method::PUT, path, &[], sent).await.expect(201);
    let physician = clinic.person(Person::Physician).await;
    let patch = r#"[{"op":"test","path":"/valueQuantity/value","value":1.5},{"op":"remove","path":"/code/text"},
        {"op":"add","path":"/code/coding","value":[{"code":"c"}]},{"op":"add","path":"/referenceRange","value":[{"low":{"value":0.10}}]}]"#;
    let before = clinic.server.size().await;
    let reply = physician.send(Method::PATCH, path, &[JSON_PATCH], patch).await.expect(200);
    assert_eq!(reply.header("etag"), Some("W/\"2\""));
    assert_eq!(reply.header("location"), Some("https://records.test/fhir/Observation/exact/_history/2"));
    let text = reply.text();
    let rest = concat!(
        r#""status":"final","code":{"coding":[{"code":"c"}]},"subject":{"reference":"Patient/ann"},"#,
        r#""valueQuantity":{"value":1.50,"unit":"g"},"note":[{"text":"n"}],"referenceRange":[{"low":{"value":0.10}}]}"#
    );
    assert!(text.ends_with(rest), "{text}");
    assert_eq!(clinic.importer.get(path).await.body, reply.body);
    // One entry, which names the version that was read and the one that was written.
    assert_eq!(clinic.server.size().await, before + 2, "the patch, and the read after it");
    let entry = clinic.server.entry(reply.receipt().unwrap()).await;
    let items: Vec<_> = entry.object.items.iter().map(|item| (item.version, item.action)).collect();
    assert_eq!(items, [(2, Action::Written), (1, Action::Released)]);
    assert_eq!(entry.object.interaction, "patch");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fhirpath_patch_changes_elements_by_their_paths() {
    let clinic = Clinic::open().await;
    let reply = clinic.importer.send(Method::PATCH, PULSE, &[], replace_status("amended").to_string()).await;
    assert_eq!(reply.expect(200).json()["status"], "amended");
    let note = parameters(&[
        json!({"name": "type", "valueCode": "add"}),
        json!({"name": "path", "valueString": "Observation"}),
        json!({"name": "name", "valueString": "note"}),
        json!({"name": "value", "valueAnnotation": {"text": "again"}}),
    ]);
    let reply = clinic.importer.send(Method::PATCH, PULSE, &[], note.to_string()).await.expect(200);
    assert_eq!(reply.json()["note"][0]["text"], "again");
    let unserved = parameters(&[
        json!({"name": "type", "valueCode": "delete"}),
        json!({"name": "path", "valueString": "Observation.note.where(text.exists())"}),
    ]);
    let reply = clinic.importer.send(Method::PATCH, PULSE, &[], unserved.to_string()).await.expect(422);
    assert_eq!(reply.issue(), "not-supported");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_patch_must_not_do_is_refused_and_changes_nothing() {
    let clinic = Clinic::open().await;
    let cases = [
        (json!([{"op": "replace", "path": "/id", "value": "other"}]), 422, "business-rule"),
        (json!([{"op": "replace", "path": "/meta/versionId", "value": "9"}]), 422, "business-rule"),
        (json!([{"op": "remove", "path": "/status"}]), 422, "required"),
        (json!([{"op": "add", "path": "/colour", "value": "red"}]), 422, "structure"),
        (json!([{"op": "test", "path": "/status", "value": "amended"}]), 422, "conflict"),
        (json!([{"op": "remove", "path": "/nothing"}]), 422, "not-found"),
        (json!([{"op": "change", "path": "/status"}]), 400, "value"),
        (json!({"op": "remove", "path": "/status"}), 400, "structure"),
    ];
    for (patch, status, code) in cases {
        let before = clinic.server.size().await;
        let reply = json_patch(&clinic.importer, PULSE, patch.clone()).await;
        assert_eq!((reply.status, reply.issue().as_str()), (status, code), "{patch}: {}", reply.text());
        assert_eq!(clinic.server.size().await, before + 1, "{patch}");
        // A refusal that depends on the record names it in its entry; one that does not has seen none.
        let items = clinic.server.entry(reply.receipt().unwrap()).await.object.items;
        let seen: Vec<_> = items.iter().map(|item| (item.id.as_str(), item.action)).collect();
        let expected = if status == 422 { vec![("pulse", Action::Released)] } else { vec![] };
        assert_eq!(seen, expected, "{patch}");
    }
    for media in ["application/json", "application/merge-patch+json", "text/plain"] {
        let header = [("content-type", media)];
        let reply = clinic.importer.send(Method::PATCH, PULSE, &header, amend().to_string()).await;
        assert_eq!(reply.status, 415, "{media}");
    }
    let _absent = json_patch(&clinic.importer, "/fhir/Observation/nothing", amend()).await.expect(404);
    assert_eq!(clinic.importer.get(PULSE).await.header("etag"), Some("W/\"1\""));
    let _deleted = clinic.importer.delete(PULSE).await.expect(204);
    let _gone = json_patch(&clinic.importer, PULSE, amend()).await.expect(410);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_patch_minds_if_match_and_who_may_read_and_update() {
    let clinic = Clinic::open().await;
    let patch = amend().to_string();
    let send = async |client: &Client, headers: &[(&str, &str)]| {
        let headers: Vec<_> = headers.iter().copied().chain([JSON_PATCH]).collect();
        client.send(Method::PATCH, PULSE, &headers, patch.clone()).await.status
    };
    assert_eq!(send(&clinic.importer, &[("if-match", "W/\"2\"")]).await, 412);
    assert_eq!(send(&clinic.importer, &[("if-match", "W/\"1\"")]).await, 200);
    assert_eq!(send(&clinic.importer, &[("if-match", "W/\"1\"")]).await, 412);
    // The stranger must not learn that it is there; the front desk may know that it could never be.
    let stranger = clinic.person(Person::Stranger).await;
    let hidden = json_patch(&stranger, PULSE, amend()).await.expect(404);
    let absent = json_patch(&stranger, "/fhir/Observation/nothing", amend()).await.expect(404);
    assert_eq!(hidden.body, absent.body);
    assert_eq!(send(&clinic.person(Person::FrontDesk).await, &[]).await, 403);
    assert_eq!(send(&clinic.server.partner(Partner::Registry), &[]).await, 403);
    // Who may change the record may not hand it to a patient she has no part in.
    let nurse = clinic.person(Person::Nurse).await;
    let moved = json!([{"op": "replace", "path": "/subject/reference", "value": "Patient/other"}]);
    let _refused = json_patch(&nurse, PULSE, moved).await.expect(403);
    let _own = json_patch(&nurse, PULSE, amend()).await.expect(200);
    assert_eq!(clinic.importer.get(PULSE).await.header("etag"), Some("W/\"3\""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn patches_stand_in_batches_and_transactions() {
    let clinic = Clinic::open().await;
    clinic.put(&observation("other", "ann", "0")).await;
    let requests = [
        ("PATCH", "Observation/pulse", Some(binary(&amend()))),
        ("PATCH", "Observation/other", Some(replace_status("corrected"))),
        ("GET", "Observation/pulse", None),
    ];
    let reply = clinic.importer.post("/fhir", &bundle("transaction", &requests)).await.expect(200);
    let answer = reply.json();
    let etags: Vec<_> =
        answer["entry"].as_array().unwrap().iter().map(|entry| entry["response"]["etag"].clone()).collect();
    assert_eq!(etags, ["W/\"2\"", "W/\"2\"", "W/\"2\""]);
    assert_eq!(found(&answer)[0]["status"], "amended", "a read sees what the transaction patched");
    assert_eq!(clinic.importer.get("/fhir/Observation/other").await.json()["status"], "corrected");

    // One patch that fails undoes the transaction; in a batch it stands for itself.
    let test = json!([{"op": "test", "path": "/status", "value": "final"}]);
    let no_patch = json!({"resourceType": "Binary", "contentType": "text/plain", "data": "eA=="});
    let requests = [
        ("PATCH", "Observation/other", Some(replace_status("final"))),
        ("PATCH", "Observation/pulse", Some(binary(&test))),
    ];
    let refused = clinic.importer.post("/fhir", &bundle("transaction", &requests)).await.expect(422);
    assert_eq!(refused.json(), {
        let mut said = outcome("conflict", "Operation 1: the test failed.");
        said["issue"][0]["diagnostics"] = json!("patch.operation");
        said["issue"][0]["expression"] = json!(["Bundle.entry[1]"]);
        said
    });
    let named = clinic.server.entry(refused.receipt().unwrap()).await.object.items;
    assert_eq!(named.iter().map(|item| item.id.as_str()).collect::<Vec<_>>(), ["pulse"]);
    assert_eq!(clinic.importer.get("/fhir/Observation/other").await.header("etag"), Some("W/\"2\""));
    let mut batch = requests.to_vec();
    batch.push(("PATCH", "Observation/pulse", Some(no_patch)));
    let answer = clinic.importer.post("/fhir", &bundle("batch", &batch)).await.expect(200).json();
    let statuses: Vec<_> = answer["entry"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["response"]["status"].as_str().unwrap()[..3].to_owned())
        .collect();
    assert_eq!(statuses, ["200", "422", "400"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn patches_of_the_same_record_at_once_are_all_kept() {
    let clinic = Clinic::open().await;
    let _note = json_patch(
        &clinic.importer,
        PULSE,
        json!([{"op": "add", "path": "/note", "value": [{"text": "0"}]}]),
    )
    .await
    .expect(200);
    let mut writers = tokio::task::JoinSet::new();
    for n in 1..=8 {
        let importer = clinic.importer.clone();
        writers.spawn(async move {
            let patch = json!([{"op": "add", "path": "/note/-", "value": {"text": n.to_string()}}]);
            json_patch(&importer, PULSE, patch).await.status
        });
    }
    assert!(writers.join_all().await.iter().all(|status| *status == 200));
    let notes = clinic.importer.get(PULSE).await.json()["note"].clone();
    let mut texts: Vec<_> =
        notes.as_array().unwrap().iter().map(|note| note["text"].as_str().unwrap()).collect();
    texts.sort_unstable();
    assert_eq!(texts, ["0", "1", "2", "3", "4", "5", "6", "7", "8"], "no patch was lost");
}
