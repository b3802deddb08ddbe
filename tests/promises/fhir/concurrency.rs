//! Many writers at once: no lost update, no torn transaction, one key for a patient.

use std::collections::BTreeSet;

use custodia::store::cluster::Role;
use custodia_support::client::Client;
use serde_json::json;
use tokio::task::JoinSet;

use crate::clinic::{Clinic, bundle, found, observation, patient};

/// Writers at once.
const WRITERS: usize = 8;

/// What each of the writers came to, who all begin at once.
async fn at_once<T, F>(clinic: &Clinic, write: impl Fn(Client, usize) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let mut writers = JoinSet::new();
    for n in 0..WRITERS {
        writers.spawn(write(clinic.importer.clone(), n));
    }
    writers.join_all().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn updates_without_if_match_all_succeed_with_versions_of_their_own() {
    let clinic = Clinic::open().await;
    let writers = at_once(&clinic, |importer, n| async move {
        let sent = observation("pulse", "ann", &format!("writer {n}"));
        let reply = importer.put("/fhir/Observation/pulse", &sent).await.expect(200);
        reply.json()["meta"]["versionId"].as_str().unwrap().parse::<usize>().unwrap()
    })
    .await;
    let versions: BTreeSet<usize> = writers.into_iter().collect();
    assert_eq!(versions, (2..=WRITERS + 1).collect());
    let history = clinic.importer.get("/fhir/Observation/pulse/_history").await.json();
    assert_eq!(found(&history).len(), WRITERS + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_updates_of_the_same_version_exactly_one_wins() {
    let clinic = Clinic::open().await;
    let mut statuses = at_once(&clinic, |importer, n| async move {
        let sent = observation("pulse", "ann", &format!("writer {n}"));
        importer.put_with("/fhir/Observation/pulse", &[("if-match", "W/\"1\"")], &sent).await.status
    })
    .await;
    statuses.sort_unstable();
    assert_eq!(statuses[0], 200);
    assert!(statuses[1..].iter().all(|status| *status == 412), "{statuses:?}");
    assert_eq!(clinic.importer.get("/fhir/Observation/pulse").await.header("etag"), Some("W/\"2\""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_over_the_same_records_run_one_after_the_other() {
    let clinic = Clinic::open().await;
    clinic.put(&observation("other", "ann", "0")).await;
    let _all: Vec<()> = at_once(&clinic, |importer, n| async move {
        for round in 0..3 {
            let text = format!("{n}-{round}");
            let (one, two) = (observation("pulse", "ann", &text), observation("other", "ann", &text));
            let mut requests =
                [("PUT", "Observation/pulse", Some(one)), ("PUT", "Observation/other", Some(two))];
            if n % 2 == 0 {
                requests.reverse();
            }
            let mut status = 409;
            // Told that others were faster eight times in a row, a client tries again.
            while status == 409 {
                status = importer.post("/fhir", &bundle("transaction", &requests)).await.status;
            }
            assert_eq!(status, 200);
        }
    })
    .await;
    let texts = async |id: &str| {
        let history =
            clinic.importer.get(&format!("/fhir/Observation/{id}/_history?_count=100")).await.json();
        let texts: Vec<String> =
            found(&history).iter().map(|one| one["code"]["text"].as_str().unwrap().to_owned()).collect();
        texts
    };
    let (pulse, other) = (texts("pulse").await, texts("other").await);
    assert_eq!(pulse.len(), WRITERS * 3 + 1);
    // Serial: both records saw the same transactions in the same order.
    assert_eq!(pulse[..WRITERS * 3], other[..WRITERS * 3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_records_of_a_patient_share_one_data_key() {
    let clinic = Clinic::open().await;
    let writers = at_once(&clinic, |importer, n| async move {
        let sent = observation(&format!("first-{n}"), "newcomer", "x");
        importer.put(&format!("/fhir/Observation/first-{n}"), &sent).await.status
    })
    .await;
    assert!(writers.iter().all(|status| *status == 201));
    clinic.put(&patient("newcomer", &[])).await;
    let owner = clinic.server.database().connect(Role::Owner).await;
    let sql = "SELECT count(DISTINCT k.id), count(*) FROM data_key k WHERE k.tenant = 1 AND k.id IN
               (SELECT owner FROM record WHERE tenant = 1)";
    let row = owner.query_one(sql, &[]).await.unwrap();
    assert_eq!(
        (row.get::<_, i64>(0), row.get::<_, i64>(1)),
        (2, 2),
        "one key of ann's, one of the newcomer's"
    );
    let found = clinic.importer.get("/fhir/Observation?patient=newcomer").await.json();
    assert_eq!(found["total"], json!(WRITERS));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_created_by_many_at_once_is_created_once() {
    let clinic = Clinic::open().await;
    let mut statuses = at_once(&clinic, |importer, _| async move {
        importer.put("/fhir/Patient/dup", &patient("dup", &[])).await.status
    })
    .await;
    statuses.sort_unstable();
    assert_eq!(statuses, [vec![200; WRITERS - 1], vec![201]].concat());
}
