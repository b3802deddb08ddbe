//! What PostgreSQL makes of the statements that find records, in a young database, which has no statistics: plans by
//! key and in the order of an index, whatever the parameters are.

use custodia::store::{
    cluster::Role,
    connect::PLANS,
    everything::ABOUT,
    history::OF_TYPES,
    mark::{MARKED, MARKED_ONCE},
    search::{BY_KEY, BY_PATIENT, STRETCH},
};
use tokio_postgres::Client;

use crate::clinic::Clinic;

/// The join of every look-up by key, in the settings of a lane.
const LOOK_UP: &str = "
    EXPLAIN SELECT r.body FROM unnest('{1}'::int[], '{1}'::smallint[], '{00000000-0000-0000-0000-000000000001}'::uuid[])
        AS k(tenant, type, key)
    JOIN record r ON r.tenant = k.tenant AND r.type = k.type AND r.key = k.key";
const SETTINGS: &str = "SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_seqscan = off";

/// A database nobody has counted.
async fn young() -> (Clinic, Client) {
    let clinic = Clinic::open().await;
    let owner = clinic.server.database().connect(Role::Owner).await;
    let known = "SELECT count(*) FROM pg_stats WHERE tablename = 'record'";
    assert_eq!(owner.query_one(known, &[]).await.unwrap().get::<_, i64>(0), 0, "no statistics yet");
    (clinic, owner)
}

/// The plan for all parameters of a statement that calls what it finds `hit`, or of a whole one.
async fn plan(owner: &Client, text: &str) -> Vec<String> {
    owner.batch_execute(PLANS).await.unwrap();
    // The server says what its parameters are; here the text has to.
    let text = text
        .replace("unnest(?) AS p", "unnest(?::uuid[]) AS p")
        .replace("unnest(?) AS u", "unnest(?::uuid[]) AS u")
        .replace("unnest(?) AS t", "unnest(?::smallint[]) AS t");
    let mut parts = text.split('?');
    let mut numbered = parts.next().unwrap().to_owned();
    let mut places = 0;
    for part in parts {
        places += 1;
        numbered += &format!("${places}{part}");
    }
    if numbered.contains("hit AS") {
        numbered += " SELECT * FROM hit";
    }
    owner.batch_execute(&format!("PREPARE asked AS {numbered}")).await.unwrap();
    let nothing = vec!["NULL"; places].join(", ");
    let rows = owner.query(&format!("EXPLAIN EXECUTE asked({nothing})"), &[]).await.unwrap();
    owner.batch_execute("DEALLOCATE asked").await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

fn must_walk(plan: &[String], indexes: &[&str]) {
    for index in indexes {
        assert!(plan.iter().any(|line| line.contains(index)), "{index}: {plan:#?}");
    }
    let others: Vec<_> = plan
        .iter()
        .filter(|line| line.contains(" using ") || line.contains("Scan on r"))
        .filter(|line| !indexes.iter().any(|index| line.contains(index)))
        .collect();
    assert!(others.is_empty(), "{others:#?} in {plan:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_is_found_by_its_primary_key_before_there_are_statistics() {
    let (_clinic, owner) = young().await;
    owner.batch_execute(SETTINGS).await.unwrap();
    let rows = owner.query(LOOK_UP, &[]).await.unwrap();
    let plan: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert!(plan.iter().any(|line| line.contains("Index Scan using record_pkey on record")), "{plan:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_walks_the_records_of_its_patients_and_no_others() {
    let (_clinic, owner) = young().await;
    let linked = ["using record_link_pkey on record_link", "using record_pkey on record"];
    let backward = "Index Scan Backward using record_by_owner on record";
    must_walk(&plan(&owner, BY_PATIENT).await, &[backward, linked[0], linked[1]]);
    let forward = "Index Scan using record_by_owner on record";
    must_walk(&plan(&owner, ABOUT).await, &[forward, linked[0], linked[1]]);
    must_walk(&plan(&owner, BY_KEY).await, &["using record_pkey on record"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn marks_find_records_by_their_own_index() {
    let (_clinic, owner) = young().await;
    for statement in [MARKED, MARKED_ONCE] {
        must_walk(&plan(&owner, statement).await, &["Bitmap Index Scan on search_mark_by_mark"]);
    }
    let walk = plan(&owner, STRETCH).await;
    must_walk(&walk, &["Index Scan Backward using search_mark_by_update on search_mark"]);
    assert!(!walk.iter().any(|line| line.contains("Sort")), "it ends where the page does: {walk:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_history_of_a_type_walks_indexes_by_time() {
    let (_clinic, owner) = young().await;
    owner.batch_execute("SET enable_bitmapscan = off").await.unwrap();
    let plan = plan(&owner, OF_TYPES).await;
    for index in
        ["record_by_update on record r", "record_deleted_by_update on record r", "record_version_by_update"]
    {
        assert!(
            plan.iter().any(|line| line.contains("Backward") && line.contains(index)),
            "{index}: {plan:#?}"
        );
    }
}
