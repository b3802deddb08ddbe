//! Where a search page starts: position in the order, bound to the caller and the type, good for an hour.
//!
//! ```text
//! byte  0..8   microseconds of the last released match, big-endian
//!       8..24  its opaque key
//!      24..32  microseconds when the cursor expires
//!      32..48  HMAC over the above, the account and the type
//! ```
//! The position is that of a match the caller was given, so it tells nothing of records it was not.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Duration, Utc};
use uuid::Uuid;

use crate::{fhir::kinds::ResourceType, identity::Caller, seal::TenantKeys};

/// How long a cursor can be followed.
const GOOD_FOR: Duration = Duration::hours(1);

/// Position of the last match of a page: when it was updated, and its key.
pub(super) type Position = (DateTime<Utc>, Uuid);

/// Writes a cursor for what comes after `position`.
pub(super) fn write(
    keys: &TenantKeys,
    caller: &Caller,
    kind: ResourceType,
    position: Position,
    now: DateTime<Utc>,
) -> String {
    let mut bytes = Vec::with_capacity(48);
    bytes.extend_from_slice(&position.0.timestamp_micros().to_be_bytes());
    bytes.extend_from_slice(position.1.as_bytes());
    bytes.extend_from_slice(&(now + GOOD_FOR).timestamp_micros().to_be_bytes());
    let proof = keys.proof_of(&[b"cursor", caller.account().as_bytes(), &kind.code().to_be_bytes(), &bytes]);
    bytes.extend_from_slice(&proof);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads a cursor of this caller and type; `None` when it is anything else, or old.
pub(super) fn read(
    keys: &TenantKeys,
    caller: &Caller,
    kind: ResourceType,
    text: &str,
    now: DateTime<Utc>,
) -> Option<Position> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let (body, proof) = bytes.split_at_checked(32)?;
    let (account, code) = (caller.account(), kind.code().to_be_bytes());
    if !keys.proves(&[b"cursor", account.as_bytes(), &code, body], proof) {
        return None;
    }
    let (updated, rest) = body.split_first_chunk::<8>()?;
    let (key, expires) = rest.split_first_chunk::<16>()?;
    let expires = DateTime::from_timestamp_micros(i64::from_be_bytes(*expires.first_chunk::<8>()?))?;
    let updated = DateTime::from_timestamp_micros(i64::from_be_bytes(*updated))?;
    (now < expires).then(|| (updated, Uuid::from_bytes(*key)))
}
