//! What another server is asked about codes, and what it said (FHIR R4 terminology-service.html).
//!
//! INVARIANT: a question holds codes, the urls of their systems, and urls of ValueSets and ConceptMaps; there is no member
//! for a text or a record (`only_codes_leave_the_house`).

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};

use super::{CodeSystem, Concept, EXPANSION_CODES_MAX, Terms, ValueSet, Vocabulary, canonical, shape};

/// The longest url that is asked about, in bytes.
const URL_BYTES_MAX: usize = 512;
/// The most translations of one code that are taken.
const TRANSLATIONS_MAX: usize = 100;
/// How an expansion says that it leaves codes out.
const NOT_WHOLE: [&str; 2] = [
    "http://hl7.org/fhir/StructureDefinition/valueset-toocostly",
    "http://hl7.org/fhir/StructureDefinition/valueset-unclosed",
];
/// How an unknown CodeSystem is told from a code it does not have, by servers that answer both with no.
const UNKNOWN_SYSTEM: [&str; 2] = ["x-unknown-system", "x-caused-by-unknown-system"];

/// How codes of a system relate to one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Relation {
    /// It, and what lies under it.
    Below,
    /// It, and what it lies under.
    Above,
}

/// A question that another server may be asked. Urls may end in `|version`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Question {
    /// Whether the system has the code.
    Code(Box<str>, Box<str>),
    /// What the code means.
    Meaning(Box<str>, Box<str>),
    /// Whether the code of the system (second, third) is in the ValueSet (first).
    Member(Box<str>, Box<str>, Box<str>),
    /// The codes of the ValueSet.
    Codes(Box<str>),
    /// The codes that relate to one of a system.
    Related(Box<str>, Box<str>, Relation),
    /// What the code of a system is elsewhere, by a ConceptMap and into a system, if they are given.
    Translation {
        /// The system.
        system: Box<str>,
        /// The code.
        code: Box<str>,
        /// The ConceptMap.
        map: Option<Box<str>>,
        /// The system it is to be of.
        into: Option<Box<str>>,
    },
}

/// A code that another server told of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToldCode {
    /// Its system.
    pub system: Box<str>,
    /// The code.
    pub code: Box<str>,
    /// What a person reads.
    pub display: Option<Box<str>>,
}

/// What a code is elsewhere, by another server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToldTranslation {
    /// How the two relate, in the words of R4.
    pub equivalence: Box<str>,
    /// The code it is.
    pub to: ToldCode,
    /// The ConceptMap that says so.
    pub map: Box<str>,
}

/// What another server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// It has the code, or it is in the set; and how it reads.
    Yes(Option<Box<str>>),
    /// It has not, or it is not.
    No,
    /// What the code means.
    Meaning {
        /// The system's name.
        name: Option<Box<str>>,
        /// Its version.
        version: Option<Box<str>>,
        /// How the code reads.
        display: Option<Box<str>>,
        /// What it means.
        definition: Option<Box<str>>,
    },
    /// Codes: a page of them when `total` says that there are more.
    Codes {
        /// The set's version.
        version: Option<Box<str>>,
        /// The codes.
        codes: Vec<ToldCode>,
        /// How many there are in all, if it says.
        total: Option<usize>,
    },
    /// What the code is elsewhere.
    Translations(Vec<ToldTranslation>),
    /// It does not know the system or the set.
    Unknown,
}

/// What was told, for [`Terms`]; what reads like a CodeSystem or ValueSet stands with those.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// Of a set or a system, whether it has the code.
    verdicts: HashMap<Question, bool>,
    related: HashMap<Question, Vec<ToldCode>>,
    /// By system and code.
    translations: HashMap<(Box<str>, Box<str>), Vec<ToldTranslation>>,
}

