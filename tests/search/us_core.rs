//! The searches that US Core 6.1.0 asks of a server (`tests/data/us-core-6.1.0-searches.txt`), each with values that stand
//! in the records and with one that stands in none, as GET and as POST, page by page, on the default configuration with the
//! guide's own SearchParameters taken up.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read as _,
};

use custodia::clock::Clock;
use custodia_support::{
    client::Client,
    cluster::TestCluster,
    people::{Partner, Person},
    server::TestServer,
};
use flate2::read::GzDecoder;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    ask::{Term, escape},
    collect, load,
    truth::{self, Row, Sort, TABLE, World, codes, texts, values},
};

const SEARCHES: &str = include_str!("../data/us-core-6.1.0-searches.txt");
const PARAMETERS: &str = include_str!("../data/us-core-6.1.0-search-parameters.ndjson");
const PACKAGE: &[u8] = include_bytes!("../data/us-core-6.1.0.tgz");
/// Records that values are taken from, for each search.
const RECORDS: usize = 2;

const PATIENT: Sort = Sort::Reference("Patient");

/// Where the values of parameters stand that random searches leave out.
const ROWS: [Row; 57] = [
    ("AllergyIntolerance", "patient", PATIENT, &["patient"]),
    ("AllergyIntolerance", "clinical-status", Sort::Concept, &["clinicalStatus"]),
    ("CarePlan", "status", Sort::Code("http://hl7.org/fhir/request-status"), &["status"]),
    ("CareTeam", "patient", PATIENT, &["subject"]),
    ("CareTeam", "status", Sort::Code("http://hl7.org/fhir/care-team-status"), &["status"]),
    ("CareTeam", "role", Sort::Concept, &["participant.role"]),
    ("CareTeam", "participant", Sort::Reference("Practitioner"), &["participant.member"]),
    ("Condition", "category", Sort::Concept, &["category"]),
    ("Coverage", "patient", PATIENT, &["beneficiary"]),
    ("Device", "patient", PATIENT, &["patient"]),
    ("Device", "type", Sort::Concept, &["type"]),
    ("Device", "status", Sort::Code("http://hl7.org/fhir/device-status"), &["status"]),
    ("DiagnosticReport", "status", Sort::Code("http://hl7.org/fhir/diagnostic-report-status"), &["status"]),
    ("DocumentReference", "patient", PATIENT, &["subject"]),
    ("DocumentReference", "type", Sort::Concept, &["type"]),
    ("DocumentReference", "category", Sort::Concept, &["category"]),
    ("DocumentReference", "date", Sort::Date, &["date"]),
    ("DocumentReference", "period", Sort::Date, &["context.period"]),
    ("DocumentReference", "status", Sort::Code("http://hl7.org/fhir/document-reference-status"), &["status"]),
    ("Encounter", "identifier", Sort::Identifier, &["identifier"]),
    ("Encounter", "discharge-disposition", Sort::Concept, &["hospitalization.dischargeDisposition"]),
    ("Encounter", "location", Sort::Reference("Location"), &["location.location"]),
    ("Goal", "patient", PATIENT, &["subject"]),
    ("Goal", "description", Sort::Concept, &["description"]),
    ("Goal", "target-date", Sort::Date, &["target.dueDate"]),
    ("Goal", "lifecycle-status", Sort::Code("http://hl7.org/fhir/goal-status"), &["lifecycleStatus"]),
    ("Immunization", "status", Sort::Code("http://hl7.org/fhir/event-status"), &["status"]),
    ("Location", "name", Sort::Text, &["name", "alias"]),
    ("Location", "address", Sort::Address, &["address"]),
    ("Location", "address-city", Sort::Text, &["address.city"]),
    ("Location", "address-state", Sort::Text, &["address.state"]),
    ("Location", "address-postalcode", Sort::Text, &["address.postalCode"]),
    ("MedicationDispense", "patient", PATIENT, &["subject"]),
    (
        "MedicationDispense",
        "status",
        Sort::Code("http://terminology.hl7.org/CodeSystem/medicationdispense-status"),
        &["status"],
    ),
    ("MedicationDispense", "type", Sort::Concept, &["type"]),
    ("MedicationDispense", "medication", Sort::Reference("Medication"), &["medicationReference"]),
    (
        "MedicationRequest",
        "intent",
        Sort::Code("http://hl7.org/fhir/CodeSystem/medicationrequest-intent"),
        &["intent"],
    ),
    (
        "MedicationRequest",
        "status",
        Sort::Code("http://hl7.org/fhir/CodeSystem/medicationrequest-status"),
        &["status"],
    ),
    ("MedicationRequest", "medication", Sort::Reference("Medication"), &["medicationReference"]),
    ("Organization", "address", Sort::Address, &["address"]),
    ("PractitionerRole", "specialty", Sort::Concept, &["specialty"]),
    ("PractitionerRole", "practitioner", Sort::Reference("Practitioner"), &["practitioner"]),
    ("PractitionerRole", "endpoint", Sort::Reference("Endpoint"), &["endpoint"]),
    ("Procedure", "status", Sort::Code("http://hl7.org/fhir/event-status"), &["status"]),
    ("QuestionnaireResponse", "patient", PATIENT, &["subject"]),
    ("QuestionnaireResponse", "questionnaire", Sort::Canonical, &["questionnaire"]),
    ("QuestionnaireResponse", "authored", Sort::Date, &["authored"]),
    (
        "QuestionnaireResponse",
        "status",
        Sort::Code("http://hl7.org/fhir/questionnaire-answers-status"),
        &["status"],
    ),
    ("RelatedPerson", "patient", PATIENT, &["patient"]),
    ("RelatedPerson", "name", Sort::HumanName, &["name"]),
    ("ServiceRequest", "patient", PATIENT, &["subject"]),
    ("ServiceRequest", "category", Sort::Concept, &["category"]),
    ("ServiceRequest", "code", Sort::Concept, &["code"]),
    ("ServiceRequest", "authored", Sort::Date, &["authoredOn"]),
    ("ServiceRequest", "status", Sort::Code("http://hl7.org/fhir/request-status"), &["status"]),
    ("Specimen", "patient", PATIENT, &["subject"]),
    ("Provenance", "target", PATIENT, &["target"]),
];
/// What R4 does not define and US Core does (`tests/data/us-core-6.1.0-search-parameters.ndjson`): until its own
/// SearchParameters are taken up, a search by one is refused.
const OF_THE_GUIDE: [(&str, &str); 4] = [
    ("CareTeam", "role"),
    ("Condition", "asserted-date"),
    ("Encounter", "discharge-disposition"),
    ("Goal", "description"),
];

