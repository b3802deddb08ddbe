//! Where writes are prepared: whose they are, whether they may be, and what is sealed.
//!
//! One desk serves one submission, so that records of a patient who is new in a transaction share the one data
//! key made for her.

mod patients;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use futures_util::{StreamExt as _, stream};
use serde_json::Value;
use uuid::Uuid;

use super::{
    Failure,
    attempts::Attempts,
    audit_events::is_reserved,
    binary, hold,
    integrity::{Plans, Side},
    malformed,
    mark::Marking,
    open::Record,
};
use crate::{
    app::App,
    fhir::{
        compartment, json,
        kinds::{LogicalId, ResourceType},
        meta,
        outcome::{IssueCode, Problem},
        relation,
        search::InForce,
    },
    gate::{Act, Permit},
    identity::Caller,
    ledger::{Version, Written},
    refusal::Refusal,
    seal::{DataKey, KeyError, Plain, RecordBinding, TenantKeys},
    store::{
        NIL, Row,
        row::RelationRow,
        search::View,
        write::{Base, NewKey, NewVersion},
    },
};
use patients::Patient;

/// Fetches of one submission that are under way at once.
const FORESEEN_AT_ONCE: usize = 256;

/// Where writes of one submission are prepared.
pub(super) struct Desk<'a> {
    app: &'a App,
    caller: &'a Arc<Caller>,
    keys: Arc<TenantKeys>,
    /// What marks are made by.
    known: Arc<InForce>,
    view: View,
    /// meta.lastUpdated of everything the submission writes.
    now: DateTime<Utc>,
    patients: HashMap<Uuid, Patient>,
    /// Patients this submission creates.
    registering: HashSet<Uuid>,
    /// What else the submission does.
    plans: Plans,
    /// Current versions that were asked for ahead, many at a time.
    foreseen: HashMap<(ResourceType, Uuid), Option<Row>>,
}

/// A write that is ready: the change with its permit, and the resource as it will be read.
pub(super) struct Ready {
    pub(super) written: Written,
    pub(super) json: Vec<u8>,
    pub(super) version: i32,
    pub(super) updated: DateTime<Utc>,
    /// What there is to say of it that refuses nothing.
    pub(super) warnings: Vec<Problem>,
}

/// What is to be written.
pub(super) struct Draft<'a> {
    pub(super) kind: ResourceType,
    pub(super) id: &'a LogicalId,
    pub(super) resource: &'a mut Value,
    pub(super) act: Act,
    pub(super) base: Base,
}

impl<'a> Desk<'a> {
    pub(super) fn open(
        app: &'a App,
        caller: &'a Arc<Caller>,
        attempts: &mut Attempts,
    ) -> Result<Self, Failure> {
        let keys = app.keyring.tenant(caller.tenant())?;
        let view = View { tenant: caller.tenant(), actor: caller.actor(), now: app.clock.now() };
        Ok(Self {
            app,
            caller,
            keys,
            known: app.in_force(caller.tenant()),
            view,
            now: attempts.begin(app, view.tenant),
            patients: HashMap::new(),
            registering: HashSet::new(),
            plans: Plans::default(),
            foreseen: HashMap::new(),
        })
    }

    /// Says what the submission will have written and deleted when it is committed.
    pub(super) fn plans(&mut self, plans: Plans) {
        self.plans = plans;
    }

