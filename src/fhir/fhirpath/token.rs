//! The words of a `FHIRPath` expression.

use super::Unreadable;

/// One word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// A name, or a word of the language such as `and`.
    Name(Box<str>),
    /// A name between backticks: never a word of the language.
    Quoted(Box<str>),
    /// `$this` and its like, without the dollar.
    Special(Box<str>),
    /// `%resource` and its like, without the sign.
    External(Box<str>),
    Text(Box<str>),
    Number(Box<str>),
    /// `@2020-01-01T10:00`, `@T10:00`, without the `@`.
    Moment(Box<str>),
    Sign(&'static str),
}

/// Longer ones first: `<=` is not `<` and `=`.
const SIGNS: [&str; 23] = [
    "<=", ">=", "!=", "!~", "(", ")", "[", "]", "{", "}", ".", ",", "+", "-", "*", "/", "|", "&", "=", "~",
    "<", ">", ";",
];

/// The words of the text.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, Unreadable> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, after) = match first {
            '\'' => quoted(rest, '\'').map(|(text, after)| (Token::Text(text), after))?,
            '`' => quoted(rest, '`').map(|(text, after)| (Token::Quoted(text), after))?,
            '%' => external(rest)?,
            '$' => {
                let (name, after) = run(rest.get(1..).unwrap_or_default(), is_name);
                (Token::Special(name.into()), after)
            }
            '@' => {
                let body = rest.get(1..).unwrap_or_default();
                let (name, after) =
                    run(body, |c| c.is_ascii_alphanumeric() || matches!(c, '-' | ':' | '+' | '.'));
                // A method called on it: `@2020.toString()`.
                let end =
                    name.find(|c: char| c.is_ascii_lowercase()).and_then(|at| name.get(..at)?.rfind('.'));
                match end.and_then(|end| Some((name.get(..end)?, body.get(end..)?))) {
                    Some((name, after)) => (Token::Moment(name.into()), after),
                    None => (Token::Moment(name.into()), after),
                }
            }
            digit if digit.is_ascii_digit() => number(rest),
            letter if is_name(letter) => {
                let (name, after) = run(rest, is_name);
                (Token::Name(name.into()), after)
            }
            '/' if rest.starts_with("//") => {
                rest = rest.split_once('\n').map_or("", |(_, after)| after).trim_start();
                continue;
            }
            _ => {
                let sign = SIGNS.iter().find(|sign| rest.starts_with(**sign)).ok_or(Unreadable::Sign)?;
                (Token::Sign(sign), rest.get(sign.len()..).unwrap_or_default())
            }
        };
        found.push(token);
        rest = after.trim_start();
    }
    Ok(found)
}

fn is_name(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_'
}

/// The letters at the start that are of this kind, and what follows.
fn run(text: &str, is: impl Fn(char) -> bool) -> (&str, &str) {
    let end = text.find(|c| !is(c)).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

fn number(text: &str) -> (Token, &str) {
    let (whole, after) = run(text, |c| c.is_ascii_digit());
    let fraction =
        after.strip_prefix('.').map(|rest| run(rest, |c| c.is_ascii_digit()).0).unwrap_or_default();
    let length = if fraction.is_empty() { whole.len() } else { whole.len() + 1 + fraction.len() };
    let (number, after) = text.split_at_checked(length).unwrap_or((text, ""));
    (Token::Number(number.into()), after)
}

fn external(text: &str) -> Result<(Token, &str), Unreadable> {
    let body = text.get(1..).unwrap_or_default();
    let (name, after) = match body.chars().next() {
        Some(quote @ ('`' | '\'')) => quoted(body, quote)?,
        _ => {
            let (name, after) = run(body, |c| is_name(c) || c == '-');
            (name.into(), after)
        }
    };
    if name.is_empty() { Err(Unreadable::Sign) } else { Ok((Token::External(name), after)) }
}

/// What stands between two quotes, with its escapes resolved, and what follows.
fn quoted(text: &str, quote: char) -> Result<(Box<str>, &str), Unreadable> {
    let mut found = String::new();
    let mut letters = text.char_indices().skip(1);
    while let Some((at, letter)) = letters.next() {
        if letter == quote {
            return Ok((found.into(), text.get(at + 1..).unwrap_or_default()));
        }
        if letter != '\\' {
            found.push(letter);
            continue;
        }
        match letters.next().map(|(_, escaped)| escaped) {
            Some('n') => found.push('\n'),
            Some('r') => found.push('\r'),
            Some('t') => found.push('\t'),
            Some('f') => found.push('\u{c}'),
            Some('u') => {
                let hex: String = letters.by_ref().take(4).map(|(_, c)| c).collect();
                let code = u32::from_str_radix(&hex, 16).ok().and_then(char::from_u32);
                found.push(code.ok_or(Unreadable::Text)?);
            }
            Some(same @ ('\\' | '/' | '\'' | '"' | '`')) => found.push(same),
            // R4 writes regular expressions with one backslash where the grammar wants two.
            Some(other) => found.extend(['\\', other]),
            None => return Err(Unreadable::Text),
        }
    }
    Err(Unreadable::Text)
}
