//! More than a thousand words, told to the server in every way there is, are found nowhere on its disk.

use std::{collections::BTreeSet, process::Command};

use custodia::{
    clock::Clock,
    config::Level,
    host::Registry,
    identity::{Account, Credentials, PasswordHash, Profile, Purpose},
    store::cluster::Role,
    watch::{self, Screen},
};
use custodia_support::{
    client::Client,
    cluster::TestCluster,
    people::{Partner, Person},
    server::TestServer,
};
use reqwest::Method;
use serde_json::{Value, json};

use super::scan::{Found, Words};

/// Patients, each with nine words.
const PATIENTS: usize = 120;

/// Words that were given out.
#[derive(Default)]
struct Canaries(BTreeSet<String>);

impl Canaries {
    /// A word that stands nowhere else: 20 letters and digits, fit to be a logical id.
    fn next(&mut self) -> String {
        let word = format!("canary{}", &uuid::Uuid::new_v4().simple().to_string()[..14]);
        assert!(self.0.insert(word.clone()));
        word
    }
}

/// A patient whose id is her record number, with an observation of hers; all in words.
fn requests(canaries: &mut Canaries) -> [Value; 2] {
    let (patient, observation) = (canaries.next(), canaries.next());
    let mut word = || canaries.next();
    let resources = [
        json!({
            "resourceType": "Patient", "id": patient,
            "identifier": [{"system": format!("urn:{}", word()), "value": word()}],
            "name": [{"family": word(), "given": [word()]}], "address": [{"line": [word()]}],
        }),
        json!({
            "resourceType": "Observation", "id": observation, "status": "final",
            "code": {"text": word()}, "note": [{"text": word()}], "subject": {"reference": format!("Patient/{patient}")},
        }),
    ];
    resources.map(|resource| {
        let url =
            format!("{}/{}", resource["resourceType"].as_str().unwrap(), resource["id"].as_str().unwrap());
        json!({"resource": resource, "request": {"method": "PUT", "url": url}})
    })
}

async fn plant_records(importer: &Client, canaries: &mut Canaries) {
    let entries: Vec<Value> = (0..PATIENTS).flat_map(|_| requests(canaries)).collect();
    let transaction = json!({"resourceType": "Bundle", "type": "transaction", "entry": entries});
    let stored = importer.post("/fhir", &transaction).await.expect(200);
    assert_eq!(stored.json()["entry"].as_array().unwrap().len(), PATIENTS * 2);
    // A large one, one of two patients, one of nobody, one that is changed and one that is deleted.
    let (one, two) = (canaries.next(), canaries.next());
    let long = json!({"resourceType": "Observation", "status": "final", "code": {"text": canaries.next()},
        "subject": {"reference": format!("Patient/{one}")}, "performer": [{"reference": format!("Patient/{two}")}],
        "note": [{"text": canaries.next().repeat(5_000)}]});
    let created = importer.post("/fhir/Observation", &long).await.expect(201);
    let path = format!("/fhir/Observation/{}", created.id());
    let mut changed = created.json();
    changed["note"] = json!([{"text": canaries.next()}]);
    let _changed = importer.put(&path, &changed).await.expect(200);
    let _deleted = importer.delete(&path).await.expect(204);
    let _history = importer.get(&format!("{path}/_history")).await.expect(200);
    let organisation =
        json!({"resourceType": "Organization", "id": canaries.next(), "name": canaries.next()});
    let path = format!("/fhir/Organization/{}", organisation["id"].as_str().unwrap());
    let _stored = importer.put(&path, &organisation).await.expect(201);
    let _read = importer.get(&path).await.expect(200);
}

/// Requests that are refused, or find nothing; each with words in it.
async fn plant_refusals(server: &TestServer, canaries: &mut Canaries) {
    let physician = server.person(Person::Physician).await;
    let importer = server.partner(Partner::Importer);
    let anybody = server.anybody();
    for client in [&physician, &importer, &anybody] {
        for path in [
            "/fhir/Patient/{}",
            "/fhir/Patient?_id={}",
            "/fhir/Observation?patient={}",
            "/fhir/Patient?name={}",
            "/fhir/{}",
            "/{}",
            "/fhir/Patient/x?{}=1",
            "/fhir/Patient/{}/_history",
            "/audit/tile/{}",
        ] {
            let reply = client.get(&path.replace("{}", &canaries.next())).await;
            assert!(reply.status < 500, "{path}");
        }
        let invalid = json!({"resourceType": "Patient", canaries.next(): 1, "gender": canaries.next()});
        let _invalid = client.post("/fhir/Patient", &invalid).await;
        let broken = format!("{{\"resourceType\":\"Patient\",\"{}", canaries.next());
        let _broken = client.send(Method::POST, "/fhir/Patient", &[], broken).await;
        let dangling = json!({"resourceType": "Bundle", "type": "transaction", "entry": [
            {"resource": {"resourceType": "Patient", "id": canaries.next(), "name": [{"family": canaries.next()}]},
             "request": {"method": "PUT", "url": format!("Patient/{}", canaries.next())}}]});
        let _refused = client.post("/fhir", &dangling).await;
        let _form = client.form("/fhir/Patient/_search", &format!("_id={}", canaries.next())).await;
        for header in
            ["if-match", "if-none-exist", "user-agent", "x-request-id", "referer", "cookie", "prefer"]
        {
            let word = canaries.next();
            let _headed = client.send(Method::PUT, "/fhir/Patient/x", &[(header, &word)], "{}").await;
        }
        let _method = client
            .send(Method::from_bytes(canaries.next().as_bytes()).unwrap(), "/fhir/Patient", &[], "")
            .await;
    }
    for _ in 0..5 {
        let form = format!("grant_type=password&username={}&password={}", canaries.next(), canaries.next());
        let _refused = anybody.form("/auth/token", &form).await.expect(400);
        let bearer = format!("Bearer {}", canaries.next());
        let _refused = anybody.get_with("/fhir/Patient/x", &[("authorization", &bearer)]).await.expect(401);
    }
}

