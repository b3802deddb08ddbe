//! Following links: whether what a record points at, or what points at it, meets a filter.
//!
//! Every record on the way is opened and permitted like a match; what the caller may not see is as if it were not
//! there. All records opened for one request, a Bundle with all its searches among them, count together (`spent.rs`).

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
};

use futures_util::{StreamExt as _, future::BoxFuture, stream};
use serde_json::Value;
use uuid::Uuid;

use super::{
    Ask, Failure, Record,
    hunt::{Hunt, Pointing},
    open_permitted, too_costly,
};
use crate::{
    app::App,
    fhir::{
        kinds::{LogicalId, ResourceType},
        reference::{BaseUrl, Reference},
        search::{
            Compiled, Filter, InForce, Query,
            filter::{Chain, Has},
            include::targets,
        },
    },
    gate::{Act, Permit},
    refusal::Refusal,
    seal::{Plain, TenantKeys},
    store::{Row, search::View},
};

/// What the candidates that are asked for at a time may weigh together, as far as can be told from those before.
const CHUNK_BYTES: usize = 32 * 1024 * 1024;
/// Candidates asked for while nothing is known of their size.
const CHUNK_FIRST: usize = 128;
/// The fewest candidates asked for at a time.
const CHUNK_MIN: i64 = 8;

/// Single records fetched at once.
const FETCHES_AT_ONCE: usize = 64;

/// A record by type and opaque key.
pub(super) type Key = (ResourceType, Uuid);

/// What one search knows and spends, whatever it follows.
pub(super) struct Scout<'a> {
    pub(super) app: &'a App,
    pub(super) ask: &'a Ask,
    pub(super) view: View,
    pub(super) keys: Arc<TenantKeys>,
    /// What can be searched by, and what of it is marked.
    pub(super) in_force: Arc<InForce>,
    /// Whether a record met a filter: the filter by its address, which is shared as long as the search lasts.
    met: Mutex<HashMap<(usize, Key), bool>>,
}

impl<'a> Scout<'a> {
    pub(super) fn new(app: &'a App, ask: &'a Ask) -> Result<Self, Failure> {
        let view = ask.view(app);
        let keys = app.keyring.tenant(view.tenant)?;
        let in_force = app.in_force(view.tenant);
        Ok(Self { app, ask, view, keys, in_force, met: Mutex::default() })
    }

    /// Refuses once the request's searches have spent what they may, whatever this one has met.
    pub(super) fn go_on(&self) -> Result<(), Failure> {
        if self.ask.spent.leaves(self.app.clock.now()) { Ok(()) } else { Err(too_costly()) }
    }

    /// Opens a row if the caller may see it.
    pub(super) async fn open(&self, row: Row) -> Result<Option<(Record, Permit)>, Failure> {
        self.go_on()?;
        let (spent, at, size) = (&self.ask.spent, row.at, row.body.as_bytes().len());
        // A long search lets other requests have their turns.
        if spent.open(size) % 64 == 63 {
            tokio::task::yield_now().await;
        }
        // INVARIANT: what is hidden does not count against what is seen, and counts once
        // (`what_is_hidden_takes_nothing_from_what_may_be_opened`, `a_hidden_record_is_not_felt_however_often_it_is_asked_for`).
        match open_permitted(self.app, &self.ask.caller, &self.view, Act::Search, row).await {
            Ok(found) if spent.see(size) => Ok(Some(found)),
            Ok(_) => Err(too_costly()),
            Err(Failure::Refused(Refusal::NotFound(_), _)) => {
                spent.hide(&at);
                Ok(None)
            }
            Err(other) => Err(other),
        }
    }

    /// How many candidates are asked for next, of those wanted: few at first, then as many as are not large.
    pub(super) fn chunk(&self, wanted: i64) -> i64 {
        let (records, bytes) = self.ask.spent.opened();
        let affordable = CHUNK_BYTES.saturating_mul(records).checked_div(bytes).unwrap_or(CHUNK_FIRST);
        wanted.min(i64::try_from(affordable).unwrap_or(i64::MAX)).max(CHUNK_MIN)
    }

    /// The current versions of these records that are there and that the caller may see, in the same order.
    pub(super) async fn fetch(&self, keys: Vec<Key>) -> Result<Vec<(Record, Permit)>, Failure> {
        if keys.len() > self.ask.spent.left() {
            return Err(too_costly());
        }
        let fetcher = self.app.store.fetcher();
        let View { tenant, actor, now } = self.view;
        let rows: Vec<_> = stream::iter(keys)
            .map(|(kind, key)| fetcher.record(tenant, kind, key, actor, now))
            .buffered(FETCHES_AT_ONCE)
            .collect()
            .await;
        let mut found = Vec::new();
        for row in rows {
            if let Some(row) = row?.filter(|row| !row.at.deleted) {
                found.extend(self.open(row).await?);
            }
        }
        Ok(found)
    }

