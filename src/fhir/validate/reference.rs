//! The form of references, and what they may point at (FHIR R4 references.html).

use serde_json::{Map, Value};

use super::super::definitions::Targets;
use super::super::kinds::{ResourceType, is_logical_id};
use super::report::Place;
use super::{Scope, Standing, Walk, rules};

/// What `Reference.reference` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form<'r> {
    /// `#id`; the id is empty if it means the container.
    Contained(&'r str),
    /// A resource of this type, here or elsewhere.
    Typed(ResourceType),
    /// A `Type?query`, to be resolved in a transaction.
    Conditional(ResourceType),
    /// An address that does not show a type.
    Opaque,
    /// None of these.
    Broken,
}

impl Walk<'_> {
    pub(super) fn reference(
        &mut self,
        at: &Place<'_>,
        object: &Map<String, Value>,
        targets: Targets,
        scope: &Scope<'_>,
    ) {
        let said = object.get("type").and_then(Value::as_str).and_then(ResourceType::from_name);
        let mut pointed = None;
        if let Some(Value::String(text)) = object.get("reference") {
            let at = at.element("reference");
            pointed = match form(text) {
                Form::Typed(kind) => Some(kind),
                Form::Conditional(kind) if scope.standing == Standing::InBundle => Some(kind),
                Form::Opaque | Form::Contained("") => None,
                Form::Contained(id) => {
                    let kind = scope.contained.get(id).copied();
                    if kind.is_none() {
                        self.report.breach(rules::REFERENCE_CONTAINED, &at);
                    }
                    kind
                }
                Form::Broken | Form::Conditional(_) => {
                    self.report.breach(rules::REFERENCE_FORM, &at);
                    None
                }
            };
        }
        if pointed.is_some_and(|pointed| said.is_some_and(|said| said != pointed)) {
            self.report.breach(rules::REFERENCE_TYPE, &at.element("type"));
        }
        if pointed.or(said).is_some_and(|kind| !targets.allow(kind)) {
            self.report.breach(rules::REFERENCE_TARGET, at);
        }
    }
}

fn form(text: &str) -> Form<'_> {
    if let Some(id) = text.strip_prefix('#') {
        return if id.is_empty() || is_logical_id(id) { Form::Contained(id) } else { Form::Broken };
    }
    if text.contains(char::is_whitespace) {
        return Form::Broken;
    }
    if let Some((scheme, rest)) = text.split_once(':')
        && is_scheme(scheme)
    {
        return absolute(scheme, rest);
    }
    if let Some((kind, _)) = text.split_once('?') {
        return ResourceType::from_name(kind).map_or(Form::Broken, Form::Conditional);
    }
    let mut segments = text.split('/');
    let kind = tail_kind(&mut segments);
    match kind {
        Some(kind) if segments.next().is_none() => Form::Typed(kind),
        _ => Form::Broken,
    }
}

fn is_scheme(text: &str) -> bool {
    text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'.' | b'-'))
}

fn absolute<'r>(scheme: &str, rest: &'r str) -> Form<'r> {
    if scheme.eq_ignore_ascii_case("urn") {
        let known = rest.strip_prefix("uuid:").is_some_and(is_uuid)
            || rest
                .strip_prefix("oid:")
                .is_some_and(|oid| oid.bytes().all(|b| b.is_ascii_digit() || b == b'.'));
        let other = !rest.starts_with("uuid:") && !rest.starts_with("oid:") && rest.contains(':');
        return if known || other { Form::Opaque } else { Form::Broken };
    }
    let Some(path) = rest.strip_prefix("//") else {
        return if rest.is_empty() { Form::Broken } else { Form::Opaque };
    };
    // Type/id or Type/id/_history/version at the end, the server's base before it.
    let segments: Vec<&str> = path.rsplitn(5, '/').collect();
    let kind = match segments.as_slice() {
        [version, "_history", id, kind, _] if is_logical_id(version) && is_logical_id(id) => Some(*kind),
        [id, kind, _, ..] if is_logical_id(id) => Some(*kind),
        _ => None,
    };
    kind.and_then(ResourceType::from_name).map_or(Form::Opaque, Form::Typed)
}

/// Reads `Type/id` or `Type/id/_history/version`.
fn tail_kind<'r>(segments: &mut impl Iterator<Item = &'r str>) -> Option<ResourceType> {
    let kind = ResourceType::from_name(segments.next()?)?;
    let id = segments.next()?;
    let versioned = match segments.next() {
        None => true,
        Some("_history") => segments.next().is_some_and(is_logical_id),
        Some(_) => false,
    };
    (is_logical_id(id) && versioned).then_some(kind)
}

/// The 36 characters of a UUID, in either case (RFC 4122 §3).
fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().zip(0..).all(|(byte, place)| match place {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_by_their_form() {
        let patient = Form::Typed(ResourceType::PATIENT);
        for (text, expected) in [
            ("Patient/1", patient),
            ("Patient/1/_history/2", patient),
            ("https://a.b/fhir/Patient/1", patient),
            ("http://a.b/Patient/1/_history/2", patient),
            ("Patient?identifier=x|y", Form::Conditional(ResourceType::PATIENT)),
            ("#", Form::Contained("")),
            ("#p1", Form::Contained("p1")),
            ("http://a.b/Citation/1", Form::Opaque),
            ("http://a.b/c", Form::Opaque),
            ("http://Patient/1", Form::Opaque),
            ("urn:uuid:C757873d-ec9a-4326-a141-556f43239520", Form::Opaque),
            ("urn:oid:1.2.3", Form::Opaque),
            ("mailto:x", Form::Opaque),
        ] {
            assert_eq!(form(text), expected, "{text}");
        }
        for text in [
            "",
            "1",
            "Patient",
            "Patient/",
            "Patient/a_b",
            "patient/1",
            "/Patient/1",
            "Patient/1/",
            "Patient/1/2",
            "Patient/1/_history",
            "Patient/1/_history/",
            "Patient/1/_history/2/3",
            "Human/1",
            "# x",
            "#a b",
            "a b",
            "urn:uuid:1",
            "urn:oid:x",
            "urn:",
            "Human?x=y",
            "http:",
            "../Patient/1",
            "Patient /1",
        ] {
            assert_eq!(form(text), Form::Broken, "{text}");
        }
    }
}
