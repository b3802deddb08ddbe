//! FHIR dates and times as ranges of instants (FHIR R4 search.html#date, datatypes.html#dateTime).
//!
//! May import only std and chrono.

use chrono::{DateTime, Days, Duration, FixedOffset, Months, NaiveDate, NaiveDateTime, TimeZone, Utc};

/// The instants a date or dateTime stands for: from the first, up to and without the last.
///
/// `2024-03` is the whole of March, `2024-03-01T10:00:00.5Z` a tenth of a second. What has no time zone,
/// as all dates have none, is taken in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DateRange {
    /// The first instant.
    pub from: DateTime<Utc>,
    /// The first instant after it.
    pub until: DateTime<Utc>,
}

impl DateRange {
    /// The range of a FHIR date, dateTime or instant; `None` if the text is none of them.
    ///
    /// More than a dateTime allows, and search does, is only a time without seconds or without a zone.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (date, time) = match text.split_once('T') {
            Some((date, time)) => (date, Some(time)),
            None => (text, None),
        };
        match (date.len(), time) {
            (4, None) => Self::of_days(NaiveDate::from_ymd_opt(year(date)?, 1, 1)?, |d| {
                d.checked_add_months(Months::new(12))
            }),
            (7, None) => {
                let (y, m) = date.split_once('-')?;
                let first = NaiveDate::from_ymd_opt(year(y)?, digits(m, 2)?, 1)?;
                Self::of_days(first, |d| d.checked_add_months(Months::new(1)))
            }
            (10, None) => Self::of_days(day(date)?, |d| d.checked_add_days(Days::new(1))),
            (10, Some(time)) => Self::of_time(day(date)?, time),
            _ => None,
        }
    }

    /// The range with a part of its length put on each side.
    #[must_use]
    pub fn widened(self, by: Duration) -> Self {
        Self {
            from: self.from.checked_sub_signed(by).unwrap_or(self.from),
            until: self.until.checked_add_signed(by).unwrap_or(self.until),
        }
    }

    fn of_days(first: NaiveDate, next: fn(NaiveDate) -> Option<NaiveDate>) -> Option<Self> {
        let midnight = |day: NaiveDate| day.and_hms_opt(0, 0, 0).map(|at| at.and_utc());
        Some(Self { from: midnight(first)?, until: midnight(next(first)?)? })
    }

    /// `hh:mm[:ss[.fraction]][zone]` on a day.
    fn of_time(day: NaiveDate, text: &str) -> Option<Self> {
        let (clock, offset) = split_zone(text)?;
        let mut parts = clock.split(':');
        let hour = digits(parts.next()?, 2)?;
        let minute = digits(parts.next()?, 2)?;
        let (second, nanos, length) = match (parts.next(), parts.next()) {
            (None, _) => (0, 0, Duration::minutes(1)),
            (Some(seconds), None) => split_seconds(seconds)?,
            _ => return None,
        };
        // Second 60 is a leap second: chrono has none, so it becomes the first one after it.
        let leap = Duration::seconds(i64::from(second == 60));
        let at: NaiveDateTime =
            day.and_hms_nano_opt(hour, minute, if second == 60 { 59 } else { second }, nanos)?;
        let at = at.checked_add_signed(leap)?;
        let from = offset.from_local_datetime(&at).single()?.with_timezone(&Utc);
        Some(Self { from, until: from.checked_add_signed(length)? })
    }
}

/// Clock and zone; no zone is UTC.
fn split_zone(text: &str) -> Option<(&str, FixedOffset)> {
    if let Some(clock) = text.strip_suffix('Z') {
        return Some((clock, FixedOffset::east_opt(0)?));
    }
    let Some(at) = text.find(['+', '-']) else { return Some((text, FixedOffset::east_opt(0)?)) };
    let (clock, zone) = text.split_at_checked(at)?;
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    let (hours, minutes): (u32, u32) = (digits(hours, 2)?, digits(minutes, 2)?);
    if hours > 14 || minutes > 59 || (hours == 14 && minutes > 0) {
        return None;
    }
    Some((clock, FixedOffset::east_opt(sign * i32::try_from(hours * 3600 + minutes * 60).ok()?)?))
}

