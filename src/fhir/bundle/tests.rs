#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]
use super::super::kinds::{LogicalId, ResourceType};
use super::*;
use proptest::prelude::*;
use serde_json::json;

const A: &str = "urn:uuid:6f2c0c5e-9a0b-4d3e-8e2e-00000000000a";
const B: &str = "urn:uuid:6f2c0c5e-9a0b-4d3e-8e2e-00000000000b";

fn base() -> BaseUrl {
    BaseUrl::parse("https://records.example/fhir").unwrap()
}

fn bundle(kind: &str, entries: &[Value]) -> Value {
    json!({"resourceType": "Bundle", "type": kind, "entry": entries})
}

fn post(full_url: &str, resource: Value) -> Value {
    let kind = resource["resourceType"].as_str().unwrap().to_owned();
    json!({"fullUrl": full_url, "resource": resource, "request": {"method": "POST", "url": kind}})
}

fn request(method: &str, url: &str) -> Value {
    json!({"request": {"method": method, "url": url}})
}

fn put(url: &str) -> Value {
    let (kind, id) = url.split_once('/').unwrap();
    json!({"resource": {"resourceType": kind, "id": id}, "request": {"method": "PUT", "url": url}})
}

fn transaction(entries: &[Value]) -> Vec<Entry> {
    match Bundle::parse(bundle("transaction", entries), &base()) {
        Ok(Bundle::Transaction(entries)) => entries,
        Ok(Bundle::Batch(_)) => panic!("a batch"),
        Err(problems) => panic!("{problems:?}"),
    }
}

fn planned(entries: &[Value]) -> Result<Vec<Step>, Vec<Problem>> {
    let mut next = 0;
    plan(transaction(entries), &Settled::default(), &base(), || {
        next += 1;
        LogicalId::parse(&format!("new-{next}")).unwrap()
    })
}

fn said(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(|p| format!("{} {p}", p.code.as_str())).collect()
}

fn check_refused(bundle: Value, expected: &[&str]) {
    let Err(problems) = Bundle::parse(bundle, &base()) else { panic!("was taken") };
    assert_eq!(said(&problems), expected);
}

#[test]
fn every_member_of_a_request_is_read() {
    let entry = json!({"fullUrl": A, "resource": {"resourceType": "Patient", "id": "1"}, "request": {
        "method": "PUT", "url": "https://records.example/fhir/Patient/1", "ifMatch": "W/\"3\"", "ifNoneMatch": "*",
        "ifModifiedSince": "2024-01-02T03:04:05Z"}});
    let entry = transaction(&[entry]).remove(0);
    assert_eq!((entry.index, entry.place()), (0, "Bundle.entry[0]".to_owned()));
    assert_eq!((entry.full_url.as_deref(), entry.method), (Some(A), Method::Put));
    assert_eq!(entry.target, Target::Instance(ResourceType::PATIENT, LogicalId::parse("1").unwrap()));
    assert_eq!((entry.if_match, entry.if_none_match), (Some(3), Some(NoneMatch::Any)));
    assert_eq!(entry.if_modified_since, Some("2024-01-02T03:04:05Z".parse().unwrap()));
    assert_eq!(entry.resource, Some(json!({"resourceType": "Patient", "id": "1"})));
}

#[test]
fn what_is_no_batch_or_transaction_is_refused() {
    check_refused(json!([]), &["structure Bundle: Expected a Bundle."]);
    check_refused(json!({"resourceType": "Patient"}), &["structure Bundle: Expected a Bundle."]);
    for kind in ["searchset", "history", "document", "message", "transaction-response", ""] {
        check_refused(bundle(kind, &[]), &["value Bundle.type: Expected the type batch or transaction."]);
    }
    check_refused(
        json!({"resourceType": "Bundle", "type": "batch", "entry": {}}),
        &["structure Bundle.entry: Expected a list."],
    );
    let empty = Bundle::parse(json!({"resourceType": "Bundle", "type": "batch"}), &base());
    assert!(matches!(empty, Ok(Bundle::Batch(entries)) if entries.is_empty()));
}

