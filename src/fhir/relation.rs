//! The care relationships a resource states, which the access policies ask for.
//!
//! May import only std, chrono, `serde_json` and what stands beside it in `fhir`.
//!
//! # When a relationship holds
//! From `from` on, and until `until` without that instant; an absent end is open. A period given to a
//! partial date holds from the first instant of its start to the last instant of its end, in UTC: a period
//! from `2024-03` to `2024-04` holds from 1 March 00:00Z up to 1 May 00:00Z (FHIR R4 datatypes.html#Period:
//! an end of 2012-02-03 includes the whole of that day). Where a resource and its participant each have
//! a period, both must hold. A period that cannot be read, or is empty, states no relationship: access is
//! never widened by what is wrong. No margin is added for what is prepared before or written up after;
//! that is the policies' to grant.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::compartment::at_path;
use super::kinds::{LogicalId, ResourceType};
use super::reference::{BaseUrl, Reference};
use super::search::date::DateRange;

/// The most relationships one resource may state.
pub const RELATIONS_MAX: usize = 1_000;

/// One person who cares for one patient, as a resource states it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Relation {
    /// Whom the care is for.
    pub patient: LogicalId,
    /// `Practitioner`, `PractitionerRole` or `RelatedPerson`.
    pub actor_kind: ResourceType,
    /// Who cares.
    pub actor: LogicalId,
    /// By what.
    pub kind: RelationKind,
    /// From when on; `None` is since ever.
    pub from: Option<DateTime<Utc>>,
    /// Until when, without that instant; `None` is without end.
    pub until: Option<DateTime<Utc>>,
}

/// By what somebody cares for a patient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RelationKind {
    /// `Patient.generalPractitioner`.
    GeneralPractitioner,
    /// `CareTeam.participant.member` of an active team.
    CareTeam,
    /// `Encounter.participant.individual`.
    EncounterParticipant,
    /// `Appointment.participant.actor` beside a patient.
    Appointment,
}

impl RelationKind {
    /// The name the policies use.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::GeneralPractitioner => "general-practitioner",
            Self::CareTeam => "care-team",
            Self::EncounterParticipant => "encounter-participant",
            Self::Appointment => "appointment",
        }
    }
}

/// The relationships a resource states, each once; of more than [`RELATIONS_MAX`] one more than that.
///
/// Patients and organisations among the participants are no actors: a patient reads their own record by
/// another rule, and an organisation is not a person who cares. An inactive CareTeam, an Encounter or
/// Appointment that was cancelled, not kept or entered in error, and a participant who declined state none.
#[must_use]
pub fn relations(resource: &Value, kind: ResourceType, id: &LogicalId, base: &BaseUrl) -> Vec<Relation> {
    let mut found = Found::default();
    match kind {
        ResourceType::PATIENT => {
            let actors = actors(resource, &["generalPractitioner"], base);
            add(
                &mut found,
                std::slice::from_ref(id),
                actors,
                RelationKind::GeneralPractitioner,
                Span::ALWAYS,
            );
        }
        ResourceType::CARE_TEAM if status_is(resource, &["active"]) => {
            participants(&mut found, resource, &["member"], RelationKind::CareTeam, base);
        }
        ResourceType::ENCOUNTER
            if status_is(
                resource,
                &["planned", "arrived", "triaged", "in-progress", "onleave", "finished", "unknown"],
            ) =>
        {
            participants(&mut found, resource, &["individual"], RelationKind::EncounterParticipant, base);
        }
        ResourceType::APPOINTMENT
            if status_is(
                resource,
                &["pending", "booked", "arrived", "fulfilled", "checked-in", "waitlist"],
            ) =>
        {
            appointment(&mut found, resource, base);
        }
        _ => {}
    }
    found.each
}

/// Relationships in the order they are stated.
#[derive(Default)]
struct Found {
    each: Vec<Relation>,
    seen: HashSet<Relation>,
}

/// A span of time; `None` is open.
#[derive(Clone, Copy)]
struct Span {
    from: Option<DateTime<Utc>>,
    until: Option<DateTime<Utc>>,
}

impl Span {
    const ALWAYS: Self = Self { from: None, until: None };

