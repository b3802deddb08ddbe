//! No entry, no answer: the empty 503, with nothing stored and nothing told.

use custodia::store::cluster::Role;
use custodia_support::{client::Reply, people::Person};
use tokio_postgres::Client;

use crate::clinic::{Clinic, observation, without_id};

/// What keeps the committer from its end, at two of its steps, and what mends it.
const BREAKS: [(&str, &str); 2] = [
    ("REVOKE INSERT ON ledger_entry FROM custodia_server", "GRANT INSERT ON ledger_entry TO custodia_server"),
    ("REVOKE UPDATE ON ledger_head FROM custodia_server", "GRANT UPDATE ON ledger_head TO custodia_server"),
];

async fn rows(owner: &Client) -> i64 {
    let sql = "SELECT (SELECT count(*) FROM record) + (SELECT count(*) FROM record_version)
               + (SELECT count(*) FROM ledger_entry)";
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
        owner.execute(broken, &[]).await.unwrap();
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
        owner.execute(mended, &[]).await.unwrap();
        let served = physician.get("/fhir/Observation/pulse").await.expect(200);
        assert_eq!(
            served.json()["meta"]["versionId"],
            "1",
            "it serves again, and what was refused was not stored"
        );
        assert_eq!(rows(&owner).await, before + 1);
    }
}