/// The extension that `Condition.asserted-date` looks into.
const ASSERTED: &str = "http://hl7.org/fhir/StructureDefinition/condition-assertedDate";

fn row(kind: &str, code: &str) -> &'static Row {
    let here = |row: &&Row| row.0 == kind && row.1 == code;
    let found = ROWS.iter().find(here).or_else(|| TABLE.iter().find(here));
    found.unwrap_or_else(|| panic!("{kind}?{code} stands in no table"))
}

/// One parameter of a search: any of the terms.
struct Criterion {
    kind: &'static str,
    code: &'static str,
    any: Vec<Term>,
}

impl Criterion {
    fn written(&self) -> String {
        let any: Vec<String> = self.any.iter().map(Term::written).collect();
        format!("{}={}", self.code, escape(&any.join(",")))
    }

    fn holds(&self, world: &World, resource: &Value) -> bool {
        places(world, self.kind, self.code, resource)
            .iter()
            .any(|(sort, value)| self.any.iter().any(|term| term.holds(*sort, value)))
    }
}

/// The values of a parameter, `_id` and chains of one link among them.
fn places<'a>(world: &'a World, kind: &str, code: &str, resource: &'a Value) -> Vec<(Sort, &'a Value)> {
    if code == "_id" {
        return vec![(Sort::Canonical, &resource["id"])];
    }
    if code == "asserted-date" {
        let extensions = resource["extension"].as_array().into_iter().flatten();
        let asserted = extensions.filter(|one| one["url"] == ASSERTED);
        return asserted.map(|one| (Sort::Date, &one["valueDateTime"])).collect();
    }
    let Some((link, rest)) = code.split_once('.') else {
        let row = row(kind, code);
        // A concept in words alone has no code to be found by.
        let found = values(row, resource).into_iter().map(|value| (row.2, value));
        return found
            .filter(|(sort, value)| *sort != Sort::Concept || !codes(*sort, value).is_empty())
            .collect();
    };
    let targets = values(row(kind, link), resource);
    let targets = targets.into_iter().filter_map(|value| world.get(value["reference"].as_str()?));
    targets.flat_map(|one| places(world, one["resourceType"].as_str().unwrap(), rest, one)).collect()
}

