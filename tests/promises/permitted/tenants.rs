//! Two tenants in one database: the same ids, and nothing in common.

use custodia_support::people::{Partner, Person};
use serde_json::json;

use crate::clinic::{Clinic, bundle, ids, observation, patient};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_ids_in_two_tenants_are_different_records() {
    let clinic = Clinic::open().await;
    let far = clinic.server.partner(Partner::FarImporter);
    let foreigner = clinic.person(Person::Foreigner).await;
    // Her Practitioner record is spelled like that of Ann's practitioner here.
    let hidden = foreigner.get("/fhir/Patient/ann").await.expect(404);
    assert_eq!(hidden.body, foreigner.get("/fhir/Patient/nobody").await.body);
    assert_eq!(foreigner.get("/fhir/Observation?patient=ann").await.expect(200).json()["total"], 0);
    let _deleted = far.delete("/fhir/Patient/ann").await.expect(404);
    let batch = bundle("batch", &[("GET", "Patient/ann", None), ("DELETE", "Observation/pulse", None)]);
    let answer = far.post("/fhir", &batch).await.expect(200).json();
    for entry in answer["entry"].as_array().unwrap() {
        assert_eq!(entry["response"]["status"], "404 Not Found");
    }
    // The id is free there: the first version of a record of its own.
    let created = far.put("/fhir/Patient/ann", &patient("ann", &["Practitioner/grey"])).await.expect(201);
    assert_eq!(created.json()["meta"]["versionId"], "1");
    let _own = far.put("/fhir/Observation/pulse", &observation("pulse", "ann", "theirs")).await.expect(201);
    let theirs = foreigner.get("/fhir/Observation/pulse").await.expect(200).json();
    assert_eq!(theirs["code"]["text"], "theirs");
    let ours = clinic.person(Person::Physician).await.get("/fhir/Observation/pulse").await.expect(200).json();
    assert_eq!(ours["code"]["text"], "72/min");
    let found = foreigner.get("/fhir/Observation").await.json();
    assert_eq!((ids(&found), found["total"].clone()), (vec!["pulse".to_owned()], json!(1)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_is_never_taken_from_what_a_client_sends() {
    let clinic = Clinic::open().await;
    let foreigner = clinic.person(Person::Foreigner).await;
    for header in
        ["x-tenant", "x-tenant-id", "tenant", "x-forwarded-host", "x-client-cert", "x-forwarded-for"]
    {
        let reply = foreigner.get_with("/fhir/Patient/ann", &[(header, "clinic")]).await;
        assert_eq!(reply.status, 404, "{header}");
    }
    // A token at the partners' door is nobody's: that door knows certificates.
    let far = clinic.server.partner(Partner::FarImporter);
    let token = clinic.person(Person::Physician).await;
    let bearer = token.get("/fhir/Patient/ann").await.expect(200);
    assert_eq!(
        clinic.server.entry(bearer.receipt().unwrap()).await.subject.tenant.as_deref(),
        Some("clinic")
    );
    let stolen = far.bearing("anything").get("/fhir/Patient/ann").await.expect(404);
    assert_eq!(clinic.server.entry(stolen.receipt().unwrap()).await.subject.tenant.as_deref(), Some("other"));
}
