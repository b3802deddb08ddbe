//! Candidates by their blind marks, newest first.
//!
//! Few bear a rare mark: they are found by it, all at once. Of a common one (a status, a category) the newest are
//! wanted, which a walk from the newest record on meets soon. Which of the two a mark is shows at the start of the walk.

use std::hash::{DefaultHasher, Hash, Hasher as _};

use chrono::{DateTime, Utc};
use tokio::sync::OnceCell;
use uuid::Uuid;

use super::{
    Failure,
    follow::Key,
    hunt::{Hunt, undeclared},
    too_costly,
};
use crate::{
    fhir::search::{Compiled, Mark, Narrowness},
    seal::BlindMark,
    store::row::Row,
};

/// The place of a record in the order of updates.
pub(super) type Place = (DateTime<Utc>, Uuid);

/// The most records that are found by their mark all at once.
const FEW_MAX: usize = 4_000;
/// Records the first stretch of a walk passes; each further one is longer.
const STRETCH_FIRST: i64 = 256;
/// Records a stretch passes at the most.
const STRETCH_MAX: i64 = 16_384;
/// A walk that has more work ahead of it, as far as can be told, first asks whether few bear the mark. A record is so many marks
/// that are looked for, and [`ROW_WORK`].
const AHEAD_WORK: i64 = 6_000;
/// What passing a record costs, in marks that are looked for in it.
const ROW_WORK: i64 = 3;
/// A list of more marks than this is looked for on a walk only where a wider one has been found.
const WALKED_MARKS_MAX: usize = 4;
/// Of few, so many are looked up at once at the least.
const LOOKED_UP_LEAST: usize = 16;
/// Records that the walk to one page's end passes at the most.
const WALKED_MAX: i64 = 1_000_000;

/// What is asked for, as marks: one of each list.
pub(super) struct Marked {
    lists: (Vec<BlindMark>, Option<Vec<BlindMark>>),
    /// What goes before the lists on a walk from record to record: fewer marks, that more records bear.
    before: Option<Vec<BlindMark>>,
    /// The records that bear them if they are few, newest first; `None` inside if they are not.
    few: OnceCell<Option<Vec<Place>>>,
    /// Stands for tenant, type and marks: under it is remembered whether few bore them.
    name: u64,
}

impl Marked {
    /// For a walk: the first list is looked for first.
    fn walked(&self) -> [&[BlindMark]; 2] {
        let (one, other) = &self.lists;
        match &self.before {
            Some(before) => [before, one],
            None => [one, other.as_ref().unwrap_or(one)],
        }
    }
}

