//! The server that is asked about codes that are not held here.
//!
//! May import its siblings.

use std::path::PathBuf;

use serde::Deserialize;
use validator::Validate;

use super::checks;

/// CodeSystems that everybody shares: what stands in them says nothing about a house.
const SHARED: [&str; 10] = [
    "http://loinc.org",
    "http://snomed.info/sct",
    "http://www.nlm.nih.gov/research/umls/rxnorm",
    "http://hl7.org/fhir/sid/icd-10",
    "http://hl7.org/fhir/sid/icd-10-cm",
    "http://hl7.org/fhir/sid/icd-9-cm",
    "http://hl7.org/fhir/sid/cvx",
    "http://hl7.org/fhir/sid/ndc",
    "http://www.ama-assn.org/go/cpt",
    "http://www.whocc.no/atc",
];

/// A FHIR R4 terminology server that is asked about codes, when `server` is given. Nothing but codes, their systems and urls
/// of ValueSets and ConceptMaps leaves the house.
#[derive(Clone, Deserialize, Validate)]
#[serde(deny_unknown_fields, default)]
#[validate(schema(function = "checks::terminology_is_whole"))]
pub struct TerminologyConfig {
    /// Its base URL, `https://` or on loopback `http://`.
    #[validate(custom(function = "checks::is_service"))]
    pub server: Option<String>,
    /// PEM: the roots that its certificate must lead to; the machine's when left out.
    #[validate(custom(function = "checks::is_file"))]
    pub roots: Option<PathBuf>,
    /// PEM: the certificate this server shows.
    #[validate(custom(function = "checks::is_file"))]
    pub certificate: Option<PathBuf>,
    /// PEM: its private key.
    #[validate(custom(function = "checks::is_file"))]
    pub key: Option<PathBuf>,
    /// A file with a bearer token on one line, read at start.
    #[validate(custom(function = "checks::is_file"))]
    pub bearer_file: Option<PathBuf>,
    /// The CodeSystems whose codes may leave the house.
    #[validate(length(min = 1, max = 256))]
    pub systems: Vec<String>,
    /// How long all questions of one request may take.
    #[validate(range(min = 50, max = 30_000))]
    pub timeout_ms: u32,
    /// How long an answer counts.
    #[validate(range(min = 1, max = 604_800))]
    pub kept_s: u32,
    /// Questions at once.
    #[validate(range(min = 1, max = 64))]
    pub at_once: u8,
}

impl Default for TerminologyConfig {
    fn default() -> Self {
        Self {
            server: None,
            roots: None,
            certificate: None,
            key: None,
            bearer_file: None,
            systems: SHARED.map(str::to_owned).to_vec(),
            timeout_ms: 2_000,
            kept_s: 3_600,
            at_once: 8,
        }
    }
}
