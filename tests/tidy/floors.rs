//! Floors: a room imports only from what stands above it, and names only the crates it is given.

use super::{
    catches, check,
    source::{Source, TREE, read},
};

/// The rooms from the top floor down. A room imports only what stands before it.
const FLOORS: [&str; 24] = [
    "clock",
    "tenant",
    "durable",
    "witness",
    "config",
    "fhir",
    "events",
    "answer",
    "refusal",
    "seal",
    "identity",
    "gate",
    "store",
    "ledger",
    "anchor",
    "export",
    "feed",
    "terminology",
    "app",
    "interaction",
    "http",
    "watch",
    "host",
    "demo",
];

/// Edges against the order, each with its reason. This list only shrinks.
const EXCEPTIONS: [(&str, &str); 0] = [];

/// Crates that only some rooms may name.
const GUARDED: [(&str, &[&str]); 10] = [
    ("rocket", &["http"]),
    ("hyper", &["http", "witness"]),
    ("tokio_rustls", &["http", "feed", "witness"]),
    ("cedar_policy", &["gate"]),
    ("diesel", &["store", "ledger"]),
    ("diesel_async", &["store", "ledger"]),
    ("diesel_migrations", &["store"]),
    ("tokio_postgres", &["store"]),
    ("ring", &["seal", "identity"]),
    ("object_store", &["anchor"]),
];

/// All that `fhir` may name: it is pure.
const FHIR_CRATES: [&str; 10] = [
    "serde",
    "serde_json",
    "chrono",
    "uuid",
    "zstd",
    "flate2",
    "tar",
    "thiserror",
    "unicode_normalization",
    "regex",
];

/// The room a file belongs to; `None` for the crate's root and the commands.
fn room(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("src/")?;
    let first = inside.split('/').next()?.trim_end_matches(".rs");
    (!matches!(first, "lib" | "bin")).then_some(first)
}

