//! Words: what the text of the repository may not say, and what it may not point at.

use super::{
    catches, check,
    source::{TREE, exists, files, read},
};

/// Spelt in halves, so that this file does not say them. Each speaks of a machine or a day, not of the product.
const FORBIDDEN: [&str; 12] = [
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/."),
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("X", "XX"),
    concat!("HA", "CK"),
    concat!("for n", "ow,"),
    concat!("not yet imple", "mented"),
    concat!("issue", " #"),
    concat!("index.", "crates.io"),
    concat!("files.python", "hosted"),
    concat!("deb.", "debian.org"),
];

/// Texts that this house wrote: not data, not locks, not what others published.
fn is_ours(path: &str) -> bool {
    let text = [".rs", ".md", ".toml", ".sql", ".cedar", ".cedarschema", ".yml", ".sh", "run", ".justfile"];
    text.iter().any(|end| path.ends_with(end))
        && !path.contains("/data/")
        && !path.starts_with("src/fhir/r4/")
}

fn word_findings(path: &str, text: &str) -> Vec<String> {
    let lines = text.lines().enumerate();
    let hits = lines
        .flat_map(|(at, line)| FORBIDDEN.iter().filter(|bad| line.contains(**bad)).map(move |bad| (at, bad)));
    hits.map(|(at, bad)| format!("{path}:{}: says {bad:?}", at + 1)).collect()
}

/// Links of a page to files that are not there.
fn link_findings(path: &str, text: &str) -> Vec<String> {
    let folder = path.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let local = targets.filter(|target| !target.contains("://") && !target.starts_with('#'));
    let files = local.map(|target| target.split('#').next().unwrap_or_default());
    let gone = files.filter(|target| !exists(&format!("{folder}{target}")));
    gone.map(|target| format!("{path}: links to {target}, which is not there")).collect()
}

/// Tests that an `INVARIANT` comment names and nobody wrote.
fn invariant_findings(path: &str, text: &str, defined: &dyn Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    let mut inside = false;
    for (at, line) in text.lines().enumerate() {
        let Some(comment) = line.trim_start().strip_prefix("//") else {
            inside = false;
            continue;
        };
        inside |= comment.contains("INVARIANT:");
        if !inside {
            continue;
        }
        for rest in comment.split("test ").skip(1) {
            let rest = rest.trim_start_matches('`');
            let name = rest
                .split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
                .next()
                .unwrap_or_default();
            if name.contains('_') && !defined(name) {
                found.push(format!("{path}:{}: names the test {name}, which is not there", at + 1));
            }
        }
    }
    found
}

/// Whether some file defines a function of that name.
pub(crate) fn is_defined(name: &str) -> bool {
    TREE.iter().any(|source| defines(&source.code, name))
}

/// Whether code defines a function of that name.
pub(crate) fn defines(code: &str, name: &str) -> bool {
    [format!("fn {name}("), format!("fn {name}<")].iter().any(|form| code.contains(form))
}

#[test]
fn no_text_speaks_of_anything_but_the_product() {
    let ours = files().into_iter().filter(|path| is_ours(path));
    check("words", &ours.flat_map(|path| word_findings(&path, &read(&path))).collect::<Vec<_>>());
    catches(&word_findings("a.md", concat!("\nsee /wo", "rk/main\n")), "a.md:2");
    catches(&word_findings("a.rs", concat!("// TO", "DO: finish")), "a.rs:1");
}

#[test]
fn pages_link_to_what_is_there() {
    let pages = files().into_iter().filter(|path| path.ends_with(".md"));
    check("links", &pages.flat_map(|path| link_findings(&path, &read(&path))).collect::<Vec<_>>());
    catches(
        &link_findings("audit/README.md", "[format](FORMAT.md) [gone](GONE.md#x) [far](https://x)"),
        "GONE.md",
    );
    assert!(link_findings("audit/README.md", "[format](FORMAT.md#wire) [up](../Cargo.toml)").is_empty());
}

#[test]
fn invariants_name_tests_that_exist() {
    let found = TREE.iter().flat_map(|source| invariant_findings(&source.path, &source.text, &is_defined));
    check("invariants", &found.collect::<Vec<_>>());
    let text = "// INVARIANT: it holds\n// (test `it_surely_holds`).\nfn a() {}\n";
    catches(&invariant_findings("src/a.rs", text, &is_defined), "it_surely_holds");
}
