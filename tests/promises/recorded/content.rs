//! What an entry says: who, whose, which versions by the digest of what is stored, why, and what decided.

use custodia::store::cluster::Role;
use custodia_audit::{Action, Decision, Entry, Kind, sha256};
use custodia_support::people::Person;
use reqwest::Method;

use crate::clinic::{Clinic, bundle, observation, patient};

/// SHA-256 of a version's ciphertext, as it lies in the database; the version is the one `entry` recorded.
async fn digest(clinic: &Clinic, entry: u64) -> [u8; 32] {
    let owner = clinic.server.database().connect(Role::Owner).await;
    let sql = "SELECT body::bytea FROM record WHERE entry = $1 UNION ALL SELECT body::bytea FROM record_version WHERE entry = $1";
    let row = owner.query_one(sql, &[&i64::try_from(entry).unwrap()]).await.unwrap();
    sha256(&[row.get(0)])
}

/// Kind, id, version and action of everything an entry names.
fn items(entry: &Entry) -> Vec<(String, String, u32, Action)> {
    entry
        .object
        .items
        .iter()
        .map(|item| (item.kind.clone(), item.id.clone(), item.version, item.action))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_of_a_read_names_caller_patient_version_and_policy() {
    let clinic = Clinic::open().await;
    let written = clinic.importer.put("/fhir/Observation/pulse", &observation("pulse", "ann", "80")).await;
    let physician = clinic.person(Person::Physician).await;
    let reply = physician.get("/fhir/Observation/pulse").await.expect(200);
    let entry = clinic.server.entry(reply.receipt().unwrap()).await;
    assert_eq!((entry.event.kind, entry.event.outcome.status), (Kind::Access, 200));
    assert_eq!(entry.event.outcome.code, "ok");
    assert_eq!(entry.actor.user.as_deref(), Some("grey"));
    assert_eq!(entry.actor.roles, ["physician"]);
    assert!(entry.actor.token_id.is_some());
    assert_eq!(entry.actor.address.as_deref(), Some("127.0.0.1"));
    assert_eq!(entry.subject.tenant.as_deref(), Some("clinic"));
    assert_eq!(entry.subject.patient.as_deref(), Some("Patient/ann"));
    assert_eq!(entry.object.interaction, "read");
    assert_eq!(items(&entry), [("Observation".to_owned(), "pulse".to_owned(), 2, Action::Released)]);
    assert_eq!(entry.object.items[0].digest, digest(&clinic, written.receipt().unwrap()).await);
    assert_eq!(entry.object.decision, Decision::Permit);
    assert_eq!(entry.object.policies, ["physician-views-patients"]);
    assert_eq!(entry.object.policy_set, Some(clinic.server.app().gate.policy_set()));
    assert_eq!(entry.detail.purpose.as_deref(), Some("TREAT"));
    assert_eq!(entry.detail.query.as_deref(), Some("GET /fhir/Observation/pulse"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_of_a_write_names_what_was_written_by_whom() {
    let clinic = Clinic::open().await;
    let path = "/fhir/Observation/new";
    let created = clinic.importer.put(path, &observation("new", "ann", "x")).await.expect(201);
    let deleted = clinic.importer.delete(path).await.expect(204);
    for (reply, version, action) in [(created, 1, Action::Written), (deleted, 2, Action::Deleted)] {
        let index = reply.receipt().unwrap();
        let entry = clinic.server.entry(index).await;
        assert_eq!(entry.event.kind, Kind::Write);
        assert_eq!(items(&entry), [("Observation".to_owned(), "new".to_owned(), version, action)]);
        assert_eq!(entry.object.items[0].digest, digest(&clinic, index).await);
        assert_eq!(entry.actor.user.as_deref(), Some("importer"));
        assert!(entry.actor.thumbprint.is_some());
        assert_eq!(entry.subject.patient.as_deref(), Some("Patient/ann"));
        assert_eq!(entry.object.policies, ["partner-changes-by-contract"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_leaves_an_entry_for_each_patient_with_what_was_released_of_hers() {
    let clinic = Clinic::open().await;
    clinic.put(&patient("bob", &[])).await;
    clinic.put(&observation("b", "bob", "x")).await;
    let before = clinic.server.size().await;
    let reply = clinic.importer.get("/fhir/Observation?patient=ann,bob").await.expect(200);
    let entries = clinic.server.entries(before).await;
    let mut said: Vec<(Option<String>, Vec<_>)> =
        entries.iter().map(|one| (one.entry.subject.patient.clone(), items(&one.entry))).collect();
    said.sort_by(|a, b| a.0.cmp(&b.0));
    let item = |id: &str| vec![("Observation".to_owned(), id.to_owned(), 1, Action::Released)];
    assert_eq!(
        said,
        [(Some("Patient/ann".to_owned()), item("pulse")), (Some("Patient/bob".to_owned()), item("b"))]
    );
    assert!(entries.iter().any(|one| Some(one.index) == reply.receipt()));
    for one in &entries {
        assert_eq!(one.entry.detail.query.as_deref(), Some("GET /fhir/Observation?patient=ann,bob"));
    }
    // Page by page: what the first page held back is in no entry yet.
    let before = clinic.server.size().await;
    let _page = clinic.importer.get("/fhir/Observation?patient=ann,bob&_count=1").await.expect(200);
    assert_eq!(
        clinic.server.entries(before).await.iter().map(|one| one.entry.object.items.len()).sum::<usize>(),
        1
    );
    // Nothing found is an access as well: the question was asked.
    let empty = clinic.importer.get("/fhir/Observation?patient=nobody").await.expect(200);
    let entry = clinic.server.entry(empty.receipt().unwrap()).await;
    assert_eq!((entry.event.kind, entry.object.items.len()), (Kind::Access, 0));
    assert_eq!(entry.actor.user.as_deref(), Some("importer"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_search_counts_is_recorded_as_what_it_shows() {
    let clinic = Clinic::open().await;
    for query in ["_summary=count", "_total=accurate&_count=0", "_total=accurate&_count=0&_sort=code"] {
        let counted =
            clinic.importer.get(&format!("/fhir/Observation?patient=ann&{query}")).await.expect(200);
        assert_eq!(counted.json()["total"], 1, "{query}");
        let entry = clinic.server.entry(counted.receipt().unwrap()).await;
        assert_eq!(entry.subject.patient.as_deref(), Some("Patient/ann"), "{query}");
        assert_eq!(entry.object.items.first().map(|item| item.id.as_str()), Some("pulse"), "{query}");
    }
    let uncounted =
        clinic.importer.get("/fhir/Observation?patient=ann&_sort=code&_count=0").await.expect(200);
    assert!(uncounted.json().get("total").is_none_or(|total| total == 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_question_is_too_long_for_the_log_to_keep_or_hidden_in_a_bundle() {
    let clinic = Clinic::open().await;
    let padding = "x".repeat(custodia::ledger::QUERY_BYTES_MAX);
    let padded = format!("foo={padding}&patient=ann&_summary=count");
    let refused = clinic.importer.form("/fhir/Observation/_search", &padded).await.expect(400);
    assert_eq!(refused.json()["issue"][0]["code"], "too-long");

    let search = "Observation?patient=ann&_summary=count";
    let sent = bundle("transaction", &[("GET", search, None)]);
    let answered = clinic.importer.post("/fhir", &sent).await.expect(200);
    let entry = clinic.server.entry(answered.receipt().unwrap()).await;
    assert_eq!(entry.detail.query.as_deref(), Some(format!("POST /fhir; GET {search}").as_str()));
    let padded = format!("Observation?patient=ann&foo={padding}");
    for kind in ["transaction", "batch"] {
        let reply = clinic.importer.post("/fhir", &bundle(kind, &[("GET", &padded, None)])).await;
        assert!(!reply.text().contains("searchset"), "{kind}: {}", reply.status);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_by_post_is_recorded_with_its_parameters() {
    let clinic = Clinic::open().await;
    let reply = clinic.importer.form("/fhir/Observation/_search", "patient=ann").await.expect(200);
    let entry = clinic.server.entry(reply.receipt().unwrap()).await;
    assert_eq!(entry.detail.query.as_deref(), Some("POST /fhir/Observation/_search?patient=ann"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_is_an_entry_that_names_who_was_refused_and_by_what() {
    let clinic = Clinic::open().await;
    let stranger = clinic.person(Person::Stranger).await;
    let desk = clinic.person(Person::FrontDesk).await;
    let auditor = clinic.person(Person::Auditor).await;
    let cases = [
        (stranger.get("/fhir/Patient/ann").await, "cold", 404, "hidden", Decision::Refuse),
        (desk.get("/fhir/Observation/pulse").await, "desk", 403, "forbidden", Decision::Refuse),
        (auditor.get("/fhir/Patient/ann").await, "watch", 403, "forbidden", Decision::Refuse),
        (stranger.get("/fhir/Patient/nobody").await, "cold", 404, "absent", Decision::NotEvaluated),
        (stranger.get("/fhir/Patient?_filter=x").await, "cold", 400, "malformed", Decision::NotEvaluated),
    ];
    for (reply, user, status, code, decision) in cases {
        let entry = clinic.server.entry(reply.receipt().unwrap()).await;
        assert_eq!(entry.event.kind, Kind::Refusal);
        assert_eq!((entry.event.outcome.status, entry.event.outcome.code.as_str()), (status, code));
        assert_eq!((entry.actor.user.as_deref(), entry.object.decision), (Some(user), decision), "{code}");
        assert_eq!(entry.object.items.len(), 0);
    }
    let forbidden = auditor.get("/fhir/Patient/ann").await;
    let entry = clinic.server.entry(forbidden.receipt().unwrap()).await;
    assert_eq!(entry.object.policies, ["auditor-sees-no-record"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signing_in_is_recorded_whether_it_succeeds_or_not() {
    let clinic = Clinic::open().await;
    let before = clinic.server.size().await;
    let physician = clinic.person(Person::Physician).await;
    let entry = clinic.server.entries(before).await.pop().unwrap().entry;
    assert_eq!((entry.event.kind, entry.event.outcome.status), (Kind::Login, 200));
    assert_eq!(
        (entry.actor.user.as_deref(), entry.subject.tenant.as_deref()),
        (Some("grey"), Some("clinic"))
    );
    let read = physician.get("/fhir/Patient/ann").await.expect(200);
    let used = clinic.server.entry(read.receipt().unwrap()).await;
    assert_eq!(used.actor.token_id, entry.actor.token_id, "the access is tied to the sign-in");

    let anybody = clinic.server.anybody();
    for form in [
        "grant_type=password&username=grey&password=not+the+password",
        "grant_type=password&username=nobody&password=not+the+password",
    ] {
        let reply = anybody.form("/auth/token", form).await.expect(400);
        assert_eq!(reply.json()["error"], "invalid_grant");
        let entry = clinic.server.entry(reply.receipt().unwrap()).await;
        assert_eq!((entry.event.outcome.status, entry.event.outcome.code.as_str()), (400, "invalid_grant"));
        assert!(!format!("{:?}", entry.detail.query).contains("password="), "no password in an entry");
    }
    let now = clinic.server.app().clock.now();
    let url = &clinic.server.app().doorman.token_url;
    let assertion = clinic.server.program().assertion(url, now, "once");
    let form = format!(
        "grant_type=client_credentials&client_assertion={assertion}&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer"
    );
    let issued = anybody.form("/auth/token", &form).await.expect(200);
    let entry = clinic.server.entry(issued.receipt().unwrap()).await;
    assert_eq!((entry.event.kind, entry.actor.client.as_deref()), (Kind::Token, Some("log-mirror")));
    let program = anybody.bearing(issued.json()["access_token"].as_str().unwrap());
    let _its_own = program.get("/audit/checkpoint").await.expect(200);
    let _nobodys = program.get("/fhir/Patient/ann").await.expect(403);
    let replayed = anybody.form("/auth/token", &form).await.expect(401);
    assert_eq!(replayed.json()["error"], "invalid_client");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_request_of_a_batch_and_each_patient_of_a_transaction_is_recorded() {
    let clinic = Clinic::open().await;
    clinic.put(&patient("bob", &[])).await;
    let requests = [
        ("PUT", "Observation/a", Some(observation("a", "ann", "x"))),
        ("PUT", "Observation/b", Some(observation("b", "bob", "x"))),
        ("GET", "Patient/ann", None),
    ];
    let before = clinic.server.size().await;
    let _batch = clinic.importer.post("/fhir", &bundle("batch", &requests)).await.expect(200);
    let kinds: Vec<_> =
        clinic.server.entries(before).await.iter().map(|one| one.entry.object.interaction.clone()).collect();
    assert_eq!(kinds.len(), 3);
    assert!(["update", "read"].iter().all(|kind| kinds.iter().any(|one| one == kind)), "{kinds:?}");
    let before = clinic.server.size().await;
    let _transaction = clinic.importer.post("/fhir", &bundle("transaction", &requests)).await.expect(200);
    let entries = clinic.server.entries(before).await;
    let said: Vec<_> = entries
        .iter()
        .map(|one| (one.entry.subject.patient.clone().unwrap(), one.entry.object.items.len()))
        .collect();
    assert_eq!(said, [("Patient/ann".to_owned(), 2), ("Patient/bob".to_owned(), 1)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_request_is_recorded_as_what_it_tells() {
    let clinic = Clinic::open().await;
    let reply = clinic.importer.send(Method::HEAD, "/fhir/Patient/ann", &[], "").await.expect(200);
    let entry = clinic.server.entry(reply.receipt().unwrap()).await;
    assert_eq!(entry.detail.query.as_deref(), Some("HEAD /fhir/Patient/ann"));
    assert_eq!(entry.object.items.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_moves_to_another_patient_leaves_an_entry_in_both_logs() {
    let clinic = Clinic::open().await;
    clinic.put(&patient("bob", &[])).await;
    let before = clinic.server.size().await;
    let moved =
        clinic.importer.put("/fhir/Observation/pulse", &observation("pulse", "bob", "x")).await.expect(200);
    let entries = clinic.server.entries(before).await;
    let said: Vec<_> =
        entries.iter().map(|one| (one.entry.subject.patient.clone().unwrap(), items(&one.entry))).collect();
    let written = vec![("Observation".to_owned(), "pulse".to_owned(), 2, Action::Written)];
    assert_eq!(said, [("Patient/bob".to_owned(), written.clone()), ("Patient/ann".to_owned(), written)]);
    assert!(entries.iter().any(|one| Some(one.index) == moved.receipt()));
}
