//! Numbers as they are written, compared exactly (FHIR R4 datatypes.html#decimal, search.html#number).
//!
//! May import only std and `fhir::primitive`. No number goes through binary floating point.

use std::cmp::Ordering;

use super::super::primitive::{DECIMAL_CHARS_MAX, DECIMAL_EXPONENT_MAX};

/// A decimal number with its precision: `±digits × 10^exponent`.
///
/// `1.50` has the digits 150 and the exponent -2: equal to `1.5`, and more precise.
#[derive(Clone, Debug)]
pub struct Decimal {
    negative: bool,
    /// Most significant first, without leading zeros; none is zero.
    digits: Vec<u8>,
    exponent: i64,
}

impl Decimal {
    /// Reads a decimal: digits with a sign, a fraction and an exponent, each of which may be left out.
    ///
    /// `None` if it is none, or larger than [`DECIMAL_CHARS_MAX`] and [`DECIMAL_EXPONENT_MAX`] allow.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > DECIMAL_CHARS_MAX {
            return None;
        }
        let (mantissa, power) = match text.split_once(['e', 'E']) {
            Some((mantissa, power)) => (mantissa, Some(power)),
            None => (text, None),
        };
        let (negative, mantissa) = match mantissa.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, mantissa.strip_prefix('+').unwrap_or(mantissa)),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((_, "")) => return None,
            Some((whole, fraction)) => (whole, fraction),
            None => (mantissa, ""),
        };
        if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
            return None;
        }
        let power = match power {
            None => 0,
            Some(text) => text.parse::<i64>().ok().filter(|p| p.abs() <= i64::from(DECIMAL_EXPONENT_MAX))?,
        };
        let digits = whole.bytes().chain(fraction.bytes()).skip_while(|b| *b == b'0').map(|b| b - b'0');
        let exponent = power - i64::try_from(fraction.len()).ok()?;
        Some(Self { negative, digits: digits.collect(), exponent })
    }

    /// The numbers this one stands for with the precision it is written in: from half a unit of its last
    /// digit below up to, and without, half a unit above.
    #[must_use]
    pub fn range(&self) -> (Self, Self) {
        (self.by_half_a_unit(true), self.by_half_a_unit(false))
    }

    /// The number less and plus a tenth of itself, the lower one first.
    #[must_use]
    pub fn about(&self) -> (Self, Self) {
        let (nine, eleven) = (self.times(9), self.times(11));
        if self.negative { (eleven, nine) } else { (nine, eleven) }
    }

    /// Bytes that sort as the numbers do.
    #[must_use]
    pub fn sort_key(&self) -> Vec<u8> {
        let significant = self.digits.iter().rposition(|d| *d != 0).map_or(0, |last| last + 1);
        if significant == 0 {
            return vec![0x80];
        }
        // The place of the first digit decides, then the digits.
        let place = self.place().saturating_add(1 << 31);
        let mut bytes = u32::try_from(place).unwrap_or(u32::MAX).to_be_bytes().to_vec();
        bytes.extend(self.digits.iter().take(significant).map(|digit| digit + 1));
        bytes.push(0);
        if self.negative {
            bytes.iter_mut().for_each(|byte| *byte = !*byte);
        }
        bytes.insert(0, if self.negative { 0x7f } else { 0x81 });
        bytes
    }

    /// How many digits stand before the decimal point, and the first three of all; `None` of zero.
    #[must_use]
    pub fn magnitude(&self) -> Option<(i64, u16)> {
        self.digits.first().filter(|digit| **digit != 0)?;
        let digit = |place: usize| u16::from(self.digits.get(place).copied().unwrap_or(0));
        Some((self.place(), digit(0) * 100 + digit(1) * 10 + digit(2)))
    }

    /// Whether it is written with a minus.
    #[must_use]
    pub const fn is_negative(&self) -> bool {
        self.negative
    }

    /// How many digits stand before the decimal point.
    fn place(&self) -> i64 {
        self.exponent.saturating_add(i64::try_from(self.digits.len()).unwrap_or(i64::MAX))
    }

    fn by_half_a_unit(&self, down: bool) -> Self {
        let mut digits = self.digits.clone();
        let exponent = self.exponent - 1;
        if digits.is_empty() {
            return Self { negative: down, digits: vec![5], exponent };
        }
        if down == self.negative {
            // Away from zero: the new last digit is 0, so nothing carries.
            digits.push(5);
        } else {
            // Towards zero: one from the last digit, and half of it back.
            for digit in digits.iter_mut().rev() {
                if *digit == 0 {
                    *digit = 9;
                } else {
                    *digit -= 1;
                    break;
                }
            }
            digits.push(5);
        }
        Self { negative: self.negative, digits: trimmed(digits), exponent }
    }

    /// A tenth of the number, so many times.
    fn times(&self, factor: u8) -> Self {
        let mut carry = 0_u16;
        let mut digits: Vec<u8> = Vec::with_capacity(self.digits.len() + 2);
        for digit in self.digits.iter().rev() {
            let product = u16::from(*digit) * u16::from(factor) + carry;
            digits.push(u8::try_from(product % 10).unwrap_or(0));
            carry = product / 10;
        }
        while carry > 0 {
            digits.push(u8::try_from(carry % 10).unwrap_or(0));
            carry /= 10;
        }
        digits.reverse();
        Self { negative: self.negative, digits: trimmed(digits), exponent: self.exponent - 1 }
    }

    /// The number times another, exactly.
    #[must_use]
    pub fn product(&self, other: &Self) -> Self {
        let mut columns = vec![0_u32; self.digits.len() + other.digits.len()];
        for (i, a) in self.digits.iter().rev().enumerate() {
            for (column, b) in columns.iter_mut().skip(i).zip(other.digits.iter().rev()) {
                *column += u32::from(*a) * u32::from(*b);
            }
        }
        let digits = carried(columns);
        let exponent = self.exponent.saturating_add(other.exponent);
        Self { negative: self.negative != other.negative, digits, exponent }
    }

    /// The number and another together, exactly.
    #[must_use]
    pub fn sum(&self, other: &Self) -> Self {
        if other.is_zero() {
            return self.clone();
        }
        if self.is_zero() {
            // Its exponent says nothing of its size.
            return other.clone();
        }
        let exponent = self.exponent.min(other.exponent);
        let (a, b) = (self.at(exponent), other.at(exponent));
        if self.negative == other.negative {
            let length = a.len().max(b.len()) + 1;
            let columns = (0..length).map(|place| column(&a, place) + column(&b, place)).collect();
            return Self { negative: self.negative, digits: carried(columns), exponent };
        }
        // The smaller from the larger, by its size.
        let (large, small, negative) = if self.compare_size(other) == Ordering::Less {
            (b, a, other.negative)
        } else {
            (a, b, self.negative)
        };
        let mut borrowed = 0;
        let mut digits: Vec<u8> = (0..large.len())
            .map(|place| {
                let (from, taken) = (column(&large, place) + 10, column(&small, place) + borrowed);
                borrowed = u32::from(from < taken + 10);
                u8::try_from((from - taken) % 10).unwrap_or(0)
            })
            .collect();
        digits.reverse();
        Self { negative, digits: trimmed(digits), exponent }
    }

    /// The digits down to a lower place, the last first.
    fn at(&self, exponent: i64) -> Vec<u8> {
        let zeros = usize::try_from(self.exponent.saturating_sub(exponent)).unwrap_or(0);
        std::iter::repeat_n(0, zeros).chain(self.digits.iter().rev().copied()).collect()
    }

    fn is_zero(&self) -> bool {
        self.digits.iter().all(|digit| *digit == 0)
    }

    fn compare_size(&self, other: &Self) -> Ordering {
        self.place().cmp(&other.place()).then_with(|| {
            let length = self.digits.len().max(other.digits.len());
            let padded = |digits: &[u8], at: usize| digits.get(at).copied().unwrap_or(0);
            (0..length)
                .map(|at| padded(&self.digits, at).cmp(&padded(&other.digits, at)))
                .find(|order| *order != Ordering::Equal)
                .unwrap_or(Ordering::Equal)
        })
    }
}

