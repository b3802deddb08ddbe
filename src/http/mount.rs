//! Every route, and the one way through: identity, interaction, ledger, wire.
//!
//! The only place that makes routes (`.clippy.toml` bans `Route::new` elsewhere, `tests/tidy.rs` the macros). A
//! handler returns [`Audited`](crate::ledger::Audited) or nothing; whatever is not stamped leaves empty. The edge runs
//! each request in a task of its own, so a client that hangs up does not cancel a commit.

use std::sync::Arc;

use rocket::{
    Build, Catcher, Data, Request, Rocket, Route,
    fairing::AdHoc,
    http::{Method, Status},
    route::{Handler, Outcome},
};

use super::{
    incoming::{Incoming, Place},
    respond::{BodyForm, Stamp, down, is_stamped, respond},
    serve,
};
use crate::app::App;

/// The largest body that is read (16 MiB); the edge has bounded it before.
pub const BODY_MIB_MAX: u64 = 16;

/// Where a route leads. Segments are read from the path by [`Place::parse`], so that one table serves both the
/// router and the tests that demand cases for every route.
pub const ROUTES: [(Method, &str); 62] = [
    (Method::Get, "/fhir/metadata"),
    (Method::Get, "/fhir/.well-known/smart-configuration"),
    (Method::Post, "/fhir"),
    (Method::Get, "/fhir"),
    (Method::Head, "/fhir"),
    (Method::Post, "/fhir/_search"),
    (Method::Get, "/fhir/_history"),
    (Method::Head, "/fhir/_history"),
    (Method::Get, "/fhir/<kind>/_history"),
    (Method::Head, "/fhir/<kind>/_history"),
    (Method::Get, "/fhir/<kind>"),
    (Method::Post, "/fhir/<kind>"),
    (Method::Put, "/fhir/<kind>"),
    (Method::Patch, "/fhir/<kind>"),
    (Method::Delete, "/fhir/<kind>"),
    (Method::Post, "/fhir/<kind>/_search"),
    (Method::Get, "/fhir/<kind>/<id>"),
    (Method::Put, "/fhir/<kind>/<id>"),
    (Method::Patch, "/fhir/<kind>/<id>"),
    (Method::Delete, "/fhir/<kind>/<id>"),
    (Method::Post, "/fhir/<kind>/$validate"),
    (Method::Post, "/fhir/<kind>/<id>/$validate"),
    (Method::Get, "/fhir/<kind>/$lookup"),
    (Method::Post, "/fhir/<kind>/$lookup"),
    (Method::Get, "/fhir/<kind>/$validate-code"),
    (Method::Post, "/fhir/<kind>/$validate-code"),
    (Method::Get, "/fhir/<kind>/$expand"),
    (Method::Post, "/fhir/<kind>/$expand"),
    (Method::Get, "/fhir/<kind>/$translate"),
    (Method::Post, "/fhir/<kind>/$translate"),
    (Method::Post, "/fhir/<kind>/$reindex"),
    (Method::Get, "/fhir/<kind>/$reindex"),
    (Method::Get, "/fhir/<kind>/<id>/$validate-code"),
    (Method::Get, "/fhir/<kind>/<id>/$expand"),
    (Method::Get, "/fhir/<kind>/<id>/$translate"),
    (Method::Get, "/fhir/<kind>/<id>/$meta"),
    (Method::Post, "/fhir/<kind>/<id>/$meta-add"),
    (Method::Post, "/fhir/<kind>/<id>/$meta-delete"),
    (Method::Get, "/fhir/<kind>/<id>/$everything"),
    (Method::Get, "/fhir/<kind>/<id>/_history"),
    (Method::Get, "/fhir/<kind>/<id>/_history/<version>"),
    (Method::Get, "/fhir/<kind>/<id>/<type>"),
    (Method::Get, "/openapi.json"),
    (Method::Head, "/openapi.json"),
    (Method::Post, "/auth/token"),
    (Method::Get, "/auth/jwks"),
    (Method::Get, "/audit/checkpoint"),
    (Method::Get, "/audit/entries/<index>"),
    (Method::Get, "/audit/entries/<index>/proof"),
    (Method::Get, "/audit/tile/<path..>"),
    (Method::Get, "/audit/disclosures/<patient>"),
    (Method::Post, "/audit/exports"),
    (Method::Get, "/audit/exports/<id>"),
    (Method::Delete, "/audit/exports/<id>"),
    (Method::Get, "/audit/exports/<id>/<name>"),
    (Method::Get, "/audit/log/<path..>"),
    (Method::Get, "/audit/shards/<shard>/<path..>"),
    (Method::Head, "/fhir/metadata"),
    (Method::Head, "/fhir/<kind>"),
    (Method::Head, "/fhir/<kind>/<id>"),
    (Method::Head, "/fhir/<kind>/<id>/_history"),
    (Method::Head, "/fhir/<kind>/<id>/_history/<version>"),
];

