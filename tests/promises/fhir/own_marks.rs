//! Searches within one patient's records, narrowed by marks under her own key.

use std::collections::HashSet;

use custodia::store::cluster::Role;
use serde_json::{Value, json};

use crate::clinic::{Clinic, ids, patient};

const CODES: [&str; 6] = ["8867-4", "8310-5", "9279-1", "2708-6", "29463-7", "8302-2"];

fn reading(id: &str, of: &str, code: &str, on: &str) -> Value {
    json!({
        "resourceType": "Observation", "id": id, "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": code}]},
        "subject": {"reference": format!("Patient/{of}")}, "effectiveDateTime": on,
    })
}

async fn found(clinic: &Clinic, query: &str) -> Vec<String> {
    let mut found = ids(&clinic.importer.get(&format!("/fhir/Observation?{query}")).await.expect(200).json());
    found.sort_unstable();
    found
}

async fn change(clinic: &Clinic, set: &str) {
    let owner = clinic.server.database().connect(Role::Owner).await;
    let sql = format!("UPDATE record SET {set} WHERE own_marks IS NOT NULL");
    assert!(owner.execute(&sql, &[]).await.unwrap() > 0, "{set}");
}

async fn two_patients() -> Clinic {
    let clinic = Clinic::open().await;
    for who in ["bob", "eve"] {
        clinic.put(&patient(who, &[])).await;
        for (year, code) in (2001..).zip(CODES) {
            clinic.put(&reading(&format!("{who}-{code}"), who, code, &format!("{year}-03-14"))).await;
        }
    }
    clinic
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn her_codes_and_days_lead_to_her_records_and_to_no_others() {
    let clinic = two_patients().await;
    for (query, expected) in [
        ("patient=bob&code=8310-5", vec!["bob-8310-5"]),
        ("patient=bob&code=http://loinc.org|8310-5,8302-2", vec!["bob-8302-2", "bob-8310-5"]),
        ("patient=bob&code=8310-5&date=2002", vec!["bob-8310-5"]),
        ("patient=bob&code=8310-5&date=2003", vec![]),
        ("patient=bob&date=gt2004-04", vec!["bob-29463-7", "bob-8302-2"]),
        ("patient=bob&date=ge2005-03-14", vec!["bob-29463-7", "bob-8302-2"]),
        ("patient=bob&date=lt2002", vec!["bob-8867-4"]),
        ("patient=bob&date=le2002-03-14&code=8310-5,8302-2", vec!["bob-8310-5"]),
        ("patient=bob&status=final&_sort=-date&_count=1", vec!["bob-8302-2"]),
        ("patient=bob&status=amended", vec![]),
        ("patient=bob&code:not=8310-5&date=2002", vec![]),
        ("patient=bob,eve&code=8310-5", vec!["bob-8310-5", "eve-8310-5"]),
        ("patient=bob,bob&code=8310-5", vec!["bob-8310-5"]),
        ("patient=bob,eve,bob&code=8310-5", vec!["bob-8310-5", "eve-8310-5"]),
        (
            "patient=bob&_filter=patient eq eve or (patient eq bob or patient eq bob)&code=8310-5",
            vec!["bob-8310-5"],
        ),
        (
            "_filter=patient eq eve or (patient eq bob or patient eq bob)&code=8310-5",
            vec!["bob-8310-5", "eve-8310-5"],
        ),
        ("patient=nobody&code=8310-5", vec![]),
        ("subject:Patient.name=F-eve&code=8310-5", vec!["eve-8310-5"]),
        ("patient=bob&_filter=code eq 8310-5 or code eq 8302-2", vec!["bob-8302-2", "bob-8310-5"]),
    ] {
        assert_eq!(found(&clinic, &query.replace(' ', "%20")).await, expected, "{query}");
    }
    // A version's marks are its own.
    clinic.put(&reading("bob-8310-5", "bob", "8480-6", "2010-03-14")).await;
    assert_eq!(found(&clinic, "patient=bob&code=8310-5").await, [""; 0]);
    assert_eq!(found(&clinic, "patient=bob&code=8480-6").await, ["bob-8310-5"]);
    // And it is moved to the older ones with them; a tombstone has none.
    let _deleted = clinic.importer.delete("/fhir/Observation/bob-8310-5").await.expect(204);
    assert_eq!(found(&clinic, "patient=bob&code=8480-6").await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn marks_narrow_only_where_they_are_of_this_list_and_this_version() {
    let query = "patient=bob&code=8310-5";
    for (set, is_found) in [
        // Rows of a server of the release before: none, or those of the version before.
        ("own_marks = NULL", true),
        ("own_marks[2] = own_marks[2] + 1", true),
        // By another list.
        ("own_marks[1] = own_marks[1] # 1", true),
        ("own_marks = '{}'", true),
        // None of these bears what is asked for: what is looked for by a mark is not looked for otherwise.
        ("own_marks = own_marks[1:2]", false),
    ] {
        let clinic = two_patients().await;
        change(&clinic, set).await;
        let expected: &[&str] = if is_found { &["bob-8310-5"] } else { &[] };
        assert_eq!(found(&clinic, query).await, expected, "{set}");
        assert_eq!(found(&clinic, "patient=bob").await.len(), CODES.len(), "{set}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_patients_with_the_same_records_have_no_mark_in_common() {
    let clinic = two_patients().await;
    let owner = clinic.server.database().connect(Role::Owner).await;
    let sql = "SELECT r.owner::text, r.own_marks[3:] AS marks FROM record r WHERE r.own_marks[3:] <> '{}'";
    let rows = owner.query(sql, &[]).await.unwrap();
    let mut of = std::collections::HashMap::<String, HashSet<i16>>::new();
    for row in &rows {
        of.entry(row.get("owner")).or_default().extend(row.get::<_, Vec<i16>>("marks"));
    }
    let mut both: Vec<_> = of.into_values().filter(|marks| marks.len() > CODES.len()).collect();
    let (bob, eve) = (both.pop().unwrap(), both.pop().unwrap());
    assert!(both.is_empty() && bob.len() >= 2 * CODES.len(), "{}", bob.len());
    // Two sets of some twenty out of 65,536 share one by chance in one run of two hundred.
    assert!(bob.intersection(&eve).count() <= 1, "{bob:?} {eve:?}");
}
