//! From a stored row to an opened record with the facts the gate asks for.

use std::sync::Arc;

use serde_json::Value;
use uuid::Uuid;

use super::{Ask, Failure, binary, hidden};
use crate::{
    app::App,
    fhir::kinds::{LogicalId, ResourceType},
    gate::{Act, Denied, Facts, Permit, Relations},
    identity::Caller,
    ledger::{Released, Version},
    refusal::{Refusal, Why},
    seal::{DataKey, KeyError, Opened, Plain, RecordBinding, Sealed, TenantKeys},
    store::{NIL, Row, row::proven, search::View},
};

/// An opened version: its plaintext, undisclosed, beside what the gate and the log are told.
pub(super) struct Record {
    pub(super) opened: Opened<Plain>,
    pub(super) at: RecordBinding,
    pub(super) digest: [u8; 32],
    /// The key it is sealed under, for a tombstone in its place.
    pub(super) key: DataKey,
    /// The patients it is about, by opaque key.
    pub(super) patients: Vec<Uuid>,
    /// What the gate was told of it.
    facts: Facts,
}

impl Record {
    /// The patients it is about: opaque key and logical id.
    fn patients(&self) -> impl Iterator<Item = (Uuid, String)> {
        self.patients.iter().copied().zip(self.opened.patients().iter().cloned())
    }

    /// How entries name it.
    pub(super) fn version(&self) -> Version {
        Version {
            kind: self.at.kind,
            key: self.at.key,
            id: self.opened.id().to_owned(),
            number: self.at.version,
            digest: self.digest,
            patients: self.patients().collect(),
            deleted: self.at.deleted,
        }
    }

    /// Asks the gate about another act on the same version.
    pub(super) fn also(&self, app: &App, caller: &Arc<Caller>, act: Act) -> Result<Permit, Denied> {
        app.gate.permit(caller, act, &self.facts)
    }

    /// Its JSON, out of which the caller's next version is made, with what the entry is told of that.
    ///
    /// The one place beside the ledger that takes plaintext out: it wants the permit to read this very record, and
    /// what comes out goes back into a seal, or to the caller in the answer of the same commit.
    #[expect(clippy::disallowed_methods, reason = "a version becomes the next one, which is sealed again")]
    pub(super) fn revise(self, read: Permit) -> Result<(Value, Released), Failure> {
        if read.act() != Act::Read || read.record() != Some((self.at.kind, self.at.key)) {
            return Err(Refusal::Internal.into());
        }
        let released = Released { permit: read, version: self.version() };
        let plain = self.opened.release();
        let value = serde_json::from_slice(&plain.json).map_err(|_| Refusal::Integrity)?;
        Ok((value, released))
    }
}

/// The owner's key, if it opens, and the caller's relationships to the patients behind it.
struct Owner {
    key: Result<DataKey, KeyError>,
    relations: Relations,
}

/// What the current version of a record says about who may see an earlier one.
///
/// A label put on later is put on the record: it hides what the record was before as well.
pub(super) enum Current {
    /// It is the one that is asked for.
    Same,
    /// Another, with these labels.
    Labelled(Vec<String>),
    /// Its keys are gone, and its labels with them.
    Erased,
    /// It does not open.
    Broken,
}

impl Current {
    /// What the current version, or that there is none, says about version `version`.
    pub(super) async fn of(
        app: &App,
        view: &View,
        version: i32,
        current: Option<&Row>,
    ) -> Result<Self, Failure> {
        // Versions are moved and never removed: one without a current version beside it was tampered with.
        let Some(row) = current else { return Ok(Self::Broken) };
        if row.at.version == version {
            return Ok(Self::Same);
        }
        let keys = app.keyring.tenant(view.tenant)?;
        match open_for_marks(app, &keys, view, row).await {
            Ok(Some(opened)) => Ok(Self::Labelled(opened.labels().to_vec())),
            Ok(None) => Ok(Self::Erased),
            Err(Failure::Refused(Refusal::Integrity, _)) => Ok(Self::Broken),
            Err(other) => Err(other),
        }
    }
}

/// The current version of a record, by its id, as an act finds it: 404 when it is absent or hidden, 410 when it was deleted.
pub(super) async fn current(
    app: &App,
    ask: &Ask,
    act: Act,
    kind: ResourceType,
    id: &LogicalId,
) -> Result<(Record, Permit), Failure> {
    let view = ask.view(app);
    let key = app.keyring.tenant(view.tenant)?.opaque(kind, id.as_str());
    let row = app.store.fetcher().record(view.tenant, kind, key, view.actor, view.now).await?;
    let row = row.ok_or(Refusal::NotFound(Why::Absent))?;
    let (record, permit) = open_permitted(app, &ask.caller, &view, act, row).await?;
    if record.at.deleted { Err(gone(&record)) } else { Ok((record, permit)) }
}

/// A deleted record, to whom the gate lets have it.
pub(super) fn gone(record: &Record) -> Failure {
    Failure::from(Refusal::Gone).about(&record.version())
}

/// Opens the current version of a record and asks the gate; a permitted caller learns that a seal is broken, any
/// other only what it would have learnt of a whole one.
pub(super) async fn open_permitted(
    app: &App,
    caller: &Arc<Caller>,
    view: &View,
    act: Act,
    row: Row,
) -> Result<(Record, Permit), Failure> {
    open_version(app, caller, view, act, row, &Current::Same).await
}

