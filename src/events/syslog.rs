//! AuditEvents as syslog: DICOM audit messages (PS3.15 §A.5) in RFC 5424, as IHE ATNA's repositories take them.
//!
//! FHIR's AuditEvent was made from DICOM's message, so each element has its place there. The octet count before each
//! message is RFC 5425's frame.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::{Place, markup::escape};

/// The most participant objects of one message; further ones are counted, and stand in the log.
pub const OBJECTS_MAX: usize = 200;
/// The facility of security and authorisation messages (RFC 5424 §6.2.1).
const FACILITY: u8 = 10;

/// An AuditEvent in its frame: `<length> <message>`.
#[must_use]
pub fn frame(place: &Place<'_>, event: &Value) -> Vec<u8> {
    let message = message(place, event);
    let mut bytes = message.len().to_string().into_bytes();
    bytes.push(b' ');
    bytes.extend_from_slice(message.as_bytes());
    bytes
}

/// An AuditEvent as a syslog message.
#[must_use]
pub fn message(place: &Place<'_>, event: &Value) -> String {
    let severity = match text(event, "/outcome") {
        "0" => 5,
        "4" => 4,
        _ => 3,
    };
    let priority = FACILITY * 8 + severity;
    let time = text(event, "/recorded");
    // The message's own text is UTF-8 and says so (RFC 5424 §6.4).
    format!("<{priority}>1 {time} {} custodia - DICOM+RFC3881 - \u{feff}{}", host(place), xml(event))
}

/// The host of the log's name: printable ASCII, at most 255 (RFC 5424 §6.2.4).
fn host(place: &Place<'_>) -> String {
    let plain: String = place.host().chars().filter(char::is_ascii_graphic).take(255).collect();
    if plain.is_empty() { "-".to_owned() } else { plain }
}

fn xml(event: &Value) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?><AuditMessage>");
    let attributes = [
        ("EventActionCode", text(event, "/action")),
        ("EventDateTime", text(event, "/recorded")),
        ("EventOutcomeIndicator", text(event, "/outcome")),
    ];
    open(&mut out, "EventIdentification", &attributes);
    out.push('>');
    coded(&mut out, "EventID", part(event, "type"));
    list(event, "/subtype").for_each(|subtype| coded(&mut out, "EventTypeCode", subtype));
    if let Some(said) = event.get("outcomeDesc").and_then(Value::as_str) {
        leaf(&mut out, "EventOutcomeDescription", said);
    }
    list(event, "/purposeOfEvent/0/coding").for_each(|code| coded(&mut out, "PurposeOfUse", code));
    out.push_str("</EventIdentification>");
    list(event, "/agent").for_each(|agent| participant(&mut out, agent));
    let source = [
        ("AuditEnterpriseSiteID", text(event, "/source/site")),
        ("AuditSourceID", name(part(part(event, "source"), "observer"))),
    ];
    open(&mut out, "AuditSourceIdentification", &source);
    out.push('>');
    list(event, "/source/type").for_each(|code| coded(&mut out, "AuditSourceTypeCode", code));
    out.push_str("</AuditSourceIdentification>");
    let entities: Vec<&Value> = list(event, "/entity").collect();
    // The entry itself comes last, and must be there: its receipt is what duplicates are known by.
    let (most, last) = entities.split_at(entities.len().saturating_sub(1));
    for entity in most.iter().take(OBJECTS_MAX.saturating_sub(1)).chain(last) {
        object(&mut out, entity, most.len().saturating_sub(OBJECTS_MAX.saturating_sub(1)));
    }
    out.push_str("</AuditMessage>");
    out
}

fn participant(out: &mut String, agent: &Value) {
    let requests = if part(agent, "requestor") == &Value::Bool(true) { "true" } else { "false" };
    let attributes = [
        ("UserID", name(part(agent, "who"))),
        ("UserName", text(agent, "/name")),
        ("UserIsRequestor", requests),
        ("NetworkAccessPointID", text(agent, "/network/address")),
        ("NetworkAccessPointTypeCode", text(agent, "/network/type")),
    ];
    open(out, "ActiveParticipant", &attributes);
    out.push('>');
    list(agent, "/type/coding").for_each(|code| coded(out, "RoleIDCode", code));
    out.push_str("</ActiveParticipant>");
}