#[test]
fn the_largest_bundle_is_taken_and_one_entry_more_is_not() {
    let many = |count: usize| bundle("transaction", &vec![request("GET", "Patient/1"); count]);
    assert!(
        matches!(Bundle::parse(many(ENTRIES_MAX), &base()), Ok(Bundle::Transaction(e)) if e.len() == ENTRIES_MAX)
    );
    check_refused(many(ENTRIES_MAX + 1), &["too-costly Bundle.entry: More than 5000 entries."]);
}

#[test]
fn a_wrong_entry_is_refused_where_it_is_wrong() {
    let patient = json!({"resourceType": "Patient"});
    let with = |method: &str, url: &str, resource: &Value| json!({"resource": resource, "request": {"method": method, "url": url}});
    let url = ".request.url: Expected a URL of this server's API.";
    let fits = ".request.url: The method cannot be used with this URL.";
    let of_type = ".resource: The resource is not of the type the URL names.";
    for (entry, expected) in [
        (json!(1), "structure : Expected an object."),
        (json!({}), "required .request: A request is required."),
        (json!({"request": {"url": "Patient/1"}}), "required .request.method: A method is required."),
        (request("get", "Patient/1"), "value .request.method: A method is required."),
        (json!({"request": {"method": "GET"}}), &format!("required {url}")),
        (request("GET", "Nothing/1"), &format!("value {url}")),
        (request("GET", "https://other.example/Patient/1"), &format!("value {url}")),
        (request("GET", &format!("Patient?a={}", "x".repeat(URL_BYTES_MAX))), &format!("value {url}")),
        (request("DELETE", "Patient"), &format!("invalid {fits}")),
        (with("POST", "Patient/1", &patient), &format!("invalid {fits}")),
        (with("PUT", "Patient", &patient), &format!("invalid {fits}")),
        (with("PUT", "Patient/1/_history/1", &patient), &format!("invalid {fits}")),
        (with("GET", "Patient/1", &patient), "invalid .resource: The method takes no resource."),
        (with("DELETE", "Patient/1", &patient), "invalid .resource: The method takes no resource."),
        (request("POST", "Patient"), "required .resource: A resource is required."),
        (request("PUT", "Patient/1"), "required .resource: A resource is required."),
        (with("POST", "Patient", &json!({"id": "1"})), "required .resource: A resource is required."),
        (with("POST", "Observation", &patient), &format!("invalid {of_type}")),
        (with("PUT", "Observation/1", &patient), &format!("invalid {of_type}")),
        (
            with("PUT", "Patient/1", &patient),
            "invalid .resource.id: The resource needs the id the URL names.",
        ),
        (
            with("PUT", "Patient/1", &json!({"resourceType": "Patient", "id": "2"})),
            "invalid .resource.id: The resource needs the id the URL names.",
        ),
        (with("PATCH", "Patient/1", &patient), "invalid .resource: A patch is a Binary or Parameters."),
        (
            json!({"request": {"method": "GET", "url": "Patient/1", "ifMatch": "W/3"}}),
            "value .request.ifMatch: The condition cannot be read.",
        ),
        (
            json!({"request": {"method": "GET", "url": "Patient/1", "ifMatch": 3}}),
            "structure .request.ifMatch: Expected a string.",
        ),
        (
            json!({"request": {"method": "GET", "url": "Patient/1", "ifModifiedSince": "2024"}}),
            "value .request.ifModifiedSince: The condition cannot be read.",
        ),
        (
            json!({"request": {"method": "GET", "url": "Patient/1", "ifNoneExist": "a=b"}}),
            "invalid .request.ifNoneExist: Only a create has this condition.",
        ),
        (
            json!({"fullUrl": "Patient/1", "request": {"method": "GET", "url": "Patient/1"}}),
            "value .fullUrl: Expected an absolute URL or urn without a version.",
        ),
        (
            json!({"fullUrl": "https://x/Patient/1/_history/2", "request": {"method": "GET", "url": "Patient/1"}}),
            "value .fullUrl: Expected an absolute URL or urn without a version.",
        ),
    ] {
        let (code, rest) = expected.split_once(' ').unwrap();
        let entries = [request("GET", "Patient/1"), entry];
        let expected = format!("{code} Bundle.entry[1]{}", rest.strip_prefix(' ').unwrap_or(rest));
        check_refused(bundle("transaction", &entries), &[&expected]);
        // In a batch, the other entry stands.
        let Ok(Bundle::Batch(parsed)) = Bundle::parse(bundle("batch", &entries), &base()) else {
            panic!("refused")
        };
        assert!(parsed[0].is_ok());
        assert_eq!(said(parsed[1].as_ref().err().unwrap()), [expected]);
    }
}

