//! Where the next page of a history or `$everything` starts: sealed, bound to caller and question, for an hour.
//!
//! ```text
//! byte  0..8   microseconds of the last released version, big-endian
//!       8..10  code of its type
//!      10..26  its opaque key
//!      26..30  its versionId
//!      30..38  microseconds when the bookmark expires
//! ```
//! The place is that of a version the caller was given, so it tells nothing of versions it was not; it is sealed because
//! URLs are written down in places where records are not.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Duration, Utc};
use uuid::Uuid;

use super::{Failure, malformed};
use crate::{
    fhir::{kinds::ResourceType, outcome::IssueCode},
    identity::Caller,
    seal::{KeyError, Opened, Sealed, TenantKeys},
    store::history::Moment,
};

/// How long a bookmark can be followed.
const GOOD_FOR: Duration = Duration::hours(1);
/// Bytes of a bookmark before it is sealed.
const BYTES: usize = 38;

/// Writes a bookmark for what comes after `place` in the answer to `question`.
///
/// # Errors
/// [`KeyError::Seal`] when sealing fails.
pub(super) fn write(
    keys: &TenantKeys,
    caller: &Caller,
    question: &str,
    (updated, kind, key, version): Moment,
    now: DateTime<Utc>,
) -> Result<String, KeyError> {
    let mut head = [0_u8; BYTES];
    let expires = (now + GOOD_FOR).timestamp_micros().to_be_bytes();
    let updated = updated.timestamp_micros().to_be_bytes();
    let (code, version) = (kind.code().to_be_bytes(), version.to_be_bytes());
    let bytes = updated.into_iter().chain(code).chain(*key.as_bytes()).chain(version).chain(expires);
    head.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
    let account = caller.account();
    let bound = [b"bookmark".as_slice(), account.as_bytes(), question.as_bytes()];
    let sealed = keys.seal_cursor(&bound, &head, &Opened::worked_out(Vec::new()))?;
    Ok(URL_SAFE_NO_PAD.encode(sealed.as_bytes()))
}

/// Reads a bookmark of this caller and question; anything else, and an old one, is refused.
pub(super) fn read(
    keys: &TenantKeys,
    caller: &Caller,
    question: &str,
    text: &str,
    now: DateTime<Utc>,
) -> Result<Moment, Failure> {
    parse(keys, caller, question, text, now).ok_or_else(|| {
        let text = "_cursor: expected what a next link of yours holds; it is good for an hour.";
        malformed(IssueCode::Expired, text)
    })
}

fn parse(
    keys: &TenantKeys,
    caller: &Caller,
    question: &str,
    text: &str,
    now: DateTime<Utc>,
) -> Option<Moment> {
    let sealed = Sealed::from_stored(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
    let account = caller.account();
    let bound = [b"bookmark".as_slice(), account.as_bytes(), question.as_bytes()];
    let (head, _) = keys.open_cursor::<BYTES>(&bound, &sealed).ok()?;
    let (updated, rest) = head.split_first_chunk::<8>()?;
    let (code, rest) = rest.split_first_chunk::<2>()?;
    let (key, rest) = rest.split_first_chunk::<16>()?;
    let (version, rest) = rest.split_first_chunk::<4>()?;
    let instant = |bytes: &[u8; 8]| DateTime::from_timestamp_micros(i64::from_be_bytes(*bytes));
    let expires = instant(rest.first_chunk::<8>()?)?;
    let kind = ResourceType::from_code(i16::from_be_bytes(*code))?;
    let moment = (instant(updated)?, kind, Uuid::from_bytes(*key), i32::from_be_bytes(*version));
    (now < expires).then_some(moment)
}
