#![expect(clippy::unwrap_used, reason = "tests")]
use super::*;
use proptest::prelude::*;
use serde_json::json;

fn base() -> BaseUrl {
    BaseUrl::parse("https://records.example:8443/fhir/").unwrap()
}

fn local(kind: ResourceType, id: &str, version: Option<u32>) -> Reference {
    Reference::Local { kind, id: LogicalId::parse(id).unwrap(), version }
}

#[test]
fn every_form_of_reference_is_told_apart() {
    let patient = local(ResourceType::PATIENT, "1", None);
    for (text, expected) in [
        ("Patient/1", patient.clone()),
        ("Patient/1/_history/7", local(ResourceType::PATIENT, "1", Some(7))),
        ("https://records.example:8443/fhir/Patient/1", patient.clone()),
        ("HTTPS://Records.Example:8443/fhir/Patient/1", patient),
        (
            "https://records.example:8443/fhir/Patient/1/_history/7",
            local(ResourceType::PATIENT, "1", Some(7)),
        ),
        ("#a", Reference::Contained("a".into())),
        ("#", Reference::Contained(String::new())),
        ("Patient?identifier=a|b", Reference::Conditional(ResourceType::PATIENT, "identifier=a|b".into())),
    ] {
        assert_eq!(Reference::parse(text, &base()), Some(expected), "{text}");
    }
    for foreign in [
        "https://other.example/fhir/Patient/1",
        "https://records.example/fhir/Patient/1",
        "https://records.example:8443/FHIR/Patient/1",
        "https://records.example:8443/fhirPatient/1",
        "https://records.example:8443/fhir/metadata",
        "https://records.example:8443/fhir/Patient/1/",
        "ftp://records.example/Patient/1",
        "mailto:somebody@example.org",
    ] {
        assert_eq!(
            Reference::parse(foreign, &base()),
            Some(Reference::Absolute(foreign.into())),
            "{foreign}"
        );
    }
    for urn in ["urn:uuid:6f2c0c5e-9a0b-4d3e-8e2e-000000000001", "urn:oid:1.2.3", "URN:uuid:x"] {
        assert_eq!(Reference::parse(urn, &base()), Some(Reference::Urn(urn.into())));
    }
}

#[test]
fn what_is_no_reference_is_none() {
    let long = format!("https://other.example/{}", "x".repeat(REFERENCE_BYTES_MAX));
    for text in [
        "",
        "1",
        "Patient",
        "Patient/",
        "patient/1",
        "Patient/a_b",
        "Patient/1/2",
        "Patient/1/_history",
        "Patient/1/_history/0",
        "Patient/1/_history/01",
        "Patient/1/_history/+1",
        "Patient/1/_history/4294967296",
        "Patient/1/_history/1/x",
        "/Patient/1",
        "../Patient/1",
        "Patient/1 ",
        "Nothing?a=b",
        ":x",
        &long,
    ] {
        assert_eq!(Reference::parse(text, &base()), None, "{text}");
    }
}

#[test]
fn the_longest_reference_is_taken_and_one_byte_more_is_not() {
    let head = "https://other.example/";
    let text = format!("{head}{}", "x".repeat(REFERENCE_BYTES_MAX - head.len()));
    assert!(Reference::parse(&text, &base()).is_some());
    assert!(Reference::parse(&(text + "x"), &base()).is_none());
}

#[test]
fn a_reference_is_not_printed() {
    let name = "https://other.example/Jane";
    assert_eq!(format!("{:?}", Reference::parse(name, &base()).unwrap()), "Absolute");
    assert_eq!(format!("{:?}", Reference::parse("Patient/1", &base()).unwrap()), "Local");
}

#[test]
fn a_reference_object_may_have_no_address() {
    assert_eq!(Reference::of(&json!({"identifier": {"value": "1"}}), &base()), Some(Reference::LogicalOnly));
    assert_eq!(Reference::of(&json!({"display": "somebody"}), &base()), None);
    assert_eq!(Reference::of(&json!({"reference": 1}), &base()), None);
    assert!(Reference::of(&json!({"reference": "Patient/1"}), &base()).unwrap().local().is_some());
    assert!(Reference::of(&json!({"reference": "#p"}), &base()).unwrap().local().is_none());
}

#[test]
fn a_base_is_an_http_url_without_query() {
    assert_eq!(base().as_str(), "https://records.example:8443/fhir");
    for bad in [
        "",
        "records.example",
        "ftp://x/y",
        "https://",
        "https:///fhir",
        "https://x/?a",
        "https://x/#a",
        "https://x y",
    ] {
        assert!(BaseUrl::parse(bad).is_none(), "{bad}");
    }
}

fn places(resource: &Value) -> Vec<String> {
    let mut found = Vec::new();
    walk(resource, |path, text| found.push(format!("{path} {text}")));
    found
}

