//! Evaluates a tree over places: operands, operators and paths.

use std::borrow::Cow;
use std::cell::Cell;

use super::item::{self, Item};
use super::number::Number;
use super::parse::{Expr, Operator};
use super::{STEPS_MAX, Scene, Spot};

/// Why there is no result.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    /// More than [`STEPS_MAX`].
    TooCostly,
    /// An operand of another type, or more of them than one.
    Operand,
}

pub(super) type Items<'v> = Vec<Item<'v>>;
pub(super) type Outcome<'v> = Result<Items<'v>, Fault>;

/// One evaluation.
pub(super) struct Run<'r, 'v> {
    pub(super) scene: &'r Scene<'v>,
    context: Spot<'v>,
    open: Cell<bool>,
}

/// What `$this` and `$index` are.
#[derive(Clone, Copy)]
pub(super) struct Focus<'a, 'v> {
    pub(super) this: &'a [Item<'v>],
    pub(super) index: usize,
}

/// A collection as a condition: empty is neither, a boolean itself, anything else is there.
pub(super) fn truth(items: &[Item<'_>]) -> Option<bool> {
    match items {
        [] => None,
        [one] => match one.value() {
            Some(Item::Boolean(value)) => Some(value),
            _ => Some(true),
        },
        _ => Some(true),
    }
}

pub(super) fn of_bool<'v>(value: Option<bool>) -> Items<'v> {
    value.map(Item::Boolean).into_iter().collect()
}

impl<'r, 'v> Run<'r, 'v> {
    pub(super) const fn new(scene: &'r Scene<'v>, context: Spot<'v>) -> Self {
        Self { scene, context, open: Cell::new(false) }
    }

    /// Whether a comparison was left open.
    pub(super) const fn is_open(&self) -> bool {
        self.open.get()
    }

    pub(super) fn leave_open(&self) {
        self.open.set(true);
    }

    pub(super) fn evaluate(&self, root: &Expr) -> Outcome<'v> {
        let this = [Item::Spot(self.context)];
        self.eval(root, Focus { this: &this, index: 0 })
    }

    /// Counts what was done.
    pub(super) fn step(&self, count: usize) -> Result<(), Fault> {
        let steps = self.scene.steps.get().saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
        self.scene.steps.set(steps);
        if steps > STEPS_MAX { Err(Fault::TooCostly) } else { Ok(()) }
    }

    pub(super) fn eval(&self, expr: &Expr, focus: Focus<'_, 'v>) -> Outcome<'v> {
        self.step(1)?;
        Ok(match expr {
            Expr::Nothing => Vec::new(),
            Expr::Boolean(value) => vec![Item::Boolean(*value)],
            Expr::Text(text) => vec![Item::Text(Cow::Owned(text.to_string()))],
            Expr::Number(digits) => vec![Item::Number(Number::parse(digits).ok_or(Fault::Operand)?)],
            Expr::Moment(text) => vec![Item::Moment(Cow::Owned(text.to_string()))],
            Expr::Quantity(digits, unit) => {
                let number = Number::parse(digits).ok_or(Fault::Operand)?;
                vec![Item::Quantity(number, Cow::Owned(unit.to_string()))]
            }
            Expr::This => focus.this.to_vec(),
            Expr::Index => vec![Item::Number(Number::count(focus.index))],
            Expr::External(name) => self.external(name)?,
            Expr::Member(before, name) => self.member(before.as_deref(), name, focus)?,
            Expr::Call(before, function, arguments) => {
                let over = self.before(before.as_deref(), focus)?;
                self.call(*function, over, arguments, focus)?
            }
            Expr::Matches(before, pattern) => {
                let over = self.before(before.as_deref(), focus)?;
                match super::strings::single(&over)? {
                    Some(text) => of_bool(Some(pattern.finds(&text).ok_or(Fault::Operand)?)),
                    None => {
                        self.leave_open();
                        Vec::new()
                    }
                }
            }
            Expr::Item(before, index) => {
                let over = self.eval(before, focus)?;
                let index = self.eval(index, focus)?;
                let at = match index.as_slice() {
                    [one] => match one.value() {
                        Some(Item::Number(number)) => number.as_index(),
                        _ => None,
                    },
                    _ => None,
                };
                over.into_iter().nth(at.ok_or(Fault::Operand)?).into_iter().collect()
            }
            Expr::Negative(inner) => match self.eval(inner, focus)?.as_slice() {
                [] => Vec::new(),
                [one] => match one.value() {
                    Some(Item::Number(number)) => {
                        vec![Item::Number(number.negative().ok_or(Fault::Operand)?)]
                    }
                    _ => return Err(Fault::Operand),
                },
                _ => return Err(Fault::Operand),
            },
            Expr::Binary(operator, left, right) => self.binary(*operator, left, right, focus)?,
            Expr::Is(before, name) => match self.before(before.as_deref(), focus)?.as_slice() {
                [] => Vec::new(),
                [one] => of_bool(Some(one.is(name))),
                _ => return Err(Fault::Operand),
            },
            Expr::As(before, name) => {
                let mut over = self.before(before.as_deref(), focus)?;
                over.retain(|item| item.is(name));
                over
            }
        })
    }

    fn before(&self, before: Option<&Expr>, focus: Focus<'_, 'v>) -> Outcome<'v> {
        match before {
            Some(before) => self.eval(before, focus),
            None => Ok(focus.this.to_vec()),
        }
    }

    fn external(&self, name: &str) -> Outcome<'v> {
        let text = |text: &'static str| Ok(vec![Item::Text(Cow::Borrowed(text))]);
        match name {
            "resource" => Ok(vec![Item::Spot(self.scene.resource)]),
            "rootResource" => Ok(vec![Item::Spot(self.scene.root)]),
            "context" => Ok(vec![Item::Spot(self.context)]),
            "ucum" => text("http://unitsofmeasure.org"),
            "sct" => text("http://snomed.info/sct"),
            "loinc" => text("http://loinc.org"),
            _ => Err(Fault::Operand),
        }
    }

    fn member(&self, before: Option<&Expr>, name: &str, focus: Focus<'_, 'v>) -> Outcome<'v> {
        let held;
        let over = match before {
            Some(before) => {
                held = self.eval(before, focus)?;
                held.as_slice()
            }
            None => {
                // `Patient.name`: the type's name stands for the place itself.
                if name.starts_with(|first: char| first.is_ascii_uppercase()) {
                    return Ok(focus.this.iter().filter(|item| item.is(name)).cloned().collect());
                }
                focus.this
            }
        };
        let mut found = Vec::new();
        for item in over {
            if let Item::Spot(spot) = item {
                spot.walk(self.scene.definitions, name, &mut |spot| found.push(Item::Spot(spot)));
            }
        }
        self.step(found.len())?;
        Ok(found)
    }

    fn binary(&self, operator: Operator, left: &Expr, right: &Expr, focus: Focus<'_, 'v>) -> Outcome<'v> {
        use Operator as O;
        if matches!(operator, O::And | O::Or | O::Xor | O::Implies) {
            let left = self.eval(left, focus).map(|items| truth(&items));
            let right = || self.eval(right, focus).map(|items| truth(&items));
            return logic(operator, left, right).map(of_bool);
        }
        let (left, right) = (self.eval(left, focus)?, self.eval(right, focus)?);
        match operator {
            O::Equal => self.equality(&left, &right).map(of_bool),
            O::NotEqual => self.equality(&left, &right).map(|same| of_bool(same.map(|same| !same))),
            O::Equivalent => self.equivalence(&left, &right).map(|same| of_bool(Some(same))),
            O::NotEquivalent => self.equivalence(&left, &right).map(|same| of_bool(Some(!same))),
            O::Less | O::LessEqual | O::Greater | O::GreaterEqual => {
                self.comparison(operator, &left, &right).map(of_bool)
            }
            O::In => self.membership(&left, &right).map(of_bool),
            O::Contains => self.membership(&right, &left).map(of_bool),
            O::Union => {
                let mut all = left;
                all.extend(right);
                self.distinct(all)
            }
            O::Join => {
                let text = |items: &[Item<'v>]| super::strings::single(items).map(Option::unwrap_or_default);
                Ok(vec![Item::Text(Cow::Owned(format!("{}{}", text(&left)?, text(&right)?)))])
            }
            _ => arithmetic(operator, &left, &right),
        }
    }

    fn equality(&self, left: &[Item<'v>], right: &[Item<'v>]) -> Result<Option<bool>, Fault> {
        if left.is_empty() || right.is_empty() {
            return Ok(None);
        }
        if left.len() != right.len() {
            return Ok(Some(false));
        }
        self.step(left.len())?;
        let mut all = Some(true);
        for (a, b) in left.iter().zip(right) {
            match item::equal(a, b) {
                Some(true) => {}
                Some(false) => return Ok(Some(false)),
                None => {
                    self.leave_open();
                    all = None;
                }
            }
        }
        Ok(all)
    }

    /// Texts without regard to case and white space, collections without regard to order.
    fn equivalence(&self, left: &[Item<'v>], right: &[Item<'v>]) -> Result<bool, Fault> {
        self.step(left.len().saturating_mul(right.len()))?;
        let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
        let alike = |a: &Item<'v>, b: &Item<'v>| match (a.value(), b.value()) {
            (Some(Item::Text(a)), Some(Item::Text(b))) => plain(&a) == plain(&b),
            _ => item::equal(a, b).unwrap_or(false),
        };
        Ok(left.len() == right.len() && left.iter().all(|a| right.iter().any(|b| alike(a, b))))
    }

    fn comparison(
        &self,
        operator: Operator,
        left: &[Item<'v>],
        right: &[Item<'v>],
    ) -> Result<Option<bool>, Fault> {
        let order = match (left, right) {
            // R4 compares what may not be there, such as the time of `value as dateTime`: that says nothing.
            ([], _) | (_, []) => None,
            ([left], [right]) => item::order(left, right),
            _ => return Err(Fault::Operand),
        };
        let Some(order) = order else {
            self.leave_open();
            return Ok(None);
        };
        Ok(Some(match operator {
            Operator::Less => order.is_lt(),
            Operator::LessEqual => order.is_le(),
            Operator::Greater => order.is_gt(),
            _ => order.is_ge(),
        }))
    }

    fn membership(&self, one: &[Item<'v>], all: &[Item<'v>]) -> Result<Option<bool>, Fault> {
        let one = match one {
            [] => return Ok(None),
            [one] => one,
            _ => return Err(Fault::Operand),
        };
        self.step(all.len())?;
        Ok(Some(all.iter().any(|item| item::equal(one, item) == Some(true))))
    }
}

/// Logic with three values; what the second operand says does not count when the first decides.
fn logic(
    operator: Operator,
    left: Result<Option<bool>, Fault>,
    right: impl FnOnce() -> Result<Option<bool>, Fault>,
) -> Result<Option<bool>, Fault> {
    let decides = match operator {
        Operator::And => Some((false, false)),
        Operator::Or => Some((true, true)),
        Operator::Implies => Some((false, true)),
        _ => None,
    };
    if let (Some((deciding, result)), Ok(Some(left))) = (decides, left)
        && left == deciding
    {
        return Ok(Some(result));
    }
    let right = right();
    match (operator, right) {
        (Operator::And, Ok(Some(false))) => return Ok(Some(false)),
        (Operator::Or | Operator::Implies, Ok(Some(true))) => return Ok(Some(true)),
        _ => {}
    }
    let (left, right) = (left?, right?);
    Ok(match operator {
        Operator::Xor => left.zip(right).map(|(left, right)| left != right),
        Operator::And => left.zip(right).map(|_| true),
        Operator::Or => left.zip(right).map(|_| false),
        // The left is true or open, the right is false or open.
        _ => left.zip(right).map(|_| false),
    })
}

fn arithmetic<'v>(operator: Operator, left: &[Item<'v>], right: &[Item<'v>]) -> Outcome<'v> {
    let (left, right) = match (left, right) {
        ([], _) | (_, []) => return Ok(Vec::new()),
        ([left], [right]) => (left.value(), right.value()),
        _ => return Err(Fault::Operand),
    };
    let result = match (operator, left, right) {
        (Operator::Plus, Some(Item::Text(a)), Some(Item::Text(b))) => {
            Some(Item::Text(Cow::Owned(format!("{a}{b}"))))
        }
        (operator, Some(Item::Number(a)), Some(Item::Number(b))) => match operator {
            Operator::Plus => a.plus(b),
            Operator::Minus => b.negative().and_then(|b| a.plus(b)),
            Operator::Times => a.times(b),
            Operator::Divided => a.quotient(b),
            Operator::Div => a.divided(b).map(|(quotient, _)| quotient),
            _ => a.divided(b).map(|(_, rest)| rest),
        }
        .map(Item::Number),
        _ => None,
    };
    result.map(|item| vec![item]).ok_or(Fault::Operand)
}
