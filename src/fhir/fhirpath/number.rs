//! Numbers as expressions reckon with them: exact, in 128 bits, or not at all.

use std::cmp::Ordering;

/// The most digits after the point.
const SCALE_MAX: u32 = 20;

/// A whole number or a decimal: `mantissa / 10^scale`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Number {
    mantissa: i128,
    scale: u32,
    /// Whether it is written without a point.
    pub(super) whole: bool,
}

impl Number {
    pub(super) const fn whole(value: i128) -> Self {
        Self { mantissa: value, scale: 0, whole: true }
    }

    pub(super) fn count(value: usize) -> Self {
        Self::whole(i128::try_from(value).unwrap_or(i128::MAX))
    }

    /// Reads digits with a sign, a fraction and an exponent; `None` if there are more than fit.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (digits, power) = match text.split_once(['e', 'E']) {
            Some((digits, power)) => (digits, power.trim_start_matches('+').parse::<i32>().ok()?),
            None => (text, 0),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let mantissa: i128 = format!("{whole}{fraction}").parse().ok()?;
        let scale = i32::try_from(fraction.len()).ok()?.checked_sub(power)?;
        let is_whole = !text.contains(['.', 'e', 'E']);
        match u32::try_from(scale) {
            Ok(scale) if scale <= SCALE_MAX => Some(Self { mantissa, scale, whole: is_whole }),
            Ok(_) => None,
            Err(_) => {
                let grown = 10_i128.checked_pow(scale.unsigned_abs())?.checked_mul(mantissa)?;
                Some(Self { mantissa: grown, scale: 0, whole: is_whole })
            }
        }
    }

    fn aligned(self, other: Self) -> Option<(i128, i128, u32)> {
        let scale = self.scale.max(other.scale);
        let grow = |one: Self| 10_i128.checked_pow(scale - one.scale)?.checked_mul(one.mantissa);
        Some((grow(self)?, grow(other)?, scale))
    }

    pub(super) fn order(self, other: Self) -> Option<Ordering> {
        self.aligned(other).map(|(a, b, _)| a.cmp(&b))
    }

    fn of(self, other: Self, mantissa: i128, scale: u32) -> Self {
        Self { mantissa, scale, whole: self.whole && other.whole }
    }

    pub(super) fn plus(self, other: Self) -> Option<Self> {
        let (a, b, scale) = self.aligned(other)?;
        Some(self.of(other, a.checked_add(b)?, scale))
    }

    pub(super) fn negative(self) -> Option<Self> {
        Some(Self { mantissa: self.mantissa.checked_neg()?, ..self })
    }

    pub(super) fn times(self, other: Self) -> Option<Self> {
        let scale = self.scale.checked_add(other.scale).filter(|scale| *scale <= SCALE_MAX)?;
        Some(self.of(other, self.mantissa.checked_mul(other.mantissa)?, scale))
    }

    /// The whole part of the quotient, and the remainder; `None` by nought.
    pub(super) fn divided(self, other: Self) -> Option<(Self, Self)> {
        let (a, b, scale) = self.aligned(other)?;
        Some((Self::whole(a.checked_div(b)?), self.of(other, a.checked_rem(b)?, scale)))
    }

    /// The quotient to eight digits after the point.
    pub(super) fn quotient(self, other: Self) -> Option<Self> {
        let (a, b, _) = self.aligned(other)?;
        let mantissa = a.checked_mul(100_000_000)?.checked_div(b)?;
        Some(Self { mantissa, scale: 8, whole: false })
    }

    /// The number as a place or a length, if it is one.
    pub(super) fn as_index(self) -> Option<usize> {
        if self.scale == 0 { usize::try_from(self.mantissa).ok() } else { None }
    }

    pub(super) fn is_negative(self) -> bool {
        self.mantissa < 0
    }

    pub(super) fn text(self) -> String {
        if self.scale == 0 {
            return self.mantissa.to_string();
        }
        let width = usize::try_from(self.scale).unwrap_or(0) + 1;
        let mut digits = format!("{:0>width$}", self.mantissa.unsigned_abs());
        digits.insert(digits.len().saturating_sub(width - 1), '.');
        if self.is_negative() { format!("-{digits}") } else { digits }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn n(text: &str) -> Number {
        Number::parse(text).unwrap()
    }

    #[test]
    fn numbers_are_exact_or_nothing() {
        assert_eq!(n("1.50").order(n("1.5")), Some(Ordering::Equal));
        assert_eq!(n("1e3").order(n("999.9")), Some(Ordering::Greater));
        assert_eq!(n("-2").order(n("1e-3")), Some(Ordering::Less));
        assert_eq!(n("0.1").plus(n("0.2")).unwrap().text(), "0.3");
        assert_eq!(n("-0.05").text(), "-0.05");
        assert_eq!(n("7").divided(n("2")).map(|(q, r)| (q.text(), r.text())), Some(("3".into(), "1".into())));
        assert_eq!(n("1").quotient(n("8")).unwrap().text(), "0.12500000");
        assert!(n("1").divided(n("0")).is_none());
        for beyond in ["", "x", "1e40", "1e-21", "9e99999999999"] {
            assert!(Number::parse(beyond).is_none(), "{beyond}");
        }
        assert!(n("170141183460469231731687303715884105727").plus(n("1")).is_none());
    }
}