/// Rocket with everything mounted, ready for the dispatcher.
#[must_use]
pub fn rocket(app: Arc<App>) -> Rocket<Build> {
    let routes: Vec<Route> =
        ROUTES.iter().enumerate().map(|(rank, (method, path))| route(&app, rank, *method, path)).collect();
    rocket::custom(super::dispatch::rocket_config())
        .mount("/", routes)
        .register("/", vec![Catcher::new(None, Exit(Arc::clone(&app)))])
        .attach(AdHoc::on_response("nothing leaves unstamped", |request, response| {
            Box::pin(async move {
                if !is_stamped(request) {
                    *response = down();
                }
            })
        }))
}

/// Ranks keep the more particular path first where two could match.
#[expect(clippy::disallowed_methods, reason = "the one place that makes routes")]
fn route(app: &Arc<App>, rank: usize, method: Method, path: &str) -> Route {
    let rank = isize::try_from(rank).unwrap_or(isize::MAX);
    Route::ranked(rank, method, path, Door(Arc::clone(app)))
}

/// The handler of every route.
#[derive(Clone)]
struct Door(Arc<App>);

#[rocket::async_trait]
impl Handler for Door {
    async fn handle<'r>(&self, request: &'r Request<'_>, data: Data<'r>) -> Outcome<'r> {
        let incoming = Incoming::read(request, Some(data)).await;
        answer(&self.0, request, incoming).await
    }
}

async fn answer<'r>(app: &Arc<App>, request: &'r Request<'_>, incoming: Incoming) -> Outcome<'r> {
    let form = BodyForm { wanted: request.method() != Method::Head, pretty: incoming.wants_pretty() };
    // The dispatcher gave this request a task of its own, and Rocket turns a panic in here into its catcher's 500,
    // which is recorded. Boxed, so that what Rocket moves about is small.
    let audited = Box::pin(serve::serve(Arc::clone(app), incoming)).await;
    match audited {
        Ok(audited) => Outcome::Success(respond(request, audited, form)),
        Err(_) => {
            Stamp::put(request);
            Outcome::Success(down())
        }
    }
}

/// The default catcher: what no route took, what the edge could not read, and what broke inside. An audited exit
/// like any other.
#[derive(Clone)]
struct Exit(Arc<App>);

#[rocket::async_trait]
impl rocket::catcher::Handler for Exit {
    async fn handle<'r>(&self, status: Status, request: &'r Request<'_>) -> rocket::catcher::Result<'r> {
        let mut incoming = Incoming::read(request, None).await;
        // A path of ours under another method is told so; whatever else no route took stays nowhere.
        if !(status == Status::NotFound && matches!(incoming.place, Place::OtherMethod)) {
            incoming.place = Place::Nowhere(status.code);
        }
        match serve::serve(Arc::clone(&self.0), incoming).await {
            Ok(audited) => Ok(respond(request, audited, BodyForm::PLAIN)),
            Err(_) => {
                Stamp::put(request);
                Ok(down())
            }
        }
    }
}
