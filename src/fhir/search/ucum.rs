//! Units of UCUM that are compared with each other, by exact decimal factors.
//!
//! May import only std, `serde_json` and what stands beside it in `fhir`. From the definitions of UCUM (ucum.org): a pound is
//! 453.59237 g, a millimetre of mercury 133.3220 Pa, a month 30.4375 days. Every factor is a finite decimal, so nothing is
//! rounded: temperatures are measured in Fahrenheit because a degree of Celsius is 1.8 of them, and rates by the day.
//!
//! A unit that is not here is compared with itself alone. Equivalents are not moles here, nor are activities amounts by time:
//! UCUM would have it so, and no laboratory means it. What stands in braces counts for nothing in the codes that are named.

use serde_json::Value;

use super::decimal::Decimal;
use super::holds::Interval;
use super::path::Datatype;
use super::term::Bounds;

/// The system.
pub(super) const UCUM: &str = "http://unitsofmeasure.org";

/// Code, what it measures (by number), factor, and what is added then. In the order of the bytes of the codes.
///
/// By number: mg, m, uL, ug/L, nmol, nmol/L, eq/L, /uL, Pa, `[degF]`, s, /d, mL/h,
/// %, mg/g, J, U/L, `[IU]/L`, m2, kg/m2, osm/kg: chosen so that what is common stands on rungs of its own (`super::rungs`).
const UNITS: [(&str, u8, &str, &str); 157] = [
    ("%", 13, "1", "0"),
    ("/L", 7, "1e-6", "0"),
    ("/d", 11, "1", "0"),
    ("/h", 11, "24", "0"),
    ("/mL", 7, "0.001", "0"),
    ("/min", 11, "1440", "0"),
    ("/mm3", 7, "1", "0"),
    ("/s", 11, "86400", "0"),
    ("/uL", 7, "1", "0"),
    ("1", 13, "100", "0"),
    ("10*12/L", 7, "1e6", "0"),
    ("10*3/mL", 7, "1", "0"),
    ("10*3/uL", 7, "1000", "0"),
    ("10*6/L", 7, "1", "0"),
    ("10*6/mL", 7, "1000", "0"),
    ("10*6/uL", 7, "1e6", "0"),
    ("10*9/L", 7, "1000", "0"),
    ("Cel", 9, "1.8", "32"),
    ("Hz", 11, "86400", "0"),
    ("J", 15, "1", "0"),
    ("K", 9, "1.8", "-459.67"),
    ("L", 2, "1e6", "0"),
    ("L/h", 12, "1000", "0"),
    ("L/min", 12, "6e4", "0"),
    ("L/s", 12, "36e5", "0"),
    ("Pa", 8, "1", "0"),
    ("U/L", 16, "1", "0"),
    ("U/dL", 16, "10", "0"),
    ("U/mL", 16, "1000", "0"),
    ("[IU]/L", 17, "1", "0"),
    ("[IU]/mL", 17, "1000", "0"),
    ("[degF]", 9, "1", "0"),
    ("[ft_i]", 1, "0.3048", "0"),
    ("[iU]/L", 17, "1", "0"),
    ("[iU]/mL", 17, "1000", "0"),
    ("[in_i]", 1, "0.0254", "0"),
    ("[lb_av]", 0, "453592.37", "0"),
    ("[oz_av]", 0, "28349523125e-6", "0"),
    ("[ppm]", 13, "0.0001", "0"),
    ("[ppth]", 13, "0.1", "0"),
    ("a", 10, "31557600", "0"),
    ("bar", 8, "1e5", "0"),
    ("cal", 15, "4.184", "0"),
    ("cm", 1, "0.01", "0"),
    ("cm2", 18, "0.0001", "0"),
    ("cm3", 2, "1000", "0"),
    ("cm[H2O]", 8, "98.0665", "0"),
    ("d", 10, "86400", "0"),
    ("dL", 2, "1e5", "0"),
    ("dl", 2, "1e5", "0"),
    ("eq/L", 6, "1", "0"),
    ("fL", 2, "1e-9", "0"),
    ("g", 0, "1000", "0"),
    ("g/L", 3, "1e6", "0"),
    ("g/cm2", 19, "10", "0"),
    ("g/dL", 3, "1e7", "0"),
    ("g/g", 14, "1000", "0"),
    ("g/kg", 14, "1", "0"),
    ("g/m2", 19, "0.001", "0"),
    ("g/mL", 3, "1e9", "0"),
    ("h", 10, "3600", "0"),
    ("hPa", 8, "100", "0"),
    ("kJ", 15, "1000", "0"),
    ("kPa", 8, "1000", "0"),
    ("kU/L", 16, "1000", "0"),
    ("k[IU]/L", 17, "1000", "0"),
    ("k[iU]/L", 17, "1000", "0"),
    ("kcal", 15, "4184", "0"),
    ("kg", 0, "1e6", "0"),
    ("kg/m2", 19, "1", "0"),
    ("kg/m3", 3, "1e6", "0"),
    ("km", 1, "1000", "0"),
    ("l", 2, "1e6", "0"),
    ("m", 1, "1", "0"),
    ("m2", 18, "1", "0"),
    ("m3", 2, "1e9", "0"),
    ("mL", 2, "1000", "0"),
    ("mL/h", 12, "1", "0"),
    ("mL/min", 12, "60", "0"),
    ("mL/s", 12, "3600", "0"),
    ("mU/L", 16, "0.001", "0"),
    ("mU/mL", 16, "1", "0"),
    ("m[IU]/L", 17, "0.001", "0"),
    ("m[IU]/mL", 17, "1", "0"),
    ("m[iU]/L", 17, "0.001", "0"),
    ("m[iU]/mL", 17, "1", "0"),
    ("mbar", 8, "100", "0"),
    ("meq/L", 6, "0.001", "0"),
    ("meq/dL", 6, "0.01", "0"),
    ("mg", 0, "1", "0"),
    ("mg/L", 3, "1000", "0"),
    ("mg/dL", 3, "1e4", "0"),
    ("mg/g", 14, "1", "0"),
    ("mg/g{creat}", 14, "1", "0"),
    ("mg/kg", 14, "0.001", "0"),
    ("mg/mL", 3, "1e6", "0"),
    ("mg/mg", 14, "1000", "0"),
    ("min", 10, "60", "0"),
    ("ml", 2, "1000", "0"),
    ("mm", 1, "0.001", "0"),
    ("mm2", 18, "1e-6", "0"),
    ("mm3", 2, "1", "0"),
    ("mm[Hg]", 8, "133.322", "0"),
    ("mmol", 4, "1e6", "0"),
    ("mmol/L", 5, "1e6", "0"),
    ("mmol/dL", 5, "1e7", "0"),
    ("mo", 10, "2629800", "0"),
    ("mol", 4, "1e9", "0"),
    ("mol/L", 5, "1e9", "0"),
    ("mosm/kg", 20, "0.001", "0"),
    ("ms", 10, "0.001", "0"),
    ("ng", 0, "1e-6", "0"),
    ("ng/L", 3, "0.001", "0"),
    ("ng/dL", 3, "0.01", "0"),
    ("ng/mL", 3, "1", "0"),
    ("nkat/L", 16, "0.06", "0"),
    ("nm", 1, "1e-9", "0"),
    ("nmol", 4, "1", "0"),
    ("nmol/L", 5, "1", "0"),
    ("nmol/dL", 5, "10", "0"),
    ("nmol/mL", 5, "1000", "0"),
    ("osm/kg", 20, "1", "0"),
    ("pL", 2, "1e-6", "0"),
    ("pg", 0, "1e-9", "0"),
    ("pg/L", 3, "1e-6", "0"),
    ("pg/dL", 3, "1e-5", "0"),
    ("pg/mL", 3, "0.001", "0"),
    ("pmol", 4, "0.001", "0"),
    ("pmol/L", 5, "0.001", "0"),
    ("pmol/mL", 5, "1", "0"),
    ("s", 10, "1", "0"),
    ("uL", 2, "1", "0"),
    ("uL/min", 12, "0.06", "0"),
    ("uU/mL", 16, "0.001", "0"),
    ("u[IU]/mL", 17, "0.001", "0"),
    ("u[iU]/mL", 17, "0.001", "0"),
    ("ueq/L", 6, "1e-6", "0"),
    ("ug", 0, "0.001", "0"),
    ("ug/L", 3, "1", "0"),
    ("ug/dL", 3, "10", "0"),
    ("ug/g", 14, "0.001", "0"),
    ("ug/mL", 3, "1000", "0"),
    ("ug/mg", 14, "1", "0"),
    ("ug/mg{creat}", 14, "1", "0"),
    ("ukat/L", 16, "60", "0"),
    ("ul", 2, "1", "0"),
    ("um", 1, "1e-6", "0"),
    ("umol", 4, "1000", "0"),
    ("umol/L", 5, "1000", "0"),
    ("umol/dL", 5, "1e4", "0"),
    ("umol/mL", 5, "1e6", "0"),
    ("us", 10, "1e-6", "0"),
    ("wk", 10, "604800", "0"),
    ("{Beats}/min", 11, "1440", "0"),
    ("{beats}/min", 11, "1440", "0"),
    ("{breaths}/min", 11, "1440", "0"),
    ("{cells}/uL", 7, "1", "0"),
];

