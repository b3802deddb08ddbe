//! Claims: every control of `compliance/controls.toml` has code, a test and a command, and they exist.

use super::{
    catches, check,
    source::{TREE, exists, read},
    words::defines,
};

/// Laws and sections that a control may cite, as they are spelt.
const LAWS: [&str; 4] = ["HIPAA ", "GDPR ", "EHDS ", "DPDP "];

fn findings(text: &str) -> Vec<String> {
    let table: toml::Table = match text.parse() {
        Ok(table) => table,
        Err(error) => return vec![format!("not TOML: {error}")],
    };
    let Some(controls) = table.get("control").and_then(toml::Value::as_array) else {
        return vec!["there is no control".to_owned()];
    };
    let mut ids = Vec::new();
    let mut found = Vec::new();
    for control in controls {
        let id = control.get("id").and_then(toml::Value::as_str).unwrap_or("?");
        if ids.contains(&id) {
            found.push(format!("{id}: twice"));
        }
        ids.push(id);
        found.extend(of_control(control).into_iter().map(|finding| format!("{id}: {finding}")));
    }
    found
}

fn of_control(control: &toml::Value) -> Vec<String> {
    let list = |key: &str| -> Vec<&str> {
        let values = control.get(key).and_then(toml::Value::as_array);
        values.into_iter().flatten().filter_map(toml::Value::as_str).collect()
    };
    let mut found = Vec::new();
    for key in ["laws", "code", "tests"] {
        if list(key).is_empty() {
            found.push(format!("has no {key}"));
        }
    }
    for key in ["id", "says", "command"] {
        if control.get(key).and_then(toml::Value::as_str).is_none_or(str::is_empty) {
            found.push(format!("has no {key}"));
        }
    }
    let strange = list("laws").into_iter().filter(|law| !LAWS.iter().any(|known| law.starts_with(known)));
    found.extend(strange.map(|law| format!("cites {law}, which is no law we know")));
    found.extend(
        list("code").into_iter().filter(|path| !exists(path)).map(|path| format!("code {path} is gone")),
    );
    found.extend(
        list("tests").into_iter().filter(|test| !is_test(test)).map(|test| format!("test {test} is gone")),
    );
    found
}

/// `path/of/file.rs::name`: that file defines that function, and it is a test.
fn is_test(test: &str) -> bool {
    let Some((path, name)) = test.rsplit_once("::") else { return false };
    let Some(source) = TREE.iter().find(|source| source.path == path) else { return false };
    let at = source.code.find(&format!("fn {name}("));
    defines(&source.code, name) && at.is_some_and(|at| follows_attribute(&source.code[..at]))
}

/// Whether what stands before a function marks it as a test; `proptest!` writes the mark inside.
fn follows_attribute(before: &str) -> bool {
    let tail = before.rsplit('}').next().unwrap_or_default();
    tail.contains("#[test]") || tail.contains("#[tokio::test")
}

#[test]
fn every_claim_stands_on_a_test() {
    check("controls", &findings(&read("compliance/controls.toml")));
}

#[test]
fn a_claim_on_nothing_is_caught() {
    let control =
        "[[control]]\nid = \"a\"\nsays = \"b\"\nlaws = [\"HIPAA 164.312(b)\"]\ncode = [\"src/clock.rs\"]\n";
    let good = format!(
        "{control}tests = [\"tests/tidy/claims.rs::a_claim_on_nothing_is_caught\"]\ncommand = \"cargo test\"\n"
    );
    assert_eq!(findings(&good), Vec::<String>::new());
    catches(&findings(&good.replace("on_nothing", "on_air")), "on_air_is_caught is gone");
    catches(&findings(&good.replace("::a_claim_on_nothing_is_caught", "::is_test")), "is gone");
    catches(&findings(&good.replace("src/clock.rs", "src/sundial.rs")), "sundial.rs is gone");
    catches(&findings(&good.replace("HIPAA", "Hammurabi")), "no law we know");
    catches(&findings(control), "has no tests");
    catches(&findings(&format!("{good}{good}")), "twice");
    catches(&findings(""), "no control");
}
