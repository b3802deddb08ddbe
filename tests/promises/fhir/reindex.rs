//! A tenant's own search parameters: unknown before a reindex, exact after it, whatever happens while it runs.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::{Duration, Instant},
};

use custodia::{
    clock::Clock, fhir::kinds::ResourceType, host::reindex, interaction::reindex::RECORDS_AT_ONCE,
};
use custodia_audit::Kind;
use custodia_support::{
    client::{Client, Reply},
    people::{Partner, Person},
    server::{CLINIC, OTHER},
};
use serde_json::{Value, json};

use crate::clinic::{Clinic, bundle, found, ids};

pub(super) const REINDEX: &str = "/fhir/SearchParameter/$reindex";
const EYES: &str = "http://x.test/eye-colour";
const MENTOR: &str = "http://x.test/mentor";
const COLOURS: [&str; 5] = ["green", "blue", "brown", "grey", "amber"];
const STRICT: [(&str, &str); 1] = [("prefer", "handling=strict")];
/// How long something may take that happens within seconds.
pub(super) const SOON: Duration = Duration::from_secs(60);

fn parameter(id: &str, code: &str, base: &str, kind: &str, expression: &str) -> Value {
    json!({"resourceType": "SearchParameter", "id": id, "status": "active", "url": format!("http://x.test/{id}"),
        "name": "Own", "description": "Of our own.", "code": code, "base": [base], "type": kind,
        "expression": expression})
}

pub(super) fn eyes() -> Value {
    let expression = format!("Patient.extension('{EYES}').value.as(Coding)");
    parameter("eyes", "eye-colour", "Patient", "token", &expression)
}

pub(super) fn coloured(id: &str, colour: &str, mentor: &str) -> Value {
    json!({"resourceType": "Patient", "id": id, "name": [{"family": "Coloured"}], "extension": [
        {"url": EYES, "valueCoding": {"system": "urn:colours", "code": colour}},
        {"url": MENTOR, "valueReference": {"reference": format!("Practitioner/{mentor}")}}]})
}

async fn status(admin: &Client) -> Reply {
    admin.get(REINDEX).await
}

/// Asks until it is over; what is in force then.
pub(super) async fn ended(admin: &Client) -> Value {
    let begun = Instant::now();
    loop {
        let reply = status(admin).await;
        match reply.status {
            200 => return reply.json(),
            202 => assert!(reply.header("x-progress").is_some_and(|text| text.ends_with(" records"))),
            _ => _ = reply.expect(202),
        }
        assert!(begun.elapsed() < SOON, "the reindex does not end");
    }
}

/// From here on the second batch dies as it commits, again and again, wherever it runs, until table `fault` is empty.
/// `also` is what else is tested of each step, in PL/pgSQL.
pub(super) async fn break_second_batch(clinic: &Clinic, also: &str) {
    let function = format!(
        "CREATE FUNCTION breaks() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {also}
             IF EXISTS (SELECT 1 FROM fault) AND NEW.passed > OLD.passed AND OLD.passed > 0 THEN
                 RAISE EXCEPTION 'killed'; END IF;
             RETURN NEW; END $$"
    );
    for sql in [
        "CREATE TABLE fault (now boolean)",
        &function,
        "GRANT SELECT ON fault TO custodia_server",
        "INSERT INTO fault VALUES (true)",
        "CREATE TRIGGER breaks BEFORE UPDATE ON search_index FOR EACH ROW EXECUTE FUNCTION breaks()",
    ] {
        clinic.sql(sql).await.unwrap();
    }
}

async fn reindexed(admin: &Client) -> Value {
    let reply = admin.send(reqwest::Method::POST, REINDEX, &[], "").await.expect(202);
    assert!(reply.header("content-location").unwrap().ends_with(REINDEX));
    ended(admin).await
}

pub(super) async fn sorted(client: &Client, path: &str) -> Vec<String> {
    let mut all = ids(&client.get_with(path, &STRICT).await.expect(200).json());
    all.sort();
    all
}

