//! create, read, vread, update, delete, history, and the headers they speak with.

use custodia_support::{client::Reply, people::Person, server::TestServer};
use reqwest::Method;
use serde_json::{Value, json};

use crate::clinic::{Clinic, as_sent, found, next, outcome, patient, without_id};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn create_draws_an_id_and_answers_with_location_and_version() {
    let clinic = Clinic::open().await;
    let reply = clinic.importer.post("/fhir/Patient", &without_id(patient("x", &[]))).await.expect(201);
    let id = reply.id();
    assert!(uuid::Uuid::parse_str(&id).is_ok(), "{id}");
    let location = format!("https://records.test/fhir/Patient/{id}/_history/1");
    assert_eq!(reply.header("location"), Some(location.as_str()));
    assert_eq!(reply.header("etag"), Some("W/\"1\""));
    assert_eq!(reply.header("content-type"), Some("application/fhir+json; charset=utf-8"));
    let created = reply.json();
    assert_eq!(created["meta"]["versionId"], "1");
    assert_last_modified(&reply, &created);
    assert_eq!(clinic.importer.get(&location).await.expect(200).json(), created);

    // The id of a create is the server's, whatever the client sends (http.html#create).
    let named = clinic.importer.post("/fhir/Patient", &patient("mine", &[])).await.expect(201);
    assert_ne!(named.id(), "mine");
    let _absent = clinic.importer.get("/fhir/Patient/mine").await.expect(404);
}