/// People with names, logins, organisations and passwords of words.
async fn plant_accounts(server: &TestServer, canaries: &mut Canaries) {
    let registry = Registry::from(&**server.app());
    let tenant = registry.tenant("clinic").await.unwrap();
    for _ in 0..3 {
        let (login, password) = (canaries.next(), canaries.next());
        let profile = Profile {
            tenant,
            tenant_name: "clinic".to_owned(),
            name: login.clone(),
            roles: vec!["physician".to_owned()],
            organisation: Some(canaries.next()),
            practitioner: Some(format!("Practitioner/{}", canaries.next())),
            scopes: "user/*.cruds".to_owned(),
            purposes: vec![Purpose::Treat],
            default_purpose: Purpose::Treat,
            disabled: false,
        };
        let credentials = Credentials::User { password: PasswordHash::make(&password).unwrap() };
        let account =
            Account::register(uuid::Uuid::new_v4(), server.app().clock.now(), profile, credentials).unwrap();
        registry.add_account(&account).await.unwrap();
        let form =
            format!("grant_type=password&username={login}&password={password}&client_id={}", canaries.next());
        let token = server.anybody().form("/auth/token", &form).await.expect(200).json();
        let person = server.anybody().bearing(token["access_token"].as_str().unwrap());
        let _hidden = person.get(&format!("/fhir/Patient/{}", canaries.next())).await.expect(404);
    }
}

/// What `pg_dump` writes of the server's database.
fn dump(server: &TestServer, cluster: &TestCluster) -> Vec<u8> {
    let url = server.database().url(Role::Owner);
    let output = Command::new(cluster.cluster().bin().join("pg_dump")).arg(&*url).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_was_told_stands_in_any_file() {
    // Its own cluster, which writes to its disk as in production.
    let cluster = TestCluster::durable().await;
    let server =
        TestServer::with(cluster, Clock::machine(), |config| config.watch.level = Level::Debug).await;
    let log = watch::start(server.config(), Clock::machine(), Screen::Dark).unwrap();
    let mut canaries = Canaries::default();
    plant_records(&server.partner(Partner::Importer), &mut canaries).await;
    plant_refusals(&server, &mut canaries).await;
    plant_accounts(&server, &mut canaries).await;
    assert!(canaries.0.len() > 1_000, "{}", canaries.0.len());
    drop(log);

    let owner = server.database().connect(Role::Owner).await;
    let superuser = cluster.cluster().data();
    // In clear on purpose, beside them: the scan finds what it is meant to find.
    let planted = format!("planted{}", uuid::Uuid::new_v4().simple());
    owner.batch_execute(&format!("CREATE TABLE planted AS SELECT '{planted}'::text AS word")).await.unwrap();
    owner.batch_execute("CHECKPOINT").await.unwrap();
    let words = Words::new(canaries.0.iter().map(String::as_str).chain([planted.as_str()]));
    let mut found = Found::new();
    let home = superuser.parent().unwrap();
    let read = words.scan_folder(home, &mut found);
    assert!(read > 16 << 20, "the write-ahead log is among the {read} bytes");
    let dumped = dump(&server, cluster);
    assert!(dumped.len() > PATIENTS * 1_000, "the dump has {} bytes", dumped.len());
    words.scan(&dumped, "pg_dump", &mut found);
    let logged: u64 = words.scan_folder(server.folder(), &mut found);
    assert!(logged > 0);
    let lines = std::fs::read_dir(server.config().watch_folder()).unwrap().count();
    assert_eq!(lines, 1, "the operational log was scanned");

    let places = found.remove(&planted).expect("what stands in clear is found");
    for place in ["base", "pg_wal", "pg_dump"] {
        assert!(places.iter().any(|one| one.contains(place)), "{place} is not in {places:?}");
    }
    assert_eq!(found, Found::new());
}
