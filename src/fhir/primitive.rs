//! The primitive datatypes of FHIR R4 and the formats of their values (datatypes.html#primitive).
//!
//! May import only std, `serde_json`, chrono and `fhir::kinds`.

use chrono::NaiveDate;
use serde_json::{Number, Value};

use super::kinds::is_logical_id;

/// The most bytes a string may have (datatypes.html#string: "SHALL NOT exceed 1MB in size"); markdown too.
pub const STRING_BYTES_MAX: usize = 1024 * 1024;
/// The most characters a decimal may be written with. R4 asks for 18 digits; this is far above.
pub const DECIMAL_CHARS_MAX: usize = 64;
/// The greatest exponent, either sign, a decimal may be written with.
pub const DECIMAL_EXPONENT_MAX: u32 = 400;

/// A primitive datatype.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each variant is the R4 type of the same name")]
pub enum Primitive {
    Base64Binary,
    Boolean,
    Canonical,
    Code,
    Date,
    DateTime,
    Decimal,
    Id,
    Instant,
    Integer,
    Markdown,
    Oid,
    PositiveInt,
    String,
    Time,
    UnsignedInt,
    Uri,
    Url,
    Uuid,
    Xhtml,
}

impl Primitive {
    /// The type of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "base64Binary" => Self::Base64Binary,
            "boolean" => Self::Boolean,
            "canonical" => Self::Canonical,
            "code" => Self::Code,
            "date" => Self::Date,
            "dateTime" => Self::DateTime,
            "decimal" => Self::Decimal,
            "id" => Self::Id,
            "instant" => Self::Instant,
            "integer" => Self::Integer,
            "markdown" => Self::Markdown,
            "oid" => Self::Oid,
            "positiveInt" => Self::PositiveInt,
            "string" => Self::String,
            "time" => Self::Time,
            "unsignedInt" => Self::UnsignedInt,
            "uri" => Self::Uri,
            "url" => Self::Url,
            "uuid" => Self::Uuid,
            "xhtml" => Self::Xhtml,
            _ => return None,
        })
    }

    /// The id of the rule a value of this type must keep, such as `primitive.date`.
    #[must_use]
    pub fn rule(self) -> &'static str {
        match self {
            Self::Base64Binary => "primitive.base64Binary",
            Self::Boolean => "primitive.boolean",
            Self::Canonical => "primitive.canonical",
            Self::Code => "primitive.code",
            Self::Date => "primitive.date",
            Self::DateTime => "primitive.dateTime",
            Self::Decimal => "primitive.decimal",
            Self::Id => "primitive.id",
            Self::Instant => "primitive.instant",
            Self::Integer => "primitive.integer",
            Self::Markdown => "primitive.markdown",
            Self::Oid => "primitive.oid",
            Self::PositiveInt => "primitive.positiveInt",
            Self::String => "primitive.string",
            Self::Time => "primitive.time",
            Self::UnsignedInt => "primitive.unsignedInt",
            Self::Uri => "primitive.uri",
            Self::Url => "primitive.url",
            Self::Uuid => "primitive.uuid",
            Self::Xhtml => "primitive.xhtml",
        }
    }

    /// What a value of this type looks like, for a person.
    #[must_use]
    pub fn expectation(self) -> &'static str {
        match self {
            Self::Base64Binary => "expected base64 text",
            Self::Boolean => "expected true or false",
            Self::Canonical => "expected a canonical url without white space",
            Self::Code => "expected a code: no white space at its ends, single spaces within",
            Self::Date => "expected a date of the calendar: YYYY, YYYY-MM or YYYY-MM-DD",
            Self::DateTime => {
                "expected a date, or a date and a time with seconds and a time zone: YYYY-MM-DDThh:mm:ss+zz:zz"
            }
            Self::Decimal => "expected a number of at most 64 characters",
            Self::Id => "expected an id: 1 to 64 of A-Z, a-z, 0-9, '-' and '.'",
            Self::Instant => {
                "expected a date and a time with seconds and a time zone: YYYY-MM-DDThh:mm:ss+zz:zz"
            }
            Self::Integer => "expected a whole number from -2147483648 to 2147483647",
            Self::Markdown | Self::String => {
                "expected text that is not empty, without control characters, of at most 1 MB"
            }
            Self::Oid => "expected an OID: urn:oid: and numbers with dots",
            Self::PositiveInt => "expected a whole number from 1 to 2147483647",
            Self::Time => "expected a time with seconds and without a time zone: hh:mm:ss",
            Self::UnsignedInt => "expected a whole number from 0 to 2147483647",
            Self::Uri => "expected a URI without white space",
            Self::Url => "expected a URL without white space",
            Self::Uuid => "expected a UUID: urn:uuid: and 36 lower-case characters",
            Self::Xhtml => "expected a narrative: one XHTML <div>, formatting only, not empty",
        }
    }

    /// Whether the JSON value is a well-formed value of this type.
    ///
    /// `xhtml` is held to the rules of text here; its markup is the business of `fhir::validate`.
    #[must_use]
    pub fn accepts(self, value: &Value) -> bool {
        match (self, value) {
            (Self::Boolean, Value::Bool(_)) => true,
            (Self::Decimal, Value::Number(number)) => is_decimal(number),
            (Self::Integer, Value::Number(number)) => is_integer(number, i64::from(i32::MIN)),
            (Self::UnsignedInt, Value::Number(number)) => is_integer(number, 0),
            (Self::PositiveInt, Value::Number(number)) => is_integer(number, 1),
            (_, Value::String(text)) => self.accepts_text(text),
            _ => false,
        }
    }

    fn accepts_text(self, text: &str) -> bool {
        match self {
            Self::Boolean | Self::Decimal | Self::Integer | Self::PositiveInt | Self::UnsignedInt => false,
            Self::Base64Binary => is_base64(text),
            Self::Canonical | Self::Uri | Self::Url => is_uri(text),
            Self::Code => is_code(text),
            Self::Date => is_date(text),
            Self::DateTime => is_date_time(text),
            Self::Id => is_logical_id(text),
            Self::Instant => {
                text.split_once('T').is_some_and(|(day, time)| is_day(day) && is_zoned_time(time))
            }
            Self::Markdown | Self::String => is_text(text) && text.len() <= STRING_BYTES_MAX,
            Self::Oid => text.strip_prefix("urn:oid:").is_some_and(is_oid),
            Self::Time => is_time(text),
            Self::Uuid => text.strip_prefix("urn:uuid:").is_some_and(is_uuid),
            Self::Xhtml => is_text(text),
        }
    }
}

