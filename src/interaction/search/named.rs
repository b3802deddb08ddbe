//! The patients whom a search names, so that a question about one is in her log when it found nothing of hers.
//!
//! Nobody is looked up unless a patient is named and nothing about her was released. How long that takes, what is answered and
//! how many entries it leaves is the same whether there is such a patient or not.

use std::collections::HashSet;

use futures_util::future::try_join_all;
use uuid::Uuid;

use super::{Failure, Query, Released, follow::Scout};
use crate::{
    fhir::kinds::{LogicalId, ResourceType},
    ledger::Named,
};

/// The most patients of one question whose logs are kept this way.
pub const NAMED_MAX: usize = 100;

/// Whom the queries name and nothing that is released is about.
pub(super) async fn left_out(
    scout: &Scout<'_>,
    queries: &[Query],
    released: &[Released],
) -> Result<Vec<Named>, Failure> {
    let mut ids: Vec<LogicalId> = Vec::new();
    for query in queries {
        let candidates = query.candidates();
        ids.extend(candidates.patients.into_iter().flatten());
        if query.kind == ResourceType::PATIENT {
            ids.extend(candidates.ids.into_iter().flatten());
        }
    }
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let concerned: HashSet<Uuid> =
        released.iter().flat_map(|one| &one.version.patients).map(|(key, _)| *key).collect();
    let mut seen = HashSet::new();
    let open = ids.into_iter().filter_map(|id| {
        let key = scout.keys.opaque(ResourceType::PATIENT, id.as_str());
        (!concerned.contains(&key) && seen.insert(key)).then_some((key, id))
    });
    let (view, fetcher) = (&scout.view, scout.app.store.fetcher());
    try_join_all(open.take(NAMED_MAX).map(async |(key, id)| {
        let row = fetcher.record(view.tenant, ResourceType::PATIENT, key, view.actor, view.now).await?;
        Ok(Named { key, id: id.as_str().to_owned(), is_here: row.is_some() })
    }))
    .await
}
