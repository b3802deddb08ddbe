//! `_sort`: the place of a record in an order (FHIR R4 search.html#sort).
//!
//! May import only std, `serde_json` and what stands beside it in `fhir`.
//!
//! A place is bytes that sort as the records are to. Of several values the one that comes first in the order
//! counts; a record without a value comes after all others, whichever the direction. Texts are folded and
//! count with their first [`TEXT_BYTES`].

use std::sync::Arc;

use serde_json::Value;

use super::fold::fold;
use super::holds::{interval, texts};
use super::index::{Compiled, Source};
use super::parameters::Kind;
use super::path::{Datatype, Path};
use super::span::span;

/// The keys one search may sort by.
pub const SORT_KEYS_MAX: usize = 6;
/// How much of a text its place is made of.
const TEXT_BYTES: usize = 48;

/// One key of an order.
#[derive(Clone, Debug)]
pub struct SortKey {
    /// By which parameter.
    pub parameter: Arc<Compiled>,
    /// Whether the greatest comes first.
    pub descending: bool,
}

/// Whether records can be put in order by a parameter.
pub(super) fn is_sortable(parameter: &Compiled) -> bool {
    parameter.kind != Kind::Composite
}

/// The place of a resource in the order of these keys.
#[must_use]
pub fn place(keys: &[SortKey], resource: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    for key in keys {
        let mut first: Option<Vec<u8>> = None;
        let mut offer = |mut value: Vec<u8>| {
            if key.descending {
                value.iter_mut().for_each(|byte| *byte = !*byte);
            }
            if first.as_ref().is_none_or(|first| value < *first) {
                first = Some(value);
            }
        };
        if let Source::NotFalse(_) = key.parameter.source {
            let mut yes = false;
            key.parameter.visit(resource, &mut |_, value| yes |= *value != Value::Bool(false));
            offer(text(if yes { "true" } else { "false" }));
        } else {
            let kind = key.parameter.kind;
            key.parameter.visit(resource, &mut |path, value| values(kind, path, value, &mut offer));
        }
        match first {
            Some(value) => {
                bytes.push(0);
                bytes.extend(value);
            }
            None => bytes.push(1),
        }
    }
    bytes
}

/// Offers each of a value's sort keys.
fn values(kind: Kind, path: &Path, value: &Value, offer: &mut dyn FnMut(Vec<u8>)) {
    let str_of = |value: &'_ Value, name: &str| value.get(name).and_then(Value::as_str).map(text);
    match (kind, path.datatype) {
        (Kind::Date, datatype) => {
            if let Some(span) = span(datatype, value) {
                let micros = span.from.map_or(i64::MIN, |from| from.timestamp_micros());
                offer((micros.cast_unsigned() ^ (1 << 63)).to_be_bytes().to_vec());
            }
        }
        (Kind::Number | Kind::Quantity, datatype) => {
            if let Some(low) = interval(datatype, value).and_then(|interval| interval.low) {
                offer(low.sort_key());
            }
        }
        (_, Datatype::CodeableConcept) => {
            let codings = value.get("coding").and_then(Value::as_array).into_iter().flatten();
            codings.filter_map(|one| str_of(one, "code")).for_each(offer);
        }
        (_, Datatype::Coding) => str_of(value, "code").into_iter().for_each(offer),
        (_, Datatype::Identifier | Datatype::ContactPoint) => {
            str_of(value, "value").into_iter().for_each(offer);
        }
        (_, Datatype::Reference) => str_of(value, "reference").into_iter().for_each(offer),
        (_, Datatype::Boolean) => {
            value.as_bool().map(|yes| text(if yes { "true" } else { "false" })).into_iter().for_each(offer);
        }
        (_, datatype) => texts(datatype, value, &mut |one| offer(text(one))),
    }
}

/// The folded text, cut, with an end that sorts before every letter.
fn text(text: &str) -> Vec<u8> {
    let folded = fold(text);
    let mut end = folded.len().min(TEXT_BYTES);
    while !folded.is_char_boundary(end) {
        end -= 1;
    }
    let mut bytes = folded.as_bytes().get(..end).unwrap_or_default().to_vec();
    bytes.push(0);
    bytes
}
