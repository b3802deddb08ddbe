//! Media types and conditional headers.

use chrono::{DateTime, NaiveDateTime, Utc};

use super::incoming::{Incoming, Place};
use crate::{
    fhir::{
        bundle::{NoneMatch, parse_etag},
        kinds::ResourceType,
        outcome::IssueCode,
        search::form,
    },
    interaction::{Conditions, patch},
    refusal::Refusal,
};

/// Refuses formats we do not serve or read: 406 and 415.
///
/// # Errors
/// [`Refusal::NotAcceptable`] or [`Refusal::UnsupportedMedia`].
pub fn check(incoming: &Incoming) -> Result<(), Refusal> {
    let json = ["application/fhir+json", "application/json", "text/json"];
    let fhir = !matches!(
        incoming.place,
        Place::Token
            | Place::OpenApi
            | Place::Jwks
            | Place::Log(..)
            | Place::Disclosures(_)
            | Place::ExportStart
            | Place::ExportStatus(_)
            | Place::ExportFile(..)
            | Place::ExportCancel(_)
    );
    if fhir && !wants_content(incoming) && !format_is_json(incoming)? {
        return Err(Refusal::NotAcceptable);
    }
    let sent = incoming.headers.content_type.as_deref().map(essence);
    match incoming.place.body() {
        Some("fhir") if sends_content(incoming).is_some() => Ok(()),
        Some("fhir") if !sent.as_deref().is_some_and(|sent| json.contains(&sent)) => {
            Err(Refusal::UnsupportedMedia)
        }
        Some("patch") if patch_form(incoming).is_none() => Err(Refusal::UnsupportedMedia),
        Some("form") if sent.as_deref() != Some("application/x-www-form-urlencoded") => {
            Err(Refusal::UnsupportedMedia)
        }
        _ => Ok(()),
    }
}

/// Whether a read of a Binary asks for what it holds: unless it asks for FHIR's JSON (FHIR R4 binary.html#rest).
#[must_use]
pub fn wants_content(incoming: &Incoming) -> bool {
    let reads = matches!(
        incoming.place,
        Place::Read(ResourceType::BINARY, _) | Place::Version(ResourceType::BINARY, ..)
    );
    let query = incoming.query.as_deref().unwrap_or_default();
    let accept = incoming.headers.accept.as_deref().unwrap_or("*/*");
    let fhir = accept.split(',').map(essence).any(|one| {
        matches!(
            one.as_str(),
            "application/fhir+json" | "application/fhir+xml" | "text/json" | "application/json"
        )
    });
    reads && !fhir && !query.contains("_format")
}

/// The media type of a Binary that is sent as it is; `None` of everything else.
#[must_use]
pub fn sends_content(incoming: &Incoming) -> Option<&str> {
    let writes = matches!(
        incoming.place,
        Place::Create(ResourceType::BINARY) | Place::Update(ResourceType::BINARY, _)
    );
    let sent = incoming.headers.content_type.as_deref()?;
    let fhir = ["application/fhir+json", "application/fhir+xml", "application/json", "text/json"];
    (writes && !fhir.contains(&essence(sent).as_str())).then_some(sent)
}

/// The form of a patch, by its media type; `None` when it has none that is read.
#[must_use]
pub fn patch_form(incoming: &Incoming) -> Option<patch::Form> {
    match incoming.headers.content_type.as_deref().map(essence).as_deref() {
        Some(patch::JSON_PATCH) => Some(patch::Form::Json),
        Some("application/fhir+json") => Some(patch::Form::Parameters),
        _ => None,
    }
}

/// `_format` decides over Accept (FHIR R4 http.html#parameters).
fn format_is_json(incoming: &Incoming) -> Result<bool, Refusal> {
    let query = incoming.query.as_deref().unwrap_or_default();
    // Most requests have no query; a malformed one is the search's to refuse.
    if query.contains("_format")
        && let Ok(pairs) = form::decode(query.as_bytes())
        && let Some((_, format)) = pairs.iter().find(|(name, _)| name == "_format")
    {
        return Ok(matches!(
            essence(format).as_str(),
            "json" | "application/json" | "text/json" | "application/fhir+json"
        ));
    }
    Ok(incoming.headers.accept.as_deref().is_none_or(accepts_json))
}

