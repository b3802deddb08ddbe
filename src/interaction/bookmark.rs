//! Where the next page of a history starts: bound to the caller and the question, good for an hour.
//!
//! ```text
//! byte  0..8   microseconds of the last released version, big-endian
//!       8..10  code of its type
//!      10..26  its opaque key
//!      26..30  its versionId
//!      30..38  microseconds when the bookmark expires
//!      38..54  HMAC over the above, the account and the question
//! ```
//! The place is that of a version the caller was given, so it tells nothing of versions it was not.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Duration, Utc};
use uuid::Uuid;

use super::{Failure, malformed};
use crate::{
    fhir::{kinds::ResourceType, outcome::IssueCode},
    identity::Caller,
    seal::TenantKeys,
    store::history::Moment,
};

/// How long a bookmark can be followed.
const GOOD_FOR: Duration = Duration::hours(1);
/// Bytes before the HMAC.
const BODY_BYTES: usize = 38;

/// Writes a bookmark for what comes after `place` in the answer to `question`.
pub(super) fn write(
    keys: &TenantKeys,
    caller: &Caller,
    question: &str,
    (updated, kind, key, version): Moment,
    now: DateTime<Utc>,
) -> String {
    let mut bytes = Vec::with_capacity(BODY_BYTES + 16);
    bytes.extend_from_slice(&updated.timestamp_micros().to_be_bytes());
    bytes.extend_from_slice(&kind.code().to_be_bytes());
    bytes.extend_from_slice(key.as_bytes());
    bytes.extend_from_slice(&version.to_be_bytes());
    bytes.extend_from_slice(&(now + GOOD_FOR).timestamp_micros().to_be_bytes());
    let proof = keys.proof_of(&[b"bookmark", caller.account().as_bytes(), question.as_bytes(), &bytes]);
    bytes.extend_from_slice(&proof);
    URL_SAFE_NO_PAD.encode(bytes)
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
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let (body, proof) = bytes.split_at_checked(BODY_BYTES)?;
    if !keys.proves(&[b"bookmark", caller.account().as_bytes(), question.as_bytes(), body], proof) {
        return None;
    }
    let (updated, rest) = body.split_first_chunk::<8>()?;
    let (code, rest) = rest.split_first_chunk::<2>()?;
    let (key, rest) = rest.split_first_chunk::<16>()?;
    let (version, rest) = rest.split_first_chunk::<4>()?;
    let expires = DateTime::from_timestamp_micros(i64::from_be_bytes(*rest.first_chunk::<8>()?))?;
    let moment = (
        DateTime::from_timestamp_micros(i64::from_be_bytes(*updated))?,
        ResourceType::from_code(i16::from_be_bytes(*code))?,
        Uuid::from_bytes(*key),
        i32::from_be_bytes(*version),
    );
    (now < expires).then_some(moment)
}
