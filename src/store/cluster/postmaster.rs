//! The running server: finding it, starting it, waiting for it, stopping it.
//!
//! May import only its siblings.

use std::{
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Read, Seek, SeekFrom},
    os::unix::{fs::OpenOptionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command},
    time::{Duration, Instant},
};

use super::{
    binaries::Binaries,
    error::{At, ClusterError},
    place::Place,
    run,
};

/// How often a state that is waited for is looked at.
const POLL: Duration = Duration::from_millis(20);
/// A fast shutdown writes a checkpoint: at most `max_wal_size` of changed pages.
const FAST_WITHIN_S: u64 = 60;
/// An immediate shutdown writes nothing.
const IMMEDIATE_WITHIN_S: u64 = 10;
/// A larger log is put aside at the next start; one is kept.
const LOG_BYTES_MAX: u64 = 10 * 1024 * 1024;
/// How much of a new log is read for the reason of a failure.
const LOG_TAIL_BYTES_MAX: u64 = 64 * 1024;

/// What `postmaster.pid` says: one item per line, here lines 1, 5 and 8.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PidFile {
    /// The postmaster's process.
    pub(super) pid: u32,
    /// The folder of its socket; not written yet in its first moments.
    pub(super) socket_folder: Option<PathBuf>,
    status: Option<String>,
}

impl PidFile {
    /// Reads the file of `data`; a missing or unfinished one is none.
    pub(super) fn read(data: &Path) -> Result<Option<Self>, ClusterError> {
        let path = data.join("postmaster.pid");
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Self::parse(&text)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).at("read", &path),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines().map(str::trim);
        let pid = lines.next()?.parse().ok().filter(|pid| *pid > 0)?;
        let socket_folder = lines.nth(3).filter(|folder| !folder.is_empty()).map(PathBuf::from);
        Some(Self { pid, socket_folder, status: lines.nth(2).map(str::to_owned) })
    }

    fn is_ready(&self) -> bool {
        self.status.as_deref() == Some("ready")
    }
}

/// Whether process `pid` is the postmaster of `data`, not another process that was given the same number.
pub(super) fn serves(pid: u32, data: &Path) -> bool {
    if Path::new("/proc/self/cwd").exists() {
        // A postmaster works in its data directory. What we may not read is another user's process.
        return fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|folder| folder == data);
    }
    let asked = Command::new("ps").args(["-p", &pid.to_string(), "-o", "command="]).output();
    asked.is_ok_and(|ended| {
        let command = String::from_utf8_lossy(&ended.stdout);
        command.contains("postgres") && command.contains(&*data.to_string_lossy())
    })
}

/// A server we started or took over.
#[derive(Debug)]
pub(super) struct Postmaster {
    /// Its process.
    pub(super) pid: u32,
    /// The folder of its socket.
    pub(super) socket_folder: PathBuf,
    /// None if another custodia started it.
    child: Option<Child>,
    log_begins_at: u64,
}

impl Postmaster {
    /// A server that was already running.
    pub(super) fn take_over(pid: u32, socket_folder: PathBuf) -> Self {
        Self { pid, socket_folder, child: None, log_begins_at: 0 }
    }

    /// Starts a server; it is not ready yet.
    pub(super) fn spawn(
        place: &Place,
        binaries: &Binaries,
        socket_folder: PathBuf,
    ) -> Result<Self, ClusterError> {
        let (log, log_begins_at) = open_log(&place.log())?;
        let errors = log.try_clone().at("open", &place.log())?;
        let program = binaries.program("postgres");
        let mut command = place.account.command(&program);
        command.arg("-D").arg(place.data()).stdout(log).stderr(errors);
        // Its own process group: Ctrl-C must reach us alone, who stop it after the last answer.
        let child = command.process_group(0).spawn().at("run", &program)?;
        Ok(Self { pid: child.id(), socket_folder, child: Some(child), log_begins_at })
    }

    /// Waits until the server takes connections.
    pub(super) async fn wait_ready(&mut self, place: &Place, within: Duration) -> Result<(), ClusterError> {
        let begun = Instant::now();
        while begun.elapsed() < within {
            let file = PidFile::read(&place.data())?;
            if file.is_some_and(|file| file.pid == self.pid && file.is_ready()) {
                return Ok(());
            }
            if self.has_ended(&place.data())? {
                let said = self.reason(&place.log())?;
                return Err(ClusterError::DidNotStart { said, log: place.log() });
            }
            tokio::time::sleep(POLL).await;
        }
        Err(ClusterError::Timeout { what: "the start of PostgreSQL", limit_s: within.as_secs() })
    }

