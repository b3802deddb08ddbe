//! What is known of codes for one request: R4's, the packages', the caller's own, and what another server says.
//!
//! May import what `interaction` may.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use serde_json::Value;

use super::super::{
    Ask, Failure,
    open::{Record, current},
    search,
};
use crate::{
    app::App,
    fhir::{
        kinds::{LogicalId, ResourceType},
        package::Conformance,
        search::WantedSet,
        terminology::{Question, Terms, Vocabulary, canonical},
    },
    gate::Act,
    ledger::Released,
    refusal::Refusal,
    terminology::QUESTIONS_MAX,
};

/// How many records of terminology one request may look at.
pub const RECORDS_MAX: usize = 16;

/// What is known, and where it was read.
pub(in super::super) struct Known {
    conformance: Arc<Conformance>,
    terms: Terms,
    /// The caller's own records that were read; the entry of the request names them.
    pub(in super::super) released: Vec<Released>,
    /// Whether the other server was asked something and did not answer.
    pub(in super::super) away: bool,
    /// What a record that the address named refers to.
    referred: Vec<(String, String)>,
    looked_for: BTreeSet<(String, String)>,
    asked: HashSet<Question>,
}

/// Unpacks R4's terminology, away from the threads that serve: it takes some 50 ms, once.
pub(in super::super) async fn unpack(conformance: &Conformance) {
    if !conformance.shipped().is_read() {
        let shipped = conformance.shipped().clone();
        // If the thread fails, the terms are read where they are first asked for.
        drop(tokio::task::spawn_blocking(move || shipped.terms().counts()).await);
    }
}

impl Known {
    /// R4's and the packages'.
    pub(in super::super) async fn open(app: &App) -> Self {
        let conformance = app.conformance.load_full();
        unpack(&conformance).await;
        Self {
            conformance,
            terms: Terms::default(),
            released: Vec::new(),
            away: false,
            referred: Vec::new(),
            looked_for: BTreeSet::new(),
            asked: HashSet::new(),
        }
    }

