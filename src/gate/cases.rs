//! The cases of `policies/cases/*.toml`: a question in words, and the answer it must have.
//!
//! May import `fhir` and `identity`; never Cedar.

use std::{fs, path::Path, path::PathBuf, sync::Arc};

use serde::Deserialize;
use uuid::Uuid;

use super::{Act, Decision, Facts, Gate, Relations, Subject};
use crate::{
    fhir::kinds::ResourceType,
    identity::{CallerKind, Contract, Purpose, Scopes, TenantId},
};

/// The most files of cases.
const FILES_MAX: usize = 256;

/// Why cases cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum CasesError {
    /// A file or folder cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file is not a list of cases.
    #[error("{}: {source}", path.display())]
    Syntax {
        /// Which.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A case uses a word nobody knows.
    #[error("{case}: {word} is no {what}")]
    Word {
        /// Name of the case.
        case: String,
        /// The word.
        word: String,
        /// What it should be.
        what: &'static str,
    },
    /// More than [`FILES_MAX`] files.
    #[error("more than {FILES_MAX} files of cases")]
    TooMany,
}

/// One case. What is not said is a person of tenant 1 with every scope, asking for treatment about a record
/// of tenant 1 about a patient she has no relationship with.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// A sentence.
    pub name: String,
    /// `user`, `service` or `partner`.
    #[serde(default = "user")]
    pub caller: String,
    /// Roles of the caller.
    #[serde(default)]
    pub roles: Vec<String>,
    /// Tenant of the credential.
    #[serde(default = "first_tenant")]
    pub tenant: i32,
    /// A code of PurposeOfUse.
    #[serde(default = "treatment")]
    pub purpose: String,
    /// SMART scopes; every one if not given.
    pub scopes: Option<String>,
    /// The contract.
    #[serde(default)]
    pub contract: Contract,
    /// Name of the act.
    pub act: String,
    /// Resource type; not for acts on the log.
    #[serde(default)]
    pub kind: String,
    /// `record`, or `type` for whether any record of the type could be.
    #[serde(default)]
    pub of: Of,
    /// Tenant of the record or the log.
    #[serde(default = "first_tenant")]
    pub record_tenant: i32,
    /// Whether the record is about a patient.
    #[serde(default = "yes")]
    pub about_patient: bool,
    /// The caller's relationships to its patients.
    #[serde(default)]
    pub relations: Vec<String>,
    /// Its security labels, as `system|code`.
    #[serde(default)]
    pub labels: Vec<String>,
    /// The answer.
    pub expect: Expect,
    /// `@id` of the policies that must have decided.
    pub policies: Vec<String>,
}

/// What is asked about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Of {
    /// One record.
    #[default]
    Record,
    /// The most favourable record of the type: [`Gate::approach`].
    Type,
}

/// The answer of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Expect {
    /// Yes.
    Allow,
    /// No.
    Deny,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseFile {
    case: Vec<Case>,
}

/// Every case of a folder, in the order of the file names.
///
/// # Errors
/// What cannot be read.
pub fn load(folder: &Path) -> Result<Vec<Case>, CasesError> {
    let failed = |source| CasesError::Read { path: folder.to_owned(), source };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|e| e == "toml") {
            files.push(path);
        }
        if files.len() > FILES_MAX {
            return Err(CasesError::TooMany);
        }
    }
    files.sort_unstable();
    let mut cases = Vec::new();
    for path in files {
        let text =
            fs::read_to_string(&path).map_err(|source| CasesError::Read { path: path.clone(), source })?;
        let file: CaseFile =
            toml::from_str(&text).map_err(|e| CasesError::Syntax { path, source: Box::new(e) })?;
        cases.extend(file.case);
    }
    Ok(cases)
}

impl Case {
    /// The case's question, put to a gate.
    ///
    /// # Errors
    /// If the case uses a word nobody knows.
    pub fn decide(&self, gate: &Gate) -> Result<Decision, CasesError> {
        let act = Act::from_name(&self.act).ok_or_else(|| self.unknown(&self.act, "act"))?;
        let purpose =
            Purpose::from_code(&self.purpose).ok_or_else(|| self.unknown(&self.purpose, "purpose of use"))?;
        let (kind, every_scope) = match self.caller.as_str() {
            "user" => (CallerKind::User, "user/*.cruds"),
            "service" => (CallerKind::Service, "system/*.cruds"),
            "partner" => (CallerKind::Partner, "system/*.cruds"),
            other => return Err(self.unknown(other, "caller")),
        };
        let mut subject = Subject {
            kind,
            tenant: TenantId(self.tenant),
            roles: &self.roles,
            reads: &self.contract.reads,
            writes: &self.contract.writes,
            purpose,
            in_scope: true,
        };
        let record_tenant = TenantId(self.record_tenant);
        if act.is_of_log() {
            return Ok(gate.decide_log(&subject, act, record_tenant));
        }
        let kind =
            ResourceType::from_name(&self.kind).ok_or_else(|| self.unknown(&self.kind, "resource type"))?;
        subject.in_scope = act.in_scope(&Scopes::parse(self.scopes.as_deref().unwrap_or(every_scope)), kind);
        if self.of == Of::Type {
            return Ok(gate.decide_approach(&subject, act, kind));
        }
        let (relations, labels) = (self.relations()?, self.labels.clone());
        let about_patient = self.about_patient;
        let facts = Facts { tenant: record_tenant, kind, key: Uuid::nil(), about_patient, relations, labels };
        Ok(gate.decide(&subject, act, &facts))
    }

    /// What is wrong with the gate's answer; `None` if it is the expected one.
    ///
    /// # Errors
    /// If the case uses a word nobody knows.
    pub fn fault(&self, gate: &Gate) -> Result<Option<String>, CasesError> {
        let Decision { allow, policies } = self.decide(gate)?;
        let mut expected = self.policies.clone();
        expected.sort_unstable();
        if allow == (self.expect == Expect::Allow) && *policies == *expected {
            return Ok(None);
        }
        let expected = Decision { allow: self.expect == Expect::Allow, policies: Arc::from(expected) };
        let found = Decision { allow, policies };
        Ok(Some(format!("{}: expected {}, found {}", self.name, spoken(&expected), spoken(&found))))
    }

    fn relations(&self) -> Result<Relations, CasesError> {
        self.relations.iter().try_fold(Relations::NONE, |held, word| {
            let known = Relations::NAMED.into_iter().find(|(_, name)| name == word);
            let (one, _) = known.ok_or_else(|| self.unknown(word, "relationship"))?;
            Ok(held.union(one))
        })
    }

    fn unknown(&self, word: &str, what: &'static str) -> CasesError {
        CasesError::Word { case: self.name.clone(), word: word.to_owned(), what }
    }
}

/// A decision in words: `yes by a, b`.
pub(super) fn spoken(decision: &Decision) -> String {
    let answer = if decision.allow { "yes" } else { "no" };
    if decision.policies.is_empty() {
        return format!("{answer}, as no policy permits");
    }
    format!("{answer} by {}", decision.policies.join(", "))
}

fn user() -> String {
    "user".to_owned()
}

fn treatment() -> String {
    "TREAT".to_owned()
}

const fn first_tenant() -> i32 {
    1
}

const fn yes() -> bool {
    true
}