/// What is asked of a value that stands in a record, in one of several ways of writing it; several of dates.
fn terms(sort: Sort, value: &Value, way: usize) -> Vec<Vec<Term>> {
    match sort {
        Sort::Canonical => vec![vec![Term::Exactly(value.as_str().unwrap().to_owned())]],
        Sort::Text | Sort::HumanName | Sort::Address => {
            let all = texts(sort, value);
            let text = &all[way % all.len()];
            let begins = text.chars().take(if way.is_multiple_of(2) { 4 } else { 40 }).collect::<String>();
            vec![vec![Term::Begins(begins.trim().to_owned())]]
        }
        Sort::Reference(_) => {
            let name = value["reference"].as_str().unwrap();
            let form = if way.is_multiple_of(2) { name } else { name.split_once('/').unwrap().1 };
            let bare = matches!(sort, Sort::Reference("Patient"));
            vec![vec![Term::Reference(name.to_owned(), if bare { form } else { name }.to_owned())]]
        }
        Sort::Date => {
            let text = value.as_str().or_else(|| value["start"].as_str()).unwrap();
            let day = &text[..text.len().min(10)];
            let year = &text[..4];
            let all =
                [("", day), ("ge", day), ("lt", text), ("gt", year), ("le", day), ("", year), ("lt", year)];
            all.iter().map(|(prefix, text)| vec![Term::Date(prefix, (*text).to_owned())]).collect()
        }
        Sort::Quantity => unreachable!("US Core asks for no quantity"),
        Sort::Concept | Sort::Coding | Sort::Code(_) | Sort::Identifier | Sort::Contact => {
            let (system, code) = codes(sort, value).remove(0);
            let other = Term::Token(None, Some("entered-in-error".to_owned()));
            vec![match way % 3 {
                0 => vec![Term::Token(None, Some(code))],
                1 => vec![Term::Token(Some(system), Some(code))],
                _ => vec![other, Term::Token(None, Some(code))],
            }]
        }
    }
}

/// A term that stands nowhere.
fn nowhere(sort: Sort) -> Term {
    match sort {
        Sort::Canonical => Term::Exactly("nobody".to_owned()),
        Sort::Text | Sort::HumanName | Sort::Address => Term::Begins("Zzyzx".to_owned()),
        Sort::Reference(kind) => Term::Reference(format!("{kind}/nobody"), format!("{kind}/nobody")),
        Sort::Date => Term::Date("", "1823-04-05".to_owned()),
        _ => Term::Token(None, Some("nothing-at-all".to_owned())),
    }
}

/// What is asked for beside the matches.
#[derive(Clone, Copy)]
enum Beside {
    Nothing,
    /// `_include=Type:parameter`, and of which type.
    Include(&'static str, Option<&'static str>),
    Revinclude,
}

/// A line of the table.
struct Asked {
    kind: &'static str,
    codes: Vec<&'static str>,
    beside: Beside,
    line: &'static str,
}

fn asked() -> Vec<Asked> {
    let lines = SEARCHES.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let mut words = line.split(' ');
            assert!(matches!(words.next(), Some("SHALL" | "SHOULD")), "{line}");
            let kind = words.next().unwrap();
            let codes: Vec<_> = words.collect();
            let narrow = |kind| {
                if kind == "PractitionerRole" {
                    "specialty"
                } else if kind == "Patient" {
                    "_id"
                } else {
                    "patient"
                }
            };
            if codes == ["_revinclude=Provenance:target"] {
                return Asked { kind, codes: vec![narrow(kind)], beside: Beside::Revinclude, line };
            }
            if let Some(include) = codes[0].strip_prefix("_include=") {
                let mut parts = include.split(':').skip(1);
                let beside = Beside::Include(parts.next().unwrap(), parts.next());
                return Asked { kind, codes: vec![narrow(kind)], beside, line };
            }
            Asked { kind, codes, beside: Beside::Nothing, line }
        })
        .collect()
}