/// Whether the text is not empty and has no character FHIR bans: below U+0020, only tab, CR and LF are fine.
#[must_use]
pub fn is_text(text: &str) -> bool {
    !text.is_empty() && !text.bytes().any(is_banned)
}

/// Whether FHIR bans this byte from text (datatypes.html#string).
pub(super) fn is_banned(byte: u8) -> bool {
    byte < 0x20 && !matches!(byte, b'\t' | b'\r' | b'\n')
}

fn is_uri(text: &str) -> bool {
    !text.is_empty() && text.len() <= STRING_BYTES_MAX && !text.bytes().any(|b| b <= b' ')
}

/// White space is what XML calls so; R4's own code systems have codes with a no-break space.
fn is_code(text: &str) -> bool {
    let mut after_space = true;
    for byte in text.bytes() {
        let space = matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        if (space && after_space) || is_banned(byte) {
            return false;
        }
        after_space = space;
    }
    !after_space && text.len() <= STRING_BYTES_MAX
}

/// `true` of base64 (RFC 4648 §4, padded), with white space allowed between groups.
fn is_base64(text: &str) -> bool {
    let (mut letters, mut padding) = (0_usize, 0_usize);
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' if padding == 0 => letters += 1,
            b'=' => padding += 1,
            b' ' | b'\t' | b'\r' | b'\n' => {}
            _ => return false,
        }
    }
    letters > 0 && padding <= 2 && (letters + padding).is_multiple_of(4)
}

