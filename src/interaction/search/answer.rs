//! The Bundle of a search, and what its entries in the log name.

use chrono::{DateTime, Utc};

use super::{Answer, Failure, Found, Permit, Record, Released, cursor, follow::Scout, hunt::Matches};
use crate::{
    fhir::{
        bundle::{self, Mode},
        definitions::Definitions,
        kinds::ResourceType,
        outcome::{OperationOutcome, Problem},
        search::Query,
        subset::Subset,
    },
    seal::{Opened, Plain},
};

struct Rendering<'a> {
    definitions: &'a Definitions,
    subset: &'a Subset,
    this: String,
    next: Option<String>,
    total: Option<u64>,
    as_of: Option<DateTime<Utc>>,
    base: String,
    /// Of each record: its type, and why it is there.
    entries: Vec<(ResourceType, Mode)>,
    outcome: Option<Vec<u8>>,
}

/// The answer to a search, undisclosed, with everything that is released in it.
pub(super) fn make(
    scout: &Scout<'_>,
    (query, as_of): (&Query, Option<DateTime<Utc>>),
    matches: Matches,
    included: Vec<(Record, Permit)>,
) -> Result<(Vec<Released>, Opened<Answer>), Failure> {
    let next = match matches.page.last().filter(|_| matches.more) {
        None => None,
        Some(last) => {
            let now = scout.app.clock.now();
            Some(query.next_link(&cursor::write(&scout.keys, &scout.ask.caller, query, last, now)?))
        }
    };
    let mut rendering = Rendering {
        definitions: &scout.app.definitions,
        subset: &scout.ask.subset,
        this: query.self_link(),
        next,
        total: matches.total,
        as_of,
        base: scout.app.base.as_str().to_owned(),
        entries: Vec::new(),
        outcome: outcome(&query.ignored),
    };
    let counted = matches.counted;
    let page = matches.page.into_iter().map(|Found { record, permit, .. }| (record, permit, Mode::Match));
    let with_it = included.into_iter().map(|(record, permit)| (record, permit, Mode::Include));
    let (mut released, mut opened) = (Vec::new(), Vec::new());
    for (record, permit, mode) in page.chain(with_it) {
        rendering.entries.push((record.at.kind, mode));
        released.push(Released { permit, version: record.version() });
        opened.push(record.opened);
    }
    released.extend(counted);
    Ok((released, Opened::gather(opened).map_with(&rendering, render)))
}

/// What the server left out of the search, as an entry of its own.
fn outcome(ignored: &[Problem]) -> Option<Vec<u8>> {
    (!ignored.is_empty()).then(|| OperationOutcome(ignored.to_vec()).to_bytes())
}

fn render(mut records: Vec<Plain>, rendering: &Rendering<'_>) -> Answer {
    for plain in &mut records {
        plain.json = rendering.subset.of(rendering.definitions, std::mem::take(&mut plain.json));
    }
    let urls: Vec<String> = records
        .iter()
        .zip(&rendering.entries)
        .map(|(plain, (kind, _))| format!("{}/{}/{}", rendering.base, kind.name(), plain.id))
        .collect();
    let page = bundle::Page {
        self_link: &rendering.this,
        next_link: rendering.next.as_deref(),
        total: rendering.total,
        as_of: rendering.as_of,
    };
    let entries = records.iter().zip(&urls).zip(&rendering.entries).map(|((plain, url), (_, mode))| {
        bundle::Found { full_url: Some(url), resource: &plain.json, mode: *mode }
    });
    let said = rendering.outcome.iter().map(|outcome| bundle::Found {
        full_url: None,
        resource: outcome,
        mode: Mode::Outcome,
    });
    Answer::fhir(200, bundle::searchset(page, entries.chain(said)))
}
