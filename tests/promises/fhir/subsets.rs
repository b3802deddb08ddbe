//! `_summary`, `_elements` and `_pretty`: less of a resource, or the same in more lines.

use serde_json::Value;

use crate::clinic::{Clinic, bundle, found};

const SENT: &str = concat!(
    r#"{"resourceType":"Observation","id":"full","text":{"status":"generated","#,
    r#""div":"<div xmlns=\"http://www.w3.org/1999/xhtml\">x</div>"},"status":"final","code":{"text":"a \"b\" {c}"},"#,
    r#""subject":{"reference":"Patient/ann"},"valueQuantity":{"value":1.50},"note":[{"text":"n"}]}"#
);

async fn opened() -> Clinic {
    let clinic = Clinic::open().await;
    let path = "/fhir/Observation/full";
    let _put = clinic.importer.send(reqwest::Method::PUT, path, &[], SENT).await.expect(201);
    clinic
}

fn members(resource: &Value) -> Vec<&str> {
    resource.as_object().unwrap().keys().map(String::as_str).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_or_history_gives_the_part_that_is_asked_for_and_says_so() {
    let clinic = opened().await;
    let cases: [(&str, &[&str]); 5] = [
        ("_summary=true", &["resourceType", "id", "meta", "status", "code", "subject", "valueQuantity"]),
        ("_summary=text", &["resourceType", "id", "meta", "text", "status", "code"]),
        (
            "_summary=data",
            &["resourceType", "id", "meta", "status", "code", "subject", "valueQuantity", "note"],
        ),
        (
            "_elements=note,Observation.subject",
            &["resourceType", "id", "meta", "status", "code", "subject", "note"],
        ),
        ("_elements=value", &["resourceType", "id", "meta", "status", "code", "valueQuantity"]),
    ];
    for (query, expected) in cases {
        let read = clinic.importer.get(&format!("/fhir/Observation/full?{query}")).await.expect(200);
        assert_eq!(read.header("etag"), Some("W/\"1\""));
        let vread =
            clinic.importer.get(&format!("/fhir/Observation/full/_history/1?{query}")).await.expect(200);
        assert_eq!(vread.body, read.body, "{query}");
        let history =
            clinic.importer.get(&format!("/fhir/Observation/full/_history?{query}")).await.expect(200);
        let history = history.json();
        assert!(history["link"][0]["url"].as_str().unwrap().contains(query.split('=').next().unwrap()));
        let search =
            clinic.importer.get(&format!("/fhir/Observation?_id=full&{query}")).await.expect(200).json();
        let form =
            clinic.importer.form("/fhir/Observation/_search", &format!("_id=full&{query}")).await.expect(200);
        let request = [("GET", format!("Observation?_id=full&{query}"), None)];
        let request: Vec<_> = request.iter().map(|(m, url, r)| (*m, url.as_str(), r.clone())).collect();
        let batch = clinic.importer.post("/fhir", &bundle("batch", &request)).await.expect(200).json();
        let transaction =
            clinic.importer.post("/fhir", &bundle("transaction", &request)).await.expect(200).json();
        let several =
            [history, search, form.json(), found(&batch)[0].clone(), found(&transaction)[0].clone()];
        let several = several.iter().map(|bundle| found(bundle)[0].clone());
        for resource in several.chain([read.json()]) {
            assert_eq!(members(&resource), expected, "{query}");
            assert_eq!(resource["meta"]["tag"][0]["code"], "SUBSETTED", "{query}");
        }
    }
    let whole = clinic.importer.get("/fhir/Observation/full?_summary=false").await.expect(200);
    assert_eq!(whole.body, clinic.importer.get("/fhir/Observation/full").await.body);
    assert_eq!(whole.json()["meta"].get("tag"), None);
    for query in ["_summary=some", "_elements=", "_elements=a.b.c", "_summary=true&_elements=code"] {
        let reply = clinic.importer.get(&format!("/fhir/Observation/full?{query}")).await.expect(400);
        assert_eq!(reply.issue(), "value", "{query}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pretty_is_the_same_json_in_lines() {
    let clinic = opened().await;
    for path in
        ["/fhir/Observation/full", "/fhir/metadata", "/fhir/Observation?patient=ann", "/fhir/Observation/no"]
    {
        let plain = clinic.importer.get(path).await;
        let separator = if path.contains('?') { '&' } else { '?' };
        let pretty = clinic.importer.get(&format!("{path}{separator}_pretty=true")).await;
        assert_eq!(pretty.status, plain.status);
        assert!(pretty.text().contains("\n  \"resourceType\": "), "{}", pretty.text());
        if !path.contains('?') && !path.contains("metadata") {
            assert_eq!(pretty.json(), plain.json(), "{path}");
        }
    }
    let text = clinic.importer.get("/fhir/Observation/full?_pretty=true").await.text();
    assert!(text.contains("\"value\": 1.50\n"), "digits stay: {text}");
    assert!(text.contains(r#""text": "a \"b\" {c}""#), "texts stay: {text}");
    assert!(!clinic.importer.get("/fhir/Observation/full?_pretty=false").await.text().contains('\n'));
}