impl Asked {
    /// Each way of asking it: with values of some records, and with one value that stands nowhere.
    fn drawn(&self, world: &World) -> Vec<Vec<Criterion>> {
        let has =
            |one: &&Value| self.codes.iter().all(|code| !places(world, self.kind, code, one).is_empty());
        let records: Vec<&Value> = world.all(self.kind).filter(has).collect();
        assert!(!records.is_empty(), "{}: no record has values for it", self.line);
        let mut drawn = Vec::new();
        for n in 0..RECORDS {
            let record = records[n * (records.len() - 1) / (RECORDS - 1)];
            let ways: Vec<(Sort, Vec<Vec<Term>>)> = self
                .codes
                .iter()
                .enumerate()
                .map(|(at, code)| {
                    let (sort, value) = places(world, self.kind, code, record)[0];
                    (sort, terms(sort, value, n + at))
                })
                .collect();
            let most = ways.iter().map(|(_, ways)| ways.len()).max().unwrap();
            // Each way of a date, and in the end each value in turn that stands nowhere.
            for round in 0..most + ways.len() {
                let criteria = ways.iter().enumerate().map(|(at, (sort, ways))| Criterion {
                    kind: self.kind,
                    code: self.codes[at],
                    any: if round == most + at {
                        vec![nowhere(*sort)]
                    } else {
                        ways[round % ways.len()].clone()
                    },
                });
                drawn.push(criteria.collect());
            }
        }
        drawn
    }

    fn beside(&self, world: &World, matches: &BTreeSet<String>) -> BTreeSet<String> {
        let found: BTreeSet<String> = match self.beside {
            Beside::Nothing => return BTreeSet::new(),
            Beside::Include(code, to) => {
                let row = row(self.kind, code);
                let values =
                    matches.iter().filter_map(|name| world.get(name)).flat_map(|one| values(row, one));
                let names =
                    values.filter_map(|value| world.get(value["reference"].as_str()?)).map(truth::name);
                names.filter(|name| to.is_none_or(|to| name.starts_with(&format!("{to}/")))).collect()
            }
            Beside::Revinclude => {
                let row = row("Provenance", "target");
                let points = |one: &&Value| {
                    let targets = values(row, one);
                    targets
                        .iter()
                        .any(|value| value["reference"].as_str().is_some_and(|name| matches.contains(name)))
                };
                world.all("Provenance").filter(points).map(truth::name).collect()
            }
        };
        found.difference(matches).cloned().collect()
    }

    /// Asks both ways, and says what was wrong; how many there were, with what came beside them.
    async fn check(
        &self,
        client: &Client,
        world: &World,
        criteria: &[Criterion],
    ) -> Result<(usize, usize), String> {
        let expected: BTreeSet<String> = world
            .all(self.kind)
            .filter(|one| criteria.iter().all(|criterion| criterion.holds(world, one)))
            .map(truth::name)
            .collect();
        let beside = self.beside(world, &expected);
        let mut parts: Vec<String> = criteria.iter().map(Criterion::written).collect();
        if !matches!(self.beside, Beside::Nothing) {
            parts.push(self.line.split(' ').nth(2).unwrap().to_owned());
        }
        parts.push(format!("_count={}", expected.len() / 2 + 1));
        let query = parts.join("&");
        let get = client.get(&format!("/fhir/{}?{query}", self.kind)).await;
        let post = client.form(&format!("/fhir/{}/_search", self.kind), &query).await;
        for (how, reply) in [("GET", get), ("POST", post)] {
            let (found, others) = collect(client, reply)
                .await
                .map_err(|refusal| format!("{how} {}?{query}: {refusal}", self.kind))?;
            let set: BTreeSet<String> = found.iter().cloned().collect();
            if set.len() != found.len() || set != expected || others != beside {
                return Err(format!(
                    "{how} {}?{query}: {found:?} and {others:?} instead of {expected:?} and {beside:?}",
                    self.kind
                ));
            }
        }
        Ok((expected.len(), beside.len()))
    }
}

