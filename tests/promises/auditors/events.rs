//! Entries as AuditEvents: found, paged, and beyond the reach of whoever writes AuditEvents.

use custodia::{
    events::{Place, audit_event},
    fhir::{definitions::Definitions, kinds::ResourceType, validate::validate},
    interaction::audit_events::PAGE_ENTRIES_MAX,
    ledger::{Access, Names},
};
use custodia_audit::{Action, Kind};
use custodia_support::{
    client::Client,
    people::{Partner, Person},
    server::ORIGIN,
};
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};

use crate::clinic::{Clinic, bundle, found, ids, next, observation, outcome, patient};

/// An AuditEvent as another system would send it.
fn foreign() -> Value {
    json!({
        "resourceType": "AuditEvent", "recorded": "2026-01-01T00:00:00Z",
        "type": {"system": "http://terminology.hl7.org/CodeSystem/audit-event-type", "code": "rest"},
        "agent": [{"who": {"display": "grey"}, "requestor": true}],
        "source": {"observer": {"display": "elsewhere"}},
    })
}

/// Every match of a search, page by page.
async fn pages(client: &Client, first: &str) -> Vec<String> {
    let (mut all, mut url) = (Vec::new(), Some(first.to_owned()));
    while let Some(at) = url {
        let page = client.get(&at).await.expect(200).json();
        all.extend(ids(&page));
        url = next(&page).map(|link| link.strip_prefix(custodia_support::client::ROOT).unwrap().to_owned());
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_auditor_finds_every_access_of_the_tenant_as_a_valid_audit_event() {
    let clinic = Clinic::open().await;
    let physician = clinic.person(Person::Physician).await;
    let read = physician.get("/fhir/Observation/pulse").await.expect(200).receipt().unwrap();
    let _hidden = clinic.person(Person::Stranger).await.get("/fhir/Patient/ann").await.expect(404);
    let auditor = clinic.person(Person::Auditor).await;
    let definitions = Definitions::load().unwrap();

    let reply = auditor.get(&format!("/fhir/AuditEvent/log-0-{read}")).await.expect(200);
    let event = reply.json();
    let entry = clinic.server.entry(read).await;
    assert_eq!(event, audit_event(&Place { origin: ORIGIN, shard: 0, index: read }, &entry));
    assert_eq!(event["agent"][2]["name"], "grey");

    // The look is an entry that names what was shown.
    let look = clinic.server.entry(reply.receipt().unwrap()).await;
    assert_eq!((look.event.kind, look.actor.user.as_deref()), (Kind::Audit, Some("watch")));
    assert_eq!(
        (look.object.items[0].kind.as_str(), look.object.items[0].action),
        ("AuditEvent", Action::Released)
    );
    assert_eq!(look.object.items[0].id, format!("log-0-{read}"));
    assert_eq!(look.object.policies, ["auditor-reads-log"]);

    let before = clinic.server.size().await;
    let bundle = auditor.get("/fhir/AuditEvent?_count=200").await.expect(200).json();
    assert_eq!(clinic.server.size().await, before + 1);
    for event in found(&bundle) {
        let problems = validate(&definitions, &event, ResourceType::from_name("AuditEvent"));
        assert!(problems.is_empty(), "{problems:?}");
    }
    let mine = clinic.server.entries(0).await;
    let mine = mine.iter().filter(|one| one.index < before);
    let mine: Vec<_> = mine.filter(|one| one.entry.subject.tenant.as_deref() == Some("clinic")).collect();
    let shown = ids(&bundle);
    let accesses: Vec<_> = shown.iter().filter(|id| !id.ends_with("disclosure")).cloned().collect();
    let expected: Vec<_> = mine.iter().rev().map(|one| format!("log-0-{}", one.index)).collect();
    assert_eq!(accesses, expected, "every entry of the tenant, newest first");
    // What the importer, a partner, delivered about a patient is told as a disclosure as well.
    assert!(shown.iter().any(|id| id.ends_with("disclosure")));
    let look = clinic.server.entries(before).await.pop().unwrap().entry;
    assert_eq!(look.object.items.len(), shown.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_filter_finds_what_it_names() {
    let clinic = Clinic::open().await;
    clinic.put(&patient("bob", &["Practitioner/grey"])).await;
    let physician = clinic.person(Person::Physician).await;
    let ann = physician.get("/fhir/Observation/pulse").await.expect(200).receipt().unwrap();
    let bob = physician.get("/fhir/Patient/bob").await.expect(200).receipt().unwrap();
    let refused = clinic.person(Person::Stranger).await.get("/fhir/Patient/ann").await.receipt().unwrap();
    let auditor = clinic.person(Person::Auditor).await;
    let id = |index: u64| format!("log-0-{index}");
    let cases = [
        ("agent=grey&action=R", vec![id(bob), id(ann)]),
        ("patient=Patient/ann&agent-name=grey", vec![id(ann)]),
        ("patient=bob&action=R", vec![id(bob)]),
        ("entity=Observation/pulse/_history/1&subtype=read", vec![id(ann)]),
        ("entity=Patient/ann&agent=grey", vec![id(ann)]),
        ("outcome=4&agent=cold", vec![id(refused)]),
        ("date=ge2000-01-01&agent=grey&patient=ann", vec![id(ann)]),
        ("date=lt2000-01-01", vec![]),
        ("date=gt2100-01-01", vec![]),
        ("patient=nobody", vec![]),
        ("type=rest&agent=cold", vec![id(refused)]),
        ("_id=log-0-0", vec![]),
    ];
    for (query, expected) in cases {
        let bundle = auditor.get(&format!("/fhir/AuditEvent?{query}")).await.expect(200).json();
        assert_eq!(ids(&bundle), expected, "{query}");
        let form = auditor.form("/fhir/AuditEvent/_search", query).await.expect(200).json();
        assert_eq!(ids(&form), expected, "{query} by POST");
    }
    let wrong = auditor.get("/fhir/AuditEvent?nonsense=1").await.expect(400);
    assert_eq!(wrong.issue(), "not-supported", "no filter is ignored");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_show_every_event_once_while_the_log_grows() {
    let clinic = Clinic::open().await;
    let physician = clinic.person(Person::Physician).await;
    let auditor = clinic.person(Person::Auditor).await;
    for _ in 0..4 {
        let _read = physician.get("/fhir/Patient/ann").await.expect(200);
    }
    let whole = pages(&auditor, "/fhir/AuditEvent?patient=ann&_count=200").await;
    assert!(whole.len() > 6);
    // Each page leaves an entry, and another read lands between them.
    let (mut all, mut url) = (Vec::new(), Some("/fhir/AuditEvent?patient=ann&_count=1".to_owned()));
    while let Some(at) = url {
        let page = auditor.get(&at).await.expect(200).json();
        assert!(ids(&page).len() <= 1);
        all.extend(ids(&page));
        let _read = physician.get("/fhir/Patient/ann").await.expect(200);
        url = next(&page).map(|link| link.strip_prefix(custodia_support::client::ROOT).unwrap().to_owned());
    }
    assert_eq!(all, whole);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_ends_at_its_bound_and_the_next_goes_on() {
    let clinic = Clinic::open().await;
    let app = clinic.server.app();
    let auditor = clinic.person(Person::Auditor).await;
    let first = auditor.get("/audit/checkpoint").await.expect(200).receipt().unwrap();
    let caller = {
        let form = format!(
            "grant_type=password&username=grey&password={}",
            custodia_support::people::PASSWORD.replace(' ', "+")
        );
        let token = clinic.server.anybody().form("/auth/token", &form).await.expect(200).json();
        custodia::interaction::recognise::bearer(app, token["access_token"].as_str().unwrap(), None)
            .ok()
            .unwrap()
    };
    let access = Access {
        request: app.clock.ordered_id(),
        caller: Some(caller),
        address: [127, 0, 0, 1].into(),
        thumbprint: None,
        interaction: "read",
        query: None,
        named: Names::default(),
    };
    let note = || app.ledger.note(&access, Kind::Access, 200, "ok");
    let committed = stream::iter(0..=PAGE_ENTRIES_MAX).map(|_| note()).buffer_unordered(512);
    assert!(committed.all(|one| std::future::ready(one.is_ok())).await);
    // The one match lies further back than a page looks: the first page is empty and leads on.
    let at = format!("/fhir/AuditEvent?_id=log-0-{first}");
    let page = auditor.get(&at).await.expect(200).json();
    assert_eq!(ids(&page), Vec::<String>::new());
    assert!(next(&page).is_some());
    assert_eq!(pages(&auditor, &at).await, [format!("log-0-{first}")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_but_an_auditor_of_the_tenant_sees_the_log() {
    let clinic = Clinic::open().await;
    let physician = clinic.person(Person::Physician).await;
    let read = physician.get("/fhir/Patient/ann").await.expect(200).receipt().unwrap();
    let id = format!("log-0-{read}");
    for person in [Person::Physician, Person::Nurse, Person::FrontDesk, Person::Foreigner] {
        let client = clinic.person(person).await;
        let reply = client.get(&format!("/fhir/AuditEvent/{id}")).await.expect(403);
        assert!(!reply.text().contains("ann"));
        let search = client.get("/fhir/AuditEvent?_count=200").await;
        assert!(search.status == 403 || ids(&search.json()).is_empty(), "{person:?}");
    }
    let importer = clinic.importer.get(&format!("/fhir/AuditEvent/{id}")).await;
    assert_eq!(importer.status, 403);
    assert_eq!(ids(&clinic.importer.get("/fhir/AuditEvent").await.expect(200).json()), Vec::<String>::new());
    let far = clinic.server.partner(Partner::FarImporter);
    let theirs = far.put("/fhir/Patient/ann", &patient("ann", &[])).await.expect(201).receipt().unwrap();
    let auditor = clinic.person(Person::Auditor).await;
    // Another tenant's entry, the house's, one that is not there, another shard, another view: all are nowhere.
    for absent in [
        format!("log-0-{theirs}"),
        "log-0-0".to_owned(),
        "log-0-99999".to_owned(),
        format!("log-1-{read}"),
        format!("{id}-disclosure"),
        "log-x".to_owned(),
        format!("log-0-{}", u64::MAX),
    ] {
        let reply = auditor.get(&format!("/fhir/AuditEvent/{absent}")).await.expect(404);
        assert_eq!(reply.json(), outcome("not-found", "There is no such record, or none that you may see."));
    }
    let all = pages(&auditor, "/fhir/AuditEvent?patient=ann&_count=200").await;
    assert!(!all.contains(&format!("log-0-{theirs}")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn audit_events_of_other_systems_are_records_and_never_part_of_the_log() {
    let clinic = Clinic::open().await;
    let importer = &clinic.importer;
    let stored = importer.post("/fhir/AuditEvent", &foreign()).await.expect(201);
    let id = stored.json()["id"].as_str().unwrap().to_owned();
    let mut named = foreign();
    named["id"] = json!("theirs");
    let _put = importer.put("/fhir/AuditEvent/theirs", &named).await.expect(201);
    let size = clinic.server.size().await;
    for taken in ["log-0-1", "log-0-99999", "log-x", "log-"] {
        named["id"] = json!(taken);
        let reply = importer.put(&format!("/fhir/AuditEvent/{taken}"), &named).await.expect(400);
        assert_eq!(reply.issue(), "invalid");
        for kind in ["batch", "transaction"] {
            let requests = [("PUT", &*format!("AuditEvent/{taken}"), Some(named.clone()))];
            let reply = importer.post("/fhir", &bundle(kind, &requests)).await;
            let said = reply.text();
            assert!(reply.status == 400 || said.contains("400 Bad Request"), "{kind}: {said}");
        }
    }
    assert_eq!(clinic.server.size().await, size + 12, "each refusal is an entry");
    let theirs = ids(&importer.get("/fhir/AuditEvent").await.expect(200).json());
    assert_eq!(theirs.len(), 2);
    assert!(theirs.contains(&id) && theirs.contains(&"theirs".to_owned()));
    let auditor = clinic.person(Person::Auditor).await;
    let log = pages(&auditor, "/fhir/AuditEvent?_count=200").await;
    assert!(log.iter().all(|one| one.starts_with("log-")), "{log:?}");
    let _stored_ones_are_no_auditors = auditor.get("/fhir/AuditEvent/theirs").await.expect(403);
    // Another type may be called so.
    clinic.put(&observation("log-0-1", "ann", "x")).await;
}
