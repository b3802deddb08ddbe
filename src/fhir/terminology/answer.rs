//! `$lookup`, `$validate-code`, `$expand` and `$translate`: what is asked, and the resource that answers.
//!
//! What is not known here is refused with a sentence that names it, never answered with no.

use serde_json::{Map, Value, json};

use super::super::outcome::{IssueCode, Problem};
use super::{Expanded, Membership, NotExpanded, Translation, ValueSet, Vocabulary, canonical};

/// The most codes of one page of an expansion.
pub const PAGE_CODES_MAX: usize = 1_000;
/// The most codings of a CodeableConcept that are looked at.
pub const CODINGS_MAX: usize = 64;

/// An operation on terminology.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// What a code means.
    Lookup,
    /// Whether a code is in a system or set.
    ValidateCode,
    /// The codes of a set.
    Expand,
    /// What a code is in another system.
    Translate,
}

impl Operation {
    /// The operation of this name, such as `$expand`, on a type that has it.
    #[must_use]
    pub fn of(name: &str, kind: &str) -> Option<Self> {
        match (name, kind) {
            ("$lookup", "CodeSystem") => Some(Self::Lookup),
            ("$validate-code", "CodeSystem" | "ValueSet") => Some(Self::ValidateCode),
            ("$expand", "ValueSet") => Some(Self::Expand),
            ("$translate", "ConceptMap") => Some(Self::Translate),
            _ => None,
        }
    }

    /// Its name, without `$`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lookup => "lookup",
            Self::ValidateCode => "validate-code",
            Self::Expand => "expand",
            Self::Translate => "translate",
        }
    }

    /// The parameters it knows.
    #[must_use]
    pub const fn parameters(self) -> &'static [&'static str] {
        match self {
            Self::Lookup => &["system", "version", "code", "coding"],
            Self::ValidateCode => &[
                "url",
                "version",
                "valueSetVersion",
                "system",
                "code",
                "display",
                "coding",
                "codeableConcept",
            ],
            Self::Expand => &["url", "valueSetVersion", "filter", "offset", "count", "activeOnly"],
            Self::Translate => {
                &["url", "system", "code", "coding", "codeableConcept", "source", "target", "targetsystem"]
            }
        }
    }
}

/// What is asked.
#[derive(Debug, Default)]
pub struct Asked {
    texts: Map<String, Value>,
    /// System and code.
    codings: Vec<(Option<String>, String)>,
}

fn wrong(code: IssueCode, text: impl Into<String>) -> Problem {
    Problem::error(code, text.into())
}

impl Asked {
    /// Takes in a parameter of a query.
    ///
    /// # Errors
    /// A problem for a parameter the operation does not know, or that a query cannot carry.
    pub fn text(&mut self, operation: Operation, name: &str, value: &str) -> Result<(), Problem> {
        if !operation.parameters().contains(&name) || matches!(name, "coding" | "codeableConcept") {
            let known = operation.parameters().join(", ");
            let text = format!(
                "${} knows {known}; coding and codeableConcept in a Parameters resource.",
                operation.name()
            );
            return Err(wrong(IssueCode::NotSupported, text));
        }
        self.texts.insert(name.to_owned(), Value::from(value));
        Ok(())
    }

    /// Takes in a Parameters resource.
    ///
    /// # Errors
    /// As [`Self::text`].
    pub fn parameters(&mut self, operation: Operation, resource: &Value) -> Result<(), Problem> {
        for parameter in resource.get("parameter").and_then(Value::as_array).into_iter().flatten() {
            let name = parameter.get("name").and_then(Value::as_str).unwrap_or_default();
            let known = operation.parameters().contains(&name);
            if let Some(coding) = parameter.get("valueCoding").filter(|_| known && name == "coding") {
                self.coding(coding);
            } else if let Some(concept) =
                parameter.get("valueCodeableConcept").filter(|_| known && name == "codeableConcept")
            {
                let codings = concept.get("coding").and_then(Value::as_array).into_iter().flatten();
                codings.take(CODINGS_MAX).for_each(|coding| self.coding(coding));
            } else {
                let value =
                    parameter.as_object().and_then(|all| all.iter().find(|(n, _)| n.starts_with("value")));
                let text = match value {
                    Some((_, Value::String(text))) => text.clone(),
                    Some((_, other @ (Value::Bool(_) | Value::Number(_)))) => other.to_string(),
                    _ => {
                        return Err(wrong(
                            IssueCode::Required,
                            "A parameter has no value of a type it may have.",
                        ));
                    }
                };
                self.text(operation, name, &text)?;
            }
        }
        Ok(())
    }

