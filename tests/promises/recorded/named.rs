//! Whom a question names: she finds it in her log, also when nothing of hers was found or the question was refused.

use custodia::ledger::{NAMED_MAX, QUERY_REPEATED_MAX};
use custodia_audit::{Kind, sha256};
use custodia_support::people::Person;
use reqwest::Method;
use serde_json::json;

use crate::clinic::{Clinic, bundle, observation, patient};

/// Whom the entries from an index on are about: kind, status, patient; in the order of patients.
pub(super) async fn said(clinic: &Clinic, before: u64) -> Vec<(Kind, u16, Option<String>)> {
    let entries = clinic.server.entries(before).await;
    let one =
        |entry: custodia_audit::Entry| (entry.event.kind, entry.event.outcome.status, entry.subject.patient);
    let mut all: Vec<_> = entries.into_iter().map(|found| one(found.entry)).collect();
    all.sort_by(|a, b| a.2.cmp(&b.2));
    all
}

pub(super) fn about(id: &str) -> Option<String> {
    Some(format!("Patient/{id}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_that_names_a_patient_and_finds_nothing_is_in_her_log() {
    let clinic = Clinic::open().await;
    let mut bob = patient("bob", &[]);
    bob["identifier"] = json!([{"system": "urn:mrn", "value": "77"}]);
    clinic.put(&bob).await;
    let stranger = clinic.person(Person::Stranger).await;
    let ask = async |client: &custodia_support::client::Client, path: &str| {
        let before = clinic.server.size().await;
        let reply = client.get(path).await.expect(200);
        let entries = clinic.server.entries(before).await;
        let about: Vec<_> = entries.iter().map(|one| one.entry.subject.patient.clone()).collect();
        let found: Vec<_> = entries.iter().map(|one| one.entry.object.items.len()).collect();
        (reply.json()["entry"].as_array().map_or(0, Vec::len), about, found)
    };
    let about = |id: &str| Some(format!("Patient/{id}"));
    for (path, expected) in [
        ("/fhir/Observation?patient=bob", vec![about("bob")]),
        ("/fhir/Observation?subject=Patient/bob&code=x", vec![about("bob")]),
        ("/fhir/Patient/bob/Observation", vec![about("bob")]),
        ("/fhir?_type=Observation,Condition&patient=bob", vec![about("bob")]),
        ("/fhir/Patient/bob/$everything?_type=Observation", vec![about("bob")]),
        ("/fhir/Observation?patient=ann&code=unheard-of", vec![about("ann")]),
        // Wherever in it she stands.
        ("/fhir/Observation?patient._id=bob", vec![about("bob")]),
        ("/fhir/Observation?subject:Patient._id=bob", vec![about("bob")]),
        ("/fhir/Patient?_has:Observation:patient:subject=Patient/bob", vec![about("bob")]),
        ("/fhir/Observation?patient=ann&performer=Patient/bob", vec![about("ann"), about("bob")]),
        ("/fhir/Observation?_id=x&_filter=not(patient%20eq%20Patient/bob)", vec![about("bob")]),
        ("/fhir/Observation?_id=x&_filter=patient[_id%20eq%20bob].gender%20eq%20male", vec![about("bob")]),
        ("/fhir/Patient?_id:not=ann&_id=bob&name=unheard-of", vec![about("ann"), about("bob")]),
        // By her identifier, as far as it leads to her.
        ("/fhir/Observation?patient.identifier=urn:mrn%7C77", vec![about("bob")]),
        ("/fhir/Observation?patient.identifier=urn:mrn%7C78", vec![None]),
        // Of her who had something there is one entry, with it; of the other one as well.
        ("/fhir/Observation?patient=ann,bob", vec![about("ann"), about("bob")]),
        // Who is not here has no log: the entry is about nobody.
        ("/fhir/Observation?patient=nobody", vec![None]),
        ("/fhir/Observation?patient=nobody,bob", vec![None, about("bob")]),
        ("/fhir/Observation?_id=nothing", vec![None]),
    ] {
        let (shown, mut said, _) = ask(&clinic.importer, path).await;
        said.sort();
        assert_eq!(said, expected, "{path} ({shown} shown)");
    }
    // To whom she is hidden she is as absent: the same answer, and as many entries.
    for query in ["Observation?patient=", "Patient?_id="] {
        let (shown, said, items) = ask(&stranger, &format!("/fhir/{query}ann")).await;
        assert_eq!((shown, said, items), (0, vec![about("ann")], vec![0]), "{query}");
        let (shown, said, items) = ask(&stranger, &format!("/fhir/{query}nobody")).await;
        assert_eq!((shown, said, items), (0, vec![None], vec![0]), "{query}");
    }
    for both in ["ann,bob", "ann,nobody", "nobody,nothing"] {
        let (_, said, _) = ask(&stranger, &format!("/fhir/Observation?patient={both}")).await;
        assert_eq!(said.len(), 2, "{both}");
    }
    // In a transaction too, once for each.
    for (id, expected) in [("bob", about("bob")), ("nobody", None)] {
        let url = format!("Observation?patient={id}");
        let asked = bundle("transaction", &[("GET", &url, None), ("GET", &format!("{url}&code=x"), None)]);
        let before = clinic.server.size().await;
        let _reply = clinic.importer.post("/fhir", &asked).await.expect(200);
        let entries = clinic.server.entries(before).await;
        let said: Vec<_> = entries.iter().map(|one| one.entry.subject.patient.clone()).collect();
        assert_eq!(said, [expected], "{id}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_that_is_refused_is_in_the_log_of_whom_it_names() {
    let clinic = Clinic::open().await;
    let desk = clinic.person(Person::FrontDesk).await;
    for (id, expected) in [("ann", about("ann")), ("nobody", None)] {
        let of = |kind, status| vec![(kind, status, expected.clone())];
        // What is wrong with it stands beside her.
        for path in [
            format!("Observation?patient={id}&_text=x"),
            format!("Observation?_text=x&subject:Patient._id={id}"),
            format!("Patient/{id}/Observation?_text=x"),
            format!("?_type=Observation,Condition&patient={id}&_text=x"),
            format!("Observation?_filter=patient%20eq%20Patient/{id}&_sort=nothing"),
        ] {
            let before = clinic.server.size().await;
            let _refused = clinic.importer.get(&format!("/fhir/{path}").replace("/?", "?")).await.expect(400);
            assert_eq!(said(&clinic, before).await, of(Kind::Refusal, 400), "{path}");
        }
        // Who may not ask such a thing at all.
        let before = clinic.server.size().await;
        let _refused = desk.get(&format!("/fhir/Observation?patient={id}")).await.expect(403);
        assert_eq!(said(&clinic, before).await, of(Kind::Refusal, 403), "{id}");
        // In a transaction, whichever of its entries it is refused for.
        let search = format!("Observation?patient={id}");
        let wrong = [("GET", search.as_str(), None), ("GET", "Observation?_text=x", None)];
        let before = clinic.server.size().await;
        let _refused = clinic.importer.post("/fhir", &bundle("transaction", &wrong)).await.expect(400);
        assert_eq!(said(&clinic, before).await, of(Kind::Refusal, 400), "{id}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_condition_is_in_the_log_of_whom_it_names() {
    let clinic = Clinic::open().await;
    clinic.put(&patient("bob", &[])).await;
    let before = clinic.server.size().await;
    let _nothing = clinic.importer.delete("/fhir/Observation?patient=bob&code=unheard-of").await.expect(204);
    assert_eq!(said(&clinic, before).await, [(Kind::Write, 204, about("bob"))]);

    let before = clinic.server.size().await;
    let headers = [("if-none-exist", "patient=bob")];
    let body = observation("seen", "ann", "x").to_string();
    let _created = clinic.importer.send(Method::POST, "/fhir/Observation", &headers, body).await.expect(201);
    let found = said(&clinic, before).await;
    assert_eq!(found, [(Kind::Write, 201, about("ann")), (Kind::Write, 201, about("bob"))]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_names_so_many_patients_and_no_more() {
    let clinic = Clinic::open().await;
    // As many as one parameter takes, in as many parameters.
    let ids: Vec<String> = (0..NAMED_MAX).map(|n| format!("p{n}")).collect();
    let form = |ids: &[String]| {
        let all: Vec<String> = ids.chunks(200).map(|some| format!("patient={}", some.join(","))).collect();
        all.join("&")
    };
    let search = "/fhir/Observation/_search";
    let before = clinic.server.size().await;
    // Whoever is named twice counts once.
    let most = format!("{}&subject=Patient/p1", form(&ids));
    let _found = clinic.importer.form(search, &most).await.expect(200);
    assert_eq!(said(&clinic, before).await.len(), NAMED_MAX);

    let before = clinic.server.size().await;
    let refused = clinic.importer.form(search, &format!("{}&subject:Patient._id=ann", form(&ids))).await;
    assert_eq!(refused.expect(400).json()["issue"][0]["code"], "too-costly");
    assert_eq!(
        said(&clinic, before).await,
        [(Kind::Refusal, 400, None)],
        "the question is kept, in one entry"
    );

    // Those of a Bundle count together, whatever each of its requests names.
    let (some, others) = ids.split_at(NAMED_MAX / 2);
    let halves = [some, others].map(|ids| format!("Observation?{}", form(ids)));
    let one_more = "Observation?patient=ann&code=unheard-of".to_owned();
    for (kind, status) in [("batch", 200), ("transaction", 400)] {
        let asked = |urls: &[&String]| {
            let entries: Vec<_> = urls.iter().map(|url| ("GET", url.as_str(), None)).collect();
            bundle(kind, &entries)
        };
        let before = clinic.server.size().await;
        let _all = clinic.importer.post("/fhir", &asked(&[&halves[0], &halves[1]])).await.expect(200);
        assert_eq!(said(&clinic, before).await.len(), NAMED_MAX, "{kind}");
        let all = asked(&[&halves[0], &halves[1], &one_more]);
        let reply = clinic.importer.post("/fhir", &all).await.expect(status);
        assert_eq!(reply.text().matches("too-costly").count(), 1, "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_question_about_many_is_kept_once_and_named_by_its_digest_elsewhere() {
    let clinic = Clinic::open().await;
    let asked = async |ids: usize, rest: &str| {
        let ids: Vec<String> = (0..ids).map(|id| format!("nobody-{id:040}")).collect();
        let before = clinic.server.size().await;
        let query = format!("patient={}{rest}", ids.join(","));
        clinic.importer.form("/fhir/Observation/_search", &query).await;
        let entries = clinic.server.entries(before).await;
        entries.into_iter().map(|one| one.entry.detail.query.unwrap()).collect::<Vec<String>>()
    };
    // Answered, and refused.
    for rest in ["", "&_count=x"] {
        let kept = asked(30, rest).await;
        let (whole, others) = kept.split_first().unwrap();
        assert!(whole.starts_with("POST /fhir/Observation/_search?patient=nobody-") && whole.ends_with(rest));
        let hex: String = sha256(&[whole.as_bytes()]).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(others, vec![format!("sha256:{hex}"); 29]);
    }
    // A short one is repeated.
    let kept = asked(5, "").await;
    assert!(
        kept.len() == 5 && kept.iter().all(|query| *query == kept[0] && query.len() < QUERY_REPEATED_MAX)
    );
}
