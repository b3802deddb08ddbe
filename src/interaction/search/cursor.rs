//! Where a search page starts: sealed, bound to the caller and the search, good for an hour.
//!
//! ```text
//! byte  0..8   microseconds of the last released match, big-endian
//!       8..16  microseconds when the cursor expires
//!      16..32  its opaque key
//!      32..34  its type, by number, big-endian
//!      34..    its place in the order asked for (fhir::search::sort); nothing if it is newest first
//! ```
//! The position is that of a match the caller was given, so it tells nothing of records it was not; it is sealed
//! because URLs are written down in places where records are not.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Duration, Utc};
use uuid::Uuid;

use super::Found;
use crate::{
    fhir::{kinds::ResourceType, search::Query},
    identity::Caller,
    seal::{KeyError, Opened, Sealed, TenantKeys},
};

/// How long a cursor can be followed.
const GOOD_FOR: Duration = Duration::hours(1);

/// Position of the last match of a page.
pub(super) struct Position {
    pub(super) updated: DateTime<Utc>,
    pub(super) key: Uuid,
    pub(super) kind: i16,
    pub(super) place: Opened<Vec<u8>>,
}

impl Position {
    /// What records of a type come after, newest first: those of a type of a higher number begin with the one of the
    /// same time and key.
    pub(super) fn before(&self, kind: ResourceType) -> (DateTime<Utc>, Uuid) {
        let more = u128::from(kind.code() > self.kind);
        (self.updated, Uuid::from_u128(self.key.as_u128().saturating_add(more)))
    }
}

/// Writes a cursor for what comes after a match.
///
/// # Errors
/// [`KeyError::Seal`] when sealing fails.
pub(super) fn write(
    keys: &TenantKeys,
    caller: &Caller,
    query: &Query,
    last: &Found,
    now: DateTime<Utc>,
) -> Result<String, KeyError> {
    let mut head = [0_u8; 34];
    let expires = (now + GOOD_FOR).timestamp_micros().to_be_bytes();
    let updated = last.record.at.updated.timestamp_micros().to_be_bytes();
    let kind = last.record.at.kind.code().to_be_bytes();
    let bytes = updated.into_iter().chain(expires).chain(*last.record.at.key.as_bytes()).chain(kind);
    head.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
    let link = query.plain_link();
    let sealed = keys.seal_cursor(&[caller.account().as_bytes(), link.as_bytes()], &head, &last.place)?;
    Ok(URL_SAFE_NO_PAD.encode(sealed.as_bytes()))
}

/// Reads a cursor of this caller and search; `None` when it is anything else, or old.
pub(super) fn read(
    keys: &TenantKeys,
    caller: &Caller,
    query: &Query,
    text: &str,
    now: DateTime<Utc>,
) -> Option<Position> {
    let sealed = Sealed::from_stored(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
    let link = query.plain_link();
    let account = caller.account();
    let (head, place) = keys.open_cursor::<34>(&[account.as_bytes(), link.as_bytes()], &sealed).ok()?;
    let (updated, rest) = head.split_first_chunk::<8>()?;
    let (expires, rest) = rest.split_first_chunk::<8>()?;
    let (key, kind) = rest.split_first_chunk::<16>()?;
    let instant = |bytes: &[u8; 8]| DateTime::from_timestamp_micros(i64::from_be_bytes(*bytes));
    let (updated, expires, key) = (instant(updated)?, instant(expires)?, Uuid::from_bytes(*key));
    let kind = i16::from_be_bytes(*kind.first_chunk()?);
    (now < expires).then_some(Position { updated, key, kind, place })
}
