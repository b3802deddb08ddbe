//! Shape: files of a sitting, functions of a screen, a first line that says what it is, no panics.

use super::{
    catches, check,
    source::{Source, TREE, closing, files, read_lossy},
};

/// Lines of a file that ships, generated tables aside.
const FILE_LINES_MAX: usize = 450;
/// Lines of a function that ships, from its name to its closing brace.
const FUNCTION_LINES_MAX: usize = 65;
/// Characters of a module's first line, `//! ` included.
const FIRST_LINE_MAX: usize = 115;

/// Tables written by a program or one row a line.
fn is_table(path: &str) -> bool {
    path.starts_with("src/fhir/r4/") || path.ends_with("/schema.rs")
}

fn length_findings(source: &Source) -> Vec<String> {
    if is_table(&source.path) || source.shipped.is_empty() {
        return Vec::new();
    }
    let mut found = Vec::new();
    // A file's inline tests do not count: only how far its shipped code goes.
    let lines = source.shipped.trim_end().lines().count();
    if lines > FILE_LINES_MAX {
        found.push(format!("{}: {lines} lines", source.path));
    }
    for (name, lines) in functions(&source.shipped) {
        if lines > FUNCTION_LINES_MAX {
            found.push(format!("{}::{name}: {lines} lines", source.path));
        }
    }
    found
}

/// Each function's name and lines.
fn functions(code: &str) -> Vec<(&str, usize)> {
    let starts =
        code.match_indices("fn ").filter(|(at, _)| *at == 0 || code.as_bytes()[at - 1].is_ascii_whitespace());
    let measured = starts.filter_map(|(at, _)| {
        let rest = &code[at..];
        let name = rest[3..].split(|letter: char| !letter.is_alphanumeric() && letter != '_').next()?;
        let open = rest.find('{')?;
        // A declaration without a body ends before any brace opens.
        if name.is_empty() || rest.find(';').is_some_and(|end| end < open && !rest[..end].contains('[')) {
            return None;
        }
        Some((name, rest[..closing(rest, open)?].lines().count()))
    });
    measured.collect()
}

fn first_line_findings(source: &Source) -> Vec<String> {
    if source.shipped.is_empty() {
        return Vec::new();
    }
    let line = source.text.lines().next().unwrap_or_default();
    match line.strip_prefix("//! ") {
        None => vec![format!("{}: the first line does not say what it is", source.path)],
        Some(text) if text.trim().is_empty() || line.chars().count() > FIRST_LINE_MAX => {
            vec![format!("{}: the first line is empty or longer than {FIRST_LINE_MAX}", source.path)]
        }
        Some(_) => Vec::new(),
    }
}

/// What must not stand in shipped code: it panics, or it silences a lint for ever.
fn word_findings(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    for bad in [".unwrap()", ".expect(\"", "panic!(", "todo!(", "unimplemented!("] {
        found.extend(lines_with(&source.shipped, bad).map(|line| format!("{}:{line}: {bad}", source.path)));
    }
    for bad in ["#[allow(", "#![allow("] {
        let lines = lines_with(&source.code, bad);
        found.extend(
            lines.map(|line| format!("{}:{line}: {bad}: write #[expect(.., reason = \"..\")]", source.path)),
        );
    }
    found
}

/// Routes and catchers that are not made in `http/mount.rs`, where nothing but `Audited` can be returned. Clippy
/// bans the functions; it cannot be told of a good use of an attribute macro, so those are banned here.
fn route_findings(source: &Source) -> Vec<String> {
    let macros = ["get", "put", "post", "delete", "patch", "head", "options", "route", "catch"];
    let forms = macros.iter().flat_map(|name| [format!("#[{name}("), format!("#[rocket::{name}(")]);
    let all = forms.chain(["routes![".to_owned(), "catchers![".to_owned()]);
    let found = all.filter(|form| source.path.starts_with("src/") && source.shipped.contains(form.as_str()));
    found.map(|form| format!("{}: {form}: routes are made in http/mount.rs, by hand", source.path)).collect()
}

/// Time and identifiers that are not injected, and ends that are not returns.
fn injection_findings(source: &Source) -> Vec<String> {
    if !source.path.starts_with("src/") || source.path == "src/clock.rs" {
        return Vec::new();
    }
    let bad = ["SystemTime::now", "Utc::now", "Local::now", "Uuid::new_v4", "Uuid::now_v7", "process::exit"];
    let found = bad.iter().flat_map(|bad| lines_with(&source.shipped, bad).map(move |line| (line, bad)));
    found.map(|(line, bad)| format!("{}:{line}: {bad} outside clock", source.path)).collect()
}

fn lines_with<'a>(code: &'a str, bad: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.lines().enumerate().filter(move |(_, line)| line.contains(bad)).map(|(at, _)| at + 1)
}

