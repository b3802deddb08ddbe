//! Every mounted route: an anonymous, a denied and an allowed case, and the entries each leaves.

use custodia::http::mount::ROUTES;
use custodia_support::{
    client::{Client, FORM},
    people::{PASSWORD, Person},
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::clinic::{Clinic, bundle, observation};

/// What is tried at a route. `None` stands where a route is open to everybody, and nobody is denied.
struct Row {
    method: &'static str,
    route: &'static str,
    /// What the allowed caller asks for, and the anonymous one.
    path: &'static str,
    body: Body,
    anonymous: u16,
    denied: Option<(Person, &'static str, u16)>,
    allowed: (Person, u16),
}

enum Body {
    None,
    Fhir(fn() -> Value),
    Form(fn() -> String),
    Patch(fn() -> Value),
}

const fn row(method: &'static str, route: &'static str, path: &'static str) -> Row {
    let denied = Some((Person::Stranger, path, 404));
    Row { method, route, path, body: Body::None, anonymous: 401, denied, allowed: (Person::Physician, 200) }
}

const fn open(method: &'static str, route: &'static str) -> Row {
    Row { anonymous: 200, denied: None, ..row(method, route, route) }
}

const fn log(route: &'static str, path: &'static str) -> Row {
    let denied = Some((Person::Physician, path, 403));
    Row { denied, allowed: (Person::Auditor, 200), ..row("GET", route, path) }
}

const EXPORT: &str = "/audit/exports/01890a5d-ac96-774b-bcce-b302099a8057";
const EXPORT_FILE: &str = "/audit/exports/01890a5d-ac96-774b-bcce-b302099a8057/MANIFEST";

const fn missing(method: &'static str, route: &'static str, path: &'static str) -> Row {
    let denied = Some((Person::Physician, path, 403));
    Row { denied, allowed: (Person::Auditor, 404), ..row(method, route, path) }
}

const LOOKUP: &str = "/fhir/CodeSystem/$lookup?system=http://hl7.org/fhir/administrative-gender&code=male";
const VALIDATE_CODE: &str =
    "/fhir/ValueSet/$validate-code?url=http://hl7.org/fhir/ValueSet/administrative-gender&code=male";
const EXPAND: &str = "/fhir/ValueSet/$expand?url=http://hl7.org/fhir/ValueSet/administrative-gender";
const TRANSLATE: &str = "/fhir/ConceptMap/$translate?url=http://hl7.org/fhir/ConceptMap/cm-administrative-gender-v3&system=http://hl7.org/fhir/administrative-gender&code=male";

const REINDEX: &str = "/fhir/SearchParameter/$reindex";

/// An operation on terminology: by GET and by POST of no further Parameters.
fn terms(method: &'static str, route: &'static str, path: &'static str) -> Row {
    let none = || json!({"resourceType": "Parameters"});
    let body = if method == "POST" { Body::Fhir(none) } else { Body::None };
    Row { body, denied: Some((Person::FrontDesk, path, 403)), ..row(method, route, path) }
}

fn no_terms(route: &'static str, path: &'static str) -> Row {
    Row {
        denied: Some((Person::FrontDesk, path, 403)),
        allowed: (Person::Physician, 404),
        ..row("GET", route, path)
    }
}

fn new_observation() -> Value {
    observation("covered", "ann", "x")
}

fn tag() -> Value {
    let meta = json!({"tag": [{"system": "urn:x", "code": "covered"}]});
    json!({"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": meta}]})
}

fn sign_in() -> String {
    format!("grant_type=password&username=grey&password={}", PASSWORD.replace(' ', "+"))
}