/// A unit of the table.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Measure {
    /// What it measures.
    pub(super) of: u8,
    factor: Decimal,
    offset: Decimal,
}

impl Measure {
    /// The unit of this code.
    pub(super) fn find(code: &str) -> Option<Self> {
        let at = UNITS.binary_search_by(|row| row.0.cmp(code)).ok()?;
        let (_, of, factor, offset) = *UNITS.get(at)?;
        Some(Self { of, factor: Decimal::parse(factor)?, offset: Decimal::parse(offset)? })
    }

    /// A number of the unit, as every unit that measures the same has it.
    fn of_number(&self, number: &Decimal) -> Decimal {
        number.product(&self.factor).sum(&self.offset)
    }

    /// What a number that is looked for stands for. The precision it is written in is that of its own unit.
    pub(super) fn of_bounds(&self, bounds: &Bounds) -> Bounds {
        let Bounds { exact, low, high } = bounds;
        let [exact, low, high] = [exact, low, high].map(|number| self.of_number(number));
        Bounds { exact, low, high }
    }
}

/// What a Quantity or Range measures, and from where to where; `None` if it is of no unit of the table.
pub(super) fn measured(datatype: Datatype, value: &Value) -> Option<(u8, Interval)> {
    match datatype {
        Datatype::Quantity => {
            let (of, number) = of_quantity(value)?;
            Some((of, Interval { low: Some(number.clone()), high: Some(number) }))
        }
        Datatype::Range => {
            let end = |name: &str| value.get(name).map(of_quantity);
            let (low, high) = (end("low"), end("high"));
            // An end without a unit of the table might be anything.
            let (low, high) =
                (low.map_or(Some(None), |end| end.map(Some))?, high.map_or(Some(None), |end| end.map(Some))?);
            let of = low.as_ref().or(high.as_ref()).map(|end| end.0)?;
            let same = [&low, &high].into_iter().flatten().all(|end| end.0 == of);
            same.then(|| (of, Interval { low: low.map(|end| end.1), high: high.map(|end| end.1) }))
        }
        _ => None,
    }
}

