//! A flood of callers nobody knows is answered and recorded, and does not fill the log.

use tokio::task::JoinSet;

use crate::clinic::Clinic;

/// Clients at once, and requests of each.
const FLOOD: (usize, usize) = (200, 3);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_anonymous_requests_is_coalesced_and_none_is_lost() {
    let clinic = Clinic::open().await;
    let before = clinic.server.size().await;
    let anybody = clinic.server.anybody();
    let mut flood = JoinSet::new();
    for n in 0..FLOOD.0 {
        let anybody = anybody.clone();
        flood.spawn(async move {
            for m in 0..FLOOD.1 {
                let reply = anybody.get(&format!("/fhir/Patient/{n}-{m}")).await.expect(401);
                assert!(reply.receipt().is_some());
            }
        });
    }
    flood.join_all().await;
    let entries = clinic.server.entries(before).await;
    // An entry says how many others it stands for.
    let stands_for = |code: &str| match code.strip_prefix("unauthenticated (") {
        Some(rest) => 1 + rest.strip_suffix(" more)").unwrap().parse::<usize>().unwrap(),
        None => 1,
    };
    let told: usize = entries.iter().map(|one| stands_for(&one.entry.event.outcome.code)).sum();
    assert_eq!(told, FLOOD.0 * FLOOD.1);
    assert!(entries.len() < FLOOD.0 * FLOOD.1 * 2 / 3, "{} entries", entries.len());
    // Whoever is known is not slowed by it.
    let _known = clinic.importer.get("/fhir/Patient/ann").await.expect(200);
}
