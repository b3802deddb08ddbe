//! The patients whom a submission is about: their keys, and how the caller stands to them.

use chrono::DateTime;
use uuid::Uuid;

use super::{
    super::{Failure, failure::forbidden},
    Desk,
};
use crate::{
    fhir::{
        kinds::{LogicalId, ResourceType},
        relation::{Relation, RelationKind},
    },
    gate::{Denied, Facts, Relations},
    seal::{DataKey, KeyError, Sealed},
    store::{
        row::{RelationRow, proven},
        search::{View, far_future},
        write::Base,
    },
};

/// A patient's key and how the caller stands to her.
pub(super) struct Patient {
    /// `None` when the stored one does not open, which is told after the gate has decided.
    pub(super) key: Option<DataKey>,
    /// The wrapped key, until a version carries it to the database.
    pub(super) made: Option<Sealed>,
    is_new: bool,
    relations: Relations,
}

impl Desk<'_> {
    /// Looks up the patients that are not known here yet.
    pub(super) async fn meet(&mut self, about: &[LogicalId]) -> Result<(), Failure> {
        for id in about {
            let key = self.key(ResourceType::PATIENT, id);
            if self.patients.contains_key(&key) {
                continue;
            }
            let View { tenant, actor, now } = self.view;
            let standing = self.app.store.fetcher().standing(tenant, key, actor, now).await?;
            let patient = if let Some((version, wrapped)) = standing.key {
                let data_key = match self.keys.data_key(key, version, &wrapped) {
                    Err(KeyError::Wrapped(_)) => None,
                    other => Some(other?),
                };
                Patient {
                    key: data_key,
                    made: None,
                    is_new: false,
                    relations: proven(&self.keys, key, actor, &standing.relations),
                }
            } else {
                let (data_key, wrapped) = self.keys.new_data_key(key)?;
                Patient { key: Some(data_key), made: Some(wrapped), is_new: true, relations: Relations::NONE }
            };
            self.patients.insert(key, patient);
        }
        Ok(())
    }

    /// A refusal that is about the patients of what was to be written.
    pub(super) fn denied(&self, denied: Denied, base: &Base, about: &[LogicalId]) -> Failure {
        let mut patients = about.iter().map(|id| {
            let key = self.key(ResourceType::PATIENT, id);
            let is_here = self.patients.get(&key).is_some_and(|known| !known.is_new);
            (key, is_here.then(|| id.as_str().to_owned()))
        });
        match base {
            // As over a record that is hidden: whether there is one is not told.
            Base::Absent => {
                let one = patients.find_map(|(key, id)| Some((key, id?)));
                forbidden(denied).about_one(one)
            }
            Base::Fresh | Base::Version(_) => forbidden(denied).about_each(patients),
        }
    }

    /// What the gate is told of a record that is to be about these patients.
    pub(super) fn facts(
        &self,
        kind: ResourceType,
        key: Uuid,
        patients: &[Uuid],
        labels: Vec<String>,
    ) -> Facts {
        let relations = patients.iter().fold(Relations::ALL, |held, patient| {
            let one = self.patients.get(patient).map_or(Relations::NONE, |known| {
                if known.is_new && self.registering.contains(patient) {
                    known.relations.union(Relations::REGISTERING)
                } else {
                    known.relations
                }
            });
            held.intersection(one)
        });
        let relations = if patients.is_empty() { Relations::NONE } else { relations };
        Facts { tenant: self.view.tenant, kind, key, about_patient: !patients.is_empty(), relations, labels }
    }

    /// The relationships that a record states, as they are stored, each with its proof.
    pub(super) fn relations(
        &self,
        stated: Vec<Relation>,
        kind: ResourceType,
        key: Uuid,
    ) -> Vec<(RelationRow, [u8; 16])> {
        stated
            .into_iter()
            .map(|stated| {
                let bit = match stated.kind {
                    RelationKind::GeneralPractitioner => Relations::GENERAL_PRACTITIONER,
                    RelationKind::CareTeam => Relations::CARE_TEAM,
                    RelationKind::EncounterParticipant => Relations::ENCOUNTER,
                    RelationKind::Appointment => Relations::APPOINTMENT,
                };
                let row = RelationRow {
                    patient: self.key(ResourceType::PATIENT, &stated.patient),
                    actor: self.key(stated.actor_kind, &stated.actor),
                    kind: i16::from(bit.0),
                    source: (kind, key),
                    since: stated.from.unwrap_or(DateTime::UNIX_EPOCH),
                    until: stated.until.unwrap_or_else(far_future).min(far_future()),
                };
                let proof = row.proof(&self.keys);
                (row, proof)
            })
            .collect()
    }
}
