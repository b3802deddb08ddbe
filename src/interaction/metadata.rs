//! What the server says of itself: CapabilityStatement, SMART configuration, its own JWKS.

use std::sync::Arc;

use custodia_audit::Kind;

use super::Failure;
use crate::{
    answer::Answer,
    app::App,
    fhir::{
        capability::{Mounted, Operation, Smart, SystemInteraction, TypeInteraction, statement},
        json,
        kinds::ResourceType,
    },
    identity::{KeySet, smart},
    ledger::{Access, Audited},
};

/// The interactions of every type, in the order of the statement.
pub const INTERACTIONS: [TypeInteraction; 9] = [
    TypeInteraction::Read,
    TypeInteraction::Vread,
    TypeInteraction::Update,
    TypeInteraction::Patch,
    TypeInteraction::Delete,
    TypeInteraction::HistoryInstance,
    TypeInteraction::HistoryType,
    TypeInteraction::Create,
    TypeInteraction::SearchType,
];
/// The interactions of the whole server.
pub const SYSTEM: [SystemInteraction; 4] = [
    SystemInteraction::Transaction,
    SystemInteraction::Batch,
    SystemInteraction::SearchSystem,
    SystemInteraction::HistorySystem,
];

/// The operations.
pub const OPERATIONS: [Operation; 12] = {
    const fn every(name: &'static str, definition: &'static str) -> Operation {
        Operation { name, definition, of: None }
    }
    [
        every("validate", "Resource-validate"),
        every("meta", "Resource-meta"),
        every("meta-add", "Resource-meta-add"),
        every("meta-delete", "Resource-meta-delete"),
        Operation { of: Some(ResourceType::PATIENT), ..every("everything", "Patient-everything") },
        Operation { of: Some(ResourceType::ENCOUNTER), ..every("everything", "Encounter-everything") },
        Operation {
            of: Some(ResourceType::SEARCH_PARAMETER),
            ..every("reindex", "urn:custodia:operation:SearchParameter-reindex")
        },
        Operation { of: Some(ResourceType::CODE_SYSTEM), ..every("lookup", "CodeSystem-lookup") },
        Operation {
            of: Some(ResourceType::CODE_SYSTEM),
            ..every("validate-code", "CodeSystem-validate-code")
        },
        Operation { of: Some(ResourceType::VALUE_SET), ..every("expand", "ValueSet-expand") },
        Operation { of: Some(ResourceType::VALUE_SET), ..every("validate-code", "ValueSet-validate-code") },
        Operation { of: Some(ResourceType::CONCEPT_MAP), ..every("translate", "ConceptMap-translate") },
    ]
};

/// `GET /fhir/metadata` (FHIR R4 http.html#capabilities).
///
/// # Errors
/// [`Failure`] as every interaction.
pub async fn run(app: &App, access: &Access) -> Result<Audited<Answer>, Failure> {
    // Whoever says who it is is told of its tenant's own search parameters, too.
    let known = access.caller.as_ref().map_or_else(|| Arc::clone(&app.r4), |who| app.in_force(who.tenant()));
    let types: Vec<ResourceType> = ResourceType::all().collect();
    let mounted = Mounted {
        base: &app.base,
        software_version: env!("CARGO_PKG_VERSION"),
        date: known.since.map_or(app.started, |since| since.max(app.started)),
        searches: &known.searches,
        types: &types,
        interactions: &INTERACTIONS,
        system: &SYSTEM,
        operations: &OPERATIONS,
        smart: Some(Smart { token: &app.doorman.token_url, authorize: None }),
    };
    let answer = Answer::fhir(200, json::to_bytes(&statement(&mounted)));
    Ok(app.ledger.state(access, Kind::Access, answer).await?)
}

/// `GET /openapi.json`: a document about the routes that are not FHIR's.
///
/// # Errors
/// [`Failure`] as every interaction.
pub async fn openapi(
    app: &App,
    access: &Access,
    document: &serde_json::Value,
) -> Result<Audited<Answer>, Failure> {
    Ok(app.ledger.state(access, Kind::Access, Answer::json(200, json::to_bytes(document))).await?)
}

/// `GET /fhir/.well-known/smart-configuration`.
///
/// # Errors
/// [`Failure`] as every interaction.
pub async fn smart_configuration(app: &App, access: &Access) -> Result<Audited<Answer>, Failure> {
    let endpoints = smart::Endpoints {
        issuer: app.base.as_str(),
        token: &app.doorman.token_url,
        jwks: &app.doorman.jwks_url,
    };
    let answer = Answer::json(200, json::to_bytes(&smart::configuration(&endpoints)));
    Ok(app.ledger.state(access, Kind::Access, answer).await?)
}

/// `GET /auth/jwks`.
///
/// # Errors
/// [`Failure`] as every interaction.
pub async fn jwks(app: &App, access: &Access) -> Result<Audited<Answer>, Failure> {
    let keys = KeySet::of(vec![app.doorman.issuer.public().clone()]);
    let answer = Answer::json(200, json::to_bytes(&smart::jwks(&keys)));
    Ok(app.ledger.state(access, Kind::Access, answer).await?)
}
