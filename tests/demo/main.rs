//! The demo as people run it: the tour holds, nothing is left behind, and it goes on where it stood.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use custodia_support::cluster::TestHome;
use serde_json::Value;

/// Generous: the program under test is not optimised.
const PATIENCE: Duration = Duration::from_secs(300);

/// A demo in a folder of its own, on ports that are free.
fn demo(home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_custodia"));
    command.arg("demo").arg("--home").arg(home);
    command.args(["--portal", "127.0.0.1:0", "--partners", "127.0.0.1:0"]).args(arguments);
    // What the machine's owner set for a server of her own is not for the demo.
    command.env("DATABASE_URL", "postgres://nobody@127.0.0.1:1/nothing").env("CUSTODIA_PORTAL_ADDRESS", "x");
    command.stdin(Stdio::null());
    command
}

fn announced(home: &Path) -> Value {
    serde_json::from_slice(&fs::read(home.join("demo.json")).unwrap()).unwrap()
}

fn is_alive(pid: &Value) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

fn assert_gone(pid: &Value) {
    let begun = Instant::now();
    while is_alive(pid) {
        assert!(begun.elapsed() < Duration::from_secs(20), "process {pid} was left behind");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A demo that stays up, and the lines it writes.
struct Standing {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Standing {
    fn start(home: &Path, arguments: &[&str]) -> Self {
        let mut child = demo(home, arguments).stdout(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = mpsc::channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                drop(sender.send(line));
            }
        });
        Self { child, lines }
    }

    /// Waits for a line that begins so.
    fn wait_for(&self, beginning: &str) -> String {
        let begun = Instant::now();
        loop {
            let left = PATIENCE.checked_sub(begun.elapsed()).unwrap();
            let line = self.lines.recv_timeout(left).unwrap();
            if line.starts_with(beginning) {
                return line;
            }
        }
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn signal(name: &str, child: &Child) {
    let status = Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

fn tour(home: &Path) -> (Output, String) {
    let output = demo(home, &["--exit"]).output().unwrap();
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}\n{errors}");
    (output, text)
}

/// The step that says so: its mark, its status, and whether it has a receipt.
fn step<'a>(text: &'a str, says: &str) -> (&'a str, &'a str, bool) {
    let line =
        text.lines().find(|line| line.ends_with(says)).unwrap_or_else(|| unreachable!("{says}: {text}"));
    let (left, _) = line.split_at(line.len() - says.len());
    let words: Vec<&str> = left.split_whitespace().collect();
    (words[0], words[1], words.get(2).is_some_and(|word| word.parse::<u64>().is_ok()))
}

fn assert_steps(text: &str) {
    for (says, status) in [
        ("the physician reads her patient", "200"),
        ("her patient's conditions", "200"),
        ("her patient's observations, the latest 20", "200"),
        ("a nurse of the care team does the same", "200"),
        ("the front desk looks up name and address", "200"),
        ("and is refused the observations", "403"),
        ("a physician who does not treat her finds nothing", "200"),
        ("nobody reads without signing in", "401"),
        ("a partner, by its certificate, reads what its contract names", "200"),
        ("vaccinations are in the contract", "200"),
        ("observations are not", "403"),
        ("asked for by that physician, her record is not there", "404"),
        ("just as one that never was: the answer is the same, to the byte", "404"),
        ("one bit of it is flipped with SQL: it is not released", "500"),
        ("flipped back it is whole again", "200"),
        ("the two are swapped: the first is not released", "500"),
        ("nor is the second", "500"),
        ("it is given to the other patient: it is not released", "500"),
        ("given back it is whole again", "200"),
        ("the log is not for physicians", "403"),
        ("its .tlog-proof, verified in this process", "200"),
    ] {
        assert_eq!(step(text, says), ("ok", status, true), "{says}\n{text}");
    }
    for says in [
        "without a certificate there is no connection at the partners' door",
        "the owner of the tables cannot change an entry of the log",
        "nor delete one",
        "with one bit of the entry flipped it proves nothing",
        "`custodia audit export` writes the whole log into a file",
        "it is whole and continues the checkpoint, verified in this process",
        "with one bit in the middle flipped it is refused",
    ] {
        assert_eq!(step(text, says).0, "ok", "{says}\n{text}");
    }
    assert!(text.contains("steps, each did what it should."), "{text}");
}

fn assert_announced(home: &Path) -> Value {
    let demo = announced(home);
    for (role, practitioner) in
        [("physician", true), ("stranger", true), ("nurse", true), ("front-desk", false), ("auditor", false)]
    {
        let user = &demo["users"][role];
        assert_eq!(user["username"], role);
        assert!(user["password"].as_str().unwrap().len() >= 12);
        assert_eq!(user["practitioner"].is_string(), practitioner, "{role}");
    }
    let mut secret = vec![home.join("demo.json"), home.join("demo-passwords.json"), home.join("server.key")];
    for partner in ["importer", "registry"] {
        let path = |what: &str| PathBuf::from(demo["partner_files"][partner][what].as_str().unwrap());
        assert!(path("certificate").is_file());
        secret.push(path("key"));
    }
    for path in secret {
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", path.display());
    }
    assert!(Path::new(demo["ca"].as_str().unwrap()).is_file());
    assert!(demo["patients"].as_array().unwrap().len() >= 20);
    assert!(demo["vkey"].as_str().unwrap().starts_with(demo["origin"].as_str().unwrap()));
    demo
}

#[test]
fn the_tour_holds_on_a_new_home_and_on_an_old_one_and_after_a_kill() {
    let folder = TestHome::new();
    let home = folder.folder().join("clinic");
    let (_, text) = tour(&home);
    assert_steps(&text);
    assert!(text.contains("loaded through the API as transactions"), "{text}");
    let first = assert_announced(&home);
    assert_gone(&first["pid"]);
    assert_gone(&first["postgres_pid"]);

    // Killed while it stands: its PostgreSQL goes on without it.
    let standing = Standing::start(&home, &["--no-tour"]);
    standing.wait_for("It stays up until Ctrl-C");
    let killed = announced(&home);
    signal("-KILL", &standing.child);
    drop(standing);

    let (_, text) = tour(&home);
    assert_steps(&text);
    assert!(text.contains("patients are here from before"), "{text}");
    let last = assert_announced(&home);
    assert_eq!((&last["users"], &last["vkey"]), (&first["users"], &first["vkey"]));
    for pid in [&killed["pid"], &killed["postgres_pid"], &last["pid"], &last["postgres_pid"]] {
        assert_gone(pid);
    }
}

#[test]
fn a_demo_that_is_told_to_stop_leaves_nothing_behind_and_its_doors_are_told_apart() {
    let folder = TestHome::new();
    let home = folder.folder().join("clinic");
    let mut standing = Standing::start(&home, &["--no-tour", "--no-data"]);
    standing.wait_for("It stays up until Ctrl-C");
    let demo = announced(&home);
    assert!(is_alive(&demo["pid"]) && is_alive(&demo["postgres_pid"]));
    assert_ne!(demo["portal"], demo["partners"]);

    // Somebody else's port: one line, and nothing is started.
    let taken = demo["portal"].as_str().unwrap().trim_start_matches("https://");
    let other = folder.folder().join("other");
    let refused = Command::new(env!("CARGO_BIN_EXE_custodia"))
        .args(["demo", "--portal", taken, "--home"])
        .arg(&other)
        .output()
        .unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!((refused.status.code(), said.lines().count()), (Some(1), 1), "{said}");
    assert!(said.contains(taken) && said.contains("--portal"), "{said}");
    assert!(!other.exists());

    signal("-TERM", &standing.child);
    let status = standing.child.wait().unwrap();
    assert_eq!(status.code(), Some(0));
    assert_gone(&demo["postgres_pid"]);
}

#[test]
fn the_demo_serves_no_other_machine() {
    let folder = TestHome::new();
    let mut child = Command::new(env!("CARGO_BIN_EXE_custodia"))
        .args(["demo", "--portal", "0.0.0.0:0", "--home"])
        .arg(folder.folder().join("clinic"))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert!(said.contains("loopback"), "{said}");
}
