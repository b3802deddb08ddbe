//! Histories of instances, types and the whole tenant: spans of time, pages, and every version permitted on its own.

use chrono::Duration;
use custodia::clock::Clock;
use custodia_audit::Action;
use custodia_support::{
    client::Client,
    cluster::TestCluster,
    people::{Partner, Person},
    server::TestServer,
};
use serde_json::{Value, json};

use crate::clinic::{Clinic, bundle, found, next, observation, patient};

/// A clinic whose clock stands still between writes: noon, one o'clock, and so on.
async fn clocked() -> (Clinic, Clock) {
    let clock = Clock::fixed("2026-06-01T12:00:00Z".parse().unwrap());
    let server = TestServer::with(TestCluster::quick().await, clock.clone(), |_| {}).await;
    let importer = server.partner(Partner::Importer);
    let clinic = Clinic { server, importer };
    clinic.put(&patient("ann", &["Practitioner/grey"])).await;
    for n in 0..3 {
        clinic.put(&observation("pulse", "ann", &format!("pulse {n}"))).await;
        clinic.put(&observation("other", "bea", &format!("other {n}"))).await;
        clock.advance(Duration::hours(1));
    }
    let _deleted = clinic.importer.delete("/fhir/Observation/pulse").await.expect(204);
    (clinic, clock)
}