    /// Stops the server and waits until it is gone; asks more firmly if it does not follow.
    pub(super) async fn stop(&mut self, place: &Place, binaries: &Binaries) -> Result<(), ClusterError> {
        for (mode, within_s) in [("fast", FAST_WITHIN_S), ("immediate", IMMEDIATE_WITHIN_S)] {
            if !self.has_ended(&place.data())? {
                let command = stop_command(place, binaries, mode, within_s);
                // Whether it worked is seen from the server itself: pg_ctl also fails if it just ended.
                drop(run::output("pg_ctl stop", command, Duration::from_secs(within_s + 5)).await);
            }
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_secs(2) {
                if self.has_ended(&place.data())? {
                    return place.remove_short_folder(&self.socket_folder);
                }
                tokio::time::sleep(POLL).await;
            }
        }
        Err(ClusterError::DoesNotStop { pid: self.pid })
    }

    /// The same without a runtime, for `Drop`: blocks the thread.
    pub(super) fn stop_now(&mut self, place: &Place, binaries: &Binaries) -> Result<(), ClusterError> {
        for (mode, within_s) in [("fast", FAST_WITHIN_S), ("immediate", IMMEDIATE_WITHIN_S)] {
            if !self.has_ended(&place.data())? {
                // As above; pg_ctl bounds its own wait.
                drop(stop_command(place, binaries, mode, within_s).output());
            }
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_secs(2) {
                if self.has_ended(&place.data())? {
                    return place.remove_short_folder(&self.socket_folder);
                }
                std::thread::sleep(POLL);
            }
        }
        Err(ClusterError::DoesNotStop { pid: self.pid })
    }

    fn has_ended(&mut self, data: &Path) -> Result<bool, ClusterError> {
        match &mut self.child {
            Some(child) => Ok(child.try_wait().at("wait for the postmaster of", data)?.is_some()),
            None => Ok(!serves(self.pid, data)),
        }
    }

    /// Why it ended, in the words of its log since we started it.
    fn reason(&self, log: &Path) -> Result<String, ClusterError> {
        let mut file = File::open(log).at("read", log)?;
        file.seek(SeekFrom::Start(self.log_begins_at)).at("read", log)?;
        let mut said = Vec::new();
        file.take(LOG_TAIL_BYTES_MAX).read_to_end(&mut said).at("read", log)?;
        let said = String::from_utf8_lossy(&said);
        Ok(run::reason(&said).unwrap_or("its log is empty").to_owned())
    }
}

fn stop_command(place: &Place, binaries: &Binaries, mode: &str, within_s: u64) -> Command {
    let mut command = place.account.command(&binaries.program("pg_ctl"));
    command.args(["stop", "-w", "-m", mode, "-t", &within_s.to_string(), "-D"]).arg(place.data());
    command
}

/// Opens the log at its end; the server inherits it, so its account needs no right to the file.
fn open_log(path: &Path) -> Result<(File, u64), ClusterError> {
    let open = || OpenOptions::new().append(true).create(true).mode(0o600).open(path).at("open", path);
    let file = open()?;
    let bytes = file.metadata().at("look at", path)?.len();
    if bytes <= LOG_BYTES_MAX {
        return Ok((file, bytes));
    }
    let aside = path.with_extension("log.1");
    fs::rename(path, &aside).at("put aside", path)?;
    Ok((open()?, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const READY: &str = "4242\n/srv/x/data\n1700000000\n5432\n/srv/x/run\n\n  1234567   8\nready   \n";

    #[test]
    fn a_pid_file_is_read_as_far_as_it_is_written() {
        let file = |socket: Option<&str>, status: Option<&str>| {
            let (socket_folder, status) = (socket.map(PathBuf::from), status.map(str::to_owned));
            Some(PidFile { pid: 4242, socket_folder, status })
        };
        for (text, expected) in [
            (READY, file(Some("/srv/x/run"), Some("ready"))),
            ("4242\n/srv/x/data\n1700000000\n5432\n", file(None, None)),
            (
                "4242\n/d\n1\n5432\n/srv/x/run\n\n  1 8\nstarting\n",
                file(Some("/srv/x/run"), Some("starting")),
            ),
            ("", None),
            ("-4242\n", None),
            ("0\n", None),
            ("words\n", None),
        ] {
            assert_eq!(PidFile::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn a_process_elsewhere_serves_no_data_directory() {
        assert!(!serves(std::process::id(), Path::new("/no-such-data")));
        assert!(!serves(u32::MAX, Path::new("/")));
    }
}