    /// Who looks at references, and with what.
    pub(super) fn side(&self) -> Side<'_> {
        let Self { app, caller, keys, view, plans, .. } = self;
        Side { app, caller, keys, view, plans }
    }

    pub(super) const fn view(&self) -> &View {
        &self.view
    }

    /// Opaque key of a record.
    pub(super) fn key(&self, kind: ResourceType, id: &LogicalId) -> Uuid {
        self.keys.opaque(kind, id.as_str())
    }

    /// Fetches the current versions of records that the submission will look at, all at once.
    pub(super) async fn foresee(&mut self, targets: Vec<(ResourceType, LogicalId)>) -> Result<(), Failure> {
        let View { tenant, actor, now } = self.view;
        let keys: Vec<_> = targets.iter().map(|(kind, id)| (*kind, self.key(*kind, id))).collect();
        let fetcher = self.app.store.fetcher();
        let rows: Vec<_> = stream::iter(keys)
            .map(|(kind, key)| async move {
                fetcher.record(tenant, kind, key, actor, now).await.map(|row| ((kind, key), row))
            })
            .buffer_unordered(FORESEEN_AT_ONCE)
            .collect()
            .await;
        for row in rows {
            let (place, row) = row?;
            self.follows(row.as_ref());
            self.foreseen.insert(place, row);
        }
        Ok(())
    }

    /// The current version of a record, foreseen or fetched now.
    pub(super) async fn current(
        &mut self,
        kind: ResourceType,
        id: &LogicalId,
    ) -> Result<Option<Row>, Failure> {
        let key = self.key(kind, id);
        if let Some(row) = self.foreseen.remove(&(kind, key)) {
            return Ok(row);
        }
        let View { tenant, actor, now } = self.view;
        let row = self.app.store.fetcher().record(tenant, kind, key, actor, now).await?;
        self.follows(row.as_ref());
        Ok(row)
    }

    /// A version is dated no earlier than the one it replaces, which another clock may have dated.
    fn follows(&mut self, row: Option<&Row>) {
        self.now = row.map_or(self.now, |row| self.now.max(row.at.updated));
    }

    /// Says that this submission creates a patient. She counts as registered by the caller only if nobody has
    /// written about her before.
    pub(super) fn registers(&mut self, id: &LogicalId) {
        let key = self.key(ResourceType::PATIENT, id);
        self.registering.insert(key);
    }

    /// Decides, stamps and seals a new version of a resource that has been validated.
    pub(super) async fn prepare(&mut self, draft: Draft<'_>) -> Result<Ready, Failure> {
        let Draft { kind, id, resource, act, base } = draft;
        if is_reserved(kind, id) {
            let text =
                "AuditEvents whose id begins with log- are views of the log of accesses. Choose another id.";
            return Err(malformed(IssueCode::Invalid, text));
        }
        let mut about = compartment::patients(resource, kind, id, &self.app.base);
        let mut labels = meta::labels(resource);
        if kind == ResourceType::BINARY {
            let context = binary::context(self.app, self.caller, &self.view, resource).await?;
            about.extend(context.patients);
            labels.extend(context.labels);
            labels.sort_unstable();
            labels.dedup();
        }
        let stated = relation::relations(resource, kind, id, &self.app.base);
        hold::size(about.len(), stated.len())?;
        self.meet(&about).await?;
        let patients: Vec<Uuid> =
            about.iter().map(|patient| self.key(ResourceType::PATIENT, patient)).collect();
        let key = self.key(kind, id);
        let facts = self.facts(kind, key, &patients, labels.clone());
        let permit = self.app.gate.permit(self.caller, act, &facts);
        let permit = permit.map_err(|denied| self.denied(denied, &base, &about))?;
        let warnings = self.side().references((kind, key), resource).await?;
        let version = match base {
            Base::Fresh | Base::Absent => 1,
            Base::Version(version) => version.saturating_add(1),
        };
        meta::stamp(resource, id, u32::try_from(version).unwrap_or(0), self.now);
        let plain = Plain {
            id: id.as_str().to_owned(),
            patients: about.iter().map(|patient| patient.as_str().to_owned()).collect(),
            labels,
            json: json::to_bytes(resource),
        };
        let relations = self.relations(stated, kind, key);
        let mut change =
            self.seal(Place { kind, key, version, deleted: false }, base, &patients, &plain, relations)?;
        let references = self.side().mode();
        let marking = Marking { app: self.app, keys: &self.keys, references, known: &self.known };
        (change.marks, change.marked_by) = (marking.of(kind, resource), Some(self.known.generation));
        if let [one] = patients.as_slice() {
            let own = self.data_key(one)?.own().map_err(KeyError::from)?;
            let (tenant, app) = (self.keys.as_ref(), self.app);
            change.own_marks = app.own.marks((tenant, &own), (kind, version), resource, &app.base);
        }
        let named = self.name(&change, &plain, patients);
        Ok(Ready {
            written: Written { permit, version: named, change },
            json: plain.json,
            version,
            updated: self.now,
            warnings,
        })
    }

    /// A tombstone over an opened record, under the same key.
    pub(super) fn bury(&self, record: Record, permit: Permit) -> Result<Written, Failure> {
        let plain = Plain {
            id: record.opened.id().to_owned(),
            patients: record.opened.patients().to_vec(),
            labels: record.opened.labels().to_vec(),
            json: Vec::new(),
        };
        let at = RecordBinding {
            version: record.at.version.saturating_add(1),
            updated: self.now,
            deleted: true,
            ..record.at
        };
        let links = if record.patients.len() > 1 { record.patients.clone() } else { Vec::new() };
        let change = NewVersion {
            at,
            owner_version: record.key.version(),
            body: record.key.seal_record(&at, &plain)?,
            base: Base::Version(record.at.version),
            links,
            relations: Vec::new(),
            keys: Vec::new(),
            marks: Vec::new(),
            own_marks: None,
            criteria: Vec::new(),
            marked_by: None,
        };
        let version = self.name(&change, &plain, record.patients);
        Ok(Written { permit, version, change })
    }

    fn seal(
        &mut self,
        place: Place,
        base: Base,
        patients: &[Uuid],
        plain: &Plain,
        relations: Vec<(RelationRow, [u8; 16])>,
    ) -> Result<NewVersion, Failure> {
        let mut keys = Vec::new();
        for id in patients {
            if let Some(patient) = self.patients.get_mut(id)
                && let (Some(key), Some(wrapped)) = (&patient.key, patient.made.take())
            {
                keys.push(NewKey { id: *id, version: key.version(), under: NIL, wrapped });
            }
        }
        let at = |owner| RecordBinding {
            tenant: self.view.tenant,
            kind: place.kind,
            key: place.key,
            version: place.version,
            updated: self.now,
            deleted: place.deleted,
            owner,
        };
        let (at, owner_version, body) = match patients {
            [] => {
                let (at, key) = (at(NIL), self.keys.common());
                (at, key.version(), key.seal_record(&at, plain)?)
            }
            [one] => {
                let key = self.data_key(one)?;
                let at = at(*one);
                (at, key.version(), key.seal_record(&at, plain)?)
            }
            several => {
                let held: Vec<&DataKey> =
                    several.iter().map(|id| self.data_key(id)).collect::<Result<_, _>>()?;
                let id = self.app.clock.random_id();
                let (key, wraps) = self.keys.new_shared_key(id, &held)?;
                let at = at(id);
                let body = key.seal_record(&at, plain)?;
                for (under, wrapped) in held.iter().zip(wraps) {
                    keys.push(NewKey { id, version: key.version(), under: under.id(), wrapped });
                }
                (at, key.version(), body)
            }
        };
        let links = if patients.len() > 1 { patients.to_vec() } else { Vec::new() };
        Ok(NewVersion {
            at,
            owner_version,
            body,
            base,
            links,
            relations,
            keys,
            marks: Vec::new(),
            own_marks: None,
            criteria: Vec::new(),
            marked_by: None,
        })
    }

    fn data_key(&self, patient: &Uuid) -> Result<&DataKey, Refusal> {
        let known = self.patients.get(patient).ok_or(Refusal::Internal)?;
        known.key.as_ref().ok_or(Refusal::Integrity)
    }

    fn name(&self, change: &NewVersion, plain: &Plain, patients: Vec<Uuid>) -> Version {
        Version {
            kind: change.at.kind,
            key: change.at.key,
            id: plain.id.clone(),
            number: change.at.version,
            digest: change.body.digest(),
            patients: patients.into_iter().zip(plain.patients.iter().cloned()).collect(),
            deleted: change.at.deleted,
        }
    }
}

struct Place {
    kind: ResourceType,
    key: Uuid,
    version: i32,
    deleted: bool,
}