fn accepts_json(accept: &str) -> bool {
    accept.split(',').any(|range| {
        let refused = range.split(';').skip(1).any(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            name.trim() == "q" && value.trim().parse::<f32>().is_ok_and(|q| q <= 0.0)
        });
        let range = essence(range);
        !refused
            && matches!(
                range.as_str(),
                "*/*" | "application/*" | "application/fhir+json" | "application/json" | "text/json"
            )
    })
}

/// A media type without its parameters, in lower case.
fn essence(media: &str) -> String {
    media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// The conditional headers.
///
/// # Errors
/// A 400 when one cannot be read: a condition that is silently dropped would let through what it forbids.
pub fn conditions(incoming: &Incoming) -> Result<Conditions, Refusal> {
    let Incoming { headers, place, .. } = incoming;
    let bad = |text: &'static str| Refusal::malformed(IssueCode::Value, text);
    if headers.if_none_exist.is_some() && !matches!(place, Place::Create(_)) {
        return Err(Refusal::malformed(
            IssueCode::Invalid,
            "If-None-Exist: only a create has this condition.",
        ));
    }
    let if_match = match headers.if_match.as_deref() {
        None => None,
        Some(tag) => Some(parse_etag(tag).ok_or_else(|| bad("If-Match: expected an ETag such as W/\"3\"."))?),
    };
    let if_none_match = match headers.if_none_match.as_deref() {
        None => None,
        Some(tag) => Some(
            NoneMatch::parse(tag)
                .ok_or_else(|| bad("If-None-Match: expected * or an ETag such as W/\"3\"."))?,
        ),
    };
    Ok(Conditions {
        if_match,
        if_none_match,
        // A date that cannot be read is to be ignored (RFC 9110 §13.1.3): the client then gets the resource.
        if_modified_since: headers.if_modified_since.as_deref().and_then(http_date),
        if_none_exist: none_exist(incoming)?,
    })
}

/// The condition of a create: in If-None-Exist, or in the URL, where some clients put it. To leave that one out would
/// create what the client did not want twice.
fn none_exist(incoming: &Incoming) -> Result<Option<String>, Refusal> {
    let Incoming { headers, place: Place::Create(_), .. } = incoming else { return Ok(None) };
    // These ask for a form of the answer, and are no conditions.
    let is_form = |name: &str| matches!(name, "_format" | "_pretty" | "_summary" | "_elements");
    let asked = incoming.query.as_deref().unwrap_or_default().split('&');
    let in_url: Vec<&str> = asked
        .filter(|pair| !pair.is_empty() && !is_form(pair.split('=').next().unwrap_or_default()))
        .collect();
    match (headers.if_none_exist.as_deref(), in_url.as_slice()) {
        (header, []) => Ok(header.map(|query| query.trim_start_matches('?').to_owned())),
        (None, pairs) => Ok(Some(pairs.join("&"))),
        (Some(_), _) => {
            let text = "If-None-Exist and parameters in the URL: a create has one condition.";
            Err(Refusal::malformed(IssueCode::Invalid, text))
        }
    }
}

/// An IMF-fixdate (RFC 9110 §5.6.7).
fn http_date(text: &str) -> Option<DateTime<Utc>> {
    NaiveDateTime::parse_from_str(text, "%a, %d %b %Y %H:%M:%S GMT").ok().map(|naive| naive.and_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_headers_that_take_json() {
        let cases = [
            ("application/fhir+json", true),
            ("application/json;q=0.5", true),
            ("text/html, */*;q=0.1", true),
            ("application/fhir+xml, application/fhir+json;q=0.9", true),
            ("Application/FHIR+JSON; fhirVersion=4.0", true),
            ("application/fhir+xml", false),
            ("text/turtle", false),
            ("application/fhir+json;q=0", false),
            ("nonsense", false),
        ];
        for (accept, expected) in cases {
            assert_eq!(accepts_json(accept), expected, "{accept}");
        }
    }

    #[test]
    fn http_dates_are_read() {
        assert!(http_date("Sat, 21 Nov 2026 09:00:00 GMT").is_some());
        assert!(http_date("yesterday").is_none());
    }
}