impl Question {
    /// Whether it may leave the house: its code looks like one and is of one of these systems, its urls look like urls of
    /// definitions, and none is below `base`, the server's own address, where urls have ids of records in them.
    #[must_use]
    pub fn may_leave(&self, systems: &[String], base: &str) -> bool {
        let url = |text: &str| {
            let known = ["http://", "https://", "urn:"].iter().any(|prefix| text.starts_with(prefix));
            let plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b'@' | b'"' | b'<' | b'>' | b'\\');
            known && text.len() <= URL_BYTES_MAX && text.bytes().all(plain) && !text.starts_with(base)
        };
        let listed = |system: &str| {
            let (name, version) = canonical(system);
            systems.iter().any(|one| one == name) && url(name) && version.is_none_or(shape::is_version)
        };
        let url = |text: &str| url(canonical(text).0) && canonical(text).1.is_none_or(shape::is_version);
        match self {
            Self::Code(system, code) | Self::Meaning(system, code) | Self::Related(system, code, _) => {
                listed(system) && shape::is_code(canonical(system).0, code)
            }
            Self::Member(set, system, code) => {
                url(set) && listed(system) && shape::is_code(canonical(system).0, code)
            }
            Self::Codes(set) => url(set),
            Self::Translation { system, code, map, into } => {
                let urls = || map.iter().chain(into).all(|one| url(one));
                listed(system) && shape::is_code(canonical(system).0, code) && urls()
            }
        }
    }

    /// Of a question about a set, the one about the code alone.
    #[must_use]
    pub fn of_system(self) -> Option<Self> {
        match self {
            Self::Member(_, system, code) => Some(Self::Code(system, code)),
            _ => None,
        }
    }

    /// Below which path of the other server it is asked, and the Parameters it is asked with.
    #[must_use]
    pub fn request(&self, offset: usize) -> (&'static str, Value) {
        let mut parts = Vec::new();
        let mut put = |name: &str, kind: &str, value: &str| {
            parts.push(json!({ "name": name, kind: value }));
        };
        let path = match self {
            Self::Code(system, code) | Self::Meaning(system, code) => {
                let is_meaning = matches!(self, Self::Meaning(..));
                let (system, version) = canonical(system);
                put(if is_meaning { "system" } else { "url" }, "valueUri", system);
                put("code", "valueCode", code);
                if let Some(version) = version {
                    put("version", "valueString", version);
                }
                if is_meaning { "CodeSystem/$lookup" } else { "CodeSystem/$validate-code" }
            }
            Self::Member(set, system, code) => {
                let ((set, set_version), (system, version)) = (canonical(set), canonical(system));
                put("url", "valueUri", set);
                put("system", "valueUri", system);
                put("code", "valueCode", code);
                if let Some(version) = set_version {
                    put("valueSetVersion", "valueString", version);
                }
                if let Some(version) = version {
                    put("systemVersion", "valueString", version);
                }
                "ValueSet/$validate-code"
            }
            Self::Codes(set) => {
                let (set, version) = canonical(set);
                put("url", "valueUri", set);
                if let Some(version) = version {
                    put("valueSetVersion", "valueString", version);
                }
                "ValueSet/$expand"
            }
            Self::Related(system, code, relation) => {
                let set = related(system, code, *relation);
                parts.push(json!({ "name": "valueSet", "resource": set }));
                "ValueSet/$expand"
            }
            Self::Translation { system, code, map, into } => {
                put("system", "valueUri", system);
                put("code", "valueCode", code);
                if let Some(map) = map {
                    put("url", "valueUri", map);
                }
                if let Some(into) = into {
                    put("targetsystem", "valueUri", into);
                }
                "ConceptMap/$translate"
            }
        };
        if path == "ValueSet/$expand" {
            parts.push(json!({ "name": "offset", "valueInteger": offset }));
            parts.push(json!({ "name": "count", "valueInteger": EXPANSION_CODES_MAX + 1 }));
        }
        (path, json!({ "resourceType": "Parameters", "parameter": parts }))
    }

    /// Reads what was answered with success; `None` if it is no answer to the question.
    #[must_use]
    pub fn read(&self, answer: &Value) -> Option<Told> {
        let kind = answer.get("resourceType")?.as_str()?;
        match (self, kind) {
            (Self::Codes(_) | Self::Related(..), "ValueSet") => Some(listing(answer)),
            (Self::Code(..) | Self::Member(..), "Parameters") => {
                if UNKNOWN_SYSTEM.iter().any(|name| part(answer, name).is_some()) {
                    return Some(Told::Unknown);
                }
                let is = part(answer, "result")?.get("valueBoolean")?.as_bool()?;
                Some(if is { Told::Yes(text(answer, "display")) } else { Told::No })
            }
            (Self::Meaning(..), "Parameters") => Some(Told::Meaning {
                name: text(answer, "name"),
                version: text(answer, "version"),
                display: Some(text(answer, "display")?),
                definition: text(answer, "definition"),
            }),
            (Self::Translation { .. }, "Parameters") => Some(Told::Translations(translations(answer))),
            _ => None,
        }
    }
}

