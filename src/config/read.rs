//! Reading: defaults, the file over them, the environment over both; then every rule.
//!
//! May import its siblings.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use figment::{
    Figment,
    error::Kind,
    providers::{Format as _, Toml},
    value::Value,
};
use validator::{Validate as _, ValidationErrors, ValidationErrorsKind};
use zeroize::Zeroizing;

use super::{
    Config, checks,
    keys::{KEYS, Key, Shape},
};

/// The longest file that is read.
pub const FILE_BYTES_MAX: u64 = 1_048_576;
/// The file, when no option names one.
const FILE_VARIABLE: &str = "CUSTODIA_CONFIG";
const PASSPHRASE_VARIABLE: &str = "CUSTODIA_KEYSTORE_PASSPHRASE";
const BUCKET_VARIABLE: &str = "CUSTODIA_BUCKET_SECRET";
/// What everybody calls it; `CUSTODIA_DATABASE_URL` goes before.
const DATABASE_VARIABLE: &str = "DATABASE_URL";
const PREFIX: &str = "CUSTODIA_";

/// Why the configuration is not taken.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is longer than [`FILE_BYTES_MAX`].
    #[error("the configuration {} is longer than {FILE_BYTES_MAX} bytes", path.display())]
    TooLong {
        /// Which.
        path: PathBuf,
    },
    /// Keys that are unknown, of the wrong shape, or break their rule.
    #[error("{}", lines(.0))]
    Keys(Vec<Problem>),
}

/// One key and what is wrong with it; values stay out, they may be secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// As a file spells it, or the environment's variable.
    pub key: String,
    /// What was expected.
    pub rule: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.rule)
    }
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn problem(key: impl Into<String>, rule: impl Into<String>) -> Problem {
    Problem { key: key.into(), rule: rule.into() }
}

impl Config {
    /// Reads `file`, or the one `CUSTODIA_CONFIG` names, and `environment` over it; then checks every rule.
    ///
    /// Nothing is looked for in places: without a file there is none.
    ///
    /// # Errors
    /// [`ConfigError`], with every problem found.
    pub fn read(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let environment = Environment::read(environment)?;
        let mut figment = Figment::new();
        if let Some(path) = file.or(environment.file.as_deref()) {
            figment = figment.merge(Toml::string(&contents(path)?));
        }
        for (name, value) in environment.values {
            figment = figment.merge((name, value));
        }
        let mut config: Self = figment.extract().map_err(|errors| {
            ConfigError::Keys(errors.into_iter().map(|error| explained(&error)).collect())
        })?;
        config.keystore.passphrase = environment.passphrase;
        config.bucket.secret = environment.bucket_secret;
        config.check()?;
        Ok(config)
    }

    /// Checks every rule; [`Config::read`] has done so already.
    ///
    /// # Errors
    /// [`ConfigError::Keys`], with every problem found.
    pub fn check(&self) -> Result<(), ConfigError> {
        let mut problems = Vec::new();
        if let Err(errors) = self.validate() {
            flatten("", &errors, &mut problems);
        }
        problems.extend(checks::of_the_whole(self).into_iter().map(|(key, rule)| problem(key, rule)));
        problems.sort_by(|one, other| one.key.cmp(&other.key));
        if problems.is_empty() { Ok(()) } else { Err(ConfigError::Keys(problems)) }
    }
}

fn contents(path: &Path) -> Result<String, ConfigError> {
    let failed = |source| ConfigError::Read { path: path.to_owned(), source };
    if fs::metadata(path).map_err(failed)?.len() > FILE_BYTES_MAX {
        return Err(ConfigError::TooLong { path: path.to_owned() });
    }
    fs::read_to_string(path).map_err(failed)
}