/// Second, nanoseconds, and how long the last digit is.
fn split_seconds(text: &str) -> Option<(u32, u32, Duration)> {
    let (second, fraction) = text.split_once('.').unwrap_or((text, ""));
    let second: u32 = digits(second, 2)?;
    if text.contains('.') && fraction.is_empty() || fraction.len() > 9 || second > 60 {
        return None;
    }
    let unit = 10_u32.pow(u32::try_from(9 - fraction.len()).ok()?);
    let nanos = if fraction.is_empty() { 0 } else { digits(fraction, fraction.len())? * unit };
    Some((second, nanos, Duration::nanoseconds(i64::from(unit))))
}

fn day(text: &str) -> Option<NaiveDate> {
    let mut parts = text.split('-');
    let (y, m, d) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    NaiveDate::from_ymd_opt(year(y)?, digits(m, 2)?, digits(d, 2)?)
}

fn year(text: &str) -> Option<i32> {
    i32::try_from(digits(text, 4)?).ok().filter(|year| *year > 0)
}

/// A number of exactly so many digits.
fn digits(text: &str, count: usize) -> Option<u32> {
    (text.len() == count && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_date_is_the_range_its_precision_says() {
        for (text, from, until) in [
            ("2024", "2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z"),
            ("2024-02", "2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z"),
            ("2024-12", "2024-12-01T00:00:00Z", "2025-01-01T00:00:00Z"),
            ("2024-02-29", "2024-02-29T00:00:00Z", "2024-03-01T00:00:00Z"),
            ("2024-02-29T23:59", "2024-02-29T23:59:00Z", "2024-03-01T00:00:00Z"),
            ("2024-02-29T10:00:01Z", "2024-02-29T10:00:01Z", "2024-02-29T10:00:02Z"),
            ("2024-02-29T10:00:01", "2024-02-29T10:00:01Z", "2024-02-29T10:00:02Z"),
            ("2024-02-29T10:00:01.25Z", "2024-02-29T10:00:01.250Z", "2024-02-29T10:00:01.260Z"),
            ("2024-02-29T00:30:00+01:00", "2024-02-28T23:30:00Z", "2024-02-28T23:30:01Z"),
            ("2024-02-29T00:30:00.0-14:00", "2024-02-29T14:30:00Z", "2024-02-29T14:30:00.1Z"),
            ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z", "2017-01-01T00:00:01Z"),
            ("9999", "9999-01-01T00:00:00Z", "+10000-01-01T00:00:00Z"),
        ] {
            let range = DateRange::parse(text).unwrap();
            assert_eq!(range.from, from.parse::<DateTime<Utc>>().unwrap(), "{text}");
            assert_eq!(range.until, until.parse::<DateTime<Utc>>().unwrap(), "{text}");
        }
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for text in [
            "",
            "24",
            "0000",
            "20240",
            "2024-1",
            "2024-13",
            "2024-00",
            "2023-02-29",
            "2023-02-30",
            "2024-02-30",
            "2024-2-03",
            "2024/02/03",
            "2024-02-03T",
            "2024-02-03T10",
            "2024-02-03T24:00",
            "2024-02-03T10:60",
            "2024-02-03T10:00:61Z",
            "2024-02-03T10:00:00.Z",
            "2024-02-03T10:00:00.0123456789Z",
            "2024-02-03T10:00:00+1:00",
            "2024-02-03T10:00:00+14:01",
            "2024-02-03T10:00:00 01:00",
            "2024-02-03T10:00:00ZZ",
            "2024-02-03 10:00",
            "2024T10:00",
            "-2024",
            "+024",
            "2024-02-03T10:00:00:00Z",
            "２０２４",
        ] {
            assert_eq!(DateRange::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics_and_ranges_have_a_length(text in "[0-9TZ:+. é-]{0,32}") {
            if let Some(range) = DateRange::parse(&text) {
                prop_assert!(range.from < range.until);
                prop_assert!(range.widened(Duration::MAX).from <= range.from);
            }
        }
    }
}
