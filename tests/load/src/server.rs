//! A server of our own: started, killed, started again, and stopped however we end.
//!
//! Imports `demo`, `fault`, `gauge`.

use std::{
    env, fs,
    fs::File,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tokio::{process::Child, time::sleep};

use crate::{demo::Demo, fault::Fault, gauge};

/// The first start makes a database cluster; a start after a crash recovers it.
const READY_WITHIN: Duration = Duration::from_secs(180);
/// After this long a polite stop becomes a kill.
const STOP_WITHIN: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(20);

/// A running `custodia demo` that ends with this value.
pub(crate) struct Server {
    binary: PathBuf,
    home: PathBuf,
    /// What is removed at the end: the folder we made, home and all.
    scratch: Option<PathBuf>,
    doors: Option<(String, String)>,
    log: PathBuf,
    child: Option<Child>,
    demo: Option<Demo>,
}

impl Server {
    /// Starts `binary` in a fresh home, or in the `home` given, which then is left behind.
    pub(crate) async fn start(binary: &Path, home: Option<&Path>) -> Result<Self, Fault> {
        let (home, scratch) = match home {
            Some(home) => (home.to_path_buf(), None),
            None => {
                let folder = env::temp_dir().join(format!("custodia-load-{}", uuid::Uuid::new_v4().simple()));
                fs::create_dir(&folder).map_err(Fault::io("create", &folder))?;
                (folder.join("home"), Some(folder))
            }
        };
        let log = env::temp_dir().join(format!("custodia-load-{}.log", std::process::id()));
        let binary = fs::canonicalize(binary).map_err(Fault::io("find", binary))?;
        let mut server = Self { binary, home, scratch, doors: None, log, child: None, demo: None };
        server.again().await?;
        Ok(server)
    }

    /// Starts it on the same home, at the same addresses as before, and waits until it is ready.
    pub(crate) async fn again(&mut self) -> Result<(), Fault> {
        let any = || "127.0.0.1:0".to_owned();
        let (portal, partners) = self.doors.clone().unwrap_or_else(|| (any(), any()));
        let log = File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .map_err(Fault::io("open", &self.log))?;
        let copy = log.try_clone().map_err(Fault::io("open", &self.log))?;
        let mut command = Command::new(&self.binary);
        command.arg("demo").arg("--home").arg(&self.home).arg("--no-tour");
        command.args(["--portal", &portal, "--partners", &partners]);
        command.stdin(Stdio::null()).stdout(log).stderr(copy);
        let child =
            tokio::process::Command::from(command).spawn().map_err(Fault::io("start", &self.binary))?;
        let pid = child.id();
        self.child = Some(child);
        let demo = self.ready(pid).await?;
        let door = |base: &str| crate::demo::loopback(base).map(|address| address.to_string());
        self.doors = Some((door(&demo.portal)?, door(&demo.partners)?));
        self.demo = Some(demo);
        Ok(())
    }

    /// Waits for this process's own `demo.json`, not one that a killed server left, and for its door.
    async fn ready(&mut self, pid: Option<u32>) -> Result<Demo, Fault> {
        let until = Instant::now() + READY_WITHIN;
        while Instant::now() < until {
            if let Ok(demo) = Demo::read(&self.home)
                && Some(demo.pid) == pid
                && tokio::net::TcpStream::connect(crate::demo::loopback(&demo.portal)?).await.is_ok()
            {
                return Ok(demo);
            }
            if let Some(child) = &mut self.child
                && let Ok(Some(status)) = child.try_wait()
            {
                return Err(Fault::refused(format!(
                    "the server ended at its start ({status}): {}",
                    self.said()
                )));
            }
            sleep(POLL).await;
        }
        Err(Fault::refused(format!(
            "the server was not ready in {} s: {}",
            READY_WITHIN.as_secs(),
            self.said()
        )))
    }

    /// The last lines the server printed.
    fn said(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = text.lines().rev().take(8).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
    }

    /// What it says of itself.
    pub(crate) fn demo(&self) -> Result<&Demo, Fault> {
        self.demo.as_ref().ok_or_else(|| Fault::refused("the server is not running"))
    }

    /// Its home.
    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    /// Its program.
    pub(crate) fn binary(&self) -> &Path {
        &self.binary
    }

    /// kill -9.
    pub(crate) async fn kill(&mut self) -> Result<(), Fault> {
        if let Some(mut child) = self.child.take() {
            child.kill().await.map_err(Fault::io("kill", &self.binary))?;
        }
        Ok(())
    }

    /// kill -9 of the postmaster and each of its children.
    pub(crate) fn kill_postgres(&self) -> Result<(), Fault> {
        let postmaster =
            self.postmaster().ok_or_else(|| Fault::refused("demo.json names no running postmaster"))?;
        let children = gauge::children(postmaster);
        signal("KILL", &[postmaster])?;
        // The rest end by themselves when the postmaster is gone; some may already have.
        children.iter().for_each(|child| drop(signal("KILL", &[*child])));
        Ok(())
    }

    /// The postmaster, if that is still what the process is.
    fn postmaster(&self) -> Option<u32> {
        let pid = self.demo.as_ref()?.postgres_pid?;
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        name.starts_with("postgres").then_some(pid)
    }

    /// SIGTERM, then patience, then SIGKILL.
    pub(crate) fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let until = Instant::now() + STOP_WITHIN;
        if let Some(pid) = child.id() {
            drop(signal("TERM", &[pid]));
        }
        while Instant::now() < until {
            if !matches!(child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(POLL);
        }
        drop(child.start_kill());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
        // A server that was killed left its PostgreSQL behind, for the next one to take over: there is none.
        if let Some(postmaster) = self.postmaster() {
            drop(signal("QUIT", &[postmaster]));
            let until = Instant::now() + STOP_WITHIN;
            while self.postmaster().is_some() && Instant::now() < until {
                thread::sleep(POLL);
            }
        }
        if let Some(folder) = self.scratch.take() {
            drop(fs::remove_dir_all(folder));
            drop(fs::remove_file(&self.log));
        }
    }
}

/// Sends a signal through the shell: the standard library has none, and unsafe code is forbidden here.
fn signal(name: &str, pids: &[u32]) -> Result<(), Fault> {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "kill -s \"$0\" \"$@\"", name]).args(pids.iter().map(u32::to_string));
    let status = command.stderr(Stdio::null()).status().map_err(Fault::io("run", Path::new("/bin/sh")))?;
    if status.success() { Ok(()) } else { Err(Fault::refused(format!("SIG{name} did not reach {pids:?}"))) }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_signal_reaches_its_process_and_a_missing_one_is_told() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        signal("KILL", &[child.id()]).unwrap();
        assert!(!child.wait().unwrap().success());
        assert!(signal("KILL", &[child.id()]).is_err());
    }

    #[tokio::test]
    async fn a_program_that_ends_at_once_is_told_with_what_it_said() {
        let error = Server::start(Path::new("/bin/false"), None).await.err().unwrap();
        assert!(error.to_string().starts_with("the server ended at its start (exit status: 1)"), "{error}");
    }
}