    fn coding(&mut self, coding: &Value) {
        let text = |name: &str| coding.get(name).and_then(Value::as_str).map(str::to_owned);
        if let Some(code) = text("code") {
            self.codings.push((text("system"), code));
        }
    }

    /// A parameter that is text.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.texts.get(name).and_then(Value::as_str)
    }

    /// Says which set, system or map is meant, where the address of the request does.
    pub fn of_instance(&mut self, url: &str, kind: &str, operation: Operation) {
        let name = if kind == "CodeSystem" && operation == Operation::Lookup { "system" } else { "url" };
        self.texts.insert(name.to_owned(), Value::from(url));
    }

    /// The canonical urls it is about, each with the type that is looked for.
    #[must_use]
    pub fn urls(&self, operation: Operation, kind: &str) -> Vec<(&'static str, String)> {
        let of = match (operation, kind) {
            (Operation::Lookup, _) | (Operation::ValidateCode, "CodeSystem") => "CodeSystem",
            (Operation::Translate, _) => "ConceptMap",
            _ => "ValueSet",
        };
        let mut found: Vec<(&'static str, String)> =
            self.get("url").map(|url| (of, url.to_owned())).into_iter().collect();
        let systems = self.get("system").map(str::to_owned).into_iter();
        let systems = systems.chain(self.codings.iter().filter_map(|(system, _)| system.clone()));
        if operation != Operation::Translate {
            found.extend(systems.map(|url| ("CodeSystem", url)));
        }
        found
    }

    pub(super) fn codes(&self) -> Result<Vec<(Option<&str>, &str)>, Problem> {
        let mut found: Vec<_> =
            self.codings.iter().map(|(system, code)| (system.as_deref(), code.as_str())).collect();
        found.extend(self.get("code").map(|code| (self.get("system"), code)));
        if found.is_empty() {
            return Err(wrong(IssueCode::Required, "A code is required: code, with its system, or coding."));
        }
        Ok(found)
    }

    /// The url of the set, with its version.
    pub(super) fn set_url(&self) -> String {
        let url = self.get("url").unwrap_or_default();
        let version = self.get("valueSetVersion").filter(|_| !url.contains('|'));
        version.map_or_else(|| url.to_owned(), |version| format!("{url}|{version}"))
    }

    fn number(&self, name: &str) -> Result<Option<usize>, Problem> {
        let number = self.get(name).map(str::parse::<usize>).transpose();
        number.map_err(|_| wrong(IssueCode::Value, format!("{name}: expected a whole number from 0.")))
    }
}

/// A set that is asked for.
fn set<'t>(vocabulary: &Vocabulary<'t>, asked: &Asked) -> Result<&'t ValueSet, Problem> {
    let url = asked.set_url();
    if url.is_empty() {
        return Err(wrong(IssueCode::Required, "url: which ValueSet?"));
    }
    vocabulary
        .set(&url)
        .ok_or_else(|| wrong(IssueCode::NotFound, "This ValueSet is not known here, or not in that version."))
}

/// The answer to an operation on a type.
///
/// # Errors
/// The problem of what is asked, or what is not known here.
pub fn answer(
    vocabulary: &Vocabulary<'_>,
    operation: Operation,
    kind: &str,
    asked: &Asked,
    when: (&str, &str),
) -> Result<Value, Problem> {
    match operation {
        Operation::Lookup => lookup(vocabulary, asked),
        Operation::ValidateCode if kind == "CodeSystem" => validate_in_system(vocabulary, asked),
        Operation::ValidateCode => validate_in_set(vocabulary, asked),
        Operation::Expand => expand(vocabulary, asked, when),
        Operation::Translate => translate(vocabulary, asked),
    }
}

fn parameters(parts: Vec<Value>) -> Value {
    json!({ "resourceType": "Parameters", "parameter": parts })
}

fn unknown(what: &str) -> Problem {
    wrong(
        IssueCode::NotSupported,
        format!("The codes of {what} are not known here: nothing can be said about them."),
    )
}

