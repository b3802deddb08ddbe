//! Taking up what the database says is in force.

use std::{collections::HashMap, sync::Arc};

use crate::{
    app::App,
    fhir::search::{
        InForce, Stage,
        added::{Definition, compile_known},
    },
    interaction::Failure,
    refusal::Refusal,
    seal::TenantKeys,
    store::reindex::IndexRow,
    tenant::TenantId,
};

/// A tenant's row, opened.
pub(super) struct Held {
    pub(super) row: IndexRow,
    pub(super) added: Vec<Definition>,
    pub(super) other: Vec<Definition>,
    pub(super) known: Arc<InForce>,
}

/// Which of a row's definitions a seal holds.
#[derive(Clone, Copy)]
pub(super) enum Which {
    Added,
    Other,
}

/// What seals are bound to: the generation, the stage, and which of the two it is.
pub(super) fn place(generation: i64, stage: i16, which: Which) -> [u8; 11] {
    let mut out = [0; 11];
    let which = match which {
        Which::Added => 1,
        Which::Other => 2,
    };
    let bytes = generation.to_be_bytes().into_iter().chain(stage.to_be_bytes()).chain([which]);
    out.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
    out
}

/// The stage as the database has it.
pub(super) const fn code(stage: Stage) -> i16 {
    match stage {
        Stage::Standing => 0,
        Stage::TakingIn => 1,
        Stage::TakingOut => 2,
    }
}

/// Reads a tenant's row, and takes up what it says; `None` if there never was one.
pub(super) async fn hold(app: &App, tenant: TenantId) -> Result<Option<Held>, Failure> {
    let Some(row) = app.store.search_index(tenant).await? else { return Ok(None) };
    let keys = app.keyring.tenant(tenant)?;
    let (added, other) = (open(&keys, &row, Which::Added)?, open(&keys, &row, Which::Other)?);
    let held = app.in_force(tenant);
    let known = if held.generation == row.generation {
        held
    } else {
        let known = Arc::new(compiled(app, &row, &added, &other)?);
        let put = |all: &Arc<HashMap<TenantId, Arc<InForce>>>| {
            let mut all = HashMap::clone(all);
            // Whoever read the row earlier and comes later does not put the older one back.
            let newer = all.get(&tenant).is_none_or(|held| held.generation < known.generation);
            if newer {
                all.insert(tenant, Arc::clone(&known));
            }
            all
        };
        app.tenants.rcu(put);
        known
    };
    Ok(Some(Held { row, added, other, known }))
}

fn open(keys: &TenantKeys, row: &IndexRow, which: Which) -> Result<Vec<Definition>, Failure> {
    let sealed = match which {
        Which::Added => &row.added,
        Which::Other => &row.other,
    };
    let opened = keys.open_definitions(&place(row.generation, row.stage, which), sealed);
    opened.map_err(|_| Refusal::Integrity.into())
}

fn compiled(
    app: &App,
    row: &IndexRow,
    added: &[Definition],
    other: &[Definition],
) -> Result<InForce, Failure> {
    let stage = match row.stage {
        0 => Stage::Standing,
        1 => Stage::TakingIn,
        2 => Stage::TakingOut,
        _ => return Err(Refusal::Integrity.into()),
    };
    let (added, left) = compile_known(&app.definitions, added);
    let (other, left_of_other) = compile_known(&app.definitions, other);
    if left + left_of_other > 0 {
        tracing::error!(event = "search_parameters_left_out", count = left + left_of_other);
    }
    Ok(app.r4.with((row.generation, row.changed), &app.population, &added, (stage, &other)))
}

/// What searches and writes of a tenant go by now, as the database has it.
///
/// # Errors
/// [`Failure`] when the database is away, or the row does not open.
pub async fn take_up(app: &App, tenant: TenantId) -> Result<Arc<InForce>, Failure> {
    Ok(hold(app, tenant).await?.map_or_else(|| Arc::clone(&app.r4), |held| held.known))
}

/// Takes up what changed for any tenant.
///
/// # Errors
/// [`Failure`] when the database is away, or a row does not open.
pub async fn renew(app: &App) -> Result<(), Failure> {
    let admitted = app.keyring.tenants();
    for (tenant, generation) in app.store.search_generations().await? {
        if admitted.contains(&tenant) && app.in_force(tenant).generation != generation {
            take_up(app, tenant).await?;
        }
    }
    Ok(())
}

/// Whether what a search went by was in force to its end. If not, what is now has been taken up.
///
/// Marks of added parameters are taken away only by writes and steps that come after a turn: a search that saw none of those
/// missed nothing.
pub(in crate::interaction) async fn settled(
    app: &App,
    tenant: TenantId,
    known: &InForce,
) -> Result<bool, Failure> {
    if !known.has_added() || app.store.search_generation(tenant).await? == known.generation {
        return Ok(true);
    }
    take_up(app, tenant).await?;
    Ok(false)
}
