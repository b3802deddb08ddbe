//! Verifies exports or a single proof of Custodia's audit log, offline.
//!
//! Exit code 0: verified. 1: refused, and it says why and where. 2: wrong usage, or a file that could
//! not be read. Imports custodia-audit only.

mod verify {
    pub(crate) mod options;
    pub(crate) mod report;
    pub(crate) mod together;
}

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::process::ExitCode;

use custodia_audit::bundle::{self, Fault, Place, Reason, Report, Trust, VerifiedEntry, proof_code};
use custodia_audit::{
    Leaf, NOTE_BYTES_MAX, POLICY_BYTES_MAX, PROOF_FILE_BYTES_MAX, Policy, ProofFault, ProofFile,
};
use verify::options::{Believed, Command, Options, USAGE};
use verify::{report, together};

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
        Command::Export { files, entries } => export(&options, files, entries.as_deref()),
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

fn refuse(what: &dyn std::fmt::Display) -> Failure {
    Failure::Unable(format!("custodia-verify: {what}"))
}

/// Whom to believe about each log that a key or a policy names, in their order.
fn trusts(options: &Options) -> Result<Vec<Trust>, Failure> {
    let policies = match &options.believed {
        Believed::Keys(policy) => vec![policy.clone()],
        Believed::Files(paths) => paths
            .iter()
            .map(|path| {
                let read = Policy::parse(&read(path, POLICY_BYTES_MAX)?);
                read.map_err(|fault| refuse(&format!("{path}: {fault}")))
            })
            .collect::<Result<_, _>>()?,
    };
    let mut trusts: Vec<Trust> = Vec::new();
    for policy in policies {
        let named = policy.logs().iter().map(|log| log.vkey.name().to_owned());
        let origins: Vec<String> = options.origin.clone().map_or_else(|| named.collect(), |one| vec![one]);
        for origin in origins {
            if trusts.iter().all(|known| known.origin != origin) {
                trusts.push(Trust { origin, policy: policy.clone(), earlier: None });
            }
        }
    }
    if trusts.is_empty() {
        return Err(refuse(&"the policy names no log: --origin is wanted"));
    }
    if let Command::Proof { .. } = options.command {
        return Ok(trusts);
    }
    if let Command::Export { files, .. } = &options.command
        && files.len() == 1
    {
        trusts.truncate(1);
    }
    for path in &options.earlier {
        keep(&mut trusts, path)?;
    }
    Ok(trusts)
}

/// An earlier checkpoint, to the log that it is of. It is the auditor's own file: if it does not hold, the question is wrong,
/// not the export.
fn keep(trusts: &mut [Trust], path: &str) -> Result<(), Failure> {
    let note = read(path, NOTE_BYTES_MAX)?;
    let origin = note.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let its = trusts.iter_mut().find(|trust| trust.origin.as_bytes() == origin);
    let trust = its.ok_or_else(|| refuse(&format!("{path}: no checkpoint of a log that is asked about")))?;
    let earlier = trust.policy.without_quorum().open(&note, &trust.origin);
    let (earlier, _) = earlier.map_err(|fault| refuse(&format!("{path}: {fault}")))?;
    match trust.earlier.replace(earlier) {
        None => Ok(()),
        Some(_) => Err(refuse(&format!("{path}: a second checkpoint of one log"))),
    }
}

/// What is said of one export.
type Verdict = Result<Report, Fault>;

fn export(options: &Options, files: &[String], entries: Option<&str>) -> Result<String, Failure> {
    let mut trusts = trusts(options)?;
    let mut lines = Lines::create(entries)?;
    let mut verdicts = Vec::new();
    for file in files {
        verdicts.push(one(&mut trusts, file, &mut lines)?);
    }
    lines.finish()?;
    if verdicts.len() > 1 {
        let (is_verified, text) = together::report(&verdicts, options.form);
        return if is_verified { Ok(text) } else { Err(Failure::Refused(text)) };
    }
    match verdicts.pop() {
        Some(Ok(verified)) => Ok(report::verified(&verified, options.form)),
        Some(Err(fault)) => Err(Failure::Refused(report::refused(&fault, options.form))),
        None => Err(refuse(&"EXPORT_FILE is wanted")),
    }
}

/// Verifies an export as one of a log that no export before it was of.
fn one(trusts: &mut Vec<Trust>, file: &str, lines: &mut Lines) -> Result<Verdict, Failure> {
    let mut last = None;
    for at in 0..trusts.len() {
        let Some(trust) = trusts.get(at) else { break };
        let input = File::open(file).map_err(|error| unable(file, &error))?;
        match bundle::verify(input, trust, |entry| lines.write(&entry)) {
            Err(Fault { reason: Reason::Io(error), .. }) => return Err(unable(file, &error)),
            Err(fault) if fault.place == Place::Header && fault.reason.code() == "origin" => {
                last = Some(fault);
            }
            verdict => {
                trusts.remove(at);
                return Ok(verdict);
            }
        }
    }
    last.map(Err)
        .ok_or_else(|| refuse(&format!("{file}: there are more exports than logs that keys are given of")))
}

fn proof(options: &Options, file: &str, entry: &str) -> Result<String, Failure> {
    let trusts = trusts(options)?;
    let trust = trusts.first().ok_or_else(|| refuse(&"a key of the log is wanted"))?;
    let bytes = match from_hex(entry) {
        Some(bytes) => bytes,
        None => read(entry, custodia_audit::CONTROL_BYTES_MAX)?,
    };
    let proof = ProofFile::parse(&read(file, PROOF_FILE_BYTES_MAX)?);
    let checked = proof.and_then(|proof| {
        let (checkpoint, cosigned) = proof.verify_under(&bytes, &trust.origin, &trust.policy)?;
        Ok((proof.index, checkpoint, cosigned))
    });
    let refused = |code, reason: &str| Failure::Refused(report::refused_proof(code, reason, options.form));
    let (index, checkpoint, cosigned) =
        checked.map_err(|fault: ProofFault| refused(proof_code(&fault), &fault.to_string()))?;
    let leaf = Leaf::from_bytes(&bytes).map_err(|fault| refused("form", &format!("entry: {fault}")))?;
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
