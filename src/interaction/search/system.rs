//! search-system (FHIR R4 http.html#search): several types at once, in one order.
//!
//! Each type is searched as it would be alone, down to the page that starts at the same place; of those pages the first
//! matches are the page. What a type brings beyond it is not disclosed.

use super::{
    Asked, Failure, Found, Hunt, Known, Looked, Position, Scout, answer, hunt::Matches, include, named,
    position, seats::seated, settle,
};
use crate::{
    answer::Answer,
    app::App,
    fhir::{
        outcome::{IssueCode, Problem},
        search::{Level, Query, Total, form, types},
    },
    gate::Act,
    interaction::{ATTEMPTS_MAX, Ask, audit_events, forbidden, reindex::settled},
    ledger::{Audited, Rejected, Stale},
    refusal::Refusal,
};

/// `GET [base]?_type=A,B&...`, and `POST [base]/_search` with the parameters in the body.
///
/// # Errors
/// [`Failure`] as every interaction.
pub async fn of_system(
    app: &App,
    ask: &Ask,
    query: Option<&str>,
    body: Option<&[u8]>,
) -> Result<Audited<Answer>, Failure> {
    for _ in 0..ATTEMPTS_MAX {
        let (scout, mut known) = (Scout::new(app, ask)?, None);
        let queries = parse(&scout, query, body, &mut known).await?;
        // INVARIANT: `types` gives one at the least (`a_search_of_the_system_names_its_types`).
        let first = queries.first().ok_or(Refusal::Internal)?;
        let after = position(&scout, first)?;
        let as_of = settle(&scout, first).await?;
        let (matches, included) = seated(&app.seats, async {
            let matches = merge(&scout, &queries, after.as_ref()).await?;
            let included = include::gather(&scout, first, &matches.page).await?;
            Ok::<_, Failure>((matches, included))
        })
        .await?;
        scout.go_on()?;
        if settled(app, scout.view.tenant, &scout.in_force).await? {
            let (mut released, answer) = answer::make(&scout, (first, as_of), matches, included)?;
            released.extend(known.map(|known| known.released).unwrap_or_default());
            return Looked { released, answer }.disclose(app, ask).await;
        }
    }
    Err(Rejected::from(Stale::Changed).into())
}

/// The same question for each of the types.
async fn parse(
    scout: &Scout<'_>,
    query: Option<&str>,
    body: Option<&[u8]>,
    known: &mut Option<Known>,
) -> Result<Vec<Query>, Failure> {
    let Scout { app, ask, .. } = *scout;
    let malformed = |problem: Problem| Failure::from(Refusal::Malformed(vec![problem]));
    let pairs = form::decode_both(query, body).map_err(malformed)?;
    let kinds = types(&pairs).map_err(malformed)?;
    let noted = kinds.iter().try_for_each(|kind| named::note(app, ask, *kind, &pairs, None));
    let mut queries: Vec<Query> = Vec::new();
    for kind in kinds {
        if audit_events::searches_log(app, ask, kind) {
            let text = "The log is searched by itself: GET [base]/AuditEvent.";
            return Err(Refusal::NotSupported(text.to_owned()).into());
        }
        app.gate.approach(&ask.caller, Act::Search, kind).map_err(forbidden)?;
        let (searches, handling) = (&scout.in_force.searches, ask.handling);
        let asked = Asked { kind, level: Level::System, searches, handling, pairs: &pairs };
        let query = asked.understand(app, ask, known).await?;
        // A filter that one of the types does not have would release more of it than was asked for.
        let same = |other: &Query| {
            other.ignored.iter().map(|one| &one.text).eq(query.ignored.iter().map(|one| &one.text))
        };
        if !queries.last().is_none_or(same) {
            let text = "A parameter of a search of several types must be defined for each of them.";
            return Err(malformed(
                Problem::error(IssueCode::NotSupported, text).by("search.unknown-parameter"),
            ));
        }
        queries.push(query);
    }
    noted?;
    Ok(queries)
}

/// The page of all of them.
async fn merge(scout: &Scout<'_>, queries: &[Query], after: Option<&Position>) -> Result<Matches, Failure> {
    let mut merged = Matches { page: Vec::new(), more: false, total: Some(0), counted: Vec::new() };
    for query in queries {
        let its = Hunt::new(scout, query, Vec::new()).await?.page(after).await?;
        merged.page.extend(its.page);
        merged.more |= its.more;
        merged.total = merged.total.zip(its.total).map(|(all, its)| all.saturating_add(its));
        merged.counted.extend(its.counted);
    }
    let Some(first) = queries.first() else { return Ok(merged) };
    merged.page.sort_unstable_by(Found::order);
    let count = usize::try_from(first.count).unwrap_or(usize::MAX);
    let rest = merged.page.split_off(count.min(merged.page.len()));
    merged.more |= !rest.is_empty();
    // What is counted is told of, on this page or not.
    if first.total == Some(Total::Accurate) {
        merged.counted.extend(rest.into_iter().map(Found::counted));
    }
    Ok(merged)
}
