//! Conditional create, update, patch and delete, alone and in Bundles: one match, none, more, and hidden ones.

use custodia_audit::Action;
use custodia_support::{
    client::{Client, Reply},
    people::Person,
};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::clinic::{Clinic, bundle, found, observation, patient, without_id};

const ONE: &str = "_id=pulse&patient=ann";
const NONE: &str = "_id=nothing&patient=ann";
const MANY: &str = "patient=ann";

async fn send(client: &Client, method: &str, query: &str, body: Option<Value>) -> Reply {
    let media = if method == "PATCH" { "application/json-patch+json" } else { "application/fhir+json" };
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    client.send(method, &format!("/fhir/Observation?{query}"), &[("content-type", media)], body).await
}

async fn create(client: &Client, condition: &str, resource: &Value) -> Reply {
    let headers = [("if-none-exist", condition)];
    let path = format!("/fhir/{}", resource["resourceType"].as_str().unwrap());
    client.send(Method::POST, &path, &headers, resource.to_string()).await
}

fn new() -> Value {
    without_id(observation("x", "ann", "new"))
}

fn amend() -> Value {
    json!([{"op": "replace", "path": "/status", "value": "amended"}])
}

/// Observations of Ann's that there are.
async fn count(clinic: &Clinic) -> u64 {
    let bundle = clinic.importer.get("/fhir/Observation?patient=ann&_summary=count").await.expect(200).json();
    bundle["total"].as_u64().unwrap()
}

