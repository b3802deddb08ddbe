//! Why a policy set was not taken.

use std::path::PathBuf;

/// A policy set that cannot be enforced; the server does not start on one.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// A file or folder of the set cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file that every set has is not there.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// More files, or a larger one, than a set may have.
    #[error("{0} is over its bound")]
    TooLarge(String),
    /// `schema.cedarschema` does not parse.
    #[error("schema.cedarschema: {0}")]
    Schema(#[source] Box<cedar_policy::CedarSchemaError>),
    /// `families.toml` does not parse.
    #[error("families.toml: {0}")]
    FamiliesSyntax(#[source] Box<toml::de::Error>),
    /// `families.toml` names a type that R4 has not, or one twice, or leaves one out.
    #[error("families.toml: {0} must stand in exactly one family, as FHIR R4 spells it")]
    Families(String),
    /// A policy file does not parse.
    #[error("{file}: {source}")]
    Syntax {
        /// Which.
        file: String,
        /// Where and why.
        #[source]
        source: Box<cedar_policy::ParseErrors>,
    },
    /// A policy has no `@id`: the log could not say which one decided.
    #[error("{0}: a policy has no @id")]
    NoId(String),
    /// Two policies have the same `@id`.
    #[error("{file}: @id(\"{id}\") is taken")]
    Duplicate {
        /// Where the second one stands.
        file: String,
        /// The id of both.
        id: String,
    },
    /// A template: nothing here would fill its slots.
    #[error("{0}: templates are not enforced")]
    Template(String),
    /// `roles/` holds permits and `forbids/` holds forbids, so that a reader knows where to look.
    #[error("{file}: {id} belongs into the other folder: roles/ permits, forbids/ forbids")]
    Misplaced {
        /// Where it stands.
        file: String,
        /// Its id.
        id: String,
    },
    /// A policy names one caller or one record, which a decision does not know: it would never match.
    #[error("{id} names {literal}; a decision knows no single caller or record")]
    Literal {
        /// The policy.
        id: String,
        /// What it names.
        literal: String,
    },
    /// The set does not validate against its schema, or validates with warnings.
    #[error("the policies do not validate:\n{0}")]
    Invalid(String),
    /// The schema does not describe what this server tells Cedar.
    #[error("schema.cedarschema does not fit this server: {0}")]
    Shape(String),
    /// There is no policy.
    #[error("the policy set is empty")]
    Empty,
}