/// The guide's own examples, and copies of what Synthea's patients have none of for two of those.
fn examples(world: &World) -> Vec<Value> {
    let others: Vec<String> = world.all("Patient").take(2).map(truth::name).collect();
    let mut found = Vec::new();
    let mut archive = tar::Archive::new(GzDecoder::new(PACKAGE));
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        if !entry.path().unwrap().starts_with("package/example") {
            continue;
        }
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        found.push(serde_json::from_str(&text).unwrap());
        for (n, other) in others.iter().enumerate().filter(|_| text.contains("\"Patient/example\"")) {
            let mut copy: Value =
                serde_json::from_str(&text.replace("\"Patient/example\"", &format!("\"{other}\""))).unwrap();
            copy["id"] = json!(format!("other-{n}-{}", found.len()));
            found.push(copy);
        }
    }
    found
}

/// What neither Synthea nor the guide has an example of.
fn further(world: &World) -> Vec<Value> {
    let specialty =
        |code: &str| json!([{"coding": [{"system": "http://nucc.org/provider-taxonomy", "code": code}]}]);
    let practitioner =
        |n: usize| json!({"reference": truth::name(world.list("Practitioner").iter().nth_back(n).unwrap())});
    let role = |id: &str, code: &str, n: usize| {
        json!({
            "resourceType": "PractitionerRole", "id": id, "practitioner": practitioner(n), "specialty": specialty(code),
            "endpoint": [{"reference": "Endpoint/mail"}],
        })
    };
    let patient = json!({"reference": truth::name(&world.list("Patient")[0])});
    let member = |reference: &Value| json!({"member": reference});
    let kinds =
        asked().into_iter().filter(|one| matches!(one.beside, Beside::Revinclude)).map(|one| one.kind);
    let targets: Vec<Value> = kinds
        .flat_map(|kind| world.list(kind).iter().step_by(3))
        .map(|one| json!({"reference": truth::name(one)}))
        .collect();
    let connection = json!({"system": "http://terminology.hl7.org/CodeSystem/endpoint-connection-type", "code": "direct-project"});
    let mut all = vec![
        role("nephrologist", "207RN0300X", 0),
        role("midwife", "367A00000X", 1),
        role("nurse", "163W00000X", 0),
        json!({
            "resourceType": "Endpoint", "id": "mail", "status": "active", "connectionType": connection,
            "payloadType": [{"text": "any"}], "address": "mailto:clinic@example.org",
        }),
        json!({
            "resourceType": "CareTeam", "id": "all-sorts", "status": "active", "subject": patient,
            "participant": [
                member(&practitioner(0)), member(&patient), member(&json!({"reference": "PractitionerRole/midwife"})),
                member(&json!({"reference": "RelatedPerson/shaw-niece"})),
            ],
        }),
        json!({
            "resourceType": "MedicationDispense", "id": "by-reference", "status": "completed", "subject": patient,
            "medicationReference": {"reference": "Medication/uscore-med1"},
        }),
        json!({
            "resourceType": "Encounter", "id": "placed", "status": "finished", "subject": patient,
            "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
            "identifier": [{"system": "urn:x", "value": "visit-1"}],
            "location": [{"location": {"reference": "Location/hospital"}}],
        }),
    ];
    all.extend(of_the_guide(&patient));
    // Written down by the same person at once: many targets each, and records with several of them.
    all.extend(targets.chunks(40).enumerate().map(|(n, targets)| {
        json!({
            "resourceType": "Provenance", "id": format!("written-{n}"), "target": targets,
            "recorded": "2024-05-06T07:08:09Z", "agent": [{"who": practitioner(0)}],
        })
    }));
    all
}

