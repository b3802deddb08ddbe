//! Verifies an export or a single proof of Custodia's audit log, offline.
//!
//! Exit code 0: verified. 1: refused, and it says why and where. 2: wrong usage, or a file that could
//! not be read. Imports custodia-audit only.

mod verify {
    pub(crate) mod options;
    pub(crate) mod report;
}

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::process::ExitCode;

use custodia_audit::bundle::{self, Reason, Trust, VerifiedEntry, proof_code};
use custodia_audit::{
    Leaf, NOTE_BYTES_MAX, POLICY_BYTES_MAX, PROOF_FILE_BYTES_MAX, Policy, ProofFault, ProofFile,
};
use verify::options::{Believed, Command, Options, USAGE};
use verify::report;

/// How a run ends when nothing was verified.
enum Failure {
    /// What was to be verified is refused; the text is already in the form asked for.
    Refused(String),
    /// Nothing can be said: wrong usage, or a file that cannot be read or written.
    Unable(String),
}

fn main() -> ExitCode {
    let (code, text) = match run() {
        Ok(text) => (0, text),
        Err(Failure::Refused(text)) => (1, text),
        Err(Failure::Unable(text)) => (2, text),
    };
    let written = match code {
        2 => writeln!(io::stderr().lock(), "{text}"),
        _ => writeln!(io::stdout().lock(), "{text}"),
    };
    // A verdict that could not be printed is not a verdict.
    ExitCode::from(if written.is_ok() { code } else { 2 })
}

fn run() -> Result<String, Failure> {
    let options = Options::parse(std::env::args_os().skip(1))
        .map_err(|what| Failure::Unable(format!("custodia-verify: {what}\n\n{USAGE}")))?;
    match &options.command {
        Command::Help => Ok(USAGE.to_owned()),
        Command::Export { file, entries } => export(&options, file, entries.as_deref()),
        Command::Proof { file, entry } => proof(&options, file, entry),
    }
}

fn unable(what: &str, error: &io::Error) -> Failure {
    Failure::Unable(format!("custodia-verify: {what}: {error}"))
}

/// Reads a small file whole, refusing one that is longer than `bytes_max`.
fn read(path: &str, bytes_max: usize) -> Result<Vec<u8>, Failure> {
    let open = || {
        let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
        let mut bytes = Vec::new();
        File::open(path)?.take(limit).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    open().map_err(|error| unable(path, &error))
}

fn trust(options: &Options) -> Result<Trust, Failure> {
    let refuse = |what: &dyn std::fmt::Display| Failure::Unable(format!("custodia-verify: {what}"));
    let policy = match &options.believed {
        Believed::Keys(policy) => policy.clone(),
        Believed::File(path) => Policy::parse(&read(path, POLICY_BYTES_MAX)?)
            .map_err(|fault| refuse(&format!("{path}: {fault}")))?,
    };
    let first = policy.logs().first().map(|log| log.vkey.name().to_owned());
    let origin = options.origin.clone().or(first);
    let origin = origin.ok_or_else(|| refuse(&"the policy names no log: --origin is wanted"))?;
    let mut trust = Trust { origin, policy, earlier: None };
    if let Some(path) = &options.earlier {
        // The auditor's own file: if it does not hold, the question is wrong, not the export.
        let note = read(path, NOTE_BYTES_MAX)?;
        let earlier = trust.policy.without_quorum().open(&note, &trust.origin);
        let (earlier, _) = earlier.map_err(|fault| refuse(&format!("{path}: {fault}")))?;
        trust.earlier = Some(earlier);
    }
    Ok(trust)
}

fn export(options: &Options, file: &str, entries: Option<&str>) -> Result<String, Failure> {
    let trust = trust(options)?;
    let input = File::open(file).map_err(|error| unable(file, &error))?;
    let mut lines = Lines::create(entries)?;
    let verdict = bundle::verify(input, &trust, |entry| lines.write(&entry));
    lines.finish()?;
    match verdict {
        Ok(verified) => Ok(report::verified(&verified, options.form)),
        Err(bundle::Fault { reason: Reason::Io(error), .. }) => Err(unable(file, &error)),
        Err(fault) => Err(Failure::Refused(report::refused(&fault, options.form))),
    }
}

fn proof(options: &Options, file: &str, entry: &str) -> Result<String, Failure> {
    let trust = trust(options)?;
    let bytes = match from_hex(entry) {
        Some(bytes) => bytes,
        None => read(entry, custodia_audit::CONTROL_BYTES_MAX)?,
    };
    let proof = ProofFile::parse(&read(file, PROOF_FILE_BYTES_MAX)?);
    let checked = proof.and_then(|proof| {
        let (checkpoint, cosigned) = proof.verify_under(&bytes, &trust.origin, &trust.policy)?;
        Ok((proof.index, checkpoint, cosigned))
    });
    let refuse = |code, reason: &str| Failure::Refused(report::refused_proof(code, reason, options.form));
    let (index, checkpoint, cosigned) =
        checked.map_err(|fault: ProofFault| refuse(proof_code(&fault), &fault.to_string()))?;
    let leaf = Leaf::from_bytes(&bytes).map_err(|fault| refuse("form", &format!("entry: {fault}")))?;
    Ok(report::verified_proof(index, &checkpoint, &cosigned, &leaf, options.form))
}

/// A log entry given on the command line: hexadecimal, beginning with its tag.
fn from_hex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let is_entry = rest.is_empty() && (text.starts_with("00") || text.starts_with("01"));
    let is_entry = is_entry && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    is_entry.then(|| pairs.iter().map(byte).collect()).flatten()
}

/// The entries as one JSON document a line, if they were asked for.
struct Lines {
    path: String,
    out: Option<BufWriter<File>>,
    error: Option<io::Error>,
}

impl Lines {
    fn create(path: Option<&str>) -> Result<Self, Failure> {
        let out = match path {
            Some(path) => Some(BufWriter::new(File::create(path).map_err(|error| unable(path, &error))?)),
            None => None,
        };
        Ok(Self { path: path.unwrap_or_default().to_owned(), out, error: None })
    }

    fn write(&mut self, entry: &VerifiedEntry) {
        if let (Some(out), None) = (&mut self.out, &self.error) {
            let written = serde_json::to_writer(&mut *out, entry).map_err(io::Error::from);
            self.error = written.and_then(|()| out.write_all(b"\n")).err();
        }
    }

    fn finish(self) -> Result<(), Failure> {
        let flushed = match (self.error, self.out) {
            (Some(error), _) => Err(error),
            (None, Some(mut out)) => out.flush(),
            (None, None) => Ok(()),
        };
        flushed.map_err(|error| unable(&self.path, &error))
    }
}
