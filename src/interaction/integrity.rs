//! Referential integrity: what a write may point at, and what a delete may leave behind (decision 0022).
//!
//! Records out of the caller's view are as if they were not there, in both: nobody learns from a write what a read would
//! not have told. A delete finds what refers to its record by a blind mark that each record bears for all it refers to.

use std::{collections::HashSet, sync::Arc};

use futures_util::{StreamExt as _, stream};
use serde_json::Value;
use uuid::Uuid;

use super::{
    Failure,
    audit_events::is_reserved,
    open::{Record, open_permitted},
};
use crate::{
    app::App,
    config::References,
    fhir::{
        kinds::ResourceType,
        outcome::{IssueCode, Problem},
        reference::{BaseUrl, Reference, walk},
    },
    gate::{Act, Permit},
    identity::Caller,
    ledger::Released,
    refusal::Refusal,
    seal::{BlindMark, Plain, TenantKeys},
    store::search::View,
};

/// The most records one write may refer to where references are looked at.
const REFERENCES_MAX: usize = 1_000;
/// The most records a delete looks at to see whether they refer to its own.
const REFERRERS_MAX: usize = 10_000;
/// The most places an outcome names.
const PLACES_MAX: usize = 100;
/// Records fetched at once.
const AT_ONCE: usize = 64;

/// A record by type and opaque key.
type Key = (ResourceType, Uuid);

/// What a submission will have done when it is committed.
#[derive(Default)]
pub(super) struct Plans {
    /// These will be there.
    pub(super) writes: HashSet<Key>,
    /// These will not.
    pub(super) buries: HashSet<Key>,
}

/// Who asks, and with what.
pub(super) struct Side<'a> {
    pub(super) app: &'a App,
    pub(super) caller: &'a Arc<Caller>,
    pub(super) keys: &'a TenantKeys,
    pub(super) view: &'a View,
    pub(super) plans: &'a Plans,
}

impl Side<'_> {
    pub(super) fn mode(&self) -> References {
        self.app.integrity.of(self.caller.tenant_name())
    }

    /// Looks at what a resource that is about to be written points at: warnings, or the refusal.
    pub(super) async fn references(&self, own: Key, resource: &Value) -> Result<Vec<Problem>, Failure> {
        let mode = self.mode();
        if mode == References::Off {
            return Ok(Vec::new());
        }
        let mut places = Vec::new();
        local(&self.app.base, resource, |place, kind, id| {
            places.push((place.to_owned(), (kind, self.keys.opaque(kind, id))));
        });
        let Plans { writes, buries } = self.plans;
        let stored: HashSet<Key> = places
            .iter()
            .map(|(_, key)| *key)
            .filter(|key| *key != own && !writes.contains(key) && !buries.contains(key))
            .collect();
        if stored.len() > REFERENCES_MAX {
            let text = format!("A record may refer to {REFERENCES_MAX} others at the most.");
            return Err(Refusal::Invalid(vec![Problem::error(IssueCode::TooCostly, text)]).into());
        }
        let seen: HashSet<Key> =
            self.seen(stored.iter().copied().collect()).await?.iter().map(|(one, _)| key(one)).collect();
        let leads_nowhere = |key: &Key| buries.contains(key) || (stored.contains(key) && !seen.contains(key));
        let problems = places.into_iter().filter(|(_, key)| leads_nowhere(key)).take(PLACES_MAX);
        let problems: Vec<Problem> = problems.map(|(place, _)| nowhere(mode, place)).collect();
        if mode == References::Enforce && !problems.is_empty() {
            return Err(Refusal::Invalid(problems).into());
        }
        Ok(problems)
    }

    /// Refuses to delete what a record in the caller's view refers to.
    pub(super) async fn referrers(&self, record: &Record) -> Result<(), Failure> {
        if self.mode() != References::Enforce {
            return Ok(());
        }
        let target = key(record);
        let mark = self.keys.referrer_mark(target.0, target.1);
        let limit = i64::try_from(REFERRERS_MAX).unwrap_or(i64::MAX).saturating_add(1);
        let bearers = self.app.store.bearing(self.view.tenant, mark, limit).await?;
        if bearers.len() > REFERRERS_MAX {
            let text = format!(
                "More than {REFERRERS_MAX} records may refer to this one. Delete or change them first."
            );
            return Err(Refusal::TooCostly(text).into());
        }
        let Plans { writes, buries } = self.plans;
        // What the submission writes has been looked at as it will be.
        let others = bearers
            .into_iter()
            .filter(|one| *one != target && !writes.contains(one) && !buries.contains(one));
        let others: Vec<Key> = others.collect();
        for some in others.chunks(AT_ONCE) {
            for (referrer, permit) in self.seen(some.to_vec()).await? {
                let asked = (self.keys, &self.app.base, target);
                if referrer.opened.examine(&asked, refers) {
                    let text = "Other records refer to this one. Delete or change them first.";
                    let released = Released { permit, version: referrer.version() };
                    return Err(Failure::Told(Refusal::Conflict(text), vec![released]));
                }
            }
        }
        Ok(())
    }

    /// Those of the records that are there and that the caller may read.
    async fn seen(&self, keys: Vec<Key>) -> Result<Vec<(Record, Permit)>, Failure> {
        let fetcher = self.app.store.fetcher();
        let View { tenant, actor, now } = *self.view;
        let rows: Vec<_> = stream::iter(keys)
            .map(|(kind, key)| fetcher.record(tenant, kind, key, actor, now))
            .buffered(AT_ONCE)
            .collect()
            .await;
        let mut seen = Vec::new();
        for row in rows {
            let Some(row) = row?.filter(|row| !row.at.deleted) else { continue };
            match open_permitted(self.app, self.caller, self.view, Act::Read, row).await {
                Ok(found) => seen.push(found),
                Err(Failure::Refused(Refusal::NotFound(_), _)) => {}
                Err(other) => return Err(other),
            }
        }
        Ok(seen)
    }
}

/// The marks of a resource for all it refers to, in no order.
pub(super) fn referrer_marks(keys: &TenantKeys, base: &BaseUrl, resource: &Value) -> Vec<BlindMark> {
    let mut marks = Vec::new();
    local(base, resource, |_, kind, id| marks.push(keys.referrer_mark(kind, keys.opaque(kind, id))));
    marks
}

/// Calls `visit` with the place, type and id of every reference to a record of this server; those to the log's own
/// AuditEvents, which are no records, are left out.
fn local(base: &BaseUrl, resource: &Value, mut visit: impl FnMut(&str, ResourceType, &str)) {
    walk(resource, |place, text| {
        if let Some((kind, id)) = Reference::parse(text, base).and_then(Reference::local)
            && !is_reserved(kind, &id)
        {
            visit(place, kind, id.as_str());
        }
    });
}

fn refers(plain: &Plain, (keys, base, target): &(&TenantKeys, &BaseUrl, Key)) -> bool {
    let Ok(resource) = serde_json::from_slice::<Value>(&plain.json) else { return false };
    let mut found = false;
    local(base, &resource, |_, kind, id| found |= kind == target.0 && keys.opaque(kind, id) == target.1);
    found
}

fn key(record: &Record) -> Key {
    (record.at.kind, record.at.key)
}

fn nowhere(mode: References, place: String) -> Problem {
    let text = "The record this refers to is not there, or is not yours to read.";
    let problem = match mode {
        References::Enforce => Problem::error(IssueCode::NotFound, text),
        References::Off | References::Warn => Problem::warning(IssueCode::NotFound, text),
    };
    problem.at(place).by("integrity.reference")
}
