#![expect(clippy::unwrap_used, reason = "tests")]
use std::sync::OnceLock;

use proptest::prelude::*;
use serde_json::json;
use uuid::Uuid;

use super::super::keyring::tests::tenant_keys;
use super::*;
use crate::fhir::{
    definitions::loaded,
    search::{Handling, Level, Query, Request, Searches, Sets, form},
};

const OBSERVATION: ResourceType = ResourceType::OBSERVATION;

fn base() -> BaseUrl {
    BaseUrl::parse("https://records.example/fhir").unwrap()
}

fn searches() -> &'static Searches {
    static COMPILED: OnceLock<Searches> = OnceLock::new();
    COMPILED.get_or_init(|| Searches::compile(loaded()))
}

fn query(text: &str) -> Query {
    let (base, sets, now) = (base(), Sets::default(), "2024-06-01T00:00:00Z".parse().unwrap());
    let (level, handling) = (Level::Type, Handling::Strict);
    let request =
        Request { kind: OBSERVATION, level, searches: searches(), sets: &sets, base: &base, handling, now };
    Query::parse(request, &form::decode(text.as_bytes()).unwrap()).unwrap()
}

/// Whether the row would be looked at.
fn is_candidate(list: &OwnList, query: &Query, resource: &Value) -> bool {
    static KEY: OnceLock<(std::sync::Arc<TenantKeys>, DataKey)> = OnceLock::new();
    let (tenant, key) = KEY.get_or_init(|| {
        let tenant = tenant_keys();
        let (key, _) = tenant.new_data_key(Uuid::from_u128(7)).unwrap();
        (tenant, key)
    });
    let own = key.own().unwrap();
    let Some(borne) = list.marks((tenant, &own), (OBSERVATION, 1), resource, &base()) else { return true };
    let groups: Vec<_> = query.filters.iter().filter_map(|one| list.listed().marks_of(one)).collect();
    let Some(asked) = list.asked(tenant, key, groups) else { return true };
    asked
        .groups
        .iter()
        .all(|group| group.iter().any(|mark| borne.bits().iter().skip(2).any(|one| one == mark)))
}

#[test]
fn a_record_of_more_marks_than_the_most_bears_none() {
    let list = OwnList::of(Listed::own(searches()));
    let codes = |count: usize| {
        let coding: Vec<Value> = (0..count).map(|n| json!({"code": n.to_string()})).collect();
        json!({"resourceType": "Observation", "code": {"coding": coding}})
    };
    let tenant = tenant_keys();
    let own = tenant.new_data_key(Uuid::nil()).unwrap().0.own().unwrap();
    let marks = |count| list.marks((&tenant, &own), (OBSERVATION, 40_000), &codes(count), &base());
    let most = marks(MARKS_MAX).unwrap();
    assert_eq!(most.bits().len(), MARKS_MAX + 2);
    assert_eq!(most.bits().get(1), Some(&7_232));
    assert_eq!(marks(MARKS_MAX + 1), None);
    assert_eq!(marks(100_000), None);
}

proptest! {
    #[test]
    fn whatever_matches_is_a_candidate(
        prefix in "eq|ne|gt|ge|lt|le|sa|eb|ap", year in 1990..2030, month in 1..13, asked_year in 1990..2030,
        is_open in any::<bool>(), code in "[a-d]", asked_code in "[a-d]|[A-D]|http://x\\|[a-d]|[a-d],[a-d]",
    ) {
        let list = OwnList::of(Listed::own(searches()));
        let start = format!("{year}-{month:02}-27");
        let effective = if is_open { json!({"start": start}) } else { json!({"start": start, "end": format!("{}-01", year + 1)}) };
        let resource = json!({"resourceType": "Observation", "status": "final", "effectivePeriod": effective,
            "code": {"coding": [{"system": "http://x", "code": code}]}});
        for text in [
            format!("date={prefix}{asked_year}-06"),
            format!("date={prefix}{asked_year}-06-13,{asked_year}"),
            format!("code={asked_code}&date={prefix}{year}-{month:02}"),
            format!("code:not={asked_code}&status=final"),
        ] {
            let query = query(&text);
            if query.holds(&resource) {
                prop_assert!(is_candidate(&list, &query, &resource), "{text} {resource}");
            }
        }
    }
}