/// The table. A route without a row here fails the test, and a row without a route too.
fn rows() -> Vec<Row> {
    let desk = |path, status| Some((Person::FrontDesk, path, status));
    vec![
        open("GET", "/fhir/metadata"),
        open("HEAD", "/fhir/metadata"),
        open("GET", "/fhir/.well-known/smart-configuration"),
        open("GET", "/auth/jwks"),
        open("GET", "/openapi.json"),
        open("HEAD", "/openapi.json"),
        Row {
            body: Body::Form(sign_in),
            anonymous: 200,
            denied: None,
            ..row("POST", "/auth/token", "/auth/token")
        },
        Row {
            body: Body::Fhir(|| bundle("transaction", &[("POST", "Observation", Some(new_observation()))])),
            denied: desk("/fhir", 403),
            ..row("POST", "/fhir", "/fhir")
        },
        Row {
            denied: desk("/fhir?_type=Patient,Observation&_id=ann", 403),
            ..row("GET", "/fhir", "/fhir?_type=Patient,Observation&_id=ann")
        },
        Row {
            denied: desk("/fhir?_type=Observation&_id=pulse", 403),
            ..row("HEAD", "/fhir", "/fhir?_type=Observation&_id=pulse")
        },
        Row {
            body: Body::Form(|| "_type=Observation&_id=pulse".to_owned()),
            denied: desk("/fhir/_search", 403),
            ..row("POST", "/fhir/_search", "/fhir/_search")
        },
        Row {
            denied: desk("/fhir/Observation?patient=ann", 403),
            ..row("GET", "/fhir/<kind>", "/fhir/Observation?patient=ann")
        },
        Row { denied: desk("/fhir/Observation", 403), ..row("HEAD", "/fhir/<kind>", "/fhir/Observation") },
        Row {
            body: Body::Fhir(new_observation),
            denied: Some((Person::Stranger, "/fhir/Observation", 403)),
            allowed: (Person::Physician, 201),
            ..row("POST", "/fhir/<kind>", "/fhir/Observation")
        },
        Row {
            body: Body::Form(|| "patient=ann".to_owned()),
            denied: desk("/fhir/Observation/_search", 403),
            ..row("POST", "/fhir/<kind>/_search", "/fhir/Observation/_search")
        },
        row("GET", "/fhir/<kind>/<id>", "/fhir/Observation/pulse"),
        row("HEAD", "/fhir/<kind>/<id>", "/fhir/Observation/pulse"),
        row("GET", "/fhir/<kind>/<id>/_history", "/fhir/Observation/pulse/_history"),
        row("HEAD", "/fhir/<kind>/<id>/_history", "/fhir/Observation/pulse/_history"),
        Row {
            denied: Some((Person::Auditor, "/fhir/_history", 403)),
            ..row("GET", "/fhir/_history", "/fhir/_history")
        },
        Row {
            denied: Some((Person::Auditor, "/fhir/_history", 403)),
            ..row("HEAD", "/fhir/_history", "/fhir/_history")
        },
        Row {
            denied: desk("/fhir/Observation/_history", 403),
            ..row("GET", "/fhir/<kind>/_history", "/fhir/Observation/_history")
        },
        Row {
            denied: desk("/fhir/Observation/_history", 403),
            ..row("HEAD", "/fhir/<kind>/_history", "/fhir/Observation/_history")
        },
        row("GET", "/fhir/<kind>/<id>/_history/<version>", "/fhir/Observation/pulse/_history/1"),
        row("HEAD", "/fhir/<kind>/<id>/_history/<version>", "/fhir/Observation/pulse/_history/1"),
        Row {
            body: Body::Fhir(new_observation),
            denied: Some((Person::Stranger, "/fhir/Observation/covered", 403)),
            allowed: (Person::Physician, 201),
            ..row("PUT", "/fhir/<kind>/<id>", "/fhir/Observation/covered")
        },
        Row {
            body: Body::Fhir(new_observation),
            denied: desk("/fhir/Observation?_id=covered", 403),
            ..row("PUT", "/fhir/<kind>", "/fhir/Observation?_id=covered")
        },
        Row {
            body: Body::Patch(|| json!([{"op": "replace", "path": "/status", "value": "amended"}])),
            ..row("PATCH", "/fhir/<kind>", "/fhir/Observation?_id=pulse")
        },
        Row {
            denied: desk("/fhir/Observation?_id=covered", 403),
            allowed: (Person::Physician, 204),
            ..row("DELETE", "/fhir/<kind>", "/fhir/Observation?_id=covered")
        },
        Row {
            body: Body::Patch(|| json!([{"op": "replace", "path": "/status", "value": "amended"}])),
            ..row("PATCH", "/fhir/<kind>/<id>", "/fhir/Observation/pulse")
        },
        Row {
            allowed: (Person::Physician, 204),
            ..row("DELETE", "/fhir/<kind>/<id>", "/fhir/Observation/pulse")
        },
        Row {
            body: Body::Fhir(new_observation),
            denied: desk("/fhir/Observation/$validate", 403),
            ..row("POST", "/fhir/<kind>/$validate", "/fhir/Observation/$validate")
        },
        Row {
            body: Body::Fhir(new_observation),
            denied: desk("/fhir/Observation/covered/$validate", 403),
            ..row("POST", "/fhir/<kind>/<id>/$validate", "/fhir/Observation/covered/$validate")
        },
        terms("GET", "/fhir/<kind>/$lookup", LOOKUP),
        terms("POST", "/fhir/<kind>/$lookup", LOOKUP),
        terms("GET", "/fhir/<kind>/$validate-code", VALIDATE_CODE),
        terms("POST", "/fhir/<kind>/$validate-code", VALIDATE_CODE),
        terms("GET", "/fhir/<kind>/$expand", EXPAND),
        terms("POST", "/fhir/<kind>/$expand", EXPAND),
        terms("GET", "/fhir/<kind>/$translate", TRANSLATE),
        terms("POST", "/fhir/<kind>/$translate", TRANSLATE),
        // The question comes first: nothing runs yet.
        Row {
            denied: Some((Person::Physician, REINDEX, 403)),
            allowed: (Person::Administrator, 200),
            ..row("GET", "/fhir/<kind>/$reindex", REINDEX)
        },
        Row {
            denied: Some((Person::Physician, REINDEX, 403)),
            allowed: (Person::Administrator, 202),
            ..row("POST", "/fhir/<kind>/$reindex", REINDEX)
        },
        // There is none of that id; those that are there have tests of their own (`fhir::terminology`).
        no_terms("/fhir/<kind>/<id>/$validate-code", "/fhir/ValueSet/covered/$validate-code?code=x"),
        no_terms("/fhir/<kind>/<id>/$expand", "/fhir/ValueSet/covered/$expand"),
        no_terms("/fhir/<kind>/<id>/$translate", "/fhir/ConceptMap/covered/$translate?code=x&system=y"),
        row("GET", "/fhir/<kind>/<id>/$meta", "/fhir/CareTeam/team/$meta"),
        Row {
            body: Body::Fhir(tag),
            ..row("POST", "/fhir/<kind>/<id>/$meta-add", "/fhir/CareTeam/team/$meta-add")
        },
        Row {
            body: Body::Fhir(tag),
            ..row("POST", "/fhir/<kind>/<id>/$meta-delete", "/fhir/CareTeam/team/$meta-delete")
        },
        row("GET", "/fhir/<kind>/<id>/$everything", "/fhir/Patient/ann/$everything"),
        Row {
            denied: desk("/fhir/Patient/ann/Observation", 403),
            ..row("GET", "/fhir/<kind>/<id>/<type>", "/fhir/Patient/ann/Observation")
        },
        log("/audit/checkpoint", "/audit/checkpoint"),
        log("/audit/entries/<index>", "/audit/entries/0"),
        log("/audit/entries/<index>/proof", "/audit/entries/0/proof"),
        log("/audit/tile/<path..>", "/audit/tile/entries/000.p/1"),
        log("/audit/log/<path..>", "/audit/log/tile/entries/000.p/1"),
        log("/audit/shards/<shard>/<path..>", "/audit/shards/0/tile/entries/000.p/1"),
        Row {
            body: Body::Form(|| "reason=review".to_owned()),
            denied: Some((Person::Physician, "/audit/exports", 403)),
            allowed: (Person::Auditor, 202),
            ..row("POST", "/audit/exports", "/audit/exports")
        },
        log("/audit/disclosures/<patient>", "/audit/disclosures/ann"),
        // There is none of that id: an auditor is told so, anybody else is not let near. Those that are there have
        // tests of their own (`auditors::exports`).
        missing("GET", "/audit/exports/<id>", EXPORT),
        missing("DELETE", "/audit/exports/<id>", EXPORT),
        missing("GET", "/audit/exports/<id>/<name>", EXPORT_FILE),
    ]
}