#[test]
fn a_transaction_runs_in_the_order_of_the_specification() {
    let patch =
        json!({"resource": {"resourceType": "Binary"}, "request": {"method": "PATCH", "url": "Patient/3"}});
    let steps = planned(&[
        request("GET", "Patient/1"),
        put("Patient/2"),
        post(A, json!({"resourceType": "Patient"})),
        patch,
        request("DELETE", "Patient/4"),
        request("HEAD", "Patient/1"),
        post(B, json!({"resourceType": "Patient"})),
        request("DELETE", "Patient/5"),
    ])
    .unwrap();
    let order: Vec<usize> = steps.iter().map(|step| step.entry.index).collect();
    assert_eq!(order, [4, 7, 2, 6, 1, 3, 0, 5]);
    let written: Vec<_> =
        steps.iter().filter_map(|s| s.written.as_ref()).map(|(_, id)| id.as_str().to_owned()).collect();
    assert_eq!(written, ["4", "5", "new-1", "new-2", "2", "3"]);
}

#[test]
fn references_between_entries_are_resolved_in_circles_too() {
    let steps = planned(&[
        post(A, json!({"resourceType": "Patient", "managingOrganization": {"reference": B}, "link": [{"other": {"reference": A}}],
            "identifier": [{"system": "urn:ietf:rfc:3986", "value": B}]})),
        post(B, json!({"resourceType": "Organization", "partOf": {"reference": "Organization/9"},
            "extension": [{"url": "http://e", "valueUri": A}, {"url": "http://e", "valueReference": {"reference": A}}],
            "text": {"status": "generated", "div": format!("<div><a href=\"{A}\">p</a></div>")}})),
        json!({"fullUrl": "https://records.example/fhir/Patient/7", "request": {"method": "PUT", "url": "Patient/7"},
            "resource": {"resourceType": "Patient", "id": "7", "generalPractitioner": [{"reference": B},
                {"reference": "https://records.example/fhir/Patient/7"}, {"reference": "#c"}, {"reference": "https://other.example/x"}]}}),
    ])
    .unwrap();
    let resource = |at: usize| steps[at].entry.resource.clone().unwrap();
    assert_eq!(
        resource(0),
        json!({"resourceType": "Patient", "managingOrganization": {"reference": "Organization/new-2"},
            "link": [{"other": {"reference": "Patient/new-1"}}],
            "identifier": [{"system": "urn:ietf:rfc:3986", "value": B}]})
    );
    assert_eq!(
        resource(1),
        json!({"resourceType": "Organization", "partOf": {"reference": "Organization/9"},
            "extension": [{"url": "http://e", "valueUri": "Patient/new-1"},
                {"url": "http://e", "valueReference": {"reference": "Patient/new-1"}}],
            "text": {"status": "generated", "div": "<div><a href=\"Patient/new-1\">p</a></div>"}})
    );
    assert_eq!(
        resource(2)["generalPractitioner"],
        json!([{"reference": "Organization/new-2"}, {"reference": "Patient/7"}, {"reference": "#c"},
            {"reference": "https://other.example/x"}])
    );
}

