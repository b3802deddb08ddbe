//! Runs PostgreSQL's own commands, each within a bound.
//!
//! May import only its siblings.

use std::{
    process::{Command, Output, Stdio},
    time::Duration,
};

use super::error::{At, ClusterError};

/// Runs `command` to its end and gives what it printed; fails unless it succeeded.
///
/// A command that outlives `within` is killed.
pub(super) async fn output(
    name: &'static str,
    mut command: Command,
    within: Duration,
) -> Result<String, ClusterError> {
    let program = std::path::PathBuf::from(command.get_program());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut command = tokio::process::Command::from(command);
    command.kill_on_drop(true);
    let ended = tokio::time::timeout(within, command.output()).await;
    let Ok(ended) = ended else {
        return Err(ClusterError::Timeout { what: name, limit_s: within.as_secs() });
    };
    judge(name, ended.at("run", &program)?)
}

/// What a finished command printed, or why it failed.
pub(super) fn judge(name: &'static str, ended: Output) -> Result<String, ClusterError> {
    if ended.status.success() {
        return Ok(String::from_utf8_lossy(&ended.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&ended.stderr);
    let said = reason(&said).unwrap_or("it printed nothing").to_owned();
    Err(ClusterError::Command { command: name, status: ended.status.to_string(), said })
}

/// The line that tells most: the first error, else the last line.
pub(super) fn reason(said: &str) -> Option<&str> {
    let telling = |line: &&str| ["FATAL:", "PANIC:", "error:"].iter().any(|word| line.contains(word));
    let lines = || said.lines().map(str::trim).filter(|line| !line.is_empty());
    lines().find(telling).or_else(|| lines().next_back())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn the_reason_is_the_first_error_or_else_the_last_line() {
        assert_eq!(reason("a\ninitdb: error: no room\nb\n"), Some("initdb: error: no room"));
        assert_eq!(reason("a\nb\n\n"), Some("b"));
        assert_eq!(reason("\n"), None);
    }

    #[tokio::test]
    async fn a_command_is_killed_at_its_bound() {
        let mut command = Command::new("sleep");
        command.arg("60");
        let error = output("sleep", command, Duration::from_millis(50)).await.unwrap_err();
        assert!(matches!(error, ClusterError::Timeout { what: "sleep", .. }));
    }

    #[tokio::test]
    async fn a_failing_command_says_how_it_ended() {
        let error = output("false", Command::new("false"), Duration::from_secs(5)).await.unwrap_err();
        assert_eq!(error.to_string(), "false failed (exit status: 1): it printed nothing");
    }
}
