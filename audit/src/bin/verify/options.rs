//! The command line, read by hand: it is short, and auditors build nothing they need not.

use std::ffi::OsString;

use custodia_audit::{KeyKind, Policy, Vkey};

/// How to call the program.
pub(crate) const USAGE: &str = "\
Verifies Custodia's audit log offline.

  custodia-verify --vkey KEY | --policy FILE [options] EXPORT_FILE
      verifies an export: every entry of its range, and that the range is complete
  custodia-verify ... EXPORT_FILE EXPORT_FILE...
      verifies the exports of several logs, and that none is missing of those that are written side by side
  custodia-verify proof --vkey KEY | --policy FILE [options] PROOF_FILE ENTRY
      verifies a .tlog-proof; ENTRY is a log entry in hexadecimal, or a file that holds its bytes

  --vkey KEY        a key of the log (type 01) or of a witness (type 04): name+id+base64; repeatable
  --quorum N        how many of the witnesses given must have cosigned; without it, none
  --policy FILE     a trust policy (c2sp.org/tlog-policy) in place of --vkey and --quorum; one for each log
  --origin ORIGIN   the log's name; without it, the name of the first log key (one export only)
  --earlier FILE    a checkpoint you kept, which its log must continue (exports only); repeatable
  --entries FILE    write each verified entry to FILE, one JSON document a line (one export only)
  --json            print the report as JSON
  --help            print this

Exit code: 0 verified, 1 refused, 2 wrong usage or a file that cannot be read.
Believe what --entries wrote only if the exit code is 0.";

/// How the report is printed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Lines for people.
    Text,
    /// One JSON document.
    Json,
}

/// What to do.
pub(crate) enum Command {
    /// Print the usage.
    Help,
    /// Verify exports.
    Export {
        /// The export, or those of several logs.
        files: Vec<String>,
        /// Where to write its entries.
        entries: Option<String>,
    },
    /// Verify one proof.
    Proof {
        /// The proof.
        file: String,
        /// The entry: hexadecimal or a path.
        entry: String,
    },
}

/// Whom to believe, as it was given.
pub(crate) enum Believed {
    /// Keys, and how many of the witnesses' must have signed.
    Keys(Policy),
    /// The paths of policies.
    Files(Vec<String>),
}

/// The command line.
pub(crate) struct Options {
    /// What to do.
    pub(crate) command: Command,
    /// The log's name, if it was given.
    pub(crate) origin: Option<String>,
    /// Whom to believe.
    pub(crate) believed: Believed,
    /// The paths of earlier checkpoints.
    pub(crate) earlier: Vec<String>,
    /// How to print.
    pub(crate) form: Form,
}

/// The arguments as they are read, before they are judged.
#[derive(Default)]
struct Raw {
    keys: Vec<Vkey>,
    origin: Option<String>,
    quorum: Option<usize>,
    policies: Vec<String>,
    earlier: Vec<String>,
    entries: Option<String>,
    plain: Vec<String>,
    is_json: bool,
    is_help: bool,
}

impl Raw {
    fn read(arguments: impl Iterator<Item = OsString>) -> Result<Self, String> {
        let mut raw = Self::default();
        let mut arguments =
            arguments.map(|argument| argument.into_string().map_err(|_| "an argument is not UTF-8"));
        while let Some(argument) = arguments.next().transpose()? {
            let mut value = || arguments.next().transpose()?.ok_or(format!("{argument} wants a value"));
            match argument.as_str() {
                "--help" | "-h" => raw.is_help = true,
                "--json" => raw.is_json = true,
                "--vkey" => {
                    raw.keys.push(Vkey::parse(&value()?).map_err(|fault| format!("--vkey: {fault}"))?)
                }
                "--origin" => once(&mut raw.origin, &argument, value()?)?,
                "--policy" => raw.policies.push(value()?),
                "--earlier" => raw.earlier.push(value()?),
                "--entries" => once(&mut raw.entries, &argument, value()?)?,
                "--quorum" => {
                    let number = value()?.parse().map_err(|_| "--quorum wants a number")?;
                    once(&mut raw.quorum, &argument, number)?;
                }
                option if option.starts_with("--") => return Err(format!("unknown option {option}")),
                _ => raw.plain.push(argument),
            }
        }
        Ok(raw)
    }

    fn command(&mut self) -> Result<Command, String> {
        let plain = std::mem::take(&mut self.plain);
        if plain.first().is_some_and(|word| word == "proof") {
            if self.entries.is_some() || !self.earlier.is_empty() {
                return Err("--entries and --earlier are for exports".into());
            }
            return match <[String; 3]>::try_from(plain) {
                Ok([_, file, entry]) => Ok(Command::Proof { file, entry }),
                Err(_) => Err("proof wants PROOF_FILE and ENTRY".into()),
            };
        }
        if plain.is_empty() {
            return Err("EXPORT_FILE is wanted".into());
        }
        if plain.len() > 1 && (self.entries.is_some() || self.origin.is_some()) {
            return Err("--entries and --origin are for one export".into());
        }
        Ok(Command::Export { files: plain, entries: self.entries.take() })
    }
}

impl Raw {
    fn believed(self) -> Result<Believed, String> {
        if !self.policies.is_empty() {
            let alone = self.keys.is_empty() && self.quorum.is_none();
            return if alone {
                Ok(Believed::Files(self.policies))
            } else {
                Err("--policy stands in place of --vkey and --quorum".into())
            };
        }
        let is_kind = |kind| move |key: &&Vkey| key.kind() == kind;
        if !self.keys.iter().any(|key| is_kind(KeyKind::Ed25519)(&key)) {
            return Err("--vkey with a key of the log (type 01), or --policy, is wanted".into());
        }
        let witnesses = self.keys.iter().filter(is_kind(KeyKind::Cosignature)).count();
        let quorum = self.quorum.unwrap_or(0);
        if quorum > witnesses {
            return Err(format!("--quorum {quorum} wants as many witness keys, but {witnesses} are given"));
        }
        Ok(Believed::Keys(Policy::of_keys(&self.keys, quorum)))
    }
}

fn once<T>(slot: &mut Option<T>, argument: &str, value: T) -> Result<(), String> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(format!("{argument} is given twice")),
    }
}

impl Options {
    /// Reads the arguments after the program's name.
    pub(crate) fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Self, String> {
        let mut raw = Raw::read(arguments)?;
        let command = if raw.is_help { Command::Help } else { raw.command()? };
        let form = if raw.is_json { Form::Json } else { Form::Text };
        let is_help = matches!(command, Command::Help);
        let (origin, earlier) = (raw.origin.take(), std::mem::take(&mut raw.earlier));
        let believed = if is_help { Believed::Keys(Policy::default()) } else { raw.believed()? };
        Ok(Self { command, origin, believed, earlier, form })
    }
}
