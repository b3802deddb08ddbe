//! Servers whose configured lists differ, and one reindex: whoever is at it goes on, and the others leave it to it.

use std::time::Instant;

use custodia::{
    clock::Clock,
    fhir::kinds::ResourceType,
    host,
    interaction::reindex::{RECORDS_AT_ONCE, run_all},
    store::{NIL, cluster::Role, reindex::Passed},
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
    let late =
        tokio::spawn(async move { app.store.remark((tenant, 0), vec![(place, version, vec![])]).await });
    let watch = clinic.server.database().connect(Role::Owner).await;
    let begun = Instant::now();
    let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted";
    while watch.query_one(waits, &[]).await.unwrap().get::<_, i64>(0) == 0 {
        assert!(begun.elapsed() < SOON, "it does not wait");
    }
    let _made = admin.put("/fhir/SearchParameter/eyes", &eyes()).await.expect(201);
    let _begun = admin.send(reqwest::Method::POST, REINDEX, &[], "").await.expect(202);
    held.commit().await.unwrap();
    assert!(!late.await.unwrap().unwrap(), "its marks know nothing of the parameter");
    let _in_force = ended(&admin).await;
    assert_eq!(sorted(&clinic.importer, "/fhir/Patient?eye-colour=green").await, ["ann"]);
}
