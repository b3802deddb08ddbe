//! No entry, no answer: the empty 503, with nothing stored and nothing told.

use custodia::store::cluster::Role;
use custodia_support::{client::Reply, people::Person};
use tokio_postgres::Client;

use crate::clinic::{Clinic, observation, without_id};

/// What keeps the committer from its end, at three of its steps, and what mends it. The last is a head that does not
/// move, without any error of PostgreSQL.
const BREAKS: [(&str, &str); 3] = [
    ("REVOKE INSERT ON ledger_entry FROM custodia_server", "GRANT INSERT ON ledger_entry TO custodia_server"),
    ("REVOKE UPDATE ON ledger_head FROM custodia_server", "GRANT UPDATE ON ledger_head TO custodia_server"),
    (
        "CREATE FUNCTION stay() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
         CREATE TRIGGER stay BEFORE UPDATE ON ledger_head FOR EACH ROW EXECUTE FUNCTION stay()",
        "DROP TRIGGER stay ON ledger_head; DROP FUNCTION stay()",
    ),
];

/// Records and accesses. While the ledger fails the server tries it with heartbeats: those have no body.
async fn rows(owner: &Client) -> i64 {
    let sql = "SELECT (SELECT count(*) FROM record) + (SELECT count(*) FROM record_version)
               + (SELECT count(*) FROM ledger_entry WHERE body IS NOT NULL)";
    owner.query_one(sql, &[]).await.unwrap().get(0)
}

fn assert_empty(reply: &Reply, what: &str) {
    assert_eq!((reply.status, reply.text().as_str()), (503, ""), "{what}");
    assert_eq!(reply.receipt(), None, "{what}");
    assert_eq!(reply.header("retry-after"), Some("1"), "{what}");
    for told in ["etag", "location", "last-modified"] {
        assert_eq!(reply.header(told), None, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_log_takes_no_entry_nothing_leaves_and_nothing_is_stored() {
    let clinic = Clinic::open().await;
    let owner = clinic.server.database().connect(Role::Owner).await;
    let physician = clinic.person(Person::Physician).await;
    let new = without_id(observation("x", "ann", "x"));
    let changed = observation("pulse", "ann", "y");
    let form = "grant_type=password&username=grey&password=correct+horse+battery+staple";
    for (broken, mended) in BREAKS {
        let before = rows(&owner).await;
        owner.batch_execute(broken).await.unwrap();
        let anybody = clinic.server.anybody();
        assert_empty(&physician.get("/fhir/Observation/pulse").await, "read");
        assert_empty(&physician.get("/fhir/Observation?patient=ann").await, "search");
        assert_empty(&physician.get("/fhir/Observation/pulse/_history").await, "history");
        assert_empty(&physician.get("/fhir/Observation/nothing").await, "absent");
        assert_empty(&physician.post("/fhir/Observation", &new).await, "create");
        assert_empty(&physician.put("/fhir/Observation/pulse", &changed).await, "update");
        assert_empty(&physician.delete("/fhir/Observation/pulse").await, "delete");
        assert_empty(&anybody.get("/fhir/metadata").await, "metadata");
        assert_empty(&anybody.get("/fhir/Patient/ann").await, "anonymous");
        assert_empty(&anybody.get("/nowhere").await, "no route");
        assert_empty(&anybody.form("/auth/token", form).await, "token");
        assert_eq!(rows(&owner).await, before, "{broken}");
        owner.batch_execute(mended).await.unwrap();
        let served = physician.get("/fhir/Observation/pulse").await.expect(200);
        assert_eq!(
            served.json()["meta"]["versionId"],
            "1",
            "it serves again, and what was refused was not stored"
        );
        assert_eq!(rows(&owner).await, before + 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_head_is_held_by_another_what_waited_too_long_is_refused_whole() {
    let clinic = Clinic::open().await;
    let physician = clinic.person(Person::Physician).await;
    let mut holder = clinic.server.database().connect(Role::Owner).await;
    let owner = clinic.server.database().connect(Role::Owner).await;
    let before = rows(&owner).await;
    let held = holder.transaction().await.unwrap();
    held.query("SELECT 1 FROM ledger_head FOR UPDATE", &[]).await.unwrap();
    let new = without_id(observation("x", "ann", "x"));
    let (read, create) =
        tokio::join!(physician.get("/fhir/Observation/pulse"), physician.post("/fhir/Observation", &new));
    assert_empty(&read, "read");
    assert_empty(&create, "create");
    held.rollback().await.unwrap();
    assert_eq!(rows(&owner).await, before);
    let _served = physician.get("/fhir/Observation/pulse").await.expect(200);
    assert_eq!(rows(&owner).await, before + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_every_connection_is_cut_the_next_requests_are_served_again() {
    let clinic = Clinic::open().await;
    let physician = clinic.person(Person::Physician).await;
    let owner = clinic.server.database().connect(Role::Owner).await;
    let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
               WHERE datname = current_database() AND usename = 'custodia_server'";
    for round in 0..3 {
        let ended: i64 = owner.query_one(cut, &[]).await.unwrap().get(0);
        assert!(ended > 0, "round {round}");
        let mut served = false;
        for _ in 0..20 {
            let reply = physician.get("/fhir/Observation/pulse").await;
            assert!(matches!(reply.status, 200 | 503), "{}", reply.status);
            assert_eq!(reply.status == 200, reply.text().contains("72/min"), "nothing leaves with a refusal");
            served |= reply.status == 200;
            if served {
                break;
            }
        }
        assert!(served, "round {round}: it does not come back");
    }
}
