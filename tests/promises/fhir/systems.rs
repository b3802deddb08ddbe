//! search-system, `_list` and `_filter`: several types at once, what a List names, and expressions; and that none of them
//! tells of what the caller may not see.

use std::collections::BTreeSet;

use custodia_audit::Action;
use custodia_support::{
    client::Client,
    people::{Partner, Person},
};
use serde_json::{Value, json};

use crate::clinic::{Clinic, bundle, ids, next, observation, outcome, patient};

fn condition(id: &str, patient: &str) -> Value {
    json!({"resourceType": "Condition", "id": id, "subject": {"reference": format!("Patient/{patient}")}})
}

fn list(id: &str, items: &[(&str, bool)]) -> Value {
    let entries: Vec<Value> = items
        .iter()
        .map(|(name, deleted)| {
            let mut entry = json!({"item": {"reference": name}});
            if *deleted {
                entry["deleted"] = json!(true);
            }
            entry
        })
        .collect();
    json!({"resourceType": "List", "id": id, "status": "current", "mode": "changes",
        "subject": {"reference": "Patient/ann"}, "entry": entries})
}

/// Pages of `Type/id`, by next links.
async fn walk(client: &Client, path: &str) -> Vec<Vec<String>> {
    let (mut pages, mut page) = (Vec::new(), path.to_owned());
    loop {
        let bundle = client.get(&page).await.expect(200).json();
        let entries = bundle["entry"].as_array().cloned().unwrap_or_default();
        let name = |entry: &Value| {
            let one = &entry["resource"];
            format!("{}/{}", one["resourceType"].as_str().unwrap(), one["id"].as_str().unwrap())
        };
        pages.push(entries.iter().map(name).collect());
        let Some(next) = next(&bundle) else { return pages };
        page = next;
    }
}

