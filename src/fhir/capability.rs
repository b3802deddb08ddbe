//! The CapabilityStatement: what this server does, from what is mounted.
//!
//! FHIR R4 capabilitystatement.html, SMART App Launch (the `oauth-uris` extension). May import only std,
//! chrono, `serde_json` and what stands beside it in `fhir`.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::kinds::ResourceType;
use super::meta::instant;
use super::reference::BaseUrl;
use super::search::{Searches, parameters::Kind};

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

/// An operation (FHIR R4 operations.html).
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    /// Its name, without `$`.
    pub name: &'static str,
    /// The id of its OperationDefinition in R4; of one that R4 does not define, a URN.
    pub definition: &'static str,
    /// The one type it is for; `None` is every type.
    pub of: Option<ResourceType>,
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
    /// The search parameters that are compiled.
    pub searches: &'a Searches,
    /// The types.
    pub types: &'a [ResourceType],
    /// The interactions each of the types has.
    pub interactions: &'a [TypeInteraction],
    /// The interactions of the whole server.
    pub system: &'a [SystemInteraction],
    /// The operations.
    pub operations: &'a [Operation],
    /// Where tokens come from, if there is such a place.
    pub smart: Option<Smart<'a>>,
}

/// The CapabilityStatement of what is mounted.
#[must_use]
pub fn statement(mounted: &Mounted<'_>) -> Value {
    let mut rest = Map::new();
    rest.insert("mode".to_owned(), json!("server"));
    rest.insert("security".to_owned(), security(mounted.smart));
    let resources: Vec<Value> = mounted.types.iter().map(|kind| resource(*kind, mounted)).collect();
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

fn resource(kind: ResourceType, mounted: &Mounted<'_>) -> Value {
    let interactions = mounted.interactions;
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
    let operations = mounted.operations.iter().filter(|one| one.of.is_none_or(|of| of == kind));
    let operations: Vec<Value> = operations
        .map(|one| {
            let definition = if one.definition.starts_with("urn:") {
                one.definition.to_owned()
            } else {
                format!("http://hl7.org/fhir/OperationDefinition/{}", one.definition)
            };
            json!({ "name": one.name, "definition": definition })
        })
        .collect();
    if !operations.is_empty() {
        set("operation", Value::Array(operations));
    }
    if has(TypeInteraction::SearchType) {
        search(kind, mounted, &mut set);
    }
    Value::Object(resource)
}

/// What a search of the type understands. `Type:*` follows every reference of the type.
fn search(kind: ResourceType, mounted: &Mounted<'_>, set: &mut dyn FnMut(&str, Value) -> Option<Value>) {
    let own = mounted.searches.of(kind);
    let listed = |mut names: Vec<String>| {
        names.sort_unstable();
        names
    };
    let to = |name: &str, code: &str| format!("{name}:{code}");
    let references = own.iter().filter(|one| one.kind == Kind::Reference);
    let mut forward = listed(references.map(|one| to(kind.name(), &one.code)).collect());
    if !forward.is_empty() {
        forward.push(to(kind.name(), "*"));
        set("searchInclude", json!(forward));
    }
    let everything = mounted.types.iter().flat_map(|of| mounted.searches.of(*of));
    let back = listed(
        everything.filter(|one| one.may_point_at(kind)).map(|one| to(one.of.name(), &one.code)).collect(),
    );
    if !back.is_empty() {
        set("searchRevInclude", json!(back));
    }
    let parameters: Vec<Value> =
        own.iter().map(|one| json!({ "name": one.code, "type": one.kind.as_str() })).collect();
    set("searchParam", Value::Array(parameters));
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

    fn searches() -> &'static Searches {
        static COMPILED: std::sync::OnceLock<Searches> = std::sync::OnceLock::new();
        COMPILED.get_or_init(|| Searches::compile(super::super::definitions::loaded()))
    }

    fn mounted<'a>(base: &'a BaseUrl, smart: Option<Smart<'a>>) -> Mounted<'a> {
        Mounted {
            base,
            software_version: "1.2.3",
            date: "2024-05-06T07:08:09Z".parse().unwrap(),
            searches: searches(),
            types: &[ResourceType::PATIENT, ResourceType::OBSERVATION],
            interactions: &[
                TypeInteraction::Read,
                TypeInteraction::Vread,
                TypeInteraction::Update,
                TypeInteraction::SearchType,
            ],
            system: &[SystemInteraction::Transaction],
            operations: &[Operation {
                name: "everything",
                definition: "Patient-everything",
                of: Some(ResourceType::PATIENT),
            }],
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
            let codes: Vec<_> =
                parameters.iter().map(|one| one.get("name").unwrap().as_str().unwrap()).collect();
            assert!(codes.contains(&"_id") && codes.is_sorted(), "{codes:?}");
            assert!(!codes.contains(&"near") && !codes.contains(&"_text"));
        }
    }
}
