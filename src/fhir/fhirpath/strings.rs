//! The functions of text, and conversions (FHIRPath N1 §5.5, §5.6).

use std::borrow::Cow;

use super::function::Function;
use super::item::Item;
use super::number::Number;
use super::parse::compile;
use super::run::{Fault, Items, Outcome, of_bool};

/// The longest text a function makes, in bytes.
const TEXT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The text of a collection of one; nothing of an empty one.
pub(super) fn single<'v>(items: &[Item<'v>]) -> Result<Option<Cow<'v, str>>, Fault> {
    match items {
        [] => Ok(None),
        [one] => Ok(Some(one.text().ok_or(Fault::Operand)?)),
        _ => Err(Fault::Operand),
    }
}

fn number(items: &[Item<'_>]) -> Result<Number, Fault> {
    match items {
        [one] => match one.value() {
            Some(Item::Number(number)) => Ok(number),
            _ => Err(Fault::Operand),
        },
        _ => Err(Fault::Operand),
    }
}

fn made<'v>(text: String) -> Outcome<'v> {
    if text.len() > TEXT_BYTES_MAX { Err(Fault::TooCostly) } else { Ok(vec![Item::Text(Cow::Owned(text))]) }
}

/// A function over one text.
pub(super) fn call<'v>(function: Function, over: &[Item<'v>], arguments: &[Items<'v>]) -> Outcome<'v> {
    if function == Function::Join {
        let between = arguments.first().map_or(Ok(None), |items| single(items))?.unwrap_or_default();
        let parts: Option<Vec<_>> = over.iter().map(Item::text).collect();
        return made(parts.ok_or(Fault::Operand)?.join(&between));
    }
    // Of an element with extensions alone there is no text, as of none.
    let over = match over {
        [Item::Spot(spot)] if spot.value().is_none() => &[],
        over => over,
    };
    let Some(text) = single(over)? else { return Ok(Vec::new()) };
    let argument = |at: usize| arguments.get(at).map_or(Ok(None), |items| single(items));
    match function {
        Function::ToText => return made(text.into_owned()),
        Function::Upper => return made(text.to_uppercase()),
        Function::Lower => return made(text.to_lowercase()),
        Function::Trim => return made(text.trim().to_owned()),
        Function::Length => return Ok(vec![Item::Number(Number::count(text.chars().count()))]),
        Function::ToInteger => {
            let number = text.parse::<i32>().ok().map(|value| Item::Number(Number::whole(value.into())));
            return Ok(number.into_iter().collect());
        }
        Function::ToDecimal => return Ok(Number::parse(&text).map(Item::Number).into_iter().collect()),
        Function::Abs => {
            let number = number(over)?;
            let positive = if number.is_negative() { number.negative() } else { Some(number) };
            return Ok(positive.map(Item::Number).into_iter().collect());
        }
        Function::Substring => return substring(&text, arguments),
        _ => {}
    }
    let Some(first) = argument(0)? else { return Ok(Vec::new()) };
    let first = first.as_ref();
    match function {
        Function::Contains => Ok(of_bool(Some(text.contains(first)))),
        Function::StartsWith => Ok(of_bool(Some(text.starts_with(first)))),
        Function::EndsWith => Ok(of_bool(Some(text.ends_with(first)))),
        Function::Matches => {
            let regex = compile(first).ok_or(Fault::Operand)?;
            Ok(of_bool(Some(regex.is_match(&text))))
        }
        Function::IndexOf => {
            let at = text.find(first).and_then(|at| text.get(..at)).map(|before| before.chars().count());
            let place = at.map_or(Number::whole(-1), Number::count);
            Ok(vec![Item::Number(place)])
        }
        Function::Split => {
            Ok(text.split(first).map(|part| Item::Text(Cow::Owned(part.to_owned()))).collect())
        }
        Function::Replace | Function::ReplaceMatches => {
            let Some(other) = argument(1)? else { return Ok(Vec::new()) };
            if function == Function::Replace {
                return made(text.replace(first, &other));
            }
            let regex = compile(first).ok_or(Fault::Operand)?;
            made(regex.replace_all(&text, other.as_ref()).into_owned())
        }
        _ => Err(Fault::Operand),
    }
}

fn substring<'v>(text: &str, arguments: &[Items<'v>]) -> Outcome<'v> {
    let start = number(arguments.first().ok_or(Fault::Operand)?)?;
    let Some(start) = start.as_index() else { return Ok(Vec::new()) };
    let count = match arguments.get(1) {
        Some(items) => number(items)?.as_index().unwrap_or(0),
        None => usize::MAX,
    };
    if start >= text.chars().count() {
        return Ok(Vec::new());
    }
    made(text.chars().skip(start).take(count).collect())
}
