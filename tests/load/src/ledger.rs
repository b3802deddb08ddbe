//! What the ledger does under a load, and what the disk below it could: entries, batches, and syncs a second.
//!
//! Imports `caller`, `client` and `fault`. A batch waits for one sync of the write-ahead log; so entries a second over syncs a second
//! tell how far commits are shared.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::Path,
    time::{Duration, Instant},
};

use hyper::Uri;
use serde::Serialize;

use crate::{
    caller::Caller,
    client::{Call, Keep},
    fault::Fault,
};

/// What PostgreSQL writes at once.
const PAGE: [u8; 8_192] = [0xa5; 8_192];
/// A file of the size of a segment's beginning: each write goes elsewhere, as in a write-ahead log.
const PAGES: u64 = 1_024;

/// What a server has committed since it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Committed {
    entries: u64,
    batches: u64,
}

/// What was committed within a time.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Rate {
    /// Entries a second.
    pub(crate) entries_per_s: f64,
    /// Batches a second.
    pub(crate) batches_per_s: f64,
}

impl Committed {
    /// Reads `/metrics`; `None` of a server that does not tell.
    pub(crate) async fn read(caller: &Caller) -> Option<Self> {
        let call = Call::get(Uri::from_static("/metrics"));
        let reply = caller.clone().send(call, Keep::Body).await.ok()?;
        Self::parse(std::str::from_utf8(&reply.body).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let of = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().parse::<u64>().ok()
        };
        let entries = of("custodia_ledger_entries_total ")?;
        Some(Self { entries, batches: of("custodia_ledger_batches_total ")? })
    }

    /// What came since `before`.
    pub(crate) fn since(self, before: Self, seconds: f64) -> Rate {
        let per_s = |now: u64, then: u64| now.saturating_sub(then) as f64 / seconds;
        Rate {
            entries_per_s: per_s(self.entries, before.entries),
            batches_per_s: per_s(self.batches, before.batches),
        }
    }
}

/// How often a second the disk under `folder` can sync a page that was just written (fdatasync, one after the other).
pub(crate) fn syncs_per_s(folder: &Path, time: Duration) -> Result<f64, Fault> {
    let path = folder.join("custodia-load-sync");
    let measured = File::options().create(true).write(true).truncate(true).open(&path).and_then(|file| {
        for page in 0..PAGES {
            file.write_all_at(&PAGE, page * 8_192)?;
        }
        file.sync_all()?;
        let (began, mut count) = (Instant::now(), 0_u64);
        while began.elapsed() < time {
            file.write_all_at(&PAGE, count % PAGES * 8_192)?;
            file.sync_data()?;
            count += 1;
        }
        Ok(count as f64 / began.elapsed().as_secs_f64())
    });
    drop(fs::remove_file(&path));
    measured.map_err(Fault::io("write", &path))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn what_a_server_tells_is_read() {
        let text = "# TYPE custodia_ledger_batches counter\ncustodia_ledger_batches_total 20\n\
                    custodia_ledger_batches_failed_total 1\ncustodia_ledger_entries_total 900\n# EOF\n";
        let now = Committed::parse(text).unwrap();
        let rate = now.since(Committed { entries: 100, batches: 10 }, 2.0);
        assert!((rate.entries_per_s - 400.0).abs() < 1e-9 && (rate.batches_per_s - 5.0).abs() < 1e-9);
        assert_eq!(Committed::parse("custodia_ledger_entries_total 900\n"), None);
    }

    #[test]
    fn a_disk_syncs_and_nothing_of_ours_stays() {
        let folder = std::env::temp_dir().join(format!("custodia-load-sync-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        assert!(syncs_per_s(&folder, Duration::from_millis(20)).unwrap() > 0.0);
        fs::remove_dir(&folder).unwrap();
    }
}
