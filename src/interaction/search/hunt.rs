//! One search over one type: how its links are followed, and the loop over its candidates.

use std::{collections::HashSet, sync::Arc};

use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use uuid::Uuid;

use super::{
    Failure, Found, Released,
    cursor::Position,
    follow::{Key, Scout, links},
    marks::{Marked, Place},
    named,
};
use crate::{
    fhir::{
        compartment::can_be_about_a_patient,
        kinds::{LogicalId, ResourceType},
        reference::BaseUrl,
        search::{Candidates, Compiled, Filter, Narrowness, Query, Total, sort},
    },
    refusal::Refusal,
    seal::{Opened, OwnAsked, Plain, TenantKeys},
    store::{
        row::Row,
        search::{Narrowing, View, far_future},
    },
};

/// Candidates asked for at a time, at the most.
const CHUNK_MAX: i64 = 1_000;
/// And at the least.
const CHUNK_LEAST: i64 = 16;
/// The most records a link may lead back from: what a chain's targets or the sources of a `_has` may number.
pub(super) const LINKED_MAX: usize = 2_000;

/// The condition that a record points at one of these by a parameter.
pub(super) struct Pointing {
    pub(super) parameter: Arc<Compiled>,
    pub(super) at: HashSet<Key>,
}

impl Pointing {
    pub(super) fn at(parameter: Arc<Compiled>, at: impl IntoIterator<Item = Key>) -> Self {
        Self { parameter, at: at.into_iter().collect() }
    }
}

/// A page of matches.
pub(super) struct Matches {
    pub(super) page: Vec<Found>,
    /// Whether there is at least one match after the page.
    pub(super) more: bool,
    /// Matches in all, when they were asked for or all are on this page.
    pub(super) total: Option<u64>,
    /// Matches that are in the total and not on the page: to be counted is to be told of, and is recorded.
    pub(super) counted: Vec<Released>,
}

/// A search that is ready to go over its candidates.
pub(super) struct Hunt<'a> {
    pub(super) scout: &'a Scout<'a>,
    pub(super) query: &'a Query,
    candidates: Candidates,
    /// Links that were followed from their other end.
    pub(super) pointing: Vec<Pointing>,
    /// Keys one of which must be the record's, for the same reason.
    keys: Option<HashSet<Uuid>>,
    /// Marks that the records bear, when nothing narrows the search further.
    pub(super) marked: Option<Marked>,
    /// Marks of hers that the records bear, when they are one patient's.
    pub(super) own: Option<OwnAsked>,
    /// Links to be followed from each candidate.
    following: Vec<&'a Filter>,
}