/// An entity; the one that is the entry says how many were left out.
fn object(out: &mut String, entity: &Value, left_out: usize) {
    let reference = text(entity, "/what/reference");
    let id = if reference.is_empty() { name(part(entity, "what")) } else { reference };
    let code = text(entity, "/type/code");
    // DICOM knows persons (1), system objects (2), organisations (3) and others (4): a record is a system object.
    let is_own = text(entity, "/type/system").ends_with("/audit-entity-type");
    let sort = if is_own { code } else { "2" };
    let attributes = [
        ("ParticipantObjectID", if id.is_empty() { "-" } else { id }),
        ("ParticipantObjectTypeCode", sort),
        ("ParticipantObjectTypeCodeRole", text(entity, "/role/code")),
    ];
    open(out, "ParticipantObjectIdentification", &attributes);
    out.push('>');
    coded(out, "ParticipantObjectIDTypeCode", part(entity, "type"));
    if let Some(query) = entity.get("query").and_then(Value::as_str) {
        leaf(out, "ParticipantObjectQuery", query);
    }
    for detail in list(entity, "/detail") {
        self::detail(out, text(detail, "/type"), text(detail, "/valueString"));
    }
    if code == "entry" && left_out > 0 {
        self::detail(out, "objects-left-out", &left_out.to_string());
    }
    out.push_str("</ParticipantObjectIdentification>");
}

fn detail(out: &mut String, kind: &str, value: &str) {
    open(out, "ParticipantObjectDetail", &[("type", kind), ("value", &STANDARD.encode(value))]);
    out.push_str("/>");
}

/// What somebody or something is known by.
fn name(who: &Value) -> &str {
    let identifier = text(who, "/identifier/value");
    if identifier.is_empty() { text(who, "/display") } else { identifier }
}

fn part<'v>(value: &'v Value, name: &str) -> &'v Value {
    value.get(name).unwrap_or(&Value::Null)
}

fn text<'v>(value: &'v Value, at: &str) -> &'v str {
    value.pointer(at).and_then(Value::as_str).unwrap_or_default()
}

fn list<'v>(value: &'v Value, at: &str) -> impl Iterator<Item = &'v Value> {
    value.pointer(at).and_then(Value::as_array).into_iter().flatten()
}

/// A coded value, as DICOM spells it.
fn coded(out: &mut String, element: &str, code: &Value) {
    let display = text(code, "/display");
    let code_text = text(code, "/code");
    let attributes = [
        ("csd-code", code_text),
        ("codeSystemName", system(text(code, "/system"))),
        ("originalText", if display.is_empty() { code_text } else { display }),
    ];
    open(out, element, &attributes);
    out.push_str("/>");
}

/// DICOM's own vocabulary goes by its short name.
fn system(url: &str) -> &str {
    if url == super::codes::DCM { "DCM" } else { url }
}

/// The opening tag without its end; empty attributes are left out, but for the identifier that must be there.
fn open(out: &mut String, element: &str, attributes: &[(&str, &str)]) {
    out.push('<');
    out.push_str(element);
    for (name, value) in attributes {
        if value.is_empty() && *name != "UserID" {
            continue;
        }
        out.push(' ');
        out.push_str(name);
        out.push_str("=\"");
        escape(out, value, '?');
        out.push('"');
    }
}

