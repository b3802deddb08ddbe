//! Binary: content in and out as it is, the JSON around it, and the record it is bound to.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use custodia_audit::Action;
use custodia_support::{
    client::{Client, Reply},
    people::Person,
};
use reqwest::Method;
use serde_json::json;

use crate::clinic::{Clinic, found, observation};

const PNG: [u8; 12] = [0x89, b'P', b'N', b'G', 0, 0xff, 0xfe, b'"', b'\\', b'\n', 0, 1];
const RESTRICTED: &str = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality";

async fn put(client: &Client, id: &str, media: &str, context: Option<&str>, content: &[u8]) -> Reply {
    let mut headers = vec![("content-type", media)];
    headers.extend(context.map(|context| ("x-security-context", context)));
    client.send(Method::PUT, &format!("/fhir/Binary/{id}"), &headers, content.to_vec()).await
}

async fn content(client: &Client, path: &str) -> Reply {
    client.get_with(path, &[("accept", "image/png")]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn content_goes_in_and_comes_out_as_it_is_or_as_json() {
    let clinic = Clinic::open().await;
    let made = put(&clinic.importer, "scan", "image/png", Some("Patient/ann"), &PNG).await.expect(201);
    assert_eq!(made.json()["data"], STANDARD.encode(PNG));
    let raw = content(&clinic.importer, "/fhir/Binary/scan").await.expect(200);
    assert_eq!(raw.body, PNG);
    let headers =
        ["content-type", "etag", "x-security-context", "x-content-type-options", "content-disposition"];
    let told = headers.map(|name| raw.header(name).unwrap().to_owned());
    assert_eq!(told, ["image/png", "W/\"1\"", "Patient/ann", "nosniff", "attachment"]);
    assert_eq!(raw.header("content-security-policy"), Some("default-src 'none'; sandbox"));
    let entry = clinic.server.entry(raw.receipt().unwrap()).await;
    let items: Vec<_> = entry.object.items.iter().map(|item| (item.id.as_str(), item.action)).collect();
    assert_eq!(
        (items, entry.subject.patient.as_deref()),
        (vec![("scan", Action::Released)], Some("Patient/ann"))
    );
    let any = clinic.importer.get_with("/fhir/Binary/scan", &[("accept", "*/*")]).await.expect(200);
    assert_eq!(any.body, PNG);
    let version = content(&clinic.importer, "/fhir/Binary/scan/_history/1").await.expect(200);
    assert_eq!(version.body, PNG);
    let json = clinic.importer.get("/fhir/Binary/scan").await.expect(200).json();
    assert_eq!((json["contentType"].as_str(), &json["data"]), (Some("image/png"), &made.json()["data"]));
    let by_format = content(&clinic.importer, "/fhir/Binary/scan?_format=json").await.expect(200);
    assert_eq!(by_format.json(), json);

    // As JSON in, as content out; a type that is none is not repeated.
    let sent = json!({"resourceType": "Binary", "id": "note", "contentType": "text/html\r\nx: y", "data": "PGI+aGk8L2I+",
        "securityContext": {"reference": "Patient/ann"}});
    let refused = clinic.importer.put("/fhir/Binary/note", &sent).await;
    assert_eq!(refused.status, 422, "a code holds no line break");
    let mut sent = sent;
    sent["contentType"] = json!("hypertext");
    let _put = clinic.importer.put("/fhir/Binary/note", &sent).await.expect(201);
    let raw = content(&clinic.importer, "/fhir/Binary/note").await.expect(200);
    assert_eq!(
        (raw.text().as_str(), raw.header("content-type")),
        ("<b>hi</b>", Some("application/octet-stream"))
    );
    let post = clinic
        .importer
        .send(Method::POST, "/fhir/Binary", &[("content-type", "text/plain; charset=utf-8")], "a text")
        .await
        .expect(201);
    let raw = content(&clinic.importer, &format!("/fhir/Binary/{}", post.id())).await.expect(200);
    assert_eq!(
        (raw.text().as_str(), raw.header("content-type")),
        ("a text", Some("text/plain; charset=utf-8"))
    );
    let _not_raw = clinic
        .importer
        .send(Method::PUT, "/fhir/Patient/ann", &[("content-type", "text/plain")], "x")
        .await
        .expect(415);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_binary_is_for_those_who_may_see_what_it_is_bound_to() {
    let clinic = Clinic::open().await;
    let (physician, stranger) =
        (clinic.person(Person::Physician).await, clinic.person(Person::Stranger).await);
    let nurse = clinic.person(Person::Nurse).await;
    let _own = put(&physician, "scan", "image/png", Some("Observation/pulse"), &PNG).await.expect(201);
    for client in [&physician, &nurse, &clinic.importer] {
        assert_eq!(content(client, "/fhir/Binary/scan").await.expect(200).body, PNG);
        let _json = client.get("/fhir/Binary/scan").await.expect(200);
    }
    let absent = content(&stranger, "/fhir/Binary/never").await.expect(404);
    for path in ["/fhir/Binary/scan", "/fhir/Binary/scan/_history/1", "/fhir/Binary/scan/_history"] {
        let hidden = content(&stranger, path).await;
        assert!(matches!(hidden.status, 404 | 406), "{path}: {}", hidden.status);
        assert_eq!(stranger.get(path).await.expect(404).body, absent.body, "{path}");
    }
    let _desk = clinic.person(Person::FrontDesk).await.get("/fhir/Binary/scan").await.expect(403);
    // It is sealed for the patient, like what it is bound to.
    let owner = clinic.server.database().connect(custodia::store::cluster::Role::Owner).await;
    let sql = "SELECT count(DISTINCT owner) FROM record WHERE tenant = 1";
    assert_eq!(owner.query_one(sql, &[]).await.unwrap().get::<_, i64>(0), 1);

    // What becomes of the record it is bound to becomes of it: restricted to those who care for her all the time, it is
    // hidden from the interface that may read all else.
    let mut labelled = observation("pulse", "ann", "72/min");
    labelled["meta"] = json!({"security": [{"system": RESTRICTED, "code": "R"}]});
    let _restricted = physician.put("/fhir/Observation/pulse", &labelled).await.expect(200);
    for client in [&physician, &nurse] {
        assert_eq!(content(client, "/fhir/Binary/scan").await.expect(200).body, PNG);
    }
    let hidden = content(&clinic.importer, "/fhir/Binary/scan").await.expect(404);
    assert_eq!(hidden.body, absent.body);
    let ways =
        ["/fhir/Binary?_id=scan", "/fhir/Binary/_history", "/fhir/Patient/ann/$everything?_type=Binary"];
    for path in ways {
        let bundle = clinic.importer.get(path).await.expect(200).json();
        assert_eq!(found(&bundle).len(), 0, "{path} is another way out");
        let bundle = physician.get(path).await.expect(200).json();
        assert_eq!(found(&bundle).len(), 1, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_binary_is_bound_to_what_its_writer_may_read_and_to_nothing_else() {
    let clinic = Clinic::open().await;
    let physician = clinic.person(Person::Physician).await;
    clinic.put(&observation("beas", "bea", "x")).await;
    let _first = put(&physician, "first", "image/png", Some("Patient/ann"), &PNG).await.expect(201);
    let hidden = put(&physician, "scan", "image/png", Some("Observation/beas"), &PNG).await.expect(422);
    let absent = put(&physician, "scan", "image/png", Some("Observation/never"), &PNG).await.expect(422);
    assert_eq!(hidden.body, absent.body);
    for context in ["Binary/first", "https://elsewhere.test/fhir/Observation/1", "#contained"] {
        let reply = put(&physician, "scan", "image/png", Some(context), &PNG).await;
        assert_eq!(reply.status, 422, "{context}: {}", reply.text());
    }
    let _not_hers = put(&physician, "scan", "image/png", Some("Patient/bea"), &PNG).await.expect(403);
    let _of_nobody = put(&physician, "scan", "image/png", None, &PNG).await.expect(403);
    let _absent = clinic.importer.get("/fhir/Binary/scan").await.expect(404);
    let whole = clinic.importer.get("/fhir/Patient/ann/$everything?_type=Binary").await.expect(200).json();
    assert_eq!(whole["total"], 1, "what is bound to her is about her");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_routes_that_are_not_fhirs_are_described_to_everybody_and_recorded() {
    let clinic = Clinic::open().await;
    let before = clinic.server.size().await;
    let reply = clinic.server.anybody().get_with("/openapi.json", &[("accept", "*/*")]).await.expect(200);
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let document = reply.json();
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["servers"][0]["url"], "https://records.test");
    assert!(document["paths"]["/audit/entries/{index}/proof"]["get"].is_object());
    assert_eq!(clinic.server.size().await, before + 1);
    assert_eq!(clinic.server.entry(reply.receipt().unwrap()).await.object.interaction, "openapi");
}
