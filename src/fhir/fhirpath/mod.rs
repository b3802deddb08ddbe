//! `FHIRPath` (hl7.org/fhirpath/N1), as far as the invariants of R4 and of its implementation guides use it.
//!
//! May import only std, regex, chrono, `serde_json` and `fhir::{definitions, kinds, primitive}`; `definitions` imports
//! [`Expression`] from here, to keep the invariants of each type compiled.
//!
//! ```text
//! token    words                       parse    words -> tree, each function known by name and arguments
//! item     places and values           run      tree over places -> collection; call, strings: the functions
//! ```
//! What an expression can cost is bounded ([`STEPS_MAX`]). It sees the resource it stands in and nothing else: `resolve()`
//! finds contained resources, and of others the type that the reference names. Not there: `now()` and its like, `memberOf`,
//! `conformsTo`, arithmetic of dates. A comparison that its operands leave open (2020 against 2020-05, mg against g) leaves
//! the whole invariant open, and what is open is not broken.

mod call;
mod function;
mod item;
mod moment;
mod number;
mod parse;
mod run;
mod strings;
mod token;

use std::cell::Cell;
use std::fmt;

use super::definitions::Definitions;
use super::kinds::ResourceType;
use item::Item;
pub use item::Spot;
pub(crate) use item::same;

use parse::Expr;
use run::{Fault, Run};

/// The longest expression, in bytes.
pub const EXPRESSION_BYTES_MAX: usize = 8 * 1024;
/// How deep the tree of an expression may be, by nesting and by chains such as `a.b.c`.
pub const NESTING_MAX: usize = 96;
/// How many steps all evaluations over one resource may take together: an item looked at, or two compared.
pub const STEPS_MAX: u32 = 20_000_000;

/// Why a text is no expression that is known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Longer than [`EXPRESSION_BYTES_MAX`], or nested deeper than [`NESTING_MAX`].
    #[error("the expression is too long or nested too deep")]
    TooLong,
    /// A sign the language does not have.
    #[error("the expression has a sign that FHIRPath does not have")]
    Sign,
    /// A text that does not end, or has an unknown escape.
    #[error("a text in the expression does not end or has an unknown escape")]
    Text,
    /// A word stands where another must.
    #[error("a word of the expression stands where it may not")]
    Expected,
    /// The expression goes on after its end.
    #[error("the expression goes on after its end")]
    Rest,
    /// A function that is not known here.
    #[error("the expression uses a function that is not known here")]
    Function,
}

/// What a path leads to.
#[derive(Clone, Copy)]
pub enum Reached<'v> {
    /// A place in the resource.
    Here(Spot<'v>),
    /// A resource of this type that is elsewhere.
    Elsewhere(ResourceType),
}

/// An expression, read once.
pub struct Expression {
    text: Box<str>,
    root: Expr,
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What an invariant says of a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It holds.
    Kept,
    /// It does not.
    Broken,
    /// The place leaves it open.
    Open,
    /// [`STEPS_MAX`] is reached.
    TooCostly,
}

/// What an expression may see.
#[derive(Clone, Copy)]
pub struct Scene<'v> {
    /// The definitions of R4.
    pub definitions: &'v Definitions,
    /// `%resource`: the resource the place is in.
    pub resource: Spot<'v>,
    /// `%rootResource`: the one that contains it, or itself.
    pub root: Spot<'v>,
    /// The steps taken so far.
    pub steps: &'v Cell<u32>,
}

impl Expression {
    /// Reads an expression.
    ///
    /// # Errors
    /// [`Unreadable`] if it is none, or uses what is not known here.
    pub fn parse(text: &str) -> Result<Self, Unreadable> {
        Ok(Self { text: text.into(), root: parse::parse(text)? })
    }

    /// The expression as it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What it says of the place, as an invariant: what is empty is broken, as nothing is not true.
    #[must_use]
    pub fn holds(&self, scene: &Scene<'_>, place: Spot<'_>) -> Verdict {
        let run = Run::new(scene, place);
        match run.evaluate(&self.root).map(|items| run::truth(&items)) {
            Ok(Some(true)) => Verdict::Kept,
            Ok(None) if run.is_open() => Verdict::Open,
            Ok(Some(false) | None) => Verdict::Broken,
            Err(Fault::TooCostly) => Verdict::TooCostly,
            Err(Fault::Operand) => Verdict::Open,
        }
    }

    /// The places it leads to; `None` if it cannot be told. Values that were computed are no places.
    #[must_use]
    pub fn places<'v>(&self, scene: &Scene<'v>, place: Spot<'v>) -> Option<Vec<Spot<'v>>> {
        let items = Run::new(scene, place).evaluate(&self.root).ok()?;
        let spots = items.into_iter().filter_map(|item| match item {
            Item::Spot(spot) => Some(spot),
            _ => None,
        });
        Some(spots.collect())
    }
}

impl Expression {
    /// What it leads to, over references too; `None` if it cannot be told.
    #[must_use]
    pub fn reached<'v>(&self, scene: &Scene<'v>, place: Spot<'v>) -> Option<Vec<Reached<'v>>> {
        let items = Run::new(scene, place).evaluate(&self.root).ok()?;
        let reached = items.into_iter().filter_map(|item| match item {
            Item::Spot(spot) => Some(Reached::Here(spot)),
            Item::Elsewhere(kind) => Some(Reached::Elsewhere(kind)),
            _ => None,
        });
        Some(reached.collect())
    }
}

#[cfg(test)]
mod tests;
