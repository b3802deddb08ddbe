//! The patients whom a search names: she finds it in her log, also when it is refused or finds nothing of hers.
//!
//! She is named by her id, wherever in the question it stands: as a reference, as `_id`, behind chains and `_has`, in an
//! expression, as the compartment. By her identifier she is named where a chain led to her. Whether she is there is asked by the
//! ledger alone, with all others whom the request names: what is answered and how many entries it leaves says nothing of that.

use super::{Failure, Found, follow::Scout};
use crate::{
    app::App,
    fhir::{
        kinds::{LogicalId, ResourceType},
        search::{Filter, Handling, Level, Query, Request, Sets, form},
    },
    gate::Act,
    interaction::{Ask, forbidden},
    ledger::{NAMED_MAX, TooMany},
    refusal::Refusal,
};

/// The parameters of a question, after whom they name was noted and the gate has said that the caller may ask at all.
pub(super) fn hear(
    app: &App,
    ask: &Ask,
    kind: ResourceType,
    (query, body): (Option<&str>, Option<&[u8]>),
    compartment: Option<&LogicalId>,
) -> Result<Vec<(String, String)>, Failure> {
    let pairs = form::decode_both(query, body);
    let noted = pairs.as_deref().map_or(Ok(()), |pairs| note(app, ask, kind, pairs, compartment));
    app.gate.approach(&ask.caller, Act::Search, kind).map_err(forbidden)?;
    noted?;
    pairs.map_err(|problem| Refusal::Malformed(vec![problem]).into())
}

/// Whether the gate lets the caller ask for a conditional write at all, after whom its condition names was noted.
pub(in crate::interaction) fn approach(
    app: &App,
    ask: &Ask,
    acts: &[Act],
    (kind, query): (ResourceType, Option<&str>),
) -> Result<(), Failure> {
    let noted = note_all(app, ask, query.map(|query| (kind, query)));
    for act in acts {
        app.gate.approach(&ask.caller, *act, kind).map_err(forbidden)?;
    }
    noted
}

/// Notes whom the questions of a Bundle name, before the first of them is refused.
pub(in crate::interaction) fn note_all<'q>(
    app: &App,
    ask: &Ask,
    questions: impl IntoIterator<Item = (ResourceType, &'q str)>,
) -> Result<(), Failure> {
    for (kind, query) in questions {
        // One that cannot be read is refused when its turn comes.
        if let Ok(pairs) = form::decode(query.as_bytes()) {
            note(app, ask, kind, &pairs, None)?;
        }
    }
    Ok(())
}

/// Notes whom a question names.
pub(super) fn note(
    app: &App,
    ask: &Ask,
    kind: ResourceType,
    pairs: &[(String, String)],
    compartment: Option<&LogicalId>,
) -> Result<(), Failure> {
    let view = ask.view(app);
    let in_force = app.in_force(view.tenant);
    let sets = Sets::blank();
    let request = Request {
        kind,
        level: Level::Type,
        searches: &in_force.searches,
        sets: &sets,
        base: &app.base,
        handling: Handling::Lenient,
        now: view.now,
    };
    let mut named = Query::named(request, pairs);
    named.extend(compartment.cloned());
    if named.is_empty() {
        return Ok(());
    }
    let keys = app.keyring.tenant(view.tenant)?;
    let opaque = |id: LogicalId| (keys.opaque(ResourceType::PATIENT, id.as_str()), id.as_str().to_owned());
    ask.access.named.add(named.into_iter().map(opaque)).map_err(too_many)
}

/// Notes the patients to whom a chain by their identifiers has led.
pub(super) fn note_led(scout: &Scout<'_>, filters: &[Filter], found: &[Found]) -> Result<(), Failure> {
    if !filters.iter().any(Filter::identifies) {
        return Ok(());
    }
    let patients = found.iter().filter(|one| one.record.at.kind == ResourceType::PATIENT);
    let led = patients.map(|one| (one.record.at.key, one.record.opened.id().to_owned()));
    scout.ask.access.named.add(led).map_err(too_many)
}

fn too_many(_: TooMany) -> Failure {
    let text = format!(
        "The request names more than {NAMED_MAX} patients, and each would have to find it in her log. Ask in parts."
    );
    Refusal::TooCostly(text).into()
}
