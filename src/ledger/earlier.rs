//! The logs that this one continues, as far as the database holds them: they are read and never written.
//!
//! May import `reader`, `signing`. The first entry of a log that was begun after another says which, and commits to its size and
//! root (decision 0030). What stands in the older one beyond that size was never continued: a backup's second history, or
//! what a thief of the key signed. It is not read.

use custodia_audit::{Control, Hash, Leaf, verify_consistency};
use diesel::{
    OptionalExtension as _, QueryableByName,
    sql_types::{SmallInt, Text},
};
use diesel_async::RunQueryDsl as _;

use super::{
    Link,
    reader::{LedgerReader, ReadError},
};
use crate::store::statement::Statement;

/// Logs that are followed back; what is before them is not read.
pub const EARLIER_MAX: usize = 64;

#[derive(QueryableByName)]
struct ShardRow {
    #[diesel(sql_type = SmallInt)]
    shard: i16,
}

impl LedgerReader {
    /// Readers of the logs before this one, the newest first; `link` is what this one's first entry will say, if it has none
    /// yet.
    ///
    /// # Errors
    /// [`ReadError::Broken`] when one of them is not the log that its successor committed to.
    pub(super) async fn earlier(&self, link: Option<&Link>) -> Result<Vec<Self>, ReadError> {
        let mut found: Vec<Self> = Vec::new();
        while found.len() < EARLIER_MAX {
            let newest = found.last().unwrap_or(self);
            let said = match link.filter(|_| found.is_empty()) {
                Some(link) => Some(link.clone()),
                None => newest.continues().await?,
            };
            let Some(link) = said else { break };
            let Some(shard) = self.shard_of(&link.origin).await? else { break };
            let is_known = |log: &Self| log.shard() == shard;
            if is_known(self) || found.iter().any(is_known) {
                return Err(ReadError::Broken);
            }
            let earlier = self.of(shard, &link);
            earlier.is_continued_by(newest.origin(), &link).await?;
            found.push(earlier);
        }
        Ok(found)
    }

    /// What the first entry says of the log before.
    async fn continues(&self) -> Result<Option<Link>, ReadError> {
        let leaf = match self.leaf(0).await {
            Ok(leaf) => Leaf::from_bytes(&leaf).map_err(|_| ReadError::Broken)?,
            Err(ReadError::Beyond) => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(match leaf {
            Leaf::Control(Control::ShardLink { origin, size, root, .. }) => Some(Link { origin, size, root }),
            Leaf::Control(_) | Leaf::Access(_) => None,
        })
    }

    async fn shard_of(&self, origin: &str) -> Result<Option<i16>, ReadError> {
        let row: Option<ShardRow> =
            Statement::new("SELECT shard FROM ledger_head WHERE origin = ? ORDER BY shard LIMIT 1")
                .bind::<Text, _>(origin.to_owned())
                .get_result(&mut self.store.connection().await?)
                .await
                .optional()?;
        Ok(row.map(|row| row.shard))
    }

    /// Whether the tree that was committed to is a part of this log. Of one that was put back to an earlier day, only what
    /// is left can be read, and nothing be said.
    async fn is_continued_by(&self, next: &str, link: &Link) -> Result<(), ReadError> {
        let (_, head) = self.checkpoint().await?;
        if head.size < link.size {
            return Ok(());
        }
        // As of a log that is written: the right edge of its tree is what the database holds (the rest, `anchor/recount.rs`).
        let _edge = self.edge().await?;
        // One that was closed names who continues it, and no other does.
        let last = match link.size {
            0 | 1 => None,
            size => super::head::closes(&self.leaf(size - 1).await?),
        };
        if last.is_some_and(|named| named != next) {
            return Err(ReadError::Broken);
        }
        let proof = match link.size {
            0 => Vec::new(),
            same if same == head.size => Vec::new(),
            size => self.consistency(size, head.size).await?,
        };
        verify_consistency(link.size, Hash(link.root), head.size, head.root, &proof)
            .map_err(|_| ReadError::Broken)
    }
}
