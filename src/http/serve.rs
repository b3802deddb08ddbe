//! One request from end to end: who, what, decided, recorded.

use std::sync::Arc;

use super::{
    edge::Door,
    incoming::{Incoming, Place},
    negotiate, openapi,
};
use crate::{
    answer::Answer,
    app::App,
    fhir::{
        kinds::{LogicalId, ResourceType},
        outcome::{IssueCode, Problem},
        search::Handling,
        subset::Subset,
    },
    identity::Caller,
    interaction::{
        Ask, Failure, Return, audit, audit_events, binary, bundle, condition, create, delete, disclosures,
        everything, exports, finish, history, metadata, operations, patch, read, recognise, reindex, search,
        subset, terminology, token, update,
    },
    ledger::{Access, Audited, Down, Names, QUERY_BYTES_MAX},
    refusal::Refusal,
};

/// How much of a search form is looked at for the log, which keeps less.
const FORM_BYTES_KEPT: usize = 2 * QUERY_BYTES_MAX;

/// Serves a request to its recorded end.
///
/// # Errors
/// [`Down`] when nothing could be recorded: the empty 503.
pub async fn serve(app: Arc<App>, incoming: Incoming) -> Result<Audited<Answer>, Down> {
    let query = asked(&incoming);
    let mut access = Access {
        request: app.clock.ordered_id(),
        caller: None,
        address: incoming.address,
        thumbprint: incoming.thumbprint,
        interaction: incoming.place.interaction(),
        query: Some(Access::cut(&query)),
        named: Names::default(),
    };
    let is_kept = Access::keeps(&query);
    let address = addressed(&incoming.place);
    let result = run(&app, &mut access, incoming, is_kept).await;
    finish(&app, &access, result.map_err(|failure| failure.addressed(&app, &access, address))).await
}

/// What was asked for, in the words of the log: a search by POST has its parameters in the body.
fn asked(incoming: &Incoming) -> String {
    let mut text = incoming.line.clone();
    let mut separator = '?';
    let mut add = |parameters: &str| {
        if !parameters.is_empty() {
            text.push(separator);
            text.push_str(parameters);
            separator = '&';
        }
    };
    add(incoming.query.as_deref().unwrap_or_default());
    if let (Place::Create(_), Some(condition)) = (&incoming.place, &incoming.headers.if_none_exist) {
        add(condition);
    }
    if matches!(incoming.place, Place::SearchForm(_) | Place::SearchSystemForm | Place::ExportStart) {
        // The log keeps no more than its bound; the rest need not be read.
        let kept = incoming.body.get(..FORM_BYTES_KEPT).unwrap_or(&incoming.body);
        add(&String::from_utf8_lossy(kept));
    }
    text
}

async fn run(
    app: &App,
    access: &mut Access,
    mut incoming: Incoming,
    is_kept: bool,
) -> Result<Audited<Answer>, Failure> {
    if let Some(fault) = incoming.fault.or(incoming.body_fault) {
        return Err(fault.refusal().into());
    }
    let place = std::mem::replace(&mut incoming.place, Place::Unknown);
    match place {
        // Five places are for everybody: they tell of the server, not of anybody's record.
        Place::Metadata | Place::SmartConfiguration | Place::OpenApi | Place::Jwks | Place::Token => {
            // Who says who it is learns of its tenant's own search parameters; a credential that does not hold is none.
            if matches!(place, Place::Metadata) {
                access.caller = who(app, &incoming).await.ok();
            }
            incoming.place = place;
            negotiate::check(&incoming)?;
            public(app, access, incoming).await
        }
        Place::Nowhere(500) => Err(Refusal::Internal.into()),
        place => {
            // Who asks is established before anything is said of what was asked for.
            let caller = who(app, &incoming).await?;
            access.caller = Some(Arc::clone(&caller));
            incoming.place = place;
            negotiate::check(&incoming)?;
            if !is_kept {
                return Err(too_long().into());
            }
            let ask = Ask {
                access: access.clone(),
                caller,
                conditions: negotiate::conditions(&incoming)?,
                returning: Return::of_prefer(incoming.headers.prefer.as_deref()),
                handling: Handling::of_prefer(incoming.headers.prefer.as_deref()),
                subset: asked_subset(&incoming)?,
                raw: negotiate::wants_content(&incoming),
                spent: Arc::new(search::Spent::nothing(&app.clock)),
            };
            wrap_content(&mut incoming);
            known(app, &ask, incoming).await
        }
    }
}

