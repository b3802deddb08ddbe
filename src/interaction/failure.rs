//! Why an interaction did not come to an answer of its own, and whom its entries are about.
//!
//! Whom a refused request was about finds it in her log: the patient whom the address names, or those of the record that it
//! addresses. The caller learns nothing by that: the answer is the same, and so is the number of entries, whether the record
//! is hidden or absent.

use uuid::Uuid;

use crate::{
    answer::Answer,
    app::App,
    fhir::kinds::{LogicalId, ResourceType},
    gate::Denied,
    ledger::{About, Access, Audited, Concern, Down, Grounds, Rejected, Released, Stale, Version},
    refusal::{Refusal, Why, causes},
    seal::{KeyError, Opened},
    store::StoreError,
};

/// Why an interaction did not come to an answer of its own.
pub enum Failure {
    /// To be recorded and told, with what its entries say beside it.
    Refused(Refusal, Box<Grounds>),
    /// The same, after these versions were read: the refusal tells something of them, and its entries name them.
    Told(Refusal, Vec<Released>),
    /// The ledger is down: the empty 503.
    Down,
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal, Box::default())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        tracing::error!(event = "store_failed", error = causes(&error));
        match error {
            StoreError::Form(_) => Refusal::Integrity.into(),
            StoreError::Away(_) | StoreError::Statement(_) | StoreError::Migration(_) => {
                Refusal::Unavailable.into()
            }
        }
    }
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Self {
        tracing::error!(event = "key_failed", error = causes(&error));
        match error {
            KeyError::Wrapped(_) => Refusal::Integrity.into(),
            KeyError::UnknownTenant | KeyError::UnknownEpoch(_) | KeyError::Seal(_) => {
                Refusal::Unavailable.into()
            }
        }
    }
}

impl From<Down> for Failure {
    fn from(_: Down) -> Self {
        Self::Down
    }
}

impl From<Rejected> for Failure {
    fn from(rejected: Rejected) -> Self {
        match rejected {
            Rejected::Stale(Stale::Changed) => {
                Refusal::Conflict("Others keep changing this record. Read it again and retry.").into()
            }
            Rejected::Stale(Stale::Late) => Refusal::Conflict(
                "Others keep asking what is new while this is made ready. Nothing was written: send it again.",
            )
            .into(),
            Rejected::Unpermitted => {
                tracing::error!(event = "unpermitted");
                Refusal::Internal.into()
            }
            Rejected::Down => Self::Down,
        }
    }
}

impl Failure {
    /// The same, of a request that addresses this record: if a patient, she is who it is about.
    #[must_use]
    pub fn addressed(
        mut self,
        app: &App,
        access: &Access,
        address: Option<(ResourceType, LogicalId)>,
    ) -> Self {
        let (Some((kind, id)), Self::Refused(_, grounds)) = (address, &mut self) else { return self };
        let keys = access.caller.as_ref().and_then(|caller| app.keyring.tenant(caller.tenant()).ok());
        match keys {
            Some(keys) if kind == ResourceType::PATIENT => {
                grounds.about = Concern::Address(keys.opaque(kind, id.as_str()), id.as_str().to_owned());
            }
            _ if matches!(grounds.about, Concern::Nobody) => grounds.about = Concern::Unseen(None),
            _ => {}
        }
        self
    }

    /// The same, about the patients of a version that the caller may know of, beside whom it is about already.
    pub(super) fn about(self, version: &Version) -> Self {
        self.about_each(version.patients.iter().map(|(key, id)| (*key, Some(id.clone()))))
    }

    /// The same, about patients whom the caller names, or may know of.
    pub(super) fn about_each(mut self, patients: impl IntoIterator<Item = (Uuid, Option<String>)>) -> Self {
        if let Self::Refused(_, grounds) = &mut self {
            if let Concern::Seen(seen) = &mut grounds.about {
                seen.extend(patients);
            } else {
                grounds.about = Concern::Seen(patients.into_iter().collect());
            }
        }
        self
    }

    /// The same, of a record that the caller must not know of, or about one that is not there: about one patient at the most,
    /// as more entries than absence leaves would tell.
    pub(super) fn about_one(mut self, patient: About) -> Self {
        if let Self::Refused(_, grounds) = &mut self {
            grounds.about = Concern::Unseen(patient);
        }
        self
    }
}

/// Refused whatever the record: the caller may know.
pub(super) fn forbidden(denied: Denied) -> Failure {
    let grounds = Grounds { denied: Some(denied), about: Concern::Nobody };
    Failure::Refused(Refusal::Forbidden, Box::new(grounds))
}

/// Refused because of the record: the caller must not be able to tell it from absence.
pub(super) fn hidden(denied: Denied) -> Failure {
    let grounds = Grounds { denied: Some(denied), about: Concern::Unseen(None) };
    Failure::Refused(Refusal::NotFound(Why::Hidden), Box::new(grounds))
}

/// Turns a failure into its recorded refusal.
///
/// # Errors
/// [`Down`] when it could not be recorded.
pub async fn finish(
    app: &App,
    access: &Access,
    result: Result<Audited<Answer>, Failure>,
) -> Result<Audited<Answer>, Down> {
    match result {
        Ok(answer) => Ok(answer),
        Err(Failure::Refused(refusal, grounds)) => app.ledger.refuse(access, refusal, *grounds).await,
        Err(Failure::Told(refusal, released)) => {
            let answer = Opened::from_caller(refusal.into_answer());
            app.ledger.disclose(access, released, answer).await.map_err(|_| Down)
        }
        Err(Failure::Down) => Err(Down),
    }
}
