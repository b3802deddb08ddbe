//! The reindex itself: announced, then batch by batch.

use std::sync::Arc;

use uuid::Uuid;

use super::take_up::{Held, Which, code, hold, place};
use crate::{
    app::App,
    config::References,
    fhir::{
        kinds::ResourceType,
        outcome::{IssueCode, Problem},
        search::{
            InForce, Stage,
            added::{ADDED_MAX, Definition, compile_all, compile_known},
        },
    },
    interaction::{Failure, mark::Marking, open::open_for_marks},
    refusal::Refusal,
    seal::{Plain, blind::list_digest},
    store::{
        NIL,
        reindex::{IndexRow, Passed, Turn},
        search::View,
    },
    tenant::TenantId,
};

/// Records gone over in one transaction.
pub const RECORDS_AT_ONCE: i64 = 250;
/// The most SearchParameter records of a tenant that are looked through for active ones.
pub const LOOKED_THROUGH_MAX: i64 = 5_000;

/// A tenant, and what it does about references.
type Whose = (TenantId, References);

/// Whether a reindex began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begun {
    /// It did.
    Now,
    /// One is running.
    Already,
}

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing is to be done.
    Idle,
    /// A batch was done: so many records of so many.
    Going(i64, i64),
    /// Another server was faster.
    Elsewhere,
}

/// The active definitions of a tenant, which compile together.
///
/// # Errors
/// [`Failure`]: 422 with what is wrong, or when they are more than [`ADDED_MAX`].
pub async fn gather(app: &App, tenant: TenantId) -> Result<Vec<Definition>, Failure> {
    let keys = app.keyring.tenant(tenant)?;
    let view = View { tenant, actor: None, now: app.clock.now() };
    let kind = ResourceType::SEARCH_PARAMETER;
    let (mut ids, mut definitions) = (Vec::new(), Vec::new());
    let (mut after, mut seen) = (NIL, 0);
    while seen <= LOOKED_THROUGH_MAX {
        let rows = app.store.current_of_type(tenant, kind, after, RECORDS_AT_ONCE).await?;
        let Some(last) = rows.last() else { break };
        after = last.at.key;
        seen += i64::try_from(rows.len()).unwrap_or(i64::MAX);
        for row in &rows {
            let Some(opened) = open_for_marks(app, &keys, &view, row).await? else { continue };
            let definition = opened.examine(&(), |plain: &Plain, ()| {
                Definition::of(&serde_json::from_slice(&plain.json).unwrap_or_default())
            });
            if let Some(definition) = definition {
                ids.push(opened.id().to_owned());
                definitions.push(definition);
            }
        }
    }
    let too_many = seen > LOOKED_THROUGH_MAX;
    if too_many || definitions.len() > ADDED_MAX {
        let text = format!(
            "A tenant may have {ADDED_MAX} active SearchParameters, and {LOOKED_THROUGH_MAX} in all. Retire or delete some."
        );
        return Err(Refusal::Invalid(vec![Problem::error(IssueCode::TooCostly, text)]).into());
    }
    compile_all(&app.definitions, &definitions).map_err(|problems| {
        let named = problems.into_iter().map(|(at, problem)| {
            let id = ids.get(at).map_or("", String::as_str);
            let inside =
                problem.expression.as_deref().and_then(|at| at.split_once('.')).map_or("", |(_, at)| at);
            let place = format!("SearchParameter/{id}.{inside}");
            problem.at(place)
        });
        Refusal::Invalid(named.collect())
    })?;
    Ok(definitions)
}

/// Announces what will be in force: from here on every write bears its marks.
///
/// If we crash after it, the reindex goes on by itself.
///
/// # Errors
/// [`Failure`] when the database is away.
pub async fn announce(app: &App, whose: Whose, definitions: Vec<Definition>) -> Result<Begun, Failure> {
    let (added, generation) = match hold(app, whose.0).await? {
        Some(held) if held.row.stage != 0 => return Ok(Begun::Already),
        Some(held) => (held.added, held.row.generation),
        None => (Vec::new(), 0),
    };
    let next = Next { generation, added, stage: Stage::TakingIn, other: definitions, gone_over: None };
    Ok(if turn(app, whose, next).await? { Begun::Now } else { Begun::Already })
}

/// What is to be in force, and done, after a generation.
struct Next {
    generation: i64,
    added: Vec<Definition>,
    stage: Stage,
    other: Vec<Definition>,
    /// By which list, and up to where, the records were gone over.
    gone_over: Option<(Vec<u8>, (i16, Uuid))>,
}

async fn turn(app: &App, (tenant, references): Whose, next: Next) -> Result<bool, Failure> {
    let Next { generation, added, stage, other, gone_over } = next;
    let (keys, now) = (app.keyring.tenant(tenant)?, app.clock.now());
    let (compiled, _) = compile_known(&app.definitions, &added);
    let (compiled_other, _) = compile_known(&app.definitions, &other);
    let known = app.r4.with(
        (generation.saturating_add(1), now),
        &app.population,
        &compiled,
        (stage, &compiled_other),
    );
    let sealed = |which, all: &[Definition]| {
        keys.seal_definitions(&place(generation.saturating_add(1), code(stage), which), all)
    };
    let turn = Turn {
        now,
        added: sealed(Which::Added, &added)?,
        stage: code(stage),
        other: sealed(Which::Other, &other)?,
        list: list_digest(&keys, &[&known.listed, known.others()], references),
        total: app.store.count_of_types(tenant, &known.types_to_go_over()).await?,
        digest: (stage != Stage::TakingIn).then(|| list_digest(&keys, &[&known.listed], references)),
        gone_over,
    };
    Ok(app.store.turn_search_index(tenant, generation, turn).await?)
}

