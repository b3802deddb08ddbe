//! `_filter` (FHIR R4 search_filter.html): tests of parameters, joined by `and`, `or`, `not` and parentheses.
//!
//! May import only std, `serde_json` and what stands beside it in `fhir`. Nothing is matched here: a test becomes the
//! filter that the same question asked by a parameter would be.
//!
//! ```text
//! expression = one *(("and" / "or") one)          from left to right, neither before the other
//! one        = "(" expression ")" / "not" "(" expression ")" / path operator value
//! path       = name [":" Type] *(["[" expression "]"] "." path)
//! value      = JSON string / anything without white space, ")" and "]"
//! ```

use std::sync::Arc;

use super::super::kinds::ResourceType;
use super::super::outcome::{IssueCode, Problem};
use super::filter::{Filter, Grammar, Values, chained, check_depth, refuse};
use super::index::Compiled;
use super::parameters::{self, Kind};
use super::term::{Modifier, Term, folded};

/// The most tests one `_filter` is read as; one behind a chain counts for each type it may lead to.
pub const TESTS_MAX: usize = 200;
const UNDEFINED: &str = "the type has no parameter of a name in it";
/// The most parentheses and brackets that stand in one another.
pub const NESTED_MAX: usize = 16;

/// The filters a record must meet: one, or those that `and` joins.
pub(super) fn parse(grammar: Grammar<'_>, kind: ResourceType, text: &str) -> Result<Vec<Filter>, Problem> {
    let mut reader = Reader { grammar, rest: text, tests: 0, undefined: false };
    let filter = reader.expression(kind, Depth::default())?;
    reader.space();
    if !reader.rest.is_empty() {
        return Err(wrong("expected and, or, or its end after a test"));
    }
    Ok(match filter {
        Filter::All(all) => all,
        one => vec![one],
    })
}

fn wrong(what: &str) -> Problem {
    refuse(IssueCode::Value, "_filter", what)
}

fn unsupported(what: &str) -> Problem {
    refuse(IssueCode::NotSupported, "_filter", what)
}

/// How deep a place is.
#[derive(Clone, Copy, Default)]
struct Depth {
    nested: usize,
    links: usize,
}

impl Depth {
    fn inside(self) -> Result<Self, Problem> {
        if self.nested < NESTED_MAX {
            return Ok(Self { nested: self.nested + 1, ..self });
        }
        let what = format!("its parentheses and brackets stand more than {NESTED_MAX} deep in one another");
        Err(refuse(IssueCode::TooCostly, "_filter", &what))
    }

    fn along(self, code: &str) -> Result<Self, Problem> {
        check_depth(code, self.links)?;
        Ok(Self { links: self.links + 1, ..self })
    }
}

struct Reader<'a> {
    grammar: Grammar<'a>,
    rest: &'a str,
    tests: usize,
    /// Whether a test behind a reference was of a parameter that the type has not: no value meets it.
    undefined: bool,
}

impl<'a> Reader<'a> {
    fn space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    /// Takes a character, behind any white space, if it is this one.
    fn takes(&mut self, wanted: char) -> bool {
        let rest = self.rest.trim_start().strip_prefix(wanted);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn expects(&mut self, wanted: char) -> Result<(), Problem> {
        if self.takes(wanted) { Ok(()) } else { Err(wrong(&format!("expected {wanted}"))) }
    }

    /// Takes a word, behind any white space, if it is this one and ends there.
    fn says(&mut self, word: &str) -> bool {
        let rest = self.rest.trim_start().strip_prefix(word);
        let rest =
            rest.filter(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || "_-:.[".contains(c)));
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn expression(&mut self, kind: ResourceType, depth: Depth) -> Result<Filter, Problem> {
        let mut left = self.one(kind, depth)?;
        loop {
            left = if self.says("and") {
                both(left, self.one(kind, depth)?)
            } else if self.says("or") {
                either(left, self.one(kind, depth)?)
            } else {
                return Ok(left);
            };
        }
    }

    fn one(&mut self, kind: ResourceType, depth: Depth) -> Result<Filter, Problem> {
        let is_negated = self.says("not");
        if self.takes('(') {
            let inner = self.expression(kind, depth.inside()?)?;
            self.expects(')')?;
            return Ok(if is_negated { Filter::Not(Box::new(inner)) } else { inner });
        }
        if is_negated {
            return Err(wrong("expected ( after not"));
        }
        self.space();
        match self.test(kind, depth) {
            Some(read) => read,
            None if depth.links == 0 || self.rest.starts_with(['.', '[']) => Err(unsupported(UNDEFINED)),
            None => {
                self.undefined = true;
                self.operator();
                self.value().map(|_| Filter::Any(Vec::new()))
            }
        }
    }

    fn operator(&mut self) -> &'a str {
        self.space();
        self.word(|c| c.is_ascii_alphabetic())
    }

