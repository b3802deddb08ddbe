//! Who runs PostgreSQL: ourselves, or an unprivileged account when we are root.
//!
//! May import `clock` and its siblings.

use std::{
    fs::{self, DirBuilder, OpenOptions, Permissions},
    io,
    os::unix::{
        fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, lchown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::error::{At, ClusterError};
use crate::clock::Clock;

/// Accounts tried in this order when running as root; `_postgres` is macOS's name for it.
const UNPRIVILEGED: [&str; 3] = ["postgres", "_postgres", "nobody"];

/// The user that owns the data directory and runs every PostgreSQL command.
#[derive(Clone, Debug)]
pub(super) struct Account {
    /// Its name, for messages.
    pub(super) name: String,
    /// Its user id.
    pub(super) uid: u32,
    gid: u32,
    switch: Switch,
}

/// Whether commands must change user first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Switch {
    Stay,
    Drop,
}

impl Account {
    /// The account for a process that creates files in `home`.
    pub(super) fn choose(home: &Path) -> Result<Self, ClusterError> {
        let (uid, gid) = ourselves(home)?;
        if uid != 0 {
            return Ok(Self { name: "custodia's own user".to_owned(), uid, gid, switch: Switch::Stay });
        }
        let passwd = Path::new("/etc/passwd");
        let table = fs::read_to_string(passwd).at("read", passwd)?;
        UNPRIVILEGED.iter().find_map(|name| lookup(&table, name)).ok_or(ClusterError::NoAccount)
    }

    /// Whether we are root and PostgreSQL runs as somebody else.
    pub(super) fn is_someone_else(&self) -> bool {
        self.switch == Switch::Drop
    }

    /// A command that runs as this account, with nothing of our environment and no standard input.
    ///
    /// PG* variables of the caller (PGDATA, PGOPTIONS, ...) would change what the tools do, and a working
    /// directory the account may not enter makes them fail.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("LC_ALL", "C").env("TZ", "UTC").env("PATH", "/usr/bin:/bin");
        command.current_dir("/").stdin(Stdio::null());
        if self.is_someone_else() {
            // The standard library also drops supplementary groups when root names a user.
            command.uid(self.uid).gid(self.gid);
        }
        command
    }

    /// Makes `path` a folder of this account that nobody else may enter.
    pub(super) fn own_folder(&self, path: &Path) -> Result<(), ClusterError> {
        match DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => self.give(path)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                // If we crashed between creating and giving away, the folder is empty and still ours.
                let owner = fs::symlink_metadata(path).at("look at", path)?.uid();
                if owner == 0 && fs::read_dir(path).at("list", path)?.next().is_none() {
                    self.give(path)?;
                }
            }
            Err(error) => return Err(error).at("create", path),
        }
        self.check_owner(path)?;
        fs::set_permissions(path, Permissions::from_mode(0o700)).at("close", path)
    }

    /// Gives a file or folder we have just made to this account.
    pub(super) fn give(&self, path: &Path) -> Result<(), ClusterError> {
        if self.is_someone_else() {
            lchown(path, Some(self.uid), Some(self.gid)).at("give away", path)?;
        }
        Ok(())
    }

    /// Refuses a folder (or a link put in its place) that is not this account's.
    pub(super) fn check_owner(&self, path: &Path) -> Result<(), ClusterError> {
        let owner = fs::symlink_metadata(path).at("look at", path)?.uid();
        if owner == self.uid {
            return Ok(());
        }
        Err(ClusterError::WrongOwner { path: path.to_path_buf(), owner, expected: self.uid })
    }

    /// The first folder on the way to `path` (itself included) that this account may not enter.
    pub(super) fn barrier(&self, path: &Path) -> Result<Option<PathBuf>, ClusterError> {
        if !self.is_someone_else() {
            return Ok(None);
        }
        let mut way: Vec<&Path> = path.ancestors().filter(|step| !step.as_os_str().is_empty()).collect();
        way.reverse();
        for step in way {
            let found = fs::metadata(step).at("look at", step)?;
            let bit = if found.uid() == self.uid {
                0o100
            } else if found.gid() == self.gid {
                0o010
            } else {
                0o001
            };
            if found.mode() & bit == 0 {
                return Ok(Some(step.to_path_buf()));
            }
        }
        Ok(None)
    }
}

/// Our own user and group, read off a file we make: the standard library has no `geteuid`.
fn ourselves(home: &Path) -> Result<(u32, u32), ClusterError> {
    let probe = home.join(format!(".whoami-{}", Clock::machine().random_id().simple()));
    let file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&probe).at("create", &probe)?;
    let found = file.metadata().at("look at", &probe);
    fs::remove_file(&probe).at("remove", &probe)?;
    let found = found?;
    Ok((found.uid(), found.gid()))
}

/// One line of `/etc/passwd`: `name:password:uid:gid:...`; an entry that is itself root does not help.
fn lookup(table: &str, wanted: &str) -> Option<Account> {
    table.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next()? != wanted {
            return None;
        }
        let uid: u32 = fields.nth(1)?.parse().ok()?;
        let gid: u32 = fields.next()?.parse().ok()?;
        (uid != 0).then(|| Account { name: wanted.to_owned(), uid, gid, switch: Switch::Drop })
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn passwd_gives_the_first_unprivileged_account() {
        let table = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65533:n:/:/bin/false\npostgres:x:101:104::/:/bin/sh\n";
        let found = UNPRIVILEGED.iter().find_map(|name| lookup(table, name)).unwrap();
        assert_eq!((found.name.as_str(), found.uid, found.gid), ("postgres", 101, 104));
        let found = lookup(table, "nobody").unwrap();
        assert_eq!((found.uid, found.gid), (65534, 65533));
    }

    #[test]
    fn passwd_entries_that_are_root_or_broken_are_passed_over() {
        for table in
            ["postgres:x:0:0::/:/bin/sh", "postgres:x:-2:-2::/:/bin/sh", "postgres", "postgresql:x:5:5::/:"]
        {
            assert!(lookup(table, "postgres").is_none(), "{table}");
        }
    }
}
