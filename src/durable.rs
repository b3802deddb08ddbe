//! Files that are there whole or not at all, and stay there when the power goes.
//!
//! May import nothing of the house. Order of a put, which is the design: write beside each file; sync it; rename it;
//! sync each folder once. If we crash before the renames, the old files stand and what was written beside them is
//! overwritten by the next put; between renames, some files are new and some old, so whoever puts several must let none
//! of them speak of another that may be missing; after the last sync, all are there.

use std::{
    collections::BTreeSet,
    fs::{self, DirBuilder, File},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

/// A step that can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Writing beside the file.
    Write,
    /// Syncing what was written.
    Sync,
    /// Renaming it over the file.
    Rename,
    /// Syncing the folder.
    SyncFolder,
}

/// How a step fails in a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It does not.
    None,
    /// It is not done, and says so.
    NotDone,
    /// It is done, and says that it failed.
    DoneButFailed,
}

type Faults = Arc<dyn Fn(Step, &Path) -> Fault + Send + Sync>;

/// Puts files durably. Faults are injected, as time is.
#[derive(Clone)]
pub struct Durable {
    faults: Option<Faults>,
    mode: u32,
}

impl Durable {
    /// For files that others on this machine may read.
    #[must_use]
    pub const fn shared() -> Self {
        Self { faults: None, mode: 0o644 }
    }

    /// For files of their owner alone.
    #[must_use]
    pub const fn private() -> Self {
        Self { faults: None, mode: 0o600 }
    }

    /// The same, with steps that fail as `faults` says.
    #[must_use]
    pub fn failing(self, faults: impl Fn(Step, &Path) -> Fault + Send + Sync + 'static) -> Self {
        Self { faults: Some(Arc::new(faults)), ..self }
    }

    /// Puts one file.
    ///
    /// # Errors
    /// What the system says: then the file is the old one or the new one, and nobody knows which.
    pub fn put(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.put_all(&[(path.to_owned(), bytes)])
    }

    /// Puts several files, making the folders they stand in.
    ///
    /// # Errors
    /// As [`Durable::put`], for each of them.
    pub fn put_all<B: AsRef<[u8]>>(&self, files: &[(PathBuf, B)]) -> io::Result<()> {
        let mut folders = BTreeSet::new();
        for (path, bytes) in files {
            let folder = path.parent().ok_or_else(no_folder)?;
            if !folders.contains(folder) {
                self.make(folder, &mut folders)?;
            }
            let beside = beside(path)?;
            let mut options = File::options();
            options.write(true).create(true).truncate(true).mode(self.mode);
            let mut file = None;
            self.step(Step::Write, path, || {
                let mut opened = options.open(&beside)?;
                opened.write_all(bytes.as_ref())?;
                file = Some(opened);
                Ok(())
            })?;
            self.step(Step::Sync, path, || file.as_ref().map_or(Ok(()), File::sync_all))?;
        }
        for (path, _) in files {
            self.step(Step::Rename, path, || fs::rename(beside(path)?, path))?;
        }
        for folder in folders {
            self.step(Step::SyncFolder, &folder, || File::open(&folder)?.sync_all())?;
        }
        Ok(())
    }

    /// Makes a folder and those above it; every folder that got a new name in it is to be synced.
    fn make(&self, folder: &Path, to_sync: &mut BTreeSet<PathBuf>) -> io::Result<()> {
        let mut missing = folder;
        while !missing.as_os_str().is_empty() && !missing.exists() {
            let Some(above) = missing.parent() else { break };
            to_sync.insert(if above.as_os_str().is_empty() { PathBuf::from(".") } else { above.to_owned() });
            missing = above;
        }
        let mode = if self.mode & 0o077 == 0 { 0o700 } else { 0o755 };
        DirBuilder::new().recursive(true).mode(mode).create(folder)?;
        to_sync.insert(folder.to_owned());
        Ok(())
    }

    fn step(&self, step: Step, path: &Path, work: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let fault = self.faults.as_ref().map_or(Fault::None, |faults| faults(step, path));
        if fault == Fault::NotDone {
            return Err(io::Error::other("a fault of a test"));
        }
        work()?;
        match fault {
            Fault::DoneButFailed => Err(io::Error::other("a fault of a test")),
            Fault::None | Fault::NotDone => Ok(()),
        }
    }
}

/// The name a file has while it is written.
fn beside(path: &Path) -> io::Result<PathBuf> {
    let mut name = path.file_name().ok_or_else(no_folder)?.to_owned();
    name.push(".new");
    Ok(path.with_file_name(name))
}

fn no_folder() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "a file in a folder is wanted")
}

/// Reads a file of at most `bytes_max`; `None` if there is none.
///
/// # Errors
/// What the system says, and [`io::ErrorKind::FileTooLarge`].
pub fn read(path: &Path, bytes_max: usize) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    let most = u64::try_from(bytes_max).unwrap_or(u64::MAX);
    io::Read::read_to_end(&mut io::Read::take(file, most.saturating_add(1)), &mut bytes)?;
    if bytes.len() > bytes_max { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(Some(bytes)) }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::clock::Clock;

    fn folder() -> PathBuf {
        let id: Uuid = Clock::machine().random_id();
        std::env::temp_dir().join(format!("custodia-durable-{}", id.simple()))
    }

    #[test]
    fn a_put_that_fails_at_any_step_leaves_the_old_file_or_the_new_one() {
        let folder = folder();
        let path = folder.join("a/b/file");
        for step in [Step::Write, Step::Sync, Step::Rename, Step::SyncFolder] {
            for fault in [Fault::NotDone, Fault::DoneButFailed] {
                Durable::shared().put(&path, b"old").unwrap();
                let failing =
                    Durable::shared().failing(move |at, _| if at == step { fault } else { Fault::None });
                failing.put(&path, b"the new one").unwrap_err();
                let renamed = match step {
                    Step::Write | Step::Sync => false,
                    Step::Rename => fault == Fault::DoneButFailed,
                    Step::SyncFolder => true,
                };
                let expected: &[u8] = if renamed { b"the new one" } else { b"old" };
                assert_eq!(read(&path, 100).unwrap().unwrap(), expected, "{step:?} {fault:?}");
                // What a failed put left beside the file does not hinder the next.
                Durable::shared().put(&path, b"next").unwrap();
                assert_eq!(read(&path, 100).unwrap().unwrap(), b"next");
            }
        }
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_file_is_read_up_to_its_bound() {
        let folder = folder();
        let path = folder.join("file");
        Durable::private().put(&path, &[7; 10]).unwrap();
        assert_eq!(read(&path, 10).unwrap().unwrap().len(), 10);
        assert_eq!(read(&path, 9).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert!(read(&folder.join("none"), 9).unwrap().is_none());
        fs::remove_dir_all(folder).unwrap();
    }
}