/// Records with values for the guide's own parameters, some of them where the parameters do not look.
fn of_the_guide(patient: &Value) -> Vec<Value> {
    let concept =
        |system: &str, code: &str| json!({"coding": [{"system": system, "code": code}], "text": code});
    let dated = |url: &str, date: &str| json!({"url": url, "valueDateTime": date});
    let clinical = concept("http://terminology.hl7.org/CodeSystem/condition-clinical", "active");
    let condition = |id: &str, extensions: Value| {
        json!({
            "resourceType": "Condition", "id": id, "subject": patient, "clinicalStatus": clinical,
            "code": {"text": id}, "extension": extensions,
        })
    };
    let discharged = |id: &str, code: &str| {
        json!({
            "resourceType": "Encounter", "id": id, "status": "finished", "subject": patient,
            "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "IMP"},
            "hospitalization": {
                "dischargeDisposition": concept("http://terminology.hl7.org/CodeSystem/discharge-disposition", code),
                "admitSource": concept("http://terminology.hl7.org/CodeSystem/admit-source", "home"),
            },
        })
    };
    let goal = |id: &str, code: &str| {
        json!({
            "resourceType": "Goal", "id": id, "lifecycleStatus": "active", "subject": patient,
            "description": concept("urn:goals", code),
        })
    };
    let team = |id: &str, codes: [&str; 2]| {
        let participants = codes.map(|code| json!({"role": [concept("urn:roles", code)]}));
        json!({
            "resourceType": "CareTeam", "id": id, "status": "active", "subject": patient, "participant": participants,
            "category": [concept("urn:roles", "elsewhere")],
        })
    };
    vec![
        condition("asserted-1", json!([dated("urn:other", "2019-01-01"), dated(ASSERTED, "2021-05-06")])),
        condition("asserted-2", json!([dated(ASSERTED, "2021-05-06T07:08:09Z")])),
        condition("asserted-3", json!([dated(ASSERTED, "2022")])),
        condition("asserted-not", json!([dated("urn:other", "2021-05-06")])),
        discharged("discharged-1", "home"),
        discharged("discharged-2", "exp"),
        goal("described-1", "less"),
        goal("described-2", "more"),
        team("team-1", ["lead", "cook"]),
        team("team-2", ["cook", "guide"]),
    ]
}

/// Takes up the guide's own SearchParameters, after each was asked for in vain.
async fn take_up(server: &TestServer, importer: &Client) {
    let strict = [("prefer", "handling=strict")];
    for (kind, code) in OF_THE_GUIDE {
        let path = format!("/fhir/{kind}?patient=x&{code}=2020");
        let _unknown = importer.get_with(&path, &strict).await.expect(400);
    }
    let admin = server.person(Person::Administrator).await;
    for line in PARAMETERS.lines() {
        let parameter: Value = serde_json::from_str(line).unwrap();
        let path = format!("/fhir/{}", truth::name(&parameter));
        let _stored = admin.put(&path, &parameter).await.expect(201);
    }
    let path = "/fhir/SearchParameter/$reindex";
    let _begun = admin.send(Method::POST, path, &[], "").await.expect(202);
    while admin.get(path).await.status == 202 {}
    let in_force = admin.get(path).await.expect(200).text();
    for (kind, code) in OF_THE_GUIDE {
        assert!(in_force.contains(code), "{kind}?{code}: {in_force}");
    }
}

async fn populate(importer: &Client) -> World {
    let mut world = load(importer).await;
    for round in [examples, further] {
        let resources = round(&world);
        let entries: Vec<Value> = resources
            .iter()
            .map(|one| json!({"resource": one, "request": {"method": "PUT", "url": truth::name(one)}}))
            .collect();
        let bundle = json!({"resourceType": "Bundle", "type": "transaction", "entry": entries});
        let _stored = importer.post("/fhir", &bundle).await.expect(200);
        resources.into_iter().for_each(|one| world.add(one));
    }
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_searches_us_core_asks_for_find_what_brute_force_finds() {
    // Care teams are asked for by role alone.
    let change = |config: &mut custodia::config::Config| {
        config.search.population = vec!["added:CareTeam.role".to_owned()]
    };
    let server = TestServer::with(TestCluster::quick().await, Clock::machine(), change).await;
    let importer = server.partner(Partner::Importer);
    let world = populate(&importer).await;
    take_up(&server, &importer).await;
    let (mut wrong, mut counts) = (Vec::new(), BTreeMap::new());
    for one in asked() {
        let (mut matched, mut missed, mut came) = (0, 0, 0);
        for criteria in one.drawn(&world) {
            match one.check(&importer, &world, &criteria).await {
                Ok((0, _)) => missed += 1,
                Ok((_, beside)) => {
                    matched += 1;
                    came += beside;
                }
                Err(what) => wrong.push(what),
            }
        }
        let beside = matches!(one.beside, Beside::Nothing) || came > 0;
        if matched < RECORDS || missed < one.codes.len() || !beside {
            wrong.push(format!(
                "{}: {matched} found something, {missed} nothing, {came} came beside",
                one.line
            ));
        }
        *counts.entry("lines").or_insert(0) += 1;
        *counts.entry("searches").or_insert(0) += matched + missed;
    }
    println!("{counts:?}");
    assert!(wrong.is_empty(), "{} wrong\n{}", wrong.len(), wrong.join("\n"));
}
