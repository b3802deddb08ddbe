//! From words to a tree, by the precedence of the specification (FHIRPath N1 §6.8).

use std::sync::OnceLock;

use regex::{Regex, RegexBuilder};

use super::function::Function;
use super::token::{Token, tokens};
use super::{EXPRESSION_BYTES_MAX, NESTING_MAX, Unreadable};

/// The most bytes a compiled regular expression may take.
const PATTERN_BYTES_MAX: usize = 1024 * 1024;

/// A part of an expression.
#[derive(Debug)]
pub(super) enum Expr {
    /// `{}`
    Nothing,
    Boolean(bool),
    Text(Box<str>),
    Number(Box<str>),
    Moment(Box<str>),
    /// `5 'mg'`
    Quantity(Box<str>, Box<str>),
    This,
    Index,
    External(Box<str>),
    /// `a.name`, or `name` alone.
    Member(Option<Box<Expr>>, Box<str>),
    /// `a.f(x)`, or `f(x)` alone.
    Call(Option<Box<Expr>>, Function, Vec<Expr>),
    /// `a.matches('x')` with a pattern that is known beforehand.
    Matches(Option<Box<Expr>>, Pattern),
    /// `a[1]`
    Item(Box<Expr>, Box<Expr>),
    Negative(Box<Expr>),
    Binary(Operator, Box<Expr>, Box<Expr>),
    /// `a is T`, `a.is(T)`
    Is(Option<Box<Expr>>, Box<str>),
    /// `a as T`, `a.as(T)`, `a.ofType(T)`
    As(Option<Box<Expr>>, Box<str>),
}

/// What stands between two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Implies,
    Or,
    Xor,
    And,
    In,
    Contains,
    Equal,
    NotEqual,
    Equivalent,
    NotEquivalent,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Union,
    Plus,
    Minus,
    Join,
    Times,
    Divided,
    Div,
    Mod,
}

/// A regular expression, compiled when it is first used.
#[derive(Debug)]
pub(super) struct Pattern {
    text: Box<str>,
    compiled: OnceLock<Option<Regex>>,
}

impl Pattern {
    /// Whether the text matches somewhere; `None` for a pattern that cannot be compiled.
    pub(super) fn finds(&self, text: &str) -> Option<bool> {
        self.compiled.get_or_init(|| compile(&self.text)).as_ref().map(|regex| regex.is_match(text))
    }
}

/// A regular expression of bounded size.
pub(super) fn compile(pattern: &str) -> Option<Regex> {
    RegexBuilder::new(pattern).size_limit(PATTERN_BYTES_MAX).dot_matches_new_line(true).build().ok()
}

/// Reads an expression.
pub(super) fn parse(text: &str) -> Result<Expr, Unreadable> {
    if text.len() > EXPRESSION_BYTES_MAX {
        return Err(Unreadable::TooLong);
    }
    let tokens = tokens(text)?;
    let mut parser = Parser { tokens: &tokens, depth: 0 };
    let expression = parser.binary(0)?;
    if parser.tokens.is_empty() { Ok(expression) } else { Err(Unreadable::Rest) }
}

struct Parser<'t> {
    tokens: &'t [Token],
    depth: usize,
}

/// What binds operands, and how strongly.
enum Link {
    Operator(Operator),
    Is,
    As,
}

fn link(token: &Token) -> Option<(u8, Link)> {
    use Operator as O;
    let (Token::Sign(_) | Token::Name(_)) = token else { return None };
    let word: &str = match token {
        Token::Sign(sign) => sign,
        Token::Name(name) => name,
        _ => return None,
    };
    let operator = |strength, operator| Some((strength, Link::Operator(operator)));
    match word {
        "implies" => operator(1, O::Implies),
        "or" => operator(2, O::Or),
        "xor" => operator(2, O::Xor),
        "and" => operator(3, O::And),
        "in" => operator(4, O::In),
        "contains" => operator(4, O::Contains),
        "=" => operator(5, O::Equal),
        "!=" => operator(5, O::NotEqual),
        "~" => operator(5, O::Equivalent),
        "!~" => operator(5, O::NotEquivalent),
        "<" => operator(6, O::Less),
        "<=" => operator(6, O::LessEqual),
        ">" => operator(6, O::Greater),
        ">=" => operator(6, O::GreaterEqual),
        "|" => operator(7, O::Union),
        "is" => Some((8, Link::Is)),
        "as" => Some((8, Link::As)),
        "+" => operator(9, O::Plus),
        "-" => operator(9, O::Minus),
        "&" => operator(9, O::Join),
        "*" => operator(10, O::Times),
        "/" => operator(10, O::Divided),
        "div" => operator(10, O::Div),
        "mod" => operator(10, O::Mod),
        _ => None,
    }
}

