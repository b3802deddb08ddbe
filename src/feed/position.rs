//! How far the collector has come: one line in one file, `<origin> <index of the next entry>`.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

/// The longest line.
const LINE_BYTES_MAX: u64 = 512;

/// The position, as it is on the disk.
pub(super) struct Position {
    folder: PathBuf,
    origin: String,
    next: u64,
}

impl Position {
    /// Reads it; a feed that is new begins with the log's first entry.
    ///
    /// # Errors
    /// When the file cannot be read, or is of another log: then it is not clear what was sent, and somebody must say
    /// so by removing it.
    pub(super) fn open(folder: PathBuf, origin: &str) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        let wrong = |what: &'static str| io::Error::new(io::ErrorKind::InvalidData, what);
        let next = match read(&folder.join("position")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
            Ok(line) => {
                let (of, index) =
                    line.trim_end().rsplit_once(' ').ok_or_else(|| wrong("it is no position"))?;
                if of != origin {
                    return Err(wrong(
                        "it is of another log; remove feed/position to feed this one from its start",
                    ));
                }
                index.parse().map_err(|_| wrong("it is no position"))?
            }
        };
        Ok(Self { folder, origin: origin.to_owned(), next })
    }

    /// The index of the entry that is next.
    pub(super) const fn next(&self) -> u64 {
        self.next
    }

    /// Keeps a new position, durably: temporary file, sync, rename, sync of the folder.
    ///
    /// If we crash before the rename, the old position stands.
    ///
    /// # Errors
    /// When it cannot be written; the old position then stands.
    pub(super) fn advance(&mut self, next: u64) -> io::Result<()> {
        let unfinished = self.folder.join("position.unfinished");
        let mut file =
            fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
        writeln!(file, "{} {next}", self.origin)?;
        file.sync_all()?;
        fs::rename(&unfinished, self.folder.join("position"))?;
        fs::File::open(&self.folder)?.sync_all()?;
        self.next = next;
        Ok(())
    }
}

fn read(path: &Path) -> io::Result<String> {
    if fs::metadata(path)?.len() > LINE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is longer than a position"));
    }
    fs::read_to_string(path)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_position_is_kept_and_never_taken_for_another_logs() {
        let folder = std::env::temp_dir().join(format!("custodia-position-{}", std::process::id()));
        fs::remove_dir_all(&folder).ok();
        let mut position = Position::open(folder.clone(), "a.test/log").unwrap();
        assert_eq!(position.next(), 0);
        position.advance(17).unwrap();
        assert_eq!(Position::open(folder.clone(), "a.test/log").unwrap().next(), 17);
        assert!(Position::open(folder.clone(), "b.test/log").is_err());
        // A crash before the rename leaves the old one.
        fs::write(folder.join("position.unfinished"), "a.test/log 99\n").unwrap();
        assert_eq!(Position::open(folder.clone(), "a.test/log").unwrap().next(), 17);
        let long = format!("a.test/log {}", "1".repeat(600));
        for broken in ["", "17", "a.test/log x", "a.test/log -1", &long] {
            fs::write(folder.join("position"), broken).unwrap();
            assert!(Position::open(folder.clone(), "a.test/log").is_err(), "{broken:?}");
        }
        fs::remove_dir_all(&folder).unwrap();
    }
}