async fn ask(client: &Client, row: &Row, path: &str) -> custodia_support::client::Reply {
    let method = Method::from_bytes(row.method.as_bytes()).unwrap();
    match &row.body {
        Body::None => client.send(method, path, &[], "").await,
        Body::Fhir(resource) => client.send(method, path, &[], resource().to_string()).await,
        Body::Patch(patch) => {
            let media = [("content-type", "application/json-patch+json")];
            client.send(method, path, &media, patch().to_string()).await
        }
        Body::Form(form) => client.send(method, path, &[("content-type", FORM)], form()).await,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_is_tried_by_an_anonymous_a_denied_and_an_allowed_caller() {
    let rows = rows();
    let covered: Vec<(&str, &str)> = rows.iter().map(|row| (row.method, row.route)).collect();
    for (method, route) in ROUTES {
        assert!(covered.contains(&(method.as_str(), route)), "{method} {route} has no row in this table");
    }
    assert_eq!(covered.len(), ROUTES.len(), "a row of this table has no route");

    let clinic = Clinic::open().await;
    let mut people = std::collections::HashMap::new();
    let callers =
        [Person::Physician, Person::Stranger, Person::FrontDesk, Person::Auditor, Person::Administrator];
    for person in callers {
        people.insert(person, clinic.person(person).await);
    }
    let anybody = clinic.server.anybody();
    for row in &rows {
        let mut tries = vec![("anonymous", &anybody, row.path, row.anonymous)];
        if let Some((person, path, status)) = row.denied {
            tries.push(("denied", &people[&person], path, status));
        }
        tries.push(("allowed", &people[&row.allowed.0], row.path, row.allowed.1));
        for (who, client, path, status) in tries {
            let before = clinic.server.size().await;
            let reply = ask(client, row, path).await;
            assert_eq!(reply.status, status, "{who}: {} {path}: {}", row.method, reply.text());
            assert_eq!(
                clinic.server.size().await,
                before + 1,
                "{who}: {} {path} leaves one entry",
                row.method
            );
            assert_eq!(reply.receipt(), Some(before), "{who}: {} {path}", row.method);
        }
    }
}