/// Lines of the repository that speak of the build whose ledger takes no notice of reads, by file.
fn null_ledger_findings(path: &str, text: &str) -> Vec<String> {
    let name = concat!("custodia_null", "_ledger");
    let lines: Vec<&str> = text.lines().filter(|line| line.contains(name)).collect();
    let is_declared = |line: &&&str| line.starts_with("unexpected_cfgs = ");
    let is_passed = |line: &&&str| line.contains("CARGO_TARGET_DIR=target/null-ledger ");
    let rightly = match path {
        "Cargo.toml" => lines.iter().filter(is_declared).count(),
        ".justfile" => lines.iter().filter(is_passed).count(),
        "src/ledger/mod.rs" => lines.iter().filter(|line| line.trim() == format!("#[cfg({name})]")).count(),
        "src/ledger/null.rs" => lines.len(),
        _ => 0,
    };
    if rightly == lines.len() { Vec::new() } else { vec![format!("{path}: a build without a log of reads")] }
}

#[test]
fn the_null_ledger_is_built_by_one_recipe_alone() {
    let findings = files().into_iter().flat_map(|path| null_ledger_findings(&path, &read_lossy(&path)));
    check("null ledger", &findings.collect::<Vec<_>>());
    let passed = concat!("RUSTFLAGS=\"--cfg custodia_null", "_ledger\" cargo build --release");
    catches(&null_ledger_findings(".ci/run", passed), ".ci/run");
    catches(&null_ledger_findings(".justfile", passed), ".justfile");
    catches(
        &null_ledger_findings("src/config/mod.rs", concat!("if cfg!(custodia_null", "_ledger) {")),
        "src/config",
    );
    let profile = concat!("[profile.release]\nrustflags = [\"--cfg=custodia_null", "_ledger\"]");
    catches(&null_ledger_findings("Cargo.toml", profile), "Cargo.toml");
}

#[test]
fn files_and_functions_are_short() {
    check("too long", &TREE.iter().flat_map(length_findings).collect::<Vec<_>>());
}

#[test]
fn long_files_and_functions_are_caught() {
    let long =
        format!("fn short() {{}}\nfn long<const N: usize>(a: [u8; N]) {{\n{}}}\n", "    a();\n".repeat(70));
    catches(&length_findings(&Source::new("src/a.rs", &long)), "src/a.rs::long: 71 lines");
    assert_eq!(length_findings(&Source::new("src/a.rs", &long)).len(), 1);
    catches(&length_findings(&Source::new("src/a.rs", &"const A: u8 = 0;\n".repeat(451))), "451 lines");
    assert!(functions("trait A { fn b(&self) -> u8; }\nimpl C {\n\n}").is_empty());
}

#[test]
fn every_module_says_what_it_is() {
    check("first lines", &TREE.iter().flat_map(first_line_findings).collect::<Vec<_>>());
    catches(&first_line_findings(&Source::new("src/a.rs", "use std::fmt;\n")), "does not say");
    catches(
        &first_line_findings(&Source::new("src/a.rs", &format!("//! {}\n", "long ".repeat(30)))),
        "longer",
    );
}

#[test]
fn shipped_code_does_not_panic_nor_silence_lints() {
    check("words", &TREE.iter().flat_map(word_findings).collect::<Vec<_>>());
    catches(
        &word_findings(&Source::new("src/a.rs", "fn a() {\n    b().unwrap();\n}")),
        "src/a.rs:2: .unwrap()",
    );
    catches(&word_findings(&Source::new("src/a.rs", "fn a() { b().expect(\"c\") }")), ".expect(");
    catches(
        &word_findings(&Source::new("src/a.rs", "#[cfg(test)]\nmod t {\n    #[allow(dead_code)]\n}")),
        "#[allow(",
    );
    assert!(
        word_findings(&Source::new("src/a.rs", "#[cfg(test)]\nmod t { fn a() { b.unwrap() } }")).is_empty()
    );
}

#[test]
fn routes_are_made_in_one_place() {
    check("routes", &TREE.iter().flat_map(route_findings).collect::<Vec<_>>());
    catches(&route_findings(&Source::new("src/http/extra.rs", "#[get(\"/\")]\nfn a() {}")), "#[get(");
    catches(
        &route_findings(&Source::new("src/http/extra.rs", "rocket.mount(b, rocket::routes![c])")),
        "routes![",
    );
}

#[test]
fn time_and_identifiers_are_injected() {
    check("injection", &TREE.iter().flat_map(injection_findings).collect::<Vec<_>>());
    catches(
        &injection_findings(&Source::new("src/store/a.rs", "fn a() { Utc::now() }")),
        "Utc::now outside clock",
    );
    assert!(injection_findings(&Source::new("src/clock.rs", "fn a() { Utc::now() }")).is_empty());
}