fn lookup(vocabulary: &Vocabulary<'_>, asked: &Asked) -> Result<Value, Problem> {
    let codes = asked.codes()?;
    let (system, code) = codes.first().copied().unwrap_or_default();
    let system = system.ok_or_else(|| wrong(IssueCode::Required, "system: which CodeSystem?"))?;
    let version = asked.get("version").filter(|_| !system.contains('|'));
    let url = version.map_or_else(|| system.to_owned(), |version| format!("{system}|{version}"));
    let Some((known, concept)) = vocabulary.concept(&url, code) else {
        return Err(match vocabulary.system(&url) {
            None => wrong(IssueCode::NotFound, "This CodeSystem is not known here, or not in that version."),
            Some(known) if known.complete => wrong(IssueCode::NotFound, "The CodeSystem has no such code."),
            Some(known) => unknown(&known.url),
        });
    };
    let mut parts =
        vec![json!({ "name": "name", "valueString": known.name.as_deref().unwrap_or(&known.url) })];
    if let Some(version) = &known.version {
        parts.push(json!({ "name": "version", "valueString": version }));
    }
    parts.push(
        json!({ "name": "display", "valueString": concept.display.as_deref().unwrap_or(&concept.code) }),
    );
    let mut property = |code: &str, value: Value| {
        parts.push(json!({ "name": "property", "part": [{ "name": "code", "valueCode": code }, value] }));
    };
    if let Some(definition) = &concept.definition {
        property("definition", json!({ "name": "value", "valueString": definition }));
    }
    if let Some(parent) = known.parent(concept) {
        property("parent", json!({ "name": "value", "valueCode": parent.code }));
    }
    if concept.inactive {
        property("inactive", json!({ "name": "value", "valueBoolean": true }));
    }
    Ok(parameters(parts))
}

/// Whether it is, how it reads, and why not.
fn verdict(is: bool, display: Option<&str>, message: Option<&str>) -> Value {
    let mut parts = vec![json!({ "name": "result", "valueBoolean": is })];
    parts.extend(message.map(|text| json!({ "name": "message", "valueString": text })));
    parts.extend(display.map(|text| json!({ "name": "display", "valueString": text })));
    parameters(parts)
}

/// The display a code has, and whether the one that was sent, if any, is it.
fn displayed<'t>(
    vocabulary: &Vocabulary<'t>,
    asked: &Asked,
    system: Option<&str>,
    code: &str,
) -> (Option<&'t str>, bool) {
    let found = system.and_then(|system| vocabulary.concept(system, code));
    let display = found.and_then(|(_, concept)| concept.display.as_deref());
    let fits = match (asked.get("display"), display) {
        (Some(sent), Some(own)) => sent.eq_ignore_ascii_case(own),
        _ => true,
    };
    (display, fits)
}

const OTHER_DISPLAY: &str = "The code is there, and its display is another.";

fn validate_in_system(vocabulary: &Vocabulary<'_>, asked: &Asked) -> Result<Value, Problem> {
    let url = asked.get("url").or_else(|| asked.get("system"));
    for (system, code) in asked.codes()? {
        let url = url.or(system).ok_or_else(|| wrong(IssueCode::Required, "url: which CodeSystem?"))?;
        if system.is_some_and(|system| canonical(system).0 != canonical(url).0) {
            continue;
        }
        match vocabulary.has(url, code) {
            Some(true) => {
                let (display, fits) = displayed(vocabulary, asked, Some(url), code);
                return Ok(verdict(fits, display, (!fits).then_some(OTHER_DISPLAY)));
            }
            Some(false) => {}
            None if vocabulary.system(url).is_some() => return Err(unknown(canonical(url).0)),
            None => return Err(wrong(IssueCode::NotFound, "This CodeSystem is not known here.")),
        }
    }
    Ok(verdict(false, None, Some("The CodeSystem has no such code.")))
}

fn validate_in_set(vocabulary: &Vocabulary<'_>, asked: &Asked) -> Result<Value, Problem> {
    let (set, url) = (set(vocabulary, asked), asked.set_url());
    let mut open = false;
    for (system, code) in asked.codes()? {
        match vocabulary.contains(&url, system, code) {
            Membership::In => {
                let (display, fits) = displayed(vocabulary, asked, system, code);
                return Ok(verdict(fits, display, (!fits).then_some(OTHER_DISPLAY)));
            }
            Membership::Unknown => open = true,
            Membership::Out => {}
        }
    }
    if open {
        Err(set.map_or_else(|problem| problem, |set| unknown(&set.url)))
    } else {
        Ok(verdict(false, None, Some("The code is not in the ValueSet.")))
    }
}

