//! The official examples of R4, whole and damaged (`tests/data/README.md`).

#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::io::Read;
use std::sync::OnceLock;
use std::time::Instant;

use proptest::prelude::*;
use serde_json::Value;

use super::super::definitions::loaded;
use super::super::json::{parse, to_bytes};
use super::super::kinds::ResourceType;
use super::*;

/// The examples that break R4: `Type/id`, the rule, and how.
const REFUSED: &str = include_str!("../../../tests/data/r4-examples.refused.txt");
/// What validation says of each example: severity, rule and place of each issue, or `ok`.
const VERDICTS: &str = include_str!("../../../tests/data/r4-examples.verdicts.txt");

/// The examples, one a line.
fn lines() -> &'static [String] {
    static LINES: OnceLock<Vec<String>> = OnceLock::new();
    LINES.get_or_init(|| {
        let packed: &[u8] = include_bytes!("../../../tests/data/r4-examples.ndjson.gz");
        let mut text = String::new();
        flate2::read::GzDecoder::new(packed).read_to_string(&mut text).unwrap();
        text.lines().map(str::to_owned).collect()
    })
}

fn example(index: usize) -> Value {
    parse(lines().get(index % lines().len()).unwrap().as_bytes()).unwrap()
}

/// Lines of a list, without its comments.
fn listed(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.starts_with('#'))
}

#[test]
fn official_examples_are_valid_but_for_those_that_break_r4() {
    let mut kinds = BTreeSet::new();
    let (mut refused, mut verdicts) = (BTreeSet::new(), Vec::new());
    for line in lines() {
        let resource = parse(line.as_bytes()).unwrap();
        let text = |name: &str| resource.get(name).and_then(Value::as_str).unwrap_or_default();
        let kind = ResourceType::from_name(text("resourceType")).unwrap();
        let name = format!("{kind}/{}", text("id"));
        kinds.insert(kind);
        let found = problems(loaded(), &resource, Some(kind), Wanted::All);
        if found.is_empty() {
            verdicts.push(format!("{name} ok"));
        }
        for problem in found {
            let (rule, at) = (problem.rule.as_deref().unwrap(), problem.expression.as_deref().unwrap());
            if problem.refuses() {
                refused.insert(format!("{name} {rule}"));
            }
            let severity = if problem.refuses() { "error" } else { "warning" };
            verdicts.push(format!("{name} {severity} {rule} {at}"));
        }
    }
    // The list is of the whole package; the larger definitions of R4 are not kept here.
    let here: BTreeSet<&str> = verdicts.iter().filter_map(|line| line.split(' ').next()).collect();
    let expected: BTreeSet<String> = listed(REFUSED)
        .filter(|line| here.contains(line.split(' ').next().unwrap()))
        .map(|line| line.splitn(3, ' ').take(2).collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(refused, expected);
    assert_eq!((lines().len(), kinds.len()), (734, 140));
    // Somebody who changed a verdict on purpose writes the file anew and reads the difference.
    if std::env::var_os("WRITE_VERDICTS").is_some() {
        let head =
            "# What validation says of each official example: severity, rule and place of each issue, or ok.";
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/r4-examples.verdicts.txt");
        std::fs::write(path, format!("{head}\n{}\n", verdicts.join("\n"))).unwrap();
    }
    let kept: Vec<&str> = listed(VERDICTS).collect();
    let (before, now): (BTreeSet<&str>, BTreeSet<&str>) =
        (kept.iter().copied().collect(), verdicts.iter().map(String::as_str).collect());
    let gone: Vec<_> = before.difference(&now).collect();
    let new: Vec<_> = now.difference(&before).collect();
    assert_eq!((gone, new), (Vec::new(), Vec::new()), "no longer said, and said now");
    assert_eq!(kept.len(), verdicts.len());
}

#[test]
fn official_examples_come_out_as_they_went_in() {
    for line in lines() {
        let value = parse(line.as_bytes()).unwrap();
        assert_eq!(value, serde_json::from_str::<Value>(line).unwrap());
        assert_eq!(parse(&to_bytes(&value)).unwrap(), value);
    }
}

/// `cargo test --release -- --ignored --nocapture speed`
#[test]
#[ignore = "measures, and only a release build is worth measuring"]
#[expect(clippy::print_stderr, reason = "a measurement is printed")]
fn speed_of_parsing_and_validating() {
    let (rounds, mut bytes) = (20_u32, 0_usize);
    let (mut parsing, mut validating) = (std::time::Duration::ZERO, std::time::Duration::ZERO);
    for line in (0..rounds).flat_map(|_| lines()) {
        let start = Instant::now();
        let value = parse(line.as_bytes()).unwrap();
        let parsed = Instant::now();
        std::hint::black_box(validate(loaded(), &value, None));
        validating += parsed.elapsed();
        parsing += parsed - start;
        bytes += line.len();
    }
    let per_kb = |time: std::time::Duration| time.as_micros() as f64 * 1000.0 / bytes as f64;
    eprintln!("parse {:.2} us/kB, validate {:.2} us/kB", per_kb(parsing), per_kb(validating));
}

/// Walks down to one of the places of the value, and puts something else there.
fn damage(value: &mut Value, path: &[usize], other: &Value) {
    let Some((turn, rest)) = path.split_first() else {
        other.clone_into(value);
        return;
    };
    match value {
        Value::Array(items) if !items.is_empty() => {
            let place = turn % items.len();
            damage(items.get_mut(place).unwrap(), rest, other);
        }
        Value::Object(object) if !object.is_empty() => {
            let place = turn % object.len();
            damage(object.values_mut().nth(place).unwrap(), rest, other);
        }
        _ => other.clone_into(value),
    }
}

fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[ -~äé\u{0}\n]{0,12}".prop_map(Value::from),
        "(<div>|</div>|<p |a=\"|&|;|>|x){0,8}".prop_map(Value::from),
        "[0-9]{2,4}-[0-9]{2}-[0-9]{2}T[0-9:]{5,8}(Z|[+-][0-9:]{5})".prop_map(Value::from),
        "(Patient|#|urn:uuid:|http://)[/a-z0-9?]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(
                "id|extension|_value|url|resourceType|contained|[a-z]{1,3}",
                inner,
                0..4
            )
            .prop_map(|members| members.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn damaged_resources_never_panic(
        index in any::<usize>(),
        path in proptest::collection::vec(any::<usize>(), 0..8),
        other in anything(),
    ) {
        let mut resource = example(index);
        damage(&mut resource, &path, &other);
        prop_assert!(validate(loaded(), &resource, None).len() <= PROBLEMS_MAX);
    }

    #[test]
    fn damaged_texts_never_panic(index in any::<usize>(), at in any::<usize>(), byte in any::<u8>()) {
        let mut bytes = lines().get(index % lines().len()).unwrap().clone().into_bytes();
        let at = at % bytes.len();
        if let Some(place) = bytes.get_mut(at) {
            *place = byte;
        }
        if let Ok(value) = parse(&bytes) {
            prop_assert!(validate(loaded(), &value, None).len() <= PROBLEMS_MAX);
        }
    }
}
