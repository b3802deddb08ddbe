//! Papers: the names at the top, the decision records, the migrations, the changelog.

use super::{
    catches, check,
    source::{exists, files, names_at_top, read},
};

/// The visible names at the top. A new one is a decision of the product's owner.
const VISIBLE: [&str; 10] = [
    "Cargo.toml",
    "Cargo.lock",
    "src",
    "migrations",
    "policies",
    "audit",
    "tests",
    "compliance",
    "README.md",
    "LICENSE",
];
/// The hidden ones that may stand there.
const HIDDEN: [&str; 9] = [
    ".cargo",
    ".ci",
    ".clippy.toml",
    ".config",
    ".deny.toml",
    ".github",
    ".gitignore",
    ".justfile",
    ".rustfmt.toml",
];
/// Lines of a map that is still read.
const ARCHITECTURE_LINES_MAX: usize = 300;

fn name_findings(names: &[String]) -> Vec<String> {
    let strange =
        names.iter().filter(|name| !VISIBLE.contains(&name.as_str()) && !HIDDEN.contains(&name.as_str()));
    let mut found: Vec<String> = strange.map(|name| format!("{name} has no place at the top")).collect();
    let missing = VISIBLE.iter().filter(|name| !names.iter().any(|there| there == *name));
    found.extend(missing.map(|name| format!("{name} is missing")));
    found
}

/// A decision record: `NNNN-title.md`, context, choice, cost, and no number twice.
fn decision_findings(records: &[(String, String)]) -> Vec<String> {
    let mut found = Vec::new();
    let mut numbers = Vec::new();
    for (name, text) in records {
        let number = name.split('-').next().unwrap_or_default();
        if number.len() != 4 || number.parse::<u16>().is_err() || !name.ends_with(".md") {
            found.push(format!("{name}: not NNNN-title.md"));
        }
        if numbers.contains(&number) {
            found.push(format!("{name}: number {number} is taken"));
        }
        numbers.push(number);
        let parts = ["\nStatus: ", "\n## Context", "\n## Choice", "\n## Cost"];
        let missing = parts.iter().filter(|part| !text.contains(**part));
        found.extend(missing.map(|part| format!("{name}: has no {:?}", part.trim())));
        if !text.starts_with(&format!("# {number}: ")) {
            found.push(format!("{name}: does not begin with its number"));
        }
    }
    found
}

/// Each step of the schema goes up and comes down.
fn migration_findings(files: &[String]) -> Vec<String> {
    let steps = files.iter().filter_map(|path| path.strip_prefix("migrations/")?.split_once('/'));
    let has = |step: &str, file: &str| files.iter().any(|path| *path == format!("migrations/{step}/{file}"));
    let halves = steps.flat_map(|(step, _)| ["up.sql", "down.sql"].map(|file| (step, file)));
    halves
        .filter(|(step, file)| !has(step, file))
        .map(|(step, file)| format!("{step} has no {file}"))
        .collect()
}

#[test]
fn the_top_holds_only_its_fixed_names() {
    check("top", &name_findings(&names_at_top()));
    let mut names = names_at_top();
    names.push("scripts".into());
    names.retain(|name| name != "LICENSE");
    catches(&name_findings(&names), "scripts has no place");
    catches(&name_findings(&names), "LICENSE is missing");
}

#[test]
fn decision_records_have_their_form() {
    let folder = "compliance/decisions/";
    let records = files().into_iter().filter_map(|path| {
        let name = path.strip_prefix(folder).filter(|name| *name != "README.md")?.to_owned();
        Some((name, read(&path)))
    });
    check("decisions", &decision_findings(&records.collect::<Vec<_>>()));
    let whole = "# 0001: a\n\nStatus: accepted\n\n## Context\n\n## Choice\n\n## Cost\n";
    let bad =
        [("0001-a.md".to_owned(), whole.to_owned()), ("0001-b.md".to_owned(), whole.replace("## Cost", ""))];
    catches(&decision_findings(&bad), "0001 is taken");
    catches(&decision_findings(&bad), "## Cost");
    catches(&decision_findings(&[("idea.md".to_owned(), whole.to_owned())]), "not NNNN-title.md");
}

#[test]
fn every_migration_goes_up_and_down() {
    check("migrations", &migration_findings(&files()));
    catches(
        &migration_findings(&["migrations/2026-01-01-000001_walls/up.sql".to_owned()]),
        "has no down.sql",
    );
}

#[test]
fn the_map_is_short_enough_to_read() {
    let map = "src/ARCHITECTURE.md";
    if exists(map) {
        let lines = read(map).lines().count();
        assert!(lines <= ARCHITECTURE_LINES_MAX, "{map}: {lines} lines");
    }
}

#[test]
fn the_readme_names_the_command_that_tests() {
    let readme = read("README.md");
    let after =
        readme.split("<!-- test -->").nth(1).unwrap_or_else(|| panic!("README.md has no <!-- test -->"));
    let block: Vec<&str> =
        after.lines().skip_while(|line| !line.starts_with("```")).skip(1).take(2).collect();
    assert!(
        matches!(block[..], [command, "```"] if !command.is_empty()),
        "one command in one block: {block:?}"
    );
}
