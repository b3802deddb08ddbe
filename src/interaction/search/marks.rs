//! Candidates by their blind marks, newest first.
//!
//! Few bear a rare mark: they are found by it, all at once. Of a common one (a status, a category) the newest are
//! wanted, which a walk from the newest record on meets soon. Which of the two a mark is shows at the start of the walk.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use tokio::sync::OnceCell;
use uuid::Uuid;

use super::{
    Failure,
    follow::Key,
    hunt::{Hunt, undeclared},
    too_costly,
};
use crate::{fhir::search::Narrowness, seal::BlindMark, store::row::Row};

/// The place of a record in the order of updates.
pub(super) type Place = (DateTime<Utc>, Uuid);

/// The most records that are found by their mark all at once.
const FEW_MAX: usize = 2_000;
/// Records the first stretch of a walk passes; each further one is longer.
const STRETCH_FIRST: i64 = 256;
/// Records a stretch passes at the most.
const STRETCH_MAX: i64 = 16_384;
/// Records that the walk to one page's end passes at the most.
const WALKED_MAX: i64 = 1_000_000;

/// What is asked for, as marks: one of each list.
pub(super) struct Marked {
    lists: (Vec<BlindMark>, Vec<BlindMark>),
    /// The records that bear them if they are few; `None` inside if they are not.
    few: OnceCell<Option<HashSet<Uuid>>>,
}

impl Marked {
    fn lists(&self) -> [&[BlindMark]; 2] {
        [&self.lists.0, &self.lists.1]
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
        let mut groups: Vec<Vec<BlindMark>> = Vec::new();
        for asked in self.query.filters.iter().filter_map(|filter| listed.marks_of(filter)) {
            groups.push(asked.iter().map(|(parameter, mark)| keys.mark(parameter, mark)).collect());
        }
        for one in self.pointing.iter().filter(|one| listed.has(&one.parameter)) {
            let mark = |(kind, key): &Key| keys.record_mark(&one.parameter, *kind, *key);
            groups.push(one.at.iter().map(mark).collect());
        }
        // The two with the fewest alternatives; what is over is decided on the plaintext, as everything is.
        groups.sort_by_key(Vec::len);
        let mut groups = groups.into_iter();
        let Some(first) = groups.next() else { return Ok(()) };
        let second = groups.next().unwrap_or_else(|| first.clone());
        self.marked = Some(Marked { lists: (first, second), few: OnceCell::new() });
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
        if let Some(Some(few)) = marked.few.get() {
            return self.narrowed(start, limit, Some(few)).await;
        }
        let mut after = start;
        let (store, view) = (&self.scout.app.store, &self.scout.view);
        let (mut found, mut stretch, mut walked) = (Vec::new(), STRETCH_FIRST, 0);
        loop {
            let wanted = limit.saturating_sub(i64::try_from(found.len()).unwrap_or(i64::MAX));
            found.extend(
                store.newest_marked(view, self.narrowing(after, wanted), marked.lists(), stretch).await?,
            );
            if i64::try_from(found.len()).unwrap_or(i64::MAX) >= limit {
                return Ok(found);
            }
            if let Some(few) = self.few(marked).await? {
                // What was found on the way is among them.
                return self.narrowed(start, limit, Some(few)).await;
            }
            // The stretch was passed to its end: the walk goes on from there, if anything is left.
            let Some(place) = store.place_after(view, &self.narrowing(after, limit), stretch).await? else {
                return Ok(found);
            };
            after = Some(place);
            walked += stretch;
            if walked > WALKED_MAX {
                return Err(too_costly());
            }
            stretch = stretch.saturating_mul(4).min(STRETCH_MAX);
        }
    }

    /// The records that bear the marks, if they are few.
    async fn few<'m>(&self, marked: &'m Marked) -> Result<Option<&'m HashSet<Uuid>>, Failure> {
        let few = marked.few.get_or_try_init(|| async {
            let (app, tenant) = (self.scout.app, self.scout.view.tenant);
            let most = i64::try_from(FEW_MAX).unwrap_or(i64::MAX).saturating_add(1);
            let found = app.store.marked(tenant, self.query.kind, marked.lists(), most).await?;
            Ok::<_, Failure>((found.len() <= FEW_MAX).then(|| found.into_iter().collect()))
        });
        Ok(few.await?.as_ref())
    }

    /// Candidates of what patients, ids or these keys narrow the search to.
    async fn narrowed(
        &self,
        after: Option<Place>,
        limit: i64,
        few: Option<&HashSet<Uuid>>,
    ) -> Result<Vec<Row>, Failure> {
        let mut narrowing = self.narrowing(after, limit);
        if let Some(few) = few {
            narrowing.keys = Some(few.iter().copied().collect());
        }
        if narrowing.keys.as_ref().is_some_and(Vec::is_empty)
            || narrowing.patients.as_ref().is_some_and(Vec::is_empty)
        {
            return Ok(Vec::new());
        }
        Ok(self.scout.app.store.candidates(&self.scout.view, narrowing).await?)
    }
}
