//! Search parameters that a tenant adds: taken into effect by a reindex, while reads and writes go on.
//!
//! ```text
//! SearchParameter records --(kick_off: compile all, or 422)--> TakingIn   writes bear the marks of what will be, too
//!          --(step, step, ...: each a batch of records and the place it came to, in one transaction)--> in force
//!          --(step, ...: marks of what is no longer in force are taken away)--> Standing
//! ```
//! The place stands in the database: if a server is killed at any step, whichever server looks next goes on from there.
//! A write says by which generation it was marked, and the ledger's transaction refuses one that is no longer current, so
//! no record slips between. A search by added parameters looks at the generation when it has its matches: if that has risen,
//! it asks again. A server that does neither learns of a turn within two seconds.

mod take_up;
mod work;

use custodia_audit::Kind;
use serde_json::{Value, json};

use super::{Ask, Failure, forbidden};
use crate::{
    answer::Answer,
    app::App,
    fhir::{json::to_bytes, kinds::ResourceType, search::InForce},
    gate::{Act, Facts, Relations},
    ledger::Audited,
    refusal::Refusal,
};

use take_up::{Held, hold};

pub(super) use take_up::settled;
pub use take_up::{renew, take_up};
pub use work::{Begun, LOOKED_THROUGH_MAX, RECORDS_AT_ONCE, Step, announce, gather, run_all, step};

/// `POST [base]/SearchParameter/$reindex`: takes the active definitions as they stand; 202 with where to look how it gets on.
///
/// # Errors
/// [`Failure`] as every interaction; 422 with what cannot be compiled, 409 while one runs.
pub async fn kick_off(app: &App, ask: &Ask) -> Result<Audited<Answer>, Failure> {
    permit(app, ask)?;
    let (tenant, references) = (ask.caller.tenant(), app.integrity.of(ask.caller.tenant_name()));
    let definitions = gather(app, tenant).await?;
    let url = format!("{}/SearchParameter/$reindex", app.base.as_str());
    let answer = Answer::empty(202).with_header("content-location", url);
    // Recorded first: if we crash here, the log tells of a reindex that never began.
    let audited = app.ledger.state(&ask.access, Kind::Config, answer).await?;
    match announce(app, (tenant, references), definitions).await? {
        Begun::Now => {
            app.reindex.notify_one();
            Ok(audited)
        }
        Begun::Already => {
            Err(Refusal::Conflict("A reindex is running. GET this URL tells how it gets on.").into())
        }
    }
}

/// `GET [base]/SearchParameter/$reindex`: 202 with `X-Progress` while it runs, else what is in force.
///
/// # Errors
/// [`Failure`] as every interaction.
pub async fn status(app: &App, ask: &Ask) -> Result<Audited<Answer>, Failure> {
    permit(app, ask)?;
    let answer = match hold(app, ask.caller.tenant()).await? {
        Some(Held { row, .. }) if row.stage != 0 => Answer::empty(202)
            .with_header("x-progress", format!("{} of {} records", row.passed, row.total.max(row.passed)))
            .with_header("retry-after", "2"),
        Some(held) => Answer::fhir(200, to_bytes(&in_force(&held.known))),
        None => Answer::fhir(200, to_bytes(&in_force(&app.r4))),
    };
    Ok(app.ledger.state(&ask.access, Kind::Access, answer).await?)
}

/// Whoever may change the definitions may have them taken into effect.
fn permit(app: &App, ask: &Ask) -> Result<(), Failure> {
    let facts = Facts {
        tenant: ask.caller.tenant(),
        kind: ResourceType::SEARCH_PARAMETER,
        key: uuid::Uuid::nil(),
        about_patient: false,
        relations: Relations::NONE,
        labels: Vec::new(),
    };
    app.gate.permit(&ask.caller, Act::Update, &facts).map(|_| ()).map_err(forbidden)
}

/// What is in force, as Parameters: of each its type, name, kind, and whether it finds records without a patient.
fn in_force(known: &InForce) -> Value {
    let one = |one: &std::sync::Arc<crate::fhir::search::Compiled>| {
        json!({"name": "parameter", "part": [
            {"name": "base", "valueCode": one.of.name()},
            {"name": "code", "valueCode": one.code},
            {"name": "type", "valueCode": one.kind.as_str()},
            {"name": "population", "valueBoolean": known.listed.has(one)},
        ]})
    };
    let mut parameters: Vec<Value> = known.added().map(one).collect();
    if let Some(since) = known.since {
        parameters.insert(0, json!({"name": "since", "valueInstant": crate::fhir::meta::instant(since)}));
    }
    if parameters.is_empty() {
        json!({"resourceType": "Parameters"})
    } else {
        json!({"resourceType": "Parameters", "parameter": parameters})
    }
}
