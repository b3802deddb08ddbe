//! The tree as the rules see it: files, their text, and their code without comments, literals and tests.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

/// One Rust file.
pub(crate) struct Source {
    /// Path from the top of the repository, with `/`.
    pub(crate) path: String,
    /// The text as it stands.
    pub(crate) text: String,
    /// The text with comments and the insides of literals blanked, line for line and byte for byte.
    pub(crate) code: String,
    /// `code` without inline `#[cfg(test)]` modules; empty when the whole file is a test.
    pub(crate) shipped: String,
}

/// Every Rust file of the repository.
pub(crate) static TREE: LazyLock<Vec<Source>> = LazyLock::new(|| {
    let files = files().into_iter().filter(|path| path.ends_with(".rs"));
    let mut tree: Vec<Source> = files.map(|path| Source::new(&path, &read(&path))).collect();
    let tests = test_modules(&tree);
    for source in &mut tree {
        if source.path.contains("tests/") && !source.path.starts_with("src/")
            || is_below(&source.path, &tests)
        {
            source.shipped.clear();
        }
    }
    tree
});

impl Source {
    /// A file of its own, such as a bad example.
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let code = blank(text);
        let shipped = without_tests(&code);
        Self { path: path.to_owned(), text: text.to_owned(), code, shipped }
    }
}

/// The top of the repository.
pub(crate) fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file's text.
pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(top().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A file's text, whatever it is.
pub(crate) fn read_lossy(path: &str) -> String {
    String::from_utf8_lossy(&fs::read(top().join(path)).unwrap_or_default()).into_owned()
}

/// Whether the repository has it.
pub(crate) fn exists(path: &str) -> bool {
    top().join(path).exists()
}

/// Names at the top, without what `.gitignore` leaves out.
pub(crate) fn names_at_top() -> Vec<String> {
    let ignored = read(".gitignore");
    let out = |name: &str| {
        name == ".git"
            || ignored.lines().any(|line| line.strip_prefix('/') == Some(name) || suffix(line, name))
    };
    let all = fs::read_dir(top()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    all.filter(|name| !out(name)).collect()
}

fn suffix(line: &str, name: &str) -> bool {
    line.strip_prefix('*').is_some_and(|end| name.ends_with(end))
}

/// Every file, by path from the top, in order.
pub(crate) fn files() -> Vec<String> {
    let mut found = Vec::new();
    for name in names_at_top() {
        collect(&top().join(name), &mut found);
    }
    found.sort();
    found
}

fn collect(path: &PathBuf, found: &mut Vec<String>) {
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            collect(&entry.unwrap().path(), found);
        }
    } else {
        found.push(path.strip_prefix(top()).unwrap().to_str().unwrap().to_owned());
    }
}

/// Paths (without `.rs`) of modules that parents declare under `#[cfg(test)]`.
fn test_modules(tree: &[Source]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for source in tree {
        for (at, _) in source.text.match_indices("#[cfg(test)]") {
            let mut file = None;
            for line in source.text[at..].lines().skip(1) {
                let line = line.trim();
                if let Some(rest) = line.strip_prefix("#[path = \"") {
                    file = rest.split('"').next().map(|name| name.trim_end_matches(".rs").to_owned());
                } else if let Some(name) = line.split("mod ").nth(1).and_then(|rest| rest.strip_suffix(';')) {
                    let folder = source.path.rsplit_once('/').map_or("", |(folder, _)| folder);
                    found.insert(match file.take() {
                        Some(file) => format!("{folder}/{file}"),
                        None => format!("{}/{name}", module_folder(&source.path)),
                    });
                    break;
                } else if !line.starts_with("#[") {
                    break;
                }
            }
        }
    }
    found
}

/// Where the children of a module's file are.
fn module_folder(path: &str) -> String {
    let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
    match file {
        "mod.rs" | "lib.rs" | "main.rs" => folder.to_owned(),
        _ => path.trim_end_matches(".rs").to_owned(),
    }
}

fn is_below(path: &str, modules: &BTreeSet<String>) -> bool {
    let stem = path.trim_end_matches(".rs");
    modules.iter().any(|module| stem == module || stem.starts_with(&format!("{module}/")))
}

