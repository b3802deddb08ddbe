//! `custodia account`.
//!
//! The file is TOML:
//! ```text
//! kind = "user"                       # or "service", "partner"
//! name = "dr.amara"
//! roles = ["physician"]
//! scopes = "user/*.cruds"
//! purposes = ["TREAT", "ETREAT"]      # the first one is the default
//! organisation = "North Clinic"       # optional
//! practitioner = "Practitioner/amara" # optional
//! jwks = "service.jwks.json"          # of a service: its public keys, beside this file
//! certificates = ["lab.pem"]          # of a partner: its client certificates, beside this file
//! [contract]                          # of a partner: what it may read and write
//! reads = ["Patient", "Observation"]
//! writes = ["Observation"]
//! ```

use std::{
    fs,
    io::{self, BufRead as _, IsTerminal as _, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use clap::Subcommand;
use custodia::{
    config::Config,
    host::Registry,
    identity::{self, Contract, Credentials, KeySet, PasswordHash, Profile, Purpose, Thumbprint},
    tenant::TenantId,
};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{Failure, with_parts};

/// The longest account file.
const FILE_BYTES_MAX: u64 = 1_048_576;

#[derive(Subcommand)]
pub(crate) enum Account {
    /// Add an account; a user's password is read from standard input
    Add {
        /// Name of the tenant it belongs to
        #[arg(long)]
        tenant: String,
        /// TOML: kind, name, roles, scopes, purposes and what it proves itself with
        file: PathBuf,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AccountFile {
    kind: Kind,
    name: String,
    #[serde(default)]
    roles: Vec<String>,
    #[serde(default)]
    scopes: String,
    purposes: Vec<Purpose>,
    organisation: Option<String>,
    practitioner: Option<String>,
    jwks: Option<PathBuf>,
    #[serde(default)]
    certificates: Vec<PathBuf>,
    contract: Option<Contract>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    User,
    Service,
    Partner,
}

pub(crate) async fn run(account: &Account, config: &Config) -> Result<(), Failure> {
    let Account::Add { tenant, file } = account;
    let described = read(file)?;
    let folder = file.parent().unwrap_or(Path::new("."));
    let credentials = credentials(&described, folder)?;
    let id = with_parts(config, async |parts| {
        let registry = Registry::from(parts);
        let profile = profile(described, registry.tenant(tenant).await?, tenant)?;
        let (id, now) = (parts.clock.random_id(), parts.clock.now());
        let account = identity::Account::register(id, now, profile, credentials)?;
        Ok(registry.add_account(&account).await?)
    })
    .await?;
    writeln!(io::stdout().lock(), "account {id}")?;
    Ok(())
}

fn read(path: &Path) -> Result<AccountFile, Failure> {
    let text = text_of(path)?;
    Ok(toml::from_str(&text).map_err(|error| format!("{}: {}", path.display(), error.message()))?)
}

fn text_of(path: &Path) -> Result<String, Failure> {
    let failed = |error: io::Error| format!("{}: {error}", path.display());
    if fs::metadata(path).map_err(failed)?.len() > FILE_BYTES_MAX {
        return Err(format!("{}: longer than {FILE_BYTES_MAX} bytes", path.display()).into());
    }
    Ok(fs::read_to_string(path).map_err(failed)?)
}

fn profile(file: AccountFile, tenant: TenantId, tenant_name: &str) -> Result<Profile, Failure> {
    let default_purpose = *file.purposes.first().ok_or("purposes: expected at least one")?;
    Ok(Profile {
        tenant,
        tenant_name: tenant_name.to_owned(),
        name: file.name,
        roles: file.roles,
        organisation: file.organisation,
        practitioner: file.practitioner,
        scopes: file.scopes,
        purposes: file.purposes,
        default_purpose,
        disabled: false,
    })
}

fn credentials(file: &AccountFile, folder: &Path) -> Result<Credentials, Failure> {
    let fits = match file.kind {
        Kind::User => file.jwks.is_none() && file.certificates.is_empty() && file.contract.is_none(),
        Kind::Service => file.certificates.is_empty() && file.contract.is_none(),
        Kind::Partner => file.jwks.is_none(),
    };
    if !fits {
        return Err("jwks belongs to a service; certificates and contract belong to a partner".into());
    }
    Ok(match file.kind {
        Kind::User => Credentials::User { password: PasswordHash::make(&password()?)? },
        Kind::Service => {
            let path =
                folder.join(file.jwks.as_ref().ok_or("jwks: a service needs the file of its public keys")?);
            Credentials::Service { keys: KeySet::parse(text_of(&path)?.as_bytes())? }
        }
        Kind::Partner => Credentials::Partner {
            thumbprints: file
                .certificates
                .iter()
                .map(|path| thumbprint(&folder.join(path)))
                .collect::<Result<_, _>>()?,
            contract: file.contract.clone().ok_or("contract: a partner needs one")?,
        },
    })
}

/// SHA-256 of the first certificate of a PEM file.
fn thumbprint(path: &Path) -> Result<Thumbprint, Failure> {
    let certificate = CertificateDer::from_pem_file(path)
        .map_err(|_| format!("{}: expected a PEM file with a certificate", path.display()))?;
    Ok(Thumbprint(custodia_audit::sha256(&[certificate.as_ref()])))
}

/// A password from standard input; on a terminal it is asked for, and not shown.
fn password() -> Result<Zeroizing<String>, Failure> {
    let terminal = io::stdin().is_terminal();
    let echo = terminal.then(Echo::off);
    if terminal {
        let mut screen = io::stderr().lock();
        write!(screen, "Password: ")?;
        screen.flush()?;
    }
    let mut line = Zeroizing::new(String::new());
    io::stdin().lock().read_line(&mut line)?;
    drop(echo);
    if terminal {
        writeln!(io::stderr().lock())?;
    }
    Ok(Zeroizing::new(line.trim_end_matches(['\r', '\n']).to_owned()))
}

/// Turns the terminal's echo off while it lives. A terminal that cannot is used as it is.
struct Echo;

impl Echo {
    fn off() -> Self {
        stty("-echo");
        Self
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        stty("echo");
    }
}

fn stty(argument: &str) {
    drop(Command::new("stty").arg(argument).stdout(Stdio::null()).stderr(Stdio::null()).status());
}