impl<'a> Hunt<'a> {
    /// Plans a search: decides for each link from which end it is followed, and follows those that are followed
    /// from the far end.
    pub(super) fn new(
        scout: &'a Scout<'a>,
        query: &'a Query,
        pointing: Vec<Pointing>,
    ) -> BoxFuture<'a, Result<Self, Failure>> {
        Box::pin(async move {
            scout.go_on()?;
            let candidates = query.candidates();
            let keys = match &query.list {
                Some(list) => Some(scout.items(list, query.kind).await?),
                None => None,
            };
            let (marked, own, following) = (None, None, Vec::new());
            let mut hunt = Self { scout, query, candidates, pointing, keys, marked, own, following };
            for filter in query.joins() {
                if !hunt.is_followed_from_afar(filter).await? {
                    hunt.following.push(filter);
                }
            }
            hunt.narrow_by_marks()?;
            hunt.narrow_by_own_marks().await?;
            Ok(hunt)
        })
    }

    /// Follows a link from its far end if that comes down to fewer records; `false` if it was not.
    async fn is_followed_from_afar(&mut self, filter: &Filter) -> Result<bool, Failure> {
        let near = self.narrowness();
        let (base, listed) = (&self.scout.app.base, &self.scout.in_force.listed);
        match filter {
            Filter::Chain(chain) => {
                let queries: Vec<Query> = chain
                    .links
                    .iter()
                    .map(|(kind, filter)| Query::of(*kind, vec![filter.as_ref().clone()], base))
                    .collect();
                let far = queries.iter().map(|query| Narrowness::of(query, listed)).min();
                if near == Narrowness::Few || near > Narrowness::None && far < Some(Narrowness::Marks) {
                    return Ok(false);
                }
                let mut targets = Vec::new();
                for query in &queries {
                    // A type the caller may see nothing of leads nowhere.
                    if self.scout.may_approach(query.kind) {
                        let found = Box::pin(self.far(query)).await?;
                        named::note_led(self.scout, &query.filters, &found)?;
                        targets.extend(found.iter().map(Found::key));
                    }
                }
                self.pointing.push(Pointing::at(Arc::clone(&chain.parameter), targets));
            }
            Filter::Has(has) => {
                let query = Query::of(has.source, vec![(*has.filter).clone()], base);
                let far = Narrowness::of(&query, listed);
                let is_nearer = near == Narrowness::Few && far < Narrowness::Few;
                if is_nearer || near > Narrowness::None && far == Narrowness::None {
                    return Ok(false);
                }
                let sources = if self.scout.may_approach(has.source) {
                    Box::pin(self.far(&query)).await?
                } else {
                    Vec::new()
                };
                let mut keys: HashSet<Uuid> = HashSet::new();
                for source in &sources {
                    let links = self.scout.links(&source.record, &has.parameter);
                    keys.extend(links.iter().filter(|(kind, _)| *kind == self.query.kind).map(|link| link.1));
                }
                match &mut self.keys {
                    Some(known) => known.retain(|key| keys.contains(key)),
                    none => *none = Some(keys),
                }
            }
            // Links inside an expression are followed from each candidate.
            Filter::All(_) | Filter::Any(_) | Filter::Not(_) => return Ok(false),
            Filter::Values(_) | Filter::Missing(..) => {}
        }
        Ok(true)
    }

    /// What is at the far end of a link.
    async fn far(&self, query: &Query) -> Result<Vec<Found>, Failure> {
        let found = Hunt::new(self.scout, query, Vec::new()).await?.first(LINKED_MAX + 1).await?;
        if found.len() > LINKED_MAX {
            let text = format!(
                "A chain or _has leads to more than {LINKED_MAX} records. Narrow it, or narrow what starts it: \
                 name a patient or ids."
            );
            return Err(Refusal::TooCostly(text).into());
        }
        Ok(found)
    }

    pub(super) fn narrowness(&self) -> Narrowness {
        let own = Narrowness::of(self.query, &self.scout.in_force.listed);
        if self.keys.is_some() || self.pointing.iter().any(Pointing::names_patients) {
            return Narrowness::Few;
        }
        if self.pointing.iter().any(|one| self.scout.in_force.listed.has(&one.parameter)) {
            return own.max(Narrowness::Marks);
        }
        // Without any filter the newest records are what is asked for; a link back is a filter.
        let is_filtered = !self.pointing.is_empty() && can_be_about_a_patient(self.query.kind);
        if is_filtered && own == Narrowness::Type { Narrowness::None } else { own }
    }

    /// The first matches, newest first, whatever order the query asks for.
    pub(super) async fn first(&self, most: usize) -> Result<Vec<Found>, Failure> {
        let mut found = Vec::new();
        let mut after = None;
        while found.len() < most {
            let limit = self.scout.chunk(i64::try_from(most).unwrap_or(i64::MAX).clamp(64, CHUNK_MAX));
            let rows = self.rows(after, limit).await?;
            let last = i64::try_from(rows.len()).unwrap_or(i64::MAX) < limit;
            for row in rows {
                after = Some((row.at.updated, row.at.key));
                found.extend(self.try_match(row).await?);
                if found.len() >= most {
                    break;
                }
            }
            if last {
                break;
            }
        }
        Ok(found)
    }

    /// The page after a position.
    pub(super) async fn page(&self, after: Option<&Position>) -> Result<Matches, Failure> {
        if self.query.sort.is_empty() { self.newest_first(after).await } else { self.sorted(after).await }
    }

    async fn newest_first(&self, after: Option<&Position>) -> Result<Matches, Failure> {
        let count = usize::try_from(self.query.count).unwrap_or(usize::MAX);
        let counting = self.query.is_count_only() || self.query.total == Some(Total::Accurate);
        let first_page = after.is_none();
        let after = after.map(|after| after.before(self.query.kind));
        // The total is that of the search, wherever the page starts: counting begins at the beginning.
        let mut position = if counting { None } else { after };
        let mut matches = Matches { page: Vec::new(), more: false, total: None, counted: Vec::new() };
        let mut total = 0_u64;
        loop {
            let limit = self.scout.chunk(asked_for(self.query.count));
            let rows = self.rows(position, limit).await?;
            let last = i64::try_from(rows.len()).unwrap_or(i64::MAX) < limit;
            for row in rows {
                let place = (row.at.updated, row.at.key);
                position = Some(place);
                let Some(found) = self.try_match(row).await? else { continue };
                total += 1;
                let is_before = after.is_some_and(|after| place >= after);
                if !is_before && matches.page.len() < count {
                    matches.page.push(found);
                    continue;
                }
                matches.more |= !is_before;
                if counting {
                    matches.counted.push(found.counted());
                } else if matches.more {
                    return Ok(matches);
                }
            }
            if last {
                matches.total = (counting || first_page).then_some(total);
                matches.more &= !self.query.is_count_only();
                return Ok(matches);
            }
        }
    }

    /// Opens every match, and keeps those of the page.
    async fn sorted(&self, after: Option<&Position>) -> Result<Matches, Failure> {
        let count = usize::try_from(self.query.count).unwrap_or(usize::MAX);
        let counting = self.query.is_count_only() || self.query.total == Some(Total::Accurate);
        let first_page = after.is_none();
        let (mut page, mut position, mut total) = (Vec::<Found>::new(), None, 0_u64);
        let mut counted = Vec::new();
        loop {
            let limit = self.scout.chunk(CHUNK_MAX);
            let rows = self.rows(position, limit).await?;
            let last = i64::try_from(rows.len()).unwrap_or(i64::MAX) < limit;
            for row in rows {
                position = Some((row.at.updated, row.at.key));
                let Some(found) = self.try_match(row).await? else { continue };
                total += 1;
                if after.is_none_or(|after| found.comes_after(after)) {
                    page.push(found);
                } else if counting {
                    counted.push(found.counted());
                }
            }
            // One more than the page shows that there is a next one.
            page.sort_unstable_by(Found::order);
            let rest = page.split_off(count.saturating_add(1).min(page.len()));
            if counting {
                counted.extend(rest.into_iter().map(Found::counted));
            }
            if last {
                break;
            }
        }
        let more = page.len() > count && count > 0;
        let rest = page.split_off(count.min(page.len()));
        if counting {
            counted.extend(rest.into_iter().map(Found::counted));
        }
        Ok(Matches { page, more, total: (counting || (first_page && !more)).then_some(total), counted })
    }

    /// From when on and until when the records were written.
    pub(super) fn span(&self) -> (DateTime<Utc>, DateTime<Utc>) {
        let Candidates { updated_from, updated_until, .. } = &self.candidates;
        (updated_from.unwrap_or(DateTime::UNIX_EPOCH), updated_until.unwrap_or_else(far_future))
    }

    /// The patients whose records are searched, by opaque key, each once.
    fn patients(&self) -> Option<Vec<Uuid>> {
        let opaque = |id: &LogicalId| self.scout.keys.opaque(ResourceType::PATIENT, id.as_str());
        let asked = self.candidates.patients.first().map(|ids| ids.iter().map(opaque).collect());
        let linked = self.pointing.iter().find(|one| one.names_patients());
        let mut patients: Vec<Uuid> =
            asked.or_else(|| linked.map(|one| one.at.iter().map(|(_, key)| *key).collect()))?;
        // Each once: she is gone through as often as she is named.
        patients.sort_unstable();
        patients.dedup();
        Some(patients)
    }

    /// Says which of her own marks the records bear, when they are all one patient's.
    async fn narrow_by_own_marks(&mut self) -> Result<(), Failure> {
        let Some([patient]) = self.patients().as_deref().and_then(<[Uuid]>::as_array).copied() else {
            return Ok(());
        };
        let (own, scout) = (&self.scout.app.own, self.scout);
        let groups: Vec<_> = self.query.filters.iter().filter_map(|one| own.listed().marks_of(one)).collect();
        if groups.is_empty() || self.keys.is_some() || self.candidates.ids.is_some() {
            return Ok(());
        }
        let View { tenant, actor, now } = scout.view;
        let standing = scout.app.store.fetcher().standing(tenant, patient, actor, now).await?;
        // Without her key there is nothing to narrow by; what does not open is told of each record, after the gate.
        let Some((version, wrapped)) = standing.key else { return Ok(()) };
        let Ok(key) = scout.keys.data_key(patient, version, &wrapped) else { return Ok(()) };
        self.own = own.asked(&scout.keys, &key, groups);
        Ok(())
    }

    pub(super) fn narrowing(&self, after: Option<Place>, limit: i64) -> Narrowing {
        let kind = self.query.kind;
        let opaque = |kind: ResourceType, ids: &[LogicalId]| {
            ids.iter().map(|id| self.scout.keys.opaque(kind, id.as_str())).collect::<Vec<_>>()
        };
        let mut keys = self.candidates.ids.as_deref().map(|ids| opaque(kind, ids));
        if let Some(linked) = &self.keys {
            match &mut keys {
                Some(keys) => keys.retain(|key| linked.contains(key)),
                none => *none = Some(linked.iter().copied().collect()),
            }
        }
        let (from, until) = self.span();
        Narrowing { kind, patients: self.patients(), keys, own: self.own.clone(), from, until, after, limit }
    }

    /// Opens a candidate; `None` when it does not match or the caller may not see it.
    async fn try_match(&self, row: Row) -> Result<Option<Found>, Failure> {
        let scout = self.scout;
        let Some((record, permit)) = scout.open(row).await? else { return Ok(None) };
        let asked = (self, scout.keys.as_ref(), &scout.app.base);
        let place = record.opened.examine(&asked, |plain, (hunt, keys, base)| hunt.place(plain, keys, base));
        let Some(place) = place else { return Ok(None) };
        for filter in &self.following {
            if !scout.meets(&record, filter).await? {
                return Ok(None);
            }
        }
        Ok(Some(Found { record, permit, place }))
    }

    /// The place of a record in the order, if its own values match.
    fn place(&self, plain: &Plain, keys: &TenantKeys, base: &BaseUrl) -> Option<Opened<Vec<u8>>> {
        // A resource of ours parses; if it does not, it matches nothing.
        let resource = serde_json::from_slice(&plain.json).ok()?;
        let points =
            |one: &Pointing| links(plain, &one.parameter, keys, base).iter().any(|l| one.at.contains(l));
        (self.query.holds(&resource) && self.pointing.iter().all(points))
            .then(|| Opened::worked_out(sort::place(&self.query.sort, &resource)))
    }
}

