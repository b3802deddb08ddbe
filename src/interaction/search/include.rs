//! What comes with a page of matches: `_include` and `_revinclude` (FHIR R4 search.html#include).
//!
//! Each record is opened and permitted on its own before it counts against the bound, on every page anew.

use std::{collections::HashSet, sync::Arc};

use super::{
    Failure, Found, INCLUDED_MAX, Permit, Record,
    follow::{Key, Scout},
    hunt::{Hunt, Pointing},
};
use crate::{
    fhir::{
        kinds::ResourceType,
        search::{Include, Query},
    },
    gate::Act,
    refusal::Refusal,
};

/// How often `:iterate` starts again from what was included.
const ROUNDS_MAX: usize = 8;

/// A record that is where inclusions start from.
type Start<'a> = &'a Record;

/// The records that come with these matches, each once.
pub(super) async fn gather(
    scout: &Scout<'_>,
    query: &Query,
    matches: &[Found],
) -> Result<Vec<(Record, Permit)>, Failure> {
    let mut seen: HashSet<Key> = matches.iter().map(Found::key).collect();
    let mut included: Vec<(Record, Permit)> = Vec::new();
    let mut from = 0;
    for round in 0..ROUNDS_MAX {
        // The first round starts from the matches, the others from what the one before has brought.
        let starts: Vec<Start<'_>> = if round == 0 {
            matches.iter().map(|found| &found.record).collect()
        } else {
            included.iter().skip(from).map(|(record, _)| record).collect()
        };
        let wanted = |include: &&Include| round == 0 || include.iterate;
        let mut found = Vec::new();
        for include in query.includes.iter().filter(wanted) {
            found.extend(forward(scout, include, &starts, &mut seen).await?);
        }
        for include in query.revincludes.iter().filter(wanted) {
            found.extend(backward(scout, include, &starts, &mut seen).await?);
        }
        if found.is_empty() {
            return Ok(included);
        }
        from = included.len();
        included.extend(found);
        if included.len() > INCLUDED_MAX {
            return Err(too_many());
        }
    }
    Ok(included)
}

async fn forward(
    scout: &Scout<'_>,
    include: &Include,
    starts: &[Start<'_>],
    seen: &mut HashSet<Key>,
) -> Result<Vec<(Record, Permit)>, Failure> {
    let mut keys = Vec::new();
    for record in starts.iter().filter(|record| record.at.kind == include.source) {
        for parameter in &include.parameters {
            let links = scout.links(record, parameter);
            let wanted =
                |link: &Key| include.target.is_none_or(|kind| kind == link.0) && scout.may_approach(link.0);
            keys.extend(links.into_iter().filter(wanted).filter(|link| seen.insert(*link)));
        }
    }
    scout.fetch(keys).await
}

async fn backward(
    scout: &Scout<'_>,
    include: &Include,
    starts: &[Start<'_>],
    seen: &mut HashSet<Key>,
) -> Result<Vec<(Record, Permit)>, Failure> {
    let mut found = Vec::new();
    if !scout.may_approach(include.source) {
        return Ok(found);
    }
    for parameter in &include.parameters {
        let wanted = |kind: ResourceType| {
            parameter.may_point_at(kind) && include.target.is_none_or(|target| target == kind)
        };
        let at: Vec<Key> = starts
            .iter()
            .filter(|record| wanted(record.at.kind))
            .map(|record| (record.at.kind, record.at.key))
            .collect();
        if at.is_empty() {
            continue;
        }
        let query = Query::of(include.source, Vec::new(), &scout.app.base);
        let pointing = Pointing::at(Arc::clone(parameter), at);
        let sources = Hunt::new(scout, &query, vec![pointing]).await?.first(INCLUDED_MAX + 1).await?;
        if sources.len() > INCLUDED_MAX {
            return Err(too_many());
        }
        found.extend(
            sources.into_iter().filter(|one| seen.insert(one.key())).map(|one| (one.record, one.permit)),
        );
    }
    Ok(found)
}

impl Scout<'_> {
    /// Whether the caller could be allowed to see any record of a type.
    pub(super) fn may_approach(&self, kind: ResourceType) -> bool {
        self.app.gate.approach(&self.ask.caller, Act::Search, kind).is_ok()
    }
}

fn too_many() -> Failure {
    let text =
        format!("More than {INCLUDED_MAX} records would come with this page. Ask for a smaller _count.");
    Refusal::TooCostly(text).into()
}