impl Hunt<'_> {
    /// Says which marks the records bear, unless patients or ids narrow the search already.
    pub(super) fn narrow_by_marks(&mut self) -> Result<(), Failure> {
        match self.narrowness() {
            Narrowness::Few | Narrowness::Type => return Ok(()),
            Narrowness::None => return Err(undeclared(self.query, &self.pointing)),
            Narrowness::Marks => {}
        }
        let (listed, keys) = (&self.scout.in_force.listed, &self.scout.keys);
        let marks = |asked: &[(&Compiled, Mark<'static>)]| -> Vec<BlindMark> {
            asked.iter().map(|(parameter, mark)| keys.mark(parameter, mark)).collect()
        };
        let asked: Vec<_> = self.query.filters.iter().filter_map(|filter| listed.marks_of(filter)).collect();
        let mut groups: Vec<Vec<BlindMark>> = asked.iter().map(|group| marks(group)).collect();
        for one in self.pointing.iter().filter(|one| listed.has(&one.parameter)) {
            let mark = |(kind, key): &Key| keys.record_mark(&one.parameter, *kind, *key);
            groups.push(one.at.iter().map(mark).collect());
        }
        // What narrows alone; of two filters the shorter list is looked for first already.
        let before = if groups.len() == 1 {
            let composite = self.query.filters.iter().find_map(|filter| listed.first_of(filter));
            composite
                .map(|first| marks(&first))
                .or_else(|| asked.first().and_then(|group| wider(group, marks)))
        } else {
            None
        };
        // The two with the fewest alternatives; what is over is decided on the plaintext, as everything is.
        groups.sort_by_key(Vec::len);
        let mut groups = groups.into_iter();
        let Some(first) = groups.next() else { return Ok(()) };
        let second = groups.next();
        let name = named(&(self.scout.view.tenant.0, self.query.kind.code(), &first, &second));
        self.marked = Some(Marked { lists: (first, second), before, few: OnceCell::new(), name });
        Ok(())
    }

    /// The next candidates after a place, newest first; fewer than `limit` are all there are.
    pub(super) async fn rows(&self, after: Option<Place>, limit: i64) -> Result<Vec<Row>, Failure> {
        match &self.marked {
            None => self.narrowed(after, limit, None).await,
            Some(marked) => self.marked_rows(marked, after, limit).await,
        }
    }

    async fn marked_rows(
        &self,
        marked: &Marked,
        start: Option<Place>,
        limit: i64,
    ) -> Result<Vec<Row>, Failure> {
        let last_time = self.scout.app.few.get(&marked.name);
        if (marked.few.initialized() || last_time == Some(true))
            && let Some(few) = self.few(marked).await?
        {
            return self.of_few(few, start, limit).await;
        }
        let asked = i64::try_from(marked.walked()[0].len()).unwrap_or(i64::MAX);
        let ahead_max = AHEAD_WORK / asked.saturating_add(ROW_WORK);
        // If it was short the last time, or they were not few.
        let ahead_max = if last_time == Some(false) { 2 * ahead_max } else { ahead_max };
        let mut after = start;
        let (store, view) = (&self.scout.app.store, &self.scout.view);
        let (mut bear, mut found, mut stretch, mut walked) = (Vec::new(), Vec::new(), STRETCH_FIRST, 0);
        loop {
            let wanted = limit.saturating_sub(count(&found)).saturating_sub(count(&bear));
            let passed =
                store.stretch(view, &self.narrowing(after, wanted), marked.walked(), stretch).await?;
            let is_full = count(&passed.bear) >= wanted;
            let end = if is_full { passed.bear.last().copied() } else { passed.end };
            bear.extend(passed.bear);
            if is_full || end.is_none() {
                found.extend(self.narrowed(start, limit, Some(&std::mem::take(&mut bear))).await?);
            }
            if is_full && walked <= ahead_max && !marked.few.initialized() {
                self.scout.app.few.insert(marked.name, false);
            }
            // One that was written or deleted meanwhile is not among the candidates: the walk goes on in its place.
            let Some(place) = end.filter(|_| count(&found) < limit) else { return Ok(in_order(found)) };
            walked += stretch;
            // As far as can be told, this many records fill the page.
            let met = count(&found).saturating_add(count(&bear));
            let ahead = limit.saturating_sub(met).saturating_mul(walked) / met.max(1);
            if ahead > ahead_max
                && let Some(few) = self.few(marked).await?
            {
                // What was met on the way is among them.
                return self.of_few(few, start, limit).await;
            }
            after = Some(place);
            if walked > WALKED_MAX {
                return Err(too_costly());
            }
            stretch = ahead.clamp(stretch, stretch.saturating_mul(4)).min(STRETCH_MAX);
        }
    }

    /// The next of few records after a place.
    async fn of_few(&self, few: &[Place], start: Option<Place>, limit: i64) -> Result<Vec<Row>, Failure> {
        let first = start.map_or(0, |start| few.partition_point(|place| *place >= start));
        let mut left = few.get(first..).unwrap_or_default();
        let mut found = Vec::new();
        // One that was written or deleted meanwhile is not among the candidates: more are looked up in its place.
        while !left.is_empty() && count(&found) < limit {
            let wanted = usize::try_from(limit.saturating_sub(count(&found))).unwrap_or(usize::MAX);
            let (these, rest) = left.split_at(wanted.max(LOOKED_UP_LEAST).min(left.len()));
            found.extend(self.narrowed(start, limit, Some(these)).await?);
            left = rest;
        }
        Ok(in_order(found))
    }

    /// The records that bear the marks, newest first, if they are few.
    async fn few<'m>(&self, marked: &'m Marked) -> Result<Option<&'m [Place]>, Failure> {
        let few = marked.few.get_or_try_init(|| async {
            let (app, tenant) = (self.scout.app, self.scout.view.tenant);
            let most = i64::try_from(FEW_MAX).unwrap_or(i64::MAX).saturating_add(1);
            let (one, other) = (marked.lists.0.as_slice(), marked.lists.1.as_deref());
            let mut found = app.store.marked(tenant, self.query.kind, (one, other), most).await?;
            app.few.insert(marked.name, found.len() <= FEW_MAX);
            if found.len() > FEW_MAX {
                return Ok::<_, Failure>(None);
            }
            let (from, until) = self.span();
            found.retain(|(updated, _)| (from..until).contains(updated));
            found.sort_unstable_by(|one, other| other.cmp(one));
            Ok(Some(found))
        });
        Ok(few.await?.as_deref())
    }

    /// Candidates of what patients, ids or these keys narrow the search to.
    async fn narrowed(
        &self,
        after: Option<Place>,
        limit: i64,
        few: Option<&[Place]>,
    ) -> Result<Vec<Row>, Failure> {
        let mut narrowing = self.narrowing(after, limit);
        if let Some(few) = few {
            narrowing.keys = Some(few.iter().map(|(_, key)| *key).collect());
        }
        if narrowing.keys.as_ref().is_some_and(Vec::is_empty)
            || narrowing.patients.as_ref().is_some_and(Vec::is_empty)
        {
            return Ok(Vec::new());
        }
        Ok(self.scout.app.store.candidates(&self.scout.view, narrowing).await?)
    }
}

/// A number that stands for something in this process.
fn named(what: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

/// Newest first: one that was written meanwhile stands at its new place, and the last one is where the next page starts.
fn in_order(mut rows: Vec<Row>) -> Vec<Row> {
    rows.sort_unstable_by_key(|row| std::cmp::Reverse((row.at.updated, row.at.key)));
    rows
}

/// Of a long list of spans, fewer and wider ones that whatever bears one of the list bears too.
fn wider(
    group: &[(&Compiled, Mark<'static>)],
    marks: impl Fn(&[(&Compiled, Mark<'static>)]) -> Vec<BlindMark>,
) -> Option<Vec<BlindMark>> {
    let mut widest = None;
    for size in 1..Mark::SIZES {
        if widest.as_ref().map_or(group.len(), Vec::len) <= WALKED_MARKS_MAX {
            break;
        }
        let wide: Vec<_> = group.iter().map(|(one, mark)| (*one, mark.within(size))).collect();
        let mut wide = marks(&wide);
        wide.sort_unstable();
        wide.dedup();
        widest = Some(wide);
    }
    widest.filter(|wide| wide.len() <= group.len() / 2)
}

fn count<T>(all: &[T]) -> i64 {
    i64::try_from(all.len()).unwrap_or(i64::MAX)
}