/// The record that a path names.
fn addressed(place: &Place) -> Option<(ResourceType, LogicalId)> {
    match place {
        Place::Read(kind, id)
        | Place::Update(kind, id)
        | Place::Patch(kind, id)
        | Place::Delete(kind, id)
        | Place::History(kind, id)
        | Place::Version(kind, id, _)
        | Place::Validate(kind, Some(id))
        | Place::Meta(kind, id)
        | Place::ChangeMeta(kind, id, _)
        | Place::Everything(kind, id) => Some((*kind, id.clone())),
        _ => None,
    }
}

/// Puts raw content into the Binary that it is.
fn wrap_content(incoming: &mut Incoming) {
    let Some(media) = negotiate::sends_content(incoming) else { return };
    let id = match &incoming.place {
        Place::Update(_, id) => Some(id),
        _ => None,
    };
    let context = incoming.headers.security_context.as_deref();
    incoming.body = binary::wrap(media, context, id, &incoming.body).into();
}

/// How much of each resource is asked for, by the query and the form of a search.
fn asked_subset(incoming: &Incoming) -> Result<Subset, Refusal> {
    let has_form = matches!(incoming.place, Place::SearchForm(_) | Place::SearchSystemForm);
    let form = has_form.then_some(incoming.body.as_slice());
    subset(incoming.query.as_deref(), form)
}

/// What the log cannot keep is not answered.
fn too_long() -> Refusal {
    let text =
        format!("The path and query are longer than the {QUERY_BYTES_MAX} bytes an entry of the log keeps.");
    Refusal::Malformed(vec![Problem::error(IssueCode::TooLong, text)])
}

async fn public(app: &App, access: &Access, incoming: Incoming) -> Result<Audited<Answer>, Failure> {
    match incoming.place {
        Place::Metadata => Box::pin(metadata::run(app, access)).await,
        Place::SmartConfiguration => metadata::smart_configuration(app, access).await,
        Place::OpenApi => {
            let root = app.base.as_str().trim_end_matches("/fhir");
            metadata::openapi(app, access, &openapi::document(root)).await
        }
        Place::Jwks => metadata::jwks(app, access).await,
        Place::Token => Box::pin(token::run(app, access, &incoming.body)).await,
        _ => Err(Refusal::NoRoute.into()),
    }
}

