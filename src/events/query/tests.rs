//! What each parameter finds, what is refused, and what dates narrow.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::events::{audit_event, samples};

fn parse(text: &str) -> Result<LogQuery, Vec<Problem>> {
    let base = BaseUrl::parse("https://records.test/fhir").unwrap();
    LogQuery::parse(&crate::fhir::search::form::decode(text.as_bytes()).unwrap(), &base)
}

#[test]
fn each_parameter_finds_what_it_should_and_nothing_else() {
    let all = samples::all();
    let (_, entry) = all.iter().find(|(name, _)| name == "read of a patient by a person").unwrap();
    let event = audit_event(&samples::place(17), entry);
    let id = LogId::access(0, 17);
    let cases = [
        ("patient=ann", true),
        ("patient=Patient/ann", true),
        ("patient=bob", false),
        ("patient=bob,ann", true),
        ("patient=https://records.test/fhir/Patient/ann", true),
        ("patient=ann&patient=bob", false),
        ("agent=grey", true),
        ("agent:identifier=urn:custodia:account|grey", true),
        ("agent=gre", false),
        ("agent=portal", true),
        ("altid=grey", true),
        ("agent-name=GR", true),
        ("agent-name=ey", false),
        ("address=2001:db8", true),
        ("address=192", false),
        ("entity=Observation/pulse", true),
        ("entity=Observation/pulse/_history/2", true),
        ("entity=Observation/pulse/_history/3", false),
        ("entity=Patient/ann", true),
        ("entity=Patient/pulse", false),
        ("action=R", true),
        ("action=C,R", true),
        ("action=E", false),
        ("outcome=0", true),
        ("outcome=4", false),
        ("type=rest", true),
        ("type=http://terminology.hl7.org/CodeSystem/audit-event-type|rest", true),
        ("type=urn:x|rest", false),
        ("subtype=read", true),
        ("subtype=http://hl7.org/fhir/restful-interaction|", true),
        ("subtype=vread", false),
        ("date=2026-05-28", true),
        ("date=ge2026-05-28", true),
        ("date=gt2026-05-28", false),
        ("date=lt2026-05-28", false),
        ("date=ne2026-05-28", false),
        ("date=2026-05", true),
        ("date=eb2027", true),
        ("_id=log-0-17", true),
        ("_id=log-0-18", false),
        ("_id=17", false),
        ("", true),
    ];
    for (text, expected) in cases {
        assert_eq!(parse(text).unwrap().matches(id, entry, &event), expected, "{text}");
    }
}

#[test]
fn what_the_log_cannot_be_searched_by_is_refused() {
    for text in [
        "patient.name=x",
        "source=x",
        "nonsense=1",
        "agent:missing=true",
        "_include=AuditEvent:entity",
        "_sort=date",
        "_count=x",
        "_cursor=x",
        "date=yesterday",
        "patient=Observation/1",
        "entity=1",
        "action=",
        "_summary=count",
        "_total=accurate",
        "_format=xml",
    ] {
        assert!(parse(text).is_err(), "{text}");
    }
    let values = |count: usize| format!("action={}", vec!["R"; count].join(","));
    assert!(parse(&values(VALUES_MAX)).is_ok());
    assert!(parse(&values(VALUES_MAX + 1)).is_err());
    let many = |count: usize| vec!["action=R"; count].join("&");
    assert!(parse(&many(PARAMETERS_MAX)).is_ok());
    assert!(parse(&many(PARAMETERS_MAX + 1)).is_err());
    assert_eq!(parse("_count=201").unwrap().count, COUNT_MAX);
    assert_eq!(parse("_count=0").unwrap().count, 1);
}

#[test]
fn dates_narrow_what_is_looked_at() {
    let bounds = |text: &str| {
        let query = parse(text).unwrap();
        let text = |at: Option<DateTime<Utc>>| at.map(|at| at.to_rfc3339());
        (text(query.from), text(query.until))
    };
    let at = |text: &str| Some(format!("{text}T00:00:00+00:00"));
    assert_eq!(bounds("date=ge2026-01-01&date=lt2026-02-01"), (at("2026-01-01"), at("2026-02-01")));
    assert_eq!(bounds("date=2026-01-01,2026-03-01"), (at("2026-01-01"), at("2026-03-02")));
    assert_eq!(bounds("date=ge2026-01-01,lt2026-01-01"), (None, None));
    assert_eq!(bounds("date=ne2026-01-01"), (None, None));
}
