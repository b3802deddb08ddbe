//! Making blind marks anew, when the list they are made by has changed.
//!
//! Runs at start, before the doors open: a search by a list that the stored marks were not made by would miss records
//! and not say so. Nothing is disclosed: marks are worked out of records and stored beside them.

use serde_json::Value;

use super::{ATTEMPTS_MAX, Failure, integrity::referrer_marks, open::open_for_marks, reindex};
use crate::{
    app::App,
    config::References,
    fhir::{
        kinds::ResourceType,
        search::{Compiled, InForce, Mark},
    },
    refusal::Refusal,
    seal::{
        BlindMark, Plain, TenantKeys,
        blind::{list_begun, list_digest},
    },
    store::{
        Row,
        mark::{Remarked, SearchList},
        search::View,
        write::Place,
    },
    tenant::TenantId,
};

/// Records marked in one transaction.
const AT_ONCE: i64 = 1_000;

/// Makes a tenant's marks anew unless they were made by the list in force; how many records were looked at.
///
/// If we crash here, it is noted down that marks were being made, and the next start begins again, whatever its list. If the
/// tenant's search parameters change meanwhile, it begins again by itself.
///
/// # Errors
/// [`Failure`] when the database is away, the parameters keep changing, or another server makes marks by another list.
pub async fn make_anew(app: &App, tenant: TenantId, references: References) -> Result<u64, Failure> {
    for _ in 0..ATTEMPTS_MAX {
        if let Some(seen) = pass(app, tenant, references).await? {
            return Ok(seen);
        }
        reindex::renew(app).await?;
    }
    Err(Refusal::Internal.into())
}

/// One pass over a tenant's records; `None` if its search parameters have changed meanwhile.
async fn pass(app: &App, tenant: TenantId, references: References) -> Result<Option<u64>, Failure> {
    let (keys, known) = (app.keyring.tenant(tenant)?, app.in_force(tenant));
    let made = list_digest(&keys, &[&known.listed], references);
    if app.store.search_list(tenant).await?.as_deref() == Some(&made) {
        return Ok(Some(0));
    }
    // INVARIANT: marks of two lists are never taken for those of one
    // (`marks_that_were_half_made_by_another_list_are_made_anew`).
    let list = SearchList { begun: list_begun(made), made };
    app.store.begin_search_list(tenant, list).await?;
    let view = View { tenant, actor: None, now: app.clock.now() };
    let marking = Marking { app, keys: &keys, references, known: &known };
    let (mut after, mut seen) = (None, 0_u64);
    loop {
        let rows = app.store.current_after(tenant, after, AT_ONCE).await?;
        after = rows.last().map(|row| (row.at.kind, row.at.key)).or(after);
        seen = seen.saturating_add(u64::try_from(rows.len()).unwrap_or(u64::MAX));
        let marked = marking.of_rows(&view, &rows).await?;
        match app.store.remark((tenant, known.generation), list, marked).await? {
            Remarked::Done => {}
            Remarked::OtherParameters => return Ok(None),
            Remarked::OtherList => return Err(other_list()),
        }
        if rows.is_empty() {
            break;
        }
    }
    if !app.store.end_search_list(tenant, list).await? {
        return Err(other_list());
    }
    Ok(Some(seen))
}

fn other_list() -> Failure {
    tracing::error!(
        event = "marks_made_by_another_list",
        message = "another server makes marks by another search.population or fhir.references: give all servers the same"
    );
    Refusal::Internal.into()
}

fn of_plain(plain: &Plain, (marking, kind): &(&Marking<'_>, ResourceType)) -> Vec<BlindMark> {
    let Ok(resource) = serde_json::from_slice::<Value>(&plain.json) else { return Vec::new() };
    marking.of(*kind, &resource)
}

/// What marks are made with.
pub(super) struct Marking<'a> {
    pub(super) app: &'a App,
    pub(super) keys: &'a TenantKeys,
    pub(super) references: References,
    pub(super) known: &'a InForce,
}

impl Marking<'_> {
    /// The blind marks of the records in these rows. One whose keys are gone is left out, and so is one that does not open: it
    /// keeps the marks it has, and must not keep all others from theirs.
    pub(super) async fn of_rows(
        &self,
        view: &View,
        rows: &[Row],
    ) -> Result<Vec<(Place, i32, Vec<BlindMark>)>, Failure> {
        let mut marked = Vec::with_capacity(rows.len());
        for row in rows {
            let opened = match open_for_marks(self.app, self.keys, view, row).await {
                Ok(Some(opened)) => opened,
                Ok(None) => continue,
                Err(Failure::Refused(Refusal::Integrity, _)) => {
                    tracing::error!(
                        event = "record_not_marked",
                        kind = row.at.kind.name(),
                        entry = row.entry
                    );
                    continue;
                }
                Err(other) => return Err(other),
            };
            let its = opened.examine(&(self, row.at.kind), of_plain);
            marked.push(((view.tenant.0, row.at.kind.code(), row.at.key), row.at.version, its));
        }
        Ok(marked)
    }

    /// The blind marks of a resource, each once.
    pub(super) fn of(&self, kind: ResourceType, resource: &Value) -> Vec<BlindMark> {
        let Self { app, keys, references, known } = self;
        let mut found = Vec::new();
        let mut visit = |parameter: &Compiled, mark: Mark<'_>| found.push(keys.mark(parameter, &mark));
        known.marks(kind, resource, &app.base, &mut visit);
        if *references == References::Enforce {
            found.extend(referrer_marks(keys, &app.base, resource));
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}