fn expand(vocabulary: &Vocabulary<'_>, asked: &Asked, (id, now): (&str, &str)) -> Result<Value, Problem> {
    let set = set(vocabulary, asked)?;
    let mut all = vocabulary.expand(set).map_err(|why| match why {
        NotExpanded::Unknown(what) => unknown(&what),
        NotExpanded::TooCostly => {
            wrong(IssueCode::TooCostly, "The ValueSet has more codes than an expansion may have.")
        }
        NotExpanded::TooDeep => {
            wrong(IssueCode::TooCostly, "ValueSets refer to each other too deep, or in a circle.")
        }
    })?;
    if let Some(filter) = asked.get("filter").map(str::to_lowercase) {
        let found = |text: &str| text.to_lowercase().contains(&filter);
        all.retain(|one| found(one.code) || one.display.is_some_and(found));
    }
    if asked.get("activeOnly") == Some("true") {
        all.retain(|one| !one.inactive);
    }
    let offset = asked.number("offset")?.unwrap_or(0);
    let count = asked.number("count")?.unwrap_or(PAGE_CODES_MAX).min(PAGE_CODES_MAX);
    let contains: Vec<Value> = all.iter().skip(offset).take(count).map(contained).collect();
    let mut expansion = json!({ "identifier": format!("urn:uuid:{id}"), "timestamp": now, "total": all.len(), "offset": offset });
    let mut answer = json!({ "resourceType": "ValueSet", "url": set.url, "status": "active" });
    // An empty list is no FHIR JSON.
    if let (Some(expansion), false) = (expansion.as_object_mut(), contains.is_empty()) {
        expansion.insert("contains".to_owned(), Value::Array(contains));
    }
    if let Some(answer) = answer.as_object_mut() {
        answer.extend(set.version.as_deref().map(|version| ("version".to_owned(), Value::from(version))));
        answer.extend(set.name.as_deref().map(|name| ("name".to_owned(), Value::from(name))));
        answer.insert("expansion".to_owned(), expansion);
    }
    Ok(answer)
}

fn contained(one: &Expanded<'_>) -> Value {
    let mut entry = Map::new();
    entry.insert("system".to_owned(), Value::from(one.system));
    for (name, is) in [("abstract", one.groups), ("inactive", one.inactive)] {
        if is {
            entry.insert(name.to_owned(), Value::Bool(true));
        }
    }
    entry.insert("code".to_owned(), Value::from(one.code));
    entry.extend(one.display.map(|display| ("display".to_owned(), Value::from(display))));
    Value::Object(entry)
}

fn translate(vocabulary: &Vocabulary<'_>, asked: &Asked) -> Result<Value, Problem> {
    let narrowed = |name: &str, own: Option<&str>| asked.get(name).is_none_or(|wanted| own == Some(wanted));
    if ["url", "source", "target", "targetsystem"].iter().all(|name| asked.get(name).is_none()) {
        return Err(wrong(
            IssueCode::Required,
            "Which ConceptMap? Give url, source, target or targetsystem.",
        ));
    }
    let mut matches = Vec::new();
    for (system, code) in asked.codes()? {
        let system =
            system.ok_or_else(|| wrong(IssueCode::Required, "system: which CodeSystem is the code of?"))?;
        matches.extend(vocabulary.translate(system, code, |map| {
            narrowed("url", Some(&map.url))
                && narrowed("source", map.source.as_deref())
                && narrowed("target", map.target.as_deref())
        }));
        let told = vocabulary.told_translations(system, code).unwrap_or_default();
        matches.extend(told.iter().map(|one| Translation {
            map: &one.map,
            equivalence: &one.equivalence,
            system: &one.to.system,
            code: Some(one.to.code.clone()),
            display: one.to.display.as_deref(),
        }));
    }
    matches.retain(|one| narrowed("targetsystem", Some(one.system)));
    let elsewhere = asked.codes()?.into_iter().any(|(system, code)| {
        system.is_some_and(|system| vocabulary.told_translations(system, code).is_some())
    });
    if !elsewhere && asked.get("url").is_some_and(|url| !vocabulary.maps().any(|map| *map.url == *url)) {
        return Err(wrong(IssueCode::NotFound, "This ConceptMap is not known here."));
    }
    let is_any =
        matches.iter().any(|one| one.code.is_some() && !matches!(one.equivalence, "unmatched" | "disjoint"));
    let mut parts = vec![json!({ "name": "result", "valueBoolean": is_any })];
    for one in matches.iter().take(PAGE_CODES_MAX) {
        let mut part = vec![json!({ "name": "equivalence", "valueCode": one.equivalence })];
        if let Some(code) = &one.code {
            let mut coding = json!({ "system": one.system, "code": code });
            if let (Some(coding), Some(display)) = (coding.as_object_mut(), one.display) {
                coding.insert("display".to_owned(), Value::from(display));
            }
            part.push(json!({ "name": "concept", "valueCoding": coding }));
        }
        part.push(json!({ "name": "source", "valueUri": one.map }));
        parts.push(json!({ "name": "match", "part": part }));
    }
    Ok(parameters(parts))
}