fn column(digits: &[u8], place: usize) -> u32 {
    digits.get(place).copied().map_or(0, u32::from)
}

/// Digits out of columns of any size, the last of them first.
fn carried(columns: Vec<u32>) -> Vec<u8> {
    let mut carry = 0;
    let mut digits: Vec<u8> = columns
        .into_iter()
        .map(|sum| {
            carry += sum;
            let digit = u8::try_from(carry % 10).unwrap_or(0);
            carry /= 10;
            digit
        })
        .collect();
    digits.reverse();
    trimmed(digits)
}

fn trimmed(digits: Vec<u8>) -> Vec<u8> {
    digits.into_iter().skip_while(|digit| *digit == 0).collect()
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.is_zero(), other.is_zero()) {
            (true, true) => Ordering::Equal,
            (true, false) if other.negative => Ordering::Greater,
            (true, false) => Ordering::Less,
            (false, true) if self.negative => Ordering::Less,
            (false, true) => Ordering::Greater,
            (false, false) => match (self.negative, other.negative) {
                (false, true) => Ordering::Greater,
                (true, false) => Ordering::Less,
                (false, false) => self.compare_size(other),
                (true, true) => other.compare_size(self),
            },
        }
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Equal as numbers: `1.50` is `1.5`.
impl PartialEq for Decimal {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Decimal {}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    fn d(text: &str) -> Decimal {
        Decimal::parse(text).unwrap()
    }

