//! delete (FHIR R4 http.html#delete): a tombstone over the current version; earlier ones stay in the history.

use super::{Ask, Failure, attempts::Attempts, desk::Desk, forbidden, open::open_permitted};
use crate::{
    answer::Answer,
    app::App,
    fhir::kinds::{LogicalId, ResourceType},
    gate::Act,
    ledger::{Audited, Rejected, Written},
    refusal::{Refusal, Why},
    seal::Opened,
};

/// Deletes a record. Deleting it again is no error and changes nothing.
///
/// # Errors
/// [`Failure`] as every interaction.
pub async fn run(
    app: &App,
    ask: &Ask,
    kind: ResourceType,
    id: &LogicalId,
) -> Result<Audited<Answer>, Failure> {
    app.gate.approach(&ask.caller, Act::Delete, kind).map_err(forbidden)?;
    let mut attempts = Attempts::default();
    loop {
        let mut desk = Desk::open(app, &ask.caller, &mut attempts)?;
        let Some(written) = prepare(app, ask, &mut desk, kind, id).await? else {
            return Ok(app
                .ledger
                .state(&ask.access, custodia_audit::Kind::Write, Answer::empty(204))
                .await?);
        };
        let mut answer = Answer::empty(204);
        answer.version = Some(written.version.number);
        match app.ledger.commit(&ask.access, vec![written], Vec::new(), Opened::from_caller(answer)).await {
            Err(Rejected::Stale(why)) => attempts.again(app, ask.caller.tenant(), why).await?,
            other => return Ok(other?),
        }
    }
}

/// The tombstone, or `None` when there is one already.
pub(super) async fn prepare(
    app: &App,
    ask: &Ask,
    desk: &mut Desk<'_>,
    kind: ResourceType,
    id: &LogicalId,
) -> Result<Option<Written>, Failure> {
    let view = *desk.view();
    let row = desk.current(kind, id).await?.ok_or(Refusal::NotFound(Why::Absent))?;
    let (record, permit) = open_permitted(app, &ask.caller, &view, Act::Delete, row).await?;
    if ask.conditions.if_match.is_some_and(|wanted| i32::try_from(wanted) != Ok(record.at.version)) {
        return Err(Failure::from(Refusal::PreconditionFailed).about(&record.version()));
    }
    if record.at.deleted {
        return Ok(None);
    }
    desk.side().referrers(&record).await.map_err(|failure| failure.about(&record.version()))?;
    Ok(Some(desk.bury(record, permit)?))
}