    /// The records of a type that a List names and does not say were taken off it (FHIR R4 search.html#list). A List
    /// the caller may not see is as if it were not there: nothing is on it.
    pub(super) async fn items(&self, list: &LogicalId, kind: ResourceType) -> Result<HashSet<Uuid>, Failure> {
        if !self.may_approach(ResourceType::LIST) {
            return Ok(HashSet::new());
        }
        let key = self.keys.opaque(ResourceType::LIST, list.as_str());
        let found = self.fetch(vec![(ResourceType::LIST, key)]).await?;
        let asked = (self.keys.as_ref(), &self.app.base, kind);
        let keys = found.iter().flat_map(|(record, _)| record.opened.examine(&asked, items));
        Ok(keys.map(|(_, key)| key).collect())
    }

    /// What a record points at by a parameter.
    pub(super) fn links(&self, record: &Record, parameter: &Compiled) -> Vec<Key> {
        record
            .opened
            .examine(&(parameter, self.keys.as_ref(), &self.app.base), |plain, (parameter, keys, base)| {
                links(plain, parameter, keys, base)
            })
    }

    /// Whether a record meets a filter, by itself or by what it is linked with.
    pub(super) fn meets<'f>(
        &'f self,
        record: &'f Record,
        filter: &'f Filter,
    ) -> BoxFuture<'f, Result<bool, Failure>> {
        Box::pin(async move {
            let asked = (filter, &self.app.base);
            let decided = record.opened.examine(&asked, |plain, (filter, base)| {
                // A resource of ours parses; if it does not, it meets nothing.
                let Ok(resource) = serde_json::from_slice::<Value>(&plain.json) else { return Some(false) };
                filter.holds(&resource, base)
            });
            if let Some(held) = decided {
                return Ok(held);
            }
            match filter {
                Filter::Values(_) | Filter::Missing(..) => Ok(false),
                Filter::All(all) => {
                    for one in all {
                        if !self.meets(record, one).await? {
                            return Ok(false);
                        }
                    }
                    Ok(true)
                }
                Filter::Any(any) => {
                    for one in any {
                        if self.meets(record, one).await? {
                            return Ok(true);
                        }
                    }
                    Ok(false)
                }
                Filter::Not(one) => Ok(!self.meets(record, one).await?),
                Filter::Chain(chain) => self.chain(record, chain).await,
                Filter::Has(has) => self.has(record, has).await,
            }
        })
    }

    async fn chain(&self, record: &Record, chain: &Chain) -> Result<bool, Failure> {
        for target in self.links(record, &chain.parameter) {
            let Some((_, filter)) = chain.links.iter().find(|(kind, _)| *kind == target.0) else { continue };
            let place = (Arc::as_ptr(filter).addr(), target);
            let known = self.met.lock().ok().and_then(|met| met.get(&place).copied());
            let met = match known {
                Some(met) => met,
                None => match self.fetch(vec![target]).await?.pop() {
                    Some((found, _)) => self.meets(&found, filter).await?,
                    None => false,
                },
            };
            if let Ok(mut all) = self.met.lock() {
                all.insert(place, met);
            }
            if met {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn has(&self, record: &Record, has: &Has) -> Result<bool, Failure> {
        let query = Query::of(has.source, vec![(*has.filter).clone()], &self.app.base);
        let target = (record.at.kind, record.at.key);
        let pointing = Pointing::at(Arc::clone(&has.parameter), [target]);
        let found = Hunt::new(self, &query, vec![pointing]).await?.first(1).await?;
        Ok(!found.is_empty())
    }
}

fn items(plain: &Plain, (keys, base, kind): &(&TenantKeys, &BaseUrl, ResourceType)) -> Vec<Key> {
    let resource = serde_json::from_slice::<Value>(&plain.json).unwrap_or_default();
    let entries = resource.get("entry").and_then(Value::as_array).into_iter().flatten();
    let standing = entries.filter(|entry| entry.get("deleted") != Some(&Value::Bool(true)));
    let local = standing.filter_map(|entry| Reference::of(entry.get("item")?, base)?.local());
    local.filter(|(of, _)| of == kind).map(|(of, id)| (of, keys.opaque(of, id.as_str()))).collect()
}

/// The records of this server that a parameter's references point at, by opaque key.
pub(super) fn links(plain: &Plain, parameter: &Compiled, keys: &TenantKeys, base: &BaseUrl) -> Vec<Key> {
    let Ok(resource) = serde_json::from_slice::<Value>(&plain.json) else { return Vec::new() };
    let found = targets(parameter, &resource, base);
    found.into_iter().map(|(kind, id)| (kind, keys.opaque(kind, id.as_str()))).collect()
}