/// The codes that relate to one of a system, as a ValueSet.
fn related(system: &str, code: &str, relation: Relation) -> Value {
    let op = match relation {
        Relation::Below => "is-a",
        Relation::Above => "generalizes",
    };
    let filter = json!({ "property": "concept", "op": op, "value": code });
    let include = json!({ "system": canonical(system).0, "filter": [filter] });
    json!({ "resourceType": "ValueSet", "status": "active", "compose": { "include": [include] } })
}

fn part<'v>(within: &'v Value, name: &str) -> Option<&'v Value> {
    let mut parts = within.get("parameter").or_else(|| within.get("part"))?.as_array()?.iter();
    parts.find(|part| part.get("name").and_then(Value::as_str) == Some(name))
}

fn text(within: &Value, name: &str) -> Option<Box<str>> {
    let part = part(within, name)?.as_object()?;
    let (_, value) = part.iter().find(|(name, _)| name.starts_with("value"))?;
    value.as_str().map(Into::into)
}

fn coding(value: &Value) -> Option<ToldCode> {
    let text = |name: &str| value.get(name).and_then(Value::as_str).map(Box::<str>::from);
    Some(ToldCode { system: text("system")?, code: text("code")?, display: text("display") })
}

fn listing(answer: &Value) -> Told {
    fn gather(within: Option<&Value>, found: &mut Vec<ToldCode>) {
        for one in within.and_then(Value::as_array).into_iter().flatten() {
            // What only groups others is no code of the set.
            if one.get("abstract") != Some(&Value::Bool(true)) {
                found.extend(coding(one));
            }
            gather(one.get("contains"), found);
        }
    }
    let extensions =
        ["/expansion/extension", "/extension"].into_iter().filter_map(|at| answer.pointer(at)?.as_array());
    let says =
        |one: &Value| one.get("url").and_then(Value::as_str).is_some_and(|url| NOT_WHOLE.contains(&url));
    if extensions.flatten().any(says) {
        return Told::Unknown;
    }
    let mut codes = Vec::new();
    gather(answer.pointer("/expansion/contains"), &mut codes);
    let total = answer.pointer("/expansion/total").and_then(Value::as_u64);
    let version = answer.get("version").and_then(Value::as_str).map(Into::into);
    Told::Codes { version, codes, total: total.and_then(|total| usize::try_from(total).ok()) }
}

fn translations(answer: &Value) -> Vec<ToldTranslation> {
    let parts = answer.get("parameter").and_then(Value::as_array).into_iter().flatten();
    let matches = parts.filter(|part| part.get("name").and_then(Value::as_str) == Some("match"));
    let found = matches.filter_map(|one| {
        let equivalence = text(one, "equivalence").unwrap_or_else(|| "relatedto".into());
        let to = coding(part(one, "concept")?.get("valueCoding")?)?;
        Some(ToldTranslation { equivalence, to, map: text(one, "source").unwrap_or_default() })
    });
    found.take(TRANSLATIONS_MAX).collect()
}

