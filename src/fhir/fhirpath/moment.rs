//! Dates and times, compared as far as both are precise (FHIRPath N1 §6.2).

use std::cmp::Ordering;

use chrono::{DateTime, FixedOffset};

/// Which of two moments is earlier; `None` when their precision or their zones leave it open.
pub(super) fn order(left: &str, right: &str) -> Option<Ordering> {
    let (left, right) = (left.trim_start_matches('T'), right.trim_start_matches('T'));
    if let (Some(left), Some(right)) = (instant(left), instant(right)) {
        return Some(left.cmp(&right));
    }
    if has_zone(left) != has_zone(right) && left.contains('T') && right.contains('T') {
        return None;
    }
    let (mut ours, mut theirs) = (parts(left), parts(right));
    loop {
        match (ours.next(), theirs.next()) {
            (None, None) => return Some(Ordering::Equal),
            (Some(a), Some(b)) if a == b => {}
            // Two days apart differ wherever they are; one day apart may not.
            (Some(a), Some(b)) => return (has_zone(left) == has_zone(right)).then(|| a.cmp(b)),
            _ => return None,
        }
    }
}

/// Year, month, day, hour and so on, without the zone.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    let bare = match text.split_once('T') {
        Some((day, time)) => {
            let end = time.find(['Z', '+', '-']).unwrap_or(time.len());
            text.get(..day.len() + 1 + end).unwrap_or(text)
        }
        None => text,
    };
    bare.split(['-', 'T', ':']).filter(|part| !part.is_empty())
}

fn has_zone(text: &str) -> bool {
    text.split_once('T').is_some_and(|(_, time)| time.contains(['Z', '+', '-']))
}

fn instant(text: &str) -> Option<DateTime<FixedOffset>> {
    DateTime::parse_from_rfc3339(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_compared_as_far_as_they_go() {
        use Ordering::{Equal, Greater, Less};
        for (left, right, expected) in [
            ("2020", "2020", Some(Equal)),
            ("2020", "2019", Some(Greater)),
            ("2020-05", "2020", None),
            ("2020-05", "2021", Some(Less)),
            ("2020-05-02", "2020-05-01", Some(Greater)),
            ("2020-05-02T10:00:00Z", "2020-05-02T10:00:00.5Z", Some(Less)),
            ("2020-05-02T10:00:00+02:00", "2020-05-02T09:00:00Z", Some(Less)),
            ("2020-05-02T10:00:00Z", "2020-05-01", None),
            ("2020-05-02T10:00:00Z", "2020", None),
            ("T10:00", "10:30", Some(Less)),
            ("", "x", None),
        ] {
            assert_eq!(order(left, right), expected, "{left} {right}");
        }
    }
}
