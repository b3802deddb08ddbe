//! Servers whose configured lists differ, and one reindex: whoever is at it goes on, and the others leave it to it.

use std::time::Instant;

use custodia::{
    clock::Clock,
    host,
    interaction::reindex::{RECORDS_AT_ONCE, run_all},
    store::{NIL, cluster::Role, reindex::Passed},
};
use custodia_support::people::Person;

use super::reindex::{REINDEX, SOON, coloured, ended, eyes, sorted};
use crate::clinic::{Clinic, bundle};

/// How far the reindex has come, and of how many lists it is.
async fn place(clinic: &Clinic) -> (i64, Vec<u8>) {
    let owner = clinic.server.database().connect(Role::Owner).await;
    let row = owner.query_one("SELECT passed, list FROM search_index", &[]).await.unwrap();
    (row.get(0), row.get(1))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_servers_whose_lists_differ_one_yields() {
    let clinic = Clinic::listing(&["added:Patient.eye-colour"]).await;
    let admin = clinic.person(Person::Administrator).await;
    let total = usize::try_from(RECORDS_AT_ONCE).unwrap() + 50;
    let urls: Vec<String> = (0..total).map(|n| format!("Patient/p{n:04}")).collect();
    let requests: Vec<_> =
        urls.iter().map(|url| ("PUT", url.as_str(), Some(coloured(&url[8..], "green", "m0")))).collect();
    let _stored = clinic.importer.post("/fhir", &bundle("transaction", &requests)).await.expect(200);
    // The second batch dies as it commits, wherever it runs.
    for sql in [
        "CREATE TABLE fault (now boolean)",
        "CREATE FUNCTION breaks() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF EXISTS (SELECT 1 FROM fault) AND NEW.passed > OLD.passed AND OLD.passed > 0 THEN
                 RAISE EXCEPTION 'killed'; END IF;
             RETURN NEW; END $$",
        "GRANT SELECT ON fault TO custodia_server",
        "INSERT INTO fault VALUES (true)",
        "CREATE TRIGGER breaks BEFORE UPDATE ON search_index FOR EACH ROW EXECUTE FUNCTION breaks()",
    ] {
        clinic.sql(sql).await.unwrap();
    }
    let _made = admin.put("/fhir/SearchParameter/eyes", &eyes()).await.expect(201);
    let _begun = admin.send(reqwest::Method::POST, REINDEX, &[], "").await.expect(202);
    let begun = Instant::now();
    while place(&clinic).await.0 < RECORDS_AT_ONCE {
        assert!(begun.elapsed() < SOON, "the first batch is not done");
    }
    let (_, list) = place(&clinic).await;

    // Another server comes up with a longer list: it looks, and leaves the reindex to whom it is.
    let mut config = clinic.server.config().clone();
    config.search.population.push("Condition.code".to_owned());
    let other = host::start(config, Clock::machine()).await.unwrap();
    for _ in 0..3 {
        assert!(run_all(other.app()).await.is_ok());
        assert_eq!(place(&clinic).await, (RECORDS_AT_ONCE, list.clone()));
    }

    // Nobody has been at it for long: it begins anew with its own, and the first one yields.
    clinic.sql("UPDATE search_index SET moved = moved - interval '1 hour'").await.unwrap();
    assert!(run_all(other.app()).await.is_err(), "it gets as far as the second batch");
    let (passed, own) = place(&clinic).await;
    assert!(passed == RECORDS_AT_ONCE && own != list);
    assert!(run_all(clinic.server.app()).await.is_ok());
    assert_eq!(place(&clinic).await, (RECORDS_AT_ONCE, own.clone()));

    // What was gone over by a list that is no longer the pass's own does not move it on.
    let store = &clinic.server.app().store;
    let (tenant, generation) = store.search_generations().await.unwrap()[0];
    let row = store.search_index(tenant).await.unwrap().unwrap();
    clinic.sql("DELETE FROM fault").await.unwrap();
    let late = Passed {
        from: (row.after_type, row.after_key),
        to: (row.after_type, NIL),
        marked: Vec::new(),
        count: 0,
        list: list.try_into().unwrap(),
    };
    assert!(!store.advance_search_index(tenant, generation, late).await.unwrap());

    let _in_force = ended(&admin).await;
    other.stop().await.unwrap();
    assert_eq!(sorted(&clinic.importer, "/fhir/Patient?eye-colour=green&_count=1000").await.len(), total);
}