#[test]
fn a_relative_reference_is_first_looked_for_beside_its_entry() {
    let steps = planned(&[
        post("https://other.example/fhir/Patient/1", json!({"resourceType": "Patient"})),
        post(
            "https://other.example/fhir/Observation/1",
            json!({"resourceType": "Observation", "subject": {"reference": "Patient/1"}}),
        ),
        post(A, json!({"resourceType": "Observation", "subject": {"reference": "Patient/1"}})),
    ])
    .unwrap();
    let subject = |at: usize| steps[at].entry.resource.as_ref().unwrap()["subject"]["reference"].clone();
    assert_eq!((subject(1), subject(2)), (json!("Patient/new-1"), json!("Patient/1")));
}

fn check_unplanned(entries: &[Value], expected: &[&str]) {
    let problems = planned(entries).err().unwrap();
    assert_eq!(said(&problems), expected);
}

#[test]
fn what_a_transaction_may_not_hold_is_refused() {
    let same_resource =
        "duplicate Bundle.entry[1].request.url: An entry before this one writes the same resource.";
    check_unplanned(&[put("Patient/1"), put("Patient/1")], &[same_resource]);
    check_unplanned(&[put("Patient/1"), request("DELETE", "Patient/1")], &[same_resource]);
    assert!(planned(&[put("Patient/1"), request("GET", "Patient/1"), put("Observation/1")]).is_ok());
    check_unplanned(
        &[post(A, json!({"resourceType": "Patient"})), post(A, json!({"resourceType": "Basic"}))],
        &["duplicate Bundle.entry[1].fullUrl: An entry before this one has the same fullUrl."],
    );
    let operation = json!({"resource": {"resourceType": "Parameters"}, "request": {"method": "POST", "url": "Patient/$match"}});
    check_unplanned(
        &[operation],
        &[
            "not-supported Bundle.entry[0].request.url: Operations by POST inside a transaction are not supported.",
        ],
    );
    assert!(planned(&[request("GET", "Patient?identifier=1")]).is_ok());
}

#[test]
fn conditions_are_told_and_decide_what_is_planned() {
    let mut create = post(A, json!({"resourceType": "Patient"}));
    create["request"]["ifNoneExist"] = json!("identifier=1");
    let observation = |subject: &str| json!({"resourceType": "Observation", "subject": {"reference": subject}, "performer": [{"reference": "Patient?identifier=2"}]});
    let mut update = request("PUT", "Patient?identifier=3");
    update["resource"] = json!({"resourceType": "Patient"});
    let sent = [create, post(B, observation(A)), update, request("DELETE", "Patient?identifier=4")];
    let entries = transaction(&sent);
    let told = conditions(&entries, &base()).unwrap();
    let told: Vec<_> = told.iter().map(|c| (c.index, c.query.as_str(), c.of_entry)).collect();
    assert_eq!(
        told,
        [
            (0, "identifier=1", true),
            (1, "identifier=2", false),
            (2, "identifier=3", true),
            (3, "identifier=4", true)
        ]
    );
    let id = |text: &str| LogicalId::parse(text).unwrap();
    let settled = |found: bool| Settled {
        entries: [0, 2, 3].map(|n| (n, found.then(|| (ResourceType::PATIENT, id(&format!("p{n}")))))).into(),
        references: [((ResourceType::PATIENT, "identifier=2".to_owned()), id("p9"))].into(),
    };
    let planned = |found| {
        let mut numbers = 0..;
        let new_id = || id(&format!("new-{}", numbers.next().unwrap()));
        plan(transaction(&sent), &settled(found), &base(), new_id).unwrap()
    };
    let step = |steps: &[Step], index: usize| {
        let step = steps.iter().find(|step| step.entry.index == index).unwrap();
        let name = |target: &Option<(ResourceType, LogicalId)>| {
            target.as_ref().map(|(_, id)| id.as_str().to_owned())
        };
        (name(&step.written), name(&step.existing))
    };
    let some = |text: &str| Some(text.to_owned());
    let found = planned(true);
    assert_eq!(step(&found, 0), (None, some("p0")));
    assert_eq!(step(&found, 2), (some("p2"), None));
    assert_eq!(step(&found, 3), (some("p3"), None));
    let of = |steps: &[Step], index: usize| {
        steps.iter().find(|step| step.entry.index == index).unwrap().entry.resource.clone().unwrap()
    };
    assert_eq!(of(&found, 1)["subject"]["reference"], "Patient/p0");
    assert_eq!(of(&found, 1)["performer"][0]["reference"], "Patient/p9");
    assert_eq!(of(&found, 2)["id"], "p2");
    let fresh = planned(false);
    assert_eq!(step(&fresh, 0), (some("new-0"), None));
    assert_eq!(step(&fresh, 3), (None, None));
    assert_eq!(of(&fresh, 1)["subject"]["reference"], "Patient/new-0");

    let mut twice = sent.to_vec();
    twice.push(sent[0].clone());
    twice[4]["fullUrl"] = json!("urn:uuid:6f2c0c5e-9a0b-4d3e-8e2e-00000000000f");
    let mut numbers = 0..;
    let new_id = || id(&format!("n{}", numbers.next().unwrap()));
    let problems = plan(transaction(&twice), &settled(false), &base(), new_id).err().unwrap();
    assert_eq!(
        said(&problems),
        [
            "duplicate Bundle.entry[4].request.ifNoneExist: An entry before this one creates under the same condition."
        ]
    );
    let mut other = sent.to_vec();
    other[2]["resource"]["id"] = json!("other");
    let problems = plan(transaction(&other), &settled(true), &base(), || id("new")).err().unwrap();
    assert_eq!(
        said(&problems),
        [
            "invalid Bundle.entry[2].resource.id: The resource's id is another than that of the record that matches."
        ]
    );
}

