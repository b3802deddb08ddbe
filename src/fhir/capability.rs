//! The CapabilityStatement: what this server does, from what is mounted.
//!
//! FHIR R4 capabilitystatement.html, SMART App Launch (the `oauth-uris` extension). May import only std,
//! chrono, `serde_json` and what stands beside it in `fhir`.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::kinds::ResourceType;
use super::meta::instant;
use super::reference::BaseUrl;
use super::search::parameters;

/// An interaction on a type or an instance (FHIR R4 valueset-type-restful-interaction).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is the R4 interaction of the same name")]
pub enum TypeInteraction {
    Read,
    Vread,
    Update,
    Patch,
    Delete,
    HistoryInstance,
    HistoryType,
    Create,
    SearchType,
}

/// An interaction on the whole server (FHIR R4 valueset-system-restful-interaction).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is the R4 interaction of the same name")]
pub enum SystemInteraction {
    Transaction,
    Batch,
    SearchSystem,
    HistorySystem,
}

/// Where tokens come from (SMART App Launch, conformance).
#[derive(Clone, Copy, Debug)]
pub struct Smart<'a> {
    /// The token endpoint.
    pub token: &'a str,
    /// The authorization endpoint, for launches with a browser.
    pub authorize: Option<&'a str>,
}

/// What is mounted.
#[derive(Clone, Copy, Debug)]
pub struct Mounted<'a> {
    /// The server's own base URL.
    pub base: &'a BaseUrl,
    /// The server's release.
    pub software_version: &'a str,
    /// When the statement last changed: the start of the server, or its build.
    pub date: DateTime<Utc>,
    /// The types.
    pub types: &'a [ResourceType],
    /// The interactions each of the types has.
    pub interactions: &'a [TypeInteraction],
    /// The interactions of the whole server.
    pub system: &'a [SystemInteraction],
    /// Where tokens come from, if there is such a place.
    pub smart: Option<Smart<'a>>,
}

/// The CapabilityStatement of what is mounted.
#[must_use]
pub fn statement(mounted: &Mounted<'_>) -> Value {
    let mut rest = Map::new();
    rest.insert("mode".to_owned(), json!("server"));
    rest.insert("security".to_owned(), security(mounted.smart));
    let resources: Vec<Value> =
        mounted.types.iter().map(|kind| resource(*kind, mounted.interactions)).collect();
    // An empty list is no FHIR JSON (json.html#null).
    for (name, list) in
        [("resource", resources), ("interaction", codes(mounted.system.iter().map(|i| i.as_str())))]
    {
        if !list.is_empty() {
            rest.insert(name.to_owned(), Value::Array(list));
        }
    }
    json!({
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": instant(mounted.date),
        "kind": "instance",
        "software": { "name": "Custodia", "version": mounted.software_version },
        "implementation": { "description": "Custodia health records server", "url": mounted.base.as_str() },
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json", "json"],
        "rest": [rest],
    })
}

impl TypeInteraction {
    /// The code as FHIR writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Vread => "vread",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::HistoryInstance => "history-instance",
            Self::HistoryType => "history-type",
            Self::Create => "create",
            Self::SearchType => "search-type",
        }
    }
}

impl SystemInteraction {
    /// The code as FHIR writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Transaction => "transaction",
            Self::Batch => "batch",
            Self::SearchSystem => "search-system",
            Self::HistorySystem => "history-system",
        }
    }
}

fn codes(codes: impl Iterator<Item = &'static str>) -> Vec<Value> {
    codes.map(|code| json!({ "code": code })).collect()
}

