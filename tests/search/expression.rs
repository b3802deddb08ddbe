//! Random `_filter` expressions: how they are drawn, written, and what they should find.

use serde_json::Value;

use crate::{
    ask::{PREFIXES, Term, rows_of, term},
    draw::Draw,
    truth::{Row, Sort, World, plain, span, texts, values},
};

/// One expression.
#[derive(Debug)]
pub(crate) enum Expression {
    Test(&'static Row, &'static str, Term),
    Present(&'static Row, bool),
    /// What a reference points at meets a test, and an expression in brackets.
    Path(&'static Row, &'static str, Option<Box<Expression>>, Box<Expression>),
    And(Box<Expression>, Box<Expression>),
    Or(Box<Expression>, Box<Expression>),
    Not(Box<Expression>),
}

impl Expression {
    pub(crate) fn draw(world: &World, draw: &mut Draw, kind: &'static str, depth: usize) -> Self {
        if depth < 3 {
            let inner = |draw: &mut Draw| Box::new(Self::draw(world, draw, kind, depth + 1));
            match draw.below(10) {
                0..3 => return Self::And(inner(draw), inner(draw)),
                3..5 => return Self::Or(inner(draw), inner(draw)),
                5 => return Self::Not(inner(draw)),
                6 if depth < 2 => {
                    if let Some(path) = Self::path(world, draw, kind, depth) {
                        return path;
                    }
                }
                _ => {}
            }
        }
        Self::test(world, draw, kind)
    }

    fn path(world: &World, draw: &mut Draw, kind: &'static str, depth: usize) -> Option<Self> {
        let references: Vec<_> =
            rows_of(kind).into_iter().filter(|row| matches!(row.2, Sort::Reference(_))).collect();
        if references.is_empty() {
            return None;
        }
        let row = *draw.of(&references);
        let Sort::Reference(to) = row.2 else { return None };
        let inside = draw.percent(40).then(|| Box::new(Self::draw(world, draw, to, depth + 2)));
        Some(Self::Path(row, to, inside, Box::new(Self::test(world, draw, to))))
    }

    fn test(world: &World, draw: &mut Draw, kind: &'static str) -> Self {
        let rows = rows_of(kind);
        let row = *draw.of(&rows);
        if draw.percent(8) {
            return Self::Present(row, draw.percent(50));
        }
        let operators: &[&'static str] = match row.2 {
            Sort::Text | Sort::HumanName | Sort::Address => &["eq", "ne", "co", "sw", "ew"],
            Sort::Reference(_) => &["re", "re", "eq", "ne"],
            Sort::Date => &["eq", "ne", "gt", "ge", "lt", "le", "sa", "eb", "ap", "po"],
            Sort::Quantity => &PREFIXES[1..],
            _ => &["eq", "eq", "ne"],
        };
        let operator = *draw.of(operators);
        let modifier = match operator {
            "co" => "contains",
            "eq" | "ne" if matches!(row.2, Sort::Text | Sort::HumanName | Sort::Address) => "exact",
            _ => "",
        };
        let Some(drawn) = term(world, draw, row, modifier) else { return Self::Present(row, false) };
        let drawn = match (drawn, operator) {
            // Ends are drawn as beginnings are, and read from behind.
            (Term::Begins(text), "ew") => {
                Term::Begins(text.chars().rev().collect::<String>().trim().to_owned())
            }
            (Term::Date(_, text), operator) => Term::Date(operator, text),
            (Term::Quantity(_, number, unit), operator) => Term::Quantity(operator, number, unit),
            (Term::Measure(_, number, code), operator) => Term::Measure(operator, number, code),
            (other, _) => other,
        };
        if matches!(&drawn, Term::Begins(text) | Term::Contains(text) | Term::Exactly(text) if plain(text).trim().is_empty())
        {
            return Self::Present(row, true);
        }
        Self::Test(row, operator, drawn)
    }

    pub(crate) fn written(&self) -> String {
        match self {
            Self::Test(row, operator, term) => format!("{} {operator} {}", row.1, value(term)),
            Self::Present(row, present) => format!("{} pr {present}", row.1),
            Self::Path(row, to, None, test) => format!("{}:{to}.{}", row.1, test.written()),
            Self::Path(row, to, Some(inside), test) => {
                format!("{}:{to}[{}].{}", row.1, inside.written(), test.written())
            }
            // Read from left to right: only what stands on the right needs parentheses.
            Self::And(left, right) => format!("{} and {}", left.written(), right.guarded()),
            Self::Or(left, right) => format!("{} or {}", left.written(), right.guarded()),
            Self::Not(inner) => format!("not({})", inner.written()),
        }
    }

    fn guarded(&self) -> String {
        match self {
            Self::And(..) | Self::Or(..) => format!("({})", self.written()),
            _ => self.written(),
        }
    }

    pub(crate) fn holds(&self, world: &World, resource: &Value) -> bool {
        match self {
            Self::Test(row, operator, term) => {
                values(row, resource).iter().any(|value| meets(row.2, operator, term, value))
            }
            Self::Present(row, present) => values(row, resource).is_empty() != *present,
            Self::Path(row, to, inside, test) => values(row, resource).iter().any(|value| {
                let target = value["reference"].as_str().and_then(|name| world.get(name));
                target.is_some_and(|one| {
                    one["resourceType"] == *to
                        && test.holds(world, one)
                        && inside.as_ref().is_none_or(|inside| inside.holds(world, one))
                })
            }),
            Self::And(left, right) => left.holds(world, resource) && right.holds(world, resource),
            Self::Or(left, right) => left.holds(world, resource) || right.holds(world, resource),
            Self::Not(inner) => !inner.holds(world, resource),
        }
    }
}

/// Whether one value meets a test.
fn meets(sort: Sort, operator: &str, term: &Term, value: &Value) -> bool {
    let squeezed = |text: &str| plain(text).split_whitespace().collect::<Vec<_>>().join(" ");
    let any = |wanted: &str, holds: fn(&str, &str) -> bool| {
        texts(sort, value).iter().any(|text| holds(&squeezed(text), &squeezed(wanted)))
    };
    match (operator, term) {
        ("ew", Term::Begins(wanted)) => any(wanted, |text, wanted| text.ends_with(wanted)),
        ("eq", Term::Exactly(wanted)) => any(wanted, |text, wanted| text == wanted),
        ("ne", Term::Exactly(wanted)) => !any(wanted, |text, wanted| text == wanted),
        ("po", Term::Date(_, text)) => {
            let (from, until) = crate::truth::range(text);
            span(value).is_some_and(|(low, high)| {
                low.is_none_or(|low| low < until) && high.is_none_or(|high| high > from)
            })
        }
        ("ne", Term::Token(..) | Term::Reference(..)) => !term.holds(sort, value),
        _ => term.holds(sort, value),
    }
}

/// The value as it is written: as a JSON string where anything in it would end it.
fn value(term: &Term) -> String {
    let text = match term {
        Term::Date(_, text) => text.clone(),
        Term::Quantity(_, number, unit) => Term::Quantity("", number.clone(), unit.clone()).written(),
        Term::Measure(_, number, code) => Term::Measure("", number.clone(), code.clone()).written(),
        other => other.written(),
    };
    let plain = !text.contains([')', ']', '"']) && !text.contains(char::is_whitespace);
    if plain { text } else { Value::String(text).to_string() }
}