async fn refused(client: &Client, path: &str) {
    let reply = client.get_with(path, &STRICT).await.expect(400);
    assert_eq!(reply.issue(), "not-supported", "{path}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_added_parameter_counts_after_a_reindex_for_its_tenant_alone() {
    let clinic = Clinic::listing(&["all"]).await;
    let (admin, importer) = (clinic.person(Person::Administrator).await, &clinic.importer);
    for (id, name) in [("m0", "Zimt"), ("m1", "Anis")] {
        clinic.put(&json!({"resourceType": "Practitioner", "id": id, "name": [{"family": name}]})).await;
    }
    let patients: Vec<Value> = (0..23)
        .map(|n| coloured(&format!("p{n:02}"), COLOURS[n * 7 % 5], if n % 3 == 0 { "m0" } else { "m1" }))
        .collect();
    for one in &patients {
        clinic.put(one).await;
    }
    let expected = |holds: &dyn Fn(&Value) -> bool| -> Vec<String> {
        patients.iter().filter(|one| holds(one)).map(|one| one["id"].as_str().unwrap().to_owned()).collect()
    };
    let colour = |one: &Value, code: &str| one["extension"][0]["valueCoding"]["code"] == code;
    let mentor = |one: &Value, id: &str| one["extension"][1]["valueReference"]["reference"] == id;

    let _made = admin.put("/fhir/SearchParameter/eyes", &eyes()).await.expect(201);
    let expression = format!("Patient.extension.where(url = '{MENTOR}').value");
    let mut reference = parameter("mentor", "mentor", "Patient", "reference", &expression);
    reference["target"] = json!(["Practitioner"]);
    let _made = admin.put("/fhir/SearchParameter/mentor", &reference).await.expect(201);

    // Stored, and in force nowhere.
    refused(importer, "/fhir/Patient?eye-colour=green").await;
    let lenient = importer.get("/fhir/Patient?eye-colour=green&_count=1").await.expect(200).json();
    let warned = found(&lenient).iter().any(|one| one["issue"][0]["severity"] == "warning");
    assert!(warned, "an unknown parameter is ignored with a word");

    let in_force = reindexed(&admin).await;
    let parts = |n: usize| in_force["parameter"][n]["part"].clone();
    assert_eq!(parts(1)[1]["valueCode"], "eye-colour");
    assert_eq!((&parts(2)[1]["valueCode"], &parts(2)[3]["valueBoolean"]), (&json!("mentor"), &json!(true)));

    for code in COLOURS {
        let wanted = expected(&|one| colour(one, code));
        assert_eq!(sorted(importer, &format!("/fhir/Patient?eye-colour={code}")).await, wanted, "{code}");
        let path = format!("/fhir/Patient?eye-colour=urn:colours|{code}&mentor=Practitioner/m0");
        let both = expected(&|one| colour(one, code) && mentor(one, "Practitioner/m0"));
        assert_eq!(sorted(importer, &path).await, both, "{code}");
    }
    for (query, wanted) in [
        ("mentor:Practitioner.name=zimt", expected(&|one| mentor(one, "Practitioner/m0"))),
        ("eye-colour:not=green&_id=p00,p01", vec!["p01".to_owned()]),
        ("eye-colour=violet", vec![]),
        ("mentor=m1&_sort=eye-colour", expected(&|one| mentor(one, "Practitioner/m1"))),
    ] {
        assert_eq!(sorted(importer, &format!("/fhir/Patient?{query}")).await, wanted, "{query}");
    }
    let included =
        importer.get("/fhir/Patient?eye-colour=green&_include=Patient:mentor").await.expect(200).json();
    assert!(found(&included).iter().any(|one| one["resourceType"] == "Practitioner"));
    let back = sorted(importer, "/fhir/Practitioner?_has:Patient:mentor:eye-colour=green").await;
    assert_eq!(back, ["m0", "m1"]);
    let brought =
        importer.get("/fhir/Practitioner?_id=m0&_revinclude=Patient:mentor").await.expect(200).json();
    assert_eq!(found(&brought).len(), 1 + expected(&|one| mentor(one, "Practitioner/m0")).len());

    // Who belongs to the tenant is told of it, and nobody else is.
    let listed = async |client: &Client| {
        let statement = client.get("/fhir/metadata").await.expect(200).json();
        let resources = statement["rest"][0]["resource"].as_array().unwrap().clone();
        let patient = resources.iter().find(|one| one["type"] == "Patient").unwrap();
        let names = patient["searchParam"].as_array().unwrap().iter().any(|one| one["name"] == "eye-colour");
        let includes = patient["searchInclude"].as_array().unwrap().contains(&json!("Patient:mentor"));
        (names, includes)
    };
    assert_eq!(listed(importer).await, (true, true));
    assert_eq!(listed(&clinic.person(Person::Physician).await).await, (true, true));
    assert_eq!(listed(&clinic.server.anybody()).await, (false, false));
    let far = clinic.server.partner(Partner::FarImporter);
    assert_eq!(listed(&far).await, (false, false));
    refused(&far, "/fhir/Patient?eye-colour=green").await;

    // The database holds neither names nor expressions.
    let sql = "DELETE FROM search_mark WHERE EXISTS (SELECT 1 FROM search_index i
        WHERE position('eye-colour'::bytea IN i.added::bytea) > 0 OR position('extension'::bytea IN i.added::bytea) > 0)";
    assert_eq!(clinic.sql(sql).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_retired_is_gone_after_the_next_reindex_and_its_marks_with_it() {
    let clinic = Clinic::listing(&["added:Patient.eye-colour"]).await;
    let (admin, importer) = (clinic.person(Person::Administrator).await, &clinic.importer);
    for (n, colour) in COLOURS.iter().enumerate() {
        clinic.put(&coloured(&format!("p{n}"), colour, "m0")).await;
    }
    let marks = async || {
        let owner = clinic.server.database().connect(custodia::store::cluster::Role::Owner).await;
        let sql = "SELECT sum(cardinality(marks)) FROM search_mark WHERE type = $1";
        let row = owner.query_one(sql, &[&ResourceType::PATIENT.code()]).await.unwrap();
        row.get::<_, i64>(0)
    };
    let bare = marks().await;
    let _made = admin.put("/fhir/SearchParameter/eyes", &eyes()).await.expect(201);
    let _in_force = reindexed(&admin).await;
    assert_eq!(marks().await, bare + 5, "one for each");
    assert_eq!(sorted(importer, "/fhir/Patient?eye-colour=blue").await, ["p1"]);

    // Another server over the same database knows it, and learns within seconds that it is gone.
    let other = clinic.server.another().await;
    let there = clinic.server.partner_of(&other, Partner::Importer);
    assert_eq!(sorted(&there, "/fhir/Patient?eye-colour=blue").await, ["p1"]);
    let mut changed = eyes();
    changed["expression"] = json!("Patient.name.family");
    changed["type"] = json!("string");
    let _changed = admin.put("/fhir/SearchParameter/eyes", &changed).await.expect(200);
    assert_eq!(sorted(&there, "/fhir/Patient?eye-colour=blue").await, ["p1"], "nothing has changed yet");
    let _in_force = reindexed(&admin).await;
    // It asked by what is no longer in force, saw so, and asked again.
    assert_eq!(sorted(&there, "/fhir/Patient?eye-colour=blue").await, [] as [&str; 0]);
    assert_eq!(sorted(&there, "/fhir/Patient?eye-colour=coloured").await.len(), 5);

    changed["status"] = json!("retired");
    let _retired = admin.put("/fhir/SearchParameter/eyes", &changed).await.expect(200);
    assert_eq!(
        reindexed(&admin).await["parameter"].as_array().unwrap().len(),
        1,
        "since when, and nothing else"
    );
    refused(importer, "/fhir/Patient?eye-colour=coloured").await;
    assert_eq!(marks().await, bare, "its marks are gone");
    let begun = Instant::now();
    while there.get_with("/fhir/Patient?eye-colour=coloured", &STRICT).await.status == 200 {
        assert!(begun.elapsed() < SOON, "the other server does not learn of it");
    }
    other.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reindex_that_breaks_off_goes_on_from_its_place_and_misses_nothing_written_meanwhile() {
    let clinic = Clinic::listing(&["all"]).await;
    let (admin, importer) = (clinic.person(Person::Administrator).await, &clinic.importer);
    let total = usize::try_from(RECORDS_AT_ONCE).unwrap() * 2 + 50;
    let urls: Vec<String> = (0..total).map(|n| format!("Patient/p{n:04}")).collect();
    for chunk in urls.chunks(400) {
        let requests: Vec<_> =
            chunk.iter().map(|url| ("PUT", url.as_str(), Some(coloured(&url[8..], "green", "m0")))).collect();
        let _stored = importer.post("/fhir", &bundle("transaction", &requests)).await.expect(200);
    }
    // None ever begins anew.
    break_second_batch(
        &clinic,
        "IF NEW.generation = OLD.generation AND NEW.passed < OLD.passed THEN RAISE EXCEPTION 'it began anew'; END IF;",
    )
    .await;
    let _made = admin.put("/fhir/SearchParameter/eyes", &eyes()).await.expect(201);
    let _begun = admin.send(reqwest::Method::POST, REINDEX, &[], "").await.expect(202);
    let begun = Instant::now();
    let halfway = format!("{RECORDS_AT_ONCE} of {} records", total + 1);
    while status(&admin).await.expect(202).header("x-progress").unwrap() != halfway {
        assert!(begun.elapsed() < SOON, "the first batch is not done");
    }
    let again = admin.send(reqwest::Method::POST, REINDEX, &[], "").await.expect(409);
    assert_eq!(again.issue(), "conflict");

    // Reads and writes go on: new records and changed ones, before and behind the place it has come to.
    refused(importer, "/fhir/Patient?eye-colour=green").await;
    for n in 0..40 {
        clinic.put(&coloured(&format!("new-{n}"), "blue", "m0")).await;
        clinic.put(&coloured(&urls[n * 13][8..], "brown", "m0")).await;
    }
    let gone = urls[1][8..].to_owned();
    let _gone = importer.delete(&format!("/fhir/Patient/{gone}")).await.expect(204);
    // A server that was not there when it began, after one that was killed in it.
    let other = clinic.server.another().await;
    let there = clinic.server.partner_of(&other, Partner::Importer);
    let path = "/fhir/Patient/late";
    let _late = there.put(path, &coloured("late", "amber", "m0")).await.expect(201);
    clinic.sql("DELETE FROM fault").await.unwrap();
    let _in_force = ended(&admin).await;
    other.stop().await.unwrap();

    let count = async |colour: &str| {
        let path = format!("/fhir/Patient?eye-colour={colour}&_summary=count");
        importer.get_with(&path, &STRICT).await.expect(200).json()["total"].as_u64().unwrap()
    };
    assert_eq!(count("blue").await, 40);
    assert_eq!(count("brown").await, 40);
    assert_eq!(count("amber").await, 1);
    assert_eq!(count("green").await, total as u64 - 40 - 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hidden_record_is_not_found_by_an_added_parameter() {
    let clinic = Clinic::listing(&["all"]).await;
    let admin = clinic.person(Person::Administrator).await;
    clinic.put(&coloured("hidden", "green", "m0")).await;
    let _made = admin.put("/fhir/SearchParameter/eyes", &eyes()).await.expect(201);
    let _in_force = reindexed(&admin).await;
    let stranger = clinic.person(Person::Stranger).await;
    for rest in [
        "",
        "&_summary=count",
        "&_total=accurate",
        "&_sort=eye-colour",
        "&_include=Patient:general-practitioner",
    ] {
        // `violet` is nobody's.
        let answer = async |colour: &str| {
            let path = format!("/fhir/Patient?eye-colour={colour}{rest}");
            stranger.get_with(&path, &STRICT).await.expect(200).text().replace(colour, "_")
        };
        assert_eq!(answer("green").await, answer("violet").await, "{rest}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_define_one_does_not_and_what_does_not_compile_is_refused() {
    let clinic = Clinic::open().await;
    let admin = clinic.person(Person::Administrator).await;
    for person in [Person::Physician, Person::Nurse, Person::FrontDesk, Person::Auditor] {
        let client = clinic.person(person).await;
        assert_eq!(client.post("/fhir/SearchParameter", &eyes()).await.status, 403, "{person:?}");
        assert_eq!(client.send(reqwest::Method::POST, REINDEX, &[], "").await.status, 403, "{person:?}");
        assert_eq!(client.get(REINDEX).await.status, 403, "{person:?}");
    }
    let _own = admin.get("/fhir/Patient?_id=ann").await.expect(403);

    let wrong = parameter("wrong", "gender", "Patient", "token", "Patient.gender");
    let reply = admin.post("/fhir/SearchParameter", &wrong).await.expect(422);
    let issue = &reply.json()["issue"][0];
    assert_eq!(
        (issue["code"].as_str(), issue["expression"][0].as_str()),
        (Some("duplicate"), Some("SearchParameter.code"))
    );
    let wrong = parameter("wrong", "odd", "Patient", "token", "Patient.name.count()");
    let inside = bundle("transaction", &[("PUT", "SearchParameter/wrong", Some(wrong.clone()))]);
    for (path, resource, place) in [
        ("/fhir/SearchParameter", &wrong, "SearchParameter.expression"),
        ("/fhir", &inside, "Bundle.entry[0].resource.expression"),
    ] {
        let reply = admin.post(path, resource).await.expect(422);
        assert_eq!(reply.json()["issue"][0]["expression"][0], place);
    }
    let told = admin.post("/fhir/SearchParameter/$validate", &wrong).await.expect(200);
    assert!(told.text().contains("search-parameter.compiles"));
    let mut draft = wrong;
    draft["status"] = json!("draft");
    let _kept = admin.put("/fhir/SearchParameter/wrong", &draft).await.expect(201);

    // Two of one name are told when they are to take effect.
    let _one = admin.put("/fhir/SearchParameter/eyes", &eyes()).await.expect(201);
    let mut second = eyes();
    second["id"] = json!("more-eyes");
    let _two = admin.put("/fhir/SearchParameter/more-eyes", &second).await.expect(201);
    let before = clinic.server.size().await;
    let reply = admin.send(reqwest::Method::POST, REINDEX, &[], "").await.expect(422);
    assert!(reply.json()["issue"][0]["expression"][0].as_str().unwrap().ends_with("eyes.code"));
    assert_eq!(clinic.server.size().await, before + 1, "the refusal is recorded");
    let _gone = admin.delete("/fhir/SearchParameter/more-eyes").await.expect(204);
    let entry = admin.send(reqwest::Method::POST, REINDEX, &[], "").await.expect(202).receipt().unwrap();
    let entry = clinic.server.entry(entry).await;
    assert_eq!(entry.actor.user.as_deref(), Some("index"));
    assert_eq!((entry.event.kind, entry.object.interaction.as_str()), (Kind::Config, "reindex"));
    let _in_force = ended(&admin).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_takes_them_into_effect_beside_a_server_that_serves() {
    let clinic = Clinic::listing(&["all"]).await;
    let admin = clinic.person(Person::Administrator).await;
    clinic.put(&coloured("one", "green", "m0")).await;
    let _made = admin.put("/fhir/SearchParameter/eyes", &eyes()).await.expect(201);
    let (config, clock) = (clinic.server.config(), Clock::machine());
    let heard = AtomicI64::new(0);
    let told = |done: i64, _: i64| _ = heard.fetch_max(done, Ordering::Relaxed);
    let known = reindex::run(config, &clock, CLINIC, &|_| (), &told).await.unwrap();
    let names: Vec<&str> = known.added().map(|one| one.code.as_ref()).collect();
    assert_eq!(names, ["eye-colour"]);
    let begun = Instant::now();
    while clinic.importer.get_with("/fhir/Patient?eye-colour=green", &STRICT).await.status != 200 {
        assert!(begun.elapsed() < SOON, "the server does not learn of it");
    }
    assert_eq!(sorted(&clinic.importer, "/fhir/Patient?eye-colour=green").await, ["one"]);
    // The server is as fast as the command, and either may have gone over the records.
    assert!(heard.load(Ordering::Relaxed) <= 2);
    let known = reindex::known(config, &clock, CLINIC, &|_| ()).await.unwrap();
    assert!(known.has_added());
    assert!(!reindex::known(config, &clock, OTHER, &|_| ()).await.unwrap().has_added());
    assert!(reindex::run(config, &clock, "nobody", &|_| (), &told).await.is_err());
}
