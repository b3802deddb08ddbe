//! What stands on the screen before and after the tour: where it is, who there is, and lines to paste.

use std::{
    io::{self, Write as _},
    path::Path,
};

use super::{
    home::{Demo, Home},
    people::{CHART, PEOPLE, REGISTRY},
    tour::verifier,
};

/// Where it is and who there is.
pub(super) fn front(demo: &Demo, home: &Home) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "Custodia, a demo in {}\n", home.folder().display())?;
    writeln!(out, "  portal    {:<30} people and their applications", demo.portal)?;
    writeln!(out, "  partners  {:<30} organisations with a certificate", demo.partners)?;
    writeln!(out, "  log       {}\n", demo.vkey)?;
    writeln!(out, "  {:<12}{:<34}role", "user", "password")?;
    for person in &PEOPLE {
        let password = demo.users.get(person.name).map_or("", |user| &user.password);
        writeln!(out, "  {:<12}{password:<34}{}", person.name, person.role)?;
    }
    writeln!(out)?;
    out.flush()
}

/// Lines to paste into a shell.
pub(super) fn curl(demo: &Demo, home: &Home) -> io::Result<()> {
    let password = |name: &str| demo.users.get(name).map_or("", |user| user.password.as_str());
    let registry = home.files(REGISTRY.name);
    let program = std::env::current_exe().map_or("custodia".to_owned(), |path| quoted(&path));
    let verifier = verifier().map_or_else(
        || "cargo run --release -p custodia-audit --bin custodia-verify --".to_owned(),
        |path| quoted(&path),
    );
    let mut out = io::stdout().lock();
    writeln!(out, "\nIt stays up until Ctrl-C. To paste into a shell:\n")?;
    writeln!(out, "CA={} BASE={} PARTNERS={}", quoted(&demo.ca), demo.portal, demo.partners)?;
    writeln!(
        out,
        "token() {{ curl -s --cacert \"$CA\" \"$BASE/auth/token\" -d grant_type=password -d \"username=$1\" \
         -d \"password=$2\" | sed 's/.*\"access_token\":\"\\([^\"]*\\)\".*/\\1/'; }}"
    )?;
    writeln!(
        out,
        "ask() {{ curl -si --cacert \"$CA\" -H \"Authorization: Bearer $1\" \"$BASE$2\"; echo; }}"
    )?;
    writeln!(out, "PHYSICIAN=$(token physician {})", password("physician"))?;
    writeln!(out, "ask \"$PHYSICIAN\" /fhir/Patient/{CHART}")?;
    writeln!(out, "ask \"$PHYSICIAN\" '/fhir/Observation?patient={CHART}&_count=3'")?;
    writeln!(out, "DESK=$(token front-desk {})", password("front-desk"))?;
    writeln!(out, "ask \"$DESK\" '/fhir/Observation?patient={CHART}'")?;
    writeln!(
        out,
        "curl -si --cacert \"$CA\" --cert {} --key {} \"$PARTNERS/fhir/Immunization?patient={CHART}&_count=3\"",
        quoted(&registry.certificate),
        quoted(&registry.key)
    )?;
    writeln!(out, "AUDITOR=$(token auditor {})", password("auditor"))?;
    writeln!(out, "ask \"$AUDITOR\" /audit/checkpoint")?;
    writeln!(out, "ask \"$AUDITOR\" /audit/entries/1/proof")?;
    writeln!(out, "EXPORT=$(mktemp -u)")?;
    writeln!(out, "{program} --home {} audit export --out \"$EXPORT\"", quoted(home.folder()))?;
    writeln!(out, "{verifier} --vkey '{}' \"$EXPORT\"", demo.vkey)?;
    out.flush()
}

/// As one word of a shell.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
    if text.bytes().all(is_plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}