fn is_oid(arcs: &str) -> bool {
    let mut parts = arcs.split('.');
    matches!(parts.next(), Some("0" | "1" | "2"))
        && arcs.contains('.')
        && parts.all(|arc| is_digits(arc) && (arc == "0" || !arc.starts_with('0')))
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().zip(0..).all(|(byte, place)| match place {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        })
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// The number these digits are, if there are exactly `count` of them.
fn number(text: &str, count: usize) -> Option<u32> {
    (text.len() == count && is_digits(text)).then(|| text.parse().ok()).flatten()
}

fn is_year(text: &str) -> bool {
    number(text, 4).is_some_and(|year| year > 0)
}

fn is_day(text: &str) -> bool {
    let parsed = || {
        let (year, rest) = text.split_once('-')?;
        let (month, day) = rest.split_once('-')?;
        let year = number(year, 4).filter(|y| *y > 0)?;
        NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, number(month, 2)?, number(day, 2)?)
    };
    parsed().is_some()
}

fn is_date(text: &str) -> bool {
    match text.len() {
        4 => is_year(text),
        7 => text.split_once('-').is_some_and(|(year, month)| {
            is_year(year) && number(month, 2).is_some_and(|m| (1..=12).contains(&m))
        }),
        10 => is_day(text),
        _ => false,
    }
}

fn is_date_time(text: &str) -> bool {
    match text.split_once('T') {
        None => is_date(text),
        Some((day, time)) => is_day(day) && is_zoned_time(time),
    }
}

/// `hh:mm:ss[.f]` and `Z` or `±hh:mm` up to 14:00.
fn is_zoned_time(text: &str) -> bool {
    if let Some(time) = text.strip_suffix('Z') {
        return is_time(time);
    }
    let Some(sign) = text.rfind(['+', '-']) else { return false };
    let Some((time, zone)) = text.split_at_checked(sign) else { return false };
    let Some((hours, minutes)) = zone.trim_start_matches(['+', '-']).split_once(':') else { return false };
    let (Some(hours), Some(minutes)) = (number(hours, 2), number(minutes, 2)) else { return false };
    is_time(time) && minutes < 60 && (hours < 14 || (hours == 14 && minutes == 0)) && zone.len() == 6
}

/// `hh:mm:ss[.f]`; 60 is a leap second, 24 is no hour.
fn is_time(text: &str) -> bool {
    let (whole, fraction) = text.split_once('.').map_or((text, None), |(w, f)| (w, Some(f)));
    let mut parts = whole.split(':').map(|part| number(part, 2));
    let (Some(Some(h)), Some(Some(m)), Some(Some(s)), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    h < 24 && m < 60 && s <= 60 && fraction.is_none_or(is_digits)
}

fn is_integer(number: &Number, min: i64) -> bool {
    let text = number.as_str();
    let digits = text.strip_prefix('-').unwrap_or(text);
    // JSON already bans leading zeros and a plus sign; this also bans 1.0 and 1e3, which FHIR does.
    is_digits(digits) && text.parse::<i64>().is_ok_and(|value| value >= min && value <= i64::from(i32::MAX))
}

fn is_decimal(number: &Number) -> bool {
    let text = number.as_str();
    let exponent = text.find(['e', 'E']).and_then(|at| text.get(at + 1..));
    text.len() <= DECIMAL_CHARS_MAX
        && exponent.is_none_or(|digits| {
            digits
                .trim_start_matches(['+', '-'])
                .parse::<u32>()
                .is_ok_and(|value| value <= DECIMAL_EXPONENT_MAX)
        })
}

#[cfg(test)]
mod tests;
