//! Makes a new data directory, and clears what a killed server left in an old one.
//!
//! May import only its siblings.

use std::{fs, path::PathBuf, time::Duration};

use super::{
    ClusterConfig, Durability, Fetch, OWNER, Progress, Role,
    binaries::{self, Binaries},
    error::{At, ClusterError},
    fetch,
    login::Credentials,
    place::{Place, sync_parent, write_whole},
    postmaster::PidFile,
    run,
};

/// `initdb` takes about a second, and writes some 40 MB.
const INITDB_WITHIN: Duration = Duration::from_secs(120);

/// The server programs for this place: of the version that wrote the data, if there is data.
pub(super) async fn choose_binaries(
    config: &ClusterConfig,
    place: &Place,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Binaries, ClusterError> {
    let data_major = data_major(place)?;
    let fits = |one: &Binaries| data_major.is_none_or(|major| one.major == major);
    let mut places = config.places.clone();
    places.extend(fetched(place));
    let found = binaries::search(&place.account, &config.path, &places).await?;
    if let Some(first) = found.iter().find(|one| fits(one)) {
        return Ok(first.clone());
    }
    let fetched = match config.fetch {
        Fetch::Never => {
            Err(ClusterError::NoServer { why_not_fetched: "fetching is switched off".to_owned() })
        }
        Fetch::Allowed => fetch::fetch(&place.fetched(), data_major, progress).await,
    };
    match (fetched, data_major) {
        (Ok(bin), _) => {
            let fetched = binaries::search(&place.account, &[bin], &[]).await?;
            fetched.into_iter().find(|one| fits(one)).ok_or_else(|| ClusterError::NoServer {
                why_not_fetched: "what was fetched does not run on this machine".to_owned(),
            })
        }
        (Err(_), Some(data)) if !found.is_empty() => {
            let majors: Vec<String> = found.iter().map(|one| one.major.to_string()).collect();
            Err(ClusterError::OtherMajor { path: place.data(), data, found: majors.join(", ") })
        }
        (Err(error), _) => Err(error),
    }
}

fn data_major(place: &Place) -> Result<Option<u32>, ClusterError> {
    if !place.data().exists() {
        return Ok(None);
    }
    let path = place.data().join("PG_VERSION");
    Ok(binaries::major(fs::read_to_string(&path).at("read", &path)?.trim()))
}

/// The `bin` folders that earlier starts fetched.
fn fetched(place: &Place) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(place.fetched()) else { return Vec::new() };
    entries.filter_map(|entry| Some(entry.ok()?.path().join("bin"))).collect()
}

/// Makes the data directory: whole under its name, or not there.
pub(super) async fn initialise(
    config: &ClusterConfig,
    place: &Place,
    binaries: &Binaries,
    credentials: &Credentials,
) -> Result<(), ClusterError> {
    let unfinished = place.unfinished_data();
    if unfinished.exists() {
        // A start crashed here before; nobody has ever written to it.
        fs::remove_dir_all(&unfinished).at("remove", &unfinished)?;
    }
    place.account.own_folder(&unfinished)?;
    let password = unfinished.with_extension("password");
    write_whole(&password, credentials.password(Role::Owner), Some(&place.account))?;
    let readable = initdb(config, place, binaries, &password).await;
    fs::remove_file(&password).at("remove", &password)?;
    readable?;
    // If we crash before this rename, the next start begins anew; after it, the cluster is whole.
    fs::rename(&unfinished, place.data()).at("rename", &unfinished)?;
    sync_parent(&unfinished)
}

async fn initdb(
    config: &ClusterConfig,
    place: &Place,
    binaries: &Binaries,
    password: &std::path::Path,
) -> Result<(), ClusterError> {
    let mut command = place.account.command(&binaries.program("initdb"));
    command.arg("--pgdata").arg(place.unfinished_data()).arg("--pwfile").arg(password);
    command.args(["--username", OWNER, "--auth-local=scram-sha-256", "--auth-host=reject"]);
    // Every byte compares as itself: indexes do not depend on the system's locales.
    command.args(["--encoding=UTF8", "--locale=C", "--data-checksums", "--no-instructions"]);
    if config.durability == Durability::Scratch {
        command.arg("--no-sync");
    }
    run::output("initdb", command, INITDB_WITHIN).await.map(drop)
}

/// What was found beside the data.
pub(super) enum Leftover {
    /// The last server stopped by itself.
    Nothing,
    /// The last server was killed; processes of it may linger for a moment.
    KilledServer,
}

/// Removes what a killed server left behind, once it is known that no server serves the data.
pub(super) fn clear_stale(place: &Place) -> Result<Leftover, ClusterError> {
    let path = place.data().join("postmaster.pid");
    if !path.exists() {
        return Ok(Leftover::Nothing);
    }
    if let Some(folder) = PidFile::read(&place.data())?.and_then(|file| file.socket_folder) {
        place.remove_short_folder(&folder)?;
    }
    // Its number may belong to another process by now, and PostgreSQL would then refuse to start. If a process of
    // the dead server still holds its shared memory, PostgreSQL refuses by itself.
    fs::remove_file(&path).at("remove", &path)?;
    Ok(Leftover::KilledServer)
}