    /// `path operator value`; `None` if R4 defines no such parameter for the type.
    fn test(&mut self, kind: ResourceType, depth: Depth) -> Option<Result<Filter, Problem>> {
        self.tests += 1;
        if self.tests > TESTS_MAX {
            let what = format!("it has more than {TESTS_MAX} tests, or leads to more types than that");
            return Some(Err(refuse(IssueCode::TooCostly, "_filter", &what)));
        }
        let name = self.word(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
        let of = self.rest.strip_prefix(':').map(|rest| {
            self.rest = rest;
            self.word(|c| c.is_ascii_alphanumeric())
        });
        let Some(parameter) = self.grammar.searches.find(kind, name) else {
            let defined = parameters::find(kind, name)?;
            let what = "this server does not support it, and ignores no filter";
            return Some(Err(refuse(IssueCode::NotSupported, defined.code, what)));
        };
        Some(if self.rest.starts_with(['.', '[']) {
            self.chain(parameter, of, depth)
        } else if of.is_some() {
            Err(wrong("a type stands before a dot alone"))
        } else {
            self.compare(parameter)
        })
    }

    fn word(&mut self, is_part: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, ""));
        self.rest = rest;
        word
    }

    /// `[expression]` and `.path` behind a reference. Both are read once for each type it may point at.
    fn chain(
        &mut self,
        parameter: &Arc<Compiled>,
        of: Option<&str>,
        depth: Depth,
    ) -> Result<Filter, Problem> {
        let named = of.map(ResourceType::from_name);
        let targets = match named {
            _ if parameter.kind != Kind::Reference => Vec::new(),
            None => parameter.targets(),
            Some(Some(kind)) if parameter.may_point_at(kind) => vec![kind],
            Some(_) => Vec::new(),
        };
        if targets.is_empty() {
            return Err(unsupported("a path leads on from references alone, and to types they may point at"));
        }
        let depth = depth.along(&parameter.code)?;
        let (start, before, mut end, mut is_defined) = (self.rest, self.undefined, None, false);
        let filter = chained(parameter, targets, |kind| {
            (self.rest, self.undefined) = (start, false);
            let found = self.link(kind, depth);
            if matches!(found, Some(Ok(_))) {
                end = Some(self.rest);
                is_defined |= !self.undefined;
            }
            found
        });
        (self.rest, self.undefined) = (end.unwrap_or(start), before);
        if end.is_some() && !is_defined { Err(unsupported(UNDEFINED)) } else { filter }
    }

    fn link(&mut self, kind: ResourceType, depth: Depth) -> Option<Result<Filter, Problem>> {
        let mut inner = None;
        if self.takes('[') {
            let read = depth.inside().and_then(|depth| self.expression(kind, depth));
            match read.and_then(|filter| self.expects(']').map(|()| filter)) {
                Ok(filter) => inner = Some(filter),
                Err(problem) => return Some(Err(problem)),
            }
        }
        if let Err(problem) = self.expects('.') {
            return Some(Err(problem));
        }
        let outer = self.test(kind, depth)?;
        Some(outer.map(|outer| match inner {
            Some(inner) => both(inner, outer),
            None => outer,
        }))
    }

    /// `operator value`
    fn compare(&mut self, parameter: &Arc<Compiled>) -> Result<Filter, Problem> {
        let operator = self.operator();
        let value = self.value()?;
        let refused = |(issue, what): (IssueCode, &'static str)| refuse(issue, &parameter.code, what);
        if operator == "pr" {
            return match value.as_str() {
                "true" => Ok(Filter::Missing(Arc::clone(parameter), false)),
                "false" => Ok(Filter::Missing(Arc::clone(parameter), true)),
                _ => Err(wrong("expected true or false after pr")),
            };
        }
        let read = |raw: &str| self.grammar.reading.term(parameter, Modifier::None, raw).map_err(refused);
        let term = match (parameter.kind, operator) {
            (Kind::String, "eq") => Term::Same(folded(&value).map_err(refused)?),
            (Kind::String, "ne") => Term::Unlike(Box::new(Term::Same(folded(&value).map_err(refused)?))),
            (Kind::String, "sw") => Term::Begins(folded(&value).map_err(refused)?),
            (Kind::String, "ew") => Term::Ends(folded(&value).map_err(refused)?),
            (Kind::String, "co") => Term::Contains(folded(&value).map_err(refused)?),
            (Kind::Token | Kind::Uri | Kind::Reference, "eq") | (Kind::Reference, "re") => read(&value)?,
            (Kind::Token | Kind::Uri | Kind::Reference, "ne") => Term::Unlike(Box::new(read(&value)?)),
            (
                Kind::Date | Kind::Number | Kind::Quantity,
                "eq" | "ne" | "gt" | "lt" | "ge" | "le" | "ap" | "sa" | "eb",
            ) => read(&format!("{operator}{value}"))?,
            (Kind::Token, "in" | "ni" | "ss" | "sb") => {
                let modifier = match operator {
                    "ss" => Modifier::Below,
                    "sb" => Modifier::Above,
                    _ => Modifier::In,
                };
                let term = self.grammar.reading.term(parameter, modifier, &value).map_err(refused)?;
                if operator == "ni" { Term::Unlike(Box::new(term)) } else { term }
            }
            (Kind::Date, "po") => match read(&value)? {
                Term::Date(super::Prefix::Eq, range) => Term::Date(super::Prefix::Ap, range),
                _ => return Err(wrong("expected a date after po")),
            },
            (_, "eq" | "ne" | "co" | "sw" | "ew" | "gt" | "lt" | "ge" | "le" | "ap" | "sa" | "eb")
            | (_, "po" | "ss" | "sb" | "in" | "ni" | "re") => {
                return Err(refuse(
                    IssueCode::NotSupported,
                    &parameter.code,
                    "it has no such operator in a _filter",
                ));
            }
            _ => return Err(wrong("expected an operator behind a path")),
        };
        let parameter = Arc::clone(parameter);
        Ok(Filter::Values(Values { parameter, modifier: Modifier::None, any: vec![term] }))
    }

    fn value(&mut self) -> Result<String, Problem> {
        if !self.rest.starts_with(char::is_whitespace) {
            return Err(wrong("expected white space and a value behind an operator"));
        }
        self.space();
        if self.rest.starts_with('"') {
            let mut strings = serde_json::Deserializer::from_str(self.rest).into_iter::<String>();
            let text = strings.next().and_then(Result::ok);
            let end = strings.byte_offset();
            let text = text.ok_or_else(|| wrong("a string in it is no JSON string"))?;
            self.rest = self.rest.get(end..).unwrap_or_default();
            return Ok(text);
        }
        let token = self.word(|c| !c.is_whitespace() && !matches!(c, ')' | ']'));
        if token.is_empty() {
            Err(wrong("expected a value behind an operator"))
        } else {
            Ok(token.to_owned())
        }
    }
}

fn both(left: Filter, right: Filter) -> Filter {
    match left {
        Filter::All(mut all) => {
            all.push(right);
            Filter::All(all)
        }
        left => Filter::All(vec![left, right]),
    }
}

fn either(left: Filter, right: Filter) -> Filter {
    match left {
        Filter::Any(mut any) => {
            any.push(right);
            Filter::Any(any)
        }
        left => Filter::Any(vec![left, right]),
    }
}

#[cfg(test)]
#[path = "expression_tests.rs"]
mod tests;