/// Bob, whom Dr Cold treats, with as many observations as conditions: each pair under one id, written at one time.
async fn with_twins(pairs: usize) -> Clinic {
    let clinic = Clinic::open().await;
    clinic.put(&patient("bob", &["Practitioner/cold"])).await;
    let mut requests = Vec::new();
    for n in 0..pairs {
        let id = format!("5c1f0a52-0000-4000-8000-{n:012}");
        requests.push((format!("Observation/{id}"), observation(&id, "bob", "twin")));
        requests.push((format!("Condition/{id}"), condition(&id, "bob")));
    }
    let requests: Vec<_> =
        requests.iter().map(|(url, one)| ("PUT", url.as_str(), Some(one.clone()))).collect();
    let _stored = clinic.importer.post("/fhir", &bundle("transaction", &requests)).await.expect(200);
    clinic
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_several_types_hold_every_match_once_in_one_order() {
    let clinic = with_twins(7).await;
    let everything: BTreeSet<String> = walk(&clinic.importer, "/fhir/Observation?patient=bob")
        .await
        .concat()
        .into_iter()
        .chain(walk(&clinic.importer, "/fhir/Condition?patient=bob").await.concat())
        .collect();
    assert_eq!(everything.len(), 14);
    // All of one transaction have one time, and twins have one key: only the type is left to tell them apart.
    for sort in ["", "&_sort=_lastUpdated", "&_sort=-_id", "&_sort=subject"] {
        for (count, pages) in [(1, 14), (3, 5), (13, 2), (14, 1), (50, 1)] {
            let path = format!("/fhir?_type=Observation,Condition&patient=bob&_count={count}{sort}");
            let walked = walk(&clinic.importer, &path).await;
            let all = walked.concat();
            assert_eq!((walked.len(), all.len()), (pages, 14), "{path}");
            assert_eq!(all.into_iter().collect::<BTreeSet<_>>(), everything, "{path}");
        }
    }
    let counted = clinic.importer.get("/fhir?_type=Observation,Condition&patient=bob&_summary=count").await;
    assert_eq!(counted.expect(200).json()["total"], 14);
    let by_form =
        clinic.importer.form("/fhir/_search", "_type=Condition,Patient&_id=bob&_total=accurate").await;
    assert_eq!(ids(&by_form.expect(200).json()), ["bob"]);
    let path =
        "/fhir?_type=Observation,Condition&patient=bob&_count=1&_total=accurate&_include=Condition:subject";
    let reply = clinic.importer.get(path).await.expect(200);
    assert_eq!(reply.json()["total"], 14);
    let entries = clinic.server.entries(reply.receipt().unwrap()).await;
    let named: BTreeSet<(String, String)> = entries
        .iter()
        .flat_map(|one| one.entry.object.items.iter())
        .filter(|item| item.action == Action::Released)
        .map(|item| (item.kind.clone(), item.id.clone()))
        .collect();
    assert!(named.len() >= 14, "what is counted is named: {named:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_of_the_system_finds_what_the_caller_may_see() {
    let clinic = with_twins(2).await;
    let path = "/fhir?_type=Patient,Observation,Condition&_lastUpdated=ge2020-01-01&_total=accurate";
    let grey = clinic.person(Person::Physician).await;
    let own = grey.get(path).await.expect(200).json();
    assert_eq!(ids(&own), ["pulse", "ann"], "{own}");
    assert_eq!(own["total"], 2);
    let cold = clinic.person(Person::Stranger).await;
    let theirs = cold.get(path).await.expect(200).json();
    assert_eq!((ids(&theirs).len(), theirs["total"].clone()), (5, json!(5)));
    let far = clinic.server.partner(Partner::FarImporter);
    assert_eq!(far.get(path).await.expect(200).json()["total"], 0);
    let batch = bundle("batch", &[("GET", "?_type=Patient,Observation&_id=ann,pulse", None)]);
    let before = clinic.server.size().await;
    let reply = grey.post("/fhir", &batch).await.expect(200).json();
    let asked: Vec<String> =
        clinic.server.entries(before).await.into_iter().filter_map(|one| one.entry.detail.query).collect();
    assert!(
        asked.iter().any(|query| query.contains("GET ?_type=Patient,Observation&_id=ann,pulse")),
        "the log has the question: {asked:?}"
    );
    let mut inside = ids(&reply["entry"][0]["resource"]);
    inside.sort();
    assert_eq!(inside, ["ann", "pulse"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_of_the_system_names_its_types() {
    let clinic = Clinic::open().await;
    let once = "Search parameter _type: a search of the whole system names its types once: _type=Patient,Observation.";
    let kinds: Vec<&str> = custodia::fhir::kinds::ResourceType::all().map(|kind| kind.name()).collect();
    let (most, more) = (kinds[..20].join(","), kinds[..21].join(","));
    let _most = clinic.importer.get(&format!("/fhir?_type={most}&_id=x")).await.expect(200);
    for (query, code, text) in [
        ("", "required", once),
        ("_id=ann", "required", once),
        ("_type=Patient&_type=Observation", "required", once),
        ("_type=Patient,Nonsense", "value", "Search parameter _type: expected resource types."),
        ("_type=", "value", "Search parameter _type: expected resource types."),
        (&format!("_type={more}"), "too-costly", "Search parameter _type: it names more than 20 types."),
        (
            "_type=Patient,Observation&birthdate=1980",
            "not-supported",
            "A parameter of a search of several types must be defined for each of them.",
        ),
        ("_type:x=Patient", "required", once),
    ] {
        let reply = clinic.importer.get(&format!("/fhir?{query}")).await.expect(400);
        let mut said = reply.json();
        said["issue"][0].as_object_mut().unwrap().remove("diagnostics");
        assert_eq!(said["issue"][0]["code"], code, "{query}: {said}");
        assert_eq!(said["issue"][0]["details"]["text"], text, "{query}");
    }
    let auditor = clinic.person(Person::Auditor).await;
    let refused = auditor.get("/fhir?_type=AuditEvent").await.expect(400).json();
    assert_eq!(refused, outcome("not-supported", "The log is searched by itself: GET [base]/AuditEvent."));
    let desk = clinic.person(Person::FrontDesk).await;
    let _forbidden = desk.get("/fhir?_type=Patient,Observation&_id=ann").await.expect(403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_finds_what_it_names_and_a_hidden_one_nothing() {
    let clinic = with_twins(1).await;
    clinic.put(&observation("second", "ann", "b")).await;
    clinic.put(&observation("third", "ann", "c")).await;
    let items = [
        ("Observation/pulse", false),
        ("Observation/second", true),
        ("https://records.test/fhir/Observation/third", false),
        ("Condition/elsewhere", false),
        ("Observation/5c1f0a52-0000-4000-8000-000000000000", false),
    ];
    clinic.put(&list("todo", &items)).await;
    let grey = clinic.person(Person::Physician).await;
    for (query, expected) in [
        ("_list=todo", &["third", "pulse"][..]),
        ("_list=List/todo", &["third", "pulse"]),
        ("_list=todo&patient=ann&_id=pulse,second", &["pulse"]),
        ("_list=nothing", &[]),
    ] {
        let found = grey.get(&format!("/fhir/Observation?{query}&_total=accurate")).await.expect(200).json();
        assert_eq!(ids(&found), expected, "{query}");
        assert_eq!(found["total"], expected.len(), "what is Bob's is not counted: {query}");
    }
    let everything =
        clinic.importer.get("/fhir?_type=Condition,Observation&_list=todo").await.expect(200).json();
    assert_eq!(ids(&everything).len(), 3);
    // To Dr Cold, who may see the observation of Bob's, the List is not there: the answer is that for one that never was.
    let cold = clinic.person(Person::Stranger).await;
    let mut said = Vec::new();
    for list in ["todo", "nothing"] {
        let mut answer = cold.get(&format!("/fhir/Observation?_list={list}")).await.expect(200).json();
        answer["link"] = Value::Null;
        for volatile in ["id", "timestamp", "meta"] {
            answer.as_object_mut().unwrap().remove(volatile);
        }
        said.push(answer);
    }
    assert_eq!(said[0], said[1]);
    assert_eq!(said[0]["total"], 0);
    let functional =
        clinic.importer.get("/fhir/Observation?_list=$current-problems").await.expect(400).json();
    assert_eq!(
        functional["issue"][0]["details"]["text"],
        "Search parameter _list: functional lists are not kept here; name a List by its id."
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filter_finds_what_its_expression_says_among_what_may_be_seen() {
    let clinic = with_twins(2).await;
    clinic.put(&observation("second", "ann", "b")).await;
    let asking = |kind: &str, filter: &str| {
        let mut path = format!("/fhir/{kind}");
        custodia::fhir::search::form::append(&mut path, "_filter", filter);
        path
    };
    for (path, filter, expected) in [
        ("Observation", "patient re Patient/ann and not(_id eq pulse)", &["second"][..]),
        ("Observation", "patient re ann or subject re Patient/nobody", &["pulse", "second"]),
        ("Observation", "patient re ann and (_id eq pulse or _id eq second)", &["pulse", "second"]),
        ("Observation", "subject[_id eq ann].name co \"-an\" and patient re ann", &["pulse", "second"]),
        ("Observation", "not(subject.name co ann) and patient re ann", &[]),
        ("Patient", "name eq \"F-ann\" or name sw \"f-b\"", &["ann", "bob"]),
        ("Patient", "name eq f-ann and general-practitioner re Practitioner/grey", &["ann"]),
    ] {
        let query = format!("{}&_total=accurate", asking(path, filter));
        let bundle = clinic.importer.get(&query).await.expect(200).json();
        let found: BTreeSet<String> = ids(&bundle).into_iter().collect();
        assert_eq!(found, expected.iter().map(|id| (*id).to_owned()).collect(), "{filter}");
        assert_eq!(bundle["total"], expected.len(), "{filter}");
    }
    // What the caller may not see is not there: it neither meets a test nor keeps `not` from being met.
    let grey = clinic.person(Person::Physician).await;
    let query = asking("Patient", "(name eq f-ann or name eq f-bob) and name pr true");
    let bundle = grey.get(&format!("{query}&_total=accurate")).await.expect(200).json();
    assert_eq!((ids(&bundle), bundle["total"].clone()), (vec!["ann".to_owned()], json!(1)));
    let alone = clinic.importer.get(&asking("Observation", "status eq final or patient re ann")).await;
    assert_eq!(alone.expect(400).issue(), "too-costly", "one side of an or narrows nothing");
    let wrong = clinic.importer.get(&asking("Patient", "secret eq x")).await.expect(400);
    assert!(!wrong.text().contains("secret"));
}