fn of_quantity(value: &Value) -> Option<(u8, Decimal)> {
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    let measure = Measure::find(text("code").filter(|_| text("system") == Some(UCUM))?)?;
    let number = Decimal::parse(&value.get("value")?.as_number()?.to_string())?;
    Some((measure.of, measure.of_number(&number)))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use serde_json::json;

    #[test]
    fn the_table_is_in_order_and_every_unit_is_read() {
        assert!(UNITS.is_sorted_by(|a, b| a.0 < b.0));
        assert!(UNITS.iter().all(|row| Measure::find(row.0).is_some()));
        assert_eq!(Measure::find("furlong"), None);
    }

    #[test]
    fn what_is_the_same_is_equal_to_the_last_digit() {
        for (one, other) in [
            (("1500", "mg"), ("1.5", "g")),
            (("1", "[lb_av]"), ("0.45359237", "kg")),
            (("5.5", "[ft_i]"), ("66", "[in_i]")),
            (("1", "[in_i]"), ("25.4", "mm")),
            (("37.0", "Cel"), ("98.6", "[degF]")),
            (("-40", "Cel"), ("-40", "[degF]")),
            (("0", "K"), ("-273.15", "Cel")),
            (("120", "mm[Hg]"), ("15.99864", "kPa")),
            (("95", "mg/dL"), ("0.95", "g/L")),
            (("5300", "umol/L"), ("5.3", "mmol/L")),
            (("7.2", "10*3/uL"), ("7.2", "10*9/L")),
            (("72", "{beats}/min"), ("1.2", "Hz")),
            (("2.5", "u[IU]/mL"), ("2.5", "m[iU]/L")),
            (("90", "fL"), ("9e-14", "L")),
            (("1", "a"), ("365.25", "d")),
        ] {
            let read = |(number, code): (&str, &str)| {
                let value: Value = serde_json::from_str(number).unwrap();
                of_quantity(&json!({"value": value, "system": UCUM, "code": code})).unwrap()
            };
            assert_eq!(read(one), read(other), "{one:?} {other:?}");
        }
        let of = |code: &str| Measure::find(code).unwrap().of;
        assert_ne!(of("mol/L"), of("eq/L"));
        assert_ne!(of("U/L"), of("[IU]/L"));
    }
}
