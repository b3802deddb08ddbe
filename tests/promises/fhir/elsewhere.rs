//! Codes that are not held here, asked of another server: what is answered, what leaves the house, and when it is away.

use std::{
    convert::Infallible,
    fs,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use custodia::{
    clock::Clock,
    config::Config,
    fhir::package::Package,
    host::{Registry, take_up_packages},
    terminology::QUESTIONS_MAX,
};
use custodia_support::{authority::Authority, cluster::TestCluster, people::Person, server::TestServer};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use rustls::{RootCertStore, ServerConfig, server::WebPkiClientVerifier};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_rustls::TlsAcceptor;

use crate::clinic::{Clinic, ids};

const LOINC: &str = "http://loinc.org";
const SNOMED: &str = "http://snomed.info/sct";
const ICD: &str = "http://hl7.org/fhir/sid/icd-10-cm";
const RXNORM: &str = "http://www.nlm.nih.gov/research/umls/rxnorm";
const SET: &str = "http://terms.test/ValueSet/diabetes";
const US: &str = "http://hl7.org/fhir/us/core/StructureDefinition";
const DOCUMENTS: &str = "http://hl7.org/fhir/us/core/ValueSet/us-core-documentreference-type";
const TOKEN: &str = "a-token-of-the-house";
/// System, code, display.
const CODES: [(&str, &str, &str); 5] = [
    (LOINC, "18842-5", "Discharge summary"),
    (LOINC, "8480-6", "Systolic blood pressure"),
    (SNOMED, "73211009", "Diabetes mellitus"),
    (SNOMED, "44054006", "Diabetes mellitus type 2"),
    (ICD, "E11.9", "Type 2 diabetes mellitus without complications"),
];

/// A code that the server fails over.
const BAD: &str = "9999-4";

/// What the server was sent, byte for byte: of each request its line and headers, then its body.
#[derive(Default)]
struct Heard {
    all: Vec<(String, String)>,
}

/// A terminology server that shows a certificate of `authority` and wants one of it.
struct Elsewhere {
    heard: Arc<Mutex<Heard>>,
    away: Arc<AtomicBool>,
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Elsewhere {
    async fn start(authority: &Authority) -> Self {
        let own = authority.issue();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(own.certificate.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap(),
            )
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let (heard, away) = (Arc::<Mutex<Heard>>::default(), Arc::new(AtomicBool::new(false)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = (Arc::clone(&heard), Arc::clone(&away));
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (shared, acceptor) = (shared.clone(), acceptor.clone());
                tokio::spawn(async move {
                    let Ok(tls) = acceptor.accept(socket).await else { return };
                    let service = service_fn(move |request| {
                        let shared = shared.clone();
                        async move { Ok::<_, Infallible>(serve(&shared.0, &shared.1, request).await) }
                    });
                    http1::Builder::new().serve_connection(TokioIo::new(tls), service).await.ok();
                });
            }
        });
        Self { heard, away, address, task }
    }

    fn heard(&self) -> Vec<(String, String)> {
        self.heard.lock().unwrap().all.clone()
    }

    /// Paths of what was asked since `first`.
    fn asked(&self, first: usize) -> Vec<String> {
        let all = self.heard();
        all[first..].iter().map(|(head, _)| head.split(' ').nth(1).unwrap().to_owned()).collect()
    }
}

async fn serve(heard: &Mutex<Heard>, away: &AtomicBool, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let text = format!("{} {} {:?}", head.method, head.uri, head.headers);
    heard.lock().unwrap().all.push((text, String::from_utf8(body.to_vec()).unwrap()));
    let authorized = head.headers.get("authorization").is_some_and(|one| *one == format!("Bearer {TOKEN}"));
    let (status, answer) = match (away.load(Ordering::SeqCst), authorized) {
        (true, _) => (503, json!({})),
        (_, false) => (401, json!({})),
        _ if body.windows(BAD.len()).any(|part| part == BAD.as_bytes()) => (500, json!({})),
        _ => match answer(head.uri.path(), &serde_json::from_slice(&body).unwrap()) {
            Some(answer) => (200, answer),
            None => (404, json!({"resourceType": "OperationOutcome", "issue": []})),
        },
    };
    Response::builder().status(status).body(Full::new(Bytes::from(answer.to_string()))).unwrap()
}

fn answer(path: &str, sent: &Value) -> Option<Value> {
    let get = |name: &str| {
        let part = sent["parameter"].as_array().unwrap().iter().find(|part| part["name"] == name)?;
        part.as_object()?.iter().find(|(name, _)| *name != "name").map(|(_, value)| value.clone())
    };
    let text = |name: &str| get(name).and_then(|value| value.as_str().map(str::to_owned));
    let parameters = |parts: Value| Some(json!({"resourceType": "Parameters", "parameter": parts}));
    let code = text("code");
    let known = |system: &str| CODES.iter().find(|one| one.0 == system && Some(one.1) == code.as_deref());
    let yes = |one: &(&str, &str, &str)| {
        parameters(
            json!([{"name": "result", "valueBoolean": true}, {"name": "display", "valueString": one.2}]),
        )
    };
    let no = || parameters(json!([{"name": "result", "valueBoolean": false}]));
    let listed = |codes: &[(&str, &str, &str)], total: usize| {
        let all: Vec<Value> =
            codes.iter().map(|one| json!({"system": one.0, "code": one.1, "display": one.2})).collect();
        Some(json!({"resourceType": "ValueSet", "status": "active", "expansion": {
            "timestamp": "2026-01-01", "total": total, "contains": all,
        }}))
    };
    match path {
        "/r4/CodeSystem/$validate-code" => known(&text("url")?).map_or_else(no, yes),
        "/r4/CodeSystem/$lookup" => {
            let one = known(&text("system")?)?;
            parameters(json!([
                {"name": "name", "valueString": "Elsewhere"}, {"name": "version", "valueString": "7"},
                {"name": "display", "valueString": one.2},
            ]))
        }
        "/r4/ValueSet/$validate-code" => match (text("url")?.as_str(), code.as_deref()) {
            (DOCUMENTS, Some("18842-5")) => yes(&CODES[0]),
            (SET, Some("44054006")) => yes(&CODES[3]),
            (DOCUMENTS | SET, _) => no(),
            _ => None,
        },
        "/r4/ValueSet/$expand" => {
            let offset = usize::try_from(get("offset")?.as_u64()?).unwrap();
            // Page by page, whatever count is asked for.
            if text("url").as_deref() == Some(SET) {
                return listed(&CODES[2..4][offset..=offset], 2);
            }
            let include = get("valueSet")?["compose"]["include"][0].clone();
            let filter = include["filter"][0].clone();
            match (include["system"].as_str()?, filter["op"].as_str()?, filter["value"].as_str()?) {
                (SNOMED, "is-a", "73211009") | (SNOMED, "generalizes", "44054006") => listed(&CODES[2..4], 2),
                _ => None,
            }
        }
        "/r4/ConceptMap/$translate" => {
            let to = json!({"system": ICD, "code": "E11.9", "display": CODES[4].2});
            known(SNOMED)?;
            parameters(json!([{"name": "result", "valueBoolean": true}, {"name": "match", "part": [
                {"name": "equivalence", "valueCode": "equivalent"}, {"name": "concept", "valueCoding": to},
                {"name": "source", "valueUri": "http://terms.test/ConceptMap/icd"},
            ]}]))
        }
        _ => None,
    }
}

/// A clinic that knows US Core and asks elsewhere.
async fn clinic() -> (Clinic, Elsewhere) {
    let authority = Authority::new("terms");
    let elsewhere = Elsewhere::start(&authority).await;
    let (own, address) = (authority.issue(), elsewhere.address);
    let change = |config: &mut Config| {
        let file = |name: &str, text: &str| -> Option<PathBuf> {
            let path = config.home.join(name);
            fs::write(&path, text).unwrap();
            Some(path)
        };
        let (roots, certificate) = (file("terms.pem", authority.pem()), file("shown.pem", &own.certificate));
        let (key, token) = (file("shown.key", &own.key), file("token", &format!("{TOKEN}\n")));
        let terminology = &mut config.terminology;
        terminology.server = Some(format!("https://localhost:{}/r4/", address.port()));
        (terminology.roots, terminology.certificate) = (roots, certificate);
        (terminology.key, terminology.bearer_file) = (key, token);
        terminology.timeout_ms = 20_000;
        config.search.population = vec!["all".to_owned()];
    };
    let clinic =
        Clinic::on(TestServer::with(TestCluster::quick().await, Clock::machine(), change).await).await;
    let package = Package::read(include_bytes!("../../data/us-core-6.1.0.tgz")).unwrap();
    Registry::from(&**clinic.server.app()).add_package(package).await.unwrap();
    take_up_packages(clinic.server.app()).await.unwrap();
    (clinic, elsewhere)
}

fn part<'a>(reply: &'a Value, name: &str) -> &'a Value {
    let found = reply["parameter"].as_array().unwrap().iter().find(|one| one["name"] == name);
    let value = found.and_then(|one| one.as_object()?.iter().find(|(name, _)| name.starts_with("value")));
    value.map_or(&Value::Null, |(_, value)| value)
}

