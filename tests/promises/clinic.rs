//! A small clinic: patients, and who cares for them. Written by the importer, as an interface would.

use custodia::clock::Clock;
use custodia_support::{
    client::Client,
    cluster::TestCluster,
    people::{Partner, Person},
    server::TestServer,
};
use serde_json::{Value, json};

/// A patient; `general_practitioners` are references.
pub(crate) fn patient(id: &str, general_practitioners: &[&str]) -> Value {
    let practitioners: Vec<Value> = general_practitioners.iter().map(|gp| json!({"reference": gp})).collect();
    let mut patient = json!({"resourceType": "Patient", "id": id, "name": [{"family": format!("F-{id}")}]});
    if !practitioners.is_empty() {
        patient["generalPractitioner"] = Value::Array(practitioners);
    }
    patient
}

/// An observation of a patient.
pub(crate) fn observation(id: &str, patient: &str, text: &str) -> Value {
    json!({
        "resourceType": "Observation", "id": id, "status": "final", "code": {"text": text},
        "subject": {"reference": format!("Patient/{patient}")},
    })
}

/// The same resource without its id.
pub(crate) fn without_id(mut resource: Value) -> Value {
    resource.as_object_mut().unwrap().remove("id");
    resource
}

/// The same resource without what the server sets in its meta.
pub(crate) fn as_sent(mut resource: Value) -> Value {
    let Some(meta) = resource.get_mut("meta").and_then(Value::as_object_mut) else { return resource };
    meta.remove("versionId");
    meta.remove("lastUpdated");
    if meta.is_empty() {
        resource.as_object_mut().unwrap().remove("meta");
    }
    resource
}

/// A Bundle of requests: method, URL, resource.
pub(crate) fn bundle(kind: &str, requests: &[(&str, &str, Option<Value>)]) -> Value {
    let entries: Vec<Value> = requests
        .iter()
        .map(|(method, url, resource)| {
            let mut entry = json!({"request": {"method": method, "url": url}});
            if let Some(resource) = resource {
                entry["resource"] = resource.clone();
            }
            entry
        })
        .collect();
    json!({"resourceType": "Bundle", "type": kind, "entry": entries})
}

/// Resources of a searchset or history.
pub(crate) fn found(bundle: &Value) -> Vec<Value> {
    let entries = bundle.get("entry").and_then(Value::as_array).cloned().unwrap_or_default();
    entries.into_iter().filter_map(|entry| entry.get("resource").cloned()).collect()
}

/// Ids of the matches of a searchset.
pub(crate) fn ids(bundle: &Value) -> Vec<String> {
    let entries = bundle.get("entry").and_then(Value::as_array).cloned().unwrap_or_default();
    let matches = entries.into_iter().filter(|entry| entry["search"]["mode"] == "match");
    matches.map(|entry| entry["resource"]["id"].as_str().unwrap().to_owned()).collect()
}

/// Every page of a search for AuditEvents: their ids.
pub(crate) async fn events(auditor: &Client, query: &str) -> Vec<String> {
    let (mut found, mut path) = (Vec::new(), Some(format!("/fhir/AuditEvent?{query}")));
    while let Some(here) = path {
        let page = auditor.get(&here).await.expect(200).json();
        assert!(found.len() < 10_000, "the same pages come again and again");
        found.extend(ids(&page));
        path = next(&page);
    }
    found
}

/// The link to the next page.
pub(crate) fn next(bundle: &Value) -> Option<String> {
    let links = bundle.get("link")?.as_array()?;
    let next = links.iter().find(|link| link["relation"] == "next")?;
    Some(next["url"].as_str().unwrap().to_owned())
}

/// An OperationOutcome of one error.
pub(crate) fn outcome(code: &str, text: &str) -> Value {
    let issue = json!({"severity": "error", "code": code, "details": {"text": text}});
    json!({"resourceType": "OperationOutcome", "issue": [issue]})
}

/// A server with one patient, `ann`, of Dr Grey's, on whose care team nurse Ray is, and an observation.
pub(crate) struct Clinic {
    pub(crate) server: TestServer,
    pub(crate) importer: Client,
}

impl Clinic {
    pub(crate) async fn open() -> Self {
        Self::on(TestServer::start().await).await
    }

    /// With these search parameters on the list beside the default ones.
    pub(crate) async fn listing(parameters: &[&str]) -> Self {
        let listed = parameters.iter().map(|name| (*name).to_owned()).collect();
        let change = |config: &mut custodia::config::Config| config.search.population = listed;
        Self::on(TestServer::with(TestCluster::quick().await, Clock::machine(), change).await).await
    }

    pub(crate) async fn on(server: TestServer) -> Self {
        let importer = server.partner(Partner::Importer);
        let clinic = Self { server, importer };
        clinic.put(&patient("ann", &["Practitioner/grey"])).await;
        clinic
            .put(&json!({
                "resourceType": "CareTeam", "id": "team", "status": "active",
                "subject": {"reference": "Patient/ann"},
                "participant": [{"member": {"reference": "Practitioner/ray"}}],
            }))
            .await;
        clinic.put(&observation("pulse", "ann", "72/min")).await;
        clinic
    }

    /// Puts a resource under its own id, as the importer.
    pub(crate) async fn put(&self, resource: &Value) {
        let path = format!(
            "/fhir/{}/{}",
            resource["resourceType"].as_str().unwrap(),
            resource["id"].as_str().unwrap()
        );
        let reply = self.importer.put(&path, resource).await;
        assert!(matches!(reply.status, 200 | 201), "{path}: {} {}", reply.status, reply.text());
    }

    pub(crate) async fn person(&self, person: Person) -> Client {
        self.server.person(person).await
    }

    /// Runs a statement as the owner of the tables.
    pub(crate) async fn sql(&self, statement: &str) -> Result<u64, tokio_postgres::Error> {
        let owner = self.server.database().connect(custodia::store::cluster::Role::Owner).await;
        owner.execute(statement, &[]).await
    }
}