/// What the environment says to us.
#[derive(Default)]
struct Environment {
    file: Option<PathBuf>,
    passphrase: Option<Zeroizing<String>>,
    bucket_secret: Option<Zeroizing<String>>,
    values: Vec<(&'static str, Value)>,
}

impl Environment {
    fn read(variables: impl IntoIterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        let (mut read, mut problems) = (Self::default(), Vec::new());
        let mut plain_database = None;
        for (variable, text) in variables {
            match variable.as_str() {
                FILE_VARIABLE => read.file = Some(text.into()),
                PASSPHRASE_VARIABLE => read.passphrase = Some(Zeroizing::new(text)),
                BUCKET_VARIABLE => read.bucket_secret = Some(Zeroizing::new(text)),
                DATABASE_VARIABLE => plain_database = Some(text),
                other if other.starts_with(PREFIX) => match KEYS.iter().find(|key| key.variable() == other) {
                    None => problems.push(problem(other, "no key has this name")),
                    Some(key) => match value(key, &text) {
                        Some(value) => read.values.push((key.name, value)),
                        None => problems.push(problem(other, "expected a whole number")),
                    },
                },
                _ => {}
            }
        }
        if let Some(url) = plain_database.filter(|url| !url.is_empty())
            && !read.values.iter().any(|(name, _)| *name == "database.url")
        {
            read.values.push(("database.url", Value::from(url)));
        }
        if problems.is_empty() { Ok(read) } else { Err(ConfigError::Keys(problems)) }
    }
}

/// The value a variable's text stands for.
fn value(key: &Key, text: &str) -> Option<Value> {
    match key.shape {
        Shape::Text => Some(Value::from(text)),
        Shape::Number => text.trim().parse::<i64>().ok().map(Value::from),
        Shape::List => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            Some(Value::from(items.map(Value::from).collect::<Vec<_>>()))
        }
    }
}

/// One of figment's errors without the value it found.
fn explained(error: &figment::Error) -> Problem {
    let mut path = error.path.clone();
    let rule = match &error.kind {
        Kind::UnknownField(field, _) => {
            // Its text is a key somebody wrote, and where the key belongs is what they must know.
            if path.last() != Some(field) {
                path.push(field.clone());
            }
            "no key has this name".to_owned()
        }
        Kind::InvalidType(_, expected)
        | Kind::InvalidValue(_, expected)
        | Kind::InvalidLength(_, expected) => {
            format!("expected {expected}")
        }
        Kind::UnknownVariant(_, known) => format!("expected one of {}", known.join(", ")),
        Kind::ISizeOutOfRange(_) | Kind::USizeOutOfRange(_) => "the number is too large".to_owned(),
        Kind::MissingField(field) => format!("{field} is missing"),
        Kind::DuplicateField(field) => format!("{field} stands twice"),
        // TOML's syntax errors, and what FromStr of an address says: neither quotes more than its line.
        Kind::Message(text) => text.lines().next().unwrap_or("cannot be read").to_owned(),
        Kind::Unsupported(_) | Kind::UnsupportedKey(..) => "has the wrong shape".to_owned(),
    };
    problem(if path.is_empty() { "the configuration".to_owned() } else { path.join(".") }, rule)
}

/// `section.key: rule` for each rule broken.
fn flatten(prefix: &str, errors: &ValidationErrors, problems: &mut Vec<Problem>) {
    for (field, kind) in errors.errors() {
        // A rule about a section as a whole is filed under this name.
        let key = match (prefix, field.as_ref()) {
            (section, "__all__") => section.to_owned(),
            ("", field) => field.to_owned(),
            (section, field) => format!("{section}.{field}"),
        };
        match kind {
            ValidationErrorsKind::Struct(inner) => flatten(&key, inner, problems),
            ValidationErrorsKind::List(items) => {
                items.values().for_each(|inner| flatten(&key, inner, problems));
            }
            ValidationErrorsKind::Field(errors) => {
                problems.extend(errors.iter().map(|error| problem(key.clone(), expected(error))));
            }
        }
    }
}

fn expected(error: &validator::ValidationError) -> String {
    if let Some(message) = &error.message {
        return message.to_string();
    }
    let bound = |name: &str| error.params.get(name).map(ToString::to_string);
    match (error.code.as_ref(), bound("min"), bound("max")) {
        ("range", Some(min), Some(max)) => format!("expected a number from {min} to {max}"),
        ("length", Some(min), Some(max)) => format!("expected {min} to {max} characters"),
        ("length", None, Some(max)) => format!("expected at most {max}"),
        (code, ..) => format!("breaks the rule {code}"),
    }
}

#[cfg(test)]
mod tests;
