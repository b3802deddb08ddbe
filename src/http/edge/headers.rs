//! Which headers pass the edge, in and out.
//!
//! May import nothing of the house but `http::dispatch`.

use hyper::{
    HeaderMap, Version,
    header::{self, HeaderName, HeaderValue},
};

use crate::http::dispatch::EdgeFault;

/// Hop by hop (RFC 9110 §7.6.1), or a claim about the peer or the method that a client must not make.
const STRIPPED: [&str; 16] = [
    "connection",
    "expect",
    "forwarded",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-url",
    "x-real-ip",
    "x-rewrite-url",
];

/// Headers of an answer that the edge sets itself, or that tell more than they should.
const WITHHELD: [&str; 9] = [
    "connection",
    "content-length",
    "keep-alive",
    "permissions-policy",
    "server",
    "strict-transport-security",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Headers that two readers would read differently if they came twice.
const ONCE: [HeaderName; 3] = [header::AUTHORIZATION, header::CONTENT_TYPE, header::HOST];

/// Whether a request's header stays at the edge.
pub(in crate::http) fn is_stripped(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.starts_with("x-forwarded-") || STRIPPED.binary_search(&name).is_ok()
}

/// Whether an answer's header stays inside.
pub(in crate::http) fn is_withheld(name: &HeaderName) -> bool {
    WITHHELD.binary_search(&name.as_str()).is_ok()
}

/// Checks that every header value is UTF-8 and that those come once that must.
pub(in crate::http) fn check(headers: &HeaderMap, version: Version) -> Result<(), EdgeFault> {
    if headers.values().any(|value| std::str::from_utf8(value.as_bytes()).is_err()) {
        return Err(EdgeFault::BadHeader);
    }
    if ONCE.iter().any(|name| headers.get_all(name).iter().nth(1).is_some()) {
        return Err(EdgeFault::BadHeader);
    }
    if version == Version::HTTP_11 && !headers.contains_key(header::HOST) {
        return Err(EdgeFault::BadHeader);
    }
    Ok(())
}

/// Adds what every answer carries.
pub(super) fn secure(headers: &mut HeaderMap, tls: bool) {
    if tls {
        headers.insert(
            header::STRICT_TRANSPORT_SECURITY,
            HeaderValue::from_static("max-age=63072000; includeSubDomains"),
        );
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.entry(header::REFERRER_POLICY).or_insert(HeaderValue::from_static("no-referrer"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_sorted_for_their_search() {
        assert!(STRIPPED.is_sorted());
        assert!(WITHHELD.is_sorted());
    }

    #[test]
    fn claims_about_the_peer_are_stripped() {
        for name in
            ["x-real-ip", "x-forwarded-for", "x-forwarded-proto", "forwarded", "x-http-method-override"]
        {
            assert!(is_stripped(&HeaderName::from_static(name)), "{name}");
        }
        for name in ["accept", "authorization", "if-match", "prefer", "x-request-id", "content-type", "dpop"]
        {
            assert!(!is_stripped(&HeaderName::from_static(name)), "{name}");
        }
    }
}
