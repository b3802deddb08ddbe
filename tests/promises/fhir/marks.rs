//! Searches by a mark that thousands of records bear, and by one that few do.

use serde_json::json;

use crate::clinic::{Clinic, bundle, ids, next, patient};

/// Statuses of observations, oldest first: more of one than are found all at once, then others on top of them.
const STATUSES: [(&str, usize); 4] =
    [("amended", 3), ("corrected", 2_100), ("preliminary", 40), ("registered", 300)];

async fn full() -> Clinic {
    let clinic = Clinic::listing(&["Observation.status"]).await;
    clinic.put(&patient("bob", &[])).await;
    for (status, count) in STATUSES {
        let urls: Vec<String> = (0..count).map(|n| format!("Observation/{status}-{n:04}")).collect();
        let requests: Vec<_> = urls
            .iter()
            .map(|url| {
                let resource = json!({"resourceType": "Observation", "id": url.strip_prefix("Observation/"),
                    "status": status, "code": {"text": "x"}, "subject": {"reference": "Patient/bob"}});
                ("PUT", url.as_str(), Some(resource))
            })
            .collect();
        let _stored = clinic.importer.post("/fhir", &bundle("transaction", &requests)).await.expect(200);
    }
    clinic
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mark_of_thousands_pages_through_them_and_a_rare_one_is_found_below_them() {
    let clinic = full().await;
    for (status, count) in STATUSES {
        for size in [1_000, 7] {
            let mut path = format!("/fhir/Observation?status={status}&_count={size}");
            let mut seen = Vec::new();
            while seen.len() < 3_000 {
                let page = clinic.importer.get(&path).await.expect(200).json();
                let these = ids(&page);
                assert!(these.len() <= size && these.iter().all(|id| id.starts_with(status)), "{status}");
                seen.extend(these);
                let Some(link) = next(&page).filter(|_| size > 100 || seen.len() < 20) else { break };
                path = link;
            }
            let expected = if size > 100 { count } else { count.min(21) };
            assert_eq!(seen.len(), expected, "{status} in pages of {size}");
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen.len(), expected, "{status} in pages of {size}: one comes twice");
        }
        let path = format!("/fhir/Observation?status={status}&_summary=count");
        assert_eq!(clinic.importer.get(&path).await.expect(200).json()["total"], count, "{status}");
    }
    // Two marks, and a record that loses one.
    let changed = json!({"resourceType": "Observation", "id": "amended-0001", "status": "cancelled",
        "code": {"text": "x"}, "subject": {"reference": "Patient/bob"}});
    clinic.put(&changed).await;
    let found = |query: &'static str| {
        let importer = &clinic.importer;
        async move { ids(&importer.get(&format!("/fhir/Observation?{query}")).await.expect(200).json()) }
    };
    let either = found("status=cancelled,amended").await;
    assert_eq!((either.len(), either[0].as_str()), (3, "amended-0001"), "the newest first");
    assert_eq!(found("status=amended").await.len(), 2);
    // Whether few bore a mark the last time says how to begin, and not what to find.
    for status in ["preliminary", "registered", "amended"] {
        let mut newer = changed.clone();
        (newer["id"], newer["status"]) = (json!(format!("newer-{status}")), json!(status));
        clinic.put(&newer).await;
        let path = format!("/fhir/Observation?status={status}&_count=7");
        let page = ids(&clinic.importer.get(&path).await.expect(200).json());
        assert_eq!(page[0], format!("newer-{status}"));
    }
    assert_eq!(found("status=amended").await.len(), 3);
    assert_eq!(found("status=amended&status=corrected").await.len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contains_is_narrowed_where_its_pieces_are_listed_and_refused_elsewhere() {
    let clinic = Clinic::listing(&["Patient.family:contains"]).await;
    for id in ["bruen", "weimann", "obrien"] {
        clinic.put(&patient(id, &[])).await;
    }
    for (query, expected) in [
        ("family:contains=BRU", vec!["bruen"]),
        ("family:contains=br", vec![]),
        ("family:contains=bri,eim", vec!["obrien", "weimann"]),
        ("family:contains=f-brue", vec!["bruen"]),
        ("family:contains=bruenn", vec![]),
        ("family=f-w", vec!["weimann"]),
    ] {
        let reply = clinic.importer.get(&format!("/fhir/Patient?{query}")).await;
        if query.ends_with("=br") {
            let _refused = reply.expect(400);
            continue;
        }
        let mut found = ids(&reply.expect(200).json());
        found.sort_unstable();
        assert_eq!(found, expected, "{query}");
    }
    let refused = clinic.importer.get("/fhir/Patient?given:contains=ruen").await.expect(400).json();
    assert_eq!(refused["issue"][0]["code"], "too-costly");
}
