//! verify.py, kept running so that a case costs no start of Python.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::{Answer, answer};

/// Runs `verify.command` for each line of arguments.
const DRIVER: &str = "
import contextlib, io, json, sys
sys.path.insert(0, sys.argv[1])
import verify
for line in sys.stdin:
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        code = verify.command(json.loads(line))
    print(json.dumps([code, out.getvalue()]), flush=True)
";

pub(crate) struct Second {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Second {
    /// Starts it, if Python and the package `cryptography` are here.
    pub(crate) fn start() -> Option<Self> {
        let check = Command::new("python3")
            .args(["-c", "import sys, cryptography; sys.exit(sys.version_info < (3, 10))"])
            .stderr(Stdio::null())
            .status();
        if !check.is_ok_and(|status| status.success()) {
            let what = "audit/verify.py WAS NOT RUN: it needs python3 (3.10) and its package cryptography";
            let is_required = std::env::var("SECOND_VERIFIER").is_ok_and(|value| value == "required");
            assert!(!is_required, "{what}");
            // Past the test runner's capture: whoever reads the output shall see it.
            let mut screen = std::io::stderr();
            screen.write_all(format!("\n*** {what} ***\n").as_bytes()).unwrap();
            return None;
        }
        let mut child = Command::new("python3")
            .args(["-c", DRIVER, env!("CARGO_MANIFEST_DIR")])
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Some(Self { child, input, output })
    }

    pub(crate) fn ask(&mut self, arguments: &[String]) -> Answer {
        let input = self.input.as_mut().unwrap();
        writeln!(input, "{}", serde_json::to_string(arguments).unwrap()).unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        let (code, out): (i32, String) = serde_json::from_str(&line).unwrap();
        answer(code, &out)
    }
}

impl Drop for Second {
    fn drop(&mut self) {
        drop(self.input.take());
        drop(self.child.wait());
    }
}
