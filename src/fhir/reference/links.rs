//! Rewriting links, for a transaction whose entries refer to each other (FHIR R4 http.html#trules).
//!
//! May import only std and `serde_json`.

use serde_json::Value;

use super::is_reference;

/// Replaces every link for which `replace` has another one.
///
/// Links are: `Reference.reference`; elements of type uri, url, oid and uuid; in narrative, `href` of
/// `<a>` and `src` of `<img>`. Strings of any other type stay, even when they look like one
/// (`Identifier.value`), and so do elements of type canonical, as http.html#trules asks. The uri elements
/// `Reference.type`, `StructureDefinition.type` and `ElementDefinition.type.code` name types and stay.
pub fn rewrite(resource: &mut Value, mut replace: impl FnMut(&str) -> Option<String>) {
    descend(resource, "", "", &mut replace);
}

/// `kind` is the type of the resource we are in, `parent` the element that holds `value`.
fn descend(value: &mut Value, kind: &str, parent: &str, replace: &mut dyn FnMut(&str) -> Option<String>) {
    match value {
        Value::Object(object) => {
            let own_kind = object.get("resourceType").and_then(Value::as_str).map(str::to_owned);
            // Inside a resource's own members, the parent is the resource itself.
            let (kind, parent) = own_kind.as_deref().map_or((kind, parent), |own| (own, ""));
            // An Expression has a language and a Reference has none.
            let reference = is_reference(object, parent) || object.contains_key("language");
            let narrative = parent == "text";
            for (name, inner) in object.iter_mut() {
                match inner {
                    Value::String(text) if narrative && name == "div" => rewrite_narrative(text, replace),
                    Value::String(text) if is_link(kind, parent, name, reference) => {
                        if let Some(other) = replace(text) {
                            *text = other;
                        }
                    }
                    Value::Array(items) => {
                        let link = is_link(kind, parent, name, false);
                        for item in items {
                            match item {
                                Value::String(text) if link => {
                                    if let Some(other) = replace(text) {
                                        *text = other;
                                    }
                                }
                                other => descend(other, kind, name, replace),
                            }
                        }
                    }
                    other => descend(other, kind, name, replace),
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                descend(item, kind, parent, replace);
            }
        }
        _ => {}
    }
}

/// Whether the element `parent.name` of a resource of this kind holds a uri, url, oid or uuid.
///
/// From the R4 StructureDefinitions: names that have such a type wherever no other string type has the
/// same name, and the places of those that share their name with a code, string, id or canonical.
fn is_link(kind: &str, parent: &str, name: &str, reference: bool) -> bool {
    match name {
        "reference" => reference || parent == "education" || kind == "DetectedIssue" && parent.is_empty(),
        "authority" | "authorizationUrl" | "contentReference" | "defaultValueOid" | "defaultValueUri"
        | "defaultValueUrl" | "defaultValueUuid" | "definitionUri" | "derivedFromUri" | "endpoint"
        | "eventUri" | "fixedOid" | "fixedUri" | "fixedUrl" | "fixedUuid" | "fullUrl" | "implicitRules"
        | "instantiatesUri" | "issuer" | "jurisdiction" | "link" | "moduleUri" | "nameUrl"
        | "onlineInformation" | "patternOid" | "patternUri" | "patternUrl" | "patternUuid" | "policy"
        | "protocol" | "relativePath" | "rendering" | "sourceUri" | "targetUri" | "valueOid" | "valueUri"
        | "valueUrl" | "valueUuid" => true,
        "address" => matches!((kind, parent), ("Endpoint", "") | ("CapabilityStatement", "endpoint")),
        "definition" => matches!(kind, "Questionnaire" | "QuestionnaireResponse") && parent == "item",
        "detail" => kind == "TestReport" && parent == "operation",
        "identifier" => kind == "ValueSet" && parent == "expansion",
        "instantiates" => matches!(kind, "MedicationAdministration" | "NutritionOrder") && parent.is_empty(),
        "location" => kind == "Bundle" && parent == "response",
        "property" => kind == "ConceptMap" && parent == "dependsOn",
        "source" => {
            parent == "meta" || matches!((kind, parent), ("ConceptMap", "group") | ("DocumentManifest", ""))
        }
        "system" => !matches!((kind, parent), ("ConceptMap", "dependsOn")) && parent != "telecom",
        "target" => kind == "ConceptMap" && parent == "group",
        "uri" => {
            !matches!((kind, parent), ("ImplementationGuide", "dependsOn") | ("TerminologyCapabilities", _))
        }
        "url" => !matches!(
            (kind, parent),
            ("ConceptMap", "unmapped") | ("StructureMap", "structure") | ("TestScript", "operation")
        ),
        _ => false,
    }
}

/// Rewrites the links of an XHTML fragment, leaving every other byte as it was.
fn rewrite_narrative(xhtml: &mut String, replace: &mut dyn FnMut(&str) -> Option<String>) {
    let mut out = String::new();
    let mut rest = xhtml.as_str();
    let mut changed = false;
    while let Some((before, tag, after)) = next_tag(rest) {
        out.push_str(before);
        let attribute = match tag.split(|c: char| c.is_whitespace() || c == '>' || c == '/').next() {
            Some("<a") => Some("href"),
            Some("<img") => Some("src"),
            _ => None,
        };
        let found = attribute
            .and_then(|name| split_attribute(tag, name))
            .and_then(|(head, link, tail)| Some((head, replace(link)?, tail)));
        if let Some((head, other, tail)) = found {
            out.push_str(head);
            out.push_str(&escape_attribute(&other));
            out.push_str(tail);
            changed = true;
        } else {
            out.push_str(tag);
        }
        rest = after;
    }
    if changed {
        out.push_str(rest);
        *xhtml = out;
    }
}

/// Splits at the next `<..>`: what stands before it, the tag, what follows.
fn next_tag(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_at_checked(text.find('<')?)?;
    let (tag, after) = rest.split_at_checked(rest.find('>')? + 1)?;
    Some((before, tag, after))
}

/// Splits a tag around the value of one attribute; the quotes stay outside the value.
fn split_attribute<'a>(tag: &'a str, name: &str) -> Option<(&'a str, &'a str, &'a str)> {
    let mut from = 0;
    loop {
        let at = from + tag.get(from..)?.find(name)?;
        from = at + name.len();
        let spaced = tag.get(..at)?.ends_with(|c: char| c.is_ascii_whitespace());
        let after = tag.get(from..)?.trim_start();
        let Some(value) = after.strip_prefix('=').map(str::trim_start) else { continue };
        let Some(quote) = value.chars().next().filter(|c| spaced && matches!(c, '"' | '\'')) else {
            continue;
        };
        let start = tag.len() - value.len() + 1;
        let end = start + tag.get(start..)?.find(quote)?;
        return Some((tag.get(..start)?, tag.get(start..end)?, tag.get(end..)?));
    }
}

fn escape_attribute(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;").replace('\'', "&#39;")
}
