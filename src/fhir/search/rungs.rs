//! Numbers on a ladder, so that a range of numbers is a few spans of rungs.
//!
//! May import only std and what stands beside it in `fhir`.
//!
//! A rung holds the numbers that share a sign, the place of their first digit and their first three digits: 900 rungs to
//! a power of ten, from a ten-thousand-millionth to ten million millions, and one for zero. What is smaller or larger
//! stands on the nearest. No number stands below a smaller one, which is all that a range needs.

use super::Prefix;
use super::decimal::Decimal;
use super::holds::Interval;
use super::mark::{Mark, cover, spans_of};
use super::term::Bounds;

/// The places of first digits that have rungs of their own, counted from the one before the decimal point as 1.
const PLACES: (i32, i32) = (-9, 13);
/// Rungs to a place: first digits 100 to 999.
const TO_A_PLACE: i32 = 900;
/// Rungs on each side of zero.
const SIDE: i32 = (PLACES.1 - PLACES.0 + 1) * TO_A_PLACE;
/// The lowest rung and the highest.
const RUNGS: (i32, i32) = (0, 2 * SIDE);

/// Which numbers: as they are written, or what they measure in the units of UCUM.
#[derive(Clone, Copy)]
pub(super) enum Ladder {
    Written,
    Measured(u8),
}

impl Ladder {
    fn first<'a>(self) -> impl Fn(u8, i32) -> Mark<'a> + Copy {
        move |size, rung| match self {
            Self::Written => Mark::First(size, rung),
            Self::Measured(of) => Mark::Least(of, size, rung),
        }
    }

    fn last<'a>(self) -> impl Fn(u8, i32) -> Mark<'a> + Copy {
        move |size, rung| match self {
            Self::Written => Mark::Last(size, rung),
            Self::Measured(of) => Mark::Most(of, size, rung),
        }
    }
}

/// The marks of what a value stands for. A point has one end, which is its lower.
pub(super) fn of_interval<'a>(
    ladder: Ladder,
    interval: &Interval,
    has_ranges: bool,
    visit: &mut dyn FnMut(Mark<'a>),
) {
    spans_of(ladder.first(), interval.low.as_ref().map_or(RUNGS.0, rung), visit);
    if has_ranges {
        spans_of(ladder.last(), interval.high.as_ref().map_or(RUNGS.1, rung), visit);
    }
}

/// Which ends an interval must have to meet a prefix (`Interval::meets`): each case is necessary.
pub(super) fn of_bounds(
    ladder: Ladder,
    prefix: Prefix,
    bounds: &Bounds,
    has_ranges: bool,
) -> Option<Vec<Mark<'static>>> {
    let (exact, low, high) = (rung(&bounds.exact), rung(&bounds.low), rung(&bounds.high));
    let (first, last) = (ladder.first(), ladder.last());
    let upper = |from, until| if has_ranges { cover(last, from, until) } else { cover(first, from, until) };
    Some(match prefix {
        Prefix::Eq => cover(first, low, high),
        Prefix::Gt | Prefix::Ge => upper(exact, RUNGS.1),
        Prefix::Lt | Prefix::Le => cover(first, RUNGS.0, exact),
        Prefix::Sa => cover(first, exact, RUNGS.1),
        Prefix::Eb => upper(RUNGS.0, exact),
        Prefix::Ap if has_ranges => cover(first, RUNGS.0, high),
        Prefix::Ap => cover(first, low, high),
        Prefix::Ne => return None,
    })
}

fn rung(number: &Decimal) -> i32 {
    let Some((place, first)) = number.magnitude() else { return SIDE };
    let step = match i32::try_from(place) {
        Ok(place) if place < PLACES.0 => 0,
        Ok(place) if place <= PLACES.1 => (place - PLACES.0) * TO_A_PLACE + i32::from(first) - 100,
        // A decimal's exponent is bounded far within an i32: this is larger, not smaller.
        Ok(_) | Err(_) => SIDE - 1,
    };
    if number.is_negative() { SIDE - 1 - step } else { SIDE + 1 + step }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rungs_keep_within_the_ladder() {
        for (text, wanted) in [
            ("0", SIDE),
            ("0.000", SIDE),
            ("1e-30", SIDE + 1),
            ("-1e-30", SIDE - 1),
            ("1", SIDE + 1 + 10 * TO_A_PLACE),
            ("1.009", SIDE + 1 + 10 * TO_A_PLACE),
            ("1.01", SIDE + 2 + 10 * TO_A_PLACE),
            ("1.1", SIDE + 11 + 10 * TO_A_PLACE),
            ("9.999", SIDE + 900 + 10 * TO_A_PLACE),
            ("10", SIDE + 901 + 10 * TO_A_PLACE),
            ("9e40", RUNGS.1),
            ("-9e40", RUNGS.0),
        ] {
            assert_eq!(rung(&Decimal::parse(text).unwrap()), wanted, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_larger_number_stands_on_no_lower_rung(a in "-?[0-9]{1,4}(\\.[0-9]{1,4})?(e-?[0-9]{1,2})?", b in "-?[0-9]{1,4}(\\.[0-9]{1,4})?") {
            let (a, b) = (Decimal::parse(&a).unwrap(), Decimal::parse(&b).unwrap());
            prop_assert!(rung(&a).cmp(&rung(&b)) != a.cmp(&b).reverse() || a == b);
        }
    }
}