    #[test]
    fn numbers_compare_by_value_not_by_spelling() {
        let ascending = [
            "-1e3", "-10.5", "-10", "-0.5", "-5e-3", "0", "0.00001", "0.1", "1", "1.01", "9", "10", "1e2",
            "101",
        ];
        for (at, low) in ascending.iter().enumerate() {
            for (other, high) in ascending.iter().enumerate() {
                assert_eq!(d(low).cmp(&d(high)), at.cmp(&other), "{low} {high}");
                assert_eq!(d(low).sort_key().cmp(&d(high).sort_key()), at.cmp(&other), "{low} {high}");
            }
        }
        for (one, same) in [("1.50", "1.5"), ("100", "1e2"), ("0", "-0.00"), ("0012", "12"), ("12e-1", "1.2")]
        {
            assert_eq!(d(one), d(same));
            assert_eq!(d(one).sort_key(), d(same).sort_key());
        }
        // Digits that no double holds.
        assert!(d("0.1000000000000000000000001") > d("0.1"));
    }

    #[test]
    fn the_range_is_half_a_unit_of_the_last_digit_on_each_side() {
        for (text, low, high) in [
            ("100", "99.5", "100.5"),
            ("100.00", "99.995", "100.005"),
            ("5.4", "5.35", "5.45"),
            ("5.40", "5.395", "5.405"),
            ("1", "0.5", "1.5"),
            ("0", "-0.5", "0.5"),
            ("0.0", "-0.05", "0.05"),
            ("-2.0", "-2.05", "-1.95"),
            ("-1", "-1.5", "-0.5"),
            ("1e2", "50", "150"),
            ("5.40e-3", "0.005395", "0.005405"),
        ] {
            assert_eq!(d(text).range(), (d(low), d(high)), "{text}");
        }
        assert_eq!(d("100").about(), (d("90"), d("110")));
        assert_eq!(d("-1.5").about(), (d("-1.65"), d("-1.35")));
        assert_eq!(d("0").about(), (d("0"), d("0")));
    }

    #[test]
    fn what_is_no_decimal_is_refused() {
        let long = "1".repeat(DECIMAL_CHARS_MAX + 1);
        for text in [
            "", "-", ".5", "5.", "1e", "1e401", "1e-401", "0x1", "1,5", "1 ", "NaN", "1.2.3", "--1", "１",
            &long,
        ] {
            assert!(Decimal::parse(text).is_none(), "{text}");
        }
        assert!(Decimal::parse(long.strip_suffix('1').unwrap()).is_some());
        assert!(Decimal::parse("1e400").is_some());
    }

    proptest! {
        #[test]
        fn it_agrees_with_whole_numbers(a in -1_000_000_i64..1_000_000, b in -1_000_000_i64..1_000_000) {
            let (x, y) = (d(&a.to_string()), d(&b.to_string()));
            prop_assert_eq!(x.cmp(&y), a.cmp(&b));
            prop_assert_eq!(x.sort_key().cmp(&y.sort_key()), a.cmp(&b));
            let (low, high) = x.range();
            prop_assert!(low < x && x < high);
            prop_assert_eq!(low, d(&format!("{}e-1", a * 10 - 5)));
            prop_assert_eq!(high, d(&format!("{}e-1", a * 10 + 5)));
            prop_assert_eq!(x.product(&y), d(&(a * b).to_string()));
            prop_assert_eq!(x.sum(&y), d(&(a + b).to_string()));
            prop_assert_eq!(d(&format!("{a}e-3")).sum(&y), d(&format!("{}e-3", a + b * 1_000)));
            prop_assert_eq!(x.sum(&d(&format!("{b}e-2"))), d(&format!("{}e-2", a * 100 + b)));
        }
    }
}