async fn known(app: &App, ask: &Ask, incoming: Incoming) -> Result<Audited<Answer>, Failure> {
    let form = negotiate::patch_form(&incoming).unwrap_or(patch::Form::Json);
    let query = incoming.query.as_deref();
    let body = &incoming.body;
    // The large ones are boxed: a read then moves a small future from task to task.
    match incoming.place {
        Place::Bundle => Box::pin(bundle::run(app, ask, body)).await,
        Place::Search(kind) if audit_events::searches_log(app, ask, kind) => {
            Box::pin(audit_events::search(app, ask, query, None)).await
        }
        Place::SearchForm(kind) if audit_events::searches_log(app, ask, kind) => {
            Box::pin(audit_events::search(app, ask, query, Some(body))).await
        }
        Place::Read(kind, id) | Place::Version(kind, id, 1) if audit_events::is_reserved(kind, &id) => {
            Box::pin(audit_events::read(app, ask, &id)).await
        }
        Place::Search(kind) => Box::pin(search::run(app, ask, kind, query, None)).await,
        Place::SearchForm(kind) => Box::pin(search::run(app, ask, kind, query, Some(body))).await,
        Place::SearchSystem => Box::pin(search::of_system(app, ask, query, None)).await,
        Place::SearchSystemForm => Box::pin(search::of_system(app, ask, query, Some(body))).await,
        Place::Create(kind) => Box::pin(create::run(app, ask, kind, body)).await,
        Place::Read(kind, id) => read::run(app, ask, kind, &id).await,
        Place::Update(kind, id) => Box::pin(update::run(app, ask, kind, &id, body)).await,
        Place::Patch(kind, id) => Box::pin(patch::run(app, ask, kind, &id, form, body)).await,
        Place::UpdateWhere(kind) => {
            Box::pin(condition::update(app, ask, kind, query.unwrap_or_default(), body)).await
        }
        Place::PatchWhere(kind) => {
            Box::pin(condition::patch(app, ask, kind, query.unwrap_or_default(), form, body)).await
        }
        Place::DeleteWhere(kind) => {
            Box::pin(condition::delete(app, ask, kind, query.unwrap_or_default())).await
        }
        Place::Delete(kind, id) => Box::pin(delete::run(app, ask, kind, &id)).await,
        Place::History(kind, id) => {
            Box::pin(history::run(app, ask, kind, &id, query.unwrap_or_default())).await
        }
        Place::TypeHistory(kind) => {
            Box::pin(history::of_type(app, ask, kind, query.unwrap_or_default())).await
        }
        Place::SystemHistory => Box::pin(history::of_system(app, ask, query.unwrap_or_default())).await,
        Place::Version(kind, id, version) => Box::pin(read::version(app, ask, kind, &id, version)).await,
        place @ (Place::Compartment(..)
        | Place::Validate(..)
        | Place::Meta(..)
        | Place::ChangeMeta(..)
        | Place::Terminology(..)
        | Place::TerminologyBody(..)
        | Place::Reindex
        | Place::ReindexStatus
        | Place::Everything(..)) => Box::pin(operation(app, ask, place, query, body)).await,
        Place::Disclosures(id) => Box::pin(disclosures::run(app, ask, &id, query)).await,
        Place::ExportStart => Box::pin(exports::kick_off(app, ask, body)).await,
        Place::ExportStatus(id) => exports::status(app, ask, id).await,
        Place::ExportFile(id, name) => exports::file(app, ask, id, &name).await,
        Place::ExportCancel(id) => exports::cancel(app, ask, id).await,
        Place::Log(head, part) => audit::run(app, ask, head, &part).await,
        Place::OtherMethod => Err(Refusal::MethodNotAllowed.into()),
        _ => Err(Refusal::NoRoute.into()),
    }
}

/// Operations, and searches below an instance.
async fn operation(
    app: &App,
    ask: &Ask,
    place: Place,
    query: Option<&str>,
    body: &[u8],
) -> Result<Audited<Answer>, Failure> {
    match place {
        Place::Compartment(patient, kind) => search::in_compartment(app, ask, patient, kind, query).await,
        Place::Validate(kind, id) => {
            operations::validate(app, ask, kind, id.as_ref(), query.unwrap_or_default(), body).await
        }
        Place::Reindex => reindex::kick_off(app, ask).await,
        Place::ReindexStatus => reindex::status(app, ask).await,
        Place::Meta(kind, id) => operations::meta(app, ask, kind, &id).await,
        Place::ChangeMeta(kind, id, change) => {
            operations::change_meta(app, ask, kind, &id, change, body).await
        }
        Place::Everything(kind, id) => everything::run(app, ask, kind, &id, query.unwrap_or_default()).await,
        Place::Terminology(of, kind, id) => {
            terminology::run(app, ask, of, (kind, id.as_ref()), query.unwrap_or_default(), None).await
        }
        Place::TerminologyBody(of, kind) => {
            terminology::run(app, ask, of, (kind, None), query.unwrap_or_default(), Some(body)).await
        }
        _ => Err(Refusal::NoRoute.into()),
    }
}

/// Establishes the caller: at the partner door by certificate, at the portal by bearer token.
async fn who(app: &App, incoming: &Incoming) -> Result<Arc<Caller>, Failure> {
    match incoming.door {
        Door::Partner => {
            let thumbprint =
                incoming.thumbprint.ok_or(Refusal::Unauthenticated("Present a client certificate."))?;
            recognise::certificate(app, thumbprint).await
        }
        Door::Portal => {
            let missing =
                Refusal::Unauthenticated("Send Authorization: Bearer with a token of the token endpoint.");
            let Some(header) = incoming.headers.authorization.as_deref() else { return Err(missing.into()) };
            let Some((scheme, token)) = header.split_once(' ') else { return Err(missing.into()) };
            if !scheme.eq_ignore_ascii_case("bearer") {
                return Err(missing.into());
            }
            recognise::bearer(app, token.trim(), incoming.thumbprint)
        }
    }
}