async fn items(clinic: &Clinic, reply: &Reply) -> Vec<(String, u32, Action)> {
    let entry = clinic.server.entry(reply.receipt().unwrap()).await;
    entry.object.items.into_iter().map(|item| (item.id, item.version, item.action)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conditional_create_creates_only_what_is_not_there() {
    let clinic = Clinic::open().await;
    clinic.put(&observation("second", "ann", "b")).await;
    let existing = create(&clinic.importer, ONE, &new()).await.expect(200);
    assert_eq!(existing.header("etag"), Some("W/\"1\""));
    assert_eq!(existing.header("location"), Some("https://records.test/fhir/Observation/pulse/_history/1"));
    assert_eq!(existing.id(), "pulse");
    assert_eq!(items(&clinic, &existing).await, [("pulse".to_owned(), 1, Action::Released)]);
    assert_eq!(count(&clinic).await, 2);
    let many = create(&clinic.importer, MANY, &new()).await.expect(412);
    assert_eq!(many.issue(), "multiple-matches");
    assert_eq!(items(&clinic, &many).await.len(), 2, "what stood in the way is named");
    let made = create(&clinic.importer, NONE, &new()).await.expect(201);
    assert_eq!(made.header("etag"), Some("W/\"1\""));
    assert_eq!(count(&clinic).await, 3);
    let asked = clinic.server.entry(made.receipt().unwrap()).await.detail.query.unwrap();
    assert_eq!(asked, "POST /fhir/Observation?_id=nothing&patient=ann", "the log has the condition");
    let minimal = [("if-none-exist", ONE), ("prefer", "return=minimal")];
    let reply = clinic.importer.send(Method::POST, "/fhir/Observation", &minimal, new().to_string()).await;
    assert_eq!((reply.status, reply.body.len()), (200, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_condition_in_the_url_of_a_create_is_a_condition() {
    let clinic = Clinic::open().await;
    let post = async |query: &str, headers: &[(&str, &str)]| {
        let path = format!("/fhir/Observation?{query}");
        clinic.importer.send(Method::POST, &path, headers, new().to_string()).await
    };
    assert_eq!(post(ONE, &[]).await.expect(200).id(), "pulse");
    assert_eq!(post(&format!("_format=json&{ONE}&_pretty=true"), &[]).await.expect(200).id(), "pulse");
    let _made = post(NONE, &[]).await.expect(201);
    let _form_alone = post("_format=json&_pretty=true&", &[]).await.expect(201);
    assert_eq!(count(&clinic).await, 3);
    let both = post(NONE, &[("if-none-exist", NONE)]).await.expect(400);
    assert_eq!(
        both.json()["issue"][0]["details"]["text"],
        "If-None-Exist and parameters in the URL: a create has one condition."
    );
    let unknown = post("colour=red", &[]).await.expect(400);
    assert_eq!(unknown.issue(), "not-supported");
    assert_eq!(count(&clinic).await, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conditional_update_updates_the_one_match_or_creates() {
    let clinic = Clinic::open().await;
    let updated = send(&clinic.importer, "PUT", ONE, Some(new())).await.expect(200);
    assert_eq!((updated.id().as_str(), updated.header("etag")), ("pulse", Some("W/\"2\"")));
    let named = items(&clinic, &updated).await;
    assert_eq!(named, [("pulse".to_owned(), 2, Action::Written), ("pulse".to_owned(), 1, Action::Released)]);
    let _same_id =
        send(&clinic.importer, "PUT", ONE, Some(observation("pulse", "ann", "c"))).await.expect(200);
    let other_id =
        send(&clinic.importer, "PUT", ONE, Some(observation("other", "ann", "c"))).await.expect(400);
    assert_eq!(other_id.issue(), "invalid");

    let created = send(&clinic.importer, "PUT", NONE, Some(new())).await.expect(201);
    assert!(uuid::Uuid::parse_str(&created.id()).is_ok(), "the id is the server's");
    let own = send(&clinic.importer, "PUT", NONE, Some(observation("own", "ann", "c"))).await.expect(201);
    assert_eq!(own.id(), "own");
    let taken = send(&clinic.importer, "PUT", NONE, Some(observation("own", "ann", "d"))).await.expect(409);
    assert_eq!(taken.issue(), "conflict");
    assert_eq!(clinic.importer.get("/fhir/Observation/own").await.header("etag"), Some("W/\"1\""));
    let many = send(&clinic.importer, "PUT", MANY, Some(new())).await.expect(412);
    assert_eq!(many.issue(), "multiple-matches");
    for query in ["", "_count=3", "colour=red"] {
        assert_eq!(send(&clinic.importer, "PUT", query, Some(new())).await.status, 400, "{query}");
        assert_eq!(send(&clinic.importer, "DELETE", query, None).await.status, 400, "{query}");
        assert_eq!(send(&clinic.importer, "PATCH", query, Some(amend())).await.status, 400, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conditional_patch_or_delete_needs_one_match() {
    let clinic = Clinic::open().await;
    clinic.put(&observation("second", "ann", "b")).await;
    assert_eq!(
        send(&clinic.importer, "PATCH", ONE, Some(amend())).await.expect(200).json()["status"],
        "amended"
    );
    let _none = send(&clinic.importer, "PATCH", NONE, Some(amend())).await.expect(404);
    let _many = send(&clinic.importer, "PATCH", MANY, Some(amend())).await.expect(412);
    let _many = send(&clinic.importer, "DELETE", MANY, None).await.expect(412);
    let _none = send(&clinic.importer, "DELETE", NONE, None).await.expect(204);
    assert_eq!(count(&clinic).await, 2);
    let deleted = send(&clinic.importer, "DELETE", ONE, None).await.expect(204);
    let named = items(&clinic, &deleted).await;
    assert_eq!(named, [("pulse".to_owned(), 3, Action::Deleted), ("pulse".to_owned(), 2, Action::Released)]);
    let _gone = clinic.importer.get("/fhir/Observation/pulse").await.expect(410);
    let _again = send(&clinic.importer, "DELETE", ONE, None).await.expect(204);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_conditional_creates_of_the_same_at_once_one_creates() {
    let clinic = Clinic::open().await;
    for round in 0..4 {
        let mut writers = JoinSet::new();
        for n in 0..8 {
            let importer = clinic.importer.clone();
            writers.spawn(async move {
                // The same condition, in two spellings.
                let condition = match n % 2 {
                    0 => format!("patient=new-{round}"),
                    _ => format!("patient=Patient%2Fnew-{round}"),
                };
                let condition = if round < 2 { format!("patient=new-{round}") } else { condition };
                let sent = without_id(observation("x", &format!("new-{round}"), &format!("{n}")));
                create(&importer, &condition, &sent).await.status
            });
        }
        let mut statuses = writers.join_all().await;
        statuses.sort_unstable();
        let bundle = clinic.importer.get(&format!("/fhir/Observation?patient=new-{round}")).await.json();
        if round < 2 {
            assert_eq!(statuses, [200, 200, 200, 200, 200, 200, 200, 201]);
            assert_eq!(bundle["total"], 1);
        } else {
            // Spelt differently they are different conditions; each is created at most once.
            assert!(bundle["total"].as_u64().unwrap() <= 2, "{statuses:?}");
        }
    }
    // Conditional updates of what is not there: one creates, and the others update that.
    let mut writers = JoinSet::new();
    for n in 0..8 {
        let importer = clinic.importer.clone();
        writers.spawn(async move {
            let sent = without_id(observation("x", "newest", &format!("{n}")));
            send(&importer, "PUT", "patient=newest", Some(sent)).await.status
        });
    }
    let mut statuses = writers.join_all().await;
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 200, 200, 200, 200, 200, 201]);
    let bundle = clinic.importer.get("/fhir/Observation?patient=newest").await.json();
    assert_eq!(
        (bundle["total"].as_u64(), found(&bundle)[0]["meta"]["versionId"].as_str()),
        (Some(1), Some("8"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_under_the_same_condition_create_once_and_refer_to_it() {
    let clinic = Clinic::open().await;
    let mut writers = JoinSet::new();
    for n in 0..8 {
        let importer = clinic.importer.clone();
        writers.spawn(async move {
            let name = "urn:uuid:0a6b9f3e-6a3e-4d6b-9d3c-2f1f3c1f6a01";
            let mut of_it = without_id(observation("x", "ann", &format!("{n}")));
            of_it["hasMember"] = json!([{"reference": name}]);
            let sent = json!({"resourceType": "Bundle", "type": "transaction", "entry": [
                {"resource": of_it, "request": {"method": "POST", "url": "Observation"}},
                {"fullUrl": name, "resource": without_id(observation("x", "panel", "panel")),
                 "request": {"method": "POST", "url": "Observation", "ifNoneExist": "patient=panel"}},
            ]});
            let answer = importer.post("/fhir", &sent).await.expect(200).json();
            let line = |n: usize| answer["entry"][n]["response"].clone();
            (line(1)["status"].clone(), line(1)["location"].clone(), line(0)["location"].clone())
        });
    }
    let answers = writers.join_all().await;
    let created = answers.iter().filter(|(status, _, _)| status == "201 Created").count();
    assert_eq!(created, 1);
    let panels = clinic.importer.get("/fhir/Observation?patient=panel").await.json();
    assert_eq!(panels["total"], 1);
    let panel = format!("Observation/{}", found(&panels)[0]["id"].as_str().unwrap());
    for (_, location, member) in &answers {
        assert_eq!(location, &json!(format!("https://records.test/fhir/{panel}/_history/1")));
        let member = clinic.importer.get(member.as_str().unwrap()).await.expect(200).json();
        assert_eq!(member["hasMember"][0]["reference"], panel, "what lost the race refers to what won it");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conditional_references_stand_for_what_they_find() {
    let clinic = Clinic::open().await;
    let mut sent = without_id(observation("x", "?", "x"));
    let transaction = |subject: &str, resource: &mut Value| {
        resource["subject"] = json!({"reference": subject});
        bundle("transaction", &[("POST", "Observation", Some(resource.clone()))])
    };
    let reply = clinic.importer.post("/fhir", &transaction("Patient?_id=ann", &mut sent)).await.expect(200);
    let location = reply.json()["entry"][0]["response"]["location"].as_str().unwrap().to_owned();
    assert_eq!(clinic.importer.get(&location).await.json()["subject"]["reference"], "Patient/ann");
    let named = items(&clinic, &reply).await;
    assert!(named.contains(&("ann".to_owned(), 1, Action::Released)), "what was found is named: {named:?}");
    let before = count(&clinic).await;
    let none = clinic.importer.post("/fhir", &transaction("Patient?_id=nobody", &mut sent)).await.expect(400);
    assert_eq!(none.issue(), "not-found");
    clinic.put(&patient("bea", &[])).await;
    let many = transaction("Patient?_id=ann,bea", &mut sent);
    assert_eq!(clinic.importer.post("/fhir", &many).await.expect(412).issue(), "multiple-matches");
    // To the stranger Ann is not there.
    let stranger = clinic.person(Person::Stranger).await;
    let hidden = stranger.post("/fhir", &transaction("Patient?_id=ann", &mut sent)).await.expect(400);
    assert_eq!(hidden.body, none.body);
    assert_eq!(count(&clinic).await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conditions_stand_in_batches_and_transactions() {
    let clinic = Clinic::open().await;
    clinic.put(&observation("second", "ann", "b")).await;
    let line = |method: &str, url: &str, resource: Option<Value>| {
        let mut entry = json!({"request": {"method": method, "url": url}});
        if let Some(resource) = resource {
            entry["resource"] = resource;
        }
        entry
    };
    let mut create = line("POST", "Observation", Some(new()));
    create["request"]["ifNoneExist"] = json!(ONE);
    let patch = json!({"resourceType": "Parameters", "parameter": [{"name": "operation", "part": [
        {"name": "type", "valueCode": "replace"}, {"name": "path", "valueString": "Observation.status"},
        {"name": "value", "valueCode": "amended"}]}]});
    let entries = vec![
        create,
        line("PUT", "Observation?_id=third", Some(observation("third", "ann", "c"))),
        line("PATCH", "Observation?_id=second", Some(patch)),
        line("DELETE", "Observation?_id=nothing", None),
    ];
    let statuses = |answer: &Value| -> Vec<String> {
        let of = |entry: &Value| entry["response"]["status"].as_str().unwrap()[..3].to_owned();
        answer["entry"].as_array().unwrap().iter().map(of).collect()
    };
    let sent =
        |kind: &str, entries: &[Value]| json!({"resourceType": "Bundle", "type": kind, "entry": entries});
    let answer = clinic.importer.post("/fhir", &sent("transaction", &entries)).await.expect(200).json();
    assert_eq!(statuses(&answer), ["200", "201", "200", "204"]);
    assert_eq!(clinic.importer.get("/fhir/Observation/second").await.json()["status"], "amended");
    let mut more = entries.clone();
    more.push(line("DELETE", "Observation?patient=ann", None));
    let refused = clinic.importer.post("/fhir", &sent("transaction", &more)).await.expect(412);
    assert_eq!(refused.json()["issue"][0]["expression"], json!(["Bundle.entry[4]"]));
    assert_eq!(clinic.importer.get("/fhir/Observation/second").await.header("etag"), Some("W/\"2\""));
    let answer = clinic.importer.post("/fhir", &sent("batch", &more)).await.expect(200).json();
    assert_eq!(statuses(&answer), ["200", "200", "200", "204", "412"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_condition_tells_nothing_of_what_the_caller_may_not_see() {
    let clinic = Clinic::open().await;
    let stranger = clinic.person(Person::Stranger).await;
    // Of somebody else's patient and of nobody: the same answers, for every conditional request.
    let answers = async |id: &str| {
        let query = format!("_id={id}");
        let mut told = Vec::new();
        for (method, body) in [("PUT", Some(new())), ("PATCH", Some(amend())), ("DELETE", None)] {
            let reply = send(&stranger, method, &query, body).await;
            told.push((reply.status, reply.text()));
        }
        let reply = create(&stranger, &query, &new()).await;
        told.push((reply.status, reply.text()));
        told
    };
    let before = count(&clinic).await;
    let (hidden, absent) = (answers("pulse").await, answers("nothing").await);
    assert_eq!(hidden, absent);
    assert_eq!(hidden.iter().map(|(status, _)| *status).collect::<Vec<_>>(), [403, 404, 204, 403]);
    assert_eq!(count(&clinic).await, before);
    assert_eq!(clinic.importer.get("/fhir/Observation/pulse").await.header("etag"), Some("W/\"1\""));
    // A patient she may register: what she may not see does not keep her from it.
    let registered = create(&stranger, "_id=ann", &json!({"resourceType": "Patient"})).await.expect(201);
    assert_ne!(registered.id(), "ann");
    // Whoever may not search the type at all is told so.
    let desk = clinic.person(Person::FrontDesk).await;
    let _forbidden = create(&desk, "_id=pulse", &new()).await.expect(403);
}