/// How many modules below the crate's root a file is.
fn depth(path: &str) -> usize {
    let inside = path.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
    inside.split('/').count()
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn word(text: &str) -> &str {
    &text[..text.bytes().position(|byte| !is_word(byte)).unwrap_or(text.len())]
}

/// The heads of what follows a path: `a::b` gives a, `{a::b, c::{d}}` gives a and c.
fn heads(rest: &str) -> Vec<&str> {
    let rest = rest.trim_start();
    if !rest.starts_with('{') {
        return vec![word(rest)];
    }
    let mut found = Vec::new();
    let mut depth = 0_usize;
    let mut expect = false;
    for (at, byte) in rest.bytes().enumerate() {
        match byte {
            b'{' => {
                depth += 1;
                expect = depth == 1;
            }
            b'}' => {
                depth -= 1;
                if depth == 0 {
                    break;
                }
            }
            b',' => expect = depth == 1,
            _ if expect && is_word(byte) => {
                found.push(word(&rest[at..]));
                expect = false;
            }
            _ => {}
        }
    }
    found
}

/// What a file imports from the crate's root, by `crate::` or by enough `super::`.
fn imports(source: &Source) -> Vec<&str> {
    let code = source.shipped.as_str();
    let absolute =
        code.match_indices("crate::").filter(|(at, _)| *at == 0 || !is_word(code.as_bytes()[at - 1]));
    let mut found: Vec<&str> = absolute.flat_map(|(at, path)| heads(&code[at + path.len()..])).collect();
    let climb = "super::".repeat(depth(&source.path));
    found.extend(code.match_indices(&climb).flat_map(|(at, path)| heads(&code[at + path.len()..])));
    found
}

fn floor_findings(source: &Source) -> Vec<String> {
    let Some(room) = room(&source.path) else { return Vec::new() };
    let Some(own) = FLOORS.iter().position(|floor| *floor == room) else {
        return vec![format!("{}: room {room} has no floor", source.path)];
    };
    let below = |target: &&str| FLOORS.iter().position(|floor| floor == target).is_some_and(|at| at > own);
    let wrong =
        imports(source).into_iter().filter(below).filter(|target| !EXCEPTIONS.contains(&(room, target)));
    wrong.map(|target| format!("{}: {room} imports {target}, which stands below it", source.path)).collect()
}

/// Whether code names a crate: at the head of a path, not inside another, and not a module of that name that
/// the file imported (`use rustls::crypto::ring` makes `ring::` rustls's).
fn names_crate(code: &str, name: &str) -> bool {
    let path = format!("{name}::");
    if imports_module(code, name) {
        return false;
    }
    code.match_indices(&path).any(|(at, _)| {
        let before = code[..at].trim_end_matches(' ').as_bytes();
        at == 0 || (!is_word(code.as_bytes()[at - 1]) && !before.ends_with(b"::"))
    })
}

/// Whether a `use` brings in something of that name from inside another crate.
fn imports_module(code: &str, name: &str) -> bool {
    let statements =
        code.match_indices("use ").filter(|(at, _)| *at == 0 || code.as_bytes()[at - 1] == b'\n');
    let ends = |rest: &str| rest.starts_with([',', ';', '}']);
    statements.filter_map(|(at, _)| code[at + 4..].split_inclusive(';').next()).any(|imported| {
        imported.match_indices(name).any(|(at, _)| {
            at > 0 && !is_word(imported.as_bytes()[at - 1]) && ends(&imported[at + name.len()..])
        })
    })
}

/// The crates the house depends on, as code spells them.
fn dependencies() -> Vec<String> {
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    manifest["dependencies"].as_table().unwrap().keys().map(|name| name.replace('-', "_")).collect()
}

fn crate_findings(source: &Source, dependencies: &[String]) -> Vec<String> {
    let Some(room) = room(&source.path) else { return Vec::new() };
    let named = |name: &str| names_crate(&source.shipped, name);
    let guarded = GUARDED.iter().filter(|(name, rooms)| !rooms.contains(&room) && named(name));
    let mut found: Vec<String> =
        guarded.map(|(name, rooms)| format!("{}: names {name}, left to {rooms:?}", source.path)).collect();
    if room == "fhir" {
        let foreign = dependencies.iter().filter(|name| !FHIR_CRATES.contains(&name.as_str()) && named(name));
        found.extend(foreign.map(|name| format!("{}: fhir is pure and names {name}", source.path)));
    }
    found
}

#[test]
fn rooms_import_only_what_stands_above_them() {
    check("floors", &TREE.iter().flat_map(floor_findings).collect::<Vec<_>>());
}

#[test]
fn an_import_from_below_is_caught() {
    let grouped =
        Source::new("src/gate/decide.rs", "use crate::{\n    seal::{Opened, Sealed},\n    store::Row,\n};\n");
    catches(&floor_findings(&grouped), "gate imports store");
    assert_eq!(imports(&grouped), ["seal", "store"]);
    catches(
        &floor_findings(&Source::new("src/seal/press.rs", "fn a() { super::super::ledger::b() }")),
        "seal imports ledger",
    );
    catches(
        &floor_findings(&Source::new("src/clock.rs", "fn a() { crate::http::b() }")),
        "clock imports http",
    );
    catches(&floor_findings(&Source::new("src/cellar/mod.rs", "")), "has no floor");
    assert!(floor_findings(&Source::new("src/clock.rs", "/// [`crate::http`]\nfn a() {}")).is_empty());
    assert!(
        floor_findings(&Source::new("src/seal/a/b.rs", "use super::super::http;")).is_empty(),
        "its own http"
    );
}

#[test]
fn rooms_name_only_the_crates_they_are_given() {
    let dependencies = dependencies();
    check(
        "crates",
        &TREE.iter().flat_map(|source| crate_findings(source, &dependencies)).collect::<Vec<_>>(),
    );
}

#[test]
fn a_crate_in_the_wrong_room_is_caught() {
    let dependencies = dependencies();
    let find = |path: &str, text: &str| crate_findings(&Source::new(path, text), &dependencies);
    catches(&find("src/interaction/read.rs", "use diesel::prelude::*;"), "names diesel");
    catches(&find("src/gate/load.rs", "fn a() { rocket::routes![] }"), "names rocket");
    catches(&find("src/fhir/json.rs", "use tokio::fs;"), "fhir is pure");
    catches(&find("src/store/connect.rs", "use ring::digest;"), "names ring");
    assert!(find("src/store/connect.rs", "use rustls::crypto::ring::default_provider;").is_empty());
    let module = "use rustls::{Error, crypto::ring};\nfn a() { ring::default_provider() }";
    assert!(find("src/http/tls.rs", module).is_empty());
    assert!(
        find("src/http/tls.rs", &module.replace("crypto::ring", "crypto::{CryptoProvider, ring}")).is_empty()
    );
    assert!(find("src/gate/mod.rs", "// diesel::x\nconst A: &str = \"rocket::x\";").is_empty());
}
