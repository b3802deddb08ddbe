//! What PostgreSQL makes of the look-ups by key in a young database, which has no statistics.

use custodia::store::{cluster::Role, history::OF_TYPES};

use crate::clinic::Clinic;

/// The join of every look-up by key, in the settings of a lane.
const LOOK_UP: &str = "
    EXPLAIN SELECT r.body FROM unnest('{1}'::int[], '{1}'::smallint[], '{00000000-0000-0000-0000-000000000001}'::uuid[])
        AS k(tenant, type, key)
    JOIN record r ON r.tenant = k.tenant AND r.type = k.type AND r.key = k.key";
const SETTINGS: &str = "SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_seqscan = off";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_is_found_by_its_primary_key_before_there_are_statistics() {
    let clinic = Clinic::open().await;
    let owner = clinic.server.database().connect(Role::Owner).await;
    let known = "SELECT count(*) FROM pg_stats WHERE tablename = 'record'";
    assert_eq!(owner.query_one(known, &[]).await.unwrap().get::<_, i64>(0), 0, "no statistics yet");
    owner.batch_execute(SETTINGS).await.unwrap();
    let rows = owner.query(LOOK_UP, &[]).await.unwrap();
    let plan: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert!(plan.iter().any(|line| line.contains("Index Scan using record_pkey on record")), "{plan:#?}");
}

/// The history of a type with its parameters in place.
fn history() -> String {
    let now = "'2026-01-01T00:00:00Z'::timestamptz";
    let key = "'00000000-0000-0000-0000-000000000001'::uuid";
    let branch = ["1", now, now, now, now, "1::smallint", key, "1"];
    let mut values = vec!["'{1}'::smallint[]"];
    for rest in [&["21"][..], &["21"], &[now, now, "21", "21", key, now, now, "1", "1"]] {
        values.extend(branch);
        values.extend(rest);
    }
    let mut parts = OF_TYPES.split('?');
    let mut text = format!("EXPLAIN {}", parts.next().unwrap());
    let mut values = values.into_iter();
    for part in parts {
        text += values.next().unwrap();
        text += part;
    }
    assert_eq!(values.next(), None, "each parameter has its place");
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_history_of_a_type_walks_indexes_by_time() {
    let clinic = Clinic::open().await;
    let owner = clinic.server.database().connect(Role::Owner).await;
    owner.batch_execute("SET enable_seqscan = off; SET enable_bitmapscan = off").await.unwrap();
    let rows = owner.query(&history(), &[]).await.unwrap();
    let plan: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    for index in
        ["record_by_update on record r", "record_deleted_by_update on record r", "record_version_by_update"]
    {
        assert!(
            plan.iter().any(|line| line.contains("Backward") && line.contains(index)),
            "{index}: {plan:#?}"
        );
    }
}
