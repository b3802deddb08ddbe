//! By what the slices of an element are told apart (FHIR R4 profiling.html#discriminator).

use serde_json::Value;

use super::super::super::fhirpath::Expression;
use super::compile::Raw;
use super::{BASE, Depth, Expected, Test};

/// How deep below a slice values are looked for that tell it apart.
const DEPTH_MAX: usize = 3;

/// What is true of the items of a slice; `None` if that cannot be told.
pub(super) fn tests(slicing: &Value, slice: &Raw<'_>) -> Option<Vec<Test>> {
    let discriminators = slicing.get("discriminator")?.as_array()?;
    let mut found = Vec::new();
    for discriminator in discriminators {
        let kind = discriminator.get("type")?.as_str()?;
        let path = discriminator.get("path")?.as_str()?;
        let expression = || Expression::parse(path).ok();
        let steps: Vec<&str> = if path == "$this" { Vec::new() } else { path.split('.').collect() };
        match kind {
            "value" | "pattern" => values(slice, path, &steps, &mut found)?,
            "exists" => {
                let element = descend(slice, &steps)?;
                let wanted = element.get("max").and_then(Value::as_str) != Some("0");
                found.push(Test::Exists(expression()?, wanted));
            }
            "type" if path == "$this" => {
                let codes = slice.types().filter_map(|kind| kind.get("code")?.as_str()).map(Into::into);
                found.push(Test::Type(codes.collect()));
            }
            "type" | "profile" => found.push(conforming(slice, kind, path)?),
            _ => return None,
        }
    }
    (!found.is_empty()).then_some(found)
}

/// The types or profiles that what a path leads to has: of the element itself, or behind its reference.
fn conforming(slice: &Raw<'_>, kind: &str, path: &str) -> Option<Test> {
    let behind = path == "resolve()" || path.ends_with(".resolve()");
    let above = path.strip_suffix("resolve()").unwrap_or(path).trim_end_matches('.');
    let steps: Vec<&str> = above.split('.').filter(|step| !step.is_empty() && *step != "$this").collect();
    let element = descend(slice, &steps)?;
    let member = if behind { "targetProfile" } else { "profile" };
    let lists = element.types().filter_map(|kind| kind.get(member)?.as_array());
    let mut urls: Vec<Box<str>> = lists.flatten().filter_map(Value::as_str).map(Into::into).collect();
    if urls.is_empty() && !behind && kind == "type" {
        let codes = element.types().filter_map(|kind| kind.get("code")?.as_str());
        urls = codes.map(|code| format!("{BASE}{code}").into()).collect();
    }
    let depth = if kind == "type" { Depth::Type } else { Depth::Profile };
    (!urls.is_empty()).then_some(Test::Conforms(Expression::parse(path).ok()?, urls, depth))
}

fn descend<'r, 'j>(raw: &'r Raw<'j>, steps: &[&str]) -> Option<&'r Raw<'j>> {
    steps.iter().try_fold(raw, |raw, step| raw.child(step))
}

/// What a slice says stands at a path.
fn values(slice: &Raw<'_>, path: &str, steps: &[&str], found: &mut Vec<Test>) -> Option<()> {
    // The url of an extension is that of its profile.
    let profile = slice.types().find_map(|kind| kind.get("profile")?.as_array()?.first()?.as_str());
    if let (["url"], Some(url), None) = (steps, profile, slice.child("url").and_then(Raw::expected)) {
        let url = url.split('|').next().unwrap_or(url);
        found.push(Test::Value(Expression::parse(path).ok()?, Expected::Fixed(Value::from(url))));
        return Some(());
    }
    // A value above the path says what stands at it.
    let mut at = slice;
    for (depth, step) in steps.iter().enumerate() {
        if let Some(expected) = at.expected() {
            let inner = within(expected, steps.get(depth..).unwrap_or_default())?;
            found.push(Test::Value(Expression::parse(path).ok()?, inner));
            return Some(());
        }
        at = at.child(step)?;
    }
    if let Some(expected) = at.expected() {
        found.push(Test::Value(Expression::parse(path).ok()?, expected));
        return Some(());
    }
    if let Some(binding) = at.binding().filter(|binding| binding.required) {
        found.push(Test::InSet(Expression::parse(path).ok()?, binding.set));
        return Some(());
    }
    let before = found.len();
    below(at, path, DEPTH_MAX, found);
    (found.len() > before).then_some(())
}

/// What stands at a path inside a value.
fn within(expected: Expected, steps: &[&str]) -> Option<Expected> {
    let (Expected::Fixed(value) | Expected::Pattern(value)) = &expected;
    let mut at = value;
    for step in steps {
        if let Value::Array(items) = at {
            at = items.first()?;
        }
        at = at.get(step)?;
    }
    if let Value::Array(items) = at {
        at = items.first()?;
    }
    Some(Expected::Pattern(at.clone()))
}

/// The values below an element that has none itself.
fn below(raw: &Raw<'_>, path: &str, depth: usize, found: &mut Vec<Test>) {
    let Some(depth) = depth.checked_sub(1) else { return };
    for (name, child) in &raw.children {
        let path = format!("{path}.{name}");
        match (child.expected(), Expression::parse(&path)) {
            (Some(expected), Ok(expression)) => found.push(Test::Value(expression, expected)),
            _ => below(child, &path, depth, found),
        }
    }
}
