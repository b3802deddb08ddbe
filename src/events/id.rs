//! Ids of the AuditEvents that are views of entries: `log-<shard>-<index>`, which no client can give a record.
//!
//! Imports nothing.

use std::fmt;

/// What ids of this form begin with. Records of type AuditEvent may not (decision 0010).
pub const RESERVED_PREFIX: &str = "log-";

/// Which view of an entry an AuditEvent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// The access itself.
    Access,
    /// That it was a disclosure to another organisation.
    Disclosure,
}

/// The id of an AuditEvent that is a view of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogId {
    /// Which head of the database the entry was written under.
    pub shard: i16,
    /// Its index.
    pub index: u64,
    /// Which view.
    pub view: View,
}

const DISCLOSURE: &str = "-disclosure";

impl LogId {
    /// The id of an access.
    #[must_use]
    pub const fn access(shard: i16, index: u64) -> Self {
        Self { shard, index, view: View::Access }
    }

    /// Reads an id; `None` of any other spelling, so that one entry has one id.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix(RESERVED_PREFIX)?;
        let (numbers, view) = match rest.strip_suffix(DISCLOSURE) {
            Some(numbers) => (numbers, View::Disclosure),
            None => (rest, View::Access),
        };
        let (shard, index) = numbers.split_once('-')?;
        let id = Self { shard: shard.parse().ok()?, index: index.parse().ok()?, view };
        (id.to_string() == text).then_some(id)
    }
}

/// The most places that one cursor holds: one in each log that is written side by side.
const CURSOR_IDS_MAX: usize = 16;

impl LogId {
    /// Places in several logs, as a cursor holds them.
    #[must_use]
    pub fn join(ids: &[Self]) -> String {
        ids.iter().map(Self::to_string).collect::<Vec<_>>().join(".")
    }

    /// Reads a cursor; `None` unless each of its places is one, and no two are of one log.
    #[must_use]
    pub fn parse_all(text: &str) -> Option<Vec<Self>> {
        let ids: Vec<Self> =
            text.split('.').take(CURSOR_IDS_MAX + 1).map(Self::parse).collect::<Option<_>>()?;
        let is_once = |(at, id): (usize, &Self)| ids.iter().take(at).all(|other| other.shard != id.shard);
        (ids.len() <= CURSOR_IDS_MAX && ids.iter().enumerate().all(is_once)).then_some(ids)
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let view = match self.view {
            View::Access => "",
            View::Disclosure => DISCLOSURE,
        };
        write!(f, "{RESERVED_PREFIX}{}-{}{view}", self.shard, self.index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::kinds::is_logical_id;

    #[test]
    fn a_cursor_holds_one_place_of_each_log() {
        let ids: Vec<LogId> = (0..16).map(|shard| LogId::access(shard, 7)).collect();
        assert_eq!(LogId::parse_all(&LogId::join(&ids)), Some(ids.clone()));
        let more = format!("{}.log-16-7", LogId::join(&ids));
        for other in ["", ".", "log-0-1.", "log-0-1.log-0-2", "log-0-1.17", more.as_str()] {
            assert_eq!(LogId::parse_all(other), None, "{other}");
        }
    }

    #[test]
    fn an_id_has_one_spelling() {
        for id in [
            LogId::access(0, 0),
            LogId { shard: i16::MAX, index: u64::MAX, view: View::Disclosure },
            LogId::access(3, 17),
        ] {
            assert_eq!(LogId::parse(&id.to_string()), Some(id));
            assert!(is_logical_id(&id.to_string()), "{id}");
        }
        for other in [
            "log-0",
            "log-0-",
            "log-00-1",
            "log-0-01",
            "log-0-+1",
            "log--1-1-2",
            "LOG-0-1",
            "log-0-1-",
            "17",
            "log-0-1-disclosure-disclosure",
            "log-40000-1",
            "log-0-18446744073709551616",
            " log-0-1",
        ] {
            assert_eq!(LogId::parse(other), None, "{other}");
        }
    }
}