    /// All of it.
    pub(in super::super) fn vocabulary(&self) -> Vocabulary<'_> {
        self.conformance.vocabulary(Some(&self.terms))
    }

    /// A refusal that names what was read.
    pub(in super::super) fn failure(self, refusal: Refusal) -> Failure {
        if self.released.is_empty() { refusal.into() } else { Failure::Told(refusal, self.released) }
    }

    /// Asks the other server, if there is one, what it was not asked before.
    pub(in super::super) async fn ask(&mut self, app: &App, mut questions: Vec<Question>) {
        let Some(server) = &app.terminology else { return };
        questions.retain(|question| self.asked.len() < QUESTIONS_MAX && self.asked.insert(question.clone()));
        for (question, told) in server.ask_all(questions, app.clock.now()).await {
            match told {
                Ok(told) => self.terms.tell(&question, &told),
                Err(_) => self.away = true,
            }
        }
    }

    /// Looks for sets of codes that a search names; whether anything was done that was not done before.
    pub(in super::super) async fn find(
        &mut self,
        app: &App,
        ask: &Ask,
        wanted: Vec<WantedSet>,
    ) -> Result<bool, Failure> {
        let before = (self.looked_for.len(), self.asked.len());
        let own = wanted.iter().map(|set| match set {
            WantedSet::Of(url) => ("ValueSet", url.clone()),
            WantedSet::Related(system, ..) => ("CodeSystem", system.clone()),
        });
        self.read_by_url(app, ask, own.collect()).await?;
        let mut questions = Vec::new();
        {
            let vocabulary = self.vocabulary();
            for set in wanted {
                match set {
                    WantedSet::Of(url) => {
                        let listed = vocabulary.set(&url).map(|set| vocabulary.expand(set));
                        if !matches!(listed, Some(Ok(_))) {
                            questions.push(Question::Codes(url.into()));
                        }
                    }
                    WantedSet::Related(system, code, relation) => {
                        if !vocabulary.system(&system).is_some_and(|system| system.complete) {
                            questions.push(Question::Related(system.into(), code.into(), relation));
                        }
                    }
                }
            }
        }
        self.ask(app, questions).await;
        Ok(before != (self.looked_for.len(), self.asked.len()))
    }

    /// The record the address names, read as any read; the url it is known by from here on.
    pub(super) async fn read_by_id(
        &mut self,
        app: &App,
        ask: &Ask,
        kind: ResourceType,
        id: &LogicalId,
    ) -> Result<String, Failure> {
        let (record, permit) = current(app, ask, Act::Read, kind, id).await?;
        let (mut resource, released) = record.revise(permit)?;
        self.released.push(released);
        // Under a url of its own, so that a set of R4 of the same url does not answer in its place.
        let url = format!("{}/{}/{}", app.base.as_str(), kind.name(), id.as_str());
        if let Some(object) = resource.as_object_mut() {
            object.insert("url".to_owned(), Value::from(url.as_str()));
        }
        self.referred = references(&resource);
        self.terms.add(&resource);
        Ok(url)
    }

    /// Reads the caller's own resources of these urls, and those they refer to, where R4 and the packages have none.
    pub(super) async fn read_by_url(
        &mut self,
        app: &App,
        ask: &Ask,
        asking: Vec<(&'static str, String)>,
    ) -> Result<(), Failure> {
        let mut wanted: Vec<(String, String)> =
            asking.into_iter().map(|(kind, url)| (kind.to_owned(), url)).collect();
        wanted.append(&mut self.referred);
        while let Some((kind, url)) = wanted.pop() {
            let url = canonical(&url).0.to_owned();
            let is_known = {
                let vocabulary = self.vocabulary();
                match kind.as_str() {
                    "CodeSystem" => vocabulary.system(&url).is_some(),
                    "ValueSet" => vocabulary.set(&url).is_some(),
                    _ => vocabulary.maps().any(|map| *map.url == *url),
                }
            };
            if is_known
                || !self.looked_for.insert((kind.clone(), url.clone()))
                || self.looked_for.len() > RECORDS_MAX
            {
                continue;
            }
            let Some(kind) = ResourceType::from_name(&kind) else { continue };
            if let Some((resource, released)) = by_url(app, ask, kind, &url).await? {
                self.released.push(released);
                wanted.extend(references(&resource));
                self.terms.add(&resource);
            }
        }
        Ok(())
    }
}

/// The newest record of this url that the caller may search for and read.
async fn by_url(
    app: &App,
    ask: &Ask,
    kind: ResourceType,
    url: &str,
) -> Result<Option<(Value, Released)>, Failure> {
    if app.gate.approach(&ask.caller, Act::Search, kind).is_err() {
        return Ok(None);
    }
    let mut query = String::from("url=");
    for byte in url.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => query.push(char::from(byte)),
            // A comma and the like are part of the value here.
            b',' | b'$' | b'|' | b'\\' => query.push_str(&format!("%5C%{byte:02X}")),
            _ => query.push_str(&format!("%{byte:02X}")),
        }
    }
    let found = search::matching(app, ask, kind, &query, 1).await?;
    let Some((record, _)) = found.into_iter().next() else { return Ok(None) };
    let record: Record = record;
    let Ok(read) = record.also(app, &ask.caller, Act::Read) else { return Ok(None) };
    record.revise(read).map(Some)
}

/// The CodeSystems and ValueSets that a ValueSet takes codes from.
fn references(resource: &Value) -> Vec<(String, String)> {
    let parts =
        ["include", "exclude"].into_iter().filter_map(|name| resource.get("compose")?.get(name)?.as_array());
    let mut found = Vec::new();
    for part in parts.flatten() {
        let sets =
            part.get("valueSet").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        found.extend(sets.map(|url| ("ValueSet".to_owned(), url.to_owned())));
        if part.get("concept").is_none() {
            let system = part.get("system").and_then(Value::as_str);
            found.extend(system.map(|url| ("CodeSystem".to_owned(), url.to_owned())));
        }
    }
    found
}
