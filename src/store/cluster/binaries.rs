//! Where PostgreSQL's server programs are: PATH, the usual places, what was fetched before.
//!
//! May import only its siblings.

use std::{
    cmp::Reverse,
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{OLDEST_MAJOR, account::Account, error::ClusterError, run};

/// The usual places outside PATH; one `*` per pattern stands for anything within one folder name.
pub(super) const USUAL_PLACES: [&str; 8] = [
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/libexec/postgresql*",
    "/usr/local/pgsql/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
    "/usr/local/bin",
];

/// A program that answers `--version` later than this is not asked further.
const VERSION_WITHIN: Duration = Duration::from_secs(5);

/// A folder with `postgres`, `initdb` and `pg_ctl` that the account can run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Binaries {
    /// The folder.
    pub(super) bin: PathBuf,
    /// The major version, such as 17.
    pub(super) major: u32,
    /// The whole version, such as `17.6`.
    pub(super) version: String,
}

impl Binaries {
    /// The path of one program.
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }
}

/// Every usable server in order of preference: `path` as it stands, then `places`, newest first.
pub(super) async fn search(
    account: &Account,
    path: &[PathBuf],
    places: &[PathBuf],
) -> Result<Vec<Binaries>, ClusterError> {
    let mut seen = HashSet::new();
    let mut found = ask_all(account, path, &mut seen).await?;
    let mut elsewhere = ask_all(account, places, &mut seen).await?;
    elsewhere.sort_by_key(|one| (Reverse(one.major), Reverse(minor(&one.version))));
    found.append(&mut elsewhere);
    Ok(found)
}

async fn ask_all(
    account: &Account,
    folders: &[PathBuf],
    seen: &mut HashSet<PathBuf>,
) -> Result<Vec<Binaries>, ClusterError> {
    let mut found = Vec::new();
    for folder in folders {
        // A link in PATH leads to the folder that holds the rest of the installation.
        let Ok(postgres) = fs::canonicalize(folder.join("postgres")) else { continue };
        let Some(bin) = postgres.parent() else { continue };
        let whole = ["initdb", "pg_ctl"].iter().all(|name| bin.join(name).is_file());
        if whole && seen.insert(bin.to_path_buf()) {
            found.extend(ask(account, bin).await);
        }
    }
    found.retain(|one| one.major >= OLDEST_MAJOR);
    Ok(found)
}

/// Asks one folder's `postgres` for its version, as the account that will run it.
async fn ask(account: &Account, bin: &Path) -> Option<Binaries> {
    let mut command = account.command(&bin.join("postgres"));
    command.arg("--version");
    // A program that cannot be run as this account is no candidate; the search goes on.
    let said = run::output("postgres --version", command, VERSION_WITHIN).await.ok()?;
    let version = parse_version(&said)?;
    let major = major(&version)?;
    Some(Binaries { bin: bin.to_path_buf(), major, version })
}

/// The version in `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`.
fn parse_version(said: &str) -> Option<String> {
    let rest = said.split("(PostgreSQL)").nth(1)?;
    let version = rest.split_whitespace().next()?;
    version.starts_with(|first: char| first.is_ascii_digit()).then(|| version.to_owned())
}

/// The leading number of `17.6`, `18beta1` or a `PG_VERSION` file.
pub(super) fn major(version: &str) -> Option<u32> {
    version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn minor(version: &str) -> u32 {
    version.split('.').nth(1).and_then(|rest| rest.parse().ok()).unwrap_or(0)
}

/// The folders that the patterns name on this machine.
pub(super) fn expand(patterns: &[&str]) -> Vec<PathBuf> {
    patterns.iter().flat_map(|pattern| expand_one(pattern)).collect()
}

fn expand_one(pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once('*') else { return vec![PathBuf::from(pattern)] };
    let Some((folder, prefix)) = before.rsplit_once('/') else { return Vec::new() };
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let fitting = names.filter(|name| name.starts_with(prefix));
    fitting.map(|name| PathBuf::from(format!("{folder}/{name}{after}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_postgres_says() {
        for (said, expected) in [
            ("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n", Some(("15.18", 15, 18))),
            ("postgres (PostgreSQL) 17.6", Some(("17.6", 17, 6))),
            ("postgres (PostgreSQL) 18beta1\n", Some(("18beta1", 18, 0))),
            ("postgres (EnterpriseDB) 15.1", None),
            ("postgres (PostgreSQL) devel", None),
            ("", None),
        ] {
            let version = parse_version(said);
            let read =
                version.as_deref().map(|version| (version, major(version).unwrap_or(0), minor(version)));
            assert_eq!(read, expected, "{said}");
        }
    }

    #[test]
    fn patterns_without_a_match_name_nothing() {
        assert!(expand(&["/no-such-folder/*/bin"]).is_empty());
        assert_eq!(expand(&["/usr/local/pgsql/bin"]), [PathBuf::from("/usr/local/pgsql/bin")]);
    }
}