impl Parser<'_> {
    fn next(&mut self) -> Option<&Token> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(first)
    }

    /// Whether the next word is this sign, which is then taken.
    fn takes(&mut self, sign: &str) -> bool {
        let there = matches!(self.tokens.first(), Some(Token::Sign(found)) if *found == sign);
        if there {
            self.next();
        }
        there
    }

    fn wants(&mut self, sign: &str) -> Result<(), Unreadable> {
        if self.takes(sign) { Ok(()) } else { Err(Unreadable::Expected) }
    }

    /// The tree becomes deeper, by nesting or by a chain: what walks it later goes as deep.
    fn deeper(&mut self) -> Result<(), Unreadable> {
        self.depth += 1;
        if self.depth > NESTING_MAX { Err(Unreadable::TooLong) } else { Ok(()) }
    }

    /// Operands with what binds them at least so strongly; all bind to the left.
    fn binary(&mut self, least: u8) -> Result<Expr, Unreadable> {
        let before = self.depth;
        self.deeper()?;
        let mut left = self.unary()?;
        while let Some((strength, link)) = self.tokens.first().and_then(link) {
            if strength < least {
                break;
            }
            self.next();
            self.deeper()?;
            left = match link {
                Link::Is => Expr::Is(Some(Box::new(left)), self.type_name()?),
                Link::As => Expr::As(Some(Box::new(left)), self.type_name()?),
                Link::Operator(operator) => {
                    let right = self.binary(strength + 1)?;
                    Expr::Binary(operator, Box::new(left), Box::new(right))
                }
            };
        }
        self.depth = before;
        Ok(left)
    }

    fn unary(&mut self) -> Result<Expr, Unreadable> {
        self.deeper()?;
        if self.takes("+") {
            return self.unary();
        }
        if self.takes("-") {
            return Ok(Expr::Negative(Box::new(self.unary()?)));
        }
        let mut left = self.term()?;
        loop {
            self.deeper()?;
            if self.takes(".") {
                left = self.invocation(Some(Box::new(left)))?;
            } else if self.takes("[") {
                let index = self.binary(0)?;
                self.wants("]")?;
                left = Expr::Item(Box::new(left), Box::new(index));
            } else {
                return Ok(left);
            }
        }
    }

    fn term(&mut self) -> Result<Expr, Unreadable> {
        if self.takes("(") {
            let inner = self.binary(0)?;
            self.wants(")")?;
            return Ok(inner);
        }
        if self.takes("{") {
            self.wants("}")?;
            return Ok(Expr::Nothing);
        }
        let literal = match self.tokens.first() {
            Some(Token::Text(text)) => Expr::Text(text.clone()),
            Some(Token::Moment(text)) => Expr::Moment(text.clone()),
            Some(Token::External(name)) => Expr::External(name.clone()),
            Some(Token::Number(digits)) => match self.tokens.get(1) {
                Some(Token::Text(unit)) => {
                    let quantity = Expr::Quantity(digits.clone(), unit.clone());
                    self.next();
                    quantity
                }
                _ => Expr::Number(digits.clone()),
            },
            Some(Token::Name(name)) if matches!(name.as_ref(), "true" | "false") => {
                Expr::Boolean(name.as_ref() == "true")
            }
            _ => return self.invocation(None),
        };
        self.next();
        Ok(literal)
    }

    /// What may follow a dot.
    fn invocation(&mut self, focus: Option<Box<Expr>>) -> Result<Expr, Unreadable> {
        let called = matches!(self.tokens.get(1), Some(Token::Sign("(")));
        let name = match self.next() {
            Some(Token::Special(name)) => {
                return match name.as_ref() {
                    "this" => Ok(Expr::This),
                    "index" => Ok(Expr::Index),
                    _ => Err(Unreadable::Function),
                };
            }
            Some(Token::Quoted(name)) => return Ok(Expr::Member(focus, name.clone())),
            Some(Token::Name(name)) => name.clone(),
            _ => return Err(Unreadable::Expected),
        };
        if !called {
            return Ok(Expr::Member(focus, name));
        }
        self.wants("(")?;
        if matches!(name.as_ref(), "is" | "as" | "ofType") {
            let kind = self.type_name()?;
            self.wants(")")?;
            return Ok(if name.as_ref() == "is" { Expr::Is(focus, kind) } else { Expr::As(focus, kind) });
        }
        let mut arguments = Vec::new();
        if !self.takes(")") {
            loop {
                arguments.push(self.binary(0)?);
                if !self.takes(",") {
                    break;
                }
            }
            self.wants(")")?;
        }
        let function = Function::of(&name, arguments.len()).ok_or(Unreadable::Function)?;
        if let (Function::Matches, [Expr::Text(text)]) = (function, arguments.as_slice()) {
            let pattern = Pattern { text: text.clone(), compiled: OnceLock::new() };
            return Ok(Expr::Matches(focus, pattern));
        }
        Ok(Expr::Call(focus, function, arguments))
    }

    /// `Patient`, `FHIR.Patient` or `System.String`; the namespace adds nothing.
    fn type_name(&mut self) -> Result<Box<str>, Unreadable> {
        let mut name = self.name()?;
        while self.takes(".") {
            name = self.name()?;
        }
        Ok(name)
    }

    fn name(&mut self) -> Result<Box<str>, Unreadable> {
        match self.next() {
            Some(Token::Name(name) | Token::Quoted(name)) => Ok(name.clone()),
            _ => Err(Unreadable::Expected),
        }
    }
}
