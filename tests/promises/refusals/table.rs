//! A table of bad requests: each a 4xx with an OperationOutcome, one entry, and nothing stored.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::Duration;
use custodia::{clock::Clock, store::cluster::Role};
use custodia_support::{
    client::FORM,
    cluster::TestCluster,
    people::{Partner, Person},
    server::TestServer,
};
use reqwest::Method;
use serde_json::json;

use super::wire::Wire;
use crate::clinic::{Clinic, patient};

/// Rows of everything but the log.
async fn rows(server: &TestServer) -> i64 {
    let owner = server.database().connect(Role::Owner).await;
    let sql = "SELECT (SELECT count(*) FROM record) + (SELECT count(*) FROM record_version)
               + (SELECT count(*) FROM data_key) + (SELECT count(*) FROM relation)
               + (SELECT count(*) FROM record_link) + (SELECT count(*) FROM account)";
    owner.query_one(sql, &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_bodies_are_refused_with_an_entry_and_nothing_stored() {
    let clinic = Clinic::open().await;
    let valid = patient("ann", &[]).to_string();
    let doubled = valid.replacen('{', "{\"id\":\"bea\",", 1);
    let deep =
        format!(r#"{{"resourceType":"Patient","extension":{}{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    let nested = format!(
        r#"{{"resourceType":"Patient","id":"ann","contact":{}1{}}}"#,
        "{\"a\":".repeat(10_000),
        "}".repeat(10_000)
    );
    let large = format!(r#"{{"resourceType":"Patient","id":"ann","x":"{}"}}"#, "a".repeat(16 * 1024 * 1024));
    let lists = |count: usize| {
        format!(r#"{{"resourceType":"Patient","id":"ann","name":[{}{{}}]}}"#, "{},".repeat(count))
    };
    let cases: Vec<(&str, Vec<u8>, u16)> = vec![
        ("no JSON", b"Patient".to_vec(), 400),
        ("nothing", b" ".to_vec(), 400),
        ("half of it", valid.as_bytes()[..20].to_vec(), 400),
        ("two of it", [valid.as_bytes(), valid.as_bytes()].concat(), 400),
        ("a list", b"[]".to_vec(), 400),
        ("a number", b"1".to_vec(), 400),
        ("a byte order mark", [&[0xEF, 0xBB, 0xBF], valid.as_bytes()].concat(), 400),
        ("no UTF-8", [b"{\"resourceType\":\"Patient\",\"id\":\"ann\",\"gender\":\"".as_slice(), &[0xFF, 0xFE], b"\"}"].concat(), 400),
        ("UTF-16", valid.encode_utf16().flat_map(u16::to_le_bytes).collect(), 400),
        ("a NUL byte", valid.replace("F-ann", "F\u{0}ann").into_bytes(), 400),
        ("an escaped NUL", valid.replace("F-ann", "F\\u0000ann").into_bytes(), 400),
        ("half a surrogate pair", valid.replace("F-ann", "\\ud83d").into_bytes(), 400),
        ("a member twice", doubled.into_bytes(), 400),
        ("ten thousand lists deep", deep.into_bytes(), 400),
        ("ten thousand objects deep", nested.into_bytes(), 400),
        ("a number that is none", valid.replacen('{', "{\"multipleBirthInteger\":01,", 1).into_bytes(), 400),
        ("more than 16 MiB", large.into_bytes(), 413),
        ("an unknown element", valid.replacen('{', "{\"colour\":\"red\",", 1).into_bytes(), 422),
        ("a wrong type", valid.replacen('{', "{\"active\":\"yes\",", 1).into_bytes(), 422),
        ("a null", valid.replacen('{', "{\"active\":null,", 1).into_bytes(), 422),
        ("empty objects", lists(3).into_bytes(), 422),
        ("another id", valid.replace("\"ann\"", "\"bea\"").into_bytes(), 400),
        ("another type", valid.replace("\"Patient\"", "\"Observation\"").into_bytes(), 400),
        ("no type of R4", valid.replace("\"Patient\"", "\"Pet\"").into_bytes(), 400),
        ("an id that is a number", valid.replace("\"ann\"", "1").into_bytes(), 400),
        ("script in the narrative", valid.replacen('{', r#"{"text":{"status":"generated","div":"<div xmlns=\"http://www.w3.org/1999/xhtml\"><script>x</script></div>"},"#, 1).into_bytes(), 422),
    ];
    let stored = rows(&clinic.server).await;
    for (what, body, status) in cases {
        let before = clinic.server.size().await;
        let reply = clinic.importer.send(Method::PUT, "/fhir/Patient/ann", &[], body).await;
        assert_eq!(reply.status, status, "{what}: {}", reply.text());
        assert_eq!(reply.json()["resourceType"], "OperationOutcome", "{what}");
        let said = reply.text();
        assert!(!said.contains("F-ann") && !said.contains("yes") && said.len() < 20_000, "{what}: {said}");
        assert_eq!(clinic.server.size().await, before + 1, "{what}");
        assert!(reply.receipt().is_some(), "{what}");
    }
    assert_eq!(rows(&clinic.server).await, stored);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_targets_and_headers_are_refused_with_an_entry() {
    let clinic = Clinic::open().await;
    let physician = clinic.person(Person::Physician).await;
    let long = format!("/fhir/Patient?_id={}", "a".repeat(5_000));
    let many = format!("/fhir/Patient?{}", "_id=a&".repeat(101));
    type Case<'a> = (Method, &'a str, &'a [(&'a str, &'a str)], u16);
    let cases: [Case<'_>; 14] = [
        (Method::GET, "/fhir/Patient?_id=%zz", &[], 400),
        (Method::GET, "/fhir/Patient?_id=%ff", &[], 400),
        (Method::GET, "/fhir/Patient?_id=a%00b", &[], 400),
        (Method::GET, &long, &[], 400),
        (Method::GET, &many, &[], 400),
        (Method::GET, "/fhir/Patient/%2e%2e/x", &[], 404),
        (Method::GET, "/fhir/Patient/a%00b", &[], 404),
        (Method::GET, "/fhir/Patient/ann/_history/99999999999999999999", &[], 404),
        (Method::GET, "/fhir/patient/ann", &[], 404),
        (Method::GET, "/audit/entries/18446744073709551616", &[], 404),
        (Method::TRACE, "/fhir/Patient", &[], 405),
        (Method::OPTIONS, "/fhir/Patient", &[], 405),
        (Method::POST, "/fhir/Patient/_search", &[("content-type", FORM), ("accept", "text/html")], 406),
        (Method::POST, "/fhir/Patient", &[("if-none-exist", "_id=1")], 415),
    ];
    for (method, path, headers, status) in cases {
        let before = clinic.server.size().await;
        let reply = physician.send(method.clone(), path, headers, "").await;
        assert_eq!(reply.status, status, "{method} {path}: {}", reply.text());
        assert_eq!(reply.json()["resourceType"], "OperationOutcome", "{path}");
        assert_eq!(clinic.server.size().await, before + 1, "{path}");
    }
    let body = json!({"resourceType": "Patient"}).to_string();
    for (condition, code) in
        [("colour=red", "not-supported"), ("", "required"), ("_count=1", "required"), ("%zz", "invalid")]
    {
        let exists = [("if-none-exist", condition)];
        let reply = physician.send(Method::POST, "/fhir/Patient", &exists, body.clone()).await.expect(400);
        assert_eq!(reply.issue(), code, "{condition}: a condition is never dropped");
    }
    let exists = [("if-none-exist", "_id=1")];
    let reply = physician.send(Method::PUT, "/fhir/Patient/1", &exists, body).await.expect(400);
    assert_eq!(reply.issue(), "invalid");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_that_are_not_ours_are_refused_and_tell_nothing() {
    let clock = Clock::fixed("2026-06-01T12:00:00Z".parse().unwrap());
    let server = TestServer::with(TestCluster::quick().await, clock.clone(), |_| {}).await;
    let form = format!(
        "grant_type=password&username=grey&password={}",
        custodia_support::people::PASSWORD.replace(' ', "+")
    );
    let token = server.anybody().form("/auth/token", &form).await.expect(200).json()["access_token"]
        .as_str()
        .unwrap()
        .to_owned();
    let parts: Vec<&str> = token.split('.').collect();
    let encode = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header: serde_json::Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[0]).unwrap()).unwrap();
    let mut claims: serde_json::Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
    let mut none = header.clone();
    none["alg"] = json!("none");
    claims["urn:custodia:caller"]["roles"] = json!(["auditor"]);
    let forged = server.program().sign(&header, &claims);
    let mut flipped = token.clone().into_bytes();
    let last = flipped.len() - 10;
    flipped[last] = if flipped[last] == b'A' { b'B' } else { b'A' };
    let cases = [
        ("nothing", String::new()),
        ("a word", "Bearer".to_owned()),
        ("a user and password", "Basic Z3JleTpncmV5".to_owned()),
        ("garbage", "Bearer aaa.bbb.ccc".to_owned()),
        ("too long", format!("Bearer {}", "a".repeat(10_000))),
        ("one letter changed", format!("Bearer {}", String::from_utf8(flipped).unwrap())),
        ("other claims", format!("Bearer {}.{}.{}", parts[0], encode(&claims), parts[2])),
        ("no algorithm", format!("Bearer {}.{}.", encode(&none), parts[1])),
        ("no algorithm, its signature", format!("Bearer {}.{}.{}", encode(&none), parts[1], parts[2])),
        ("another key", format!("Bearer {forged}")),
        ("a part less", format!("Bearer {}.{}", parts[0], parts[1])),
    ];
    let good = [("authorization", format!("Bearer {token}"))];
    let good: Vec<(&str, &str)> = good.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let _good = server.anybody().get_with("/fhir/Patient/x", &good).await.expect(404);
    for (what, authorization) in &cases {
        let before = server.size().await;
        let headers = [("authorization", authorization.as_str())];
        let reply = server.anybody().get_with("/fhir/Patient/x", &headers).await;
        assert_eq!((reply.status, reply.issue().as_str()), (401, "login"), "{what}");
        assert_eq!(server.size().await, before + 1, "{what}");
    }
    clock.advance(Duration::minutes(15));
    let expired = server.anybody().get_with("/fhir/Patient/x", &good).await.expect(401);
    assert!(expired.text().contains("has expired"));
    // At the partners' door a certificate speaks, and a token does not replace it.
    let unknown = server.unregistered().bearing(&token).get("/fhir/Patient/x").await;
    assert_eq!(unknown.status, 401);
    let partner = server.partner(Partner::Registry).bearing("nonsense").get("/fhir/Patient/x").await;
    assert_eq!(partner.status, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sign_in_forms_that_are_wrong_get_an_oauth_error_and_an_entry() {
    let server = TestServer::start().await;
    let cases = [
        ("", "invalid_request"),
        ("grant_type=magic", "unsupported_grant_type"),
        ("grant_type=password", "invalid_request"),
        ("grant_type=password&username=grey", "invalid_request"),
        ("grant_type=password&username=grey&username=cold&password=x", "invalid_request"),
        ("grant_type=password&username=%ff&password=x", "invalid_request"),
        ("grant_type=password&username=grey&password=x&scope=nonsense", "invalid_scope"),
        ("grant_type=client_credentials", "invalid_request"),
        ("grant_type=password&username=grey&password=wrong", "invalid_grant"),
        ("grant_type=password&username=GREY%27+OR+1=1&password=wrong", "invalid_grant"),
    ];
    for (form, error) in cases {
        let before = server.size().await;
        let reply = server.anybody().form("/auth/token", form).await;
        assert_eq!((reply.status, reply.json()["error"].as_str()), (400, Some(error)), "{form}");
        assert_eq!(reply.header("cache-control"), Some("no-store"), "{form}");
        assert_eq!(server.size().await, before + 1, "{form}");
    }
    let assertion = "grant_type=client_credentials&client_assertion=a.b.c&client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    let refused = server.anybody().form("/auth/token", assertion).await.expect(401);
    assert_eq!(refused.json()["error"], "invalid_client");
    let json = server
        .anybody()
        .send(Method::POST, "/auth/token", &[("content-type", "application/json")], "{}")
        .await;
    assert_eq!(json.status, 415);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_on_the_wire_is_refused_with_an_entry() {
    let server = TestServer::with(TestCluster::quick().await, Clock::machine(), |config| {
        config.limits.body_ms = 500;
    })
    .await;
    let token = {
        let form = format!(
            "grant_type=password&username=grey&password={}",
            custodia_support::people::PASSWORD.replace(' ', "+")
        );
        server.anybody().form("/auth/token", &form).await.expect(200).json()["access_token"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let head = |line: &str, more: &str| {
        format!("{line} HTTP/1.1\r\nHost: records.test\r\nAuthorization: Bearer {token}\r\n{more}\r\n")
            .into_bytes()
    };
    let slow =
        head("PUT /fhir/Patient/ann", "Content-Type: application/fhir+json\r\nContent-Length: 100\r\n");
    let large = head(
        "PUT /fhir/Patient/ann",
        "Content-Type: application/fhir+json\r\nContent-Length: 16777217\r\nExpect: 100-continue\r\n",
    );
    let mut chunked = head(
        "PUT /fhir/Patient/ann",
        "Content-Type: application/fhir+json\r\nTransfer-Encoding: chunked\r\n",
    );
    chunked.extend_from_slice(b"zz\r\n");
    let mut non_utf8 = format!(
        "GET /fhir/Patient/ann HTTP/1.1\r\nHost: records.test\r\nAuthorization: Bearer {token}\r\nX-A: "
    )
    .into_bytes();
    non_utf8.extend_from_slice(&[0xFF, 0xFE]);
    non_utf8.extend_from_slice(b"\r\n\r\n");
    let cases: Vec<(&str, Vec<u8>, u16)> = vec![
        ("a body that stays away", [slow, b"{".to_vec()].concat(), 408),
        ("a length over the bound", large, 413),
        ("chunks that are none", chunked, 400),
        ("a header that is no UTF-8", non_utf8, 400),
        ("a method nobody serves", head("BREW /fhir/Patient/ann", ""), 405),
        ("an absolute target", head("GET https://records.test/fhir/Patient/ann", ""), 400),
        ("credentials twice", head("GET /fhir/Patient/ann", "Authorization: Bearer x\r\n"), 400),
        ("two hosts", head("GET /fhir/Patient/ann", "Host: other.test\r\n"), 400),
    ];
    for (what, bytes, status) in cases {
        let before = server.size().await;
        let mut wire = Wire::connect(&server).await;
        wire.send(&bytes).await;
        let heard = wire.hear(false).await.unwrap_or_else(|| panic!("{what}: no answer"));
        assert_eq!(heard.status, status, "{what}: {}", heard.head);
        let body: serde_json::Value = serde_json::from_slice(&heard.body).unwrap();
        assert_eq!(body["resourceType"], "OperationOutcome", "{what}");
        assert!(heard.header("custodia-receipt").is_some(), "{what}");
        assert_eq!(server.size().await, before + 1, "{what}");
    }
}
