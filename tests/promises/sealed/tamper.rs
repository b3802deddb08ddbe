//! Whoever can write to the database can break records, and cannot make the server show another.

use custodia::store::cluster::{Role, SERVER};
use custodia_support::{
    client::{Client, Reply},
    people::{Partner, Person},
};
use serde_json::json;

use crate::clinic::{Clinic, observation, outcome, patient};

/// What a permitted caller is told of a record that does not open.
const TOLD: &str = "The stored record failed its integrity check and was not released. Tell your operator the receipt of this answer.";

/// Ledger index of the write of a record, by which SQL finds its row.
async fn written(clinic: &Clinic, id: &str, patient: &str) -> u64 {
    let path = format!("/fhir/Observation/{id}");
    clinic.importer.put(&path, &observation(id, patient, id)).await.receipt().unwrap()
}

/// Refused as broken to whoever could read it, as absent to a stranger, and recorded as what it is.
async fn assert_refused(clinic: &Clinic, physician: &Client, stranger: &Client, path: &str, what: &str) {
    let broken = physician.get(path).await;
    assert_eq!((broken.status, broken.json()), (500, outcome("exception", TOLD)), "{what}");
    let entry = clinic.server.entry(broken.receipt().unwrap()).await;
    assert_eq!(entry.event.outcome.code, "integrity", "{what}");
    assert!(entry.object.items.is_empty(), "{what}");
    let hidden: Reply = stranger.get(path).await;
    let absent = stranger.get("/fhir/Observation/nothing").await;
    assert_eq!((hidden.status, hidden.body), (404, absent.body), "{what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_was_changed_moved_or_rolled_back_is_refused() {
    let clinic = Clinic::open().await;
    clinic.put(&patient("bob", &["Practitioner/grey"])).await;
    let (physician, stranger) =
        (clinic.person(Person::Physician).await, clinic.person(Person::Stranger).await);
    let first = written(&clinic, "target", "ann").await;
    let target = written(&clinic, "target", "ann").await;
    let sibling = written(&clinic, "sibling", "ann").await;
    let bobs = written(&clinic, "bobs", "bob").await;
    let path = "/fhir/Observation/target";
    let whole = physician.get(path).await.expect(200);
    let flip = |byte: &str| {
        format!("body = set_byte(body::bytea, {byte}, get_byte(body::bytea, {byte}) # 1)::sealed")
    };
    let from =
        |entry: u64, column: &str| format!("{column} = (SELECT {column} FROM record WHERE entry = {entry})");
    let cases: Vec<(&str, String)> = vec![
        ("a bit of what is inside", flip("3")),
        ("a bit of the compression", flip("4")),
        ("a bit of the key's id", flip("10")),
        ("a bit of the key's version", flip("23")),
        ("a bit of the salt", flip("30")),
        ("a bit of the commitment", flip("60")),
        ("a bit of the ciphertext", flip("100")),
        ("a bit of the tag", flip("octet_length(body::bytea) - 1")),
        (
            "a byte less",
            "body = substring(body::bytea FROM 1 FOR octet_length(body::bytea) - 1)::sealed".to_owned(),
        ),
        ("another record of the patient's", from(sibling, "body")),
        ("another patient's record", from(bobs, "body")),
        ("another patient's record and key", format!("{}, {}", from(bobs, "body"), from(bobs, "owner"))),
        ("another patient", from(bobs, "owner")),
        ("an earlier version", format!("body = (SELECT body FROM record_version WHERE entry = {first})")),
        (
            "an earlier version whole",
            format!("version = 1, body = (SELECT body FROM record_version WHERE entry = {first})"),
        ),
        ("another version number", "version = 3".to_owned()),
        ("another time", "updated = updated + interval '1 second'".to_owned()),
        ("a tombstone", "deleted = true".to_owned()),
    ];
    clinic.sql("CREATE TABLE kept AS SELECT * FROM record").await.unwrap();
    for (what, change) in cases {
        let changed =
            clinic.sql(&format!("UPDATE record SET {change} WHERE entry = {target}")).await.unwrap();
        assert_eq!(changed, 1, "{what}");
        assert_refused(&clinic, &physician, &stranger, path, what).await;
        // A row that says it is another patient's, or deleted, is no candidate; any other stops the search. The
        // log still has its entry, which an audit finds without a row.
        let hides = change.contains("owner =") || change.contains("deleted =");
        let search = physician.get("/fhir/Observation?patient=ann").await;
        assert_eq!(search.status, if hides { 200 } else { 500 }, "{what}");
        assert!(!search.text().contains("/target"), "{what}");
        let theirs = stranger.get("/fhir/Observation?patient=ann").await.expect(200).json();
        assert_eq!(theirs["total"], 0, "{what}");
        clinic.sql(&format!("DELETE FROM record WHERE entry = {target}")).await.unwrap();
        clinic.sql(&format!("INSERT INTO record SELECT * FROM kept WHERE entry = {target}")).await.unwrap();
        assert_eq!(physician.get(path).await.expect(200).body, whole.body, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_moved_to_another_id_or_tenant_is_refused() {
    let clinic = Clinic::open().await;
    let physician = clinic.person(Person::Physician).await;
    let far = clinic.server.partner(Partner::FarImporter);
    // An id that is a UUID is its own key, so a row of it fits into any tenant.
    let id = "5f0c6c6e-4a3f-4a57-9a35-0f6d8f3b5a01";
    let other = "5f0c6c6e-4a3f-4a57-9a35-0f6d8f3b5a02";
    let entry = written(&clinic, id, "ann").await;
    let columns = "type, deleted, version, key, owner, updated, entry, owner_version, body";
    let copy = |tenant: i32, key: &str| {
        format!(
            "INSERT INTO record (tenant, {columns}) SELECT {tenant}, {} FROM record WHERE entry = {entry} AND tenant = 1 LIMIT 1",
            columns.replace("key", key)
        )
    };
    clinic.sql(&copy(1, &format!("'{other}'::uuid"))).await.unwrap();
    let moved = physician.get(&format!("/fhir/Observation/{other}")).await.expect(500);
    assert_eq!(moved.json(), outcome("exception", TOLD));
    clinic
        .sql(&format!(
            "INSERT INTO record (tenant, {columns}) SELECT 2, {columns} FROM record WHERE key = '{id}'"
        ))
        .await
        .unwrap();
    let path = format!("/fhir/Observation/{id}");
    let no_key = far.get(&path).await.expect(404);
    assert_eq!(no_key.body, far.get("/fhir/Observation/nothing").await.body);
    clinic.sql("INSERT INTO data_key SELECT 2, id, version, under, wrapped, created FROM data_key WHERE tenant = 1").await.unwrap();
    let wrong_key = far.get(&path).await.expect(500);
    assert_eq!(wrong_key.json(), outcome("exception", TOLD));
    let _its_own = physician.get(&path).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accounts_and_keys_that_were_changed_admit_nobody() {
    let clinic = Clinic::open().await;
    let physician = clinic.person(Person::Physician).await;
    let flip = |column: &str| {
        format!("{column} = set_byte({column}::bytea, 100, get_byte({column}::bytea, 100) # 1)::sealed")
    };
    clinic.sql(&format!("UPDATE data_key SET {}", flip("wrapped"))).await.unwrap();
    let broken = physician.get("/fhir/Observation/pulse").await.expect(500);
    assert_eq!(broken.json(), outcome("exception", TOLD));
    clinic.sql(&format!("UPDATE account SET {}", flip("body"))).await.unwrap();
    let form = format!(
        "grant_type=password&username=grey&password={}",
        custodia_support::people::PASSWORD.replace(' ', "+")
    );
    let refused = clinic.server.anybody().form("/auth/token", &form).await.expect(500);
    assert_eq!(refused.issue(), "exception");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrapped_key_that_was_changed_is_told_to_nobody_it_is_hidden_from() {
    let clinic = Clinic::open().await;
    clinic.put(&patient("bob", &["Practitioner/cold"])).await;
    clinic.put(&observation("bobs", "bob", "x")).await;
    clinic
        .put(&json!({"resourceType": "Observation", "id": "both", "status": "final", "code": {"text": "x"},
            "subject": {"reference": "Patient/ann"}, "performer": [{"reference": "Patient/bob"}]}))
        .await;
    let (physician, stranger) =
        (clinic.person(Person::Physician).await, clinic.person(Person::Stranger).await);
    let _broken = clinic
        .sql(
            "UPDATE data_key SET wrapped = set_byte(wrapped::bytea, 100, get_byte(wrapped::bytea, 100) # 1)::sealed
             WHERE id = (SELECT key FROM record WHERE entry = (SELECT min(entry) FROM record))",
        )
        .await
        .unwrap();
    let told = physician.get("/fhir/Observation/pulse").await.expect(500);
    assert_eq!(told.json(), outcome("exception", TOLD));
    let absent = stranger.get("/fhir/Observation/nothing").await.expect(404);
    for id in ["pulse", "both"] {
        for path in [format!("/fhir/Observation/{id}"), format!("/fhir/Observation/{id}/_history/1")] {
            assert_eq!(stranger.get(&path).await.expect(404).body, absent.body, "{path}");
        }
    }
    for path in
        ["/fhir/Observation?patient=ann", "/fhir/Observation?_id=pulse,both", "/fhir/Observation/_history"]
    {
        let page = stranger.get(path).await.expect(200).json();
        assert!(!page["entry"].to_string().contains("pulse"), "{path}");
    }
    let write = observation("pulse", "ann", "mine");
    let _refused = stranger.put("/fhir/Observation/pulse", &write).await.expect(403);
    let _refused =
        stranger.put("/fhir/Observation/fresh", &observation("fresh", "ann", "x")).await.expect(403);
    let _told =
        clinic.importer.put("/fhir/Observation/fresh", &observation("fresh", "ann", "x")).await.expect(500);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_is_changed_by_neither_role() {
    let clinic = Clinic::open().await;
    for role in [Role::Server, Role::Owner] {
        let client = clinic.server.database().connect(role).await;
        for statement in [
            "UPDATE ledger_entry SET leaf = leaf",
            "DELETE FROM ledger_entry",
            "TRUNCATE ledger_entry",
            "UPDATE ledger_tile SET hashes = hashes",
            "DELETE FROM ledger_tile",
            "TRUNCATE ledger_tile",
            "DELETE FROM ledger_head",
            "TRUNCATE ledger_head",
            "UPDATE ledger_head SET size = size - 1",
            "UPDATE ledger_head SET origin = 'elsewhere'",
            "UPDATE record_version SET version = version",
            "TRUNCATE record_version",
        ] {
            let error = client.execute(statement, &[]).await.expect_err(statement);
            assert_eq!(error.code().unwrap().code(), "42501", "{statement}");
        }
    }
    let owner = clinic.server.database().connect(Role::Owner).await;
    let sql = "SELECT t.relname::text, p.privilege FROM pg_class t CROSS JOIN
               unnest(ARRAY['UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) AS p (privilege)
               WHERE t.relnamespace = 'public'::regnamespace AND t.relkind = 'r'
               AND has_table_privilege($1, t.oid, p.privilege) ORDER BY 1, 2";
    let rows = owner.query(sql, &[&SERVER]).await.unwrap();
    let held: Vec<(String, String)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let expected = [
        ("account", "UPDATE"),
        ("assertion_seen", "DELETE"),
        ("criterion", "UPDATE"),
        ("definition_package", "DELETE"),
        ("definition_package", "UPDATE"),
        ("ledger_head", "UPDATE"),
        ("record", "UPDATE"),
        ("record_link", "DELETE"),
        ("relation", "DELETE"),
        ("search_index", "UPDATE"),
        ("search_list", "UPDATE"),
        ("search_mark", "DELETE"),
        ("search_mark", "UPDATE"),
    ];
    assert_eq!(held, expected.map(|(table, privilege)| (table.to_owned(), privilege.to_owned())));
    let _nothing_happened = clinic.importer.get("/fhir/Patient/ann").await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_column_takes_what_is_not_sealed() {
    let clinic = Clinic::open().await;
    for statement in [
        "UPDATE record SET body = 'in clear'::bytea",
        "UPDATE record SET body = ('\\xc5d101'::bytea || 'short'::bytea)",
        "UPDATE account SET body = ''::bytea",
        "UPDATE data_key SET wrapped = decode(repeat('00', 200), 'hex')",
    ] {
        let error = clinic.sql(statement).await.expect_err(statement);
        assert_eq!(error.code().unwrap().code(), "23514", "{statement}");
    }
    let read = clinic.importer.get("/fhir/Observation/pulse").await.expect(200).json();
    assert_eq!(read["code"], json!({"text": "72/min"}));
}