/// Last-Modified is meta.lastUpdated to the second.
fn assert_last_modified(reply: &Reply, resource: &Value) {
    let updated = resource["meta"]["lastUpdated"].as_str().unwrap();
    let updated = chrono::DateTime::parse_from_rfc3339(updated).unwrap().to_utc();
    let stated = updated.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    assert_eq!(reply.header("last-modified"), Some(stated.as_str()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_create_or_update_must_not_be_is_refused() {
    let clinic = Clinic::open().await;
    let before = clinic.server.size().await;
    let of_another_type = json!({"resourceType": "Observation"});
    let no_resource = json!({"name": []});
    let invalid = json!({"resourceType": "Patient", "birthDate": "yesterday"});
    let other_id = patient("zoe", &[]);
    let no_id = without_id(patient("x", &[]));
    let cases: [(Method, &str, &Value, u16, &str); 7] = [
        (Method::POST, "/fhir/Patient", &of_another_type, 400, "invalid"),
        (Method::POST, "/fhir/Patient", &no_resource, 422, "required"),
        (Method::POST, "/fhir/Patient", &invalid, 422, "value"),
        (Method::PUT, "/fhir/Patient/ann", &other_id, 400, "invalid"),
        (Method::PUT, "/fhir/Patient/ann", &no_id, 400, "required"),
        (Method::POST, "/fhir/Nonsense", &no_id, 404, "not-found"),
        (Method::PUT, "/fhir/Patient/a_b", &no_id, 404, "not-found"),
    ];
    for (method, path, body, status, code) in &cases {
        let reply = clinic.importer.send(method.clone(), path, &[], body.to_string()).await;
        assert_eq!((reply.status, reply.issue().as_str()), (*status, *code), "{method} {path} {body}");
    }
    assert_eq!(clinic.server.size().await, before + cases.len() as u64);
    assert_eq!(clinic.importer.get("/fhir/Patient/ann").await.json()["meta"]["versionId"], "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_makes_the_next_version_and_the_earlier_ones_stay() {
    let clinic = Clinic::open().await;
    let mut ann = patient("ann", &["Practitioner/grey"]);
    ann["active"] = json!(true);
    let updated = clinic.importer.put("/fhir/Patient/ann", &ann).await.expect(200);
    assert_eq!(updated.header("etag"), Some("W/\"2\""));
    assert_eq!(updated.header("location"), Some("https://records.test/fhir/Patient/ann/_history/2"));
    assert_eq!(as_sent(updated.json()), ann);
    let first = clinic.importer.get("/fhir/Patient/ann/_history/1").await.expect(200);
    assert_eq!(as_sent(first.json()), patient("ann", &["Practitioner/grey"]));
    assert_eq!(first.header("etag"), Some("W/\"1\""));
    assert_eq!(clinic.importer.get("/fhir/Patient/ann").await.expect(200).json(), updated.json());
    let absent = clinic.importer.get("/fhir/Patient/ann/_history/3").await.expect(404);
    let never = clinic.importer.get("/fhir/Patient/nobody").await.expect(404);
    assert_eq!(absent.body, never.body);

    // Update as create: the id is the client's (http.html#upsert).
    let created = clinic.importer.put("/fhir/Patient/own-id", &patient("own-id", &[])).await.expect(201);
    assert_eq!(created.header("location"), Some("https://records.test/fhir/Patient/own-id/_history/1"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_of_what_the_client_holds_is_304() {
    let clinic = Clinic::open().await;
    let path = "/fhir/Patient/ann";
    let full = clinic.importer.get(path).await.expect(200);
    let date = full.header("last-modified").unwrap().to_owned();
    let unchanged: [(&str, &str); 4] = [
        ("if-none-match", "W/\"1\""),
        ("if-none-match", "\"1\""),
        ("if-none-match", "*"),
        ("if-modified-since", &date),
    ];
    for header in unchanged {
        let reply = clinic.importer.get_with(path, &[header]).await.expect(304);
        assert!(reply.body.is_empty(), "{header:?}");
        assert_eq!(reply.header("etag"), Some("W/\"1\""));
        assert!(reply.receipt().is_some(), "what was not sent again is recorded too");
    }
    let changed: [&[(&str, &str)]; 4] = [
        &[("if-none-match", "W/\"2\"")],
        &[("if-modified-since", "Sat, 01 Jan 2000 00:00:00 GMT")],
        &[("if-modified-since", "yesterday")],
        // If-None-Match decides alone when it is there (RFC 9110 §13.2.2).
        &[("if-none-match", "W/\"7\""), ("if-modified-since", &date)],
    ];
    for headers in changed {
        let reply = clinic.importer.get_with(path, headers).await.expect(200);
        assert_eq!(reply.body, full.body, "{headers:?}");
    }
    let malformed = clinic.importer.get_with(path, &[("if-none-match", "one")]).await.expect(400);
    assert_eq!(malformed.issue(), "value");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_or_delete_with_if_match_names_the_current_version_or_fails() {
    let clinic = Clinic::open().await;
    let (path, ann) = ("/fhir/Patient/ann", patient("ann", &["Practitioner/grey"]));
    let put = |tag: &'static str| {
        let (importer, ann) = (clinic.importer.clone(), ann.clone());
        async move { importer.put_with(path, &[("if-match", tag)], &ann).await }
    };
    assert_eq!(put("W/\"1\"").await.expect(200).header("etag"), Some("W/\"2\""));
    for stale in ["W/\"1\"", "W/\"3\"", "\"99\"", "1"] {
        let reply = put(stale).await.expect(412);
        let text = "The record is not in the state that If-Match or If-None-Match asks for. Read it again and retry with its ETag.";
        assert_eq!(reply.json(), outcome("conflict", text));
    }
    for malformed in ["02", "W/2", "W/\"two\"", "*", ""] {
        assert_eq!(put(malformed).await.expect(400).issue(), "value", "{malformed}");
    }
    let tagged = [("if-match", "W/\"1\"")];
    let absent = clinic.importer.put_with("/fhir/Patient/new", &tagged, &patient("new", &[])).await;
    assert_eq!(absent.status, 412, "an update that names a version creates nothing");
    let _absent = clinic.importer.get("/fhir/Patient/new").await.expect(404);
    let stale = clinic.importer.send(Method::DELETE, path, &tagged, "").await;
    assert_eq!(stale.status, 412);
    let current = clinic.importer.send(Method::DELETE, path, &[("if-match", "W/\"2\"")], "").await;
    assert_eq!(current.status, 204);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_with_if_none_match_creates_or_fails() {
    let clinic = Clinic::open().await;
    let only_new = [("if-none-match", "*")];
    let fresh = clinic.importer.put_with("/fhir/Patient/bea", &only_new, &patient("bea", &[])).await;
    assert_eq!(fresh.status, 201);
    let again = clinic.importer.put_with("/fhir/Patient/bea", &only_new, &patient("bea", &[])).await;
    assert_eq!(again.status, 412, "{}", again.text());
    assert_eq!(clinic.importer.get("/fhir/Patient/bea").await.header("etag"), Some("W/\"1\""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_deleted_is_gone_and_can_be_created_again() {
    let clinic = Clinic::open().await;
    let path = "/fhir/Observation/pulse";
    let deleted = clinic.importer.delete(path).await.expect(204);
    assert!(deleted.body.is_empty());
    let gone = clinic.importer.get(path).await.expect(410);
    let text = "The record was deleted. Its history still shows earlier versions.";
    assert_eq!(gone.json(), outcome("deleted", text));
    let _tombstone = clinic.importer.get(&format!("{path}/_history/2")).await.expect(410);
    let _earlier = clinic.importer.get(&format!("{path}/_history/1")).await.expect(200);
    let _twice = clinic.importer.delete(path).await.expect(204);
    let _never = clinic.importer.delete("/fhir/Observation/never").await.expect(404);
    let bundle = clinic.importer.get("/fhir/Observation?patient=ann").await.expect(200).json();
    assert_eq!(bundle["total"], 0, "a deleted record matches no search");

    let again = crate::clinic::observation("pulse", "ann", "80/min");
    let recreated = clinic.importer.put(path, &again).await.expect(201);
    assert_eq!(recreated.header("etag"), Some("W/\"3\""));
    let history = clinic.importer.get(&format!("{path}/_history")).await.expect(200).json();
    let methods: Vec<&str> = history["entry"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["request"]["method"].as_str().unwrap())
        .collect();
    assert_eq!(methods, ["PUT", "DELETE", "PUT"]);
    assert_eq!(found(&history).len(), 2, "the tombstone has no resource");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_history_is_walked_page_by_page_newest_first() {
    let clinic = Clinic::open().await;
    for n in 0..6 {
        let mut ann = patient("ann", &["Practitioner/grey"]);
        ann["multipleBirthInteger"] = json!(n);
        clinic.put(&ann).await;
    }
    let (mut versions, mut page) = (Vec::new(), "/fhir/Patient/ann/_history?_count=3".to_owned());
    loop {
        let bundle = clinic.importer.get(&page).await.expect(200).json();
        assert_eq!(bundle["type"], "history");
        versions
            .extend(found(&bundle).iter().map(|one| one["meta"]["versionId"].as_str().unwrap().to_owned()));
        let Some(next) = next(&bundle) else { break };
        page = next;
    }
    assert_eq!(versions, ["7", "6", "5", "4", "3", "2", "1"]);
    for query in ["_count=x", "_cursor=0", "_cursor=x", "_since=then", "%zz"] {
        let reply = clinic.importer.get(&format!("/fhir/Patient/ann/_history?{query}")).await;
        assert_eq!(reply.status, 400, "{query}: {}", reply.text());
    }
    let _absent = clinic.importer.get("/fhir/Patient/nobody/_history").await.expect(404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prefer_says_what_comes_back_after_a_write() {
    let clinic = Clinic::open().await;
    let ann = patient("ann", &["Practitioner/grey"]);
    let put = |prefer: &'static str| {
        let (importer, ann) = (clinic.importer.clone(), ann.clone());
        async move { importer.put_with("/fhir/Patient/ann", &[("prefer", prefer)], &ann).await.expect(200) }
    };
    let minimal = put("return=minimal").await;
    assert!(minimal.body.is_empty());
    assert_eq!(minimal.header("etag"), Some("W/\"2\""));
    assert_eq!(put("return=representation").await.id(), "ann");
    let outcome = put("return=OperationOutcome").await.json();
    assert_eq!(outcome["resourceType"], "OperationOutcome");
    assert_eq!(outcome["issue"][0]["severity"], "information");
    assert_eq!(put("handling=strict, return=minimal").await.body, b"");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn head_has_the_headers_of_get_and_no_body() {
    let clinic = Clinic::open().await;
    let paths = [
        "/fhir/metadata",
        "/fhir/Patient/ann",
        "/fhir/Patient/ann/_history",
        "/fhir/Patient/ann/_history/1",
        "/fhir/Patient",
    ];
    for path in paths {
        let got = clinic.importer.get(path).await.expect(200);
        let head = clinic.importer.send(Method::HEAD, path, &[], "").await.expect(200);
        assert!(head.body.is_empty(), "{path}");
        for name in ["etag", "last-modified", "content-type"] {
            assert_eq!(head.header(name), got.header(name), "{path} {name}");
        }
        assert!(head.receipt() > got.receipt(), "{path}");
    }
    let absent = clinic.importer.send(Method::HEAD, "/fhir/Patient/nobody", &[], "").await.expect(404);
    assert!(absent.body.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn json_is_the_only_format() {
    let clinic = Clinic::open().await;
    let get = async |path: &str, accept: &str| clinic.importer.get_with(path, &[("accept", accept)]).await;
    for accept in ["application/fhir+json", "application/json", "*/*", "text/html, */*;q=0.1"] {
        let _json = get("/fhir/Patient/ann", accept).await.expect(200);
    }
    for accept in ["application/fhir+xml", "text/turtle", "application/fhir+json;q=0"] {
        let refused = get("/fhir/Patient/ann", accept).await.expect(406);
        assert_eq!(refused.issue(), "not-supported", "{accept}");
    }
    let _by_parameter = get("/fhir/Patient/ann?_format=json", "application/fhir+xml").await.expect(200);
    let _full_name =
        get("/fhir/Patient/ann?_format=application/fhir%2Bjson", "text/turtle").await.expect(200);
    let _xml = get("/fhir/Patient/ann?_format=xml", "application/fhir+json").await.expect(406);
    for media in ["application/fhir+xml", "text/plain", "application/x-www-form-urlencoded"] {
        let headers = [("content-type", media)];
        let body = patient("ann", &[]).to_string();
        let put = clinic.importer.send(Method::PUT, "/fhir/Patient/ann", &headers, body.clone()).await;
        let post = clinic.importer.send(Method::POST, "/fhir/Patient", &headers, body.clone()).await;
        let system = clinic.importer.send(Method::POST, "/fhir", &headers, body).await;
        assert_eq!((put.status, post.status, system.status), (415, 415, 415), "{media}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_capability_statement_states_what_is_served_and_no_more() {
    let server = TestServer::start().await;
    let reply = server.anybody().get("/fhir/metadata").await.expect(200);
    let statement = reply.json();
    assert_eq!(statement["resourceType"], "CapabilityStatement");
    assert_eq!(statement["fhirVersion"], "4.0.1");
    let rest = &statement["rest"][0];
    let types = rest["resource"].as_array().unwrap();
    let patient = types.iter().find(|one| one["type"] == "Patient").unwrap();
    let codes: Vec<&str> =
        patient["interaction"].as_array().unwrap().iter().map(|i| i["code"].as_str().unwrap()).collect();
    assert_eq!(codes.len(), 9, "{codes:?}");
    for code in [
        "read",
        "vread",
        "update",
        "patch",
        "delete",
        "history-instance",
        "history-type",
        "create",
        "search-type",
    ] {
        assert!(codes.contains(&code), "{code}");
    }
    let operations = |kind: &str| -> Vec<String> {
        let of = types.iter().find(|one| one["type"] == kind).unwrap();
        of["operation"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(operations("Patient"), ["validate", "meta", "meta-add", "meta-delete", "everything"]);
    assert_eq!(operations("Observation"), ["validate", "meta", "meta-add", "meta-delete"]);
    assert_eq!(operations("ValueSet")[4..], ["expand", "validate-code"]);
    assert_eq!(operations("CodeSystem")[4..], ["lookup", "validate-code"]);
    assert_eq!(operations("ConceptMap")[4..], ["translate"]);
    let conditional = ["conditionalCreate", "conditionalRead", "conditionalUpdate", "conditionalDelete"];
    let stated = conditional.map(|name| patient[name].clone());
    assert_eq!(stated, [json!(true), json!("full-support"), json!(true), json!("single")]);
    let physician = server.person(Person::Physician).await;
    let _not_stated = physician.send(Method::OPTIONS, "/fhir/Patient/x", &[], "").await.expect(405);
    for path in ["/fhir/$export", "/fhir/Group/x/$everything", "/fhir/Patient/x/$match"] {
        let _not_served = physician.get(path).await.expect(404);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_in_a_resource_comes_back_as_it_was_sent() {
    let clinic = Clinic::open().await;
    let sent = concat!(
        r#"{"resourceType":"Observation","id":"exact","status":"final","#,
        r#""extension":[{"url":"https://e.test/x","valueDecimal":0.10}],"#,
        r#""code":{"text":"größe 身長 \u0009 \ud83d\ude00 \"\\/"},"subject":{"reference":"Patient/ann"},"#,
        r#""_issued":{"id":"a","extension":[{"url":"https://e.test/y","valueCode":"unknown"}]},"#,
        r#""component":[{"code":{"text":"a"},"valueQuantity":{"value":1.50}},"#,
        r#"{"code":{"text":"b"},"valueQuantity":{"value":100}},"#,
        r#"{"code":{"text":"c"},"valueQuantity":{"value":1.0E3}},"#,
        r#"{"code":{"text":"d"},"valueQuantity":{"value":-0.0000001000}},"#,
        r#"{"code":{"text":"e"},"valueQuantity":{"value":12345678901234567.890123456789}}]}"#,
    );
    let put = clinic.importer.send(Method::PUT, "/fhir/Observation/exact", &[], sent).await.expect(201);
    let read = clinic.importer.get("/fhir/Observation/exact").await.expect(200);
    assert_eq!(read.body, put.body);
    let text = read.text();
    // An exponent is written in one way; the digits are the sender's.
    for digits in ["0.10}", "1.50}", ":100}", "1.0e+3}", "-0.0000001000}", "12345678901234567.890123456789}"]
    {
        assert!(text.contains(digits), "{digits} in {text}");
    }
    assert_eq!(as_sent(read.json()), serde_json::from_str::<Value>(sent).unwrap());

    let primitive = json!({
        "resourceType": "Patient", "id": "prim", "birthDate": "1970-03-30",
        "_birthDate": {"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/patient-birthTime",
                                       "valueDateTime": "1970-03-30T12:01:17Z"}]},
        "name": [{"given": ["A", null, "C"], "_given": [null, {"extension": [{"url": "https://e.test/z", "valueBoolean": true}]}, null]}],
    });
    let _put = clinic.importer.put("/fhir/Patient/prim", &primitive).await.expect(201);
    assert_eq!(as_sent(clinic.importer.get("/fhir/Patient/prim").await.json()), primitive);
}