/// Opens any version of a record: the gate is told its labels and those the record bears now, and of a Binary it is
/// asked also about the record it is to be treated like.
pub(super) async fn open_version(
    app: &App,
    caller: &Arc<Caller>,
    view: &View,
    act: Act,
    row: Row,
    current: &Current,
) -> Result<(Record, Permit), Failure> {
    let is_binary = row.at.kind == ResourceType::BINARY && !row.at.deleted;
    let (record, permit) = open_row(app, caller, view, act, row, current).await?;
    if is_binary {
        let keys = app.keyring.tenant(view.tenant)?;
        if let Some(context) = record.opened.examine(&(&*keys, &app.base), binary::context_of) {
            let checked = Box::pin(binary::check_context(app, caller, view, act, context)).await;
            checked.map_err(|failure| failure.about_one(record.patients().next()))?;
        }
    }
    Ok((record, permit))
}

/// Opens a row and asks the gate about the record itself and nothing beside it.
pub(super) async fn open_row(
    app: &App,
    caller: &Arc<Caller>,
    view: &View,
    act: Act,
    row: Row,
    current: &Current,
) -> Result<(Record, Permit), Failure> {
    let keys = app.keyring.tenant(view.tenant)?;
    let owner = owner(app, &keys, view, &row).await?;
    let digest = row.body.digest();
    let later = if let Current::Labelled(labels) = current { labels.as_slice() } else { &[] };
    let opened = match owner.key {
        Ok(key) => open(&keys, &row.at, key, &row.body).map_err(|error| error.to_string()),
        Err(KeyError::Wrapped(error)) => Err(error.to_string()),
        Err(other) => return Err(other.into()),
    };
    match opened {
        Ok((opened, key, patients)) => {
            let mut labels = opened.labels().to_vec();
            labels.extend(later.iter().filter(|label| !opened.labels().contains(label)).cloned());
            let facts = facts(&row.at, owner.relations, labels);
            let record = Record { opened, at: row.at, digest, key, patients, facts };
            let permit = record.also(app, caller, act).map_err(|denied| {
                // INVARIANT: one at the most, of however many (`a_refused_request_is_in_the_log_of_whom_it_was_about`).
                hidden(denied).about_one(record.patients().next())
            })?;
            match current {
                Current::Same | Current::Labelled(_) => Ok((record, permit)),
                Current::Erased => Err(Refusal::NotFound(Why::Erased).into()),
                Current::Broken => Err(Failure::from(Refusal::Integrity).about(&record.version())),
            }
        }
        Err(error) => {
            // Labels are inside the broken seal; without them the decision is by what is left.
            let facts = facts(&row.at, owner.relations, later.to_vec());
            let _seen = app.gate.permit(caller, act, &facts).map_err(hidden)?;
            tracing::error!(event = "integrity_failed", error = error, entry = row.entry);
            Err(Refusal::Integrity.into())
        }
    }
}

/// Opens a row for what is worked out of it and told nobody, so nobody is asked for; `None` if it was erased.
pub(super) async fn open_for_marks(
    app: &App,
    keys: &TenantKeys,
    view: &View,
    row: &Row,
) -> Result<Option<Opened<Plain>>, Failure> {
    let key = match owner(app, keys, view, row).await {
        Ok(owner) => owner.key?,
        Err(Failure::Refused(Refusal::NotFound(Why::Erased), _)) => return Ok(None),
        Err(other) => return Err(other),
    };
    key.open_record(&row.at, &row.body).map(Some).map_err(|_| Refusal::Integrity.into())
}

fn facts(at: &RecordBinding, relations: Relations, labels: Vec<String>) -> Facts {
    Facts { tenant: at.tenant, kind: at.kind, key: at.key, about_patient: at.owner != NIL, relations, labels }
}

fn open(
    keys: &TenantKeys,
    at: &RecordBinding,
    key: DataKey,
    body: &Sealed,
) -> Result<(Opened<Plain>, DataKey, Vec<Uuid>), crate::seal::OpenError> {
    let opened = key.open_record(at, body)?;
    let patients = opened.patients().iter().map(|id| keys.opaque(ResourceType::PATIENT, id)).collect();
    Ok((opened, key, patients))
}

async fn owner(app: &App, keys: &TenantKeys, view: &View, row: &Row) -> Result<Owner, Failure> {
    if row.at.owner == NIL {
        return Ok(Owner { key: Ok(keys.common()), relations: Relations::NONE });
    }
    if let Some(wrapped) = &row.wrapped {
        let key = keys.data_key(row.at.owner, row.owner_version, wrapped);
        return Ok(Owner { key, relations: proven(keys, row.at.owner, view.actor, &row.relations) });
    }
    // Shared by several patients, or erased. The relationships that count are those to every one of them.
    let version = i16::try_from(row.owner_version).unwrap_or(i16::MAX);
    let shared = app.store.shared_key(view, row.at.owner, version).await?;
    let mut relations = Relations::ALL;
    let mut key: Option<Result<DataKey, KeyError>> = None;
    for one in &shared {
        relations = relations.intersection(proven(keys, one.patient, view.actor, &one.relations));
        // Any of its wrappings will do.
        if !matches!(key, Some(Ok(_))) {
            let number = u16::try_from(one.version).unwrap_or(0);
            let patient = keys.data_key(one.patient, number, &one.wrapped);
            key =
                Some(patient.and_then(|patient| {
                    keys.shared_key(row.at.owner, row.owner_version, &patient, &one.shared)
                }));
        }
    }
    match key {
        Some(key) => Ok(Owner { key, relations }),
        None => Err(Refusal::NotFound(Why::Erased).into()),
    }
}