fn leaf(out: &mut String, element: &str, value: &str) {
    open(out, element, &[]);
    out.push('>');
    escape(out, value, '?');
    out.push_str("</");
    out.push_str(element);
    out.push('>');
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::string_slice, reason = "tests")]
    use custodia_audit::Action;

    use super::*;
    use crate::events::{audit_event, control_event, disclosure_event, samples};

    /// Whether every tag that opens closes, in order, and nothing but text stands between: a reader of our own.
    fn is_well_formed(xml: &str) -> bool {
        let mut rest = xml.strip_prefix("<?xml version=\"1.0\" encoding=\"UTF-8\"?>").unwrap();
        let mut open = Vec::new();
        while let Some(start) = rest.find('<') {
            let between = &rest[..start];
            let end = rest.find('>').unwrap();
            let tag = &rest[start + 1..end];
            if between.contains('>') || tag.contains('<') || tag.matches('"').count() % 2 == 1 {
                return false;
            }
            if let Some(name) = tag.strip_prefix('/') {
                if open.pop() != Some(name) {
                    return false;
                }
            } else if !tag.ends_with('/') {
                open.push(tag.split(' ').next().unwrap());
            }
            rest = &rest[end + 1..];
        }
        open.is_empty() && rest.is_empty()
    }

    #[test]
    fn every_event_is_one_frame_of_well_formed_xml() {
        let place = samples::place(7);
        let accesses = samples::all();
        let mut events: Vec<Value> = accesses.iter().map(|(_, entry)| audit_event(&place, entry)).collect();
        events.extend(accesses.iter().filter_map(|(_, entry)| disclosure_event(&place, entry)));
        events.extend(samples::controls().iter().map(|control| control_event(&place, control)));
        for event in &events {
            let framed = frame(&place, event);
            let at = framed.iter().position(|byte| *byte == b' ').unwrap();
            let length: usize = std::str::from_utf8(&framed[..at]).unwrap().parse().unwrap();
            let message = std::str::from_utf8(&framed[at + 1..]).unwrap();
            assert_eq!(message.len(), length);
            let (head, xml) = message.split_once('\u{feff}').unwrap();
            let fields: Vec<&str> = head.split(' ').collect();
            assert!(["<85>1", "<84>1", "<83>1"].contains(&fields[0]), "{head}");
            assert_eq!(&fields[2..], ["records.test", "custodia", "-", "DICOM+RFC3881", "-", ""]);
            assert!(is_well_formed(xml), "{xml}");
            assert!(
                xml.contains("ParticipantObjectID=\"records.test/log/7\"") || xml.contains("ITI-71"),
                "{xml}"
            );
            assert!(!xml.contains("<script") && xml.chars().all(|letter| !letter.is_control()));
        }
    }

    #[test]
    fn a_read_is_told_in_dicoms_words() {
        let (_, entry) =
            samples::all().into_iter().find(|(name, _)| name == "read of a patient by a person").unwrap();
        let message = message(&samples::place(7), &audit_event(&samples::place(7), &entry));
        for part in [
            "EventActionCode=\"R\"",
            "EventOutcomeIndicator=\"0\"",
            "<EventTypeCode csd-code=\"read\" codeSystemName=\"http://hl7.org/fhir/restful-interaction\"",
            "<RoleIDCode csd-code=\"110152\" codeSystemName=\"DCM\"",
            "UserID=\"grey\" UserName=\"grey\" UserIsRequestor=\"true\"",
            "NetworkAccessPointID=\"2001:db8::7334\" NetworkAccessPointTypeCode=\"2\"",
            "ParticipantObjectID=\"Patient/ann\" ParticipantObjectTypeCode=\"1\" ParticipantObjectTypeCodeRole=\"1\"",
            "ParticipantObjectID=\"Observation/pulse/_history/2\"",
            "AuditSourceID=\"records.test/log\"",
        ] {
            assert!(message.contains(part), "{part}: {message}");
        }
    }

    #[test]
    fn a_message_holds_so_many_objects_and_says_how_many_more_there_are() {
        let (_, mut entry) = samples::all().into_iter().find(|(name, _)| name == "search").unwrap();
        let place = samples::place(7);
        // Beside the records: the question, the request and the entry.
        for (records, left_out) in [(OBJECTS_MAX - 3, 0), (OBJECTS_MAX - 2, 1), (4_000, 4_003 - OBJECTS_MAX)]
        {
            entry.object.items = vec![samples::item("Observation", "o", Action::Released); records];
            let message = message(&place, &audit_event(&place, &entry));
            assert_eq!(message.matches("<ParticipantObjectIdentification ").count(), OBJECTS_MAX);
            let said =
                format!("type=\"objects-left-out\" value=\"{}\"", STANDARD.encode(left_out.to_string()));
            assert_eq!(message.contains(&said), left_out > 0);
            assert!(message.len() < 262_144, "{}", message.len());
            assert!(message.contains("records.test/log/7"));
        }
    }
}