fn resource(kind: ResourceType, interactions: &[TypeInteraction]) -> Value {
    let has = |interaction| interactions.contains(&interaction);
    let mut resource = Map::new();
    let mut set = |name: &str, value: Value| resource.insert(name.to_owned(), value);
    set("type", json!(kind.name()));
    set("profile", json!(format!("http://hl7.org/fhir/StructureDefinition/{}", kind.name())));
    if !interactions.is_empty() {
        set("interaction", Value::Array(codes(interactions.iter().map(|i| i.as_str()))));
    }
    set("versioning", json!("versioned"));
    set("readHistory", json!(has(TypeInteraction::Vread)));
    set("updateCreate", json!(has(TypeInteraction::Update)));
    set("conditionalCreate", json!(has(TypeInteraction::Create)));
    set("conditionalRead", json!(if has(TypeInteraction::Read) { "full-support" } else { "not-supported" }));
    set("conditionalUpdate", json!(has(TypeInteraction::Update)));
    set("conditionalDelete", json!(if has(TypeInteraction::Delete) { "single" } else { "not-supported" }));
    set("referencePolicy", json!(["literal", "local"]));
    if has(TypeInteraction::SearchType) {
        let parameters: Vec<Value> = parameters::supported(kind)
            .map(|parameter| json!({ "name": parameter.code, "type": parameter.kind.as_str() }))
            .collect();
        set("searchParam", Value::Array(parameters));
    }
    Value::Object(resource)
}

fn security(smart: Option<Smart<'_>>) -> Value {
    const URIS: &str = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris";
    let mut security = Map::new();
    if let Some(smart) = smart {
        let mut uris = vec![json!({ "url": "token", "valueUri": smart.token })];
        uris.extend(smart.authorize.map(|url| json!({ "url": "authorize", "valueUri": url })));
        security.insert("extension".to_owned(), json!([{ "url": URIS, "extension": uris }]));
    }
    security.insert("cors".to_owned(), json!(false));
    if smart.is_some() {
        let coding = json!({
            "system": "http://terminology.hl7.org/CodeSystem/restful-security-service",
            "code": "SMART-on-FHIR",
            "display": "SMART-on-FHIR",
        });
        security.insert(
            "service".to_owned(),
            json!([{ "coding": [coding], "text": "OAuth2 using SMART-on-FHIR" }]),
        );
    }
    Value::Object(security)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn mounted<'a>(base: &'a BaseUrl, smart: Option<Smart<'a>>) -> Mounted<'a> {
        Mounted {
            base,
            software_version: "1.2.3",
            date: "2024-05-06T07:08:09Z".parse().unwrap(),
            types: &[ResourceType::PATIENT, ResourceType::OBSERVATION],
            interactions: &[
                TypeInteraction::Read,
                TypeInteraction::Vread,
                TypeInteraction::Update,
                TypeInteraction::SearchType,
            ],
            system: &[SystemInteraction::Transaction],
            smart,
        }
    }

    #[test]
    fn a_small_statement_is_this_one() {
        let base = BaseUrl::parse("https://records.example/fhir").unwrap();
        let smart = Smart { token: "https://records.example/token", authorize: None };
        let expected: Value = serde_json::from_str(include_str!("capability/small.json")).unwrap();
        assert_eq!(statement(&mounted(&base, Some(smart))), expected);
    }

    #[test]
    fn what_is_not_mounted_is_not_stated() {
        let base = BaseUrl::parse("https://records.example/fhir").unwrap();
        let none = Mounted { types: &[], system: &[], ..mounted(&base, None) };
        assert_eq!(
            statement(&none).pointer("/rest").unwrap(),
            &json!([{ "mode": "server", "security": { "cors": false } }])
        );
        let bare = Mounted { interactions: &[TypeInteraction::Create], ..mounted(&base, None) };
        let resource = statement(&bare).pointer("/rest/0/resource/0").unwrap().clone();
        assert_eq!(resource.get("searchParam"), None);
        assert_eq!(resource.get("updateCreate"), Some(&json!(false)));
        assert_eq!(resource.get("readHistory"), Some(&json!(false)));
        assert_eq!(resource.get("interaction"), Some(&json!([{ "code": "create" }])));
    }

    #[test]
    fn every_type_can_be_stated() {
        let base = BaseUrl::parse("https://records.example/fhir").unwrap();
        let types: Vec<_> = ResourceType::all().collect();
        let value = statement(&Mounted { types: &types, ..mounted(&base, None) });
        let resources = value.pointer("/rest/0/resource").unwrap().as_array().unwrap();
        assert_eq!(resources.len(), 146);
        for resource in resources {
            let parameters = resource.get("searchParam").unwrap().as_array().unwrap();
            assert!((2..=4).contains(&parameters.len()));
        }
    }
}
