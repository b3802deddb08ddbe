//! The OpenAPI document of every route that is not FHIR's, from the table of routes.
//!
//! OpenAPI 3.1. FHIR's routes have a document of their own: `GET /fhir/metadata`.

use rocket::http::Method;
use serde_json::{Map, Value, json};

use super::mount::ROUTES;

/// What a route is for. Every route of the table that is not FHIR's has one (test below).
const SUMMARIES: [(Method, &str, &str); 15] = [
    (Method::Get, "/openapi.json", "This document."),
    (Method::Post, "/auth/token", "An access token (OAuth 2.0): password, client_credentials."),
    (Method::Get, "/auth/jwks", "The keys that access tokens are signed with (RFC 7517)."),
    (Method::Get, "/audit/checkpoint", "The signed checkpoint of the log (C2SP tlog-checkpoint)."),
    (Method::Get, "/audit/entries/<index>", "One entry of the log, as its proof covers it."),
    (Method::Get, "/audit/entries/<index>/proof", "The proof that an entry is in the log (C2SP tlog-proof)."),
    (Method::Get, "/audit/tile/<path..>", "A tile of hashes, or a bundle of entries (C2SP tlog-tiles)."),
    (Method::Get, "/audit/disclosures/<patient>", "To whom a patient's records were disclosed."),
    (Method::Post, "/audit/exports", "Starts an export of the log."),
    (Method::Get, "/audit/exports/<id>", "How an export of the log is getting on."),
    (Method::Delete, "/audit/exports/<id>", "Cancels an export of the log."),
    (Method::Get, "/audit/exports/<id>/<name>", "A file of an export of the log."),
    (Method::Get, "/audit/log/<path..>", "The log as its static files: checkpoint, tiles and entry bundles."),
    (
        Method::Get,
        "/audit/shards/<shard>/<path..>",
        "The same of one of several logs: checkpoint, entries, tile, log.",
    ),
    (Method::Head, "/openapi.json", "The headers of this document."),
];
/// Routes that ask for no credential.
const OPEN: [&str; 3] = ["/openapi.json", "/auth/token", "/auth/jwks"];

/// The document; `root` is the server's URL without a path.
#[must_use]
pub fn document(root: &str) -> Value {
    let mut paths = Map::new();
    for (method, route) in ROUTES.iter().filter(|(_, route)| !route.starts_with("/fhir")) {
        let (path, names) = template(route);
        let operations = paths.entry(path).or_insert_with(|| json!({}));
        if let Some(operations) = operations.as_object_mut() {
            operations.insert(method.as_str().to_ascii_lowercase(), operation(*method, route, &names));
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Custodia, besides FHIR",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "FHIR's own routes are described by GET /fhir/metadata."
        },
        "servers": [{ "url": root }],
        "paths": paths,
        "components": { "securitySchemes": {
            "token": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT" },
            "certificate": { "type": "mutualTLS" }
        } }
    })
}

/// `/a/<b..>` as `/a/{b}`, with the names of its parameters.
fn template(route: &str) -> (String, Vec<String>) {
    let mut names = Vec::new();
    let segments: Vec<String> = route
        .split('/')
        .map(|segment| match segment.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')) {
            None => segment.to_owned(),
            Some(name) => {
                let name = name.trim_end_matches("..").to_owned();
                names.push(name.clone());
                format!("{{{name}}}")
            }
        })
        .collect();
    (segments.join("/"), names)
}

fn operation(method: Method, route: &str, names: &[String]) -> Value {
    let summary = SUMMARIES.iter().find(|(of, path, _)| *of == method && *path == route);
    let parameters: Vec<Value> = names
        .iter()
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
        .collect();
    let security =
        if OPEN.contains(&route) { json!([]) } else { json!([{ "token": [] }, { "certificate": [] }]) };
    json!({
        "summary": summary.map_or("", |(_, _, text)| *text),
        "parameters": parameters,
        "security": security,
        "responses": {
            "2XX": {
                "description": "Done.",
                "headers": { "Custodia-Receipt": {
                    "description": "Where the entry of this answer stands in the log.",
                    "schema": { "type": "string" }
                } }
            },
            "default": {
                "description": "Refused. An OperationOutcome, or an OAuth error at the token endpoint.",
                "content": { "application/fhir+json": {} }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;

    #[test]
    fn every_route_that_is_not_fhirs_is_described_and_no_other() {
        let mut routes: Vec<(Method, &str)> =
            ROUTES.iter().copied().filter(|(_, route)| !route.starts_with("/fhir")).collect();
        let mut described: Vec<(Method, &str)> =
            SUMMARIES.iter().map(|(method, path, _)| (*method, *path)).collect();
        routes.sort_unstable_by_key(|(method, path)| (method.as_str(), *path));
        described.sort_unstable_by_key(|(method, path)| (method.as_str(), *path));
        assert_eq!(described, routes);
        let document = document("https://records.example");
        let paths = document["paths"].as_object().unwrap();
        let operations: usize = paths.values().map(|one| one.as_object().unwrap().len()).sum();
        assert_eq!(operations, routes.len());
        let proof = &paths["/audit/entries/{index}/proof"]["get"];
        assert_eq!(proof["parameters"][0]["name"], "index");
        assert!(paths.contains_key("/audit/tile/{path}"));
        for (path, one) in paths {
            for operation in one.as_object().unwrap().values() {
                assert!(!operation["summary"].as_str().unwrap().is_empty(), "{path}");
                assert_eq!(operation["security"] == json!([]), OPEN.contains(&path.as_str()), "{path}");
            }
        }
    }
}