#[test]
fn the_walk_visits_references_and_nothing_that_only_looks_like_one() {
    let resource = json!({
        "resourceType": "Consent",
        "patient": {"reference": "Patient/1", "display": "a"},
        "contained": [{"resourceType": "Practitioner", "id": "p", "managed": {"reference": "Organization/1"}}],
        "extension": [{"url": "x", "valueReference": {"reference": "Patient/2"}}],
        "provision": {"data": [
            {"meaning": "instance", "reference": {"reference": "Observation/1"}},
            {"meaning": "instance", "reference": {"reference": "Observation/2", "_reference": {"id": "q"}}}
        ]},
        "subject": {"identifier": {"value": "no address"}},
        "expressed": {"language": "text/fhirpath", "reference": "http://e"},
        "education": [{"reference": "http://e"}]
    });
    assert_eq!(
        places(&resource),
        [
            "Consent.patient.reference Patient/1",
            "Consent.contained[0].managed.reference Organization/1",
            "Consent.extension[0].valueReference.reference Patient/2",
            "Consent.provision.data[0].reference.reference Observation/1",
            "Consent.provision.data[1].reference.reference Observation/2",
        ]
    );
    assert!(places(&json!({"resourceType": "DetectedIssue", "reference": "http://e"})).is_empty());
    assert!(places(&json!({"resourceType": "Claim", "related": [{"reference": {"value": "1"}}]})).is_empty());
}

#[test]
fn links_of_every_linking_type_are_rewritten_and_no_others() {
    const OLD: &str = "urn:uuid:6f2c0c5e-9a0b-4d3e-8e2e-000000000001";
    let make = |link: &str| {
        json!({
            "resourceType": "DocumentReference",
            "meta": {"source": link, "profile": [OLD]},
            "text": {"status": "generated", "div": format!(
                "<div><p class=\"href\">{OLD}</p><a data-href='{OLD}' href = '{link}'>{OLD}</a><img alt=\"x\" src=\"{link}\"/><abbr href=\"{OLD}\"/></div>")},
            "masterIdentifier": {"system": link, "value": OLD},
            "description": OLD,
            "subject": {"reference": link, "display": OLD},
            "content": [{"attachment": {"url": link, "title": OLD}}],
            "extension": [
                {"url": "http://e", "valueUri": link}, {"url": "http://e", "valueUuid": link},
                {"url": "http://e", "valueCanonical": OLD}, {"url": "http://e", "valueString": OLD},
                {"url": "http://e", "valueReference": {"reference": link}},
                {"url": "http://e", "valueExpression": {"language": "x", "reference": link}}
            ],
            "contained": [
                {"resourceType": "DetectedIssue", "reference": link, "detail": OLD},
                {"resourceType": "Immunization", "education": [{"reference": link, "documentType": OLD}]},
                {"resourceType": "ServiceRequest", "instantiatesUri": [link, "http://e"], "instantiatesCanonical": [OLD]},
                {"resourceType": "ConceptMap", "url": link, "group": [{"source": link, "unmapped": {"url": OLD},
                    "element": [{"target": [{"dependsOn": [{"property": link, "system": OLD}]}]}]}]},
                {"resourceType": "Endpoint", "address": link},
                {"resourceType": "AuditEvent", "agent": [{"network": {"address": OLD}}]},
            ]
        })
    };
    let mut resource = make(OLD);
    rewrite(&mut resource, |link| (link == OLD).then(|| "Patient/9".to_owned()));
    assert_eq!(resource, make("Patient/9"));
    rewrite(&mut resource, |_| None);
    assert_eq!(resource, make("Patient/9"));
}

#[test]
fn a_link_put_into_narrative_is_escaped() {
    let mut resource =
        json!({"resourceType": "Basic", "text": {"div": "<div><a href=\"urn:x\">é < 1</a></div>"}});
    rewrite(&mut resource, |link| (link == "urn:x").then(|| "a\"&<".to_owned()));
    assert_eq!(resource.pointer("/text/div").unwrap(), "<div><a href=\"a&quot;&amp;&lt;\">é < 1</a></div>");
}

proptest! {
    #[test]
    fn no_text_makes_parsing_panic(text in ".{0,60}", xhtml in "[<>a-z =\"'é/]{0,60}") {
        let parsed = Reference::parse(&text, &base());
        prop_assert!(!matches!(parsed, Some(Reference::LogicalOnly)));
        let _unused = base().strip(&text);
        let mut resource = json!({"resourceType": "Basic", "text": {"div": xhtml.clone()}});
        rewrite(&mut resource, |_| None);
        prop_assert_eq!(resource.pointer("/text/div").unwrap(), &xhtml);
        rewrite(&mut resource, |_| Some("x".into()));
    }

    #[test]
    fn a_local_reference_is_read_back(id in "[A-Za-z0-9.-]{1,64}", version in 1u32..) {
        let expected = local(ResourceType::OBSERVATION, &id, Some(version));
        for head in ["", "https://records.example:8443/fhir/"] {
            prop_assert_eq!(
                Reference::parse(&format!("{head}Observation/{id}/_history/{version}"), &base()),
                Some(expected.clone())
            );
        }
    }
}