/// Does the next batch of a tenant's reindex, if one is running.
///
/// If we crash in it, nothing of the batch has happened; after it, all of it has.
///
/// # Errors
/// [`Failure`] when the database is away or a record does not open.
pub async fn step(app: &App, whose: Whose) -> Result<Step, Failure> {
    let (tenant, references) = whose;
    let Some(held) = hold(app, tenant).await?.filter(|held| held.row.stage != 0) else {
        return Ok(Step::Idle);
    };
    let Held { row, known, .. } = &held;
    let keys = app.keyring.tenant(tenant)?;
    let list = list_digest(&keys, &[&known.listed, known.others()], references);
    if row.list != list {
        return yielded(app, tenant, row, list).await;
    }
    let from = (row.after_type, row.after_key);
    let Some((kind, passed)) = batch(app, whose, known, from, list).await? else {
        return finish(app, whose, held).await;
    };
    let done = row.passed.saturating_add(passed.count);
    tracing::debug!(event = "reindex_step", kind = kind.name(), done);
    let moved = app.store.advance_search_index(tenant, row.generation, passed).await?;
    Ok(if moved { Step::Going(done, row.total.max(done)) } else { Step::Elsewhere })
}

/// What is gone over by another configured list lacks what is on ours. Whoever is at it goes on; if nobody is, it begins anew.
///
/// INVARIANT: two servers whose lists differ do not begin each other's pass anew for ever
/// (`of_two_servers_whose_lists_differ_one_yields`).
async fn yielded(app: &App, tenant: TenantId, row: &IndexRow, list: [u8; 32]) -> Result<Step, Failure> {
    const DIFFERS: &str = "another server reindexes by another search.population or fhir.references than this \
                           one has: give all servers the same";
    if app.store.restart_search_index(tenant, row, list).await? {
        tracing::warn!(event = "reindex_begins_anew", message = DIFFERS);
        return Ok(Step::Going(0, row.total));
    }
    tracing::warn!(event = "reindex_yields", message = DIFFERS);
    Ok(Step::Elsewhere)
}

/// The next records after a place, with the marks they are to bear; `None` when there are none left.
async fn batch(
    app: &App,
    (tenant, references): Whose,
    known: &Arc<InForce>,
    from: (i16, Uuid),
    list: [u8; 32],
) -> Result<Option<(ResourceType, Passed)>, Failure> {
    let keys = app.keyring.tenant(tenant)?;
    let view = View { tenant, actor: None, now: app.clock.now() };
    let marking = Marking { app, keys: &keys, references, known };
    for kind in known.types_to_go_over().into_iter().filter(|kind| kind.code() >= from.0) {
        let after = if kind.code() == from.0 { from.1 } else { NIL };
        let rows = app.store.current_of_type(tenant, kind, after, RECORDS_AT_ONCE).await?;
        let Some(last) = rows.last() else { continue };
        let to = (kind.code(), last.at.key);
        let count = i64::try_from(rows.len()).unwrap_or(i64::MAX);
        let marked = marking.of_rows(&view, &rows).await?;
        return Ok(Some((kind, Passed { from, to, marked, count, list })));
    }
    Ok(None)
}

/// All records were gone over: what was taken in is in force, or what was taken out is gone.
async fn finish(app: &App, whose: Whose, held: Held) -> Result<Step, Failure> {
    let Held { row, added, other, known } = held;
    let (stage, added, other) = match known.stage {
        Stage::TakingIn if known.leaves_marks() => (Stage::TakingOut, other, added),
        Stage::TakingIn => (Stage::Standing, other, Vec::new()),
        Stage::TakingOut | Stage::Standing => (Stage::Standing, added, Vec::new()),
    };
    // Whoever began anew by another list meanwhile has not gone over all of them.
    let gone_over = Some((row.list, (row.after_type, row.after_key)));
    let next = Next { generation: row.generation, added, stage, other, gone_over };
    let passed = row.passed;
    if !turn(app, whose, next).await? {
        return Ok(Step::Elsewhere);
    }
    tracing::info!(event = "reindex_turned", stage = code(stage), passed);
    hold(app, whose.0).await?;
    Ok(Step::Going(passed, passed))
}

/// Takes up what changed, and goes on with whatever reindex is running.
///
/// # Errors
/// [`Failure`] when the database is away or a record does not open: what is left is done by the next call.
pub async fn run_all(app: &App) -> Result<(), Failure> {
    super::renew(app).await?;
    let mut failed = Ok(());
    for tenant in app.store.tenants().await? {
        if app.in_force(tenant.id()).stage == Stage::Standing {
            continue;
        }
        let whose = (tenant.id(), app.integrity.of(&tenant.name));
        // One tenant's trouble is not the next one's: it is told when all have had their turn.
        let ended = loop {
            match step(app, whose).await {
                // Requests have their turns.
                Ok(Step::Going(..)) => tokio::task::yield_now().await,
                Ok(Step::Idle | Step::Elsewhere) => break Ok(()),
                Err(failure) => break Err(failure),
            }
        };
        failed = failed.and(ended);
    }
    failed
}