    /// The span of a start and an end; `None` if one cannot be read.
    fn of(start: Option<&Value>, end: Option<&Value>) -> Option<Self> {
        let range = |value: Option<&Value>| match value {
            None => Some(None),
            Some(value) => DateRange::parse(value.as_str()?).map(Some),
        };
        Some(Self { from: range(start)?.map(|r| r.from), until: range(end)?.map(|r| r.until) })
    }

    /// The span of a Period element; an absent one is always.
    fn of_period(period: Option<&Value>) -> Option<Self> {
        match period {
            None => Some(Self::ALWAYS),
            Some(Value::Object(period)) => Self::of(period.get("start"), period.get("end")),
            Some(_) => None,
        }
    }

    /// When both hold; `None` if that is never.
    fn and(self, other: Self) -> Option<Self> {
        let both = |a: Option<DateTime<Utc>>, b: Option<DateTime<Utc>>, choose: fn(_, _) -> _| match (a, b) {
            (Some(a), Some(b)) => Some(choose(a, b)),
            (one, None) | (None, one) => one,
        };
        let (from, until) = (both(self.from, other.from, Ord::max), both(self.until, other.until, Ord::min));
        match (from, until) {
            (Some(from), Some(until)) if from >= until => None,
            _ => Some(Self { from, until }),
        }
    }
}

/// The participants of a CareTeam or an Encounter.
fn participants(found: &mut Found, resource: &Value, member: &[&str], kind: RelationKind, base: &BaseUrl) {
    let patients = locals(resource, &["subject"], base)
        .into_iter()
        .filter_map(|(kind, id)| (kind == ResourceType::PATIENT).then_some(id))
        .collect::<Vec<_>>();
    let Some(whole) = Span::of_period(resource.get("period")) else { return };
    for participant in items(resource, "participant") {
        if let Some(span) = Span::of_period(participant.get("period")).and_then(|own| own.and(whole)) {
            add(found, &patients, actors(participant, member, base), kind, span);
        }
    }
}

fn appointment(found: &mut Found, resource: &Value, base: &BaseUrl) {
    let Some(whole) = Span::of(resource.get("start"), resource.get("end")) else { return };
    let attending = || items(resource, "participant").filter(|p| !status_is(p, &["declined"]));
    let patients: Vec<LogicalId> = attending()
        .flat_map(|participant| locals(participant, &["actor"], base))
        .filter_map(|(kind, id)| (kind == ResourceType::PATIENT).then_some(id))
        .collect();
    for participant in attending() {
        if let Some(span) = Span::of_period(participant.get("period")).and_then(|own| own.and(whole)) {
            let actors = actors(participant, &["actor"], base);
            add(found, &patients, actors, RelationKind::Appointment, span);
        }
    }
}

fn add(
    found: &mut Found,
    patients: &[LogicalId],
    actors: Vec<(ResourceType, LogicalId)>,
    kind: RelationKind,
    span: Span,
) {
    for (actor_kind, actor) in actors {
        for patient in patients {
            let relation = Relation {
                patient: patient.clone(),
                actor_kind,
                actor: actor.clone(),
                kind,
                from: span.from,
                until: span.until,
            };
            // Patients times actors: what is refused anyway is not worked out to its end.
            if found.each.len() > RELATIONS_MAX {
                return;
            }
            if found.seen.insert(relation.clone()) {
                found.each.push(relation);
            }
        }
    }
}

fn actors(value: &Value, path: &[&str], base: &BaseUrl) -> Vec<(ResourceType, LogicalId)> {
    let mut found = locals(value, path, base);
    found.retain(|(kind, _)| {
        matches!(
            *kind,
            ResourceType::PRACTITIONER | ResourceType::PRACTITIONER_ROLE | ResourceType::RELATED_PERSON
        )
    });
    found
}

fn locals(value: &Value, path: &[&str], base: &BaseUrl) -> Vec<(ResourceType, LogicalId)> {
    let mut found = Vec::new();
    at_path(value, path, &mut |inner| found.extend(Reference::of(inner, base).and_then(Reference::local)));
    found
}

fn items<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value.get(name).and_then(Value::as_array).into_iter().flatten()
}

fn status_is(value: &Value, any: &[&str]) -> bool {
    value.get("status").and_then(Value::as_str).is_some_and(|status| any.contains(&status))
}

#[cfg(test)]
mod tests;
