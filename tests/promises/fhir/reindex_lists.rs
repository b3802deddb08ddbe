//! Servers whose configured lists differ, and one reindex: whoever is at it goes on, and the others leave it to it.

use std::time::Instant;

use custodia::{
    clock::Clock,
    fhir::kinds::ResourceType,
    host,
    interaction::reindex::{RECORDS_AT_ONCE, run_all},
    store::{
        NIL,
        cluster::Role,
        mark::{Remarked, SearchList},
        reindex::Passed,
    },
    tenant::TenantId,
};
use custodia_support::people::Person;

use super::reindex::{REINDEX, SOON, break_second_batch, coloured, ended, eyes, sorted};
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
    break_second_batch(&clinic, "").await;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn marks_made_at_a_start_give_way_to_a_reindex_that_began_meanwhile() {
    let clinic = Clinic::listing(&["added:Patient.eye-colour"]).await;
    let admin = clinic.person(Person::Administrator).await;
    clinic.put(&coloured("ann", "green", "m0")).await;
    let mut owner = clinic.server.database().connect(Role::Owner).await;
    let held = owner.transaction().await.unwrap();
    let kind = ResourceType::PATIENT.code();
    let asked = "SELECT tenant, type, key::text, version FROM record WHERE type = $1 FOR UPDATE";
    let row = held.query_one(asked, &[&kind]).await.unwrap();
    let key = row.get::<_, &str>(2).parse().unwrap();
    let (tenant, place) = (TenantId(row.get(0)), (row.get(0), row.get(1), key));
    // It was begun before there was anything to reindex, and waits for the record.
    let (app, version) = (clinic.server.app().clone(), row.get(3));
    let list = SearchList { begun: [1; 32], made: [2; 32] };
    app.store.begin_search_list(tenant, list).await.unwrap();
    let late =
        tokio::spawn(
            async move { app.store.remark((tenant, 0), list, vec![(place, version, vec![])]).await },
        );
    let watch = clinic.server.database().connect(Role::Owner).await;
    let begun = Instant::now();
    let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted";
    while watch.query_one(waits, &[]).await.unwrap().get::<_, i64>(0) == 0 {
        assert!(begun.elapsed() < SOON, "it does not wait");
    }
    let _made = admin.put("/fhir/SearchParameter/eyes", &eyes()).await.expect(201);
    let _begun = admin.send(reqwest::Method::POST, REINDEX, &[], "").await.expect(202);
    held.commit().await.unwrap();
    assert_eq!(late.await.unwrap().unwrap(), Remarked::OtherParameters, "they know nothing of the parameter");
    let _in_force = ended(&admin).await;
    assert_eq!(sorted(&clinic.importer, "/fhir/Patient?eye-colour=green").await, ["ann"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn marks_that_were_half_made_by_another_list_are_made_anew() {
    let clinic = Clinic::listing(&["Patient.address-city"]).await;
    let mut ann = coloured("ann", "green", "m0");
    ann["address"] = serde_json::json!([{"city": "Anytown"}]);
    clinic.put(&ann).await;
    let found = "/fhir/Patient?address-city=Anytown";
    assert_eq!(sorted(&clinic.importer, found).await, ["ann"]);
    // A start by a shorter list gets as far as the last step: the marks are set, and the list is not noted down.
    for sql in [
        "CREATE SEQUENCE steps",
        "GRANT USAGE ON steps TO custodia_server",
        "CREATE FUNCTION breaks() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF nextval('steps') = 2 THEN RAISE EXCEPTION 'killed'; END IF; RETURN NEW; END $$",
        "CREATE TRIGGER breaks BEFORE UPDATE ON search_list FOR EACH ROW EXECUTE FUNCTION breaks()",
    ] {
        clinic.sql(sql).await.unwrap();
    }
    let mut shorter = clinic.server.config().clone();
    shorter.search.population.clear();
    assert!(host::start(shorter, Clock::machine()).await.is_err());
    // The next one has the list from before.
    let again = host::start(clinic.server.config().clone(), Clock::machine()).await.unwrap();
    assert_eq!(sorted(&clinic.importer, found).await, ["ann"]);
    again.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_starts_by_different_lists_one_gives_way() {
    let clinic = Clinic::listing(&["Patient.address-city"]).await;
    clinic.put(&coloured("ann", "green", "m0")).await;
    let app = clinic.server.app().clone();
    let tenant = app.store.tenants().await.unwrap()[0].id();
    let list = |one: u8| SearchList { begun: [one; 32], made: [one + 1; 32] };
    app.store.begin_search_list(tenant, list(1)).await.unwrap();
    assert_eq!(app.store.remark((tenant, 0), list(1), Vec::new()).await.unwrap(), Remarked::Done);
    app.store.begin_search_list(tenant, list(3)).await.unwrap();
    assert_eq!(app.store.remark((tenant, 0), list(1), Vec::new()).await.unwrap(), Remarked::OtherList);
    assert!(!app.store.end_search_list(tenant, list(1)).await.unwrap());
    assert!(app.store.end_search_list(tenant, list(3)).await.unwrap());
    // Two that have the same list do the same, and the one that is later finds it done.
    assert_eq!(app.store.remark((tenant, 0), list(3), Vec::new()).await.unwrap(), Remarked::Done);
    assert!(app.store.end_search_list(tenant, list(3)).await.unwrap());
}