impl Terms {
    /// Takes in what another server said.
    pub fn tell(&mut self, question: &Question, told: &Told) {
        match (question, told) {
            (Question::Code(system, code), Told::Yes(display)) => {
                self.told.verdicts.insert(question.clone(), true);
                self.learn(system, (None, None), concept(code, display.clone(), None));
            }
            (Question::Code(..), Told::No) => {
                self.told.verdicts.insert(question.clone(), false);
            }
            (Question::Meaning(system, code), Told::Meaning { name, version, display, definition }) => {
                let concept = concept(code, display.clone(), definition.clone());
                self.learn(system, (name.clone(), version.clone()), concept);
            }
            (Question::Member(_, system, code), Told::Yes(_) | Told::No) => {
                self.told.verdicts.insert(question.clone(), *told != Told::No);
                if let Told::Yes(display) = told {
                    self.learn(system, (None, None), concept(code, display.clone(), None));
                }
            }
            (Question::Codes(set), Told::Codes { version, codes, .. }) => {
                let url = canonical(set).0;
                let listed = codes.iter().map(|one| (&*one.system, &*one.code, one.display.as_deref()));
                self.sets.insert(url.into(), ValueSet::of_list(url, version.clone(), listed));
            }
            (Question::Related(..), Told::Codes { codes, .. }) => {
                self.told.related.insert(question.clone(), codes.clone());
            }
            (Question::Translation { system, code, .. }, Told::Translations(found)) => {
                let key = (system.clone(), code.clone());
                self.told.translations.insert(key, found.clone());
            }
            _ => {}
        }
    }

    /// A concept of a system that is not here whole.
    fn learn(
        &mut self,
        system: &str,
        (name, version): (Option<Box<str>>, Option<Box<str>>),
        concept: Concept,
    ) {
        let url = canonical(system).0;
        let known = self.systems.entry(url.into()).or_insert_with(|| CodeSystem::fragment(url));
        known.name = known.name.take().or(name);
        known.version = known.version.take().or(version);
        known.learn(concept);
    }
}

fn concept(code: &str, display: Option<Box<str>>, definition: Option<Box<str>>) -> Concept {
    Concept { code: code.into(), display, definition, groups: false, inactive: false, parent: None }
}

impl<'t> Vocabulary<'t> {
    /// What another server said about a code of a system: whether it has it.
    pub(super) fn told_code(&self, system: &str, code: &str) -> Option<bool> {
        self.verdict(&Question::Code(system.into(), code.into()))
    }

    fn verdict(&self, question: &Question) -> Option<bool> {
        self.0.iter().find_map(|terms| terms.told.verdicts.get(question).copied())
    }

    /// Whether a system, with or without `|version`, has a code; `None` if that is not known.
    #[must_use]
    pub fn has(&self, system: &str, code: &str) -> Option<bool> {
        if self.concept(system, code).is_some() {
            return Some(true);
        }
        match self.system(system) {
            Some(known) if known.complete => Some(false),
            _ => self.told_code(system, code),
        }
    }

    /// What another server said about a code and a set: whether it is in it.
    pub(super) fn told_member(&self, set: &str, system: Option<&str>, code: &str) -> Option<bool> {
        self.verdict(&Question::Member(set.into(), system?.into(), code.into()))
    }

    /// What another server said about the codes that relate to one of a system.
    #[must_use]
    pub fn told_related(&self, system: &str, code: &str, relation: Relation) -> Option<&'t [ToldCode]> {
        let question = Question::Related(system.into(), code.into(), relation);
        self.0.iter().find_map(|terms| terms.told.related.get(&question).map(Vec::as_slice))
    }

    /// What another server said a code of a system is elsewhere.
    pub(super) fn told_translations(&self, system: &str, code: &str) -> Option<&'t [ToldTranslation]> {
        let key = (Box::from(system), Box::from(code));
        self.0.iter().find_map(|terms| terms.told.translations.get(&key).map(Vec::as_slice))
    }
}

/// Each question once, in order.
pub fn once(questions: &mut Vec<Question>) {
    let mut seen = HashSet::new();
    questions.retain(|question| seen.insert(question.clone()));
}
