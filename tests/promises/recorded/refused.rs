//! Whom a refused request was about: she finds the attempt in her log, and the caller learns nothing by that.

use custodia_audit::Kind;
use custodia_support::{
    client::{Client, FHIR, Reply},
    people::Person,
};
use reqwest::Method;
use serde_json::{Value, json};

use super::named::{about, said};
use crate::clinic::{Clinic, bundle, observation, patient, without_id};

const JSON_PATCH: &str = "application/json-patch+json";

/// An observation of Ann's that is about Bob as well.
fn shared(id: &str) -> Value {
    let mut both = observation(id, "ann", "x");
    both["performer"] = json!([{"reference": "Patient/bob"}]);
    both
}

/// With Bob, whom nobody but the importer knows, and an observation about both.
async fn clinic() -> Clinic {
    let clinic = Clinic::open().await;
    clinic.put(&patient("bob", &[])).await;
    clinic.put(&shared("both")).await;
    clinic.put(&observation("bobs", "bob", "x")).await;
    clinic
}

/// One request, and whom its entries are about, in the order of patients.
async fn ask(
    (clinic, client): (&Clinic, &Client),
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &Value,
) -> (Reply, Vec<Option<String>>) {
    let before = clinic.server.size().await;
    let text = if body.is_null() { String::new() } else { body.to_string() };
    let reply = client.send(method, format!("/fhir/{path}").trim_end_matches('/'), headers, text).await;
    let entries = said(clinic, before).await;
    assert!(entries.iter().all(|(kind, status, _)| (*kind, *status) == (Kind::Refusal, reply.status)));
    (reply, entries.into_iter().map(|(_, _, about)| about).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_request_is_in_the_log_of_whom_it_was_about() {
    let clinic = clinic().await;
    let stranger = clinic.person(Person::Stranger).await;
    let patch = json!([{"op": "remove", "path": "/note"}]);
    let (none, json, patched) =
        (Value::Null, vec![("content-type", FHIR)], vec![("content-type", JSON_PATCH)]);
    let matching = [json.clone(), vec![("if-match", "W/\"1\"")]].concat();
    let put = |id: &str| observation(id, "ann", "y");
    let two = |id: &str| shared(id);
    let not_hers = |id: &str| observation(id, "nobody", "y");
    // A record that is hidden from the stranger, one that is absent in its place, and whom the first is about. What is asked of
    // them is the same, and so are the answers and how many entries they leave.
    let hidden = [("Patient/ann", "ann"), ("Observation/pulse", "ann"), ("Observation/both", "ann")];
    for (record, whom) in hidden.into_iter().chain([("Observation/bobs", "bob")]) {
        let (kind, id) = record.split_once('/').unwrap();
        let mut rows = vec![
            (Method::GET, "", &json, none.clone(), 404),
            (Method::GET, "/_history/1", &json, none.clone(), 404),
            (Method::GET, "/_history", &json, none.clone(), 404),
            (Method::GET, "/_history?_since=2020", &json, none.clone(), 404),
            (Method::GET, "/$meta", &json, none.clone(), 404),
        ];
        if kind == "Patient" {
            rows.push((Method::GET, "/$everything", &json, none.clone(), 404));
            rows.push((Method::GET, "?_format=xml", &json, none.clone(), 406));
            rows.push((Method::DELETE, "", &json, none.clone(), 404));
        } else {
            rows.push((Method::PATCH, "", &patched, patch.clone(), 404));
            rows.push((Method::DELETE, "", &json, none.clone(), 404));
            rows.push((Method::PUT, "", &matching, put(id), 412));
            rows.push((Method::PUT, "", &json, put(id), 403));
            rows.push((Method::PUT, "", &json, two(id), 403));
            rows.push((Method::PUT, "", &json, not_hers(id), 403));
        }
        for (method, below, headers, mut body, status) in rows {
            let case = format!("{method} {record}{below} {body}");
            let here = (&clinic, &stranger);
            let (refused, entries) =
                ask(here, method.clone(), &format!("{record}{below}"), headers, &body).await;
            assert_eq!((refused.status, &entries), (status, &vec![about(whom)]), "{case}");
            // The body of a PUT over what is not there names whom it would be about.
            let named = body.pointer("/subject/reference").and_then(Value::as_str).map(str::to_owned);
            let named = named.filter(|one| status == 403 && one != "Patient/nobody");
            if body.is_object() {
                body["id"] = json!("nothing");
            }
            let (absent, entries) =
                ask(here, method, &format!("{kind}/nothing{below}"), headers, &body).await;
            assert_eq!((absent.status, &entries), (status, &vec![named]), "{case}");
            assert_eq!(refused.body, absent.body, "{case}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_type_that_is_refused_is_in_the_log_of_the_patient_whom_the_address_names() {
    let clinic = clinic().await;
    let (auditor, desk) = (clinic.person(Person::Auditor).await, clinic.person(Person::FrontDesk).await);
    let (none, json) = (Value::Null, [("content-type", FHIR)]);
    for (id, expected) in [("ann", about("ann")), ("nobody", None)] {
        for below in ["", "/_history/1", "/_history", "/$everything", "/$meta"] {
            let path = format!("Patient/{id}{below}");
            let (refused, entries) = ask((&clinic, &auditor), Method::GET, &path, &json, &none).await;
            assert_eq!((refused.status, entries), (403, vec![expected.clone()]), "{path}");
        }
        let (refused, entries) =
            ask((&clinic, &auditor), Method::PUT, &format!("Patient/{id}"), &json, &patient(id, &[])).await;
        assert_eq!((refused.status, entries), (403, vec![expected.clone()]), "{id}");
        for kind in ["batch", "transaction"] {
            let url = format!("Patient/{id}");
            let asked = bundle(kind, &[("GET", &url, None)]);
            let before = clinic.server.size().await;
            let _told = auditor.post("/fhir", &asked).await;
            assert_eq!(said(&clinic, before).await, [(Kind::Refusal, 403, expected.clone())], "{kind}");
        }
        // A condition names her before the gate has refused the type.
        let query = format!("Observation?patient={id}");
        let body = without_id(observation("x", "ann", "x"));
        for method in [Method::PUT, Method::DELETE, Method::PATCH] {
            let (refused, entries) = ask((&clinic, &desk), method, &query, &json, &body).await;
            assert_eq!((refused.status, entries), (403, vec![expected.clone()]), "{query}");
        }
        let condition = format!("patient={id}");
        let headers = [("content-type", FHIR), ("if-none-exist", condition.as_str())];
        let (refused, entries) = ask((&clinic, &desk), Method::POST, "Observation", &headers, &body).await;
        assert_eq!((refused.status, entries), (403, vec![expected.clone()]), "{condition}");
        let asked = bundle("batch", &[("DELETE", &query, None), ("PUT", &query, Some(body))]);
        let before = clinic.server.size().await;
        let _told = desk.post("/fhir", &asked).await.expect(200);
        assert_eq!(said(&clinic, before).await, vec![(Kind::Refusal, 403, expected.clone()); 2], "{query}");
    }
    // Of other types no record is looked at that could say whose it is: existence would show in the time that takes.
    let (refused, entries) = ask((&clinic, &desk), Method::GET, "Observation/pulse", &json, &none).await;
    assert_eq!((refused.status, entries), (403, vec![None]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_not_be_written_is_in_the_log_of_whom_it_would_be_about() {
    let clinic = clinic().await;
    let (stranger, physician) =
        (clinic.person(Person::Stranger).await, clinic.person(Person::Physician).await);
    let json = [("content-type", FHIR)];
    let mut with_nobody = shared("x");
    with_nobody["performer"] = json!([{"reference": "Patient/nobody"}]);
    let rows = [
        (observation("x", "ann", "x"), vec![about("ann")]),
        (observation("x", "nobody", "x"), vec![None]),
        (shared("x"), vec![about("ann"), about("bob")]),
        (with_nobody, vec![None, about("ann")]),
    ];
    for (body, expected) in rows {
        let body = without_id(body);
        let (refused, entries) = ask((&clinic, &stranger), Method::POST, "Observation", &json, &body).await;
        assert_eq!((refused.status, entries), (403, expected), "{body}");
    }
    // A record that is hers and must not become another's: both find the attempt, also by a condition and by a patch.
    let moved = observation("pulse", "bob", "x");
    let patch = json!([{"op": "replace", "path": "/subject/reference", "value": "Patient/bob"}]);
    for (method, path, body) in [
        (Method::PUT, "Observation/pulse", &moved),
        (Method::PUT, "Observation?_id=pulse", &moved),
        (Method::PATCH, "Observation/pulse", &patch),
        (Method::PATCH, "Observation?_id=pulse", &patch),
    ] {
        let media = if method == Method::PATCH { JSON_PATCH } else { FHIR };
        let headers = [("content-type", media)];
        let (refused, entries) = ask((&clinic, &physician), method, path, &headers, body).await;
        assert_eq!((refused.status, entries), (403, vec![about("ann"), about("bob")]), "{path}");
    }
    // Content that is to be treated like a record out of sight.
    let mut answers = Vec::new();
    for (context, expected) in [("pulse", about("ann")), ("both", about("ann")), ("nothing", None)] {
        let context = format!("Observation/{context}");
        let headers = [("content-type", "text/plain"), ("x-security-context", context.as_str())];
        let (refused, entries) =
            ask((&clinic, &stranger), Method::POST, "Binary", &headers, &Value::Null).await;
        assert_eq!((refused.status, entries), (422, vec![expected]), "{context}");
        answers.push(refused.body);
    }
    assert!(answers.windows(2).all(|two| two[0] == two[1]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_that_a_record_gives_cause_for_is_in_the_log_of_its_patients() {
    let clinic = clinic().await;
    let physician = clinic.person(Person::Physician).await;
    let (none, json) = (Value::Null, [("content-type", FHIR)]);
    let (patched, stale) = ([("content-type", JSON_PATCH), ("if-match", "W/\"7\"")], ("if-match", "W/\"7\""));
    let patch = json!([{"op": "add", "path": "/note", "value": []}]);
    let body = observation("pulse", "ann", "x");
    let here = (&clinic, &physician);
    for (method, headers, body) in [
        (Method::PUT, &[json[0], stale], &body),
        (Method::PATCH, &patched, &patch),
        (Method::DELETE, &[json[0], stale], &none),
    ] {
        let (refused, entries) = ask(here, method.clone(), "Observation/pulse", headers, body).await;
        assert_eq!((refused.status, entries), (412, vec![about("ann")]), "{method}");
    }
    let _deleted = clinic.importer.delete("/fhir/Observation/pulse").await.expect(204);
    let _deleted = clinic.importer.delete("/fhir/Observation/both").await.expect(204);
    for (method, path) in [
        (Method::GET, "Observation/pulse"),
        (Method::GET, "Observation/pulse/_history/2"),
        (Method::GET, "Observation/pulse/$meta"),
    ] {
        let (gone, entries) = ask(here, method, path, &json, &none).await;
        assert_eq!((gone.status, entries), (410, vec![about("ann")]), "{path}");
    }
    // Whoever may know of it may know how many it was about.
    let (gone, entries) =
        ask((&clinic, &clinic.importer), Method::GET, "Observation/both", &json, &none).await;
    assert_eq!((gone.status, entries), (410, vec![about("ann"), about("bob")]));
    let (gone, entries) = ask(here, Method::PATCH, "Observation/pulse", &patched[..1], &patch).await;
    assert_eq!((gone.status, entries), (410, vec![about("ann")]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_leaves_as_many_entries_over_what_is_hidden_as_over_what_is_absent() {
    let clinic = clinic().await;
    let stranger = clinic.person(Person::Stranger).await;
    for (searched, id, expected) in [
        (None, "pulse", vec![about("ann")]),
        (None, "nothing", vec![None]),
        (Some("ann"), "pulse", vec![None, about("ann")]),
        (Some("ann"), "bobs", vec![about("ann"), about("bob")]),
        (Some("ann"), "nothing", vec![None, about("ann")]),
    ] {
        let search = searched.map(|id| format!("Observation?patient={id}&code=unheard-of"));
        let read = format!("Observation/{id}");
        let mut asked: Vec<(&str, &str, Option<Value>)> = Vec::new();
        asked.extend(search.as_deref().map(|search| ("GET", search, None)));
        asked.push(("GET", &read, None));
        let transaction = bundle("transaction", &asked);
        let (refused, entries) =
            ask((&clinic, &stranger), Method::POST, "", &[("content-type", FHIR)], &transaction).await;
        assert_eq!((refused.status, entries), (404, expected), "{searched:?} {id}");
    }
    // Of a batch each request has entries of its own.
    let read =
        [("GET", "Observation/pulse", None), ("GET", "Observation/bobs", None), ("GET", "Patient/bob", None)];
    let before = clinic.server.size().await;
    let _told = stranger.post("/fhir", &bundle("batch", &read)).await.expect(200);
    let expected = ["ann", "bob", "bob"].map(|id| (Kind::Refusal, 404, about(id)));
    assert_eq!(said(&clinic, before).await, expected);
}