/// What a history shows: request, URL and versionId of each entry, and the page after it.
async fn shown(client: &Client, path: &str) -> (Vec<String>, Option<String>) {
    let page = client.get(path).await.expect(200).json();
    assert_eq!(page["type"], "history");
    let line = |entry: &Value| {
        let (request, etag) = (&entry["request"], entry["response"]["etag"].as_str().unwrap());
        assert_eq!(entry.get("resource").is_none(), request["method"] == "DELETE");
        let version = etag.trim_start_matches("W/\"").trim_end_matches('"');
        format!("{} {} {version}", request["method"].as_str().unwrap(), request["url"].as_str().unwrap())
    };
    let lines =
        page["entry"].as_array().map(|entries| entries.iter().map(line).collect()).unwrap_or_default();
    (lines, next(&page))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn histories_of_a_type_and_of_all_show_every_version_newest_first() {
    let (clinic, _) = clocked().await;
    let (lines, _) = shown(&clinic.importer, "/fhir/Observation/_history").await;
    let mut sorted = lines.clone();
    sorted.sort_unstable();
    assert_eq!(lines[0], "DELETE Observation/pulse 4");
    assert_eq!(
        sorted,
        [
            "DELETE Observation/pulse 4",
            "PUT Observation/other 1",
            "PUT Observation/other 2",
            "PUT Observation/other 3",
            "PUT Observation/pulse 1",
            "PUT Observation/pulse 2",
            "PUT Observation/pulse 3",
        ]
    );
    let versions: Vec<&str> = lines[1..].iter().map(|line| line.rsplit(' ').next().unwrap()).collect();
    assert_eq!(versions, ["3", "3", "2", "2", "1", "1"], "newest first");
    let (all, _) = shown(&clinic.importer, "/fhir/_history").await;
    assert_eq!(all.len(), 8);
    assert!(all.contains(&"PUT Patient/ann 1".to_owned()));
    let (types, _) = shown(&clinic.importer, "/fhir/Patient/_history").await;
    assert_eq!(types, ["PUT Patient/ann 1"]);
    let (none, _) = shown(&clinic.importer, "/fhir/Goal/_history").await;
    assert_eq!(none, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn since_and_at_bound_a_history_in_time() {
    let (clinic, _) = clocked().await;
    let cases = [
        // Versions 1, 2 and 3 came at 12, 13 and 14 o'clock, the deletion at 15.
        ("_since=2026-06-01T13:00:00Z", vec!["DELETE 4", "PUT 3", "PUT 2"]),
        ("_since=2026-06-01T13:00:00.001Z", vec!["DELETE 4", "PUT 3"]),
        ("_since=2026-06-02", vec![]),
        ("_at=2026-06-01T13:30:00Z", vec!["PUT 2"]),
        ("_at=2026-06-01T14:00:00Z", vec!["PUT 3"]),
        ("_at=2026-06-01T11:00:00Z", vec![]),
        ("_at=2027", vec!["DELETE 4"]),
        ("_at=2026-06-01", vec!["DELETE 4", "PUT 3", "PUT 2", "PUT 1"]),
        ("_at=2026-06-01T13:30:00Z&_since=2026-06-01T13:30:00Z", vec![]),
    ];
    for (query, expected) in cases {
        let expected: Vec<String> =
            expected.iter().map(|line| line.replace(' ', " Observation/pulse ")).collect();
        let (one, _) = shown(&clinic.importer, &format!("/fhir/Observation/pulse/_history?{query}")).await;
        assert_eq!(one, expected, "{query}");
        for path in ["/fhir/Observation/_history", "/fhir/_history"] {
            let (lines, _) = shown(&clinic.importer, &format!("{path}?{query}")).await;
            let of_pulse: Vec<String> = lines.into_iter().filter(|line| line.contains("pulse")).collect();
            assert_eq!(of_pulse, expected, "{path}?{query}");
        }
    }
    for query in ["_since=yesterday", "_at=x", "_count=x", "_cursor=x", "_sort=date", "_list=1"] {
        for path in ["/fhir/Observation/pulse/_history", "/fhir/Observation/_history", "/fhir/_history"] {
            let reply = clinic.importer.get(&format!("{path}?{query}")).await;
            assert_eq!(reply.status, 400, "{path}?{query}");
        }
    }
    let _never = clinic.importer.get("/fhir/Observation/never/_history?_since=2020").await.expect(404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_hold_every_version_once_and_their_links_are_the_callers_own() {
    let (clinic, clock) = clocked().await;
    for path in ["/fhir/Observation/_history", "/fhir/_history", "/fhir/Observation/other/_history"] {
        let physician = clinic.person(Person::Physician).await;
        let (whole, _) = shown(&clinic.importer, path).await;
        let (mut lines, mut page) = (Vec::new(), Some(format!("{path}?_count=2")));
        let mut link = String::new();
        while let Some(url) = page {
            let (some, next) = shown(&clinic.importer, &url).await;
            assert!(some.len() <= 2);
            lines.extend(some);
            link = next.clone().unwrap_or(link);
            page = next;
        }
        assert_eq!(lines, whole, "{path}");
        let _not_theirs = physician.get(&link).await.expect(400);
        let other_question = link.replace("_count=2", "_count=2&_since=2020");
        let _another = clinic.importer.get(&other_question).await.expect(400);
        clock.advance(Duration::hours(1));
        let _expired = clinic.importer.get(&link).await.expect(400);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_version_of_a_history_is_permitted_on_its_own() {
    let clinic = Clinic::open().await;
    // What was about somebody else's patient once stays hidden, and does not count for the page.
    for n in 0..5 {
        clinic.put(&observation("moved", "bea", &format!("{n}"))).await;
    }
    clinic.put(&observation("moved", "ann", "ann's at last")).await;
    let physician = clinic.person(Person::Physician).await;
    let (lines, next) = shown(&physician, "/fhir/Observation/_history?_count=2").await;
    assert_eq!(lines, ["PUT Observation/moved 6", "PUT Observation/pulse 1"]);
    assert_eq!(next, None);
    let (one, next) = shown(&physician, "/fhir/Observation/moved/_history?_count=1").await;
    assert_eq!((one, next), (vec!["PUT Observation/moved 6".to_owned()], None));
    let (all, _) = shown(&physician, "/fhir/_history?_count=100").await;
    assert_eq!(all.len(), 4, "ann, her team, her pulse, and what became hers: {all:?}");

    let before = clinic.server.size().await;
    let reply = physician.get("/fhir/_history").await.expect(200);
    assert_eq!(clinic.server.size().await, before + 1, "one entry for one patient");
    let items = clinic.server.entry(reply.receipt().unwrap()).await.object.items;
    assert_eq!(items.len(), found(&reply.json()).len());
    assert!(items.iter().all(|item| item.action == Action::Released));

    // Who sees nothing gets an empty page of what her role could see, and 403 of what it never could.
    let stranger = clinic.person(Person::Stranger).await;
    assert_eq!(shown(&stranger, "/fhir/Observation/_history").await.0.len(), 0);
    assert_eq!(shown(&stranger, "/fhir/_history").await.0.len(), 0);
    let _hidden = stranger.get("/fhir/Observation/pulse/_history?_since=2020").await.expect(404);
    let _forbidden =
        clinic.person(Person::FrontDesk).await.get("/fhir/Observation/_history").await.expect(403);
    let _forbidden = clinic.person(Person::Auditor).await.get("/fhir/_history").await.expect(403);
    let desk = clinic.person(Person::FrontDesk).await;
    assert_eq!(shown(&desk, "/fhir/_history").await.0, ["PUT Patient/ann 1"]);
    let foreigner = clinic.person(Person::Foreigner).await;
    assert_eq!(shown(&foreigner, "/fhir/_history").await.0.len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn histories_stand_in_batches() {
    let clinic = Clinic::open().await;
    let requests = [
        ("GET", "Observation/_history?_count=1", None),
        ("GET", "_history?_summary=true", None),
        ("GET", "Observation/pulse/_history?_since=2020", None),
    ];
    let answer = clinic.importer.post("/fhir", &bundle("batch", &requests)).await.expect(200).json();
    let entries = answer["entry"].as_array().unwrap();
    for (entry, count) in entries.iter().zip([1, 3, 1]) {
        assert_eq!(
            (entry["response"]["status"].as_str(), found(&entry["resource"]).len()),
            (Some("200 OK"), count)
        );
    }
    let tag = &found(&entries[1]["resource"])[0]["meta"]["tag"];
    assert_eq!(tag[0]["code"], json!("SUBSETTED"));
}