fn document(code: &str) -> Value {
    json!({
        "resourceType": "DocumentReference", "status": "current", "description": "Zebediah fell from a horse",
        "meta": {"profile": [format!("{US}/us-core-documentreference")]},
        "identifier": [{"system": "urn:mrn", "value": "MRN-4711"}],
        "type": {"coding": [{"system": LOINC, "code": code, "display": "as Zebediah said"}], "text": "of Zebediah"},
        "category": [{
            "coding": [{"system": "http://hl7.org/fhir/us/core/CodeSystem/us-core-documentreference-category", "code": "clinical-note"}],
        }],
        "subject": {"reference": "Patient/ann"},
        "content": [{"attachment": {"contentType": "text/plain", "data": "WmViZWRpYWg="}}],
    })
}

fn condition(id: &str, system: &str, code: &str) -> Value {
    json!({
        "resourceType": "Condition", "id": id, "subject": {"reference": "Patient/ann", "display": "Zebediah"},
        "code": {"coding": [{"system": system, "code": code}], "text": "Zebediah's"},
    })
}

/// Rules and severities of the issues about a binding.
fn bindings(outcome: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let all = outcome["issue"].as_array().unwrap().iter();
    let all = all.map(|issue| (text(&issue["severity"]), text(&issue["diagnostics"])));
    all.filter(|(_, rule)| rule.starts_with("profile.binding")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_known_here_is_asked_elsewhere() {
    let (clinic, elsewhere) = clinic().await;
    let physician = clinic.person(Person::Physician).await;
    let get = async |path: String| physician.get(&path).await.expect(200).json();
    let looked = get(format!("/fhir/CodeSystem/$lookup?system={LOINC}&code=8480-6")).await;
    assert_eq!((part(&looked, "display"), part(&looked, "version")), (&json!(CODES[1].2), &json!("7")));
    let _none = physician.get(&format!("/fhir/CodeSystem/$lookup?system={LOINC}&code=0-0")).await.expect(400);
    for (query, result) in [
        (format!("CodeSystem/$validate-code?url={LOINC}&code=8480-6"), true),
        (format!("CodeSystem/$validate-code?url={LOINC}&code=8480-6&display=Other"), false),
        (format!("CodeSystem/$validate-code?url={LOINC}&code=0-0"), false),
        (format!("ValueSet/$validate-code?url={SET}&system={SNOMED}&code=44054006"), true),
        (format!("ValueSet/$validate-code?url={SET}&system={SNOMED}&code=22298006"), false),
    ] {
        let said = get(format!("/fhir/{query}")).await;
        assert_eq!(part(&said, "result"), &json!(result), "{query} {said}");
    }
    let listed = get(format!("/fhir/ValueSet/$expand?url={SET}&filter=type")).await;
    assert_eq!(listed["expansion"]["contains"][0]["code"], "44054006");
    let whole = get(format!("/fhir/ValueSet/$expand?url={SET}")).await;
    assert_eq!(whole["expansion"]["total"], 2, "both pages of it");
    let elsewhere_too =
        get(format!("/fhir/ConceptMap/$translate?system={SNOMED}&code=44054006&targetsystem={ICD}")).await;
    assert_eq!(part(&elsewhere_too, "result"), &json!(true));
    // What was answered is kept: nothing is asked twice.
    let before = elsewhere.heard().len();
    let _again = get(format!("/fhir/ValueSet/$expand?url={SET}")).await;
    let _again = get(format!("/fhir/CodeSystem/$validate-code?url={LOINC}&code=0-0")).await;
    assert_eq!(elsewhere.asked(before), Vec::<String>::new());
    // A question that fails rests alone; it is not asked again at once, and others are.
    let before = elsewhere.heard().len();
    let bad = format!("/fhir/CodeSystem/$lookup?system={LOINC}&code={BAD}");
    for _ in 0..2 {
        let _fails = physician.get(&bad).await.expect(503);
    }
    let _looked = get(format!("/fhir/CodeSystem/$lookup?system={LOINC}&code=18842-5")).await;
    assert_eq!(elsewhere.asked(before), vec!["/r4/CodeSystem/$lookup"; 2]);
    // Sets of codes in searches.
    for (id, code) in [("sugar", "44054006"), ("both", "73211009"), ("other", "386661006")] {
        clinic.put(&condition(id, SNOMED, code)).await;
    }
    for (query, expected) in [
        (format!("code:in={SET}"), vec!["both", "sugar"]),
        (format!("code:not-in={SET}"), vec!["other"]),
        (format!("code:below={SNOMED}%7C73211009"), vec!["both", "sugar"]),
        (format!("code:above={SNOMED}%7C44054006"), vec!["both", "sugar"]),
    ] {
        let found =
            clinic.importer.get(&format!("/fhir/Condition?patient=ann&{query}")).await.expect(200).json();
        let mut found = ids(&found);
        found.sort_unstable();
        assert_eq!(found, expected, "{query}");
    }
    let unknown = format!("/fhir/Condition?patient=ann&code:in={SET}-other");
    assert_eq!(clinic.importer.get(&unknown).await.expect(400).issue(), "not-supported");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bindings_to_codes_elsewhere_are_judged_and_never_keep_a_record_out_when_nobody_answers() {
    let (clinic, elsewhere) = clinic().await;
    let importer = &clinic.importer;
    let _in_it = importer.post("/fhir/DocumentReference", &document("18842-5")).await.expect(201);
    let refused = importer.post("/fhir/DocumentReference", &document("8480-6")).await.expect(422).json();
    assert_eq!(bindings(&refused), [("error".to_owned(), "profile.binding".to_owned())]);
    let entry =
        json!({"resource": document("8480-6"), "request": {"method": "POST", "url": "DocumentReference"}});
    let bundle = json!({"resourceType": "Bundle", "type": "transaction", "entry": [entry]});
    let _whole = importer.post("/fhir", &bundle).await.expect(422);
    // A set that is not known there, of a system that is.
    let profile = format!("{US}/us-core-condition-encounter-diagnosis");
    let validate = async |code: &str| {
        let path = format!("/fhir/Condition/$validate?profile={profile}");
        bindings(&importer.post(&path, &condition("x", ICD, code)).await.expect(200).json())
    };
    let warned = |rule: &str| vec![("warning".to_owned(), rule.to_owned())];
    assert_eq!(validate("E11.9").await, []);
    assert_eq!(validate("E11.99").await, warned("profile.binding"));
    // Away: what was answered still counts, what was not is a warning.
    elsewhere.away.store(true, Ordering::SeqCst);
    let _kept = importer.post("/fhir/DocumentReference", &document("8480-6")).await.expect(422);
    let _taken = importer.post("/fhir/DocumentReference", &document("11506-3")).await.expect(201);
    let path = "/fhir/DocumentReference/$validate";
    let said = importer.post(path, &document("11506-3")).await.expect(200).json();
    assert_eq!(bindings(&said), warned("profile.binding-unknown"));
    // Operations and searches say that it is away, and do not keep asking.
    let before = elsewhere.heard().len();
    for path in [
        format!("/fhir/CodeSystem/$lookup?system={LOINC}&code=1-8"),
        format!("/fhir/ValueSet/$expand?url={SET}"),
        format!("/fhir/ConceptMap/$translate?system={SNOMED}&code=22298006&targetsystem={ICD}"),
        format!("/fhir/Condition?patient=ann&code:in={SET}"),
    ] {
        let reply = importer.get(&path).await.expect(503);
        assert_eq!(reply.issue(), "transient", "{path}");
    }
    assert_eq!(elsewhere.asked(before), Vec::<String>::new(), "it rests");
}

/// The parameters of a question, and the texts in it.
fn words(body: &str) -> (Vec<String>, Vec<String>) {
    fn texts(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::String(text) => found.push(text.clone()),
            Value::Array(items) => items.iter().for_each(|one| texts(one, found)),
            Value::Object(all) => {
                all.iter().filter(|(name, _)| *name != "name").for_each(|(_, v)| texts(v, found))
            }
            _ => {}
        }
    }
    let sent: Value = serde_json::from_str(body).unwrap();
    let parts = sent["parameter"].as_array().unwrap();
    let names = parts.iter().map(|part| part["name"].as_str().unwrap().to_owned()).collect();
    let mut found = Vec::new();
    texts(&sent["parameter"], &mut found);
    (names, found)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_codes_leave_the_house() {
    let (clinic, elsewhere) = clinic().await;
    let importer = &clinic.importer;
    let mut zebediah = crate::clinic::patient("zeb-1", &[]);
    zebediah["name"] = json!([{"family": "Quuxley", "given": ["Zebediah"]}]);
    clinic.put(&zebediah).await;
    let _written = importer.post("/fhir/DocumentReference", &document("18842-5")).await.expect(201);
    // What stands where a code should, or is of a system of the house's own.
    for (code, system) in [
        ("Zebediah Quuxley born on 1 April 1970", LOINC),
        ("Zebediah", LOINC),
        ("4711-Quuxley", SNOMED),
        ("MRN-4711", "http://clinic.test/ids"),
    ] {
        let mut odd = document("18842-5");
        odd["type"]["coding"][0]["code"] = json!(code);
        odd["type"]["coding"][0]["system"] = json!(system);
        let _odd = importer.post("/fhir/DocumentReference", &odd).await;
    }
    let root = custodia_support::client::ROOT;
    for path in [
        format!("/fhir/CodeSystem/$validate-code?url={LOINC}&code=8480-6&display=Zebediah"),
        format!("/fhir/ValueSet/$expand?url={SET}&filter=Zebediah"),
        format!("/fhir/ValueSet/$expand?url={root}/fhir/Patient/zeb-1"),
        "/fhir/ValueSet/$expand?url=Zebediah".to_owned(),
        "/fhir/CodeSystem/$lookup?system=http://clinic.test/ids&code=MRN-4711".to_owned(),
        format!("/fhir/Condition?patient=zeb-1&code:in={SET}"),
        format!("/fhir/Condition?patient=zeb-1&code:below={SNOMED}%7C73211009"),
        format!("/fhir/ConceptMap/$translate?system={SNOMED}&code=44054006&targetsystem={ICD}"),
    ] {
        let _whatever = importer.get(&path).await;
    }
    let heard = elsewhere.heard();
    assert!(heard.len() >= 5, "{heard:?}");
    let known: Vec<&str> =
        CODES.iter().flat_map(|one| [one.0, one.1]).chain([SET, DOCUMENTS, "Parameters"]).collect();
    let of_a_set = ["ValueSet", "active", "concept", "is-a"];
    for (head, body) in &heard {
        for secret in
            ["Zebediah", "Quuxley", "zeb-1", "MRN", "WmVi", "ann", "clinic", "horse", "records.test"]
        {
            assert!(!head.contains(secret) && !body.contains(secret), "{secret} in {head} {body}");
        }
        let (names, texts) = words(body);
        for name in names {
            let expected = ["url", "system", "code", "valueSet", "offset", "count", "targetsystem"];
            assert!(expected.contains(&name.as_str()), "{name}");
        }
        for text in texts {
            assert!(known.contains(&text.as_str()) || of_a_set.contains(&text.as_str()), "{text} in {body}");
        }
        let mut headers =
            head.split('"').skip(1).step_by(2).filter(|word| !word.contains(['/', ' ', ':', '*']));
        let expected = ["content-type", "accept", "authorization", "host", "content-length"];
        assert!(
            headers
                .all(|name| expected.contains(&name) || name.parse::<u32>().is_ok() || name == "Sensitive"),
            "{head}"
        );
    }
    // No more than so many questions of one request.
    let first = heard.len();
    let coding = |n: usize| json!({"system": RXNORM, "code": (1_000 + n).to_string()});
    let many: Vec<Value> = (0..=QUESTIONS_MAX).map(coding).collect();
    let sent = json!({"resourceType": "Parameters", "parameter": [
        {"name": "url", "valueUri": RXNORM}, {"name": "codeableConcept", "valueCodeableConcept": {"coding": many}},
    ]});
    let _no = importer.post("/fhir/CodeSystem/$validate-code", &sent).await;
    assert_eq!(elsewhere.asked(first).len(), QUESTIONS_MAX);
}