#[test]
fn five_hundred_conditions_are_told_and_one_more_is_refused() {
    let many = |count: usize| {
        let entries: Vec<_> =
            (0..count).map(|n| request("DELETE", &format!("Patient?identifier={n}"))).collect();
        conditions(&transaction(&entries), &base()).map(|told| told.len())
    };
    assert_eq!(many(CONDITIONS_MAX).unwrap(), CONDITIONS_MAX);
    assert_eq!(many(CONDITIONS_MAX + 1).unwrap_err()[0].code, IssueCode::TooCostly);
}

#[test]
fn a_problem_repeats_nothing_from_the_resource() {
    check_unplanned(
        &[
            request("GET", "Patient/1"),
            post(
                A,
                json!({"resourceType": "Basic", "Jane Doe": [{"reference": B}, {"reference": B}], "x": {"reference": "Patient?name=Jane"}}),
            ),
        ],
        &[
            "not-found Bundle.entry[1].resource: A reference is to a urn that is the fullUrl of no entry.",
            "not-found Bundle.entry[1].resource: A conditional reference matches no record, or none that you may see.",
        ],
    );
    // What is deleted leaves nothing to refer to.
    let mut deleted = request("DELETE", "Patient/1");
    deleted["fullUrl"] = json!(A);
    check_unplanned(
        &[deleted, post(B, json!({"resourceType": "Basic", "subject": {"reference": A}}))],
        &["not-found Bundle.entry[1].resource: A reference is to a urn that is the fullUrl of no entry."],
    );
}

proptest! {
    #[test]
    fn no_entry_panics(method in "GET|POST|PUT|[A-Z]{0,6}", url in "(Patient|Patient/1|[?/$a-z_]{0,9})", full in "[a-z:/é]{0,12}", id in "[0-9a-z]{1,2}") {
        let entry = json!({"fullUrl": full, "request": {"method": method, "url": url, "ifMatch": id},
            "resource": {"resourceType": "Patient", "id": id, "x": {"reference": full}}});
        if let Ok(Bundle::Transaction(entries)) = Bundle::parse(bundle("transaction", &[entry]), &base()) {
            let _unused = plan(entries, &Settled::default(), &base(), || LogicalId::parse("n").unwrap());
        }
    }
}
