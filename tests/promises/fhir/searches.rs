//! search-type by GET and POST: what matches, in which pages, and what is refused rather than ignored.

use std::collections::BTreeSet;

use custodia::{fhir::kinds::ResourceType, store::cluster::Role};
use custodia_support::people::Person;
use serde_json::{Value, json};

use crate::clinic::{Clinic, bundle, found, ids, next, observation, patient};

/// Follows next links to the end; the ids of every page.
async fn walk(clinic: &Clinic, path: &str) -> Vec<Vec<String>> {
    let (mut pages, mut page) = (Vec::new(), path.to_owned());
    loop {
        let bundle = clinic.importer.get(&page).await.expect(200).json();
        assert_eq!(bundle["type"], "searchset");
        pages.push(ids(&bundle));
        let Some(next) = next(&bundle) else { return pages };
        page = next;
    }
}

/// A patient `bob` with `count` observations `o-000`...
async fn with_observations(count: usize) -> Clinic {
    let clinic = Clinic::open().await;
    clinic.put(&patient("bob", &[])).await;
    let requests: Vec<(String, _)> = (0..count)
        .map(|n| {
            (format!("Observation/o-{n:03}"), observation(&format!("o-{n:03}"), "bob", &format!("n{n}")))
        })
        .collect();
    let requests: Vec<_> =
        requests.iter().map(|(url, resource)| ("PUT", url.as_str(), Some(resource.clone()))).collect();
    let _stored = clinic.importer.post("/fhir", &bundle("transaction", &requests)).await.expect(200);
    clinic
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_parameter_finds_exactly_what_it_names() {
    let clinic = with_observations(3).await;
    let cases: [(&str, &[&str]); 15] = [
        ("Patient?_id=ann", &["ann"]),
        ("Patient?_id=ann,bob", &["ann", "bob"]),
        ("Patient?_id=ann,bob&_id=bob", &["bob"]),
        ("Patient?_id=nobody", &[]),
        ("Observation?patient=bob", &["o-000", "o-001", "o-002"]),
        ("Observation?patient=Patient/bob", &["o-000", "o-001", "o-002"]),
        ("Observation?patient=https://records.test/fhir/Patient/ann", &["pulse"]),
        ("Observation?patient:Patient=ann", &["pulse"]),
        ("Observation?subject=Patient/ann", &["pulse"]),
        ("Observation?patient=ann,bob&_id=pulse,o-001", &["o-001", "pulse"]),
        ("Observation?patient=ann&subject=bob", &[]),
        ("Observation?patient=nobody", &[]),
        ("Observation?patient=ann&_lastUpdated=ge2020-01-01", &["pulse"]),
        ("Observation?patient=ann&_lastUpdated=lt2020", &[]),
        ("CareTeam?patient=ann", &["team"]),
    ];
    for (query, expected) in cases {
        let bundle = clinic.importer.get(&format!("/fhir/{query}")).await.expect(200).json();
        let found: BTreeSet<String> = ids(&bundle).into_iter().collect();
        assert_eq!(found, expected.iter().map(|id| (*id).to_owned()).collect(), "{query}");
        assert_eq!(bundle["total"], expected.len(), "{query}");
        let (path, form) = query.split_once('?').unwrap();
        let posted = clinic.importer.form(&format!("/fhir/{path}/_search"), form).await.expect(200).json();
        assert_eq!(posted["entry"], bundle["entry"], "{query} by POST");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn last_updated_compares_with_the_instant_of_a_record() {
    let clinic = with_observations(1).await;
    let read = clinic.importer.get("/fhir/Observation/o-000").await.json();
    let at = read["meta"]["lastUpdated"].as_str().unwrap().replace('+', "%2B");
    for (prefix, matches) in
        [("", true), ("eq", true), ("ge", true), ("le", true), ("gt", false), ("lt", false), ("ne", false)]
    {
        let query = format!("/fhir/Observation?patient=bob&_lastUpdated={prefix}{at}");
        let bundle = clinic.importer.get(&query).await.expect(200).json();
        assert_eq!(!ids(&bundle).is_empty(), matches, "{prefix}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_hold_every_match_once() {
    let clinic = with_observations(23).await;
    for (count, pages) in [(1, 23), (5, 5), (23, 1), (100, 1)] {
        let walked = walk(&clinic, &format!("/fhir/Observation?patient=bob&_count={count}")).await;
        let all: Vec<String> = walked.concat();
        let distinct: BTreeSet<&String> = all.iter().collect();
        assert_eq!((walked.len(), all.len(), distinct.len()), (pages, 23, 23), "_count={count}");
    }
    let none = clinic.importer.get("/fhir/Observation?patient=bob&_count=0").await.expect(200).json();
    assert_eq!((none["total"].clone(), found(&none).len(), next(&none)), (json!(23), 0, None));
    let summary = clinic.importer.get("/fhir/Observation?patient=bob&_summary=count").await.json();
    assert_eq!((summary["total"].clone(), found(&summary).len()), (json!(23), 0));
    let first = clinic.importer.get("/fhir/Observation?patient=bob&_count=5&_total=accurate").await.json();
    let second = clinic.importer.get(&next(&first).unwrap()).await.json();
    assert_eq!((first["total"].clone(), second["total"].clone()), (json!(23), json!(23)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_walk_misses_nothing_that_was_there_while_others_write() {
    let clinic = with_observations(40).await;
    let there: BTreeSet<String> = (0..40).map(|n| format!("o-{n:03}")).collect();
    let (mut seen, mut page) = (Vec::new(), "/fhir/Observation?patient=bob&_count=7".to_owned());
    let mut round = 0;
    loop {
        let bundle = clinic.importer.get(&page).await.expect(200).json();
        seen.extend(ids(&bundle));
        // Between two pages: a new record, and an update of one that was shown already.
        clinic.put(&observation(&format!("new-{round}"), "bob", "new")).await;
        clinic.put(&observation(&seen[0], "bob", "changed")).await;
        round += 1;
        let Some(next) = next(&bundle) else { break };
        page = next;
    }
    let distinct: BTreeSet<String> = seen.iter().cloned().collect();
    assert_eq!(distinct.len(), seen.len(), "nothing twice");
    assert!(there.is_subset(&distinct), "missed {:?}", there.difference(&distinct));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_walk_by_marks_misses_nothing_when_records_leave_the_stretch_it_is_in() {
    let clinic = Clinic::listing(&["Observation.code"]).await;
    // Oldest first: so many that the walk's first stretch is the last two.
    for (prefix, code, count) in [("old", "x", 60), ("wanted", "m", 20), ("first", "m", 10), ("new", "x", 54)]
    {
        let coded = |n: usize| {
            let mut one = observation(&format!("{prefix}-{n:02}"), "ann", "x");
            one["code"] = json!({"coding": [{"system": "urn:codes", "code": code}]});
            one
        };
        let all: Vec<(String, Value)> =
            (0..count).map(|n| (format!("Observation/{prefix}-{n:02}"), coded(n))).collect();
        let puts: Vec<_> = all.iter().map(|(url, one)| ("PUT", url.as_str(), Some(one.clone()))).collect();
        let _stored = clinic.importer.post("/fhir", &bundle("transaction", &puts)).await.expect(200);
    }
    // Where the stretch ends is known, its records are not: twenty of them go in between.
    let mut holder = clinic.server.database().connect(Role::Owner).await;
    let held = holder.transaction().await.unwrap();
    held.batch_execute("LOCK TABLE search_mark IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let importer = clinic.importer.clone();
    let found = tokio::spawn(async move {
        importer.get("/fhir/Observation?code=urn:codes|m&_count=100").await.expect(200).json()
    });
    super::late::until(&clinic, super::late::WAITS).await;
    let gone = held
        .execute(
            "UPDATE record SET deleted = true WHERE (tenant, type, key) IN (
                 SELECT tenant, type, key FROM record WHERE type = $1 AND updated = (
                     SELECT max(updated) FROM record WHERE type = $1) LIMIT 20)",
            &[&ResourceType::OBSERVATION.code()],
        )
        .await
        .unwrap();
    assert_eq!(gone, 20);
    held.commit().await.unwrap();
    assert_eq!(ids(&found.await.unwrap()).len(), 30, "each that was there throughout");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_answered_rightly_is_refused_and_not_ignored() {
    let clinic = Clinic::open().await;
    let too_many = vec!["a"; 201].join(",");
    let cases = [
        ("Patient?_text=Smith", "not-supported"),
        ("Patient?_filter=name%20zz%20x", "value"),
        ("Observation?code:in=http://x", "not-supported"),
        ("Location?near=1|2", "not-supported"),
        ("Patient?_include=Patient:name", "not-supported"),
        ("Patient?_has:Observation:encounter:code=1", "not-supported"),
        ("Observation?patient.nothing=x", "not-supported"),
        ("Patient?_summary=some", "value"),
        ("Patient?birthdate=soon", "value"),
        ("Patient?_lastUpdated=yesterday", "value"),
        ("Patient?_lastUpdated=2020-13", "value"),
        ("Patient?_id=a_b", "value"),
        ("Patient?_count=-1", "value"),
        ("Patient?_count=1&_count=2", "invalid"),
        ("Patient?_total=maybe", "value"),
        ("Observation?patient=Group/1", "value"),
        ("Patient?_cursor=abc", "expired"),
        (&format!("Patient?_id={too_many}"), "too-costly"),
    ];
    for (query, code) in cases {
        let reply = clinic.importer.get(&format!("/fhir/{query}")).await;
        assert_eq!((reply.status, reply.issue().as_str()), (400, code), "{query}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_parameter_is_left_out_and_said_or_refused_when_strict() {
    let clinic = Clinic::open().await;
    let path = "/fhir/Observation?patient=ann&colour=puce";
    let lenient = clinic.importer.get(path).await.expect(200).json();
    assert_eq!(ids(&lenient), ["pulse"]);
    let modes: Vec<_> =
        lenient["entry"].as_array().unwrap().iter().map(|e| e["search"]["mode"].clone()).collect();
    assert_eq!(modes, ["match", "outcome"]);
    let this = lenient["link"][0]["url"].as_str().unwrap();
    assert!(!this.contains("colour") && !lenient.to_string().contains("puce"), "{this}");
    let strict = clinic.importer.get_with(path, &[("prefer", "handling=strict")]).await.expect(400);
    assert_eq!(strict.issue(), "not-supported");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cursor_is_good_for_its_caller_and_type_alone() {
    let clinic = with_observations(3).await;
    let first = clinic.importer.get("/fhir/Observation?patient=bob&_count=1").await.json();
    let link = next(&first).unwrap();
    let _own = clinic.importer.get(&link).await.expect(200);
    let registry = clinic.server.partner(custodia_support::people::Partner::Registry);
    let other_type = link.replace("/Observation?", "/Patient?").replace("patient=bob", "_id=bob");
    assert_eq!(clinic.importer.get(&other_type).await.expect(400).issue(), "expired");
    assert_eq!(registry.get(&other_type).await.expect(400).issue(), "expired");
    let patients = clinic.importer.get("/fhir/Patient?_count=1").await.json();
    assert_eq!(registry.get(&next(&patients).unwrap()).await.expect(400).issue(), "expired");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_hidden_takes_nothing_from_what_may_be_opened() {
    let clinic = Clinic::open().await;
    clinic.put(&patient("bob", &[])).await;
    let requests: Vec<(String, Value)> = (0..102)
        .map(|n| {
            let (id, of) = (format!("many-{n}"), if n < 99 { "ann" } else { "bob" });
            (format!("Observation/{id}"), observation(&id, of, "x"))
        })
        .collect();
    let puts: Vec<_> =
        requests.iter().map(|(url, resource)| ("PUT", url.as_str(), Some(resource.clone()))).collect();
    let _stored = clinic.importer.post("/fhir", &bundle("transaction", &puts)).await.expect(200);
    let physician = clinic.person(Person::Physician).await;
    let ask = async |more: &str| {
        // Ten thousand records of hers are opened, which is the most, and then another search is asked.
        let mut searches = vec![("GET", "Observation?patient=ann&_summary=count", None); 100];
        searches.push(("GET", more, None));
        let answer = physician.post("/fhir", &bundle("batch", &searches)).await.expect(200).json();
        let entries = answer["entry"].as_array().unwrap().clone();
        entries.iter().filter(|entry| entry["response"]["status"] == "400 Bad Request").count()
    };
    assert_eq!(ask("Observation?patient=nobody").await, 0);
    assert_eq!(ask("Observation?patient=bob").await, 0, "there are three, and nothing tells");
    assert_eq!(ask("Observation?patient=ann&_count=1").await, 1, "one more than the most");
}