impl Pointing {
    /// Whether the record's patients are among those it points at.
    fn names_patients(&self) -> bool {
        self.parameter.files_under_patients && self.at.iter().all(|(kind, _)| *kind == ResourceType::PATIENT)
    }
}

/// How many candidates are asked for at once: a page, one more to know whether there is a next, and an eighth over for those
/// that turn out to be no matches.
fn asked_for(count: u32) -> i64 {
    let page = i64::from(count).saturating_add(1);
    page.saturating_add(page / 8).clamp(CHUNK_LEAST, CHUNK_MAX)
}

/// Nothing narrows the search: says what would.
pub(super) fn undeclared(query: &Query, pointing: &[Pointing]) -> Failure {
    let kind = query.kind.name();
    let codes = query
        .filters
        .iter()
        .flat_map(Filter::codes)
        .chain(pointing.iter().map(|one| one.parameter.code.as_ref()));
    let names: Vec<String> = codes.map(|code| format!("{kind}.{code}")).collect();
    let what = if names.is_empty() { "what it asks for".to_owned() } else { names.join(", ") };
    let text = format!(
        "Nothing narrows this search of {kind}: {what} is not on the list of search.population, or is asked for \
         in a way that its marks cannot find. Name a patient or ids, or have the server's operator list it."
    );
    Refusal::TooCostly(text).into()
}

impl Found {
    pub(super) fn key(&self) -> Key {
        (self.record.at.kind, self.record.at.key)
    }

    /// By the keys asked for, then newest first, then by opaque key and type: no two records are equal.
    pub(super) fn order(&self, other: &Self) -> std::cmp::Ordering {
        let newest = |found: &Self| (found.record.at.updated, found.record.at.key);
        let kind = |found: &Self| found.record.at.kind.code();
        let place = self.place.compare(&other.place);
        place.then_with(|| newest(other).cmp(&newest(self))).then_with(|| kind(self).cmp(&kind(other)))
    }

    fn comes_after(&self, position: &Position) -> bool {
        let at = (self.record.at.updated, self.record.at.key);
        let place = self.place.compare(&position.place);
        let place = place.then_with(|| (position.updated, position.key).cmp(&at));
        place.then_with(|| self.record.at.kind.code().cmp(&position.kind)).is_gt()
    }
}