/// Cuts inline `#[cfg(test)] mod x { ... }` out, keeping the lines.
fn without_tests(code: &str) -> String {
    let mut kept = code.to_owned();
    while let Some(at) = kept.find("#[cfg(test)]") {
        let rest = &kept[at..];
        let end = match (rest.find('{'), rest.find(';')) {
            (Some(open), semicolon) if semicolon.is_none_or(|semicolon| open < semicolon) => {
                closing(rest, open).map_or(rest.len(), |close| close + 1)
            }
            (_, Some(semicolon)) => semicolon + 1,
            _ => rest.len(),
        };
        kept = format!("{}{}{}", &kept[..at], spaces(&rest[..end]), &rest[end..]);
    }
    kept
}

/// Where the brace opened at `open` closes.
pub(crate) fn closing(code: &str, open: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

fn spaces(text: &str) -> String {
    text.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }).collect()
}

/// Blanks comments and what stands between the quotes of literals; every byte keeps its place.
fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if text[at..].starts_with("//") => {
                text[at..].find('\n').map_or(bytes.len(), |line| at + line)
            }
            b'/' if text[at..].starts_with("/*") => {
                text[at..].find("*/").map_or(bytes.len(), |end| at + end + 2)
            }
            b'"' => quoted(bytes, at),
            b'r' if !follows_word(bytes, at) => raw(text, at).unwrap_or(at),
            b'\'' => character(bytes, at).unwrap_or(at),
            _ => at,
        };
        if end == at {
            // A character beyond ASCII stands only in literals and comments; keep the places all the same.
            out.push(if bytes[at].is_ascii() { char::from(bytes[at]) } else { '?' });
            at += 1;
        } else {
            let literal = bytes[at] != b'/';
            let inside = spaces(&text[at..end]);
            out.push_str(&if literal { format!("\"{}\"", &inside[1..inside.len() - 1]) } else { inside });
            at = end;
        }
    }
    out
}

fn follows_word(bytes: &[u8], at: usize) -> bool {
    at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_')
}

fn quoted(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

fn raw(text: &str, start: usize) -> Option<usize> {
    let rest = &text[start + 1..];
    let hashes = rest.bytes().take_while(|byte| *byte == b'#').count();
    let body = rest[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    body.find(&end).map(|at| start + 2 + hashes + at + end.len())
}

/// The end of a character literal; a lifetime is none.
fn character(bytes: &[u8], start: usize) -> Option<usize> {
    if bytes.get(start + 1) == Some(&b'\\') {
        return (start + 3..bytes.len().min(start + 14)).find(|at| bytes[*at] == b'\'').map(|at| at + 1);
    }
    let width = match bytes.get(start + 1)? {
        ..0x80 => 1,
        ..0xe0 => 2,
        ..0xf0 => 3,
        _ => 4,
    };
    (bytes.get(start + 1 + width) == Some(&b'\'')).then_some(start + width + 2)
}

#[test]
fn blanking_keeps_code_and_drops_the_rest() {
    let text = "let a = '{'; // {\nlet b = r#\"\"{\"#; let c: &'static str = \"\\\"{é\"; /* { */ fn d() {}\n";
    let code = blank(text);
    assert_eq!(code.len(), text.len());
    assert_eq!(code.matches('{').count(), 1, "{code}");
    assert_eq!(code.lines().count(), 2);
    assert!(code.contains("&'static str") && code.contains("fn d() {}"), "{code}");
}

#[test]
fn tests_are_not_shipped() {
    let inline = Source::new(
        "src/a.rs",
        "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() { x.unwrap() }\n}\nfn c() {}\n",
    );
    assert!(!inline.shipped.contains("unwrap") && inline.shipped.contains("fn c()"));
    let parent =
        Source::new("src/seal/keyring.rs", "#[cfg(test)]\n#[path = \"keyring_tests.rs\"]\nmod tests;\n");
    assert!(is_below("src/seal/keyring_tests.rs", &test_modules(&[parent])));
    let parent = Source::new("src/fhir/mod.rs", "#[cfg(test)]\nmod cases;\n");
    assert!(is_below("src/fhir/cases/long.rs", &test_modules(&[parent])));
}
