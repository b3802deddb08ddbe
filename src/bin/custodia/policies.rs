//! `custodia policies`: what the policies say, without a server.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use custodia::gate::{Gate, GateError, cases, matrix};

/// Arguments of `custodia policies`.
#[derive(Debug, clap::Args)]
pub(crate) struct PoliciesArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Validate a folder of policies and print the SHA-256 of the set.
    Check {
        /// Folder with schema.cedarschema, families.toml, roles/ and forbids/; the shipped policies if left out.
        folder: Option<PathBuf>,
    },
    /// Run the cases of a folder of policies and rewrite its matrix.out.
    Test {
        /// Folder of policies with cases/.
        #[arg(default_value = "policies")]
        folder: PathBuf,
    },
}

/// Why the command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PoliciesError {
    /// The policies are not taken.
    #[error(transparent)]
    Gate(#[from] GateError),
    /// The cases cannot be run.
    #[error(transparent)]
    Cases(#[from] cases::CasesError),
    /// The matrix cannot be written.
    #[error("cannot write the matrix")]
    Matrix(#[from] std::fmt::Error),
    /// A file or the terminal cannot be written.
    #[error("cannot write")]
    Write(#[from] io::Error),
}

/// Runs the command; what it says goes to standard output.
pub(crate) fn run(args: &PoliciesArgs) -> Result<ExitCode, PoliciesError> {
    let mut out = io::stdout().lock();
    match &args.command {
        Command::Check { folder } => check(folder.as_deref(), &mut out),
        Command::Test { folder } => test(folder, &mut out),
    }
}

fn check(folder: Option<&Path>, out: &mut impl Write) -> Result<ExitCode, PoliciesError> {
    let gate = folder.map_or_else(Gate::shipped, Gate::load)?;
    let hash: String = gate.policy_set().iter().map(|byte| format!("{byte:02x}")).collect();
    writeln!(out, "{} policies, set {hash}", gate.policy_ids().len())?;
    Ok(ExitCode::SUCCESS)
}

fn test(folder: &Path, out: &mut impl Write) -> Result<ExitCode, PoliciesError> {
    let gate = Gate::load(folder)?;
    let cases = cases::load(&folder.join("cases"))?;
    let mut faults = 0_usize;
    for case in &cases {
        if let Some(fault) = case.fault(&gate)? {
            faults += 1;
            writeln!(out, "{fault}")?;
        }
    }
    let text = matrix::text(&gate)?;
    let path = folder.join("matrix.out");
    // A missing matrix is a changed one.
    let changed = fs::read_to_string(&path).map_or(true, |written| written != text);
    if changed {
        fs::write(&path, text)?;
    }
    writeln!(out, "{} cases, {faults} failed", cases.len())?;
    writeln!(out, "{} {}", path.display(), if changed { "changed: review it" } else { "is up to date" })?;
    Ok(if faults == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn said(run: impl FnOnce(&mut Vec<u8>) -> Result<ExitCode, PoliciesError>) -> (String, ExitCode) {
        let mut out = Vec::new();
        let code = run(&mut out).unwrap();
        (String::from_utf8(out).unwrap(), code)
    }

    fn copied() -> PathBuf {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
        let to = std::env::temp_dir().join(format!("custodia-policies-{}", std::process::id()));
        for sub in ["roles", "forbids", "cases"] {
            fs::create_dir_all(to.join(sub)).unwrap();
            for entry in fs::read_dir(from.join(sub)).unwrap() {
                let entry = entry.unwrap();
                fs::copy(entry.path(), to.join(sub).join(entry.file_name())).unwrap();
            }
        }
        for file in ["schema.cedarschema", "families.toml"] {
            fs::copy(from.join(file), to.join(file)).unwrap();
        }
        to
    }

    #[test]
    fn cases_run_and_the_matrix_is_written() {
        let folder = copied();
        let (text, code) = said(|out| test(&folder, out));
        assert!(text.contains(" 0 failed") && text.contains("changed"), "{text}");
        assert_eq!(code, ExitCode::SUCCESS);
        let (text, _) = said(|out| test(&folder, out));
        assert!(text.contains("is up to date"), "{text}");

        fs::remove_file(folder.join("forbids/labels.cedar")).unwrap();
        let (text, code) = said(|out| test(&folder, out));
        assert!(
            text.contains("expected no by label-restricted, found yes by physician-views-patients"),
            "{text}"
        );
        assert_eq!(code, ExitCode::FAILURE);
        let (text, code) = said(|out| check(Some(&folder), out));
        assert!(text.starts_with("24 policies, set "), "{text}");
        assert_eq!(code, ExitCode::SUCCESS);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn policies_that_do_not_validate_are_an_error() {
        let folder = std::env::temp_dir().join("custodia-policies-none");
        assert!(check(Some(&folder), &mut Vec::new()).is_err());
    }
}
